//! Files that are torn, flipped or from another day: what a crash leaves is repaired, everything else is refused.

use super::harness::{App, Home, Node, assert_linked, assert_same_hash, value_of};
use serde_json::json;
use std::fs;

/// Transactions before the damage, each in a block of its own.
const TXS: usize = 10;

/// A home whose chain has some blocks and whose node was killed; its application lives on.
///
/// It is killed when the proof block of the last transaction is there and nothing is to be decided. In the middle of a
/// height it could have signed, and without its journal it would sign nothing more at that height: alone, it would wait
/// for ever.
fn used_home() -> (Home, App) {
    let home = Home::new();
    let app = App::start(&home);
    let node = Node::start(&home);
    let mut height = 0;
    for n in 0..TXS {
        height = node.client().commit(format!("key{n}={n}"));
    }
    node.process.wait_for(&format!("height {:<10}", height + 1));
    node.kill();
    (home, app)
}

/// The journal's bytes, without the zeros it was allocated with.
fn journal(home: &Home) -> Vec<u8> {
    let mut bytes = fs::read(home.file("data/cs.wal/wal")).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    bytes.truncate(used);
    bytes
}

/// How many bytes the end of the journal loses. 4 cases.
const TORN: &[usize] = &[1, 3, 17, 120];

#[test]
fn a_torn_end_of_the_journal_is_cut_off_and_the_chain_goes_on() {
    for lost in TORN {
        let (home, _app) = used_home();
        let mut bytes = journal(&home);
        bytes.truncate(bytes.len() - lost);
        fs::write(home.file("data/cs.wal/wal"), bytes).unwrap();

        let node = Node::start(&home);
        node.process.wait_for("the torn end was cut off");
        let client = &mut node.client();
        for n in 0..TXS {
            assert_eq!(value_of(client, &format!("key{n}")), Some(n.to_string()));
        }
        assert_same_hash(client, "after=tear");
        assert_linked(client);
        node.stop();
    }
}

#[test]
fn damage_inside_the_journal_is_refused_with_the_command_to_run() {
    let (home, _app) = used_home();
    let mut bytes = journal(&home);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(home.file("data/cs.wal/wal"), bytes).unwrap();

    let mut process = Node::launch(&home, &home.app_address(), &[]);
    let status = process.end();
    let complaint = process.stderr();
    assert_eq!(status.code(), Some(1), "{}", process.output());
    assert!(complaint.contains("is damaged at byte") && complaint.lines().count() <= 3, "{complaint}");
    assert!(!process.output().contains("panicked"));

    // The command it names is enough.
    let (_, command) = complaint.trim_end().rsplit_once("mv ").expect("it names a command");
    let (from, to) = command.split_once(' ').unwrap();
    fs::rename(from, to).unwrap();
    let node = Node::start(&home);
    let client = &mut node.client();
    assert_eq!(value_of(client, "key0").unwrap(), "0");
    assert_same_hash(client, "after=flip");
    assert_linked(client);
    node.stop();
}

#[test]
fn a_signer_that_remembers_a_later_height_signs_nothing_twice() {
    let (home, app) = used_home();
    let state = home.file("data/priv_validator_state.json");
    let remembered = fs::read(&state).unwrap();
    assert!(home.run(&["unsafe-reset-all"]).status.success());
    fs::write(&state, &remembered).unwrap();
    app.kill();
    fs::remove_dir_all(home.app_data()).unwrap();

    let _app = App::start(&home);
    let mut node = Node::start(&home);
    let line = node.process.wait_for("refused to sign");
    assert!(line.contains("height 1 ") && line.contains("regression"), "{line}");
    let client = &mut node.client();
    assert_eq!(client.ask("status", &json!({}))["sync_info"]["latest_block_height"], json!("0"));
    let (code, body) = client.get("/readyz?verbose");
    assert!(code == 503 && body.contains("[-] signer: refused at height 1 "), "{code} {body}");
    assert!(node.process.is_running());
    node.stop();
    assert_eq!(fs::read(&state).unwrap(), remembered, "it remembers what it did");
}
