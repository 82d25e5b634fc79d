//! Where replicas stand, what they lack, and who sends it (thesis §5.2): nothing here depends on a message arriving.

use super::propose::{say, tell_parts};
use super::{Pbft, timers};
use crate::consensus::{Direct, Effects, Now, Reaction, Tick};
use crate::crypto::Verified;
use crate::types::{
    CandidateBlock, ExtendedCommit, Height, NodeId, PbftStatement, Proposal, Round, Source, Statement, StatementBody,
    VoteKind,
};
use std::sync::Arc;

/// Peers whose standing is remembered; a node has far fewer connections.
pub(super) const PEERS_MAX: usize = 1024;

/// What is known of a peer.
#[derive(Debug, Clone, Default)]
pub(super) struct PeerState {
    /// The height it was last helped at, and when: a status is small and its answer may be large.
    helped: Option<(Height, Tick)>,
    /// The last decided height whose block or commit it was sent.
    served: Option<Height>,
    /// The highest height it spoke of. Its word, and nothing more.
    pub(super) at: Option<Height>,
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
        matches!(times, 1 | 4 | 16) || times.is_multiple_of(64) || mutant!("P51")
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
        if !self.peers.contains_key(&peer) && self.peers.len() >= PEERS_MAX && !mutant!("P44") {
            return Reaction::Ignored("status of one peer too many");
        }
        if place.height > self.height() {
            return Reaction::Ignored("status of a peer that is ahead");
        }
        // Once for each height; what is asked for again may be on its way. A peer that goes back in heights asks again.
        let heartbeat = timers::heartbeat(&self.current.start.timeouts);
        let pause = if place.height == self.height() && self.current.is_open() { heartbeat / 2 } else { heartbeat };
        let state = self.peers.entry(peer).or_default();
        let soon = |(known, at): (Height, Tick)| place.height <= known && now.tick.since(at) < pause;
        if state.helped.is_some_and(soon) && !mutant!("P43") {
            return Reaction::Ignored("status so soon after another");
        }
        state.helped = Some((place.height, now.tick));
        self.help(peer, place, out);
        Reaction::Accepted
    }

    fn help(&mut self, peer: NodeId, place: Place<'_>, out: &mut Effects<Pbft>) {
        if let Some((commit, block)) = self.decided_at(place.height) {
            let state = self.peers.entry(peer).or_default();
            state.served = Some(place.height);
            return send_decided(peer, state, commit, block, place.proposal, out);
        }
        if place.height != self.height() {
            return;
        }
        self.send_view(peer, place, out);
        if place.view <= self.view && self.is_active() {
            self.send_proposal(peer, place, out);
            self.send_own_votes(peer, out);
        }
    }

    /// What lets a peer at this height decide it, as far as it is here.
    fn decided_at(&self, height: Height) -> Option<(ExtendedCommit, Option<Arc<CandidateBlock>>)> {
        if height == self.height() {
            let commit = self.current.commit()?;
            return Some((commit.clone(), self.current.blocks.block(&commit.block_id).cloned()));
        }
        if let Some((block, commit)) = self.recent.get(height) {
            return Some((commit.clone(), Some(Arc::clone(block))));
        }
        let last = self.current.start.last_commit.as_ref().filter(|commit| commit.height == height)?;
        Some((last.clone(), None))
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
        if let Some((_, new_view)) = self.new_view.as_ref().filter(|_| self.is_active() && !mutant!("P49")) {
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
        // What it says of itself does not start the count anew: one that has the block and lacks it in turn would be sent
        // it for ever.
        let Some(block) = block.filter(|_| !has) else { return };
        let times = match state.lacks {
            Some((height, view, times)) if (height, view) == at => times.saturating_add(1),
            _ => 1,
        };
        state.lacks = Some((at.0, at.1, times));
        // Whom we helped up to here cannot have heard the first copy.
        let arrived = times == 1 && state.served.is_some() && state.served == at.0.previous();
        // The primary that lacks the block its NEW-VIEW wants cannot go on without it.
        let primary_lacks = proposal.is_none();
        let patience = if leads { 2 } else { 4 };
        match proposal {
            Some(proposal) if arrived || (times >= patience && times.is_power_of_two()) => {
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
}

/// The commit that lets a peer decide, and the block unless it says that it has it.
fn send_decided(
    peer: NodeId,
    state: &mut PeerState,
    commit: ExtendedCommit,
    block: Option<Arc<CandidateBlock>>,
    theirs: Option<&Proposal>,
    out: &mut Effects<Pbft>,
) {
    let has = theirs.is_some_and(|proposal| proposal.block_id == commit.block_id);
    let at = (commit.height, commit.round);
    say(Some(peer), Direct::Commit(Verified::trusted(commit)), out);
    let Some(block) = block.filter(|_| !has) else { return };
    if state.is_block_due(at.0) {
        tell_parts(Some(peer), at, &block, out);
    }
}
