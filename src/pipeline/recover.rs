//! The handshake: what the application must be told so that it, the state and the block store agree again
//! (reference §3.7). Pure planning; [`super::Pipeline`] carries the plan out.

use super::requests::genesis_validators;
use crate::crypto::Hash;
use crate::types::abci::InitChainResponse;
use crate::types::{ChainState, GenesisDoc, Height, ParamsError, Validator, ValidatorSet, ValidatorSetError, Version};
use std::sync::Arc;

/// One thing to do, in the order of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send InitChain. Its answer becomes state only when no block was applied yet.
    InitChain,
    /// Send FinalizeBlock and Commit for `first..=last` and change nothing here: those blocks are in the state.
    ReplayOnly {
        /// First height.
        first: Height,
        /// Last height.
        last: Height,
    },
    /// Apply this stored block as if it had just been decided.
    Apply(Height),
    /// Apply this stored block with the answer saved for it: the application committed it before the crash.
    ApplyWithSavedResults(Height),
    /// The application's hash must be the state's.
    AssertAppHash,
    /// Index this stored block again: a crash may have come between its state and its index.
    Reindex(Height),
}

/// Who is how far. A height is 0 where nothing is there yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// Lowest stored block.
    pub base: Height,
    /// Highest stored block.
    pub store: Height,
    /// Last block in the state.
    pub state: Height,
    /// Last block the application committed, as it said.
    pub app: i64,
    /// Height of the chain's first block.
    pub initial: Height,
    /// Whether the answer for block `store` is saved.
    pub results: SavedResults,
}

/// Whether an answer is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SavedResults {
    /// It is.
    Present,
    /// It is not.
    Missing,
}

/// Application, state and store do not fit together, and only people can say which of them is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Info answered a negative height.
    #[error("the application says it is at height {app}: a height is 0 or more. This is a bug of the application")]
    NegativeHeight {
        /// What it said.
        app: i64,
    },
    /// The application is ahead of the store.
    #[error(
        "the application is at height {app} but this node stored only {store} blocks: start the application with the \
         data that belongs to this node, or give this node the block store the application ran with. To begin the chain \
         again run `quorate unsafe-reset-all` and empty the application's data too"
    )]
    AppTooHigh {
        /// The application's height.
        app: Height,
        /// Highest stored block.
        store: Height,
    },
    /// The blocks the application needs were pruned.
    #[error(
        "the application is at height {app} but the lowest block this node still has is {base}: it cannot be brought up \
         to date from here. Restore the application from a backup at height {needed} or later, or let both begin anew: \
         run `quorate reset-state`, empty the application's data too, and start again, to fetch all blocks from peers"
    )]
    AppTooLow {
        /// The application's height.
        app: Height,
        /// Lowest stored block.
        base: Height,
        /// The lowest height from which replay would work.
        needed: Height,
    },
    /// The state is ahead of the blocks.
    #[error(
        "the state is at height {state} but the block store ends at {store}: blocks were lost or the two directories \
         are not of one node. Restore data/ from one backup, or run `quorate reset-state` and sync again"
    )]
    StoreBehindState {
        /// Highest stored block.
        store: Height,
        /// Last block in the state.
        state: Height,
    },
    /// The state is more than one block behind.
    #[error(
        "the block store ends at height {store} but the state is only at {state}: no crash leaves more than one block \
         between them. Restore data/ from one backup, or run `quorate reset-state` and sync again"
    )]
    StoreAheadOfState {
        /// Highest stored block.
        store: Height,
        /// Last block in the state.
        state: Height,
    },
    /// The application committed a block whose answer we do not have.
    #[error(
        "the application committed block {height} but this node has not saved its answer, and asking again would apply \
         the block twice. Restore the application from a backup at height {before} or earlier and start again"
    )]
    ResultsMissing {
        /// The block.
        height: Height,
        /// The height before.
        before: Height,
    },
    /// The application's hash is not the chain's.
    #[error(
        "the application's hash after height {height} is {app} but the chain has {chain}: the application is not \
         deterministic, was changed, or runs on other data. Start it with the version and data this chain was made with"
    )]
    AppHash {
        /// After which block.
        height: Height,
        /// The application's, in hex.
        app: String,
        /// The chain's, in hex.
        chain: String,
    },
    /// A block is missing within the store.
    #[error(
        "block {height} cannot be read though the store has blocks {base} to {store}: restore data/ from a backup, or \
         run `quorate reset-state` and sync again"
    )]
    BlockMissing {
        /// The block.
        height: Height,
        /// Lowest stored block.
        base: Height,
        /// Highest stored block.
        store: Height,
    },
    /// A stored block that breaks the rules.
    #[error("stored block {height} is invalid: {why}. Restore data/ from a backup and start again")]
    StoredInvalid {
        /// The block.
        height: Height,
        /// The rule it breaks.
        why: String,
    },
    /// There are blocks but no state.
    #[error(
        "this node stored {store} blocks but has no state: restore data/ from one backup, or run `quorate \
         reset-state` and sync again"
    )]
    StateMissing {
        /// Highest stored block.
        store: Height,
    },
    /// Genesis or InitChain names an impossible set.
    #[error("the validators of {source_name} are invalid: {why}")]
    Validators {
        /// `genesis.json` or `InitChain's answer`.
        source_name: &'static str,
        /// Why.
        why: ValidatorSetError,
    },
    /// Nobody to decide the first block.
    #[error("neither genesis.json nor InitChain's answer names a validator: add one to `validators` in genesis.json")]
    NoValidators,
    /// InitChain asks for parameters no chain may run with.
    #[error("the parameters of InitChain's answer are invalid: {0}")]
    Params(#[from] ParamsError),
}

/// Decides what to do: the table of reference §3.7, one arm a row.
///
/// Heights before the first block are `initial − 1` here, so that "the next block" is always one more; CometBFT's own
/// arithmetic refuses chains that crash at an initial height above 1.
pub fn plan(at: &Situation) -> Result<Vec<Step>, HandshakeError> {
    let app = Height::try_from(at.app).map_err(|_| HandshakeError::NegativeHeight { app: at.app })?;
    let before_first = at.initial.previous().unwrap_or(Height::ZERO);
    let (state, store) = (at.state.max(before_first), at.store.max(before_first));
    let needed = at.base.previous().unwrap_or(Height::ZERO);
    let mut steps = Vec::new();
    if app == Height::ZERO {
        steps.push(Step::InitChain);
    }
    let app = app.max(before_first);
    if at.store == Height::ZERO {
        // No blocks: a new chain, or one restored from a snapshot. Nothing can be replayed.
        return match app.cmp(&state) {
            std::cmp::Ordering::Less => Err(HandshakeError::AppTooLow { app, base: at.base, needed: state }),
            std::cmp::Ordering::Greater => Err(HandshakeError::AppTooHigh { app, store: at.store }),
            std::cmp::Ordering::Equal => Ok([steps, vec![Step::AssertAppHash]].concat()),
        };
    }
    if app < needed && !mutant!("H32") {
        return Err(HandshakeError::AppTooLow { app, base: at.base, needed });
    }
    if app > store && !mutant!("H33") {
        return Err(HandshakeError::AppTooHigh { app, store: at.store });
    }
    if store < state {
        return Err(HandshakeError::StoreBehindState { store: at.store, state: at.state });
    }
    if store > state.next() && !mutant!("H34") {
        return Err(HandshakeError::StoreAheadOfState { store: at.store, state: at.state });
    }
    if app < state {
        steps.push(Step::ReplayOnly { first: if mutant!("H1") { app } else { app.next() }, last: state });
    }
    match (store == state, app == store, at.results) {
        (true, ..) => {}
        (false, false, _) => steps.push(Step::Apply(store)),
        (false, true, SavedResults::Present) if mutant!("H6") => steps.push(Step::Apply(store)),
        (false, true, SavedResults::Present) => steps.push(Step::ApplyWithSavedResults(store)),
        (false, true, SavedResults::Missing) => {
            return Err(HandshakeError::ResultsMissing { height: store, before: state });
        }
    }
    steps.push(Step::AssertAppHash);
    if store == state && at.results == SavedResults::Present && !mutant!("H35") {
        steps.push(Step::Reindex(store));
    }
    Ok(steps)
}

/// The state before the first block, from genesis and InitChain's answer. `app_version` is what Info said.
pub fn first_state(
    genesis: &GenesisDoc,
    answer: &InitChainResponse,
    app_version: u64,
) -> Result<ChainState, HandshakeError> {
    let named =
        genesis_validators(genesis).map_err(|why| HandshakeError::Validators { source_name: "genesis.json", why })?;
    let validators = match (answer.validators.as_slice(), named) {
        ([], Some(set)) => set,
        ([], None) => return Err(HandshakeError::NoValidators),
        (members, _) => ValidatorSet::new(members.iter().map(|m| Validator::new(m.public_key, m.power)))
            .map_err(|why| HandshakeError::Validators { source_name: "InitChain's answer", why })?,
    };
    let mut version = Version { block: Version::BLOCK, app: app_version };
    let mut params = genesis.consensus_params.clone();
    if let Some(update) = &answer.consensus_params {
        params = params.merged(update);
        params.validate()?;
        version.app = if mutant!("H36") { app_version } else { params.version.app };
    }
    let app_hash =
        if answer.app_hash.is_empty() || mutant!("H38") { genesis.app_hash.clone() } else { answer.app_hash.clone() };
    Ok(ChainState {
        version,
        chain_id: genesis.chain_id.clone(),
        initial_height: genesis.initial_height,
        last_block_height: Height::ZERO,
        last_block_id: None,
        last_block_time: genesis.genesis_time,
        next_validators: Arc::new(validators.advanced(u32::from(!mutant!("H37")))),
        validators: Arc::new(validators),
        last_validators: None,
        last_height_validators_changed: genesis.initial_height,
        consensus_params: Arc::new(params),
        last_height_consensus_params_changed: genesis.initial_height,
        last_results_hash: Hash::EMPTY,
        app_hash,
        algorithm: genesis.algorithm,
    })
}
