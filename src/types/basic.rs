//! Checks that need no state: is a block, header, commit, vote or piece of evidence consistent in itself?
//! (CometBFT's ValidateBasic.) What the types cannot express at all, such as a hash of 31 bytes, the decoder refused.

use super::{
    Address, Block, BlockId, ChainId, Commit, DuplicateVoteEvidence, Evidence, Header, Height, LightBlock,
    LightClientAttackEvidence, Power, SignedHeader, Time, ValidatorSet, Version, Vote, VoteKind,
};
use crate::crypto::Hash;

/// What is inconsistent. Texts are CometBFT's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BasicError {
    /// The error of a part, after the name of the part.
    #[error("{0}: {1}")]
    In(&'static str, Box<BasicError>),
    /// Evidence at a position in a block.
    #[error("invalid evidence (#{0}): {1}")]
    InEvidence(usize, Box<BasicError>),
    /// Another block protocol.
    #[error("block protocol is incorrect: got: {0}, want: {want}", want = Version::BLOCK)]
    BlockProtocol(u64),
    /// Height 0.
    #[error("zero Height")]
    ZeroHeight,
    /// A commit nobody signed.
    #[error("no signatures in commit")]
    NoSignatures,
    /// A hash in the header is not the hash of what the block holds.
    #[error("wrong Header.{field}. Expected {expected}, got {got}")]
    ContentHash {
        /// Which hash.
        field: &'static str,
        /// Of the contents.
        expected: Hash,
        /// In the header.
        got: Hash,
    },
    /// Another chain.
    #[error("header belongs to another chain {got:?}, not {expected:?}")]
    Chain {
        /// Ours.
        expected: ChainId,
        /// The header's.
        got: ChainId,
    },
    /// Header and commit are about different heights.
    #[error("header and commit height mismatch: {header} vs {commit}")]
    Heights {
        /// Of the header.
        header: Height,
        /// Of the commit.
        commit: Height,
    },
    /// The commit is for another header.
    #[error("commit signs block {commit}, header is block {header}")]
    Hashes {
        /// The header's hash.
        header: Hash,
        /// The hash signed.
        commit: Hash,
    },
    /// The set is not the header's.
    #[error("expected validator hash of header to match validator set hash ({header} != {set})")]
    ValidatorsHash {
        /// In the header.
        header: Hash,
        /// Of the set.
        set: Hash,
    },
    /// An extension where none may be, or none where one must be.
    #[error("{what} in a vote of {address}")]
    VoteExtension {
        /// What is wrong.
        what: &'static str,
        /// The voter.
        address: Address,
    },
    /// Vote A must be the one whose block key sorts first.
    #[error("duplicate votes in invalid order")]
    VoteOrder,
    /// Nobody had power.
    #[error("negative or zero total voting power")]
    ZeroTotalPower,
    /// No block has height 0.
    #[error("negative or zero common height")]
    ZeroCommonHeight,
    /// Both histories would share more than the false one is long.
    #[error("common height is ahead of the conflicting block height ({common} > {conflicting})")]
    CommonHeightAhead {
        /// Last shared height.
        common: Height,
        /// Height of the false block.
        conflicting: Height,
    },
}

impl BasicError {
    fn within(part: &'static str) -> impl Fn(BasicError) -> BasicError {
        move |error| BasicError::In(part, Box::new(error))
    }
}

impl Header {
    /// The header is of our block protocol and has a height.
    pub fn validate_basic(&self) -> Result<(), BasicError> {
        if self.version.block != Version::BLOCK {
            return Err(BasicError::BlockProtocol(self.version.block));
        }
        if self.height == Height::ZERO {
            return Err(BasicError::ZeroHeight);
        }
        Ok(())
    }
}

impl Commit {
    /// A commit of a height has entries.
    pub fn validate_basic(&self) -> Result<(), BasicError> {
        if self.height > Height::ZERO && self.signatures.is_empty() {
            return Err(BasicError::NoSignatures);
        }
        Ok(())
    }
}

impl Block {
    /// Header, last commit and evidence are well-formed, and the header's three content hashes are right.
    pub fn validate_basic(&self) -> Result<(), BasicError> {
        let header = &self.header;
        header.validate_basic().map_err(BasicError::within("invalid header"))?;
        if let Some(commit) = &self.last_commit {
            commit.validate_basic().map_err(BasicError::within("wrong LastCommit"))?;
        }
        same_hash("LastCommitHash", self.last_commit_hash(), header.last_commit_hash)?;
        same_hash("DataHash", self.data_hash(), header.data_hash)?;
        for (index, evidence) in self.evidence.iter().enumerate() {
            evidence.validate_basic().map_err(|error| BasicError::InEvidence(index, Box::new(error)))?;
        }
        same_hash("EvidenceHash", self.evidence_hash(), header.evidence_hash)
    }
}

fn same_hash(field: &'static str, expected: Hash, got: Hash) -> Result<(), BasicError> {
    if expected == got { Ok(()) } else { Err(BasicError::ContentHash { field, expected, got }) }
}

impl SignedHeader {
    /// The commit is for this header, and the header is of this chain. Signatures are not looked at.
    pub fn validate_basic(&self, chain_id: &ChainId) -> Result<(), BasicError> {
        self.validate_basic_as(self.header.hash(), chain_id)
    }

    /// The same for a header whose hash is known.
    pub(crate) fn validate_basic_as(&self, header_hash: Hash, chain_id: &ChainId) -> Result<(), BasicError> {
        self.header.validate_basic().map_err(BasicError::within("invalid header"))?;
        self.commit.validate_basic().map_err(BasicError::within("invalid commit"))?;
        if self.header.chain_id != *chain_id {
            return Err(BasicError::Chain { expected: chain_id.clone(), got: self.header.chain_id.clone() });
        }
        if self.header.height != self.commit.height {
            return Err(BasicError::Heights { header: self.header.height, commit: self.commit.height });
        }
        if header_hash != self.commit.block_id.hash {
            return Err(BasicError::Hashes { header: header_hash, commit: self.commit.block_id.hash });
        }
        Ok(())
    }
}

impl LightBlock {
    /// Header, commit and set belong together. Signatures are not looked at.
    pub fn validate_basic(&self, chain_id: &ChainId) -> Result<(), BasicError> {
        self.signed_header.validate_basic(chain_id).map_err(BasicError::within("invalid signed header"))?;
        let (header, set) = (self.signed_header.header.validators_hash, self.validators.hash());
        if header != set {
            return Err(BasicError::ValidatorsHash { header, set });
        }
        Ok(())
    }
}

impl Vote {
    /// The vote is of a height, and has an extension only where one may be.
    pub fn validate_basic(&self) -> Result<(), BasicError> {
        if self.height == Height::ZERO {
            return Err(BasicError::ZeroHeight);
        }
        let may_extend = self.kind == VoteKind::Precommit && self.block_id.is_some();
        let what = match (self.extension.is_empty(), self.extension_signature.is_some()) {
            (false, _) if !may_extend => "unexpected vote extension",
            (_, true) if !may_extend => "unexpected vote extension signature",
            (false, false) => "vote extension signature absent on vote with extension",
            _ => return Ok(()),
        };
        Err(BasicError::VoteExtension { what, address: self.validator_address })
    }
}

/// What duplicate votes are ordered by: BlockID.Key, compared as bytes; empty for nil (reference §4.12).
fn block_key(block_id: Option<&BlockId>) -> Vec<u8> {
    block_id.map_or(Vec::new(), |id| [id.hash.as_ref(), &id.parts.encode()].concat())
}

impl Evidence {
    /// The evidence is consistent in itself; whether it is true takes the chain (`evidence::verify`).
    pub fn validate_basic(&self) -> Result<(), BasicError> {
        match self {
            Evidence::DuplicateVote(evidence) => evidence.validate_basic(),
            Evidence::LightClientAttack(evidence) => evidence.validate_basic(),
        }
    }
}

impl DuplicateVoteEvidence {
    /// Two votes of one member of `set` in one step for two blocks, put in order; none when they are not that. `time`
    /// is the time of the block decided at their height by `set`.
    pub fn new(one: Vote, other: Vote, time: Time, set: &ValidatorSet) -> Option<DuplicateVoteEvidence> {
        let step = |vote: &Vote| (vote.height, vote.round, vote.kind, vote.validator_address);
        let (_, offender) = set.by_address(&one.validator_address)?;
        if step(&one) != step(&other) || one.block_id == other.block_id {
            return None;
        }
        let in_order = block_key(one.block_id.as_ref()) < block_key(other.block_id.as_ref());
        let (vote_a, vote_b) = if in_order { (one, other) } else { (other, one) };
        Some(DuplicateVoteEvidence {
            vote_a,
            vote_b,
            total_voting_power: set.total_power(),
            validator_power: offender.power,
            timestamp: time,
        })
    }

    fn validate_basic(&self) -> Result<(), BasicError> {
        self.vote_a.validate_basic().map_err(BasicError::within("invalid VoteA"))?;
        self.vote_b.validate_basic().map_err(BasicError::within("invalid VoteB"))?;
        if block_key(self.vote_a.block_id.as_ref()) >= block_key(self.vote_b.block_id.as_ref()) {
            return Err(BasicError::VoteOrder);
        }
        Ok(())
    }
}

impl LightClientAttackEvidence {
    fn validate_basic(&self) -> Result<(), BasicError> {
        let header = &self.conflicting_block.signed_header.header;
        if self.total_voting_power == Power::ZERO {
            return Err(BasicError::ZeroTotalPower);
        }
        if self.common_height == Height::ZERO {
            return Err(BasicError::ZeroCommonHeight);
        }
        if self.common_height > header.height {
            return Err(BasicError::CommonHeightAhead { common: self.common_height, conflicting: header.height });
        }
        self.conflicting_block
            .validate_basic(&header.chain_id)
            .map_err(BasicError::within("invalid conflicting light block"))
    }
}
