//! One call: arguments in, JSON result or the error text out. Also whole batches, whose transactions go to the mempool
//! together.

use super::args::{self, Args};
use super::routes::{Access, Cache, Route};
use super::wire::{Id, Request, RpcError, answer};
use super::{Shared, txs};
use crate::ports::Node;

/// A route's answer: JSON, or the text of an internal error.
pub(crate) type Outcome = Result<Vec<u8>, String>;

/// A request that was understood, or why it was not.
type Prepared = Result<(Route, Args), RpcError>;

/// The answers to a batch, and whether they may be cached.
pub(crate) struct Answers {
    pub(crate) bodies: Vec<Vec<u8>>,
    pub(crate) cacheable: bool,
}

impl<N: Node> Shared<N> {
    /// The route of a name that may be called over HTTP.
    pub(crate) fn route(&self, name: &str) -> Result<Route, RpcError> {
        let route = Route::find(name).ok_or_else(RpcError::method_not_found)?;
        match route.access() {
            Access::Everybody => Ok(route),
            Access::Unsafe if self.config.unsafe_routes => Ok(route),
            Access::Unsafe | Access::WebSocket => Err(RpcError::method_not_found()),
        }
    }

    /// Calls a route other than the subscribing ones.
    pub(crate) async fn call(&self, client: &str, route: Route, args: &Args) -> Outcome {
        match route {
            Route::Health => Ok(b"{}".to_vec()),
            Route::Status => self.status().await,
            Route::NetInfo => self.net_info(),
            Route::Network => self.network().await,
            Route::Why => self.why().await,
            Route::DialSeeds => self.dial_seeds(args),
            Route::DialPeers => self.dial_peers(args),
            Route::Genesis => self.genesis().await,
            Route::GenesisChunked => self.genesis_chunked(args.int(0).unwrap_or(0)).await,
            Route::Blockchain => self.blockchain(args.int(0).unwrap_or(0), args.int(1).unwrap_or(0)).await,
            Route::Header => self.header(args.int(0)).await,
            Route::HeaderByHash => self.header_by_hash(args.bytes(0)).await,
            Route::Block => self.block(args.int(0)).await,
            Route::BlockByHash => self.block_by_hash(args.bytes(0)).await,
            Route::BlockResults => self.block_results(args.int(0)).await,
            Route::Commit => self.commit(args.int(0)).await,
            Route::Validators => self.validators(args.int(0), args.int(1), args.int(2)).await,
            Route::ConsensusParams => self.consensus_params(args.int(0)).await,
            Route::BlockSearch => self.block_search(args).await,
            Route::ConsensusState => self.consensus_state().await,
            Route::DumpConsensusState => self.dump_consensus_state().await,
            Route::UnconfirmedTxs => self.unconfirmed_txs(args.int(0)).await,
            Route::NumUnconfirmedTxs => self.num_unconfirmed_txs().await,
            Route::UnsafeFlushMempool => self.flush_mempool().await,
            Route::CheckTx => self.check_tx(args.bytes(0)).await,
            Route::Tx => self.tx(args.bytes(0), txs::Proofs::of(args.flag(1))).await,
            Route::TxSearch => self.tx_search(args).await,
            Route::BroadcastTxAsync | Route::BroadcastTxSync | Route::BroadcastTxCommit => {
                let mut outcomes = self.broadcast(client, route, vec![args.bytes(0)]).await;
                outcomes.pop().unwrap_or_else(|| Err("the node is stopping".to_owned()))
            }
            Route::PendingEvidence => self.pending_evidence().await,
            Route::BroadcastEvidence => self.broadcast_evidence(args.evidence(0)).await,
            Route::AbciInfo => self.abci_info().await,
            Route::AbciQuery => self.abci_query(args).await,
            Route::Subscribe | Route::Unsubscribe | Route::UnsubscribeAll => {
                Err("subscriptions need a WebSocket: connect to /websocket".to_owned())
            }
        }
    }

    /// Answers the requests of one POST, in order. Transactions of the same kind are submitted together, as one batch of
    /// CheckTx.
    pub(crate) async fn call_all(&self, client: &str, requests: &[Request<'_>]) -> Answers {
        let calls: Vec<(&Id, Prepared)> =
            requests.iter().filter_map(|request| Some((request.id.as_ref()?, self.prepare(request)))).collect();
        let mut outcomes: Vec<Option<Result<Vec<u8>, RpcError>>> = calls.iter().map(|_| None).collect();
        for kind in txs::BROADCASTS {
            let places: Vec<(usize, Vec<u8>)> = calls
                .iter()
                .enumerate()
                .filter_map(|(place, (_, call))| match call {
                    Ok((route, args)) if *route == kind => Some((place, args.bytes(0))),
                    _ => None,
                })
                .collect();
            let (places, bytes): (Vec<usize>, Vec<Vec<u8>>) = places.into_iter().unzip();
            if bytes.is_empty() {
                continue;
            }
            // Should an answer be missing, the transaction must not be submitted a second time below.
            let answers =
                self.broadcast(client, kind, bytes).await.into_iter().map(Some).chain(std::iter::repeat(None));
            for (place, outcome) in places.into_iter().zip(answers) {
                let outcome = outcome.unwrap_or_else(|| Err("the node is stopping".to_owned()));
                outcomes[place] = Some(outcome.map_err(RpcError::internal));
            }
        }
        let mut answers = Answers { bodies: Vec::with_capacity(calls.len()), cacheable: !calls.is_empty() };
        for ((id, call), done) in calls.into_iter().zip(outcomes) {
            let cache = matches!(&call, Ok((route, args)) if may_cache(*route, args));
            let outcome = match (done, call) {
                (Some(outcome), _) => outcome,
                (None, Ok((route, args))) => self.call(client, route, &args).await.map_err(RpcError::internal),
                (None, Err(error)) => Err(error),
            };
            answers.cacheable &= cache && (outcome.is_ok() || mutant!("Z99"));
            answers.bodies.push(answer(Some(id), &outcome));
        }
        answers
    }

    fn prepare(&self, request: &Request<'_>) -> Prepared {
        let route = self.route(&request.method)?;
        let args = args::from_json(route, request.params)
            .map_err(|why| RpcError::invalid_params(format!("error converting json params to arguments: {why}")))?;
        Ok((route, args))
    }
}

/// Whether a good answer to this call never changes.
pub(crate) fn may_cache(route: Route, args: &Args) -> bool {
    match route.cache() {
        Cache::Never => false,
        Cache::Always => true,
        Cache::WhenHeightGiven => args.first_given() || mutant!("Z106"),
    }
}
