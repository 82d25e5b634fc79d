//! What people get wrong: each mistake ends in at most three lines and a code, or in a node that waits and says for what.

use super::harness::{App, Home, Node, quorate, run};
use rustix::process::Signal;
use std::fs;
use std::process::Output;

/// Most lines of a complaint.
const LINES_MAX: usize = 3;

/// It ended with this code, in a few lines on stderr with these words.
fn assert_refused(what: &str, output: &Output, code: i32, words: &[&str]) {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{what}:\n{stdout}{stderr}");
    assert!(stderr.starts_with("error: "), "{what}: {stderr}");
    assert!(stderr.lines().count() <= LINES_MAX, "{what}: {stderr}");
    assert!(!stdout.contains("panicked") && !stderr.contains("panicked"), "{what}: {stdout}{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{what}: {word:?} in {stderr}");
    }
}

/// Damage to a home, the code `start` ends with and words of its complaint.
type Damaged = (&'static str, fn(&Home), i32, &'static [&'static str]);

fn write(home: &Home, file: &str, text: &str) {
    fs::write(home.file(file), text).unwrap();
}

/// 15 homes that cannot be started.
const DAMAGED: &[Damaged] = &[
    ("nothing is there", |home| fs::remove_dir_all(home.path()).unwrap(), 78, &["genesis.json", "quorate init"]),
    ("genesis is missing", |home| fs::remove_file(home.file("config/genesis.json")).unwrap(), 78, &["quorate init"]),
    ("genesis is empty", |home| write(home, "config/genesis.json", ""), 78, &["genesis.json"]),
    ("genesis is another document", |home| write(home, "config/genesis.json", "[1, 2]"), 78, &["genesis.json"]),
    ("config is not TOML", |home| write(home, "config/config.toml", "a = 1\n= = ="), 78, &["config.toml:2", "line 2"]),
    (
        "a value is out of range",
        |home| write(home, "config/config.toml", "[consensus]\ntimeout_commit = \"soon\""),
        78,
        &["config.toml:2", "consensus.timeout_commit", "soon"],
    ),
    (
        "an address is none",
        |home| write(home, "config/config.toml", "[rpc]\nladdr = \"http//nowhere\""),
        78,
        &["config.toml:2", "rpc.laddr"],
    ),
    ("the node key is none", |home| write(home, "config/node_key.json", "{}"), 78, &["node_key.json"]),
    ("the key is none", |home| write(home, "config/priv_validator_key.json", "no"), 78, &["priv_validator_key.json"]),
    (
        "the sign state is none",
        |home| write(home, "data/priv_validator_state.json", "{\"height\": -5}"),
        78,
        &["priv_validator_state.json"],
    ),
    (
        "the key is gone, its state is not",
        |home| fs::remove_file(home.file("config/priv_validator_key.json")).unwrap(),
        78,
        &["priv_validator_key.json"],
    ),
    (
        "a file stands where the data should be",
        |home| {
            fs::remove_dir_all(home.file("data")).unwrap();
            write(home, "data", "");
        },
        78,
        &["data"],
    ),
    (
        "a directory stands where the configuration should be",
        |home| {
            fs::remove_file(home.file("config/config.toml")).unwrap();
            fs::create_dir(home.file("config/config.toml")).unwrap();
        },
        78,
        &["config.toml"],
    ),
    ("a file stands where the journal should be", |home| write(home, "data/cs.wal", ""), 1, &["data/cs.wal"]),
    ("the store is another file", |home| write(home, "data/store.redb", "this is not a database"), 1, &["data"]),
];

#[test]
fn a_home_that_cannot_be_used_is_refused_in_three_lines() {
    for (what, damage, code, words) in DAMAGED {
        let home = Home::new();
        damage(&home);
        let output = home.run(START);
        assert_refused(what, &output, *code, words);
    }
}

/// Would start, were the home in order.
const START: &[&str] = &[
    "start",
    "--proxy_app=noop",
    "--db_backend=redb",
    "--rpc.laddr=tcp://127.0.0.1:0",
    "--instrumentation.prometheus=false",
];

/// Wrong command lines. 7 of them.
const FLAGS: &[(&[&str], &[&str])] = &[
    (&["start", "--proxy_ap=kvstore"], &["--proxy_ap"]),
    (&["start", "--rpc.laddr=nonsense"], &["--rpc.laddr", "nonsense"]),
    (&["start", "--consensus.timeout_commit=5"], &["--consensus.timeout_commit"]),
    (&["start", "--proxy_app="], &["--proxy_app"]),
    (&["begin"], &["begin"]),
    (&["init", "--chain-id="], &["--chain-id"]),
    (&["status", "--node=nonsense"], &["--node"]),
];

#[test]
fn a_wrong_command_line_ends_with_code_2() {
    let home = Home::new();
    for (args, words) in FLAGS {
        let output = home.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(words.iter().all(|word| stderr.contains(word)), "{args:?}: {words:?} in {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
    let output = run(quorate().arg("start").env_remove("HOME"));
    assert_refused("no home", &output, 2, &["--home"]);
}

#[test]
fn a_second_node_on_the_same_home_or_the_same_port_is_refused() {
    let home = Home::new();
    let _app = App::start(&home);
    let node = Node::start(&home);
    let second = home.run(&["start", "--rpc.laddr=tcp://127.0.0.1:0"]);
    let pid = format!("process {}", node.process.id());
    assert_refused("same home", &second, 1, &["is in use by another quorate", &pid, "quorate status --home"]);

    let other = Home::new();
    let rpc = format!("--rpc.laddr=tcp://{}", node.rpc);
    let second = other.run(&["start", "--proxy_app=noop", "--instrumentation.prometheus=false", &rpc]);
    assert_refused("same port", &second, 1, &["cannot listen on", &node.rpc, "Address already in use", "--rpc.laddr"]);
    // The first noticed nothing.
    assert_eq!(node.client().get("/readyz").0, 200);
    node.stop();
}

#[test]
fn a_node_without_its_application_waits_says_so_and_obeys_ctrl_c() {
    let home = Home::new();
    for (address, words) in [
        (home.app_address(), "No such file or directory"),
        ("tcp://127.0.0.1:1".to_owned(), "Connection refused"),
        ("tcp://no-such-host.invalid:26658".to_owned(), "no-such-host.invalid"),
    ] {
        let mut node = Node::start_waiting(&home, &address);
        let line = node.process.wait_for("waiting for the application");
        assert!(line.contains(words) && line.contains("without one: --proxy_app kvstore"), "{line}");
        assert!(node.process.is_running());
        node.process.signal(Signal::INT);
        let status = node.process.end();
        assert_eq!(status.code(), Some(0), "{}", node.process.output());
        assert_eq!(node.process.stderr(), "");
    }
}
