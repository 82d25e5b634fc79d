//! The asynchronous driver around the replica: tasks, wiring, start and stop.
//!
//! Reading order: this file → `assemble` (from the configuration) → `network` (its part about peers) → `driver` (the
//! loop) → `effects` (what each order does that the executor hands back) → `app_link` (the application) → `inbox` and
//! `talk` (peers) → `fetch` (old blocks) → `handle`, `reads` (clients) → `parts` (who watches them) → `indexer`, `timers`, `status`, `report`.

mod app_link;
mod assemble;
mod driver;
mod effects;
mod fetch;
mod handle;
mod heard;
mod inbox;
mod indexer;
mod misbehaviour;
mod network;
mod parts;
mod protocol;
mod reads;
mod report;
mod sign_state;
mod status;
mod talk;
mod telling;
mod timers;
mod traffic;
mod verify;
mod why;

pub use crate::executor::{DoppelgangerCheck, ExecuteError};
pub use app_link::AppSource;
pub use assemble::assemble;
pub use handle::Handle;
pub use sign_state::{HomeShows, Weight, home_shows};
pub use telling::Telling;

use crate::consensus::Timeouts;
use crate::disk::OsDisk;
use crate::events::Bus;
use crate::executor::{Beginning, Executor, Owed, Reception};
use crate::mempool::MempoolConfig;
use crate::metrics::Metrics;
use crate::p2p::{self, NetworkOptions};
use crate::ports::{JournalError, NodeFacts, Signer, Store, StoreError};
use crate::replica::{Elsewhere, Input};
use crate::rpc::{self, RpcConfig};
use crate::types::{Address, GenesisDoc, Time};
use crate::wal::{self, Recovered, Wal};
use driver::Driver;
use fetch::BlockReader;
use heard::LastHeard;
use inbox::Inbox;
use indexer::Indexer;
use misbehaviour::Misbehaviour;
use parts::{Life, Parts};
use report::Report;
use status::SharedStatus;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use talk::Talk;
use tokio::sync::{SetOnce, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use traffic::Traffic;

/// How long open RPC calls may take to end when the node stops.
const STOP_WITHIN: Duration = Duration::from_secs(3);

/// Everything a node is made of.
pub struct NodeOptions {
    /// The genesis document.
    pub genesis: GenesisDoc,
    /// Its file's bytes, kept in the store.
    pub genesis_json: Vec<u8>,
    /// Its store, open.
    pub store: Arc<dyn Store>,
    /// Directory of the journal.
    pub wal_dir: PathBuf,
    /// Where provable misbehaviour is written down.
    pub misbehaviour_file: PathBuf,
    /// Holder of the validator key.
    pub signer: Option<Box<dyn Signer>>,
    /// Where the application is.
    pub app: AppSource,
    /// How long consensus waits for what.
    pub timeouts: Timeouts,
    /// How far ahead of our clock a proposed block may be; no limit when none.
    pub block_time_tolerance: Option<Duration>,
    /// Whether a validator that rejoins listens for its own key before it signs.
    pub doppelganger_check: DoppelgangerCheck,
    /// How much the mempool holds.
    pub mempool: MempoolConfig,
    /// What the node says about itself.
    pub facts: NodeFacts,
    /// The network; none for a node that stays alone.
    pub network: Option<NetworkOptions>,
    /// Listening RPC sockets and their settings.
    pub rpc: Option<(Vec<rpc::Listener>, RpcConfig)>,
    /// Where metrics are served, and how many may ask at once.
    pub metrics_listener: Option<(tokio::net::TcpListener, Option<u64>)>,
    /// What is counted.
    pub metrics: Metrics,
    /// How lines for people are written.
    pub telling: Telling,
}

impl std::fmt::Debug for NodeOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeOptions").field("facts", &self.facts).field("app", &self.app).finish_non_exhaustive()
    }
}

/// Why a node stopped.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Journal, store or key.
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The own key.
    #[error(
        "refused to sign: {0}. The node stops before it signs anything else\n  next: stop the other node. If you are sure \
         that it is gone: quorate start --skip-doppelganger-check"
    )]
    KeyElsewhere(Elsewhere),
    /// The genesis document and the store.
    #[error("{0}")]
    Genesis(String),
    /// A socket cannot be opened.
    #[error("{0}")]
    Listen(String),
    /// The system gives no thread.
    #[error("cannot start a thread: {0}. Raise the limit on processes (ulimit -u)")]
    Thread(std::io::Error),
    /// Our own mistake.
    #[error("a part of the node failed: {0}. This is a bug; its log lines say where")]
    Bug(String),
}

/// A node that runs.
pub struct Running {
    handle: Arc<Handle>,
    driver: oneshot::Receiver<Result<(), NodeError>>,
    parts: Parts,
    link: JoinHandle<()>,
    servers: JoinHandle<()>,
    network: Option<p2p::Network>,
    stop: CancellationToken,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

/// What ended first.
enum First {
    Replica(Result<(), NodeError>),
    /// A part, and how it failed.
    Part(String),
}

impl Running {
    /// For asking it things and sending it transactions, from inside this process.
    pub fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// Waits until the node was stopped, or stopped because going on could do harm, or because a part of it failed.
    pub async fn ended(self) -> Result<(), NodeError> {
        let network = self.network.clone();
        let network_failed = async {
            match network {
                Some(network) => network.failed().await,
                None => std::future::pending().await,
            }
        };
        let mut replica = pin!(async {
            // It gives its outcome unless it panics.
            self.driver.await.unwrap_or_else(|_| Err(NodeError::Bug("the replica's thread panicked".to_owned())))
        });
        let first = tokio::select! {
            biased;
            ended = replica.as_mut() => First::Replica(ended),
            failed = self.parts.failed() => First::Part(failed),
            failed = network_failed => First::Part(failed),
        };
        self.stop.cancel();
        let outcome = match first {
            First::Replica(outcome) => outcome,
            // The replica stops in order if it still can; what it promised is on disk either way. A replica that gives up
            // takes its parts with it, and one of them may be the first to tell: then its reason is the one that counts.
            First::Part(failed) => match tokio::time::timeout(STOP_WITHIN, replica).await {
                Ok(Err(reason)) => Err(reason),
                Ok(Ok(())) | Err(_) => Err(NodeError::Bug(failed)),
            },
        };
        self.link.abort();
        let _ = tokio::time::timeout(STOP_WITHIN, self.servers).await;
        if let Some(network) = self.network {
            let _ = tokio::time::timeout(STOP_WITHIN, network.stopped()).await;
        }
        outcome
    }
}

/// Opens the journal in a directory of this machine's disk.
fn open_journal(dir: &Path) -> Result<(Wal, Recovered), JournalError> {
    wal::open(Arc::new(OsDisk), dir, wal::Limits::default(), Time::from(SystemTime::now()))
}

/// Starts a node, which runs until `stop`. Call it inside a tokio runtime with several threads.
pub fn start(options: NodeOptions, stop: CancellationToken) -> Result<Running, NodeError> {
    let NodeOptions { genesis, genesis_json, store, wal_dir, signer, app, timeouts, .. } = options;
    let own = signer.as_ref().map(|signer| Address::from(&signer.public_key()));
    let (journal, _) = open_journal(&wal_dir)?;
    let executor = Executor::new((Arc::new(genesis), genesis_json), Box::new(journal), signer, Arc::clone(&store));
    let standing = executor.standing()?;
    let state = Arc::clone(&standing.state);
    let empty_blocks = timeouts.empty_blocks;
    let replica = executor.begin(
        standing,
        Beginning {
            timeouts,
            block_time_tolerance: options.block_time_tolerance,
            doppelganger_check: options.doppelganger_check,
            hearing: sign_state::hearing(options.network.as_ref(), &state, own.as_ref()),
            mempool: options.mempool,
            app: app.to_string(),
        },
    );
    let status = Arc::new(SharedStatus::new(Arc::clone(&state), &app.to_string()));
    let (facts, facts_in) = mpsc::channel(driver::FACTS_WAITING_MAX);
    let heard = Arc::new(LastHeard::default());
    let (network, talk, peer_facts_in) = open_network(options.network, &store, &options.metrics, &heard, &stop);
    let (commands, commands_in) = mpsc::channel(handle::COMMANDS_WAITING_MAX);
    let (current_app, app_now) = watch::channel(None);
    let (given_up, watch_given_up) = watch::channel(0);
    let bus =
        Bus::new(options.rpc.as_ref().map_or(crate::events::CAPACITY, |(_, config)| config.subscription_buffer_size));
    let handle = Arc::new(Handle {
        store: Arc::clone(&store),
        facts: options.facts.clone(),
        commands,
        app: app_now,
        bus: bus.clone(),
        status: Arc::clone(&status),
        network: network.clone(),
        heard,
        empty_blocks,
        began: Time::from(SystemTime::now()),
    });
    let parts = Parts::new(stop.clone());
    let driver = Driver {
        parts: parts.clone(),
        replica,
        executor,
        indexer: Indexer::start(Arc::clone(&store), &parts)?,
        store,
        bus,
        metrics: options.metrics.clone(),
        misbehaviour: Misbehaviour::new(options.misbehaviour_file, state.chain_id.clone(), state.algorithm),
        report: Report::new(options.telling, own, state.algorithm, options.facts.rpc_address),
        status,
        facts: facts.clone(),
        talk,
        given_up,
        begun: Instant::now(),
        inner: driver::Inner::default(),
    };
    let driver = spawn_driver(
        driver,
        driver::Inlets { facts: facts_in, commands: commands_in, peers: peer_facts_in },
        stop.clone(),
    )?;
    let link = app_link::keep_connected(app, facts, current_app, watch_given_up);
    let link = parts.spawn("the link to the application", Life::UntilStop, link);
    let servers = serve(Arc::clone(&handle), options.rpc, options.metrics_listener, options.metrics, &parts, &stop);
    Ok(Running { handle, driver, parts, link, servers: tokio::spawn(servers), network, stop })
}

/// Starts the network. Gives its handle, the driver's end of it, and where what peers say comes out.
fn open_network(
    options: Option<NetworkOptions>,
    store: &Arc<dyn Store>,
    metrics: &Metrics,
    heard: &Arc<LastHeard>,
    stop: &CancellationToken,
) -> (Option<p2p::Network>, Talk, mpsc::Receiver<Input>) {
    let (facts, facts_in) = mpsc::channel(inbox::PEER_FACTS_MAX);
    let (signers, signers_now) = watch::channel(None);
    let traffic = Arc::new(Traffic::new(metrics.clone()));
    let owed = Arc::new(Owed::default());
    // Without a network nobody sends any.
    let max_tx_bytes = options.as_ref().map_or(0, |options| options.settings.max_tx_bytes);
    let reception = Reception::new(Arc::clone(&owed), max_tx_bytes);
    let seen = reception.seen();
    let inbox = Arc::new(Inbox {
        facts,
        store: Arc::clone(store),
        reception,
        signers: signers_now,
        network: SetOnce::new(),
        verifier: verify::Verifier::default(),
        heard: Arc::clone(heard),
        traffic: Arc::clone(&traffic),
        owed: Arc::clone(&owed),
        reader: BlockReader::new(),
    });
    let network = options.map(|options| p2p::start(options, Arc::clone(&inbox), stop.clone()));
    if let Some(network) = &network {
        // Set once, here: nothing else can have set it.
        let _ = inbox.network.set(network.clone());
    }
    (network.clone(), Talk::new(network, signers, (owed, seen), traffic), facts_in)
}

/// Starts the servers; the future ends when both did.
fn serve(
    handle: Arc<Handle>,
    rpc: Option<(Vec<rpc::Listener>, RpcConfig)>,
    metrics_listener: Option<(tokio::net::TcpListener, Option<u64>)>,
    metrics: Metrics,
    parts: &Parts,
    stop: &CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let rpc = rpc.map(|(listeners, config)| {
        parts.spawn("the RPC", Life::UntilStop, rpc::serve(handle, listeners, config, stop.clone()))
    });
    let metrics = metrics_listener.map(|(listener, connections)| {
        let server = crate::metrics::serve(listener, metrics, connections, stop.clone());
        parts.spawn("the server of metrics", Life::UntilStop, server)
    });
    async move {
        if let Some(rpc) = rpc {
            let _ = rpc.await;
        }
        if let Some(metrics) = metrics {
            let _ = metrics.await;
        }
    }
}

/// Runs the driver on a thread of its own, so that its waits for the disk hold up nobody else.
fn spawn_driver(
    driver: Driver,
    inlets: driver::Inlets,
    stop: CancellationToken,
) -> Result<oneshot::Receiver<Result<(), NodeError>>, NodeError> {
    let runtime = tokio::runtime::Handle::current();
    let (done, outcome) = oneshot::channel();
    std::thread::Builder::new()
        .name("replica".to_owned())
        .spawn(move || {
            let _ = done.send(runtime.block_on(driver.run(inlets, stop)));
        })
        .map_err(NodeError::Thread)?;
    Ok(outcome)
}

#[cfg(test)]
mod tests;
