//! The node outlives its application: away, late, wiped, ahead, or talking nonsense.

use super::harness::{
    App, Client, Home, Load, Node, assert_kept, assert_linked, assert_same_hash, base64, number, running_rpc, value_of,
};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::UnixListener;

/// How often the application is killed.
const KILLS: usize = 5;

#[test]
fn the_application_dies_under_load_and_the_node_goes_on_when_it_is_back() {
    let home = Home::new();
    let mut app = App::start(&home);
    let mut node = Node::start(&home);
    let load = Load::start();
    load.node_is_at(&node.rpc);
    for kill in 0..KILLS {
        load.wait_for_more(1 + kill * 11);
        let mark = node.process.mark();
        app.kill();
        node.process.wait_for_after(mark, "Consensus pauses until the application is back; RPC goes on");

        let client = &mut node.client();
        assert_eq!(client.get("/livez"), (200, "ok".to_owned()));
        let (code, body) = client.get("/readyz");
        assert_eq!(code, 503, "{body}");
        assert!(body.contains("[-] application: ") && body.contains("connecting again"), "{body}");
        assert!(number(&client.ask("status", &json!({}))["sync_info"]["latest_block_height"]) > 0);
        assert!(client.call("abci_query", &json!({"data": "00"})).is_err());

        app = App::start(&home);
        node.process.wait_for_after(mark, "ready  ");
        assert_eq!(client.get("/readyz").0, 200);
        load.wait_for_more(1);
    }
    let promises = load.end();
    let client = &mut node.client();
    assert_kept(client, &promises);
    assert_same_hash(client, "after=all");
    assert_linked(client);
    assert!(node.process.is_running());
    node.stop();
}

#[test]
fn the_application_may_come_late() {
    let home = Home::new();
    let node = Node::start_waiting(&home, &home.app_address());
    let client = &mut node.client();
    assert_eq!(client.get("/livez").0, 200);
    let (code, body) = client.get("/readyz");
    assert_eq!(code, 503);
    assert!(body.contains("[-] application: waiting for the application at unix://"), "{body}");
    assert_eq!(client.ask("status", &json!({}))["sync_info"]["latest_block_height"], json!("0"));
    assert!(client.call("broadcast_tx_sync", &json!({"tx": base64("too=early")})).is_err());

    let _app = App::start(&home);
    node.process.wait_for("ready  ");
    client.commit("in=time");
    assert_eq!(client.get("/readyz").0, 200);
    node.stop();
}

#[test]
fn an_application_that_lost_its_data_is_told_everything_again() {
    let home = Home::new();
    let app = App::start(&home);
    let node = Node::start(&home);
    for n in 0..5 {
        node.client().commit(format!("key{n}={n}"));
    }
    // While the node runs.
    app.kill();
    std::fs::remove_dir_all(home.app_data()).unwrap();
    let mark = node.process.mark();
    let app = App::start(&home);
    node.process.wait_for_after(mark, "replaying blocks 1 to ");
    node.process.wait_for_after(mark, "ready  ");
    let client = &mut node.client();
    client.commit("after=wipe");
    assert_eq!(value_of(client, "key0").unwrap(), "0");
    assert_same_hash(client, "one=more");
    node.stop();

    // While it does not.
    app.kill();
    std::fs::remove_dir_all(home.app_data()).unwrap();
    let _app = App::start(&home);
    let node = Node::start(&home);
    let client = &mut node.client();
    assert_eq!(value_of(client, "after").unwrap(), "wipe");
    assert_same_hash(client, "two=more");
    assert_linked(client);
    node.stop();
}

#[test]
fn an_application_ahead_of_the_node_is_refused_with_what_to_do_and_no_loop() {
    let home = Home::new();
    let app = App::start(&home);
    let node = Node::start(&home);
    node.client().commit("ahead=yes");
    node.stop();
    assert!(home.run(&["unsafe-reset-all"]).status.success());

    let mut process = Node::launch(&home, &home.app_address(), &[]);
    let line = process.wait_for("consensus stopped");
    for part in ["the application is at height 2 but this node stored only 0 blocks", "quorate unsafe-reset-all"] {
        assert!(line.contains(part), "{line}");
    }
    let client = &mut Client::new(&running_rpc(&home));
    let (code, body) = client.get("/readyz");
    assert!(code == 503 && body.contains("[-] consensus: the application is at height 2"), "{body}");
    // It waits for another application instead of dying again and again, and takes the right one.
    assert!(process.is_running());
    app.kill();
    std::fs::remove_dir_all(home.app_data()).unwrap();
    let _app = App::start(&home);
    process.wait_for("ready  ");
    assert_eq!(client.get("/readyz").0, 200);
    let complaints = process.output().matches("consensus stopped").count();
    assert_eq!(complaints, 1, "it says it once");
}

/// Wrong answers, and what the node says about each. 5 cases.
const NONSENSE: &[(&[u8], &str)] = &[
    (b"", "closed the query connection during info"),
    (&[0xff; 12], "does not speak length-delimited protobuf"),
    // Longer than any answer may be.
    (&[0xff, 0xff, 0xff, 0xff, 0x7f], "a frame of 34359738367 bytes was announced"),
    (b"\x04\xff\xff\xff\xff", "ends inside a number"),
    // An answer to Commit.
    (b"\x02\x62\x00", "it is an answer to commit"),
];

#[test]
fn an_application_that_talks_nonsense_does_no_harm() {
    let home = Home::new();
    let path = home.app_address().trim_start_matches("unix://").to_owned();
    let listener = UnixListener::bind(&path).unwrap();
    let mut node = Node::launch(&home, &home.app_address(), &[]);
    for (nonsense, complaint) in NONSENSE {
        let mark = node.mark();
        // It opens four connections, then asks on the first.
        let mut connections: Vec<_> = (0..4).map(|_| listener.accept().unwrap().0).collect();
        let mut question = [0; 1];
        connections[0].read_exact(&mut question).unwrap();
        connections[0].write_all(nonsense).unwrap();
        if nonsense.is_empty() {
            connections.clear();
        }
        let line = node.wait_for_after(mark, "connecting again");
        assert!(line.to_lowercase().contains(complaint), "{nonsense:?}: {line}");
    }
    drop(listener);
    std::fs::remove_file(&path).unwrap();
    let _app = App::start(&home);
    node.wait_for("ready  ");
    assert!(node.is_running() && !node.output().contains("panicked"));
}
