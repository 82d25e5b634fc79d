//! The network of the world: calls, bytes on their way, what waits while a link is cut, connections that end.

use super::events::{Event, Fact, Parcel};
use super::links::Stalled;
use super::world::World;
use crate::sim::{NodeNr, Packet};
use crate::types::Channel;
use std::time::Duration;

impl World {
    pub(super) fn plan_call(&mut self, one: NodeNr, other: NodeNr, longest: Duration) {
        if self.links.plan_call(one, other) {
            let wait = self.dice.time(Duration::from_millis(1), longest);
            self.queue.after(wait, Event::Dial(one, other));
        }
    }

    pub(super) fn dial(&mut self, one: NodeNr, other: NodeNr) {
        self.links.called(one, other);
        let there = |node: NodeNr| self.sites[node.index()].process.is_some();
        let cut = self.net.is_cut(one, other) || self.net.is_cut(other, one);
        if !there(one) || !there(other) || cut || self.links.between(one, other).is_some() {
            return self.plan_call(one, other, Duration::from_millis(1500));
        }
        let link = self.links.connect(one, other);
        for (node, peer) in [(one, other), (other, one)] {
            let life = self.site(node).life;
            self.queue.after(Duration::ZERO, Event::Tell { node, life, fact: Fact::LinkUp { peer, link } });
        }
    }

    /// A connection ends; both sides notice, each after a while, and call again later.
    pub(super) fn hang_up(&mut self, one: NodeNr, other: NodeNr) {
        if let Some(link) = self.links.end(one, other) {
            for (node, peer) in [(one, other), (other, one)] {
                let wait = self.dice.time(Duration::ZERO, Duration::from_millis(200));
                let life = self.site(node).life;
                self.queue.after(wait, Event::Tell { node, life, fact: Fact::LinkDown { peer, link } });
            }
        }
        if self.links.plan_call(one, other) {
            let wait = self.dice.time(Duration::from_millis(250), Duration::from_millis(1500));
            self.queue.after(wait, Event::Dial(one, other));
        }
    }

    pub(super) fn post(&mut self, from: NodeNr, to: NodeNr, load: Parcel) {
        if self.links.between(from, to) != Some(load.link) {
            return; // it ended, and the sender has not noticed yet
        }
        let packet = Packet { from, to, load };
        if self.net.is_cut(from, to) || self.links.stalls(from, to) {
            if self.links.stall(packet) == Stalled::Overflows {
                self.hang_up(from, to);
            }
            return;
        }
        if !self.healed && self.dice.below(10_000) < self.plan.weather.lost {
            self.watch.count("connection lost");
            return self.hang_up(from, to);
        }
        self.hand_over(packet);
    }

    pub(super) fn hand_over(&mut self, packet: Packet<Parcel>) {
        let (node, peer) = (packet.from, packet.to);
        let Parcel { link, channel, counted, .. } = packet.load;
        for (at, packet) in self.net.send(self.queue.now(), &packet) {
            self.queue.at(at, Event::Arrive(packet));
        }
        self.tell_written(node, peer, (link, channel, counted));
    }

    /// A node is told that so many bytes left over a connection.
    pub(super) fn tell_written(&mut self, node: NodeNr, peer: NodeNr, (link, channel, bytes): (u64, Channel, u64)) {
        if channel != Channel::Blocksync && bytes > 0 {
            let life = self.site(node).life;
            let fact = Fact::Written { peer, link, channel, bytes };
            self.queue.after(Duration::from_micros(100), Event::Tell { node, life, fact });
        }
    }

    /// What waited on a link goes, if it is whole.
    pub(super) fn release(&mut self, from: NodeNr, to: NodeNr) {
        if from == to || self.net.is_cut(from, to) {
            return;
        }
        for packet in self.links.take_stalled(from, to) {
            self.hand_over(packet);
        }
    }

    pub(super) fn arrive(&mut self, from: NodeNr, to: NodeNr, load: Parcel) {
        if self.links.between(from, to) == Some(load.link) {
            let Parcel { link, channel, bytes, .. } = load;
            self.tell(to, Fact::Message { peer: from, link, channel, bytes });
        }
    }
}
