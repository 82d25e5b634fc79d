//! The machine: orders of consensus and answers of the application in, ordered effects out.
//!
//! Durability on a decision: block → EndHeight → FinalizeBlock → results → Commit → state → the rest. What a crash
//! leaves in each gap, and what the handshake does about it: docs/CRASH_WINDOWS.md.

use super::apply::{Applying, Calls, Effects, Progress};
use super::build::{Budget, Draft, budget};
use super::check::{BlockCheck, ClockRule, validate_block};
use super::recovery::{Found, Recovery, Turn};
use super::{BuildJob, CallId, Outcome, PipelineEffect, PipelineError, PipelineInput, PipelineNote, decided, requests};
use crate::types::abci::{Request, Response, Verdict};
use crate::types::{
    Address, BlockId, CandidateBlock, ChainState, Evidence, ExtendedCommit, GenesisDoc, Height, MedianRule, Round,
    Source, VOTE_EXTENSION_SENT_MAX, Vote,
};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Most questions that wait for an application which is away or executing a block. One block's worth of extensions:
/// consensus asks once for each validator's precommit, and a set has at most 10,000 (reference §4.7).
pub const WAITING_MAX: usize = 10_000;
/// Most verdicts remembered for one height. A height that takes more rounds asks the application again.
pub const VERDICTS_MAX: usize = 256;

/// One replica's block pipeline. See [`super::PipelineInput`] and [`super::PipelineEffect`].
#[derive(Debug)]
pub struct Pipeline {
    genesis: Arc<GenesisDoc>,
    own: Option<Address>,
    rule: MedianRule,
    /// None until InitChain, on a chain that begins.
    state: Option<Arc<ChainState>>,
    phase: Phase,
    calls: Calls,
    /// Sent, not yet answered. Bounded by what consensus orders in one height and [`WAITING_MAX`].
    asked: BTreeMap<CallId, Order>,
    /// Not sent: the application is away, or executes a block.
    waiting: VecDeque<Order>,
    /// The decision that is not applied yet. Its block is stored.
    decision: Option<Decision>,
    checked: Checked,
}

#[derive(Debug)]
enum Phase {
    /// No connection, or one that gave nonsense.
    AppAway,
    Recovering(Box<Recovery>),
    Ready,
    Applying(Applying),
}

#[derive(Debug, Clone)]
struct Decision {
    block: Arc<CandidateBlock>,
    commit: ExtendedCommit,
}

/// What only voters look at.
#[derive(Debug)]
struct VoteRules {
    clock: ClockRule,
    evidence: Outcome,
}

/// A question of consensus to the application.
#[derive(Debug)]
enum Order {
    Build { job: Box<BuildJob>, draft: Option<Box<Draft>> },
    Check { height: Height, round: Round, block: Arc<CandidateBlock>, vote: VoteRules },
    Extend { height: Height, round: Round, block: Arc<CandidateBlock> },
    Verify { vote: Box<Vote>, source: Source },
}

impl Order {
    fn method(&self) -> &'static str {
        match self {
            Order::Build { .. } => "prepare_proposal",
            Order::Check { .. } => "process_proposal",
            Order::Extend { .. } => "extend_vote",
            Order::Verify { .. } => "verify_vote_extension",
        }
    }

    fn height(&self) -> Height {
        match self {
            Order::Build { job, .. } => job.height,
            Order::Check { height, .. } | Order::Extend { height, .. } => *height,
            Order::Verify { vote, .. } => vote.height,
        }
    }
}

/// What is known about proposed blocks of the height being decided.
#[derive(Debug, Default)]
struct Checked {
    /// By round: the application is asked at most once for each block and round (reference §3.8).
    verdicts: BTreeMap<(Round, BlockId), Option<Outcome>>,
    /// A block that keeps our own rules keeps them in every round.
    valid: Option<BlockId>,
}

impl Checked {
    fn put(&mut self, round: Round, block: BlockId, verdict: Option<Outcome>) {
        if self.verdicts.len() >= VERDICTS_MAX && !mutant!("H42") {
            self.verdicts.pop_first(); // the oldest round: nobody votes there any more
        }
        self.verdicts.insert((round, block), verdict);
    }
}

impl Pipeline {
    /// A pipeline that waits for its application. `state` is the stored one, none on a fresh home; `own` is our
    /// validator address, if this node signs.
    pub fn new(genesis: Arc<GenesisDoc>, state: Option<Arc<ChainState>>, own: Option<Address>) -> Pipeline {
        let rule = MedianRule::of(genesis.algorithm);
        Pipeline {
            genesis,
            own,
            rule,
            state,
            phase: Phase::AppAway,
            calls: Calls::default(),
            asked: BTreeMap::new(),
            waiting: VecDeque::new(),
            decision: None,
            checked: Checked::default(),
        }
    }

    /// The state after the last applied block; none before InitChain of a new chain.
    pub fn state(&self) -> Option<&Arc<ChainState>> {
        self.state.as_ref()
    }

    /// How much the mempool may offer for the next block beside `evidence_bytes` of evidence.
    pub fn budget(&self, evidence_bytes: u64) -> Option<Budget> {
        self.state.as_ref().map(|state| budget(state, evidence_bytes))
    }

    /// True while the application can be asked.
    pub fn is_app_up(&self) -> bool {
        !matches!(self.phase, Phase::AppAway)
    }

    /// True while the application has applied everything the state says.
    pub fn is_in_sync(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Applying(_))
    }

    /// Takes one fact into account. Effects are appended to `out`.
    pub fn step(&mut self, input: PipelineInput, out: &mut Vec<PipelineEffect>) {
        if let Err(error) = self.take(input, out) {
            self.lose_calls();
            out.push(PipelineEffect::Halt(error));
        }
    }

    fn take(&mut self, input: PipelineInput, out: &mut Effects) -> Result<(), PipelineError> {
        match input {
            PipelineInput::AppConnected { info, base, tip, saved_results } => {
                self.on_connected(Found { info, base, tip, saved_results }, out)
            }
            PipelineInput::AppFailed { why } => {
                if self.is_app_up() {
                    self.lose_calls();
                    out.push(PipelineEffect::WaitForApp { why });
                }
                Ok(())
            }
            PipelineInput::AppAnswered { call, response } => self.on_answer(call, response, out),
            PipelineInput::Loaded { height, stored } => {
                let Phase::Recovering(recovery) = &mut self.phase else { return Ok(()) };
                let turn = recovery.loaded(height, stored, &mut self.calls, out)?;
                self.on_turn(turn, out)
            }
            PipelineInput::Build(job) => self.order(Order::Build { job, draft: None }, out),
            PipelineInput::Check { height, round, block, clock, evidence } => {
                self.order(Order::Check { height, round, block, vote: VoteRules { clock, evidence } }, out)
            }
            PipelineInput::ExtendVote { height, round, block } => {
                self.order(Order::Extend { height, round, block }, out)
            }
            PipelineInput::VerifyExtension { vote, source } => {
                self.order(Order::Verify { vote: Box::new(vote), source }, out)
            }
            PipelineInput::Decide { block, commit } => self.on_decision(Decision { block, commit }, out),
        }
    }

    // ------------------------------------------------------------------------------------------ the application

    /// The handshake, at the start and after every loss of the application.
    fn on_connected(&mut self, found: Found, out: &mut Effects) -> Result<(), PipelineError> {
        self.lose_calls();
        let recovery = Recovery::new(Arc::clone(&self.genesis), self.rule, self.state.clone(), found)?;
        self.phase = Phase::Recovering(Box::new(recovery));
        let Phase::Recovering(recovery) = &mut self.phase else { return Ok(()) };
        let turn = recovery.advance(&mut self.calls, out)?;
        self.on_turn(turn, out)
    }

    fn on_turn(&mut self, turn: Turn, out: &mut Effects) -> Result<(), PipelineError> {
        let Turn::Done(state) = turn else { return Ok(()) };
        self.phase = Phase::Ready;
        self.enter(&state, out);
        out.push(PipelineEffect::Ready(state));
        self.apply_or_ask(out)
    }

    /// Nothing sent will be answered any more; it is asked again later.
    fn lose_calls(&mut self) {
        self.phase = Phase::AppAway;
        for (_, order) in std::mem::take(&mut self.asked).into_iter().rev() {
            self.waiting.push_front(order);
        }
    }

    fn on_answer(&mut self, call: CallId, response: Response, out: &mut Effects) -> Result<(), PipelineError> {
        if let Some(order) = self.asked.remove(&call) {
            if let Err(error) = usable(&order, &response) {
                if !mutant!("H46") {
                    self.waiting.push_front(order); // consensus still waits: a mended application is asked again
                }
                return Err(error);
            }
            self.on_order_answer(order, response, out);
            return Ok(());
        }
        match std::mem::replace(&mut self.phase, Phase::AppAway) {
            Phase::Recovering(mut recovery) => {
                let turn = recovery.answered(call, response, &mut self.calls, out)?;
                self.phase = Phase::Recovering(recovery);
                self.on_turn(turn, out)
            }
            Phase::Applying(applying) if applying.waits_for() == call || mutant!("H43") => {
                match applying.answered(response, &mut self.calls, out)? {
                    Progress::Waiting(applying) => self.phase = Phase::Applying(applying),
                    Progress::Done(state) => {
                        self.phase = Phase::Ready;
                        self.enter(&state, out);
                        self.apply_or_ask(out)?;
                    }
                }
                Ok(())
            }
            other => {
                self.phase = other; // an answer to a call from before the connection was lost
                Ok(())
            }
        }
    }

    /// Takes an answer that is [`usable`].
    fn on_order_answer(&mut self, order: Order, response: Response, out: &mut Effects) {
        match (order, response) {
            (Order::Build { job, draft: Some(draft) }, Response::PrepareProposal(prepared)) => {
                self.finish_block(&job, *draft, prepared, out);
            }
            (Order::Check { height, round, block, .. }, Response::ProcessProposal(verdict)) => {
                self.judge(height, round, block.id(), outcome(verdict), out);
            }
            (Order::Extend { height, round, .. }, Response::ExtendVote(extension)) => {
                out.push(PipelineEffect::VoteExtended { height, round, extension });
            }
            (Order::Verify { vote, source }, Response::VerifyVoteExtension(verdict)) => {
                let verdict = outcome(verdict);
                out.push(PipelineEffect::ExtensionVerified { vote: *vote, source, verdict });
            }
            _ => {} // a build without its draft was never asked
        }
    }

    // ------------------------------------------------------------------------------------- orders of consensus

    fn order(&mut self, order: Order, out: &mut Effects) -> Result<(), PipelineError> {
        if !self.is_current(&order) {
            return Ok(());
        }
        let sendable = matches!(self.phase, Phase::Ready) && self.decision.is_none();
        if sendable {
            return self.ask(order, out);
        }
        if self.waiting.len() >= WAITING_MAX
            && let Some(oldest) = self.waiting.pop_front()
        {
            let (height, waiting) = (oldest.height(), WAITING_MAX);
            out.push(PipelineEffect::Note(PipelineNote::Overloaded { height, waiting }));
        }
        self.waiting.push_back(order);
        Ok(())
    }

    /// Orders about a height that is decided have nobody waiting for them, and no question about it may follow its
    /// FinalizeBlock: a precommit that comes late is welcome to consensus without the application's word, as in CometBFT.
    fn is_current(&self, order: &Order) -> bool {
        let next = self.state.as_ref().map(|state| state.next_height());
        next == Some(order.height()) && self.decision.is_none()
    }

    fn ask(&mut self, mut order: Order, out: &mut Effects) -> Result<(), PipelineError> {
        let Some(state) = self.state.clone() else { return Ok(()) };
        let request = match &mut order {
            Order::Build { job, draft } => {
                *draft = self.draft(&state, job, out);
                draft.as_ref().map(|draft| Request::PrepareProposal(draft.request(&job.txs)))
            }
            Order::Check { height, round, block, vote } => self.check(&state, (*height, *round), block, vote, out),
            Order::Extend { height, block, .. } => {
                match requests::extend_vote(block, state.last_validators.as_deref()) {
                    Ok(request) => Some(request),
                    Err(why) => {
                        out.push(refused(*height, block.id(), why.to_string()));
                        None
                    }
                }
            }
            Order::Verify { vote, .. } => requests::verify_extension(vote),
        };
        if let Some(request) = request {
            let call = self.calls.next();
            out.push(PipelineEffect::AppCall { call, request });
            self.asked.insert(call, order);
        }
        Ok(())
    }

    /// The block to be; none, with a note, when this node cannot propose: the round goes by without us.
    fn draft(&self, state: &ChainState, job: &BuildJob, out: &mut Effects) -> Option<Box<Draft>> {
        let why = match self.own.map(|own| Draft::new(state, job, own, self.rule)) {
            Some(Ok(draft)) => return Some(Box::new(draft)),
            Some(Err(error)) => error.to_string(),
            None => "this node has no validator key".to_owned(),
        };
        out.push(PipelineEffect::Note(PipelineNote::NotBuilt { height: job.height, why }));
        None
    }

    fn finish_block(&self, job: &BuildJob, draft: Draft, prepared: Vec<Bytes>, out: &mut Effects) {
        let current = self.state.as_ref().is_some_and(|state| state.next_height() == job.height);
        if !current || self.decision.is_some() {
            return; // decided meanwhile
        }
        let (block, note) = draft.finish(prepared, &job.txs);
        out.extend(note.map(PipelineEffect::Note));
        let block = Arc::new(CandidateBlock::new(block));
        out.push(PipelineEffect::BlockBuilt { height: job.height, round: job.round, block });
    }

    /// Our own rules first, then the application's, asked at most once for each round and block.
    fn check(
        &mut self,
        state: &ChainState,
        (height, round): (Height, Round),
        block: &Arc<CandidateBlock>,
        vote: &VoteRules,
        out: &mut Effects,
    ) -> Option<Request> {
        match self.checked.verdicts.get(&(round, block.id())) {
            Some(Some(verdict)) => {
                let (block_id, verdict) = (block.id(), verdict.clone());
                out.push(PipelineEffect::BlockChecked { height, round, block_id, verdict });
                return None;
            }
            Some(None) if self.is_asked(round, block.id()) => return None, // its answer is on the way
            _ => {}
        }
        let evidence = |_: &[Evidence]| match &vote.evidence {
            Outcome::Accept => Ok(()),
            Outcome::Reject(why) => Err(why.clone()),
        };
        let rules = BlockCheck { clock: vote.clock, evidence: &evidence, ..decided(self.rule) };
        let request = self.keeps_rules(state, block, rules).and_then(|()| {
            requests::process_proposal(block, state.last_validators.as_deref()).map_err(|why| why.to_string())
        });
        match request {
            Ok(request) => {
                self.checked.put(round, block.id(), None);
                Some(request)
            }
            Err(why) => {
                self.judge(height, round, block.id(), Outcome::Reject(why), out);
                None
            }
        }
    }

    fn is_asked(&self, round: Round, id: BlockId) -> bool {
        self.asked
            .values()
            .any(|order| matches!(order, Order::Check { round: r, block, .. } if (*r, block.id()) == (round, id)))
    }

    fn keeps_rules(&mut self, state: &ChainState, block: &CandidateBlock, rules: BlockCheck<'_>) -> Result<(), String> {
        if self.checked.valid == Some(block.id()) {
            return Ok(());
        }
        validate_block(state, block.block(), rules).map_err(|why| why.to_string())?;
        self.checked.valid = Some(block.id());
        Ok(())
    }

    fn judge(&mut self, height: Height, round: Round, block_id: BlockId, verdict: Outcome, out: &mut Effects) {
        let current = self.state.as_ref().is_some_and(|state| state.next_height() == height);
        if !current {
            return;
        }
        if let Outcome::Reject(why) = &verdict {
            out.push(refused(height, block_id, why.clone()));
        }
        self.checked.put(round, block_id, Some(verdict.clone()));
        out.push(PipelineEffect::BlockChecked { height, round, block_id, verdict });
    }

    // ----------------------------------------------------------------------------------------------- decisions

    fn on_decision(&mut self, decision: Decision, out: &mut Effects) -> Result<(), PipelineError> {
        let Some(state) = self.state.clone() else { return Ok(()) };
        let height = decision.block.block().header.height;
        if height != state.next_height() || (self.decision.is_some() && !mutant!("H44")) {
            return Ok(());
        }
        // Bug class 043: an invalid block must never reach the store, however many voted for it.
        let rules = decided(self.rule);
        self.keeps_rules(&state, &decision.block, rules).map_err(|why| PipelineError::DecidedInvalid {
            height,
            block_id: decision.block.id(),
            why,
        })?;
        out.push(PipelineEffect::SaveBlock { block: Arc::clone(&decision.block), commit: decision.commit.clone() });
        out.push(PipelineEffect::JournalEndHeight(height));
        self.decision = Some(decision);
        self.apply_or_ask(out)
    }

    /// With the application at hand: applies the decision, or asks what waits.
    fn apply_or_ask(&mut self, out: &mut Effects) -> Result<(), PipelineError> {
        if !matches!(self.phase, Phase::Ready) {
            return Ok(());
        }
        if let (Some(decision), Some(state)) = (&self.decision, &self.state) {
            let (block, height) = (Arc::clone(&decision.block), decision.block.block().header.height);
            let applying = Applying::begin(Arc::clone(state), block, &mut self.calls, out).map_err(|why| {
                PipelineError::DecidedInvalid { height, block_id: decision.block.id(), why: why.to_string() }
            })?;
            self.phase = Phase::Applying(applying);
            return Ok(());
        }
        for order in std::mem::take(&mut self.waiting) {
            self.order(order, out)?;
        }
        Ok(())
    }

    /// The state moved on, by a decision or by recovery, or was found to stand where it stood.
    fn enter(&mut self, state: &Arc<ChainState>, out: &mut Effects) {
        if self.state.as_ref().map(|old| old.last_block_height) != Some(state.last_block_height) {
            self.checked = if mutant!("H45") { std::mem::take(&mut self.checked) } else { Checked::default() };
        }
        self.state = Some(Arc::clone(state));
        let applied = |it: &mut Decision| it.block.block().header.height == state.last_block_height;
        if let Some(Decision { block, commit }) = self.decision.take_if(applied) {
            out.push(PipelineEffect::Applied { state: Arc::clone(state), block, commit });
        }
    }
}

fn refused(height: Height, block_id: BlockId, why: String) -> PipelineEffect {
    PipelineEffect::Note(PipelineNote::Refused { height, block_id, why })
}

fn outcome(verdict: Verdict) -> Outcome {
    match verdict {
        Verdict::Accept => Outcome::Accept,
        Verdict::Reject | Verdict::Unknown => Outcome::Reject("the application rejects it".to_owned()),
    }
}

/// Whether an answer is one. A verdict of neither yes nor no is a broken application, not a no: voting on it could
/// stop the chain for everybody.
fn usable(order: &Order, response: &Response) -> Result<(), PipelineError> {
    let why = match (order, response) {
        (_, Response::ProcessProposal(Verdict::Unknown) | Response::VerifyVoteExtension(Verdict::Unknown)) => {
            "its status is UNKNOWN, neither yes nor no".to_owned()
        }
        (Order::Extend { .. }, Response::ExtendVote(extension)) if extension.len() > VOTE_EXTENSION_SENT_MAX => {
            format!("{} bytes; a vote extension has at most {VOTE_EXTENSION_SENT_MAX}", extension.len())
        }
        (Order::Build { .. }, Response::PrepareProposal(_))
        | (Order::Check { .. }, Response::ProcessProposal(_))
        | (Order::Extend { .. }, Response::ExtendVote(_))
        | (Order::Verify { .. }, Response::VerifyVoteExtension(_)) => return Ok(()),
        (_, other) => format!("it answers {} instead", other.method()),
    };
    Err(PipelineError::Answer { method: order.method(), height: order.height(), why })
}
