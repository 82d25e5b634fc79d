//! Times that no clock showed (level 2): in votes, in proposals, in headers; of long ago, of the end of the calendar, of
//! another time for each receiver.

use super::{Actor, Cx, unsigned, unsigned_proposal};
use crate::types::{DirectMessage, Time};
use std::time::Duration;

impl Actor {
    pub(super) fn bend_time(&mut self, cx: &mut Cx<'_>, word: DirectMessage) -> Vec<DirectMessage> {
        if !self.is_own(&word) {
            return vec![word];
        }
        let at = super::place(&word).unwrap_or((cx.height, cx.round));
        let in_header = super::mix(&[cx.scene.plan.seed, at.0.get(), u64::from(at.1.get()), 17]) & 3 == 0;
        match &word {
            DirectMessage::Vote(vote) => {
                let mut bent = unsigned(vote);
                bent.timestamp = self.false_time(vote.timestamp);
                cx.told("lie.time_of_vote");
                vec![DirectMessage::Vote(cx.sign_vote(bent))]
            }
            DirectMessage::Proposal { .. } | DirectMessage::Part { .. } if in_header => {
                let Some((proposal, ours)) = self.own_block(at) else { return Vec::new() };
                let time = self.false_time(ours.block().header.time);
                let other = self.other_block_of(at, &ours, |_, block| {
                    let mut other = block.clone();
                    other.header.time = time;
                    other
                });
                cx.told("lie.time_of_block");
                self.present(cx, &proposal, &other)
            }
            DirectMessage::Proposal { by, proposal } => {
                let mut bent = unsigned_proposal(proposal);
                bent.timestamp = self.false_time(proposal.timestamp);
                cx.told("lie.time_of_proposal");
                vec![DirectMessage::Proposal { by: *by, proposal: cx.sign_proposal(bent) }]
            }
            _ => vec![word],
        }
    }

    fn false_time(&mut self, time: Time) -> Time {
        /// 9999-12-31T23:59:59Z.
        const LAST_SECOND: i64 = 253_402_300_799;
        let bent = match self.dice.below(6) {
            0 => Time::new(LAST_SECOND, 999_999_999),
            1 => Time::new(Time::ZERO.seconds(), 1),
            2 => Ok(Time::UNIX_EPOCH),
            3 => Ok(time.plus(Duration::from_nanos(1))),
            4 => Ok(time.plus(Duration::from_secs(3600))),
            _ => Time::new(time.seconds() - 3600, time.nanos()),
        };
        bent.unwrap_or(time)
    }
}
