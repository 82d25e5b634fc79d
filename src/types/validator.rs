//! Validator sets and the rotation of the proposer (reference §4.8).
//!
//! Go's integer rules are part of the format: rescaling divides truncating toward zero, the average divides rounding
//! down (Euclidean), sums clip at the ends of 64 bits.

use super::{Address, Power};
use crate::crypto::PublicKey;
use std::collections::BTreeMap;

/// A member of a validator set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    /// Derived from the key.
    pub address: Address,
    /// Its key.
    pub public_key: PublicKey,
    /// Its power, at least 1.
    pub power: Power,
    /// Grows with power each round and falls when it proposes; the highest proposes next.
    pub proposer_priority: i64,
}

impl Validator {
    /// A member that has not proposed yet.
    pub fn new(public_key: PublicKey, power: Power) -> Validator {
        Validator { address: Address::from(&public_key), public_key, power, proposer_priority: 0 }
    }
}

/// A change an application asks for: power 0 removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorUpdate {
    /// Whose.
    pub public_key: PublicKey,
    /// The new power.
    pub power: Power,
}

/// Why a set cannot be made or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValidatorSetError {
    /// The same validator twice in one change.
    #[error("validator {0} stands twice in one change")]
    Duplicate(Address),
    /// Removing one that is not there.
    #[error("validator {0} cannot be removed: it is not in the set")]
    Unknown(Address),
    /// Power 0 in a new set.
    #[error("validator {0} has power 0 in a new set")]
    ZeroPower(Address),
    /// More power than arithmetic allows.
    #[error("the set's total power {total} would be above {max}", max = Power::TOTAL_MAX)]
    TooMuchPower {
        /// The sum.
        total: u128,
    },
    /// Nobody left.
    #[error("the change would leave no validator")]
    Empty,
    /// A stored set whose named proposer is not a member.
    #[error("the proposer {0} is not in the set")]
    ForeignProposer(Address),
}

/// An ordered set of validators (power descending, then address ascending) that knows whose turn it is.
///
/// Never empty; the total power is at most [`Power::TOTAL_MAX`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorSet {
    members: Vec<Validator>,
    total_power: Power,
    proposer: Address,
}

/// Priorities stay within this many times the total power of each other.
const PRIORITY_WINDOW: i128 = 2;

impl ValidatorSet {
    /// A set from scratch: NewValidatorSet, which also advances the rotation by one.
    pub fn new(members: impl IntoIterator<Item = Validator>) -> Result<ValidatorSet, ValidatorSetError> {
        let changes: Vec<ValidatorUpdate> = members
            .into_iter()
            .map(|member| ValidatorUpdate { public_key: member.public_key, power: member.power })
            .collect();
        if let Some(zero) = changes.iter().find(|change| change.power == Power::ZERO) {
            return Err(ValidatorSetError::ZeroPower(Address::from(&zero.public_key)));
        }
        let mut members = Vec::new();
        let total_power = apply_changes(&mut members, &changes)?;
        let proposer = members.first().ok_or(ValidatorSetError::Empty)?.address;
        let mut set = ValidatorSet { members, total_power, proposer };
        set.rescale();
        set.centre();
        set.advance(1);
        Ok(set)
    }

    /// A set as stored or received: order and priorities are kept as they are.
    pub fn from_stored(members: Vec<Validator>, proposer: Option<Address>) -> Result<ValidatorSet, ValidatorSetError> {
        if members.is_empty() {
            return Err(ValidatorSetError::Empty);
        }
        let total_power = checked_total(&members)?;
        let proposer = match proposer {
            Some(address) if members.iter().any(|member| member.address == address) => address,
            Some(address) => return Err(ValidatorSetError::ForeignProposer(address)),
            None => highest(&members).address,
        };
        Ok(ValidatorSet { members, total_power, proposer })
    }

    /// Members in set order.
    pub fn members(&self) -> &[Validator] {
        &self.members
    }

    /// Number of members.
    #[allow(clippy::len_without_is_empty)] // a set is never empty
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Power of all members together.
    pub fn total_power(&self) -> Power {
        self.total_power
    }

    /// Whose turn it is.
    pub fn proposer(&self) -> &Validator {
        self.by_address(&self.proposer).map_or(&self.members[0], |(_, member)| member)
    }

    /// The member at a position.
    pub fn by_index(&self, index: u32) -> Option<&Validator> {
        self.members.get(index as usize)
    }

    /// Position and member of an address.
    pub fn by_address(&self, address: &Address) -> Option<(u32, &Validator)> {
        let index = self.members.iter().position(|member| member.address == *address)?;
        Some((index as u32, &self.members[index]))
    }

    /// Advances the rotation by `times` rounds: IncrementProposerPriority. Rescaling and centring happen once.
    ///
    /// # Panics
    /// When `times` is 0.
    pub fn advance(&mut self, times: u32) {
        assert!(times > 0, "the rotation advances by at least one round");
        self.rescale();
        self.centre();
        for _ in 0..times {
            self.proposer = self.advance_once();
        }
    }

    /// A copy advanced by `times` rounds; an equal copy for 0.
    pub fn advanced(&self, times: u32) -> ValidatorSet {
        let mut copy = self.clone();
        if times > 0 {
            copy.advance(times);
        }
        copy
    }

    /// Applies an application's changes: UpdateWithChangeSet. The rotation is not advanced. On error nothing changed.
    pub fn update(&mut self, changes: &[ValidatorUpdate]) -> Result<(), ValidatorSetError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut members = self.members.clone();
        self.total_power = apply_changes(&mut members, changes)?;
        self.members = members;
        self.rescale();
        self.centre();
        if self.by_address(&self.proposer).is_none() {
            self.proposer = highest(&self.members).address;
        }
        Ok(())
    }

    fn advance_once(&mut self) -> Address {
        for member in &mut self.members {
            member.proposer_priority = member.proposer_priority.saturating_add(member.power.as_i64());
        }
        let chosen = highest(&self.members).address;
        let total = self.total_power.as_i64();
        for member in self.members.iter_mut().filter(|member| member.address == chosen) {
            member.proposer_priority = member.proposer_priority.saturating_sub(total);
        }
        chosen
    }

    /// Brings the priorities within [`PRIORITY_WINDOW`] × total power of each other.
    fn rescale(&mut self) {
        let window = PRIORITY_WINDOW * i128::from(self.total_power.get());
        let priorities = || self.members.iter().map(|member| i128::from(member.proposer_priority));
        let spread = priorities().max().unwrap_or(0) - priorities().min().unwrap_or(0);
        let spread = spread.min(i128::from(i64::MAX)); // Go clips the difference
        if window > 0 && spread > window {
            let ratio = (spread + window - 1) / window;
            for member in &mut self.members {
                member.proposer_priority = (i128::from(member.proposer_priority) / ratio) as i64;
            }
        }
    }

    /// Moves the priorities so that their average is about 0.
    fn centre(&mut self) {
        let sum: i128 = self.members.iter().map(|member| i128::from(member.proposer_priority)).sum();
        let average = sum.div_euclid(self.members.len() as i128) as i64;
        for member in &mut self.members {
            member.proposer_priority = member.proposer_priority.saturating_sub(average);
        }
    }
}

/// The highest priority; of equals the lower address.
fn highest(members: &[Validator]) -> &Validator {
    let mut best = &members[0];
    for member in &members[1..] {
        let higher = member.proposer_priority > best.proposer_priority;
        let tie = member.proposer_priority == best.proposer_priority && member.address < best.address;
        if higher || tie {
            best = member;
        }
    }
    best
}

fn checked_total(members: &[Validator]) -> Result<Power, ValidatorSetError> {
    let total: u128 = members.iter().map(|member| u128::from(member.power.get())).sum();
    if total > u128::from(Power::TOTAL_MAX.get()) {
        return Err(ValidatorSetError::TooMuchPower { total });
    }
    Ok(Power::new(total as u64))
}

/// Applies changes to `members`, sorts them and returns the new total power. `members` is undefined after an error.
fn apply_changes(members: &mut Vec<Validator>, changes: &[ValidatorUpdate]) -> Result<Power, ValidatorSetError> {
    let mut by_address: BTreeMap<Address, &ValidatorUpdate> = BTreeMap::new();
    for change in changes {
        let address = Address::from(&change.public_key);
        if by_address.insert(address, change).is_some() {
            return Err(ValidatorSetError::Duplicate(address));
        }
    }
    let mut before: BTreeMap<Address, Validator> = members.drain(..).map(|member| (member.address, member)).collect();
    let (removals, updates): (Vec<_>, Vec<_>) =
        by_address.into_iter().partition(|(_, change)| change.power == Power::ZERO);
    if let Some((address, _)) = removals.iter().find(|(address, _)| !before.contains_key(address)) {
        return Err(ValidatorSetError::Unknown(*address));
    }
    if updates.is_empty() && removals.len() == before.len() {
        return Err(ValidatorSetError::Empty);
    }
    check_overflow(&before, &removals, &updates)?;

    // New members start at −1.125 × the total that still counts those being removed, so that leaving and coming
    // back does not reset a low priority (reference §4.8).
    let total_with_removed: i128 = before.values().map(|member| i128::from(member.power.get())).sum::<i128>()
        + updates.iter().map(|(address, change)| power_delta(&before, address, change)).sum::<i128>();
    let newcomer_priority = -(total_with_removed + (total_with_removed >> 3)) as i64;
    for (address, change) in updates {
        let priority = before.get(&address).map_or(newcomer_priority, |member| member.proposer_priority);
        let mut member = Validator::new(change.public_key, change.power);
        member.proposer_priority = priority;
        before.insert(address, member);
    }
    for (address, _) in &removals {
        before.remove(address);
    }
    if before.is_empty() {
        return Err(ValidatorSetError::Empty);
    }
    members.extend(before.into_values());
    members.sort_by(|a, b| b.power.cmp(&a.power).then(a.address.cmp(&b.address)));
    checked_total(members)
}

fn power_delta(before: &BTreeMap<Address, Validator>, address: &Address, change: &ValidatorUpdate) -> i128 {
    let old = before.get(address).map_or(0, |member| i128::from(member.power.get()));
    i128::from(change.power.get()) - old
}

/// Applies the changes of power in ascending order, after the removals, as CometBFT does, and refuses an overflow on
/// the way.
fn check_overflow(
    before: &BTreeMap<Address, Validator>,
    removals: &[(Address, &ValidatorUpdate)],
    updates: &[(Address, &ValidatorUpdate)],
) -> Result<(), ValidatorSetError> {
    let removed: i128 =
        removals.iter().filter_map(|(address, _)| before.get(address)).map(|m| i128::from(m.power.get())).sum();
    let mut total: i128 = before.values().map(|member| i128::from(member.power.get())).sum::<i128>() - removed;
    let mut deltas: Vec<i128> = updates.iter().map(|(address, change)| power_delta(before, address, change)).collect();
    deltas.sort_unstable();
    for delta in deltas {
        total += delta;
        if total > i128::from(Power::TOTAL_MAX.get()) {
            return Err(ValidatorSetError::TooMuchPower { total: total as u128 });
        }
    }
    Ok(())
}
