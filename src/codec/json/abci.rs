//! What applications answer. CometBFT writes most of it through protobuf's JSON with every field (here: [`View`]), but
//! some places through its own with empty fields left out ([`Sparse`]) (reference §8.4).

use super::chain::{Tagged, shape};
use super::scalar::Base64Text;
use super::{Base64, Int, List, ListOrNull, View};
use crate::types::abci::{
    CheckTxResponse, Event, EventAttribute, ExecTxResult, FinalizeBlockResponse, InfoResponse, ProofOp, QueryResponse,
    TxResult,
};
use crate::types::{Height, ParamsUpdate, ValidatorUpdate};
use serde::Serialize;
use serde::ser::Serializer;

/// A value with its empty fields left out.
#[derive(Debug)]
pub struct Sparse<'a, T: ?Sized>(pub &'a T);

shape!(EventAttribute, attribute => {
    "key": attribute.key.as_str(),
    "value": attribute.value.as_str(),
    "index": attribute.index,
});

shape!(Event, event => { "type": event.kind.as_str(), "attributes": List(&event.attributes) });

shape!(ExecTxResult, result => {
    "code": result.code,
    "data": Base64(&result.data),
    "log": result.log.as_str(),
    "info": result.info.as_str(),
    "gas_wanted": Int(result.gas_wanted),
    "gas_used": Int(result.gas_used),
    "events": List(&result.events),
    "codespace": result.codespace.as_str(),
});

shape!(CheckTxResponse, response => {
    "code": response.code,
    "data": Base64(&response.data),
    "log": response.log.as_str(),
    "info": response.info.as_str(),
    "gas_wanted": Int(response.gas_wanted),
    "gas_used": Int(response.gas_used),
    "events": List(&response.events),
    "codespace": response.codespace.as_str(),
});

shape!(ProofOp, op => { "type": op.kind.as_str(), "key": Base64(&op.key), "data": Base64(&op.data) });

#[derive(Serialize)]
struct ProofOps<'a> {
    ops: List<'a, ProofOp>,
}

shape!(QueryResponse, response => {
    "code": response.code,
    "log": response.log.as_str(),
    "info": response.info.as_str(),
    "index": Int(response.index),
    "key": Base64(&response.key),
    "value": Base64(&response.value),
    "proofOps": response.proof_ops.as_ref().map(|ops| ProofOps { ops: List(ops) }),
    "height": Int(response.height),
    "codespace": response.codespace.as_str(),
});

/// Skips a field that Go leaves out.
fn filled(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn filled_bytes(bytes: &[u8]) -> Option<Base64Text<'_>> {
    (!bytes.is_empty()).then_some(Base64Text(bytes))
}

fn nonzero(number: i64) -> Option<Int<i64>> {
    (number != 0).then_some(Int(number))
}

fn filled_list<T>(items: &[T]) -> Option<List<'_, T>> {
    (!items.is_empty()).then_some(List(items))
}

pub(super) fn sparse_events(events: &[Event]) -> Option<Vec<Sparse<'_, Event>>> {
    (!events.is_empty()).then(|| events.iter().map(Sparse).collect())
}

impl Serialize for Sparse<'_, Event> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
            kind: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            attributes: Option<List<'a, EventAttribute>>,
        }
        Shape { kind: filled(&self.0.kind), attributes: filled_list(&self.0.attributes) }.serialize(serializer)
    }
}

impl Serialize for Sparse<'_, ExecTxResult> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            code: Option<u32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<Base64Text<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            log: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            info: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            gas_wanted: Option<Int<i64>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            gas_used: Option<Int<i64>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            events: Option<Vec<Sparse<'a, Event>>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            codespace: Option<&'a str>,
        }
        let result = self.0;
        Shape {
            code: (result.code != 0).then_some(result.code),
            data: filled_bytes(&result.data),
            log: filled(&result.log),
            info: filled(&result.info),
            gas_wanted: nonzero(result.gas_wanted),
            gas_used: nonzero(result.gas_used),
            events: sparse_events(&result.events),
            codespace: filled(&result.codespace),
        }
        .serialize(serializer)
    }
}

impl Serialize for Sparse<'_, TxResult> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            height: Option<Int<Height>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            index: Option<u32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            tx: Option<Base64Text<'a>>,
            result: Sparse<'a, ExecTxResult>,
        }
        Shape {
            height: (self.0.height != Height::ZERO).then_some(Int(self.0.height)),
            index: (self.0.index != 0).then_some(self.0.index),
            tx: filled_bytes(&self.0.tx),
            result: Sparse(&self.0.result),
        }
        .serialize(serializer)
    }
}

impl Serialize for Sparse<'_, InfoResponse> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            data: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            version: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            app_version: Option<Int<u64>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            last_block_height: Option<Int<i64>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            last_block_app_hash: Option<Base64Text<'a>>,
        }
        let info = self.0;
        Shape {
            data: filled(&info.data),
            version: filled(&info.version),
            app_version: (info.app_version != 0).then_some(Int(info.app_version)),
            last_block_height: nonzero(info.last_block_height),
            last_block_app_hash: filled_bytes(&info.last_block_app_hash),
        }
        .serialize(serializer)
    }
}

/// The key stands in the Go wrapper of a protobuf oneof; power 0 is left out.
impl Serialize for View<'_, ValidatorUpdate> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Ed25519<'a> {
            ed25519: Base64<'a>,
        }
        #[derive(Serialize)]
        struct Key<'a> {
            #[serde(rename = "Sum")]
            sum: Tagged<Ed25519<'a>>,
        }
        #[derive(Serialize)]
        struct Shape<'a> {
            pub_key: Key<'a>,
            #[serde(skip_serializing_if = "Option::is_none")]
            power: Option<Int<i64>>,
        }
        let value = Ed25519 { ed25519: Base64(self.0.public_key.as_bytes()) };
        let pub_key = Key { sum: Tagged { tag: "tendermint.crypto.PublicKey_Ed25519", value } };
        Shape { pub_key, power: nonzero(self.0.power.as_i64()) }.serialize(serializer)
    }
}

/// Only the groups that change, without their zero fields.
impl Serialize for Sparse<'_, ParamsUpdate> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let update = self.0;
        let mut groups = serializer.serialize_map(None)?;
        let limit = |value: Option<u64>| value.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
        let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        if let Some(block) = &update.block {
            groups.serialize_entry(
                "block",
                &Numbers(&[("max_bytes", limit(block.max_bytes)), ("max_gas", limit(block.max_gas))]),
            )?;
        }
        if let Some(evidence) = &update.evidence {
            let nanos = i64::try_from(evidence.max_age_duration.as_nanos()).unwrap_or(i64::MAX);
            let blocks = count(evidence.max_age_num_blocks);
            let fields =
                [("max_age_num_blocks", blocks), ("max_age_duration", nanos), ("max_bytes", count(evidence.max_bytes))];
            groups.serialize_entry("evidence", &Numbers(&fields))?;
        }
        if let Some(validator) = &update.validator {
            #[derive(Serialize)]
            struct Types<'a> {
                #[serde(skip_serializing_if = "<[String]>::is_empty")]
                pub_key_types: &'a [String],
            }
            groups.serialize_entry("validator", &Types { pub_key_types: &validator.pub_key_types })?;
        }
        if let Some(version) = &update.version {
            groups.serialize_entry("version", &Numbers(&[("app", count(version.app))]))?;
        }
        if let Some(abci) = &update.abci {
            let height = abci.vote_extensions_enable_height.map_or(0, Height::as_i64);
            groups.serialize_entry("abci", &Numbers(&[("vote_extensions_enable_height", height)]))?;
        }
        groups.end()
    }
}

/// Named 64-bit numbers without the zeros.
struct Numbers<'a>(&'a [(&'static str, i64)]);

impl Serialize for Numbers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().filter(|(_, n)| *n != 0).map(|(name, n)| (*name, Int(*n))))
    }
}

/// As the event NewBlock carries it.
impl Serialize for Sparse<'_, FinalizeBlockResponse> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            events: Option<Vec<Sparse<'a, Event>>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            tx_results: Option<List<'a, ExecTxResult>>,
            validator_updates: List<'a, ValidatorUpdate>,
            #[serde(skip_serializing_if = "Option::is_none")]
            consensus_param_updates: Option<Sparse<'a, ParamsUpdate>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            app_hash: Option<Base64Text<'a>>,
        }
        Shape {
            events: sparse_events(&self.0.events),
            tx_results: filled_list(&self.0.tx_results),
            validator_updates: List(&self.0.validator_updates),
            consensus_param_updates: self.0.consensus_param_updates.as_ref().map(Sparse),
            app_hash: filled_bytes(&self.0.app_hash),
        }
        .serialize(serializer)
    }
}

/// `block_results`: a height and what the application answered for it.
#[derive(Debug)]
pub struct BlockResults<'a>(pub Height, pub &'a FinalizeBlockResponse);

impl Serialize for BlockResults<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            height: Int<Height>,
            txs_results: ListOrNull<'a, ExecTxResult>,
            finalize_block_events: Option<Vec<Sparse<'a, Event>>>,
            validator_updates: ListOrNull<'a, ValidatorUpdate>,
            consensus_param_updates: Option<Sparse<'a, ParamsUpdate>>,
            app_hash: Base64<'a>,
        }
        Shape {
            height: Int(self.0),
            txs_results: ListOrNull(&self.1.tx_results),
            finalize_block_events: sparse_events(&self.1.events),
            validator_updates: ListOrNull(&self.1.validator_updates),
            consensus_param_updates: self.1.consensus_param_updates.as_ref().map(Sparse),
            app_hash: Base64(&self.1.app_hash),
        }
        .serialize(serializer)
    }
}
