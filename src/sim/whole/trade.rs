//! What clients do with the nodes of the world.

use super::clients::{Again, Load};
use super::events::{Event, Fact};
use super::world::World;
use crate::consensus::ReadMode;
use crate::mempool::RequestId;
use crate::sim::{NodeNr, What};
use crate::types::Height;
use bytes::Bytes;

impl World {
    pub(super) fn clients_act(&mut self) {
        self.queue.after(self.habits.pace, Event::Clients);
        let now = self.queue.now();
        let up = self.nodes_up();
        let stand = |node: &NodeNr| (*node, self.sites[node.index()].published);
        let standing: Vec<(NodeNr, Height)> = up.iter().map(stand).collect();
        for again in self.clients.ask_again(now, &standing) {
            match again {
                Again::Found { tx, node, height } => self.see(node, What::Acknowledged { tx, height }),
                Again::Send { tx, node, bytes } => self.submit(tx, node, bytes),
            }
        }
        if self.lowest() < self.target() || !self.healed {
            let load = self.draw_load();
            self.send_tx(load);
        }
        if self.dice.chance(30)
            && let Some((ticket, node)) = self.clients.read(&up)
        {
            self.see(node, What::ReadAsked { read: ticket.0 });
            self.tell(node, Fact::Read { ticket, mode: ReadMode::Confirmed });
        }
    }

    pub(super) fn draw_load(&mut self) -> Load {
        let validators: Vec<NodeNr> = self.plan.all().collect();
        match self.dice.pick(&validators).copied() {
            Some(node) if self.dice.chance(self.habits.power_changes) => {
                Load::Power { node, power: 1 + self.dice.below(3) }
            }
            _ => Load::Padding { most: self.habits.padding },
        }
    }

    pub(super) fn nodes_up(&self) -> Vec<NodeNr> {
        let up = |node: &NodeNr| {
            let site = &self.sites[node.index()];
            site.process.is_some() && site.paused.is_none() && self.plan.is_honest(*node)
        };
        self.plan.all().filter(up).collect()
    }

    pub(super) fn send_tx(&mut self, load: Load) {
        let up = self.nodes_up();
        if let Some((number, node, bytes)) = self.clients.send(self.queue.now(), &up, load) {
            self.submit(number, node, bytes);
        }
    }

    pub(super) fn submit(&mut self, number: u64, node: NodeNr, tx: Bytes) {
        self.see(node, What::Submitted { tx: number });
        self.tell(node, Fact::Submit { request: RequestId(number), tx });
    }
}
