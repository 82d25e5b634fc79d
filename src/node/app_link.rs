//! The application as the node holds it: connected, lost, connected again.
//!
//! One task owns the connections. It connects, asks Info, tells the driver, waits until a connection breaks or the
//! driver gives up on it, and starts over. The node outlives its application (reference §14.3).

use super::driver::Fact;
use super::parts::{Life, Parts};
use crate::abci::{self, LocalApp, SocketApp};
use crate::metrics::Metrics;
use crate::pipeline::requests;
use crate::ports::{App, AppError, Connection};
use crate::types::abci::{InfoResponse, Request, Response};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// Pause before the next attempt after an application that accepts connections did not answer Info.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Tower-abci's example sheds load above this: what `abci_requests_in_flight` should be for its like.
const SHEDDING_REQUESTS: usize = 8;

/// Where the application is.
#[derive(Clone)]
pub enum AppSource {
    /// Behind a socket.
    Socket {
        /// Where it listens.
        address: abci::Address,
        /// Requests sent on one connection before their answers come.
        requests_in_flight_max: NonZeroU16,
    },
    /// In this process, with the name it was asked for by.
    Builtin(LocalApp, &'static str),
    /// Like that, but whoever asks on this connection panics: what becomes of the node then?
    #[cfg(test)]
    Broken(LocalApp, Connection),
}

impl std::fmt::Display for AppSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AppSource::Socket { address, .. } => write!(f, "{address}"),
            AppSource::Builtin(_, name) => write!(f, "built-in {name}"),
            #[cfg(test)]
            AppSource::Broken(..) => f.write_str("broken"),
        }
    }
}

impl std::fmt::Debug for AppSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// A connected application.
#[derive(Clone)]
pub(super) enum AnyApp {
    Socket(SocketApp),
    Local(LocalApp),
    #[cfg(test)]
    Broken(LocalApp, Connection),
}

impl App for AnyApp {
    async fn call(&self, connection: Connection, requests: Vec<Request>) -> Result<Vec<Response>, AppError> {
        match self {
            AnyApp::Socket(app) => app.call(connection, requests).await,
            AnyApp::Local(app) => app.call(connection, requests).await,
            #[cfg(test)]
            AnyApp::Broken(_, broken) if *broken == connection => panic!("planted"),
            #[cfg(test)]
            AnyApp::Broken(app, _) => app.call(connection, requests).await,
        }
    }
}

impl AnyApp {
    async fn connect(source: &AppSource) -> AnyApp {
        match source {
            AppSource::Socket { address, requests_in_flight_max } => {
                let requests_in_flight_max = *requests_in_flight_max;
                let options = abci::Options { requests_in_flight_max, ..abci::Options::default() };
                AnyApp::Socket(abci::connect(address.clone(), options).await)
            }
            AppSource::Builtin(app, _) => AnyApp::Local(app.clone()),
            #[cfg(test)]
            AppSource::Broken(app, connection) => AnyApp::Broken(app.clone(), *connection),
        }
    }

    /// Waits until a connection is lost; never, for an application of this process.
    async fn closed(&self) -> String {
        match self {
            AnyApp::Socket(app) => describe(&app.closed().await),
            AnyApp::Local(_) => std::future::pending().await,
            #[cfg(test)]
            AnyApp::Broken(..) => std::future::pending().await,
        }
    }

    /// Ends its connections, so that it can do nothing more for whoever still holds a clone.
    fn close(&self, why: &str) {
        match self {
            AnyApp::Socket(app) => app.close(why),
            AnyApp::Local(_) => {}
            #[cfg(test)]
            AnyApp::Broken(..) => {}
        }
    }

    async fn info(&self) -> Result<InfoResponse, String> {
        let request = Request::Info(requests::info());
        crash_point!("app.info.before");
        let answers = self.call(Connection::Query, vec![request]).await.map_err(|error| error.to_string())?;
        crash_point!("app.info.after");
        match answers.into_iter().next() {
            Some(Response::Info(info)) => Ok(info),
            other => Err(format!("the application's answer to info cannot be used: {other:?}")),
        }
    }
}

/// Why a connection was lost, and what to do about it if the application may have been asked too much at once.
fn describe(lost: &abci::Lost) -> String {
    if lost.unanswered <= SHEDDING_REQUESTS {
        return lost.to_string();
    }
    format!(
        "{lost}. If the application sheds load, as programs made with tower-abci may, set abci_requests_in_flight = \
         {SHEDDING_REQUESTS} in config.toml"
    )
}

/// Runs until its task is dropped: keeps the application connected and tells the driver.
///
/// `given_up` names the newest connection the driver gave up on: it is dropped, and the link starts over. A name, not a
/// signal: the driver may give up on a connection that was replaced already.
pub(super) async fn keep_connected(
    source: AppSource,
    facts: mpsc::Sender<Fact>,
    current: watch::Sender<Option<AnyApp>>,
    mut given_up: watch::Receiver<u64>,
) {
    for number in 1.. {
        let app = AnyApp::connect(&source).await;
        let info = match app.info().await {
            Ok(info) => info,
            Err(why) => {
                tracing::warn!("{why}; connecting again");
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        current.send_replace(Some(app.clone()));
        if facts.send(Fact::AppUp { app: app.clone(), info, number }).await.is_err() {
            return;
        }
        let why = tokio::select! {
            why = app.closed() => why,
            _ = given_up.wait_for(|given_up| *given_up >= number) => "the node gave up on its last answer".to_owned(),
        };
        current.send_replace(None);
        // Before it is asked anew how far it is: a Commit still on its way must not overtake the answer.
        app.close(&why);
        if facts.send(Fact::AppLost { why }).await.is_err() {
            return;
        }
    }
}

/// Every request of a job counts with the time until the last answer: they are asked together.
fn measure(metrics: &Metrics, connection: Connection, methods: &[&'static str], took: Duration) {
    for method in methods {
        match connection {
            Connection::Mempool => metrics.app.answered_pipelined(method, took),
            _ => metrics.app.answered(method, took),
        }
        if *method == "finalize_block" {
            metrics.state.block_executed(took);
        }
    }
}

/// Where a crash may be wanted before the application is asked.
fn about_to_ask(method: &str) {
    match method {
        "init_chain" => crash_point!("app.init_chain.before"),
        "prepare_proposal" => crash_point!("app.prepare_proposal.before"),
        "process_proposal" => crash_point!("app.process_proposal.before"),
        "extend_vote" => crash_point!("app.extend_vote.before"),
        "verify_vote_extension" => crash_point!("app.verify_vote_extension.before"),
        "finalize_block" => crash_point!("app.finalize_block.before"),
        "commit" => crash_point!("app.commit.before"),
        "check_tx" => crash_point!("app.check_tx.before"),
        _ => {}
    }
}

/// The same when it has answered.
fn has_answered(method: &str) {
    match method {
        "init_chain" => crash_point!("app.init_chain.after"),
        "prepare_proposal" => crash_point!("app.prepare_proposal.after"),
        "process_proposal" => crash_point!("app.process_proposal.after"),
        "extend_vote" => crash_point!("app.extend_vote.after"),
        "verify_vote_extension" => crash_point!("app.verify_vote_extension.after"),
        "finalize_block" => crash_point!("app.finalize_block.after"),
        "commit" => crash_point!("app.commit.after"),
        "check_tx" => crash_point!("app.check_tx.after"),
        _ => {}
    }
}

/// Requests with the names under which their answers come back.
#[derive(Debug, Default)]
pub(super) struct Job<I> {
    pub(super) ids: I,
    pub(super) requests: Vec<Request>,
}

/// Feeds one connection: jobs go out in order, many on their way at once, answers come back in order. How many jobs can
/// wait here is bounded by the machines that order them (docs/LIMITS.md): the driver must not wait for an application.
pub(super) struct Pump<I> {
    jobs: mpsc::UnboundedSender<Job<I>>,
}

impl<I: Send + 'static> Pump<I> {
    /// Starts feeding `connection` of `app`; `answered` makes a fact of each answer. Ends when dropped.
    pub(super) fn start(
        app: AnyApp,
        connection: Connection,
        facts: mpsc::Sender<Fact>,
        (metrics, parts): (Metrics, &Parts),
        answered: impl Fn(I, Result<Vec<Response>, AppError>) -> Fact + Send + 'static,
    ) -> Pump<I> {
        let (jobs, mut waiting) = mpsc::unbounded_channel::<Job<I>>();
        parts.spawn("the way to the application", Life::UntilDone, async move {
            let mut under_way = FuturesOrdered::new();
            loop {
                tokio::select! {
                    biased;
                    Some((ids, answer)) = under_way.next() => {
                        if facts.send(answered(ids, answer)).await.is_err() {
                            return;
                        }
                    }
                    job = waiting.recv() => {
                        let Some(Job { ids, requests }) = job else { return };
                        let (app, metrics) = (app.clone(), metrics.clone());
                        under_way.push_back(async move {
                            let methods: Vec<&'static str> = requests.iter().map(Request::method).collect();
                            let begun = Instant::now();
                            methods.iter().for_each(|method| about_to_ask(method));
                            let answer = app.call(connection, requests).await;
                            methods.iter().for_each(|method| has_answered(method));
                            measure(&metrics, connection, &methods, begun.elapsed());
                            (ids, answer)
                        });
                    }
                }
            }
        });
        Pump { jobs }
    }

    /// Sends a job. Lost when the connection is gone, which the driver is told another way.
    pub(super) fn send(&self, job: Job<I>) {
        let _ = self.jobs.send(job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abci::KvStore;
    use crate::mempool::BatchId;
    use crate::types::ChainId;
    use crate::types::abci::{CheckTxKind, CheckTxRequest};
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn answers_wait_while_the_driver_is_busy_and_all_come_in_order() {
        let (facts, mut facts_in) = mpsc::channel(1);
        let app = AnyApp::Local(LocalApp::new(KvStore::default()));
        let answered = |batch, answer| Fact::Checked { generation: 1, batches: vec![(batch, 1)], answer };
        let chain_id = ChainId::try_from("pump").expect("short");
        let metrics = Metrics::new("cometbft", &chain_id).expect("a legal name");
        let pump =
            Pump::start(app, Connection::Mempool, facts, (metrics, &Parts::new(CancellationToken::new())), answered);
        let ask = || Request::CheckTx(CheckTxRequest { tx: "a=b".into(), kind: CheckTxKind::New });
        for number in 0..100 {
            pump.send(Job { ids: BatchId(number), requests: vec![ask()] });
        }
        for number in 0..100 {
            let Some(Fact::Checked { batches, answer: Ok(_), .. }) = facts_in.recv().await else {
                panic!("batch {number} is not answered");
            };
            assert_eq!(batches, [(BatchId(number), 1)]);
        }
    }
}
