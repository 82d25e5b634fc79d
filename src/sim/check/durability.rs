//! Durability: nothing visible rests on what a power cut could still take away.
//!
//! The barrier: whatever was persisted before a signature or before a block counts as stored must be durable by then.
//! And what was shown to be stored stays: no later life takes up a height that was stored, or executes less.

use super::book::PerNode;
use crate::sim::{Checker, Scene, Seen, What};
use crate::types::Height;

/// What each node's disk owes.
#[derive(Debug, Default)]
pub struct Durability {
    nodes: PerNode<Disk>,
}

#[derive(Debug, Default)]
struct Disk {
    /// Records persisted since the last sync.
    unsynced: u32,
    /// The highest block stored, in any life.
    stored: Option<Height>,
    /// The highest block applied, in any life.
    applied: Option<Height>,
}

impl Checker for Durability {
    fn name(&self) -> &'static str {
        "durability"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        // Liars break promises, but their disks and their executors do not lie: they are judged, too.
        let disk = self.nodes.of(seen.node);
        match seen.what {
            What::Persisted(_) => disk.unsynced += 1,
            // What a life lost, the next one does not rest on.
            What::Synced | What::Crashed { .. } => disk.unsynced = 0,
            What::Signed(word) if disk.unsynced > 0 => {
                return Err(format!("{} records were not durable yet when this was signed: {word:?}", disk.unsynced));
            }
            What::Stored { height } => {
                if disk.unsynced > 0 {
                    return Err(format!("block {height} counts as stored above {} records not durable", disk.unsynced));
                }
                disk.stored = disk.stored.max(Some(height));
            }
            What::Applied { height, .. } if Some(height) > disk.stored => {
                return Err(format!("block {height} was executed before it was stored"));
            }
            What::Applied { height, .. } => disk.applied = disk.applied.max(Some(height)),
            What::Acknowledged { tx, height } if Some(height) > disk.stored => {
                return Err(format!("transaction {tx} was acknowledged, and its block {height} was not stored"));
            }
            What::Began { height, .. } => {
                let first = scene.initial_height;
                let next = disk.stored.map_or(first, Height::next);
                if height < next {
                    return Err(format!("height {height} is taken up, and block {height} was stored before"));
                }
                if disk.applied.map_or(first, Height::next) < height {
                    return Err(format!("height {height} is taken up without the state after the height before"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::story::{Stage, block, precommit};
    use super::*;
    use crate::sim::{Unsynced, Word};
    use crate::types::{Algorithm, JournalRecord};

    const RECORD: JournalRecord = JournalRecord::EndHeight(Height::ZERO);

    fn stage() -> Stage<Durability> {
        Stage::of(Algorithm::Raft, 3, Durability::default())
    }

    fn stored(stage: &mut Stage<Durability>, height: u64) {
        stage.fine(0, What::Stored { height: Height::new(height) });
        stage.apply(0, height, block(height, "a").id(), "state");
    }

    #[test]
    fn persist_sync_sign_store_apply_and_a_restart_behind_it_are_fine() {
        let mut stage = stage();
        stage.begin(0, 1);
        stage.fine(0, What::Persisted(&RECORD));
        stage.fine(0, What::Synced);
        let vote = precommit(&stage.scene, 0, (1, 1), None);
        stage.signs(0, &vote);
        stored(&mut stage, 1);
        stage.fine(0, What::Acknowledged { tx: 7, height: Height::new(1) });
        stage.fine(0, What::Persisted(&RECORD));
        stage.fine(0, What::Crashed { unsynced: Unsynced::Lost });
        stage.fine(0, What::Started { life: 1 });
        stage.begin(0, 2);
    }

    #[test]
    fn a_signature_above_a_record_that_is_not_synced_is_caught() {
        let mut stage = stage();
        stage.fine(0, What::Persisted(&RECORD));
        stage.fine(1, What::Synced);
        let vote = precommit(&stage.scene, 0, (1, 1), None);
        assert!(stage.wrong(0, What::Signed(Word::Vote(&vote))).contains("not durable"));
    }

    #[test]
    fn a_block_stored_above_a_record_that_is_not_synced_is_caught() {
        let mut stage = stage();
        stage.fine(0, What::Persisted(&RECORD));
        assert!(stage.wrong(0, What::Stored { height: Height::new(1) }).contains("not durable"));
    }

    #[test]
    fn a_stored_height_that_is_decided_anew_after_a_crash_is_caught() {
        let mut stage = stage();
        stored(&mut stage, 1);
        stage.fine(0, What::Crashed { unsynced: Unsynced::Lost });
        let validators = stage.set_at(1);
        assert!(stage.wrong(0, What::Began { height: Height::new(1), validators: &validators }).contains("was stored"));
    }

    #[test]
    fn an_acknowledgement_of_a_block_that_a_power_cut_would_take_is_caught() {
        let mut stage = stage();
        stored(&mut stage, 1);
        assert!(stage.wrong(0, What::Acknowledged { tx: 7, height: Height::new(2) }).contains("was not stored"));
    }

    #[test]
    fn a_block_executed_before_it_is_stored_and_a_height_without_the_state_before_it_are_caught() {
        let mut stage = stage();
        assert!(stage.try_apply(0, 1, block(1, "a").id(), "state").unwrap_err().contains("before it was stored"));
        stage.fine(0, What::Stored { height: Height::new(1) });
        let validators = stage.set_at(2);
        assert!(
            stage.wrong(0, What::Began { height: Height::new(2), validators: &validators }).contains("state after")
        );
    }
}
