//! Executes what a replica orders of the journal, the store and the key: in order, behind the barrier.
//!
//! Synchronous and over ports only. The node runs it over files, the simulator over files that lie: what is simulated is
//! what ships. What is not of the disk or the key it hands back to its caller. The part of peers' messages that needs no
//! replica stands here for the same reason.
//!
//! Reading order: this file → `sign` → `load` → `begin` → `sign_state` → `shown` (orders) → `reception` → `seen` →
//! `fetched` → `serve_blocks` (peers).

mod begin;
mod fetched;
mod load;
mod reception;
mod seen;
mod serve_blocks;
mod shown;
mod sign;
mod sign_state;

pub use begin::{Beginning, Standing};
pub use fetched::{FetchedBlock, Owed, check_commit, read_block};
pub use load::evidence_facts;
pub use reception::{Handed, Received, Reception, Speaker, heard_directly, judge_evidence};
pub use seen::{Place, Seen};
pub use serve_blocks::{answer, status};
pub use shown::{HEIGHTS_SEARCHED_MAX, Shown, ShownBy, newest_shown};
pub use sign::NotSigned;
pub use sign_state::{BlocksFromAnOlderCopy, Deed, DoppelgangerCheck, ForgottenPromises, Hearing, StaleSignState};

use crate::consensus::Now;
use crate::pipeline::PipelineInput;
use crate::ports::{Journal, JournalError, Signer, SignerFailed, Store, StoreError};
use crate::replica::{Effect, Input};
use crate::types::{ChainState, GenesisDoc, Height};
use std::collections::VecDeque;
use std::sync::Arc;

/// Why an order could not be executed. After any of these the node must stop: what is on disk is unknown, or going on
/// could sign twice.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The signer.
    #[error("{0}. The node stops: going on could sign twice")]
    Signer(#[from] SignerFailed),
    /// The sign state.
    #[error(transparent)]
    StaleSignState(#[from] StaleSignState),
    /// The journal of a validator that signed or promised something does not say what it promised.
    #[error(transparent)]
    ForgottenPromises(#[from] ForgottenPromises),
    /// The blocks are from an older copy than the journal.
    #[error(transparent)]
    BlocksFromAnOlderCopy(#[from] BlocksFromAnOlderCopy),
    /// The genesis document and the store.
    #[error("{0}")]
    Genesis(String),
    /// A stored block.
    #[error(
        "block {height} in the store is damaged: {why}. Restore the data directory from a copy, or run \
         'quorate reset-state', which keeps what this validator signed, and synchronise again"
    )]
    Damaged {
        /// Which.
        height: Height,
        /// What is wrong with it.
        why: String,
    },
}

/// What became of an order.
#[derive(Debug)]
pub enum Executed {
    /// It is done; its answer, if it has one, is among the answers.
    Done,
    /// The guard was asked for a signature, and gave or refused it.
    Guarded(Result<(), NotSigned>),
    /// This state is saved.
    Saved(Arc<ChainState>),
    /// What the height after this state needs was read.
    Begun(Arc<ChainState>),
    /// It is not about journal, store or key.
    NotOurs(Effect),
}

/// Whether the journal holds records that a power cut would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Journalled {
    Durably,
    InMemory,
}

/// A replica's hands on journal, store and key.
pub struct Executor {
    genesis: Arc<GenesisDoc>,
    genesis_json: Vec<u8>,
    journal: Box<dyn Journal>,
    journalled: Journalled,
    signer: Option<Box<dyn Signer>>,
    store: Arc<dyn Store>,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("journalled", &self.journalled).finish_non_exhaustive()
    }
}

impl Executor {
    /// Over these. `genesis_json` is the genesis document as its file has it, kept in the store.
    pub fn new(
        genesis: (Arc<GenesisDoc>, Vec<u8>),
        journal: Box<dyn Journal>,
        signer: Option<Box<dyn Signer>>,
        store: Arc<dyn Store>,
    ) -> Executor {
        let (genesis, genesis_json) = genesis;
        Executor { genesis, genesis_json, journal, journalled: Journalled::Durably, signer, store }
    }

    /// Whose signatures count.
    pub fn genesis(&self) -> &Arc<GenesisDoc> {
        &self.genesis
    }

    /// Holder of the validator key.
    pub fn signer(&self) -> Option<&dyn Signer> {
        self.signer.as_deref()
    }

    /// A second vote for something else, which a validator that misbehaves signed along with the last one.
    #[cfg(feature = "misbehave")]
    pub fn second_vote(&mut self) -> Option<crate::types::Vote> {
        self.signer.as_mut().and_then(|signer| signer.second_vote())
    }

    /// Does what is ordered if it is about journal, store or key; answers that come at once are queued.
    ///
    /// # Errors
    /// The node must stop.
    pub fn execute(
        &mut self,
        now: Now,
        effect: Effect,
        answers: &mut VecDeque<Input>,
    ) -> Result<Executed, ExecuteError> {
        match effect {
            Effect::Persist(record) => {
                self.journal.append(now.wall, &record)?;
                self.journalled = Journalled::InMemory;
            }
            Effect::Sign(request) => {
                if !mutant!("W1") {
                    self.sync()?;
                }
                return Ok(self.have_signed(request, answers)?);
            }
            Effect::SaveBlock { block, commit } => {
                if !mutant!("W3") {
                    self.sync()?;
                }
                self.store.save_block(&block, &commit)?;
            }
            Effect::SaveResults { height, results } => self.store.save_results(height, &results)?,
            Effect::SaveState(state) => {
                self.save_state(&state)?;
                return Ok(Executed::Saved(state));
            }
            Effect::SaveEvidence(changes) => self.store.save_evidence(&changes)?,
            Effect::LoadBlock(height) => {
                crash_point!("replay.load.before");
                let stored = self.load_block(height)?.map(Box::new);
                crash_point!("replay.load.after");
                answers.push_back(Input::Pipeline(PipelineInput::Loaded { height, stored }));
            }
            Effect::LoadDecided(height) => {
                let decided = self.load_decided(height)?;
                answers.push_back(Input::DecidedLoaded { height, decided });
            }
            Effect::LoadFacts { height, round, block } => {
                let facts = self.load_facts(&block)?;
                answers.push_back(Input::FactsLoaded { height, round, block, facts });
            }
            Effect::Begin(state) => {
                crash_point!("begin.before");
                let resume = self.read_for_height_after(&state)?;
                crash_point!("begin.after");
                answers.push_back(Input::Resumed(Box::new(resume)));
                return Ok(Executed::Begun(state));
            }
            other => return Ok(Executed::NotOurs(other)),
        }
        Ok(Executed::Done)
    }

    /// The barrier: everything persisted so far becomes durable, once, before the first promise that needs it.
    ///
    /// # Errors
    /// What is on disk is unknown: the node must stop.
    pub fn sync(&mut self) -> Result<(), ExecuteError> {
        if self.journalled == Journalled::InMemory {
            self.journal.sync()?;
            self.journalled = Journalled::Durably;
        }
        Ok(())
    }

    fn save_state(&self, state: &ChainState) -> Result<(), ExecuteError> {
        // Only the first state can come before the genesis document; it may be large, so it is not read at each height.
        if state.last_block_height == Height::ZERO && self.store.genesis()?.is_none() && !mutant!("W13") {
            self.store.save_genesis(&self.genesis_json, state)?;
        }
        self.store.save_state(state)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
