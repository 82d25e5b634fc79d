//! Commits: the precommits that decided a block, as the next block carries them.

use super::{Address, BlockId, Height, Round, Time};
use crate::crypto::Signature;
use bytes::Bytes;

/// One validator's signed part of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedPart {
    /// Who signed.
    pub validator_address: Address,
    /// The time in that precommit.
    pub timestamp: Time,
    /// Its signature.
    pub signature: Signature,
}

/// What one validator, in set order, contributed to a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitSig {
    /// No precommit arrived in time.
    Absent,
    /// A precommit for the block.
    Commit(SignedPart),
    /// A precommit for nil.
    Nil(SignedPart),
}

impl CommitSig {
    /// The signature and who made it, unless absent.
    pub fn signed(&self) -> Option<&SignedPart> {
        match self {
            CommitSig::Absent => None,
            CommitSig::Commit(part) | CommitSig::Nil(part) => Some(part),
        }
    }
}

/// The precommits that decided a block, one entry for each validator of that height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Height decided.
    pub height: Height,
    /// Round decided in.
    pub round: Round,
    /// The block decided.
    pub block_id: BlockId,
    /// In set order.
    pub signatures: Vec<CommitSig>,
}

/// A commit entry with the vote extension that came along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedCommitSig {
    /// The entry.
    pub sig: CommitSig,
    /// What the application of that validator added.
    pub extension: Bytes,
    /// Present exactly when extensions are enabled and the entry is a precommit for the block.
    pub extension_signature: Option<Signature>,
}

/// A commit with vote extensions: what the proposer of the next height hands to its application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedCommit {
    /// Height decided.
    pub height: Height,
    /// Round decided in.
    pub round: Round,
    /// The block decided.
    pub block_id: BlockId,
    /// In set order.
    pub signatures: Vec<ExtendedCommitSig>,
}

impl Commit {
    /// Most signatures a peer's commit may have: `MaxVotesCount` of CometBFT.
    pub const SIGNATURES_MAX: usize = 10_000;
}

impl ExtendedCommit {
    /// The commit without extensions, as the next block carries it.
    pub fn to_commit(&self) -> Commit {
        Commit {
            height: self.height,
            round: self.round,
            block_id: self.block_id,
            signatures: self.signatures.iter().map(|entry| entry.sig.clone()).collect(),
        }
    }
}

impl From<Commit> for ExtendedCommit {
    /// The same commit with empty extensions.
    fn from(commit: Commit) -> ExtendedCommit {
        ExtendedCommit {
            height: commit.height,
            round: commit.round,
            block_id: commit.block_id,
            signatures: commit
                .signatures
                .into_iter()
                .map(|sig| ExtendedCommitSig { sig, extension: Bytes::new(), extension_signature: None })
                .collect(),
        }
    }
}
