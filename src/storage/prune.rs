//! Removing old blocks, in small batches, without losing what evidence may still be judged by.
//!
//! Headers, commits and validator sets stay as long as misbehaviour at their height could be punished (reference
//! §6.10); whole blocks, seen commits and results go. Where transactions are indexed, they and their results stay: the
//! index is never pruned.

use super::Indexing;
use super::index::join_txs;
use super::keys::{self, Key, Kind};
use super::kv::{Direction, Durability};
use super::states::validators_stored_at;
use super::store::{Heights, KvStore};
use super::values::{Changes, failed};
use crate::ports::StoreError;
use crate::types::{ChainState, EvidenceParams, Height, Time};
use std::ops::ControlFlow;

/// Changes gathered before they are written. A batch ends with the height it is in.
const CHANGES_PER_BATCH: usize = 2_000;

impl KvStore {
    pub(super) fn prune_below(&self, retain: Height, state: &ChainState) -> Result<u64, StoreError> {
        let before = self.heights();
        if retain > before.tip && !mutant!("W26") {
            return Err(StoreError(format!(
                "cannot remove the blocks below {retain}: the newest block is {}",
                before.tip
            )));
        }
        if retain <= before.base {
            return Ok(0);
        }
        crash_point!("store.prune.before");
        self.remove_blocks(before, retain)?;
        crash_point!("store.prune.headers.before");
        let needed = self.evidence_needs(before.headers, retain, state)?;
        self.remove_headers(needed)?;
        self.remove_states(Kind::Validators, needed)?;
        self.remove_states(Kind::Params, needed)?;
        crash_point!("store.prune.after");
        Ok(retain.get() - before.base.get())
    }

    /// Removes whole blocks from the base upward. Readers see the new base before the first part is gone.
    fn remove_blocks(&self, before: Heights, retain: Height) -> Result<(), StoreError> {
        let mut batch = Changes::default();
        let mut height = before.base;
        while height < retain {
            self.remove_block(&mut batch, height)?;
            height = height.next();
            if batch.len() >= CHANGES_PER_BATCH || height == retain {
                let changes = std::mem::take(&mut batch);
                let moved = |heights| Heights { base: height, ..heights };
                self.write_heights(changes, Durability::Later, "remove old blocks", moved)?;
            }
        }
        Ok(())
    }

    fn remove_block(&self, batch: &mut Changes, height: Height) -> Result<(), StoreError> {
        match self.indexing {
            Indexing::On => {
                if let Some(block) = self.load_block(height)?.filter(|_| !mutant!("W30")) {
                    batch.put(Key::at(Kind::PrunedTxs, height), &join_txs(&block.txs));
                }
            }
            Indexing::Off => batch.delete(Key::at(Kind::Results, height)),
        }
        if let Some(meta) = self.load_meta(height)? {
            (0..meta.block_id.parts.total).for_each(|index| batch.delete(Key::part(height, index)));
            batch.delete(Key::hash(Kind::BlockHash, &meta.block_id.hash));
        }
        batch.delete(Key::at(Kind::SeenCommit, height));
        batch.delete(Key::at(Kind::ExtendedCommit, height));
        Ok(())
    }

    /// The lowest height, at most `retain`, at which misbehaviour can still be punished.
    fn evidence_needs(&self, from: Height, retain: Height, state: &ChainState) -> Result<Height, StoreError> {
        let limits = &state.consensus_params.evidence;
        let mut height = from;
        while height < retain {
            let meta = self.load_meta(height)?;
            let young = |time: Time| !expired(limits, state, height, time);
            if meta.is_some_and(|meta| young(meta.header.time)) && !mutant!("W27") {
                break;
            }
            height = height.next();
        }
        Ok(height)
    }

    fn remove_headers(&self, needed: Height) -> Result<(), StoreError> {
        let mut batch = Changes::default();
        let mut height = self.heights().headers;
        self.forget_metas_below(needed);
        while height < needed {
            batch.delete(Key::at(Kind::Meta, height));
            batch.delete(Key::at(Kind::Commit, height));
            height = height.next();
            if batch.len() >= CHANGES_PER_BATCH || height == needed {
                let changes = std::mem::take(&mut batch);
                let moved = |heights| Heights { headers: height, ..heights };
                self.write_heights(changes, Durability::Later, "remove old headers", moved)?;
            }
        }
        Ok(())
    }

    /// Removes validators or parameters below `needed`, but for the entry that later ones refer to.
    fn remove_states(&self, kind: Kind, needed: Height) -> Result<(), StoreError> {
        let (Some(entry), Some(last)) = (self.load_since(kind, needed)?, needed.previous()) else { return Ok(()) };
        let kept = match kind {
            Kind::Validators => validators_stored_at(needed, entry.since),
            _ => entry.since,
        };
        loop {
            let mut batch = Changes::default();
            let mut collect = |key: &[u8], _: &[u8]| {
                if keys::height_in(key) != Some(kept) || mutant!("W28") {
                    batch.delete_bytes(key.to_vec());
                }
                if batch.len() < CHANGES_PER_BATCH { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            self.values
                .kv
                .scan(&keys::heights(kind, Height::ZERO, last), Direction::Up, &mut collect)
                .map_err(|error| failed(&format!("look for old {}s", kind.words()), &error))?;
            let full = batch.len() >= CHANGES_PER_BATCH;
            self.values.write(batch, Durability::Later, "remove old states")?;
            if !full {
                return Ok(());
            }
        }
    }
}

/// Evidence expires when it is too old by blocks **and** by time (reference §4.12).
fn expired(limits: &EvidenceParams, state: &ChainState, height: Height, time: Time) -> bool {
    let blocks = state.last_block_height.get().saturating_sub(height.get());
    (blocks > limits.max_age_num_blocks || mutant!("W29"))
        && state.last_block_time.since(time) > limits.max_age_duration
}
