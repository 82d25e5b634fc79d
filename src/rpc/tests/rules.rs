//! Rules by table: arguments in URLs and JSON, errors, pages, batches.

use super::fake::{FakeNode, Submitted};
use super::recorded::{ask, shared};
use crate::ports::ReadGuarantee;
use crate::rpc::RpcConfig;
use crate::rpc::args::{from_json, from_uri};
use crate::rpc::chain::{page, per_page};
use crate::rpc::cors::Cors;
use crate::rpc::form;
use crate::rpc::limits::Limits;
use crate::rpc::routes::{Route, endpoints};
use crate::rpc::wire::parse_requests;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use std::sync::atomic::Ordering;

#[test]
fn twenty_three_arguments_in_urls_are_read_as_cometbft_reads_them() {
    let cases: [(&str, &str, &str, &str); 23] = [
        ("block", "height", "5", "Int(5)"),
        ("block", "height", "\"5\"", "Int(5)"),
        ("block", "height", "-5", "Int(-5)"),
        ("block", "height", "", "None"),
        ("block", "height", "five", "invalid 64-bit integer encoding \"five\", expected string"),
        ("block", "height", "0x05", "got a hex string arg, but expected 'int64'"),
        ("block", "height", "9223372036854775808", "json: cannot unmarshal number 9223372036854775808"),
        ("block", "height", "5.5", "invalid 64-bit integer encoding \"5.5\", expected string"),
        ("genesis_chunked", "chunk", "1", "Int(1)"),
        ("genesis_chunked", "chunk", "-1", "Go value of type uint"),
        ("broadcast_tx_sync", "tx", "\"a=b\"", "Bytes([97, 61, 98])"),
        ("broadcast_tx_sync", "tx", "0x613d62", "Bytes([97, 61, 98])"),
        ("broadcast_tx_sync", "tx", "0X613D62", "Bytes([97, 61, 98])"),
        ("broadcast_tx_sync", "tx", "a=b", "invalid character 'a' looking for beginning of value"),
        ("broadcast_tx_sync", "tx", "0x6", "encoding/hex"),
        ("header_by_hash", "hash", "0xAB", "Bytes([171])"),
        ("tx", "prove", "true", "Bool(true)"),
        ("tx", "prove", "false", "Bool(false)"),
        ("tx", "prove", "1", "json: cannot unmarshal number into Go value of type bool"),
        ("tx_search", "query", "\"tx.height>5\"", "Text(\"tx.height>5\")"),
        ("tx_search", "query", "tx.height>5", "invalid character 'x' in literal true (expecting 'r')"),
        ("tx_search", "query", "0x6869", "Text(\"hi\")"),
        ("abci_query", "data", "\"key\"", "Bytes([107, 101, 121])"),
    ];
    for (route, name, text, expected) in cases {
        let route = Route::find(route).unwrap();
        let read = format!("{:?}", from_uri(route, &[(name.to_owned(), text.to_owned())]));
        let read = read.replace("\\\"", "\"");
        assert!(read.contains(expected), "{name}={text}: {read}");
    }
}

#[test]
fn thirteen_arguments_in_json_are_read_as_cometbft_reads_them() {
    let cases = [
        ("block", r#"{"height":"5"}"#, "Int(5)"),
        ("block", r#"{"height":5}"#, "invalid 64-bit integer encoding \\\"5\\\", expected string"),
        ("block", r#"{"height":null,"other":1}"#, "Ok(Args([None]))"),
        ("block", r#"["5"]"#, "Int(5)"),
        ("block", r#"[]"#, "expected 1 parameters ([height]), got 0 ([])"),
        ("block", r#"5"#, "Expected map or array"),
        ("block", "null", "Ok(Args([None]))"),
        ("broadcast_tx_sync", r#"{"tx":"YT1i"}"#, "Bytes([97, 61, 98])"),
        ("broadcast_tx_sync", r#"{"tx":"a=b"}"#, "illegal base64 data"),
        ("header_by_hash", r#"{"hash":"ab01"}"#, "Bytes([171, 1])"),
        ("abci_query", r#"{"data":"xy"}"#, "encoding/hex"),
        ("tx", r#"{"prove":"yes"}"#, "json: cannot unmarshal string into Go value of type bool"),
        ("broadcast_evidence", r#"{"evidence":{"type":"x","value":{}}}"#, "evidence.type is"),
    ];
    assert_eq!(cases.len(), 13);
    for (route, params, expected) in cases {
        let raw = serde_json::value::RawValue::from_string(params.to_owned()).unwrap();
        let read = format!("{:?}", from_json(Route::find(route).unwrap(), Some(&raw)));
        assert!(read.contains(expected), "{route} {params}: {read}");
    }
}

#[tokio::test]
async fn twenty_two_wrong_requests_get_cometbfts_codes_and_texts() {
    let shared = shared(Submitted::Stuck);
    let cases = [
        ("nothing", json!({}), -32601, ""),
        ("subscribe", json!({"query": "a=1"}), -32601, ""),
        ("block", json!({"height": 1}), -32602, "error converting json params to arguments: invalid 64-bit integer"),
        ("block", json!({"height": "0"}), -32603, "height must be greater than 0, but got 0"),
        ("block", json!({"height": "-3"}), -32603, "height must be greater than 0, but got -3"),
        (
            "block",
            json!({"height": "999"}),
            -32603,
            "height 999 must be less than or equal to the current blockchain height 253",
        ),
        (
            "validators",
            json!({"height": "255"}),
            -32603,
            "height 255 must be less than or equal to the current blockchain height 254",
        ),
        ("validators", json!({"page": "2"}), -32603, "page should be within [1, 1] range, given 2"),
        (
            "blockchain",
            json!({"minHeight": "9", "maxHeight": "3"}),
            -32603,
            "min height 9 can't be greater than max height 3",
        ),
        ("blockchain", json!({"minHeight": "-1"}), -32603, "heights must be non-negative"),
        ("genesis_chunked", json!({"chunk": "1"}), -32603, "there are 0 chunks, 1 is invalid"),
        ("tx", json!({"hash": "AAAA"}), -32603, "tx (000000) not found"),
        ("tx", json!({"hash": ""}), -32603, "transaction hash cannot be empty"),
        ("block", json!({"height": "02"}), -32602, "invalid character '2' after top-level value"),
        ("block", json!(["1", "2"]), -32602, "got 2 ([[34 49 34] [34 50 34]])"),
        ("health", json!(5), -32602, "json: cannot unmarshal number into Go value of type []json.RawMessage."),
        (
            "tx_search",
            json!({"query": "a=1", "order_by": "up"}),
            -32603,
            "expected order_by to be either `asc` or `desc` or empty",
        ),
        ("tx_search", json!({"query": "a".repeat(513)}), -32603, "maximum query length exceeded"),
        ("tx_search", json!({"query": ""}), -32603, "offset 0: EOF"),
        (
            "tx_search",
            json!({"query": "tx.height>1", "page": "9"}),
            -32603,
            "page should be within [1, 1] range, given 9",
        ),
        ("broadcast_tx_commit", json!({"tx": "YQ=="}), -32603, "timed out waiting for tx to be included in a block"),
        ("broadcast_evidence", json!({}), -32603, "no evidence was provided"),
    ];
    assert_eq!(cases.len(), 22);
    for (method, params, code, text) in cases {
        let answer = ask(&shared, &json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})).await;
        assert_eq!(answer["error"]["code"], code, "{method}: {answer}");
        assert_eq!(answer["id"], 7);
        assert!(answer["error"]["data"].as_str().unwrap_or_default().contains(text), "{method}: {answer}");
    }
}

#[tokio::test]
async fn a_batch_of_transactions_is_submitted_at_once_and_answered_in_order() {
    let shared = shared(Submitted::Committed);
    let send = |id: u32, method: &str| json!({"id": id, "method": method, "params": {"tx": "YT1i"}});
    let batch = json!([
        send(1, "broadcast_tx_sync"),
        {"id": 2, "method": "health"},
        send(3, "broadcast_tx_sync"),
        {"method": "health"},
        send(4, "broadcast_tx_commit"),
    ]);
    let answers = ask(&shared, &batch).await;
    let ids: Vec<u64> = answers.as_array().unwrap().iter().map(|answer| answer["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [1, 2, 3, 4], "the notification is not answered");
    assert_eq!(answers[3]["result"]["height"], "227");
    assert_eq!(*shared.node.batches.lock().unwrap(), [2, 1], "one batch of CheckTx for each kind");
    let alone = ask(&shared, &json!([{"id": "x", "method": "health"}])).await;
    assert_eq!(alone, json!({"jsonrpc": "2.0", "id": "x", "result": {}}), "a single answer stands alone");
}

#[tokio::test]
async fn a_refused_transaction_says_why() {
    let shared = shared(Submitted::Refused);
    let send = |method: &str| json!({"id": 1, "method": method, "params": {"tx": "YT1i"}});
    let answer = ask(&shared, &send("broadcast_tx_sync")).await;
    assert_eq!(answer["error"]["data"], "tx already exists in cache");
    let answer = ask(&shared, &send("broadcast_tx_commit")).await;
    assert_eq!(answer["error"]["data"], "error on broadcastTxCommit: tx already exists in cache");
}

#[tokio::test]
async fn a_query_says_how_fresh_its_answer_must_be() {
    let node = shared(Submitted::Stuck);
    let query = |consistency: serde_json::Value| json!({"id": 1, "method": "abci_query", "params": {"data": "747830", "consistency": consistency}});
    for (asked, reads) in [("local", 0), ("", 0), ("leased", 1), ("linearizable", 2)] {
        let answer = ask(&node, &query(json!(asked))).await;
        assert_eq!(answer["result"]["response"]["log"], "exists", "{asked}: {answer}");
        assert_eq!(node.node.reads.lock().unwrap().len(), reads, "{asked}");
    }
    assert_eq!(*node.node.reads.lock().unwrap(), [ReadGuarantee::Leased, ReadGuarantee::Linearizable]);
    for (asked, why) in [
        (json!("strong"), "expected consistency to be `linearizable`, `leased` or `local`, but got \"strong\""),
        (json!("Local"), "but got \"Local\""),
        (json!(5), "cannot unmarshal number into Go value of type string"),
    ] {
        let answer = ask(&node, &query(asked.clone())).await;
        assert!(answer["error"]["data"].as_str().unwrap_or_default().contains(why), "{asked}: {answer}");
    }
    let refusing = shared(Submitted::Refused);
    let answer = ask(&refusing, &query(json!("linearizable"))).await;
    assert_eq!(answer["error"]["data"], "no leader is known: ask again in a second");
    assert_eq!(ask(&refusing, &query(json!("local"))).await["result"]["response"]["log"], "exists");
}

#[test]
fn the_freshness_of_a_query_is_named_and_does_not_change_how_cometbfts_arguments_are_read() {
    let route = Route::AbciQuery;
    let in_url = |text: &str| from_uri(route, &[("consistency".to_owned(), text.to_owned())]);
    for text in ["leased", "\"leased\""] {
        assert_eq!(in_url(text).unwrap().text(4), "leased", "{text}");
    }
    assert!(in_url("a b").is_err() && in_url("[1]").is_err());
    let by_position = |params: &str| {
        let raw = serde_json::value::RawValue::from_string(params.to_owned()).unwrap();
        from_json(route, Some(&raw))
    };
    assert_eq!(by_position(r#"["/k","01","0",false]"#).unwrap().text(4), "");
    let refusal = by_position(r#"["/k","01","0",false,"leased"]"#).unwrap_err();
    assert!(refusal.starts_with("expected 4 parameters ([path data height prove]), got 5"), "{refusal}");
    assert!(endpoints("h", &RpcConfig::default()).contains("//h/abci_query?path=_&data=_&height=_&prove=_\""));
}

#[test]
fn nine_ids_are_taken_or_refused() {
    for (id, expected) in [
        ("1", "Some(Number(1))"),
        ("-1", "Some(Number(-1))"),
        ("1.0", "Some(Number(1))"),
        ("\"a\"", "Some(Text(\"a\"))"),
        ("null", "None"),
    ] {
        let body = format!("{{\"id\":{id},\"method\":\"health\"}}");
        let parsed = parse_requests(body.as_bytes()).unwrap();
        assert_eq!(format!("{:?}", parsed[0].id), expected);
    }
    for id in ["1.5", "true", "{}", "1e300"] {
        let body = format!("{{\"id\":{id},\"method\":\"health\"}}");
        assert!(parse_requests(body.as_bytes()).is_err(), "{id}");
    }
}

#[test]
fn pages_are_cut_as_cometbft_cuts_them() {
    for (asked, expected) in
        [(None, 30), (Some(0), 30), (Some(-1), 30), (Some(7), 7), (Some(100), 100), (Some(101), 100)]
    {
        assert_eq!(per_page(asked), expected);
    }
    assert_eq!(page(None, 10, 0), Ok(0));
    assert_eq!(page(Some(1), 10, 0), Ok(0));
    assert_eq!(page(Some(3), 10, 21), Ok(2));
    assert_eq!(page(Some(4), 10, 21), Err("page should be within [1, 3] range, given 4".into()));
    assert!(page(Some(0), 10, 21).is_err());
}

#[test]
fn subscriptions_are_counted_and_given_back() {
    let limits = Limits::new(2, 2);
    let first = limits.take("a").unwrap();
    let _second = limits.take("a").unwrap();
    assert_eq!(limits.take("a").unwrap_err(), "max_subscriptions_per_client 2 reached");
    let other = limits.take("b").unwrap();
    assert_eq!(limits.take("c").unwrap_err(), "max_subscription_clients 2 reached");
    drop(other);
    assert!(limits.take("c").is_ok(), "who has no subscription left is no client");
    drop(first);
    assert!(limits.take("a").is_ok());
}

#[test]
fn the_list_of_endpoints_cannot_carry_a_script() {
    let unsafe_too = RpcConfig { unsafe_routes: true, ..RpcConfig::default() };
    let page = endpoints("evil\"><script>", &RpcConfig::default());
    assert!(page.contains("//evilscript/block?height=_") && !page.contains("<script>"));
    assert!(!page.contains("unsafe_flush_mempool") && endpoints("h", &unsafe_too).contains("unsafe_flush_mempool"));
}

#[test]
fn a_form_may_be_longer_than_a_url() {
    let tx = format!("\"{}\"", "x".repeat(70_000));
    let read = form::fields(format!("tx={tx}").as_bytes());
    assert_eq!(read, Ok(vec![("tx".to_owned(), tx)]));
}

#[test]
fn what_of_cors_has_no_effect_is_said() {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let mut config = RpcConfig {
        cors_allowed_origins: texts(&["https://*.example.com", "https://*.*.org", "two words", "null"]),
        cors_allowed_methods: texts(&["GET", "PO ST"]),
        cors_allowed_headers: texts(&["Origin", "X:Y"]),
        ..RpcConfig::default()
    };
    let cors = Cors::of(&config);
    let about =
        |key: &str, item: &str| format!("rpc.{key}: {item:?} allows nothing: correct it in [rpc] of config.toml");
    let expected = [
        about("cors_allowed_origins", "https://*.*.org"),
        about("cors_allowed_origins", "two words"),
        about("cors_allowed_methods", "PO ST"),
        about("cors_allowed_headers", "X:Y"),
    ];
    assert_eq!(cors.complaints, expected);
    assert!(cors.layer.is_some());
    config.cors_allowed_origins.clear();
    let off = Cors::of(&config);
    assert!(off.layer.is_none() && off.complaints.is_empty(), "CORS is off");
}

#[tokio::test]
async fn the_genesis_document_is_rendered_once_for_all_who_ask() {
    let shared = shared(Submitted::Stuck);
    let call = |method: &str| json!({"id": 1, "method": method, "params": {}});
    for _ in 0..3 {
        let whole = ask(&shared, &call("genesis")).await;
        let chunk = ask(&shared, &call("genesis_chunked")).await;
        let data = STANDARD.decode(chunk["result"]["data"].as_str().unwrap()).unwrap();
        assert_eq!(whole["result"]["genesis"], serde_json::from_slice::<serde_json::Value>(&data).unwrap());
        assert_eq!(whole["result"]["genesis"]["chain_id"], "dockerchain");
    }
    assert_eq!(shared.node.genesis_reads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_mempool_and_consensus_are_shown() {
    let shared = shared(Submitted::Stuck);
    let call = |method: &str| json!({"id": 1, "method": method, "params": {}});
    let txs = ask(&shared, &call("unconfirmed_txs")).await;
    assert_eq!(txs["result"], json!({"n_txs": "2", "total": "2", "total_bytes": "6", "txs": ["YT0x", "Yj0y"]}));
    let count = ask(&shared, &call("num_unconfirmed_txs")).await;
    assert_eq!(count["result"], json!({"n_txs": "2", "total": "2", "total_bytes": "6", "txs": null}));
    let dump = ask(&shared, &call("dump_consensus_state")).await;
    assert_eq!(dump["result"]["round_state"]["height"], "221");
    let _the_fake_is_a_node: &FakeNode = &shared.node;
}

#[tokio::test]
async fn twenty_headers_are_given_at_once_the_newest_first() {
    let shared = shared(Submitted::Stuck);
    for (low, high, given) in [(1, 46, 27..=46), (1, 20, 1..=20), (40, 46, 40..=46)] {
        let params = json!({"minHeight": low.to_string(), "maxHeight": high.to_string()});
        let answer = ask(&shared, &json!({"jsonrpc": "2.0", "id": 1, "method": "blockchain", "params": params})).await;
        let metas = answer["result"]["block_metas"].as_array().expect("a list");
        let heights: Vec<_> = metas.iter().map(|meta| meta["header"]["height"].clone()).collect();
        assert_eq!(heights, given.rev().map(|height: u64| json!(height.to_string())).collect::<Vec<_>>());
    }
}

/// The commit of the newest block may still be replaced by the one the next block carries.
#[tokio::test]
async fn only_the_newest_commit_is_not_canonical() {
    let shared = shared(Submitted::Stuck);
    for (height, canonical) in [("45", true), ("253", false)] {
        let params = json!({"height": height});
        let answer = ask(&shared, &json!({"jsonrpc": "2.0", "id": 1, "method": "commit", "params": params})).await;
        assert_eq!(answer["result"]["canonical"], canonical, "{height}: {answer}");
    }
}

#[tokio::test]
async fn an_answer_may_be_cached_when_its_height_was_named_and_it_is_no_error() {
    let shared = shared(Submitted::Stuck);
    for (params, cacheable) in [(r#"{"height":"253"}"#, true), (r#"{"height":"999"}"#, false), ("{}", false)] {
        let request = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"block","params":{params}}}"#);
        let answers = shared.call_all("somebody", &parse_requests(request.as_bytes()).unwrap()).await;
        assert_eq!(answers.cacheable, cacheable, "{params}");
    }
}
