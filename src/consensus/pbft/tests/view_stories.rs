//! View changes, claim by claim: §4.4 and §4.5, and why a view belongs to one validator set.

use super::puppets::{
    VIEW_TIMEOUT, address, block, certificate_of, commit_of, new_view_of, primary, proposal_of, set_of, start,
    view_change_of,
};
use super::story::{Story, at};
use crate::consensus::{BlockVerdict, Direct, EmptyBlocks, Input, Reaction};
use crate::crypto::Verified;
use crate::types::{DirectMessage, Misconduct, Round, Rule, Statement};
use std::sync::Arc;

fn changes(people: &[usize], view: u32) -> Vec<Statement> {
    people.iter().map(|who| view_change_of(*who, (1, view), None, None)).collect()
}

/// We are a backup, and view 0 decides nothing.
fn left_view_0(own_leads: u32) -> Story {
    let mut story = Story::of_four(own_leads);
    story.wait(VIEW_TIMEOUT);
    story.signed();
    assert_eq!(story.machine.round(), Round::new(1));
    story
}

#[test]
fn s4_4_a_backup_whose_timer_expires_leaves_the_view_and_signs_nothing_in_it_any_more() {
    let mut story = Story::of_four(2);
    let a = block(1, "A");
    story.wait(VIEW_TIMEOUT);
    let said = story.everything();
    let standing = said.iter().rposition(|words| words == "journal").expect("a standing");
    let change = said.iter().position(|words| words == "sign view-change 1").expect("a VIEW-CHANGE");
    assert!(standing < change, "the standing is journaled before the VIEW-CHANGE is signed: {said:?}");
    story.signed();
    story.expect(&["tell view-change 1"]);
    story.accepted(0, &a);
    let others = story.others();
    story.prepares(&others, 0, &a);
    story.expect(&[]);
}

#[test]
fn s4_4_a_signature_that_comes_back_after_the_view_change_is_not_told() {
    let mut story = Story::of_four(2);
    let a = block(1, "A");
    story.pre_prepare(0, &a);
    story.parts(0, &a);
    story.checked(&a, BlockVerdict::Accept);
    story.expect(&["check A", "sign prepare 0 A"]);
    // The signer is slow: it answers when the view is left.
    story.wait(VIEW_TIMEOUT);
    story.expect(&["sign view-change 1"]);
    story.signed();
    story.expect(&["tell view-change 1"]);
}

#[test]
fn s4_4_a_view_change_carries_what_was_prepared_in_the_highest_view() {
    let mut story = Story::of_four(2);
    let a = block(1, "A");
    story.prepared(0, &a);
    story.quietly();
    story.wait(VIEW_TIMEOUT);
    story.expect(&["sign view-change 1 with A of 0"]);
}

#[test]
fn s4_4_the_new_primary_proposes_again_what_was_prepared_in_the_highest_view() {
    let mut story = left_view_0(1);
    let others = story.others();
    let (a, b) = (block(1, "A"), block(1, "B"));
    story.wait(VIEW_TIMEOUT * 4);
    story.signed();
    // Everybody goes to view 5, which we lead again.
    let old = certificate_of(&story.set, &others, (1, 0), a.id());
    let newer = certificate_of(&story.set, &others, (1, 3), b.id());
    story.quietly();
    story.state(view_change_of(others[0], (1, 5), None, Some(newer)));
    story.state(view_change_of(others[1], (1, 5), None, Some(old)));
    story.signed();
    story.expect(&["sign view-change 5", "tell view-change 5", "sign new-view 5 for B", "tell new-view 5 for B"]);
    story.parts(5, &b);
    story.expect(&["sign pre-prepare 5 B"]);
}

#[test]
fn s4_4_a_new_view_needs_view_changes_of_more_than_two_thirds_and_our_own() {
    let mut story = left_view_0(1);
    story.quietly();
    let others = story.others();
    story.state(view_change_of(others[0], (1, 1), None, None));
    story.expect(&[]);
    story.state(view_change_of(others[1], (1, 1), None, None));
    story.expect(&["sign new-view 1"]);
    story.signed();
    // After a failed view a block is made at once.
    story.expect(&["tell new-view 1", "build 1"]);
}

#[test]
fn after_a_failed_view_a_block_is_made_also_where_nobody_wants_empty_ones() {
    let set = set_of(&[0, 1, 2, 3]);
    let own = primary(&set, 1);
    let mut begin = start(&set, Some(own), 1);
    begin.timeouts.empty_blocks = EmptyBlocks::Never;
    let mut story = Story::begin(begin, own, &[]);
    let others = story.others();
    for who in &others {
        story.state(view_change_of(*who, (1, 1), None, None));
    }
    story.signed();
    story.signed();
    let said = story.everything();
    assert!(said.contains(&"build 1".to_owned()), "{said:?}");
}

#[test]
fn s4_4_backups_recompute_the_new_view_and_refuse_one_that_does_not_follow() {
    let (a, b) = (block(1, "A"), block(1, "B"));
    let set = set_of(&[0, 1, 2, 3]);
    let people: Vec<usize> = (0..4).map(|seat| super::puppets::person(&set, seat)).collect();
    let certificate = certificate_of(&set, &people[..3], (1, 0), a.id());
    let mut with_a = changes(&people[..2], 1);
    with_a.push(view_change_of(people[2], (1, 1), None, Some(certificate.clone())));
    let short = certificate_of(&set, &people[..2], (1, 0), a.id());
    let mut with_short = changes(&people[..2], 1);
    with_short.push(view_change_of(people[2], (1, 1), None, Some(short)));
    let mut twice = certificate.clone();
    twice.prepares[1] = twice.prepares[0].clone();
    let mut with_twice = changes(&people[..2], 1);
    with_twice.push(view_change_of(people[2], (1, 1), None, Some(twice)));
    let repeated = vec![with_a[2].clone(), with_a[2].clone(), with_a[2].clone()];
    let wrong = [
        (with_a.clone(), None),
        (with_a.clone(), Some(b.id())),
        (changes(&people[..3], 1), Some(a.id())),
        (changes(&people[..2], 1), None),
        (changes(&people[..3], 2), None),
        (repeated, Some(a.id())),
        (with_short, Some(a.id())),
        (with_twice, Some(a.id())),
    ];
    for (number, (statements, chosen)) in wrong.into_iter().enumerate() {
        let mut story = left_view_0(2);
        let leader = primary(&story.set, 1);
        story.quietly();
        let reaction = story.state(new_view_of(leader, (1, 1), statements, chosen));
        assert!(matches!(reaction, Reaction::PeerFault(_)), "number {number}: {reaction:?}");
        let wrong = &story.misconduct[0];
        assert_eq!((wrong.rule, wrong.by, wrong.round), (Rule::NewViewFollows, address(leader), Round::new(1)));
        assert!(matches!(&wrong.messages[..], [DirectMessage::Statement(it)] if it.by == address(leader)));
        // Only the primary can have signed it: its view is not waited for.
        assert_eq!(story.machine.round(), Round::new(2), "number {number}");
    }
    let mut story = left_view_0(2);
    let leader = primary(&story.set, 1);
    assert_eq!(story.state(new_view_of(leader, (1, 1), with_a, Some(a.id()))), Reaction::Accepted);
    assert!(story.machine.is_active());
    assert_eq!(story.machine.chosen(), Some(a.id()));
}

#[test]
fn s4_4_of_two_prepared_blocks_the_one_of_the_higher_view_must_be_chosen() {
    let (a, b) = (block(1, "A"), block(1, "B"));
    for (chosen, right) in [(a.id(), false), (b.id(), true)] {
        let mut story = Story::of_four(3);
        let others = story.others();
        let old = certificate_of(&story.set, &others, (1, 0), a.id());
        let newer = certificate_of(&story.set, &others, (1, 1), b.id());
        let statements = vec![
            view_change_of(others[0], (1, 2), None, Some(newer)),
            view_change_of(others[1], (1, 2), None, Some(old)),
            view_change_of(others[2], (1, 2), None, None),
        ];
        let leader = primary(&story.set, 2);
        let reaction = story.state(new_view_of(leader, (1, 2), statements, Some(chosen)));
        assert_eq!(reaction == Reaction::Accepted, right);
    }
}

#[test]
fn s4_4_in_a_new_view_only_the_chosen_block_is_prepared_and_another_ends_the_view() {
    let (a, b) = (block(1, "A"), block(1, "B"));
    let mut story = Story::of_four(3);
    let others = story.others();
    let certificate = certificate_of(&story.set, &others, (1, 0), a.id());
    let mut statements = changes(&others[..2], 1);
    statements.push(view_change_of(others[2], (1, 1), None, Some(certificate)));
    let leader = primary(&story.set, 1);
    story.state(new_view_of(leader, (1, 1), statements, Some(a.id())));
    story.quietly();
    story.pre_prepare(1, &b);
    story.parts(1, &b);
    story.expect(&["sign view-change 2"]);
}

#[test]
fn s4_4_another_block_than_the_chosen_one_is_not_prepared_even_while_its_primary_is_borne_with() {
    let (a, b) = (block(1, "A"), block(1, "B"));
    let mut story = left_view_0(2);
    let others = story.others();
    let certificate = certificate_of(&story.set, &others, (1, 0), a.id());
    let mut statements = changes(&others[..2], 1);
    statements.push(view_change_of(others[2], (1, 1), None, Some(certificate)));
    let leader = primary(&story.set, 1);
    story.state(new_view_of(leader, (1, 1), statements, Some(a.id())));
    story.quietly();
    story.accepted(1, &b);
    story.prepares(&others, 1, &b);
    story.expect(&[]);
}

#[test]
fn s4_4_a_new_view_of_another_than_the_primary_is_refused() {
    let mut story = left_view_0(2);
    let others = story.others();
    let not_leading = *others.iter().find(|who| **who != primary(&story.set, 1)).expect("two of them");
    let reaction = story.state(new_view_of(not_leading, (1, 1), changes(&others, 1), None));
    assert!(matches!(reaction, Reaction::PeerFault(_)));
    assert!(!story.machine.is_active());
}

#[test]
fn s4_4_a_pre_prepare_that_overtakes_its_new_view_counts_when_the_new_view_is_here() {
    let mut story = left_view_0(2);
    let a = block(1, "A");
    story.pre_prepare(1, &a);
    story.parts(1, &a);
    story.quietly();
    let (leader, others) = (primary(&story.set, 1), story.others());
    story.state(new_view_of(leader, (1, 1), changes(&others, 1), None));
    story.expect(&["check A"]);
}

#[test]
fn s4_4_two_pre_prepares_of_one_view_start_a_view_change_at_once() {
    let mut story = Story::of_four(2);
    story.pre_prepare(0, &block(1, "A"));
    story.quietly();
    story.pre_prepare(0, &block(1, "B"));
    story.expect(&["sign view-change 1"]);
    // Both are kept as proof, once however often they are told.
    for tag in ["B", "C", "A"] {
        story.pre_prepare(0, &block(1, tag));
    }
    let leader = address(primary(&story.set, 0));
    let said = ["A", "B"].map(|tag| proposal_of(1, 0, block(1, tag).id()));
    let proof = Misconduct::two_proposals(leader, &said[0], &said[1]).expect("two blocks in one view");
    assert_eq!(story.misconduct, [proof]);
}

#[test]
fn a_rejected_block_starts_a_view_change_at_once_but_after_that_the_timers_set_the_pace() {
    let mut story = Story::of_four(3);
    let (a, b) = (block(1, "A"), block(1, "B"));
    story.pre_prepare(0, &a);
    story.parts(0, &a);
    story.quietly();
    story.checked(&a, BlockVerdict::Reject("no".to_owned()));
    story.expect(&["sign view-change 1"]);
    story.signed();
    let (leader, others) = (primary(&story.set, 1), story.others());
    story.state(new_view_of(leader, (1, 1), changes(&others, 1), None));
    story.pre_prepare(1, &b);
    story.parts(1, &b);
    story.quietly();
    story.checked(&b, BlockVerdict::Reject("no".to_owned()));
    story.expect(&[]);
    story.wait(VIEW_TIMEOUT * 2);
    story.expect(&["sign view-change 2"]);
}

#[test]
fn s4_4_a_starved_transaction_starts_a_view_change_and_without_one_the_primary_is_left_in_peace() {
    let set = set_of(&[0, 1, 2, 3]);
    let own = primary(&set, 1);
    let mut begin = start(&set, Some(own), 1);
    begin.timeouts.empty_blocks = EmptyBlocks::Never;
    let mut story = Story::begin(begin, own, &[]);
    story.wait(VIEW_TIMEOUT * 100);
    story.expect(&[]);
    story.step(Input::TxsAvailable);
    story.wait(VIEW_TIMEOUT - std::time::Duration::from_millis(1));
    story.expect(&["offer transactions again"]);
    story.wait(std::time::Duration::from_millis(2));
    story.expect(&["sign view-change 1"]);
}

#[test]
fn a_transaction_only_one_backup_has_is_offered_again_before_the_view_is_left_and_the_primary_proposes_it() {
    let set = set_of(&[0, 1, 2, 3]);
    let own = primary(&set, 1);
    let mut begin = start(&set, Some(own), 1);
    begin.timeouts.empty_blocks = EmptyBlocks::Never;
    let mut story = Story::begin(begin, own, &[]);
    story.step(Input::TxsAvailable);
    story.wait(VIEW_TIMEOUT / 2 - std::time::Duration::from_millis(1));
    story.expect(&[]);
    story.wait(std::time::Duration::from_millis(2));
    story.expect(&["offer transactions again"]);
    // The primary has it now: it proposes, everybody agrees, and nobody leaves the view.
    let a = block(1, "A");
    story.accepted(0, &a);
    let set = Arc::clone(&story.set);
    story.next_height(0, &a, &set);
    story.wait(VIEW_TIMEOUT - std::time::Duration::from_millis(1));
    assert!(!story.said().iter().any(|words| words.contains("view-change")));
    assert_eq!((story.machine.round(), story.height()), (Round::ZERO, 2));
}

#[test]
fn s4_4_a_primary_that_is_always_just_in_time_keeps_its_place_and_owes_a_block_in_each_timeout() {
    let mut story = Story::of_four(2);
    let set = Arc::clone(&story.set);
    let millisecond = std::time::Duration::from_millis(1);
    for height in 1..=20 {
        story.wait(VIEW_TIMEOUT - millisecond);
        assert!(!story.said().iter().any(|words| words.contains("view-change")), "height {height}");
        let block = block(height, "just in time");
        story.next_height(0, &block, &set);
    }
    assert_eq!(story.machine.round(), Round::ZERO);
    // The first time it is late it loses its place.
    story.quietly();
    story.wait(VIEW_TIMEOUT + millisecond);
    story.expect(&["sign view-change 1"]);
}

#[test]
fn s4_4_prepares_do_not_restart_the_timer_only_a_decision_does() {
    let mut story = Story::of_four(2);
    let a = block(1, "A");
    story.wait(VIEW_TIMEOUT / 2);
    story.accepted(0, &a);
    story.quietly();
    story.wait(VIEW_TIMEOUT / 2);
    story.expect(&["sign view-change 1"]);
    let mut story = Story::of_four(2);
    story.wait(VIEW_TIMEOUT / 2);
    let set = Arc::clone(&story.set);
    story.next_height(0, &a, &set);
    story.quietly();
    story.wait(VIEW_TIMEOUT - std::time::Duration::from_millis(1));
    story.expect(&[]);
}

#[test]
fn s4_5_2_the_timer_doubles_with_every_failed_view_and_a_decision_resets_it() {
    let mut story = Story::of_four(0);
    let others = story.others();
    let mut lasted = Vec::new();
    for view in 1..=4 {
        let began = story.tick;
        while story.machine.round() < Round::new(view) {
            story.wait(std::time::Duration::from_millis(10));
        }
        lasted.push(story.tick.since(began).as_millis() / 100);
        story.signed();
        // The others come along, so that the next timer runs, but no NEW-VIEW comes.
        for who in &others {
            if primary(&story.set, view) != story.own {
                story.state(view_change_of(*who, (1, view), None, None));
            }
        }
    }
    assert_eq!(lasted, [5, 5, 10, 20]);
    let set = Arc::clone(&story.set);
    story.next_height(4, &block(1, "A"), &set);
    assert_eq!(story.machine.failures, 0);
}

#[test]
fn s4_5_2_in_a_view_change_the_timer_starts_only_with_view_changes_of_more_than_two_thirds() {
    let mut story = left_view_0(2);
    let others = story.others();
    story.wait(VIEW_TIMEOUT * 50);
    assert_eq!(story.machine.round(), Round::new(1), "alone we do not run away");
    story.state(view_change_of(others[0], (1, 1), None, None));
    story.wait(VIEW_TIMEOUT * 50);
    assert_eq!(story.machine.round(), Round::new(1));
    story.state(view_change_of(others[1], (1, 1), None, None));
    story.wait(VIEW_TIMEOUT);
    assert_eq!(story.machine.round(), Round::new(2));
}

#[test]
fn s4_5_2_more_than_a_third_in_later_views_are_joined_and_one_liar_is_not() {
    let mut story = Story::of_four(3);
    let others = story.others();
    story.quietly();
    story.state(view_change_of(others[0], (1, 9), None, None));
    story.expect(&[]);
    story.state(view_change_of(others[1], (1, 4), None, None));
    story.expect(&["sign view-change 4"]);
    story.state(view_change_of(others[2], (1, 6), None, None));
    story.expect(&["sign view-change 6"]);
}

#[test]
fn a_peer_of_a_lower_view_gets_the_new_view_and_one_on_its_way_gets_our_view_change() {
    let mut story = left_view_0(2);
    let others = story.others();
    story.quietly();
    let status = |view: u32, active: bool| {
        let body =
            crate::types::PbftStatement::Status { view: Round::new(view), height: at(1), active, proposal: None };
        super::puppets::statement_of(others[0], body)
    };
    story.state(status(0, true));
    story.expect(&["send view-change 1"]);
    let leader = primary(&story.set, 1);
    story.state(new_view_of(leader, (1, 1), changes(&others, 1), None));
    story.wait(std::time::Duration::from_millis(60));
    story.quietly();
    story.state(status(0, true));
    story.expect(&["send new-view 1"]);
    story.wait(std::time::Duration::from_millis(60));
    story.quietly();
    story.state(status(1, false));
    story.expect(&["send new-view 1"]);
}

#[test]
fn a_commit_of_the_height_before_in_a_higher_view_makes_that_view_active() {
    let mut story = Story::of_four(2);
    let a = block(1, "A");
    story.accepted(0, &a);
    let set = Arc::clone(&story.set);
    story.next_height(0, &a, &set);
    story.wait(VIEW_TIMEOUT);
    story.signed();
    assert!(!story.machine.is_active());
    let others = story.others();
    let commit = commit_of(&set, &others, (1, 6), a.id());
    story.hear(others[0], Direct::Commit(Verified::trusted(commit)));
    assert!(story.machine.is_active());
    assert_eq!(story.machine.round(), Round::new(6));
}

#[test]
fn a_replica_catching_up_ends_its_view_change_with_the_decision_that_others_made_in_that_view() {
    let mut story = left_view_0(2);
    let set = Arc::clone(&story.set);
    story.next_height(1, &block(1, "A"), &set);
    assert!(story.machine.is_active());
    assert_eq!(story.machine.round(), Round::new(1));
}

#[test]
fn a_new_view_of_the_height_before_frees_the_primary_of_this_one() {
    let mut story = left_view_0(2);
    let (a, set) = (block(1, "A"), Arc::clone(&story.set));
    story.next_height(0, &a, &set);
    assert!(!story.machine.is_active(), "we left the view that decided");
    let (leader, others) = (primary(&set, 1), story.others());
    let certificate = certificate_of(&set, &others, (1, 0), a.id());
    let mut statements = changes(&others[..2], 1);
    statements.push(view_change_of(others[2], (1, 1), None, Some(certificate)));
    story.state(new_view_of(leader, (1, 1), statements, Some(a.id())));
    assert!(story.machine.is_active());
    assert_eq!(story.machine.chosen(), None);
}

#[test]
fn at_the_first_height_of_another_set_everybody_changes_the_view() {
    let mut story = Story::of_four(2);
    let a = block(1, "A");
    story.accepted(0, &a);
    story.quietly();
    let other_set = set_of(&[story.own, 7, 8, 9]);
    story.next_height(0, &a, &other_set);
    story.signed();
    let told = story.said();
    assert!(told.contains(&"tell view-change 1".to_owned()), "{told:?}");
    assert!(!story.machine.is_active());
    // A proposal of the view the old set was in counts for nothing, and neither do the old members.
    story.pre_prepare(0, &block(2, "B"));
    story.expect(&[]);
    let own = story.own;
    for former in [0, 1, 2, 3].into_iter().filter(|who| *who != own) {
        let checkpoint = commit_of(&set_of(&[0, 1, 2, 3]), &[0, 1, 2], (1, 0), a.id());
        story.state(view_change_of(former, (2, 1), Some(checkpoint), None));
    }
    assert_eq!(story.machine.power_behind(Round::new(1)).get(), 1);
    let set = Arc::clone(&story.set);
    assert!(story.machine.failures == 0 && story.machine.primary(Round::new(1)).address == address(primary(&set, 1)));
}

#[test]
fn a_view_change_of_a_lower_height_counts_and_one_of_this_height_must_prove_the_one_before() {
    let mut story = Story::of_four(1);
    let (a, set) = (block(1, "A"), Arc::clone(&story.set));
    story.accepted(0, &a);
    story.next_height(0, &a, &set);
    let others = story.others();
    let reaction = story.state(view_change_of(others[0], (2, 1), None, None));
    assert!(matches!(reaction, Reaction::PeerFault(_)), "a height claimed without proof: {reaction:?}");
    story.wait(VIEW_TIMEOUT);
    story.signed();
    story.quietly();
    // What it prepared there is decided by now, and nobody may propose it here.
    let below = certificate_of(&set, &others, (1, 0), a.id());
    story.state(view_change_of(others[0], (1, 1), None, Some(below)));
    let checkpoint = commit_of(&set, &others, (1, 0), a.id());
    story.state(view_change_of(others[1], (2, 1), Some(checkpoint), None));
    story.expect(&["sign new-view 1"]);
}

#[test]
fn after_a_crash_the_standing_holds_and_the_view_change_still_carries_the_certificate() {
    let mut story = Story::of_four(2);
    let a = block(1, "A");
    story.prepared(0, &a);
    story.wait(VIEW_TIMEOUT);
    let mut story = story.crash();
    assert_eq!(story.machine.round(), Round::new(1));
    story.expect(&["sign view-change 1 with A of 0"]);
    story.pre_prepare(0, &block(1, "B"));
    story.expect(&[]);
}

#[test]
fn after_a_crash_a_replica_that_prepared_in_its_view_goes_on_in_it_with_that_block_only() {
    let mut story = left_view_0(2);
    let a = block(1, "A");
    let (leader, others) = (primary(&story.set, 1), story.others());
    story.state(new_view_of(leader, (1, 1), changes(&others, 1), None));
    story.accepted(1, &a);
    let mut story = story.crash();
    assert!(story.machine.is_active());
    assert_eq!(story.machine.chosen(), Some(a.id()));
    story.quietly();
    story.prepares(&others[..2], 1, &a);
    story.expect(&["sign commit 1 A"]);
}

#[test]
fn after_a_crash_the_primary_proposes_the_same_block() {
    let mut story = Story::of_four(0);
    let a = block(1, "A");
    story.step(Input::BlockBuilt { height: at(1), round: Round::ZERO, block: Arc::clone(&a) });
    story.crash().expect(&["sign pre-prepare 0 A"]);
}

#[test]
fn a_block_we_prepared_stays_here_because_somebody_may_hold_its_certificate_and_hide_it() {
    let mut story = Story::of_four(2);
    let a = block(1, "A");
    // We see no quorum of PREPAREs; whoever hid its own from us has one.
    story.accepted(0, &a);
    story.wait(VIEW_TIMEOUT);
    story.signed();
    assert_eq!(story.machine.round(), Round::new(1));
    let others = story.others();
    let hidden = certificate_of(&story.set, &others, (1, 0), a.id());
    story.quietly();
    story.state(view_change_of(others[0], (1, 2), None, Some(hidden)));
    story.state(view_change_of(others[1], (1, 2), None, None));
    story.signed();
    // Nobody sends us the block: we have it.
    let said = story.said();
    assert!(said.iter().any(|words| words == "tell new-view 2 for A"), "{said:?}");
    assert!(said.iter().any(|words| words == "tell pre-prepare 2 A"), "{said:?}");
}

/// Views one after the other with a block of its own each, which we PREPARE and nobody decides.
fn prepare_and_leave(story: &mut Story, views: impl Iterator<Item = u32>) {
    let others = story.others();
    for view in views.filter(|view| primary(&story.set, *view) != story.own).collect::<Vec<_>>() {
        for who in &others[..2] {
            story.state(view_change_of(*who, (1, view), None, None));
        }
        let leader = primary(&story.set, view);
        story.state(new_view_of(leader, (1, view), changes(&others, view), None));
        story.quietly();
        story.accepted(view, &block(1, &format!("of view {view}")));
        assert!(story.said().iter().any(|words| words.starts_with("tell prepare")), "view {view}");
    }
}

#[test]
fn the_block_of_the_highest_certificate_stays_here_through_twenty_views_that_decide_nothing() {
    let a = block(1, "A");
    // Ours; and one that we are shown, of a block of which we saw no quorum of PREPAREs.
    for shown in [false, true] {
        let mut story = Story::of_four(1);
        let others = story.others();
        if shown {
            story.accepted(0, &a);
            let hidden = certificate_of(&story.set, &others, (1, 0), a.id());
            story.state(view_change_of(others[2], (1, 2), None, Some(hidden)));
        } else {
            story.prepared(0, &a);
        }
        prepare_and_leave(&mut story, 2..30);
        assert!(story.machine.current.blocks.block(&a.id()).is_some(), "shown: {shown}");
        assert!(story.machine.current.blocks.block(&block(1, "of view 2").id()).is_none(), "shown: {shown}");
        // We lead view 33, and are shown the certificate.
        let certificate = certificate_of(&story.set, &others, (1, 0), a.id());
        story.quietly();
        story.state(view_change_of(others[0], (1, 33), None, Some(certificate)));
        story.state(view_change_of(others[1], (1, 33), None, None));
        story.signed();
        let said = story.said();
        assert!(said.iter().any(|words| words == "tell pre-prepare 33 A"), "shown: {shown}: {said:?}");
    }
}

#[test]
fn a_new_view_a_liar_made_for_the_next_height_hides_no_honest_one() {
    for (first, liars_view) in [(true, 10_000), (false, 10_000), (true, 4), (false, 4)] {
        let mut story = Story::of_four(2);
        let a = block(1, "A");
        let set = Arc::clone(&story.set);
        let others = story.others();
        let leader = primary(&set, 1);
        let liar = *others.iter().find(|who| **who != leader).expect("two of them");
        let commit = commit_of(&set, &others, (1, 0), a.id());
        let honest = |who: &usize| view_change_of(*who, (2, 1), Some(commit.clone()), None);
        let good = new_view_of(leader, (2, 1), others.iter().map(honest).collect(), None);
        let lie = new_view_of(liar, (2, liars_view), changes(&others, liars_view), None);
        let (one, other) = if first { (lie, good) } else { (good, lie) };
        story.state(one);
        story.state(other);
        story.accepted(0, &a);
        story.next_height(0, &a, &set);
        assert_eq!((story.machine.round(), story.machine.is_active()), (Round::new(1), true), "liar first: {first}");
    }
}
