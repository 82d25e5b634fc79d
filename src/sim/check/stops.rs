//! Stops: who cannot write, sync or rename something does nothing more in this life, and says what failed and where.
//! After a sync that failed another one may succeed though the data is gone (bug class "fsyncgate"): going on would
//! promise what nobody remembers.
//!
//! And what an application must not answer is not applied: the node asks again, or stops.

use super::book::PerNode;
use crate::sim::{AppCall, Checker, Harm, Scene, Seen, What};
use crate::types::Height;

/// What a sentence names, one of them: a file or, for the store, its directory.
const PLACES: [&str; 3] = ["data/", "config/", "data directory"];

/// Whose disk failed in this life, and what applications answered last.
#[derive(Debug, Default)]
pub struct Stops {
    nodes: PerNode<Disk>,
    answers: PerNode<Answers>,
}

/// What was executed of a node's blocks.
#[derive(Debug, Default)]
struct Answers {
    /// The height its application was asked to execute last.
    asked: u64,
    /// That height, when the answer was not allowed.
    bad: Option<u64>,
    /// The highest height applied.
    applied: Height,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Disk {
    #[default]
    Works,
    Failed,
}

impl Checker for Stops {
    fn name(&self) -> &'static str {
        "stops"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        if scene.is_honest(seen.node) {
            self.answers.of(seen.node).see(&seen.what)?;
        }
        let disk = self.nodes.of(seen.node);
        match seen.what {
            What::Started { .. } | What::Crashed { .. } => *disk = Disk::Works,
            What::DiskFailed { .. } => *disk = Disk::Failed,
            What::Halted { why } if *disk == Disk::Failed && !PLACES.iter().any(|place| why.contains(place)) => {
                return Err(format!("its disk failed, and what it says names no file: {why}"));
            }
            what if *disk == Disk::Failed && is_own(&what) => {
                return Err(format!("its disk failed, and it went on: {what:?}"));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Answers {
    /// Blocks that are shown to the application once more were applied with what it answered first.
    fn see(&mut self, what: &What<'_>) -> Result<(), String> {
        match what {
            What::App { call: AppCall::FinalizeBlock(height), .. } => (self.asked, self.bad) = (*height, None),
            What::Harmed { what: Harm::Answer } => self.bad = Some(self.asked),
            What::Wiped => *self = Answers::default(),
            What::Applied { height, .. } => {
                if *height > self.applied && self.bad == Some(height.get()) {
                    return Err(format!("its application's answer at height {height} is not allowed, and was applied"));
                }
                self.applied = self.applied.max(*height);
            }
            _ => {}
        }
        Ok(())
    }
}

/// What the node does itself; clients and the application act beside it.
fn is_own(what: &What<'_>) -> bool {
    matches!(
        what,
        What::Began { .. }
            | What::Persisted(_)
            | What::Synced
            | What::Signed(_)
            | What::Said { .. }
            | What::Heard { .. }
            | What::Blamed { .. }
            | What::Decided { .. }
            | What::Stored { .. }
            | What::Applied { .. }
            | What::Acknowledged { .. }
            | What::ReadAnswered { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::story::{Stage, prevote};
    use crate::sim::disk::Kind;
    use crate::types::Algorithm;

    const FAILED: What<'_> = What::DiskFailed { kind: Kind::Sync };

    fn stage() -> Stage<Stops> {
        Stage::of(Algorithm::Tendermint, 4, Stops::default())
    }

    #[test]
    fn who_stops_with_the_name_of_the_file_and_comes_back_is_fine() {
        let mut stage = stage();
        let vote = prevote(&stage.scene.clone(), 0, (1, 0), None);
        stage.fine(0, FAILED);
        stage.signs(1, &vote);
        stage.fine(0, What::Halted { why: "cannot sync the journal data/cs.wal/wal: input/output error" });
        stage.fine(0, What::Started { life: 1 });
        stage.signs(0, &vote);
    }

    #[test]
    fn a_vote_and_a_sync_after_a_sync_that_failed_are_caught() {
        let mut stage = stage();
        let vote = prevote(&stage.scene.clone(), 0, (1, 0), None);
        stage.fine(0, FAILED);
        assert!(stage.wrong(0, What::Synced).contains("went on"));
        assert!(stage.wrong(0, What::Signed(crate::sim::Word::Vote(&vote))).contains("went on"));
    }

    #[test]
    fn an_acknowledgement_before_the_disk_fails_is_fine_and_one_after_it_is_caught() {
        let mut stage = stage();
        let acknowledged = |tx| What::Acknowledged { tx, height: crate::types::Height::FIRST };
        stage.fine(0, acknowledged(1));
        stage.fine(0, FAILED);
        assert!(stage.wrong(0, acknowledged(2)).contains("went on"));
    }

    #[test]
    fn an_answer_that_is_not_allowed_must_not_be_applied_and_a_good_one_after_it_may() {
        use crate::sim::check::story::block;
        let mut stage = stage();
        let asked = |height| What::App {
            connection: crate::ports::Connection::Consensus,
            call: AppCall::FinalizeBlock(height),
        };
        let bad = What::Harmed { what: Harm::Answer };
        stage.fine(0, asked(1));
        stage.fine(0, bad);
        assert!(stage.try_apply(0, 1, block(1, "a").id(), "state").unwrap_err().contains("was applied"));
        stage.fine(0, asked(1));
        stage.apply(0, 1, block(1, "a").id(), "state");
        stage.fine(0, asked(1));
        stage.fine(0, bad);
        stage.fine(0, What::Started { life: 1 });
        stage.apply(0, 1, block(1, "a").id(), "state");
        stage.fine(0, asked(2));
        stage.fine(0, bad);
        assert!(stage.try_apply(0, 2, block(2, "a").id(), "state").is_err());
    }

    #[test]
    fn a_sentence_without_a_place_is_caught() {
        let mut stage = stage();
        stage.fine(0, FAILED);
        assert!(stage.wrong(0, What::Halted { why: "input/output error" }).contains("names no file"));
    }
}
