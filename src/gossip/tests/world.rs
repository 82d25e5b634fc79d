//! Several nodes, each a consensus machine with its gossip, joined by links of their own delay and speed. Virtual time;
//! one seed decides everything.
//!
//! A link delivers in order what it wrote in order; what waits on different channels may be written in any order, as
//! the multiplexed connection does. It reports what it has written, and what it has not counts against the account.

use super::made::{Dice, block, node_id, now_at, sign, start, validators};
use super::watch::Watch;
use crate::consensus::tendermint::{Message, Tendermint};
use crate::consensus::{BlockVerdict, Effect, Input, Protocol, Reaction, RoundNote, Signed, Tick};
use crate::crypto::Verified;
use crate::gossip::{ConsensusGossip, Decided, GossipEffect, GossipInput, Signers, Useful};
use crate::types::{
    BlockId, CandidateBlock, Channel, ConsensusMessage, ExtendedCommit, Height, NodeId, Round, Source, TimerId,
    ValidatorSet,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What happens at some time.
#[derive(Debug)]
enum Event {
    Written { from: usize, to: usize, link: u64, channel: Channel, bytes: u64 },
    Deliver { from: usize, to: usize, link: u64, message: ConsensusMessage },
    Timer(usize, TimerId),
    Wake(usize, Tick),
    Signed(usize, Signed),
    Built(usize, Height, Round, Arc<CandidateBlock>),
    Checked(usize, Height, Round, BlockId),
    Applied(usize),
    Loaded(usize, Height),
}

/// How a network is made.
pub(super) struct Plan {
    pub(super) validators: usize,
    /// Nodes that only listen, after the validators.
    pub(super) listeners: usize,
    pub(super) block_bytes: usize,
    /// Longest delay of a link; each pair has its own.
    pub(super) delay: Duration,
    /// Bytes a second that a link writes.
    pub(super) speed: u64,
    /// Who is joined to whom.
    pub(super) joined: fn(usize, usize) -> bool,
    /// Who starts at once; the others when told.
    pub(super) awake: fn(usize) -> bool,
}

impl Plan {
    /// Everybody knows everybody, small blocks, a few milliseconds between any two.
    pub(super) fn mesh(validators: usize) -> Plan {
        Plan {
            validators,
            listeners: 0,
            block_bytes: 500,
            delay: Duration::from_millis(20),
            speed: 100_000_000,
            joined: |_, _| true,
            awake: |_| true,
        }
    }
}

pub(super) struct Node {
    pub(super) machine: Option<Tendermint>,
    pub(super) gossip: ConsensusGossip,
    pub(super) store: BTreeMap<Height, Decided>,
    pub(super) dropped: Vec<(NodeId, String)>,
    pub(super) loads: usize,
    wake: Option<Tick>,
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) set: Arc<ValidatorSet>,
    pub(super) nodes: Vec<Node>,
    pub(super) now: Tick,
    pub(super) watch: Watch,
    pub(super) dice: Dice,
    events: BTreeMap<(Tick, u64), Event>,
    sequence: u64,
    /// Which links are up, and a number that tells a link from the one before it.
    links: BTreeMap<(usize, usize), u64>,
    /// When each channel of a link is free to write, and when the link delivered last.
    busy: BTreeMap<(usize, usize, u8), Tick>,
    delivered: BTreeMap<(usize, usize), Tick>,
    delays: BTreeMap<(usize, usize), u64>,
    blocks: usize,
}

impl World {
    pub(super) fn new(seed: u64, plan: Plan) -> World {
        let (count, mut dice) = (plan.validators + plan.listeners, Dice::new(seed));
        let longest = plan.delay.as_nanos() as u64;
        let pairs = (0..count).flat_map(|a| (0..count).map(move |b| (a, b)));
        let delays = pairs.clone().map(|pair| (pair, longest / 4 + dice.below(longest * 3 / 4 + 1))).collect();
        let node = |_| Node {
            machine: None,
            gossip: ConsensusGossip::new(),
            store: BTreeMap::new(),
            dropped: Vec::new(),
            loads: 0,
            wake: None,
        };
        let mut world = World {
            set: validators(plan.validators),
            nodes: (0..count).map(node).collect(),
            now: Tick(0),
            watch: Watch::default(),
            dice,
            events: BTreeMap::new(),
            sequence: 0,
            links: BTreeMap::new(),
            busy: BTreeMap::new(),
            delivered: BTreeMap::new(),
            delays,
            blocks: 0,
            plan,
        };
        let awake = world.plan.awake;
        for node in (0..count).filter(|node| awake(*node)) {
            world.awaken(node);
        }
        for (a, b) in pairs.filter(|(a, b)| a < b) {
            if (world.plan.joined)(a, b) {
                world.join(a, b);
            }
        }
        world
    }

    /// Begins consensus on a node, at the height after what it has stored.
    pub(super) fn awaken(&mut self, who: usize) {
        let last = self.nodes[who].store.values().next_back().cloned();
        let height = last.as_ref().map_or(Height::FIRST, |decided| decided.commit.height.next());
        let mut begin = start(&self.set, (who < self.plan.validators).then_some(who), height);
        begin.begin_at = self.now;
        if let Some(decided) = last {
            begin.last_validators = Some(Arc::clone(&self.set));
            begin.last_commit = Some(ExtendedCommit::clone(&decided.commit));
        }
        let mut out = Vec::new();
        let machine = Tendermint::recover(now_at(self.now), begin, &[], &mut out);
        self.nodes[who].machine = Some(machine);
        self.execute(who, out);
    }

    /// Stops consensus on a node, as when it fetches blocks.
    pub(super) fn pause(&mut self, who: usize) {
        self.gossip(who, GossipInput::Paused);
        self.nodes[who].machine = None;
    }

    pub(super) fn join(&mut self, a: usize, b: usize) {
        self.sequence += 1;
        self.links.insert((a, b), self.sequence);
        self.links.insert((b, a), self.sequence);
        self.watch.joined(a, b);
        self.gossip(a, GossipInput::PeerUp(node_id(b)));
        self.gossip(b, GossipInput::PeerUp(node_id(a)));
    }

    pub(super) fn part(&mut self, a: usize, b: usize) {
        if self.links.remove(&(a, b)).is_some() {
            self.links.remove(&(b, a));
            self.gossip(a, GossipInput::PeerDown(node_id(b)));
            self.gossip(b, GossipInput::PeerDown(node_id(a)));
        }
    }

    /// Cuts the network in two.
    pub(super) fn divide(&mut self, one_side: impl Fn(usize) -> bool) {
        let links: BTreeSet<_> = self.links.keys().copied().collect();
        for (a, b) in links {
            if a < b && one_side(a) != one_side(b) {
                self.part(a, b);
            }
        }
    }

    /// Runs until `done`, or until `seconds` have passed; true when done.
    pub(super) fn run_until(&mut self, seconds: u64, done: impl Fn(&World) -> bool) -> bool {
        let end = self.now.plus(Duration::from_secs(seconds));
        while !done(self) {
            let Some(((at, _), _)) = self.events.first_key_value() else { return false };
            if *at > end {
                self.now = end;
                return false;
            }
            let ((at, _), event) = self.events.pop_first().expect("looked at");
            self.now = at;
            self.happen(event);
        }
        true
    }

    /// The lowest height among nodes that decide.
    pub(super) fn lowest(&self) -> u64 {
        self.nodes.iter().map(|node| node.machine.as_ref().map_or(0, |m| m.height().get())).min().expect("nodes")
    }

    pub(super) fn height(&self, who: usize) -> u64 {
        self.nodes[who].machine.as_ref().map_or(0, |machine| machine.height().get())
    }

    /// Every height stored twice is stored alike, and nobody was dropped.
    pub(super) fn check(&self) {
        let mut known: BTreeMap<Height, BlockId> = BTreeMap::new();
        for node in &self.nodes {
            assert!(node.dropped.is_empty(), "dropped {:?}", node.dropped);
            for (height, decided) in &node.store {
                let id = decided.block.id();
                assert_eq!(*known.entry(*height).or_insert(id), id, "two blocks at height {height}");
            }
        }
        self.watch.check();
    }

    fn at(&mut self, at: Tick, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    fn soon(&mut self, event: Event) {
        let after = Duration::from_micros(200 + self.dice.below(800));
        self.at(self.now.plus(after), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Written { from, to, link, channel, bytes } => {
                if self.links.get(&(from, to)) == Some(&link) {
                    self.watch.written(from, to, channel, bytes);
                    self.gossip(from, GossipInput::Written { peer: node_id(to), channel, bytes });
                }
            }
            Event::Deliver { from, to, link, message } => {
                if self.links.get(&(from, to)) == Some(&link) {
                    self.hear(from, to, message);
                }
            }
            Event::Timer(who, timer) => self.consensus(who, Input::TimerFired(timer)).map_or((), drop),
            Event::Wake(who, at) => {
                if self.nodes[who].wake == Some(at) {
                    self.nodes[who].wake = None;
                    self.gossip(who, GossipInput::Woken);
                }
            }
            Event::Signed(who, signed) => self.consensus(who, Input::Signed(signed)).map_or((), drop),
            Event::Built(who, height, round, block) => {
                self.consensus(who, Input::BlockBuilt { height, round, block }).map_or((), drop)
            }
            Event::Checked(who, height, round, block_id) => {
                let verdict = BlockVerdict::Accept;
                self.consensus(who, Input::BlockChecked { height, round, block_id, verdict }).map_or((), drop)
            }
            Event::Applied(who) => self.applied(who),
            Event::Loaded(who, height) => {
                let decided = self.nodes[who].store.get(&height).cloned();
                self.gossip(who, GossipInput::DecidedLoaded { height, decided });
            }
        }
    }

    fn applied(&mut self, who: usize) {
        let Some(machine) = &self.nodes[who].machine else { return };
        let height = machine.height();
        let decided = &self.nodes[who].store[&height];
        let mut next = start(&self.set, (who < self.plan.validators).then_some(who), height.next());
        next.last_validators = Some(Arc::clone(&self.set));
        next.last_commit = Some(ExtendedCommit::clone(&decided.commit));
        next.begin_at = self.now.plus(Duration::from_millis(500));
        self.consensus(who, Input::BlockApplied(Box::new(next)));
    }

    /// A message arrives: gossip first, then consensus, as the replica does. Signatures mean nothing here.
    fn hear(&mut self, from: usize, to: usize, message: ConsensusMessage) {
        let peer = node_id(from);
        crate::gossip::check::check(&message).expect("an honest message is well-formed");
        let said = self.nodes[to].machine.as_ref().and_then(|machine| said(machine, &message));
        self.watch.heard(from, to, &message);
        self.gossip(to, GossipInput::Heard { peer, message });
        let Some(message) = said else { return };
        let what = match &message {
            Message::Proposal(_) => None,
            Message::Part { .. } => Some(Useful::Part),
            Message::Vote(_) => Some(Useful::Vote),
        };
        let reaction = self.consensus(to, Input::Received { source: Source::Peer(peer), message });
        match (reaction, what) {
            (Some(Reaction::Accepted), Some(what)) => self.gossip(to, GossipInput::Useful { peer, what }),
            (Some(Reaction::PeerFault(why)), _) => panic!("an honest peer is faulted: {why}"),
            _ => {}
        }
    }

    fn consensus(&mut self, who: usize, input: Input<Message>) -> Option<Reaction> {
        let now = now_at(self.now);
        let mut out = Vec::new();
        let reaction = self.nodes[who].machine.as_mut()?.step(now, input, &mut out);
        if reaction == Reaction::Accepted {
            self.execute(who, out);
        }
        Some(reaction)
    }

    fn execute(&mut self, who: usize, effects: Vec<Effect<Tendermint>>) {
        let mut notes: Vec<RoundNote> = Vec::new();
        for effect in effects {
            match effect {
                Effect::Sign(request) => self.soon(Event::Signed(who, sign(request))),
                Effect::SetTimer { timer, at, .. } => self.at(at, Event::Timer(who, timer)),
                Effect::BuildBlock(order) => {
                    self.blocks += 1;
                    let built = block(order.height, &format!("block {}", self.blocks), self.plan.block_bytes);
                    self.soon(Event::Built(who, order.height, order.round, built));
                }
                Effect::CheckBlock { height, round, block } => {
                    self.soon(Event::Checked(who, height, round, block.id()))
                }
                Effect::Decide(decision) => {
                    let decided = Decided { block: decision.block, commit: Arc::new(decision.commit) };
                    self.nodes[who].store.insert(decided.commit.height, decided);
                    self.soon(Event::Applied(who));
                }
                Effect::Note(note) => notes.push(note),
                _ => {}
            }
        }
        self.gossip(who, GossipInput::Advanced(notes));
    }

    pub(super) fn gossip(&mut self, who: usize, input: GossipInput) {
        let mut out = Vec::new();
        let node = &mut self.nodes[who];
        node.gossip.step(now_at(self.now), input, node.machine.as_ref(), &mut out);
        for effect in out {
            match effect {
                GossipEffect::Send(to, message) => self.send(who, to, message),
                GossipEffect::SendAll(to, message) => {
                    assert!(to.len() > 1, "SendAll to {}", to.len());
                    to.into_iter().for_each(|to| self.send(who, to, message.clone()));
                }
                GossipEffect::Broadcast(message) => {
                    for to in 0..self.nodes.len() {
                        if self.links.contains_key(&(who, to)) {
                            self.send(who, node_id(to), message.clone());
                        }
                    }
                }
                GossipEffect::LoadDecided(height) => {
                    self.nodes[who].loads += 1;
                    self.soon(Event::Loaded(who, height));
                }
                GossipEffect::WakeAt(at) => {
                    self.nodes[who].wake = Some(at);
                    self.at(at, Event::Wake(who, at));
                }
                GossipEffect::Drop(peer, why) => self.nodes[who].dropped.push((peer, why)),
                GossipEffect::Good(_) => {}
            }
        }
    }

    /// Puts a message on a link.
    fn send(&mut self, from: usize, to: NodeId, message: ConsensusMessage) {
        let to = (0..self.nodes.len()).find(|node| node_id(*node) == to).expect("a node");
        let link = *self.links.get(&(from, to)).unwrap_or_else(|| panic!("{from} speaks to {to}, which is gone"));
        let (channel, bytes) = (message.channel(), message.encode().len() as u64);
        self.watch.sent(from, to, &message, bytes);
        let taking = Duration::from_nanos(bytes * 1_000_000_000 / self.plan.speed + self.dice.below(100_000));
        let free = self.busy.entry((from, to, channel as u8)).or_default();
        let written = (*free).max(self.now).plus(taking);
        *free = written;
        self.at(written, Event::Written { from, to, link, channel, bytes });
        let last = self.delivered.entry((from, to)).or_default();
        let arrives = (*last).max(written.plus(Duration::from_nanos(self.delays[&(from, to)])));
        *last = arrives;
        self.at(arrives, Event::Deliver { from, to, link, message });
    }
}

/// What [`crate::gossip::hear`] makes of a message, every signature taken for good.
fn said(machine: &Tendermint, message: &ConsensusMessage) -> Option<Message> {
    let signers = Signers::of(&super::made::chain_id(), machine);
    match message {
        ConsensusMessage::Proposal(proposal) => {
            let round_known = signers.proposers.iter().any(|(round, _)| *round == proposal.round);
            let ours = proposal.height == signers.height && round_known;
            ours.then(|| Message::Proposal(Verified::trusted(proposal.clone())))
        }
        ConsensusMessage::Vote(vote) => {
            let late = vote.height.get() + 1 == signers.height.get() && signers.last_validators.is_some();
            (vote.height == signers.height || late).then(|| Message::Vote(Verified::trusted(vote.clone())))
        }
        ConsensusMessage::BlockPart { height, round, part } if *height == signers.height => {
            Some(Message::Part { height: *height, round: *round, part: part.clone() })
        }
        _ => None,
    }
}
