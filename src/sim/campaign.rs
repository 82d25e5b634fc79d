//! Many seeds, one after the other: how many, how fast, what they found, what they covered.

use super::{Coverage, Level, Outcome, Plan, Trace, Violation, Wishes};
use std::time::Duration;

/// Every so many-th seed runs twice, and must do the same twice.
const RUN_TWICE: u64 = 100;
/// Who complains when two runs of one seed differ.
pub const DETERMINISM: &str = "determinism";
/// Seeds after which everything should have happened once, by level.
const SEEDS_TO_SEE_ALL: u64 = 10_000;
const WHOLE_SEEDS_TO_SEE_ALL: u64 = 1_000;
/// Violations after which a campaign ends: the next ones tell nothing new.
pub const VIOLATIONS_MAX: usize = 20;

/// A seed that broke a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The seed.
    pub seed: u64,
    /// The rule.
    pub violation: Violation,
}

/// What a campaign came to so far.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Seeds run.
    pub seeds: u64,
    /// Those that ran twice.
    pub twice: u64,
    /// Events the checkers saw.
    pub events: u64,
    /// What was found.
    pub found: Vec<Found>,
    /// What happened how often.
    pub coverage: Coverage,
    /// How long it took, by the clock of whoever runs it.
    pub elapsed: Duration,
}

impl Report {
    /// What should have happened by now, and did not: the simulator does not test what it says. Told of campaigns that
    /// are long enough and leave everything to be drawn.
    pub fn never(&self, wishes: &Wishes) -> Vec<&'static str> {
        let drawn = !wishes.calm && wishes.nodes.is_none() && wishes.heights.is_none();
        let (all, seeds) = match wishes.level {
            Level::Bare => (super::bare::expected(wishes.algorithm), SEEDS_TO_SEE_ALL),
            Level::Whole => (super::whole::expected(wishes.algorithm), WHOLE_SEEDS_TO_SEE_ALL),
        };
        if !drawn || self.seeds < seeds {
            return Vec::new();
        }
        all.into_iter().filter(|what| self.coverage.of(what) == 0).collect()
    }

    /// Seeds a minute.
    pub fn pace(&self) -> f64 {
        self.seeds as f64 * 60.0 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// Runs seeds from `from` on, until `go_on` says no; it is asked after every seed, and tells how long it took.
pub fn run(wishes: &Wishes, from: u64, mut go_on: impl FnMut(&mut Report) -> bool) -> Report {
    let mut report = Report::default();
    let mut seed = from;
    loop {
        let outcome = run_seed(wishes, seed);
        let twin = seed.is_multiple_of(RUN_TWICE).then(|| run_seed(wishes, seed));
        report.take(seed, outcome, twin);
        seed = seed.wrapping_add(1);
        if !go_on(&mut report) || report.found.len() >= VIOLATIONS_MAX {
            return report;
        }
    }
}

/// Runs a plan, and once more: the two must do the same.
pub fn run_twice(plan: &Plan, trace: Trace) -> Outcome {
    let mut outcome = super::run(plan.clone(), trace);
    let twin = super::run(plan.clone(), Trace::hash_only());
    if let Some(violation) = differ(&outcome, &twin) {
        outcome.violation.get_or_insert(violation);
    }
    outcome
}

/// What is wrong with two runs of one plan that differ.
fn differ(one: &Outcome, twin: &Outcome) -> Option<Violation> {
    let (hash, other) = (one.trace_hash, twin.trace_hash);
    let why = format!("the same seed ran twice and differed: trace {hash:016x}, then {other:016x}");
    (hash != other).then(|| Violation { checker: DETERMINISM, at: one.end.at(), node: None, why })
}

fn run_seed(wishes: &Wishes, seed: u64) -> Outcome {
    super::run(Plan::draw(seed, wishes), Trace::hash_only())
}

impl Report {
    fn take(&mut self, seed: u64, outcome: Outcome, twin: Option<Outcome>) {
        self.seeds += 1;
        self.events += outcome.events;
        self.coverage.add(&outcome.coverage);
        let differs = twin.as_ref().and_then(|twin| differ(&outcome, twin));
        self.twice += u64::from(twin.is_some());
        self.found.extend(outcome.violation.into_iter().chain(differs).map(|violation| Found { seed, violation }));
    }
}
