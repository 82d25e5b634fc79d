//! Provable misbehaviour (reference §4.12).

use super::{Commit, Header, Height, Power, Time, Validator, ValidatorSet, Vote};
use crate::crypto::Hash;

/// One offence that anybody can check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// A validator voted for two blocks in one step.
    DuplicateVote(Box<DuplicateVoteEvidence>),
    /// A light client was shown a block this chain never had.
    LightClientAttack(Box<LightClientAttackEvidence>),
}

/// Two votes of one validator for one height, round and kind, but for different blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuplicateVoteEvidence {
    /// The vote whose block key sorts first.
    pub vote_a: Vote,
    /// The other.
    pub vote_b: Vote,
    /// Power of the whole set at that height.
    pub total_voting_power: Power,
    /// Power of the offender.
    pub validator_power: Power,
    /// Time of the block at that height.
    pub timestamp: Time,
}

/// A header and the commit for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeader {
    /// The header.
    pub header: Header,
    /// Signatures for its hash.
    pub commit: Commit,
}

/// A signed header with the set that signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LightBlock {
    /// Header and commit.
    pub signed_header: SignedHeader,
    /// The validators of that height.
    pub validators: ValidatorSet,
}

/// A block that conflicts with this chain, signed by enough of a set we once trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LightClientAttackEvidence {
    /// The false block.
    pub conflicting_block: LightBlock,
    /// The last height both histories share.
    pub common_height: Height,
    /// Who signed falsely, by power descending, then address.
    pub byzantine_validators: Vec<Validator>,
    /// Power of the whole set at the common height.
    pub total_voting_power: Power,
    /// Time of the block at the common height.
    pub timestamp: Time,
}

/// The name of a piece of evidence, in the order in which evidence is proposed: the same on every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EvidenceKey {
    /// [`Evidence::height`].
    pub height: Height,
    /// [`Evidence::hash`].
    pub hash: Hash,
}

/// A change of what waits for a block, to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvidenceChange {
    /// It waits.
    Waits(Evidence),
    /// It waits no more: proven or expired.
    Gone(EvidenceKey),
}

/// What a store knows of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredEvidence {
    /// What waits for a block, by key. It was verified before it was stored.
    pub pending: Vec<Evidence>,
    /// What blocks proved and at which height, by key; also of blocks that are pruned.
    pub committed: Vec<(EvidenceKey, Height)>,
}

impl Evidence {
    /// Its name: height, then hash.
    pub fn key(&self) -> EvidenceKey {
        EvidenceKey { height: self.height(), hash: self.hash() }
    }

    /// The height at which the offence counts.
    pub fn height(&self) -> Height {
        match self {
            Evidence::DuplicateVote(evidence) => evidence.vote_a.height,
            Evidence::LightClientAttack(evidence) => evidence.common_height,
        }
    }

    /// The block time that goes with [`Evidence::height`].
    pub fn time(&self) -> Time {
        match self {
            Evidence::DuplicateVote(evidence) => evidence.timestamp,
            Evidence::LightClientAttack(evidence) => evidence.timestamp,
        }
    }
}
