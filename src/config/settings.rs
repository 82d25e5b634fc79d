//! The configuration as the node uses it: typed, checked, with paths resolved.

use super::value::{Address, AddressError, host_port, split_list};
use super::{Home, Origin};
use crate::crypto::Hash;
use crate::types::{Algorithm, NodeId};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// Everything a node is told by its home, its environment and its flags.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where its files are.
    pub home: Home,
    /// Its name, for people.
    pub moniker: String,
    /// What it replicates.
    pub application: Application,
    /// Requests that one of its connections is sent before their answers come.
    pub abci_requests_in_flight: NonZeroU16,
    /// Files beside the store.
    pub files: FileSettings,
    /// The store.
    pub storage: StorageSettings,
    /// Logs.
    pub log: LogSettings,
    /// RPC.
    pub rpc: RpcSettings,
    /// The network.
    pub p2p: P2pSettings,
    /// Waiting transactions.
    pub mempool: MempoolSettings,
    /// Consensus.
    pub consensus: ConsensusSettings,
    /// Metrics; none when they are off.
    pub metrics: Option<MetricsSettings>,
    /// SHA-256 the genesis file must have, if the operator named one.
    pub genesis_hash: Option<Hash>,
    /// The protocol the operator expects to be in force, if he named one. The chain says which one is.
    pub algorithm: Option<ExpectedAlgorithm>,
}

/// A protocol somebody named, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedAlgorithm {
    /// Which.
    pub algorithm: Algorithm,
    /// A flag, a variable or a line of config.toml.
    pub origin: Origin,
}

/// The application to replicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Application {
    /// A program behind a socket.
    Socket(Address),
    /// One that is part of this program.
    Builtin(Builtin),
}

/// Applications that are part of this program (reference §3.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builtin {
    /// Key-value store in memory.
    Kvstore,
    /// Key-value store on disk.
    PersistentKvstore,
    /// Accepts everything, keeps nothing.
    Noop,
}

/// Paths of files, absolute or below the working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSettings {
    /// Genesis.
    pub genesis: PathBuf,
    /// The validator's key.
    pub priv_validator_key: PathBuf,
    /// What the validator signed last.
    pub priv_validator_state: PathBuf,
    /// The node's key.
    pub node_key: PathBuf,
    /// Head file of the write-ahead log.
    pub wal: PathBuf,
    /// Known peers.
    pub addr_book: PathBuf,
}

/// Which key-value store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// RocksDB.
    RocksDb,
    /// redb.
    Redb,
    /// In memory, gone at exit.
    Memory,
}

/// What happens to the application's answers after a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// Kept for `block_results`.
    Kept,
    /// Dropped to save space.
    Discarded,
}

/// Whether transactions and blocks are indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indexing {
    /// By their events.
    On,
    /// Not at all.
    Off,
}

/// The store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageSettings {
    /// Which.
    pub backend: Backend,
    /// Where.
    pub dir: PathBuf,
    /// The application's answers.
    pub abci_responses: Keeping,
    /// The index.
    pub indexing: Indexing,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Plain,
    /// One JSON object per line.
    Json,
}

/// Logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// What is logged.
    pub levels: LogLevels,
    /// How.
    pub format: LogFormat,
}

/// `level`, or `module:level,…,*:level` (reference §1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLevels {
    /// For modules not named.
    pub default: String,
    /// Module and level.
    pub modules: Vec<(String, String)>,
}

/// The RPC server. A limit of none means unlimited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcSettings {
    /// Where it listens; nowhere when empty.
    pub listen: Vec<Address>,
    /// Web pages that may call it; `*` for all.
    pub cors_allowed_origins: Vec<String>,
    /// HTTP methods they may use.
    pub cors_allowed_methods: Vec<String>,
    /// HTTP headers they may send.
    pub cors_allowed_headers: Vec<String>,
    /// Serve `unsafe_flush_mempool` and its like.
    pub serve_unsafe: bool,
    /// Connections at once.
    pub max_open_connections: Option<u64>,
    /// Clients with subscriptions.
    pub max_subscription_clients: u64,
    /// Subscriptions of one client.
    pub max_subscriptions_per_client: u64,
    /// Events waiting for one subscriber.
    pub subscription_buffer: u64,
    /// Answers waiting for one WebSocket client.
    pub websocket_write_buffer: u64,
    /// Close a WebSocket that reads too slowly, instead of dropping events.
    pub close_on_slow_client: bool,
    /// How long `broadcast_tx_commit` waits.
    pub timeout_broadcast_tx_commit: Duration,
    /// Requests in one batch.
    pub max_request_batch_size: Option<u64>,
    /// Bytes of a request.
    pub max_body_bytes: u64,
    /// Bytes of its header.
    pub max_header_bytes: u64,
}

/// A peer as the configuration names it: `id@host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who must answer there.
    pub id: NodeId,
    /// `host:port`.
    pub address: String,
}

/// The network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct P2pSettings {
    /// Where it listens.
    pub listen: Vec<Address>,
    /// What peers are told to dial, if not the above.
    pub external_address: Option<String>,
    /// Whom to ask for addresses.
    pub seeds: Vec<Peer>,
    /// To whom a connection is always kept.
    pub persistent_peers: Vec<Peer>,
    /// Who may exceed the limits.
    pub unconditional_peer_ids: Vec<NodeId>,
    /// Whose addresses are not told.
    pub private_peer_ids: Vec<NodeId>,
    /// Who may connect at all; everybody when empty.
    pub peers_only: Vec<NodeId>,
    /// Longest pause between attempts to reach a persistent peer; none for the built-in back-off.
    pub persistent_peers_max_dial_period: Option<Duration>,
    /// Only routable addresses in the book.
    pub addr_book_strict: bool,
    /// Peers that called us.
    pub max_num_inbound_peers: u64,
    /// Peers we called.
    pub max_num_outbound_peers: u64,
    /// Bytes in one packet.
    pub max_packet_msg_payload_size: u64,
    /// Bytes per second to one peer.
    pub send_rate: u64,
    /// Bytes per second from one peer.
    pub recv_rate: u64,
    /// Exchange addresses.
    pub pex: bool,
    /// Only collect and give addresses.
    pub seed_mode: bool,
    /// Several peers with one IP address.
    pub allow_duplicate_ip: bool,
    /// For a handshake.
    pub handshake_timeout: Duration,
    /// For a connection.
    pub dial_timeout: Duration,
}

/// Where waiting transactions live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MempoolKind {
    /// Here, gossiped to peers.
    Flood,
    /// Nowhere: the application brings its own.
    Nop,
}

/// Waiting transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MempoolSettings {
    /// Where they live.
    pub kind: MempoolKind,
    /// Check the rest again after each block.
    pub recheck: bool,
    /// How long that may take.
    pub recheck_timeout: Duration,
    /// Tell peers.
    pub broadcast: bool,
    /// Transactions in it.
    pub size: u64,
    /// Bytes in it.
    pub max_txs_bytes: u64,
    /// Transactions remembered.
    pub cache_size: u64,
    /// Remember invalid ones too.
    pub keep_invalid_txs_in_cache: bool,
    /// Bytes of one transaction.
    pub max_tx_bytes: u64,
}

/// When to make a block without transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyBlocks {
    /// Always, as fast as the timeouts allow.
    Always,
    /// Only when nothing came for this long.
    After(Duration),
    /// Never, but for proof blocks.
    Never,
}

/// Consensus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsensusSettings {
    /// For a proposal in round 0.
    pub timeout_propose: Duration,
    /// More in each later round.
    pub timeout_propose_delta: Duration,
    /// For prevotes once two thirds voted.
    pub timeout_prevote: Duration,
    /// More in each later round.
    pub timeout_prevote_delta: Duration,
    /// For precommits once two thirds voted.
    pub timeout_precommit: Duration,
    /// More in each later round.
    pub timeout_precommit_delta: Duration,
    /// Raft: how long a follower waits for a sign of its leader, once to twice this long.
    pub election_timeout: Duration,
    /// Raft: how often a leader is heard; PBFT: how often replicas say where they stand.
    pub heartbeat_interval: Duration,
    /// PBFT: how long a primary may take to decide what waits.
    pub view_change_timeout: Duration,
    /// Between a decision and the next height.
    pub timeout_commit: Duration,
    /// How far a block's time may lie ahead of our clock.
    pub block_time_tolerance: Duration,
    /// Begin the next height at once when all precommits are in.
    pub skip_timeout_commit: bool,
    /// When to make a block without transactions.
    pub empty_blocks: EmptyBlocks,
    /// Refuse to start when the own key signed one of so many last blocks; none to not look.
    pub double_sign_check_height: Option<u64>,
    /// Sign at once, without listening for the own key first.
    pub skip_doppelganger_check: bool,
}

/// Metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsSettings {
    /// `host:port` to listen on.
    pub listen: String,
    /// Connections at once; none for unlimited.
    pub max_open_connections: Option<u64>,
    /// First word of every metric's name.
    pub namespace: String,
}

impl FromStr for Application {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Application, Self::Err> {
        match text {
            "kvstore" => Ok(Application::Builtin(Builtin::Kvstore)),
            "persistent_kvstore" => Ok(Application::Builtin(Builtin::PersistentKvstore)),
            "noop" => Ok(Application::Builtin(Builtin::Noop)),
            address => address.parse().map(Application::Socket),
        }
    }
}

impl std::fmt::Display for Application {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Application::Socket(address) => write!(f, "{address}"),
            Application::Builtin(Builtin::Kvstore) => f.write_str("kvstore (built in)"),
            Application::Builtin(Builtin::PersistentKvstore) => f.write_str("persistent_kvstore (built in)"),
            Application::Builtin(Builtin::Noop) => f.write_str("noop (built in)"),
        }
    }
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Backend::RocksDb => "rocksdb",
            Backend::Redb => "redb",
            Backend::Memory => "memory",
        })
    }
}

impl FromStr for Peer {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Peer, Self::Err> {
        let error = || AddressError::of(text);
        let (id, address) = text.split_once('@').ok_or_else(error)?;
        let id = id.trim_start_matches("tcp://").parse().map_err(|_| error())?;
        host_port(address).filter(|(host, _)| !host.is_empty()).ok_or_else(error)?;
        Ok(Peer { id, address: address.to_owned() })
    }
}

impl FromStr for LogLevels {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<LogLevels, Self::Err> {
        const LEVELS: [&str; 7] = ["trace", "debug", "info", "warn", "error", "none", "off"];
        let mut levels = LogLevels { default: "info".to_owned(), modules: Vec::new() };
        for item in split_list(text) {
            let (module, level) = item.split_once(':').unwrap_or(("*", item));
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            if !LEVELS.contains(&level) || (module != "*" && !module.chars().all(legal)) || module.is_empty() {
                return Err("not a log level");
            }
            match module {
                "*" => level.clone_into(&mut levels.default),
                module => levels.modules.push((module.to_owned(), level.to_owned())),
            }
        }
        Ok(levels)
    }
}
