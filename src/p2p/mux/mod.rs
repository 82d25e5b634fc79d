//! The multiplexed connection: messages of many channels, cut into packets, over one secret connection (reference §5.3).
//!
//! Two loops run for each peer and both work in bulk. The writer takes all packets that wait, up to a batch, seals them
//! in one buffer and writes once; it sleeps until something is left in the [`Outbox`] and there is no flush timer. The
//! reader opens all frames that arrived and hands on the messages in them.
//!
//! Reading order: `outgoing` → `incoming` → `throttle` → `heart` (pure machines) → `shared` → `tasks`.

mod heart;
mod incoming;
mod outgoing;
mod shared;
mod tasks;
mod throttle;

#[cfg(test)]
mod tests;

use super::channels::ChannelTable;
use super::handshake::Upgraded;
use super::wire::{Reader, Writer};
use super::{Fault, NotSent};
use crate::ports::{ChannelView, FlowView};
use crate::types::NodeId;
use shared::Shared;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{ReadHalf, WriteHalf};

pub(super) use shared::Outbox;

/// How a connection behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MuxSettings {
    /// Bytes per second to the peer; 0 for no limit.
    pub send_rate: u64,
    /// Bytes per second from the peer; 0 for no limit.
    pub recv_rate: u64,
    /// Bytes of a message in one packet, ours and the peer's.
    pub packet_payload_max: usize,
    /// How often the peer is asked whether it is there.
    pub ping_interval: Duration,
    /// How long it may be silent after that, and how long it may leave what we write unread.
    pub pong_timeout: Duration,
}

impl Default for MuxSettings {
    fn default() -> MuxSettings {
        MuxSettings {
            send_rate: 5_120_000,
            recv_rate: 5_120_000,
            packet_payload_max: 1024,
            ping_interval: Duration::from_secs(60),
            pong_timeout: Duration::from_secs(45),
        }
    }
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Ended {
    /// The peer or the line closed it.
    #[error("{0}")]
    Lost(String),
    /// The peer broke a rule.
    #[error("{0}")]
    Fault(Fault),
    /// [`Outbox::close`] was called.
    #[error("{0}")]
    Told(String),
}

/// What a connection carried, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnStats {
    /// Since it was opened.
    pub connected_for: Duration,
    /// Packets to the peer.
    pub sent: FlowView,
    /// Packets from the peer.
    pub received: FlowView,
    /// Its channels, in the order of the table.
    pub channels: Vec<ChannelStats>,
}

/// One channel of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelStats {
    /// What `net_info` shows.
    pub view: ChannelView,
    /// Bytes that wait to be sent.
    pub queued_bytes: u64,
    /// Bytes of messages sent.
    pub sent_bytes: u64,
    /// Packets sent.
    pub sent_packets: u64,
    /// Bytes of messages received.
    pub received_bytes: u64,
    /// Packets received.
    pub received_packets: u64,
}

/// A connection that is open and does not run yet: messages can be left already.
#[derive(Debug)]
pub(super) struct Connection<S> {
    peer: NodeId,
    reader: Reader<ReadHalf<S>>,
    writer: Writer<WriteHalf<S>>,
    settings: MuxSettings,
    shared: Arc<Shared>,
}

/// Opens the connection to a peer whose handshake is over. Messages are taken on those channels of the table that the
/// peer listed too.
pub(super) fn open<S>(
    upgraded: Upgraded<S>,
    channels: &ChannelTable,
    settings: &MuxSettings,
) -> (Outbox, Connection<S>) {
    let Upgraded { id, info, reader, writer } = upgraded;
    let shared = Arc::new(Shared::new(channels.clone(), &info.channels, settings.packet_payload_max));
    let connection = Connection { peer: id, reader, writer, settings: *settings, shared: shared.clone() };
    (Outbox(shared), connection)
}
