//! Clients: they send numbered transactions to nodes until each is in a block, and read.

use super::app::padded_tx;
use super::electorate::{power_tx, upheaval_tx};
use crate::consensus::{ReadTicket, Tick};
use crate::sim::{Dice, NodeNr, Upheaval, tx_number};
use crate::types::{Height, Tx};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a client waits before it tries another node.
const PATIENCE: Duration = Duration::from_secs(4);

/// All clients together.
#[derive(Debug)]
pub(super) struct Clients {
    dice: Dice,
    /// Transactions so far.
    sent: u64,
    reads: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// Where each transaction stands that a node decided, acknowledged or not.
    committed: BTreeMap<u64, Height>,
    /// Reads that wait for an answer.
    reading: BTreeMap<ReadTicket, NodeNr>,
}

#[derive(Debug)]
struct Waiting {
    bytes: Bytes,
    at: NodeNr,
    since: Tick,
}

impl Clients {
    pub(super) fn new(dice: Dice) -> Clients {
        Clients {
            dice,
            sent: 0,
            reads: 0,
            waiting: BTreeMap::new(),
            committed: BTreeMap::new(),
            reading: BTreeMap::new(),
        }
    }

    /// True when every transaction is acknowledged.
    pub(super) fn are_content(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Transactions not acknowledged.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (u64, NodeNr)> + '_ {
        self.waiting.iter().map(|(number, waiting)| (*number, waiting.at))
    }

    /// A new transaction for one of these nodes.
    pub(super) fn send(&mut self, now: Tick, nodes: &[NodeNr], what: Load) -> Option<(u64, NodeNr, Bytes)> {
        let at = *self.dice.pick(nodes)?;
        self.sent += 1;
        let number = self.sent;
        let bytes = match what {
            Load::Padding { most } => padded_tx(number, self.dice.below(most + 1) as usize),
            Load::Power { node, power } => power_tx(number, node.0, power),
            Load::Upheaval(upheaval) => upheaval_tx(number, upheaval),
        };
        self.waiting.insert(number, Waiting { bytes: bytes.clone(), at, since: now });
        Some((number, at, bytes))
    }

    /// What becomes of transactions that waited too long: each client looks at another of these nodes.
    pub(super) fn ask_again(&mut self, now: Tick, nodes: &[(NodeNr, Height)]) -> Vec<Again> {
        let mut again = Vec::new();
        for (number, waiting) in &mut self.waiting {
            if now.since(waiting.since) < PATIENCE {
                continue;
            }
            let Some((at, applied)) = self.dice.pick(nodes) else { break };
            (waiting.at, waiting.since) = (*at, now);
            again.push(match self.committed.get(number) {
                Some(height) if height <= applied => Again::Found { tx: *number, node: *at, height: *height },
                _ => Again::Send { tx: *number, node: *at, bytes: waiting.bytes.clone() },
            });
        }
        for one in &again {
            if let Again::Found { tx, .. } = one {
                self.waiting.remove(tx);
            }
        }
        again
    }

    /// A node decided a block with these transactions. Nobody is told; whoever looks finds them, once it is executed.
    pub(super) fn decided(&mut self, height: Height, txs: &[Tx]) {
        let numbers = txs.iter().filter_map(|tx| tx_number(tx.bytes()));
        self.committed.extend(numbers.map(|number| (number, height)));
    }

    /// A node published a block with these transactions. Those whose clients wait there, which are told.
    pub(super) fn published(&mut self, node: NodeNr, txs: &[Tx]) -> Vec<u64> {
        let waits_there = |number: &u64| self.waiting.get(number).is_some_and(|waiting| waiting.at == node);
        let numbers = txs.iter().filter_map(|tx| tx_number(tx.bytes()));
        let told: Vec<u64> = numbers.filter(waits_there).collect();
        for number in &told {
            self.waiting.remove(number);
        }
        told
    }

    /// A read for one of these nodes.
    pub(super) fn read(&mut self, nodes: &[NodeNr]) -> Option<(ReadTicket, NodeNr)> {
        let at = *self.dice.pick(nodes)?;
        self.reads += 1;
        let ticket = ReadTicket(self.reads);
        self.reading.insert(ticket, at);
        Some((ticket, at))
    }

    /// A read was answered. The height, if it was.
    pub(super) fn read_answered(&mut self, ticket: ReadTicket, outcome: Result<Height, String>) -> Option<Height> {
        self.reading.remove(&ticket)?;
        outcome.ok()
    }
}

/// What a transaction carries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Load {
    /// Padding.
    Padding {
        /// At most so many bytes.
        most: u64,
    },
    /// Another power for a validator.
    Power {
        /// Whose.
        node: NodeNr,
        /// Which.
        power: u64,
    },
    /// An extreme change of all powers.
    Upheaval(Upheaval),
}

/// What a client does that waited too long.
#[derive(Debug)]
pub(super) enum Again {
    /// It finds its transaction in a block.
    Found { tx: u64, node: NodeNr, height: Height },
    /// It sends it again.
    Send { tx: u64, node: NodeNr, bytes: Bytes },
}
