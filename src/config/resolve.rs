//! From checked values to settings: paths resolved, pairs of values compared, words turned into enums.

use super::duration::format_duration;
use super::layers::{Layers, Overrides, Values};
use super::settings::{
    Backend, Config, ConsensusSettings, EmptyBlocks, ExpectedAlgorithm, FileSettings, Indexing, Keeping, LogFormat,
    LogSettings, MempoolKind, MempoolSettings, MetricsSettings, P2pSettings, RpcSettings, StorageSettings,
};
use super::value::split_list;
use super::{ConfigError, Home, Origin, Warning};
use crate::crypto::Hash;
use crate::types::Algorithm;
use std::num::NonZeroU16;
use std::str::FromStr;

impl Config {
    /// Reads and checks everything; also gives what is worth a word in the log.
    pub fn load(home: &Home, overrides: &Overrides) -> Result<(Config, Vec<Warning>), ConfigError> {
        let (values, mut warnings) = Layers::read(home, overrides)?;
        check_together(&values)?;
        let config = Config {
            home: home.clone(),
            moniker: moniker(values.text("moniker")),
            application: parsed(values.text("proxy_app")),
            abci_requests_in_flight: requests_in_flight(&values),
            files: FileSettings::from_values(home, &values),
            storage: StorageSettings::from_values(home, &values, &mut warnings)?,
            log: LogSettings::from_values(&values),
            rpc: RpcSettings::from_values(&values),
            p2p: P2pSettings::from_values(&values),
            mempool: MempoolSettings::from_values(&values),
            consensus: ConsensusSettings::from_values(&values),
            metrics: values.bool("instrumentation.prometheus").then(|| MetricsSettings::from_values(&values)),
            genesis_hash: genesis_hash(values.text("genesis_hash")),
            algorithm: expected_algorithm(&values),
        };
        if values.bool("statesync.enable") {
            warnings.push(Warning("statesync.enable has no effect yet: the node replays from genesis".to_owned()));
        }
        Ok((config, warnings))
    }
}

/// What each value cannot say about another.
fn check_together(values: &Values) -> Result<(), ConfigError> {
    let buffer = values.number("rpc.experimental_subscription_buffer_size");
    let write_buffer = "rpc.experimental_websocket_write_buffer_size";
    if values.number(write_buffer) < buffer {
        let expected = format!("at least {buffer}, the value of rpc.experimental_subscription_buffer_size");
        return Err(values.contradiction(write_buffer, expected));
    }
    if values.text("mempool.type") == "nop" && !values.bool("consensus.create_empty_blocks") {
        let expected = "true, because mempool.type is \"nop\": nothing would ever cause a block";
        return Err(values.contradiction("consensus.create_empty_blocks", expected.to_owned()));
    }
    if values.number("mempool.max_tx_bytes") > values.number("mempool.max_txs_bytes") && !mutant!("F93") {
        let expected = "at most mempool.max_txs_bytes, or the largest transaction never fits";
        return Err(values.contradiction("mempool.max_tx_bytes", expected.to_owned()));
    }
    check_heartbeat(values)
}

/// A follower must be able to miss a heartbeat without standing for election. Whoever set only one of the two is told
/// about that one.
fn check_heartbeat(values: &Values) -> Result<(), ConfigError> {
    let (election, heartbeat) = ("consensus.election_timeout", "consensus.heartbeat_interval");
    let (wait, beat) = (values.duration(election), values.duration(heartbeat));
    if beat * if mutant!("F92") { 1 } else { 2 } <= wait {
        return Ok(());
    }
    let why = "so that one lost heartbeat deposes no leader";
    if *values.origin(heartbeat) == Origin::Default {
        let expected =
            format!("at least \"{}\", twice {heartbeat} (set that one, too), {why}", format_duration(beat * 2));
        return Err(values.contradiction(election, expected));
    }
    let expected = format!("at most \"{}\", half of {election}, {why}", format_duration(wait / 2));
    Err(values.contradiction(heartbeat, expected))
}

fn expected_algorithm(values: &Values) -> Option<ExpectedAlgorithm> {
    let name = "consensus.algorithm";
    let algorithm = Algorithm::from_name(values.text(name))?;
    Some(ExpectedAlgorithm { algorithm, origin: values.origin(name).clone() })
}

/// A value its kind has already accepted.
fn parsed<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| unreachable!("{text:?} was accepted by the same parser when it was read"))
}

fn parsed_list<T: FromStr>(text: &str) -> Vec<T> {
    split_list(text).map(parsed).collect()
}

/// As configured, else the machine's name, else `anonymous` (reference §2.2).
pub(super) fn moniker(configured: &str) -> String {
    if !configured.is_empty() {
        return configured.to_owned();
    }
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "anonymous".to_owned() } else { name }
}

/// The key accepts no other numbers.
fn requests_in_flight(values: &Values) -> NonZeroU16 {
    let number = u16::try_from(values.number("abci_requests_in_flight")).ok().and_then(NonZeroU16::new);
    number.unwrap_or_else(|| unreachable!("the key accepts 1 to 65535"))
}

fn genesis_hash(text: &str) -> Option<Hash> {
    Hash::try_from(hex::decode(text).ok()?.as_slice()).ok()
}

impl FileSettings {
    fn from_values(home: &Home, values: &Values) -> FileSettings {
        let path = |name: &str| home.resolve(values.text(name));
        FileSettings {
            genesis: path("genesis_file"),
            priv_validator_key: path("priv_validator_key_file"),
            priv_validator_state: path("priv_validator_state_file"),
            node_key: path("node_key_file"),
            wal: path("consensus.wal_file"),
            addr_book: path("p2p.addr_book_file"),
        }
    }
}

impl StorageSettings {
    fn from_values(home: &Home, values: &Values, warnings: &mut Vec<Warning>) -> Result<StorageSettings, ConfigError> {
        let (rocksdb, default) =
            if cfg!(feature = "rocksdb") { (true, Backend::RocksDb) } else { (false, Backend::Redb) };
        let backend = match values.text("db_backend") {
            "rocksdb" if rocksdb => Backend::RocksDb,
            "rocksdb" => {
                let expected = "\"redb\": this program was built without RocksDB (cargo build --features rocksdb)";
                return Err(values.contradiction("db_backend", expected.to_owned()));
            }
            "redb" => Backend::Redb,
            "memdb" => Backend::Memory,
            other => {
                let origin = values.origin("db_backend");
                let text =
                    format!("{origin}: db_backend {other} is CometBFT's; {default} is used (its files are not read)");
                warnings.push(Warning(text));
                default
            }
        };
        Ok(StorageSettings {
            backend,
            dir: home.resolve(values.text("db_dir")),
            abci_responses: match values.bool("storage.discard_abci_responses") {
                true => Keeping::Discarded,
                false => Keeping::Kept,
            },
            indexing: if values.text("tx_index.indexer") == "kv" { Indexing::On } else { Indexing::Off },
        })
    }
}

impl LogSettings {
    fn from_values(values: &Values) -> LogSettings {
        LogSettings {
            levels: parsed(values.text("log_level")),
            format: if values.text("log_format") == "json" { LogFormat::Json } else { LogFormat::Plain },
        }
    }
}

impl RpcSettings {
    fn from_values(values: &Values) -> RpcSettings {
        RpcSettings {
            listen: parsed_list(values.text("rpc.laddr")),
            cors_allowed_origins: values.list("rpc.cors_allowed_origins").to_vec(),
            cors_allowed_methods: values.list("rpc.cors_allowed_methods").to_vec(),
            cors_allowed_headers: values.list("rpc.cors_allowed_headers").to_vec(),
            serve_unsafe: values.bool("rpc.unsafe"),
            max_open_connections: values.limit("rpc.max_open_connections"),
            max_subscription_clients: values.number("rpc.max_subscription_clients"),
            max_subscriptions_per_client: values.number("rpc.max_subscriptions_per_client"),
            subscription_buffer: values.number("rpc.experimental_subscription_buffer_size"),
            websocket_write_buffer: values.number("rpc.experimental_websocket_write_buffer_size"),
            close_on_slow_client: values.bool("rpc.experimental_close_on_slow_client"),
            timeout_broadcast_tx_commit: values.duration("rpc.timeout_broadcast_tx_commit"),
            max_request_batch_size: values.limit("rpc.max_request_batch_size"),
            max_body_bytes: values.number("rpc.max_body_bytes"),
            max_header_bytes: values.number("rpc.max_header_bytes"),
        }
    }
}

impl P2pSettings {
    fn from_values(values: &Values) -> P2pSettings {
        let dial_period = values.duration("p2p.persistent_peers_max_dial_period");
        let external_address = values.text("p2p.external_address");
        P2pSettings {
            listen: parsed_list(values.text("p2p.laddr")),
            external_address: (!external_address.is_empty()).then(|| external_address.to_owned()),
            seeds: parsed_list(values.text("p2p.seeds")),
            persistent_peers: parsed_list(values.text("p2p.persistent_peers")),
            unconditional_peer_ids: parsed_list(values.text("p2p.unconditional_peer_ids")),
            private_peer_ids: parsed_list(values.text("p2p.private_peer_ids")),
            peers_only: parsed_list(values.text("p2p.peers_only")),
            persistent_peers_max_dial_period: Some(dial_period).filter(|period| !period.is_zero()),
            addr_book_strict: values.bool("p2p.addr_book_strict"),
            max_num_inbound_peers: values.number("p2p.max_num_inbound_peers"),
            max_num_outbound_peers: values.number("p2p.max_num_outbound_peers"),
            max_packet_msg_payload_size: values.number("p2p.max_packet_msg_payload_size"),
            send_rate: values.number("p2p.send_rate"),
            recv_rate: values.number("p2p.recv_rate"),
            pex: values.bool("p2p.pex"),
            seed_mode: values.bool("p2p.seed_mode"),
            allow_duplicate_ip: values.bool("p2p.allow_duplicate_ip"),
            handshake_timeout: values.duration("p2p.handshake_timeout"),
            dial_timeout: values.duration("p2p.dial_timeout"),
        }
    }
}

impl MempoolSettings {
    fn from_values(values: &Values) -> MempoolSettings {
        MempoolSettings {
            kind: if values.text("mempool.type") == "nop" { MempoolKind::Nop } else { MempoolKind::Flood },
            recheck: values.bool("mempool.recheck"),
            recheck_timeout: values.duration("mempool.recheck_timeout"),
            broadcast: values.bool("mempool.broadcast"),
            size: values.number("mempool.size"),
            max_txs_bytes: values.number("mempool.max_txs_bytes"),
            cache_size: values.number("mempool.cache_size"),
            keep_invalid_txs_in_cache: values.bool("mempool.keep-invalid-txs-in-cache"),
            max_tx_bytes: values.number("mempool.max_tx_bytes"),
        }
    }
}

impl ConsensusSettings {
    fn from_values(values: &Values) -> ConsensusSettings {
        ConsensusSettings {
            timeout_propose: values.duration("consensus.timeout_propose"),
            timeout_propose_delta: values.duration("consensus.timeout_propose_delta"),
            timeout_prevote: values.duration("consensus.timeout_prevote"),
            timeout_prevote_delta: values.duration("consensus.timeout_prevote_delta"),
            timeout_precommit: values.duration("consensus.timeout_precommit"),
            timeout_precommit_delta: values.duration("consensus.timeout_precommit_delta"),
            election_timeout: values.duration("consensus.election_timeout"),
            heartbeat_interval: values.duration("consensus.heartbeat_interval"),
            view_change_timeout: values.duration("consensus.view_change_timeout"),
            timeout_commit: values.duration("consensus.timeout_commit"),
            block_time_tolerance: values.duration("consensus.block_time_tolerance"),
            skip_timeout_commit: values.bool("consensus.skip_timeout_commit"),
            empty_blocks: empty_blocks(values),
            double_sign_check_height: values.limit("consensus.double_sign_check_height"),
            skip_doppelganger_check: values.bool("consensus.skip_doppelganger_check"),
        }
    }
}

/// As CometBFT combines the two keys (reference §6.4): an interval rules whatever the other says. Only our default
/// interval, which CometBFT does not have, gives way to an operator who set nothing but `create_empty_blocks`.
fn empty_blocks(values: &Values) -> EmptyBlocks {
    let (switch, interval) = ("consensus.create_empty_blocks", "consensus.create_empty_blocks_interval");
    let only_switch_set = *values.origin(switch) != Origin::Default && *values.origin(interval) == Origin::Default;
    match (values.duration(interval), values.bool(switch)) {
        (interval, _) if !interval.is_zero() && (!only_switch_set || mutant!("F104")) => EmptyBlocks::After(interval),
        (_, true) => EmptyBlocks::Always,
        (_, false) => EmptyBlocks::Never,
    }
}

impl MetricsSettings {
    fn from_values(values: &Values) -> MetricsSettings {
        MetricsSettings {
            listen: values.text("instrumentation.prometheus_listen_addr").to_owned(),
            max_open_connections: values.limit("instrumentation.max_open_connections"),
            namespace: values.text("instrumentation.namespace").to_owned(),
        }
    }
}
