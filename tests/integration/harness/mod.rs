//! What the stories are told with: processes, an HTTP client, a home with its node and application.

mod chain;
mod http;
mod load;
mod process;
mod world;

pub(crate) use chain::{assert_linked, assert_same_hash, base64, from_base64, number, tx_hash, value_of};
pub(crate) use http::{Client, Failure};
pub(crate) use load::{Load, assert_kept};
pub(crate) use process::Process;
pub(crate) use world::{App, Home, Node, quorate, run, running_rpc};

use std::time::Duration;

/// Longest wait for anything: far above what a loaded machine needs, far below what a person takes for a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
