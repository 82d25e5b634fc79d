//! Times, durations, block ids, parts and their proofs.

use super::DecodeError;
use super::protobuf::{Fields, Message, Writer, encode};
use crate::crypto::Hash;
use crate::crypto::merkle::{AUNTS_MAX, Proof};
use crate::types::{BlockId, ChainId, Part, PartSetHeader, Round, Time};
use std::time::Duration;

impl Message for Time {
    const NAME: &'static str = "Timestamp";

    fn write(&self, w: &mut Writer<'_>) {
        w.int(1, self.seconds());
        w.uint(2, u64::from(self.nanos()));
    }

    fn read(m: &Fields<'_>) -> Result<Time, DecodeError> {
        let nanos = u32::try_from(m.int32(2, "nanos")?).map_err(|_| DecodeError::at("nanos", "is negative"))?;
        Time::new(m.int(1, "seconds")?, nanos).map_err(DecodeError::new)
    }
}

impl Message for Duration {
    const NAME: &'static str = "Duration";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, self.as_secs());
        w.uint(2, u64::from(self.subsec_nanos()));
    }

    fn read(m: &Fields<'_>) -> Result<Duration, DecodeError> {
        let (seconds, nanos) = (m.int(1, "seconds")?, m.int32(2, "nanos")?);
        match (u64::try_from(seconds), u32::try_from(nanos)) {
            // Go keeps durations as 64-bit nanoseconds, about 292 years.
            (Ok(seconds), Ok(nanos))
                if (nanos < 1_000_000_000 || mutant!("C12")) && seconds < i64::MAX as u64 / 1_000_000_000 =>
            {
                Ok(Duration::new(seconds, nanos))
            }
            _ => Err(DecodeError::new(format_args!("{seconds} s and {nanos} ns is not a duration of 0 to 292 years"))),
        }
    }
}

impl Fields<'_> {
    /// A timestamp; a missing one is Go's zero time (reference §4.1).
    pub(super) fn time(&self, field: u32, name: &'static str) -> Result<Time, DecodeError> {
        Ok(self.optional(field, name)?.unwrap_or(Time::ZERO))
    }

    /// A round.
    pub(super) fn round(&self, field: u32, name: &'static str) -> Result<Round, DecodeError> {
        Round::try_from(self.int32(field, name)?).map_err(|why| DecodeError::at(name, why))
    }

    /// A round that may be −1 for none.
    pub(super) fn round_or_none(&self, field: u32, name: &'static str) -> Result<Option<Round>, DecodeError> {
        if self.int32(field, name)? == -i32::from(!mutant!("C11")) {
            Ok(None)
        } else {
            self.round(field, name).map(Some)
        }
    }

    /// The name of a chain.
    pub(super) fn chain_id(&self, field: u32, name: &'static str) -> Result<ChainId, DecodeError> {
        let text = std::str::from_utf8(self.slice(field, name)?).map_err(|_| DecodeError::at(name, "is not UTF-8"))?;
        ChainId::try_from(text).map_err(|why| DecodeError::at(name, why))
    }

    /// A block id that must name a block.
    pub(super) fn block_id(&self, field: u32, name: &'static str) -> Result<BlockId, DecodeError> {
        self.block_id_or_nil(field, name)?.ok_or_else(|| DecodeError::at(name, "is nil, must name a block"))
    }

    /// A block id, or none for nil: a message whose fields are all empty. Nothing in between is legal.
    pub(super) fn block_id_or_nil(&self, field: u32, name: &'static str) -> Result<Option<BlockId>, DecodeError> {
        Ok(self.nested(field, name, read_block_id_or_nil)?.flatten())
    }
}

fn read_block_id_or_nil(m: &Fields<'_>) -> Result<Option<BlockId>, DecodeError> {
    let is_zero = |m: &Fields<'_>| Ok(m.uint32(1, "total")? == 0 && m.slice(2, "hash")?.is_empty());
    let no_parts = m.nested(2, "part_set_header", is_zero)?.unwrap_or(true);
    if no_parts && m.slice(1, "hash")?.is_empty() {
        return Ok(None);
    }
    let id = BlockId { hash: m.exact(1, "hash")?, parts: m.required(2, "part_set_header")? };
    if id.parts.total == 0 && !mutant!("C9") {
        return Err(DecodeError::at("part_set_header", "has 0 parts in a block id that is not nil"));
    }
    Ok(Some(id))
}

impl Writer<'_> {
    /// A block id that may be nil: always written, nil as `12 00` inside (reference §4.1).
    pub(super) fn block_id_or_nil(&mut self, field: u32, id: Option<&BlockId>) {
        match id {
            Some(id) => self.message(field, id),
            None => self.nested(field, |w| w.nested(2, |_| ())),
        }
    }
}

impl Message for BlockId {
    const NAME: &'static str = "BlockID";

    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(1, self.hash.as_ref());
        w.message(2, &self.parts);
    }

    fn read(m: &Fields<'_>) -> Result<BlockId, DecodeError> {
        read_block_id_or_nil(m)?.ok_or_else(|| DecodeError::new("is nil, must name a block"))
    }
}

impl BlockId {
    /// What block ids are ordered by in evidence: the hash, then the encoded part set header, as bytes
    /// (reference §4.12).
    pub fn sort_key(&self) -> Vec<u8> {
        [self.hash.as_ref(), &encode(&self.parts)].concat()
    }
}

impl Message for PartSetHeader {
    const NAME: &'static str = "PartSetHeader";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, u64::from(self.total));
        w.bytes(2, self.hash.as_ref());
    }

    fn read(m: &Fields<'_>) -> Result<PartSetHeader, DecodeError> {
        Ok(PartSetHeader { total: m.uint32(1, "total")?, hash: m.exact(2, "hash")? })
    }
}

impl Message for Part {
    const NAME: &'static str = "Part";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, u64::from(self.index));
        w.bytes(2, &self.bytes);
        w.message(3, &self.proof);
    }

    fn read(m: &Fields<'_>) -> Result<Part, DecodeError> {
        Ok(Part { index: m.uint32(1, "index")?, bytes: m.bytes(2, "bytes")?, proof: m.required(3, "proof")? })
    }
}

impl Message for Proof {
    const NAME: &'static str = "Proof";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, self.total);
        w.uint(2, self.index);
        w.bytes(3, self.leaf_hash.as_ref());
        self.aunts.iter().for_each(|aunt| w.element(4, aunt.as_ref()));
    }

    fn read(m: &Fields<'_>) -> Result<Proof, DecodeError> {
        let aunts = m.repeated_bytes(4, "aunts")?;
        if aunts.len() > AUNTS_MAX && !mutant!("C10") {
            return Err(DecodeError::at("aunts", format_args!("has {} hashes, at most {AUNTS_MAX}", aunts.len())));
        }
        let hashes: Result<Vec<Hash>, _> = aunts.iter().map(|aunt| Hash::try_from(&aunt[..])).collect();
        Ok(Proof {
            total: m.number(1, "total")?,
            index: m.number(2, "index")?,
            leaf_hash: m.exact(3, "leaf_hash")?,
            aunts: hashes.map_err(|why| DecodeError::at("aunts", why))?,
        })
    }
}
