//! The pool: evidence that waits for a block, what blocks proved already, and contradictions that wait for the time
//! of their block (CometBFT's evidence/pool.go).

use super::verify::{Facts, InvalidEvidence, is_expired, verify};
use crate::crypto::Hash;
use crate::types::{ChainState, DuplicateVoteEvidence, Evidence, Height, Time, ValidatorSet, Vote};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most bytes of evidence that wait for a block: 64 blocks full of it. Every piece was verified, but one offender can
/// make many.
pub const PENDING_BYTES_MAX: u64 = 64 << 20;
/// Most contradicting pairs of votes that wait for their block. One pair an offender is enough to punish.
pub const CONFLICTS_MAX: usize = 1024;
/// Heights whose time and set are kept for contradictions that come late: precommits of the height before are taken
/// while the next one is decided, so two would do.
const RECENT_HEIGHTS: usize = 8;

/// By height, then hash: the order in which evidence is proposed, the same on every node.
type Key = (Height, Hash);

/// The evidence of one node.
#[derive(Debug, Clone)]
pub struct Pool {
    pending: BTreeMap<Key, Evidence>,
    /// Of `pending`, each as it stands in a block.
    pending_bytes: u64,
    /// What blocks proved. Never forgotten: parameters can be changed so that old evidence counts again, and every
    /// node must still know that it was punished (bug class 054). It grows with proven offences only.
    committed: BTreeSet<Key>,
    /// Pairs from consensus, whose block has no time yet.
    conflicts: Vec<(Vote, Vote)>,
    /// Time and set of the last heights.
    recent: BTreeMap<Height, (Time, Arc<ValidatorSet>)>,
}

impl Pool {
    /// An empty pool after `state`. On a restart, tell it what stored blocks proved with [`Pool::mark_committed`].
    pub fn new(state: &ChainState) -> Pool {
        let mut pool = Pool {
            pending: BTreeMap::new(),
            pending_bytes: 0,
            committed: BTreeSet::new(),
            conflicts: Vec::new(),
            recent: BTreeMap::new(),
        };
        pool.remember(state);
        pool
    }

    /// Takes evidence from a peer or a client, after verifying it. Gives its hash, also when it was known.
    pub fn add(&mut self, evidence: Evidence, facts: &Facts, state: &ChainState) -> Result<Hash, InvalidEvidence> {
        let key = key(&evidence);
        // Committed evidence is no offence of the sender: it may only be behind.
        if self.pending.contains_key(&key) || self.committed.contains(&key) {
            return Ok(key.1);
        }
        verify(&evidence, facts, state)?;
        self.insert(key, evidence)?;
        Ok(key.1)
    }

    /// Takes two votes that one honest validator cannot both have signed; consensus verified both signatures. They
    /// become evidence when their height is decided, because only then its time is known, the same for everybody
    /// (bug classes 049 and 053).
    pub fn report_conflict(&mut self, first: Vote, second: Vote) {
        let known = self.conflicts.iter().any(|pair| pair.0 == first && pair.1 == second);
        if !known && self.conflicts.len() < CONFLICTS_MAX {
            self.conflicts.push((first, second));
        }
    }

    /// Evidence for a block we propose, oldest first, as much as fits `max_bytes`, and its bytes in the block.
    pub fn pending(&self, max_bytes: u64) -> (Vec<Evidence>, u64) {
        let (mut list, mut bytes) = (Vec::new(), 0);
        for evidence in self.pending.values() {
            let more = evidence.encoded_len();
            if bytes + more > max_bytes {
                break;
            }
            bytes += more;
            list.push(evidence.clone());
        }
        (list, bytes)
    }

    /// All evidence that waits, oldest first, for gossip.
    pub fn iter(&self) -> impl Iterator<Item = &Evidence> {
        self.pending.values()
    }

    /// Whether the evidence of a proposed block may be there: true, punishable, not punished before, not twice, and not
    /// more than a block may carry. What is new is kept. `facts` says what our chain knows about a piece, none when it
    /// has no such block; it is asked once about each piece, in order, so that it may hand out prepared answers.
    pub fn check_block_evidence(
        &mut self,
        list: &[Evidence],
        state: &ChainState,
        mut facts: impl FnMut(&Evidence) -> Option<Facts>,
    ) -> Result<(), InvalidEvidence> {
        // First, because each piece costs signatures to verify.
        let (max, got) = (state.consensus_params.evidence.max_bytes, list.iter().map(Evidence::encoded_len).sum());
        if got > max {
            return Err(InvalidEvidence::TooMuch { max, got });
        }
        let mut seen = BTreeSet::new();
        for evidence in list {
            let (key, facts) = (key(evidence), facts(evidence));
            // A light-client attack is verified again even if it waits here: its hash does not cover the signatures.
            let known = matches!(evidence, Evidence::DuplicateVote(_)) && self.pending.contains_key(&key);
            if !known {
                if self.committed.contains(&key) {
                    return Err(InvalidEvidence::Committed);
                }
                let facts = facts.ok_or(InvalidEvidence::NoHeader(key.0))?;
                verify(evidence, &facts, state)?;
                // A full pool does not make the block wrong.
                let _kept = self.insert(key, evidence.clone());
            }
            if !seen.insert(key) {
                return Err(InvalidEvidence::Duplicate);
            }
        }
        Ok(())
    }

    /// Takes a decided block into account: `state` is the state after it, `proven` its evidence.
    pub fn update(&mut self, state: &ChainState, proven: &[Evidence]) {
        self.remember(state);
        self.turn_conflicts_into_evidence(state.last_block_height);
        for evidence in proven {
            self.mark_committed(evidence);
        }
        let expired: Vec<Key> = self
            .pending
            .iter()
            .filter(|(_, evidence)| is_expired(evidence.height(), evidence.time(), state))
            .map(|(key, _)| *key)
            .collect();
        expired.iter().for_each(|key| self.remove(key));
    }

    /// Notes that a block of this chain proved `evidence`.
    pub fn mark_committed(&mut self, evidence: &Evidence) {
        let key = key(evidence);
        self.remove(&key);
        self.committed.insert(key);
    }

    fn remember(&mut self, state: &ChainState) {
        if let Some(set) = &state.last_validators {
            self.recent.insert(state.last_block_height, (state.last_block_time, Arc::clone(set)));
            while self.recent.len() > RECENT_HEIGHTS {
                self.recent.pop_first();
            }
        }
    }

    fn turn_conflicts_into_evidence(&mut self, decided: Height) {
        let (ready, waiting) =
            std::mem::take(&mut self.conflicts).into_iter().partition(|pair| pair.0.height <= decided);
        self.conflicts = waiting;
        let ready: Vec<(Vote, Vote)> = ready;
        for (first, second) in ready {
            // Older than the recent heights: too late to know its time without the store.
            let Some((time, set)) = self.recent.get(&first.height) else { continue };
            let Some(evidence) = DuplicateVoteEvidence::new(first, second, *time, set) else { continue };
            let evidence = Evidence::DuplicateVote(Box::new(evidence));
            let key = key(&evidence);
            if !self.committed.contains(&key) {
                let _kept = self.insert(key, evidence); // dropped when the pool is full, as any evidence is
            }
        }
    }

    fn insert(&mut self, key: Key, evidence: Evidence) -> Result<(), InvalidEvidence> {
        if self.pending.contains_key(&key) {
            return Ok(());
        }
        let more = evidence.encoded_len();
        if self.pending_bytes + more > PENDING_BYTES_MAX {
            return Err(InvalidEvidence::PoolFull { bytes: self.pending_bytes });
        }
        self.pending_bytes += more;
        self.pending.insert(key, evidence);
        Ok(())
    }

    fn remove(&mut self, key: &Key) {
        if let Some(evidence) = self.pending.remove(key) {
            self.pending_bytes -= evidence.encoded_len();
        }
    }
}

fn key(evidence: &Evidence) -> Key {
    (evidence.height(), evidence.hash())
}

#[cfg(test)]
mod tests;
