//! What becomes of a peer's message before the replica hears of it.

use super::*;
use crate::gossip::{Heard, Signers};
use crate::metrics::Metrics;
use crate::storage::{Backend, Indexing, open};
use crate::types::tests::{Signers as Keys, block_id, chain_id, time};
use crate::types::{ConsensusMessage, DuplicateVoteEvidence, Height, Round, Vote, VoteKind};
use std::path::Path;

/// A protobuf field nobody reads: number 15, a number.
const UNREAD: [u8; 2] = [0x78, 1];

struct World {
    keys: Keys,
    inbox: Inbox,
    facts: mpsc::Receiver<Input>,
    signers: watch::Sender<Option<Whose>>,
}

impl World {
    /// A node at height 8, round 1, whose replica takes so many facts before it is busy.
    fn new(room: usize) -> World {
        let (facts, taken) = mpsc::channel(room);
        let keys = Keys::new(1, &[10, 10, 10, 10]);
        let (signers, now) = watch::channel(Some(signers(&keys)));
        let owed = Arc::new(Owed::default());
        let inbox = Inbox {
            facts,
            store: open(Backend::Memory, Path::new(""), Indexing::Off).expect("memory is there"),
            reception: Reception::new(Arc::clone(&owed), 1 << 20),
            verifier: Verifier::default(),
            signers: now,
            network: SetOnce::new(),
            heard: Arc::default(),
            traffic: Arc::new(Traffic::new(Metrics::new("quorate", &chain_id()).expect("good names"))),
            owed,
            reader: BlockReader::new(),
        };
        World { keys, inbox, facts: taken, signers }
    }

    fn vote(&self, kind: VoteKind, height: u64) -> Vote {
        self.keys.vote(0, kind, height, 0, Some(block_id("b")))
    }

    async fn message(&self, peer: u8, channel: Channel, message: Bytes) -> Result<(), Fault> {
        self.inbox.message(id(peer), channel, message).await
    }

    /// Whether the replica was told the message as news, signatures checked.
    fn heard_news(&mut self) -> bool {
        let Ok(Input::Peer(_, PeerInput::Heard(heard))) = self.facts.try_recv() else { panic!("nothing was heard") };
        matches!(*heard, Heard::Said(..))
    }
}

fn signers(keys: &Keys) -> Whose {
    Whose::Gossiped(Arc::new(Signers {
        chain_id: chain_id(),
        height: Height::new(8),
        round: Round::new(1),
        validators: Arc::new(keys.set.clone()),
        last_validators: Some(Arc::new(keys.set.clone())),
        proposers: Vec::new(),
    }))
}

fn id(number: u8) -> NodeId {
    format!("{number:040x}").parse().expect("40 digits")
}

fn encode(vote: Vote) -> Bytes {
    PeerMessage::Consensus(ConsensusMessage::Vote(vote)).encode()
}

#[tokio::test]
async fn a_vote_is_news_once_whoever_brings_it_and_however_it_is_wrapped() {
    for (kind, height) in [(VoteKind::Prevote, 8), (VoteKind::Precommit, 8), (VoteKind::Precommit, 7)] {
        let mut world = World::new(10);
        let vote = encode(world.vote(kind, height));
        let padded = Bytes::from([&vote[..], &UNREAD].concat());
        for (message, is_news) in [(&vote, true), (&vote, false), (&padded, false)] {
            world.message(1, Channel::Vote, message.clone()).await.expect("it is well signed");
            assert_eq!(world.heard_news(), is_news, "{kind:?} of height {height}");
        }
    }
}

#[tokio::test]
async fn a_vote_whose_peer_went_away_while_the_replica_was_busy_is_news_from_the_next_peer() {
    let mut world = World::new(1);
    let vote = encode(world.vote(VoteKind::Prevote, 8));
    world.inbox.tell(id(3), PeerInput::Up).await;
    {
        let waits = std::pin::pin!(world.message(1, Channel::Vote, vote.clone()));
        assert!(futures_pending(waits), "the queue is full");
    }
    assert!(matches!(world.facts.try_recv(), Ok(Input::Peer(_, PeerInput::Up))));
    world.message(2, Channel::Vote, vote).await.expect("it is well signed");
    assert!(world.heard_news());
}

/// True when the future is not done at its first poll.
fn futures_pending(future: std::pin::Pin<&mut impl Future>) -> bool {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending()
}

#[tokio::test]
async fn consensus_that_begins_anew_at_the_same_height_hears_the_votes_anew() {
    let mut world = World::new(10);
    let vote = encode(world.vote(VoteKind::Prevote, 8));
    world.message(1, Channel::Vote, vote.clone()).await.expect("it is well signed");
    assert!(world.heard_news());
    world.signers.send_replace(None);
    world.signers.send_replace(Some(signers(&world.keys)));
    world.message(1, Channel::Vote, vote).await.expect("it is well signed");
    assert!(world.heard_news());
}

/// Consensus counts the first of them, and the other once others want the same: then it must hear it again.
#[tokio::test]
async fn each_vote_of_an_equivocator_is_news_again_and_again() {
    let mut world = World::new(10);
    let vote = |word, index| world.keys.vote(index, VoteKind::Precommit, 8, 0, Some(block_id(word)));
    let [one, other, honest] = [encode(vote("b", 0)), encode(vote("c", 0)), encode(vote("b", 1))];
    let told = [(&one, true), (&honest, true), (&other, true), (&other, true), (&one, true), (&honest, false)];
    for (place, (message, is_news)) in told.into_iter().enumerate() {
        world.message(1, Channel::Vote, message.clone()).await.expect("it is well signed");
        assert_eq!(world.heard_news(), is_news, "message {place}");
    }
}

/// Pieces of evidence in one message.
const PIECES: u64 = 5;

#[tokio::test]
async fn evidence_is_handed_on_piece_by_piece_up_to_the_first_that_is_wrong_in_itself() {
    let mut world = World::new(10);
    let piece = |height| {
        let vote = |word| world.keys.vote(0, VoteKind::Prevote, height, 0, Some(block_id(word)));
        DuplicateVoteEvidence::new(vote("x"), vote("y"), time(1), &world.keys.set).expect("two votes of one step")
    };
    let mut list: Vec<_> = (1..=PIECES).map(piece).collect();
    let wrong = &mut list[3];
    std::mem::swap(&mut wrong.vote_a, &mut wrong.vote_b);
    let list = list.into_iter().map(|piece| Evidence::DuplicateVote(Box::new(piece))).collect();
    let outcome = world.message(1, Channel::Evidence, PeerMessage::Evidence(list).encode()).await;
    assert!(outcome.is_err_and(|why| why.0.contains("invalid evidence")));
    let mut told = Vec::new();
    while let Ok(Input::Peer(_, PeerInput::Evidence(pieces))) = world.facts.try_recv() {
        told.push(pieces.iter().map(|(evidence, _)| evidence.height().get()).collect::<Vec<_>>());
    }
    assert_eq!(told, [[1], [2], [3]]);
}

#[tokio::test]
async fn a_small_piece_does_not_keep_a_large_message_in_memory() {
    let mut world = World::new(10);
    let part = ConsensusMessage::BlockPart {
        height: Height::new(8),
        round: Round::new(1),
        part: crate::types::PartSet::cut(&Bytes::from_static(b"block")).part(0).expect("one").clone(),
    };
    let messages = [
        (Channel::Mempool, PeerMessage::Txs(vec![Bytes::from_static(b"tx")])),
        (Channel::Data, PeerMessage::Consensus(part)),
        (Channel::Vote, PeerMessage::Consensus(ConsensusMessage::Vote(world.vote(VoteKind::Prevote, 8)))),
    ];
    for (channel, message) in messages {
        let padded = Bytes::from([&message.encode()[..], &UNREAD.repeat(10_000)].concat());
        world.message(1, channel, padded.clone()).await.expect("fields nobody reads are no fault");
        let _kept = world.facts.try_recv().expect("it is told");
        assert!(padded.is_unique(), "{channel:?}");
    }
    let whole = PeerMessage::Txs(vec![vec![7; 1000].into()]).encode();
    world.message(1, Channel::Mempool, whole.clone()).await.expect("a transaction");
    let _kept = world.facts.try_recv().expect("it is told");
    assert!(!whole.is_unique(), "what fills its message is not copied");
}

#[test]
fn a_large_block_is_expected_only_from_whom_it_was_asked_of() {
    let world = World::new(1);
    let expects = |channel| world.inbox.expects_large(id(1), channel);
    assert!(!expects(Channel::Blocksync) && expects(Channel::Mempool));
    world.inbox.owed.asked(id(1));
    assert!(expects(Channel::Blocksync));
    world.inbox.owed.answered(id(1));
    assert!(!expects(Channel::Blocksync));
}

#[tokio::test]
async fn a_block_nobody_asked_for_is_not_even_read() {
    let world = World::new(1);
    let unreadable = BlocksyncMessage::BlockResponse { block: Bytes::from_static(b"x"), extended_commit: None };
    let unreadable = PeerMessage::Blocksync(unreadable).encode();
    let send = || world.message(1, Channel::Blocksync, unreadable.clone());
    assert!(send().await.is_err_and(|why| why.0.contains("not asked")));
    world.inbox.owed.asked(id(1));
    assert!(send().await.is_err_and(|why| why.0.contains("cannot be read")), "now it is read");
    assert!(send().await.is_err_and(|why| why.0.contains("not asked")), "one was asked for");
}
