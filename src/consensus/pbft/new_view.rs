//! NEW-VIEW (§4.4): made by the primary of the view, recomputed by every backup.

use super::certificate::{self, view_change};
use super::{Pbft, Phase, primary_of, same_members};
use crate::consensus::tally::ROUNDS_AHEAD_MAX;
use crate::consensus::{Effect, Effects, Reaction, RoundNote, quorum};
use crate::types::{BlockId, Height, Misconduct, PbftStatement, Power, Round, Source, Statement, StatementBody, Step};

impl Pbft {
    /// The primary of the view asked for makes its NEW-VIEW as soon as VIEW-CHANGEs of more than two thirds are here.
    /// Those of greater heights are left out: their checkpoint brings us there, and then they count.
    pub(super) fn make_new_view(&mut self, out: &mut Effects<Pbft>) -> bool {
        if self.phase != (Phase::Changing { new_view_asked: false }) || !self.leads() {
            return false;
        }
        let (view, height, initial) = (self.view, self.height(), self.current.start.initial_height);
        let set = self.validators();
        let usable = self.view_changes.values().filter(|left| left.view == view && left.height <= height);
        let usable: Vec<&Statement> = usable.map(|left| &left.statement).collect();
        let members = usable.iter().filter_map(|statement| set.by_address(&statement.by));
        let power = members.fold(Power::ZERO, |sum, (_, member)| sum + member.power);
        // Counted before anything is looked into; ours must be among them (§4.4), so that the height is ours.
        let ours = usable.iter().any(|statement| Some(statement.by) == self.current.start.own);
        if !ours || !quorum::more_than_two_thirds(power, set.total_power()) {
            return false;
        }
        let holds = |statement: &&&Statement| {
            let member = set.by_address(&statement.by).is_some();
            member && view_change(statement).is_some_and(|c| certificate::supports(&c, height, initial, set).is_ok())
        };
        let view_changes: Vec<Statement> = usable.iter().filter(holds).map(|statement| (*statement).clone()).collect();
        let Ok(chosen) = certificate::recompute(&view_changes, (view, height), initial, set) else { return false };
        self.phase = Phase::Changing { new_view_asked: true };
        self.sign_statement(PbftStatement::NewView { view, height, view_changes, chosen }, out);
        true
    }

    /// A NEW-VIEW (§4.4). Backups take nothing in it on trust: they compute from its VIEW-CHANGEs what must follow.
    pub(super) fn on_new_view(&mut self, source: Source, statement: Statement, out: &mut Effects<Pbft>) -> Reaction {
        let StatementBody::Pbft(body) = &statement.body else { return Reaction::Ignored("no NEW-VIEW") };
        let PbftStatement::NewView { view, height, view_changes, chosen } = &**body else {
            return Reaction::Ignored("no NEW-VIEW");
        };
        let (view, height, told) = (*view, *height, *chosen);
        if view < self.view || (view == self.view && self.is_active()) {
            return Reaction::Ignored("NEW-VIEW of a view that is past or at work");
        }
        if view.get().saturating_sub(self.view.get()) > ROUNDS_AHEAD_MAX && !mutant!("P94") {
            return Reaction::Ignored("NEW-VIEW of a view too far ahead");
        }
        self.note_height(statement.by, height, out);
        if self.is_next(height) {
            self.take_checkpoints(view_changes, height, out);
            let ours = std::sync::Arc::clone(self.validators());
            return self.later.keep_new_view(source, view, statement, &ours);
        }
        if let Err(reaction) = self.concerns_us(height) {
            return reaction;
        }
        if statement.by != primary_of(self.validators(), view).address {
            return Reaction::PeerFault("NEW-VIEW of a replica that is not the primary of its view");
        }
        let initial = self.current.start.initial_height;
        let computed = certificate::recompute(view_changes, (view, height), initial, self.validators());
        match computed {
            Ok(computed) if computed == told || mutant!("P6") => {}
            // Only the primary can have signed this, so it is not waited for.
            wrong => {
                if view == self.view {
                    self.fail_view(out);
                }
                let misconduct = Misconduct::wrong_new_view(statement, height, view);
                out.push(Effect::Note(RoundNote::Misconduct(Box::new(misconduct))));
                return Reaction::PeerFault(
                    wrong.err().unwrap_or("NEW-VIEW that does not follow from its VIEW-CHANGEs"),
                );
            }
        }
        let chosen = told.filter(|_| height == self.height());
        view_changes.iter().filter_map(view_change).for_each(|change| self.current.note_certificate(change.prepared));
        self.enter_view(view, chosen, Some(statement), out);
        Reaction::Accepted
    }

    /// A NEW-VIEW for this height counts, and one for the height before while the set is the same: nothing above its
    /// height can have been decided in a lower view (docs/protocol/pbft.md).
    fn concerns_us(&self, height: Height) -> Result<(), Reaction> {
        let ours = self.height();
        if height == ours {
            return Ok(());
        }
        if height.get().saturating_add(1) != ours.get() {
            return Err(Reaction::Ignored("NEW-VIEW of another height"));
        }
        match self.last_validators() {
            Some(last) if same_members(last, self.validators()) || mutant!("P95") => Ok(()),
            _ => Err(Reaction::Ignored("NEW-VIEW of another validator set")),
        }
    }

    /// The commit that brings us to the height of a NEW-VIEW.
    fn take_checkpoints(&mut self, statements: &[Statement], height: Height, out: &mut Effects<Pbft>) {
        let at_height = statements.iter().filter_map(view_change).find(|change| change.height == height);
        if let Some(commit) = at_height.and_then(|change| change.checkpoint).cloned()
            && commit.height == self.height()
        {
            self.on_commit(commit, out);
        }
    }

    /// The height before was decided in this view: more than two thirds of its set were in it, so an honest member saw
    /// its NEW-VIEW. While the set is the same that is as good as seeing it.
    pub(super) fn follow_commit(&mut self, view: Round, out: &mut Effects<Pbft>) -> Reaction {
        let same = self.last_validators().is_some_and(|last| same_members(last, self.validators()));
        if !same || view < self.view || (view == self.view && self.is_active()) {
            return Reaction::Ignored("commit of the height before");
        }
        self.enter_view(view, None, None, out);
        Reaction::Accepted
    }

    /// The view is at work.
    pub(super) fn enter_view(
        &mut self,
        view: Round,
        chosen: Option<BlockId>,
        new_view: Option<Statement>,
        out: &mut Effects<Pbft>,
    ) {
        assert!(view >= self.view, "views only go up");
        let height = self.height();
        self.view = view;
        self.phase = Phase::Active { chosen };
        self.new_view = new_view.map(|statement| (height, statement));
        self.view_deadline = self.view_deadline.filter(|_| mutant!("P96"));
        self.turn_to_view();
        self.persist_standing(out);
        if self.current.is_open() {
            self.enter_step(Step::NewRound, out);
        }
        if let Some(id) = chosen {
            self.current.blocks.want(id.parts);
        }
        self.note_view(out);
        // Who lacks the block it must propose says so at once.
        if self.leads() && chosen.is_some_and(|id| self.current.blocks.block(&id).is_none()) {
            self.tell_status(out);
        }
    }
}
