//! Consensus parameters: what all replicas must agree on (reference §2.6). Defaults are CometBFT v0.38's.

use super::Height;
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
        self.vote_extensions_enable_height.is_some_and(|first| height >= first)
    }
}
