//! tendermint.mempool.Message: channel 0x30.

use crate::codec::DecodeError;
use crate::codec::protobuf::{Fields, Message, Writer};
use bytes::Bytes;

/// Transactions a peer offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MempoolMessage {
    /// Them.
    pub txs: Vec<Bytes>,
}

encodings!(MempoolMessage);

impl Message for MempoolMessage {
    const NAME: &'static str = "mempool.Message";

    fn write(&self, w: &mut Writer<'_>) {
        w.nested(1, |w| self.txs.iter().for_each(|tx| w.element(1, tx)));
    }

    fn read(m: &Fields<'_>) -> Result<MempoolMessage, DecodeError> {
        match m.oneof(1..=1) {
            Some(_) => Ok(MempoolMessage { txs: m.member(1, "txs", |m| m.repeated_bytes(1, "txs"))? }),
            None => Err(DecodeError::new("is empty or of an unknown kind")),
        }
    }
}
