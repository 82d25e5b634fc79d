//! Forming: nodes that were given nothing but each other's addresses agree on the genesis of a development network.
//!
//! **What is agreed.** Each node states its name, its address, its keys, its protocol, the list of all addresses and
//! when its home was made. From the statements of all, each computes the same genesis; nothing else goes into it.
//!
//! **How.** First everybody hears everybody's statement. Then each node writes down the genesis it computed, and only
//! then says its hash: it *promises*. A node begins with a genesis only when all others have promised the same one, or
//! when one of them runs it already, which had the same proof. A home keeps its promise for good. So if any node ever
//! begins with a genesis, each of its members has promised it and can begin with no other: whoever crashes, at whatever
//! point, is started again and completes, and there are never two geneses (tested over schedules with crashes).
//!
//! **Over what.** Plain HTTP on the node's RPC port, not the secret connection of the p2p port: a node that has begun
//! must still answer one that crashed before, and it does so already, by the RPC's `genesis`, on the same port, without
//! a second protocol beside consensus. There is nothing secret in a statement, `curl` shows it, and who holds which key is
//! proved right after, when the nodes call each other by the ids learnt here. It is for development: whoever can answer
//! at a listed address can take part.
//!
//! The module needs no running node and names none. Reading order: `address` → `statement` → `agree` (the rules,
//! pure) → `memory` (the promise on disk) → `refusal` → `ask`, `answer` (the two ends of the exchange) → `form`.

mod address;
mod agree;
mod answer;
mod ask;
mod form;
mod memory;
mod refusal;
mod statement;
#[cfg(test)]
mod tests;

pub use address::{AddressError, ListError, Members, NodeAddress, RPC_ABOVE_P2P};
pub use agree::Network;
pub use form::form;
pub use memory::{Memory, MemoryError};
pub use refusal::{FormingError, Refusal};
pub use statement::{NAME_CHARS_MAX, Statement, is_name};
