//! Hot paths of the RPC: reading a `broadcast_tx_sync` body, reading a batch of 100, writing a block of 1,000
//! transactions.

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quorate::codec::json::{View, to_bytes};
use quorate::crypto::Hash;
use quorate::rpc::parse_requests;
use quorate::types::{Address, Block, ChainId, Header, Height, Time, Tx, Version};
use std::hint::black_box;

/// Transactions in the block.
const TXS: usize = 1_000;
/// Bytes in each.
const TX_BYTES: usize = 250;

fn block() -> Block {
    let header = Header {
        version: Version { block: Version::BLOCK, app: 0 },
        chain_id: ChainId::try_from("bench").expect("a chain id"),
        height: Height::new(1_000_000),
        time: Time::UNIX_EPOCH,
        last_block_id: None,
        last_commit_hash: Hash::EMPTY,
        data_hash: Hash::EMPTY,
        validators_hash: Hash::EMPTY,
        next_validators_hash: Hash::EMPTY,
        consensus_hash: Hash::EMPTY,
        app_hash: Bytes::new(),
        last_results_hash: Hash::EMPTY,
        evidence_hash: Hash::EMPTY,
        proposer_address: Address::new([7; Address::LEN]),
    };
    let txs = (0..TXS).map(|index| Tx::new(vec![index as u8; TX_BYTES])).collect();
    Block { header, txs, evidence: Vec::new(), last_commit: None }
}

fn rpc(criterion: &mut Criterion) {
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"broadcast_tx_sync","params":{"tx":"bWFueSBieXRlcyBvZiBhIHRyYW5zYWN0aW9u"}}"#;
    let batch = format!("[{}]", vec![request; 100].join(","));
    let mut group = criterion.benchmark_group("rpc");
    group.bench_function("read broadcast_tx_sync", |bench| {
        bench.iter(|| parse_requests(black_box(request.as_bytes())));
    });
    group.throughput(Throughput::Elements(100));
    group.bench_function("read a batch of 100", |bench| bench.iter(|| parse_requests(black_box(batch.as_bytes()))));
    let block = block();
    group.throughput(Throughput::Elements(TXS as u64));
    group.bench_function("write a block of 1000 txs", |bench| bench.iter(|| to_bytes(&View(black_box(&block)))));
    group.finish();
}

criterion_group!(benches, rpc);
criterion_main!(benches);
