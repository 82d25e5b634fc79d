//! Who is offered what: stories, and every promise checked in random histories.

use super::*;
use crate::mempool::Broadcast;
use crate::mempool::gossip::{
    BATCHES_IN_FLIGHT, BadBatch, Offer, TxGossip, TxGossipInput, check_batch, message_bytes_max,
};
use crate::types::{Address, Height, NodeId, PeerMessage};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const MAX_TX: u64 = 40;

fn peer(number: u8) -> NodeId {
    NodeId::new(Address::new([number; 20]))
}

/// A mempool and the gossip about it.
struct World {
    mempool: Mempool,
    gossip: TxGossip,
}

impl World {
    fn new() -> World {
        let config = MempoolConfig { size: 1_000, max_txs_bytes: 1 << 20, max_tx_bytes: MAX_TX, ..config() };
        World::with(MempoolConfig { cache_size: 1_000, ..config })
    }

    fn with(config: MempoolConfig) -> World {
        World { mempool: Mempool::new(config, LIMITS), gossip: TxGossip::new() }
    }

    /// Submits, has the application say yes, and tells gossip when it should be told.
    fn put(&mut self, origin: Origin, txs: &[Tx]) -> Vec<Offer> {
        let before = self.mempool.taken();
        let out = step(&mut self.mempool, MempoolInput::Submit { origin, txs: txs.to_vec() });
        self.answer(&out);
        if self.mempool.taken() > before { self.tell(TxGossipInput::Changed) } else { vec![] }
    }

    fn answer(&mut self, effects: &[MempoolEffect]) {
        for effect in effects {
            if let MempoolEffect::Check { batch, txs, .. } = effect {
                let responses = vec![ok(1); txs.len()];
                step(&mut self.mempool, MempoolInput::Answered { batch: *batch, responses });
            }
        }
    }

    fn client(&mut self, names: &[&str]) -> Vec<Offer> {
        self.put(Origin::Check(RequestId(1)), &names.iter().map(|name| tx(name)).collect::<Vec<_>>())
    }

    fn commit(&mut self, height: u64, names: &[&str]) {
        let txs = names.iter().map(|name| (tx(name), 0)).collect();
        step(&mut self.mempool, MempoolInput::Committed { height: Height::new(height), txs, limits: LIMITS });
    }

    fn tell(&mut self, input: TxGossipInput) -> Vec<Offer> {
        let mut out = Vec::new();
        self.gossip.step(input, &self.mempool, &mut out);
        out
    }

    /// A peer that takes part at height 1.
    fn join(&mut self, number: u8) -> Vec<Offer> {
        assert_eq!(self.tell(TxGossipInput::PeerUp(peer(number))), [], "it did not say where it is");
        self.tell(TxGossipInput::PeerAt(peer(number), Height::new(1)))
    }
}

fn texts(offers: &[Offer]) -> Vec<(NodeId, Vec<String>)> {
    let text = |tx: &Bytes| String::from_utf8_lossy(tx).into_owned();
    offers.iter().map(|offer| (offer.peer, offer.txs.iter().map(text).collect())).collect()
}

fn offer(number: u8, names: &[&str]) -> (NodeId, Vec<String>) {
    (peer(number), names.iter().map(|name| (*name).to_owned()).collect())
}

/// Bytes of an offer on the wire.
fn wire_len(offer: &Offer) -> u64 {
    PeerMessage::Txs(offer.txs.clone()).encode().len() as u64
}

#[test]
fn a_peer_is_offered_all_that_waits_once_it_says_its_height() {
    let mut world = World::new();
    world.client(&["a", "b"]);
    assert_eq!(texts(&world.join(1)), [offer(1, &["a", "b"])]);
    assert_eq!(world.tell(TxGossipInput::PeerAt(peer(1), Height::new(2))), []);
    assert_eq!(texts(&world.client(&["c"])), [offer(1, &["c"])]);
}

#[test]
fn a_transaction_does_not_go_back_to_those_who_sent_it() {
    let mut world = World::new();
    for number in [1, 2, 3] {
        world.join(number);
    }
    // 1 and 2 send it while the application looks at it, 3 does not have it.
    let first = step(&mut world.mempool, MempoolInput::Submit { origin: Origin::Peer(peer(1)), txs: vec![tx("a")] });
    let again = step(&mut world.mempool, MempoolInput::Submit { origin: Origin::Peer(peer(2)), txs: vec![tx("a")] });
    assert_eq!(again, []);
    world.answer(&first);
    assert_eq!(texts(&world.tell(TxGossipInput::Changed)), [offer(3, &["a"])]);
    assert_eq!(world.mempool.senders(&tx("a").hash()), [peer(1), peer(2)]);
}

#[test]
fn batches_grow_while_the_connection_is_busy() {
    let mut world = World::new();
    world.join(1);
    let first = world.client(&["a"]);
    assert_eq!(texts(&first), [offer(1, &["a"])]);
    assert_eq!(texts(&world.client(&["b"])), [offer(1, &["b"])]);
    assert_eq!(world.client(&["c", "d"]), [], "{BATCHES_IN_FLIGHT} messages wait to be written");
    assert_eq!(world.client(&["e"]), []);
    let written = wire_len(&first[0]);
    assert_eq!(world.tell(TxGossipInput::Written(peer(1), written - 1)), [], "not completely");
    assert_eq!(texts(&world.tell(TxGossipInput::Written(peer(1), 1))), [offer(1, &["c", "d", "e"])]);
}

#[test]
fn a_message_is_never_larger_than_what_a_peer_takes() {
    let mut world = World::new();
    let long = "x".repeat(40);
    world.client(&[&long, "a", "b"]);
    assert_eq!(texts(&world.join(1)), [offer(1, &[&long]), offer(1, &["a", "b"])]);
    // The bound is the size of a message with one transaction of max_tx_bytes, whatever that is.
    for max in [1, 40, 127, 128, 16_383, 16_384, 1 << 20] {
        let one = PeerMessage::Txs(vec![Bytes::from(vec![1; max])]).encode();
        assert_eq!(message_bytes_max(max as u64), one.len() as u64, "max_tx_bytes {max}");
    }
}

#[test]
fn a_peer_more_than_one_block_behind_waits() {
    let mut world = World::new();
    world.commit(7, &[]);
    world.client(&["a"]);
    world.tell(TxGossipInput::PeerUp(peer(1)));
    assert_eq!(world.tell(TxGossipInput::PeerAt(peer(1), Height::new(5))), []);
    assert_eq!(texts(&world.tell(TxGossipInput::PeerAt(peer(1), Height::new(6)))), [offer(1, &["a"])]);
}

#[test]
fn a_peer_that_says_it_is_at_the_last_height_there_is_gets_what_waits() {
    let mut world = World::new();
    world.client(&["a"]);
    assert_eq!(world.tell(TxGossipInput::PeerUp(peer(1))), []);
    assert_eq!(texts(&world.tell(TxGossipInput::PeerAt(peer(1), Height::MAX))), [offer(1, &["a"])]);
    assert_eq!(texts(&world.client(&["b"])), [offer(1, &["b"])]);
}

#[test]
fn what_a_block_took_is_not_offered_any_more() {
    let mut world = World::new();
    world.client(&["a", "b", "c"]);
    world.commit(1, &["a", "c"]);
    assert_eq!(texts(&world.join(1)), [offer(1, &["b"])]);
}

#[test]
fn a_new_connection_begins_anew_and_a_lost_one_is_forgotten() {
    let mut world = World::new();
    world.client(&["a"]);
    world.join(1);
    world.tell(TxGossipInput::PeerDown(peer(1)));
    assert_eq!(world.client(&["b"]), []);
    assert_eq!(world.tell(TxGossipInput::PeerAt(peer(1), Height::new(1))), [], "it is not there");
    assert_eq!(texts(&world.join(1)), [offer(1, &["a", "b"])]);
}

#[test]
fn without_broadcast_nothing_is_offered() {
    let mut world = World::with(MempoolConfig { broadcast: Broadcast::Off, ..config() });
    world.join(1);
    assert_eq!(world.client(&["a"]), []);
}

#[test]
fn transactions_that_starve_are_offered_once_more_to_everybody_even_to_those_who_sent_them() {
    for broadcast in [Broadcast::On, Broadcast::Off] {
        let mut world = World::with(MempoolConfig { broadcast, ..*World::new().mempool.config() });
        world.join(1);
        world.join(2);
        world.put(Origin::Peer(peer(2)), &[tx("a")]);
        let offers = world.client(&["b"]);
        for Offer { peer, .. } in &offers {
            world.tell(TxGossipInput::Written(*peer, u64::MAX));
        }
        let again = world.tell(TxGossipInput::Starving);
        assert_eq!(texts(&again), [offer(1, &["a", "b"]), offer(2, &["a", "b"])], "{broadcast:?}");
        for number in [1, 2] {
            assert_eq!(world.tell(TxGossipInput::Written(peer(number), u64::MAX)), [], "once");
        }
        let later = world.client(&["c"]);
        assert_eq!(later.is_empty(), broadcast == Broadcast::Off, "what came later does not starve");
    }
}

/// A primary that restarts has lost its mempool: without this it would never be offered what it sent before (bug class 149).
#[test]
fn a_peer_that_comes_back_is_offered_what_it_sent_before_it_went() {
    let mut world = World::new();
    world.join(1);
    world.put(Origin::Peer(peer(1)), &[tx("a")]);
    // One the application still looks at.
    let asked = step(&mut world.mempool, MempoolInput::Submit { origin: Origin::Peer(peer(1)), txs: vec![tx("b")] });
    world.mempool.forget_sender(peer(1));
    world.tell(TxGossipInput::PeerDown(peer(1)));
    world.answer(&asked);
    assert_eq!(texts(&world.join(1)), [offer(1, &["a", "b"])]);
}

#[test]
fn an_empty_transaction_stays_here_because_peers_drop_who_sends_one() {
    let mut world = World::new();
    world.client(&["", "a"]);
    assert_eq!(world.mempool.count(), 2);
    assert_eq!(texts(&world.join(1)), [offer(1, &["a"])]);
}

#[test]
fn a_batch_no_correct_node_sends_is_told_apart() {
    let txs = |lens: &[usize]| lens.iter().map(|len| Bytes::from(vec![1; *len])).collect::<Vec<_>>();
    assert_eq!(check_batch(&txs(&[40]), MAX_TX), Ok(()));
    assert_eq!(check_batch(&txs(&[20, 20]), MAX_TX), Ok(()));
    assert_eq!(check_batch(&txs(&[20, 21]), MAX_TX), Err(BadBatch::TooLarge { max: 40 }));
    assert_eq!(check_batch(&txs(&[41]), MAX_TX), Err(BadBatch::TransactionTooLarge { got: 41, max: 40 }));
    assert_eq!(check_batch(&txs(&[1, 0]), MAX_TX), Err(BadBatch::EmptyTransaction));
    assert_eq!(check_batch(&[], MAX_TX), Err(BadBatch::NoTransactions));
}

// ------------------------------------------------------------------------------------------- in random histories

/// What can happen. Numbers below 4 name peers; transactions are named by number and are number % 41 bytes long.
#[derive(Debug, Clone)]
enum Act {
    Put { sender: Option<u8>, txs: Vec<u8> },
    Again { sender: u8, tx: u8 },
    Commit(Vec<u8>),
    Up(u8),
    Down(u8),
    At(u8, u8),
    Written(u8, u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let (who, number) = (0u8..4, 0u8..200);
    let act = prop_oneof![
        6 => (prop::option::of(who.clone()), prop::collection::vec(number.clone(), 1..8))
            .prop_map(|(sender, txs)| Act::Put { sender, txs }),
        2 => (who.clone(), number.clone()).prop_map(|(sender, tx)| Act::Again { sender, tx }),
        1 => prop::collection::vec(number, 0..6).prop_map(Act::Commit),
        2 => who.clone().prop_map(Act::Up),
        1 => who.clone().prop_map(Act::Down),
        3 => (who.clone(), 0u8..12).prop_map(|(who, height)| Act::At(who, height)),
        6 => (who, 1u8..100).prop_map(|(who, bytes)| Act::Written(who, bytes)),
    ];
    prop::collection::vec(act, 0..80)
}

fn named(number: u8) -> Tx {
    Tx::new(vec![number; usize::from(number % 41)])
}

/// What one connection got, and may get.
#[derive(Default)]
struct Connection {
    at: Option<u64>,
    got: Vec<Bytes>,
    unwritten: Vec<u64>,
}

/// The dumb side: all admissions in order with the height at which each happened, and who sent what.
#[derive(Default)]
struct Ledger {
    height: u64,
    admitted: Vec<(Bytes, u64)>,
    sent: BTreeMap<u8, BTreeSet<Bytes>>,
    connections: BTreeMap<u8, Connection>,
}

impl Ledger {
    fn note(&mut self, world: &World, offers: &[Offer]) {
        for tx in world.mempool.first(usize::MAX) {
            if !self.admitted.iter().any(|(bytes, _)| bytes == tx.bytes()) {
                self.admitted.push((tx.bytes().clone(), self.height));
            }
        }
        for offer in offers {
            let who = (0..4).find(|number| peer(*number) == offer.peer).expect("a peer of this test");
            let connection = self.connections.get_mut(&who).expect("it is connected");
            let at = connection.at.expect("it said its height");
            assert!(!offer.txs.is_empty() && check_batch(&offer.txs, MAX_TX) == Ok(()));
            assert!(wire_len(offer) <= message_bytes_max(MAX_TX));
            for tx in &offer.txs {
                assert!(world.mempool.contains(&Tx::new(tx.clone()).hash()), "it still waits");
                let sent = self.sent.get(&who).is_some_and(|sent| sent.contains(tx));
                assert!(!sent, "never back to its sender");
                assert!(!connection.got.contains(tx), "once a connection");
                let admitted = self.admitted.iter().find(|(bytes, _)| bytes == tx).expect("it was admitted");
                assert!(admitted.1 <= at + 1, "the peer is not far behind");
                connection.got.push(tx.clone());
            }
            connection.unwritten.push(wire_len(offer));
            assert!(connection.unwritten.len() <= BATCHES_IN_FLIGHT);
        }
    }

    /// Nobody waits for something it could have: whoever may be given a message now lacks nothing that is due.
    fn nothing_is_held_back(&self, world: &World) {
        for (who, connection) in &self.connections {
            let Some(at) = connection.at.filter(|_| connection.unwritten.len() < BATCHES_IN_FLIGHT) else { continue };
            for tx in world.mempool.first(usize::MAX) {
                let (bytes, admitted) = self.admitted.iter().find(|(bytes, _)| bytes == tx.bytes()).expect("noted");
                let has = connection.got.contains(bytes) || self.sent.get(who).is_some_and(|sent| sent.contains(bytes));
                assert!(has || bytes.is_empty() || *admitted > at + 1, "{who} lacks {bytes:?}");
            }
        }
    }

    fn everything_came_in_order(&self) {
        for connection in self.connections.values() {
            let place = |tx: &Bytes| self.admitted.iter().position(|(bytes, _)| bytes == tx);
            assert!(connection.got.is_sorted_by_key(place));
        }
    }

    fn written(&mut self, who: u8, mut bytes: u64) {
        let Some(connection) = self.connections.get_mut(&who) else { return };
        while let Some(first) = connection.unwritten.first_mut() {
            let less = bytes.min(*first);
            *first -= less;
            bytes -= less;
            if *first > 0 {
                break;
            }
            connection.unwritten.remove(0);
        }
    }
}

fn act(world: &mut World, ledger: &mut Ledger, act: Act) -> Vec<Offer> {
    match act {
        Act::Put { sender, txs } => {
            let txs: Vec<Tx> = txs.into_iter().map(named).collect();
            if let Some(sender) = sender {
                ledger.sent.entry(sender).or_default().extend(txs.iter().map(|tx| tx.bytes().clone()));
            }
            world.put(sender.map_or(Origin::Check(RequestId(1)), |sender| Origin::Peer(peer(sender))), &txs)
        }
        Act::Again { sender, tx } => {
            ledger.sent.entry(sender).or_default().insert(named(tx).bytes().clone());
            world.put(Origin::Peer(peer(sender)), &[named(tx)])
        }
        Act::Commit(txs) => {
            ledger.height += 1;
            let txs = txs.into_iter().map(|number| (named(number), 0)).collect();
            let height = Height::new(ledger.height);
            step(&mut world.mempool, MempoolInput::Committed { height, txs, limits: LIMITS });
            vec![]
        }
        Act::Up(who) => {
            ledger.connections.insert(who, Connection::default());
            world.tell(TxGossipInput::PeerUp(peer(who)))
        }
        Act::Down(who) => {
            ledger.connections.remove(&who);
            world.tell(TxGossipInput::PeerDown(peer(who)))
        }
        Act::At(who, height) => {
            if let Some(connection) = ledger.connections.get_mut(&who) {
                connection.at = Some(u64::from(height));
            }
            world.tell(TxGossipInput::PeerAt(peer(who), Height::new(u64::from(height))))
        }
        Act::Written(who, bytes) => {
            ledger.written(who, u64::from(bytes));
            world.tell(TxGossipInput::Written(peer(who), u64::from(bytes)))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_peer_gets_everything_it_did_not_send_once_and_in_order_in_200_histories(acts in acts()) {
        let (mut world, mut ledger) = (World::new(), Ledger::default());
        let end = (0..4).map(|who| Act::At(who, 200)).chain((0..240).map(|i| Act::Written(i as u8 % 4, 100)));
        for next in acts.into_iter().chain(end) {
            let offers = act(&mut world, &mut ledger, next);
            ledger.note(&world, &offers);
            ledger.nothing_is_held_back(&world);
        }
        ledger.everything_came_in_order();
    }
}
