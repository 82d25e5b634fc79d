//! The planner's shell: takes what connections and listeners report, steps the planner, does what it says.
//!
//! One task owns the order of things; each connection and each listener has a task of its own. Nothing here waits for a
//! peer.

use super::book::write_file;
use super::channels::ChannelTable;
use super::mux::{MuxSettings, Outbox};
use super::peer::{self, Closer, Order, Socket};
use super::plan::{ConnId, Effect, Input, Level, Now, Planner};
use super::{Fault, Receiver};
use crate::crypto::PrivateKey;
use crate::polls::watched;
use crate::types::{Direction, NodeId, NodeInfo, Time};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{SetOnce, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Reports that wait for the hub; whoever has one more waits with it.
pub(super) const REPORTS_MAX: usize = 1024;
/// Orders that wait for one connection: each stage gives one, answers on channel 0x00 are limited by their rate.
const ORDERS_MAX: usize = 16;
/// Pauses of a listener that cannot accept, usually for want of file descriptors, double from the first to the last.
const ACCEPT_PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// What the network's tasks and handles share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Stepped by the hub alone; others look.
    pub(super) planner: Mutex<Planner>,
    /// Peers the node was told are up and not yet told are down.
    pub(super) peers: RwLock<BTreeMap<NodeId, Arc<PeerEntry>>>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) began: Instant,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    pub(super) key: PrivateKey,
    pub(super) info: NodeInfo,
    pub(super) channels: ChannelTable,
    pub(super) mux: MuxSettings,
    pub(super) handshake_timeout: Duration,
    pub(super) dial_timeout: Duration,
    pub(super) book: PathBuf,
    /// Set when a part fails without which there is no network.
    pub(super) failed: SetOnce<String>,
}

/// A peer that is up.
#[derive(Debug)]
pub(super) struct PeerEntry {
    pub(super) info: NodeInfo,
    pub(super) direction: Direction,
    pub(super) remote: SocketAddr,
    pub(super) outbox: Outbox,
    pub(super) closer: Closer,
    /// Useful messages not yet counted by the planner.
    pub(super) useful: AtomicU64,
    /// Why the node dropped it.
    pub(super) fault: Mutex<Option<Fault>>,
}

/// What the hub is told.
#[derive(Debug)]
pub(super) enum Report {
    /// Somebody called.
    Accepted(TcpStream, SocketAddr),
    /// Anything else.
    Input(Input),
    /// For stories about a hub that fails.
    #[cfg(test)]
    Panic,
}

impl Shared {
    pub(super) fn now(&self) -> Now {
        Now { at: self.began.elapsed(), wall: Time::from(SystemTime::now()) }
    }

    pub(super) fn planner(&self) -> MutexGuard<'_, Planner> {
        self.planner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn peer(&self, id: &NodeId) -> Option<Arc<PeerEntry>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(super) fn all_peers(&self) -> Vec<(NodeId, Arc<PeerEntry>)> {
        let peers = self.peers.read().unwrap_or_else(PoisonError::into_inner);
        peers.iter().map(|(id, entry)| (*id, entry.clone())).collect()
    }

    pub(super) fn add_peer(&self, id: NodeId, entry: Arc<PeerEntry>) {
        self.peers.write().unwrap_or_else(PoisonError::into_inner).insert(id, entry);
    }

    pub(super) fn remove_peer(&self, id: &NodeId) {
        self.peers.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Tells the hub; after the hub has ended nobody listens and nothing is lost.
    pub(super) async fn report(&self, input: Input) {
        let _ = self.reports.send(Report::Input(input)).await;
    }
}

/// A connection's task, as the hub sees it.
struct Connection {
    orders: mpsc::Sender<Order>,
    closer: Closer,
}

/// The task that steps the planner.
pub(super) struct Hub<R> {
    shared: Arc<Shared>,
    receiver: Arc<R>,
    reports: mpsc::Receiver<Report>,
    connections: BTreeMap<ConnId, Connection>,
    saving: Option<JoinHandle<()>>,
}

impl<R: Receiver> Hub<R> {
    pub(super) fn new(shared: Arc<Shared>, receiver: Arc<R>, reports: mpsc::Receiver<Report>) -> Hub<R> {
        Hub { shared, receiver, reports, connections: BTreeMap::new(), saving: None }
    }

    /// Runs until the network stops, then saves the address book.
    pub(super) async fn run(mut self) -> &'static str {
        let stop = self.shared.stop.clone();
        self.step(Input::Tick, None);
        loop {
            let wake = self.shared.began + self.shared.planner().wake_at();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(report) = self.reports.recv() => self.take(report),
                () = tokio::time::sleep_until(wake) => {
                    self.count_useful();
                    self.step(Input::Tick, None);
                }
            }
        }
        // Reports of connections that end now are of no interest any more.
        self.reports.close();
        self.count_useful();
        let last = self.shared.planner().unsaved_book();
        self.finish_saving().await;
        if let Some(book) = last {
            self.save(book);
            self.finish_saving().await;
        }
        "the hub"
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Accepted(socket, remote) => {
                let conn = self.shared.planner().new_conn();
                self.step(Input::Accepted { conn, ip: remote.ip() }, Some((socket, remote)));
            }
            Report::Input(input) => {
                if let Input::Ended { conn, .. } = &input {
                    self.connections.remove(conn);
                }
                self.step(input, None);
            }
            #[cfg(test)]
            Report::Panic => panic!("planted"),
        }
    }

    fn count_useful(&mut self) {
        for (id, peer) in self.shared.all_peers() {
            let messages = peer.useful.swap(0, Relaxed);
            if messages > 0 {
                self.step(Input::Useful { id, messages }, None);
            }
        }
    }

    fn step(&mut self, input: Input, mut socket: Option<(TcpStream, SocketAddr)>) {
        let mut effects = Vec::new();
        let now = self.shared.now();
        self.shared.planner().step(now, input, &mut effects);
        for effect in effects {
            self.execute(effect, &mut socket);
        }
    }

    fn execute(&mut self, effect: Effect, socket: &mut Option<(TcpStream, SocketAddr)>) {
        match effect {
            Effect::Dial { conn, id, address } => self.connect(conn, Socket::Called { id, address }),
            Effect::Begin { conn } => {
                let accepted = socket.take().expect("only an accepted connection begins, in the step that took it");
                self.connect(conn, Socket::Accepted(accepted.0, accepted.1));
            }
            Effect::Proceed { conn } => self.order(conn, Order::Proceed),
            Effect::Up { conn } => self.order(conn, Order::Up),
            Effect::Pex { conn, message } => self.order(conn, Order::Say(message)),
            Effect::Close { conn, why } => {
                // Without a task it is the socket just accepted, which is dropped.
                if let Some(connection) = self.connections.get(&conn) {
                    connection.closer.close(why);
                }
            }
            Effect::Save { book } => self.save(book),
            Effect::Say { level, text } => match level {
                Level::Warn => tracing::warn!("{text}"),
                Level::Info => tracing::info!("{text}"),
                Level::Debug => tracing::debug!("{text}"),
            },
        }
    }

    fn connect(&mut self, conn: ConnId, socket: Socket) {
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let closer = Closer::default();
        self.connections.insert(conn, Connection { orders, closer: closer.clone() });
        let task = peer::Task::new(self.shared.clone(), self.receiver.clone(), conn, taken, closer);
        self.shared.tasks.spawn(watched("a peer", task.run(socket)));
    }

    /// A connection that has ended in the meantime needs no orders; one that does not take them is closed.
    fn order(&self, conn: ConnId, order: Order) {
        let Some(connection) = self.connections.get(&conn) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = connection.orders.try_send(order) {
            connection.closer.close("it is stuck".to_owned());
        }
    }

    fn save(&mut self, book: Vec<u8>) {
        let path = self.shared.book.clone();
        let before = self.saving.take();
        self.saving = Some(tokio::spawn(async move {
            // One after the other: both write the same file.
            if let Some(before) = before {
                let _ = before.await;
            }
            let written = tokio::task::spawn_blocking(move || write_file(&path, &book)).await;
            if let Ok(Err(why)) = written {
                tracing::warn!("the address book is not saved, peers found since then are lost at a stop: {why}");
            }
        }));
    }

    async fn finish_saving(&mut self) {
        if let Some(saving) = self.saving.take() {
            let _ = saving.await;
        }
    }
}

/// Waits for the hub and the listeners; the first that ends before the network is stopped ends it.
pub(super) async fn watch(shared: Arc<Shared>, mut parts: JoinSet<&'static str>) {
    while let Some(ended) = parts.join_next().await {
        let failed = match ended {
            Err(why) if why.is_panic() => "a part of the network panicked".to_owned(),
            Ok(part) if !shared.stop.is_cancelled() => format!("{part} of the network ended before it was told to"),
            Ok(_) | Err(_) => continue,
        };
        // The first is the one that counts.
        let _ = shared.failed.set(failed);
    }
}

/// Accepts calls until the network stops. What the system cannot give now, such as file descriptors, it may give later.
pub(super) async fn listen(shared: Arc<Shared>, listener: TcpListener) -> &'static str {
    const NAME: &str = "a listener";
    let mut pause = ACCEPT_PAUSES.0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.stop.cancelled() => return NAME,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, remote)) => {
                pause = ACCEPT_PAUSES.0;
                if shared.reports.send(Report::Accepted(socket, remote)).await.is_err() {
                    return NAME;
                }
            }
            // The caller's trouble, not ours.
            Err(why) if why.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(why) => {
                if pause == ACCEPT_PAUSES.0 {
                    tracing::warn!(
                        "calls of peers are not answered for now: {why} (ulimit -n shows how many files may be open)"
                    );
                }
                tokio::select! {
                    () = shared.stop.cancelled() => return NAME,
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(ACCEPT_PAUSES.1),
                }
            }
        }
    }
}
