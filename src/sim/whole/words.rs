//! Which word of a protocol stands in a message.

use crate::consensus::{Direct, Signed};
use crate::gossip::{Heard, HeardDirect};
use crate::replica::PeerInput;
use crate::sim::Word;
use crate::types::{Address, ConsensusMessage, DirectMessage, PeerMessage};

/// What a message says about a decision; none where it only says who has what.
pub(super) fn in_message(message: &PeerMessage) -> Option<Word<'_>> {
    match message {
        PeerMessage::Consensus(message) => in_consensus(message),
        PeerMessage::Direct(_, message) => Some(match message {
            DirectMessage::Statement(statement) => Word::Statement(statement),
            DirectMessage::Proposal { by, proposal } => Word::Proposal { by: Some(*by), proposal },
            DirectMessage::Part { height, round, part } => Word::Part { height: *height, round: *round, part },
            DirectMessage::Vote(vote) => Word::Vote(vote),
            DirectMessage::Commit(commit) => Word::Commit(commit),
        }),
        PeerMessage::Txs(_) | PeerMessage::Evidence(_) | PeerMessage::Blocksync(_) => None,
    }
}

fn in_consensus(message: &ConsensusMessage) -> Option<Word<'_>> {
    match message {
        ConsensusMessage::Proposal(proposal) => Some(Word::Proposal { by: None, proposal }),
        ConsensusMessage::BlockPart { height, round, part } => {
            Some(Word::Part { height: *height, round: *round, part })
        }
        ConsensusMessage::Vote(vote) => Some(Word::Vote(vote)),
        _ => None,
    }
}

/// What a machine is told of a peer's word, its signatures checked.
pub(super) fn in_input(input: &PeerInput) -> Option<Word<'_>> {
    match input {
        PeerInput::Heard(heard) => match &**heard {
            Heard::Said(_, message) => in_consensus(message),
            Heard::Told(_) => None,
        },
        PeerInput::HeardDirect(heard) => match &**heard {
            HeardDirect::Said(Direct::Statement(statement)) => Some(Word::Statement(statement.get())),
            HeardDirect::Said(Direct::Outsider(statement)) => Some(Word::Statement(statement)),
            HeardDirect::Said(Direct::Proposal { by, proposal }) => {
                Some(Word::Proposal { by: Some(*by), proposal: proposal.get() })
            }
            HeardDirect::Said(Direct::Part { height, round, part }) => {
                Some(Word::Part { height: *height, round: *round, part })
            }
            HeardDirect::Said(Direct::Vote(vote)) => Some(Word::Vote(vote.get())),
            HeardDirect::Said(Direct::Commit(commit)) => Some(Word::Commit(commit.get())),
            HeardDirect::Beyond(_) | HeardDirect::Useless => None,
        },
        _ => None,
    }
}

/// What the signer gave; none where it refused.
pub(super) fn in_signed(by: Option<Address>, signed: &Signed) -> Option<Word<'_>> {
    match signed {
        Signed::Vote(vote) => Some(Word::Vote(vote)),
        Signed::Proposal(proposal) => Some(Word::Proposal { by, proposal }),
        Signed::Statement(statement) => Some(Word::Statement(statement)),
        Signed::Refused { .. } => None,
    }
}
