//! Hashing on the path of a block: header, transactions, parts, validator sets.

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quorate::crypto::{PrivateKey, merkle, sha256};
use quorate::types::{PartSet, Power, Tx, Validator, ValidatorSet};
use std::hint::black_box;

/// Validators of a large public chain.
const VALIDATORS: u64 = 150;
/// Transactions of 256 bytes in 1 MiB.
const TXS: u64 = 4_096;

fn hashing(c: &mut Criterion) {
    let mut group = c.benchmark_group("hashing");
    group.throughput(Throughput::Bytes(1 << 20));
    let block = Bytes::from(vec![7; 1 << 20]);
    group.bench_function("cut 1 MiB into parts", |b| b.iter(|| PartSet::cut(black_box(&block))));
    let raw: Vec<Bytes> = (0..TXS).map(|i| [i.to_le_bytes().repeat(32)].concat().into()).collect();
    group.bench_function("hash 4096 transactions of 256 bytes", |b| {
        b.iter_batched(|| raw.clone(), |raw| raw.into_iter().map(Tx::new).collect::<Vec<_>>(), BatchSize::SmallInput);
    });
    group.finish();

    let txs: Vec<Tx> = raw.iter().cloned().map(Tx::new).collect();
    c.bench_function("data hash of 4096 hashed transactions", |b| b.iter(|| Tx::data_hash(black_box(&txs))));
    let leaves: Vec<_> = (0..TXS).map(|i| sha256(&i.to_le_bytes())).collect();
    c.bench_function("proofs of 4096 leaves", |b| b.iter(|| merkle::proofs(black_box(&leaves))));
    let member = |i: u64| {
        let key = PrivateKey::from_seed(sha256(&i.to_le_bytes()).as_bytes());
        Validator::new(key.public_key(), Power::new(1 + i))
    };
    let set = ValidatorSet::new((0..VALIDATORS).map(member)).expect("a legal set");
    c.bench_function("hash of a set of 150 validators", |b| b.iter(|| black_box(&set).hash()));
}

criterion_group!(benches, hashing);
criterion_main!(benches);
