//! The state, and what of it past heights need: validators, parameters, results.
//!
//! A set or parameters that did not change are stored as the height from which they hold (reference §4.8, CometBFT
//! `state/store.go`), so that a chain of a million blocks and few changes stays small.

use super::Indexing;
use super::keys::{Key, Kind};
use super::kv::Durability;
use super::store::KvStore;
use super::values::{Changes, corrupt, missing};
use crate::ports::StoreError;
use crate::types::abci::FinalizeBlockResponse;
use crate::types::{ChainState, ConsensusParams, Height, ValidatorSet};
use bytes::{Buf, Bytes};

/// A full validator set is stored at least this often, in heights: what bounds the work of loading one.
const VALIDATORS_CHECKPOINT: u64 = 100_000;

/// What holds at one height: the height from which it holds, and itself where it is stored in full.
pub(super) struct Since {
    pub(super) since: Height,
    full: Option<Bytes>,
}

impl Since {
    fn encode(since: Height, full: Option<Bytes>) -> Vec<u8> {
        let mut bytes = since.get().to_be_bytes().to_vec();
        bytes.extend_from_slice(&full.unwrap_or_default());
        bytes
    }

    fn decode(key: &Key, mut bytes: Bytes) -> Result<Since, StoreError> {
        let since = bytes.try_get_i64().ok().and_then(|number| Height::try_from(number).ok());
        let since = since.ok_or_else(|| corrupt(key, "it does not begin with a height"))?;
        Ok(Since { since, full: (!bytes.is_empty()).then_some(bytes) })
    }
}

/// Where the full set for `height` is stored, when it holds since `since`.
pub(super) fn validators_stored_at(height: Height, since: Height) -> Height {
    since.max(Height::new(height.get() - height.get() % VALIDATORS_CHECKPOINT))
}

impl KvStore {
    pub(super) fn load_state(&self) -> Result<Option<ChainState>, StoreError> {
        self.values.read(&Key::single(Kind::State), ChainState::decode)
    }

    pub(super) fn load_results(&self, height: Height) -> Result<Option<FinalizeBlockResponse>, StoreError> {
        self.values.read(&Key::at(Kind::Results, height), FinalizeBlockResponse::decode)
    }

    pub(super) fn load_since(&self, kind: Kind, height: Height) -> Result<Option<Since>, StoreError> {
        let key = Key::at(kind, height);
        self.values.get(&key)?.map(|bytes| Since::decode(&key, bytes)).transpose()
    }

    /// The set that decides `height`. A set stored earlier is advanced by the difference in one step, so that its
    /// priorities are those CometBFT shows.
    pub(super) fn load_validators(&self, height: Height) -> Result<Option<ValidatorSet>, StoreError> {
        let Some(entry) = self.load_since(Kind::Validators, height)? else { return Ok(None) };
        if let Some(full) = entry.full {
            let key = Key::at(Kind::Validators, height);
            return ValidatorSet::decode(full).map(Some).map_err(|error| corrupt(&key, &error.to_string()));
        }
        let stored_at = validators_stored_at(height, entry.since);
        let key = Key::at(Kind::Validators, stored_at);
        let full = self.load_since(Kind::Validators, stored_at)?.and_then(|entry| entry.full);
        let set = ValidatorSet::decode(full.ok_or_else(|| missing(&key))?)
            .map_err(|error| corrupt(&key, &error.to_string()))?;
        let rounds = u32::try_from(height.get().saturating_sub(stored_at.get()))
            .map_err(|_| corrupt(&key, "it is too far away"))?;
        Ok(Some(set.advanced(rounds)))
    }

    pub(super) fn load_params(&self, height: Height) -> Result<Option<ConsensusParams>, StoreError> {
        let Some(entry) = self.load_since(Kind::Params, height)? else { return Ok(None) };
        let key = Key::at(Kind::Params, entry.since);
        let full = match entry.full {
            Some(full) => Some(full),
            None => self.load_since(Kind::Params, entry.since)?.and_then(|entry| entry.full),
        };
        let full = full.ok_or_else(|| missing(&key))?;
        ConsensusParams::decode(full).map(Some).map_err(|error| corrupt(&key, &error.to_string()))
    }

    pub(super) fn put_genesis(&self, genesis_json: &[u8], state: &ChainState) -> Result<(), StoreError> {
        let mut batch = state_changes(state);
        batch.put(Key::single(Kind::Genesis), genesis_json);
        if self.indexing == Indexing::On {
            self.begin_index(&mut batch, state.last_block_height);
        }
        self.values.write(batch, if mutant!("S95") { Durability::Later } else { Durability::Now }, "save the genesis")
    }

    /// Not synced by itself: replay makes the state again from block and results, which are durable before.
    pub(super) fn put_state(&self, state: &ChainState) -> Result<(), StoreError> {
        let what = format!("save the state after block {}", state.last_block_height);
        self.values.write(state_changes(state), Durability::Later, &what)
    }

    /// Synced: after this the application commits, and only these bytes can tell a restarted node what it answered.
    pub(super) fn put_results(&self, height: Height, results: &FinalizeBlockResponse) -> Result<(), StoreError> {
        let mut batch = Changes::default();
        batch.put(Key::at(Kind::Results, height), &results.encode());
        self.values.write(
            batch,
            if mutant!("S94") { Durability::Later } else { Durability::Now },
            &format!("save the results of block {height}"),
        )
    }
}

/// The state with the validators of the height after next and the parameters of the next height.
fn state_changes(state: &ChainState) -> Changes {
    let mut batch = Changes::default();
    let next = state.next_height();
    if state.last_block_height == Height::ZERO {
        // A change by InitChain or a block is in force two heights later; only the first height's set comes from here.
        put_validators(&mut batch, next, next, &state.validators);
    }
    put_validators(&mut batch, next.next(), state.last_height_validators_changed, &state.next_validators);
    let changed = state.last_height_consensus_params_changed;
    let full = (changed == next).then(|| state.consensus_params.encode());
    batch.put(Key::at(Kind::Params, next), &Since::encode(changed, full));
    batch.put(Key::single(Kind::State), &state.encode());
    batch
}

fn put_validators(batch: &mut Changes, height: Height, since: Height, set: &ValidatorSet) {
    let full = validators_stored_at(height, since) == height;
    batch.put(Key::at(Kind::Validators, height), &Since::encode(since, full.then(|| set.encode())));
}
