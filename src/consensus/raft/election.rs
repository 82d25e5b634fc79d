//! Elections: who stands, who gets a vote, who wins (§5.2, §5.4.1), with pre-vote, stickiness and transfer (thesis §3.10,
//! §4.2.3, §9.6).

use super::majority::{self, Answer, Poll};
use super::speak::To;
use super::{Leadership, Line, Raft, Role};
use crate::consensus::{Effects, Now, Reaction};
use crate::types::{Address, Election, Height, LogPosition, NodeId, RaftStatement, Round, ValidatorSet};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often the pause between two questions of a candidate doubles at most; it ends at an election timeout anyway.
const RETRY_DOUBLINGS_MAX: u32 = 16;
/// Heartbeats for which a voter that would vote for somebody does not ask itself.
const ROOM_HEARTBEATS: u32 = 4;

/// How long who heard a leader votes for nobody else, whatever happens: half of an election timeout. The leader's lease
/// lasts nine tenths of it. It is shorter than the patience with a silent leader, so that one whose connections broke can
/// be replaced soon (docs/protocol/raft.md, "The lease").
pub(super) fn promise(election: Duration) -> Duration {
    election / 2
}

/// A question for votes and its answers. Answers of members only, so it is as large as the set.
#[derive(Debug, Clone)]
pub(super) struct Canvass {
    /// The term asked for: ours for a vote, the next one for a pre-vote.
    asked: Round,
    election: Election,
    answers: BTreeMap<Address, Answer>,
}

/// A ballot, as it came.
pub(super) struct Ballot {
    pub(super) term: Round,
    pub(super) asked: Round,
    pub(super) election: Election,
    pub(super) candidate: Address,
    pub(super) granted: bool,
    pub(super) height: Height,
}

impl Canvass {
    fn new(asked: Round, election: Election, own: Address) -> Canvass {
        Canvass { asked, election, answers: BTreeMap::from([(own, Answer::Granted)]) }
    }
}

impl Raft {
    /// Sets the time at which we stand, if nobody leads until then: one to one and a half election timeouts from now.
    pub(super) fn reset_election(&mut self, now: Now) {
        let base = self.current.start.timeouts.election;
        self.election_at = now.tick.plus(base).plus(self.spread(now, base / 2));
    }

    /// The connection to the leader broke: we stand as soon as our promise allows, each a little later or earlier.
    pub(super) fn stand_early(&mut self, now: Now) {
        let timeouts = &self.current.start.timeouts;
        let free = self.heard.at.plus(promise(timeouts.election)).max(now.tick);
        self.election_at = self.election_at.min(free.plus(self.spread(now, timeouts.heartbeat)));
    }

    /// Sets the time at which a candidate asks again: a few heartbeats at first, then twice as long each time, and as long
    /// as a follower waits in the end (thesis §9.3: the pause need only be well above a round of messages).
    fn reset_retry(&mut self, now: Now) {
        let (pause, longest) = self.retry_pause();
        self.election_at = now.tick.plus(pause).plus(self.spread(now, pause.min(longest / 2)));
    }

    fn retry_pause(&self) -> (Duration, Duration) {
        let timeouts = &self.current.start.timeouts;
        let doubled = timeouts.heartbeat.saturating_mul(1 << self.attempt.min(RETRY_DOUBLINGS_MAX));
        (doubled.min(timeouts.election), timeouts.election)
    }

    /// Up to `range`, by a hash of who, when and how often (§5.2: randomised, so that votes seldom split).
    fn spread(&self, now: Now, range: Duration) -> Duration {
        let range = u64::try_from(range.as_nanos()).unwrap_or(u64::MAX).max(1);
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let own = self.current.start.own;
        let words = [self.term.get().into(), self.attempt.into(), now.tick.0];
        let bytes = own.iter().flat_map(|own| own.as_bytes().iter().copied());
        for byte in bytes.chain(words.into_iter().flat_map(u64::to_le_bytes)) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash ^= hash >> 29;
        Duration::from_nanos(hash.wrapping_mul(0xbf58_476d_1ce4_e5b9) % range)
    }

    /// True while the leader we heard last may answer by its lease: whatever became of the connection, it may be alive.
    fn is_bound(&self, now: Now) -> bool {
        now.tick.since(self.heard.at) < promise(self.current.start.timeouts.election)
    }

    /// True while a leader is about, so that no other may be elected without its wish (thesis §4.2.3, §6.4.1). Whoever saw
    /// its connection break takes it for gone once its lease cannot run any more.
    fn hears_leader(&self, now: Now) -> bool {
        let patient = now.tick.since(self.heard.at) < self.current.start.timeouts.election;
        matches!(self.role, Role::Leader(_)) || self.is_bound(now) || (patient && self.heard.line != Line::Broken)
    }

    /// Thesis §6.4.1: who hears a leader elects nobody else, in whatever term it is by now: it may have been told of a
    /// later one, and the leader, who was not, still answers by its lease. A vote that was given stays.
    fn keeps_lease(&self, now: Now, candidate: &Address, asked: Round) -> bool {
        let given = asked == self.term && self.voted_for == Some(*candidate);
        self.hears_leader(now) && !given && !mutant!("R12")
    }

    /// No leader was heard for too long: asks whether an election could be won (thesis §9.6).
    pub(super) fn canvass(&mut self, now: Now, out: &mut Effects<Raft>) {
        let (Some((_, own)), Some(asked)) = (self.own_seat(), next_term(self.term)) else { return };
        if self.is_bound(now) && !self.stands_alone() {
            // Our own vote keeps the promise, too.
            return self.reset_election(now);
        }
        self.step_down(now, "no leader is heard: ask again", out);
        self.leader = None;
        self.attempt = self.attempt.saturating_add(1);
        self.reset_retry(now);
        self.role = Role::PreCandidate(Canvass::new(asked, Election::PreVote, own));
        self.ask_for_votes(out);
    }

    /// §5.2: a new term, our vote for ourselves, and the question to all others.
    pub(super) fn stand(&mut self, now: Now, election: Election, out: &mut Effects<Raft>) {
        let (Some((_, own)), Some(term)) = (self.own_seat(), next_term(self.term)) else { return };
        self.enter_term(now, term, Some(own), out);
        self.attempt = self.attempt.saturating_add(1);
        self.reset_retry(now);
        self.role = Role::Candidate(Canvass::new(term, election, own));
        self.ask_for_votes(out);
    }

    /// Says (again) what we ask for.
    pub(super) fn ask_for_votes(&mut self, out: &mut Effects<Raft>) {
        let (Role::PreCandidate(canvass) | Role::Candidate(canvass)) = &self.role else { return };
        let question =
            RaftStatement::RequestVote { term: canvass.asked, election: canvass.election, last: self.position() };
        self.say(To::All, question, out);
    }

    /// Somebody asks for our vote.
    pub(super) fn on_request_vote(
        &mut self,
        now: Now,
        (by, peer): (Address, NodeId),
        (asked, election): (Round, Election),
        last: LogPosition,
        out: &mut Effects<Raft>,
    ) -> Reaction {
        if self.too_far(asked) {
            return Reaction::Ignored("a term too far ahead");
        }
        self.see_height(now, last.height, out);
        self.help_if_behind(now, peer, last.height, out);
        let granted = match election {
            Election::PreVote => {
                asked > self.term && (!self.hears_leader(now) || mutant!("R21")) && self.is_fit(&by, last)
            }
            Election::Vote if self.keeps_lease(now, &by, asked) => false,
            Election::Vote | Election::Handover => self.vote(now, by, asked, last, out),
        };
        if !granted {
            self.stand_instead(now, last);
        }
        if granted && election == Election::PreVote {
            self.make_room(now, by, last);
        }
        let (term, height) = (self.term, self.height());
        let ballot = RaftStatement::Ballot { term, asked, election, candidate: by, granted, height };
        self.say(To::Peer(peer), ballot, out);
        Reaction::Accepted
    }

    /// Who asks has missed what we have, and nobody leads: we stand at once, or both would wait for another timeout. Unless
    /// what we have is a block with which we just got nowhere: those who refused it elect one another.
    fn stand_instead(&mut self, now: Now, last: LogPosition) {
        let asks = matches!(self.role, Role::Follower | Role::PreCandidate(_));
        let in_vain = asks && last < self.position();
        let aside = self.current.aside_until.is_some_and(|until| now.tick < until) && !mutant!("R104");
        if in_vain && !aside && !self.hears_leader(now) && self.may_stand() {
            self.election_at = self.election_at.min(now.tick);
        }
    }

    /// Somebody may stand for all we know: we give it the time to, unless we ask ourselves and come before it. Two that
    /// ask at the same moment would otherwise both stand, and with two of three left nobody would win.
    fn make_room(&mut self, now: Now, by: Address, last: LogPosition) {
        let ours = (self.position(), self.current.start.own);
        match &self.role {
            Role::PreCandidate(_) if (last, Some(by)) > ours => self.role = Role::Follower,
            Role::Follower => {}
            Role::PreCandidate(_) | Role::Candidate(_) | Role::Leader(_) => return,
        }
        let room = self.current.start.timeouts.heartbeat.saturating_mul(ROOM_HEARTBEATS);
        self.election_at = self.election_at.max(now.tick.plus(room));
    }

    /// §5.2, §5.4.1: one vote a term, first come first served, and only for a log at least as far as ours. The vote is
    /// durable before the ballot is signed.
    fn vote(&mut self, now: Now, by: Address, asked: Round, last: LogPosition, out: &mut Effects<Raft>) -> bool {
        let fit = self.is_fit(&by, last);
        if asked > self.term {
            self.enter_term(now, asked, fit.then_some(by), out);
        } else if asked == self.term && self.voted_for.is_none() && fit {
            self.enter_term(now, asked, Some(by), out);
        }
        let granted = asked == self.term && fit && (self.voted_for == Some(by) || mutant!("R2"));
        if granted && !mutant!("R25") {
            self.reset_election(now);
        }
        granted
    }

    /// §5.4.1: the candidate's log is at least as far as ours; and where both are at one height, so that both know its set,
    /// it is a member, and so are we: a learner's vote counts for nobody (thesis §4.2.1) and would only bind the learner.
    /// Of a later height's set we know nothing: our vote may be needed there (thesis §4.1).
    fn is_fit(&self, candidate: &Address, last: LogPosition) -> bool {
        let members = self.validators().by_address(candidate).is_some() && (self.may_stand() || mutant!("R60"));
        (members || last.height != self.height()) && (last >= self.position() || mutant!("R1"))
    }

    /// An answer to our question.
    pub(super) fn on_ballot(&mut self, now: Now, by: Address, ballot: Ballot, out: &mut Effects<Raft>) -> Reaction {
        if self.current.start.own != Some(ballot.candidate) && !mutant!("R22") {
            return Reaction::Ignored("somebody else's ballot");
        }
        if self.too_far(ballot.term) {
            return Reaction::Ignored("a term too far ahead");
        }
        self.see_height(now, ballot.height, out);
        if ballot.term > self.term {
            self.enter_term(now, ballot.term, None, out);
            self.reset_retry(now);
            return Reaction::Accepted;
        }
        let member = self.validators().by_address(&by).is_some();
        let (Role::PreCandidate(canvass) | Role::Candidate(canvass)) = &mut self.role else {
            return Reaction::Ignored("ballot of an election that is over");
        };
        // An answer to another question is no answer to this one (bug class 126).
        if ((canvass.asked != ballot.asked && !mutant!("R23"))
            || (canvass.election != ballot.election && !mutant!("R15")))
            || !member
        {
            return Reaction::Ignored("ballot of another election, or of no member");
        }
        let answer = if ballot.granted { Answer::Granted } else { Answer::Refused };
        canvass.answers.insert(by, answer);
        Reaction::Accepted
    }

    /// Counts the votes; the rule that ends an election.
    pub(super) fn count_ballots(&mut self, now: Now, out: &mut Effects<Raft>) -> bool {
        let (Role::PreCandidate(canvass) | Role::Candidate(canvass)) = &self.role else { return false };
        match (majority::poll(self.validators(), &canvass.answers), &self.role) {
            (Poll::Open, Role::Candidate(canvass)) if self.is_split(canvass) => {
                self.role = Role::Follower;
                let (pause, _) = self.retry_pause();
                self.election_at = self.election_at.min(now.tick.plus(self.spread(now, pause)));
                true
            }
            (Poll::Open, _) => false,
            (Poll::Won, Role::PreCandidate(_)) => {
                self.stand(now, Election::Vote, out);
                true
            }
            (Poll::Won, _) => {
                self.take_lead(now, out);
                true
            }
            // We try again when our time has come.
            (Poll::Lost, _) => {
                self.role = Role::Follower;
                true
            }
        }
    }

    /// True when somebody refused, and those who have not answered and can be reached are too few: the vote was split
    /// among those who are here. There is nothing to wait for.
    fn is_split(&self, canvass: &Canvass) -> bool {
        if canvass.answers.values().all(|answer| *answer == Answer::Granted) {
            return false;
        }
        // One that has not said who it is may be anybody.
        let here =
            |address: &Address| self.peers.values().any(|peer| peer.address.is_none_or(|known| known == *address));
        let mut answers = canvass.answers.clone();
        for member in self.validators().members().iter().filter(|member| !here(&member.address)) {
            answers.entry(member.address).or_insert(Answer::Refused);
        }
        majority::poll(self.validators(), &answers) == Poll::Lost
    }

    /// §5.2: a majority of this height's set voted for us.
    fn take_lead(&mut self, now: Now, out: &mut Effects<Raft>) {
        let Some((_, own)) = self.own_seat() else { return };
        let mandate: Arc<ValidatorSet> = Arc::clone(self.validators());
        self.role = Role::Leader(Box::new(Leadership::new(now, mandate)));
        self.leader = Some(super::Leader { address: own, peer: None });
        self.attempt = 0;
        for peer in self.peers.values_mut() {
            peer.forget_progress();
        }
        self.note_leader(out);
        self.beat(now, out);
    }

    /// Thesis §3.10: the leader wants us to take over, at once.
    pub(super) fn on_timeout_now(
        &mut self,
        now: Now,
        by: Address,
        (term, to): (Round, Address),
        out: &mut Effects<Raft>,
    ) -> Reaction {
        let from_leader = term == self.term && self.leader.is_some_and(|leader| leader.address == by);
        if (!from_leader && !mutant!("R26")) || self.current.start.own != Some(to) || !self.may_stand() {
            return Reaction::Ignored("a hand-over that is not for us, or not from our leader");
        }
        self.stand(now, Election::Handover, out);
        Reaction::Accepted
    }
}

/// The term after this one; none after the last number there is.
pub(super) fn next_term(term: Round) -> Option<Round> {
    Round::try_from(term.as_i32().checked_add(1)?).ok()
}
