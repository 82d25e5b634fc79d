//! Stories: who is there, what they do, what becomes of it.

use super::chain::{Chain, Shape, first_validator};
use super::world::{Habit, World, ms, s};
use crate::sync::limits::BARRED_MAX;
use crate::sync::peer::{Answer, Peer};
use crate::sync::*;
use crate::types::*;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A world with these peers, run until consensus is joined.
fn joined(shape: Shape, habits: &[Habit]) -> World {
    let mut world = World::new(Chain::new(shape), None);
    habits.iter().for_each(|habit| {
        world.connect(*habit);
    });
    world.begin();
    world.run_until_joined(s(600));
    world
}

fn id_of(world: &World, habit: Habit) -> NodeId {
    world.peers.values().find(|peer| peer.habit == habit).unwrap().id
}

#[test]
fn a_late_joiner_fetches_a_thousand_blocks_from_three_peers() {
    let world = joined(Shape::new(1_000), &[Habit::Honest; 3]);
    assert_eq!(world.height, 999, "the last block has no successor that proves it");
    assert!(world.dropped.is_empty(), "{:?}", world.dropped);
    for peer in world.peers.keys() {
        let share = world.asks.iter().filter(|(_, asked, _)| asked == peer).count();
        assert!(share > 200, "{peer} was asked {share} times");
    }
    assert!(world.asks.len() < 1_020, "nothing is fetched twice: {} requests", world.asks.len());
    // 1,000 blocks at 1 ms of execution each, and little else.
    assert!(world.joined_at[0] < ms(1_500), "{:?}", world.joined_at);
}

/// One liar or idler each beside two honest peers. 14 cases.
#[test]
fn whatever_one_of_three_does_the_others_bring_us_to_the_tip() {
    let cases = [
        (Habit::FakesBlocks(100), "not the chain's"),
        (Habit::FakesCommits(100), "commit it sent for block"),
        (Habit::WrongHeight, "not asked"),
        (Habit::Boasts, ""),
        (Habit::BoastsAndFakes, ""),
        (Habit::Impossible, "begin at"),
        (Habit::Denies, "asked for it, that it has not"),
        (Habit::LeavesOut, "twice"),
        (Habit::Twice, "not asked"),
        (Habit::Stingy, "-"),
        (Habit::Vanishes(30), "-"),
        (Habit::Pruned(150), "-"),
        (Habit::Behind(150), "-"),
        (Habit::Retracts, "-"),
    ];
    for (habit, why) in cases {
        let world = joined(Shape::new(300), &[Habit::Honest, habit, Habit::Honest]);
        assert!(world.height >= 299, "{habit:?}: joined at {}", world.height);
        let dropped: Vec<_> = world.dropped.keys().copied().collect();
        match why {
            "-" => assert!(dropped.is_empty(), "{habit:?}: {:?}", world.dropped),
            _ => {
                assert_eq!(dropped, [id_of(&world, habit)], "{habit:?}: {:?}", world.dropped);
                assert!(world.dropped[&dropped[0]].contains(why), "{habit:?}: {:?}", world.dropped);
            }
        }
        assert!(world.joined_at[0] < s(60), "{habit:?}: joined after {:?}", world.joined_at);
    }
}

#[test]
fn a_chain_that_grows_is_joined_and_not_chased_for_ever() {
    for (every, round_trip, lag) in [(s(1), ms(200), 2), (ms(100), ms(200), 22), (ms(50), ms(600), 55)] {
        let mut world = World::new(Chain::new(Shape::new(2_000)), None);
        world.tip = 200;
        world.grows_every = Some(every);
        world.grow();
        (0..3).for_each(|_| {
            world.connect_with(Habit::Honest, round_trip / 2, ms(1));
        });
        world.begin();
        world.run_until_joined(s(20));
        assert!(
            world.tip - world.height <= lag,
            "a block every {every:?}: joined at {} of {}",
            world.height,
            world.tip
        );
    }
}

/// Blocks at 70 a second, applied at 160 a second, as where Raft runs on slow disks. What is left to consensus is what the
/// chain grows by in a look, not in a second.
#[test]
fn a_chain_half_as_quick_as_we_is_joined_within_a_few_blocks() {
    let mut world = World::new(Chain::new(Shape::new(2_000)), None);
    (world.tip, world.grows_every, world.execution) = (200, Some(ms(14)), ms(6));
    world.grow();
    (0..2).for_each(|_| {
        world.connect_with(Habit::Honest, ms(2), ms(1));
    });
    world.begin();
    world.run_until_joined(s(10));
    assert!(world.tip - world.height <= 4, "joined at {} of {}", world.height, world.tip);
    assert!(world.status_asks < 40, "{} questions", world.status_asks);
}

#[test]
fn a_node_that_may_say_nothing_follows_by_fetching_and_is_level_when_it_may() {
    let mut world = World::new(Chain::new(Shape::new(2_000)), None);
    (world.tip, world.grows_every, world.execution) = (200, Some(ms(14)), ms(6));
    world.grow();
    world.connect_with(Habit::Honest, ms(2), ms(1));
    world.tell(SyncInput::MustWait);
    world.begin();
    world.run(s(4));
    assert!(!world.deciding && world.height > 190);
    world.tell(SyncInput::MayJoin);
    world.run_until_joined(s(10));
    assert!(world.tip - world.height <= 4, "joined at {} of {}", world.height, world.tip);
}

/// Under Raft a third of the power stops nobody, and half of it does.
#[test]
fn the_chain_waits_for_whom_the_others_are_no_quorum_without() {
    let state = Chain::new(Shape::new(1)).state(0);
    let member = |at: usize| Validator::new(state.validators.members()[at].public_key, Power::new(1));
    let own = member(0).address;
    for (algorithm, nodes, waits) in [
        (Algorithm::Raft, 2, true),
        (Algorithm::Raft, 3, false),
        (Algorithm::Tendermint, 3, true),
        (Algorithm::Pbft, 4, false),
    ] {
        let validators = Arc::new(ValidatorSet::new((0..nodes).map(member)).unwrap());
        let state = ChainState { validators, algorithm, ..(*state).clone() };
        let (mut sync, mut out) = (Sync::new(Role::OneOfMany, Some(own)), Vec::new());
        sync.step(s(7), SyncInput::Begin(Arc::new(state)), &mut out);
        sync.step(s(8), SyncInput::Woken, &mut out);
        let joined = matches!(out.last(), Some(SyncEffect::JoinConsensus));
        assert_eq!(joined, waits, "{algorithm} with {nodes}");
    }
}

#[test]
fn when_everybody_pruned_what_we_need_progress_says_so() {
    let mut world = World::new(Chain::new(Shape::new(300)), None);
    world.connect(Habit::Pruned(100));
    world.begin();
    world.run(s(60));
    assert_eq!((world.sync.progress().stage, world.deciding, world.asks.len()), (Stage::OutOfReach, false, 0));
    world.connect(Habit::Honest);
    world.run_until_joined(s(10));
    assert_eq!(world.height, 299);
}

#[test]
fn a_peer_that_gives_nothing_it_claims_is_dropped_after_fifteen_seconds() {
    let mut world = World::new(Chain::new(Shape::new(300)), None);
    let stingy = world.connect(Habit::Stingy);
    world.begin();
    world.run(ms(14_900));
    assert!(world.dropped.is_empty());
    world.run(ms(200));
    assert!(world.dropped[&stingy].contains("said nothing for 15 s"), "{:?}", world.dropped);
}

#[test]
fn a_silent_peer_costs_a_second_and_is_left_alone() {
    let world = joined(Shape::new(300), &[Habit::Honest, Habit::Silent, Habit::HighBase]);
    assert_eq!(world.height, 299);
    assert!(world.dropped.is_empty());
    assert!(world.joined_at[0] < s(5), "{:?}", world.joined_at);
}

#[test]
fn a_slow_peer_does_not_hold_up_the_others() {
    let mut world = World::new(Chain::new(Shape::new(1_000)), None);
    world.connect(Habit::Honest);
    let slow = world.connect_with(Habit::Honest, ms(50), ms(900));
    world.connect(Habit::Honest);
    world.begin();
    world.run_until_joined(s(60));
    assert_eq!(world.height, 999);
    assert!(!world.dropped.contains_key(&slow), "a block a second is fast enough");
    assert!(world.joined_at[0] < s(10), "{:?}", world.joined_at);
}

#[test]
fn a_peer_that_dribbles_is_dropped() {
    let mut world = World::new(Chain::new(Shape::new(200)), None);
    let dribbler = world.connect_with(Habit::Honest, ms(50), s(4));
    world.begin();
    world.run(s(20));
    assert!(world.dropped[&dribbler].contains("KiB/s"), "{:?}", world.dropped);
}

#[test]
fn everybody_lies_but_one_and_it_is_enough() {
    let mut habits = vec![Habit::FakesBlocks(1), Habit::FakesCommits(1), Habit::Boasts, Habit::Stingy];
    habits.extend([Habit::LeavesOut, Habit::WrongHeight, Habit::Denies, Habit::HighBase, Habit::Honest]);
    let world = joined(Shape::new(400), &habits);
    assert_eq!(world.height, 399);
    assert!(!world.dropped.contains_key(&id_of(&world, Habit::Honest)), "{:?}", world.dropped);
    assert!(world.joined_at[0] < s(60), "{:?}", world.joined_at);
}

#[test]
fn a_dropped_peer_is_asked_nothing_for_a_minute() {
    let mut world = World::new(Chain::new(Shape::new(300)), None);
    world.comes_back_after = Some(s(1));
    let liar = world.connect(Habit::FakesBlocks(1));
    world.begin();
    world.run(s(50));
    assert_eq!(world.drops, 1);
    let asked = world.asks.len();
    world.run(s(30));
    assert!(world.asks.len() > asked, "after a minute it gets another chance");
    let after = world.asks[asked].0;
    assert!(after > s(60), "asked again at {after:?}");
    assert!(world.peers[&liar].id == liar && world.height == 0);
}

#[test]
fn a_fresh_chain_starts_at_once() {
    for initial in [1, 1_000_000] {
        let shape = Shape { initial_height: initial, ..Shape::new(0) };
        let world = joined(shape, &[Habit::Behind(0); 3]);
        assert!(world.joined_at[0] < ms(100), "{:?}", world.joined_at);
    }
}

#[test]
fn with_nobody_there_a_node_waits_unless_the_chain_waits_for_it() {
    let mut world = World::new(Chain::new(Shape::new(1)), Some(first_validator()));
    world.begin();
    world.run(s(300));
    assert!(!world.deciding && world.sync.progress().stage == Stage::Waiting);
    assert_eq!(world.asks.len(), 0);

    let state = world.chain.state(0);
    let own = state.validators.members()[0].clone();
    let mut heavy = (*state).clone();
    let light = Validator::new(state.validators.members()[1].public_key, Power::new(2 * own.power.get()));
    heavy.validators = Arc::new(ValidatorSet::new([own.clone(), light]).unwrap());
    let mut sync = Sync::new(Role::OneOfMany, Some(own.address));
    let mut out = Vec::new();
    sync.step(s(7), SyncInput::Begin(Arc::new(heavy)), &mut out);
    assert!(matches!(out[..], [SyncEffect::WakeAt(at)] if at == s(8)), "{out:?}");
    sync.step(s(8), SyncInput::Woken, &mut out);
    assert!(matches!(out.last(), Some(SyncEffect::JoinConsensus)), "{out:?}");
}

#[test]
fn who_is_alone_begins_at_once_and_asks_nobody() {
    let chain = Chain::new(Shape::new(3));
    let mut sync = Sync::new(Role::Alone, None);
    let mut out = Vec::new();
    sync.step(s(0), SyncInput::Begin(chain.state(2)), &mut out);
    sync.step(s(1), SyncInput::Behind(Height::new(90)), &mut out);
    assert!(matches!(out[..], [SyncEffect::JoinConsensus]), "{out:?}");
    assert!(!sync.is_syncing());
}

#[test]
fn validators_change_in_the_middle_and_the_chain_need_not_begin_at_one() {
    for every in [1, 2, 3, 7, 50] {
        let shape = Shape { initial_height: 40, set_changes_every: Some(every), ..Shape::new(200) };
        let world = joined(shape, &[Habit::Honest, Habit::Honest, Habit::FakesBlocks(150)]);
        assert_eq!(world.height, 238, "a change every {every} blocks");
        assert_eq!(world.dropped.len(), 1);
    }
}

#[test]
fn with_extensions_the_last_block_comes_with_its_own_proof() {
    for from in [1, 100, 200] {
        let shape = Shape { extensions_from: Some(from), ..Shape::new(200) };
        let world = joined(shape, &[Habit::Honest, Habit::Honest]);
        assert_eq!(world.height, 200, "extensions from {from}");
    }
}

#[test]
fn extensions_that_are_wrong_missing_or_out_of_place_cost_the_sender_its_connection() {
    for habit in [Habit::FakesExtensions(150), Habit::TogglesExtensions(150), Habit::TogglesExtensions(20)] {
        let shape = Shape { extensions_from: Some(100), ..Shape::new(200) };
        let world = joined(shape, &[Habit::Honest, habit]);
        assert_eq!(world.height, 200, "{habit:?}");
        assert_eq!(world.dropped.keys().copied().collect::<Vec<_>>(), [id_of(&world, habit)], "{:?}", world.dropped);
    }
}

#[test]
fn memory_stays_within_its_bound_when_blocks_grow() {
    let shape = Shape { tx_bytes: 50_000, ..Shape::new(200) };
    let mut world = World::new(Chain::new(shape), None);
    world.sync.room = 1_000_000;
    world.execution = ms(30);
    (0..5).for_each(|_| {
        world.connect(Habit::Honest);
    });
    world.begin();
    // Blocks were small until now: much is asked for at once.
    world.sync.window = window::Window::new(Height::FIRST, 100, 1_000_000);
    world.run_until_joined(s(60));
    assert_eq!(world.height, 199);
    assert!(world.most_held <= 1_000_000, "{} bytes held", world.most_held);
    assert!(world.most_held > 700_000, "the bound was never near: {} bytes", world.most_held);
    assert!(world.dropped.is_empty(), "{:?}", world.dropped);
}

#[test]
fn blocks_larger_than_the_bound_are_still_fetched_in_pairs() {
    let shape = Shape { tx_bytes: 50_000, ..Shape::new(40) };
    let mut world = World::new(Chain::new(shape), None);
    world.sync.room = 60_000;
    world.connect(Habit::Honest);
    world.connect(Habit::Honest);
    world.begin();
    world.run_until_joined(s(60));
    assert_eq!(world.height, 39);
    assert!(world.most_held < 3 * 51_000, "{} bytes held", world.most_held);
}

/// A node that decided up to `height`, with one honest peer, after its last blocks came by consensus.
pub(super) fn deciding_at(height: u64, blocks: u64, habits: &[Habit]) -> World {
    let mut world = World::new(Chain::new(Shape::new(blocks)), None);
    world.height = height;
    let first = world.connect(Habit::Behind(height));
    world.begin();
    world.run_until_joined(s(10));
    world.disconnect(first);
    habits.iter().for_each(|habit| {
        world.connect(*habit);
    });
    world.run(s(30));
    world
}

#[test]
fn a_node_that_decides_asks_nobody_anything() {
    let mut world = deciding_at(50, 60, &[Habit::Honest; 3]);
    let before = (world.status_asks, world.asks.len());
    world.run(s(600));
    assert_eq!((world.status_asks, world.asks.len()), before);
}

#[test]
fn a_node_that_fell_behind_fetches_and_goes_back_to_deciding() {
    let mut world = deciding_at(50, 500, &[Habit::Honest; 3]);
    world.tell(SyncInput::Behind(Height::new(500)));
    assert!(world.run_until(s(60), |world| world.left == 1));
    world.run_until_joined(s(60));
    assert_eq!((world.height, world.left, world.joined_at.len()), (499, 1, 2));
}

#[test]
fn a_peer_may_claim_less_than_before() {
    let mut peer = Peer::new(s(0));
    for height in [100, 50] {
        peer.claims(s(1), Height::FIRST, Height::new(height)).unwrap();
        assert_eq!(peer.height(), Some(Height::new(height)));
    }
}

#[test]
fn claims_alone_do_not_pull_a_node_out_of_consensus() {
    for habit in [Habit::Boasts, Habit::BoastsAndFakes, Habit::Stingy, Habit::HighBase, Habit::Denies] {
        let mut world = deciding_at(50, 51, &[habit, Habit::Honest]);
        for _ in 0..5 {
            world.tell(SyncInput::Behind(Height::new(1 << 40)));
            world.run(s(60));
        }
        assert_eq!((world.left, world.height), (0, 50), "{habit:?}");
        assert!(world.asks.len() < 20, "{habit:?}: {} requests", world.asks.len());
    }
}

#[test]
fn on_a_mere_claim_two_blocks_are_fetched_and_no_more() {
    let mut world = deciding_at(50, 500, &[]);
    world.connect_with(Habit::Honest, s(1), s(1));
    let before = world.asks.len();
    world.tell(SyncInput::Behind(Height::new(500)));
    assert!(world.run_until(s(10), |world| world.asks.len() > before));
    world.run(ms(100));
    assert_eq!((world.asks.len() - before, world.left), (2, 0));
}

#[test]
fn a_node_that_catches_up_by_itself_while_we_look_stays() {
    let mut world = deciding_at(50, 54, &[]);
    world.connect_with(Habit::Honest, s(1), s(1));
    world.tell(SyncInput::Behind(Height::new(54)));
    world.run(s(2));
    (0..3).for_each(|_| world.decide());
    world.run(s(60));
    assert_eq!((world.left, world.height), (0, 53));
}

#[test]
fn alarms_of_consensus_are_looked_into_at_most_every_five_seconds() {
    let mut world = deciding_at(50, 50, &[Habit::Honest]);
    let before = world.status_asks;
    for _ in 0..1_000 {
        world.tell(SyncInput::Behind(Height::new(70)));
        world.run(ms(10));
    }
    assert!(world.status_asks - before <= 3, "{} status requests in 10 s", world.status_asks - before);
}

#[test]
fn late_answers_after_the_switch_are_no_fault() {
    let mut world = World::new(Chain::new(Shape::new(20)), None);
    world.connect(Habit::Honest);
    let late = world.connect_with(Habit::Honest, ms(1_200), ms(300));
    world.begin();
    world.run_until_joined(s(60));
    world.run(s(60));
    assert!(!world.dropped.contains_key(&late), "{:?}", world.dropped);
}

#[test]
fn a_pause_forgets_what_was_fetched_and_the_next_begin_starts_over() {
    let mut world = World::new(Chain::new(Shape::new(100)), None);
    world.connect(Habit::Honest);
    world.begin();
    world.run_until(s(1), |world| world.height == 30);
    world.tell(SyncInput::Paused);
    world.run(s(30));
    assert_eq!(world.height, 30);
    assert!(world.sync.is_syncing() && !world.deciding);
    world.begin();
    world.run_until_joined(s(10));
    assert_eq!(world.height, 99);
    assert!(world.dropped.is_empty(), "{:?}", world.dropped);
}

#[test]
fn progress_says_from_where_to_where_and_how_fast() {
    let mut world = World::new(Chain::new(Shape::new(1_000)), None);
    world.execution = ms(20);
    world.connect(Habit::Honest);
    world.begin();
    world.run_until(s(60), |world| world.height == 600);
    let progress = world.sync.progress();
    assert_eq!((progress.stage, progress.peers), (Stage::Fetching, 1));
    assert_eq!((progress.from.get(), progress.at.get(), progress.target.get()), (0, 599, 1_000));
    assert!((45..=50).contains(&progress.blocks_per_second.unwrap()), "{progress:?}");
}

#[test]
fn a_peer_that_has_not_the_last_height_there_is_is_not_asked_for_it_again() {
    let mut peer = Peer::new(s(0));
    peer.claims(s(0), Height::FIRST, Height::MAX).unwrap();
    peer.ask(s(0), Height::MAX);
    assert_eq!(peer.answers(s(1), Height::MAX, 0), Answer::InOrder);
    assert!(peer.denies(Height::MAX));
    assert!(!peer.can_give(Height::MAX));
    assert_eq!(peer.height_within_reach(Height::MAX), None, "nor for anything below");
}

/// A planner fed by hand at one moment: statuses and blocks come as soon as they are asked for, checks when told.
struct ByHand {
    sync: Sync,
    chain: Chain,
    effects: VecDeque<SyncEffect>,
    /// Questions for blocks that are not answered yet.
    questions: VecDeque<(NodeId, u64)>,
    /// Who was asked for which block last.
    asked: BTreeMap<u64, NodeId>,
    orders: Vec<(u64, Vec<u64>)>,
    applied: Vec<BlockId>,
    dropped: Vec<NodeId>,
    /// What these peers send instead of the chain's block of that height.
    fake: Option<(Vec<NodeId>, Arc<CandidateBlock>)>,
}

fn by_hand_peer(number: u8) -> NodeId {
    NodeId::new(Address::new([number; 20]))
}

impl ByHand {
    /// So many peers have all of a chain.
    fn new(blocks: u64, peers: u8) -> ByHand {
        ByHand {
            sync: Sync::new(Role::OneOfMany, None),
            chain: Chain::new(Shape::new(blocks)),
            effects: VecDeque::new(),
            questions: (1..=peers).map(|number| (by_hand_peer(number), 0)).collect(),
            asked: BTreeMap::new(),
            orders: Vec::new(),
            applied: Vec::new(),
            dropped: Vec::new(),
            fake: None,
        }
    }

    /// Begins, and fetches until checks are needed.
    fn begin(mut self) -> ByHand {
        for (peer, _) in std::mem::take(&mut self.questions) {
            self.step(SyncInput::PeerUp(peer));
        }
        self.tell(SyncInput::Begin(self.chain.state(0)));
        self
    }

    fn step(&mut self, input: SyncInput) {
        let mut out = Vec::new();
        self.sync.step(s(1), input, &mut out);
        self.effects.extend(out);
    }

    /// Tells it something, and everything it asks for then.
    fn tell(&mut self, input: SyncInput) {
        self.step(input);
        loop {
            if let Some(effect) = self.effects.pop_front() {
                self.execute(effect);
            } else if let Some((peer, height)) = self.questions.pop_front() {
                let block = self.block_from(peer, height);
                self.step(SyncInput::Block { peer, block, extended_commit: None });
            } else {
                return;
            }
        }
    }

    fn block_from(&self, peer: NodeId, height: u64) -> Arc<CandidateBlock> {
        let fake = self
            .fake
            .as_ref()
            .filter(|(liars, fake)| liars.contains(&peer) && fake.block().header.height == Height::new(height));
        Arc::clone(fake.map_or(self.chain.block(height), |(_, fake)| fake))
    }

    fn execute(&mut self, effect: SyncEffect) {
        match effect {
            SyncEffect::AskStatus(peer) => {
                let (base, height) = (Height::FIRST, Height::new(self.chain.last()));
                self.step(SyncInput::Status { peer, base, height });
            }
            SyncEffect::Ask { peer, height } => {
                self.asked.insert(height.get(), peer);
                self.questions.push_back((peer, height.get()));
            }
            SyncEffect::Verify { ticket, checks } => {
                let heights = checks.iter().map(|check| check.block.block().header.height.get()).collect();
                self.orders.push((ticket, heights));
            }
            SyncEffect::Apply { block, .. } => {
                self.applied.push(block.id());
                self.step(SyncInput::Applied(self.chain.state(block.block().header.height.get())));
            }
            SyncEffect::Drop(peer, _) => {
                self.dropped.push(peer);
                self.questions.retain(|(asked, _)| *asked != peer);
            }
            _ => {}
        }
    }

    /// Answers the newest order; nothing is wrong but with the block at this height.
    fn check(&mut self, bad: Option<u64>) -> Vec<u64> {
        let (ticket, heights) = self.orders.last().cloned().unwrap();
        let outcome = |height: &u64| match bad {
            Some(bad) if bad == *height => Err(CheckFault::Block("made up".into())),
            _ => Ok(()),
        };
        self.tell(SyncInput::Verified { ticket, outcomes: heights.iter().map(outcome).collect() });
        heights
    }
}

#[test]
fn what_was_checked_behind_a_false_block_is_checked_again() {
    let mut hand = ByHand::new(40, 2).begin();
    assert_eq!(hand.check(None), [1]);
    // The one behind the false block is another peer's, and stays.
    let bad = (2..30).find(|height| hand.asked[height] != hand.asked[&(height + 1)]).unwrap();
    let liar = hand.asked[&bad];
    assert_eq!(hand.check(Some(bad)), (2..=33).collect::<Vec<_>>());
    assert_eq!((&hand.dropped[..], hand.applied.len() as u64), (&[liar][..], bad - 1));
    let mut before = bad - 1;
    while hand.applied.len() < 39 {
        let checked = hand.check(None);
        assert_eq!(checked[0], before + 1, "the set that signed it was named by the false block");
        assert_eq!(Some(&(hand.applied.len() as u64)), checked.last());
        before = hand.applied.len() as u64;
    }
}

#[test]
fn a_block_that_takes_the_place_of_one_being_checked_is_checked_itself() {
    let mut hand = ByHand::new(12, 2).begin();
    assert_eq!(hand.check(None), [1]);
    let gone = hand.asked[&2];
    let fake = Block { txs: vec![Tx::new("made up")], ..hand.chain.block(2).block().clone() };
    let liars = vec![by_hand_peer(1), by_hand_peer(2)];
    hand.fake = Some((liars, Arc::new(CandidateBlock::new(fake))));
    // A block nobody asked for: its sender is dropped with all it sent, and the other one sends another block 2.
    let block = Arc::clone(hand.chain.block(1));
    hand.tell(SyncInput::Block { peer: gone, block, extended_commit: None });
    assert_eq!(hand.dropped, [gone]);
    assert_eq!(hand.check(None)[0], 2);
    assert_eq!(hand.applied, [hand.chain.block(1).id()], "the check was about another block");
    assert_eq!(hand.orders.last().unwrap().1[0], 2);
}

#[test]
fn what_a_peer_no_longer_claims_is_asked_of_another() {
    let (mut hand, one, two) = (ByHand::new(3, 0), by_hand_peer(1), by_hand_peer(2));
    hand.step(SyncInput::PeerUp(one));
    hand.step(SyncInput::PeerUp(two));
    hand.step(SyncInput::Begin(hand.chain.state(0)));
    hand.effects.clear();
    let status = |peer, height| SyncInput::Status { peer, base: Height::FIRST, height: Height::new(height) };
    for (peer, height, asked) in [(one, 3, [one; 3]), (two, 3, [one; 3]), (one, 1, [one, two, two])] {
        hand.step(status(peer, height));
        while let Some(effect) = hand.effects.pop_front() {
            hand.execute(effect);
        }
        assert_eq!(hand.asked.values().copied().collect::<Vec<_>>(), asked, "{peer} claims {height} blocks");
    }
}

/// Whoever lies in a way that needs no check is dropped at once, and what it was asked for is asked of the next.
#[test]
fn two_peers_with_a_block_of_another_chain_do_not_keep_the_third_from_being_asked() {
    let mut hand = ByHand::new(3, 3);
    let mut fake = hand.chain.block(1).block().clone();
    fake.header.chain_id = ChainId::try_from("another").unwrap();
    let liars = vec![by_hand_peer(1), by_hand_peer(2)];
    hand.fake = Some((liars.clone(), Arc::new(CandidateBlock::new(fake))));
    let mut hand = hand.begin();
    assert_eq!((&hand.dropped, hand.asked.get(&1)), (&liars, Some(&by_hand_peer(3))));
    assert_eq!(hand.check(None), [1]);
}

#[test]
fn a_block_that_comes_with_the_commit_of_another_costs_its_bearer_the_connection() {
    let mut world = ByHand::new(20, 1);
    world.step(SyncInput::PeerUp(by_hand_peer(1)));
    world.step(SyncInput::Begin(world.chain.state(0)));
    while let Some(effect) = world.effects.pop_front() {
        world.execute(effect);
    }
    let (peer, height) = world.questions.pop_back().unwrap();
    world.questions.clear();
    let commit = Some(Box::new(ExtendedCommit::from(world.chain.commit(height + 1))));
    world.tell(SyncInput::Block { peer, block: world.block_from(peer, height), extended_commit: commit });
    assert_eq!(world.dropped, [peer]);
}

#[test]
fn those_who_were_dropped_are_remembered_up_to_a_thousand() {
    let mut sync = Sync::new(Role::OneOfMany, None);
    let mut out = Vec::new();
    for number in 0..BARRED_MAX as u64 + 10 {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        let peer = NodeId::new(Address::new(bytes));
        sync.step(s(1), SyncInput::PeerUp(peer), &mut out);
        let (base, height) = (Height::new(5), Height::new(3));
        sync.step(s(1), SyncInput::Status { peer, base, height }, &mut out);
    }
    assert_eq!(sync.barred.len(), BARRED_MAX);
}
