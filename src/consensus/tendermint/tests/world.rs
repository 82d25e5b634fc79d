//! Several machines, their signers, journals, applications and links, driven by one seed. Cloneable, so that a test can
//! ask what would have happened.
//!
//! Three oracles watch every effect: no honest signer is asked to contradict itself, no prevote goes against a lock
//! without the proof of votes the paper wants, and no two nodes decide differently.

use super::story::{block, now_at, proposal_of, proposer_of, sign, start, vote_of};
use crate::consensus::tendermint::{Message, Tendermint};
use crate::consensus::{BlockVerdict, Effect, Input, Protocol, Signed, Tick};
use crate::crypto::Verified;
use crate::types::{
    Address, BlockId, CandidateBlock, ExtendedCommit, Height, JournalRecord, NodeId, Round, SignRequest, Source, Step,
    TimerId, ValidatorSet, VoteKind,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// xorshift64*: small, and the same everywhere.
#[derive(Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
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
}

/// What a signer signed: the height, round and step, then what.
type Signatures = BTreeMap<(Height, Round, u8), Option<BlockId>>;

#[derive(Clone)]
pub(super) struct Node {
    pub(super) machine: Tendermint,
    /// Survives a crash.
    durable: Vec<JournalRecord>,
    /// Written, not synced.
    buffered: Vec<JournalRecord>,
    signatures: Signatures,
    /// The last precommit for a block that left this node, at its height.
    told_lock: Option<(Height, Round, BlockId)>,
    from_signer: VecDeque<Answer>,
    from_app: VecDeque<Answer>,
    timers: Vec<(Tick, TimerId)>,
}

/// Where to crash: after this many effects of the next step, and whether what was not synced is lost.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    pub(super) after: usize,
    pub(super) unsynced_lost: bool,
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) set: Arc<ValidatorSet>,
    /// By index in the set; the Byzantine one, if any, is the last and has no machine.
    pub(super) nodes: Vec<Node>,
    pub(super) dice: Dice,
    pub(super) decided: BTreeMap<Height, (Arc<CandidateBlock>, ExtendedCommit)>,
    links: Vec<(usize, Message)>,
    tick: Tick,
    blocks: Vec<Arc<CandidateBlock>>,
    drops: usize,
    byzantine: bool,
    pub(super) complaints: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64, byzantine: bool) -> World {
        let set = Arc::new(super::story::validators(&[1, 1, 1, 1]));
        let honest = if byzantine { 3 } else { 4 };
        let mut world = World {
            set,
            nodes: Vec::new(),
            dice: Dice::new(seed),
            decided: BTreeMap::new(),
            links: Vec::new(),
            tick: Tick(0),
            blocks: Vec::new(),
            drops: 20,
            byzantine,
            complaints: Vec::new(),
        };
        for own in 0..honest {
            let mut out = Vec::new();
            let machine = Tendermint::recover(now_at(Tick(0)), start(&world.set, Some(own), 1), &[], &mut out);
            world.nodes.push(Node {
                machine,
                durable: Vec::new(),
                buffered: Vec::new(),
                signatures: Signatures::new(),
                told_lock: None,
                from_signer: VecDeque::new(),
                from_app: VecDeque::new(),
                timers: Vec::new(),
            });
            world.execute(own, out, None);
        }
        world
    }

    /// From now on nothing is lost and nobody lies.
    pub(super) fn heal(&mut self) {
        self.drops = 0;
        self.byzantine = false;
    }

    /// The height every node has reached.
    pub(super) fn lowest(&self) -> Height {
        self.nodes.iter().map(|node| node.machine.height()).min().expect("nodes")
    }

    /// Takes one step somewhere; true when there was something to do.
    pub(super) fn turn(&mut self, cut: Option<Cut>) -> Option<usize> {
        if self.byzantine && self.dice.chance(15) {
            self.lie();
        }
        let (who, input) = self.pick()?;
        let mut out = Vec::new();
        let now = now_at(self.tick);
        self.nodes[who].machine.step(now, input, &mut out);
        let effects = out.len();
        self.execute(who, out, cut);
        Some(effects)
    }

    fn pick(&mut self) -> Option<(usize, Input<Message>)> {
        for _ in 0..40 {
            let who = self.dice.below(self.nodes.len());
            match self.dice.below(4) {
                0 if !self.nodes[who].from_signer.is_empty() => {
                    let answer = self.nodes[who].from_signer.pop_front().expect("not empty");
                    return Some((who, self.input(who, answer)));
                }
                1 if !self.nodes[who].from_app.is_empty() => {
                    let answer = self.nodes[who].from_app.pop_front().expect("not empty");
                    return Some((who, self.input(who, answer)));
                }
                2 | 3 if !self.links.is_empty() => {
                    let at = self.dice.below(self.links.len().min(30));
                    let (to, message) = self.links.remove(at);
                    if self.dice.chance(self.drops) {
                        continue;
                    }
                    let source = Source::Peer(NodeId::new(Address::new([9; 20])));
                    return Some((to, Input::Received { source, message }));
                }
                _ => {}
            }
        }
        self.next_timer()
    }

    fn next_timer(&mut self) -> Option<(usize, Input<Message>)> {
        let timers = self.nodes.iter().enumerate().flat_map(|(who, node)| node.timers.iter().map(move |t| (who, *t)));
        let (who, timer) = timers.min_by_key(|(_, (at, _))| *at)?;
        self.tick = self.tick.max(timer.0);
        self.nodes[who].timers.retain(|other| *other != timer);
        self.gossip();
        Some((who, Input::TimerFired(timer.1)))
    }

    fn input(&mut self, who: usize, answer: Answer) -> Input<Message> {
        match answer {
            Answer::Signed(signed) => Input::Signed(signed),
            Answer::Built(height, round, block) => Input::BlockBuilt { height, round, block },
            Answer::Checked(height, round, block_id) => {
                Input::BlockChecked { height, round, block_id, verdict: BlockVerdict::Accept }
            }
            Answer::Applied => {
                let height = self.nodes[who].machine.height();
                let mut next = start(&self.set, Some(who), height.next().get());
                next.last_validators = Some(Arc::clone(&self.set));
                next.last_commit = self.decided.get(&height).map(|(_, commit)| commit.clone());
                next.begin_at = self.tick.plus(std::time::Duration::from_secs(1));
                // The journal of a height ends with its block.
                self.nodes[who].durable.clear();
                self.nodes[who].buffered.clear();
                Input::BlockApplied(Box::new(next))
            }
        }
    }

    /// Runs effects in order, up to a crash.
    pub(super) fn execute(&mut self, who: usize, effects: Vec<Effect<Tendermint>>, cut: Option<Cut>) {
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

    fn execute_one(&mut self, who: usize, effect: Effect<Tendermint>) {
        let promises = matches!(effect, Effect::Sign(_) | Effect::Broadcast(_) | Effect::Send(..) | Effect::Decide(_));
        let node = &mut self.nodes[who];
        if promises {
            node.durable.append(&mut node.buffered);
        }
        match effect {
            Effect::Persist(record) => node.buffered.push(record),
            Effect::Sign(request) => self.sign(who, request),
            Effect::Broadcast(message) => {
                if let Message::Vote(vote) = &message {
                    let node = &mut self.nodes[who];
                    if let (VoteKind::Precommit, Some(id)) = (vote.kind, vote.block_id) {
                        node.told_lock = Some((vote.height, vote.round, id));
                    }
                }
                for to in (0..self.nodes.len()).filter(|to| *to != who) {
                    self.links.push((to, message.clone()));
                }
            }
            Effect::SetTimer { timer, at, .. } => node.timers.push((at, timer)),
            Effect::BuildBlock(order) => {
                // Never the same block twice: building again shows as a contradiction.
                let built = block(order.height.get(), &format!("block {}", self.blocks.len()));
                self.blocks.push(Arc::clone(&built));
                self.nodes[who].from_app.push_back(Answer::Built(order.height, order.round, built));
            }
            Effect::CheckBlock { height, round, block } => {
                node.from_app.push_back(Answer::Checked(height, round, block.id()));
            }
            Effect::Decide(decision) => {
                let height = decision.commit.height;
                node.from_app.push_back(Answer::Applied);
                let (first, _) = self.decided.entry(height).or_insert((Arc::clone(&decision.block), decision.commit));
                if first.id() != decision.block.id() {
                    self.complaints.push(format!("agreement: node {who} decided another block at height {height}"));
                }
            }
            Effect::Accuse(accusation) if (accusation.first.validator_index as usize) < self.nodes.len() => {
                self.complaints.push(format!("accused an honest validator: {accusation:?}"));
            }
            _ => {}
        }
    }

    fn sign(&mut self, who: usize, request: SignRequest) {
        let (key, what) = match &request {
            SignRequest::Statement(statement) => panic!("Tendermint signs no {statement:?}"),
            SignRequest::Proposal(proposal) => ((proposal.height, proposal.round, 1), Some(proposal.block_id)),
            SignRequest::Vote(vote) => {
                let step = if vote.kind == VoteKind::Prevote { 2 } else { 3 };
                ((vote.height, vote.round, step), vote.block_id)
            }
        };
        if let Some(before) = self.nodes[who].signatures.get(&key)
            && *before != what
        {
            self.complaints.push(format!("contradiction: node {who} at {key:?}: {before:?}, then {what:?}"));
            return;
        }
        if let (2, Some(id)) = (key.2, what) {
            self.check_against_lock(who, key.0, key.1, id);
        }
        if let (3, Some(id)) = (key.2, what) {
            self.check_quorum(who, key.1, id);
        }
        self.nodes[who].signatures.insert(key, what);
        self.nodes[who].from_signer.push_back(Answer::Signed(sign(request)));
    }

    /// Lines 22-31, told apart from the machine: after a precommit for another block, a prevote needs a proposal that
    /// names a round of prevotes at least as late.
    fn check_against_lock(&mut self, who: usize, height: Height, round: Round, id: BlockId) {
        let node = &self.nodes[who];
        let precommits = node.signatures.iter().filter(|((h, r, step), _)| (*h, *step) == (height, 3) && *r < round);
        let lock = precommits.filter_map(|((_, r, _), what)| what.map(|what| (*r, what))).next_back();
        let Some((locked_round, locked)) = lock.filter(|(_, locked)| *locked != id) else { return };
        let pol = node.machine.view().proposal.and_then(|proposal| proposal.pol_round);
        if pol.is_none_or(|pol| pol < locked_round) {
            self.complaints.push(format!(
                "lock: node {who} prevotes {id:?} in {round} with {pol:?}, though locked on {locked:?} in {locked_round}"
            ));
        }
    }

    /// Line 36: a precommit for a block stands on more than two thirds of the prevotes of its round.
    fn check_quorum(&mut self, who: usize, round: Round, id: BlockId) {
        let view = self.nodes[who].machine.view();
        let prevotes = view.votes.iter().find(|votes| votes.round == round).map(|votes| &votes.prevotes);
        let count = prevotes.map_or(0, |votes| votes.iter().flatten().filter(|v| v.block_id == Some(id)).count());
        if count * 3 <= 4 * 2 {
            self.complaints.push(format!("node {who} precommits {id:?} in {round} on {count} prevotes"));
        }
    }

    /// The node stops and comes back with what its journal and its signer kept.
    pub(super) fn crash(&mut self, who: usize, unsynced_lost: bool) {
        let node = &mut self.nodes[who];
        let height = node.machine.height();
        let had_decided = node.from_app.iter().any(|answer| matches!(answer, Answer::Applied));
        if unsynced_lost {
            node.buffered.clear();
        }
        node.durable.append(&mut node.buffered);
        node.from_signer.clear();
        node.from_app.clear();
        node.timers.clear();
        let mut begin = start(&self.set, Some(who), height.get());
        begin.begin_at = self.tick;
        begin.last_commit = height.previous().and_then(|h| Some(self.decided.get(&h)?.1.clone()));
        begin.last_validators = begin.last_commit.as_ref().map(|_| Arc::clone(&self.set));
        let (now, records) = (now_at(self.tick), node.durable.clone());
        let mut out = Vec::new();
        node.machine = Tendermint::recover(now, begin, &records, &mut out);
        let view = node.machine.view();
        if let Some((h, round, id)) = node.told_lock.filter(|(h, _, _)| *h == height) {
            let kept = view.locked.is_some_and(|lock| lock.0 > round || lock == (round, id));
            if !kept {
                let now_locked = view.locked;
                self.complaints.push(format!("node {who} forgot its lock at {h}/{round}, has {now_locked:?}"));
            }
        }
        self.execute(who, out, None);
        let decides = self.nodes[who].from_app.iter().any(|answer| matches!(answer, Answer::Applied));
        if had_decided && !decides && !unsynced_lost {
            self.complaints.push(format!("node {who} forgot its decision at height {height}"));
        }
    }

    /// Everybody shows everybody what they have, as gossip does sooner or later.
    fn gossip(&mut self) {
        for who in 0..self.nodes.len() {
            let view = self.nodes[who].machine.view();
            let mut messages: Vec<Message> = Vec::new();
            if let (Some(proposal), Some(block)) = (view.proposal, view.proposal_block) {
                let (height, round) = (proposal.height, proposal.round);
                messages.push(Message::Proposal(Verified::trusted(proposal)));
                messages.extend(parts(height, round, &block));
            }
            for votes in view.votes {
                let both = votes.prevotes.into_iter().chain(votes.precommits).flatten();
                messages.extend(both.map(|vote| Message::Vote(Verified::trusted(vote))));
            }
            for to in (0..self.nodes.len()).filter(|to| *to != who) {
                if self.nodes[to].machine.height() == self.nodes[who].machine.height() {
                    self.links.extend(messages.iter().map(|message| (to, message.clone())));
                }
            }
        }
        for to in 0..self.nodes.len() {
            let height = self.nodes[to].machine.height();
            if let Some((block, commit)) = self.decided.get(&height) {
                for (index, entry) in commit.signatures.iter().enumerate() {
                    if let crate::types::CommitSig::Commit(_) = entry.sig {
                        let at = (height.get(), commit.round.get());
                        let vote = vote_of(&self.set, index, VoteKind::Precommit, at, Some(commit.block_id));
                        self.links.push((to, Message::Vote(Verified::trusted(vote))));
                    }
                }
                self.links.extend(parts(height, commit.round, block).map(|part| (to, part)));
            }
        }
    }

    /// The last validator lies: votes for anything in any round, different things to different nodes, and proposes
    /// two blocks when it is its turn.
    fn lie(&mut self) {
        let liar = self.set.len() - 1;
        let to = self.dice.below(self.nodes.len());
        let (height, round) = (self.nodes[to].machine.height(), self.nodes[to].machine.round());
        let of_height: Vec<_> = self.blocks.iter().filter(|b| b.block().header.height == height).cloned().collect();
        let pick = self.dice.below(of_height.len() + 1);
        let chosen = of_height.get(pick).cloned();
        let message = if proposer_of(&self.set, round.get()) == liar && self.dice.chance(60) {
            let chosen = chosen.unwrap_or_else(|| block(height.get(), &format!("lie {}", self.dice.below(3))));
            self.blocks.push(Arc::clone(&chosen));
            let pol =
                (round > Round::ZERO && self.dice.chance(50)).then(|| self.dice.below(round.get() as usize) as u32);
            self.links.extend(parts(height, round, &chosen).map(|part| (to, part)));
            Message::Proposal(Verified::trusted(proposal_of(height.get(), round.get(), pol, chosen.id())))
        } else {
            let kind = if self.dice.chance(50) { VoteKind::Prevote } else { VoteKind::Precommit };
            let at = (height.get(), self.dice.below(round.get() as usize + 2) as u32);
            Message::Vote(Verified::trusted(vote_of(&self.set, liar, kind, at, chosen.map(|block| block.id()))))
        };
        self.links.insert(0, (to, message));
    }

    /// Where everybody stands, for messages of failing tests.
    pub(super) fn standing(&self) -> Vec<(Height, Round, Step)> {
        let stand = |node: &Node| (node.machine.height(), node.machine.round(), node.machine.current_step());
        self.nodes.iter().map(stand).collect()
    }
}

fn parts(height: Height, round: Round, block: &CandidateBlock) -> impl Iterator<Item = Message> {
    block.parts().parts().map(move |part| Message::Part { height, round, part: part.clone() })
}
