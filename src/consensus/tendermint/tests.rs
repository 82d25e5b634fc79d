//! Tests of the machine: stories of one validator, networks of several, crashes, and recorded traces.

mod crash;
mod guards;
mod malachite;
mod network;
mod refused;
mod stories;
mod story;
mod world;
