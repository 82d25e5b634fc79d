//! Validator sets and the rotation of the proposer (reference §4.8).
//!
//! Go's integer rules are part of the format: rescaling divides truncating toward zero, the average divides rounding
//! down (Euclidean), sums clip at the ends of 64 bits, the spread of the priorities wraps.

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
    #[error("total voting power of resulting valset exceeds max {max}: {total}", max = Power::TOTAL_MAX)]
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
/// Never empty; the total power is at most [`Power::TOTAL_MAX`]; the proposer is a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorSet {
    members: Vec<Validator>,
    total_power: Power,
    proposer: Address,
}

/// Priorities stay within this many times the total power of each other.
const PRIORITY_WINDOW: i64 = 2;

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
        let (members, total_power) = apply_changes(&[], &changes)?;
        let proposer = highest(&members).address;
        let mut set = ValidatorSet { members, total_power, proposer };
        set.rescale();
        set.centre();
        set.advance(1);
        Ok(set)
    }

    /// A set as stored or received: order and priorities are kept as they are.
    ///
    /// A received set may name a validator twice or with power 0, as CometBFT allows; whoever trusts a set compares
    /// its hash with a header first.
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
    #[expect(clippy::len_without_is_empty, reason = "a set is never empty")]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Power of all members together.
    pub fn total_power(&self) -> Power {
        self.total_power
    }

    /// Whose turn it is.
    pub fn proposer(&self) -> &Validator {
        self.by_address(&self.proposer).map(|(_, member)| member).expect("the proposer is a member, by construction")
    }

    /// The member at a position.
    pub fn by_index(&self, index: u32) -> Option<&Validator> {
        self.members.get(index as usize)
    }

    /// Position and member of an address; the first one, should a received set name it twice.
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
        (self.members, self.total_power) = apply_changes(&self.members, changes)?;
        self.rescale();
        if !mutant!("D96") {
            self.centre();
        }
        if self.by_address(&self.proposer).is_none() && !mutant!("D9") {
            self.proposer = highest(&self.members).address;
        }
        Ok(())
    }

    /// One round: everybody gains its power, the first in line pays the total.
    fn advance_once(&mut self) -> Address {
        for member in &mut self.members {
            member.proposer_priority = member.proposer_priority.saturating_add(member.power.as_i64());
        }
        let total = self.total_power.as_i64();
        let chosen = highest_position(&self.members);
        let chosen = &mut self.members[chosen];
        chosen.proposer_priority =
            chosen.proposer_priority.saturating_sub(if mutant!("D12") { total - 1 } else { total });
        chosen.address
    }

    /// Brings the priorities within [`PRIORITY_WINDOW`] × total power of each other: RescalePriorities.
    fn rescale(&mut self) {
        let window = PRIORITY_WINDOW * self.total_power.as_i64(); // fits: the total is below 2^60
        if window == 0 {
            return;
        }
        let priorities = || self.members.iter().map(|member| member.proposer_priority);
        let (lowest, highest) = (priorities().min().unwrap_or(0), priorities().max().unwrap_or(0));
        // Go wraps here. Only priorities nobody reaches honestly (above 2^62) tell the difference, but a set received
        // with such priorities must rotate on this node as on any other.
        let spread = highest.wrapping_sub(lowest).wrapping_abs();
        if spread > window && !mutant!("D4") {
            let ratio =
                if mutant!("D10") { spread / window } else { spread.wrapping_add(window).wrapping_sub(1) / window };
            for member in &mut self.members {
                member.proposer_priority /= ratio; // ratio is 2 or more, or -3 or less after wrapping: never 0 or -1
            }
        }
    }

    /// Moves the priorities so that their average is about 0: shiftByAvgProposerPriority.
    fn centre(&mut self) {
        let average = average_priority(&self.members);
        for member in &mut self.members {
            member.proposer_priority = member.proposer_priority.saturating_sub(average);
        }
    }
}

/// The average, rounded as Go's big.Int Div does: the remainder is never negative.
fn average_priority(members: &[Validator]) -> i64 {
    let sum: i128 = members.iter().map(|member| i128::from(member.proposer_priority)).sum();
    let count = members.len() as i128;
    let average = if mutant!("D3") { sum / count } else { sum.div_euclid(count) };
    average as i64 // an average of 64-bit numbers has 64 bits
}

/// Where the highest priority stands; of equals the lower address.
fn highest_position(members: &[Validator]) -> usize {
    let mut best = 0;
    for (position, member) in members.iter().enumerate().skip(1) {
        let leader = &members[best];
        let higher = member.proposer_priority > leader.proposer_priority;
        let tie =
            member.proposer_priority == leader.proposer_priority && (member.address < leader.address) != mutant!("D1");
        if higher || tie {
            best = position;
        }
    }
    best
}

fn highest(members: &[Validator]) -> &Validator {
    &members[highest_position(members)]
}

fn checked_total<'a>(members: impl IntoIterator<Item = &'a Validator>) -> Result<Power, ValidatorSetError> {
    let total: u128 = members.into_iter().map(|member| u128::from(member.power.get())).sum();
    if total > u128::from(Power::TOTAL_MAX.get()) && !mutant!("D5") {
        return Err(ValidatorSetError::TooMuchPower { total });
    }
    Ok(Power::new(total as u64))
}

/// The members after `changes`, in set order, with their total power: updateWithChangeSet without rescaling.
///
/// CometBFT refuses an overflow on the way while it adds the differences in ascending order. The running sum is then
/// largest at the start or at the end, so that checking the result is the same rule.
fn apply_changes(
    before: &[Validator],
    changes: &[ValidatorUpdate],
) -> Result<(Vec<Validator>, Power), ValidatorSetError> {
    let mut by_address: BTreeMap<Address, &ValidatorUpdate> = BTreeMap::new();
    for change in changes {
        let address = Address::from(&change.public_key);
        if by_address.insert(address, change).is_some() && !mutant!("D7") {
            return Err(ValidatorSetError::Duplicate(address));
        }
    }
    let mut after: BTreeMap<Address, Validator> =
        before.iter().map(|member| (member.address, member.clone())).collect();
    let mut newcomers = Vec::new();
    let mut removed_power = Power::ZERO;
    for (address, change) in by_address {
        if change.power == Power::ZERO {
            let removed = match after.remove(&address) {
                None if mutant!("D13") => continue,
                removed => removed.ok_or(ValidatorSetError::Unknown(address))?,
            };
            removed_power = removed_power + removed.power; // part of a legal total
        } else if let Some(member) = after.get_mut(&address) {
            member.power = change.power;
        } else {
            after.insert(address, Validator::new(change.public_key, change.power));
            newcomers.push(address);
        }
    }
    if after.is_empty() && !mutant!("D11") {
        return Err(ValidatorSetError::Empty);
    }
    let total = checked_total(after.values())?;

    // New members start at −1.125 × the total that still counts those being removed, so that leaving and coming
    // back does not reset a low priority (reference §4.8). At most 2.25 × TOTAL_MAX: it fits.
    let before_removals = (total + if mutant!("D2") { Power::ZERO } else { removed_power }).as_i64();
    let newcomer_priority = -(before_removals + if mutant!("D8") { 0 } else { before_removals >> 3 });
    for address in newcomers {
        after.entry(address).and_modify(|member| member.proposer_priority = newcomer_priority);
    }
    let mut members: Vec<Validator> = after.into_values().collect();
    if !mutant!("D6") {
        members.sort_by(|a, b| b.power.cmp(&a.power).then(a.address.cmp(&b.address)));
    }
    Ok((members, total))
}

#[cfg(test)]
mod tests;
