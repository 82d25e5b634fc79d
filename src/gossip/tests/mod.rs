//! Tests of gossip: networks of several nodes over links with delays, single nodes among puppets, and the form and
//! signatures of what peers say.

mod heard;
mod made;
mod network;
mod peers;
mod puppets;
mod watch;
mod world;
