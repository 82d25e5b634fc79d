//! The built-in key-value store: CometBFT's `kvstore`, answer for answer (reference §3.9), in memory.
//!
//! It differs from CometBFT's where that one would halt its chain: a transaction that cannot be executed is answered
//! with code 2 in the block and changes nothing, a validator that is not there is not removed, two changes of one
//! validator in a block become the last of them, and misbehaviour of an unknown validator is passed over.

use super::{Answer, Application};
use crate::types::abci::{
    CheckTxRequest, CheckTxResponse, CommitResponse, Event, EventAttribute, ExecTxResult, FinalizeBlockRequest,
    FinalizeBlockResponse, InfoRequest, InfoResponse, InitChainRequest, InitChainResponse, Misbehavior,
    MisbehaviorKind, PrepareProposalRequest, ProcessProposalRequest, QueryRequest, QueryResponse, Verdict,
};
use crate::types::{Address, Power, ValidatorUpdate};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes};
use std::collections::BTreeMap;

/// Answer code of a transaction that is not well-formed.
pub const CODE_INVALID_TX_FORMAT: u32 = 2;
/// Protocol version this application reports.
const APP_VERSION: u64 = 1;
/// What CometBFT's kvstore reports as its software version: the version of ABCI.
const ABCI_VERSION: &str = "2.0.0";
/// What a transaction that changes a validator begins with.
const VALIDATOR_PREFIX: &[u8] = b"val=";

/// Keeps `key=value` transactions in memory.
#[derive(Debug, Default)]
pub struct KvStore {
    committed: State,
    /// What FinalizeBlock made and Commit will keep.
    finalized: Option<Finalized>,
    retain_blocks: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    pairs: BTreeMap<Bytes, Bytes>,
    validators: BTreeMap<Address, ValidatorUpdate>,
    progress: Progress,
}

/// How far the application came.
#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    /// Transactions executed since the beginning.
    size: u64,
    height: i64,
}

#[derive(Debug, Default)]
struct Finalized {
    pairs: Vec<(Bytes, Bytes)>,
    validators: Vec<ValidatorUpdate>,
    progress: Progress,
}

impl KvStore {
    /// Asks the node, at each commit, to keep only this many blocks.
    pub fn retain_blocks(self, blocks: u64) -> KvStore {
        KvStore { retain_blocks: Some(blocks), ..self }
    }
}

impl Progress {
    /// The application hash: the size as a zigzag varint in eight bytes. It says nothing about the pairs themselves.
    fn app_hash(self) -> Bytes {
        let mut hash = Vec::with_capacity(10);
        prost::encoding::encode_varint(self.size << 1, &mut hash);
        hash.resize(8, 0);
        hash.into()
    }
}

impl Application for KvStore {
    fn info(&mut self, _request: InfoRequest) -> Answer<InfoResponse> {
        let progress = self.committed.progress;
        Ok(InfoResponse {
            data: format!("{{\"size\":{}}}", progress.size),
            version: ABCI_VERSION.to_owned(),
            app_version: APP_VERSION,
            last_block_height: progress.height,
            last_block_app_hash: progress.app_hash(),
        })
    }

    fn init_chain(&mut self, request: InitChainRequest) -> Answer<InitChainResponse> {
        for update in request.validators {
            self.committed.set_validator(update);
        }
        Ok(InitChainResponse { app_hash: self.committed.progress.app_hash(), ..InitChainResponse::default() })
    }

    fn query(&mut self, request: QueryRequest) -> Answer<QueryResponse> {
        if request.path == "/val" {
            let value = self.committed.validator_with_key(&request.data).map(encode_validator).unwrap_or_default();
            return Ok(QueryResponse { key: request.data, value, ..QueryResponse::default() });
        }
        let value = self.committed.pairs.get(&request.data);
        Ok(QueryResponse {
            log: if value.is_some() { "exists" } else { "does not exist" }.to_owned(),
            index: if request.prove { -1 } else { 0 }, // a proof is promised by nobody
            value: value.cloned().unwrap_or_default(),
            key: request.data,
            height: self.committed.progress.height,
            ..QueryResponse::default()
        })
    }

    fn check_tx(&mut self, request: CheckTxRequest) -> Answer<CheckTxResponse> {
        Ok(match Operation::parse(&request.tx) {
            Some(_) => CheckTxResponse { gas_wanted: 1, ..CheckTxResponse::default() },
            None => CheckTxResponse { code: CODE_INVALID_TX_FORMAT, ..CheckTxResponse::default() },
        })
    }

    fn prepare_proposal(&mut self, request: PrepareProposalRequest) -> Answer<Vec<Bytes>> {
        let valid = request.txs.into_iter().filter(|tx| Operation::parse(tx).is_some());
        Ok(valid.map(with_equals_sign).collect())
    }

    fn process_proposal(&mut self, request: ProcessProposalRequest) -> Answer<Verdict> {
        let valid = request.txs.iter().all(|tx| Operation::parse(tx).is_some());
        Ok(if valid { Verdict::Accept } else { Verdict::Reject })
    }

    fn finalize_block(&mut self, request: FinalizeBlockRequest) -> Answer<FinalizeBlockResponse> {
        let mut finalized = Finalized { progress: self.committed.progress, ..Finalized::default() };
        for offence in &request.block.misbehavior {
            finalized.punish(&self.committed, offence);
        }
        let tx_results = request.txs.iter().map(|tx| finalized.execute(&self.committed, tx)).collect();
        finalized.progress.height = request.block.height.as_i64();
        let response = FinalizeBlockResponse {
            tx_results,
            validator_updates: finalized.validators.clone(),
            app_hash: finalized.progress.app_hash(),
            ..FinalizeBlockResponse::default()
        };
        self.finalized = Some(finalized);
        Ok(response)
    }

    fn commit(&mut self) -> Answer<CommitResponse> {
        if let Some(finalized) = self.finalized.take() {
            self.committed.apply(finalized);
        }
        let height = self.committed.progress.height;
        let keep = self.retain_blocks.and_then(|blocks| i64::try_from(blocks).ok()).filter(|blocks| height >= *blocks);
        Ok(CommitResponse { retain_height: keep.map_or(0, |blocks| height - blocks + 1) })
    }
}

impl State {
    fn apply(&mut self, finalized: Finalized) {
        self.pairs.extend(finalized.pairs);
        for update in finalized.validators {
            self.set_validator(update);
        }
        self.progress = finalized.progress;
    }

    fn set_validator(&mut self, update: ValidatorUpdate) {
        let address = Address::from(&update.public_key);
        if update.power == Power::ZERO {
            self.validators.remove(&address);
        } else {
            self.validators.insert(address, update);
        }
    }

    fn validator_with_key(&self, key: &[u8]) -> Option<&ValidatorUpdate> {
        self.validators.values().find(|validator| validator.public_key.as_bytes() == key)
    }
}

impl Finalized {
    /// Double voting costs one unit of power.
    fn punish(&mut self, committed: &State, offence: &Misbehavior) {
        let offender = committed.validators.get(&offence.validator.address);
        if let (MisbehaviorKind::DuplicateVote, Some(offender)) = (offence.kind, offender) {
            let power = Power::new(offence.validator.power.get().saturating_sub(1));
            self.set_validator(ValidatorUpdate { public_key: offender.public_key, power });
        }
    }

    fn execute(&mut self, committed: &State, tx: &Bytes) -> ExecTxResult {
        let (key, value) = match Operation::parse(tx) {
            Some(Operation::Set { key, value }) => {
                self.pairs.push((key.clone(), value.clone()));
                (key, value)
            }
            Some(Operation::Validator(update)) => {
                let address = Address::from(&update.public_key);
                let unknown = |validator: &ValidatorUpdate| validator.public_key != update.public_key;
                if update.power == Power::ZERO
                    && !committed.validators.contains_key(&address)
                    && self.validators.iter().all(unknown)
                {
                    return refused("a validator that is not there cannot be removed");
                }
                self.set_validator(update);
                split_once_only(tx, b'=').unwrap_or((tx.clone(), tx.clone()))
            }
            None => return refused("not key=value"),
        };
        self.progress.size += 1;
        ExecTxResult { events: events_of(&key, &value), ..ExecTxResult::default() }
    }

    fn set_validator(&mut self, update: ValidatorUpdate) {
        self.validators.retain(|earlier| earlier.public_key != update.public_key);
        self.validators.push(update);
    }
}

fn refused(why: &str) -> ExecTxResult {
    ExecTxResult { code: CODE_INVALID_TX_FORMAT, log: why.to_owned(), ..ExecTxResult::default() }
}

/// What a well-formed transaction asks for.
#[derive(Debug, PartialEq, Eq)]
enum Operation {
    Set { key: Bytes, value: Bytes },
    Validator(ValidatorUpdate),
}

impl Operation {
    /// `val=<key type>!<base64 key>!<power>`, or `key=value` or `key:value` with one separator in all, neither first
    /// nor last. Key types other than ed25519 are refused: this node cannot verify them.
    fn parse(tx: &Bytes) -> Option<Operation> {
        if let Some(change) = tx.strip_prefix(VALIDATOR_PREFIX) {
            return parse_validator(change).map(Operation::Validator);
        }
        let separators = tx.iter().filter(|byte| matches!(**byte, b'=' | b':')).count();
        let separator = tx.iter().position(|byte| matches!(*byte, b'=' | b':'))?;
        let within = separator > 0 && separator + 1 < tx.len();
        (separators == 1 && within)
            .then(|| Operation::Set { key: tx.slice(..separator), value: tx.slice(separator + 1..) })
    }
}

fn parse_validator(change: &[u8]) -> Option<ValidatorUpdate> {
    let mut fields = std::str::from_utf8(change).ok()?.split('!');
    let (key_type, key, power) = (fields.next()?, fields.next()?, fields.next()?);
    if key_type != "ed25519" || fields.next().is_some() {
        return None;
    }
    let key = STANDARD.decode(key).ok()?;
    let power = Power::try_from(power.parse::<i64>().ok()?).ok()?;
    Some(ValidatorUpdate { public_key: key.as_slice().try_into().ok()?, power })
}

/// The two sides when the separator stands there exactly once.
fn split_once_only(tx: &Bytes, separator: u8) -> Option<(Bytes, Bytes)> {
    let at = tx.iter().position(|byte| *byte == separator)?;
    let (before, mut after) = (tx.slice(..at), tx.slice(at..));
    after.advance(1);
    (!after.contains(&separator)).then_some((before, after))
}

/// The form in which pairs stand in blocks: `key=value`. Only the first colon is replaced, as CometBFT's does.
fn with_equals_sign(tx: Bytes) -> Bytes {
    match tx.iter().position(|byte| *byte == b':') {
        Some(colon) => {
            let mut bytes = tx.to_vec();
            bytes[colon] = b'=';
            bytes.into()
        }
        None => tx,
    }
}

fn events_of(key: &Bytes, value: &Bytes) -> Vec<Event> {
    let attribute = |key: &str, value: &str, index| EventAttribute { key: key.into(), value: value.into(), index };
    let event = |creator: &str, key: &Bytes| Event {
        kind: "app".to_owned(),
        attributes: vec![
            attribute("creator", creator, true),
            attribute("key", &String::from_utf8_lossy(key), true),
            attribute("index_key", "index is working", true),
            attribute("noindex_key", "index is working", false),
        ],
    };
    vec![event("Cosmoshi Netowoko", key), event("Cosmoshi", value)]
}

/// The ValidatorUpdate message behind its length, as CometBFT's kvstore stores it.
fn encode_validator(validator: &ValidatorUpdate) -> Bytes {
    let key = validator.public_key.as_bytes();
    let mut message = vec![0x0a, 2 + key.len() as u8, 0x0a, key.len() as u8];
    message.extend_from_slice(key);
    message.push(0x10);
    prost::encoding::encode_varint(validator.power.get(), &mut message);
    let mut framed = Vec::with_capacity(1 + message.len());
    prost::encoding::encode_varint(message.len() as u64, &mut framed);
    framed.extend_from_slice(&message);
    framed.into()
}
