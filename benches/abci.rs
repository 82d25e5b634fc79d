//! 1,000 CheckTx through a Unix socket to an application that does nothing: what the socket costs.

#![allow(missing_docs)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quorate::abci::{Address, Noop, Options, Server, connect};
use quorate::ports::{App, Connection};
use quorate::types::abci::{CheckTxKind, CheckTxRequest, Request};

const TXS: u64 = 1_000;
const TX_BYTES: usize = 250;

fn check_tx(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads for the bench");
    let path = std::env::temp_dir().join(format!("quorate-bench-{}.sock", std::process::id()));
    let address = Address::Unix(path);
    let app = runtime.block_on(async {
        let server = Server::bind(&address).await.expect("a socket in the temporary directory");
        tokio::spawn(server.serve(Noop, std::future::pending()));
        connect(address.clone(), Options::default()).await
    });
    let request = |number: u64| {
        let mut tx = vec![0; TX_BYTES];
        tx[..8].copy_from_slice(&number.to_be_bytes());
        Request::CheckTx(CheckTxRequest { tx: tx.into(), kind: CheckTxKind::New })
    };
    let batch: Vec<Request> = (0..TXS).map(request).collect();
    let mut group = criterion.benchmark_group("abci");
    group.throughput(Throughput::Elements(TXS));
    group.bench_function("check_tx_1000_in_one_call", |bencher| {
        bencher.iter(|| runtime.block_on(app.call(Connection::Mempool, batch.clone())).expect("answers"));
    });
    group.bench_function("check_tx_1000_calls_in_flight", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let calls = batch.iter().map(|request| app.call(Connection::Mempool, vec![request.clone()]));
                futures_util::future::join_all(calls).await.into_iter().for_each(|answer| {
                    answer.expect("an answer");
                });
            });
        });
    });
    group.finish();
    drop(app);
    runtime.shutdown_background();
}

criterion_group!(benches, check_tx);
criterion_main!(benches);
