//! Seeds of every protocol: those that never failed, and those that once did.

use super::{Level, Outcome, Plan, Trace, Wishes, run};
use crate::types::Algorithm;
use serde_json::Value;
use std::path::Path;

/// Seeds for each protocol; the long runs are `scripts/soak simulate`.
const SEEDS: u64 = 150;

fn wishes(algorithm: Algorithm) -> Wishes {
    Wishes { level: Level::Bare, algorithm, nodes: None, heights: None, calm: false }
}

fn outcome(algorithm: Algorithm, seed: u64) -> Outcome {
    run(Plan::draw(seed, &wishes(algorithm)), Trace::hash_only())
}

fn expect_clean(algorithm: Algorithm) {
    for seed in 0..SEEDS {
        let violation = outcome(algorithm, seed).violation;
        assert!(violation.is_none(), "quorate simulate --algorithm {algorithm} --seed {seed}: {violation:?}");
    }
}

#[test]
fn a_hundred_and_fifty_tendermint_networks_with_faults_break_no_rule() {
    expect_clean(Algorithm::Tendermint);
}

#[test]
fn a_hundred_and_fifty_pbft_networks_with_faults_break_no_rule() {
    expect_clean(Algorithm::Pbft);
}

#[test]
fn a_hundred_and_fifty_raft_networks_with_faults_break_no_rule() {
    expect_clean(Algorithm::Raft);
}

#[test]
fn the_same_seed_does_the_same_twice_and_another_seed_something_else() {
    for algorithm in Algorithm::ALL {
        let hashes = |_| (0..10).map(|seed| outcome(algorithm, seed).trace_hash).collect::<Vec<u64>>();
        let (first, second) = (hashes(1), hashes(2));
        assert_eq!(first, second);
        assert!(first.windows(2).all(|pair| pair[0] != pair[1]));
    }
}

/// Every file is one seed that once broke a rule, and why; it must not any more.
#[test]
fn seeds_that_once_failed_do_not_any_more() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/seeds");
    let mut ran = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus is in the repository").flatten() {
        if entry.path().extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).expect("readable");
        let seeds: Value = serde_json::from_str(&text).expect("JSON");
        for seed in seeds.as_array().expect("a list") {
            let violation = run(plan_of(seed), Trace::hash_only()).violation;
            assert!(violation.is_none(), "{seed}: {violation:?}");
            ran += 1;
        }
    }
    assert!(ran > 0, "no seeds in {}", folder.display());
}

/// What a seed of the corpus draws: as it was drawn when it failed.
fn plan_of(seed: &Value) -> Plan {
    let (wishes, number) = read_seed(seed);
    match seed["strains"].as_bool() {
        Some(true) => Plan::draw(number, &wishes),
        _ => Plan::draw_without_strains(number, &wishes),
    }
}

/// A signer is slow in this one.
#[test]
fn a_seed_of_the_corpus_with_strains_is_the_plan_that_the_command_line_draws() {
    let seed =
        |strains| serde_json::json!({ "algorithm": "tendermint", "level": 2, "seed": 91000488, "strains": strains });
    let wishes = Wishes { level: Level::Whole, ..wishes(Algorithm::Tendermint) };
    assert_eq!(plan_of(&seed(Value::Bool(true))), Plan::draw(91000488, &wishes));
    assert_ne!(plan_of(&seed(Value::Null)), plan_of(&seed(Value::Bool(true))));
}

fn read_seed(seed: &Value) -> (Wishes, u64) {
    let name = seed["algorithm"].as_str().expect("an algorithm");
    let algorithm = Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name).expect("a protocol");
    let level = if seed["level"] == 2 { Level::Whole } else { Level::Bare };
    let wishes = Wishes {
        level,
        nodes: seed["nodes"].as_u64().map(|nodes| u8::try_from(nodes).expect("few")),
        heights: seed["heights"].as_u64(),
        ..wishes(algorithm)
    };
    (wishes, seed["seed"].as_u64().expect("a seed"))
}
