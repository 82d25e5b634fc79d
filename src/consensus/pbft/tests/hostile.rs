//! What nobody honest sends: no panic, and nothing grows.

use super::puppets::{
    address, block, certificate_of, commit_of, new_view_of, primary, proposal_of, statement_of, view_change_of, vote_of,
};
use super::story::Story;
use crate::consensus::pbft::later::Later;
use crate::consensus::pbft::status::PEERS_MAX;
use crate::consensus::tally::ROUNDS_AHEAD_MAX;
use crate::consensus::{Direct, Input, Reaction, Tick};
use crate::crypto::Verified;
use crate::types::{
    Address, Election, Height, LogPosition, NodeId, PbftStatement, RaftStatement, Round, Source, Statement,
    StatementBody, VoteKind,
};

const FAR: u32 = 1_000_000;
const ROUND_MAX: u32 = i32::MAX as u32;

fn status(who: usize, view: u32, height: Height) -> Statement {
    statement_of(who, PbftStatement::Status { view: Round::new(view), height, active: true, proposal: None })
}

#[test]
fn views_a_million_ahead_are_ignored_and_move_nobody_even_if_all_ask() {
    let mut story = Story::of_four(1);
    for who in story.others() {
        for view in [FAR, ROUND_MAX] {
            assert!(matches!(story.state(view_change_of(who, (1, view), None, None)), Reaction::Ignored(_)));
            story.state(new_view_of(who, (1, view), Vec::new(), None));
            story.state(status(who, view, Height::FIRST));
            story.votes(VoteKind::Prevote, &[who], view, block(1, "A").id());
            story.votes(VoteKind::Precommit, &[who], view, block(1, "A").id());
            story.pre_prepare(view, &block(1, "A"));
        }
    }
    assert_eq!(story.machine.round(), Round::ZERO);
    assert!(story.machine.view_changes.is_empty() && story.machine.current.proposals.is_empty());
}

#[test]
fn the_last_height_and_the_last_view_there_are_do_no_harm() {
    let mut story = Story::of_four(1);
    let max = Height::MAX.get();
    let id = block(1, "A").id();
    for who in story.others() {
        for (height, view) in [(max, 0), (max, ROUND_MAX), (max - 1, 1), (0, ROUND_MAX), (2, ROUND_MAX)] {
            let commit = commit_of(&story.set, &[0, 1, 2], (height, view), id);
            story.hear(who, Direct::Commit(Verified::trusted(commit.clone())));
            story.state(view_change_of(who, (height, view), Some(commit), None));
            story.state(new_view_of(who, (height, view), Vec::new(), Some(id)));
            story.state(status(who, view, Height::new(height)));
            let vote = vote_of(&story.set, who, VoteKind::Prevote, (height, view), id);
            story.hear(who, Direct::Vote(Verified::trusted(vote)));
            let proposal = Verified::trusted(proposal_of(height, view, id));
            story.hear(who, Direct::Proposal { by: super::puppets::address(who), proposal });
        }
    }
    assert_eq!(story.machine.height(), Height::FIRST);
}

#[test]
fn the_last_view_there_is_can_be_stood_in_and_is_never_left() {
    let mut story = Story::of_four(1);
    let commit = commit_of(&story.set, &[0, 1, 2], (1, ROUND_MAX), block(1, "A").id());
    let mut begin = super::puppets::start(&story.set, Some(story.own), 2);
    begin.last_commit = Some(commit);
    begin.last_validators = Some(std::sync::Arc::clone(&story.set));
    story.step(Input::BlockApplied(Box::new(begin)));
    assert_eq!(story.machine.round(), Round::new(ROUND_MAX));
    story.wait(super::puppets::VIEW_TIMEOUT * 600);
    story.pre_prepare(ROUND_MAX, &block(2, "A"));
    assert_eq!(story.machine.round(), Round::new(ROUND_MAX));
}

#[test]
fn a_new_view_of_a_thousand_view_changes_or_of_statements_in_statements_is_refused() {
    let mut story = Story::of_four(2);
    let leader = super::puppets::primary(&story.set, 1);
    let many: Vec<Statement> = (0..1000).map(|i| view_change_of(i % 250, (1, 1), None, None)).collect();
    let nested = new_view_of(leader, (1, 1), many.clone(), None);
    for statements in [many, vec![nested; 3], vec![status(0, 1, Height::FIRST); 3]] {
        let reaction = story.state(new_view_of(leader, (1, 1), statements, None));
        assert!(matches!(reaction, Reaction::PeerFault(_)), "{reaction:?}");
    }
    assert_eq!(story.machine.round(), Round::ZERO);
}

#[test]
fn statements_of_another_protocol_are_their_bearers_fault() {
    let mut story = Story::of_four(1);
    let last = LogPosition { height: Height::FIRST, entry: None };
    let body = RaftStatement::RequestVote { term: Round::new(1), election: Election::Vote, last };
    let mut statement = status(0, 0, Height::FIRST);
    statement.body = StatementBody::Raft(body);
    assert!(matches!(story.state(statement), Reaction::PeerFault(_)));
}

#[test]
fn one_replica_has_one_place_whatever_it_says_and_strangers_have_few() {
    let mut story = Story::of_four(1);
    let liar = story.others()[0];
    for view in 1..2000 {
        story.state(view_change_of(liar, (1, view), None, None));
    }
    assert_eq!(story.machine.view_changes.len(), 1);
    for stranger in 10..250 {
        story.state(view_change_of(stranger, (1, 3), None, None));
    }
    assert_eq!(story.machine.view_changes.len(), 1, "who is in no set has no place");
    assert_eq!(story.machine.round(), Round::ZERO);
}

#[test]
fn the_standing_of_a_thousand_peers_is_kept_and_of_no_more() {
    let mut story = Story::of_four(1);
    let said = status(story.others()[0], 0, Height::FIRST);
    for number in 0..PEERS_MAX as u64 + 10 {
        let mut id = [0; 20];
        id[..8].copy_from_slice(&number.to_be_bytes());
        let (source, said) = (Source::Peer(NodeId::new(Address::new(id))), Verified::trusted(said.clone()));
        story.step(Input::Received { source, message: Direct::Statement(said) });
    }
    assert_eq!(story.machine.peers.len(), PEERS_MAX);
}

#[test]
fn votes_and_proposals_of_every_view_below_ours_are_not_kept() {
    let mut story = Story::of_four(1);
    let commit = commit_of(&story.set, &[0, 1, 2], (1, 5000), block(1, "A").id());
    let mut begin = super::puppets::start(&story.set, Some(story.own), 2);
    begin.last_commit = Some(commit);
    begin.last_validators = Some(std::sync::Arc::clone(&story.set));
    story.step(Input::BlockApplied(Box::new(begin)));
    let liar = story.others()[0];
    for view in 0..7000 {
        story.votes(VoteKind::Prevote, &[liar], view, block(2, "A").id());
        story.pre_prepare(view, &block(2, "A"));
    }
    assert!(story.machine.current.tally.rounds().count() < 20);
    assert!(story.machine.current.proposals.len() <= 3);
}

#[test]
fn the_next_height_keeps_a_bounded_number_of_messages() {
    let mut story = Story::of_four(1);
    let liar = story.others()[0];
    for view in 0..100 {
        let vote = vote_of(&story.set, liar, VoteKind::Prevote, (2, view), block(2, "A").id());
        story.hear(liar, Direct::Vote(Verified::trusted(vote)));
        story.state(new_view_of(liar, (2, view), Vec::new(), None));
        for tag in ["A", "B", "C"] {
            story.pre_prepare(view, &block(2, tag));
            story.parts(view, &block(2, tag));
        }
    }
    assert_eq!(story.machine.later.sizes(), (2, 1, 1));
}

#[test]
fn of_proposals_for_the_next_height_only_those_of_the_two_latest_views_are_kept() {
    let story = Story::of_four(1);
    let mut later = Later::new(&story.machine.current.start.params);
    for view in 0..10 {
        let (by, proposal) = (address(primary(&story.set, view)), proposal_of(2, view, block(2, "A").id()));
        assert_eq!(later.keep_proposal(Source::Own, (by, by), proposal), Reaction::Accepted);
    }
    assert_eq!(later.sizes().0, 2);
    let [somebody, leader] = [0, 1].map(|seat| address(primary(&story.set, seat)));
    let proposal = proposal_of(2, 11, block(2, "A").id());
    let reaction = later.keep_proposal(Source::Own, (somebody, leader), proposal);
    assert!(matches!(reaction, Reaction::Ignored(_)), "of who does not lead: {reaction:?}");
}

#[test]
fn strangers_of_the_next_height_have_sixteen_places_for_their_new_views() {
    let story = Story::of_four(1);
    let mut later = Later::new(&story.machine.current.start.params);
    let mut keep = |who| {
        let statement = new_view_of(who, (2, 1), Vec::new(), None);
        later.keep_new_view(Source::Own, Round::new(1), statement, &story.set)
    };
    let kept = (10..60).filter(|stranger| keep(*stranger) == Reaction::Accepted).count();
    assert_eq!((kept, keep(0)), (16, Reaction::Accepted), "members have a place of their own");
}

#[test]
fn a_new_view_more_than_ten_thousand_ahead_is_ignored_though_everybody_wants_it() {
    let mut story = Story::of_four(1);
    let (others, set) = (story.others(), std::sync::Arc::clone(&story.set));
    for (view, taken) in [(ROUNDS_AHEAD_MAX + 2, false), (ROUNDS_AHEAD_MAX, true)] {
        let changes = others.iter().map(|who| view_change_of(*who, (1, view), None, None)).collect();
        let reaction = story.state(new_view_of(primary(&set, view), (1, view), changes, None));
        assert_eq!(reaction == Reaction::Accepted, taken, "view {view}: {reaction:?}");
    }
}

#[test]
fn certificates_of_other_heights_views_kinds_or_strangers_prove_nothing() {
    let id = block(1, "A").id();
    let spoil: [fn(&mut crate::types::PreparedCertificate); 7] = [
        |it| it.height = Height::new(2),
        |it| it.view = Round::new(1),
        |it| it.prepares[0].kind = VoteKind::Precommit,
        |it| it.prepares[0].round = Round::new(3),
        |it| it.prepares[0].block_id = None,
        |it| it.prepares[0].validator_index = u32::MAX,
        |it| it.prepares.clear(),
    ];
    for (number, spoil) in spoil.into_iter().enumerate() {
        let mut story = Story::of_four(1);
        let others = story.others();
        let mut certificate = certificate_of(&story.set, &others, (1, 0), id);
        spoil(&mut certificate);
        let reaction = story.state(view_change_of(others[0], (1, 1), None, Some(certificate)));
        assert!(matches!(reaction, Reaction::PeerFault(_)), "number {number}: {reaction:?}");
    }
}

#[test]
fn timers_that_come_early_twice_or_never_ordered_change_nothing() {
    let mut story = Story::of_four(1);
    for _ in 0..100 {
        story.step(Input::Woken);
    }
    story.tick = Tick(1);
    story.step(Input::Woken);
    assert_eq!(story.machine.round(), Round::ZERO);
}
