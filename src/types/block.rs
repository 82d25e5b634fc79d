//! Blocks and what names them.

use super::{Address, ChainId, Commit, Evidence, Height, Time, Tx};
use crate::crypto::Hash;
use bytes::Bytes;

/// How a block was cut into parts: their number and the Merkle root over them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartSetHeader {
    /// Number of parts, at least 1 for a block.
    pub total: u32,
    /// Root over the parts' bytes.
    pub hash: Hash,
}

/// The full name of a block: what votes vote for. "No block" (nil) is `Option::None` everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    /// Hash of the header.
    pub hash: Hash,
    /// How the block travels.
    pub parts: PartSetHeader,
}

/// Versions a header carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Version {
    /// The block protocol: 11.
    pub block: u64,
    /// The application's own version.
    pub app: u64,
}

impl Version {
    /// CometBFT's block protocol (reference §0).
    pub const BLOCK: u64 = 11;
}

/// A block's header: 14 fields, whose Merkle root is the block's hash (reference §4.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Block protocol and application version.
    pub version: Version,
    /// The chain this block belongs to.
    pub chain_id: ChainId,
    /// Its position.
    pub height: Height,
    /// Block time by the rule of reference §4.9.
    pub time: Time,
    /// The block before; none for the first.
    pub last_block_id: Option<BlockId>,
    /// Root over the signatures in `last_commit`.
    pub last_commit_hash: Hash,
    /// Root over the transactions' hashes.
    pub data_hash: Hash,
    /// The set that decides this height.
    pub validators_hash: Hash,
    /// The set that decides the next height.
    pub next_validators_hash: Hash,
    /// Hash of the consensus parameters in force.
    pub consensus_hash: Hash,
    /// What the application returned for the height before; any length.
    pub app_hash: Bytes,
    /// Root over the transaction results of the height before.
    pub last_results_hash: Hash,
    /// Root over the evidence in this block.
    pub evidence_hash: Hash,
    /// Who proposed it.
    pub proposer_address: Address,
}

/// A block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its header.
    pub header: Header,
    /// Transactions in order.
    pub txs: Vec<Tx>,
    /// Misbehaviour proven in this block.
    pub evidence: Vec<Evidence>,
    /// Signatures for the block before; none in the first block (written as an empty commit).
    pub last_commit: Option<Commit>,
}

/// What is kept beside a stored block for listing it cheaply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockMeta {
    /// The block's name.
    pub block_id: BlockId,
    /// Encoded size in bytes.
    pub block_size: u64,
    /// Its header.
    pub header: Header,
    /// Number of transactions.
    pub num_txs: u64,
}
