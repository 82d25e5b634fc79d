//! The 43 wire vectors of CometBFT's own tests, written byte for byte and read back.
//!
//! Some upstream vectors hold votes without signatures or headers without hashes, which our types cannot express and
//! no peer may send. Those are written through the same writers, and reading them must fail on the missing field.

use crate::codec::protobuf::{Message, Writer, build, decode, encode};
use crate::codec::vote::{write_proposal, write_vote};
use crate::codec::wire::{
    connection::Packet,
    evidence::EvidenceMessage,
    mempool::MempoolMessage,
    pex::{NetAddress, PexMessage},
    privval::{PrivvalMessage, RemoteSignerError},
    statesync::{ChunkId, StatesyncMessage},
};
use crate::crypto::{Hash, PublicKey, merkle::Proof};
use crate::types::abci::Snapshot;
use crate::types::{
    Address, BitArray, BlockId, BlocksyncMessage, ConsensusMessage, Height, NewRoundStep, Part, PartSetHeader,
    Proposal, Round, Time, UnsignedProposal, UnsignedVote, Vote, VoteKind, VotesFor,
};
use bytes::Bytes;

const VECTORS: usize = 43;

/// Encoding of a message that must also read back as itself.
fn whole<M: Message + PartialEq + std::fmt::Debug>(message: M) -> Bytes {
    let bytes = encode(&message);
    assert_eq!(decode::<M>(&bytes).as_ref(), Ok(&message));
    bytes
}

/// Bytes that our types cannot hold: reading them fails with words about `field`.
fn refused<M: Message + std::fmt::Debug>(bytes: impl Into<Bytes>, field: &str) -> Bytes {
    let bytes = bytes.into();
    let error = decode::<M>(&bytes).expect_err("incomplete on purpose").to_string();
    assert!(error.contains(field), "{error}");
    bytes
}

fn hash(hex_digits: &str) -> Hash {
    Hash::try_from(&hex::decode(hex_digits).expect("hex")[..]).expect("32 bytes")
}

fn time(seconds: i64, nanos: u32) -> Time {
    Time::new(seconds, nanos).expect("in range")
}

fn consensus() -> Vec<Bytes> {
    let (height, round) = (Height::new(1), Round::new(1));
    let text = Hash::try_from(&b"add_more_exclamation_marks_code-"[..]).expect("32 bytes");
    let parts = PartSetHeader { total: 1, hash: text };
    let block_id = BlockId { hash: text, parts };
    let date = time(1_535_630_400, 0);
    let step = |height, round, step, seconds_since_start_time| {
        let last_commit_round = Some(round);
        let step = NewRoundStep { height, round, step, seconds_since_start_time, last_commit_round };
        whole(ConsensusMessage::NewRoundStep(step))
    };
    let has_vote =
        |height, round, index| whole(ConsensusMessage::HasVote { height, round, kind: VoteKind::Prevote, index });
    let vote = |extension: Option<&'static [u8]>| {
        let vote = UnsignedVote {
            kind: VoteKind::Precommit,
            height,
            round: Round::ZERO,
            block_id: Some(block_id),
            timestamp: date,
            validator_address: Address::try_from(&b"add_more_exclamation"[..]).expect("20 bytes"),
            validator_index: 1,
            extension: extension.map(Bytes::from_static),
        };
        let bytes = build(|w| w.nested(6, |w| w.nested(1, |w| write_vote(w, &vote, &[], &[]))));
        refused::<ConsensusMessage>(bytes, "vote.signature")
    };
    let proposal = UnsignedProposal { height, round, pol_round: Some(round), block_id, timestamp: date };
    let proposal = |w: &mut Writer<'_>| write_proposal(w, &proposal, b"add_more_exclamation");
    let proof = Proof { total: 1, index: 1, leaf_hash: text, aunts: vec![] };
    let part = Part { index: 1, bytes: Bytes::from_static(b"test"), proof };
    let votes = VotesFor { height, round, kind: VoteKind::Prevote, block_id: Some(block_id) };
    let have = BitArray::new(1);
    let (last_height, last_round) = (Height::MAX, Round::new(i32::MAX as u32));
    vec![
        step(height, round, 1, 1),
        step(last_height, last_round, u32::MAX, i64::MAX),
        whole(ConsensusMessage::NewValidBlock { height, round, parts, have: have.clone(), is_commit: false }),
        refused::<ConsensusMessage>(build(|w| w.nested(3, |w| w.nested(1, proposal))), "proposal.signature"),
        whole(ConsensusMessage::ProposalPol { height, pol_round: round, have: BitArray::new(0) }),
        whole(ConsensusMessage::BlockPart { height, round, part }),
        vote(None),
        vote(Some(b"extension")),
        has_vote(height, round, 1),
        has_vote(last_height, last_round, i32::MAX as u32),
        whole(ConsensusMessage::VoteSetMaj23(votes)),
        whole(ConsensusMessage::VoteSetBits { votes, have }),
    ]
}

fn blocksync() -> Vec<Bytes> {
    // Header{version 11, height 3, zero time, data and evidence hash}, one transaction, no evidence, no commit.
    let header = [
        "0a5b0a02080b1803220b088092b8c398feffffff012a021200",
        "3a20c4da88e876062aa1543400d50d0eaa0dac88096057949cfb7bca7f3a48c04bf9",
        "6a20e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "120d0a0b48656c6c6f20576f726c641a00",
    ];
    let block = refused::<crate::types::Block>(hex::decode(header.concat()).expect("hex"), "header.chain_id");
    vec![
        whole(BlocksyncMessage::BlockRequest(Height::new(1))),
        whole(BlocksyncMessage::BlockRequest(Height::MAX)),
        whole(BlocksyncMessage::BlockResponse { block, extended_commit: None }),
        whole(BlocksyncMessage::NoBlockResponse(Height::new(1))),
        whole(BlocksyncMessage::NoBlockResponse(Height::MAX)),
        whole(BlocksyncMessage::StatusRequest),
        whole(BlocksyncMessage::StatusResponse { height: Height::new(1), base: Height::new(2) }),
        whole(BlocksyncMessage::StatusResponse { height: Height::MAX, base: Height::MAX }),
    ]
}

/// The block id and vote of privval/msgs_test.go and evidence/reactor_test.go.
fn signer_vote(kind: VoteKind, timestamp: Time, extension: Option<&'static [u8]>) -> UnsignedVote {
    let parts_hash = hash("72db3d959635dff1bb567bedaa70573392c5159666a3f8caf11e413aac52207a");
    let block_hash = hash("8b01023386c371778ecb6368573e539afc3cc860ec3a2f614e54fe5652f4fc80");
    UnsignedVote {
        kind,
        height: Height::new(3),
        round: Round::new(2),
        block_id: Some(BlockId { hash: block_hash, parts: PartSetHeader { total: 1_000_000, hash: parts_hash } }),
        timestamp,
        validator_address: Address::try_from(
            &hex::decode("6af1f4111082efb388211bc72c55bcd61e9ac3d5").expect("hex")[..],
        )
        .expect("20 bytes"),
        validator_index: 56_789,
        extension: extension.map(Bytes::from_static),
    }
}

fn privval() -> Vec<Bytes> {
    let key = hash("556a436f1218d30942efe798420f51dc9b6a311b929c578257457d05c5fcf230");
    let error = RemoteSignerError { code: 1, description: "it's a error".into() };
    let chain_id = String::new;
    let stamp = time(1_570_983_284, 0);
    let vote = signer_vote(VoteKind::Precommit, stamp, Some(b"extension"));
    let proposal = UnsignedProposal {
        height: vote.height,
        round: vote.round,
        pol_round: Some(Round::new(2)),
        block_id: vote.block_id.expect("names a block"),
        timestamp: stamp,
    };
    let signed = build(|w| write_proposal(w, &proposal, b"it's a signature"));
    assert_eq!(signed[..2], [0x08, 32]);
    // The upstream case says type 1, a prevote, where a proposal has 32.
    let mistyped = [&[0x08, 1], &signed[2..]].concat();
    let vote_response = build(|w| w.nested(4, |w| w.nested(1, |w| write_vote(w, &vote, &[], &[]))));
    let proposal_request = build(|w| w.nested(5, |w| w.element(1, &mistyped))).freeze();
    let read = PrivvalMessage::SignProposalRequest { proposal: proposal.clone(), chain_id: chain_id() };
    assert_eq!(decode::<PrivvalMessage>(&proposal_request), Ok(read), "a signature in a request is not looked at");
    let no_key: Result<PublicKey, _> = Err(error.clone());
    let no_vote: Result<Vote, _> = Err(error.clone());
    let no_proposal: Result<Proposal, _> = Err(error);
    vec![
        whole(PrivvalMessage::PingRequest),
        whole(PrivvalMessage::PingResponse),
        whole(PrivvalMessage::PublicKeyRequest { chain_id: chain_id() }),
        whole(PrivvalMessage::PublicKeyResponse(Ok(PublicKey::new(*key.as_bytes())))),
        whole(PrivvalMessage::PublicKeyResponse(no_key)),
        whole(PrivvalMessage::SignVoteRequest { vote, chain_id: chain_id() }),
        refused::<PrivvalMessage>(vote_response, "vote.signature"),
        whole(PrivvalMessage::SignedVoteResponse(no_vote)),
        proposal_request,
        refused::<PrivvalMessage>(build(|w| w.nested(6, |w| w.element(1, &mistyped))), "proposal.type"),
        whole(PrivvalMessage::SignedProposalResponse(no_proposal)),
    ]
}

fn p2p_and_sync() -> Vec<Bytes> {
    let data = Bytes::from_static(b"data transmitted over the wire");
    let address = NetAddress { id: "1".into(), ip: "127.0.0.1".into(), port: 9090 };
    let snapshot = Snapshot {
        height: 1,
        format: 2,
        chunks: 3,
        hash: Bytes::from_static(b"chuck hash"),
        metadata: Bytes::from_static(b"snapshot metadata"),
    };
    let chunk = ChunkId { height: 1, format: 2, index: 3 };
    let tx = |tx: &'static [u8]| whole(MempoolMessage { txs: vec![Bytes::from_static(tx)] });
    vec![
        whole(Packet::Ping),
        whole(Packet::Pong),
        whole(Packet::Message { channel: 1, data, last: false }),
        whole(PexMessage::Request),
        whole(PexMessage::Addrs(vec![address])),
        whole(StatesyncMessage::SnapshotsRequest),
        whole(StatesyncMessage::SnapshotsResponse(snapshot)),
        whole(StatesyncMessage::ChunkRequest(chunk)),
        whole(StatesyncMessage::ChunkResponse(chunk, Some(Bytes::from_static(b"it's a chunk")))),
        tx(&[123]),
        tx(b"proto encoding in mempool"),
        duplicate_vote(),
    ]
}

fn duplicate_vote() -> Bytes {
    let stamp = time(1_514_170_801, 234_000_000);
    let bytes = build(|w| {
        w.nested(1, |w| {
            w.nested(1, |w| {
                w.nested(1, |w| write_vote(w, &signer_vote(VoteKind::Precommit, stamp, None), &[], &[]));
                w.nested(2, |w| write_vote(w, &signer_vote(VoteKind::Prevote, stamp, None), &[], &[]));
                w.int(3, 10);
                w.int(4, 10);
                w.message(5, &time(1_546_300_800, 0));
            });
        });
    });
    refused::<EvidenceMessage>(bytes, "vote_a.signature")
}

#[test]
fn all_43_wire_vectors_of_cometbft_are_written_exactly() {
    let json = include_str!("../../../tests/vectors/cometbft/wire_vectors.json");
    let vectors: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let vectors = vectors.as_array().expect("a list");
    let ours = [consensus(), blocksync(), privval(), p2p_and_sync()].concat();
    assert_eq!((vectors.len(), ours.len()), (VECTORS, VECTORS));
    for (vector, ours) in vectors.iter().zip(ours) {
        let (file, name) = (vector["file"].as_str().expect("text"), vector["name"].as_str().expect("text"));
        assert_eq!(hex::encode(ours), vector["hex"].as_str().expect("text"), "{file} {name}");
    }
}
