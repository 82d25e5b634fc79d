//! Constants from CometBFT's test files (reference §4.4, §4.5, §14.4).

use crate::codec::vote::CanonicalVote;
use crate::crypto::{Hash, merkle, sha256};
use crate::types::{
    Address, Block, BlockId, ChainId, Commit, ConsensusParams, Header, Height, PartSetHeader, Round, Time, Tx,
    UnsignedProposal, UnsignedVote, Version, VoteKind,
};
use bytes::Bytes;

pub(super) fn chain(name: &str) -> ChainId {
    ChainId::try_from(name).expect("a legal name")
}

/// types/block_test.go, TestHeaderHash.
pub(super) fn upstream_header() -> Header {
    let zeros = Hash::new([0; 32]);
    Header {
        version: Version { block: 1, app: 2 },
        chain_id: chain("chainId"),
        height: Height::new(3),
        time: "2019-10-13T16:14:44Z".parse().expect("a legal time"),
        last_block_id: Some(BlockId { hash: zeros, parts: PartSetHeader { total: 6, hash: zeros } }),
        last_commit_hash: sha256(b"last_commit_hash"),
        data_hash: sha256(b"data_hash"),
        validators_hash: sha256(b"validators_hash"),
        next_validators_hash: sha256(b"next_validators_hash"),
        consensus_hash: sha256(b"consensus_hash"),
        app_hash: Bytes::copy_from_slice(sha256(b"app_hash").as_ref()),
        last_results_hash: sha256(b"last_results_hash"),
        evidence_hash: sha256(b"evidence_hash"),
        proposer_address: Address::try_from(&sha256(b"proposer_address").as_ref()[..20]).expect("20 bytes"),
    }
}

#[test]
fn the_header_of_cometbfts_own_test_has_the_hash_it_has_there() {
    let expected = "F740121F553B5418C3EFBD343C2DBFE9E007BB67B0D020A0741374BAB65242A4";
    assert_eq!(upstream_header().hash().to_string(), expected);
}

/// Go's zero time with its tag and length.
const ZERO_TIME: &str = "2a0b088092b8c398feffffff01";

/// types/vote_test.go, TestVoteSignBytesTestVectors: (type, height, round, chain, bytes before and after the time).
const VOTES: [(u64, u64, u32, &str, &str, &str); 5] = [
    (0, 0, 0, "", "0d", ""),
    (2, 1, 1, "", "210802110100000000000000190100000000000000", ""),
    (1, 1, 1, "", "210801110100000000000000190100000000000000", ""),
    (0, 1, 1, "", "1f110100000000000000190100000000000000", ""),
    (0, 1, 1, "test_chain_id", "2e110100000000000000190100000000000000", "320d746573745f636861696e5f6964"),
];

#[test]
fn the_5_vote_vectors_of_cometbft_give_its_sign_bytes() {
    for (kind, height, round, chain_id, before, after) in VOTES {
        let (height, round) = (Height::new(height), Round::new(round));
        let vote = CanonicalVote { kind, height, round, block_id: None, timestamp: Time::ZERO };
        assert_eq!(hex::encode(vote.sign_bytes(chain_id)), format!("{before}{ZERO_TIME}{after}"));
    }
}

#[test]
fn an_extension_does_not_change_what_the_vote_signs() {
    let vote = UnsignedVote {
        kind: VoteKind::Precommit,
        height: Height::new(1),
        round: Round::new(1),
        block_id: None,
        timestamp: Time::ZERO,
        validator_address: Address::new([0; 20]),
        validator_index: 0,
        extension: Some(Bytes::from_static(b"extension")),
    };
    let bytes = vote.sign_bytes(&chain("test_chain_id"));
    let expected = "300802110100000000000000190100000000000000";
    assert_eq!(hex::encode(bytes), format!("{expected}{ZERO_TIME}320d746573745f636861696e5f6964"));
    // CanonicalVoteExtension: the extension, height, round, chain id.
    let expected = "2c0a09657874656e73696f6e110100000000000000190100000000000000220d746573745f636861696e5f6964";
    assert_eq!(hex::encode(vote.extension_sign_bytes(&chain("test_chain_id"))), expected);
}

#[test]
fn a_proposal_without_proof_of_lock_signs_minus_one_as_ten_bytes() {
    let zeros = Hash::new([0; 32]);
    let proposal = UnsignedProposal {
        height: Height::new(12345),
        round: Round::new(23456),
        pol_round: None,
        block_id: BlockId { hash: zeros, parts: PartSetHeader { total: 111, hash: zeros } },
        timestamp: Time::ZERO,
    };
    let bytes = hex::encode(proposal.sign_bytes(&chain("c")));
    assert!(bytes.contains("11393000000000000019a05b00000000000020ffffffffffffffffff012a48"), "{bytes}");
    let at_round_0 = UnsignedProposal { pol_round: Some(Round::ZERO), ..proposal };
    assert!(hex::encode(at_round_0.sign_bytes(&chain("c"))).contains("19a05b0000000000002a48"), "0 is left out");
}

#[test]
fn the_first_block_carries_an_empty_commit_and_reads_back() {
    let mut header = upstream_header();
    header.last_block_id = None;
    let block = Block { header, txs: vec![], evidence: vec![], last_commit: None };
    let bytes = block.encode();
    assert!(hex::encode(&bytes).ends_with("12001a0022041a021200"), "{}", hex::encode(&bytes));
    assert_eq!(Block::decode(bytes), Ok(block));
}

#[test]
fn empty_lists_hash_to_the_hash_of_nothing() {
    assert_eq!(Tx::data_hash(&[]), Hash::EMPTY);
    assert_eq!(crate::types::Evidence::list_hash(&[]), Hash::EMPTY);
    assert_eq!(crate::codec::last_results_hash(&[]), Hash::EMPTY);
    let zeros = Hash::new([0; 32]);
    let block_id = BlockId { hash: zeros, parts: PartSetHeader { total: 1, hash: zeros } };
    let empty = Commit { height: Height::new(1), round: Round::ZERO, block_id, signatures: vec![] };
    assert_eq!(empty.hash(), Hash::EMPTY);
}

#[test]
fn a_data_hash_covers_the_hashes_of_transactions() {
    let txs = [Tx::new("a"), Tx::new("b")];
    assert_eq!(Tx::data_hash(&txs), merkle::root(&[sha256(b"a"), sha256(b"b")]));
    let (root, proofs) = Tx::data_proofs(&txs);
    assert_eq!(root, Tx::data_hash(&txs));
    assert_eq!(proofs[1].verify(&root, txs[1].hash().as_ref()), Ok(()));
}

#[test]
fn only_the_block_limits_of_the_parameters_are_hashed() {
    // HashedParams{block_max_bytes: 22020096, block_max_gas: -1}
    let bytes = hex::decode("088080c00a10ffffffffffffffffff01").expect("hex");
    let mut params = ConsensusParams::default();
    assert_eq!(params.hash(), sha256(&bytes));
    params.version.app = 7;
    assert_eq!(params.hash(), sha256(&bytes));
}

#[test]
fn a_header_of_a_real_chain_has_the_hash_tendermint_rs_knows() {
    let json = include_str!("../../../tests/vectors/tendermint-rs/serialization/header_with_known_hash.json");
    let json: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let bytes = |value: &serde_json::Value| hex::decode(text(value)).expect("hex");
    let hash = |value: &serde_json::Value| Hash::try_from(&bytes(value)[..]).expect("32 bytes");
    let last = &json["last_block_id"];
    let total = last["part_set_header"]["total"].as_u64().expect("a number") as u32;
    let parts = PartSetHeader { total, hash: hash(&last["part_set_header"]["hash"]) };
    let header = Header {
        version: Version { block: 11, app: 1 },
        chain_id: chain(&text(&json["chain_id"])),
        height: Height::new(text(&json["height"]).parse().expect("a number")),
        time: text(&json["time"]).parse().expect("a time"),
        last_block_id: Some(BlockId { hash: hash(&last["hash"]), parts }),
        last_commit_hash: hash(&json["last_commit_hash"]),
        data_hash: hash(&json["data_hash"]),
        validators_hash: hash(&json["validators_hash"]),
        next_validators_hash: hash(&json["next_validators_hash"]),
        consensus_hash: hash(&json["consensus_hash"]),
        app_hash: bytes(&json["app_hash"]).into(),
        last_results_hash: hash(&json["last_results_hash"]),
        evidence_hash: hash(&json["evidence_hash"]),
        proposer_address: Address::try_from(&bytes(&json["proposer_address"])[..]).expect("20 bytes"),
    };
    let expected = "F30A71F2409FB15AACAEDB6CC122DFA2525BEE9CAE521721B06BFDCA291B8D56";
    assert_eq!(header.hash().to_string(), expected);
}
