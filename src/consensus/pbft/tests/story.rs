//! One replica among puppets: says what it orders in short words.

use super::puppets::{address, block, commit_of, node_id, now_at, primary, proposal_of, set_of, sign, start, vote_of};
use crate::consensus::pbft::Pbft;
use crate::consensus::{BlockVerdict, Direct, Effect, Input, Protocol, Reaction, RoundNote, Start, Tick};
use crate::crypto::Verified;
use crate::types::{
    BlockId, CandidateBlock, Height, JournalRecord, Misconduct, PbftStatement, Round, SignRequest, Source, Statement,
    StatementBody, ValidatorSet, VoteKind,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A machine and what it ordered since last asked.
pub(super) struct Story {
    pub(super) machine: Pbft,
    pub(super) set: Arc<ValidatorSet>,
    pub(super) own: usize,
    pub(super) tick: Tick,
    pub(super) journal: Vec<JournalRecord>,
    pub(super) wake_at: Tick,
    to_sign: VecDeque<SignRequest>,
    said: Vec<String>,
    /// The statements that left, newest last.
    pub(super) stated: Vec<Statement>,
    /// What was noted as provably wrong.
    pub(super) misconduct: Vec<Misconduct>,
}

impl Story {
    /// Four replicas of power 1; we lead view `leads`, and everybody else is a puppet.
    pub(super) fn of_four(leads: u32) -> Story {
        let set = set_of(&[0, 1, 2, 3]);
        let own = primary(&set, leads);
        Story::begin(start(&set, Some(own), 1), own, &[])
    }

    pub(super) fn begin(start: Start, own: usize, records: &[JournalRecord]) -> Story {
        let set = Arc::clone(&start.validators);
        let mut out = Vec::new();
        let machine = Pbft::recover(now_at(Tick(0)), start, records, &mut out);
        let mut story = Story {
            machine,
            set,
            own,
            tick: Tick(0),
            journal: records.to_vec(),
            wake_at: Tick(0),
            to_sign: VecDeque::new(),
            said: Vec::new(),
            stated: Vec::new(),
            misconduct: Vec::new(),
        };
        story.record(out);
        story
    }

    pub(super) fn step(&mut self, input: Input<Direct>) -> Reaction {
        let mut out = Vec::new();
        let reaction = self.machine.step(now_at(self.tick), input, &mut out);
        self.record(out);
        reaction
    }

    fn record(&mut self, effects: Vec<Effect<Pbft>>) {
        for effect in effects {
            match effect {
                Effect::Persist(record) => {
                    self.said.push("journal".to_owned());
                    self.journal.push(record);
                }
                Effect::WakeAt(at) => self.wake_at = at,
                Effect::Note(RoundNote::Misconduct(misconduct)) => self.misconduct.push(*misconduct),
                Effect::Note(_) => {}
                Effect::Sign(request) => {
                    self.said.push(format!("sign {}", request_words(&request)));
                    self.to_sign.push_back(request);
                }
                Effect::Broadcast(message) => {
                    if let Direct::Statement(statement) = &message {
                        self.stated.push(statement.get().clone());
                    }
                    self.said.push(format!("tell {}", words(&message)));
                }
                Effect::Send(_, message) => self.said.push(format!("send {}", words(&message))),
                other => self.said.push(order_words(&other)),
            }
        }
    }

    /// What was ordered since the last call, but for journal entries and parts.
    pub(super) fn said(&mut self) -> Vec<String> {
        let said = std::mem::take(&mut self.said).into_iter();
        said.filter(|words| words != "journal" && !words.ends_with("part") && !words.contains("status")).collect()
    }

    /// Everything ordered since the last call.
    pub(super) fn everything(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    #[track_caller]
    pub(super) fn expect(&mut self, wanted: &[&str]) {
        assert_eq!(self.said(), wanted);
    }

    pub(super) fn quietly(&mut self) {
        self.said.clear();
    }

    /// The signer answers everything asked.
    pub(super) fn signed(&mut self) {
        while let Some(request) = self.to_sign.pop_front() {
            self.step(Input::Signed(sign(request)));
        }
    }

    pub(super) fn hear(&mut self, from: usize, message: Direct) -> Reaction {
        self.step(Input::Received { source: Source::Peer(node_id(from)), message })
    }

    pub(super) fn state(&mut self, statement: Statement) -> Reaction {
        let from = (0..=255).find(|who| address(*who) == statement.by).expect("one of the people");
        self.hear(from, Direct::Statement(Verified::trusted(statement)))
    }

    pub(super) fn height(&self) -> u64 {
        self.machine.height().get()
    }

    /// The others, in seat order.
    pub(super) fn others(&self) -> Vec<usize> {
        (0..self.set.len() as u32)
            .map(|seat| super::puppets::person(&self.set, seat))
            .filter(|who| *who != self.own)
            .collect()
    }

    /// A PRE-PREPARE of the primary of `view`.
    pub(super) fn pre_prepare(&mut self, view: u32, block: &CandidateBlock) -> Reaction {
        let by = primary(&self.set, view);
        let proposal = Verified::trusted(proposal_of(block.block().header.height.get(), view, block.id()));
        self.hear(by, Direct::Proposal { by: address(by), proposal })
    }

    pub(super) fn parts(&mut self, view: u32, block: &CandidateBlock) {
        let by = primary(&self.set, view);
        for part in block.parts().parts() {
            let (height, round) = (block.block().header.height, Round::new(view));
            self.hear(by, Direct::Part { height, round, part: part.clone() });
        }
    }

    /// A PRE-PREPARE with its block and the application's yes, our PREPARE signed.
    pub(super) fn accepted(&mut self, view: u32, block: &CandidateBlock) {
        self.pre_prepare(view, block);
        self.parts(view, block);
        self.checked(block, BlockVerdict::Accept);
        self.signed();
    }

    pub(super) fn checked(&mut self, block: &CandidateBlock, verdict: BlockVerdict) -> Reaction {
        self.checked_in(self.machine.round(), block, verdict)
    }

    /// The answer to a question of that view.
    pub(super) fn checked_in(&mut self, round: Round, block: &CandidateBlock, verdict: BlockVerdict) -> Reaction {
        self.step(Input::BlockChecked { height: self.machine.height(), round, block_id: block.id(), verdict })
    }

    pub(super) fn votes(&mut self, kind: VoteKind, from: &[usize], view: u32, id: BlockId) {
        for who in from {
            let vote = vote_of(&self.set, *who, kind, (self.height(), view), id);
            self.hear(*who, Direct::Vote(Verified::trusted(vote)));
        }
    }

    pub(super) fn prepares(&mut self, from: &[usize], view: u32, block: &CandidateBlock) {
        self.votes(VoteKind::Prevote, from, view, block.id());
    }

    pub(super) fn commits(&mut self, from: &[usize], view: u32, block: &CandidateBlock) {
        self.votes(VoteKind::Precommit, from, view, block.id());
    }

    /// Accepted, PREPAREd and COMMITted by us in this view, but not by enough others to decide.
    pub(super) fn prepared(&mut self, view: u32, block: &CandidateBlock) {
        self.accepted(view, block);
        let others = self.others();
        self.prepares(&others, view, block);
        self.signed();
    }

    /// Time passes; timers fire.
    pub(super) fn wait(&mut self, duration: Duration) {
        let until = self.tick.plus(duration);
        while self.wake_at <= until {
            self.tick = self.tick.max(self.wake_at);
            self.wake_at = Tick(u64::MAX);
            self.step(Input::Woken);
        }
        self.tick = until;
    }

    /// The block is decided by the others and applied; the next height has this set.
    pub(super) fn next_height(&mut self, view: u32, block: &CandidateBlock, set: &Arc<ValidatorSet>) {
        let everybody = self.others();
        let commit = commit_of(&self.set, &everybody, (self.height(), view), block.id());
        self.hear(everybody[0], Direct::Commit(Verified::trusted(commit.clone())));
        let mut begin = start(set, Some(self.own), self.height() + 1);
        begin.last_commit = Some(commit);
        begin.last_validators = Some(Arc::clone(&self.set));
        begin.begin_at = self.tick;
        self.set = Arc::clone(set);
        self.step(Input::BlockApplied(Box::new(begin)));
    }

    /// A crash: all that is left is the journal.
    pub(super) fn crash(self) -> Story {
        let mut begin = start(&self.set, Some(self.own), self.machine.height().get());
        begin.last_commit = self.machine.current.start.last_commit.clone();
        begin.last_validators = self.machine.current.start.last_validators.clone();
        Story::begin(begin, self.own, &self.journal)
    }
}

/// The tag of a block, found in its application hash by those who know it.
fn name(id: BlockId) -> String {
    let known = |height: u64| ["A", "B", "C"].into_iter().find(|tag| block(height, tag).id() == id);
    (1..=3).find_map(known).unwrap_or("?").to_owned()
}

fn request_words(request: &SignRequest) -> String {
    match request {
        SignRequest::Statement(statement) => body_words(&statement.body),
        SignRequest::Vote(vote) => {
            let id = vote.block_id.expect("PBFT votes for blocks");
            format!("{} {} {}", kind_words(vote.kind), vote.round, name(id))
        }
        SignRequest::Proposal(proposal) => format!("pre-prepare {} {}", proposal.round, name(proposal.block_id)),
    }
}

fn kind_words(kind: VoteKind) -> &'static str {
    match kind {
        VoteKind::Prevote => "prepare",
        VoteKind::Precommit => "commit",
    }
}

fn body_words(body: &StatementBody) -> String {
    let StatementBody::Pbft(body) = body else { panic!("not ours: {body:?}") };
    match &**body {
        PbftStatement::ViewChange { view, prepared, .. } => {
            let prepared = prepared.as_ref().map(|it| format!(" with {} of {}", name(it.block_id), it.view));
            format!("view-change {view}{}", prepared.unwrap_or_default())
        }
        PbftStatement::NewView { view, chosen, .. } => {
            format!("new-view {view}{}", chosen.map(|id| format!(" for {}", name(id))).unwrap_or_default())
        }
        PbftStatement::Status { .. } => "status".to_owned(),
    }
}

fn words(message: &Direct) -> String {
    match message {
        Direct::Statement(statement) => body_words(&statement.body),
        Direct::Outsider(_) => "outsider".to_owned(),
        Direct::Proposal { proposal, .. } => format!("pre-prepare {} {}", proposal.round, name(proposal.block_id)),
        Direct::Part { .. } => "part".to_owned(),
        Direct::Vote(vote) => {
            format!("{} {} {}", kind_words(vote.kind), vote.round, name(vote.block_id.expect("no nil")))
        }
        Direct::Commit(commit) => format!("the commit of {}", commit.height),
    }
}

fn order_words(effect: &Effect<Pbft>) -> String {
    match effect {
        Effect::BuildBlock(order) => format!("build {}", order.round),
        Effect::CheckBlock { block, .. } => format!("check {}", name(block.id())),
        Effect::ExtendVote { round, block, .. } => format!("extend {round} {}", name(block.id())),
        Effect::VerifyExtension { vote, .. } => format!("verify extension of {}", vote.validator_index),
        Effect::Decide(decision) => format!("decide {} {}", decision.commit.round, name(decision.block.id())),
        Effect::Accuse(accusation) => format!("accuse {}", accusation.first.validator_index),
        Effect::RequestSync(height) => format!("sync {height}"),
        Effect::OfferTxs => "offer transactions again".to_owned(),
        other => format!("{other:?}"),
    }
}

/// A height as stories name it.
pub(super) fn at(height: u64) -> Height {
    Height::new(height)
}
