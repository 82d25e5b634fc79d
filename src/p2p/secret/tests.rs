//! The secret connection's machines against CometBFT's numbers, other implementations and hostile keys.

use super::*;
use proptest::prelude::*;

const GOLDEN: &str = include_str!("../../../tests/vectors/cometbft/TestDeriveSecretsAndChallengeGolden.golden");
/// Lines of it.
const GOLDEN_LINES: usize = 32;

/// Both ends after they heard each other, from two secrets.
fn pair(one: u8, two: u8) -> (Agreed, Agreed) {
    let (one, two) = (Hello::new(Zeroizing::new([one; 32])), Hello::new(Zeroizing::new([two; 32])));
    let (from_one, from_two) = (one.message(), two.message());
    (one.agree(from_two).expect("good"), two.agree(from_one).expect("good"))
}

/// The data of sealed frames.
fn open_all(opener: &mut Opener, sealed: &mut [u8]) -> Vec<u8> {
    let (frames, rest) = sealed.as_chunks_mut::<SEALED_LEN>();
    assert!(rest.is_empty(), "whole frames");
    frames.iter_mut().flat_map(|frame| opener.open(frame).expect("in order").to_vec()).collect()
}

#[test]
fn keys_are_derived_as_in_all_32_lines_of_cometbfts_golden_file() {
    for line in GOLDEN.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        let bytes = |at: usize| <[u8; 32]>::try_from(hex::decode(fields[at]).expect("hex")).expect("32 bytes");
        let our_key = if fields[1] == "true" { OurKey::Lower } else { OurKey::Upper };
        let secrets = Secrets::derive(&bytes(0), our_key);
        assert_eq!((*secrets.receive, *secrets.send), (bytes(2), bytes(3)), "{line}");
    }
    assert_eq!(GOLDEN.lines().count(), GOLDEN_LINES);
}

#[test]
fn who_has_the_lower_key_seals_with_the_upper_half_of_the_derived_keys() {
    for (one, two) in [(1, 2), (2, 1), (3, 9), (9, 3)] {
        let (ours, theirs) = (Hello::new(Zeroizing::new([one; 32])), Hello::new(Zeroizing::new([two; 32])).message());
        let our_key = if ours.public < theirs.0 { OurKey::Lower } else { OurKey::Upper };
        let secrets = Secrets::derive(&x25519([one; 32], theirs.0), our_key);
        let mut sealed = Vec::new();
        ours.agree(theirs).expect("good").sealer.seal(b"hello", &mut sealed);
        let mut frame: [u8; SEALED_LEN] = sealed.try_into().expect("one frame");
        assert_eq!(Opener(FrameKey::new(&secrets.send)).open(&mut frame), Ok(&b"hello"[..]));
    }
}

#[test]
fn what_one_end_seals_the_other_opens_and_nobody_else() {
    let (mut one, mut two) = pair(1, 2);
    let mut sealed = Vec::new();
    one.sealer.seal(b"hello", &mut sealed);
    assert_eq!(sealed.len(), SEALED_LEN, "short data takes a whole frame");
    let mut frame: [u8; SEALED_LEN] = sealed.try_into().expect("one frame");
    let (_, mut stranger) = pair(1, 3);
    assert_eq!(stranger.opener.open(&mut frame.clone()), Err(SecretError::Forged));
    assert_eq!(one.opener.open(&mut frame.clone()), Err(SecretError::Forged), "a frame thrown back at its sender");
    assert_eq!(two.opener.open(&mut frame.clone()), Ok(&b"hello"[..]));
    assert_eq!(two.opener.open(&mut frame), Err(SecretError::Forged), "a frame replayed");
}

#[test]
fn a_proof_counts_on_its_own_connection_only() {
    let key = PrivateKey::from_seed(&[9; 32]);
    let ((one, two), (other, _)) = (pair(1, 2), pair(1, 3));
    let proof = one.challenge.prove(&key);
    assert_eq!(two.challenge.check(&proof), Ok(key.public_key()));
    assert_eq!(other.challenge.check(&proof), Err(SecretError::NotProved), "passed on by somebody in between");
    let poser = AuthSig { key: PrivateKey::from_seed(&[8; 32]).public_key(), ..proof };
    assert_eq!(two.challenge.check(&poser), Err(SecretError::NotProved));
}

/// Every encoding of a point of low order on Curve25519 and its twist, little-endian (RFC 7748 §7; the list of
/// libsodium). 12 keys.
const LOW_ORDER: [&str; 12] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

#[test]
fn all_12_keys_of_low_order_are_refused() {
    for key in LOW_ORDER {
        let theirs = EphemeralKey(hex::decode(key).expect("hex").try_into().expect("32 bytes"));
        for secret in [[1; 32], [0x55; 32]] {
            let agreed = Hello::new(Zeroizing::new(secret)).agree(theirs);
            assert_eq!(agreed.err(), Some(SecretError::LowOrderKey), "{key}");
        }
    }
}

#[test]
fn a_frame_that_claims_more_than_it_holds_is_refused() {
    for claimed in [1025, 1028, 1 << 20, u32::MAX] {
        let (one, mut two) = pair(1, 2);
        let mut frame = [0; SEALED_LEN];
        frame[..4].copy_from_slice(&u32::to_le_bytes(claimed));
        let Sealer(mut key) = one.sealer;
        let tag = key.seal(&mut frame[..FRAME_LEN]);
        frame[FRAME_LEN..].copy_from_slice(&tag);
        assert_eq!(two.opener.open(&mut frame), Err(SecretError::FrameLength(claimed)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn data_of_any_length_arrives_as_it_was_64_cases(lengths in prop::collection::vec(0usize..5000, 1..6)) {
        let (mut one, mut two) = pair(4, 5);
        for (at, len) in lengths.into_iter().enumerate() {
            let data: Vec<u8> = (0..len).map(|i| (i * 7 + at) as u8).collect();
            let mut sealed = Vec::new();
            two.sealer.seal(&data, &mut sealed);
            prop_assert_eq!(sealed.len(), len.div_ceil(FRAME_DATA_MAX) * SEALED_LEN);
            prop_assert_eq!(open_all(&mut one.opener, &mut sealed), data);
        }
    }
}
