//! What the mempool says to those who hand it transactions, and the limits blocks put on it.

/// Why a transaction did not get into the mempool. Texts are CometBFT's (reference §7.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MempoolError {
    /// Seen before.
    #[error("tx already exists in cache")]
    InCache,
    /// No room.
    #[error("mempool is full: number of txs {txs} (max: {txs_max}), total txs bytes {bytes} (max: {bytes_max})")]
    Full {
        /// Transactions in it.
        txs: u64,
        /// Most it holds.
        txs_max: u64,
        /// Bytes in it.
        bytes: u64,
        /// Most it holds.
        bytes_max: u64,
    },
    /// The recheck of the last block is still running while the next one is being committed.
    #[error("mempool is still rechecking after a new committed block, so it is considered as full")]
    Rechecking,
    /// Larger than the mempool takes.
    #[error("Tx too large. Max size is {max}, but got {got}")]
    TooLarge {
        /// Limit in bytes.
        max: u64,
        /// Its size.
        got: u64,
    },
    /// Larger than a block can hold.
    #[error("tx pre check: tx size is too big: {got}, max: {max}")]
    DoesNotFitBlock {
        /// Its size in a block.
        got: u64,
        /// Limit in bytes.
        max: u64,
    },
    /// Wants more gas than a block may use.
    #[error("gas wanted {wanted} is greater than max gas {max}")]
    TooMuchGas {
        /// Wanted.
        wanted: i64,
        /// Limit.
        max: u64,
    },
    /// Wants less than no gas where blocks limit gas.
    #[error("gas wanted {wanted} is negative")]
    NegativeGas {
        /// Wanted.
        wanted: i64,
    },
    /// The application could not be asked.
    #[error("{0}")]
    App(String),
    /// The node is stopping or overloaded.
    #[error("{0}")]
    Unavailable(String),
}

/// What the next block allows a transaction (from the state after the last block).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TxLimits {
    /// Most bytes, counted as [`super::Tx::encoded_len`].
    pub bytes_max: u64,
    /// Most gas; none means no limit.
    pub gas_max: Option<u64>,
}
