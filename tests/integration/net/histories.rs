//! Clients put and get while nodes are killed, paused and cut off: their histories are linearizable, and the chain says
//! the same as they.
//!
//! `QUORATE_HISTORY_TURNS=200 cargo test --test integration histories -- --nocapture --test-threads=1` is the long run.

use super::link::Wire;
use super::network::{Application, Net};
use crate::integration::harness::{Failure, PATIENCE, from_base64};
use crate::integration::history::{
    CONFIGURATIONS_MAX, Call, Clients, Gets, Outcome, Record, Verdict, check, follows, query,
};
use quorate::types::Algorithm;
use rustix::process::Signal;
use serde_json::json;
use std::time::Duration;

/// Disturbances of a story, unless `QUORATE_HISTORY_TURNS` says otherwise: each kind once.
const TURNS: usize = 7;
/// Results the clients must have while one node is disturbed, and again after it is well.
const PROGRESS: usize = 24;
/// How long a network without a quorum is left alone.
const NO_QUORUM: Duration = Duration::from_millis(1500);
/// Fewest gets and acknowledged puts of a history that proves anything.
const CALLS_MIN: usize = 40;

#[test]
fn histories_under_tendermint_are_linearizable_whatever_happens_to_a_node() {
    story(Algorithm::Tendermint, 4, Gets::BehindATransaction);
}

#[test]
fn histories_under_pbft_are_linearizable_whatever_happens_to_a_node() {
    story(Algorithm::Pbft, 4, Gets::BehindATransaction);
}

#[test]
fn histories_under_raft_are_linearizable_whatever_happens_to_a_node() {
    story(Algorithm::Raft, 3, Gets::ByTheNode);
}

/// The checker is not blind to stale answers: without ReadIndex a node cut off from the others tells what was true once.
#[test]
fn under_raft_a_local_get_from_a_node_cut_off_is_a_violation_and_a_linearizable_one_is_refused() {
    let mut net = Net::of(Algorithm::Raft, 3, 0, Application::BuiltIn);
    net.start(0..3);
    net.await_height([0], 1);
    let leader = net.proposer(0);
    let follower = (leader + 1) % 3;
    net.await_height([follower], net.member(leader).commit_tx("key0=1"));
    let others = [leader, (leader + 2) % 3];
    net.between(&[follower], &others, Wire::Cut);
    net.member(leader).commit_tx("key0=2");

    let mut client = net.member(follower).client();
    let got = query(&mut client, 0, &json!("local")).unwrap();
    let call = |client, invoked, outcome| Call { client, key: 0, invoked, outcome };
    let calls = [
        call(0, 0, Outcome::Put { value: 1, ended: 1 }),
        call(0, 2, Outcome::Put { value: 2, ended: 3 }),
        call(1, 4, Outcome::Got { value: got.value, ended: 5 }),
    ];
    assert_eq!(got.value, Some(1), "{got:?}");
    assert!(matches!(check(&calls, CONFIGURATIONS_MAX), Verdict::Violation(_)), "no violation");

    let refused = query(&mut client, 0, &json!("linearizable"));
    assert!(matches!(refused, Err(Failure::Refused(_))), "{refused:?}");
    net.between(&[follower], &others, Wire::Whole);
    let mut healed = None;
    net.member(follower).await_block("leave to get", |_| {
        // It may have the block from another follower before it hears the leader.
        healed = query(&mut client, 0, &json!("linearizable")).ok();
        healed.is_some()
    });
    assert_eq!(healed.and_then(|got| got.value), Some(2));
}

fn story(algorithm: Algorithm, nodes: usize, gets: Gets) {
    let turns = std::env::var("QUORATE_HISTORY_TURNS").map_or(TURNS, |count| count.parse().unwrap());
    let mut net = Net::of(algorithm, nodes, 0, Application::External);
    net.set("QUORATE_RPC_TIMEOUT_BROADCAST_TX_COMMIT", "2s");
    // A killed node signs again at once: the harder case, and the quicker one.
    net.set("QUORATE_CONSENSUS_SKIP_DOPPELGANGER_CHECK", "true");
    net.start(0..nodes);
    let clients = Clients::start(nodes, gets);
    for node in 0..nodes {
        clients.node_is_at(node, net.member(node).rpc());
    }
    let mut world = World { net, clients, nodes };
    world.must_go_on("everybody is well");
    for turn in 0..turns {
        if turn > 0 && turn.is_multiple_of(TURNS) {
            println!("{algorithm}: {turn} of {turns} disturbances");
        }
        world.disturb(turn);
    }
    let World { net, clients, .. } = world;
    let record = clients.end();
    let highest = (0..nodes).map(|node| net.member(node).height()).max();
    net.await_height(0..nodes, highest.expect("there are nodes"));
    let tip = net.assert_same_chain(0..nodes);
    judge(algorithm, &net, tip, &record);
}

/// The network and its clients.
struct World {
    net: Net,
    clients: Clients,
    nodes: usize,
}

impl World {
    /// One disturbance from begin to end. Whoever proposed last is its victim every other time.
    fn disturb(&mut self, turn: usize) {
        let witness = turn % self.nodes;
        let victim = if turn.is_multiple_of(2) { self.net.proposer(witness) } else { witness };
        match turn % TURNS {
            0 => self.kill(victim, Net::kill),
            1 => self.pause(victim),
            2 => self.cut_off(victim, Wire::Cut),
            3 => self.cut_off(victim, Wire::Stuck),
            4 => self.kill(victim, Net::kill_with_application),
            5 => self.split(Wire::Cut),
            _ => self.pause_most(),
        }
        self.must_go_on("everybody is well again");
    }

    fn must_go_on(&self, when: &str) {
        assert!(self.clients.await_more(PROGRESS, PATIENCE), "no {PROGRESS} results in {PATIENCE:?} although {when}");
    }

    fn kill(&mut self, victim: usize, how: fn(&mut Net, usize)) {
        self.clients.node_is_away(victim);
        how(&mut self.net, victim);
        self.must_go_on("one node is dead");
        self.net.start([victim]);
        self.clients.node_is_at(victim, self.net.member(victim).rpc());
    }

    fn pause(&self, victim: usize) {
        self.net.member(victim).signal(Signal::STOP);
        self.must_go_on("one node is paused");
        self.net.member(victim).signal(Signal::CONT);
    }

    fn cut_off(&self, victim: usize, wire: Wire) {
        let others: Vec<usize> = (0..self.nodes).filter(|node| *node != victim).collect();
        self.net.between(&[victim], &others, wire);
        self.must_go_on("one node is cut off");
        self.net.between(&[victim], &others, Wire::Whole);
    }

    /// No part has a quorum: of three nodes each is alone, of four two and two are together.
    fn split(&self, wire: Wire) {
        let parts: Vec<Vec<usize>> =
            if self.nodes == 3 { vec![vec![0], vec![1], vec![2]] } else { vec![vec![0, 2], vec![1, 3]] };
        let say = |wire| {
            for (index, part) in parts.iter().enumerate() {
                for other in &parts[index + 1..] {
                    self.net.between(part, other, wire);
                }
            }
        };
        say(wire);
        self.clients.await_more(usize::MAX / 2, NO_QUORUM);
        say(Wire::Whole);
    }

    /// A majority stands still at once and wakes up one after the other.
    fn pause_most(&self) {
        let most = 0..self.nodes / 2 + 1;
        for node in most.clone() {
            self.net.member(node).signal(Signal::STOP);
        }
        self.clients.await_more(usize::MAX / 2, NO_QUORUM);
        for node in most {
            self.net.member(node).signal(Signal::CONT);
        }
    }
}

fn judge(algorithm: Algorithm, net: &Net, tip: u64, record: &Record) {
    let count = |wanted: fn(&Outcome) -> bool| record.calls.iter().filter(|call| wanted(&call.outcome)).count();
    let puts = count(|outcome| matches!(outcome, Outcome::Put { .. }));
    let open = count(|outcome| matches!(outcome, Outcome::PutOpen { .. }));
    let gets = count(|outcome| matches!(outcome, Outcome::Got { .. }));
    println!(
        "{algorithm}: {puts} puts acknowledged, {open} open, {gets} gets, {tip} heights, {} refusals: {:?}",
        record.refusals.len(),
        record.refusals.first()
    );
    assert!(puts >= CALLS_MIN && gets >= CALLS_MIN, "too few calls to prove anything: {puts} puts, {gets} gets");
    assert_eq!(check(&record.calls, CONFIGURATIONS_MAX), Verdict::Linearizable);
    assert_eq!(follows(&blocks(net, tip), &record.puts, &record.reads), Ok(()));
}

/// The transactions of every block, from the first on.
fn blocks(net: &Net, tip: u64) -> Vec<Vec<String>> {
    let mut client = net.member(0).client();
    let mut block = |height: u64| {
        let block = client.ask("block", &json!({"height": height.to_string()}))["block"].take();
        block["data"]["txs"].as_array().unwrap().iter().map(from_base64).collect()
    };
    (1..=tip).map(&mut block).collect()
}
