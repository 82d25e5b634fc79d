//! Two nodes under load: no task of theirs keeps a worker of the runtime from the others.

use super::bad_input::two_validators;
use super::stopping::{client, serve_rpc};
use super::*;
use crate::polls::slow_polls;

/// The name of this test's threads.
const THREADS: &str = "under load";
/// Committed before it is over, besides what was on its way.
const COMMITTED: usize = 200;
const CLIENTS: usize = 16;

#[test]
fn under_load_no_task_keeps_its_worker_for_100_ms() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).thread_name(THREADS).enable_all().build().expect("threads");
    runtime.block_on(load());
    let slow: Vec<String> = slow_polls(THREADS).iter().map(|slow| format!("{}: {:?}", slow.task, slow.took)).collect();
    assert!(slow.is_empty(), "{slow:?}");
}

async fn load() {
    let dirs = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory")];
    let (mut first, second, _) = two_validators(&dirs, memory_store()).await;
    let rpc = serve_rpc(&mut first, RpcConfig::default()).await;
    let stop = CancellationToken::new();
    let nodes = [first, second].map(|options| start(options, stop.clone()).expect("starts"));
    commit(nodes[0].handle(), ["first=1".to_owned()]).await;
    let (committed, mut commits) = tokio::sync::mpsc::unbounded_channel();
    let mut clients: tokio::task::JoinSet<_> =
        (0..CLIENTS).map(|n| client(rpc.clone(), n, committed.clone())).collect();
    for _ in 0..COMMITTED {
        commits.recv().await.expect("clients run");
    }
    stop.cancel();
    for node in nodes {
        node.ended().await.expect("a clean end");
    }
    while clients.join_next().await.is_some() {}
}
