//! CometBFT's RPC: JSON-RPC over POST, plain GET with arguments in the query, and WebSocket with subscriptions
//! (reference §8). Parse → ask the [`Node`] → render; no state but the count of subscriptions.
//!
//! Reading order: `routes` (what can be called) → `args` (how arguments are read) → `wire` (requests and answers) →
//! `call` (dispatch) → `reads` → `chain`, `info`, `network`, `why`, `txs` (the answers) → `form`, `cors` → `http` →
//! `websocket` → `listen`.

mod args;
mod call;
mod chain;
mod consensus_view;
mod cors;
mod form;
mod go_words;
mod http;
mod info;
mod limits;
mod listen;
mod network;
mod raw_urls;
mod reads;
mod routes;
#[cfg(test)]
mod tests;
mod txs;
mod websocket;
mod why;
mod wire;

pub use listen::{ListenError, Listener, bind};
pub use routes::{Route, endpoints};
pub use wire::{Request, parse_requests};

use crate::ports::Node;
use bytes::Bytes;
use limits::Limits;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

/// How the RPC behaves: CometBFT's `[rpc]` keys, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcConfig {
    /// Origins browsers may call from, each with at most one `*` for any text; empty switches CORS off, `*` allows all.
    pub cors_allowed_origins: Vec<String>,
    /// Methods browsers may use.
    pub cors_allowed_methods: Vec<String>,
    /// Headers browsers may send.
    pub cors_allowed_headers: Vec<String>,
    /// Serve the routes that change the node.
    pub unsafe_routes: bool,
    /// Connections at once on each address; 0 does not limit them.
    pub max_open_connections: usize,
    /// Clients with subscriptions at once.
    pub max_subscription_clients: usize,
    /// Subscriptions of one client.
    pub max_subscriptions_per_client: usize,
    /// Answers and events waiting for one WebSocket.
    pub websocket_write_buffer_size: usize,
    /// Ends the subscription of a client that does not read, instead of skipping events.
    pub close_on_slow_client: bool,
    /// How long `broadcast_tx_commit` waits for a block.
    pub timeout_broadcast_tx_commit: Duration,
    /// Requests in one batch; 0 does not limit them.
    pub max_request_batch_size: usize,
    /// Bytes in one request.
    pub max_body_bytes: usize,
    /// Bytes of a request's head.
    pub max_header_bytes: usize,
    /// Published facts kept for a subscriber that is slow.
    pub subscription_buffer_size: usize,
}

impl Default for RpcConfig {
    fn default() -> RpcConfig {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        RpcConfig {
            cors_allowed_origins: Vec::new(),
            cors_allowed_methods: list(&["HEAD", "GET", "POST"]),
            cors_allowed_headers: list(&["Origin", "Accept", "Content-Type", "X-Requested-With", "X-Server-Time"]),
            unsafe_routes: false,
            max_open_connections: 900,
            max_subscription_clients: 100,
            max_subscriptions_per_client: 5,
            websocket_write_buffer_size: 200,
            close_on_slow_client: false,
            timeout_broadcast_tx_commit: Duration::from_secs(10),
            max_request_batch_size: 10,
            max_body_bytes: 1_000_000,
            max_header_bytes: 1 << 20,
            subscription_buffer_size: 1_000,
        }
    }
}

/// What every handler shares.
#[derive(Debug)]
pub(crate) struct Shared<N> {
    node: Arc<N>,
    config: RpcConfig,
    limits: Limits,
    reads: reads::Reads,
    /// The genesis document as compact JSON, once somebody asked for it. It never changes.
    genesis: OnceCell<Bytes>,
    shutdown: CancellationToken,
}

/// Serves `node` on all `listeners` until `shutdown` is cancelled; then lets running requests end.
///
/// # Panics
/// When a listener's task does, which would be our own mistake.
pub async fn serve<N: Node>(node: Arc<N>, listeners: Vec<Listener>, config: RpcConfig, shutdown: CancellationToken) {
    let limits = Limits::new(config.max_subscription_clients, config.max_subscriptions_per_client);
    let shared = Arc::new(Shared {
        node,
        config,
        limits,
        reads: reads::Reads::default(),
        genesis: OnceCell::new(),
        shutdown: shutdown.clone(),
    });
    let router = http::router(shared.clone());
    let mut tasks = tokio::task::JoinSet::new();
    for listener in listeners {
        let connections = match shared.config.max_open_connections {
            0 => usize::MAX,
            limit => limit,
        };
        let bounds = crate::http::Bounds { connections, head_bytes: shared.config.max_header_bytes };
        let listener = listen::Open(listener);
        tasks.spawn(crate::http::serve(listener, bounds, router.clone(), shutdown.clone()));
    }
    // One that panics must be heard of: the caller panics with it.
    tasks.join_all().await;
}
