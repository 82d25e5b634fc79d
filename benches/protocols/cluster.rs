//! A cluster on this machine: nodes with external kvstores, killed and started again, and the CPU time they took.

use crate::progress::phase;
use crate::rpc::{Failure, commit, cpu};
use quorate::types::Algorithm;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

/// What nodes are told unless the environment says otherwise.
const SETTINGS: &[(&str, &str)] = &[
    ("QUORATE_LOG_LEVEL", "error"),
    ("QUORATE_CONSENSUS_CREATE_EMPTY_BLOCKS", "false"),
    ("QUORATE_CONSENSUS_CREATE_EMPTY_BLOCKS_INTERVAL", "0s"),
    ("QUORATE_TX_INDEX_INDEXER", "null"),
    ("QUORATE_INSTRUMENTATION_PROMETHEUS", "false"),
    // Every batch of the load waits for its block.
    ("QUORATE_RPC_MAX_SUBSCRIPTION_CLIENTS", "10000"),
    ("QUORATE_RPC_MAX_SUBSCRIPTIONS_PER_CLIENT", "10000"),
];
/// Where the ports of the first cluster begin, and how far apart they are from one node to the next.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const PORTS_OF_A_NODE: u16 = 10;
/// Longest time from the start of a node to its taking part.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// The nodes and their applications. All end when this is dropped.
pub struct Cluster {
    pub algorithm: Algorithm,
    pub members: Vec<Member>,
    dir: PathBuf,
    /// CPU time of the processes that are gone.
    spent: Duration,
}

/// A node and its application.
pub struct Member {
    pub rpc: String,
    /// Address of its validator, as headers name it.
    pub validator: String,
    home: PathBuf,
    app: Child,
    node: Option<Node>,
}

struct Node {
    child: Child,
    /// Gets a word once the node takes part; closed when it ended.
    ready: Receiver<()>,
}

impl Cluster {
    /// Makes the homes, starts everything and waits for the first block.
    pub fn start(algorithm: Algorithm, nodes: usize) -> Result<Cluster, Failure> {
        let dir = std::env::temp_dir().join(format!("quorate-bench-{}-{algorithm}-{nodes}", std::process::id()));
        let mut testnet = Command::new(quorate());
        testnet.args(["testnet", "--single-host", "--json", "--algorithm", algorithm.name()]);
        testnet.args(["--v", &nodes.to_string(), "--p2p-port", &free_ports(nodes)?.to_string()]);
        let made: Value = serde_json::from_slice(&run(testnet.arg("--o").arg(&dir))?)?;
        let kvstore = phase("building the example application", kvstore)?;
        let mut cluster = Cluster { algorithm, members: Vec::new(), dir, spent: Duration::ZERO };
        for node in made["nodes"].as_array().ok_or("no nodes")? {
            let text = |name: &str| node[name].as_str().ok_or("an odd answer of testnet").map(str::to_owned);
            let home = PathBuf::from(text("home")?);
            let mut app = Command::new(&kvstore);
            app.arg("--home").arg(home.with_extension("app")).args(["--address", &text("application")?]);
            let app = app.stdout(Stdio::null()).spawn()?;
            let member = Member { rpc: text("rpc")?, validator: text("validator_address")?, home, app, node: None };
            cluster.members.push(member);
        }
        phase(&format!("starting {algorithm} with {nodes} nodes"), || cluster.launch_all())?;
        Ok(cluster)
    }

    fn launch_all(&mut self) -> Result<(), Failure> {
        for node in 0..self.members.len() {
            self.launch(node)?;
        }
        for node in 0..self.members.len() {
            self.await_ready(node)?;
        }
        commit(&self.members[0].rpc, "begin=1")
    }

    pub fn rpcs(&self) -> Vec<String> {
        self.members.iter().map(|member| member.rpc.clone()).collect()
    }

    /// Starts a node that is down, and waits for nothing.
    pub fn launch(&mut self, node: usize) -> Result<(), Failure> {
        let member = &mut self.members[node];
        let mut log = File::options().create(true).append(true).open(member.home.with_extension("log"))?;
        let mut start = Command::new(quorate());
        start.arg("start").arg("--home").arg(&member.home).stdout(Stdio::piped()).stderr(log.try_clone()?);
        start.envs(SETTINGS.iter().filter(|(name, _)| std::env::var_os(name).is_none()).copied());
        let mut child = start.spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let (tell, ready) = sync_channel(1);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                // Neither a full disk nor a story that ended concerns the node.
                let _ = writeln!(log, "{line}");
                if line.contains("ready  ") {
                    let _ = tell.try_send(());
                }
            }
        });
        member.node = Some(Node { child, ready });
        Ok(())
    }

    /// Waits until a node that was launched takes part.
    pub fn await_ready(&mut self, node: usize) -> Result<(), Failure> {
        let running = self.members[node].node.as_mut().ok_or("the node was not launched")?;
        running.ready.recv_timeout(READY_WITHIN).map_err(|_| {
            let log = self.members[node].home.with_extension("log");
            let log = std::fs::read_to_string(log).unwrap_or_default();
            format!("node {node} was not ready within {READY_WITHIN:?}; it said:\n{log}").into()
        })
    }

    /// `kill -9` of a node; its application lives on.
    pub fn kill(&mut self, node: usize) -> Result<(), Failure> {
        let mut gone = self.members[node].node.take().ok_or("the node is down already")?.child;
        self.spent += cpu(&[gone.id()])?;
        gone.kill()?;
        gone.wait()?;
        Ok(())
    }

    /// User and system time of all processes there ever were.
    pub fn cpu(&self) -> Result<Duration, Failure> {
        let nodes = self.members.iter().filter_map(|member| Some(member.node.as_ref()?.child.id()));
        let pids: Vec<u32> = nodes.chain(self.members.iter().map(|member| member.app.id())).collect();
        Ok(self.spent + cpu(&pids)?)
    }

    /// The most memory a node has now, in bytes.
    pub fn memory(&self) -> Result<u64, Failure> {
        let mut most = 0;
        for node in self.members.iter().filter_map(|member| member.node.as_ref()) {
            let status = std::fs::read_to_string(format!("/proc/{}/status", node.child.id()))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("an odd /proc/PID/status")?;
            most = most.max(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024);
        }
        Ok(most)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            for child in member.node.iter_mut().map(|node| &mut node.child).chain([&mut member.app]) {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        if std::env::var_os("QUORATE_BENCH_KEEP").is_some() {
            eprintln!("kept: {}", self.dir.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

fn quorate() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_quorate"))
}

/// The example application, built with the profile of this benchmark.
fn kvstore() -> Result<PathBuf, Failure> {
    let folder = quorate().parent().ok_or("no target directory")?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(other) => other,
        None => return Err("no profile".into()),
    };
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--no-default-features", "-p", "kvstore", "--profile", profile]);
    build
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", folder.parent().ok_or("no target directory")?);
    // What cargo says about its progress is for the screen.
    if !build.stdout(Stdio::null()).status()?.success() {
        return Err(format!("{build:?} failed").into());
    }
    Ok(folder.join("kvstore"))
}

/// The first of the ports of so many nodes where nobody listens now.
fn free_ports(nodes: usize) -> Result<u16, Failure> {
    let span = PORTS_OF_A_NODE * u16::try_from(nodes)?;
    let free = |first: &u16| (*first..first + span).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok());
    let begin = PORTS.start + std::process::id() as u16 % 1_000 * PORTS_OF_A_NODE;
    let first = (begin..PORTS.end - span).step_by(usize::from(span)).find(free);
    first.ok_or_else(|| format!("no {span} free ports in a row in {PORTS:?}").into())
}

fn run(command: &mut Command) -> Result<Vec<u8>, Failure> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(output.stdout)
}
