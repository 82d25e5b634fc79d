//! What the operator sees: one line a second while blocks are made, metrics, and round events for subscribers.

use super::Telling;
use crate::consensus::RoundNote;
use crate::events::Bus;
use crate::metrics::{BlockFacts, Metrics, VotersFacts};
use crate::sync::{Progress, Stage};
use crate::types::{
    Address, Algorithm, AppliedBlock, ChainState, CommitSig, Height, Power, Published, Round, RoundEvent,
    RoundEventKind, Step, Time, ValidatorSet,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often a line is printed at most.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Counts blocks and prints lines.
#[derive(Debug)]
pub(super) struct Report {
    telling: Telling,
    own: Option<Address>,
    algorithm: Algorithm,
    /// Who proposes, as far as people were told.
    lead: Option<(Round, Address)>,
    /// Where RPC is served, for the ready line.
    rpc: String,
    /// The set of the height being decided.
    validators: Option<Arc<ValidatorSet>>,
    /// The set of the last block, and that of the block before, whose commit the last block carries.
    last_validators: Option<Arc<ValidatorSet>>,
    commit_signers: Option<Arc<ValidatorSet>>,
    last_block_at: Option<Time>,
    step_begun: Option<(Step, Instant)>,
    round_begun: Option<Instant>,
    /// Since the last line.
    blocks: u64,
    txs: u64,
    height: Height,
    printed: Instant,
    /// What people were told last about fetching.
    stage: Option<Stage>,
}

impl Report {
    pub(super) fn new(telling: Telling, own: Option<Address>, algorithm: Algorithm, rpc: String) -> Report {
        Report {
            telling,
            own,
            algorithm,
            lead: None,
            rpc,
            validators: None,
            last_validators: None,
            commit_signers: None,
            last_block_at: None,
            step_begun: None,
            round_begun: None,
            blocks: 0,
            txs: 0,
            height: Height::ZERO,
            printed: Instant::now(),
            stage: None,
        }
    }

    /// The handshake is over.
    pub(super) fn ready(&mut self, state: &ChainState) {
        self.validators = Some(Arc::clone(&state.validators));
        self.last_validators.clone_from(&state.last_validators);
        let rpc = &self.rpc;
        let (last, next) = (state.last_block_height, state.next_height());
        self.telling.tell(&format!("ready       at height {last}, deciding {next}, RPC {rpc}"));
    }

    /// A block was applied: the sets move on.
    pub(super) fn advanced(&mut self, state: &ChainState) {
        self.commit_signers = std::mem::replace(&mut self.last_validators, state.last_validators.clone());
        self.validators = Some(Arc::clone(&state.validators));
    }

    /// A block was applied.
    pub(super) fn applied(&mut self, applied: &AppliedBlock, metrics: &Metrics) {
        let candidate = &applied.block;
        let header = &candidate.block().header;
        let interval = self.last_block_at.map(|before| header.time.since(before));
        self.last_block_at = Some(header.time);
        self.blocks += 1;
        self.txs += candidate.block().txs.len() as u64;
        self.height = header.height;
        self.report_own(applied, metrics);
        metrics.consensus.height_begun(header.height.next());
        metrics.consensus.block_decided(&BlockFacts {
            height: header.height,
            txs: candidate.block().txs.len() as u64,
            bytes: candidate.parts().byte_size(),
            interval,
            validators: self.all_validators(),
            missing: self.missing(applied),
            byzantine: VotersFacts { count: applied.evidence().len() as u64, power: Power::ZERO },
        });
    }

    /// Our validator's power, and whether the block's last commit has its precommit.
    fn report_own(&self, applied: &AppliedBlock, metrics: &Metrics) {
        let Some(own) = &self.own else { return };
        let power = self.validators.as_ref().and_then(|set| set.by_address(own)).map(|(_, member)| member.power);
        metrics.consensus.own_power(own, power.unwrap_or(Power::ZERO));
        let (Some(commit), Some(set)) = (&applied.block.block().last_commit, &self.commit_signers) else { return };
        let Some((index, _)) = set.by_address(own) else { return };
        match commit.signatures.get(index as usize) {
            None | Some(CommitSig::Absent) => metrics.consensus.own_missed(own),
            Some(_) => metrics.consensus.own_signed(own, commit.height),
        }
    }

    fn all_validators(&self) -> VotersFacts {
        self.validators.as_ref().map_or(VotersFacts { count: 0, power: Power::ZERO }, |set| VotersFacts {
            count: set.len() as u64,
            power: set.total_power(),
        })
    }

    /// Whose precommits the block's last commit lacks.
    fn missing(&self, applied: &AppliedBlock) -> VotersFacts {
        let none = VotersFacts { count: 0, power: Power::ZERO };
        let (Some(commit), Some(set)) = (&applied.block.block().last_commit, &self.commit_signers) else { return none };
        let absent = commit.signatures.iter().zip(set.members()).filter(|(sig, _)| **sig == CommitSig::Absent);
        absent.fold(none, |sum, (_, member)| VotersFacts { count: sum.count + 1, power: sum.power + member.power })
    }

    /// Something happened inside a round.
    pub(super) fn round(&mut self, note: &RoundNote, metrics: &Metrics) {
        let now = Instant::now();
        match note {
            RoundNote::Step { step, .. } => {
                if let Some((before, begun)) = self.step_begun.replace((*step, now)) {
                    let name = before.name().trim_start_matches("RoundStep");
                    metrics.consensus.step_ended(name, now.duration_since(begun));
                }
            }
            RoundNote::NewRound { height, round, proposer } => {
                if let Some(begun) = self.round_begun.replace(now) {
                    metrics.consensus.round_ended(now.duration_since(begun));
                }
                metrics.consensus.round_begun(*round);
                if Some(proposer.1) == self.own {
                    metrics.consensus.proposal_made();
                }
                self.lead(*height, *round, &proposer.1);
            }
            RoundNote::Timeout { timer } => {
                tracing::debug!("height {} round {}: {} timed out", timer.height, timer.round, timer.step.name());
            }
            _ => {}
        }
    }

    /// Who proposes now, in the protocol's own words, when it is worth a line.
    fn lead(&mut self, height: Height, round: Round, who: &Address) {
        let before = self.lead.replace((round, *who));
        let news = before != Some((round, *who));
        match self.algorithm {
            Algorithm::Tendermint if round > Round::ZERO => {
                tracing::info!("height {height} goes into round {round}; its proposer is {who}");
            }
            Algorithm::Pbft if news => {
                tracing::info!("view {round} decides from height {height} on; its primary is {who}")
            }
            Algorithm::Raft if news => {
                tracing::info!("term {round} decides from height {height} on; its leader is {who}")
            }
            Algorithm::Tendermint | Algorithm::Pbft | Algorithm::Raft => {}
        }
    }

    /// When a line is due: at once for a block after a quiet second, else a second after the last line.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.blocks > 0).then_some(self.printed + LINE_EVERY)
    }

    /// Prints a line if one is due. `progress` says how far fetching is.
    pub(super) fn turn(&mut self, now: Instant, progress: &Progress) {
        self.fetching(progress);
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        let Report { blocks, txs, height, .. } = self;
        let what = if *blocks == 1 { "block" } else { "blocks" };
        let source = match progress.stage {
            Stage::Fetching => format!("  of {}, from {}", progress.target, count(progress.peers, "peer")),
            _ => String::new(),
        };
        self.telling.tell(&format!("height {height:<10} {blocks:>5} {what:<6} {txs:>8} txs{source}"));
        (self.blocks, self.txs, self.printed) = (0, 0, now);
    }

    /// Says what a node that does not decide waits for, whenever that changes.
    fn fetching(&mut self, progress: &Progress) {
        if self.stage == Some(progress.stage) {
            return;
        }
        self.stage = Some(progress.stage);
        let next = progress.at.next();
        match progress.stage {
            Stage::Paused | Stage::Deciding => {}
            // Nothing but the block consensus is about to decide.
            Stage::Fetching if progress.target < next => {}
            Stage::Waiting => {
                self.telling.tell(&format!("waiting     for a peer that says which blocks it has, RPC {}", self.rpc));
            }
            Stage::Fetching => {
                self.telling.tell(&format!("fetching    blocks {next} to {}, RPC {}", progress.target, self.rpc));
            }
            Stage::OutOfReach => tracing::warn!(
                "no peer has block {next} any more: they removed it. Connect to a node with a longer history \
                 (persistent_peers), or restore this home from a backup that is not older"
            ),
        }
    }
}

/// `1 peer`, `2 peers`.
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Publishes what subscribers may want to see of a round.
pub(super) fn publish(bus: &Bus, note: &RoundNote) {
    use RoundEventKind as Kind;
    let event =
        |kind, height: Height, round: Round, step| Some(Published::Round(RoundEvent { kind, height, round, step }));
    let published = match *note {
        // CometBFT announces the step that begins a round as NewRound alone.
        RoundNote::Step { step: Step::NewRound, .. } => None,
        RoundNote::Step { height, round, step } => event(Kind::NewRoundStep, height, round, step),
        RoundNote::NewRound { height, round, proposer: (index, address) } => {
            event(Kind::NewRound { index, address }, height, round, Step::NewRound)
        }
        RoundNote::CompleteProposal { height, round, block_id } => {
            event(Kind::CompleteProposal(block_id), height, round, Step::Propose)
        }
        RoundNote::Polka { height, round } => event(Kind::Polka, height, round, Step::Prevote),
        // CometBFT decides on the lock before it enters the step Precommit, and its events say so.
        RoundNote::Lock { height, round } => event(Kind::Lock, height, round, Step::Prevote),
        RoundNote::Relock { height, round } => event(Kind::Relock, height, round, Step::Prevote),
        RoundNote::Unlock { height, round } => event(Kind::Unlock, height, round, Step::Prevote),
        RoundNote::ValidBlock { height, round } => event(Kind::ValidBlock, height, round, Step::Prevote),
        RoundNote::Timeout { timer } => match timer.step {
            Step::Propose => event(Kind::TimeoutPropose, timer.height, timer.round, timer.step),
            Step::PrevoteWait | Step::PrecommitWait => event(Kind::TimeoutWait, timer.height, timer.round, timer.step),
            _ => None, // the pause between two heights is nobody's failure
        },
        RoundNote::Vote(ref vote) => Some(Published::Vote(vote.clone())),
        RoundNote::Misconduct(_) => None,
    };
    if let Some(published) = published {
        bus.publish(published);
    }
}

#[cfg(test)]
mod tests {
    use super::publish;
    use crate::consensus::RoundNote;
    use crate::events::Bus;
    use crate::ports::{Delivery, Subscription as _};
    use crate::types::{Height, Published, Round, Step, TimerId};

    /// What CometBFT v0.38.25 tells subscribers in each case: recorded from it.
    #[tokio::test]
    async fn rounds_are_told_as_cometbft_tells_them() {
        let (height, round) = (Height::new(5), Round::ZERO);
        let step = |step| RoundNote::Step { height, round, step };
        let timeout = |step| RoundNote::Timeout { timer: TimerId { height, round, step } };
        let bus = Bus::default();
        let mut told = bus.subscribe();
        let silent = [step(Step::NewRound), timeout(Step::NewHeight)];
        let cases = [
            (step(Step::Propose), Step::Propose),
            (step(Step::Commit), Step::Commit),
            (RoundNote::Polka { height, round }, Step::Prevote),
            (RoundNote::Lock { height, round }, Step::Prevote),
            (timeout(Step::Propose), Step::Propose),
            (timeout(Step::PrevoteWait), Step::PrevoteWait),
        ];
        silent.iter().chain(cases.iter().map(|(note, _)| note)).for_each(|note| publish(&bus, note));
        drop(bus);
        for (note, expected) in cases {
            let Some(Delivery::Published(Published::Round(event))) = told.next().await else { panic!("{note:?}") };
            assert_eq!(event.step, expected, "{note:?}");
        }
        assert!(told.next().await.is_none());
    }
}
