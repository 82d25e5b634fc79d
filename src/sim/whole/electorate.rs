//! Who has which power, as the model application keeps it: it obeys orders in transactions, and asks for nothing that an
//! application may not ask for.

use crate::sim::{Upheaval, tx_number};
use crate::types::Power;
use bytes::Bytes;
use std::collections::BTreeSet;

/// Powers by node; 0 for no validator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Electorate {
    powers: Vec<u64>,
}

/// The transaction with this number that gives the validator of `node` another power.
pub(super) fn power_tx(number: u64, node: u8, power: u64) -> Bytes {
    format!("{number}=power/{node}/{power}").into()
}

/// The transaction with this number that changes the powers of all.
pub(super) fn upheaval_tx(number: u64, upheaval: Upheaval) -> Bytes {
    format!("{number}=upheaval/{}", upheaval.name()).into()
}

/// What a transaction orders.
#[derive(Debug, PartialEq, Eq)]
enum Order {
    Power { node: usize, power: u64 },
    Upheaval(Upheaval),
}

fn order_in(tx: &[u8]) -> Option<Order> {
    tx_number(tx)?;
    let (_, order) = std::str::from_utf8(tx).ok()?.split_once('=')?;
    let mut words = order.split('/');
    match (words.next()?, words.next()?) {
        ("power", node) => Some(Order::Power { node: node.parse().ok()?, power: words.next()?.parse().ok()? }),
        ("upheaval", name) => Upheaval::ALL.into_iter().find(|upheaval| upheaval.name() == name).map(Order::Upheaval),
        _ => None,
    }
}

/// The upheaval a transaction orders.
pub(super) fn upheaval_in(tx: &[u8]) -> Option<Upheaval> {
    match order_in(tx)? {
        Order::Upheaval(upheaval) => Some(upheaval),
        Order::Power { .. } => None,
    }
}

impl Electorate {
    pub(super) fn new(powers: Vec<u64>) -> Electorate {
        Electorate { powers }
    }

    /// Validators with their powers.
    pub(super) fn members(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.powers.iter().copied().enumerate().filter(|(_, power)| *power > 0)
    }

    /// Does what a transaction orders, if it orders something and that is allowed. Whose power was named.
    pub(super) fn obey(&mut self, tx: &[u8], proposer: Option<usize>) -> BTreeSet<usize> {
        let Some(order) = order_in(tx) else { return BTreeSet::new() };
        let changes: Vec<(usize, u64)> = match order {
            Order::Power { node, power } => vec![(node, power)],
            Order::Upheaval(upheaval) => self.upheaval(upheaval, proposer),
        };
        let mut next = self.clone();
        for (node, power) in &changes {
            let Some(slot) = next.powers.get_mut(*node) else { return BTreeSet::new() };
            *slot = *power;
        }
        if !next.is_legal() {
            return BTreeSet::new();
        }
        *self = next;
        changes.into_iter().map(|(node, _)| node).collect()
    }

    /// What is to be said of those named since then: their powers, and 0 only for who was a validator.
    pub(super) fn updates_since<'a>(
        &'a self,
        before: &'a Electorate,
        named: &'a BTreeSet<usize>,
    ) -> impl Iterator<Item = (usize, u64)> + 'a {
        let said = |node: &usize| (*node, self.powers[*node]);
        named.iter().map(said).filter(|(node, power)| *power > 0 || before.powers[*node] > 0)
    }

    fn is_legal(&self) -> bool {
        let total: u128 = self.powers.iter().map(|power| u128::from(*power)).sum();
        total > 0 && total <= u128::from(Power::TOTAL_MAX.get())
    }

    fn upheaval(&self, upheaval: Upheaval, proposer: Option<usize>) -> Vec<(usize, u64)> {
        let members: Vec<usize> = self.members().map(|(node, _)| node).collect();
        let out = |node: usize| (node, 0);
        match upheaval {
            Upheaval::OnlyOne => members.into_iter().skip(1).map(out).collect(),
            Upheaval::Half => members.into_iter().skip(1).step_by(2).map(out).collect(),
            Upheaval::Exchange => {
                let other = |(node, power): (usize, &u64)| (node, if *power > 0 { 0 } else { 1 });
                self.powers.iter().enumerate().map(other).collect()
            }
            Upheaval::NearlyTooMuch => {
                let each = Power::TOTAL_MAX.get() / (members.len() as u64).max(1);
                members.into_iter().map(|node| (node, each)).collect()
            }
            Upheaval::Proposer => proposer.into_iter().map(out).collect(),
            Upheaval::Everybody => (0..self.powers.len()).map(|node| (node, 1)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(powers: &[u64], tx: &Bytes) -> Vec<u64> {
        let mut electorate = Electorate::new(powers.to_vec());
        electorate.obey(tx, Some(1));
        electorate.powers
    }

    #[test]
    fn orders_are_read_as_they_are_written() {
        assert_eq!(order_in(&power_tx(8, 2, 30)), Some(Order::Power { node: 2, power: 30 }));
        for upheaval in Upheaval::ALL {
            assert_eq!(upheaval_in(&upheaval_tx(9, upheaval)), Some(upheaval));
        }
        assert_eq!(order_in(b"7=tx"), None);
    }

    #[test]
    fn each_upheaval_leaves_the_powers_its_name_says() {
        let upheaved = |upheaval| after(&[5, 5, 5, 0], &upheaval_tx(1, upheaval));
        assert_eq!(upheaved(Upheaval::OnlyOne), [5, 0, 0, 0]);
        assert_eq!(upheaved(Upheaval::Half), [5, 0, 5, 0]);
        assert_eq!(upheaved(Upheaval::Exchange), [0, 0, 0, 1]);
        assert_eq!(upheaved(Upheaval::Proposer), [5, 0, 5, 0]);
        assert_eq!(upheaved(Upheaval::Everybody), [1, 1, 1, 1]);
        let powers = upheaved(Upheaval::NearlyTooMuch);
        let (total, max) = (powers.iter().sum::<u64>(), Power::TOTAL_MAX.get());
        assert!(total <= max && max - total < 3, "{powers:?}");
    }

    #[test]
    fn what_is_not_allowed_is_not_asked_for() {
        assert_eq!(after(&[5, 0], &power_tx(1, 0, 0)), [5, 0], "nobody would be left");
        assert_eq!(after(&[5, 5], &upheaval_tx(1, Upheaval::Exchange)), [5, 5], "nobody would be left");
        assert_eq!(after(&[5, 5], &power_tx(1, 0, Power::TOTAL_MAX.get())), [5, 5]);
        let mut electorate = Electorate::new(vec![5, 0]);
        let before = electorate.clone();
        let named = electorate.obey(&power_tx(1, 1, 0), None);
        assert_eq!(electorate.updates_since(&before, &named).count(), 0, "only a validator is removed");
    }
}
