//! Liveness: after healing everybody decides, and heights begun in quiet take few rounds.
//!
//! How long the network may take as a whole the worlds know (they end a run by it); here is said who stands where when it
//! took longer, and each height is counted.

use super::book::PerNode;
use crate::consensus::Tick;
use crate::sim::{Checker, End, Level, Plan, Scene, Seen, What};
use crate::types::{Algorithm, Height, Round};
use std::time::Duration;

/// What whole nodes may need beside: an operator starts one anew, which calls its application, listens for its own key
/// and fetches blocks.
const HOMECOMING: Duration = Duration::from_secs(15);
/// Rounds that honest proposers may lose in quiet, in Tendermint, beside those of liars.
const TENDERMINT_SPARE: u32 = 2;
/// Views beside those of liars, in PBFT: one when the set changes, one that late words of the view before make fail.
const PBFT_SPARE: u32 = 2;
/// Terms for one height, in Raft: one when the set changes, and a split vote or two.
const RAFT_SPARE: u32 = 4;

/// How long after healing it is quiet: the laggards are level, and timers that began before have run out. Those of one
/// round of Tendermint twice, of a view of PBFT and of an election four times; clocks may run a tenth too slow.
pub fn quiet_after(plan: &Plan) -> Duration {
    let timeouts = &plan.timeouts;
    let timers = match plan.algorithm {
        Algorithm::Tendermint => (timeouts.propose + timeouts.prevote + timeouts.precommit) * 2,
        Algorithm::Pbft => timeouts.view_change * 4,
        Algorithm::Raft => timeouts.election * 4,
    };
    let homecoming = match plan.level {
        Level::Bare => Duration::ZERO,
        Level::Whole => HOMECOMING,
    };
    timers * 10 / 9 + plan.weather.delay_max * 2 + homecoming
}

/// Who stands where.
#[derive(Debug, Default)]
pub struct Liveness {
    nodes: PerNode<Place>,
    healed: Option<Tick>,
    /// The last height that was decided, and in which round.
    decided: Option<(Height, Round)>,
    /// The highest height somebody honest took up, and when the first did.
    begun: Option<(Height, Tick)>,
}

#[derive(Debug, Default)]
struct Place {
    height: Height,
    life: u32,
    applied: Option<Height>,
    state: Health,
}

#[derive(Debug, Default)]
enum Health {
    #[default]
    Up,
    Down,
    Halted(String),
}

impl Checker for Liveness {
    fn name(&self) -> &'static str {
        "liveness"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        if matches!(seen.what, What::Healed) {
            self.healed = Some(seen.at);
        }
        if !scene.is_honest(seen.node) {
            return Ok(());
        }
        let place = self.nodes.of(seen.node);
        match seen.what {
            What::Started { life } => (place.life, place.state) = (life, Health::Up),
            What::Crashed { .. } => place.state = Health::Down,
            What::Halted { why } => place.state = Health::Halted(why.to_owned()),
            What::Applied { height, .. } => place.applied = Some(height),
            What::Began { height, .. } => {
                place.height = height;
                if self.begun.is_none_or(|(highest, _)| highest < height) {
                    self.begun = Some((height, seen.at));
                }
            }
            What::Decided { commit, .. } if self.decided.is_none_or(|(last, _)| last < commit.height) => {
                let before = self.decided.replace((commit.height, commit.round));
                return self.count(scene, (commit.height, commit.round), before.map(|(_, round)| round));
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, scene: &Scene, end: End) -> Result<(), String> {
        let End::OutOfTime { .. } = end else { return Ok(()) };
        let stories = scene.honest().map(|node| {
            let place = self.nodes.of(node);
            let state = match &place.state {
                Health::Up => "up".to_owned(),
                Health::Down => "down".to_owned(),
                Health::Halted(why) => format!("halted, because {why}"),
            };
            let applied = place.applied.map_or("nothing".to_owned(), |height| format!("up to {height}"));
            format!("node {} at height {} in life {}, {state}, applied {applied}", node.0, place.height, place.life)
        });
        let stories: Vec<String> = stories.collect();
        Err(format!("not everybody decided {} heights: {}", scene.plan.heights, stories.join("; ")))
    }
}

impl Liveness {
    /// A height was decided for the first time.
    fn count(&self, scene: &Scene, (height, round): (Height, Round), before: Option<Round>) -> Result<(), String> {
        let (Some(healed), Some((at, since))) = (self.healed, self.begun) else { return Ok(()) };
        // Where programs differ nobody mends them: every block of the other side is a round lost.
        let quiet = healed.plus(quiet_after(&scene.plan));
        if at != height || since < quiet || scene.plan.has_programs_that_differ() {
            return Ok(());
        }
        let liars = scene.plan.all().filter(|node| !scene.is_honest(*node)).count() as u32;
        let passed = round.get().saturating_sub(before.map_or(0, Round::get));
        let (took, most) = match scene.plan.algorithm {
            // Weights may bring a liar's turn twice before everybody had one.
            Algorithm::Tendermint => (round.get(), 2 * liars + TENDERMINT_SPARE),
            Algorithm::Pbft => (passed, liars + PBFT_SPARE),
            Algorithm::Raft => (passed, RAFT_SPARE),
        };
        if took > most {
            return Err(format!(
                "height {height}, begun in quiet, was decided after {took} rounds, views or terms; {most} are enough"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::story::{Stage, block, commit};

    fn decide(stage: &mut Stage<Liveness>, height: u64, round: u32) -> Result<(), String> {
        stage.begin(0, height);
        let decided = block(height, "a");
        let commit = commit(&stage.scene, height, round, decided.id(), &[0, 1, 2]);
        stage.see(0, What::Decided { block: &decided, commit: &commit })
    }

    #[test]
    fn rounds_are_counted_in_quiet_only() {
        let mut stage = Stage::of(Algorithm::Tendermint, 4, Liveness::default());
        assert_eq!(decide(&mut stage, 1, 90), Ok(()));
        stage.fine(0, What::Healed);
        assert_eq!(decide(&mut stage, 2, 90), Ok(()));
        stage.wait(quiet_after(&stage.scene.plan));
        assert_eq!(decide(&mut stage, 3, TENDERMINT_SPARE), Ok(()));
        assert!(decide(&mut stage, 4, TENDERMINT_SPARE + 1).unwrap_err().contains("are enough"));
    }

    #[test]
    fn views_and_terms_are_counted_from_the_height_before() {
        for (algorithm, spare) in [(Algorithm::Pbft, PBFT_SPARE), (Algorithm::Raft, RAFT_SPARE)] {
            let mut stage = Stage::of(algorithm, 4, Liveness::default());
            stage.fine(0, What::Healed);
            stage.wait(quiet_after(&stage.scene.plan));
            assert_eq!(decide(&mut stage, 1, spare), Ok(()));
            assert_eq!(decide(&mut stage, 2, 2 * spare), Ok(()));
            assert!(decide(&mut stage, 3, 3 * spare + 1).is_err());
        }
    }

    #[test]
    fn a_liar_may_cost_rounds() {
        let mut stage = Stage::of(Algorithm::Tendermint, 4, Liveness::default()).with_liar(3);
        stage.fine(0, What::Healed);
        stage.wait(quiet_after(&stage.scene.plan));
        assert_eq!(decide(&mut stage, 1, TENDERMINT_SPARE + 2), Ok(()));
        assert!(decide(&mut stage, 2, TENDERMINT_SPARE + 3).is_err());
    }

    #[test]
    fn a_run_given_up_says_who_stands_where() {
        let mut stage = Stage::of(Algorithm::Raft, 3, Liveness::default());
        stage.begin(0, 1);
        stage.apply(0, 1, block(1, "a").id(), "state");
        stage.begin(0, 2);
        stage.fine(1, What::Crashed { unsynced: crate::sim::Unsynced::Lost });
        stage.fine(2, What::Halted { why: "the disk is full" });
        assert_eq!(stage.done(), Ok(()));
        let why = stage.out_of_time().unwrap_err();
        for part in ["node 0 at height 2 in life 0, up, applied up to 1", "down", "the disk is full"] {
            assert!(why.contains(part), "{why}");
        }
    }
}
