//! Two validators, of whom both are needed for every block, and a peer that breaks one rule after the other over a real
//! socket: it alone is dropped, for what it did, and blocks go on over the connection the two have had all along.

use super::*;
use crate::codec::wire::pex::{NetAddress, PexMessage};
use crate::crypto::Signature;
use crate::crypto::merkle::Proof;
use crate::p2p::tests::attacker::{Attacker, message, packet, unfinished};
use crate::p2p::{PeerAddress, bind};
use crate::types::{
    BitArray, BlocksyncMessage, Channel, ConsensusMessage, NewRoundStep, NodeInfo, Part, PeerMessage, Proposal,
    UnsignedProposal, VotesFor,
};
use std::net::SocketAddr;

/// Longer than anything here takes on a busy machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(60);
const CHAIN: &str = "node-test";
/// The channels of a validator, and how long a message may be (docs/LIMITS.md).
const CHANNELS: [(Channel, usize); 8] = [
    (Channel::Pex, 64_000),
    (Channel::State, 1 << 20),
    (Channel::Data, 1 << 20),
    (Channel::Vote, 1 << 20),
    (Channel::VoteSetBits, 1 << 20),
    (Channel::Mempool, (1 << 20) + 8),
    (Channel::Evidence, 1 << 20),
    (Channel::Blocksync, 104_857_605),
];

/// Two validators, connected.
struct Pair {
    victim: Running,
    honest: Running,
    at: SocketAddr,
    honest_id: NodeId,
    evidence: Evidence,
    stop: CancellationToken,
    commits: u32,
    attackers: u32,
    connected_for: Duration,
    _dirs: [tempfile::TempDir; 2],
}

fn node_key(number: u8) -> PrivateKey {
    PrivateKey::from_seed(&[number; 32])
}

pub(super) fn node_id(number: u8) -> NodeId {
    NodeId::new(Address::from(&node_key(number).public_key()))
}

pub(super) async fn network(
    number: u8,
    dir: &Path,
    persistent_peers: Vec<PeerAddress>,
) -> (NetworkOptions, SocketAddr) {
    let listener = bind(&["127.0.0.1:0".to_owned()]).await.expect("a free port").remove(0);
    let at = listener.local_addr().expect("bound");
    let channels = CHANNELS.iter().map(|(channel, _)| channel.id()).collect();
    let info = NodeInfo {
        p2p_version: 8,
        block_version: 11,
        app_version: 0,
        node_id: node_id(number),
        listen_addr: at.to_string(),
        network: ChainId::try_from(CHAIN).expect("short"),
        version: "0.38.25".to_owned(),
        channels,
        moniker: format!("node {number}"),
        tx_index: "on".to_owned(),
        rpc_address: String::new(),
    };
    let settings = p2p::Settings { persistent_peers, ..p2p::tests::settings() };
    let options = NetworkOptions {
        node_key: node_key(number),
        info,
        algorithm: crate::types::Algorithm::Tendermint,
        listeners: vec![listener],
        settings,
        address_book: dir.join("addrbook.json"),
    };
    (options, at)
}

/// Two validators that need each other, the first with this store; the second calls the first at the address.
pub(super) async fn two_validators(
    dirs: &[tempfile::TempDir; 2],
    store: Arc<dyn Store>,
) -> (NodeOptions, NodeOptions, SocketAddr) {
    let mut first = options(dirs[0].path(), store, LocalApp::new(KvStore::default()));
    let mut second = options(dirs[1].path(), memory_store(), LocalApp::new(KvStore::default()));
    first.genesis.validators.extend(second.genesis.validators.clone());
    second.genesis = first.genesis.clone();
    let (network_of_first, at) = network(1, dirs[0].path(), Vec::new()).await;
    first.network = Some(network_of_first);
    let address = PeerAddress { id: node_id(1), address: at.to_string() };
    second.network = Some(network(2, dirs[1].path(), vec![address]).await.0);
    (first, second, at)
}

impl Pair {
    async fn start() -> Pair {
        let dirs = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory")];
        let (store, stop) = (memory_store(), CancellationToken::new());
        let (first, second, at) = two_validators(&dirs, Arc::clone(&store)).await;
        let victim = start(first, stop.clone()).expect("starts");
        let honest = start(second, stop.clone()).expect("starts");
        commit(victim.handle(), ["first=1".to_owned()]).await;
        let evidence = evidence(dirs[0].path(), &*store, Height::FIRST);
        let (honest_id, connected_for) = (node_id(2), Duration::ZERO);
        let (commits, attackers) = (0, 0);
        Pair { victim, honest, at, honest_id, evidence, stop, commits, attackers, connected_for, _dirs: dirs }
    }

    async fn attacker(&mut self) -> Attacker {
        self.attackers += 1;
        Attacker::join(self.attackers, self.at, CHAIN).await
    }

    /// A block is decided by both, and they have never lost each other.
    async fn goes_on(&mut self) {
        self.commits += 1;
        let tx = format!("after{}=1", self.commits);
        let committed = tokio::time::timeout(PATIENCE, commit(self.honest.handle(), [tx])).await;
        committed.expect("blocks go on");
        let peers = self.victim.handle().peers();
        let honest = peers.iter().find(|peer| peer.info.node_id == self.honest_id).expect("the honest peer stays");
        assert!(honest.connected_for > self.connected_for, "over one connection");
        self.connected_for = honest.connected_for;
    }

    /// Waits until the victim says why this peer is gone.
    async fn blames(&self, id: NodeId, sentence: &str, deed: &str) {
        let look = async {
            loop {
                let view = self.victim.handle().known_addresses().into_iter().find(|view| view.id == id);
                match view.and_then(|view| view.last_error) {
                    Some(why) => return why,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        let why = tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("{deed}: nobody is blamed"));
        assert!(
            sentence.split('|').any(|sentence| why.contains(sentence)),
            "{deed}: it says {why:?} instead of {sentence:?}"
        );
    }

    /// The height being decided, and some after it: the table goes on while blocks are decided.
    fn heights(&self) -> impl Iterator<Item = Height> + use<> {
        let tip = self.victim.handle().store().tip().get();
        (tip + 1..tip + 200).map(Height::new)
    }

    async fn end(self) {
        self.stop.cancel();
        self.victim.ended().await.expect("a clean end");
        self.honest.ended().await.expect("a clean end");
    }
}

/// Something only a faulty peer says, and what it is blamed for: one of these sentences.
struct Deed {
    what: String,
    /// Said in sealed frames.
    plain: Vec<u8>,
    sentence: &'static str,
}

fn deed(what: impl Into<String>, plain: Vec<u8>, sentence: &'static str) -> Deed {
    Deed { what: what.into(), plain, sentence }
}

fn said(sample: &PeerMessage) -> Vec<u8> {
    message(sample.channel().id(), &sample.encode())
}

fn consensus(sample: ConsensusMessage) -> Vec<u8> {
    said(&PeerMessage::Consensus(sample))
}

fn step(height: u64, step: u32, last_commit_round: Option<Round>) -> ConsensusMessage {
    let height = Height::new(height);
    ConsensusMessage::NewRoundStep(NewRoundStep {
        height,
        round: Round::ZERO,
        step,
        seconds_since_start_time: 0,
        last_commit_round,
    })
}

fn block_id() -> BlockId {
    BlockId { hash: sha256(b"block"), parts: PartSetHeader { total: 1, hash: sha256(b"parts") } }
}

fn forged_signature() -> Signature {
    Signature::new([9; Signature::LEN])
}

fn proposal(height: Height) -> Proposal {
    let timestamp = Time::new(1_700_000_001, 0).expect("in range");
    let unsigned = UnsignedProposal { height, round: Round::ZERO, pol_round: None, block_id: block_id(), timestamp };
    unsigned.signed(timestamp, forged_signature())
}

fn precommit(height: Height, validator_index: u32, validator_address: Address) -> Vote {
    let timestamp = Time::new(1_700_000_001, 0).expect("in range");
    let unsigned = UnsignedVote {
        kind: VoteKind::Precommit,
        height,
        round: Round::ZERO,
        block_id: Some(block_id()),
        timestamp,
        validator_address,
        validator_index,
        extension: None,
    };
    unsigned.signed(timestamp, forged_signature(), None)
}

/// A well-formed message of each channel but 0x00.
fn samples(pair: &Pair) -> Vec<PeerMessage> {
    let votes = VotesFor { height: Height::FIRST, round: Round::ZERO, kind: VoteKind::Prevote, block_id: None };
    vec![
        PeerMessage::Consensus(step(2, 1, Some(Round::ZERO))),
        PeerMessage::Consensus(ConsensusMessage::Proposal(proposal(Height::FIRST))),
        PeerMessage::Consensus(ConsensusMessage::Vote(precommit(Height::FIRST, 0, Address::new([1; 20])))),
        PeerMessage::Consensus(ConsensusMessage::VoteSetBits { votes, have: BitArray::new(2) }),
        PeerMessage::Txs(vec![Bytes::from_static(b"name=value")]),
        PeerMessage::Evidence(vec![pair.evidence.clone()]),
        PeerMessage::Blocksync(BlocksyncMessage::StatusResponse { height: Height::new(300), base: Height::new(1) }),
    ]
}

/// Bytes that are no message, a message cut short, and one that is too long, on every channel.
fn unreadable(pair: &Pair) -> Vec<Deed> {
    let mut deeds = Vec::new();
    for (channel, max) in CHANNELS {
        let (number, malformed) = match channel {
            Channel::Pex => (channel.id(), "its message on channel 0x00 is malformed"),
            _ => (channel.id(), "that cannot be read"),
        };
        deeds.push(deed(format!("noise on {channel:?}"), message(number, &[0xff; 20]), malformed));
        let endless = unfinished(number, &vec![0; max + 1]);
        deeds.push(deed(format!("{} bytes on {channel:?}", max + 1), endless, "are taken|nobody asked it for"));
    }
    for sample in samples(pair) {
        let encoded = sample.encode();
        let (short, channel) = (&encoded[..encoded.len() - 1], sample.channel());
        deeds.push(deed(format!("a truncated {sample:?}"), message(channel.id(), short), "that cannot be read"));
    }
    let pex = PexMessage::Addrs(vec![NetAddress { id: "ab".repeat(20), ip: "1.2.3.4".to_owned(), port: 1 }]).encode();
    deeds.push(deed(
        "truncated addresses",
        message(0, &pex[..pex.len() - 1]),
        "its message on channel 0x00 is malformed",
    ));
    deeds
}

/// Messages where they do not belong, and packets of no channel.
fn misplaced(pair: &Pair) -> Vec<Deed> {
    let mut deeds = Vec::new();
    let of_consensus = [Channel::State, Channel::Data, Channel::Vote, Channel::VoteSetBits];
    for sample in samples(pair).iter().filter(|sample| matches!(sample, PeerMessage::Consensus(_))) {
        for channel in of_consensus.into_iter().filter(|channel| *channel != sample.channel()) {
            let what = format!("{:?} on {channel:?}", sample.channel());
            deeds.push(deed(what, message(channel.id(), &sample.encode()), "on a channel where it does not belong"));
        }
    }
    for number in [0x01, 0x24, 0x60, 0x61, 0x70, 0x7f, 0x80, 0xff] {
        deeds.push(deed(format!("channel {number:#x}"), message(number, b"x"), "which this node does not list"));
    }
    let packets: [(&str, &[u8], &str); 5] = [
        ("an empty packet", &[], "sent a packet that cannot be read"),
        ("a packet of no kind", &[0x22, 0x00], "sent a packet that cannot be read"),
        ("channel 300", &[0x1a, 0x03, 0x08, 0xac, 0x02], "sent a packet that cannot be read"),
        ("a packet cut short", &[0x1a, 0x20, 0x08], "sent a packet that cannot be read"),
        ("a packet that is too large", &[0x1a; 3000], "sent a packet that is too large"),
    ];
    deeds.extend(packets.map(|(what, bytes, sentence)| deed(what, packet(bytes), sentence)));
    deeds.push(deed("a length that never ends", vec![0xff; 12], "sent a packet that is too large"));
    deeds
}

/// What can be read about consensus and cannot be true.
fn untrue_of_consensus(pair: &Pair) -> Vec<Deed> {
    let part = |index, total, bytes: &'static [u8]| {
        let proof = Proof { total, index: 0, leaf_hash: sha256(bytes), aunts: Vec::new() };
        let part = Part { index, bytes: Bytes::from_static(bytes), proof };
        consensus(ConsensusMessage::BlockPart { height: Height::FIRST, round: Round::ZERO, part })
    };
    let valid_block = |bits| ConsensusMessage::NewValidBlock {
        height: Height::FIRST,
        round: Round::ZERO,
        parts: block_id().parts,
        have: BitArray::new(bits),
        is_commit: false,
    };
    let pol = ConsensusMessage::ProposalPol { height: Height::FIRST, pol_round: Round::ZERO, have: BitArray::new(0) };
    let later_pol = Proposal { pol_round: Some(Round::new(3)), ..proposal(Height::FIRST) };
    let set = pair.victim.handle().store().validators(Height::FIRST).expect("readable").expect("stored");
    let (first, second) = (set.members()[0].address, set.members()[1].address);
    let votes = |index, address| {
        let votes = pair.heights().map(|height| consensus(ConsensusMessage::Vote(precommit(height, index, address))));
        votes.collect::<Vec<_>>().concat()
    };
    let proposals = pair.heights().map(|height| consensus(ConsensusMessage::Proposal(proposal(height))));
    vec![
        deed("a step of height 0", consensus(step(0, 1, None)), "NewRoundStep of height 0"),
        deed("a step 99", consensus(step(2, 99, Some(Round::ZERO))), "with a step that does not exist"),
        deed("a last commit too early", consensus(step(1, 1, Some(Round::ZERO))), "a last commit at the first height"),
        deed("no last commit", consensus(step(5, 1, None)), "without a last commit after the first height"),
        deed("no bits of a block", consensus(valid_block(0)), "NewValidBlock without any bits"),
        deed("too many bits of a block", consensus(valid_block(7)), "not as many as the block has parts"),
        deed("no bits of prevotes", consensus(pol), "ProposalPOL without any bits"),
        deed(
            "a proposal of the future",
            consensus(ConsensusMessage::Proposal(later_pol)),
            "a round that is not earlier",
        ),
        deed("a part of another place", part(3, 5, b"bytes"), "short and not the last one"),
        deed("a proof of another part", part(1, 2, b"bytes"), "with the proof of another part"),
        deed("forged proposals", proposals.collect::<Vec<_>>().concat(), "that the proposer of its round did not sign"),
        deed("forged votes", votes(0, first), "that its validator did not sign"),
        deed("votes of nobody", votes(9, first), "vote of a validator that is not in the set"),
        deed("votes of two", votes(0, second), "whose index and address name different validators"),
    ]
}

/// What can be read on the other channels and cannot be true, or that nobody asked for.
fn untrue_of_others(pair: &Pair) -> Vec<Deed> {
    let blocksync = |sample| said(&PeerMessage::Blocksync(sample));
    let block = pair.victim.handle().store().block(Height::FIRST).expect("readable").expect("stored");
    let txs = |txs: &[&[u8]]| said(&PeerMessage::Txs(txs.iter().map(|tx| Bytes::copy_from_slice(tx)).collect()));
    let pex = |sample: PexMessage| message(Channel::Pex.id(), &sample.encode());
    let address = |ip: &str| NetAddress { id: "ab".repeat(20), ip: ip.to_owned(), port: 26656 };
    let Evidence::DuplicateVote(mut forged) = pair.evidence.clone() else { panic!("a double vote") };
    forged.vote_a.signature = forged_signature();
    vec![
        deed(
            "no transactions",
            message(Channel::Mempool.id(), &[0x0a, 0x00]),
            "mempool message contains no transactions",
        ),
        deed("an empty transaction", txs(&[b"a=1", b""]), "mempool batch contains an empty transaction"),
        deed(
            "forged evidence",
            said(&PeerMessage::Evidence(vec![Evidence::DuplicateVote(forged)])),
            "sent invalid evidence: verifying VoteA: invalid signature",
        ),
        deed(
            "a block unasked",
            blocksync(BlocksyncMessage::BlockResponse { block: block.encode(), extended_commit: None }),
            "was not asked for one",
        ),
        deed(
            "blocks from their end",
            blocksync(BlocksyncMessage::StatusResponse { height: Height::new(1), base: Height::new(5) }),
            "it says its blocks begin at 5 and end at 1",
        ),
        // The first may be asked for: a node asks some peer from time to time.
        deed(
            "addresses unasked",
            [pex(PexMessage::Addrs(Vec::new())), pex(PexMessage::Addrs(vec![address("1.2.3.4")]))].concat(),
            "tells addresses although nobody asked",
        ),
        deed("three questions", pex(PexMessage::Request).repeat(3), "asks for addresses more often than every 10s"),
        deed(
            "ten thousand questions",
            pex(PexMessage::Request).repeat(10_000),
            "floods channel 0x00|asks for addresses",
        ),
    ]
}

/// Runs through a table; all deeds leave the two validators alone.
async fn all_are_blamed(pair: &mut Pair, deeds: Vec<Deed>) {
    for Deed { what, plain, sentence } in deeds {
        let mut attacker = pair.attacker().await;
        attacker.say(&plain).await;
        attacker.hung_up().await;
        pair.blames(attacker.id, sentence, &what).await;
        pair.goes_on().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_messages_on_every_channel_cost_only_their_sender_its_connection() {
    let mut pair = Pair::start().await;
    let deeds = unreadable(&pair);
    assert_eq!(deeds.len(), 24, "noise, too much and too little on each of 8 channels");
    all_are_blamed(&mut pair, deeds).await;
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_packets_of_a_wrong_channel_cost_only_their_sender_its_connection() {
    let mut pair = Pair::start().await;
    let deeds = misplaced(&pair);
    assert_eq!(deeds.len(), 26);
    all_are_blamed(&mut pair, deeds).await;
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_cannot_be_true_cost_only_their_sender_its_connection() {
    let mut pair = Pair::start().await;
    let deeds = [untrue_of_consensus(&pair), untrue_of_others(&pair)].into_iter().flatten().collect::<Vec<_>>();
    assert_eq!(deeds.len(), 22);
    all_are_blamed(&mut pair, deeds).await;
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_not_the_next_ones_of_their_sender_cost_only_it_its_connection() {
    let mut pair = Pair::start().await;
    let ping = packet(&[0x0a, 0x00]);
    /// What goes onto the socket instead of a sealed packet.
    type Forge = fn(&mut Attacker, &[u8]) -> Vec<u8>;
    let deeds: [(&str, Forge, &str); 5] = [
        (
            "a frame changed on the way",
            |attacker, ping| {
                let mut frame = attacker.sealed(ping);
                frame[100] ^= 1;
                frame
            },
            "a frame whose tag is wrong",
        ),
        ("a frame sent twice", |attacker, ping| attacker.sealed(ping).repeat(2), "a frame whose tag is wrong"),
        (
            "a frame left out",
            |attacker, ping| {
                attacker.sealed(ping);
                attacker.sealed(ping)
            },
            "a frame whose tag is wrong",
        ),
        (
            "two frames in the wrong order",
            |attacker, ping| {
                let first = attacker.sealed(ping);
                [attacker.sealed(ping), first].concat()
            },
            "a frame whose tag is wrong",
        ),
        ("bytes that are not sealed", |_, ping| ping.repeat(1000), "a frame whose tag is wrong"),
    ];
    for (what, frames, sentence) in deeds {
        let mut attacker = pair.attacker().await;
        let frames = frames(&mut attacker, &ping);
        attacker.write(&frames).await;
        attacker.hung_up().await;
        pair.blames(attacker.id, sentence, what).await;
        pair.goes_on().await;
    }
    let mut attacker = pair.attacker().await;
    let half = attacker.sealed(&ping).split_off(500);
    attacker.write(&half).await;
    attacker.says_no_more().await;
    attacker.hung_up().await;
    pair.blames(attacker.id, "the connection ended in the middle of a frame", "half a frame").await;
    pair.goes_on().await;
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unfinished_messages_on_all_channels_hold_up_nobody_and_one_byte_too_many_ends_them() {
    let mut pair = Pair::start().await;
    let mut attacker = pair.attacker().await;
    for (channel, max) in CHANNELS.into_iter().filter(|(channel, _)| *channel != Channel::Blocksync) {
        assert!(attacker.say(&unfinished(channel.id(), &vec![0; max])).await, "{channel:?} takes {max} bytes");
        pair.goes_on().await;
    }
    attacker.say(&unfinished(Channel::Vote.id(), b"!")).await;
    attacker.hung_up().await;
    pair.blames(attacker.id, "at most 1048576 are taken", "one byte too many").await;
    pair.goes_on().await;
    pair.end().await;
}

/// Messages each of which an honest peer may send.
fn floods(pair: &Pair) -> Vec<(&'static str, Vec<u8>)> {
    let far = |vote: u32| precommit(Height::new(1_000_000), vote, Address::new([1; 20]));
    let boast = BlocksyncMessage::StatusResponse { height: Height::new(1_000_000), base: Height::FIRST };
    let at_heights = |make: &dyn Fn(Height) -> ConsensusMessage| {
        pair.heights().map(|height| consensus(make(height))).collect::<Vec<_>>().concat()
    };
    let (round, kind) = (Round::ZERO, VoteKind::Prevote);
    let votes = |height| VotesFor { height, round, kind, block_id: Some(block_id()) };
    vec![
        (
            "votes of far heights",
            (0..64).map(|at| consensus(ConsensusMessage::Vote(far(at)))).collect::<Vec<_>>().concat(),
        ),
        (
            "what it has",
            consensus(ConsensusMessage::HasVote {
                height: Height::new(1_000_000),
                round: Round::new(1_000),
                kind: VoteKind::Prevote,
                index: 9_999,
            }),
        ),
        ("where it stands", consensus(step(2, 1, Some(Round::ZERO)))),
        ("which blocks are there?", said(&PeerMessage::Blocksync(BlocksyncMessage::StatusRequest))),
        ("give me block 1", said(&PeerMessage::Blocksync(BlocksyncMessage::BlockRequest(Height::FIRST)))),
        ("give me block 999", said(&PeerMessage::Blocksync(BlocksyncMessage::BlockRequest(Height::new(999))))),
        ("one transaction", said(&PeerMessage::Txs(vec![Bytes::from_static(b"flood=1")]))),
        (
            "blocks nobody has",
            [consensus(step(1_000_000, 1, Some(Round::ZERO))), said(&PeerMessage::Blocksync(boast))].concat(),
        ),
        ("majorities nobody saw", at_heights(&|height| ConsensusMessage::VoteSetMaj23(votes(height)))),
        (
            "votes nobody asked for",
            at_heights(&|height| ConsensusMessage::VoteSetBits { votes: votes(height), have: BitArray::new(2) }),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_messages_that_break_no_rule_fill_no_queue_and_stop_no_block() {
    let mut pair = Pair::start().await;
    let floods = floods(&pair);
    assert_eq!(floods.len(), 10);
    for (what, wave) in floods {
        let mut attacker = pair.attacker().await;
        let id = attacker.id;
        // It never reads what it is answered.
        let flood = tokio::spawn(async move { while attacker.say(&wave.repeat(100)).await {} });
        for _ in 0..2 {
            pair.goes_on().await;
            let peers = pair.victim.handle().peers();
            let flooder = peers.iter().find(|peer| peer.info.node_id == id);
            let queues = flooder.into_iter().flat_map(|peer| &peer.channels);
            queues.for_each(|queue| assert!(queue.queued <= queue.capacity, "{what}: {queue:?}"));
        }
        assert!(!flood.is_finished(), "{what}: it breaks no rule");
        flood.abort();
        pair.blames(id, "", what).await;
        pair.goes_on().await;
    }
    pair.end().await;
}

/// Peers that come and go at once.
const VISITS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_come_and_go_at_once_leave_nothing_behind() {
    let mut pair = Pair::start().await;
    let mut last = None;
    for _ in 0..VISITS {
        last = Some(pair.attacker().await.id);
    }
    pair.blames(last.expect("some came"), "", "the last visit").await;
    pair.goes_on().await;
    let left = async {
        while pair.victim.handle().peers().len() > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, left).await.expect("only the honest peer stays");
    pair.end().await;
}
