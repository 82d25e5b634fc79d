//! One contract, every backend: order, scans, atomic batches, durability, who may open what.

use crate::storage::kv::{Batch, Direction, Durability, KeyRange, Kv};
use crate::storage::memory::MemoryKv;
use crate::storage::redb::RedbKv;
use crate::storage::{Backend, Indexing, open};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Every backend of this build, each empty and in its own directory.
fn backends() -> Vec<(Box<dyn Kv>, tempfile::TempDir)> {
    let dir = || tempfile::tempdir().expect("a temporary directory");
    let (memory, redb) = (dir(), dir());
    let kv: Box<dyn Kv> = Box::new(RedbKv::open(&redb.path().join("store.redb")).expect("opens"));
    let mut all: Vec<(Box<dyn Kv>, tempfile::TempDir)> = vec![(Box::new(MemoryKv::new()), memory), (kv, redb)];
    all.extend(rocks());
    all
}

#[cfg(feature = "rocksdb")]
fn rocks() -> Option<(Box<dyn Kv>, tempfile::TempDir)> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    Some((Box::new(crate::storage::rocks::RocksKv::open(&dir.path().join("rocksdb")).expect("opens")), dir))
}

#[cfg(not(feature = "rocksdb"))]
fn rocks() -> Option<(Box<dyn Kv>, tempfile::TempDir)> {
    None
}

fn put(key: u8, value: u8) -> Batch {
    let mut batch = Batch::default();
    batch.put(vec![key], Bytes::from(vec![value]));
    batch
}

fn scan(kv: &dyn Kv, start: &[u8], end: &[u8], direction: Direction, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let range = KeyRange { start: start.to_vec(), end: end.to_vec() };
    let mut visit = |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        if found.len() < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    kv.scan(&range, direction, &mut visit).expect("scanned");
    found
}

#[test]
fn an_empty_store_has_nothing_and_says_so() {
    for (kv, _dir) in backends() {
        assert_eq!(kv.get(b"a").expect("read"), None, "{kv:?}");
        assert_eq!(scan(&*kv, b"", b"z", Direction::Up, 9), []);
        assert_eq!(scan(&*kv, b"z", b"a", Direction::Down, 9), [], "an empty range");
    }
}

#[test]
fn a_scan_may_read_the_store_it_scans_and_sees_no_write_made_meanwhile() {
    for (kv, _dir) in backends() {
        for key in 1..=3 {
            kv.write(put(key, key), Durability::Later).expect("written");
        }
        let mut seen = Vec::new();
        let range = KeyRange { start: vec![0], end: vec![9] };
        let mut visit = |key: &[u8], _: &[u8]| {
            kv.write(put(8, 8), Durability::Later).expect("written while scanning");
            seen.push(kv.get(key).expect("read while scanning").expect("there")[0]);
            ControlFlow::Continue(())
        };
        kv.scan(&range, Direction::Up, &mut visit).expect("scanned");
        assert_eq!(seen, [1, 2, 3], "{kv:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// 12 cases of up to 40 batches, against a sorted map.
    #[test]
    fn every_backend_is_a_sorted_map(
        batches in proptest::collection::vec(
            (proptest::collection::vec((any::<bool>(), 0u8..20, any::<u8>()), 1..6), any::<bool>()), 1..40),
        start in 0u8..20, end in 0u8..20, limit in 1usize..8,
    ) {
        for (kv, _dir) in backends() {
            let mut oracle = BTreeMap::new();
            for (changes, now) in &batches {
                let mut batch = Batch::default();
                for (set, key, value) in changes {
                    if *set {
                        batch.put(vec![*key], Bytes::from(vec![*value]));
                        oracle.insert(vec![*key], vec![*value]);
                    } else {
                        batch.delete(vec![*key]);
                        oracle.remove(&vec![*key]);
                    }
                }
                kv.write(batch, if *now { Durability::Now } else { Durability::Later }).expect("written");
            }
            for key in 0..20 {
                let found = kv.get(&[key]).expect("read").map(Vec::from);
                prop_assert_eq!(found.as_ref(), oracle.get(&vec![key]));
            }
            let inside = || oracle.iter().filter(|(key, _)| (start..end).contains(&key[0]));
            let pairs = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
            let up: Vec<_> = inside().take(limit).map(pairs).collect();
            let down: Vec<_> = inside().rev().take(limit).map(pairs).collect();
            prop_assert_eq!(scan(&*kv, &[start], &[end], Direction::Up, limit), up);
            prop_assert_eq!(scan(&*kv, &[start], &[end], Direction::Down, limit), down);
        }
    }
}

#[test]
fn a_power_cut_takes_the_newest_unsynced_batches_and_never_leaves_a_gap() {
    for kept in 0..=4 {
        let kv = MemoryKv::new();
        kv.write(put(1, 1), Durability::Later).expect("written");
        kv.write(put(2, 2), Durability::Now).expect("written");
        for key in 3..=5 {
            kv.write(put(key, key), Durability::Later).expect("written");
        }
        let mut last = put(1, 9);
        last.delete(vec![2]);
        kv.write(last, Durability::Later).expect("written");
        assert_eq!(kv.at_risk(), 4);
        kv.power_cut(kept);
        let found: Vec<u8> = scan(&kv, &[0], &[9], Direction::Up, 9).into_iter().map(|(_, value)| value[0]).collect();
        let expected: &[&[u8]] = &[&[1, 2], &[1, 2, 3], &[1, 2, 3, 4], &[1, 2, 3, 4, 5], &[9, 3, 4, 5]];
        assert_eq!(found, expected[kept], "{kept} kept");
        assert_eq!(kv.at_risk(), 0);
    }
}

/// What redb has in its file while it is open is what a killed process leaves.
#[test]
fn redb_keeps_what_was_synced_and_everything_before_it() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("store.redb");
    let kv = RedbKv::open(&file).expect("opens");
    let killed = |name: &str| {
        let copy = dir.path().join(name);
        std::fs::copy(&file, &copy).expect("copied");
        let kv = RedbKv::open(&copy).expect("repaired and opened");
        scan(&kv, &[0], &[9], Direction::Up, 9).len()
    };
    kv.write(put(1, 1), Durability::Now).expect("written");
    kv.write(put(2, 2), Durability::Later).expect("written");
    assert_eq!(kv.get(&[2]).expect("read").as_deref(), Some(&[2][..]), "seen at once");
    assert_eq!(killed("first"), 1);
    kv.write(put(3, 3), Durability::Now).expect("written");
    assert_eq!(killed("second"), 3);
}

#[test]
fn a_directory_belongs_to_the_backend_that_made_it_and_to_one_process() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = home.path().join("data/store");
    let first = open(Backend::Redb, &dir, Indexing::On).expect("opens");
    let second = open(Backend::Redb, &dir, Indexing::On).err().expect("in use").to_string();
    assert!(second.contains("in use by another process"), "{second}");
    drop(first);
    open(Backend::Redb, &dir, Indexing::On).expect("opens again");
    std::fs::write(dir.join("backend"), "other\n").expect("written");
    let other = open(Backend::Redb, &dir, Indexing::On).err().expect("another backend").to_string();
    assert!(other.contains("was made with \"other\"") && other.contains("db_backend = \"other\""), "{other}");
    assert!("leveldb".parse::<Backend>().is_err());
    assert_eq!("redb".parse::<Backend>().ok(), Some(Backend::Redb));
}
