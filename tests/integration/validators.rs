//! The application changes who decides: in force two heights later, and the chain goes on without the newcomer's vote.

use super::harness::{App, Client, Home, Node, assert_linked, base64, number};
use quorate::crypto::PublicKey;
use quorate::types::Address;
use serde_json::{Value, json};

/// The basic point of Ed25519: a key like any other, whose owner never votes here.
const SILENT_KEY: [u8; 32] = {
    let mut key = [0x66; 32];
    key[0] = 0x58;
    key
};
/// Next to our own 10, so that we keep more than two thirds: 10 of 13.
const SILENT_POWER: u64 = 3;
/// Blocks after the change, so that it is in force and has been carried on.
const BLOCKS_AFTER: u64 = 4;

#[test]
fn a_validator_joins_two_heights_later_is_absent_and_leaves_again() {
    let home = Home::new();
    let _app = App::start(&home);
    let node = Node::start(&home);
    let client = &mut node.client();
    let silent = Address::from(&PublicKey::try_from(SILENT_KEY.as_slice()).unwrap()).to_string();

    let joined = change_power(client, SILENT_POWER);
    let tip = commit_blocks(client, "joined");
    for height in joined.saturating_sub(1)..=tip {
        let names = validators(client, height);
        assert_eq!(names.iter().any(|(name, _)| *name == silent), height >= joined + 2, "height {height}: {names:?}");
    }
    assert!(validators(client, tip).contains(&(silent.clone(), SILENT_POWER)));
    for height in joined..tip {
        let flags = flags(client, height);
        // 2 is a vote for the block, 1 is absent.
        let expected: &[u64] = if height >= joined + 2 { &[2, 1] } else { &[2] };
        assert_eq!(flags, expected, "commit of height {height}");
    }

    let left = change_power(client, 0);
    let tip = commit_blocks(client, "left");
    assert_eq!(validators(client, left + 1).len(), 2);
    assert_eq!(validators(client, left + 2).len(), 1);
    assert_eq!(flags(client, tip - 1), [2]);
    assert_linked(client);

    // What was decided with an absent validator is taken up again.
    node.stop();
    let node = Node::start(&home);
    let client = &mut node.client();
    commit_blocks(client, "again");
    assert_linked(client);
    node.stop();
}

/// Sends the change and gives the height of the block it is in.
fn change_power(client: &mut Client, power: u64) -> u64 {
    client.commit(format!("val=ed25519!{}!{power}", base64(SILENT_KEY)))
}

/// Makes some blocks, and gives the height of the last.
fn commit_blocks(client: &mut Client, name: &str) -> u64 {
    (0..BLOCKS_AFTER).map(|n| client.commit(format!("{name}{n}=yes"))).last().unwrap()
}

/// Address and power of everybody who decides a height.
fn validators(client: &mut Client, height: u64) -> Vec<(String, u64)> {
    let answer = client.ask("validators", &json!({"height": height.to_string()}));
    let member = |value: &Value| (value["address"].as_str().unwrap().to_owned(), number(&value["voting_power"]));
    answer["validators"].as_array().unwrap().iter().map(member).collect()
}

/// The flags of the signatures in the commit of a height.
fn flags(client: &mut Client, height: u64) -> Vec<u64> {
    let answer = client.ask("commit", &json!({"height": height.to_string()}));
    let signatures = answer["signed_header"]["commit"]["signatures"].as_array().unwrap();
    signatures.iter().map(|signature| signature["block_id_flag"].as_u64().unwrap()).collect()
}
