//! Stories about the command line and the home of a development node; whole nodes are in `tests/integration`.

use super::*;
use crate::cli::args::Arguments;
use clap::Parser as _;
use std::path::Path;

fn wanted_of(words: &[&str], home: &Path) -> Result<Wanted, CliError> {
    let all = ["quorate", "--home", home.to_str().unwrap()].into_iter().chain(words.iter().copied());
    let Arguments { common, development, command } = Arguments::try_parse_from(all).unwrap();
    assert!(command.is_none());
    wanted(&common, &development)
}

const FIRST: &[&str] =
    &["--node-id", "node-1", "--port", "8080", "--peers", "127.0.0.1:8081", "--peers=localhost:8082"];

/// Words that are refused, and what the message must contain. 12 cases.
const REFUSED: &[(&[&str], &str)] = &[
    (&[], "no command"),
    (&["--node-id", "node-1"], "--port is missing"),
    (&["--port", "8080"], "--node-id is missing"),
    (&["--node-id", "../x", "--port", "8080"], "\"../x\" is no name"),
    (&["--node-id", "", "--port", "8080"], "\"\" is no name"),
    (&["--node-id", "a", "--port", "8080", "--peers", ":8080"], "127.0.0.1:8080 is this node's own address"),
    (&["--node-id", "a", "--port", "8080", "--peers", "8081"], "\"8081\" is no address"),
    (&["--node-id", "a", "--port", "8080", "--peers", "x:1,x:1"], "x:1 is named twice"),
    (&["--node-id", "a", "--port", "8080", "--peers", "127.0.0.1:9080"], "where 127.0.0.1:8080 serves clients"),
    (&["--node-id", "a", "--port", "8080", "--host", "0.0.0.0"], "nobody can call this host"),
    (&["--node-id", "a", "--port", "8080", "--algorithm", "paxos"], "there is no \"paxos\""),
    (&["--algorithm", "raft"], "--node-id is missing"),
];

#[test]
fn words_that_make_no_node_are_refused_with_code_2_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    for (words, part) in REFUSED {
        let Err(error) = wanted_of(words, &home) else { panic!("{words:?} should say {part}") };
        assert_eq!(error.exit, Exit::Usage, "{words:?}: {error}");
        assert!(error.text.contains(part) && error.text.contains("next: "), "{words:?}: {error}");
    }
    assert!(!home.exists());
    let wanted = wanted_of(FIRST, &home).unwrap();
    assert_eq!(wanted.members.to_string(), "127.0.0.1:8080, 127.0.0.1:8081, 127.0.0.1:8082");
    assert_eq!(wanted.own.rpc(), "127.0.0.1:9080");
}

#[test]
fn a_port_that_is_none_or_leaves_no_room_for_clients_is_refused_with_the_range_and_an_example() {
    for port in ["abc", "0", "64536", "70000", "-1", ""] {
        let flag = format!("--port={port}");
        let refusal = Arguments::try_parse_from(["quorate", "--node-id", "a", &flag]).unwrap_err();
        let text = refusal.to_string();
        assert!(text.contains(&format!("invalid value '{port}' for '--port <PORT>'")) || port.is_empty(), "{text}");
        assert!(
            port.is_empty() || text.contains("from 1 to 64535, because the port 1000 above serves clients"),
            "{text}"
        );
        assert!(refusal.use_stderr());
    }
    assert!(Arguments::try_parse_from(["quorate", "--node-id", "a", "--port", "64535"]).is_ok());
}

/// A home that agreed, without its node having run.
fn agreed(folder: &Path) -> Memory {
    let wanted = wanted_of(FIRST, folder).unwrap();
    wanted.home.create().unwrap();
    make_config(&wanted).unwrap();
    let config = Config::load(&wanted.home, &Overrides::default()).unwrap().0;
    let mut memory = remember(&wanted, &config, None).unwrap();
    let genesis = init::alone("dev-story".try_into().unwrap(), &memory.own.validator, memory.own.algorithm);
    let json = crate::codec::json::genesis::render(&genesis);
    memory.promise = Some(Network { genesis, json, members: vec![memory.own.clone()] });
    memory
}

/// How a home that agreed is started, and what the message must contain; none where it starts. 8 cases.
const STARTS: &[(&[&str], Option<&str>)] = &[
    (FIRST, None),
    (&["--node-id", "node-1", "--port", "8080", "--peers", "127.0.0.1:8082,127.0.0.1:8081,:8080"], None),
    (&["--node-id", "node-2", "--port", "8080"], Some("is the home of node-1, not of node-2")),
    (
        &["--node-id", "node-1", "--port", "8083", "--peers", ":8081", "--peers", ":8082"],
        Some("--host 127.0.0.1 --port 8080"),
    ),
    (&["--node-id", "node-1", "--port", "8080"], Some("start it with --peers 127.0.0.1:8081 --peers 127.0.0.1:8082")),
    (&["--node-id", "node-1", "--port", "8080", "--peers", ":8081"], Some("agreed on a network of 127.0.0.1:8080, ")),
    (
        &["--node-id", "node-1", "--port", "8080", "--peers", ":8081,:8082", "--algorithm", "pbft"],
        Some("under raft, and pbft is asked for\n  next: start it with --algorithm raft"),
    ),
    (&["--node-id", "node-1", "--port", "8080", "--peers", ":8081,:8082", "--algorithm", "raft"], None),
];

#[test]
fn a_home_that_agreed_keeps_its_name_its_address_its_list_and_its_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let memory = agreed(folder.path());
    for (words, part) in STARTS {
        let outcome = check_home(&wanted_of(words, folder.path()).unwrap(), Some(&memory));
        match (outcome, part) {
            (Ok(()), None) => {}
            (Err(error), Some(part)) => {
                assert_eq!(error.exit, Exit::Config, "{error}");
                assert!(error.text.contains(part), "{words:?}: {error}");
            }
            (outcome, part) => panic!("{words:?}: {outcome:?}, not {part:?}"),
        }
    }
    // What was only said may still change, but not whose home it is.
    let said = Memory { promise: None, ..memory };
    check_home(&wanted_of(&["--node-id", "node-1", "--port", "8083"], folder.path()).unwrap(), Some(&said)).unwrap();
    assert!(
        check_home(&wanted_of(&["--node-id", "x", "--port", "8080"], folder.path()).unwrap(), Some(&said)).is_err()
    );
}

#[test]
fn a_home_of_quorate_init_is_not_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    crate::cli::tests::quorate(folder.path(), &["init"]).unwrap();
    let error = check_home(&wanted_of(FIRST, folder.path()).unwrap(), None).unwrap_err();
    assert!(error.text.contains("was not made by this form") && error.text.contains("quorate start --home"), "{error}");
}

#[test]
fn what_was_agreed_makes_a_home_that_quorate_start_can_run() {
    let folder = tempfile::tempdir().unwrap();
    let memory = agreed(folder.path());
    let wanted = wanted_of(FIRST, folder.path()).unwrap();
    let config = Config::load(&wanted.home, &Overrides::default()).unwrap().0;
    let mut network = memory.promise.unwrap();
    let other = Statement {
        address: "127.0.0.1:8081".parse().unwrap(),
        node_id: "f4e88b6d0f011ecc8836dcbfd1cbadc400a20aa1".parse().unwrap(),
        ..memory.own
    };
    network.members.push(other);
    settle(&wanted, &config, &network).unwrap();
    let plan = start::prepare(&wanted.home, &Overrides::default()).unwrap();
    let config = plan.config;
    assert_eq!(plan.warnings, []);
    assert_eq!(
        (config.p2p.persistent_peers.len(), config.p2p.persistent_peers[0].address.as_str()),
        (1, "127.0.0.1:8081")
    );
    assert_eq!(config.p2p.listen[0].to_string(), "tcp://127.0.0.1:8080");
    assert_eq!(config.rpc.listen[0].to_string(), "tcp://127.0.0.1:9080");
    assert_eq!((config.application.to_string().as_str(), config.moniker.as_str()), ("kvstore (built in)", "node-1"));
    assert!(config.metrics.is_none() && config.p2p.allow_duplicate_ip && !config.p2p.addr_book_strict);
    assert_eq!(plan.genesis.json, network.json);
}

#[test]
fn flags_of_this_form_before_a_command_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = crate::cli::tests::quorate(folder.path(), &["--port", "8080", "init"]).unwrap_err();
    assert!(error.exit == Exit::Usage && error.text.contains("flag --port before a command"), "{error}");
}
