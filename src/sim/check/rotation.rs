//! Whose turn it is in Tendermint, computed once more: CometBFT's proposer selection (spec/consensus/proposer-selection.md)
//! from the members' powers alone, in 128-bit numbers.

use crate::types::{Address, ValidatorSet};

/// Priorities of a set in round 0 of a height.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    seats: Vec<Seat>,
    proposer: Address,
}

#[derive(Debug, Clone, Copy)]
struct Seat {
    address: Address,
    power: i128,
    priority: i128,
}

impl Rotation {
    /// At the first height.
    pub(super) fn first(set: &ValidatorSet) -> Rotation {
        let mut rotation = Rotation { seats: Vec::new(), proposer: Address::new([0; 20]) };
        rotation.change(set);
        rotation.turn(1);
        rotation
    }

    /// At the next height, whose members and powers are those of `set`.
    pub(super) fn follow(&self, set: &ValidatorSet) -> Rotation {
        let mut next = self.clone();
        next.change(set);
        next.turn(1);
        next
    }

    /// At a height whose set was changed in ways that are not seen from its members: the priorities are taken from it.
    pub(super) fn adopt(set: &ValidatorSet) -> Rotation {
        let seats = set.members().iter().map(|member| Seat {
            address: member.address,
            power: i128::from(member.power.get()),
            priority: i128::from(member.proposer_priority),
        });
        Rotation { seats: seats.collect(), proposer: set.proposer().address }
    }

    /// Who proposes in this round.
    pub(super) fn proposer(&self, round: u32) -> Address {
        let mut turned = self.clone();
        if round > 0 {
            turned.turn(round);
        }
        turned.proposer
    }

    /// True when the set has the same priorities.
    pub(super) fn is_of(&self, set: &ValidatorSet) -> bool {
        let same = |seat: &Seat| {
            let found = set.members().iter().find(|member| member.address == seat.address);
            found.is_some_and(|member| i128::from(member.proposer_priority) == seat.priority)
        };
        self.seats.len() == set.len() && self.seats.iter().all(same)
    }

    fn total(&self) -> i128 {
        self.seats.iter().map(|seat| seat.power).sum()
    }

    /// New members begin with minus 1.125 of the power that is there before anybody leaves.
    fn change(&mut self, set: &ValidatorSet) {
        let wanted = |address: &Address| set.members().iter().find(|member| member.address == *address);
        let stays = |seat: &Seat| wanted(&seat.address).is_some_and(|m| i128::from(m.power.get()) == seat.power);
        if self.seats.len() == set.len() && self.seats.iter().all(stays) {
            return;
        }
        let leaving: i128 = self.seats.iter().filter(|s| wanted(&s.address).is_none()).map(|s| s.power).sum();
        let coming: i128 = set.members().iter().map(|member| i128::from(member.power.get())).sum();
        let new = -(leaving + coming + ((leaving + coming) >> 3));
        let before = std::mem::take(&mut self.seats);
        self.seats.extend(set.members().iter().map(|member| {
            let known = before.iter().find(|seat| seat.address == member.address);
            let priority = known.map_or(new, |seat| seat.priority);
            Seat { address: member.address, power: i128::from(member.power.get()), priority }
        }));
        self.level();
    }

    /// Brings priorities within twice the total power of each other, around zero.
    fn level(&mut self) {
        let window = 2 * self.total();
        let priorities = || self.seats.iter().map(|seat| seat.priority);
        let spread = priorities().max().unwrap_or(0) - priorities().min().unwrap_or(0);
        if spread > window && window > 0 {
            let ratio = (spread + window - 1) / window;
            self.seats.iter_mut().for_each(|seat| seat.priority /= ratio);
        }
        let sum: i128 = self.seats.iter().map(|seat| seat.priority).sum();
        let average = sum.div_euclid(self.seats.len().max(1) as i128);
        self.seats.iter_mut().for_each(|seat| seat.priority -= average);
    }

    fn turn(&mut self, times: u32) {
        self.level();
        let total = self.total();
        for _ in 0..times {
            self.seats.iter_mut().for_each(|seat| seat.priority += seat.power);
            let first =
                self.seats.iter_mut().max_by(|a, b| a.priority.cmp(&b.priority).then(b.address.cmp(&a.address)));
            if let Some(seat) = first {
                seat.priority -= total;
                self.proposer = seat.address;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PublicKey;
    use crate::types::{Power, Validator, ValidatorUpdate};

    fn member(who: u8, power: u64) -> Validator {
        Validator::new(PublicKey::new([who + 1; 32]), Power::new(power))
    }

    /// Two computations of one specification agree over 200 heights with changes of the set.
    #[test]
    fn the_turn_goes_round_as_in_the_sets_of_the_chain() {
        let people = [(0, 1), (1, 10), (2, 1000), (3, 7)];
        let mut set = ValidatorSet::new(people.map(|(who, power)| member(who, power))).expect("legal");
        let mut rotation = Rotation::first(&set);
        for height in 1..200_u64 {
            assert!(rotation.is_of(&set), "height {height}");
            for round in [0, 1, 2, 5, 40] {
                assert_eq!(rotation.proposer(round), set.advanced(round).proposer().address, "{height}/{round}");
            }
            let (who, power) = ((height % 5) as u8, height * 31 % 17 * (height % 3));
            let change = ValidatorUpdate { public_key: member(who, 1).public_key, power: Power::new(power) };
            // Removing one who is not there changes nothing.
            if height % 7 == 0 {
                set.update(&[change]).ok();
            }
            set.advance(1);
            rotation = rotation.follow(&set);
        }
    }

    #[test]
    fn priorities_that_were_adopted_go_on_as_those_of_the_chain() {
        let mut set = ValidatorSet::new((0..5).map(|who| member(who, 1 + u64::from(who)))).expect("legal");
        set.advance(7);
        let rotation = Rotation::adopt(&set);
        assert!(rotation.is_of(&set));
        assert!((0..9).all(|round| rotation.proposer(round) == set.advanced(round).proposer().address));
    }

    #[test]
    fn equal_powers_take_turns_and_a_heavy_one_has_most() {
        let equal = ValidatorSet::new((0..4).map(|who| member(who, 1))).expect("legal");
        let rotation = Rotation::first(&equal);
        let mut four: Vec<Address> = (0..4).map(|round| rotation.proposer(round)).collect();
        four.sort();
        four.dedup();
        assert_eq!(four.len(), 4);
        let heavy = ValidatorSet::new([member(0, 1), member(1, 3)]).expect("legal");
        let rotation = Rotation::first(&heavy);
        let often = (0..8).filter(|round| rotation.proposer(*round) == member(1, 1).address).count();
        assert_eq!(often, 6);
    }
}
