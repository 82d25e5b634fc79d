//! Whole replicas over a simulated disk, network and application, in virtual time (level 2).
//!
//! A node is what ships: the replica, the executor and the reception of [`crate::executor`], the real codecs, journal,
//! guard, key file and store. Not here are tokio, sockets, the secret connection and RPC. Bytes travel over connections
//! that keep their order, stall while a link is cut, and break; a life ends between any two orders, or inside the
//! journal, guard or store between any two operations of the disk. What a life leaves behind is its disk; the application
//! keeps what it committed.
//!
//! Reading order: this file → `habits` → `people`, `clock`, `electorate`, `app`, `signer`, `home` → `events`, `words`, `blocks` → `process` (one life), `orders`, `lie` → `links` →
//! `clients` → `world` → `faults`, `woes`, `operator`, `split`, `wires`, `apps`, `trade` (what happens in it).

mod app;
mod apps;
mod blocks;
mod clients;
mod clock;
mod electorate;
mod events;
mod faults;
mod habits;
mod home;
mod lie;
mod links;
mod operator;
mod orders;
mod people;
mod process;
mod signer;
mod split;
mod trade;
mod wires;
mod woes;
mod words;
mod world;

#[cfg(test)]
mod tests;

use super::{Checker, Outcome, Plan, Scene, Trace};
use crate::types::Algorithm;

/// What happens in some of a thousand seeds that are left to draw everything.
pub fn expected(algorithm: Algorithm) -> Vec<&'static str> {
    let mut all = vec![
        "answer nobody could read",
        "application crash",
        "application died in a handshake",
        "application diverged",
        "application died of a request",
        "application answered late",
        "application hangs",
        "application refused a block",
        "applications of many diverged",
        "blackout",
        "clock jumped ahead",
        "clock jumped back",
        "clock rate",
        "connection lost",
        "cut",
        "died between two orders",
        "died inside a disk operation",
        "disk read failed",
        "disk rename failed",
        "disk sync failed",
        "disk was slow",
        "disk write failed",
        "halted because its application diverged",
        "halted for a result too much",
        "halted for a set without validators",
        "halted for a validator named twice",
        "halted for the removal of a stranger",
        "halted for too much power",
        "heights begun in quiet",
        "journal rotted",
        "lost everything",
        "lost everything but key and sign state",
        "lost everything but the key",
        "measured",
        "node stopped itself",
        "operator advanced a sign state",
        "operator mended a disk",
        "pause",
        "power cut",
        "said that hashes differ, where nobody could decide",
        "process killed",
        "signature refused",
        "sign state rotted",
        "signer failed",
        "signer was slow",
        "store rotted",
        "validators: as much power as there may be",
        "validators: every second one goes",
        "validators: everybody",
        "validators: one is left",
        "validators: the proposer goes",
        "writes lost",
    ];
    all.extend(match algorithm {
        // Under the others a vote hardly falls into the time of a refusal, and hundreds of runs exchange no validators.
        Algorithm::Tendermint => [
            "operator set a damaged journal aside",
            "signer came back to a node it had refused",
            "twin",
            "validators: others in the place of all",
        ]
        .as_slice(),
        Algorithm::Pbft => &["twin", "validator came back with a new key"],
        Algorithm::Raft => &["read answered", "validator came back with a new key"],
    });
    all.extend(super::liars::expected_of_whole(algorithm));
    all
}

/// Runs a plan to its end, or to the first rule that is broken.
pub fn run(plan: Plan, checkers: impl FnOnce(&Scene) -> Vec<Box<dyn Checker>>, trace: Trace) -> Outcome {
    world::World::new(plan, checkers, trace).run()
}
