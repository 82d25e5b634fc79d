//! Where replicas stand, what they lack, and who sends it (thesis §5.2): nothing here depends on a message arriving.

use super::propose::{say, tell_parts};
use super::{Pbft, timers};
use crate::consensus::{Direct, Effect, Effects, Now, Reaction, Tick, quorum};
use crate::crypto::Verified;
use crate::types::{
    Address, CandidateBlock, ExtendedCommit, Height, NodeId, PbftStatement, Power, Proposal, Round, Source, Statement,
    StatementBody, VoteKind,
};
use std::sync::Arc;

/// More than a third of the power this many heights ahead: its blocks must be fetched.
const HEIGHTS_AHEAD_TO_SYNC: u64 = 2;
/// Peers whose standing is remembered; a node has far fewer connections.
const PEERS_MAX: usize = 1024;
/// Statuses due since a height was decided without its block, before the block is fetched.
pub(super) const STATUSES_BEFORE_FETCHING: u32 = 3;

/// What is known of a peer.
#[derive(Debug, Clone, Default)]
pub(super) struct PeerState {
    /// When it was last helped: a status is small and its answer may be large.
    helped_at: Option<Tick>,
    /// The height and view whose proposal it lacks, and how often it said so.
    lacks: Option<(Height, Round, u32)>,
    /// The decided height it is at, and how often it said so without the block.
    decided: Option<(Height, u32)>,
}

impl PeerState {
    /// Whether to send a decided block to a peer that says again that it lacks it: at once, then ever more rarely. It says
    /// so ten times a second, and the first copy may take seconds; more would fill its queue, and it would be dropped.
    fn is_block_due(&mut self, height: Height) -> bool {
        let times = match self.decided {
            Some((known, _)) if known > height => return false, // no honest peer goes back
            Some((known, times)) if known == height => times.saturating_add(1),
            _ => 1,
        };
        self.decided = Some((height, times));
        matches!(times, 1 | 4 | 16) || times.is_multiple_of(64)
    }
}

/// A status, opened.
#[derive(Clone, Copy)]
struct Place<'a> {
    view: Round,
    height: Height,
    active: bool,
    proposal: Option<&'a Proposal>,
}

impl Pbft {
    /// A peer is there: say where we stand; what it lacks it will say itself.
    pub(super) fn on_peer_up(&mut self, peer: NodeId, out: &mut Effects<Pbft>) -> Reaction {
        if self.peers.len() < PEERS_MAX {
            self.peers.insert(peer, PeerState::default());
        }
        self.tell_status(out);
        Reaction::Accepted
    }

    /// Signs where we stand.
    pub(super) fn tell_status(&self, out: &mut Effects<Pbft>) {
        let complete = |proposal: &&Proposal| self.current.blocks.block(&proposal.block_id).is_some();
        let proposal = self.current.proposals.get(&self.view).filter(complete);
        let body = PbftStatement::Status {
            view: self.view,
            height: self.height(),
            active: self.is_active(),
            proposal: proposal.map(|proposal| Box::new(proposal.clone())),
        };
        self.sign_statement(body, out);
    }

    /// What somebody says who is in no set: it counts for nothing, but a learner is helped like anybody.
    pub(super) fn on_outsider(
        &mut self,
        now: Now,
        source: Source,
        statement: &Statement,
        out: &mut Effects<Pbft>,
    ) -> Reaction {
        match &statement.body {
            StatementBody::Pbft(body) if matches!(**body, PbftStatement::Status { .. }) => {
                self.on_status(now, source, body, out)
            }
            _ => Reaction::Ignored("a statement of one who is no member"),
        }
    }

    /// A peer says where it stands.
    pub(super) fn on_status(
        &mut self,
        now: Now,
        source: Source,
        body: &PbftStatement,
        out: &mut Effects<Pbft>,
    ) -> Reaction {
        let PbftStatement::Status { view, height, active, proposal } = body else {
            return Reaction::Ignored("no status");
        };
        let Source::Peer(peer) = source else { return Reaction::Ignored("our own status") };
        let place = Place { view: *view, height: *height, active: *active, proposal: proposal.as_deref() };
        let often = timers::heartbeat(&self.current.start.timeouts) / 2;
        if !self.peers.contains_key(&peer) && self.peers.len() >= PEERS_MAX {
            return Reaction::Ignored("status of one peer too many");
        }
        let state = self.peers.entry(peer).or_default();
        if state.helped_at.is_some_and(|at| now.tick.since(at) < often) {
            return Reaction::Ignored("status so soon after another");
        }
        state.helped_at = Some(now.tick);
        self.help(peer, place, out);
        Reaction::Accepted
    }

    fn help(&mut self, peer: NodeId, place: Place<'_>, out: &mut Effects<Pbft>) {
        let ours = self.height();
        if place.height.get().saturating_add(1) == ours.get() {
            return self.send_last_height(peer, place.proposal, out);
        }
        if place.height != ours {
            return;
        }
        if let Some(commit) = self.current.commit().cloned() {
            let block = self.current.blocks.block(&commit.block_id).cloned();
            return self.send_decided(peer, commit, block, place.proposal, out);
        }
        self.send_view(peer, place, out);
        if place.view <= self.view && self.is_active() {
            self.send_proposal(peer, place, out);
            self.send_own_votes(peer, out);
        }
    }

    /// The commit that lets a peer one height behind decide, and the block it lacks.
    fn send_last_height(&mut self, peer: NodeId, proposal: Option<&Proposal>, out: &mut Effects<Pbft>) {
        let Some(commit) = self.current.start.last_commit.clone() else { return };
        let block = self.current.start.last_block.clone();
        self.send_decided(peer, commit, block, proposal, out);
    }

    fn send_decided(
        &mut self,
        peer: NodeId,
        commit: ExtendedCommit,
        block: Option<Arc<CandidateBlock>>,
        theirs: Option<&Proposal>,
        out: &mut Effects<Pbft>,
    ) {
        let has = theirs.is_some_and(|proposal| proposal.block_id == commit.block_id);
        let at = (commit.height, commit.round);
        say(Some(peer), Direct::Commit(Verified::trusted(commit)), out);
        let Some(block) = block.filter(|_| !has) else { return };
        if self.peers.entry(peer).or_default().is_block_due(at.0) {
            tell_parts(Some(peer), at, &block, out);
        }
    }

    /// What brings a peer of a lower or not yet active view into ours.
    fn send_view(&self, peer: NodeId, place: Place<'_>, out: &mut Effects<Pbft>) {
        let behind = place.view < self.view || (place.view == self.view && !place.active);
        if !behind {
            return;
        }
        let own = self.current.start.own;
        let own_change = own.and_then(|own| self.view_changes.get(&own)).filter(|left| left.view == self.view);
        if let Some(left) = own_change.filter(|_| !self.is_active()) {
            say(Some(peer), Direct::Statement(Verified::trusted(left.statement.clone())), out);
        }
        if let Some((_, new_view)) = self.new_view.as_ref().filter(|_| self.is_active()) {
            say(Some(peer), Direct::Statement(Verified::trusted(new_view.clone())), out);
        }
        let mandate = self.current.start.last_commit.clone().filter(|commit| commit.round == self.view);
        if let Some(commit) = mandate.filter(|_| self.is_active()) {
            say(Some(peer), Direct::Commit(Verified::trusted(commit)), out);
        }
    }

    /// The proposal of this view, when the peer lacks it for a while: the first copy may just be slow. The primary answers
    /// the second time, the others the fourth; then ever more rarely.
    fn send_proposal(&mut self, peer: NodeId, place: Place<'_>, out: &mut Effects<Pbft>) {
        let at = (self.height(), self.view);
        let proposal = self.current.proposals.get(&self.view).cloned();
        let wanted = proposal.as_ref().map(|proposal| proposal.block_id).or(self.chosen());
        let block = wanted.and_then(|id| self.current.blocks.block(&id).cloned());
        let has = place.proposal.is_some_and(|theirs| Some(theirs.block_id) == wanted);
        let leads = self.leads();
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some(block) = block.filter(|_| !has) else {
            state.lacks = None;
            return;
        };
        let times = match state.lacks {
            Some((height, view, times)) if (height, view) == at => times.saturating_add(1),
            _ => 1,
        };
        state.lacks = Some((at.0, at.1, times));
        // The primary that lacks the block its NEW-VIEW wants cannot go on without it.
        let primary_lacks = proposal.is_none();
        let patience = if leads { 2 } else { 4 };
        match proposal {
            Some(proposal) if times >= patience && times.is_power_of_two() => {
                self.tell_proposal(Some(peer), &proposal, &block, out);
            }
            None if primary_lacks && times.is_power_of_two() => tell_parts(Some(peer), at, &block, out),
            _ => {}
        }
    }

    fn send_own_votes(&self, peer: NodeId, out: &mut Effects<Pbft>) {
        let Some((index, _)) = self.current.own_seat() else { return };
        for kind in [VoteKind::Prevote, VoteKind::Precommit] {
            let vote = self.current.tally.set(self.view, kind).and_then(|set| set.by_index(index)).cloned();
            if let Some(vote) = vote {
                say(Some(peer), Direct::Vote(Verified::trusted(vote)), out);
            }
        }
    }

    /// Notes at which height a member was seen, and has blocks fetched when more than a third, so an honest one, is well
    /// ahead. One replica's word is not enough: it could stop us at will.
    pub(super) fn note_height(&mut self, by: Address, height: Height, out: &mut Effects<Pbft>) {
        if height <= self.height() || self.validators().by_address(&by).is_none() {
            return;
        }
        let known = self.heights.entry(by).or_insert(height);
        if *known > height {
            return;
        }
        *known = height;
        let far = Height::new(self.height().get().saturating_add(HEIGHTS_AHEAD_TO_SYNC).min(Height::MAX.get()));
        let total = self.validators().total_power();
        let ahead = self.heights.values().filter(|seen| **seen >= far && self.height() < far);
        let reached = ahead.filter(|seen| quorum::more_than_one_third(self.power_at(**seen), total)).max().copied();
        if let Some(below) = reached.and_then(Height::previous) {
            self.request_sync(below, out);
        }
    }

    fn power_at(&self, height: Height) -> Power {
        let set = self.validators();
        let there = self.heights.iter().filter(|(_, seen)| **seen >= height);
        there.filter_map(|(by, _)| set.by_address(by)).fold(Power::ZERO, |sum, (_, member)| sum + member.power)
    }

    /// Has blocks fetched up to this height, once.
    pub(super) fn request_sync(&mut self, height: Height, out: &mut Effects<Pbft>) {
        if height > self.sync_hint {
            self.sync_hint = height;
            out.push(Effect::RequestSync(height));
        }
    }
}
