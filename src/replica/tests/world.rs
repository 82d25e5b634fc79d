//! A driver in memory around the replica: no tasks, no files, no clock; and an application and a disk to go with it.

use crate::consensus::tendermint::Message;
use crate::consensus::{EmptyBlocks, Now, ReadTicket, Signed, Tick, Timeouts};
use crate::crypto::{Hash, KnownSignatures, PrivateKey, Signature, Verified, sha256};
use crate::gossip::{DirectSigners, Heard, hear_direct};
use crate::mempool::{BatchId, Mempool, MempoolConfig, MempoolEffect, MempoolInput, Origin, RequestId};
use crate::pipeline::{Pipeline, PipelineInput, StoredBlock, build, recover};
use crate::replica::{Effect, Input, KeyCheck, KeyNews, PeerInput, Replica, Resume, Settings, Waker, Whose};
use crate::types::abci::*;
use crate::types::*;
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// What one position was signed for: the block, and the round that justifies proposing it again.
type Content = (Option<BlockId>, Option<Round>);

/// What survives the node.
#[derive(Clone, Default)]
pub(super) struct Disk {
    journal: Vec<JournalRecord>,
    /// Appended, not synced.
    unsynced: Vec<JournalRecord>,
    pub(super) blocks: BTreeMap<u64, (Arc<CandidateBlock>, ExtendedCommit)>,
    results: BTreeMap<u64, Arc<FinalizeBlockResponse>>,
    /// All that were saved, and how many of them a power cut leaves.
    states: Vec<Arc<ChainState>>,
    states_synced: usize,
    signed: BTreeMap<(Height, Round, Step), (Content, Signed)>,
}

impl Disk {
    fn sync_journal(&mut self) {
        self.journal.append(&mut self.unsynced);
    }

    /// Where the last signature stands, as the guard remembers it.
    pub(super) fn last_signed(&self) -> Option<SignPosition> {
        let (height, round, step) = self.signed.keys().last().copied()?;
        let step = match step {
            Step::Propose => SignStep::Propose,
            Step::Prevote => SignStep::Prevote,
            _ => SignStep::Precommit,
        };
        Some(SignPosition { height, round, step })
    }

    /// The votes that were signed, in order.
    pub(super) fn votes(&self) -> Vec<Vote> {
        let vote = |(_, signed): &(Content, Signed)| match signed {
            Signed::Vote(vote) => Some(vote.clone()),
            _ => None,
        };
        self.signed.values().filter_map(vote).collect()
    }

    fn tip(&self) -> Height {
        self.blocks.keys().last().copied().map_or(Height::ZERO, Height::new)
    }

    fn state(&self) -> Option<Arc<ChainState>> {
        self.states.last().map(Arc::clone)
    }

    fn validators(&self, height: Height) -> Option<Arc<ValidatorSet>> {
        self.states.iter().find(|state| state.next_height() == height).map(|state| Arc::clone(&state.validators))
    }

    pub(super) fn committed(&self) -> BTreeSet<Hash> {
        self.blocks.values().flat_map(|(block, _)| block.block().txs.iter().map(Tx::hash)).collect()
    }

    /// The newest term or view the journal knows.
    fn newest_round(&self) -> Round {
        let rounds = self.journal.iter().filter_map(|record| match record {
            JournalRecord::Standing(standing) => Some(standing.round),
            _ => None,
        });
        rounds.max().unwrap_or(Round::ZERO)
    }

    fn records_since(&self, height: Height) -> Vec<JournalRecord> {
        let ended = |record: &JournalRecord| matches!(record, JournalRecord::EndHeight(end) if *end < height);
        let from = self.journal.iter().rposition(ended).map_or(0, |at| at + 1);
        self.journal[from..].to_vec()
    }
}

/// An application that counts how often it committed each block.
#[derive(Clone, Default)]
pub(super) struct ModelApp {
    pub(super) height: u64,
    hash: Bytes,
    working: Option<(u64, Bytes)>,
    commits: BTreeMap<u64, u32>,
    pub(super) verdict: Option<Verdict>,
}

impl ModelApp {
    fn answer(&mut self, request: Request) -> Response {
        match request {
            Request::InitChain(_) => Response::InitChain(InitChainResponse::default()),
            Request::PrepareProposal(request) => Response::PrepareProposal(request.txs),
            Request::ProcessProposal(_) => Response::ProcessProposal(self.verdict.unwrap_or(Verdict::Accept)),
            Request::ExtendVote(request) => Response::ExtendVote(format!("at {}", request.block.height).into()),
            Request::FinalizeBlock(request) => {
                let height = request.block.height.get();
                assert_eq!(height, self.height + 1, "FinalizeBlock comes once a height, in order");
                // A block without transactions leaves the hash alone, so that no block must follow to prove it.
                let mut hash = self.hash.clone();
                for tx in &request.txs {
                    hash = Bytes::copy_from_slice(sha256(&[hash.as_ref(), tx.as_ref()].concat()).as_bytes());
                }
                self.working = Some((height, hash.clone()));
                let tx_results = request.txs.iter().map(|_| ExecTxResult::default()).collect();
                Response::FinalizeBlock(FinalizeBlockResponse { app_hash: hash, tx_results, ..Default::default() })
            }
            Request::Commit => {
                let (height, hash) = self.working.take().expect("Commit follows FinalizeBlock");
                (self.height, self.hash) = (height, hash);
                *self.commits.entry(height).or_default() += 1;
                Response::Commit(CommitResponse::default())
            }
            other => panic!("the replica never sends {}", other.method()),
        }
    }
}

/// What else the driver takes in, behind the answers that come on the spot.
pub(super) enum Fact {
    Input(Input),
    Checked(BatchId, usize),
    AppLost,
}

/// How the node dies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Death {
    /// The system keeps what was written.
    Kill,
    /// Only what was synced is left.
    PowerCut,
}

/// How a node that starts looks for its own key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Care {
    Skipped,
    /// It listens first where it signed before.
    OnRejoin,
}

/// The connections to the application.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Link {
    Up,
    /// Broken; the replica was not told yet.
    Broken,
    Down,
    /// Down, and nobody starts it again.
    Away,
}

pub(super) struct World {
    genesis: Arc<GenesisDoc>,
    own: Option<Address>,
    pub(super) disk: Disk,
    pub(super) app: ModelApp,
    pub(super) replica: Replica,
    answers: VecDeque<Input>,
    facts: VecDeque<Fact>,
    effects: VecDeque<Effect>,
    /// What concerns peers, for who plays them.
    pub(super) outward: VecDeque<Effect>,
    pub(super) timers: BTreeMap<TimerId, Tick>,
    /// When listening for our own key ends.
    listens_until: Option<Tick>,
    /// What it found.
    pub(super) key_news: Vec<KeyNews>,
    /// Whose signatures count, each time it was said: height and round.
    pub(super) signers: Vec<(Height, Round)>,
    /// The same where replicas speak directly, as it was said last.
    direct_signers: Option<Arc<DirectSigners>>,
    /// How a node that starts looks for its own key.
    care: Care,
    checking: BTreeMap<BatchId, usize>,
    link: Link,
    pub(super) now: u64,
    /// Orders until the cut, and how many were executed.
    pub(super) fuel: usize,
    pub(super) executed: usize,
    published: BTreeMap<u64, BlockId>,
    pub(super) halted: Option<String>,
    /// Comes while the application executes a block, so that its CheckTx is under way when the Commit is due.
    hasty: Option<Tx>,
    /// Answers clients got to CheckTx: taken, refused.
    taken: usize,
    pub(super) refused: usize,
    /// Answers clients got who wanted to read.
    pub(super) reads: Vec<(ReadTicket, Result<Height, String>)>,
}

fn key() -> PrivateKey {
    PrivateKey::from_seed(&[7; 32])
}

/// One validator; vote extensions from height 2.
fn genesis() -> GenesisDoc {
    let public_key = key().public_key();
    let address = Address::from(&public_key);
    let mut consensus_params = ConsensusParams::default();
    consensus_params.abci.vote_extensions_enable_height = Some(Height::new(2));
    GenesisDoc {
        algorithm: Algorithm::Tendermint,
        genesis_time: Time::new(1_700_000_000, 0).expect("in range"),
        chain_id: ChainId::try_from("replica").expect("a legal name"),
        initial_height: Height::FIRST,
        consensus_params,
        validators: vec![GenesisValidator { address, public_key, power: Power::new(10), name: String::new() }],
        app_hash: Bytes::new(),
        app_state: Bytes::new(),
    }
}

fn replica(genesis: &Arc<GenesisDoc>, disk: &Disk, own: Option<Address>, care: Care) -> Replica {
    let second = Duration::from_secs(1);
    let timeouts = Timeouts {
        propose: second,
        propose_delta: second,
        prevote: second,
        prevote_delta: second,
        precommit: second,
        precommit_delta: second,
        commit: Duration::from_millis(10),
        skip_commit_when_all_voted: false,
        empty_blocks: EmptyBlocks::Never,
        election: Duration::from_millis(300),
        heartbeat: Duration::from_millis(50),
        view_change: Duration::from_millis(500),
    };
    let stored = disk.state();
    let expected =
        || Arc::new(recover::first_state(genesis, &InitChainResponse::default(), 0).expect("a legal genesis"));
    let state = stored.clone().unwrap_or_else(expected);
    let pipeline = Pipeline::new(Arc::clone(genesis), stored, own);
    let mut mempool = Mempool::new(MempoolConfig::default(), build::tx_limits(&state));
    mempool.step(MempoolInput::AppDown { why: "not connected".into() }, &mut Vec::new());
    let key_check = match (care, disk.last_signed()) {
        (Care::Skipped, _) => KeyCheck::Skipped,
        (Care::OnRejoin, None) => KeyCheck::WhileSigning(SignPosition::START),
        (Care::OnRejoin, Some(last)) => KeyCheck::BeforeSigning(last),
    };
    let newest_round = disk.newest_round();
    let settings = Settings { own, timeouts, block_time_tolerance: None, key_check, newest_round };
    Replica::new(settings, state, pipeline, mempool)
}

impl World {
    pub(super) fn new() -> World {
        World::with(Care::Skipped)
    }

    pub(super) fn with(care: Care) -> World {
        let own = Some(Address::from(&key().public_key()));
        World::start(genesis().into(), Disk::default(), ModelApp::default(), (own, care))
    }

    /// A node of the same chain that signs nothing and has nothing yet.
    pub(super) fn follower() -> World {
        World::start(genesis().into(), Disk::default(), ModelApp::default(), (None, Care::Skipped))
    }

    /// A second node, started on a copy of this one's home: with the same key, at the same time.
    pub(super) fn twin(&self) -> World {
        let (genesis, now) = (Arc::clone(&self.genesis), self.now);
        World { now, ..World::start(genesis, self.disk.clone(), self.app.clone(), (self.own, self.care)) }
    }

    fn start(genesis: Arc<GenesisDoc>, disk: Disk, app: ModelApp, (own, care): (Option<Address>, Care)) -> World {
        World {
            replica: replica(&genesis, &disk, own, care),
            own,
            outward: VecDeque::new(),
            listens_until: None,
            key_news: Vec::new(),
            signers: Vec::new(),
            direct_signers: None,
            care,
            genesis,
            disk,
            app,
            answers: VecDeque::new(),
            facts: VecDeque::new(),
            effects: VecDeque::new(),
            timers: BTreeMap::new(),
            checking: BTreeMap::new(),
            link: Link::Down,
            now: 0,
            fuel: usize::MAX,
            executed: 0,
            published: BTreeMap::new(),
            halted: None,
            hasty: None,
            taken: 0,
            refused: 0,
            reads: Vec::new(),
        }
    }

    /// The node dies and starts again on what is left.
    pub(super) fn restart(mut self, death: Death) -> World {
        match death {
            Death::Kill => self.disk.sync_journal(),
            Death::PowerCut => {
                self.disk.unsynced.clear();
                self.disk.states.truncate(self.disk.states_synced);
            }
        }
        self.app.working = None;
        let who = (self.own, self.care);
        World { now: self.now, published: self.published, ..World::start(self.genesis, self.disk, self.app, who) }
    }

    // ---------------------------------------------------------------------------------------------- the loop

    /// Sends transactions and lets time pass until block `target` is published. False when the fuel ran out
    /// or the replica halted first.
    pub(super) fn run_to(&mut self, target: u64) -> bool {
        for _ in 0..100_000 {
            while let Some(effect) = self.effects.pop_front() {
                if self.fuel == 0 {
                    self.effects.push_front(effect);
                    return false;
                }
                (self.fuel, self.executed) = (self.fuel - 1, self.executed + 1);
                self.execute(effect);
            }
            if let Some(input) = self.answers.pop_front() {
                self.step(input);
            } else if let Some(tx) = self.hasty.take() {
                self.submit(tx);
            } else if let Some(fact) = self.facts.pop_front() {
                self.take(fact);
            } else if self.published.contains_key(&target) || self.halted.is_some() {
                return self.halted.is_none();
            } else if self.link == Link::Down {
                self.connect();
            } else if !self.submit_next() {
                self.fire_timer();
            }
        }
        panic!("100,000 turns and no block {target}: {:?}", self.replica.view());
    }

    /// Does everything that can be done without peers and timers. False when the fuel ran out.
    pub(super) fn settle(&mut self) -> bool {
        loop {
            while let Some(effect) = self.effects.pop_front() {
                if self.fuel == 0 {
                    self.effects.push_front(effect);
                    return false;
                }
                (self.fuel, self.executed) = (self.fuel - 1, self.executed + 1);
                self.execute(effect);
            }
            if let Some(input) = self.answers.pop_front() {
                self.step(input);
            } else if let Some(fact) = self.facts.pop_front() {
                self.take(fact);
            } else if self.link == Link::Down {
                self.connect();
            } else {
                return true;
            }
        }
    }

    /// Lets time pass until `at`, and tells block sync.
    pub(super) fn wake_sync(&mut self, at: Tick) {
        self.wake(Waker::Sync, at);
    }

    /// Lets time pass until `at`, and tells who wanted to be woken.
    pub(super) fn wake(&mut self, waker: Waker, at: Tick) {
        self.now = self.now.max(at.0);
        self.step(Input::Woken(waker));
    }

    /// From its next start on the chain is one of this protocol.
    pub(super) fn change_to(&mut self, algorithm: Algorithm) {
        self.disk.states.iter_mut().for_each(|state| Arc::make_mut(state).algorithm = algorithm);
    }

    /// From its next start on another validator has a say, so that this one cannot decide alone.
    pub(super) fn share_power(&mut self) {
        let keys = [key().public_key(), PrivateKey::from_seed(&[8; 32]).public_key()];
        let set = ValidatorSet::new(keys.map(|key| Validator::new(key, Power::new(10)))).expect("a legal set");
        let set = Arc::new(set);
        for state in &mut self.disk.states {
            let state = Arc::make_mut(state);
            (state.validators, state.next_validators) = (Arc::clone(&set), Arc::clone(&set));
        }
    }

    /// Starts, order by order, until the node listens for its key; true when it decides nothing yet.
    pub(super) fn listens_before_it_decides(&mut self) -> bool {
        for _ in 0..100 {
            self.fuel = 1;
            self.settle();
            if self.listens_until.is_some() {
                return self.deciding().is_none();
            }
        }
        panic!("100 orders, and it does not listen");
    }

    /// Gives the node a block that another one has, as block sync does once its commit was checked.
    pub(super) fn fetch(&mut self, from: &World, height: u64) {
        let (block, commit) = from.disk.blocks[&height].clone();
        let mut out = Vec::new();
        self.replica.apply_fetched(block, commit, &mut out);
        self.effects.extend(out);
    }

    /// The height consensus is at; none while it stands still.
    pub(super) fn deciding(&self) -> Option<u64> {
        self.replica.view().map(|view| view.height.get())
    }

    /// The state after the last applied block.
    pub(super) fn state(&self) -> &Arc<ChainState> {
        self.replica.state()
    }

    /// True when a transaction waits for a block.
    pub(super) fn waits(&self, tx: &Tx) -> bool {
        self.replica.mempool().contains(&tx.hash())
    }

    pub(super) fn progress(&self) -> crate::sync::Progress {
        self.replica.progress()
    }

    pub(super) fn chain_id(&self) -> &ChainId {
        &self.genesis.chain_id
    }

    fn step(&mut self, input: Input) {
        self.now += 1_000_000;
        let wall = self.genesis.genesis_time.plus(Duration::from_nanos(self.now));
        let mut out = Vec::new();
        self.replica.step(Now { tick: Tick(self.now), wall }, input, &mut out);
        self.effects.extend(out);
    }

    pub(super) fn take(&mut self, fact: Fact) {
        match fact {
            Fact::Input(input) => self.step(input),
            Fact::Checked(batch, count) => {
                self.checking.remove(&batch);
                let responses = vec![CheckTxResponse::default(); count];
                self.step(Input::Mempool(MempoolInput::Answered { batch, responses }));
            }
            Fact::AppLost => {
                self.link = Link::Down;
                self.step(Input::Pipeline(PipelineInput::AppFailed { why: "killed".into() }));
                for batch in std::mem::take(&mut self.checking).into_keys() {
                    let failed = MempoolInput::CheckFailed { batch, why: "killed".into() };
                    self.facts.push_front(Fact::Input(Input::Mempool(failed)));
                }
            }
        }
    }

    fn connect(&mut self) {
        self.link = Link::Up;
        let info = InfoResponse {
            last_block_height: self.app.height as i64,
            last_block_app_hash: self.app.hash.clone(),
            ..Default::default()
        };
        let tip = self.disk.tip();
        let base = self.disk.blocks.keys().next().copied().map_or(Height::ZERO, Height::new);
        let saved_results = self.disk.results.get(&tip.get()).cloned();
        self.step(Input::Pipeline(PipelineInput::AppConnected { info, base, tip, saved_results }));
    }

    /// The application dies, and nobody starts it again until [`World::app_comes_back`].
    pub(super) fn app_goes_away(&mut self) {
        self.lose_app();
        self.take(Fact::AppLost);
        self.facts.retain(|fact| !matches!(fact, Fact::AppLost));
        self.link = Link::Away;
    }

    pub(super) fn app_comes_back(&mut self) {
        self.link = Link::Down;
    }

    /// The application dies with what it had not committed. Its answers on their way are lost.
    pub(super) fn lose_app(&mut self) {
        self.app.working = None;
        self.link = Link::Broken;
        let answer = |fact: &Fact| matches!(fact, Fact::Input(Input::Pipeline(_)) | Fact::Checked(..));
        self.facts.retain(|fact| !answer(fact));
        self.facts.push_back(Fact::AppLost);
    }

    pub(super) fn submit(&mut self, tx: Tx) {
        let origin = Origin::Check(RequestId(0));
        self.step(Input::Mempool(MempoolInput::Submit { origin, txs: vec![tx] }));
    }

    /// A client that has one transaction after the other, and sends each until it is in a block.
    fn submit_next(&mut self) -> bool {
        let committed = self.disk.committed();
        let tx = (0..).map(|n| Tx::new(format!("tx {n}"))).find(|tx| !committed.contains(&tx.hash()));
        let tx = tx.expect("there is always a next number");
        let waits = self.replica.mempool().contains(&tx.hash());
        if !waits {
            self.submit(tx);
        }
        !waits
    }

    /// A peer tells a vote.
    pub(super) fn hear(&mut self, vote: &Vote) {
        let said = Message::Vote(Verified::trusted(vote.clone()));
        let heard = Heard::Said(said, ConsensusMessage::Vote(vote.clone()));
        let peer = NodeId::new(Address::new([9; 20]));
        self.step(Input::Peer(peer, PeerInput::Heard(Box::new(heard))));
    }

    /// A peer says what replicas of Raft and PBFT say; its signatures are checked as the inbox does.
    pub(super) fn hear_direct(&mut self, message: DirectMessage) {
        let signers = self.direct_signers.as_deref();
        let heard = hear_direct(signers, &KnownSignatures::default(), message).expect("no peer's fault");
        let peer = NodeId::new(Address::new([9; 20]));
        self.step(Input::Peer(peer, PeerInput::HeardDirect(Box::new(heard))));
    }

    /// A later standing of this node is in its journal.
    pub(super) fn stood_in(&mut self, round: Round) {
        let standing = Standing { height: self.state().next_height(), round, voted_for: None };
        self.disk.journal.push(JournalRecord::Standing(standing));
    }

    pub(super) fn own_address(&self) -> Address {
        self.own.expect("a validator")
    }

    /// What our key signs somewhere else.
    pub(super) fn signed_elsewhere(&self, unsigned: UnsignedVote) -> Vote {
        let signature = sign(&unsigned.sign_bytes(&self.genesis.chain_id));
        let timestamp = unsigned.timestamp;
        unsigned.signed(timestamp, signature, None)
    }

    /// What our key states somewhere else.
    pub(super) fn stated_elsewhere(&self, body: StatementBody) -> Statement {
        let by = Address::from(&key().public_key());
        let mut statement = Statement { by, body, signature: Signature::new([0; 64]) };
        statement.signature = sign(&statement.sign_bytes(&self.genesis.chain_id));
        statement
    }

    fn fire_timer(&mut self) {
        let earliest = self.timers.values().min().copied();
        if let Some(at) = self.listens_until.take_if(|at| earliest.is_none_or(|earliest| *at <= earliest)) {
            self.now = self.now.max(at.0);
            return self.step(Input::Woken(Waker::Listening));
        }

        let next = self.timers.iter().min_by_key(|(timer, at)| (**at, **timer)).map(|(timer, at)| (*timer, *at));
        let (timer, at) = next.unwrap_or_else(|| panic!("the chain stands still: {:?}", self.replica.view()));
        self.timers.remove(&timer);
        self.now = self.now.max(at.0);
        self.step(Input::TimerFired(timer));
    }

    // -------------------------------------------------------------------------------------------- the orders

    fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(record) => self.disk.unsynced.push(record),
            Effect::Sign(request) => {
                self.disk.sync_journal();
                let signed = self.sign(request);
                self.answers.push_back(Input::Signed(signed));
            }
            Effect::SetTimer { timer, at } => {
                self.timers.insert(timer, at);
            }
            Effect::Call { call, request } if self.link == Link::Up => {
                if let Request::FinalizeBlock(request) = &request {
                    self.hasty = Some(Tx::new(format!("hasty {}", request.block.height)));
                }
                let checking = self.checking.len();
                assert!(request != Request::Commit || checking == 0, "Commit overtakes {checking} CheckTx");
                let response = self.app.answer(request);
                self.facts.push_back(Fact::Input(Input::Pipeline(PipelineInput::AppAnswered { call, response })));
            }
            Effect::Mempool(effect) => self.execute_mempool(effect),
            Effect::SaveBlock { block, commit } => {
                self.disk.sync_journal();
                let height = block.block().header.height;
                assert_eq!(height, self.disk.tip().next(), "blocks are saved in order, each once");
                self.disk.blocks.insert(height.get(), (block, commit));
                self.disk.states_synced = self.disk.states.len();
            }
            Effect::SaveResults { height, results } => {
                self.disk.results.insert(height.get(), results);
                self.disk.states_synced = self.disk.states.len();
            }
            Effect::SaveState(state) => self.disk.states.push(state),
            Effect::LoadBlock(height) => {
                let stored = self.load(height).map(Box::new);
                self.answers.push_back(Input::Pipeline(PipelineInput::Loaded { height, stored }));
            }
            Effect::Begin(state) => self.begin(&state),
            Effect::Publish(applied) => {
                let (height, id) = (applied.block.block().header.height.get(), applied.block.id());
                let before = self.published.insert(height, id);
                assert!(before.is_none_or(|before| before == id), "block {height} was acknowledged with other content");
            }
            Effect::WakeAt { waker: Waker::Listening, at } => self.listens_until = Some(at),
            Effect::ReadAnswer { ticket, outcome } => self.reads.push((ticket, outcome)),
            Effect::Key(news) => {
                self.key_news.push(news);
                if let KeyNews::Elsewhere(elsewhere) = news {
                    self.halted = Some(elsewhere.to_string());
                }
            }
            Effect::Signers(None) => self.direct_signers = None,
            Effect::Signers(Some(Whose::Gossiped(signers))) => self.signers.push((signers.height, signers.round)),
            Effect::Signers(Some(Whose::Direct(signers))) => self.direct_signers = Some(signers),
            Effect::Halt(error) => self.halted = Some(error.to_string()),
            Effect::Tell { .. }
            | Effect::VerifyCommits { .. }
            | Effect::WakeAt { .. }
            | Effect::Drop { .. }
            | Effect::HearAgain(_) => {
                self.outward.push_back(effect);
            }
            _ => {}
        }
    }

    fn execute_mempool(&mut self, effect: MempoolEffect) {
        match effect {
            MempoolEffect::Check { batch, txs, .. } => {
                assert!(
                    !matches!(self.link, Link::Down | Link::Away),
                    "CheckTx is ordered while the replica knows that nobody can answer"
                );
                self.checking.insert(batch, txs.len());
                if self.link == Link::Up {
                    self.facts.push_back(Fact::Checked(batch, txs.len()));
                }
            }
            MempoolEffect::Checked { results, .. } => {
                let taken = results.iter().filter(|result| result.is_ok()).count();
                self.taken += taken;
                self.refused += results.len() - taken;
            }
            _ => {}
        }
    }

    fn load(&self, height: Height) -> Option<StoredBlock> {
        let (block, _) = self.disk.blocks.get(&height.get())?;
        let last_validators = height.previous().and_then(|height| self.disk.validators(height));
        let results = self.disk.results.get(&height.get()).cloned();
        Some(StoredBlock { block: Arc::clone(block), last_validators, results })
    }

    fn begin(&mut self, state: &ChainState) {
        let last = self.disk.blocks.get(&state.last_block_height.get());
        let resume = Resume {
            last_commit: last.map(|(_, commit)| commit.clone()),
            last_block: last.map(|(block, _)| Arc::clone(block)),
            last_header_app_hash: last.map(|(block, _)| block.block().header.app_hash.clone()),
            records: self.disk.records_since(state.next_height()),
            evidence: StoredEvidence::default(),
        };
        self.answers.push_back(Input::Resumed(Box::new(resume)));
    }

    /// A signer as strict as the file's: one content for each position, positions only rise.
    fn sign(&mut self, request: SignRequest) -> Signed {
        let (at, content) = match &request {
            SignRequest::Statement(statement) => panic!("Tendermint signs no {statement:?}"),
            SignRequest::Vote(vote) => {
                let step = if vote.kind == VoteKind::Prevote { Step::Prevote } else { Step::Precommit };
                ((vote.height, vote.round, step), (vote.block_id, None))
            }
            SignRequest::Proposal(it) => ((it.height, it.round, Step::Propose), (Some(it.block_id), it.pol_round)),
        };
        if let Some((before, signed)) = self.disk.signed.get(&at) {
            assert_eq!(*before, content, "two signatures are asked for at {at:?}");
            return signed.clone();
        }
        if self.disk.signed.last_key_value().is_some_and(|(last, _)| *last > at) {
            return Signed::Refused { height: at.0, round: at.1 };
        }
        let chain_id = &self.genesis.chain_id;
        let signed = match request {
            SignRequest::Statement(statement) => panic!("Tendermint signs no {statement:?}"),
            SignRequest::Vote(vote) => {
                let extension = vote.extension.as_ref().map(|_| sign(&vote.extension_sign_bytes(chain_id)));
                let (time, signature) = (vote.timestamp, sign(&vote.sign_bytes(chain_id)));
                Signed::Vote(vote.signed(time, signature, extension))
            }
            SignRequest::Proposal(proposal) => {
                let (time, signature) = (proposal.timestamp, sign(&proposal.sign_bytes(chain_id)));
                Signed::Proposal(proposal.signed(time, signature))
            }
        };
        self.disk.signed.insert(at, (content, signed.clone()));
        signed
    }

    /// What must hold whoever died when: every acknowledged block stands and was applied once, no transaction twice.
    pub(super) fn check(&self, story: &str) {
        for (height, id) in &self.published {
            let stored = self.disk.blocks.get(height).map(|(block, _)| block.id());
            assert_eq!(stored, Some(*id), "{story}: block {height} was acknowledged");
        }
        let once = (1..=self.app.height).map(|height| (height, 1)).collect();
        assert_eq!(self.app.commits, once, "{story}: each block is applied once");
        let in_blocks: usize = self.disk.blocks.values().map(|(block, _)| block.block().txs.len()).sum();
        assert_eq!(in_blocks, self.disk.committed().len(), "{story}: a transaction stands in two blocks");
        assert_eq!(self.halted, None, "{story}");
    }
}

thread_local! {
    /// Signing is most of the work, and runs are the same up to where they are cut.
    static SIGNATURES: RefCell<BTreeMap<Vec<u8>, Signature>> = const { RefCell::new(BTreeMap::new()) };
}

fn sign(bytes: &[u8]) -> Signature {
    SIGNATURES.with_borrow_mut(|known| *known.entry(bytes.to_vec()).or_insert_with(|| key().sign(bytes)))
}
