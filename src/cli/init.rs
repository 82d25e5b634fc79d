//! `quorate init`: everything a new node needs, made only where it is missing.

use super::CliError;
use super::algorithm::chosen;
use super::args::{Common, InitArgs};
use super::error::Exit;
use super::output::{Output, Reader};
use crate::config::atomic::{self, Access};
use crate::config::{Config, ConfigError, Home, NodeKey, Template, load_genesis, write_genesis};
use crate::crypto::PublicKey;
use crate::disk::OsDisk;
use crate::privval::FileSigner;
use crate::types::{Address, Algorithm, ChainId, ConsensusParams, GenesisDoc, GenesisValidator, Height, NodeId, Time};
use bytes::Bytes;
use rand::RngExt as _;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Random letters after `test-chain-` or `chain-`.
const CHAIN_LETTERS: usize = 6;

/// One line of the report.
pub(super) struct Step {
    made: bool,
    path: PathBuf,
    note: String,
}

pub(super) fn run(common: &Common, args: &InitArgs, out: &Output) -> Result<(), CliError> {
    let chain_id = chain_id(args.chain_id.as_deref(), "test-chain-")?;
    let wanted = chosen(args.algorithm.as_deref(), |name| std::env::var(name).ok(), "quorate init")?;
    let home = common.home()?;
    home.create()?;
    crash_point!("init.before");
    let mut steps = vec![config_file(&home)?];
    let (config, warnings) = Config::load(&home, &common.overrides())?;
    for warning in warnings {
        Output::note(&format!("warning: {warning}"));
    }
    let (step, node_id) = node_key(&config)?;
    steps.push(step);
    let (step, validator) = validator_key(&config)?;
    steps.push(step);
    crash_point!("init.genesis.before");
    steps.push(genesis(&config, chain_id, &validator, wanted)?);
    crash_point!("init.after");
    report(common, &home, &steps, &node_id, out);
    Ok(())
}

/// The name wanted, or the prefix and random letters.
pub(super) fn chain_id(wanted: Option<&str>, prefix: &str) -> Result<ChainId, CliError> {
    let random = || {
        let mut rng = rand::rng();
        let letters: String = (0..CHAIN_LETTERS).map(|_| char::from(rng.sample(rand::distr::Alphanumeric))).collect();
        format!("{prefix}{letters}")
    };
    let name = wanted.map_or_else(random, str::to_owned);
    ChainId::try_from(name.as_str()).map_err(|why| CliError {
        exit: Exit::Usage,
        text: format!("flag --chain-id: {why}\n  next: choose another, as --chain-id my-chain"),
    })
}

fn config_file(home: &Home) -> Result<Step, CliError> {
    let path = home.config_file();
    let made = !path.exists();
    if made {
        atomic::write(&path, Template::text().as_bytes(), Access::Everyone)
            .map_err(|why| ConfigError::io("write", &path, why))?;
    }
    let note = if made { format!("{} keys, each explained", Template::KEYS) } else { String::new() };
    Ok(Step { made, path, note })
}

pub(super) fn node_key(config: &Config) -> Result<(Step, NodeId), CliError> {
    let path = config.files.node_key.clone();
    let made = !path.exists();
    let id = NodeKey::load_or_generate(&path)?.id();
    Ok((Step { made, path, note: format!("node {id}") }, id))
}

pub(super) fn validator_key(config: &Config) -> Result<(Step, PublicKey), CliError> {
    let (path, state) = (config.files.priv_validator_key.clone(), &config.files.priv_validator_state);
    let made = !path.exists();
    let key =
        if made { FileSigner::generate(&OsDisk, &path, state)? } else { FileSigner::public_key_of(&OsDisk, &path)? };
    Ok((Step { made, path, note: format!("validator {}", Address::from(&key)) }, key))
}

fn genesis(
    config: &Config,
    chain_id: ChainId,
    validator: &PublicKey,
    wanted: Option<Algorithm>,
) -> Result<Step, CliError> {
    let path = config.files.genesis.clone();
    if path.exists() {
        let found = load_genesis(&path, config.genesis_hash.as_ref())?.doc;
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found.algorithm && !mutant!("F102")) {
            return Err(other_chain(&found, wanted, &path));
        }
        let note = format!("chain {} under {}", found.chain_id, found.algorithm);
        return Ok(Step { made: false, path, note });
    }
    let document = alone(chain_id, validator, wanted.unwrap_or_default());
    write_genesis(&path, &document)?;
    let note = format!("chain {} under {}, this validator decides alone", document.chain_id, document.algorithm);
    Ok(Step { made: true, path, note })
}

fn other_chain(found: &GenesisDoc, wanted: Algorithm, path: &Path) -> CliError {
    let what = format!(
        "{} defines chain {} under {}, and {wanted} is asked for: nothing was changed",
        path.display(),
        found.chain_id,
        found.algorithm
    );
    CliError {
        exit: Exit::Config,
        text: format!("{what}\n  next: quorate init --algorithm {wanted} --home ANOTHER_DIRECTORY"),
    }
}

/// The document of a chain that one validator decides.
pub(super) fn alone(chain_id: ChainId, validator: &PublicKey, algorithm: Algorithm) -> GenesisDoc {
    GenesisDoc {
        genesis_time: Time::from(SystemTime::now()),
        chain_id,
        initial_height: Height::FIRST,
        consensus_params: ConsensusParams::default(),
        validators: vec![GenesisValidator {
            address: Address::from(validator),
            public_key: *validator,
            power: GenesisValidator::USUAL_POWER,
            name: String::new(),
        }],
        app_hash: Bytes::new(),
        app_state: Bytes::new(),
        algorithm,
    }
}

fn report(common: &Common, home: &Home, steps: &[Step], node_id: &NodeId, out: &Output) {
    let flag = if common.names_home() { format!(" --home {}", home.path().display()) } else { String::new() };
    let next = [
        (format!("quorate start{flag} --proxy_app=kvstore"), "the built-in example"),
        (format!("quorate start{flag} --proxy_app=unix:///tmp/app.sock"), "your application"),
    ];
    if out.reader == Reader::Program {
        let files: Vec<_> =
            steps.iter().map(|step| json!({ "path": step.path, "made": step.made, "note": step.note })).collect();
        let next = next.map(|(command, _)| command);
        let value = json!({ "home": home.path(), "node_id": node_id.to_string(), "files": files, "next": next });
        return out.line(&format!("{value:#}"));
    }
    for step in steps {
        let verb = if step.made { "made " } else { "found" };
        out.line(&format!("{verb}  {:<46} {}", below(home.path(), &step.path), step.note));
    }
    out.line(&format!("home   {}", home.path().display()));
    let width = next.iter().map(|(command, _)| command.len()).max().unwrap_or_default();
    for (index, (command, note)) in next.iter().enumerate() {
        out.line(&format!("{}  {command:<width$}   {note}", if index == 0 { "next " } else { "     " }));
    }
}

/// The path as seen from the home.
fn below(home: &Path, path: &Path) -> String {
    path.strip_prefix(home).unwrap_or(path).display().to_string()
}
