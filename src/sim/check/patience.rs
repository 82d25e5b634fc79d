//! PBFT's view timer, judged from outside (Castro and Liskov, OSDI '99, §4.5.2): who asks for a view waits until more than
//! two thirds ask for it, and from then on for its timeout, which doubles with every view that decides nothing, before it
//! asks for the next. Only more than a third in later views, or the sight of a NEW-VIEW or a commit, change that.
//!
//! Never a false alarm: all that was ever heard counts, so nobody is said to have known of a quorum later than it did; and
//! clocks that run fast are allowed for.

use super::book::{PerNode, Sets, Share, whole};
use super::proofs::{new_view, view_change};
use crate::consensus::Tick;
use crate::sim::{Scene, Seen, What, Word};
use crate::types::{Address, Height, Round, Statement, ValidatorSet};
use std::collections::BTreeMap;
use std::time::Duration;

/// Timeouts double so often at most (`docs/protocol/pbft.md`).
const DOUBLINGS_MAX: u32 = 8;
/// What a clock that runs fast leaves of a timeout, in twelfths; and what an order takes to be carried out.
const CLOCK_TWELFTHS: u32 = 10;
const ORDER: Duration = Duration::from_millis(20);

/// What each replica asked for, and since when enough others do.
#[derive(Debug, Default)]
pub(super) struct Patience {
    nodes: PerNode<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// What it asked for last, while nothing else moved it.
    last: Option<(Height, Round)>,
    /// The latest view it saw a NEW-VIEW of, maybe before it was at that height.
    opened: Option<(Height, Round)>,
    /// The latest view each replica asked for, as far as it was told.
    asked: BTreeMap<Address, Round>,
    /// The views more than two thirds ask for, and since when, ascending.
    behind: Vec<(Round, Tick)>,
    /// Views it asked for in this life, at this height.
    left: u32,
    /// Views among them that nobody failed for: the one it stood in when it died, or came from the height before with, or
    /// that of a new set.
    spare: u32,
}

impl Patience {
    /// Looks at what an honest replica does.
    pub(super) fn see(&mut self, scene: &Scene, sets: &Sets, seen: &Seen<'_>) -> Result<(), String> {
        let waiting = self.nodes.of(seen.node);
        match seen.what {
            What::Started { life } => {
                (waiting.last, waiting.left, waiting.spare) = (None, 0, u32::from(life > 0));
            }
            What::Began { height, .. } => {
                (waiting.last, waiting.left) = (None, 0);
                waiting.spare = waiting.spare.max(u32::from(height != scene.initial_height));
            }
            // Whoever refuses the primary's block leaves its view at once.
            What::Decided { .. }
            | What::Heard { word: Word::Commit(_), .. }
            | What::Checked { accepted: false, .. } => waiting.last = None,
            What::Heard { word: Word::Statement(statement), .. } => {
                let opened = new_view(statement).map(|made| (made.height, made.view));
                waiting.opened = waiting.opened.max(opened);
                if opened.is_some() || proves_view(statement, waiting.last) {
                    waiting.last = None;
                }
                self.note(scene, sets, seen, statement);
            }
            What::Signed(Word::Statement(statement)) => {
                if let Some(change) = view_change(statement) {
                    if let Some(set) = sets.at(scene, change.height) {
                        waiting.judge(scene, set, (change.height, change.view), seen.at)?;
                    }
                    waiting.left += u32::from(waiting.last != Some((change.height, change.view)));
                    waiting.last = Some((change.height, change.view));
                } else if new_view(statement).is_some() {
                    waiting.last = None;
                }
                self.note(scene, sets, seen, statement);
            }
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, scene: &Scene, sets: &Sets, seen: &Seen<'_>, statement: &Statement) {
        let Some(change) = view_change(statement) else { return };
        let waiting = self.nodes.of(seen.node);
        let asked = waiting.asked.entry(statement.by).or_insert(change.view);
        *asked = change.view.max(*asked);
        let Some(set) = sets.at(scene, change.height) else { return };
        let mut views: Vec<Round> = waiting.asked.values().copied().collect();
        views.sort_unstable();
        let enough = |view: &Round| Share::TwoThirds.is_in(waiting.power(set, *view), whole(set));
        let Some(view) = views.into_iter().rfind(enough) else { return };
        if waiting.behind.last().is_none_or(|(known, _)| *known < view) {
            waiting.behind.push((view, seen.at));
        }
    }
}

/// A checkpoint of the view asked for, or a later one, shows that it was at work.
fn proves_view(statement: &Statement, last: Option<(Height, Round)>) -> bool {
    let checkpoint = view_change(statement).and_then(|change| change.checkpoint);
    checkpoint.zip(last).is_some_and(|(commit, (_, view))| commit.round >= view)
}

impl Waiting {
    /// Power of those who asked for this view or a later one.
    fn power(&self, set: &ValidatorSet, view: Round) -> u64 {
        let asks = |address: &Address| self.asked.get(address).is_some_and(|asked| *asked >= view);
        set.members().iter().filter(|member| asks(&member.address)).map(|member| member.power.get()).sum()
    }

    /// It asks for a view, after another that nothing ended but its patience.
    fn judge(
        &self,
        scene: &Scene,
        set: &ValidatorSet,
        (height, view): (Height, Round),
        at: Tick,
    ) -> Result<(), String> {
        let Some((_, before)) = self.last.filter(|(known, before)| *known == height && *before < view) else {
            return Ok(());
        };
        if self.opened.is_some_and(|opened| opened >= (height, before)) {
            return Ok(());
        }
        // More than a third are there: one of them at least is honest.
        if 3 * self.power(set, view) > whole(set) {
            return Ok(());
        }
        let wrong =
            |why: String| Err(format!("§4.5.2: at height {height} it gives up view {before} for {view}, {why}"));
        let Some((_, since)) = self.behind.iter().find(|(known, _)| *known >= before) else {
            return wrong("for which no two thirds asked".to_owned());
        };
        let failed = self.left.saturating_sub(1 + self.spare).min(DOUBLINGS_MAX);
        let timeout = scene.plan.timeouts.view_change * (1 << failed);
        let waited = at.since(*since);
        if waited + ORDER < timeout * CLOCK_TWELFTHS / 12 {
            return wrong(format!("{waited:?} after two thirds asked for it; it has {timeout:?}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::sim::check::RulesPbft;
    use crate::sim::check::story::{Stage, block, pbft};
    use crate::sim::{NodeNr, What, Word};
    use crate::types::{Algorithm, Height, PbftStatement, Round, Statement};
    use std::time::Duration;

    /// Four replicas; node 0 is watched.
    fn stage() -> Stage<RulesPbft> {
        let mut stage = Stage::of(Algorithm::Pbft, 4, RulesPbft::default());
        stage.begin(0, 1);
        stage
    }

    fn change(stage: &Stage<RulesPbft>, node: u8, view: u32) -> Statement {
        let (view, height) = (Round::new(view), Height::new(1));
        pbft(&stage.scene, node, PbftStatement::ViewChange { view, height, checkpoint: None, prepared: None })
    }

    fn asks(stage: &mut Stage<RulesPbft>, view: u32) -> Result<(), String> {
        let own = change(stage, 0, view);
        stage.see(0, What::Signed(Word::Statement(&own)))
    }

    fn hears(stage: &mut Stage<RulesPbft>, nodes: &[u8], view: u32) {
        for node in nodes {
            let said = change(stage, *node, view);
            stage.fine(0, What::Heard { from: NodeNr(*node), word: Word::Statement(&said) });
        }
    }

    fn timeout(stage: &Stage<RulesPbft>) -> Duration {
        stage.scene.plan.timeouts.view_change
    }

    #[test]
    fn who_waits_for_two_thirds_and_then_for_its_timeout_may_ask_for_the_next_view() {
        let mut stage = stage();
        assert_eq!(asks(&mut stage, 1), Ok(()));
        hears(&mut stage, &[1, 2], 1);
        stage.wait(timeout(&stage));
        assert_eq!(asks(&mut stage, 2), Ok(()));
        hears(&mut stage, &[1, 2], 2);
        stage.wait(timeout(&stage) * 2);
        assert_eq!(asks(&mut stage, 3), Ok(()));
    }

    #[test]
    fn who_runs_away_from_the_others_is_caught() {
        let mut stage = stage();
        assert_eq!(asks(&mut stage, 1), Ok(()));
        hears(&mut stage, &[1], 1);
        stage.wait(timeout(&stage) * 9);
        assert!(asks(&mut stage, 2).unwrap_err().contains("no two thirds asked"));
    }

    #[test]
    fn a_timeout_that_is_too_short_or_does_not_double_is_caught() {
        let mut stage = stage();
        assert_eq!(asks(&mut stage, 1), Ok(()));
        hears(&mut stage, &[1, 2], 1);
        stage.wait(timeout(&stage) / 2);
        assert!(asks(&mut stage, 2).unwrap_err().contains("it has"));
        stage.wait(timeout(&stage) / 2);
        assert_eq!(asks(&mut stage, 2), Ok(()));
        hears(&mut stage, &[1, 2], 2);
        stage.wait(timeout(&stage));
        assert!(asks(&mut stage, 3).unwrap_err().contains("it has"));
    }

    #[test]
    fn more_than_a_third_in_later_views_are_joined_at_once_and_one_alone_is_not() {
        let mut stage = stage();
        assert_eq!(asks(&mut stage, 1), Ok(()));
        hears(&mut stage, &[1], 5);
        assert!(asks(&mut stage, 5).is_err());
        hears(&mut stage, &[2], 5);
        assert_eq!(asks(&mut stage, 5), Ok(()));
    }

    /// It was told while it still lay behind; so in seeds 72004051 and 72004907 of level 1.
    #[test]
    fn who_saw_the_view_open_before_it_asked_for_it_may_leave_it() {
        let mut stage = stage();
        let (view, height) = (Round::new(1), Height::new(1));
        let made = PbftStatement::NewView { view, height, view_changes: Vec::new(), chosen: None };
        let made = pbft(&stage.scene, 1, made);
        stage.fine(0, What::Heard { from: NodeNr(1), word: Word::Statement(&made) });
        assert_eq!(asks(&mut stage, 1), Ok(()));
        assert_eq!(asks(&mut stage, 2), Ok(()));
        assert!(asks(&mut stage, 3).is_err());
    }

    /// Seed 72007895 of level 1.
    #[test]
    fn who_refuses_the_block_of_a_view_leaves_it_at_once() {
        let mut stage = stage();
        assert_eq!(asks(&mut stage, 1), Ok(()));
        stage.fine(0, What::Checked { block: &block(1, "refused"), accepted: false });
        assert_eq!(asks(&mut stage, 2), Ok(()));
    }
}
