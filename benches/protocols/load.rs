//! An open-loop load: transactions are due at their time whether or not earlier ones were answered, and their latency
//! counts from then, so that a stall shows in full. All wait for their block.

use crate::rpc::{Client, Failure, base64, request};
use crate::wait;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes of one transaction: key, `=`, padding.
pub const TX_BYTES: usize = 250;
/// Connections are made for this much of the load: a longer stall makes it late.
const SECONDS_WAITING: u64 = 8;

#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Transactions a second.
    pub rate: u64,
    /// Transactions in one request.
    pub batch: u64,
    pub seconds: u64,
}

/// What was told to the clients.
#[derive(Debug, Default)]
pub struct Report {
    pub sent: u64,
    /// Number and height of every acknowledged transaction.
    pub acknowledged: Vec<(u64, u64)>,
    /// Transactions whose connection was lost or could not be made: their fate is open.
    pub unanswered: u64,
    /// Answers that were errors, counted by what they said.
    pub errors: BTreeMap<String, u64>,
    /// From due to answered, of every acknowledged batch, in milliseconds.
    pub latencies: Vec<f64>,
}

impl Report {
    fn add(&mut self, other: Report) {
        self.sent += other.sent;
        self.acknowledged.extend(other.acknowledged);
        self.unanswered += other.unanswered;
        self.latencies.extend(other.latencies);
        for (why, count) in other.errors {
            *self.errors.entry(why).or_default() += count;
        }
    }
}

struct Shared {
    plan: Plan,
    begin: Instant,
    doors: Vec<Door>,
    next: AtomicU64,
}

/// A node, as senders see it.
struct Door {
    rpc: String,
    up: AtomicBool,
    /// How often it came back: connections to an earlier life are dead.
    life: AtomicU64,
}

/// A sender's connections: to which node, and in which life of it.
type Clients = BTreeMap<usize, (u64, Instant, Client)>;
/// A node hangs up on who asks nothing for 10 s, as CometBFT does: a connection at rest for longer than this is not used again.
const REST_MAX: Duration = Duration::from_secs(5);

/// A load under way.
pub struct Load {
    shared: Arc<Shared>,
    senders: Vec<JoinHandle<Result<Report, Failure>>>,
}

impl Load {
    pub fn start(plan: Plan, rpcs: Vec<String>) -> Load {
        let door = |rpc| Door { rpc, up: AtomicBool::new(true), life: AtomicU64::new(0) };
        let doors = rpcs.into_iter().map(door).collect();
        let shared = Arc::new(Shared { plan, begin: Instant::now(), doors, next: AtomicU64::new(0) });
        let sender = |number: u64| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.send_all(number as usize))
        };
        let count = (plan.rate * SECONDS_WAITING).div_ceil(plan.batch);
        Load { senders: (0..count).map(sender).collect(), shared: Arc::clone(&shared) }
    }

    /// Says whether a node is to be given transactions.
    pub fn node_is(&self, node: usize, up: Up) {
        let door = &self.shared.doors[node];
        door.life.fetch_add(u64::from(up == Up::Yes), Ordering::Relaxed);
        door.up.store(up == Up::Yes, Ordering::Release);
    }

    /// Waits for the end of the load.
    pub fn end(self) -> Result<Report, Failure> {
        let mut whole = Report::default();
        for sender in self.senders {
            whole.add(sender.join().map_err(|_| "a sender panicked")??);
        }
        Ok(whole)
    }
}

/// Whether a node is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Up {
    Yes,
    No,
}

/// The begin of every transaction of this load.
fn mark() -> String {
    format!("load{}-", std::process::id())
}

/// The number of a transaction of this load; none for any other.
pub fn number_of(tx: &[u8]) -> Option<u64> {
    let rest = tx.strip_prefix(mark().as_bytes())?;
    let end = rest.iter().position(|byte| *byte == b'=')?;
    std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()
}

/// A transaction, as JSON carries it.
pub fn tx(number: u64) -> String {
    let mut tx = format!("{}{number}=", mark()).into_bytes();
    tx.resize(TX_BYTES, b'x');
    base64(&tx)
}

/// What is read of an answer of `broadcast_tx_commit`.
#[derive(Deserialize)]
struct Answer {
    id: u64,
    result: Option<Committed>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Committed {
    height: String,
}

impl Shared {
    fn send_all(&self, sender: usize) -> Result<Report, Failure> {
        let (mut report, mut clients) = (Report::default(), Clients::new());
        loop {
            let first = self.next.fetch_add(1, Ordering::Relaxed) * self.plan.batch;
            let end = (first + self.plan.batch).min(self.plan.rate * self.plan.seconds);
            if first >= end {
                return Ok(report);
            }
            let due = self.begin + Duration::from_secs_f64(first as f64 / self.plan.rate as f64);
            wait(due.saturating_duration_since(Instant::now()));
            report.sent += end - first;
            let requests: Vec<String> =
                (first..end).map(|number| request("broadcast_tx_commit", &tx(number), number)).collect();
            match self.post(&mut clients, sender, &format!("[{}]", requests.join(","))) {
                Some(answer) => read_answers(&mut report, &answer, due)?,
                None => report.unanswered += end - first,
            }
        }
    }

    /// Gives a request to this sender's node, or to the next that is up. None when its answer was lost.
    fn post(&self, clients: &mut Clients, sender: usize, body: &str) -> Option<Vec<u8>> {
        let count = self.doors.len();
        for node in (sender..sender + count).map(|node| node % count) {
            let door = &self.doors[node];
            if !door.up.load(Ordering::Acquire) {
                continue;
            }
            let life = door.life.load(Ordering::Relaxed);
            let fresh = |(of, used, _): &(u64, Instant, Client)| *of == life && used.elapsed() < REST_MAX;
            let known = clients.remove(&node).filter(fresh).map(|(.., client)| client);
            // A node that cannot be reached got nothing: another may have it.
            let Some(mut client) = known.or_else(|| Client::connect(&door.rpc).ok()) else { continue };
            let answer = client.post(body).ok()?;
            clients.insert(node, (life, Instant::now(), client));
            return Some(answer);
        }
        None
    }
}

fn read_answers(report: &mut Report, answer: &[u8], due: Instant) -> Result<(), Failure> {
    let answers: Vec<Answer> = match answer.first() {
        Some(b'[') => serde_json::from_slice(answer)?,
        _ => vec![serde_json::from_slice(answer)?], // a batch of one is answered without brackets
    };
    let before = report.acknowledged.len();
    for answer in answers {
        match answer.result {
            Some(committed) => match committed.height.parse()? {
                0 => *report.errors.entry("refused by CheckTx".to_owned()).or_default() += 1,
                height => report.acknowledged.push((answer.id, height)),
            },
            None => {
                let why = answer.error.map(|error| error["data"].to_string()).unwrap_or_default();
                *report.errors.entry(why).or_default() += 1;
            }
        }
    }
    if report.acknowledged.len() > before {
        report.latencies.push(due.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}
