//! A node: its machine, and what it keeps when the machine dies.

use super::chain::State;
use super::gossip::Shelf;
use super::protocol::Watched;
use super::signer::Key;
use crate::consensus::{BlockVerdict, Decision, Effect, Input, Now, Signed, Tick};
use crate::sim::{Dice, NodeNr, Unsynced};
use crate::types::{BlockId, CandidateBlock, Height, JournalMessage, JournalRecord, Round, Source, TimerId, Vote};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// One node of the network.
#[derive(Debug)]
pub(super) struct Node<P: Watched> {
    /// None while it is down.
    pub(super) machine: Option<P>,
    /// Answers to an earlier life are for nobody.
    pub(super) life: u32,
    pub(super) disk: Disk,
    pub(super) key: Key,
    pub(super) clock: Clock,
    /// After the last block applied. The application keeps it.
    pub(super) state: Arc<State>,
    /// Ordered and not yet done.
    pub(super) work: VecDeque<Effect<P>>,
    /// What came, and was not yet told to the machine.
    pub(super) inbox: VecDeque<Arrival<P::Message>>,
    /// The signer's answers; they come first.
    pub(super) signed: VecDeque<Signed>,
    /// The journal is being synced, and what follows waits.
    pub(super) syncing: bool,
    /// How many pauses lie on it.
    pub(super) pauses: u32,
    pub(super) doom: Option<Doom>,
    /// It does what it ordered when it took up its height.
    pub(super) recovering: bool,
    /// Until then its application answers nothing.
    pub(super) app_back: Tick,
    /// What it will answer when it is back.
    pub(super) held: Vec<Answer>,
    /// When the machine wants to be woken, by the node's own clock.
    pub(super) wake: Option<Tick>,
    pub(super) fetching: bool,
    /// When the block being applied was decided, by the node's own clock.
    pub(super) decided_at: Option<Tick>,
    pub(super) shelf: Shelf<P::Message>,
}

/// What a node keeps.
#[derive(Debug, Default)]
pub(super) struct Disk {
    durable: Vec<JournalRecord>,
    /// Written, not synced.
    buffered: Vec<JournalRecord>,
    /// Decided blocks by height, from 1.
    pub(super) blocks: Vec<Arc<Decision>>,
}

/// A death that is due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Doom {
    /// Effects until then.
    pub(super) left: u32,
    pub(super) unsynced: Unsynced,
    pub(super) away: Duration,
}

/// What comes to a node.
#[derive(Debug)]
pub(super) enum Arrival<M> {
    /// From another node, its signatures good.
    Word(NodeNr, Arc<M>),
    /// The application's answer.
    Answer(Answer),
    Timer(TimerId),
    Woken,
    PeerUp(NodeNr),
    PeerDown(NodeNr),
    Read(u64),
}

/// What the application or the store answers.
#[derive(Debug)]
pub(super) enum Answer {
    Built(Height, Round, Arc<CandidateBlock>),
    Checked((Height, Round), Arc<CandidateBlock>, BlockVerdict),
    Extended(Height, Round, Bytes),
    Verified(Vote, Source, bool),
    /// The stored block of this height was executed.
    Applied(Height),
}

/// A node's own time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// The moment of the run at which its monotonic clock showed `local`.
    global: Tick,
    local: Tick,
    /// Its speed, in thousandths.
    rate: u64,
    /// What its wall clock is wrong by, in nanoseconds.
    pub(super) offset: i64,
}

impl Clock {
    pub(super) const TRUE: Clock = Clock { global: Tick(0), local: Tick(0), rate: 1000, offset: 0 };

    /// What it shows.
    pub(super) fn now(&self, at: Tick) -> Now {
        let tick = self.local(at);
        Now { tick, wall: super::chain::wall(at, self.offset) }
    }

    fn local(&self, at: Tick) -> Tick {
        Tick(self.local.0 + at.0.saturating_sub(self.global.0) / 1000 * self.rate)
    }

    /// When it will show `local`.
    pub(super) fn global(&self, local: Tick) -> Tick {
        Tick(
            self.global.0.saturating_add(local.0.saturating_sub(self.local.0).div_ceil(self.rate).saturating_mul(1000)),
        )
    }

    /// From now on it runs at another speed.
    pub(super) fn set_rate(&mut self, at: Tick, per_mille: u16) {
        (self.local, self.global, self.rate) = (self.local(at), at, u64::from(per_mille.max(1)));
    }

    /// A life begins: monotonic time counts from the start of the process.
    pub(super) fn restart(&mut self, at: Tick) {
        (self.local, self.global) = (Tick(1), at);
    }
}

impl<P: Watched> Node<P> {
    pub(super) fn new(key: Key, state: Arc<State>) -> Node<P> {
        Node {
            machine: None,
            life: 0,
            disk: Disk::default(),
            key,
            clock: Clock::TRUE,
            state,
            work: VecDeque::new(),
            inbox: VecDeque::new(),
            signed: VecDeque::new(),
            syncing: false,
            pauses: 0,
            doom: None,
            recovering: false,
            app_back: Tick(0),
            held: Vec::new(),
            wake: None,
            fetching: false,
            decided_at: None,
            shelf: Shelf::default(),
        }
    }

    /// True when it can do the next thing now.
    pub(super) fn is_free(&self) -> bool {
        self.machine.is_some() && !self.syncing && self.pauses == 0
    }

    /// The last thing it did or knew is gone, but for what its disk, its signer and its application keep.
    pub(super) fn forget(&mut self) {
        self.machine = None;
        self.life += 1;
        self.work.clear();
        self.inbox.clear();
        self.held.clear();
        self.signed.clear();
        self.syncing = false;
        self.pauses = 0;
        self.doom = None;
        self.wake = None;
        self.fetching = false;
        self.decided_at = None;
        self.shelf.clear();
    }
}

impl Disk {
    pub(super) fn write(&mut self, record: JournalRecord) {
        self.buffered.push(record);
    }

    /// True when something written may still be lost.
    pub(super) fn is_dirty(&self) -> bool {
        !self.buffered.is_empty()
    }

    /// Everything written is durable. What belongs to heights that are over is cut off, but for the newest standing.
    pub(super) fn synced(&mut self) {
        let before = self.durable.len();
        self.durable.append(&mut self.buffered);
        let ended = self.durable[before..].iter().rposition(|record| matches!(record, JournalRecord::EndHeight(_)));
        let Some(ended) = ended.map(|at| before + at) else { return };
        let standing = self.durable[..ended].iter().rposition(is_standing);
        if let Some(standing) = standing {
            self.durable.swap(standing, 0);
            self.durable.drain(1..=ended);
        } else {
            self.durable.drain(..=ended);
        }
    }

    /// A life ends. What was not synced is kept, or kept up to some point: writes reach a disk in order at best.
    pub(super) fn end(&mut self, unsynced: Unsynced, dice: &mut Dice) {
        if unsynced == Unsynced::Lost {
            let kept = dice.below(self.buffered.len() as u64 + 1);
            self.buffered.truncate(kept as usize);
        }
        self.synced();
    }

    /// What the journal has for `height`, as `wal` reads it: its records, and the newest standing.
    pub(super) fn records(&self, height: Height) -> Vec<JournalRecord> {
        let needed = |record: &&JournalRecord| {
            let of = height_of(record);
            is_standing(record) || of == height || of.next() == height
        };
        self.durable.iter().filter(needed).cloned().collect()
    }

    /// The height of the last block in the store.
    pub(super) fn stored(&self) -> Height {
        Height::new(self.blocks.len() as u64)
    }

    /// The block of a height and what decided it.
    pub(super) fn block(&self, height: Height) -> Option<&Arc<Decision>> {
        self.blocks.get(usize::try_from(height.get().checked_sub(1)?).ok()?)
    }
}

fn is_standing(record: &JournalRecord) -> bool {
    matches!(record, JournalRecord::Standing(_))
}

fn height_of(record: &JournalRecord) -> Height {
    match record {
        JournalRecord::Message { message: JournalMessage::Proposal(proposal), .. } => proposal.height,
        JournalRecord::Message { message: JournalMessage::Part { height, .. }, .. } => *height,
        JournalRecord::Message { message: JournalMessage::Vote(vote), .. } => vote.height,
        JournalRecord::Timeout { timer, .. } => timer.height,
        JournalRecord::RoundStep { height, .. } | JournalRecord::EndHeight(height) => *height,
        JournalRecord::Standing(standing) => standing.height,
    }
}

impl Answer {
    /// The fact it is for the machine; none where the world has to do something first.
    pub(super) fn into_input<M>(self) -> Option<Input<M>> {
        Some(match self {
            Answer::Built(height, round, block) => Input::BlockBuilt { height, round, block },
            Answer::Checked((height, round), block, verdict) => {
                let block_id: BlockId = block.id();
                Input::BlockChecked { height, round, block_id, verdict }
            }
            Answer::Extended(height, round, extension) => Input::VoteExtended { height, round, extension },
            Answer::Verified(vote, source, accepted) => Input::ExtensionVerified { vote, source, accepted },
            Answer::Applied(_) => return None,
        })
    }
}
