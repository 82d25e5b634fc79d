//! How each protocol is watched: where its machine stands, what its messages are, and which of them reach it.
//!
//! A machine is only told what its replica would hand on: the same sorting by height as `gossip::hear` and
//! `gossip::hear_direct` do, without their signatures.

use super::chain::State;
use super::verify::{Gate, Judge, Refused};
use crate::consensus::pbft::Pbft;
use crate::consensus::raft::Raft;
use crate::consensus::tendermint::{Message, Tendermint};
use crate::consensus::{Decision, Direct, Protocol, Sizes};
use crate::crypto::Verified;
use crate::sim::Word;
use crate::types::{
    Address, Algorithm, ChainId, DirectMessage, Height, JournalMessage, JournalRecord, PartSetHeader, PbftStatement,
    Round, Statement, StatementBody,
};
use std::fmt::Debug;

/// The proposer of a round that nobody is in.
const NOBODY: Address = Address::new([0; Address::LEN]);

/// How words get around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spread {
    /// The machine says to whom; it repeats what matters itself.
    Direct,
    /// Everybody hands on what others lack, until they have it.
    Gossip,
}

/// What a word is to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Regard {
    Had,
    Lacking,
    /// It has no place for it now.
    Unwanted,
}

/// What a node makes of a word before its machine sees it.
#[derive(Debug)]
pub(super) enum Sorted<M> {
    /// It is for the machine.
    Said(M),
    /// It speaks of a height whose validators are not known here.
    Beyond(Height),
    /// It is of no use here.
    Useless,
}

/// A machine that can be watched.
pub(super) trait Watched: Protocol<Message: Debug, Record = JournalRecord> + Debug {
    const SPREAD: Spread;

    /// The height being decided.
    fn height(&self) -> Height;
    /// Its round, term or view.
    fn round(&self) -> Round;
    /// How much it keeps of what others say.
    fn sizes(&self) -> Sizes;
    /// The word in a message.
    fn word(message: &Self::Message) -> Word<'_>;
    /// What a node at this place makes of it, its signatures taken as good.
    fn sort(&self, state: &State, message: Self::Message) -> Sorted<Self::Message>;
    /// A message as the word a liar bends.
    fn spoken(&self, message: Self::Message) -> DirectMessage;
    /// A word as the message it is; none where the protocol has none like it. Nobody checked its signatures.
    fn said(word: DirectMessage) -> Option<Self::Message>;
    /// Checks the form and the signatures of a liar's word.
    fn judge(&self, gate: Gate, chain: &ChainId, state: &State, message: &Self::Message) -> Result<(), Refused>;
    /// The message in a journal entry, where gossip hands it on.
    fn journaled(message: &JournalMessage) -> Option<Self::Message>;
    /// Whether it has a word already, and whether it would take it, where gossip hands it on.
    fn regards(&self, message: &Self::Message) -> Regard;
    /// A decided block as words for those behind, where gossip hands it on.
    fn decided(decision: &Decision) -> Vec<Self::Message>;
}

impl Watched for Tendermint {
    const SPREAD: Spread = Spread::Gossip;

    fn height(&self) -> Height {
        self.height()
    }

    fn round(&self) -> Round {
        self.round()
    }

    fn sizes(&self) -> Sizes {
        self.sizes()
    }

    fn word(message: &Message) -> Word<'_> {
        match message {
            Message::Proposal(proposal) => Word::Proposal { by: None, proposal: proposal.get() },
            Message::Part { height, round, part } => Word::Part { height: *height, round: *round, part },
            Message::Vote(vote) => Word::Vote(vote.get()),
        }
    }

    fn sort(&self, _: &State, message: Message) -> Sorted<Message> {
        let ours = self.height();
        let (height, fits) = match &message {
            Message::Proposal(proposal) => (proposal.height, self.proposer(proposal.round).is_some()),
            Message::Part { height, .. } => (*height, true),
            Message::Vote(vote) => {
                let known = vote.height == ours || vote.height.next() == ours;
                (if known { ours } else { vote.height }, known)
            }
        };
        if height == ours && fits { Sorted::Said(message) } else { Sorted::Useless }
    }

    fn spoken(&self, message: Message) -> DirectMessage {
        match message {
            Message::Proposal(proposal) => {
                let by = self.proposer(proposal.round).map_or(NOBODY, |proposer| proposer.address);
                DirectMessage::Proposal { by, proposal: proposal.into_inner() }
            }
            Message::Part { height, round, part } => DirectMessage::Part { height, round, part },
            Message::Vote(vote) => DirectMessage::Vote(vote.into_inner()),
        }
    }

    fn said(word: DirectMessage) -> Option<Message> {
        Some(match word {
            DirectMessage::Proposal { proposal, .. } => Message::Proposal(Verified::trusted(proposal)),
            DirectMessage::Part { height, round, part } => Message::Part { height, round, part },
            DirectMessage::Vote(vote) => Message::Vote(Verified::trusted(vote)),
            DirectMessage::Statement(_) | DirectMessage::Commit(_) => return None,
        })
    }

    fn judge(&self, gate: Gate, chain: &ChainId, state: &State, message: &Message) -> Result<(), Refused> {
        let judge = Judge { gate, chain, algorithm: Algorithm::Tendermint, ours: self.height(), state };
        let word = self.spoken(message.clone());
        let proposer = match &word {
            DirectMessage::Proposal { proposal, .. } => self.proposer(proposal.round).map(|proposer| proposer.address),
            _ => None,
        };
        judge.gossip(proposer, &word)
    }

    fn journaled(message: &JournalMessage) -> Option<Message> {
        Some(match message.clone() {
            JournalMessage::Proposal(proposal) => Message::Proposal(Verified::trusted(proposal)),
            JournalMessage::Part { height, round, part } => Message::Part { height, round, part },
            JournalMessage::Vote(vote) => Message::Vote(Verified::trusted(vote)),
        })
    }

    fn regards(&self, message: &Message) -> Regard {
        let regard = |had: bool| if had { Regard::Had } else { Regard::Lacking };
        match message {
            Message::Proposal(proposal) => {
                let near = proposal.round == self.round() || proposal.round == self.round().next();
                if near { regard(self.proposal_of(proposal.round).is_some()) } else { Regard::Unwanted }
            }
            Message::Part { part, .. } => {
                let (Ok(hash), Ok(total)) = (part.proof.root(), u32::try_from(part.proof.total)) else {
                    return Regard::Unwanted;
                };
                let gathered = self.parts(&PartSetHeader { total, hash });
                gathered.map_or(Regard::Unwanted, |parts| regard(parts.part(part.index).is_some()))
            }
            Message::Vote(vote) => {
                let votes = self.tally().set(vote.round, vote.kind);
                regard(votes.is_some_and(|set| set.vote_for(vote.validator_index, vote.block_id.as_ref()).is_some()))
            }
        }
    }

    fn decided(decision: &Decision) -> Vec<Message> {
        super::gossip::decided(decision)
    }
}

/// What Raft and PBFT have in common.
macro_rules! direct {
    ($machine:ty, $algorithm:expr) => {
        impl Watched for $machine {
            const SPREAD: Spread = Spread::Direct;

            fn height(&self) -> Height {
                self.height()
            }

            fn round(&self) -> Round {
                self.round()
            }

            fn sizes(&self) -> Sizes {
                self.sizes()
            }

            fn word(message: &Direct) -> Word<'_> {
                word(message)
            }

            fn sort(&self, state: &State, message: Direct) -> Sorted<Direct> {
                sort(self.height(), state, message)
            }

            fn spoken(&self, message: Direct) -> DirectMessage {
                message.into()
            }

            fn said(word: DirectMessage) -> Option<Direct> {
                Some(said(word))
            }

            fn judge(&self, gate: Gate, chain: &ChainId, state: &State, message: &Direct) -> Result<(), Refused> {
                let judge = Judge { gate, chain, algorithm: $algorithm, ours: self.height(), state };
                judge.direct(&message.clone().into())
            }

            fn journaled(_: &JournalMessage) -> Option<Direct> {
                None
            }

            fn regards(&self, _: &Direct) -> Regard {
                Regard::Unwanted
            }

            fn decided(_: &Decision) -> Vec<Direct> {
                Vec::new()
            }
        }
    };
}

direct!(Raft, Algorithm::Raft);
direct!(Pbft, Algorithm::Pbft);

fn word(message: &Direct) -> Word<'_> {
    match message {
        Direct::Statement(statement) => Word::Statement(statement.get()),
        Direct::Outsider(statement) => Word::Statement(statement),
        Direct::Proposal { by, proposal } => Word::Proposal { by: Some(*by), proposal: proposal.get() },
        Direct::Part { height, round, part } => Word::Part { height: *height, round: *round, part },
        Direct::Vote(vote) => Word::Vote(vote.get()),
        Direct::Commit(commit) => Word::Commit(commit.get()),
    }
}

/// What a liar says, with signatures that `judge` looks at when it is heard.
fn said(word: DirectMessage) -> Direct {
    match word {
        DirectMessage::Statement(statement) => Direct::Statement(Verified::trusted(statement)),
        DirectMessage::Proposal { by, proposal } => Direct::Proposal { by, proposal: Verified::trusted(proposal) },
        DirectMessage::Part { height, round, part } => Direct::Part { height, round, part },
        DirectMessage::Vote(vote) => Direct::Vote(Verified::trusted(vote)),
        DirectMessage::Commit(commit) => Direct::Commit(Verified::trusted(commit)),
    }
}

/// As `gossip::hear_direct` sorts, with the same three validator sets.
fn sort(ours: Height, state: &State, message: Direct) -> Sorted<Direct> {
    let below = |height: Height| height.next() < ours || (height.next() == ours && state.last_validators.is_none());
    let beyond = |height: Height| height > ours.next();
    match message {
        Direct::Statement(statement) => sort_statement(state, statement.into_inner(), below, beyond),
        Direct::Outsider(statement) => sort_statement(state, statement, below, beyond),
        Direct::Proposal { by, proposal } => match proposal.height {
            height if beyond(height) => Sorted::Beyond(height),
            height if height < ours || !knows(state, &by) => Sorted::Useless,
            _ => Sorted::Said(Direct::Proposal { by, proposal }),
        },
        Direct::Part { height, .. } if beyond(height) => Sorted::Beyond(height),
        Direct::Part { height, .. } if height < ours => Sorted::Useless,
        Direct::Vote(vote) if beyond(vote.height) => Sorted::Beyond(vote.height),
        Direct::Vote(vote) if below(vote.height) => Sorted::Useless,
        Direct::Commit(commit) if beyond(commit.height) => Sorted::Beyond(commit.height),
        Direct::Commit(commit) if below(commit.height) => Sorted::Useless,
        message => Sorted::Said(message),
    }
}

fn sort_statement(
    state: &State,
    statement: Statement,
    below: impl Fn(Height) -> bool,
    beyond: impl Fn(Height) -> bool,
) -> Sorted<Direct> {
    if !knows(state, &statement.by) {
        return match statement.body.height() {
            Some(height) if beyond(height) => Sorted::Beyond(height),
            _ => Sorted::Said(Direct::Outsider(statement)),
        };
    }
    if let StatementBody::Pbft(body) = &statement.body {
        match &**body {
            PbftStatement::ViewChange { height, .. } | PbftStatement::NewView { height, .. } if beyond(*height) => {
                return Sorted::Beyond(*height);
            }
            PbftStatement::NewView { height, .. } if below(*height) => return Sorted::Useless,
            _ => {}
        }
    }
    Sorted::Said(Direct::Statement(Verified::trusted(statement)))
}

/// True when somebody signs at our height, the one before or the one after.
fn knows(state: &State, address: &Address) -> bool {
    let sets = [Some(&state.validators), Some(&state.next_validators), state.last_validators.as_ref()];
    sets.into_iter().flatten().any(|set| set.by_address(address).is_some())
}
