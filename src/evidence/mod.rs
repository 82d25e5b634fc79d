//! Evidence of misbehaviour: is it true, is it still punishable, and what shall the next block prove? (reference §4.12)
//!
//! Pure: what this node's own chain says about the height of an offence is told as [`Facts`].
//!
//! Reading order: `verify` → `pool` → `gossip` → `report`.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod gossip;
mod pool;
pub mod report;
mod verify;

pub use pool::{Pool, Receipt};
pub use verify::{Facts, InvalidEvidence, is_expired, is_too_old, prove, trusted_height, verify};
