//! A part of the node panics: the node ends with a sentence that names it, whichever part it is, and does not go on
//! without it.

use super::altered::{Altered, Index, Saving};
use super::bad_input::network;
use super::*;
use crate::ports::Connection;

/// Longer than a node takes to end on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn kvstore() -> LocalApp {
    LocalApp::new(KvStore::default())
}

/// Starts a node in which something was broken, or will be by `then`, and waits for its end.
async fn last_words(change: impl AsyncFnOnce(&mut NodeOptions, &Path), then: impl FnOnce(&Running)) -> String {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut options = options(dir.path(), memory_store(), kvstore());
    options.timeouts.empty_blocks = EmptyBlocks::Always;
    change(&mut options, dir.path()).await;
    let stop = CancellationToken::new();
    let node = start(options, stop.clone()).expect("starts");
    then(&node);
    let outcome = tokio::time::timeout(PATIENCE, node.ended()).await.expect("it does not go on without this part");
    assert!(stop.is_cancelled(), "the other parts end, too");
    outcome.expect_err("an end nobody asked for").to_string()
}

fn says(part: &str) -> String {
    format!("a part of the node failed: {part} panicked. This is a bug; its log lines say where")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_replica_panics_ends_and_blames_no_part_that_ended_with_it() {
    let change = async |options: &mut NodeOptions, _: &Path| {
        options.store = Arc::new(Altered { saving: Saving::Panics, ..Altered::of(memory_store()) })
    };
    assert_eq!(last_words(change, |_| ()).await, says("the replica's thread"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_network_panics_ends_and_says_so() {
    let change = async |options: &mut NodeOptions, dir: &Path| {
        options.network = Some(network(1, dir, Vec::new()).await.0);
    };
    let words = last_words(change, |node| node.network.as_ref().expect("it has one").break_hub()).await;
    assert_eq!(words, says("a part of the network"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_rpc_panics_ends_and_says_so() {
    let change = async |options: &mut NodeOptions, _: &Path| {
        options.rpc = Some((vec![rpc::Listener::broken()], RpcConfig::default()));
    };
    assert_eq!(last_words(change, |_| ()).await, says("the RPC"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_link_to_the_application_panics_ends_and_says_so() {
    let broken =
        [(Connection::Query, "the link to the application"), (Connection::Consensus, "the way to the application")];
    for (connection, part) in broken {
        let change = async |options: &mut NodeOptions, _: &Path| options.app = AppSource::Broken(kvstore(), connection);
        assert_eq!(last_words(change, |_| ()).await, says(part));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_indexer_panics_ends_and_says_so() {
    let change = async |options: &mut NodeOptions, _: &Path| {
        options.store = Arc::new(Altered { index: Index::Panics, ..Altered::of(memory_store()) })
    };
    assert_eq!(last_words(change, |_| ()).await, says("the indexer"));
}
