//! What each fact changes. After every fact the planner does what has become possible, in a fixed order.

use super::limits::{BAR_TIME, BARRED_MAX, HELD_BYTES_MAX};
use super::peer::{Answer, Peer};
use super::window::{Held, Window};
use super::{Doubt, Elapsed, Meter, Mode, Permission, Progress, Role, Stage, StatusRound, Sync, SyncEffect, SyncInput};
use crate::types::{Address, CandidateBlock, ChainState, ExtendedCommit, Height, NodeId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Over how long the speed is measured.
const METER_STRETCH: Duration = Duration::from_secs(5);

impl Sync {
    /// Nobody is there yet. `own` is our validator address, if this node signs: a validator without whom the chain
    /// stands still must not wait for blocks that cannot come.
    pub fn new(role: Role, own: Option<Address>) -> Sync {
        Sync {
            role,
            own,
            mode: Mode::Paused,
            permission: Permission::Given,
            state: None,
            set_hashes: None,
            peers: BTreeMap::new(),
            barred: BTreeMap::new(),
            window: Window::new(Height::FIRST, 0, HELD_BYTES_MAX),
            room: HELD_BYTES_MAX,
            checking: None,
            tickets: 0,
            applying: None,
            round: StatusRound::default(),
            meter: Meter::default(),
            alarm: None,
        }
    }

    /// Takes one fact into account. `now` is the time since the node started.
    pub fn step(&mut self, now: Elapsed, input: SyncInput, out: &mut Vec<SyncEffect>) {
        match input {
            SyncInput::PeerUp(peer) => self.on_peer(now, peer, out),
            SyncInput::PeerDown(peer) => self.on_peer_gone(peer),
            SyncInput::Status { peer, base, height } => self.on_status(now, peer, base, height, out),
            SyncInput::Block { peer, block, extended_commit } => {
                self.on_block(now, peer, block, extended_commit, out);
            }
            SyncInput::NoBlock { peer, height } => self.on_no_block(now, peer, height, out),
            SyncInput::Verified { ticket, outcomes } => self.on_verified(now, ticket, outcomes, out),
            SyncInput::Begin(state) => self.on_begin(now, state, out),
            SyncInput::Applied(state) => self.on_applied(now, state),
            SyncInput::Paused => self.on_pause(),
            SyncInput::MustWait => self.permission = Permission::Pending,
            SyncInput::MayJoin => self.permission = Permission::Given,
            SyncInput::Behind(height) => self.on_behind(now, height, out),
            SyncInput::Woken => self.alarm = None,
        }
        self.go_on(now, out);
    }

    /// True while blocks are fetched instead of decided.
    pub fn is_syncing(&self) -> bool {
        self.role == Role::OneOfMany && !matches!(self.mode, Mode::Deciding(_))
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let at = self.state.as_ref().map_or(Height::ZERO, |state| state.last_block_height);
        let claims = || self.peers.values().filter_map(Peer::height);
        let stage = match self.mode {
            Mode::Paused => Stage::Paused,
            Mode::Deciding(_) => Stage::Deciding,
            Mode::Fetching { .. } if claims().next().is_none() => Stage::Waiting,
            Mode::Fetching { .. } if !self.somebody_can_help() => Stage::OutOfReach,
            Mode::Fetching { .. } => Stage::Fetching,
        };
        Progress {
            stage,
            from: self.meter.from,
            at,
            target: self.best().max(at),
            peers: claims().count(),
            blocks_per_second: self.meter.rate,
        }
    }

    /// Does what has become possible. Guarded work returns at once where it does not apply.
    fn go_on(&mut self, now: Elapsed, out: &mut Vec<SyncEffect>) {
        self.judge_peers(now, out);
        self.settle_doubt(now, out);
        self.apply_proven(now, out);
        self.order_checks(now, out);
        self.ask_status_again(now, out);
        self.ask_for_blocks(now, out);
        self.join_if_done(now, out);
        self.set_alarm(now, out);
    }

    // ------------------------------------------------------------------------------------------------------- peers

    fn on_peer(&mut self, now: Elapsed, peer: NodeId, out: &mut Vec<SyncEffect>) {
        self.peers.insert(peer, Peer::new(now));
        if self.wants_blocks() && (self.is_usable(now, peer) || mutant!("N94")) {
            out.push(SyncEffect::AskStatus(peer));
        }
    }

    /// What it sent stays: it may be good, and whoever is here can be asked about the rest.
    fn on_peer_gone(&mut self, peer: NodeId) {
        if self.peers.remove(&peer).is_some() {
            // Not only its debts: of what it answered last, it may have sent what is not kept.
            if !mutant!("N14") {
                self.window.release_all_of(peer);
            }
        }
    }

    fn on_status(&mut self, now: Elapsed, peer: NodeId, base: Height, height: Height, out: &mut Vec<SyncEffect>) {
        if !self.is_usable(now, peer) {
            return;
        }
        let Some(known) = self.peers.get_mut(&peer) else { return };
        if let Err(lie) = known.claims(now, base, height) {
            return self.drop_peer(now, peer, lie, out);
        }
        // What it no longer claims is asked of others.
        known.debts().filter(|owed| *owed > height && !mutant!("N15")).for_each(|owed| self.window.release(owed, peer));
        self.round.first_answer.get_or_insert(now);
    }

    fn on_block(
        &mut self,
        now: Elapsed,
        peer: NodeId,
        block: Arc<CandidateBlock>,
        extended: Option<Box<ExtendedCommit>>,
        out: &mut Vec<SyncEffect>,
    ) {
        let height = block.block().header.height;
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let answer = known.answers(now, height, block.parts().byte_size());
        if !self.book(now, peer, height, answer, out) {
            return;
        }
        if let Some(why) = self.misfit(&block, extended.as_deref()) {
            return self.drop_peer(now, peer, why, out);
        }
        if self.wants_blocks() {
            self.window.keep(height, Held::new(peer, block, extended.map(Arc::from)));
        }
    }

    fn on_no_block(&mut self, now: Elapsed, peer: NodeId, height: Height, out: &mut Vec<SyncEffect>) {
        let Some(known) = self.peers.get_mut(&peer) else { return };
        let answer = known.answers(now, height, 0);
        if answer == Answer::Unasked || !self.book(now, peer, height, answer, out) {
            return;
        }
        self.window.release(height, peer);
        if self.peers.get_mut(&peer).is_some_and(|known| known.denies(height)) {
            out.push(SyncEffect::AskStatus(peer));
        }
    }

    /// Draws the consequences of which request was answered. False when the answer is not to be looked at.
    fn book(&mut self, now: Elapsed, peer: NodeId, height: Height, answer: Answer, out: &mut Vec<SyncEffect>) -> bool {
        match answer {
            Answer::InOrder => return true,
            Answer::LeftOut(heights) => {
                heights.into_iter().for_each(|height| self.window.release(height, peer));
                return true;
            }
            Answer::LeftOutAgain(again) => {
                self.drop_peer(now, peer, format!("it left out block {again} twice when it was asked for it"), out);
            }
            Answer::Unasked => {
                self.drop_peer(now, peer, format!("it sent block {height}, for which it was not asked"), out);
            }
        }
        false
    }

    /// What can be seen to be wrong with a block without knowing its validators.
    fn misfit(&self, block: &CandidateBlock, extended: Option<&ExtendedCommit>) -> Option<String> {
        let state = self.state.as_ref()?;
        let header = &block.block().header;
        if header.chain_id != state.chain_id && !mutant!("N10") {
            return Some(format!("it sent block {} of the chain {}", header.height, header.chain_id));
        }
        // Bug class 039: extensions of another block.
        let foreign = extended
            .filter(|commit| !mutant!("N11") && (commit.height != header.height || commit.block_id != block.id()))?;
        Some(format!("it sent block {} with a commit of another block of height {}", header.height, foreign.height))
    }

    /// Whether it may be asked anything.
    pub(super) fn is_usable(&self, now: Elapsed, peer: NodeId) -> bool {
        self.barred.get(&peer).is_none_or(|until| *until <= now || mutant!("N8"))
    }

    /// A liar or a useless one. It is not asked again for a while, should it come back.
    pub(super) fn drop_peer(&mut self, now: Elapsed, peer: NodeId, why: String, out: &mut Vec<SyncEffect>) {
        if !mutant!("N12") {
            self.window.discard_unproven_from(peer);
        }
        if self.barred.len() >= BARRED_MAX
            && !mutant!("N13")
            && let Some(first) = self.barred.iter().min_by_key(|(_, until)| **until).map(|(peer, _)| *peer)
        {
            self.barred.remove(&first);
        }
        self.barred.insert(peer, now + BAR_TIME);
        if self.peers.contains_key(&peer) {
            self.on_peer_gone(peer);
            out.push(SyncEffect::Drop(peer, why));
        }
    }

    /// Drops those who owe answers and do not give them.
    fn judge_peers(&mut self, now: Elapsed, out: &mut Vec<SyncEffect>) {
        if !self.wants_blocks() {
            return;
        }
        let judged = self.peers.iter_mut().filter_map(|(id, peer)| peer.judge(now).err().map(|why| (*id, why)));
        for (peer, why) in judged.collect::<Vec<_>>() {
            self.drop_peer(now, peer, why.to_string(), out);
        }
    }

    // --------------------------------------------------------------------------------------------------- the chain

    fn on_begin(&mut self, now: Elapsed, state: Arc<ChainState>, out: &mut Vec<SyncEffect>) {
        self.state = Some(state);
        if self.decides_alone() {
            self.mode = Mode::Deciding(Doubt::None);
            self.restart_window();
            out.push(SyncEffect::JoinConsensus);
        } else {
            self.restart_window();
            self.begin_fetching(now, out);
        }
    }

    /// Nobody else can have decided anything. Others may become validators later, so it is asked anew each time.
    pub(super) fn decides_alone(&self) -> bool {
        let only_validator = |state: &Arc<ChainState>| {
            self.own.is_some_and(|own| state.validators.len() == 1 && state.validators.by_address(&own).is_some())
        };
        self.role == Role::Alone || self.state.as_ref().is_some_and(only_validator)
    }

    pub(super) fn begin_fetching(&mut self, now: Elapsed, out: &mut Vec<SyncEffect>) {
        let last = self.state.as_ref().map_or(Height::ZERO, |state| state.last_block_height);
        self.mode = Mode::Fetching { since: now };
        self.meter = Meter { from: last, stretch: (now, last), rate: None };
        self.peers.values_mut().for_each(|peer| peer.begin_waiting(now));
        self.ask_everybody(now, super::Purpose::Learn, out);
    }

    /// Forgets what is fetched and asked for; the peers' debts stay, so that late answers are no fault (bug class 042).
    pub(super) fn restart_window(&mut self) {
        let (next, bytes) = self
            .state
            .as_ref()
            .map_or((Height::FIRST, 0), |state| (state.next_height(), state.consensus_params.block.bytes_limit()));
        self.window = Window::new(next, bytes, self.room);
        self.set_hashes = None;
        self.checking = None;
        self.applying = None;
    }

    fn on_applied(&mut self, now: Elapsed, state: Arc<ChainState>) {
        let (last, next) = (state.last_block_height, state.next_height());
        self.window.advance(next);
        self.peers.values_mut().for_each(|peer| peer.forget_below(if mutant!("N92") { Height::ZERO } else { next }));
        self.applying = self.applying.filter(|height| *height > last);
        self.state = Some(state);
        self.set_hashes = None;
        let (since, from) = self.meter.stretch;
        let spent = now.saturating_sub(since);
        if spent >= METER_STRETCH {
            self.meter.rate = Some((last.get().saturating_sub(from.get()) * 1_000) / spent.as_millis() as u64);
            self.meter.stretch = (now, last);
        }
    }

    fn on_pause(&mut self) {
        self.mode = Mode::Paused;
        self.restart_window();
    }
}
