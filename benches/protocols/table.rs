//! The protocols side by side: latency at a fixed rate, the most they take, CPU and bytes for a transaction.

use crate::chain::ask;
use crate::cluster::Cluster;
use crate::load::{Load, Plan, tx};
use crate::numbers::Millis;
use crate::rpc::{Client, Failure, commit, count, request};
use crate::{algorithm, wait};
use quorate::types::Algorithm;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Connections that send as fast as they are answered, and what each sends at once.
const CONNECTIONS: usize = 8;
const BATCH: usize = 100;
/// Pause of a connection whose node refused a whole batch: its mempool is full.
const FULL: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Parser)]
pub struct Args {
    /// Protocols and their nodes, as raft:3
    #[arg(long, value_delimiter = ',', default_value = "raft:3,raft:4,pbft:4,tendermint:4", value_parser = cluster)]
    clusters: Vec<(Algorithm, usize)>,
    /// Transactions a second while the latency is taken
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// Seconds of each load
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn cluster(text: &str) -> Result<(Algorithm, usize), Failure> {
    let (name, nodes) = text.split_once(':').ok_or("write a protocol and its nodes as raft:3")?;
    Ok((algorithm(name)?, nodes.parse()?))
}

/// What a stretch of time cost.
struct Cost {
    txs: u64,
    seconds: f64,
    blocks: u64,
    cpu: Duration,
    bytes: u64,
}

impl Cost {
    fn cpu_micros(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.txs.max(1) as f64
    }

    fn bytes_per_tx(&self) -> f64 {
        self.bytes as f64 / self.txs.max(1) as f64
    }
}

struct Row {
    algorithm: Algorithm,
    nodes: usize,
    latencies: Millis,
    steady: Cost,
    most: Cost,
    memory: u64,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let mut rows = Vec::new();
    for (algorithm, nodes) in &args.clusters {
        eprintln!("measuring {algorithm} with {nodes} nodes");
        rows.push(measure(args, *algorithm, *nodes)?);
    }
    if args.json {
        println!("{:#}", Value::from(rows.iter().map(|row| machine_form(args, row)).collect::<Vec<_>>()));
    } else {
        print!("{}", markdown(args, &rows));
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args, algorithm: Algorithm, nodes: usize) -> Result<Row, Failure> {
    let cluster = Cluster::start(algorithm, nodes)?;
    let plan = Plan { rate: args.rate, batch: 1, seconds: args.seconds };
    let (report, steady) = costing(&cluster, || {
        let report = Load::start(plan, cluster.rpcs()).end()?;
        Ok((report.acknowledged.len() as u64, report))
    })?;
    if report.acknowledged.len() as u64 != report.sent {
        eprintln!("{} of {} transactions were not acknowledged: {:?}", report.unanswered, report.sent, report.errors);
    }
    let first = report.sent;
    let ((), most) = costing(&cluster, || Ok((saturate(&cluster, first, args.seconds)?, ())))?;
    Ok(Row { algorithm, nodes, latencies: Millis::new(report.latencies), steady, most, memory: cluster.memory()? })
}

/// Runs a load that says how many transactions it committed, and takes what that cost.
fn costing<T>(cluster: &Cluster, load: impl FnOnce() -> Result<(u64, T), Failure>) -> Result<(T, Cost), Failure> {
    let (cpu, bytes, height) = (cluster.cpu()?, bytes_sent(cluster)?, crate::rpc::height(&cluster.members[0].rpc)?);
    let begun = Instant::now();
    let (txs, value) = load()?;
    let seconds = begun.elapsed().as_secs_f64();
    let blocks = crate::rpc::height(&cluster.members[0].rpc)? - height;
    let cost = Cost { txs, seconds, blocks, cpu: cluster.cpu()? - cpu, bytes: bytes_sent(cluster)? - bytes };
    Ok((value, cost))
}

/// What all nodes sent to their peers so far.
fn bytes_sent(cluster: &Cluster) -> Result<u64, Failure> {
    let mut bytes = 0;
    for member in &cluster.members {
        let answer = ask(&mut Client::connect(&member.rpc)?, "network", "{}")?;
        for peer in answer["peers"].as_array().ok_or("an odd answer of network")? {
            bytes += peer["sent"]["bytes"].as_str().ok_or("an odd answer of network")?.parse::<u64>()?;
        }
    }
    Ok(bytes)
}

/// Sends as fast as nodes accept, waits until all of it is in blocks, and gives how much that was.
fn saturate(cluster: &Cluster, first: u64, seconds: u64) -> Result<u64, Failure> {
    let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(first)));
    let mut senders = Vec::new();
    for connection in 0..CONNECTIONS {
        let rpc = cluster.members[connection % cluster.members.len()].rpc.clone();
        let (stop, next) = (Arc::clone(&stop), Arc::clone(&next));
        senders.push(std::thread::spawn(move || send_batches(&rpc, &next, &stop)));
    }
    wait(Duration::from_secs(seconds));
    stop.store(true, Ordering::Relaxed);
    let mut accepted = 0;
    for sender in senders {
        accepted += sender.join().map_err(|_| "a sender panicked")??;
    }
    // A node proposes in the order of arrival: when this one is in a block, so is all that came to it before.
    for (number, member) in cluster.members.iter().enumerate() {
        commit_patiently(&member.rpc, &format!("end{}-{number}=1", std::process::id()))?;
    }
    Ok(accepted)
}

/// A backlog may take longer than one `broadcast_tx_commit` waits.
fn commit_patiently(rpc: &str, tx: &str) -> Result<(), Failure> {
    let first = commit(rpc, tx);
    if first.is_ok() {
        return Ok(());
    }
    (0..30).find_map(|attempt| commit(rpc, &format!("{attempt}{tx}")).ok()).map_or(first, Ok)
}

fn send_batches(rpc: &str, next: &AtomicU64, stop: &AtomicBool) -> Result<u64, Failure> {
    let (mut client, mut accepted) = (Client::connect(rpc)?, 0);
    while !stop.load(Ordering::Relaxed) {
        let first = next.fetch_add(BATCH as u64, Ordering::Relaxed);
        let numbers = first..first + BATCH as u64;
        let requests: Vec<String> = numbers.map(|number| request("broadcast_tx_sync", &tx(number), number)).collect();
        let refused = count(&client.post(&format!("[{}]", requests.join(",")))?, b"\"error\"");
        accepted += (BATCH - refused) as u64;
        if refused == BATCH {
            wait(FULL);
        }
    }
    Ok(accepted)
}

fn machine_form(args: &Args, row: &Row) -> Value {
    let cost = |cost: &Cost| {
        json!({
            "txs": cost.txs,
            "seconds": cost.seconds,
            "txs_per_second": cost.txs as f64 / cost.seconds,
            "blocks": cost.blocks,
            "cpu_us_per_tx": cost.cpu_micros(),
            "bytes_per_tx": cost.bytes_per_tx(),
        })
    };
    json!({
        "algorithm": row.algorithm.name(),
        "nodes": row.nodes,
        "rate": args.rate,
        "latency_ms": row.latencies.json(),
        "steady": cost(&row.steady),
        "most": cost(&row.most),
        "memory_bytes": row.memory,
    })
}

fn markdown(args: &Args, rows: &[Row]) -> String {
    let rate = args.rate;
    let mut text = format!(
        "| protocol, nodes | latency at {rate} tx/s p50, p99 | CPU µs/tx at {rate} tx/s | most tx/s | CPU µs/tx | \
         bytes/tx between nodes | txs/block | memory of a node |\n|---|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let latency = |percent| row.latencies.percentile(percent).unwrap_or(f64::NAN);
        text += &format!(
            "| {}, {} | {:.1} ms, {:.1} ms | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} MB |\n",
            row.algorithm,
            row.nodes,
            latency(50),
            latency(99),
            row.steady.cpu_micros(),
            row.most.txs as f64 / row.most.seconds,
            row.most.cpu_micros(),
            row.most.bytes_per_tx(),
            row.most.txs as f64 / row.most.blocks.max(1) as f64,
            row.memory as f64 / 1e6,
        );
    }
    text
}
