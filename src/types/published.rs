//! What the node tells subscribers (reference §8.6).

use super::abci::{FinalizeBlockResponse, TxResult};
use super::{Address, BlockId, CandidateBlock, Evidence, Height, Round, Step, ValidatorUpdate, Vote};
use crate::crypto::Hash;
use std::sync::Arc;

/// One published fact. Cheap to clone: big things are shared.
#[derive(Debug, Clone, PartialEq)]
pub enum Published {
    /// A block was applied. Published first, then for the same block: header, block events, evidence, each
    /// transaction in order, validator updates. `events` renders all of those from this one value.
    Block(Arc<AppliedBlock>),
    /// A step inside a round.
    Round(RoundEvent),
    /// A vote was counted.
    Vote(Vote),
}

/// A block with its results.
#[derive(Debug, PartialEq)]
pub struct AppliedBlock {
    /// The block.
    pub block: Arc<CandidateBlock>,
    /// What the application answered.
    pub results: FinalizeBlockResponse,
    /// Hash of each transaction with its place and result, for the index and for `tx` events.
    pub txs: Vec<(Hash, TxResult)>,
}

impl AppliedBlock {
    /// Validators the application changed.
    pub fn validator_updates(&self) -> &[ValidatorUpdate] {
        &self.results.validator_updates
    }

    /// Misbehaviour proven in the block.
    pub fn evidence(&self) -> &[Evidence] {
        &self.block.block().evidence
    }
}

/// Which `tm.event` a round event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundEventKind {
    /// Every step.
    NewRoundStep,
    /// A round began; carries the proposer.
    NewRound {
        /// Position in the set.
        index: u32,
        /// Address.
        address: Address,
    },
    /// The proposed block is complete; carries its name.
    CompleteProposal(BlockId),
    /// The proposal did not come in time.
    TimeoutPropose,
    /// Votes did not come in time.
    TimeoutWait,
    /// Two thirds prevoted one thing.
    Polka,
    /// Locked.
    Lock,
    /// Locked again.
    Relock,
    /// Unlocked.
    Unlock,
    /// The valid block changed.
    ValidBlock,
}

/// A round event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundEvent {
    /// Which.
    pub kind: RoundEventKind,
    /// Height.
    pub height: Height,
    /// Round.
    pub round: Round,
    /// Step.
    pub step: Step,
}
