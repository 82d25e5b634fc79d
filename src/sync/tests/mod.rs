//! Block sync in a world of model peers: one clock, one seed, no threads.

mod chain;
mod guards;
mod promises;
mod seeds;
mod stories;
mod world;
