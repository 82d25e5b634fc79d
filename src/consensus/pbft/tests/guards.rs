//! The guards of the machine one by one: what proves nothing, comes twice or too early moves nobody.

use super::puppets::{
    VIEW_TIMEOUT, address, block, certificate_of, commit_of, new_view_of, node_id, primary, set_of, start,
    view_change_of, vote_of, weighted,
};
use super::story::{Story, at};
use crate::consensus::pbft::certificate;
use crate::consensus::{BlockVerdict, Direct, Input, Reaction, Start};
use crate::crypto::Verified;
use crate::types::{
    AbciParams, Address, CommitSig, ConsensusParams, Height, Round, Source, VOTE_EXTENSION_SENT_MAX, ValidatorSet,
    Vote, VoteKind,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn s4_4_a_prepared_certificate_is_of_a_view_below_the_one_asked_for() {
    let mut story = Story::of_four(1);
    let others = story.others();
    let certificate = certificate_of(&story.set, &others, (1, 1), block(1, "A").id());
    let reaction = story.state(view_change_of(others[0], (1, 1), None, Some(certificate.clone())));
    assert!(matches!(reaction, Reaction::PeerFault(_)), "{reaction:?}");
    assert_eq!(story.state(view_change_of(others[0], (1, 2), None, Some(certificate))), Reaction::Accepted);
}

#[test]
fn a_vote_of_a_view_more_than_eight_back_is_not_kept() {
    let mut story = Story::of_four(1);
    let (others, set, id) = (story.others(), Arc::clone(&story.set), block(1, "A").id());
    for who in &others {
        story.state(view_change_of(*who, (1, 9), None, None));
    }
    assert_eq!(story.machine.round(), Round::new(9));
    let mut hear = |view| {
        let vote = vote_of(&set, others[0], VoteKind::Prevote, (1, view), id);
        story.hear(others[0], Direct::Vote(Verified::trusted(vote)))
    };
    assert!(matches!(hear(0), Reaction::Ignored(_)));
    assert_eq!(hear(1), Reaction::Accepted);
}

#[test]
fn of_the_certificates_of_a_height_that_of_the_latest_view_is_remembered() {
    let mut story = Story::of_four(1);
    let (others, set) = (story.others(), Arc::clone(&story.set));
    let height = &mut story.machine.current;
    for (view, tag) in [(1, "A"), (3, "B"), (2, "C")] {
        height.note_certificate(Some(&certificate_of(&set, &others, (1, view), block(1, tag).id())));
    }
    height.note_certificate(Some(&certificate_of(&set, &others, (2, 7), block(2, "D").id())));
    assert_eq!(height.certified, Some((Round::new(3), block(1, "B").id())));
}

#[test]
fn s4_4_a_prepare_in_a_certificate_names_the_member_at_its_seat() {
    let mut story = Story::of_four(1);
    let others = story.others();
    let mut certificate = certificate_of(&story.set, &others, (1, 0), block(1, "A").id());
    certificate.prepares[0].validator_address = address(story.own);
    let reaction = story.state(view_change_of(others[0], (1, 1), None, Some(certificate)));
    assert!(matches!(reaction, Reaction::PeerFault(_)), "{reaction:?}");
}

#[test]
fn s4_3_a_view_change_above_the_first_height_proves_the_height_before_and_no_other() {
    let mut story = Story::of_four(1);
    let (a, set) = (block(1, "A"), Arc::clone(&story.set));
    story.next_height(0, &a, &set);
    let others = story.others();
    for (height, proves) in [(5, false), (2, false), (1, true)] {
        let commit = commit_of(&set, &others, (height, 0), a.id());
        let reaction = story.state(view_change_of(others[0], (2, 1), Some(commit), None));
        assert_eq!(reaction == Reaction::Accepted, proves, "commit of height {height}: {reaction:?}");
    }
    assert!(matches!(story.state(view_change_of(others[1], (2, 1), None, None)), Reaction::PeerFault(_)));
}

#[test]
fn s4_4_a_new_view_chooses_nothing_of_an_earlier_height_and_is_for_a_height_somebody_is_at() {
    let (a, set) = (block(1, "A"), set_of(&[0, 1, 2, 3]));
    let commit = commit_of(&set, &[0, 1, 2], (1, 0), a.id());
    let behind = view_change_of(0, (1, 1), None, Some(certificate_of(&set, &[0, 1, 2], (1, 0), a.id())));
    let here = |who| view_change_of(who, (2, 1), Some(commit.clone()), None);
    let recompute =
        |statements: &[_]| certificate::recompute(statements, (Round::new(1), Height::new(2)), Height::FIRST, &set);
    assert_eq!(recompute(&[behind.clone(), here(1), here(2)]), Ok(None));
    let late = |who| view_change_of(who, (1, 1), None, None);
    assert!(recompute(&[behind, late(1), late(2)]).is_err());
}

#[test]
fn a_view_change_for_an_earlier_view_does_not_take_the_place_of_a_later_one() {
    let mut story = Story::of_four(1);
    let liar = story.others()[0];
    assert_eq!(story.state(view_change_of(liar, (1, 5), None, None)), Reaction::Accepted);
    assert!(matches!(story.state(view_change_of(liar, (1, 3), None, None)), Reaction::Ignored(_)));
    assert_eq!(story.machine.view_changes[&address(liar)].view, Round::new(5));
}

#[test]
fn s4_4_a_view_change_carries_what_was_prepared_in_a_later_view_than_the_first() {
    let mut story = Story::of_four(2);
    story.wait(VIEW_TIMEOUT);
    story.signed();
    let (a, leader) = (block(1, "A"), primary(&story.set, 1));
    let changes = story.others().into_iter().map(|who| view_change_of(who, (1, 1), None, None)).collect();
    assert_eq!(story.state(new_view_of(leader, (1, 1), changes, None)), Reaction::Accepted);
    story.prepared(1, &a);
    story.quietly();
    story.wait(VIEW_TIMEOUT * 4);
    let said = story.said();
    assert!(said.contains(&"sign view-change 2 with A of 1".to_owned()), "{said:?}");
}

#[test]
fn a_vote_for_nil_is_its_bearers_fault() {
    let mut story = Story::of_four(1);
    let liar = story.others()[0];
    let mut vote = vote_of(&story.set, liar, VoteKind::Prevote, (1, 0), block(1, "A").id());
    vote.block_id = None;
    assert!(matches!(story.hear(liar, Direct::Vote(Verified::trusted(vote))), Reaction::PeerFault(_)));
}

/// Of a height that requires extensions, or of one where there are none.
fn start_with_extensions(extended: bool, set: &Arc<ValidatorSet>, own: usize, height: u64) -> Start {
    let mut begin = start(set, Some(own), height);
    let abci = AbciParams { vote_extensions_enable_height: extended.then_some(Height::FIRST) };
    begin.params = Arc::new(ConsensusParams { abci, ..ConsensusParams::default() });
    begin
}

#[test]
fn a_commit_decides_only_with_the_extensions_its_height_requires_and_only_once() {
    for extended in [true, false] {
        let own = Story::of_four(1).own;
        let set = set_of(&[0, 1, 2, 3]);
        let begin = start_with_extensions(extended, &set, own, 1);
        let mut story = Story::begin(begin, own, &[]);
        let commit = commit_of(&set, &story.others(), (1, 0), block(1, "A").id());
        let mut hear = || {
            let message = Direct::Commit(Verified::trusted(commit.clone()));
            story.step(Input::Received { source: Source::Peer(node_id(0)), message })
        };
        if extended {
            assert!(matches!(hear(), Reaction::PeerFault(_)));
        } else {
            assert_eq!(hear(), Reaction::Accepted);
            assert!(matches!(hear(), Reaction::Ignored(_)));
        }
    }
}

#[test]
fn s4_2_a_replica_commits_only_what_it_prepared_itself() {
    let mut story = Story::of_four(1);
    let (a, others) = (block(1, "A"), story.others());
    story.pre_prepare(0, &a);
    story.parts(0, &a);
    story.checked(&a, BlockVerdict::Accept);
    story.prepares(&others, 0, &a);
    story.expect(&["check A", "sign prepare 0 A"]);
    story.signed();
    story.expect(&["tell prepare 0 A", "sign commit 0 A", "tell commit 0 A"]);
}

#[test]
fn strangers_of_the_next_height_have_256_places_for_their_view_changes() {
    let mut story = Story::of_four(1);
    let liar = story.others()[0];
    for stranger in 0..300_u16 {
        let mut statement = view_change_of(liar, (2, 3), None, None);
        let mut bytes = [9; 20];
        bytes[..2].copy_from_slice(&stranger.to_be_bytes());
        statement.by = Address::new(bytes);
        story.hear(liar, Direct::Statement(Verified::trusted(statement)));
    }
    assert_eq!(story.machine.view_changes.len(), 256);
    assert_eq!((story.machine.round(), story.machine.height()), (Round::ZERO, at(1)));
}

#[test]
fn s4_4_a_block_refused_in_one_view_is_looked_at_again_in_the_next_that_must_propose_it() {
    let mut story = Story::of_four(2);
    let a = block(1, "A");
    story.pre_prepare(0, &a);
    story.parts(0, &a);
    story.checked(&a, BlockVerdict::Reject("of a time our clock has not reached".to_owned()));
    story.signed();
    // The others prepared it, one of them a liar that says no more.
    let (leader, others) = (primary(&story.set, 1), story.others());
    let certificate = certificate_of(&story.set, &others, (1, 0), a.id());
    let changes = others.iter().map(|who| view_change_of(*who, (1, 1), None, Some(certificate.clone()))).collect();
    assert_eq!(story.state(new_view_of(leader, (1, 1), changes, Some(a.id()))), Reaction::Accepted);
    story.quietly();
    story.pre_prepare(1, &a);
    story.expect(&["check A"]);
    story.checked(&a, BlockVerdict::Accept);
    story.expect(&["sign prepare 1 A"]);
}

#[test]
fn s4_4_a_no_that_was_on_its_way_when_the_view_changed_does_not_count_in_the_new_one() {
    let mut story = Story::of_four(2);
    let a = block(1, "A");
    story.pre_prepare(0, &a);
    story.parts(0, &a);
    let (leader, others) = (primary(&story.set, 1), story.others());
    let certificate = certificate_of(&story.set, &others, (1, 0), a.id());
    let changes = others.iter().map(|who| view_change_of(*who, (1, 1), None, Some(certificate.clone()))).collect();
    assert_eq!(story.state(new_view_of(leader, (1, 1), changes, Some(a.id()))), Reaction::Accepted);
    story.pre_prepare(1, &a);
    story.quietly();
    story.checked_in(Round::ZERO, &a, BlockVerdict::Reject("of a time our clock has not reached".to_owned()));
    story.expect(&["check A"]);
    story.checked(&a, BlockVerdict::Accept);
    story.expect(&["sign prepare 1 A"]);
}

#[test]
fn a_late_commit_joins_the_last_commit_only_with_the_extension_its_height_requires() {
    for extended in [true, false] {
        let (first, set) = (Story::of_four(1), set_of(&[0, 1, 2, 3]));
        let (own, others) = (first.own, first.others());
        let mut begin = start_with_extensions(extended, &set, own, 2);
        let mut commit = commit_of(&set, &[own, others[0], others[1]], (1, 0), block(1, "A").id());
        for entry in &mut commit.signatures {
            if let (CommitSig::Commit(part), true) = (&entry.sig, extended) {
                entry.extension_signature = Some(part.signature);
            }
        }
        (begin.last_commit, begin.last_validators) = (Some(commit), Some(Arc::clone(&set)));
        let mut story = Story::begin(begin, own, &[]);
        let plain = vote_of(&set, others[2], VoteKind::Precommit, (1, 0), block(1, "A").id());
        let whole = Vote { extension_signature: Some(plain.signature), ..plain.clone() };
        let (wrong, right) = if extended { (plain, whole) } else { (whole, plain) };
        let mut hear = |vote| story.hear(others[2], Direct::Vote(Verified::trusted(vote)));
        assert!(matches!(hear(wrong), Reaction::Ignored(_)));
        assert_eq!(hear(right), Reaction::Accepted);
    }
}

#[test]
fn a_vote_with_an_extension_longer_than_a_message_can_carry_is_its_bearers_fault() {
    let mut story = Story::of_four(1);
    let (others, set) = (story.others(), Arc::clone(&story.set));
    let mut hear = |who, bytes| {
        let mut vote = vote_of(&set, who, VoteKind::Precommit, (2, 0), block(2, "A").id());
        vote.extension = Bytes::from(vec![7; bytes]);
        story.hear(who, Direct::Vote(Verified::trusted(vote)))
    };
    assert_eq!(hear(others[0], VOTE_EXTENSION_SENT_MAX), Reaction::Accepted);
    assert!(matches!(hear(others[1], VOTE_EXTENSION_SENT_MAX + 1), Reaction::PeerFault(_)));
}

#[test]
fn a_primary_that_proposes_three_blocks_in_a_view_is_told_of_once() {
    let mut story = Story::of_four(1);
    for tag in ["A", "B", "C"] {
        story.pre_prepare(0, &block(1, tag));
    }
    assert_eq!(story.misconduct.len(), 1);
}

#[test]
fn s4_4_a_new_view_of_the_height_before_moves_nobody_under_another_set() {
    for (power, taken) in [(1, true), (2, false)] {
        let (a, next) = (block(1, "A"), weighted(&[1, 1, 1, power]));
        let leader = primary(&next, 1);
        let mut story = (0..4).map(Story::of_four).find(|story| story.own != leader).expect("all but one");
        story.wait(VIEW_TIMEOUT);
        story.signed();
        story.next_height(0, &a, &next);
        story.signed();
        assert!(!story.machine.is_active() && story.machine.round() == Round::new(1));
        let others = story.others();
        let changes = others.iter().map(|who| view_change_of(*who, (1, 1), None, None)).collect();
        let reaction = story.state(new_view_of(leader, (1, 1), changes, None));
        assert_eq!(reaction == Reaction::Accepted, taken, "power {power}: {reaction:?}");
        assert_eq!(story.machine.is_active(), taken, "power {power}");
    }
}

#[test]
fn with_a_heartbeat_of_nothing_a_replica_still_pauses_between_two_words() {
    let mut begin = start(&set_of(&[0, 1, 2, 3]), Some(0), 1);
    begin.timeouts.heartbeat = Duration::ZERO;
    let mut story = Story::begin(begin, 0, &[]);
    story.tick = story.wake_at;
    story.step(Input::Woken);
    assert!(story.wake_at >= story.tick.plus(Duration::from_millis(5)), "{:?}", story.wake_at);
}

#[test]
fn s4_5_2_a_new_view_has_its_own_time_however_long_the_change_to_it_took() {
    let millisecond = Duration::from_millis(1);
    let mut story = Story::of_four(2);
    story.wait(VIEW_TIMEOUT);
    story.signed();
    let others = story.others();
    let changes: Vec<_> = others.iter().map(|who| view_change_of(*who, (1, 1), None, None)).collect();
    for change in &changes {
        story.state(change.clone());
    }
    story.wait(VIEW_TIMEOUT - millisecond);
    assert_eq!(story.state(new_view_of(primary(&story.set, 1), (1, 1), changes, None)), Reaction::Accepted);
    story.quietly();
    story.wait(VIEW_TIMEOUT * 2 - millisecond);
    assert_eq!(story.machine.round(), Round::new(1));
    story.wait(millisecond * 2);
    assert_eq!(story.machine.round(), Round::new(2));
}

#[test]
fn a_primary_whose_block_takes_long_offers_its_transactions_to_nobody_again() {
    let set = set_of(&[0, 1, 2, 3]);
    let own = primary(&set, 0);
    let mut begin = start(&set, Some(own), 1);
    begin.txs_available = true;
    let mut story = Story::begin(begin, own, &[]);
    story.wait(VIEW_TIMEOUT - Duration::from_millis(1));
    story.expect(&["build 0"]);
}
