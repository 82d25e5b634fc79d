//! Pre-vote, check-quorum, stickiness, transfer (thesis §3.10, §4.2.3, §6.2, §9.6); blocks that are rejected; catching up.

use super::scene::{
    ELECTION, HEARTBEAT, Scene, ack, address, block, commit_of, peer, position, set_of, signature_over, start,
};
use super::world::World;
use crate::consensus::{Direct, EmptyBlocks, Input, RECENT_BLOCKS_MAX, RaftRole, Reaction, Recent, Signed};
use crate::crypto::{Signature, Verified};
use crate::types::{
    CandidateBlock, CommitSig, ConsensusParams, Election, ExtendedCommit, ExtendedCommitSig, Height, RaftStatement,
    Round, SignedPart, Time, Tx,
};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn thesis_9_6_a_node_that_was_cut_off_comes_back_without_disturbing_the_leader() {
    let mut world = World::new(5, 3, 3);
    assert!(world.run_until(10, |world| world.lowest() >= Height::new(3)));
    let leader = world.leader().expect("a leader");
    let (term, lone) = (world.nodes[leader].machine.round(), (leader + 1) % 3);
    world.isolate(lone);
    world.run_until(30, |_| false);
    assert_eq!(world.nodes[lone].machine.round(), term, "no election could be won, so none was held");
    world.heal();
    let goal = Height::new(world.highest().get() + 3);
    assert!(world.run_until(20, |world| world.lowest() >= goal), "{}", world.standing());
    assert_eq!((world.leader(), world.nodes[lone].machine.round()), (Some(leader), term));
}

#[test]
fn thesis_6_2_a_leader_without_a_majority_steps_down_within_an_election_timeout() {
    let mut world = World::new(6, 5, 5);
    assert!(world.run_until(10, |world| world.lowest() >= Height::new(3)));
    let leader = world.leader().expect("a leader");
    world.isolate(leader);
    world.run_until(2, |_| false);
    assert_ne!(world.role(leader), RaftRole::Leader);
}

#[test]
fn thesis_4_2_3_who_hears_a_leader_votes_for_nobody_else_unless_the_leader_wishes_it() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    scene.beat(1, 3, 1);
    for election in [Election::PreVote, Election::Vote] {
        assert!(!scene.asked_for_vote(2, 9, election, position(1, None)));
    }
    assert_eq!(scene.term(), 3, "its term is not taken over either");
    assert!(scene.asked_for_vote(2, 9, Election::Handover, position(1, None)));
}

#[test]
fn thesis_3_10_the_lead_is_handed_over_without_an_election_timeout() {
    for seed in 0..20 {
        let mut world = World::new(seed, 3, 3);
        assert!(world.run_until(10, |world| world.lowest() >= Height::new(3)));
        let old = world.leader().expect("a leader");
        let to = (old + 1) % 3;
        world.hand_over(old, to);
        assert!(world.run_until(1, |world| world.leader() == Some(to)), "seed {seed}: {}", world.standing());
    }
}

#[test]
fn bug_125_a_hand_over_to_one_who_is_gone_is_given_up_and_the_leader_goes_on() {
    let mut world = World::new(9, 3, 3);
    assert!(world.run_until(10, |world| world.lowest() >= Height::new(3)));
    let old = world.leader().expect("a leader");
    let to = (old + 1) % 3;
    world.isolate(to);
    world.hand_over(old, to);
    let goal = Height::new(world.highest().get() + 5);
    assert!(world.run_until(6, |world| world.highest() >= goal), "{}", world.standing());
    assert_eq!(world.leader(), Some(old));
}

#[test]
fn bug_111_a_node_of_a_later_term_and_a_leader_of_an_earlier_one_find_together() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    scene.wait(ELECTION * 4);
    scene.asked_for_vote(2, 9, Election::Vote, position(1, None));
    scene.beat(1, 4, 1);
    assert!(
        scene.statements().iter().any(|body| matches!(body, RaftStatement::Following { term, .. } if term.get() == 9))
    );
}

#[test]
fn a_cluster_whose_leader_alone_accepts_its_blocks_finds_another_leader() {
    for seed in 0..20 {
        let mut world = World::new(seed, 3, 3);
        world.rejects = (1..3).map(|judge| (judge, 0)).collect();
        let goal = Height::new(8);
        assert!(world.run_until(60, |world| world.lowest() >= goal), "seed {seed}: {}", world.standing());
    }
}

#[test]
fn a_rejected_block_is_refused_aloud_and_never_acknowledged() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    let bad = block(1, "bad");
    scene.rejects.push(bad.id());
    scene.propose(1, 3, &bad);
    let vote = scene.acked().expect("an answer");
    assert_eq!((vote.block_id, vote.round), (None, Round::new(3)));
    assert_eq!(scene.machine.view().locked, None, "it is not in our log");
}

#[test]
fn a_leader_gives_up_a_block_as_soon_as_no_majority_can_accept_it() {
    let set = set_of(&[0, 1, 2]);
    let mut scene = Scene::of(&set, 0, 1);
    scene.elect(&[1]);
    for node in [1, 2] {
        assert_eq!(scene.role(), RaftRole::Leader);
        scene.hear(node, Direct::Vote(Verified::trusted(ack(&set, node, (1, 1), None))));
    }
    assert_eq!(scene.role(), RaftRole::Follower);
}

#[test]
fn two_acknowledgements_of_one_validator_in_one_term_are_reported() {
    let set = set_of(&[0, 1, 2, 3, 4]);
    let mut scene = Scene::of(&set, 0, 1);
    scene.elect(&[1, 2]);
    let id = scene.proposed().expect("proposed");
    scene.acknowledged_by(3, 1, id);
    scene.acknowledged_by(3, 1, block(1, "other").id());
    assert_eq!(scene.effects.iter().filter(|effect| effect.starts_with("Accuse")).count(), 1);
    assert_eq!(scene.decided, None);
}

#[test]
fn an_acknowledgement_that_comes_when_the_block_is_executed_counts_and_the_application_is_not_asked_about_it() {
    let set = set_of(&[0, 1, 2]);
    let mut begin = start(&set, 0, 1);
    let mut params = (*begin.params).clone();
    params.abci.vote_extensions_enable_height = Some(Height::FIRST);
    begin.params = params.into();
    let mut scene = Scene::begin(begin, &[]);
    scene.elect(&[1]);
    let id = scene.proposed().expect("proposed");
    scene.step(Input::VoteExtended { height: Height::FIRST, round: Round::new(1), extension: bytes::Bytes::new() });
    let asked = |scene: &Scene| scene.effects.iter().filter(|effect| effect.starts_with("VerifyExtension")).count();
    for node in [1, 2] {
        let mut vote = ack(&set, node, (1, 1), Some(id));
        vote.extension_signature = Some(vote.signature);
        assert_eq!(scene.hear(node, Direct::Vote(Verified::trusted(vote.clone()))), Reaction::Accepted);
        if node == 1 {
            assert_eq!(asked(&scene), 1);
            let source = crate::types::Source::Peer(super::scene::peer(node));
            scene.step(Input::ExtensionVerified { vote, source, accepted: true });
            assert_eq!(scene.decided, Some(id));
        }
    }
    assert_eq!(asked(&scene), 1);
    assert_eq!(scene.machine.view().votes[0].precommits.iter().flatten().count(), 3);
}

#[test]
fn who_votes_for_two_in_one_term_is_reported_and_who_repeats_its_vote_is_not() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2, 3, 4]), 0, 1);
    let height = Height::FIRST;
    let ask = |term, election, height| RaftStatement::RequestVote {
        term: Round::new(term),
        election,
        last: position(height, None),
    };
    let grant = |term, candidate| {
        let (term, election, candidate) = (Round::new(term), Election::Vote, address(candidate));
        RaftStatement::Ballot { term, asked: term, election, candidate, granted: true, height }
    };
    let reported = |scene: &Scene| scene.effects.iter().filter(|effect| effect.starts_with("Note(Misconduct")).count();
    // Honest: it asks for pre-votes and votes in vain, grants a pre-vote, repeats itself, comes to another height, votes
    // for another in a later term.
    for body in [
        ask(5, Election::PreVote, 1),
        ask(5, Election::Vote, 1),
        ask(5, Election::Vote, 2),
        ask(6, Election::PreVote, 2),
        grant(6, 0),
        grant(6, 0),
    ] {
        scene.state(2, body);
    }
    scene.state(3, grant(6, 3));
    assert_eq!(reported(&scene), 0);
    scene.state(2, grant(6, 1));
    assert_eq!(reported(&scene), 1);
    scene.state(3, grant(6, 0));
    scene.state(4, ask(6, Election::Handover, 1));
    scene.state(4, grant(6, 0));
    assert_eq!(reported(&scene), 3, "a candidate has given its own vote");
    scene.state(2, grant(5, 4));
    assert_eq!(reported(&scene), 3, "of a term before nothing is known any more");
}

#[test]
fn an_entry_goes_only_to_peers_known_to_be_at_its_height() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 5);
    scene.elect(&[1]);
    let sent = |scene: &mut Scene| scene.said.drain(..).filter(|(_, m)| matches!(m, Direct::Part { .. })).count();
    assert_eq!(sent(&mut scene), 0);
    let at =
        |height| RaftStatement::Following { term: Round::new(1), height: Height::new(height), entry: None, beat: 1 };
    scene.state(1, at(3));
    scene.state(1, at(6));
    assert_eq!(sent(&mut scene), 0);
    scene.state(1, at(5));
    assert_eq!(sent(&mut scene), 1);
}

#[test]
fn a_peer_one_block_behind_is_given_the_block_and_its_commit_and_one_further_behind_fetches() {
    let mut world = World::new(11, 3, 3);
    assert!(world.run_until(10, |world| world.lowest() >= Height::new(3)));
    let lone = (world.leader().expect("a leader") + 1) % 3;
    world.isolate(lone);
    world.run_until(5, |_| false);
    assert!(world.highest().get() > world.nodes[lone].stored.get() + 10);
    world.heal();
    world.empty_blocks = EmptyBlocks::Never;
    let done = world.run_until(10, |world| world.lowest() == world.highest());
    assert!(done, "{}", world.standing());
}

#[test]
fn a_peer_some_blocks_behind_gets_level_without_fetching_while_the_others_decide_on() {
    for seed in 0..20 {
        let mut world = World::new(seed, 3, 3);
        assert!(world.run_until(10, |world| world.lowest() >= Height::new(3)));
        let lone = (world.leader().expect("a leader") + 1) % 3;
        world.isolate(lone);
        let behind = |world: &World| world.highest().get() - world.nodes[lone].stored.get();
        assert!(world.run_until(10, |world| behind(world) >= 8));
        let fetched = world.fetches;
        world.heal();
        let (healed_at, decided) = (world.tick, world.highest());
        assert!(world.run_until(10, |world| behind(world) <= 1), "seed {seed}: {}", world.standing());
        assert!(world.highest() > decided, "seed {seed}: the others waited");
        assert_eq!(world.fetches, fetched, "seed {seed}: blocks were fetched");
        assert!(world.tick.since(healed_at) < ELECTION * 3, "seed {seed}: {:?}", world.tick.since(healed_at));
    }
}

#[test]
fn a_decided_block_of_the_next_height_waits_here_until_this_one_is_applied() {
    let set = set_of(&[0, 1, 2]);
    let mut scene = Scene::of(&set, 0, 1);
    let [one, two, other] = [block(1, "one"), block(2, "two"), block(2, "other")];
    for block in [&one, &two] {
        scene.told_decided(1, block);
    }
    let stray = other.parts().parts().next().expect("a part").clone();
    let stray = Direct::Part { height: Height::new(2), round: Round::ZERO, part: stray };
    assert!(matches!(scene.hear(2, stray), Reaction::Ignored(_)), "of another block");
    assert_eq!(scene.decided, Some(one.id()));
    let journaled = scene.journal.len();
    scene.step(Input::BlockApplied(Box::new(start(&set, 0, 2))));
    assert_eq!(scene.decided, Some(two.id()), "nothing more had to come");
    assert!(scene.acked().is_none() && scene.journal.len() <= journaled + 1, "and nothing was signed for it");
}

#[test]
fn who_is_behind_is_handed_the_block_it_is_at_and_the_next_one_each_once() {
    let set = set_of(&[0]);
    let mut scene = Scene::begin(start(&set, 0, 1), &[]);
    scene.wait(Duration::ZERO);
    for height in 2..6 {
        let mut begin = start(&set, 0, height);
        let id = scene.decided.expect("a sole validator decides");
        let last = block(height - 1, &format!("built {}", height - 1));
        assert_eq!(last.id(), id);
        (begin.last_commit, begin.last_block) = (Some(commit_of(&last)), Some(last));
        scene.step(Input::BlockApplied(Box::new(begin)));
    }
    let at = |height| RaftStatement::Following { term: Round::ZERO, height: Height::new(height), entry: None, beat: 0 };
    let handed = |scene: &mut Scene| {
        let heights = scene.said.drain(..).filter_map(|(_, message)| match message {
            Direct::Part { height, .. } => Some(height.get()),
            _ => None,
        });
        heights.collect::<Vec<_>>()
    };
    handed(&mut scene);
    for (height, expected) in [(2, vec![2, 3]), (2, vec![]), (3, vec![4]), (4, vec![])] {
        scene.state(7, at(height));
        assert_eq!(handed(&mut scene), expected, "at {height}");
    }
    // What it says costs it nothing: that it went back on the same connection brings it no block again.
    for height in [2, 4, 2, 4, 3] {
        scene.state(7, at(height));
        assert!(handed(&mut scene).is_empty(), "back at {height}");
    }
    scene.step(Input::PeerDown(peer(7)));
    scene.step(Input::PeerUp(peer(7)));
    scene.state(7, at(2));
    assert_eq!(handed(&mut scene), [2, 3], "on a new one it begins anew");
}

/// The block before may turn extensions on, so who checks signatures a height below lets a commit without them pass.
#[test]
fn an_early_commit_without_the_extensions_its_height_requires_decides_nothing_and_a_whole_one_takes_its_place() {
    let set = set_of(&[0, 1, 2]);
    let [one, two] = [block(1, "one"), block(2, "two")];
    let commit = |extension: Option<Signature>| {
        let part = |node: usize| SignedPart {
            validator_address: address(node),
            timestamp: Time::UNIX_EPOCH,
            signature: signature_over("precommit"),
        };
        let entry = |node: usize| ExtendedCommitSig {
            sig: CommitSig::Commit(part(node)),
            extension: bytes::Bytes::new(),
            extension_signature: extension,
        };
        let mut commit = commit_of(&two);
        commit.signatures = (0..2).map(entry).collect();
        Direct::Commit(Verified::trusted(commit))
    };
    let (bare, whole) = (commit(None), commit(Some(signature_over("extension"))));
    let begin = || {
        let (mut begin, mut params) = (start(&set, 0, 2), ConsensusParams::default());
        params.abci.vote_extensions_enable_height = Some(Height::new(2));
        begin.params = Arc::new(params);
        Input::BlockApplied(Box::new(begin))
    };
    for (early, decided) in [(vec![&bare], false), (vec![&bare, &whole], true), (vec![&whole, &bare], true)] {
        let mut scene = Scene::of(&set, 0, 1);
        scene.told_decided(1, &one);
        for commit in early {
            scene.hear(1, commit.clone());
        }
        for part in two.parts().parts() {
            scene.hear(1, Direct::Part { height: Height::new(2), round: Round::ZERO, part: part.clone() });
        }
        scene.decided = None;
        scene.step(begin());
        assert_eq!(scene.decided == Some(two.id()), decided);
        if !decided {
            assert!(matches!(scene.hear(1, bare.clone()), Reaction::PeerFault(_)));
        }
    }
}

#[test]
fn a_sole_validator_decides_without_anybody() {
    let mut world = World::new(1, 1, 1);
    assert!(world.run_until(5, |world| world.lowest() >= Height::new(10)), "{}", world.standing());
}

#[test]
fn a_leader_waits_for_begin_at_and_makes_empty_blocks_as_configured() {
    let set = set_of(&[0]);
    let mut begin = start(&set, 0, 1);
    begin.timeouts.empty_blocks = EmptyBlocks::After(ELECTION * 10);
    let mut scene = Scene::begin(begin.clone(), &[]);
    scene.wait(HEARTBEAT);
    assert_eq!(scene.built, 1);
    begin.height = Height::new(2);
    begin.begin_at = scene.tick.plus(ELECTION * 2);
    begin.proof_block_needed = true;
    scene.step(Input::BlockApplied(Box::new(begin.clone())));
    assert_eq!(scene.built, 1, "not before its time");
    scene.wait(ELECTION * 2);
    assert_eq!(scene.built, 2, "the block that proves the application's hash");
    (begin.height, begin.proof_block_needed, begin.begin_at) = (Height::new(3), false, scene.tick);
    scene.step(Input::BlockApplied(Box::new(begin)));
    scene.wait(ELECTION * 9);
    assert_eq!(scene.built, 2);
    scene.wait(ELECTION * 2);
    assert_eq!(scene.built, 3, "nothing came for so long");
}

#[test]
fn a_leader_whose_proposal_the_signer_refuses_makes_way() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 1);
    scene.elect(&[1]);
    let (height, round) = (Height::FIRST, Round::new(1));
    assert_eq!(scene.step(Input::Signed(Signed::Refused { height, round })), Reaction::Accepted);
    assert_eq!(scene.role(), RaftRole::Leader, "no proposal of ours waits");
    assert_eq!(
        scene.machine.view().lead,
        crate::consensus::Lead::Leader { leader: Some(address(0)), role: RaftRole::Leader }
    );
}

#[test]
fn the_view_shows_whose_acknowledgement_is_missing() {
    let set = set_of(&[0, 1, 2, 3, 4]);
    let mut scene = Scene::of(&set, 0, 1);
    scene.elect(&[1, 2]);
    let id = scene.proposed().expect("proposed");
    scene.acknowledged_by(3, 1, id);
    let view = scene.machine.view();
    let missing: Vec<_> =
        set.members().iter().zip(&view.votes[0].precommits).filter(|(_, vote)| vote.is_none()).collect();
    let mut missing: Vec<_> = missing.into_iter().map(|(member, _)| member.address).collect();
    let mut wanted = vec![address(1), address(2), address(4)];
    missing.sort();
    wanted.sort();
    assert_eq!((missing, view.votes.len(), view.round), (wanted, 1, Round::new(1)));
}

#[test]
fn recent_blocks_are_bounded_and_stand_without_a_gap() {
    let mut recent = Recent::default();
    let push = |recent: &mut Recent, height: u64| {
        let block = block(height, "recent");
        let (block_id, round) = (block.id(), Round::ZERO);
        let commit = ExtendedCommit { height: Height::new(height), round, block_id, signatures: Vec::new() };
        recent.push(block, commit);
    };
    let held =
        |recent: &Recent| (1..1000).filter(|height| recent.get(Height::new(*height)).is_some()).collect::<Vec<_>>();
    (5..205).for_each(|height| push(&mut recent, height));
    assert_eq!(held(&recent), (205 - RECENT_BLOCKS_MAX as u64..205).collect::<Vec<_>>());
    let (block, commit) = recent.get(Height::new(200)).expect("kept");
    assert_eq!((block.block().header.height, commit.height), (Height::new(200), Height::new(200)));
    push(&mut recent, 400);
    assert_eq!(held(&recent), [400], "what is not right before it is of no use");
}

/// Of blocks of 8 MiB three are within 32 MiB, however many came before them.
#[test]
fn recent_blocks_have_32_mebibytes_and_those_let_go_count_no_more() {
    let mut recent = Recent::default();
    for height in 1..=8 {
        let mut large = block(height, "large").block().clone();
        large.txs = vec![Tx::new(vec![7; 8 << 20])];
        let block = Arc::new(CandidateBlock::new(large));
        let (block_id, round) = (block.id(), Round::ZERO);
        recent.push(block, ExtendedCommit { height: Height::new(height), round, block_id, signatures: Vec::new() });
        let held = (1..=8).filter(|height| recent.get(Height::new(*height)).is_some()).count();
        assert_eq!(held as u64, height.min(3));
    }
}

#[test]
fn who_refuses_a_candidate_that_is_behind_stands_soon_itself() {
    let mut scene = Scene::of(&set_of(&[0, 1, 2]), 0, 5);
    scene.wait(ELECTION);
    assert_eq!(scene.role(), RaftRole::Follower, "its own time has not come");
    assert!(!scene.asked_for_vote(1, 1, Election::PreVote, position(4, None)));
    scene.wait(HEARTBEAT);
    assert_eq!(scene.role(), RaftRole::PreCandidate);
}
