//! Packets back to messages. Pure. What a peer can make this node hold is, for each channel, the channel's message
//! limit; memory is taken as data arrives, never on a peer's word.

use super::Fault;
use crate::codec::wire::connection::{Packet, Piece};
use crate::p2p::channels::ChannelTable;
use crate::types::Channel;
use bytes::Bytes;

/// A message handed on may hold this fraction of its size in unused memory.
const SLACK_DIVISOR: usize = 8;

/// The unfinished messages of all channels.
#[derive(Debug)]
pub(super) struct Incoming {
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    channel: Channel,
    message_bytes_max: usize,
    begun: Vec<u8>,
}

/// What a packet was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Received {
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
    /// A message that goes on. On which channel (its place in the table).
    Part(usize),
    /// The end of this message.
    Message(usize, Channel, Bytes),
}

impl Incoming {
    pub(super) fn new(table: &ChannelTable) -> Incoming {
        let lane = |limits: &crate::p2p::channels::ChannelLimits| Lane {
            channel: limits.channel,
            message_bytes_max: limits.message_bytes_max,
            begun: Vec::new(),
        };
        Incoming { lanes: table.iter().map(lane).collect() }
    }

    /// Takes a packet, without its length. A fault ends the connection: what follows cannot be understood.
    pub(super) fn packet(&mut self, packet: &[u8]) -> Result<Received, Fault> {
        if let Some(piece) = Piece::of_plain_packet(packet) {
            return self.piece(piece);
        }
        match Packet::decode(Bytes::copy_from_slice(packet)) {
            Ok(Packet::Ping) => Ok(Received::Ping),
            Ok(Packet::Pong) => Ok(Received::Pong),
            Ok(Packet::Message { channel, data, last }) => self.piece(Piece { channel, data: &data, last }),
            Err(why) => Err(Fault(format!("sent a packet that cannot be read: {why}"))),
        }
    }

    fn piece(&mut self, piece: Piece<'_>) -> Result<Received, Fault> {
        let found = self.lanes.iter_mut().enumerate().find(|(_, lane)| lane.channel.id() == piece.channel);
        let Some((at, lane)) = found else {
            return Err(Fault(format!(
                "sent a packet on channel {:#04x}, which this node does not list",
                piece.channel
            )));
        };
        let max = lane.message_bytes_max;
        let len = lane.begun.len() + piece.data.len();
        if len > max {
            let channel = lane.channel;
            return Err(Fault(format!(
                "sent a message of {len} bytes or more on channel {:#04x} ({channel:?}), at most {max} are taken",
                channel.id()
            )));
        }
        if !piece.last {
            lane.begun.extend_from_slice(piece.data);
            return Ok(Received::Part(at));
        }
        let message = if lane.begun.is_empty() {
            // A message keeps no larger buffer alive than itself.
            Bytes::copy_from_slice(piece.data)
        } else {
            lane.begun.extend_from_slice(piece.data);
            let mut whole = std::mem::take(&mut lane.begun);
            if whole.capacity() - whole.len() > whole.len() / SLACK_DIVISOR {
                whole.shrink_to_fit();
            }
            Bytes::from(whole)
        };
        Ok(Received::Message(at, lane.channel, message))
    }
}
