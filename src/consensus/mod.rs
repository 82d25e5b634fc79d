//! Consensus protocols as pure state machines, one height at a time.
//!
//! A machine is told facts ([`Input`]) and answers with an ordered list of orders ([`Effect`]). It has no clock, no
//! randomness, no thread and no IO; who runs it, the node or the simulator, makes no difference to it.
//!
//! Reading order: this file → `input` → `effect` → `direct` → `quorum` → `tally` → `blocks` → `recent` → `tendermint/` →
//! `pbft/` → `raft/`.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]
// A number from outside that is cut is another number (bug class 157). Tests count what they made.
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation))]

mod blocks;
pub mod direct;
mod effect;
mod input;
pub mod pbft;
pub mod quorum;
pub mod raft;
mod recent;
pub mod tally;
pub mod tendermint;
mod view;

pub use direct::Direct;
pub use effect::{Accusation, BuildOrder, Decision, Effect, Effects, RoundNote};
pub use input::{BlockVerdict, EmptyBlocks, Input, ReadMode, ReadTicket, Signed, Start, Timeouts};

pub use recent::{RECENT_BLOCKS_MAX, RECENT_BYTES_MAX, Recent};
pub use view::{Lead, RaftRole, RoundVotes, Sizes, View, ViewPhase};

use crate::types::Time;
use std::time::Duration;

/// What the clocks say at this step. `tick` never goes back; `wall` may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since the node started.
    pub tick: Tick,
    /// Time of day, for timestamps only.
    pub wall: Time,
}

/// A point in monotonic time: nanoseconds since an arbitrary start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// The point `duration` later.
    pub fn plus(self, duration: Duration) -> Tick {
        Tick(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time from `earlier` to here; zero when it is not earlier.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// What became of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reaction {
    /// It changed something.
    Accepted,
    /// It was legal but of no use now.
    Ignored(&'static str),
    /// It was legal and may be of use yet: whoever brings it again is to be heard.
    Later(&'static str),
    /// Only a faulty peer sends this: drop the peer.
    PeerFault(&'static str),
}

/// A protocol that decides blocks, one height after the other.
///
/// `step` is total: every input gets a [`Reaction`], nothing a peer says makes it panic.
///
/// Effects run in order and [`Effect::Persist`] is a barrier: no signature and no decision that follow it in the list
/// are given before it is durable. Sending waits for nothing: whatever was signed rests on what is durable. A crash may
/// fall between any two effects.
pub trait Protocol: Sized {
    /// What replicas say to each other.
    type Message: Clone + std::fmt::Debug;
    /// What must survive a crash.
    type Record: Clone + std::fmt::Debug;

    /// Takes up a height: with no records afresh, with the height's journal records where a crash left it.
    fn recover(now: Now, start: Start, records: &[Self::Record], out: &mut Effects<Self>) -> Self;

    /// Takes one fact into account.
    fn step(&mut self, now: Now, input: Input<Self::Message>, out: &mut Effects<Self>) -> Reaction;
}
