//! What is counted about everything but consensus, and the moments at which it is.

use super::register::Register;
use prometheus::{Error, Histogram, HistogramVec, IntCounter, IntGauge, exponential_buckets, linear_buckets};
use std::time::Duration;

/// A count as a gauge takes it; beyond 2^63 it stays there.
pub(super) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

// ---------------------------------------------------------------------------------------------------------- mempool

/// Waiting transactions.
#[derive(Debug, Clone)]
pub struct MempoolMetrics {
    size: IntGauge,
    size_bytes: IntGauge,
    tx_size_bytes: Histogram,
    failed_txs: IntCounter,
    rejected_txs: IntCounter,
    evicted_txs: IntCounter,
    recheck_times: IntCounter,
    already_received_txs: IntCounter,
    active_outbound_connections: IntGauge,
}

impl MempoolMetrics {
    pub(super) fn new(of: &Register<'_>) -> Result<MempoolMetrics, Error> {
        Ok(MempoolMetrics {
            size: of.gauge("size", "Transactions waiting")?,
            size_bytes: of.gauge("size_bytes", "Their bytes together")?,
            tx_size_bytes: of.histogram("tx_size_bytes", "Size of a transaction", exponential_buckets(1.0, 3.0, 7)?)?,
            failed_txs: of.counter("failed_txs", "Transactions the application refused")?,
            rejected_txs: of.counter("rejected_txs", "Transactions there was no room for")?,
            evicted_txs: of.counter("evicted_txs", "Transactions thrown out again")?,
            recheck_times: of.counter("recheck_times", "Transactions checked again")?,
            already_received_txs: of.counter("already_received_txs", "Transactions received again")?,
            active_outbound_connections: of.gauge("active_outbound_connections", "Peers transactions are sent to")?,
        })
    }

    /// So much waits now.
    pub fn waiting(&self, txs: u64, bytes: u64) {
        self.size.set(signed(txs));
        self.size_bytes.set(signed(bytes));
    }

    /// A transaction of so many bytes was admitted.
    pub fn admitted(&self, bytes: u64) {
        self.tx_size_bytes.observe(bytes as f64);
    }

    /// The application refused a transaction.
    pub fn failed(&self) {
        self.failed_txs.inc();
    }

    /// There was no room for a transaction.
    pub fn rejected(&self) {
        self.rejected_txs.inc();
    }

    /// Transactions were thrown out.
    pub fn evicted(&self, txs: u64) {
        self.evicted_txs.inc_by(txs);
    }

    /// Transactions were checked again.
    pub fn rechecked(&self, txs: u64) {
        self.recheck_times.inc_by(txs);
    }

    /// A transaction came again.
    pub fn duplicated(&self) {
        self.already_received_txs.inc();
    }

    /// Transactions are sent to so many peers.
    pub fn sending_to(&self, peers: u64) {
        self.active_outbound_connections.set(signed(peers));
    }
}

// ------------------------------------------------------------------------------------- application, state, the rest

/// Calls to the application.
#[derive(Debug, Clone)]
pub struct AppCall {
    method_timing_seconds: HistogramVec,
}

impl AppCall {
    pub(super) fn new(of: &Register<'_>) -> Result<AppCall, Error> {
        let buckets = vec![0.0001, 0.0004, 0.002, 0.009, 0.02, 0.1, 0.65, 2.0, 6.0, 25.0];
        let help = "Time the application took for a call";
        Ok(AppCall {
            method_timing_seconds: of.histogram_by("method_timing_seconds", help, buckets, &["method", "type"])?,
        })
    }

    /// A call that consensus waited for; `method` as `finalize_block`.
    pub fn answered(&self, method: &str, took: Duration) {
        self.method_timing_seconds.with_label_values(&[method, "sync"]).observe(took.as_secs_f64());
    }

    /// A pipelined call; `method` as `check_tx`.
    pub fn answered_pipelined(&self, method: &str, took: Duration) {
        self.method_timing_seconds.with_label_values(&[method, "async"]).observe(took.as_secs_f64());
    }
}

/// Executing blocks.
#[derive(Debug, Clone)]
pub struct StateMetrics {
    block_processing_time: Histogram,
    consensus_param_updates: IntCounter,
    validator_set_updates: IntCounter,
}

impl StateMetrics {
    pub(super) fn new(of: &Register<'_>) -> Result<StateMetrics, Error> {
        let help = "Milliseconds the application took for a block";
        Ok(StateMetrics {
            block_processing_time: of.histogram("block_processing_time", help, linear_buckets(1.0, 10.0, 10)?)?,
            consensus_param_updates: of.counter("consensus_param_updates", "Changes of the consensus parameters")?,
            validator_set_updates: of.counter("validator_set_updates", "Changes of the validator set")?,
        })
    }

    /// The application executed a block.
    pub fn block_executed(&self, took: Duration) {
        self.block_processing_time.observe(took.as_secs_f64() * 1000.0);
    }

    /// The application changed the consensus parameters.
    pub fn params_updated(&self) {
        self.consensus_param_updates.inc();
    }

    /// The application changed the validator set.
    pub fn validators_updated(&self) {
        self.validator_set_updates.inc();
    }
}

/// Catching up.
#[derive(Debug, Clone)]
pub struct BlocksyncMetrics {
    block_sync: IntGauge,
    state_sync: IntGauge,
}

impl BlocksyncMetrics {
    pub(super) fn new(blocks: &Register<'_>, states: &Register<'_>) -> Result<BlocksyncMetrics, Error> {
        Ok(BlocksyncMetrics {
            block_sync: blocks.gauge("syncing", "1 while blocks are fetched")?,
            state_sync: states.gauge("syncing", "1 while a snapshot is fetched")?,
        })
    }

    /// Blocks are being fetched from peers.
    pub fn fetching_blocks(&self) {
        self.block_sync.set(1);
        self.state_sync.set(0);
    }

    /// A snapshot is being fetched from peers.
    pub fn fetching_snapshot(&self) {
        self.state_sync.set(1);
    }

    /// The node takes part in consensus.
    pub fn caught_up(&self) {
        self.block_sync.set(0);
        self.state_sync.set(0);
    }
}
