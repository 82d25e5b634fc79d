//! Several machines, their signers, journals, applications and links, driven by one seed. Cloneable, so that a test can
//! ask what would have happened.
//!
//! Oracles (`oracles.rs`) watch every effect. They know what everybody signed and decided, and share no code with the machine:
//! one leader for each term and set; one vote a term; one acknowledgement for each height and term; what a majority
//! acknowledged is what every later leader proposes; blocks are decided through acknowledgements of the decider's own
//! term; no height is decided twice; no reader is told less than was decided when it asked.

use super::scene::{ELECTION, address, block, now_at, peer, set_of, sign, start};
use crate::consensus::raft::Raft;
use crate::consensus::{
    BlockVerdict, Direct, Effect, Input, Lead, Protocol, RaftRole, Reaction, ReadMode, ReadTicket, Signed, Tick,
};
use crate::types::{
    Address, BlockId, CandidateBlock, CommitSig, ExtendedCommit, Height, JournalRecord, NodeId, Round, SignRequest,
    Source, StatementBody, ValidatorSet, Vote,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// xorshift64*: small, and the same everywhere.
#[derive(Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n.max(1)
    }

    /// True `percent` times in a hundred.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone)]
enum Event {
    Message {
        from: usize,
        to: usize,
        message: Direct,
    },
    /// An answer to a machine, if it is still the one that asked.
    Answer {
        to: usize,
        life: u32,
        answer: Answer,
    },
    Wake {
        to: usize,
        life: u32,
    },
    Restart {
        who: usize,
    },
}

#[derive(Clone)]
enum Answer {
    Signed(Signed),
    Built(Height, Round, Arc<CandidateBlock>),
    Checked((Height, Round), BlockId, BlockVerdict),
    Extended(Height, Round),
    Verified(Vote, Source),
    Applied(Height),
    Synced,
}

#[derive(Clone)]
pub(super) struct Node {
    pub(super) machine: Raft,
    pub(super) up: bool,
    life: u32,
    /// Survives a crash.
    pub(super) durable: Vec<JournalRecord>,
    /// Written, not synced.
    buffered: Vec<JournalRecord>,
    /// The last block in its store.
    pub(super) stored: Height,
    signer_free_at: Tick,
    pub(super) signed: BTreeMap<(Height, Round, u8), BlockOrNil>,
    wake: Option<Tick>,
    /// When it was woken last, and how often in a row at that same moment.
    woken_at: Tick,
    spins: u32,
    syncing: bool,
}

/// Who is woken so often in a row at one moment of time would keep a processor busy for ever.
const SPINS_MAX: u32 = 100;

type BlockOrNil = Option<BlockId>;

/// Where to crash: after this many effects of the next step, and whether what was not synced is lost.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    pub(super) after: usize,
    pub(super) unsynced_lost: bool,
}

/// How bad the world is.
#[derive(Clone, Copy)]
pub(super) struct Weather {
    /// In a hundred messages.
    pub(super) lost: usize,
    pub(super) doubled: usize,
    /// In milliseconds; drawn for each message, so that they overtake each other.
    pub(super) delay: usize,
    /// In a thousand steps.
    pub(super) crashes: usize,
    /// In a thousand steps: the links are cut anew.
    pub(super) cuts: usize,
}

impl Weather {
    pub(super) const CALM: Weather = Weather { lost: 0, doubled: 0, delay: 3, crashes: 0, cuts: 0 };
    pub(super) const STORM: Weather = Weather { lost: 10, doubled: 10, delay: 60, crashes: 8, cuts: 4 };
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) nodes: Vec<Node>,
    pub(super) dice: Dice,
    pub(super) weather: Weather,
    pub(super) tick: Tick,
    /// From which height which set decides.
    sets: BTreeMap<Height, Arc<ValidatorSet>>,
    events: BTreeMap<(Tick, u64), Event>,
    serial: u64,
    /// When the last message of a link arrives: without a storm they arrive in order, as on one connection.
    busy: BTreeMap<(usize, usize), Tick>,
    /// Links that carry nothing, from and to.
    pub(super) cut: BTreeSet<(usize, usize)>,
    pub(super) decided: BTreeMap<Height, (Arc<CandidateBlock>, ExtendedCommit)>,
    /// Who led a term of a set.
    pub(super) leaders: BTreeMap<(Round, Vec<Address>), usize>,
    /// Who got whose vote in which term.
    pub(super) ballots: BTreeMap<(usize, Round), Address>,
    /// Reads under way: what was decided when they came.
    pub(super) reads: BTreeMap<ReadTicket, Height>,
    pub(super) reads_answered: u64,
    pub(super) reads_refused: u64,
    /// Who rejects whose blocks.
    pub(super) rejects: BTreeSet<(usize, usize)>,
    builders: BTreeMap<BlockId, usize>,
    pub(super) extensions: bool,
    pub(super) empty_blocks: crate::consensus::EmptyBlocks,
    pub(super) accusations: u64,
    /// How often somebody had blocks fetched.
    pub(super) fetches: u64,
    pub(super) complaints: Vec<String>,
}

impl World {
    /// `nodes` nodes, of which the first `members` are the set.
    pub(super) fn new(seed: u64, nodes: usize, members: usize) -> World {
        let all: Vec<usize> = (0..members).collect();
        World::with_sets(seed, nodes, BTreeMap::from([(Height::FIRST, set_of(&all))]))
    }

    pub(super) fn with_sets(seed: u64, nodes: usize, sets: BTreeMap<Height, Arc<ValidatorSet>>) -> World {
        World::with(seed, nodes, sets, |_| {})
    }

    pub(super) fn with(
        seed: u64,
        nodes: usize,
        sets: BTreeMap<Height, Arc<ValidatorSet>>,
        bend: impl Fn(&mut World),
    ) -> World {
        let mut world = World {
            nodes: Vec::new(),
            dice: Dice::new(seed),
            weather: Weather::CALM,
            tick: Tick(1),
            sets,
            events: BTreeMap::new(),
            serial: 0,
            busy: BTreeMap::new(),
            cut: BTreeSet::new(),
            decided: BTreeMap::new(),
            leaders: BTreeMap::new(),
            ballots: BTreeMap::new(),
            reads: BTreeMap::new(),
            reads_answered: 0,
            reads_refused: 0,
            rejects: BTreeSet::new(),
            builders: BTreeMap::new(),
            extensions: false,
            empty_blocks: crate::consensus::EmptyBlocks::Always,
            accusations: 0,
            fetches: 0,
            complaints: Vec::new(),
        };
        bend(&mut world);
        for who in 0..nodes {
            let mut out = Vec::new();
            let machine = Raft::recover(now_at(world.tick), world.start(who, Height::FIRST), &[], &mut out);
            world.nodes.push(Node {
                machine,
                up: true,
                life: 0,
                durable: Vec::new(),
                buffered: Vec::new(),
                stored: Height::ZERO,
                signer_free_at: Tick(0),
                signed: BTreeMap::new(),
                wake: None,
                woken_at: Tick(0),
                spins: 0,
                syncing: false,
            });
            world.execute(who, out, None);
        }
        for who in 0..nodes {
            world.connect(who);
        }
        world
    }

    pub(super) fn set_at(&self, height: Height) -> &Arc<ValidatorSet> {
        self.sets.range(..=height).next_back().map(|(_, set)| set).expect("a set for the first height")
    }

    fn start(&self, own: usize, height: Height) -> crate::consensus::Start {
        let mut begin = start(self.set_at(height), own, height.get());
        begin.timeouts.empty_blocks = self.empty_blocks;
        begin.begin_at = self.tick;
        begin.next_validators = Arc::clone(self.set_at(height.next()));
        if self.extensions {
            let mut params = (*begin.params).clone();
            params.abci.vote_extensions_enable_height = Some(Height::FIRST);
            begin.params = Arc::new(params);
        }
        if let Some((height, (block, commit))) = height.previous().and_then(|h| Some((h, self.decided.get(&h)?))) {
            begin.last_validators = Some(Arc::clone(self.set_at(height)));
            begin.last_commit = Some(commit.clone());
            begin.last_block = Some(Arc::clone(block));
        }
        begin
    }

    fn after(&mut self, millis: usize) -> Tick {
        let micros = self.dice.below(1000) as u64;
        self.tick.plus(Duration::from_millis(millis as u64) + Duration::from_micros(micros))
    }

    fn schedule(&mut self, at: Tick, event: Event) {
        self.serial += 1;
        self.events.insert((at, self.serial), event);
    }

    /// Everybody who is up sees `who`, and it sees them.
    fn connect(&mut self, who: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != who) {
            if self.nodes[other].up && self.nodes[who].up {
                self.step(who, Input::PeerUp(peer(other)), None);
                self.step(other, Input::PeerUp(peer(who)), None);
            }
        }
    }

    pub(super) fn step(&mut self, who: usize, input: Input<Direct>, cut: Option<Cut>) -> usize {
        let mut out = Vec::new();
        let reaction = self.nodes[who].machine.step(now_at(self.tick), input, &mut out);
        if let Reaction::PeerFault(why) = reaction {
            self.complaints.push(format!("an honest peer was called faulty by node {who}: {why}"));
        }
        let effects = out.len();
        self.execute(who, out, cut);
        self.check_leader(who);
        effects
    }

    /// Runs the next event; `None` when there is none.
    pub(super) fn turn(&mut self, cut: Option<Cut>) -> Option<usize> {
        let ((at, _), event) = self.events.pop_first()?;
        self.tick = self.tick.max(at);
        let cut = cut.or_else(|| self.draw_cut());
        self.draw_links();
        match event {
            Event::Message { from, to, message } => {
                if !self.nodes[to].up || self.cut.contains(&(from, to)) {
                    return Some(0);
                }
                let message = match message {
                    Direct::Statement(statement) if self.is_outsider(to, &statement.by) => {
                        Direct::Outsider(statement.into_inner())
                    }
                    message => message,
                };
                Some(self.step(to, Input::Received { source: Source::Peer(peer(from)), message }, cut))
            }
            Event::Answer { to, life, answer } => {
                if self.nodes[to].life != life {
                    return Some(0);
                }
                let input = self.input(to, answer)?;
                Some(self.step(to, input, cut))
            }
            Event::Wake { to, life } => {
                let node = &mut self.nodes[to];
                if node.life != life || node.wake.is_none_or(|wake| wake > self.tick) {
                    return Some(0);
                }
                node.spins = if node.woken_at == self.tick { node.spins + 1 } else { 0 };
                node.woken_at = self.tick;
                assert!(node.spins < SPINS_MAX, "{to} wants to be woken again and again, and time stands still");
                node.wake = None;
                Some(self.step(to, Input::Woken, cut))
            }
            Event::Restart { who } => {
                self.restart(who);
                Some(0)
            }
        }
    }

    fn is_outsider(&self, at: usize, address: &Address) -> bool {
        let height = self.nodes[at].machine.height();
        let known = [Some(height), height.previous(), Some(height.next())];
        !known.into_iter().flatten().any(|h| self.set_at(h.max(Height::FIRST)).by_address(address).is_some())
    }

    fn draw_cut(&mut self) -> Option<Cut> {
        (self.dice.below(1000) < self.weather.crashes)
            .then(|| Cut { after: self.dice.below(6), unsynced_lost: self.dice.chance(50) })
    }

    fn draw_links(&mut self) {
        if self.dice.below(1000) >= self.weather.cuts {
            return;
        }
        self.cut.clear();
        let all = self.nodes.len();
        match self.dice.below(4) {
            0 => {}
            1 => self.isolate(self.clone().dice.below(all)),
            2 => {
                let side: Vec<bool> = (0..all).map(|_| self.dice.chance(50)).collect();
                let pairs = (0..all).flat_map(|a| (0..all).map(move |b| (a, b)));
                self.cut.extend(pairs.filter(|(a, b)| side[*a] != side[*b]));
            }
            _ => {
                // One way only.
                let (from, to) = (self.dice.below(all), self.dice.below(all));
                self.cut.insert((from, to));
            }
        }
    }

    /// Cuts all links of `who`.
    pub(super) fn isolate(&mut self, who: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != who) {
            self.cut.extend([(who, other), (other, who)]);
        }
    }

    fn input(&mut self, who: usize, answer: Answer) -> Option<Input<Direct>> {
        Some(match answer {
            Answer::Signed(signed) => Input::Signed(signed),
            Answer::Built(height, round, block) => Input::BlockBuilt { height, round, block },
            Answer::Checked((height, round), block_id, verdict) => {
                Input::BlockChecked { height, round, block_id, verdict }
            }
            Answer::Extended(height, round) => {
                Input::VoteExtended { height, round, extension: Bytes::from(format!("{who} {height}")) }
            }
            Answer::Verified(vote, source) => Input::ExtensionVerified { vote, source, accepted: true },
            Answer::Applied(height) if self.nodes[who].stored == height => {
                Input::BlockApplied(Box::new(self.start(who, height.next())))
            }
            Answer::Applied(_) => return None,
            Answer::Synced => return self.synced(who),
        })
    }

    /// Blocks that a connected node has, and whose commit is in a later block, can be fetched.
    fn synced(&mut self, who: usize) -> Option<Input<Direct>> {
        self.nodes[who].syncing = false;
        let reachable = |other: &usize| {
            *other != who
                && self.nodes[*other].up
                && !self.cut.contains(&(*other, who))
                && !self.cut.contains(&(who, *other))
        };
        let best = (0..self.nodes.len()).filter(reachable).map(|other| self.nodes[other].stored).max()?;
        let last = best.previous()?;
        if last <= self.nodes[who].stored {
            return None;
        }
        self.store(who, last);
        Some(Input::BlockApplied(Box::new(self.start(who, last.next()))))
    }

    /// A block is in the store: of the journal only the newest standing is needed.
    fn store(&mut self, who: usize, height: Height) {
        let node = &mut self.nodes[who];
        node.stored = height;
        node.durable.append(&mut node.buffered);
        let newest = node.durable.iter().rev().find(|record| matches!(record, JournalRecord::Standing(_))).cloned();
        node.durable = newest.into_iter().collect();
    }

    fn execute(&mut self, who: usize, effects: Vec<Effect<Raft>>, cut: Option<Cut>) {
        for (done, effect) in effects.into_iter().enumerate() {
            if cut.is_some_and(|cut| cut.after == done) {
                break;
            }
            self.execute_one(who, effect);
        }
        if let Some(cut) = cut {
            self.crash(who, cut.unsynced_lost);
        }
    }

    fn answer(&mut self, who: usize, at: Tick, answer: Answer) {
        let life = self.nodes[who].life;
        self.schedule(at, Event::Answer { to: who, life, answer });
    }

    fn execute_one(&mut self, who: usize, effect: Effect<Raft>) {
        match effect {
            Effect::Persist(record) => self.nodes[who].buffered.push(record),
            Effect::Sign(request) => {
                let node = &mut self.nodes[who];
                node.durable.append(&mut node.buffered);
                self.sign(who, request);
            }
            Effect::Broadcast(message) => {
                self.check_commit(who, &message);
                for to in (0..self.nodes.len()).filter(|to| *to != who) {
                    self.send(who, to, message.clone());
                }
            }
            Effect::Send(to, message) => {
                let to = (0..self.nodes.len()).find(|node| peer(*node) == to).expect("a known node");
                self.send(who, to, message);
            }
            Effect::WakeAt(at) => {
                self.nodes[who].wake = Some(at);
                let life = self.nodes[who].life;
                self.schedule(at.max(self.tick), Event::Wake { to: who, life });
            }
            Effect::BuildBlock(order) => {
                // Never the same block twice: building again shows as a contradiction.
                let built = block(order.height.get(), &format!("block {}", self.builders.len()));
                self.builders.insert(built.id(), who);
                let at = self.after(1);
                self.answer(who, at, Answer::Built(order.height, order.round, built));
            }
            Effect::CheckBlock { height, round, block } => {
                let builder = self.builders.get(&block.id()).copied();
                let bad = builder.is_some_and(|builder| self.rejects.contains(&(who, builder)));
                let verdict = if bad { BlockVerdict::Reject("not ours".into()) } else { BlockVerdict::Accept };
                let at = self.after(1);
                self.answer(who, at, Answer::Checked((height, round), block.id(), verdict));
            }
            Effect::ExtendVote { height, round, .. } => {
                let at = self.after(1);
                self.answer(who, at, Answer::Extended(height, round));
            }
            Effect::VerifyExtension { vote, source } => {
                let at = self.after(1);
                self.answer(who, at, Answer::Verified(vote, source));
            }
            Effect::Decide(decision) => self.decide(who, decision.block, decision.commit),
            Effect::RequestSync(_) if !self.nodes[who].syncing => {
                self.fetches += 1;
                self.nodes[who].syncing = true;
                let at = self.after(20);
                self.answer(who, at, Answer::Synced);
            }
            Effect::ReadAt(ticket, height) => self.check_read(who, ticket, height),
            Effect::ReadRefused(ticket, _) => {
                self.reads_refused += 1;
                self.reads.remove(&ticket);
            }
            Effect::Accuse(_) => self.accusations += 1,
            Effect::RequestSync(_) | Effect::SetTimer { .. } | Effect::OfferTxs | Effect::Note(_) => {}
        }
    }

    fn send(&mut self, from: usize, to: usize, message: Direct) {
        let copies = if self.dice.chance(self.weather.doubled) { 2 } else { 1 };
        for _ in 0..copies {
            if self.dice.chance(self.weather.lost) || self.cut.contains(&(from, to)) {
                continue;
            }
            let delay = self.dice.below(self.weather.delay);
            let mut at = self.after(1 + delay);
            if self.weather.lost == 0 {
                let busy = self.busy.entry((from, to)).or_insert(at);
                at = at.max(*busy);
                *busy = at;
            }
            self.schedule(at, Event::Message { from, to, message: message.clone() });
        }
    }

    fn sign(&mut self, who: usize, request: SignRequest) {
        let (height, round) = match &request {
            SignRequest::Statement(statement) => {
                if let StatementBody::Raft(body) = &statement.body {
                    self.check_statement(who, body);
                }
                (Height::ZERO, Round::ZERO)
            }
            SignRequest::Proposal(proposal) => {
                self.check_proposal(who, proposal.height, proposal.round, proposal.block_id);
                (proposal.height, proposal.round)
            }
            SignRequest::Vote(vote) => (vote.height, vote.round),
        };
        let signed = if self.guard(who, &request) { sign(request) } else { Signed::Refused { height, round } };
        let free = self.nodes[who].signer_free_at.max(self.tick).plus(Duration::from_micros(200));
        self.nodes[who].signer_free_at = free;
        self.answer(who, free, Answer::Signed(signed));
    }

    /// What the real guard does: nothing twice with other words, nothing behind the last.
    fn guard(&mut self, who: usize, request: &SignRequest) -> bool {
        let (key, what) = match request {
            SignRequest::Statement(_) => return true,
            SignRequest::Proposal(proposal) => ((proposal.height, proposal.round, 1), Some(proposal.block_id)),
            SignRequest::Vote(vote) => {
                self.check_ack(who, vote);
                ((vote.height, vote.round, 3), vote.block_id)
            }
        };
        let node = &mut self.nodes[who];
        match node.signed.get(&key) {
            Some(before) if *before != what => {
                self.complaints.push(format!("contradiction: node {who} at {key:?}: {before:?}, then {what:?}"));
                return false;
            }
            Some(_) => return true,
            None => {}
        }
        let last = node.signed.last_key_value().map(|(last, _)| *last);
        if last.is_some_and(|last| last > key) {
            return false;
        }
        node.signed.insert(key, what);
        true
    }

    fn decide(&mut self, who: usize, block: Arc<CandidateBlock>, commit: ExtendedCommit) {
        let height = commit.height;
        let set = Arc::clone(self.set_at(height));
        let mut sum = 0;
        for (index, entry) in commit.signatures.iter().enumerate() {
            let CommitSig::Commit(part) = &entry.sig else { continue };
            let signer = (0..self.nodes.len()).find(|node| address(*node) == part.validator_address);
            let signed = signer.and_then(|node| self.nodes[node].signed.get(&(height, commit.round, 3)));
            if signed != Some(&Some(commit.block_id)) {
                self.complaints.push(format!("height {height}: signature {index} of a commit nobody made"));
            }
            sum += set.by_index(index as u32).map_or(0, |member| member.power.get());
        }
        if 2 * sum <= set.total_power().get() || block.id() != commit.block_id {
            self.complaints.push(format!("node {who} decided height {height} on {sum} of {}", set.total_power()));
        }
        if height != self.nodes[who].stored.next() {
            self.complaints.push(format!("node {who} decides {height} after {}", self.nodes[who].stored));
        }
        let (first, _) = self.decided.entry(height).or_insert((Arc::clone(&block), commit));
        if first.id() != block.id() {
            self.complaints.push(format!("agreement: node {who} decided another block at height {height}"));
        }
        self.store(who, height);
        let delay = self.dice.below(4);
        let at = self.after(delay);
        self.answer(who, at, Answer::Applied(height));
    }

    /// The node stops; it comes back some time later with what its disk kept.
    pub(super) fn crash(&mut self, who: usize, unsynced_lost: bool) {
        let node = &mut self.nodes[who];
        if !unsynced_lost {
            node.durable.append(&mut node.buffered);
        }
        node.buffered.clear();
        node.up = false;
        node.life += 1;
        node.wake = None;
        node.syncing = false;
        for other in (0..self.nodes.len()).filter(|other| *other != who) {
            if self.nodes[other].up {
                self.step(other, Input::PeerDown(peer(who)), None);
            }
        }
        let millis = self.dice.below(400);
        let at = self.after(millis);
        self.schedule(at, Event::Restart { who });
    }

    fn restart(&mut self, who: usize) {
        if self.nodes[who].up {
            return;
        }
        let begin = self.start(who, self.nodes[who].stored.next());
        let mut out = Vec::new();
        let machine = Raft::recover(now_at(self.tick), begin, &self.nodes[who].durable, &mut out);
        self.nodes[who].machine = machine;
        self.nodes[who].up = true;
        self.execute(who, out, None);
        self.connect(who);
    }

    /// Somebody asks `who` to hand the lead over to `to`.
    pub(super) fn hand_over(&mut self, who: usize, to: usize) {
        let mut out = Vec::new();
        let reaction = self.nodes[who].machine.hand_over(now_at(self.tick), Some(address(to)), &mut out);
        assert_eq!(reaction, Reaction::Accepted);
        self.execute(who, out, None);
    }

    /// A client reads at `who`.
    pub(super) fn read(&mut self, who: usize, mode: ReadMode) {
        self.serial += 1;
        let ticket = ReadTicket(self.serial);
        let floor = self.decided.keys().next_back().copied().unwrap_or(Height::ZERO);
        if self.nodes[who].up {
            self.reads.insert(ticket, floor);
            self.step(who, Input::Read { ticket, mode }, None);
        }
    }

    pub(super) fn role(&self, who: usize) -> RaftRole {
        match self.nodes[who].machine.view().lead {
            Lead::Leader { role, .. } => role,
            other => panic!("Raft has a leader, not {other:?}"),
        }
    }

    /// Who leads the highest term that is led.
    pub(super) fn leader(&self) -> Option<usize> {
        let leads = |who: &usize| self.nodes[*who].up && self.role(*who) == RaftRole::Leader;
        (0..self.nodes.len()).filter(leads).max_by_key(|who| self.nodes[*who].machine.round())
    }

    /// The lowest height a node that is up is at.
    pub(super) fn lowest(&self) -> Height {
        self.nodes.iter().filter(|node| node.up).map(|node| node.machine.height()).min().expect("nodes")
    }

    pub(super) fn highest(&self) -> Height {
        self.nodes.iter().map(|node| node.stored.next()).max().expect("nodes")
    }

    /// From now on nothing is lost, cut or stopped.
    pub(super) fn heal(&mut self) {
        self.weather = Weather::CALM;
        self.cut.clear();
    }

    /// Runs for so many election timeouts, or until `done`; says whether it was.
    pub(super) fn run_until(&mut self, timeouts: u32, done: impl Fn(&World) -> bool) -> bool {
        let end = self.tick.plus(ELECTION * timeouts);
        while self.tick < end {
            if done(self) {
                return true;
            }
            if self.turn(None).is_none() && self.events.is_empty() {
                break;
            }
            assert!(self.complaints.is_empty(), "{:?}", self.complaints);
        }
        done(self)
    }

    /// Where everybody stands, for messages of failing tests.
    pub(super) fn standing(&self) -> String {
        let stand = |who: usize| {
            let node = &self.nodes[who];
            let (height, term) = (node.machine.height(), node.machine.round());
            format!("{who}: {:?} {:?} at {height}/{term} up={}", self.role(who), node.machine.current_step(), node.up)
        };
        (0..self.nodes.len()).map(stand).collect::<Vec<_>>().join("; ")
    }
}

/// The connection of a node, for tests that bring their own messages.
pub(super) fn source(node: usize) -> NodeId {
    peer(node)
}
