//! Small things for tests: blocks, starts, signatures that mean nothing; and one machine among puppets.

use crate::consensus::raft::Raft;
use crate::consensus::{
    BlockVerdict, Direct, Effect, EmptyBlocks, Input, Now, Protocol, RaftRole, Reaction, Signed, Start, Tick, Timeouts,
};
use crate::crypto::{PublicKey, Signature, Verified, sha256};
use crate::types::{
    Address, Block, BlockId, CandidateBlock, ChainId, ConsensusParams, Election, ExtendedCommit, Header, Height,
    JournalRecord, LogPosition, NodeId, Power, Proposal, RaftStatement, Round, SignRequest, Source, Statement,
    StatementBody, Time, Validator, ValidatorSet, Version, Vote, VoteKind,
};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub(super) const ELECTION: Duration = Duration::from_millis(300);
pub(super) const HEARTBEAT: Duration = Duration::from_millis(50);

pub(super) fn key_of(node: usize) -> Validator {
    Validator::new(PublicKey::new([node as u8 + 1; 32]), Power::new(1))
}

/// The address of node `node`, whatever set it is in.
pub(super) fn address(node: usize) -> Address {
    key_of(node).address
}

/// The connection to node `node`.
pub(super) fn peer(node: usize) -> NodeId {
    NodeId::new(Address::new([node as u8 + 1; 20]))
}

/// A set of these nodes, each with power 1.
pub(super) fn set_of(nodes: &[usize]) -> Arc<ValidatorSet> {
    let powers: Vec<_> = nodes.iter().map(|node| (*node, 1)).collect();
    weighted(&powers)
}

/// A set of these nodes with these powers.
pub(super) fn weighted(nodes: &[(usize, u64)]) -> Arc<ValidatorSet> {
    let member = |(node, power): &(usize, u64)| Validator { power: Power::new(*power), ..key_of(*node) };
    Arc::new(ValidatorSet::new(nodes.iter().map(member)).expect("a legal set"))
}

/// A small block that differs by its tag.
pub(super) fn block(height: u64, tag: &str) -> Arc<CandidateBlock> {
    let hash = sha256(tag.as_bytes());
    let header = Header {
        version: Version { block: Version::BLOCK, app: 0 },
        chain_id: ChainId::try_from("scene").expect("short"),
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
    Arc::new(CandidateBlock::new(Block { header, txs: Vec::new(), evidence: Vec::new(), last_commit: None }))
}

pub(super) fn start(set: &Arc<ValidatorSet>, own: usize, height: u64) -> Start {
    let zero = Duration::ZERO;
    Start {
        chain_id: ChainId::try_from("scene").expect("short"),
        height: Height::new(height),
        initial_height: Height::FIRST,
        validators: Arc::clone(set),
        next_validators: Arc::clone(set),
        last_validators: None,
        last_commit: None,
        last_block: None,
        last_block_time: Time::UNIX_EPOCH,
        params: Arc::new(ConsensusParams::default()),
        own: Some(address(own)),
        timeouts: Timeouts {
            propose: zero,
            propose_delta: zero,
            prevote: zero,
            prevote_delta: zero,
            precommit: zero,
            precommit_delta: zero,
            commit: zero,
            skip_commit_when_all_voted: false,
            empty_blocks: EmptyBlocks::Always,
            election: ELECTION,
            heartbeat: HEARTBEAT,
            view_change: zero,
        },
        begin_at: Tick(0),
        proof_block_needed: false,
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

/// Signs as the real signer does, but with a signature that means nothing.
pub(super) fn sign(request: SignRequest) -> Signed {
    let signature = signature_over(&format!("{request:?}"));
    match request {
        SignRequest::Statement(unsigned) => Signed::Statement(Box::new(unsigned.signed(signature))),
        SignRequest::Proposal(unsigned) => {
            let timestamp = unsigned.timestamp;
            Signed::Proposal(unsigned.signed(timestamp, signature))
        }
        SignRequest::Vote(unsigned) => {
            let (timestamp, extended) = (unsigned.timestamp, unsigned.extension.is_some());
            Signed::Vote(unsigned.signed(timestamp, signature, extended.then_some(signature)))
        }
    }
}

/// What node `node` acknowledges.
pub(super) fn ack(set: &ValidatorSet, node: usize, at: (u64, u32), block_id: Option<BlockId>) -> Vote {
    let (index, _) = set.by_address(&address(node)).expect("a member");
    Vote {
        kind: VoteKind::Precommit,
        height: Height::new(at.0),
        round: Round::new(at.1),
        block_id,
        timestamp: Time::UNIX_EPOCH,
        validator_address: address(node),
        validator_index: index,
        signature: signature_over(&format!("{node} {at:?} {block_id:?}")),
        extension: Bytes::new(),
        extension_signature: None,
    }
}

/// A commit of this block that nobody need sign.
pub(super) fn commit_of(block: &CandidateBlock) -> ExtendedCommit {
    let (height, block_id) = (block.block().header.height, block.id());
    ExtendedCommit { height, round: Round::ZERO, block_id, signatures: Vec::new() }
}

/// What node `node` states.
pub(super) fn said(node: usize, body: RaftStatement) -> Direct {
    let (by, signature) = (address(node), signature_over(&format!("{node} {body:?}")));
    Direct::Statement(Verified::trusted(Statement { by, body: StatementBody::Raft(body), signature }))
}

pub(super) fn position(height: u64, entry: Option<u32>) -> LogPosition {
    LogPosition { height: Height::new(height), entry: entry.map(Round::new) }
}

/// One machine among puppets. Its signer, application and journal answer at once; what it says is kept.
pub(super) struct Scene {
    pub(super) machine: Raft,
    pub(super) set: Arc<ValidatorSet>,
    pub(super) tick: Tick,
    pub(super) journal: Vec<JournalRecord>,
    /// To whom (none: to all), and what.
    pub(super) said: VecDeque<(Option<NodeId>, Direct)>,
    pub(super) effects: Vec<String>,
    /// Blocks the application rejects.
    pub(super) rejects: Vec<BlockId>,
    pub(super) decided: Option<BlockId>,
    pub(super) built: u32,
}

impl Scene {
    /// Node `own` at `height`, connected to all others of the set.
    pub(super) fn of(set: &Arc<ValidatorSet>, own: usize, height: u64) -> Scene {
        Scene::begin(start(set, own, height), &[])
    }

    pub(super) fn begin(start: Start, journal: &[JournalRecord]) -> Scene {
        let set = Arc::clone(&start.validators);
        let tick = Tick(1_000_000_000);
        let mut out = Vec::new();
        let machine = Raft::recover(now_at(tick), start, journal, &mut out);
        let (said, effects, rejects) = (VecDeque::new(), Vec::new(), Vec::new());
        let journal = journal.to_vec();
        let mut scene = Scene { machine, set, tick, journal, said, effects, rejects, decided: None, built: 0 };
        scene.run(out);
        for node in 0..8 {
            scene.step(Input::PeerUp(peer(node)));
        }
        scene
    }

    /// The same node after a crash that lost nothing it had written, as it took up `height`.
    pub(super) fn crash(&self, start: Start) -> Scene {
        Scene::begin(start, &self.journal)
    }

    pub(super) fn step(&mut self, input: Input<Direct>) -> Reaction {
        let mut out = Vec::new();
        let reaction = self.machine.step(now_at(self.tick), input, &mut out);
        self.run(out);
        reaction
    }

    /// Node `node` says this.
    pub(super) fn hear(&mut self, node: usize, message: Direct) -> Reaction {
        self.step(Input::Received { source: Source::Peer(peer(node)), message })
    }

    pub(super) fn state(&mut self, node: usize, body: RaftStatement) -> Reaction {
        self.hear(node, said(node, body))
    }

    pub(super) fn wait(&mut self, duration: Duration) {
        self.tick = self.tick.plus(duration);
        self.step(Input::Woken);
    }

    fn run(&mut self, effects: Vec<Effect<Raft>>) {
        let mut queue = VecDeque::from(effects);
        while let Some(effect) = queue.pop_front() {
            self.effects.push(format!("{effect:?}"));
            let answer = match effect {
                Effect::Persist(record) => {
                    self.journal.push(record);
                    None
                }
                Effect::Sign(request) => Some(Input::Signed(sign(request))),
                Effect::Send(to, message) => {
                    self.said.push_back((Some(to), message));
                    None
                }
                Effect::Broadcast(message) => {
                    self.said.push_back((None, message));
                    None
                }
                Effect::BuildBlock(order) => {
                    self.built += 1;
                    let block = block(order.height.get(), &format!("built {}", self.built));
                    Some(Input::BlockBuilt { height: order.height, round: order.round, block })
                }
                Effect::CheckBlock { height, round, block } => {
                    let bad = self.rejects.contains(&block.id());
                    let verdict = if bad { BlockVerdict::Reject("bad".into()) } else { BlockVerdict::Accept };
                    Some(Input::BlockChecked { height, round, block_id: block.id(), verdict })
                }
                Effect::Decide(decision) => {
                    self.decided = Some(decision.block.id());
                    None
                }
                _ => None,
            };
            if let Some(input) = answer {
                let mut out = Vec::new();
                self.machine.step(now_at(self.tick), input, &mut out);
                queue.extend(out);
            }
        }
    }

    pub(super) fn role(&self) -> RaftRole {
        match self.machine.view().lead {
            crate::consensus::Lead::Leader { role, .. } => role,
            other => panic!("Raft has a leader, not {other:?}"),
        }
    }

    pub(super) fn term(&self) -> u32 {
        self.machine.round().get()
    }

    /// What was stated since last asked, oldest first.
    pub(super) fn statements(&mut self) -> Vec<RaftStatement> {
        let bodies = self.said.drain(..).filter_map(|(_, message)| match message {
            Direct::Statement(statement) => match statement.into_inner().body {
                StatementBody::Raft(body) => Some(body),
                StatementBody::Pbft(_) => None,
            },
            _ => None,
        });
        bodies.collect()
    }

    /// The acknowledgement sent since last asked, if any.
    pub(super) fn acked(&mut self) -> Option<Vote> {
        let mut votes = self.said.drain(..).filter_map(|(_, message)| match message {
            Direct::Vote(vote) => Some(vote.into_inner()),
            _ => None,
        });
        votes.next_back()
    }

    /// Asks for the machine's vote as node `node` and says whether it was given.
    pub(super) fn asked_for_vote(&mut self, node: usize, term: u32, election: Election, last: LogPosition) -> bool {
        self.said.clear();
        self.state(node, RaftStatement::RequestVote { term: Round::new(term), election, last });
        self.statements().iter().any(|body| matches!(body, RaftStatement::Ballot { granted: true, .. }))
    }

    /// Node `node` leads `term` and beats.
    pub(super) fn beat(&mut self, node: usize, term: u32, beat: u64) -> Reaction {
        let height = self.machine.height();
        self.state(node, RaftStatement::Heartbeat { term: Round::new(term), height, beat })
    }

    /// Node `node`, leading `term`, proposes `block`, whole.
    pub(super) fn propose(&mut self, node: usize, term: u32, block: &CandidateBlock) -> Reaction {
        let (height, round) = (block.block().header.height, Round::new(term));
        let signature = signature_over(&format!("{node} {height} {term} {:?}", block.id()));
        let timestamp = Time::UNIX_EPOCH;
        let proposal = Proposal { height, round, pol_round: None, block_id: block.id(), timestamp, signature };
        let by = address(node);
        let reaction = self.hear(node, Direct::Proposal { by, proposal: Verified::trusted(proposal) });
        for part in block.parts().parts() {
            self.hear(node, Direct::Part { height, round, part: part.clone() });
        }
        reaction
    }

    /// Node `node` hands over `block`, which is decided.
    pub(super) fn told_decided(&mut self, node: usize, block: &CandidateBlock) {
        let (height, commit) = (block.block().header.height, commit_of(block));
        let round = commit.round;
        self.hear(node, Direct::Commit(Verified::trusted(commit)));
        for part in block.parts().parts() {
            self.hear(node, Direct::Part { height, round, part: part.clone() });
        }
    }

    /// Makes the machine leader with the votes of these.
    pub(super) fn elect(&mut self, voters: &[usize]) {
        self.wait(ELECTION * 3);
        for election in [Election::PreVote, Election::Vote] {
            let asked = self.machine.round().get() + u32::from(election == Election::PreVote);
            for voter in voters {
                self.grant(*voter, asked, election);
            }
        }
    }

    pub(super) fn grant(&mut self, voter: usize, asked: u32, election: Election) -> Reaction {
        let (height, candidate) = (self.machine.height(), self.own());
        let (asked, term) = (Round::new(asked), self.machine.round());
        let ballot = RaftStatement::Ballot { term, asked, election, candidate, granted: true, height };
        self.state(voter, ballot)
    }

    fn own(&self) -> Address {
        (0..8).map(address).find(|a| self.machine.own_is(a)).expect("one of us")
    }

    /// Node `node` answers the heartbeats of this machine.
    pub(super) fn follow(&mut self, node: usize, entry: Option<u32>, beat: u64) -> Reaction {
        let (term, height) = (self.machine.round(), self.machine.height());
        self.state(node, RaftStatement::Following { term, height, entry: entry.map(Round::new), beat })
    }

    /// Node `node` acknowledges what this machine proposes, in `term`.
    pub(super) fn acknowledged_by(&mut self, node: usize, term: u32, id: BlockId) -> Reaction {
        let vote = ack(&self.set, node, (self.machine.height().get(), term), Some(id));
        self.hear(node, Direct::Vote(Verified::trusted(vote)))
    }

    pub(super) fn proposed(&self) -> Option<BlockId> {
        self.machine.view().proposal.map(|proposal| proposal.block_id)
    }
}

impl Raft {
    fn own_is(&self, address: &Address) -> bool {
        self.current.start.own == Some(*address)
    }
}
