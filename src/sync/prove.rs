//! From fetched to applied: which commits to check, what the outcome says about whom, what consensus is told.
//!
//! A block is the chain's when more than two thirds of the validators of its height signed it. Who they are is known for
//! the next two heights from our state, and further on from each header before: a header that is signed names the set
//! that decides the next height. So several blocks are checked ahead of execution as long as the set does not become
//! one we have not seen.

use super::limits::CHECKS_PER_ORDER_MAX;
use super::window::{Held, Proof};
use super::{CheckFault, CommitCheck, Elapsed, Mode, Sync, SyncEffect};
use crate::crypto::Hash;
use crate::types::{BlockId, CandidateBlock, ChainState, Commit, ExtendedCommit, Height, NodeId, ValidatorSet};
use std::sync::Arc;

/// An order for checks that is on its way.
#[derive(Debug)]
pub(super) struct Order {
    ticket: u64,
    checks: Vec<Suspicion>,
}

/// Whom a bad outcome of one check would blame.
#[derive(Debug)]
struct Suspicion {
    height: Height,
    id: BlockId,
    commit: Arc<Commit>,
    block_from: NodeId,
    /// Who sent the commit: with the next block, or with the block itself.
    commit_from: NodeId,
}

impl Sync {
    /// Orders checks of what is here and not checked, one order at a time: while one is on its way the next grows.
    pub(super) fn order_checks(&mut self, now: Elapsed, out: &mut Vec<SyncEffect>) {
        if self.checking.is_some() || !self.wants_blocks() {
            return;
        }
        let Some(state) = self.state.clone() else { return };
        let limit = if matches!(self.mode, Mode::Fetching { .. }) { CHECKS_PER_ORDER_MAX } else { 1 };
        let (mut checks, mut suspicions) = (Vec::new(), Vec::new());
        let mut height = self.window.next();
        let mut validators = Arc::clone(&state.validators);
        while checks.len() < limit
            && let Some(held) = self.window.held(height)
        {
            if !held.is_proven() {
                let Some((commit, commit_from)) = self.commit_for(now, height, held) else { break };
                suspicions.push(Suspicion {
                    height,
                    id: held.block.id(),
                    commit: Arc::clone(&commit),
                    block_from: held.from,
                    commit_from,
                });
                checks.push(CommitCheck {
                    block: Arc::clone(&held.block),
                    commit,
                    extended_commit: held.extended.clone(),
                    validators: Arc::clone(&validators),
                    quorum: state.algorithm.quorum(),
                });
            }
            let after = held.block.block().header.next_validators_hash;
            match self.set_named(&state, after) {
                Some(set) => validators = set,
                None => break,
            }
            height = height.next();
        }
        if checks.is_empty() {
            return self.drop_headless(now, out);
        }
        self.tickets += 1;
        for suspicion in &suspicions {
            if let Some(held) = self.window.held_mut(suspicion.height) {
                held.proof = Proof::Sought;
            }
        }
        self.checking = Some(Order { ticket: self.tickets, checks: suspicions });
        out.push(SyncEffect::Verify { ticket: self.tickets, checks });
    }

    /// The commit for a block: in the next block, or with extensions beside it when nobody has a next one.
    fn commit_for(&self, now: Elapsed, height: Height, held: &Held) -> Option<(Arc<Commit>, NodeId)> {
        match self.window.held(height.next()) {
            Some(next) => next.block.block().last_commit.clone().map(|commit| (Arc::new(commit), next.from)),
            None if self.believable(now) <= height => {
                held.extended.as_ref().map(|commit| (Arc::new(commit.to_commit()), held.from))
            }
            None => None,
        }
    }

    /// A set we know, by the hash in a header.
    fn set_named(&mut self, state: &ChainState, hash: Hash) -> Option<Arc<ValidatorSet>> {
        let (current, next) =
            *self.set_hashes.get_or_insert_with(|| (state.validators.hash(), state.next_validators.hash()));
        if hash == next {
            Some(Arc::clone(&state.next_validators))
        } else if hash == current {
            Some(Arc::clone(&state.validators))
        } else {
            None
        }
    }

    /// Only the first block of a chain carries no commit.
    fn drop_headless(&mut self, now: Elapsed, out: &mut Vec<SyncEffect>) {
        let second = self.window.next().next();
        if let Some(held) = self.window.held(second)
            && held.block.block().last_commit.is_none()
        {
            self.drop_peer(now, held.from, format!("its block {second} has no commit of the block before"), out);
        }
    }

    /// Takes outcomes in order of height up to the first bad one: what was checked behind it was checked against a set
    /// that only the bad block named.
    pub(super) fn on_verified(
        &mut self,
        now: Elapsed,
        ticket: u64,
        outcomes: Vec<Result<(), CheckFault>>,
        out: &mut Vec<SyncEffect>,
    ) {
        let Some(order) = self.checking.take_if(|order| order.ticket == ticket) else { return };
        assert_eq!(order.checks.len(), outcomes.len(), "each check of an order has an outcome");
        for (check, outcome) in order.checks.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => self.window.prove(check.height, check.id, check.commit),
                Err(fault) => {
                    self.blame(now, &check, fault, out);
                    break;
                }
            }
        }
        self.window.unseek();
    }

    /// Exactly one of the two who sent the pair lied, and the check says which (CometBFT drops both). What it sent goes
    /// with it.
    fn blame(&mut self, now: Elapsed, check: &Suspicion, fault: CheckFault, out: &mut Vec<SyncEffect>) {
        let height = check.height;
        let (liar, why) = match fault {
            CheckFault::Block(why) => (check.block_from, format!("its block {height} is not the chain's: {why}")),
            CheckFault::Extensions(why) => {
                (check.block_from, format!("the extended commit with its block {height} is wrong: {why}"))
            }
            CheckFault::Commit(why) => (
                if mutant!("N4") { check.block_from } else { check.commit_from },
                format!("the commit it sent for block {height} is wrong: {why}"),
            ),
        };
        self.drop_peer(now, liar, why, out);
    }

    // ------------------------------------------------------------------------------------------------------- apply

    /// The next block, if it is proven and may be applied.
    pub(super) fn proven_next(&mut self, now: Elapsed, out: &mut Vec<SyncEffect>) -> Option<Ready> {
        let state = self.state.as_ref()?;
        let height = self.window.next();
        let held = self.window.held(height)?;
        let Proof::Found(commit) = &held.proof else { return None };
        // Reference §7.4: an extended commit exactly where extensions are enabled (bug class 039).
        let enabled = state.consensus_params.abci.extensions_enabled(height);
        if held.extended.is_some() != enabled && !mutant!("N6") {
            let what = if enabled { "without the extended commit it needs" } else { "with an extended commit" };
            let (from, why) = (held.from, format!("it sent block {height} {what}"));
            self.window.discard(height);
            self.drop_peer(now, from, why, out);
            return None;
        }
        let commit = match &held.extended {
            Some(extended) => (**extended).clone(),
            None => ExtendedCommit::from((**commit).clone()),
        };
        Some(Ready { block: Arc::clone(&held.block), commit })
    }

    /// Strictly in order, one at a time.
    pub(super) fn apply_proven(&mut self, now: Elapsed, out: &mut Vec<SyncEffect>) {
        if self.applying.is_some() || !matches!(self.mode, Mode::Fetching { .. }) {
            return;
        }
        if let Some(Ready { block, commit }) = self.proven_next(now, out) {
            self.applying = Some(block.block().header.height);
            out.push(SyncEffect::Apply { block, commit });
        }
    }

    /// Whether the next block can still be proven with what is here, without a block after it.
    pub(super) fn proof_is_coming(&self) -> bool {
        let next = self.window.next();
        self.window.held(next).is_some_and(|held| held.extended.is_some() || !matches!(held.proof, Proof::None))
    }
}

/// A block to apply.
pub(super) struct Ready {
    block: Arc<CandidateBlock>,
    commit: ExtendedCommit,
}
