//! The genesis document: every field checked, every error with a remedy (reference §2.5, §2.6).

#[cfg(test)]
mod tests;

use super::read::{Object, Place, ReadError, VALIDATORS_MAX};
use super::{Hex, Int, List, Shown, View, to_bytes};
use crate::types::{
    AbciParams, Address, Algorithm, BlockParams, ChainId, ConsensusParams, EvidenceParams, GenesisDoc,
    GenesisValidator, Height, PartSet, Power, ValidatorParams, VersionParams,
};
use bytes::Bytes;
use serde::ser::{SerializeStruct as _, Serializer};
use std::collections::BTreeSet;
use std::time::Duration;

/// Why a genesis document cannot start a chain: the field, what stands there, what should, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}. {remedy}")]
pub struct GenesisError {
    /// Field, value and expectation.
    pub problem: ReadError,
    /// What to do.
    pub remedy: String,
}

const EDIT: &str = "Correct it in the genesis file; every node of the chain needs the same file.";

impl From<ReadError> for GenesisError {
    fn from(problem: ReadError) -> GenesisError {
        GenesisError { problem, remedy: EDIT.to_owned() }
    }
}

fn with_remedy(problem: ReadError, remedy: &str) -> GenesisError {
    GenesisError { problem, remedy: format!("{remedy} {EDIT}") }
}

/// Reads and checks a genesis document. Missing consensus parameters are CometBFT's defaults, `initial_height` "0" or
/// missing is 1, `app_state` is kept byte for byte.
pub fn parse(bytes: &[u8]) -> Result<GenesisDoc, GenesisError> {
    let document = Place::document("genesis", bytes)?.object()?;
    let chain_id = document.at("chain_id");
    let name = chain_id.text("a text of 1 to 50 bytes")?;
    let time = document.at("genesis_time");
    let missing = "Every node must start from the same time: set it to the moment the chain was defined.";
    let app_state =
        document.at("app_state").raw().map_or_else(Bytes::new, |raw| Bytes::copy_from_slice(raw.as_bytes()));
    let initial_height = document.at("initial_height").int64(0..=GenesisDoc::INITIAL_HEIGHT_MAX as i64, Some(0))?;
    Ok(GenesisDoc {
        genesis_time: time.time().map_err(|problem| with_remedy(problem, missing))?,
        chain_id: ChainId::try_from(name.as_str()).map_err(|_| chain_id.wrong("a text of 1 to 50 bytes"))?,
        initial_height: height(initial_height.max(1)),
        consensus_params: params(&document.at("consensus_params"))?,
        validators: validators(&document.at("validators"))?,
        app_hash: document.at("app_hash").hex()?.into(),
        app_state,
        algorithm: read_algorithm(&document)?,
    })
}

fn read_algorithm(document: &Object<'_>) -> Result<Algorithm, GenesisError> {
    let place = document.at("algorithm");
    if !place.is_present() {
        return Ok(Algorithm::Tendermint);
    }
    let name = place.text("tendermint, pbft or raft")?;
    Ok(Algorithm::from_name(&name).ok_or_else(|| place.wrong("tendermint, pbft or raft"))?)
}

/// The document as CometBFT writes it, indented by two spaces. `app_state` stays as it is.
pub fn render(document: &GenesisDoc) -> Vec<u8> {
    let compact = to_bytes(&View(document));
    let mut bytes = Vec::with_capacity(compact.len() * 2);
    indent(&compact, document.app_state.len(), &mut bytes);
    bytes
}

impl serde::Serialize for View<'_, GenesisDoc> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = self.0;
        let mut fields = serializer.serialize_struct("GenesisDoc", 7)?;
        fields.serialize_field("genesis_time", &Shown(&document.genesis_time))?;
        fields.serialize_field("chain_id", document.chain_id.as_str())?;
        fields.serialize_field("initial_height", &Int(document.initial_height))?;
        fields.serialize_field("consensus_params", &View(&document.consensus_params))?;
        if !document.validators.is_empty() {
            fields.serialize_field("validators", &List(&document.validators))?;
        }
        fields.serialize_field("app_hash", &Hex(&document.app_hash))?;
        if document.algorithm != Algorithm::Tendermint {
            fields.serialize_field("algorithm", document.algorithm.name())?;
        }
        if !document.app_state.is_empty() {
            let text = std::str::from_utf8(&document.app_state).map_err(serde::ser::Error::custom)?;
            let raw: &serde_json::value::RawValue = serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
            fields.serialize_field("app_state", raw)?;
        }
        fields.end()
    }
}

/// Indents compact JSON as Go does, but leaves the last `verbatim` bytes before the final brace as they are.
fn indent(compact: &[u8], verbatim: usize, out: &mut Vec<u8>) {
    let (head, tail) = compact.split_at(compact.len().saturating_sub(verbatim + 1));
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let line = |depth: usize, out: &mut Vec<u8>| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', 2 * depth));
    };
    for (index, &byte) in head.iter().enumerate() {
        if in_text {
            out.push(byte);
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        let empty_follows = matches!((byte, head.get(index + 1)), (b'{', Some(b'}')) | (b'[', Some(b']')));
        let was_empty =
            matches!((index.checked_sub(1).and_then(|i| head.get(i)), byte), (Some(b'{'), b'}') | (Some(b'['), b']'));
        match byte {
            b'{' | b'[' => {
                out.push(byte);
                depth += usize::from(!empty_follows);
                if !empty_follows {
                    line(depth, out);
                }
            }
            b'}' | b']' => {
                if !was_empty {
                    depth = depth.saturating_sub(1);
                    line(depth, out);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(depth, out);
            }
            b':' => out.extend_from_slice(b": "),
            _ => {
                in_text = byte == b'"';
                out.push(byte);
            }
        }
    }
    let (verbatim, brace) = tail.split_at(tail.len().saturating_sub(1));
    out.extend_from_slice(verbatim);
    line(0, out);
    out.extend_from_slice(brace);
}

fn height(number: i64) -> Height {
    Height::try_from(number).unwrap_or(Height::FIRST)
}

fn limit(
    place: &Place<'_>,
    range: std::ops::RangeInclusive<i64>,
    default: Option<i64>,
) -> Result<Option<u64>, ReadError> {
    Ok(u64::try_from(place.int64(range, default)?).ok())
}

fn params(place: &Place<'_>) -> Result<ConsensusParams, GenesisError> {
    if !place.is_present() {
        return Ok(ConsensusParams::default());
    }
    let groups = place.object()?;
    let params = ConsensusParams {
        block: block_params(&groups.at("block").object()?)?,
        evidence: evidence_params(&groups.at("evidence").object()?)?,
        validator: validator_params(&groups.at("validator").object()?)?,
        version: VersionParams {
            app: limit(&optional(&groups, "version", "app")?, 0..=i64::MAX, Some(0))?.unwrap_or(0),
        },
        abci: AbciParams {
            vote_extensions_enable_height: match optional(&groups, "abci", "vote_extensions_enable_height")?
                .int64(0..=i64::MAX, Some(0))?
            {
                0 => None,
                first => Some(height(first)),
            },
        },
    };
    params.validate().map_err(|why| GenesisError::from(place.wrong(format!("valid parameters: {why}"))))?;
    Ok(params)
}

/// A field of a group that may be missing altogether.
fn optional<'a>(groups: &Object<'a>, group: &str, field: &str) -> Result<Place<'a>, ReadError> {
    let place = groups.at(group);
    if place.is_present() { Ok(place.object()?.at(field)) } else { Ok(place) }
}

fn block_params(group: &Object<'_>) -> Result<BlockParams, ReadError> {
    let max_bytes = group.at("max_bytes");
    let limit_bytes = limit(&max_bytes, -1..=PartSet::BLOCK_BYTES_MAX as i64, None)?;
    if limit_bytes == Some(0) {
        return Err(max_bytes.wrong(format!("\"-1\" (no limit) or \"1\" to \"{}\"", PartSet::BLOCK_BYTES_MAX)));
    }
    Ok(BlockParams { max_bytes: limit_bytes, max_gas: limit(&group.at("max_gas"), -1..=i64::MAX, Some(0))? })
}

fn evidence_params(group: &Object<'_>) -> Result<EvidenceParams, ReadError> {
    let nanos = group.at("max_age_duration").int64(1..=i64::MAX, None)?;
    Ok(EvidenceParams {
        max_age_num_blocks: group.at("max_age_num_blocks").int64(1..=i64::MAX, None)?.unsigned_abs(),
        max_age_duration: Duration::from_nanos(nanos.unsigned_abs()),
        max_bytes: group.at("max_bytes").int64(0..=PartSet::BLOCK_BYTES_MAX as i64, Some(0))?.unsigned_abs(),
    })
}

/// Most key types a chain may allow.
const KEY_TYPES_MAX: usize = 16;

fn validator_params(group: &Object<'_>) -> Result<ValidatorParams, ReadError> {
    let types = group.at("pub_key_types");
    let names = types.list(KEY_TYPES_MAX)?;
    if names.is_empty() {
        return Err(types.wrong("a list of key types, as [\"ed25519\"]"));
    }
    let pub_key_types =
        names.iter().map(|name| name.text("the name of a key type, as \"ed25519\"")).collect::<Result<_, _>>()?;
    Ok(ValidatorParams { pub_key_types })
}

fn validators(place: &Place<'_>) -> Result<Vec<GenesisValidator>, GenesisError> {
    let mut seen: BTreeSet<Address> = BTreeSet::new();
    let mut total = 0_u128;
    let mut validators = Vec::new();
    for item in place.list(VALIDATORS_MAX)? {
        let validator = validator(&item)?;
        if !seen.insert(validator.address) {
            let problem = item.wrong(format!("each validator once; {} stands there already", validator.address));
            return Err(with_remedy(problem, "Remove one of the two."));
        }
        total += u128::from(validator.power.get());
        validators.push(validator);
    }
    if total > u128::from(Power::TOTAL_MAX.get()) {
        return Err(place.wrong(format!("a total power of at most {}, not {total}", Power::TOTAL_MAX)).into());
    }
    Ok(validators)
}

fn validator(place: &Place<'_>) -> Result<GenesisValidator, GenesisError> {
    let object = place.object()?;
    let public_key = object.at("pub_key").public_key()?;
    let derived = Address::from(&public_key);
    let address = object.at("address");
    if !address.hex()?.is_empty() && address.address()? != derived {
        let problem = address.wrong(format!("{derived}, the address of its pub_key"));
        return Err(with_remedy(problem, "Leave address out to have it derived, or correct the key."));
    }
    let power = object.at("power");
    let remove = "A validator without power takes no part: remove it or give it power.";
    let amount = power.int64(1..=Power::TOTAL_MAX.as_i64(), None).map_err(|problem| with_remedy(problem, remove))?;
    let name = object.at("name");
    Ok(GenesisValidator {
        address: derived,
        public_key,
        power: Power::new(amount.unsigned_abs()),
        name: if name.is_present() { name.text("a text")? } else { String::new() },
    })
}
