//! Block time: the median of the times in a commit, weighted by power (reference §4.9).

use super::{Address, Algorithm, Commit, CommitSig, Power, Time, ValidatorSet};

/// Which precommits count, and where the middle is. Replicas that disagree about this disagree about block times: all of a
/// chain use one rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MedianRule {
    /// CometBFT v0.38: precommits for the block and for nil.
    CommitAndNil,
    /// CometBFT v0.40: precommits for the block only.
    CommitOnly,
    /// PBFT (§4.6, the median of 2f + 1 values): precommits for the block only, and half of an odd power is rounded up.
    /// CometBFT rounds down: there f of 2f + 1 validators of power 1 that give early times set the time, and where it is
    /// before the last block's, no block is ever valid again.
    LowerMedian,
}

impl MedianRule {
    /// The rule of chains under this protocol.
    pub fn of(algorithm: Algorithm) -> MedianRule {
        match algorithm {
            Algorithm::Pbft => MedianRule::LowerMedian,
            // Nobody lies under Raft, and an honest precommit is later than its block.
            Algorithm::Tendermint | Algorithm::Raft => MedianRule::CommitAndNil,
        }
    }
}

/// Why a commit has no median time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MedianError {
    /// A signer of the commit is not in the set.
    #[error("commit validator not found in validator set: {0}")]
    UnknownValidator(Address),
    /// No precommit counts.
    #[error("no precommit in the commit of {0} entries gives a time")]
    NobodyCounts(usize),
}

impl Commit {
    /// The weighted median of the times in this commit; `validators` is the set that made it.
    ///
    /// As long as honest validators hold more than half of the counted power, the result is never later than all times
    /// that honest validators signed, and by [`MedianRule::LowerMedian`] never earlier than all of them. By the others it
    /// may be, where the counted power is odd and the rest has just half of it, rounded down.
    pub fn median_time(&self, validators: &ValidatorSet, rule: MedianRule) -> Result<Time, MedianError> {
        let mut times: Vec<(Time, u64)> = Vec::with_capacity(self.signatures.len());
        let mut total: u128 = 0;
        for (position, sig) in self.signatures.iter().enumerate() {
            let part = match (sig, rule) {
                (CommitSig::Commit(part), _) | (CommitSig::Nil(part), MedianRule::CommitAndNil) => part,
                (CommitSig::Absent | CommitSig::Nil(_), _) => continue,
            };
            let power = power_of(validators, position, &part.validator_address)
                .ok_or(MedianError::UnknownValidator(part.validator_address))?
                .get();
            let power = if mutant!("L22") { 1 } else { power };
            total += u128::from(power);
            times.push((part.timestamp, power));
        }
        if !mutant!("L23") {
            times.sort_unstable();
        }
        let mut left = match rule {
            MedianRule::LowerMedian if mutant!("L21") => total / 2,
            MedianRule::CommitAndNil | MedianRule::CommitOnly => total / 2,
            MedianRule::LowerMedian => total.div_ceil(2),
        };
        for (time, power) in &times {
            if left <= u128::from(*power) {
                return Ok(*time);
            }
            left -= u128::from(*power);
        }
        Err(MedianError::NobodyCounts(self.signatures.len()))
    }
}

/// Looks where the signer of a well-formed commit stands, then everywhere.
fn power_of(validators: &ValidatorSet, position: usize, address: &Address) -> Option<Power> {
    match validators.members().get(position) {
        Some(member) if member.address == *address => Some(member.power),
        _ => validators.by_address(address).map(|(_, member)| member.power),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{Hash, PublicKey, Signature};
    use crate::types::{BlockId, Height, PartSetHeader, Round, SignedPart, Validator};
    use proptest::prelude::*;

    fn time(seconds: i64) -> Time {
        Time::new(seconds, 0).unwrap()
    }

    fn validator(id: usize, power: u64) -> Validator {
        Validator::new(PublicKey::new([id as u8; 32]), Power::new(power))
    }

    #[derive(Debug, Clone, Copy)]
    enum Said {
        Nothing,
        Block,
        Nil,
    }

    /// A set of `powers` in the order given, and a commit in which each member said something at a time.
    fn commit(entries: &[(u64, Said, i64)]) -> (ValidatorSet, Commit) {
        let members: Vec<Validator> =
            entries.iter().enumerate().map(|(id, (power, _, _))| validator(id, *power)).collect();
        let signatures = entries
            .iter()
            .zip(&members)
            .map(|((_, said, at), member)| {
                let part = SignedPart {
                    validator_address: member.address,
                    timestamp: time(*at),
                    signature: Signature::new([0; 64]),
                };
                match said {
                    Said::Nothing => CommitSig::Absent,
                    Said::Block => CommitSig::Commit(part),
                    Said::Nil => CommitSig::Nil(part),
                }
            })
            .collect();
        let block_id = BlockId { hash: Hash::EMPTY, parts: PartSetHeader { total: 1, hash: Hash::EMPTY } };
        let commit = Commit { height: Height::FIRST, round: Round::ZERO, block_id, signatures };
        (ValidatorSet::from_stored(members, None).unwrap(), commit)
    }

    #[test]
    fn a_nil_precommit_moves_the_median_by_the_old_rule_only() {
        let (set, commit) = commit(&[(10, Said::Nil, 1), (10, Said::Block, 5), (10, Said::Block, 9)]);
        assert_eq!(commit.median_time(&set, MedianRule::CommitAndNil), Ok(time(5)));
        assert_eq!(commit.median_time(&set, MedianRule::CommitOnly), Ok(time(5)));
        let (set, commit) = self::commit(&[(30, Said::Nil, 1), (10, Said::Block, 5), (20, Said::Block, 9)]);
        assert_eq!(commit.median_time(&set, MedianRule::CommitAndNil), Ok(time(1)));
        assert_eq!(commit.median_time(&set, MedianRule::CommitOnly), Ok(time(9)));
    }

    #[test]
    fn half_of_the_power_is_enough_to_be_the_median() {
        // Two of power 10: half is 10, and the earlier one has it (median ≤ weight).
        let (set, commit) = commit(&[(10, Said::Block, 7), (10, Said::Block, 3)]);
        assert_eq!(commit.median_time(&set, MedianRule::CommitAndNil), Ok(time(3)));
    }

    #[test]
    fn one_liar_of_three_equal_signers_sets_the_time_of_comet_bft_and_not_that_of_pbft() {
        let (set, commit) =
            commit(&[(1, Said::Block, 7), (1, Said::Block, 0), (1, Said::Block, 8), (1, Said::Nothing, 0)]);
        assert_eq!(commit.median_time(&set, MedianRule::of(Algorithm::Tendermint)), Ok(time(0)));
        assert_eq!(commit.median_time(&set, MedianRule::of(Algorithm::Pbft)), Ok(time(7)));
    }

    #[test]
    fn a_signer_who_is_not_in_the_set_is_an_error_by_name() {
        let (_, commit) = commit(&[(1, Said::Block, 1), (1, Said::Block, 2)]);
        let other = ValidatorSet::from_stored(vec![validator(0, 1)], None).unwrap();
        let stranger = validator(1, 1).address;
        assert_eq!(commit.median_time(&other, MedianRule::CommitAndNil), Err(MedianError::UnknownValidator(stranger)));
    }

    #[test]
    fn a_commit_in_which_nobody_counts_has_no_time() {
        let (set, commit) = commit(&[(1, Said::Nothing, 1), (1, Said::Nil, 2)]);
        assert_eq!(commit.median_time(&set, MedianRule::CommitOnly), Err(MedianError::NobodyCounts(2)));
        assert_eq!(commit.median_time(&set, MedianRule::CommitAndNil), Ok(time(2)));
    }

    /// One entry a unit of power, sorted: the median is the entry at half of the total, counted from 1 (from 0 when
    /// half is 0).
    fn dumb_median(counted: &[(u64, i64)], rule: MedianRule) -> Option<i64> {
        let mut units: Vec<i64> =
            counted.iter().flat_map(|(power, at)| std::iter::repeat_n(*at, *power as usize)).collect();
        units.sort_unstable();
        let rounded_up = usize::from(rule == MedianRule::LowerMedian);
        units.get(((units.len() + rounded_up) / 2).max(1) - 1).copied()
    }

    /// Members of power 1 to 3: some are absent while more than two thirds sign, some lie while less than a third do;
    /// honest times are 100 to 109.
    fn quorum_with_liars() -> impl Strategy<Value = Vec<(u64, Said, i64)>> {
        let member = (1..4u64, 100..110i64, any::<bool>(), any::<bool>(), 0..200i64);
        proptest::collection::vec(member, 1..12).prop_map(|members| {
            let total: u64 = members.iter().map(|member| member.0).sum();
            let (mut signing, mut lying) = (total, 0);
            let said = members.into_iter().map(|(power, honest, absent, lies, lie)| {
                if absent && (signing - power) * 3 > total * 2 {
                    signing -= power;
                    return (power, Said::Nothing, honest);
                }
                if lies && (lying + power) * 3 < total {
                    lying += power;
                    return (power, Said::Block, lie);
                }
                (power, Said::Block, honest)
            });
            said.collect()
        })
    }

    proptest! {
        #[test]
        fn the_median_is_the_middle_of_as_many_copies_as_power(
            entries in proptest::collection::vec((1..20u64, 0..3u8, 0..50i64), 1..12)
        ) {
            let entries: Vec<(u64, Said, i64)> = entries
                .into_iter()
                .map(|(power, said, at)| (power, [Said::Nothing, Said::Block, Said::Nil][usize::from(said)], at))
                .collect();
            let (set, commit) = commit(&entries);
            for rule in [MedianRule::CommitAndNil, MedianRule::CommitOnly, MedianRule::LowerMedian] {
                let counts = |said: &Said| match said {
                    Said::Nothing => false,
                    Said::Block => true,
                    Said::Nil => rule == MedianRule::CommitAndNil,
                };
                let counted: Vec<(u64, i64)> =
                    entries.iter().filter(|e| counts(&e.1)).map(|e| (e.0, e.2)).collect();
                prop_assert_eq!(commit.median_time(&set, rule).ok(), dumb_median(&counted, rule).map(time));
            }
        }

        #[test]
        fn less_than_a_third_never_takes_the_time_of_pbft_beyond_what_honest_members_signed(
            entries in quorum_with_liars()
        ) {
            let (set, commit) = commit(&entries);
            let median = commit.median_time(&set, MedianRule::of(Algorithm::Pbft)).expect("somebody signed");
            prop_assert!(time(100) <= median && median < time(110), "{:?}", median);
        }
    }
}
