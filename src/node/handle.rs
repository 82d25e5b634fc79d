//! The node as RPC and command line see it: questions become commands to the driver, answers come back.

use super::SharedStatus;
use super::app_link::AnyApp;
use super::driver::Command;
use super::heard::LastHeard;
use crate::consensus::{EmptyBlocks, View};
use crate::crypto::Hash;
use crate::events::{Bus, Subscription};
use crate::p2p::Network;
use crate::ports::{
    AddressView, App, AppError, Connection, ConsensusView, DialRequest, HealthCheck, MempoolError, MempoolView, Node,
    NodeFacts, PeerView, ReadError, ReadGuarantee, RoundVotes, Situation, Store,
};
use crate::types::abci::{CheckTxResponse, Request, Response};
use crate::types::{ChainState, Evidence, PeerRoundState, Round, Step, Time, Tx, Vote};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// Commands that may wait for the driver; a client beyond that waits itself.
pub(super) const COMMANDS_WAITING_MAX: usize = 4096;

/// Why a client gets no answer: the driver is gone.
pub(super) const STOPPING: &str = "the node is stopping";

/// A handle on a running node.
pub struct Handle {
    pub(super) store: Arc<dyn Store>,
    pub(super) facts: NodeFacts,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) app: watch::Receiver<Option<AnyApp>>,
    pub(super) bus: Bus,
    pub(super) status: Arc<SharedStatus>,
    pub(super) network: Option<Network>,
    pub(super) heard: Arc<LastHeard>,
    pub(super) empty_blocks: EmptyBlocks,
    pub(super) began: Time,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("facts", &self.facts).finish_non_exhaustive()
    }
}

impl Handle {
    pub(super) async fn ask_driver<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

impl Node for Handle {
    type Subscription = Subscription;

    fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    fn facts(&self) -> NodeFacts {
        self.facts.clone()
    }

    fn catching_up(&self) -> bool {
        !self.status.is_ready()
    }

    async fn consensus(&self) -> ConsensusView {
        match self.ask_driver(|reply| Command::View { reply }).await {
            Some((Some(view), _)) => shown(view),
            Some((None, state)) => not_begun(&state, self.began),
            None => match self.store.state() {
                Ok(Some(state)) => not_begun(&state, self.began),
                _ => self.status.empty_view(self.began),
            },
        }
    }

    async fn mempool(&self, limit: usize) -> MempoolView {
        let empty = MempoolView { count: 0, bytes: 0, txs: Vec::new() };
        self.ask_driver(|reply| Command::Mempool { limit, reply }).await.unwrap_or(empty)
    }

    async fn submit(&self, txs: Vec<Tx>) -> Vec<Result<CheckTxResponse, MempoolError>> {
        let count = txs.len();
        let answers = self.ask_driver(|reply| Command::Submit { txs, reply }).await;
        answers.unwrap_or_else(|| unavailable(count))
    }

    async fn submit_async(&self, txs: Vec<Tx>) -> Vec<Result<(), MempoolError>> {
        let count = txs.len();
        let answers = self.ask_driver(|reply| Command::SubmitAsync { txs, reply }).await;
        answers.unwrap_or_else(|| unavailable(count))
    }

    async fn flush_mempool(&self) {
        let _: Option<()> = self.ask_driver(|reply| Command::FlushMempool { reply }).await;
    }

    async fn ask(&self, request: Request) -> Result<Response, AppError> {
        let connection = match request {
            Request::CheckTx(_) => Connection::Mempool,
            _ => Connection::Query,
        };
        let method = request.method();
        let gone = |why: &str| AppError::Gone { connection, method, height: None, why: why.to_owned() };
        let Some(app) = self.app.borrow().clone() else {
            return Err(gone("the node is waiting for its application"));
        };
        let answers = app.call(connection, vec![request]).await?;
        answers.into_iter().next().ok_or_else(|| gone("no answer"))
    }

    async fn read(&self, request: Request, guarantee: ReadGuarantee) -> Result<Response, ReadError> {
        self.read_consistently(request, guarantee).await
    }

    async fn add_evidence(&self, evidence: Evidence) -> Result<Hash, String> {
        let evidence = Box::new(evidence);
        let answer = self.ask_driver(|reply| Command::Evidence { evidence, reply }).await;
        answer.unwrap_or_else(|| Err(STOPPING.to_owned()))
    }

    fn subscribe(&self) -> Subscription {
        self.bus.subscribe()
    }

    fn peers(&self) -> Vec<PeerView> {
        self.network.as_ref().map(Network::peers).unwrap_or_default()
    }

    fn known_addresses(&self) -> Vec<AddressView> {
        self.network.as_ref().map(Network::known).unwrap_or_default()
    }

    fn listeners(&self) -> Vec<String> {
        self.facts.listeners.clone()
    }

    async fn peer_states(&self) -> Vec<PeerRoundState> {
        self.ask_driver(|reply| Command::PeerStates { reply }).await.unwrap_or_default()
    }

    fn dial(&self, request: DialRequest) -> Result<(), String> {
        match &self.network {
            Some(network) => network.dial(request),
            None => Err("this node has no network: it validates alone. Give it p2p.laddr in config.toml".to_owned()),
        }
    }

    async fn pending_evidence(&self) -> Vec<Evidence> {
        self.ask_driver(|reply| Command::PendingEvidence { reply }).await.unwrap_or_default()
    }

    async fn situation(&self) -> Option<Situation> {
        self.look().await
    }

    async fn health(&self) -> Vec<HealthCheck> {
        self.status.checks()
    }
}

fn unavailable<T>(count: usize) -> Vec<Result<T, MempoolError>> {
    (0..count).map(|_| Err(MempoolError::Unavailable(STOPPING.to_owned()))).collect()
}

/// The round at hand and the next one are shown even without votes, as CometBFT does, with a place for each validator.
fn shown(view: View) -> ConsensusView {
    let places = view.validators.len();
    let filled = |mut votes: Vec<Option<Vote>>| {
        votes.resize(places, None);
        votes
    };
    let mut rounds: BTreeMap<Round, RoundVotes> = BTreeMap::new();
    let next = (view.step != Step::NewHeight).then(|| view.round.next());
    for round in [Some(view.round), next].into_iter().flatten() {
        rounds.insert(round, RoundVotes { round, prevotes: filled(Vec::new()), precommits: filled(Vec::new()) });
    }
    for votes in view.votes {
        let (prevotes, precommits) = (filled(votes.prevotes), filled(votes.precommits));
        rounds.insert(votes.round, RoundVotes { round: votes.round, prevotes, precommits });
    }
    ConsensusView {
        height: view.height,
        round: view.round,
        step: view.step,
        start_time: view.start_time,
        validators: view.validators,
        proposal: view.proposal,
        proposal_block: view.proposal_block,
        locked: view.locked,
        valid: view.valid,
        votes: rounds.into_values().collect(),
        last_commit: view.last_commit,
    }
}

/// Consensus waits for the first handshake.
pub(super) fn not_begun(state: &ChainState, began: Time) -> ConsensusView {
    ConsensusView {
        height: state.next_height(),
        round: Round::ZERO,
        step: Step::NewHeight,
        start_time: began,
        validators: Arc::clone(&state.validators),
        proposal: None,
        proposal_block: None,
        locked: None,
        valid: None,
        votes: Vec::new(),
        last_commit: Vec::new(),
    }
}
