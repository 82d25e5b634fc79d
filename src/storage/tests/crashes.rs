//! A power cut between any two batches leaves a store from which the node can go on.

use super::chain::{h, seen};
use super::stores::{grow, grow_once};
use crate::ports::Store;
use crate::storage::{Batch, Direction, Durability, Indexing, KeyRange, Kv, KvError, KvStore, MemoryKv, Visit};
use crate::types::Tx;
use bytes::Bytes;
use std::sync::Arc;

fn reopen(kv: &Arc<MemoryKv>) -> KvStore {
    KvStore::new(Box::new(kv.clone()), Indexing::On, None).expect("opens")
}

/// After block and results are synced, state and index wait: 0, 1 or 2 of these batches survive.
#[test]
fn after_a_power_cut_the_state_is_at_most_one_block_behind_and_the_index_catches_up() {
    for kept in 0..=2 {
        let kv = Arc::new(MemoryKv::new());
        let before = grow(&reopen(&kv), 4);
        assert_eq!(kv.at_risk(), 2, "state and index of block 4");
        grow_once(&reopen(&kv), &before, 5);
        assert_eq!(kv.at_risk(), 2, "those of block 4 became durable with block 5");
        kv.power_cut(kept);

        let store = reopen(&kv);
        assert_eq!(store.tip(), h(5), "the block was promised");
        assert!(store.results(h(5)).expect("read").is_some(), "and so were the results");
        let state = store.state().expect("read").expect("there");
        assert_eq!(state.last_block_height, if kept == 0 { h(4) } else { h(5) });
        for height in 1..=state.last_block_height.get() {
            let hash = Tx::new(format!("tx {height}").into_bytes()).hash();
            let found = store.tx(&hash).expect("read").expect("indexed, or indexed again");
            assert_eq!(found.height, h(height), "{kept} batches survived");
        }
    }
}

#[test]
fn blocks_stored_while_the_index_was_off_are_indexed_when_it_is_on_again() {
    let kv = Arc::new(MemoryKv::new());
    let off = KvStore::new(Box::new(kv.clone()), Indexing::Off, None).expect("opens");
    grow(&off, 5);
    let hash = Tx::new(&b"tx 2"[..]).hash();
    assert!(off.tx(&hash).is_err(), "searching without an index says so");
    drop(off);
    assert_eq!(reopen(&kv).tx(&hash).expect("read").map(|tx| tx.height), Some(h(2)));
}

#[test]
fn a_block_saved_twice_over_a_crash_is_the_same_block() {
    let kv = Arc::new(MemoryKv::new());
    let state = grow(&reopen(&kv), 2);
    let block = super::chain::block(3, state.last_block_id, vec![]);
    reopen(&kv).save_block(&block, &seen(&block)).expect("saved");
    let store = reopen(&kv);
    store.save_block(&block, &seen(&block)).expect("nothing to do");
    assert_eq!(store.block(h(3)).expect("read").as_ref(), Some(block.block()));
}

/// 120 blocks saved, pruned and read by three threads at once: a reader gets a whole block or none, and no height is
/// lost from the range.
#[test]
fn pruning_runs_beside_saving_and_reading() {
    let kv = Arc::new(MemoryKv::new());
    let store = reopen(&kv);
    let mut state = grow(&store, 10);
    std::thread::scope(|scope| {
        let (store, genesis) = (&store, state.clone());
        let saver = scope.spawn(move || {
            for height in 11..=120 {
                state = grow_once(store, &state, height);
            }
        });
        let pruner = scope.spawn(move || {
            while store.tip() < h(120) {
                let retain = h(store.tip().get().saturating_sub(5));
                store.prune(retain, &genesis).expect("pruned");
            }
        });
        let reader = scope.spawn(move || {
            let mut read = 0;
            while store.tip() < h(120) {
                let height = store.base();
                if let Some(block) = store.block(height).expect("whole or none") {
                    assert_eq!(block.header.height, height);
                    read += 1;
                }
            }
            read
        });
        saver.join().expect("saved");
        pruner.join().expect("pruned");
        assert!(reader.join().expect("read") > 0);
    });
    assert_eq!(store.tip(), h(120));
    assert!(store.base() > h(10));
    assert_eq!((reopen(&kv).base(), reopen(&kv).tip()), (store.base(), store.tip()), "as stored");
}

#[test]
fn the_genesis_is_durable_when_it_is_said_to_be_stored() {
    let kv = Arc::new(MemoryKv::new());
    reopen(&kv).save_genesis(b"{}", &super::chain::genesis_state()).expect("saved");
    kv.power_cut(0);
    assert_eq!(reopen(&kv).genesis().expect("read"), Some(b"{}".to_vec()));
}

/// A disk that can be read and has no room.
#[derive(Debug)]
struct Full(Arc<MemoryKv>);

impl Kv for Full {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, KvError> {
        self.0.get(key)
    }

    fn scan(&self, range: &KeyRange, direction: Direction, visit: &mut Visit<'_>) -> Result<(), KvError> {
        self.0.scan(range, direction, visit)
    }

    fn write(&self, _: Batch, _: Durability) -> Result<(), KvError> {
        Err(KvError("no space left".to_owned()))
    }
}

#[test]
fn a_block_that_could_not_be_written_is_not_shown() {
    let kv = Arc::new(MemoryKv::new());
    let state = grow(&reopen(&kv), 2);
    let store = KvStore::new(Box::new(Full(Arc::clone(&kv))), Indexing::Off, None).expect("opens");
    let block = super::chain::block(3, state.last_block_id, vec![]);
    store.save_block(&block, &seen(&block)).expect_err("no room");
    assert_eq!(store.tip(), h(2));
}
