//! Consensus parameters, whole and as changes. "No limit" travels as −1, "off" as 0.

use super::DecodeError;
use super::protobuf::{Fields, Message, Writer, build};
use crate::crypto::{Hash, sha256};
use crate::types::{
    AbciParams, BlockParams, ConsensusParams, EvidenceParams, Height, ParamsUpdate, ValidatorParams, VersionParams,
};
use std::time::Duration;

/// A limit as it travels.
pub(super) fn limit_number(limit: Option<u64>) -> i64 {
    limit.map_or(-1, |limit| limit as i64)
}

fn read_limit(m: &Fields<'_>, field: u32, name: &'static str) -> Result<Option<u64>, DecodeError> {
    match m.int(field, name)? {
        -1 => Ok(None),
        limit => u64::try_from(limit)
            .map(Some)
            .map_err(|_| DecodeError::at(name, format_args!("is {limit}, must be -1 (no limit) or 0 and more"))),
    }
}

impl Message for BlockParams {
    const NAME: &'static str = "BlockParams";

    fn write(&self, w: &mut Writer<'_>) {
        w.int(1, limit_number(self.max_bytes));
        w.int(2, limit_number(self.max_gas));
    }

    fn read(m: &Fields<'_>) -> Result<BlockParams, DecodeError> {
        Ok(BlockParams { max_bytes: read_limit(m, 1, "max_bytes")?, max_gas: read_limit(m, 2, "max_gas")? })
    }
}

impl Message for EvidenceParams {
    const NAME: &'static str = "EvidenceParams";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, self.max_age_num_blocks);
        w.message(2, &self.max_age_duration);
        w.uint(3, self.max_bytes);
    }

    fn read(m: &Fields<'_>) -> Result<EvidenceParams, DecodeError> {
        Ok(EvidenceParams {
            max_age_num_blocks: m.number(1, "max_age_num_blocks")?,
            max_age_duration: m.optional(2, "max_age_duration")?.unwrap_or(Duration::ZERO),
            max_bytes: m.number(3, "max_bytes")?,
        })
    }
}

impl Message for ValidatorParams {
    const NAME: &'static str = "ValidatorParams";

    fn write(&self, w: &mut Writer<'_>) {
        self.pub_key_types.iter().for_each(|name| w.element(1, name.as_bytes()));
    }

    fn read(m: &Fields<'_>) -> Result<ValidatorParams, DecodeError> {
        Ok(ValidatorParams { pub_key_types: m.repeated_text(1, "pub_key_types")? })
    }
}

impl Message for VersionParams {
    const NAME: &'static str = "VersionParams";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, self.app);
    }

    fn read(m: &Fields<'_>) -> Result<VersionParams, DecodeError> {
        Ok(VersionParams { app: m.uint(1, "app")? })
    }
}

impl Message for AbciParams {
    const NAME: &'static str = "ABCIParams";

    fn write(&self, w: &mut Writer<'_>) {
        w.int(1, self.vote_extensions_enable_height.map_or(0, Height::as_i64));
    }

    fn read(m: &Fields<'_>) -> Result<AbciParams, DecodeError> {
        let height: Height = m.number(1, "vote_extensions_enable_height")?;
        Ok(AbciParams { vote_extensions_enable_height: (height > Height::ZERO).then_some(height) })
    }
}

impl Message for ConsensusParams {
    const NAME: &'static str = "ConsensusParams";

    fn write(&self, w: &mut Writer<'_>) {
        w.message(1, &self.block);
        w.message(2, &self.evidence);
        w.message(3, &self.validator);
        w.message(4, &self.version);
        w.message(5, &self.abci);
    }

    fn read(m: &Fields<'_>) -> Result<ConsensusParams, DecodeError> {
        Ok(ConsensusParams {
            block: m.required(1, "block")?,
            evidence: m.required(2, "evidence")?,
            validator: m.required(3, "validator")?,
            version: m.present(4, "version", VersionParams::read)?,
            abci: m.present(5, "abci", AbciParams::read)?,
        })
    }
}

impl ConsensusParams {
    /// `consensus_hash` of headers. Only the two block limits are part of it (reference §4.4).
    pub fn hash(&self) -> Hash {
        sha256(&build(|w| {
            w.int(1, limit_number(self.block.max_bytes));
            if !mutant!("C21") {
                w.int(2, limit_number(self.block.max_gas));
            }
        }))
    }
}

impl Message for ParamsUpdate {
    const NAME: &'static str = "ConsensusParams";

    fn write(&self, w: &mut Writer<'_>) {
        self.block.iter().for_each(|group| w.message(1, group));
        self.evidence.iter().for_each(|group| w.message(2, group));
        self.validator.iter().for_each(|group| w.message(3, group));
        self.version.iter().for_each(|group| w.message(4, group));
        self.abci.iter().for_each(|group| w.message(5, group));
    }

    fn read(m: &Fields<'_>) -> Result<ParamsUpdate, DecodeError> {
        Ok(ParamsUpdate {
            block: m.optional(1, "block")?,
            evidence: m.optional(2, "evidence")?,
            validator: m.optional(3, "validator")?,
            version: m.optional(4, "version")?,
            abci: m.optional(5, "abci")?,
        })
    }
}
