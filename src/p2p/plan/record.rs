//! What nodes earned and lost since this node began: scores, bans, and why they were dropped.

use super::Now;
use crate::types::NodeId;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

/// Nodes remembered. Whoever has not been heard of for longest is forgotten first.
const RECORDS_MAX: usize = 1024;
/// Reasons remembered for one node.
const REASONS_MAX: usize = 3;
/// What a fault costs, in useful messages.
const FAULT_COST: i64 = 100;
/// The ban after the first fault; each further fault makes it four times as long.
const BAN_FIRST: Duration = Duration::from_secs(10);
/// The longest ban.
const BAN_MAX: Duration = Duration::from_secs(24 * 3600);
/// Faults older than this no longer make bans longer.
const FORGIVEN_AFTER: Duration = Duration::from_secs(24 * 3600);

/// One node's.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Useful messages less the cost of faults.
    pub(super) score: i64,
    faults: u32,
    last_fault: Duration,
    banned_until: Duration,
    /// Why it was dropped or refused lately, the newest last.
    pub(super) reasons: VecDeque<String>,
    /// Where it called from or was called.
    pub(super) seen_at: Option<SocketAddr>,
    touched: Duration,
}

/// Everybody's.
#[derive(Debug, Default)]
pub(super) struct Records(BTreeMap<NodeId, Record>);

impl Records {
    pub(super) fn get(&self, id: &NodeId) -> Option<&Record> {
        self.0.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Record)> {
        self.0.iter()
    }

    /// The record of a node that proved who it is.
    pub(super) fn of(&mut self, now: Now, id: NodeId) -> &mut Record {
        if self.0.len() >= RECORDS_MAX && !self.0.contains_key(&id) {
            let idlest = self.0.iter().min_by_key(|(_, record)| record.touched.max(record.banned_until));
            if let Some(idlest) = idlest.map(|(id, _)| *id) {
                self.0.remove(&idlest);
            }
        }
        let record = self.0.entry(id).or_default();
        record.touched = now.at;
        record
    }

    /// How long it is still banned.
    pub(super) fn ban_left(&self, now: Now, id: &NodeId) -> Option<Duration> {
        let left = self.0.get(id)?.banned_until.saturating_sub(now.at);
        (!left.is_zero()).then_some(left)
    }
}

impl Record {
    /// Notes why it was dropped or refused. True when the last reason was another.
    pub(super) fn note(&mut self, why: &str) -> bool {
        if self.reasons.back().is_some_and(|last| last == why) {
            return false;
        }
        if self.reasons.len() >= REASONS_MAX {
            self.reasons.pop_front();
        }
        self.reasons.push_back(why.to_owned());
        true
    }

    /// Notes a fault. Answers how many there were lately.
    pub(super) fn fault(&mut self, now: Now, why: &str) -> u32 {
        self.note(why);
        self.score -= FAULT_COST;
        if now.at.saturating_sub(self.last_fault) > FORGIVEN_AFTER {
            self.faults = 0;
        }
        self.faults = self.faults.saturating_add(1);
        self.last_fault = now.at;
        self.faults
    }

    pub(super) fn ban(&mut self, now: Now, length: Duration) {
        self.banned_until = self.banned_until.max(now.at + length.min(BAN_MAX));
    }
}

/// How long a node is banned for its `faults`-th fault: 10 s, 40 s, 160 s, … a day.
pub(super) fn ban_length(faults: u32) -> Duration {
    BAN_FIRST.saturating_mul(4_u32.saturating_pow(faults.saturating_sub(1))).min(BAN_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Time;

    #[test]
    fn bans_grow_from_ten_seconds_to_a_day() {
        let lengths: Vec<_> = (1..=9).map(|faults| ban_length(faults).as_secs()).collect();
        assert_eq!(lengths, [10, 40, 160, 640, 2560, 10240, 40960, 86400, 86400]);
        assert_eq!(ban_length(u32::MAX), BAN_MAX);
    }

    #[test]
    fn faults_are_forgiven_after_a_day_and_reasons_are_few() {
        let at = |hours: u64| Now { at: Duration::from_secs(hours * 3600), wall: Time::UNIX_EPOCH };
        let mut record = Record::default();
        assert_eq!(record.fault(at(1), "a"), 1);
        assert_eq!(record.fault(at(2), "b"), 2);
        assert_eq!(record.fault(at(27), "c"), 1);
        record.note("c");
        record.note("d");
        assert_eq!(record.reasons, ["b", "c", "d"]);
        assert_eq!(record.score, -300);
    }

    #[test]
    fn strangers_cannot_make_us_remember_more_than_a_thousand_nodes() {
        let now = |n: u32| Now { at: Duration::from_secs(n.into()), wall: Time::UNIX_EPOCH };
        let id = |n: u32| format!("{n:040x}").parse::<NodeId>().unwrap();
        let mut records = Records::default();
        records.of(now(0), id(0)).ban(now(0), BAN_MAX);
        for n in 1..2000 {
            records.of(now(n), id(n)).note("came and went");
        }
        assert_eq!(records.0.len(), RECORDS_MAX);
        assert!(records.ban_left(now(2000), &id(0)).is_some(), "a ban is kept longer than gossip");
        assert!(records.get(&id(1)).is_none() && records.get(&id(1999)).is_some());
    }
}
