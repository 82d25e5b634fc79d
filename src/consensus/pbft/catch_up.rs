//! Getting level with the others. Who is behind says so at once at each height it begins, to one peer, which answers with
//! the commit and the block of that height; so a chain is caught that decides faster than anybody says where it stands,
//! and each block is sent once. Further back than peers remember, or when nobody answers, blocks are fetched.

use super::height::Outcome;
use super::{Pbft, timers};
use crate::consensus::{Effect, Effects, Now, RECENT_BLOCKS_MAX, Tick, quorum};
use crate::types::{Address, Height, NodeId, Power, Source};
use std::ops::Bound;

/// More than a third of the power this many heights ahead: peers do not remember all these blocks.
const HEIGHTS_AHEAD_TO_SYNC: u64 = RECENT_BLOCKS_MAX as u64 + 1;

/// How the last height ended, and what was done at this one.
#[derive(Debug, Clone, Default)]
pub(super) struct CatchUp {
    /// Who sent the last commit that decided a height here, or was asked last.
    helper: Option<NodeId>,
    /// The highest height a commit proves to be decided.
    proved: Option<Height>,
    /// Since when we know at this height that the others are ahead, or when blocks were last asked to be fetched.
    since: Option<Tick>,
    question: Question,
    arrival: Arrival,
    parts: Parts,
}

/// Whether somebody was asked at this height for what we lack.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Question {
    #[default]
    NotAsked,
    /// The status that asks is being signed; it goes to one peer, or to all.
    Signing {
        to: Option<NodeId>,
    },
    Asked,
}

/// How we came to this height.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Like the others: the votes that decided the height before were counted here, or all were asked meanwhile for what
    /// they said while we were not here.
    #[default]
    Level,
    /// By the commit of others.
    Late,
}

/// Whether parts of blocks came since a status was last due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Parts {
    #[default]
    Missing,
    Coming,
}

impl CatchUp {
    /// A height begins.
    pub(super) fn begin_height(&mut self, arrival: Arrival) {
        let CatchUp { helper, proved, .. } = *self;
        *self = CatchUp { helper, proved, arrival, ..CatchUp::default() };
    }

    pub(super) fn helped_by(&mut self, peer: NodeId) {
        self.helper = Some(peer);
    }

    pub(super) fn lose(&mut self, peer: NodeId) {
        self.helper = self.helper.filter(|helper| *helper != peer);
        if self.question == (Question::Signing { to: Some(peer) }) {
            self.question = Question::Signing { to: None };
        }
    }

    pub(super) fn note_part(&mut self) {
        self.parts = Parts::Coming;
    }

    /// To whom the status goes that was just signed; none: to all.
    pub(super) fn addressee(&mut self) -> Option<NodeId> {
        let Question::Signing { to } = self.question else { return None };
        self.question = Question::Asked;
        to
    }
}

impl Pbft {
    /// Notes what height a peer speaks of: whom to ask is a guess, and the answer carries its proof.
    pub(super) fn note_peer(&mut self, source: Source, height: Option<Height>) {
        if let (Source::Peer(peer), Some(height)) = (source, height)
            && let Some(state) = self.peers.get_mut(&peer)
        {
            state.at = state.at.max(Some(height));
        }
    }

    /// Notes at which height a member was seen, and has blocks fetched when more than a third, so an honest one, is well
    /// ahead. One replica's word is not enough: it could stop us at will.
    pub(super) fn note_height(&mut self, by: Address, height: Height, out: &mut Effects<Pbft>) {
        if height <= self.height() || self.validators().by_address(&by).is_none() {
            return;
        }
        let known = self.heights.entry(by).or_insert(height);
        if *known > height {
            return;
        }
        *known = height;
        if let Some(below) = self.reached().and_then(Height::previous) {
            self.fetch_if_far(below, out);
        }
    }

    /// A commit proves that this height is decided.
    pub(super) fn note_decided(&mut self, height: Height, out: &mut Effects<Pbft>) {
        self.catch_up.proved = self.catch_up.proved.max(Some(height));
        self.fetch_if_far(height, out);
    }

    fn fetch_if_far(&mut self, decided: Height, out: &mut Effects<Pbft>) {
        if decided.get() >= self.height().get().saturating_add(HEIGHTS_AHEAD_TO_SYNC - 1) {
            self.request_sync(decided, out);
        }
    }

    /// The highest height above ours that more than a third of the power was seen at.
    fn reached(&self) -> Option<Height> {
        let (ours, total) = (self.height(), self.validators().total_power());
        let ahead = self.heights.values().filter(|seen| **seen > ours);
        let enough = |seen: &&Height| quorum::more_than_one_third(self.power_at(**seen), total) || mutant!("P45");
        ahead.filter(enough).max().copied()
    }

    fn power_at(&self, height: Height) -> Power {
        let set = self.validators();
        let there = self.heights.iter().filter(|(_, seen)| **seen >= height);
        there.filter_map(|(by, _)| set.by_address(by)).fold(Power::ZERO, |sum, (_, member)| sum + member.power)
    }

    /// The highest height that we know to be decided and did not decide.
    fn missing(&self) -> Option<Height> {
        let ours = self.height();
        let decided_here = matches!(self.current.outcome, Outcome::Fetching { .. }).then_some(ours);
        let proved = self.catch_up.proved.filter(|proved| *proved >= ours);
        decided_here.max(proved).max(self.reached().and_then(Height::previous))
    }

    /// Behind, and without the block of this height: asks at once, and once. Who has the block waits for the heartbeat:
    /// the votes are likely on their way.
    pub(super) fn ask_if_behind(&mut self, now: Now, out: &mut Effects<Pbft>) {
        if matches!(self.current.outcome, Outcome::Decided { .. }) {
            return;
        }
        let behind = self.missing().is_some();
        if behind {
            self.catch_up.since.get_or_insert(now.tick);
        }
        let proposal = self.current.proposals.get(&self.view);
        let lacks = proposal.is_none_or(|proposal| self.current.blocks.block(&proposal.block_id).is_none());
        let (late, unasked) = (self.catch_up.arrival == Arrival::Late, self.catch_up.question == Question::NotAsked);
        if (behind || late) && lacks && self.current.is_open() && unasked {
            let helper = self.catch_up.helper.or_else(|| self.next_helper());
            self.ask(helper, out);
        }
    }

    fn ask(&mut self, helper: Option<NodeId>, out: &mut Effects<Pbft>) {
        self.catch_up.helper = helper;
        self.catch_up.question = Question::Signing { to: helper };
        self.tell_status(out);
    }

    /// The next in turn of the peers that speak of greater heights.
    fn next_helper(&self) -> Option<NodeId> {
        let ours = self.height();
        let ahead = |(peer, state): (&NodeId, &super::PeerState)| (state.at > Some(ours)).then_some(*peer);
        let after = self.catch_up.helper.map_or(Bound::Unbounded, Bound::Excluded);
        let mut later = self.peers.range((after, Bound::Unbounded)).filter_map(ahead);
        later.next().or_else(|| self.peers.iter().find_map(ahead))
    }

    /// A status is due. Who is behind and was not helped since asks another; who gets nowhere has blocks fetched. True
    /// when nothing else has to be said: parts come in, or somebody was asked.
    pub(super) fn catch_up_due(&mut self, now: Now, out: &mut Effects<Pbft>) -> bool {
        let parts = std::mem::take(&mut self.catch_up.parts);
        let timeouts = self.current.start.timeouts;
        let missing = self.missing();
        let waited = self.catch_up.since.map(|since| now.tick.since(since));
        if let (Some(height), Some(waited)) = (missing, waited)
            && waited >= timeouts.view_change / 2
        {
            self.catch_up.since = Some(now.tick);
            self.sync_hint = height.previous().unwrap_or(height);
            self.request_sync(height, out);
        }
        if parts == Parts::Coming && self.is_active() {
            return true;
        }
        let stalled = missing.is_some() && waited.is_some_and(|waited| waited >= timers::heartbeat(&timeouts) / 2);
        if stalled {
            let helper = self.next_helper();
            self.ask(helper, out);
        }
        stalled
    }

    /// True once at a height whose predecessor others decided for us: all are asked for what they said meanwhile.
    pub(super) fn arrives(&mut self) -> bool {
        std::mem::take(&mut self.catch_up.arrival) == Arrival::Late
    }

    /// Has blocks fetched up to this height, once.
    pub(super) fn request_sync(&mut self, height: Height, out: &mut Effects<Pbft>) {
        if height > self.sync_hint {
            self.sync_hint = height;
            out.push(Effect::RequestSync(height));
        }
    }
}
