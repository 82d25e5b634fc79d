//! Votes and proposals, before and after signing.

use super::{Address, BlockId, Height, Round, Time, UnsignedStatement};
use crate::crypto::Signature;
use bytes::Bytes;

/// The two votes of a round. PBFT's PREPARE is a prevote; PBFT's COMMIT and Raft's acknowledgement are precommits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VoteKind {
    /// First vote.
    Prevote,
    /// Second vote; a quorum of these for one block decides it.
    Precommit,
}

/// A vote as one validator signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vote {
    /// Prevote or precommit.
    pub kind: VoteKind,
    /// Height voted on.
    pub height: Height,
    /// Round voted in.
    pub round: Round,
    /// The block, or nil.
    pub block_id: Option<BlockId>,
    /// When, by the voter's clock.
    pub timestamp: Time,
    /// Who.
    pub validator_address: Address,
    /// The voter's position in the set of this height.
    pub validator_index: u32,
    /// Over [`Vote::sign_bytes`].
    pub signature: Signature,
    /// What the application added (precommits for a block, when extensions are enabled).
    pub extension: Bytes,
    /// Over the extension's own sign bytes; present exactly when extensions are enabled for this height.
    pub extension_signature: Option<Signature>,
}

/// A vote that waits for its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsignedVote {
    /// Prevote or precommit.
    pub kind: VoteKind,
    /// Height voted on.
    pub height: Height,
    /// Round voted in.
    pub round: Round,
    /// The block, or nil.
    pub block_id: Option<BlockId>,
    /// When, by our clock. The signer may put back the time of an identical earlier vote.
    pub timestamp: Time,
    /// We.
    pub validator_address: Address,
    /// Our position in the set.
    pub validator_index: u32,
    /// The extension to sign too; `Some` (possibly empty) exactly when one must be signed.
    pub extension: Option<Bytes>,
}

impl UnsignedVote {
    /// The vote with its signatures and the timestamp that was really signed.
    pub fn signed(self, timestamp: Time, signature: Signature, extension_signature: Option<Signature>) -> Vote {
        Vote {
            kind: self.kind,
            height: self.height,
            round: self.round,
            block_id: self.block_id,
            timestamp,
            validator_address: self.validator_address,
            validator_index: self.validator_index,
            signature,
            extension: self.extension.unwrap_or_default(),
            extension_signature,
        }
    }
}

/// A proposer's signed choice of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Height proposed for.
    pub height: Height,
    /// Round proposed in.
    pub round: Round,
    /// The round whose prevotes justify proposing an old block again.
    pub pol_round: Option<Round>,
    /// The block.
    pub block_id: BlockId,
    /// When, by the proposer's clock.
    pub timestamp: Time,
    /// Over [`Proposal::sign_bytes`].
    pub signature: Signature,
}

/// A proposal that waits for its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsignedProposal {
    /// Height proposed for.
    pub height: Height,
    /// Round proposed in.
    pub round: Round,
    /// The round whose prevotes justify proposing an old block again.
    pub pol_round: Option<Round>,
    /// The block.
    pub block_id: BlockId,
    /// When, by our clock.
    pub timestamp: Time,
}

impl UnsignedProposal {
    /// The proposal with its signature and the timestamp that was really signed.
    pub fn signed(self, timestamp: Time, signature: Signature) -> Proposal {
        Proposal {
            height: self.height,
            round: self.round,
            pol_round: self.pol_round,
            block_id: self.block_id,
            timestamp,
            signature,
        }
    }
}

/// What a protocol asks the signer for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignRequest {
    /// Sign a vote, and its extension where it has one.
    Vote(UnsignedVote),
    /// Sign a proposal.
    Proposal(UnsignedProposal),
    /// Sign what Raft and PBFT say beside.
    Statement(UnsignedStatement),
}
