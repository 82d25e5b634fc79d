//! The address book: which nodes we have heard of, who told us, and how calling them went (reference §5.7).
//!
//! Addresses nobody has reached yet are "new", the others "old". Both live in buckets of limited size, and which
//! buckets an address may use depends on its group and on its teller's, mixed with a secret: whoever owns a few networks
//! can fill a few buckets only, and cannot know which. Pure: time and chance come from the caller.

mod file;
#[cfg(test)]
mod tests;

use super::address::{AddressError, NetAddress, Routability};
use crate::crypto::sha256;
use crate::types::{NodeId, Time};
use rand::rngs::StdRng;
use rand::{RngExt as _, seq::SliceRandom as _};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) use file::{read_file, write_file};

/// Buckets of new addresses.
const NEW_BUCKETS: u16 = 256;
/// Buckets of old addresses.
const OLD_BUCKETS: u16 = 64;
/// Addresses in one bucket.
const BUCKET_LEN_MAX: usize = 64;
/// New buckets that one teller's group can reach.
const NEW_BUCKETS_PER_GROUP: u64 = 32;
/// Old buckets that one group can reach.
const OLD_BUCKETS_PER_GROUP: u64 = 4;
/// New buckets one address can be in.
const NEW_BUCKETS_PER_ADDRESS: usize = 4;
/// Below this many addresses we ask for more.
const ENOUGH: usize = 1000;
/// Addresses in one answer.
pub(super) const SELECTION_MAX: usize = 250;
/// Addresses in one answer, where there are so many.
const SELECTION_MIN: usize = 32;
/// Part of the book in one answer.
const SELECTION_PERCENT: usize = 23;
/// A new address not called for so long is bad.
const MISSING_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);
/// Calls without a single success that make a new address bad.
const NEVER_REACHED_ATTEMPTS: u32 = 3;
/// Calls since the last success, a week ago, that make a new address bad.
const LOST_ATTEMPTS: u32 = 10;
/// An address called so lately is not judged.
const JUST_CALLED: Duration = Duration::from_secs(60);

/// Whether somebody has been reached at an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    New,
    Old,
}

/// What is known about an address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    address: NetAddress,
    /// Who told us.
    teller: NetAddress,
    kind: Kind,
    /// Numbers of the buckets it is in: one when old, one to four when new.
    buckets: BTreeSet<u16>,
    /// Calls since the last success.
    attempts: u32,
    last_attempt: Time,
    /// [`Time::ZERO`] when there was none, as in the file.
    last_success: Time,
    /// No call before; [`Time::ZERO`] when never banned, as in the file.
    banned_until: Time,
}

/// Why an address was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAdded {
    #[error("{0}")]
    Address(#[from] AddressError),
    #[error("it is our own")]
    Ours,
    #[error("it, or who told it, is private")]
    Private,
    #[error("it is banned")]
    Banned,
    #[error("it is known well enough")]
    Known,
}

/// The address book.
#[derive(Debug)]
pub(super) struct Book {
    ours: NodeId,
    private: BTreeSet<NodeId>,
    routability: Routability,
    /// The secret that decides about buckets; 24 hex digits in the file.
    key: String,
    entries: BTreeMap<NodeId, Entry>,
    new: Buckets,
    old: Buckets,
    changed: bool,
}

type Buckets = BTreeMap<u16, BTreeSet<NodeId>>;

impl Book {
    /// An empty book. `key` is secret and random.
    pub(super) fn new(ours: NodeId, private: BTreeSet<NodeId>, routability: Routability, key: String) -> Book {
        Book {
            ours,
            private,
            routability,
            key,
            entries: BTreeMap::new(),
            new: Buckets::new(),
            old: Buckets::new(),
            changed: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when asking for addresses is worth while.
    pub(super) fn wants_more(&self) -> bool {
        self.len() < ENOUGH
    }

    /// True once after each change worth saving.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn has_changed(&self) -> bool {
        self.changed
    }

    /// Where a node is called, if we know it.
    #[cfg(test)]
    fn address(&self, id: &NodeId) -> Option<NetAddress> {
        self.entries.get(id).map(|entry| entry.address)
    }

    /// Adds an address `teller` told us. One that is known may get into another bucket, the less likely the more it is
    /// in. Whoever is old keeps its address: nobody can move a node we reached to another place.
    pub(super) fn add(
        &mut self,
        now: Time,
        address: NetAddress,
        teller: NetAddress,
        chance: &mut StdRng,
    ) -> Result<(), NotAdded> {
        if address.id == self.ours {
            return Err(NotAdded::Ours);
        }
        if self.private.contains(&address.id) || (self.private.contains(&teller.id) && !mutant!("N102")) {
            return Err(NotAdded::Private);
        }
        address.check(self.routability)?;
        match self.entries.get(&address.id) {
            Some(entry) if entry.banned_until > now => return Err(NotAdded::Banned),
            Some(Entry { kind: Kind::Old, .. }) => return Err(NotAdded::Known),
            Some(entry) if entry.buckets.len() >= NEW_BUCKETS_PER_ADDRESS => return Err(NotAdded::Known),
            Some(entry) if chance.random_range(0..2 * entry.buckets.len()) != 0 => return Err(NotAdded::Known),
            Some(_) => {}
            None => {
                self.entries.insert(address.id, Entry::new(now, address, teller));
            }
        }
        let bucket = self.new_bucket(&address, &teller);
        self.put_into_new(now, address.id, bucket);
        Ok(())
    }

    /// Keeps a node's address to ourselves from now on.
    pub(super) fn keep_private(&mut self, id: NodeId) {
        self.remove(&id);
        self.private.insert(id);
    }

    /// Forgets an address.
    pub(super) fn remove(&mut self, id: &NodeId) {
        if let Some(entry) = self.entries.remove(id) {
            self.take_out_of_buckets(id, &entry);
            self.changed = true;
        }
    }

    /// Notes a call that failed.
    pub(super) fn failed(&mut self, now: Time, id: &NodeId) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.attempts = entry.attempts.saturating_add(1);
            entry.last_attempt = now;
            self.changed = true;
        }
    }

    /// Notes that the node was reached or did something useful: it becomes old.
    pub(super) fn good(&mut self, now: Time, id: &NodeId) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.attempts = 0;
        entry.last_attempt = now;
        entry.last_success = now;
        self.changed = true;
        if entry.kind == Kind::New {
            self.promote(now, *id);
        }
    }

    /// Neither called nor told to others until then.
    pub(super) fn ban(&mut self, id: &NodeId, until: Time) {
        if let Some(entry) = self.entries.get_mut(id) {
            entry.banned_until = entry.banned_until.max(until);
            self.changed = true;
        }
    }

    /// Nodes with a ban that still holds, for a start after a stop.
    pub(super) fn bans(&self, now: Time) -> impl Iterator<Item = (NodeId, Duration)> {
        let banned = move |entry: &&Entry| entry.banned_until > now;
        self.entries.values().filter(banned).map(move |entry| (entry.address.id, entry.banned_until.since(now)))
    }

    /// An address to call: from a new bucket with about `bias` percent, weighed by how many there are of each.
    pub(super) fn pick(&self, now: Time, bias: u32, chance: &mut StdRng) -> Option<NetAddress> {
        let bias = f64::from(bias.min(100));
        let new = self.entries.values().filter(|entry| entry.kind == Kind::New).count() as f64;
        let old = self.len() as f64 - new;
        let (old_weight, new_weight) = (old.sqrt() * (100.0 - bias), new.sqrt() * bias);
        let from_old = (old_weight + new_weight) * chance.random::<f64>() < old_weight;
        let buckets = if from_old { &self.old } else { &self.new };
        let bucket = nth(buckets.values(), buckets.len(), chance)?;
        let id = nth(bucket.iter(), bucket.len(), chance)?;
        self.entries.get(id).filter(|entry| entry.banned_until <= now || mutant!("N103")).map(|entry| entry.address)
    }

    /// Addresses for a peer that asks.
    pub(super) fn selection(&self, now: Time, chance: &mut StdRng) -> Vec<NetAddress> {
        let mut all: Vec<_> = self.told(now).map(|entry| entry.address).collect();
        let wanted = selection_len(all.len());
        let (chosen, _) = all.partial_shuffle(chance, wanted);
        chosen.to_vec()
    }

    /// Addresses for a node that asks a seed: `bias` percent new ones, where there are enough of each.
    pub(super) fn selection_with_bias(&self, now: Time, bias: usize, chance: &mut StdRng) -> Vec<NetAddress> {
        let of = |kind| self.told(now).filter(move |entry| entry.kind == kind).map(|entry| entry.address);
        let (mut new, mut old): (Vec<_>, Vec<_>) = (of(Kind::New).collect(), of(Kind::Old).collect());
        let wanted = selection_len(new.len() + old.len());
        let new_wanted = (wanted * bias.min(100)).div_ceil(100).max(wanted.saturating_sub(old.len()));
        let mut chosen = new.partial_shuffle(chance, new_wanted).0.to_vec();
        chosen.extend_from_slice(old.partial_shuffle(chance, wanted.saturating_sub(chosen.len())).0);
        chosen
    }

    fn told(&self, now: Time) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(move |entry| entry.banned_until <= now)
    }

    // ------------------------------------------------------------------------------------------------- buckets

    /// Puts a new entry into a bucket, making room by dropping a bad entry or the one not called for longest.
    fn put_into_new(&mut self, now: Time, id: NodeId, bucket: u16) {
        let inside = self.new.entry(bucket).or_default();
        if inside.contains(&id) {
            return;
        }
        let expired = (inside.len() >= BUCKET_LEN_MAX).then(|| {
            let entries = &self.entries;
            let is_bad = |id: &&NodeId| entries.get(*id).is_some_and(|entry| entry.is_bad(now));
            inside.iter().find(is_bad).or_else(|| longest_idle(inside, entries)).copied()
        });
        if let Some(expired) = expired.flatten() {
            self.take_out_of_new(&expired, bucket);
        }
        self.new.entry(bucket).or_default().insert(id);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.buckets.insert(bucket);
        }
        self.changed = true;
    }

    /// Takes an entry out of one new bucket; in no bucket, it is forgotten.
    fn take_out_of_new(&mut self, id: &NodeId, bucket: u16) {
        take(&mut self.new, bucket, id);
        if let Some(entry) = self.entries.get_mut(id) {
            entry.buckets.remove(&bucket);
            if entry.buckets.is_empty() {
                self.entries.remove(id);
            }
        }
    }

    fn take_out_of_buckets(&mut self, id: &NodeId, entry: &Entry) {
        let buckets = if entry.kind == Kind::New { &mut self.new } else { &mut self.old };
        entry.buckets.iter().for_each(|bucket| take(buckets, *bucket, id));
    }

    /// Makes a new entry old. Where its bucket is full, the one not called for longest becomes new again.
    fn promote(&mut self, now: Time, id: NodeId) {
        let Some(entry) = self.entries.get(&id).cloned() else { return };
        self.take_out_of_buckets(&id, &entry);
        let bucket = self.old_bucket(&entry.address);
        let inside = self.old.entry(bucket).or_default();
        let full = inside.len() >= BUCKET_LEN_MAX;
        let demoted = full.then(|| longest_idle(inside, &self.entries).copied()).flatten();
        inside.insert(id);
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.kind = Kind::Old;
            entry.buckets = BTreeSet::from([bucket]);
        }
        if let Some(demoted) = demoted {
            take(&mut self.old, bucket, &demoted);
            if !mutant!("N104") {
                self.demote(now, demoted);
            }
        }
    }

    fn demote(&mut self, now: Time, id: NodeId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.kind = Kind::New;
        entry.buckets.clear();
        let (address, teller) = (entry.address, entry.teller);
        let bucket = self.new_bucket(&address, &teller);
        self.put_into_new(now, id, bucket);
    }

    /// Which new bucket: one of 32 the teller's group can reach, chosen by both groups.
    fn new_bucket(&self, address: &NetAddress, teller: &NetAddress) -> u16 {
        let (group, teller) = (address.group(self.routability), teller.group(self.routability));
        let slot = self.mix(&[&group, &teller]) % NEW_BUCKETS_PER_GROUP;
        (self.mix(&[&teller, &slot.to_string()]) % u64::from(NEW_BUCKETS)) as u16
    }

    /// Which old bucket: one of 4 the group can reach, chosen by the address.
    fn old_bucket(&self, address: &NetAddress) -> u16 {
        let slot = self.mix(&[&address.to_string()]) % OLD_BUCKETS_PER_GROUP;
        (self.mix(&[&address.group(self.routability), &slot.to_string()]) % u64::from(OLD_BUCKETS)) as u16
    }

    /// A number nobody can foretell without the key. CometBFT's hash has a random key too: numbers of buckets mean
    /// nothing outside one book.
    fn mix(&self, texts: &[&str]) -> u64 {
        let mut whole = self.key.clone();
        for text in texts {
            whole.push('/');
            whole.push_str(text);
        }
        let hash = sha256(whole.as_bytes());
        hash.as_bytes().iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
    }
}

impl Entry {
    fn new(now: Time, address: NetAddress, teller: NetAddress) -> Entry {
        Entry {
            address,
            teller,
            kind: Kind::New,
            buckets: BTreeSet::new(),
            attempts: 0,
            last_attempt: now,
            last_success: Time::ZERO,
            banned_until: Time::ZERO,
        }
    }

    /// Worth less than an address we have never called.
    fn is_bad(&self, now: Time) -> bool {
        let idle = now.since(self.last_attempt);
        if self.kind == Kind::Old || idle < JUST_CALLED {
            return false;
        }
        let never_reached = self.last_success == Time::ZERO && self.attempts >= NEVER_REACHED_ATTEMPTS;
        let lost = now.since(self.last_success) > MISSING_AFTER && self.attempts >= LOST_ATTEMPTS;
        idle > MISSING_AFTER || never_reached || lost
    }
}

/// How many of so many are told.
fn selection_len(known: usize) -> usize {
    (known * SELECTION_PERCENT / 100).max(SELECTION_MIN.min(known)).min(SELECTION_MAX)
}

fn longest_idle<'a>(bucket: &'a BTreeSet<NodeId>, entries: &BTreeMap<NodeId, Entry>) -> Option<&'a NodeId> {
    bucket.iter().min_by_key(|id| entries.get(id).map(|entry| entry.last_attempt))
}

/// Empty buckets are not kept, so that a choice among buckets is one among those with something in.
fn take(buckets: &mut Buckets, bucket: u16, id: &NodeId) {
    if let Some(inside) = buckets.get_mut(&bucket) {
        inside.remove(id);
        if inside.is_empty() {
            buckets.remove(&bucket);
        }
    }
}

/// One of `len` items, each as likely.
fn nth<T>(mut items: impl Iterator<Item = T>, len: usize, chance: &mut StdRng) -> Option<T> {
    if len == 0 { None } else { items.nth(chance.random_range(0..len)) }
}
