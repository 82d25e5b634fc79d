//! What nodes and remote signers say to each other, one module for each p2p channel family (reference §5.5, §9).
//!
//! These are plain messages: whether a number makes sense at this height is for the machine that gets it to say.

pub mod blocksync;
pub mod connection;
pub mod consensus;
mod direct;
pub mod evidence;
pub mod mempool;
mod node_info;
mod peer;
pub mod pex;
pub mod privval;
pub mod statesync;
