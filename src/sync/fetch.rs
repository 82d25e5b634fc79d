//! Whom to ask for what, and when to ask again.

use super::limits::{SECOND_ASK_AFTER, STATUS_INTERVAL, URGENT_BLOCKS, WINDOW_BLOCKS};
use super::peer::Peer;
use super::{Doubt, Elapsed, Mode, Purpose, StatusRound, Sync, SyncEffect};
use crate::types::{Height, NodeId};

impl Sync {
    /// True while blocks are asked for: when fetching, and to see whether consensus fell behind.
    pub(super) fn wants_blocks(&self) -> bool {
        matches!(self.mode, Mode::Fetching { .. } | Mode::Deciding(Doubt::Probing { .. }))
    }

    /// The highest block that peers who can help say they have; 0 when there is none.
    pub(super) fn best(&self) -> Height {
        let next = self.window.next();
        self.peers.values().filter_map(|peer| peer.height_within_reach(next)).max().unwrap_or(Height::ZERO)
    }

    /// Whether anybody's word is of use: its blocks begin low enough.
    pub(super) fn somebody_can_help(&self) -> bool {
        let next = self.window.next();
        self.peers.values().any(|peer| peer.height_within_reach(next).is_some())
    }

    /// The highest block worth asking for now.
    fn last_wanted(&self) -> Height {
        let reach = match self.mode {
            Mode::Fetching { .. } => WINDOW_BLOCKS,
            // The pair that proves the next block. No more is fetched on a mere claim.
            Mode::Deciding(Doubt::Probing { .. }) if !mutant!("N51") => 2,
            Mode::Deciding(Doubt::Probing { .. }) => WINDOW_BLOCKS,
            Mode::Deciding(_) | Mode::Paused => 0,
        };
        let edge = Height::new(self.window.next().get().saturating_add(reach).min(Height::MAX.get()));
        self.best().min(edge.previous().unwrap_or(Height::ZERO))
    }

    pub(super) fn ask_for_blocks(&mut self, now: Elapsed, out: &mut Vec<SyncEffect>) {
        if !self.wants_blocks() {
            return;
        }
        let last = self.last_wanted();
        self.ask_second_peers(now, out);
        for height in self.window.wanted(last) {
            if self.peers.values().any(Peer::has_room) {
                self.ask_for(now, height, out);
            }
        }
        while self.window.fresh() <= last {
            let fresh = self.window.fresh();
            if !self.ask_for(now, fresh, out) {
                break;
            }
        }
    }

    /// Everything waits for the lowest blocks: one slow peer must not hold them.
    fn ask_second_peers(&mut self, now: Elapsed, out: &mut Vec<SyncEffect>) {
        for height in self.urgent() {
            if let [(_, since)] = self.window.asked(height)
                && now >= *since + SECOND_ASK_AFTER
                && !mutant!("N50")
            {
                self.ask_for(now, height, out);
            }
        }
    }

    fn urgent(&self) -> impl Iterator<Item = Height> + use<> {
        let next = self.window.next().get();
        (next..next.saturating_add(URGENT_BLOCKS).min(Height::MAX.get())).map(Height::new)
    }

    /// Asks whoever would probably answer first. False when nobody can be asked now.
    fn ask_for(&mut self, now: Elapsed, height: Height, out: &mut Vec<SyncEffect>) -> bool {
        if !self.window.has_room_for(height) {
            return false;
        }
        let able = self
            .peers
            .iter()
            .filter(|(id, peer)| peer.can_give(height) && (self.is_usable(now, **id) || mutant!("N49")));
        let best: Option<NodeId> = able.min_by_key(|(id, peer)| (peer.expected_wait(), **id)).map(|(id, _)| *id);
        let Some((id, peer)) = best.and_then(|id| self.peers.get_mut(&id).map(|peer| (id, peer))) else {
            return false;
        };
        peer.ask(now, height);
        self.window.ask(now, height, id);
        out.push(SyncEffect::Ask { peer: id, height });
        true
    }

    // ------------------------------------------------------------------------------------------------------ status

    pub(super) fn ask_everybody(&mut self, now: Elapsed, purpose: Purpose, out: &mut Vec<SyncEffect>) {
        self.barred.retain(|_, until| *until > now || mutant!("N52"));
        self.round = StatusRound { asked_at: now, first_answer: None, purpose, from: self.window.next() };
        let usable = self.peers.keys().filter(|peer| !self.barred.contains_key(peer));
        out.extend(usable.map(|peer| SyncEffect::AskStatus(*peer)));
    }

    /// Only while fetching: a node that decides asks nothing.
    pub(super) fn ask_status_again(&mut self, now: Elapsed, out: &mut Vec<SyncEffect>) {
        if matches!(self.mode, Mode::Fetching { .. }) && now >= self.round.asked_at + STATUS_INTERVAL {
            self.ask_everybody(now, Purpose::Learn, out);
        }
    }

    // ------------------------------------------------------------------------------------------------------- alarm

    /// The next moment at which something changes by itself.
    pub(super) fn set_alarm(&mut self, now: Elapsed, out: &mut Vec<SyncEffect>) {
        let mut moments = self.moments_to_join();
        if self.wants_blocks() {
            moments.extend(self.peers.values().filter_map(Peer::judged_at));
            moments.extend(self.urgent().filter_map(|height| match self.window.asked(height) {
                [(_, since)] => Some(*since + SECOND_ASK_AFTER),
                _ => None,
            }));
        }
        let next = moments.into_iter().filter(|moment| *moment > now).min();
        if let Some(moment) = next
            && self.alarm.is_none_or(|set| set != moment)
        {
            self.alarm = Some(moment);
            out.push(SyncEffect::WakeAt(moment));
        }
    }
}
