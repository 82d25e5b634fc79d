//! What the plan has in store for the world, and its healing.

use super::clients::Load;
use super::events::Event;
use super::world::{Pause, World};
use crate::sim::disk::{Fuse, Moment};
use crate::sim::{Misfortune, NodeNr, Unsynced, What};
use std::time::Duration;

impl World {
    pub(super) fn strike(&mut self, index: usize) {
        let Some(fault) = self.plan.faults.get(index).cloned() else { return };
        let now = self.queue.now();
        if self.healed {
            return;
        }
        match fault.what {
            Misfortune::Crash { node, after_effects, unsynced, away } => {
                let site = self.site(node);
                if let Some(process) = &mut site.process {
                    process.set_fuse(Some(after_effects));
                    site.doom = Some((unsynced, away));
                }
            }
            Misfortune::DiskCrash { node, after_operations, unsynced, away } => {
                let moment = match self.dice.below(3) {
                    0 => Moment::Before,
                    1 => Moment::Halfway,
                    _ => Moment::After,
                };
                let site = self.site(node);
                if site.process.is_some() {
                    site.home.disk.set_fuse(Some(Fuse { operations: u64::from(after_operations), moment }));
                    site.doom = Some((unsynced, away));
                }
            }
            Misfortune::Blackout { away } => {
                self.watch.count("blackout");
                for node in self.plan.all() {
                    let more = self.dice.time(Duration::ZERO, Duration::from_secs(1));
                    self.crash(node, Unsynced::Lost, away + more);
                }
            }
            Misfortune::Pause { node, lasting } => {
                let until = now.plus(lasting);
                let site = self.site(node);
                if site.process.is_some() && site.paused.is_none() {
                    site.paused = Some(Pause { until, wants: Vec::new(), facts: Vec::new() });
                    self.watch.count("pause");
                    self.queue.at(until, Event::Resume(node));
                }
            }
            Misfortune::Cut { links, lasting } => self.cut(links, lasting),
            // Level 2 draws none: its cuts break connections.
            Misfortune::Unplugged { .. } => {}
            Misfortune::ClockJump { node, by } => {
                self.watch.count(if by < 0 { "clock jumped back" } else { "clock jumped ahead" });
                self.site(node).clock.jump(by);
            }
            Misfortune::ClockRate { node, per_mille } => {
                self.watch.count("clock rate");
                self.site(node).clock.run_at(now, per_mille);
                self.plan_wake(node);
            }
            Misfortune::AppCrash { node, away } => self.crash_app(node, away),
            Misfortune::Woe { node, woe } => self.strike_woe(node, woe),
            Misfortune::Power { node, power } => self.send_tx(Load::Power { node, power }),
        }
    }

    pub(super) fn cut(&mut self, links: Vec<(NodeNr, NodeNr)>, lasting: Duration) {
        self.watch.count("cut");
        self.net.cut(&links);
        if self.dice.chance(50) {
            for (from, to) in &links {
                self.hang_up(*from, *to);
            }
        }
        self.queue.after(lasting, Event::Mend(links));
    }

    pub(super) fn heal(&mut self) {
        let now = self.queue.now();
        self.healed = true;
        self.net.heal();
        for from in self.plan.all() {
            for to in self.plan.all() {
                self.release(from, to);
            }
            let site = self.site(from);
            site.doom = None;
            site.clock.set_right(now);
            site.home.disk.set_fuse(None);
            if let Some(process) = &mut site.process {
                process.set_fuse(None);
            }
            self.end_woes(from);
            self.plan_wake(from);
        }
        self.see(NodeNr(0), What::Healed);
    }
}
