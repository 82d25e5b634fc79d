//! The secret connection, byte for byte as CometBFT's `p2p/conn/secret_connection.go` (reference §5.1): a station to
//! station protocol over fresh X25519 keys, then frames of 1024 bytes.
//!
//! No input or output here: [`Hello`] is told the other side's key and gives [`Agreed`], whose [`Sealer`] and
//! [`Opener`] turn bytes into frames and back. `wire.rs` puts them on a socket.

use super::aead::{FrameKey, KEY_LEN, TAG_LEN};
use crate::codec::wire::connection::{AuthSig, EphemeralKey};
use crate::crypto::{PrivateKey, PublicKey};
use hkdf::Hkdf;
use sha2::Sha256;
use std::fmt;
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};
use zeroize::Zeroizing;

/// Bytes of data in one frame at most.
pub const FRAME_DATA_MAX: usize = 1024;
/// Bytes of the length before the data.
const FRAME_HEAD_LEN: usize = 4;
/// Bytes of a frame before it is sealed; short data is filled up with zeros.
const FRAME_LEN: usize = FRAME_HEAD_LEN + FRAME_DATA_MAX;
/// Bytes of a frame on the wire.
pub const SEALED_LEN: usize = FRAME_LEN + TAG_LEN;

const TRANSCRIPT: &[u8] = b"TENDERMINT_SECRET_CONNECTION_TRANSCRIPT_HASH";
const KEY_DERIVATION: &[u8] = b"TENDERMINT_SECRET_CONNECTION_KEY_AND_CHALLENGE_GEN";

/// What the other side did that ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// With such a key everybody knows the shared secret.
    #[error("it sent an ephemeral key of low order, which makes the shared secret known to everybody")]
    LowOrderKey,
    /// Somebody stands between, or it does not have the key it shows.
    #[error("its signature does not prove that it holds the key it shows")]
    NotProved,
    /// A frame does not carry the right tag.
    #[error("it sent a frame whose tag is wrong: changed on the way, repeated, left out or not sealed with our key")]
    Forged,
    /// More data than a frame has.
    #[error("it sent a frame that claims {0} bytes of data, at most 1024 fit")]
    FrameLength(u32),
}

/// Before anything was heard: our fresh key.
pub struct Hello {
    secret: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

/// After both fresh keys are known: frames can be sealed; who the other side is remains to be proved.
#[derive(Debug)]
pub struct Agreed {
    /// For frames we send.
    pub sealer: Sealer,
    /// For frames we get.
    pub opener: Opener,
    /// For proving who is who.
    pub challenge: Challenge,
}

/// What both sides sign: it depends on both fresh keys and the shared secret, so nobody in between can pass a
/// signature on.
pub struct Challenge([u8; 32]);

/// Turns bytes into sealed frames.
#[derive(Debug)]
pub struct Sealer(FrameKey);

/// Turns sealed frames into bytes.
#[derive(Debug)]
pub struct Opener(FrameKey);

/// Which of the two fresh keys is ours: it says who sends with which secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OurKey {
    Lower,
    Upper,
}

/// What both sides compute from the shared secret.
struct Secrets {
    receive: Zeroizing<[u8; KEY_LEN]>,
    send: Zeroizing<[u8; KEY_LEN]>,
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hello({}, secret not shown)", hex::encode(self.public))
    }
}

impl fmt::Debug for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Challenge(not shown)")
    }
}

impl Hello {
    /// `secret` must be fresh random bytes, used for this connection only.
    pub fn new(secret: Zeroizing<[u8; 32]>) -> Hello {
        let public = x25519(*secret, X25519_BASEPOINT_BYTES);
        Hello { secret, public }
    }

    /// What is sent first.
    pub fn message(&self) -> EphemeralKey {
        EphemeralKey(self.public)
    }

    /// Takes the other side's key.
    pub fn agree(self, EphemeralKey(theirs): EphemeralKey) -> Result<Agreed, SecretError> {
        let shared = Zeroizing::new(x25519(*self.secret, theirs));
        // RFC 7748 §6.1: a point of low order gives zero whatever our secret is. Go's X25519 refuses likewise.
        if shared.iter().fold(0, |any, byte| any | byte) == 0 && !mutant!("N9") {
            return Err(SecretError::LowOrderKey);
        }
        let our_key = if (self.public < theirs) != mutant!("N34") { OurKey::Lower } else { OurKey::Upper };
        let (lower, upper) = match our_key {
            OurKey::Lower => (&self.public, &theirs),
            OurKey::Upper => (&theirs, &self.public),
        };
        let mut transcript = merlin::Transcript::new(TRANSCRIPT);
        transcript.append_message(b"EPHEMERAL_LOWER_PUBLIC_KEY", lower);
        transcript.append_message(b"EPHEMERAL_UPPER_PUBLIC_KEY", upper);
        transcript.append_message(b"DH_SECRET", &shared[..]);
        let mut challenge = [0; 32];
        transcript.challenge_bytes(b"SECRET_CONNECTION_MAC", &mut challenge);
        let secrets = Secrets::derive(&shared, our_key);
        Ok(Agreed {
            sealer: Sealer(FrameKey::new(&secrets.send)),
            opener: Opener(FrameKey::new(&secrets.receive)),
            challenge: Challenge(challenge),
        })
    }
}

impl Secrets {
    fn derive(shared: &[u8; 32], our_key: OurKey) -> Secrets {
        // 32 more bytes follow in CometBFT, once a challenge and unused today; a shorter output is a prefix of a longer.
        let mut keys = Zeroizing::new([0; 2 * KEY_LEN]);
        let derived = Hkdf::<Sha256>::new(None, shared).expand(KEY_DERIVATION, &mut keys[..]);
        derived.expect("64 bytes are fewer than HKDF's 8160");
        let (mut lower, mut upper) = (Zeroizing::new([0; KEY_LEN]), Zeroizing::new([0; KEY_LEN]));
        lower.copy_from_slice(&keys[..KEY_LEN]);
        upper.copy_from_slice(&keys[KEY_LEN..]);
        match our_key {
            OurKey::Lower => Secrets { receive: lower, send: upper },
            OurKey::Upper => Secrets { receive: upper, send: lower },
        }
    }
}

impl Challenge {
    /// Our proof, the first thing sent in frames.
    pub fn prove(&self, key: &PrivateKey) -> AuthSig {
        AuthSig { key: key.public_key(), signature: key.prove(&self.0) }
    }

    /// Checks the other side's proof and gives its key. Without it somebody in between could read along.
    pub fn check(&self, proof: &AuthSig) -> Result<PublicKey, SecretError> {
        // Under a weak key one signature fits every challenge: it would prove nothing.
        let proved = (!proof.key.is_weak() || mutant!("N35"))
            && (proof.key.verifies(&self.0, &proof.signature) || mutant!("N36"));
        if proved { Ok(proof.key) } else { Err(SecretError::NotProved) }
    }
}

impl Sealer {
    /// Appends `data` to `out` in as few frames as it takes.
    pub fn seal(&mut self, data: &[u8], out: &mut Vec<u8>) {
        out.reserve(data.len().div_ceil(FRAME_DATA_MAX) * SEALED_LEN);
        for chunk in data.chunks(FRAME_DATA_MAX) {
            let start = out.len();
            out.extend_from_slice(&(chunk.len() as u32).to_le_bytes());
            out.extend_from_slice(chunk);
            out.resize(start + FRAME_LEN, 0);
            let tag = self.0.seal(&mut out[start..]);
            out.extend_from_slice(&tag);
        }
    }
}

impl Opener {
    /// Opens one frame in place and gives its data, which may be none. After an error nothing can be read any more.
    pub fn open<'a>(&mut self, sealed: &'a mut [u8; SEALED_LEN]) -> Result<&'a [u8], SecretError> {
        let frame = self.0.open(sealed).map_err(|_| SecretError::Forged)?;
        let (head, data) = frame.split_first_chunk::<FRAME_HEAD_LEN>().expect("an opened frame has 1028 bytes");
        let len = u32::from_le_bytes(*head);
        data.get(..len as usize).ok_or(SecretError::FrameLength(len))
    }
}

#[cfg(test)]
mod tests;
