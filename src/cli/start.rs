//! `quorate start`: read and check everything first, say who we are, then run.

use super::CliError;
use super::args::{Common, StartFlags};
use super::log::{self, Precedence};
use super::output::Output;
use crate::config::{Config, Genesis, Home, HomeLock, NodeKey, Overrides, Warning, load_genesis};
use crate::crypto::PublicKey;
use crate::disk::OsDisk;
use crate::privval::FileSigner;
use std::sync::Arc;

/// Everything a node needs to run, read, checked and locked. Nothing has been started.
#[derive(Debug)]
pub struct StartPlan {
    /// The configuration.
    pub config: Config,
    /// What is worth a line in the log.
    pub warnings: Vec<Warning>,
    /// Who we are to peers.
    pub node_key: NodeKey,
    /// What the chain starts from.
    pub genesis: Genesis,
    /// Who signs.
    pub signer: FileSigner,
    /// Whose signatures these are.
    pub validator: PublicKey,
    /// Keeps other processes off this home; hold it until the node has stopped.
    pub lock: HomeLock,
}

/// Reads and checks configuration, keys and genesis of a home. Makes keys that are missing, as CometBFT does, but no
/// genesis: that would be another chain.
pub fn prepare(home: &Home, overrides: &Overrides) -> Result<StartPlan, CliError> {
    let (config, warnings) = Config::load(home, overrides)?;
    let genesis = load_genesis(&config.files.genesis, config.genesis_hash.as_ref())?;
    home.create()?;
    let lock = HomeLock::take(home)?;
    open_keys(config, warnings, genesis, lock)
}

/// The same from a configuration and a genesis that were read, on a home that is ours.
pub(super) fn open_keys(
    config: Config,
    warnings: Vec<Warning>,
    genesis: Genesis,
    lock: HomeLock,
) -> Result<StartPlan, CliError> {
    let node_key = NodeKey::load_or_generate(&config.files.node_key)?;
    let signer = FileSigner::open_or_generate(
        Arc::new(OsDisk),
        &config.files.priv_validator_key,
        &config.files.priv_validator_state,
    )?;
    let validator = FileSigner::public_key_of(&OsDisk, &config.files.priv_validator_key)?;
    Ok(StartPlan { config, warnings, node_key, genesis, signer, validator, lock })
}

pub(super) fn run(common: &Common, flags: StartFlags, out: &Output) -> Result<(), CliError> {
    let mut overrides = common.overrides();
    flags.add_to(&mut overrides);
    let plan = prepare(&common.home()?, &overrides)?;
    let precedence = if common.sets_log_level() { Precedence::Flag } else { Precedence::Variable };
    log::install(&plan.config.log, precedence)?;
    super::run::run(plan, out)
}
