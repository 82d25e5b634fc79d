//! The network: connections to other nodes, authenticated and multiplexed, byte for byte as CometBFT speaks
//! (reference §5).
//!
//! Whoever uses it gives it a [`Receiver`] and gets a [`Network`]. Messages are whole and still encoded on both sides;
//! only addresses of peers (channel 0x00) are understood here.

mod address;
mod aead;
mod book;
mod channels;
mod compatible;
mod handshake;
mod hub;
mod mux;
mod network;
mod peer;
mod pex;
mod plan;
pub mod secret;
#[cfg(test)]
pub(crate) mod tests;
mod wire;

pub use network::{BindError, Network, NetworkOptions, NotSent, PeerAddress, Settings, bind, start};

use crate::types::{Channel, Direction, NodeId, NodeInfo};
use bytes::Bytes;
use std::future::Future;

/// Why a peer is dropped, for the log, `net_info` and its score. It names what the peer did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// A peer whose handshake is over.
#[derive(Debug, Clone)]
pub struct PeerUp {
    /// Who, proved by its key.
    pub id: NodeId,
    /// What it says about itself.
    pub info: NodeInfo,
    /// Who called whom.
    pub direction: Direction,
}

/// Whoever listens to peers. For one peer the calls come in order: `up`, then messages, then `down`; a peer that comes
/// back is `up` only after its `down` returned. Calls of different peers overlap. A call that waits holds up only the
/// peer it is about, which is how a peer is slowed down to what we can take.
pub trait Receiver: Send + Sync + 'static {
    /// A peer is there.
    fn up(&self, peer: PeerUp) -> impl Future<Output = ()> + Send;
    /// It said something. An error drops it.
    fn message(&self, peer: NodeId, channel: Channel, message: Bytes)
    -> impl Future<Output = Result<(), Fault>> + Send;
    /// Whether this peer may now send a message on this channel that is too large for the memory every peer has here.
    /// One that may not and does is dropped: it would take the memory of those that may.
    fn expects_large(&self, _peer: NodeId, _channel: Channel) -> bool {
        true
    }
    /// This many bytes of whole messages given to [`Network::send`] for this channel have been written to the socket.
    fn written(&self, peer: NodeId, channel: Channel, bytes: u64) -> impl Future<Output = ()> + Send;
    /// It is gone.
    fn down(&self, peer: NodeId, why: String) -> impl Future<Output = ()> + Send;
}
