//! What is counted about heights, rounds, votes and blocks, and the moments at which it is.

use super::groups::signed;
use super::register::Register;
use crate::types::{Address, Height, NodeId, Power, Round, VoteKind};
use prometheus::{
    DEFAULT_BUCKETS, Error, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    exponential_buckets,
};
use std::time::Duration;

/// Durations of rounds and steps: 8 buckets from 0.1 s to 100 s, each the same factor above the last.
fn round_buckets() -> Result<Vec<f64>, Error> {
    exponential_buckets(0.1, 1000_f64.powf(1.0 / 7.0), 8)
}

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
    step_duration_seconds: HistogramVec,
    round_duration_seconds: Histogram,
    traffic: Traffic,
}

/// What comes in from peers, and how fast.
#[derive(Debug, Clone)]
struct Traffic {
    block_parts: IntCounterVec,
    duplicate_block_part: IntCounter,
    duplicate_vote: IntCounter,
    block_gossip_parts_received: IntCounterVec,
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
        let validator = "validator_address";
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
            traffic: Traffic::new(of)?,
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
        self.traffic.block_parts.with_label_values(&[&peer.to_string()]).inc();
        self.traffic.block_gossip_parts_received.with_label_values(&[matches]).inc();
    }

    /// A block part came again.
    pub fn part_duplicated(&self) {
        self.traffic.duplicate_block_part.inc();
    }

    /// A vote came again.
    pub fn vote_duplicated(&self) {
        self.traffic.duplicate_vote.inc();
    }

    /// A vote came for an earlier height or round.
    pub fn vote_late(&self, kind: VoteKind) {
        self.traffic.late_votes.with_label_values(&[vote_label(kind)]).inc();
    }

    /// This share of the power, from 0 to 1, has voted in the current round.
    pub fn round_power(&self, kind: VoteKind, share: f64) {
        self.traffic.round_voting_power_percent.with_label_values(&[vote_label(kind)]).set(share);
    }

    /// Two thirds of the prevotes came so long after the proposal.
    pub fn quorum_prevoted(&self, proposer: &Address, after: Duration) {
        self.traffic.quorum_prevote_delay.with_label_values(&[&proposer.to_string()]).set(after.as_secs_f64());
    }

    /// All prevotes came so long after the proposal.
    pub fn all_prevoted(&self, proposer: &Address, after: Duration) {
        self.traffic.full_prevote_delay.with_label_values(&[&proposer.to_string()]).set(after.as_secs_f64());
    }

    /// A vote extension was judged.
    pub fn extension_received(&self, verdict: Verdict) {
        self.traffic.vote_extension_receive_count.with_label_values(&[verdict.label()]).inc();
    }

    /// A proposal was judged.
    pub fn proposal_received(&self, verdict: Verdict) {
        self.traffic.proposal_receive_count.with_label_values(&[verdict.label()]).inc();
    }

    /// This node made a proposal.
    pub fn proposal_made(&self) {
        self.traffic.proposal_create_count.inc();
    }
}

impl Traffic {
    fn new(of: &Register<'_>) -> Result<Traffic, Error> {
        let proposer = "proposer_address";
        Ok(Traffic {
            block_parts: of.counter_by("block_parts", "Block parts this peer sent", "peer_id")?,
            duplicate_block_part: of.counter("duplicate_block_part", "Block parts received again")?,
            duplicate_vote: of.counter("duplicate_vote", "Votes received again")?,
            block_gossip_parts_received: of.counter_by(
                "block_gossip_parts_received",
                "Block parts received, by whether they are of the block being gathered",
                "matches_current",
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
}

fn vote_label(kind: VoteKind) -> &'static str {
    match kind {
        VoteKind::Prevote => "prevote",
        VoteKind::Precommit => "precommit",
    }
}
