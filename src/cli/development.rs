//! The form without a command: `quorate --node-id node-1 --port 8080 [--peers HOST:PORT]…`.
//!
//! It makes a home when there is none, agrees with the peers on a genesis when the home has none, and then runs the
//! node like any other. The home lies below the user's own directory, not below the working directory: a node that is
//! started again from elsewhere must find its keys, or it would be another node with the same name.

use super::algorithm::chosen;
use super::args::{Common, DevelopmentArgs};
use super::error::Exit;
use super::log::{self, Precedence};
use super::output::Output;
use super::run::{run_here, runtime};
use super::{CliError, init, start};
use crate::config::atomic::{self, Access};
use crate::config::{
    Config, ConfigError, Home, HomeLock, Overrides, Template, Value, Warning, load_genesis, read_text, set_keys,
};
use crate::forming::{self, FormingError, ListError, Members, Memory, MemoryError, Network, NodeAddress, Statement};
use crate::types::{Algorithm, Time};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::SystemTime;
use tokio::net::TcpListener;

/// Directory of development homes below `~/.quorate`.
pub(super) const FOLDER: &str = "dev";
const REMARK: &str =
    "development only: no access control, keys unprotected in the home, nobody checked who the peers are";
const EXAMPLE: &str = "quorate --node-id node-1 --port 8080";

/// What the command line says, checked.
struct Wanted {
    name: String,
    own: NodeAddress,
    members: Members,
    /// None when neither flag nor environment names one.
    algorithm: Option<Algorithm>,
    home: Home,
}

pub(super) fn run(common: &Common, args: &DevelopmentArgs, out: &Output) -> Result<(), CliError> {
    let wanted = wanted(common, args)?;
    wanted.home.create()?;
    let lock = HomeLock::take(&wanted.home)?;
    let overrides = overrides(common, args, &wanted);
    let memory = Memory::load(&memory_file(&wanted.home)).map_err(memory_error)?;
    // Checked before the first file is made, or anything is changed.
    check_home(&wanted, memory.as_ref())?;
    make_config(&wanted)?;
    let (config, warnings) = Config::load(&wanted.home, &overrides)?;
    let precedence = if common.sets_log_level() { Precedence::Flag } else { Precedence::Variable };
    log::install(&config.log, precedence)?;
    runtime()?.block_on(async {
        if !config.files.genesis.exists() {
            let memory = remember(&wanted, &config, memory)?;
            let network = agree(&wanted, memory).await?;
            settle(&wanted, &config, &network)?;
        }
        begin(&wanted, &overrides, warnings, lock, out).await
    })
}

/// Runs the node of a home that has everything.
async fn begin(
    wanted: &Wanted,
    overrides: &Overrides,
    warnings: Vec<Warning>,
    lock: HomeLock,
    out: &Output,
) -> Result<(), CliError> {
    // Read again: forming has written the peers into it.
    let (config, _) = Config::load(&wanted.home, overrides)?;
    let genesis = load_genesis(&config.files.genesis, config.genesis_hash.as_ref())?;
    let plan = start::open_keys(config, warnings, genesis, lock)?;
    run_here(plan, Some(REMARK), out).await
}

// ------------------------------------------------------------------------------------------------- the command line

fn usage(what: impl std::fmt::Display, next: impl std::fmt::Display) -> CliError {
    CliError { exit: Exit::Usage, text: format!("{what}\n  next: {next}") }
}

fn wanted(common: &Common, args: &DevelopmentArgs) -> Result<Wanted, CliError> {
    if args.given().is_none() {
        return Err(usage("no command is given, and no --node-id and --port of a development node", "quorate --help"));
    }
    let name = args.node_id.clone().ok_or_else(|| usage("flag --node-id is missing: the node's name", EXAMPLE))?;
    if !forming::is_name(&name) {
        let max = forming::NAME_CHARS_MAX;
        let what = format!("flag --node-id: {name:?} is no name of 1 to {max} letters, digits, dots and dashes");
        return Err(usage(what, EXAMPLE));
    }
    let port = args.port.ok_or_else(|| usage("flag --port is missing: where peers call", EXAMPLE))?;
    let host = args.host.clone().unwrap_or_else(|| Ipv4Addr::LOCALHOST.to_string());
    let own = NodeAddress::new(&host, port).map_err(|why| usage(format!("flags --host and --port: {why}"), EXAMPLE))?;
    let peers = args.peers.iter().map(|text| text.parse::<NodeAddress>()).collect::<Result<Vec<_>, _>>();
    let peers =
        peers.map_err(|why| usage(format!("flag --peers: {why}"), format!("{EXAMPLE} --peers 127.0.0.1:8081")))?;
    let members = Members::new(&own, &peers).map_err(|why| {
        let next = match why {
            ListError::Overlap { .. } => "give the nodes ports less than 1000 apart",
            ListError::Twice(_) | ListError::TooMany(_) => "name each other node once with --peers",
        };
        usage(format!("flag --peers: {why}"), next)
    })?;
    if !peers.is_empty() && members.all().len() == 1 {
        let what = format!("flag --peers: {own} is this node's own address, and nobody else is named");
        return Err(usage(
            what,
            format!("name the others, as --peers 127.0.0.1:8081; or, for a node alone: {EXAMPLE}"),
        ));
    }
    let algorithm = chosen(args.algorithm.as_deref(), |name| std::env::var(name).ok(), EXAMPLE)?;
    Ok(Wanted { home: home(common, &name)?, name, own, members, algorithm })
}

/// As said by flag or environment, else one of its own for each name.
fn home(common: &Common, name: &str) -> Result<Home, CliError> {
    let set = |variable: &str| std::env::var(variable).is_ok_and(|value| !value.is_empty());
    let home = common.home()?;
    if common.names_home() || set(Home::VARIABLE) {
        return Ok(home);
    }
    Ok(Home::new(home.path().join(FOLDER).join(name)))
}

/// What the command line and the environment say about the configuration.
fn overrides(common: &Common, args: &DevelopmentArgs, wanted: &Wanted) -> Overrides {
    let mut overrides = common.overrides();
    let algorithm = args.algorithm.clone().map(|name| ("algorithm", "consensus.algorithm", name));
    overrides.flags.extend(algorithm);
    overrides.flags.extend([
        ("node-id", "moniker", wanted.name.clone()),
        ("port", "p2p.laddr", format!("tcp://{}", wanted.own)),
        ("port", "rpc.laddr", format!("tcp://{}", wanted.own.rpc())),
    ]);
    overrides
}

// ---------------------------------------------------------------------------------------------------------- the home

fn memory_file(home: &Home) -> PathBuf {
    home.path().join("config/forming.json")
}

fn memory_error(error: MemoryError) -> CliError {
    CliError { exit: Exit::Config, text: error.to_string() }
}

/// A home keeps its name, its place in its network and its protocol. What was only said and never promised may change.
fn check_home(wanted: &Wanted, memory: Option<&Memory>) -> Result<(), CliError> {
    let path = wanted.home.path().display();
    let genesis = wanted.home.path().join("config/genesis.json");
    let refuse =
        |what: String, next: String| Err(CliError { exit: Exit::Config, text: format!("{what}\n  next: {next}") });
    let anew = format!("for a new network: rm -r {path} (on all its nodes)");
    match memory {
        None if genesis.exists() => {
            let what = format!("{path} was not made by this form: its genesis comes from somewhere else");
            refuse(what, format!("quorate start --home {path}, or choose another --home"))
        }
        Some(Memory { own, .. }) if own.name != wanted.name => {
            let what =
                format!("{path} is the home of {}, not of {}: a home has the keys of one node", own.name, wanted.name);
            refuse(what, format!("start it with --node-id {}, or choose another --home", own.name))
        }
        Some(Memory { own, promise: Some(_) }) if own.address != wanted.own => {
            let what = format!("{path} agreed on its network at {}, and is started at {}", own.address, wanted.own);
            let host = own.address.host();
            refuse(what, format!("start it with --host {host} --port {}; {anew}", own.address.port()))
        }
        Some(Memory { own, promise: Some(_) }) if own.members != wanted.members => {
            let what = format!(
                "{path} agreed on a network of {}, and is started with {}: the list of a network stays as it was",
                own.members, wanted.members
            );
            let flags = own.members.flags(&own.address);
            let same =
                if flags.is_empty() { "start it without --peers".to_owned() } else { format!("start it with {flags}") };
            refuse(what, format!("{same}; {anew}"))
        }
        Some(Memory { own, promise: Some(_) }) if wanted.algorithm.is_some_and(|wanted| wanted != own.algorithm) => {
            let asked = wanted.algorithm.map(Algorithm::name).unwrap_or_default();
            let what = format!("{path} agreed on a network under {}, and {asked} is asked for", own.algorithm);
            refuse(what, format!("start it with --algorithm {}; {anew}", own.algorithm))
        }
        _ => Ok(()),
    }
}

/// A config.toml that also `quorate start --home` can use.
fn make_config(wanted: &Wanted) -> Result<(), CliError> {
    let path = wanted.home.config_file();
    if path.exists() {
        return Ok(());
    }
    let changes = [
        ("proxy_app", Value::Text("kvstore".to_owned())),
        ("moniker", Value::Text(wanted.name.clone())),
        ("p2p.laddr", Value::Text(format!("tcp://{}", wanted.own))),
        ("p2p.addr_book_strict", Value::Bool(false)),
        ("p2p.allow_duplicate_ip", Value::Bool(true)),
        ("rpc.laddr", Value::Text(format!("tcp://{}", wanted.own.rpc()))),
        // Several nodes on one machine would want the same port.
        ("instrumentation.prometheus", Value::Bool(false)),
    ];
    write_config(wanted, &set_keys(&Template::text(), &path, &changes)?)
}

fn write_config(wanted: &Wanted, text: &str) -> Result<(), CliError> {
    let path = wanted.home.config_file();
    atomic::write(&path, text.as_bytes(), Access::Everyone).map_err(|why| ConfigError::io("write", &path, why))?;
    Ok(())
}

// ----------------------------------------------------------------------------------------------------------- forming

/// What this node says of itself, durable before it is said.
fn remember(wanted: &Wanted, config: &Config, memory: Option<Memory>) -> Result<Memory, CliError> {
    let (_, node_id) = init::node_key(config)?;
    let (_, validator) = init::validator_key(config)?;
    let created = match memory {
        Some(Memory { promise: Some(_), own }) if own.node_id != node_id || own.validator != validator => {
            let what = format!("the keys of {} are not those all agreed on", wanted.home.path().display());
            let next = "put the old key files back; or stop all nodes, remove all their homes, and start them again";
            return Err(CliError { exit: Exit::Config, text: format!("{what}\n  next: {next}") });
        }
        Some(memory @ Memory { promise: Some(_), .. }) => return Ok(memory),
        Some(Memory { own, promise: None }) => own.created,
        None => Time::from(SystemTime::now()),
    };
    let own = Statement {
        name: wanted.name.clone(),
        address: wanted.own.clone(),
        members: wanted.members.clone(),
        algorithm: wanted.algorithm.unwrap_or(Algorithm::Raft),
        node_id,
        validator,
        created,
        agreed: None,
    };
    let memory = Memory { own, promise: None };
    memory.save(&memory_file(&wanted.home)).map_err(memory_error)?;
    Ok(memory)
}

async fn agree(wanted: &Wanted, memory: Memory) -> Result<Network, CliError> {
    // Taken early, so that a port in use is found before anybody waits; nobody is answered there while forming.
    let _peers = listen(&wanted.own.to_string(), "--port").await?;
    let clients = listen(&wanted.own.rpc(), "--port (clients call the port 1000 above)").await?;
    tracing::info!("forming a {} network of {} (development only)", memory.own.algorithm, wanted.members);
    let formed = forming::form(memory, &memory_file(&wanted.home), clients, &mut |line| tracing::info!("{line}")).await;
    formed.map_err(|error| match &error {
        FormingError::Refused(_) | FormingError::Door(_) => CliError { exit: Exit::Failed, text: error.to_string() },
        FormingError::Memory(_) => CliError { exit: Exit::Config, text: error.to_string() },
    })
}

async fn listen(address: &str, flag: &str) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|why| {
        let next = match why.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!("stop the other program (ss -ltnp shows it), or choose another {flag}")
            }
            std::io::ErrorKind::PermissionDenied => format!("choose another {flag}, above 1023"),
            _ => "name an address of this machine with --host".to_owned(),
        };
        CliError::failed(format!("cannot listen on {address}: {why}"), next)
    })
}

/// Writes what was agreed into the home. The genesis comes last: with it the home is one of a chain.
fn settle(wanted: &Wanted, config: &Config, network: &Network) -> Result<(), CliError> {
    let others = network.members.iter().filter(|member| member.address != wanted.own);
    let peers: Vec<_> = others.map(|member| format!("{}@{}", member.node_id, member.address)).collect();
    let path = wanted.home.config_file();
    let changes = [("p2p.persistent_peers", Value::Text(peers.join(",")))];
    crash_point!("forming.config.before");
    write_config(wanted, &set_keys(&read_text(&path)?, &path, &changes)?)?;
    crash_point!("forming.genesis.before");
    let genesis = &config.files.genesis;
    atomic::write(genesis, &network.json, Access::Everyone).map_err(|why| ConfigError::io("write", genesis, why))?;
    crash_point!("forming.genesis.after");
    tracing::info!("agreed on chain {}", network.genesis.chain_id);
    Ok(())
}

#[cfg(test)]
mod tests;
