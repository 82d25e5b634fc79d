//! A network of real nodes on this machine, every pair joined by a [`Link`].

use super::link::{Link, Wire, runtime};
use crate::integration::harness::{App, Client, PATIENCE, Process, assert_linked, number, quorate, run};
use futures_util::{SinkExt as _, StreamExt as _};
use quorate::types::Algorithm;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use tempfile::TempDir;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// What makes a test network quick: rounds that fail end soon, and blocks come without transactions.
const SETTINGS: &[(&str, &str)] = &[
    ("QUORATE_CONSENSUS_TIMEOUT_PROPOSE", "800ms"),
    ("QUORATE_CONSENSUS_TIMEOUT_PROPOSE_DELTA", "200ms"),
    ("QUORATE_CONSENSUS_TIMEOUT_PREVOTE", "300ms"),
    ("QUORATE_CONSENSUS_TIMEOUT_PREVOTE_DELTA", "100ms"),
    ("QUORATE_CONSENSUS_TIMEOUT_PRECOMMIT", "300ms"),
    ("QUORATE_CONSENSUS_TIMEOUT_PRECOMMIT_DELTA", "100ms"),
    ("QUORATE_CONSENSUS_TIMEOUT_COMMIT", "20ms"),
    ("QUORATE_CONSENSUS_ELECTION_TIMEOUT", "500ms"),
    ("QUORATE_CONSENSUS_HEARTBEAT_INTERVAL", "50ms"),
    ("QUORATE_CONSENSUS_VIEW_CHANGE_TIMEOUT", "1s"),
    ("QUORATE_CONSENSUS_CREATE_EMPTY_BLOCKS", "true"),
    ("QUORATE_CONSENSUS_CREATE_EMPTY_BLOCKS_INTERVAL", "0s"),
    ("QUORATE_INSTRUMENTATION_PROMETHEUS", "false"),
    ("QUORATE_P2P_PEX", "false"),
];

/// Which application the nodes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Application {
    /// The one inside the node.
    BuiltIn,
    /// A process of its own for each node.
    External,
}

/// A node of the network, running or not.
pub(super) struct Member {
    /// What peers know it by.
    pub(super) id: String,
    /// Address of its validator.
    pub(super) validator: String,
    home: PathBuf,
    p2p: SocketAddr,
    /// Whom it calls, as config.toml has them.
    peers: String,
    app: Option<App>,
    running: Option<Running>,
}

struct Running {
    process: Process,
    rpc: String,
}

/// The homes, wires and nodes. Nodes are numbered as `quorate testnet` made them, validators first.
pub(super) struct Net {
    pub(super) chain_id: String,
    members: Vec<Member>,
    /// From the node that calls to the one that is called: the later calls the earlier.
    links: BTreeMap<(usize, usize), Link>,
    application: Application,
    settings: Vec<(&'static str, &'static str)>,
    dir: TempDir,
}

/// Ports below those that systems give to whoever asks for any, so that nobody else takes one between our look and the
/// node's start.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// An address of this machine where nobody listens, given once.
fn free_address() -> SocketAddr {
    /// Test programs that run at once begin in different places.
    static TAKEN: OnceLock<AtomicU16> = OnceLock::new();
    let taken = TAKEN.get_or_init(|| AtomicU16::new((std::process::id() * 64 % 4_096) as u16));
    loop {
        let port = PORTS.start + taken.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener.local_addr().unwrap();
        }
    }
}

impl Net {
    /// Makes the homes of `validators` validators and `followers` other nodes, and starts nothing.
    pub(super) fn new(validators: usize, followers: usize, application: Application) -> Net {
        Net::of(Algorithm::Tendermint, validators, followers, application)
    }

    /// The same under any protocol.
    pub(super) fn of(algorithm: Algorithm, validators: usize, followers: usize, application: Application) -> Net {
        let dir = tempfile::tempdir().unwrap();
        let mut command = quorate();
        command.args(["testnet", "--json", "--populate-persistent-peers=false", "--algorithm", algorithm.name()]);
        command.args(["--v", &validators.to_string(), "--n", &followers.to_string()]).arg("--o").arg(dir.path());
        let made = run(&mut command);
        assert!(made.status.success(), "{made:?}");
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let member = |node: &Value| Member {
            id: text(&node["node_id"]),
            validator: text(&node["validator_address"]),
            home: text(&node["home"]).into(),
            p2p: free_address(),
            peers: String::new(),
            app: None,
            running: None,
        };
        let members: Vec<Member> = made["nodes"].as_array().unwrap().iter().map(member).collect();
        let pairs = (0..members.len()).flat_map(|later| (0..later).map(move |earlier| (later, earlier)));
        let links = pairs.map(|(later, earlier)| ((later, earlier), Link::to(members[earlier].p2p))).collect();
        let mut net =
            Net { chain_id: text(&made["chain_id"]), members, links, application, settings: SETTINGS.to_vec(), dir };
        for ((later, earlier), link) in &net.links {
            let peer = format!("{}@{},", net.members[*earlier].id, link.address());
            net.members[*later].peers += &peer;
        }
        net
    }

    /// A network that runs.
    pub(super) fn started(validators: usize, application: Application) -> Net {
        let mut net = Net::new(validators, 0, application);
        net.start(0..validators);
        net
    }

    /// Says something else than [`SETTINGS`] to nodes that are started later.
    pub(super) fn set(&mut self, variable: &'static str, value: &'static str) {
        self.settings.retain(|(known, _)| *known != variable);
        self.settings.push((variable, value));
    }

    /// Makes a node that is started later call these instead.
    pub(super) fn set_peers(&mut self, node: usize, peers: &str) {
        peers.clone_into(&mut self.members[node].peers);
    }

    /// Starts nodes, and waits until each takes part in consensus.
    pub(super) fn start(&mut self, nodes: impl IntoIterator<Item = usize> + Clone) {
        for node in nodes.clone() {
            self.launch(node);
        }
        for node in nodes {
            self.await_ready(node);
        }
    }

    /// Waits until a node has its application and takes part in consensus; only then its RPC may be asked.
    pub(super) fn await_ready(&mut self, node: usize) {
        let running = self.members[node].running.as_mut().unwrap();
        let ready = running.process.wait_for("ready  ");
        running.rpc = ready.rsplit_once("RPC tcp://").unwrap().1.to_owned();
    }

    /// Starts a node and waits for nothing.
    pub(super) fn launch(&mut self, node: usize) {
        let member = &mut self.members[node];
        let app = match self.application {
            Application::BuiltIn => "kvstore".to_owned(),
            Application::External => {
                let data = self.dir.path().join(format!("app{node}"));
                let address = format!("unix://{}.sock", data.display());
                member.app.get_or_insert_with(|| App::start_in(&data, &address)).address()
            }
        };
        let mut command = quorate();
        command.arg("start").arg("--home").arg(&member.home).args(["--proxy_app", &app]);
        command.args(["--rpc.laddr", "tcp://127.0.0.1:0", "--p2p.laddr", &format!("tcp://{}", member.p2p)]);
        command
            .args(["--p2p.persistent_peers", member.peers.trim_end_matches(',')])
            .envs(self.settings.iter().copied());
        member.running = Some(Running { process: Process::start(&mut command), rpc: String::new() });
    }

    pub(super) fn member(&self, node: usize) -> &Member {
        &self.members[node]
    }

    /// The process of a node that will end by itself.
    pub(super) fn take_process(&mut self, node: usize) -> Process {
        self.members[node].running.take().expect("the story started this node").process
    }

    /// Changes the genesis document of all nodes alike, before any of them was started.
    pub(super) fn change_genesis(&self, change: impl FnOnce(&mut Value)) {
        let file = |member: &Member| member.home.join("config/genesis.json");
        let mut genesis = serde_json::from_slice(&fs::read(file(&self.members[0])).unwrap()).unwrap();
        change(&mut genesis);
        self.members.iter().for_each(|member| fs::write(file(member), genesis.to_string()).unwrap());
    }

    /// Says what the wires between two groups of nodes do.
    pub(super) fn between(&self, some: &[usize], others: &[usize], wire: Wire) {
        for (later, earlier) in self.links.keys() {
            let crosses = |a, b| some.contains(a) && others.contains(b);
            if crosses(later, earlier) || crosses(earlier, later) {
                self.links[&(*later, *earlier)].becomes(wire);
            }
        }
    }

    /// Waits until these nodes have a block of this height.
    pub(super) fn await_height(&self, nodes: impl IntoIterator<Item = usize>, height: u64) {
        for node in nodes {
            self.members[node].await_height(height);
        }
    }

    /// The blocks of all these nodes hang together, and at the lowest tip among them they are the same, so below it, too;
    /// a header carries the application's hash. Gives that height.
    pub(super) fn assert_same_chain(&self, nodes: impl IntoIterator<Item = usize>) -> u64 {
        let nodes: Vec<&Member> = nodes.into_iter().map(|node| &self.members[node]).collect();
        let tip = nodes.iter().map(|node| assert_linked(&mut node.client()).0).min().unwrap();
        let headers: Vec<Value> = nodes.iter().map(|node| node.commit(tip)["header"].take()).collect();
        assert!(headers.windows(2).all(|pair| pair[0] == pair[1]), "height {tip}: {headers:#?}");
        tip
    }

    /// `kill -9` of a node; its application, if it has a process, lives on.
    pub(super) fn kill(&mut self, node: usize) {
        self.members[node].running.take().expect("the story started this node").process.kill();
    }

    /// `kill -9` of a node and of its application; a later start starts both.
    pub(super) fn kill_with_application(&mut self, node: usize) {
        self.kill(node);
        self.members[node].app.take().expect("its application is a process").kill();
    }

    /// The node that proposed the newest block `witness` knows: the leader or primary, where there is one.
    pub(super) fn proposer(&self, witness: usize) -> usize {
        let witness = &self.members[witness];
        let header = witness.commit(witness.height())["header"].take();
        let is_proposer = |member: &Member| header["proposer_address"] == json!(member.validator);
        self.members.iter().position(is_proposer).expect("a validator proposed")
    }
}

impl Member {
    fn running(&self) -> &Running {
        self.running.as_ref().expect("the story started this node")
    }

    pub(super) fn process(&self) -> &Process {
        &self.running().process
    }

    pub(super) fn client(&self) -> Client {
        Client::new(&self.running().rpc)
    }

    pub(super) fn rpc(&self) -> &str {
        &self.running().rpc
    }

    /// Its home directory.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// Where peers call it, without a wire between.
    pub(super) fn p2p(&self) -> SocketAddr {
        self.p2p
    }

    /// A command about this node, run to its end; what it printed.
    pub(super) fn command(&self, args: &[&str]) -> String {
        let output = run(quorate().args(args).arg("--home").arg(&self.home));
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    }

    pub(super) fn height(&self) -> u64 {
        number(&self.client().ask("status", &json!({}))["sync_info"]["latest_block_height"])
    }

    pub(super) fn is_catching_up(&self) -> bool {
        self.client().ask("status", &json!({}))["sync_info"]["catching_up"] == json!(true)
    }

    /// Header and commit of a height.
    pub(super) fn commit(&self, height: u64) -> Value {
        self.client().ask("commit", &json!({"height": height.to_string()}))["signed_header"].take()
    }

    /// Sends a transaction and gives the height of its block.
    pub(super) fn commit_tx(&self, tx: &str) -> u64 {
        self.client().commit(tx)
    }

    /// Waits until a commit this node has, of a height above this one, carries the vote of another node.
    pub(super) fn await_vote_of(&self, voter: &Member, above: u64) {
        let what = format!("a vote of {} above height {above}", voter.validator);
        self.await_block(&what, |tip| tip > above && self.has_vote_of(voter, tip));
    }

    fn has_vote_of(&self, voter: &Member, height: u64) -> bool {
        let commit = self.commit(height)["commit"].take();
        let signatures = commit["signatures"].as_array().unwrap();
        signatures.iter().any(|signature| signature["validator_address"] == json!(voter.validator))
    }

    /// Pieces of evidence in all blocks.
    pub(super) fn evidence_on_chain(&self) -> usize {
        let count = |height: u64| {
            let block = self.client().ask("block", &json!({"height": height.to_string()}));
            block["block"]["evidence"]["evidence"].as_array().unwrap().len()
        };
        (1..=self.height()).map(count).sum()
    }

    /// Waits, told by the node of each new block, until it has one of this height.
    pub(super) fn await_height(&self, height: u64) {
        let what = format!("height {height} of the node at {}", self.rpc());
        self.await_block(&what, |found| found >= height);
    }

    /// Waits for a block of whose height `wanted` says yes; the last block there is counts, too.
    pub(super) fn await_block(&self, what: &str, mut wanted: impl FnMut(u64) -> bool) {
        let heard = async {
            let (mut socket, _) = connect_async(format!("ws://{}/websocket", self.rpc())).await.unwrap();
            for (id, method, params) in
                [(0, "subscribe", json!({"query": "tm.event='NewBlockHeader'"})), (1, "status", json!({}))]
            {
                let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
                socket.send(Message::text(request.to_string())).await.unwrap();
            }
            loop {
                let Message::Text(text) = socket.next().await.unwrap().unwrap() else { continue };
                let message: Value = serde_json::from_str(&text).unwrap();
                let result = &message["result"];
                let height = result.pointer("/data/value/header/height");
                let Some(height) = height.or(result.pointer("/sync_info/latest_block_height")) else { continue };
                if wanted(number(height)) {
                    return;
                }
            }
        };
        let heard = runtime().block_on(async { tokio::time::timeout(PATIENCE, heard).await });
        heard
            .unwrap_or_else(|_| panic!("{what} did not come in {PATIENCE:?}; it printed:\n{}", self.process().output()))
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }
}

impl Drop for Net {
    /// All nodes end before the wires do, so that no last lines are about those.
    fn drop(&mut self) {
        for member in &mut self.members {
            member.running = None;
        }
    }
}
