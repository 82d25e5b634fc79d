//! The links between nodes: they delay, lose, double, replay and mix up packets, and carry nothing while they are cut.

use super::{Dice, NodeNr, Weather};
use crate::consensus::Tick;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Old packets kept for replay.
const REPLAYABLE_MAX: usize = 256;

/// Something on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<T> {
    /// From whom.
    pub from: NodeNr,
    /// To whom.
    pub to: NodeNr,
    /// What.
    pub load: T,
}

/// All links.
#[derive(Debug, Clone)]
pub struct Net<T> {
    dice: Dice,
    weather: Weather,
    /// Links that carry nothing, with how many cuts lie on them.
    cut: BTreeMap<(NodeNr, NodeNr), u32>,
    /// When the last packet of a link arrives, where links keep their order.
    busy: BTreeMap<(NodeNr, NodeNr), Tick>,
    order: Order,
    old: VecDeque<Packet<T>>,
    fates: Fates,
}

/// What became of packets that were not just delivered.
#[derive(Debug, Clone, Default)]
struct Fates {
    lost: u64,
    doubled: u64,
    replayed: u64,
}

/// Whether packets of one link may overtake each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As over TCP.
    Kept,
    /// As over anything.
    Mixed,
}

impl<T: Clone> Net<T> {
    /// Links in this weather.
    pub fn new(dice: Dice, weather: Weather, order: Order) -> Net<T> {
        Net {
            dice,
            weather,
            cut: BTreeMap::new(),
            busy: BTreeMap::new(),
            order,
            old: VecDeque::new(),
            fates: Fates::default(),
        }
    }

    /// Sends a packet: when it arrives, and each of its doubles. Nothing when it is lost.
    pub fn send(&mut self, now: Tick, packet: &Packet<T>) -> Vec<(Tick, Packet<T>)> {
        let mut arrivals = Vec::new();
        if self.is_cut(packet.from, packet.to) {
            return arrivals;
        }
        if self.dice.chance(self.weather.lost) {
            self.fates.lost += 1;
            return arrivals;
        }
        arrivals.push((self.arrival(now, packet), packet.clone()));
        if self.dice.chance(self.weather.doubled) {
            self.fates.doubled += 1;
            arrivals.push((self.arrival(now, packet), packet.clone()));
        }
        if self.weather.replayed > 0 {
            if self.dice.per_mille(self.weather.replayed)
                && let Some(old) = self.draw_old()
                && !self.is_cut(old.from, old.to)
            {
                self.fates.replayed += 1;
                arrivals.push((self.arrival(now, &old), old));
            }
            self.old.push_back(packet.clone());
            if self.old.len() > REPLAYABLE_MAX {
                self.old.pop_front();
            }
        }
        arrivals
    }

    fn draw_old(&mut self) -> Option<Packet<T>> {
        let at = self.dice.below(self.old.len() as u64);
        self.old.get(at as usize).cloned()
    }

    fn arrival(&mut self, now: Tick, packet: &Packet<T>) -> Tick {
        let at = now.plus(self.dice.time(self.weather.delay_min, self.weather.delay_max));
        match self.order {
            Order::Mixed => at,
            Order::Kept => {
                let busy = self.busy.entry((packet.from, packet.to)).or_default();
                *busy = at.max(Tick(busy.0 + 1));
                *busy
            }
        }
    }

    /// True when a link carries nothing in this direction.
    pub fn is_cut(&self, from: NodeNr, to: NodeNr) -> bool {
        self.cut.contains_key(&(from, to))
    }

    /// Cuts links, each in one direction. Cuts add up: each has to be mended.
    pub fn cut(&mut self, links: &[(NodeNr, NodeNr)]) {
        for link in links {
            *self.cut.entry(*link).or_default() += 1;
        }
    }

    /// Takes back one cut.
    pub fn mend(&mut self, links: &[(NodeNr, NodeNr)]) {
        for link in links {
            if let Some(cuts) = self.cut.get_mut(link) {
                *cuts -= 1;
                if *cuts == 0 {
                    self.cut.remove(link);
                }
            }
        }
    }

    /// From now on all links are whole and the weather is good.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.weather = Weather::CALM;
        self.old.clear();
    }

    /// What the weather did, by name.
    pub fn fates(&self) -> [(&'static str, u64); 3] {
        let Fates { lost, doubled, replayed } = self.fates;
        [("packet lost", lost), ("packet doubled", doubled), ("packet replayed", replayed)]
    }

    /// The links that carry nothing.
    pub fn cuts(&self) -> BTreeSet<(NodeNr, NodeNr)> {
        self.cut.keys().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORM: Weather = Weather { lost: 30, doubled: 30, replayed: 300, ..Weather::CALM };

    fn packet(load: u32) -> Packet<u32> {
        Packet { from: NodeNr(0), to: NodeNr(1), load }
    }

    #[test]
    fn links_that_keep_order_do_and_others_do_not() {
        let arrivals = |order| {
            let mut net = Net::new(Dice::new(3), Weather::CALM, order);
            (0..200).flat_map(|n| net.send(Tick(n), &packet(0))).map(|(at, _)| at).collect::<Vec<_>>()
        };
        assert!(arrivals(Order::Kept).is_sorted());
        assert!(!arrivals(Order::Mixed).is_sorted());
    }

    #[test]
    fn a_storm_loses_doubles_and_replays_until_it_is_over() {
        let mut net = Net::new(Dice::new(3), STORM, Order::Mixed);
        let counts: Vec<usize> = (0..1000).map(|n| net.send(Tick(u64::from(n)), &packet(n)).len()).collect();
        assert!(counts.contains(&0) && counts.contains(&2) && counts.contains(&3), "lost, doubled, replayed");
        let lost = counts.iter().filter(|count| **count == 0).count() as u64;
        let fates = net.fates();
        assert!(fates[0] == ("packet lost", lost) && fates.iter().all(|(_, times)| *times > 0), "{fates:?}");
        net.heal();
        assert!((0..1000).all(|n| net.send(Tick(u64::from(n)), &packet(n)).len() == 1));
    }

    #[test]
    fn a_link_that_was_cut_twice_is_mended_twice() {
        let mut net = Net::new(Dice::new(3), Weather::CALM, Order::Kept);
        let link = [(NodeNr(0), NodeNr(1))];
        net.cut(&link);
        net.cut(&link);
        net.mend(&link);
        assert!(net.send(Tick(0), &packet(1)).is_empty());
        net.mend(&link);
        assert_eq!(net.send(Tick(0), &packet(1)).len(), 1);
    }
}
