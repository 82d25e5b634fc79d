//! The edges of single messages: what is one too many, missing or out of place is refused, and what Go writes is written.

use super::random::Random;
use crate::codec::journal;
use crate::codec::protobuf::{Message, decode, encode};
use crate::codec::wire::consensus::BITS_MAX;
use crate::crypto::merkle::{AUNTS_MAX, Proof};
use crate::crypto::{Hash, sha256};
use crate::types::{
    BitArray, BlockId, CommitSig, Evidence, Height, JournalRecord, PartSetHeader, Round, Step, Time, TimerId,
};
use bytes::Bytes;
use std::time::Duration;

const HASH: [u8; 32] = [7; 32];

fn read<M: Message>(pieces: &[&[u8]]) -> Result<M, String> {
    decode(&Bytes::from(pieces.concat())).map_err(|error| error.to_string())
}

/// A byte string as field `number`.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

/// LightClientAttackEvidence.Hash copies 31 bytes of the header's hash into 32, and puts the height behind as a zigzag
/// number. 500 random pieces.
#[test]
fn evidence_has_the_name_cometbft_gives_it_and_counts_with_its_tag_and_length() {
    let (mut random, mut attacks) = (Random(7), 0);
    for _ in 0..500 {
        let evidence = random.evidence();
        let bytes = evidence.encode().len();
        let counted = 1 + prost::length_delimiter_len(bytes) + bytes;
        assert_eq!(evidence.encoded_len(), counted as u64);
        let Evidence::LightClientAttack(attack) = &evidence else { continue };
        let header = attack.conflicting_block.signed_header.header.hash();
        let mut named = [&header.as_bytes()[..31], &[0]].concat();
        prost::encoding::encode_varint(attack.common_height.get() * 2, &mut named);
        assert_eq!(evidence.hash(), sha256(&named));
        attacks += 1;
    }
    assert!(attacks > 100, "{attacks}");
}

#[test]
fn a_field_has_no_number_0_and_unknown_ones_are_skipped_by_their_wire_type() {
    let header = [&[0x08, 1][..], &field(2, &HASH)].concat();
    let wanted = PartSetHeader { total: 1, hash: Hash::new(HASH) };
    assert!(read::<PartSetHeader>(&[&[0x00, 0], &header]).is_err());
    for unknown in [&[0x49, 1, 2, 3, 4, 5, 6, 7, 8][..], &[0x4d, 1, 2, 3, 4], &[0x48, 5], &[0x4a, 2, 1, 1]] {
        assert_eq!(read::<PartSetHeader>(&[unknown, &header]).as_ref(), Ok(&wanted), "{unknown:?}");
    }
}

/// Bug class 157: whoever keeps the largest number instead, or refuses, reads another message than CometBFT does.
#[test]
fn of_a_number_too_large_for_32_bits_the_lowest_stay_as_in_go_and_prost() {
    // 2^32 + 5 and 2^63 + 7, as fields 1.
    for (number, low) in
        [(&[0x08, 0x85, 0x80, 0x80, 0x80, 0x10][..], 5), (&[0x08, 0x87, 128, 128, 128, 128, 128, 128, 128, 128, 1], 7)]
    {
        let bytes = [number, &field(2, &HASH)].concat();
        let theirs =
            <tendermint_proto::v0_38::types::PartSetHeader as prost::Message>::decode(bytes.as_slice()).unwrap();
        assert_eq!(theirs.total, low);
        assert_eq!(read::<PartSetHeader>(&[&bytes]).map(|header| header.total), Ok(low));
    }
}

#[test]
fn a_block_id_has_parts() {
    let parts = |total| [&[0x08, total][..], &field(2, &HASH)].concat();
    assert!(read::<BlockId>(&[&field(1, &HASH), &field(2, &parts(1))]).is_ok());
    assert!(read::<BlockId>(&[&field(1, &HASH), &field(2, &parts(0))]).is_err());
}

#[test]
fn a_proof_has_at_most_100_hashes() {
    let proof = |aunts| Proof { total: 1, index: 0, leaf_hash: Hash::new(HASH), aunts: vec![Hash::new(HASH); aunts] };
    for (aunts, legal) in [(AUNTS_MAX, true), (AUNTS_MAX + 1, false)] {
        assert_eq!(decode::<Proof>(&encode(&proof(aunts))).is_ok(), legal, "{aunts}");
    }
}

#[test]
fn a_duration_has_less_than_a_second_of_nanoseconds() {
    assert_eq!(read::<Duration>(&[&[0x10, 0xff, 0x93, 0xeb, 0xdc, 0x03]]), Ok(Duration::from_nanos(999_999_999)));
    assert!(read::<Duration>(&[&[0x10, 0x80, 0x94, 0xeb, 0xdc, 0x03]]).is_err());
}

#[test]
fn an_absent_signature_is_a_flag_and_the_zero_time_and_nothing_else() {
    let zero = field(3, &encode(&Time::ZERO));
    let absent = [&[0x08, 1][..], &zero].concat();
    assert_eq!(encode(&CommitSig::Absent), absent);
    assert_eq!(read::<CommitSig>(&[&absent]), Ok(CommitSig::Absent));
    assert!(read::<CommitSig>(&[&absent, &field(2, &[1; 20])]).is_err());
    assert!(read::<CommitSig>(&[&absent, &field(4, &[1; 64])]).is_err());
}

#[test]
fn an_array_of_bits_has_at_most_ten_thousand() {
    for (bits, legal) in [(BITS_MAX, true), (BITS_MAX + 1, false)] {
        assert_eq!(decode::<BitArray>(&encode(&BitArray::new(bits))).is_ok(), legal, "{bits}");
    }
}

/// CometBFT writes down what was left to wait, and that may be less than nothing.
#[test]
fn a_timeout_in_the_journal_that_was_over_already_waits_for_nothing() {
    let minus_a_second = [8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let timeout = [field(1, &minus_a_second), vec![0x10, 5, 0x20, 3]].concat();
    let record = [field(1, &encode(&Time::UNIX_EPOCH)), field(2, &field(3, &timeout))].concat();
    let timer = TimerId { height: Height::new(5), round: Round::ZERO, step: Step::Propose };
    let read = journal::decode(&record).map_err(|error| error.to_string());
    assert_eq!(read, Ok((Time::UNIX_EPOCH, JournalRecord::Timeout { timer, duration: Duration::ZERO })));
}
