//! PBFT, held against Castro and Liskov, "Practical Byzantine Fault Tolerance" (OSDI '99), whose section numbers stand at
//! each rule; "thesis" is Castro's of 2001. Differences are in docs/DIVERGENCES.md, the argument in docs/protocol/pbft.md.
//!
//! The sequence number is the height, and one height is open at a time; views go across heights. A step takes one fact
//! into the state, fires rules until none applies ([`rules`]), and names the time at which it wants to be woken.
//!
//! Reading order: this file → `height` → `receive` → `rules` → `propose` → `vote` → `certificate` → `view_change` →
//! `new_view` → `status` → `catch_up` → `timers` → `later` → `recover`; `view` stands beside.

mod catch_up;
mod certificate;
mod height;
mod later;
mod new_view;
mod propose;
mod receive;
mod recover;
mod rules;
mod status;
mod timers;
mod view;
mod view_change;
mod vote;

#[cfg(test)]
mod tests;

use super::{Direct, Effect, Effects, Input, Now, Protocol, Reaction, Recent, RoundNote, Start, Tick};
use crate::types::{
    Address, BlockId, Height, JournalRecord, NodeId, PbftStatement, Round, SignRequest, Source, Standing, Statement,
    StatementBody, Step, Time, UnsignedStatement, Validator, ValidatorSet,
};
use catch_up::{Arrival, CatchUp};
use height::{HeightState, Outcome};
use later::Later;
use status::PeerState;
use std::collections::BTreeMap;
use std::sync::Arc;
use view_change::Left;

const NO_LINEARIZABLE_READS: &str = "one PBFT replica cannot tell alone what was decided last: read with \
    consistency=local on f+1 nodes and compare, or have the read ordered by sending a transaction and waiting for its \
    block";

/// Whether the view is at work (§4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Its mandate is here: genesis, the commit of the height before, or a NEW-VIEW.
    Active {
        /// What the NEW-VIEW wants proposed again at this height; none leaves the primary free.
        chosen: Option<BlockId>,
    },
    /// All views below were left; the NEW-VIEW is missing.
    Changing {
        /// True once the signer was asked for our NEW-VIEW, if we are the primary.
        new_view_asked: bool,
    },
}

/// The machine: one height after the other, in one view until it fails.
#[derive(Debug, Clone)]
pub struct Pbft {
    current: HeightState,
    /// Nothing below it is signed any more.
    view: Round,
    phase: Phase,
    /// Views left since the last decision.
    failures: u32,
    /// When the view is left, if nothing is decided until then.
    view_deadline: Option<Tick>,
    /// When the others are offered what waits here, while the deadline runs.
    offer_at: Option<Tick>,
    /// The newest VIEW-CHANGE of every member of the sets of last, this and next height.
    view_changes: BTreeMap<Address, Left>,
    /// What made this view active, to be told again; none once the commit of the height before does.
    new_view: Option<(Height, Statement)>,
    /// What came for the next height.
    later: Later,
    /// What is known of connected peers.
    peers: BTreeMap<NodeId, PeerState>,
    /// The highest height each member was seen at.
    heights: BTreeMap<Address, Height>,
    /// When to say next where we stand.
    status_at: Tick,
    /// The last blocks, for peers a few heights behind.
    recent: Recent,
    /// How we get level with the others.
    catch_up: CatchUp,
    /// How often in a row a status was due with nothing decided since the one before.
    quiet_for: u32,
    /// What was last ordered.
    wake_at: Option<Tick>,
    /// The highest height a sync was asked for, so that one is asked for once.
    sync_hint: Height,
}

impl Protocol for Pbft {
    type Message = Direct;
    type Record = JournalRecord;

    fn recover(now: Now, start: Start, records: &[JournalRecord], out: &mut Effects<Pbft>) -> Pbft {
        let mut machine = Pbft::new(now, start);
        machine.replay(now, records);
        machine.accuse_again(out);
        machine.resume(out);
        machine.settle(now, out);
        machine.schedule(now, out);
        machine
    }

    fn step(&mut self, now: Now, input: Input<Direct>, out: &mut Effects<Pbft>) -> Reaction {
        let reaction = self.take(now, input, out);
        self.settle(now, out);
        self.ask_if_behind(now, out);
        self.schedule(now, out);
        reaction
    }
}

impl Pbft {
    fn new(now: Now, start: Start) -> Pbft {
        let (view, phase) = mandate(&start);
        let params = Arc::clone(&start.params);
        let mut recent = Recent::default();
        keep_last_block(&mut recent, &start);
        Pbft {
            sync_hint: start.height,
            status_at: now.tick.plus(timers::heartbeat(&start.timeouts)),
            current: HeightState::new(now, start),
            view,
            phase,
            failures: 0,
            view_deadline: None,
            offer_at: None,
            view_changes: BTreeMap::new(),
            new_view: None,
            later: Later::new(&params),
            peers: BTreeMap::new(),
            heights: BTreeMap::new(),
            recent,
            catch_up: CatchUp::default(),
            quiet_for: 0,
            wake_at: None,
        }
    }

    fn take(&mut self, now: Now, input: Input<Direct>, out: &mut Effects<Pbft>) -> Reaction {
        match input {
            Input::Received { source, message } => self.on_message(now, source, message, out),
            Input::BlockBuilt { height, round, block } => self.on_block_built(now, (height, round), block, out),
            Input::BlockChecked { height, .. } if height != self.height() => {
                Reaction::Ignored("an answer about a block of another height")
            }
            Input::BlockChecked { round, block_id, verdict, .. } => {
                self.current.blocks.answered(&block_id, &verdict, round, self.view)
            }
            Input::VoteExtended { height, round, extension } => {
                self.on_vote_extended(now, (height, round), extension, out)
            }
            Input::ExtensionVerified { vote, source, accepted: true } => self.on_extension_accepted(vote, source, out),
            Input::ExtensionVerified { vote, accepted: false, .. } => self.on_extension_rejected(&vote),
            Input::BlockApplied(start) => self.on_block_applied(now, *start, out),
            Input::Signed(signed) => self.on_signed(signed, out),
            Input::TxsAvailable => {
                self.current.txs_available = true;
                Reaction::Accepted
            }
            Input::PeerUp(peer) => self.on_peer_up(peer, out),
            Input::PeerDown(peer) => {
                self.peers.remove(&peer);
                self.catch_up.lose(peer);
                Reaction::Accepted
            }
            Input::Woken => self.on_woken(now, out),
            Input::TimerFired(_) => Reaction::Ignored("no such timer was set"),
            Input::Read { ticket, .. } => {
                out.push(Effect::ReadRefused(ticket, NO_LINEARIZABLE_READS.to_owned()));
                Reaction::Accepted
            }
        }
    }

    fn on_message(&mut self, now: Now, source: Source, message: Direct, out: &mut Effects<Pbft>) -> Reaction {
        self.note_peer(source, message.sender_height());
        match message {
            Direct::Statement(statement) => self.on_statement(now, source, statement.into_inner(), out),
            Direct::Outsider(statement) => self.on_outsider(now, source, &statement, out),
            Direct::Proposal { by, proposal } => self.on_proposal(source, by, proposal.into_inner(), out),
            Direct::Part { height, round, part } => self.on_part(source, (height, round), part, out),
            Direct::Vote(vote) => self.on_vote(source, vote.into_inner(), out),
            Direct::Commit(commit) => {
                let reaction = self.on_commit(commit.into_inner(), out);
                if let (Source::Peer(peer), Reaction::Accepted) = (source, &reaction) {
                    self.catch_up.helped_by(peer);
                }
                reaction
            }
        }
    }

    fn on_statement(&mut self, now: Now, source: Source, statement: Statement, out: &mut Effects<Pbft>) -> Reaction {
        let StatementBody::Pbft(body) = &statement.body else {
            return Reaction::PeerFault("a statement of another protocol");
        };
        match &**body {
            PbftStatement::ViewChange { .. } => self.on_view_change(statement, out),
            PbftStatement::NewView { .. } => self.on_new_view(source, statement, out),
            PbftStatement::Status { height, .. } => {
                self.note_height(statement.by, *height, out);
                self.on_status(now, source, body, out)
            }
        }
    }

    /// The height being decided.
    pub fn height(&self) -> Height {
        self.current.start.height
    }

    /// The view.
    pub fn round(&self) -> Round {
        self.view
    }

    /// How far this height is.
    pub fn current_step(&self) -> Step {
        self.current.step
    }

    /// Who decides this height.
    pub fn validators(&self) -> &Arc<ValidatorSet> {
        &self.current.start.validators
    }

    /// Who decided the height before, and may still send COMMITs for it; none at the initial height.
    pub fn last_validators(&self) -> Option<&Arc<ValidatorSet>> {
        self.current.start.last_validators.as_ref()
    }

    /// When this height began, or begins.
    pub fn start_time(&self) -> Time {
        self.current.start_time
    }

    /// The primary of a view at this height: p = v mod n (§4.1).
    pub fn primary(&self, view: Round) -> &Validator {
        primary_of(self.validators(), view)
    }

    fn leads(&self) -> bool {
        self.current.start.own == Some(self.primary(self.view).address)
    }

    fn is_active(&self) -> bool {
        matches!(self.phase, Phase::Active { .. })
    }

    /// What the NEW-VIEW wants proposed again at this height.
    fn chosen(&self) -> Option<BlockId> {
        match self.phase {
            Phase::Active { chosen } => chosen,
            Phase::Changing { .. } => None,
        }
    }

    /// Written before anything is signed in a view, and first thing at each height.
    fn persist_standing(&self, out: &mut Effects<Pbft>) {
        let standing = Standing { height: self.height(), round: self.view, voted_for: None };
        out.push(Effect::Persist(JournalRecord::Standing(standing)));
    }

    fn sign_statement(&self, body: PbftStatement, out: &mut Effects<Pbft>) {
        let Some(by) = self.current.start.own else { return };
        let body = StatementBody::Pbft(Box::new(body));
        out.push(Effect::Sign(SignRequest::Statement(UnsignedStatement { by, body })));
    }

    fn enter_step(&mut self, step: Step, out: &mut Effects<Pbft>) {
        if self.current.step != step {
            self.current.step = step;
            let (height, round) = (self.height(), self.view);
            out.push(Effect::Note(RoundNote::Step { height, round, step }));
        }
    }

    /// The last block is applied: a new height is a new value. Late COMMITs that came meanwhile go along.
    fn on_block_applied(&mut self, now: Now, start: Start, out: &mut Effects<Pbft>) -> Reaction {
        if start.height <= self.height() {
            return Reaction::Ignored("a height that is past");
        }
        let next_in_line = start.height == self.height().next();
        let (view, phase) = mandate(&start);
        let mut next = HeightState::new(now, start);
        if let (true, Outcome::Decided { block, commit }) = (next_in_line, &self.current.outcome) {
            next.start.last_block.get_or_insert_with(|| Arc::clone(block));
            next.take_late_commits(&self.current.tally, commit.round);
        }
        keep_last_block(&mut self.recent, &next.start);
        let decided_here = self.current.tally.decision().is_some();
        self.catch_up.begin_height(if decided_here { Arrival::Level } else { Arrival::Late });
        self.current = next;
        self.failures = 0;
        self.view_deadline = None;
        self.quiet_for = 0;
        self.follow_mandate(view, phase);
        let params = Arc::clone(&self.current.start.params);
        let later = std::mem::replace(&mut self.later, Later::new(&params));
        self.resume(out);
        if next_in_line {
            self.take_later(later, out);
        }
        Reaction::Accepted
    }

    /// Takes over the view that the commit of the height before stands for, unless ours is higher. A view made active by
    /// a NEW-VIEW for the height before stays active: nothing above that height can have been decided in a lower view.
    fn follow_mandate(&mut self, view: Round, phase: Phase) {
        let set_changed = matches!(phase, Phase::Changing { .. });
        if view > self.view || (view == self.view && !set_changed) || (set_changed && self.is_active()) {
            self.phase = phase;
        }
        if let Phase::Active { chosen } = &mut self.phase {
            *chosen = None;
        }
        if let Phase::Changing { new_view_asked } = &mut self.phase {
            *new_view_asked = false;
        }
        self.view = self.view.max(view);
        self.current.tally.enter(self.view);
        let height = self.height();
        let told = |(at, _): &(Height, Statement)| at.get().saturating_add(1) >= height.get();
        let kept = self.is_active();
        self.new_view = self.new_view.take().filter(|new_view| kept && told(new_view));
        self.forget_old_view_changes();
        self.forget_former_members();
    }

    /// Only members of this set count, and have a place.
    fn forget_former_members(&mut self) {
        let (set, height) = (Arc::clone(self.validators()), self.height());
        self.view_changes.retain(|by, _| set.by_address(by).is_some());
        self.heights.retain(|by, seen| *seen > height && set.by_address(by).is_some());
    }
}

/// Keeps the block of the height before, with its commit.
fn keep_last_block(recent: &mut Recent, start: &Start) {
    if let (Some(block), Some(commit)) = (&start.last_block, &start.last_commit) {
        recent.push(Arc::clone(block), commit.clone());
    }
}

/// The view a height begins in (§4.1, and docs/protocol/pbft.md "A view belongs to one validator set"): view 0 at the
/// initial height; the view that decided the height before while the set is the same, because a quorum of that very set
/// was in it; and after a change of the set a view change to the next one.
fn mandate(start: &Start) -> (Round, Phase) {
    let free = Phase::Active { chosen: None };
    let Some(commit) = &start.last_commit else { return (Round::ZERO, free) };
    if start.last_validators.as_ref().is_some_and(|last| same_members(last, &start.validators)) {
        return (commit.round, free);
    }
    (next_view(commit.round), Phase::Changing { new_view_asked: false })
}

/// True when the same members have the same power, whoever's turn it would be.
fn same_members(one: &ValidatorSet, other: &ValidatorSet) -> bool {
    let same = |(a, b): (&Validator, &Validator)| (a.address, a.power) == (b.address, b.power);
    one.len() == other.len() && one.members().iter().zip(other.members()).all(same)
}

/// p = v mod n (§4.1).
fn primary_of(set: &ValidatorSet, view: Round) -> &Validator {
    let index = view.get() as usize % set.len();
    &set.members()[index]
}

/// The view after this one; the last one there is has none after it.
fn next_view(view: Round) -> Round {
    if view.get() < i32::MAX as u32 { view.next() } else { view }
}
