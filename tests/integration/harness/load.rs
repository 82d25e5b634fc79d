//! Clients that send transactions all the time, note what was promised to them, and try again when the node is away.

use super::{Client, Failure, PATIENCE, base64, number, tx_hash, value_of};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Threads that send.
const CLIENTS: usize = 4;
/// Transactions each sends at once.
const IN_A_BATCH: usize = 5;
/// Promises checked in one request.
const CHECKED_AT_ONCE: usize = 100;

/// A transaction of which `broadcast_tx_commit` said in which block it is.
#[derive(Debug, Clone)]
pub(crate) struct Promise {
    key: String,
    height: u64,
}

impl Promise {
    fn tx(&self) -> String {
        tx_of(&self.key)
    }
}

fn tx_of(key: &str) -> String {
    format!("{key}=value-of-{key}")
}

#[derive(Default)]
struct Board {
    /// Where the node is; none while it is away.
    rpc: Option<String>,
    promises: Vec<Promise>,
    /// Answers that were neither a promise nor a lost connection, such as a timeout while the application was away.
    refusals: Vec<String>,
}

struct Shared {
    board: Mutex<Board>,
    changed: Condvar,
    over: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clients. They end when this is dropped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts the clients; they wait until they are told where the node is.
    pub(crate) fn start() -> Load {
        let shared = Shared { board: Mutex::default(), changed: Condvar::new(), over: AtomicBool::new(false) };
        let shared = Arc::new(shared);
        let client = |number| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || send_all_the_time(&shared, number))
        };
        Load { clients: (0..CLIENTS).map(client).collect(), shared: Arc::clone(&shared) }
    }

    /// Tells the clients where the node is.
    pub(crate) fn node_is_at(&self, rpc: &str) {
        self.shared.lock().rpc = Some(rpc.to_owned());
        self.shared.changed.notify_all();
    }

    /// Tells the clients that the node is away.
    pub(crate) fn node_is_away(&self) {
        self.shared.lock().rpc = None;
    }

    /// Waits until `count` more promises were made.
    pub(crate) fn wait_for_more(&self, count: usize) {
        let board = self.shared.lock();
        let wanted = board.promises.len() + count;
        let waited = self.shared.changed.wait_timeout_while(board, PATIENCE, |board| board.promises.len() < wanted);
        let (board, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(
            !timeout.timed_out(),
            "no progress: {} promises of {wanted}; {:?}",
            board.promises.len(),
            board.refusals
        );
    }

    /// Ends the load and gives every promise.
    pub(crate) fn end(mut self) -> Vec<Promise> {
        self.join();
        std::mem::take(&mut self.shared.lock().promises)
    }

    fn join(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        self.shared.changed.notify_all();
        for client in self.clients.drain(..) {
            // A client that panicked has said so already.
            let _ = client.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.node_is_away();
        self.join();
    }
}

fn send_all_the_time(shared: &Shared, number: usize) {
    let mut client: Option<(String, Client)> = None;
    for turn in 0.. {
        let board = shared.lock();
        let over = || shared.over.load(Ordering::Acquire);
        let waited = shared.changed.wait_while(board, |board| board.rpc.is_none() && !over());
        let rpc = waited.unwrap_or_else(PoisonError::into_inner).rpc.clone();
        let Some(rpc) = rpc.filter(|_| !over()) else { return };
        let (_, client) = match &mut client {
            Some(known) if known.0 == rpc => known,
            other => other.insert((rpc.clone(), Client::new(&rpc))),
        };
        send(shared, client, number, turn, &rpc);
    }
}

/// One batch. What was promised is written down; a node that is away is waited for.
fn send(shared: &Shared, client: &mut Client, number: usize, turn: usize, rpc: &str) {
    let keys: Vec<String> = (0..IN_A_BATCH).map(|n| format!("c{number}t{turn}n{n}")).collect();
    let calls: Vec<_> = keys.iter().map(|key| ("broadcast_tx_commit", json!({"tx": base64(tx_of(key))}))).collect();
    let answers = match client.call_many(&calls) {
        Ok(answers) => answers,
        Err(Failure::Refused(why)) => panic!("not JSON-RPC: {why}"),
        Err(Failure::Away(_)) => {
            let mut board = shared.lock();
            // Unless it came back elsewhere meanwhile, whoever stopped it will say where it is.
            board.rpc.take_if(|known| known == rpc);
            return;
        }
    };
    let mut board = shared.lock();
    for (key, answer) in keys.into_iter().zip(answers) {
        match answer.map(|answer| promised_height(&answer)) {
            Ok(Some(height)) => board.promises.push(Promise { key, height }),
            Ok(None) => board.refusals.push(format!("{key}: not executed")),
            Err(why) => board.refusals.push(why),
        }
    }
    drop(board);
    shared.changed.notify_all();
}

fn promised_height(answer: &Value) -> Option<u64> {
    let height = number(&answer["height"]);
    (height > 0 && answer["tx_result"]["code"] == json!(0)).then_some(height)
}

/// Every promise is kept: the transaction is found at its height and the application has its value.
pub(crate) fn assert_kept(client: &mut Client, promises: &[Promise]) {
    for some in promises.chunks(CHECKED_AT_ONCE) {
        let find = |promise: &Promise| ("tx", json!({"hash": base64(tx_hash(&promise.tx()).as_bytes())}));
        let found = client.call_many(&some.iter().map(find).collect::<Vec<_>>()).unwrap();
        for (promise, found) in some.iter().zip(found) {
            let found = found.unwrap_or_else(|why| panic!("{promise:?} is lost: {why}"));
            assert_eq!((number(&found["height"]), &found["tx"]), (promise.height, &json!(base64(promise.tx()))));
        }
        for promise in some {
            assert_eq!(value_of(client, &promise.key), Some(format!("value-of-{}", promise.key)), "{promise:?}");
        }
    }
}
