//! Every key of config.toml: CometBFT v0.38's, and those newer versions added, which are accepted and set aside.

use super::value::Kind;

/// One key.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.name`, or `name` at the top.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// Value when nobody sets it, as text.
    pub default: &'static str,
    /// What this node does with it.
    pub support: Support,
}

/// What this node does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It does what it does in CometBFT.
    Used,
    /// Checked, but without effect; the reason.
    NoEffect(&'static str),
    /// CometBFT has it since this version; noted, checked, without effect.
    Since(&'static str),
}

use Kind::{Bool, Duration, HostPort, List, Listen, LogLevels, MetricWord, NodeIds, Number, OneOf, Path, Peers, Text};
use Support::{NoEffect, Since, Used};

/// Most of anything countable.
const COUNT_MAX: u64 = i32::MAX as u64;
/// Most bytes of anything.
const BYTES_MAX: u64 = i64::MAX as u64;
/// Longest timeout: a day, in milliseconds.
const DAY: u64 = 24 * 3600 * 1000;
/// Longest period: a hundred years, in milliseconds.
const CENTURY: u64 = 100 * 365 * DAY;
const COUNT: Kind = Number(0, COUNT_MAX);
const TIMEOUT: Kind = Duration(0, DAY);
/// Shortest wait for a leader or a primary, in milliseconds: below it the scheduler, not the network, deposes them.
const REIGN_MIN: u64 = 10;

const NOT_YET: Support = NoEffect("this version does not have it yet");
const EVENT_DRIVEN: Support = NoEffect("gossip is driven by events, it never sleeps");
const ONLY_WITH_GRPC: Support = NoEffect("there is no gRPC server");

/// What the backend is when nobody says: the long-lived store where it is built in.
#[cfg(feature = "rocksdb")]
const DEFAULT_BACKEND: &str = "rocksdb";
#[cfg(not(feature = "rocksdb"))]
const DEFAULT_BACKEND: &str = "redb";

const fn key(name: &'static str, kind: Kind, default: &'static str, support: Support) -> Key {
    Key { name, kind, default, support }
}

/// All keys, in CometBFT's order (reference §2.2). Defaults are ours: a block as soon as there is something to put in.
pub const KEYS: &[Key] = &[
    key("version", Text(40), "0.38.25", NoEffect("it only says who wrote the file")),
    key("proxy_app", Kind::Application, "tcp://127.0.0.1:26658", Used),
    key("moniker", Text(70), "", Used),
    key(
        "db_backend",
        OneOf(&["rocksdb", "redb", "memdb", "goleveldb", "cleveldb", "boltdb", "badgerdb", "pebbledb"]),
        DEFAULT_BACKEND,
        Used,
    ),
    key("db_dir", Path, "data", Used),
    key("log_level", LogLevels, "info", Used),
    key("log_format", OneOf(&["plain", "json"]), "plain", Used),
    key("genesis_file", Path, "config/genesis.json", Used),
    key("genesis_hash", Kind::Hash, "", Used),
    key("priv_validator_key_file", Path, "config/priv_validator_key.json", Used),
    key("priv_validator_state_file", Path, "data/priv_validator_state.json", Used),
    key(
        "priv_validator_laddr",
        Kind::Unsupported("remote signers are not supported yet: keep the key in priv_validator_key_file"),
        "",
        Used,
    ),
    key("node_key_file", Path, "config/node_key.json", Used),
    key("abci", OneOf(&["socket"]), "socket", Used),
    key("abci_requests_in_flight", Number(1, u16::MAX as u64), "16384", Used),
    key("filter_peers", Bool, "false", NOT_YET),
    key("event_bus_buffer_capacity", COUNT, "0", Since("0.40")),
    // [rpc]
    key("rpc.laddr", Listen, "tcp://127.0.0.1:26657", Used),
    key("rpc.cors_allowed_origins", List, "", Used),
    key("rpc.cors_allowed_methods", List, "HEAD,GET,POST", Used),
    key("rpc.cors_allowed_headers", List, "Origin,Accept,Content-Type,X-Requested-With,X-Server-Time", Used),
    key("rpc.grpc_laddr", Kind::Unsupported("there is no gRPC server: use rpc.laddr"), "", Used),
    key("rpc.grpc_max_open_connections", COUNT, "900", ONLY_WITH_GRPC),
    key("rpc.unsafe", Bool, "false", Used),
    key("rpc.max_open_connections", COUNT, "900", Used),
    key("rpc.max_subscription_clients", COUNT, "100", Used),
    key("rpc.max_subscriptions_per_client", COUNT, "5", Used),
    key("rpc.experimental_subscription_buffer_size", Number(100, 1_000_000), "1000", Used),
    key("rpc.experimental_websocket_write_buffer_size", Number(100, 1_000_000), "1000", Used),
    key("rpc.experimental_close_on_slow_client", Bool, "false", Used),
    key("rpc.timeout_broadcast_tx_commit", Duration(0, DAY), "10s", Used),
    key("rpc.max_request_batch_size", COUNT, "1000", Used),
    key("rpc.max_body_bytes", Number(1, BYTES_MAX), "1000000", Used),
    key("rpc.max_header_bytes", Number(1, BYTES_MAX), "1048576", Used),
    key("rpc.tls_cert_file", Kind::Unsupported("RPC is served without TLS: put a TLS proxy before it"), "", Used),
    key("rpc.tls_key_file", Kind::Unsupported("RPC is served without TLS: put a TLS proxy before it"), "", Used),
    key("rpc.pprof_laddr", Text(200), "", NoEffect("pprof is Go's profiler")),
    // [p2p]
    key("p2p.laddr", Listen, "tcp://0.0.0.0:26656", Used),
    key("p2p.external_address", Text(200), "", Used),
    key("p2p.seeds", Peers, "", Used),
    key("p2p.persistent_peers", Peers, "", Used),
    key("p2p.addr_book_file", Path, "config/addrbook.json", Used),
    key("p2p.addr_book_strict", Bool, "true", Used),
    key("p2p.max_num_inbound_peers", COUNT, "40", Used),
    key("p2p.max_num_outbound_peers", COUNT, "10", Used),
    key("p2p.unconditional_peer_ids", NodeIds, "", Used),
    key("p2p.persistent_peers_max_dial_period", Duration(0, CENTURY), "0s", Used),
    key("p2p.flush_throttle_timeout", TIMEOUT, "100ms", EVENT_DRIVEN),
    key("p2p.max_packet_msg_payload_size", Number(1, 1 << 20), "1024", Used),
    key("p2p.send_rate", Number(0, BYTES_MAX), "5120000", Used),
    key("p2p.recv_rate", Number(0, BYTES_MAX), "5120000", Used),
    key("p2p.pex", Bool, "true", Used),
    key("p2p.seed_mode", Bool, "false", Used),
    key("p2p.private_peer_ids", NodeIds, "", Used),
    key("p2p.peers_only", NodeIds, "", Used),
    key("p2p.allow_duplicate_ip", Bool, "false", Used),
    key("p2p.handshake_timeout", TIMEOUT, "20s", Used),
    key("p2p.dial_timeout", TIMEOUT, "3s", Used),
    // [mempool]
    key("mempool.type", OneOf(&["flood", "nop", ""]), "flood", Used),
    key("mempool.recheck", Bool, "false", Used),
    key("mempool.recheck_timeout", TIMEOUT, "1s", Used),
    key("mempool.broadcast", Bool, "true", Used),
    key("mempool.wal_dir", Text(4096), "", NoEffect("CometBFT does not write it either")),
    key("mempool.size", Number(0, 10_000_000), "100000", Used),
    key("mempool.max_txs_bytes", Number(0, BYTES_MAX), "1073741824", Used),
    key("mempool.cache_size", Number(0, 10_000_000), "200000", Used),
    key("mempool.keep-invalid-txs-in-cache", Bool, "false", Used),
    key("mempool.max_tx_bytes", Number(0, 100 << 20), "1048576", Used),
    key("mempool.max_batch_bytes", Number(0, BYTES_MAX), "0", NoEffect("CometBFT does not use it either")),
    key("mempool.experimental_max_gossip_connections_to_persistent_peers", COUNT, "0", NOT_YET),
    key("mempool.experimental_max_gossip_connections_to_non_persistent_peers", COUNT, "0", NOT_YET),
    key("mempool.seen_cache_size", COUNT, "100000", Since("0.39")),
    key("mempool.reap_max_bytes", Number(0, BYTES_MAX), "0", Since("0.39")),
    key("mempool.reap_max_gas", Number(0, BYTES_MAX), "0", Since("0.39")),
    key("mempool.reap_interval", TIMEOUT, "500ms", Since("0.39")),
    key("mempool.check_tx_retry_delay", TIMEOUT, "5s", Since("0.39")),
    // [statesync]
    key("statesync.enable", Bool, "false", NOT_YET),
    key("statesync.rpc_servers", Text(4096), "", NOT_YET),
    key("statesync.trust_height", Number(0, BYTES_MAX), "0", NOT_YET),
    key("statesync.trust_hash", Kind::Hash, "", NOT_YET),
    key("statesync.trust_period", Duration(0, CENTURY), "168h0m0s", NOT_YET),
    key("statesync.discovery_time", TIMEOUT, "15s", NOT_YET),
    key("statesync.temp_dir", Text(4096), "", NOT_YET),
    key("statesync.chunk_request_timeout", TIMEOUT, "10s", NOT_YET),
    key("statesync.chunk_fetchers", COUNT, "4", NOT_YET),
    key("statesync.max_snapshot_chunks", COUNT, "100000", Since("0.40")),
    // [blocksync]
    key("blocksync.version", OneOf(&["v0"]), "v0", Used),
    key("blocksync.adaptive_sync", Bool, "false", Since("0.39")),
    // [consensus]
    key("consensus.wal_file", Path, "data/cs.wal/wal", Used),
    key("consensus.timeout_propose", TIMEOUT, "3s", Used),
    key("consensus.timeout_propose_delta", TIMEOUT, "500ms", Used),
    key("consensus.timeout_prevote", TIMEOUT, "1s", Used),
    key("consensus.timeout_prevote_delta", TIMEOUT, "500ms", Used),
    key("consensus.timeout_precommit", TIMEOUT, "1s", Used),
    key("consensus.timeout_precommit_delta", TIMEOUT, "500ms", Used),
    key("consensus.algorithm", OneOf(&["tendermint", "pbft", "raft", ""]), "", Used),
    key("consensus.election_timeout", Duration(REIGN_MIN, DAY), "1s", Used),
    key("consensus.heartbeat_interval", Duration(1, DAY), "100ms", Used),
    key("consensus.view_change_timeout", Duration(REIGN_MIN, DAY), "2s", Used),
    key("consensus.timeout_commit", TIMEOUT, "0s", Used),
    key("consensus.double_sign_check_height", Number(0, BYTES_MAX), "0", Used),
    key("consensus.skip_doppelganger_check", Bool, "false", Used),
    key("consensus.skip_timeout_commit", Bool, "false", Used),
    key("consensus.create_empty_blocks", Bool, "true", Used),
    key("consensus.create_empty_blocks_interval", Duration(0, CENTURY), "10s", Used),
    key("consensus.peer_gossip_sleep_duration", TIMEOUT, "100ms", EVENT_DRIVEN),
    key("consensus.peer_query_maj23_sleep_duration", TIMEOUT, "2s", EVENT_DRIVEN),
    key("consensus.block_time_tolerance", Duration(1, CENTURY), "60s", Used),
    // [storage], [tx_index], [instrumentation]
    key("storage.discard_abci_responses", Bool, "false", NOT_YET),
    key("tx_index.indexer", OneOf(&["kv", "null"]), "kv", Used),
    key("tx_index.psql-conn", Text(4096), "", NoEffect("blocks are indexed in the node's own store")),
    key("instrumentation.prometheus", Bool, "false", Used),
    key("instrumentation.prometheus_listen_addr", HostPort, ":26660", Used),
    key("instrumentation.max_open_connections", COUNT, "3", Used),
    key("instrumentation.namespace", MetricWord, "cometbft", Used),
];

/// Tables of newer versions whose keys are too many to list: everything below is accepted and set aside.
pub const NEWER_TABLES: &[(&str, &str)] = &[("p2p.libp2p", "0.39")];

impl Key {
    /// The key with this name; `-` and `_` are the same, because CometBFT mixes them.
    pub fn named(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| same_name(key.name, name))
    }

    /// The environment variable that sets it, as `QUORATE_RPC_LADDR`.
    pub fn variable(&self) -> String {
        let name = self.name.replace(['.', '-'], "_").to_ascii_uppercase();
        format!("{}{name}", Key::VARIABLE_PREFIX)
    }

    /// True when it holds `true` or `false`.
    pub fn is_switch(&self) -> bool {
        self.kind == Bool
    }

    /// What all environment variables of the configuration begin with.
    pub const VARIABLE_PREFIX: &'static str = "QUORATE_";

    /// The known name most like this one, if any is.
    pub fn nearest(name: &str) -> Option<&'static str> {
        /// More edits than this make another word.
        const EDITS_MAX: usize = 4;
        let last = |name: &'_ str| name.rsplit('.').next().unwrap_or_default().replace('-', "_");
        // Right name, wrong section: the commonest slip.
        if let Some(key) = KEYS.iter().find(|key| last(key.name) == last(name)) {
            return Some(key.name);
        }
        let edits = |key: &&Key| strsim::damerau_levenshtein(key.name, name);
        let near = KEYS.iter().min_by_key(edits)?;
        (edits(&near) <= EDITS_MAX.min(name.len() / 2)).then_some(near.name)
    }
}

fn same_name(left: &str, right: &str) -> bool {
    let fold = |byte: u8| if byte == b'-' { b'_' } else { byte };
    left.len() == right.len() && left.bytes().zip(right.bytes()).all(|(a, b)| fold(a) == fold(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_default_is_in_its_own_range_and_every_name_is_there_once() {
        for key in KEYS {
            assert!(key.kind.parse(key.default).is_some(), "{} = {:?}", key.name, key.default);
        }
        let variables: BTreeSet<_> = KEYS.iter().map(Key::variable).collect();
        assert_eq!(variables.len(), KEYS.len());
    }

    #[test]
    fn a_slip_finds_the_name_meant() {
        for (slip, meant) in [
            ("mempool.sise", Some("mempool.size")),
            ("timeout_commit", Some("consensus.timeout_commit")),
            ("rpc.timeout_commit", Some("consensus.timeout_commit")),
            ("consensus.timeout_comit", Some("consensus.timeout_commit")),
            ("p2p.external-address", Some("p2p.external_address")),
            ("weather", None),
            ("rpc.colour_of_the_sky", None),
        ] {
            assert_eq!(Key::nearest(slip), meant, "{slip}");
        }
    }
}
