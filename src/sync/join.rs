//! When consensus goes on, and when to look whether it fell behind.

use super::limits::{
    BLOCKER_PATIENCE, LEVEL_BLOCKS, PROBE_INTERVAL, PROBE_TIME, PROMISE_KEPT_WITHIN, STATUS_FRESH, STATUS_GRACE,
    STATUS_INTERVAL,
};
use super::{Doubt, Elapsed, Mode, Permission, Purpose, StatusRound, Sync, SyncEffect};
use crate::types::{Height, Power};

impl Sync {
    /// Joins consensus when nothing is left that could be verified, and it may: IsCaughtUp of CometBFT, but at the moment the last
    /// answer comes instead of once a second.
    pub(super) fn join_if_done(&mut self, now: Elapsed, out: &mut Vec<SyncEffect>) {
        let Mode::Fetching { since } = self.mode else { return };
        if self.permission == Permission::Pending {
            return;
        }
        let (best, next) = (self.believable(now), self.window.next());
        // The block at the tip has no successor to prove it, unless its commit came with it.
        let all_applied = (best <= next || mutant!("N7")) && self.applying.is_none() && !self.proof_is_coming();
        if all_applied && self.chain_waits_for_us() && now >= since + BLOCKER_PATIENCE {
            return self.join(out);
        }
        let done = match self.round.purpose {
            Purpose::Learn => all_applied,
            // The chain moves while we look. One more block is left to consensus.
            Purpose::LastLook { .. } => best <= next.next() && self.applying.is_none(),
        };
        if !done || !self.round_is_complete(now) {
            return;
        }
        let grown = next.get().saturating_sub(self.round.from.get());
        if self.is_level(now, grown) {
            self.join(out);
        } else {
            let before = if self.round.purpose == Purpose::Learn { None } else { Some(grown) };
            self.ask_everybody(now, Purpose::LastLook { before }, out);
        }
    }

    /// The highest block that counts for joining: what peers say they have ([`Sync::best`]), but not what is promised and
    /// not kept. Who claims blocks to come, and hands each over when it is made, would keep a validator from voting for
    /// as long as it likes; CometBFT believes the highest claim. A claim is left aside where another peer is as far as we
    /// are and the next block has been owed for too long. Where that was wrong, as when all who are ahead are slow,
    /// consensus hears of the height it cannot reach and steps aside for the next proven block.
    pub(super) fn believable(&self, now: Elapsed) -> Height {
        let (best, next) = (self.best(), self.window.next());
        let claims = self.peers.values().filter_map(|peer| peer.height_within_reach(next));
        // As numbers: there is no height after the highest, which a peer may claim.
        let level = claims.filter(|claim| claim.get().abs_diff(next.get()) <= 1);
        let Some(highest) = level.max() else { return best };
        let Some(missing) = self.missing() else { return best };
        let asked = self.window.asked(missing);
        let is_broken = !asked.is_empty() && asked.iter().all(|(_, since)| now >= *since + PROMISE_KEPT_WITHIN);
        if is_broken { highest } else { best }
    }

    /// What is lacking of the pair of blocks that brings us one further: the next, or the one that proves it.
    fn missing(&self) -> Option<Height> {
        let next = self.window.next();
        [next, next.next()].into_iter().find(|height| self.window.held(*height).is_none())
    }

    /// Whether looking again would bring us no nearer. While blocks are fetched the chain grows; each look fetches what it
    /// grew by during the one before and so is shorter, until it finds next to nothing. A chain as quick as we are is not
    /// chased for ever: where a look finds hardly less than the one before, the rest is for consensus.
    fn is_level(&self, now: Elapsed, grown: u64) -> bool {
        let answered = self.round.first_answer.unwrap_or(self.round.asked_at);
        let is_last = grown <= LEVEL_BLOCKS && now < answered + STATUS_FRESH;
        match self.round.purpose {
            Purpose::Learn => is_last,
            Purpose::LastLook { before } => {
                is_last || before.is_some_and(|before| grown.saturating_mul(8) >= before.saturating_mul(7))
            }
        }
    }

    fn join(&mut self, out: &mut Vec<SyncEffect>) {
        self.mode = Mode::Deciding(Doubt::None);
        self.restart_window();
        out.push(SyncEffect::JoinConsensus);
    }

    /// All peers of this round answered, or one did and the others had their time. A peer whose blocks begin above what
    /// we need has not answered: it cannot help, and its word proves nothing.
    fn round_is_complete(&self, now: Elapsed) -> bool {
        let next = self.window.next();
        let asked = || self.peers.iter().filter(|(id, _)| self.is_usable(now, **id)).map(|(_, peer)| peer);
        let answered =
            asked().filter(|peer| peer.answered_since(self.round.asked_at) && peer.height_within_reach(next).is_some());
        match answered.count() {
            0 => false,
            some if some == asked().count() || mutant!("N91") => true,
            _ => self.round.first_answer.is_some_and(|first| now >= first + STATUS_GRACE),
        }
    }

    /// Where the others are no quorum, they have decided nothing without us: waiting for their blocks would stop the chain
    /// (localNodeBlocksTheChain, which counts a third of the power; bug class 044).
    fn chain_waits_for_us(&self) -> bool {
        let (Some(state), Some(own)) = (&self.state, &self.own) else { return false };
        let total = state.validators.total_power();
        state.validators.by_address(own).is_some_and(|(_, member)| {
            let others = Power::new(total.get().saturating_sub(member.power.get()));
            !state.algorithm.quorum().is_reached(others, total)
        })
    }

    // ------------------------------------------------------------------------------------------------------- doubt

    /// Consensus heard of a height it cannot reach.
    pub(super) fn on_behind(&mut self, now: Elapsed, height: Height, out: &mut Vec<SyncEffect>) {
        if matches!(self.mode, Mode::Deciding(Doubt::None))
            && !self.decides_alone()
            && (height > self.window.next() || mutant!("N90"))
        {
            self.mode = Mode::Deciding(Doubt::Heard);
            self.look_into_it(now, out);
        }
    }

    fn look_into_it(&mut self, now: Elapsed, out: &mut Vec<SyncEffect>) {
        if self.mode == Mode::Deciding(Doubt::Heard) && now >= self.round.asked_at + PROBE_INTERVAL {
            self.mode = Mode::Deciding(Doubt::Probing { since: now });
            self.restart_window();
            self.peers.values_mut().for_each(|peer| peer.begin_waiting(now));
            self.ask_everybody(now, Purpose::Learn, out);
        }
    }

    /// Consensus steps aside only for a proven block of the height it is at: claims alone move nothing.
    pub(super) fn settle_doubt(&mut self, now: Elapsed, out: &mut Vec<SyncEffect>) {
        self.look_into_it(now, out);
        let Mode::Deciding(Doubt::Probing { since }) = self.mode else { return };
        if self.proven_next(now, out).is_some() {
            out.push(SyncEffect::LeaveConsensus);
            self.begin_fetching(now, out);
        } else if now >= since + PROBE_TIME || (self.best() <= self.window.next() && self.round_is_complete(now)) {
            self.mode = Mode::Deciding(Doubt::None);
            self.restart_window();
        }
    }

    /// When joining or doubting may take a turn by itself.
    pub(super) fn moments_to_join(&self) -> Vec<Elapsed> {
        let StatusRound { asked_at, first_answer, .. } = self.round;
        let grace = first_answer.map(|first| first + STATUS_GRACE);
        match self.mode {
            Mode::Fetching { since } => {
                let asked = self.missing().map(|height| self.window.asked(height)).unwrap_or_default();
                let promised = asked.iter().map(|(_, since)| *since + PROMISE_KEPT_WITHIN).max();
                [Some(asked_at + STATUS_INTERVAL), Some(since + BLOCKER_PATIENCE), grace, promised]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Mode::Deciding(Doubt::Heard) => vec![asked_at + PROBE_INTERVAL],
            Mode::Deciding(Doubt::Probing { since }) => {
                [Some(since + PROBE_TIME), grace].into_iter().flatten().collect()
            }
            Mode::Deciding(Doubt::None) | Mode::Paused => Vec::new(),
        }
    }
}
