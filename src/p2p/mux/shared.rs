//! What a connection's tasks and its [`Outbox`]es share.

use super::outgoing::{OutPacket, Outgoing};
use super::throttle::FlowMeter;
use super::{ChannelStats, ConnStats, NotSent};
use crate::p2p::channels::ChannelTable;
use crate::ports::ChannelView;
use crate::types::Channel;
use bytes::Bytes;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// One connection.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) table: ChannelTable,
    began: Instant,
    state: Mutex<State>,
    /// Something is to be written, or the connection is to end.
    pub(super) wake: Notify,
    /// Something was taken from a queue.
    room: Notify,
    /// The connection is to end now.
    closing: Notify,
    counters: Box<[Counters]>,
    pub(super) sent: Mutex<FlowMeter>,
    pub(super) received: Mutex<FlowMeter>,
    /// A ping came and was not answered yet.
    pub(super) pong_owed: AtomicBool,
    /// The peer was heard since the writer looked last.
    pub(super) heard: AtomicBool,
    /// The reader waits for us, not for the peer.
    pub(super) reader_held: AtomicBool,
}

#[derive(Debug)]
struct State {
    outgoing: Outgoing,
    /// Why and how it ends, once that is decided; no message is taken any more.
    closed: Option<Closed>,
}

#[derive(Debug, Clone)]
enum Closed {
    /// At once.
    Now(String),
    /// When all that waits is written.
    WhenWritten(String),
}

/// Of one channel, in the table's order.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent_bytes: AtomicU64,
    pub(super) sent_packets: AtomicU64,
    pub(super) received_bytes: AtomicU64,
    pub(super) received_packets: AtomicU64,
}

/// Never poisoned in a way that matters: nothing under these locks can panic half way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(table: ChannelTable, spoken: &[u8], payload_max: usize) -> Shared {
        let outgoing = Outgoing::new(&table, spoken, payload_max);
        let counters = table.iter().map(|_| Counters::default()).collect();
        Shared {
            table,
            began: Instant::now(),
            state: Mutex::new(State { outgoing, closed: None }),
            wake: Notify::new(),
            room: Notify::new(),
            closing: Notify::new(),
            counters,
            sent: Mutex::default(),
            received: Mutex::default(),
            pong_owed: AtomicBool::new(false),
            heard: AtomicBool::new(false),
            reader_held: AtomicBool::new(false),
        }
    }

    /// Since the connection began: the time its machines are told.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The same as a point in time, for timers.
    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.began + at
    }

    /// The packets to write next.
    pub(super) fn take(&self, limit: usize, packets: &mut Vec<OutPacket>) {
        lock(&self.state).outgoing.take(self.now(), limit, packets);
        if !packets.is_empty() {
            self.room.notify_waiters();
        }
    }

    /// Waits until the connection is to end at once, and gives the reason.
    pub(super) async fn closed_now(&self) -> String {
        loop {
            let closing = self.closing.notified();
            if let Some(Closed::Now(why)) = lock(&self.state).closed.clone() {
                return why;
            }
            closing.await;
        }
    }

    /// The reason to end once all that waited is written, when that is so.
    pub(super) fn all_written(&self) -> Option<String> {
        let state = lock(&self.state);
        match &state.closed {
            Some(Closed::WhenWritten(why)) if state.outgoing.is_empty() => Some(why.clone()),
            _ => None,
        }
    }

    /// After the end: nothing is taken any more, and what waits is dropped.
    pub(super) fn end(&self) {
        let mut state = lock(&self.state);
        state.closed.get_or_insert(Closed::Now("it ended".to_owned()));
        state.outgoing.clear();
        drop(state);
        self.room.notify_waiters();
    }

    /// Counts a packet sent, by the channel it went on.
    pub(super) fn count_sent(&self, packet: &OutPacket) {
        let at = self.table.iter().position(|limits| limits.channel == packet.channel);
        if let Some(counters) = at.and_then(|at| self.counters.get(at)) {
            counters.sent_bytes.fetch_add(packet.data.len() as u64, Relaxed);
            counters.sent_packets.fetch_add(1, Relaxed);
        }
    }

    /// Counts a packet received, by the channel's place in the table.
    pub(super) fn count_received(&self, at: usize, bytes: usize) {
        if let Some(counters) = self.counters.get(at) {
            counters.received_bytes.fetch_add(bytes as u64, Relaxed);
            counters.received_packets.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn add_sent(&self, bytes: usize) {
        lock(&self.sent).add(self.now(), bytes);
    }

    pub(super) fn add_received(&self, bytes: usize) {
        lock(&self.received).add(self.now(), bytes);
    }
}

/// Where messages to one peer are left. Cheap to clone; works from any thread.
#[derive(Debug, Clone)]
pub(in crate::p2p) struct Outbox(pub(super) Arc<Shared>);

impl Outbox {
    /// Leaves a message to be sent; never waits.
    pub(in crate::p2p) fn send(&self, channel: Channel, message: Bytes) -> Result<(), NotSent> {
        let mut state = lock(&self.0.state);
        if state.closed.is_some() && !mutant!("N100") {
            return Err(NotSent::Gone);
        }
        state.outgoing.push(channel, message)?;
        drop(state);
        self.0.wake.notify_one();
        Ok(())
    }

    /// Leaves a message to be sent, waiting for room; never gives [`NotSent::Full`].
    pub(in crate::p2p) async fn send_when_possible(&self, channel: Channel, message: Bytes) -> Result<(), NotSent> {
        loop {
            // Made before the attempt: room made between the attempt and the wait is noticed.
            let room = self.0.room.notified();
            match self.send(channel, message.clone()) {
                Err(NotSent::Full) => room.await,
                outcome => return outcome,
            }
        }
    }

    /// Ends the connection at once. The first reason given stands.
    pub(in crate::p2p) fn close(&self, why: String) {
        let mut state = lock(&self.0.state);
        match state.closed.take() {
            None => state.closed = Some(Closed::Now(why)),
            Some(Closed::WhenWritten(first) | Closed::Now(first)) => state.closed = Some(Closed::Now(first)),
        }
        drop(state);
        self.0.closing.notify_waiters();
    }

    /// Takes no more messages and ends the connection when those that wait are written.
    pub(in crate::p2p) fn close_when_written(&self, why: String) {
        lock(&self.0.state).closed.get_or_insert(Closed::WhenWritten(why));
        self.0.wake.notify_one();
    }

    /// What the connection carried so far, and what waits.
    pub(in crate::p2p) fn stats(&self) -> ConnStats {
        let now = self.0.now();
        let queues: Vec<_> = lock(&self.0.state).outgoing.view(now).collect();
        let channels =
            self.0.table.iter().zip(queues).zip(&self.0.counters).map(|((limits, queue), counters)| ChannelStats {
                view: ChannelView {
                    id: limits.channel.id(),
                    priority: limits.priority,
                    queued: queue.messages as u64,
                    capacity: limits.queue_messages_max as u64,
                    recently_sent: queue.recently_sent,
                },
                queued_bytes: queue.bytes as u64,
                sent_bytes: counters.sent_bytes.load(Relaxed),
                sent_packets: counters.sent_packets.load(Relaxed),
                received_bytes: counters.received_bytes.load(Relaxed),
                received_packets: counters.received_packets.load(Relaxed),
            });
        ConnStats {
            connected_for: now,
            sent: lock(&self.0.sent).view(now),
            received: lock(&self.0.received).view(now),
            channels: channels.collect(),
        }
    }
}
