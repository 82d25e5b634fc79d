//! Clients: they give transactions to nodes, and ask for reads that must not be stale.
//!
//! What one node was given all know, as if the mempool had told them at once; it is told to the client by the node that
//! took it, if that node lives on until the block is applied.

use super::node::Arrival;
use super::protocol::Watched;
use super::world::{Event, World};
use crate::consensus::{Input, ReadMode, ReadTicket};
use crate::sim::{Dice, Misfortune, NodeNr, Plan, What, tx_bytes, tx_number};
use crate::types::{Algorithm, CandidateBlock, Height, Tx};
use std::collections::BTreeMap;
use std::time::Duration;

/// Most transactions of clients in a block.
const BLOCK_TXS_MAX: usize = 8;

/// Questions in the two election timeouts after a node lost its connections.
const HURRIED: usize = 16;

/// What clients wait for.
#[derive(Debug)]
pub(super) struct Clients {
    dice: Dice,
    /// Counts everything asked.
    asked: u64,
    /// How sure a read must be.
    reads: Option<ReadMode>,
    /// Transactions that no block has, oldest first.
    open: Vec<u64>,
    /// Transactions of which a client waits to hear, and at which node.
    told_by: BTreeMap<u64, NodeNr>,
    /// Reads that may be answered from the state after a height.
    granted: Vec<(NodeNr, ReadTicket, Height)>,
}

impl Clients {
    pub(super) fn new(plan: &Plan, mut dice: Dice) -> Clients {
        // A lease holds as long as clocks run about equally fast.
        let drift = plan.faults.iter().any(|fault| matches!(fault.what, Misfortune::ClockRate { .. }));
        let mode = if !drift && dice.chance(50) { ReadMode::Leased } else { ReadMode::Confirmed };
        Clients {
            reads: (plan.algorithm == Algorithm::Raft).then_some(mode),
            dice,
            asked: 0,
            open: Vec::new(),
            told_by: BTreeMap::new(),
            granted: Vec::new(),
        }
    }

    /// What a block may carry now.
    pub(super) fn waiting(&self, _: NodeNr) -> impl Iterator<Item = Tx> + '_ {
        self.open.iter().take(BLOCK_TXS_MAX).map(|number| Tx::new(tx_bytes(*number)))
    }

    /// A node died: its clients hear nothing from it any more.
    pub(super) fn forget(&mut self, who: NodeNr) {
        self.told_by.retain(|_, node| *node != who);
        self.granted.retain(|(node, ..)| *node != who);
    }
}

impl<P: Watched> World<P> {
    /// Clients ask while there are faults.
    pub(super) fn begin_clients(&mut self) {
        let span = Duration::from_nanos(self.plan.heal_at.0);
        if span.is_zero() {
            return;
        }
        for _ in 0..self.clients.dice.below(2 * self.plan.heights.min(50) + 2) {
            let wait = self.clients.dice.time(Duration::ZERO, span);
            self.queue.after(wait, Event::Client);
        }
    }

    /// Something happened that clients should ask about soon.
    pub(super) fn hurry_clients(&mut self) {
        for _ in 0..HURRIED {
            let wait = self.clients.dice.time(Duration::ZERO, self.plan.timeouts.election * 2);
            self.queue.after(wait, Event::Client);
        }
    }

    /// A client asks something of some node.
    pub(super) fn ask(&mut self) {
        let who = NodeNr(self.clients.dice.below(self.nodes.len() as u64) as u8);
        if self.nodes[who.index()].machine.is_none() {
            return;
        }
        self.clients.asked += 1;
        let number = self.clients.asked;
        if self.clients.reads.is_some() && self.clients.dice.chance(60) {
            self.see(who, What::ReadAsked { read: number });
            self.arrive(who, Arrival::Read(number));
        } else {
            self.see(who, What::Submitted { tx: number });
            self.clients.open.push(number);
            self.clients.told_by.insert(number, who);
        }
    }

    /// The machine is asked for a read.
    pub(super) fn read(&mut self, who: NodeNr, number: u64) {
        let Some(mode) = self.clients.reads else { return };
        self.step(who, Input::Read { ticket: ReadTicket(number), mode });
    }

    /// Whoever has applied this height may answer.
    pub(super) fn read_granted(&mut self, who: NodeNr, ticket: ReadTicket, height: Height) {
        self.clients.granted.push((who, ticket, height));
        self.answer_reads(who);
    }

    fn answer_reads(&mut self, who: NodeNr) {
        let applied = self.nodes[who.index()].state.height;
        let ready = |(node, _, height): &(NodeNr, ReadTicket, Height)| *node == who && *height <= applied;
        let answered: Vec<ReadTicket> =
            self.clients.granted.iter().filter(|read| ready(read)).map(|(_, ticket, _)| *ticket).collect();
        self.clients.granted.retain(|read| !ready(read));
        for ticket in answered {
            self.watch.count("read answered");
            self.see(who, What::ReadAnswered { read: ticket.0, height: applied });
        }
    }

    /// A block was applied: those who wait for what is in it are told.
    pub(super) fn acknowledge(&mut self, who: NodeNr, height: Height, block: &CandidateBlock) {
        for number in block.block().txs.iter().filter_map(|tx| tx_number(tx.bytes())) {
            self.clients.open.retain(|open| *open != number);
            if self.clients.told_by.get(&number) == Some(&who) {
                self.clients.told_by.remove(&number);
                self.see(who, What::Acknowledged { tx: number, height });
            }
        }
        self.answer_reads(who);
    }
}
