//! What one step gives to whom: each message once, with all who get it, so that it is measured and encoded once.

use super::GossipEffect;
use super::account::Account;
use super::peer::VoteKey;
use crate::types::{Channel, ConsensusMessage, Height, NodeId, PartSetHeader, Round};
use std::collections::BTreeMap;

/// Which message. Ordered as a peer must get them: the proposal before its parts, which mean nothing without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    Proposal(Height, Round),
    ProposalPol(Height, Round),
    /// The round is the one told along with the part.
    Part(PartSetHeader, u32, Round),
    Vote(VoteKey),
}

#[derive(Debug)]
struct Planned {
    message: ConsensusMessage,
    bytes: u64,
    /// Ascending: peers are looked at in this order.
    to: Vec<NodeId>,
}

impl Item {
    fn channel(&self) -> Channel {
        match self {
            Item::Proposal(..) | Item::ProposalPol(..) | Item::Part(..) => Channel::Data,
            Item::Vote(_) => Channel::Vote,
        }
    }
}

/// The messages of one step.
#[derive(Debug, Default)]
pub(super) struct Plan {
    items: BTreeMap<Item, Planned>,
}

impl Plan {
    /// Gives an item to a peer if its account has room.
    pub(super) fn give(
        &mut self,
        peer: NodeId,
        account: &mut Account,
        item: Item,
        message: impl FnOnce() -> ConsensusMessage,
    ) -> bool {
        if account.is_full(item.channel()) {
            return false;
        }
        let planned = self.items.entry(item).or_insert_with(|| {
            let message = message();
            Planned { bytes: message.encode().len() as u64, message, to: Vec::new() }
        });
        if planned.to.last() == Some(&peer) {
            return true;
        }
        let taken = account.take(item.channel(), planned.bytes);
        if taken {
            planned.to.push(peer);
        }
        taken
    }

    /// True when the peer gets the item in this step.
    pub(super) fn gives(&self, peer: &NodeId, item: &Item) -> bool {
        self.items.get(item).is_some_and(|planned| planned.to.binary_search(peer).is_ok())
    }

    /// Orders everything.
    pub(super) fn order(self, out: &mut Vec<GossipEffect>) {
        for planned in self.items.into_values() {
            say(planned.to, planned.message, out);
        }
    }
}

/// Orders a message for these peers, if there are any.
pub(super) fn say(to: Vec<NodeId>, message: ConsensusMessage, out: &mut Vec<GossipEffect>) {
    match to.as_slice() {
        [] => {}
        [peer] => out.push(GossipEffect::Send(*peer, message)),
        _ => out.push(GossipEffect::SendAll(to, message)),
    }
}
