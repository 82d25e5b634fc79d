//! Two nodes under load: no task of theirs keeps a worker of the runtime from the others.

use super::bad_input::{network, node_id};
use super::stopping::client;
use super::*;
use crate::p2p::PeerAddress;
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
    let mut first = options(dirs[0].path(), memory_store(), LocalApp::new(KvStore::default()));
    let mut second = options(dirs[1].path(), memory_store(), LocalApp::new(KvStore::default()));
    first.genesis.validators.extend(second.genesis.validators.clone());
    second.genesis = first.genesis.clone();
    let (network_of_first, at) = network(1, dirs[0].path(), Vec::new()).await;
    first.network = Some(network_of_first);
    let address = PeerAddress { id: node_id(1), address: at.to_string() };
    second.network = Some(network(2, dirs[1].path(), vec![address]).await.0);
    let listeners = rpc::bind("tcp://127.0.0.1:0").await.expect("a free port");
    let rpc = listeners[0].address().trim_start_matches("tcp://").to_owned();
    first.rpc = Some((listeners, RpcConfig::default()));
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
