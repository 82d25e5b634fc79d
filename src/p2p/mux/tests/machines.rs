//! The machines alone: told the time, compared with dumb versions of themselves.

use crate::codec::wire::connection::Packet;
use crate::p2p::NotSent;
use crate::p2p::channels::ChannelTable;
use crate::p2p::mux::Ended;
use crate::p2p::mux::heart::{Beat, Heard, Heart};
use crate::p2p::mux::incoming::{Incoming, Received};
use crate::p2p::mux::outgoing::{OutPacket, Outgoing};
use crate::p2p::mux::throttle::{FlowMeter, Throttle};
use crate::types::Channel;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn table() -> ChannelTable {
    ChannelTable::new(&Channel::ALL, 1 << 20)
}

fn outgoing() -> Outgoing {
    Outgoing::new(&table(), &Channel::ALL.map(Channel::id), 1024)
}

fn take(outgoing: &mut Outgoing, now: Duration, limit: usize) -> Vec<OutPacket> {
    let mut packets = Vec::new();
    outgoing.take(now, limit, &mut packets);
    packets
}

fn message(len: usize) -> Bytes {
    Bytes::from(vec![7; len])
}

/// The packet as the peer's reader sees it.
fn on_the_wire(packet: &OutPacket) -> Bytes {
    let last = packet.completes.is_some();
    Packet::Message { channel: packet.channel.id(), data: packet.data.clone(), last }.encode()
}

// --------------------------------------------------------------------------------------------------- outgoing

#[test]
fn channels_share_the_link_by_their_priorities() {
    let mut outgoing = outgoing();
    let busy = [(Channel::Data, 10), (Channel::Vote, 7), (Channel::Blocksync, 5), (Channel::VoteSetBits, 1)];
    for (channel, _) in busy {
        outgoing.push(channel, message(1_000_000)).expect("room");
    }
    let mut sent: BTreeMap<Channel, u64> = BTreeMap::new();
    for packet in take(&mut outgoing, Duration::ZERO, 600_000) {
        *sent.entry(packet.channel).or_default() += 1;
    }
    let all: u64 = sent.values().sum();
    for (channel, priority) in busy {
        let fair = all * priority / 23;
        assert!(sent[&channel].abs_diff(fair) <= 2, "{channel:?} sent {} of {all}, fair is {fair}", sent[&channel]);
    }
}

#[test]
fn a_vote_goes_before_the_rest_of_a_large_block() {
    let mut outgoing = outgoing();
    outgoing.push(Channel::Blocksync, message(3_000_000)).expect("room");
    take(&mut outgoing, Duration::ZERO, 100_000);
    outgoing.push(Channel::Vote, message(200)).expect("room");
    let next = take(&mut outgoing, Duration::ZERO, 1);
    assert_eq!(next.iter().map(|packet| packet.channel).collect::<Vec<_>>(), [Channel::Vote]);
}

#[test]
fn what_was_sent_is_forgotten_by_a_fifth_every_two_seconds() {
    let mut outgoing = outgoing();
    outgoing.push(Channel::Vote, message(989)).expect("room");
    take(&mut outgoing, Duration::ZERO, 1);
    let mut recently = |now| outgoing.view(now).map(|queue| queue.recently_sent).max().expect("channels");
    assert_eq!(recently(Duration::from_millis(1_999)), 1000);
    assert_eq!(recently(2 * SECOND), 800);
    assert_eq!(recently(7 * SECOND), 512, "three intervals");
    assert_eq!(recently(u32::MAX * SECOND), 0);
}

#[test]
fn a_queue_is_full_at_its_bytes_and_at_its_messages() {
    let mut outgoing = outgoing();
    let push = |outgoing: &mut Outgoing, channel, len| outgoing.push(channel, message(len));
    for _ in 0..10 {
        push(&mut outgoing, Channel::Pex, 1).expect("room");
    }
    assert_eq!(push(&mut outgoing, Channel::Pex, 1), Err(NotSent::Full), "ten messages");
    push(&mut outgoing, Channel::Evidence, 1 << 20).expect("room");
    push(&mut outgoing, Channel::Evidence, 1 << 20).expect("room");
    assert_eq!(push(&mut outgoing, Channel::Evidence, 1), Err(NotSent::Full), "two megabytes");
    push(&mut outgoing, Channel::Vote, 1).expect("another channel has room of its own");
}

#[test]
fn a_message_larger_than_a_queue_passes_when_it_is_alone() {
    let mut outgoing = outgoing();
    outgoing.push(Channel::Blocksync, message(50 << 20)).expect("alone");
    assert_eq!(outgoing.push(Channel::Blocksync, message(1)), Err(NotSent::Full));
    let whole: usize = take(&mut outgoing, Duration::ZERO, usize::MAX).iter().map(|packet| packet.data.len()).sum();
    assert_eq!((whole, outgoing.is_empty()), (50 << 20, true));
    outgoing.push(Channel::Blocksync, message(1)).expect("room again");
}

#[test]
fn what_the_peer_would_hang_up_over_is_not_taken() {
    let mut outgoing = Outgoing::new(&table(), &[0x22], 1024);
    assert_eq!(outgoing.push(Channel::State, message(1)), Err(NotSent::NotSpoken));
    let (bytes, max) = ((1 << 20) + 1, 1 << 20);
    assert_eq!(outgoing.push(Channel::Vote, message(bytes)), Err(NotSent::TooLarge { bytes, max }));
    let mut few = Outgoing::new(&ChannelTable::new(&[Channel::State], 1), &[0x20, 0x22], 1024);
    assert_eq!(few.push(Channel::Vote, message(1)), Err(NotSent::NotSpoken), "not one of ours");
}

#[test]
fn a_small_limit_still_lets_one_packet_go() {
    let mut outgoing = outgoing();
    outgoing.push(Channel::Vote, message(5000)).expect("room");
    assert_eq!(take(&mut outgoing, Duration::ZERO, 1).len(), 1);
    assert_eq!(take(&mut outgoing, Duration::ZERO, 3 * 1035).len(), 3);
    assert_eq!(take(&mut outgoing, Duration::ZERO, 64_000).len(), 1, "the rest");
}

// --------------------------------------------------------------------------------------------------- incoming

/// Packets no honest peer sends, and words of the sentence they end the connection with. 9 cases.
const BAD_PACKETS: [(&[u8], &str); 9] = [
    (b"", "empty or of an unknown kind"),
    (b"\x22\x00", "empty or of an unknown kind"),
    (b"\xff", "ends inside a number"),
    (b"\x1a\x05\x08\x22", "ends early"),
    (b"\x1a\x02\x08\x24", "channel 0x24, which this node does not list"),
    (b"\x1a\x03\x08\x80\x01", "channel 0x80, which this node does not list"),
    (b"\x1a\x03\x08\xac\x02", "channel_id: is 300"),
    (b"\x1a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "channel_id: is -1"),
    (b"\x1a\x02\x1a\x05", "ends early"),
];

#[test]
fn all_9_bad_packets_end_the_connection_with_a_sentence() {
    for (packet, words) in BAD_PACKETS {
        let fault = Incoming::new(&table()).packet(packet).expect_err("bad").to_string();
        assert!(fault.contains(words), "{packet:02x?}: {fault}");
    }
}

#[test]
fn a_message_may_have_exactly_its_channels_limit() {
    let mut incoming = Incoming::new(&table());
    let at = Channel::ALL.iter().position(|channel| *channel == Channel::Pex).expect("it is listed");
    let packet = |len: usize, last| Packet::Message { channel: 0, data: message(len), last }.encode();
    assert_eq!(incoming.packet(&packet(63_000, false)), Ok(Received::Part(at, 63_000)));
    let whole = incoming.packet(&packet(1000, true));
    assert_eq!(whole, Ok(Received::Message(at, 1000, Channel::Pex, message(64_000))));
    incoming.packet(&packet(64_000, false)).expect("full, but the end may be empty");
    let fault = incoming.packet(&packet(1, true)).expect_err("too large").to_string();
    assert_eq!(fault, "sent a message of 64001 bytes or more on channel 0x00 (Pex), at most 64000 are taken");
}

#[test]
fn peers_share_the_memory_for_unfinished_blocks_and_give_it_back() {
    let (table, mib) = (table(), 1 << 20);
    let all = table.budget().left();
    let part = Packet::Message { channel: 0x40, data: message(mib), last: false }.encode();
    let mut peers: Vec<Incoming> = (0..3).map(|_| Incoming::new(&table)).collect();
    let mut feed = |peer: usize, times: usize| (0..times).all(|_| peers[peer].packet(&part).is_ok());
    assert!(feed(0, 99) && feed(1, 99), "two peers may send the largest block at once");
    assert_eq!(table.budget().left(), all - 2 * 93 * mib, "six of each are the peer's own");
    assert!(!feed(2, 99), "a third may not");
    assert!(matches!(peers[2].packet(&part), Err(Ended::Lost(_))), "and is not to blame");
    let vote = Packet::Message { channel: 0x22, data: message(5), last: true }.encode();
    assert!(peers[1].packet(&vote).is_ok(), "votes pass whatever waits");
    let end = Packet::Message { channel: 0x40, data: Bytes::new(), last: true }.encode();
    assert!(matches!(peers[0].packet(&end), Ok(Received::Message(..))));
    peers.truncate(1);
    assert_eq!(table.budget().left(), all, "a message that is whole and a peer that is gone hold nothing");
}

#[test]
fn a_small_message_does_not_keep_a_large_buffer_alive() {
    let mut incoming = Incoming::new(&table());
    for len in [70_000, 1_000_000] {
        let mut rest = len;
        let whole = loop {
            let data = message(rest.min(1024));
            rest -= data.len();
            let packet = Packet::Message { channel: 0x21, data, last: rest == 0 }.encode();
            if let Received::Message(_, _, _, whole) = incoming.packet(&packet).expect("legal") {
                break whole;
            }
        };
        let memory = Vec::from(whole).capacity();
        assert!(memory <= len + len / 8, "{memory} bytes for a message of {len}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The oracle: what was pushed to a channel comes out of it, in order.
    #[test]
    fn messages_cut_interleaved_and_put_together_are_what_they_were_128_cases(
        sends in prop::collection::vec((0usize..10, 0usize..6000), 1..40),
        limits in prop::collection::vec(1usize..20_000, 1..20),
        payload_max in 1usize..3000,
    ) {
        let mut outgoing = Outgoing::new(&table(), &Channel::ALL.map(Channel::id), payload_max);
        let mut incoming = Incoming::new(&table());
        let (mut pushed, mut arrived) = (BTreeMap::<_, Vec<Bytes>>::new(), BTreeMap::<_, Vec<Bytes>>::new());
        let (mut sends, mut limits) = (sends.into_iter().enumerate(), limits.into_iter().cycle());
        let mut reported = BTreeMap::<_, Vec<usize>>::new();
        loop {
            let pushing = sends.next();
            if let Some((number, (channel, len))) = pushing {
                let (channel, data) = (Channel::ALL[channel], Bytes::from(vec![number as u8; len]));
                if outgoing.push(channel, data.clone()).is_ok() {
                    pushed.entry(channel).or_default().push(data);
                }
            } else if outgoing.is_empty() {
                break;
            }
            for packet in take(&mut outgoing, Duration::ZERO, limits.next().expect("endless")) {
                prop_assert!(packet.data.len() <= payload_max);
                reported.entry(packet.channel).or_default().extend(packet.completes);
                if let Received::Message(_, _, channel, whole) = incoming.packet(&on_the_wire(&packet)).expect("legal") {
                    arrived.entry(channel).or_default().push(whole);
                }
            }
        }
        reported.retain(|_, lengths| !lengths.is_empty());
        let lengths = |all: &BTreeMap<Channel, Vec<Bytes>>| -> BTreeMap<Channel, Vec<usize>> {
            all.iter().map(|(channel, all)| (*channel, all.iter().map(Bytes::len).collect())).collect()
        };
        prop_assert_eq!(lengths(&pushed), reported);
        prop_assert_eq!(pushed, arrived);
    }

    #[test]
    fn no_packet_makes_the_reader_panic_512_cases(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 4),
    ) {
        let mut incoming = Incoming::new(&table());
        let _first_fault = packets.iter().find_map(|packet| incoming.packet(packet).err());
    }
}

// ------------------------------------------------------------------------------------------- throttle and meter

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whoever takes as much as he may as early as he may gets the rate, and a tenth of a second's worth more.
    #[test]
    fn a_throttle_gives_its_rate_in_the_long_run_256_cases(
        rate in 1000u64..100_000_000,
        pieces in prop::collection::vec(1usize..100_000, 1..50),
    ) {
        let mut throttle = Throttle::new(rate);
        let (mut now, mut before_last) = (Duration::ZERO, 0);
        let mut all = 0;
        for piece in pieces {
            now = throttle.wait(now).unwrap_or(now);
            prop_assert_eq!(throttle.wait(now), None, "what it says holds");
            throttle.spend(now, piece);
            before_last = all;
            all += piece as u64;
        }
        let due = now.as_secs_f64() * rate as f64;
        prop_assert!(before_last as f64 <= due + 0.1 * rate as f64 + 50.0, "too fast: {before_last} of {due}");
        prop_assert!(all as f64 >= due, "too slow: {all} of {due}");
    }
}

#[test]
fn no_rate_is_no_limit_and_a_small_rate_makes_small_batches() {
    let mut free = Throttle::new(0);
    free.spend(Duration::ZERO, usize::MAX);
    assert_eq!((free.wait(Duration::ZERO), free.batch(65_536)), (None, 65_536));
    assert_eq!(Throttle::new(5_120_000).batch(65_536), 65_536);
    assert_eq!(Throttle::new(10_000).batch(65_536), 1_000);
    assert_eq!(Throttle::new(1).batch(65_536), 1);
}

#[test]
fn a_meter_follows_the_rate_and_remembers_the_peak() {
    let mut meter = FlowMeter::default();
    let tick = Duration::from_millis(100);
    let mut now = Duration::ZERO;
    for _ in 0..100 {
        now += tick;
        meter.add(now, 1000);
    }
    let busy = meter.view(now);
    assert_eq!(busy.bytes, 100_000);
    assert!((9_500..=10_500).contains(&busy.rate), "{busy:?}");
    let idle = meter.view(now + 10 * SECOND);
    assert!(idle.rate < 10 && idle.peak_rate >= 10_000, "{idle:?}");
    assert_eq!(idle.idle, 10 * SECOND);
}

// ------------------------------------------------------------------------------------------------------- heart

#[test]
fn a_silent_peer_is_asked_and_then_given_up() {
    let mut heart = Heart::new(60 * SECOND, 45 * SECOND);
    assert_eq!((heart.beat(Duration::ZERO, Heard::Nothing), heart.next()), (Beat::Quiet, 60 * SECOND));
    assert_eq!((heart.beat(60 * SECOND, Heard::Nothing), heart.next()), (Beat::Ping, 105 * SECOND));
    assert_eq!(heart.beat(104 * SECOND, Heard::Nothing), Beat::Quiet);
    assert_eq!(heart.beat(105 * SECOND, Heard::Nothing), Beat::Dead);
}

#[test]
fn a_peer_that_answers_is_asked_again_every_interval() {
    let mut heart = Heart::new(60 * SECOND, 45 * SECOND);
    for minute in 1..10 {
        assert_eq!(heart.beat(minute * 60 * SECOND, Heard::Nothing), Beat::Ping);
        assert_eq!(heart.beat((minute * 60 + 44) * SECOND, Heard::Something), Beat::Quiet);
        assert_eq!(heart.next(), (minute + 1) * 60 * SECOND);
    }
}
