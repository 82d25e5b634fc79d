//! Stories about networks of two to five nodes over loopback, in one process.

pub(crate) mod attacker;
mod hostile;

use super::handshake::upgrade;
use super::*;
use crate::crypto::PrivateKey;
use crate::ports::{AddressView, Choice, DialKind, DialRequest};
use crate::types::{Address, Algorithm, ChainId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on a busy machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, PartialEq)]
enum Event {
    Up(NodeId, Direction),
    Message(NodeId, Bytes),
    Down(NodeId, String),
}

/// Passes on what it is told, and holds the network to its order of calls.
struct Heard {
    events: mpsc::UnboundedSender<Event>,
    up: Mutex<BTreeMap<NodeId, bool>>,
}

impl Heard {
    fn turn(&self, id: NodeId, up: bool) {
        let before = self.up.lock().unwrap().insert(id, up).unwrap_or(false);
        assert_ne!(before, up, "up and down come in turn");
    }

    fn tell(&self, event: Event) {
        // The story may be over.
        let _ = self.events.send(event);
    }
}

impl Receiver for Heard {
    async fn up(&self, peer: PeerUp) {
        self.turn(peer.id, true);
        self.tell(Event::Up(peer.id, peer.direction));
    }

    async fn message(&self, peer: NodeId, _: Channel, message: Bytes) -> Result<(), Fault> {
        assert!(self.up.lock().unwrap()[&peer], "messages come between up and down");
        assert_ne!(message, "planted panic");
        if message == "nonsense" {
            return Err(Fault("talks nonsense".to_owned()));
        }
        self.tell(Event::Message(peer, message));
        Ok(())
    }

    async fn written(&self, _: NodeId, _: Channel, _: u64) {}

    async fn down(&self, peer: NodeId, why: String) {
        self.turn(peer, false);
        self.tell(Event::Down(peer, why));
    }
}

struct Node {
    id: NodeId,
    at: SocketAddr,
    network: Network,
    events: mpsc::UnboundedReceiver<Event>,
    stop: CancellationToken,
    folder: tempfile::TempDir,
}

fn key(number: u8) -> PrivateKey {
    PrivateKey::from_seed(&[number; 32])
}

fn id(number: u8) -> NodeId {
    NodeId::new(Address::from(&key(number).public_key()))
}

fn info(number: u8, at: SocketAddr) -> NodeInfo {
    NodeInfo {
        p2p_version: 8,
        block_version: 11,
        app_version: 0,
        node_id: id(number),
        listen_addr: at.to_string(),
        network: ChainId::try_from("chain").unwrap(),
        version: "0.38.25".to_owned(),
        channels: Channel::ALL.iter().map(|channel| channel.id()).collect(),
        moniker: format!("node {number}"),
        tx_index: "on".to_owned(),
        rpc_address: String::new(),
    }
}

/// Of a node on loopback that lets in whoever comes, and calls nobody.
pub(crate) fn settings() -> Settings {
    Settings {
        seeds: Vec::new(),
        persistent_peers: Vec::new(),
        unconditional: Default::default(),
        private: Default::default(),
        peers_only: Default::default(),
        persistent_max_dial_period: None,
        max_inbound: 40,
        max_outbound: 10,
        pex: true,
        seed_mode: false,
        strict: false,
        allow_duplicate_ip: true,
        handshake_timeout: Duration::from_secs(20),
        dial_timeout: Duration::from_secs(3),
        send_rate: 0,
        recv_rate: 0,
        packet_payload_max: 1024,
        max_tx_bytes: 1 << 20,
    }
}

async fn listener() -> (tokio::net::TcpListener, SocketAddr) {
    let listener = bind(&["127.0.0.1:0".to_owned()]).await.unwrap().remove(0);
    let at = listener.local_addr().unwrap();
    (listener, at)
}

fn start_node(
    number: u8,
    (listener, at): (tokio::net::TcpListener, SocketAddr),
    change: impl FnOnce(&mut NetworkOptions),
) -> Node {
    let folder = tempfile::tempdir().unwrap();
    let mut options = NetworkOptions {
        node_key: key(number),
        info: info(number, at),
        algorithm: Algorithm::Tendermint,
        listeners: vec![listener],
        settings: settings(),
        address_book: folder.path().join("addrbook.json"),
    };
    change(&mut options);
    let (events, heard) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let receiver = Heard { events, up: Mutex::default() };
    let network = start(options, Arc::new(receiver), stop.clone());
    Node { id: id(number), at, network, events: heard, stop, folder }
}

async fn node(number: u8, change: impl FnOnce(&mut NetworkOptions)) -> Node {
    start_node(number, listener().await, change)
}

impl Node {
    fn address(&self) -> PeerAddress {
        PeerAddress { id: self.id, address: self.at.to_string() }
    }

    async fn next(&mut self) -> Event {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("something happens").expect("the node runs")
    }

    async fn expect_up(&mut self, peer: NodeId) {
        let event = self.next().await;
        assert!(matches!(event, Event::Up(id, _) if id == peer), "{event:?}");
    }

    /// Waits until the network says this about an address, or about somebody who called.
    async fn learns(&self, id: NodeId, what: &str) -> AddressView {
        let look = async {
            loop {
                let view = self.network.known().into_iter().find(|view| view.id == id);
                match view {
                    Some(view) if view.last_error.as_ref().is_some_and(|why| why.contains(what)) => return view,
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        let found = tokio::time::timeout(PATIENCE, look).await;
        found.unwrap_or_else(|_| panic!("{what:?} is not in {:?}", self.network.known()))
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.network.stopped()).await.expect("all tasks end");
    }
}

/// Says something to `to` and waits until it arrives.
async fn talk(from: &Node, to: &mut Node, what: &'static str) {
    from.network.send(to.id, Channel::Vote, Bytes::from_static(what.as_bytes())).unwrap();
    assert_eq!(to.next().await, Event::Message(from.id, Bytes::from_static(what.as_bytes())));
}

#[tokio::test]
async fn a_persistent_peer_is_called_and_both_talk() {
    let mut one = node(1, |_| ()).await;
    let mut two = node(2, |options| options.settings.persistent_peers.push(one.address())).await;
    assert_eq!(one.next().await, Event::Up(two.id, Direction::Inbound));
    assert_eq!(two.next().await, Event::Up(one.id, Direction::Outbound));
    talk(&one, &mut two, "hello").await;
    talk(&two, &mut one, "good morning").await;
    two.network.useful(one.id);
    let peers = two.network.peers();
    assert_eq!((peers.len(), peers[0].score, peers[0].remote_ip), (1, 1, one.at.ip()));
    assert_eq!(peers[0].info.moniker, "node 1");
    let known = &two.network.known()[0];
    assert_eq!((known.origin, known.connected, known.failures), ("persistent", true, 0));
    assert_eq!(two.network.send(id(9), Channel::Vote, Bytes::new()), Err(NotSent::Gone));
    two.end().await;
    assert!(matches!(one.next().await, Event::Down(..)));
    one.end().await;
}

/// Networks that begin with two calls at once.
const RACES: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_call_each_other_at_once_keep_one_connection() {
    for race in 0..RACES {
        let (one, two) = (listener().await, listener().await);
        let address = |number, at: SocketAddr| PeerAddress { id: id(number), address: at.to_string() };
        let (at_one, at_two) = (address(1, one.1), address(2, two.1));
        let mut one = start_node(1, one, |options| options.settings.persistent_peers.push(at_two));
        let mut two = start_node(2, two, |options| options.settings.persistent_peers.push(at_one));
        one.expect_up(two.id).await;
        two.expect_up(one.id).await;
        // Nothing else happens: a connection that was taken down again would be heard before these.
        for _ in 0..20 {
            talk(&one, &mut two, "ping").await;
            talk(&two, &mut one, "pong").await;
        }
        let failures = |node: &Node| node.network.known()[0].failures;
        assert_eq!((failures(&one), failures(&two)), (0, 0), "race {race}");
        assert_ne!(one.network.peers()[0].direction, two.network.peers()[0].direction);
        one.end().await;
        two.end().await;
    }
}

/// CometBFT keeps the connection whose handshake is over first on its side and closes the other. Whichever that is, it
/// must be the one we keep.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_keeps_whatever_is_ready_first_keeps_what_we_keep() {
    for race in 0..2 * RACES {
        let (ours, theirs) = if race % 2 == 0 { (1, 2) } else { (2, 1) };
        let (us, (listener, at)) = (listener().await, listener().await);
        let (our_at, their_info) = (us.1, info(theirs, at));
        let mut ends = tokio::task::JoinSet::new();
        let info = their_info.clone();
        ends.spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            upgrade(socket, &key(theirs), &info, None, PATIENCE).await
        });
        ends.spawn(async move {
            let socket = tokio::net::TcpStream::connect(our_at).await.unwrap();
            upgrade(socket, &key(theirs), &their_info, Some(id(ours)), PATIENCE).await
        });
        let them = PeerAddress { id: id(theirs), address: at.to_string() };
        let mut node = start_node(ours, us, |options| options.settings.persistent_peers.push(them));
        node.expect_up(id(theirs)).await;
        let kept = loop {
            if let Ok(kept) = ends.join_next().await.expect("one is kept").unwrap() {
                break kept;
            }
        };
        while let Some(other) = ends.try_join_next() {
            assert!(other.unwrap().is_err(), "race {race}: two connections are ready");
        }
        assert!(node.events.is_empty(), "race {race}: it is up and stays up");
        drop(kept);
        assert!(matches!(node.next().await, Event::Down(..)), "race {race}: what it keeps is what we keep");
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_nodes_that_all_call_each_other_at_once_are_all_connected() {
    let mut listeners = Vec::new();
    for number in 1..=5 {
        listeners.push((number, listener().await));
    }
    let addresses: Vec<_> =
        listeners.iter().map(|(number, (_, at))| PeerAddress { id: id(*number), address: at.to_string() }).collect();
    let start = |(number, listener)| {
        start_node(number, listener, |options| options.settings.persistent_peers = addresses.clone())
    };
    let mut nodes: Vec<_> = listeners.into_iter().map(start).collect();
    for node in &mut nodes {
        for _ in 0..4 {
            assert!(matches!(node.next().await, Event::Up(..)));
        }
    }
    assert!(nodes.iter().all(|node| node.network.peers().len() == 4));
    for node in nodes {
        node.end().await;
    }
}

#[tokio::test]
async fn another_node_at_the_address_is_found_out() {
    let one = node(1, |_| ()).await;
    let wrong = PeerAddress { id: id(9), address: one.at.to_string() };
    let two = node(2, |options| options.settings.persistent_peers.push(wrong)).await;
    let view = two.learns(id(9), "answered where").await;
    assert!(view.last_error.unwrap().contains(&one.id.to_string()));
    assert!(view.failures > 0 && !view.connected);
}

#[tokio::test]
async fn nodes_of_other_chains_and_protocols_are_refused_with_a_sentence_that_names_both() {
    let one = node(1, |_| ()).await;
    let two = node(2, |options| {
        options.settings.persistent_peers.push(one.address());
        options.info.network = ChainId::try_from("other").unwrap();
    });
    let two = two.await;
    let why = two.learns(one.id, "chain").await.last_error.unwrap();
    assert!(why.contains("\"other\"") || why.contains("other"), "{why}");
    let three = node(3, |options| {
        options.settings.persistent_peers.push(one.address());
        options.info.block_version = 10;
    });
    let why = three.await.learns(one.id, "10").await.last_error.unwrap();
    assert!(why.contains("11"), "{why}");
}

#[tokio::test]
async fn a_node_that_called_itself_does_not_do_it_again() {
    let (listener, at) = listener().await;
    let myself = PeerAddress { id: id(1), address: at.to_string() };
    let one = start_node(1, (listener, at), |options| options.settings.persistent_peers.push(myself));
    assert_eq!(one.network.known(), []);
    one.end().await;
}

#[tokio::test]
async fn a_third_node_is_found_through_the_second() {
    let mut two = node(2, |_| ()).await;
    let mut three = node(3, |options| options.settings.persistent_peers.push(two.address())).await;
    two.expect_up(three.id).await;
    three.expect_up(two.id).await;
    let mut one = node(1, |options| options.settings.seeds.push(two.address())).await;
    one.expect_up(two.id).await;
    assert_eq!(one.next().await, Event::Up(three.id, Direction::Outbound));
    let book = one.folder.path().join("addrbook.json");
    one.stop.cancel();
    one.network.stopped().await;
    let book = std::fs::read_to_string(book).unwrap();
    assert!(book.contains(&three.id.to_string()), "the book is saved at the end: {book}");
    two.end().await;
    three.end().await;
}

#[tokio::test]
async fn private_nodes_are_not_told() {
    let mut two = node(2, |options| options.settings.private.extend([id(3)])).await;
    let mut three = node(3, |options| options.settings.persistent_peers.push(two.address())).await;
    let mut four = node(4, |options| options.settings.persistent_peers.push(two.address())).await;
    for _ in 0..2 {
        assert!(matches!(two.next().await, Event::Up(..)));
    }
    three.expect_up(two.id).await;
    four.expect_up(two.id).await;
    let mut one = node(1, |options| options.settings.seeds.push(two.address())).await;
    one.expect_up(two.id).await;
    one.expect_up(four.id).await;
    assert!(one.network.known().iter().all(|view| view.id != three.id));
}

#[tokio::test]
async fn a_persistent_peer_that_restarts_is_called_until_it_is_back() {
    let two = node(2, |_| ()).await;
    let mut one = node(1, |options| options.settings.persistent_peers.push(two.address())).await;
    one.expect_up(two.id).await;
    let at = two.at;
    two.end().await;
    assert!(matches!(one.next().await, Event::Down(..)));
    one.learns(id(2), "refused").await;
    let again = bind(&[at.to_string()]).await.unwrap().remove(0);
    let mut two = start_node(2, (again, at), |_| ());
    one.expect_up(two.id).await;
    two.expect_up(one.id).await;
}

#[tokio::test]
async fn a_peer_that_breaks_rules_is_dropped_banned_and_remembered() {
    let mut one = node(1, |_| ()).await;
    let mut two = node(2, |options| options.settings.persistent_peers.push(one.address())).await;
    one.expect_up(two.id).await;
    two.expect_up(one.id).await;
    two.network.send(one.id, Channel::Vote, Bytes::from_static(b"nonsense")).unwrap();
    assert_eq!(one.next().await, Event::Down(two.id, "talks nonsense".to_owned()));
    assert!(matches!(two.next().await, Event::Down(..)));
    // It calls again and again, and is told nothing but the end of the connection.
    two.learns(one.id, "closed").await;
    let view = one.learns(two.id, "banned").await;
    assert_eq!((view.origin, view.connected), ("caller", false));
    assert!(view.last_error.unwrap().contains("talks nonsense"));
}

#[tokio::test]
async fn a_panic_over_what_a_peer_says_ends_that_connection_alone_and_it_is_told_down() {
    let mut one = node(1, |_| ()).await;
    let mut two = node(2, |options| options.settings.persistent_peers.push(one.address())).await;
    one.expect_up(two.id).await;
    two.expect_up(one.id).await;
    let mut three = node(3, |options| options.settings.persistent_peers.push(one.address())).await;
    one.expect_up(three.id).await;
    three.expect_up(one.id).await;
    two.network.send(one.id, Channel::Vote, Bytes::from_static(b"planted panic")).unwrap();
    assert_eq!(one.next().await, Event::Down(two.id, "our task for it panicked, which is a bug".to_owned()));
    talk(&three, &mut one, "still there?").await;
    one.learns(two.id, "panicked").await;
    one.end().await;
}

#[tokio::test]
async fn a_network_whose_hub_panics_says_so() {
    let one = node(1, |_| ()).await;
    one.network.break_hub();
    let failed = tokio::time::timeout(PATIENCE, one.network.failed()).await.expect("it is noticed");
    assert_eq!(failed, "a part of the network panicked");
    one.end().await;
}

#[tokio::test]
async fn the_node_can_drop_a_persistent_peer_and_meets_it_again() {
    let mut one = node(1, |options| options.settings.unconditional.extend([id(2)])).await;
    let mut two = node(2, |options| options.settings.persistent_peers.push(one.address())).await;
    one.expect_up(two.id).await;
    two.expect_up(one.id).await;
    two.network.drop_peer(one.id, Fault("lies about blocks".to_owned()));
    assert_eq!(two.next().await, Event::Down(one.id, "lies about blocks".to_owned()));
    assert!(matches!(one.next().await, Event::Down(..)));
    one.expect_up(two.id).await;
    two.expect_up(one.id).await;
    assert!(two.network.peers()[0].score < 0);
}

#[tokio::test]
async fn callers_beyond_the_limit_are_refused_and_unconditional_ones_are_not() {
    let mut one = node(1, |options| {
        options.settings.max_inbound = 1;
        options.settings.unconditional.insert(id(4));
        options.settings.pex = false;
    })
    .await;
    let calls_one = |options: &mut NetworkOptions| options.settings.persistent_peers.push(one.address());
    let two = node(2, calls_one).await;
    one.expect_up(two.id).await;
    let calls_one = |options: &mut NetworkOptions| options.settings.persistent_peers.push(one.address());
    let three = node(3, calls_one).await;
    one.learns(three.id, "p2p.max_num_inbound_peers is 1").await;
    let calls_one = |options: &mut NetworkOptions| options.settings.persistent_peers.push(one.address());
    let four = node(4, calls_one).await;
    one.expect_up(four.id).await;
}

#[tokio::test]
async fn a_closed_network_takes_only_those_it_lists() {
    let mut one = node(1, |options| options.settings.peers_only.extend([id(2)])).await;
    let three = node(3, |options| options.settings.persistent_peers.push(one.address())).await;
    one.learns(three.id, "p2p.peers_only").await;
    let two = node(2, |options| options.settings.persistent_peers.push(one.address())).await;
    one.expect_up(two.id).await;
}

#[tokio::test]
async fn one_ip_address_is_one_peer_unless_the_operator_allows_more() {
    let mut one = node(1, |options| options.settings.allow_duplicate_ip = false).await;
    let two = node(2, |options| options.settings.persistent_peers.push(one.address())).await;
    one.expect_up(two.id).await;
    let three = node(3, |options| options.settings.persistent_peers.push(one.address())).await;
    one.learns(three.id, "p2p.allow_duplicate_ip").await;
}

#[tokio::test]
async fn an_operator_can_have_nodes_called_while_the_network_runs() {
    let two = node(2, |_| ()).await;
    let mut one = node(1, |_| ()).await;
    let kind = DialKind::Peers { persistent: Choice::Yes, unconditional: Choice::No, private: Choice::No };
    let bad = DialRequest { addresses: vec!["example.org:26656".to_owned()], kind };
    assert!(one.network.dial(bad).unwrap_err().contains("ID@HOST:PORT"));
    one.network.dial(DialRequest { addresses: vec![format!("{}@{}", two.id, two.at)], kind }).unwrap();
    one.expect_up(two.id).await;
    assert_eq!(one.network.known()[0].origin, "persistent");
}

#[tokio::test]
async fn an_address_in_use_is_refused_with_what_to_do() {
    let (_listener, at) = listener().await;
    let refusal = bind(&[at.to_string()]).await.unwrap_err().to_string();
    assert!(refusal.contains(&at.to_string()) && refusal.contains("p2p.laddr"), "{refusal}");
}
