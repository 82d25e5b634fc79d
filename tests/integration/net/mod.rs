//! Networks of real nodes, joined by wires that can be cut. `liar` and `two_faced` are peers of our own making that say what is not so.

mod liar;
mod link;
mod network;
mod stranger;
mod two_faced;

mod agreement;
mod catch_up;
pub(crate) mod crash_points;
mod histories;
mod lies;
mod partition;
mod refusal;
mod why;
