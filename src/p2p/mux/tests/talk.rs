//! Two ends of a connection, or one end and a peer that breaks a rule.

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
