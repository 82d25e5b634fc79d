//! The key layout (`docs/formats/storage.md`): one letter for the kind, then big-endian numbers, so that keys sort as
//! heights do.

use super::kv::KeyRange;
use crate::crypto::{Hash, sha256_many};
use crate::types::{EvidenceKey, Height};

/// What a key's value is. The letters are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Meta = b'm' as isize,
    Part = b'p' as isize,
    Commit = b'c' as isize,
    SeenCommit = b's' as isize,
    ExtendedCommit = b'e' as isize,
    BlockHash = b'h' as isize,
    Heights = b'H' as isize,
    Validators = b'v' as isize,
    Params = b'q' as isize,
    Results = b'r' as isize,
    State = b'S' as isize,
    Genesis = b'G' as isize,
    TxHash = b't' as isize,
    TxAttribute = b'a' as isize,
    TxKey = b'k' as isize,
    BlockAttribute = b'b' as isize,
    BlockKey = b'l' as isize,
    PrunedTxs = b'x' as isize,
    Indexed = b'I' as isize,
    PendingEvidence = b'P' as isize,
    CommittedEvidence = b'C' as isize,
}

impl Kind {
    /// In words, for people.
    pub(super) fn words(self) -> &'static str {
        match self {
            Kind::Meta => "block header",
            Kind::Part => "block part",
            Kind::Commit => "commit",
            Kind::SeenCommit => "seen commit",
            Kind::ExtendedCommit => "extended commit",
            Kind::BlockHash => "height of a block hash",
            Kind::Heights => "range of stored heights",
            Kind::Validators => "validator set",
            Kind::Params => "consensus parameters",
            Kind::Results => "block results",
            Kind::State => "chain state",
            Kind::Genesis => "genesis document",
            Kind::TxHash => "place of a transaction",
            Kind::TxAttribute | Kind::TxKey | Kind::BlockAttribute | Kind::BlockKey => "index entry",
            Kind::PrunedTxs => "transactions of a pruned block",
            Kind::Indexed => "range of indexed heights",
            Kind::PendingEvidence => "pending evidence",
            Kind::CommittedEvidence => "mark of proven evidence",
        }
    }

    fn letter(self) -> u8 {
        self as u8
    }
}

/// A key and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) kind: Kind,
    pub(super) bytes: Vec<u8>,
}

impl Key {
    fn new(kind: Kind, rest: &[&[u8]]) -> Key {
        let mut bytes = Vec::with_capacity(1 + rest.iter().map(|part| part.len()).sum::<usize>());
        bytes.push(kind.letter());
        rest.iter().for_each(|part| bytes.extend_from_slice(part));
        Key { kind, bytes }
    }

    /// The only value of its kind.
    pub(super) fn single(kind: Kind) -> Key {
        Key::new(kind, &[])
    }

    /// The value of a height.
    pub(super) fn at(kind: Kind, height: Height) -> Key {
        Key::new(kind, &[&height.get().to_be_bytes()])
    }

    /// A part of a block.
    pub(super) fn part(height: Height, index: u32) -> Key {
        Key::new(Kind::Part, &[&height.get().to_be_bytes(), &index.to_be_bytes()])
    }

    /// The value of a hash.
    pub(super) fn hash(kind: Kind, hash: &Hash) -> Key {
        Key::new(kind, &[hash.as_bytes()])
    }

    /// A piece of evidence, by its name.
    pub(super) fn evidence(kind: Kind, key: &EvidenceKey) -> Key {
        Key::new(kind, &[&key.height.get().to_be_bytes(), key.hash.as_bytes()])
    }

    /// An index entry: this name occurs at this height.
    pub(super) fn occurs(kind: Kind, name: &Name, height: Height) -> Key {
        Key::new(kind, &[&name.0, &height.get().to_be_bytes()])
    }

    /// The key in words: `commit of height 7`.
    pub(super) fn words(&self) -> String {
        let rest = &self.bytes[1..];
        let height = rest.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
        match (height, rest.len()) {
            (Some(height), 8 | 12 | 40) => format!("{} of height {height}", self.kind.words()),
            (_, 0) => self.kind.words().to_owned(),
            _ => format!("{} {}", self.kind.words(), hex::encode_upper(rest)),
        }
    }
}

/// What an index entry stands for, shortened to 8 bytes. Two names may share them; the events themselves decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name([u8; 8]);

impl Name {
    /// Of a composite key `type.key`, wherever it has any value.
    pub(super) fn of_key(composite: &str) -> Name {
        Name::shorten(&[composite.as_bytes()])
    }

    /// Of a composite key with this value.
    pub(super) fn of_value(composite: &str, value: &str) -> Name {
        Name::shorten(&[composite.as_bytes(), &[0], value.as_bytes()])
    }

    fn shorten(parts: &[&[u8]]) -> Name {
        let hash = sha256_many(parts.iter().copied());
        let mut short = [0; 8];
        short.copy_from_slice(&hash.as_bytes()[..8]);
        Name(short)
    }
}

/// All keys of a kind between two heights, both inside.
pub(super) fn heights(kind: Kind, from: Height, to: Height) -> KeyRange {
    KeyRange { start: Key::at(kind, from).bytes, end: after(Key::at(kind, to).bytes) }
}

/// All occurrences of a name between two heights, both inside.
pub(super) fn occurrences(kind: Kind, name: &Name, from: Height, to: Height) -> KeyRange {
    KeyRange { start: Key::occurs(kind, name, from).bytes, end: after(Key::occurs(kind, name, to).bytes) }
}

/// The height a key ends with.
pub(super) fn height_in(key: &[u8]) -> Option<Height> {
    let number = u64::from_be_bytes(*key.last_chunk::<8>()?);
    i64::try_from(number).ok().and_then(|number| Height::try_from(number).ok())
}

/// The name in the key of a piece of evidence.
pub(super) fn evidence_in(key: &[u8]) -> Option<EvidenceKey> {
    let (height, hash) = key.get(1..)?.split_first_chunk::<8>()?;
    let height = i64::try_from(u64::from_be_bytes(*height)).ok()?;
    Some(EvidenceKey { height: Height::try_from(height).ok()?, hash: Hash::try_from(hash).ok()? })
}

/// The first key behind every key that begins with these bytes, which must not all be 0xff.
fn after(mut bytes: Vec<u8>) -> Vec<u8> {
    while let Some(last) = bytes.pop() {
        if last < u8::MAX {
            bytes.push(last + 1);
            break;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_heights_do_and_ranges_hold_their_ends() {
        let key = |height| Key::at(Kind::Meta, Height::new(height)).bytes;
        assert!(key(9) < key(10) && key(255) < key(256));
        let range = heights(Kind::Meta, Height::new(5), Height::new(255));
        for (height, inside) in [(4, false), (5, true), (255, true), (256, false)] {
            assert_eq!(range.start <= key(height) && key(height) < range.end, inside, "height {height}");
        }
        let all = heights(Kind::Part, Height::ZERO, Height::MAX);
        assert!(
            all.start <= Key::part(Height::MAX, u32::MAX).bytes && Key::part(Height::MAX, u32::MAX).bytes < all.end
        );
        assert_eq!(height_in(&key(77)), Some(Height::new(77)));
        assert_eq!(height_in(b"m"), None);
    }

    #[test]
    fn keys_are_told_in_words() {
        assert_eq!(Key::at(Kind::Commit, Height::new(7)).words(), "commit of height 7");
        assert_eq!(Key::part(Height::new(7), 2).words(), "block part of height 7");
        assert_eq!(Key::single(Kind::State).words(), "chain state");
        assert!(Key::hash(Kind::TxHash, &Hash::EMPTY).words().starts_with("place of a transaction E3B0C442"));
    }
}
