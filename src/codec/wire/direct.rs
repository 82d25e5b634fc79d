//! What replicas of Raft and PBFT say to each other directly: channels 0x70, 0x71, 0x74 and 0x75
//! (`docs/formats/direct.md`).
//!
//! Unlike CometBFT's messages, each has exactly one encoding: what came is compared with what we would have written. So a
//! signature over a statement, which covers its encoding, covers the very bytes that came.

use crate::codec::DecodeError;
use crate::codec::journal::{read_part, write_part};
use crate::codec::protobuf::{Fields, Message, Writer, decode, encode};
use crate::codec::statement::{Entries, read_commit, read_statement};
use crate::types::DirectMessage;
use bytes::Bytes;

impl DirectMessage {
    /// The message as peers expect it.
    pub fn encode(&self) -> Bytes {
        encode(self)
    }

    /// Reads a message; byte fields share the buffer. Anything but the one encoding of a message is refused.
    pub fn decode(bytes: Bytes) -> Result<DirectMessage, DecodeError> {
        let message = decode::<DirectMessage>(&bytes)?;
        if encode(&message) != bytes {
            return Err(DecodeError::new("is not in its one encoding").within(DirectMessage::NAME));
        }
        Ok(message)
    }
}

impl Message for DirectMessage {
    const NAME: &'static str = "DirectMessage";

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            DirectMessage::Statement(statement) => w.message(1, statement),
            DirectMessage::Proposal { by, proposal } => w.nested(2, |w| {
                w.bytes(1, by.as_bytes());
                w.message(2, proposal);
            }),
            DirectMessage::Part { height, round, part } => w.nested(3, |w| write_part(w, *height, *round, part)),
            DirectMessage::Vote(vote) => w.message(4, vote),
            DirectMessage::Commit(commit) => w.message(5, commit),
        }
    }

    fn read(m: &Fields<'_>) -> Result<DirectMessage, DecodeError> {
        let entries = Entries::allowed();
        match m.oneof(1..=5) {
            Some(1) => m.member(1, "statement", |m| read_statement(m, &entries)).map(DirectMessage::Statement),
            Some(2) => m.member(2, "proposal", |m| {
                Ok(DirectMessage::Proposal { by: m.exact(1, "by")?, proposal: m.required(2, "proposal")? })
            }),
            Some(3) => {
                let part = m.member(3, "part", read_part);
                part.map(|(height, round, part)| DirectMessage::Part { height, round, part })
            }
            Some(4) => m.member(4, "vote", Message::read).map(DirectMessage::Vote),
            Some(5) => m.member(5, "commit", |m| read_commit(m, &entries)).map(DirectMessage::Commit),
            _ => Err(DecodeError::new("is empty or of an unknown kind")),
        }
    }
}
