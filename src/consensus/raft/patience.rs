//! The end of a leader's patience with itself, and of a follower's with a leader that proposes nothing. The paper's leader leads for as long as it is heard, even if it gets nothing
//! decided: because its application hangs, because it refuses its own block while a follower is silent, because its
//! signer refused. To lead no more is always safe; whoever is elected next asks everybody anew, in its own term.
//! A leader whose mempool lacks what others have in theirs has nothing to propose; it is good, and is told.

use super::height::Outcome;
use super::lead::{self, Peer};
use super::{Raft, Role, majority};
use crate::consensus::{Effect, Effects, Now, Tick};
use crate::types::Address;
use std::time::Duration;

/// Election timeouts a leader waits for its block to be decided before it makes way, at first.
const ELECTIONS: u32 = 4;
/// It waits twice as long after each time it was of no use, this many times at most: an application that takes long
/// everywhere must not keep the lead going round.
const DOUBLINGS_MAX: u32 = 6;

impl Raft {
    /// How long a block of ours may take. A large one has to get there first.
    fn patience(&self) -> Duration {
        let state = &self.current;
        let block = state.proposal.as_ref().and_then(|proposal| state.blocks.block(&proposal.block_id));
        let bytes = block.map_or(0, |block| block.parts().byte_size());
        let once = lead::patience(state.start.timeouts.election, bytes);
        once.saturating_mul(ELECTIONS << self.stalls.min(DOUBLINGS_MAX))
    }

    /// Since when this leader has got nothing done that there is to do.
    fn stalled_since(&self) -> Option<Tick> {
        let Role::Leader(leadership) = &self.role else { return None };
        let begun = self.current.begun_at;
        match self.current.outcome {
            Outcome::Open => begun,
            // Executing may take long. It is our fault only if others are done.
            Outcome::Fetching(_) | Outcome::Decided if self.majority_went_on() => {
                Some(begun.unwrap_or(leadership.since.max(self.current.began_at)))
            }
            Outcome::Fetching(_) | Outcome::Decided => None,
        }
    }

    fn majority_went_on(&self) -> bool {
        let height = self.height();
        let is_ahead = |peer: &&Peer, address: &Address| {
            peer.address.as_ref() == Some(address) && peer.height.is_some_and(|at| at > height)
        };
        let ahead = |address: &Address| self.peers.values().find(|peer| is_ahead(peer, address)).map(|_| 0);
        majority::reached(self.validators(), ahead).is_some()
    }

    /// True when this leader should make way.
    pub(super) fn gets_nowhere(&self, now: Now) -> bool {
        self.stalled_since().is_some_and(|since| now.tick.since(since) >= self.patience()) && !mutant!("R70")
    }

    /// This leader makes way for one that may get on.
    pub(super) fn give_up_lead(&mut self, now: Now, out: &mut Effects<Raft>) {
        self.stalls = self.stalls.saturating_add(1).min(DOUBLINGS_MAX);
        self.make_way(now, "this leader gets nothing decided: ask another node", out);
        if self.stands_alone() {
            self.election_at = now.tick;
        }
    }

    /// A block of ours is decided. Patience grown beyond what blocks need shrinks again.
    pub(super) fn note_pace(&mut self, now: Now) {
        let quick = self.current.begun_at.is_some_and(|begun| now.tick.since(begun) < self.patience() / 4);
        if quick {
            self.stalls = self.stalls.saturating_sub(u32::from(!mutant!("R100")));
        }
    }

    /// True when transactions wait here and the leader we follow has proposed nothing.
    fn starves(&self) -> bool {
        let led = self.leader.is_some() && !matches!(self.role, Role::Leader(_));
        led && self.current.txs_available && self.current.proposal.is_none() && self.is_open()
    }

    /// When what waits here is offered to the leader (again): four election timeouts after it may propose, then twice as
    /// long. None when nothing waits for it.
    pub(super) fn next_offer(&mut self, now: Now) -> Option<Tick> {
        if !self.starves() || mutant!("R83") {
            self.current.offer_at = None;
            return None;
        }
        let pause = self.current.start.timeouts.election.saturating_mul(ELECTIONS << self.current.offers);
        let from = now.tick.max(self.begins_at());
        Some(*self.current.offer_at.get_or_insert(from.plus(pause)))
    }

    /// §8: a client's request goes to the leader. Here gossip passes transactions on, but once: the leader's mempool may
    /// have been full then, its application away, or `mempool.broadcast` is off.
    pub(super) fn offer_txs_if_starving(&mut self, now: Now, out: &mut Effects<Raft>) {
        if self.starves() && self.current.offer_at.take_if(|at| *at <= now.tick).is_some() {
            self.current.offers = self.current.offers.saturating_add(1).min(DOUBLINGS_MAX);
            out.push(Effect::OfferTxs);
        }
    }
}
