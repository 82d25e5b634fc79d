//! Answers of two instances, or of one in two lives, held against each other: field by field, transaction by
//! transaction.
//!
//! What differs in `code`, `data`, `gas_wanted` or `gas_used` of a result, in `validator_updates`,
//! `consensus_param_updates` or `app_hash` stops a chain (reference §2.9: the results hash covers the first four). What
//! differs in `log`, `info`, `events` and `codespace` does not; it is worth a remark.

use super::finding::Place;
use crate::types::ValidatorUpdate;
use crate::types::abci::{ExecTxResult, FinalizeBlockResponse, InitChainResponse};
use bytes::Bytes;
use std::fmt::Debug;

/// Longest value shown of a field, in characters.
const SHOWN_MAX: usize = 100;

/// A field that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub place: Place,
    /// Which field, as ABCI names it.
    pub field: &'static str,
    /// The first answer's.
    pub one: String,
    /// The second answer's.
    pub other: String,
}

impl Difference {
    /// Which field of what: `transaction 2: data`, `app_hash`.
    pub fn name(&self) -> String {
        match &self.place {
            Place::Block => self.field.to_owned(),
            Place::Tx { index, .. } => format!("transaction {index}: {}", self.field),
        }
    }
}

/// What differs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Differences {
    /// Stops a chain. What is nearest to the cause stands first: results before what follows from them.
    pub grave: Vec<Difference>,
    /// Stops nothing.
    pub slight: Vec<Difference>,
}

impl Differences {
    fn check<T: PartialEq>(
        list: &mut Vec<Difference>,
        place: &Place,
        field: &'static str,
        pair: (&T, &T),
        show: impl Fn(&T) -> String,
    ) {
        if pair.0 != pair.1 {
            let (one, other) = (show(pair.0), show(pair.1));
            list.push(Difference { place: place.clone(), field, one, other });
        }
    }
}

/// Two answers to FinalizeBlock of the block with these transactions.
pub fn finalize_block(txs: &[Bytes], one: &FinalizeBlockResponse, other: &FinalizeBlockResponse) -> Differences {
    let mut found = Differences::default();
    let counts = (&one.tx_results.len(), &other.tx_results.len());
    Differences::check(&mut found.grave, &Place::Block, "the number of tx_results", counts, ToString::to_string);
    for (index, (tx, (one, other))) in txs.iter().zip(one.tx_results.iter().zip(&other.tx_results)).enumerate() {
        result(&mut found, &Place::Tx { index, tx: tx.clone() }, one, other);
    }
    validators(&mut found, &one.validator_updates, &other.validator_updates);
    let params = (&one.consensus_param_updates, &other.consensus_param_updates);
    Differences::check(&mut found.grave, &Place::Block, "consensus_param_updates", params, debug);
    Differences::check(&mut found.grave, &Place::Block, "app_hash", (&one.app_hash, &other.app_hash), brief);
    Differences::check(&mut found.slight, &Place::Block, "events", (&one.events, &other.events), debug);
    found
}

/// Two answers to InitChain.
pub fn init_chain(one: &InitChainResponse, other: &InitChainResponse) -> Differences {
    let mut found = Differences::default();
    validators(&mut found, &one.validators, &other.validators);
    let params = (&one.consensus_params, &other.consensus_params);
    Differences::check(&mut found.grave, &Place::Block, "consensus_params", params, debug);
    Differences::check(&mut found.grave, &Place::Block, "app_hash", (&one.app_hash, &other.app_hash), brief);
    found
}

fn result(found: &mut Differences, place: &Place, one: &ExecTxResult, other: &ExecTxResult) {
    let grave = &mut found.grave;
    Differences::check(grave, place, "code", (&one.code, &other.code), ToString::to_string);
    Differences::check(grave, place, "data", (&one.data, &other.data), brief);
    Differences::check(grave, place, "gas_wanted", (&one.gas_wanted, &other.gas_wanted), ToString::to_string);
    Differences::check(grave, place, "gas_used", (&one.gas_used, &other.gas_used), ToString::to_string);
    let slight = &mut found.slight;
    Differences::check(slight, place, "events", (&one.events, &other.events), debug);
    Differences::check(slight, place, "log", (&one.log, &other.log), debug);
    Differences::check(slight, place, "info", (&one.info, &other.info), debug);
    Differences::check(slight, place, "codespace", (&one.codespace, &other.codespace), debug);
}

/// The set they lead to is the same in any order.
fn validators(found: &mut Differences, one: &[ValidatorUpdate], other: &[ValidatorUpdate]) {
    let sorted = |updates: &[ValidatorUpdate]| {
        let mut pairs: Vec<_> = updates.iter().map(|update| (update.public_key, update.power)).collect();
        pairs.sort();
        pairs
    };
    let show = |pairs: &Vec<_>| debug(pairs);
    if sorted(one) == sorted(other) {
        let pair = (&one.to_vec(), &other.to_vec());
        Differences::check(&mut found.slight, &Place::Block, "the order of validator_updates", pair, debug);
    } else {
        let pair = (&sorted(one), &sorted(other));
        Differences::check(&mut found.grave, &Place::Block, "validator_updates", pair, show);
    }
}

/// Bytes as they are shown: their beginning in hexadecimal digits.
pub fn brief(bytes: &Bytes) -> String {
    match bytes.len() {
        0 => "empty".to_owned(),
        1..=32 => format!("0x{}", hex::encode(bytes)),
        len => format!("0x{}… ({len} bytes)", hex::encode(&bytes[..32])),
    }
}

fn debug(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    let cut: String = text.chars().take(SHOWN_MAX).collect();
    if cut.len() < text.len() { cut + "…" } else { cut }
}
