//! Raft, held against Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm (Extended Version)"
//! (cited as §) and Ongaro's thesis "Consensus: Bridging Theory and Practice" (cited as such). What differs, and why it
//! is still right, stands in docs/protocol/raft.md and docs/DIVERGENCES.md.
//!
//! The log is the chain: the entry at index h is block h, and only one height is open at a time. A step takes one fact
//! into the state and then fires rules until none applies ([`rules`]). Whatever is signed rests on records that stand
//! before it in the list of effects.
//!
//! Reading order: this file → `height` → `election` → `follow` → `lead` → `propose` → `acknowledge` → `rules` → `patience` →
//! `read` → `speak` → `recover`; `majority`, `view` and `votes` stand beside.

mod acknowledge;
mod election;
mod follow;
mod height;
mod lead;
mod majority;
mod patience;
mod propose;
mod read;
mod recover;
mod rules;
mod speak;
mod view;
mod votes;

use super::tally::ROUNDS_AHEAD_MAX;
use super::{Direct, Effect, Effects, Input, Now, Protocol, Reaction, Recent, RoundNote, Signed, Start, Tick};
use crate::types::{
    Address, Height, JournalRecord, LogPosition, NodeId, Round, Source, Standing, StatementBody, Step, ValidatorSet,
};
use election::Canvass;
use height::{HeightState, Outcome};
use lead::{Leadership, Peer};
use read::Asking;
use speak::Outbox;
use std::collections::BTreeMap;
use std::sync::Arc;
use votes::VotesHeard;

/// What this node is in its term (§5.1, figure 4).
#[derive(Debug, Clone)]
enum Role {
    /// It follows, or waits for somebody to follow.
    Follower,
    /// It asks whether an election could be won (thesis §9.6).
    PreCandidate(Canvass),
    /// It asks for votes.
    Candidate(Canvass),
    /// It leads.
    Leader(Box<Leadership>),
}

/// Who leads our term, as far as we know.
#[derive(Debug, Clone, Copy)]
struct Leader {
    address: Address,
    /// The connection it speaks on; none when we lead.
    peer: Option<NodeId>,
}

/// When a leader was last heard, and whether it can still be heard. A promise rests on the first (`promise`), patience on
/// both.
#[derive(Debug, Clone, Copy)]
struct Heard {
    at: Tick,
    line: Line,
}

/// The connection on which a leader was last heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// There was none since we began. We may have heard one before.
    Unknown,
    /// It stands.
    Open(NodeId),
    /// It broke. The leader may be alive all the same, and be heard by others.
    Broken,
}

/// The machine: one height after the other, terms and leadership across them.
#[derive(Debug, Clone)]
pub struct Raft {
    current: HeightState,
    /// §5.1: never goes back, journaled before anything rests on it.
    term: Round,
    /// Who has our vote in this term (§5.2); journaled before the ballot is signed.
    voted_for: Option<Address>,
    role: Role,
    leader: Option<Leader>,
    /// The newest heartbeat of this term. What is not newer was heard before, whoever repeats it.
    beat_heard: Option<u64>,
    /// A restart counts as having heard a leader: before it we may have promised one to refuse others.
    heard: Heard,
    /// When a follower or candidate stands for election (again).
    election_at: Tick,
    /// Elections tried since a leader was heard; goes into the random part of the timeout.
    attempt: u32,
    /// How often in a row this node led and got nothing done; it waits the longer the next time.
    stalls: u32,
    /// The last blocks decided, for peers behind.
    recent: Recent,
    /// Connected peers.
    peers: BTreeMap<NodeId, Peer>,
    outbox: Outbox,
    asking: Asking,
    votes: VotesHeard,
    /// The last height a sync was asked for, and when.
    sync_asked: Option<(Height, Tick)>,
    /// The wake-up ordered last.
    wake: Option<Tick>,
}

impl Protocol for Raft {
    type Message = Direct;
    type Record = JournalRecord;

    fn recover(now: Now, start: Start, records: &[JournalRecord], out: &mut Effects<Raft>) -> Raft {
        let mut machine = Raft {
            current: HeightState::new(now, start, Round::ZERO),
            term: Round::ZERO,
            voted_for: None,
            role: Role::Follower,
            leader: None,
            beat_heard: None,
            heard: Heard { at: now.tick, line: Line::Unknown },
            election_at: now.tick,
            attempt: 0,
            stalls: 0,
            recent: Recent::default(),
            peers: BTreeMap::new(),
            outbox: Outbox::default(),
            asking: Asking::new(now),
            votes: VotesHeard::default(),
            sync_asked: None,
            wake: None,
        };
        machine.keep_last_block();
        machine.replay(now, records);
        machine.resume(now, out);
        machine
    }

    fn step(&mut self, now: Now, input: Input<Direct>, out: &mut Effects<Raft>) -> Reaction {
        let reaction = self.take(now, input, out);
        self.settle(now, out);
        self.arm(now, out);
        reaction
    }
}

impl Raft {
    /// The height being decided.
    pub fn height(&self) -> Height {
        self.current.start.height
    }

    /// The term.
    pub fn round(&self) -> Round {
        self.term
    }

    /// How far the height is, in Tendermint's words.
    pub fn current_step(&self) -> Step {
        self.current.step
    }

    /// Who decides this height.
    pub fn validators(&self) -> &Arc<ValidatorSet> {
        &self.current.start.validators
    }

    /// Who decided the height before, and may still acknowledge it; none at the initial height.
    pub fn last_validators(&self) -> Option<&Arc<ValidatorSet>> {
        self.current.start.last_validators.as_ref()
    }

    fn take(&mut self, now: Now, input: Input<Direct>, out: &mut Effects<Raft>) -> Reaction {
        match input {
            Input::Received { source: Source::Peer(peer), message } => self.on_message(now, peer, message, out),
            Input::Received { source: Source::Own, .. } => Reaction::Ignored("our own message comes from the signer"),
            Input::BlockBuilt { height, round, block } => self.on_block_built(now, height, round, block, out),
            Input::BlockChecked { height, .. } if height != self.height() => {
                Reaction::Ignored("an answer about a block of another height")
            }
            Input::BlockChecked { round, block_id, verdict, .. } => {
                self.current.blocks.answered(&block_id, &verdict, round, self.term)
            }
            Input::VoteExtended { height, round, extension } => {
                self.on_vote_extended(now, height, round, extension, out)
            }
            Input::ExtensionVerified { vote, accepted: true, .. } => self.on_extension_accepted(vote, out),
            Input::ExtensionVerified { vote, accepted: false, .. } => self.on_extension_rejected(&vote),
            Input::BlockApplied(start) => self.on_block_applied(now, *start, out),
            Input::Signed(signed) => self.on_signed(now, signed, out),
            Input::TxsAvailable => {
                self.current.txs_available = true;
                Reaction::Accepted
            }
            Input::PeerUp(peer) => self.on_peer_up(now, peer, out),
            Input::PeerDown(peer) => self.on_peer_down(now, peer, out),
            Input::Woken => {
                self.wake = self.wake.filter(|_| mutant!("R94"));
                self.on_woken(now, out)
            }
            Input::Read { ticket, mode } => self.on_read(now, ticket, mode, out),
            Input::TimerFired(_) => Reaction::Ignored("no such timer was set"),
        }
    }

    fn on_message(&mut self, now: Now, peer: NodeId, message: Direct, out: &mut Effects<Raft>) -> Reaction {
        match message {
            Direct::Statement(statement) => {
                let statement = statement.into_inner();
                self.watch_votes(&statement, out);
                match statement.body {
                    StatementBody::Raft(body) => self.on_statement(now, peer, statement.by, body, out),
                    StatementBody::Pbft(_) => Reaction::PeerFault("statement of another protocol"),
                }
            }
            Direct::Outsider(statement) => match statement.body {
                StatementBody::Raft(body) => self.on_outsider(now, peer, statement.by, body, out),
                StatementBody::Pbft(_) => Reaction::PeerFault("statement of another protocol"),
            },
            Direct::Proposal { by, proposal } => self.on_proposal(now, peer, by, proposal.into_inner(), out),
            Direct::Part { height, round, part } => self.on_part(peer, (height, round), part, out),
            Direct::Vote(vote) => self.on_vote(peer, vote.into_inner(), out),
            Direct::Commit(commit) => self.on_commit(now, commit.into_inner(), out),
        }
    }

    fn on_signed(&mut self, now: Now, signed: Signed, out: &mut Effects<Raft>) -> Reaction {
        match signed {
            Signed::Vote(vote) => self.on_own_vote(vote, out),
            Signed::Proposal(proposal) => self.on_own_proposal(now, proposal, out),
            Signed::Statement(statement) => self.on_own_statement(*statement, out),
            Signed::Refused { height, round } => self.on_refused(now, height, round, out),
        }
    }

    /// A peer is there: whoever leads or stands says so at once, and what was sent to it before counts for nothing.
    fn on_peer_up(&mut self, now: Now, peer: NodeId, out: &mut Effects<Raft>) -> Reaction {
        if self.peers.len() >= lead::PEERS_MAX && !mutant!("R93") && !self.peers.contains_key(&peer) {
            return Reaction::Ignored("more peers than a leader keeps track of");
        }
        self.peers.insert(peer, Peer::default());
        match &self.role {
            Role::Leader(_) => self.beat(now, out),
            Role::PreCandidate(_) | Role::Candidate(_) => self.ask_for_votes(out),
            Role::Follower => {}
        }
        Reaction::Accepted
    }

    /// A peer is gone. If it led us we do not wait out our patience: a process that dies closes its connections at once.
    fn on_peer_down(&mut self, now: Now, peer: NodeId, out: &mut Effects<Raft>) -> Reaction {
        self.peers.remove(&peer);
        self.outbox.forget(peer);
        if self.leader.is_some_and(|leader| leader.peer == Some(peer)) {
            self.leader = self.leader.filter(|_| mutant!("R92"));
            self.asking.refuse("the connection to the leader broke: ask again", out);
        }
        if self.heard.line == Line::Open(peer) {
            self.heard.line = Line::Broken;
            self.stand_early(now);
        }
        Reaction::Accepted
    }

    /// Something is due; which, the deadlines say.
    fn on_woken(&mut self, now: Now, out: &mut Effects<Raft>) -> Reaction {
        self.expire_questions(now, out);
        self.offer_txs_if_starving(now, out);
        if matches!(self.role, Role::Leader(_)) {
            self.lead_on(now, out);
        } else if now.tick >= self.election_at {
            if self.may_stand() { self.canvass(now, out) } else { self.call_for_help(now, out) }
        }
        Reaction::Accepted
    }

    /// Orders the next wake-up, if it is another than the one ordered.
    fn arm(&mut self, now: Now, out: &mut Effects<Raft>) {
        let duty = match &self.role {
            Role::Leader(leadership) => self.next_duty(now, leadership),
            Role::Follower | Role::PreCandidate(_) | Role::Candidate(_) => Some(self.election_at),
        };
        let offer = self.next_offer(now);
        let next = [duty, self.asking.deadline(), offer].into_iter().flatten().min();
        if let Some(at) = next
            && self.wake != Some(at)
        {
            self.wake = Some(at);
            out.push(Effect::WakeAt(at));
        }
    }

    /// Our address, if it is in the set.
    fn own_seat(&self) -> Option<(u32, Address)> {
        let own = self.current.start.own?;
        let (index, _) = self.validators().by_address(&own)?;
        Some((index, own))
    }

    /// Only members stand for election: a learner never does, nor a member that was removed (bug class 131).
    fn may_stand(&self) -> bool {
        self.own_seat().is_some()
    }

    /// Where our log ends (§5.4.1).
    fn position(&self) -> LogPosition {
        LogPosition { height: self.height(), entry: self.current.entry.map(|(term, _)| term) }
    }

    /// True for a term nobody gets to by honest means; going there would use up the numbers.
    fn too_far(&self, term: Round) -> bool {
        term.get() > self.term.get().saturating_add(ROUNDS_AHEAD_MAX)
    }

    /// Rules for all servers, figure 2: enters a later term, or gives the vote of this one. Durable before anything
    /// that depends on it is signed.
    fn enter_term(&mut self, now: Now, term: Round, voted_for: Option<Address>, out: &mut Effects<Raft>) {
        assert!(term > self.term || (term == self.term && self.voted_for.is_none()), "terms go up and a vote stays");
        if term > self.term {
            self.step_down(now, "the term is over: ask again", out);
            self.term = term;
            self.leader = None;
            self.beat_heard = None;
            self.current.enter_term(term);
        }
        self.voted_for = voted_for;
        if !mutant!("R4") {
            self.persist_standing(out);
        }
    }

    fn persist_standing(&self, out: &mut Effects<Raft>) {
        let standing = Standing { height: self.height(), round: self.term, voted_for: self.voted_for };
        out.push(Effect::Persist(JournalRecord::Standing(standing)));
    }

    /// Follows whoever leads, from now on; readers who waited for our lead are told why they wait in vain.
    fn step_down(&mut self, now: Now, why: &'static str, out: &mut Effects<Raft>) {
        if let Role::Leader(leadership) = std::mem::replace(&mut self.role, Role::Follower) {
            leadership.refuse_reads(why, out);
            self.leader = None;
            self.reset_election(now);
        }
        self.asking.refuse(why, out);
    }

    /// Enters a step of the height, for people.
    fn enter_step(&mut self, step: Step, out: &mut Effects<Raft>) {
        if self.current.step != step {
            self.current.step = step;
            out.push(Effect::Note(RoundNote::Step { height: self.height(), round: self.term, step }));
        }
    }

    /// Says who leads, in the words of the events.
    fn note_leader(&self, out: &mut Effects<Raft>) {
        let Some(leader) = self.leader else { return };
        if let Some((index, _)) = self.validators().by_address(&leader.address) {
            let proposer = (index, leader.address);
            out.push(Effect::Note(RoundNote::NewRound { height: self.height(), round: self.term, proposer }));
        }
    }

    /// The last block is applied.
    fn on_block_applied(&mut self, now: Now, start: Start, out: &mut Effects<Raft>) -> Reaction {
        if start.height <= self.height() {
            return Reaction::Ignored("a height that is past");
        }
        self.begin_height(now, start, out);
        Reaction::Accepted
    }

    /// A new height is a new value; term, vote and lead go on. A term belongs to one validator set: whoever led or stood
    /// for election by another set's votes has no mandate here (docs/protocol/raft.md).
    fn begin_height(&mut self, now: Now, start: Start, out: &mut Effects<Raft>) {
        let follows = start.height.previous() == Some(self.height());
        let same_set = same_members(&start.validators, self.validators());
        let mut next = HeightState::new(now, start, self.term);
        next.carry_over(&mut self.current);
        self.current = next;
        self.keep_last_block();
        self.persist_standing(out);
        out.push(Effect::Note(RoundNote::Step { height: self.height(), round: self.term, step: Step::NewHeight }));
        match &self.role {
            Role::Follower => {}
            Role::Leader(_) if follows && same_set => self.note_leader(out),
            Role::Leader(_) if follows => self.leave_mandate(now, out),
            Role::PreCandidate(_) | Role::Candidate(_) if follows && same_set => {}
            Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => {
                self.step_down(now, "the chain went on without this leader: ask again", out);
                self.reset_election(now);
            }
        }
        if let Some(early) = self.current.early.take() {
            self.take_early(now, early, out);
        }
        if matches!(self.role, Role::Follower) {
            self.note_leader(out);
            self.report(out);
        }
    }

    fn keep_last_block(&mut self) {
        let start = &self.current.start;
        if let (Some(block), Some(commit)) = (&start.last_block, &start.last_commit) {
            self.recent.push(Arc::clone(block), commit.clone());
        }
    }

    fn is_open(&self) -> bool {
        matches!(self.current.outcome, Outcome::Open)
    }
}

/// True when two sets have the same members with the same powers; whose turn it is does not matter.
fn same_members(one: &ValidatorSet, other: &ValidatorSet) -> bool {
    let key = |set: &ValidatorSet| set.members().iter().map(|v| (v.address, v.power)).collect::<Vec<_>>();
    key(one) == key(other) || mutant!("R7")
}

#[cfg(test)]
mod tests;
