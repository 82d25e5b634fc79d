//! A store with something wrong in it.

use super::*;
use crate::crypto::Hash;
use crate::ports::{Page, Search};
use crate::types::abci::{FinalizeBlockResponse, TxResult};
use crate::types::{
    AppliedBlock, Block, BlockMeta, CandidateBlock, ChainState, Commit, EvidenceChange, ExtendedCommit, Part,
    StoredEvidence, ValidatorSet,
};

/// What becomes of blocks that are to be indexed.
pub(super) enum Index {
    Works,
    Panics,
}

/// What becomes of blocks that are to be saved.
pub(super) enum Saving {
    Works,
    Panics,
}

/// A store that is like another one but for this.
pub(super) struct Altered {
    pub(super) inner: Arc<dyn Store>,
    pub(super) index: Index,
    pub(super) saving: Saving,
    /// A height whose commit nobody signed.
    pub(super) unsigned: Option<Height>,
}

impl Altered {
    /// Like `inner` in everything.
    pub(super) fn of(inner: Arc<dyn Store>) -> Altered {
        Altered { inner, index: Index::Works, saving: Saving::Works, unsigned: None }
    }
}

macro_rules! as_the_inner_one {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        $(fn $name(&self, $($arg: $type),*) -> $out {
            self.inner.$name($($arg),*)
        })*
    };
}

impl Store for Altered {
    fn index(&self, applied: &AppliedBlock) -> Result<(), StoreError> {
        match self.index {
            Index::Works => self.inner.index(applied),
            Index::Panics => panic!("planted"),
        }
    }

    fn save_block(&self, block: &CandidateBlock, commit: &ExtendedCommit) -> Result<(), StoreError> {
        match self.saving {
            Saving::Works => self.inner.save_block(block, commit),
            Saving::Panics => panic!("planted"),
        }
    }

    fn seen_commit(&self, height: Height) -> Result<Option<Commit>, StoreError> {
        let mut commit = self.inner.seen_commit(height)?;
        if let Some(commit) = commit.as_mut().filter(|_| self.unsigned == Some(height)) {
            commit.signatures.clear();
        }
        Ok(commit)
    }

    as_the_inner_one! {
        fn base() -> Height;
        fn tip() -> Height;
        fn block(height: Height) -> Result<Option<Block>, StoreError>;
        fn block_meta(height: Height) -> Result<Option<BlockMeta>, StoreError>;
        fn height_of(hash: &Hash) -> Result<Option<Height>, StoreError>;
        fn part(height: Height, index: u32) -> Result<Option<Part>, StoreError>;
        fn commit(height: Height) -> Result<Option<Commit>, StoreError>;
        fn extended_commit(height: Height) -> Result<Option<ExtendedCommit>, StoreError>;
        fn state() -> Result<Option<ChainState>, StoreError>;
        fn validators(height: Height) -> Result<Option<ValidatorSet>, StoreError>;
        fn params(height: Height) -> Result<Option<ConsensusParams>, StoreError>;
        fn results(height: Height) -> Result<Option<FinalizeBlockResponse>, StoreError>;
        fn evidence() -> Result<StoredEvidence, StoreError>;
        fn genesis() -> Result<Option<Vec<u8>>, StoreError>;
        fn tx(hash: &Hash) -> Result<Option<TxResult>, StoreError>;
        fn search_txs(search: Search<'_>) -> Result<Page<TxResult>, StoreError>;
        fn search_blocks(search: Search<'_>) -> Result<Page<Height>, StoreError>;
        fn indexes() -> bool;
        fn save_genesis(json: &[u8], state: &ChainState) -> Result<(), StoreError>;
        fn save_results(height: Height, results: &FinalizeBlockResponse) -> Result<(), StoreError>;
        fn save_state(state: &ChainState) -> Result<(), StoreError>;
        fn save_evidence(changes: &[EvidenceChange]) -> Result<(), StoreError>;
        fn prune(retain: Height, state: &ChainState) -> Result<u64, StoreError>;
    }
}
