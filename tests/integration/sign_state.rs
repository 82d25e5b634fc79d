//! A sign state that is older than what the validator signed: the node refuses, and says how to go on without signing
//! twice.

use super::harness::{App, Home, Node, assert_linked, base64, value_of};
use serde_json::{Value, json};
use std::fs;
use std::process::Output;

const STATE: &str = "data/priv_validator_state.json";

/// A home whose only validator decided some blocks and was stopped. The application lives on.
fn used_home() -> (Home, App) {
    let home = Home::new();
    let app = App::start(&home);
    let node = Node::start(&home);
    for n in 0..3 {
        node.client().commit(format!("key{n}={n}"));
    }
    node.stop();
    (home, app)
}

/// What a start that refuses says.
fn refusal(home: &Home) -> String {
    let mut process = Node::launch(home, &home.app_address(), &[]);
    assert!(!process.end().success());
    assert!(!process.output().contains("panicked"), "{}", process.output());
    process.stderr()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Height of the sign state.
fn height(home: &Home) -> u64 {
    let state: Value = serde_json::from_slice(&fs::read(home.file(STATE)).unwrap()).unwrap();
    state["height"].as_str().unwrap().parse().unwrap()
}

/// What happens to the state file, and the words of the refusal. 3 cases.
type Accident = (&'static str, fn(&Home, &[u8]), &'static [&'static str]);
const ACCIDENTS: &[Accident] = &[
    (
        "it is reset",
        |home, _| assert!(home.run(&["unsafe-reset-priv-validator"]).status.success()),
        &["refused to sign", "the last signature of this key is nothing", "quorate advance-sign-state"],
    ),
    (
        "it comes from a backup",
        |home, backup| fs::write(home.file(STATE), backup).unwrap(),
        &["refused to sign", "by this key", "the file is too old", "quorate advance-sign-state"],
    ),
    (
        "it is deleted",
        |home, _| fs::remove_file(home.file(STATE)).unwrap(),
        &["cannot read", "stop every other node with this key", "quorate advance-sign-state"],
    ),
];

#[test]
fn a_sign_state_older_than_the_blocks_is_refused_and_advanced_without_a_double_sign() {
    let (home, _app) = used_home();
    let backup = fs::read(home.file(STATE)).unwrap();
    for (what, happens, words) in ACCIDENTS {
        let node = Node::start(&home);
        node.client().commit(format!("since={what}"));
        node.stop();
        let signed = height(&home);
        happens(&home, &backup);
        let said = refusal(&home);
        assert!(words.iter().all(|word| said.contains(word)) && said.contains(STATE), "{what}: {said}");
        assert!(said.lines().count() <= 3, "{said}");

        // It decides alone: giving up a height would end the chain.
        let refused = home.run(&["advance-sign-state"]);
        assert!(!refused.status.success() && complaint(&refused).contains("--trust-journal"), "{refused:?}");
        let advanced = home.run(&["advance-sign-state", "--trust-journal"]);
        assert!(advanced.status.success(), "{what}: {}", complaint(&advanced));
        assert_eq!(height(&home), signed, "{what}: exactly what was signed");
        let node = Node::start(&home);
        let client = &mut node.client();
        client.commit(format!("after={what}"));
        assert_eq!(value_of(client, "after").unwrap(), *what);
        assert_linked(client);
        node.stop();
    }
}

#[test]
fn a_height_given_up_is_never_signed_and_the_state_never_goes_back() {
    let (home, _app) = used_home();
    let tip = height(&home);
    let given_up = home.run(&["advance-sign-state", "--height", &(tip + 5).to_string(), "--json"]);
    assert!(given_up.status.success(), "{}", complaint(&given_up));
    let answer: Value = serde_json::from_slice(&given_up.stdout).unwrap();
    assert_eq!(answer["after"], json!({"height": (tip + 5).to_string(), "round": i32::MAX, "step": 3}));
    for (args, part) in [(["--height", "1"], "must be"), (["--height", "0"], "must be")] {
        let refused = home.run(&["advance-sign-state", args[0], args[1]]);
        assert!(!refused.status.success() && complaint(&refused).contains(part), "{refused:?}");
    }
    assert!(home.run(&["advance-sign-state", "--trust-journal"]).status.success());
    assert_eq!(height(&home), tip + 5, "never back");
    let node = Node::start(&home);
    node.client().ask("broadcast_tx_async", &json!({"tx": base64("late=1")}));
    let line = node.process.wait_for("refused to sign");
    assert!(line.contains("height regression"), "{line}");
    node.stop();
}
