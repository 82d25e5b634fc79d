//! Level 1: protocol machines alone. Messages are values, signatures mean nothing, disks and applications answer after
//! a while; so a seed takes microseconds, and schedules that nobody would write down are all tried.
//!
//! What ships and is not here: codecs, the journal's files, the store, the mempool, block sync's planner, gossip's
//! planner. `whole/` has those.
//!
//! Reading order: this file → `world` → `node` → `execute` → `faults` → `clients` → `gossip`; `app` says what applications do; `protocol` says how each
//! machine is watched, `chain` what follows from blocks, `signer` what signatures are, `lie` how liars speak and `verify`
//! how they are heard, `bound` how long is too long.

mod app;
mod bound;
mod chain;
mod clients;
mod execute;
mod faults;
mod gossip;
mod lie;
mod node;
mod protocol;
mod signer;
mod verify;
mod world;

#[cfg(test)]
mod tests;

pub(in crate::sim) use bound::decisions;

use super::{Checker, Outcome, Plan, Scene, Trace};
use crate::consensus::pbft::Pbft;
use crate::consensus::raft::Raft;
use crate::consensus::tendermint::Tendermint;
use crate::types::Algorithm;

/// What happens in some of ten thousand seeds that are left to draw everything.
pub fn expected(algorithm: Algorithm) -> Vec<&'static str> {
    let mut all = vec![
        "application away",
        "application refused a block",
        "blackout",
        "block replayed at a start",
        "blocks fetched",
        "clock jumped",
        "clock of another speed",
        "crash",
        "crash while recovering",
        "crash with records that stay",
        "crash with records to lose",
        "crash while fetching",
        "cut",
        "heights begun in quiet",
        "measured",
        "packet doubled",
        "packet lost",
        "packet replayed",
        "pause",
        "power changed",
        "round 3 or later",
    ];
    all.extend(match algorithm {
        Algorithm::Tendermint => ["extension checked", "lock in a later round", "relock", "timeout", "twin"].as_slice(),
        Algorithm::Pbft => ["extension checked", "timeout", "twin"].as_slice(),
        Algorithm::Raft => ["read answered", "read refused"].as_slice(),
    });
    all.extend(super::liars::expected(algorithm));
    all
}

/// Runs a plan under these checkers.
pub fn run(plan: Plan, checkers: impl FnOnce(&Scene) -> Vec<Box<dyn Checker>>, trace: Trace) -> Outcome {
    match plan.algorithm {
        Algorithm::Tendermint => world::run::<Tendermint>(plan, checkers, trace),
        Algorithm::Pbft => world::run::<Pbft>(plan, checkers, trace),
        Algorithm::Raft => world::run::<Raft>(plan, checkers, trace),
    }
}
