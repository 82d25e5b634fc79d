//! The state of one height, and of one term in it. A new height is a new value.

use crate::consensus::blocks::Blocks;
use crate::consensus::tally::VoteSet;
use crate::consensus::{Now, Start, Tick};
use crate::types::{
    BlockId, CandidateBlock, ExtendedCommit, Height, PartSet, Proposal, Quorum, Round, Step, Time, UnsignedProposal,
    UnsignedVote, Vote, VoteKind,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How far our own proposal of this term is.
#[derive(Debug, Clone)]
pub(super) enum Proposing {
    /// Not begun, or done.
    No,
    /// A block is being made.
    Building,
    /// The proposal is being signed.
    Signing { unsigned: UnsignedProposal, block: Arc<CandidateBlock> },
}

/// How far our own acknowledgement in this term is.
#[derive(Debug, Clone)]
pub(super) enum OwnAck {
    /// None was asked for.
    No,
    /// The application is adding its extension.
    Extending(BlockId),
    /// It is being signed.
    Requested(UnsignedVote),
    /// It is signed.
    Cast(Vote),
}

/// The decision of the height.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// Not decided.
    Open,
    /// Decided by this; the block is not complete here.
    Fetching(ExtendedCommit),
    /// Handed over.
    Decided,
}

/// The decision of the next height, when it came before this one was applied, with what came of its block. Parts are not
/// journaled: nothing is signed that rests on them.
#[derive(Debug, Clone)]
pub(super) struct Early {
    pub(super) commit: ExtendedCommit,
    /// None when the commit names more parts than blocks may have now.
    pub(super) parts: Option<PartSet>,
}

/// Everything known about the height being decided.
#[derive(Debug, Clone)]
pub(super) struct HeightState {
    pub(super) start: Start,
    /// When this height may begin, by the wall clock.
    pub(super) start_time: Time,
    /// When it was taken up.
    pub(super) began_at: Tick,
    pub(super) step: Step,
    /// The leader's proposal of this term.
    pub(super) proposal: Option<Proposal>,
    /// The newest entry in our log at this height: accepted, and durable before its acknowledgement is signed.
    pub(super) entry: Option<(Round, BlockId)>,
    pub(super) blocks: Blocks,
    /// Precommits of this term: only these count (§5.4.2).
    pub(super) acks: VoteSet,
    /// Who will not acknowledge this term's block: it said so, or its extension was rejected.
    pub(super) refusals: BTreeSet<u32>,
    pub(super) own_ack: OwnAck,
    pub(super) proposing: Proposing,
    /// When we began, in this term, to have a block of ours decided.
    pub(super) begun_at: Option<Tick>,
    pub(super) outcome: Outcome,
    /// Precommits of the height before, with late ones.
    pub(super) last_commit: Option<VoteSet>,
    /// Precommits whose extension the application is looking at, one for each member.
    pub(super) verifying: BTreeMap<u32, Vote>,
    pub(super) early: Option<Early>,
    pub(super) txs_available: bool,
    /// When what waits here is offered to the leader (again), and how often it was at this height.
    pub(super) offer_at: Option<Tick>,
    pub(super) offers: u32,
    /// Until when others may try before us: we led this height and made way.
    pub(super) aside_until: Option<Tick>,
}

impl HeightState {
    pub(super) fn new(now: Now, start: Start, term: Round) -> HeightState {
        let last_commit = match (&start.last_commit, &start.last_validators) {
            (Some(commit), Some(set)) => Some(VoteSet::of_commit(Quorum::MoreThanHalf, commit, Arc::clone(set))),
            _ => None,
        };
        HeightState {
            start_time: now.wall.plus(start.begin_at.since(now.tick)),
            began_at: now.tick,
            step: Step::NewHeight,
            proposal: None,
            entry: None,
            blocks: Blocks::new(&start.params),
            acks: acks_of(&start, term),
            refusals: BTreeSet::new(),
            own_ack: OwnAck::No,
            proposing: Proposing::No,
            begun_at: None,
            outcome: Outcome::Open,
            last_commit,
            verifying: BTreeMap::new(),
            early: None,
            txs_available: start.txs_available,
            offer_at: None,
            offers: 0,
            aside_until: None,
            start,
        }
    }

    /// Takes along what came too early or too late for the height before.
    pub(super) fn carry_over(&mut self, before: &mut HeightState) {
        let follows = self.start.height.previous() == Some(before.start.height);
        self.early = before.early.take().filter(|early| early.commit.height == self.start.height);
        if let (true, Some(last_commit)) = (follows && !mutant!("R55"), &mut self.last_commit) {
            before.acks.votes().iter().flatten().for_each(|vote| drop(last_commit.add(vote.clone())));
        }
    }

    /// A new term: what was said in the one before does not count in it (§5.4.2). The entry stays.
    pub(super) fn enter_term(&mut self, term: Round) {
        self.acks = acks_of(&self.start, term);
        self.proposal = None;
        if !mutant!("R53") {
            self.refusals.clear();
        }
        if !mutant!("R54") {
            self.own_ack = OwnAck::No;
        }
        self.proposing = Proposing::No;
        self.begun_at = None;
        self.verifying.clear();
        self.prune_blocks();
    }

    /// True when precommits for a block carry extensions.
    pub(super) fn extensions_enabled(&self) -> bool {
        self.start.params.abci.extensions_enabled(self.start.height)
    }

    /// The newest term in which this height's entry is here, complete; what a leader need not send again.
    pub(super) fn complete_in(&self) -> Option<Round> {
        let proposed = self.proposal.as_ref().filter(|proposal| self.blocks.block(&proposal.block_id).is_some());
        proposed.map(|proposal| proposal.round).max(self.entry.map(|(term, _)| term))
    }

    /// The last height known to be decided.
    pub(super) fn decided(&self) -> Height {
        match self.outcome {
            Outcome::Open => self.start.height.previous().unwrap_or(Height::ZERO),
            Outcome::Fetching(_) | Outcome::Decided => self.start.height,
        }
    }

    /// The commit of the height before, with the late precommits.
    pub(super) fn grown_last_commit(&self) -> Option<ExtendedCommit> {
        let grown = self.last_commit.as_ref().and_then(VoteSet::to_commit);
        grown.or_else(|| self.start.last_commit.clone())
    }

    /// Forgets blocks no rule can need any more.
    pub(super) fn prune_blocks(&mut self) {
        let mut needed: Vec<_> = self.proposal.iter().map(|proposal| proposal.block_id.parts).collect();
        needed.extend(self.entry.map(|(_, id)| id.parts));
        if let Outcome::Fetching(commit) = &self.outcome {
            needed.push(commit.block_id.parts);
        }
        if let Proposing::Signing { block, .. } = &self.proposing {
            needed.push(block.id().parts);
        }
        self.blocks.retain(&needed);
    }
}

fn acks_of(start: &Start, term: Round) -> VoteSet {
    let validators = Arc::clone(&start.validators);
    VoteSet::of_quorum(Quorum::MoreThanHalf, start.height, term, VoteKind::Precommit, validators)
}
