//! Facts about blocks and votes. Each handler takes one fact into the state and journals it; the rules fire afterwards.

use super::Pbft;
use super::height::{Outcome, OwnVote};
use crate::consensus::blocks::PartTaken;
use crate::consensus::tally::Counted;
use crate::consensus::{Accusation, Effect, Effects, Reaction, RoundNote};
use crate::types::{
    Address, CommitSig, ExtendedCommit, Height, JournalMessage, JournalRecord, Misconduct, Part, Proposal, Round,
    Source, Step, VOTE_EXTENSION_SENT_MAX, Vote, VoteKind,
};

/// Votes of this many views below ours still count: a decision there is a decision. Older ones come as a commit.
const VIEWS_BEHIND_MAX: u32 = 8;

impl Pbft {
    /// A PRE-PREPARE (§4.2); its signature is that of `by`.
    pub(super) fn on_proposal(
        &mut self,
        source: Source,
        by: Address,
        proposal: Proposal,
        out: &mut Effects<Pbft>,
    ) -> Reaction {
        self.note_height(by, proposal.height, out);
        let (height, round) = (proposal.height, proposal.round);
        if round.get().saturating_add(1) < self.view.get() || (round > super::next_view(self.view) && !mutant!("P41")) {
            return Reaction::Ignored("proposal of another view");
        }
        let total = u64::from(proposal.block_id.parts.total);
        if total == 0 || total > self.current.blocks.parts_max() {
            return Reaction::PeerFault("proposal of a block with more parts than a block may have, or none");
        }
        if self.is_next(height) {
            let primary = self.primary(round).address;
            return self.later.keep_proposal(source, (by, primary), proposal);
        }
        if height != self.height() {
            return Reaction::Ignored("proposal of another height");
        }
        if by != self.primary(round).address && !mutant!("P17") {
            return Reaction::PeerFault("proposal of a replica that is not the primary of its view");
        }
        let state = &mut self.current;
        match state.proposals.get(&round) {
            Some(first) if first.block_id == proposal.block_id => return Reaction::Ignored("proposal seen before"),
            Some(_) if mutant!("P3") => {}
            Some(first) => {
                // §4.2: only the first one for a view and sequence number is accepted.
                if !state.conflicting.contains(&round) || mutant!("P91") {
                    let misconduct = Misconduct::two_proposals(by, first, &proposal);
                    out.extend(misconduct.map(|it| Effect::Note(RoundNote::Misconduct(Box::new(it)))));
                    state.conflicting.push(round);
                }
                return Reaction::Ignored("a second proposal for this view");
            }
            None => {}
        }
        state.blocks.want(proposal.block_id.parts);
        state.proposals.insert(round, proposal.clone());
        let message = JournalMessage::Proposal(proposal.clone());
        out.push(Effect::Persist(JournalRecord::Message { source, message }));
        self.note_if_complete(&proposal, out);
        Reaction::Accepted
    }

    /// A part of a block.
    pub(super) fn on_part(
        &mut self,
        source: Source,
        at: (Height, Round),
        part: Part,
        out: &mut Effects<Pbft>,
    ) -> Reaction {
        let (height, round) = at;
        if self.is_next(height) {
            return self.later.keep_part(part);
        }
        if height != self.height() {
            return Reaction::Ignored("part of a block of another height");
        }
        let taken = self.current.blocks.add(part.clone());
        match taken {
            PartTaken::Ignored(why) => return Reaction::Ignored(why),
            PartTaken::PeerFault(why) => return Reaction::PeerFault(why),
            PartTaken::Added | PartTaken::Completed => {}
        }
        self.catch_up.note_part();
        let message = JournalMessage::Part { height, round, part };
        out.push(Effect::Persist(JournalRecord::Message { source, message }));
        if let (PartTaken::Completed, Some(proposal)) = (taken, self.current.proposals.get(&self.view).cloned()) {
            self.note_if_complete(&proposal, out);
        }
        Reaction::Accepted
    }

    /// A PREPARE or COMMIT (§4.2); its signatures are those of the member at its index.
    pub(super) fn on_vote(&mut self, source: Source, vote: Vote, out: &mut Effects<Pbft>) -> Reaction {
        self.note_height(vote.validator_address, vote.height, out);
        if vote.block_id.is_none() && !mutant!("P37") {
            return Reaction::PeerFault("a vote for nil, which PBFT does not know");
        }
        if vote.extension.len() > VOTE_EXTENSION_SENT_MAX && !mutant!("P99") {
            return Reaction::PeerFault("vote with an extension longer than a message can carry");
        }
        if self.is_next(vote.height) {
            return self.later.keep_vote(source, vote);
        }
        if vote.height.get().saturating_add(1) == self.height().get() && vote.kind == VoteKind::Precommit {
            return self.on_late_commit(vote, out);
        }
        if vote.height != self.height() {
            return Reaction::Ignored("vote of another height");
        }
        if vote.round.get().saturating_add(VIEWS_BEHIND_MAX) < self.view.get() && !mutant!("P38") {
            return Reaction::Ignored("vote of a view long past");
        }
        if let Err(why) = self.check_extension(&vote) {
            return Reaction::PeerFault(why);
        }
        match self.current.tally.judge(&vote, source) {
            Counted::Ignored(why) => return Reaction::Ignored(why),
            Counted::PeerFault(why) => return Reaction::PeerFault(why),
            Counted::Conflict(accusation) => {
                self.accuse(*accusation, out);
                return Reaction::Ignored("conflicting vote; the first one stays");
            }
            Counted::AddedBeside(accusation) => self.accuse(*accusation, out),
            Counted::Added => {}
        }
        if self.is_for_the_application(&vote) {
            return self.verify_extension(vote, source, out);
        }
        self.count_vote(source, vote, out);
        Reaction::Accepted
    }

    /// Reports an equivocator; a second key of ours somewhere is nothing to report against ourselves.
    fn accuse(&self, accusation: Accusation, out: &mut Effects<Pbft>) {
        if Some(accusation.first.validator_address) != self.current.start.own {
            out.push(Effect::Accuse(accusation));
        }
    }

    /// Reports the equivocators in the journal: what was reported before a crash waited in memory for the next block, and
    /// no peer tells us again the votes that we have.
    pub(super) fn accuse_again(&self, out: &mut Effects<Pbft>) {
        self.current.tally.conflicts().for_each(|accusation| self.accuse(accusation, out));
    }

    /// True when the application is asked whether it accepts the vote's extension. Not once the block is handed over: no
    /// question about a height may follow its FinalizeBlock, and the vote decides nothing any more.
    fn is_for_the_application(&self, vote: &Vote) -> bool {
        let state = &self.current;
        let others = Some(vote.validator_address) != state.start.own;
        let extended = vote.kind == VoteKind::Precommit && state.extensions_enabled();
        others && extended && !matches!(state.outcome, Outcome::Decided { .. })
    }

    /// Has the application look at an extension; one question for each validator and view.
    fn verify_extension(&mut self, vote: Vote, source: Source, out: &mut Effects<Pbft>) -> Reaction {
        let key = (vote.round, vote.validator_index);
        if self.current.verifying.contains_key(&key) {
            return Reaction::Ignored("this validator's extension is being looked at");
        }
        self.current.verifying.insert(key, (vote.clone(), source));
        out.push(Effect::VerifyExtension { vote, source });
        Reaction::Accepted
    }

    /// The application looked at an extension, and accepts it.
    pub(super) fn on_extension_accepted(&mut self, vote: Vote, source: Source, out: &mut Effects<Pbft>) -> Reaction {
        if !self.end_verifying(&vote) {
            return Reaction::Ignored("an extension nobody asks about");
        }
        self.count_vote(source, vote, out);
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
        self.current.verifying.remove(&key);
        true
    }

    /// Extensions are there exactly where they belong (reference §6.5).
    fn check_extension(&self, vote: &Vote) -> Result<(), &'static str> {
        let belongs = vote.kind == VoteKind::Precommit && self.current.extensions_enabled();
        match (belongs, vote.extension_signature.is_some(), vote.extension.is_empty()) {
            (true, false, _) => Err("COMMIT without the extension this height requires"),
            (false, true, _) | (false, _, false) => Err("vote with an extension that does not belong there"),
            (true, true, _) | (false, false, true) => Ok(()),
        }
    }

    /// Journals and counts a vote.
    fn count_vote(&mut self, source: Source, vote: Vote, out: &mut Effects<Pbft>) {
        let message = JournalMessage::Vote(vote.clone());
        out.push(Effect::Persist(JournalRecord::Message { source, message }));
        if Some(vote.validator_address) == self.current.start.own {
            // Ours, from before a loss of the journal: it must not be asked for again.
            self.current.own.insert((vote.round, vote.kind), OwnVote::Cast);
        }
        self.tally_vote(source, vote, out);
    }

    /// Counts a vote; the one door to the tally.
    pub(super) fn tally_vote(&mut self, source: Source, vote: Vote, out: &mut Effects<Pbft>) {
        let (height, round, kind) = (vote.height, vote.round, vote.kind);
        let before = self.current.tally.majority(round, kind);
        if !matches!(self.current.tally.add(vote.clone(), source), Counted::Added | Counted::AddedBeside(_)) {
            return;
        }
        out.push(Effect::Note(RoundNote::Vote(vote)));
        if kind == VoteKind::Prevote && before.is_none() && self.current.tally.majority(round, kind).is_some() {
            out.push(Effect::Note(RoundNote::Polka { height, round }));
        }
    }

    /// A COMMIT of the height before, for the commit that the next block carries.
    fn on_late_commit(&mut self, vote: Vote, out: &mut Effects<Pbft>) -> Reaction {
        let state = &mut self.current;
        let Some(last_commit) = state.last_commit.as_mut() else {
            return Reaction::Ignored("COMMIT of a height that is closed");
        };
        let extended = state.start.height.previous().is_some_and(|h| state.start.params.abci.extensions_enabled(h));
        if extended != vote.extension_signature.is_some() && !mutant!("P90") {
            return Reaction::Ignored("late COMMIT whose extension does not belong there or is missing");
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
        Reaction::Accepted
    }

    /// A commit: more than two thirds of the set of its height signed it. It decides its height, whatever view we are in,
    /// and it shows that its view was at work (docs/protocol/pbft.md, "What makes a view active").
    pub(super) fn on_commit(&mut self, commit: ExtendedCommit, out: &mut Effects<Pbft>) -> Reaction {
        let ours = self.height();
        if commit.height.get().saturating_add(1) == ours.get() {
            return self.follow_commit(commit.round, out);
        }
        if commit.height > ours {
            self.note_decided(commit.height, out);
            return Reaction::Ignored("commit of a height we are not at yet");
        }
        if commit.height < ours || (!self.current.is_open() && !mutant!("P40")) {
            return Reaction::Ignored("commit of a height that is decided here");
        }
        let lacks_extension = |sig: &crate::types::ExtendedCommitSig| {
            matches!(sig.sig, CommitSig::Commit(_)) && sig.extension_signature.is_none()
        };
        if self.current.extensions_enabled() && !mutant!("P39") && commit.signatures.iter().any(lacks_extension) {
            return Reaction::PeerFault("commit without the extensions this height requires");
        }
        self.decided_by(commit, out);
        Reaction::Accepted
    }

    /// Takes the decision; its block may have to be fetched.
    pub(super) fn decided_by(&mut self, commit: ExtendedCommit, out: &mut Effects<Pbft>) {
        self.current.blocks.want(commit.block_id.parts);
        self.current.outcome = Outcome::Fetching { commit };
        self.view_deadline = None;
        self.enter_step(Step::Commit, out);
    }

    /// True for the height after ours, whose messages are kept: our high watermark (§4.3).
    pub(super) fn is_next(&self, height: Height) -> bool {
        height.get() == self.height().get().saturating_add(1)
    }
}
