//! A network of replicas in virtual time: one seed draws its shape, its faults and its liars, and everything follows.
//!
//! Two worlds speak one vocabulary. `bare` runs protocol machines alone, with signatures that mean nothing, thousands of
//! seeds a second. `whole` runs whole replicas over a simulated disk, with real bytes and real signatures. Both report
//! what happens as [`Seen`] to the same checkers, which never look into a machine: what was signed, said, heard, made
//! durable, decided and applied is all there is to judge.
//!
//! Reading order: this file → `dice` → `plan` → `watch` → `trace` → `coverage` → `net` → `disk/` → `check/` → `bare/` → `whole/`.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod check;
mod coverage;
mod dice;
pub mod disk;
mod net;
mod plan;
mod trace;
mod watch;

pub use coverage::Coverage;
pub use dice::Dice;
pub use net::{Net, Packet};
pub use plan::{Conduct, Fault, Level, Lie, Misfortune, NodeNr, NodePlan, Plan, Unsynced, Weather, Wishes};
pub use trace::Trace;
pub use watch::{AppCall, Checker, End, Outcome, Scene, Seen, Violation, Watch, What, Word, tx_bytes, tx_number};
