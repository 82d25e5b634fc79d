//! A first day: one validator, one application, transactions in and answers out, stop and start again.

use super::harness::{App, Client, Home, Node, assert_linked, assert_same_hash, base64, number, tx_hash, value_of};
use serde_json::{Value, json};

/// Transactions in one request.
const IN_A_BATCH: usize = 100;

#[test]
fn a_chain_over_a_unix_socket_takes_transactions_and_answers_for_them() {
    let home = Home::new();
    let _app = App::start(&home);
    let node = Node::start(&home);
    story(&node);
    node.stop();
}

#[test]
fn a_chain_over_tcp_takes_transactions_and_answers_for_them() {
    let home = Home::new();
    let app = App::start_at(&home, "tcp://127.0.0.1:0");
    let node = Node::start_with(&home, &app.address(), &[]);
    story(&node);
    node.stop();
}

/// Everything a client does on the first day.
fn story(node: &Node) {
    let client = &mut node.client();
    assert_eq!(client.get("/readyz").0, 200);

    let committed = client.ask("broadcast_tx_commit", &json!({"tx": base64("name=alice")}));
    assert_eq!((&committed["check_tx"]["code"], &committed["tx_result"]["code"]), (&json!(0), &json!(0)));
    assert_eq!(committed["hash"], json!(tx_hash("name=alice").to_string()));
    let height = committed["height"].clone();

    let batch: Vec<_> =
        (0..IN_A_BATCH).map(|n| ("broadcast_tx_commit", json!({"tx": base64(format!("batch{n}={n}"))}))).collect();
    for (n, answer) in client.call_many(&batch).unwrap().into_iter().enumerate() {
        let answer = answer.unwrap();
        assert_eq!(answer["tx_result"]["code"], json!(0), "{n}: {answer}");
        assert_ne!(answer["height"], json!("0"));
    }
    let sent = client.ask("broadcast_tx_async", &json!({"tx": base64("async=yes")}));
    assert_eq!(sent["code"], json!(0));
    // What waited before it is in a block not later than this one.
    client.commit("after=async");
    assert_eq!(value_of(client, "async").unwrap(), "yes");
    assert_eq!(value_of(client, "name").unwrap(), "alice");

    let refused = client.ask("broadcast_tx_sync", &json!({"tx": base64("nonsense")}));
    assert_eq!(refused["code"], json!(2), "{refused}");

    answers_about(client, &height);
    let (_, txs) = assert_linked(client);
    assert_eq!(txs as usize, IN_A_BATCH + 3);
    assert_same_hash(client, "last=one");
}

/// Every route that speaks about the block at `height`, which holds `name=alice`.
fn answers_about(client: &mut Client, height: &Value) {
    let at = json!({"height": height});
    let tx = client.ask("tx", &json!({"hash": base64(tx_hash("name=alice").as_bytes()), "prove": true}));
    assert_eq!((&tx["height"], &tx["tx"]), (height, &json!(base64("name=alice"))));
    assert_eq!(tx["proof"]["data"], json!(base64("name=alice")));

    let found = client.ask("tx_search", &json!({"query": "app.key='name'"}));
    assert_eq!((&found["total_count"], &found["txs"][0]["height"]), (&json!("1"), height));
    let query = format!("block.height={}", height.as_str().unwrap());
    let blocks = client.ask("block_search", &json!({"query": query}));
    assert_eq!(blocks["total_count"], json!("1"));
    let block = client.ask("block", &at);
    assert_eq!(blocks["blocks"][0], block);
    assert_eq!(block["block"]["data"]["txs"], json!([base64("name=alice")]));
    assert_eq!(tx["proof"]["root_hash"], block["block"]["header"]["data_hash"]);

    let results = client.ask("block_results", &at);
    assert_eq!(results["txs_results"][0]["events"][0]["type"], json!("app"));
    let commit = client.ask("commit", &at);
    assert_eq!(commit["signed_header"]["commit"]["block_id"], block["block_id"]);
    assert_eq!(commit["signed_header"]["commit"]["signatures"][0]["block_id_flag"], json!(2));
    let validators = client.ask("validators", &at);
    assert_eq!((&validators["total"], &validators["validators"][0]["voting_power"]), (&json!("1"), &json!("10")));
    let status = client.ask("status", &json!({}));
    assert_eq!(status["sync_info"]["catching_up"], json!(false));
    assert_eq!(status["validator_info"]["address"], validators["validators"][0]["address"]);
}

#[test]
fn status_tells_a_person_and_a_program_about_the_running_node() {
    let home = Home::new();
    let _app = App::start(&home);
    let node = Node::start(&home);
    let height = node.client().ask("broadcast_tx_commit", &json!({"tx": base64("a=b")}))["height"].take();

    let screen = home.run(&["status"]);
    let text = String::from_utf8(screen.stdout).unwrap();
    assert_eq!(screen.status.code(), Some(0), "{text}");
    for part in ["catching up  no", "with power 10", &format!("process {}", node.process.id()), &node.rpc] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let machine = home.run(&["status", "--json"]);
    let value: Value = serde_json::from_slice(&machine.stdout).unwrap();
    assert_eq!(value["running"], json!(true));
    assert!(number(&value["status"]["sync_info"]["latest_block_height"]) >= number(&height));
    node.stop();

    let screen = home.run(&["status", "--node", "tcp://127.0.0.1:1"]);
    assert_eq!(screen.status.code(), Some(1));
    let text = String::from_utf8(screen.stderr).unwrap();
    assert!(text.contains("no node runs on") && text.contains("quorate start --home"), "{text}");
    assert!(text.lines().count() <= 3, "{text}");
}

#[test]
fn a_node_whose_output_nobody_reads_any_more_goes_on_until_it_is_told_to_stop() {
    let home = Home::new();
    let _app = App::start(&home);
    let node = Node::start_unread(&home);
    let client = &mut node.client();
    for turn in 0..3 {
        client.commit(format!("unread{turn}=yes"));
    }
    assert_eq!(value_of(client, "unread2").unwrap(), "yes");
    node.stop();
}

/// Lines for people and those of the log share stdout.
#[test]
fn a_log_in_json_is_json_on_every_line() {
    let home = Home::new();
    let _app = App::start(&home);
    let node = Node::start_json(&home);
    node.client().commit("a=b");
    let tip = node.process.wait_for(" txs");
    node.process.signal(rustix::process::Signal::TERM);
    node.process.wait_for("stopping once more");
    for line in node.process.stdout().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok_and(|value| value.is_object()), "{line}");
    }
    assert!(tip.contains("\"level\":\"INFO\""), "{tip}");
}

/// How often the node is stopped and started again.
const STOPS: usize = 3;

#[test]
fn a_stopped_node_goes_on_at_the_next_height() {
    let home = Home::new();
    let _app = App::start(&home);
    let mut tip_before = 0;
    for turn in 0..STOPS {
        let node = Node::start(&home);
        node.process.wait_for(&format!("at height {tip_before}, deciding {},", tip_before + 1));
        let client = &mut node.client();
        client.commit(format!("turn{turn}=yes"));
        for earlier in 0..=turn {
            assert_eq!(value_of(client, &format!("turn{earlier}")).unwrap(), "yes");
        }
        assert_same_hash(client, &format!("check{turn}=yes"));
        assert_linked(client);
        node.stop();
        tip_before = stored_tip(&home);
    }
}

/// The height the stopped home stands at, as the signer's file knows it: the last block decided is the last one it
/// precommitted.
fn stored_tip(home: &Home) -> u64 {
    let file = std::fs::read(home.file("data/priv_validator_state.json")).unwrap();
    let state: Value = serde_json::from_slice(&file).unwrap();
    let height = number(&state["height"]);
    if state["step"] == json!(3) { height } else { height - 1 }
}
