//! Commit verification: did enough of a validator set sign this block? (reference §4.11)
//!
//! Every check runs in the same order: shape (size, height, block), signers (address, nobody twice), power, and last the
//! signatures, in one batch. Whoever sends a commit without the power makes us verify nothing.

use super::{
    Address, BlockId, ChainId, Commit, CommitSig, ExtendedCommit, ExtendedCommitSig, Height, Quorum, SignedPart,
    Validator, ValidatorSet, Vote, VoteKind,
};
use crate::crypto::{BatchVerifier, PublicKey, Signature};
use std::collections::BTreeMap;

/// Longest vote extension in bytes: 1 MiB (reference §4.7).
pub const VOTE_EXTENSION_BYTES_MAX: usize = 1 << 20;

/// Longest vote extension we make or count, in bytes: its vote must fit a consensus message and a journal record, which
/// are 1 MiB each (reference §5.6, §6.6), so an extension of 1 MiB is legal but cannot travel. The rest of a vote and
/// what is wrapped around it take fewer than 512 bytes.
pub const VOTE_EXTENSION_SENT_MAX: usize = VOTE_EXTENSION_BYTES_MAX - 512;

/// How much of a set we trust must have signed for us to trust another set: from 1/3 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustLevel {
    numerator: u64,
    denominator: u64,
}

/// A fraction below 1/3, above 1, or without a denominator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("trustLevel must be within [1/3, 1], given {numerator}/{denominator}")]
pub struct TrustLevelError {
    /// As given.
    pub numerator: u64,
    /// As given.
    pub denominator: u64,
}

impl TrustLevel {
    /// One honest signer at least, as long as less than 1/3 of the power lies: CometBFT's default.
    pub const ONE_THIRD: TrustLevel = TrustLevel { numerator: 1, denominator: 3 };
    /// The power that decides a block.
    const TWO_THIRDS: TrustLevel = TrustLevel { numerator: 2, denominator: 3 };
    /// The power that decides a block where nobody lies.
    const ONE_HALF: TrustLevel = TrustLevel { numerator: 1, denominator: 2 };

    /// A fraction from 1/3 to 1; less would not hold against 1/3 of liars.
    pub fn new(numerator: u64, denominator: u64) -> Result<TrustLevel, TrustLevelError> {
        let (n, d) = (u128::from(numerator), u128::from(denominator));
        if d == 0 || (n * 3 < d && !mutant!("L8")) || (n > d && !mutant!("L92")) {
            return Err(TrustLevelError { numerator, denominator });
        }
        Ok(TrustLevel { numerator, denominator })
    }

    /// The power that must be exceeded.
    fn of(self, set: &ValidatorSet) -> u64 {
        let product = u128::from(set.total_power().get()) * u128::from(self.numerator);
        (product / u128::from(self.denominator)) as u64 // at most the total power: the fraction is at most 1
    }
}

/// Why a commit proves nothing. Texts are CometBFT's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Not one entry for each validator.
    #[error("Invalid commit -- wrong set size: {expected} vs {got}")]
    WrongSetSize {
        /// Validators in the set.
        expected: usize,
        /// Entries in the commit.
        got: usize,
    },
    /// A commit of another height.
    #[error("Invalid commit -- wrong height: {expected} vs {got}")]
    WrongHeight {
        /// The height asked about.
        expected: Height,
        /// The commit's.
        got: Height,
    },
    /// A commit of another block.
    #[error(
        "invalid commit -- wrong block ID: want {}:{}:{}, got {}:{}:{}",
        want.hash, want.parts.total, want.parts.hash, got.hash, got.parts.total, got.parts.hash
    )]
    WrongBlockId {
        /// The block asked about.
        want: Box<BlockId>,
        /// The commit's.
        got: Box<BlockId>,
    },
    /// An entry names another validator than the one at its position. Were it let through, whoever makes the commit
    /// would choose the block time (bug class 001).
    #[error("validator address mismatch at index {index}: expected {expected}, got {got}")]
    WrongAddress {
        /// Position in the commit.
        index: usize,
        /// Who stands there in the set.
        expected: Address,
        /// Who the entry names.
        got: Address,
    },
    /// Two entries name the same validator (bug class 056).
    #[error("double vote from {address} ({first} and {second})")]
    DoubleVote {
        /// Who.
        address: Address,
        /// First position.
        first: usize,
        /// Second position.
        second: usize,
    },
    /// The signers do not have the power.
    #[error("invalid commit -- insufficient voting power: got {got}, needed more than {needed}")]
    NotEnoughPower {
        /// Power of those who signed for the block.
        got: u64,
        /// Power they must exceed.
        needed: u64,
    },
    /// A signature is not by whom it says.
    #[error("wrong signature (#{index}): {}", hex::encode_upper(signature.as_bytes()))]
    WrongSignature {
        /// Position in the commit.
        index: usize,
        /// The signature.
        signature: Signature,
    },
    /// A vote extension is missing, too long, wrongly signed, or there though it must not be.
    #[error("{what}; validator addr {}, index {index}", address.map_or("(absent)".to_owned(), |a| a.to_string()))]
    Extension {
        /// Position in the commit.
        index: usize,
        /// Whose entry, unless it is absent.
        address: Option<Address>,
        /// What is wrong.
        what: &'static str,
    },
}

/// Whether precommits of a height carry vote extensions (`AbciParams::extensions_enabled`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extensions {
    /// Every precommit for the block has a signed extension, possibly empty; nothing else has one.
    Required,
    /// Nothing has one.
    Forbidden,
}

/// What to look at, and how.
#[derive(Clone, Copy)]
struct Plan {
    signers: Signers,
    entries: Entries,
    extent: Extent,
    /// Power that must be exceeded.
    needed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Signers {
    /// The set that made the commit: entry and validator at the same position.
    ByPosition,
    /// Another set: whoever of it signed.
    ByAddress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Entries {
    ForBlockAndNil,
    ForBlock,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    UntilEnough,
    EverySignature,
}

/// A signature to verify: position, who, what.
type Claim<'a> = (usize, &'a Validator, &'a SignedPart);

impl ValidatorSet {
    /// VerifyCommit: a quorum of this set signed `block_id` at `height`, and **every** signature in the commit is good,
    /// also those for nil, because the application is told who signed. The quorum is that of the chain's protocol
    /// ([`crate::types::Algorithm::quorum`]).
    pub fn verify_commit(
        &self,
        chain_id: &ChainId,
        block_id: &BlockId,
        height: Height,
        commit: &Commit,
        quorum: Quorum,
    ) -> Result<(), CommitError> {
        self.check_shape(block_id, height, commit)?;
        self.verify(chain_id, commit, self.decided_by(quorum, Entries::ForBlockAndNil, Extent::EverySignature))
    }

    /// VerifyCommitLight: more than 2/3 of this set signed; looks at no more signatures than that takes.
    pub fn verify_commit_light(
        &self,
        chain_id: &ChainId,
        block_id: &BlockId,
        height: Height,
        commit: &Commit,
    ) -> Result<(), CommitError> {
        self.check_shape(block_id, height, commit)?;
        self.verify(chain_id, commit, self.two_thirds(Entries::ForBlock, Extent::UntilEnough))
    }

    /// VerifyCommitLightAllSignatures: as [`ValidatorSet::verify_commit_light`], but every signature for the block is
    /// checked: in evidence each of them accuses somebody.
    pub fn verify_commit_light_all_signatures(
        &self,
        chain_id: &ChainId,
        block_id: &BlockId,
        height: Height,
        commit: &Commit,
    ) -> Result<(), CommitError> {
        self.check_shape(block_id, height, commit)?;
        self.verify(chain_id, commit, self.two_thirds(Entries::ForBlock, Extent::EverySignature))
    }

    /// VerifyCommitLightTrusting: more than `level` of this set signed a commit made by another set. Signers are found
    /// by address; one named twice is an error.
    pub fn verify_commit_light_trusting(
        &self,
        chain_id: &ChainId,
        commit: &Commit,
        level: TrustLevel,
    ) -> Result<(), CommitError> {
        self.verify(chain_id, commit, self.trusting(level, Extent::UntilEnough))
    }

    /// VerifyCommitLightTrustingAllSignatures: the same, with every signature of this set checked, for evidence.
    pub fn verify_commit_light_trusting_all_signatures(
        &self,
        chain_id: &ChainId,
        commit: &Commit,
        level: TrustLevel,
    ) -> Result<(), CommitError> {
        self.verify(chain_id, commit, self.trusting(level, Extent::EverySignature))
    }

    /// [`ValidatorSet::verify_commit`] for a commit with vote extensions, whose signatures are checked too.
    pub fn verify_extended_commit(
        &self,
        chain_id: &ChainId,
        block_id: &BlockId,
        height: Height,
        commit: &ExtendedCommit,
        extensions: Extensions,
        quorum: Quorum,
    ) -> Result<(), CommitError> {
        commit.check_extensions(extensions)?;
        self.verify_commit(chain_id, block_id, height, &commit.to_commit(), quorum)?;
        let mut batch = BatchVerifier::new();
        let mut positions = Vec::new();
        for (index, (entry, member)) in commit.signatures.iter().zip(self.members()).enumerate() {
            if let (Some(vote), Some(signature)) =
                (commit.extended_vote(index), entry.extension_signature.filter(|_| !mutant!("L90")))
            {
                batch.push(member.public_key, vote.extension_sign_bytes(chain_id), signature);
                positions.push(index);
            }
        }
        match batch.first_bad() {
            None => Ok(()),
            Some(bad) => Err(commit.extension_error(positions[bad], "wrong vote extension signature")),
        }
    }

    /// What [`ValidatorSet::verify_extended_commit`] would verify of a commit, for whoever verifies several at once: its
    /// shape and power were looked at, its signatures were not.
    pub fn extended_commit_claims(
        &self,
        chain_id: &ChainId,
        commit: &ExtendedCommit,
        extensions: Extensions,
        quorum: Quorum,
    ) -> Result<Vec<(PublicKey, Vec<u8>, Signature)>, CommitError> {
        commit.check_extensions(extensions)?;
        let plain = commit.to_commit();
        if !mutant!("L91") {
            self.check_shape(&commit.block_id, commit.height, &plain)?;
        }
        let plan = self.decided_by(quorum, Entries::ForBlockAndNil, Extent::EverySignature);
        let mut claims = Vec::with_capacity(2 * self.len());
        for (index, member, _) in self.claims(&plain, plan)? {
            let Some(vote) = commit.extended_vote(index) else { continue };
            claims.push((member.public_key, vote.sign_bytes(chain_id), vote.signature));
            if let Some(signature) = vote.extension_signature {
                claims.push((member.public_key, vote.extension_sign_bytes(chain_id), signature));
            }
        }
        Ok(claims)
    }

    fn two_thirds(&self, entries: Entries, extent: Extent) -> Plan {
        self.decided_by(Quorum::MoreThanTwoThirds, entries, extent)
    }

    fn decided_by(&self, quorum: Quorum, entries: Entries, extent: Extent) -> Plan {
        let level = match quorum {
            Quorum::MoreThanTwoThirds if mutant!("P9") => TrustLevel::ONE_THIRD,
            Quorum::MoreThanTwoThirds => TrustLevel::TWO_THIRDS,
            Quorum::MoreThanHalf => TrustLevel::ONE_HALF,
        };
        Plan { signers: Signers::ByPosition, entries, extent, needed: level.of(self) }
    }

    fn trusting(&self, level: TrustLevel, extent: Extent) -> Plan {
        Plan { signers: Signers::ByAddress, entries: Entries::ForBlock, extent, needed: level.of(self) }
    }

    fn check_shape(&self, block_id: &BlockId, height: Height, commit: &Commit) -> Result<(), CommitError> {
        if self.len() != commit.signatures.len() {
            return Err(CommitError::WrongSetSize { expected: self.len(), got: commit.signatures.len() });
        }
        if height != commit.height && !mutant!("L9") {
            return Err(CommitError::WrongHeight { expected: height, got: commit.height });
        }
        if *block_id != commit.block_id && !mutant!("L10") {
            return Err(CommitError::WrongBlockId { want: Box::new(*block_id), got: Box::new(commit.block_id) });
        }
        Ok(())
    }

    fn verify(&self, chain_id: &ChainId, commit: &Commit, plan: Plan) -> Result<(), CommitError> {
        let claims = self.claims(commit, plan)?;
        let mut batch = BatchVerifier::new();
        for (index, member, part) in &claims {
            let sign_bytes =
                commit.sign_bytes_of(*index, chain_id).expect("a claim is about a signature of the commit");
            batch.push(member.public_key, sign_bytes, part.signature);
        }
        match batch.first_bad() {
            None => Ok(()),
            Some(bad) => {
                let (index, _, part) = claims[bad];
                Err(CommitError::WrongSignature { index, signature: part.signature })
            }
        }
    }

    /// The signatures to verify, after it is clear that they have the power if they are good.
    fn claims<'a>(&'a self, commit: &'a Commit, plan: Plan) -> Result<Vec<Claim<'a>>, CommitError> {
        let members = self.members();
        let positions = match plan.signers {
            Signers::ByPosition => BTreeMap::new(),
            // In reverse, so that the first of two equal addresses stays.
            Signers::ByAddress => members.iter().enumerate().rev().map(|(at, m)| (m.address, at)).collect(),
        };
        let mut seen: BTreeMap<usize, usize> = BTreeMap::new();
        let mut claims = Vec::with_capacity(commit.signatures.len());
        let mut got: u64 = 0;
        for (index, sig) in commit.signatures.iter().enumerate() {
            let part = match (sig, plan.entries) {
                (CommitSig::Commit(part), _) | (CommitSig::Nil(part), Entries::ForBlockAndNil) => part,
                (CommitSig::Absent, _) | (CommitSig::Nil(_), Entries::ForBlock) => continue,
            };
            let address = part.validator_address;
            let position = match plan.signers {
                Signers::ByPosition => index,
                Signers::ByAddress => match positions.get(&address) {
                    Some(position) => *position,
                    None => continue,
                },
            };
            let member = &members[position]; // by position: the sizes were compared
            if member.address != address && !mutant!("L11") {
                return Err(CommitError::WrongAddress { index, expected: member.address, got: address });
            }
            if let Some(first) = seen.insert(position, index).filter(|_| !mutant!("L5")) {
                return Err(CommitError::DoubleVote { address, first, second: index });
            }
            claims.push((index, member, part));
            if matches!(sig, CommitSig::Commit(_)) || mutant!("L4") {
                got += member.power.get(); // each member once: at most the total power
            }
            if (plan.extent == Extent::UntilEnough || mutant!("L12")) && got > plan.needed {
                break;
            }
        }
        if got < plan.needed || (got == plan.needed && !mutant!("L6")) {
            return Err(CommitError::NotEnoughPower { got, needed: plan.needed });
        }
        Ok(claims)
    }
}

impl ExtendedCommitSig {
    /// EnsureExtension: extension and signature are there exactly when they must be.
    fn check_extension(&self, extensions: Extensions) -> Result<(), &'static str> {
        let for_block = matches!(self.sig, CommitSig::Commit(_));
        match (extensions, for_block, &self.extension_signature) {
            _ if self.extension.len() > VOTE_EXTENSION_BYTES_MAX && !mutant!("L13") => {
                Err("vote extension is too big (max: 1048576)")
            }
            (Extensions::Required, true, None) => Err("vote extension signature is missing"),
            (Extensions::Required, true, Some(_)) => Ok(()),
            (Extensions::Required, false, _) if !self.extension.is_empty() => Err("non-commit vote extension present"),
            (Extensions::Required, false, Some(_)) => Err("non-commit vote extension signature present"),
            (Extensions::Forbidden, _, _) if !self.extension.is_empty() => {
                Err("vote extension present but extensions disabled")
            }
            (Extensions::Forbidden, _, Some(_)) => Err("vote extension signature present but extensions disabled"),
            (_, _, None) => Ok(()),
        }
    }
}

impl ExtendedCommit {
    /// The precommit behind an entry, with its extension; none where the validator was absent or the index is not one.
    pub fn extended_vote(&self, index: usize) -> Option<Vote> {
        let entry = self.signatures.get(index)?;
        let part = entry.sig.signed()?;
        Some(Vote {
            kind: VoteKind::Precommit,
            height: self.height,
            round: self.round,
            block_id: (matches!(entry.sig, CommitSig::Commit(_)) || mutant!("L14")).then_some(self.block_id),
            timestamp: part.timestamp,
            validator_address: part.validator_address,
            validator_index: u32::try_from(index).ok()?,
            signature: part.signature,
            extension: entry.extension.clone(),
            extension_signature: entry.extension_signature,
        })
    }

    fn check_extensions(&self, extensions: Extensions) -> Result<(), CommitError> {
        let check = |(index, entry): (usize, &ExtendedCommitSig)| {
            entry.check_extension(extensions).map_err(|what| self.extension_error(index, what))
        };
        self.signatures.iter().enumerate().try_for_each(check)
    }

    fn extension_error(&self, index: usize, what: &'static str) -> CommitError {
        let address =
            self.signatures.get(index).and_then(|entry| entry.sig.signed()).map(|part| part.validator_address);
        CommitError::Extension { index, address, what }
    }
}

#[cfg(test)]
mod tests;
