//! The search for an order, after Wing and Gong (1993) with Lowe's memory of configurations already seen (2017).
//!
//! A configuration is the set of calls that have taken effect and the value they left. Those that can take effect next
//! are the ones that began before every other outstanding call ended. Two facts keep the search small:
//!
//! - A get that can take effect now and is right may do so at once: it changes nothing, so any order that has it later is
//!   as good with it here. Only puts are a choice.
//! - An open put whose value nobody got is left out: were it in an order, the order without it would do, because no get
//!   stands between it and the next put.

use super::{Call, Moment, Outcome, Value};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

/// Configurations of one key that are looked at before the checker gives up: some hundred bytes each.
pub(crate) const CONFIGURATIONS_MAX: usize = 1 << 20;
/// Calls named in an explanation.
const CALLS_SHOWN: usize = 8;

/// What the checker found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none, and how far the search came.
    Violation(String),
    /// The search was given up. It says nothing about the history.
    Undecided { key: usize, configurations: usize },
}

/// Judges a history, looking at no more than `configurations_max` configurations of each key. A violation of one key
/// outweighs another that stays undecided.
pub(crate) fn check(calls: &[Call], configurations_max: usize) -> Verdict {
    let mut keys: BTreeMap<usize, Vec<Call>> = BTreeMap::new();
    for call in calls {
        keys.entry(call.key).or_default().push(*call);
    }
    let mut verdict = Verdict::Linearizable;
    for (key, calls) in keys {
        match Register::new(key, calls).search(configurations_max) {
            Verdict::Linearizable => {}
            violation @ Verdict::Violation(_) => return violation,
            undecided @ Verdict::Undecided { .. } => verdict = undecided,
        }
    }
    verdict
}

/// What a call does to the register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Put(Value),
    Get(Option<Value>),
}

/// A call that may have to be placed in the order.
#[derive(Debug, Clone, Copy)]
struct Operation {
    invoked: Moment,
    /// None while it is open: then it need not take effect at all.
    ended: Option<Moment>,
    effect: Effect,
    call: Call,
}

/// The calls of one key, by the moment they began.
struct Register {
    key: usize,
    operations: Vec<Operation>,
}

/// Which operations have taken effect, and what the register holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Configuration {
    /// A bit for each operation.
    done: Vec<u64>,
    value: Option<Value>,
    /// Operations before this one are all done.
    first: usize,
    /// Ended operations that are not done.
    missing: usize,
}

impl Configuration {
    fn is_done(&self, index: usize) -> bool {
        self.done[index / 64] >> (index % 64) & 1 == 1
    }
}

impl Register {
    fn new(key: usize, calls: Vec<Call>) -> Register {
        let got: HashSet<Value> = calls.iter().filter_map(|call| got(&call.outcome)).collect();
        let mut operations: Vec<Operation> = calls.into_iter().filter_map(|call| operation(call, &got)).collect();
        operations.sort_by_key(|operation| operation.invoked);
        Register { key, operations }
    }

    fn search(&self, configurations_max: usize) -> Verdict {
        let mut open = vec![self.begin()];
        let mut seen = HashSet::new();
        let mut furthest = self.begin();
        while let Some(mut here) = open.pop() {
            self.take_gets(&mut here);
            if here.missing == 0 {
                return Verdict::Linearizable;
            }
            if seen.contains(&here) {
                continue;
            }
            if seen.len() == configurations_max {
                return Verdict::Undecided { key: self.key, configurations: seen.len() };
            }
            if here.missing < furthest.missing {
                furthest = here.clone();
            }
            // The put that ended first is tried first: it is at the top of the stack.
            let mut puts: Vec<usize> =
                self.next(&here).filter(|index| matches!(self.operations[*index].effect, Effect::Put(_))).collect();
            puts.sort_by_key(|index| std::cmp::Reverse(self.operations[*index].ended.unwrap_or(Moment::MAX)));
            open.extend(puts.into_iter().map(|index| self.with(here.clone(), index)));
            seen.insert(here);
        }
        Verdict::Violation(self.explain(&furthest))
    }

    fn begin(&self) -> Configuration {
        Configuration {
            done: vec![0; self.operations.len().div_ceil(64)],
            value: None,
            first: 0,
            missing: self.operations.iter().filter(|operation| operation.ended.is_some()).count(),
        }
    }

    /// Operations that can take effect next: no outstanding one ended before they began.
    fn next<'a>(&'a self, here: &'a Configuration) -> impl Iterator<Item = usize> + 'a {
        let outstanding = (here.first..self.operations.len()).filter(|index| !here.is_done(*index));
        let mut first_end = Moment::MAX;
        // Later ones begin later still, so no operation given here can be ruled out by one behind it.
        outstanding.take_while(move |index| {
            let operation = &self.operations[*index];
            let possible = operation.invoked <= first_end;
            first_end = first_end.min(operation.ended.unwrap_or(Moment::MAX));
            possible
        })
    }

    /// Lets every get take effect that can and is right.
    fn take_gets(&self, here: &mut Configuration) {
        loop {
            let right = |index: &usize| self.operations[*index].effect == Effect::Get(here.value);
            let Some(index) = self.next(here).find(right) else { return };
            *here = self.with(here.clone(), index);
        }
    }

    /// The configuration after one more operation.
    fn with(&self, mut here: Configuration, index: usize) -> Configuration {
        here.done[index / 64] |= 1 << (index % 64);
        while here.first < self.operations.len() && here.is_done(here.first) {
            here.first += 1;
        }
        if let Effect::Put(value) = self.operations[index].effect {
            here.value = Some(value);
        }
        here.missing -= usize::from(self.operations[index].ended.is_some());
        here
    }

    /// Where the search came furthest, and what does not fit there.
    fn explain(&self, furthest: &Configuration) -> String {
        let all = self.operations.iter().filter(|operation| operation.ended.is_some()).count();
        let (key, placed, value) = (self.key, all - furthest.missing, furthest.value);
        let mut text =
            format!("key {key}: {placed} of {all} calls have an order, which leaves {value:?}; then none of");
        for index in self.next(furthest).take(CALLS_SHOWN) {
            let _ = write!(text, "\n  {:?}", self.operations[index].call);
        }
        text
    }
}

fn got(outcome: &Outcome) -> Option<Value> {
    match outcome {
        Outcome::Got { value, .. } => *value,
        Outcome::Put { .. } | Outcome::PutOpen { .. } | Outcome::PutRefused { .. } => None,
    }
}

/// What has to be placed for a call, if anything.
fn operation(call: Call, got: &HashSet<Value>) -> Option<Operation> {
    let (ended, effect) = match call.outcome {
        Outcome::Put { value, ended } => (Some(ended), Effect::Put(value)),
        Outcome::PutOpen { value } if got.contains(&value) => (None, Effect::Put(value)),
        Outcome::PutOpen { .. } | Outcome::PutRefused { .. } => return None,
        Outcome::Got { value, ended } => (Some(ended), Effect::Get(value)),
    };
    Some(Operation { invoked: call.invoked, ended, effect, call })
}
