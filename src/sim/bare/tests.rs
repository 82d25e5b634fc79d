//! Seeds of every protocol, a few at a time.

use crate::sim::{Level, Outcome, Plan, Trace, Wishes, check};
use crate::types::Algorithm;

fn run(algorithm: Algorithm, seed: u64, calm: bool) -> Outcome {
    let wishes = Wishes { level: Level::Bare, algorithm, nodes: None, heights: None, calm };
    super::run(Plan::draw(seed, &wishes), check::all, Trace::hash_only())
}

#[test]
fn calm_networks_decide() {
    for algorithm in Algorithm::ALL {
        for seed in 0..20 {
            let outcome = run(algorithm, seed, true);
            assert_eq!(outcome.violation, None, "{algorithm:?} {seed}");
        }
    }
}

#[test]
fn networks_with_faults_decide() {
    for algorithm in Algorithm::ALL {
        for seed in 0..200 {
            let outcome = run(algorithm, seed, false);
            if let Some(v) = outcome.violation {
                println!("{algorithm:?} {seed} {v}");
            }
        }
    }
}
