//! The protocols side by side: latency at a fixed rate, the most they take, CPU and bytes for a transaction.

use crate::chain::ask;
use crate::cluster::Cluster;
use crate::flow::Flow;
use crate::load::{Load, Plan, Report};
use crate::numbers::Millis;
use crate::progress::phase;
use crate::rpc::{Client, Failure, cpu, height};
use crate::{algorithm, wait};
use quorate::types::Algorithm;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Load before the most is measured: queues fill, and nobody starts any more.
const WARM_UP: Duration = Duration::from_secs(3);

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
    /// Most transactions under way while the most is measured: at least what is committed from one block to the next but one
    #[arg(long, default_value_t = 10_000)]
    outstanding: u64,
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
    /// Of the nodes and their applications.
    cpu: Duration,
    /// Of this process, which makes the load on the same cores.
    loader: Duration,
    bytes: u64,
}

impl Cost {
    fn per_second(&self) -> f64 {
        self.txs as f64 / self.seconds
    }

    fn micros_per_tx(&self, time: Duration) -> f64 {
        time.as_secs_f64() * 1e6 / self.txs.max(1) as f64
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
    let name = format!("{algorithm}, {nodes} nodes");
    let (rate, seconds) = (args.rate, args.seconds);
    let (report, steady) =
        phase(&format!("{name}: latency at {rate} tx/s for {seconds} s"), || trickle(&cluster, args))?;
    if report.acknowledged.len() as u64 != report.sent {
        eprintln!("{} of {} transactions were not acknowledged: {:?}", report.unanswered, report.sent, report.errors);
    }
    let most = phase(&format!("{name}: the most it takes, for {seconds} s"), || saturate(&cluster, report.sent, args))?;
    Ok(Row { algorithm, nodes, latencies: Millis::new(report.latencies), steady, most, memory: cluster.memory()? })
}

/// What all processes spent so far.
struct Spent {
    cpu: Duration,
    loader: Duration,
    bytes: u64,
}

impl Spent {
    fn until_now(cluster: &Cluster) -> Result<Spent, Failure> {
        // The quick ones first: the answers about bytes take a while under load.
        Ok(Spent { cpu: cluster.cpu()?, loader: cpu(&[std::process::id()])?, bytes: bytes_sent(cluster)? })
    }

    /// What was spent from `self` on, for the transactions of these blocks.
    fn since(&self, now: &Spent, txs: u64, blocks: u64, time: Duration) -> Cost {
        let (cpu, loader, bytes) = (now.cpu - self.cpu, now.loader - self.loader, now.bytes - self.bytes);
        Cost { txs, seconds: time.as_secs_f64(), blocks, cpu, loader, bytes }
    }
}

/// Sends at the fixed rate; every transaction waits for its block.
fn trickle(cluster: &Cluster, args: &Args) -> Result<(Report, Cost), Failure> {
    let plan = Plan { rate: args.rate, batch: 1, seconds: args.seconds };
    let (before, first, begun) = (Spent::until_now(cluster)?, height(&cluster.members[0].rpc)?, Instant::now());
    let report = Load::start(plan, cluster.rpcs()).end()?;
    let time = begun.elapsed();
    let (after, last) = (Spent::until_now(cluster)?, height(&cluster.members[0].rpc)?);
    let cost = before.since(&after, report.acknowledged.len() as u64, last - first, time);
    Ok((report, cost))
}

/// Sends as much as is committed. What counts is in the blocks between two of them, after the begin and before the end
/// of the load; and all of the load must be in blocks in the end.
fn saturate(cluster: &Cluster, first: u64, args: &Args) -> Result<Cost, Failure> {
    let flow = Flow::start(&cluster.rpcs(), first, args.outstanding)?;
    wait(WARM_UP);
    let (from, before) = (flow.next_block()?, Spent::until_now(cluster)?);
    wait(Duration::from_secs(args.seconds));
    let (to, after) = (flow.next_block()?, Spent::until_now(cluster)?);
    let refused = flow.end()?;
    if refused > 0 {
        eprintln!("a full mempool refused {refused} transactions: try a smaller --outstanding");
    }
    Ok(before.since(&after, to.txs - from.txs, to.blocks - from.blocks, to.at - from.at))
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

fn machine_form(args: &Args, row: &Row) -> Value {
    let cost = |cost: &Cost| {
        json!({
            "txs": cost.txs,
            "seconds": cost.seconds,
            "txs_per_second": cost.per_second(),
            "blocks": cost.blocks,
            "cpu_us_per_tx": cost.micros_per_tx(cost.cpu),
            "loader_cpu_us_per_tx": cost.micros_per_tx(cost.loader),
            "bytes_per_tx": cost.bytes_per_tx(),
        })
    };
    json!({
        "algorithm": row.algorithm.name(),
        "nodes": row.nodes,
        "rate": args.rate,
        "outstanding": args.outstanding,
        "latency_ms": row.latencies.json(),
        "steady": cost(&row.steady),
        "most": cost(&row.most),
        "memory_bytes": row.memory,
    })
}

fn markdown(args: &Args, rows: &[Row]) -> String {
    let rate = args.rate;
    let mut text = format!(
        "| protocol, nodes | latency at {rate} tx/s p50, p99 | CPU µs/tx at {rate} tx/s | most committed tx/s | CPU µs/tx \
         | CPU µs/tx of the load | bytes/tx between nodes | txs/block | memory of a node |\n\
         |---|---|---|---|---|---|---|---|---|\n"
    );
    for row in rows {
        let (steady, most) = (&row.steady, &row.most);
        let latency = |percent| row.latencies.percentile(percent).unwrap_or(f64::NAN);
        text += &format!(
            "| {}, {} | {:.1} ms, {:.1} ms | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} MB |\n",
            row.algorithm,
            row.nodes,
            latency(50),
            latency(99),
            steady.micros_per_tx(steady.cpu),
            most.per_second(),
            most.micros_per_tx(most.cpu),
            most.micros_per_tx(most.loader),
            most.bytes_per_tx(),
            most.txs as f64 / most.blocks.max(1) as f64,
            row.memory as f64 / 1e6,
        );
    }
    text
}
