//! Watches what is sent: never twice the same to a peer that has it, never more than the accounts allow.

use crate::gossip::{DATA_BYTES_MAX, VOTE_BYTES_MAX, VOTE_SET_BITS_BYTES_MAX};
use crate::types::{Channel, ConsensusMessage, Height, PartSetHeader, Round, VoteKind};
use std::collections::{BTreeMap, BTreeSet};

/// A vote or a part.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Vote(Height, Round, VoteKind, u32, Vec<u8>),
    Part(Height, PartSetHeader, u32),
    HasVote(Height, Round, VoteKind, u32),
}

#[derive(Debug, Default)]
pub(super) struct Watch {
    /// What went over each link, and was not taken back by the receiver.
    sent: BTreeMap<(usize, usize), BTreeSet<Thing>>,
    /// What the sender heard that the receiver has.
    has: BTreeMap<(usize, usize), BTreeSet<Thing>>,
    unwritten: BTreeMap<(usize, usize, u8), u64>,
    /// A node whose word is worth nothing.
    pub(super) liar: Option<usize>,
    complaints: Vec<String>,
    pub(super) votes: usize,
    pub(super) parts: usize,
}

impl Watch {
    pub(super) fn joined(&mut self, a: usize, b: usize) {
        for pair in [(a, b), (b, a)] {
            self.sent.remove(&pair);
            self.has.remove(&pair);
            self.unwritten.retain(|(from, to, _), _| (*from, *to) != pair);
        }
    }

    /// `from` gives `to` a message.
    pub(super) fn sent(&mut self, from: usize, to: usize, message: &ConsensusMessage, bytes: u64) {
        self.book(from, to, message.channel(), bytes);
        let Some(thing) = thing(message).filter(|_| self.liar != Some(to)) else { return };
        match thing {
            Thing::Vote(..) => self.votes += 1,
            _ => self.parts += 1,
        }
        if self.has.entry((from, to)).or_default().contains(&thing) {
            self.complaints.push(format!("{from} gives {to} what it said it has: {thing:?}"));
        }
        if let Thing::Vote(height, round, kind, index, _) = thing
            && self.has[&(from, to)].contains(&Thing::HasVote(height, round, kind, index))
        {
            self.complaints.push(format!("{from} gives {to} a vote it said it has: {thing:?}"));
        }
        if !self.sent.entry((from, to)).or_default().insert(thing.clone()) {
            self.complaints.push(format!("{from} gives {to} twice: {thing:?}"));
        }
    }

    /// `to` hears a message of `from`.
    pub(super) fn heard(&mut self, from: usize, to: usize, message: &ConsensusMessage) {
        let has = self.has.entry((to, from)).or_default();
        match message {
            ConsensusMessage::HasVote { height, round, kind, index } => {
                has.insert(Thing::HasVote(*height, *round, *kind, *index));
            }
            // It may take back what it seemed to have, and needs it again: this once.
            ConsensusMessage::NewRoundStep(_)
            | ConsensusMessage::NewValidBlock { .. }
            | ConsensusMessage::VoteSetBits { .. } => {
                has.clear();
                self.sent.remove(&(to, from));
            }
            other => has.extend(thing(other)),
        }
    }

    pub(super) fn written(&mut self, from: usize, to: usize, channel: Channel, bytes: u64) {
        *self.unwritten.entry((from, to, channel as u8)).or_default() -= bytes;
    }

    pub(super) fn check(&self) {
        assert!(self.complaints.is_empty(), "{} complaints:\n{}", self.complaints.len(), self.complaints.join("\n"));
    }

    fn book(&mut self, from: usize, to: usize, channel: Channel, bytes: u64) {
        let max = match channel {
            Channel::Data => DATA_BYTES_MAX,
            Channel::Vote => VOTE_BYTES_MAX,
            Channel::VoteSetBits => VOTE_SET_BITS_BYTES_MAX,
            _ => u64::MAX,
        };
        let unwritten = self.unwritten.entry((from, to, channel as u8)).or_default();
        let empty = *unwritten == 0;
        *unwritten += bytes;
        if !empty && *unwritten > max {
            self.complaints.push(format!("{unwritten} bytes for {to} wait at {from} on {channel:?}"));
        }
    }
}

fn thing(message: &ConsensusMessage) -> Option<Thing> {
    match message {
        ConsensusMessage::Vote(vote) => {
            let signature = vote.signature.as_bytes().to_vec();
            Some(Thing::Vote(vote.height, vote.round, vote.kind, vote.validator_index, signature))
        }
        ConsensusMessage::BlockPart { height, part, .. } => {
            let hash = part.proof.root().expect("an honest part has a proof");
            Some(Thing::Part(*height, PartSetHeader { total: part.proof.total as u32, hash }, part.index))
        }
        _ => None,
    }
}
