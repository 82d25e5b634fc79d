//! What waits to be sent, and which channel's turn it is (reference §5.3). Pure: it is told the time.
//!
//! Messages are cut into packets; the next packet comes from the channel that has sent least lately for its priority,
//! so a block being served to a lagging peer does not hold up votes.

use super::NotSent;
use crate::p2p::channels::{ChannelLimits, ChannelTable};
use crate::types::Channel;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// How often `recently_sent` loses a fifth, as in CometBFT.
const DECAY_INTERVAL: Duration = Duration::from_secs(2);
/// After so many intervals nothing is left of it.
const DECAYS_MAX: u32 = 300;
/// Bytes a packet takes besides its data: length, three tags, channel, end and the data's length.
const PACKET_HEAD: usize = 11;

/// All channels' queues.
#[derive(Debug)]
pub(super) struct Outgoing {
    lanes: Vec<Lane>,
    payload_max: usize,
    decayed_at: Duration,
}

/// One channel's queue.
#[derive(Debug)]
struct Lane {
    limits: ChannelLimits,
    /// False when the peer did not list the channel.
    is_spoken: bool,
    queue: VecDeque<Bytes>,
    /// Of the queue's first message: the bytes not yet taken, once some were.
    begun: Option<Bytes>,
    queued_bytes: usize,
    recently_sent: u64,
}

/// A packet to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OutPacket {
    pub(super) channel: Channel,
    pub(super) data: Bytes,
    /// For the last packet of a message: how many bytes the whole message has.
    pub(super) completes: Option<usize>,
}

/// What a queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueView {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    pub(super) recently_sent: u64,
}

impl Outgoing {
    /// Queues for the channels of the table; of those the peer lists in `spoken` messages are taken.
    pub(super) fn new(table: &ChannelTable, spoken: &[u8], payload_max: usize) -> Outgoing {
        let lane = |limits: &ChannelLimits| Lane {
            limits: *limits,
            is_spoken: spoken.contains(&limits.channel.id()),
            queue: VecDeque::new(),
            begun: None,
            queued_bytes: 0,
            recently_sent: 0,
        };
        Outgoing { lanes: table.iter().map(lane).collect(), payload_max, decayed_at: Duration::ZERO }
    }

    /// Queues a message.
    pub(super) fn push(&mut self, channel: Channel, message: Bytes) -> Result<(), NotSent> {
        let lane = self.lanes.iter_mut().find(|lane| lane.limits.channel == channel && lane.is_spoken);
        let lane = lane.ok_or(NotSent::NotSpoken)?;
        let limits = &lane.limits;
        if message.len() > limits.message_bytes_max {
            return Err(NotSent::TooLarge { bytes: message.len(), max: limits.message_bytes_max });
        }
        let has_room = lane.queue.len() < limits.queue_messages_max
            && lane.queued_bytes.saturating_add(message.len()) <= limits.queue_bytes_max
            || mutant!("N97");
        if !has_room && !lane.queue.is_empty() {
            return Err(NotSent::Full);
        }
        lane.queued_bytes += message.len();
        lane.queue.push_back(message);
        Ok(())
    }

    /// Appends to `packets` what is to be written next, up to `limit` bytes of packets, and at least one packet if any
    /// waits.
    pub(super) fn take(&mut self, now: Duration, limit: usize, packets: &mut Vec<OutPacket>) {
        self.decay(now);
        let mut taken = 0;
        while taken == 0 || taken + PACKET_HEAD + self.payload_max <= limit {
            let waiting = self.lanes.iter_mut().filter(|lane| !lane.queue.is_empty());
            // a/p < b/q without division; of equal ones the first in the table, as in CometBFT.
            let next = waiting.reduce(|best, lane| if lane.goes_before(best) { lane } else { best });
            let Some(lane) = next else { return };
            let packet = lane.next_packet(self.payload_max);
            let size = packet.data.len() + PACKET_HEAD;
            lane.recently_sent += size as u64;
            taken += size;
            packets.push(packet);
        }
    }

    /// True when nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.queue.is_empty())
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        for lane in &mut self.lanes {
            lane.queue = VecDeque::new();
            lane.begun = None;
            lane.queued_bytes = 0;
        }
    }

    /// The queues in the table's order.
    pub(super) fn view(&mut self, now: Duration) -> impl Iterator<Item = QueueView> {
        self.decay(now);
        self.lanes.iter().map(|lane| QueueView {
            messages: lane.queue.len(),
            bytes: lane.queued_bytes,
            recently_sent: lane.recently_sent,
        })
    }

    /// Catches up with the intervals since the last call: no timer is needed while nothing is sent.
    fn decay(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.decayed_at).as_millis() / DECAY_INTERVAL.as_millis();
        let intervals = u32::try_from(passed).unwrap_or(u32::MAX);
        if intervals == 0 {
            return;
        }
        self.decayed_at += DECAY_INTERVAL.saturating_mul(intervals);
        for lane in &mut self.lanes {
            for _ in 0..intervals.min(DECAYS_MAX) {
                lane.recently_sent = lane.recently_sent * 4 / 5;
            }
        }
    }
}

impl Lane {
    fn goes_before(&self, other: &Lane) -> bool {
        let weigh = |sent: u64, priority: u32| u128::from(sent) * u128::from(priority);
        weigh(self.recently_sent, if mutant!("N99") { 1 } else { other.limits.priority })
            < weigh(other.recently_sent, self.limits.priority)
    }

    /// Cuts the next packet off the first message.
    fn next_packet(&mut self, payload_max: usize) -> OutPacket {
        let first = self.queue.front().expect("only a channel with something to send is asked");
        let whole = first.len();
        let mut rest = self.begun.take().unwrap_or_else(|| first.clone());
        let data = rest.split_to(rest.len().min(payload_max));
        self.queued_bytes -= if mutant!("N98") { 0 } else { data.len() };
        // A message may be empty; it goes as one packet without data.
        let completes = rest.is_empty().then_some(whole);
        match completes {
            Some(_) => drop(self.queue.pop_front()),
            None => self.begun = Some(rest),
        }
        OutPacket { channel: self.limits.channel, data, completes }
    }
}
