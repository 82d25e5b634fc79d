//! A network under a fixed rate of transactions, given to its nodes in turn: commit latency, block interval, CPU.
//!
//! `cargo bench --no-default-features --bench network` makes four validators with external kvstores on this machine.
//! Another network is measured by its RPC alone: `QUORATE_BENCH_RPC=127.0.0.1:26657,127.0.0.1:26667,…` with
//! `QUORATE_BENCH_PIDS=123,456,…` for the CPU. `QUORATE_BENCH_RATE` is the rate (default 200/s), `QUORATE_BENCH_SECONDS`
//! the time (default 20), `QUORATE_BENCH_WATCHED` how many of them each second wait for their block (default 200).
//!
//! The load is open-loop: a transaction is due at its time whether or not earlier ones were answered, and its latency
//! counts from then, so a stall shows in full. Watched transactions are sent with `broadcast_tx_commit`, each on a
//! connection of its own; the others in small batches with `broadcast_tx_sync`.

#[path = "support/rpc.rs"]
mod rpc;

use rpc::{Client, Failure, base64, commit, count, cpu, height, request};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Bytes of one transaction: key, `=`, padding.
const TX_BYTES: usize = 250;
/// Validators when the network is made here.
const NODES: usize = 4;
/// How long a network without load is watched.
const IDLE: Duration = Duration::from_secs(10);
/// Watched transactions under way at once: connections are made for two seconds of them.
const WATCH_SECONDS: u64 = 2;
/// How often the transactions that are due are sent.
const TICK: Duration = Duration::from_millis(10);

/// Counts since the beginning.
#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    refused: AtomicU64,
}

#[derive(Clone, Copy)]
struct Plan {
    rate: u64,
    watched: u64,
    seconds: u64,
}

impl Plan {
    fn read() -> Plan {
        let number =
            |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
        let rate = number("QUORATE_BENCH_RATE", 200);
        let watched = number("QUORATE_BENCH_WATCHED", 200).min(rate);
        Plan { rate, watched, seconds: number("QUORATE_BENCH_SECONDS", 20) }
    }
}

fn main() -> Result<(), Failure> {
    // `cargo test --benches` only wants to know that this builds and starts.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let plan = Plan::read();
    let network = Network::find()?;
    let (idle_cpu, begun) = (cpu(&network.pids)?, Instant::now());
    wait(IDLE);
    let idle = percent(cpu(&network.pids)? - idle_cpu, begun.elapsed());
    let (first, cpu_before, begun) = (height(&network.rpcs[0])? + 1, cpu(&network.pids)?, Instant::now());
    let (counts, mut latencies) = load(&network, plan)?;
    let busy = percent(cpu(&network.pids)? - cpu_before, begun.elapsed());
    commit(&network.rpcs[0], &format!("end-{}=1", std::process::id()))?;
    let last = height(&network.rpcs[0])?;
    let mut intervals = intervals(&network.rpcs[0], first, last)?;
    let accepted = counts.accepted.load(Ordering::Relaxed);
    println!(
        "sent         {accepted} of {} at {} tx/s over {} nodes, {} refused",
        plan.rate * plan.seconds,
        plan.rate,
        network.rpcs.len(),
        counts.refused.load(Ordering::Relaxed)
    );
    println!("latency      {} of {} watched", quantiles(&mut latencies), latencies.len());
    println!(
        "blocks       {} in {:.0} s, interval {}",
        last + 1 - first,
        begun.elapsed().as_secs_f64(),
        quantiles(&mut intervals)
    );
    println!("CPU          idle {idle:.1} %, under load {busy:.0} % of one core, all processes of the network");
    println!("agreement    {}", agreement(&network.rpcs)?);
    Ok(())
}

fn wait(time: Duration) {
    let (_open, never) = std::sync::mpsc::channel::<()>();
    let _ = never.recv_timeout(time);
}

fn percent(used: Duration, of: Duration) -> f64 {
    used.as_secs_f64() / of.as_secs_f64() * 100.0
}

fn quantiles(millis: &mut [f64]) -> String {
    millis.sort_by(f64::total_cmp);
    let at = |percent: usize| millis.get((millis.len() * percent / 100).min(millis.len().saturating_sub(1)));
    match (at(50), at(99), millis.last()) {
        (Some(p50), Some(p99), Some(max)) => format!("p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.0} ms"),
        _ => "none".to_owned(),
    }
}

// ----------------------------------------------------------------------------------------------------------- the load

/// Runs the load to its end. Gives the latencies of the watched transactions in milliseconds.
fn load(network: &Network, plan: Plan) -> Result<(Arc<Counts>, Vec<f64>), Failure> {
    let (counts, begin) = (Arc::new(Counts::default()), Instant::now() + TICK);
    let mut watchers = Vec::new();
    let next = Arc::new(AtomicU64::new(0));
    for number in 0..plan.watched * WATCH_SECONDS {
        let rpc = network.rpcs[number as usize % network.rpcs.len()].clone();
        let (counts, next) = (Arc::clone(&counts), Arc::clone(&next));
        watchers.push(std::thread::spawn(move || watch(&rpc, plan, begin, &next, &counts)));
    }
    let mut others = Vec::new();
    for (number, rpc) in network.rpcs.iter().cloned().enumerate() {
        let (counts, share) = (Arc::clone(&counts), network.rpcs.len() as u64);
        others.push(std::thread::spawn(move || send_unwatched(&rpc, plan, begin, number as u64, share, &counts)));
    }
    let mut latencies = Vec::new();
    for watcher in watchers {
        latencies.extend(watcher.join().map_err(|_| "a watcher panicked")??);
    }
    for other in others {
        other.join().map_err(|_| "a sender panicked")??;
    }
    Ok((counts, latencies))
}

fn tx(kind: char, number: u64) -> String {
    let mut tx = format!("{kind}{}-{number}=", std::process::id()).into_bytes();
    tx.resize(TX_BYTES, b'x');
    base64(&tx)
}

fn wait_until(due: Instant) {
    wait(due.saturating_duration_since(Instant::now()));
}

/// Takes the next watched transaction again and again, and waits for its block.
fn watch(rpc: &str, plan: Plan, begin: Instant, next: &AtomicU64, counts: &Counts) -> Result<Vec<f64>, Failure> {
    let (mut client, mut latencies) = (Client::connect(rpc)?, Vec::new());
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= plan.watched * plan.seconds {
            return Ok(latencies);
        }
        let due = begin + Duration::from_secs(1) * u32::try_from(number)? / u32::try_from(plan.watched)?;
        wait_until(due);
        let answer = client.post(&request("broadcast_tx_commit", &tx('w', number), number))?;
        if count(&answer, b"\"error\"") == 0 {
            latencies.push(due.elapsed().as_secs_f64() * 1e3);
            counts.accepted.fetch_add(1, Ordering::Relaxed);
        } else {
            counts.refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Sends what is due of one node's share of the unwatched transactions.
fn send_unwatched(
    rpc: &str,
    plan: Plan,
    begin: Instant,
    node: u64,
    share: u64,
    counts: &Counts,
) -> Result<(), Failure> {
    let (rate, mut client) = (plan.rate - plan.watched, Client::connect(rpc)?);
    let (mut number, end) = (node, rate * plan.seconds);
    while number < end {
        wait(TICK);
        let due = (begin.elapsed().as_secs_f64() * rate as f64) as u64;
        let requests: Vec<String> = (number..end.min(due))
            .step_by(share as usize)
            .map(|number| request("broadcast_tx_sync", &tx('u', number), number))
            .collect();
        if requests.is_empty() {
            continue;
        }
        let sent = requests.len() as u64;
        number += sent * share;
        let refused = count(&client.post(&format!("[{}]", requests.join(",")))?, b"\"error\"") as u64;
        counts.refused.fetch_add(refused, Ordering::Relaxed);
        counts.accepted.fetch_add(sent - refused, Ordering::Relaxed);
    }
    Ok(())
}

// ---------------------------------------------------------------------------------------------------------- the chain

fn ask(client: &mut Client, method: &str, params: &str) -> Result<Value, Failure> {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    let mut answer: Value = serde_json::from_slice(&client.post(&body)?)?;
    match answer.get("error") {
        Some(error) => Err(format!("{method} {params}: {error}").into()),
        None => Ok(answer["result"].take()),
    }
}

/// Milliseconds between the header times of these blocks.
fn intervals(rpc: &str, first: u64, last: u64) -> Result<Vec<f64>, Failure> {
    let (mut client, mut times) = (Client::connect(rpc)?, Vec::new());
    for low in (first..=last).step_by(20) {
        let range = format!(r#"{{"minHeight":"{low}","maxHeight":"{}"}}"#, last.min(low + 19));
        let mut answer = ask(&mut client, "blockchain", &range)?;
        let metas = answer["block_metas"].as_array_mut().ok_or("no block_metas")?;
        for meta in metas.iter().rev() {
            let text = meta["header"]["time"].as_str().ok_or("no time")?;
            times.push(OffsetDateTime::parse(text, &Rfc3339)?);
        }
    }
    // A header carries the time of the votes for the block before: the first interval is about what came before.
    Ok(times.windows(2).skip(1).map(|pair| (pair[1] - pair[0]).as_seconds_f64() * 1e3).collect())
}

/// Whether all nodes have the same header at the lowest tip among them; it carries the application's hash.
fn agreement(rpcs: &[String]) -> Result<String, Failure> {
    let heights: Vec<u64> = rpcs.iter().map(|rpc| height(rpc)).collect::<Result<_, _>>()?;
    let tip = heights.iter().copied().min().ok_or("no nodes")?;
    let mut headers = Vec::new();
    for rpc in rpcs {
        let answer = ask(&mut Client::connect(rpc)?, "commit", &format!(r#"{{"height":"{tip}"}}"#))?;
        headers.push(answer["signed_header"]["header"].clone());
    }
    if headers.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(format!("the nodes DIFFER at height {tip}: {headers:?}").into());
    }
    Ok(format!("header {tip} is the same on all nodes, application hash {}", headers[0]["app_hash"]))
}

// ------------------------------------------------------------------------------------------------------ the processes

/// What is measured: a network made here, or what the environment names.
struct Network {
    rpcs: Vec<String>,
    pids: Vec<u32>,
    children: Vec<Child>,
    dir: Option<PathBuf>,
}

impl Network {
    fn find() -> Result<Network, Failure> {
        let Ok(rpcs) = std::env::var("QUORATE_BENCH_RPC") else { return Network::start() };
        let pids = std::env::var("QUORATE_BENCH_PIDS").unwrap_or_default();
        let pids = pids.split(',').filter_map(|pid| pid.trim().parse().ok()).collect();
        Ok(Network { rpcs: rpcs.split(',').map(str::to_owned).collect(), pids, children: Vec::new(), dir: None })
    }

    /// Four validators as `quorate testnet --single-host` makes them.
    fn start() -> Result<Network, Failure> {
        let quorate = Path::new(env!("CARGO_BIN_EXE_quorate"));
        run(Command::new(env!("CARGO")).args(["build", "--release", "-q", "--no-default-features", "-p", "kvstore"]))?;
        let kvstore = quorate.with_file_name("kvstore");
        let dir = std::env::temp_dir().join(format!("quorate-bench-{}", std::process::id()));
        let mut testnet = Command::new(quorate);
        let testnet = testnet.args(["testnet", "--single-host", "--json", "--v", &NODES.to_string(), "--o"]).arg(&dir);
        let made: Value = serde_json::from_slice(&run(testnet)?)?;
        let mut network = Network { rpcs: Vec::new(), pids: Vec::new(), children: Vec::new(), dir: Some(dir) };
        for node in made["nodes"].as_array().ok_or("no nodes")? {
            let text = |name: &str| node[name].as_str().ok_or("an odd answer of testnet");
            network.rpcs.push(text("rpc")?.trim_start_matches("tcp://").to_owned());
            let mut app = Command::new(&kvstore);
            app.arg("--home").arg(format!("{}-app", text("home")?)).arg("--address").arg(text("application")?);
            network.spawn(&mut app)?;
            let mut start = Command::new(quorate);
            network.spawn(start.args(["start", "--home", text("home")?]))?;
        }
        for node in network.children.iter_mut().skip(1).step_by(2) {
            let mut lines = BufReader::new(node.stdout.take().ok_or("no output")?).lines();
            while !lines.next().ok_or("a node ended before it was ready")??.contains("ready") {}
            std::thread::spawn(move || lines.for_each(drop));
        }
        commit(&network.rpcs[0], "begin=1")?;
        Ok(network)
    }

    fn spawn(&mut self, command: &mut Command) -> Result<(), Failure> {
        let child = command.stdout(Stdio::piped()).spawn()?;
        self.pids.push(child.id());
        self.children.push(child);
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(dir) = &self.dir {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

fn run(command: &mut Command) -> Result<Vec<u8>, Failure> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(output.stdout)
}
