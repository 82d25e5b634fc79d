//! A decided block's last steps, the same for a fresh decision and for recovery:
//! FinalizeBlock → save results → Commit → save state → mempool, evidence pool → publish, index, prune.
//!
//! The order is what makes every crash recoverable (docs/CRASH_WINDOWS.md): results are durable before the application
//! commits, so that a committed block whose state we lost can be taken up without asking again; the state is saved
//! after the application committed, so that a state never claims a block the application may have forgotten.

use super::build::{CommitMismatch, tx_limits};
use super::execute::{applied_block, next_state, prune_below};
use super::{CallId, PipelineEffect, PipelineError, PipelineNote, requests};
use crate::types::abci::{CommitResponse, FinalizeBlockResponse, Response};
use crate::types::{CandidateBlock, ChainState, Height};
use std::sync::Arc;

/// Orders of one step.
pub(super) type Effects = Vec<PipelineEffect>;

/// Numbers calls.
#[derive(Debug, Default)]
pub(super) struct Calls(u64);

impl Calls {
    pub(super) fn next(&mut self) -> CallId {
        self.0 += 1;
        CallId(self.0)
    }
}

/// A block on its way through the application.
#[derive(Debug)]
pub(super) struct Applying {
    before: Arc<ChainState>,
    block: Arc<CandidateBlock>,
    waits_for: CallId,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Finalizing,
    /// The results are durable.
    Committing {
        results: Arc<FinalizeBlockResponse>,
        after: Arc<ChainState>,
    },
}

/// What an answer led to.
#[derive(Debug)]
pub(super) enum Progress {
    /// Another answer is needed.
    Waiting(Applying),
    /// Applied and saved.
    Done(Arc<ChainState>),
}

impl Applying {
    /// Sends FinalizeBlock. `block` is stored and valid on top of `before`.
    pub(super) fn begin(
        before: Arc<ChainState>,
        block: Arc<CandidateBlock>,
        calls: &mut Calls,
        out: &mut Effects,
    ) -> Result<Applying, CommitMismatch> {
        let request = requests::finalize_block(&block, before.last_validators.as_deref())?;
        let waits_for = calls.next();
        out.push(PipelineEffect::AppCall { call: waits_for, request });
        Ok(Applying { before, block, waits_for, stage: Stage::Finalizing })
    }

    /// The call whose answer is awaited.
    pub(super) fn waits_for(&self) -> CallId {
        self.waits_for
    }

    /// Takes the awaited answer.
    pub(super) fn answered(
        self,
        response: Response,
        calls: &mut Calls,
        out: &mut Effects,
    ) -> Result<Progress, PipelineError> {
        match (self.stage, response) {
            (Stage::Finalizing, Response::FinalizeBlock(answer)) => {
                // Checked before it is saved: an answer that cannot be applied must not survive a restart.
                let after = Arc::new(next_state(&self.before, &self.block, &answer)?);
                let (height, results) = (after.last_block_height, Arc::new(answer));
                let waits_for = calls.next();
                if !mutant!("H2") {
                    out.push(PipelineEffect::SaveResults { height, results: Arc::clone(&results) });
                }
                if mutant!("H5") {
                    out.push(PipelineEffect::SaveState(Arc::clone(&after)));
                }
                out.push(PipelineEffect::AppCommit { call: waits_for });
                Ok(Progress::Waiting(Applying { waits_for, stage: Stage::Committing { results, after }, ..self }))
            }
            (Stage::Committing { results, after }, Response::Commit(commit)) => {
                finish(&after, self.block, results, Some(commit), out);
                Ok(Progress::Done(after))
            }
            (Stage::Finalizing, other) => Err(wrong_answer("finalize_block", &self.block, &other)),
            (Stage::Committing { .. }, other) => Err(wrong_answer("commit", &self.block, &other)),
        }
    }
}

/// The application committed `block` and told `results` before a crash: everything but the application's part.
pub(super) fn apply_saved(
    before: &ChainState,
    block: Arc<CandidateBlock>,
    results: Arc<FinalizeBlockResponse>,
    out: &mut Effects,
) -> Result<Arc<ChainState>, PipelineError> {
    let after = Arc::new(next_state(before, &block, &results)?);
    // What Commit answered is lost with the crash; the application asks to prune again at the next height.
    finish(&after, block, results, None, out);
    Ok(after)
}

fn finish(
    after: &Arc<ChainState>,
    block: Arc<CandidateBlock>,
    results: Arc<FinalizeBlockResponse>,
    commit: Option<CommitResponse>,
    out: &mut Effects,
) {
    let height = after.last_block_height;
    let codes = results.tx_results.iter().map(|result| result.code);
    let txs = block.block().txs.iter().cloned().zip(codes).collect();
    let applied = Arc::new(applied_block(Arc::clone(&block), Arc::unwrap_or_clone(results)));
    if mutant!("H101") {
        out.push(PipelineEffect::Publish(Arc::clone(&applied)));
    }
    out.push(PipelineEffect::SaveState(Arc::clone(after)));
    if !mutant!("H30") {
        out.push(PipelineEffect::MempoolUpdate { height, txs, limits: tx_limits(after) });
    }
    if !mutant!("H31") {
        out.push(PipelineEffect::EvidenceUpdate { block, state: Arc::clone(after) });
    }
    out.push(PipelineEffect::Publish(Arc::clone(&applied)));
    out.push(PipelineEffect::Index(applied));
    if let Some(commit) = commit {
        prune(height, commit.retain_height, after, out);
    }
}

fn prune(height: Height, asked: i64, state: &Arc<ChainState>, out: &mut Effects) {
    match prune_below(asked, height) {
        Ok(None) => {}
        Ok(Some(retain)) => out.push(PipelineEffect::Prune { retain, state: Arc::clone(state) }),
        Err(asked) => out.push(PipelineEffect::Note(PipelineNote::RetainTooHigh { asked, height })),
    }
}

fn wrong_answer(method: &'static str, block: &CandidateBlock, got: &Response) -> PipelineError {
    let height = block.block().header.height;
    PipelineError::Answer { method, height, why: format!("it answers {} instead", got.method()) }
}
