//! Making a replica of what a home holds.

use super::sign_state::{DoppelgangerCheck, Hearing, key_check};
use super::{ExecuteError, Executor};
use crate::consensus::Timeouts;
use crate::crypto::PublicKey;
use crate::mempool::{Mempool, MempoolConfig, MempoolInput};
use crate::pipeline::{Pipeline, build, recover};
use crate::ports::{Signer, Store};
use crate::replica::{Replica, Settings, listen_for};
use crate::types::abci::InitChainResponse;
use crate::types::{Address, Algorithm, ChainState, GenesisDoc, JournalRecord, Power, Round, ValidatorUpdate};
use std::sync::Arc;
use std::time::Duration;

/// How a replica is to begin.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// How long consensus waits for what.
    pub timeouts: Timeouts,
    /// How far ahead of our clock a proposed block may be; no limit when none.
    pub block_time_tolerance: Option<Duration>,
    /// Whether a validator that rejoins listens for its own key before it signs.
    pub doppelganger_check: DoppelgangerCheck,
    /// Whether it could hear anybody.
    pub hearing: Hearing,
    /// How much the mempool holds.
    pub mempool: MempoolConfig,
    /// Where the application is, for a sentence.
    pub app: String,
}

/// The state a home begins with.
#[derive(Debug, Clone)]
pub struct Standing {
    /// What the store has; none in a home that begins.
    stored: Option<Arc<ChainState>>,
    /// That, or what genesis makes one expect.
    pub state: Arc<ChainState>,
    /// The newest term or view in the journal.
    newest_round: Round,
}

impl Executor {
    /// Where this home stands. Refuses a sign state that is older than what the home shows to have been signed.
    ///
    /// # Errors
    /// When store or journal cannot be read, do not belong to the genesis document, or show later signatures.
    pub fn standing(&self) -> Result<Standing, ExecuteError> {
        let stored = stored_state(&*self.store, &self.genesis)?;
        let state = match &stored {
            Some(state) => Arc::clone(state),
            None => Arc::new(expected_state(&self.genesis, self.signer())?),
        };
        self.refuse_stale_sign_state()?;
        let newest_round = self.newest_round(&state)?;
        Ok(Standing { stored, state, newest_round })
    }

    /// The newest term or view this node was in, as far as its journal says.
    fn newest_round(&self, state: &ChainState) -> Result<Round, ExecuteError> {
        if state.algorithm == Algorithm::Tendermint {
            return Ok(Round::ZERO); // its rounds begin anew at each height
        }
        let records = self.journal.records_with_standing(state.next_height())?;
        let rounds = records.iter().filter_map(|record| match record {
            JournalRecord::Standing(standing) => Some(standing.round),
            _ => None,
        });
        Ok(rounds.max().unwrap_or(Round::ZERO))
    }

    /// A replica that stands there and waits for its application.
    pub fn begin(&self, standing: Standing, how: Beginning) -> Replica {
        let Standing { stored, state, newest_round } = standing;
        let own = self.signer().map(|signer| Address::from(&signer.public_key()));
        let longest = listen_for(state.algorithm, &how.timeouts);
        let key_check = key_check(self.signer(), &*self.store, longest, how.doppelganger_check, how.hearing);
        let Beginning { timeouts, block_time_tolerance, .. } = how;
        let settings = Settings { own, timeouts, block_time_tolerance, key_check, newest_round };
        let pipeline = Pipeline::new(Arc::clone(&self.genesis), stored, own);
        let mempool = empty_mempool(how.mempool, &state, &how.app);
        Replica::new(settings, state, pipeline, mempool)
    }
}

/// The state in the store, if it belongs to this genesis.
fn stored_state(store: &dyn Store, genesis: &GenesisDoc) -> Result<Option<Arc<ChainState>>, ExecuteError> {
    let Some(state) = store.state()? else { return Ok(None) };
    if state.chain_id != genesis.chain_id && !mutant!("W25") {
        return Err(ExecuteError::Genesis(format!(
            "the store holds chain {}, the genesis file is of chain {}. Use the genesis file this home began with, or \
             another --home",
            state.chain_id, genesis.chain_id
        )));
    }
    Ok(Some(Arc::new(state)))
}

/// The state to show until InitChain makes the real one. Where genesis leaves the validators to the application, it
/// names only ourselves.
fn expected_state(genesis: &GenesisDoc, signer: Option<&dyn Signer>) -> Result<ChainState, ExecuteError> {
    let mut answer = InitChainResponse::default();
    if genesis.validators.is_empty() {
        let public_key = signer.map_or(PublicKey::new([0; PublicKey::LEN]), Signer::public_key);
        answer.validators.push(ValidatorUpdate { public_key, power: Power::new(1) });
    }
    recover::first_state(genesis, &answer, 0).map_err(|error| ExecuteError::Genesis(error.to_string()))
}

/// A mempool that knows that nobody can be asked yet.
fn empty_mempool(config: MempoolConfig, state: &ChainState, app: &str) -> Mempool {
    let mut mempool = Mempool::new(config, build::tx_limits(state));
    let why = format!("the node is waiting for its application at {app}");
    mempool.step(MempoolInput::AppDown { why }, &mut Vec::new());
    mempool
}
