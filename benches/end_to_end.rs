//! One validator, the external kvstore, real sockets: transactions a second, CPU a transaction, commit latency.
//!
//! `cargo bench --no-default-features --bench end_to_end` builds both programs, runs each load for a few seconds on a
//! fresh home, and prints one table. Seconds a load: `QUORATE_BENCH_SECONDS` (default 8). Another node or application
//! can be measured by its RPC alone: `QUORATE_BENCH_RPC=127.0.0.1:26657 QUORATE_BENCH_PIDS=123,456`.
//!
//! The load is closed-loop: every connection sends its next request when the last was answered, so it shows the most
//! the node takes, not a latency under a fixed rate. CPU is user and system time of node and application together,
//! from /proc; it repeats within about 15 % where wall-clock figures on two shared cores do not.

#[path = "support/rpc.rs"]
mod rpc;

use rpc::{Client, Failure, base64, commit, count, cpu, height, request};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How transactions are sent.
struct Load {
    name: &'static str,
    connections: usize,
    batch: usize,
    method: &'static str,
}

const LOADS: &[Load] = &[
    Load { name: "one POST per tx, sync", connections: 32, batch: 1, method: "broadcast_tx_sync" },
    Load { name: "batches of 100, sync", connections: 8, batch: 100, method: "broadcast_tx_sync" },
    Load { name: "batches of 100, async", connections: 8, batch: 100, method: "broadcast_tx_async" },
];

/// Bytes of one transaction: key, `=`, padding.
const TX_BYTES: usize = 250;

fn main() -> Result<(), Failure> {
    // `cargo test --benches` only wants to know that this builds and starts.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let seconds = std::env::var("QUORATE_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let duration = Duration::from_secs(seconds);
    println!("{:<26} {:>10} {:>12} {:>12} {:>10}", "load", "tx/s", "CPU us/tx", "blocks/s", "refused");
    for load in LOADS {
        let target = Target::start()?;
        let row = run_load(&target, load, duration)?;
        println!(
            "{:<26} {:>10.0} {:>12.1} {:>12.1} {:>10}",
            load.name, row.rate, row.cpu_micros, row.blocks_per_second, row.refused
        );
    }
    let target = Target::start()?;
    let (p50, p99) = latency(&target.rpc, 300)?;
    println!("commit latency, one at a time: p50 {p50:.2} ms, p99 {p99:.2} ms (300 × broadcast_tx_commit)");
    Ok(())
}

struct Row {
    rate: f64,
    cpu_micros: f64,
    blocks_per_second: f64,
    refused: u64,
}

fn run_load(target: &Target, load: &'static Load, duration: Duration) -> Result<Row, Failure> {
    let begin_height = height(&target.rpc)?;
    let begin_cpu = target.cpu()?;
    let begin = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let (accepted, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let senders: Vec<_> = (0..load.connections)
        .map(|connection| {
            let (rpc, stop) = (target.rpc.clone(), Arc::clone(&stop));
            let (accepted, refused) = (Arc::clone(&accepted), Arc::clone(&refused));
            std::thread::spawn(move || -> Result<(), Failure> {
                let mut client = Client::connect(&rpc)?;
                let mut sequence = 0u64;
                while !stop.load(Ordering::Relaxed) {
                    let body = batch_body(load, connection, &mut sequence);
                    let answer = client.post(&body)?;
                    let bad = count(&answer, b"\"error\"") as u64;
                    accepted.fetch_add(load.batch as u64 - bad, Ordering::Relaxed);
                    refused.fetch_add(bad, Ordering::Relaxed);
                }
                Ok(())
            })
        })
        .collect();
    let (wake, woken) = std::sync::mpsc::channel::<()>();
    let _ = woken.recv_timeout(duration);
    drop(wake);
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().map_err(|_| "a sender panicked")??;
    }
    // A last transaction through broadcast_tx_commit waits until everything before it is in a block.
    commit(&target.rpc, &format!("end-{}=1", begin.elapsed().as_nanos()))?;
    let elapsed = begin.elapsed().as_secs_f64();
    let done = accepted.load(Ordering::Relaxed) as f64;
    Ok(Row {
        rate: done / elapsed,
        cpu_micros: (target.cpu()? - begin_cpu).as_secs_f64() * 1e6 / done,
        blocks_per_second: (height(&target.rpc)? - begin_height) as f64 / elapsed,
        refused: refused.load(Ordering::Relaxed),
    })
}

fn latency(rpc: &str, times: usize) -> Result<(f64, f64), Failure> {
    let mut taken = Vec::with_capacity(times);
    let mut client = Client::connect(rpc)?;
    for n in 0..times {
        let begin = Instant::now();
        let tx = base64(format!("latency{n}=1").as_bytes());
        let answer = client.post(&request("broadcast_tx_commit", &tx, 1))?;
        if count(&answer, b"\"error\"") > 0 {
            return Err(String::from_utf8_lossy(&answer).into_owned().into());
        }
        taken.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    taken.sort_by(f64::total_cmp);
    Ok((taken[times / 2], taken[times * 99 / 100]))
}

// ------------------------------------------------------------------------------------------------- requests

fn batch_body(load: &Load, connection: usize, sequence: &mut u64) -> String {
    let mut one = || {
        *sequence += 1;
        let mut tx = format!("{}-{connection}-{sequence}=", std::process::id()).into_bytes();
        tx.resize(TX_BYTES, b'x');
        request(load.method, &base64(&tx), *sequence)
    };
    if load.batch == 1 {
        return one();
    }
    let requests: Vec<String> = (0..load.batch).map(|_| one()).collect();
    format!("[{}]", requests.join(","))
}

// ------------------------------------------------------------------------------------------------- processes

/// What is measured: our own two processes on a fresh home, or what the environment names.
struct Target {
    rpc: String,
    pids: Vec<u32>,
    children: Vec<Child>,
    home: Option<PathBuf>,
}

impl Target {
    fn start() -> Result<Target, Failure> {
        if let Ok(rpc) = std::env::var("QUORATE_BENCH_RPC") {
            let pids = std::env::var("QUORATE_BENCH_PIDS").unwrap_or_default();
            let pids = pids.split(',').filter_map(|pid| pid.trim().parse().ok()).collect();
            return Ok(Target { rpc, pids, children: Vec::new(), home: None });
        }
        let quorate = Path::new(env!("CARGO_BIN_EXE_quorate"));
        let kvstore = build_kvstore()?;
        let home = std::env::temp_dir().join(format!("quorate-bench-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&home);
        let socket = format!("unix://{}", home.join("app.sock").display());
        run(Command::new(quorate).arg("init").arg("--home").arg(&home))?;
        let rpc = free_address()?;
        let app = Command::new(kvstore)
            .arg("--home")
            .arg(home.join("app"))
            .args(["--address", &socket])
            .stdout(Stdio::null())
            .spawn()?;
        let mut node = Command::new(quorate)
            .env("QUORATE_INSTRUMENTATION_PROMETHEUS", "false")
            .args(["start", "--proxy_app", &socket, "--rpc.laddr", &format!("tcp://{rpc}"), "--home"])
            .arg(&home)
            .stdout(Stdio::piped())
            .spawn()?;
        let pids = vec![app.id(), node.id()];
        let output = node.stdout.take().ok_or("no output")?;
        let target = Target { rpc, pids, children: vec![node, app], home: Some(home) };
        let mut lines = BufReader::new(output).lines();
        while !lines.next().ok_or("the node ended before it was ready")??.contains("ready") {}
        std::thread::spawn(move || lines.for_each(drop));
        commit(&target.rpc, "begin=1")?;
        Ok(target)
    }

    /// User and system time of all processes so far.
    fn cpu(&self) -> Result<Duration, Failure> {
        cpu(&self.pids)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        if let Some(home) = &self.home {
            let _ = std::fs::remove_dir_all(home);
        }
    }
}

fn build_kvstore() -> Result<PathBuf, Failure> {
    run(Command::new(env!("CARGO")).args(["build", "--release", "-q", "-p", "kvstore"]))?;
    let target = Path::new(env!("CARGO_BIN_EXE_quorate")).ancestors().nth(2).ok_or("no target directory")?;
    Ok(target.join("release/kvstore"))
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(())
}

fn free_address() -> Result<String, Failure> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}
