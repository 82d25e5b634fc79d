//! The state of one height. A new height is a new value.

use crate::consensus::blocks::Blocks;
use crate::consensus::tally::{Tally, VoteSet};
use crate::consensus::{Now, Start};
use crate::types::{
    Address, BlockId, CandidateBlock, Proposal, Round, Source, Step, Time, UnsignedProposal, UnsignedVote,
    ValidatorSet, Vote, VoteKind,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How far our own proposal of this round is.
#[derive(Debug, Clone)]
pub(super) enum Proposing {
    /// It is not our turn, or it is done.
    No,
    /// A block with more than two thirds of the prevotes of `valid_round` is here; the application has not answered
    /// whether it is valid. It must be proposed if it is (line 15).
    AwaitingCheck { valid_round: Round, block_id: BlockId },
    /// A block is being made.
    Building,
    /// The proposal is being signed.
    Signing { unsigned: UnsignedProposal, block: Arc<CandidateBlock> },
}

/// How far our own vote of one round and kind is.
#[derive(Debug, Clone)]
pub(super) enum OwnVote {
    /// A journal says that we prevoted on the proposal; what, depends on an answer asked for again.
    Undetermined,
    /// The application is adding its extension to our precommit for this block.
    Extending(BlockId),
    /// It is being signed.
    Requested(UnsignedVote),
    /// It counts.
    Cast,
}

/// The decision of the height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Not decided.
    Open,
    /// Decided in this round, the block is not complete here.
    Fetching { round: Round, block_id: BlockId },
    /// Handed over.
    Decided { round: Round, block_id: BlockId },
}

/// Everything known about the height being decided.
#[derive(Debug, Clone)]
pub(super) struct HeightState {
    pub(super) start: Start,
    /// When this height may begin, by the wall clock.
    pub(super) start_time: Time,
    pub(super) round: Round,
    pub(super) step: Step,
    /// The set with the rotation of this round.
    pub(super) rotation: Arc<ValidatorSet>,
    pub(super) tally: Tally,
    /// Precommits of the height before; late ones are added while `step` is NewHeight.
    pub(super) last_commit: Option<VoteSet>,
    /// The first proposal of this round and of the next one.
    pub(super) proposals: BTreeMap<Round, Proposal>,
    pub(super) blocks: Blocks,
    /// Line 38-39. Never lower than an earlier value.
    pub(super) locked: Option<(Round, BlockId)>,
    /// Line 42-43. Never lower than `locked`.
    pub(super) valid: Option<(Round, BlockId)>,
    pub(super) own: BTreeMap<(Round, VoteKind), OwnVote>,
    /// The round of which only the journal knows that we prevoted in it. The signer may know what.
    pub(super) prevoted_before: Option<Round>,
    /// The prevote we meant when we asked the signer for nil in its place.
    pub(super) fell_back: Option<(Round, BlockId)>,
    /// Signatures refused at this height.
    pub(super) refusals: u32,
    pub(super) proposing: Proposing,
    /// Line 34, "for the first time".
    pub(super) prevote_timer_set: bool,
    /// Line 47, "for the first time".
    pub(super) precommit_timer_set: bool,
    /// The timeout that was due while the application was checking the block it is about. It counts once the
    /// application has answered: a vote must not depend on which of two inputs came first after a crash.
    pub(super) held: Option<Step>,
    /// Precommits whose extension the application is looking at, by round and index. Bounded as the tally is.
    pub(super) verifying: BTreeMap<(Round, u32), (Vote, Source)>,
    pub(super) outcome: Outcome,
    pub(super) txs_available: bool,
}

impl HeightState {
    pub(super) fn new(now: Now, start: Start) -> HeightState {
        let last_commit = match (&start.last_commit, &start.last_validators) {
            (Some(commit), Some(validators)) => Some(VoteSet::from_commit(commit, Arc::clone(validators))),
            _ => None,
        };
        HeightState {
            start_time: now.wall.plus(start.begin_at.since(now.tick)),
            round: Round::ZERO,
            step: Step::NewHeight,
            rotation: Arc::clone(&start.validators),
            tally: Tally::new(start.height, Arc::clone(&start.validators)),
            last_commit,
            proposals: BTreeMap::new(),
            blocks: Blocks::new(&start.params),
            locked: None,
            valid: None,
            own: BTreeMap::new(),
            prevoted_before: None,
            fell_back: None,
            refusals: 0,
            proposing: Proposing::No,
            prevote_timer_set: false,
            precommit_timer_set: false,
            held: None,
            verifying: BTreeMap::new(),
            outcome: Outcome::Open,
            txs_available: start.txs_available,
            start,
        }
    }

    /// Our position in the set, if we have one.
    pub(super) fn own_seat(&self) -> Option<(u32, Address)> {
        let own = self.start.own?;
        let (index, _) = self.start.validators.by_address(&own)?;
        Some((index, own))
    }

    /// True when it is our turn to propose in this round.
    pub(super) fn is_proposer(&self) -> bool {
        self.start.own.is_some_and(|own| self.rotation.proposer().address == own)
    }

    /// True when precommits for a block carry extensions.
    pub(super) fn extensions_enabled(&self) -> bool {
        self.start.params.abci.extensions_enabled(self.start.height)
    }

    /// The proposal of the current round.
    pub(super) fn proposal(&self) -> Option<&Proposal> {
        self.proposals.get(&self.round)
    }

    /// Lines 16 and 28: an old block is proposed again only with the prevotes that justify it.
    pub(super) fn pol_is_here(&self, proposal: &Proposal) -> bool {
        let Some(pol_round) = proposal.pol_round else { return true };
        mutant!("T8") || self.tally.majority(pol_round, VoteKind::Prevote) == Some(Some(proposal.block_id))
    }

    /// Lines 23 and 29: what our lock lets us prevote.
    pub(super) fn lock_permits(&self, proposal: &Proposal) -> bool {
        let Some((locked_round, locked_id)) = self.locked else { return true };
        locked_id == proposal.block_id
            || mutant!("T6")
            || proposal.pol_round.is_some_and(|pol_round| locked_round <= pol_round || mutant!("T5"))
    }

    /// The block more than two thirds prevoted in this round.
    pub(super) fn polka(&self) -> Option<BlockId> {
        self.tally.majority(self.round, VoteKind::Prevote)?
    }

    /// Forgets blocks no rule can need any more.
    pub(super) fn prune_blocks(&mut self) {
        let mut needed: Vec<_> = self.proposals.values().map(|proposal| proposal.block_id.parts).collect();
        needed.extend(self.locked.iter().chain(&self.valid).map(|(_, id)| id.parts));
        needed.extend(self.tally.polkas().next().map(|(_, id)| id.parts));
        if let Outcome::Fetching { block_id, .. } | Outcome::Decided { block_id, .. } = self.outcome {
            needed.push(block_id.parts);
        }
        if let Proposing::Signing { block, .. } = &self.proposing {
            needed.push(block.id().parts);
        }
        self.blocks.retain(&needed);
    }
}
