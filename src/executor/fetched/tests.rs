//! Reading blocks strangers send, and saying who of two lied, with real signatures.

use super::*;
use crate::crypto::{Signature, merkle};
use crate::types::tests::{Signers, chain_id};
use crate::types::*;

fn signers() -> Signers {
    Signers::new(3, &[10, 10, 10, 10])
}

/// A block that is right in itself.
fn block(height: u64, last: Option<Commit>, tx: &'static [u8]) -> Block {
    let mut block = Block {
        header: Header { last_block_id: last.as_ref().map(|commit| commit.block_id), ..signers().header(height) },
        txs: vec![Tx::new(Bytes::from_static(tx))],
        evidence: Vec::new(),
        last_commit: last,
    };
    block.header.data_hash = block.data_hash();
    block.header.last_commit_hash = block.last_commit_hash();
    block.header.evidence_hash = block.evidence_hash();
    block
}

fn commit(block: &CandidateBlock) -> Commit {
    signers().commit(block.block().header.height, block.id(), 5)
}

fn check_of(block: &Arc<CandidateBlock>, commit: Commit, extended: Option<ExtendedCommit>) -> CommitCheck {
    CommitCheck {
        block: Arc::clone(block),
        commit: Arc::new(commit),
        extended_commit: extended.map(Arc::new),
        validators: Arc::new(signers().set),
        quorum: crate::types::Quorum::MoreThanTwoThirds,
    }
}

fn message_of(block: &Bytes, extended: Option<ExtendedCommit>) -> usize {
    BlocksyncMessage::BlockResponse { block: block.clone(), extended_commit: extended }.encode().len()
}

#[test]
fn a_good_block_keeps_the_received_bytes() {
    let block = block(1, None, &[7; 200_000]);
    let encoded = block.encode();
    let read = read_block(message_of(&encoded, None), encoded.clone(), None).expect("good");
    assert_eq!(*read.block, CandidateBlock::new(block));
    let first = read.block.parts().part(0).expect("there").bytes.as_ptr();
    assert_eq!(first, encoded.as_ptr(), "parts are not copied");
    let tx = read.block.block().txs[0].bytes().as_ptr();
    assert!(encoded.as_ptr_range().contains(&tx), "transactions are not copied");
}

#[test]
fn bad_blocks_are_refused_with_a_sentence() {
    let good = block(1, None, b"tx");
    let encoded = good.encode();
    let mut other_data = good.clone();
    other_data.txs.push(Tx::new(Bytes::from_static(b"smuggled")));
    let mut crowded = good.clone();
    crowded.last_commit = Some(Commit {
        height: Height::new(7),
        round: Round::ZERO,
        block_id: CandidateBlock::new(good).id(),
        signatures: vec![CommitSig::Absent; Commit::SIGNATURES_MAX + 1],
    });
    let padded = 100 + encoded.len();
    let cases = [
        (encoded.len(), Bytes::new(), "1 to 104857600"),
        (encoded.len(), Bytes::from(vec![0; 104_857_601]), "1 to 104857600"),
        (padded, encoded.clone(), "in a message of"),
        (encoded.len(), encoded.slice(..encoded.len() - 1), "cannot be read"),
        (encoded.len() + 10, other_data.encode(), "wrong in itself"),
        (crowded.encode().len(), crowded.encode(), "too many"),
    ];
    for (message_bytes, encoded, sentence) in cases {
        let error = read_block(message_bytes, encoded, None).expect_err(sentence);
        assert!(error.contains(sentence), "{error}");
    }
}

/// Two bytes on the wire, 64 in memory: 17 million empty transactions are refused before a list is made of them.
#[test]
fn a_bomb_of_empty_transactions_is_not_read() {
    let count = LIST_BYTES_MAX / size_of::<Tx>() + 1;
    let good = block(1, None, b"tx").encode();
    let mut bomb = [0x0a, 0x00].repeat(count);
    let mut length = Vec::new();
    prost::encoding::encode_varint(bomb.len() as u64, &mut length);
    let mut encoded = [good.as_ref(), &[0x12], &length].concat();
    encoded.append(&mut bomb);
    let error = read_block(encoded.len(), encoded.into(), None).expect_err("a bomb");
    assert!(error.contains("too many"), "{error}");
}

#[test]
fn an_extended_commit_of_ten_thousand_signatures_is_read_and_one_more_is_not() {
    let entry = ExtendedCommitSig { sig: CommitSig::Absent, extension: Bytes::new(), extension_signature: None };
    let block_id = CandidateBlock::new(block(1, None, b"tx")).id();
    for (count, fits) in [(Commit::SIGNATURES_MAX, true), (Commit::SIGNATURES_MAX + 1, false)] {
        let signatures = vec![entry.clone(); count];
        let commit = ExtendedCommit { height: Height::FIRST, round: Round::ZERO, block_id, signatures };
        let block = Bytes::from_static(b"x");
        let message = BlocksyncMessage::BlockResponse { block, extended_commit: Some(commit) };
        assert_eq!(BlocksyncMessage::decode(message.encode()).is_ok(), fits, "{count} signatures");
    }
}

#[test]
fn a_check_says_which_of_the_two_lied() {
    let good = Arc::new(CandidateBlock::new(block(4, Some(commit_below()), b"true")));
    let made_up = Arc::new(CandidateBlock::new(block(4, Some(commit_below()), b"made up")));
    let true_commit = commit(&good);
    let mut one_bad = true_commit.clone();
    let CommitSig::Commit(part) = &mut one_bad.signatures[3] else { panic!("signed") };
    part.signature = Signature::new([1; 64]);
    let mut minority = true_commit.clone();
    minority.signatures[0] = CommitSig::Absent;
    minority.signatures[1] = CommitSig::Absent;
    let mut for_made_up = one_bad.clone();
    for_made_up.block_id = made_up.id();
    let mut other_height = true_commit.clone();
    other_height.height = Height::new(5);

    let verdict = |block, commit: &Commit| check_commit(&chain_id(), &check_of(block, commit.clone(), None));
    assert_eq!(verdict(&good, &true_commit), Ok(()));
    assert!(matches!(verdict(&made_up, &true_commit), Err(CheckFault::Block(_))));
    for bad in [&one_bad, &minority, &for_made_up, &other_height] {
        assert!(matches!(verdict(&good, bad), Err(CheckFault::Commit(_))), "{bad:?}");
        assert!(matches!(verdict(&made_up, bad), Err(CheckFault::Commit(_))), "{bad:?}");
    }
}

fn commit_below() -> Commit {
    signers().commit(Height::new(3), crate::types::tests::block_id("below"), 1)
}

/// Bug class 040: one forged signature at each position, of the commit and of the extensions. 12 cases.
#[test]
fn every_single_signature_counts() {
    let good = Arc::new(CandidateBlock::new(block(4, Some(commit_below()), b"true")));
    let extended = signers().extended_commit(Height::new(4), good.id(), b"said");
    let alone = check_of(&good, extended.to_commit(), Some(extended.clone()));
    assert_eq!(check_commit(&chain_id(), &alone), Ok(()));
    let with_successor = check_of(&good, commit(&good), Some(extended.clone()));
    assert_eq!(check_commit(&chain_id(), &with_successor), Ok(()));
    for position in 0..4 {
        let mut forged = commit(&good);
        let CommitSig::Commit(part) = &mut forged.signatures[position] else { panic!("signed") };
        part.signature = Signature::new([1; 64]);
        let outcome = check_commit(&chain_id(), &check_of(&good, forged, Some(extended.clone())));
        assert!(matches!(outcome, Err(CheckFault::Commit(_))), "{outcome:?}");

        let mut forged = extended.clone();
        forged.signatures[position].extension_signature = Some(Signature::new([1; 64]));
        let outcome = check_commit(&chain_id(), &check_of(&good, commit(&good), Some(forged)));
        assert!(matches!(outcome, Err(CheckFault::Extensions(_))), "{outcome:?}");

        let mut missing = extended.clone();
        missing.signatures[position].extension_signature = None;
        let outcome = check_commit(&chain_id(), &check_of(&good, commit(&good), Some(missing)));
        assert!(matches!(outcome, Err(CheckFault::Extensions(_))), "{outcome:?}");
    }
}

#[test]
fn parts_of_a_read_block_prove_themselves() {
    let encoded = block(1, None, &[9; 150_000]).encode();
    let read = read_block(encoded.len() + 8, encoded, None).expect("good");
    let (total, root) = (read.block.parts().header().total, read.block.parts().header().hash);
    let chunks: Vec<Bytes> = read.block.parts().parts().map(|part| part.bytes.clone()).collect();
    assert_eq!((chunks.len() as u32, merkle::root(&chunks)), (total, root));
}

#[test]
fn each_block_asked_for_is_owed_once_and_a_new_connection_owes_nothing() {
    let (one, other) = (NodeId::new(Address::new([1; 20])), NodeId::new(Address::new([2; 20])));
    let owed = Owed::default();
    owed.asked(one);
    owed.asked(one);
    assert!(!owed.answered(other), "it was not asked");
    assert!(owed.answered(one) && owed.answered(one) && !owed.answered(one), "two were asked for");
    owed.asked(one);
    owed.gone(one);
    assert!(!owed.answered(one) && !owed.owes(&one), "a new connection owes nothing");
}
