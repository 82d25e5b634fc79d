//! The real signer behind a line that can break: it refuses, cannot be reached, its answers are late or lost.

use crate::crypto::PublicKey;
use crate::ports::{SignError, SignMemory, Signer, SignerFailed};
use crate::privval::FileSigner;
use crate::sim::SignerMood;
use crate::types::{ChainId, Proposal, Statement, UnsignedProposal, UnsignedStatement, UnsignedVote, Vote};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How the signer of a home is disposed. It outlives the node.
#[derive(Debug, Clone, Default)]
pub(super) struct Mood(Arc<Mutex<Disposition>>);

#[derive(Debug, Default)]
struct Disposition {
    /// None when it signs.
    mood: Option<SignerMood>,
    /// How long it takes for an answer.
    takes: Duration,
    /// How long it took for those since this was asked last.
    took: Duration,
}

impl Mood {
    fn lock(&self) -> MutexGuard<'_, Disposition> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it is so; none when it signs.
    pub(super) fn set(&self, mood: Option<SignerMood>) {
        self.lock().mood = mood;
    }

    /// How it is.
    pub(super) fn get(&self) -> Option<SignerMood> {
        self.lock().mood
    }

    /// From now on each answer takes so long.
    pub(super) fn take_time(&self, takes: Duration) {
        self.lock().takes = takes;
    }

    /// How long it took for its answers since this was asked last.
    pub(super) fn take_stall(&self) -> Duration {
        std::mem::take(&mut self.lock().took)
    }

    /// It is asked something.
    fn ask(&self) -> Option<SignerMood> {
        let mut state = self.lock();
        let takes = state.takes;
        state.took += takes;
        state.mood
    }
}

/// The signer as the node reaches it.
pub(super) struct Moody {
    inner: FileSigner,
    mood: Mood,
}

impl Moody {
    pub(super) fn new(inner: FileSigner, mood: Mood) -> Moody {
        Moody { inner, mood }
    }

    fn ask<T, E: From<SignerFailed>>(
        &mut self,
        refused: impl FnOnce() -> E,
        sign: impl FnOnce(&mut FileSigner) -> Result<T, E>,
    ) -> Result<T, E> {
        match self.mood.ask() {
            None => sign(&mut self.inner),
            Some(SignerMood::Refuses) => Err(refused()),
            Some(SignerMood::Away) => Err(away().into()),
            Some(SignerMood::AnswersAreLost) => {
                sign(&mut self.inner)?;
                Err(away().into())
            }
        }
    }
}

fn away() -> SignerFailed {
    SignerFailed("the signer does not answer (simulated)".to_owned())
}

fn refusal() -> SignError {
    SignError::Refused("the signer does not want to (simulated)".to_owned())
}

impl Signer for Moody {
    fn public_key(&self) -> PublicKey {
        self.inner.public_key()
    }

    fn memory(&self) -> Option<SignMemory> {
        self.inner.memory()
    }

    fn sign_vote(&mut self, chain_id: &ChainId, vote: UnsignedVote) -> Result<Vote, SignError> {
        self.ask(refusal, |signer| signer.sign_vote(chain_id, vote))
    }

    fn sign_proposal(&mut self, chain_id: &ChainId, proposal: UnsignedProposal) -> Result<Proposal, SignError> {
        self.ask(refusal, |signer| signer.sign_proposal(chain_id, proposal))
    }

    /// Nobody refuses a statement: the port does not know of it.
    fn sign_statement(&mut self, chain_id: &ChainId, statement: UnsignedStatement) -> Result<Statement, SignerFailed> {
        self.ask(away, |signer| signer.sign_statement(chain_id, statement))
    }
}
