//! The network's handle: what the node gives it, and what it may ask of it.

use super::{Fault, Receiver};
use crate::crypto::PrivateKey;
use crate::ports::{AddressView, DialRequest, PeerView};
use crate::types::{Algorithm, Channel, NodeId, NodeInfo};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

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
pub struct Network {}

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
/// [`Network::stopped`] waits for that.
pub fn start<R: Receiver>(options: NetworkOptions, receiver: Arc<R>, stop: CancellationToken) -> Network {
    drop((options, receiver, stop));
    Network {}
}

impl Network {
    /// Queues a message for a peer and never waits; callable from any thread. A peer whose State channel is full does
    /// not read and is dropped.
    pub fn send(&self, _peer: NodeId, _channel: Channel, _message: Bytes) -> Result<(), NotSent> {
        Err(NotSent::Gone)
    }

    /// Queues a message, waiting for room; never answers [`NotSent::Full`].
    pub async fn send_when_possible(&self, _peer: NodeId, _channel: Channel, _message: Bytes) -> Result<(), NotSent> {
        Err(NotSent::Gone)
    }

    /// Ends the connection to a peer and remembers why; it is banned for a time that grows with each fault, unless it
    /// is persistent. Callable from any thread.
    pub fn drop_peer(&self, _peer: NodeId, _fault: Fault) {}

    /// Counts a useful message of a peer. Cheap; callable from any thread.
    pub fn useful(&self, _peer: NodeId) {}

    /// Peers with a standing connection, by id.
    pub fn peers(&self) -> Vec<PeerView> {
        Vec::new()
    }

    /// Addresses we mean to call and what became of it, then peers we dropped or refused.
    pub fn known(&self) -> Vec<AddressView> {
        Vec::new()
    }

    /// Calls addresses an operator gave. The error says which one cannot be called and why; then none is.
    pub fn dial(&self, _request: DialRequest) -> Result<(), String> {
        Ok(())
    }

    /// Waits until every task has ended and the address book is saved, after `stop` was cancelled.
    pub async fn stopped(&self) {}
}
