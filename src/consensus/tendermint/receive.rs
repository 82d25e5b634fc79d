//! Facts: what peers, timers, the application and the pipeline say. Each handler takes one fact into the state,
//! journals it, and lets the rules fire.

use super::height::{Outcome, OwnVote};
use super::{Message, Tendermint};
use crate::consensus::blocks::PartTaken;
use crate::consensus::tally::Counted;
use crate::consensus::{Accusation, BlockVerdict, Effect, Effects, Now, Reaction, RoundNote, Start};
use crate::types::{
    BlockId, Height, JournalMessage, JournalRecord, Misconduct, Part, Proposal, Round, Source, Step, TimerId,
    VOTE_EXTENSION_SENT_MAX, Vote, VoteKind,
};

/// A peer this many heights ahead is not just quicker: its blocks must be fetched.
const HEIGHTS_AHEAD_TO_SYNC: u64 = 2;

impl Tendermint {
    /// A proposal; its signature is that of the proposer of its round.
    pub(super) fn on_proposal(
        &mut self,
        now: Now,
        source: Source,
        proposal: Proposal,
        out: &mut Effects<Tendermint>,
    ) -> Reaction {
        if let Err(reaction) = self.of_this_height(proposal.height, out) {
            return reaction;
        }
        let by = self.proposer(proposal.round).map(|proposer| proposer.address);
        let state = &mut self.current;
        let round = proposal.round;
        if round < state.round || (round > state.round.next() && !mutant!("T22")) {
            return Reaction::Ignored("proposal of another round");
        }
        let total = u64::from(proposal.block_id.parts.total);
        if total == 0 || (total > state.blocks.parts_max() && !mutant!("T23")) {
            return Reaction::PeerFault("proposal of a block with more parts than a block may have, or none");
        }
        if proposal.pol_round.is_some_and(|pol_round| pol_round >= round && !mutant!("T7")) {
            return Reaction::PeerFault("proposal justified by a round that is not earlier");
        }
        match state.proposals.get(&round) {
            Some(first) if *first == proposal => return Reaction::Ignored("proposal seen before"),
            Some(first) if (first.block_id, first.pol_round) != (proposal.block_id, proposal.pol_round) => {
                // Evidence of this kind cannot be put on a CometBFT chain; people should know.
                let misconduct = by.and_then(|by| Misconduct::two_proposals(by, first, &proposal)).map(Box::new);
                out.extend(misconduct.map(|it| Effect::Note(RoundNote::Misconduct(it))));
                return Reaction::Ignored("a second proposal for this round");
            }
            Some(_) => return Reaction::Ignored("the same proposal, signed again"),
            None => {}
        }
        let block_id = proposal.block_id;
        state.blocks.want(block_id.parts);
        state.proposals.insert(round, proposal.clone());
        let message = JournalMessage::Proposal(proposal);
        out.push(Effect::Persist(JournalRecord::Message { source, message }));
        self.note_if_complete(&block_id, out);
        self.settle(now, out);
        Reaction::Accepted
    }

    /// A part of a block.
    pub(super) fn on_part(
        &mut self,
        now: Now,
        source: Source,
        at: (Height, Round),
        part: Part,
        out: &mut Effects<Tendermint>,
    ) -> Reaction {
        let (height, round) = at;
        if height != self.height() {
            return Reaction::Ignored("part of a block of another height");
        }
        let taken = self.current.blocks.add(part.clone());
        match taken {
            PartTaken::Ignored(why) => return Reaction::Ignored(why),
            PartTaken::PeerFault(why) => return Reaction::PeerFault(why),
            PartTaken::Added | PartTaken::Completed => {}
        }
        let message = JournalMessage::Part { height, round, part };
        out.push(Effect::Persist(JournalRecord::Message { source, message }));
        if taken == PartTaken::Completed {
            if let Some(block_id) = self.current.proposal().map(|proposal| proposal.block_id) {
                self.note_if_complete(&block_id, out);
            }
            self.settle(now, out);
        }
        Reaction::Accepted
    }

    /// A vote; its signatures are those of the member at its index.
    pub(super) fn on_vote(&mut self, now: Now, source: Source, vote: Vote, out: &mut Effects<Tendermint>) -> Reaction {
        if self.height().previous() == Some(vote.height) && vote.kind == VoteKind::Precommit {
            return self.on_late_precommit(now, vote, out);
        }
        if let Err(reaction) = self.of_this_height(vote.height, out) {
            return reaction;
        }
        if let Err(why) = self.check_extension(&vote).or_else(|why| if mutant!("T24") { Ok(()) } else { Err(why) }) {
            return Reaction::PeerFault(why);
        }
        match self.current.tally.judge(&vote, source) {
            Counted::Ignored(why) => return Reaction::Ignored(why),
            Counted::PeerFault(why) => return Reaction::PeerFault(why),
            Counted::Conflict(accusation) => {
                self.accuse(*accusation, out);
                return Reaction::Later("conflicting vote; the first one stays");
            }
            Counted::AddedBeside(accusation) => self.accuse(*accusation, out),
            Counted::Added => {}
        }
        if self.is_for_the_application(&vote) {
            return self.verify_extension(vote, source, out);
        }
        self.count_vote(now, source, vote, out);
        Reaction::Accepted
    }

    /// Reports an equivocator; a second key of ours somewhere is nothing to report against ourselves.
    fn accuse(&self, accusation: Accusation, out: &mut Effects<Tendermint>) {
        if Some(accusation.first.validator_address) != self.current.start.own || mutant!("T25") {
            out.push(Effect::Accuse(accusation));
        }
    }

    /// Reports the equivocators in the journal: what was reported before a crash waited in memory for the next block, and
    /// no peer tells us again the votes that we have.
    pub(super) fn accuse_again(&self, out: &mut Effects<Tendermint>) {
        self.current.tally.conflicts().for_each(|accusation| self.accuse(accusation, out));
    }

    /// True when the application is asked whether it accepts the vote's extension. Not once the block is handed over: no
    /// question about a height may follow its FinalizeBlock, and the vote decides nothing any more (CometBFT takes late
    /// precommits without asking, too).
    fn is_for_the_application(&self, vote: &Vote) -> bool {
        let state = &self.current;
        let others = Some(vote.validator_address) != state.start.own;
        let extended = vote.kind == VoteKind::Precommit && vote.block_id.is_some() && state.extensions_enabled();
        others && extended && !matches!(state.outcome, Outcome::Decided { .. })
    }

    /// Has the application look at an extension; one question for each validator and round.
    fn verify_extension(&mut self, vote: Vote, source: Source, out: &mut Effects<Tendermint>) -> Reaction {
        let key = (vote.round, vote.validator_index);
        match self.current.verifying.get(&key) {
            Some((first, _)) if first.signature == vote.signature => {
                return Reaction::Ignored("this vote's extension is being looked at");
            }
            Some(_) => return Reaction::Later("this validator's extension is being looked at"),
            None => {}
        }
        self.current.verifying.insert(key, (vote.clone(), source));
        out.push(Effect::VerifyExtension { vote, source });
        Reaction::Accepted
    }

    /// The application looked at an extension, and accepts it.
    pub(super) fn on_extension_accepted(
        &mut self,
        now: Now,
        vote: Vote,
        source: Source,
        out: &mut Effects<Tendermint>,
    ) -> Reaction {
        if !self.end_verifying(&vote) {
            return Reaction::Ignored("an extension nobody asks about");
        }
        self.count_vote(now, source, vote, out);
        Reaction::Accepted
    }

    /// The application looked at an extension, and does not accept it.
    pub(super) fn on_extension_rejected(&mut self, vote: &Vote) -> Reaction {
        if !self.end_verifying(vote) {
            return Reaction::Ignored("an extension nobody asks about");
        }
        Reaction::Ignored("the application rejects the vote's extension")
    }

    /// False when nobody asks about this vote.
    fn end_verifying(&mut self, vote: &Vote) -> bool {
        let key = (vote.round, vote.validator_index);
        let asked = self.current.verifying.get(&key).is_some_and(|(asked, _)| asked == vote);
        if !asked || vote.height != self.height() {
            return false;
        }
        if !mutant!("T95") {
            self.current.verifying.remove(&key);
        }
        true
    }

    /// Extensions are there exactly where they belong (reference §6.5; bug classes 007 and ASA-2024-011).
    fn check_extension(&self, vote: &Vote) -> Result<(), &'static str> {
        // Longer, and it could not be journaled: one validator could stop everybody.
        if vote.extension.len() > VOTE_EXTENSION_SENT_MAX {
            return Err("vote with an extension longer than a message can carry");
        }
        let belongs = vote.kind == VoteKind::Precommit && vote.block_id.is_some() && self.current.extensions_enabled();
        match (belongs, vote.extension_signature.is_some(), vote.extension.is_empty()) {
            (true, false, _) => Err("precommit without the extension this height requires"),
            (false, true, _) | (false, _, false) => Err("vote with an extension that does not belong there"),
            (true, true, _) | (false, false, true) => Ok(()),
        }
    }

    /// Journals and counts a vote.
    pub(super) fn count_vote(&mut self, now: Now, source: Source, vote: Vote, out: &mut Effects<Tendermint>) {
        let message = JournalMessage::Vote(vote.clone());
        out.push(Effect::Persist(JournalRecord::Message { source, message }));
        if Some(vote.validator_address) == self.current.start.own {
            // Ours, from before a loss of the journal: it must not be asked for again.
            self.current.own.insert((vote.round, vote.kind), OwnVote::Cast);
        }
        self.tally_vote(source, vote, out);
        self.settle(now, out);
    }

    /// Counts a vote; the one door to the tally.
    pub(super) fn tally_vote(&mut self, source: Source, vote: Vote, out: &mut Effects<Tendermint>) {
        let state = &mut self.current;
        let (height, round, kind) = (state.start.height, vote.round, vote.kind);
        let majority_before = state.tally.majority(round, kind);
        if !matches!(state.tally.add(vote.clone(), source), Counted::Added | Counted::AddedBeside(_)) {
            return;
        }
        out.push(Effect::Note(RoundNote::Vote(vote)));
        let majority = state.tally.majority(round, kind);
        if kind == VoteKind::Prevote && majority_before.is_none() && majority.is_some() && round <= state.round {
            out.push(Effect::Note(RoundNote::Polka { height, round }));
        }
    }

    /// A precommit of the height before, welcome until this height begins (reference §6.3).
    fn on_late_precommit(&mut self, now: Now, vote: Vote, out: &mut Effects<Tendermint>) -> Reaction {
        let state = &mut self.current;
        let Some(last_commit) = state.last_commit.as_mut().filter(|_| state.step == Step::NewHeight || mutant!("T96"))
        else {
            return Reaction::Ignored("precommit of a height that is closed");
        };
        let extended = state.start.height.previous().is_some_and(|h| state.start.params.abci.extensions_enabled(h));
        if (extended && vote.block_id.is_some()) != vote.extension_signature.is_some() && !mutant!("T26") {
            return Reaction::Ignored("late precommit whose extension does not belong there or is missing");
        }
        match last_commit.add(vote.clone()) {
            Counted::Added => {}
            Counted::Ignored(why) => return Reaction::Ignored(why),
            Counted::PeerFault(why) => return Reaction::PeerFault(why),
            Counted::Conflict(accusation) | Counted::AddedBeside(accusation) => {
                self.accuse(*accusation, out);
                return Reaction::Ignored("conflicting vote of the height before");
            }
        }
        out.push(Effect::Note(RoundNote::Vote(vote)));
        if self.may_begin_at_once() {
            self.start_round(now, Round::ZERO, out);
            self.settle(now, out);
        }
        Reaction::Accepted
    }

    /// True when everybody's precommit for the last height is in and nobody wants to wait longer.
    pub(super) fn may_begin_at_once(&self) -> bool {
        let state = &self.current;
        let all_voted = state.last_commit.as_ref().is_some_and(|set| set.has_all());
        state.step == Step::NewHeight
            && (state.start.timeouts.skip_commit_when_all_voted || mutant!("T27"))
            && all_voted
    }

    /// Sorts out what is of another height, and has blocks fetched when somebody is well ahead of us.
    fn of_this_height(&mut self, height: Height, out: &mut Effects<Tendermint>) -> Result<(), Reaction> {
        let ours = self.height();
        if height == ours {
            return Ok(());
        }
        if height.get() >= ours.get().saturating_add(HEIGHTS_AHEAD_TO_SYNC + u64::from(mutant!("T100")))
            && (height > self.sync_hint || mutant!("T28"))
        {
            self.sync_hint = height;
            out.push(Effect::RequestSync(height.previous().unwrap_or(ours)));
        }
        Err(Reaction::Ignored("message of another height"))
    }

    /// A timer is due.
    pub(super) fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut Effects<Tendermint>) -> Reaction {
        if let Some(unsigned) = self.refused_vote_due(timer) {
            return self.ask_signer_again(now, unsigned, out);
        }
        if !self.timer_counts(timer) {
            return Reaction::Ignored("timer of something that is past");
        }
        if self.answer_awaited_by(timer.step) {
            self.current.held = Some(timer.step);
            return Reaction::Accepted;
        }
        self.time_out(now, timer, out);
        self.settle(now, out);
        Reaction::Accepted
    }

    fn timer_counts(&self, timer: TimerId) -> bool {
        let state = &self.current;
        if timer.height != state.start.height
            || (timer.round != state.round && !mutant!("T29"))
            || state.outcome != Outcome::Open
        {
            return false;
        }
        match timer.step {
            Step::NewHeight => state.step == Step::NewHeight,
            Step::NewRound => state.step == Step::NewRound,
            Step::Propose => state.step == Step::Propose,
            Step::PrevoteWait => matches!(state.step, Step::Prevote | Step::PrevoteWait) || mutant!("T11"),
            Step::PrecommitWait => state.step != Step::NewHeight && state.precommit_timer_set,
            Step::Prevote | Step::Precommit | Step::Commit => false,
        }
    }

    /// True when the application is checking the very block this timeout would give up on. It always answers, and
    /// waiting makes the vote depend on the answer alone.
    fn answer_awaited_by(&self, step: Step) -> bool {
        match step {
            Step::Propose => self.proposal_being_checked(),
            Step::PrevoteWait => self.polka_being_checked(),
            _ => false,
        }
    }

    /// A timeout that counts (lines 57-67). Journaled, since our next vote depends on it.
    pub(super) fn time_out(&mut self, now: Now, timer: TimerId, out: &mut Effects<Tendermint>) {
        let duration = self.duration(timer, now);
        if !mutant!("T30") {
            out.push(Effect::Persist(JournalRecord::Timeout { timer, duration }));
        }
        out.push(Effect::Note(RoundNote::Timeout { timer }));
        match timer.step {
            Step::NewHeight => self.start_round(now, Round::ZERO, out),
            Step::NewRound => self.enter_propose(now, out),
            Step::Propose => self.prevote(now, None, out),
            Step::PrevoteWait => self.precommit(now, None, out),
            Step::PrecommitWait if mutant!("T31") => self.start_round(now, timer.round.next().next(), out),
            Step::PrecommitWait => self.start_round(now, timer.round.next(), out),
            Step::Prevote | Step::Precommit | Step::Commit => {}
        }
    }

    /// The application's word on a block.
    pub(super) fn on_block_checked(
        &mut self,
        now: Now,
        (height, asked_in): (Height, Round),
        block_id: BlockId,
        verdict: &BlockVerdict,
        out: &mut Effects<Tendermint>,
    ) -> Reaction {
        let verdict = if mutant!("T21") { &BlockVerdict::Accept } else { verdict };
        if height != self.height() {
            return Reaction::Ignored("an answer about a block of another height");
        }
        let round = self.round();
        let reaction = self.current.blocks.answered(&block_id, verdict, asked_in, round);
        if reaction == Reaction::Accepted {
            self.settle(now, out);
        }
        reaction
    }

    /// The mempool has something.
    pub(super) fn on_txs_available(&mut self, now: Now, out: &mut Effects<Tendermint>) -> Reaction {
        self.current.txs_available = true;
        if self.current.step == Step::NewRound {
            self.enter_propose(now, out);
            self.settle(now, out);
        }
        Reaction::Accepted
    }

    /// The last block is applied.
    pub(super) fn on_block_applied(&mut self, now: Now, start: Start, out: &mut Effects<Tendermint>) -> Reaction {
        if start.height <= self.height() {
            return Reaction::Ignored("a height that is past");
        }
        self.begin_height(now, start, out);
        Reaction::Accepted
    }
}

impl Message {
    /// The height this message is about.
    pub fn height(&self) -> Height {
        match self {
            Message::Proposal(proposal) => proposal.height,
            Message::Part { height, .. } => *height,
            Message::Vote(vote) => vote.height,
        }
    }
}
