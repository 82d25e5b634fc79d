//! Two nodes with one key: the second one notices before it signs, the first one as soon as it hears of it. And where
//! there is no second one, listening costs one round of timeouts and nothing else.

use super::world::{Care, Death, World};
use crate::replica::{Elsewhere, KeyNews};
use crate::types::{
    Address, Algorithm, DirectMessage, Height, RaftStatement, Round, SignPosition, SignRequest, StatementBody, Time,
    UnsignedVote, VoteKind,
};

/// Heights of a run before the second node starts.
const HEIGHTS: u64 = 3;

/// A node that decided some heights and the last thing it signed.
fn first() -> (World, SignPosition) {
    let mut world = World::with(Care::OnRejoin);
    assert!(world.run_to(HEIGHTS));
    let last = world.disk.last_signed().expect("it decided alone");
    (world, last)
}

#[test]
fn a_second_node_with_the_key_hears_the_first_and_stops_before_it_signs_anything() {
    let (mut first, copied) = first();
    let mut second = first.twin();
    second.settle();
    assert!(first.run_to(HEIGHTS + 1), "the first goes on");
    for vote in first.disk.votes() {
        second.hear(&vote);
        second.settle();
    }
    let news = second.key_news.first().copied();
    let heard = first.disk.votes().iter().map(SignPosition::of_vote).find(|at| *at > copied).expect("it voted");
    assert_eq!(news, Some(KeyNews::Elsewhere(Elsewhere::Vote { heard, last: copied })));
    assert!(second.halted.expect("it stops").contains("another node signs with this key"));
    assert_eq!(second.disk.last_signed(), Some(copied), "nothing was signed");
}

#[test]
fn a_second_node_that_fetches_a_block_its_key_signed_meanwhile_stops_before_it_applies_it() {
    let (mut first, copied) = first();
    let mut second = first.twin();
    second.settle();
    second.fetch(&first, HEIGHTS);
    second.settle();
    assert_eq!(second.key_news, [], "that one it signed itself");
    assert!(first.run_to(HEIGHTS + 1), "the first goes on");
    second.fetch(&first, HEIGHTS + 1);
    second.settle();
    let found = second.key_news.first().copied();
    assert!(matches!(found, Some(KeyNews::Elsewhere(Elsewhere::Vote { last, .. })) if last == copied), "{found:?}");
    assert!(second.halted.is_some() && second.app.height == HEIGHTS, "{:?}", second.halted);
}

/// There the leader hands blocks only to who says where it is: one that falls silent at the tip falls behind again.
#[test]
fn where_replicas_speak_directly_listening_begins_before_consensus_does() {
    for (algorithm, early) in [(Algorithm::Tendermint, false), (Algorithm::Pbft, true), (Algorithm::Raft, true)] {
        let (mut first, _) = first();
        first.change_to(algorithm);
        assert_eq!(first.twin().listens_before_it_decides(), early, "{algorithm}");
    }
}

/// Where replicas speak directly, no machine runs while a node listens: its ears must be open all the same.
#[test]
fn a_second_node_of_raft_or_pbft_hears_a_vote_of_its_key_before_consensus_begins() {
    for algorithm in [Algorithm::Pbft, Algorithm::Raft] {
        let (mut first, copied) = first();
        first.change_to(algorithm);
        first.share_power();
        let mut second = first.twin();
        assert!(second.listens_before_it_decides());
        second.fuel = usize::MAX;
        second.settle();
        let state = second.state();
        let own = first.own_address();
        let (index, _) = state.validators.by_address(&own).expect("a member");
        let unsigned = |(height, validator_index)| UnsignedVote {
            kind: VoteKind::Precommit,
            height,
            round: Round::ZERO,
            block_id: state.last_block_id,
            timestamp: Time::UNIX_EPOCH,
            validator_address: own,
            validator_index,
            extension: None,
        };
        let [echo, foreign] = [(state.last_block_height, 0), (state.next_height(), index)]
            .map(|at| second.signed_elsewhere(unsigned(at)));
        second.hear_direct(DirectMessage::Vote(echo));
        second.settle();
        assert_eq!(second.key_news, [], "{algorithm}: that one it signed itself");
        let heard = SignPosition::of_vote(&foreign);
        second.hear_direct(DirectMessage::Vote(foreign));
        second.settle();
        let elsewhere = Elsewhere::Vote { heard, last: copied };
        assert_eq!(second.key_news, [KeyNews::Elsewhere(elsewhere)], "{algorithm}");
        assert!(second.deciding().is_none(), "{algorithm}: consensus had not begun");
    }
}

/// On an idle chain nobody votes for blocks, but a leader is heard all the time.
#[test]
fn a_second_node_of_raft_hears_a_later_term_of_its_key_before_consensus_begins() {
    let (mut first, _) = first();
    first.change_to(Algorithm::Raft);
    first.share_power();
    let [journaled, later] = [4, 5].map(Round::new);
    first.stood_in(journaled);
    let mut second = first.twin();
    assert!(second.listens_before_it_decides());
    second.fuel = usize::MAX;
    second.settle();
    let height = second.state().next_height();
    let beat = |term| StatementBody::Raft(RaftStatement::Heartbeat { term, height, beat: 9 });
    second.hear_direct(DirectMessage::Statement(second.stated_elsewhere(beat(journaled))));
    second.settle();
    assert_eq!(second.key_news, [], "of a term this home was in");
    second.hear_direct(DirectMessage::Statement(second.stated_elsewhere(beat(later))));
    second.settle();
    let elsewhere = Elsewhere::Statement { heard: later, newest: journaled };
    assert_eq!(second.key_news, [KeyNews::Elsewhere(elsewhere)]);
    assert!(second.deciding().is_none(), "consensus had not begun");
}

#[test]
fn the_first_node_hears_a_second_one_that_did_not_listen() {
    let (mut first, copied) = first();
    let mut second = first.twin();
    assert!(second.run_to(HEIGHTS + 1), "nothing is heard, so it signs");
    assert_eq!(second.key_news, [KeyNews::Clear]);
    let vote = second.disk.votes().into_iter().find(|vote| SignPosition::of_vote(vote) > copied).expect("it voted");
    first.hear(&vote);
    first.settle();
    assert!(matches!(first.key_news[..], [KeyNews::Elsewhere(_)]), "{:?}", first.key_news);
}

#[test]
fn echoes_of_what_this_node_signed_before_it_stopped_are_no_second_node() {
    let (first, last) = first();
    let votes = first.disk.votes();
    let mut again = first.restart(Death::Kill);
    again.settle();
    votes.iter().for_each(|vote| again.hear(vote));
    again.settle();
    assert_eq!((again.disk.last_signed(), again.key_news.len()), (Some(last), 0), "it listens");
    assert!(again.run_to(HEIGHTS + 2), "and goes on when it has listened");
    assert_eq!(again.key_news, [KeyNews::Clear]);
    again.check("echoes");
}

/// Votes the first machine was told and had not counted are lost with it: what remembers them must forget them.
#[test]
fn when_listening_ends_in_the_middle_of_a_height_it_is_said_anew_whose_signatures_count() {
    let (first, _) = first();
    let mut again = first.restart(Death::Kill);
    assert!(again.run_to(HEIGHTS + 1));
    let height = Height::new(HEIGHTS + 1);
    let said: Vec<_> = again.signers.iter().take_while(|(at, _)| *at == height).collect();
    assert_eq!(said, [&(height, Round::ZERO), &(height, Round::ZERO)]);
}

/// Consensus asks for none then, but for what was begun before the node stopped.
#[test]
fn nothing_is_signed_while_the_node_listens() {
    let (first, _) = first();
    let request = SignRequest::Vote(UnsignedVote {
        kind: VoteKind::Prevote,
        height: Height::new(HEIGHTS + 1),
        round: Round::ZERO,
        block_id: None,
        timestamp: Time::UNIX_EPOCH,
        validator_address: Address::new([1; 20]),
        validator_index: 0,
        extension: None,
    });
    for (world, signed) in [(first.restart(Death::Kill), 0), (World::with(Care::Skipped), 1)] {
        let mut out = Vec::new();
        world.replica.have_signed(request.clone(), &mut out);
        assert_eq!(out.len(), signed);
    }
}

#[test]
fn a_node_that_listens_after_every_restart_signs_nothing_twice_and_the_chain_goes_on() {
    let mut world = World::with(Care::OnRejoin);
    assert!(world.run_to(HEIGHTS));
    let orders = world.executed;
    let mut cases = 0;
    for cut in (0..orders).step_by(5) {
        for death in [Death::Kill, Death::PowerCut] {
            let mut world = World::with(Care::OnRejoin);
            world.fuel = cut;
            assert!(!world.run_to(HEIGHTS), "the run ends at its cut");
            let mut world = world.restart(death);
            // It dies once more, most often while it listens.
            world.fuel = cut % 40;
            world.run_to(HEIGHTS + 2);
            let mut world = world.restart(death);
            assert!(world.run_to(HEIGHTS + 2), "{death:?} after {cut} orders: {:?}", world.halted);
            world.check(&format!("{death:?} after {cut} orders, and again while listening"));
            cases += 1;
        }
    }
    assert!(cases > 40, "{cases} cases");
}
