//! Input no honest replica sends: nothing panics, nothing grows.

use super::scene::{Scene, ack, block, said, set_of};
use super::world::{Dice, source};
use crate::consensus::{Direct, Input, RaftRole};
use crate::crypto::Verified;
use crate::types::{
    Election, ExtendedCommit, Height, LogPosition, Proposal, RaftStatement, Round, StatementBody, Time,
};

const CASES: usize = 20_000;

fn number(dice: &mut Dice) -> u64 {
    [0, 1, 2, 3, 9_999, 10_002, 1_000_000, i32::MAX as u64 - 1, i32::MAX as u64][dice.below(9)]
}

fn round(dice: &mut Dice) -> Round {
    Round::new(number(dice) as u32)
}

fn height(dice: &mut Dice) -> Height {
    [Height::ZERO, Height::FIRST, Height::new(2), Height::new(3), Height::MAX.previous().expect("one"), Height::MAX]
        [dice.below(6)]
}

fn statement(dice: &mut Dice) -> RaftStatement {
    let elections = [Election::PreVote, Election::Vote, Election::Handover];
    let election = elections[dice.below(3)];
    let entry = dice.chance(50).then(|| round(dice));
    let beat = [0, 1, 2, u64::MAX][dice.below(4)];
    let who = super::scene::address(dice.below(6));
    let (term, height) = (round(dice), height(dice));
    match dice.below(7) {
        0 => RaftStatement::RequestVote { term, election, last: LogPosition { height, entry } },
        1 => {
            let (asked, granted) = (round(dice), dice.chance(70));
            RaftStatement::Ballot { term, asked, election, candidate: who, granted, height }
        }
        2 => RaftStatement::Heartbeat { term, height, beat },
        3 => RaftStatement::Following { term, height, entry, beat },
        4 => RaftStatement::TimeoutNow { term, to: who },
        5 => RaftStatement::ReadIndex { ticket: beat },
        _ => RaftStatement::ReadAt { ticket: beat, to: who, height },
    }
}

fn message(dice: &mut Dice, set: &crate::types::ValidatorSet) -> Direct {
    let who = dice.below(6);
    let candidate = block(1 + dice.below(3) as u64, ["a", "b"][dice.below(2)]);
    let mut block_id = candidate.id();
    if dice.chance(20) {
        block_id.parts.total = [0, u32::MAX, 7][dice.below(3)];
    }
    let (height, round) = (height(dice), round(dice));
    match dice.below(8) {
        0..=3 => match (said(who, statement(dice)), dice.chance(10)) {
            (Direct::Statement(statement), true) => Direct::Outsider(statement.into_inner()),
            (message, _) => message,
        },
        4 => {
            let pol_round = dice.chance(10).then_some(round);
            let (timestamp, signature) = (Time::UNIX_EPOCH, super::scene::signature_over("x"));
            let proposal = Proposal { height, round, pol_round, block_id, timestamp, signature };
            Direct::Proposal { by: super::scene::address(who), proposal: Verified::trusted(proposal) }
        }
        5 => {
            let part = candidate.parts().part(0).expect("a part").clone();
            Direct::Part { height, round, part }
        }
        6 => {
            let mut vote = ack(set, dice.below(3), (1, 0), dice.chance(80).then_some(block_id));
            (vote.height, vote.round) = (height, round);
            vote.validator_index = [vote.validator_index, 77, u32::MAX][dice.below(3)];
            Direct::Vote(Verified::trusted(vote))
        }
        _ => {
            // A commit that decides height 1 would end the story; its quorum was checked before it gets here.
            let height = if height == Height::FIRST { Height::MAX } else { height };
            Direct::Commit(Verified::trusted(ExtendedCommit { height, round, block_id, signatures: Vec::new() }))
        }
    }
}

#[test]
fn twenty_thousand_absurd_messages_neither_panic_nor_grow_the_machine() {
    let set = set_of(&[0, 1, 2]);
    for seed in 0..4 {
        let mut dice = Dice::new(seed);
        let mut scene = Scene::of(&set, 0, 1);
        for case in 0..CASES / 4 {
            if dice.chance(2) {
                scene.wait(super::scene::ELECTION);
            }
            let (from, message) = (dice.below(8), message(&mut dice, &set));
            scene.hear(from, message);
            if dice.chance(10) {
                scene.hear(
                    dice.below(8),
                    said(
                        1,
                        RaftStatement::Heartbeat {
                            term: scene.machine.round(),
                            height: Height::FIRST,
                            beat: case as u64,
                        },
                    ),
                );
            }
            scene.said.clear();
            scene.effects.clear();
            scene.journal.clear();
        }
        let size = format!("{:?}", scene.machine).len();
        assert!(size < 400_000, "{size} bytes of state");
    }
}

#[test]
fn a_term_a_million_ahead_is_not_believed_whatever_names_it() {
    let far = Round::new(1_000_000);
    let (last, height) = (LogPosition { height: Height::FIRST, entry: None }, Height::FIRST);
    let bodies = [
        RaftStatement::RequestVote { term: far, election: Election::Handover, last },
        RaftStatement::Heartbeat { term: far, height, beat: 1 },
        RaftStatement::Following { term: far, height, entry: None, beat: 1 },
        RaftStatement::Ballot {
            term: far,
            asked: far,
            election: Election::Vote,
            candidate: super::scene::address(0),
            granted: true,
            height,
        },
    ];
    for body in bodies {
        let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
        scene.state(1, body.clone());
        assert_eq!(scene.term(), 0, "{body:?}");
    }
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    scene.propose(1, 1_000_000, &block(1, "far"));
    assert_eq!((scene.term(), scene.proposed()), (0, None));
}

#[test]
fn at_the_last_term_there_is_nobody_stands() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    let mut term = 0_u32;
    while term < i32::MAX as u32 {
        term = term.saturating_add(10_000).min(i32::MAX as u32);
        scene.machine.jump_to(Round::new(term));
    }
    scene.wait(super::scene::ELECTION * 5);
    assert_eq!((scene.role(), scene.term()), (RaftRole::Follower, i32::MAX as u32));
}

#[test]
fn statements_replayed_change_nothing() {
    let set = set_of(&[0, 1, 2]);
    let mut scene = Scene::of(&set, 0, 1);
    scene.elect(&[1]);
    let old = said(1, RaftStatement::Heartbeat { term: Round::ZERO, height: Height::FIRST, beat: 7 });
    scene.hear(1, old.clone());
    scene.hear(2, old);
    assert_eq!((scene.role(), scene.term()), (RaftRole::Leader, 1));
    scene.beat(1, 5, 1);
    scene.grant(1, 1, Election::Vote);
    scene.grant(2, 1, Election::Vote);
    assert_eq!((scene.role(), scene.term()), (RaftRole::Follower, 5));
}

#[test]
fn a_statement_of_another_protocol_is_the_peers_fault_and_an_outsiders_claims_count_for_nothing() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    for body in [
        RaftStatement::Heartbeat { term: Round::new(3), height: Height::FIRST, beat: 1 },
        RaftStatement::Following { term: Round::new(3), height: Height::FIRST, entry: None, beat: 1 },
    ] {
        let Direct::Statement(statement) = said(6, body) else { panic!("a statement") };
        assert!(matches!(statement.body, StatementBody::Raft(_)));
        scene.hear(6, Direct::Outsider(statement.into_inner()));
    }
    assert_eq!((scene.term(), scene.role()), (0, RaftRole::Follower));
}

#[test]
fn a_peer_that_is_gone_is_forgotten() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    scene.step(Input::PeerDown(source(1)));
    scene.elect(&[1]);
    scene.said.clear();
    scene.follow(1, None, 1);
    assert!(scene.said.iter().all(|(to, _)| *to != Some(source(1))));
}

impl crate::consensus::raft::Raft {
    fn jump_to(&mut self, term: Round) {
        let mut out = Vec::new();
        self.enter_term(super::scene::now_at(crate::consensus::Tick(1_000_000_000)), term, None, &mut out);
    }
}
