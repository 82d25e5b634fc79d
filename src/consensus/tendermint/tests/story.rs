//! One validator among puppets: says what it orders in short words.

use crate::consensus::tendermint::{Message, Tendermint};
use crate::consensus::{
    BlockVerdict, Effect, EmptyBlocks, Input, Now, Protocol, Reaction, RoundNote, Signed, Start, Tick, Timeouts,
};
use crate::crypto::{Hash, PublicKey, Signature, Verified, sha256};
use crate::types::{
    Address, Block, BlockId, CandidateBlock, ChainId, ConsensusParams, Header, Height, JournalRecord, NodeId, Power,
    Proposal, Round, SignRequest, Source, Step, Time, TimerId, Tx, Validator, ValidatorSet, Version, Vote, VoteKind,
};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Who brings us everything.
pub(super) fn peer() -> Source {
    Source::Peer(NodeId::new(Address::new([7; 20])))
}

pub(super) fn chain_id() -> ChainId {
    ChainId::try_from("story").expect("short")
}

/// A set of members with these powers; member `i` of the result is at index `i`.
pub(super) fn validators(powers: &[u64]) -> ValidatorSet {
    let member = |(i, power): (usize, &u64)| Validator::new(PublicKey::new([i as u8 + 1; 32]), Power::new(*power));
    ValidatorSet::new(powers.iter().enumerate().map(member)).expect("a legal set")
}

/// A small block that differs by its tag.
pub(super) fn block(height: u64, tag: &str) -> Arc<CandidateBlock> {
    block_with(height, tag, Vec::new())
}

pub(super) fn block_with(height: u64, tag: &str, txs: Vec<Tx>) -> Arc<CandidateBlock> {
    let hash = sha256(tag.as_bytes());
    let header = Header {
        version: Version { block: Version::BLOCK, app: 0 },
        chain_id: chain_id(),
        height: Height::new(height),
        time: Time::UNIX_EPOCH.plus(Duration::from_secs(1000 + height)),
        last_block_id: None,
        last_commit_hash: hash,
        data_hash: hash,
        validators_hash: hash,
        next_validators_hash: hash,
        consensus_hash: hash,
        app_hash: Bytes::copy_from_slice(tag.as_bytes()),
        last_results_hash: hash,
        evidence_hash: hash,
        proposer_address: Address::new([1; 20]),
    };
    Arc::new(CandidateBlock::new(Block { header, txs, evidence: Vec::new(), last_commit: None }))
}

pub(super) fn start(set: &Arc<ValidatorSet>, own: Option<usize>, height: u64) -> Start {
    let second = Duration::from_secs(1);
    let delta = Duration::from_millis(500);
    Start {
        chain_id: chain_id(),
        height: Height::new(height),
        initial_height: Height::FIRST,
        validators: Arc::clone(set),
        next_validators: Arc::clone(set),
        last_validators: None,
        last_commit: None,
        last_block_time: Time::UNIX_EPOCH,
        params: Arc::new(ConsensusParams::default()),
        own: own.map(|i| set.members()[i].address),
        last_block: None,
        timeouts: Timeouts {
            propose: Duration::from_secs(3),
            propose_delta: delta,
            prevote: second,
            prevote_delta: delta,
            precommit: second,
            precommit_delta: delta,
            commit: second,
            skip_commit_when_all_voted: false,
            empty_blocks: EmptyBlocks::Always,
            election: Duration::from_millis(300),
            heartbeat: Duration::from_millis(50),
            view_change: Duration::from_millis(500),
        },
        begin_at: Tick(0),
        proof_block_needed: true,
        txs_available: false,
    }
}

pub(super) fn now_at(tick: Tick) -> Now {
    Now { tick, wall: Time::UNIX_EPOCH.plus(Duration::from_secs(2000)).plus(Duration::from_nanos(tick.0)) }
}

/// A signature that means nothing but differs with what is signed.
pub(super) fn signature_over(words: &str) -> Signature {
    let hash = sha256(words.as_bytes());
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(hash.as_bytes());
    Signature::new(bytes)
}

pub(super) fn vote_of(
    set: &ValidatorSet,
    from: usize,
    kind: VoteKind,
    at: (u64, u32),
    block_id: Option<BlockId>,
) -> Vote {
    let (height, round) = at;
    Vote {
        kind,
        height: Height::new(height),
        round: Round::new(round),
        block_id,
        timestamp: Time::UNIX_EPOCH,
        validator_address: set.members()[from].address,
        validator_index: from as u32,
        signature: signature_over(&format!("{from} {kind:?} {height} {round} {block_id:?}")),
        extension: Bytes::new(),
        extension_signature: None,
    }
}

pub(super) fn proposal_of(height: u64, round: u32, pol_round: Option<u32>, block_id: BlockId) -> Proposal {
    Proposal {
        height: Height::new(height),
        round: Round::new(round),
        pol_round: pol_round.map(Round::new),
        block_id,
        timestamp: Time::UNIX_EPOCH,
        signature: signature_over(&format!("{height} {round} {pol_round:?} {block_id:?}")),
    }
}

/// Signs as the real signer does, but with a signature that means nothing.
pub(super) fn sign(request: SignRequest) -> Signed {
    match request {
        SignRequest::Statement(statement) => panic!("Tendermint signs no {statement:?}"),
        SignRequest::Vote(unsigned) => {
            let signature = signature_over(&format!("{unsigned:?}"));
            let extended = unsigned.extension.is_some();
            let timestamp = unsigned.timestamp;
            Signed::Vote(unsigned.signed(timestamp, signature, extended.then_some(signature)))
        }
        SignRequest::Proposal(unsigned) => {
            let signature = signature_over(&format!("{unsigned:?}"));
            let timestamp = unsigned.timestamp;
            Signed::Proposal(unsigned.signed(timestamp, signature))
        }
    }
}

/// A machine and what it ordered since last asked.
pub(super) struct Story {
    pub(super) machine: Tendermint,
    pub(super) set: Arc<ValidatorSet>,
    pub(super) now: Now,
    pub(super) height: u64,
    pub(super) journal: Vec<JournalRecord>,
    pub(super) notes: Vec<RoundNote>,
    to_sign: VecDeque<SignRequest>,
    said: Vec<String>,
}

impl Story {
    /// Four validators of power 1; we are number `own`, and who proposes round r is `proposer(r)`.
    pub(super) fn of_four(own: usize) -> Story {
        let set = Arc::new(validators(&[1, 1, 1, 1]));
        let begin = start(&set, Some(own), 1);
        Story::begin(begin, &[])
    }

    pub(super) fn begin(start: Start, records: &[JournalRecord]) -> Story {
        let now = now_at(Tick(0));
        let (set, height) = (Arc::clone(&start.validators), start.height.get());
        let mut out = Vec::new();
        let machine = Tendermint::recover(now, start, records, &mut out);
        let mut story = Story {
            machine,
            set,
            now,
            height,
            journal: records.to_vec(),
            notes: Vec::new(),
            to_sign: VecDeque::new(),
            said: Vec::new(),
        };
        story.record(out);
        story
    }

    pub(super) fn step(&mut self, input: Input<Message>) -> Reaction {
        let mut out = Vec::new();
        let reaction = self.machine.step(self.now, input, &mut out);
        self.record(out);
        reaction
    }

    fn record(&mut self, effects: Vec<Effect<Tendermint>>) {
        for effect in effects {
            match effect {
                Effect::Persist(record) => self.journal.push(record),
                Effect::Note(note) => self.notes.push(note),
                Effect::Broadcast(Message::Part { .. }) => {}
                Effect::Sign(request) => {
                    self.said.push(format!("sign {}", request_words(&request)));
                    self.to_sign.push_back(request);
                }
                other => self.said.push(words(&other)),
            }
        }
    }

    /// What was ordered since the last call.
    pub(super) fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.said)
    }

    #[track_caller]
    pub(super) fn expect(&mut self, wanted: &[&str]) {
        assert_eq!(self.said(), wanted);
    }

    /// Forgets what was ordered.
    pub(super) fn quietly(&mut self) {
        self.said.clear();
    }

    /// The signer answers everything asked.
    pub(super) fn signed(&mut self) {
        while let Some(request) = self.to_sign.pop_front() {
            assert_eq!(self.step(Input::Signed(sign(request))), Reaction::Accepted);
        }
    }

    /// The signer answers the next thing asked.
    pub(super) fn signed_once(&mut self) {
        let request = self.to_sign.pop_front().expect("something was asked");
        assert_eq!(self.step(Input::Signed(sign(request))), Reaction::Accepted);
    }

    /// The signer refuses the next thing asked.
    pub(super) fn refused(&mut self) -> Reaction {
        let (height, round) = match self.to_sign.pop_front().expect("something was asked") {
            SignRequest::Vote(vote) => (vote.height, vote.round),
            SignRequest::Proposal(proposal) => (proposal.height, proposal.round),
            SignRequest::Statement(statement) => panic!("Tendermint signs no {statement:?}"),
        };
        self.step(Input::Signed(Signed::Refused { height, round }))
    }

    pub(super) fn hear(&mut self, message: Message) -> Reaction {
        self.step(Input::Received { source: peer(), message })
    }

    pub(super) fn proposal(&mut self, round: u32, pol: Option<u32>, block: &CandidateBlock) -> Reaction {
        let proposal = proposal_of(self.height, round, pol, block.id());
        self.hear(Message::Proposal(Verified::trusted(proposal)))
    }

    pub(super) fn parts(&mut self, round: u32, block: &CandidateBlock) {
        for part in block.parts().parts() {
            let (height, round) = (Height::new(self.height), Round::new(round));
            self.hear(Message::Part { height, round, part: part.clone() });
        }
    }

    /// A proposal with its parts and the application's yes.
    pub(super) fn proposed(&mut self, round: u32, pol: Option<u32>, block: &CandidateBlock) {
        self.proposal(round, pol, block);
        self.parts(round, block);
        self.checked(block, true);
    }

    pub(super) fn checked(&mut self, block: &CandidateBlock, accept: bool) -> Reaction {
        self.checked_in(self.machine.round(), block, accept)
    }

    /// The answer to a question of that round.
    pub(super) fn checked_in(&mut self, round: Round, block: &CandidateBlock, accept: bool) -> Reaction {
        let verdict = if accept { BlockVerdict::Accept } else { BlockVerdict::Reject("no".to_owned()) };
        self.step(Input::BlockChecked { height: Height::new(self.height), round, block_id: block.id(), verdict })
    }

    pub(super) fn vote(&mut self, kind: VoteKind, from: usize, round: u32, block: Option<&CandidateBlock>) -> Reaction {
        let vote = vote_of(&self.set, from, kind, (self.height, round), block.map(CandidateBlock::id));
        self.hear(Message::Vote(Verified::trusted(vote)))
    }

    pub(super) fn prevotes(&mut self, from: &[usize], round: u32, block: Option<&CandidateBlock>) {
        for voter in from {
            self.vote(VoteKind::Prevote, *voter, round, block);
        }
    }

    pub(super) fn precommits(&mut self, from: &[usize], round: u32, block: Option<&CandidateBlock>) {
        for voter in from {
            self.vote(VoteKind::Precommit, *voter, round, block);
        }
    }

    pub(super) fn timer(&mut self, step: Step, round: u32) -> Reaction {
        self.step(Input::TimerFired(TimerId { height: Height::new(self.height), round: Round::new(round), step }))
    }

    pub(super) fn built(&mut self, round: u32, block: &Arc<CandidateBlock>) -> Reaction {
        let (height, round) = (Height::new(self.height), Round::new(round));
        self.step(Input::BlockBuilt { height, round, block: Arc::clone(block) })
    }

    /// A crash: all that is left is the journal.
    pub(super) fn crash(self, start: Start) -> Story {
        Story::begin(start, &self.journal)
    }

    /// The index of the proposer of a round.
    pub(super) fn proposer(&self, round: u32) -> usize {
        proposer_of(&self.set, round)
    }
}

pub(super) fn proposer_of(set: &ValidatorSet, round: u32) -> usize {
    let address = set.advanced(round).proposer().address;
    set.by_address(&address).expect("a member").0 as usize
}

/// The tag of a block this module made, found by its hash.
fn name(id: Option<BlockId>) -> String {
    let Some(id) = id else { return "nil".to_owned() };
    for height in 1..=3 {
        for tag in ["A", "B", "C", "large"] {
            if known(height, tag).is_some_and(|known| known == id.hash) {
                return tag.to_owned();
            }
        }
    }
    "?".to_owned()
}

fn known(height: u64, tag: &str) -> Option<Hash> {
    Some(block(height, tag).id().hash)
}

fn request_words(request: &SignRequest) -> String {
    match request {
        SignRequest::Statement(statement) => panic!("Tendermint signs no {statement:?}"),
        SignRequest::Vote(vote) => {
            format!("{} {} {}", kind_words(vote.kind), vote.round, name(vote.block_id))
        }
        SignRequest::Proposal(proposal) => {
            let pol = proposal.pol_round.map_or_else(String::new, |round| format!(" pol {round}"));
            format!("proposal {} {}{pol}", proposal.round, name(Some(proposal.block_id)))
        }
    }
}

fn kind_words(kind: VoteKind) -> &'static str {
    match kind {
        VoteKind::Prevote => "prevote",
        VoteKind::Precommit => "precommit",
    }
}

fn words(effect: &Effect<Tendermint>) -> String {
    match effect {
        Effect::Broadcast(Message::Proposal(proposal)) => format!("tell proposal {}", proposal.round),
        Effect::Broadcast(Message::Vote(vote)) => {
            format!("tell {} {} {}", kind_words(vote.kind), vote.round, name(vote.block_id))
        }
        Effect::SetTimer { timer, duration, .. } => {
            format!("timer {:?} {} {}ms", timer.step, timer.round, duration.as_millis())
        }
        Effect::BuildBlock(order) => format!("build {}", order.round),
        Effect::CheckBlock { block, .. } => format!("check {}", name(Some(block.id()))),
        Effect::ExtendVote { round, block, .. } => format!("extend {round} {}", name(Some(block.id()))),
        Effect::VerifyExtension { vote, .. } => format!("verify extension of {}", vote.validator_index),
        Effect::Decide(decision) => format!("decide {} {}", decision.commit.round, name(Some(decision.block.id()))),
        Effect::Accuse(accusation) => format!("accuse {}", accusation.first.validator_index),
        Effect::RequestSync(height) => format!("sync {height}"),
        other => format!("{other:?}"),
    }
}
