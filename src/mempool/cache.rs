//! Hashes of transactions seen lately; the least recently seen is forgotten first.

use crate::crypto::Hash;
use std::collections::BTreeMap;

/// At most `size` hashes.
#[derive(Debug)]
pub(super) struct Cache {
    size: usize,
    last_seen: BTreeMap<Hash, u64>,
    by_age: BTreeMap<u64, Hash>,
    clock: u64,
}

/// What was known about a hash.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Nothing.
    Never,
    /// It was there.
    Before,
}

impl Cache {
    /// An empty cache; one of size 0 remembers nothing.
    pub(super) fn new(size: usize) -> Cache {
        Cache { size, last_seen: BTreeMap::new(), by_age: BTreeMap::new(), clock: 0 }
    }

    /// Remembers a hash as the newest.
    pub(super) fn push(&mut self, hash: Hash) -> Seen {
        if self.size == 0 {
            return Seen::Never;
        }
        self.clock += 1;
        let before = self.last_seen.insert(hash, self.clock);
        if let Some(stamp) = before {
            if !mutant!("M26") {
                self.by_age.remove(&stamp);
            }
        } else if self.last_seen.len() > self.size
            && let Some((_, oldest)) = if mutant!("M9") { self.by_age.pop_last() } else { self.by_age.pop_first() }
        {
            self.last_seen.remove(&oldest);
        }
        self.by_age.insert(self.clock, hash);
        if before.is_some() { Seen::Before } else { Seen::Never }
    }

    /// Forgets a hash.
    pub(super) fn forget(&mut self, hash: &Hash) {
        if let Some(stamp) = self.last_seen.remove(hash) {
            self.by_age.remove(&stamp);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.last_seen.clear();
        self.by_age.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sha256;

    #[test]
    fn the_least_recently_seen_is_forgotten_first() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|it| sha256(it));
        let mut cache = Cache::new(2);
        assert_eq!([a, b, a].map(|it| cache.push(it)), [Seen::Never, Seen::Never, Seen::Before]);
        assert_eq!(cache.push(c), Seen::Never, "b had to go: a was seen later");
        assert_eq!([a, b].map(|it| cache.push(it)), [Seen::Before, Seen::Never]);
        assert_eq!((cache.last_seen.len(), cache.by_age.len()), (2, 2));
        cache.forget(&b);
        assert_eq!(cache.push(b), Seen::Never);
        assert_eq!(Cache::new(0).push(a), Seen::Never, "a cache of nothing");
    }
}
