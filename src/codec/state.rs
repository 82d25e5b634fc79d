//! Values of the state and block databases, as CometBFT stores them (reference §6.10).

use super::DecodeError;
use super::protobuf::{Fields, Message, Writer};
use crate::crypto::Hash;
use crate::types::abci::FinalizeBlockResponse;
use crate::types::{Algorithm, ChainState, ConsensusParams, Height, ValidatorSet, Version};
use std::sync::Arc;

/// The software version a state names: the release of CometBFT whose bytes these are.
const SOFTWARE: &str = "0.38.25";

impl Message for ChainState {
    const NAME: &'static str = "State";

    fn write(&self, w: &mut Writer<'_>) {
        w.nested(1, |w| {
            w.message(1, &self.version);
            w.bytes(2, SOFTWARE.as_bytes());
        });
        w.bytes(2, self.chain_id.as_str().as_bytes());
        w.int(3, self.last_block_height.as_i64());
        w.block_id_or_nil(4, self.last_block_id.as_ref());
        w.message(5, &self.last_block_time);
        w.message(6, self.next_validators.as_ref());
        w.message(7, self.validators.as_ref());
        self.last_validators.iter().for_each(|set| w.message(8, set.as_ref()));
        w.int(9, self.last_height_validators_changed.as_i64());
        w.message(10, self.consensus_params.as_ref());
        w.int(11, self.last_height_consensus_params_changed.as_i64());
        w.bytes(12, self.last_results_hash.as_ref());
        w.bytes(13, &self.app_hash);
        w.int(14, self.initial_height.as_i64());
        if self.algorithm != Algorithm::Tendermint {
            w.bytes(ALGORITHM_FIELD, self.algorithm.name().as_bytes());
        }
    }

    fn read(m: &Fields<'_>) -> Result<ChainState, DecodeError> {
        let version = |m: &Fields<'_>| m.present(1, "consensus", Version::read);
        let last_block_height: Height = m.number(3, "last_block_height")?;
        Ok(ChainState {
            version: m.present(1, "version", version)?,
            chain_id: m.chain_id(2, "chain_id")?,
            last_block_height,
            last_block_id: m.block_id_or_nil(4, "last_block_id")?,
            last_block_time: m.time(5, "last_block_time")?,
            next_validators: Arc::new(m.required(6, "next_validators")?),
            validators: Arc::new(m.required(7, "validators")?),
            last_validators: m.nested(8, "last_validators", read_last_validators)?.flatten().map(Arc::new),
            last_height_validators_changed: m.number(9, "last_height_validators_changed")?,
            consensus_params: Arc::new(m.required(10, "consensus_params")?),
            last_height_consensus_params_changed: m.number(11, "last_height_consensus_params_changed")?,
            // A state before its first handshake has none in CometBFT; the handshake makes it the hash of nothing.
            last_results_hash: m.exact_or_empty(12, "last_results_hash")?.unwrap_or(Hash::EMPTY),
            app_hash: m.bytes(13, "app_hash")?,
            initial_height: m.number(14, "initial_height")?,
            algorithm: read_algorithm(m)?,
        })
    }
}

/// CometBFT knows one protocol and has no field for it; it skips ours.
const ALGORITHM_FIELD: u32 = 20;

fn read_algorithm(m: &Fields<'_>) -> Result<Algorithm, DecodeError> {
    let name = m.text(ALGORITHM_FIELD, "algorithm")?;
    if name.is_empty() {
        return Ok(Algorithm::Tendermint);
    }
    Algorithm::from_name(&name)
        .ok_or_else(|| DecodeError::at("algorithm", format!("must be tendermint, pbft or raft, got {name:?}")))
}

/// Before the first block CometBFT leaves this set out or writes it without members.
fn read_last_validators(m: &Fields<'_>) -> Result<Option<ValidatorSet>, DecodeError> {
    if m.has(1) { ValidatorSet::read(m).map(Some) } else { Ok(None) }
}

/// The set of one height, or where to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorsInfo {
    /// The set; none when it is the one of `last_height_changed`, advanced since then.
    pub validators: Option<ValidatorSet>,
    /// The height from which the set has these members.
    pub last_height_changed: Height,
}

impl Message for ValidatorsInfo {
    const NAME: &'static str = "ValidatorsInfo";

    fn write(&self, w: &mut Writer<'_>) {
        self.validators.iter().for_each(|set| w.message(1, set));
        w.int(2, self.last_height_changed.as_i64());
    }

    fn read(m: &Fields<'_>) -> Result<ValidatorsInfo, DecodeError> {
        let validators = m.optional(1, "validator_set")?;
        Ok(ValidatorsInfo { validators, last_height_changed: m.number(2, "last_height_changed")? })
    }
}

/// The parameters of one height, or where to find them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsensusParamsInfo {
    /// The parameters; none (written as an empty message) when they are those of `last_height_changed`.
    pub params: Option<ConsensusParams>,
    /// The height from which they hold.
    pub last_height_changed: Height,
}

impl Message for ConsensusParamsInfo {
    const NAME: &'static str = "ConsensusParamsInfo";

    fn write(&self, w: &mut Writer<'_>) {
        match &self.params {
            Some(params) => w.message(1, params),
            None => w.nested(1, |_| ()),
        }
        w.int(2, self.last_height_changed.as_i64());
    }

    fn read(m: &Fields<'_>) -> Result<ConsensusParamsInfo, DecodeError> {
        let params = |m: &Fields<'_>| if m.has(1) { ConsensusParams::read(m).map(Some) } else { Ok(None) };
        Ok(ConsensusParamsInfo {
            params: m.nested(1, "consensus_params", params)?.flatten(),
            last_height_changed: m.number(2, "last_height_changed")?,
        })
    }
}

/// Which heights the block store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockStoreState {
    /// The lowest.
    pub base: Height,
    /// The highest.
    pub height: Height,
}

impl Message for BlockStoreState {
    const NAME: &'static str = "BlockStoreState";

    fn write(&self, w: &mut Writer<'_>) {
        w.int(1, self.base.as_i64());
        w.int(2, self.height.as_i64());
    }

    fn read(m: &Fields<'_>) -> Result<BlockStoreState, DecodeError> {
        Ok(BlockStoreState { base: m.number(1, "base")?, height: m.number(2, "height")? })
    }
}

/// The last answer to FinalizeBlock and its height.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbciResponsesInfo {
    /// The height it is for.
    pub height: Height,
    /// The answer.
    pub response: FinalizeBlockResponse,
}

impl Message for AbciResponsesInfo {
    const NAME: &'static str = "ABCIResponsesInfo";

    fn write(&self, w: &mut Writer<'_>) {
        w.int(2, self.height.as_i64());
        w.message(3, &self.response);
    }

    fn read(m: &Fields<'_>) -> Result<AbciResponsesInfo, DecodeError> {
        Ok(AbciResponsesInfo { height: m.number(2, "height")?, response: m.required(3, "response_finalize_block")? })
    }
}

encodings!(ValidatorsInfo, ConsensusParamsInfo, BlockStoreState, AbciResponsesInfo);
