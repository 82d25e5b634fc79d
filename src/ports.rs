//! What the shell gives the replica and the RPC: journal, signer, store, application, and the node itself as its
//! clients see it. Adapters implement these traits; nobody else names an adapter.

mod disk;
mod situation;

pub use disk::{Disk, DiskFile, OpenMode, parent};
pub use situation::{FetchView, HeardView, KeyView, LeadView, Situation, ValidatorView};

use crate::crypto::{Hash, PublicKey};
use crate::types::abci::{CheckTxResponse, FinalizeBlockResponse, Request, Response, TxResult};
use crate::types::query::Query;
use crate::types::{
    AppliedBlock, Block, BlockMeta, CandidateBlock, ChainId, ChainState, Commit, ConsensusParams, Direction, Evidence,
    EvidenceChange, ExtendedCommit, Height, JournalRecord, NodeId, NodeInfo, Part, PeerRoundState, Promises, Proposal,
    Published, SignPosition, Statement, StoredEvidence, Time, Tx, UnsignedProposal, UnsignedStatement, UnsignedVote,
    ValidatorSet, Vote,
};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

// ---------------------------------------------------------------------------------------------------- journal

/// The journal could not be written, read or repaired. The text says what, where and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct JournalError(pub String);

/// The write-ahead log of consensus.
pub trait Journal: Send {
    /// Adds an entry; durable only after [`Journal::sync`].
    fn append(&mut self, at: Time, record: &JournalRecord) -> Result<(), JournalError>;

    /// Makes everything appended so far durable. After an error the node must stop: what is on disk is unknown.
    fn sync(&mut self) -> Result<(), JournalError>;

    /// What was synced about `height`, in the order written, and late votes of the height before: all that is needed to
    /// take it up again.
    fn records_since(&self, height: Height) -> Result<Vec<JournalRecord>, JournalError>;

    /// The same for a chain of Raft or PBFT, with the newest [`JournalRecord::Standing`] however old it is.
    fn records_with_standing(&self, height: Height) -> Result<Vec<JournalRecord>, JournalError>;
}

// ----------------------------------------------------------------------------------------------------- signer

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// Signing would contradict what was signed before. The node goes on without this vote.
    #[error("refused to sign: {0}")]
    Refused(String),
    /// The signer cannot work.
    #[error(transparent)]
    Failed(#[from] SignerFailed),
}

/// The signer cannot work (its file cannot be written, the remote signer is gone). The text says what, where and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot sign: {0}")]
pub struct SignerFailed(pub String);

/// What a signer remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignMemory {
    /// Where its last signature stands.
    pub last: SignPosition,
    /// Whether it promised something in a statement.
    pub promises: Promises,
    /// The file that says so.
    pub file: PathBuf,
}

/// Holder of the validator key. Remembers durably what it signed before it gives a signature away.
pub trait Signer: Send {
    /// Whose signatures these are.
    fn public_key(&self) -> PublicKey;

    /// What it remembers to have signed last; none when it cannot say.
    fn memory(&self) -> Option<SignMemory>;

    /// Signs a vote and, when it has one, its extension.
    fn sign_vote(&mut self, chain_id: &ChainId, vote: UnsignedVote) -> Result<Vote, SignError>;

    /// Signs a proposal.
    fn sign_proposal(&mut self, chain_id: &ChainId, proposal: UnsignedProposal) -> Result<Proposal, SignError>;

    /// Signs a statement of Raft or PBFT. It refuses none, and remembers only that there was a promise
    /// ([`Promises`]), before the first one leaves: what a statement rests on is in the journal.
    fn sign_statement(&mut self, chain_id: &ChainId, statement: UnsignedStatement) -> Result<Statement, SignerFailed>;

    /// A second vote for something else, which a validator that misbehaves signed along with the last one.
    #[cfg(feature = "misbehave")]
    fn second_vote(&mut self) -> Option<Vote> {
        None
    }
}

// ------------------------------------------------------------------------------------------------------ store

/// The store failed or holds something it should not. The text says what, where and what to do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// A page of a search, oldest or newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchOrder {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// What to search for, and which page of it.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "a closure cannot be shown")]
pub struct Search<'a> {
    /// What matches.
    pub query: &'a Query,
    /// Which end comes first.
    pub order: SearchOrder,
    /// Counts from 0.
    pub page: u64,
    /// Matches on a page.
    pub per_page: u64,
    /// Asked again and again: the search ends with an error once it says no.
    pub waits: Waits<'a>,
}

/// One page of matches and how many there are in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The matches of this page.
    pub items: Vec<T>,
    /// Matches on all pages.
    pub total: u64,
}

/// Whether somebody still waits for the answer of a search, which may walk the whole chain.
pub type Waits<'a> = &'a dyn Fn() -> bool;

/// Blocks, states, results and the index. Reads may run beside writes and never block them; writers are serialised by
/// the replica. Everything is read back as it was written or not at all.
pub trait Store: Send + Sync {
    /// Lowest stored height; 0 when there is none.
    fn base(&self) -> Height;
    /// Highest stored height; 0 when there is none.
    fn tip(&self) -> Height;

    /// A block. `None` outside `base..=tip`.
    fn block(&self, height: Height) -> Result<Option<Block>, StoreError>;
    /// A block's name, size and header.
    fn block_meta(&self, height: Height) -> Result<Option<BlockMeta>, StoreError>;
    /// Where the block with this hash stands.
    fn height_of(&self, block_hash: &Hash) -> Result<Option<Height>, StoreError>;
    /// One part of a block.
    fn part(&self, height: Height, index: u32) -> Result<Option<Part>, StoreError>;
    /// The commit for `height` as the block above carries it; none for the tip.
    fn commit(&self, height: Height) -> Result<Option<Commit>, StoreError>;
    /// The commit for `height` as this node saw it.
    fn seen_commit(&self, height: Height) -> Result<Option<Commit>, StoreError>;
    /// The commit with vote extensions; only where they were enabled.
    fn extended_commit(&self, height: Height) -> Result<Option<ExtendedCommit>, StoreError>;

    /// The state after the last applied block; none before genesis was saved.
    fn state(&self) -> Result<Option<ChainState>, StoreError>;
    /// The set that decides `height`.
    fn validators(&self, height: Height) -> Result<Option<ValidatorSet>, StoreError>;
    /// The parameters in force at `height`.
    fn params(&self, height: Height) -> Result<Option<ConsensusParams>, StoreError>;
    /// What the application answered for `height`.
    fn results(&self, height: Height) -> Result<Option<FinalizeBlockResponse>, StoreError>;
    /// What waits for a block, and what blocks proved, those that are pruned included.
    fn evidence(&self) -> Result<StoredEvidence, StoreError>;
    /// The genesis document this store began with, as its JSON bytes.
    fn genesis(&self) -> Result<Option<Vec<u8>>, StoreError>;

    /// A transaction by hash. Errors when the index is off.
    fn tx(&self, hash: &Hash) -> Result<Option<TxResult>, StoreError>;
    /// Transactions that match.
    fn search_txs(&self, search: Search<'_>) -> Result<Page<TxResult>, StoreError>;
    /// Heights of blocks that match.
    fn search_blocks(&self, search: Search<'_>) -> Result<Page<Height>, StoreError>;
    /// True when transactions and blocks are indexed.
    fn indexes(&self) -> bool;

    /// Saves the genesis document and the state made of it, in one durable batch.
    fn save_genesis(&self, genesis_json: &[u8], state: &ChainState) -> Result<(), StoreError>;
    /// Saves a decided block with its commit (and the extensions where `commit` has any) and the names of the evidence it
    /// proves, in one durable batch.
    fn save_block(&self, block: &CandidateBlock, commit: &ExtendedCommit) -> Result<(), StoreError>;
    /// Saves the application's answer for a block, durably: it must survive before the application commits.
    fn save_results(&self, height: Height, results: &FinalizeBlockResponse) -> Result<(), StoreError>;
    /// Saves the state after a block. Atomic; durable with the next durable batch at the latest.
    fn save_state(&self, state: &ChainState) -> Result<(), StoreError>;
    /// Saves changes of what evidence waits for a block, in order. Atomic; a few new pieces after each block are durable at
    /// once, all others with the next durable batch at the latest.
    fn save_evidence(&self, changes: &[EvidenceChange]) -> Result<(), StoreError>;
    /// Indexes an applied block. Atomic, idempotent; may lag behind the state.
    fn index(&self, applied: &AppliedBlock) -> Result<(), StoreError>;
    /// Removes blocks below `retain`, keeping what evidence younger than the limits in `state` needs. Returns how many.
    fn prune(&self, retain: Height, state: &ChainState) -> Result<u64, StoreError>;
}

// ------------------------------------------------------------------------------------------------ application

/// The four connections of ABCI, each with its own order of answers (reference §3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Connection {
    /// InitChain and everything that decides blocks.
    Consensus,
    /// CheckTx.
    Mempool,
    /// Info and Query.
    Query,
    /// Snapshots.
    Snapshot,
}

/// A call to the application failed. After any of these the connection is unusable.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppError {
    /// The connection broke or was closed before the answer came.
    #[error("the application closed the {connection:?} connection during {method}{}: {why}", of_height(.height))]
    Gone {
        /// Which connection.
        connection: Connection,
        /// The method waited for.
        method: &'static str,
        /// The height asked about, where the method has one.
        height: Option<Height>,
        /// What the system said.
        why: String,
    },
    /// The application said that it failed.
    #[error("the application failed in {method}{}: {message}", of_height(.height))]
    Exception {
        /// The method waited for.
        method: &'static str,
        /// The height asked about, where the method has one.
        height: Option<Height>,
        /// Its own words.
        message: String,
    },
    /// The answer is to another question, too large, or not decodable.
    #[error("the application's answer to {method}{} cannot be used: {why}", of_height(.height))]
    BadAnswer {
        /// The method waited for.
        method: &'static str,
        /// The height asked about, where the method has one.
        height: Option<Height>,
        /// What is wrong with it.
        why: String,
    },
    /// No answer in time.
    #[error("the application did not answer {method}{} within {after:?}", of_height(.height))]
    Late {
        /// The method waited for.
        method: &'static str,
        /// The height asked about, where the method has one.
        height: Option<Height>,
        /// The limit.
        after: Duration,
    },
}

/// ` of height 5`, or nothing.
fn of_height(height: &Option<Height>) -> String {
    height.map(|height| format!(" of height {height}")).unwrap_or_default()
}

/// An application behind some transport. Clones share the connections.
pub trait App: Clone + Send + Sync + 'static {
    /// Sends the requests in one write with one Flush and gives their answers, in order. Calls on one connection may
    /// overlap: they are answered in the order in which they were made.
    fn call(
        &self,
        connection: Connection,
        requests: Vec<Request>,
    ) -> impl Future<Output = Result<Vec<Response>, AppError>> + Send;
}

// ------------------------------------------------------------------------------------- the node, to its clients

pub use crate::types::MempoolError;

/// What the node says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its id in the network.
    pub node_id: NodeId,
    /// Where peers are told to call it: the address an operator named, else where it listens, as `tcp://host:port`; empty
    /// when it has no network.
    pub listen_addr: String,
    /// Where it listens for peers, each as `tcp://host:port`.
    pub listeners: Vec<String>,
    /// The chain.
    pub network: ChainId,
    /// `0.38.25`-compatible version text, as peers and clients of CometBFT expect it.
    pub version: String,
    /// Its name.
    pub moniker: String,
    /// `on` or `off`.
    pub tx_index: &'static str,
    /// Where it serves RPC, as `tcp://host:port`.
    pub rpc_address: String,
    /// Channels it speaks.
    pub channels: Vec<u8>,
    /// The validator key it holds, if any.
    pub validator: Option<PublicKey>,
}

/// Where consensus stands, for `consensus_state`, `dump_consensus_state` and `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsensusView {
    /// Height, round and step being worked on.
    pub height: Height,
    /// Round.
    pub round: crate::types::Round,
    /// Step.
    pub step: crate::types::Step,
    /// When this height began.
    pub start_time: Time,
    /// The set of this height with the rotation of this round.
    pub validators: Arc<ValidatorSet>,
    /// Proposal of the round.
    pub proposal: Option<Proposal>,
    /// The proposed block, if complete.
    pub proposal_block: Option<Arc<CandidateBlock>>,
    /// The locked block and the round of the lock.
    pub locked: Option<(crate::types::Round, crate::types::BlockId)>,
    /// The valid block and its round.
    pub valid: Option<(crate::types::Round, crate::types::BlockId)>,
    /// Votes by round, each list in set order.
    pub votes: Vec<RoundVotes>,
    /// Precommits of the height before, in set order.
    pub last_commit: Vec<Option<Vote>>,
}

/// The votes of one round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundVotes {
    /// Round.
    pub round: crate::types::Round,
    /// In set order.
    pub prevotes: Vec<Option<Vote>>,
    /// In set order.
    pub precommits: Vec<Option<Vote>>,
}

/// What waits in the mempool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MempoolView {
    /// Transactions in it.
    pub count: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// The first of them, as many as were asked for.
    pub txs: Vec<Tx>,
}

/// One named readiness check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// Short name, such as `application` or `storage`.
    pub name: &'static str,
    /// `Ok` or what is wrong.
    pub outcome: Result<(), String>,
}

/// What a subscriber gets next.
#[derive(Debug, Clone)]
pub enum Delivery {
    /// A published fact (not yet matched against any query).
    Published(Published),
    /// This many facts were dropped because the subscriber was too slow.
    Missed(u64),
}

/// A running subscription. Bounded: a slow subscriber misses facts and is told so, and nobody waits for it.
pub trait Subscription: Send {
    /// The next delivery; `None` when the node stops.
    fn next(&mut self) -> impl Future<Output = Option<Delivery>> + Send;
}

/// Bytes that went one way over a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FlowView {
    /// Since the connection began.
    pub bytes: u64,
    /// Bytes per second lately.
    pub rate: u64,
    /// Most bytes per second so far.
    pub peak_rate: u64,
    /// Since the last byte.
    pub idle: Duration,
}

/// One channel of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelView {
    /// Its number.
    pub id: u8,
    /// Its share when several have something to send.
    pub priority: u32,
    /// Messages that wait to be sent.
    pub queued: u64,
    /// Messages that may wait.
    pub capacity: u64,
    /// Bytes sent lately, as the choice of channel weighs them.
    pub recently_sent: u64,
}

/// A connected peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerView {
    /// What it says about itself.
    pub info: NodeInfo,
    /// Who called whom.
    pub direction: Direction,
    /// Its IP address.
    pub remote_ip: std::net::IpAddr,
    /// How long it has been connected.
    pub connected_for: Duration,
    /// To it.
    pub sent: FlowView,
    /// From it.
    pub received: FlowView,
    /// Its channels.
    pub channels: Vec<ChannelView>,
    /// What it earned (useful messages) and lost (drops) since this node began.
    pub score: i64,
}

/// An address this node means to call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressView {
    /// Who should answer there.
    pub id: NodeId,
    /// `host:port`.
    pub address: String,
    /// Why we call: `persistent`, `seed`, `operator` (asked for once) or `address book`; `caller` for one we do not call.
    pub origin: &'static str,
    /// True while a connection to this peer stands.
    pub connected: bool,
    /// Failed attempts since the last success.
    pub failures: u32,
    /// Until the next attempt, when one is planned.
    pub next_attempt: Option<Duration>,
    /// Why the last attempt failed or the last connection ended.
    pub last_error: Option<String>,
}

/// Addresses an operator asks to be called, for `dial_peers` and `dial_seeds`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialRequest {
    /// Each `id@host:port`.
    pub addresses: Vec<String>,
    /// Why.
    pub kind: DialKind,
}

/// What becomes of addresses an operator gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialKind {
    /// Asked for addresses only.
    Seeds,
    /// Called.
    Peers {
        /// Called again whenever the connection ends.
        persistent: Choice,
        /// Exempt from the limits.
        unconditional: Choice,
        /// Not told to others.
        private: Choice,
    },
}

/// Yes or no, where a bare `bool` would not say to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// What makes sure that a read misses nothing that was decided before it (Raft §8, thesis §6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadGuarantee {
    /// A quorum confirms, after the question came, who leads: right whatever clocks do.
    Linearizable,
    /// The leader's lease: no message, right as long as clocks run about equally fast.
    Leased,
}

/// Why a read has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// Nobody here knows now what was decided last. Says why and what to do.
    #[error("{0}")]
    Refused(String),
    /// The application.
    #[error(transparent)]
    App(#[from] AppError),
}

/// A node, as RPC and command line see it.
pub trait Node: Send + Sync + 'static {
    /// Its subscriptions.
    type Subscription: Subscription + 'static;

    /// Blocks, state, results, index.
    fn store(&self) -> &Arc<dyn Store>;
    /// What it says about itself.
    fn facts(&self) -> NodeFacts;
    /// True while it fetches old blocks instead of taking part.
    fn catching_up(&self) -> bool;
    /// Where consensus stands.
    fn consensus(&self) -> impl Future<Output = ConsensusView> + Send;
    /// What waits in the mempool, and its first `limit` transactions.
    fn mempool(&self, limit: usize) -> impl Future<Output = MempoolView> + Send;
    /// Puts transactions into the mempool: admission, one batch of CheckTx, answers in order.
    fn submit(&self, txs: Vec<Tx>) -> impl Future<Output = Vec<Result<CheckTxResponse, MempoolError>>> + Send;
    /// Puts transactions into the mempool and answers after admission, before the application looked at them.
    fn submit_async(&self, txs: Vec<Tx>) -> impl Future<Output = Vec<Result<(), MempoolError>>> + Send;
    /// Empties the mempool.
    fn flush_mempool(&self) -> impl Future<Output = ()> + Send;
    /// Asks the application on the query connection (Info, Query) or the mempool connection (CheckTx for `check_tx`).
    fn ask(&self, request: Request) -> impl Future<Output = Result<Response, AppError>> + Send;
    /// Asks the application on the query connection, once it has everything that was decided before this call.
    fn read(
        &self,
        request: Request,
        guarantee: ReadGuarantee,
    ) -> impl Future<Output = Result<Response, ReadError>> + Send;
    /// Puts evidence into the pool.
    fn add_evidence(&self, evidence: Evidence) -> impl Future<Output = Result<Hash, String>> + Send;
    /// Everything published from now on.
    fn subscribe(&self) -> Self::Subscription;
    /// Peers with a standing connection.
    fn peers(&self) -> Vec<PeerView>;
    /// Addresses this node means to call, and what became of it.
    fn known_addresses(&self) -> Vec<AddressView>;
    /// Where it listens for peers, each as `tcp://host:port`; empty when it does not.
    fn listeners(&self) -> Vec<String>;
    /// Where each peer's consensus stands, as far as it told us.
    fn peer_states(&self) -> impl Future<Output = Vec<PeerRoundState>> + Send;
    /// Calls peers. The error says which address cannot be called and why; then none is.
    fn dial(&self, request: DialRequest) -> Result<(), String>;
    /// Evidence that waits for a block, oldest first.
    fn pending_evidence(&self) -> impl Future<Output = Vec<Evidence>> + Send;
    /// What it knows about the block that is not there yet; none while it stops.
    fn situation(&self) -> impl Future<Output = Option<Situation>> + Send;
    /// Named checks; all must be `Ok` for the node to be ready.
    fn health(&self) -> impl Future<Output = Vec<HealthCheck>> + Send;
}
