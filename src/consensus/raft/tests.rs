//! Tests of the machine: one replica among puppets, networks of several, crashes, the paper's claims, etcd's tables.

mod crash;
mod network;
mod scene;
mod world;
