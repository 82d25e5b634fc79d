//! Constants of RFC 6962 and the ZIP-215 matrix: what every node must decide alike about signatures.

use crate::crypto::{BatchVerifier, PrivateKey, PublicKey, Signature, merkle};
use curve25519_dalek::constants::EIGHT_TORSION;
use std::collections::BTreeSet;

/// The leaves of Certificate Transparency's reference tree.
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
/// Its root after each leaf.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn the_8_roots_of_the_certificate_transparency_tree_come_out() {
    let leaves: Vec<Vec<u8>> = LEAVES.iter().map(|leaf| hex::decode(leaf).expect("hex")).collect();
    for (n, root) in ROOTS.iter().enumerate() {
        assert_eq!(hex::encode(merkle::root(&leaves[..=n])), *root, "{} leaves", n + 1);
    }
    let leaf = hex::encode(merkle::leaf_hash(b"L123456"));
    assert_eq!(leaf, "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56");
}

/// All encodings of points of small order: y or y + p where that fits 255 bits, with either sign bit. 8 canonical ones
/// and 6 others.
fn small_order_encodings() -> BTreeSet<[u8; 32]> {
    let mut all = BTreeSet::new();
    for point in EIGHT_TORSION {
        let mut y = point.compress().to_bytes();
        y[31] &= 0x7f;
        for y in [Some(y), plus_p(y)].into_iter().flatten() {
            let mut negative = y;
            negative[31] |= 0x80;
            all.extend([y, negative]);
        }
    }
    all
}

/// y + 2^255 − 19, if it fits 255 bits: only for y below 19.
fn plus_p(y: [u8; 32]) -> Option<[u8; 32]> {
    if y[0] >= 19 || y[1..].iter().any(|byte| *byte != 0) {
        return None;
    }
    let mut sum = [0xff; 32];
    sum[0] = 0xed + y[0];
    sum[31] = 0x7f;
    Some(sum)
}

#[test]
fn all_196_signatures_of_small_order_with_s_zero_are_valid() {
    let encodings = small_order_encodings();
    assert_eq!(encodings.len(), 14);
    let mut accepted = 0;
    let mut batch = BatchVerifier::new();
    for key in &encodings {
        for r in &encodings {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(r);
            let (key, signature) = (PublicKey::new(*key), Signature::new(signature));
            accepted += usize::from(key.verifies(b"Zcash", &signature));
            batch.push(key, b"Zcash".to_vec(), signature);
        }
    }
    assert_eq!(accepted, 196);
    assert_eq!(batch.first_bad(), None, "a batch decides as one by one does");
}

#[test]
fn wrong_signatures_of_real_keys_are_refused_alone_and_in_a_batch() {
    let key = PrivateKey::from_seed(&[7; 32]);
    let good = key.sign(b"message");
    assert!(key.public_key().verifies(b"message", &good));
    assert!(!key.public_key().verifies(b"massage", &good));
    for small in small_order_encodings() {
        let mut zero = [0; 64];
        zero[..32].copy_from_slice(&small);
        assert!(!key.public_key().verifies(b"message", &Signature::new(zero)));
    }
    for bit in (0..512).step_by(7) {
        let mut bent = *good.as_bytes();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(!key.public_key().verifies(b"message", &Signature::new(bent)), "bit {bit}");
    }
    let mut batch = BatchVerifier::new();
    for i in 0..100u8 {
        let message = if i == 61 { b"massage".to_vec() } else { b"message".to_vec() };
        batch.push(key.public_key(), message, good);
    }
    assert_eq!(batch.first_bad(), Some(61));
}

/// The group order l, little-endian: s must be below it (RFC 8032; ZIP-215 keeps that rule).
const GROUP_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn a_signature_with_s_not_reduced_is_refused() {
    let key = PrivateKey::from_seed(&[9; 32]);
    let mut bytes = *key.sign(b"message").as_bytes();
    let mut carry = 0u16;
    for (byte, order) in bytes[32..].iter_mut().zip(GROUP_ORDER) {
        carry += u16::from(*byte) + u16::from(order);
        *byte = carry as u8;
        carry >>= 8;
    }
    assert!(!key.public_key().verifies(b"message", &Signature::new(bytes)));
}
