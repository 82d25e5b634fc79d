//! Running a node from the command line: runtime, signals, the run file that `status` looks for.

use super::algorithm::tolerance;
use super::card::Card;
use super::output::Output;
use super::start::StartPlan;
use super::{CliError, Exit};
use crate::config::{Home, RunFile};
use crate::node::{self, NodeError, Telling};
use crate::privval::FileSigner;
use crate::types::Time;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long reads that nobody waits for any more may hold up the end of the process.
pub(super) const READS_END_WITHIN: Duration = Duration::from_secs(1);

/// Runs until SIGINT or SIGTERM, or until going on could do harm.
pub(super) fn run(plan: StartPlan, out: &Output) -> Result<(), CliError> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(run_here(plan, None, out));
    // A client's read of the store that still runs harms nobody and is not waited for.
    runtime.shutdown_timeout(READS_END_WITHIN);
    outcome
}

/// Threads for everything a node does at once.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|why| CliError::failed(format!("cannot start threads: {why}"), "raise the limit with ulimit -u"))
}

/// The same on the runtime of the caller; `remark` goes on the identity card.
pub(super) async fn run_here(plan: StartPlan, remark: Option<&str>, out: &Output) -> Result<(), CliError> {
    let home = plan.config.home.clone();
    let outcome = run_node(plan, remark, out).await;
    RunFile::remove(&home);
    outcome.map_err(|error| CliError { exit: Exit::Failed, text: error.to_string() })
}

async fn run_node(plan: StartPlan, remark: Option<&str>, out: &Output) -> Result<(), NodeError> {
    // Held until the node has stopped: no other process uses this home meanwhile.
    let StartPlan { config, warnings, node_key, genesis, signer, validator, lock: _lock } = plan;
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_signal(stop.clone(), Telling::beside(config.log.format)));
    #[cfg(feature = "misbehave")]
    let signer = two_faced(signer)?;
    let options = node::assemble(&config, genesis, node_key, Box::new(signer)).await?;
    let card = Card {
        config: &config,
        node_id: options.facts.node_id,
        validator,
        genesis: &options.genesis,
        algorithm: options.network.as_ref().map_or(options.genesis.algorithm, |network| network.algorithm),
        rpc: options.rpc.iter().flat_map(|(listeners, _)| listeners).map(|door| door.address().to_owned()).collect(),
        p2p: options.facts.listeners.clone(),
        remark,
    };
    card.show(out);
    FileSigner::warn_if_readable(&config.files.priv_validator_key);
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    tracing::info!(
        "{} of chain {}: failures survived: {}",
        card.algorithm,
        card.genesis.chain_id,
        tolerance(card.genesis)
    );
    let metrics = config.metrics.as_ref().map(|metrics| metrics.listen.clone());
    write_run_file(&config.home, options.facts.rpc_address.clone(), metrics);
    let running = node::start(options, stop)?;
    running.ended().await
}

/// This build is for showing that a validator that signs twice is caught.
#[cfg(feature = "misbehave")]
fn two_faced(signer: crate::privval::FileSigner) -> Result<crate::privval::TwoFaced, NodeError> {
    use crate::privval::{HEIGHTS_VARIABLE, TwoFaced};
    let heights = std::env::var(HEIGHTS_VARIABLE).unwrap_or_default();
    tracing::warn!(heights, "this build signs twice on purpose, at the heights {HEIGHTS_VARIABLE} names");
    TwoFaced::new(signer, &heights).map_err(|error| node::ExecuteError::Signer(error).into())
}

/// Without the file `status` has to be told where the node is; that is no reason not to run.
fn write_run_file(home: &Home, rpc: String, metrics: Option<String>) {
    let file = RunFile {
        pid: std::process::id(),
        rpc,
        metrics,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: Time::from(std::time::SystemTime::now()).to_string(),
    };
    if let Err(error) = file.write(home) {
        tracing::warn!("{error}");
    }
}

/// The first signal stops in order, the second at once; both are safe, what was promised is on disk.
async fn stop_on_signal(stop: CancellationToken, telling: Telling) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::warn!("cannot listen for signals: stop this node with SIGKILL, which is safe");
        return;
    };
    for turn in 0.. {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if turn > 0 {
            std::process::exit(130);
        }
        // First: whoever read the output may be gone, or may not read on.
        stop.cancel();
        telling.tell("stopping    once more stops at once; both are safe");
    }
}
