//! Every metric, under CometBFT's names and labels, so that its dashboards and alerts work (reference §10).
//!
//! One registry per node: several nodes may live in one process. Names are `<namespace>_<subsystem>_<name>`, every
//! metric has the label `chain_id`. Metrics without further labels exist at 0 from the start, so that an alert can tell
//! "none yet" from "not there".
//!
//! Reading order: `consensus`, `groups`, `p2p` (what is counted) → `server` (who may ask).

mod consensus;
mod groups;
mod p2p;
mod register;
mod server;

pub use consensus::{BlockFacts, ConsensusMetrics, PartUse, Verdict, VotersFacts};
pub use groups::{AppCall, BlocksyncMetrics, MempoolMetrics, StateMetrics};
pub use p2p::{P2pMetrics, PeerMetrics};
pub use server::{bind, serve};

use crate::types::ChainId;
use prometheus::{Registry, TextEncoder};
use register::Register;

/// All metrics of one node. Clones share the numbers.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Heights, rounds, votes, blocks.
    pub consensus: ConsensusMetrics,
    /// Waiting transactions.
    pub mempool: MempoolMetrics,
    /// Calls to the application.
    pub app: AppCall,
    /// Executing blocks.
    pub state: StateMetrics,
    /// Peers and messages.
    pub p2p: P2pMetrics,
    /// Catching up.
    pub blocksync: BlocksyncMetrics,
}

/// A namespace Prometheus does not accept.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be named with instrumentation.namespace = {namespace:?}: {why}")]
pub struct MetricsError {
    namespace: String,
    why: prometheus::Error,
}

impl Metrics {
    /// All metrics at zero.
    pub fn new(namespace: &str, chain_id: &ChainId) -> Result<Metrics, MetricsError> {
        Metrics::build(namespace, chain_id).map_err(|why| MetricsError { namespace: namespace.to_owned(), why })
    }

    fn build(namespace: &str, chain_id: &ChainId) -> Result<Metrics, prometheus::Error> {
        // The registry puts its prefix before names it has checked, and does not look at the result.
        if !is_metric_word(namespace) {
            return Err(prometheus::Error::Msg("use letters, digits and _, beginning with a letter".to_owned()));
        }
        let labels = std::iter::once(("chain_id".to_owned(), chain_id.as_str().to_owned())).collect();
        let registry = Registry::new_custom(Some(namespace.to_owned()), Some(labels))?;
        let of = |subsystem| Register { registry: &registry, subsystem };
        Ok(Metrics {
            consensus: ConsensusMetrics::new(&of("consensus"))?,
            mempool: MempoolMetrics::new(&of("mempool"))?,
            app: AppCall::new(&of("abci_connection"))?,
            state: StateMetrics::new(&of("state"))?,
            p2p: P2pMetrics::new(&of("p2p"))?,
            blocksync: BlocksyncMetrics::new(&of("blocksync"), &of("statesync"))?,
            registry,
        })
    }

    /// The numbers in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Fails only for a family without metrics or names; the registry gives neither.
        match TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            Ok(()) => text,
            Err(why) => format!("# {why}\n"),
        }
    }
}

fn is_metric_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests;
