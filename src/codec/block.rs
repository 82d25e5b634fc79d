//! Headers, blocks, and candidate blocks with their name and parts.

use super::DecodeError;
use super::protobuf::{Fields, Message, Writer};
use crate::types::{Block, BlockId, BlockMeta, CandidateBlock, Commit, Evidence, Header, PartSet, Tx, Version};
use bytes::Bytes;

impl Message for Version {
    const NAME: &'static str = "Consensus";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, self.block);
        w.uint(2, self.app);
    }

    fn read(m: &Fields<'_>) -> Result<Version, DecodeError> {
        Ok(Version { block: m.uint(1, "block")?, app: m.uint(2, "app")? })
    }
}

impl Message for Header {
    const NAME: &'static str = "Header";

    fn write(&self, w: &mut Writer<'_>) {
        w.message(1, &self.version);
        w.bytes(2, self.chain_id.as_str().as_bytes());
        w.int(3, self.height.as_i64());
        w.message(4, &self.time);
        w.block_id_or_nil(5, self.last_block_id.as_ref());
        w.bytes(6, self.last_commit_hash.as_ref());
        w.bytes(7, self.data_hash.as_ref());
        w.bytes(8, self.validators_hash.as_ref());
        w.bytes(9, self.next_validators_hash.as_ref());
        w.bytes(10, self.consensus_hash.as_ref());
        w.bytes(11, &self.app_hash);
        w.bytes(12, self.last_results_hash.as_ref());
        w.bytes(13, self.evidence_hash.as_ref());
        w.bytes(14, self.proposer_address.as_ref());
    }

    fn read(m: &Fields<'_>) -> Result<Header, DecodeError> {
        Ok(Header {
            version: m.present(1, "version", Version::read)?,
            chain_id: m.chain_id(2, "chain_id")?,
            height: m.number(3, "height")?,
            time: m.time(4, "time")?,
            last_block_id: m.block_id_or_nil(5, "last_block_id")?,
            last_commit_hash: m.exact(6, "last_commit_hash")?,
            data_hash: m.exact(7, "data_hash")?,
            validators_hash: m.exact(8, "validators_hash")?,
            next_validators_hash: m.exact(9, "next_validators_hash")?,
            consensus_hash: m.exact(10, "consensus_hash")?,
            app_hash: m.bytes(11, "app_hash")?,
            last_results_hash: m.exact(12, "last_results_hash")?,
            evidence_hash: m.exact(13, "evidence_hash")?,
            proposer_address: m.exact(14, "proposer_address")?,
        })
    }
}

impl Message for Block {
    const NAME: &'static str = "Block";

    fn write(&self, w: &mut Writer<'_>) {
        w.message(1, &self.header);
        w.nested(2, |w| self.txs.iter().for_each(|tx| w.element(1, tx.bytes())));
        w.nested(3, |w| self.evidence.iter().for_each(|evidence| w.message(1, evidence)));
        match &self.last_commit {
            Some(commit) => w.message(4, commit),
            // The first block carries a commit without a height, a block or signatures (reference §4.4).
            None if mutant!("C16") => {}
            None => w.nested(4, |w| w.block_id_or_nil(3, None)),
        }
    }

    fn read(m: &Fields<'_>) -> Result<Block, DecodeError> {
        let txs = |m: &Fields<'_>| Ok(m.repeated_bytes(1, "txs")?.into_iter().map(Tx::new).collect());
        Ok(Block {
            header: m.required(1, "header")?,
            txs: m.present(2, "data", txs)?,
            evidence: m.present(3, "evidence", |m| m.repeated(1, "evidence", Evidence::read))?,
            last_commit: m
                .nested(4, "last_commit", read_last_commit)?
                .ok_or_else(|| DecodeError::at("last_commit", "is missing"))?,
        })
    }
}

/// The commit for the block before; none in the first block, whose commit has no height and no signatures.
fn read_last_commit(m: &Fields<'_>) -> Result<Option<Commit>, DecodeError> {
    if m.int(1, "height")? == 0 && !m.has(4) {
        return Ok(None);
    }
    Commit::read(m).map(Some)
}

impl Message for BlockMeta {
    const NAME: &'static str = "BlockMeta";

    fn write(&self, w: &mut Writer<'_>) {
        w.message(1, &self.block_id);
        w.uint(2, self.block_size);
        w.message(3, &self.header);
        w.uint(4, self.num_txs);
    }

    fn read(m: &Fields<'_>) -> Result<BlockMeta, DecodeError> {
        Ok(BlockMeta {
            block_id: m.block_id(1, "block_id")?,
            block_size: m.number(2, "block_size")?,
            header: m.required(3, "header")?,
            num_txs: m.number(4, "num_txs")?,
        })
    }
}

impl CandidateBlock {
    /// Encodes, cuts and names a block this node built.
    ///
    /// # Panics
    /// When the encoded block is larger than [`PartSet::BLOCK_BYTES_MAX`]: builders keep to the block's limit.
    pub fn new(block: Block) -> CandidateBlock {
        let parts = PartSet::cut(&block.encode());
        CandidateBlock { id: BlockId { hash: block.header.hash(), parts: parts.header() }, block, parts }
    }

    /// Reads a block from its gathered parts. Its name is made of the header's hash and the parts as received, never
    /// of a second encoding.
    pub fn from_parts(parts: PartSet) -> Result<CandidateBlock, DecodeError> {
        let encoded: Bytes = parts.assemble().ok_or_else(|| {
            let (have, total) = (parts.count(), parts.header().total);
            DecodeError::new(format_args!("only {have} of {total} parts of the block are here"))
        })?;
        let block = Block::decode(encoded)?;
        Ok(CandidateBlock { id: BlockId { hash: block.header.hash(), parts: parts.header() }, block, parts })
    }

    /// Reads a whole encoded block, as block sync gets it, and cuts the received bytes into parts. Block and parts share
    /// them.
    ///
    /// # Panics
    /// As [`PartSet::cut`]: the caller checks the size first.
    pub fn from_encoded(encoded: &Bytes) -> Result<CandidateBlock, DecodeError> {
        let block = Block::decode(encoded.clone())?;
        let parts = PartSet::cut(encoded);
        Ok(CandidateBlock { id: BlockId { hash: block.header.hash(), parts: parts.header() }, block, parts })
    }
}

/// What a block has many of, counted without reading it: a list in memory can be fifty times as large as on the wire,
/// so whoever reads a stranger's block looks here first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockEntries {
    /// Transactions.
    pub txs: usize,
    /// Signatures in the last commit.
    pub signatures: usize,
}

impl BlockEntries {
    /// Counts.
    pub fn count(encoded: &Bytes) -> Result<BlockEntries, DecodeError> {
        let counted = Fields::parse(encoded).and_then(|m| {
            let txs = m.nested(2, "data", |m| Ok(m.count(1)))?.unwrap_or(0);
            let signatures = m.nested(4, "last_commit", |m| Ok(m.count(4)))?.unwrap_or(0);
            Ok(BlockEntries { txs, signatures })
        });
        counted.map_err(|error| error.within(Block::NAME))
    }
}
