//! Consensus parameters: what all replicas must agree on (reference §2.6). Defaults are CometBFT v0.38's.

use super::{Height, PartSet};
use crate::crypto::PublicKey;
use std::time::Duration;

/// Every parameter group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsensusParams {
    /// Block limits.
    pub block: BlockParams,
    /// How long misbehaviour can be punished.
    pub evidence: EvidenceParams,
    /// Which keys validators may use.
    pub validator: ValidatorParams,
    /// The application's version.
    pub version: VersionParams,
    /// Vote extensions.
    pub abci: AbciParams,
}

/// Limits of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockParams {
    /// Largest encoded block in bytes; `None` (−1 on the wire) means the engine's own limit.
    pub max_bytes: Option<u64>,
    /// Most gas the transactions of a block may want; `None` (−1) means no limit.
    pub max_gas: Option<u64>,
}

/// Limits on evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceParams {
    /// Evidence expires when older than this many blocks **and** than `max_age_duration`.
    pub max_age_num_blocks: u64,
    /// See above.
    pub max_age_duration: Duration,
    /// Most bytes of evidence in one block.
    pub max_bytes: u64,
}

/// Keys validators may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorParams {
    /// Key type names; only `ed25519` can be verified by this build.
    pub pub_key_types: Vec<String>,
}

/// The application's version, part of every header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VersionParams {
    /// As the application says it.
    pub app: u64,
}

/// Vote extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AbciParams {
    /// First height whose precommits carry extensions; none (0 on the wire) when off.
    pub vote_extensions_enable_height: Option<Height>,
}

/// What an application may change after a block; a missing group stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParamsUpdate {
    /// New block limits.
    pub block: Option<BlockParams>,
    /// New evidence limits.
    pub evidence: Option<EvidenceParams>,
    /// New key types.
    pub validator: Option<ValidatorParams>,
    /// New application version.
    pub version: Option<VersionParams>,
    /// New extension height.
    pub abci: Option<AbciParams>,
}

impl Default for BlockParams {
    fn default() -> BlockParams {
        BlockParams { max_bytes: Some(22_020_096), max_gas: None }
    }
}

impl Default for EvidenceParams {
    fn default() -> EvidenceParams {
        EvidenceParams {
            max_age_num_blocks: 100_000,
            max_age_duration: Duration::from_secs(48 * 3600),
            max_bytes: 1_048_576,
        }
    }
}

impl Default for ValidatorParams {
    fn default() -> ValidatorParams {
        ValidatorParams { pub_key_types: vec!["ed25519".to_owned()] }
    }
}

impl AbciParams {
    /// True when precommits of `height` carry extensions.
    pub fn extensions_enabled(&self, height: Height) -> bool {
        self.vote_extensions_enable_height.is_some_and(|first| height > first || (height == first && !mutant!("D16")))
    }
}

/// Parameters no chain may run with (reference §2.6).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamsError {
    /// Block size.
    #[error("block.max_bytes must be -1 or 1 to {max}, got {got}", max = PartSet::BLOCK_BYTES_MAX)]
    BlockBytes {
        /// The value met.
        got: u64,
    },
    /// Gas beyond what 63 bits hold.
    #[error("block.max_gas must be -1 to 9223372036854775807, got {got}")]
    BlockGas {
        /// The value met.
        got: u64,
    },
    /// Evidence would expire at once.
    #[error("evidence.max_age_num_blocks must be greater than 0")]
    EvidenceBlocks,
    /// Evidence would expire at once.
    #[error("evidence.max_age_duration must be greater than 0")]
    EvidenceDuration,
    /// Evidence that fits no block.
    #[error("evidence.max_bytes must be at most block.max_bytes ({max}), got {got}")]
    EvidenceBytes {
        /// The value met.
        got: u64,
        /// The block's limit.
        max: u64,
    },
    /// No key could ever be used.
    #[error("validator.pub_key_types must name at least one key type (ed25519)")]
    NoKeyType,
    /// A key type nobody knows.
    #[error("validator.pub_key_types: {0:?} is an unknown key type; known are ed25519 and secp256k1")]
    UnknownKeyType(String),
    /// Extensions were decided already.
    #[error("vote extensions are in force since height {since}: they cannot be {what} any more")]
    ExtensionsInForce {
        /// First height with extensions.
        since: Height,
        /// What was tried.
        what: &'static str,
    },
    /// Extensions for a height that is over.
    #[error("abci.vote_extensions_enable_height {got} must be above the current height {current}")]
    ExtensionsInThePast {
        /// The value met.
        got: Height,
        /// The height just executed.
        current: Height,
    },
}

/// Key types CometBFT v0.38 knows.
const KEY_TYPES: [&str; 2] = [PublicKey::TYPE, "secp256k1"];

impl ConsensusParams {
    /// Whether a chain may run with these: ConsensusParams.ValidateBasic.
    pub fn validate(&self) -> Result<(), ParamsError> {
        if let Some(got) = self.block.max_bytes
            && !(1..=PartSet::BLOCK_BYTES_MAX + u64::from(mutant!("D20"))).contains(&got)
        {
            return Err(ParamsError::BlockBytes { got });
        }
        if let Some(got) = self.block.max_gas
            && i64::try_from(got).is_err()
            && !mutant!("D93")
        {
            return Err(ParamsError::BlockGas { got });
        }
        if self.evidence.max_age_num_blocks == 0 && !mutant!("D19") {
            return Err(ParamsError::EvidenceBlocks);
        }
        if self.evidence.max_age_duration.is_zero() && !mutant!("D92") {
            return Err(ParamsError::EvidenceDuration);
        }
        let (got, max) = (self.evidence.max_bytes, self.block.bytes_limit());
        if got > max && !mutant!("D14") {
            return Err(ParamsError::EvidenceBytes { got, max });
        }
        if self.validator.pub_key_types.is_empty() {
            return Err(ParamsError::NoKeyType);
        }
        match self.validator.pub_key_types.iter().find(|name| !KEY_TYPES.contains(&name.as_str())) {
            Some(unknown) => Err(ParamsError::UnknownKeyType(unknown.clone())),
            None => Ok(()),
        }
    }

    /// These with an application's changes after block `height`, checked: Update, ValidateBasic, ValidateUpdate.
    pub fn updated(&self, update: &ParamsUpdate, height: Height) -> Result<ConsensusParams, ParamsError> {
        let new = self.merged(update);
        if !mutant!("D18") {
            new.validate()?;
        }
        if let Some(abci) = &update.abci {
            self.abci.check_change(abci, height)?;
        }
        Ok(new)
    }

    /// These with every group present in `update` replaced, unchecked.
    pub fn merged(&self, update: &ParamsUpdate) -> ConsensusParams {
        ConsensusParams {
            block: update.block.unwrap_or(self.block),
            evidence: update.evidence.unwrap_or(self.evidence),
            validator: update.validator.clone().unwrap_or_else(|| self.validator.clone()),
            version: update.version.unwrap_or(self.version),
            abci: update.abci.unwrap_or(self.abci),
        }
    }
}

impl BlockParams {
    /// Most bytes an encoded block may have, whether or not the parameters set a limit.
    pub fn bytes_limit(&self) -> u64 {
        self.max_bytes.unwrap_or(PartSet::BLOCK_BYTES_MAX)
    }
}

impl AbciParams {
    /// The rows of CometBFT's ValidateUpdate, in its order; `height` is the height just executed.
    fn check_change(&self, new: &AbciParams, height: Height) -> Result<(), ParamsError> {
        let in_force = self.vote_extensions_enable_height.filter(|first| *first <= height && !mutant!("D17"));
        if self == new {
            return Ok(());
        }
        match (new.vote_extensions_enable_height, in_force) {
            (None, Some(since)) => Err(ParamsError::ExtensionsInForce { since, what: "switched off" }),
            (None, None) => Ok(()),
            (Some(got), _) if got < height || (got == height && !mutant!("D15")) => {
                Err(ParamsError::ExtensionsInThePast { got, current: height })
            }
            (Some(_), Some(since)) => Err(ParamsError::ExtensionsInForce { since, what: "moved" }),
            (Some(_), None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extensions(first: u64) -> AbciParams {
        AbciParams { vote_extensions_enable_height: (first > 0).then_some(Height::new(first)) }
    }

    #[test]
    fn extensions_can_be_planned_and_replanned_but_not_undone() {
        // (in force before, asked for, height just executed, allowed); bug class 008
        let table = [
            (0, 0, 10, true),
            (12, 12, 10, true),
            (5, 5, 10, true),
            (5, 0, 10, false),
            (12, 0, 10, true),
            (0, 10, 10, false),
            (0, 3, 10, false),
            (0, 11, 10, true),
            (5, 12, 10, false),
            (12, 14, 10, true),
            (12, 11, 10, true),
            (10, 0, 10, false),
        ];
        for (old, new, height, allowed) in table {
            let before = ConsensusParams { abci: extensions(old), ..Default::default() };
            let update = ParamsUpdate { abci: Some(extensions(new)), ..Default::default() };
            let result = before.updated(&update, Height::new(height));
            assert_eq!(result.is_ok(), allowed, "{old} -> {new} at {height}: {result:?}");
        }
    }

    #[test]
    fn extensions_begin_at_the_height_named() {
        let enabled = |height| extensions(5).extensions_enabled(Height::new(height));
        assert_eq!([4, 5, 6].map(enabled), [false, true, true]);
        assert!(!AbciParams::default().extensions_enabled(Height::MAX));
    }

    #[test]
    fn an_update_that_breaks_a_limit_is_refused() {
        let evidence = EvidenceParams { max_age_num_blocks: 0, ..EvidenceParams::default() };
        let update = ParamsUpdate { evidence: Some(evidence), ..ParamsUpdate::default() };
        let result = ConsensusParams::default().updated(&update, Height::new(3));
        assert_eq!(result, Err(ParamsError::EvidenceBlocks));
    }

    #[test]
    fn every_limit_of_the_parameters_is_checked() {
        type Bend = fn(&mut ConsensusParams);
        let legal: [Bend; 5] = [
            |_| {},
            |p| p.block.max_bytes = None,
            |p| p.block.max_bytes = Some(104_857_600),
            |p| p.evidence.max_bytes = 22_020_096,
            |p| p.validator.pub_key_types.push("secp256k1".into()),
        ];
        let illegal: [Bend; 9] = [
            |p| p.block.max_bytes = Some(0),
            |p| p.block.max_bytes = Some(104_857_601),
            |p| p.block.max_gas = Some(u64::MAX),
            |p| p.evidence.max_age_num_blocks = 0,
            |p| p.evidence.max_age_duration = Duration::ZERO,
            |p| p.evidence.max_bytes = 22_020_097,
            |p| (p.block.max_bytes, p.evidence.max_bytes) = (None, 104_857_601),
            |p| p.validator.pub_key_types.clear(),
            |p| p.validator.pub_key_types.push("rsa".into()),
        ];
        let bent = |bend: &Bend| {
            let mut params = ConsensusParams::default();
            bend(&mut params);
            params.validate()
        };
        assert!(legal.iter().all(|bend| bent(bend).is_ok()));
        illegal.iter().enumerate().for_each(|(i, bend)| assert!(bent(bend).is_err(), "case {i}"));
    }

    #[test]
    fn a_group_that_is_missing_stays_as_it_is() {
        let before = ConsensusParams { version: VersionParams { app: 7 }, ..Default::default() };
        let block = BlockParams { max_bytes: Some(1_048_576), max_gas: Some(5) };
        let after = before.merged(&ParamsUpdate { block: Some(block), ..Default::default() });
        assert_eq!(after, ConsensusParams { block, ..before });
    }
}
