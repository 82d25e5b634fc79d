//! The loop around the replica: takes facts in bulk, steps the replica, executes its orders in order.
//!
//! It runs on a thread of its own and never waits for the application or a client; it does wait for the disk, because
//! that is what an order means.

use super::app_link::{AnyApp, Job, Pump};
use super::indexer::Indexer;
use super::parts::Parts;
use super::reads::{ReadReply, Readers};
use super::report::Report;
use super::talk::Talk;
use super::timers::Timers;
use super::why::DriverFacts;
use super::{NodeError, SharedStatus};
use crate::consensus::View;
use crate::consensus::{Now, ReadMode, Tick};
use crate::crypto::Hash;
use crate::events::Bus;
use crate::executor::{Executor, evidence_facts};
use crate::mempool::{BatchId, MempoolInput, Origin, RequestId};
use crate::metrics::Metrics;
use crate::pipeline::{CallId, PipelineInput};
use crate::ports::{AppError, Connection, MempoolError, MempoolView, Store};
use crate::replica::{Effect, Input, PeerInput, Replica};
use crate::types::abci::{CheckTxResponse, InfoResponse, Request, Response};
use crate::types::{ChainState, Evidence, Height, PeerRoundState, Time, Tx};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Facts and commands taken in one turn of the loop: enough to fill a batch, few enough to stay responsive.
const TAKEN_AT_ONCE: usize = 512;

/// Facts of the application and of work beside the loop that may wait for the replica: two turns of it. While no more
/// fit, those who have them wait, and nothing more is read from the application. The driver itself waits for nobody.
pub(super) const FACTS_WAITING_MAX: usize = 1024;
const _: () = assert!(FACTS_WAITING_MAX >= TAKEN_AT_ONCE, "a turn can be filled");

/// What the application's tasks tell the driver.
pub(super) enum Fact {
    /// Connected, and it said who it is. Connections are numbered, later ones higher.
    AppUp { app: AnyApp, info: InfoResponse, number: u64 },
    /// A connection broke.
    AppLost { why: String },
    /// Answers on the consensus connection of one generation of connections.
    Answered { generation: u64, calls: Vec<CallId>, answer: Result<Vec<Response>, AppError> },
    /// Work beside the loop is done.
    Worked(Input),
    /// Answers on the mempool connection.
    Checked { generation: u64, batches: Vec<(BatchId, usize)>, answer: Result<Vec<Response>, AppError> },
}

/// Where facts come in.
pub(super) struct Inlets {
    /// From the application and from work beside the loop.
    pub(super) facts: mpsc::Receiver<Fact>,
    /// From clients.
    pub(super) commands: mpsc::Receiver<Command>,
    /// From peers.
    pub(super) peers: mpsc::Receiver<Input>,
}

/// What one turn of the loop takes in. Empty between turns; kept for its memory.
#[derive(Default)]
struct Taken {
    facts: Vec<Fact>,
    commands: Vec<Command>,
    peers: Vec<Input>,
}

impl Inlets {
    /// Waits until something is there, and takes it with all else that is there: it belongs into the same batch, and
    /// an application under load, which always has something to say, must not keep peers from being heard. An inlet that
    /// is closed, as that for peers is in a node without a network, would give nothing at once, for ever: it is left out.
    async fn take(&mut self, taken: &mut Taken) {
        tokio::select! {
            biased;
            1.. = self.facts.recv_many(&mut taken.facts, TAKEN_AT_ONCE) => {}
            1.. = self.peers.recv_many(&mut taken.peers, TAKEN_AT_ONCE) => {}
            1.. = self.commands.recv_many(&mut taken.commands, TAKEN_AT_ONCE) => {}
            // None of them: nobody is left who could say something.
            else => std::future::pending().await,
        }
        take_more(&mut self.peers, &mut taken.peers);
        take_more(&mut self.commands, &mut taken.commands);
    }
}

fn take_more<T>(from: &mut mpsc::Receiver<T>, taken: &mut Vec<T>) {
    while taken.len() < TAKEN_AT_ONCE
        && let Ok(one) = from.try_recv()
    {
        taken.push(one);
    }
}

/// What clients ask the driver.
pub(super) enum Command {
    Submit { txs: Vec<Tx>, reply: oneshot::Sender<Vec<Result<CheckTxResponse, MempoolError>>> },
    SubmitAsync { txs: Vec<Tx>, reply: oneshot::Sender<Vec<Result<(), MempoolError>>> },
    Why { reply: oneshot::Sender<DriverFacts> },
    View { reply: oneshot::Sender<(Option<View>, Arc<ChainState>)> },
    Mempool { limit: usize, reply: oneshot::Sender<MempoolView> },
    FlushMempool { reply: oneshot::Sender<()> },
    Evidence { evidence: Box<Evidence>, reply: oneshot::Sender<Result<Hash, String>> },
    PendingEvidence { reply: oneshot::Sender<Vec<Evidence>> },
    PeerStates { reply: oneshot::Sender<Vec<PeerRoundState>> },
    Read { mode: ReadMode, reply: oneshot::Sender<ReadReply> },
}

/// Clients that wait for an answer of the replica.
#[derive(Default)]
pub(super) struct Waiting {
    pub(super) next: u64,
    pub(super) checked: BTreeMap<RequestId, oneshot::Sender<Vec<Result<CheckTxResponse, MempoolError>>>>,
    pub(super) admitted: BTreeMap<RequestId, oneshot::Sender<Vec<Result<(), MempoolError>>>>,
    pub(super) evidence: BTreeMap<u64, oneshot::Sender<Result<Hash, String>>>,
    pub(super) reads: Readers,
}

impl Waiting {
    pub(super) fn next_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// The two connections the driver feeds; of one generation.
pub(super) struct Pumps {
    pub(super) app: AnyApp,
    pub(super) consensus: Pump<Vec<CallId>>,
    pub(super) mempool: Pump<Vec<(BatchId, usize)>>,
}

/// Everything the loop owns.
pub(super) struct Driver {
    pub(super) parts: Parts,
    pub(super) replica: Replica,
    pub(super) executor: Executor,
    pub(super) store: Arc<dyn Store>,
    pub(super) indexer: Indexer,
    pub(super) bus: Bus,
    pub(super) metrics: Metrics,
    pub(super) report: Report,
    pub(super) misbehaviour: super::misbehaviour::Misbehaviour,
    pub(super) status: Arc<SharedStatus>,
    pub(super) facts: mpsc::Sender<Fact>,
    /// Peers.
    pub(super) talk: Talk,
    /// The newest connection given up on.
    pub(super) given_up: watch::Sender<u64>,
    pub(super) begun: Instant,
    pub(super) inner: Inner,
}

/// What the loop keeps for itself.
#[derive(Default)]
pub(super) struct Inner {
    pub(super) timers: Timers,
    pub(super) recheck_timer: Option<(Tick, Height)>,
    pub(super) pumps: Option<Pumps>,
    /// Number of the application's connection.
    pub(super) connection: u64,
    /// Counts how often the application came and went, so that answers of old ones are not taken for new.
    pub(super) generation: u64,
    /// CheckTx batches on their way.
    pub(super) checking: BTreeSet<BatchId>,
    pub(super) waiting: Waiting,
    /// Empty between steps; kept for its memory.
    effects: Vec<Effect>,
    /// Answers to orders that were executed on the spot.
    pub(super) answers: VecDeque<Input>,
    /// Orders of this turn that go out together.
    pub(super) calls: Job<Vec<CallId>>,
    pub(super) checks: Job<Vec<(BatchId, usize)>>,
}

impl Driver {
    /// Runs until `stop`, or until going on could do harm.
    pub(super) async fn run(mut self, mut inlets: Inlets, stop: CancellationToken) -> Result<(), NodeError> {
        let mut taken = Taken::default();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = inlets.take(&mut taken) => {}
                () = sleep_until(self.begun, self.next_timer()) => {}
                () = sleep_until_instant(self.report.due()) => {}
            }
            for fact in taken.facts.drain(..) {
                self.take_fact(fact)?;
            }
            for input in taken.peers.drain(..) {
                self.take_from_peer(input)?;
            }
            for command in taken.commands.drain(..) {
                self.take_command(command)?;
            }
            self.fire_timers()?;
            self.send_out();
            let progress = self.replica.progress();
            self.report.turn(Instant::now(), &progress);
            self.status.fetching(progress);
            let mempool = self.replica.mempool();
            self.metrics.mempool.waiting(mempool.count(), mempool.bytes());
        }
        let Inlets { mut commands, mut peers, .. } = inlets;
        // Emptied to the end, so that no client waits for an answer that will never come.
        commands.close();
        while commands.recv().await.is_some() {}
        peers.close();
        while peers.recv().await.is_some() {}
        self.finish()
    }

    /// Stops in order: what was promised is durable already, the rest may be lost.
    fn finish(mut self) -> Result<(), NodeError> {
        crash_point!("stop.before");
        self.indexer.finish();
        self.executor.sync()?;
        crash_point!("stop.after");
        Ok(())
    }

    pub(super) fn now(&self) -> Now {
        let tick = Tick::default().plus(self.begun.elapsed());
        Now { tick, wall: Time::from(std::time::SystemTime::now()) }
    }

    fn next_timer(&self) -> Option<Tick> {
        let recheck = self.inner.recheck_timer.map(|(at, _)| at);
        self.inner.timers.next().into_iter().chain(recheck).chain(self.talk.next_wake()).min()
    }

    fn fire_timers(&mut self) -> Result<(), NodeError> {
        let now = self.now().tick;
        for timer in self.inner.timers.take_due(now) {
            self.step(Input::TimerFired(timer))?;
        }
        for waker in self.talk.take_due(now) {
            self.step(Input::Woken(waker))?;
        }
        if let Some((_, height)) = self.inner.recheck_timer.take_if(|(at, _)| *at <= now) {
            self.step(Input::Mempool(MempoolInput::RecheckTimer { height }))?;
        }
        Ok(())
    }

    /// One fact in, all its orders executed, and the answers of those that are answered on the spot taken in as well.
    pub(super) fn step(&mut self, input: Input) -> Result<(), NodeError> {
        self.inner.answers.push_back(input);
        while let Some(input) = self.inner.answers.pop_front() {
            let now = self.now();
            let mut effects = std::mem::take(&mut self.inner.effects);
            self.replica.step(now, input, &mut effects);
            for effect in effects.drain(..) {
                self.execute(now, effect)?;
            }
            self.inner.effects = effects;
        }
        Ok(())
    }

    fn take_fact(&mut self, fact: Fact) -> Result<(), NodeError> {
        match fact {
            Fact::AppUp { app, info, number } => self.app_up(&app, info, number),
            Fact::AppLost { why } => self.app_lost(why),
            Fact::Worked(input) => self.step(input),
            Fact::Answered { generation, .. } | Fact::Checked { generation, .. }
                if generation != self.inner.generation =>
            {
                Ok(())
            }
            Fact::Answered { calls, answer: Ok(responses), .. } => {
                for (call, response) in calls.into_iter().zip(responses) {
                    self.step(Input::Pipeline(PipelineInput::AppAnswered { call, response }))?;
                }
                Ok(())
            }
            Fact::Checked { batches, answer: Ok(responses), .. } => self.checked(batches, responses),
            Fact::Answered { answer: Err(error), .. } | Fact::Checked { answer: Err(error), .. } => {
                self.app_lost(error.to_string())?;
                self.given_up.send_replace(self.inner.connection);
                Ok(())
            }
        }
    }

    fn take_from_peer(&mut self, input: Input) -> Result<(), NodeError> {
        match &input {
            Input::Peer(peer, PeerInput::Up) => self.talk.joined(*peer),
            Input::Peer(peer, PeerInput::Down) => self.talk.left(peer),
            _ => {}
        }
        self.step(input)
    }

    fn app_up(&mut self, app: &AnyApp, info: InfoResponse, number: u64) -> Result<(), NodeError> {
        self.inner.connection = number;
        self.inner.generation += 1;
        let generation = self.inner.generation;
        let consensus = Pump::start(
            app.clone(),
            Connection::Consensus,
            self.facts.clone(),
            (self.metrics.clone(), &self.parts),
            move |calls, answer| Fact::Answered { generation, calls, answer },
        );
        let mempool = Pump::start(
            app.clone(),
            Connection::Mempool,
            self.facts.clone(),
            (self.metrics.clone(), &self.parts),
            move |batches, answer| Fact::Checked { generation, batches, answer },
        );
        self.inner.pumps = Some(Pumps { app: app.clone(), consensus, mempool });
        self.status.app_connected();
        let tip = self.store.tip();
        let saved_results = self.store.results(tip)?.map(Arc::new);
        let base = self.store.base();
        self.step(Input::Pipeline(PipelineInput::AppConnected { info, base, tip, saved_results }))
    }

    /// Everything on its way to the application is lost; the machines decide what is asked again.
    fn app_lost(&mut self, why: String) -> Result<(), NodeError> {
        if self.inner.pumps.take().is_none() {
            return Ok(());
        }
        self.inner.generation += 1;
        self.inner.calls = Job::default();
        self.inner.checks = Job::default();
        self.status.app_waiting(&why);
        tracing::warn!("{why}. Consensus pauses until the application is back; RPC goes on");
        self.step(Input::Pipeline(PipelineInput::AppFailed { why: why.clone() }))?;
        for batch in std::mem::take(&mut self.inner.checking) {
            self.step(Input::Mempool(MempoolInput::CheckFailed { batch, why: why.clone() }))?;
        }
        Ok(())
    }

    fn checked(&mut self, batches: Vec<(BatchId, usize)>, responses: Vec<Response>) -> Result<(), NodeError> {
        let mut responses = responses.into_iter();
        for (batch, count) in batches {
            self.inner.checking.remove(&batch);
            let answers = responses.by_ref().take(count).filter_map(|response| match response {
                Response::CheckTx(answer) => Some(answer),
                _ => None, // the client matched methods already
            });
            let answers = answers.collect();
            self.step(Input::Mempool(MempoolInput::Answered { batch, responses: answers }))?;
        }
        Ok(())
    }

    fn take_command(&mut self, command: Command) -> Result<(), NodeError> {
        match command {
            Command::Submit { txs, reply } => {
                let request = RequestId(self.inner.waiting.next_id());
                self.inner.waiting.checked.insert(request, reply);
                self.step(Input::Mempool(MempoolInput::Submit { origin: Origin::Check(request), txs }))
            }
            Command::SubmitAsync { txs, reply } => {
                let request = RequestId(self.inner.waiting.next_id());
                self.inner.waiting.admitted.insert(request, reply);
                self.step(Input::Mempool(MempoolInput::Submit { origin: Origin::Admission(request), txs }))
            }
            Command::View { reply } => {
                let _ = reply.send((self.replica.view(), Arc::clone(self.replica.state())));
                Ok(())
            }
            Command::Why { reply } => {
                let _ = reply.send(self.why());
                Ok(())
            }
            Command::Mempool { limit, reply } => {
                let mempool = self.replica.mempool();
                let txs = mempool.first(limit);
                let _ = reply.send(MempoolView { count: mempool.count(), bytes: mempool.bytes(), txs });
                Ok(())
            }
            Command::PendingEvidence { reply } => {
                let _ = reply.send(self.replica.pending_evidence().cloned().collect());
                Ok(())
            }
            Command::PeerStates { reply } => {
                let _ = reply.send(self.replica.peer_states());
                Ok(())
            }
            Command::Read { mode, reply } => self.begin_read(mode, reply),
            Command::FlushMempool { reply } => {
                self.step(Input::Mempool(MempoolInput::Flush))?;
                let _ = reply.send(());
                Ok(())
            }
            Command::Evidence { evidence, reply } => {
                // Anybody may name any height: what cannot be read there is told, and stops nobody.
                let facts = match evidence_facts(&*self.store, &evidence) {
                    Ok(facts) => facts,
                    Err(error) => {
                        let _ = reply.send(Err(error.to_string()));
                        return Ok(());
                    }
                };
                let request = self.inner.waiting.next_id();
                self.inner.waiting.evidence.insert(request, reply);
                self.step(Input::Evidence { request, evidence, facts })
            }
        }
    }

    /// What this turn ordered for the application goes out, one write a connection.
    fn send_out(&mut self) {
        self.send_calls();
        if self.inner.checks.ids.is_empty() {
            return;
        }
        let job = std::mem::take(&mut self.inner.checks);
        if let Some(pumps) = &self.inner.pumps {
            pumps.mempool.send(job);
        }
    }

    pub(super) fn send_calls(&mut self) {
        if self.inner.calls.ids.is_empty() {
            return;
        }
        let job = std::mem::take(&mut self.inner.calls);
        if let Some(pumps) = &self.inner.pumps {
            pumps.consensus.send(job);
        }
    }

    pub(super) fn call(&mut self, call: CallId, request: Request) {
        self.inner.calls.ids.push(call);
        self.inner.calls.requests.push(request);
    }
}

async fn sleep_until(begun: Instant, at: Option<Tick>) {
    sleep_until_instant(at.map(|at| begun + at.since(Tick::default()))).await;
}

async fn sleep_until_instant(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn an_inlet_that_nobody_can_use_any_more_does_not_keep_the_loop_awake() {
        let (facts, facts_in) = mpsc::channel(1);
        let (commands, commands_in) = mpsc::channel(1);
        let (_, peers_in) = mpsc::channel(1);
        let mut inlets = Inlets { facts: facts_in, commands: commands_in, peers: peers_in };
        let mut taken = Taken::default();
        assert!(inlets.take(&mut taken).now_or_never().is_none(), "a node without a network has nothing to do");
        assert!(facts.try_send(Fact::AppLost { why: String::new() }).is_ok());
        assert!(inlets.take(&mut taken).now_or_never().is_some(), "the others are still heard");
        drop((facts, commands));
        assert!(inlets.take(&mut taken).now_or_never().is_none());
    }

    #[tokio::test]
    async fn an_application_that_always_has_something_to_say_does_not_keep_peers_and_clients_from_being_heard() {
        let (facts, facts_in) = mpsc::channel(FACTS_WAITING_MAX);
        let (commands, commands_in) = mpsc::channel(10);
        let (peers, peers_in) = mpsc::channel(10);
        let mut inlets = Inlets { facts: facts_in, commands: commands_in, peers: peers_in };
        for _ in 0..=TAKEN_AT_ONCE {
            assert!(facts.try_send(Fact::AppLost { why: String::new() }).is_ok());
        }
        let who = "00".repeat(20).parse().expect("40 digits");
        assert!(peers.send(Input::Peer(who, PeerInput::Up)).await.is_ok());
        let (reply, _answer) = oneshot::channel();
        assert!(commands.send(Command::FlushMempool { reply }).await.is_ok());
        let mut taken = Taken::default();
        inlets.take(&mut taken).await;
        assert_eq!((taken.facts.len(), taken.peers.len(), taken.commands.len()), (TAKEN_AT_ONCE, 1, 1));
    }
}
