//! The guards of the machine one by one: what comes too late, twice, for another round or for something else changes
//! nothing, and what was promised before a crash holds after it.

use super::stories::{bystander, locked_on_a, others};
use super::story::{Story, block, start, vote_of};
use crate::consensus::tendermint::Message;
use crate::consensus::{Effect, EmptyBlocks, Input, Protocol, Reaction, Signed, Start, Tick};
use crate::crypto::Verified;
use crate::types::{
    AbciParams, ConsensusParams, ExtendedCommit, Height, JournalMessage, JournalRecord, Round, Source, Step, Time,
    TimerId, VoteKind,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Precommits carry extensions from height 1 on.
fn extend(start: &mut Start) {
    let abci = AbciParams { vote_extensions_enable_height: Some(Height::FIRST) };
    start.params = Arc::new(ConsensusParams { abci, ..ConsensusParams::default() });
}

/// Height 2 after a height decided in round 0 with precommits of three of four; its pause is not over.
fn in_the_pause_after_a_decision(height_2: impl FnOnce(&mut Start)) -> Story {
    let mut story = locked_on_a();
    let (a, others) = (block(1, "A"), others(&story));
    story.precommits(&others[..2], 0, Some(&a));
    let decided = story.machine.tally().set(Round::ZERO, VoteKind::Precommit).and_then(|set| set.to_commit());
    let mut next = start(&story.set, None, 2);
    next.own = Some(story.own());
    next.last_validators = Some(Arc::clone(&story.set));
    next.last_commit = decided;
    next.begin_at = Tick(1_000_000_000);
    height_2(&mut next);
    story.step(Input::BlockApplied(Box::new(next)));
    story.height = 2;
    story.quietly();
    story
}

fn late_precommit(story: &mut Story, extension: Option<&'static [u8]>) -> Reaction {
    let (a, last) = (block(1, "A"), others(story)[2]);
    let mut late = vote_of(&story.set, last, VoteKind::Precommit, (1, 0), Some(a.id()));
    late.extension = Bytes::from_static(extension.unwrap_or_default());
    late.extension_signature = extension.map(|_| late.signature);
    story.hear(Message::Vote(Verified::trusted(late)))
}

#[test]
fn precommits_that_came_between_the_decision_and_the_next_height_join_the_last_commit() {
    let mut story = locked_on_a();
    let (a, others) = (block(1, "A"), others(&story));
    story.precommits(&others[..2], 0, Some(&a));
    let decided = story.machine.tally().set(Round::ZERO, VoteKind::Precommit).and_then(|set| set.to_commit());
    story.precommits(&others[2..], 0, Some(&a));
    let mut next = start(&story.set, None, 2);
    next.own = Some(story.own());
    (next.last_validators, next.last_commit) = (Some(Arc::clone(&story.set)), decided);
    story.step(Input::BlockApplied(Box::new(next)));
    assert_eq!(story.machine.view().last_commit.iter().flatten().count(), 4);
}

#[test]
fn the_pause_after_a_decision_is_kept_where_it_shall_not_be_skipped() {
    let mut story = in_the_pause_after_a_decision(|_| ());
    assert_eq!(late_precommit(&mut story, None), Reaction::Accepted);
    assert_eq!(story.machine.current_step(), Step::NewHeight, "everybody voted");
}

#[test]
fn a_late_precommit_joins_the_last_commit_only_with_the_extension_its_height_requires() {
    let mut story = in_the_pause_after_a_decision(extend);
    assert!(matches!(late_precommit(&mut story, None), Reaction::Ignored(_)));
    assert_eq!(late_precommit(&mut story, Some(b"price 3")), Reaction::Accepted);
    let mut story = in_the_pause_after_a_decision(|_| ());
    assert!(matches!(late_precommit(&mut story, Some(b"price 3")), Reaction::Ignored(_)));
}

#[test]
fn precommits_that_come_during_the_pause_end_no_round_that_has_not_begun() {
    let mut story = in_the_pause_after_a_decision(|_| ());
    let others = others(&story);
    story.precommits(&others, 0, None);
    story.expect(&[]);
}

#[test]
fn proposals_are_kept_for_this_round_and_the_next_and_no_other() {
    let mut story = bystander();
    let a = block(1, "A");
    assert_eq!(story.proposal(1, None, &a), Reaction::Accepted);
    assert!(matches!(story.proposal(2, None, &a), Reaction::Ignored(_)));
}

#[test]
fn a_vote_against_our_own_earlier_one_is_not_counted_and_accuses_nobody() {
    let mut story = bystander();
    let (a, b) = (block(1, "A"), block(1, "B"));
    let own = story.own_index();
    story.proposed(0, None, &a);
    story.signed();
    story.quietly();
    assert!(matches!(story.vote(VoteKind::Prevote, own, 0, Some(&b)), Reaction::Later(_)));
    story.expect(&[]);
}

#[test]
fn a_timer_of_a_round_that_is_over_counts_for_nothing() {
    let mut story = bystander();
    let others = others(&story);
    story.precommits(&others, 0, None);
    story.timer(Step::PrecommitWait, 0);
    assert_eq!(story.machine.round(), Round::new(1));
    story.quietly();
    assert!(matches!(story.timer(Step::Propose, 0), Reaction::Ignored(_)));
    story.expect(&[]);
}

#[test]
fn every_round_waits_anew_for_missing_prevotes_and_precommits() {
    let mut story = bystander();
    let (a, others) = (block(1, "A"), others(&story));
    for round in 0..2 {
        story.quietly();
        story.timer(Step::Propose, round);
        story.signed();
        story.vote(VoteKind::Prevote, others[0], round, Some(&a));
        story.vote(VoteKind::Prevote, others[1], round, None);
        story.precommits(&others, round, None);
        let (prevotes, precommits) = (1000 + 500 * round, 1000 + 500 * round);
        let said = story.said();
        assert!(said.contains(&format!("timer PrevoteWait {round} {prevotes}ms")), "{said:?}");
        assert!(said.contains(&format!("timer PrecommitWait {round} {precommits}ms")), "{said:?}");
        story.timer(Step::PrecommitWait, round);
    }
}

#[test]
fn a_signature_for_something_else_than_we_asked_for_is_not_told() {
    let mut story = bystander();
    let own = story.own_index();
    story.proposed(0, None, &block(1, "A"));
    story.expect(&["check A", "sign prevote 0 A"]);
    let other = vote_of(&story.set, own, VoteKind::Prevote, (1, 0), None);
    assert!(matches!(story.step(Input::Signed(Signed::Vote(other))), Reaction::Ignored(_)));
    story.expect(&[]);
}

#[test]
fn a_vote_of_ours_that_a_peer_remembers_is_not_signed_again() {
    let mut story = bystander();
    let (a, own) = (block(1, "A"), story.own_index());
    assert_eq!(story.vote(VoteKind::Prevote, own, 0, Some(&a)), Reaction::Accepted);
    story.proposed(0, None, &a);
    story.expect(&["check A"]);
}

/// The same node after a crash that left of its journal what `kept` says.
fn crashed(mut story: Story, kept: impl FnMut(&JournalRecord) -> bool) -> Story {
    let mut begin = start(&story.set, None, 1);
    begin.own = Some(story.own());
    story.journal.retain(kept);
    story.crash(begin)
}

fn is_own_vote(record: &JournalRecord) -> bool {
    matches!(record, JournalRecord::Message { source: Source::Own, message: JournalMessage::Vote(_) })
}

#[test]
fn a_vote_in_the_journal_is_told_again_after_a_crash_and_not_signed_again() {
    let mut story = bystander();
    story.proposed(0, None, &block(1, "A"));
    story.signed();
    let mut after = crashed(story, |_| true);
    let said = after.said();
    assert!(said.contains(&"tell prevote 0 A".to_owned()), "{said:?}");
    assert!(!said.iter().any(|words| words.starts_with("sign")), "{said:?}");
}

#[test]
fn our_own_votes_alone_bring_back_step_lock_and_valid_value() {
    let after = crashed(locked_on_a(), is_own_vote);
    let (view, a) = (after.machine.view(), block(1, "A"));
    assert_eq!((view.step, view.locked), (Step::Precommit, Some((Round::ZERO, a.id()))));
    assert_eq!(view.valid, Some((Round::ZERO, a.id())));
}

#[test]
fn a_timeout_is_in_the_journal_and_acts_again_after_a_crash() {
    let mut story = bystander();
    story.timer(Step::Propose, 0);
    let mut before_it_acted = true;
    let mut after = crashed(story, |record| {
        let kept = before_it_acted;
        before_it_acted &= !matches!(record, JournalRecord::Timeout { .. });
        kept
    });
    let said = after.said();
    assert!(said.contains(&"sign prevote 0 nil".to_owned()), "{said:?}");
}

#[test]
fn the_application_is_asked_again_about_a_block_when_a_crash_lost_its_answer() {
    let mut story = bystander();
    let a = block(1, "A");
    story.proposal(0, None, &a);
    story.parts(0, &a);
    story.expect(&["check A"]);
    let mut after = crashed(story, |_| true);
    let said = after.said();
    assert_eq!(said.iter().filter(|words| *words == "check A").count(), 1, "{said:?}");
}

#[test]
fn a_vote_is_later_than_the_block_it_is_for_even_if_our_clock_lags_behind_the_proposers() {
    let mut story = bystander();
    let (a, others) = (block(1, "A"), others(&story));
    story.now.wall = Time::UNIX_EPOCH;
    story.proposed(0, None, &a);
    story.signed();
    story.prevotes(&others[..2], 0, Some(&a));
    story.signed();
    let own = |record: &JournalRecord| match record {
        JournalRecord::Message { source: Source::Own, message: JournalMessage::Vote(vote) } => Some(vote.timestamp),
        _ => None,
    };
    let times: Vec<Time> = story.journal.iter().filter_map(own).collect();
    let soonest = a.block().header.time.plus(Duration::from_millis(1));
    assert_eq!(times, [soonest, soonest], "prevote and precommit");
}

#[test]
fn an_extension_that_comes_when_its_round_is_over_is_not_signed() {
    let probe = bystander();
    let mut begin = start(&probe.set, Some(probe.own_index()), 1);
    extend(&mut begin);
    let mut story = Story::begin(begin, &[]);
    let (a, others) = (block(1, "A"), others(&story));
    story.proposed(0, None, &a);
    story.signed();
    story.prevotes(&others[..2], 0, Some(&a));
    story.prevotes(&others[..2], 1, None);
    assert_eq!(story.machine.round(), Round::new(1));
    story.quietly();
    let late = Input::VoteExtended { height: Height::FIRST, round: Round::ZERO, extension: Bytes::new() };
    assert!(matches!(story.step(late), Reaction::Ignored(_)));
    story.expect(&[]);
}

#[test]
fn a_quorum_of_prevotes_makes_no_valid_block_before_this_node_prevoted() {
    let mut story = bystander();
    let (a, others) = (block(1, "A"), others(&story));
    story.precommits(&others, 0, None);
    story.timer(Step::PrecommitWait, 0);
    story.proposal(1, Some(0), &a); // and the prevotes of round 0 it names do not come
    story.parts(1, &a);
    story.prevotes(&others, 1, Some(&a));
    assert_eq!(story.checked(&a, true), Reaction::Accepted);
    assert_eq!((story.machine.current_step(), story.machine.view().valid), (Step::Propose, None));
    story.timer(Step::Propose, 1);
    assert_eq!(story.machine.view().valid, Some((Round::new(1), a.id())));
}

#[test]
fn a_precommit_that_comes_when_the_next_height_has_begun_joins_no_commit() {
    let mut story = in_the_pause_after_a_decision(|_| ());
    story.timer(Step::NewHeight, 0);
    assert!(matches!(late_precommit(&mut story, None), Reaction::Ignored(_)));
    assert_eq!(story.machine.view().last_commit.iter().flatten().count(), 3);
}

#[test]
fn a_block_is_built_with_the_precommits_that_came_late() {
    let mut story = in_the_pause_after_a_decision(|next| next.own = Some(next.validators.proposer().address));
    let absent = story.machine.view().last_commit.iter().position(Option::is_none).expect("three of four signed");
    let late = vote_of(&story.set, absent, VoteKind::Precommit, (1, 0), Some(block(1, "A").id()));
    assert_eq!(story.hear(Message::Vote(Verified::trusted(late))), Reaction::Accepted);
    let mut out = Vec::new();
    let begin = TimerId { height: Height::new(2), round: Round::ZERO, step: Step::NewHeight };
    story.machine.step(story.now, Input::TimerFired(begin), &mut out);
    let orders =
        out.iter().filter_map(|effect| if let Effect::BuildBlock(order) = effect { Some(order) } else { None });
    let commits: Vec<_> = orders.filter_map(|order| order.last_commit.as_ref()).collect();
    let signed =
        |commit: &ExtendedCommit| commit.signatures.iter().filter(|entry| entry.sig.signed().is_some()).count();
    assert_eq!(commits.iter().map(|commit| signed(commit)).collect::<Vec<_>>(), [4]);
}

#[test]
fn after_a_round_that_failed_a_block_is_proposed_even_without_transactions() {
    let probe = bystander();
    let mut begin = start(&probe.set, Some(probe.proposer(1)), 1);
    (begin.proof_block_needed, begin.timeouts.empty_blocks) = (false, EmptyBlocks::Never);
    let mut story = Story::begin(begin, &[]);
    let others: Vec<usize> = (0..4).filter(|index| *index != probe.proposer(1)).collect();
    story.precommits(&others, 0, None);
    story.quietly();
    story.timer(Step::PrecommitWait, 0);
    story.expect(&["timer Propose 1 3500ms", "build 1"]);
}

#[test]
fn a_timeout_that_waited_for_the_application_counts_when_it_says_no() {
    let mut story = bystander();
    let (a, others) = (block(1, "A"), others(&story));
    story.timer(Step::Propose, 0);
    story.signed();
    story.proposal(0, None, &a);
    story.parts(0, &a);
    story.prevotes(&others, 0, Some(&a));
    story.quietly();
    story.timer(Step::PrevoteWait, 0);
    story.expect(&[]);
    story.checked(&a, false);
    story.expect(&["sign precommit 0 nil"]);
}
