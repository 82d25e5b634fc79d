//! Tests of gossip: networks of several nodes over links with delays, and single nodes among puppets.

mod made;
mod network;
mod watch;
mod world;
