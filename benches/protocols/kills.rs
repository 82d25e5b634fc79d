//! A load while whoever proposes is killed again and again: nothing acknowledged may be lost, all nodes must agree, and
//! the next block must come soon.

use crate::chain::{Proof, ask, prove};
use crate::cluster::Cluster;
use crate::load::{Load, Plan, Report, Up};
use crate::numbers::Millis;
use crate::observe::Observer;
use crate::progress::phase;
use crate::rpc::{Client, Failure};
use crate::{algorithm, nodes_of, wait};
use quorate::types::Algorithm;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// tendermint, pbft or raft
    #[arg(long, value_parser = algorithm)]
    algorithm: Algorithm,
    /// Validators [default: 3 for raft, else 4]
    #[arg(long)]
    nodes: Option<usize>,
    /// How long the load lasts; 0.5 is half a minute
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Transactions a second
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// Transactions in one request
    #[arg(long, default_value_t = 25)]
    batch: u64,
    /// Seconds from one kill to the next
    #[arg(long, default_value_t = 20)]
    every: u64,
    /// Seconds a killed node stays away
    #[arg(long, default_value_t = 5)]
    down: u64,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// One kill: when, and when its node was started again and took part.
struct Kill {
    at: Instant,
    restarted: Instant,
    ready: Instant,
}

/// Everything that was seen.
struct Story {
    report: Report,
    proof: Proof,
    kills: Vec<Kill>,
    failovers: Millis,
    intervals: Millis,
    seconds: f64,
    cpu: Duration,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let nodes = args.nodes.unwrap_or(nodes_of(args.algorithm));
    let mut cluster = Cluster::start(args.algorithm, nodes)?;
    let observer = Observer::start(&cluster.rpcs())?;
    let plan = Plan { rate: args.rate, batch: args.batch, seconds: (args.minutes * 60.0) as u64 };
    let (cpu_before, begun) = (cluster.cpu()?, Instant::now());
    eprintln!("load of {} tx/s for {} s; a line for each kill", plan.rate, plan.seconds);
    let load = Load::start(plan, cluster.rpcs());
    let kills = kill_again_and_again(args, &mut cluster, &observer, &load, begun + Duration::from_secs(plan.seconds))?;
    let report = load.end()?;
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cluster.cpu()? - cpu_before);
    let proof = phase("reading all blocks of all nodes", || prove(&cluster.rpcs(), &report.acknowledged))?;
    let moments = observer.moments();
    let intervals = moments.windows(2).map(|pair| millis(pair[0], pair[1])).collect();
    let failovers = kills.iter().filter_map(|kill| failover(&moments, kill)).collect();
    let (failovers, intervals) = (Millis::new(failovers), Millis::new(intervals));
    let story = Story { report, proof, kills, failovers, intervals, seconds, cpu };
    if args.json {
        println!("{:#}", machine_form(args, nodes, &story));
    } else {
        print!("{}", screen(args, nodes, &story));
    }
    Ok(if story.proof.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn millis(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1e3
}

/// A kill every so often until `end`, each node back before the next one goes.
fn kill_again_and_again(
    args: &Args,
    cluster: &mut Cluster,
    observer: &Observer,
    load: &Load,
    end: Instant,
) -> Result<Vec<Kill>, Failure> {
    let (every, down, mut kills) = (Duration::from_secs(args.every), Duration::from_secs(args.down), Vec::new());
    let mut due = Instant::now() + every / 2;
    while due + down < end {
        wait(due.saturating_duration_since(Instant::now()));
        let victim = proposer(cluster, observer)?;
        load.node_is(victim, Up::No);
        let at = Instant::now();
        cluster.kill(victim)?;
        wait(down);
        cluster.launch(victim)?;
        let restarted = Instant::now();
        cluster.await_ready(victim)?;
        load.node_is(victim, Up::Yes);
        let kill = Kill { at, restarted, ready: Instant::now() };
        eprintln!(
            "kill {}: node {victim}, back {:.1} s after its start",
            kills.len() + 1,
            millis(restarted, kill.ready) / 1e3
        );
        kills.push(kill);
        due += every;
    }
    wait(end.saturating_duration_since(Instant::now()));
    Ok(kills)
}

/// Who proposes now. A leader or primary proposed the newest block; under Tendermint it is another's turn each time, and
/// a node knows whose.
fn proposer(cluster: &Cluster, observer: &Observer) -> Result<usize, Failure> {
    let address = match cluster.algorithm {
        Algorithm::Raft | Algorithm::Pbft => observer.last_proposer().ok_or("there is no block yet")?,
        Algorithm::Tendermint => {
            let answer = ask(&mut Client::connect(&cluster.members[0].rpc)?, "consensus_state", "{}")?;
            answer["round_state"]["proposer"]["address"].as_str().ok_or("an odd consensus_state")?.to_owned()
        }
    };
    let place = cluster.members.iter().position(|member| member.validator == address);
    place.ok_or_else(|| format!("{address} proposed, and is no node of this cluster").into())
}

/// The longest time without a new block between the last one before a kill and the restart of the node.
fn failover(moments: &[Instant], kill: &Kill) -> Option<f64> {
    let last_before = moments.partition_point(|moment| *moment <= kill.at).checked_sub(1)?;
    let pairs = moments[last_before..].windows(2).take_while(|pair| pair[0] < kill.restarted);
    pairs.map(|pair| millis(pair[0], pair[1])).max_by(f64::total_cmp)
}

fn rejoins(story: &Story) -> Millis {
    Millis::new(story.kills.iter().map(|kill| millis(kill.restarted, kill.ready)).collect())
}

fn latencies(story: &Story) -> Millis {
    Millis::new(story.report.latencies.clone())
}

fn cpu_micros(story: &Story) -> f64 {
    story.cpu.as_secs_f64() * 1e6 / story.proof.txs.max(1) as f64
}

fn machine_form(args: &Args, nodes: usize, story: &Story) -> Value {
    let (report, proof) = (&story.report, &story.proof);
    json!({
        "algorithm": args.algorithm.name(),
        "nodes": nodes,
        "rate": args.rate,
        "seconds": story.seconds,
        "kills": story.kills.len(),
        "sent": report.sent,
        "acknowledged": report.acknowledged.len(),
        "unanswered": report.unanswered,
        "errors": report.errors,
        "holds": proof.holds(),
        "lost": proof.lost,
        "twice": proof.twice,
        "differing_heights": proof.differing,
        "applications": proof.applications,
        "blocks": proof.tip,
        "committed": proof.txs,
        "committed_per_second": proof.txs as f64 / story.seconds,
        "failover_ms": story.failovers.json(),
        "rejoin_ms": rejoins(story).json(),
        "block_interval_ms": story.intervals.json(),
        "latency_ms": latencies(story).json(),
        "cpu_us_per_tx": cpu_micros(story),
    })
}

fn screen(args: &Args, nodes: usize, story: &Story) -> String {
    let (report, proof) = (&story.report, &story.proof);
    let mut lines = vec![
        format!("cluster      {} with {nodes} nodes, {} tx/s for {:.0} s", args.algorithm, args.rate, story.seconds),
        format!("kills        {} of whoever proposed, {} s apart, {} s away", story.kills.len(), args.every, args.down),
        format!(
            "sent         {}, acknowledged {}, connection lost {}, errors {:?}",
            report.sent,
            report.acknowledged.len(),
            report.unanswered,
            report.errors
        ),
        format!(
            "committed    {} in {} blocks, {:.0} a second, {} of them twice",
            proof.txs,
            proof.tip,
            proof.txs as f64 / story.seconds,
            proof.twice
        ),
        format!("fail-over    {}: {:.0?}", story.failovers, story.failovers.all()),
        format!("rejoining    {}", rejoins(story)),
        format!("blocks       {}", story.intervals),
        format!("latency      {}", latencies(story)),
        format!("CPU          {:.0} us a transaction, all processes", cpu_micros(story)),
    ];
    lines.push(match proof.holds() {
        true => format!(
            "proof        no acknowledged transaction lost, {} blocks equal on all nodes, applications at {:?}",
            proof.tip, proof.applications[0]
        ),
        false => format!(
            "proof        BROKEN: lost {:?}; heights that differ {:?}; applications {:?}",
            proof.lost, proof.differing, proof.applications
        ),
    });
    lines.join("\n") + "\n"
}
