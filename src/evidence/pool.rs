//! The pool: evidence that waits for a block, what blocks proved already, and contradictions that wait for the time
//! of their block (CometBFT's evidence/pool.go).
//!
//! What waits is stored, so that it survives a restart: whoever steps the pool stores [`Pool::take_changes`]. What was
//! proven is stored with the block that proves it.

use super::verify::{Facts, InvalidEvidence, is_expired, trusted_height, verify};
use crate::crypto::Hash;
use crate::types::{
    ChainState, DuplicateVoteEvidence, Evidence, EvidenceChange, EvidenceKey, Height, StoredEvidence, Time,
    ValidatorSet, Vote,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most bytes of evidence that wait for a block: 16 blocks full of it. Every piece was verified, but one offender can
/// make many.
pub const PENDING_BYTES_MAX: u64 = 16 << 20;
/// Most pieces that wait for a block: two blocks full of double votes. It bounds what is remembered for each peer.
pub const PENDING_MAX: usize = 4096;
/// Most contradicting pairs of votes that wait for their block. One pair an offender is enough to punish.
pub const CONFLICTS_MAX: usize = 1024;
/// Heights whose time and set are kept for contradictions that come late: precommits of the height before are taken
/// while the next one is decided, so two would do.
const RECENT_HEIGHTS: usize = 8;

/// The evidence of one node.
#[derive(Debug, Clone)]
pub struct Pool {
    pending: BTreeMap<EvidenceKey, Evidence>,
    /// Of `pending`, each as it stands in a block.
    pending_bytes: u64,
    /// What blocks proved. Never forgotten: parameters can be changed so that old evidence counts again, and every
    /// node must still know that it was punished (bug class 054). It grows with proven offences only.
    committed: BTreeSet<EvidenceKey>,
    /// Pairs from consensus, whose block has no time yet.
    conflicts: Vec<(Vote, Vote)>,
    /// Time and set of the last heights.
    recent: BTreeMap<Height, (Time, Arc<ValidatorSet>)>,
    /// Of `pending`, not stored yet, in order.
    changes: Vec<EvidenceChange>,
}

/// What becomes of evidence from a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// It is true and waits for a block now.
    New(EvidenceKey),
    /// It waits already, or a block proved it. The sender may only be behind.
    Known(EvidenceKey),
    /// It cannot be taken, and an honest peer may have sent it: we lack the block, are at another height, or have no
    /// room.
    Excused(InvalidEvidence),
    /// It is false wherever one stands: the sender is dropped.
    PeerFault(InvalidEvidence),
}

impl Pool {
    /// An empty pool after `state`. On a restart, give it what was stored with [`Pool::restore`].
    pub fn new(state: &ChainState) -> Pool {
        let mut pool = Pool {
            pending: BTreeMap::new(),
            pending_bytes: 0,
            committed: BTreeSet::new(),
            conflicts: Vec::new(),
            recent: BTreeMap::new(),
            changes: Vec::new(),
        };
        pool.remember(state);
        pool
    }

    /// Takes up what was stored before a restart. What expired meanwhile, or was proven by a block, leaves; also when a
    /// peer told it in the meantime.
    pub fn restore(&mut self, stored: StoredEvidence, state: &ChainState) {
        self.committed.extend(stored.committed.into_iter().map(|(key, _)| key));
        let proven: Vec<EvidenceKey> =
            self.pending.keys().filter(|key| self.committed.contains(key)).copied().collect();
        proven.iter().for_each(|key| self.remove(key));
        for evidence in stored.pending {
            let key = evidence.key();
            let wanted = (!self.committed.contains(&key) || mutant!("E90"))
                && (!is_expired(key.height, evidence.time(), state) || mutant!("E91"));
            if !wanted || self.insert(key, evidence).is_err() {
                self.changes.push(EvidenceChange::Gone(key));
            }
        }
    }

    /// Takes evidence from a client, after verifying it. Gives its hash, also when it was known.
    pub fn add(&mut self, evidence: Evidence, facts: &Facts, state: &ChainState) -> Result<Hash, InvalidEvidence> {
        let key = evidence.key();
        if !self.knows(&key) {
            verify(&evidence, facts, state)?;
            self.insert(key, evidence)?;
        }
        Ok(key.hash)
    }

    /// Takes evidence from a peer, after verifying it. `facts` is what our chain says about its height, none when it
    /// has no such block; known evidence needs none.
    pub fn receive(&mut self, evidence: Evidence, facts: Option<&Facts>, state: &ChainState) -> Receipt {
        let key = evidence.key();
        if self.knows(&key) {
            return Receipt::Known(key);
        }
        let held_against = match trusted_height(&evidence) {
            Some(height) if height > state.last_block_height || mutant!("E93") => HeldAgainst::OurTip,
            _ => HeldAgainst::ItsHeight,
        };
        let checked = match facts {
            Some(facts) => verify(&evidence, facts, state),
            None => evidence
                .validate_basic()
                .map_err(InvalidEvidence::Basic)
                .and(Err(InvalidEvidence::NoHeader(key.height))),
        };
        match checked.and_then(|()| self.insert(key, evidence)) {
            Ok(()) => Receipt::New(key),
            Err(error) if is_excused(&error, held_against) => Receipt::Excused(error),
            Err(error) => Receipt::PeerFault(error),
        }
    }

    /// Whether this piece waits or was proven.
    pub fn knows(&self, key: &EvidenceKey) -> bool {
        self.pending.contains_key(key) || self.committed.contains(key)
    }

    /// Whether this piece waits.
    pub fn waits(&self, key: &EvidenceKey) -> bool {
        self.pending.contains_key(key)
    }

    /// What changed about what waits since the last call, in order, to be stored.
    pub fn take_changes(&mut self) -> Vec<EvidenceChange> {
        std::mem::take(&mut self.changes)
    }

    /// Takes two votes that one honest validator cannot both have signed; consensus verified both signatures. They
    /// become evidence when their height is decided, because only then its time is known, the same for everybody
    /// (bug classes 049 and 053).
    pub fn report_conflict(&mut self, first: Vote, second: Vote) {
        let known = self.conflicts.iter().any(|pair| pair.0 == first && pair.1 == second);
        if (!known || mutant!("E97")) && (self.conflicts.len() < CONFLICTS_MAX || mutant!("E22")) {
            self.conflicts.push((first, second));
        }
    }

    /// Evidence for a block we propose, oldest first, as much as fits `max_bytes`, and its bytes in the block.
    pub fn pending(&self, max_bytes: u64) -> (Vec<Evidence>, u64) {
        let (mut list, mut bytes) = (Vec::new(), 0);
        for evidence in self.pending.values() {
            let more = evidence.encoded_len();
            if bytes + more > max_bytes && !mutant!("E18") {
                break;
            }
            bytes += more;
            list.push(evidence.clone());
        }
        (list, bytes)
    }

    /// All evidence that waits, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Evidence> {
        self.pending.values()
    }

    /// All evidence that waits, oldest first, with its names.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&EvidenceKey, &Evidence)> {
        self.pending.iter()
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
            let (key, facts) = (evidence.key(), facts(evidence));
            // A light-client attack is verified again even if it waits here: its hash does not cover the signatures.
            let known = matches!(evidence, Evidence::DuplicateVote(_)) && self.pending.contains_key(&key);
            if !known {
                if self.committed.contains(&key) && !mutant!("E21") {
                    return Err(InvalidEvidence::Committed);
                }
                let facts = facts.ok_or(InvalidEvidence::NoHeader(key.height))?;
                verify(evidence, &facts, state)?;
                // A full pool does not make the block wrong.
                let _kept = self.insert(key, evidence.clone());
            }
            if !seen.insert(key) && !mutant!("E4") {
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
        let expired: Vec<EvidenceKey> = self
            .pending
            .iter()
            .filter(|(key, evidence)| is_expired(key.height, evidence.time(), state))
            .map(|(key, _)| *key)
            .collect();
        expired.iter().filter(|_| !mutant!("E24")).for_each(|key| self.remove(key));
    }

    /// Notes that a block of this chain proved `evidence`.
    pub fn mark_committed(&mut self, evidence: &Evidence) {
        let key = evidence.key();
        self.remove(&key);
        if !mutant!("E3") {
            self.committed.insert(key);
        }
    }

    fn remember(&mut self, state: &ChainState) {
        if let Some(set) = &state.last_validators {
            self.recent.insert(state.last_block_height, (state.last_block_time, Arc::clone(set)));
            while self.recent.len() > RECENT_HEIGHTS && !mutant!("E92") {
                self.recent.pop_first();
            }
        }
    }

    fn turn_conflicts_into_evidence(&mut self, decided: Height) {
        let (ready, waiting) = std::mem::take(&mut self.conflicts)
            .into_iter()
            .partition(|pair| pair.0.height <= decided && !mutant!("E5"));
        self.conflicts = waiting;
        let ready: Vec<(Vote, Vote)> = ready;
        for (first, second) in ready {
            // Older than the recent heights: too late to know its time without the store.
            let Some((time, set)) = self.recent.get(&first.height) else { continue };
            let Some(evidence) = DuplicateVoteEvidence::new(first, second, *time, set) else { continue };
            let evidence = Evidence::DuplicateVote(Box::new(evidence));
            let key = evidence.key();
            if !self.committed.contains(&key) {
                let _kept = self.insert(key, evidence); // dropped when the pool is full, as any evidence is
            }
        }
    }

    fn insert(&mut self, key: EvidenceKey, evidence: Evidence) -> Result<(), InvalidEvidence> {
        if self.pending.contains_key(&key) {
            return Ok(());
        }
        let (pieces, bytes, more) = (self.pending.len(), self.pending_bytes, evidence.encoded_len());
        if (pieces >= PENDING_MAX && !mutant!("E19")) || (bytes + more > PENDING_BYTES_MAX && !mutant!("E20")) {
            return Err(InvalidEvidence::PoolFull { pieces, bytes });
        }
        self.pending_bytes += more;
        self.changes.push(EvidenceChange::Waits(evidence.clone()));
        self.pending.insert(key, evidence);
        Ok(())
    }

    fn remove(&mut self, key: &EvidenceKey) {
        if let Some(evidence) = self.pending.remove(key) {
            self.pending_bytes -= if mutant!("E23") { 0 } else { evidence.encoded_len() };
            self.changes.push(EvidenceChange::Gone(*key));
        }
    }
}

/// Which of our headers a piece of evidence was held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HeldAgainst {
    /// That of its own height, as an honest sender does.
    ItsHeight,
    /// Our last, because the false block of a light-client attack is higher than our chain. The sender's may be higher.
    OurTip,
}

/// Whether an honest peer may send what is refused for this reason. CometBFT drops the sender in every case, also when
/// only the two chains are of different length.
fn is_excused(error: &InvalidEvidence, held_against: HeldAgainst) -> bool {
    use InvalidEvidence as Why;
    match error {
        Why::NoHeader(_) | Why::Expired { .. } | Why::PoolFull { .. } | Why::Committed | Why::LaterThanOurs { .. } => {
            true
        }
        Why::SameHeader(_) | Why::NobodyToBlame(_) | Why::WrongOffenders { .. } | Why::WrongOffender { .. } => {
            held_against == HeldAgainst::OurTip
        }
        Why::Basic(_)
        | Why::WrongTime { .. }
        | Why::NotAValidator { .. }
        | Why::DifferentSteps { .. }
        | Why::DifferentVoters { .. }
        | Why::WrongPower { .. }
        | Why::WrongTotalPower { .. }
        | Why::VoteSignature(_)
        | Why::Skipping(_)
        | Why::NotDerived
        | Why::ConflictingCommit(_)
        | Why::TooMuch { .. }
        | Why::Duplicate => false,
    }
}

#[cfg(test)]
mod tests;
