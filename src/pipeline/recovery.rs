//! Carries out a handshake plan, one answer at a time.

use super::apply::{Applying, Calls, Effects, Progress, apply_saved};
use super::execute::{applied_block, check_results};
use super::recover::{HandshakeError, SavedResults, Situation, Step, first_state, plan};
use super::{CallId, PipelineEffect, PipelineError, PipelineNote, StoredBlock, check, decided, requests};
use crate::types::abci::{FinalizeBlockResponse, InfoResponse, Request, Response};
use crate::types::{CandidateBlock, ChainState, GenesisDoc, Height, MedianRule};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;

/// What the shell found when the application came up.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) info: InfoResponse,
    pub(super) base: Height,
    pub(super) tip: Height,
    pub(super) saved_results: Option<Arc<FinalizeBlockResponse>>,
}

/// A handshake under way.
#[derive(Debug)]
pub(super) struct Recovery {
    genesis: Arc<GenesisDoc>,
    rule: MedianRule,
    found: Found,
    steps: VecDeque<Step>,
    state: Option<Arc<ChainState>>,
    app: AppPosition,
    doing: Doing,
}

/// How far the application is, as it says.
#[derive(Debug, Clone)]
struct AppPosition {
    height: Height,
    hash: Bytes,
}

#[derive(Debug)]
enum Doing {
    /// Between two steps.
    Nothing,
    InitChain(CallId),
    Loading(Height, Purpose),
    /// FinalizeBlock of a block that is in the state already was sent.
    Refinalizing(CallId, Arc<CandidateBlock>, Height),
    /// Its Commit was sent.
    Recommitting(CallId, AppPosition, Height),
    Applying(Applying),
}

/// What a block is loaded for.
#[derive(Debug, Clone, Copy)]
enum Purpose {
    /// Only the application needs it, and all up to this one.
    Replay(Height),
    Apply,
    ApplyWithSavedResults,
    Reindex,
}

/// How far an input brought the handshake.
#[derive(Debug)]
pub(super) enum Turn {
    /// An answer is awaited.
    Waiting,
    /// All agree on this state.
    Done(Arc<ChainState>),
}

impl Recovery {
    /// Makes the plan.
    pub(super) fn new(
        genesis: Arc<GenesisDoc>,
        rule: MedianRule,
        state: Option<Arc<ChainState>>,
        found: Found,
    ) -> Result<Recovery, HandshakeError> {
        let at = Situation {
            base: found.base,
            store: found.tip,
            state: state.as_ref().map_or(Height::ZERO, |state| state.last_block_height),
            app: found.info.last_block_height,
            initial: genesis.initial_height,
            results: match found.saved_results {
                Some(_) => SavedResults::Present,
                None => SavedResults::Missing,
            },
        };
        if state.is_none() && found.tip > Height::ZERO {
            return Err(HandshakeError::StateMissing { store: found.tip });
        }
        let steps = plan(&at)?.into();
        let height = Height::try_from(at.app).map_err(|_| HandshakeError::NegativeHeight { app: at.app })?;
        let app = AppPosition { height, hash: found.info.last_block_app_hash.clone() };
        Ok(Recovery { genesis, rule, found, steps, state, app, doing: Doing::Nothing })
    }

    /// Takes steps until one has to wait.
    pub(super) fn advance(&mut self, calls: &mut Calls, out: &mut Effects) -> Result<Turn, PipelineError> {
        while let Some(step) = self.steps.pop_front() {
            match step {
                Step::InitChain => {
                    let request = requests::init_chain(&self.genesis)
                        .map_err(|why| HandshakeError::Validators { source_name: "genesis.json", why })?;
                    let call = calls.next();
                    out.push(PipelineEffect::AppCall { call, request: Request::InitChain(request) });
                    self.doing = Doing::InitChain(call);
                }
                Step::ReplayOnly { first, last } => {
                    out.push(PipelineEffect::Note(PipelineNote::Replaying { first, last }));
                    self.load(first, Purpose::Replay(last), out);
                }
                Step::Apply(height) => self.load(height, Purpose::Apply, out),
                Step::ApplyWithSavedResults(height) => self.load(height, Purpose::ApplyWithSavedResults, out),
                Step::Reindex(height) => self.load(height, Purpose::Reindex, out),
                Step::AssertAppHash => {
                    self.assert_app_hash()?;
                    continue;
                }
            }
            return Ok(Turn::Waiting);
        }
        self.state().map(Turn::Done).map_err(Into::into)
    }

    /// Takes an answer of the application. Answers to calls nobody waits for are dropped.
    pub(super) fn answered(
        &mut self,
        call: CallId,
        response: Response,
        calls: &mut Calls,
        out: &mut Effects,
    ) -> Result<Turn, PipelineError> {
        match (std::mem::replace(&mut self.doing, Doing::Nothing), response) {
            (Doing::InitChain(asked), Response::InitChain(answer)) if asked == call => {
                if !answer.app_hash.is_empty() {
                    self.app.hash = answer.app_hash.clone();
                }
                if self.state.as_ref().is_none_or(|state| state.last_block_height == Height::ZERO || mutant!("H3")) {
                    let state = Arc::new(first_state(&self.genesis, &answer, self.found.info.app_version)?);
                    self.app.hash = state.app_hash.clone();
                    out.push(PipelineEffect::SaveState(Arc::clone(&state)));
                    self.state = Some(state);
                }
                self.advance(calls, out)
            }
            (Doing::Refinalizing(asked, block, last), Response::FinalizeBlock(answer)) if asked == call => {
                check_results(&block, &answer)?;
                let position = AppPosition { height: block.block().header.height, hash: answer.app_hash };
                let call = calls.next();
                out.push(PipelineEffect::AppCommit { call });
                self.doing = Doing::Recommitting(call, position, last);
                Ok(Turn::Waiting)
            }
            (Doing::Recommitting(asked, position, last), Response::Commit(_)) if asked == call => {
                self.app = position;
                if self.app.height == last {
                    return self.advance(calls, out);
                }
                self.load(self.app.height.next(), Purpose::Replay(last), out);
                Ok(Turn::Waiting)
            }
            (Doing::Applying(applying), response) if applying.waits_for() == call => {
                match applying.answered(response, calls, out)? {
                    Progress::Waiting(applying) => self.doing = Doing::Applying(applying),
                    Progress::Done(state) => return self.applied(state, calls, out),
                }
                Ok(Turn::Waiting)
            }
            (doing, response) if doing.waits_for() == Some(call) => Err(self.wrong_answer(&doing, &response)),
            (doing, _) => {
                self.doing = doing;
                Ok(Turn::Waiting)
            }
        }
    }

    /// Takes a loaded block. A block nobody waits for is dropped.
    pub(super) fn loaded(
        &mut self,
        height: Height,
        stored: Option<Box<StoredBlock>>,
        calls: &mut Calls,
        out: &mut Effects,
    ) -> Result<Turn, PipelineError> {
        let Doing::Loading(wanted, purpose) = self.doing else { return Ok(Turn::Waiting) };
        if wanted != height && !mutant!("H98") {
            return Ok(Turn::Waiting);
        }
        let (base, store) = (self.found.base, self.found.tip);
        let stored = stored.ok_or(HandshakeError::BlockMissing { height, base, store })?;
        self.doing = Doing::Nothing;
        match purpose {
            Purpose::Replay(last) => self.replay(*stored, last, calls, out),
            Purpose::Apply => {
                let before = self.check_stored(&stored.block)?;
                out.push(PipelineEffect::JournalEndHeight(height));
                let applying = Applying::begin(before, stored.block, calls, out)
                    .map_err(|why| HandshakeError::StoredInvalid { height, why: why.to_string() })?;
                self.doing = Doing::Applying(applying);
                Ok(Turn::Waiting)
            }
            Purpose::ApplyWithSavedResults => {
                let before = self.check_stored(&stored.block)?;
                let results = self.saved_results(height)?;
                out.push(PipelineEffect::JournalEndHeight(height));
                // What the application says about itself stays: AssertAppHash compares it with what was saved.
                self.state = Some(apply_saved(&before, stored.block, results, out)?);
                self.advance(calls, out)
            }
            Purpose::Reindex => {
                let results = self.saved_results(height)?;
                if check_results(&stored.block, &results).is_ok() {
                    let applied = applied_block(stored.block, Arc::unwrap_or_clone(results));
                    out.push(PipelineEffect::Index(Arc::new(applied)));
                }
                self.advance(calls, out)
            }
        }
    }

    fn load(&mut self, height: Height, purpose: Purpose, out: &mut Effects) {
        out.push(PipelineEffect::LoadBlock(height));
        self.doing = Doing::Loading(height, purpose);
    }

    fn replay(
        &mut self,
        stored: StoredBlock,
        last: Height,
        calls: &mut Calls,
        out: &mut Effects,
    ) -> Result<Turn, PipelineError> {
        let header = &stored.block.block().header;
        // Before anything is executed: the block says what the application must look like before it.
        self.compare_hashes(&header.app_hash)?;
        let height = header.height;
        let request = requests::finalize_block(&stored.block, stored.last_validators.as_deref())
            .map_err(|why| HandshakeError::StoredInvalid { height, why: why.to_string() })?;
        let call = calls.next();
        out.push(PipelineEffect::AppCall { call, request });
        self.doing = Doing::Refinalizing(call, stored.block, last);
        Ok(Turn::Waiting)
    }

    fn check_stored(&self, block: &CandidateBlock) -> Result<Arc<ChainState>, PipelineError> {
        let state = self.state()?;
        self.compare_hashes_before_apply(&state)?;
        let height = block.block().header.height;
        check::validate_block(&state, block.block(), decided(self.rule))
            .map_err(|why| HandshakeError::StoredInvalid { height, why: why.to_string() })?;
        Ok(state)
    }

    /// Only an application that stands right before the block can be compared with the state.
    fn compare_hashes_before_apply(&self, state: &ChainState) -> Result<(), HandshakeError> {
        if self.app.height == state.last_block_height && !mutant!("H97") {
            self.compare_hashes(&state.app_hash)
        } else {
            Ok(())
        }
    }

    fn applied(&mut self, state: Arc<ChainState>, calls: &mut Calls, out: &mut Effects) -> Result<Turn, PipelineError> {
        self.app = AppPosition { height: state.last_block_height, hash: state.app_hash.clone() };
        self.state = Some(state);
        self.advance(calls, out)
    }

    /// The saved answer for the highest block. One saved by CometBFT v0.37 has no hash: Info's stands in for it.
    fn saved_results(&self, height: Height) -> Result<Arc<FinalizeBlockResponse>, HandshakeError> {
        let before = height.previous().unwrap_or(Height::ZERO);
        let mut results = self.found.saved_results.clone().ok_or(HandshakeError::ResultsMissing { height, before })?;
        if results.app_hash.is_empty() && !mutant!("H96") {
            Arc::make_mut(&mut results).app_hash = self.app.hash.clone();
        }
        Ok(results)
    }

    fn assert_app_hash(&self) -> Result<(), HandshakeError> {
        let state = self.state()?;
        if self.app.hash == state.app_hash { Ok(()) } else { Err(self.hash_mismatch(&state.app_hash)) }
    }

    /// An application that says no hash is compared at the end only.
    fn compare_hashes(&self, chain: &Bytes) -> Result<(), HandshakeError> {
        if self.app.hash.is_empty() || self.app.hash == *chain || mutant!("H4") {
            Ok(())
        } else {
            Err(self.hash_mismatch(chain))
        }
    }

    fn hash_mismatch(&self, chain: &Bytes) -> HandshakeError {
        let hex = |bytes: &Bytes| if bytes.is_empty() { "empty".to_owned() } else { hex::encode_upper(bytes) };
        HandshakeError::AppHash { height: self.app.height, app: hex(&self.app.hash), chain: hex(chain) }
    }

    fn state(&self) -> Result<Arc<ChainState>, HandshakeError> {
        self.state.clone().ok_or(HandshakeError::StateMissing { store: self.found.tip })
    }

    fn wrong_answer(&self, doing: &Doing, got: &Response) -> PipelineError {
        let method = match doing {
            Doing::InitChain(_) => "init_chain",
            Doing::Recommitting(..) => "commit",
            _ => "finalize_block",
        };
        PipelineError::Answer { method, height: self.app.height, why: format!("it answers {} instead", got.method()) }
    }
}

impl Doing {
    fn waits_for(&self) -> Option<CallId> {
        match self {
            Doing::Nothing | Doing::Loading(..) => None,
            Doing::InitChain(call) | Doing::Refinalizing(call, ..) | Doing::Recommitting(call, ..) => Some(*call),
            Doing::Applying(applying) => Some(applying.waits_for()),
        }
    }
}
