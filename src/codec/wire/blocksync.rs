//! tendermint.blocksync.Message: channel 0x40.

use crate::codec::DecodeError;
use crate::codec::protobuf::{Fields, Message, Writer};
use crate::types::{BlocksyncMessage, Commit, ExtendedCommit};

encodings!(BlocksyncMessage);

impl Message for BlocksyncMessage {
    const NAME: &'static str = "blocksync.Message";

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            BlocksyncMessage::BlockRequest(height) => w.nested(1, |w| w.int(1, height.as_i64())),
            BlocksyncMessage::NoBlockResponse(height) => w.nested(2, |w| w.int(1, height.as_i64())),
            BlocksyncMessage::BlockResponse { block, extended_commit } => w.nested(3, |w| {
                w.element(1, block);
                extended_commit.iter().for_each(|commit| w.message(2, commit));
            }),
            BlocksyncMessage::StatusRequest => w.nested(4, |_| ()),
            BlocksyncMessage::StatusResponse { height, base } => w.nested(5, |w| {
                w.int(1, height.as_i64());
                w.int(2, base.as_i64());
            }),
        }
    }

    fn read(m: &Fields<'_>) -> Result<BlocksyncMessage, DecodeError> {
        match m.oneof(1..=5) {
            Some(1) => m.member(1, "block_request", |m| m.number(1, "height")).map(BlocksyncMessage::BlockRequest),
            Some(2) => {
                m.member(2, "no_block_response", |m| m.number(1, "height")).map(BlocksyncMessage::NoBlockResponse)
            }
            Some(3) => m.member(3, "block_response", |m| {
                let extended_commit = m.nested(2, "ext_commit", |m| match m.count(4) {
                    0..=Commit::SIGNATURES_MAX => ExtendedCommit::read(m),
                    more => Err(DecodeError::new(format_args!("has {more} signatures"))),
                })?;
                Ok(BlocksyncMessage::BlockResponse { block: m.bytes(1, "block")?, extended_commit })
            }),
            Some(4) => m.member(4, "status_request", |_| Ok(BlocksyncMessage::StatusRequest)),
            Some(5) => m.member(5, "status_response", |m| {
                let base = m.number(2, "base")?;
                Ok(BlocksyncMessage::StatusResponse { height: m.number(1, "height")?, base })
            }),
            _ => Err(DecodeError::new("is empty or of an unknown kind")),
        }
    }
}
