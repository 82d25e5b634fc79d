//! One connection's task: from the call or the accepted socket through the handshake to the end. It reports each step
//! to the hub and goes on when the hub says so.

use super::handshake::{HandshakeError, Upgraded, authenticate};
use super::hub::{PeerEntry, Shared};
use super::mux::{self, Connection, Ended};
use super::plan::{ConnId, End, Input};
use super::{Fault, PeerUp, Receiver};
use crate::types::{Channel, Direction, NodeId};
use bytes::Bytes;
use futures_util::FutureExt as _;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Messages on channel 0x00 that wait for the hub. Honest peers have at most a request and an answer there.
const PEX_WAITING_MAX: usize = 8;
/// What waits to be written when a connection is closed may take so long.
const FAREWELL: Duration = Duration::from_millis(500);
/// Data that is not acknowledged for so long means that the line is cut: without this, TCP goes on for a quarter of an
/// hour and a healed network waits for its next attempt.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(20);
/// A silent line is tried after this time, and as often again; together as long as [`UNACKNOWLEDGED_MAX`].
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Tries without answer.
const KEEPALIVE_TRIES: u32 = 3;

/// What the hub wants of a connection.
#[derive(Debug)]
pub(super) enum Order {
    /// Tell our node info.
    Proceed,
    /// Tell the node, carry messages.
    Up,
    /// Say this on channel 0x00.
    Say(Bytes),
}

/// Ends a connection from outside; the first reason wins.
#[derive(Debug, Clone, Default)]
pub(super) struct Closer(Arc<(CancellationToken, OnceLock<String>)>);

impl Closer {
    pub(super) fn close(&self, why: String) {
        let _ = self.0.1.set(why);
        self.0.0.cancel();
    }

    async fn closed(&self) -> String {
        self.0.0.cancelled().await;
        self.0.1.get().cloned().unwrap_or_default()
    }
}

/// Where a connection comes from.
#[derive(Debug)]
pub(super) enum Socket {
    Accepted(TcpStream, SocketAddr),
    Called { id: NodeId, address: String },
}

/// The task.
pub(super) struct Task<R> {
    shared: Arc<Shared>,
    receiver: Arc<R>,
    conn: ConnId,
    orders: mpsc::Receiver<Order>,
    closer: Closer,
    /// Who it is, from when the node is told that it is up until it is told that it is down.
    up: Option<NodeId>,
}

/// A handshake that is over, and what was known before.
struct Ready {
    upgraded: Upgraded<TcpStream>,
    direction: Direction,
    remote: SocketAddr,
}

impl<R: Receiver> Task<R> {
    pub(super) fn new(
        shared: Arc<Shared>,
        receiver: Arc<R>,
        conn: ConnId,
        orders: mpsc::Receiver<Order>,
        closer: Closer,
    ) -> Task<R> {
        Task { shared, receiver, conn, orders, closer, up: None }
    }

    /// Runs the connection to its end and reports it. A panic ends this connection alone, and it counts as the peer's
    /// fault: what it said brought it about, and it may say it again.
    pub(super) async fn run(mut self, socket: Socket) {
        let lived = AssertUnwindSafe(self.live(socket)).catch_unwind().await;
        let end = lived.unwrap_or_else(|_| End::Fault("our task for it panicked, which is a bug".to_owned()));
        if let Some(id) = self.up.take() {
            self.shared.remove_peer(&id);
            self.receiver.down(id, end.why().to_owned()).await;
        }
        self.shared.report(Input::Ended { conn: self.conn, end }).await;
    }

    async fn live(&mut self, socket: Socket) -> End {
        let (stop, closer) = (self.shared.stop.clone(), self.closer.clone());
        let ready = tokio::select! {
            biased;
            () = stop.cancelled() => return stopping(),
            why = closer.closed() => return End::Closed(why),
            ready = self.get_ready(socket) => ready,
        };
        match ready {
            Ok(ready) => self.carry(ready).await,
            Err(end) => end,
        }
    }

    /// Everything up to the hub's word that the peer is up.
    async fn get_ready(&mut self, socket: Socket) -> Result<Ready, End> {
        let shared = self.shared.clone();
        let (socket, remote, expected) = match socket {
            Socket::Accepted(socket, remote) => (socket, remote, None),
            Socket::Called { id, address } => {
                let called = tokio::time::timeout(shared.dial_timeout, call(&address)).await;
                let late = || {
                    Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {:?}", shared.dial_timeout)))
                };
                let (socket, remote) = called.unwrap_or_else(|_| late()).map_err(|why| End::Lost(why.to_string()))?;
                (socket, remote, Some(id))
            }
        };
        tune(&socket);
        let deadline = Instant::now() + shared.handshake_timeout;
        let late = |_| End::Lost(HandshakeError::Timeout(shared.handshake_timeout).to_string());
        let conn = self.conn;
        let proof = timeout_at(deadline, authenticate(socket, &shared.key, expected)).await;
        let authenticated = proof.map_err(late)?.map_err(end_of)?;
        shared.report(Input::Authenticated { conn, id: authenticated.id(), remote }).await;
        // It may be held back until another connection to the same node has failed: that is part of the handshake.
        let Some(Order::Proceed) = timeout_at(deadline, self.orders.recv()).await.map_err(late)? else {
            return Err(stopping());
        };
        let upgraded =
            timeout_at(deadline, authenticated.exchange(&shared.info)).await.map_err(late)?.map_err(end_of)?;
        shared.report(Input::Introduced { conn, info: upgraded.info.clone() }).await;
        let Some(Order::Up) = self.orders.recv().await else { return Err(stopping()) };
        let direction = if expected.is_some() { Direction::Outbound } else { Direction::Inbound };
        Ok(Ready { upgraded, direction, remote })
    }

    /// Tells the node that the peer is up, carries messages, tells it that the peer is down.
    async fn carry(&mut self, ready: Ready) -> End {
        let Ready { upgraded, direction, remote } = ready;
        let (id, info) = (upgraded.id, upgraded.info.clone());
        let (outbox, connection) = mux::open(upgraded, &self.shared.channels, &self.shared.mux);
        let peer = Arc::new(PeerEntry {
            info: info.clone(),
            direction,
            remote,
            outbox,
            closer: self.closer.clone(),
            useful: AtomicU64::new(0),
            fault: Mutex::new(None),
        });
        self.up = Some(id);
        self.shared.add_peer(id, peer.clone());
        self.receiver.up(PeerUp { id, info, direction }).await;
        let ended = self.carry_messages(&peer, connection).await;
        self.shared.remove_peer(&id);
        let fault = peer.fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        let end = match (fault, ended) {
            (Some(fault), _) | (None, Ended::Fault(fault)) => End::Fault(fault.to_string()),
            (None, Ended::Lost(why)) => End::Lost(why),
            (None, Ended::Told(why)) => End::Closed(why),
        };
        let messages = peer.useful.swap(0, Relaxed);
        if messages > 0 {
            self.shared.report(Input::Useful { id, messages }).await;
        }
        end
    }

    async fn carry_messages(&mut self, peer: &PeerEntry, connection: Connection<TcpStream>) -> Ended {
        let (pex, mut asked) = mpsc::channel(PEX_WAITING_MAX);
        let flood = |_| Fault("floods channel 0x00".to_owned());
        let mut running =
            pin!(connection.run(self.receiver.clone(), move |message| pex.try_send(message).map_err(flood)));
        let (shared, conn) = (&self.shared, self.conn);
        let why = loop {
            tokio::select! {
                biased;
                ended = &mut running => return ended,
                () = shared.stop.cancelled() => break "this node stops".to_owned(),
                why = self.closer.closed() => break why,
                Some(message) = asked.recv() => shared.report(Input::Pex { conn, message }).await,
                Some(order) = self.orders.recv() => {
                    // A full queue or a peer that does not listen there loses an answer it can ask for again.
                    if let Order::Say(message) = order { let _ = peer.outbox.send(Channel::Pex, message); }
                }
            }
        };
        let at_fault = peer.fault.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if at_fault {
            peer.outbox.close(why.clone());
        } else {
            peer.outbox.close_when_written(why.clone());
        }
        tokio::time::timeout(FAREWELL, running).await.unwrap_or(Ended::Told(why))
    }
}

fn stopping() -> End {
    End::Closed("this node stops".to_owned())
}

/// Tries every IP address of the name, in the system's order.
async fn call(address: &str) -> io::Result<(TcpStream, SocketAddr)> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no IP address");
    for at in tokio::net::lookup_host(address).await? {
        match TcpStream::connect(at).await {
            Ok(socket) => return Ok((socket, at)),
            Err(why) => last = why,
        }
    }
    Err(last)
}

/// Small messages leave at once; a dead line is noticed. A system that cannot do it carries messages nevertheless.
fn tune(socket: &TcpStream) {
    use rustix::net::sockopt;
    let _ = socket.set_nodelay(true);
    let millis = u32::try_from(UNACKNOWLEDGED_MAX.as_millis()).unwrap_or(u32::MAX);
    let _ = sockopt::set_tcp_user_timeout(socket, millis);
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, KEEPALIVE);
    let _ = sockopt::set_tcp_keepintvl(socket, KEEPALIVE);
    let _ = sockopt::set_tcp_keepcnt(socket, KEEPALIVE_TRIES);
}

/// Whose doing a failed handshake is.
fn end_of(error: HandshakeError) -> End {
    let why = error.to_string();
    match error {
        HandshakeError::Unexpected { .. } => End::WrongNode(why),
        HandshakeError::Ourselves => End::Ourselves,
        HandshakeError::Timeout(_) | HandshakeError::Io { .. } | HandshakeError::Closed(_) => End::Lost(why),
        HandshakeError::Incompatible(_) => End::Unfit(why),
        HandshakeError::Frame { .. }
        | HandshakeError::Malformed { .. }
        | HandshakeError::Secret(_)
        | HandshakeError::OtherName { .. } => End::Fault(why),
    }
}
