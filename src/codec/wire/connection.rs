//! What a connection begins with and then carries: the ephemeral key, AuthSigMessage, tendermint.p2p.Packet
//! (reference §5.1, §5.3).

use crate::codec::DecodeError;
use crate::codec::frame::append_length;
use crate::codec::protobuf::{Fields, Message, Writer, varint_len};
use crate::crypto::{PublicKey, Signature};
use bytes::Bytes;

/// The first message of a secret connection: a fresh X25519 public key, in a google.protobuf.BytesValue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EphemeralKey(pub [u8; 32]);

/// The second one: who speaks, with a signature over the challenge both sides computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSig {
    /// The node's key.
    pub key: PublicKey,
    /// Its signature over the challenge.
    pub signature: Signature,
}

/// One packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
    /// A piece of a message.
    Message {
        /// Which channel.
        channel: u8,
        /// The piece.
        data: Bytes,
        /// True for the last piece.
        last: bool,
    },
}

encodings!(Packet, EphemeralKey, AuthSig);

impl Message for EphemeralKey {
    const NAME: &'static str = "BytesValue";

    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(1, &self.0);
    }

    fn read(m: &Fields<'_>) -> Result<EphemeralKey, DecodeError> {
        let key = m.bytes(1, "value")?;
        <[u8; 32]>::try_from(&key[..])
            .map(EphemeralKey)
            .map_err(|_| DecodeError::at("value", format_args!("has {} bytes, an X25519 key has 32", key.len())))
    }
}

impl Message for AuthSig {
    const NAME: &'static str = "AuthSigMessage";

    fn write(&self, w: &mut Writer<'_>) {
        w.message(1, &self.key);
        w.bytes(2, self.signature.as_bytes());
    }

    fn read(m: &Fields<'_>) -> Result<AuthSig, DecodeError> {
        Ok(AuthSig { key: m.required(1, "pub_key")?, signature: m.exact(2, "sig")? })
    }
}

impl Message for Packet {
    const NAME: &'static str = "Packet";

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            Packet::Ping => w.nested(1, |_| ()),
            Packet::Pong => w.nested(2, |_| ()),
            Packet::Message { channel, data, last } => w.nested(3, |w| {
                w.uint(1, (*channel).into());
                w.flag(2, *last);
                w.bytes(3, data);
            }),
        }
    }

    fn read(m: &Fields<'_>) -> Result<Packet, DecodeError> {
        match m.oneof(1..=3) {
            Some(1) => m.member(1, "packet_ping", |_| Ok(Packet::Ping)),
            Some(2) => m.member(2, "packet_pong", |_| Ok(Packet::Pong)),
            Some(3) => m.member(3, "packet_msg", |m| {
                let channel = m.int32(1, "channel_id")?;
                Ok(Packet::Message {
                    channel: u8::try_from(channel)
                        .map_err(|_| DecodeError::at("channel_id", format_args!("is {channel}")))?,
                    last: m.flag(2, "eof")?,
                    data: m.bytes(3, "data")?,
                })
            }),
            _ => Err(DecodeError::new("is empty or of an unknown kind")),
        }
    }
}

/// A piece of a message, where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Which channel.
    pub channel: u8,
    /// The piece.
    pub data: &'a [u8],
    /// True for the last piece.
    pub last: bool,
}

impl<'a> Piece<'a> {
    /// Reads a packet written as everybody writes it, fields ascending and none twice, without a copy. `None` for
    /// everything else, which [`Packet::decode`] judges.
    pub fn of_plain_packet(packet: &'a [u8]) -> Option<Piece<'a>> {
        let body = sized(packet.strip_prefix(&[0x1a])?)?;
        let (channel, body) = match body {
            [0x08, channel @ 0x01..=0x7f, rest @ ..] => (*channel, rest),
            [0x08, ..] => return None,
            // Channel 0x00 is not written.
            body => (0, body),
        };
        let (last, body) = body.strip_prefix(&[0x10, 0x01]).map_or((false, body), |rest| (true, rest));
        let data = if body.is_empty() { body } else { sized(body.strip_prefix(&[0x1a])?)? };
        Some(Piece { channel, data, last })
    }

    /// Appends the packet with its length before it: the same bytes as [`Packet::encode`] delimited.
    pub fn write_delimited(&self, out: &mut Vec<u8>) {
        let some = |is: bool, len: usize| if is { len } else { 0 };
        let data_len = some(!self.data.is_empty(), 1 + varint_len(self.data.len() as u64) + self.data.len());
        let channel_len = some(self.channel != 0, 1 + varint_len(self.channel.into()));
        let body_len = channel_len + some(self.last, 2) + data_len;
        append_length(out, 1 + varint_len(body_len as u64) + body_len);
        out.push(0x1a);
        append_length(out, body_len);
        if self.channel != 0 {
            out.push(0x08);
            append_length(out, self.channel.into());
        }
        if self.last {
            out.extend_from_slice(&[0x10, 0x01]);
        }
        if !self.data.is_empty() {
            out.push(0x1a);
            append_length(out, self.data.len());
            out.extend_from_slice(self.data);
        }
    }
}

/// Bytes a delimited packet takes at most around `payload` bytes of a message: its length and three tags with theirs.
pub fn packet_len_max(payload: usize) -> usize {
    // Channel and end of message take two bytes each; CometBFT's maxPacketMsgSize counts the same.
    let body = 4 + 1 + varint_len(payload as u64) + payload;
    1 + varint_len(body as u64) + body
}

/// What follows a length that counts all of it.
fn sized(bytes: &[u8]) -> Option<&[u8]> {
    let mut len = 0usize;
    // Three bytes hold two million; larger packets are refused before they get here.
    for (at, byte) in bytes.iter().take(3).enumerate() {
        len |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return bytes.get(at + 1..).filter(|rest| rest.len() == len);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::frame;
    use proptest::prelude::*;

    /// The packet with its length, as the general writer writes it.
    fn delimited(packet: &Packet) -> Vec<u8> {
        let body = packet.encode();
        let mut out = Vec::new();
        frame::append(&mut out, &body);
        out
    }

    #[test]
    fn the_largest_packet_is_as_large_as_cometbft_computes_it() {
        for payload in [1, 100, 127, 128, 1024, 16_380, 16_384, 1 << 20] {
            let data = Bytes::from(vec![1; payload]);
            let packet = Packet::Message { channel: 1, data, last: true }.encode();
            assert_eq!(packet.len(), packet_len_max(payload), "{payload}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn a_piece_is_written_and_read_as_the_general_codec_does_512_cases(
            channel: u8, last: bool, data in prop::collection::vec(any::<u8>(), 0..2000),
        ) {
            let packet = Packet::Message { channel, data: data.clone().into(), last };
            let mut out = Vec::new();
            Piece { channel, data: &data, last }.write_delimited(&mut out);
            prop_assert_eq!(&out, &delimited(&packet));
            let body = packet.encode();
            let read = Piece::of_plain_packet(&body);
            prop_assert_eq!(read, (channel < 0x80).then_some(Piece { channel, data: &data, last }));
        }

        #[test]
        fn what_the_short_way_reads_the_long_way_reads_alike_512_cases(
            bytes in prop::collection::vec(prop_oneof![Just(0x1a), Just(8), Just(0x10), 0u8..6, any::<u8>()], 0..12),
        ) {
            if let Some(Piece { channel, data, last }) = Piece::of_plain_packet(&bytes) {
                let data = Bytes::copy_from_slice(data);
                prop_assert_eq!(Packet::decode(bytes.clone().into()), Ok(Packet::Message { channel, data, last }));
            }
        }
    }
}
