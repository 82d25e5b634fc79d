//! ABCI 2.0 as plain data: what the node asks an application and what it answers (reference §3.3).
//!
//! `codec::abci` puts these on the wire.

use super::{Address, ConsensusParams, Height, ParamsUpdate, Power, Round, Time, ValidatorUpdate};
use crate::crypto::Hash;
use bytes::Bytes;

/// A named list of attributes an application emits; subscribers and the index search them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// First half of the composite key `type.key`.
    pub kind: String,
    /// Attributes in order.
    pub attributes: Vec<EventAttribute>,
}

/// One attribute of an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventAttribute {
    /// Second half of the composite key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Whether the node's index keeps it.
    pub index: bool,
}

/// What the node asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Say the message back.
    Echo(String),
    /// Send all answers owed so far.
    Flush,
    /// Who are you and how far did you come?
    Info(InfoRequest),
    /// Start a chain.
    InitChain(InitChainRequest),
    /// Read application state.
    Query(QueryRequest),
    /// May this transaction enter the mempool?
    CheckTx(CheckTxRequest),
    /// Make the last finalized block durable.
    Commit,
    /// Which snapshots do you have?
    ListSnapshots,
    /// Would you restore this snapshot?
    OfferSnapshot(OfferSnapshotRequest),
    /// Give a chunk of a snapshot.
    LoadSnapshotChunk(LoadSnapshotChunkRequest),
    /// Apply a chunk of a snapshot.
    ApplySnapshotChunk(ApplySnapshotChunkRequest),
    /// Choose the transactions of a block we propose.
    PrepareProposal(PrepareProposalRequest),
    /// Is this proposed block acceptable?
    ProcessProposal(ProcessProposalRequest),
    /// What shall our precommit carry?
    ExtendVote(ExtendVoteRequest),
    /// Is another validator's extension acceptable?
    VerifyVoteExtension(VerifyVoteExtensionRequest),
    /// Execute a decided block.
    FinalizeBlock(FinalizeBlockRequest),
}

/// What the application answers, in the order of the requests.
#[derive(Debug, Clone, PartialEq)]
pub enum Response {
    /// The application failed; the connection is over.
    Exception(String),
    /// To Echo.
    Echo(String),
    /// To Flush.
    Flush,
    /// To Info.
    Info(InfoResponse),
    /// To InitChain.
    InitChain(InitChainResponse),
    /// To Query.
    Query(QueryResponse),
    /// To CheckTx.
    CheckTx(CheckTxResponse),
    /// To Commit.
    Commit(CommitResponse),
    /// To ListSnapshots.
    ListSnapshots(Vec<Snapshot>),
    /// To OfferSnapshot.
    OfferSnapshot(OfferSnapshotResult),
    /// To LoadSnapshotChunk.
    LoadSnapshotChunk(Bytes),
    /// To ApplySnapshotChunk.
    ApplySnapshotChunk(ApplySnapshotChunkResponse),
    /// To PrepareProposal: the transactions to propose.
    PrepareProposal(Vec<Bytes>),
    /// To ProcessProposal.
    ProcessProposal(Verdict),
    /// To ExtendVote: the extension.
    ExtendVote(Bytes),
    /// To VerifyVoteExtension.
    VerifyVoteExtension(Verdict),
    /// To FinalizeBlock.
    FinalizeBlock(FinalizeBlockResponse),
}

macro_rules! method_names {
    ($type:ident { $($variant:ident $(($ignore:tt))? => $name:literal),* $(,)? }) => {
        impl $type {
            /// The method in snake case, as metrics and error messages name it.
            pub fn method(&self) -> &'static str {
                match self { $( $type::$variant $(($ignore))? => $name, )* }
            }
        }
    };
}

method_names!(Request {
    Echo(_) => "echo", Flush => "flush", Info(_) => "info", InitChain(_) => "init_chain", Query(_) => "query",
    CheckTx(_) => "check_tx", Commit => "commit", ListSnapshots => "list_snapshots",
    OfferSnapshot(_) => "offer_snapshot", LoadSnapshotChunk(_) => "load_snapshot_chunk",
    ApplySnapshotChunk(_) => "apply_snapshot_chunk", PrepareProposal(_) => "prepare_proposal",
    ProcessProposal(_) => "process_proposal", ExtendVote(_) => "extend_vote",
    VerifyVoteExtension(_) => "verify_vote_extension", FinalizeBlock(_) => "finalize_block",
});

method_names!(Response {
    Exception(_) => "exception", Echo(_) => "echo", Flush => "flush", Info(_) => "info",
    InitChain(_) => "init_chain", Query(_) => "query", CheckTx(_) => "check_tx", Commit(_) => "commit",
    ListSnapshots(_) => "list_snapshots", OfferSnapshot(_) => "offer_snapshot",
    LoadSnapshotChunk(_) => "load_snapshot_chunk", ApplySnapshotChunk(_) => "apply_snapshot_chunk",
    PrepareProposal(_) => "prepare_proposal", ProcessProposal(_) => "process_proposal", ExtendVote(_) => "extend_vote",
    VerifyVoteExtension(_) => "verify_vote_extension", FinalizeBlock(_) => "finalize_block",
});

impl Request {
    /// The block height this is about, where there is one: what an error message names beside the method.
    pub fn height(&self) -> Option<Height> {
        match self {
            Request::InitChain(request) => Some(request.initial_height),
            Request::PrepareProposal(request) => Some(request.block.height),
            Request::ProcessProposal(request) => Some(request.block.height),
            Request::ExtendVote(request) => Some(request.block.height),
            Request::VerifyVoteExtension(request) => Some(request.height),
            Request::FinalizeBlock(request) => Some(request.block.height),
            _ => None,
        }
    }
}

/// Versions the node runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InfoRequest {
    /// Software version.
    pub version: String,
    /// Block protocol.
    pub block_version: u64,
    /// P2P protocol.
    pub p2p_version: u64,
    /// ABCI version.
    pub abci_version: String,
}

/// How far the application came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InfoResponse {
    /// Free text.
    pub data: String,
    /// The application's software version.
    pub version: String,
    /// Goes into block headers.
    pub app_version: u64,
    /// Last block committed. As sent: a negative height is refused by the handshake, not here.
    pub last_block_height: i64,
    /// Hash after that block.
    pub last_block_app_hash: Bytes,
}

/// The beginning of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitChainRequest {
    /// Genesis time.
    pub time: Time,
    /// The chain's name.
    pub chain_id: String,
    /// Parameters in force.
    pub consensus_params: Option<ConsensusParams>,
    /// In set order.
    pub validators: Vec<ValidatorUpdate>,
    /// `app_state` of the genesis, byte for byte.
    pub app_state_bytes: Bytes,
    /// Height of the first block.
    pub initial_height: Height,
}

/// What the application changes before the first block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InitChainResponse {
    /// Parameters to change.
    pub consensus_params: Option<ParamsUpdate>,
    /// Replaces the genesis validators when not empty.
    pub validators: Vec<ValidatorUpdate>,
    /// Hash of the initial state.
    pub app_hash: Bytes,
}

/// A read of application state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryRequest {
    /// The key, or whatever the application understands.
    pub data: Bytes,
    /// Selects the kind of query.
    pub path: String,
    /// State to read; 0 is the latest. As given by the client: may be negative.
    pub height: i64,
    /// Ask for a proof.
    pub prove: bool,
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryResponse {
    /// 0 is success.
    pub code: u32,
    /// For people; may differ between replicas.
    pub log: String,
    /// For people; may differ between replicas.
    pub info: String,
    /// Position of the key in a tree.
    pub index: i64,
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// Steps of a proof: (type, key, data); none when the application sent no proof.
    pub proof_ops: Option<Vec<ProofOp>>,
    /// The height read.
    pub height: i64,
    /// Namespace of `code`.
    pub codespace: String,
}

/// One step of a proof.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProofOp {
    /// Which operator.
    pub kind: String,
    /// Its key.
    pub key: Bytes,
    /// Its data.
    pub data: Bytes,
}

/// Why CheckTx is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckTxKind {
    /// First sight.
    #[default]
    New,
    /// Again, after a block.
    Recheck,
}

/// A transaction to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckTxRequest {
    /// The transaction.
    pub tx: Bytes,
    /// First sight or again.
    pub kind: CheckTxKind,
}

/// The application's view of one transaction before it is in a block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckTxResponse {
    /// 0 admits it.
    pub code: u32,
    /// Result bytes.
    pub data: Bytes,
    /// For people.
    pub log: String,
    /// For people.
    pub info: String,
    /// Gas it may use.
    pub gas_wanted: i64,
    /// Gas the check used.
    pub gas_used: i64,
    /// Events.
    pub events: Vec<Event>,
    /// Namespace of `code`.
    pub codespace: String,
}

/// What committing allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommitResponse {
    /// Blocks below may be removed; 0 keeps all. As sent.
    pub retain_height: i64,
}

/// A snapshot of application state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Taken after this height.
    pub height: u64,
    /// The application's own format.
    pub format: u32,
    /// Number of chunks.
    pub chunks: u32,
    /// Its hash.
    pub hash: Bytes,
    /// Whatever the application adds.
    pub metadata: Bytes,
}

/// A snapshot a peer has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OfferSnapshotRequest {
    /// The snapshot; none is malformed but legal on the wire.
    pub snapshot: Option<Snapshot>,
    /// Trusted application hash at its height.
    pub app_hash: Bytes,
}

/// Answer to an offered snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OfferSnapshotResult {
    /// No answer.
    #[default]
    Unknown,
    /// Restore it.
    Accept,
    /// Stop all restoring.
    Abort,
    /// Not this one.
    Reject,
    /// None of this format.
    RejectFormat,
    /// None of this sender.
    RejectSender,
}

/// Names a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadSnapshotChunkRequest {
    /// Snapshot height.
    pub height: u64,
    /// Snapshot format.
    pub format: u32,
    /// Chunk number.
    pub chunk: u32,
}

/// A chunk to apply.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApplySnapshotChunkRequest {
    /// Chunk number.
    pub index: u32,
    /// Its bytes.
    pub chunk: Bytes,
    /// Which peer sent it.
    pub sender: String,
}

/// What to do after a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ApplySnapshotChunkResult {
    /// No answer.
    #[default]
    Unknown,
    /// Next.
    Accept,
    /// Stop all restoring.
    Abort,
    /// The same chunk again.
    Retry,
    /// The whole snapshot again.
    RetrySnapshot,
    /// Another snapshot.
    RejectSnapshot,
}

/// Answer to a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ApplySnapshotChunkResponse {
    /// What to do.
    pub result: ApplySnapshotChunkResult,
    /// Chunks to fetch again.
    pub refetch_chunks: Vec<u32>,
    /// Peers to drop.
    pub reject_senders: Vec<String>,
}

/// Yes or no. A missing answer counts as a broken application, not as a no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verdict {
    /// No answer.
    #[default]
    Unknown,
    /// Yes.
    Accept,
    /// No.
    Reject,
}

/// A validator as applications see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbciValidator {
    /// Its address.
    pub address: Address,
    /// Its power.
    pub power: Power,
}

/// How a validator took part in a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockIdFlag {
    /// Not at all.
    Absent,
    /// For the block.
    Commit,
    /// For nil.
    Nil,
}

/// One validator's part in the last commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VoteInfo {
    /// Who.
    pub validator: AbciValidator,
    /// How.
    pub flag: BlockIdFlag,
}

/// The last commit, as applications see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitInfo {
    /// Round it was decided in.
    pub round: Round,
    /// In set order.
    pub votes: Vec<VoteInfo>,
}

/// One validator's part in the last commit, with its extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedVoteInfo {
    /// Who.
    pub validator: AbciValidator,
    /// Its extension.
    pub vote_extension: Bytes,
    /// Signature over it; empty when there is none.
    pub extension_signature: Bytes,
    /// How.
    pub flag: BlockIdFlag,
}

/// The last commit with extensions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtendedCommitInfo {
    /// Round it was decided in.
    pub round: Round,
    /// In set order.
    pub votes: Vec<ExtendedVoteInfo>,
}

/// Kinds of proven misbehaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MisbehaviorKind {
    /// Two votes in one step.
    DuplicateVote,
    /// A false block shown to a light client.
    LightClientAttack,
}

/// Proven misbehaviour, as applications see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misbehavior {
    /// What.
    pub kind: MisbehaviorKind,
    /// Who.
    pub validator: AbciValidator,
    /// When, as height.
    pub height: Height,
    /// When, as block time.
    pub time: Time,
    /// Power of the whole set then.
    pub total_voting_power: Power,
}

/// The facts about a block that most calls share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockFacts {
    /// Misbehaviour proven in the block.
    pub misbehavior: Vec<Misbehavior>,
    /// Its height.
    pub height: Height,
    /// Its time.
    pub time: Time,
    /// The set of the next height.
    pub next_validators_hash: Hash,
    /// Who proposed it.
    pub proposer_address: Address,
}

/// Choose transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrepareProposalRequest {
    /// The answer's transactions must fit in this many bytes, counted as they stand in a block.
    pub max_tx_bytes: u64,
    /// What the mempool offers.
    pub txs: Vec<Bytes>,
    /// The commit of the last height, with extensions.
    pub local_last_commit: ExtendedCommitInfo,
    /// The block to be.
    pub block: BlockFacts,
}

/// Judge a proposed block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessProposalRequest {
    /// Its transactions.
    pub txs: Vec<Bytes>,
    /// The commit it carries.
    pub proposed_last_commit: CommitInfo,
    /// Its header's hash.
    pub hash: Hash,
    /// The block.
    pub block: BlockFacts,
}

/// Extend our precommit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendVoteRequest {
    /// Hash of the block we are about to precommit.
    pub hash: Hash,
    /// Its transactions.
    pub txs: Vec<Bytes>,
    /// The commit it carries.
    pub proposed_last_commit: CommitInfo,
    /// The block.
    pub block: BlockFacts,
}

/// Judge an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyVoteExtensionRequest {
    /// Hash of the block it belongs to.
    pub hash: Hash,
    /// Whose.
    pub validator_address: Address,
    /// Height voted on.
    pub height: Height,
    /// The extension.
    pub vote_extension: Bytes,
}

/// Execute a decided block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalizeBlockRequest {
    /// Its transactions.
    pub txs: Vec<Bytes>,
    /// The commit it carries.
    pub decided_last_commit: CommitInfo,
    /// Its header's hash.
    pub hash: Hash,
    /// The block.
    pub block: BlockFacts,
}

/// The result of one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecTxResult {
    /// 0 is success.
    pub code: u32,
    /// Result bytes; part of the results hash.
    pub data: Bytes,
    /// For people.
    pub log: String,
    /// For people.
    pub info: String,
    /// Part of the results hash.
    pub gas_wanted: i64,
    /// Part of the results hash.
    pub gas_used: i64,
    /// Events.
    pub events: Vec<Event>,
    /// Namespace of `code`.
    pub codespace: String,
}

/// The result of a block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FinalizeBlockResponse {
    /// Events of the block itself.
    pub events: Vec<Event>,
    /// One for each transaction, in order.
    pub tx_results: Vec<ExecTxResult>,
    /// Validators to change, in force two heights later. Power below 0 or an unknown key type is refused when decoded.
    pub validator_updates: Vec<ValidatorUpdate>,
    /// Parameters to change, in force at the next height.
    pub consensus_param_updates: Option<ParamsUpdate>,
    /// The application's hash after this block.
    pub app_hash: Bytes,
}

/// A transaction with its place and result, as the index keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxResult {
    /// Block height.
    pub height: Height,
    /// Position in the block.
    pub index: u32,
    /// The transaction.
    pub tx: Bytes,
    /// Its result.
    pub result: ExecTxResult,
}
