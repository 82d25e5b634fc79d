//! One story for each rule. "A" and "B" are blocks; we are a validator that does not propose unless the story says so.

use super::story::{Story, block, block_with, peer, proposal_of, start, validators, vote_of};
use crate::consensus::tendermint::Message;
use crate::consensus::{EmptyBlocks, Input, Reaction, RoundNote, Tick};
use crate::crypto::Verified;
use crate::types::{
    AbciParams, ConsensusParams, ExtendedCommit, Height, Round, Rule, Source, Step, Tx, VOTE_EXTENSION_SENT_MAX,
    VoteKind,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A story of somebody who proposes neither in round 0 nor in round 1.
pub(super) fn bystander() -> Story {
    let own = (0..4).find(|i| (0..3).all(|round| Story::of_four(0).proposer(round) != *i)).expect("four of them");
    let mut story = Story::of_four(own);
    story.expect(&["timer Propose 0 3000ms"]);
    story
}

/// The others, in set order.
pub(super) fn others(story: &Story) -> Vec<usize> {
    let own = story.machine.validators().by_address(&story.own()).expect("a member").0 as usize;
    (0..4).filter(|i| *i != own).collect()
}

impl Story {
    pub(super) fn own(&self) -> crate::types::Address {
        self.machine.current.start.own.expect("a validator")
    }

    pub(super) fn own_index(&self) -> usize {
        self.machine.validators().by_address(&self.own()).expect("a member").0 as usize
    }
}

#[test]
fn a_single_validator_decides_alone() {
    let set = Arc::new(validators(&[5]));
    let mut story = Story::begin(start(&set, Some(0), 1), &[]);
    story.expect(&["timer Propose 0 3000ms", "build 0"]);
    let a = block(1, "A");
    story.built(0, &a);
    story.expect(&["sign proposal 0 A"]);
    story.signed();
    story.expect(&["tell proposal 0", "check A"]);
    story.checked(&a, true);
    story.expect(&["sign prevote 0 A"]);
    story.signed();
    story.expect(&["tell prevote 0 A", "sign precommit 0 A", "tell precommit 0 A", "decide 0 A"]);
    let mut next = start(&set, Some(0), 2);
    next.begin_at = Tick(1_000_000_000);
    assert_eq!(story.step(Input::BlockApplied(Box::new(next))), Reaction::Accepted);
    story.expect(&["timer NewHeight 0 1000ms"]);
    story.height = 2;
    story.timer(Step::NewHeight, 0);
    story.expect(&["timer Propose 0 3000ms", "build 0"]);
}

#[test]
fn four_validators_agree_in_one_round() {
    let mut story = bystander();
    let (a, others) = (block(1, "A"), others(&story));
    story.proposal(0, None, &a);
    story.parts(0, &a);
    story.expect(&["check A"]);
    story.checked(&a, true);
    story.expect(&["sign prevote 0 A"]);
    story.signed();
    story.quietly();
    story.prevotes(&others[..2], 0, Some(&a));
    story.expect(&["sign precommit 0 A"]);
    story.signed();
    story.quietly();
    story.precommits(&others[..1], 0, Some(&a));
    story.expect(&[]);
    story.precommits(&others[1..2], 0, Some(&a));
    story.expect(&["decide 0 A"]);
}

#[test]
fn a_missing_proposal_ends_in_a_nil_prevote_at_the_timeout() {
    let mut story = bystander();
    assert_eq!(story.timer(Step::Propose, 0), Reaction::Accepted);
    story.expect(&["sign prevote 0 nil"]);
    assert!(matches!(story.timer(Step::Propose, 0), Reaction::Ignored(_)), "a second time");
}

#[test]
fn a_rejected_block_gets_a_nil_prevote_at_once() {
    let mut story = bystander();
    let a = block(1, "A");
    story.proposal(0, None, &a);
    story.parts(0, &a);
    story.checked(&a, false);
    story.expect(&["check A", "sign prevote 0 nil"]);
}

/// What this node refused, for a clock that was slow, say, the others may have locked: every later round proposes it.
#[test]
fn a_block_refused_in_one_round_is_looked_at_again_in_the_next() {
    let mut story = bystander();
    let (a, others) = (block(1, "A"), others(&story));
    story.proposal(0, None, &a);
    story.parts(0, &a);
    story.checked(&a, false);
    story.signed();
    // The three others lock it; one of them dies before it precommits.
    story.prevotes(&others, 0, Some(&a));
    story.timer(Step::PrevoteWait, 0);
    story.signed();
    story.precommits(&others[..2], 0, Some(&a));
    story.quietly();
    story.timer(Step::PrecommitWait, 0);
    story.expect(&["timer Propose 1 3500ms", "check A"]);
    story.proposal(1, Some(0), &a);
    story.checked(&a, true);
    story.expect(&["sign prevote 1 A"]);
}

#[test]
fn a_no_that_was_on_its_way_when_the_round_ended_does_not_count_in_the_next() {
    let mut story = bystander();
    let (a, others) = (block(1, "A"), others(&story));
    story.proposal(0, None, &a);
    story.parts(0, &a);
    story.prevotes(&others, 0, Some(&a));
    story.prevotes(&others[..2], 1, None);
    assert_eq!(story.machine.round(), Round::new(1), "a third of the power is there");
    story.proposal(1, Some(0), &a);
    story.quietly();
    assert_eq!(story.checked_in(Round::ZERO, &a, false), Reaction::Accepted);
    story.expect(&["check A"]);
    story.checked(&a, true);
    story.expect(&["sign prevote 1 A"]);
}

#[test]
fn a_timeout_waits_for_an_application_that_is_looking_at_the_block() {
    let mut story = bystander();
    let a = block(1, "A");
    story.proposal(0, None, &a);
    story.parts(0, &a);
    story.timer(Step::Propose, 0);
    story.expect(&["check A"]);
    story.checked(&a, true);
    story.expect(&["sign prevote 0 A"]);
}

#[test]
fn votes_for_different_things_start_the_timeouts_of_their_step_once() {
    let mut story = bystander();
    let (a, others) = (block(1, "A"), others(&story));
    story.timer(Step::Propose, 0);
    story.signed();
    story.quietly();
    story.prevotes(&others[..1], 0, Some(&a));
    story.expect(&[]);
    story.prevotes(&others[1..], 0, Some(&a));
    story.expect(&["timer PrevoteWait 0 1000ms"]);
    story.timer(Step::PrevoteWait, 0);
    story.expect(&["sign precommit 0 nil"]);
    story.signed();
    story.quietly();
    assert!(matches!(story.timer(Step::PrevoteWait, 0), Reaction::Ignored(_)), "precommitted already");
    story.precommits(&others[..2], 0, None);
    story.expect(&["timer PrecommitWait 0 1000ms"]);
    story.precommits(&others[2..], 0, Some(&a));
    story.expect(&[]);
    story.timer(Step::PrecommitWait, 0);
    story.expect(&["timer Propose 1 3500ms"]);
    assert_eq!(story.machine.round(), Round::new(1));
}

#[test]
fn a_nil_polka_leads_to_a_nil_precommit_and_keeps_the_lock() {
    let mut story = locked_on_a();
    let others = others(&story);
    story.precommits(&others, 0, None);
    story.timer(Step::PrecommitWait, 0);
    story.timer(Step::Propose, 1);
    story.signed();
    story.quietly();
    story.prevotes(&others[..2], 1, None);
    story.expect(&["sign precommit 1 nil"]);
    assert_eq!(story.machine.view().locked.map(|(round, _)| round), Some(Round::ZERO), "the paper's rule");
}

/// Locked on A in round 0, our precommit out, still in round 0.
pub(super) fn locked_on_a() -> Story {
    let mut story = bystander();
    let (a, others) = (block(1, "A"), others(&story));
    story.proposed(0, None, &a);
    story.signed();
    story.prevotes(&others[..2], 0, Some(&a));
    story.signed();
    story.quietly();
    assert_eq!(story.machine.view().locked, Some((Round::ZERO, a.id())));
    assert_eq!(story.machine.view().valid, Some((Round::ZERO, a.id())));
    story
}

/// The same in round 1, with nothing decided in round 0.
fn locked_on_a_in_round_1() -> Story {
    let mut story = locked_on_a();
    let others = others(&story);
    story.precommits(&others, 0, None);
    story.timer(Step::PrecommitWait, 0);
    story.quietly();
    assert_eq!(story.machine.round(), Round::new(1));
    story
}

#[test]
fn a_locked_validator_prevotes_nil_for_another_fresh_block() {
    let mut story = locked_on_a_in_round_1();
    let b = block(1, "B");
    story.proposal(1, None, &b);
    story.parts(1, &b);
    story.expect(&["sign prevote 1 nil"]);
}

#[test]
fn a_locked_validator_prevotes_its_block_when_it_is_proposed_afresh() {
    let mut story = locked_on_a_in_round_1();
    let a = block(1, "A");
    story.proposal(1, None, &a);
    story.expect(&["sign prevote 1 A"]);
}

#[test]
fn a_proof_of_votes_older_than_the_lock_does_not_move_it() {
    let mut story = locked_on_a_in_round_1();
    let (b, others) = (block(1, "B"), others(&story));
    // Move the lock to round 1, then show B with votes of round 0: impossible with honest votes, so made of ours only.
    story.proposal(1, Some(0), &b);
    story.parts(1, &b);
    story.expect(&[]);
    assert!(
        !others.is_empty() && story.machine.current_step() == Step::Propose,
        "waits for the votes, then for the timeout"
    );
    story.timer(Step::Propose, 1);
    story.expect(&["sign prevote 1 nil"]);
}

#[test]
fn a_quorum_of_a_later_round_moves_the_lock() {
    let mut story = locked_on_a_in_round_1();
    let (b, others) = (block(1, "B"), others(&story));
    story.proposal(1, None, &b);
    story.parts(1, &b);
    story.signed();
    story.quietly();
    story.prevotes(&others, 1, Some(&b));
    story.expect(&["timer PrevoteWait 1 1500ms", "check B"]);
    story.checked(&b, true);
    let said = story.said();
    assert!(said.contains(&"sign precommit 1 B".to_owned()), "{said:?}");
    assert_eq!(story.machine.view().locked, Some((Round::new(1), b.id())));
    assert!(story.notes.iter().any(|note| matches!(note, RoundNote::Unlock { .. })));
}

#[test]
fn a_locked_validator_follows_a_proof_of_votes_from_its_lock_round_or_later() {
    // Lock on A in round 0; B gets its quorum in round 1, which we learn only in round 2.
    let mut story = locked_on_a_in_round_1();
    let (b, others) = (block(1, "B"), others(&story));
    story.timer(Step::Propose, 1);
    story.signed();
    story.precommits(&others, 1, None);
    story.timer(Step::PrecommitWait, 1);
    story.quietly();
    assert_eq!(story.machine.round(), Round::new(2));
    story.proposal(2, Some(1), &b);
    story.parts(2, &b);
    story.expect(&[]);
    story.prevotes(&others, 1, Some(&b));
    story.expect(&["check B"]);
    story.checked(&b, true);
    story.expect(&["sign prevote 2 B"]);
}

#[test]
fn a_proposer_proposes_the_valid_block_again() {
    let probe = Story::of_four(0);
    let own = probe.proposer(1);
    let mut story = Story::of_four(own);
    let (a, others) = (block(1, "A"), others(&story));
    story.proposed(0, None, &a);
    story.signed();
    story.prevotes(&others[..2], 0, Some(&a));
    story.signed();
    story.precommits(&others, 0, None);
    story.quietly();
    story.timer(Step::PrecommitWait, 0);
    story.expect(&["timer Propose 1 3500ms", "sign proposal 1 A pol 0"]);
    story.signed();
    story.expect(&["tell proposal 1", "sign prevote 1 A", "tell prevote 1 A"]);
}

#[test]
fn a_third_of_the_power_in_a_later_round_takes_us_there() {
    let mut story = bystander();
    let others = others(&story);
    story.vote(VoteKind::Prevote, others[0], 1, None);
    story.vote(VoteKind::Precommit, others[0], 1, None);
    story.expect(&[]);
    story.vote(VoteKind::Precommit, others[1], 1, None);
    story.expect(&["timer Propose 1 3500ms"]);
    assert_eq!(story.machine.round(), Round::new(1));
}

#[test]
fn a_quorum_of_precommits_decides_from_any_round_without_a_proposal() {
    for round in [0, 1, 5] {
        let mut story = bystander();
        let (a, others) = (block(1, "A"), others(&story));
        for voter in &others {
            // Each from its own peer, as the window of unexpected rounds is per peer.
            let vote = vote_of(&story.set, *voter, VoteKind::Precommit, (1, round), Some(a.id()));
            story.hear(Message::Vote(Verified::trusted(vote)));
        }
        assert_eq!(story.machine.current_step(), Step::Commit);
        story.quietly();
        story.parts(round, &a);
        story.expect(&[&format!("decide {round} A")]);
    }
}

#[test]
fn an_equivocating_proposer_cannot_keep_us_from_the_block_the_others_prevoted() {
    let mut story = bystander();
    let (a, b, others) = (block(1, "A"), block(1, "B"), others(&story));
    story.proposed(0, None, &b);
    story.signed();
    story.quietly();
    assert!(matches!(story.proposal(0, None, &a), Reaction::Ignored(_)));
    assert!(story.notes.iter().any(
        |note| matches!(note, RoundNote::Misconduct(it) if it.rule == Rule::OneProposal && it.messages.len() == 2)
    ));
    story.prevotes(&others, 0, Some(&a));
    story.expect(&["timer PrevoteWait 0 1000ms"]);
    story.parts(0, &a);
    story.expect(&["check A"]);
    story.checked(&a, true);
    story.expect(&["sign precommit 0 A"]);
}

#[test]
fn two_votes_of_one_validator_are_an_accusation_and_the_first_counts() {
    let mut story = bystander();
    let (a, others) = (block(1, "A"), others(&story));
    story.vote(VoteKind::Prevote, others[0], 0, Some(&a));
    let second = story.vote(VoteKind::Prevote, others[0], 0, None);
    assert!(matches!(second, Reaction::Later(_)), "the relaying peer did nothing wrong");
    story.expect(&[&format!("accuse {}", others[0])]);
    let again = story.vote(VoteKind::Prevote, others[0], 0, Some(&a));
    assert!(matches!(again, Reaction::Ignored(_)));
}

#[test]
fn an_equivocator_both_of_whose_votes_count_is_accused_again_after_a_crash() {
    let mut story = bystander();
    let (a, others) = (block(1, "A"), others(&story));
    story.vote(VoteKind::Prevote, others[0], 0, None);
    story.prevotes(&others[1..], 0, Some(&a));
    story.quietly();
    story.vote(VoteKind::Prevote, others[0], 0, Some(&a));
    let accusation = format!("accuse {}", others[0]);
    assert!(story.said().contains(&accusation));
    let begin = story.machine.current.start.clone();
    let mut story = story.crash(begin);
    assert!(story.said().contains(&accusation), "peers do not tell us again what we have");
    story.vote(VoteKind::Prevote, others[0], 0, Some(&a));
    assert!(!story.said().contains(&accusation), "once is enough");
}

#[test]
fn what_only_a_faulty_peer_sends_is_named() {
    let mut story = bystander();
    let a = block(1, "A");
    let mut stranger = vote_of(&story.set, 0, VoteKind::Prevote, (1, 0), None);
    stranger.validator_index = 4;
    let mut mixed = vote_of(&story.set, 0, VoteKind::Prevote, (1, 0), None);
    mixed.validator_index = 1;
    let mut extended = vote_of(&story.set, 0, VoteKind::Precommit, (1, 0), Some(a.id()));
    extended.extension = Bytes::from_static(b"x");
    for vote in [stranger, mixed, extended] {
        assert!(matches!(story.hear(Message::Vote(Verified::trusted(vote))), Reaction::PeerFault(_)));
    }
    let mut large = proposal_of(1, 0, None, a.id());
    large.block_id.parts.total = 337;
    let circular = proposal_of(1, 0, Some(0), a.id());
    for proposal in [large, circular] {
        assert!(matches!(story.hear(Message::Proposal(Verified::trusted(proposal))), Reaction::PeerFault(_)));
    }
    story.proposal(0, None, &a);
    let mut part = a.parts().part(0).expect("there").clone();
    part.bytes = Bytes::from_static(b"something else");
    let bent = Message::Part { height: Height::FIRST, round: Round::ZERO, part };
    assert!(!matches!(story.hear(bent), Reaction::Accepted), "a part that does not match its proof");
    let mut part = a.parts().part(0).expect("there").clone();
    part.index = 3;
    let moved = Message::Part { height: Height::FIRST, round: Round::ZERO, part };
    assert!(!matches!(story.hear(moved), Reaction::Accepted), "a part in another place than its proof says");
    story.expect(&[]);
}

#[test]
fn a_block_of_several_parts_is_gathered_in_any_order() {
    let mut story = bystander();
    let large = block_with(1, "large", vec![Tx::new(Bytes::from(vec![7; 200_000]))]);
    assert_eq!(large.parts().header().total, 4);
    story.proposal(0, None, &large);
    for part in large.parts().parts().collect::<Vec<_>>().into_iter().rev() {
        let message = Message::Part { height: Height::FIRST, round: Round::ZERO, part: part.clone() };
        assert_eq!(story.hear(message.clone()), Reaction::Accepted);
        assert!(matches!(story.hear(message), Reaction::Ignored(_)));
    }
    assert_eq!(story.said().len(), 1, "one check");
}

#[test]
fn a_peer_opens_two_unexpected_rounds_and_no_more() {
    let mut story = bystander();
    let others = others(&story);
    for (round, counted) in [(5, true), (9, true), (7, false), (1, true), (5, true)] {
        let kind = if round == 5 { VoteKind::Precommit } else { VoteKind::Prevote };
        let from = if story.machine.view().votes.iter().any(|votes| votes.round == Round::new(5)) { 1 } else { 0 };
        let vote = vote_of(&story.set, others[from], kind, (1, round), None);
        let reaction = story.step(Input::Received { source: peer(), message: Message::Vote(Verified::trusted(vote)) });
        assert_eq!(reaction == Reaction::Accepted, counted, "round {round}: {reaction:?}");
        if story.machine.round() != Round::ZERO {
            break;
        }
    }
    let far = vote_of(&story.set, others[2], VoteKind::Prevote, (1, 2_000_000_000), None);
    let far = Input::Received { source: Source::Own, message: Message::Vote(Verified::trusted(far)) };
    assert!(matches!(story.step(far), Reaction::Ignored(_)));
}

#[test]
fn without_transactions_nothing_is_proposed_until_one_comes_or_the_interval_ends() {
    let set = Arc::new(validators(&[1]));
    let begin = |empty_blocks| {
        let mut begin = start(&set, Some(0), 2);
        begin.proof_block_needed = false;
        begin.timeouts.empty_blocks = empty_blocks;
        begin
    };
    let mut never = Story::begin(begin(EmptyBlocks::Never), &[]);
    never.expect(&[]);
    assert_eq!(never.machine.current_step(), Step::NewRound);
    never.step(Input::TxsAvailable);
    never.expect(&["timer Propose 0 3000ms", "build 0"]);
    let mut after = Story::begin(begin(EmptyBlocks::After(Duration::from_secs(9))), &[]);
    after.expect(&["timer NewRound 0 9000ms"]);
    after.timer(Step::NewRound, 0);
    after.expect(&["timer Propose 0 3000ms", "build 0"]);
    let mut proof = begin(EmptyBlocks::Never);
    proof.proof_block_needed = true;
    Story::begin(proof, &[]).expect(&["timer Propose 0 3000ms", "build 0"]);
}

#[test]
fn late_precommits_join_the_last_commit_until_the_height_begins() {
    let mut story = locked_on_a();
    let (a, others) = (block(1, "A"), others(&story));
    story.precommits(&others[..2], 0, Some(&a));
    assert_eq!(story.machine.current_step(), Step::Commit);
    let commit: ExtendedCommit =
        story.machine.tally().set(Round::ZERO, VoteKind::Precommit).and_then(|s| s.to_commit()).expect("decided");
    let own = story.own();
    let mut next = start(&story.set, None, 2);
    next.own = Some(own);
    next.last_validators = Some(Arc::clone(&story.set));
    next.last_commit = Some(commit);
    next.begin_at = Tick(1_000_000_000);
    next.timeouts.skip_commit_when_all_voted = true;
    story.step(Input::BlockApplied(Box::new(next)));
    story.quietly();
    assert_eq!(story.machine.view().last_commit.iter().flatten().count(), 3);
    let late = vote_of(&story.set, others[2], VoteKind::Precommit, (1, 0), Some(a.id()));
    assert_eq!(story.hear(Message::Vote(Verified::trusted(late))), Reaction::Accepted);
    assert_eq!(story.machine.view().last_commit.iter().flatten().count(), 4);
    assert_ne!(story.machine.current_step(), Step::NewHeight, "everybody voted: no need to wait");
}

#[test]
fn precommits_carry_extensions_where_they_are_enabled() {
    let probe = bystander();
    let own = probe.machine.validators().by_address(&probe.own()).expect("a member").0 as usize;
    let mut begin = start(&probe.set, Some(own), 1);
    let abci = AbciParams { vote_extensions_enable_height: Some(Height::FIRST) };
    begin.params = Arc::new(ConsensusParams { abci, ..ConsensusParams::default() });
    let mut story = Story::begin(begin, &[]);
    let (a, others) = (block(1, "A"), others(&story));
    story.proposed(0, None, &a);
    story.signed();
    story.quietly();
    story.prevotes(&others[..2], 0, Some(&a));
    story.expect(&["extend 0 A"]);
    let extension = Bytes::from_static(b"price 3");
    story.step(Input::VoteExtended { height: Height::FIRST, round: Round::ZERO, extension: extension.clone() });
    story.expect(&["sign precommit 0 A"]);
    story.signed();
    story.quietly();
    let bare = story.vote(VoteKind::Precommit, others[0], 0, Some(&a));
    assert!(matches!(bare, Reaction::PeerFault(_)), "no extension");
    let mut endless = vote_of(&story.set, others[0], VoteKind::Precommit, (1, 0), Some(a.id()));
    endless.extension = vec![0; VOTE_EXTENSION_SENT_MAX + 1].into();
    endless.extension_signature = Some(endless.signature);
    let endless = story.hear(Message::Vote(Verified::trusted(endless)));
    assert!(matches!(endless, Reaction::PeerFault(_)), "an extension too long for the journal");
    let mut votes = Vec::new();
    for voter in &others[..2] {
        let mut vote = vote_of(&story.set, *voter, VoteKind::Precommit, (1, 0), Some(a.id()));
        vote.extension = extension.clone();
        vote.extension_signature = Some(vote.signature);
        assert_eq!(story.hear(Message::Vote(Verified::trusted(vote.clone()))), Reaction::Accepted);
        assert!(matches!(story.hear(Message::Vote(Verified::trusted(vote.clone()))), Reaction::Ignored(_)));
        story.expect(&[&format!("verify extension of {voter}")]);
        votes.push(vote);
    }
    story.step(Input::ExtensionVerified { vote: votes[0].clone(), source: peer(), accepted: false });
    story.step(Input::ExtensionVerified { vote: votes[1].clone(), source: peer(), accepted: true });
    story.expect(&[]);
    assert_eq!(story.hear(Message::Vote(Verified::trusted(votes[0].clone()))), Reaction::Accepted, "a second chance");
    story.step(Input::ExtensionVerified { vote: votes[0].clone(), source: peer(), accepted: true });
    assert!(story.said().contains(&"decide 0 A".to_owned()));
    let mut late = vote_of(&story.set, others[2], VoteKind::Precommit, (1, 0), Some(a.id()));
    late.extension = extension;
    late.extension_signature = Some(late.signature);
    assert_eq!(story.hear(Message::Vote(Verified::trusted(late))), Reaction::Accepted);
    story.expect(&[]); // the application executes the block already: it is not asked about its height any more
    assert_eq!(story.machine.view().votes[0].precommits.iter().flatten().count(), 4);
}

#[test]
fn a_peer_well_ahead_of_us_is_a_hint_to_fetch_blocks_given_once() {
    let mut story = bystander();
    let vote = |height| {
        let set = validators(&[1, 1, 1, 1]);
        Message::Vote(Verified::trusted(vote_of(&set, 0, VoteKind::Prevote, (height, 0), None)))
    };
    story.hear(vote(2));
    story.expect(&[]);
    story.hear(vote(3));
    story.expect(&["sync 2"]);
    story.hear(vote(30));
    story.hear(vote(30));
    story.hear(vote(20));
    story.expect(&["sync 29"]);
}

#[test]
fn a_restart_brings_back_lock_round_and_votes() {
    let story = locked_on_a_in_round_1();
    let mut begin = start(&story.set, None, 1);
    begin.own = Some(story.own());
    let before = story.machine.view();
    let mut after = story.crash(begin);
    let view = after.machine.view();
    assert_eq!(
        (view.round, view.step, view.locked, view.valid),
        (before.round, before.step, before.locked, before.valid)
    );
    assert_eq!(view.votes, before.votes);
    let b = block(1, "B");
    after.quietly();
    after.proposal(1, None, &b);
    after.parts(1, &b);
    after.expect(&["sign prevote 1 nil"]);
}

#[test]
fn a_proposal_lost_with_the_signature_is_made_again_of_the_same_block() {
    let probe = Story::of_four(0);
    let own = probe.proposer(0);
    let mut story = Story::of_four(own);
    let a = block(1, "A");
    story.built(0, &a);
    story.expect(&["timer Propose 0 3000ms", "build 0", "sign proposal 0 A"]);
    let begin = start(&story.set, Some(own), 1);
    let mut after = story.crash(begin);
    after.expect(&["timer Propose 0 3000ms", "sign proposal 0 A"]);
}

#[test]
fn a_lock_whose_votes_were_still_at_the_signer_survives_a_crash() {
    let mut story = bystander();
    let (a, others) = (block(1, "A"), others(&story));
    story.proposed(0, None, &a);
    story.prevotes(&others, 0, Some(&a));
    assert_eq!(story.machine.view().locked, Some((Round::ZERO, a.id())));
    let mut begin = start(&story.set, None, 1);
    begin.own = Some(story.own());
    let mut after = story.crash(begin);
    assert_eq!(after.machine.view().locked, Some((Round::ZERO, a.id())), "the steps in the journal tell");
    assert!(after.said().contains(&"sign precommit 0 A".to_owned()));
}
