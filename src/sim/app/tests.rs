//! Stories of what is drawn for an application and how its answers are compared.

use super::*;
use crate::types::abci::{Event, ExecTxResult, FinalizeBlockResponse};
use bytes::Bytes;

fn wishes(heights: u64) -> Wishes {
    Wishes { hosting: Hosting::Started, instances: 3, heights, initial: 1, calm: false, only: None }
}

#[test]
fn a_seed_draws_the_same_plan_twice_and_shorter_plans_are_its_beginning() {
    for seed in 0..50 {
        let long = Plan::draw(seed, &wishes(20));
        assert_eq!(long, Plan::draw(seed, &wishes(20)));
        let short = Plan::draw(seed, &wishes(7));
        assert_eq!(short.faults[..], long.faults[..short.faults.len()]);
    }
}

#[test]
fn a_plan_of_chosen_faults_has_those_alone_under_their_numbers() {
    let all = Plan::draw(3, &wishes(20));
    let chosen = [all.faults[1].number, all.faults[4].number];
    let only = Plan::draw(3, &Wishes { only: Some(chosen.into()), ..wishes(20) });
    assert_eq!(only.faults, [all.faults[1].clone(), all.faults[4].clone()]);
}

#[test]
fn every_misfortune_is_drawn_by_some_seed() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..50 {
        seen.extend(Plan::draw(seed, &wishes(20)).faults.iter().map(|fault| {
            let name = format!("{:?}", fault.what);
            name.split([' ', '{']).next().unwrap().to_owned()
        }));
    }
    assert_eq!(seen.len(), 12, "{seen:?}");
}

#[test]
fn the_first_difference_is_the_one_nearest_to_the_cause() {
    let txs = [Bytes::from_static(b"k=1"), Bytes::from_static(b"k=2")];
    let one = FinalizeBlockResponse {
        tx_results: vec![ExecTxResult::default(); 2],
        app_hash: Bytes::from_static(&[1]),
        ..FinalizeBlockResponse::default()
    };
    let mut other = FinalizeBlockResponse { app_hash: Bytes::from_static(&[2]), ..one.clone() };
    other.tx_results[1].gas_used = 6;
    other.tx_results[0].log = "another".to_owned();
    other.tx_results[0].events.push(Event::default());
    let found = compare::finalize_block(&txs, &one, &other);
    let fields: Vec<_> = found.grave.iter().map(|it| it.field).collect();
    assert_eq!(fields, ["gas_used", "app_hash"]);
    assert_eq!(found.grave[0].place, Place::Tx { index: 1, tx: txs[1].clone() });
    assert_eq!((found.grave[0].one.as_str(), found.grave[0].other.as_str()), ("0", "6"));
    assert_eq!(found.slight.iter().map(|it| it.field).collect::<Vec<_>>(), ["events", "log"]);
    assert_eq!(compare::finalize_block(&txs, &one, &one), compare::Differences::default());
}

#[test]
fn a_file_of_transactions_has_text_and_hexadecimal_lines() {
    let txs = parse_txs("# two\na=b\r\n\n0x00ff\n").unwrap();
    assert_eq!(txs, [Bytes::from_static(b"a=b"), Bytes::from_static(&[0, 255])]);
    assert_eq!(parse_txs("a=b\n0xzz"), Err(TxsError::NotHex { line: 2 }));
    assert_eq!(parse_txs("# nothing\n"), Err(TxsError::Empty));
}

#[test]
fn a_transaction_is_shown_as_text_where_it_is_text() {
    assert_eq!(shown(&Bytes::from_static(b"k=v")), "0x6b3d76, \"k=v\"");
    assert_eq!(shown(&Bytes::from_static(&[0, 1])), "0x0001");
    assert!(shown(&Bytes::from(vec![b'a'; 20])).ends_with('…'));
}
