//! etcd's tables of majorities and of simple membership changes, replayed. Joint consensus is left out: our sets need no
//! joint phase, because a term belongs to one set (docs/protocol/raft.md).

use super::scene::{address, key_of, set_of};
use crate::consensus::raft::majority::{Answer, Poll, poll, reached};
use crate::types::{Power, ValidatorSet, ValidatorUpdate};
use std::collections::{BTreeMap, BTreeSet};

const VOTES: &str = include_str!("../../../../tests/vectors/etcd-raft/quorum/majority_vote.txt");
const COMMITS: &str = include_str!("../../../../tests/vectors/etcd-raft/quorum/majority_commit.txt");
const CHANGES: [&str; 3] = [
    include_str!("../../../../tests/vectors/etcd-raft/confchange/simple_idempotency.txt"),
    include_str!("../../../../tests/vectors/etcd-raft/confchange/simple_promote_demote.txt"),
    include_str!("../../../../tests/vectors/etcd-raft/confchange/simple_safety.txt"),
];

/// Question and answer of each case.
fn cases(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let (mut cases, mut question, mut answer, mut answering) = (Vec::new(), String::new(), String::new(), false);
    for line in lines {
        match line {
            "----" => answering = true,
            "" if answering => {
                cases.push((std::mem::take(&mut question), std::mem::take(&mut answer)));
                answering = false;
            }
            line if answering => answer = format!("{answer}{line}\n"),
            line => question = format!("{question}{line} "),
        }
    }
    if answering {
        cases.push((question, answer));
    }
    cases
}

/// The list after `name=(`.
fn list(question: &str, name: &str) -> Option<Vec<String>> {
    let inside = question.split_once(&format!("{name}=("))?.1.split_once(')')?.0;
    Some(inside.split(',').map(|word| word.trim().to_owned()).collect())
}

#[test]
fn votes_end_as_in_21_of_etcds_cases() {
    let mut run = 0;
    for (question, expected) in cases(VOTES) {
        // The case without a configuration serves joint quorums; a validator set is never empty.
        let (Some(members), Some(votes)) = (list(&question, "cfg"), list(&question, "votes")) else { continue };
        let nodes: Vec<usize> = (0..members.len()).collect();
        let answers: BTreeMap<_, _> = votes
            .iter()
            .zip(&nodes)
            .filter_map(|(vote, node)| match vote.as_str() {
                "y" => Some((address(*node), Answer::Granted)),
                "n" => Some((address(*node), Answer::Refused)),
                _ => None,
            })
            .collect();
        let wanted = match expected.trim() {
            "VoteWon" => Poll::Won,
            "VoteLost" => Poll::Lost,
            "VotePending" => Poll::Open,
            other => panic!("{other}"),
        };
        assert_eq!(poll(&set_of(&nodes), &answers), wanted, "{question}");
        run += 1;
    }
    assert_eq!(run, 21);
}

#[test]
fn majorities_have_come_as_far_as_in_15_of_etcds_cases() {
    let mut run = 0;
    for (question, expected) in cases(COMMITS) {
        let (Some(members), Some(indices)) = (list(&question, "cfg"), list(&question, "idx")) else { continue };
        let nodes: Vec<usize> = (0..members.len()).collect();
        let value_of = |node: &crate::types::Address| {
            let at = nodes.iter().position(|n| address(*n) == *node)?;
            indices.get(at)?.parse().ok()
        };
        let wanted: u64 = expected.lines().last().expect("a result").parse().expect("an index");
        assert_eq!(reached(&set_of(&nodes), value_of).unwrap_or(0), wanted, "{question}");
        run += 1;
    }
    assert_eq!(run, 15);
}

/// `v` gives a vote, `l` and `r` take it: a learner is whoever follows without being in the set. What leaves the set as
/// it is, is no change here. "More than one voter changed" is no error here, so the state after it is not compared and
/// not kept; neither is there a set before the first voter.
#[test]
fn sets_change_as_in_22_of_etcds_simple_changes() {
    let (mut compared, mut refused) = (0, 0);
    for text in CHANGES {
        let mut set: Option<ValidatorSet> = None;
        for (question, expected) in cases(text) {
            let words: Vec<&str> = question.split_whitespace().skip(1).collect();
            let mut wanted: BTreeMap<usize, u64> = BTreeMap::new();
            for word in words {
                let (what, node) = word.split_at(1);
                wanted.insert(node.parse().expect("an id"), u64::from(what == "v"));
            }
            let before: BTreeSet<_> = set.iter().flat_map(|set| set.members().iter().map(|m| m.address)).collect();
            wanted.retain(|node, power| before.contains(&address(*node)) != (*power == 1));
            if expected.starts_with("more than one voter") {
                continue;
            }
            let Some(old) = set.clone() else {
                if expected.starts_with("voters=(1)") {
                    set = Some((*set_of(&[1])).clone());
                }
                continue;
            };
            let mut new = old;
            let changes: Vec<_> = wanted
                .iter()
                .map(|(node, power)| ValidatorUpdate {
                    public_key: key_of(*node).public_key,
                    power: Power::new(*power),
                })
                .collect();
            let result = new.update(&changes);
            if expected.starts_with("removed all voters") {
                assert!(result.is_err(), "{question}");
                refused += 1;
                continue;
            }
            result.expect("a legal change");
            let voters = expected.split_once("voters=(").and_then(|(_, rest)| rest.split_once(')')).expect("voters").0;
            let voters: BTreeSet<_> = voters.split(' ').map(|id| address(id.parse().expect("an id"))).collect();
            assert_eq!(new.members().iter().map(|m| m.address).collect::<BTreeSet<_>>(), voters, "{question}");
            set = Some(new);
            compared += 1;
        }
    }
    assert_eq!((compared, refused), (19, 3));
}
