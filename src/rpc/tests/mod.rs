//! The RPC against 71 files recorded from a CometBFT v0.38 node, and its rules by table.

mod fake;
mod network;
mod reads;
mod recorded;
mod rules;
mod sockets;
