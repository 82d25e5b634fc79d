//! One life of a node: a replica, its executor and its reception, and what they keep in memory. Here is the driver's
//! loop without tasks: a fact in, orders out, one after the other.

use super::blocks::Blocks;
use super::clients::Clients;
use super::events::{AppAnswer, Fact, Out};
use super::home::{Home, Opened, SyncCount};
use super::lie::Liar;
use super::people::People;
use super::signer::Mood;
use super::woes::{KINDS, name_of};
use super::words;
use crate::consensus::{Now, Sizes, Tick};
use crate::crypto::{Hash, KnownSignatures};
use crate::executor::{
    Beginning, Executor, Handed, Owed, Received, Reception, answer, heard_directly, judge_evidence, read_block, status,
};
use crate::gossip::{Decided, hear_direct};
use crate::mempool::{BatchId, MempoolInput, Origin};
use crate::pipeline::{CallId, PipelineInput};
use crate::ports::{Signer, Store};
use crate::replica::{Effect, Input, PeerInput, Replica, Waker, Whose};
use crate::sim::disk::{Kind, SimDisk};
use crate::sim::{NodeNr, Seen, Watch, What};
use crate::sync::SyncInput;
use crate::types::abci::{InfoResponse, Response, Verdict};
use crate::types::{
    Address, BlocksyncMessage, ChainState, Channel, Evidence, GenesisDoc, Height, NodeId, PeerMessage, TimerId, Tx,
};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// Why a life ended.
#[derive(Debug)]
pub(super) enum Death {
    /// It was to die after so many orders.
    Fuse,
    /// The node stopped itself, with a sentence.
    Stopped(String),
}

/// What a node sees and reaches of the world while it takes a fact.
pub(super) struct Scope<'a> {
    pub(super) at: Tick,
    pub(super) node: NodeNr,
    pub(super) now: Now,
    pub(super) people: &'a People,
    pub(super) blocks: &'a mut Blocks,
    pub(super) watch: &'a mut Watch,
    pub(super) clients: &'a mut Clients,
    pub(super) out: &'a mut Vec<Out>,
    /// Who rewrites what it says, if it lies.
    pub(super) liar: Option<&'a mut Liar>,
}

impl Scope<'_> {
    pub(super) fn see(&mut self, what: What<'_>) {
        self.watch.see(&Seen { at: self.at, node: self.node, what });
    }
}

/// The connections to the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AppLink {
    Down,
    Up(u64),
}

/// Whether the application knows what the store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handshake {
    UnderWay,
    Over,
}

/// One life.
pub(super) struct Process {
    pub(super) own: Option<Address>,
    pub(super) replica: Replica,
    pub(super) executor: Executor,
    pub(super) store: Arc<dyn Store>,
    pub(super) disk: SimDisk,
    pub(super) mood: Mood,
    /// How often the disk had failed when this was looked at last, by kind of operation.
    failures: [u64; KINDS.len()],
    pub(super) syncs: SyncCount,
    pub(super) reception: Reception,
    pub(super) owed: Arc<Owed>,
    pub(super) known: KnownSignatures,
    pub(super) whose: Option<Whose>,
    /// Connected peers, with the number of the connection.
    pub(super) peers: BTreeMap<NodeNr, u64>,
    pub(super) timers: BTreeMap<TimerId, Tick>,
    pub(super) wakers: BTreeMap<Waker, Tick>,
    pub(super) recheck: Option<(Tick, Height)>,
    pub(super) answers: VecDeque<Input>,
    pub(super) app: AppLink,
    pub(super) handshake: Handshake,
    /// Signatures it did not get in this life.
    pub(super) refused: u64,
    pub(super) checking: BTreeSet<BatchId>,
    /// Blocks the application judges.
    pub(super) judging: BTreeMap<CallId, Hash>,
    /// The height consensus was seen to take up last.
    pub(super) began: Option<Height>,
    /// Orders until it dies.
    pub(super) fuse: Option<u32>,
}

impl Process {
    /// Begins a life on what the home holds.
    pub(super) fn begin(home: &Home, genesis: &Arc<GenesisDoc>, how: Beginning, now: Now) -> Result<Process, String> {
        let max_tx_bytes = how.mempool.max_tx_bytes;
        let failures = failures_of(&home.disk);
        let Opened { journal, syncs, signer, store } = home.open(now.wall)?;
        let json = crate::codec::json::genesis::render(genesis);
        let executor = Executor::new((Arc::clone(genesis), json), journal, signer, Arc::clone(&store));
        let standing = executor.standing().map_err(|error| error.to_string())?;
        let owed = Arc::new(Owed::default());
        Ok(Process {
            own: executor.signer().map(Signer::public_key).map(|key| Address::from(&key)),
            replica: executor.begin(standing, how),
            executor,
            store,
            failures,
            disk: home.disk.clone(),
            mood: home.mood.clone(),
            syncs,
            reception: Reception::new(Arc::clone(&owed), max_tx_bytes),
            owed,
            known: KnownSignatures::default(),
            whose: None,
            peers: BTreeMap::new(),
            timers: BTreeMap::new(),
            wakers: BTreeMap::new(),
            recheck: None,
            answers: VecDeque::new(),
            app: AppLink::Down,
            handshake: Handshake::UnderWay,
            refused: 0,
            checking: BTreeSet::new(),
            judging: BTreeMap::new(),
            began: None,
            fuse: None,
        })
    }

    /// The newest block in the store, when it is above what was seen.
    pub(super) fn found_above(&mut self, seen: Height, now: Now) -> Result<Option<Decided>, String> {
        if self.stored() <= seen {
            return Ok(None);
        }
        let mut answers = VecDeque::new();
        let load = Effect::LoadDecided(self.stored());
        self.executor.execute(now, load, &mut answers).map_err(|error| error.to_string())?;
        Ok(answers.into_iter().find_map(|answer| match answer {
            Input::DecidedLoaded { decided, .. } => decided,
            _ => None,
        }))
    }

    /// It dies after so many orders; never when none.
    pub(super) fn set_fuse(&mut self, orders: Option<u32>) {
        self.fuse = orders;
    }

    /// The last block applied.
    pub(super) fn applied(&self) -> Height {
        self.state().last_block_height
    }

    /// The state after it.
    pub(super) fn state(&self) -> &ChainState {
        self.replica.state()
    }

    /// The newest block in the store.
    pub(super) fn stored(&self) -> Height {
        self.store.tip()
    }

    /// True while the application is shown what it missed.
    pub(super) fn is_in_handshake(&self) -> bool {
        self.app != AppLink::Down && self.handshake == Handshake::UnderWay
    }

    /// Tells what the disk refused since this was asked last.
    pub(super) fn look_at_disk(&mut self, scope: &mut Scope<'_>) {
        let now = failures_of(&self.disk);
        let before = std::mem::replace(&mut self.failures, now);
        for ((kind, before), now) in KINDS.into_iter().zip(before).zip(now) {
            if now > before {
                scope.watch.count(name_of(kind));
                if kind != Kind::Read {
                    scope.see(What::DiskFailed { kind });
                }
            }
        }
    }

    /// Where it stands, in words, for who wonders why nothing goes on.
    pub(super) fn describe(&self) -> String {
        let view = self.replica.view();
        let at = view.map(|view| format!("{} {} {:?} {:?}", view.height, view.round, view.step, view.lead));
        format!(
            "applied {} deciding {at:?} sync {:?} app {:?} txs {} peers {:?} timers {:?}",
            self.applied(),
            self.replica.progress(),
            self.app,
            self.replica.mempool().count(),
            self.peers,
            self.timers,
        )
    }

    /// How much it keeps of what others say.
    pub(super) fn sizes(&self) -> Sizes {
        self.replica.sizes()
    }

    /// When it wants to be woken next, on its own clock.
    pub(super) fn due(&self) -> Option<Tick> {
        let recheck = self.recheck.map(|(at, _)| at);
        self.timers.values().chain(self.wakers.values()).copied().chain(recheck).min()
    }

    /// Takes a fact, with all that follows from it on the spot.
    pub(super) fn take(&mut self, scope: &mut Scope<'_>, fact: Fact) -> Result<(), Death> {
        match fact {
            Fact::Wake => self.fire(scope),
            Fact::LinkUp { peer, link } => self.link_up(scope, peer, link),
            Fact::LinkDown { peer, link } => self.link_down(scope, peer, link),
            Fact::Written { peer, link, channel, bytes } => {
                if self.peers.get(&peer) != Some(&link) || channel == Channel::Blocksync {
                    return Ok(());
                }
                self.step(scope, Input::Peer(scope.people.id(peer), PeerInput::Written(channel, bytes)))
            }
            Fact::Message { peer, link, channel, bytes } => {
                if self.peers.get(&peer) != Some(&link) {
                    return Ok(());
                }
                match self.hear(scope, peer, channel, bytes) {
                    Ok(done) => done,
                    Err(why) => {
                        self.blame(scope, peer, why);
                        Ok(())
                    }
                }
            }
            Fact::AppUp { connection, info } => self.app_up(scope, connection, info),
            Fact::AppLost { why } => self.app_lost(scope, why),
            Fact::Answered { connection, answer } if self.app == AppLink::Up(connection) => {
                self.app_answered(scope, answer)
            }
            Fact::Answered { .. } => Ok(()),
            Fact::Lie => {
                self.lie(scope);
                Ok(())
            }
            Fact::Release => {
                self.say_held(scope);
                Ok(())
            }
            Fact::Submit { request, tx } => {
                let submit = MempoolInput::Submit { origin: Origin::Check(request), txs: vec![Tx::new(tx)] };
                self.step(scope, Input::Mempool(submit))
            }
            Fact::Read { ticket, mode } => self.step(scope, Input::Read { ticket, mode }),
        }
    }

    fn fire(&mut self, scope: &mut Scope<'_>) -> Result<(), Death> {
        let now = scope.now.tick;
        let mut due: Vec<(Tick, TimerId)> =
            self.timers.iter().filter(|(_, at)| **at <= now).map(|(timer, at)| (*at, *timer)).collect();
        due.sort();
        for (_, timer) in due {
            if self.timers.get(&timer).is_some_and(|at| *at <= now) {
                self.timers.remove(&timer);
                self.step(scope, Input::TimerFired(timer))?;
            }
        }
        let due: Vec<Waker> = self.wakers.iter().filter(|(_, at)| **at <= now).map(|(waker, _)| *waker).collect();
        self.wakers.retain(|_, at| *at > now);
        for waker in due {
            self.step(scope, Input::Woken(waker))?;
        }
        if let Some((_, height)) = self.recheck.take_if(|(at, _)| *at <= now) {
            self.step(scope, Input::Mempool(MempoolInput::RecheckTimer { height }))?;
        }
        Ok(())
    }

    /// One fact in, its orders executed, and the answers of those that are answered on the spot taken in as well.
    fn step(&mut self, scope: &mut Scope<'_>, input: Input) -> Result<(), Death> {
        self.answers.push_back(input);
        while let Some(input) = self.answers.pop_front() {
            let mut effects = Vec::new();
            self.replica.step(scope.now, input, &mut effects);
            for effect in effects {
                self.burn()?;
                self.execute(scope, effect)?;
            }
        }
        Ok(())
    }

    fn burn(&mut self) -> Result<(), Death> {
        match &mut self.fuse {
            Some(0) => Err(Death::Fuse),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    // ------------------------------------------------------------------------------------------------- peers

    fn link_up(&mut self, scope: &mut Scope<'_>, peer: NodeNr, link: u64) -> Result<(), Death> {
        self.peers.insert(peer, link);
        self.step(scope, Input::Peer(scope.people.id(peer), PeerInput::Up))?;
        let message = PeerMessage::Blocksync(status(&*self.store));
        self.send(scope, peer, &message, message.encode());
        Ok(())
    }

    fn link_down(&mut self, scope: &mut Scope<'_>, peer: NodeNr, link: u64) -> Result<(), Death> {
        if self.peers.get(&peer) != Some(&link) {
            return Ok(());
        }
        self.peers.remove(&peer);
        let id = scope.people.id(peer);
        self.owed.gone(id);
        self.step(scope, Input::Peer(id, PeerInput::Down))
    }

    /// The way of a peer's message, as in `node::inbox`. The outer error is the peer's fault.
    fn hear(
        &mut self,
        scope: &mut Scope<'_>,
        peer: NodeNr,
        channel: Channel,
        bytes: Bytes,
    ) -> Result<Result<(), Death>, String> {
        let (id, length) = (scope.people.id(peer), bytes.len());
        let message = Reception::read(channel, bytes)?;
        Ok(match self.reception.receive(self.whose.as_ref(), id, message, length)? {
            Received::Said(said, handed) => self.hand_on(scope, peer, said, handed),
            Received::Direct(signers, message) => {
                let heard = hear_direct(signers.as_deref(), &self.known, message).map_err(str::to_owned)?;
                let (said, handed) = heard_directly(signers.as_deref(), heard);
                self.hand_on(scope, peer, said, handed)
            }
            Received::Evidence(list) => self.take_evidence(scope, peer, list)?,
            Received::Sync(input) => self.step(scope, Input::Sync(input)),
            Received::Block { message_bytes, block, extended_commit } => {
                let read = read_block(message_bytes, block, extended_commit)?;
                let (block, extended_commit) = (read.block, read.extended_commit);
                self.step(scope, Input::Sync(SyncInput::Block { peer: id, block, extended_commit }))
            }
            Received::Asked(question) => {
                if let Ok(Some(answer)) = answer(&*self.store, &question) {
                    let answer = PeerMessage::Blocksync(answer);
                    self.send(scope, peer, &answer, answer.encode());
                }
                Ok(())
            }
        })
    }

    fn hand_on(&mut self, scope: &mut Scope<'_>, peer: NodeNr, said: PeerInput, handed: Handed) -> Result<(), Death> {
        if let Some(word) = words::in_input(&said) {
            if let Some(liar) = &mut scope.liar {
                liar.hear(peer, word);
            }
            scope.blocks.hear(&word);
            scope.see(What::Heard { from: peer, word });
        }
        self.step(scope, Input::Peer(scope.people.id(peer), said))?;
        self.reception.handed_on(handed);
        Ok(())
    }

    fn take_evidence(
        &mut self,
        scope: &mut Scope<'_>,
        peer: NodeNr,
        list: Vec<Evidence>,
    ) -> Result<Result<(), Death>, String> {
        let id = scope.people.id(peer);
        for evidence in list {
            let Ok(judged) = judge_evidence(&*self.store, evidence)? else { continue };
            if let Err(death) = self.step(scope, Input::Peer(id, PeerInput::Evidence(vec![judged]))) {
                return Ok(Err(death));
            }
        }
        Ok(Ok(()))
    }

    /// False when it was not sent, because there is no connection.
    pub(super) fn send(&self, scope: &mut Scope<'_>, peer: NodeNr, message: &PeerMessage, bytes: Bytes) -> bool {
        let Some(link) = self.peers.get(&peer) else { return false };
        let counted = bytes.len() as u64;
        if scope.liar.is_some() {
            self.say_falsely(scope, peer, message, counted);
            return true;
        }
        if let Some(word) = words::in_message(message) {
            scope.see(What::Said { to: peer, word });
        }
        scope.out.push(Out::Send { to: peer, link: *link, channel: message.channel(), bytes, counted });
        true
    }

    pub(super) fn tell(&self, scope: &mut Scope<'_>, peer: NodeId, message: &PeerMessage) {
        let asks = matches!(message, PeerMessage::Blocksync(BlocksyncMessage::BlockRequest(_)));
        if asks {
            self.owed.asked(peer);
        }
        let sent = scope.people.nr(&peer).is_some_and(|nr| self.send(scope, nr, message, message.encode()));
        if !sent && asks {
            self.owed.answered(peer);
        }
    }

    pub(super) fn tell_all(&self, scope: &mut Scope<'_>, message: &PeerMessage) {
        let encoded = message.encode();
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            self.send(scope, peer, message, encoded.clone());
        }
    }

    pub(super) fn blame(&self, scope: &mut Scope<'_>, peer: NodeNr, why: String) {
        if let Some(link) = self.peers.get(&peer) {
            if !scope.watch.scene().is_honest(peer) {
                scope.watch.count("lie refused");
            }
            scope.see(What::Blamed { peer, why: &why });
            scope.out.push(Out::Drop { peer, link: *link });
        }
    }

    // ---------------------------------------------------------------------------------------- the application

    fn app_up(&mut self, scope: &mut Scope<'_>, connection: u64, info: InfoResponse) -> Result<(), Death> {
        self.app = AppLink::Up(connection);
        self.handshake = Handshake::UnderWay;
        self.judging.clear();
        let tip = self.store.tip();
        let results = self.store.results(tip).map_err(|error| Death::Stopped(error.to_string()))?;
        let (saved_results, base) = (results.map(Arc::new), self.store.base());
        self.step(scope, Input::Pipeline(PipelineInput::AppConnected { info, base, tip, saved_results }))
    }

    fn app_lost(&mut self, scope: &mut Scope<'_>, why: String) -> Result<(), Death> {
        if self.app == AppLink::Down {
            return Ok(());
        }
        self.app = AppLink::Down;
        self.step(scope, Input::Pipeline(PipelineInput::AppFailed { why: why.clone() }))?;
        for batch in std::mem::take(&mut self.checking) {
            self.step(scope, Input::Mempool(MempoolInput::CheckFailed { batch, why: why.clone() }))?;
        }
        Ok(())
    }

    fn app_answered(&mut self, scope: &mut Scope<'_>, answer: AppAnswer) -> Result<(), Death> {
        match answer {
            AppAnswer::Call(call, response) => {
                if let (Some(hash), Response::ProcessProposal(verdict)) = (self.judging.remove(&call), &response)
                    && let Some(block) = scope.blocks.find(&hash).cloned()
                {
                    scope.see(What::Checked { block: &block, accepted: *verdict == Verdict::Accept });
                }
                self.step(scope, Input::Pipeline(PipelineInput::AppAnswered { call, response }))
            }
            AppAnswer::Check(batch, responses) => {
                self.checking.remove(&batch);
                let responses = responses.into_iter().filter_map(|response| match response {
                    Response::CheckTx(answer) => Some(answer),
                    _ => None,
                });
                let responses = responses.collect();
                self.step(scope, Input::Mempool(MempoolInput::Answered { batch, responses }))
            }
        }
    }
}

fn failures_of(disk: &SimDisk) -> [u64; KINDS.len()] {
    KINDS.map(|kind| disk.failures(kind))
}
