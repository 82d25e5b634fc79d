//! Hand-written runs for the tests of checkers: a few nodes, and words in their mouths.

use crate::consensus::{EmptyBlocks, Tick, Timeouts};
use crate::crypto::{PublicKey, Signature, sha256};
use crate::sim::{Checker, Conduct, End, Level, Lie, NodeNr, NodePlan, Plan, Scene, Seen, Weather, What, Word};
use crate::types::{
    Address, Algorithm, Block, BlockId, CandidateBlock, ChainId, CommitSig, Evidence, ExtendedCommit,
    ExtendedCommitSig, Header, Height, PbftStatement, Power, Proposal, RaftStatement, Round, SignedPart, Statement,
    StatementBody, Time, Tx, Validator, ValidatorSet, Version, Vote, VoteKind,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// One checker, and what it is shown.
pub(super) struct Stage<C> {
    pub(super) scene: Scene,
    pub(super) checker: C,
    at: u64,
}

fn key(node: u8, salt: u8) -> PublicKey {
    PublicKey::new([node + 1 + 100 * salt; 32])
}

fn set_of(powers: &[u64], salt: u8) -> Arc<ValidatorSet> {
    let people = powers.iter().zip(0_u8..).map(|(power, node)| Validator::new(key(node, salt), Power::new(*power)));
    Arc::new(ValidatorSet::new(people).expect("a legal set"))
}

fn scene(algorithm: Algorithm, powers: &[u64]) -> Scene {
    let ms = Duration::from_millis;
    let timeouts = Timeouts {
        propose: ms(1000),
        propose_delta: ms(200),
        prevote: ms(300),
        prevote_delta: ms(200),
        precommit: ms(300),
        precommit_delta: ms(200),
        commit: ms(50),
        skip_commit_when_all_voted: true,
        empty_blocks: EmptyBlocks::Always,
        election: ms(500),
        heartbeat: ms(50),
        view_change: ms(700),
    };
    let plan = Plan {
        seed: 1,
        level: Level::Whole,
        algorithm,
        nodes: powers.iter().map(|power| NodePlan { power: *power, conduct: Conduct::Honest }).collect(),
        heights: 5,
        timeouts,
        weather: Weather::CALM,
        faults: Vec::new(),
        heal_at: Tick(0),
    };
    Scene {
        plan,
        chain_id: ChainId::try_from("story").expect("short"),
        initial_height: Height::new(1),
        addresses: (0..powers.len() as u8).map(|node| Address::from(&key(node, 0))).collect(),
        validators: set_of(powers, 0),
        evidence: crate::types::EvidenceParams::default(),
        extensions_from: None,
    }
}

impl<C: Checker> Stage<C> {
    /// That many nodes with power 1, one checker.
    pub(super) fn of(algorithm: Algorithm, nodes: usize, checker: C) -> Stage<C> {
        Stage { scene: scene(algorithm, &vec![1; nodes]), checker, at: 0 }
    }

    /// One of them lies.
    pub(super) fn with_liar(mut self, node: u8) -> Stage<C> {
        self.scene.plan.nodes[usize::from(node)].conduct = Conduct::Liar(vec![Lie::EquivocateVotes]);
        self
    }

    /// Another set than that of the first height.
    pub(super) fn other_set(&self) -> Arc<ValidatorSet> {
        set_of(&[1, 1, 1, 5], 0)
    }

    /// Shows something, a millisecond after the last thing.
    pub(super) fn see(&mut self, node: u8, what: What<'_>) -> Result<(), String> {
        self.at += 1_000_000;
        self.checker.see(&self.scene, &Seen { at: Tick(self.at), node: NodeNr(node), what })
    }

    /// Shows something that is as it should be.
    pub(super) fn fine(&mut self, node: u8, what: What<'_>) {
        if let Err(why) = self.see(node, what) {
            panic!("the checker complains about {what:?}: {why}");
        }
    }

    /// Shows something that is not, and gives back the complaint.
    pub(super) fn wrong(&mut self, node: u8, what: What<'_>) -> String {
        match self.see(node, what) {
            Ok(()) => panic!("the checker does not see what is wrong with {what:?}"),
            Err(why) => why,
        }
    }

    /// Time goes by.
    pub(super) fn wait(&mut self, time: Duration) {
        self.at += u64::try_from(time.as_nanos()).expect("not for ever");
    }

    /// The run ends here.
    pub(super) fn done(&mut self) -> Result<(), String> {
        self.checker.end(&self.scene, End::Done { at: Tick(self.at) })
    }

    /// The run was given up here.
    pub(super) fn out_of_time(&mut self) -> Result<(), String> {
        self.checker.end(&self.scene, End::OutOfTime { at: Tick(self.at) })
    }

    /// The node takes up a height, with the set of the first one turned.
    pub(super) fn begin(&mut self, node: u8, height: u64) {
        let validators = self.set_at(height);
        self.fine(node, What::Began { height: Height::new(height), validators: &validators });
    }

    /// Who decides a height, while nobody's power changes.
    pub(super) fn set_at(&self, height: u64) -> Arc<ValidatorSet> {
        let mut set = (*self.scene.validators).clone();
        (1..height).for_each(|_| set.advance(1));
        Arc::new(set)
    }

    /// The node applies a block, and its set stays.
    pub(super) fn try_apply(&mut self, node: u8, height: u64, block_id: BlockId, state: &str) -> Result<(), String> {
        let (app_hash, next) = (Bytes::copy_from_slice(state.as_bytes()), self.set_at(height + 2));
        let height = Height::new(height);
        self.see(node, What::Applied { height, block_id, app_hash: &app_hash, next_validators: &next })
    }

    /// The same, and it is fine.
    pub(super) fn apply(&mut self, node: u8, height: u64, block_id: BlockId, state: &str) {
        assert_eq!(self.try_apply(node, height, block_id, state), Ok(()));
    }

    /// The node signs a vote.
    pub(super) fn signs(&mut self, node: u8, vote: &Vote) {
        self.fine(node, What::Signed(Word::Vote(vote)));
    }

    /// The node signs a proposal.
    pub(super) fn proposes(&mut self, node: u8, proposal: &Proposal) {
        let by = Some(self.scene.addresses[usize::from(node)]);
        self.fine(node, What::Signed(Word::Proposal { by, proposal }));
    }

    /// Everybody else hears what this node says.
    pub(super) fn all_hear(&mut self, from: u8, word: Word<'_>) {
        for to in (0..self.scene.plan.nodes.len() as u8).filter(|to| *to != from) {
            self.fine(to, What::Heard { from: NodeNr(from), word });
        }
    }

    /// A proposal comes to a node.
    pub(super) fn hears_proposal(&mut self, node: u8, from: u8, proposal: &Proposal) {
        let by = Some(self.scene.addresses[usize::from(from)]);
        self.fine(node, What::Heard { from: NodeNr(from), word: Word::Proposal { by, proposal } });
    }

    /// A vote comes to a node.
    pub(super) fn hears_vote(&mut self, node: u8, from: u8, vote: &Vote) {
        self.fine(node, What::Heard { from: NodeNr(from), word: Word::Vote(vote) });
    }

    /// The node's application accepts a block.
    pub(super) fn accepts(&mut self, node: u8, block: &Arc<CandidateBlock>) {
        self.fine(node, What::Checked { block, accepted: true });
    }

    /// The node whose turn it is in this round of the first height.
    pub(super) fn proposer(&self, round: u32) -> u8 {
        let set = self.scene.validators.advanced(round);
        self.scene.node_of(&set.proposer().address).expect("a node").0
    }

    /// The node that leads this view.
    pub(super) fn primary(&self, view: u32) -> u8 {
        let members = self.scene.validators.members();
        let address = members[view as usize % members.len()].address;
        self.scene.node_of(&address).expect("a node").0
    }
}

/// Where a node sits.
pub(super) fn seat(scene: &Scene, node: u8) -> (u32, Address) {
    let address = scene.addresses[usize::from(node)];
    (scene.validators.by_address(&address).expect("a member").0, address)
}

/// A block.
pub(super) fn block(height: u64, tag: &str) -> Arc<CandidateBlock> {
    block_of(height, tag, None, Address::new([1; 20]), &[])
}

/// A block that proves something.
pub(super) fn block_with(height: u64, evidence: Vec<Evidence>) -> Arc<CandidateBlock> {
    let plain = block(height, "a");
    let block = Block { evidence, ..plain.block().clone() };
    Arc::new(CandidateBlock::new(block))
}

/// A block that names the one before it and its proposer, with transactions.
pub(super) fn block_of(
    height: u64,
    tag: &str,
    last_block_id: Option<BlockId>,
    proposer_address: Address,
    txs: &[&str],
) -> Arc<CandidateBlock> {
    let hash = sha256(tag.as_bytes());
    let header = Header {
        version: Version { block: Version::BLOCK, app: 0 },
        chain_id: ChainId::try_from("story").expect("short"),
        height: Height::new(height),
        time: Time::UNIX_EPOCH.plus(Duration::from_secs(1000 + height)),
        last_block_id,
        last_commit_hash: hash,
        data_hash: hash,
        validators_hash: hash,
        next_validators_hash: hash,
        consensus_hash: hash,
        app_hash: Bytes::copy_from_slice(tag.as_bytes()),
        last_results_hash: hash,
        evidence_hash: hash,
        proposer_address,
    };
    let txs = txs.iter().map(|tx| Tx::new(tx.as_bytes().to_vec())).collect();
    Arc::new(CandidateBlock::new(Block { header, txs, evidence: Vec::new(), last_commit: None }))
}

fn signature(node: u8, what: &str) -> Signature {
    let mut bytes = [node; 64];
    bytes[..32].copy_from_slice(sha256(what.as_bytes()).as_bytes());
    Signature::new(bytes)
}

/// A proposal.
pub(super) fn proposal(node: u8, height: u64, round: u32, block_id: BlockId, pol_round: Option<u32>) -> Proposal {
    Proposal {
        height: Height::new(height),
        round: Round::new(round),
        pol_round: pol_round.map(Round::new),
        block_id,
        timestamp: Time::UNIX_EPOCH,
        signature: signature(node, &format!("proposal {height} {round} {block_id:?} {pol_round:?}")),
    }
}

/// A vote.
pub(super) fn vote(scene: &Scene, node: u8, kind: VoteKind, at: (u64, u32), block_id: Option<BlockId>) -> Vote {
    let (validator_index, validator_address) = seat(scene, node);
    Vote {
        kind,
        height: Height::new(at.0),
        round: Round::new(at.1),
        block_id,
        timestamp: Time::UNIX_EPOCH,
        validator_address,
        validator_index,
        signature: signature(node, &format!("{kind:?} {at:?} {block_id:?}")),
        extension: Bytes::new(),
        extension_signature: None,
    }
}

/// A prevote.
pub(super) fn prevote(scene: &Scene, node: u8, at: (u64, u32), block_id: Option<BlockId>) -> Vote {
    vote(scene, node, VoteKind::Prevote, at, block_id)
}

/// A precommit.
pub(super) fn precommit(scene: &Scene, node: u8, at: (u64, u32), block_id: Option<BlockId>) -> Vote {
    vote(scene, node, VoteKind::Precommit, at, block_id)
}

/// The commit these nodes' precommits make.
pub(super) fn commit(scene: &Scene, height: u64, round: u32, block_id: BlockId, nodes: &[u8]) -> ExtendedCommit {
    let members = scene.validators.members();
    let mut signatures: Vec<ExtendedCommitSig> = members.iter().map(|_| entry(CommitSig::Absent)).collect();
    for node in nodes {
        let vote = precommit(scene, *node, (height, round), Some(block_id));
        signatures[vote.validator_index as usize] = entry(CommitSig::Commit(SignedPart {
            validator_address: vote.validator_address,
            timestamp: vote.timestamp,
            signature: vote.signature,
        }));
    }
    ExtendedCommit { height: Height::new(height), round: Round::new(round), block_id, signatures }
}

fn entry(sig: CommitSig) -> ExtendedCommitSig {
    ExtendedCommitSig { sig, extension: Bytes::new(), extension_signature: None }
}

/// A statement of a Raft replica.
pub(super) fn raft(scene: &Scene, node: u8, body: RaftStatement) -> Statement {
    let signature = signature(node, &format!("{body:?}"));
    Statement { by: scene.addresses[usize::from(node)], body: StatementBody::Raft(body), signature }
}

/// A statement of a PBFT replica.
pub(super) fn pbft(scene: &Scene, node: u8, body: PbftStatement) -> Statement {
    let signature = signature(node, &format!("{body:?}"));
    Statement { by: scene.addresses[usize::from(node)], body: StatementBody::Pbft(Box::new(body)), signature }
}
