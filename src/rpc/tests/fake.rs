//! A node made of the recorded chain.

use crate::codec::json::genesis;
use crate::codec::json::read::{self, Place};
use crate::crypto::Hash;
use crate::events::{Bus, Subscription};
use crate::ports::*;
use crate::types::abci::{
    CheckTxResponse, Event, EventAttribute, ExecTxResult, FinalizeBlockResponse, InfoResponse, QueryResponse, Request,
    Response, TxResult,
};
use crate::types::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Where the recorded files are.
pub(super) fn folder(side: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/tendermint-rs/rpc_v0_38").join(side)
}

/// A recorded file.
pub(super) fn recorded(side: &str, name: &str) -> Value {
    let path = folder(side).join(format!("{name}.json"));
    serde_json::from_slice(&std::fs::read(&path).expect("recorded files are in the repository")).expect("they are JSON")
}

/// Reads a block in CometBFT's JSON.
pub(super) fn block(json: &Value) -> Block {
    let text = json.to_string();
    let place = Place::document("block", text.as_bytes()).expect("JSON");
    let object = place.object().expect("an object");
    let txs = json["data"]["txs"].as_array().expect("a list");
    let evidence = object.at("evidence").object().expect("an object").at("evidence").list(10).expect("a list");
    Block {
        header: read::read_header(&object.at("header")).expect("a header"),
        txs: txs.iter().map(|tx| Tx::new(STANDARD.decode(tx.as_str().expect("text")).expect("base64"))).collect(),
        evidence: evidence.iter().map(|place| read::evidence(place).expect("evidence")).collect(),
        last_commit: read::read_commit(&object.at("last_commit")).expect("a commit"),
    }
}

fn block_id(json: &Value) -> BlockId {
    let hash = |value: &Value| {
        Hash::try_from(hex::decode(value.as_str().expect("text")).expect("hex").as_slice()).expect("32 bytes")
    };
    let total = json["parts"]["total"].as_u64().expect("a number") as u32;
    BlockId { hash: hash(&json["hash"]), parts: PartSetHeader { total, hash: hash(&json["parts"]["hash"]) } }
}

/// The events CometBFT's kvstore emits for `key=value`.
fn kvstore_events(key: &str, value: &str) -> Vec<Event> {
    let event = |creator: &str, key: &str| Event {
        kind: "app".into(),
        attributes: [
            ("creator", creator, true),
            ("key", key, true),
            ("index_key", "index is working", true),
            ("noindex_key", "index is working", false),
        ]
        .map(|(key, value, index)| EventAttribute { key: key.into(), value: value.into(), index })
        .to_vec(),
    };
    vec![event("Cosmoshi Netowoko", key), event("Cosmoshi", value)]
}

fn executed(tx: &[u8]) -> ExecTxResult {
    let text = String::from_utf8_lossy(tx).into_owned();
    let (key, value) = text.split_once('=').unwrap_or((&text, &text));
    ExecTxResult { events: kvstore_events(key, value), ..ExecTxResult::default() }
}

pub(super) struct FakeStore {
    pub(super) blocks: BTreeMap<Height, (BlockId, Block)>,
    pub(super) txs: Vec<TxResult>,
    validators: ValidatorSet,
    /// How often the genesis document was read.
    genesis_reads: Arc<AtomicUsize>,
}

impl FakeStore {
    fn recorded() -> FakeStore {
        let mut blocks = BTreeMap::new();
        let mut add = |entry: &Value| {
            let block = block(&entry["block"]);
            blocks.insert(block.header.height, (block_id(&entry["block_id"]), block));
        };
        recorded("incoming", "block_search")["result"]["blocks"].as_array().expect("a list").iter().for_each(&mut add);
        add(&recorded("incoming", "block_at_height_1")["result"]);
        let mut txs = Vec::new();
        for found in recorded("incoming", "tx_search_no_prove")["result"]["txs"].as_array().expect("a list") {
            let tx = STANDARD.decode(found["tx"].as_str().expect("text")).expect("base64");
            let height = Height::new(found["height"].as_str().expect("text").parse().expect("a number"));
            txs.push(TxResult { height, index: 0, result: executed(&tx), tx: tx.clone().into() });
            // Its block holds only it: what the recorded proofs say.
            let (id, mut block) = blocks[&Height::FIRST].clone();
            block.header.height = height;
            block.txs = vec![Tx::new(tx)];
            blocks.insert(height, (id, block));
        }
        let genesis = FakeStore::document();
        let members = genesis.validators.iter().map(|v| Validator::new(v.public_key, v.power));
        let validators = ValidatorSet::new(members).expect("a set");
        FakeStore { blocks, txs, validators, genesis_reads: Arc::default() }
    }

    fn document() -> GenesisDoc {
        let json = recorded("incoming", "genesis")["result"]["genesis"].to_string();
        genesis::parse(json.as_bytes()).expect("a genesis document")
    }
}

impl Store for FakeStore {
    fn base(&self) -> Height {
        Height::FIRST
    }
    fn tip(&self) -> Height {
        *self.blocks.keys().next_back().expect("there are blocks")
    }
    fn block(&self, height: Height) -> Result<Option<Block>, StoreError> {
        Ok(self.blocks.get(&height).map(|(_, block)| block.clone()))
    }
    fn block_meta(&self, height: Height) -> Result<Option<BlockMeta>, StoreError> {
        Ok(self.blocks.get(&height).map(|(id, block)| BlockMeta {
            block_id: *id,
            block_size: CandidateBlock::new(block.clone()).parts().byte_size(),
            header: block.header.clone(),
            num_txs: block.txs.len() as u64,
        }))
    }
    fn height_of(&self, hash: &Hash) -> Result<Option<Height>, StoreError> {
        Ok(self.blocks.iter().find(|(_, (id, _))| id.hash == *hash).map(|(height, _)| *height))
    }
    fn part(&self, _: Height, _: u32) -> Result<Option<Part>, StoreError> {
        Ok(None)
    }
    fn commit(&self, height: Height) -> Result<Option<Commit>, StoreError> {
        Ok(self.blocks.get(&height.next()).and_then(|(_, block)| block.last_commit.clone()))
    }
    fn seen_commit(&self, height: Height) -> Result<Option<Commit>, StoreError> {
        self.commit(height)
    }
    fn extended_commit(&self, _: Height) -> Result<Option<ExtendedCommit>, StoreError> {
        Ok(None)
    }
    fn state(&self) -> Result<Option<ChainState>, StoreError> {
        let genesis = FakeStore::document();
        let validators = Arc::new(self.validators.clone());
        let header = &self.blocks[&Height::FIRST].1.header;
        Ok(Some(ChainState {
            algorithm: crate::types::Algorithm::Tendermint,
            version: header.version,
            chain_id: genesis.chain_id,
            initial_height: Height::FIRST,
            last_block_height: self.tip(),
            last_block_id: None,
            last_block_time: header.time,
            next_validators: validators.clone(),
            validators: validators.clone(),
            last_validators: Some(validators),
            last_height_validators_changed: Height::FIRST,
            consensus_params: Arc::new(genesis.consensus_params),
            last_height_consensus_params_changed: Height::FIRST,
            last_results_hash: header.last_results_hash,
            app_hash: header.app_hash.clone(),
        }))
    }
    fn validators(&self, _: Height) -> Result<Option<ValidatorSet>, StoreError> {
        Ok(Some(self.validators.clone()))
    }
    fn params(&self, _: Height) -> Result<Option<ConsensusParams>, StoreError> {
        Ok(Some(ConsensusParams::default()))
    }
    fn results(&self, _: Height) -> Result<Option<FinalizeBlockResponse>, StoreError> {
        Ok(Some(FinalizeBlockResponse::default()))
    }
    fn genesis(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.genesis_reads.fetch_add(1, Ordering::Relaxed);
        Ok(Some(genesis::render(&FakeStore::document())))
    }
    fn tx(&self, hash: &Hash) -> Result<Option<TxResult>, StoreError> {
        Ok(self.txs.iter().find(|tx| Tx::new(tx.tx.clone()).hash() == *hash).cloned())
    }
    fn search_txs(&self, search: Search<'_>) -> Result<Page<TxResult>, StoreError> {
        let matches = |tx: &&TxResult| {
            search.query.matches_in_one_event(&[("tx.height", &tx.height.to_string())], &tx.result.events)
        };
        let items: Vec<TxResult> = self.txs.iter().filter(matches).cloned().collect();
        Ok(Page { total: items.len() as u64, items })
    }
    fn search_blocks(&self, search: Search<'_>) -> Result<Page<Height>, StoreError> {
        let matches =
            |height: &Height| search.query.matches_in_one_event(&[("block.height", &height.to_string())], &[]);
        // The recording was made when the chain was 46 blocks long.
        let items: Vec<Height> = self.blocks.keys().copied().filter(|h| h.get() <= 46 && matches(h)).collect();
        Ok(Page { total: items.len() as u64, items })
    }
    fn indexes(&self) -> bool {
        true
    }
    fn evidence(&self) -> Result<StoredEvidence, StoreError> {
        Ok(StoredEvidence::default())
    }
    fn save_evidence(&self, _: &[EvidenceChange]) -> Result<(), StoreError> {
        Ok(())
    }
    fn save_genesis(&self, _: &[u8], _: &ChainState) -> Result<(), StoreError> {
        Err(StoreError("read only".into()))
    }
    fn save_block(&self, _: &CandidateBlock, _: &ExtendedCommit) -> Result<(), StoreError> {
        Err(StoreError("read only".into()))
    }
    fn save_results(&self, _: Height, _: &FinalizeBlockResponse) -> Result<(), StoreError> {
        Err(StoreError("read only".into()))
    }
    fn save_state(&self, _: &ChainState) -> Result<(), StoreError> {
        Err(StoreError("read only".into()))
    }
    fn index(&self, _: &AppliedBlock) -> Result<(), StoreError> {
        Err(StoreError("read only".into()))
    }
    fn prune(&self, _: Height, _: &ChainState) -> Result<u64, StoreError> {
        Err(StoreError("read only".into()))
    }
}

/// What a node does with submitted transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Submitted {
    Committed,
    Stuck,
    Refused,
}

pub(super) struct FakeNode {
    store: Arc<dyn Store>,
    pub(super) bus: Bus,
    pub(super) submitted: Submitted,
    /// Sizes of the batches submitted.
    pub(super) batches: Mutex<Vec<usize>>,
    pub(super) network: FakeNetwork,
    /// What sure reads were asked for.
    pub(super) reads: Mutex<Vec<ReadGuarantee>>,
    /// How often the genesis document was read.
    pub(super) genesis_reads: Arc<AtomicUsize>,
}

/// Whom the node knows.
#[derive(Default)]
pub(super) struct FakeNetwork {
    pub(super) peers: Vec<PeerView>,
    pub(super) states: Vec<PeerRoundState>,
    pub(super) addresses: Vec<AddressView>,
    /// What was asked to be called.
    pub(super) dialed: Mutex<Vec<DialRequest>>,
}

impl FakeNode {
    pub(super) fn new(submitted: Submitted) -> FakeNode {
        let store = Arc::new(FakeStore::recorded());
        FakeNode {
            genesis_reads: Arc::clone(&store.genesis_reads),
            store,
            bus: Bus::default(),
            submitted,
            batches: Mutex::default(),
            network: FakeNetwork::default(),
            reads: Mutex::default(),
        }
    }

    /// Publishes a block with these transactions.
    pub(super) fn publish(&self, height: Height, txs: &[Tx]) {
        let mut block = self.store.block(Height::new(46)).expect("reads").expect("there");
        block.header.height = height;
        block.txs = txs.to_vec();
        let results: Vec<TxResult> = txs
            .iter()
            .enumerate()
            .map(|(index, tx)| TxResult {
                height,
                index: index as u32,
                tx: tx.bytes().clone(),
                result: executed(tx.bytes()),
            })
            .collect();
        self.bus.publish(Published::Block(Arc::new(AppliedBlock {
            block: Arc::new(CandidateBlock::new(block)),
            results: FinalizeBlockResponse { app_hash: vec![6, 0, 0, 0, 0, 0, 0, 0].into(), ..Default::default() },
            txs: txs.iter().map(Tx::hash).zip(results).collect(),
        })));
    }
}

impl Node for FakeNode {
    type Subscription = Subscription;

    fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
    fn facts(&self) -> NodeFacts {
        NodeFacts {
            node_id: "cf4a66aa29e5123abfdfbdf485da6788bb8e46d1".parse().expect("an id"),
            listen_addr: "tcp://0.0.0.0:26656".into(),
            listeners: vec!["tcp://0.0.0.0:26656".into()],
            network: FakeStore::document().chain_id,
            version: "0.38.0-alpha.1".into(),
            moniker: "dockernode".into(),
            tx_index: "on",
            rpc_address: "tcp://0.0.0.0:26657".into(),
            channels: hex::decode("40202122233038606100").expect("hex"),
            validator: Some(FakeStore::document().validators[0].public_key),
        }
    }
    fn catching_up(&self) -> bool {
        false
    }
    async fn consensus(&self) -> ConsensusView {
        let validators = self.store.validators(Height::FIRST).expect("reads").expect("there");
        ConsensusView {
            height: Height::new(221),
            round: Round::ZERO,
            step: Step::NewHeight,
            start_time: "2023-05-17T14:14:43.338360213Z".parse().expect("a time"),
            validators: Arc::new(validators),
            proposal: None,
            proposal_block: None,
            locked: None,
            valid: None,
            votes: vec![RoundVotes { round: Round::ZERO, prevotes: vec![None], precommits: vec![None] }],
            last_commit: vec![None],
        }
    }
    async fn mempool(&self, limit: usize) -> MempoolView {
        let txs: Vec<Tx> = [Tx::new(&b"a=1"[..]), Tx::new(&b"b=2"[..])].into_iter().take(limit).collect();
        MempoolView { count: 2, bytes: 6, txs }
    }
    async fn submit(&self, txs: Vec<Tx>) -> Vec<Result<CheckTxResponse, MempoolError>> {
        self.batches.lock().expect("not poisoned").push(txs.len());
        if self.submitted == Submitted::Committed {
            self.publish(Height::new(227), &txs);
        }
        let answer = |_| match self.submitted {
            Submitted::Refused => Err(MempoolError::InCache),
            _ => Ok(CheckTxResponse { gas_wanted: 1, ..CheckTxResponse::default() }),
        };
        txs.iter().map(answer).collect()
    }
    async fn submit_async(&self, txs: Vec<Tx>) -> Vec<Result<(), MempoolError>> {
        self.batches.lock().expect("not poisoned").push(txs.len());
        txs.iter().map(|_| Ok(())).collect()
    }
    async fn flush_mempool(&self) {}
    async fn ask(&self, request: Request) -> Result<Response, AppError> {
        Ok(match request {
            Request::Info(_) => Response::Info(InfoResponse {
                data: "{\"size\":0}".into(),
                version: "2.0.0".into(),
                app_version: 1,
                last_block_height: 198,
                last_block_app_hash: vec![0; 8].into(),
            }),
            Request::Query(query) if query.data == "tx0" => Response::Query(QueryResponse {
                log: "exists".into(),
                key: query.data,
                value: "value".into(),
                height: 254,
                ..QueryResponse::default()
            }),
            Request::Query(query) => Response::Query(QueryResponse {
                log: "does not exist".into(),
                key: query.data,
                height: 200,
                ..QueryResponse::default()
            }),
            _ => Response::CheckTx(CheckTxResponse::default()),
        })
    }
    async fn read(&self, request: Request, guarantee: ReadGuarantee) -> Result<Response, ReadError> {
        if self.submitted == Submitted::Refused {
            return Err(ReadError::Refused("no leader is known: ask again in a second".into()));
        }
        self.reads.lock().expect("not poisoned").push(guarantee);
        Ok(self.ask(request).await?)
    }
    async fn add_evidence(&self, _: Evidence) -> Result<Hash, String> {
        Ok(Hash::EMPTY)
    }
    fn subscribe(&self) -> Subscription {
        self.bus.subscribe()
    }
    fn peers(&self) -> Vec<PeerView> {
        self.network.peers.clone()
    }
    fn known_addresses(&self) -> Vec<AddressView> {
        self.network.addresses.clone()
    }
    fn listeners(&self) -> Vec<String> {
        self.facts().listeners
    }
    async fn peer_states(&self) -> Vec<PeerRoundState> {
        self.network.states.clone()
    }
    fn dial(&self, request: DialRequest) -> Result<(), String> {
        self.network.dialed.lock().expect("not poisoned").push(request);
        Ok(())
    }
    async fn pending_evidence(&self) -> Vec<Evidence> {
        Vec::new()
    }
    async fn situation(&self) -> Option<Situation> {
        let set = self.store.validators(Height::FIRST).expect("reads").expect("there");
        let validators = set.members().iter().map(|member| ValidatorView {
            address: member.address,
            power: member.power,
            own: Choice::Yes,
            prevoted: Choice::Yes,
            precommitted: Choice::No,
            refused: Choice::No,
            last_heard: Some(HeardView { ago: Duration::from_millis(2900), cut: Choice::Yes }),
        });
        Some(Situation {
            algorithm: Algorithm::Raft,
            height: Height::new(221),
            round: Round::new(7),
            step: Step::Precommit,
            proposal: Choice::Yes,
            lead: Some(LeadView::Leader { leader: None, role: "candidate" }),
            since_last_block: Some(Duration::from_secs(12)),
            txs: 2,
            empty_blocks: Choice::No,
            validators: validators.collect(),
            power_needed: Power::new(6),
            peers: 3,
            application: None,
            halted: None,
            fetching: None,
            key: KeyView::Refused("it went back".into()),
        })
    }
    async fn health(&self) -> Vec<HealthCheck> {
        let outcome = if self.submitted == Submitted::Refused { Err("it is gone".into()) } else { Ok(()) };
        vec![HealthCheck { name: "storage", outcome: Ok(()) }, HealthCheck { name: "application", outcome }]
    }
}
