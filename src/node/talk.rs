//! What the driver says to peers, and who they are.

use super::fetch;
use super::parts::{Life, Parts};
use super::traffic::Traffic;
use crate::consensus::Tick;
use crate::executor::{Owed, Place, Seen};
use crate::p2p::{Fault, Network, NotSent};
use crate::replica::{Input, Waker, Whose};
use crate::sync::{CommitCheck, SyncInput};
use crate::types::{BlocksyncMessage, ChainId, ConsensusMessage, NodeId, PeerMessage};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// The driver's end of all connections.
pub(super) struct Talk {
    network: Option<Network>,
    peers: BTreeSet<NodeId>,
    /// Whose signatures count now, for the inbox.
    signers: watch::Sender<Option<Whose>>,
    /// Who owes us blocks, for the inbox.
    owed: Arc<Owed>,
    /// Votes heard before, for the inbox.
    seen: Arc<Seen>,
    /// Who wants to be woken when.
    wakers: BTreeMap<Waker, Tick>,
    traffic: Arc<Traffic>,
}

impl Talk {
    pub(super) fn new(
        network: Option<Network>,
        signers: watch::Sender<Option<Whose>>,
        (owed, seen): (Arc<Owed>, Arc<Seen>),
        traffic: Arc<Traffic>,
    ) -> Talk {
        Talk { network, peers: BTreeSet::new(), signers, owed, seen, wakers: BTreeMap::new(), traffic }
    }

    pub(super) fn hear_again(&self, place: Place) {
        self.seen.hear_again(place);
    }

    pub(super) fn joined(&mut self, peer: NodeId) {
        self.peers.insert(peer);
    }

    pub(super) fn left(&mut self, peer: &NodeId) {
        self.peers.remove(peer);
    }

    /// What cannot be sent is lost with the connection, except that a full queue means that our accounts are wrong or
    /// the peer does not read: it is dropped, so that no account waits for ever.
    pub(super) fn tell(&self, peer: NodeId, message: &PeerMessage) {
        let asks = matches!(message, PeerMessage::Blocksync(BlocksyncMessage::BlockRequest(_)));
        if asks {
            self.owed.asked(peer); // before it can answer
        }
        if !self.send(peer, message, message.encode()) && asks {
            self.owed.answered(peer);
        }
    }

    /// Encodes once.
    pub(super) fn tell_each(&self, peers: &[NodeId], message: &PeerMessage) {
        let encoded = message.encode();
        for peer in peers {
            self.send(*peer, message, encoded.clone());
        }
    }

    pub(super) fn tell_all(&self, message: &PeerMessage) {
        if self.peers.is_empty() {
            return;
        }
        let encoded = message.encode();
        for peer in &self.peers {
            self.send(*peer, message, encoded.clone());
        }
    }

    /// False when it was not sent.
    fn send(&self, peer: NodeId, message: &PeerMessage, encoded: Bytes) -> bool {
        let Some(network) = &self.network else { return false };
        let (channel, bytes) = (message.channel(), encoded.len() as u64);
        about_to_tell(message);
        match network.send(peer, channel, encoded) {
            Ok(()) => {
                self.traffic.queued(&peer, message, bytes);
                has_told(message);
                true
            }
            Err(NotSent::Gone | NotSent::NotSpoken) => false,
            Err(error @ (NotSent::Full | NotSent::TooLarge { .. })) => {
                network.drop_peer(peer, Fault(format!("cannot be told anything on channel {channel:?}: {error}")));
                false
            }
        }
    }

    pub(super) fn drop_peer(&self, peer: NodeId, why: String) {
        tracing::warn!(%peer, why, "peer dropped");
        if let Some(network) = &self.network {
            network.drop_peer(peer, Fault(why));
        }
    }

    pub(super) fn good(&self, peer: NodeId) {
        if let Some(network) = &self.network {
            network.useful(peer);
        }
    }

    pub(super) fn count_signatures_of(&self, signers: Option<Whose>) {
        self.signers.send_replace(signers);
    }

    pub(super) fn wake_at(&mut self, waker: Waker, at: Tick) {
        self.wakers.insert(waker, at);
    }

    pub(super) fn next_wake(&self) -> Option<Tick> {
        self.wakers.values().min().copied()
    }

    /// Takes those to be woken at `now`.
    pub(super) fn take_due(&mut self, now: Tick) -> Vec<Waker> {
        let due: Vec<Waker> = self.wakers.iter().filter(|(_, at)| **at <= now).map(|(waker, _)| *waker).collect();
        self.wakers.retain(|_, at| *at > now);
        due
    }
}

/// Where a crash may be wanted before a peer is told something.
fn about_to_tell(message: &PeerMessage) {
    match message {
        PeerMessage::Consensus(ConsensusMessage::Proposal(_)) => crash_point!("tell.proposal.before"),
        PeerMessage::Consensus(ConsensusMessage::BlockPart { .. }) => crash_point!("tell.part.before"),
        PeerMessage::Consensus(ConsensusMessage::Vote(_)) => crash_point!("tell.vote.before"),
        PeerMessage::Direct(..) => crash_point!("tell.direct.before"),
        PeerMessage::Txs(_) => crash_point!("tell.txs.before"),
        PeerMessage::Evidence(_) => crash_point!("tell.evidence.before"),
        PeerMessage::Blocksync(_) => crash_point!("tell.request.before"),
        // What says only where we stand.
        PeerMessage::Consensus(_) => {}
    }
}

/// The same when the message is in its queue.
fn has_told(message: &PeerMessage) {
    match message {
        PeerMessage::Consensus(ConsensusMessage::Proposal(_)) => crash_point!("tell.proposal.after"),
        PeerMessage::Consensus(ConsensusMessage::BlockPart { .. }) => crash_point!("tell.part.after"),
        PeerMessage::Consensus(ConsensusMessage::Vote(_)) => crash_point!("tell.vote.after"),
        PeerMessage::Direct(..) => crash_point!("tell.direct.after"),
        PeerMessage::Txs(_) => crash_point!("tell.txs.after"),
        PeerMessage::Evidence(_) => crash_point!("tell.evidence.after"),
        PeerMessage::Blocksync(_) => crash_point!("tell.request.after"),
        PeerMessage::Consensus(_) => {}
    }
}

/// Checks commits on other threads; the answer comes back as a fact.
pub(super) fn verify_beside(
    chain_id: ChainId,
    ticket: u64,
    checks: Vec<CommitCheck>,
    answer: mpsc::Sender<super::driver::Fact>,
    parts: &Parts,
) {
    parts.spawn("checking fetched blocks", Life::UntilDone, async move {
        let outcomes = fetch::verify(chain_id, checks).await;
        let input = Input::Sync(SyncInput::Verified { ticket, outcomes });
        // An error means that the node is stopping.
        let _ = answer.send(super::driver::Fact::Worked(input)).await;
    });
}
