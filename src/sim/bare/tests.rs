//! Machines with a fault planted into them are caught; those without are not.

use super::world;
use crate::consensus::pbft::Pbft;
use crate::consensus::raft::Raft;
use crate::consensus::tendermint::Tendermint;
use crate::consensus::{Decision, Effect, Effects, Input, Now, Protocol, Reaction, Sizes, Start, Tick};
use crate::sim::bare::chain::State;
use crate::sim::bare::protocol::{Regard, Sorted, Spread, Watched};
use crate::sim::bare::verify::{Gate, Refused};
use crate::sim::{Level, Plan, Trace, Wishes, Word, check};
use crate::types::{
    Algorithm, ChainId, DirectMessage, Height, JournalMessage, JournalRecord, Round, SignRequest, Source, VoteKind,
};
use std::fmt::Debug;
use std::marker::PhantomData;

/// What a planted fault does to an order: gives it back, another one, or nothing.
trait Fault: Debug {
    fn bend<P: Protocol<Record = JournalRecord>>(effect: Effect<P>) -> Option<Effect<P>>;
}

/// A machine with a fault.
#[derive(Debug)]
struct Bent<P, F>(P, PhantomData<F>);

impl<P: Watched, F: Fault> Bent<P, F> {
    fn bend(effects: Effects<P>, out: &mut Effects<Bent<P, F>>) {
        out.extend(effects.into_iter().filter_map(F::bend).map(rename));
    }
}

impl<P: Watched, F: Fault> Protocol for Bent<P, F> {
    type Message = P::Message;
    type Record = JournalRecord;

    fn recover(now: Now, start: Start, records: &[JournalRecord], out: &mut Effects<Self>) -> Self {
        let mut effects = Vec::new();
        let machine = P::recover(now, start, records, &mut effects);
        Bent::bend(effects, out);
        Bent(machine, PhantomData)
    }

    fn step(&mut self, now: Now, input: Input<P::Message>, out: &mut Effects<Self>) -> Reaction {
        let mut effects = Vec::new();
        let reaction = self.0.step(now, input, &mut effects);
        Bent::bend(effects, out);
        reaction
    }
}

impl<P: Watched, F: Fault> Watched for Bent<P, F> {
    const SPREAD: Spread = P::SPREAD;

    fn height(&self) -> Height {
        self.0.height()
    }

    fn round(&self) -> Round {
        self.0.round()
    }

    fn sizes(&self) -> Sizes {
        self.0.sizes()
    }

    fn word(message: &P::Message) -> Word<'_> {
        P::word(message)
    }

    fn sort(&self, state: &State, message: P::Message) -> Sorted<P::Message> {
        self.0.sort(state, message)
    }

    fn spoken(&self, message: P::Message) -> DirectMessage {
        self.0.spoken(message)
    }

    fn said(word: DirectMessage) -> Option<P::Message> {
        P::said(word)
    }

    fn judge(&self, gate: Gate, chain: &ChainId, state: &State, message: &P::Message) -> Result<(), Refused> {
        self.0.judge(gate, chain, state, message)
    }

    fn journaled(message: &JournalMessage) -> Option<P::Message> {
        P::journaled(message)
    }

    fn regards(&self, message: &P::Message) -> Regard {
        self.0.regards(message)
    }

    fn decided(decision: &Decision) -> Vec<P::Message> {
        P::decided(decision)
    }
}

/// The same order of a machine of another name.
fn rename<P, Q>(effect: Effect<P>) -> Effect<Q>
where
    P: Protocol<Record = JournalRecord>,
    Q: Protocol<Record = JournalRecord, Message = P::Message>,
{
    match effect {
        Effect::Persist(record) => Effect::Persist(record),
        Effect::Sign(request) => Effect::Sign(request),
        Effect::Send(to, message) => Effect::Send(to, message),
        Effect::Broadcast(message) => Effect::Broadcast(message),
        Effect::SetTimer { timer, at, duration } => Effect::SetTimer { timer, at, duration },
        Effect::WakeAt(at) => Effect::WakeAt(at),
        Effect::ReadAt(ticket, height) => Effect::ReadAt(ticket, height),
        Effect::ReadRefused(ticket, why) => Effect::ReadRefused(ticket, why),
        Effect::BuildBlock(order) => Effect::BuildBlock(order),
        Effect::CheckBlock { height, round, block } => Effect::CheckBlock { height, round, block },
        Effect::ExtendVote { height, round, block } => Effect::ExtendVote { height, round, block },
        Effect::VerifyExtension { vote, source } => Effect::VerifyExtension { vote, source },
        Effect::Decide(decision) => Effect::Decide(decision),
        Effect::Accuse(accusation) => Effect::Accuse(accusation),
        Effect::RequestSync(height) => Effect::RequestSync(height),
        Effect::OfferTxs => Effect::OfferTxs,
        Effect::Note(note) => Effect::Note(note),
    }
}

/// No fault.
#[derive(Debug)]
struct Sound;

impl Fault for Sound {
    fn bend<P: Protocol<Record = JournalRecord>>(effect: Effect<P>) -> Option<Effect<P>> {
        Some(effect)
    }
}

/// Own words and standings are not journaled.
#[derive(Debug)]
struct Forgets;

impl Fault for Forgets {
    fn bend<P: Protocol<Record = JournalRecord>>(effect: Effect<P>) -> Option<Effect<P>> {
        match effect {
            Effect::Persist(JournalRecord::Message { source: Source::Own, .. } | JournalRecord::Standing(_)) => None,
            effect => Some(effect),
        }
    }
}

/// It never wakes up.
#[derive(Debug)]
struct Sleeps;

impl Fault for Sleeps {
    fn bend<P: Protocol<Record = JournalRecord>>(effect: Effect<P>) -> Option<Effect<P>> {
        match effect {
            Effect::SetTimer { .. } | Effect::WakeAt(_) => None,
            effect => Some(effect),
        }
    }
}

/// A machine that wants to be woken at once, whenever it is woken.
#[derive(Debug)]
struct Restless;

impl Fault for Restless {
    fn bend<P: Protocol<Record = JournalRecord>>(effect: Effect<P>) -> Option<Effect<P>> {
        match effect {
            Effect::SetTimer { .. } | Effect::Note(_) => Some(Effect::WakeAt(Tick(0))),
            Effect::WakeAt(_) => Some(Effect::WakeAt(Tick(0))),
            effect => Some(effect),
        }
    }
}

/// A machine that cannot stand a precommit.
#[derive(Debug)]
struct Panics;

impl Fault for Panics {
    fn bend<P: Protocol<Record = JournalRecord>>(effect: Effect<P>) -> Option<Effect<P>> {
        if let Effect::Sign(SignRequest::Vote(vote)) = &effect {
            assert_ne!(vote.kind, VoteKind::Precommit, "planted");
        }
        Some(effect)
    }
}

/// The first seed below `most` in which a checker complains, and which one does.
fn caught<P: Watched>(algorithm: Algorithm, most: u64) -> Option<(u64, &'static str)> {
    let wishes = Wishes { level: Level::Bare, algorithm, nodes: None, heights: Some(3), calm: false };
    (0..most).find_map(|seed| {
        let outcome = world::run::<P>(Plan::draw(seed, &wishes), check::all, Trace::hash_only());
        outcome.violation.map(|violation| (seed, violation.checker))
    })
}

#[test]
fn a_machine_that_forgets_what_it_said_is_caught_within_300_seeds() {
    assert!(caught::<Bent<Tendermint, Forgets>>(Algorithm::Tendermint, 300).is_some());
    assert!(caught::<Bent<Pbft, Forgets>>(Algorithm::Pbft, 300).is_some());
    assert!(caught::<Bent<Raft, Forgets>>(Algorithm::Raft, 300).is_some());
}

#[test]
fn a_machine_that_never_wakes_up_is_told_to_be_too_slow() {
    let by = |caught: Option<(u64, &'static str)>| caught.map(|(_, checker)| checker);
    assert_eq!(by(caught::<Bent<Tendermint, Sleeps>>(Algorithm::Tendermint, 20)), Some("liveness"));
    assert_eq!(by(caught::<Bent<Pbft, Sleeps>>(Algorithm::Pbft, 20)), Some("liveness"));
    assert_eq!(by(caught::<Bent<Raft, Sleeps>>(Algorithm::Raft, 20)), Some("liveness"));
}

#[test]
fn a_machine_that_is_never_done_at_one_moment_is_told_to_be_endless() {
    assert_eq!(caught::<Bent<Raft, Restless>>(Algorithm::Raft, 20).map(|(_, checker)| checker), Some("endless"));
}

#[test]
fn a_machine_that_panics_is_a_violation_and_not_the_end_of_the_campaign() {
    assert_eq!(caught::<Bent<Raft, Panics>>(Algorithm::Raft, 1), Some((0, "panic")));
}

#[test]
fn the_planting_itself_breaks_nothing() {
    assert_eq!(caught::<Bent<Tendermint, Sound>>(Algorithm::Tendermint, 20), None);
    assert_eq!(caught::<Bent<Pbft, Sound>>(Algorithm::Pbft, 20), None);
    assert_eq!(caught::<Bent<Raft, Sound>>(Algorithm::Raft, 20), None);
}
