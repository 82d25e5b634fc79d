//! When to be woken, and what is due then. Deadlines live in the state; the caller knows only the next one.

use super::height::Outcome;
use super::{Pbft, Phase};
use crate::consensus::{Effect, Effects, EmptyBlocks, Now, Reaction, Tick, Timeouts, quorum};
use std::time::Duration;

/// The view timer doubles this often at most: 256 times the first one.
const DOUBLINGS_MAX: u32 = 8;
/// While nothing waits to be decided, one status in this many is said.
const IDLE_STATUSES: u32 = 8;
/// The shortest interval between two statuses, whatever is configured.
const HEARTBEAT_MIN: Duration = Duration::from_millis(5);

/// How often replicas say where they stand.
pub(super) fn heartbeat(timeouts: &Timeouts) -> Duration {
    timeouts.heartbeat.max(if mutant!("P97") { Duration::ZERO } else { HEARTBEAT_MIN })
}

impl Pbft {
    /// The time named has come, or nearly.
    pub(super) fn on_woken(&mut self, now: Now, out: &mut Effects<Pbft>) -> Reaction {
        self.wake_at = None;
        if self.status_at <= now.tick {
            self.status_at = now.tick.plus(heartbeat(&self.current.start.timeouts));
            self.status_due(now, out);
        }
        self.offer_txs_if_starving(now, out);
        if self.view_deadline.is_some_and(|at| at <= now.tick) {
            self.view_deadline = None;
            self.fail_view(out);
        }
        Reaction::Accepted
    }

    /// §4.1, §4.4: a client that gets no answer sends its request to all replicas, and a backup passes it on to the primary.
    /// Here gossip does both, but once: the primary's mempool may have been full then, or `mempool.broadcast` is off. So
    /// a backup that has waited for half its timer offers again what waits, before it holds the silence against the
    /// primary. Otherwise one client could make replicas leave a good primary (bug class 149).
    fn offer_txs_if_starving(&mut self, now: Now, out: &mut Effects<Pbft>) {
        if self.view_deadline.is_none() || self.offer_at.take_if(|at| *at <= now.tick).is_none() {
            return;
        }
        if self.is_active() && !self.current.proposals.contains_key(&self.view) {
            out.push(Effect::OfferTxs);
        }
    }

    /// Who decided something since the last time needs no help; who did not says where it stands, rarely when nothing
    /// waits.
    fn status_due(&mut self, now: Now, out: &mut Effects<Pbft>) {
        // While its block is applied a decided height needs nothing.
        if matches!(self.current.outcome, Outcome::Decided { .. }) {
            return;
        }
        let cared_for = self.catch_up_due(now, out);
        let arrives = self.arrives();
        let idle = self.is_active() && self.current.is_open() && !self.waits(now);
        let due = self.quiet_for > 0 && (!idle || mutant!("P98") || self.quiet_for.is_multiple_of(IDLE_STATUSES));
        self.quiet_for = self.quiet_for.saturating_add(1);
        if !cared_for && (due || arrives) {
            self.tell_status(out);
        }
        let own = self.current.start.own;
        let told = own.and_then(|own| self.view_changes.get(&own));
        let here = (self.view, self.height());
        if self.current.is_open() && told.is_none_or(|left| (left.view, left.height) != here) {
            self.ask_for_view(out);
        }
    }

    /// Starts the view timer where it must run, and says when to be woken.
    pub(super) fn schedule(&mut self, now: Now, out: &mut Effects<Pbft>) {
        self.arm(now);
        let state = &self.current;
        let begin = state.begun.is_none().then_some(state.start.begin_at);
        let empty_block = match (state.start.timeouts.empty_blocks, state.begun) {
            (EmptyBlocks::After(interval), Some(begun)) if !self.block_wanted(now) => Some(begun.plus(interval)),
            _ => None,
        };
        let open = state.is_open();
        let offer = self.offer_at.filter(|_| self.view_deadline.is_some());
        let deadlines = begin.into_iter().chain(empty_block).chain(offer).chain(self.view_deadline).filter(|_| open);
        let next = deadlines.chain([self.status_at]).min().unwrap_or(self.status_at);
        if self.wake_at != Some(next) {
            self.wake_at = Some(next);
            out.push(Effect::WakeAt(next));
        }
    }

    /// §4.4: the timer runs while the view is at work and something waits to be decided; it is not restarted by anything
    /// but a decision, so that a primary cannot keep it running by being just in time with less. In a view change it
    /// starts with VIEW-CHANGEs of more than two thirds (§4.5.2): earlier, and replicas would run away from each other.
    fn arm(&mut self, now: Now) {
        if !self.current.is_open() || self.current.own_seat().is_none() {
            self.view_deadline = None;
            return;
        }
        if self.view_deadline.is_some() && !mutant!("P72") {
            return;
        }
        let begin = self.current.start.begin_at.max(now.tick);
        self.view_deadline = match self.phase {
            Phase::Active { .. } if self.waits(now) => {
                let deadline = self.after_failures(begin, self.failures);
                let starves = self.current.txs_available && (!self.leads() || mutant!("P100"));
                self.offer_at = starves.then(|| begin.plus(deadline.since(begin) / 2));
                Some(deadline)
            }
            Phase::Changing { .. } => {
                let total = self.validators().total_power();
                let needed = if mutant!("P7") { quorum::more_than_one_third } else { quorum::more_than_two_thirds };
                let enough = needed(self.power_behind(self.view), total);
                enough.then(|| self.after_failures(now.tick, self.failures.saturating_sub(1)))
            }
            Phase::Active { .. } => None,
        };
    }

    /// True when something waits for a decision: a transaction, a block that must be made, or one that is proposed.
    fn waits(&self, now: Now) -> bool {
        (self.block_wanted(now) && !mutant!("P71"))
            || self.chosen().is_some()
            || self.current.proposals.contains_key(&self.view)
    }

    /// §4.5.2: the timeout doubles with every view that decides nothing.
    fn after_failures(&self, from: Tick, failures: u32) -> Tick {
        let factor = 1_u32 << failures.min(if mutant!("P8") { 0 } else { DOUBLINGS_MAX });
        from.plus(self.current.start.timeouts.view_change.saturating_mul(factor))
    }
}
