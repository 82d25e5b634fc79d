//! From a decided block and the application's answer to the next state (reference §3.8, §4.8, §2.6).

use crate::crypto::PublicKey;
use crate::types::abci::{FinalizeBlockResponse, TxResult};
use crate::types::{
    AppliedBlock, CandidateBlock, ChainState, Height, ParamsError, ParamsUpdate, ValidatorSet, ValidatorSetError,
};
use std::sync::Arc;

/// An answer to FinalizeBlock that cannot be applied. Every replica with this application meets the same one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecuteError {
    /// Each transaction has a result.
    #[error("FinalizeBlock of height {height} gave {results} results for {txs} transactions")]
    ResultCount {
        /// The block.
        height: Height,
        /// Its transactions.
        txs: usize,
        /// The results.
        results: usize,
    },
    /// A key that the chain's parameters do not allow.
    #[error("FinalizeBlock of height {height} names an ed25519 validator, but validator.pub_key_types has {allowed:?}")]
    KeyType {
        /// The block.
        height: Height,
        /// The types allowed.
        allowed: Vec<String>,
    },
    /// Changes that leave no legal set.
    #[error("the validator updates of FinalizeBlock at height {height} are invalid: {why}")]
    Validators {
        /// The block.
        height: Height,
        /// Why.
        why: ValidatorSetError,
    },
    /// Parameters no chain may run with.
    #[error("the parameter updates of FinalizeBlock at height {height} are invalid: {why}")]
    Params {
        /// The block.
        height: Height,
        /// Why.
        why: ParamsError,
    },
}

/// Each transaction of the block has a result.
pub(super) fn check_results(block: &CandidateBlock, answer: &FinalizeBlockResponse) -> Result<(), ExecuteError> {
    let (txs, results) = (block.block().txs.len(), answer.tx_results.len());
    if txs != results && !mutant!("H12") {
        return Err(ExecuteError::ResultCount { height: block.block().header.height, txs, results });
    }
    Ok(())
}

/// The state after `block`: validators in force two heights later, parameters at the next.
///
/// # Errors
/// When the answer breaks a rule. Nothing has happened then.
pub fn next_state(
    state: &ChainState,
    block: &CandidateBlock,
    answer: &FinalizeBlockResponse,
) -> Result<ChainState, ExecuteError> {
    check_results(block, answer)?;
    let header = &block.block().header;
    let height = header.height;
    let mut next = ChainState {
        last_block_height: height,
        last_block_id: Some(block.id()),
        last_block_time: if mutant!("H23") { state.last_block_time } else { header.time },
        next_validators: Arc::new(next_validators(state, height, answer)?),
        validators: Arc::clone(if mutant!("H24") { &state.validators } else { &state.next_validators }),
        last_validators: Some(Arc::clone(if mutant!("H25") { &state.next_validators } else { &state.validators })),
        last_results_hash: if mutant!("H99") { state.last_results_hash } else { answer.results_hash() },
        app_hash: answer.app_hash.clone(),
        ..state.clone()
    };
    if !answer.validator_updates.is_empty() {
        next.last_height_validators_changed = if mutant!("H11") { height.next() } else { height.next().next() };
    }
    if let Some(update) = &answer.consensus_param_updates {
        update_params(&mut next, update, height)?;
    }
    Ok(next)
}

/// NextValidators changed by the application, one turn on.
fn next_validators(
    state: &ChainState,
    height: Height,
    answer: &FinalizeBlockResponse,
) -> Result<ValidatorSet, ExecuteError> {
    let allowed = &state.consensus_params.validator.pub_key_types;
    // Like CometBFT, removing a validator (power 0) asks for no key type.
    let adds = answer.validator_updates.iter().any(|update| update.power.get() > u64::from(mutant!("H29")));
    if adds && !mutant!("H26") && !allowed.iter().any(|name| name == PublicKey::TYPE) {
        return Err(ExecuteError::KeyType { height, allowed: allowed.clone() });
    }
    let mut set = ValidatorSet::clone(&state.next_validators);
    set.update(&answer.validator_updates).map_err(|why| ExecuteError::Validators { height, why })?;
    if !mutant!("H10") {
        set.advance(1);
    }
    Ok(set)
}

fn update_params(next: &mut ChainState, update: &ParamsUpdate, height: Height) -> Result<(), ExecuteError> {
    let params = next.consensus_params.updated(update, height).map_err(|why| ExecuteError::Params { height, why })?;
    if !mutant!("H28") {
        next.version.app = params.version.app;
    }
    next.consensus_params = Arc::new(params);
    next.last_height_consensus_params_changed = if mutant!("H27") { height } else { height.next() };
    Ok(())
}

/// The block with its results, for subscribers and the index.
///
/// # Panics
/// When the answer has fewer results than the block has transactions: [`next_state`] comes first.
pub fn applied_block(block: Arc<CandidateBlock>, answer: FinalizeBlockResponse) -> AppliedBlock {
    let inner = block.block();
    assert_eq!(inner.txs.len(), answer.tx_results.len(), "only a checked answer is published");
    let height = inner.header.height;
    let places = inner.txs.iter().zip(&answer.tx_results).zip(0u32..);
    let txs = places
        .map(|((tx, result), index)| {
            (tx.hash(), TxResult { height, index, tx: tx.bytes().clone(), result: result.clone() })
        })
        .collect();
    AppliedBlock { block, results: answer, txs }
}

/// What Commit's `retain_height` asks to remove: blocks below the height returned, or nothing.
///
/// # Errors
/// The asked height when it is above the last block; CometBFT refuses to prune then, and so do we.
pub fn prune_below(retain_height: i64, last: Height) -> Result<Option<Height>, i64> {
    match Height::try_from(retain_height) {
        Ok(Height::ZERO) | Err(_) => Ok(None), // negative is "keep all" too: CometBFT asks only whether it is above 0
        Ok(height) if height > last && !mutant!("H13") => Err(retain_height),
        Ok(height) => Ok(Some(height)),
    }
}
