//! One story for each rule of reference §7.1.

use super::*;
use crate::mempool::{BatchId, FailedTxs};
use crate::types::abci::CheckTxKind;
use crate::types::{Address, Height, MempoolError, NodeId};
use std::time::Duration;

fn texts(txs: &[Tx]) -> Vec<String> {
    txs.iter().map(|tx| String::from_utf8_lossy(tx.bytes()).into_owned()).collect()
}

/// Submits and has the application say yes.
fn put(mempool: &mut Mempool, names: &[&str]) -> Vec<MempoolEffect> {
    let mut out = submit(mempool, &names.iter().map(|name| tx(name)).collect::<Vec<_>>());
    out.extend(answer_all(mempool, &out, ok(1)));
    out
}

fn answer_all(mempool: &mut Mempool, effects: &[MempoolEffect], with: CheckTxResponse) -> Vec<MempoolEffect> {
    let mut out = Vec::new();
    for effect in effects {
        if let MempoolEffect::Check { batch, txs, .. } = effect {
            let responses = vec![with.clone(); txs.len()];
            mempool.step(MempoolInput::Answered { batch: *batch, responses }, &mut out);
        }
    }
    out
}

fn commit(mempool: &mut Mempool, height: u64, txs: &[(&str, u32)]) -> Vec<MempoolEffect> {
    let txs = txs.iter().map(|(name, code)| (tx(name), *code)).collect();
    step(mempool, MempoolInput::Committed { height: Height::new(height), txs, limits: LIMITS })
}

/// The error of the only transaction submitted.
fn refusal(effects: &[MempoolEffect]) -> String {
    match effects {
        [MempoolEffect::Checked { results, .. }] => results[0].as_ref().expect_err("refused").to_string(),
        other => panic!("no refusal: {other:?}"),
    }
}

fn tells(effects: &[MempoolEffect]) -> bool {
    effects.contains(&MempoolEffect::TxsAvailable)
}

/// The application changed the consensus parameters. The first that fits into no block any more would keep all out.
#[test]
fn what_fits_into_no_block_since_the_limits_fell_is_dropped_and_may_come_again_when_they_rise() {
    let mut mempool = Mempool::new(config(), LIMITS);
    let large = tx(&"l".repeat(30));
    let asked = submit(&mut mempool, &[large.clone(), tx("thirsty"), tx("small")]);
    let MempoolEffect::Check { batch, .. } = asked[0] else { panic!("{asked:?}") };
    step(&mut mempool, MempoolInput::Answered { batch, responses: vec![ok(1), ok(90), ok(1)] });
    let late = submit(&mut mempool, &[tx(&"m".repeat(30))]);
    let fall = |bytes_max, gas_max| MempoolInput::Committed {
        height: Height::new(1),
        txs: Vec::new(),
        limits: TxLimits { bytes_max, gas_max: Some(gas_max) },
    };
    step(&mut mempool, fall(20, 50));
    answer_all(&mut mempool, &late, ok(1));
    assert_eq!(mempool.reap(Some(20), Some(50)), [tx("small")]);
    assert_eq!((mempool.count(), mempool.bytes()), (1, 5));
    let error = refusal(&submit(&mut mempool, std::slice::from_ref(&large)));
    assert!(error.contains("20"), "{error}");
    step(&mut mempool, fall(1_000, 100));
    assert!(matches!(submit(&mut mempool, &[large])[..], [MempoolEffect::Check { .. }]));
}

#[test]
fn a_submission_becomes_one_batch_and_one_answer() {
    let mut mempool = Mempool::new(config(), LIMITS);
    let out = submit(&mut mempool, &[tx("a"), tx("b"), tx("a")]);
    let expected = MempoolEffect::Check { batch: BatchId(1), kind: CheckTxKind::New, txs: vec![tx("a"), tx("b")] };
    assert_eq!(out, [expected]);
    let out = step(&mut mempool, MempoolInput::Answered { batch: BatchId(1), responses: vec![ok(1), code(5)] });
    let results = vec![Ok(ok(1)), Ok(code(5)), Err(MempoolError::InCache)];
    let expected = [MempoolEffect::Checked { request: RequestId(1), results }, MempoolEffect::TxsAvailable];
    assert_eq!(out, expected);
    assert_eq!((mempool.count(), mempool.bytes()), (1, 1));
}

#[test]
fn an_async_client_is_answered_at_admission() {
    let mut mempool = Mempool::new(config(), LIMITS);
    let origin = Origin::Admission(RequestId(7));
    let out = step(&mut mempool, MempoolInput::Submit { origin, txs: vec![tx("a"), tx("a")] });
    let results = vec![Ok(()), Err(MempoolError::InCache)];
    assert_eq!(out[0], MempoolEffect::Admitted { request: RequestId(7), results });
    let later = answer_all(&mut mempool, &out, ok(1));
    assert!(!later.iter().any(|effect| matches!(effect, MempoolEffect::Checked { .. })), "{later:?}");
}

#[test]
fn it_is_full_by_count_even_when_nothing_was_answered_yet() {
    let mut mempool = Mempool::new(config(), LIMITS);
    let many: Vec<Tx> = (0..11).map(|i| tx(&i.to_string())).collect();
    let out = submit(&mut mempool, &many);
    assert!(matches!(&out[0], MempoolEffect::Check { txs, .. } if txs.len() == 10));
    let refused = refusal(&submit(&mut mempool, &[tx("x")]));
    assert_eq!(refused, "mempool is full: number of txs 10 (max: 10), total txs bytes 10 (max: 100)");
    answer_all(&mut mempool, &out, code(1));
    assert!(matches!(submit(&mut mempool, &[tx("x")])[0], MempoolEffect::Check { .. }), "failed ones make room");
}

#[test]
fn it_is_full_by_bytes() {
    let mut mempool = Mempool::new(config(), LIMITS);
    put(&mut mempool, &[&"a".repeat(40), &"b".repeat(40)]);
    let refused = refusal(&submit(&mut mempool, &[tx(&"c".repeat(21))]));
    assert_eq!(refused, "mempool is full: number of txs 2 (max: 10), total txs bytes 80 (max: 100)");
    assert!(matches!(submit(&mut mempool, &[tx(&"c".repeat(20))])[0], MempoolEffect::Check { .. }));
}

#[test]
fn a_transaction_may_be_too_large_for_the_mempool_or_for_a_block() {
    let mut mempool = Mempool::new(config(), LIMITS);
    assert_eq!(refusal(&submit(&mut mempool, &[tx(&"a".repeat(41))])), "Tx too large. Max size is 40, but got 41");
    let mut mempool = Mempool::new(config(), TxLimits { bytes_max: 20, gas_max: None });
    let refused = refusal(&submit(&mut mempool, &[tx(&"a".repeat(19))]));
    assert_eq!(refused, "tx pre check: tx size is too big: 21, max: 20");
    assert!(matches!(submit(&mut mempool, &[tx(&"a".repeat(18))])[0], MempoolEffect::Check { .. }));
}

#[test]
fn the_first_rule_that_fails_answers() {
    // Full, then too large, then the block, then the application, then the cache.
    let mut mempool = Mempool::new(MempoolConfig { size: 1, ..config() }, TxLimits { bytes_max: 20, gas_max: None });
    let big = [tx(&"a".repeat(41))];
    assert!(refusal(&submit(&mut mempool, &big)).starts_with("Tx too large"));
    assert!(refusal(&submit(&mut mempool, &[tx(&"a".repeat(30))])).starts_with("tx pre check"));
    put(&mut mempool, &["a"]);
    assert!(refusal(&submit(&mut mempool, &big)).starts_with("mempool is full"));
    commit(&mut mempool, 1, &[("a", 0)]);
    step(&mut mempool, MempoolInput::AppDown { why: "no application".into() });
    assert_eq!(refusal(&submit(&mut mempool, &[tx("a")])), "no application");
    step(&mut mempool, MempoolInput::AppUp);
    assert_eq!(refusal(&submit(&mut mempool, &[tx("a")])), "tx already exists in cache");
}

#[test]
fn a_hold_ends_when_the_application_is_back_even_if_no_block_was_committed() {
    // A handshake told an application that was thrown back an old block again: Commit, and nothing for the mempool.
    let mut mempool = Mempool::new(config(), LIMITS);
    step(&mut mempool, MempoolInput::AppDown { why: "no application".into() });
    assert_eq!(step(&mut mempool, MempoolInput::Hold), [MempoolEffect::Held]);
    step(&mut mempool, MempoolInput::AppUp);
    assert!(matches!(submit(&mut mempool, &[tx("a")])[0], MempoolEffect::Check { .. }));
    // The application is lost between the hold and its Commit; what was held back meanwhile is asked then.
    let mut mempool = Mempool::new(config(), LIMITS);
    step(&mut mempool, MempoolInput::Hold);
    assert_eq!(submit(&mut mempool, &[tx("b")]), []);
    step(&mut mempool, MempoolInput::AppDown { why: "it died".into() });
    let asked = step(&mut mempool, MempoolInput::AppUp);
    assert!(matches!(&asked[..], [MempoolEffect::Check { txs, .. }] if *txs == [tx("b")]), "{asked:?}");
}

#[test]
fn gas_is_checked_where_blocks_limit_it() {
    let cases = [
        (Some(100), 100, None),
        (Some(100), 101, Some("gas wanted 101 is greater than max gas 100")),
        (Some(100), -1, Some("gas wanted -1 is negative")),
        (None, i64::MAX, None),
        (None, -1, None),
    ];
    for (gas_max, wanted, refused) in cases {
        let mut mempool = Mempool::new(config(), TxLimits { bytes_max: 1_000, gas_max });
        let out = submit(&mut mempool, &[tx("a")]);
        let out = answer_all(&mut mempool, &out, ok(wanted));
        let MempoolEffect::Checked { results, .. } = &out[0] else { panic!("{out:?}") };
        assert_eq!(results[0].as_ref().err().map(ToString::to_string).as_deref(), refused, "{gas_max:?} {wanted}");
        assert_eq!(mempool.count(), u64::from(refused.is_none()));
    }
}

#[test]
fn a_failed_transaction_may_come_again_unless_configured_otherwise() {
    for (failed, again) in [(FailedTxs::Forget, true), (FailedTxs::Remember, false)] {
        let mut mempool = Mempool::new(MempoolConfig { failed, ..config() }, LIMITS);
        let out = submit(&mut mempool, &[tx("a")]);
        answer_all(&mut mempool, &out, code(1));
        let out = submit(&mut mempool, &[tx("a")]);
        assert_eq!(matches!(out[0], MempoolEffect::Check { .. }), again, "{failed:?}");
    }
}

#[test]
fn committed_transactions_leave_and_only_successful_ones_stay_known() {
    // Bug class 081: including somebody's transaction early, so that it fails, must not lock it out.
    let mut mempool = Mempool::new(config(), LIMITS);
    put(&mut mempool, &["a", "b", "c"]);
    let out = commit(&mut mempool, 1, &[("a", 0), ("b", 3), ("never seen", 0)]);
    assert!(tells(&out), "c still waits");
    assert_eq!(texts(&mempool.first(9)), ["c"]);
    assert_eq!(refusal(&submit(&mut mempool, &[tx("a")])), "tx already exists in cache");
    assert_eq!(refusal(&submit(&mut mempool, &[tx("never seen")])), "tx already exists in cache");
    assert!(matches!(submit(&mut mempool, &[tx("b")])[0], MempoolEffect::Check { .. }));
}

#[test]
fn a_transaction_committed_while_being_checked_does_not_wait_for_another_block() {
    let mut mempool = Mempool::new(config(), LIMITS);
    let out = submit(&mut mempool, &[tx("a")]);
    commit(&mut mempool, 1, &[("a", 0)]);
    answer_all(&mut mempool, &out, ok(1));
    assert_eq!(mempool.count(), 0);
    assert_eq!(refusal(&submit(&mut mempool, &[tx("a")])), "tx already exists in cache");
}

#[test]
fn a_cache_that_forgot_does_not_let_a_transaction_wait_twice() {
    let mut mempool = Mempool::new(MempoolConfig { cache_size: 1, ..config() }, LIMITS);
    put(&mut mempool, &["a", "b"]);
    assert_eq!(refusal(&submit(&mut mempool, &[tx("a")])), "tx already exists in cache");
    let mut both = submit(&mut mempool, &[tx("c"), tx("d")]);
    both.extend(submit(&mut mempool, &[tx("c")]));
    answer_all(&mut mempool, &both, ok(1));
    assert_eq!(texts(&mempool.first(9)), ["a", "b", "c", "d"]);
}

#[test]
fn reaping_stops_at_the_first_that_does_not_fit() {
    let mut mempool = Mempool::new(config(), LIMITS);
    put(&mut mempool, &["aaaa", "bbbbbbbbbb", "c"]);
    assert_eq!(texts(&mempool.reap(None, None)), ["aaaa", "bbbbbbbbbb", "c"]);
    assert_eq!(texts(&mempool.reap(Some(6), None)), ["aaaa"], "4 bytes, tag and length");
    assert_eq!(texts(&mempool.reap(Some(5), None)), [] as [&str; 0]);
    assert_eq!(texts(&mempool.reap(Some(9), None)), ["aaaa"], "c would fit, but comes after b");
    assert_eq!(texts(&mempool.reap(Some(18), Some(2))), ["aaaa", "bbbbbbbbbb"]);
    assert_eq!(mempool.count(), 3, "reaped ones stay until they are committed");
}

#[test]
fn consensus_is_told_once_for_each_height() {
    let mut mempool = Mempool::new(config(), LIMITS);
    assert!(tells(&put(&mut mempool, &["a"])));
    assert!(!tells(&put(&mut mempool, &["b"])));
    assert!(tells(&commit(&mut mempool, 1, &[("a", 0)])));
    assert!(!tells(&put(&mut mempool, &["c"])));
    assert!(!tells(&commit(&mut mempool, 2, &[("b", 0), ("c", 0)])), "nothing waits");
    assert!(tells(&put(&mut mempool, &["d"])));
}

fn rechecking() -> Mempool {
    let recheck = Recheck::On { timeout: Duration::from_secs(1) };
    let mut mempool = Mempool::new(MempoolConfig { recheck, ..config() }, LIMITS);
    put(&mut mempool, &["a", "b", "c"]);
    mempool
}

#[test]
fn a_recheck_asks_about_all_in_order_and_drops_what_fails() {
    let mut mempool = rechecking();
    let out = commit(&mut mempool, 1, &[("a", 0)]);
    let MempoolEffect::Check { batch, kind: CheckTxKind::Recheck, txs } = &out[0] else { panic!("{out:?}") };
    assert_eq!(texts(txs), ["b", "c"]);
    assert!(!tells(&out), "consensus waits for the recheck");
    let out = step(&mut mempool, MempoolInput::Answered { batch: *batch, responses: vec![code(1), ok(1)] });
    assert!(tells(&out));
    assert_eq!(texts(&mempool.first(9)), ["c"]);
    assert!(matches!(submit(&mut mempool, &[tx("b")])[0], MempoolEffect::Check { .. }), "it may come again");
}

#[test]
fn a_slow_recheck_does_not_hold_consensus_up() {
    let mut mempool = rechecking();
    let out = commit(&mut mempool, 1, &[("a", 0)]);
    let timer = MempoolEffect::SetRecheckTimer { height: Height::new(1), after: Duration::from_secs(1) };
    assert_eq!(out[1], timer);
    assert!(tells(&step(&mut mempool, MempoolInput::RecheckTimer { height: Height::new(1) })));
    assert_eq!(step(&mut mempool, MempoolInput::RecheckTimer { height: Height::new(1) }), [], "told already");
}

#[test]
fn a_recheck_that_is_not_done_at_the_next_commit_makes_the_mempool_full() {
    let mut mempool = rechecking();
    let first = commit(&mut mempool, 1, &[("a", 0)]);
    assert_eq!(step(&mut mempool, MempoolInput::Hold), [], "the application still owes the recheck");
    let refused = refusal(&submit(&mut mempool, &[tx("x")]));
    assert_eq!(refused, "mempool is still rechecking after a new committed block, so it is considered as full");
    assert_eq!(answer_all(&mut mempool, &first, ok(1)), [MempoolEffect::TxsAvailable, MempoolEffect::Held]);
    assert!(!matches!(submit(&mut mempool, &[tx("x")])[..], [MempoolEffect::Checked { .. }]), "open again");
}

#[test]
fn the_answers_of_an_overtaken_recheck_count_for_nothing() {
    let mut mempool = rechecking();
    let first = commit(&mut mempool, 1, &[("a", 0)]);
    let second = commit(&mut mempool, 2, &[("b", 0)]);
    answer_all(&mut mempool, &first, code(1));
    assert_eq!(texts(&mempool.first(9)), ["c"]);
    answer_all(&mut mempool, &second, code(1));
    assert_eq!(mempool.count(), 0);
}

#[test]
fn nor_when_as_many_answers_as_are_awaited_come() {
    let mut mempool = rechecking();
    let first = commit(&mut mempool, 1, &[("a", 0)]);
    let second = commit(&mut mempool, 2, &[]);
    answer_all(&mut mempool, &first, code(1));
    assert_eq!(texts(&mempool.first(9)), ["b", "c"]);
    answer_all(&mut mempool, &second, code(1));
    assert_eq!(mempool.count(), 0);
}

#[test]
fn nothing_is_sent_while_the_application_commits() {
    let mut mempool = Mempool::new(config(), LIMITS);
    let before = submit(&mut mempool, &[tx("a")]);
    assert_eq!(step(&mut mempool, MempoolInput::Hold), [], "one answer is owed");
    assert_eq!(submit(&mut mempool, &[tx("b")]), [], "held back");
    let out = answer_all(&mut mempool, &before, ok(1));
    assert_eq!(out.last(), Some(&MempoolEffect::Held));
    let out = commit(&mut mempool, 1, &[("a", 0)]);
    assert!(matches!(&out[..], [MempoolEffect::Check { txs, .. }] if texts(txs) == ["b"]), "{out:?}");
    assert_eq!(step(&mut mempool, MempoolInput::Hold), []);
}

#[test]
fn an_idle_mempool_is_held_at_once() {
    let mut mempool = Mempool::new(config(), LIMITS);
    assert_eq!(step(&mut mempool, MempoolInput::Hold), [MempoolEffect::Held]);
}

#[test]
fn a_broken_call_fails_its_transactions_and_they_may_come_again() {
    let mut mempool = Mempool::new(config(), LIMITS);
    submit(&mut mempool, &[tx("a")]);
    let out = step(&mut mempool, MempoolInput::CheckFailed { batch: BatchId(1), why: "gone".into() });
    assert_eq!(refusal(&out), "gone");
    let out = submit(&mut mempool, &[tx("a")]);
    assert!(matches!(out[0], MempoolEffect::Check { .. }));
    // Too few answers are no answers.
    let out = step(&mut mempool, MempoolInput::Answered { batch: BatchId(2), responses: vec![] });
    assert_eq!(refusal(&out), "the application gave 0 answers to 1 check_tx");
    assert_eq!(step(&mut mempool, MempoolInput::Answered { batch: BatchId(2), responses: vec![ok(1)] }), []);
}

#[test]
fn senders_are_remembered_up_to_a_limit() {
    let mut mempool = Mempool::new(config(), LIMITS);
    let peer = |i: u8| NodeId::new(Address::new([i; 20]));
    for i in 0..40 {
        let out = step(&mut mempool, MempoolInput::Submit { origin: Origin::Peer(peer(i)), txs: vec![tx("a")] });
        answer_all(&mut mempool, &out, ok(1));
    }
    assert_eq!(mempool.senders(&tx("a").hash()).len(), crate::mempool::SENDERS_MAX);
    assert_eq!(mempool.senders(&tx("a").hash())[0], peer(0));
}

#[test]
fn flushing_forgets_everything() {
    let mut mempool = Mempool::new(config(), LIMITS);
    put(&mut mempool, &["a", "b"]);
    step(&mut mempool, MempoolInput::Flush);
    assert_eq!((mempool.count(), mempool.bytes()), (0, 0));
    assert!(matches!(submit(&mut mempool, &[tx("a")])[0], MempoolEffect::Check { .. }));
}

#[test]
fn a_recheck_of_nothing_that_still_waits_keeps_nobody_from_committing() {
    let mut mempool = rechecking();
    let waiting: Vec<(String, u32)> = texts(&mempool.first(10)).into_iter().map(|name| (name, 0)).collect();
    commit(&mut mempool, 1, &[(&waiting[0].0, 0)]);
    let rest: Vec<(&str, u32)> = waiting[1..].iter().map(|(name, code)| (name.as_str(), *code)).collect();
    commit(&mut mempool, 2, &rest);
    assert_eq!(mempool.count(), 0);
    assert_eq!(step(&mut mempool, MempoolInput::Hold), [MempoolEffect::Held]);
}

#[test]
fn the_timer_of_an_overtaken_recheck_counts_for_nothing() {
    let mut mempool = rechecking();
    commit(&mut mempool, 1, &[("a", 0)]);
    commit(&mut mempool, 2, &[]);
    assert_eq!(step(&mut mempool, MempoolInput::RecheckTimer { height: Height::new(1) }), []);
    assert!(tells(&step(&mut mempool, MempoolInput::RecheckTimer { height: Height::new(2) })));
}

#[test]
fn a_block_is_reaped_to_its_gas_and_not_beyond() {
    let mut mempool = Mempool::new(config(), LIMITS);
    for name in ["a", "b", "c"] {
        let out = submit(&mut mempool, &[tx(name)]);
        answer_all(&mut mempool, &out, ok(40));
    }
    assert_eq!(texts(&mempool.reap(None, Some(80))), ["a", "b"]);
    assert_eq!(texts(&mempool.reap(None, Some(79))), ["a"]);
}

#[test]
fn an_application_that_is_away_is_not_asked_to_recheck() {
    let mut mempool = rechecking();
    step(&mut mempool, MempoolInput::AppDown { why: "gone".into() });
    assert_eq!(commit(&mut mempool, 1, &[("a", 0)]), [MempoolEffect::TxsAvailable]);
}

#[test]
fn when_a_recheck_fails_what_waits_stays_and_consensus_is_told_of_it() {
    let mut mempool = rechecking();
    let out = commit(&mut mempool, 1, &[("a", 0)]);
    let MempoolEffect::Check { batch, .. } = &out[0] else { panic!("{out:?}") };
    let out = step(&mut mempool, MempoolInput::CheckFailed { batch: *batch, why: "gone".into() });
    assert_eq!(out, [MempoolEffect::TxsAvailable]);
    assert_eq!(texts(&mempool.first(9)), ["b", "c"]);
}
