//! Answering peers that fetch old blocks (channel 0x40, reference §7.4). Runs in the peer's own task: it reads the store
//! and nothing else, so that nobody's hunger for blocks holds up the replica.

use crate::ports::{Store, StoreError};
use crate::types::{BlocksyncMessage, ExtendedCommit, Height};
use bytes::{Bytes, BytesMut};

/// What to say to `message`; none when it asks nothing.
///
/// # Errors
/// When the store cannot be read: then nothing is said.
pub fn answer(store: &dyn Store, message: &BlocksyncMessage) -> Result<Option<BlocksyncMessage>, StoreError> {
    match message {
        BlocksyncMessage::StatusRequest => Ok(Some(status(store))),
        BlocksyncMessage::BlockRequest(height) => {
            let found = find(store, *height)?;
            Ok(Some(match found {
                Some((block, extended_commit)) => BlocksyncMessage::BlockResponse { block, extended_commit },
                None => BlocksyncMessage::NoBlockResponse(*height),
            }))
        }
        BlocksyncMessage::NoBlockResponse(_)
        | BlocksyncMessage::BlockResponse { .. }
        | BlocksyncMessage::StatusResponse { .. } => Ok(None),
    }
}

/// Which blocks this node has. Also said to every new peer unasked, as CometBFT does.
pub fn status(store: &dyn Store) -> BlocksyncMessage {
    // The base first: both only grow, and a base read after a prune must not lie above a tip read before.
    let base = store.base();
    BlocksyncMessage::StatusResponse { base, height: store.tip().max(base) }
}

/// A block as it was saved, with its extended commit where extensions are enabled.
fn find(store: &dyn Store, height: Height) -> Result<Option<(Bytes, Option<ExtendedCommit>)>, StoreError> {
    if height < store.base() || height > store.tip() {
        return Ok(None);
    }
    let Some(block) = stored_bytes(store, height)? else { return Ok(None) };
    let enabled = store.params(height)?.is_some_and(|params| params.abci.extensions_enabled(height));
    let extended_commit = if enabled { store.extended_commit(height)? } else { None };
    // Without the extended commit it needs, the block is of no use to the peer, which would take us for a liar.
    Ok((enabled == extended_commit.is_some() || mutant!("N107")).then_some((block, extended_commit)))
}

/// The bytes its parts were cut from, never a second encoding. `None` when the block was pruned meanwhile.
fn stored_bytes(store: &dyn Store, height: Height) -> Result<Option<Bytes>, StoreError> {
    let Some(meta) = store.block_meta(height)? else { return Ok(None) };
    if meta.block_id.parts.total == 1 {
        return Ok(store.part(height, 0)?.map(|part| part.bytes));
    }
    let mut block = BytesMut::new();
    for index in 0..meta.block_id.parts.total {
        let Some(part) = store.part(height, index)? else { return Ok(None) };
        block.extend_from_slice(&part.bytes);
    }
    Ok(Some(block.freeze()))
}

#[cfg(test)]
mod tests;
