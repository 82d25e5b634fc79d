//! Several machines, their signers, journals, applications and links, driven by one seed. Cloneable, so that a test can
//! ask what would have happened. What [`super::byzantine`] adds are lies; here are the links, the crashes and the oracles.

use super::puppets::{address, node_id, now_at, primary, seat, set_of, sign, start};
use crate::consensus::pbft::Pbft;
use crate::consensus::{BlockVerdict, Direct, Effect, Input, Protocol, Signed, Start, Tick};
use crate::types::{
    BlockId, CandidateBlock, ExtendedCommit, Height, JournalRecord, NodeId, PbftStatement, Round, SignRequest, Source,
    StatementBody, Step, ValidatorSet, VoteKind,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Most messages on their way; older ones get lost.
const LINKS_MAX: usize = 3_000;
/// What liars remember of what was said.
const HEARD_MAX: usize = 400;

/// xorshift64*: small, and the same everywhere.
#[derive(Clone)]
pub(super) struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
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

/// An answer on its way back to a machine.
#[derive(Clone)]
enum Answer {
    Signed(Signed),
    Built(Height, Round, Arc<CandidateBlock>),
    Checked(Height, Round, BlockId),
    Applied,
    /// Blocks up to here, fetched from others.
    Fetched(Height),
}

#[derive(Clone)]
pub(super) struct Node {
    pub(super) machine: Pbft,
    /// Survives a crash.
    durable: Vec<JournalRecord>,
    /// Written, not synced.
    buffered: Vec<JournalRecord>,
    /// What the signer signed: the height, view and step, then what.
    signatures: BTreeMap<(Height, Round, u8), BlockId>,
    /// The highest view it said it goes to.
    left_for: Round,
    from_signer: VecDeque<Answer>,
    from_app: VecDeque<Answer>,
    wake_at: Tick,
}

/// Where to crash: after this many effects of the next step, and whether what was not synced is lost.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    pub(super) after: usize,
    pub(super) unsynced_lost: bool,
}

/// Who decides which height.
#[derive(Clone)]
pub(super) enum Membership {
    /// The same set always.
    Fixed(Arc<ValidatorSet>),
    /// The first set for that many heights, then the second, and so on in turn.
    Turns(u64, Vec<Arc<ValidatorSet>>),
}

impl Membership {
    pub(super) fn at(&self, height: Height) -> Arc<ValidatorSet> {
        match self {
            Membership::Fixed(set) => Arc::clone(set),
            Membership::Turns(every, sets) => Arc::clone(&sets[(height.get() / every) as usize % sets.len()]),
        }
    }
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) membership: Membership,
    pub(super) nodes: Vec<Node>,
    /// Those who lie; at most f of each set.
    pub(super) liars: BTreeSet<usize>,
    pub(super) dice: Dice,
    pub(super) decided: BTreeMap<Height, (Arc<CandidateBlock>, ExtendedCommit)>,
    pub(super) blocks: Vec<Arc<CandidateBlock>>,
    /// Blocks no application accepts.
    pub(super) bad: BTreeSet<BlockId>,
    /// What was said, for those who say it again.
    pub(super) heard: Vec<Direct>,
    pub(super) tick: Tick,
    pub(super) complaints: Vec<String>,
    /// Parts that left, and orders to fetch blocks.
    pub(super) parts_said: usize,
    pub(super) syncs: usize,
    /// Messages arrive as they were said, and what is about a height whose signers are unknown does not arrive.
    pub(super) in_order: bool,
    links: Vec<(usize, usize, Direct)>,
    /// Messages lost and doubled, in a hundred.
    drops: usize,
    /// Who is on the other side of a cut, if there is one.
    cut_off: BTreeSet<usize>,
}

impl World {
    pub(super) fn of(seed: u64, people: usize, membership: Membership, liars: &[usize]) -> World {
        let mut world = World {
            membership,
            nodes: Vec::new(),
            liars: liars.iter().copied().collect(),
            dice: Dice::new(seed),
            decided: BTreeMap::new(),
            blocks: Vec::new(),
            bad: BTreeSet::new(),
            heard: Vec::new(),
            tick: Tick(0),
            complaints: Vec::new(),
            parts_said: 0,
            syncs: 0,
            in_order: false,
            links: Vec::new(),
            drops: 15,
            cut_off: BTreeSet::new(),
        };
        for who in 0..people {
            let mut out = Vec::new();
            let begin = world.start(who, Height::FIRST);
            let machine = Pbft::recover(now_at(Tick(0)), begin, &[], &mut out);
            world.nodes.push(Node {
                machine,
                durable: Vec::new(),
                buffered: Vec::new(),
                signatures: BTreeMap::new(),
                left_for: Round::ZERO,
                from_signer: VecDeque::new(),
                from_app: VecDeque::new(),
                wake_at: Tick(0),
            });
            world.execute(who, out, None);
        }
        world
    }

    /// One set of `people`, the last `liars` of them lie.
    pub(super) fn new(seed: u64, people: usize, liars: usize) -> World {
        let everybody: Vec<usize> = (0..people).collect();
        let membership = Membership::Fixed(set_of(&everybody));
        World::of(seed, people, membership, &everybody[people - liars..])
    }

    fn start(&self, who: usize, height: Height) -> Start {
        let mut begin = start(&self.membership.at(height), Some(who), height.get());
        let before = height.previous().and_then(|h| Some((h, self.decided.get(&h)?)));
        if let Some((h, (block, commit))) = before {
            begin.last_block = Some(Arc::clone(block));
            begin.last_commit = Some(commit.clone());
            begin.last_validators = Some(self.membership.at(h));
        }
        begin.begin_at = self.tick.plus(Duration::from_millis(20));
        begin
    }

    /// From now on nothing is lost and nobody lies.
    pub(super) fn heal(&mut self) {
        self.drops = 0;
        self.liars.clear();
        self.cut_off.clear();
    }

    pub(super) fn honest(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|who| !self.liars.contains(who))
    }

    pub(super) fn lowest(&self) -> Height {
        self.nodes.iter().map(|node| node.machine.height()).min().expect("nodes")
    }

    pub(super) fn highest(&self) -> Height {
        self.nodes.iter().map(|node| node.machine.height()).max().expect("nodes")
    }

    /// Nobody hears this one any more, and it hears nobody.
    pub(super) fn cut_off(&mut self, who: usize) {
        self.cut_off.insert(who);
    }

    /// Cuts the net in two, or mends it.
    pub(super) fn shuffle_partition(&mut self) {
        self.cut_off.clear();
        if self.dice.chance(60) {
            let count = self.dice.below(self.nodes.len());
            for _ in 0..count {
                let who = self.dice.below(self.nodes.len());
                self.cut_off.insert(who);
            }
        }
    }

    /// Takes one step somewhere; the number of effects when there was something to do.
    pub(super) fn turn(&mut self, cut: Option<Cut>) -> usize {
        if !self.liars.is_empty() && self.dice.chance(12) {
            self.lie();
        }
        let (who, input) = self.pick();
        let mut out = Vec::new();
        self.nodes[who].machine.step(now_at(self.tick), input, &mut out);
        let effects = out.len();
        self.execute(who, out, cut);
        effects
    }

    /// Two who were cut off from each other are connected again.
    pub(super) fn meet(&mut self, one: usize, other: usize) {
        for (who, peer) in [(one, other), (other, one)] {
            let mut out = Vec::new();
            self.nodes[who].machine.step(now_at(self.tick), Input::PeerUp(node_id(peer)), &mut out);
            self.execute(who, out, None);
        }
    }

    fn pick(&mut self) -> (usize, Input<Direct>) {
        for _ in 0..30 {
            let who = self.dice.below(self.nodes.len());
            match self.dice.below(4) {
                0 => {
                    if let Some(answer) = self.nodes[who].from_signer.pop_front() {
                        return (who, self.input(who, answer));
                    }
                }
                1 => {
                    if let Some(answer) = self.nodes[who].from_app.pop_front() {
                        return (who, self.input(who, answer));
                    }
                }
                _ => {
                    if let Some(delivered) = self.deliver() {
                        return delivered;
                    }
                }
            }
        }
        let who = (0..self.nodes.len()).min_by_key(|who| self.nodes[*who].wake_at).expect("nodes");
        self.tick = self.tick.max(self.nodes[who].wake_at);
        self.nodes[who].wake_at = Tick(u64::MAX);
        (who, Input::Woken)
    }

    fn deliver(&mut self) -> Option<(usize, Input<Direct>)> {
        if self.links.is_empty() {
            return None;
        }
        let at = if self.in_order { 0 } else { self.dice.below(self.links.len().min(40)) };
        let (from, to, message) = self.links.remove(at);
        if self.in_order && beyond(&message, self.nodes[to].machine.height()) {
            return None;
        }
        if self.cut_off.contains(&from) != self.cut_off.contains(&to) || self.dice.chance(self.drops) {
            return None;
        }
        if self.dice.chance(self.drops / 2) {
            self.links.push((from, to, message.clone()));
        }
        Some((to, Input::Received { source: Source::Peer(node_id(from)), message }))
    }

    fn input(&mut self, who: usize, answer: Answer) -> Input<Direct> {
        match answer {
            Answer::Signed(signed) => Input::Signed(signed),
            Answer::Built(height, round, block) => Input::BlockBuilt { height, round, block },
            Answer::Checked(height, round, block_id) => {
                let bad = self.bad.contains(&block_id);
                let verdict = if bad { BlockVerdict::Reject("bad".to_owned()) } else { BlockVerdict::Accept };
                Input::BlockChecked { height, round, block_id, verdict }
            }
            Answer::Applied | Answer::Fetched(_) => {
                let applied =
                    if let Answer::Fetched(height) = answer { height } else { self.nodes[who].machine.height() };
                let next = self.start(who, applied.next());
                // The journal of a height ends with its block; the newest standing is always found.
                let node = &mut self.nodes[who];
                node.durable.append(&mut node.buffered);
                let standing =
                    node.durable.iter().rfind(|record| matches!(record, JournalRecord::Standing(_))).cloned();
                node.durable = standing.into_iter().collect();
                Input::BlockApplied(Box::new(next))
            }
        }
    }

    /// Runs effects in order, up to a crash.
    fn execute(&mut self, who: usize, effects: Vec<Effect<Pbft>>, cut: Option<Cut>) {
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

    fn execute_one(&mut self, who: usize, effect: Effect<Pbft>) {
        let promises = matches!(effect, Effect::Sign(_) | Effect::Broadcast(_) | Effect::Send(..) | Effect::Decide(_));
        let node = &mut self.nodes[who];
        if promises {
            node.durable.append(&mut node.buffered);
        }
        match effect {
            Effect::Persist(record) => node.buffered.push(record),
            Effect::Sign(request) => self.sign(who, request),
            Effect::Broadcast(message) => {
                for to in (0..self.nodes.len()).filter(|to| *to != who) {
                    // A liar tells some and not others.
                    if !(self.liars.contains(&who) && self.dice.chance(30)) {
                        self.say(who, to, message.clone());
                    }
                }
                if self.heard.len() < HEARD_MAX || self.dice.chance(20) {
                    let at = self.dice.below(HEARD_MAX).min(self.heard.len());
                    self.heard.insert(at, message);
                    self.heard.truncate(HEARD_MAX);
                }
            }
            Effect::Send(peer, message) => {
                if let Some(to) = self.person(peer) {
                    self.say(who, to, message);
                }
            }
            Effect::WakeAt(at) => node.wake_at = at,
            Effect::BuildBlock(order) => {
                // Never the same block twice: building again shows as a contradiction.
                let built = super::puppets::block(order.height.get(), &format!("block {}", self.blocks.len()));
                self.blocks.push(Arc::clone(&built));
                self.nodes[who].from_app.push_back(Answer::Built(order.height, order.round, built));
            }
            Effect::CheckBlock { height, round, block } => {
                node.from_app.push_back(Answer::Checked(height, round, block.id()));
            }
            Effect::Decide(decision) => self.decide(who, decision.block, decision.commit),
            Effect::RequestSync(height) => {
                self.syncs += 1;
                // The newest block cannot be fetched: what proves it is in the next one.
                let newest = self.decided.keys().next_back().and_then(|newest| newest.previous());
                if let Some(reached) = newest.map(|newest| newest.min(height))
                    && reached >= node.machine.height()
                {
                    node.from_app.push_back(Answer::Fetched(reached));
                }
            }
            Effect::Accuse(accusation) => {
                let accused = accusation.first.validator_address;
                if self.honest().any(|who| address(who) == accused) && !self.liars.is_empty() {
                    self.complaints.push(format!("accused an honest replica: {accusation:?}"));
                }
            }
            _ => {}
        }
    }

    pub(super) fn say(&mut self, from: usize, to: usize, message: Direct) {
        self.parts_said += usize::from(matches!(message, Direct::Part { .. }));
        if self.links.len() >= LINKS_MAX {
            self.links.remove(0);
        }
        self.links.push((from, to, message));
    }

    fn person(&self, peer: NodeId) -> Option<usize> {
        (0..self.nodes.len()).find(|who| node_id(*who) == peer)
    }

    /// Agreement, validity, and a commit that is what it says.
    fn decide(&mut self, who: usize, block: Arc<CandidateBlock>, commit: ExtendedCommit) {
        let height = commit.height;
        self.nodes[who].from_app.push_back(Answer::Applied);
        if commit.block_id != block.id() || block.block().header.height != height {
            self.complaints.push(format!("node {who}: the commit of {height} is for another block"));
        }
        if self.bad.contains(&block.id()) {
            self.complaints.push(format!("validity: node {who} decided an invalid block at {height}"));
        }
        let set = self.membership.at(height);
        let mut power = 0;
        for (index, entry) in commit.signatures.iter().enumerate() {
            let Some(_) = entry.sig.signed() else { continue };
            let signer = super::puppets::person(&set, index as u32);
            power += set.members()[index].power.get();
            let signed = self.nodes[signer].signatures.get(&(height, commit.round, 3));
            if !self.liars.contains(&signer) && signed.is_some_and(|id| *id != block.id()) {
                self.complaints.push(format!("the commit of {height} has a COMMIT that {signer} never signed"));
            }
        }
        if power * 3 <= set.total_power().get() * 2 {
            self.complaints.push(format!("node {who} decided {height} on power {power}"));
        }
        let (first, _) = self.decided.entry(height).or_insert((Arc::clone(&block), commit));
        if first.id() != block.id() {
            self.complaints.push(format!("agreement: node {who} decided another block at height {height}"));
        }
    }

    fn sign(&mut self, who: usize, request: SignRequest) {
        let (key, id) = match &request {
            SignRequest::Statement(statement) => {
                self.check_statement(who, &statement.body);
                self.nodes[who].from_signer.push_back(Answer::Signed(sign(request)));
                return;
            }
            SignRequest::Proposal(proposal) => ((proposal.height, proposal.round, 1), Some(proposal.block_id)),
            SignRequest::Vote(vote) => {
                let step = if vote.kind == VoteKind::Prevote { 2 } else { 3 };
                ((vote.height, vote.round, step), vote.block_id)
            }
        };
        let Some(id) = id else {
            return self.complaints.push(format!("node {who} signs a vote for nil at {key:?}"));
        };
        if key.1 < self.nodes[who].left_for {
            self.complaints.push(format!("node {who} signs {key:?} though it left for {}", self.nodes[who].left_for));
        }
        if self.nodes[who].signatures.get(&key).is_some_and(|before| *before != id) {
            self.complaints.push(format!("contradiction: node {who} at {key:?}"));
            return;
        }
        self.check_against_decisions(who, key, id);
        match key.2 {
            1 => self.check_turn(who, key.0, key.1),
            2 if self.bad.contains(&id) => self.complaints.push(format!("node {who} PREPAREs an invalid block")),
            3 => self.check_prepared(who, key.1, id),
            _ => {}
        }
        self.nodes[who].signatures.insert(key, id);
        self.nodes[who].from_signer.push_back(Answer::Signed(sign(request)));
    }

    fn check_turn(&mut self, who: usize, height: Height, view: Round) {
        if primary(&self.membership.at(height), view.get()) != who {
            self.complaints.push(format!("node {who} proposes in view {view}, which it does not lead"));
        }
    }

    /// §4.2, *prepared*: a COMMIT stands on PREPAREs of more than two thirds.
    fn check_prepared(&mut self, who: usize, view: Round, id: BlockId) {
        let machine = self.nodes[who].machine.view();
        let set = machine.validators;
        let prepares = machine.votes.iter().find(|votes| votes.round == view).map(|votes| &votes.prevotes);
        let of_block = prepares.into_iter().flatten().flatten().filter(|vote| vote.block_id == Some(id));
        let power: u64 = of_block.map(|vote| set.members()[vote.validator_index as usize].power.get()).sum();
        if power * 3 <= set.total_power().get() * 2 {
            self.complaints.push(format!("node {who} COMMITs {id:?} in {view} on power {power}"));
        }
    }

    /// The heart of §4.4: once more than two thirds may have COMMITted a block (liars may always have), no honest replica
    /// PREPAREs another one in a later view of that height.
    fn check_against_decisions(&mut self, who: usize, key: (Height, Round, u8), id: BlockId) {
        let (height, view, _) = key;
        if self.liars.contains(&who) {
            return;
        }
        let set = self.membership.at(height);
        let mut power: BTreeMap<(Round, BlockId), u64> = BTreeMap::new();
        let of = |who: usize| seat(&set, who).map_or(0, |index| set.members()[index as usize].power.get());
        let lying: u64 = self.liars.iter().map(|liar| of(*liar)).sum();
        for signer in self.honest() {
            for ((_, at, step), committed) in self.nodes[signer].signatures.range((height, Round::ZERO, 0)..) {
                if *step == 3 && *at < view {
                    *power.entry((*at, *committed)).or_insert(lying) += of(signer);
                }
            }
        }
        let may_be_decided = |((_, committed), power): (&(Round, BlockId), &u64)| {
            *committed != id
                && committed_height(&self.blocks, committed) == Some(height)
                && power * 3 > 2 * set.total_power().get()
        };
        if power.iter().any(may_be_decided) {
            self.complaints.push(format!("node {who} signs {id:?} at {key:?}, though another may be decided"));
        }
    }

    /// §4.4: a VIEW-CHANGE hides nothing its sender COMMITted, and its certificate is one.
    fn check_statement(&mut self, who: usize, body: &StatementBody) {
        let StatementBody::Pbft(body) = body else {
            return self.complaints.push(format!("node {who} signs for another protocol"));
        };
        let PbftStatement::ViewChange { view, height, prepared, .. } = &**body else { return };
        let set = self.membership.at(*height);
        if let Some(certificate) = prepared {
            let voters: BTreeSet<u32> = certificate.prepares.iter().map(|vote| vote.validator_index).collect();
            let power: u64 = voters.iter().map(|index| set.members()[*index as usize].power.get()).sum();
            let fits = certificate.prepares.iter().all(|vote| vote.block_id == Some(certificate.block_id));
            if power * 3 <= set.total_power().get() * 2 || !fits || certificate.view >= *view {
                self.complaints.push(format!("node {who} signs a VIEW-CHANGE with a certificate that is none"));
            }
        }
        let node = &mut self.nodes[who];
        node.left_for = node.left_for.max(*view);
        let committed = node.signatures.range((*height, Round::ZERO, 0)..=(*height, *view, 0));
        let committed = committed.filter(|((_, _, step), _)| *step == 3).map(|((_, at, _), _)| *at).next_back();
        if committed > prepared.as_ref().map(|certificate| certificate.view) {
            self.complaints.push(format!("node {who} hides in its VIEW-CHANGE for {view} what it COMMITted"));
        }
    }

    /// The node stops and comes back with what its journal and its signer kept.
    fn crash(&mut self, who: usize, unsynced_lost: bool) {
        let node = &mut self.nodes[who];
        let mut height = node.machine.height();
        let had_decided = node.from_app.iter().any(|answer| matches!(answer, Answer::Applied));
        let by_votes = had_decided && node.machine.current.tally.decision().is_some();
        let before = height;
        if unsynced_lost {
            node.buffered.clear();
        }
        node.durable.append(&mut node.buffered);
        node.from_signer.clear();
        node.from_app.clear();
        // The block may have been stored before the crash, and then the height is over.
        if had_decided && self.dice.chance(50) {
            height = height.next();
        }
        let begin = self.start(who, height);
        let records = self.nodes[who].durable.clone();
        let mut out = Vec::new();
        self.nodes[who].machine = Pbft::recover(now_at(self.tick), begin, &records, &mut out);
        self.execute(who, out, None);
        let decides = self.nodes[who].from_app.iter().any(|answer| matches!(answer, Answer::Applied));
        if by_votes && !decides && !unsynced_lost && height == before {
            self.complaints.push(format!("node {who} forgot its decision at height {height}"));
        }
    }

    /// Where everybody stands, for messages of failing tests.
    pub(super) fn standing(&self) -> Vec<(Height, Round, bool, Step)> {
        let stand = |node: &Node| {
            let machine = &node.machine;
            (machine.height(), machine.round(), machine.is_active(), machine.current_step())
        };
        self.nodes.iter().map(stand).collect()
    }
}

/// True when whoever decides `ours` cannot check the message's signatures.
fn beyond(message: &Direct, ours: Height) -> bool {
    let about = match message {
        Direct::Statement(_) | Direct::Outsider(_) => return false,
        Direct::Part { height, .. } => *height,
        Direct::Proposal { proposal, .. } => proposal.height,
        Direct::Vote(vote) => vote.height,
        Direct::Commit(commit) => commit.height,
    };
    about > ours.next()
}

fn committed_height(blocks: &[Arc<CandidateBlock>], id: &BlockId) -> Option<Height> {
    blocks.iter().find(|block| block.id() == *id).map(|block| block.block().header.height)
}
