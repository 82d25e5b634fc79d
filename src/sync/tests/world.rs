//! Everything around the planner: model peers, a driver that checks every order, and a clock.

use super::chain::Chain;
use crate::crypto::Signature;
use crate::sync::*;
use crate::types::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How a model peer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    Honest,
    /// Answers nothing.
    Silent,
    /// Says its status and gives no block.
    Stingy,
    /// From this height on, blocks are made up.
    FakesBlocks(u64),
    /// From this height on, the commits inside the blocks are made up.
    FakesCommits(u64),
    /// From this height on, extended commits are made up.
    FakesExtensions(u64),
    /// From this height on, it leaves extended commits out, or adds some.
    TogglesExtensions(u64),
    /// Sends the block after the one it was asked for.
    WrongHeight,
    /// Claims a height nobody has; has no such block.
    Boasts,
    /// Claims a height nobody has, and makes its blocks up.
    BoastsAndFakes,
    /// Claims a thousand blocks more than there are, and gives each as soon as it exists.
    Promises,
    /// Claims that its blocks begin far above.
    HighBase,
    /// Claims a base above its height.
    Impossible,
    /// Says it does not have the blocks it claims.
    Denies,
    /// Leaves out every fifth block.
    LeavesOut,
    /// Disconnects after so many blocks.
    Vanishes(u64),
    /// Sends everything twice.
    Twice,
    /// Has pruned below this height.
    Pruned(u64),
    /// First claims a great height, then the true one.
    Retracts,
    /// An earlier part of the chain.
    Behind(u64),
}

impl Habit {
    /// Whether this peer does something for which it must be dropped, once it is asked.
    pub(super) fn is_honest(self) -> bool {
        matches!(self, Habit::Honest | Habit::Vanishes(_) | Habit::Pruned(_) | Habit::Behind(_) | Habit::Retracts)
    }
}

#[derive(Debug)]
pub(super) struct ModelPeer {
    pub(super) id: NodeId,
    pub(super) habit: Habit,
    /// One way.
    pub(super) latency: Duration,
    /// To send one block.
    pub(super) per_block: Duration,
    pub(super) connected: bool,
    free_at: Duration,
    served: u64,
    asked_status: u32,
}

#[derive(Debug)]
enum Event {
    Input(SyncInput),
    Served(NodeId),
    Reconnect(NodeId),
    Grown,
}

/// The world.
pub(super) struct World {
    pub(super) chain: Chain,
    pub(super) sync: Sync,
    pub(super) now: Duration,
    pub(super) peers: BTreeMap<NodeId, ModelPeer>,
    /// By time, then in order of creation.
    events: BTreeMap<(Duration, u64), Event>,
    sequence: u64,
    alarm: Option<Duration>,
    pub(super) height: u64,
    pub(super) deciding: bool,
    pub(super) joined_at: Vec<Duration>,
    pub(super) left: u32,
    pub(super) dropped: BTreeMap<NodeId, String>,
    pub(super) drops: u32,
    pub(super) asks: Vec<(Duration, NodeId, u64)>,
    pub(super) status_asks: u32,
    pub(super) most_held: u64,
    pub(super) execution: Duration,
    pub(super) checking: Duration,
    /// The highest block honest peers have.
    pub(super) tip: u64,
    /// How often they get one more.
    pub(super) grows_every: Option<Duration>,
    /// Dropped peers come back after so long.
    pub(super) comes_back_after: Option<Duration>,
    /// Peers that kept silent about a block they claimed are not faulty at once: what was asked of whom and when.
    owed: BTreeSet<(NodeId, u64)>,
    /// What peers will give as soon as it exists.
    promised: BTreeSet<(NodeId, u64)>,
}

impl World {
    pub(super) fn new(chain: Chain, own: Option<Address>) -> World {
        let (height, tip) = (chain.first() - 1, chain.last());
        World {
            tip,
            grows_every: None,
            chain,
            sync: Sync::new(Role::OneOfMany, own),
            now: ms(1),
            peers: BTreeMap::new(),
            events: BTreeMap::new(),
            sequence: 0,
            alarm: None,
            height,
            deciding: false,
            joined_at: Vec::new(),
            left: 0,
            dropped: BTreeMap::new(),
            drops: 0,
            asks: Vec::new(),
            status_asks: 0,
            most_held: 0,
            execution: ms(1),
            checking: ms(2),
            comes_back_after: None,
            owed: BTreeSet::new(),
            promised: BTreeSet::new(),
        }
    }

    /// A peer that connects now.
    pub(super) fn connect(&mut self, habit: Habit) -> NodeId {
        self.connect_with(habit, ms(10), ms(1))
    }

    pub(super) fn connect_with(&mut self, habit: Habit, latency: Duration, per_block: Duration) -> NodeId {
        let id = NodeId::new(Address::new([self.peers.len() as u8 + 1; Address::LEN]));
        let peer = ModelPeer {
            id,
            habit,
            latency,
            per_block,
            connected: true,
            free_at: Duration::ZERO,
            served: 0,
            asked_status: 0,
        };
        self.peers.insert(id, peer);
        self.tell(SyncInput::PeerUp(id));
        id
    }

    /// The application is there.
    pub(super) fn begin(&mut self) {
        self.tell(SyncInput::Begin(self.chain.state(self.height)));
    }

    /// Lets the chain of the others grow from now on.
    pub(super) fn grow(&mut self) {
        if let Some(interval) = self.grows_every {
            self.later(interval, Event::Grown);
        }
    }

    /// Consensus decided a block.
    pub(super) fn decide(&mut self) {
        assert!(self.deciding);
        self.height += 1;
        self.tell(SyncInput::Applied(self.chain.state(self.height)));
    }

    pub(super) fn tell(&mut self, input: SyncInput) {
        let mut out = Vec::new();
        self.sync.step(self.now, input, &mut out);
        self.sync.window.check();
        self.most_held = self.most_held.max(self.sync.window.held_bytes());
        out.into_iter().for_each(|effect| self.execute(effect));
    }

    fn later(&mut self, after: Duration, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + after, self.sequence), event);
    }

    /// Lets time pass until `enough` or the time is over. True when it was enough.
    pub(super) fn run_until(&mut self, limit: Duration, enough: impl Fn(&World) -> bool) -> bool {
        let end = self.now + limit;
        while !enough(self) {
            let next = self.events.keys().next().map(|(at, _)| *at);
            let alarm = self.alarm;
            let Some(moment) = [next, alarm].into_iter().flatten().min().filter(|moment| *moment <= end) else {
                self.now = end;
                return enough(self);
            };
            self.now = self.now.max(moment);
            if alarm == Some(moment) {
                self.alarm = None;
                self.tell(SyncInput::Woken);
            } else if let Some((_, event)) = self.events.pop_first() {
                self.happen(event);
            }
        }
        true
    }

    pub(super) fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    pub(super) fn run_until_joined(&mut self, limit: Duration) {
        let joined = self.run_until(limit, |world| world.deciding);
        let progress = self.sync.progress();
        assert!(joined, "not joined after {limit:?}: {progress:?}, dropped {:?}", self.dropped);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Input(input) => {
                let from = match &input {
                    SyncInput::Status { peer, .. }
                    | SyncInput::Block { peer, .. }
                    | SyncInput::NoBlock { peer, .. } => Some(*peer),
                    _ => None,
                };
                if from.is_none_or(|peer| self.peers[&peer].connected) {
                    self.tell(input);
                }
            }
            Event::Served(peer) => {
                let model = self.peers.get_mut(&peer).unwrap();
                model.served += 1;
                if matches!(model.habit, Habit::Vanishes(after) if model.served == after) {
                    self.disconnect(peer);
                }
            }
            Event::Grown => {
                self.tip = self.chain.last().min(self.tip + 1);
                let tip = self.tip;
                let promised = std::mem::take(&mut self.promised);
                let (made, left) = promised.into_iter().partition::<BTreeSet<_>, _>(|(_, height)| *height <= tip);
                self.promised = left;
                for (peer, height) in made {
                    if self.peers[&peer].connected {
                        let kept = self.block(peer, height, |_| ());
                        self.tell(kept);
                    }
                }
                self.grow();
            }
            Event::Reconnect(peer) => {
                self.peers.get_mut(&peer).unwrap().connected = true;
                self.tell(SyncInput::PeerUp(peer));
            }
        }
    }

    pub(super) fn disconnect(&mut self, peer: NodeId) {
        let model = self.peers.get_mut(&peer).unwrap();
        if model.connected {
            model.connected = false;
            model.free_at = Duration::ZERO;
            self.owed.retain(|(id, _)| *id != peer);
            self.tell(SyncInput::PeerDown(peer));
        }
    }

    // ------------------------------------------------------------------------------------------------ the driver

    fn execute(&mut self, effect: SyncEffect) {
        match effect {
            SyncEffect::Ask { peer, height } => self.on_ask(peer, height.get()),
            SyncEffect::AskStatus(peer) => {
                self.status_asks += 1;
                self.on_ask_status(peer);
            }
            SyncEffect::Verify { ticket, checks } => {
                let outcomes = checks.iter().map(|check| self.truth(check)).collect();
                self.later(self.checking, Event::Input(SyncInput::Verified { ticket, outcomes }));
            }
            SyncEffect::Apply { block, commit } => {
                assert!(!self.deciding, "nothing is applied while consensus decides");
                let height = self.height + 1;
                assert_eq!(block.id(), self.chain.block(height).id(), "the chain's block {height} comes next");
                match self.chain.extended(height) {
                    Some(extended) => assert_eq!(commit, extended),
                    None => assert_eq!(commit, ExtendedCommit::from(self.chain.commit(height))),
                }
                self.height = height;
                self.later(self.execution, Event::Input(SyncInput::Applied(self.chain.state(height))));
            }
            SyncEffect::LeaveConsensus => {
                assert!(self.deciding, "consensus is left only when it was joined");
                (self.deciding, self.left) = (false, self.left + 1);
            }
            SyncEffect::JoinConsensus => {
                assert!(!self.deciding, "consensus is joined once");
                assert_eq!(self.sync.state.as_ref().unwrap().last_block_height.get(), self.known());
                self.deciding = true;
                self.joined_at.push(self.now);
            }
            SyncEffect::Drop(peer, why) => {
                assert!(self.peers[&peer].connected, "only who is there is dropped: {why}");
                self.dropped.insert(peer, why);
                self.drops += 1;
                self.peers.get_mut(&peer).unwrap().connected = false;
                self.owed.retain(|(id, _)| *id != peer);
                self.later(Duration::ZERO, Event::Input(SyncInput::PeerDown(peer)));
                if let Some(after) = self.comes_back_after {
                    self.later(after, Event::Reconnect(peer));
                }
            }
            SyncEffect::WakeAt(at) => {
                assert!(at > self.now, "an alarm is in the future");
                self.alarm = Some(at);
            }
        }
    }

    /// The state's height before the first block is 0.
    fn known(&self) -> u64 {
        if self.height < self.chain.first() { 0 } else { self.height }
    }

    /// The oracle of commit checks: it knows the chain instead of verifying signatures.
    fn truth(&self, check: &CommitCheck) -> Result<(), CheckFault> {
        let height = check.block.block().header.height.get();
        if height > self.chain.last() {
            return Err(CheckFault::Commit("there is no such block".to_owned()));
        }
        let set_is_right = check.validators.hash() == self.chain.set(height).hash();
        if let Some(extended) = &check.extended_commit
            && (!set_is_right || Some(&**extended) != self.extended_as_signed(height, check).as_ref())
        {
            return Err(CheckFault::Extensions("not what was signed".to_owned()));
        }
        if !set_is_right || *check.commit != self.chain.commit(height) {
            return Err(CheckFault::Commit("nobody signed this".to_owned()));
        }
        if check.commit.block_id != check.block.id() {
            return Err(CheckFault::Block("another block was signed".to_owned()));
        }
        Ok(())
    }

    /// An extended commit where none belongs may carry good signatures all the same.
    fn extended_as_signed(&self, height: u64, check: &CommitCheck) -> Option<ExtendedCommit> {
        let id = self.chain.block(height).id();
        self.chain.extended(height).or_else(|| (check.block.id() == id).then(|| self.chain.commit(height).into()))
    }

    // ------------------------------------------------------------------------------------------------- model peers

    fn on_ask(&mut self, peer: NodeId, height: u64) {
        assert!(self.peers[&peer].connected, "only who is there is asked");
        assert!(height > self.height || !self.deciding, "what is applied is not asked for");
        self.asks.push((self.now, peer, height));
        self.owed.insert((peer, height));
        let owed = self.owed.iter().filter(|(id, _)| *id == peer).count();
        assert!(owed <= limits::PENDING_PER_PEER_MAX, "{owed} requests to one peer");
        let answers = self.answers(peer, height);
        let (now, model) = (self.now, self.peers.get_mut(&peer).unwrap());
        let start = (now + model.latency).max(model.free_at);
        model.free_at = start + model.per_block;
        let arrives = model.free_at + model.latency - now;
        for answer in answers {
            self.later(arrives, Event::Input(answer));
        }
        self.later(arrives, Event::Served(peer));
    }

    fn answers(&mut self, peer: NodeId, height: u64) -> Vec<SyncInput> {
        let habit = self.peers[&peer].habit;
        if habit != Habit::Stingy && habit != Habit::Silent {
            self.owed.remove(&(peer, height));
        }
        let none = || vec![SyncInput::NoBlock { peer, height: Height::new(height) }];
        let exists = height <= self.tip;
        match habit {
            Habit::Promises if !exists => {
                self.promised.insert((peer, height));
                Vec::new()
            }
            Habit::Silent | Habit::Stingy => Vec::new(),
            Habit::Denies => none(),
            Habit::LeavesOut if height.is_multiple_of(5) => Vec::new(),
            Habit::WrongHeight if height < self.tip => vec![self.block(peer, height + 1, |_| ())],
            Habit::Twice if exists => vec![self.block(peer, height, |_| ()), self.block(peer, height, |_| ())],
            Habit::FakesBlocks(from) if exists && height >= from => vec![self.block(peer, height, fake)],
            Habit::BoastsAndFakes => {
                let height = if exists { height } else { self.tip };
                vec![self.block(peer, height, fake)]
            }
            Habit::FakesCommits(from) if exists && height >= from => {
                vec![self.block(peer, height, |block| {
                    let Some(commit) = &mut block.last_commit else { return };
                    if let Some(CommitSig::Commit(part)) = commit.signatures.first_mut() {
                        part.signature = Signature::new([9; 64]);
                    }
                })]
            }
            _ if exists => vec![self.block(peer, height, |_| ())],
            _ => none(),
        }
    }

    fn block(&self, peer: NodeId, height: u64, change: impl Fn(&mut Block)) -> SyncInput {
        let truth = self.chain.block(height);
        let mut altered = truth.block().clone();
        change(&mut altered);
        let block = if altered == *truth.block() { Arc::clone(truth) } else { Arc::new(CandidateBlock::new(altered)) };
        let mut extended = self.chain.extended(height);
        match self.peers[&peer].habit {
            Habit::FakesExtensions(from) if height >= from => {
                if let Some(commit) = &mut extended {
                    commit.signatures[0].extension = bytes::Bytes::from_static(b"made up");
                }
            }
            Habit::TogglesExtensions(from) if height >= from => {
                extended = match extended {
                    Some(_) => None,
                    None => Some(self.chain.commit(height).into()),
                };
            }
            _ => {}
        }
        // A forger would not send an extended commit for another block.
        if let Some(commit) = &mut extended {
            commit.block_id = block.id();
        }
        SyncInput::Block { peer, block, extended_commit: extended.map(Box::new) }
    }

    fn on_ask_status(&mut self, peer: NodeId) {
        assert!(self.peers[&peer].connected, "only who is there is asked");
        let (first, last) = (self.chain.first(), self.tip);
        let model = self.peers.get_mut(&peer).unwrap();
        model.asked_status += 1;
        let far = 1 << 62;
        let (base, height) = match model.habit {
            Habit::Silent => return,
            Habit::Boasts | Habit::BoastsAndFakes => (first, far),
            Habit::Promises => (first, last + 1_000),
            Habit::Retracts if model.asked_status == 1 => (first, last + 50),
            Habit::HighBase => (far, far + 9),
            Habit::Impossible => (last, first - 1),
            Habit::Pruned(base) => (base, last),
            Habit::Behind(height) if height < first => (0, 0),
            Habit::Behind(height) => (first, height),
            _ if self.chain.shape.blocks == 0 => (0, 0),
            _ => (first, last),
        };
        let status = SyncInput::Status { peer, base: Height::new(base), height: Height::new(height) };
        let round_trip = model.latency * 2;
        self.later(round_trip, Event::Input(status));
    }
}

fn fake(block: &mut Block) {
    block.header.app_hash = bytes::Bytes::from_static(b"made up");
}
