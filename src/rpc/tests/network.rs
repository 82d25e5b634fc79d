//! Peers as CometBFT shows them, held against recorded answers of two of its nodes, and our own route about them.

use super::fake::{FakeNode, Submitted};
use super::recorded::{ask, shared};
use crate::ports::*;
use crate::rpc::network::{net_info, peer_state};
use crate::types::*;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

fn recorded(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/cometbft/rpc").join(name);
    serde_json::from_slice(&std::fs::read(path).expect("recorded")).expect("JSON")
}

fn number(json: &Value) -> u64 {
    json.as_str().expect("64-bit numbers are text").parse().expect("a number")
}

fn flow(json: &Value) -> FlowView {
    let idle = Duration::from_nanos(number(&json["Idle"]));
    let (rate, peak_rate) = (number(&json["CurRate"]), number(&json["PeakRate"]));
    FlowView { bytes: number(&json["Bytes"]), rate, peak_rate, idle }
}

/// The peers of a recorded `net_info`.
fn peers() -> Vec<PeerView> {
    let text = |json: &Value| json.as_str().expect("text").to_owned();
    let peer = |json: &Value| {
        let (info, status) = (&json["node_info"], &json["connection_status"]);
        let channel = |json: &Value| ChannelView {
            id: json["ID"].as_u64().expect("a byte") as u8,
            priority: number(&json["Priority"]) as u32,
            queued: number(&json["SendQueueSize"]),
            capacity: number(&json["SendQueueCapacity"]),
            recently_sent: number(&json["RecentlySent"]),
        };
        PeerView {
            info: NodeInfo {
                p2p_version: number(&info["protocol_version"]["p2p"]),
                block_version: number(&info["protocol_version"]["block"]),
                app_version: number(&info["protocol_version"]["app"]),
                node_id: text(&info["id"]).parse().expect("an id"),
                listen_addr: text(&info["listen_addr"]),
                network: ChainId::try_from(text(&info["network"]).as_str()).expect("a name"),
                version: text(&info["version"]),
                channels: hex::decode(text(&info["channels"])).expect("hex"),
                moniker: text(&info["moniker"]),
                tx_index: text(&info["other"]["tx_index"]),
                rpc_address: text(&info["other"]["rpc_address"]),
            },
            direction: if json["is_outbound"] == true { Direction::Outbound } else { Direction::Inbound },
            remote_ip: text(&json["remote_ip"]).parse().expect("an address"),
            connected_for: Duration::from_nanos(number(&status["Duration"])),
            sent: flow(&status["SendMonitor"]),
            received: flow(&status["RecvMonitor"]),
            channels: status["Channels"].as_array().expect("a list").iter().map(channel).collect(),
            score: 7,
        }
    };
    recorded("net_info.json")["result"]["peers"].as_array().expect("a list").iter().map(peer).collect()
}

/// What we know otherwise than CometBFT: its three rates are one here, samples are not counted, and its clock ticks
/// every 20 ms.
fn without_our_differences(mut answer: Value) -> String {
    for peer in answer["peers"].as_array_mut().expect("a list") {
        for monitor in ["SendMonitor", "RecvMonitor"] {
            let monitor = &mut peer["connection_status"][monitor];
            assert!(monitor["Start"].as_str().expect("text").parse::<Time>().is_ok());
            for field in ["Samples", "InstRate", "AvgRate", "Duration"] {
                number(&monitor[field]);
                monitor[field] = "0".into();
            }
            monitor["Start"] = "then".into();
        }
    }
    answer.to_string()
}

#[test]
fn net_info_is_cometbfts_byte_for_byte() {
    let listener = ["tcp://127.0.0.1:39100".to_owned()];
    let ours = net_info(&listener, &listener[0], &peers(), Time::UNIX_EPOCH.plus(Duration::from_secs(100)));
    let ours: Value = serde_json::from_slice(&ours).expect("JSON");
    assert_eq!(ours["peers"].as_array().expect("a list").len(), 2, "one called us, one we called");
    let theirs = recorded("net_info.json")["result"].take();
    assert_eq!(without_our_differences(ours), without_our_differences(theirs));
}

#[test]
fn an_external_address_is_shown_and_a_node_that_listens_nowhere_says_so() {
    let shown = |listeners: &[String], told: &str| -> Value {
        serde_json::from_slice(&net_info(listeners, told, &[], Time::UNIX_EPOCH)).expect("JSON")
    };
    let listener = ["tcp://0.0.0.0:26656".to_owned()];
    let answer = shown(&listener, "example.com:26656");
    assert_eq!(answer["listeners"], json!(["Listener(@example.com:26656)"]));
    assert_eq!(shown(&listener, &listener[0])["listeners"], json!(["Listener(@)"]));
    let nowhere = shown(&[], "");
    assert_eq!((&nowhere["listening"], &nowhere["listeners"]), (&json!(false), &json!(["Listener(@)"])));
    assert_eq!((&nowhere["n_peers"], &nowhere["peers"]), (&json!("0"), &json!([])));
}

fn bits(json: &Value) -> Option<BitArray> {
    let text = json.as_str()?;
    let mut bits = BitArray::new(text.len());
    text.bytes().enumerate().filter(|(_, byte)| *byte == b'x').for_each(|(index, _)| {
        bits.set(index);
    });
    Some(bits)
}

fn round(json: &Value) -> Option<Round> {
    u32::try_from(json.as_i64().expect("a number")).ok().map(Round::new)
}

/// A recorded peer's state.
fn state(json: &Value) -> PeerRoundState {
    let (peer, stats) = (json["node_address"].as_str().expect("text"), &json["peer_state"]["stats"]);
    let json = &json["peer_state"]["round_state"];
    let parts = &json["proposal_block_part_set_header"];
    let of = |name: &str| Some((round(&json[format!("{name}_round")])?, bits(&json[name])?));
    let hash = hex::decode(parts["hash"].as_str().expect("text")).expect("hex");
    let header = crate::crypto::Hash::try_from(hash.as_slice()).ok();
    let step = [Step::NewHeight, Step::Prevote, Step::Precommit].into_iter().find(|step| json["step"] == *step as u8);
    PeerRoundState {
        peer: peer[..40].parse().expect("an id"),
        height: Some(number(&json["height"])).filter(|height| *height > 0).map(Height::new),
        round: round(&json["round"]),
        step: step.unwrap_or(Step::NewHeight),
        start_time: json["start_time"].as_str().expect("text").parse().expect("a time"),
        has_proposal: json["proposal"] == true,
        parts: header.and_then(|hash| {
            let total = parts["total"].as_u64().expect("a number") as u32;
            Some((PartSetHeader { total, hash }, bits(&json["proposal_block_parts"])?))
        }),
        proposal_pol: of("proposal_pol"),
        prevotes: bits(&json["prevotes"]),
        precommits: bits(&json["precommits"]),
        last_commit: of("last_commit"),
        catch_up_commit: of("catchup_commit"),
        useful_votes: number(&stats["votes"]),
        useful_parts: number(&stats["block_parts"]),
    }
}

#[test]
fn peers_states_are_cometbfts_byte_for_byte_for_one_that_decides_and_one_that_fetches_blocks() {
    let peers = peers();
    let recorded = recorded("dump_consensus_state_peers.json");
    for (index, theirs) in recorded.as_array().expect("a list").iter().enumerate() {
        let mut theirs = theirs.clone();
        let state = state(&theirs);
        // Without a round to them CometBFT shows empty bits, and we none.
        for name in ["proposal_pol", "catchup_commit"] {
            assert_eq!(theirs["peer_state"]["round_state"][format!("{name}_round")], -1);
            theirs["peer_state"]["round_state"][name] = Value::Null;
        }
        // The port of the peer that called us is one its system chose; we show where it listens.
        theirs["node_address"] = theirs["node_address"].as_str().expect("text").replace(":41622", ":39102").into();
        let ours = crate::codec::json::to_bytes(&peer_state(&state, &peers));
        assert_eq!(String::from_utf8(ours).expect("text"), theirs.to_string(), "peer {index}");
    }
}

fn node_with_peers() -> crate::rpc::Shared<FakeNode> {
    let mut shared = shared(Submitted::Committed);
    let node = Arc::get_mut(&mut shared.node).expect("not shared yet");
    node.network.peers = peers();
    node.network.states =
        recorded("dump_consensus_state_peers.json").as_array().expect("a list").iter().map(state).collect();
    node.network.addresses = vec![AddressView {
        id: node.network.peers[0].info.node_id,
        address: "example.com:26656".to_owned(),
        origin: "persistent",
        connected: false,
        failures: 3,
        next_attempt: Some(Duration::from_secs(2)),
        last_error: Some("connection refused".to_owned()),
    }];
    shared
}

fn request(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
}

#[tokio::test]
async fn network_tells_lag_score_bytes_and_why_addresses_fail() {
    let shared = node_with_peers();
    let answer = ask(&shared, &request("network", json!({}))).await;
    let (peers, addresses) = (&answer["result"]["peers"], &answer["result"]["addresses"]);
    assert_eq!(answer["result"]["height"], "221");
    assert_eq!((&peers[0]["height"], &peers[0]["lag"]), (&json!("74"), &json!("147")));
    assert_eq!((&peers[0]["score"], &peers[0]["last_error"]), (&json!("7"), &json!("connection refused")));
    assert_eq!((&peers[1]["height"], &peers[1]["lag"]), (&Value::Null, &Value::Null), "it has not said");
    assert_eq!(peers[1]["address"], "127.0.0.1:39102");
    assert_eq!((&addresses[0]["next_attempt"], &addresses[0]["failures"]), (&json!("2000000000"), &json!(3)));
    let dump = ask(&shared, &request("dump_consensus_state", json!({}))).await;
    assert_eq!(dump["result"]["peers"].as_array().expect("a list").len(), 2);
}

#[tokio::test]
async fn why_tells_all_it_knows_with_numbers_as_text_and_times_in_seconds() {
    let shared = node_with_peers();
    let answer = ask(&shared, &request("why", json!({}))).await;
    let mut result = answer["result"].clone();
    assert!(result["validators"][0]["address"].take().as_str().is_some_and(|address| address.len() == 40));
    let power = result["validators"][0]["power"].take();
    assert!(number(&power) > 0);
    let validator = json!({
        "address": null, "power": null, "own": true, "prevoted": true, "precommitted": false, "last_heard": "2",
        "refused": false, "cut": true
    });
    assert_eq!(
        result,
        json!({
            "chain": "dockerchain", "algorithm": "raft", "height": "221", "round": 7, "step": "Precommit",
            "has_proposal": true, "lead": {"kind": "leader", "address": null, "role": "candidate"},
            "since_last_block": "12", "txs": "2", "empty_blocks": false, "validators": [validator],
            "power_needed": "6", "peers": 3, "application": null, "halted": null, "fetching": null,
            "key": "refused", "key_refused": "it went back",
        })
    );
}

#[tokio::test]
async fn eleven_calls_to_dial_are_answered_as_cometbft_answers_them() {
    let shared = node_with_peers();
    let id = "f4e88b6d0f011ecc8836dcbfd1cbadc400a20aa1";
    let good = format!("{id}@127.0.0.1:39101");
    let peers = "Dialing peers in progress. See /net_info for details";
    let seeds = "Dialing seeds in progress. See /net_info for details";
    let internal = "error converting json params to arguments: json: cannot unmarshal";
    let cases = [
        ("dial_seeds", json!({"seeds": [good]}), seeds.to_owned()),
        ("dial_peers", json!({"peers": [good]}), peers.to_owned()),
        ("dial_peers", json!({"peers": [format!("tcp://{good}")], "persistent": true}), peers.to_owned()),
        ("dial_seeds", json!({}), "no seeds provided".to_owned()),
        ("dial_peers", json!({"peers": []}), "no peers provided".to_owned()),
        ("dial_peers", json!({"peers": ["abc"]}), "address (abc) does not contain ID".to_owned()),
        (
            "dial_seeds",
            json!({"seeds": ["x@y:1"]}),
            "invalid address (x@y:1): encoding/hex: invalid byte: U+0078 'x'".to_owned(),
        ),
        (
            "dial_seeds",
            json!({"seeds": ["ab@y:1"]}),
            "invalid address (ab@y:1): invalid hex length - got 1, expected 20".to_owned(),
        ),
        ("dial_peers", json!({"peers": "abc"}), format!("{internal} string into Go value of type []json.RawMessage")),
        ("dial_peers", json!({"peers": [1]}), format!("{internal} number into Go value of type string")),
        (
            "dial_peers",
            json!({"peers": vec![good.clone(); 1001]}),
            "1001 addresses are too many for one call, at most 1000".to_owned(),
        ),
    ];
    for (method, params, expected) in cases {
        let answer = ask(&shared, &request(method, params.clone())).await;
        let said = answer["result"]["log"].as_str().or_else(|| answer["error"]["data"].as_str());
        assert_eq!(said, Some(expected.as_str()), "{method} {params}: {answer}");
    }
    let dialed = shared.node.network.dialed.lock().expect("not poisoned");
    let kinds: Vec<DialKind> = dialed.iter().map(|request| request.kind).collect();
    let peers = |persistent| DialKind::Peers { persistent, unconditional: Choice::No, private: Choice::No };
    assert_eq!(kinds, [DialKind::Seeds, peers(Choice::No), peers(Choice::Yes)]);
}
