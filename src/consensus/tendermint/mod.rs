//! Tendermint, held against "The latest gossip on BFT consensus" (arXiv 1807.04938, Algorithm 1), whose line numbers
//! stand at each rule. Differences from the paper and from CometBFT v0.38 are in docs/DIVERGENCES.md.
//!
//! A step takes one fact into the state and then fires rules until none applies ([`rules`]), as the paper's "upon"
//! clauses say. Own votes come back through the signer and are journaled before anybody hears of them.
//!
//! Reading order: this file → `height` → `receive` → `rules` → `propose` → `vote` → `refused` → `recover`;
//! `view` stands beside.

mod height;
mod propose;
mod receive;
mod recover;
mod refused;
mod rules;
mod view;
mod vote;

#[cfg(test)]
mod tests;

use super::{Effect, Effects, Input, Now, Protocol, Reaction, RoundNote, Start};
use crate::crypto::Verified;
use crate::types::{
    Height, JournalRecord, Part, Proposal, Round, Step, TimerId, Validator, ValidatorSet, Vote, VoteKind,
};
use height::{HeightState, Outcome};
use std::sync::Arc;
use std::time::Duration;

/// What validators say to each other. Signatures were checked before a message gets here: a proposal's against
/// [`Tendermint::proposer`] of its round, a vote's (and its extension's) against the member at its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A proposer's choice.
    Proposal(Verified<Proposal>),
    /// A part of a proposed block; its proof is checked here.
    Part {
        /// Height of the block.
        height: Height,
        /// Round it was sent in.
        round: Round,
        /// The part.
        part: Part,
    },
    /// A vote.
    Vote(Verified<Vote>),
}

const NO_LINEARIZABLE_READS: &str = "Tendermint has no leader to ask what was decided last: read with consistency=local, \
    and compare heights, or have the read ordered by sending a transaction and waiting for its block";

/// The machine: one height after the other.
#[derive(Debug, Clone)]
pub struct Tendermint {
    current: HeightState,
    /// The highest height a sync was asked for, so that one is asked for once.
    sync_hint: Height,
}

impl Protocol for Tendermint {
    type Message = Message;
    type Record = JournalRecord;

    fn recover(now: Now, start: Start, records: &[JournalRecord], out: &mut Effects<Tendermint>) -> Tendermint {
        let mut machine = Tendermint { sync_hint: start.height, current: HeightState::new(now, start) };
        // What these steps order was ordered before the crash; `resume` orders again what was not answered.
        let mut ordered_before = Vec::new();
        for record in records {
            machine.replay(now, record, &mut ordered_before);
            ordered_before.clear();
        }
        machine.accuse_again(out);
        machine.resume(now, out);
        machine
    }

    fn step(&mut self, now: Now, input: Input<Message>, out: &mut Effects<Tendermint>) -> Reaction {
        match input {
            Input::Received { source, message: Message::Proposal(proposal) } => {
                self.on_proposal(now, source, proposal.into_inner(), out)
            }
            Input::Received { source, message: Message::Part { height, round, part } } => {
                self.on_part(now, source, (height, round), part, out)
            }
            Input::Received { source, message: Message::Vote(vote) } => {
                self.on_vote(now, source, vote.into_inner(), out)
            }
            Input::TimerFired(timer) => self.on_timer(now, timer, out),
            Input::BlockBuilt { height, round, block } => self.on_block_built(now, height, round, block, out),
            Input::BlockChecked { height, round, block_id, verdict } => {
                self.on_block_checked(now, (height, round), block_id, &verdict, out)
            }
            Input::VoteExtended { height, round, extension } => {
                self.on_vote_extended(now, height, round, extension, out)
            }
            Input::ExtensionVerified { vote, source, accepted: true } => {
                self.on_extension_accepted(now, vote, source, out)
            }
            Input::ExtensionVerified { vote, accepted: false, .. } => self.on_extension_rejected(&vote),
            Input::BlockApplied(start) => self.on_block_applied(now, *start, out),
            Input::Signed(signed) => self.on_signed(now, signed, out),
            Input::TxsAvailable => self.on_txs_available(now, out),
            Input::PeerUp(_) | Input::PeerDown(_) => Reaction::Ignored("peers are told by whoever gossips"),
            Input::Woken => Reaction::Ignored("no wake-up was ordered"),
            Input::Read { ticket, .. } => {
                out.push(Effect::ReadRefused(ticket, NO_LINEARIZABLE_READS.to_owned()));
                Reaction::Accepted
            }
        }
    }
}

impl Tendermint {
    /// The height being decided.
    pub fn height(&self) -> Height {
        self.current.start.height
    }

    /// The round it is in.
    pub fn round(&self) -> Round {
        self.current.round
    }

    /// The step of that round.
    pub fn current_step(&self) -> Step {
        self.current.step
    }

    /// Who decides this height.
    pub fn validators(&self) -> &Arc<ValidatorSet> {
        &self.current.start.validators
    }

    /// Who decided the height before, and may still send precommits for it; none at the initial height.
    pub fn last_validators(&self) -> Option<&Arc<ValidatorSet>> {
        self.current.start.last_validators.as_ref()
    }

    /// Whose proposal counts in `round`; known for the current round and the next, the only ones whose proposals are
    /// of use.
    pub fn proposer(&self, round: Round) -> Option<&Validator> {
        let address = match round.get().checked_sub(self.current.round.get())? {
            0 => self.current.rotation.proposer().address,
            1 => self.current.rotation.advanced(1).proposer().address,
            _ => return None,
        };
        self.validators().by_address(&address).map(|(_, validator)| validator)
    }

    /// Line 11-21: StartRound.
    fn start_round(&mut self, now: Now, round: Round, out: &mut Effects<Tendermint>) {
        let state = &mut self.current;
        let first = state.step == Step::NewHeight;
        assert!(first || round > state.round, "rounds only go up");
        let ahead = round.get() - state.round.get();
        state.rotation = Arc::new(state.rotation.advanced(if mutant!("T19") { ahead.min(1) } else { ahead }));
        state.round = round;
        state.tally.enter(round);
        state.proposals.retain(|proposed, _| *proposed >= round);
        state.prevote_timer_set &= mutant!("T45");
        state.precommit_timer_set &= mutant!("T44");
        state.held = None;
        state.proposing = height::Proposing::No;
        state.prune_blocks();
        // Line 22-28, valid(v): the application is asked anew in every round, as CometBFT asks it.
        if !mutant!("T80") {
            state.blocks.forget_refusals();
        }
        let proposer = state.rotation.proposer().address;
        let index = state.rotation.by_address(&proposer).map_or(0, |(index, _)| index);
        let height = state.start.height;
        self.enter_step(Step::NewRound, out);
        out.push(Effect::Note(RoundNote::NewRound { height, round, proposer: (index, proposer) }));
        if let Some(block_id) = self.current.proposal().map(|proposal| proposal.block_id) {
            self.note_if_complete(&block_id, out);
        }
        self.wait_for_txs_or_propose(now, out);
    }

    /// Enters a step: told to the journal, because recovery reads from it when the application's answers took effect.
    fn enter_step(&mut self, step: Step, out: &mut Effects<Tendermint>) {
        let state = &mut self.current;
        state.step = step;
        let (height, round) = (state.start.height, state.round);
        out.push(Effect::Persist(JournalRecord::RoundStep { height, round, step }));
        out.push(Effect::Note(RoundNote::Step { height, round, step }));
    }

    /// Sets the timer that ends `step` of the current round.
    fn set_timer(&self, now: Now, step: Step, out: &mut Effects<Tendermint>) {
        let timer = TimerId { height: self.height(), round: self.round(), step };
        let duration = self.duration(timer, now);
        out.push(Effect::SetTimer { timer, at: now.tick.plus(duration), duration });
    }

    /// How long a timer is set for: initial value plus a delta a round, as the paper's timeouts grow (§2.3).
    fn duration(&self, timer: TimerId, now: Now) -> Duration {
        let timeouts = &self.current.start.timeouts;
        let grown = |base: Duration, delta: Duration| {
            base.saturating_add(delta.saturating_mul(if mutant!("T16") { 0 } else { timer.round.get() }))
        };
        match timer.step {
            Step::NewHeight => self.current.start.begin_at.since(now.tick),
            Step::NewRound => match timeouts.empty_blocks {
                super::EmptyBlocks::After(interval) => interval,
                super::EmptyBlocks::Always | super::EmptyBlocks::Never => Duration::ZERO,
            },
            Step::Propose => grown(timeouts.propose, timeouts.propose_delta),
            Step::Prevote | Step::PrevoteWait => grown(timeouts.prevote, timeouts.prevote_delta),
            Step::Precommit | Step::PrecommitWait | Step::Commit => grown(timeouts.precommit, timeouts.precommit_delta),
        }
    }

    /// A new height is a new value. Late precommits that came while the block was executed go along.
    fn begin_height(&mut self, now: Now, start: Start, out: &mut Effects<Tendermint>) {
        let mut next = HeightState::new(now, start);
        let decided = match self.current.outcome {
            Outcome::Decided { round, block_id } => Some((round, block_id)),
            Outcome::Open | Outcome::Fetching { .. } => None,
        };
        if let (Some((round, _)), Some(last_commit)) = (decided, &mut next.last_commit) {
            let known = self.current.tally.set(round, VoteKind::Precommit);
            for vote in known.into_iter().flat_map(|set| set.votes().iter().flatten()) {
                if !mutant!("T46") {
                    last_commit.add(vote.clone());
                }
            }
        }
        self.current = next;
        self.resume(now, out);
    }
}
