//! ABCI: frames checked by hand, and every method there and back.

use crate::codec::abci::{FRAME_BYTES_MAX, decode_request, decode_response, encode_request, encode_response};
use crate::codec::{frame, protobuf::build};
use crate::types::abci::{FinalizeBlockResponse, Request, Response};
use bytes::{Bytes, BytesMut};

fn request_hex(request: &Request) -> String {
    let mut out = BytesMut::new();
    encode_request(request, &mut out);
    hex::encode(out)
}

#[test]
fn the_smallest_frames_are_those_of_the_reference() {
    assert_eq!(request_hex(&Request::Flush), "021200");
    assert_eq!(request_hex(&Request::Echo("hi".into())), "060a040a026869");
    assert_eq!(request_hex(&Request::Commit), "025a00");
    let mut out = BytesMut::new();
    encode_response(&Response::Flush, &mut out);
    assert_eq!(hex::encode(out), "021a00");
}

#[test]
fn transactions_share_the_buffer_they_came_in() {
    let mut out = BytesMut::new();
    let txs: Vec<Bytes> = (0..300u16).map(|i| Bytes::from(vec![7; usize::from(i)])).collect();
    encode_response(&Response::PrepareProposal(txs.clone()), &mut out);
    let body = frame::take(&mut out, FRAME_BYTES_MAX).expect("a legal frame").expect("complete");
    assert!(out.is_empty());
    let Ok(Response::PrepareProposal(read)) = decode_response(&body) else { panic!("another answer") };
    assert_eq!(read, txs);
    let range = body.as_ptr_range();
    assert!(read.iter().skip(1).all(|tx| range.contains(&tx.as_ptr())), "copied");
}

#[test]
fn text_that_is_not_utf8_is_read_and_not_refused() {
    let body = build(|w| {
        w.nested(9, |w| {
            w.uint(1, 3);
            w.bytes(3, &[0xff, 0xfe]);
            w.nested(7, |w| w.nested(2, |w| w.bytes(1, &[b'k', 0x80])));
        });
    });
    let Ok(Response::CheckTx(answer)) = decode_response(&body.freeze()) else { panic!("refused") };
    assert_eq!((answer.code, answer.log.as_str()), (3, "\u{fffd}\u{fffd}"));
    assert_eq!(answer.events[0].attributes[0].key, "k\u{fffd}");
}

/// What `abci-cli finalize_block` of CometBFT v0.38.25 sends: transactions, an empty commit, the zero time.
#[test]
fn a_block_nothing_is_said_of_is_read_with_zeros() {
    let body = build(|w| {
        w.nested(20, |w| {
            w.element(1, b"a=b");
            w.nested(2, |_| {});
            w.nested(6, |w| w.int(1, -62_135_596_800));
        });
    });
    let Ok(Request::FinalizeBlock(asked)) = decode_request(&body.freeze()) else { panic!("refused") };
    assert_eq!(asked.txs, [&b"a=b"[..]]);
    assert_eq!(asked.hash.as_bytes(), &[0; 32]);
    assert_eq!(asked.block.next_validators_hash.as_bytes(), &[0; 32]);
}

#[test]
fn a_key_type_this_build_cannot_verify_is_named() {
    let update = |field: u32, power: i64| {
        let body = build(|w| {
            w.nested(21, |w| {
                w.nested(3, |w| {
                    w.nested(1, |w| w.element(field, &[2; 33]));
                    w.int(2, power);
                });
            });
        });
        decode_response(&body.freeze()).expect_err("no ed25519 key of 32 bytes").to_string()
    };
    let expected =
        "Response.finalize_block.validator_updates.pub_key: is a secp256k1 key; this build verifies ed25519 only";
    assert_eq!(update(2, 10), expected);
    assert!(update(9, 10).contains("of an unknown type"), "{}", update(9, 10));
    assert!(update(1, 10).ends_with("pub_key.ed25519: an ed25519 public key has 32 bytes, got 33"));
}

#[test]
fn a_negative_power_is_refused_by_name() {
    let body = build(|w| {
        w.nested(21, |w| {
            w.nested(3, |w| {
                w.nested(1, |w| w.element(1, &[2; 32]));
                w.int(2, -1);
            });
        });
    });
    let error = decode_response(&body.freeze()).expect_err("negative").to_string();
    assert_eq!(error, "Response.finalize_block.validator_updates.power: voting power must be 0 or more, got -1");
}

#[test]
fn of_two_methods_in_one_request_the_last_counts() {
    let body = build(|w| {
        w.nested(2, |_| ());
        w.nested(1, |w| w.bytes(1, b"hi"));
    });
    assert_eq!(decode_request(&body.freeze()), Ok(Request::Echo("hi".into())));
}

#[test]
fn a_message_that_stands_twice_is_merged_as_go_merges_it() {
    let body = build(|w| {
        w.nested(21, |w| {
            w.nested(4, |w| w.nested(1, |w| w.int(1, 7)));
            w.nested(4, |w| {
                w.nested(1, |w| w.int(2, 8));
                w.nested(4, |w| w.uint(1, 9));
            });
        });
    });
    let Ok(Response::FinalizeBlock(FinalizeBlockResponse { consensus_param_updates: Some(update), .. })) =
        decode_response(&body.freeze())
    else {
        panic!("another answer")
    };
    let block = update.block.expect("merged");
    assert_eq!((block.max_bytes, block.max_gas, update.version.map(|v| v.app)), (Some(7), Some(8), Some(9)));
}

#[test]
fn unknown_fields_and_groups_are_skipped() {
    let mut body = build(|w| {
        w.uint(99, 5);
        w.nested(1, |w| w.bytes(1, b"hi"));
    });
    body.extend_from_slice(&[0xab, 0x06, 0x08, 0x01, 0xac, 0x06]); // group 101 { 1: 1 }
    assert_eq!(decode_request(&body.freeze()), Ok(Request::Echo("hi".into())));
}

#[test]
fn groups_are_skipped_thirty_two_deep_and_no_deeper() {
    for (depth, fits) in [(32, true), (33, false)] {
        let mut body = build(|w| w.nested(1, |w| w.bytes(1, b"hi")));
        (0..depth).for_each(|_| body.extend_from_slice(&[0xab, 0x06]));
        (0..depth).for_each(|_| body.extend_from_slice(&[0xac, 0x06]));
        assert_eq!(decode_request(&body.freeze()).is_ok(), fits, "{depth} deep");
    }
}
