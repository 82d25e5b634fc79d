//! Each protocol, a few dozen seeds, with everything that goes wrong.

mod failover;

use crate::sim::{Level, Outcome, Plan, Trace, Wishes, check};
use crate::types::Algorithm;

const ALGORITHMS: [Algorithm; 3] = [Algorithm::Tendermint, Algorithm::Pbft, Algorithm::Raft];
/// Seeds a protocol runs here; campaigns run more.
const SEEDS: std::ops::Range<u64> = 0..12;

fn plan(algorithm: Algorithm, seed: u64) -> Plan {
    let wishes = Wishes { level: Level::Whole, algorithm, nodes: None, heights: None, calm: false };
    Plan::draw(seed, &wishes)
}

fn run(plan: Plan) -> Outcome {
    super::run(plan, check::all, Trace::hash_only())
}

#[test]
fn a_calm_network_of_four_decides_ten_heights_under_each_protocol() {
    for algorithm in ALGORITHMS {
        let wishes = Wishes { level: Level::Whole, algorithm, nodes: Some(4), heights: Some(10), calm: true };
        let outcome = run(Plan::draw(1, &wishes));
        assert_eq!(outcome.violation, None, "{algorithm}");
    }
}

#[test]
fn no_rule_is_broken_under_any_protocol_whatever_goes_wrong() {
    for algorithm in ALGORITHMS {
        for seed in SEEDS {
            let outcome = run(plan(algorithm, seed));
            assert_eq!(outcome.violation, None, "{algorithm}, seed {seed}");
        }
    }
}

#[test]
fn the_same_seed_twice_is_the_same_run() {
    for algorithm in ALGORITHMS {
        let hash = || run(plan(algorithm, 7)).trace_hash;
        assert_eq!(hash(), hash(), "{algorithm}");
    }
}
