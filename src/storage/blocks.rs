//! Blocks as the parts they were decided in, their headers and the commits for them.

use super::keys::{Key, Kind};
use super::kv::Durability;
use super::store::{Heights, KvStore};
use super::values::{Changes, corrupt, missing};
use crate::crypto::Hash;
use crate::ports::StoreError;
use crate::types::{Block, BlockMeta, CandidateBlock, ExtendedCommit, Height, Part};
use bytes::{Bytes, BytesMut};

impl KvStore {
    pub(super) fn load_meta(&self, height: Height) -> Result<Option<BlockMeta>, StoreError> {
        if let Some(meta) = self.cached_meta(height) {
            return Ok(Some(meta));
        }
        self.values.read(&Key::at(Kind::Meta, height), BlockMeta::decode)
    }

    pub(super) fn load_height_of(&self, block_hash: &Hash) -> Result<Option<Height>, StoreError> {
        let key = Key::hash(Kind::BlockHash, block_hash);
        let Some(value) = self.values.get(&key)? else { return Ok(None) };
        super::keys::height_in(&value).map(Some).ok_or_else(|| corrupt(&key, "it is not a height"))
    }

    pub(super) fn load_part(&self, height: Height, index: u32) -> Result<Option<Part>, StoreError> {
        self.values.read(&Key::part(height, index), Part::decode)
    }

    /// A block, put together from its parts. `None` as well when it is pruned while being read.
    pub(super) fn load_block(&self, height: Height) -> Result<Option<Block>, StoreError> {
        if !self.heights().hold(height) {
            return Ok(None);
        }
        match self.read_block(height)? {
            Some(block) => Ok(Some(block)),
            None if self.heights().hold(height) => Err(missing(&Key::at(Kind::Meta, height))),
            None => Ok(None),
        }
    }

    /// A block that is here, even if it is about to be pruned.
    pub(super) fn read_block(&self, height: Height) -> Result<Option<Block>, StoreError> {
        let Some(meta) = self.load_meta(height)? else { return Ok(None) };
        let Some(bytes) = self.assemble(height, meta.block_id.parts.total)? else { return Ok(None) };
        let corrupt = |error: &dyn std::fmt::Display| corrupt(&Key::at(Kind::Meta, height), &error.to_string());
        Block::decode(bytes).map(Some).map_err(|error| corrupt(&error))
    }

    fn assemble(&self, height: Height, parts: u32) -> Result<Option<Bytes>, StoreError> {
        let mut whole = BytesMut::new();
        for index in 0..parts {
            let Some(part) = self.load_part(height, index)? else { return Ok(None) };
            if parts == 1 {
                return Ok(Some(part.bytes)); // no copy
            }
            whole.extend_from_slice(&part.bytes);
        }
        Ok(Some(whole.freeze()))
    }

    /// One durable batch: parts, header, hash, our commit, what evidence it proves, and the commit for the block
    /// before that this one carries.
    pub(super) fn put_block(&self, block: &CandidateBlock, commit: &ExtendedCommit) -> Result<(), StoreError> {
        let (id, header) = (block.id(), &block.block().header);
        let height = header.height;
        assert!(
            commit.height == height && commit.block_id == id && block.parts().is_complete(),
            "a block is saved whole and with the commit that decided it"
        );
        let heights = self.heights();
        if height == heights.tip && self.load_meta(height)?.is_some_and(|meta| meta.block_id == id || mutant!("S97")) {
            return Ok(()); // saved before a crash
        }
        if heights.tip != Height::ZERO && height != heights.tip.next() && !mutant!("S96") {
            return Err(StoreError(format!(
                "block {height} cannot be saved: the store holds {} to {}, so only {} may follow",
                heights.base,
                heights.tip,
                heights.tip.next()
            )));
        }
        let meta = BlockMeta {
            block_id: id,
            block_size: block.parts().byte_size(),
            header: header.clone(),
            num_txs: block.block().txs.len() as u64,
        };
        let batch = block_changes(block, commit, &meta);
        self.write_heights(batch, Durability::Now, &format!("save block {height}"), |heights| match heights.tip {
            Height::ZERO => Heights { base: height, tip: height, headers: height },
            _ => Heights { tip: height, ..heights },
        })?;
        self.cache_meta(&meta);
        Ok(())
    }
}

fn block_changes(block: &CandidateBlock, commit: &ExtendedCommit, meta: &BlockMeta) -> Changes {
    let height = meta.header.height;
    let mut batch = Changes::default();
    batch.put(Key::at(Kind::Meta, height), &meta.encode());
    for part in block.parts().parts() {
        batch.put(Key::part(height, part.index), &part.encode());
    }
    batch.put(Key::hash(Kind::BlockHash, &meta.block_id.hash), &height.get().to_be_bytes());
    if let (Some(before), Some(last_commit)) = (height.previous(), &block.block().last_commit) {
        batch.put(Key::at(Kind::Commit, before), &last_commit.encode());
    }
    batch.put(Key::at(Kind::SeenCommit, height), &commit.to_commit().encode());
    super::evidence::mark_proven(&mut batch, block.block());
    if commit.signatures.iter().any(|entry| entry.extension_signature.is_some()) {
        batch.put(Key::at(Kind::ExtendedCommit, height), &commit.encode());
    }
    batch
}
