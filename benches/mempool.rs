//! What a transaction costs in the mempool: admission, the application's yes, reaping, commit.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quorate::mempool::{Mempool, MempoolConfig, MempoolEffect, MempoolInput, Origin, Recheck, RequestId};
use quorate::types::abci::CheckTxResponse;
use quorate::types::{Height, Tx, TxLimits};
use std::hint::black_box;

/// Transactions of one submission; a block has ten of them.
const BATCH: usize = 100;
const BATCHES: usize = 10;

fn config() -> MempoolConfig {
    MempoolConfig { recheck: Recheck::Off, ..MempoolConfig::default() }
}

fn limits() -> TxLimits {
    TxLimits { bytes_max: 1 << 20, gas_max: None }
}

fn txs() -> Vec<Vec<Tx>> {
    let tx = |batch: usize, i: usize| Tx::new(format!("key-{batch}-{i}={}", "v".repeat(200)).into_bytes());
    (0..BATCHES).map(|batch| (0..BATCH).map(|i| tx(batch, i)).collect()).collect()
}

/// Submits all batches and lets the application say yes.
fn fill(mempool: &mut Mempool, batches: Vec<Vec<Tx>>) {
    let mut out = Vec::new();
    for txs in batches {
        mempool.step(MempoolInput::Submit { origin: Origin::Check(RequestId(0)), txs }, &mut out);
    }
    let mut later = Vec::new();
    for effect in out {
        if let MempoolEffect::Check { batch, txs, .. } = effect {
            let responses = vec![CheckTxResponse::default(); txs.len()];
            mempool.step(MempoolInput::Answered { batch, responses }, &mut later);
        }
    }
    black_box(later);
}

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("mempool");
    group.throughput(Throughput::Elements((BATCH * BATCHES) as u64));
    group.bench_function("admit_and_check", |b| {
        b.iter_batched(
            || (Mempool::new(config(), limits()), txs()),
            |(mut mempool, txs)| fill(&mut mempool, txs),
            BatchSize::LargeInput,
        );
    });
    let mut full = Mempool::new(config(), limits());
    fill(&mut full, txs());
    group.bench_function("reap", |b| b.iter(|| full.reap(Some(1 << 20), None)));
    group.bench_function("commit", |b| {
        b.iter_batched(
            || {
                let mut mempool = Mempool::new(config(), limits());
                fill(&mut mempool, txs());
                (mempool, txs().into_iter().flatten().map(|tx| (tx, 0)).collect())
            },
            |(mut mempool, txs)| {
                let mut out = Vec::new();
                mempool.step(MempoolInput::Committed { height: Height::FIRST, txs, limits: limits() }, &mut out);
                mempool
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(mempool, benches);
criterion_main!(mempool);
