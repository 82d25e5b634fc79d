//! The dumb version of the checker: every order of every choice of open puts, one after the other.

use super::{Call, Moment, Outcome, Value};

/// Calls it can judge in reasonable time: 6! orders.
pub(super) const CALLS_MAX: usize = 6;

/// Whether some order explains a history of one key.
pub(super) fn is_linearizable(calls: &[Call]) -> bool {
    assert!(calls.len() <= CALLS_MAX, "{} calls are too many to try all orders", calls.len());
    let choices = 0..1_u32 << calls.len();
    let chosen = |choice: u32| calls.iter().enumerate().filter(move |(index, _)| choice >> index & 1 == 1);
    choices
        .filter(|choice| (0..).zip(calls).all(|(index, call)| may_be(&call.outcome, choice >> index & 1 == 1)))
        .any(|choice| some_order(&mut chosen(choice).map(|(_, call)| *call).collect::<Vec<_>>(), 0))
}

/// Whether a call with this outcome may be in the order, or out of it.
fn may_be(outcome: &Outcome, inside: bool) -> bool {
    match outcome {
        Outcome::Put { .. } | Outcome::Got { .. } => inside,
        Outcome::PutRefused { .. } => !inside,
        Outcome::PutOpen { .. } => true,
    }
}

/// Tries all orders of what stands at `from` and behind.
fn some_order(calls: &mut [Call], from: usize) -> bool {
    if from == calls.len() {
        return keeps_time(calls) && explains(calls);
    }
    for chosen in from..calls.len() {
        calls.swap(from, chosen);
        let found = some_order(calls, from + 1);
        calls.swap(from, chosen);
        if found {
            return true;
        }
    }
    false
}

fn ended(call: &Call) -> Option<Moment> {
    match call.outcome {
        Outcome::Put { ended, .. } | Outcome::Got { ended, .. } => Some(ended),
        Outcome::PutOpen { .. } | Outcome::PutRefused { .. } => None,
    }
}

/// Nobody stands behind a call that began after it had ended.
fn keeps_time(order: &[Call]) -> bool {
    let behind = |at: usize| &order[at + 1..];
    (0..order.len()).all(|at| behind(at).iter().all(|later| ended(later).is_none_or(|end| end >= order[at].invoked)))
}

/// One after the other, the calls do to a register what they say.
fn explains(order: &[Call]) -> bool {
    let mut register: Option<Value> = None;
    order.iter().all(|call| match call.outcome {
        Outcome::Put { value, .. } | Outcome::PutOpen { value } | Outcome::PutRefused { value } => {
            register = Some(value);
            true
        }
        Outcome::Got { value, .. } => value == register,
    })
}
