//! Building a proposal: from the mempool's transactions to a named block in parts, as a proposer does each height.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use quorate::crypto::{PrivateKey, sha256};
use quorate::mempool::{Mempool, MempoolConfig, MempoolInput, Origin, RequestId};
use quorate::pipeline::{build, recover};
use quorate::types::abci::{CheckTxResponse, InitChainResponse};
use quorate::types::{
    Address, Block, CandidateBlock, ChainId, ConsensusParams, GenesisDoc, GenesisValidator, Header, Height, Power,
    Time, Tx, Version,
};
use std::hint::black_box;

/// Transactions of one block.
const TXS: u64 = 1_000;
/// Bytes of each.
const TX_BYTES: usize = 250;

fn genesis() -> GenesisDoc {
    let key = PrivateKey::from_seed(&[1; 32]).public_key();
    GenesisDoc {
        algorithm: quorate::types::Algorithm::Tendermint,
        genesis_time: Time::UNIX_EPOCH,
        chain_id: ChainId::try_from("bench").expect("short"),
        initial_height: Height::FIRST,
        consensus_params: ConsensusParams::default(),
        validators: vec![GenesisValidator {
            address: Address::from(&key),
            public_key: key,
            power: Power::new(1),
            name: String::new(),
        }],
        app_hash: bytes::Bytes::new(),
        app_state: bytes::Bytes::new(),
    }
}

fn txs() -> Vec<Tx> {
    (0..TXS)
        .map(|n| {
            let mut tx = n.to_be_bytes().to_vec();
            tx.resize(TX_BYTES, 7);
            Tx::new(tx)
        })
        .collect()
}

/// A mempool that holds them all.
fn filled(limits: quorate::types::TxLimits) -> Mempool {
    let mut mempool = Mempool::new(MempoolConfig::default(), limits);
    let mut effects = Vec::new();
    mempool.step(MempoolInput::Submit { origin: Origin::Check(RequestId(1)), txs: txs() }, &mut effects);
    let batch = effects.iter().find_map(|effect| match effect {
        quorate::mempool::MempoolEffect::Check { batch, .. } => Some(*batch),
        _ => None,
    });
    let responses = vec![CheckTxResponse::default(); TXS as usize];
    let batch = batch.expect("a batch to check");
    mempool.step(MempoolInput::Answered { batch, responses }, &mut effects);
    assert_eq!(mempool.count(), TXS);
    mempool
}

fn block_build(c: &mut Criterion) {
    let state = recover::first_state(&genesis(), &InitChainResponse::default(), 0).expect("a legal genesis");
    let mempool = filled(build::tx_limits(&state));
    let budget = build::budget(&state, 0);
    c.bench_function("reap 1000 transactions of 250 bytes", |b| {
        b.iter(|| black_box(&mempool).reap(budget.reap_bytes, budget.gas));
    });
    let header = Header {
        version: Version { block: Version::BLOCK, app: 0 },
        chain_id: state.chain_id.clone(),
        height: Height::FIRST,
        time: Time::UNIX_EPOCH,
        last_block_id: None,
        last_commit_hash: sha256(b""),
        data_hash: Tx::data_hash(&txs()),
        validators_hash: state.validators.hash(),
        next_validators_hash: state.next_validators.hash(),
        consensus_hash: state.consensus_params.hash(),
        app_hash: bytes::Bytes::new(),
        last_results_hash: state.last_results_hash,
        evidence_hash: sha256(b""),
        proposer_address: state.validators.proposer().address,
    };
    let block = Block { header, txs: txs(), evidence: Vec::new(), last_commit: None };
    c.bench_function("name and cut a block of 1000 transactions", |b| {
        b.iter_batched(|| block.clone(), CandidateBlock::new, BatchSize::SmallInput);
    });
}

criterion_group!(benches, block_build);
criterion_main!(benches);
