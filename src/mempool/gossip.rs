//! Which peer is offered which transactions, when (reference §7.1): each transaction once, in batches, not to who sent it
//! on this connection, to no peer that still fetches blocks. What was given to a peer and is not written yet is bounded;
//! the rest waits in the pool, not in a queue.
//!
//! Each transaction is offered again only when it starves (PBFT, Raft) or lingers, and then also to who sent it. A peer has a cursor
//! into the pool's order and little else: a transaction that was committed or dropped meanwhile is simply not found behind
//! it any more. While a connection is busy its cursor stands still, so under load a batch carries all that came in
//! meanwhile, and on an idle connection a transaction leaves at once.

use super::pool::Position;
use super::{Broadcast, Mempool};
use crate::types::{Height, NodeId};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// Most messages given to a peer and not written yet: one is being written, the next is ready when it is. The
/// connection must have room for this many messages of [`message_bytes_max`].
pub const BATCHES_IN_FLIGHT: usize = 2;

/// Most bytes of a message on channel 0x30: what a CometBFT peer takes is one `Txs` with one transaction of
/// `max_tx_bytes`, as that peer has it configured, so it must be the same everywhere (reference §5.4, §5.8).
pub fn message_bytes_max(max_tx_bytes: u64) -> u64 {
    framed(framed(max_tx_bytes))
}

/// Tag, length and body of a protobuf field that is bytes or a message.
fn framed(len: u64) -> u64 {
    1 + u64::from((64 - (len | 1).leading_zeros()).div_ceil(7)) + len
}

/// A fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TxGossipInput {
    /// A peer is there.
    PeerUp(NodeId),
    /// It is gone.
    PeerDown(NodeId),
    /// A peer decides this height.
    PeerAt(NodeId, Height),
    /// This many bytes given to a peer have been written.
    Written(NodeId, u64),
    /// The pool took transactions: [`Mempool::taken`] is higher than it was.
    Changed,
    /// What waits may be unknown to whoever proposes: everybody is offered all of it once more, also where
    /// [`Broadcast`] is off. Said rarely: PBFT, before it holds its transactions' waiting against the primary; a follower of
    /// Raft, whose leader proposes nothing.
    Starving,
    /// What waits was passed over for long (`replica::lingering`): everybody is offered all of it once more.
    Lingering,
}

/// Offer these to a peer.
#[derive(Debug, PartialEq, Eq)]
pub struct Offer {
    /// Whom.
    pub peer: NodeId,
    /// In order; one message.
    pub txs: Vec<Bytes>,
}

/// Bookkeeping of the mempool channel.
#[derive(Debug, Default)]
pub struct TxGossip {
    peers: BTreeMap<NodeId, Peer>,
}

/// A connection.
#[derive(Debug, Default)]
struct Peer {
    /// Behind the last transaction looked at for this peer.
    next: Position,
    /// Behind the last one it is offered although [`Broadcast`] is off.
    starving: Position,
    /// The height it decides; none while it fetches blocks.
    at: Option<Height>,
    /// Bytes of each message that is not completely written, oldest first.
    in_flight: VecDeque<u64>,
}

impl TxGossip {
    /// Nobody is there yet.
    pub fn new() -> TxGossip {
        TxGossip::default()
    }

    /// Takes one fact into account. What is to be sent is appended to `out`.
    pub fn step(&mut self, input: TxGossipInput, pool: &Mempool, out: &mut Vec<Offer>) {
        match input {
            TxGossipInput::PeerUp(id) => {
                self.peers.insert(id, Peer::default()); // a new connection begins with the first that waits
            }
            TxGossipInput::PeerDown(id) => {
                self.peers.remove(&id);
            }
            TxGossipInput::PeerAt(id, height) => self.note(id, pool, out, |peer| peer.at = Some(height)),
            TxGossipInput::Written(id, bytes) => self.note(id, pool, out, |peer| peer.written(bytes)),
            TxGossipInput::Changed => {
                for (id, peer) in &mut self.peers {
                    peer.offer(*id, pool, out);
                }
            }
            TxGossipInput::Lingering if pool.config().broadcast == Broadcast::Off => {}
            TxGossipInput::Starving | TxGossipInput::Lingering => {
                for (id, peer) in &mut self.peers {
                    (peer.next, peer.starving) = (Position::default(), pool.taken());
                    peer.offer(*id, pool, out);
                }
            }
        }
    }

    /// Notes something about a peer, and offers what it may be offered now.
    fn note(&mut self, id: NodeId, pool: &Mempool, out: &mut Vec<Offer>, change: impl FnOnce(&mut Peer)) {
        if let Some(peer) = self.peers.get_mut(&id) {
            change(peer);
            peer.offer(id, pool, out);
        }
    }
}

impl Peer {
    fn written(&mut self, mut bytes: u64) {
        while let Some(first) = self.in_flight.front_mut() {
            if *first > bytes {
                *first -= bytes;
                break;
            }
            bytes -= *first;
            self.in_flight.pop_front();
        }
    }

    fn offer(&mut self, id: NodeId, pool: &Mempool, out: &mut Vec<Offer>) {
        while self.in_flight.len() < BATCHES_IN_FLIGHT {
            let (txs, bytes) = self.next_batch(id, pool);
            if txs.is_empty() {
                break;
            }
            self.in_flight.push_back(bytes);
            out.push(Offer { peer: id, txs });
        }
    }

    /// The next transactions for this peer, and the bytes of their message. Both limits of a CometBFT peer hold: its
    /// channel's for the message, and its filter's for the transactions without framing (mempool/filter.go).
    fn next_batch(&mut self, id: NodeId, pool: &Mempool) -> (Vec<Bytes>, u64) {
        let max_tx_bytes = pool.config().max_tx_bytes;
        let (mut txs, mut plain, mut encoded) = (Vec::new(), 0, 0);
        let Some(at) = self.at else { return (txs, 0) };
        let end = match pool.config().broadcast {
            Broadcast::On => Position::MAX,
            Broadcast::Off => self.starving,
        };
        for (position, entry) in pool.from(self.next).take_while(|(position, _)| *position < end) {
            // broadcastTxRoutine: a peer may be one block behind the transaction's check. Positions and heights grow
            // together, so nothing behind this one is due either.
            // Counted down from ours: the peer may claim the highest there is, which has no next.
            if entry.height.previous().is_some_and(|before| before > at && !mutant!("M28")) {
                break;
            }
            let len = entry.tx.bytes().len() as u64;
            // Who sent it may have lost it since, and what starves may starve for that: it goes back then (bug class 149).
            let has_it = entry.senders.contains(&id) && (position >= self.starving || mutant!("M80"));
            // A peer drops whoever sends an empty transaction, though applications may accept one from a client.
            let wanted = (len > 0 || mutant!("M29")) && len <= max_tx_bytes && (!has_it || mutant!("M27"));
            if wanted {
                let (plain_then, encoded_then) = (plain + len, encoded + entry.tx.encoded_len());
                if plain_then > max_tx_bytes || framed(encoded_then) > message_bytes_max(max_tx_bytes) {
                    break;
                }
                (plain, encoded) = (plain_then, encoded_then);
                txs.push(entry.tx.bytes().clone());
            }
            self.next = position + 1;
        }
        (txs, framed(encoded))
    }
}

/// What no correct node sends: its sender is dropped. Texts are CometBFT's (mempool/filter.go).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBatch {
    /// Nothing in it.
    #[error("mempool message contains no transactions")]
    NoTransactions,
    /// An empty one: it costs the receiver more than the sender.
    #[error("mempool batch contains an empty transaction")]
    EmptyTransaction,
    /// One is too large.
    #[error("transaction size {got} exceeds max_tx_bytes {max}")]
    TransactionTooLarge {
        /// Its bytes.
        got: u64,
        /// `max_tx_bytes`.
        max: u64,
    },
    /// All together are too large.
    #[error("mempool batch exceeds {max} byte budget")]
    TooLarge {
        /// Bytes allowed.
        max: u64,
    },
}

/// Whether a peer may have sent these transactions in one message. Asked before any of them is hashed.
pub fn check_batch(txs: &[Bytes], max_tx_bytes: u64) -> Result<(), BadBatch> {
    if txs.is_empty() {
        return Err(BadBatch::NoTransactions);
    }
    let mut sum = 0u64;
    for tx in txs {
        match tx.len() as u64 {
            0 => return Err(BadBatch::EmptyTransaction),
            got if got > max_tx_bytes => return Err(BadBatch::TransactionTooLarge { got, max: max_tx_bytes }),
            len => sum = sum.saturating_add(len),
        }
    }
    if sum > max_tx_bytes && !mutant!("M97") { Err(BadBatch::TooLarge { max: max_tx_bytes }) } else { Ok(()) }
}
