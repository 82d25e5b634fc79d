//! A network of replicas in virtual time: one seed draws its shape, its faults and its liars, and everything follows.
//!
//! Two worlds speak one vocabulary. `bare` runs protocol machines alone, with signatures that mean nothing, thousands of
//! seeds a second. `whole` runs whole replicas over a simulated disk, with real bytes and real signatures. Both report
//! what happens as [`Seen`] to the same checkers, which never look into a machine: what was signed, said, heard, made
//! durable, decided and applied is all there is to judge.
//!
//! Reading order: this file → `dice` → `plan` → `woe` → `tell` → `watch` → `trace` → `coverage` → `queue` → `net` → `disk/` →
//! `check/` → `bare/` → `whole/` → `patience` → `campaign` → `shrink` → `panics`.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod app;
pub mod bare;
pub mod campaign;
pub mod check;
mod coverage;
mod dice;
pub mod disk;
pub mod liars;
mod net;
pub mod panics;
mod patience;
mod plan;
mod queue;
pub mod shrink;
mod stories;
mod tell;
#[cfg(test)]
mod tests;
mod trace;
mod watch;
pub mod whole;
mod woe;

pub use coverage::Coverage;
pub use dice::Dice;
pub use net::{Net, Order, Packet};
pub use plan::{Conduct, Fault, Level, Lie, Misfortune, NodeNr, NodePlan, Plan, Unsynced, Weather, Wishes};
pub use queue::Queue;
pub use trace::Trace;
pub use watch::{AppCall, Checker, End, Harm, Outcome, Scene, Seen, Violation, Watch, What, Word, tx_bytes, tx_number};
pub use woe::{DeathOfApp, Keeps, LastRequest, RotPlace, SignerMood, SlowPart, Upheaval, Whose, Woe, WrongAnswer};

/// Runs a plan under all checkers.
pub fn run(plan: Plan, trace: Trace) -> Outcome {
    match plan.level {
        Level::Bare => bare::run(plan, check::all, trace),
        Level::Whole => whole::run(plan, check::all, trace),
    }
}
