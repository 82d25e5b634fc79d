//! Evidence: what waits for a block, and for ever what blocks proved, also when those blocks are pruned.

use super::keys::{self, Key, Kind};
use super::kv::{Direction, Durability};
use super::store::KvStore;
use super::values::{Changes, corrupt, failed, missing};
use crate::ports::StoreError;
use crate::types::{Block, Evidence, EvidenceChange, EvidenceKey, Height, StoredEvidence};
use std::ops::ControlFlow;
use std::sync::PoisonError;

/// Syncs for evidence between two blocks: one offender could make us sync thousands of times.
const EVIDENCE_SYNCS_MAX: u32 = 16;

/// Syncs for evidence since a block.
#[derive(Debug, Default)]
pub(super) struct EvidenceSyncs {
    tip: Height,
    count: u32,
}

impl EvidenceSyncs {
    /// How the next piece is saved.
    fn next(&mut self, tip: Height) -> Durability {
        if self.tip != tip {
            *self = EvidenceSyncs { tip, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        if self.count > EVIDENCE_SYNCS_MAX { Durability::Later } else { Durability::Now }
    }
}

impl KvStore {
    pub(super) fn load_evidence(&self) -> Result<StoredEvidence, StoreError> {
        let mut stored = StoredEvidence::default();
        for name in self.evidence_keys(Kind::PendingEvidence)? {
            let key = Key::evidence(Kind::PendingEvidence, &name);
            stored.pending.push(self.values.read(&key, Evidence::decode)?.ok_or_else(|| missing(&key))?);
        }
        for name in self.evidence_keys(Kind::CommittedEvidence)? {
            let key = Key::evidence(Kind::CommittedEvidence, &name);
            let value = self.values.get(&key)?.ok_or_else(|| missing(&key))?;
            let proven_at = keys::height_in(&value).ok_or_else(|| corrupt(&key, "it is not a height"))?;
            stored.committed.push((name, proven_at));
        }
        Ok(stored)
    }

    /// The first pieces after a block are synced: on a quiet chain the next block, which makes the others durable, may be
    /// long in coming, and nobody else may have been told both votes.
    pub(super) fn put_evidence(&self, changes: &[EvidenceChange]) -> Result<(), StoreError> {
        let mut batch = Changes::default();
        for change in changes {
            match change {
                EvidenceChange::Waits(evidence) => {
                    batch.put(Key::evidence(Kind::PendingEvidence, &evidence.key()), &evidence.encode());
                }
                EvidenceChange::Gone(_) if mutant!("S98") => {}
                EvidenceChange::Gone(key) => batch.delete(Key::evidence(Kind::PendingEvidence, key)),
            }
        }
        let is_new = changes.iter().any(|change| matches!(change, EvidenceChange::Waits(_)));
        let durability = if is_new { self.next_evidence_sync() } else { Durability::Later };
        self.values.write(batch, durability, "save evidence")
    }

    fn next_evidence_sync(&self) -> Durability {
        let tip = self.heights().tip;
        self.evidence_syncs.lock().unwrap_or_else(PoisonError::into_inner).next(tip)
    }

    fn evidence_keys(&self, kind: Kind) -> Result<Vec<EvidenceKey>, StoreError> {
        let mut found = Vec::new();
        let mut collect = |key: &[u8], _: &[u8]| {
            found.extend(keys::evidence_in(key));
            ControlFlow::Continue(())
        };
        self.values
            .kv
            .scan(&keys::heights(kind, Height::ZERO, Height::MAX), Direction::Up, &mut collect)
            .map_err(|error| failed(&format!("look for {}", kind.words()), &error))?;
        Ok(found)
    }
}

/// Notes what a block proves, in the batch that makes the block durable: a node that forgot would let somebody be
/// punished twice (bug class 054).
pub(super) fn mark_proven(batch: &mut Changes, block: &Block) {
    let proven_at = block.header.height.get().to_be_bytes();
    for evidence in &block.evidence {
        batch.put(Key::evidence(Kind::CommittedEvidence, &evidence.key()), &proven_at);
    }
}
