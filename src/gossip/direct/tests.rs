//! Every kind of direct message, good and bent: what is not signed as it must be never reaches a machine as if it were.

use super::*;
use crate::crypto::PrivateKey;
use crate::types::tests::{Signers as Keys, block_id, chain_id, time};
use crate::types::{
    BlockId, CommitSig, Election, ExtendedCommitSig, LogPosition, Part, PartSet, PbftStatement, PreparedCertificate,
    RaftStatement, Round, UnsignedStatement, VoteKind,
};
use bytes::Bytes;

mod nested;

/// The height being decided.
const OURS: u64 = 8;

/// A chain whose validators change by one from height to height.
struct World {
    signers: DirectSigners,
    /// One for all that is heard: what is bent must not be believed because something like it was.
    known: KnownSignatures,
    last: Keys,
    now: Keys,
    next: Keys,
}

fn key(number: u8) -> PrivateKey {
    PrivateKey::from_seed(&[number; 32])
}

fn address(number: u8) -> Address {
    Address::from(&key(number).public_key())
}

/// Five validators, the first of them `first`. All sign at our height and are told apart by their numbers.
fn five(first: u8) -> Keys {
    Keys::of((first..first + 5).map(|number| (key(number), 10)).collect())
}

impl World {
    fn new(algorithm: Algorithm) -> World {
        let (last, now, next) = (five(1), five(2), five(3));
        let signers = DirectSigners {
            chain_id: chain_id(),
            algorithm,
            height: Height::new(OURS),
            validators: Arc::new(now.set.clone()),
            last_validators: Some(Arc::new(last.set.clone())),
            next_validators: Arc::new(next.set.clone()),
            abci: AbciParams { vote_extensions_enable_height: None },
        };
        World { signers, known: KnownSignatures::default(), last, now, next }
    }

    fn keys(&self, height: u64) -> &Keys {
        match height {
            7 => &self.last,
            8 => &self.now,
            9 => &self.next,
            other => panic!("nobody knows the validators of height {other}"),
        }
    }

    fn hear(&self, message: &DirectMessage) -> Result<HeardDirect, &'static str> {
        hear_direct(Some(&self.signers), &self.known, message.clone())
    }

    fn vote(&self, kind: VoteKind, height: u64, round: u32) -> Vote {
        self.keys(height).vote(0, kind, height, round, Some(block_id("b")))
    }

    /// A commit of the first `count` validators.
    fn commit(&self, height: u64, count: usize) -> ExtendedCommit {
        let mut commit = ExtendedCommit::from(self.keys(height).commit(Height::new(height), block_id("b"), 100));
        commit.signatures.iter_mut().skip(count).for_each(|entry| entry.sig = CommitSig::Absent);
        commit
    }

    fn proposal(&self, by: u8, height: u64, round: u32) -> Proposal {
        let mut proposal = Proposal {
            height: Height::new(height),
            round: Round::new(round),
            pol_round: None,
            block_id: block_id("b"),
            timestamp: time(5),
            signature: Signature::new([0; 64]),
        };
        proposal.signature = key(by).sign(&proposal.sign_bytes(&chain_id()));
        proposal
    }

    /// Everything replicas of this protocol say at our height and beside it, signed as it must be.
    fn samples(&self) -> Vec<DirectMessage> {
        let mut all: Vec<DirectMessage> = match self.signers.algorithm {
            Algorithm::Raft => raft_statements().into_iter().map(|body| raft(2, body)).collect(),
            _ => self.pbft_statements().into_iter().map(|body| pbft(2, body)).collect(),
        };
        let quorum = if self.signers.algorithm == Algorithm::Raft { 3 } else { 4 };
        for height in OURS - 1..=OURS + 1 {
            all.push(DirectMessage::Vote(self.vote(VoteKind::Precommit, height, 3)));
            all.push(DirectMessage::Commit(self.commit(height, quorum)));
        }
        for height in [OURS, OURS + 1] {
            all.push(DirectMessage::Proposal { by: address(3), proposal: self.proposal(3, height, 4) });
        }
        all
    }
}

fn signed(by: u8, body: StatementBody, chain: &ChainId) -> Statement {
    let unsigned = UnsignedStatement { by: address(by), body };
    let signature = key(by).sign(&unsigned.sign_bytes(chain));
    unsigned.signed(signature)
}

fn raft(by: u8, body: RaftStatement) -> DirectMessage {
    DirectMessage::Statement(signed(by, StatementBody::Raft(body), &chain_id()))
}

fn pbft(by: u8, body: PbftStatement) -> DirectMessage {
    DirectMessage::Statement(signed(by, StatementBody::Pbft(Box::new(body)), &chain_id()))
}

fn raft_statements() -> Vec<RaftStatement> {
    let (term, height, entry) = (Round::new(4), Height::new(OURS), Some(Round::ZERO));
    let (election, candidate) = (Election::PreVote, address(2));
    vec![
        RaftStatement::RequestVote { term, election: Election::Vote, last: LogPosition { height, entry } },
        RaftStatement::Ballot { term, asked: Round::new(5), election, candidate, granted: true, height },
        RaftStatement::Heartbeat { term, height, beat: 77 },
        RaftStatement::Following { term, height, entry: None, beat: 77 },
        RaftStatement::TimeoutNow { term, to: address(4) },
        RaftStatement::ReadIndex { ticket: 5 },
        RaftStatement::ReadAt { ticket: 5, to: address(4), height },
    ]
}

fn part(height: u64) -> DirectMessage {
    let parts = PartSet::cut(&Bytes::from_static(b"block"));
    DirectMessage::Part { height: Height::new(height), round: Round::ZERO, part: parts.parts().next().unwrap().clone() }
}

const PROTOCOLS: [Algorithm; 2] = [Algorithm::Raft, Algorithm::Pbft];

/// True for what a machine would take as signed by a validator.
fn believed(heard: &Result<HeardDirect, &'static str>) -> bool {
    matches!(heard, Ok(HeardDirect::Said(said)) if !matches!(said, Direct::Outsider(_) | Direct::Part { .. }))
}

#[test]
fn what_is_signed_as_it_must_be_is_said_unchanged() {
    for algorithm in PROTOCOLS {
        let world = World::new(algorithm);
        for message in world.samples() {
            let Ok(HeardDirect::Said(said)) = world.hear(&message) else {
                panic!("{algorithm}: {:?}: {message:?}", world.hear(&message))
            };
            assert_eq!(DirectMessage::from(said), message);
        }
        assert!(matches!(world.hear(&part(OURS)), Ok(HeardDirect::Said(Direct::Part { .. }))));
    }
}

/// About 25,000 bent messages: one bit of every byte of every sample.
#[test]
fn a_message_with_one_flipped_bit_anywhere_is_believed_by_nobody() {
    let mut bent_messages = 0;
    for algorithm in PROTOCOLS {
        let world = World::new(algorithm);
        for message in world.samples() {
            assert!(believed(&world.hear(&message)));
            let bytes = message.encode();
            for at in 0..bytes.len() {
                let mut bent = bytes.to_vec();
                bent[at] ^= 1 << (at % 8);
                bent_messages += 1;
                let Ok(read) = DirectMessage::decode(bent.into()) else { continue };
                assert!(!believed(&world.hear(&read)), "{algorithm}: byte {at} of {message:?}");
            }
        }
    }
    assert!(bent_messages > 10_000, "{bent_messages}");
}

/// Puts another signature on a message; false when there is none to put it on.
fn resign(message: &mut DirectMessage, sign: impl Fn(&[u8]) -> Signature, chain: &ChainId) -> bool {
    match message {
        DirectMessage::Statement(statement) => statement.signature = sign(&statement.sign_bytes(chain)),
        DirectMessage::Proposal { proposal, .. } => proposal.signature = sign(&proposal.sign_bytes(chain)),
        DirectMessage::Vote(vote) => vote.signature = sign(&vote.sign_bytes(chain)),
        DirectMessage::Commit(commit) => {
            let sign_bytes = commit.extended_vote(0).expect("the first signed").sign_bytes(chain);
            let CommitSig::Commit(part) = &mut commit.signatures[0].sig else { panic!("the first signed") };
            part.signature = sign(&sign_bytes);
        }
        DirectMessage::Part { .. } => return false,
    }
    true
}

#[test]
fn unsigned_wrongly_signed_or_replayed_from_another_chain_is_the_peers_fault() {
    let elsewhere = ChainId::try_from("another-chain").expect("legal");
    for algorithm in PROTOCOLS {
        let world = World::new(algorithm);
        for message in world.samples() {
            let mut unsigned = message.clone();
            assert!(resign(&mut unsigned, |_| Signature::new([0; 64]), &chain_id()));
            assert!(world.hear(&unsigned).is_err(), "unsigned {message:?}");
            let mut forged = message.clone();
            resign(&mut forged, |bytes| key(99).sign(bytes), &chain_id());
            assert!(world.hear(&forged).is_err(), "signed by a stranger: {message:?}");
            let mut by_another = message.clone();
            resign(&mut by_another, |bytes| key(5).sign(bytes), &chain_id());
            assert!(world.hear(&by_another).is_err(), "signed by another validator: {message:?}");
            let there = DirectSigners { chain_id: elsewhere.clone(), ..world.signers.clone() };
            assert!(
                hear_direct(Some(&there), &world.known, message.clone()).is_err(),
                "replayed elsewhere: {message:?}"
            );
        }
    }
}

#[test]
fn statements_of_the_other_protocol_are_refused() {
    let (raft, pbft) = (World::new(Algorithm::Raft), World::new(Algorithm::Pbft));
    for (here, there) in [(&raft, &pbft), (&pbft, &raft)] {
        let foreign: Vec<_> = there.samples().into_iter().filter(is_statement).collect();
        assert!(foreign.len() >= 4);
        for message in foreign {
            assert_eq!(here.hear(&message), Err("statement of a protocol that is not this chain's"));
        }
    }
}

fn is_statement(message: &DirectMessage) -> bool {
    matches!(message, DirectMessage::Statement(_))
}

#[test]
fn keys_of_the_last_and_the_next_set_count_and_strangers_are_outsiders() {
    let world = World::new(Algorithm::Raft);
    let beat = |height: u64| RaftStatement::Heartbeat { term: Round::ZERO, height: Height::new(height), beat: 1 };
    for by in 1..=7 {
        assert!(believed(&world.hear(&raft(by, beat(OURS)))), "validator {by}");
        assert!(believed(&world.hear(&raft(by, beat(OURS + 100)))), "validator {by}, far ahead");
    }
    let stranger = |height| world.hear(&raft(8, beat(height)));
    assert!(matches!(stranger(OURS + 1), Ok(HeardDirect::Said(Direct::Outsider(_)))));
    assert_eq!(stranger(OURS + 2), Ok(HeardDirect::Beyond(Height::new(OURS + 2))));
    let silent = world.hear(&raft(8, RaftStatement::ReadIndex { ticket: 1 }));
    assert!(matches!(silent, Ok(HeardDirect::Said(Direct::Outsider(_)))));
}

#[test]
fn what_cannot_be_checked_here_says_how_far_ahead_it_is_or_nothing() {
    let world = World::new(Algorithm::Pbft);
    let at = |height: u64| {
        let mut commit = world.commit(OURS, 5);
        commit.height = Height::new(height);
        let vote = Vote { height: Height::new(height), ..world.vote(VoteKind::Prevote, OURS, 0) };
        let proposal = Proposal { height: Height::new(height), ..world.proposal(3, OURS, 0) };
        let proposal = DirectMessage::Proposal { by: address(3), proposal };
        [DirectMessage::Commit(commit), DirectMessage::Vote(vote), proposal, part(height)]
    };
    for message in at(OURS + 2) {
        assert_eq!(world.hear(&message), Ok(HeardDirect::Beyond(Height::new(OURS + 2))), "{message:?}");
    }
    for message in at(OURS - 2) {
        assert_eq!(world.hear(&message), Ok(HeardDirect::Useless), "{message:?}");
    }
    for message in world.samples() {
        assert_eq!(hear_direct(None, &world.known, message), Ok(HeardDirect::Useless), "while blocks are fetched");
    }
    // Far from both ends nothing overflows.
    for height in [0, 1, i64::MAX as u64 - 1, i64::MAX as u64] {
        for at_height in [0, 1, i64::MAX as u64 - 1, i64::MAX as u64] {
            let signers = DirectSigners { height: Height::new(at_height), ..world.signers.clone() };
            at(height).into_iter().for_each(|message| drop(hear_direct(Some(&signers), &world.known, message)));
        }
    }
}

#[test]
fn at_the_first_height_there_is_nobody_before() {
    let mut world = World::new(Algorithm::Raft);
    world.signers.last_validators = None;
    let late = DirectMessage::Vote(world.vote(VoteKind::Precommit, OURS - 1, 0));
    assert_eq!(world.hear(&late), Ok(HeardDirect::Useless));
    let commit = DirectMessage::Commit(world.commit(OURS - 1, 5));
    assert_eq!(world.hear(&commit), Ok(HeardDirect::Useless));
}

#[test]
fn a_vote_must_name_its_voter_twice_alike_and_a_commit_have_its_quorum() {
    let world = World::new(Algorithm::Pbft);
    let good = world.vote(VoteKind::Prevote, OURS, 0);
    let wrong_index = Vote { validator_index: 1, ..good.clone() };
    let no_index = Vote { validator_index: 5, ..good.clone() };
    let wrong_set = world.last.vote(0, VoteKind::Prevote, OURS, 0, Some(block_id("b")));
    for vote in [wrong_index, no_index, wrong_set] {
        assert!(world.hear(&DirectMessage::Vote(vote)).is_err());
    }
    assert!(world.hear(&DirectMessage::Commit(world.commit(OURS, 4))).is_ok());
    let too_few = Err("commit that no quorum of its height's set made");
    assert_eq!(world.hear(&DirectMessage::Commit(world.commit(OURS, 3))), too_few);
    let raft = World::new(Algorithm::Raft);
    assert!(believed(&raft.hear(&DirectMessage::Commit(raft.commit(OURS, 3)))));
    assert_eq!(raft.hear(&DirectMessage::Commit(raft.commit(OURS, 2))), too_few);
    let empty = ExtendedCommit { signatures: Vec::new(), ..world.commit(OURS, 5) };
    assert!(hear_direct(None, &raft.known, DirectMessage::Commit(empty)).is_err(), "whoever listens");
}

#[test]
fn extensions_are_signed_and_there_exactly_where_the_parameters_say() {
    let mut world = World::new(Algorithm::Pbft);
    let with = |world: &World, height: u64| {
        let commit = world.keys(height).extended_commit(Height::new(height), block_id("b"), b"price");
        DirectMessage::Commit(commit)
    };
    let without = |world: &World, height| DirectMessage::Commit(world.commit(height, 5));
    for (from, heights) in [(None, [false, false]), (Some(8), [false, true]), (Some(7), [true, true])] {
        world.signers.abci = AbciParams { vote_extensions_enable_height: from.map(Height::new) };
        for (height, required) in [7, 8].into_iter().zip(heights) {
            assert_eq!(believed(&world.hear(&with(&world, height))), required, "height {height}, from {from:?}");
            assert_eq!(believed(&world.hear(&without(&world, height))), !required, "height {height}, from {from:?}");
        }
        // Our own block may still turn them on.
        assert!(believed(&world.hear(&with(&world, 9))) && believed(&world.hear(&without(&world, 9))));
    }
    let DirectMessage::Commit(mut commit) = with(&world, 8) else { panic!("it is one") };
    commit.signatures[2].extension = Bytes::from_static(b"bribe");
    assert!(world.hear(&DirectMessage::Commit(commit)).is_err());
    let mut vote = world.vote(VoteKind::Precommit, OURS, 0);
    vote.extension = Bytes::from_static(b"price");
    assert!(world.hear(&DirectMessage::Vote(vote.clone())).is_err(), "nobody signed it");
    vote.extension_signature = Some(world.now.keys[0].sign(&vote.extension_sign_bytes(&chain_id())));
    assert!(believed(&world.hear(&DirectMessage::Vote(vote.clone()))));
    vote.extension_signature = Some(world.now.keys[1].sign(&vote.extension_sign_bytes(&chain_id())));
    assert!(world.hear(&DirectMessage::Vote(vote)).is_err());
}

#[test]
fn a_part_that_cannot_be_one_is_the_peers_fault() {
    let world = World::new(Algorithm::Raft);
    let DirectMessage::Part { height, round, part } = part(OURS) else { panic!("it is one") };
    let huge = Part { bytes: vec![0; PartSet::PART_BYTES + 1].into(), ..part };
    assert!(world.hear(&DirectMessage::Part { height, round, part: huge }).is_err());
}
