//! The lines of the README without a command: one node, three terminals, wrong lists, crashes while a network forms.

use super::harness::{Client, Process, quorate, run, value_of};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use tempfile::TempDir;

/// Ports for peers; those for clients are 1000 above. Below those that systems give to whoever asks for any, and apart
/// from those of the other stories.
const PORTS: std::ops::Range<u16> = 12_000..12_900;

/// A port where nobody listens, nor 1000 above, given once.
fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let width = PORTS.end - PORTS.start;
    loop {
        let step = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + (std::process::id() as u16 % width + step) % width;
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if free(port) && free(port + 1000) {
            return port;
        }
    }
}

/// Terminals side by side.
pub(super) struct Terminals {
    folder: TempDir,
    algorithm: &'static str,
    ports: Vec<u16>,
}

impl Terminals {
    pub(super) fn new(count: usize, algorithm: &'static str) -> Terminals {
        let ports = (0..count).map(|_| free_port()).collect();
        Terminals { folder: tempfile::tempdir().unwrap(), algorithm, ports }
    }

    fn home(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("node-{}", node + 1))
    }

    /// The words of one terminal, with these ports as peers.
    fn words(&self, node: usize, peers: &[u16]) -> Vec<String> {
        let mut words = vec!["--node-id".to_owned(), format!("node-{}", node + 1)];
        words.extend(["--port".to_owned(), self.ports[node].to_string()]);
        for port in peers {
            words.extend(["--peers".to_owned(), format!("127.0.0.1:{port}")]);
        }
        words.extend(["--algorithm".to_owned(), self.algorithm.to_owned()]);
        words.extend(["--home".to_owned(), self.home(node).display().to_string()]);
        words
    }

    fn start_with(&self, node: usize, peers: &[u16]) -> Process {
        Process::start(quorate().args(self.words(node, peers)))
    }

    pub(super) fn start(&self, node: usize) -> Process {
        Process::start(&mut self.command(node))
    }

    /// The line of one terminal.
    pub(super) fn command(&self, node: usize) -> Command {
        let own = self.ports[node];
        let peers: Vec<_> = self.ports.iter().copied().filter(|port| *port != own).collect();
        let mut command = quorate();
        command.args(self.words(node, &peers));
        command
    }

    fn client(&self, node: usize) -> Client {
        Client::new(&format!("127.0.0.1:{}", self.ports[node] + 1000))
    }

    /// Sends a transaction to a node, which then has applied its block.
    fn commit(&self, node: usize, key: &str) {
        self.client(node).commit(format!("{key}=1"));
    }

    /// Every node decides, and has what the ones before it decided.
    pub(super) fn assert_together(&self, prefix: &str) {
        for node in 0..self.ports.len() {
            self.commit(node, &format!("{prefix}{node}"));
            for before in 0..node {
                assert!(value_of(&mut self.client(node), &format!("{prefix}{before}")).is_some());
            }
        }
    }
}

fn three_terminals(algorithm: &'static str, survives: &str) {
    let terminals = Terminals::new(3, algorithm);
    let mut nodes: Vec<_> = (0..3).map(|node| terminals.start(node)).collect();
    for node in &nodes {
        node.wait_for("ready  ");
        let card = node.output();
        for part in [&format!("protocol     {algorithm}, "), survives, "development only: no access control"] {
            assert!(card.contains(part), "{part} in\n{card}");
        }
    }
    terminals.assert_together("first");
    let genesis = |node: usize| std::fs::read(terminals.home(node).join("config/genesis.json")).unwrap();
    assert!((1..3).all(|node| genesis(node) == genesis(0)));
    // One dies and comes back with the same line; its home has everything it needs.
    nodes[1].kill();
    if algorithm == "raft" {
        terminals.commit(0, "without-the-second");
    }
    nodes[1] = terminals.start(1);
    nodes[1].wait_for("ready  ");
    terminals.assert_together("second");
}

#[test]
fn three_terminals_form_and_decide_by_tendermint() {
    three_terminals("tendermint", "survives     none: all 3 validators must run");
}

#[test]
fn three_terminals_form_and_decide_by_raft_also_while_one_is_away() {
    three_terminals("raft", "survives     any 1 of 3 validators may crash; none may lie");
}

#[test]
fn three_terminals_form_and_decide_by_pbft() {
    three_terminals("pbft", "survives     none: all 3 validators must run");
}

#[test]
fn a_node_alone_needs_one_line_and_keeps_its_home_below_the_users_own() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().to_string();
    let line = |words: &[&str]| {
        let mut command = quorate();
        command.args(["--node-id", "node-1", "--port", &port]).args(words).env("HOME", folder.path());
        command
    };
    let node = Process::start(&mut line(&[]));
    node.wait_for("ready  ");
    let home = folder.path().join(".quorate/dev/node-1");
    let card = node.output();
    assert!(
        card.contains("protocol     raft, ") && card.contains(&format!("home         {}", home.display())),
        "{card}"
    );
    let rpc = format!("127.0.0.1:{}", port.parse::<u16>().unwrap() + 1000);
    Client::new(&rpc).commit("name=satoshi");
    // The home is in use, and it is this node's: a second one with the name is refused.
    let second = run(&mut line(&[]));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("in use by another quorate process"), "{said}");
    drop(node);
    for (words, variable, part) in [
        (&["--algorithm", "pbft"][..], "", "under raft, and pbft is asked for"),
        (&[], "tendermint", "under raft, and tendermint is asked for"),
        (&["--peers", "127.0.0.1:1"], "", "the list of a network stays as it was"),
    ] {
        let refused = run(line(words).env("CONSENSUS_ALGORITHM", variable));
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(78) && said.contains(part) && said.contains("next: "), "{said}");
    }
    // The same home, started by the command for every home.
    let refused = run(quorate().args(["start", "--algorithm", "pbft", "--home"]).arg(&home));
    let said = String::from_utf8(refused.stderr).unwrap();
    let part = "flag --algorithm asks for pbft, but the chain of this home";
    assert!(!refused.status.success() && said.contains(part) && said.contains("decides block"), "{said}");
    let again = Process::start(quorate().args(["start", "--algorithm", "raft", "--home"]).arg(&home));
    again.wait_for("ready  ");
    assert_eq!(value_of(&mut Client::new(&rpc), "name").as_deref(), Some("satoshi"));
    drop(again);
    // Under Raft the journal says for whom this node voted: without it, it could elect a second leader of a term.
    std::fs::rename(home.join("data/cs.wal"), home.join("data/cs.wal.aside")).unwrap();
    let refused = run(quorate().args(["start", "--home"]).arg(&home));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && said.contains("does not say in which term") && said.contains("next: "),
        "{said}"
    );
    std::fs::remove_dir_all(home.join("data/cs.wal")).unwrap();
    std::fs::rename(home.join("data/cs.wal.aside"), home.join("data/cs.wal")).unwrap();
    Process::start(quorate().args(["start", "--home"]).arg(&home)).wait_for("ready  ");
}

#[test]
fn a_node_killed_while_the_network_forms_comes_back_and_the_network_forms() {
    let terminals = Terminals::new(3, "raft");
    let first = terminals.start(0);
    first.wait_for("waiting for 127.0.0.1:");
    let mut second = terminals.start(1);
    let missing = format!("waiting for 127.0.0.1:{} (nobody answers there yet)", terminals.ports[2]);
    first.wait_for(&missing);
    second.wait_for(&missing);
    second.kill();
    let second = terminals.start(1);
    second.wait_for(&missing);
    let third = terminals.start(2);
    for node in [&first, &second, &third] {
        node.wait_for("ready  ");
    }
    terminals.assert_together("formed");
}

#[test]
fn a_wrong_list_ends_its_own_node_alone_and_a_port_in_use_is_refused_with_the_remedy() {
    let terminals = Terminals::new(3, "raft");
    let ports = &terminals.ports;
    let first = terminals.start(0);
    first.wait_for("waiting for ");
    let mut wrong = terminals.start_with(1, &ports[..1]);
    // Who of the two is right is open until the third is there.
    first.wait_for("was given another list");
    wrong.wait_for("was given another list");
    let third = terminals.start(2);
    assert_eq!(wrong.end().code(), Some(1));
    let mut all = ports.clone();
    all.retain(|port| *port != ports[1]);
    all.sort_unstable();
    let remedy = format!("start this node with --peers 127.0.0.1:{} --peers 127.0.0.1:{}", all[0], all[1]);
    let said = wrong.stderr();
    assert!(said.contains("error: this node was given another list of nodes than") && said.contains(&remedy), "{said}");
    // With the right line it is as if nothing had happened.
    let second = terminals.start(1);
    for node in [&first, &second, &third] {
        node.wait_for("ready  ");
    }
    let alone = Terminals::new(1, "raft");
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, alone.ports[0])).unwrap();
    let mut node = alone.start(0);
    assert_eq!(node.end().code(), Some(1));
    assert!(node.stderr().contains("cannot listen on 127.0.0.1:") && node.stderr().contains("choose another --port"));
    drop(taken);
}

#[test]
fn a_wrong_protocol_ends_its_own_node_alone() {
    let terminals = Terminals::new(3, "raft");
    let first = terminals.start(0);
    let other = Terminals { algorithm: "pbft", folder: tempfile::tempdir().unwrap(), ports: terminals.ports.clone() };
    let mut wrong = other.start(1);
    first.wait_for("was started with --algorithm pbft, this node with raft");
    let third = terminals.start(2);
    assert_eq!(wrong.end().code(), Some(1));
    let said = wrong.stderr();
    assert!(
        said.contains("this node was started with --algorithm pbft") && said.contains("with --algorithm raft"),
        "{said}"
    );
    let second = terminals.start(1);
    for node in [&first, &second, &third] {
        node.wait_for("ready  ");
    }
}
