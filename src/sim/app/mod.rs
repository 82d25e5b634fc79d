//! An application's rehearsal: what one seed draws for it, the chain it is shown, and what is compared.
//!
//! Nothing here talks to an application; `rehearsal` does, over real sockets. Here is what must not depend on any
//! socket: the [`Plan`] (which blocks, which faults), the [`Chain`] (real headers, hashes, validator sets, by the
//! node's own rules) and the judgement ([`compare`], [`Finding`]).
//!
//! Reading order: `plan` → `txs` → `chain` → `compare` → `finding`.

mod chain;
pub mod compare;
mod finding;
mod plan;
#[cfg(test)]
mod tests;
mod txs;

pub use chain::{Chain, Decided, Given, VoterPart, genesis};
pub use finding::{Finding, Kind, Place, causes, numbered, shown};
pub use plan::{Fault, Hosting, InstanceNr, Misfortune, Moment, Plan, Wishes};
pub use txs::{TxSource, TxsError, parse_txs};
