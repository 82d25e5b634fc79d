//! The normal case, claim by claim: §4.1 to §4.3, and what our own rules add to it.

use super::puppets::{
    address, block, commit_of, primary, proposal_of, seat, set_of, start, statement_of, vote_of, weighted,
};
use super::story::{Story, at};
use crate::consensus::{BlockVerdict, Direct, EmptyBlocks, Input, Lead, Reaction, ViewPhase};
use crate::crypto::Verified;
use crate::types::{Height, JournalMessage, JournalRecord, PbftStatement, Round, VoteKind};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn s4_1_the_primary_of_view_v_is_member_v_mod_n_and_stays_over_heights() {
    let mut story = Story::of_four(1);
    for view in 0..9 {
        let leader = story.machine.primary(Round::new(view)).address;
        assert_eq!(leader, story.set.members()[view as usize % 4].address);
    }
    let first = story.machine.primary(story.machine.round()).address;
    let set = Arc::clone(&story.set);
    story.next_height(0, &block(1, "A"), &set);
    assert_eq!(story.machine.primary(story.machine.round()).address, first);
    let wanted = Lead::Primary { primary: first, phase: ViewPhase::Active };
    assert_eq!(story.machine.view().lead, wanted);
}

#[test]
fn s4_2_the_primary_builds_pre_prepares_prepares_commits_and_decides() {
    let mut story = Story::of_four(0);
    let a = block(1, "A");
    story.expect(&["build 0"]);
    story.step(Input::BlockBuilt { height: at(1), round: Round::ZERO, block: Arc::clone(&a) });
    story.expect(&["sign pre-prepare 0 A"]);
    story.signed();
    story.expect(&["tell pre-prepare 0 A", "check A"]);
    story.checked(&a, BlockVerdict::Accept);
    story.expect(&["sign prepare 0 A"]);
    story.signed();
    story.expect(&["tell prepare 0 A"]);
    let others = story.others();
    story.prepares(&others[..1], 0, &a);
    story.expect(&[]);
    story.prepares(&others[1..2], 0, &a);
    story.expect(&["sign commit 0 A"]);
    story.signed();
    story.expect(&["tell commit 0 A"]);
    story.commits(&others[..1], 0, &a);
    story.expect(&[]);
    story.commits(&others[1..2], 0, &a);
    story.expect(&["decide 0 A"]);
}

#[test]
fn s4_2_a_backup_prepares_only_the_first_pre_prepare_and_only_a_valid_block() {
    let mut story = Story::of_four(1);
    let (a, b) = (block(1, "A"), block(1, "B"));
    story.pre_prepare(0, &a);
    story.parts(0, &a);
    story.expect(&["check A"]);
    assert!(matches!(story.pre_prepare(0, &a), Reaction::Ignored(_)));
    story.checked(&a, BlockVerdict::Accept);
    story.expect(&["sign prepare 0 A"]);
    story.parts(0, &b);
    story.expect(&[]);
}

#[test]
fn s4_2_a_pre_prepare_of_another_than_the_primary_is_its_bearers_fault() {
    let mut story = Story::of_four(1);
    let proposal = Verified::trusted(super::puppets::proposal_of(1, 0, block(1, "A").id()));
    let by = address(primary(&story.set, 2));
    assert!(matches!(story.hear(2, Direct::Proposal { by, proposal }), Reaction::PeerFault(_)));
}

#[test]
fn s4_2_no_commit_before_the_block_was_found_valid_however_many_prepared() {
    let mut story = Story::of_four(1);
    let a = block(1, "A");
    let others = story.others();
    story.prepares(&others, 0, &a);
    story.pre_prepare(0, &a);
    story.parts(0, &a);
    story.expect(&["check A"]);
    story.checked(&a, BlockVerdict::Accept);
    story.expect(&["sign prepare 0 A"]);
    story.signed();
    story.expect(&["tell prepare 0 A", "sign commit 0 A", "tell commit 0 A"]);
}

#[test]
fn s4_2_the_prepared_certificate_is_in_the_journal_before_the_commit_is_signed() {
    let mut story = Story::of_four(1);
    let a = block(1, "A");
    story.accepted(0, &a);
    let others = story.others();
    story.prepares(&others[..1], 0, &a);
    story.quietly();
    story.prepares(&others[1..2], 0, &a);
    assert_eq!(story.everything(), ["journal", "sign commit 0 A"]);
    let prevote = |record: &&JournalRecord| matches!(record, JournalRecord::Message { message: JournalMessage::Vote(vote), .. } if vote.kind == VoteKind::Prevote);
    assert_eq!(story.journal.iter().filter(prevote).count(), 3);
}

#[test]
fn s4_2_commits_in_a_view_we_left_still_decide() {
    let mut story = Story::of_four(1);
    let a = block(1, "A");
    story.accepted(0, &a);
    story.wait(super::puppets::VIEW_TIMEOUT * 3);
    story.signed();
    assert!(story.machine.round() > Round::ZERO);
    story.quietly();
    let others = story.others();
    story.commits(&others, 0, &a);
    story.expect(&["decide 0 A"]);
}

#[test]
fn s4_2_power_decides_not_heads() {
    let set = weighted(&[10, 1, 1, 1]);
    let own = 0;
    let mut story = Story::begin(start(&set, Some(own), 1), own, &[]);
    let a = block(1, "A");
    story.step(Input::BlockBuilt { height: at(1), round: Round::ZERO, block: Arc::clone(&a) });
    story.signed();
    story.checked(&a, BlockVerdict::Accept);
    story.quietly();
    story.signed();
    story.expect(&["tell prepare 0 A", "sign commit 0 A", "tell commit 0 A", "decide 0 A"]);
    // The three light ones together are nothing.
    let mut light = Story::begin(start(&set, Some(1), 1), 1, &[]);
    light.pre_prepare(0, &a);
    light.parts(0, &a);
    light.checked(&a, BlockVerdict::Accept);
    light.signed();
    light.prepares(&[2, 3], 0, &a);
    light.commits(&[2, 3], 0, &a);
    assert!(!light.said().iter().any(|words| words.contains("commit") || words.contains("decide")));
}

#[test]
fn s4_2_one_replica_alone_decides_and_the_quorums_of_two_and_three_are_all_of_them() {
    for people in 1..=3_usize {
        let everybody: Vec<usize> = (0..people).collect();
        let set = set_of(&everybody);
        let own = primary(&set, 0);
        let mut story = Story::begin(start(&set, Some(own), 1), own, &[]);
        let a = block(1, "A");
        story.step(Input::BlockBuilt { height: at(1), round: Round::ZERO, block: Arc::clone(&a) });
        story.signed();
        story.checked(&a, BlockVerdict::Accept);
        story.signed();
        let others = story.others();
        for (count, who) in others.iter().enumerate() {
            assert!(!story.said().contains(&"sign commit 0 A".to_owned()), "{count} of {people} are no quorum");
            story.prepares(&[*who], 0, &a);
        }
        story.signed();
        story.commits(&others, 0, &a);
        assert!(story.said().contains(&"decide 0 A".to_owned()), "{people} replicas");
    }
}

#[test]
fn a_replica_that_votes_twice_is_accused_and_one_vote_counts() {
    let mut story = Story::of_four(1);
    let (a, b) = (block(1, "A"), block(1, "B"));
    let liar = story.others()[2];
    story.votes(VoteKind::Prevote, &[liar], 0, a.id());
    story.votes(VoteKind::Prevote, &[liar], 0, b.id());
    let index = seat(&story.set, liar).expect("a member");
    story.expect(&[&format!("accuse {index}")]);
}

#[test]
fn a_replica_both_of_whose_votes_count_is_accused_again_after_a_crash() {
    let mut story = Story::of_four(1);
    let (a, b, others) = (block(1, "A"), block(1, "B"), story.others());
    story.votes(VoteKind::Prevote, &others[2..], 0, b.id());
    story.votes(VoteKind::Prevote, &others[..2], 0, a.id());
    story.quietly();
    story.votes(VoteKind::Prevote, &others[2..], 0, a.id());
    let accusation = format!("accuse {}", seat(&story.set, others[2]).expect("a member"));
    assert!(story.said().contains(&accusation));
    let mut story = story.crash();
    assert!(story.said().contains(&accusation), "peers do not tell us again what we have");
}

#[test]
fn s4_3_messages_of_the_next_height_are_kept_and_taken_up_there() {
    let mut story = Story::of_four(1);
    let (a, b) = (block(1, "A"), block(2, "B"));
    assert_eq!(story.pre_prepare(0, &b), Reaction::Accepted);
    story.parts(0, &b);
    for who in story.others() {
        let vote = vote_of(&story.set, who, VoteKind::Prevote, (2, 0), b.id());
        assert_eq!(story.hear(who, Direct::Vote(Verified::trusted(vote))), Reaction::Accepted);
    }
    story.quietly();
    let set = Arc::clone(&story.set);
    story.next_height(0, &a, &set);
    story.expect(&["check B"]);
    story.checked(&b, BlockVerdict::Accept);
    story.signed();
    story.expect(&["sign prepare 0 B", "tell prepare 0 B", "sign commit 0 B", "tell commit 0 B"]);
}

#[test]
fn s4_3_messages_two_heights_ahead_are_dropped_and_a_third_of_the_power_further_than_peers_remember_starts_a_sync() {
    let mut story = Story::of_four(1);
    let far = block(130, "A");
    let others = story.others();
    let vote = |story: &Story, who: usize| {
        Direct::Vote(Verified::trusted(vote_of(&story.set, who, VoteKind::Prevote, (130, 0), far.id())))
    };
    let first = vote(&story, others[0]);
    assert!(matches!(story.hear(others[0], first), Reaction::Ignored(_)));
    story.expect(&[]);
    let second = vote(&story, others[1]);
    story.hear(others[1], second);
    story.expect(&["sync 129"]);
    let third = vote(&story, others[2]);
    story.hear(others[2], third);
    story.expect(&[]);
}

#[test]
fn s4_3_a_commit_is_the_proof_of_its_height_whatever_was_seen_of_its_votes() {
    let mut story = Story::of_four(1);
    let a = block(1, "A");
    let others = story.others();
    let commit = commit_of(&story.set, &others, (1, 7), a.id());
    story.quietly();
    story.hear(others[0], Direct::Commit(Verified::trusted(commit)));
    story.expect(&[]);
    story.parts(0, &a);
    story.expect(&["decide 7 A"]);
}

#[test]
fn a_decision_whose_block_never_comes_is_fetched_by_block_sync() {
    let mut story = Story::of_four(1);
    let others = story.others();
    let commit = commit_of(&story.set, &others, (1, 0), block(1, "A").id());
    story.hear(others[0], Direct::Commit(Verified::trusted(commit)));
    story.quietly();
    story.wait(Duration::from_secs(1));
    assert!(story.said().contains(&"sync 1".to_owned()));
}

/// How often blocks up to this height are asked for in three seconds; half of the view timeout passes between two times.
fn syncs_in_three_seconds(story: &mut Story, height: u64) -> usize {
    story.quietly();
    story.wait(Duration::from_secs(3));
    story.said().iter().filter(|words| **words == format!("sync {height}")).count()
}

#[test]
fn blocks_are_asked_to_be_fetched_again_and_again_while_that_leads_nowhere() {
    let mut story = Story::of_four(1);
    let others = story.others();
    let commit = commit_of(&story.set, &others, (1, 0), block(1, "A").id());
    story.hear(others[0], Direct::Commit(Verified::trusted(commit)));
    assert!((8..=12).contains(&syncs_in_three_seconds(&mut story, 1)));
    // Far behind, by what more than a third say, and by what a commit proves.
    let mut story = Story::of_four(1);
    let far = block(200, "A").id();
    for who in &others[..2] {
        let vote = vote_of(&story.set, *who, VoteKind::Prevote, (200, 0), far);
        story.hear(*who, Direct::Vote(Verified::trusted(vote)));
    }
    assert!((8..=12).contains(&syncs_in_three_seconds(&mut story, 199)));
    let mut story = Story::of_four(1);
    let commit = commit_of(&story.set, &others, (200, 0), far);
    story.hear(others[0], Direct::Commit(Verified::trusted(commit)));
    assert!((8..=12).contains(&syncs_in_three_seconds(&mut story, 200)));
}

/// The same members at height 2, with the block before; nobody gives up the primary within an hour.
fn at_height_2() -> Story {
    let set = set_of(&[0, 1, 2, 3]);
    let own = primary(&set, 1);
    let mut begin = start(&set, Some(own), 2);
    let decided = block(1, "A");
    begin.last_commit = Some(commit_of(&set, &[0, 1, 2], (1, 0), decided.id()));
    begin.last_validators = Some(Arc::clone(&set));
    begin.last_block = Some(decided);
    begin.timeouts.view_change = Duration::from_secs(3600);
    Story::begin(begin, own, &[])
}

#[test]
fn a_peer_that_has_and_lacks_the_proposal_in_turn_gets_it_ever_more_rarely() {
    let mut story = at_height_2();
    let b = block(2, "B");
    story.accepted(0, &b);
    let liar = story.others()[0];
    let status = |story: &mut Story, height: u64, has: bool| {
        story.tick = story.tick.plus(Duration::from_millis(100));
        story.quietly();
        let proposal = has.then(|| Box::new(proposal_of(2, 0, b.id())));
        let body = PbftStatement::Status { view: Round::ZERO, height: at(height), active: true, proposal };
        story.state(statement_of(liar, body));
        story.everything().iter().filter(|words| *words == "send pre-prepare 0 B").count()
    };
    assert_eq!(status(&mut story, 1, false), 0);
    let mut copies = Vec::new();
    for lacked in 1..=100 {
        if status(&mut story, 2, false) > 0 {
            copies.push(lacked);
        }
        assert_eq!(status(&mut story, 2, true), 0);
    }
    assert_eq!(copies, [1, 4, 8, 16, 32, 64]);
}

#[test]
fn a_peer_one_height_behind_gets_the_commit_and_the_block_it_lacks() {
    let mut story = Story::of_four(1);
    let a = block(1, "A");
    story.accepted(0, &a);
    let set = Arc::clone(&story.set);
    story.next_height(0, &a, &set);
    story.quietly();
    let who = story.others()[0];
    let body = PbftStatement::Status { view: Round::ZERO, height: at(1), active: true, proposal: None };
    story.state(statement_of(who, body));
    assert_eq!(story.everything(), ["send the commit of 1", "send part"]);
    // Asked again at once it says nothing: an answer is larger than a question.
    let body = PbftStatement::Status { view: Round::ZERO, height: at(1), active: true, proposal: None };
    assert!(matches!(story.state(statement_of(who, body)), Reaction::Ignored(_)));
}

/// Four members of equal power, of whom we lead view 1, at a height whose COMMITs carry extensions.
fn with_extensions() -> Story {
    let set = set_of(&[0, 1, 2, 3]);
    let own = primary(&set, 1);
    let mut begin = start(&set, Some(own), 1);
    let mut params = (*begin.params).clone();
    params.abci.vote_extensions_enable_height = Some(Height::FIRST);
    begin.params = Arc::new(params);
    Story::begin(begin, own, &[])
}

#[test]
fn extensions_are_asked_for_before_the_commit_and_verified_in_those_of_others() {
    let mut story = with_extensions();
    let set = Arc::clone(&story.set);
    let a = block(1, "A");
    let others = story.others();
    story.accepted(0, &a);
    story.quietly();
    story.prepares(&others[..2], 0, &a);
    story.expect(&["extend 0 A"]);
    let extension = bytes::Bytes::from_static(b"more");
    story.step(Input::VoteExtended { height: at(1), round: Round::ZERO, extension });
    story.signed();
    story.expect(&["sign commit 0 A", "tell commit 0 A"]);
    let mut vote = vote_of(&set, others[0], VoteKind::Precommit, (1, 0), a.id());
    let bare = Direct::Vote(Verified::trusted(vote.clone()));
    assert!(matches!(story.hear(others[0], bare), Reaction::PeerFault(_)));
    vote.extension_signature = Some(vote.signature);
    story.hear(others[0], Direct::Vote(Verified::trusted(vote.clone())));
    let index = vote.validator_index;
    story.expect(&[&format!("verify extension of {index}")]);
    let source = crate::types::Source::Peer(super::puppets::node_id(others[0]));
    story.step(Input::ExtensionVerified { vote, source, accepted: false });
    assert_eq!(story.machine.view().votes[0].precommits.iter().flatten().count(), 1);
}

#[test]
fn a_commit_that_comes_when_the_block_is_executed_counts_and_the_application_is_not_asked_about_it() {
    let mut story = with_extensions();
    let set = Arc::clone(&story.set);
    let (a, others) = (block(1, "A"), story.others());
    story.accepted(0, &a);
    story.prepares(&others[..2], 0, &a);
    story.step(Input::VoteExtended { height: at(1), round: Round::ZERO, extension: bytes::Bytes::new() });
    story.signed();
    for (place, voter) in others.iter().enumerate() {
        let mut vote = vote_of(&set, *voter, VoteKind::Precommit, (1, 0), a.id());
        vote.extension_signature = Some(vote.signature);
        story.quietly();
        let heard = story.hear(*voter, Direct::Vote(Verified::trusted(vote.clone())));
        assert_eq!(heard, Reaction::Accepted);
        if place < 2 {
            story.expect(&[&format!("verify extension of {}", vote.validator_index)]);
            let source = crate::types::Source::Peer(super::puppets::node_id(*voter));
            story.step(Input::ExtensionVerified { vote, source, accepted: true });
        }
    }
    story.expect(&[]);
    assert_eq!(story.machine.view().votes[0].precommits.iter().flatten().count(), 4);
}

#[test]
fn without_transactions_no_block_is_made_where_empty_blocks_are_not_wanted_and_one_starts_it() {
    let set = set_of(&[0, 1, 2, 3]);
    let own = primary(&set, 0);
    let mut begin = start(&set, Some(own), 1);
    begin.timeouts.empty_blocks = EmptyBlocks::Never;
    let mut story = Story::begin(begin.clone(), own, &[]);
    story.wait(Duration::from_secs(60));
    story.expect(&[]);
    story.step(Input::TxsAvailable);
    story.expect(&["build 0"]);
    begin.timeouts.empty_blocks = EmptyBlocks::After(Duration::from_secs(5));
    let mut story = Story::begin(begin.clone(), own, &[]);
    story.wait(Duration::from_secs(4));
    story.expect(&[]);
    story.wait(Duration::from_secs(2));
    assert!(story.said().contains(&"build 0".to_owned()));
    begin.proof_block_needed = true;
    Story::begin(begin, own, &[]).expect(&["build 0"]);
}

#[test]
fn nothing_is_built_before_the_height_may_begin() {
    let set = set_of(&[0, 1, 2, 3]);
    let own = primary(&set, 0);
    let mut begin = start(&set, Some(own), 1);
    begin.begin_at = crate::consensus::Tick::default().plus(Duration::from_secs(1));
    let mut story = Story::begin(begin, own, &[]);
    story.expect(&[]);
    story.wait(Duration::from_millis(900));
    story.expect(&[]);
    story.wait(Duration::from_millis(200));
    story.expect(&["build 0"]);
}

#[test]
fn reads_cannot_be_made_sure_of_here_and_are_told_what_to_do() {
    let mut story = Story::of_four(1);
    let (ticket, mode) = (crate::consensus::ReadTicket(1), crate::consensus::ReadMode::Confirmed);
    story.quietly();
    story.step(Input::Read { ticket, mode });
    assert!(story.said()[0].contains("ReadRefused"));
}

#[test]
fn who_decides_says_no_status_who_waits_says_it_often_and_who_idles_rarely() {
    let statuses = |story: &mut Story, time: Duration| {
        story.everything();
        story.wait(time);
        story.everything().iter().filter(|words| *words == "sign status").count()
    };
    let set = set_of(&[0, 1, 2, 3]);
    let own = primary(&set, 1);
    let mut begin = start(&set, Some(own), 1);
    begin.timeouts.empty_blocks = EmptyBlocks::Never;
    let mut story = Story::begin(begin, own, &[]);
    assert_eq!(statuses(&mut story, Duration::from_millis(1650)), 1);
    story.step(Input::TxsAvailable);
    assert_eq!(statuses(&mut story, Duration::from_millis(400)), 4);
    let a = block(1, "A");
    story.prepared(0, &a);
    let others = story.others();
    story.commits(&others, 0, &a);
    story.next_height(0, &a, &set);
    assert_eq!(statuses(&mut story, Duration::from_millis(100)), 0);
}

#[test]
fn a_peer_one_block_behind_gets_its_block_at_once_and_then_ever_more_rarely_while_it_says_it_lacks_it() {
    let mut story = at_height_2();
    let behind = story.others()[0];
    let mut copies = Vec::new();
    for status in 1..=200_u32 {
        story.tick = story.tick.plus(Duration::from_millis(100));
        story.quietly();
        let body = PbftStatement::Status { view: Round::ZERO, height: at(1), active: true, proposal: None };
        story.state(statement_of(behind, body));
        let said = story.everything();
        assert!(said.iter().any(|words| words == "send the commit of 1"), "{said:?}");
        if said.iter().any(|words| words == "send part") {
            copies.push(status);
        }
    }
    assert_eq!(copies, [1, 4, 16, 64, 128, 192]);
}
