//! Misfortunes, as the plan has them, and their end.

use super::chain::PowerChange;
use super::node::{Arrival, Doom};
use super::protocol::Watched;
use super::world::{Event, World};
use crate::sim::{Misfortune, NodeNr, Unsynced, What};
use std::sync::Arc;
use std::time::Duration;

/// Nobody is back sooner.
const AWAY_MIN: Duration = Duration::from_millis(5);
/// How soon others notice that a connection is gone.
const NOTICED: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(4));
/// How soon after healing everybody is up.
pub(super) const BACK: Duration = Duration::from_millis(20);

impl<P: Watched> World<P> {
    /// The fault at this place of the plan happens.
    pub(super) fn strike(&mut self, place: usize) {
        let plan = Arc::clone(&self.plan);
        match &plan.faults[place].what {
            Misfortune::Crash { node, after_effects, unsynced, away } => {
                self.doom(*node, Doom { left: *after_effects, unsynced: *unsynced, away: *away });
            }
            // Disks have no operations here: it dies among its effects.
            Misfortune::DiskCrash { node, after_operations, unsynced, away } => {
                self.doom(*node, Doom { left: after_operations / 4, unsynced: *unsynced, away: *away });
            }
            Misfortune::Blackout { away } => {
                self.watch.count("blackout");
                for who in plan.all() {
                    if self.nodes[who.index()].machine.is_some() {
                        self.crash(who, Unsynced::Lost, *away);
                    }
                }
            }
            Misfortune::Pause { node, lasting } => {
                self.watch.count("pause");
                let paused = &mut self.nodes[node.index()];
                if paused.machine.is_some() {
                    paused.pauses += 1;
                    let life = paused.life;
                    self.queue.after(*lasting, Event::Resume { node: *node, life });
                }
            }
            Misfortune::Cut { links, lasting } => {
                self.watch.count("cut");
                self.net.cut(links);
                self.queue.after(*lasting, Event::Mend(place));
            }
            Misfortune::Unplugged { node, lasting } => {
                self.watch.count("unplugged");
                self.unplug(*node);
                self.queue.after(*lasting, Event::Mend(place));
            }
            Misfortune::ClockJump { node, by } => {
                self.watch.count("clock jumped");
                let clock = &mut self.nodes[node.index()].clock;
                clock.offset = clock.offset.saturating_add(*by);
            }
            Misfortune::ClockRate { node, per_mille } => {
                self.watch.count("clock of another speed");
                let now = self.queue.now();
                self.nodes[node.index()].clock.set_rate(now, *per_mille);
            }
            Misfortune::AppCrash { node, away } => {
                self.watch.count("application away");
                let back = self.queue.now().plus(*away);
                self.nodes[node.index()].app_back = back;
                self.queue.at(back, Event::AppBack { node: *node });
            }
            // Level 1 draws none: its disks, signers and applications are models.
            Misfortune::Woe { .. } => {}
            Misfortune::Power { node, power } => {
                self.watch.count("power changed");
                self.wanted.push(PowerChange { node: *node, power: *power });
            }
        }
    }

    fn doom(&mut self, who: NodeNr, doom: Doom) {
        self.nodes[who.index()].doom.get_or_insert(doom);
    }

    /// A cut is over, unless healing ended it before.
    pub(super) fn mend(&mut self, place: usize) {
        match self.plan.faults[place].what {
            Misfortune::Cut { ref links, .. } => self.net.mend(links),
            Misfortune::Unplugged { node, .. } => {
                self.net.mend(&self.links_of(node));
                self.plug_in(node);
            }
            _ => {}
        }
    }

    /// All connections of a node break. Clients soon ask on both sides.
    fn unplug(&mut self, who: NodeNr) {
        self.net.cut(&self.links_of(who));
        for peer in self.plan.all().filter(|peer| *peer != who) {
            self.tell_down(who, peer);
            self.tell_down(peer, who);
        }
        self.unplugged.push(who);
        self.hurry_clients();
    }

    fn links_of(&self, who: NodeNr) -> Vec<(NodeNr, NodeNr)> {
        self.plan.all().filter(|peer| *peer != who).flat_map(|peer| [(who, peer), (peer, who)]).collect()
    }

    /// Everybody connects to it again.
    fn plug_in(&mut self, who: NodeNr) {
        self.unplugged.retain(|other| *other != who);
        let up = |node: NodeNr| self.nodes[node.index()].machine.is_some();
        let peers: Vec<NodeNr> = self.plan.all().filter(|peer| *peer != who && up(*peer) && up(who)).collect();
        for peer in peers {
            self.connect(who, peer);
            self.connect(peer, who);
        }
    }

    /// A node notices that a connection is gone.
    fn tell_down(&mut self, who: NodeNr, gone: NodeNr) {
        let node = &self.nodes[who.index()];
        if node.machine.is_some() {
            let (life, wait) = (node.life, self.dice.time(NOTICED.0, NOTICED.1));
            self.queue.after(wait, Event::Arrive { node: who, life, arrival: Arrival::PeerDown(gone) });
        }
    }

    /// The node dies now.
    pub(super) fn crash(&mut self, who: NodeNr, unsynced: Unsynced, away: Duration) {
        self.see(who, What::Crashed { unsynced });
        let node = &mut self.nodes[who.index()];
        self.watch.count(match (node.recovering, node.disk.is_dirty(), unsynced) {
            (true, _, _) => "crash while recovering",
            (_, true, Unsynced::Lost) => "crash with records to lose",
            (_, true, Unsynced::Kept) => "crash with records that stay",
            (_, false, _) => "crash",
        });
        node.disk.end(unsynced, &mut self.dice);
        node.forget();
        let life = node.life;
        self.clients.forget(who);
        self.forget_lies(who);
        self.queue.after(away.max(AWAY_MIN), Event::Restart { node: who, life });
        for peer in self.plan.all().filter(|peer| *peer != who) {
            self.tell_down(peer, who);
        }
    }

    /// From now on there are no faults: links are whole, everybody is up. Clocks stay as wrong as they are.
    pub(super) fn heal(&mut self) {
        self.see(NodeNr(0), What::Healed);
        self.net.heal();
        std::mem::take(&mut self.unplugged).into_iter().for_each(|who| self.plug_in(who));
        let now = self.queue.now();
        for who in self.plan.all() {
            let node = &mut self.nodes[who.index()];
            node.doom = None;
            node.pauses = 0;
            node.app_back = node.app_back.min(now);
            if node.machine.is_some() {
                self.app_returns(who);
            } else {
                let life = node.life;
                let wait = self.dice.time(AWAY_MIN, BACK);
                self.queue.after(wait, Event::Restart { node: who, life });
            }
        }
    }
}
