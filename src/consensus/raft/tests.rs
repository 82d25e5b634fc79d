//! Tests of the machine: one replica among puppets, networks of several, crashes, the paper's claims, etcd's tables.

mod claims;
mod crash;
mod etcd;
mod extremes;
mod failover;
mod guards;
mod membership;
mod network;
mod oracles;
mod patience;
mod reads;
mod scene;
mod stories;
mod world;
