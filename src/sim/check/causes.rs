//! Causes: a node stops itself when something it relies on failed it, and for nothing else. Faults of the network, deaths,
//! clocks, an application that dies or hangs, and whatever liars say are no reason to stop. What was put right is none any
//! more, once the node has gone on.

use super::book::PerNode;
use crate::sim::{AppCall, Checker, Harm, Scene, Seen, What};
use crate::types::{Algorithm, Height};

/// What was done to each node that it has not got over.
#[derive(Debug, Default)]
pub struct Causes {
    nodes: PerNode<Excuses>,
}

#[derive(Debug, Default)]
struct Excuses {
    list: Vec<(Harm, Stage)>,
    /// The highest height it took up.
    highest: Height,
    /// Whether it took one up in this life.
    life: Life,
}

/// What became of something that was done to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is as it was.
    Lasts,
    /// It was put right. What the node said before, and has forgotten, is of this height at most.
    Mended { highest: Height },
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Life {
    #[default]
    Young,
    Decides,
}

impl Checker for Causes {
    fn name(&self) -> &'static str {
        "causes"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        let excuses = self.nodes.of(seen.node);
        match seen.what {
            What::Harmed { what } => excuses.add(what),
            // What still fails the world says again.
            What::Started { .. } => {
                excuses.life = Life::Young;
                excuses.drop(&[Harm::Disk, Harm::Signer]);
            }
            What::Mended { what: what @ (Harm::Disk | Harm::Signer) } => excuses.drop(&[what]),
            What::Mended { what } => excuses.mend(what),
            // The application is new with its home.
            What::Wiped => excuses.mend(Harm::Program),
            // Unless it is said to be harmed again, it answers as it should.
            What::App { call: AppCall::FinalizeBlock(_), .. } => excuses.mend(Harm::Answer),
            What::Began { height, .. } => {
                excuses.life = Life::Decides;
                excuses.highest = excuses.highest.max(height);
            }
            What::Applied { height, .. } => excuses.get_over(scene.plan.algorithm, height),
            What::Halted { why } if scene.is_honest(seen.node) && excuses.list.is_empty() => {
                return Err(format!("it stopped itself, and nothing it relies on had failed: {why}"));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Excuses {
    fn add(&mut self, harm: Harm) {
        self.drop(&[harm]);
        self.list.push((harm, Stage::Lasts));
    }

    fn drop(&mut self, harms: &[Harm]) {
        self.list.retain(|(harm, _)| !harms.contains(harm));
    }

    fn mend(&mut self, what: Harm) {
        let highest = self.highest;
        for (_, stage) in self.list.iter_mut().filter(|(harm, _)| *harm == what) {
            *stage = Stage::Mended { highest };
        }
    }

    /// It went on past all it said before what befell it. A vote of a term that a Raft replica has forgotten may come back to
    /// it at any height.
    fn get_over(&mut self, algorithm: Algorithm, height: Height) {
        if self.life == Life::Young {
            return;
        }
        self.list.retain(|(harm, stage)| match stage {
            Stage::Lasts => true,
            Stage::Mended { .. } if (*harm, algorithm) == (Harm::Home, Algorithm::Raft) => true,
            Stage::Mended { highest } => height < *highest,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Connection;
    use crate::sim::Unsynced;
    use crate::sim::check::story::{Stage as Story, block};

    const HALTED: What<'_> = What::Halted { why: "enough" };
    const STARTED: What<'_> = What::Started { life: 1 };

    fn stage_of(algorithm: Algorithm) -> Story<Causes> {
        Story::of(algorithm, 4, Causes::default())
    }

    fn stage() -> Story<Causes> {
        stage_of(Algorithm::Tendermint)
    }

    /// The node takes up a height and applies it.
    fn goes_on(stage: &mut Story<Causes>, height: u64) {
        stage.begin(0, height);
        stage.apply(0, height, block(height, "a").id(), "state");
    }

    #[test]
    fn who_stops_for_nothing_is_caught_and_a_crash_before_is_no_reason() {
        assert!(stage().wrong(0, HALTED).contains("nothing it relies on"));
        let mut stage = stage();
        stage.fine(0, What::Crashed { unsynced: Unsynced::Lost });
        stage.fine(0, STARTED);
        stage.fine(1, What::Harmed { what: Harm::Home });
        stage.wrong(0, HALTED);
    }

    #[test]
    fn a_disk_or_a_signer_is_a_reason_while_it_fails() {
        for what in [Harm::Disk, Harm::Signer] {
            for mending in [STARTED, What::Mended { what }] {
                let mut stage = stage();
                stage.fine(0, What::Harmed { what });
                stage.fine(0, HALTED);
                stage.fine(0, mending);
                stage.wrong(0, HALTED);
                stage.fine(0, What::Harmed { what });
                stage.fine(0, HALTED);
            }
        }
    }

    #[test]
    fn a_home_is_a_reason_until_the_node_has_gone_on_with_another_one() {
        let mut stage = stage();
        goes_on(&mut stage, 1);
        stage.begin(0, 2);
        stage.fine(0, What::Harmed { what: Harm::Home });
        goes_on(&mut stage, 2);
        stage.fine(0, HALTED);
        stage.fine(0, What::Mended { what: Harm::Home });
        stage.fine(0, STARTED);
        stage.apply(0, 1, block(1, "a").id(), "state");
        stage.fine(0, HALTED);
        goes_on(&mut stage, 1);
        stage.fine(0, HALTED);
        goes_on(&mut stage, 2);
        assert!(stage.wrong(0, HALTED).contains("nothing it relies on"));
        stage.fine(0, What::Harmed { what: Harm::Home });
        stage.fine(0, HALTED);
    }

    #[test]
    fn a_raft_replica_whose_home_was_lost_may_hear_of_a_term_it_forgot_at_any_height() {
        let mut stage = stage_of(Algorithm::Raft);
        stage.fine(0, What::Harmed { what: Harm::Home });
        stage.fine(0, What::Mended { what: Harm::Home });
        stage.fine(0, STARTED);
        goes_on(&mut stage, 1);
        stage.fine(0, HALTED);
    }

    #[test]
    fn an_answer_that_is_not_allowed_is_a_reason_until_a_good_one_was_applied() {
        let mut stage = stage();
        let asked = What::App { connection: Connection::Consensus, call: AppCall::FinalizeBlock(1) };
        stage.begin(0, 1);
        for _ in 0..2 {
            stage.fine(0, asked);
            stage.fine(0, What::Harmed { what: Harm::Answer });
            stage.fine(0, HALTED);
        }
        stage.fine(0, asked);
        stage.fine(0, HALTED);
        stage.apply(0, 1, block(1, "a").id(), "state");
        stage.wrong(0, HALTED);
    }

    #[test]
    fn a_program_of_its_own_is_a_reason_until_it_began_anew_and_where_many_differ_for_good() {
        let mut stage = stage();
        stage.fine(0, What::Harmed { what: Harm::Program });
        goes_on(&mut stage, 1);
        stage.fine(0, HALTED);
        stage.fine(0, What::Wiped);
        stage.fine(0, STARTED);
        goes_on(&mut stage, 1);
        stage.wrong(0, HALTED);
        stage.fine(0, What::Harmed { what: Harm::Programs });
        stage.fine(0, What::Wiped);
        goes_on(&mut stage, 2);
        stage.fine(0, HALTED);
    }

    #[test]
    fn a_liar_may_stop_when_it_likes() {
        stage().with_liar(3).fine(3, HALTED);
    }
}
