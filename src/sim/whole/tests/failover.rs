//! How soon Raft replaces a leader that is killed soon after the node killed before it came back to a chain that runs at
//! some 65 blocks a second. Two of three are left, so whoever came back has to be level.

use crate::consensus::{EmptyBlocks, Lead, RaftRole, Tick, View};
use crate::executor::DoppelgangerCheck;
use crate::mempool::MempoolConfig;
use crate::sim::whole::events::Event;
use crate::sim::whole::world::World;
use crate::sim::{Level, NodeNr, Plan, Trace, Unsynced, Wishes, check};
use crate::sync::Stage;
use crate::types::{Algorithm, Height};
use std::time::Duration;

const SEEDS: std::ops::Range<u64> = 1..3;
const ELECTION: Duration = Duration::from_secs(1);

/// Three nodes of a cluster that has nothing to wait for but its applications and links.
fn busy(seed: u64) -> World {
    let wishes =
        Wishes { level: Level::Whole, algorithm: Algorithm::Raft, nodes: Some(3), heights: Some(1), calm: true };
    let mut plan = Plan::draw(seed, &wishes);
    plan.heal_at = Tick(0).plus(Duration::from_secs(3600));
    (plan.weather.delay_min, plan.weather.delay_max) = (Duration::from_micros(200), Duration::from_millis(1));
    plan.timeouts.election = ELECTION;
    plan.timeouts.heartbeat = ELECTION / 10;
    let mut world = World::new(plan, check::all, Trace::hash_only());
    let habits = &mut world.habits;
    (habits.timeouts.empty_blocks, habits.timeouts.commit) = (EmptyBlocks::Never, Duration::ZERO);
    habits.doppelganger_check = DoppelgangerCheck::OnRejoin;
    habits.mempool = MempoolConfig::default();
    (habits.pace, habits.padding, habits.power_changes) = (Duration::from_millis(10), 20, 0);
    habits.app_takes = Duration::from_millis(6);
    for node in world.plan.all() {
        world.queue.after(Duration::ZERO, Event::Start(node));
    }
    world.queue.after(Duration::ZERO, Event::Clients);
    world
}

fn top(world: &World) -> Height {
    world.sites.iter().map(|site| site.applied).max().expect("nodes")
}

fn behind(world: &World, node: NodeNr) -> u64 {
    top(world).get() - world.sites[node.index()].applied.get()
}

fn decides(world: &World, node: NodeNr) -> bool {
    let process = world.sites[node.index()].process.as_ref();
    process.is_some_and(|process| process.replica.progress().stage == Stage::Deciding)
}

fn kill_leader(world: &mut World, away: Duration) -> NodeNr {
    let view = |node: &NodeNr| world.sites[node.index()].process.as_ref().and_then(|process| process.replica.view());
    let leads = |view: &View| matches!(view.lead, Lead::Leader { role: RaftRole::Leader, .. });
    let leader = world.plan.all().find(|node| view(node).as_ref().is_some_and(leads)).expect("a leader");
    world.crash(leader, Unsynced::Kept, away);
    leader
}

/// Runs until `done`, for so long at most. Gives the longest time without a new block.
fn run(world: &mut World, limit: Duration, done: impl Fn(&World) -> bool) -> Duration {
    let (mut last, mut height, mut longest) = (world.queue.now(), top(world), Duration::ZERO);
    let end = last.plus(limit);
    while world.queue.now() < end && !done(world) {
        let event = world.queue.take().expect("clients never rest");
        world.happen(event);
        let now = world.queue.now();
        longest = longest.max(now.since(last));
        if top(world) > height {
            (last, height) = (now, top(world));
        }
    }
    longest
}

#[test]
fn a_leader_killed_soon_after_another_node_came_back_is_replaced_within_two_election_timeouts() {
    for seed in SEEDS {
        let mut world = busy(seed);
        run(&mut world, Duration::from_secs(2), |_| false);
        let away = Duration::from_secs(2);
        let first = kill_leader(&mut world, away);
        run(&mut world, away, |_| false);
        run(&mut world, Duration::from_secs(8), |world| decides(world, first));
        let joined = behind(&world, first);
        assert!(decides(&world, first) && joined <= 10, "seed {seed}: node {} joined {joined} blocks behind", first.0);
        run(&mut world, Duration::from_secs(1), |_| false);
        let level = behind(&world, first);
        assert!(level <= 3, "seed {seed}: a second later it is {level} blocks behind");
        kill_leader(&mut world, Duration::from_secs(60));
        let failover = run(&mut world, Duration::from_secs(3), |_| false);
        assert!(failover < ELECTION * 2, "seed {seed}: {failover:?} without a block");
        assert!(top(&world).get() > 200 && !world.watch.is_broken(), "seed {seed}: {}", world.describe());
    }
}
