//! Linearizable reads: consensus says how far one must be to answer, and here the question waits until we are.
//!
//! A read is answered when the application has applied everything decided before the question came (Raft §8, thesis
//! §6.4). Whoever asks it then, on a connection that stood before the question came, reads nothing old: an application
//! that went away and is caught up from the stored blocks is on another connection.

use super::{Effect, Now, Replica, Work};
use crate::consensus::{self, ReadMode, ReadTicket, Tick};
use crate::types::Height;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Reads that may wait, for a quorum or for their block.
pub const READS_WAITING_MAX: usize = 10_000;

/// How long a read may wait. Whoever asked has given up by then.
pub const READ_PATIENCE: Duration = Duration::from_secs(10);

/// Reads that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// When each was asked. Tickets count up, so the first was asked first.
    asked: BTreeMap<ReadTicket, Tick>,
    /// Those of them that wait only for this height to be applied.
    wait_for: BTreeSet<(Height, ReadTicket)>,
}

impl Reads {
    pub(super) fn ask(&mut self, ticket: ReadTicket, now: Tick) {
        self.asked.insert(ticket, now);
    }

    /// Takes those that have waited too long.
    fn take_late(&mut self, now: Tick) -> Vec<ReadTicket> {
        let mut late = Vec::new();
        let late_at = |asked: Tick| now.since(asked) >= READ_PATIENCE && !mutant!("A5");
        while let Some(first) = self.asked.first_entry().filter(|first| late_at(*first.get())) {
            late.push(first.remove_entry().0);
        }
        if !late.is_empty() {
            self.wait_for.retain(|(_, ticket)| self.asked.contains_key(ticket));
        }
        late
    }

    /// Takes those that waited for this height or a lower one.
    fn take_up_to(&mut self, height: Height) -> Vec<(Height, ReadTicket)> {
        let mut due = Vec::new();
        while let Some(first) = self.wait_for.first().copied().filter(|(needed, _)| *needed <= height || mutant!("A2"))
        {
            self.wait_for.remove(&first);
            self.asked.remove(&first.1);
            due.push(first);
        }
        due
    }
}

impl Replica {
    /// A client wants to read what was decided before now.
    pub(super) fn read(&mut self, now: Now, ticket: ReadTicket, mode: ReadMode, out: &mut Vec<Effect>) {
        let late = self.reads.take_late(now.tick);
        let why = || Err(format!("no quorum confirmed the read within {} s", READ_PATIENCE.as_secs()));
        out.extend(late.into_iter().map(|ticket| Effect::ReadAnswer { ticket, outcome: why() }));
        let refusal = if !self.pipeline.is_in_sync() && !mutant!("A3") {
            Some("the application is away, or is being caught up".to_owned())
        } else if self.consensus.is_none() {
            Some("this node fetches blocks and does not know what was decided last".to_owned())
        } else if self.reads.asked.len() >= READS_WAITING_MAX && !mutant!("A1") {
            Some(format!("{READS_WAITING_MAX} reads wait already"))
        } else {
            None
        };
        if let Some(why) = refusal {
            let why = format!("{why}: ask another node, or read with consistency=local");
            out.push(Effect::ReadAnswer { ticket, outcome: Err(why) });
            return;
        }
        self.reads.ask(ticket, now.tick);
        self.work.push_back(Work::Consensus(consensus::Input::Read { ticket, mode }));
    }

    /// Consensus says how far one must be.
    pub(super) fn read_at(&mut self, ticket: ReadTicket, height: Height, out: &mut Vec<Effect>) {
        if self.reads.asked.contains_key(&ticket) {
            self.reads.wait_for.insert((height, ticket));
            self.answer_reads(out);
        }
    }

    /// Consensus says no.
    pub(super) fn refuse_read(&mut self, ticket: ReadTicket, why: String, out: &mut Vec<Effect>) {
        if self.reads.asked.remove(&ticket).is_some() {
            self.reads.wait_for.retain(|(_, waiting)| *waiting != ticket);
            out.push(Effect::ReadAnswer { ticket, outcome: Err(why) });
        }
    }

    /// A block was applied, or the application is back: what waited for it is answered.
    pub(super) fn answer_reads(&mut self, out: &mut Vec<Effect>) {
        if !self.pipeline.is_in_sync() {
            return;
        }
        let due = self.reads.take_up_to(self.state.last_block_height);
        out.extend(due.into_iter().map(|(height, ticket)| Effect::ReadAnswer { ticket, outcome: Ok(height) }));
    }

    /// Whoever was asked is gone, the machine or the application.
    pub(super) fn refuse_all_reads(&mut self, why: &str, out: &mut Vec<Effect>) {
        let tickets = std::mem::take(&mut self.reads).asked.into_keys();
        out.extend(tickets.map(|ticket| Effect::ReadAnswer { ticket, outcome: Err(why.to_owned()) }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Tick {
        Tick::default().plus(Duration::from_millis(millis))
    }

    fn reads(asked: &[(u64, u64, Option<u64>)]) -> Reads {
        let mut reads = Reads::default();
        for (ticket, millis, height) in asked {
            reads.asked.insert(ReadTicket(*ticket), at(*millis));
            reads.wait_for.extend(height.map(|height| (Height::new(height), ReadTicket(*ticket))));
        }
        reads
    }

    #[test]
    fn a_read_is_answered_when_its_height_is_applied_and_not_before() {
        let mut reads = reads(&[(1, 0, Some(5)), (2, 0, Some(4)), (3, 0, None), (4, 0, Some(6))]);
        assert_eq!(reads.take_up_to(Height::new(3)), []);
        let due = reads.take_up_to(Height::new(5));
        assert_eq!(due, [(Height::new(4), ReadTicket(2)), (Height::new(5), ReadTicket(1))]);
        assert_eq!(reads.asked.len(), 2, "one waits for its height, one for a quorum");
        assert_eq!(reads.take_up_to(Height::new(9)), [(Height::new(6), ReadTicket(4))]);
    }

    #[test]
    fn a_read_that_nobody_answers_is_given_up_and_leaves_nothing_behind() {
        let mut reads = reads(&[(1, 0, None), (2, 1, Some(9)), (3, 5000, Some(9))]);
        assert_eq!(reads.take_late(at(9_999)), []);
        assert_eq!(reads.take_late(at(10_001)), [ReadTicket(1), ReadTicket(2)]);
        assert_eq!(reads.take_up_to(Height::new(9)), [(Height::new(9), ReadTicket(3))]);
        assert!(reads.asked.is_empty() && reads.wait_for.is_empty());
    }
}
