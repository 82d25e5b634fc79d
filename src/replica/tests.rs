//! Node and application die after every order of the replica; what was acknowledged must stay, be applied once, and
//! nothing may be signed twice.

mod catch_up;
mod extremes;
mod peers;
mod reads;
mod twin;
mod world;

use crate::consensus::Tick;
use crate::types::abci::Verdict;
use crate::types::{Height, Step, Tx};
use std::time::Duration;
use world::{Death, Fact, World};

/// Heights of a run that is cut: one without and two with extensions, one of them empty.
const HEIGHTS: u64 = 3;

fn orders_of_an_undisturbed_run() -> usize {
    let mut world = World::new();
    assert!(world.run_to(HEIGHTS));
    world.executed
}

#[test]
fn fifty_blocks_are_decided_and_each_transaction_stands_in_one() {
    let mut world = World::new();
    assert!(world.run_to(50));
    world.check("undisturbed");
    assert_eq!((world.app.height, world.refused), (50, 0));
    assert!(world.disk.committed().len() >= 24, "{} transactions", world.disk.committed().len());
    let extended = |height: &u64| world.disk.blocks[height].1.signatures[0].extension.as_ref() == b"at 50";
    assert!(extended(&50), "the application's extension is kept with the commit");
}

#[test]
fn the_node_dies_after_every_order_and_nothing_is_lost_applied_twice_or_signed_twice() {
    let orders = orders_of_an_undisturbed_run();
    assert!(orders > 100, "{orders} orders");
    for cut in 0..orders {
        for death in [Death::Kill, Death::PowerCut] {
            let mut world = World::new();
            world.fuel = cut;
            assert!(!world.run_to(HEIGHTS), "the run ends at its cut");
            let mut world = world.restart(death);
            assert!(world.run_to(HEIGHTS + 2));
            world.check(&format!("{death:?} after {cut} orders"));
        }
    }
}

#[test]
fn the_node_dies_again_while_it_starts() {
    let orders = orders_of_an_undisturbed_run();
    for cut in (0..orders).step_by(3) {
        for again in 0..12 {
            let mut world = World::new();
            world.fuel = cut;
            assert!(!world.run_to(HEIGHTS));
            let mut world = world.restart(Death::PowerCut);
            world.fuel = again;
            world.run_to(HEIGHTS + 2);
            let mut world = world.restart(Death::PowerCut);
            assert!(world.run_to(HEIGHTS + 2));
            world.check(&format!("power cut after {cut} orders and {again} more"));
        }
    }
}

#[test]
fn the_application_is_lost_after_every_order_and_the_chain_goes_on() {
    for cut in 0..orders_of_an_undisturbed_run() {
        let mut world = World::new();
        world.fuel = cut;
        assert!(!world.run_to(HEIGHTS));
        world.fuel = usize::MAX;
        world.lose_app();
        assert!(world.run_to(HEIGHTS + 2));
        world.check(&format!("application lost after {cut} orders"));
    }
}

#[test]
fn a_chain_that_halted_refuses_transactions_until_a_mended_application_connects() {
    let mut world = World::new();
    assert!(world.run_to(2));
    world.app.verdict = Some(Verdict::Unknown);
    assert!(!world.run_to(9));
    assert!(world.halted.take().is_some_and(|why| why.contains("UNKNOWN")));
    world.take(Fact::AppLost);
    let refused = world.refused;
    world.submit(Tx::new("while halted"));
    world.app.verdict = None;
    assert!(world.run_to(6));
    world.check("mended");
    assert!(world.refused > refused, "a transaction nobody can check is refused at once");
}

#[test]
fn the_pause_after_a_commit_begins_when_its_block_is_decided_and_not_when_it_is_executed() {
    let mut world = World::new();
    while world.disk.blocks.is_empty() {
        world.fuel = 1;
        assert!(!world.run_to(1), "a block is saved before it is published");
    }
    let decided = Tick(world.now);
    world.fuel = usize::MAX;
    assert!(world.run_to(1) && world.settle());
    assert!(world.now > decided.0, "execution takes its time");
    let second = world.timers.iter().find(|(timer, _)| (timer.height, timer.step) == (Height::new(2), Step::NewHeight));
    assert_eq!(second.map(|(_, at)| *at), Some(decided.plus(Duration::from_millis(10))));
}
