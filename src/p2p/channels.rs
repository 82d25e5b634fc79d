//! The channels of a connection: who goes first, how much a message may have, how much may wait (reference §5.4).

use crate::types::Channel;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// What one channel is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChannelLimits {
    /// Which.
    pub(super) channel: Channel,
    /// Its share of the link when several have something to send, as in CometBFT.
    pub(super) priority: u32,
    /// Bytes of a message we take and send, as in CometBFT: a larger one ends the connection.
    pub(super) message_bytes_max: usize,
    /// Messages that may wait to be sent. CometBFT has fewer, because its routines wait for room; ours are told.
    pub(super) queue_messages_max: usize,
    /// Bytes that may wait to be sent. A message alone in its queue may be larger.
    pub(super) queue_bytes_max: usize,
}

/// Bytes that the large unfinished messages of all peers together may take. A block is at most 100 MiB.
const UNFINISHED_ALL_PEERS: usize = 256 * MIB;

/// The channels this node speaks on, and the memory all its connections share. Cheap to clone: one is made for a
/// network, each connection gets a clone.
#[derive(Debug, Clone)]
pub struct ChannelTable {
    limits: Arc<[ChannelLimits]>,
    budget: Arc<UnfinishedBudget>,
}

/// Memory for unfinished messages, shared by all connections.
#[derive(Debug)]
pub(super) struct UnfinishedBudget {
    left: AtomicUsize,
}

impl UnfinishedBudget {
    fn new(bytes: usize) -> UnfinishedBudget {
        UnfinishedBudget { left: AtomicUsize::new(bytes) }
    }

    /// Takes bytes out; the error says how many are out already.
    pub(super) fn take(&self, bytes: usize) -> Result<(), usize> {
        let taken = self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        taken.map(|_| ()).map_err(|left| UNFINISHED_ALL_PEERS.saturating_sub(left))
    }

    /// Puts bytes back.
    pub(super) fn give_back(&self, bytes: usize) {
        self.left.fetch_add(bytes, Relaxed);
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> usize {
        self.left.load(Relaxed)
    }
}

/// Messages of transactions given to a connection and not written yet: `mempool::gossip::BATCHES_IN_FLIGHT`.
const MEMPOOL_MESSAGES_AT_A_TIME: usize = 2;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Bytes of messages that CometBFT bounds by `maxMsgSize` of consensus and evidence.
const CONSENSUS_MESSAGE_MAX: usize = MIB;

impl ChannelTable {
    /// The table of the channels a node lists in its node info. `max_tx_bytes` is the mempool's: its channel takes a
    /// message of one such transaction, so it must be the same on all nodes of a chain.
    pub fn new(speaks: &[Channel], max_tx_bytes: u64) -> ChannelTable {
        ChannelTable {
            limits: speaks.iter().map(|channel| limits(*channel, max_tx_bytes)).collect(),
            budget: Arc::new(UnfinishedBudget::new(UNFINISHED_ALL_PEERS)),
        }
    }

    pub(super) fn budget(&self) -> Arc<UnfinishedBudget> {
        self.budget.clone()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &ChannelLimits> {
        self.limits.iter()
    }
}

fn limits(channel: Channel, max_tx_bytes: u64) -> ChannelLimits {
    let one_tx = one_tx_message(max_tx_bytes);
    let (priority, message_bytes_max, queue_messages_max, queue_bytes_max) = match channel {
        Channel::Pex => (1, 64_000, 10, 128 * KIB),
        Channel::State => (6, CONSENSUS_MESSAGE_MAX, 8192, MIB),
        Channel::Data => (10, CONSENSUS_MESSAGE_MAX, 8192, 4 * MIB),
        Channel::Vote => (7, CONSENSUS_MESSAGE_MAX, 8192, 2 * MIB),
        Channel::VoteSetBits => (1, CONSENSUS_MESSAGE_MAX, 64, 256 * KIB),
        // Room for the two largest messages that gossip gives at a time: it is told when they are written, and a peer
        // whose queue is full is dropped.
        Channel::Mempool => (5, one_tx, 1024, one_tx.saturating_mul(MEMPOOL_MESSAGES_AT_A_TIME)),
        Channel::Evidence => (6, CONSENSUS_MESSAGE_MAX, 64, 2 * MIB),
        // A block of 100 MiB and what is around it (blocksync.MaxMsgSize).
        Channel::Blocksync => (5, 104_857_605, 1000, 4 * MIB),
        Channel::Snapshot => (5, 4_000_000, 64, 4 * MIB),
        Channel::Chunk => (3, 16_000_000, 10, 4 * MIB),
        // A NEW-VIEW carries a quorum of VIEW-CHANGEs, each with two certificates of a quorum.
        Channel::PbftControl => (8, 16 * MIB, 8192, 16 * MIB),
        Channel::RaftControl => (8, CONSENSUS_MESSAGE_MAX, 8192, 4 * MIB),
        // The largest block, once: under PBFT a peer is sent the next one when it has said that it has decided this one. Under
        // Raft two decided ones go together, but what is kept for that has 32 MiB, or is one block.
        Channel::PbftData | Channel::RaftData => (10, CONSENSUS_MESSAGE_MAX, 8192, 128 * MIB),
    };
    ChannelLimits { channel, priority, message_bytes_max, queue_messages_max, queue_bytes_max }
}

/// Bytes of `Message{Txs{txs: [one of the largest transactions]}}`: three tags with their lengths.
fn one_tx_message(max_tx_bytes: u64) -> usize {
    let sized = |len: u64| len.saturating_add(1 + u64::from((64 - (len | 1).leading_zeros()).div_ceil(7)));
    usize::try_from(sized(sized(max_tx_bytes))).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PeerMessage;

    #[test]
    fn the_mempool_takes_exactly_a_message_of_the_largest_transaction() {
        for bytes in [1, 100, 127, 128, 16_383, 16_384, 1 << 20] {
            let table = ChannelTable::new(&[Channel::Mempool], bytes);
            let message = PeerMessage::Txs(vec![vec![7; bytes as usize].into()]).encode();
            assert_eq!(table.iter().next().expect("one").message_bytes_max, message.len(), "{bytes}");
            assert_eq!(table.iter().next().expect("one").queue_bytes_max, 2 * message.len(), "two of them may wait");
        }
    }
}
