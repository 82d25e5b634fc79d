//! tendermint.p2p.Packet: what one multiplexed connection carries (reference §5.3).

use crate::codec::DecodeError;
use crate::codec::protobuf::{Fields, Message, Writer};
use bytes::Bytes;

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

encodings!(Packet);

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
