//! A home with what belongs to it: the node and the example application.

use super::{Client, Process};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest time a node may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// The node's program, without what this machine's environment says about nodes.
pub(crate) fn quorate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    for (name, _) in std::env::vars_os() {
        let plain = ["RUST_LOG", "CONSENSUS_ALGORITHM", "ELECTION_TIMEOUT_MS", "HEARTBEAT_INTERVAL_MS"];
        if name.to_string_lossy().starts_with("QUORATE_") || plain.iter().any(|plain| name == *plain) {
            command.env_remove(name);
        }
    }
    command
}

/// The example application, built once with the profile of these tests into the same target directory.
fn kvstore() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = Path::new(env!("CARGO_BIN_EXE_quorate")).parent().unwrap();
        let profile = match folder.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            other => other,
        };
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "-q", "-p", "kvstore", "--profile", profile]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if cfg!(not(feature = "rocksdb")) {
            build.arg("--no-default-features");
        }
        build.env("CARGO_TARGET_DIR", folder.parent().unwrap());
        let built = build.status().unwrap();
        assert!(built.success(), "{build:?} failed");
        folder.join("kvstore")
    })
}

/// What `quorate init` made, in a directory that goes away.
pub(crate) struct Home {
    dir: TempDir,
}

impl Home {
    pub(crate) fn new() -> Home {
        let home = Home { dir: tempfile::tempdir().unwrap() };
        let made = home.run(&["init"]);
        assert!(made.status.success(), "{made:?}");
        home
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("node")
    }

    /// A file of the home.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Where the application keeps its data.
    pub(crate) fn app_data(&self) -> PathBuf {
        self.dir.path().join("app")
    }

    /// Where the application listens unless a story says otherwise.
    pub(crate) fn app_address(&self) -> String {
        format!("unix://{}", self.dir.path().join("app.sock").display())
    }

    /// Runs a command on this home to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        run(quorate().args(args).arg("--home").arg(self.path()))
    }
}

/// Runs a command to its end, which must come in time.
pub(crate) fn run(command: &mut Command) -> Output {
    let mut process = Process::start(command);
    let status = process.end();
    Output { status, stdout: process.stdout().into_bytes(), stderr: process.stderr().into_bytes() }
}

/// The example application as a process.
pub(crate) struct App {
    pub(crate) process: Process,
    /// The line it printed when it was ready.
    pub(crate) ready: String,
}

impl App {
    pub(crate) fn start(home: &Home) -> App {
        App::start_at(home, &home.app_address())
    }

    pub(crate) fn start_at(home: &Home, address: &str) -> App {
        App::start_in(&home.app_data(), address)
    }

    /// Starts it with its data in a directory that needs no home of a node.
    pub(crate) fn start_in(data: &Path, address: &str) -> App {
        let mut command = Command::new(kvstore());
        let process = Process::start(command.arg("--home").arg(data).arg("--address").arg(address));
        let ready = process.wait_for("kvstore listens at ");
        App { process, ready }
    }

    /// `HOST:PORT` or the path it listens at, with the scheme in front.
    pub(crate) fn address(&self) -> String {
        let rest = self.ready.strip_prefix("kvstore listens at ").unwrap();
        rest.split(',').next().unwrap().to_owned()
    }

    pub(crate) fn kill(mut self) {
        self.process.kill();
    }
}

/// Where the node of this home serves RPC, as it wrote down before it met its application.
pub(crate) fn running_rpc(home: &Home) -> String {
    let file = std::fs::read(home.file("data/node.json")).unwrap();
    let run: serde_json::Value = serde_json::from_slice(&file).unwrap();
    run["rpc"].as_str().unwrap().trim_start_matches("tcp://").to_owned()
}

/// A node as a process.
pub(crate) struct Node {
    pub(crate) process: Process,
    /// Where its RPC is, `HOST:PORT`; the system chose the port.
    pub(crate) rpc: String,
}

impl Node {
    /// Starts a node whose application runs already, and waits for the end of the handshake.
    pub(crate) fn start(home: &Home) -> Node {
        Node::start_with(home, &home.app_address(), &[])
    }

    pub(crate) fn start_with(home: &Home, app: &str, args: &[&str]) -> Node {
        let process = Node::launch(home, app, args);
        let ready = process.wait_for("ready  ");
        Node::of(process, &ready)
    }

    /// The same, but nobody reads what it prints once it is ready.
    pub(crate) fn start_unread(home: &Home) -> Node {
        let mut command = Node::command(home, &home.app_address(), &[]);
        let (process, ready) = Process::start_and_leave(&mut command, "ready  ");
        Node::of(process, &ready)
    }

    /// A node whose log is JSON.
    pub(crate) fn start_json(home: &Home) -> Node {
        let process = Node::launch(home, &home.app_address(), &["--log-format", "json"]);
        process.wait_for("ready at");
        Node { process, rpc: running_rpc(home) }
    }

    fn of(process: Process, ready: &str) -> Node {
        let rpc = ready.rsplit_once("RPC tcp://").map(|(_, rpc)| rpc.to_owned());
        Node { process, rpc: rpc.unwrap_or_else(|| panic!("no RPC address in {ready:?}")) }
    }

    /// Starts a node that has to wait for its application, and waits until it says so.
    pub(crate) fn start_waiting(home: &Home, app: &str) -> Node {
        let process = Node::launch(home, app, &[]);
        process.wait_for("waiting for the application");
        Node { process, rpc: running_rpc(home) }
    }

    /// Starts a node and waits for nothing.
    pub(crate) fn launch(home: &Home, app: &str, args: &[&str]) -> Process {
        Process::start(&mut Node::command(home, app, args))
    }

    fn command(home: &Home, app: &str, args: &[&str]) -> Command {
        let mut command = quorate();
        command.arg("start").arg("--home").arg(home.path()).arg("--proxy_app").arg(app);
        command.args(["--rpc.laddr", "tcp://127.0.0.1:0", "--p2p.laddr", "tcp://127.0.0.1:0"]);
        command.arg("--instrumentation.prometheus=false").args(args);
        command
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.rpc)
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.process.kill();
    }

    /// Ends it as an operator does: it says goodbye with code 0, within seconds.
    pub(crate) fn stop(mut self) {
        let begun = Instant::now();
        self.process.signal(rustix::process::Signal::TERM);
        let status = self.process.end();
        assert!(begun.elapsed() < STOP_WITHIN, "it took {:?} to stop", begun.elapsed());
        assert!(status.success(), "{status}:\n{}", self.process.output());
    }
}
