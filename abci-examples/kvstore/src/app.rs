//! The application: what a transaction means.
//!
//! `key=value` sets a key. `val=ed25519!<base64 public key>!<power>` gives a validator power, or removes it with 0.
//! The rules, events and hash are those of CometBFT's kvstore, so both can serve nodes of one network.

use crate::store::{Changes, Progress, Store};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quorate::abci::{Answer, Application, Reader, first_that_fit};
use quorate::crypto::PublicKey;
use quorate::types::abci::{
    CheckTxRequest, CheckTxResponse, CommitResponse, Event, EventAttribute, ExecTxResult, FinalizeBlockRequest,
    FinalizeBlockResponse, InfoRequest, InfoResponse, InitChainRequest, InitChainResponse, MisbehaviorKind,
    PrepareProposalRequest, ProcessProposalRequest, QueryRequest, QueryResponse, Verdict,
};
use quorate::types::{Address, Power, ValidatorUpdate};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Answer code of a transaction that is not well-formed.
const BAD_FORMAT: u32 = 2;

/// The application's state: what is committed is on disk, what is finalized only here.
#[derive(Debug)]
pub(crate) struct KvStore {
    store: Arc<Store>,
    progress: Progress,
    validators: BTreeMap<PublicKey, u64>,
    /// What FinalizeBlock made and Commit will keep. A crash loses it, and the node asks for the block again.
    finalized: Option<Changes>,
}

impl KvStore {
    /// Goes on where the data on disk ends.
    pub(crate) fn open(store: Store) -> Result<KvStore, redb::Error> {
        let (progress, validators) = (store.progress()?, store.validators()?);
        Ok(KvStore { store: Arc::new(store), progress, validators, finalized: None })
    }

    /// The last block committed.
    pub(crate) fn height(&self) -> u64 {
        self.progress.height
    }
}

impl Application for KvStore {
    /// Queries read snapshots of the file and never wait for a block.
    fn reader(&self) -> Option<Arc<dyn Reader>> {
        Some(self.store.clone())
    }

    fn info(&mut self, _request: InfoRequest) -> Answer<InfoResponse> {
        Ok(InfoResponse {
            data: format!("{{\"size\":{}}}", self.progress.size),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            app_version: 1,
            last_block_height: i64::try_from(self.progress.height)?,
            last_block_app_hash: app_hash(self.progress),
        })
    }

    fn init_chain(&mut self, request: InitChainRequest) -> Answer<InitChainResponse> {
        let genesis = request.validators.iter().map(|update| (update.public_key, update.power.get()));
        // Validators of an earlier attempt that never came to a first block are removed with power 0.
        let mut changes: BTreeMap<PublicKey, u64> = self.validators.keys().map(|key| (*key, 0)).collect();
        changes.extend(genesis.clone());
        self.store.commit(&Changes { validators: changes, ..Changes::default() })?;
        self.validators = genesis.collect();
        self.progress = Progress::default();
        Ok(InitChainResponse { app_hash: app_hash(self.progress), ..InitChainResponse::default() })
    }

    fn check_tx(&mut self, request: CheckTxRequest) -> Answer<CheckTxResponse> {
        Ok(match Operation::parse(&request.tx) {
            Some(_) => CheckTxResponse { gas_wanted: 1, ..CheckTxResponse::default() },
            None => CheckTxResponse {
                code: BAD_FORMAT,
                log: "expected key=value or val=ed25519!<base64 public key>!<power>".to_owned(),
                ..CheckTxResponse::default()
            },
        })
    }

    fn prepare_proposal(&mut self, request: PrepareProposalRequest) -> Answer<Vec<Bytes>> {
        let valid = request.txs.into_iter().filter(|tx| Operation::parse(tx).is_some());
        Ok(first_that_fit(valid.collect(), request.max_tx_bytes))
    }

    fn process_proposal(&mut self, request: ProcessProposalRequest) -> Answer<Verdict> {
        let valid = request.txs.iter().all(|tx| Operation::parse(tx).is_some());
        Ok(if valid { Verdict::Accept } else { Verdict::Reject })
    }

    fn finalize_block(&mut self, request: FinalizeBlockRequest) -> Answer<FinalizeBlockResponse> {
        let mut changes = Changes { progress: self.progress, ..Changes::default() };
        for offence in request.block.misbehavior {
            // Voting twice costs one unit of power.
            let offender = self.validators.keys().find(|key| Address::from(*key) == offence.validator.address);
            if let (MisbehaviorKind::DuplicateVote, Some(key)) = (offence.kind, offender) {
                changes.validators.insert(*key, offence.validator.power.get().saturating_sub(1));
            }
        }
        let tx_results = request.txs.iter().map(|tx| self.execute(tx, &mut changes)).collect();
        changes.progress.height = request.block.height.get();
        let update = |(key, power): (&PublicKey, &u64)| ValidatorUpdate { public_key: *key, power: Power::new(*power) };
        let response = FinalizeBlockResponse {
            tx_results,
            validator_updates: changes.validators.iter().map(update).collect(),
            app_hash: app_hash(changes.progress),
            ..FinalizeBlockResponse::default()
        };
        self.finalized = Some(changes);
        Ok(response)
    }

    fn commit(&mut self) -> Answer<CommitResponse> {
        if let Some(changes) = self.finalized.take() {
            self.store.commit(&changes)?;
            self.progress = changes.progress;
            self.validators.extend(changes.validators);
            self.validators.retain(|_, power| *power > 0);
        }
        Ok(CommitResponse::default()) // retain_height 0: the node may keep every block
    }
}

impl KvStore {
    /// Executes one transaction into the changes of its block. Deterministic: every replica gets the same result.
    fn execute(&self, tx: &Bytes, changes: &mut Changes) -> ExecTxResult {
        let (key, value) = match Operation::parse(tx) {
            Some(Operation::Set { key, value }) => {
                changes.pairs.insert(key.clone(), value.clone());
                (key, value)
            }
            Some(Operation::Validator { key, power }) => {
                let known = self.validators.contains_key(&key) || changes.validators.contains_key(&key);
                if power == 0 && !known {
                    return refused("there is no such validator to remove"); // the node would refuse the whole block
                }
                changes.validators.insert(key, power);
                (tx.clone(), tx.clone())
            }
            None => return refused("not well-formed"),
        };
        changes.progress.size += 1;
        ExecTxResult { events: events(&key, &value), ..ExecTxResult::default() }
    }
}

fn refused(why: &str) -> ExecTxResult {
    ExecTxResult { code: BAD_FORMAT, log: why.to_owned(), ..ExecTxResult::default() }
}

impl Reader for Store {
    /// The data of a query is the key. Path `/val` asks for the power of a validator by its public key.
    fn query(&self, request: QueryRequest) -> Answer<QueryResponse> {
        let (value, height) = match (request.path.as_str(), PublicKey::try_from(request.data.as_ref())) {
            ("/val", Ok(key)) => {
                let power = self.validators()?.get(&key).map(|power| power.to_string().into());
                (power, self.progress()?.height)
            }
            ("/val", Err(error)) => {
                return Ok(QueryResponse { code: BAD_FORMAT, log: error.to_string(), ..QueryResponse::default() });
            }
            _ => self.get(&request.data)?,
        };
        Ok(QueryResponse {
            log: if value.is_some() { "exists" } else { "does not exist" }.to_owned(),
            key: request.data,
            value: value.unwrap_or_default(),
            height: i64::try_from(height)?,
            ..QueryResponse::default()
        })
    }
}

/// What a well-formed transaction asks for.
enum Operation {
    Set { key: Bytes, value: Bytes },
    Validator { key: PublicKey, power: u64 },
}

impl Operation {
    fn parse(tx: &Bytes) -> Option<Operation> {
        if let Some(change) = tx.strip_prefix(b"val=") {
            return Operation::parse_validator(std::str::from_utf8(change).ok()?);
        }
        // One separator, `=` or `:`, and something on both sides of it.
        let separators = tx.iter().filter(|byte| matches!(byte, b'=' | b':')).count();
        let at = tx.iter().position(|byte| matches!(byte, b'=' | b':'))?;
        let well_formed = separators == 1 && at > 0 && at + 1 < tx.len();
        well_formed.then(|| Operation::Set { key: tx.slice(..at), value: tx.slice(at + 1..) })
    }

    fn parse_validator(change: &str) -> Option<Operation> {
        let (key, power) = change.strip_prefix("ed25519!")?.split_once('!')?;
        let key = PublicKey::try_from(STANDARD.decode(key).ok()?.as_slice()).ok()?;
        let power = power.parse::<u64>().ok().filter(|power| *power <= Power::TOTAL_MAX.get())?;
        Some(Operation::Validator { key, power })
    }
}

/// The number of transactions as a zigzag varint in eight bytes, as CometBFT's kvstore has it. Your own application
/// should hash its state instead, so that replicas that disagree find out at the next block.
fn app_hash(progress: Progress) -> Bytes {
    let mut hash = [0; 8];
    let mut rest = progress.size << 1;
    for byte in &mut hash {
        *byte = (rest & 0x7f) as u8 | if rest > 0x7f { 0x80 } else { 0 };
        rest >>= 7;
    }
    Bytes::copy_from_slice(&hash)
}

/// What subscribers and the index can search for.
fn events(key: &[u8], value: &[u8]) -> Vec<Event> {
    let attribute = |key: &str, value: &str, index| EventAttribute { key: key.into(), value: value.into(), index };
    let event = |creator, key| Event {
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
