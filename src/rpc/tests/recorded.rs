//! Every recorded request is understood, and every recorded answer is given in the same shape: the same keys with the
//! same kinds of values, and the same values where they follow from the chain.

use super::fake::{FakeNode, Submitted, block, folder, recorded};
use crate::codec::json::{View, to_bytes};
use crate::rpc::limits::Limits;
use crate::rpc::reads::Reads;
use crate::rpc::routes::Route;
use crate::rpc::wire::parse_requests;
use crate::rpc::{RpcConfig, Shared, args};
use crate::types::{Height, Notice, Tx};
use serde_json::Value;
use std::sync::Arc;

pub(super) fn shared(submitted: Submitted) -> Shared<FakeNode> {
    let config = RpcConfig {
        timeout_broadcast_tx_commit: std::time::Duration::from_millis(50),
        unsafe_routes: true,
        ..RpcConfig::default()
    };
    Shared {
        node: Arc::new(FakeNode::new(submitted)),
        limits: Limits::new(config.max_subscription_clients, config.max_subscriptions_per_client),
        reads: Reads::default(),
        config,
        genesis: Default::default(),
        shutdown: Default::default(),
    }
}

pub(super) async fn ask(shared: &Shared<FakeNode>, request: &Value) -> Value {
    let body = request.to_string();
    let requests = parse_requests(body.as_bytes()).expect("a request");
    let answers = shared.call_all("client", &requests).await;
    serde_json::from_slice(&crate::rpc::wire::join(answers.bodies)).expect("answers are JSON")
}

/// Where two values differ in shape, if they do.
fn difference(path: &str, ours: &Value, theirs: &Value) -> Option<String> {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let missing = b.keys().find(|key| !a.contains_key(*key)).map(|key| format!("{path}.{key} is missing"));
            let extra = || a.keys().find(|key| !b.contains_key(*key)).map(|key| format!("{path}.{key} is too much"));
            let inner = || a.iter().find_map(|(key, value)| difference(&format!("{path}.{key}"), value, b.get(key)?));
            missing.or_else(extra).or_else(inner)
        }
        (Value::Array(a), Value::Array(b)) => a.iter().zip(b).find_map(|(a, b)| difference(&format!("{path}[]"), a, b)),
        (Value::String(a), Value::String(b)) => {
            let like = |text: &str| (text.parse::<i64>().is_ok(), text.ends_with('Z') && text.contains('T'));
            (like(a) != like(b)).then(|| format!("{path}: {a:?} is not like {b:?}"))
        }
        (Value::Number(_), Value::Number(_)) | (Value::Bool(_), Value::Bool(_)) | (Value::Null, Value::Null) => None,
        _ => Some(format!("{path}: {ours} instead of {theirs}")),
    }
}

#[test]
fn thirty_recorded_requests_are_understood() {
    let mut count = 0;
    for entry in std::fs::read_dir(folder("outgoing")).expect("recorded files") {
        let body = std::fs::read(entry.expect("an entry").path()).expect("readable");
        let request = parse_requests(&body).expect("a request").pop().expect("one");
        let route = Route::find(&request.method).expect("a known route");
        assert!(request.id.is_some());
        args::from_json(route, request.params).expect("good arguments");
        count += 1;
    }
    let incoming = std::fs::read_dir(folder("incoming")).expect("recorded files").count();
    assert_eq!((count, incoming), (30, 41), "71 files");
}

#[tokio::test]
async fn twenty_seven_recorded_answers_are_given() {
    let shared = shared(Submitted::Committed);
    let same_value = [
        "abci_info",
        "abci_query_with_existing_key",
        "abci_query_with_non_existent_key",
        "block_at_height_0",
        "block_at_height_1",
        "block_at_height_10",
        "block_results_at_height_10",
        "block_search",
        "broadcast_tx_async",
        "broadcast_tx_commit",
        "broadcast_tx_sync",
        "commit_at_height_10",
        "consensus_params",
        "consensus_state",
        "genesis",
        "net_info",
        "tx_search_no_prove",
        "tx_search_with_prove",
    ];
    let same_shape = ["block_by_hash", "blockchain_from_1_to_10", "status"];
    let mut count = 0;
    for name in same_value.iter().chain(&same_shape) {
        let theirs = recorded("incoming", name);
        let mut request = recorded("outgoing", name);
        if *name == "block_by_hash" {
            // The block recorded under that hash is of another run; ask for one we have.
            request["params"]["hash"] = "AOzaxGPCAezUvbuq5KU6TIApHUBR/Wntl/ZCDOE4i/4=".into();
        }
        let ours = ask(&shared, &request).await;
        assert_eq!(difference(name, &ours, &theirs), None);
        if same_value.contains(name) {
            assert_eq!(ours["result"], theirs["result"], "{name}");
            assert_eq!(ours["error"], theirs["error"], "{name}");
            assert_eq!(ours["id"], request["id"], "{name}");
        }
        count += 1;
    }
    for index in 0..6 {
        let name = format!("subscribe_txs_broadcast_tx_{index}");
        let ours = ask(&shared, &recorded("outgoing", &name)).await;
        assert_eq!(ours["result"]["code"], 0);
        assert_eq!(difference(&name, &ours, &recorded("incoming", &name)), None);
        count += 1;
    }
    assert_eq!(count, 27);
    let metas = ask(&shared, &recorded("outgoing", "blockchain_from_1_to_10")).await;
    let theirs = recorded("incoming", "blockchain_from_1_to_10");
    assert_eq!(metas["result"]["block_metas"], theirs["result"]["block_metas"], "sizes and hashes too");
}

#[test]
fn a_block_is_written_byte_for_byte_in_cometbfts_order() {
    let file = std::fs::read_to_string(folder("incoming").join("block_search_evidence.json")).expect("readable");
    let file = file
        .replace("\"total_voting_power\"", "\"TotalVotingPower\"")
        .replace("\"validator_power\"", "\"ValidatorPower\"")
        .replace(
            "\"timestamp\": \"2024-09-13T15:58:27.05956617Z\"",
            "\"Timestamp\": \"2024-09-13T15:58:27.05956617Z\"",
        );
    let json: Value = serde_json::from_str(&file).expect("JSON");
    let theirs = &json["result"]["blocks"][0]["block"];
    let ours = String::from_utf8(to_bytes(&View(&block(theirs)))).expect("text");
    assert_eq!(ours, theirs.to_string());
}

#[tokio::test]
async fn ten_recorded_events_are_told() {
    let node = FakeNode::new(Submitted::Stuck);
    let mut subscription = node.bus.subscribe();
    node.publish(Height::new(243), &[Tx::new(&b"tx0=value"[..])]);
    let Some(crate::ports::Delivery::Published(fact)) = crate::ports::Subscription::next(&mut subscription).await
    else {
        panic!("nothing was published")
    };
    let notices = fact.notices();
    let kinds: Vec<&str> = notices.iter().map(Notice::kind).collect();
    assert_eq!(kinds, ["NewBlock", "NewBlockHeader", "NewBlockEvents", "Tx"], "in publishing order");
    let data = |index: usize| -> Value { serde_json::from_slice(&to_bytes(&View(&notices[index]))).expect("JSON") };
    node.publish(Height::new(244), &[]);
    let Some(crate::ports::Delivery::Published(empty)) = crate::ports::Subscription::next(&mut subscription).await
    else {
        panic!("nothing was published")
    };
    let block: Value = serde_json::from_slice(&to_bytes(&View(&empty.notices()[0]))).expect("JSON");
    for index in 0..5 {
        let theirs = recorded("incoming", &format!("subscribe_newblock_{index}"));
        assert_eq!(difference("NewBlock", &block, &theirs["result"]["data"]), None);
        let theirs = recorded("incoming", &format!("subscribe_txs_{index}"));
        assert_eq!(difference("Tx", &data(3), &theirs["result"]["data"]), None);
    }
    let theirs = recorded("incoming", "subscribe_txs_0");
    assert_eq!(data(3), theirs["result"]["data"]);
    let attributes = serde_json::to_value(notices[3].attributes()).expect("JSON");
    assert_eq!(attributes, theirs["result"]["events"]);
}
