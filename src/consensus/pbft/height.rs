//! The state of one height. A new height is a new value.

use crate::consensus::blocks::Blocks;
use crate::consensus::tally::{Tally, VoteSet};
use crate::consensus::{Now, Start, Tick};
use crate::types::{
    Address, BlockId, CandidateBlock, ExtendedCommit, PreparedCertificate, Proposal, Round, Source, Step, Time,
    UnsignedProposal, UnsignedVote, Vote, VoteKind,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How far our own PRE-PREPARE of this view is.
#[derive(Debug, Clone)]
pub(super) enum Proposing {
    /// It is not our turn, or it is done.
    No,
    /// A block is being made.
    Building,
    /// The PRE-PREPARE is being signed.
    Signing { unsigned: UnsignedProposal, block: Arc<CandidateBlock> },
}

/// How far our own vote of one view and kind is.
#[derive(Debug, Clone)]
pub(super) enum OwnVote {
    /// The application is adding its extension to our COMMIT for this block.
    Extending(BlockId),
    /// It is being signed.
    Requested(UnsignedVote),
    /// It counts.
    Cast,
}

/// The decision of the height.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    /// Not decided.
    Open,
    /// Decided; the block is not complete here.
    Fetching { commit: ExtendedCommit },
    /// Handed over.
    Decided { block: Arc<CandidateBlock>, commit: ExtendedCommit },
}

/// Everything known about the height being decided.
#[derive(Debug, Clone)]
pub(super) struct HeightState {
    pub(super) start: Start,
    /// When this height may begin, by the wall clock.
    pub(super) start_time: Time,
    /// When it began.
    pub(super) begun: Option<Tick>,
    pub(super) step: Step,
    pub(super) tally: Tally,
    /// COMMITs of the height before.
    pub(super) last_commit: Option<VoteSet>,
    /// The first PRE-PREPARE of each view that may still matter: the last one, this one and the next.
    pub(super) proposals: BTreeMap<Round, Proposal>,
    /// The views whose primary signed two different PRE-PREPAREs; as few as `proposals`.
    pub(super) conflicting: Vec<Round>,
    pub(super) blocks: Blocks,
    /// What peers have shown to be prepared at this height in the highest view.
    pub(super) certified: Option<(Round, BlockId)>,
    pub(super) own: BTreeMap<(Round, VoteKind), OwnVote>,
    pub(super) proposing: Proposing,
    /// COMMITs whose extension the application is looking at, by view and index. Bounded as the tally is.
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
            begun: None,
            step: Step::NewHeight,
            tally: Tally::new(start.height, Arc::clone(&start.validators)),
            last_commit,
            proposals: BTreeMap::new(),
            conflicting: Vec::new(),
            blocks: Blocks::new(&start.params),
            certified: None,
            own: BTreeMap::new(),
            proposing: Proposing::No,
            verifying: BTreeMap::new(),
            outcome: Outcome::Open,
            txs_available: start.txs_available,
            start,
        }
    }

    /// COMMITs of the height before that came while its block was executed.
    pub(super) fn take_late_commits(&mut self, tally: &Tally, view: Round) {
        let known = tally.set(view, VoteKind::Precommit);
        let votes = known.into_iter().flat_map(|set| set.votes().iter().flatten());
        if let Some(last_commit) = &mut self.last_commit {
            votes.for_each(|vote| {
                last_commit.add(vote.clone());
            });
        }
    }

    /// A certificate that holds was shown.
    pub(super) fn note_certificate(&mut self, certificate: Option<&PreparedCertificate>) {
        let Some(certificate) = certificate.filter(|certificate| certificate.height == self.start.height) else {
            return;
        };
        if self.certified.is_none_or(|(view, _)| view < certificate.view || mutant!("P48")) {
            self.certified = Some((certificate.view, certificate.block_id));
        }
    }

    /// Our position in the set, if we have one.
    pub(super) fn own_seat(&self) -> Option<(u32, Address)> {
        let own = self.start.own?;
        let (index, _) = self.start.validators.by_address(&own)?;
        Some((index, own))
    }

    /// True when COMMITs carry extensions.
    pub(super) fn extensions_enabled(&self) -> bool {
        self.start.params.abci.extensions_enabled(self.start.height)
    }

    /// True while nothing is decided.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.outcome, Outcome::Open)
    }

    /// The commit of this height, once known.
    pub(super) fn commit(&self) -> Option<&ExtendedCommit> {
        match &self.outcome {
            Outcome::Open => None,
            Outcome::Fetching { commit } | Outcome::Decided { commit, .. } => Some(commit),
        }
    }
}
