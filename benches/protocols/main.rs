//! Clusters of each protocol on this machine, measured the same way: what they take, and what a dead leader costs.
//!
//! ```sh
//! cargo bench --no-default-features --bench protocols                                    # the table of all protocols
//! cargo bench --no-default-features --bench protocols -- kills --algorithm raft --minutes 10
//! ```
//!
//! Every node has its external kvstore. Nodes have the default configuration, but make no empty blocks, keep no index
//! and log errors only; the environment (`QUORATE_CONSENSUS_ELECTION_TIMEOUT=500ms`) says otherwise. What is being done
//! is said on stderr, the result on stdout. `--json` prints one JSON document instead. `QUORATE_BENCH_KEEP=1` keeps homes and logs.

#[path = "../support/rpc.rs"]
mod rpc;

mod chain;
mod cluster;
mod flow;
mod kills;
mod load;
mod numbers;
mod observe;
mod progress;
mod table;

use clap::{Parser, Subcommand};
use quorate::types::Algorithm;
use rpc::Failure;
use std::process::ExitCode;

/// Measures clusters of each protocol.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// What cargo gives every benchmark
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Throughput, latency and CPU of every protocol, as a Markdown table
    Table(table::Args),
    /// A load while the leader is killed again and again; proves that nothing acknowledged is lost
    Kills(kills::Args),
}

fn main() -> ExitCode {
    // `cargo test --benches` only wants to know that this builds and starts.
    if !std::env::args().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    let outcome = match Args::parse().command {
        Some(Command::Kills(args)) => kills::run(&args),
        Some(Command::Table(args)) => table::run(&args),
        None => table::run(&table::Args::parse_from(["table"])),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        ExitCode::FAILURE
    })
}

/// Reads the name of a protocol.
fn algorithm(name: &str) -> Result<Algorithm, Failure> {
    Algorithm::from_name(name).ok_or_else(|| format!("{name:?} is not tendermint, pbft or raft").into())
}

/// The fewest nodes that go on without one.
fn nodes_of(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Raft => 3,
        Algorithm::Pbft | Algorithm::Tendermint => 4,
    }
}

/// Lets some time go by.
fn wait(time: std::time::Duration) {
    let (_open, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(time);
}
