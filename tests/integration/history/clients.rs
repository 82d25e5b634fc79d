//! Clients of a whole network that put and get all the time, and write down what they were told and when.

use super::chain::put_tx;
use super::generate::Random;
use super::{Call, Moment, Outcome, PutAt, ReadAt, Value};
use crate::integration::harness::{Client, Failure, from_base64, number};
use serde_json::{Value as Json, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Keys the clients share: few, so that they meet.
const KEYS: u64 = 4;
/// Clients of each node.
const CLIENTS_PER_NODE: usize = 2;
/// Longest wait for an answer: above what a node waits for a block, so that a paused node does not collect all clients.
const PATIENCE: Duration = Duration::from_secs(3);
/// Puts of one client: its values are apart from those of all others.
const VALUES_PER_CLIENT: Value = 1 << 32;

/// How a get is made linearizable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gets {
    /// The node sees to it: `abci_query` with `consistency=linearizable`. Only Raft has a leader to ask what was decided
    /// last.
    ByTheNode,
    /// The client commits a transaction of its own first and then asks the same node: what had been decided before the
    /// get began is at the height of that transaction or below.
    BehindATransaction,
}

/// What the clients did and were told.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) calls: Vec<Call>,
    pub(crate) reads: Vec<ReadAt>,
    /// Every acknowledged put.
    pub(crate) puts: Vec<PutAt>,
    /// Answers that were neither a result nor a lost connection.
    pub(crate) refusals: Vec<String>,
}

/// Where the nodes are, and how much was answered.
struct Board {
    rpcs: Vec<Option<String>>,
    answered: usize,
}

struct Shared {
    board: Mutex<Board>,
    changed: Condvar,
    over: AtomicBool,
    begun: Instant,
    gets: Gets,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        self.begun.elapsed().as_nanos() as Moment
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// The first node that is there, from this one on; none when the clients are to end.
    fn next_node(&self, from: usize) -> Option<(usize, String)> {
        let board = self.lock();
        let nobody = |board: &mut Board| board.rpcs.iter().all(Option::is_none) && !self.is_over();
        let board = self.changed.wait_while(board, nobody).unwrap_or_else(PoisonError::into_inner);
        if self.is_over() {
            return None;
        }
        let count = board.rpcs.len();
        let mut turn = (from..from + count).map(|node| node % count);
        turn.find_map(|node| Some((node, board.rpcs[node].clone()?)))
    }
}

/// The clients. They end when this is dropped.
pub(crate) struct Clients {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Record>>,
}

impl Clients {
    /// Starts them; they wait until they are told where a node is.
    pub(crate) fn start(nodes: usize, gets: Gets) -> Clients {
        let board = Board { rpcs: vec![None; nodes], answered: 0 };
        let shared = Arc::new(Shared {
            board: Mutex::new(board),
            changed: Condvar::new(),
            over: AtomicBool::new(false),
            begun: Instant::now(),
            gets,
        });
        let thread = |number| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || Person::new(&shared, number, nodes).go())
        };
        Clients { threads: (0..nodes * CLIENTS_PER_NODE).map(thread).collect(), shared: Arc::clone(&shared) }
    }

    pub(crate) fn node_is_at(&self, node: usize, rpc: &str) {
        self.shared.lock().rpcs[node] = Some(rpc.to_owned());
        self.shared.changed.notify_all();
    }

    pub(crate) fn node_is_away(&self, node: usize) {
        self.shared.lock().rpcs[node] = None;
    }

    /// Waits until so many more calls had a result, but no longer than this; says whether they had.
    pub(crate) fn await_more(&self, count: usize, within: Duration) -> bool {
        let board = self.shared.lock();
        let wanted = board.answered + count;
        let waited = self.shared.changed.wait_timeout_while(board, within, |board| board.answered < wanted);
        waited.unwrap_or_else(PoisonError::into_inner).0.answered >= wanted
    }

    /// Ends them and gives what they wrote down.
    pub(crate) fn end(mut self) -> Record {
        self.close();
        let mut whole = Record::default();
        for thread in self.threads.drain(..) {
            let one = thread.join().expect("a client that panicked has said why");
            whole.calls.extend(one.calls);
            whole.reads.extend(one.reads);
            whole.puts.extend(one.puts);
            whole.refusals.extend(one.refusals);
        }
        whole
    }

    fn close(&self) {
        self.shared.over.store(true, Ordering::Release);
        self.shared.changed.notify_all();
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.close();
        for thread in self.threads.drain(..) {
            // A client that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// What a client at work holds.
struct Person<'a> {
    shared: &'a Shared,
    number: usize,
    random: Random,
    /// The node it talks to while that answers.
    node: usize,
    next_value: Value,
    record: Record,
}

impl<'a> Person<'a> {
    fn new(shared: &'a Shared, number: usize, nodes: usize) -> Person<'a> {
        let next_value = number as Value * VALUES_PER_CLIENT;
        let random = Random::new(number as u64);
        Person { shared, number, random, node: number % nodes, next_value, record: Record::default() }
    }

    fn go(mut self) -> Record {
        while let Some((node, rpc)) = self.shared.next_node(self.node) {
            self.node = node;
            if self.stay_with(&mut Client::with_patience(&rpc, PATIENCE)).is_err() {
                self.node += 1;
            }
        }
        self.record
    }

    /// Calls one node until it fails or the client may end.
    fn stay_with(&mut self, client: &mut Client) -> Result<(), Failure> {
        while !self.shared.is_over() {
            let key = self.random.below(KEYS) as usize;
            let outcome = match self.random.below(2) {
                0 => self.put(client, key),
                _ => self.get(client, key),
            };
            if let Err(Failure::Refused(why)) = &outcome {
                self.record.refusals.push(why.clone());
            }
            outcome?;
            self.shared.lock().answered += 1;
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    fn new_value(&mut self) -> Value {
        self.next_value += 1;
        self.next_value
    }

    fn write_down(&mut self, key: usize, invoked: Moment, outcome: Outcome) {
        self.record.calls.push(Call { client: self.number, key, invoked, outcome });
    }

    fn put(&mut self, client: &mut Client, key: usize) -> Result<(), Failure> {
        let (value, invoked) = (self.new_value(), self.shared.now());
        let answer = client.try_commit(put_tx(key, value));
        let ended = self.shared.now();
        match answer {
            Ok(height) => {
                self.record.puts.push(PutAt { key, height, value });
                self.write_down(key, invoked, Outcome::Put { value, ended });
                Ok(())
            }
            // Even a refusal may come after the transaction was given to others.
            Err(failure) => {
                self.write_down(key, invoked, Outcome::PutOpen { value });
                Err(failure)
            }
        }
    }

    fn get(&mut self, client: &mut Client, key: usize) -> Result<(), Failure> {
        let invoked = self.shared.now();
        let read = match self.shared.gets {
            Gets::ByTheNode => query(client, key, &json!("linearizable"))?,
            Gets::BehindATransaction => {
                let mark = self.new_value();
                let height = client.try_commit(format!("mark{}={mark}", self.number))?;
                let read = query(client, key, &Json::Null)?;
                assert!(read.height >= height, "{read:?} is behind height {height}, which its node had committed");
                read
            }
        };
        let ended = self.shared.now();
        self.record.reads.push(read);
        self.write_down(key, invoked, Outcome::Got { value: read.value, ended });
        Ok(())
    }
}

/// Gets a key with the consistency asked for, the node's default for null.
pub(crate) fn query(client: &mut Client, key: usize, consistency: &Json) -> Result<ReadAt, Failure> {
    let mut asked = json!({"data": hex::encode(format!("key{key}"))});
    if !consistency.is_null() {
        asked["consistency"] = consistency.clone();
    }
    let response = client.call("abci_query", &asked)?["response"].take();
    let value = (response["log"] == json!("exists")).then(|| from_base64(&response["value"]).parse().unwrap());
    Ok(ReadAt { key, height: number(&response["height"]), value })
}
