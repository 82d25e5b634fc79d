//! Linearizable reads without a block: the leader makes sure that it still leads, and tells how far the reader must have
//! applied (§8; thesis §6.4).

use super::speak::To;
use super::{Raft, Role, same_members};
use crate::consensus::{Effect, Effects, Now, Reaction, ReadMode, ReadTicket, Tick};
use crate::types::{Address, Height, NodeId, RaftStatement};
use std::collections::VecDeque;

/// Reads that wait at a leader, or at a follower; more are refused.
const READS_WAITING_MAX: usize = 4096;
/// Questions of one follower that wait at a leader. It has one in flight, and a few it gave up; with more, whoever is
/// connected could have all the places, and fill the outbox with the answers.
const READS_OF_PEER_MAX: usize = 4;

const TOO_MANY: &str = "too many reads wait here: try again in a moment";

/// Who asks.
#[derive(Debug, Clone)]
enum Reader {
    /// A client of this node.
    Own(ReadTicket),
    /// A follower, for its clients.
    Follower { peer: NodeId, to: Address, ticket: u64 },
}

/// Reads that wait for the answers to a heartbeat sent after they came. One heartbeat serves all that came before it.
#[derive(Debug, Clone, Default)]
pub(super) struct Reads {
    /// The heartbeat that will do, and who waits for it; in order.
    waiting: VecDeque<(u64, Reader)>,
}

impl Reads {
    /// Questions of one follower that wait.
    fn of(&self, follower: NodeId) -> usize {
        let asked = |reader: &Reader| matches!(reader, Reader::Follower { peer, .. } if *peer == follower);
        self.waiting.iter().filter(|(_, reader)| asked(reader)).count()
    }

    pub(super) fn refuse(&self, why: &str, out: &mut Effects<Raft>) {
        for (_, reader) in &self.waiting {
            if let Reader::Own(ticket) = reader {
                out.push(Effect::ReadRefused(*ticket, why.to_owned()));
            }
        }
    }
}

/// What a follower asks its leader for its own clients: one question at a time, for all who came before it.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    /// Numbers of questions. Begins with the time of day, so that an answer from before a restart is not taken for one
    /// to a question after it (bug class 117).
    next: u64,
    flight: Option<Flight>,
    waiting: Vec<ReadTicket>,
}

#[derive(Debug, Clone)]
struct Flight {
    ticket: u64,
    leader: Address,
    until: Tick,
    riders: Vec<ReadTicket>,
}

impl Asking {
    pub(super) fn new(now: Now) -> Asking {
        let next = u64::try_from(now.wall.unix_nanos()).unwrap_or(0);
        Asking { next, flight: None, waiting: Vec::new() }
    }

    /// How many reads wait for the next question.
    pub(super) fn count(&self) -> usize {
        self.waiting.len()
    }

    /// When the question in flight is given up.
    pub(super) fn deadline(&self) -> Option<Tick> {
        self.flight.as_ref().map(|flight| flight.until)
    }

    /// Tells everybody who waits that it is in vain.
    pub(super) fn refuse(&mut self, why: &str, out: &mut Effects<Raft>) {
        let riders = self.flight.take().map(|flight| flight.riders).unwrap_or_default();
        let all = riders.into_iter().chain(std::mem::take(&mut self.waiting));
        out.extend(all.map(|ticket| Effect::ReadRefused(ticket, why.to_owned())));
    }
}

impl Raft {
    /// A client of this node wants to read.
    pub(super) fn on_read(
        &mut self,
        now: Now,
        ticket: ReadTicket,
        mode: ReadMode,
        out: &mut Effects<Raft>,
    ) -> Reaction {
        if matches!(self.role, Role::Leader(_)) {
            return self.read_as_leader(now, ticket, mode, out);
        }
        if self.leader.is_none_or(|leader| leader.peer.is_none()) || self.current.start.own.is_none() {
            let why = "no leader is known here: try again in a moment, or ask another node".to_owned();
            out.push(Effect::ReadRefused(ticket, why));
            return Reaction::Accepted;
        }
        if self.asking.waiting.len() >= READS_WAITING_MAX {
            out.push(Effect::ReadRefused(ticket, TOO_MANY.to_owned()));
            return Reaction::Accepted;
        }
        self.asking.waiting.push(ticket);
        self.ask_leader(now, out);
        Reaction::Accepted
    }

    /// True while nobody can decide more than we know without a majority of those who made us leader. Where the height after
    /// the last decided one belongs to another set, that set may have a leader of its own already, and none of those who
    /// answer our heartbeats would know.
    fn knows_the_end(&self) -> bool {
        let Role::Leader(leadership) = &self.role else { return false };
        let start = &self.current.start;
        let next = if self.is_open() { &start.validators } else { &start.next_validators };
        same_members(&leadership.mandate, next)
    }

    fn read_as_leader(&mut self, now: Now, ticket: ReadTicket, mode: ReadMode, out: &mut Effects<Raft>) -> Reaction {
        let (decided, election) = (self.current.decided(), self.current.start.timeouts.election);
        let knows_the_end = self.knows_the_end();
        let Role::Leader(leadership) = &mut self.role else { return Reaction::Ignored("we do not lead") };
        let settled = leadership.settled.is_some() || mutant!("R43");
        let leased = mode == ReadMode::Leased && settled && knows_the_end;
        if leased && leadership.lease_until(election).is_some_and(|until| now.tick < until) {
            out.push(Effect::ReadAt(ticket, decided));
            return Reaction::Accepted;
        }
        if leadership.reads.waiting.len() >= READS_WAITING_MAX {
            out.push(Effect::ReadRefused(ticket, TOO_MANY.to_owned()));
            return Reaction::Accepted;
        }
        leadership.reads.waiting.push_back((leadership.beat + u64::from(!mutant!("R44")), Reader::Own(ticket)));
        Reaction::Accepted
    }

    /// The rule that answers readers: a majority answered a heartbeat sent after they came, so nobody else was elected
    /// before they came; and a block of this term is decided, so all that was decided before is known (§8).
    pub(super) fn serve_reads(&mut self, now: Now, out: &mut Effects<Raft>) -> bool {
        let (own, decided, knows_the_end) = (self.current.start.own, self.current.decided(), self.knows_the_end());
        let Role::Leader(leadership) = &mut self.role else { return false };
        let confirmed = leadership.beat_confirmed(own);
        if let Some(beat) = confirmed {
            leadership.note_confirmed(beat);
        }
        let Some((wanted, _)) = leadership.reads.waiting.front() else { return false };
        if (confirmed.is_some_and(|beat| beat >= *wanted) || mutant!("R9"))
            && (leadership.settled.is_some() || mutant!("R20"))
        {
            if !knows_the_end {
                return false; // its lead is about to end, and they are told
            }
            if let Some((_, reader)) = leadership.reads.waiting.pop_front() {
                self.answer_read(reader, decided, out);
            }
            return true;
        }
        // All heartbeats sent are answered, and these readers came after the last: one more for all of them.
        if *wanted > leadership.beat && confirmed.is_none_or(|beat| beat == leadership.beat) {
            self.beat(now, out);
            return true;
        }
        false
    }

    fn answer_read(&mut self, reader: Reader, height: Height, out: &mut Effects<Raft>) {
        match reader {
            Reader::Own(ticket) => out.push(Effect::ReadAt(ticket, height)),
            Reader::Follower { peer, to, ticket } => {
                self.say(To::Peer(peer), RaftStatement::ReadAt { ticket, to, height }, out);
            }
        }
    }

    /// Asks the leader for all who wait, unless a question is in flight.
    fn ask_leader(&mut self, now: Now, out: &mut Effects<Raft>) {
        let Some(super::Leader { address, peer: Some(peer), .. }) = self.leader else { return };
        if self.asking.flight.is_some() || self.asking.waiting.is_empty() {
            return;
        }
        self.asking.next = self.asking.next.wrapping_add(1);
        let ticket = self.asking.next;
        let until = now.tick.plus(self.current.start.timeouts.election.saturating_mul(2));
        let riders = std::mem::take(&mut self.asking.waiting);
        self.asking.flight = Some(Flight { ticket, leader: address, until, riders });
        self.say(To::Peer(peer), RaftStatement::ReadIndex { ticket }, out);
    }

    /// A follower asks for its clients.
    pub(super) fn on_read_index(&mut self, (to, peer): (Address, NodeId), ticket: u64) -> Reaction {
        let Role::Leader(leadership) = &mut self.role else {
            return Reaction::Ignored("a read for a leader, which we are not");
        };
        if leadership.reads.waiting.len() >= READS_WAITING_MAX
            || (leadership.reads.of(peer) >= READS_OF_PEER_MAX && !mutant!("R46"))
        {
            return Reaction::Ignored("too many reads wait here");
        }
        leadership.reads.waiting.push_back((leadership.beat + 1, Reader::Follower { peer, to, ticket }));
        Reaction::Accepted
    }

    /// The leader's answer.
    pub(super) fn on_read_at(
        &mut self,
        now: Now,
        by: Address,
        (ticket, to): (u64, Address),
        height: Height,
        out: &mut Effects<Raft>,
    ) -> Reaction {
        let ours = self
            .asking
            .flight
            .as_ref()
            .is_some_and(|flight| flight.leader == by && (flight.ticket == ticket || mutant!("R47")));
        if !ours || (self.current.start.own != Some(to) && !mutant!("R45")) {
            return Reaction::Ignored("an answer to no question of ours");
        }
        let riders = self.asking.flight.take().map(|flight| flight.riders).unwrap_or_default();
        out.extend(riders.into_iter().map(|rider| Effect::ReadAt(rider, height)));
        self.ask_leader(now, out);
        Reaction::Accepted
    }

    /// Gives up a question the leader does not answer.
    pub(super) fn expire_questions(&mut self, now: Now, out: &mut Effects<Raft>) {
        if self.asking.deadline().is_some_and(|until| until <= now.tick) {
            self.asking.refuse("the leader does not answer: try again in a moment, or ask another node", out);
        }
    }
}
