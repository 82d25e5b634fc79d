//! A model of everything around the pipeline: disk, application, and a consensus that agrees with itself.

use crate::crypto::{Hash, PrivateKey, Signature, sha256};
use crate::pipeline::{
    BuildJob, Outcome, Pipeline, PipelineEffect, PipelineInput, StoredBlock, check, recover, requests,
};
use crate::types::abci::*;
use crate::types::*;
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// An application that remembers how often it committed each block.
#[derive(Debug, Clone, Default)]
pub(super) struct ModelApp {
    pub(super) height: u64,
    pub(super) hash: Bytes,
    pub(super) commits: BTreeMap<u64, u32>,
    pub(super) init_chains: u32,
    pub(super) working: Option<(u64, Bytes)>,
    pub(super) oddity: Oddity,
}

/// How the application misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Oddity {
    #[default]
    None,
    /// Says another hash in Info.
    LiesInInfo,
    /// Executes blocks otherwise than the first time.
    Nondeterministic,
    UnknownVerdict,
    Rejects,
    PreparesTooMuch,
    ForgetsResults,
    RemovesEverybody,
    AnswersOtherMethod,
    LongExtension,
    PrunesTooMuch,
}

impl ModelApp {
    pub(super) fn info(&self) -> InfoResponse {
        let hash = if self.oddity == Oddity::LiesInInfo { Bytes::from_static(b"lie") } else { self.hash.clone() };
        InfoResponse {
            last_block_height: self.height as i64,
            last_block_app_hash: hash,
            app_version: 7,
            ..Default::default()
        }
    }

    /// The process died: what was not committed is gone.
    pub(super) fn crash(&mut self) {
        self.working = None;
    }

    pub(super) fn answer(&mut self, request: Request) -> Response {
        match (self.oddity, request) {
            (Oddity::AnswersOtherMethod, Request::ProcessProposal(_)) => Response::Flush,
            (_, Request::InitChain(request)) => {
                assert_eq!(self.height, 0, "InitChain only to an empty application");
                self.init_chains += 1;
                self.hash = Bytes::from(format!("genesis of {}", request.chain_id));
                Response::InitChain(InitChainResponse { app_hash: self.hash.clone(), ..Default::default() })
            }
            (oddity, Request::PrepareProposal(request)) => {
                let mut txs = request.txs;
                if oddity == Oddity::PreparesTooMuch {
                    let half = vec![1; (request.max_tx_bytes / 2) as usize];
                    txs.extend([half.clone().into(), half.clone().into(), half.into()]);
                }
                Response::PrepareProposal(txs)
            }
            (Oddity::UnknownVerdict, Request::ProcessProposal(_)) => Response::ProcessProposal(Verdict::Unknown),
            (Oddity::Rejects, Request::ProcessProposal(_)) => Response::ProcessProposal(Verdict::Reject),
            (_, Request::ProcessProposal(_)) => Response::ProcessProposal(Verdict::Accept),
            (Oddity::LongExtension, Request::ExtendVote(_)) => Response::ExtendVote(vec![0; 1_048_577].into()),
            (_, Request::ExtendVote(request)) => Response::ExtendVote(format!("at {}", request.block.height).into()),
            (_, Request::VerifyVoteExtension(it)) => {
                let good = it.vote_extension == format!("at {}", it.height);
                Response::VerifyVoteExtension(if good { Verdict::Accept } else { Verdict::Reject })
            }
            (oddity, Request::FinalizeBlock(request)) => self.finalize(oddity, request),
            (_, other) => panic!("the pipeline never sends {}", other.method()),
        }
    }

    fn finalize(&mut self, oddity: Oddity, request: FinalizeBlockRequest) -> Response {
        let height = request.block.height.get();
        assert!(height == self.height + 1 || self.height == 0, "block {height} after {}", self.height);
        let mut text = format!("{:?} {height} {:?}", self.hash, request.txs);
        if oddity == Oddity::Nondeterministic {
            text.push_str("again");
        }
        let hash = Bytes::copy_from_slice(sha256(text.as_bytes()).as_bytes());
        self.working = Some((height, hash.clone()));
        let mut answer = FinalizeBlockResponse { app_hash: hash, ..Default::default() };
        answer.tx_results =
            request.txs.iter().map(|tx| ExecTxResult { data: tx.clone(), ..Default::default() }).collect();
        if height.is_multiple_of(2) {
            let power = Power::new(10 + height);
            answer.validator_updates = vec![ValidatorUpdate { public_key: key(0).public_key(), power }];
        }
        if height % 100 == 3 {
            let block = BlockParams { max_bytes: Some(2_000_000), max_gas: Some(1_000) };
            answer.consensus_param_updates = Some(ParamsUpdate { block: Some(block), ..Default::default() });
        }
        match oddity {
            Oddity::ForgetsResults => answer.tx_results.clear(),
            Oddity::RemovesEverybody => {
                answer.validator_updates = (0..VALIDATORS)
                    .map(|i| ValidatorUpdate { public_key: key(i).public_key(), power: Power::ZERO })
                    .collect();
            }
            _ => {}
        }
        Response::FinalizeBlock(answer)
    }

    pub(super) fn commit(&mut self) -> Response {
        let (height, hash) = self.working.take().expect("Commit follows FinalizeBlock");
        (self.height, self.hash) = (height, hash);
        *self.commits.entry(height).or_default() += 1;
        let retain_height = if self.oddity == Oddity::PrunesTooMuch { height as i64 + 1 } else { height as i64 - 3 };
        Response::Commit(CommitResponse { retain_height })
    }
}

/// What survives a crash.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    pub(super) blocks: BTreeMap<u64, (Arc<CandidateBlock>, ExtendedCommit)>,
    pub(super) state: Option<Arc<ChainState>>,
    pub(super) validators: BTreeMap<u64, Arc<ValidatorSet>>,
    pub(super) results: BTreeMap<u64, Arc<FinalizeBlockResponse>>,
    pub(super) journal: BTreeSet<u64>,
    pub(super) indexed: BTreeSet<u64>,
}

pub(super) const VALIDATORS: u8 = 4;

pub(super) fn key(index: u8) -> PrivateKey {
    PrivateKey::from_seed(&[index + 1; 32])
}

pub(super) fn genesis(initial_height: u64) -> GenesisDoc {
    let validators = (0..VALIDATORS).map(|index| {
        let public_key = key(index).public_key();
        let address = Address::from(&public_key);
        GenesisValidator { address, public_key, power: Power::new(10), name: String::new() }
    });
    GenesisDoc {
        algorithm: crate::types::Algorithm::Tendermint,
        genesis_time: Time::new(1_700_000_000, 0).expect("in range"),
        chain_id: ChainId::try_from("model").expect("a legal name"),
        initial_height: Height::new(initial_height),
        consensus_params: ConsensusParams::default(),
        validators: validators.collect(),
        app_hash: Bytes::new(),
        app_state: Bytes::from_static(b"{}"),
    }
}

thread_local! {
    /// Signing is most of the work of these tests, and the same blocks come again and again.
    static COMMITS: RefCell<BTreeMap<(BlockId, Height), Commit>> = const { RefCell::new(BTreeMap::new()) };
}

/// The commit for a block: all but the last validator sign.
pub(super) fn commit_for(id: BlockId, height: Height, set: &ValidatorSet, chain_id: &ChainId) -> Commit {
    COMMITS.with_borrow_mut(|all| {
        all.entry((id, height)).or_insert_with(|| sign_commit(id, height, set, chain_id)).clone()
    })
}

fn sign_commit(id: BlockId, height: Height, set: &ValidatorSet, chain_id: &ChainId) -> Commit {
    let signed = |(index, member): (usize, &Validator)| {
        if index + 1 == set.len() {
            return CommitSig::Absent;
        }
        let timestamp = Time::new(1_700_000_000 + height.as_i64(), index as u32 * 1_000_000).expect("in range");
        let signature = Signature::new([0; 64]);
        CommitSig::Commit(SignedPart { validator_address: member.address, timestamp, signature })
    };
    let signatures = set.members().iter().enumerate().map(signed).collect();
    let mut commit = Commit { height, round: Round::ZERO, block_id: id, signatures };
    sign_all(&mut commit, set, chain_id);
    commit
}

/// Everybody who signed signs what is there now.
pub(super) fn sign_all(commit: &mut Commit, set: &ValidatorSet, chain_id: &ChainId) {
    for index in 0..set.len() {
        let Some(bytes) = commit.sign_bytes_of(index, chain_id) else { continue };
        let signer = (0..VALIDATORS).map(key).find(|key| key.public_key() == set.members()[index].public_key);
        let signature = signer.expect("we know all keys").sign(&bytes);
        if let CommitSig::Commit(part) = &mut commit.signatures[index] {
            part.signature = signature;
        }
    }
}

/// A replica around the pipeline, up to where it crashes.
pub(super) struct World {
    pub(super) genesis: Arc<GenesisDoc>,
    pub(super) disk: Disk,
    pub(super) app: ModelApp,
    pub(super) pipeline: Pipeline,
    /// Everything the pipeline ordered, as text without the big parts.
    pub(super) log: Vec<String>,
    pub(super) halted: Option<String>,
    pub(super) target: u64,
    /// The height consensus works on.
    at: Option<Height>,
    proposed: BTreeMap<Hash, Arc<CandidateBlock>>,
    inputs: VecDeque<PipelineInput>,
    effects: VecDeque<PipelineEffect>,
    /// Effects left until the crash.
    pub(super) fuel: usize,
}

impl World {
    pub(super) fn new(initial_height: u64) -> World {
        World::restart(genesis(initial_height).into(), Disk::default(), ModelApp::default())
    }

    /// A process that starts on this disk.
    pub(super) fn restart(genesis: Arc<GenesisDoc>, disk: Disk, app: ModelApp) -> World {
        let own = Address::from(&key(0).public_key());
        let pipeline = Pipeline::new(Arc::clone(&genesis), disk.state.clone(), Some(own));
        World {
            genesis,
            disk,
            app,
            pipeline,
            log: Vec::new(),
            halted: None,
            target: 0,
            at: None,
            proposed: BTreeMap::new(),
            inputs: VecDeque::new(),
            effects: VecDeque::new(),
            fuel: usize::MAX,
        }
    }

    /// The application's connections are up.
    pub(super) fn connect(&mut self) {
        let height = |block: Option<(&u64, &(Arc<CandidateBlock>, ExtendedCommit))>| {
            Height::new(block.map_or(0, |(height, _)| *height))
        };
        let tip = height(self.disk.blocks.last_key_value());
        self.halted = None;
        self.give(PipelineInput::AppConnected {
            info: self.app.info(),
            base: height(self.disk.blocks.first_key_value()),
            tip,
            saved_results: self.disk.results.get(&tip.get()).cloned(),
        });
    }

    pub(super) fn give(&mut self, input: PipelineInput) {
        self.inputs.push_back(input);
    }

    /// Decides blocks up to `target`, or until the fuel is gone. True when it got there.
    pub(super) fn run_to(&mut self, target: u64) -> bool {
        self.target = target;
        loop {
            while !self.effects.is_empty() {
                if self.fuel == 0 {
                    return false;
                }
                self.fuel -= 1;
                let effect = self.effects.pop_front().expect("looked a moment ago");
                self.execute(effect);
            }
            let Some(input) = self.inputs.pop_front() else { break };
            let mut out = Vec::new();
            self.pipeline.step(input, &mut out);
            self.effects.extend(out);
        }
        self.disk.state.as_ref().is_some_and(|state| state.last_block_height.get() >= target)
    }

    /// The application dies with what it had not committed; answers on their way are lost.
    pub(super) fn lose_app(&mut self) {
        self.app.crash();
        self.effects
            .retain(|effect| !matches!(effect, PipelineEffect::AppCall { .. } | PipelineEffect::AppCommit { .. }));
        self.inputs.retain(|input| !matches!(input, PipelineInput::AppAnswered { .. }));
        self.give(PipelineInput::AppFailed { why: "killed by the test".into() });
    }

    fn execute(&mut self, effect: PipelineEffect) {
        self.log.push(name(&effect));
        match effect {
            PipelineEffect::AppCall { call, request } => {
                let response = self.app.answer(request);
                self.give(PipelineInput::AppAnswered { call, response });
            }
            PipelineEffect::AppCommit { call } => {
                let response = self.app.commit();
                self.give(PipelineInput::AppAnswered { call, response });
            }
            PipelineEffect::SaveBlock { block, commit } => {
                let height = block.block().header.height.get();
                let before = self.disk.blocks.insert(height, (block, commit));
                assert!(before.is_none(), "block {height} is stored once");
            }
            PipelineEffect::JournalEndHeight(height) => {
                assert!(self.disk.blocks.contains_key(&height.get()), "EndHeight follows its block");
                self.disk.journal.insert(height.get());
            }
            PipelineEffect::SaveResults { height, results } => {
                self.disk.results.insert(height.get(), results);
            }
            PipelineEffect::SaveState(state) => self.save_state(state),
            PipelineEffect::Index(applied) => {
                self.disk.indexed.insert(applied.block.block().header.height.get());
            }
            PipelineEffect::LoadBlock(height) => {
                let stored = self.load(height);
                self.give(PipelineInput::Loaded { height, stored: stored.map(Box::new) });
            }
            PipelineEffect::Prune { retain, .. } => {
                self.disk.blocks.retain(|height, _| *height >= retain.get());
            }
            PipelineEffect::BlockBuilt { height, round, block } => {
                self.proposed.insert(block.id().hash, Arc::clone(&block));
                let (clock, evidence) = (check::ClockRule::Ignored, Outcome::Accept);
                self.give(PipelineInput::Check { height, round, block, clock, evidence });
            }
            PipelineEffect::BlockChecked { block_id, verdict: Outcome::Accept, .. } => self.decide(block_id),
            PipelineEffect::Applied { state, .. } => {
                self.at = None;
                self.next_height(&state);
            }
            PipelineEffect::Ready(state) => self.next_height(&state),
            PipelineEffect::Halt(error) => self.halted = Some(error.to_string()),
            PipelineEffect::WaitForApp { .. } => self.connect(),
            _ => {}
        }
    }

    pub(super) fn load(&self, height: Height) -> Option<StoredBlock> {
        let (block, _) = self.disk.blocks.get(&height.get())?;
        let last_validators = self.disk.validators.get(&(height.get() - 1)).cloned();
        let last_validators = last_validators.filter(|_| height > self.genesis.initial_height);
        Some(StoredBlock {
            block: Arc::clone(block),
            last_validators,
            results: self.disk.results.get(&height.get()).cloned(),
        })
    }

    fn save_state(&mut self, state: Arc<ChainState>) {
        let next = state.next_height().get();
        self.disk.validators.insert(next, Arc::clone(&state.validators));
        self.disk.validators.insert(next + 1, Arc::clone(&state.next_validators));
        self.disk.state = Some(state);
    }

    fn next_height(&mut self, state: &ChainState) {
        let height = state.next_height();
        if self.at.is_some() || state.last_block_height.get() >= self.target {
            return;
        }
        self.at = Some(height);
        let last_commit = state.last_block_id.and_then(|id| {
            let set = state.last_validators.as_ref()?;
            Some(commit_for(id, state.last_block_height, set, &state.chain_id).into())
        });
        let txs = (0..3).map(|i| Tx::new(format!("tx {i} of {height}"))).collect();
        let round = Round::ZERO;
        let job = BuildJob { height, round, last_commit, txs, evidence: Vec::new(), evidence_bytes: 0 };
        self.give(PipelineInput::Build(Box::new(job)));
    }

    fn decide(&mut self, id: BlockId) {
        let state = Arc::clone(self.pipeline.state().expect("a block was checked"));
        let block = Arc::clone(&self.proposed[&id.hash]);
        let commit = commit_for(id, state.next_height(), &state.validators, &state.chain_id).into();
        self.give(PipelineInput::Decide { block, commit });
    }
}

/// An effect's name, for stories.
pub(super) fn name(effect: &PipelineEffect) -> String {
    match effect {
        PipelineEffect::AppCall { request, .. } => request.method().to_owned(),
        PipelineEffect::AppCommit { .. } => "commit".to_owned(),
        PipelineEffect::Note(note) => format!("note: {note}"),
        PipelineEffect::Halt(error) => format!("halt: {error}"),
        other => {
            let text = format!("{other:?}");
            text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
        }
    }
}

/// First state of a chain, as InitChain of [`ModelApp`] leaves it.
pub(super) fn first_state(genesis: &GenesisDoc) -> ChainState {
    let answer = ModelApp::default().answer(Request::InitChain(requests::init_chain(genesis).expect("a legal set")));
    let Response::InitChain(answer) = answer else { panic!("InitChain answers InitChain") };
    recover::first_state(genesis, &answer, 7).expect("a legal genesis")
}
