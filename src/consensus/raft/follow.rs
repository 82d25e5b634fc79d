//! What a follower hears: heartbeats, entries, blocks, commits; and what it says of itself.

use super::height::{Early, Outcome};
use super::speak::To;
use super::{Leader, Line, Raft, Role, election};
use crate::consensus::blocks::PartTaken;
use crate::consensus::{Effect, Effects, Now, RECENT_BLOCKS_MAX, Reaction, RoundNote};
use crate::types::{
    Address, CommitSig, ExtendedCommit, Height, JournalMessage, JournalRecord, Misconduct, NodeId, Part, PartSet,
    Proposal, RaftStatement, Round, Source, Step,
};

/// A peer this many heights ahead is not just quicker: if nobody hands us its blocks soon, they must be fetched.
const HEIGHTS_AHEAD_TO_SYNC: u64 = 2;

/// In a Following: it answers no heartbeat. A leader counts its heartbeats from 1.
const NO_BEAT: u64 = 0;

impl Raft {
    /// What a member of the current, the last or the next set states.
    pub(super) fn on_statement(
        &mut self,
        now: Now,
        peer: NodeId,
        by: Address,
        body: RaftStatement,
        out: &mut Effects<Raft>,
    ) -> Reaction {
        if self.current.start.own == Some(by) {
            return Reaction::Ignored("our own words");
        }
        if let Some(known) = self.peers.get_mut(&peer) {
            known.address = Some(by);
        }
        match body {
            RaftStatement::RequestVote { term, election, last } => {
                self.on_request_vote(now, (by, peer), (term, election), last, out)
            }
            RaftStatement::Ballot { term, asked, election, candidate, granted, height } => {
                let ballot = election::Ballot { term, asked, election, candidate, granted, height };
                self.on_ballot(now, by, ballot, out)
            }
            RaftStatement::Heartbeat { term, height, beat } => {
                self.on_heartbeat(now, (by, peer), term, (height, beat), out)
            }
            RaftStatement::Following { term, height, entry, beat } => {
                if self.too_far(term) {
                    return Reaction::Ignored("a term too far ahead");
                }
                if term > self.term {
                    // It will not follow us, and refuses everybody of our term: only a later one brings it back.
                    self.enter_term(now, term, None, out);
                    return Reaction::Accepted;
                }
                self.on_following(now, (by, peer), term, (height, entry), beat, out)
            }
            RaftStatement::TimeoutNow { term, to } => self.on_timeout_now(now, by, (term, to), out),
            RaftStatement::ReadIndex { ticket } => self.on_read_index((by, peer), ticket),
            RaftStatement::ReadAt { ticket, to, height } => self.on_read_at(now, by, (ticket, to), height, out),
        }
    }

    /// What somebody states whose key nobody here knows: it tells where that peer is and gets answers, no more.
    pub(super) fn on_outsider(
        &mut self,
        now: Now,
        peer: NodeId,
        by: Address,
        body: RaftStatement,
        out: &mut Effects<Raft>,
    ) -> Reaction {
        match body {
            RaftStatement::Following { height, entry, .. } => self.on_progress(now, peer, (height, entry), out),
            RaftStatement::ReadIndex { ticket } => self.on_read_index((by, peer), ticket),
            // Perhaps the set has changed since our height; blocks prove themselves.
            RaftStatement::Heartbeat { height, .. } => {
                self.see_height(now, height, out);
                Reaction::Ignored("a leader of a set we do not know")
            }
            _ => Reaction::Ignored("a statement of nobody in the set"),
        }
    }

    /// §5.2: a leader speaks. Whoever hears it in its own term or a later one follows.
    fn on_heartbeat(
        &mut self,
        now: Now,
        (by, peer): (Address, NodeId),
        term: Round,
        (height, beat): (Height, u64),
        out: &mut Effects<Raft>,
    ) -> Reaction {
        if self.too_far(term) {
            return Reaction::Ignored("a term too far ahead");
        }
        self.see_height(now, height, out);
        if term < self.term {
            // §5.1: it learns of our term and steps down. Were it not told, a node with a later term and a leader with
            // an earlier one would ignore each other for ever (bug class 111).
            if !mutant!("R13") {
                self.say_following(peer, beat, out);
            }
            return Reaction::Ignored("a leader of an earlier term");
        }
        if term == self.term && self.beat_heard.is_some_and(|newest| beat <= newest && !mutant!("R29")) {
            return Reaction::Ignored("a heartbeat heard before: whoever repeats it is no leader");
        }
        if let Err(why) = self.follow(now, by, peer, term, out) {
            return Reaction::Ignored(why);
        }
        self.beat_heard = Some(beat);
        if let Some(leader) = &mut self.leader {
            leader.peer = Some(peer);
        }
        self.heard.line = Line::Open(peer);
        self.help_if_behind(now, peer, height, out);
        self.say_following(peer, beat, out);
        Reaction::Accepted
    }

    /// Follows the leader of `term`, which is ours or later: there is one leader a term (§5.2, election safety).
    fn follow(
        &mut self,
        now: Now,
        by: Address,
        peer: NodeId,
        term: Round,
        out: &mut Effects<Raft>,
    ) -> Result<(), &'static str> {
        if term > self.term {
            self.enter_term(now, term, None, out);
        }
        match self.leader {
            Some(leader) if leader.address != by && !mutant!("R30") => {
                return Err("another leader of a term that has one");
            }
            Some(_) if matches!(self.role, Role::Leader(_)) => return Err("we lead"),
            // Only a new heartbeat shows on which connection it speaks.
            Some(_) => {}
            None => {
                self.role = Role::Follower;
                self.leader = Some(Leader { address: by, peer: Some(peer) });
                self.heard.line = Line::Open(peer);
                self.note_leader(out);
            }
        }
        if !mutant!("R36") {
            self.heard.at = now.tick;
        }
        self.attempt = 0;
        self.reset_election(now);
        Ok(())
    }

    fn say_following(&mut self, peer: NodeId, beat: u64, out: &mut Effects<Raft>) {
        let (term, height, entry) = (self.term, self.height(), self.current.complete_in());
        self.say(To::Peer(peer), RaftStatement::Following { term, height, entry, beat }, out);
    }

    /// Tells the leader where we are without being asked: at a new height it has something to send.
    pub(super) fn report(&mut self, out: &mut Effects<Raft>) {
        if let Some(Leader { peer: Some(peer), .. }) = self.leader {
            self.say_following(peer, self.beat_heard.unwrap_or(NO_BEAT), out);
        }
    }

    /// No leader is heard, and we may not stand: tells everybody where we are, because whoever is one block ahead helps.
    /// Without this, a node that is to be a voter of the next set and lacks the block before could be waited for by all.
    pub(super) fn call_for_help(&mut self, now: Now, out: &mut Effects<Raft>) {
        self.leader = None;
        self.reset_election(now);
        let peers: Vec<NodeId> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.say_following(peer, NO_BEAT, out));
    }

    /// The leader's entry for this height (§5.3). Only one a term: it is signed once.
    pub(super) fn on_proposal(
        &mut self,
        now: Now,
        peer: NodeId,
        by: Address,
        proposal: Proposal,
        out: &mut Effects<Raft>,
    ) -> Reaction {
        let (height, round) = (proposal.height, proposal.round);
        let total = u64::from(proposal.block_id.parts.total);
        if proposal.pol_round.is_some() || total == 0 || total > self.current.blocks.parts_max() {
            return Reaction::PeerFault("entry justified by votes, or with more parts than a block may have, or none");
        }
        if self.too_far(round) || (round < self.term && !mutant!("R5")) {
            return Reaction::Ignored("entry of an earlier term, or of one too far ahead");
        }
        self.see_height(now, height, out);
        if height != self.height() || (self.validators().by_address(&by).is_none() && !mutant!("R35")) {
            return Reaction::Ignored("entry of another height, or of nobody who may lead");
        }
        // Somebody may repeat what the leader said: an entry seen before does not show that it is alive.
        if let Some(first) = self.current.proposal.as_ref().filter(|first| first.round == round) {
            if first.block_id == proposal.block_id {
                if !mutant!("R32") {
                    self.repeat_ack(out);
                }
                return Reaction::Ignored("entry seen before");
            }
            let misconduct = Misconduct::two_proposals(by, first, &proposal).map(Box::new);
            out.extend(misconduct.map(|it| Effect::Note(RoundNote::Misconduct(it))));
            return Reaction::Ignored("a second entry of one term");
        }
        if let Err(why) = self.follow(now, by, peer, round, out) {
            return Reaction::Ignored(why);
        }
        let block_id = proposal.block_id;
        self.current.blocks.want(block_id.parts);
        self.current.proposal = Some(proposal.clone());
        self.current.prune_blocks();
        let (source, message) = (Source::Peer(peer), JournalMessage::Proposal(proposal));
        if !mutant!("R33") {
            out.push(Effect::Persist(JournalRecord::Message { source, message }));
        }
        self.enter_step(Step::Propose, out);
        self.note_if_complete(out);
        Reaction::Accepted
    }

    /// A part of a block.
    pub(super) fn on_part(
        &mut self,
        peer: NodeId,
        (height, round): (Height, Round),
        part: Part,
        out: &mut Effects<Raft>,
    ) -> Reaction {
        if height != self.height() {
            return self.on_early_part(height, part);
        }
        let taken = self.current.blocks.add(part.clone());
        match taken {
            PartTaken::Ignored(why) => return Reaction::Ignored(why),
            PartTaken::PeerFault(why) => return Reaction::PeerFault(why),
            PartTaken::Added | PartTaken::Completed => {}
        }
        let (source, message) = (Source::Peer(peer), JournalMessage::Part { height, round, part });
        if !mutant!("R3") {
            out.push(Effect::Persist(JournalRecord::Message { source, message }));
        }
        if taken == PartTaken::Completed {
            self.note_if_complete(out);
        }
        Reaction::Accepted
    }

    /// A part of the next height's block, which is decided: whoever is behind is handed it while it applies this one.
    fn on_early_part(&mut self, height: Height, part: Part) -> Reaction {
        let early = self.current.early.as_mut().filter(|early| early.commit.height == height);
        let Some(set) = early.and_then(|early| early.parts.as_mut()) else {
            return Reaction::Ignored("part of a block of another height");
        };
        let Ok(root) = part.proof.root() else { return Reaction::PeerFault("part whose proof leads nowhere") };
        let header = set.header();
        if root != header.hash || part.proof.total != u64::from(header.total) {
            return Reaction::Ignored("part of another block");
        }
        match set.add(part) {
            Ok(true) => Reaction::Accepted,
            Ok(false) => Reaction::Ignored("part seen before"),
            Err(_) => Reaction::PeerFault("part that contradicts its own proof"),
        }
    }

    pub(super) fn note_if_complete(&self, out: &mut Effects<Raft>) {
        let Some(proposal) = &self.current.proposal else { return };
        let (height, round, block_id) = (proposal.height, proposal.round, proposal.block_id);
        if self.current.blocks.block(&block_id).is_some() {
            out.push(Effect::Note(RoundNote::CompleteProposal { height, round, block_id }));
        }
    }

    /// More than half of the power acknowledged a block (§5.3): whoever knows may decide, in whatever term it is.
    pub(super) fn on_commit(&mut self, now: Now, commit: ExtendedCommit, out: &mut Effects<Raft>) -> Reaction {
        let height = commit.height;
        self.see_height(now, height, out);
        if height != self.height() {
            if height.previous() == Some(self.height()) {
                self.keep_early(commit);
            }
            return Reaction::Ignored("commit of another height");
        }
        // Whoever checked it may have done so a height below, where nobody knows yet whether this one has extensions.
        if self.current.extensions_enabled() && !has_extensions(&commit) && !mutant!("R80") {
            return Reaction::PeerFault("commit without the extensions this height requires");
        }
        let total = u64::from(commit.block_id.parts.total);
        if !self.is_open() || total == 0 || total > self.current.blocks.parts_max() {
            return Reaction::Ignored("commit of a height that is decided, or of no block");
        }
        self.current.blocks.want(commit.block_id.parts);
        self.current.outcome = Outcome::Fetching(commit);
        self.enter_step(Step::Commit, out);
        Reaction::Accepted
    }

    fn keep_early(&mut self, commit: ExtendedCommit) {
        let (block_id, parts_max) = (commit.block_id, self.current.blocks.parts_max());
        if let Some(early) = self.current.early.as_mut().filter(|early| early.commit.block_id == block_id) {
            // Its parts stay. The block before it may yet require extensions.
            if !has_extensions(&early.commit) && !mutant!("R82") {
                early.commit = commit;
            }
            return;
        }
        let total = u64::from(block_id.parts.total);
        let parts = if total <= parts_max { PartSet::gather(block_id.parts) } else { None };
        self.current.early = Some(Early { commit, parts }).filter(|_| !mutant!("R34"));
    }

    /// What came early of this height counts now.
    pub(super) fn take_early(&mut self, now: Now, early: Early, out: &mut Effects<Raft>) {
        let Early { commit, parts } = early;
        if self.on_commit(now, commit, out) == Reaction::Accepted {
            for part in parts.iter().flat_map(PartSet::parts) {
                self.current.blocks.add(part.clone());
            }
        }
    }

    /// Has blocks fetched when somebody is further ahead than blocks are handed on, or well ahead while we get nowhere;
    /// again only after a while, or for more.
    pub(super) fn see_height(&mut self, now: Now, height: Height, out: &mut Effects<Raft>) {
        let ours = self.height();
        let behind = height.get().saturating_sub(ours.get());
        let patience = self.current.start.timeouts.election;
        let handed_on = behind <= RECENT_BLOCKS_MAX as u64 && now.tick.since(self.current.began_at) < patience;
        if behind < HEIGHTS_AHEAD_TO_SYNC || handed_on {
            return;
        }
        let asked = self.sync_asked.is_some_and(|(to, at)| to >= height && now.tick.since(at) < patience);
        if !asked || mutant!("R102") {
            self.sync_asked = Some((height, now.tick));
            out.push(Effect::RequestSync(height.previous().unwrap_or(ours)));
        }
    }
}

/// True when every precommit for the block has its extension.
fn has_extensions(commit: &ExtendedCommit) -> bool {
    let mut precommits = commit.signatures.iter().filter(|entry| matches!(entry.sig, CommitSig::Commit(_)));
    precommits.all(|entry| entry.extension_signature.is_some())
}
