//! Majorities over a validator set: how far more than half of the power has come, and how a vote went.

use crate::types::{Address, Power, Quorum, ValidatorSet};
use std::collections::BTreeMap;

/// An answer to a question for votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Yes.
    Granted,
    /// No.
    Refused,
}

/// How a vote stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Poll {
    /// More than half said yes.
    Won,
    /// So many said no that more than half cannot say yes.
    Lost,
    /// Both can still happen.
    Open,
}

/// The greatest value that members with more than half of the power have reached; none while fewer said any.
pub(super) fn reached(set: &ValidatorSet, value_of: impl Fn(&Address) -> Option<u64>) -> Option<u64> {
    let mut values: Vec<(u64, Power)> =
        set.members().iter().filter_map(|member| Some((value_of(&member.address)?, member.power))).collect();
    if !mutant!("R18") {
        values.sort_unstable_by(|one, other| other.cmp(one));
    }
    let mut sum = Power::ZERO;
    for (value, power) in values {
        sum = sum + power;
        if Quorum::MoreThanHalf.is_reached(sum, set.total_power()) {
            return Some(value);
        }
    }
    None
}

/// How a vote among the members stands. Answers of others do not count.
pub(super) fn poll(set: &ValidatorSet, answers: &BTreeMap<Address, Answer>) -> Poll {
    let power_of = |wanted: Answer| -> Power {
        let said = |address| answers.get(address) == Some(&wanted);
        set.members().iter().filter(|member| said(&member.address)).map(|member| member.power).sum()
    };
    let total = set.total_power();
    if Quorum::MoreThanHalf.is_reached(power_of(Answer::Granted), total) {
        return Poll::Won;
    }
    if is_blocked(power_of(Answer::Refused), total) { Poll::Lost } else { Poll::Open }
}

/// True when those who refused leave too little for a majority.
pub(super) fn is_blocked(refused: Power, total: Power) -> bool {
    let left = Power::new(total.get().saturating_sub(refused.get()));
    !Quorum::MoreThanHalf.is_reached(left, total)
}
