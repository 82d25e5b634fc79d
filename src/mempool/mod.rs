//! The mempool: transactions that wait for a block, in the order in which the application admitted them
//! (reference §7.1).
//!
//! A machine: told facts ([`MempoolInput`]) it answers with ordered orders ([`MempoolEffect`]). Everything in it is
//! bounded: waiting transactions and those on their way to the application together by `size` and `max_txs_bytes`, the
//! cache of hashes by `cache_size`, senders by [`SENDERS_MAX`].
//!
//! Reading order: this file → `cache` → `pool` → `in_flight` → `machine` → `gossip`.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

mod cache;
pub mod gossip;
mod in_flight;
mod machine;
mod pool;
#[cfg(test)]
mod tests;

pub use machine::Mempool;

use crate::types::abci::{CheckTxKind, CheckTxResponse};
use crate::types::{Height, MempoolError, NodeId, Tx, TxLimits};
use std::time::Duration;

/// Most senders remembered for one transaction: it is not gossiped back to them. More peers may send it; they are
/// then sent it once more, which is harmless.
pub const SENDERS_MAX: usize = 16;

/// How much it holds, and what it does with transactions that fail. Defaults are CometBFT v0.38's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MempoolConfig {
    /// Most transactions.
    pub size: u64,
    /// Most bytes of all transactions together.
    pub max_txs_bytes: u64,
    /// Most bytes of one transaction.
    pub max_tx_bytes: u64,
    /// Hashes remembered, so that a transaction is not checked twice.
    pub cache_size: usize,
    /// Whether a transaction that failed may come again.
    pub failed: FailedTxs,
    /// Whether transactions are checked again after each block.
    pub recheck: Recheck,
    /// Whether peers are offered transactions.
    pub broadcast: Broadcast,
}

/// Whether peers are offered transactions: `mempool.broadcast`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broadcast {
    /// They are.
    On,
    /// They are not: ours wait here until we propose them ourselves, or, under PBFT, until they starve.
    Off,
}

/// Whether a transaction that failed may come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedTxs {
    /// It may: it could become valid.
    Forget,
    /// It may not, while the cache remembers it: `keep-invalid-txs-in-cache`.
    Remember,
}

/// Whether transactions are checked again after each block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recheck {
    /// They are not.
    Off,
    /// They are. Consensus is told of them when all are checked, or after `timeout`.
    On {
        /// `recheck_timeout`.
        timeout: Duration,
    },
}

impl Default for MempoolConfig {
    fn default() -> MempoolConfig {
        MempoolConfig {
            size: 5_000,
            max_txs_bytes: 1 << 30,
            max_tx_bytes: 1 << 20,
            cache_size: 10_000,
            failed: FailedTxs::Forget,
            recheck: Recheck::On { timeout: Duration::from_secs(1) },
            broadcast: Broadcast::On,
        }
    }
}

/// Names a submission of a client, so that its answer finds its way back. Given by whoever submits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Names a batch of CheckTx.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// Who submits transactions, and what it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client, which waits for [`MempoolEffect::Admitted`] only: `broadcast_tx_async`.
    Admission(RequestId),
    /// A client, which waits for [`MempoolEffect::Checked`].
    Check(RequestId),
    /// A peer; it waits for nothing.
    Peer(NodeId),
}

/// A fact.
#[derive(Debug)]
pub enum MempoolInput {
    /// Somebody has transactions for us.
    Submit {
        /// Who.
        origin: Origin,
        /// The transactions, in order.
        txs: Vec<Tx>,
    },
    /// The application answered a [`MempoolEffect::Check`].
    Answered {
        /// Which.
        batch: BatchId,
        /// One for each transaction, in order.
        responses: Vec<CheckTxResponse>,
    },
    /// A [`MempoolEffect::Check`] brought no usable answer.
    CheckFailed {
        /// Which.
        batch: BatchId,
        /// Why, naming the method.
        why: String,
    },
    /// The application cannot be asked: transactions are refused until [`MempoolInput::AppUp`]. The replica says
    /// CheckFailed for what was on its way.
    AppDown {
        /// Why.
        why: String,
    },
    /// The application can be asked again, and no Commit is under way: ends a hold.
    AppUp,
    /// The application is about to commit: no CheckTx from now on. Answered by [`MempoolEffect::Held`].
    Hold,
    /// A block was committed; ends the hold.
    Committed {
        /// Its height.
        height: Height,
        /// Its transactions with their result codes.
        txs: Vec<(Tx, u32)>,
        /// What the next block allows.
        limits: TxLimits,
    },
    /// The timer of [`MempoolEffect::SetRecheckTimer`] is due.
    RecheckTimer {
        /// The height it was set at.
        height: Height,
    },
    /// Forget everything: `unsafe_flush_mempool`.
    Flush,
}

/// An order.
#[derive(Debug, PartialEq, Eq)]
pub enum MempoolEffect {
    /// Ask the application, in one write on the mempool connection.
    Check {
        /// Comes back with the answers.
        batch: BatchId,
        /// First sight or again.
        kind: CheckTxKind,
        /// In order.
        txs: Vec<Tx>,
    },
    /// To a client: what became of its transactions at admission, in order.
    Admitted {
        /// Whose.
        request: RequestId,
        /// In order.
        results: Vec<Result<(), MempoolError>>,
    },
    /// To a client: what became of its transactions, in order. An `Ok` with another code than 0 was not taken.
    Checked {
        /// Whose.
        request: RequestId,
        /// In order.
        results: Vec<Result<CheckTxResponse, MempoolError>>,
    },
    /// To consensus: there is something to propose. Once for each height.
    TxsAvailable,
    /// Say [`MempoolInput::RecheckTimer`] after this long.
    SetRecheckTimer {
        /// Comes back.
        height: Height,
        /// How long.
        after: Duration,
    },
    /// Nothing is on its way to the application any more, until [`MempoolInput::Committed`] or [`MempoolInput::AppUp`].
    Held,
}
