//! Packets back to messages. Memory is taken as data arrives, never on a peer's word. What a peer can make this node hold
//! is, for each channel, the channel's message limit; and what all peers together can is bounded too.

use super::{Ended, Fault};
use crate::codec::wire::connection::{Packet, Piece};
use crate::p2p::channels::{ChannelLimits, ChannelTable, UnfinishedBudget};
use crate::types::Channel;
use bytes::Bytes;
use std::sync::Arc;

/// Bytes of unfinished messages every peer may have here; what is more comes out of the budget all peers share. It holds
/// one message of each channel but those of old blocks and snapshots.
const UNFINISHED_OWN: usize = 6 << 20;
/// A message handed on may hold this fraction of its size in unused memory.
const SLACK_DIVISOR: usize = 8;

/// The unfinished messages of all channels.
#[derive(Debug)]
pub(super) struct Incoming {
    lanes: Vec<Lane>,
    /// Bytes in all of them.
    unfinished: usize,
    /// How many of these are taken from the budget.
    borrowed: usize,
    budget: Arc<UnfinishedBudget>,
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
    /// So many bytes of a message that goes on, on the channel at this place in the table.
    Part(usize, usize),
    /// So many bytes, and with them this whole message.
    Message(usize, usize, Channel, Bytes),
}

impl Incoming {
    pub(super) fn new(table: &ChannelTable) -> Incoming {
        let lane = |limits: &ChannelLimits| Lane {
            channel: limits.channel,
            message_bytes_max: limits.message_bytes_max,
            begun: Vec::new(),
        };
        Incoming { lanes: table.iter().map(lane).collect(), unfinished: 0, borrowed: 0, budget: table.budget() }
    }

    /// Takes a packet, without its length. A fault ends the connection: what follows cannot be understood.
    pub(super) fn packet(&mut self, packet: &[u8]) -> Result<Received, Ended> {
        if let Some(piece) = Piece::of_plain_packet(packet) {
            return self.piece(piece);
        }
        match Packet::decode(Bytes::copy_from_slice(packet)) {
            Ok(Packet::Ping) => Ok(Received::Ping),
            Ok(Packet::Pong) => Ok(Received::Pong),
            Ok(Packet::Message { channel, data, last }) => self.piece(Piece { channel, data: &data, last }),
            Err(why) => Err(fault(format!("sent a packet that cannot be read: {why}"))),
        }
    }

    fn piece(&mut self, piece: Piece<'_>) -> Result<Received, Ended> {
        let found = self.lanes.iter().position(|lane| lane.channel.id() == piece.channel);
        let Some(at) = found else {
            return Err(fault(format!(
                "sent a packet on channel {:#04x}, which this node does not list",
                piece.channel
            )));
        };
        let Lane { channel, message_bytes_max: max, begun } = &self.lanes[at];
        let (channel, max, part) = (*channel, *max, piece.data.len());
        let len = begun.len() + part;
        if len > max + usize::from(mutant!("N95")) {
            return Err(fault(format!(
                "sent a message of {len} bytes or more on channel {:#04x} ({channel:?}), at most {max} are taken",
                channel.id()
            )));
        }
        if piece.last {
            return Ok(Received::Message(at, part, channel, self.finish(at, piece.data)));
        }
        self.hold(self.unfinished + part)?;
        self.lanes[at].begun.extend_from_slice(piece.data);
        Ok(Received::Part(at, part))
    }

    /// The whole message: what has come of it, and its end.
    fn finish(&mut self, at: usize, end: &[u8]) -> Bytes {
        let mut whole = std::mem::take(&mut self.lanes[at].begun);
        if whole.is_empty() {
            // A message keeps no larger buffer alive than itself.
            return Bytes::copy_from_slice(end);
        }
        self.hold(self.unfinished - whole.len()).expect("less is always granted");
        whole.extend_from_slice(end);
        if whole.capacity() - whole.len() > whole.len() / SLACK_DIVISOR {
            whole.shrink_to_fit();
        }
        Bytes::from(whole)
    }

    /// Accounts for this many bytes of unfinished messages. That others have the memory is not this peer's fault.
    fn hold(&mut self, unfinished: usize) -> Result<(), Ended> {
        let borrow = unfinished.saturating_sub(UNFINISHED_OWN);
        if borrow > self.borrowed {
            self.budget.take(borrow - self.borrowed).map_err(|all| {
                Ended::Lost(format!(
                    "there is no room for {unfinished} bytes of its unfinished messages while all peers have {all} here"
                ))
            })?;
        } else {
            self.budget.give_back(self.borrowed - borrow);
        }
        (self.unfinished, self.borrowed) = (unfinished, borrow);
        Ok(())
    }

    /// True while its unfinished messages take memory that all peers share.
    pub(super) fn borrows(&self) -> bool {
        self.borrowed > 0
    }
}

fn fault(what: String) -> Ended {
    Ended::Fault(Fault(what))
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.budget.give_back(self.borrowed);
    }
}
