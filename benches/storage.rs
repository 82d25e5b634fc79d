//! What one height costs the disk: the store's three batches and index for a block of 1,000 transactions, and one
//! synced journal record.

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use quorate::crypto::{Hash, PrivateKey, Signature, sha256};
use quorate::disk::OsDisk;
use quorate::ports::{Journal, Store};
use quorate::storage::{Backend, Indexing};
use quorate::types::abci::{Event, EventAttribute, ExecTxResult, FinalizeBlockResponse, TxResult};
use quorate::types::{
    Address, AppliedBlock, Block, BlockId, CandidateBlock, ChainId, ChainState, Commit, CommitSig, ConsensusParams,
    ExtendedCommit, Header, Height, JournalMessage, JournalRecord, Power, Round, SignedPart, Source, Time, Tx,
    Validator, ValidatorSet, Version, Vote, VoteKind,
};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const TXS: u64 = 1_000;
const TX_BYTES: usize = 250;

/// One height, ready to be stored.
struct Step {
    block: Arc<CandidateBlock>,
    commit: ExtendedCommit,
    applied: AppliedBlock,
    state: ChainState,
}

fn time(height: u64) -> Time {
    Time::new(1_700_000_000 + height as i64, 0).expect("in range")
}

fn commit(height: u64, block_id: BlockId) -> Commit {
    let part = SignedPart {
        validator_address: Address::new([1; 20]),
        timestamp: time(height),
        signature: Signature::new([1; 64]),
    };
    let signatures = vec![CommitSig::Commit(part); 4];
    Commit { height: Height::new(height), round: Round::ZERO, block_id, signatures }
}

fn genesis() -> ChainState {
    let member = |seed| Validator::new(PrivateKey::from_seed(&[seed; 32]).public_key(), Power::new(10));
    let validators = ValidatorSet::new((1..=4).map(member)).expect("a legal set");
    ChainState {
        algorithm: quorate::types::Algorithm::Tendermint,
        version: Version { block: Version::BLOCK, app: 1 },
        chain_id: ChainId::try_from("bench").expect("a legal name"),
        initial_height: Height::FIRST,
        last_block_height: Height::ZERO,
        last_block_id: None,
        last_block_time: time(0),
        next_validators: Arc::new(validators.advanced(1)),
        validators: Arc::new(validators),
        last_validators: None,
        last_height_validators_changed: Height::FIRST,
        consensus_params: Arc::new(ConsensusParams::default()),
        last_height_consensus_params_changed: Height::FIRST,
        last_results_hash: Hash::EMPTY,
        app_hash: Bytes::new(),
    }
}

fn txs(height: u64) -> Vec<Tx> {
    let tx = |index: u64| {
        let mut bytes = vec![0; TX_BYTES];
        bytes[..8].copy_from_slice(&height.to_be_bytes());
        bytes[8..16].copy_from_slice(&index.to_be_bytes());
        Tx::new(bytes)
    };
    (0..TXS).map(tx).collect()
}

/// Two events' worth of what a simple application says: one attribute for all, one of the transaction's own.
fn result(height: u64, index: u64) -> ExecTxResult {
    let attribute = |key: &str, value: String| EventAttribute { key: key.to_owned(), value, index: true };
    let attributes = vec![attribute("creator", "bench".to_owned()), attribute("key", format!("{height}-{index}"))];
    ExecTxResult { events: vec![Event { kind: "app".to_owned(), attributes }], ..ExecTxResult::default() }
}

fn step(state: &ChainState) -> Step {
    let height = state.next_height().get();
    let hash = sha256(&height.to_be_bytes());
    let header = Header {
        version: state.version,
        chain_id: state.chain_id.clone(),
        height: Height::new(height),
        time: time(height),
        last_block_id: state.last_block_id,
        last_commit_hash: hash,
        data_hash: hash,
        validators_hash: hash,
        next_validators_hash: hash,
        consensus_hash: hash,
        app_hash: Bytes::new(),
        last_results_hash: hash,
        evidence_hash: Hash::EMPTY,
        proposer_address: Address::new([1; 20]),
    };
    let last_commit = state.last_block_id.map(|id| commit(height - 1, id));
    let block = Arc::new(CandidateBlock::new(Block { header, txs: txs(height), evidence: Vec::new(), last_commit }));
    let tx_results: Vec<ExecTxResult> = (0..TXS).map(|index| result(height, index)).collect();
    let txs = (0..).zip(block.block().txs.iter().zip(&tx_results)).map(|(index, (tx, result))| {
        let (bytes, result) = (tx.bytes().clone(), result.clone());
        (tx.hash(), TxResult { height: Height::new(height), index, tx: bytes, result })
    });
    let txs = txs.collect();
    let results = FinalizeBlockResponse { tx_results, ..FinalizeBlockResponse::default() };
    let state = ChainState {
        last_block_height: Height::new(height),
        last_block_id: Some(block.id()),
        last_block_time: time(height),
        last_validators: Some(state.validators.clone()),
        validators: state.next_validators.clone(),
        next_validators: Arc::new(state.next_validators.advanced(1)),
        ..state.clone()
    };
    let commit = ExtendedCommit::from(commit(height, block.id()));
    Step { applied: AppliedBlock { block: block.clone(), results, txs }, block, commit, state }
}

fn store_step(store: &dyn Store, step: &Step) {
    store.save_block(&step.block, &step.commit).expect("block saved");
    store.save_results(step.state.last_block_height, &step.applied.results).expect("results saved");
    store.save_state(&step.state).expect("state saved");
    store.index(&step.applied).expect("indexed");
}

fn heights(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("height of 1000 txs");
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    let mut backends = vec![Backend::Memory, Backend::Redb];
    if cfg!(feature = "rocksdb") {
        backends.push(Backend::RocksDb);
    }
    for backend in backends {
        for (name, indexing) in [("indexed", Indexing::On), ("not indexed", Indexing::Off)] {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let store = quorate::storage::open(backend, dir.path(), indexing).expect("opens");
            let mut state = genesis();
            store.save_genesis(b"{}", &state).expect("genesis saved");
            group.bench_function(format!("{backend}, {name}"), |bencher| {
                bencher.iter_batched(
                    || {
                        let step = step(&state);
                        state = step.state.clone();
                        step
                    },
                    |step| store_step(&*store, &step),
                    BatchSize::PerIteration,
                );
            });
        }
    }
    group.finish();
}

fn journal(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (mut wal, _) =
        quorate::wal::open(Arc::new(OsDisk), dir.path(), quorate::wal::Limits::default(), time(1)).expect("opens");
    let vote = Vote {
        kind: VoteKind::Precommit,
        height: Height::FIRST,
        round: Round::ZERO,
        block_id: None,
        timestamp: time(1),
        validator_address: Address::new([1; 20]),
        validator_index: 0,
        signature: Signature::new([1; 64]),
        extension: Bytes::new(),
        extension_signature: None,
    };
    let record = JournalRecord::Message { source: Source::Own, message: JournalMessage::Vote(vote) };
    criterion.bench_function("journal: append and sync one vote", |bencher| {
        bencher.iter(|| {
            wal.append(Time::from(SystemTime::now()), black_box(&record)).expect("appended");
            wal.sync().expect("synced");
        });
    });
}

criterion_group!(benches, heights, journal);
criterion_main!(benches);
