//! What may be said on the command line. Names follow CometBFT; dashed commands have underscore spellings too.

use super::numbers;
use crate::config::{ConfigError, Home, Key, Overrides};
use crate::forming::RPC_ABOVE_P2P;
use crate::sim::Level;
use clap::{ArgAction, Args, FromArgMatches, Parser, Subcommand};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// One node that replicates any application behind an ABCI 2.0 socket.
#[derive(Debug, Parser)]
#[command(name = "quorate", version, max_term_width = 120, arg_required_else_help = true)]
#[command(after_help = "First minute:\n  quorate init\n  quorate start --proxy_app=kvstore\n  quorate status\n\n\
    A development cluster, one line in each of three terminals:\n  \
    quorate --node-id node-1 --port 8080 --peers 127.0.0.1:8081 --peers 127.0.0.1:8082\n  \
    quorate --node-id node-2 --port 8081 --peers 127.0.0.1:8080 --peers 127.0.0.1:8082\n  \
    quorate --node-id node-3 --port 8082 --peers 127.0.0.1:8080 --peers 127.0.0.1:8081")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(flatten)]
    pub(super) development: DevelopmentArgs,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// The form without a command: a development node, alone or with peers that know nothing but each other's addresses.
#[derive(Debug, Args)]
#[command(next_help_heading = "A development node, without a command")]
pub(super) struct DevelopmentArgs {
    /// Name of the node: letters, digits, dots and dashes
    #[arg(long = "node-id", alias = "node_id", value_name = "NAME")]
    pub(super) node_id: Option<String>,
    /// Port peers call; clients call the port 1000 above
    #[arg(long, value_name = "PORT", value_parser = development_port)]
    pub(super) port: Option<u16>,
    /// Address to listen on, as the other nodes name it [default: 127.0.0.1]
    #[arg(long, value_name = "HOST")]
    pub(super) host: Option<String>,
    /// Another node, as HOST:PORT; once for each, on every node
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub(super) peers: Vec<String>,
    /// How the nodes agree: raft, pbft or tendermint [default: what the home has, else CONSENSUS_ALGORITHM, else raft]
    #[arg(long, value_name = "NAME")]
    pub(super) algorithm: Option<String>,
}

/// A port that leaves room for the one above that serves clients.
fn development_port(text: &str) -> Result<u16, String> {
    let most = u16::MAX - RPC_ABOVE_P2P;
    let port = text.parse().ok().filter(|port| (1..=most).contains(port));
    port.ok_or_else(|| {
        format!(
            "a port is a number from 1 to {most}, because the port {RPC_ABOVE_P2P} above serves clients; as --port 8080"
        )
    })
}

impl DevelopmentArgs {
    /// The first flag given, if any.
    pub(super) fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--node-id", self.node_id.is_some()),
            ("--port", self.port.is_some()),
            ("--host", self.host.is_some()),
            ("--peers", !self.peers.is_empty()),
            ("--algorithm", self.algorithm.is_some()),
        ];
        flags.into_iter().find(|(_, given)| *given).map(|(flag, _)| flag)
    }
}

/// Flags of every command.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Home directory [default: ~/.quorate, or the environment's QUORATE_HOME]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// What to log: LEVEL or MODULE:LEVEL,…,*:LEVEL with debug, info, warn, error, none [default: info]
    #[arg(long = "log_level", alias = "log-level", global = true, value_name = "LEVELS")]
    log_level: Option<String>,
    /// How to log: plain or json [default: plain]
    #[arg(long = "log-format", alias = "log_format", global = true, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// With `simulate --seed`: print every event. Elsewhere accepted for CometBFT's sake: errors always say their cause
    #[arg(long, global = true, hide = true)]
    pub(super) trace: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make what a new node needs: config.toml, node key, validator key, genesis. Overwrites nothing
    Init(InitArgs),
    /// Run the node until Ctrl-C
    #[command(aliases = ["node", "run"])]
    Start(StartFlags),
    /// Show how the running node is doing
    Status(StatusArgs),
    /// Say why there is no new block; the exit code is 0 when blocks are coming or nothing waits for one, 1 when not
    Why(StatusArgs),
    /// Show the peers of the running node, how far behind they are, and the addresses it calls
    Net(StatusArgs),
    /// Make the homes of a whole network: keys, one genesis for all, config.toml with everybody's address
    Testnet(TestnetArgs),
    /// Proof that validators broke the rules: list it, show a piece, or check one from scratch
    #[command(subcommand)]
    Evidence(EvidenceCommand),
    /// Run networks of replicas, or your own application, with faults, and check every rule; 1 when one is broken
    Simulate(SimulateArgs),
    /// For those who test a node: see `quorate debug --help`
    #[command(subcommand)]
    Debug(DebugCommand),
    /// Print the version
    Version(VersionArgs),
    /// Print the id peers know this node by
    #[command(alias = "show_node_id")]
    ShowNodeId,
    /// Print the validator's public key
    #[command(alias = "show_validator")]
    ShowValidator,
    /// Make a node key and print its id; fails when there is one
    #[command(alias = "gen_node_key")]
    GenNodeKey,
    /// Print a new validator key, private part included; writes nothing
    #[command(alias = "gen_validator")]
    GenValidator,
    /// Delete all blocks and states; what the validator signed is kept, so that it cannot sign twice
    #[command(alias = "reset_state")]
    ResetState,
    /// Delete all blocks and states and let the validator sign from height 0 again
    #[command(alias = "unsafe_reset_all")]
    UnsafeResetAll(ResetArgs),
    /// Let the validator sign from height 0 again. On a chain that goes on, this is how one signs twice
    #[command(alias = "unsafe_reset_priv_validator")]
    UnsafeResetPrivValidator,
    /// Move the validator's sign state forward, behind everything it may have signed; for a state that was lost
    #[command(alias = "advance_sign_state")]
    AdvanceSignState(AdvanceArgs),
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Name of the chain [default: test-chain- and six random letters]
    #[arg(long = "chain-id", alias = "chain_id", value_name = "NAME")]
    pub(super) chain_id: Option<String>,
    /// How the nodes of the chain agree: tendermint, pbft or raft [default: CONSENSUS_ALGORITHM, else tendermint]
    #[arg(long, value_name = "NAME")]
    pub(super) algorithm: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// RPC address of the node [default: the one running in the home]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) node: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum DebugCommand {
    /// List the places where QUORATE_CRASH_POINT=NAME:HIT makes a process die, as by kill -9
    CrashPoints,
}

#[derive(Debug, Subcommand)]
pub(super) enum EvidenceCommand {
    /// List what waits for a block, then what blocks proved, newest first
    List(EvidenceRange),
    /// Show one piece: who did what, when, and where it is proven
    Show(EvidencePiece),
    /// Check one piece from scratch and give the verdict; the exit code is 0 when it is true, 1 when it is not
    Verify(EvidencePiece),
}

/// Where to look for evidence.
#[derive(Debug, Args)]
pub(super) struct EvidenceRange {
    /// RPC address of a node, ours or CometBFT's [default: the home's store when its node is stopped, else its node]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) node: Option<String>,
    /// Lowest block to look into [default: 10000 blocks below --to]
    #[arg(long, value_name = "HEIGHT")]
    pub(super) from: Option<u64>,
    /// Highest block to look into [default: the newest]
    #[arg(long, value_name = "HEIGHT")]
    pub(super) to: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct EvidencePiece {
    /// The piece's hash or its first 6 digits or more; or a file with JSON, hex, base64 or bytes; - for standard input
    #[arg(value_name = "HASH|FILE")]
    pub(super) piece: String,
    #[command(flatten)]
    pub(super) range: EvidenceRange,
}

/// Flags and defaults of CometBFT's `testnet`; the last three are ours.
#[derive(Debug, Args)]
#[command(after_help = "On one machine:\n  quorate testnet --single-host\n\nOn several:\n  \
    quorate testnet --v 4 --o ./output --starting-ip-address 192.168.10.2")]
pub(super) struct TestnetArgs {
    /// Validators
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    pub(super) v: u16,
    /// Nodes that follow without voting
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(super) n: u16,
    /// Where to make the homes
    #[arg(long, value_name = "DIR", default_value = "./mytestnet")]
    pub(super) o: PathBuf,
    /// A config.toml to begin from; names and addresses in it are replaced
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Name of each home: node gives node0, node1, …
    #[arg(long = "node-dir-prefix", value_name = "WORD", default_value = "node")]
    pub(super) node_dir_prefix: String,
    /// Height of the first block; 0 means 1
    #[arg(long = "initial-height", value_name = "HEIGHT", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(..=crate::types::GenesisDoc::INITIAL_HEIGHT_MAX))]
    pub(super) initial_height: u64,
    /// Write everybody's address into everybody's config.toml
    #[arg(long = "populate-persistent-peers", value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) populate_persistent_peers: bool,
    /// Begin of each node's host name: node gives ID0@node0:26656, ID1@node1:26656, …
    #[arg(long = "hostname-prefix", value_name = "WORD", default_value = "node")]
    pub(super) hostname_prefix: String,
    /// End of each node's host name: .xyz.com gives ID0@node0.xyz.com:26656, …
    #[arg(long = "hostname-suffix", value_name = "WORD", default_value = "")]
    pub(super) hostname_suffix: String,
    /// Address of the first node; the others have the next ones
    #[arg(long = "starting-ip-address", value_name = "IP")]
    pub(super) starting_ip_address: Option<Ipv4Addr>,
    /// Host of a node, once for each validator and each other node
    #[arg(long, value_name = "HOST")]
    pub(super) hostname: Vec<String>,
    /// Port where peers call; with --single-host the first of all ports
    #[arg(long = "p2p-port", value_name = "PORT", default_value_t = 26656)]
    pub(super) p2p_port: u16,
    /// Random names for people to see
    #[arg(long = "random-monikers", value_name = "BOOL", default_value_t = false, action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(super) random_monikers: bool,
    /// All nodes on this machine: 127.0.0.1, ten ports apart
    #[arg(long = "single-host", conflicts_with_all = ["hostname", "starting_ip_address"])]
    pub(super) single_host: bool,
    /// Name of the chain [default: chain- and six random letters]
    #[arg(long = "chain-id", alias = "chain_id", value_name = "NAME")]
    pub(super) chain_id: Option<String>,
    /// How the nodes agree: tendermint, pbft or raft [default: CONSENSUS_ALGORITHM, else tendermint]
    #[arg(long, value_name = "NAME")]
    pub(super) algorithm: Option<String>,
}

/// What to simulate. What is not said is drawn from the seed.
#[derive(Debug, Args)]
#[command(after_help = "A thousand seeds:\n  quorate simulate --algorithm pbft\n\nOne seed, event by event:\n  \
    quorate simulate --algorithm pbft --seed 42 --trace\n\nYour own application, killed, restarted and compared:\n  \
    quorate simulate --app-command 'python3 app.py --socket {socket} --home {home}'")]
pub(super) struct SimulateArgs {
    /// The protocol: tendermint, pbft or raft
    #[arg(long, value_name = "NAME", conflicts_with_all = ["app", "app_command"])]
    pub(super) algorithm: Option<String>,
    /// 1: protocol machines alone; 2: whole replicas
    #[arg(long, value_name = "LEVEL", default_value = "1", value_parser = numbers::level, allow_negative_numbers = true)]
    #[arg(conflicts_with_all = ["app", "app_command"])]
    pub(super) level: Level,
    /// Run this seed alone and tell about it; with --trace every event goes to standard output as a line of JSON
    #[arg(long, value_name = "SEED", value_parser = numbers::seed, allow_negative_numbers = true)]
    #[arg(conflicts_with_all = ["seeds", "from", "minutes"])]
    pub(super) seed: Option<u64>,
    /// How many seeds [default: 1000]
    #[arg(long, value_name = "COUNT", value_parser = numbers::seeds, allow_negative_numbers = true)]
    #[arg(conflicts_with = "minutes")]
    pub(super) seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 0, value_parser = numbers::seed, allow_negative_numbers = true)]
    pub(super) from: u64,
    /// Run seeds for this long instead
    #[arg(long, value_name = "MINUTES", value_parser = numbers::minutes, allow_negative_numbers = true)]
    pub(super) minutes: Option<f64>,
    /// How many nodes
    #[arg(long, value_name = "COUNT", value_parser = numbers::nodes, allow_negative_numbers = true)]
    pub(super) nodes: Option<u8>,
    /// How many heights every honest node must decide and apply
    #[arg(long, value_name = "COUNT", value_parser = numbers::heights, allow_negative_numbers = true)]
    pub(super) heights: Option<u64>,
    /// No faults, no liars, no bad weather
    #[arg(long)]
    pub(super) calm: bool,
    /// If the seed breaks a rule, take as long as it needs to leave out of its plan what that does not need; a trace is of
    /// what is left then. Without it this ends after a minute
    #[arg(long, requires = "seed")]
    pub(super) shrink: bool,
    /// Write every event to this file, as lines of JSON
    #[arg(long = "trace-file", alias = "trace_file", value_name = "FILE")]
    pub(super) trace_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) app: AppArgs,
}

/// Longest time an answer of somebody's application may take, in seconds, unless said.
pub(super) const CALL_TIMEOUT_DEFAULT: f64 = 10.0;

/// Somebody's own application instead of a network.
#[derive(Debug, Args)]
#[command(next_help_heading = "Your own application, led through the faults of a node over its ABCI socket")]
pub(super) struct AppArgs {
    /// How to start it: {socket}, {address} (unix://…), {port} and {home} are replaced. Each instance has its own, is killed
    /// and started again; --nodes says how many [default: 3]
    #[arg(long = "app-command", alias = "app_command", value_name = "COMMAND", conflicts_with = "app")]
    pub(super) app_command: Option<String>,
    /// An instance that runs already, with no data: unix://PATH or tcp://HOST:PORT. Once for each; two or more are compared
    #[arg(long, value_name = "ADDRESS")]
    pub(super) app: Vec<String>,
    /// Transactions, one a line: text, or 0x and hexadecimal digits [default: key=value and the like, drawn]
    #[arg(long, value_name = "FILE", conflicts_with = "algorithm")]
    pub(super) txs: Option<PathBuf>,
    /// A genesis file for InitChain: validators, parameters, app_state [default: drawn]
    #[arg(long, value_name = "FILE", conflicts_with = "algorithm")]
    pub(super) genesis: Option<PathBuf>,
    /// Ask for vote extensions from the first height on
    #[arg(long = "vote-extensions", alias = "vote_extensions", conflicts_with = "algorithm")]
    pub(super) vote_extensions: bool,
    /// Longest time an answer may take, in seconds
    #[arg(long = "call-timeout", alias = "call_timeout", value_name = "SECONDS", default_value_t = CALL_TIMEOUT_DEFAULT)]
    #[arg(allow_negative_numbers = true)]
    pub(super) call_timeout: f64,
    /// Only these faults of the seed, by their numbers in the report
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', value_parser = numbers::fault)]
    #[arg(requires = "seed", conflicts_with_all = ["calm", "algorithm"])]
    pub(super) only: Option<Vec<u32>>,
}

impl AppArgs {
    /// True when it is an application that is meant.
    pub(super) fn is_given(&self) -> bool {
        self.app_command.is_some() || !self.app.is_empty()
    }
}

#[derive(Debug, Args)]
pub(super) struct VersionArgs {
    /// Print protocol versions too, as JSON
    #[arg(short, long)]
    pub(super) verbose: bool,
}

#[derive(Debug, Args)]
pub(super) struct AdvanceArgs {
    /// Sign nothing up to this height and at it [default: the height after the newest stored block]
    #[arg(long, value_name = "HEIGHT", conflicts_with = "trust_journal")]
    pub(super) height: Option<u64>,
    /// Sign whatever blocks and journal do not show as signed. Only where cs.wal is this validator's own and newest
    #[arg(long = "trust-journal", alias = "trust_journal")]
    pub(super) trust_journal: bool,
}

#[derive(Debug, Args)]
pub(super) struct ResetArgs {
    /// Keep the addresses of peers
    #[arg(long = "keep-addr-book", alias = "keep_addr_book")]
    pub(super) keep_addr_book: bool,
}

impl Common {
    /// The home meant.
    pub(super) fn home(&self) -> Result<Home, ConfigError> {
        Home::find(self.home.as_deref(), |name| std::env::var(name).ok())
    }

    /// What these flags and the environment say about the configuration.
    pub(super) fn overrides(&self) -> Overrides {
        // Names and values that are not UTF-8 cannot be keys of ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let log_level = self.log_level.clone().map(|value| ("log_level", "log_level", value));
        let log_format = self.log_format.clone().map(|value| ("log-format", "log_format", value));
        Overrides { flags: log_level.into_iter().chain(log_format).collect(), environment }
    }

    /// True when the command line names the home, so that commands it is told next must name it too.
    pub(super) fn names_home(&self) -> bool {
        self.home.is_some()
    }

    /// True when the command line says what to log.
    pub(super) fn sets_log_level(&self) -> bool {
        self.log_level.is_some()
    }
}

/// A flag of `start` that sets a key of the configuration.
struct StartFlag {
    /// As CometBFT spells it.
    name: &'static str,
    /// Another spelling, for those that are typed by hand.
    alias: Option<&'static str>,
    key: &'static str,
    help: &'static str,
}

const fn flag(name: &'static str, help: &'static str) -> StartFlag {
    StartFlag { name, alias: None, key: name, help }
}

const fn dashed(name: &'static str, alias: &'static str, help: &'static str) -> StartFlag {
    StartFlag { name, alias: Some(alias), key: name, help }
}

/// All flags of `start` (reference §1.3), and ours. 28 flags.
const START_FLAGS: &[StartFlag] = &[
    dashed(
        "proxy_app",
        "proxy-app",
        "The application: tcp://HOST:PORT, unix://PATH, or built in: kvstore, persistent_kvstore, noop",
    ),
    StartFlag {
        name: "algorithm",
        alias: None,
        key: "consensus.algorithm",
        help: "Refuse to start unless the chain runs this protocol: tendermint, pbft or raft",
    },
    flag("moniker", "Name of the node, for people"),
    flag("abci", "How the application is reached: socket"),
    flag("genesis_hash", "SHA-256 the genesis file must have, in hexadecimal"),
    flag("priv_validator_laddr", "Where to wait for a remote signer (not supported yet)"),
    dashed("db_backend", "db-backend", "Store: rocksdb or redb"),
    dashed("db_dir", "db-dir", "Directory of the store, below the home"),
    flag("rpc.laddr", "Where clients call"),
    flag("rpc.grpc_laddr", "Where gRPC clients call (not supported)"),
    flag("rpc.unsafe", "Serve unsafe RPC methods"),
    flag("rpc.pprof_laddr", "Accepted for CometBFT's sake, without effect"),
    flag("p2p.laddr", "Where peers call"),
    StartFlag {
        name: "p2p.external-address",
        alias: Some("p2p.external_address"),
        key: "p2p.external_address",
        help: "What peers dial, as HOST:PORT",
    },
    flag("p2p.seeds", "Whom to ask for peers: ID@HOST:PORT,…"),
    flag("p2p.persistent_peers", "Peers to stay connected with: ID@HOST:PORT,…"),
    flag("p2p.unconditional_peer_ids", "Peers that may exceed the limits: ID,…"),
    flag("p2p.pex", "Exchange addresses of peers"),
    flag("p2p.seed_mode", "Only collect and give addresses"),
    flag("p2p.private_peer_ids", "Peers whose addresses are not told: ID,…"),
    flag("p2p.peers_only", "The only peers that may connect: ID,…"),
    flag("consensus.double_sign_check_height", "Refuse to start when the own key signed one of so many last blocks"),
    StartFlag {
        name: "skip-doppelganger-check",
        alias: Some("skip_doppelganger_check"),
        key: "consensus.skip_doppelganger_check",
        help: "Sign at once, without listening for the own key first; only when no other node can have it",
    },
    flag("consensus.create_empty_blocks", "Make blocks without transactions"),
    flag("consensus.create_empty_blocks_interval", "Longest silence before an empty block"),
    flag("consensus.timeout_commit", "Pause after each block"),
    flag("instrumentation.prometheus", "Serve metrics"),
    flag("instrumentation.prometheus_listen_addr", "Where to serve metrics"),
];

/// The flags of `start` that were given.
#[derive(Debug, Default)]
pub(super) struct StartFlags {
    given: Vec<(&'static str, &'static str, String)>,
}

impl StartFlags {
    /// Adds what these flags say about the configuration.
    pub(super) fn add_to(self, overrides: &mut Overrides) {
        overrides.flags.extend(self.given);
    }
}

impl FromArgMatches for StartFlags {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<StartFlags, clap::Error> {
        let mut flags = StartFlags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        let given = |flag: &StartFlag| Some((flag.name, flag.key, matches.get_one::<String>(flag.name)?.clone()));
        self.given = START_FLAGS.iter().filter_map(given).collect();
        Ok(())
    }
}

impl Args for StartFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(START_FLAGS.iter().map(|flag| {
            let arg = clap::Arg::new(flag.name).long(flag.name).help(flag.help).action(ArgAction::Set);
            let arg = flag.alias.map_or(arg.clone(), |alias| arg.alias(alias));
            if Key::named(flag.key).is_some_and(Key::is_switch) {
                // As in Go: --rpc.unsafe alone means true, otherwise --rpc.unsafe=false.
                arg.value_name("BOOL").num_args(0..=1).require_equals(true).default_missing_value("true")
            } else {
                arg.value_name("VALUE").allow_hyphen_values(true)
            }
        }))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        StartFlags::augment_args(command)
    }
}
