//! Crash points that need peers: what is told, what is fetched and served, the address book.

use super::network::{Application, Net};
use super::two_faced::TwoFaced;
use crate::integration::crash_points::{Accuser, assert_died, of_each};
use crate::integration::harness::{Client, Failure, PATIENCE};
use quorate::crash_points::VARIABLE;
use quorate::types::Algorithm;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Instant;

/// At which of its hits a point ends the process.
const HITS: [u64; 3] = [1, 2, 10];

/// What a validator under Tendermint does with its peer.
const TALKING: &[&str] = &[
    "tell.proposal.before",
    "tell.proposal.after",
    "tell.part.before",
    "tell.part.after",
    "tell.vote.before",
    "tell.vote.after",
    "tell.txs.before",
    "tell.txs.after",
    "tell.evidence.before",
    "tell.evidence.after",
    "app.verify_vote_extension.before",
    "app.verify_vote_extension.after",
];
/// What a validator under Raft or PBFT does with its peer.
const TALKING_DIRECTLY: &[&str] =
    &["tell.direct.before", "tell.direct.after", "sign.statement.before", "sign.statement.after"];
/// What a node does that fetches blocks.
const FETCHING: &[&str] = &[
    "tell.request.before",
    "tell.request.after",
    "sync.read.before",
    "sync.read.after",
    "sync.verify.before",
    "sync.verify.after",
];
/// What a node does that others fetch from.
const SERVING: &[&str] = &["serve.block.before", "serve.block.after"];
/// What a node does with its address book when it meets somebody.
const BOOK: &[&str] =
    &["book.write.before", "book.sync.before", "book.rename.before", "book.rename.after", "book.dirsync.after"];

/// What a node does that is shown misbehaviour no block can carry.
const WITNESSED: &[&str] = &["misbehaviour.write.before", "misbehaviour.sync.before", "misbehaviour.after"];

/// The points these stories tell of.
pub(crate) const POINTS: &[&[&str]] = &[TALKING, TALKING_DIRECTLY, FETCHING, SERVING, BOOK, WITNESSED];

/// Blocks there are to fetch.
const BLOCKS: u64 = 60;
/// Transactions a life is given before its clients fall silent.
const WORDS: u64 = 3;
/// The node that lives on, and the one that dies.
const WITNESS: usize = 0;
const VICTIM: usize = 1;

/// Nodes that sign at once when they come back, and find each other by themselves.
fn network(algorithm: Algorithm, validators: usize, followers: usize) -> Net {
    let mut net = Net::of(algorithm, validators, followers, Application::BuiltIn);
    net.set("QUORATE_CONSENSUS_SKIP_DOPPELGANGER_CHECK", "true");
    net.set("QUORATE_P2P_PEX", "true");
    net
}

/// Starts a node that will die, and none after it.
fn launch_armed(net: &mut Net, node: usize, point: &str, hit: u64) {
    net.set(VARIABLE, format!("{point}:{hit}").leak());
    net.launch(node);
    net.set(VARIABLE, "");
}

/// A life of the victim that ends at the point, while its clients do something until it is gone.
fn dies(net: &mut Net, node: usize, point: &str, hit: u64, mut act: impl FnMut(&mut Client) -> bool) {
    let scene = format!("node {node} dies at {point}, hit {hit}");
    launch_armed(net, node, point, hit);
    let (process, until) = (net.take_process(node), Instant::now() + PATIENCE);
    if let Some(ready) = process.wait_for_or_end("ready  ") {
        let mut client = Client::new(ready.rsplit_once("RPC tcp://").unwrap().1);
        while act(&mut client) {
            assert!(Instant::now() < until, "{scene}: it never gets there:\n{}", process.output());
        }
    }
    assert_died(process, point, &scene);
}

/// The victim starts as it is, is told what it missed, takes part again and has the same blocks.
fn goes_on(net: &mut Net) {
    net.start([VICTIM]);
    let tip = net.member(WITNESS).height();
    net.await_height([WITNESS, VICTIM], tip + 2);
    net.assert_same_chain([WITNESS, VICTIM]);
    assert!(!net.member(WITNESS).process().output().contains("panicked"));
}

/// One transaction, and its block is waited for; false when the node is gone.
fn send(client: &mut Client, number: &mut u64) -> bool {
    *number += 1;
    !matches!(client.try_commit(format!("n{number}=x")), Err(Failure::Away(_)))
}

#[test]
fn a_validator_dies_while_it_talks_at_three_hits_each() {
    of_each(TALKING, |point| {
        let mut net = network(Algorithm::Tendermint, 2, 0);
        net.change_genesis(|genesis| {
            genesis["consensus_params"]["abci"]["vote_extensions_enable_height"] = json!("1");
            let validators = genesis["validators"].as_array_mut().unwrap();
            validators.iter_mut().for_each(|validator| validator["power"] = json!("1000"));
        });
        let mut accuser = Accuser::with_home(net.member(VICTIM).home());
        let accuses = point.starts_with("tell.evidence");
        net.launch(WITNESS);
        let mut number = 0;
        for hit in HITS {
            dies(&mut net, VICTIM, point, hit, |client| {
                send(client, &mut number) && (!accuses || accuser.accuse_if_begun(client))
            });
        }
        net.await_ready(WITNESS);
        goes_on(&mut net);
        if !accuses {
            assert_eq!(net.member(WITNESS).evidence_on_chain(), 0, "{point}: signed twice");
        }
    });
}

#[test]
fn a_validator_of_raft_or_pbft_dies_while_it_talks_at_three_hits_each() {
    let algorithms = [Algorithm::Raft, Algorithm::Pbft];
    let cases: Vec<_> =
        TALKING_DIRECTLY.iter().flat_map(|point| algorithms.map(|algorithm| (*point, algorithm))).collect();
    of_each(&cases, |(point, algorithm)| {
        let mut net = network(*algorithm, 2, 0);
        // A replica of PBFT that decides one block after the other states nothing: it is given time to be idle.
        net.set("QUORATE_CONSENSUS_CREATE_EMPTY_BLOCKS_INTERVAL", "1s");
        net.set("QUORATE_CONSENSUS_HEARTBEAT_INTERVAL", "20ms");
        net.launch(WITNESS);
        let mut number = 0;
        for hit in HITS {
            dies(&mut net, VICTIM, point, hit, |client| send(client, &mut number) && !number.is_multiple_of(WORDS));
        }
        net.await_ready(WITNESS);
        goes_on(&mut net);
        assert_eq!(net.member(WITNESS).evidence_on_chain(), 0, "{point}: signed twice");
    });
}

#[test]
fn a_node_dies_while_it_fetches_blocks_at_three_hits_each() {
    of_each(FETCHING, |point| {
        let mut net = network(Algorithm::Tendermint, 1, 1);
        net.start([WITNESS]);
        net.await_height([WITNESS], BLOCKS);
        for hit in HITS {
            net.member(VICTIM).command(&["reset-state"]);
            dies(&mut net, VICTIM, point, hit, |_| false);
        }
        goes_on(&mut net);
    });
}

#[test]
fn a_node_dies_while_others_fetch_its_blocks_at_three_hits_each() {
    of_each(SERVING, |point| {
        let mut net = network(Algorithm::Tendermint, 1, 1);
        let (server, fetcher) = (WITNESS, VICTIM);
        net.start([server]);
        net.await_height([server], BLOCKS);
        net.kill(server);
        for hit in HITS {
            net.member(fetcher).command(&["reset-state"]);
            net.launch(fetcher);
            dies(&mut net, server, point, hit, |_| false);
            net.kill(fetcher);
        }
        net.start([server]);
        goes_on(&mut net);
    });
}

#[test]
fn a_node_dies_while_it_saves_its_address_book_under_each_protocol() {
    let cases: Vec<_> = BOOK.iter().flat_map(|point| Algorithm::ALL.map(|algorithm| (*point, algorithm))).collect();
    of_each(&cases, |(point, algorithm)| {
        let mut net = network(*algorithm, 2, 0);
        net.launch(WITNESS);
        // It is saved once there is somebody to write down.
        let mut number = 0;
        dies(&mut net, VICTIM, point, 1, |client| send(client, &mut number));
        net.await_ready(WITNESS);
        goes_on(&mut net);
    });
}

/// Under which protocol misbehaviour is heard of, and how often.
const MISBEHAVIOUR_WAYS: [(Algorithm, u64); 3] =
    [(Algorithm::Tendermint, 1), (Algorithm::Pbft, 1), (Algorithm::Pbft, 2)];

#[test]
fn a_node_dies_while_it_writes_down_misbehaviour_three_ways_each() {
    let cases: Vec<_> = WITNESSED.iter().flat_map(|point| MISBEHAVIOUR_WAYS.map(|way| (*point, way))).collect();
    of_each(&cases, |(point, (algorithm, hit))| {
        let mut net = network(*algorithm, 4, 0);
        // Nobody looks for another view while two nodes of four wait.
        net.set("QUORATE_CONSENSUS_VIEW_CHANGE_TIMEOUT", "50s");
        let mut by_address: Vec<usize> = (0..4).collect();
        by_address.sort_by_key(|node| net.member(*node).validator.clone());
        // With equal powers, whose turn it is goes by address.
        let [first, second, victim, other] = by_address.try_into().unwrap();
        net.launch(other);
        launch_armed(&mut net, victim, point, *hit);
        net.await_ready(other);
        net.await_ready(victim);
        let turns: &[usize] = if *algorithm == Algorithm::Pbft { &[first, second] } else { &[first] };
        let homes: Vec<&Path> = turns.iter().map(|node| net.member(*node).home()).collect();
        let liar = TwoFaced::tell(*algorithm, &homes, net.member(victim));
        assert_died(net.take_process(victim), point, &format!("{algorithm}: dies at {point}, hit {hit}"));
        drop(liar);
        net.kill(other);
        net.set("QUORATE_CONSENSUS_VIEW_CHANGE_TIMEOUT", "1s");
        net.start(0..4);
        net.await_height(0..4, 3);
        net.assert_same_chain(0..4);
        let file = net.member(victim).home().join("data/misbehaviour.jsonl");
        let text = fs::read_to_string(file).unwrap_or_default();
        assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{text}");
    });
}
