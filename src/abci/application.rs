//! The trait a Rust program implements to be replicated, with CometBFT's BaseApplication as defaults.

use crate::types::abci::{
    ApplySnapshotChunkRequest, ApplySnapshotChunkResponse, CheckTxRequest, CheckTxResponse, CommitResponse,
    ExecTxResult, ExtendVoteRequest, FinalizeBlockRequest, FinalizeBlockResponse, InfoRequest, InfoResponse,
    InitChainRequest, InitChainResponse, LoadSnapshotChunkRequest, OfferSnapshotRequest, OfferSnapshotResult,
    PrepareProposalRequest, ProcessProposalRequest, QueryRequest, QueryResponse, Request, Response, Snapshot, Verdict,
    VerifyVoteExtensionRequest,
};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// Why an application cannot go on: the node gets it as an ABCI exception and the connection ends.
///
/// Any error turns into one by `?`. A transaction that is merely bad is not a failure: answer it with a code above 0.
pub struct Failure(String);

impl Failure {
    /// A failure in the application's own words.
    pub fn new(message: impl Into<String>) -> Failure {
        Failure(message.into())
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What every method gives.
pub type Answer<T> = Result<T, Failure>;

/// A deterministic program whose state the nodes replicate (ABCI 2.0).
///
/// Implement what you need; every default is CometBFT's BaseApplication. Calls come one at a time, so `&mut self` needs
/// no locks. The life of a block: [`prepare_proposal`] on the node that proposes, [`process_proposal`] on every node,
/// [`finalize_block`] once it is decided, [`commit`]. Between `finalize_block` and `commit` nothing may be durable:
/// after a crash of either side the node asks [`info`] how far you came and repeats the blocks you lack.
///
/// ```no_run
/// use bytes::Bytes;
/// use quorate::abci::{Answer, Application};
/// use quorate::types::abci::*;
///
/// /// Counts transactions.
/// #[derive(Default)]
/// struct Counter {
///     committed: State,
///     finalized: State,
/// }
///
/// #[derive(Default, Clone, Copy)]
/// struct State {
///     height: i64,
///     count: u64,
/// }
///
/// impl Application for Counter {
///     fn info(&mut self, _request: InfoRequest) -> Answer<InfoResponse> {
///         Ok(InfoResponse {
///             last_block_height: self.committed.height,
///             last_block_app_hash: Bytes::copy_from_slice(&self.committed.count.to_be_bytes()),
///             ..Default::default()
///         })
///     }
///
///     fn finalize_block(&mut self, block: FinalizeBlockRequest) -> Answer<FinalizeBlockResponse> {
///         let count = self.committed.count + block.txs.len() as u64;
///         self.finalized = State { height: block.block.height.as_i64(), count };
///         Ok(FinalizeBlockResponse {
///             tx_results: vec![ExecTxResult::default(); block.txs.len()],
///             app_hash: Bytes::copy_from_slice(&count.to_be_bytes()),
///             ..Default::default()
///         })
///     }
///
///     fn commit(&mut self) -> Answer<CommitResponse> {
///         self.committed = self.finalized; // a real application makes this durable
///         Ok(CommitResponse::default())
///     }
/// }
///
/// // The whole program: serve nodes until Ctrl-C.
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let address = "tcp://127.0.0.1:26658".parse()?;
///     quorate::abci::run(Counter::default(), &address, |bound| println!("listening at {bound}"))?;
///     Ok(())
/// }
/// ```
///
/// [`prepare_proposal`]: Application::prepare_proposal
/// [`process_proposal`]: Application::process_proposal
/// [`finalize_block`]: Application::finalize_block
/// [`commit`]: Application::commit
/// [`info`]: Application::info
pub trait Application: Send + 'static {
    /// Answers Query beside the other calls, so that readers never wait for a block. Asked once, at the start; without
    /// one, queries take their turn and go to [`Application::query`].
    fn reader(&self) -> Option<Arc<dyn Reader>> {
        None
    }

    /// How far the application came: the last height and hash it made durable, 0 and nothing before the first block.
    fn info(&mut self, _request: InfoRequest) -> Answer<InfoResponse> {
        Ok(InfoResponse::default())
    }

    /// The beginning of a chain. Called again while [`Application::info`] says height 0.
    fn init_chain(&mut self, _request: InitChainRequest) -> Answer<InitChainResponse> {
        Ok(InitChainResponse::default())
    }

    /// Reads committed state. Not called when there is a [`Application::reader`].
    fn query(&mut self, _request: QueryRequest) -> Answer<QueryResponse> {
        Ok(QueryResponse::default())
    }

    /// May this transaction enter the mempool? Need not be deterministic.
    fn check_tx(&mut self, _request: CheckTxRequest) -> Answer<CheckTxResponse> {
        Ok(CheckTxResponse::default())
    }

    /// Chooses the transactions of a block this node proposes; they must fit in `max_tx_bytes`. The default takes as
    /// many as fit, in order.
    fn prepare_proposal(&mut self, request: PrepareProposalRequest) -> Answer<Vec<Bytes>> {
        Ok(first_that_fit(request.txs, request.max_tx_bytes))
    }

    /// Is this proposed block acceptable? Must be deterministic and accept what `prepare_proposal` makes.
    fn process_proposal(&mut self, _request: ProcessProposalRequest) -> Answer<Verdict> {
        Ok(Verdict::Accept)
    }

    /// What our precommit shall carry, where vote extensions are enabled.
    fn extend_vote(&mut self, _request: ExtendVoteRequest) -> Answer<Bytes> {
        Ok(Bytes::new())
    }

    /// Is another validator's extension acceptable? Must be deterministic.
    fn verify_vote_extension(&mut self, _request: VerifyVoteExtensionRequest) -> Answer<Verdict> {
        Ok(Verdict::Accept)
    }

    /// Executes a decided block: exactly one result for each transaction. May come twice for one height when a node
    /// restarts; the second replaces what the first left uncommitted.
    fn finalize_block(&mut self, request: FinalizeBlockRequest) -> Answer<FinalizeBlockResponse> {
        let tx_results = vec![ExecTxResult::default(); request.txs.len()];
        Ok(FinalizeBlockResponse { tx_results, ..FinalizeBlockResponse::default() })
    }

    /// Makes the last finalized block durable. When this returns, [`Application::info`] must say so for ever.
    fn commit(&mut self) -> Answer<CommitResponse> {
        Ok(CommitResponse::default())
    }

    /// Which snapshots of state there are for nodes that join late.
    fn list_snapshots(&mut self) -> Answer<Vec<Snapshot>> {
        Ok(Vec::new())
    }

    /// Would you restore this snapshot?
    fn offer_snapshot(&mut self, _request: OfferSnapshotRequest) -> Answer<OfferSnapshotResult> {
        Ok(OfferSnapshotResult::Unknown)
    }

    /// A chunk of one of our snapshots.
    fn load_snapshot_chunk(&mut self, _request: LoadSnapshotChunkRequest) -> Answer<Bytes> {
        Ok(Bytes::new())
    }

    /// Applies a chunk of the snapshot accepted last.
    fn apply_snapshot_chunk(&mut self, _request: ApplySnapshotChunkRequest) -> Answer<ApplySnapshotChunkResponse> {
        Ok(ApplySnapshotChunkResponse::default())
    }
}

/// Answers queries from committed state, from any number of threads at once.
pub trait Reader: Send + Sync + 'static {
    /// Reads committed state. A panic here ends the connection that asked, nothing else.
    fn query(&self, request: QueryRequest) -> Answer<QueryResponse>;
}

/// Asks the right method. Flush and Echo belong to the transport, yet have their obvious answers.
pub(super) fn answer(app: &mut dyn Application, request: Request) -> Answer<Response> {
    Ok(match request {
        Request::Echo(message) => Response::Echo(message),
        Request::Flush => Response::Flush,
        Request::Info(request) => Response::Info(app.info(request)?),
        Request::InitChain(request) => Response::InitChain(app.init_chain(request)?),
        Request::Query(request) => Response::Query(app.query(request)?),
        Request::CheckTx(request) => Response::CheckTx(app.check_tx(request)?),
        Request::Commit => Response::Commit(app.commit()?),
        Request::ListSnapshots => Response::ListSnapshots(app.list_snapshots()?),
        Request::OfferSnapshot(request) => Response::OfferSnapshot(app.offer_snapshot(request)?),
        Request::LoadSnapshotChunk(request) => Response::LoadSnapshotChunk(app.load_snapshot_chunk(request)?),
        Request::ApplySnapshotChunk(request) => Response::ApplySnapshotChunk(app.apply_snapshot_chunk(request)?),
        Request::PrepareProposal(request) => Response::PrepareProposal(app.prepare_proposal(request)?),
        Request::ProcessProposal(request) => Response::ProcessProposal(app.process_proposal(request)?),
        Request::ExtendVote(request) => Response::ExtendVote(app.extend_vote(request)?),
        Request::VerifyVoteExtension(request) => Response::VerifyVoteExtension(app.verify_vote_extension(request)?),
        Request::FinalizeBlock(request) => Response::FinalizeBlock(app.finalize_block(request)?),
    })
}

/// The first transactions that fit in a block together, each counted with its field tag and length as it stands there.
/// CometBFT's BaseApplication counts bare lengths and can overshoot, which halts a CometBFT proposer.
pub fn first_that_fit(mut txs: Vec<Bytes>, max_tx_bytes: u64) -> Vec<Bytes> {
    let mut total = 0;
    let fits = |tx: &&Bytes| {
        total += (1 + prost::length_delimiter_len(tx.len()) + tx.len()) as u64;
        total <= max_tx_bytes
    };
    let fitting = txs.iter().take_while(fits).count();
    txs.truncate(fitting);
    txs
}
