//! tendermint.statesync.Message: channels 0x60 and 0x61.

use crate::codec::DecodeError;
use crate::codec::protobuf::{Fields, Message, Writer};
use crate::types::abci::Snapshot;
use bytes::Bytes;

/// What nodes say to fetch a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatesyncMessage {
    /// Which snapshots do you have?
    SnapshotsRequest,
    /// This one.
    SnapshotsResponse(Snapshot),
    /// Give me this chunk.
    ChunkRequest(ChunkId),
    /// The chunk; none when the sender does not have it.
    ChunkResponse(ChunkId, Option<Bytes>),
}

/// Names a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkId {
    /// Snapshot height.
    pub height: u64,
    /// Snapshot format.
    pub format: u32,
    /// Chunk number.
    pub index: u32,
}

encodings!(StatesyncMessage);

impl Message for ChunkId {
    const NAME: &'static str = "ChunkRequest";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, self.height);
        w.uint(2, self.format.into());
        w.uint(3, self.index.into());
    }

    fn read(m: &Fields<'_>) -> Result<ChunkId, DecodeError> {
        let (height, format) = (m.uint(1, "height")?, m.uint32(2, "format")?);
        Ok(ChunkId { height, format, index: m.uint32(3, "index")? })
    }
}

impl Message for StatesyncMessage {
    const NAME: &'static str = "statesync.Message";

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            StatesyncMessage::SnapshotsRequest => w.nested(1, |_| ()),
            StatesyncMessage::SnapshotsResponse(snapshot) => w.message(2, snapshot),
            StatesyncMessage::ChunkRequest(id) => w.message(3, id),
            StatesyncMessage::ChunkResponse(id, chunk) => w.nested(4, |w| {
                id.write(w);
                w.bytes(4, chunk.as_deref().unwrap_or_default());
                w.flag(5, chunk.is_none());
            }),
        }
    }

    fn read(m: &Fields<'_>) -> Result<StatesyncMessage, DecodeError> {
        match m.oneof(1..=4) {
            Some(1) => m.member(1, "snapshots_request", |_| Ok(StatesyncMessage::SnapshotsRequest)),
            Some(2) => m.member(2, "snapshots_response", Snapshot::read).map(StatesyncMessage::SnapshotsResponse),
            Some(3) => m.member(3, "chunk_request", ChunkId::read).map(StatesyncMessage::ChunkRequest),
            Some(4) => m.member(4, "chunk_response", |m| {
                let chunk = m.bytes(4, "chunk")?;
                let missing = m.flag(5, "missing")?;
                Ok(StatesyncMessage::ChunkResponse(ChunkId::read(m)?, (!missing).then_some(chunk)))
            }),
            _ => Err(DecodeError::new("is empty or of an unknown kind")),
        }
    }
}
