//! Listening for one's own key before signing: does another node sign with it? (A doppelgänger check.)
//!
//! A validator that rejoins, after a move, a restore or a restart by two supervisors at once, may have a twin. The guard
//! knows only what this home signed, so for a moment consensus runs without signing and listens. A vote by our key,
//! later than all this home ever signed, can only come from elsewhere. Votes up to there are our own, told again by
//! peers, and mean nothing.
//!
//! Listening ends when a whole height was decided in front of us without our signature, or after one round's timeouts:
//! where everybody restarts at once, nobody waits longer than that. Where replicas speak directly (Raft, PBFT) the time
//! counts from the first peer on, also while blocks are fetched: fetched commits and whatever is said meanwhile are looked
//! through for our signature, and a leader hands blocks only to a replica that says where it stands, so that one which fell silent at the tip
//! would fall behind again while it listens. What it cannot hear: a twin on a chain where nothing
//! is decided meanwhile, or in a part of the network we are not connected with. So it goes on while we sign: whatever
//! comes by our key and was not signed here stops the node.

use crate::consensus::{Tick, Timeouts};
use crate::crypto::Verified;
use crate::types::{
    Address, Algorithm, Election, ExtendedCommit, Height, RaftStatement, Round, SignPosition, SignStep, Statement,
    StatementBody, Vote,
};
use std::fmt;
use std::time::Duration;

/// Longest time a validator listens before it signs.
pub const LISTEN_MAX: Duration = Duration::from_secs(10);
/// Shortest time, however fast heights are decided: votes of a far node take a while to come here.
pub const LISTEN_MIN: Duration = Duration::from_secs(1);
const _: () = assert!(LISTEN_MIN.as_millis() < LISTEN_MAX.as_millis(), "listening ends");

/// How long to listen: as long as an attempt at a height may take. In Tendermint one full round, a proposal and two votes;
/// in PBFT a view's patience; in Raft the longest a follower waits for its leader.
pub fn listen_for(algorithm: Algorithm, timeouts: &Timeouts) -> Duration {
    let attempt = match algorithm {
        Algorithm::Tendermint => timeouts.propose + timeouts.prevote + timeouts.precommit,
        Algorithm::Pbft => timeouts.view_change,
        Algorithm::Raft => 2 * timeouts.election,
    };
    attempt.clamp(LISTEN_MIN, LISTEN_MAX)
}

/// What listening found so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: go on as before.
    GoOn,
    /// Nobody else signs with our key: signing begins. Said once.
    Clear,
    /// Somebody else signs with our key: stop.
    Elsewhere(Elsewhere),
}

/// A signature of our key that was not made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// A vote.
    Vote {
        /// Where it stands.
        heard: SignPosition,
        /// The last that was made here.
        last: SignPosition,
    },
    /// What a Raft replica states.
    Statement {
        /// The term it was in then.
        heard: Round,
        /// The newest this node was in: it is durable before anything is stated in it.
        newest: Round,
    },
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Elsewhere::Vote { heard, last } => write!(
                f,
                "the network has {heard} by this validator's key, but the last signature made here is {last}"
            )?,
            Elsewhere::Statement { heard, newest } => write!(
                f,
                "the network has a statement of term {heard} by this validator's key, but the newest term of this node is \
                 {newest}"
            )?,
        }
        f.write_str(": another node signs with this key, or this home is an old copy")
    }
}

/// How far listening is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody can be listened to yet: the application is not there, or, in Tendermint, blocks are fetched.
    Waiting,
    /// Nothing is signed.
    Listening { from: Tick, until: Tick, quiet: Quiet, to: Company },
    /// We sign, and still listen.
    Signing,
}

/// Whom we listen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// No peer is connected: silence says nothing.
    Nobody,
    /// A peer at least.
    Somebody,
}

/// Heights decided while we listened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quiet {
    /// None from its beginning to its end. At the first we came in the middle.
    NotYet { first: Height },
    /// One at least, without our signature.
    WholeHeight,
}

/// Listens for signatures of our own key.
#[derive(Debug)]
pub struct Listening {
    own: Address,
    /// The last signature made here.
    last: SignPosition,
    longest: Duration,
    phase: Phase,
}

impl Listening {
    /// For a validator that rejoins: nothing is signed until [`Verdict::Clear`]. `last` is what the sign state says;
    /// `longest` is [`listen_for`].
    pub fn before_signing(own: Address, last: SignPosition, longest: Duration) -> Listening {
        Listening { own, last, longest, phase: Phase::Waiting }
    }

    /// For a validator of a new chain: it signs at once and listens beside.
    pub fn while_signing(own: Address, last: SignPosition) -> Listening {
        Listening { own, last, longest: LISTEN_MAX, phase: Phase::Signing }
    }

    /// True when our votes may be signed.
    pub fn may_sign(&self) -> bool {
        self.phase == Phase::Signing
    }

    /// Consensus takes up `height`, or will; gives when to [`Listening::tick`] at the latest, while nothing may be signed. Without
    /// anybody to listen to that is as late as can be: whoever decides alone must not wait for ever.
    pub fn begin(&mut self, now: Tick, height: Height, to: Company) -> Option<Tick> {
        match self.phase {
            Phase::Signing => None,
            Phase::Listening { until, .. } => Some(until),
            Phase::Waiting => {
                let until = now.plus(if to == Company::Somebody { self.longest } else { LISTEN_MAX });
                self.phase = Phase::Listening { from: now, until, quiet: Quiet::NotYet { first: height }, to };
                Some(until)
            }
        }
    }

    /// A peer came. If it is the first, listening begins now; gives when to [`Listening::tick`] instead.
    pub fn peer_came(&mut self, now: Tick) -> Option<Tick> {
        let Phase::Listening { from, until, to, .. } = &mut self.phase else { return None };
        if *to == Company::Somebody {
            return None;
        }
        (*from, *until, *to) = (now, now.plus(self.longest), Company::Somebody);
        Some(*until)
    }

    /// Something was signed here: it may come back.
    pub fn signed(&mut self, at: SignPosition) {
        self.last = if mutant!("K15") { self.last } else { self.last.max(at) };
    }

    /// A vote came from the network, its signature checked.
    pub fn heard(&self, vote: &Verified<Vote>) -> Verdict {
        self.judge(vote.get().validator_address, SignPosition::of_vote(vote.get()))
    }

    /// A statement came from the network, its signature checked, while this node is in term `newest`. Our own words of
    /// before, which anybody may repeat, are of no later term.
    pub fn heard_statement(&self, statement: &Verified<Statement>, newest: Round) -> Verdict {
        let statement = statement.get();
        match stated_in(&statement.body) {
            Some(heard) if statement.by == self.own && heard > newest => {
                Verdict::Elsewhere(Elsewhere::Statement { heard, newest })
            }
            _ => Verdict::GoOn,
        }
    }

    /// A block that was decided by these precommits was fetched.
    pub fn fetched(&self, commit: &ExtendedCommit) -> Verdict {
        let at = SignPosition { height: commit.height, round: commit.round, step: SignStep::Precommit };
        let signers = commit.signatures.iter().filter_map(|entry| entry.sig.signed());
        let mut verdicts = signers.map(|part| self.judge(part.validator_address, at));
        verdicts.find(|verdict| *verdict != Verdict::GoOn && !mutant!("K18")).unwrap_or(Verdict::GoOn)
    }

    /// A block was decided by these precommits.
    pub fn decided(&mut self, now: Tick, commit: &ExtendedCommit) -> Verdict {
        if let found @ Verdict::Elsewhere(_) = self.fetched(commit) {
            return found;
        }
        if let Phase::Listening { quiet, .. } = &mut self.phase
            && let Quiet::NotYet { first } = *quiet
            && (commit.height > first || mutant!("K16"))
        {
            *quiet = Quiet::WholeHeight;
        }
        self.tick(now)
    }

    /// Time went by.
    pub fn tick(&mut self, now: Tick) -> Verdict {
        let Phase::Listening { from, until, quiet, .. } = self.phase else { return Verdict::GoOn };
        let heard_enough = quiet == Quiet::WholeHeight && (now >= from.plus(LISTEN_MIN) || mutant!("K17"));
        if now < until && !heard_enough {
            return Verdict::GoOn;
        }
        self.phase = Phase::Signing;
        Verdict::Clear
    }

    fn judge(&self, signer: Address, at: SignPosition) -> Verdict {
        if signer == self.own && (at > self.last || (mutant!("K14") && at == self.last)) {
            return Verdict::Elsewhere(Elsewhere::Vote { heard: at, last: self.last });
        }
        Verdict::GoOn
    }
}

/// The term a Raft replica was in when it stated this; none where it does not say.
fn stated_in(body: &StatementBody) -> Option<Round> {
    let StatementBody::Raft(body) = body else { return None };
    match body {
        // A pre-vote is asked for the term after.
        RaftStatement::RequestVote { term, election: Election::PreVote, .. } => {
            Some(Round::new(term.get().saturating_sub(1)))
        }
        RaftStatement::RequestVote { term, .. }
        | RaftStatement::Ballot { term, .. }
        | RaftStatement::Heartbeat { term, .. }
        | RaftStatement::Following { term, .. }
        | RaftStatement::TimeoutNow { term, .. } => Some(*term),
        RaftStatement::ReadIndex { .. } | RaftStatement::ReadAt { .. } => None,
    }
}

#[cfg(test)]
#[path = "listen/tests.rs"]
mod tests;
