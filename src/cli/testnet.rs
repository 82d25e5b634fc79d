//! `quorate testnet`: the homes of a whole network at once, as CometBFT's `testnet` makes them: a directory for each
//! node with its keys, one genesis for all, and everybody's address in everybody's config.toml.
//!
//! First everything is planned and checked, then written; a command that fails leaves no half of a network behind.

use super::CliError;
use super::algorithm::{chosen, tolerance};
use super::args::TestnetArgs;
use super::error::Exit;
use super::init;
use super::output::{Output, Reader, table};
use crate::config::atomic::{self, Access};
use crate::config::write_genesis;
use crate::config::{Config, ConfigError, Home, NodeKey, Overrides, Template, Value, check_file, read_text, set_keys};
use crate::crypto::PublicKey;
use crate::disk::OsDisk;
use crate::privval::FileSigner;
use crate::types::{Address, Algorithm, ChainId, ConsensusParams, GenesisDoc, GenesisValidator, Height, Time};
use bytes::Bytes;
use serde_json::json;
use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Nodes of one network: everybody's address in everybody's config.toml grows with the square.
const NODES_MAX: usize = 500;
/// On one machine a node has its ports at these distances from its first one, so that node 0 has the usual ones.
const RPC_OFFSET: u16 = 1;
const APPLICATION_OFFSET: u16 = 2;
const METRICS_OFFSET: u16 = 4;
/// Ports from one node to the next.
const PORTS_APART: u16 = 10;
/// Random bytes of a moniker that nobody chose.
const MONIKER_BYTES: usize = 8;
const USAGE: &str = "quorate testnet --help";

/// What a node does in the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Validator,
    Follower,
}

/// Where the parts of a node listen when several share a machine.
#[derive(Debug, Clone, Copy)]
struct Ports {
    p2p: u16,
    rpc: u16,
    application: u16,
    metrics: u16,
}

/// A node that is to be made.
struct Plan {
    name: String,
    home: Home,
    role: Role,
    moniker: String,
    key: NodeKey,
    /// Where peers call it.
    host: String,
    port: u16,
    /// Its ports, when it shares the machine with the others.
    own: Option<Ports>,
}

/// A node that was made.
struct Made {
    plan: Plan,
    validator: PublicKey,
}

pub(super) fn run(args: &TestnetArgs, out: &Output) -> Result<(), CliError> {
    let algorithm = chosen(args.algorithm.as_deref(), |name| std::env::var(name).ok(), "quorate testnet")?;
    let chain_id = init::chain_id(args.chain_id.as_deref(), "chain-")?;
    let base = base_config(args)?;
    let plans = plan(args)?;
    refuse_to_overwrite(&plans)?;
    let begun = Begun(plans.iter().map(|plan| plan.home.path().to_owned()).collect());
    let made = make(args, &base, plans)?;
    let genesis = genesis(args, chain_id, algorithm.unwrap_or_default(), &made);
    for node in &made {
        let config = load(&node.plan.home)?;
        write_genesis(&config.files.genesis, &genesis)?;
    }
    begun.finished();
    report(args, &genesis, &made, out);
    Ok(())
}

fn usage(what: &str) -> CliError {
    CliError { exit: Exit::Usage, text: format!("{what}\n  next: {USAGE}") }
}

// ------------------------------------------------------------------------------------------------------------- plan

fn plan(args: &TestnetArgs) -> Result<Vec<Plan>, CliError> {
    let (validators, count) = (usize::from(args.v), usize::from(args.v) + usize::from(args.n));
    if count == 0 {
        return Err(usage("--v 0 and --n 0 make no node"));
    }
    if count > NODES_MAX {
        return Err(usage(&format!("{count} nodes are too many for one command, at most {NODES_MAX}")));
    }
    if !args.hostname.is_empty() && args.hostname.len() != count {
        let given = args.hostname.len();
        return Err(usage(&format!("--hostname is given {given} times, but --v and --n make {count} nodes")));
    }
    if args.node_dir_prefix.contains(['/', '\0']) || args.node_dir_prefix.starts_with("..") {
        return Err(usage("flag --node-dir-prefix: the begin of a directory's name, without /"));
    }
    (0..count)
        .map(|index| {
            let name = format!("{}{index}", args.node_dir_prefix);
            let own = if args.single_host { Some(ports(args.p2p_port, index)?) } else { None };
            let host = host(args, index)?;
            Ok(Plan {
                home: Home::new(args.o.join(&name)),
                name,
                role: if index < validators { Role::Validator } else { Role::Follower },
                moniker: moniker(args, index),
                key: NodeKey::generate(),
                host,
                port: own.map_or(args.p2p_port, |own| own.p2p),
                own,
            })
        })
        .collect()
}

/// The ports of a node that shares the machine.
fn ports(first: u16, index: usize) -> Result<Ports, CliError> {
    let base = u16::try_from(index).ok().and_then(|index| index.checked_mul(PORTS_APART)?.checked_add(first));
    let last = base.and_then(|base| base.checked_add(METRICS_OFFSET));
    let (Some(base), Some(metrics)) = (base, last) else {
        return Err(usage(&format!("flag --p2p-port: from {first} on there are too few ports for node {index}")));
    };
    Ok(Ports { p2p: base, rpc: base + RPC_OFFSET, application: base + APPLICATION_OFFSET, metrics })
}

/// Where peers find a node: what was said, the next IP address, or a name made of prefix, number and suffix.
fn host(args: &TestnetArgs, index: usize) -> Result<String, CliError> {
    if args.single_host {
        return Ok(Ipv4Addr::LOCALHOST.to_string());
    }
    let host = match (args.hostname.get(index), args.starting_ip_address) {
        (Some(host), _) => host.clone(),
        (None, Some(first)) => ip_after(first, index)?.to_string(),
        (None, None) => format!("{}{index}{}", args.hostname_prefix, args.hostname_suffix),
    };
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if host.is_empty() || !host.chars().all(legal) {
        return Err(usage(&format!("{host:?} is no name of a host")));
    }
    Ok(host)
}

/// CometBFT counts the last byte round from 255 to 0; two nodes must not share an address.
fn ip_after(first: Ipv4Addr, index: usize) -> Result<Ipv4Addr, CliError> {
    let [a, b, c, last] = first.octets();
    let last = u8::try_from(index).ok().and_then(|index| last.checked_add(index));
    last.map(|last| Ipv4Addr::new(a, b, c, last)).ok_or_else(|| {
        usage(&format!("flag --starting-ip-address: from {first} on there are too few for node {index}"))
    })
}

/// As CometBFT names them: a random name where only IP addresses are known.
fn moniker(args: &TestnetArgs, index: usize) -> String {
    let random = || hex::encode_upper(rand::random::<[u8; MONIKER_BYTES]>());
    match args.hostname.get(index) {
        _ if args.random_monikers => random(),
        Some(host) => host.clone(),
        None if args.starting_ip_address.is_some() => random(),
        None => format!("{}{index}{}", args.hostname_prefix, args.hostname_suffix),
    }
}

// ------------------------------------------------------------------------------------------------------------- make

/// Directories that hold something are somebody's.
fn refuse_to_overwrite(plans: &[Plan]) -> Result<(), CliError> {
    for plan in plans {
        let path = plan.home.path();
        match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
            Ok(true) => {}
            Ok(false) => {
                let what = format!("{} exists and is not empty: nothing was made or changed", path.display());
                return Err(CliError::failed(what, "choose another directory with --o, or remove this one"));
            }
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
            Err(why) => return Err(ConfigError::io("read", path, why).into()),
        }
    }
    Ok(())
}

/// Directories being filled: removed again when the command fails on the way.
struct Begun(Vec<PathBuf>);

impl Begun {
    fn finished(mut self) {
        self.0.clear();
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        for path in &self.0 {
            // What cannot be removed is a remainder; the error that is told is why the command failed.
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// The config.toml that all nodes begin from, and where it came from.
struct Base {
    text: String,
    path: PathBuf,
}

fn base_config(args: &TestnetArgs) -> Result<Base, CliError> {
    let Some(path) = &args.config else {
        return Ok(Base { text: Template::text(), path: "config.toml".into() });
    };
    for warning in check_file(path)? {
        Output::note(&format!("warning: {warning}"));
    }
    Ok(Base { text: read_text(path)?, path: path.clone() })
}

fn make(args: &TestnetArgs, base: &Base, plans: Vec<Plan>) -> Result<Vec<Made>, CliError> {
    let peers: Vec<String> =
        plans.iter().map(|plan| format!("{}@{}:{}", plan.key.id(), plan.host, plan.port)).collect();
    let made = plans.into_iter().enumerate().map(|(index, plan)| {
        let others = peers.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, peer)| peer.as_str());
        let others = args.populate_persistent_peers.then(|| others.collect::<Vec<_>>().join(","));
        let text = set_keys(&base.text, &base.path, &changes(&plan, others))?;
        plan.home.create()?;
        let path = plan.home.config_file();
        atomic::write(&path, text.as_bytes(), Access::Everyone).map_err(|why| ConfigError::io("write", &path, why))?;
        let config = load(&plan.home)?;
        plan.key.save(&config.files.node_key)?;
        let (key, state) = (&config.files.priv_validator_key, &config.files.priv_validator_state);
        Ok(Made { validator: FileSigner::generate(&OsDisk, key, state)?, plan })
    });
    made.collect()
}

/// What a node's config.toml says otherwise than the one all began from. Address book and duplicate addresses as
/// CometBFT's `testnet` sets them: test networks live on private addresses, often several nodes on one.
fn changes(plan: &Plan, peers: Option<String>) -> Vec<(&'static str, Value)> {
    let mut changes = vec![
        ("moniker", Value::Text(plan.moniker.clone())),
        ("p2p.addr_book_strict", Value::Bool(false)),
        ("p2p.allow_duplicate_ip", Value::Bool(true)),
    ];
    changes.extend(peers.map(|peers| ("p2p.persistent_peers", Value::Text(peers))));
    match plan.own {
        Some(own) => {
            let here = |port: u16| Value::Text(format!("tcp://127.0.0.1:{port}"));
            changes.push(("p2p.laddr", here(own.p2p)));
            changes.push(("rpc.laddr", here(own.rpc)));
            changes.push(("proxy_app", here(own.application)));
            changes.push(("instrumentation.prometheus", Value::Bool(true)));
            let metrics = Value::Text(format!("127.0.0.1:{}", own.metrics));
            changes.push(("instrumentation.prometheus_listen_addr", metrics));
        }
        None => changes.push(("p2p.laddr", Value::Text(format!("tcp://0.0.0.0:{}", plan.port)))),
    }
    changes
}

/// Reads a home that was just written. Two nodes that share a key file would sign twice, so every path must lie below
/// the node's own home.
fn load(home: &Home) -> Result<Config, CliError> {
    let (config, _) = Config::load(home, &Overrides::default())?;
    let files = &config.files;
    let paths = [&files.genesis, &files.priv_validator_key, &files.priv_validator_state, &files.node_key, &files.wal];
    let outside =
        |path: &Path| !path.starts_with(home.path()) || path.components().any(|part| part.as_os_str() == "..");
    if let Some(path) = paths.into_iter().chain([&files.addr_book, &config.storage.dir]).find(|path| outside(path)) {
        let what = format!("{} is outside the node's home: all nodes would share it", path.display());
        return Err(CliError { exit: Exit::Config, text: format!("{what}\n  next: use relative paths in --config") });
    }
    Ok(config)
}

fn genesis(args: &TestnetArgs, chain_id: ChainId, algorithm: Algorithm, made: &[Made]) -> GenesisDoc {
    let validator = |node: &Made| GenesisValidator {
        address: Address::from(&node.validator),
        public_key: node.validator,
        power: GenesisValidator::USUAL_POWER,
        name: node.plan.name.clone(),
    };
    GenesisDoc {
        genesis_time: Time::from(SystemTime::now()),
        chain_id,
        initial_height: Height::new(args.initial_height.max(1)),
        consensus_params: ConsensusParams::default(),
        validators: made
            .iter()
            .filter(|node| node.plan.role == Role::Validator || mutant!("F101"))
            .map(validator)
            .collect(),
        app_hash: Bytes::new(),
        app_state: Bytes::new(),
        algorithm,
    }
}

// ----------------------------------------------------------------------------------------------------------- report

fn report(args: &TestnetArgs, genesis: &GenesisDoc, made: &[Made], out: &Output) {
    match out.reader {
        Reader::Program => out.line(&format!("{:#}", machine_form(args, genesis, made))),
        Reader::Person => out.line(&screen(args, genesis, made)),
    }
}

/// Commands that start what was made.
fn next_commands(args: &TestnetArgs, made: &[Made]) -> Vec<String> {
    let start = |home: &Path| format!("quorate start --home {} --proxy_app=kvstore", home.display());
    match args.single_host {
        true => made.iter().map(|node| start(node.plan.home.path())).collect(),
        false => vec![start(Path::new("NODE_DIRECTORY"))],
    }
}

fn machine_form(args: &TestnetArgs, genesis: &GenesisDoc, made: &[Made]) -> serde_json::Value {
    let node = |node: &Made| {
        let plan = &node.plan;
        let here = |port: u16| format!("127.0.0.1:{port}");
        json!({
            "name": plan.name,
            "home": plan.home.path(),
            "moniker": plan.moniker,
            "validator": plan.role == Role::Validator,
            "node_id": plan.key.id().to_string(),
            "validator_address": Address::from(&node.validator).to_string(),
            "p2p": format!("{}:{}", plan.host, plan.port),
            "rpc": plan.own.map(|own| here(own.rpc)),
            "application": plan.own.map(|own| here(own.application)),
            "metrics": plan.own.map(|own| here(own.metrics)),
        })
    };
    json!({
        "directory": args.o,
        "chain_id": genesis.chain_id.as_str(),
        "algorithm": genesis.algorithm.name(),
        "tolerates": tolerance(genesis),
        "nodes": made.iter().map(node).collect::<Vec<_>>(),
        "next": next_commands(args, made),
    })
}

fn screen(args: &TestnetArgs, genesis: &GenesisDoc, made: &[Made]) -> String {
    let mut screen = String::new();
    let (validators, chain) = (genesis.validators.len(), &genesis.chain_id);
    let _ = writeln!(
        screen,
        "made   {} homes of chain {chain} ({}), which {validators} validators decide\n\
         failures survived: {}\n",
        made.len(),
        genesis.algorithm,
        tolerance(genesis)
    );
    let (id, address) = ("node id", "validator address");
    screen += &match args.single_host {
        true => table(&["home", "role", "peers call", "rpc", "application", "metrics", id, address], &rows(made)),
        false => table(&["home", "role", "peers call", id, address], &rows(made)),
    };
    screen += match args.single_host {
        true => {
            "\nnext   in a terminal for each node (--proxy_app=kvstore is the built-in example; without it the node\n       \
             waits for your application at the port above):\n"
        }
        false => "\nnext   copy each directory to its machine, and there:\n",
    };
    for command in next_commands(args, made) {
        let _ = writeln!(screen, "       {command}");
    }
    screen
}

fn rows(made: &[Made]) -> Vec<Vec<String>> {
    let row = |node: &Made| {
        let plan = &node.plan;
        let role = if plan.role == Role::Validator { "validator" } else { "follower" };
        let host = format!("{}:{}", plan.host, plan.port);
        let mut row = vec![plan.home.path().display().to_string(), role.to_owned(), host];
        row.extend(
            plan.own.iter().flat_map(|own| [own.rpc, own.application, own.metrics]).map(|port| port.to_string()),
        );
        row.extend([plan.key.id().to_string(), Address::from(&node.validator).to_string()]);
        row
    };
    made.iter().map(row).collect()
}

#[cfg(test)]
mod tests;
