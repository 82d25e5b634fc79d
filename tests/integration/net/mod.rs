//! Networks of real nodes, joined by wires that can be cut. `liar` is a peer of our own making that says what is not so.

mod liar;
mod link;
mod network;
mod stranger;

mod agreement;
mod catch_up;
mod histories;
mod lies;
mod partition;
mod refusal;
mod why;
