//! `kill -9` under load, again and again: whatever was promised is there afterwards, and nobody repairs anything.

use super::harness::{App, Client, Home, Load, Node, assert_kept, assert_linked, assert_same_hash, number};
use serde_json::{Value, json};
use std::time::Instant;

/// How often a story kills, unless `QUORATE_KILLS` says otherwise.
const KILLS: usize = 5;

fn kills() -> usize {
    std::env::var("QUORATE_KILLS").map_or(KILLS, |count| count.parse().unwrap())
}

/// Waits for progress and for some answers more, a different number each time, so that the kill meets other moments.
fn await_the_moment(load: &Load, node: &Node, kill: usize) {
    load.wait_for_more(1 + kill * 7 % 23);
    let mut client = node.client();
    for _ in 0..kill * 5 % 31 {
        assert_eq!(client.get("/livez").0, 200);
    }
}

#[test]
fn what_was_promised_survives_any_number_of_kills_of_the_node() {
    let home = Home::new();
    let _app = App::start(&home);
    let load = Load::start();
    for kill in 0..kills() {
        let node = Node::start(&home);
        load.node_is_at(&node.rpc);
        await_the_moment(&load, &node, kill);
        node.kill();
        load.node_is_away();
    }
    check_everything(&home, load, "node");
}

#[test]
fn what_was_promised_survives_when_node_and_application_die_together() {
    let home = Home::new();
    let load = Load::start();
    for kill in 0..kills() {
        let app = App::start(&home);
        let node = Node::start(&home);
        load.node_is_at(&node.rpc);
        await_the_moment(&load, &node, kill);
        if kill % 2 == 0 {
            app.kill();
            node.kill();
        } else {
            node.kill();
            app.kill();
        }
        load.node_is_away();
    }
    let _app = App::start(&home);
    check_everything(&home, load, "node and application");
}

/// Starts the node a last time and compares everything there is with everything that was promised.
fn check_everything(home: &Home, load: Load, killed: &str) {
    let begun = Instant::now();
    let node = Node::start(home);
    let ready = begun.elapsed();
    load.node_is_at(&node.rpc);
    load.wait_for_more(1);
    let promises = load.end();
    let client = &mut node.client();
    assert_kept(client, &promises);
    assert_same_hash(client, "the-last=one");
    let (tip, txs) = assert_linked(client);
    assert_eq!(executed(client), txs, "every transaction of the chain was executed once");
    println!(
        "{} kills of {killed}: {} promises kept, {tip} heights linked, {txs} transactions executed once; \
         ready {ready:?} after the last kill",
        kills(),
        promises.len()
    );
    assert!(!node.process.output().contains("panicked"));
    node.stop();
}

/// How many transactions the application says it executed.
fn executed(client: &mut Client) -> u64 {
    let info = client.ask("abci_info", &json!({}))["response"].take();
    let data: Value = serde_json::from_str(info["data"].as_str().unwrap()).unwrap();
    assert!(number(&info["last_block_height"]) > 0);
    data["size"].as_u64().unwrap()
}
