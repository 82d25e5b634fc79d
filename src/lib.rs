//! Quorate: one node that replicates any application by Raft, PBFT or Tendermint.
//!
//! The modules stand in reading order; each may name only those above it, by the table in `tests/tidy.rs`.
//! `docs/ARCHITECTURE.md` tells the story.

// Whoever read the output may have gone, and these panic then.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

#[macro_use]
pub mod crash_points;
#[macro_use]
pub mod mutants;

pub mod crypto;
pub mod types;

pub mod codec;
pub mod consensus;

pub mod evidence;
pub mod gossip;
pub mod light;
pub mod mempool;
pub mod pipeline;
pub mod replica;
pub mod sync;

pub mod executor;
pub mod p2p;
pub mod ports;

mod polls;

pub mod abci;
pub mod disk;
pub mod privval;
pub mod storage;
pub mod wal;

pub mod config;
pub mod events;
pub mod forming;
mod http;
pub mod metrics;
pub mod rpc;

pub mod sim;

pub mod rehearsal;

pub mod cli;
pub mod node;

/// The README's code is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
