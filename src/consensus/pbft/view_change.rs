//! VIEW-CHANGE (§4.4): leaving a view, and following those who leave (§4.5.2).

use super::certificate::{self, view_change};
use super::height::Proposing;
use super::propose::say;
use super::{Pbft, Phase, next_view};
use crate::consensus::tally::ROUNDS_AHEAD_MAX;
use crate::consensus::{Direct, Effect, Effects, Reaction, RoundNote, quorum};
use crate::crypto::Verified;
use crate::types::{
    Address, BlockId, Height, PartSetHeader, PbftStatement, Power, PreparedCertificate, Round, Statement,
    StatementBody, Step, TimerId, VoteKind, place,
};

/// VIEW-CHANGEs kept of members of the next set that are not in ours.
const STRANGERS_MAX: usize = 256;
/// Blocks kept because we PREPAREd them, of so many views. An honest primary decides long before.
const PREPARED_KEPT_MAX: usize = 16;

/// The newest VIEW-CHANGE of a replica.
#[derive(Debug, Clone)]
pub(super) struct Left {
    pub(super) view: Round,
    pub(super) height: Height,
    pub(super) statement: Statement,
}

impl Pbft {
    /// A VIEW-CHANGE of a peer.
    pub(super) fn on_view_change(&mut self, statement: Statement, out: &mut Effects<Pbft>) -> Reaction {
        let Some(change) = view_change(&statement) else { return Reaction::Ignored("no VIEW-CHANGE") };
        let (by, view, height) = (change.by, change.view, change.height);
        let checkpoint = change.checkpoint.filter(|commit| commit.height.get().saturating_add(1) == height.get());
        let checkpoint = checkpoint.cloned();
        if view.get().saturating_sub(self.view.get()) > ROUNDS_AHEAD_MAX && !mutant!("P29") {
            return Reaction::Ignored("VIEW-CHANGE for a view too far ahead");
        }
        let initial = self.current.start.initial_height;
        let judged = certificate::supports(&change, height, initial, self.validators());
        if let (true, Err(why)) = (height == self.height() && !mutant!("P30"), judged) {
            return Reaction::PeerFault(why);
        }
        self.current.note_certificate(change.prepared);
        self.note_height(by, height, out);
        // The stable checkpoint (§4.3) is a commit: it may be what we lack.
        if let Some(commit) = checkpoint.filter(|commit| commit.height.get().saturating_add(1) >= self.height().get()) {
            self.on_commit(commit, out);
        }
        if view < self.view || (view == self.view && self.is_active()) {
            return Reaction::Ignored("VIEW-CHANGE for a view that is past or at work");
        }
        if !self.has_room_for(&by, height) {
            return Reaction::Ignored("VIEW-CHANGE of one who is no member");
        }
        if self
            .view_changes
            .get(&by)
            .is_some_and(|known| (known.view, known.height) >= (view, height) && !mutant!("P31"))
        {
            return Reaction::Ignored("VIEW-CHANGE seen before");
        }
        self.view_changes.insert(by, Left { view, height, statement });
        Reaction::Accepted
    }

    /// Members have a place each; those of the next set have some, until that set is ours.
    fn has_room_for(&self, by: &Address, height: Height) -> bool {
        let set = self.validators();
        if set.by_address(by).is_some() || self.view_changes.contains_key(by) {
            return true;
        }
        let strangers = self.view_changes.keys().filter(|known| set.by_address(known).is_none()).count();
        self.is_next(height) && (strangers < STRANGERS_MAX || mutant!("P32"))
    }

    /// Power of the members that asked for this view or a later one.
    pub(super) fn power_behind(&self, view: Round) -> Power {
        let set = self.validators();
        let asked = self.view_changes.iter().filter(|(_, left)| left.view >= view || mutant!("P33"));
        let members = asked.filter_map(|(by, _)| set.by_address(by));
        members.fold(Power::ZERO, |sum, (_, member)| sum + member.power)
    }

    /// §4.5.2: more than a third want later views, so an honest replica does: join the smallest of theirs now, or the
    /// next view change would start too late. Done until no more than a third is ahead, this ends at the highest view
    /// that more than a third are at or beyond.
    pub(super) fn join_view_change(&mut self, out: &mut Effects<Pbft>) -> bool {
        if self.current.own_seat().is_none() {
            return false;
        }
        let total = self.validators().total_power();
        let later = self.view_changes.values().map(|left| left.view).filter(|view| *view > self.view);
        let joined =
            later.filter(|view| quorum::more_than_one_third(self.power_behind(*view), total) || mutant!("P13")).max();
        let Some(view) = joined else { return false };
        self.failures = self.failures.saturating_add(1);
        self.leave_for(view, out);
        true
    }

    /// The view decided nothing in time, or its primary showed itself faulty.
    pub(super) fn fail_view(&mut self, out: &mut Effects<Pbft>) -> bool {
        let next = next_view(self.view);
        if next == self.view || self.current.own_seat().is_none() || !self.current.is_open() {
            return false;
        }
        let timer = TimerId { height: self.height(), round: self.view, step: Step::Propose };
        out.push(Effect::Note(RoundNote::Timeout { timer }));
        self.failures = self.failures.saturating_add(1);
        self.leave_for(next, out);
        true
    }

    /// §4.4: stops taking part in all views below `view`, and says so with what was prepared.
    fn leave_for(&mut self, view: Round, out: &mut Effects<Pbft>) {
        assert!(view > self.view, "views only go up");
        self.view = view;
        self.phase = Phase::Changing { new_view_asked: false };
        self.new_view = None;
        self.view_deadline = None;
        self.turn_to_view();
        if !mutant!("P14") {
            self.persist_standing(out);
        }
        self.enter_step(Step::NewRound, out);
        self.ask_for_view(out);
    }

    /// What a change of view means for the state of the height.
    pub(super) fn turn_to_view(&mut self) {
        let view = self.view;
        let state = &mut self.current;
        state.proposing = Proposing::No;
        state.tally.enter(view);
        // A quorum with f liars may have prepared what we refused, and every later view must propose it again (§4.4).
        state.blocks.forget_refusals();
        // The view before stays: one who left it alone still sees what is decided there.
        let kept = |round: &Round| round.get().saturating_add(1) >= view.get();
        state.proposals.retain(|round, _| kept(round));
        state.conflicting.retain(kept);
        self.prune_blocks();
        self.forget_old_view_changes();
    }

    /// Forgets blocks no rule can need any more. That of the highest certificate stays, whoever has shown it: a NEW-VIEW
    /// may want it in any later view. Those we PREPAREd stay, too: a replica that hid its own PREPARE may show a certificate
    /// for one of them views later, and then the block must be somewhere, or one liar stops everybody.
    fn prune_blocks(&mut self) {
        let prepared = self.highest_prepared(next_view(self.view));
        let decided = self.current.commit().map(|commit| commit.block_id);
        let proposed = self.current.proposals.values().map(|proposal| proposal.block_id);
        let shown = self.current.certified;
        let certified = prepared.into_iter().chain(shown).map(|(_, id)| id);
        let needed = proposed.chain(certified).chain(decided).chain(self.chosen());
        let needed: Vec<PartSetHeader> = needed.chain(self.prepared_by_us()).map(|id| id.parts).collect();
        self.current.blocks.retain(&needed);
    }

    /// What we PREPAREd at this height, in the newest views.
    fn prepared_by_us(&self) -> Vec<BlockId> {
        let Some((index, _)) = self.current.own_seat() else { return Vec::new() };
        let tally = &self.current.tally;
        let vote = |view: Round| tally.set(view, VoteKind::Prevote)?.by_index(index)?.block_id;
        let mut ids: Vec<BlockId> = tally.rounds().filter_map(vote).collect();
        ids.split_off(ids.len().saturating_sub(PREPARED_KEPT_MAX))
    }

    /// Forgets VIEW-CHANGEs that can neither be joined nor make a NEW-VIEW.
    pub(super) fn forget_old_view_changes(&mut self) {
        let (view, changing) = (self.view, !self.is_active());
        self.view_changes.retain(|_, left| left.view > view || (left.view == view && changing));
    }

    /// Signs our VIEW-CHANGE. The standing that goes with it is in the journal.
    pub(super) fn ask_for_view(&mut self, out: &mut Effects<Pbft>) {
        if self.current.own_seat().is_none() || self.is_active() {
            return;
        }
        let body = PbftStatement::ViewChange {
            view: self.view,
            height: self.height(),
            checkpoint: self.current.start.last_commit.clone(),
            prepared: self.certificate_below(self.view).filter(|_| !mutant!("P10")),
        };
        self.sign_statement(body, out);
    }

    /// The block prepared at this height in the highest view below this one.
    pub(super) fn highest_prepared(&self, below: Round) -> Option<(Round, BlockId)> {
        let tally = &self.current.tally;
        let views = tally.rounds().filter(|view| *view < below && !(mutant!("P36") && view.get() > 0));
        views.filter_map(|view| Some((view, tally.majority(view, VoteKind::Prevote)??))).max_by_key(|(view, _)| *view)
    }

    /// The certificate a VIEW-CHANGE carries (§4.4, the set P). Every PREPARE in it is in the journal.
    fn certificate_below(&self, below: Round) -> Option<PreparedCertificate> {
        let (view, block_id) = self.highest_prepared(below)?;
        let set = self.current.tally.set(view, VoteKind::Prevote)?;
        let vote = |index: usize| set.vote_for(place(index), Some(&block_id)).cloned();
        let prepares = (0..set.votes().len()).filter_map(vote).collect();
        Some(PreparedCertificate { height: self.height(), view, block_id, prepares })
    }

    /// A statement of ours is signed.
    pub(super) fn on_own_statement(&mut self, statement: Statement, out: &mut Effects<Pbft>) -> Reaction {
        let StatementBody::Pbft(body) = &statement.body else {
            return Reaction::Ignored("a statement of another protocol");
        };
        let here = |height: Height, view: Round| (height, view) == (self.height(), self.view);
        match &**body {
            PbftStatement::ViewChange { view, height, .. } if here(*height, *view) && !self.is_active() => {
                let left = Left { view: *view, height: *height, statement: statement.clone() };
                self.view_changes.insert(statement.by, left);
            }
            PbftStatement::NewView { view, height, chosen, .. } if here(*height, *view) && !self.is_active() => {
                let (view, chosen) = (*view, *chosen);
                out.push(Effect::Broadcast(Direct::Statement(Verified::trusted(statement.clone()))));
                self.enter_view(view, chosen, Some(statement), out);
                return Reaction::Accepted;
            }
            PbftStatement::Status { view, height, .. } if here(*height, *view) => {
                say(self.catch_up.addressee(), Direct::Statement(Verified::trusted(statement)), out);
                return Reaction::Accepted;
            }
            _ => return Reaction::Ignored("a statement that is past"),
        }
        out.push(Effect::Broadcast(Direct::Statement(Verified::trusted(statement))));
        Reaction::Accepted
    }
}
