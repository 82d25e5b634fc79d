//! From a checked configuration to a node that can start: opens the store and the sockets.

use super::app_link::AppSource;
use super::{DoppelgangerCheck, NodeError, NodeOptions, Telling, network, protocol};
use crate::abci::{self, KvStore, LocalApp, Noop};
use crate::codec::json::genesis;
use crate::config::{
    self, Application, Builtin, Config, ConsensusSettings, Genesis, MempoolSettings, NodeKey, RpcSettings,
};
use crate::consensus::{EmptyBlocks, Timeouts};
use crate::mempool::{Broadcast, FailedTxs, MempoolConfig, Recheck};
use crate::metrics::{self, Metrics};
use crate::pipeline::requests::SOFTWARE_VERSION;
use crate::ports::{NodeFacts, Signer, Store};
use crate::rpc::{self, RpcConfig};
use crate::storage::{self, Backend, Indexing};
use crate::types::{Address, Height};
use std::num::NonZeroU16;
use std::path::Path;

/// Opens everything a node of this configuration needs. Call it inside a tokio runtime.
pub async fn assemble(
    config: &Config,
    genesis: Genesis,
    node_key: NodeKey,
    signer: Box<dyn Signer>,
) -> Result<NodeOptions, NodeError> {
    let (backend, indexing) = (backend(config.storage.backend), indexing(config.storage.indexing));
    let store = storage::open(backend, &config.storage.dir, indexing)?;
    let genesis = stored_genesis(&*store, genesis)?;
    // The state goes before the genesis document: it says what holds now.
    let algorithm = store.state()?.map_or(genesis.doc.algorithm, |state| state.algorithm);
    if let Some(depth) = config.consensus.double_sign_check_height {
        refuse_doubled_validator(&*store, depth, &Address::from(&signer.public_key()))?;
    }
    protocol::refuse_another(&*store, &genesis.doc, config.algorithm.as_ref())?;
    let metrics = match &config.metrics {
        Some(settings) => Metrics::new(&settings.namespace, &genesis.doc.chain_id),
        None => Metrics::new("cometbft", &genesis.doc.chain_id),
    };
    let metrics = metrics.map_err(|error| NodeError::Listen(error.to_string()))?;
    let metrics_listener = match &config.metrics {
        Some(settings) => {
            let bound = metrics::bind(&settings.listen).await;
            let listener = bound.map_err(|why| NodeError::Listen(format!("{why}. {METRICS_REMEDY}")))?;
            Some((listener, settings.max_open_connections))
        }
        None => None,
    };
    let addresses = config.rpc.listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let listeners = rpc::bind(&addresses).await.map_err(|why| NodeError::Listen(why.to_string()))?;
    let peers_call = network::listen(&config.p2p).await?;
    let facts = NodeFacts {
        node_id: node_key.id(),
        listen_addr: network::listen_addr(&config.p2p, &peers_call),
        listeners: network::bound(&peers_call),
        network: genesis.doc.chain_id.clone(),
        version: SOFTWARE_VERSION.to_owned(),
        moniker: config.moniker.clone(),
        tx_index: if store.indexes() { "on" } else { "off" },
        rpc_address: listeners.first().map(|listener| listener.address().to_owned()).unwrap_or_default(),
        channels: network::channels(&config.p2p, algorithm),
        validator: Some(signer.public_key()),
    };
    let (book, max_tx_bytes) = (&config.files.addr_book, config.mempool.max_tx_bytes);
    let network = network::options(&config.p2p, algorithm, book, max_tx_bytes, node_key, &facts, peers_call);
    Ok(NodeOptions {
        network: Some(network),
        genesis: genesis.doc,
        genesis_json: genesis.json,
        store,
        wal_dir: config.files.wal.parent().unwrap_or(Path::new(".")).to_owned(),
        misbehaviour_file: config.home.data().join("misbehaviour.jsonl"),
        signer: Some(signer),
        app: app_source(&config.application, config.abci_requests_in_flight),
        timeouts: timeouts(&config.consensus),
        block_time_tolerance: Some(config.consensus.block_time_tolerance),
        doppelganger_check: match config.consensus.skip_doppelganger_check {
            true => DoppelgangerCheck::Skipped,
            false => DoppelgangerCheck::OnRejoin,
        },
        mempool: mempool(&config.mempool),
        facts,
        rpc: (!listeners.is_empty()).then(|| (listeners, rpc_config(&config.rpc))),
        metrics_listener,
        metrics,
        telling: Telling::beside(config.log.format),
    })
}

const METRICS_REMEDY: &str = "Choose another port with prometheus_listen_addr under [instrumentation] in config.toml";

/// The genesis document the chain began with: the store's, once there is one (reference §2.5).
fn stored_genesis(store: &dyn Store, file: Genesis) -> Result<Genesis, NodeError> {
    let Some(json) = store.genesis()? else { return Ok(file) };
    if json == file.json {
        return Ok(file);
    }
    let doc = genesis::parse(&json)
        .map_err(|error| NodeError::Genesis(format!("the genesis document in the store is damaged: {error}")))?;
    protocol::refuse_edited(&file.doc, &doc)?;
    if doc != file.doc {
        tracing::warn!(
            "genesis.json differs from the document this chain began with, which is used: restore the file, or begin \
             another chain in another --home"
        );
    }
    Ok(Genesis { doc, json })
}

/// Refuses to start when our key signed one of the last `depth` blocks: it may still be running elsewhere (reference §6.11).
pub(super) fn refuse_doubled_validator(store: &dyn Store, depth: u64, own: &Address) -> Result<(), NodeError> {
    let tip = store.tip().get();
    for height in (tip.saturating_sub(depth - 1).max(1)..=tip).rev().map(Height::new) {
        let Some(commit) = store.seen_commit(height)? else { continue };
        if commit.signatures.iter().filter_map(|sig| sig.signed()).any(|part| part.validator_address == *own) {
            return Err(NodeError::Genesis(format!(
                "this validator's key signed block {height}, one of the last {depth}: it may be running elsewhere. Make \
                 sure it is not, wait for {depth} blocks without it, or set double_sign_check_height = 0"
            )));
        }
    }
    Ok(())
}

fn indexing(indexing: config::Indexing) -> Indexing {
    match indexing {
        config::Indexing::On => Indexing::On,
        config::Indexing::Off => Indexing::Off,
    }
}

pub(super) fn backend(backend: config::Backend) -> Backend {
    match backend {
        config::Backend::RocksDb => Backend::RocksDb,
        config::Backend::Redb => Backend::Redb,
        config::Backend::Memory => Backend::Memory,
    }
}

fn app_source(application: &Application, requests_in_flight_max: NonZeroU16) -> AppSource {
    let socket = |address| AppSource::Socket { address, requests_in_flight_max };
    match application {
        Application::Socket(config::Address::Tcp(address)) => socket(abci::Address::Tcp(address.clone())),
        Application::Socket(config::Address::Unix(path)) => socket(abci::Address::Unix(path.clone())),
        Application::Builtin(Builtin::Kvstore) => AppSource::Builtin(LocalApp::new(KvStore::default()), "kvstore"),
        // Keeps nothing itself: at each start the handshake replays the stored blocks to it.
        Application::Builtin(Builtin::PersistentKvstore) => {
            AppSource::Builtin(LocalApp::new(KvStore::default()), "persistent_kvstore")
        }
        Application::Builtin(Builtin::Noop) => AppSource::Builtin(LocalApp::new(Noop), "noop"),
    }
}

fn timeouts(consensus: &ConsensusSettings) -> Timeouts {
    Timeouts {
        propose: consensus.timeout_propose,
        propose_delta: consensus.timeout_propose_delta,
        prevote: consensus.timeout_prevote,
        prevote_delta: consensus.timeout_prevote_delta,
        precommit: consensus.timeout_precommit,
        precommit_delta: consensus.timeout_precommit_delta,
        commit: consensus.timeout_commit,
        skip_commit_when_all_voted: consensus.skip_timeout_commit,
        empty_blocks: match consensus.empty_blocks {
            config::EmptyBlocks::Always => EmptyBlocks::Always,
            config::EmptyBlocks::After(pause) => EmptyBlocks::After(pause),
            config::EmptyBlocks::Never => EmptyBlocks::Never,
        },
        election: consensus.election_timeout,
        heartbeat: consensus.heartbeat_interval,
        view_change: consensus.view_change_timeout,
    }
}

fn mempool(settings: &MempoolSettings) -> MempoolConfig {
    // A mempool of no size takes nothing: CometBFT's `nop`, for applications that bring their own transactions.
    let size = if settings.kind == config::MempoolKind::Nop { 0 } else { settings.size };
    MempoolConfig {
        size,
        max_txs_bytes: settings.max_txs_bytes,
        max_tx_bytes: settings.max_tx_bytes,
        cache_size: usize::try_from(settings.cache_size).unwrap_or(usize::MAX),
        failed: if settings.keep_invalid_txs_in_cache { FailedTxs::Remember } else { FailedTxs::Forget },
        recheck: if settings.recheck { Recheck::On { timeout: settings.recheck_timeout } } else { Recheck::Off },
        broadcast: if settings.broadcast { Broadcast::On } else { Broadcast::Off },
    }
}

fn rpc_config(settings: &RpcSettings) -> RpcConfig {
    let count = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    RpcConfig {
        cors_allowed_origins: settings.cors_allowed_origins.clone(),
        cors_allowed_methods: settings.cors_allowed_methods.clone(),
        cors_allowed_headers: settings.cors_allowed_headers.clone(),
        unsafe_routes: settings.serve_unsafe,
        max_open_connections: count(settings.max_open_connections.unwrap_or(0)),
        max_subscription_clients: count(settings.max_subscription_clients),
        max_subscriptions_per_client: count(settings.max_subscriptions_per_client),
        websocket_write_buffer_size: count(settings.websocket_write_buffer),
        close_on_slow_client: settings.close_on_slow_client,
        timeout_broadcast_tx_commit: settings.timeout_broadcast_tx_commit,
        max_request_batch_size: count(settings.max_request_batch_size.unwrap_or(0)),
        max_body_bytes: count(settings.max_body_bytes),
        max_header_bytes: count(settings.max_header_bytes),
        subscription_buffer_size: count(settings.subscription_buffer),
    }
}
