//! The driver's barrier, seen from the signer: what a vote depends on is in the journal's file when it is signed.

use super::*;
use crate::ports::{SignError, SignMemory, SignerFailed};
use crate::types::{Proposal, UnsignedProposal, UnsignedVote, Vote};
use std::path::PathBuf;
use std::sync::Mutex;

/// Signs through another signer, and notes votes for blocks the journal's file does not name yet. The journal keeps
/// records in memory until it is synced, so the file shows what was synced.
struct Witness {
    inner: Box<dyn Signer>,
    journal: PathBuf,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    votes: u64,
    hasty: Vec<UnsignedVote>,
}

impl Signer for Witness {
    fn public_key(&self) -> PublicKey {
        self.inner.public_key()
    }

    fn memory(&self) -> Option<SignMemory> {
        self.inner.memory()
    }

    fn sign_vote(&mut self, chain_id: &ChainId, vote: UnsignedVote) -> Result<Vote, SignError> {
        if let Some(block_id) = vote.block_id {
            let journal = std::fs::read(&self.journal).unwrap();
            let name = block_id.hash.as_bytes();
            let named = journal.windows(name.len()).any(|window| window == name);
            let mut seen = self.seen.lock().unwrap();
            seen.votes += 1;
            if !named {
                seen.hasty.push(vote.clone());
            }
        }
        self.inner.sign_vote(chain_id, vote)
    }

    fn sign_statement(
        &mut self,
        chain_id: &ChainId,
        statement: crate::types::UnsignedStatement,
    ) -> Result<crate::types::Statement, SignerFailed> {
        self.inner.sign_statement(chain_id, statement)
    }

    fn sign_proposal(&mut self, chain_id: &ChainId, proposal: UnsignedProposal) -> Result<Proposal, SignError> {
        self.inner.sign_proposal(chain_id, proposal)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_vote_is_signed_before_the_proposal_it_is_for_is_in_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut options = options(dir.path(), memory_store(), LocalApp::new(KvStore::default()));
    let inner = options.signer.take().unwrap();
    let journal = dir.path().join("wal").join("wal");
    options.signer = Some(Box::new(Witness { inner, journal, seen: Arc::clone(&seen) }));
    let stop = CancellationToken::new();
    let node = start(options, stop.clone()).unwrap();
    for n in 0..5 {
        commit(node.handle(), [format!("key{n}={n}")]).await;
    }
    stop.cancel();
    node.ended().await.unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.votes >= 10, "two votes a block, five blocks at least: {}", seen.votes);
    assert!(seen.hasty.is_empty(), "signed before the journal was synced: {:?}", seen.hasty);
}
