//! Liars among whole replicas (level 2): few enough break nothing, too many break agreement, and every lie is told.

use super::*;
use crate::sim::whole;

/// Networks run until two of four must have broken agreement.
const TRIES: u64 = 12;

/// Four nodes of equal power in a calm network, of which these lie.
fn calm_network(algorithm: Algorithm, seed: u64, liars: &[(u8, Vec<Lie>)]) -> Plan {
    let wishes = Wishes { level: Level::Whole, algorithm, nodes: Some(4), heights: Some(3), calm: true };
    let mut plan = Plan::draw(seed, &wishes);
    for (node, lies) in liars {
        plan.nodes[usize::from(*node)].conduct = Conduct::Liar(lies.clone());
    }
    plan
}

/// Each lie alone, in Tendermint and PBFT in turn, by one of four. What each tells is counted.
#[test]
fn one_liar_among_four_whole_replicas_breaks_nothing_whatever_it_lies_about() {
    let mut told = Coverage::default();
    for (nr, lie) in (0..).zip(Lie::ALL) {
        let fits = |algorithm: &Algorithm| Lie::of(*algorithm, Level::Whole).contains(lie);
        let can: Vec<Algorithm> = Algorithm::ALL.into_iter().filter(fits).collect();
        let algorithm = can[nr % can.len()];
        let liar = (nr % 4) as u8;
        let plan = calm_network(algorithm, nr as u64, &[(liar, vec![*lie])]);
        let outcome = whole::run(plan, check::all, Trace::hash_only());
        assert_eq!(outcome.violation, None, "{algorithm:?}, seed {nr}, node {liar} lies: {lie:?}");
        told.add(&outcome.coverage);
    }
    assert!(told.of("lie refused") > 0, "nobody refused anything");
}

#[test]
fn twins_among_five_whole_replicas_break_nothing() {
    for algorithm in [Algorithm::Tendermint, Algorithm::Pbft] {
        let mut plan = calm_network(algorithm, 3, &[]);
        plan.nodes.push(NodePlan { power: 0, conduct: Conduct::TwinOf(NodeNr(1)) });
        let outcome = whole::run(plan, check::all, Trace::hash_only());
        assert_eq!(outcome.violation, None, "{algorithm:?}");
    }
}

#[test]
fn two_equivocators_among_four_whole_replicas_break_agreement_and_that_is_seen() {
    let lies = vec![Lie::EquivocateVotes, Lie::EquivocateProposals];
    // Where it happens soon: most networks stand still first, and that takes long to run.
    for (algorithm, from) in [(Algorithm::Tendermint, 6), (Algorithm::Pbft, 33)] {
        let broken = (from..from + TRIES).find(|seed| {
            let mut plan = calm_network(algorithm, *seed, &[(0, lies.clone()), (1, lies.clone())]);
            // Without time to recover in.
            plan.heights = 2;
            let outcome = whole::run(plan, only_agreement, Trace::hash_only());
            outcome.violation.is_some_and(|violation| violation.checker == "agreement")
        });
        assert!(broken.is_some(), "{algorithm:?}: agreement held in {TRIES} networks of two liars and two others");
    }
}
