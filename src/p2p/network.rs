//! The network's handle: what the node gives it, and what it may ask of it.

use super::book::read_file;
use super::channels::ChannelTable;
use super::hub::{self, Hub, PeerEntry, REPORTS_MAX, Report, Shared};
use super::mux::MuxSettings;
use super::plan::{Input, Now, Planner, Wish};
use super::{Fault, Receiver};
use crate::crypto::PrivateKey;
use crate::polls::watched;
use crate::ports::{AddressView, Choice, DialKind, DialRequest, PeerView};
use crate::types::{Algorithm, Channel, NodeId, NodeInfo, Time};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::{SetOnce, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// Its queue is full: the peer reads more slowly than we talk.
    #[error("the queue to this peer is full")]
    Full,
    /// There is no connection to this peer.
    #[error("there is no connection to this peer")]
    Gone,
    /// The peer does not listen on this channel.
    #[error("the peer does not listen on this channel")]
    NotSpoken,
    /// No peer would take a message of this size on this channel.
    #[error("a message of {bytes} bytes is too large for this channel: at most {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The channel's limit.
        max: usize,
    },
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for peers on {address}: {source}. {remedy}")]
pub struct BindError {
    /// The address.
    pub address: String,
    /// What to do.
    pub remedy: &'static str,
    /// What the system said.
    pub source: std::io::Error,
}

/// A peer an operator names: who must answer where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerAddress {
    /// Who must answer.
    pub id: NodeId,
    /// `host:port`; the name is looked up at each call.
    pub address: String,
}

/// What an operator decides about the network (`[p2p]` of config.toml).
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whom to ask for addresses.
    pub seeds: Vec<PeerAddress>,
    /// To whom a connection is always kept.
    pub persistent_peers: Vec<PeerAddress>,
    /// Who may exceed the limits.
    pub unconditional: BTreeSet<NodeId>,
    /// Whose addresses are not told.
    pub private: BTreeSet<NodeId>,
    /// Who may connect at all; everybody when empty.
    pub peers_only: BTreeSet<NodeId>,
    /// Longest pause between attempts to reach a persistent peer; none for the built-in back-off.
    pub persistent_max_dial_period: Option<Duration>,
    /// Peers that called us.
    pub max_inbound: usize,
    /// Peers we called, persistent ones not counted.
    pub max_outbound: usize,
    /// Exchange addresses.
    pub pex: bool,
    /// Only collect and give addresses.
    pub seed_mode: bool,
    /// Only routable addresses in the book.
    pub strict: bool,
    /// Several peers with one IP address.
    pub allow_duplicate_ip: bool,
    /// For a handshake.
    pub handshake_timeout: Duration,
    /// For a connection.
    pub dial_timeout: Duration,
    /// Bytes per second to one peer; 0 for no limit.
    pub send_rate: u64,
    /// Bytes per second from one peer; 0 for no limit.
    pub recv_rate: u64,
    /// Bytes in one packet.
    pub packet_payload_max: usize,
    /// Bytes of one transaction, which decide how long messages of the mempool channel may be.
    pub max_tx_bytes: u64,
}

/// Everything the network needs to start.
#[derive(Debug)]
pub struct NetworkOptions {
    /// Who we are.
    pub node_key: PrivateKey,
    /// What we say about ourselves. Its channels are those we listen on.
    pub info: NodeInfo,
    /// Which protocol the chain runs.
    pub algorithm: Algorithm,
    /// Where peers call; made by [`bind`].
    pub listeners: Vec<TcpListener>,
    /// What the operator decided.
    pub settings: Settings,
    /// File of known addresses, in CometBFT's format.
    pub address_book: PathBuf,
}

/// A running network. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

/// Takes the addresses, each `host:port`. Do it early: a port in use is an operator's mistake, not a peer's.
pub async fn bind(addresses: &[String]) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let refused = |source: std::io::Error| BindError {
            address: address.clone(),
            remedy: match source.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "Stop the other program (ss -ltnp shows it) or choose another port with p2p.laddr in config.toml."
                }
                std::io::ErrorKind::PermissionDenied => "Choose a port above 1023 with p2p.laddr in config.toml.",
                _ => "Set p2p.laddr in config.toml to an address of this machine, as tcp://0.0.0.0:26656.",
            },
            source,
        };
        listeners.push(TcpListener::bind(address.as_str()).await.map_err(refused)?);
    }
    Ok(listeners)
}

/// Starts to listen and to call. Must be called inside a tokio runtime. Everything ends within a second of `stop`;
/// [`Network::stopped`] waits for that. An address book that cannot be read is begun anew: it is only a help.
pub fn start<R: Receiver>(options: NetworkOptions, receiver: Arc<R>, stop: CancellationToken) -> Network {
    let NetworkOptions { node_key, info, algorithm, listeners, settings, address_book } = options;
    // Peers tell by the channels which protocol our chain runs.
    let shown = super::compatible::algorithm(&info.channels);
    assert!(shown.is_none_or(|shown| shown == algorithm), "the channels of a {algorithm} node are not {shown:?}'s");
    let began = Instant::now();
    let now = Now { at: Duration::ZERO, wall: Time::from(SystemTime::now()) };
    let file = read_file(&address_book).unwrap_or_else(|why| {
        tracing::warn!("the address book is begun anew: {why}");
        None
    });
    let spoken: Vec<Channel> = info.channels.iter().filter_map(|id| Channel::from_id(*id)).collect();
    let channels = ChannelTable::new(&spoken, settings.max_tx_bytes);
    let mux = MuxSettings {
        send_rate: settings.send_rate,
        recv_rate: settings.recv_rate,
        packet_payload_max: settings.packet_payload_max,
        ..MuxSettings::default()
    };
    let (handshake_timeout, dial_timeout) = (settings.handshake_timeout, settings.dial_timeout);
    let (planner, trouble) = Planner::new(settings, &info, file.as_deref(), now, rand::random());
    if let Some(trouble) = trouble {
        tracing::warn!("{}: {trouble}", address_book.display());
    }
    let (reports, taken) = mpsc::channel(REPORTS_MAX);
    let shared = Arc::new(Shared {
        planner: Mutex::new(planner),
        peers: RwLock::default(),
        reports,
        began,
        tasks: TaskTracker::new(),
        stop,
        key: node_key,
        info,
        channels,
        mux,
        handshake_timeout,
        dial_timeout,
        book: address_book,
        failed: SetOnce::new(),
    });
    let mut parts = JoinSet::new();
    for listener in listeners {
        parts.spawn(hub::listen(shared.clone(), listener));
    }
    parts.spawn(watched("the hub", Hub::new(shared.clone(), receiver, taken).run()));
    shared.tasks.spawn(hub::watch(shared.clone(), parts));
    shared.tasks.close();
    Network { shared }
}

impl Network {
    /// Queues a message for a peer and never waits; callable from any thread. A peer whose State channel is full does
    /// not read and is dropped.
    pub fn send(&self, peer: NodeId, channel: Channel, message: Bytes) -> Result<(), NotSent> {
        let entry = self.shared.peer(&peer).ok_or(NotSent::Gone)?;
        let sent = entry.outbox.send(channel, message);
        if sent == Err(NotSent::Full) && channel == Channel::State {
            drop_entry(&entry, Fault("does not read what we say: its queue of channel 0x20 is full".to_owned()));
        }
        sent
    }

    /// Queues a message, waiting for room; never answers [`NotSent::Full`].
    pub async fn send_when_possible(&self, peer: NodeId, channel: Channel, message: Bytes) -> Result<(), NotSent> {
        let entry = self.shared.peer(&peer).ok_or(NotSent::Gone)?;
        entry.outbox.send_when_possible(channel, message).await
    }

    /// Ends the connection to a peer and remembers why; it is banned for a time that grows with each fault, unless it
    /// is persistent or unconditional. Callable from any thread.
    pub fn drop_peer(&self, peer: NodeId, fault: Fault) {
        if let Some(entry) = self.shared.peer(&peer) {
            drop_entry(&entry, fault);
        }
    }

    /// Counts a useful message of a peer. Cheap; callable from any thread.
    pub fn useful(&self, peer: NodeId) {
        if let Some(entry) = self.shared.peer(&peer) {
            entry.useful.fetch_add(1, Relaxed);
        }
    }

    /// Peers with a standing connection, by id.
    pub fn peers(&self) -> Vec<PeerView> {
        let peers = self.shared.all_peers();
        let planner = self.shared.planner();
        let view = |(id, entry): &(NodeId, Arc<PeerEntry>)| {
            let stats = entry.outbox.stats();
            let uncounted = i64::try_from(entry.useful.load(Relaxed)).unwrap_or(i64::MAX);
            PeerView {
                info: entry.info.clone(),
                direction: entry.direction,
                remote_ip: entry.remote.ip().to_canonical(),
                connected_for: stats.connected_for,
                sent: stats.sent,
                received: stats.received,
                channels: stats.channels.iter().map(|channel| channel.view).collect(),
                score: planner.score(id).saturating_add(uncounted),
            }
        };
        peers.iter().map(view).collect()
    }

    /// Addresses we mean to call and what became of it, then peers we dropped or refused.
    pub fn known(&self) -> Vec<AddressView> {
        let now = self.shared.now();
        self.shared.planner().known(now)
    }

    /// Calls addresses an operator gave. The error says which one cannot be called and why; then none is.
    pub fn dial(&self, request: DialRequest) -> Result<(), String> {
        let peers: Vec<PeerAddress> =
            request.addresses.iter().map(|text| text.parse()).collect::<Result<_, String>>()?;
        let wish = match request.kind {
            DialKind::Seeds => Wish::Seed,
            DialKind::Peers { persistent, unconditional, private } => {
                let ids = || peers.iter().map(|peer| peer.id);
                let mut planner = self.shared.planner();
                if unconditional == Choice::Yes {
                    planner.exempt(ids());
                }
                if private == Choice::Yes {
                    planner.keep_private(ids());
                }
                if persistent == Choice::Yes { Wish::Persistent } else { Wish::Once }
            }
        };
        let report = Report::Input(Input::Named { peers, wish });
        self.shared.reports.try_send(report).map_err(|_| "the network is busy or stopping: try again".to_owned())
    }

    /// Waits until a part fails without which there is no network, and says which; never ends while all is well. A panic
    /// in a peer's task is none: it ends that connection.
    pub async fn failed(&self) -> String {
        self.shared.failed.wait().await.clone()
    }

    /// Makes the hub panic.
    #[cfg(test)]
    pub(crate) fn break_hub(&self) {
        self.shared.reports.try_send(Report::Panic).expect("there is room");
    }

    /// Waits until every task has ended and the address book is saved, after `stop` was cancelled.
    pub async fn stopped(&self) {
        self.shared.tasks.wait().await;
    }
}

fn drop_entry(entry: &PeerEntry, fault: Fault) {
    let why = fault.to_string();
    // The first fault is the one that counts.
    entry.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(fault);
    entry.closer.close(why);
}

impl std::str::FromStr for PeerAddress {
    type Err = String;

    /// `id@host:port`, with or without `tcp://` before it.
    fn from_str(text: &str) -> Result<PeerAddress, String> {
        let wrong = |why: &str| format!("{text:?} cannot be called: {why}; write ID@HOST:PORT");
        let bare = text.strip_prefix("tcp://").unwrap_or(text);
        let (id, address) = bare.split_once('@').ok_or_else(|| wrong("the node's id is missing"))?;
        let id = id.parse().map_err(|_| wrong("the id must have 40 hex digits"))?;
        let (host, port) = address.rsplit_once(':').ok_or_else(|| wrong("the port is missing"))?;
        if host.is_empty() || port.parse::<u16>().is_ok_and(|port| port == 0) || port.parse::<u16>().is_err() {
            return Err(wrong("the host is missing or the port is none"));
        }
        Ok(PeerAddress { id, address: address.to_owned() })
    }
}
