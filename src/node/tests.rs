//! A whole node in this process: journal and key on disk, store in memory, the built-in application.

mod altered;
mod bad_input;
mod barrier;
mod extensions;
mod failing;
mod polls;
mod stopping;

use super::*;
use crate::abci::{KvStore, LocalApp};
use crate::consensus::EmptyBlocks;
use crate::crypto::{PrivateKey, PublicKey, sha256};
use crate::disk::OsDisk;
use crate::ports::{Delivery, Node, Subscription};
use crate::privval::FileSigner;
use crate::storage::{self, Backend, Indexing};
use crate::types::{
    BlockId, ChainId, ConsensusParams, DuplicateVoteEvidence, Evidence, GenesisValidator, Height, NodeId,
    PartSetHeader, Power, Published, Round, Tx, UnsignedVote, Vote, VoteKind,
};
use base64::Engine as _;
use bytes::Bytes;
use std::path::Path;

/// Low-latency settings, without a heartbeat.
fn timeouts() -> Timeouts {
    let second = Duration::from_secs(1);
    Timeouts {
        propose: second,
        propose_delta: second,
        prevote: second,
        prevote_delta: second,
        precommit: second,
        precommit_delta: second,
        commit: Duration::ZERO,
        skip_commit_when_all_voted: true,
        empty_blocks: EmptyBlocks::Never,
        election: Duration::from_millis(300),
        heartbeat: Duration::from_millis(50),
        view_change: Duration::from_millis(500),
    }
}

fn genesis(key: PublicKey) -> GenesisDoc {
    GenesisDoc {
        algorithm: crate::types::Algorithm::Tendermint,
        genesis_time: Time::new(1_700_000_000, 0).expect("in range"),
        chain_id: ChainId::try_from("node-test").expect("short"),
        initial_height: Height::FIRST,
        consensus_params: ConsensusParams::default(),
        validators: vec![GenesisValidator {
            address: Address::from(&key),
            public_key: key,
            power: Power::new(10),
            name: String::new(),
        }],
        app_hash: Bytes::new(),
        app_state: Bytes::new(),
    }
}

fn options(dir: &Path, store: Arc<dyn Store>, app: LocalApp) -> NodeOptions {
    let signer = FileSigner::open_or_generate(Arc::new(OsDisk), &dir.join("key.json"), &dir.join("state.json"));
    let signer = signer.expect("a new key");
    let genesis = genesis(signer.public_key());
    let metrics = Metrics::new("cometbft", &genesis.chain_id).expect("a legal name");
    let facts = NodeFacts {
        node_id: NodeId::new(Address::new([7; 20])),
        listen_addr: String::new(),
        listeners: Vec::new(),
        network: genesis.chain_id.clone(),
        version: "0.38.25".to_owned(),
        moniker: "test".to_owned(),
        tx_index: "on",
        rpc_address: String::new(),
        channels: Vec::new(),
        validator: Some(signer.public_key()),
    };
    NodeOptions {
        genesis,
        genesis_json: b"{}".to_vec(),
        store,
        wal_dir: dir.join("wal"),
        misbehaviour_file: dir.join("misbehaviour.jsonl"),
        signer: Some(Box::new(signer)),
        app: AppSource::Builtin(app, "kvstore"),
        timeouts: timeouts(),
        block_time_tolerance: None,
        doppelganger_check: DoppelgangerCheck::OnRejoin,
        mempool: MempoolConfig::default(),
        facts,
        network: None,
        rpc: None,
        metrics_listener: None,
        metrics,
        telling: Telling::Log,
    }
}

fn memory_store() -> Arc<dyn Store> {
    storage::open(Backend::Memory, Path::new(""), Indexing::On).expect("memory is there")
}

/// Sends transactions and waits until all are in blocks; returns the height of the last.
async fn commit(node: &Handle, txs: impl IntoIterator<Item = String>) -> Height {
    let mut blocks = node.subscribe();
    let txs: Vec<Tx> = txs.into_iter().map(|tx| Tx::new(tx.into_bytes())).collect();
    let mut missing: std::collections::BTreeSet<_> = txs.iter().map(Tx::hash).collect();
    loop {
        // Refused until the handshake is over; then admitted.
        let answers = node.submit(txs.clone()).await;
        if answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.code == 0)) {
            break;
        }
        tokio::task::yield_now().await;
    }
    loop {
        match blocks.next().await.expect("the node runs") {
            Delivery::Published(Published::Block(applied)) => {
                applied.txs.iter().for_each(|(hash, _)| {
                    missing.remove(hash);
                });
                if missing.is_empty() {
                    return applied.block.block().header.height;
                }
            }
            Delivery::Published(_) => {}
            Delivery::Missed(count) => panic!("missed {count} events"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_validator_commits_transactions_and_goes_on_after_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = memory_store();
    let app = LocalApp::new(KvStore::default());

    let stop = CancellationToken::new();
    let options_now = options(dir.path(), Arc::clone(&store), app.clone());
    let metrics = options_now.metrics.clone();
    let node = start(options_now, stop.clone()).expect("starts");
    let height = commit(node.handle(), (0..100).map(|n| format!("first{n}={n}"))).await;
    stop.cancel();
    node.ended().await.expect("a clean end");
    let shown = metrics.text();
    for name in [
        "consensus_validator_power",
        "consensus_validator_last_signed_height",
        "abci_connection_method_timing_seconds_count",
        "state_block_processing_time_count",
    ] {
        let fed = |line: &str| line.starts_with(&format!("cometbft_{name}{{")) && !line.ends_with(" 0");
        assert!(shown.lines().any(fed), "{name} is fed: {shown}");
    }
    let state = store.state().expect("readable").expect("saved");
    assert!(state.last_block_height >= height);
    let block = store.block(height).expect("readable").expect("stored");
    assert_eq!(block.header.height, height);

    let stop = CancellationToken::new();
    let node = start(options(dir.path(), Arc::clone(&store), app), stop.clone()).expect("starts again");
    let later = commit(node.handle(), ["second=1".to_owned()]).await;
    assert!(later > height);
    stop.cancel();
    node.ended().await.expect("a clean end");
    let commit = store.commit(height).expect("readable").expect("carried by the next block");
    let signers = store.validators(height).expect("readable").expect("stored");
    let meta = store.block_meta(height).expect("readable").expect("stored");
    signers
        .verify_commit(&state.chain_id, &meta.block_id, height, &commit, state.algorithm.quorum())
        .expect("signed by the validator");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_that_lost_everything_is_brought_back_by_replay() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = memory_store();
    let stop = CancellationToken::new();
    let first = LocalApp::new(KvStore::default());
    let node = start(options(dir.path(), Arc::clone(&store), first), stop.clone()).expect("starts");
    for n in 0..5 {
        commit(node.handle(), [format!("key{n}={n}")]).await;
    }
    stop.cancel();
    node.ended().await.expect("a clean end");
    let before = store.state().expect("readable").expect("saved");

    let stop = CancellationToken::new();
    let fresh = LocalApp::new(KvStore::default());
    let node = start(options(dir.path(), Arc::clone(&store), fresh), stop.clone()).expect("starts again");
    commit(node.handle(), ["after=1".to_owned()]).await;
    stop.cancel();
    node.ended().await.expect("a clean end");
    let after = store.state().expect("readable").expect("saved");
    assert!(after.last_block_height > before.last_block_height);
}

/// Two precommits of the node's own validator for different blocks of one round: what only a copied key signs.
fn evidence(dir: &Path, store: &dyn Store, height: Height) -> Evidence {
    let text = std::fs::read(dir.join("key.json")).expect("a key file");
    let json: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
    let private = json["priv_key"]["value"].as_str().expect("base64");
    let private = base64::engine::general_purpose::STANDARD.decode(private).expect("base64");
    let key = PrivateKey::from_bytes(&private).expect("a key");
    let set = store.validators(height).expect("readable").expect("stored");
    let time = store.block_meta(height).expect("readable").expect("stored").header.time;
    let vote = |content: &[u8]| -> Vote {
        let parts = PartSetHeader { total: 1, hash: sha256(content) };
        let unsigned = UnsignedVote {
            kind: VoteKind::Precommit,
            height,
            round: Round::new(3),
            block_id: Some(BlockId { hash: sha256(content), parts }),
            timestamp: time,
            validator_address: Address::from(&key.public_key()),
            validator_index: 0,
            extension: None,
        };
        let signature = key.sign(&unsigned.sign_bytes(&ChainId::try_from("node-test").expect("short")));
        unsigned.signed(time, signature, None)
    };
    let evidence = DuplicateVoteEvidence::new(vote(b"one"), vote(b"another"), time, &set);
    Evidence::DuplicateVote(Box::new(evidence.expect("two votes that contradict each other")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_block_proved_is_not_proved_again_after_a_restart() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = memory_store();
    let app = LocalApp::new(KvStore::default());
    for life in 0..2 {
        let stop = CancellationToken::new();
        let node = start(options(dir.path(), Arc::clone(&store), app.clone()), stop.clone()).expect("starts");
        commit(node.handle(), [format!("life{life}=1")]).await;
        let evidence = evidence(dir.path(), &*store, Height::FIRST);
        node.handle().add_evidence(evidence).await.expect("true, or known");
        for n in 0..3 {
            commit(node.handle(), [format!("after{life}-{n}=1")]).await;
        }
        stop.cancel();
        node.ended().await.expect("a clean end");
    }
    let blocks = (1..=store.tip().get()).filter_map(|height| store.block(Height::new(height)).expect("readable"));
    assert_eq!(blocks.map(|block| block.evidence.len()).sum::<usize>(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_past_is_pruned_between_blocks_until_it_is_gone() {
    const PAST: u64 = 150; // more than two slices
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = memory_store();
    let stop = CancellationToken::new();
    let keeps_all = LocalApp::new(KvStore::default());
    let node = start(options(dir.path(), Arc::clone(&store), keeps_all), stop.clone()).expect("starts");
    for n in 0.. {
        if commit(node.handle(), [format!("past{n}={n}")]).await.get() >= PAST {
            break;
        }
    }
    stop.cancel();
    node.ended().await.expect("a clean end");
    assert_eq!(store.base(), Height::FIRST);

    let stop = CancellationToken::new();
    let keeps_three = LocalApp::new(KvStore::default().retain_blocks(3));
    let node = start(options(dir.path(), Arc::clone(&store), keeps_three), stop.clone()).expect("starts again");
    for n in 0..1_000 {
        commit(node.handle(), [format!("now{n}={n}")]).await;
        if store.base().get() > PAST {
            break;
        }
    }
    assert!(store.base().get() > PAST, "the lowest block is {}", store.base());
    assert!(store.tip().get() < PAST + 500, "it took {} blocks", store.tip());
    stop.cancel();
    node.ended().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_signed_one_of_so_many_last_blocks_is_refused_from_the_tip_on() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let store = memory_store();
    let stop = CancellationToken::new();
    let options = options(dir.path(), Arc::clone(&store), LocalApp::new(KvStore::default()));
    let own = Address::from(&options.signer.as_ref().expect("it has one").public_key());
    let node = start(options, stop.clone()).expect("starts");
    for n in 0..3 {
        commit(node.handle(), [format!("key{n}={n}")]).await;
    }
    stop.cancel();
    node.ended().await.expect("a clean end");
    let tip = store.tip();
    let refuses =
        |store: &dyn Store, depth, who: &Address| assemble::refuse_doubled_validator(store, depth, who).is_err();
    assert!(refuses(&*store, 1, &own), "it signed the last block");
    assert!(!refuses(&*store, u64::MAX, &Address::new([9; 20])), "another key signed nothing");
    let unsigned = Some(tip);
    let but_the_last = altered::Altered { unsigned, ..altered::Altered::of(Arc::clone(&store)) };
    assert!(!refuses(&but_the_last, 1, &own), "the last one it did not sign");
    assert!(refuses(&but_the_last, 2, &own), "the one before it did");
}
