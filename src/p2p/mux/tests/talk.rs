//! Two ends of a connection, or one end and a peer that breaks a rule.

use crate::codec::wire::connection::Piece;
use crate::crypto::PrivateKey;
use crate::p2p::channels::ChannelTable;
use crate::p2p::handshake::{Upgraded, upgrade};
use crate::p2p::mux::{Ended, MuxSettings, NotSent, Outbox, open};
use crate::p2p::{Fault, PeerUp, Receiver};
use crate::types::{Address, Channel, NodeId, NodeInfo};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const SPOKEN: [Channel; 4] = [Channel::Vote, Channel::State, Channel::Blocksync, Channel::Pex];

fn node(seed: u8) -> (PrivateKey, NodeInfo) {
    let key = PrivateKey::from_seed(&[seed; 32]);
    let info = NodeInfo {
        p2p_version: 8,
        block_version: 11,
        app_version: 0,
        node_id: NodeId::new(Address::from(&key.public_key())),
        listen_addr: "127.0.0.1:26656".to_owned(),
        network: "chain".try_into().expect("short"),
        version: String::new(),
        channels: SPOKEN.map(Channel::id).to_vec(),
        moniker: "m".to_owned(),
        tx_index: String::new(),
        rpc_address: String::new(),
    };
    (key, info)
}

/// Two ends after their handshakes, over a line that holds `line` bytes.
async fn ends(line: usize) -> (Upgraded<DuplexStream>, Upgraded<DuplexStream>) {
    let (one, two) = duplex(line);
    let ((one_key, one_info), (two_key, two_info)) = (node(1), node(2));
    let timeout = Duration::from_secs(3);
    let (one, two) = tokio::join!(
        upgrade(one, &one_key, &one_info, None, timeout),
        upgrade(two, &two_key, &two_info, None, timeout)
    );
    (one.expect("honest"), two.expect("honest"))
}

/// What a receiver was told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Message(Channel, Bytes),
    Written(Channel, u64),
    Pex(Bytes),
}

/// Passes everything on. A message `bad` is a fault.
struct Ear(mpsc::UnboundedSender<Told>);

impl Receiver for Ear {
    async fn up(&self, _: PeerUp) {}

    async fn message(&self, _: NodeId, channel: Channel, message: Bytes) -> Result<(), Fault> {
        let fault = if message == "bad" { Err(Fault("said something bad".to_owned())) } else { Ok(()) };
        self.0.send(Told::Message(channel, message)).expect("the test listens");
        fault
    }

    async fn written(&self, _: NodeId, channel: Channel, bytes: u64) {
        self.0.send(Told::Written(channel, bytes)).expect("the test listens");
    }

    async fn down(&self, _: NodeId, _: String) {}
}

/// A running end.
struct End {
    outbox: Outbox,
    ended: JoinHandle<Ended>,
    told: mpsc::UnboundedReceiver<Told>,
}

fn start(upgraded: Upgraded<DuplexStream>, settings: &MuxSettings) -> End {
    let (sender, told) = mpsc::unbounded_channel();
    let (outbox, connection) = open(upgraded, &ChannelTable::new(&SPOKEN, 1 << 20), settings);
    let pex = sender.clone();
    let hear_pex = move |message| {
        pex.send(Told::Pex(message)).expect("the test listens");
        Ok(())
    };
    End { outbox, ended: tokio::spawn(connection.run(Arc::new(Ear(sender)), hear_pex)), told }
}

async fn pair() -> (End, End) {
    let (one, two) = ends(1 << 16).await;
    (start(one, &MuxSettings::default()), start(two, &MuxSettings::default()))
}

#[tokio::test(start_paused = true)]
async fn messages_arrive_whole_in_order_and_are_reported_as_written() {
    let (one, mut two) = pair().await;
    let mut one_told = one.told;
    let long = Bytes::from((0..100_000u32).map(|i| i as u8).collect::<Vec<_>>());
    one.outbox.send(Channel::Vote, long.clone()).expect("room");
    one.outbox.send(Channel::Vote, Bytes::new()).expect("room");
    assert_eq!(two.told.recv().await, Some(Told::Message(Channel::Vote, long)));
    assert_eq!(two.told.recv().await, Some(Told::Message(Channel::Vote, Bytes::new())));
    let mut written = 0;
    while written < 100_000 {
        let Some(Told::Written(Channel::Vote, bytes)) = one_told.recv().await else { panic!("only votes were sent") };
        written += bytes;
    }
    one.outbox.send(Channel::Pex, Bytes::from_static(b"whom do you know?")).expect("room");
    assert_eq!(two.told.recv().await, Some(Told::Pex(Bytes::from_static(b"whom do you know?"))));
    two.outbox.send(Channel::State, Bytes::from_static(b"back")).expect("room");
    assert_eq!(one_told.recv().await, Some(Told::Message(Channel::State, Bytes::from_static(b"back"))));
}

#[tokio::test(start_paused = true)]
async fn closing_one_end_ends_both_and_senders_learn_it() {
    let (one, two) = pair().await;
    one.outbox.close("enough".to_owned());
    assert_eq!(one.ended.await.expect("no panic"), Ended::Told("enough".to_owned()));
    assert_eq!(two.ended.await.expect("no panic"), Ended::Lost("it closed the connection".to_owned()));
    assert_eq!(two.outbox.send(Channel::Vote, Bytes::new()), Err(NotSent::Gone));
    assert_eq!(two.outbox.send_when_possible(Channel::Vote, Bytes::new()).await, Err(NotSent::Gone));
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_written_before_a_connection_ends_in_peace() {
    let (one, mut two) = pair().await;
    let all: Vec<Bytes> = (1..50u8).map(|byte| Bytes::from(vec![byte; 9000])).collect();
    all.iter().for_each(|message| one.outbox.send(Channel::Vote, message.clone()).expect("room"));
    one.outbox.close_when_written("that was all".to_owned());
    assert_eq!(one.outbox.send(Channel::Vote, Bytes::new()), Err(NotSent::Gone));
    assert_eq!(one.ended.await.expect("no panic"), Ended::Told("that was all".to_owned()));
    for message in all {
        assert_eq!(two.told.recv().await, Some(Told::Message(Channel::Vote, message)));
    }
}

#[tokio::test(start_paused = true)]
async fn messages_may_be_left_before_a_connection_runs() {
    let (one, two) = ends(1 << 16).await;
    let mut two = start(two, &MuxSettings::default());
    let (outbox, connection) = open(one, &ChannelTable::new(&SPOKEN, 1 << 20), &MuxSettings::default());
    outbox.send(Channel::Vote, Bytes::from_static(b"early")).expect("room");
    let (sender, _told) = mpsc::unbounded_channel();
    let _running = tokio::spawn(connection.run(Arc::new(Ear(sender)), |_| Ok(())));
    assert_eq!(two.told.recv().await, Some(Told::Message(Channel::Vote, Bytes::from_static(b"early"))));
}

#[tokio::test(start_paused = true)]
async fn a_message_the_receiver_refuses_ends_the_connection_with_its_words() {
    let (one, two) = pair().await;
    one.outbox.send(Channel::Vote, Bytes::from_static(b"bad")).expect("room");
    assert_eq!(two.ended.await.expect("no panic"), Ended::Fault(Fault("said something bad".to_owned())));
    assert!(matches!(one.ended.await.expect("no panic"), Ended::Lost(_)));
}

#[tokio::test(start_paused = true)]
async fn two_idle_ends_keep_each_other_alive_for_a_day() {
    let (one, mut two) = pair().await;
    tokio::time::advance(Duration::from_secs(1)).await;
    let a_day = tokio::time::timeout(Duration::from_secs(86_400), two.told.recv()).await;
    assert!(a_day.is_err() && !one.ended.is_finished() && !two.ended.is_finished());
    let stats = one.outbox.stats();
    // One ping and one pong a minute, three bytes each.
    assert!((8_600..=8_700).contains(&stats.sent.bytes), "{stats:?}");
    assert_eq!(stats.sent.bytes, stats.received.bytes);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_given_up_after_105_seconds() {
    let (one, mut silent) = ends(1 << 16).await;
    let one = start(one, &MuxSettings::default());
    let began = tokio::time::Instant::now();
    let reads_only = async { while silent.reader.fill(usize::MAX).await.is_ok() {} };
    let (ended, ()) = tokio::join!(one.ended, reads_only);
    assert_eq!(ended.expect("no panic"), Ended::Fault(Fault("did not answer a ping within 45s".to_owned())));
    assert_eq!(began.elapsed().as_secs(), 105);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_given_up_and_costs_a_bounded_queue() {
    let (one, _deaf) = ends(4096).await;
    let one = start(one, &MuxSettings::default());
    let mut taken = 0;
    let full = loop {
        match one.outbox.send(Channel::Vote, Bytes::from(vec![1; 10_000])) {
            Ok(()) => taken += 10_000,
            Err(why) => break why,
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(full, NotSent::Full);
    assert!((2 << 20..3 << 20).contains(&taken), "{taken} bytes were taken for a peer that reads nothing");
    let Ended::Fault(fault) = one.ended.await.expect("no panic") else { panic!("its fault") };
    assert!(fault.0.starts_with("does not read"), "{fault}");
    assert_eq!(one.outbox.stats().queued(), 0, "nothing is kept for it");
}

impl crate::p2p::mux::ConnStats {
    fn queued(&self) -> u64 {
        self.channels.iter().map(|channel| channel.queued_bytes).sum()
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_may_wait_waits_for_room() {
    let (one, two) = ends(4096).await;
    let (one, mut two) = (start(one, &MuxSettings::default()), start(two, &MuxSettings::default()));
    for number in 0..100u8 {
        let message = Bytes::from(vec![number; 100_000]);
        one.outbox.send_when_possible(Channel::Vote, message).await.expect("two reads");
        assert!(one.outbox.stats().queued() <= 2 << 20);
    }
    for number in 0..100u8 {
        let Some(Told::Message(_, message)) = two.told.recv().await else { panic!("messages only") };
        assert_eq!(message[..], [number; 100_000]);
    }
}

#[tokio::test(start_paused = true)]
async fn rates_hold_in_both_directions() {
    let slow = MuxSettings { send_rate: 100_000, ..MuxSettings::default() };
    let slow_reader = MuxSettings { recv_rate: 100_000, ..MuxSettings::default() };
    for (one_settings, two_settings) in [(slow, MuxSettings::default()), (MuxSettings::default(), slow_reader)] {
        let (one, two) = ends(4096).await;
        let (one, mut two) = (start(one, &one_settings), start(two, &two_settings));
        let began = tokio::time::Instant::now();
        for _ in 0..10 {
            one.outbox.send(Channel::Vote, Bytes::from(vec![1; 100_000])).expect("room");
        }
        for _ in 0..10 {
            two.told.recv().await.expect("a message");
        }
        let took = began.elapsed().as_millis();
        assert!((9_800..10_500).contains(&took), "a megabyte took {took} ms at 100 kB/s");
    }
}

/// Speaks sealed bytes, whatever they are, to a connection and gives how it ended.
async fn say(plain: &[u8]) -> Ended {
    let (one, mut two) = ends(1 << 16).await;
    let one = start(one, &MuxSettings::default());
    two.writer.write(plain).await.expect("open");
    one.ended.await.expect("no panic")
}

/// What ends a connection, and with which words. 5 cases.
const BAD_STREAMS: [(&[u8], &str); 5] = [
    (b"\x8b\x08", "sent a packet that is too large (a frame of 1035 bytes was announced; at most 1034 are taken"),
    (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a frame of 18446744073709551615 bytes was announced"),
    (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "length takes more than 10 bytes"),
    (b"\x00", "sent a packet that cannot be read: Packet: is empty"),
    (b"\x05\x1a\x03\x08\x21\x1a", "ends"),
];

#[tokio::test(start_paused = true)]
async fn all_5_bad_streams_end_the_connection_with_a_sentence() {
    for (bytes, words) in BAD_STREAMS {
        let ended = say(bytes).await;
        assert!(matches!(ended, Ended::Fault(_)) && ended.to_string().contains(words), "{bytes:02x?}: {ended}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_replayed_changed_or_cut_ends_the_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    const FRAME: usize = crate::p2p::secret::SEALED_LEN;
    for (spoil, words) in [("replay", "tag is wrong"), ("change", "tag is wrong"), ("cut", "in the middle of a frame")]
    {
        // Somebody in between has the sealed bytes and spoils them.
        let ((one, mut middle_one), (mut middle_two, two)) = (duplex(1 << 16), duplex(1 << 16));
        let ((one_key, one_info), (two_key, two_info)) = (node(1), node(2));
        let timeout = Duration::from_secs(3);
        let greet = async {
            tokio::join!(
                upgrade(one, &one_key, &one_info, None, timeout),
                upgrade(two, &two_key, &two_info, None, timeout)
            )
        };
        let (one, two) = tokio::select! {
            ends = greet => ends,
            _ = tokio::io::copy_bidirectional(&mut middle_one, &mut middle_two) => unreachable!("both stay"),
        };
        let (mut one, two) = (one.expect("honest"), start(two.expect("honest"), &MuxSettings::default()));
        one.writer.write(b"\x02\x0a\x00").await.expect("open");
        let mut frame = [0; FRAME];
        middle_one.read_exact(&mut frame).await.expect("a ping");
        match spoil {
            "replay" => middle_two.write_all(&[frame, frame].concat()).await.expect("open"),
            "change" => {
                frame[500] ^= 1;
                middle_two.write_all(&frame).await.expect("open");
            }
            _ => {
                middle_two.write_all(&frame[..500]).await.expect("open");
                middle_two.shutdown().await.expect("open");
            }
        }
        let ended = two.ended.await.expect("no panic").to_string();
        assert!(ended.contains(words), "{spoil}: {ended}");
    }
}

#[tokio::test(start_paused = true)]
async fn statistics_count_bytes_and_packets_of_each_channel() {
    let (one, mut two) = pair().await;
    one.outbox.send(Channel::Blocksync, Bytes::from(vec![1; 2500])).expect("room");
    assert!(matches!(two.told.recv().await, Some(Told::Message(Channel::Blocksync, _))));
    let count = |end: &End| {
        let stats = end.outbox.stats();
        let channel = stats.channels.into_iter().find(|channel| channel.view.id == 0x40).expect("listed");
        [channel.sent_bytes, channel.sent_packets, channel.received_bytes, channel.received_packets]
    };
    assert_eq!(count(&two), [0, 0, 2500, 3]);
    let mut one = one;
    assert_eq!(one.told.recv().await, Some(Told::Written(Channel::Blocksync, 2500)));
    assert_eq!(count(&one), [2500, 3, 0, 0]);
}

/// Takes ten minutes for each message.
struct Slow(mpsc::UnboundedSender<Bytes>);

impl Receiver for Slow {
    async fn up(&self, _: PeerUp) {}

    async fn message(&self, _: NodeId, _: Channel, message: Bytes) -> Result<(), Fault> {
        let (_never, ten_minutes) = tokio::sync::oneshot::channel::<()>();
        let _late = tokio::time::timeout(Duration::from_secs(600), async { drop(ten_minutes.await) }).await;
        self.0.send(message).expect("the test listens");
        Ok(())
    }

    async fn written(&self, _: NodeId, _: Channel, _: u64) {}

    async fn down(&self, _: NodeId, _: String) {}
}

#[tokio::test(start_paused = true)]
async fn a_peer_is_not_given_up_because_this_node_is_busy() {
    let (one, two) = ends(1 << 16).await;
    let never_asks = MuxSettings { ping_interval: Duration::from_secs(86_400), ..MuxSettings::default() };
    let two = start(two, &never_asks);
    let (sender, mut heard) = mpsc::unbounded_channel();
    let (_outbox, connection) = open(one, &ChannelTable::new(&SPOKEN, 1 << 20), &MuxSettings::default());
    let one = tokio::spawn(connection.run(Arc::new(Slow(sender)), |_| Ok(())));
    for message in ["first", "second", "third"] {
        two.outbox.send(Channel::Vote, Bytes::from_static(message.as_bytes())).expect("room");
    }
    for message in ["first", "second", "third"] {
        assert_eq!(heard.recv().await, Some(Bytes::from_static(message.as_bytes())));
    }
    assert!(!one.is_finished() && !two.ended.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_pings_is_answered_with_few_pongs() {
    let (one, mut flooding) = ends(1 << 20).await;
    let one = start(one, &MuxSettings::default());
    flooding.writer.write(&b"\x02\x0a\x00".repeat(100_000)).await.expect("open");
    flooding.reader.fill(usize::MAX).await.expect("a pong");
    assert!(flooding.reader.plain.starts_with(b"\x02\x12\x00"));
    let sent = one.outbox.stats().sent.bytes;
    assert!((3..=3 * 300).contains(&sent), "{sent} bytes for 300 kB of pings");
}

/// Waits for no large message.
struct Wary;

impl Receiver for Wary {
    async fn up(&self, _: PeerUp) {}

    async fn message(&self, _: NodeId, _: Channel, _: Bytes) -> Result<(), Fault> {
        Ok(())
    }

    fn expects_large(&self, _: NodeId, _: Channel) -> bool {
        false
    }

    async fn written(&self, _: NodeId, _: Channel, _: u64) {}

    async fn down(&self, _: NodeId, _: String) {}
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_a_large_message_nobody_asked_for_is_dropped_before_it_is_whole() {
    let (one, two) = ends(1 << 16).await;
    let two = start(two, &MuxSettings::default());
    let table = ChannelTable::new(&SPOKEN, 1 << 20);
    let (outbox, connection) = open(one, &table, &MuxSettings::default());
    let one = tokio::spawn(connection.run(Arc::new(Wary), |_| Ok(())));
    two.outbox.send(Channel::Blocksync, Bytes::from(vec![1; 7 << 20])).expect("room for one");
    let Ended::Fault(fault) = one.await.expect("no panic") else { panic!("its fault") };
    assert!(fault.0.contains("nobody asked"), "{fault}");
    assert!(outbox.stats().received.bytes < 7 << 20, "the rest was not read");
}

/// Answers every message with a longer one, as who serves blocks does, and waits for room before it hears more.
#[derive(Default)]
struct Server(std::sync::OnceLock<Outbox>);

impl Receiver for Server {
    async fn up(&self, _: PeerUp) {}

    async fn message(&self, _: NodeId, channel: Channel, _: Bytes) -> Result<(), Fault> {
        let outbox = self.0.get().expect("set before it runs");
        outbox.send_when_possible(channel, Bytes::from(vec![1; 100_000])).await.map_err(|why| Fault(why.to_string()))
    }

    async fn written(&self, _: NodeId, _: Channel, _: u64) {}

    async fn down(&self, _: NodeId, _: String) {}
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_asks_for_ever_and_reads_nothing_is_given_up_though_this_node_waits_for_room() {
    let (one, mut greedy) = ends(1 << 16).await;
    let (outbox, connection) = open(one, &ChannelTable::new(&SPOKEN, 1 << 20), &MuxSettings::default());
    let server = Arc::new(Server::default());
    server.0.set(outbox.clone()).expect("once");
    let began = tokio::time::Instant::now();
    let running = tokio::spawn(connection.run(server, |_| Ok(())));
    let mut question = Vec::new();
    Piece { channel: Channel::Blocksync.id(), data: b"block?", last: true }.write_delimited(&mut question);
    let flood = question.repeat(100);
    let mut most = 0;
    while greedy.writer.write(&flood).await.is_ok() {
        most = most.max(outbox.stats().queued());
    }
    assert!(most <= (4 << 20) + 100_000, "{most} bytes wait for a peer that reads nothing");
    let Ended::Fault(fault) = running.await.expect("no panic") else { panic!("its fault") };
    assert!(fault.0.starts_with("does not read"), "{fault}");
    assert!(began.elapsed().as_secs() <= 105, "{:?}", began.elapsed());
}
