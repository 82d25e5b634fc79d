//! Random histories that are linearizable because they are made from an order, and the same with one lie in them.

use super::{Call, Moment, Outcome, Value};

/// Between two effects in the order.
const APART: Moment = 100;

/// A stream of numbers that a seed determines (SplitMix64).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// What a history looks like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) calls: usize,
    pub(super) keys: usize,
    /// Values are below this: few are written again and again, many hardly ever twice.
    pub(super) values: Value,
    /// How many effects a call may span to each side.
    pub(super) overlap: u64,
}

/// A history made from an order: effect `n` happens at `n * APART`, and its call lasts from some moment before to some
/// moment after. Some puts stay open, whether they take effect or not, and some are refused.
pub(super) fn linearizable(random: &mut Random, shape: Shape) -> Vec<Call> {
    let mut registers: Vec<Option<Value>> = vec![None; shape.keys];
    let reach = shape.overlap * APART;
    let mut calls = Vec::new();
    for (client, effect) in (0..shape.calls).zip(1..) {
        let key = random.below(shape.keys as u64) as usize;
        let moment = effect * APART + reach;
        let (invoked, ended) = (moment - random.below(reach + 1), moment + random.below(reach + 1));
        let value = random.below(shape.values);
        let outcome = match random.below(20) {
            0 => Outcome::PutRefused { value },
            1 => Outcome::PutOpen { value },
            2 => {
                registers[key] = Some(value);
                Outcome::PutOpen { value }
            }
            3..10 => {
                registers[key] = Some(value);
                Outcome::Put { value, ended }
            }
            _ => Outcome::Got { value: registers[key], ended },
        };
        calls.push(Call { client, key, invoked, outcome });
    }
    // Nothing may rest on the order in which calls are handed over.
    for last in (1..calls.len()).rev() {
        calls.swap(last, random.below(last as u64 + 1) as usize);
    }
    calls
}

/// Makes one get say something else: another value, a value never written, or that there was none. Says whether there
/// was a get.
pub(super) fn lie(random: &mut Random, calls: &mut [Call], values: Value) -> bool {
    let gets: Vec<usize> =
        (0..calls.len()).filter(|index| matches!(calls[*index].outcome, Outcome::Got { .. })).collect();
    if gets.is_empty() {
        return false;
    }
    let chosen = gets[random.below(gets.len() as u64) as usize];
    let Outcome::Got { value: told, .. } = &mut calls[chosen].outcome else { unreachable!("chosen among gets") };
    let others = (0..=values).map(Some).chain([None]).filter(|other| other != told);
    let others: Vec<Option<Value>> = others.collect();
    *told = others[random.below(others.len() as u64) as usize];
    true
}
