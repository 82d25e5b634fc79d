//! Leaving out what a violation does not need: faults, liars, weather, heights, nodes, while the same checker complains.

use super::{Conduct, Misfortune, NodeNr, Outcome, Plan, Trace, Weather};

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

/// Shrinks a plan that `checker` complains about; tries at most `tries` plans.
pub fn shrink(plan: Plan, checker: &'static str, tries: u32) -> Shrunk {
    let mut shrinking = Shrinking { plan, checker, tries, tried: 0 };
    loop {
        let before = shrinking.plan.clone();
        shrinking.faults();
        shrinking.liars();
        shrinking.weather();
        shrinking.heights();
        shrinking.nodes();
        shrinking.powers();
        if shrinking.plan == before || shrinking.tried >= tries {
            break;
        }
    }
    let outcome = super::run(shrinking.plan.clone(), Trace::with_lines());
    Shrunk { plan: shrinking.plan, outcome, tried: shrinking.tried }
}

struct Shrinking {
    plan: Plan,
    checker: &'static str,
    tries: u32,
    tried: u32,
}

impl Shrinking {
    /// Takes the smaller plan if the checker still complains.
    fn attempt(&mut self, smaller: Plan) -> bool {
        if self.tried >= self.tries || smaller == self.plan {
            return false;
        }
        self.tried += 1;
        let outcome = super::run(smaller.clone(), Trace::hash_only());
        let same = outcome.violation.is_some_and(|violation| violation.checker == self.checker);
        if same {
            self.plan = smaller;
        }
        same
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
        | Misfortune::ClockJump { node, .. }
        | Misfortune::ClockRate { node, .. }
        | Misfortune::AppCrash { node, .. }
        | Misfortune::Power { node, .. } => *node != gone,
    }
}
