//! The checker itself is checked: against histories made by hand, made from an order, and against all orders.

use super::generate::{Random, Shape, lie, linearizable};
use super::oracle::{self, is_linearizable};
use super::text::history;
use super::{CONFIGURATIONS_MAX, Call, Outcome, PutAt, ReadAt, Verdict, check, follows};

/// Histories a register could have given, and why they look as if not. 16 cases.
const GOOD: &[(&str, &str)] = &[
    ("nothing happened", ""),
    ("a get before the first put", "get - 0..5; put 1 10..20; get 1 30..40"),
    ("a put and a get at once: the old value", "put 1 0..10; put 2 20..40; get 1 25..30"),
    ("a put and a get at once: the new value", "put 1 0..10; put 2 20..40; get 2 25..30"),
    ("two puts at once, read in the order opposite to their begins", "put 1 0..20; put 2 5..15; get 1 30..40"),
    ("two gets at once may differ in either order", "put 1 0..10; put 2 20..60; get 2 25..55; get 1 25..55"),
    ("a get that ends when the put begins", "put 1 0..10; get 2 10..20; put 2 20..30"),
    ("an open put is never seen", "put 1 0..10; put 2 5..?; get 1 20..30; get 1 100..110"),
    ("an open put is seen late", "put 1 0..10; put 2 5..?; get 1 20..30; get 2 100..110"),
    ("an open put is seen after a later acknowledged one", "put 1 0..?; put 2 10..20; get 2 30..40; get 1 50..60"),
    ("a refused put is not seen", "put 1 0..10; put 2 20..x; get 1 30..40"),
    ("the same value twice: what looks old is new", "put 1 0..5; put 2 10..15; put 1 20..25; get 1 30..40"),
    ("the same value twice, once open", "put 1 0..5; put 1 8..?; put 2 10..15; get 2 20..22; get 1 30..40"),
    (
        "the one order of three puts at once that two later gets allow",
        "put 1 0..100; put 2 0..100; put 3 0..100; get 2 10..20; get 3 30..40; get 1 110..120",
    ),
    (
        "a chain of overlaps, each read by the next",
        "put 1 0..12; get 1 10..22; put 2 20..32; get 2 30..42; put 3 40..52; get 3 50..62",
    ),
    (
        "two open puts take effect in the order opposite to their begins",
        "put 1 0..?; put 2 5..?; get 2 20..30; get 1 40..50",
    ),
];

/// Histories no register could have given, and what is wrong with them. 19 cases.
const BAD: &[(&str, &str)] = &[
    ("a stale read", "put 1 0..10; put 2 20..30; get 1 40..50"),
    ("a stale read: as if nothing had been written", "put 1 0..10; get - 20..30"),
    ("a lost update: an acknowledged put is never seen", "put 1 0..10; put 2 20..30; get 1 40..50; get 1 60..70"),
    ("a lost update after it was seen", "put 1 0..10; put 2 20..30; get 2 40..50; get 1 60..70"),
    ("a value nobody wrote", "put 1 0..10; get 7 20..30"),
    ("a value nobody wrote, before anything was", "get 7 0..10"),
    ("a value from the future", "get 1 0..10; put 1 20..30"),
    ("an open put's value from the future", "get 1 0..10; put 1 20..?"),
    ("a refused put is seen", "put 1 0..10; put 2 20..x; get 2 30..40"),
    ("two gets go back in time during a put", "put 1 0..10; put 2 20..90; get 2 30..40; get 1 50..60"),
    ("two gets go back in time over an open put", "put 1 0..10; put 2 20..?; get 2 30..40; get 1 50..60"),
    ("no value after one was seen", "put 1 0..90; get 1 10..20; get - 30..40"),
    ("two clients see two puts in two orders", "put 1 0..90; put 2 0..90; get 1 10..20; get 2 30..40; get 1 50..60"),
    ("a put takes effect twice", "put 1 0..10; put 2 20..30; get 2 40..50; get 1 60..70; get 2 80..90"),
    (
        "an open put takes effect twice",
        "put 1 0..?; put 2 10..20; get 1 30..40; put 3 50..60; get 3 65..68; get 1 70..80",
    ),
    (
        "two puts at once, then two gets that cannot both be last",
        "put 1 0..20; put 2 5..15; get 1 30..40; get 2 50..60",
    ),
    (
        "a split: each half reads its own writes only",
        "put 1 0..10; get 1 20..30; put 2 20..30; get 2 40..50; get 1 60..70",
    ),
    (
        "the middle of three puts is read after the third",
        "put 1 0..5; put 2 10..15; put 3 20..25; get 3 30..35; get 2 40..45",
    ),
    (
        "both of two puts at once are overtaken by a third",
        "put 1 0..20; put 2 0..20; put 3 30..40; get 3 50..60; get 2 70..80",
    ),
];

#[test]
fn histories_of_a_register_are_accepted() {
    for (why, text) in GOOD {
        assert_eq!(judge(&history(text)), Verdict::Linearizable, "{why}: {text}");
    }
}

#[test]
fn histories_of_no_register_are_rejected() {
    for (why, text) in BAD {
        assert!(matches!(judge(&history(text)), Verdict::Violation(_)), "{why}: {text}");
    }
}

#[test]
fn the_oracle_agrees_with_everything_made_by_hand() {
    for (histories, expected) in [(GOOD, true), (BAD, false)] {
        for (why, text) in histories {
            let calls = history(text);
            assert_eq!(is_linearizable(&calls), expected, "{why}: {text}");
        }
    }
}

#[test]
fn a_violation_says_where_the_order_ends_and_what_does_not_fit() {
    let Verdict::Violation(why) = judge(&history("put 1 0..10; put 2 20..30; get 1 40..50")) else {
        panic!("a stale read was accepted")
    };
    assert!(why.starts_with("key 0: 2 of 3 calls have an order, which leaves Some(2); then none of"), "{why}");
    assert!(why.contains("Got { value: Some(1), ended: 50 }"), "{why}");
}

#[test]
fn a_violation_of_one_key_is_found_among_others() {
    let mut calls = history("put 1 0..10; put 2 20..30; get 1 40..50");
    for call in &mut calls {
        call.key = 3;
    }
    calls.extend(history("put 1 0..10; get 1 20..30"));
    assert!(matches!(judge(&calls), Verdict::Violation(why) if why.starts_with("key 3:")));
}

/// Seeds of the stories below.
const SEEDS: u64 = 1_000;
/// Seeds of those that are compared with all orders.
const ORACLE_SEEDS: u64 = 4_000;

#[test]
fn histories_made_from_an_order_are_accepted() {
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let shape = Shape {
            calls: 20 + random.below(100) as usize,
            keys: 1 + random.below(3) as usize,
            values: 2 + random.below(200),
            overlap: random.below(8),
        };
        let calls = linearizable(&mut random, shape);
        assert_eq!(judge(&calls), Verdict::Linearizable, "seed {seed}, {shape:?}: {calls:?}");
    }
}

#[test]
fn small_histories_with_a_lie_are_judged_as_by_trying_all_orders() {
    let (mut accepted, mut rejected) = (0, 0);
    for seed in 0..ORACLE_SEEDS {
        let mut random = Random::new(seed);
        let values = 2 + random.below(3);
        let calls = 2 + random.below(oracle::CALLS_MAX as u64 - 1) as usize;
        let shape = Shape { calls, keys: 1, values, overlap: random.below(4) };
        let mut calls = linearizable(&mut random, shape);
        if !lie(&mut random, &mut calls, values) {
            continue;
        }
        let expected = is_linearizable(&calls);
        assert_eq!(judge(&calls) == Verdict::Linearizable, expected, "seed {seed}: {calls:#?}");
        *(if expected { &mut accepted } else { &mut rejected }) += 1;
    }
    assert!(accepted > 200 && rejected > 1_000, "the seeds prove little: {accepted} accepted, {rejected} rejected");
}

#[test]
fn large_histories_with_an_impossible_value_are_rejected() {
    let shape = Shape { calls: 150, keys: 2, values: 50, overlap: 4 };
    let mut lies = 0;
    for seed in 0..SEEDS / 10 {
        let mut calls = linearizable(&mut Random::new(seed), shape);
        let Some(Outcome::Got { value, .. }) =
            calls.iter_mut().map(|call| &mut call.outcome).find(|outcome| matches!(outcome, Outcome::Got { .. }))
        else {
            continue;
        };
        *value = Some(shape.values);
        lies += 1;
        assert!(matches!(judge(&calls), Verdict::Violation(_)), "seed {seed}");
    }
    assert!(lies > SEEDS / 20, "only {lies} histories had a get");
}

#[test]
fn a_long_history_of_many_clients_at_once_is_decided_within_the_limit() {
    let shape = Shape { calls: 4_000, keys: 2, values: 1 << 40, overlap: 6 };
    assert_eq!(judge(&linearizable(&mut Random::new(7), shape)), Verdict::Linearizable);
}

#[test]
fn a_search_that_would_take_too_long_is_given_up_and_says_so() {
    // Twenty puts at once have a million subsets; two gets of two values after all of them can never be right.
    let mut text: String = (0..20).map(|value| format!("put {value} 0..100;")).collect();
    text += "get 3 200..210; get 4 220..230";
    let calls = history(&text);
    assert_eq!(check(&calls, 5_000), Verdict::Undecided { key: 0, configurations: 5_000 });
}

/// Block 2 has two puts of key 0, block 4 one of key 1.
fn blocks() -> Vec<Vec<String>> {
    [&[][..], &["key0=1", "mark7=9", "key0=2"], &[], &["key1=3"]]
        .map(|txs| txs.iter().map(|tx| (*tx).to_owned()).collect())
        .into()
}

#[test]
fn gets_and_puts_that_follow_the_chain_are_accepted() {
    let puts = [(0, 2, 1), (0, 2, 2), (1, 4, 3)].map(|(key, height, value)| PutAt { key, height, value });
    let reads = [(0, 1, None), (0, 2, Some(2)), (0, 4, Some(2)), (1, 3, None), (1, 4, Some(3))];
    let reads = reads.map(|(key, height, value)| ReadAt { key, height, value });
    assert_eq!(follows(&blocks(), &puts, &reads), Ok(()));
}

#[test]
fn what_differs_from_the_chain_is_named() {
    let read = |key, height, value| follows(&blocks(), &[], &[ReadAt { key, height, value }]).unwrap_err();
    let put = |key, height, value| follows(&blocks(), &[PutAt { key, height, value }], &[]).unwrap_err();
    assert!(read(0, 2, Some(1)).contains("the blocks leave Some(2)"), "the first put of the block");
    assert!(read(0, 1, Some(2)).contains("the blocks leave None"), "a height too early");
    assert!(read(1, 4, None).contains("the blocks leave Some(3)"), "a put that is not seen");
    assert!(read(1, 5, Some(3)).contains("there are 4 blocks"), "a height that is not there");
    assert!(put(0, 3, 1).contains("it is in block Some(2)"), "another height than promised");
    assert!(put(0, 2, 7).contains("it is in block None"), "a lost put");
    let twice = [blocks(), blocks()].concat();
    assert!(follows(&twice, &[], &[]).unwrap_err().contains("is in block 2 and in block 6"));
}

fn judge(calls: &[Call]) -> Verdict {
    check(calls, CONFIGURATIONS_MAX)
}
