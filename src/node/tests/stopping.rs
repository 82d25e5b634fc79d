//! A node is stopped while clients wait for their transactions to be decided.

use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const CLIENTS: usize = 16;
/// Longer than a client's transaction takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a client saw of its last request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The whole answer.
    Answered,
    /// The connection was closed before the answer, or could not be opened any more.
    Closed,
}

/// Gives a node RPC at a free port, and says where.
pub(super) async fn serve_rpc(options: &mut NodeOptions, config: RpcConfig) -> String {
    let listeners = rpc::bind("tcp://127.0.0.1:0").await.expect("a free port");
    let address = listeners[0].address().trim_start_matches("tcp://").to_owned();
    options.rpc = Some((listeners, config));
    address
}

/// Whoever waits for a block when the node stops would wait for an hour.
fn patient() -> RpcConfig {
    RpcConfig { timeout_broadcast_tx_commit: Duration::from_secs(3600), ..RpcConfig::default() }
}

/// Sends one transaction after the other, each on a connection of its own, until one is not committed.
pub(super) async fn client(address: String, number: usize, committed: tokio::sync::mpsc::UnboundedSender<()>) -> End {
    for turn in 0.. {
        let Ok(mut stream) = TcpStream::connect(&address).await else { return End::Closed };
        let request = format!(
            "GET /broadcast_tx_commit?tx=%22client{number}-{turn}=1%22 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        );
        let mut answer = Vec::new();
        if stream.write_all(request.as_bytes()).await.is_err() || stream.read_to_end(&mut answer).await.is_err() {
            return End::Closed;
        }
        let answer = String::from_utf8_lossy(&answer);
        let Some((_, body)) = answer.split_once("\r\n\r\n") else { return End::Closed };
        let body: serde_json::Value = serde_json::from_str(body).expect("a whole answer");
        if body["result"]["height"].as_str().is_none_or(|height| height == "0") {
            assert!(body["error"]["data"].is_string(), "it says why: {body}");
            return End::Answered;
        }
        committed.send(()).expect("the test waits");
    }
    unreachable!("a client goes on until the node stops")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stopped_under_load_ends_well_and_no_client_waits_for_ever() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut options = options(dir.path(), memory_store(), LocalApp::new(KvStore::default()));
    let address = serve_rpc(&mut options, patient()).await;
    let stop = CancellationToken::new();
    let node = start(options, stop.clone()).expect("starts");
    commit(node.handle(), ["first=1".to_owned()]).await;
    let (committed, mut commits) = tokio::sync::mpsc::unbounded_channel();
    let mut clients: JoinSet<End> = (0..CLIENTS).map(|n| client(address.clone(), n, committed.clone())).collect();
    for _ in 0..4 * CLIENTS {
        commits.recv().await.expect("clients run");
    }
    stop.cancel();
    let begun = Instant::now();
    tokio::time::timeout(PATIENCE, node.ended()).await.expect("it ends").expect("it ends well");
    let took = begun.elapsed();
    let mut ends = Vec::new();
    while let Some(end) = tokio::time::timeout(PATIENCE, clients.join_next()).await.expect("no client waits for ever") {
        ends.push(end.expect("no client is given half an answer"));
    }
    assert_eq!(ends.len(), CLIENTS);
    println!("stopped within {took:?}: {} were answered", ends.iter().filter(|end| **end == End::Answered).count());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stopped_while_all_clients_wait_for_a_block_that_never_comes_tells_them() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut options = options(dir.path(), memory_store(), LocalApp::new(KvStore::default()));
    // The other half of the power is not there.
    options.genesis.validators.extend(genesis(PrivateKey::from_seed(&[7; 32]).public_key()).validators);
    let address = serve_rpc(&mut options, patient()).await;
    let stop = CancellationToken::new();
    let node = start(options, stop.clone()).expect("starts");
    // Refused until the handshake is over.
    while node.handle().submit(vec![Tx::new(&b"first=1"[..])]).await.iter().any(Result::is_err) {
        tokio::task::yield_now().await;
    }
    let (committed, _commits) = tokio::sync::mpsc::unbounded_channel();
    let mut clients: JoinSet<End> = (0..CLIENTS).map(|n| client(address.clone(), n, committed.clone())).collect();
    while node.handle().mempool(0).await.count < 1 + CLIENTS as u64 {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    tokio::time::timeout(PATIENCE, node.ended()).await.expect("it ends").expect("it ends well");
    while let Some(end) = tokio::time::timeout(PATIENCE, clients.join_next()).await.expect("no client waits for ever") {
        assert_eq!(end.expect("no client is given half an answer"), End::Answered);
    }
}
