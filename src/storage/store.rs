//! The store over any backend: what it holds in memory, and the port it implements. The work is in the topic files.

use super::Indexing;
use super::evidence::EvidenceSyncs;
use super::keys::{Key, Kind};
use super::kv::{Durability, Kv};
use super::values::{Changes, Values, corrupt};
use crate::crypto::Hash;
use crate::ports::{Page, Search, Store, StoreError};
use crate::types::abci::{FinalizeBlockResponse, TxResult};
use crate::types::{
    AppliedBlock, Block, BlockMeta, CandidateBlock, ChainState, Commit, ConsensusParams, EvidenceChange,
    ExtendedCommit, Height, Part, StoredEvidence, ValidatorSet,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// Headers of the newest blocks kept in memory.
const METAS_CACHED: usize = 256;

/// Blocks, states, results and the index over a backend.
#[derive(Debug)]
pub struct KvStore {
    pub(super) values: Values,
    pub(super) indexing: Indexing,
    heights: RwLock<Heights>,
    metas: Mutex<BTreeMap<Height, BlockMeta>>,
    /// Held while the stored heights change, so that pruning may run beside saving.
    changing_heights: Mutex<()>,
    pub(super) evidence_syncs: Mutex<EvidenceSyncs>,
    /// Keeps other processes out; none in memory.
    _lock: Option<File>,
}

/// Which blocks are there. All zero in an empty store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Heights {
    /// Lowest whole block.
    pub(super) base: Height,
    /// Highest block.
    pub(super) tip: Height,
    /// Lowest header; below `base` for as long as evidence may need it.
    pub(super) headers: Height,
}

impl Heights {
    pub(super) fn encode(&self) -> Vec<u8> {
        [self.base, self.tip, self.headers].iter().flat_map(|height| height.get().to_be_bytes()).collect()
    }

    fn decode(bytes: &[u8]) -> Option<Heights> {
        let (chunks, rest) = bytes.as_chunks::<8>();
        let [base, tip, headers] = chunks else { return None };
        let height = |bytes: &[u8; 8]| Height::try_from(i64::from_be_bytes(*bytes)).ok();
        let heights = Heights { base: height(base)?, tip: height(tip)?, headers: height(headers)? };
        let ordered = (heights.headers <= heights.base && heights.base <= heights.tip) || mutant!("S93");
        (rest.is_empty() && ordered).then_some(heights)
    }

    fn pruned(&self, height: Height) -> bool {
        height < self.base
    }

    pub(super) fn hold(&self, height: Height) -> bool {
        self.tip != Height::ZERO && self.base <= height && height <= self.tip
    }
}

impl KvStore {
    /// Takes up what a backend holds. `lock` is kept for as long as the store lives.
    pub fn new(kv: Box<dyn Kv>, indexing: Indexing, lock: Option<File>) -> Result<KvStore, StoreError> {
        let values = Values { kv };
        let key = Key::single(Kind::Heights);
        let heights = match values.get(&key)? {
            None => Heights::default(),
            Some(bytes) => Heights::decode(&bytes).ok_or_else(|| corrupt(&key, "it is not three ordered heights"))?,
        };
        let store = KvStore {
            values,
            indexing,
            heights: RwLock::new(heights),
            metas: Mutex::default(),
            changing_heights: Mutex::default(),
            evidence_syncs: Mutex::default(),
            _lock: lock,
        };
        store.catch_up_index()?;
        Ok(store)
    }

    pub(super) fn heights(&self) -> Heights {
        *self.heights.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a batch that changes the stored heights; `change` makes the new ones of those of this moment.
    pub(super) fn write_heights(
        &self,
        mut batch: Changes,
        durability: Durability,
        what: &str,
        change: impl FnOnce(Heights) -> Heights,
    ) -> Result<(), StoreError> {
        let _one_at_a_time = self.changing_heights.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.heights();
        let after = change(before);
        batch.put(Key::single(Kind::Heights), &after.encode());
        // Readers must not look for what is being removed, nor see what is not stored yet.
        self.set_heights(Heights { tip: if mutant!("S91") { after.tip } else { before.tip }, ..after });
        self.values.write(batch, durability, what)?;
        self.set_heights(after);
        Ok(())
    }

    fn set_heights(&self, heights: Heights) {
        *self.heights.write().unwrap_or_else(PoisonError::into_inner) = heights;
    }

    fn metas(&self) -> MutexGuard<'_, BTreeMap<Height, BlockMeta>> {
        self.metas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cached_meta(&self, height: Height) -> Option<BlockMeta> {
        self.metas().get(&height).cloned()
    }

    /// Keeps a header in memory, unless all those kept are newer.
    pub(super) fn cache_meta(&self, meta: &BlockMeta) {
        let mut metas = self.metas();
        metas.insert(meta.header.height, meta.clone());
        if metas.len() > METAS_CACHED && !mutant!("S90") {
            metas.pop_first();
        }
    }

    pub(super) fn forget_metas_below(&self, height: Height) {
        let mut metas = self.metas();
        *metas = metas.split_off(&height);
    }
}

impl Store for KvStore {
    fn base(&self) -> Height {
        self.heights().base
    }

    fn tip(&self) -> Height {
        self.heights().tip
    }

    fn block(&self, height: Height) -> Result<Option<Block>, StoreError> {
        self.load_block(height)
    }

    fn block_meta(&self, height: Height) -> Result<Option<BlockMeta>, StoreError> {
        self.load_meta(height)
    }

    fn height_of(&self, block_hash: &Hash) -> Result<Option<Height>, StoreError> {
        self.load_height_of(block_hash)
    }

    fn part(&self, height: Height, index: u32) -> Result<Option<Part>, StoreError> {
        self.load_part(height, index)
    }

    fn commit(&self, height: Height) -> Result<Option<Commit>, StoreError> {
        self.values.read(&Key::at(Kind::Commit, height), Commit::decode)
    }

    fn seen_commit(&self, height: Height) -> Result<Option<Commit>, StoreError> {
        self.values.read(&Key::at(Kind::SeenCommit, height), Commit::decode)
    }

    fn extended_commit(&self, height: Height) -> Result<Option<ExtendedCommit>, StoreError> {
        self.values.read(&Key::at(Kind::ExtendedCommit, height), ExtendedCommit::decode)
    }

    fn state(&self) -> Result<Option<ChainState>, StoreError> {
        self.load_state()
    }

    fn validators(&self, height: Height) -> Result<Option<ValidatorSet>, StoreError> {
        self.load_validators(height)
    }

    fn params(&self, height: Height) -> Result<Option<ConsensusParams>, StoreError> {
        self.load_params(height)
    }

    fn results(&self, height: Height) -> Result<Option<FinalizeBlockResponse>, StoreError> {
        // Results of pruned blocks may be kept for the index; to everybody else they are gone.
        if self.heights().pruned(height) && !mutant!("S92") { Ok(None) } else { self.load_results(height) }
    }

    fn evidence(&self) -> Result<StoredEvidence, StoreError> {
        self.load_evidence()
    }

    fn genesis(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.values.get(&Key::single(Kind::Genesis))?.map(Vec::from))
    }

    fn tx(&self, hash: &Hash) -> Result<Option<TxResult>, StoreError> {
        self.require_index()?;
        self.load_tx(hash)
    }

    fn search_txs(&self, search: Search<'_>) -> Result<Page<TxResult>, StoreError> {
        self.require_index()?;
        self.find_txs(search)
    }

    fn search_blocks(&self, search: Search<'_>) -> Result<Page<Height>, StoreError> {
        self.require_index()?;
        self.find_blocks(search)
    }

    fn indexes(&self) -> bool {
        self.indexing == Indexing::On
    }

    fn save_genesis(&self, genesis_json: &[u8], state: &ChainState) -> Result<(), StoreError> {
        crash_point!("store.genesis.before");
        self.put_genesis(genesis_json, state)?;
        crash_point!("store.genesis.after");
        Ok(())
    }

    fn save_block(&self, block: &CandidateBlock, commit: &ExtendedCommit) -> Result<(), StoreError> {
        crash_point!("store.block.before");
        self.put_block(block, commit)?;
        crash_point!("store.block.after");
        Ok(())
    }

    fn save_results(&self, height: Height, results: &FinalizeBlockResponse) -> Result<(), StoreError> {
        crash_point!("store.results.before");
        self.put_results(height, results)?;
        crash_point!("store.results.after");
        Ok(())
    }

    fn save_state(&self, state: &ChainState) -> Result<(), StoreError> {
        crash_point!("store.state.before");
        self.put_state(state)?;
        crash_point!("store.state.after");
        Ok(())
    }

    fn save_evidence(&self, changes: &[EvidenceChange]) -> Result<(), StoreError> {
        crash_point!("store.evidence.before");
        self.put_evidence(changes)?;
        crash_point!("store.evidence.after");
        Ok(())
    }

    fn index(&self, applied: &AppliedBlock) -> Result<(), StoreError> {
        if self.indexing == Indexing::On {
            crash_point!("store.index.before");
            self.index_applied(applied)?;
            crash_point!("store.index.after");
        }
        Ok(())
    }

    fn prune(&self, retain: Height, state: &ChainState) -> Result<u64, StoreError> {
        self.prune_below(retain, state)
    }
}
