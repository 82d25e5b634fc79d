//! Work of block sync that runs beside the replica's loop: reading a block a peer sent, and checking signatures.

use crate::codec::{BlockEntries, DecodeError};
use crate::sync::{CheckFault, CommitCheck};
use crate::types::{CandidateBlock, ChainId, Commit, CommitError, ExtendedCommit, Extensions, NodeId, PartSet, Tx};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Bytes the lists of a block may take in memory: 1 GiB. The largest block fits as long as its transactions have four
/// bytes on average.
const LIST_BYTES_MAX: usize = 1 << 30;

/// Bytes a message may have around its block and extended commit: tags and lengths.
const MESSAGE_OVERHEAD_MAX: usize = 32;

/// Blocks read at once. A block being read takes up to [`LIST_BYTES_MAX`] and its message; however many peers send
/// blocks, no more of them are in memory unread.
const READS_AT_ONCE: usize = 2;

/// What stands between a peer's bytes and the planner. A block nobody asked for is not even read: the planner would drop
/// the peer, but only after the work is done (bug class 041).
#[derive(Debug)]
pub(super) struct Fetcher {
    /// Answers each peer owes us.
    owed: Mutex<BTreeMap<NodeId, usize>>,
    reads: Semaphore,
}

impl Fetcher {
    /// Nobody was asked for anything.
    pub(super) fn new() -> Fetcher {
        Fetcher { owed: Mutex::default(), reads: Semaphore::new(READS_AT_ONCE) }
    }

    /// A peer is about to be asked for a block: to be called before the request goes out.
    pub(super) fn asked(&self, peer: NodeId) {
        *self.lock().entry(peer).or_default() += 1;
    }

    /// A peer answered that it has no block, or is about to be heard with one. False when it owed no answer.
    pub(super) fn answered(&self, peer: NodeId) -> bool {
        let mut owed = self.lock();
        let Some(count) = owed.get_mut(&peer) else { return false };
        *count -= 1;
        if *count == 0 {
            owed.remove(&peer);
        }
        true
    }

    /// True when a block can come from this peer.
    pub(super) fn owes(&self, peer: &NodeId) -> bool {
        self.lock().contains_key(peer)
    }

    /// A peer is gone, and what it owed.
    pub(super) fn gone(&self, peer: NodeId) {
        self.lock().remove(&peer);
    }

    /// Reads a BlockResponse of `message_bytes` bytes on a blocking thread; see [`read_block`].
    ///
    /// # Errors
    /// A sentence about the peer that sent it.
    pub(super) async fn read(
        &self,
        peer: NodeId,
        message_bytes: usize,
        encoded: Bytes,
        extended_commit: Option<ExtendedCommit>,
    ) -> Result<FetchedBlock, String> {
        if !self.answered(peer) {
            return Err("it sent a block, and was not asked for one".to_owned());
        }
        let _permit = self.reads.acquire().await.expect("nobody closes this semaphore");
        spawn_blocking(move || read_block(message_bytes, encoded, extended_commit))
            .await
            .expect("reading a block does not panic")
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, usize>> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A block a peer sent, read and cut into parts.
#[derive(Debug)]
pub(super) struct FetchedBlock {
    /// The block; its parts share the received bytes.
    pub(super) block: Arc<CandidateBlock>,
    /// Its commit with extensions, if one came along.
    pub(super) extended_commit: Option<Box<ExtendedCommit>>,
}

/// Reads a BlockResponse of `message_bytes` bytes. Heavy for large blocks: every byte is hashed.
///
/// # Errors
/// A sentence about the peer that sent it.
pub(super) fn read_block(
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
    if message_bytes > wrapped + MESSAGE_OVERHEAD_MAX {
        return Err(format!("it sent a block of {wrapped} bytes in a message of {message_bytes} bytes"));
    }
    let wrong = |error: DecodeError| format!("it sent a block that cannot be read: {error}");
    let BlockEntries { txs, signatures } = BlockEntries::count(&encoded).map_err(wrong)?;
    if signatures > Commit::SIGNATURES_MAX || txs.saturating_mul(size_of::<Tx>()) > LIST_BYTES_MAX {
        return Err(format!("it sent a block of {txs} transactions and {signatures} signatures: too many to read"));
    }
    let block = CandidateBlock::from_encoded(&encoded).map_err(wrong)?;
    let height = block.block().header.height;
    block.block().validate_basic().map_err(|error| format!("block {height} is wrong in itself: {error}"))?;
    Ok(FetchedBlock { block: Arc::new(block), extended_commit: extended_commit.map(Box::new) })
}

/// Checks commits on as many blocking threads as there are cores; outcomes in order.
///
/// # Panics
/// When a check panics, which would be our own mistake.
pub(super) async fn verify(chain_id: ChainId, checks: Vec<CommitCheck>) -> Vec<Result<(), CheckFault>> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = checks.len().div_ceil(threads).max(1);
    let mut running = Vec::with_capacity(threads);
    let mut rest = checks.into_iter();
    loop {
        let some: Vec<CommitCheck> = rest.by_ref().take(share).collect();
        if some.is_empty() {
            break;
        }
        let chain_id = chain_id.clone();
        running.push(spawn_blocking(move || some.iter().map(|one| check(&chain_id, one)).collect::<Vec<_>>()));
    }
    let mut outcomes = Vec::new();
    for task in running {
        outcomes.extend(task.await.expect("checking a commit does not panic"));
    }
    outcomes
}

/// Whether this commit proves this block, and if not, whose word was false.
///
/// An honest block always carries a commit that is good for the block it names. So when it names another block, it is
/// checked for that one: if it is good, the block before is the lie, otherwise the commit is.
pub(super) fn check(chain_id: &ChainId, check: &CommitCheck) -> Result<(), CheckFault> {
    let CommitCheck { block, commit, extended_commit, validators, quorum } = check;
    let (id, height) = (block.id(), block.block().header.height);
    if let Some(extended) = extended_commit {
        validators
            .verify_extended_commit(chain_id, &id, height, extended, Extensions::Required, *quorum)
            .map_err(|error| CheckFault::Extensions(error.to_string()))?;
        // Alone, it is its own commit: checked just now.
        if extended.to_commit() == **commit {
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
