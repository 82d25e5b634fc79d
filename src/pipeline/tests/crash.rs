//! The node or the application dies after every prefix of every effect list; the handshake puts all right.
//! docs/CRASH_WINDOWS.md names these tests.

use super::world::{Disk, ModelApp, World};
use crate::types::ChainState;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Heights of the story: a change of validators (2, 4), a change of parameters (3), pruning (4, 5).
const HEIGHTS: u64 = 5;

/// What must come out, crash or no crash.
#[derive(Debug, PartialEq)]
struct End {
    state: ChainState,
    app_hash: bytes::Bytes,
    commits: BTreeMap<u64, u32>,
    blocks: Vec<u64>,
    results: Vec<u64>,
    journal: Vec<u64>,
    indexed: Vec<u64>,
}

fn end(world: &World) -> End {
    End {
        state: ChainState::clone(world.disk.state.as_ref().expect("the chain ran")),
        app_hash: world.app.hash.clone(),
        commits: world.app.commits.clone(),
        // A crash may swallow a wish to prune, which the application repeats at the next height.
        blocks: world.disk.blocks.keys().rev().copied().take(2).collect(),
        results: world.disk.results.keys().copied().collect(),
        journal: world.disk.journal.iter().copied().collect(),
        indexed: world.disk.indexed.iter().copied().collect(),
    }
}

/// Runs without a crash; also says how many effects that took.
fn undisturbed(initial: u64) -> (End, usize) {
    let mut world = World::new(initial);
    world.connect();
    assert!(world.run_to(initial + HEIGHTS - 1), "halted: {:?}", world.halted);
    let count = world.log.len();
    (end(&world), count)
}

fn last(initial: u64) -> u64 {
    initial + HEIGHTS - 1
}

/// Who dies with the node.
#[derive(Debug, Clone, Copy, PartialEq)]
enum App {
    Survives,
    DiesToo,
}

fn crash_node(mut world: World, app: App) -> World {
    if app == App::DiesToo {
        world.app.crash();
    }
    let World { genesis, disk, app, .. } = world;
    let mut world = World::restart(genesis, disk, app);
    world.connect();
    world
}

#[test]
fn the_node_dies_after_every_effect_and_every_block_is_applied_once() {
    let (expected, effects) = undisturbed(1);
    assert_eq!(expected.commits, (1..=HEIGHTS).map(|height| (height, 1)).collect());
    for fuel in 0..effects {
        for app in [App::Survives, App::DiesToo] {
            let mut world = World::new(1);
            world.fuel = fuel;
            world.connect();
            world.run_to(HEIGHTS);
            let mut world = crash_node(world, app);
            assert!(world.run_to(HEIGHTS), "after {fuel} effects, app {app:?}: {:?} {:?}", world.halted, world.log);
            assert_eq!(end(&world), expected, "after {fuel} effects, app {app:?}");
        }
    }
}

#[test]
fn the_node_dies_again_after_every_effect_of_its_recovery() {
    const TARGET: u64 = 2;
    let mut plain = World::new(1);
    plain.connect();
    assert!(plain.run_to(TARGET));
    let mut pairs = 0;
    for first in 0..plain.log.len() {
        for second in 0..16 {
            let mut world = World::new(1);
            world.fuel = first;
            world.connect();
            world.run_to(TARGET);
            let mut world = crash_node(world, App::DiesToo);
            world.fuel = second;
            world.run_to(TARGET);
            let mut world = crash_node(world, App::DiesToo);
            assert!(world.run_to(TARGET), "after {first} and {second}: {:?}", world.halted);
            assert_eq!(end(&world), end(&plain), "after {first} and {second} effects");
            pairs += 1;
        }
    }
    assert!(pairs > 400, "{pairs} pairs of crashes");
}

#[test]
fn the_application_dies_after_every_effect_and_the_node_goes_on() {
    let (expected, effects) = undisturbed(1);
    for fuel in 0..effects {
        let mut world = World::new(1);
        world.fuel = fuel;
        world.connect();
        world.run_to(HEIGHTS);
        world.fuel = usize::MAX;
        world.lose_app();
        if !world.pipeline.is_app_up() {
            world.connect(); // it died before the first word of the handshake
        }
        assert!(world.run_to(HEIGHTS), "after {fuel} effects: {:?} {:?}", world.halted, world.log);
        assert_eq!(end(&world), expected, "after {fuel} effects");
    }
}

#[test]
fn a_chain_that_begins_above_height_one_survives_every_crash_too() {
    let (expected, effects) = undisturbed(100);
    for fuel in 0..effects {
        let mut world = World::new(100);
        world.fuel = fuel;
        world.connect();
        world.run_to(last(100));
        let mut world = crash_node(world, App::DiesToo);
        assert!(world.run_to(last(100)), "after {fuel} effects: {:?}", world.halted);
        assert_eq!(end(&world), expected, "after {fuel} effects");
    }
}

#[test]
fn an_application_that_lost_its_data_is_told_everything_again_from_any_point() {
    // Up to height 3: later the application itself asks to prune what it would need.
    let mut plain = World::new(1);
    plain.connect();
    assert!(plain.run_to(3));
    for fuel in 0..plain.log.len() {
        let mut world = World::new(1);
        world.fuel = fuel;
        world.connect();
        world.run_to(3);
        world.app = ModelApp::default();
        let mut world = crash_node(world, App::Survives);
        assert!(world.run_to(3), "after {fuel} effects: {:?} {:?}", world.halted, world.log);
        assert_eq!(world.disk.state, plain.disk.state);
        assert_eq!(world.app.hash, plain.app.hash);
        assert_eq!(world.app.commits, plain.app.commits, "each block once by this incarnation");
        assert_eq!(world.app.init_chains, 1);
    }
}

/// One gap of docs/CRASH_WINDOWS.md: dies right after the effect `after` of height 2, and comes back by `replay`.
fn gap(after: &str, replay: &[&str]) {
    let mut plain = World::new(1);
    plain.connect();
    assert!(plain.run_to(2));
    let height_two = plain.log.iter().position(|name| name == "Applied").expect("height 1 was applied");
    let at = plain.log[height_two..].iter().position(|name| name == after).expect("an effect of every height");
    let mut world = World::new(1);
    world.fuel = height_two + at + 1;
    world.connect();
    world.run_to(2);
    let mut world = crash_node(world, App::DiesToo);
    world.target = 0;
    assert!(world.run_to(1), "{:?}", world.halted);
    let told: Vec<&str> = world.log.iter().map(String::as_str).filter(|name| replay.contains(name)).collect();
    assert_eq!(told, replay, "of {:?}", world.log);
    assert_eq!(world.log.iter().filter(|name| *name == "finalize_block").count(), count(replay, "finalize_block"));
    assert_eq!(world.log.iter().filter(|name| *name == "commit").count(), count(replay, "commit"));
}

fn count(names: &[&str], wanted: &str) -> usize {
    names.iter().filter(|name| **name == wanted).count()
}

#[test]
fn gap_before_the_block_is_stored() {
    gap("BlockChecked", &["Index", "Ready"]);
}

#[test]
fn gap_between_block_and_end_height() {
    gap(
        "SaveBlock",
        &["LoadBlock", "JournalEndHeight", "finalize_block", "SaveResults", "commit", "SaveState", "Ready"],
    );
}

#[test]
fn gap_between_end_height_and_finalize_block() {
    gap("JournalEndHeight", &["LoadBlock", "finalize_block", "SaveResults", "commit", "SaveState", "Ready"]);
}

#[test]
fn gap_between_finalize_block_and_results() {
    gap("finalize_block", &["LoadBlock", "finalize_block", "SaveResults", "commit", "SaveState", "Ready"]);
}

#[test]
fn gap_between_results_and_commit() {
    gap("SaveResults", &["LoadBlock", "finalize_block", "SaveResults", "commit", "SaveState", "Ready"]);
}

#[test]
fn gap_between_commit_and_state() {
    gap("commit", &["LoadBlock", "SaveState", "Publish", "Index", "Ready"]);
}

#[test]
fn gap_between_state_and_index() {
    gap("SaveState", &["LoadBlock", "Index", "Ready"]);
}

#[test]
fn a_lost_disk_is_not_taken_for_a_new_chain_by_an_application_that_has_blocks() {
    let mut world = World::new(1);
    world.connect();
    assert!(world.run_to(3));
    let mut world = World::restart(Arc::clone(&world.genesis), Disk::default(), world.app);
    world.connect();
    world.run_to(3);
    let why = world.halted.expect("it must not begin again");
    assert!(why.contains("application is at height 3 but this node stored only 0 blocks"), "{why}");
}
