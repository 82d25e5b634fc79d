//! Reading back what was stored.

use super::{ExecuteError, Executor};
use crate::evidence::{Facts, trusted_height};
use crate::gossip::Decided;
use crate::pipeline::StoredBlock;
use crate::ports::{Store, StoreError};
use crate::replica::Resume;
use crate::types::{Algorithm, CandidateBlock, ChainState, Evidence, ExtendedCommit, Height, PartSet, SignedHeader};
use std::sync::Arc;

impl Executor {
    /// A block to be executed again, with what that needs.
    pub(super) fn load_block(&self, height: Height) -> Result<Option<StoredBlock>, ExecuteError> {
        let Some(block) = load_candidate(&*self.store, height)? else { return Ok(None) };
        let last_validators = match height.previous() {
            Some(previous) if height > self.genesis.initial_height => self.store.validators(previous)?.map(Arc::new),
            _ => None,
        };
        let results = self.store.results(height)?.map(Arc::new);
        Ok(Some(StoredBlock { block: Arc::new(block), last_validators, results }))
    }

    /// What the store knows about the evidence in a proposed block.
    pub(super) fn load_facts(&self, block: &CandidateBlock) -> Result<Vec<Option<Facts>>, ExecuteError> {
        let known = |evidence| evidence_facts(&*self.store, evidence);
        Ok(block.block().evidence.iter().map(known).collect::<Result<Vec<_>, _>>()?)
    }

    /// A decided block and its commit, for a peer that lags behind.
    pub(super) fn load_decided(&self, height: Height) -> Result<Option<Decided>, ExecuteError> {
        let Some(block) = load_candidate(&*self.store, height)? else { return Ok(None) };
        let commit = match self.store.extended_commit(height)? {
            Some(commit) => Some(commit),
            None => match self.store.commit(height)? {
                Some(commit) => Some(ExtendedCommit::from(commit)),
                None => self.store.seen_commit(height)?.map(ExtendedCommit::from),
            },
        };
        Ok(commit.map(|commit| Decided { block: Arc::new(block), commit: Arc::new(commit) }))
    }

    /// Reads what consensus needs to take up the next height, and refuses a sign state that is too old for it.
    pub(super) fn read_for_height_after(&mut self, state: &ChainState) -> Result<Resume, ExecuteError> {
        self.refuse_stale_sign_state()?;
        let last = state.last_block_height;
        let last_commit = match self.store.extended_commit(last)? {
            Some(commit) => Some(commit),
            None => self.store.seen_commit(last)?.map(ExtendedCommit::from),
        };
        let last_block = load_candidate(&*self.store, last)?.map(Arc::new);
        let last_header_app_hash = last_block.as_ref().map(|block| block.block().header.app_hash.clone());
        self.sync()?;
        let records = match state.algorithm {
            Algorithm::Tendermint => self.journal.records_since(state.next_height())?,
            Algorithm::Raft | Algorithm::Pbft => self.journal.records_with_standing(state.next_height())?,
        };
        self.refuse_forgotten_promises(state, &records)?;
        let evidence = self.store.evidence()?;
        Ok(Resume { last_commit, last_block, last_header_app_hash, records, evidence })
    }
}

/// A stored block with the parts it was saved in; none of one that was pruned, whose header may still be here because
/// evidence is judged by it, or that is pruned while it is read.
fn load_candidate(store: &dyn Store, height: Height) -> Result<Option<CandidateBlock>, ExecuteError> {
    let whole = read_candidate(store, height);
    if height < store.base() { Ok(None) } else { whole }
}

fn read_candidate(store: &dyn Store, height: Height) -> Result<Option<CandidateBlock>, ExecuteError> {
    let Some(meta) = store.block_meta(height)? else { return Ok(None) };
    let Some(mut parts) = PartSet::gather(meta.block_id.parts) else { return Ok(None) };
    let damaged = |why: &dyn std::fmt::Display| ExecuteError::Damaged { height, why: why.to_string() };
    for index in 0..meta.block_id.parts.total {
        if let Some(part) = store.part(height, index)? {
            parts.add(part).map_err(|error| damaged(&error))?;
        }
    }
    CandidateBlock::from_parts(parts).map(Some).map_err(|error| damaged(&error))
}

/// What the store knows about the height of an offence; none when it has no block there.
///
/// # Errors
/// When the store cannot be read.
pub fn evidence_facts(store: &dyn Store, evidence: &Evidence) -> Result<Option<Facts>, StoreError> {
    let height = evidence.height();
    let Some(meta) = store.block_meta(height)? else { return Ok(None) };
    let Some(validators) = store.validators(height)? else { return Ok(None) };
    let trusted = match trusted_height(evidence) {
        Some(height) => signed_header(store, height.min(store.tip()))?,
        None => None,
    };
    Ok(Some(Facts { block_time: meta.header.time, validators: Arc::new(validators), trusted }))
}

fn signed_header(store: &dyn Store, height: Height) -> Result<Option<SignedHeader>, StoreError> {
    let Some(meta) = store.block_meta(height)? else { return Ok(None) };
    let commit = match store.commit(height)? {
        Some(commit) => Some(commit),
        None => store.seen_commit(height)?,
    };
    Ok(commit.map(|commit| SignedHeader { header: meta.header, commit }))
}
