//! Whole replicas over a simulated disk, network and application, in virtual time (level 2).
//!
//! A node is what ships: the replica, the executor and the reception of [`crate::executor`], the real codecs, journal,
//! guard, key file and store. Not here are tokio, sockets, the secret connection and RPC. Bytes travel over connections
//! that keep their order, stall while a link is cut, and break; a life ends between any two orders, or inside the
//! journal, guard or store between any two operations of the disk. What a life leaves behind is its disk; the application
//! keeps what it committed.
//!
//! Reading order: this file → `habits` → `people`, `clock`, `app`, `home` → `events`, `words`, `blocks` → `process` (one life), `orders`, `lie` → `links` →
//! `clients` → `world` → `faults`, `wires`, `apps`, `trade` (what happens in it).

mod app;
mod apps;
mod blocks;
mod clients;
mod clock;
mod events;
mod faults;
mod habits;
mod home;
mod lie;
mod links;
mod orders;
mod people;
mod process;
mod trade;
mod wires;
mod words;
mod world;

#[cfg(test)]
mod tests;

use super::{Checker, Outcome, Plan, Scene, Trace};

/// Runs a plan to its end, or to the first rule that is broken.
pub fn run(plan: Plan, checkers: impl FnOnce(&Scene) -> Vec<Box<dyn Checker>>, trace: Trace) -> Outcome {
    world::World::new(plan, checkers, trace).run()
}
