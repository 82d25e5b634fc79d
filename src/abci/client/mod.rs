//! The node's side of the ABCI socket: four independent, pipelined connections to one application.
//!
//! Unlike CometBFT, which kills the node when one of them breaks (reference §14.3), the node outlives its application:
//! [`SocketApp::closed`] tells it, [`SocketApp::reconnect`] makes all four anew, and the handshake decides what is
//! replayed. Between the two, calls on what is broken fail at once; nothing is repeated behind the node's back.

mod link;

use super::address::{Address, Duplex};
use crate::ports::{App, AppError, Connection};
use crate::types::abci::{Request, Response};
pub(super) use link::{Limits, Link};
use std::fmt;
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A message that the application is awaited is due this often.
const REPORT_EVERY: Duration = Duration::from_secs(3);
/// Pause after the first failed attempt to connect; doubles up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Longest pause between two attempts: an application that came up is noticed within this time.
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);

/// How to treat the application.
#[derive(Clone)]
pub struct Options {
    /// Largest answer accepted, in bytes. Default 128 MiB: above the largest block (100 MiB).
    pub answer_bytes_max: usize,
    /// Requests sent on one connection before their answers must come; larger batches go out in parts. Default 16,384.
    /// Applications that shed load, as tower-abci's example does above ten, need it low.
    pub requests_in_flight_max: NonZeroU16,
    /// Longest time an answer may take. No limit by default, as in CometBFT: a block may take long, and while it does
    /// an application with one lock answers on no connection.
    pub time_limits: TimeLimits,
    /// Called while the application is awaited, at once and then every 3 s. Logs a warning by default.
    pub waiting: Arc<dyn Fn(&Waiting<'_>) + Send + Sync>,
}

/// Longest time an answer may take, by connection; `None` is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct TimeLimits {
    /// Calls that decide blocks.
    pub consensus: Option<Duration>,
    /// CheckTx.
    pub mempool: Option<Duration>,
    /// Info and Query.
    pub query: Option<Duration>,
    /// Snapshots.
    pub snapshot: Option<Duration>,
}

/// The application cannot be reached yet. Prints as a line for people.
#[derive(Debug)]
pub struct Waiting<'a> {
    /// Where it should listen.
    pub address: &'a Address,
    /// Waiting for so long already.
    pub since: Duration,
    /// What the last attempt met.
    pub error: std::io::Error,
}

/// Which connection was lost first, and why.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the {connection:?} connection to the application was lost with {unanswered} requests unanswered: {why}")]
pub struct Lost {
    /// Which connection.
    pub connection: Connection,
    /// What the system, or our check of an answer, said.
    pub why: String,
    /// How many requests had been sent on it and not answered.
    pub unanswered: usize,
}

/// An application behind a socket. Clones share the connections; when the last is dropped, they are closed.
#[derive(Clone)]
pub struct SocketApp {
    shared: Arc<Shared>,
}

struct Shared {
    address: Address,
    options: Options,
    /// Replaced as a whole by `reconnect`.
    links: Mutex<Links>,
}

#[derive(Clone)]
struct Links {
    query: Arc<Link>,
    snapshot: Arc<Link>,
    mempool: Arc<Link>,
    consensus: Arc<Link>,
    lost: watch::Receiver<Option<Lost>>,
}

/// Connects to an application, waiting for it as long as it takes. Dropping the future cancels.
pub async fn connect(address: Address, options: Options) -> SocketApp {
    let links = Links::open(&address, &options).await;
    SocketApp { shared: Arc::new(Shared { address, options, links: Mutex::new(links) }) }
}

impl SocketApp {
    /// Where the application listens.
    pub fn address(&self) -> &Address {
        &self.shared.address
    }

    /// Waits until one of the four connections is lost and tells which and why. The others go on until
    /// [`SocketApp::reconnect`], so that calls on their way may still be answered.
    pub async fn closed(&self) -> Lost {
        let mut lost = self.links().lost.clone();
        let found = lost.wait_for(Option::is_some).await.ok().and_then(|lost| lost.clone());
        found.unwrap_or_else(|| Lost {
            connection: Connection::Query,
            why: "all connections were closed".to_owned(),
            unanswered: 0,
        })
    }

    /// Closes all four connections and makes them anew, waiting for the application as long as it takes. Whatever
    /// still waited for an answer fails. Dropping the future cancels; calls then fail until the next `reconnect`.
    pub async fn reconnect(&self) {
        self.links().close("the node is connecting anew");
        let links = Links::open(&self.shared.address, &self.shared.options).await;
        *self.lock_links() = links;
    }

    /// Closes all four connections. Whatever still waits for an answer fails, and so does every later call.
    pub fn close(&self, why: &str) {
        self.links().close(why);
    }

    fn links(&self) -> Links {
        self.lock_links().clone()
    }

    fn lock_links(&self) -> MutexGuard<'_, Links> {
        self.shared.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App for SocketApp {
    async fn call(&self, connection: Connection, requests: Vec<Request>) -> Result<Vec<Response>, AppError> {
        let link = self.links().of(connection);
        link.call(requests).await
    }
}

impl Links {
    async fn open(address: &Address, options: &Options) -> Links {
        let (report, lost) = watch::channel(None);
        let open = async |connection| {
            let duplex = reach(address, options).await;
            let limits = Limits {
                answer_bytes_max: options.answer_bytes_max,
                requests_in_flight_max: options.requests_in_flight_max,
                answer_within: options.time_limits.of(connection),
            };
            Arc::new(Link::start(connection, duplex, limits, report.clone()))
        };
        // CometBFT's order, which some applications count on (reference §3.4).
        let query = open(Connection::Query).await;
        let snapshot = open(Connection::Snapshot).await;
        let mempool = open(Connection::Mempool).await;
        let consensus = open(Connection::Consensus).await;
        Links { query, snapshot, mempool, consensus, lost }
    }

    fn of(self, connection: Connection) -> Arc<Link> {
        match connection {
            Connection::Query => self.query,
            Connection::Snapshot => self.snapshot,
            Connection::Mempool => self.mempool,
            Connection::Consensus => self.consensus,
        }
    }

    fn close(&self, why: &str) {
        for link in [&self.query, &self.snapshot, &self.mempool, &self.consensus] {
            link.close(why);
        }
    }
}

/// One connection, tried until it is there. There is nothing to be told by a socket that nobody has opened yet, so
/// this is the one place that tries again by the clock.
async fn reach(address: &Address, options: &Options) -> Duplex {
    let began = Instant::now();
    let mut report_at = began;
    let mut pause = RETRY_PAUSE;
    loop {
        let error = match address.connect().await {
            Ok(duplex) => return duplex,
            Err(error) => error,
        };
        if Instant::now() >= report_at {
            (options.waiting)(&Waiting { address, since: began.elapsed(), error });
            report_at += REPORT_EVERY;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_PAUSE_MAX);
    }
}

impl TimeLimits {
    fn of(&self, connection: Connection) -> Option<Duration> {
        match connection {
            Connection::Consensus => self.consensus,
            Connection::Mempool => self.mempool,
            Connection::Query if mutant!("O95") => self.mempool,
            Connection::Query => self.query,
            Connection::Snapshot => self.snapshot,
        }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            answer_bytes_max: 128 << 20,
            requests_in_flight_max: NonZeroU16::new(16_384).expect("16,384 is not zero"),
            time_limits: TimeLimits::default(),
            waiting: Arc::new(|waiting| tracing::warn!("{waiting}")),
        }
    }
}

impl fmt::Display for Waiting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Waiting { address, since, error } = self;
        write!(f, "waiting for the application at {address} ({error})")?;
        if since.as_secs() > 0 {
            write!(f, " for {} s", since.as_secs())?;
        }
        write!(f, "; start it there, or name its address with --proxy_app; without one: --proxy_app kvstore")
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("answer_bytes_max", &self.answer_bytes_max)
            .field("requests_in_flight_max", &self.requests_in_flight_max)
            .field("time_limits", &self.time_limits)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SocketApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SocketApp").field(&self.shared.address).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_has_its_own_time_limit() {
        let seconds = |number| Some(Duration::from_secs(number));
        let limits = TimeLimits { consensus: seconds(1), mempool: seconds(2), query: seconds(3), snapshot: seconds(4) };
        let all = [Connection::Consensus, Connection::Mempool, Connection::Query, Connection::Snapshot];
        assert_eq!(all.map(|connection| limits.of(connection)), [seconds(1), seconds(2), seconds(3), seconds(4)]);
    }
}
