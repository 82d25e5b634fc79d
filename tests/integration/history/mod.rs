//! Histories of clients of a key-value application, and whether a register per key could have given their answers.
//!
//! A history is linearizable when every call can be given one moment between its begin and its end, at which it took
//! effect as if nobody else were there (Herlihy and Wing, 1990). Each key is judged alone: a history is linearizable
//! exactly when the history of every key is (their theorem 1).

mod chain;
mod check;
mod clients;
mod generate;
mod oracle;
mod text;

mod tests;

pub(crate) use chain::{PutAt, ReadAt, follows};
pub(crate) use check::{CONFIGURATIONS_MAX, Verdict, check};
pub(crate) use clients::{Clients, Gets, Record, query};

/// What a client wrote or read.
pub(crate) type Value = u64;
/// Nanoseconds on the clock of all clients, which never goes back.
pub(crate) type Moment = u64;

/// One call of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) client: usize,
    pub(crate) key: usize,
    pub(crate) invoked: Moment,
    pub(crate) outcome: Outcome,
}

/// How a call ended. A get that got no answer says nothing about the register and has no place in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A put that was acknowledged.
    Put { value: Value, ended: Moment },
    /// A put whose fate nobody knows: it may take effect at any later moment, or never.
    PutOpen { value: Value },
    /// A put that certainly had no effect and never will.
    PutRefused { value: Value },
    /// A get, and what it was told: none when there was no value.
    Got { value: Option<Value>, ended: Moment },
}
