//! The protocol in force: one of three machines, told the same facts.

use super::Now;
use crate::consensus::pbft::Pbft;
use crate::consensus::raft::Raft;
use crate::consensus::tendermint::{Message, Tendermint};
use crate::consensus::{Direct, Effects, Input, Protocol, Reaction, Sizes, Start, View};
use crate::types::{Algorithm, DirectMessage, Height, JournalRecord, PeerMessage, Round};

/// The machine at work. Which one it is stands in the state of the chain.
#[derive(Debug)]
pub(super) enum Machine {
    Tendermint(Box<Tendermint>),
    Pbft(Box<Pbft>),
    Raft(Box<Raft>),
}

/// What a machine orders, whichever it is.
#[derive(Debug)]
pub(super) enum Ordered {
    Tendermint(Effects<Tendermint>),
    Pbft(Effects<Pbft>),
    Raft(Effects<Raft>),
}

/// Asks whichever machine it is.
macro_rules! whichever {
    ($machine:expr, $one:ident => $answer:expr) => {
        match $machine {
            Machine::Tendermint($one) => $answer,
            Machine::Pbft($one) => $answer,
            Machine::Raft($one) => $answer,
        }
    };
}

impl Machine {
    /// Takes up a height.
    pub(super) fn recover(
        algorithm: Algorithm,
        now: Now,
        start: Start,
        records: &[JournalRecord],
    ) -> (Machine, Ordered) {
        match algorithm {
            Algorithm::Tendermint => {
                let mut effects = Vec::new();
                let machine = Tendermint::recover(now, start, records, &mut effects);
                (Machine::Tendermint(Box::new(machine)), Ordered::Tendermint(effects))
            }
            Algorithm::Pbft => {
                let mut effects = Vec::new();
                let machine = Pbft::recover(now, start, records, &mut effects);
                (Machine::Pbft(Box::new(machine)), Ordered::Pbft(effects))
            }
            Algorithm::Raft => {
                let mut effects = Vec::new();
                let machine = Raft::recover(now, start, records, &mut effects);
                (Machine::Raft(Box::new(machine)), Ordered::Raft(effects))
            }
        }
    }

    /// Takes a fact that nobody said.
    pub(super) fn told(&mut self, now: Now, input: Input<std::convert::Infallible>) -> (Reaction, Ordered) {
        match self {
            Machine::Tendermint(machine) => stepped(machine.as_mut(), now, input.widen(), Ordered::Tendermint),
            Machine::Pbft(machine) => stepped(machine.as_mut(), now, input.widen(), Ordered::Pbft),
            Machine::Raft(machine) => stepped(machine.as_mut(), now, input.widen(), Ordered::Raft),
        }
    }

    /// Takes what a validator said through gossip; only Tendermint's do.
    pub(super) fn heard(&mut self, now: Now, input: Input<Message>) -> (Reaction, Ordered) {
        match self {
            Machine::Tendermint(machine) => stepped(machine.as_mut(), now, input, Ordered::Tendermint),
            Machine::Pbft(_) | Machine::Raft(_) => {
                (Reaction::PeerFault("spoke Tendermint on a chain of another protocol"), Ordered::nothing())
            }
        }
    }

    /// Takes what a replica said directly; Tendermint's do not.
    pub(super) fn heard_direct(&mut self, now: Now, input: Input<Direct>) -> (Reaction, Ordered) {
        match self {
            Machine::Pbft(machine) => stepped(machine.as_mut(), now, input, Ordered::Pbft),
            Machine::Raft(machine) => stepped(machine.as_mut(), now, input, Ordered::Raft),
            Machine::Tendermint(_) => {
                (Reaction::PeerFault("spoke another protocol on a Tendermint chain"), Ordered::nothing())
            }
        }
    }

    /// Tendermint, for the gossip that speaks for it.
    pub(super) fn as_tendermint(&self) -> Option<&Tendermint> {
        match self {
            Machine::Tendermint(machine) => Some(machine),
            Machine::Pbft(_) | Machine::Raft(_) => None,
        }
    }

    /// The height being decided.
    pub(super) fn height(&self) -> Height {
        whichever!(self, machine => machine.height())
    }

    /// The round, view or term it is in.
    pub(super) fn round(&self) -> Round {
        whichever!(self, machine => machine.round())
    }

    /// How much it keeps of what others say.
    pub(super) fn sizes(&self) -> Sizes {
        whichever!(self, machine => machine.sizes())
    }

    /// Where it stands. Copies the votes.
    pub(super) fn view(&self) -> View {
        whichever!(self, machine => machine.view())
    }
}

impl Ordered {
    fn nothing() -> Ordered {
        Ordered::Tendermint(Vec::new())
    }

    /// True when nothing was ordered.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Ordered::Tendermint(effects) => effects.is_empty(),
            Ordered::Pbft(effects) => effects.is_empty(),
            Ordered::Raft(effects) => effects.is_empty(),
        }
    }
}

fn stepped<P: Protocol>(
    machine: &mut P,
    now: Now,
    input: Input<P::Message>,
    ordered: impl FnOnce(Effects<P>) -> Ordered,
) -> (Reaction, Ordered) {
    let mut effects = Vec::new();
    let reaction = machine.step(now, input, &mut effects);
    (reaction, ordered(effects))
}

/// How a protocol's messages leave.
pub(super) trait Spoken {
    /// The message for a peer; none where gossip gives each peer what it lacks, ours like anybody's.
    fn for_peers(self, algorithm: Algorithm) -> Option<PeerMessage>;
}

impl Spoken for Message {
    fn for_peers(self, _: Algorithm) -> Option<PeerMessage> {
        None
    }
}

impl Spoken for Direct {
    fn for_peers(self, algorithm: Algorithm) -> Option<PeerMessage> {
        Some(PeerMessage::Direct(algorithm, DirectMessage::from(self)))
    }
}
