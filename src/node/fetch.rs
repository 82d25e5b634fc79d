//! Work of block sync that runs beside the replica's loop: reading blocks peers sent, and checking signatures.

use crate::executor::{FetchedBlock, check_commit, read_block};
use crate::sync::{CheckFault, CommitCheck};
use crate::types::{ChainId, ExtendedCommit};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Blocks read at once. A block being read takes up to 1 GiB (`LIST_BYTES_MAX`) and its message; however many peers send
/// blocks, no more of them are in memory unread.
const READS_AT_ONCE: usize = 2;

/// Reads blocks on blocking threads, a few at once.
#[derive(Debug)]
pub(super) struct BlockReader(Arc<Semaphore>);

impl BlockReader {
    pub(super) fn new() -> BlockReader {
        BlockReader(Arc::new(Semaphore::new(READS_AT_ONCE)))
    }

    /// Reads a BlockResponse of `message_bytes` bytes; see [`read_block`].
    ///
    /// # Errors
    /// A sentence about the peer that sent it.
    pub(super) async fn read(
        &self,
        message_bytes: usize,
        encoded: Bytes,
        extended_commit: Option<ExtendedCommit>,
    ) -> Result<FetchedBlock, String> {
        let permit = Arc::clone(&self.0).acquire_owned().await.expect("nobody closes this semaphore");
        crash_point!("sync.read.before");
        let work = move || {
            let read = read_block(message_bytes, encoded, extended_commit);
            // Held by the work, not by the peer's task: one that hangs up and calls again is not let in earlier.
            drop(permit);
            read
        };
        let read = spawn_blocking(work).await.expect("reading a block does not panic");
        crash_point!("sync.read.after");
        read
    }
}

/// Checks commits on as many blocking threads as there are cores; outcomes in order.
///
/// # Panics
/// When a check panics, which would be our own mistake.
pub(super) async fn verify(chain_id: ChainId, checks: Vec<CommitCheck>) -> Vec<Result<(), CheckFault>> {
    crash_point!("sync.verify.before");
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
        running.push(spawn_blocking(move || some.iter().map(|one| check_commit(&chain_id, one)).collect::<Vec<_>>()));
    }
    let mut outcomes = Vec::new();
    for task in running {
        outcomes.extend(task.await.expect("checking a commit does not panic"));
    }
    crash_point!("sync.verify.after");
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::tests::{Signers, chain_id};
    use crate::types::{Block, CandidateBlock, Height, Quorum, Round};

    fn block(signers: &Signers) -> CandidateBlock {
        let header = signers.header(4);
        CandidateBlock::new(Block { header, txs: Vec::new(), evidence: Vec::new(), last_commit: None })
    }

    #[tokio::test]
    async fn outcomes_come_in_the_order_of_the_checks() {
        let signers = Signers::new(3, &[10, 10, 10, 10]);
        let block = Arc::new(block(&signers));
        let good = signers.commit(Height::new(4), block.id(), 5);
        let mut bad = good.clone();
        bad.round = Round::new(1);
        let check = |number: usize| CommitCheck {
            block: Arc::clone(&block),
            commit: Arc::new(if number % 7 == 3 { bad.clone() } else { good.clone() }),
            extended_commit: None,
            validators: Arc::new(signers.set.clone()),
            quorum: Quorum::MoreThanTwoThirds,
        };
        let outcomes = verify(chain_id(), (0..33).map(check).collect()).await;
        let failed: Vec<usize> = (0..outcomes.len()).filter(|i| outcomes[*i].is_err()).collect();
        assert_eq!((outcomes.len(), failed), (33, vec![3, 10, 17, 24, 31]));
        assert!(verify(chain_id(), Vec::new()).await.is_empty());
    }
}
