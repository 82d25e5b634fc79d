//! What is counted, by subsystem, and the moments at which it is.

use super::register::Register;
use crate::types::{Address, Height, NodeId, Power, Round, VoteKind};
use prometheus::{
    DEFAULT_BUCKETS, Error, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    exponential_buckets, linear_buckets,
};
use std::time::Duration;

/// A count as a gauge takes it; beyond 2^63 it stays there.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Durations of rounds and steps: 8 buckets from 0.1 s to 100 s, each the same factor above the last.
fn round_buckets() -> Result<Vec<f64>, Error> {
    exponential_buckets(0.1, 1000_f64.powf(1.0 / 7.0), 8)
}

// -------------------------------------------------------------------------------------------------------- consensus

/// Heights, rounds, votes and blocks.
#[derive(Debug, Clone)]
pub struct ConsensusMetrics {
    height: IntGauge,
    rounds: IntGauge,
    validators: IntGauge,
    validators_power: IntGauge,
    validator_power: IntGaugeVec,
    validator_last_signed_height: IntGaugeVec,
    validator_missed_blocks: IntGaugeVec,
    missing_validators: IntGauge,
    missing_validators_power: IntGauge,
    byzantine_validators: IntGauge,
    byzantine_validators_power: IntGauge,
    block_interval_seconds: Histogram,
    num_txs: IntGauge,
    block_size_bytes: IntGauge,
    chain_size_bytes: IntCounter,
    total_txs: IntGauge,
    latest_block_height: IntGauge,
    block_parts: IntCounterVec,
    duplicate_block_part: IntCounter,
    duplicate_vote: IntCounter,
    block_gossip_parts_received: IntCounterVec,
    step_duration_seconds: HistogramVec,
    round_duration_seconds: Histogram,
    quorum_prevote_delay: GaugeVec,
    full_prevote_delay: GaugeVec,
    vote_extension_receive_count: IntCounterVec,
    proposal_receive_count: IntCounterVec,
    proposal_create_count: IntCounter,
    round_voting_power_percent: GaugeVec,
    late_votes: IntCounterVec,
}

/// Some validators and their power together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VotersFacts {
    /// How many.
    pub count: u64,
    /// Their power.
    pub power: Power,
}

/// What is worth counting about a decided block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockFacts {
    /// Its height.
    pub height: Height,
    /// Its transactions.
    pub txs: u64,
    /// Its encoded size.
    pub bytes: u64,
    /// Time between its header and the one before; none for the first block.
    pub interval: Option<Duration>,
    /// Who decides the next height.
    pub validators: VotersFacts,
    /// Whose precommit its last commit lacks.
    pub missing: VotersFacts,
    /// Whom its evidence convicts.
    pub byzantine: VotersFacts,
}

/// What the application or the rules say about something received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Good.
    Accepted,
    /// Not good.
    Rejected,
}

impl Verdict {
    fn label(self) -> &'static str {
        match self {
            Verdict::Accepted => "accepted",
            Verdict::Rejected => "rejected",
        }
    }
}

/// Whether a received block part belongs to the block being gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartUse {
    /// It does.
    Current,
    /// It is of another block.
    Other,
}

impl ConsensusMetrics {
    pub(super) fn new(of: &Register<'_>) -> Result<ConsensusMetrics, Error> {
        let (validator, proposer) = ("validator_address", "proposer_address");
        Ok(ConsensusMetrics {
            height: of.gauge("height", "Height being decided")?,
            rounds: of.gauge("rounds", "Round of the current height")?,
            validators: of.gauge("validators", "Number of validators")?,
            validators_power: of.gauge("validators_power", "Power of all validators")?,
            validator_power: of.gauge_by("validator_power", "Power of this validator", validator)?,
            validator_last_signed_height: of.gauge_by(
                "validator_last_signed_height",
                "Last height this validator signed",
                validator,
            )?,
            validator_missed_blocks: of.gauge_by(
                "validator_missed_blocks",
                "Blocks this validator did not sign",
                validator,
            )?,
            missing_validators: of.gauge("missing_validators", "Validators whose precommit the last block lacks")?,
            missing_validators_power: of.gauge("missing_validators_power", "Their power")?,
            byzantine_validators: of.gauge("byzantine_validators", "Validators convicted by the last block")?,
            byzantine_validators_power: of.gauge("byzantine_validators_power", "Their power")?,
            block_interval_seconds: of.histogram(
                "block_interval_seconds",
                "Time between the last two blocks",
                DEFAULT_BUCKETS.to_vec(),
            )?,
            num_txs: of.gauge("num_txs", "Transactions of the last block")?,
            block_size_bytes: of.gauge("block_size_bytes", "Size of the last block")?,
            chain_size_bytes: of.counter("chain_size_bytes", "Size of all blocks together")?,
            total_txs: of.gauge("total_txs", "Transactions of all blocks together")?,
            latest_block_height: of.gauge("latest_block_height", "Height of the last block")?,
            block_parts: of.counter_by("block_parts", "Block parts this peer sent", "peer_id")?,
            duplicate_block_part: of.counter("duplicate_block_part", "Block parts received again")?,
            duplicate_vote: of.counter("duplicate_vote", "Votes received again")?,
            block_gossip_parts_received: of.counter_by(
                "block_gossip_parts_received",
                "Block parts received, by whether they are of the block being gathered",
                "matches_current",
            )?,
            step_duration_seconds: of.histogram_by(
                "step_duration_seconds",
                "Time spent in a step",
                round_buckets()?,
                &["step"],
            )?,
            round_duration_seconds: of.histogram(
                "round_duration_seconds",
                "Time spent in a round",
                round_buckets()?,
            )?,
            quorum_prevote_delay: of.float_gauge_by(
                "quorum_prevote_delay",
                "Seconds from the proposal to two thirds of the prevotes",
                proposer,
            )?,
            full_prevote_delay: of.float_gauge_by(
                "full_prevote_delay",
                "Seconds from the proposal to all prevotes",
                proposer,
            )?,
            vote_extension_receive_count: of.counter_by(
                "vote_extension_receive_count",
                "Vote extensions received",
                "status",
            )?,
            proposal_receive_count: of.counter_by("proposal_receive_count", "Proposals received", "status")?,
            proposal_create_count: of.counter("proposal_create_count", "Proposals made by this node")?,
            round_voting_power_percent: of.float_gauge_by(
                "round_voting_power_percent",
                "Share of the power that voted in this round, from 0 to 1",
                "vote_type",
            )?,
            late_votes: of.counter_by("late_votes", "Votes for an earlier height or round", "vote_type")?,
        })
    }

    /// A height begins.
    pub fn height_begun(&self, height: Height) {
        self.height.set(height.as_i64());
        self.rounds.set(0);
    }

    /// A later round of the height begins.
    pub fn round_begun(&self, round: Round) {
        self.rounds.set(round.as_i32().into());
    }

    /// A round ended.
    pub fn round_ended(&self, took: Duration) {
        self.round_duration_seconds.observe(took.as_secs_f64());
    }

    /// A step ended; its name as CometBFT spells it: `Propose`, `Prevote`, `PrecommitWait` …
    pub fn step_ended(&self, step: &str, took: Duration) {
        self.step_duration_seconds.with_label_values(&[step]).observe(took.as_secs_f64());
    }

    /// A block was decided.
    pub fn block_decided(&self, block: &BlockFacts) {
        self.latest_block_height.set(block.height.as_i64());
        self.num_txs.set(signed(block.txs));
        self.total_txs.add(signed(block.txs));
        self.block_size_bytes.set(signed(block.bytes));
        self.chain_size_bytes.inc_by(block.bytes);
        if let Some(interval) = block.interval {
            self.block_interval_seconds.observe(interval.as_secs_f64());
        }
        self.validators.set(signed(block.validators.count));
        self.validators_power.set(block.validators.power.as_i64());
        self.missing_validators.set(signed(block.missing.count));
        self.missing_validators_power.set(block.missing.power.as_i64());
        self.byzantine_validators.set(signed(block.byzantine.count));
        self.byzantine_validators_power.set(block.byzantine.power.as_i64());
    }

    /// This node's validator is in the set with this power.
    pub fn own_power(&self, own: &Address, power: Power) {
        self.validator_power.with_label_values(&[&own.to_string()]).set(power.as_i64());
    }

    /// The commit of `height` has this node's precommit.
    pub fn own_signed(&self, own: &Address, height: Height) {
        self.validator_last_signed_height.with_label_values(&[&own.to_string()]).set(height.as_i64());
    }

    /// A commit lacks this node's precommit.
    pub fn own_missed(&self, own: &Address) {
        self.validator_missed_blocks.with_label_values(&[&own.to_string()]).inc();
    }

    /// A peer sent a block part.
    pub fn part_received(&self, peer: &NodeId, part: PartUse) {
        let matches = if part == PartUse::Current { "true" } else { "false" };
        self.block_parts.with_label_values(&[&peer.to_string()]).inc();
        self.block_gossip_parts_received.with_label_values(&[matches]).inc();
    }

    /// A block part came again.
    pub fn part_duplicated(&self) {
        self.duplicate_block_part.inc();
    }

    /// A vote came again.
    pub fn vote_duplicated(&self) {
        self.duplicate_vote.inc();
    }

    /// A vote came for an earlier height or round.
    pub fn vote_late(&self, kind: VoteKind) {
        self.late_votes.with_label_values(&[vote_label(kind)]).inc();
    }

    /// This share of the power, from 0 to 1, has voted in the current round.
    pub fn round_power(&self, kind: VoteKind, share: f64) {
        self.round_voting_power_percent.with_label_values(&[vote_label(kind)]).set(share);
    }

    /// Two thirds of the prevotes came so long after the proposal.
    pub fn quorum_prevoted(&self, proposer: &Address, after: Duration) {
        self.quorum_prevote_delay.with_label_values(&[&proposer.to_string()]).set(after.as_secs_f64());
    }

    /// All prevotes came so long after the proposal.
    pub fn all_prevoted(&self, proposer: &Address, after: Duration) {
        self.full_prevote_delay.with_label_values(&[&proposer.to_string()]).set(after.as_secs_f64());
    }

    /// A vote extension was judged.
    pub fn extension_received(&self, verdict: Verdict) {
        self.vote_extension_receive_count.with_label_values(&[verdict.label()]).inc();
    }

    /// A proposal was judged.
    pub fn proposal_received(&self, verdict: Verdict) {
        self.proposal_receive_count.with_label_values(&[verdict.label()]).inc();
    }

    /// This node made a proposal.
    pub fn proposal_made(&self) {
        self.proposal_create_count.inc();
    }
}

fn vote_label(kind: VoteKind) -> &'static str {
    match kind {
        VoteKind::Prevote => "prevote",
        VoteKind::Precommit => "precommit",
    }
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

/// Peers.
#[derive(Debug, Clone)]
pub struct P2pMetrics {
    peers: IntGauge,
}

impl P2pMetrics {
    pub(super) fn new(of: &Register<'_>) -> Result<P2pMetrics, Error> {
        Ok(P2pMetrics { peers: of.gauge("peers", "Connected peers")? })
    }

    /// So many peers are connected.
    pub fn connected(&self, peers: u64) {
        self.peers.set(signed(peers));
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
