//! The whole node minus input and output: routes facts to the machines and their orders to each other or outward.
//!
//! The machines know nothing of one another. Everything that crosses from one to another crosses here, in order: an
//! order of consensus to the pipeline is handed over only when all orders before it have gone out.
//!
//! Reading order: this file → `machine` → `route` → `start` → `peers` → `direct` → `lingering` → `catch_up` → `listen` →
//! `own_key` → `reads`.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

mod catch_up;
mod direct;
mod lingering;
mod listen;
mod machine;
mod own_key;
mod peers;
mod reads;
mod route;
mod start;
#[cfg(test)]
mod tests;

pub use listen::{Elsewhere, LISTEN_MAX, LISTEN_MIN, listen_for};
pub use own_key::{KeyCheck, KeyNews};
pub use peers::PeerInput;
pub use reads::{READ_PATIENCE, READS_WAITING_MAX};
pub use start::Resume;

use crate::consensus::{self, Now, ReadMode, ReadTicket, RoundNote, Signed, Tick, Timeouts, View};
use crate::crypto::Hash;
use crate::evidence;
use crate::evidence::gossip::EvidenceGossip;
use crate::gossip::{ConsensusGossip, Decided, DirectSigners, GossipInput, Signers};
use crate::mempool::gossip::TxGossip;
use crate::mempool::{Mempool, MempoolEffect, MempoolInput};
use crate::pipeline::check::ClockRule;
use crate::pipeline::{CallId, Pipeline, PipelineError, PipelineInput, PipelineNote};
use crate::sync::{CommitCheck, Progress, Role, Sync, SyncInput};
use crate::types::abci::{FinalizeBlockResponse, Request};
use crate::types::{
    Address, Algorithm, AppliedBlock, CandidateBlock, ChainState, Evidence, EvidenceChange, ExtendedCommit, Height,
    JournalRecord, NodeId, PeerMessage, PeerRoundState, Round, SignRequest, TimerId, VoteKind,
};
use direct::PeerStanding;
use lingering::Lingering;
use listen::Listening;
use machine::Machine;
use reads::Reads;
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// A fact from outside.
#[derive(Debug)]
pub enum Input {
    /// About the application or the store, for the pipeline.
    Pipeline(PipelineInput),
    /// About transactions, for the mempool.
    Mempool(MempoolInput),
    /// The answer to [`Effect::Begin`].
    Resumed(Box<Resume>),
    /// A timer is due.
    TimerFired(TimerId),
    /// The signer's answer.
    Signed(Signed),
    /// The answer to [`Effect::LoadFacts`].
    FactsLoaded {
        /// Height of the block.
        height: Height,
        /// Round it is proposed in.
        round: Round,
        /// The block.
        block: Arc<CandidateBlock>,
        /// For each piece of evidence in it, in order.
        facts: Vec<Option<evidence::Facts>>,
    },
    /// Somebody proved misbehaviour; answered by [`Effect::EvidenceAnswer`].
    Evidence {
        /// Comes back with the answer.
        request: u64,
        /// The proof.
        evidence: Box<Evidence>,
        /// What the store knows about the height of the offence.
        facts: Option<evidence::Facts>,
    },
    /// A peer came, went, spoke, or took what it was told.
    Peer(NodeId, PeerInput),
    /// About fetching blocks.
    Sync(SyncInput),
    /// The answer to [`Effect::LoadDecided`].
    DecidedLoaded {
        /// Which.
        height: Height,
        /// The block and its commit; none when the store has none.
        decided: Option<Decided>,
    },
    /// The time given by [`Effect::WakeAt`] has come.
    Woken(Waker),
    /// A client wants to read what was decided before now; answered by [`Effect::ReadAnswer`].
    Read {
        /// Comes back; counts up.
        ticket: ReadTicket,
        /// How sure the answer must be.
        mode: ReadMode,
    },
}

/// Whose signatures count, in the way its protocol speaks.
#[derive(Debug, Clone)]
pub enum Whose {
    /// Tendermint's, through gossip.
    Gossiped(Arc<Signers>),
    /// Raft's and PBFT's, from one to the other.
    Direct(Arc<DirectSigners>),
}

/// Who wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waker {
    /// The consensus gossip.
    Gossip,
    /// Block sync.
    Sync,
    /// Listening for our own key.
    Listening,
    /// The protocol, where it keeps its own time.
    Consensus,
    /// What waits in the mempool.
    Mempool,
}

/// An order to the driver. Orders run in their order; nothing after [`Effect::Persist`] that promises anything (`Sign`,
/// `SaveBlock`) happens before the record is durable. What is told to peers needs no barrier of its own: see `peers`.
#[derive(Debug)]
pub enum Effect {
    /// Write to the journal.
    Persist(JournalRecord),
    /// Have the signer sign; answered by [`Input::Signed`].
    Sign(SignRequest),
    /// Votes of this height, round and kind by this member come through however often they are told: one of them is of
    /// no use yet.
    HearAgain((Height, Round, VoteKind, u32)),
    /// Say to one peer.
    Tell {
        /// Whom.
        peer: NodeId,
        /// What.
        message: PeerMessage,
    },
    /// Say to some peers.
    TellEach {
        /// Whom.
        peers: Vec<NodeId>,
        /// What.
        message: PeerMessage,
    },
    /// Say to all peers.
    TellAll(PeerMessage),
    /// End the connection to a peer: only a faulty one does this.
    Drop {
        /// Whom.
        peer: NodeId,
        /// What it did.
        why: String,
    },
    /// Remember a peer as good.
    Good(NodeId),
    /// From now on these signatures count; none while consensus stands still.
    Signers(Option<Whose>),
    /// Read a decided block and its commit for a peer; answered by [`Input::DecidedLoaded`].
    LoadDecided(Height),
    /// Check commits beside the loop; answered by [`SyncInput::Verified`].
    VerifyCommits {
        /// Comes back.
        ticket: u64,
        /// In order of height.
        checks: Vec<CommitCheck>,
    },
    /// Wake me; replaces what this waker ordered before.
    WakeAt {
        /// Who.
        waker: Waker,
        /// When.
        at: Tick,
    },
    /// The application is there, but others have blocks that are fetched first: consensus stands still until
    /// [`Effect::Begin`].
    Fetching,
    /// Wake me.
    SetTimer {
        /// Which timer.
        timer: TimerId,
        /// When.
        at: Tick,
    },
    /// Ask the application on the consensus connection; answered by [`PipelineInput::AppAnswered`].
    Call {
        /// Comes back with the answer.
        call: CallId,
        /// The question.
        request: Request,
    },
    /// Something for the mempool's connection, its clients or its peers.
    Mempool(MempoolEffect),
    /// Store a decided block. Durable.
    SaveBlock {
        /// The block.
        block: Arc<CandidateBlock>,
        /// Its precommits.
        commit: ExtendedCommit,
    },
    /// Store what the application answered. Durable.
    SaveResults {
        /// Of which block.
        height: Height,
        /// The answer.
        results: Arc<FinalizeBlockResponse>,
    },
    /// Store the state. Atomic.
    SaveState(Arc<ChainState>),
    /// Read a block; answered by [`PipelineInput::Loaded`].
    LoadBlock(Height),
    /// Read what the store knows about the evidence in a proposed block; answered by [`Input::FactsLoaded`].
    LoadFacts {
        /// Height of the block.
        height: Height,
        /// Round it is proposed in.
        round: Round,
        /// The block.
        block: Arc<CandidateBlock>,
    },
    /// The handshake is over: read what the journal and the store have for `state`'s next height; answered by
    /// [`Input::Resumed`].
    Begin(Arc<ChainState>),
    /// Tell subscribers about a block.
    Publish(Arc<AppliedBlock>),
    /// Index a block.
    Index(Arc<AppliedBlock>),
    /// Remove blocks below `retain`.
    Prune {
        /// Lowest height to keep.
        retain: Height,
        /// For the age limits of evidence.
        state: Arc<ChainState>,
    },
    /// Tell subscribers, metrics and the log what happens inside a round.
    Round(RoundNote),
    /// For the log.
    Note(PipelineNote),
    /// Connect to the application anew.
    WaitForApp {
        /// Why.
        why: String,
    },
    /// What became of listening for our own key. When it is at work elsewhere, the node must stop.
    Key(KeyNews),
    /// Nothing more can be decided until people act.
    Halt(PipelineError),
    /// The application is back and agrees with the chain: what [`Effect::Halt`] or [`Effect::WaitForApp`] said is over.
    GoOn(Arc<ChainState>),
    /// Store what changed about the evidence that waits for a block. Atomic.
    SaveEvidence(Vec<EvidenceChange>),
    /// The answer to [`Input::Evidence`].
    EvidenceAnswer {
        /// Of which request.
        request: u64,
        /// Its hash, or why it was refused.
        outcome: Result<Hash, String>,
    },
    /// The answer to [`Input::Read`]: everything up to this height is applied, and more need not be, or why nobody knows.
    ReadAnswer {
        /// Of which question.
        ticket: ReadTicket,
        /// The height, or why not and what to do.
        outcome: Result<Height, String>,
    },
}

/// What does not change while the node runs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our validator address, if this node signs.
    pub own: Option<Address>,
    /// How long consensus waits for what.
    pub timeouts: Timeouts,
    /// How far ahead of our clock a proposed block may be; no limit when none.
    pub block_time_tolerance: Option<Duration>,
    /// How to look for others that sign with our key.
    pub key_check: KeyCheck,
    /// The newest term or view in which the journal shows this node: durable before anything is stated in it.
    pub newest_round: Round,
}

impl Settings {
    fn clock(&self, now: Now) -> ClockRule {
        match self.block_time_tolerance {
            Some(tolerance) => ClockRule::Ahead { now: now.wall, tolerance },
            None => ClockRule::Ignored,
        }
    }
}

/// What still has to be handed to a machine.
#[derive(Debug)]
enum Work {
    /// Whatever it is told but what peers say.
    Consensus(crate::consensus::Input<Infallible>),
    Pipeline(PipelineInput),
    Mempool(MempoolInput),
}

/// A replica: consensus, pipeline, mempool and evidence pool.
#[derive(Debug)]
pub struct Replica {
    settings: Settings,
    /// None until the first handshake with the application is over.
    consensus: Option<Machine>,
    pipeline: Pipeline,
    mempool: Mempool,
    evidence: evidence::Pool,
    gossip: ConsensusGossip,
    /// Who is connected, and where each last said to stand; noted where replicas speak directly.
    peers: BTreeMap<NodeId, PeerStanding>,
    tx_gossip: TxGossip,
    lingering: Lingering,
    evidence_gossip: EvidenceGossip,
    sync: Sync,
    /// The newest term or view this node was in when consensus last stood still.
    newest_round: Round,
    /// None when nobody looks for our key elsewhere.
    listening: Option<Listening>,
    state: Arc<ChainState>,
    /// Where consensus stood when the driver was told whose signatures count.
    signers_at: Option<(Height, Round)>,
    /// [`Effect::Begin`] is out and not answered.
    beginning: bool,
    /// A Commit that waits until no CheckTx is on its way (reference §3.8).
    held_commit: Option<CallId>,
    /// When the block being applied was decided; none for one that a handshake applied.
    decided_at: Option<Tick>,
    reads: Reads,
    work: VecDeque<Work>,
}

impl Replica {
    /// A replica that waits for its application.
    pub fn new(settings: Settings, state: Arc<ChainState>, pipeline: Pipeline, mempool: Mempool) -> Replica {
        let evidence = evidence::Pool::new(&state);
        let own = settings.own;
        Replica {
            listening: settings.listening(state.algorithm),
            newest_round: settings.newest_round,
            settings,
            consensus: None,
            pipeline,
            mempool,
            evidence,
            gossip: ConsensusGossip::new(),
            peers: BTreeMap::new(),
            tx_gossip: TxGossip::new(),
            lingering: Lingering::default(),
            evidence_gossip: EvidenceGossip::new(),
            sync: Sync::new(Role::OneOfMany, own),
            state,
            signers_at: None,
            beginning: false,
            held_commit: None,
            decided_at: None,
            reads: Reads::default(),
            work: VecDeque::new(),
        }
    }

    /// Takes one fact into account, with everything that follows from it inside the replica.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Pipeline(input) => self.work.push_back(Work::Pipeline(input)),
            Input::Mempool(input) => self.work.push_back(Work::Mempool(input)),
            Input::Resumed(resume) => self.begin(now, *resume, out),
            Input::TimerFired(timer) => {
                self.work.push_back(Work::Consensus(crate::consensus::Input::TimerFired(timer)))
            }
            Input::Signed(signed) => {
                self.note_signed(&signed);
                self.work.push_back(Work::Consensus(crate::consensus::Input::Signed(signed)));
            }
            Input::FactsLoaded { height, round, block, facts } => {
                self.check_with_facts(now, height, round, block, facts)
            }
            Input::Evidence { request, evidence, facts } => self.add_evidence(request, *evidence, facts, out),
            Input::Peer(peer, input) => self.step_peer(now, peer, input, out),
            Input::Sync(input) => self.sync(now, input, out),
            Input::DecidedLoaded { height, decided } => {
                self.gossip(now, GossipInput::DecidedLoaded { height, decided }, out);
            }
            Input::Woken(Waker::Consensus) => self.work.push_back(Work::Consensus(consensus::Input::Woken)),
            Input::Woken(Waker::Gossip) => self.gossip(now, GossipInput::Woken, out),
            Input::Woken(Waker::Sync) => self.sync(now, SyncInput::Woken, out),
            Input::Woken(Waker::Listening) => self.listened(now, out),
            Input::Woken(Waker::Mempool) => self.look_at_what_lingers(now, out),
            Input::Read { ticket, mode } => self.read(now, ticket, mode, out),
        }
        while let Some(work) = self.work.pop_front() {
            match work {
                // What a peer does wrong is judged where its message comes in; this is our own.
                Work::Consensus(input) => self.step_consensus(now, input, out),
                Work::Pipeline(input) => self.step_pipeline(now, input, out),
                Work::Mempool(input) => self.step_mempool(now, input, out),
            }
        }
        self.save_evidence(out);
    }

    /// The state after the last applied block.
    pub fn state(&self) -> &Arc<ChainState> {
        &self.state
    }

    /// What waits in the mempool.
    pub fn mempool(&self) -> &Mempool {
        &self.mempool
    }

    /// What waits for a block.
    pub fn pending_evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.evidence.iter()
    }

    /// Where peers stand, as far as they said.
    pub fn peer_states(&self) -> Vec<PeerRoundState> {
        match self.state.algorithm {
            Algorithm::Tendermint => self.gossip.peer_states(),
            Algorithm::Pbft | Algorithm::Raft => {
                self.peers.iter().map(|(peer, standing)| standing.state(*peer)).collect()
            }
        }
    }

    /// How much is kept of what others say.
    pub fn sizes(&self) -> consensus::Sizes {
        let mut sizes = self.consensus.as_ref().map(Machine::sizes).unwrap_or_default();
        sizes.push(("evidence", self.evidence.iter().count() as u64));
        sizes.push(("transactions", self.mempool.count()));
        sizes.push(("bytes of transactions", self.mempool.bytes()));
        sizes
    }

    /// How far fetching blocks is.
    pub fn progress(&self) -> Progress {
        self.sync.progress()
    }

    /// True while consensus runs, false while it stands still.
    pub fn decides(&self) -> bool {
        self.consensus.is_some()
    }

    /// Where consensus stands; none before the first handshake.
    pub fn view(&self) -> Option<View> {
        self.consensus.as_ref().map(Machine::view)
    }
}
