//! Durability: nothing visible rests on what a power cut could still take away.
//!
//! The barrier: whatever was persisted before a signature, a decision or a stored block is durable by then. A vote or
//! proposal of one's own is in the journal before it is told, and so is all of a block before it is precommitted. And what
//! was shown to be stored stays: no later life takes up a height that was stored, or executes less.

use super::book::{PerNode, Place, Print, printed};
use crate::crypto::Hash;
use crate::sim::{Checker, Scene, Seen, What, Word};
use crate::types::{BlockId, Height, JournalMessage, JournalRecord, Source, VoteKind};

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
    height: Height,
    /// What it signed at this height, and whether that was ever written to the journal.
    signed: Vec<(Place, Print, Written)>,
    /// Parts of blocks that were ever written at this height: the root, and which.
    parts: Vec<(Hash, u32)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    No,
    Yes,
}

impl Checker for Durability {
    fn name(&self) -> &'static str {
        "durability"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        // Liars break promises, but their disks and their executors do not lie: they are judged, too.
        let disk = self.nodes.of(seen.node);
        match seen.what {
            What::Wiped => {
                *disk = Disk::default();
                Ok(())
            }
            What::Persisted(record) => {
                disk.unsynced += 1;
                disk.write(record);
                Ok(())
            }
            // What a life lost, the next one does not rest on. A life may end by itself, too.
            What::Synced | What::Crashed { .. } | What::Started { .. } => {
                disk.unsynced = 0;
                Ok(())
            }
            What::Signed(word) => {
                disk.barrier("this was signed", &word)?;
                disk.note_signed(&word)
            }
            What::Decided { commit, .. } => disk.barrier("this was decided", &commit.block_id),
            What::Stored { height } => {
                disk.stored = disk.stored.max(Some(height));
                disk.barrier("this block was stored", &height)
            }
            What::Said { word, .. } if scene.is_honest(seen.node) => disk.say(&word),
            What::Applied { height, .. } if Some(height) > disk.stored => {
                Err(format!("block {height} was executed before it was stored"))
            }
            What::Applied { height, .. } => {
                disk.applied = disk.applied.max(Some(height));
                Ok(())
            }
            What::Acknowledged { tx, height } if Some(height) > disk.stored => {
                Err(format!("transaction {tx} was acknowledged, and its block {height} was not stored"))
            }
            What::Began { height, .. } => disk.begin(scene, height),
            _ => Ok(()),
        }
    }
}

impl Disk {
    fn barrier(&self, when: &str, what: &dyn std::fmt::Debug) -> Result<(), String> {
        if self.unsynced == 0 {
            return Ok(());
        }
        Err(format!("{} records were not durable yet when {when}: {what:?}", self.unsynced))
    }

    fn begin(&mut self, scene: &Scene, height: Height) -> Result<(), String> {
        if self.height != height {
            self.height = height;
            self.signed.clear();
            self.parts.clear();
        }
        let first = scene.initial_height;
        if height < self.stored.map_or(first, Height::next) {
            return Err(format!("height {height} is taken up, and block {height} was stored before"));
        }
        if self.applied.map_or(first, Height::next) < height {
            return Err(format!("height {height} is taken up without the state after the height before"));
        }
        Ok(())
    }

    fn write(&mut self, record: &JournalRecord) {
        let JournalRecord::Message { source, message } = record else { return };
        let place = match message {
            JournalMessage::Part { height, part, .. } => {
                if let (true, Ok(root)) = (*height == self.height, part.proof.root())
                    && !self.parts.contains(&(root, part.index))
                {
                    self.parts.push((root, part.index));
                }
                None
            }
            JournalMessage::Vote(vote) => printed(&Word::Vote(vote)),
            JournalMessage::Proposal(proposal) => printed(&Word::Proposal { by: None, proposal }),
        };
        let Some((place, _)) = place.filter(|_| *source == Source::Own) else { return };
        self.signed.iter_mut().filter(|(known, ..)| *known == place).for_each(|(.., written)| *written = Written::Yes);
    }

    fn note_signed(&mut self, word: &Word<'_>) -> Result<(), String> {
        let Some((place, print)) = printed(word) else { return Ok(()) };
        if place.height != self.height {
            return Ok(());
        }
        if !self.signed.iter().any(|(known, ..)| *known == place) {
            self.signed.push((place, print, Written::No));
        }
        match (word, print.block) {
            (Word::Vote(vote), Some(block)) if vote.kind == VoteKind::Precommit => self.has_whole(&block),
            _ => Ok(()),
        }
    }

    /// After a crash somebody must have the block that may be decided.
    fn has_whole(&self, block: &BlockId) -> Result<(), String> {
        let has = self.parts.iter().filter(|(root, _)| *root == block.parts.hash).count();
        if has == block.parts.total as usize {
            return Ok(());
        }
        Err(format!("it precommits {block:?}, and {has} of its {} parts are in the journal", block.parts.total))
    }

    /// After a crash one must know what one told. Late words of a height that is over change nothing any more.
    fn say(&self, word: &Word<'_>) -> Result<(), String> {
        let Some((place, print)) = printed(word) else { return Ok(()) };
        if self.signed.contains(&(place, print, Written::No)) {
            return Err(format!("it tells what is not in its journal: {word:?}"));
        }
        Ok(())
    }
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::story::{Stage, block, commit, precommit};
    use crate::sim::{NodeNr, Unsynced};
    use crate::types::{Algorithm, CandidateBlock, Round};

    const RECORD: JournalRecord = JournalRecord::EndHeight(Height::ZERO);

    fn own(message: JournalMessage) -> JournalRecord {
        JournalRecord::Message { source: Source::Own, message }
    }

    fn parts(stage: &mut Stage<Durability>, block: &CandidateBlock) {
        for part in block.parts().parts() {
            let (height, round) = (block.block().header.height, Round::new(1));
            stage.fine(0, What::Persisted(&own(JournalMessage::Part { height, round, part: part.clone() })));
        }
    }

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
        let block = block(1, "a");
        let vote = precommit(&stage.scene, 0, (1, 1), Some(block.id()));
        parts(&mut stage, &block);
        stage.fine(0, What::Synced);
        stage.signs(0, &vote);
        stage.fine(0, What::Persisted(&own(JournalMessage::Vote(vote.clone()))));
        stage.fine(0, What::Said { to: NodeNr(1), word: Word::Vote(&vote) });
        stage.fine(0, What::Synced);
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
        let (block, commit) = (block(1, "a"), commit(&stage.scene, 1, 0, block(1, "a").id(), &[0, 1]));
        assert!(stage.wrong(0, What::Decided { block: &block, commit: &commit }).contains("not durable"));
    }

    #[test]
    fn a_vote_told_that_is_not_in_the_journal_is_caught_while_its_height_is_open() {
        let mut stage = stage();
        stage.begin(0, 1);
        let vote = precommit(&stage.scene, 0, (1, 1), None);
        let of_another = precommit(&stage.scene, 1, (1, 1), None);
        stage.signs(0, &vote);
        stage.fine(0, What::Said { to: NodeNr(2), word: Word::Vote(&of_another) });
        assert!(stage.wrong(0, What::Said { to: NodeNr(1), word: Word::Vote(&vote) }).contains("not in its journal"));
        stored(&mut stage, 1);
        stage.begin(0, 2);
        stage.fine(0, What::Said { to: NodeNr(1), word: Word::Vote(&vote) });
    }

    #[test]
    fn a_precommit_for_a_block_that_is_not_whole_in_the_journal_is_caught() {
        let mut stage = stage();
        stage.begin(0, 1);
        let vote = precommit(&stage.scene, 0, (1, 1), Some(block(1, "a").id()));
        parts(&mut stage, &block(1, "b"));
        stage.fine(0, What::Synced);
        assert!(stage.wrong(0, What::Signed(Word::Vote(&vote))).contains("0 of its 1 parts"));
        parts(&mut stage, &block(1, "a"));
        stage.fine(0, What::Synced);
        stage.signs(0, &vote);
    }

    #[test]
    fn a_node_that_stopped_itself_rests_on_nothing_it_had_not_synced() {
        let mut stage = stage();
        stage.fine(0, What::Persisted(&RECORD));
        stage.fine(0, What::Halted { why: "the store is damaged" });
        stage.fine(0, What::Started { life: 1 });
        stage.fine(0, What::Stored { height: Height::new(1) });
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
