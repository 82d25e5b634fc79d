//! Leading: heartbeats, who is where, who gets what, and when to give up (§5.2, §5.3; thesis §3.10, §6.2).

use super::election::promise;
use super::height::{OwnAck, Proposing};
use super::read::Reads;
use super::speak::To;
use super::{Raft, Role, majority};
use crate::consensus::{Direct, Effect, Effects, EmptyBlocks, Now, Reaction, Tick};
use crate::crypto::Verified;
use crate::types::{
    Address, CandidateBlock, Election, ExtendedCommit, Height, NodeId, RaftStatement, Round, ValidatorSet,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Peers a leader keeps track of.
pub(super) const PEERS_MAX: usize = 1024;
/// Heartbeats nobody answered whose sending time is kept for the lease.
const BEATS_MAX: usize = 64;
/// Bytes a second at least that a peer is given to take what was sent, before it is sent again: a block is up to 100 MiB,
/// and the queue to a peer holds one of those. Who takes less is dropped by its full queue, not by our impatience.
const RESEND_RATE: u64 = 1 << 20;
/// Decided blocks a peer that is behind is handed at once: the one it is at, and the one it needs as soon as that is applied.
/// Whoever waits for each over a round trip hardly gains on a chain that decides one a round trip.
const HANDED_AT_ONCE: u64 = 2;
/// What is sent again is sent again after an election timeout, then after twice as long, up to this many times as long.
const RESEND_FACTOR_MAX: u32 = 4;

/// How a leadership ends before a later term comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transfer {
    /// Not planned.
    No,
    /// As soon as somebody fit is here; given up at this time.
    Wanted { to: Option<Address>, until: Tick },
    /// Somebody was told to stand; we lead on if nothing came of it by this time.
    Told { until: Tick },
}

/// Whether the lease can be trusted: whoever was told to stand may be elected at any time (thesis §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaseRule {
    Holds,
    VoidForThisTerm,
}

/// What a leader knows beyond the height. Lost with its term.
#[derive(Debug, Clone)]
pub(super) struct Leadership {
    /// The set whose votes made us leader, and the only one we may propose to.
    pub(super) mandate: Arc<ValidatorSet>,
    pub(super) since: Tick,
    pub(super) beat: u64,
    next_beat: Tick,
    /// When the heartbeats since the last one a majority answered were sent.
    beats: VecDeque<(u64, Tick)>,
    /// Members: the newest heartbeat each answered, and when it was last heard.
    answered: BTreeMap<Address, (u64, Tick)>,
    /// When the newest heartbeat that a majority answered was sent: nobody else was elected before that, nor will be
    /// for as long after as voters promise.
    confirmed_at: Option<Tick>,
    pub(super) lease: LeaseRule,
    /// The last height decided in this term: until there is one, what was decided before is not known (§8).
    pub(super) settled: Option<Height>,
    pub(super) transfer: Transfer,
    pub(super) reads: Reads,
}

impl Leadership {
    pub(super) fn new(now: Now, mandate: Arc<ValidatorSet>) -> Leadership {
        Leadership {
            mandate,
            since: now.tick,
            beat: 0,
            next_beat: now.tick,
            beats: VecDeque::new(),
            answered: BTreeMap::new(),
            confirmed_at: None,
            lease: LeaseRule::Holds,
            settled: None,
            transfer: Transfer::No,
            reads: Reads::default(),
        }
    }

    /// When a majority was last heard, ourselves included; the votes that made us leader count (thesis §6.2).
    fn majority_heard(&self, own: Option<Address>) -> Tick {
        let heard = |address: &Address| match self.answered.get(address) {
            _ if own == Some(*address) => Some(u64::MAX),
            Some((_, at)) => Some(at.0),
            None => Some(self.since.0),
        };
        Tick(majority::reached(&self.mandate, heard).unwrap_or(0)).max(self.since)
    }

    /// The newest heartbeat of this term that a majority answered, ours included.
    pub(super) fn beat_confirmed(&self, own: Option<Address>) -> Option<u64> {
        majority::reached(&self.mandate, |address| match self.answered.get(address) {
            _ if own == Some(*address) => Some(self.beat),
            answer => answer.map(|(beat, _)| *beat),
        })
    }

    /// Until when the lease lasts: nine tenths of what voters promise, so clocks may differ by a tenth (thesis §6.4.1).
    pub(super) fn lease_until(&self, election: Duration) -> Option<Tick> {
        match self.lease {
            LeaseRule::Holds => {
                Some(self.confirmed_at?.plus(promise(election) / 10 * if mutant!("R10") { 300 } else { 9 }))
            }
            LeaseRule::VoidForThisTerm => None,
        }
    }

    /// Notes who answered which heartbeat.
    fn note_answer(&mut self, now: Now, by: Address, beat: u64) {
        if self.mandate.by_address(&by).is_none() || (beat > self.beat && !mutant!("R96")) {
            return;
        }
        let (newest, at) = self.answered.entry(by).or_insert((0, now.tick));
        *newest = if mutant!("R97") { beat } else { (*newest).max(beat) };
        *at = now.tick;
    }

    pub(super) fn note_confirmed(&mut self, beat: u64) {
        while let Some((_, at)) = self.beats.front().copied().filter(|(sent, _)| *sent <= beat) {
            self.confirmed_at = Some(at);
            self.beats.pop_front();
        }
    }

    pub(super) fn refuse_reads(&self, why: &'static str, out: &mut Effects<Raft>) {
        self.reads.refuse(why, out);
    }
}

/// What was last sent to a peer, and when it is sent again.
#[derive(Debug, Clone, Copy)]
struct Sent {
    height: Height,
    term: Round,
    at: Tick,
    wait: Duration,
}

/// A connected peer, voter or learner.
#[derive(Debug, Clone, Default)]
pub(super) struct Peer {
    pub(super) address: Option<Address>,
    /// Where it said it is.
    pub(super) height: Option<Height>,
    /// The newest term in which it has that height's entry.
    entry: Option<Round>,
    /// The highest height it said. On one connection nobody goes back, and words cost nothing: it is handed no block below.
    reached: Option<Height>,
    proposed: Option<Sent>,
    /// Decided blocks it was handed, of at most [`HANDED_AT_ONCE`] heights.
    handed: BTreeMap<Height, Sent>,
}

impl Peer {
    /// A new leader does not know where its peers are until they say so to it.
    pub(super) fn forget_progress(&mut self) {
        *self = Peer { address: self.address, reached: self.reached, ..Peer::default() };
    }
}

/// What a peer is to be sent.
enum Resend {
    First,
    Again(Duration),
    NotYet,
}

/// How long to wait at first before so many bytes are sent again.
pub(super) fn patience(election: Duration, bytes: u64) -> Duration {
    election.max(Duration::from_millis(bytes.saturating_mul(1000) / RESEND_RATE))
}

fn due(sent: Option<Sent>, what: (Height, Round), now: Now) -> Resend {
    match sent {
        Some(sent) if (sent.height, sent.term) != what => Resend::First,
        None => Resend::First,
        Some(sent) if now.tick.since(sent.at) >= sent.wait => Resend::Again(sent.wait),
        Some(_) => Resend::NotYet,
    }
}

impl Raft {
    /// Says that we lead, to everybody.
    pub(super) fn beat(&mut self, now: Now, out: &mut Effects<Raft>) {
        let (term, height, pause) = (self.term, self.height(), self.current.start.timeouts.heartbeat);
        let Role::Leader(leadership) = &mut self.role else { return };
        leadership.beat += 1;
        leadership.next_beat = now.tick.plus(pause);
        leadership.beats.push_back((leadership.beat, now.tick));
        if leadership.beats.len() > BEATS_MAX {
            leadership.beats.pop_front();
        }
        let beat = leadership.beat;
        self.say(To::All, RaftStatement::Heartbeat { term, height, beat }, out);
    }

    /// When the leader has to do something by itself.
    pub(super) fn next_duty(&self, now: Now, leadership: &Leadership) -> Option<Tick> {
        let start = &self.current.start;
        let quorum = leadership.majority_heard(start.own).plus(start.timeouts.election);
        let transfer = match leadership.transfer {
            Transfer::No => None,
            Transfer::Wanted { until, .. } | Transfer::Told { until } => Some(until),
        };
        let waits =
            self.is_open() && self.current.proposal.is_none() && matches!(self.current.proposing, Proposing::No);
        let begin = waits.then(|| self.begins_at());
        let empty = match start.timeouts.empty_blocks {
            EmptyBlocks::After(pause) if waits => Some(self.begins_at().plus(pause)),
            EmptyBlocks::After(_) | EmptyBlocks::Always | EmptyBlocks::Never => None,
        };
        let begin = [begin, empty].into_iter().flatten().filter(|at| *at > now.tick);
        begin.chain([leadership.next_beat, quorum]).chain(transfer).min()
    }

    /// Woken as leader, at each heartbeat at least: check-quorum, the end of a hand-over or of our patience, a heartbeat.
    pub(super) fn lead_on(&mut self, now: Now, out: &mut Effects<Raft>) {
        let (own, election) = (self.current.start.own, self.current.start.timeouts.election);
        let member = self.own_seat().is_some();
        let Role::Leader(leadership) = &mut self.role else { return };
        let heard = leadership.majority_heard(own);
        let until = match leadership.transfer {
            Transfer::No => None,
            Transfer::Wanted { until, .. } | Transfer::Told { until } => Some(until),
        };
        if now.tick.since(heard) >= election && heard < now.tick && !mutant!("R14") {
            // Thesis §6.2: nobody hears us; clients should look for somebody who is heard.
            return self.step_down(now, "no majority answers this leader: ask another node", out);
        }
        if until.is_some_and(|until| until <= now.tick) {
            // The flag does not stay (bug class 125), but the lease does not come back.
            leadership.transfer = if mutant!("R99") { leadership.transfer } else { Transfer::No };
            if !member {
                return self.step_down(now, "this leader is no validator any more: ask another node", out);
            }
        }
        if self.gets_nowhere(now) {
            return self.give_up_lead(now, out);
        }
        if let Role::Leader(leadership) = &self.role
            && leadership.next_beat <= now.tick
        {
            self.beat(now, out);
        }
    }

    /// Somebody says where it is: a follower of ours, or one who hears no leader and wants help.
    pub(super) fn on_following(
        &mut self,
        now: Now,
        (by, peer): (Address, NodeId),
        term: Round,
        at: (Height, Option<Round>),
        beat: u64,
        out: &mut Effects<Raft>,
    ) -> Reaction {
        // An answer to another term's leader confirms nothing (bug class 123).
        if let (Role::Leader(leadership), true) = (&mut self.role, term == self.term) {
            leadership.note_answer(now, by, beat);
        }
        self.on_progress(now, peer, at, out)
    }

    /// A peer is at this height and has this of it: sends what it lacks.
    pub(super) fn on_progress(
        &mut self,
        now: Now,
        peer: NodeId,
        (height, entry): (Height, Option<Round>),
        out: &mut Effects<Raft>,
    ) -> Reaction {
        self.see_height(now, height, out);
        let Some(known) = self.peers.get_mut(&peer) else { return Reaction::Ignored("a peer that is gone") };
        known.height = Some(height);
        known.entry = entry;
        self.serve(now, peer, out);
        self.help_if_behind(now, peer, height, out);
        Reaction::Accepted
    }

    /// Sends our entry to every peer that is at this height.
    pub(super) fn serve_all(&mut self, now: Now, out: &mut Effects<Raft>) {
        let peers: Vec<NodeId> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.serve(now, peer, out));
    }

    /// Sends our entry to a peer that is at this height: whole at first, again when it may be lost. A peer that has it
    /// and whose acknowledgement is missing is only reminded.
    fn serve(&mut self, now: Now, peer: NodeId, out: &mut Effects<Raft>) {
        let (height, term) = (self.height(), self.term);
        let (Role::Leader(_), Some(proposal), true) = (&self.role, &self.current.proposal, self.is_open()) else {
            return;
        };
        let Some(block) = self.current.blocks.block(&proposal.block_id).map(Arc::clone) else { return };
        let (by, proposal) = (self.leader.map(|leader| leader.address), proposal.clone());
        let (Some(by), Some(known)) = (by, self.peers.get(&peer).filter(|known| known.height == Some(height))) else {
            return;
        };
        let has_it = known.entry == Some(term);
        let acked = |address| self.validators().by_address(address).is_none_or(|(index, _)| self.answered(index));
        if has_it && known.address.as_ref().is_none_or(acked) {
            return;
        }
        let base = patience(self.current.start.timeouts.election, block.parts().byte_size());
        let wait = match due(known.proposed, (height, term), now) {
            Resend::NotYet => return,
            Resend::First => base,
            Resend::Again(wait) if mutant!("R103") => wait.saturating_mul(2),
            Resend::Again(wait) => wait.saturating_mul(2).min(base.saturating_mul(RESEND_FACTOR_MAX)),
        };
        if let Some(known) = self.peers.get_mut(&peer) {
            known.proposed = Some(Sent { height, term, at: now.tick, wait });
        }
        out.push(Effect::Send(peer, Direct::Proposal { by, proposal: Verified::trusted(proposal) }));
        if !has_it {
            send_parts(peer, (height, term), &block, out);
        }
    }

    /// True when this member said yes or no to the entry of this term.
    fn answered(&self, index: u32) -> bool {
        let state = &self.current;
        state.acks.by_index(index).is_some() || state.verifying.contains_key(&index) || state.refusals.contains(&index)
    }

    /// Sends the blocks it lacks, and their commits, to a peer a few behind. The last one it could not fetch (what proves it
    /// is in the next one), and one that fetches never gets level where blocks come quickly. The block it is at and the next
    /// one, so that it need not wait. Everybody does, not only a leader: the peer may be the one to lead.
    pub(super) fn help_if_behind(&mut self, now: Now, peer: NodeId, height: Height, out: &mut Effects<Raft>) {
        let reach = height.get()..height.get().saturating_add(HANDED_AT_ONCE).min(self.height().get());
        if let Some(known) = self.peers.get_mut(&peer) {
            if known.reached > Some(height) && !mutant!("R81") {
                return;
            }
            known.reached = Some(height);
            known.handed.retain(|at, _| reach.contains(&at.get()));
        }
        reach.for_each(|height| self.hand(now, peer, Height::new(height), out));
    }

    /// Hands a peer one decided block, unless that was done lately.
    fn hand(&mut self, now: Now, peer: NodeId, height: Height, out: &mut Effects<Raft>) {
        let start = &self.current.start;
        let Some((block, commit)) = self.recent.get(height).filter(|_| height < start.height) else { return };
        let last = start.height.previous() == Some(height);
        let grown = self.current.grown_last_commit().filter(|_| last);
        let (block, commit) = (Arc::clone(block), grown.unwrap_or_else(|| commit.clone()));
        let (pause, base) = (start.timeouts.heartbeat, patience(start.timeouts.election, block.parts().byte_size()));
        let leads = matches!(self.role, Role::Leader(_));
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let was_sent = known.proposed.is_some_and(|sent| (sent.height, sent.term) == (height, commit.round));
        let wait = match due(known.handed.get(&height).copied(), (height, commit.round), now) {
            // It has hardly had the time to apply what it was told.
            Resend::First if last && (was_sent || !leads) && now.tick.since(self.current.began_at) < pause => return,
            Resend::NotYet => return,
            Resend::First => base,
            Resend::Again(wait) => wait.saturating_mul(2).min(base.saturating_mul(RESEND_FACTOR_MAX)),
        };
        known.handed.insert(height, Sent { height, term: commit.round, at: now.tick, wait });
        let has_it = known.height == Some(height) && known.entry == Some(commit.round);
        send_decided(peer, commit, (!has_it).then_some(&*block), out);
    }

    /// The set changed under us: our mandate was of the other set. A member stands for election by the new set at once;
    /// who is no member any more looks for one that is here (docs/protocol/raft.md, thesis §4.2.2).
    pub(super) fn leave_mandate(&mut self, now: Now, out: &mut Effects<Raft>) {
        if self.may_stand() {
            return self.stand(now, Election::Handover, out);
        }
        let until = now.tick.plus(self.current.start.timeouts.election.saturating_mul(2));
        if let Role::Leader(leadership) = &mut self.role {
            leadership.transfer = Transfer::Wanted { to: None, until };
        }
    }

    /// Hands the lead over to `to`, or to whoever is fit (thesis §3.10): at the end of the open block the target is told
    /// to stand. We lead on if nothing comes of it within an election timeout.
    pub fn hand_over(&mut self, now: Now, to: Option<Address>, out: &mut Effects<Raft>) -> Reaction {
        let until = now.tick.plus(self.current.start.timeouts.election);
        let fit = to.is_none_or(|to| self.validators().by_address(&to).is_some() && self.current.start.own != Some(to));
        let Role::Leader(leadership) = &mut self.role else { return Reaction::Ignored("we do not lead") };
        if !fit {
            return Reaction::Ignored("the lead can go to another validator only");
        }
        leadership.transfer = Transfer::Wanted { to, until };
        self.settle(now, out);
        self.arm(now, out);
        Reaction::Accepted
    }

    /// The rule that tells the target to stand, once it is where we are and nothing is open.
    pub(super) fn transfer(&mut self, now: Now, out: &mut Effects<Raft>) -> bool {
        let (own, height, term) = (self.current.start.own, self.height(), self.term);
        let Role::Leader(leadership) = &self.role else { return false };
        let Transfer::Wanted { to, .. } = leadership.transfer else { return false };
        let idle = matches!(self.current.proposing, Proposing::No)
            && self.current.proposal.is_none()
            && matches!(self.current.own_ack, OwnAck::No);
        if !idle || !self.is_open() {
            return false;
        }
        let fit = |peer: &super::Peer| {
            let address = peer.address.filter(|address| to.is_none_or(|to| to == *address) && own != Some(*address))?;
            let member = self.validators().by_address(&address).is_some();
            (peer.height == Some(height) && member).then_some(address)
        };
        let found = self.peers.iter().find_map(|(peer, known)| Some((*peer, fit(known)?)));
        let Some((peer, to)) = found else { return false };
        let until = now.tick.plus(self.current.start.timeouts.election);
        if let Role::Leader(leadership) = &mut self.role {
            leadership.transfer = Transfer::Told { until };
            if !mutant!("R98") {
                leadership.lease = LeaseRule::VoidForThisTerm;
            }
        }
        self.say(To::Peer(peer), RaftStatement::TimeoutNow { term, to }, out);
        true
    }
}

fn send_parts(peer: NodeId, (height, round): (Height, Round), block: &CandidateBlock, out: &mut Effects<Raft>) {
    let parts = block.parts().parts().cloned();
    out.extend(parts.map(|part| Effect::Send(peer, Direct::Part { height, round, part })));
}

fn send_decided(peer: NodeId, commit: ExtendedCommit, block: Option<&CandidateBlock>, out: &mut Effects<Raft>) {
    let at = (commit.height, commit.round);
    out.push(Effect::Send(peer, Direct::Commit(Verified::trusted(commit))));
    if let Some(block) = block {
        send_parts(peer, at, block, out);
    }
}
