//! Leaving out what a violation does not need: faults, liars, weather, heights, nodes, while the same
//! checker says the same of it.

use super::{Conduct, Misfortune, NodeNr, Outcome, Plan, Trace, Violation, Weather, campaign};

/// What is left of a plan.
#[derive(Debug)]
pub struct Shrunk {
    /// The smallest plan found.
    pub plan: Plan,
    /// Its run, with its trace as lines.
    pub outcome: Outcome,
    /// Plans tried.
    pub tried: u32,
}

/// Shrinks a plan that breaks a rule, as long as `go_on` says so: it is asked before each plan, and told how many were tried.
pub fn shrink(plan: Plan, violation: &Violation, go_on: impl FnMut(u32) -> bool) -> Shrunk {
    let run = |plan: &Plan, trace| match violation.checker {
        campaign::DETERMINISM => campaign::run_twice(plan, trace),
        _ => super::run(plan.clone(), trace),
    };
    shrink_by(run, plan, violation, go_on)
}

/// The same, with another way to run a plan.
pub fn shrink_by(
    run: impl Fn(&Plan, Trace) -> Outcome,
    plan: Plan,
    violation: &Violation,
    go_on: impl FnMut(u32) -> bool,
) -> Shrunk {
    let complains = |plan: &Plan| {
        let outcome = run(plan, Trace::hash_only());
        outcome.violation.is_some_and(|found| is_alike(&found, violation))
    };
    let (plan, tried) = shrink_while(plan, go_on, complains);
    let outcome = run(&plan, Trace::with_lines());
    Shrunk { plan, outcome, tried }
}

/// True when the same rule was broken in the same way: the same checker says the same words, numbers and names left out.
fn is_alike(one: &Violation, other: &Violation) -> bool {
    one.checker == other.checker && words(&one.why).eq(words(&other.why))
}

/// The words of a sentence up to its first colon: what follows are particulars.
fn words(why: &str) -> impl Iterator<Item = &str> {
    let sentence = why.split(':').next().unwrap_or_default();
    sentence
        .split_whitespace()
        .filter(|word| word.chars().all(|letter| letter.is_alphabetic() || ",.;'-".contains(letter)))
}

/// Leaves out what it can while `fails` says yes; gives how many plans it asked about.
fn shrink_while(plan: Plan, go_on: impl FnMut(u32) -> bool, fails: impl FnMut(&Plan) -> bool) -> (Plan, u32) {
    let mut shrinking = Shrinking { plan, fails, go_on, tried: 0, over: false };
    loop {
        let before = shrinking.plan.clone();
        shrinking.faults();
        shrinking.liars();
        shrinking.weather();
        shrinking.heights();
        shrinking.nodes();
        shrinking.powers();
        if shrinking.plan == before || shrinking.over {
            return (shrinking.plan, shrinking.tried);
        }
    }
}

struct Shrinking<F, G> {
    plan: Plan,
    fails: F,
    go_on: G,
    tried: u32,
    over: bool,
}

impl<F: FnMut(&Plan) -> bool, G: FnMut(u32) -> bool> Shrinking<F, G> {
    /// Takes the smaller plan if it still fails.
    fn attempt(&mut self, smaller: Plan) -> bool {
        self.over = self.over || !(self.go_on)(self.tried);
        if self.over || smaller == self.plan {
            return false;
        }
        self.tried += 1;
        let fails = (self.fails)(&smaller);
        if fails {
            self.plan = smaller;
        }
        fails
    }

    /// Halves first, then quarters, then one by one (delta debugging, Zeller and Hildebrandt, TSE '02).
    fn faults(&mut self) {
        let mut chunk = self.plan.faults.len().max(1);
        loop {
            let mut at = 0;
            while at < self.plan.faults.len() {
                let mut smaller = self.plan.clone();
                let end = (at + chunk).min(smaller.faults.len());
                smaller.faults.drain(at..end);
                if !self.attempt(smaller) {
                    at += chunk;
                }
            }
            if chunk == 1 {
                return;
            }
            chunk = chunk.div_ceil(2);
        }
    }

    /// Liars become honest, or tell fewer lies.
    fn liars(&mut self) {
        for node in self.plan.all() {
            if self.plan.nodes[node.index()].conduct == Conduct::Honest {
                continue;
            }
            let mut smaller = self.plan.clone();
            smaller.nodes[node.index()].conduct = Conduct::Honest;
            if self.attempt(smaller) {
                continue;
            }
            let Conduct::Liar(lies) = self.plan.nodes[node.index()].conduct.clone() else { continue };
            for lie in lies {
                let mut smaller = self.plan.clone();
                if let Conduct::Liar(lies) = &mut smaller.nodes[node.index()].conduct
                    && lies.len() > 1
                {
                    lies.retain(|other| *other != lie);
                }
                self.attempt(smaller);
            }
        }
    }

    fn weather(&mut self) {
        let calm = Plan { weather: Weather::CALM, ..self.plan.clone() };
        if self.attempt(calm) {
            return;
        }
        let whole = Weather { lost: 0, doubled: 0, replayed: 0, ..self.plan.weather };
        for weather in [
            whole,
            Weather { lost: 0, ..self.plan.weather },
            Weather { doubled: 0, ..self.plan.weather },
            Weather { replayed: 0, ..self.plan.weather },
        ] {
            self.attempt(Plan { weather, ..self.plan.clone() });
        }
    }

    fn heights(&mut self) {
        for heights in [1, 2, self.plan.heights / 2, self.plan.heights.saturating_sub(1)] {
            if (1..self.plan.heights).contains(&heights) {
                self.attempt(Plan { heights, ..self.plan.clone() });
            }
        }
    }

    /// Only the last node can go without the others changing their numbers.
    fn nodes(&mut self) {
        while self.plan.nodes.len() > 1 {
            let mut smaller = self.plan.clone();
            smaller.nodes.pop();
            let gone = NodeNr(smaller.nodes.len() as u8);
            smaller.faults.retain_mut(|fault| without(&mut fault.what, gone));
            let some_power = smaller.nodes.iter().any(|node| node.power > 0);
            if !some_power || !smaller.liars_are_few() || !self.attempt(smaller) {
                return;
            }
        }
    }

    fn powers(&mut self) {
        let mut smaller = self.plan.clone();
        for node in &mut smaller.nodes {
            node.power = node.power.min(1);
        }
        if smaller.liars_are_few() {
            self.attempt(smaller);
        }
    }
}

/// The misfortune without a node; false when nothing is left of it.
fn without(what: &mut Misfortune, gone: NodeNr) -> bool {
    match what {
        Misfortune::Cut { links, .. } => {
            links.retain(|(from, to)| *from != gone && *to != gone);
            !links.is_empty()
        }
        Misfortune::Blackout { .. } => true,
        Misfortune::Crash { node, .. }
        | Misfortune::DiskCrash { node, .. }
        | Misfortune::Pause { node, .. }
        | Misfortune::Unplugged { node, .. }
        | Misfortune::ClockJump { node, .. }
        | Misfortune::ClockRate { node, .. }
        | Misfortune::AppCrash { node, .. }
        | Misfortune::Woe { node, .. }
        | Misfortune::Power { node, .. } => *node != gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{Level, Lie, Wishes};
    use crate::types::Algorithm;

    /// What fails needs one crash of node 1, three nodes and two heights. Everything else goes.
    #[test]
    fn what_is_left_is_what_the_failure_needs() {
        let wishes =
            Wishes { level: Level::Bare, algorithm: Algorithm::Pbft, nodes: Some(7), heights: Some(20), calm: false };
        let is_cause = |what: &Misfortune| matches!(what, Misfortune::Crash { node: NodeNr(1), .. });
        let fails = |plan: &Plan| {
            plan.nodes.len() >= 3 && plan.heights >= 2 && plan.faults.iter().any(|fault| is_cause(&fault.what))
        };
        let mut plans = (0..).map(|seed| Plan::draw(seed, &wishes)).filter(|plan| fails(plan) && plan.faults.len() > 8);
        let mut plan = plans.next().expect("seeds enough");
        plan.nodes[2].conduct = Conduct::Liar(vec![Lie::Late, Lie::Replay]);
        let (left, tried) = shrink_while(plan, |tried| tried < 1000, fails);
        assert!(tried < 200, "{tried} plans");
        assert_eq!((left.nodes.len(), left.heights, left.faults.len()), (3, 2, 1));
        assert!(is_cause(&left.faults[0].what));
        assert_eq!(left.weather, Weather::CALM);
        assert!(left.nodes.iter().all(|node| node.conduct == Conduct::Honest && node.power <= 1));
    }

    #[test]
    fn a_rule_is_broken_in_the_same_way_when_all_but_numbers_and_names_is_the_same() {
        let found =
            |checker, why: &str| Violation { checker, at: crate::consensus::Tick(0), node: None, why: why.to_owned() };
        let one = found("validity", "block 3 follows None, and 7 comes next: whatever 1");
        assert!(is_alike(&one, &found("validity", "block 12 follows None, and 9 comes next: whatever else")));
        assert!(!is_alike(&one, &found("validity", "block 3 says that it is block 4 of sim")));
        assert!(!is_alike(&one, &found("agreement", &one.why)));
    }

    #[test]
    fn no_more_plans_are_tried_than_allowed() {
        let wishes =
            Wishes { level: Level::Bare, algorithm: Algorithm::Raft, nodes: Some(5), heights: Some(50), calm: false };
        let (_, tried) = shrink_while(Plan::draw(1, &wishes), |tried| tried < 7, |_| true);
        assert!(tried <= 7);
    }
}
