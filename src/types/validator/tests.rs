//! The rotation against upstream's constants, against a dumb oracle, and at the ends of the arithmetic.

use super::*;
use proptest::prelude::*;

const MAX: u64 = Power::TOTAL_MAX.get();

/// A member under a short name, as upstream's tests use them: the name fills the first bytes of the address.
fn named(name: &str, power: u64, priority: i64) -> Validator {
    let mut address = [0; Address::LEN];
    address[..name.len()].copy_from_slice(name.as_bytes());
    Validator {
        address: Address::new(address),
        public_key: PublicKey::new([0; 32]),
        power: Power::new(power),
        proposer_priority: priority,
    }
}

/// Members at priority 0, first advanced once: what NewValidatorSet makes of them.
fn fresh(members: &[(&str, u64)]) -> ValidatorSet {
    let mut members: Vec<Validator> = members.iter().map(|(name, power)| named(name, *power, 0)).collect();
    members.sort_by(|a, b| b.power.cmp(&a.power).then(a.address.cmp(&b.address)));
    ValidatorSet::from_stored(members, None).unwrap().advanced(1)
}

fn name_of(member: &Validator) -> String {
    String::from_utf8(member.address.as_bytes().iter().copied().take_while(|byte| *byte != 0).collect()).unwrap()
}

fn key(id: u8) -> PublicKey {
    PublicKey::new([id; 32])
}

fn update(id: u8, power: u64) -> ValidatorUpdate {
    ValidatorUpdate { public_key: key(id), power: Power::new(power) }
}

fn set_of(members: &[(u8, u64)]) -> ValidatorSet {
    ValidatorSet::new(members.iter().map(|(id, power)| Validator::new(key(*id), Power::new(*power)))).unwrap()
}

fn priorities(set: &ValidatorSet) -> Vec<i64> {
    set.members().iter().map(|member| member.proposer_priority).collect()
}

/// Keys 1 to 5 by power as `(id, power)`, in set order.
fn powers(set: &ValidatorSet) -> Vec<(u8, u64)> {
    set.members().iter().map(|member| (member.public_key.as_bytes()[0], member.power.get())).collect()
}

fn assert_scaled_and_centred(set: &ValidatorSet) {
    let all = priorities(set);
    let sum: i128 = all.iter().map(|priority| i128::from(*priority)).sum();
    assert!(sum.unsigned_abs() < all.len() as u128, "the sum {sum} of {all:?} is not about 0");
    let spread = i128::from(*all.iter().max().unwrap()) - i128::from(*all.iter().min().unwrap());
    assert!(spread <= 2 * i128::from(set.total_power().get()), "the spread {spread} is above twice the total power");
}

// ------------------------------------------------------------------------------------ upstream's constants

#[test]
fn upstreams_first_99_proposers_of_foo_bar_and_baz() {
    let expected = "foo baz foo bar foo foo baz foo bar foo foo baz foo foo bar foo baz foo foo bar \
        foo foo baz foo bar foo foo baz foo bar foo foo baz foo foo bar foo baz foo foo bar \
        foo baz foo foo bar foo baz foo foo bar foo baz foo foo foo baz bar foo foo foo baz \
        foo bar foo foo baz foo bar foo foo baz foo bar foo foo baz foo bar foo foo baz foo \
        foo bar foo baz foo foo bar foo baz foo foo bar foo baz foo foo";
    let mut set = fresh(&[("foo", 1000), ("bar", 300), ("baz", 330)]);
    for (turn, expected) in expected.split_whitespace().enumerate() {
        assert_eq!(name_of(set.proposer()), expected, "turn {turn}");
        set.advance(1);
    }
}

#[test]
fn equal_powers_propose_in_the_order_of_their_addresses() {
    let mut set = fresh(&[("c", 100), ("a", 100), ("b", 100)]);
    for turn in 0..15 {
        assert_eq!(name_of(set.proposer()), ["a", "b", "c"][turn % 3], "turn {turn}");
        set.advance(1);
    }
}

#[test]
fn four_times_the_power_does_not_propose_twice_in_a_row_but_a_little_more_does() {
    let turns = |power| {
        let set = fresh(&[("a", 100), ("b", 100), ("c", power)]);
        [0, 1, 2].map(|turn| name_of(set.advanced(turn).proposer()))
    };
    assert_eq!(turns(400)[..2], ["c", "a"]);
    assert_eq!(turns(401), ["c", "c", "a"]);
}

#[test]
fn upstreams_powers_4_5_3_propose_40_50_and_30_of_120_times() {
    let mut set = fresh(&[("a", 4), ("b", 5), ("c", 3)]);
    let mut counts = BTreeMap::new();
    for _ in 0..120 {
        *counts.entry(name_of(set.proposer())).or_insert(0) += 1;
        set.advance(1);
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [40, 50, 30]);
}

#[test]
fn upstreams_five_averages() {
    let average = |all: &[i64]| average_priority(&all.iter().map(|p| named("v", 0, *p)).collect::<Vec<_>>());
    assert_eq!(average(&[0, 0, 0]), 0);
    assert_eq!(average(&[i64::MAX, 0, 0]), i64::MAX / 3);
    assert_eq!(average(&[i64::MAX, 0]), i64::MAX / 2);
    assert_eq!(average(&[i64::MAX, i64::MAX]), i64::MAX);
    assert_eq!(average(&[i64::MIN, i64::MIN]), i64::MIN);
    assert_eq!(average(&[-1, 0, 0]), -1, "big.Int Div rounds so that the remainder is never negative");
}

#[test]
fn upstreams_three_cases_of_averaging_without_power() {
    for (before, times, average) in [([1, 2, 3], 1, 2), ([10, -10, 1], 11, 0), ([100, -10, 1], 1, 91 / 3)] {
        let members = ["a", "b", "c"].iter().zip(before).map(|(name, priority)| named(name, 0, priority)).collect();
        let after = ValidatorSet::from_stored(members, None).unwrap().advanced(times);
        assert_eq!(priorities(&after), before.map(|priority| priority - average));
    }
}

#[test]
fn upstreams_eleven_rounds_of_powers_10_1_1() {
    let set = ValidatorSet::from_stored(vec![named("a", 10, 0), named("b", 1, 0), named("c", 1, 0)], None).unwrap();
    let expected: [([i64; 3], &str); 11] = [
        ([10 - 12, 1, 1], "a"),
        ([2 * (10 - 12), 2, 2], "a"),
        ([3 * (10 - 12), 3, 3], "a"),
        ([4 * (10 - 12), 4, 4], "a"),
        ([4 * (10 - 12) + 10, 5 - 12, 5], "b"),
        ([6 * 10 - 5 * 12, 6 - 12, 6], "a"),
        ([7 * 10 - 6 * 12, 7 - 12, 7], "a"),
        ([8 * 10 - 7 * 12, 8 - 12, 8], "a"),
        ([9 * 10 - 7 * 12, 9 - 12, 9 - 12], "c"),
        ([10 * 10 - 8 * 12, 10 - 12, 10 - 12], "a"),
        ([11 * 10 - 9 * 12, 11 - 12, 11 - 12], "a"),
    ];
    for (times, (priorities_after, proposer)) in (1..).zip(expected) {
        let after = set.advanced(times);
        assert_eq!(priorities(&after), priorities_after, "{times} rounds");
        assert_eq!(name_of(after.proposer()), proposer, "{times} rounds");
    }
}

// ----------------------------------------------------------------------------------------------- changes

#[test]
fn changes_are_applied_and_the_set_is_in_order_of_power_then_address() {
    let mut set = set_of(&[(1, 10), (2, 20)]);
    set.update(&[update(3, 30), update(4, 40), update(1, 25)]).unwrap();
    assert_eq!(powers(&set), [(4, 40), (3, 30), (1, 25), (2, 20)]);
    set.update(&[update(3, 0)]).unwrap();
    assert_eq!(powers(&set), [(4, 40), (1, 25), (2, 20)]);
    assert_eq!(set.total_power(), Power::new(85));
    assert_scaled_and_centred(&set);
}

#[test]
fn a_newcomer_starts_behind_by_an_eighth_more_than_the_total_that_counts_the_leaving() {
    let mut set = set_of(&[(1, 1000), (2, 1000)]);
    let before = set.clone();
    set.update(&[update(2, 0), update(3, 600)]).unwrap();
    // 1000 stays, 1000 leaves, 600 comes: T = 2600, so −2925; the spread is within 2 × 1600; then centred.
    let stayed = before.by_address(&Address::from(&key(1))).unwrap().1.proposer_priority;
    let came = -(2600 + 2600 / 8);
    let average = (stayed + came).div_euclid(2);
    assert_eq!(priorities(&set), [stayed - average, came - average]);
}

#[test]
fn a_proposer_that_leaves_the_set_is_succeeded_by_one_who_stays() {
    let mut set = set_of(&[(1, 10), (2, 20), (3, 30)]);
    let gone = set.proposer().clone();
    set.update(&[ValidatorUpdate { public_key: gone.public_key, power: Power::ZERO }]).unwrap();
    assert!(set.members().contains(set.proposer()));
}

#[test]
fn changes_that_cannot_be_made_leave_the_set_as_it_was() {
    let set = set_of(&[(1, 10), (2, 10)]);
    let address = |id| Address::from(&key(id));
    let cases: [(&[ValidatorUpdate], ValidatorSetError); 7] = [
        (&[update(1, 11), update(1, 22)], ValidatorSetError::Duplicate(address(1))),
        (&[update(1, 11), update(2, 22), update(1, 12)], ValidatorSetError::Duplicate(address(1))),
        (&[update(2, 0), update(2, 0)], ValidatorSetError::Duplicate(address(2))),
        (&[update(1, 0), update(2, 20), update(1, 30)], ValidatorSetError::Duplicate(address(1))),
        (&[update(3, 0)], ValidatorSetError::Unknown(address(3))),
        (&[update(1, 0), update(2, 0)], ValidatorSetError::Empty),
        (&[update(1, MAX - 9)], ValidatorSetError::TooMuchPower { total: u128::from(MAX) + 1 }),
    ];
    for (changes, expected) in cases {
        let mut changed = set.clone();
        assert_eq!(changed.update(changes), Err(expected), "{changes:?}");
        assert_eq!(changed, set, "{changes:?}");
    }
}

#[test]
fn a_set_is_not_made_of_nobody_of_duplicates_or_of_no_power() {
    let member = |id, power| Validator::new(key(id), Power::new(power));
    let address = Address::from(&key(1));
    assert_eq!(ValidatorSet::new([]), Err(ValidatorSetError::Empty));
    assert_eq!(ValidatorSet::new([member(1, 0), member(2, 1)]), Err(ValidatorSetError::ZeroPower(address)));
    assert_eq!(ValidatorSet::new([member(1, 1), member(1, 2)]), Err(ValidatorSetError::Duplicate(address)));
    assert_eq!(ValidatorSet::from_stored(vec![], None), Err(ValidatorSetError::Empty));
    assert_eq!(
        ValidatorSet::from_stored(vec![member(2, 1)], Some(address)),
        Err(ValidatorSetError::ForeignProposer(address))
    );
}

#[test]
fn upstreams_large_powers_overflow_exactly_above_the_limit() {
    type Members<'a> = &'a [(u8, u64)];
    let cases: [(Members<'_>, Members<'_>, Option<u128>); 10] = [
        (&[(2, MAX - 1), (1, 1)], &[(1, MAX - 1), (2, 1)], None),
        (&[(2, MAX - 1), (1, 1)], &[(1, MAX / 2 - 1), (2, MAX / 2)], None),
        (&[(1, MAX - 2), (2, 1), (3, 1)], &[(1, 0), (4, MAX - 2)], None),
        (
            &[(1, MAX / 4), (2, MAX / 4), (3, MAX / 4), (4, MAX / 4)],
            &[(2, 0), (1, MAX / 2 - 2), (3, MAX / 2 - 3), (4, 2), (5, 3)],
            None,
        ),
        (&[(1, 1), (2, 1), (3, 1)], &[(1, MAX), (2, MAX), (3, 8)], Some(2 * MAX as u128 + 8)),
        (&[(1, 10), (2, 10)], &[(1, i64::MAX as u64)], Some(i64::MAX as u128 + 10)),
        (&[(1, MAX)], &[(2, i64::MAX as u64)], Some(MAX as u128 + i64::MAX as u128)),
        (&[(1, MAX - 1)], &[(2, 5)], Some(MAX as u128 + 4)),
        (&[(1, MAX)], &[(2, MAX)], Some(2 * MAX as u128)),
        (&[(1, MAX)], &[(1, 0), (2, MAX)], None),
    ];
    for (start, changes, overflow) in cases {
        let mut set = set_of(start);
        let changes: Vec<ValidatorUpdate> = changes.iter().map(|(id, power)| update(*id, *power)).collect();
        let expected = overflow.map_or(Ok(()), |total| Err(ValidatorSetError::TooMuchPower { total }));
        assert_eq!(set.update(&changes), expected, "{start:?}");
        assert_scaled_and_centred(&set);
    }
}

#[test]
fn a_received_set_with_the_wildest_priorities_rotates_without_a_panic() {
    let wild = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    for (power_a, power_b) in [(0, 0), (1, 1), (MAX, 0), (1, MAX - 1)] {
        for (a, b) in wild.iter().flat_map(|a| wild.iter().map(move |b| (*a, *b))) {
            let members = vec![named("a", power_a, a), named("b", power_b, b)];
            let mut set = ValidatorSet::from_stored(members, None).unwrap();
            let mut dumb = Dumb::of(&set);
            set.advance(3);
            dumb.advance(3);
            assert_eq!(Dumb::of(&set), dumb, "powers {power_a} and {power_b}, priorities {a} and {b}");
        }
    }
}

// ------------------------------------------------------------------------------------- a dumb second opinion

/// Reference §4.8 read aloud, in 128 bits, with the clipping and wrapping of Go's 64 bits spelled out.
#[derive(Debug, Clone, PartialEq)]
struct Dumb {
    members: Vec<(Address, i128, i128)>, // address, power, priority
    proposer: Address,
}

fn clip(n: i128) -> i128 {
    n.clamp(i64::MIN.into(), i64::MAX.into())
}

fn wrap(n: i128) -> i128 {
    i128::from(n as i64)
}

impl Dumb {
    fn of(set: &ValidatorSet) -> Dumb {
        let members = set.members().iter().map(|m| (m.address, m.power.get().into(), m.proposer_priority.into()));
        Dumb { members: members.collect(), proposer: set.proposer().address }
    }

    fn total(&self) -> i128 {
        self.members.iter().map(|member| member.1).sum()
    }

    fn rescale_and_shift(&mut self) {
        let window = 2 * self.total();
        let highest = self.members.iter().map(|member| member.2).max().unwrap();
        let lowest = self.members.iter().map(|member| member.2).min().unwrap();
        let spread = wrap(wrap(highest - lowest).abs());
        if window > 0 && spread > window {
            let ratio = wrap(spread + window - 1) / window;
            self.members.iter_mut().for_each(|member| member.2 /= ratio);
        }
        let sum: i128 = self.members.iter().map(|member| member.2).sum();
        let count = self.members.len() as i128;
        let mut average = sum / count;
        if sum % count < 0 {
            average -= 1;
        }
        self.members.iter_mut().for_each(|member| member.2 = clip(member.2 - average));
    }

    fn advance(&mut self, times: usize) {
        self.rescale_and_shift();
        for _ in 0..times {
            self.members.iter_mut().for_each(|member| member.2 = clip(member.2 + member.1));
            let top = self.members.iter().map(|member| member.2).max().unwrap();
            let first = self.members.iter().filter(|member| member.2 == top).map(|member| member.0).min().unwrap();
            let total = self.total();
            let chosen = self.members.iter_mut().find(|member| member.0 == first).unwrap();
            chosen.2 = clip(chosen.2 - total);
            self.proposer = first;
        }
    }

    /// `None` when the change is refused.
    fn update(&self, changes: &[(Address, i128)]) -> Option<Dumb> {
        let mut after = self.clone();
        let old_power = |address| self.members.iter().find(|m| m.0 == address).map(|m| m.1);
        let removed: i128 = changes.iter().filter(|c| c.1 == 0).map(|c| old_power(c.0)).sum::<Option<i128>>()?;
        let mut deltas: Vec<i128> =
            changes.iter().filter(|c| c.1 > 0).map(|c| c.1 - old_power(c.0).unwrap_or(0)).collect();
        deltas.sort();
        let mut total = self.total() - removed;
        for delta in deltas {
            total += delta;
            if total > MAX.into() {
                return None;
            }
        }
        let penalty = -((total + removed) + ((total + removed) >> 3));
        for (address, power) in changes {
            match after.members.iter_mut().find(|member| member.0 == *address) {
                Some(member) => member.1 = *power,
                None => after.members.push((*address, *power, penalty)),
            }
        }
        after.members.retain(|member| member.1 > 0);
        if after.members.is_empty() {
            return None;
        }
        after.rescale_and_shift();
        after.members.sort_by_key(|member| (-member.1, member.0));
        Some(after)
    }
}

/// Powers from tiny to so large that eight of them cannot be together.
fn any_power() -> impl Strategy<Value = u64> {
    prop_oneof![1..20u64, 1..100_000u64, MAX / 16..MAX / 2]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn changes_and_turns_go_as_the_dumb_oracle_says(
        start in proptest::collection::btree_map(0..12u8, 1..MAX / 16, 1..8),
        steps in proptest::collection::vec(
            (1..40u32, proptest::collection::btree_map(0..12u8, prop_oneof![Just(0), any_power()], 0..6)), 1..6),
    ) {
        let start: Vec<(u8, u64)> = start.into_iter().collect();
        let mut set = set_of(&start);
        let mut dumb = Dumb::of(&set);
        for (turns, changes) in steps {
            let updates: Vec<ValidatorUpdate> = changes.iter().map(|(id, power)| update(*id, *power)).collect();
            let plain: Vec<(Address, i128)> =
                changes.iter().map(|(id, power)| (Address::from(&key(*id)), i128::from(*power))).collect();
            let expected = if plain.is_empty() { Some(dumb.clone()) } else { dumb.update(&plain) };
            prop_assert_eq!(set.update(&updates).is_ok(), expected.is_some());
            dumb = expected.unwrap_or(dumb);
            set.advance(turns);
            dumb.advance(turns as usize);
            prop_assert_eq!(Dumb::of(&set), dumb.clone());
        }
    }

    #[test]
    fn the_order_of_changes_does_not_matter(
        start in proptest::collection::btree_map(0..12u8, 1..1000u64, 1..8),
        changes in proptest::collection::btree_map(0..12u8, 0..1000u64, 1..8),
    ) {
        let set = set_of(&start.into_iter().collect::<Vec<_>>());
        let forward: Vec<ValidatorUpdate> = changes.iter().map(|(id, power)| update(*id, *power)).collect();
        let backward: Vec<ValidatorUpdate> = forward.iter().rev().cloned().collect();
        let (mut one, mut other) = (set.clone(), set);
        prop_assert_eq!(one.update(&forward), other.update(&backward));
        prop_assert_eq!(one, other);
    }

    #[test]
    fn everybody_proposes_in_proportion_and_priorities_stay_bounded(
        members in proptest::collection::btree_map(0..200u8, 1..30u64, 1..12),
    ) {
        let mut set = set_of(&members.into_iter().collect::<Vec<_>>());
        let total = set.total_power().get();
        let mut turns: BTreeMap<Address, u64> = BTreeMap::new();
        let rounds = 10;
        for _ in 0..total * rounds {
            *turns.entry(set.proposer().address).or_default() += 1;
            set.advance(1);
            let all = priorities(&set);
            let spread = all.iter().max().unwrap() - all.iter().min().unwrap();
            prop_assert!(spread < 2 * total as i64, "spread {} of total {}", spread, total);
            prop_assert_eq!(all.iter().sum::<i64>(), 0);
        }
        for member in set.members() {
            let (got, fair) = (turns.get(&member.address).copied().unwrap_or(0), member.power.get() * rounds);
            prop_assert!(got.abs_diff(fair) <= 1, "{} of {} turns instead of {}", got, total * rounds, fair);
        }
    }
}
