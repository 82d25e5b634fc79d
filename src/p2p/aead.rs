//! ChaCha20-Poly1305 as the secret connection uses it (RFC 8439, reference §5.1): no associated data, and a nonce that
//! is four zero bytes and a little-endian counter, one for each frame and direction.

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Bytes in a key.
pub(super) const KEY_LEN: usize = 32;
/// Bytes the tag adds.
pub(super) const TAG_LEN: usize = 16;

/// The frame was changed on the way, repeated, left out, or sealed with another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Forged;

/// One direction's key and its counter. Using it moves the counter, so no nonce is used twice.
pub(super) struct FrameKey {
    key: LessSafeKey,
    next: u64,
}

impl std::fmt::Debug for FrameKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrameKey(frame {})", self.next)
    }
}

impl FrameKey {
    /// Takes the key; the first frame has number 0.
    pub(super) fn new(key: &Zeroizing<[u8; KEY_LEN]>) -> FrameKey {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key[..]).expect("the key has the cipher's 32 bytes");
        FrameKey { key: LessSafeKey::new(key), next: 0 }
    }

    /// Encrypts in place and gives the tag.
    pub(super) fn seal(&mut self, frame: &mut [u8]) -> [u8; TAG_LEN] {
        let nonce = self.nonce();
        let tag = self.key.seal_in_place_separate_tag(nonce, Aad::empty(), frame);
        let tag = tag.expect("a frame is far below the cipher's 256 GB");
        tag.as_ref().try_into().expect("Poly1305 tags have 16 bytes")
    }

    /// Decrypts in place what `seal` made, the tag at its end; gives the plain bytes. After an error the connection is
    /// out of step and must be closed.
    pub(super) fn open<'a>(&mut self, sealed: &'a mut [u8]) -> Result<&'a mut [u8], Forged> {
        let nonce = self.nonce();
        self.key.open_in_place(nonce, Aad::empty(), sealed).map_err(|_| Forged)
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[4..].copy_from_slice(&self.next.to_le_bytes());
        // At a million frames a second this is reached after 584 thousand years.
        self.next =
            self.next.checked_add(u64::from(!mutant!("N5"))).expect("fewer than 2^64 frames pass over a connection");
        Nonce::assume_unique_for_key(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20poly1305::{KeyInit, aead::AeadInOut};
    use rand::{RngExt, SeedableRng};

    /// Frames sealed by both implementations.
    const FRAMES: u64 = 300;

    #[test]
    fn frames_are_sealed_as_another_implementation_seals_them_300_of_them() {
        let mut random = rand::rngs::StdRng::seed_from_u64(1);
        let key = Zeroizing::new(random.random::<[u8; KEY_LEN]>());
        let (mut ours, mut back) = (FrameKey::new(&key), FrameKey::new(&key));
        let theirs = chacha20poly1305::ChaCha20Poly1305::new(&(*key).into());
        for number in 0..FRAMES {
            let plain: Vec<u8> = (0..random.random_range(0..1100)).map(|_| random.random()).collect();
            let mut sealed = plain.clone();
            let tag = ours.seal(&mut sealed);
            sealed.extend_from_slice(&tag);
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&number.to_le_bytes());
            let mut expected = plain.clone();
            theirs.encrypt_in_place(&nonce.into(), b"", &mut expected).expect("short");
            assert_eq!(sealed, expected, "frame {number}");
            assert_eq!(back.open(&mut sealed), Ok(&mut plain.clone()[..]));
        }
    }

    #[test]
    fn a_frame_changed_repeated_or_left_out_is_forged() {
        let key = Zeroizing::new([7; KEY_LEN]);
        let sealed: Vec<Vec<u8>> = {
            let mut key = FrameKey::new(&key);
            let seal = |byte: u8| {
                let mut frame = vec![byte; 40];
                let tag = key.seal(&mut frame);
                frame.extend_from_slice(&tag);
                frame
            };
            (0..3).map(seal).collect()
        };
        let open = |order: &[usize]| {
            let mut key = FrameKey::new(&key);
            order.iter().map(|which| key.open(&mut sealed[*which].clone()).is_ok()).collect::<Vec<_>>()
        };
        assert_eq!(open(&[0, 1, 2]), [true, true, true]);
        assert_eq!(open(&[0, 0]), [true, false], "repeated");
        assert_eq!(open(&[0, 2]), [true, false], "one left out");
        assert_eq!(open(&[1]), [false], "the first left out");
        for at in 0..sealed[0].len() {
            let mut changed = sealed[0].clone();
            changed[at] ^= 1;
            assert_eq!(FrameKey::new(&key).open(&mut changed), Err(Forged), "byte {at}");
        }
        for len in 0..sealed[0].len() {
            assert_eq!(FrameKey::new(&key).open(&mut sealed[0].clone()[..len]), Err(Forged), "cut to {len}");
        }
    }
}
