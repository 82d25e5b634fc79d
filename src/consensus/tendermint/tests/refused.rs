//! Votes the signer refuses.

use super::stories::{bystander, locked_on_a, others};
use super::story::{Story, block, start, validators};
use crate::consensus::Reaction;
use crate::types::{JournalRecord, Round, Step};
use std::sync::Arc;

#[test]
fn a_refused_prevote_is_asked_for_again_ever_more_seldom_until_it_is_signed() {
    let mut story = bystander();
    story.proposed(0, None, &block(1, "A"));
    story.expect(&["check A", "sign prevote 0 A"]);
    for pause in ["1000ms", "2000ms", "4000ms", "8000ms", "8000ms"] {
        assert_eq!(story.refused(), Reaction::Accepted);
        story.expect(&[&format!("timer Prevote 0 {pause}")]);
        let journal = story.journal.len();
        assert_eq!(story.timer(Step::Prevote, 0), Reaction::Accepted);
        story.expect(&["sign prevote 0 A"]);
        assert_eq!(story.journal.len(), journal, "nothing rests on it");
    }
    story.signed();
    story.expect(&["tell prevote 0 A"]);
    assert!(matches!(story.timer(Step::Prevote, 0), Reaction::Ignored(_)), "it is signed");
}

#[test]
fn a_single_validator_whose_precommit_was_refused_once_decides_without_a_restart() {
    let set = Arc::new(validators(&[5]));
    let mut story = Story::begin(start(&set, Some(0), 1), &[]);
    let a = block(1, "A");
    story.built(0, &a);
    story.signed();
    story.checked(&a, true);
    // The prevote.
    story.signed_once();
    story.quietly();
    story.refused();
    story.expect(&["timer Precommit 0 1000ms"]);
    story.timer(Step::Precommit, 0);
    story.signed();
    story.expect(&["sign precommit 0 A", "tell precommit 0 A", "decide 0 A"]);
}

#[test]
fn a_vote_of_a_round_that_is_past_is_not_asked_for_again_nor_is_a_proposal() {
    let mut story = locked_on_a();
    let others = others(&story);
    story.precommits(&others, 0, None);
    story.timer(Step::PrecommitWait, 0);
    story.timer(Step::Propose, 1);
    story.refused();
    story.quietly();
    story.prevotes(&others, 1, None);
    story.precommits(&others, 1, None);
    story.timer(Step::PrecommitWait, 1);
    assert_eq!(story.machine.round(), Round::new(2));
    story.quietly();
    assert!(matches!(story.timer(Step::Prevote, 1), Reaction::Ignored(_)));
    story.expect(&[]);

    let set = Arc::new(validators(&[5]));
    let mut story = Story::begin(start(&set, Some(0), 1), &[]);
    story.built(0, &block(1, "A"));
    story.quietly();
    story.refused();
    story.expect(&[]);
}

/// The application said no, nil was signed, the node crashed, and now the application says yes.
#[test]
fn who_may_have_prevoted_nil_before_a_crash_falls_back_on_nil_when_another_prevote_is_refused() {
    let mut story = bystander();
    let (a, begin) = (block(1, "A"), start(&story.set, Some(story.own_index()), 1));
    story.proposal(0, None, &a);
    story.parts(0, &a);
    story.checked(&a, false);
    story.expect(&["check A", "sign prevote 0 nil"]);
    assert!(matches!(story.journal.last(), Some(JournalRecord::RoundStep { step: Step::Prevote, .. })));
    let mut story = story.crash(begin);
    story.checked(&a, true);
    story.quietly();
    story.refused();
    story.expect(&["timer Prevote 0 1000ms"]);
    story.timer(Step::Prevote, 0);
    story.expect(&["sign prevote 0 nil"]);
    story.signed();
    story.expect(&["tell prevote 0 nil"]);
}

/// The key signed for the block, the node crashed, and then the signer was away for a while (level 2, seed 81004791).
#[test]
fn who_fell_back_on_nil_and_is_refused_that_too_asks_for_what_it_meant_again() {
    let mut story = bystander();
    let (a, begin) = (block(1, "A"), start(&story.set, Some(story.own_index()), 1));
    story.proposal(0, None, &a);
    story.parts(0, &a);
    story.checked(&a, true);
    story.expect(&["check A", "sign prevote 0 A"]);
    let mut story = story.crash(begin);
    story.checked(&a, true);
    story.quietly();
    for (pause, asked) in [("1000ms", "nil"), ("2000ms", "A"), ("4000ms", "nil"), ("8000ms", "A")] {
        story.refused();
        story.expect(&[&format!("timer Prevote 0 {pause}")]);
        story.timer(Step::Prevote, 0);
        story.expect(&[&format!("sign prevote 0 {asked}")]);
    }
    story.signed();
    story.expect(&["tell prevote 0 A"]);
}
