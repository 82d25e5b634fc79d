//! Clients that want to read what was decided last.

use super::world::{Fact, World};
use crate::consensus::{Now, ReadMode, ReadTicket, Tick};
use crate::replica::Input;
use crate::replica::reads::{READ_PATIENCE, READS_WAITING_MAX};
use crate::types::{Height, Time};

fn read(world: &mut World, ticket: u64) {
    world.take(Fact::Input(Input::Read { ticket: ReadTicket(ticket), mode: ReadMode::Confirmed }));
    world.settle();
}

#[test]
fn tendermint_refuses_and_says_what_to_do_instead() {
    let mut world = World::new();
    assert!(world.run_to(3));
    read(&mut world, 1);
    let (ticket, outcome) = world.reads.pop().expect("answered at once");
    assert_eq!(ticket, ReadTicket(1));
    assert!(outcome.unwrap_err().contains("consistency=local"));
}

#[test]
fn a_read_allowed_above_what_is_applied_waits_for_its_block() {
    let mut world = World::new();
    assert!(world.run_to(3));
    let applied = world.replica.state().last_block_height;
    let now = Now { tick: Tick(1), wall: Time::UNIX_EPOCH };
    let mut out = Vec::new();
    // As if a protocol with linearizable reads had been asked, and had answered.
    for (ticket, height) in [(1, applied), (2, applied.next().next())] {
        world.replica.reads.ask(ReadTicket(ticket), now.tick);
        world.replica.read_at(ReadTicket(ticket), height, &mut out);
    }
    assert_eq!(out.len(), 1, "what is applied may be read at once: {out:?}");
    assert!(world.run_to(applied.get() + 1));
    assert_eq!(world.reads, []);
    assert!(world.run_to(applied.get() + 2));
    assert_eq!(world.reads, [(ReadTicket(2), Ok(Height::new(applied.get() + 2)))]);
}

#[test]
fn while_the_application_is_away_nobody_reads() {
    let mut world = World::new();
    assert!(world.run_to(2));
    world.replica.reads.ask(ReadTicket(1), Tick(1));
    world.lose_app();
    world.take(Fact::AppLost);
    world.take(Fact::Input(Input::Read { ticket: ReadTicket(2), mode: ReadMode::Leased }));
    world.settle();
    let refused = |ticket| world.reads.iter().find(|(asked, _)| *asked == ReadTicket(ticket)).expect("answered");
    assert!(refused(1).1.is_err());
    assert!(refused(2).1.as_ref().is_err_and(|why| why.contains("the application is away")), "{:?}", world.reads);
}

#[test]
fn a_read_nobody_confirms_is_given_up_and_no_more_wait_than_may() {
    let mut world = World::new();
    assert!(world.run_to(2));
    (0..READS_WAITING_MAX as u64).for_each(|ticket| world.replica.reads.ask(ReadTicket(ticket), Tick(1)));
    let mut read = |tick: Tick, ticket| {
        let mut out = Vec::new();
        let now = Now { tick, wall: Time::UNIX_EPOCH };
        world.replica.read(now, ReadTicket(ticket), ReadMode::Confirmed, &mut out);
        out
    };
    let refused = read(Tick(2), 1_000_000);
    assert!(format!("{refused:?}").contains("reads wait already"), "one too many");
    let late = read(Tick(1).plus(READ_PATIENCE), 1_000_001);
    assert_eq!(late.len(), READS_WAITING_MAX, "all are told, and there is room again");
}
