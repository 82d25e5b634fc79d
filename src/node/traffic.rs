//! What is counted about peers: by both ends, the inbox and the driver.

use crate::metrics::{Metrics, PeerMetrics};
use crate::types::{Channel, NodeId, PeerMessage};
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

/// The numbers of all connected peers.
pub(super) struct Traffic {
    metrics: Metrics,
    peers: RwLock<BTreeMap<NodeId, PeerMetrics>>,
}

impl Traffic {
    pub(super) fn new(metrics: Metrics) -> Traffic {
        Traffic { metrics, peers: RwLock::default() }
    }

    pub(super) fn joined(&self, peer: NodeId) {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        // The numbers of an earlier connection go first: they take their labels along.
        peers.remove(&peer);
        peers.insert(peer, self.metrics.p2p.peer(&peer));
        self.metrics.p2p.connected(peers.len() as u64);
    }

    pub(super) fn left(&self, peer: &NodeId) {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        peers.remove(peer);
        self.metrics.p2p.connected(peers.len() as u64);
    }

    pub(super) fn received(&self, peer: &NodeId, message: &PeerMessage, bytes: u64) {
        self.metrics.p2p.message_received(message, bytes);
        self.of(peer, |numbers| {
            numbers.received(message.channel(), bytes);
            if let PeerMessage::Txs(txs) = message {
                numbers.txs_received(txs.len() as u64);
            }
        });
    }

    pub(super) fn queued(&self, peer: &NodeId, message: &PeerMessage, bytes: u64) {
        self.metrics.p2p.message_sent(message, bytes);
        self.of(peer, |numbers| numbers.queued(bytes));
    }

    pub(super) fn written(&self, peer: &NodeId, channel: Channel, bytes: u64) {
        self.of(peer, |numbers| numbers.written(channel, bytes));
    }

    fn of(&self, peer: &NodeId, count: impl FnOnce(&PeerMetrics)) {
        if let Some(numbers) = self.peers.read().unwrap_or_else(PoisonError::into_inner).get(peer) {
            count(numbers);
        }
    }
}
