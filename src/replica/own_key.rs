//! Our own key: nothing is signed with it before listening ends, and nobody else signs with it unnoticed.
//!
//! While we listen under Tendermint, consensus runs as if we were no validator, and its steps and timeouts are not
//! journaled: they would say that we had been there and let a vote pass. What peers said is journaled as always, for they
//! will not say it twice; so when listening ends in the middle of a height, consensus begins it again from the journal, now
//! with a key. Under Raft and PBFT blocks are fetched while we listen, and no machine runs: what is said is checked
//! against the state's signers all the same, for nobody but us would know our key in it.

use super::listen::{Company, Elsewhere, Listening, Verdict, listen_for};
use super::machine::Machine;
use super::{Effect, Now, Replica, Settings, Waker, Whose};
use crate::consensus::tendermint::Message;
use crate::consensus::{self, Signed};
use crate::crypto::Verified;
use crate::gossip::DirectSigners;
use crate::sync::SyncInput;
use crate::types::{Address, Algorithm, ExtendedCommit, Height, JournalRecord, SignPosition, Statement, Vote};
use std::sync::Arc;

/// How a validator looks for others that sign with its key. Positions are what its sign state says it signed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyCheck {
    /// Not at all.
    Skipped,
    /// Beside signing: for a validator of a new chain, or one with nobody to listen to.
    WhileSigning(SignPosition),
    /// Before it signs, and then beside: for one that rejoins.
    BeforeSigning(SignPosition),
}

/// What became of listening for our own key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyNews {
    /// Nobody else signs with it as far as one can hear: signing begins.
    Clear,
    /// Somebody else does: stop before anything contradicts it.
    Elsewhere(Elsewhere),
}

impl Settings {
    pub(super) fn listening(&self, algorithm: Algorithm) -> Option<Listening> {
        let own = self.own?;
        match self.key_check {
            KeyCheck::Skipped => None,
            KeyCheck::WhileSigning(last) => Some(Listening::while_signing(own, last)),
            KeyCheck::BeforeSigning(last) => {
                Some(Listening::before_signing(own, last, listen_for(algorithm, &self.timeouts)))
            }
        }
    }
}

impl Replica {
    /// As whom consensus votes now; nobody while we listen.
    pub(super) fn signs_as(&self) -> Option<Address> {
        self.settings.own.filter(|_| self.may_sign())
    }

    /// True while the own key signs nothing, because this node listens whether another one does with it.
    pub fn listens_for_own_key(&self) -> bool {
        self.settings.own.is_some() && !self.may_sign()
    }

    fn may_sign(&self) -> bool {
        self.listening.as_ref().is_none_or(Listening::may_sign)
    }

    /// Consensus takes up a height.
    pub(super) fn listen_from(&mut self, now: Now, height: Height, out: &mut Vec<Effect>) {
        let company = if self.peers.is_empty() { Company::Nobody } else { Company::Somebody };
        let until = self.listening.as_mut().and_then(|listening| listening.begin(now.tick, height, company));
        out.extend(until.map(|at| Effect::WakeAt { waker: Waker::Listening, at }));
    }

    /// Whose signatures are checked while consensus stands still; nobody's, unless somebody may speak with our key.
    pub(super) fn overheard(&self) -> Option<Whose> {
        let direct = self.state.algorithm != Algorithm::Tendermint && self.listening.is_some() && !mutant!("K80");
        direct.then(|| Whose::Direct(Arc::new(DirectSigners::of(&self.state))))
    }

    /// The state is another one: while blocks are fetched, what is said of its height is checked.
    pub(super) fn overhear(&self, out: &mut Vec<Effect>) {
        if self.consensus.is_none() {
            out.extend(self.overheard().map(|whose| Effect::Signers(Some(whose))));
        }
    }

    /// A peer came: there is somebody to listen to.
    pub(super) fn listen_to_peer(&mut self, now: Now, out: &mut Vec<Effect>) {
        let until = self.listening.as_mut().and_then(|listening| listening.peer_came(now.tick));
        out.extend(until.map(|at| Effect::WakeAt { waker: Waker::Listening, at }));
    }

    /// A record for the journal, unless it would say that we took part while we only listened.
    pub(super) fn persist(&self, record: JournalRecord, out: &mut Vec<Effect>) {
        let of_a_participant = matches!(record, JournalRecord::RoundStep { .. } | JournalRecord::Timeout { .. });
        if self.may_sign() || !of_a_participant {
            out.push(Effect::Persist(record));
        }
    }

    /// A request of consensus for a signature. While we listen there is one only for what was begun before the node
    /// stopped; it is asked for again when consensus begins anew.
    pub(super) fn have_signed(&self, request: crate::types::SignRequest, out: &mut Vec<Effect>) {
        if self.may_sign() || mutant!("K19") {
            out.push(Effect::Sign(request));
        }
    }

    /// The signer's answer: from now on this may come back from anywhere.
    pub(super) fn note_signed(&mut self, signed: &Signed) {
        let at = match signed {
            Signed::Vote(vote) => SignPosition::of_vote(vote),
            Signed::Proposal(proposal) => SignPosition::of_proposal(proposal),
            Signed::Statement(_) | Signed::Refused { .. } => return,
        };
        if let Some(listening) = &mut self.listening {
            listening.signed(at);
        }
    }

    /// A message from a peer, its signatures checked; false when it shows our key at work elsewhere.
    pub(super) fn is_harmless(&mut self, said: &Message, out: &mut Vec<Effect>) -> bool {
        let Message::Vote(vote) = said else { return true };
        self.is_harmless_vote(vote, out)
    }

    /// A vote from a peer, its signature checked; false when it shows our key at work elsewhere.
    pub(super) fn is_harmless_vote(&mut self, vote: &Verified<Vote>, out: &mut Vec<Effect>) -> bool {
        let Some(listening) = &self.listening else { return true };
        let verdict = listening.heard(vote);
        let harmless = verdict == Verdict::GoOn;
        self.conclude(verdict, out);
        harmless
    }

    /// What a replica of Raft states, its signature checked; false when it shows our key at work elsewhere.
    pub(super) fn is_harmless_statement(&self, statement: &Verified<Statement>, out: &mut Vec<Effect>) -> bool {
        let Some(listening) = &self.listening else { return true };
        let newest = self.consensus.as_ref().map_or(self.newest_round, Machine::round);
        let verdict = listening.heard_statement(statement, newest);
        let harmless = verdict == Verdict::GoOn;
        self.conclude(verdict, out);
        harmless
    }

    /// Consensus decided. If that ends listening, the next height begins with a key.
    pub(super) fn listen_to_decision(&mut self, now: Now, commit: &ExtendedCommit, out: &mut Vec<Effect>) {
        let Some(listening) = &mut self.listening else { return };
        let verdict = listening.decided(now.tick, commit);
        let clear = verdict == Verdict::Clear;
        self.conclude(verdict, out);
        if clear {
            self.sync(now, SyncInput::MayJoin, out);
        }
    }

    /// A fetched block is to be applied; false when its commit shows our key at work elsewhere.
    pub(super) fn is_harmless_commit(&self, commit: &ExtendedCommit, out: &mut Vec<Effect>) -> bool {
        let verdict = self.listening.as_ref().map_or(Verdict::GoOn, |listening| listening.fetched(commit));
        let harmless = verdict == Verdict::GoOn;
        self.conclude(verdict, out);
        harmless
    }

    /// Time is up. The others may be waiting for our votes: the height is begun again at once, unless it is decided
    /// already or blocks are being fetched; then the next one begins with a key.
    pub(super) fn listened(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(listening) = &mut self.listening else { return };
        let verdict = listening.tick(now.tick);
        let clear = verdict == Verdict::Clear;
        self.conclude(verdict, out);
        if clear {
            self.sync(now, SyncInput::MayJoin, out);
        }
        if clear && self.consensus.is_some() && self.decided_at.is_none() && !self.beginning {
            self.beginning = true;
            out.push(Effect::Begin(Arc::clone(&self.state)));
        }
    }

    fn conclude(&self, verdict: Verdict, out: &mut Vec<Effect>) {
        match verdict {
            Verdict::GoOn => {}
            Verdict::Clear => out.push(Effect::Key(KeyNews::Clear)),
            Verdict::Elsewhere(elsewhere) => out.push(Effect::Key(KeyNews::Elsewhere(elsewhere))),
        }
    }

    /// An equivocator, unless it is we: a twin of ours is stopped, not denounced.
    pub(super) fn accuse(&mut self, accusation: consensus::Accusation) {
        if Some(accusation.first.validator_address) != self.settings.own || mutant!("A93") {
            self.evidence.report_conflict(accusation.first, accusation.second);
        }
    }
}
