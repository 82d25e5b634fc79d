//! Blocks, states and results come back as they were saved, from memory and from disk.

use super::chain::{after, applied, block, event, genesis_state, h, seen, sent, time_of, validator};
use super::meddled::{Before, Meddled};
use crate::ports::Store;
use crate::storage::keys::{Key, Kind};
use crate::storage::kv::{Batch, Durability, Kv};
use crate::storage::store::Heights;
use crate::storage::values::Changes;
use crate::storage::{Backend, Indexing, KvStore, MemoryKv, open};
use crate::types::{BlockId, CandidateBlock, ChainState, ConsensusParams, EvidenceParams, PartSet, Tx, ValidatorSet};
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Saves `count` blocks with their states and results, each with one transaction, `tx <height>`.
pub(super) fn grow(store: &dyn Store, count: u64) -> ChainState {
    let mut state = genesis_state();
    store.save_genesis(b"{}", &state).expect("saved");
    for height in 1..=count {
        state = grow_once(store, &state, height);
    }
    state
}

pub(super) fn grow_once(store: &dyn Store, state: &ChainState, height: u64) -> ChainState {
    let sent = [sent(&format!("tx {height}"), 0, vec![event("app", &[("h", &height.to_string(), true)])])];
    let block = block(height, state.last_block_id, sent.iter().map(|sent| sent.tx.clone()).collect());
    let applied = applied(block.clone(), &sent, vec![event("begin", &[("h", &height.to_string(), true)])]);
    store.save_block(&block, &seen(&block)).expect("block saved");
    store.save_results(h(height), &applied.results).expect("results saved");
    let state = after(state, &block);
    store.save_state(&state).expect("state saved");
    store.index(&applied).expect("indexed");
    state
}

fn memory() -> Arc<dyn Store> {
    open(Backend::Memory, "".as_ref(), Indexing::On).expect("opens")
}

/// What was saved can be read, at once and after a restart.
#[test]
fn every_backend_gives_back_what_was_saved() {
    check(&|_| memory(), 1);
    let dir = tempfile::tempdir().expect("a temporary directory");
    check(&|_| open(Backend::Redb, dir.path(), Indexing::On).expect("opens"), 2);
    #[cfg(feature = "rocksdb")]
    {
        let dir = tempfile::tempdir().expect("a temporary directory");
        check(&|_| open(Backend::RocksDb, dir.path(), Indexing::On).expect("opens"), 2);
    }
}

fn check(open: &dyn Fn(u32) -> Arc<dyn Store>, openings: u32) {
    let big = Tx::new(vec![7; 200_000]);
    let mut blocks: Vec<Arc<CandidateBlock>> = Vec::new();
    let mut id: Option<BlockId> = None;
    for height in 1..=7 {
        let txs = if height == 4 { vec![big.clone()] } else { vec![Tx::new(vec![height as u8])] };
        blocks.push(block(height, id, txs));
        id = blocks.last().map(|block| block.id());
    }
    let store = open(1);
    assert_eq!((store.base(), store.tip()), (h(0), h(0)));
    let state = genesis_state();
    store.save_genesis(b"{\"a\": 1}", &state).expect("saved");
    for block in &blocks {
        store.save_block(block, &seen(block)).expect("saved");
        store.save_block(block, &seen(block)).expect("saving it again changes nothing");
    }
    let results = applied(blocks[0].clone(), &[sent("x", 3, vec![])], vec![event("a", &[("b", "c", true)])]).results;
    store.save_results(h(1), &results).expect("saved");
    drop(store);
    for opening in 1..=openings {
        let store = if openings == 1 { rebuilt(&blocks, &results) } else { open(opening) };
        assert_eq!(store.genesis().expect("read").as_deref(), Some(&b"{\"a\": 1}"[..]));
        assert_eq!(store.state().expect("read"), Some(state.clone()));
        assert_eq!(store.results(h(1)).expect("read"), Some(results.clone()));
        assert_eq!(store.results(h(2)).expect("read"), None);
        check_blocks(&*store, &blocks);
    }
}

/// Memory forgets when dropped: the same content once more.
fn rebuilt(blocks: &[Arc<CandidateBlock>], results: &crate::types::abci::FinalizeBlockResponse) -> Arc<dyn Store> {
    let store = memory();
    store.save_genesis(b"{\"a\": 1}", &genesis_state()).expect("saved");
    blocks.iter().for_each(|block| store.save_block(block, &seen(block)).expect("saved"));
    store.save_results(h(1), results).expect("saved");
    store
}

fn check_blocks(store: &dyn Store, blocks: &[Arc<CandidateBlock>]) {
    assert_eq!((store.base(), store.tip()), (h(1), h(7)));
    for (block, height) in blocks.iter().zip(1..) {
        assert_eq!(store.block(h(height)).expect("read").as_ref(), Some(block.block()));
        let meta = store.block_meta(h(height)).expect("read").expect("there");
        assert_eq!((meta.block_id, &meta.header), (block.id(), &block.block().header));
        assert_eq!((meta.block_size, meta.num_txs), (block.parts().byte_size(), 1));
        assert_eq!(store.height_of(&block.id().hash).expect("read"), Some(h(height)));
        let mut gathered = PartSet::gather(block.id().parts).expect("a legal number of parts");
        for index in 0..block.id().parts.total {
            gathered.add(store.part(h(height), index).expect("read").expect("there")).expect("its proof holds");
        }
        assert_eq!(&gathered, block.parts());
        assert_eq!(store.part(h(height), block.id().parts.total).expect("read"), None);
        assert_eq!(store.seen_commit(h(height)).expect("read"), Some(seen(block).to_commit()));
        let extended = (height % 3 == 0).then(|| seen(block));
        assert_eq!(store.extended_commit(h(height)).expect("read"), extended);
        let next = blocks.get(height as usize);
        let carried = next.and_then(|next| next.block().last_commit.clone());
        assert_eq!(store.commit(h(height)).expect("read"), carried, "the tip has none");
    }
    for outside in [0, 8, 1 << 40] {
        assert_eq!(store.block(h(outside)).expect("read"), None);
        assert_eq!(store.block_meta(h(outside)).expect("read"), None);
    }
}

#[test]
fn a_block_that_does_not_follow_is_refused() {
    let store = memory();
    grow(&*store, 3);
    for height in [3, 5] {
        let other = block(height, None, vec![]);
        let error = store.save_block(&other, &seen(&other)).expect_err("a gap or a second block").to_string();
        assert!(error.contains("only 4 may follow"), "{error}");
    }
    assert_eq!(store.tip(), h(3));
}

/// 60 heights with two changes, against sets rotated one height at a time.
#[test]
fn validators_of_every_height_are_as_if_all_had_been_stored() {
    let store = memory();
    let mut state = genesis_state();
    store.save_genesis(b"{}", &state).expect("saved");
    let mut oracle: Vec<(u64, ValidatorSet)> =
        vec![(1, (*state.validators).clone()), (2, (*state.next_validators).clone())];
    for height in 1..=60 {
        let block = block(height, state.last_block_id, vec![]);
        let mut next = after(&state, &block);
        if height == 20 || height == 41 {
            let mut set = (*state.next_validators).clone();
            let change = validator(height as u8, 5);
            set.update(&[crate::types::ValidatorUpdate { public_key: change.public_key, power: change.power }])
                .expect("a legal change");
            next.next_validators = Arc::new(set.advanced(1));
            next.last_height_validators_changed = h(height + 2);
        }
        store.save_state(&next).expect("saved");
        oracle.push((height + 2, (*next.next_validators).clone()));
        state = next;
    }
    for (height, expected) in oracle {
        assert_eq!(store.validators(h(height)).expect("read"), Some(expected), "height {height}");
    }
    assert_eq!(store.validators(h(63)).expect("read"), None);
    assert_eq!(store.validators(h(0)).expect("read"), None);
}

/// Heights at which a set is stored in full although nothing changed.
const CHECKPOINTS: [u64; 2] = [100_000, 200_000];

/// A chain whose set never changes, as far as the heights around two checkpoints go: what is loaded there against a set
/// that was rotated 200,000 times, one height at a time. Nothing between is stored: loading may not look at it.
#[test]
fn validators_around_a_checkpoint_are_as_if_all_had_been_stored_and_nothing_older_is_read_for_them() {
    let store = memory();
    let genesis = genesis_state();
    store.save_genesis(b"{}", &genesis).expect("saved");
    let mut set = (*genesis.validators).clone();
    let mut oracle = Vec::new();
    for height in 2..=CHECKPOINTS[1] + 3 {
        set = set.advanced(1);
        if CHECKPOINTS.iter().any(|checkpoint| height.abs_diff(*checkpoint) <= 3) {
            let mut state = genesis.clone();
            state.last_block_height = h(height - 2);
            state.next_validators = Arc::new(set.clone());
            store.save_state(&state).expect("saved");
            oracle.push((height, set.clone()));
        }
    }
    assert_eq!(oracle.len(), 14);
    for (height, expected) in oracle {
        assert_eq!(store.validators(h(height)).expect("read"), Some(expected), "height {height}");
    }
}

#[test]
fn parameters_of_every_height_are_those_in_force_then() {
    let store = memory();
    let mut state = genesis_state();
    store.save_genesis(b"{}", &state).expect("saved");
    let mut changed = ConsensusParams::default();
    changed.version.app = 9;
    for height in 1..=9 {
        let block = block(height, state.last_block_id, vec![]);
        state = after(&state, &block);
        if height == 4 {
            state.consensus_params = Arc::new(changed.clone());
            state.last_height_consensus_params_changed = h(5);
        }
        store.save_state(&state).expect("saved");
    }
    for height in 1..=10 {
        let expected = if height < 5 { ConsensusParams::default() } else { changed.clone() };
        assert_eq!(store.params(h(height)).expect("read"), Some(expected), "height {height}");
    }
    assert_eq!(store.params(h(11)).expect("read"), None);
}

/// The chain's age limit: 20 blocks and 200 seconds, which is 20 blocks of 10 seconds.
fn with_evidence_age(mut state: ChainState) -> ChainState {
    let evidence = EvidenceParams {
        max_age_num_blocks: 20,
        max_age_duration: Duration::from_secs(200),
        ..EvidenceParams::default()
    };
    state.consensus_params = Arc::new(ConsensusParams { evidence, ..ConsensusParams::default() });
    state
}

#[test]
fn pruning_removes_blocks_and_keeps_what_evidence_may_need() {
    for indexing in [Indexing::On, Indexing::Off] {
        let store = open(Backend::Memory, "".as_ref(), indexing).expect("opens");
        let state = with_evidence_age(grow(&*store, 60));
        let meta = |height| store.block_meta(h(height)).expect("read").expect("there");
        let names: Vec<_> = (1..=60).map(|height| meta(height).block_id.hash).collect();
        assert_eq!(store.prune(h(50), &state).expect("pruned"), 49);
        assert_eq!((store.base(), store.tip()), (h(50), h(60)));
        assert_eq!(store.prune(h(50), &state).expect("nothing to do"), 0);
        assert!(store.prune(h(61), &state).is_err(), "the newest block stays");
        for height in 1..=60 {
            let kept = height >= 50;
            let for_evidence = height >= 40; // 60 − 20
            assert_eq!(store.block(h(height)).expect("read").is_some(), kept, "block {height}");
            assert_eq!(store.part(h(height), 0).expect("read").is_some(), kept, "part {height}");
            assert_eq!(store.seen_commit(h(height)).expect("read").is_some(), kept, "seen commit {height}");
            assert_eq!(store.results(h(height)).expect("read").is_some(), kept, "results {height}");
            let named = store.height_of(&names[height as usize - 1]).expect("read");
            assert_eq!(named, kept.then_some(h(height)), "hash {height}");
            let extended = store.extended_commit(h(height)).expect("read").is_some();
            assert_eq!(extended, kept && height % 3 == 0, "extended commit {height}");
            assert_eq!(store.block_meta(h(height)).expect("read").is_some(), for_evidence, "header {height}");
            let commit = store.commit(h(height)).expect("read").is_some();
            assert_eq!(commit, for_evidence && height < 60, "commit {height}");
            if for_evidence {
                assert!(store.validators(h(height)).expect("read").is_some(), "validators {height}");
                assert!(store.params(h(height)).expect("read").is_some(), "parameters {height}");
            } else if height > 1 {
                assert_eq!(store.validators(h(height)).expect("read"), None, "validators {height}");
                assert_eq!(store.params(h(height)).expect("read"), None, "parameters {height}");
            }
        }
        if indexing == Indexing::On {
            let tx = store.tx(&Tx::new(&b"tx 7"[..]).hash()).expect("read").expect("the index is never pruned");
            assert_eq!((tx.height, tx.tx), (h(7), Bytes::from_static(b"tx 7")));
        }
    }
}

#[test]
fn a_transaction_is_found_while_its_block_is_being_pruned() {
    let kv = Arc::new(Meddled::default());
    let store = Arc::new(KvStore::new(Box::new(kv.clone()), Indexing::On, None).expect("opens"));
    let state = grow(&*store, 60);
    let (reader, found) = (Arc::clone(&store), Arc::new(Mutex::new(None)));
    let told = Arc::clone(&found);
    kv.meddle(Before::Write, move || {
        assert_eq!(reader.base(), h(50), "readers see the new base, and nothing is removed yet");
        *told.lock().unwrap() = reader.tx(&Tx::new(&b"tx 7"[..]).hash()).expect("read");
    });
    store.prune(h(50), &state).expect("pruned");
    let found = found.lock().unwrap().take().expect("an indexed transaction is always found");
    assert_eq!(found.tx, Bytes::from_static(b"tx 7"));
}

/// Evidence expires when it is too old by blocks and by time: one of them is not enough.
#[test]
fn headers_stay_as_long_as_evidence_about_them_is_young_by_blocks_or_by_time() {
    for (max_age_num_blocks, seconds, oldest) in [(20, 1, 40), (1, 200, 40), (1, 1, 50), (100, 1, 1)] {
        let store = memory();
        let mut state = grow(&*store, 60);
        let evidence = EvidenceParams {
            max_age_num_blocks,
            max_age_duration: Duration::from_secs(seconds),
            ..EvidenceParams::default()
        };
        state.consensus_params = Arc::new(ConsensusParams { evidence, ..ConsensusParams::default() });
        store.prune(h(50), &state).expect("pruned");
        let there = (1..=60).find(|height| store.block_meta(h(*height)).expect("read").is_some());
        assert_eq!(there, Some(oldest), "{max_age_num_blocks} blocks, {seconds} s");
    }
}

#[test]
fn pruning_again_removes_the_headers_that_were_kept_for_evidence() {
    let store = memory();
    let mut state = with_evidence_age(grow(&*store, 60));
    store.prune(h(50), &state).expect("pruned");
    for height in 61..=90 {
        state = grow_once(&*store, &state, height);
    }
    store.prune(h(80), &state).expect("pruned");
    assert_eq!(store.block_meta(h(45)).expect("read"), None);
    assert_eq!(store.block_meta(h(69)).expect("read"), None);
    assert_eq!(store.block_meta(h(70)).expect("read").map(|meta| meta.header.time), Some(time_of(70)));
}

#[test]
fn a_bit_that_flipped_on_disk_is_an_error_that_says_where() {
    let kv = Arc::new(MemoryKv::new());
    let store = KvStore::new(Box::new(kv.clone()), Indexing::On, None).expect("opens");
    let state = grow(&store, 3);
    let mut cases = 0;
    for (key, words) in [
        (Key::part(h(2), 0), "block part of height 2"),
        (Key::at(Kind::Commit, h(2)), "commit of height 2"),
        (Key::at(Kind::Validators, h(1)), "validator set of height 1"),
        (Key::single(Kind::State), "chain state"),
    ] {
        let value = kv.get(&key.bytes).expect("read").expect("there");
        for place in 0..value.len() {
            let mut bent = value.to_vec();
            bent[place] ^= 1 << (place % 8);
            overwrite(&*kv, &key, bent.into());
            let error = read_all(&store).expect_err("damage");
            assert!(error.contains(words) && error.contains("restore"), "{error}");
            cases += 1;
        }
        overwrite(&*kv, &key, Bytes::new());
        assert!(read_all(&store).expect_err("damage").contains(words));
        overwrite(&*kv, &key, value);
    }
    assert!(cases > 1000, "{cases} bits");
    read_all(&store).expect("all well again");
    assert_eq!(store.state().expect("read"), Some(state));
}

fn overwrite(kv: &dyn Kv, key: &Key, value: Bytes) {
    let mut batch = Batch::default();
    batch.put(key.bytes.clone(), value);
    kv.write(batch, Durability::Now).expect("written");
}

fn read_all(store: &dyn Store) -> Result<(), String> {
    let said = |error: crate::ports::StoreError| error.to_string();
    store.block(h(2)).map_err(said)?;
    store.commit(h(2)).map_err(said)?;
    store.validators(h(2)).map_err(said)?;
    store.state().map_err(said)?;
    Ok(())
}

#[test]
fn a_value_that_stands_under_another_key_is_not_believed() {
    let kv = Arc::new(MemoryKv::new());
    let store = KvStore::new(Box::new(kv.clone()), Indexing::On, None).expect("opens");
    grow(&store, 3);
    let third = kv.get(&Key::part(h(3), 0).bytes).expect("read").expect("there");
    overwrite(&*kv, &Key::part(h(2), 0), third);
    let error = read_all(&store).expect_err("the part of another block");
    assert!(error.contains("block part of height 2") && error.contains("checksum"), "{error}");
}

#[test]
fn a_store_that_says_it_begins_above_its_end_is_not_opened() {
    let kv = Arc::new(MemoryKv::new());
    let store = KvStore::new(Box::new(kv.clone()), Indexing::Off, None).expect("opens");
    grow(&store, 3);
    let mut batch = Changes::default();
    batch.put(Key::single(Kind::Heights), &Heights { base: h(4), tip: h(3), headers: h(1) }.encode());
    store.values.write(batch, Durability::Now, "bend the heights").expect("written");
    let error = KvStore::new(Box::new(kv), Indexing::Off, None).expect_err("refused").to_string();
    assert!(error.contains("three ordered heights"), "{error}");
}

#[test]
fn the_newest_256_headers_are_kept_in_memory_and_no_more() {
    let store = KvStore::new(Box::new(MemoryKv::new()), Indexing::Off, None).expect("opens");
    grow(&store, 1);
    let first = store.block_meta(h(1)).expect("read").expect("there");
    for height in 1..=300 {
        let mut meta = first.clone();
        meta.header.height = h(height);
        store.cache_meta(&meta);
    }
    let kept: Vec<u64> = (1..=300).filter(|height| store.cached_meta(h(*height)).is_some()).collect();
    assert_eq!(kept, (45..=300).collect::<Vec<_>>());
}
