//! `quorate net`: who is connected, how far behind they are, what went over each connection, and which addresses this
//! node calls without success. A node of CometBFT is asked with CometBFT's routes, which know less.

use super::CliError;
use super::args::{Common, StatusArgs};
use super::http::{AskError, ask};
use super::output::{Output, Reader, human_bytes, human_seconds, plain, table};
use super::status::{candidates, nobody_there, text};
use crate::config::{Address, RunFile};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Addresses without a connection that a person is shown; an address book may have thousands.
const ADDRESSES_SHOWN_MAX: usize = 20;
/// Longest name shown, in characters: peers choose it.
const NAME_SHOWN_MAX: usize = 20;
/// Longest error shown, in characters.
const ERROR_SHOWN_MAX: usize = 80;
/// Hexadecimal digits of a node's id in a table.
const ID_SHOWN: usize = 12;
const SECOND: u64 = 1_000_000_000;

pub(super) fn run(common: &Common, args: &StatusArgs, out: &Output) -> Result<(), CliError> {
    let home = common.home()?;
    let run_file = RunFile::read(&home);
    let mut failures = Vec::new();
    for candidate in candidates(common, args, &home, run_file.as_ref())? {
        match network(&candidate.address) {
            Ok(network) => {
                match out.reader {
                    Reader::Person => out.line(&screen(&network)),
                    Reader::Program => out.line(&format!("{network:#}")),
                }
                return Ok(());
            }
            Err(why) => failures.push((candidate, why)),
        }
    }
    Err(nobody_there(&home, run_file.as_ref(), &failures, out))
}

fn network(address: &Address) -> Result<Value, AskError> {
    match ask(address, "network") {
        Err(AskError::NoNode(_) | AskError::Refused(_)) => {
            let net_info = ask(address, "net_info")?;
            Ok(from_cometbft(&ask(address, "status")?, &net_info, &ask(address, "dump_consensus_state")?))
        }
        other => other,
    }
}

// ---------------------------------------------------------------------------------------------- a node of CometBFT

/// What `network` would say, as far as CometBFT's routes know it; null where they do not.
fn from_cometbft(status: &Value, net_info: &Value, dump: &Value) -> Value {
    let at = |value: &Value, path: &str| value.pointer(path).cloned().unwrap_or(Value::Null);
    let own_height = number(dump, "/round_state/height");
    let peers = net_info.get("peers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let peer = |peer: &Value| {
        let id = at(peer, "/node_info/id");
        let state = state_of(dump, id.as_str().unwrap_or_default());
        let height = state.and_then(|state| number(state, "/height")).filter(|height| *height > 0);
        let lag = own_height.zip(height).map(|(own, height)| own.saturating_sub(height));
        let flow = |name: &str| {
            let monitor = at(peer, &format!("/connection_status/{name}"));
            json!({
                "bytes": at(&monitor, "/Bytes"), "rate": at(&monitor, "/CurRate"),
                "peak_rate": at(&monitor, "/PeakRate"), "idle": at(&monitor, "/Idle"),
            })
        };
        let port = text(peer, "/node_info/listen_addr").rsplit(':').next().unwrap_or_default().to_owned();
        json!({
            "node_id": id,
            "moniker": at(peer, "/node_info/moniker"),
            "version": at(peer, "/node_info/version"),
            "address": format!("{}:{port}", text(peer, "/remote_ip")),
            "is_outbound": at(peer, "/is_outbound"),
            "connected_for": at(peer, "/connection_status/Duration"),
            "height": height.map(|height| height.to_string()),
            "round": state.map(|state| at(state, "/round")),
            "lag": lag.map(|lag| lag.to_string()),
            "sent": flow("SendMonitor"),
            "received": flow("RecvMonitor"),
            "queued": null, "score": null, "last_error": null,
        })
    };
    json!({
        "node_id": at(status, "/node_info/id"),
        "moniker": at(status, "/node_info/moniker"),
        "network": at(status, "/node_info/network"),
        "listeners": [at(status, "/node_info/listen_addr")],
        "height": at(dump, "/round_state/height"),
        "catching_up": at(status, "/sync_info/catching_up"),
        "peers": peers.iter().map(peer).collect::<Vec<_>>(),
        "addresses": null,
    })
}

/// Where a peer's consensus stands, in a dump.
fn state_of<'a>(dump: &'a Value, id: &str) -> Option<&'a Value> {
    let peers = dump.get("peers")?.as_array()?;
    let is_his = |peer: &&Value| peer["node_address"].as_str().is_some_and(|address| address.starts_with(id));
    peers.iter().find(is_his)?.pointer("/peer_state/round_state")
}

// ------------------------------------------------------------------------------------------------------ the screen

/// A number at a path, written as text or bare.
fn number(value: &Value, path: &str) -> Option<u64> {
    let value = value.pointer(path)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// The text at a path as a person may see it; a dash when there is none.
fn shown(value: &Value, path: &str, chars_max: usize) -> String {
    plain(&text(value, path), chars_max)
}

fn seconds(value: &Value, path: &str) -> String {
    number(value, path).map_or_else(|| "–".to_owned(), |nanos| human_seconds(nanos / SECOND))
}

fn flow(peer: &Value, direction: &str) -> String {
    let bytes = number(peer, &format!("/{direction}/bytes")).map(human_bytes);
    let rate = number(peer, &format!("/{direction}/rate")).map(human_bytes);
    match (bytes, rate) {
        (Some(bytes), Some(rate)) => format!("{bytes}, {rate}/s"),
        (Some(bytes), None) => bytes,
        _ => "–".to_owned(),
    }
}

fn direction(peer: &Value) -> String {
    match peer["is_outbound"].as_bool() {
        Some(true) => "we called",
        Some(false) => "called us",
        None => "–",
    }
    .to_owned()
}

fn list<'a>(network: &'a Value, name: &str) -> &'a [Value] {
    network.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn screen(network: &Value) -> String {
    let of = |path: &str, chars_max| shown(network, path, chars_max);
    let mut screen = String::new();
    let listeners: Vec<String> = list(network, "listeners").iter().map(|one| shown(one, "", ERROR_SHOWN_MAX)).collect();
    let listeners = if listeners.is_empty() { "nowhere".to_owned() } else { listeners.join(", ") };
    let _ = writeln!(screen, "node      {}  {}", of("/moniker", NAME_SHOWN_MAX), of("/node_id", ERROR_SHOWN_MAX));
    let _ = writeln!(screen, "chain     {}, deciding height {}", of("/network", NAME_SHOWN_MAX * 3), of("/height", 20));
    let _ = writeln!(screen, "listens   {listeners}\n");
    let peers = list(network, "peers");
    if peers.is_empty() {
        screen += "no peer is connected\n";
    } else {
        let head = [
            "peer",
            "id",
            "who called",
            "address",
            "for",
            "height",
            "behind",
            "received",
            "sent",
            "queued",
            "score",
            "last error",
        ];
        screen += &table(&head, &peers.iter().map(peer_row).collect::<Vec<_>>());
    }
    addresses(network, &mut screen);
    screen
}

fn peer_row(peer: &Value) -> Vec<String> {
    vec![
        shown(peer, "/moniker", NAME_SHOWN_MAX),
        shown(peer, "/node_id", ID_SHOWN),
        direction(peer),
        shown(peer, "/address", ERROR_SHOWN_MAX),
        seconds(peer, "/connected_for"),
        shown(peer, "/height", ID_SHOWN),
        shown(peer, "/lag", ID_SHOWN),
        flow(peer, "received"),
        flow(peer, "sent"),
        shown(peer, "/queued", ID_SHOWN),
        shown(peer, "/score", ID_SHOWN),
        shown(peer, "/last_error", ERROR_SHOWN_MAX),
    ]
}

/// Addresses without a connection, those an operator named first.
fn addresses(network: &Value, screen: &mut String) {
    let mut waiting: Vec<&Value> = list(network, "addresses").iter().filter(|one| one["connected"] != true).collect();
    if waiting.is_empty() {
        return;
    }
    waiting.sort_by_key(|one| one["origin"] == "address book");
    let row = |one: &&Value| {
        let next = match number(one, "/next_attempt") {
            Some(nanos) if nanos < SECOND => "now".to_owned(),
            Some(nanos) => format!("in {}", human_seconds(nanos / SECOND)),
            None => "–".to_owned(),
        };
        vec![
            shown(one, "/node_id", ID_SHOWN),
            shown(one, "/address", ERROR_SHOWN_MAX),
            shown(one, "/origin", NAME_SHOWN_MAX),
            shown(one, "/failures", ID_SHOWN),
            next,
            shown(one, "/last_error", ERROR_SHOWN_MAX),
        ]
    };
    let rows: Vec<_> = waiting.iter().take(ADDRESSES_SHOWN_MAX).map(row).collect();
    screen.push('\n');
    *screen += &table(&["not connected", "address", "because", "failures", "next attempt", "last error"], &rows);
    if waiting.len() > rows.len() {
        let _ = writeln!(screen, "and {} more: quorate net --json", waiting.len() - rows.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Value {
        json!({
            "node_id": "eb1b58a186cdd4d491745326031ec766347ea9dc", "moniker": "node0", "network": "chain-x",
            "listeners": ["tcp://0.0.0.0:26656"], "height": "13", "catching_up": false,
            "peers": [{
                "node_id": "0fd376b09db9ee53ad566b8301a1fa8b312cbc05", "moniker": "node1\u{1b}[31m", "version": "0.38.25",
                "address": "127.0.0.1:26666", "is_outbound": true, "connected_for": "185000000000", "height": "11",
                "round": 0, "lag": "2", "sent": {"bytes": "2048", "rate": "100"},
                "received": {"bytes": "5000000", "rate": "2048"}, "queued": "0", "score": "-3", "last_error": "it lied",
            }],
            "addresses": [
                {"node_id": "aa", "address": "10.0.0.1:26656", "origin": "address book", "connected": false,
                 "failures": 1, "next_attempt": null, "last_error": null},
                {"node_id": "bb", "address": "node3:26656", "origin": "persistent", "connected": false,
                 "failures": 4, "next_attempt": "9500000000", "last_error": "connection refused"},
                {"node_id": "cc", "address": "node1:26656", "origin": "persistent", "connected": true, "failures": 0,
                 "next_attempt": null, "last_error": null},
            ],
        })
    }

    #[test]
    fn a_person_sees_lag_bytes_score_and_why_an_address_fails() {
        let screen = screen(&ours());
        for part in [
            "node      node0  eb1b58a186cdd4d491745326031ec766347ea9dc",
            "chain     chain-x, deciding height 13",
            "node1?[31m  0fd376b09db9  we called   127.0.0.1:26666  3 min  11      2       4.8 MiB, 2.0 KiB/s  2.0 KiB, 100 B/s  0       -3     it lied",
            "bb             node3:26656     persistent    4         in 9 s        connection refused",
        ] {
            assert!(screen.contains(part), "{part} in\n{screen}");
        }
        assert!(!screen.contains("node1:26656") && !screen.contains('\u{1b}'), "{screen}");
        let places = ["bb ", "aa "].map(|id| screen.find(id).unwrap());
        assert!(places[0] < places[1], "named ones first:\n{screen}");
    }

    #[test]
    fn a_long_address_book_is_cut() {
        let mut network = ours();
        let one = network["addresses"][0].clone();
        network["addresses"] = vec![one; 50].into();
        assert!(screen(&network).contains("and 30 more: quorate net --json"));
    }

    #[test]
    fn a_node_of_cometbft_is_understood_from_its_own_routes() {
        let recorded = |name: &str| -> Value {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/cometbft/rpc").join(name);
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
        };
        let dump = json!({"round_state": {"height": "80"}, "peers": recorded("dump_consensus_state_peers.json")});
        let status = json!({"node_info": {"moniker": "m", "listen_addr": "tcp://127.0.0.1:39100"}});
        let network = from_cometbft(&status, &recorded("net_info.json")["result"], &dump);
        assert_eq!((&network["peers"][0]["height"], &network["peers"][0]["lag"]), (&json!("74"), &json!("6")));
        assert_eq!(network["peers"][1]["height"], Value::Null);
        assert_eq!(network["peers"][1]["address"], "127.0.0.1:39102");
        assert!(screen(&network).contains("called us"));
    }

    #[test]
    fn a_node_that_says_nonsense_still_gives_a_screen() {
        for nonsense in
            [Value::Null, json!([1]), json!({"peers": 5}), json!({"peers": [null, {"sent": []}], "addresses": [7]})]
        {
            assert!(screen(&nonsense).contains("node      –"), "{nonsense}");
            let network = from_cometbft(&nonsense, &nonsense, &nonsense);
            assert!(screen(&network).contains("chain     –"), "{nonsense}");
        }
    }
}
