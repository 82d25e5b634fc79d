//! One step of a light client: from a header we trust to another one (CometBFT's light/verifier.go).

use crate::crypto::Hash;
use crate::types::{BasicError, ChainId, CommitError, Header, Height, LightBlock, Time, TrustLevel, ValidatorSet};
use std::time::Duration;

/// A header we trust.
#[derive(Debug, Clone, Copy)]
pub struct Trusted<'a> {
    /// The header.
    pub header: &'a Header,
    /// The set of its height or of the next; looked at only when headers are skipped.
    pub validators: &'a ValidatorSet,
}

/// How long and how far we trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How long after a header's time its validators can still be punished for lying; shorter than the time in which
    /// they get their stake back.
    pub trusting_period: Duration,
    /// How far ahead of our clock a header may be.
    pub clock_drift: Duration,
    /// How much of a trusted set must have signed when headers are skipped.
    pub level: TrustLevel,
}

impl Options {
    /// CometBFT's default clock drift.
    pub const CLOCK_DRIFT: Duration = Duration::from_secs(10);
}

/// Why a header is not trusted. Texts are CometBFT's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LightError {
    /// What we trust is too old to rely on: start again from a header got some other way.
    #[error("old header has expired at {at} (now: {now})")]
    Expired {
        /// The end of the trusting period.
        at: Time,
        /// Our time.
        now: Time,
    },
    /// Too few of those we trust signed it. The header may be good: try one that is closer.
    #[error("cant trust new val set: {0}")]
    NotEnoughTrust(CommitError),
    /// Whoever gave us this header lies or is broken.
    #[error("invalid header: {0}")]
    Invalid(#[from] InvalidHeader),
}

/// What is wrong with a header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeader {
    /// Inconsistent in itself.
    #[error("untrustedHeader.ValidateBasic failed: {0}")]
    Basic(#[from] BasicError),
    /// Not above what we trust.
    #[error("expected new header height {new} to be greater than one of old header {old}")]
    NotHigher {
        /// Trusted.
        old: Height,
        /// Offered.
        new: Height,
    },
    /// Not later than what we trust.
    #[error("expected new header time {new} to be after old header time {old}")]
    NotLater {
        /// Trusted.
        old: Time,
        /// Offered.
        new: Time,
    },
    /// Ahead of our clock.
    #[error("new header has a time from the future {time} (now: {now}; max clock drift: {drift:?})")]
    FromTheFuture {
        /// Offered.
        time: Time,
        /// Our time.
        now: Time,
        /// What we allow.
        drift: Duration,
    },
    /// The set that came along is not the header's.
    #[error(
        "expected new header validators ({header}) to match those that were supplied ({supplied}) at height {height}"
    )]
    WrongSet {
        /// In the header.
        header: Hash,
        /// Of the set.
        supplied: Hash,
        /// Where.
        height: Height,
    },
    /// The next header has another set than the trusted one promised.
    #[error("expected old header next validators ({promised}) to match those from new header ({got})")]
    WrongNextSet {
        /// In the trusted header.
        promised: Hash,
        /// In the next one.
        got: Hash,
    },
    /// The commit proves nothing.
    #[error("{0}")]
    Commit(#[from] CommitError),
    /// Backwards: of another chain.
    #[error("header belongs to another chain")]
    OtherChain,
    /// Backwards: not earlier.
    #[error("expected older header time {older} to be before new header time {newer}")]
    NotEarlier {
        /// Offered.
        older: Time,
        /// Trusted.
        newer: Time,
    },
    /// Backwards: not the block the trusted header follows.
    #[error("older header hash {got} does not match trusted header's last block")]
    NotTheLastBlock {
        /// Offered.
        got: Hash,
    },
}

/// Whether `untrusted` can be trusted because `trusted` is: Verify.
///
/// The next height needs the set that the trusted header promised; any later height needs `options.level` of a trusted
/// set among the signers, and more than 2/3 of its own set.
pub fn verify(trusted: Trusted<'_>, untrusted: &LightBlock, options: &Options, now: Time) -> Result<(), LightError> {
    verify_hashed(trusted, untrusted, untrusted.signed_header.header.hash(), options, now)
}

/// [`verify`] for a header whose hash is known.
fn verify_hashed(
    trusted: Trusted<'_>,
    untrusted: &LightBlock,
    untrusted_hash: Hash,
    options: &Options,
    now: Time,
) -> Result<(), LightError> {
    let expires_at = trusted.header.time.plus(options.trusting_period);
    if expires_at <= now && !mutant!("L2") {
        return Err(LightError::Expired { at: expires_at, now });
    }
    let chain_id = &trusted.header.chain_id;
    untrusted.signed_header.validate_basic_as(untrusted_hash, chain_id).map_err(InvalidHeader::Basic)?;
    check_progress(trusted.header, untrusted, options, now)?;

    let header = &untrusted.signed_header.header;
    if header.height == trusted.header.height.next() {
        if header.validators_hash != trusted.header.next_validators_hash && !mutant!("L15") {
            let promised = trusted.header.next_validators_hash;
            return Err(InvalidHeader::WrongNextSet { promised, got: header.validators_hash }.into());
        }
    } else if !mutant!("L1") {
        let commit = &untrusted.signed_header.commit;
        trusted.validators.verify_commit_light_trusting(chain_id, commit, options.level).map_err(not_enough_trust)?;
    }
    // Last, because the sender chose this set and could have made it very large.
    check_own_commit(chain_id, untrusted)
}

/// Only too little power leaves hope; a bad or doubled signature is a lie.
fn not_enough_trust(error: CommitError) -> LightError {
    match error {
        CommitError::NotEnoughPower { .. } => LightError::NotEnoughTrust(error),
        other => InvalidHeader::Commit(other).into(),
    }
}

fn check_progress(trusted: &Header, untrusted: &LightBlock, options: &Options, now: Time) -> Result<(), InvalidHeader> {
    let header = &untrusted.signed_header.header;
    if header.height <= trusted.height && !mutant!("L16") {
        return Err(InvalidHeader::NotHigher { old: trusted.height, new: header.height });
    }
    if header.time < trusted.time || (header.time == trusted.time && !mutant!("L17")) {
        return Err(InvalidHeader::NotLater { old: trusted.time, new: header.time });
    }
    if header.time >= now.plus(options.clock_drift) && !mutant!("L18") {
        return Err(InvalidHeader::FromTheFuture { time: header.time, now, drift: options.clock_drift });
    }
    let supplied = untrusted.validators.hash();
    if header.validators_hash != supplied && !mutant!("L3") {
        let (header, height) = (header.validators_hash, header.height);
        return Err(InvalidHeader::WrongSet { header, supplied, height });
    }
    Ok(())
}

fn check_own_commit(chain_id: &ChainId, untrusted: &LightBlock) -> Result<(), LightError> {
    let commit = &untrusted.signed_header.commit;
    let height = untrusted.signed_header.header.height;
    untrusted
        .validators
        .verify_commit_light(chain_id, &commit.block_id, height, commit)
        .map_err(|error| InvalidHeader::Commit(error).into())
}

/// Whether `older` is the header right below `trusted`: VerifyBackwards. Hashes are enough; no signature is needed.
pub fn verify_backwards(trusted: &Header, older: &Header) -> Result<(), InvalidHeader> {
    older.validate_basic()?;
    if older.chain_id != trusted.chain_id && !mutant!("L20") {
        return Err(InvalidHeader::OtherChain);
    }
    if older.time >= trusted.time && !mutant!("L19") {
        return Err(InvalidHeader::NotEarlier { older: older.time, newer: trusted.time });
    }
    let got = older.hash();
    if trusted.last_block_id.is_none_or(|last| last.hash != got && !mutant!("L7")) {
        return Err(InvalidHeader::NotTheLastBlock { got });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
