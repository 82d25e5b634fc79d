//! The two loops of a running connection.

use super::heart::{Beat, Heard, Heart};
use super::incoming::{Incoming, Received};
use super::outgoing::OutPacket;
use super::shared::Shared;
use super::throttle::Throttle;
use super::{Connection, Ended, Fault, MuxSettings};
use crate::codec::frame;
use crate::codec::wire::connection::{Packet, Piece, packet_len_max};
use crate::p2p::Receiver;
use crate::p2p::wire::{BATCH_LEN, ReadError, Reader, Writer};
use crate::types::{Channel, NodeId};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep_until, timeout};

/// What a frame costs at least of the receive rate: one with a single byte is as much work as a full one.
const FRAME_COST_MIN: usize = 128;

impl<S: AsyncRead + AsyncWrite> Connection<S> {
    /// Runs the connection to its end. Messages of channel 0x00 go to `pex`, all others to `receiver`, one after the
    /// other: while one is being taken no more are read. Dropping the future closes the socket.
    pub(in crate::p2p) async fn run<R: Receiver>(
        self,
        receiver: std::sync::Arc<R>,
        pex: impl Fn(Bytes) -> Result<(), Fault> + Send + Sync,
    ) -> Ended {
        let Connection { peer, reader, writer, settings, shared } = self;
        let _ended = EndOnDrop(&shared);
        let incoming = Incoming::new(&shared.table);
        let inbound = Inbound { peer, reader, incoming, settings: &settings, shared: &shared };
        let outbound = Outbound { peer, writer, settings: &settings, shared: &shared };
        tokio::select! {
            biased;
            why = shared.closed_now() => Ended::Told(why),
            ended = inbound.run(&*receiver, pex) => ended,
            ended = outbound.run(&*receiver) => ended,
        }
    }
}

/// However the connection ends, whoever waits to send learns it.
struct EndOnDrop<'a>(&'a Shared);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The reading side.
struct Inbound<'a, R> {
    peer: NodeId,
    reader: Reader<R>,
    incoming: Incoming,
    settings: &'a MuxSettings,
    shared: &'a Shared,
}

impl<R: AsyncRead + Unpin> Inbound<'_, R> {
    async fn run<H: Receiver>(mut self, receiver: &H, pex: impl Fn(Bytes) -> Result<(), Fault>) -> Ended {
        let mut throttle = Throttle::new(self.settings.recv_rate);
        let batch = throttle.batch(BATCH_LEN);
        loop {
            // What came together with the node info is in `plain` already.
            if let Err(ended) = self.hand_on(receiver, &pex).await {
                return ended;
            }
            if let Some(at) = throttle.wait(self.shared.now()) {
                self.held(sleep_until(self.shared.instant(at))).await;
            }
            let before = self.reader.plain.len();
            let frames = match self.reader.fill(batch).await {
                Ok(frames) => frames,
                Err(why @ ReadError::Secret(_)) => return Ended::Fault(Fault(why.to_string())),
                Err(why) => return Ended::Lost(why.to_string()),
            };
            let bytes = self.reader.plain.len() - before;
            self.shared.add_received(bytes);
            throttle.spend(self.shared.now(), bytes.max(frames * FRAME_COST_MIN));
        }
    }

    /// Takes all packets that are complete.
    async fn hand_on<H: Receiver>(
        &mut self,
        receiver: &H,
        pex: &impl Fn(Bytes) -> Result<(), Fault>,
    ) -> Result<(), Ended> {
        let max = packet_len_max(self.settings.packet_payload_max);
        let mut used = 0;
        while let Some(rest) = self.reader.plain.get(used..) {
            let lies = frame::body(rest, max).map_err(too_large)?;
            let Some((head, len)) = lies else { break };
            let Some(packet) = rest.get(head..head + len) else { break };
            used += head + len;
            let received = self.incoming.packet(packet)?;
            self.shared.heard.store(true, Relaxed);
            match received {
                Received::Pong => {}
                Received::Ping => {
                    self.shared.pong_owed.store(true, Relaxed);
                    self.shared.wake.notify_one();
                }
                Received::Part(at, bytes) => {
                    self.shared.count_received(at, bytes);
                    if !mutant!("N101") {
                        self.check_large(receiver, at)?;
                    }
                }
                Received::Message(at, bytes, channel, message) => {
                    self.shared.count_received(at, bytes);
                    match channel {
                        Channel::Pex => pex(message).map_err(Ended::Fault)?,
                        _ => {
                            let taken = self.held(receiver.message(self.peer, channel, message)).await;
                            taken.map_err(Ended::Fault)?;
                        }
                    }
                }
            }
        }
        self.reader.consume(used);
        Ok(())
    }

    /// Memory that all peers share is for large messages somebody waits for.
    fn check_large<H: Receiver>(&self, receiver: &H, at: usize) -> Result<(), Ended> {
        let channel = self.shared.table.iter().nth(at).map(|limits| limits.channel);
        match channel.filter(|channel| self.incoming.borrows() && !receiver.expects_large(self.peer, *channel)) {
            Some(channel) => {
                let what = format!("sends a large message on channel {channel:?} that nobody asked it for");
                Err(Ended::Fault(Fault(what)))
            }
            None => Ok(()),
        }
    }

    /// Waits for something on our side: meanwhile the peer cannot be heard, and is not given up.
    async fn held<T>(&self, wait: impl Future<Output = T>) -> T {
        self.shared.reader_held.store(true, Relaxed);
        let outcome = wait.await;
        self.shared.reader_held.store(false, Relaxed);
        outcome
    }
}

fn too_large(why: frame::FrameError) -> Ended {
    Ended::Fault(Fault(format!(
        "sent a packet that is too large ({why}): max_packet_msg_payload_size must be alike on both nodes"
    )))
}

/// The writing side.
struct Outbound<'a, W> {
    peer: NodeId,
    writer: Writer<W>,
    settings: &'a MuxSettings,
    shared: &'a Shared,
}

impl<W: AsyncWrite + Unpin> Outbound<'_, W> {
    async fn run<H: Receiver>(mut self, receiver: &H) -> Ended {
        let MuxSettings { ping_interval, pong_timeout, send_rate, .. } = *self.settings;
        let (mut heart, mut throttle) = (Heart::new(ping_interval, pong_timeout), Throttle::new(send_rate));
        let batch = throttle.batch(BATCH_LEN);
        let (mut plain, mut packets) = (Vec::new(), Vec::new());
        loop {
            let now = self.shared.now();
            if let Err(fault) = self.pulse(now, &mut heart, &mut plain) {
                return Ended::Fault(fault);
            }
            let wait = throttle.wait(now);
            if wait.is_none() {
                self.shared.take(batch, &mut packets);
            }
            if plain.is_empty() && packets.is_empty() {
                if let Some(why) = self.shared.all_written() {
                    return Ended::Told(why);
                }
                let next = wait.map_or(heart.next(), |at| at.min(heart.next()));
                tokio::select! {
                    () = self.shared.wake.notified() => {}
                    () = sleep_until(self.shared.instant(next)) => {}
                }
                continue;
            }
            packets.iter().for_each(|packet| write_packet(packet, &mut plain));
            throttle.spend(now, plain.len());
            match timeout(pong_timeout, self.writer.write(&plain)).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => return Ended::Lost(format!("writing failed: {why}")),
                Err(_) => {
                    return Ended::Fault(Fault(format!(
                        "does not read: {} bytes not taken within {pong_timeout:?}",
                        plain.len()
                    )));
                }
            }
            self.shared.add_sent(plain.len());
            plain.clear();
            self.tell_written(&mut packets, receiver).await;
        }
    }

    /// Pings and pongs that are due.
    fn pulse(&self, now: Duration, heart: &mut Heart, plain: &mut Vec<u8>) -> Result<(), Fault> {
        let there = self.shared.heard.swap(false, Relaxed) || self.shared.reader_held.load(Relaxed);
        let heard = if there { Heard::Something } else { Heard::Nothing };
        match heart.beat(now, heard) {
            Beat::Quiet => {}
            Beat::Ping => frame::append(plain, &Packet::Ping.encode()),
            Beat::Dead => {
                return Err(Fault(format!("did not answer a ping within {:?}", self.settings.pong_timeout)));
            }
        }
        if self.shared.pong_owed.swap(false, Relaxed) {
            frame::append(plain, &Packet::Pong.encode());
        }
        Ok(())
    }

    /// Counts the packets and tells how much of whole messages went, once for each channel.
    async fn tell_written<H: Receiver>(&self, packets: &mut Vec<OutPacket>, receiver: &H) {
        let mut written: BTreeMap<Channel, u64> = BTreeMap::new();
        for packet in packets.drain(..) {
            self.shared.count_sent(&packet);
            if let Some(bytes) = packet.completes {
                *written.entry(packet.channel).or_default() += bytes as u64;
            }
        }
        for (channel, bytes) in written {
            if channel != Channel::Pex {
                receiver.written(self.peer, channel, bytes).await;
            }
        }
    }
}

fn write_packet(packet: &OutPacket, plain: &mut Vec<u8>) {
    let piece = Piece { channel: packet.channel.id(), data: &packet.data, last: packet.completes.is_some() };
    piece.write_delimited(plain);
}
