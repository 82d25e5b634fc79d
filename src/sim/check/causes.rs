//! Causes: a node stops itself when something it relies on failed it, and for nothing else. Faults of the network, deaths,
//! clocks, an application that dies or hangs, and whatever liars say are no reason to stop.

use super::book::PerNode;
use crate::sim::{Checker, Harm, Scene, Seen, What};

/// What was done to each node that it has not got over.
#[derive(Debug, Default)]
pub struct Causes {
    nodes: PerNode<Vec<Harm>>,
}

impl Checker for Causes {
    fn name(&self) -> &'static str {
        "causes"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let harms = self.nodes.of(seen.node);
        match seen.what {
            What::Harmed { what } if !harms.contains(&what) => harms.push(what),
            // What still fails the world says again. What a home has lost or an application has computed stays.
            What::Started { .. } => harms.retain(|harm| matches!(harm, Harm::Application | Harm::Home)),
            What::Halted { why } if scene.is_honest(seen.node) && harms.is_empty() => {
                return Err(format!("it stopped itself, and nothing it relies on had failed: {why}"));
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Unsynced;
    use crate::sim::check::story::Stage;
    use crate::types::Algorithm;

    const HALTED: What<'_> = What::Halted { why: "enough" };

    fn stage() -> Stage<Causes> {
        Stage::of(Algorithm::Raft, 4, Causes::default())
    }

    #[test]
    fn who_stops_for_nothing_is_caught_and_a_crash_before_is_no_reason() {
        assert!(stage().wrong(0, HALTED).contains("nothing it relies on"));
        let mut stage = stage();
        stage.fine(0, What::Crashed { unsynced: Unsynced::Lost });
        stage.fine(0, What::Started { life: 1 });
        stage.fine(1, What::Harmed { what: Harm::Home });
        stage.wrong(0, HALTED);
    }

    #[test]
    fn a_disk_or_a_signer_is_a_reason_while_it_fails_and_a_home_or_an_application_for_good() {
        for (harm, lasts) in [(Harm::Disk, false), (Harm::Signer, false), (Harm::Application, true), (Harm::Home, true)]
        {
            let mut stage = stage();
            stage.fine(0, What::Harmed { what: harm });
            stage.fine(0, HALTED);
            stage.fine(0, What::Started { life: 1 });
            assert_eq!(stage.see(0, HALTED).is_ok(), lasts, "{harm:?}");
            stage.fine(0, What::Harmed { what: harm });
            stage.fine(0, HALTED);
        }
    }

    #[test]
    fn a_liar_may_stop_when_it_likes() {
        stage().with_liar(3).fine(3, HALTED);
    }
}
