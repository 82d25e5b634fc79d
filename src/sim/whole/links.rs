//! Connections between nodes: who is connected with whom, and what waits while a link is cut.

use super::events::Parcel;
use crate::sim::{NodeNr, Packet};
use std::collections::{BTreeMap, VecDeque};

/// Messages that wait on a connection whose link is cut. p2p gives a peer up whose queue of 8192 is full.
const STALLED_MAX: usize = 8192;

/// All connections, by pair of nodes.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: BTreeMap<(NodeNr, NodeNr), Link>,
    numbers: u64,
}

#[derive(Debug, Default)]
struct Link {
    /// Its number while it stands.
    stands: Option<u64>,
    /// A call is planned.
    dialing: bool,
    stalled: VecDeque<Packet<Parcel>>,
}

/// What becomes of a message on a link that is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stalled {
    Waits,
    /// Too much waits already.
    Overflows,
}

fn pair(one: NodeNr, other: NodeNr) -> (NodeNr, NodeNr) {
    (one.min(other), one.max(other))
}

impl Links {
    fn link(&mut self, one: NodeNr, other: NodeNr) -> &mut Link {
        self.links.entry(pair(one, other)).or_default()
    }

    /// The connection between the two, while it stands.
    pub(super) fn between(&self, one: NodeNr, other: NodeNr) -> Option<u64> {
        self.links.get(&pair(one, other)).and_then(|link| link.stands)
    }

    /// Plans a call, unless one is planned or they are connected. True when it is to be planned.
    pub(super) fn plan_call(&mut self, one: NodeNr, other: NodeNr) -> bool {
        let link = self.link(one, other);
        let wanted = link.stands.is_none() && !link.dialing;
        link.dialing |= wanted;
        wanted
    }

    /// The planned call takes place.
    pub(super) fn called(&mut self, one: NodeNr, other: NodeNr) {
        self.link(one, other).dialing = false;
    }

    /// They are connected from now on: the connection's number.
    pub(super) fn connect(&mut self, one: NodeNr, other: NodeNr) -> u64 {
        self.numbers += 1;
        let number = self.numbers;
        let link = self.link(one, other);
        link.stands = Some(number);
        link.stalled.clear();
        number
    }

    /// The connection ends, with what waits on it. Its number, if there was one.
    pub(super) fn end(&mut self, one: NodeNr, other: NodeNr) -> Option<u64> {
        let link = self.link(one, other);
        link.stalled.clear();
        link.stands.take()
    }

    /// Something cannot leave.
    pub(super) fn stall(&mut self, packet: Packet<Parcel>) -> Stalled {
        let link = self.link(packet.from, packet.to);
        if link.stalled.len() >= STALLED_MAX {
            return Stalled::Overflows;
        }
        link.stalled.push_back(packet);
        Stalled::Waits
    }

    /// True when something waits to go this way: what comes later must not overtake it.
    pub(super) fn stalls(&self, from: NodeNr, to: NodeNr) -> bool {
        let link = self.links.get(&pair(from, to));
        link.is_some_and(|link| link.stalled.iter().any(|packet| packet.from == from))
    }

    /// Takes what waits to go this way.
    pub(super) fn take_stalled(&mut self, from: NodeNr, to: NodeNr) -> Vec<Packet<Parcel>> {
        let link = self.link(from, to);
        let (go, stay) = std::mem::take(&mut link.stalled).into_iter().partition(|packet| packet.from == from);
        link.stalled = stay;
        let go: VecDeque<Packet<Parcel>> = go;
        go.into()
    }
}
