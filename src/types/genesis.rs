//! What a chain starts from.

use super::{Address, Algorithm, ChainId, ConsensusParams, Height, Power, Time};
use crate::crypto::PublicKey;
use bytes::Bytes;

/// A validator named in the genesis file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisValidator {
    /// Derived from the key.
    pub address: Address,
    /// Its key.
    pub public_key: PublicKey,
    /// At least 1.
    pub power: Power,
    /// For people.
    pub name: String,
}

impl GenesisValidator {
    /// Power of each validator where nobody chose one, and all are equal. CometBFT's `init` gives 10, its `testnet` 1; but
    /// CometBFT rounds the median of a commit down, and with 1 each less than a third of the validators can stop the chain
    /// for good by the times they sign (docs/DIVERGENCES.md). With equal powers from 2 on they can not.
    pub const USUAL_POWER: Power = Power::new(10);
}

impl GenesisDoc {
    /// The greatest height a chain may begin at: 2^62. The heights that follow must fit 63 bits, and nobody gets from
    /// here to there.
    pub const INITIAL_HEIGHT_MAX: u64 = 1 << 62;
}

/// The genesis document, checked. Read and written as JSON by `codec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenesisDoc {
    /// The time of the first block.
    pub genesis_time: Time,
    /// The chain's name.
    pub chain_id: ChainId,
    /// Height of the first block, at least 1.
    pub initial_height: Height,
    /// Parameters of the first block.
    pub consensus_params: ConsensusParams,
    /// May be empty when the application names the set in InitChain.
    pub validators: Vec<GenesisValidator>,
    /// The application's hash before the first block.
    pub app_hash: Bytes,
    /// Handed to InitChain byte for byte; empty when the file has none.
    pub app_state: Bytes,
    /// The protocol that decides the first block; CometBFT knows one and has no field for it.
    pub algorithm: Algorithm,
}
