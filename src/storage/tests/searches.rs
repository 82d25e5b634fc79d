//! Searches against a dumb one: every query over every transaction, with paging, both ways round.

use super::chain::{Sent, after, applied, block, event, genesis_state, h, seen, sent};
use crate::ports::{Search, SearchOrder, Store};
use crate::storage::kv::{Direction, KeyRange, Kv};
use crate::storage::{Backend, Indexing, KvStore, MemoryKv, open};
use crate::types::abci::Event;
use crate::types::query::Query;
use crate::types::{Height, Tx};
use std::ops::ControlFlow;
use std::sync::Arc;

fn query(text: &str) -> Query {
    text.parse().expect("a legal query")
}

fn save(store: &dyn Store, blocks: &[(Vec<Sent>, Vec<Event>)]) {
    let mut state = genesis_state();
    store.save_genesis(b"{}", &state).expect("saved");
    for (height, (sent, events)) in (1..).zip(blocks) {
        let block = block(height, state.last_block_id, sent.iter().map(|sent| sent.tx.clone()).collect());
        let applied = applied(block.clone(), sent, events.clone());
        store.save_block(&block, &seen(&block)).expect("saved");
        store.save_results(h(height), &applied.results).expect("saved");
        state = after(&state, &block);
        store.save_state(&state).expect("saved");
        store.index(&applied).expect("indexed");
    }
}

/// 12 blocks of 5 transactions. Amounts are written with a unit, one attribute is not indexed, one value has slashes.
fn blocks() -> Vec<(Vec<Sent>, Vec<Event>)> {
    let tx = |height: u64, index: u64| {
        let number = height * 5 + index;
        let amount = format!("{number}atom");
        let sender = ["alice", "bob", "carol/x/y"][(number % 3) as usize];
        let events = vec![
            event("transfer", &[("sender", sender, true), ("amount", &amount, true), ("memo", "secret", false)]),
            event("transfer", &[("sender", "fees", true), ("amount", "1atom", true)]),
        ];
        sent(&format!("tx {height} {index}"), 0, events)
    };
    let block = |height: u64| {
        let epoch = (height / 4).to_string();
        ((0..5).map(|index| tx(height, index)).collect(), vec![event("epoch", &[("number", &epoch, true)])])
    };
    (1..=12).map(block).collect()
}

const QUERIES: [&str; 18] = [
    "tx.height > 0",
    "tx.height = 5",
    "tx.height >= 3 AND tx.height < 6",
    "tx.height = 99",
    "tx.height > 11 AND tx.height < 3",
    "transfer.sender = 'alice'",
    "transfer.sender = 'carol/x/y' AND tx.height <= 7",
    "transfer.sender = 'nobody'",
    "transfer.sender = 'alice' AND transfer.amount > 30",
    "transfer.sender = 'fees' AND transfer.amount > 30",
    "transfer.amount = 8",
    "transfer.amount >= 10 AND transfer.amount <= 12.5",
    "transfer.sender CONTAINS 'aro'",
    "transfer.sender EXISTS",
    "transfer.memo = 'secret'",
    "transfer.memo EXISTS",
    "nothing.here EXISTS",
    "epoch.number = '1'",
];

/// The first hundred, oldest first, for somebody who waits.
fn search(query: &Query) -> Search<'_> {
    Search { query, order: SearchOrder::Ascending, page: 0, per_page: 100, waits: &|| true }
}

#[test]
fn a_search_finds_what_a_look_at_every_transaction_finds_on_every_page() {
    let store = open(Backend::Memory, "".as_ref(), Indexing::On).expect("opens");
    let blocks = blocks();
    save(&*store, &blocks);
    let mut nonempty = 0;
    for text in QUERIES {
        let query = query(text);
        let mut expected: Vec<(Height, u32)> = Vec::new();
        for (height, (sent, _)) in (1..).zip(&blocks) {
            for (index, sent) in (0..).zip(sent) {
                if query.matches_in_one_event(&[("tx.height", &format!("{height}"))], &sent.result.events) {
                    expected.push((h(height), index));
                }
            }
        }
        nonempty += usize::from(!expected.is_empty());
        for order in [SearchOrder::Ascending, SearchOrder::Descending] {
            let mut found = Vec::new();
            for page in 0..=(expected.len() as u64 / 7) {
                let page = store.search_txs(Search { order, page, per_page: 7, ..search(&query) }).expect("searched");
                assert_eq!(page.total, expected.len() as u64, "{text}");
                assert!(page.items.len() <= 7);
                found.extend(page.items.iter().map(|tx| (tx.height, tx.index)));
            }
            assert_eq!(found, expected, "{text} {order:?}");
            expected.reverse();
        }
    }
    assert_eq!(nonempty, 10, "queries that find something");
}

#[test]
fn what_nobody_wants_to_search_for_takes_no_room_in_the_index() {
    let keys = |attributes: &[(&str, &str, bool)]| {
        let kv = Arc::new(MemoryKv::new());
        let store = KvStore::new(Box::new(kv.clone()), Indexing::On, None).expect("opens");
        save(&store, &[(vec![sent("tx", 0, vec![event("transfer", attributes)])], Vec::new())]);
        let mut count = 0;
        let mut visit = |_: &[u8], _: &[u8]| {
            count += 1;
            ControlFlow::Continue(())
        };
        kv.scan(&KeyRange { start: Vec::new(), end: vec![0xff; 64] }, Direction::Up, &mut visit).expect("scanned");
        count
    };
    assert_eq!(keys(&[("memo", "secret", false)]), keys(&[]));
    assert!(keys(&[("memo", "secret", true)]) > keys(&[]));
}

#[test]
fn blocks_are_found_by_height_and_by_their_own_events() {
    let store = open(Backend::Memory, "".as_ref(), Indexing::On).expect("opens");
    save(&*store, &blocks());
    let cases: [(&str, &[u64]); 6] = [
        ("block.height = 5", &[5]),
        ("block.height > 10", &[11, 12]),
        ("epoch.number = '1'", &[4, 5, 6, 7]),
        ("epoch.number = 1 AND block.height > 5", &[6, 7]),
        ("epoch.number EXISTS AND block.height <= 2", &[1, 2]),
        ("transfer.sender = 'alice'", &[]),
    ];
    for (text, heights) in cases {
        let page = store.search_blocks(search(&query(text))).expect("searched");
        let expected: Vec<Height> = heights.iter().map(|height| h(*height)).collect();
        assert_eq!((page.items, page.total), (expected, heights.len() as u64), "{text}");
    }
}

#[test]
fn a_hash_finds_its_transaction_and_nonsense_is_told() {
    let store = open(Backend::Memory, "".as_ref(), Indexing::On).expect("opens");
    save(&*store, &blocks());
    let hash = Tx::new(&b"tx 3 2"[..]).hash();
    let page = store.search_txs(search(&query(&format!("tx.hash = '{hash}'")))).expect("searched");
    assert_eq!(page.total, 1);
    assert_eq!((page.items[0].height, page.items[0].index), (h(3), 2));
    let none = store.search_txs(search(&query(&format!("tx.hash = '{}'", crate::crypto::Hash::EMPTY))));
    assert_eq!(none.expect("searched").total, 0);
    let short = store.search_txs(search(&query("tx.hash = '00'"))).expect("searched");
    assert_eq!(short.total, 0, "nothing has so short a hash");
    assert!(store.search_txs(search(&query("tx.hash = 'xyz'"))).is_err());
}

#[test]
fn a_failure_never_hides_an_earlier_success_and_a_later_success_counts() {
    let store = open(Backend::Memory, "".as_ref(), Indexing::On).expect("opens");
    let hash = Tx::new(&b"same"[..]).hash();
    let place = |blocks: &[(Vec<Sent>, Vec<Event>)]| {
        let store = open(Backend::Memory, "".as_ref(), Indexing::On).expect("opens");
        save(&*store, blocks);
        store.tx(&hash).expect("read").map(|tx| (tx.height, tx.index, tx.result.code))
    };
    let (good, bad) = (|| sent("same", 0, vec![]), || sent("same", 7, vec![]));
    assert_eq!(place(&[(vec![good()], vec![]), (vec![bad()], vec![])]), Some((h(1), 0, 0)));
    assert_eq!(place(&[(vec![bad()], vec![]), (vec![bad()], vec![])]), Some((h(2), 0, 7)));
    assert_eq!(place(&[(vec![bad()], vec![]), (vec![good()], vec![])]), Some((h(2), 0, 0)));
    assert_eq!(place(&[(vec![good()], vec![]), (vec![good()], vec![])]), Some((h(2), 0, 0)));
    assert_eq!(place(&[(vec![good(), bad()], vec![])]), Some((h(1), 0, 0)), "within one block too");
    assert_eq!(store.tx(&hash).expect("read"), None);
}

#[test]
fn a_search_ends_when_nobody_waits_for_its_answer() {
    let store = open(Backend::Memory, "".as_ref(), Indexing::On).expect("opens");
    save(&*store, &blocks());
    for text in ["tx.height > 0", "block.height > 0", "epoch.number EXISTS"] {
        let looked = std::cell::Cell::new(0);
        let waits = || {
            looked.set(looked.get() + 1);
            looked.get() < 3
        };
        let query = query(text);
        let search = Search { waits: &waits, ..search(&query) };
        let why = match text.starts_with("tx") {
            true => store.search_txs(search).expect_err("given up"),
            false => store.search_blocks(search).expect_err("given up"),
        };
        assert!(why.to_string().contains("nobody waits"), "{why}");
        assert_eq!(looked.get(), 3, "{text}: nothing is read after that");
    }
}

/// Indexing a block again, as after a crash, changes nothing.
#[test]
fn indexing_is_idempotent() {
    let store: Arc<dyn Store> = open(Backend::Memory, "".as_ref(), Indexing::On).expect("opens");
    let blocks = blocks();
    save(&*store, &blocks);
    let all = |store: &dyn Store| store.search_txs(search(&query("tx.height > 0"))).expect("found");
    let before = all(&*store);
    for height in [12, 3] {
        let stored = store.block(h(height)).expect("read").expect("there");
        let again = Arc::new(crate::types::CandidateBlock::new(stored));
        let (sent, events) = &blocks[height as usize - 1];
        store.index(&applied(again, sent, events.clone())).expect("indexed");
        assert_eq!(all(&*store), before, "block {height}");
    }
}
