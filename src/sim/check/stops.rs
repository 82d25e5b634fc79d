//! Stops: who cannot write, sync or rename something does nothing more in this life, and says what failed and where.
//! After a sync that failed another one may succeed though the data is gone (bug class "fsyncgate"): going on would
//! promise what nobody remembers.

use super::book::PerNode;
use crate::sim::{Checker, Scene, Seen, What};

/// What a sentence names, one of them: a file or, for the store, its directory.
const PLACES: [&str; 3] = ["data/", "config/", "data directory"];

/// Whose disk failed in this life.
#[derive(Debug, Default)]
pub struct Stops {
    nodes: PerNode<Disk>,
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

    fn see(&mut self, _: &Scene, seen: &Seen<'_>) -> Result<(), String> {
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
    fn a_sentence_without_a_place_is_caught() {
        let mut stage = stage();
        stage.fine(0, FAILED);
        assert!(stage.wrong(0, What::Halted { why: "input/output error" }).contains("names no file"));
    }
}
