//! Thresholds over voting power, in exact integers: no rounding, no overflow.
//!
//! With at most `f` of the power faulty and `total > 3f`, two sets of more than two thirds share an honest member, and
//! a set of more than one third holds one (arXiv 1807.04938 §2.2). All sums are at most [`Power::TOTAL_MAX`], far
//! below what 128 bits hold.

use crate::types::{Power, Quorum};

/// A quorum: two of them overlap in an honest validator. Line 28, 34, 36, 44, 47, 49 ("2f + 1").
pub fn more_than_two_thirds(part: Power, total: Power) -> bool {
    Quorum::MoreThanTwoThirds.is_reached(part, total)
}

/// At least one honest validator is in it. Line 55 ("f + 1").
pub fn more_than_one_third(part: Power, total: Power) -> bool {
    3 * wide(part) > wide(total) || (mutant!("Q2") && 3 * wide(part) == wide(total))
}

/// Enough to keep everybody else from a quorum.
pub fn at_least_one_third(part: Power, total: Power) -> bool {
    3 * wide(part) > wide(total) || (3 * wide(part) == wide(total) && !mutant!("Q90"))
}

/// A majority, which is a quorum where nobody lies.
pub fn more_than_half(part: Power, total: Power) -> bool {
    Quorum::MoreThanHalf.is_reached(part, total)
}

fn wide(power: Power) -> u128 {
    u128::from(power.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTALS: u64 = 200;

    /// Counts in units of a third (or a half) one by one, with no multiplication to get wrong.
    fn exceeds(part: u64, total: u64, thirds: u64, of: u64) -> std::cmp::Ordering {
        let left: u64 = (0..of).map(|_| part).sum();
        let right: u64 = (0..thirds).map(|_| total).sum();
        left.cmp(&right)
    }

    #[test]
    fn thresholds_agree_with_counting_for_every_part_of_every_total_up_to_200() {
        for total in 1..=TOTALS {
            for part in 0..=total {
                let (p, t) = (Power::new(part), Power::new(total));
                assert_eq!(more_than_two_thirds(p, t), exceeds(part, total, 2, 3).is_gt(), "{part} of {total}");
                assert_eq!(more_than_one_third(p, t), exceeds(part, total, 1, 3).is_gt(), "{part} of {total}");
                assert_eq!(at_least_one_third(p, t), exceeds(part, total, 1, 3).is_ge(), "{part} of {total}");
                assert_eq!(more_than_half(p, t), exceeds(part, total, 1, 2).is_gt(), "{part} of {total}");
                assert_eq!(more_than_two_thirds(p, t), part > total * 2 / 3, "CometBFT's rounding, {part} of {total}");
            }
        }
    }

    #[test]
    fn any_two_quorums_of_a_small_set_share_more_than_a_third() {
        for total in 1..=40u64 {
            let quorum =
                (0..=total).find(|part| more_than_two_thirds(Power::new(*part), Power::new(total))).expect("the whole");
            let shared = 2 * quorum - total;
            assert!(more_than_one_third(Power::new(shared), Power::new(total)), "two quorums of {quorum} in {total}");
        }
    }

    #[test]
    fn the_largest_total_does_not_overflow() {
        let total = Power::TOTAL_MAX;
        assert!(more_than_two_thirds(total, total) && more_than_half(total, total));
        assert!(!more_than_two_thirds(Power::new(total.get() / 3 * 2), total));
    }
}
