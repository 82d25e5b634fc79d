//! `quorate simulate --app`: leads somebody's application through the faults a seed draws, over its real socket, and
//! says where its answers first part.
//!
//! What is drawn and how answers are judged is `sim::app`'s, without clock or socket. Here are the hands: processes
//! that are started and killed ([`Host`]), connections, the order of calls of a node.
//!
//! Reading order: this file → `host` → `command` → `instance` → `stage` → `calls` → `handshake` → `height` →
//! `snapshot` → `shrink` → `narrow`.

mod calls;
mod command;
mod handshake;
mod height;
mod host;
mod instance;
mod narrow;
mod shrink;
mod snapshot;
mod stage;
#[cfg(test)]
pub(crate) mod tests;

pub use command::CommandHost;
pub use host::{GivenHost, Host, HostError};
pub use narrow::{Narrowed, narrow};
pub use shrink::{End, Shrunk, shrink};

use crate::crypto::sha256;
use crate::sim::app::{Finding, Plan, TxSource};
use crate::types::GenesisDoc;
use bytes::Bytes;
use narrow::Thinned;
use stage::Stage;
use std::collections::BTreeMap;
use std::time::Duration;

/// What is the same for all seeds.
#[derive(Debug, Clone)]
pub struct Script {
    /// Longest time an answer may take, and a start.
    pub call_timeout: Duration,
    /// Where transactions come from.
    pub txs: TxSource,
    /// The chain's beginning; drawn when none.
    pub genesis: Option<GenesisDoc>,
    /// Precommits carry extensions from the first height on; as genesis says when not.
    pub extensions: Extensions,
}

/// Whether the application is asked for vote extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extensions {
    /// From the first height on.
    FromTheStart,
    /// When genesis or the application says so.
    AsAgreed,
}

/// What one seed showed.
#[derive(Debug, Default)]
pub struct Run {
    /// The first thing that went wrong; it ends the run.
    pub finding: Option<Finding>,
    /// The transactions of the block it was found in; none where it was found in no block.
    pub txs: Vec<Bytes>,
    /// What stops no chain and is worth a look, each once.
    pub remarks: Vec<String>,
    /// What happened how often.
    pub coverage: BTreeMap<&'static str, u64>,
    /// Every call and what became of it, a line each.
    pub lines: Vec<String>,
}

impl Run {
    /// The same for two runs in which the same was asked and answered.
    pub fn hash(&self) -> String {
        let text = self.lines.join("\n");
        hex::encode(&sha256(text.as_bytes()).as_bytes()[..8])
    }
}

/// Leads an application through a plan.
///
/// # Errors
/// When it cannot be started or is not fresh: then nothing was shown.
pub async fn rehearse(host: &mut impl Host, plan: &Plan, script: &Script) -> Result<Run, HostError> {
    Stage::new(host, plan, script, None).run().await
}

/// The same, with fewer transactions in one block.
async fn rehearse_thinned(
    host: &mut impl Host,
    plan: &Plan,
    script: &Script,
    thinned: &Thinned<'_>,
) -> Result<Run, HostError> {
    Stage::new(host, plan, script, Some(thinned)).run().await
}
