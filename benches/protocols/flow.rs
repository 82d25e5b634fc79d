//! A load as heavy as a cluster takes: commits pace it. So many transactions are under way at once, and more are sent
//! when a block took some of them. A full mempool is no error: it too waits for the next block.

use crate::load::tx;
use crate::observe::{Events, runtime};
use crate::rpc::{Client, Failure, count, request};
use serde_json::Value;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Connections that send, and the transactions in one request.
const CONNECTIONS: usize = 8;
const BATCH: u64 = 100;
/// Longest wait for a block while transactions wait for it.
const BLOCK_WITHIN: Duration = Duration::from_secs(60);

/// What happened so far.
#[derive(Debug, Default)]
struct Counts {
    /// Number of the first transaction that was not sent yet.
    next: u64,
    /// Transactions that were sent, or are about to be.
    sent: u64,
    /// Those of them that a full mempool refused.
    refused: u64,
    blocks: u64,
    /// Transactions in these blocks.
    committed: u64,
    stage: Stage,
}

impl Counts {
    fn accepted(&self) -> u64 {
        self.sent - self.refused
    }
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
enum Stage {
    #[default]
    Sending,
    Over,
    Failed(String),
}

struct Shared {
    /// Most transactions under way.
    window: u64,
    counts: Mutex<Counts>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Only the first failure is told: those after it are its consequences.
    fn fail(&self, why: &Failure) {
        self.change(|counts| {
            if counts.stage == Stage::Sending {
                counts.stage = Stage::Failed(why.to_string());
            }
        });
    }

    /// Waits until a batch more may be under way and gives its first number; none when the load is over.
    fn reserve(&self) -> Option<u64> {
        let full = |counts: &mut Counts| {
            counts.stage == Stage::Sending && counts.accepted().saturating_sub(counts.committed) + BATCH > self.window
        };
        let mut counts = self.changed.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner);
        if counts.stage != Stage::Sending {
            return None;
        }
        let first = counts.next;
        counts.next += BATCH;
        counts.sent += BATCH;
        Some(first)
    }

    /// Gives back what a full mempool refused, and waits until a block made room.
    fn refused(&self, txs: u64) {
        let mut counts = self.lock();
        counts.refused += txs;
        let blocks = counts.blocks;
        let no_room = |counts: &mut Counts| counts.stage == Stage::Sending && counts.blocks == blocks;
        drop(self.changed.wait_while(counts, no_room).unwrap_or_else(PoisonError::into_inner));
    }

    fn send_batches(&self, rpc: &str) -> Result<(), Failure> {
        let mut client = Client::connect(rpc)?;
        while let Some(first) = self.reserve() {
            let numbers = first..first + BATCH;
            let requests: Vec<_> = numbers.map(|number| request("broadcast_tx_sync", &tx(number), number)).collect();
            let refused = refusals(&client.post(&format!("[{}]", requests.join(",")))?)?;
            if refused > 0 {
                self.refused(refused);
            }
        }
        Ok(())
    }

    async fn count_blocks(&self, mut events: Events) -> Result<(), Failure> {
        loop {
            let (_, event) = events.next().await?;
            let txs: u64 = event["num_txs"].as_str().ok_or("a block without num_txs")?.parse()?;
            self.change(|counts| {
                counts.blocks += 1;
                counts.committed += txs;
            });
        }
    }

    /// Waits for something, but no longer than for `BLOCK_WITHIN` without a new block.
    fn await_until(&self, reached: impl Fn(&Counts) -> bool) -> Result<MutexGuard<'_, Counts>, Failure> {
        let mut counts = self.lock();
        loop {
            let blocks = counts.blocks;
            let waits =
                |now: &mut Counts| !reached(now) && now.blocks == blocks && !matches!(now.stage, Stage::Failed(_));
            let (now, waited) =
                self.changed.wait_timeout_while(counts, BLOCK_WITHIN, waits).unwrap_or_else(PoisonError::into_inner);
            counts = now;
            match &counts.stage {
                Stage::Failed(why) => return Err(why.clone().into()),
                _ if reached(&counts) => return Ok(counts),
                _ if waited.timed_out() => {
                    return Err(format!("no block within {BLOCK_WITHIN:?} under load: {counts:?}").into());
                }
                _ => {}
            }
        }
    }
}

/// The transactions of a batch that a full mempool refused. Any other refusal is an error.
fn refusals(answer: &[u8]) -> Result<u64, Failure> {
    // Reading all answers would cost more of the cores than sending does.
    if count(answer, b"\"error\"") == 0 {
        return Ok(0);
    }
    let refused = |_| format!("a node refused a batch: {}", String::from_utf8_lossy(answer));
    let answers: Vec<Value> = serde_json::from_slice(answer).map_err(refused)?;
    let errors: Vec<String> = answers.iter().filter_map(|answer| Some(answer.get("error")?.to_string())).collect();
    match errors.iter().find(|error| !error.contains("mempool is full")) {
        Some(error) => Err(format!("a node refused a transaction: {error}").into()),
        None => Ok(errors.len() as u64),
    }
}

/// The load. It stops when this is dropped.
pub struct Flow {
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<()>>,
    _listening: Runtime,
}

/// A moment right after a block, and what all blocks of the load until then hold.
pub struct Milestone {
    pub at: Instant,
    pub blocks: u64,
    pub txs: u64,
}

impl Flow {
    /// Starts to send; the first transaction gets the number `first`, and at most `window` are under way.
    pub fn start(rpcs: &[String], first: u64, window: u64) -> Result<Flow, Failure> {
        let counts = Mutex::new(Counts { next: first, ..Counts::default() });
        let shared = Arc::new(Shared { window: window.max(BATCH), counts, changed: Condvar::new() });
        let listening = runtime()?;
        let events = listening.block_on(Events::subscribe(&rpcs[0], "NewBlockEvents"))?;
        let listener = Arc::clone(&shared);
        listening.spawn(async move {
            if let Err(why) = listener.count_blocks(events).await {
                listener.fail(&why);
            }
        });
        let sender = |connection: usize| {
            let (shared, rpc) = (Arc::clone(&shared), rpcs[connection % rpcs.len()].clone());
            std::thread::spawn(move || {
                if let Err(why) = shared.send_batches(&rpc) {
                    shared.fail(&why);
                }
            })
        };
        let senders = (0..CONNECTIONS).map(sender).collect();
        Ok(Flow { shared, senders, _listening: listening })
    }

    /// Waits for the next block.
    pub fn next_block(&self) -> Result<Milestone, Failure> {
        let before = self.shared.lock().blocks;
        let counts = self.shared.await_until(|counts| counts.blocks > before)?;
        Ok(Milestone { at: Instant::now(), blocks: counts.blocks, txs: counts.committed })
    }

    /// Ends the load and waits until every accepted transaction is in a block. Gives how many were refused.
    pub fn end(mut self) -> Result<u64, Failure> {
        self.stop();
        let counts = self.shared.await_until(|counts| counts.committed >= counts.accepted())?;
        if counts.committed > counts.accepted() {
            return Err(format!("there is more in the blocks than was accepted: {counts:?}").into());
        }
        Ok(counts.refused)
    }

    fn stop(&mut self) {
        self.shared.change(|counts| {
            if counts.stage == Stage::Sending {
                counts.stage = Stage::Over;
            }
        });
        for sender in self.senders.drain(..) {
            // What a sender that panicked had to say is on the screen.
            let _ = sender.join();
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.stop();
    }
}
