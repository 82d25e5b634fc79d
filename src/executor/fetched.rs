//! Blocks a peer sent because they were asked for: who owes some, reading one, and checking what proves it.

use crate::codec::{BlockEntries, DecodeError};
use crate::sync::{CheckFault, CommitCheck};
use crate::types::{CandidateBlock, ChainId, Commit, CommitError, ExtendedCommit, Extensions, NodeId, PartSet, Tx};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes the lists of a block may take in memory: 1 GiB. The largest block fits as long as its transactions have four
/// bytes on average.
const LIST_BYTES_MAX: usize = 1 << 30;

/// Bytes a message may have around its block and extended commit: tags and lengths.
const MESSAGE_OVERHEAD_MAX: usize = 32;

/// Who owes us blocks. One that nobody asked for is not even read: the planner would drop the peer, but only after the
/// work is done (bug class 041).
#[derive(Debug, Default)]
pub struct Owed(Mutex<BTreeMap<NodeId, usize>>);

impl Owed {
    /// A peer is about to be asked for a block: to be called before the request goes out.
    pub fn asked(&self, peer: NodeId) {
        *self.lock().entry(peer).or_default() += 1;
    }

    /// A peer answered that it has no block, or is about to be heard with one. False when it owed no answer.
    pub fn answered(&self, peer: NodeId) -> bool {
        let mut owed = self.lock();
        let Some(count) = owed.get_mut(&peer) else { return false };
        *count -= 1;
        if *count == 0 {
            owed.remove(&peer);
        }
        true
    }

    /// True when a block can come from this peer.
    pub fn owes(&self, peer: &NodeId) -> bool {
        self.lock().contains_key(peer)
    }

    /// A peer is gone, and what it owed.
    pub fn gone(&self, peer: NodeId) {
        self.lock().remove(&peer);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A block a peer sent, read and cut into parts.
#[derive(Debug)]
pub struct FetchedBlock {
    /// The block; its parts share the received bytes.
    pub block: Arc<CandidateBlock>,
    /// Its commit with extensions, if one came along.
    pub extended_commit: Option<Box<ExtendedCommit>>,
}

/// Reads a BlockResponse of `message_bytes` bytes. Heavy for large blocks: every byte is hashed.
///
/// # Errors
/// A sentence about the peer that sent it.
pub fn read_block(
    message_bytes: usize,
    encoded: Bytes,
    extended_commit: Option<ExtendedCommit>,
) -> Result<FetchedBlock, String> {
    if encoded.is_empty() || encoded.len() as u64 > PartSet::BLOCK_BYTES_MAX {
        return Err(format!(
            "it sent a block of {} bytes; blocks have 1 to {} bytes",
            encoded.len(),
            PartSet::BLOCK_BYTES_MAX
        ));
    }
    // The block keeps the whole message in memory, and only the block is counted: padding would be free for the peer.
    let wrapped = encoded.len() + extended_commit.as_ref().map_or(0, |commit| commit.encode().len());
    if message_bytes > wrapped + MESSAGE_OVERHEAD_MAX && !mutant!("N54") {
        return Err(format!("it sent a block of {wrapped} bytes in a message of {message_bytes} bytes"));
    }
    let wrong = |error: DecodeError| format!("it sent a block that cannot be read: {error}");
    let BlockEntries { txs, signatures } = BlockEntries::count(&encoded).map_err(wrong)?;
    if (signatures > Commit::SIGNATURES_MAX && !mutant!("N55")) || txs.saturating_mul(size_of::<Tx>()) > LIST_BYTES_MAX
    {
        return Err(format!("it sent a block of {txs} transactions and {signatures} signatures: too many to read"));
    }
    let block = CandidateBlock::from_encoded(&encoded).map_err(wrong)?;
    let height = block.block().header.height;
    block.block().validate_basic().map_err(|error| format!("block {height} is wrong in itself: {error}"))?;
    Ok(FetchedBlock { block: Arc::new(block), extended_commit: extended_commit.map(Box::new) })
}

/// Whether this commit proves this block, and if not, whose word was false.
///
/// An honest block always carries a commit that is good for the block it names. So when it names another block, it is
/// checked for that one: if it is good, the block before is the lie, otherwise the commit is.
pub fn check_commit(chain_id: &ChainId, check: &CommitCheck) -> Result<(), CheckFault> {
    let CommitCheck { block, commit, extended_commit, validators, quorum } = check;
    let (id, height) = (block.id(), block.block().header.height);
    if let Some(extended) = extended_commit {
        validators
            .verify_extended_commit(chain_id, &id, height, extended, Extensions::Required, *quorum)
            .map_err(|error| CheckFault::Extensions(error.to_string()))?;
        // Alone, it is its own commit: checked just now.
        if extended.to_commit() == **commit || mutant!("N53") {
            return Ok(());
        }
    }
    match validators.verify_commit(chain_id, &id, height, commit, *quorum) {
        Ok(()) => Ok(()),
        Err(error @ CommitError::WrongBlockId { .. }) => {
            let itself = validators.verify_commit(chain_id, &commit.block_id, height, commit, *quorum);
            Err(match itself {
                Ok(()) => CheckFault::Block(error.to_string()),
                Err(error) => CheckFault::Commit(error.to_string()),
            })
        }
        Err(error) => Err(CheckFault::Commit(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
