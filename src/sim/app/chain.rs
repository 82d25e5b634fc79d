//! The chain an application is shown: real headers, hashes and validator sets, made by the node's own rules.
//!
//! Validators a plan draws sign what they say with keys of their own, so that an application may verify vote extensions.
//! Whoever comes from somebody's genesis, or from the application, has a key nobody knows here: 64 zero bytes stand for
//! its signatures. The node's own rules, as far as they are used here, look at none.

use super::plan::{InstanceNr, Plan};
use crate::crypto::{PrivateKey, Signature};
use crate::pipeline::build::{BuildError, Draft, budget};
use crate::pipeline::execute::{ExecuteError, next_state};
use crate::pipeline::recover::{HandshakeError, first_state};
use crate::pipeline::{BuildJob, PipelineNote, requests};
use crate::types::abci::{FinalizeBlockResponse, InitChainResponse, Request};
use crate::types::{
    Address, Algorithm, BlockId, CandidateBlock, ChainId, ChainState, Commit, CommitSig, ConsensusParams,
    DuplicateVoteEvidence, Evidence, ExtendedCommit, GenesisDoc, GenesisValidator, Height, MedianRule, PartSetHeader,
    Power, Round, SignedPart, Time, Tx, ValidatorSet, Vote, VoteKind,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// 2026-01-01T00:00:00Z: block time comes from no clock.
const GENESIS_SECONDS: i64 = 1_767_225_600;
const CHAIN_ID: &str = "rehearsal";
/// The signature of whom we have no key of.
const UNSIGNED: Signature = Signature::new([0; Signature::LEN]);

/// A first answer, and who gave it.
#[derive(Debug, Clone)]
pub struct Given<T> {
    /// Who.
    pub nr: InstanceNr,
    /// The same for people: `instance A`.
    pub by: String,
    /// The answer.
    pub answer: T,
}

/// A block that is decided.
#[derive(Debug)]
pub struct Decided {
    /// The block.
    pub block: Arc<CandidateBlock>,
    /// The set that decided the height before.
    pub last_validators: Option<Arc<ValidatorSet>>,
    /// The first answer to FinalizeBlock.
    pub first: Option<Given<FinalizeBlockResponse>>,
}

impl Decided {
    /// FinalizeBlock for it.
    pub fn request(&self) -> Request {
        let made = requests::finalize_block(&self.block, self.last_validators.as_deref());
        made.expect("the chain's own commits fit its own sets")
    }

    /// Its transactions.
    pub fn txs(&self) -> Vec<Bytes> {
        self.block.block().txs.iter().map(|tx| tx.bytes().clone()).collect()
    }
}

/// What one validator did at the end of a height.
#[derive(Debug, Clone)]
pub enum VoterPart {
    /// It precommitted, with this extension.
    Signed(Bytes),
    /// Nothing.
    Absent,
}

/// The chain.
#[derive(Debug)]
pub struct Chain {
    genesis: GenesisDoc,
    /// None before the first InitChain.
    state: Option<ChainState>,
    init: Option<Given<InitChainResponse>>,
    decided: Vec<Decided>,
    last_commit: Option<ExtendedCommit>,
    /// Of those validators of the genesis that a plan drew.
    keys: BTreeMap<Address, PrivateKey>,
}

/// The key of a validator that a plan draws.
fn drawn_key(nr: u8) -> PrivateKey {
    PrivateKey::from_seed(&[nr.wrapping_add(1); 32])
}

/// A genesis as the plan draws it.
pub fn genesis(plan: &Plan) -> GenesisDoc {
    let key = |nr: u8| drawn_key(nr).public_key();
    let validators = (0u8..).zip(&plan.powers).map(|(nr, power)| GenesisValidator {
        address: Address::from(&key(nr)),
        public_key: key(nr),
        power: Power::new(*power),
        name: format!("validator-{nr}"),
    });
    GenesisDoc {
        genesis_time: Time::new(GENESIS_SECONDS, 0).expect("2026 is a year"),
        chain_id: ChainId::try_from(CHAIN_ID).expect("it is short"),
        initial_height: Height::new(plan.initial),
        consensus_params: ConsensusParams::default(),
        validators: validators.collect(),
        app_hash: Bytes::new(),
        app_state: Bytes::from_static(b"{}"),
        algorithm: Algorithm::Tendermint,
    }
}

impl Chain {
    /// A chain that begins.
    pub fn new(genesis: GenesisDoc) -> Chain {
        let drawn = (0..=u8::MAX).zip(&genesis.validators).map(|(nr, _)| drawn_key(nr));
        let named = drawn.map(|key| (Address::from(&key.public_key()), key));
        let keys = named.filter(|(address, _)| genesis.validators.iter().any(|it| it.address == *address)).collect();
        Chain { genesis, state: None, init: None, decided: Vec::new(), last_commit: None, keys }
    }

    /// Its genesis.
    pub fn genesis(&self) -> &GenesisDoc {
        &self.genesis
    }

    /// The state now.
    ///
    /// # Panics
    /// Before [`Chain::begin`].
    pub fn state(&self) -> &ChainState {
        self.state.as_ref().expect("InitChain is answered before anything else is asked")
    }

    /// The first answer to InitChain.
    pub fn init(&self) -> Option<&Given<InitChainResponse>> {
        self.init.as_ref()
    }

    /// The commit of the newest block, as the next proposer has it; none before the first.
    pub fn last_commit(&self) -> Option<&ExtendedCommit> {
        self.last_commit.as_ref()
    }

    /// Takes the first answer to InitChain.
    pub fn begin(&mut self, given: Given<InitChainResponse>, app_version: u64) -> Result<(), HandshakeError> {
        self.state = Some(first_state(&self.genesis, &given.answer, app_version)?);
        self.init = Some(given);
        Ok(())
    }

    /// Height of the first block.
    pub fn initial(&self) -> u64 {
        self.genesis.initial_height.get()
    }

    /// Height of the newest decided block; 0 before the first.
    pub fn tip(&self) -> u64 {
        self.decided.last().map_or(0, |last| last.block.block().header.height.get())
    }

    /// A decided block.
    pub fn at(&self, height: u64) -> Option<&Decided> {
        self.decided.get(usize::try_from(height.checked_sub(self.initial())?).ok()?)
    }

    /// The application's hash after a height; 0 is after InitChain.
    pub fn app_hash(&self, height: u64) -> Option<Bytes> {
        match height {
            0 => self.init.as_ref().map(|given| given.answer.app_hash.clone()),
            _ => self.at(height)?.first.as_ref().map(|given| given.answer.app_hash.clone()),
        }
    }

    /// Who proposes in a round.
    pub fn proposer(&self, round: Round) -> Address {
        self.state().validators.advanced(round.get()).proposer().address
    }

    /// The transactions that may be offered: as many as fit, in order.
    pub fn offer(&self, waiting: &[Bytes], evidence: &[Evidence]) -> Vec<Tx> {
        let budget = budget(self.state(), evidence_bytes(evidence));
        let mut left = budget.reap_bytes.unwrap_or(budget.tx_bytes);
        let fits = |tx: &Tx| {
            let rest = left.checked_sub(tx.encoded_len());
            left = rest.unwrap_or(left);
            rest.is_some()
        };
        waiting.iter().cloned().map(Tx::new).take_while(fits).collect()
    }

    /// A block without transactions.
    pub fn draft(&self, round: Round, txs: Vec<Tx>, evidence: Vec<Evidence>) -> Result<Draft, BuildError> {
        let state = self.state();
        let evidence_bytes = evidence_bytes(&evidence);
        let last_commit = self.last_commit.clone();
        let job = BuildJob { height: state.next_height(), round, last_commit, txs, evidence, evidence_bytes };
        Draft::new(state, &job, self.proposer(round), MedianRule::of(state.algorithm))
    }

    /// A draft with its transactions, and the node's remark when they are too many.
    pub fn complete(draft: Draft, txs: Vec<Bytes>, offered: &[Tx]) -> (Arc<CandidateBlock>, Option<PipelineNote>) {
        let (block, note) = draft.finish(txs, offered);
        (Arc::new(CandidateBlock::new(block)), note)
    }

    /// ProcessProposal for a block.
    pub fn process(&self, block: &CandidateBlock) -> Request {
        requests::process_proposal(block, self.state().last_validators.as_deref())
            .expect("the chain's own commits fit its own sets")
    }

    /// ExtendVote for a block.
    pub fn extend(&self, block: &CandidateBlock) -> Request {
        requests::extend_vote(block, self.state().last_validators.as_deref())
            .expect("the chain's own commits fit its own sets")
    }

    /// VerifyVoteExtension for an extension of some validator of this height.
    pub fn verify(&self, block: &CandidateBlock, voter: usize, extension: Bytes) -> Option<Request> {
        let member = &self.state().validators.members()[voter % self.state().validators.len()];
        let validators = &self.state().validators;
        requests::verify_extension(&Vote { extension, ..self.vote(validators, block.id(), member.address) })
    }

    /// True when precommits of the height being decided carry extensions.
    pub fn is_extended(&self) -> bool {
        self.state().consensus_params.abci.extensions_enabled(self.state().next_height())
    }

    /// Proof that a validator signed twice at the last height; none before it.
    pub fn evidence(&self, offender: u64) -> Option<Evidence> {
        let state = self.state();
        let (set, block_id) = (state.last_validators.as_ref()?, state.last_block_id?);
        let member = set.members().get((offender % set.len() as u64) as usize)?;
        let parts = PartSetHeader { total: 1, hash: block_id.hash };
        let another = BlockId { hash: block_id.parts.hash, parts };
        let vote = |id| {
            let vote = Vote { height: state.last_block_height, ..self.vote(set, id, member.address) };
            Vote { signature: self.signature(&vote.validator_address, &vote.sign_bytes(&state.chain_id)), ..vote }
        };
        let proof = DuplicateVoteEvidence::new(vote(block_id), vote(another), state.last_block_time, set)?;
        Some(Evidence::DuplicateVote(Box::new(proof)))
    }

    /// With the validator's key, where we have it.
    fn signature(&self, by: &Address, bytes: &[u8]) -> Signature {
        self.keys.get(by).map_or(UNSIGNED, |key| key.sign(bytes))
    }

    /// A precommit of a member of the set, not signed yet.
    fn vote(&self, set: &ValidatorSet, block_id: BlockId, validator_address: Address) -> Vote {
        let index = set.by_address(&validator_address).map_or(0, |(index, _)| index);
        Vote {
            kind: VoteKind::Precommit,
            height: self.state().next_height(),
            round: Round::default(),
            block_id: Some(block_id),
            timestamp: self.state().last_block_time,
            validator_address,
            validator_index: index,
            signature: UNSIGNED,
            extension: Bytes::new(),
            extension_signature: None,
        }
    }

    /// Decides a block: from here on it is what an application is asked to execute.
    pub fn decide(&mut self, block: Arc<CandidateBlock>) {
        let last_validators = self.state().last_validators.clone();
        self.decided.push(Decided { block, last_validators, first: None });
    }

    /// Takes the first answer to FinalizeBlock of the newest block.
    ///
    /// # Errors
    /// When the node could not apply it; it is not kept then.
    pub fn answered(&mut self, given: Given<FinalizeBlockResponse>) -> Result<(), ExecuteError> {
        let block = Arc::clone(&self.decided.last().expect("a block is decided before it is executed").block);
        next_state(self.state(), &block, &given.answer)?;
        if let Some(last) = self.decided.last_mut() {
            last.first = Some(given);
        }
        Ok(())
    }

    /// Ends the height: the newest block's answer becomes state, and the next block will carry this commit.
    pub fn advance(&mut self, round: Round, parts: &[VoterPart], pause: Duration) -> Result<(), ExecuteError> {
        let last = self.decided.last().expect("a block is decided before its height ends");
        let first = last.first.as_ref().expect("it is executed before its height ends");
        let (extended, validators) = (self.is_extended(), Arc::clone(&self.state().validators));
        let (block_id, height) = (last.block.id(), last.block.block().header.height);
        let timestamp = last.block.block().header.time.plus(pause);
        let next = next_state(self.state(), &last.block, &first.answer)?;
        let absent = VoterPart::Absent;
        let signatures = validators.members().iter().enumerate().map(|(index, member)| match parts.get(index) {
            Some(VoterPart::Signed(_)) => {
                CommitSig::Commit(SignedPart { validator_address: member.address, timestamp, signature: UNSIGNED })
            }
            _ => CommitSig::Absent,
        });
        let commit = Commit { height, round, block_id, signatures: signatures.collect() };
        let mut commit = ExtendedCommit::from(commit);
        for (entry, part) in commit.signatures.iter_mut().zip(parts.iter().chain(std::iter::repeat(&absent))) {
            if let (true, VoterPart::Signed(extension)) = (extended, part) {
                entry.extension = extension.clone();
                entry.extension_signature = Some(UNSIGNED);
            }
        }
        self.sign_commit(&mut commit);
        self.last_commit = Some(commit);
        self.state = Some(next);
        Ok(())
    }
}

impl Chain {
    /// Puts a signature on every precommit, and on its extension.
    fn sign_commit(&self, commit: &mut ExtendedCommit) {
        let votes: Vec<Option<Vote>> = (0..commit.signatures.len()).map(|index| commit.extended_vote(index)).collect();
        for (entry, vote) in commit.signatures.iter_mut().zip(votes) {
            let (CommitSig::Commit(part), Some(vote)) = (&mut entry.sig, vote) else { continue };
            let (by, chain_id) = (&vote.validator_address, &self.genesis.chain_id);
            part.signature = self.signature(by, &vote.sign_bytes(chain_id));
            if let Some(signature) = &mut entry.extension_signature {
                *signature = self.signature(by, &vote.extension_sign_bytes(chain_id));
            }
        }
    }
}

fn evidence_bytes(list: &[Evidence]) -> u64 {
    crate::pipeline::check::evidence_bytes(list)
}
