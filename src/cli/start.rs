//! `quorate start`: read and check everything first, say who we are, then run.

use super::CliError;
use super::args::{Common, StartFlags};
use super::keys::public_key_json;
use super::log::{self, Precedence};
use super::output::{Output, Reader};
use crate::config::{Config, Genesis, Home, HomeLock, LogFormat, NodeKey, Overrides, Warning, load_genesis};
use crate::crypto::PublicKey;
use crate::privval::FileSigner;
use crate::types::Address;
use serde_json::{Value, json};
use std::fmt::Write as _;

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
    let node_key = NodeKey::load_or_generate(&config.files.node_key)?;
    let signer = FileSigner::open_or_generate(&config.files.priv_validator_key, &config.files.priv_validator_state)?;
    let validator = FileSigner::public_key_of(&config.files.priv_validator_key)?;
    Ok(StartPlan { config, warnings, node_key, genesis, signer, validator, lock })
}

pub(super) fn run(common: &Common, flags: StartFlags, out: &Output) -> Result<(), CliError> {
    let mut overrides = common.overrides();
    flags.add_to(&mut overrides);
    let plan = prepare(&common.home()?, &overrides)?;
    let precedence = if common.sets_log_level() { Precedence::Flag } else { Precedence::Variable };
    log::install(&plan.config.log, precedence);
    FileSigner::warn_if_readable(&plan.config.files.priv_validator_key);
    show_card(&plan, out);
    for warning in &plan.warnings {
        tracing::warn!("{warning}");
    }
    super::run::run(plan)
}

// --------------------------------------------------------------------------------------------------- identity card

/// Who this node is, once, before the log.
fn show_card(plan: &StartPlan, out: &Output) {
    if out.reader == Reader::Program || plan.config.log.format == LogFormat::Json {
        out.line(&card_json(plan).to_string());
    } else {
        out.line(&card(plan));
    }
}

/// Our power in the genesis, if we are in it.
fn genesis_power(plan: &StartPlan, key: &PublicKey) -> Option<u64> {
    let validators = &plan.genesis.doc.validators;
    validators.iter().find(|validator| validator.public_key == *key).map(|validator| validator.power.get())
}

fn card(plan: &StartPlan) -> String {
    let (config, document) = (&plan.config, &plan.genesis.doc);
    let key = plan.validator;
    let role = match genesis_power(plan, &key) {
        Some(power) => {
            let total: u64 = document.validators.iter().map(|validator| validator.power.get()).sum();
            format!("power {power} of {total} in the genesis")
        }
        None => "not in the genesis: follows until the application adds it".to_owned(),
    };
    let listen = |addresses: &[crate::config::Address]| {
        let all: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        if all.is_empty() { "off".to_owned() } else { all.join(", ") }
    };
    let metrics =
        config.metrics.as_ref().map_or("off".to_owned(), |metrics| format!("http://{}/metrics", metrics.listen));
    let mut card = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(card, "{name:<12} {value}");
    };
    line("quorate", format!("{}  {}  {}", super::version::short(), config.moniker, plan.node_key.id()));
    line("chain", format!("{}  tendermint, from height {}", document.chain_id, document.initial_height));
    line("validator", format!("{}  {role}", Address::from(&key)));
    line("application", config.application.to_string());
    line("rpc", listen(&config.rpc.listen));
    line("metrics", metrics);
    line("storage", format!("{} in {}", config.storage.backend, config.storage.dir.display()));
    line("home", config.home.path().display().to_string());
    card
}

fn card_json(plan: &StartPlan) -> Value {
    let (config, document) = (&plan.config, &plan.genesis.doc);
    let key = plan.validator;
    let listen: Vec<_> = config.rpc.listen.iter().map(ToString::to_string).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "moniker": config.moniker,
        "node_id": plan.node_key.id().to_string(),
        "chain_id": document.chain_id.as_str(),
        "protocol": "tendermint",
        "validator": {
            "address": Address::from(&key).to_string(),
            "pub_key": public_key_json(&key),
            "genesis_power": genesis_power(plan, &key),
        },
        "application": config.application.to_string(),
        "rpc": listen,
        "metrics": config.metrics.as_ref().map(|metrics| &metrics.listen),
        "storage": { "backend": config.storage.backend.to_string(), "dir": config.storage.dir },
        "home": config.home.path(),
    })
}
