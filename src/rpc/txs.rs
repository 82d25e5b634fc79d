//! Routes about transactions: broadcasting, finding, proving.

use super::Shared;
use super::args::Args;
use super::call::Outcome;
use super::chain::{order, page, per_page, query};
use super::routes::Route;
use crate::codec::json::scalar::Base64Text;
use crate::codec::json::{Hex, Int, Shown, View, to_bytes};
use crate::crypto::Hash;
use crate::crypto::merkle::{self, Proof};
use crate::ports::{Delivery, MempoolError, Node, Search, SearchOrder, Store, Subscription};
use crate::types::abci::{CheckTxResponse, ExecTxResult, TxResult};
use crate::types::{Height, Published, Tx};
use serde::Serialize;
use std::collections::BTreeMap;

/// The broadcasting routes; a batch submits the transactions of each together.
pub(super) const BROADCASTS: [Route; 3] = [Route::BroadcastTxAsync, Route::BroadcastTxSync, Route::BroadcastTxCommit];

/// What waiting clients hear when the node stops.
const EXITED: &str = "subscription was canceled (reason: CometBFT exited)";

#[derive(Serialize)]
struct BroadcastAnswer<'a> {
    code: u32,
    data: Hex<'a>,
    log: &'a str,
    codespace: &'a str,
    hash: Shown<'a, Hash>,
}

#[derive(Serialize)]
struct CommitAnswer<'a> {
    check_tx: View<'a, CheckTxResponse>,
    tx_result: View<'a, ExecTxResult>,
    hash: Shown<'a, Hash>,
    height: Int<Height>,
}

#[derive(Serialize)]
struct TxProof<'a> {
    root_hash: Shown<'a, Hash>,
    data: Base64Text<'a>,
    proof: View<'a, Proof>,
}

#[derive(Serialize)]
struct TxAnswer<'a> {
    hash: Shown<'a, Hash>,
    height: Int<Height>,
    index: u32,
    tx_result: View<'a, ExecTxResult>,
    tx: Base64Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<TxProof<'a>>,
}

#[derive(Serialize)]
struct SearchAnswer<'a> {
    txs: Vec<TxAnswer<'a>>,
    total_count: Int<u64>,
}

/// Whether the client wants to see that a transaction stands in its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proofs {
    Asked,
    LeftOut,
}

impl Proofs {
    /// From the argument `prove`.
    pub(super) fn of(prove: bool) -> Proofs {
        if prove { Proofs::Asked } else { Proofs::LeftOut }
    }
}

/// A found transaction with what its answer borrows.
struct Found {
    hash: Hash,
    result: TxResult,
    proof: Option<(Hash, Proof)>,
}

impl Found {
    fn new(store: &dyn Store, result: TxResult, proofs: Proofs) -> Result<Found, String> {
        let proof = match proofs {
            Proofs::Asked => proof(store, result.height, result.index)?,
            Proofs::LeftOut => None,
        };
        Ok(Found { hash: Tx::new(result.tx.clone()).hash(), result, proof })
    }

    fn answer(&self) -> TxAnswer<'_> {
        let prove =
            |(root, proof)| TxProof { root_hash: Shown(root), data: Base64Text(&self.result.tx), proof: View(proof) };
        TxAnswer {
            hash: Shown(&self.hash),
            height: Int(self.result.height),
            index: self.result.index,
            tx_result: View(&self.result.result),
            tx: Base64Text(&self.result.tx),
            proof: self.proof.as_ref().map(|(root, proof)| prove((root, proof))),
        }
    }
}

/// That a transaction stands in its block: a Merkle proof over the hashes of the block's transactions.
fn proof(store: &dyn Store, height: Height, index: u32) -> Result<Option<(Hash, Proof)>, String> {
    let Some(block) = store.block(height).map_err(|error| error.to_string())? else { return Ok(None) };
    let hashes: Vec<Hash> = block.txs.iter().map(Tx::hash).collect();
    let (root, proofs) = merkle::proofs(&hashes);
    Ok(proofs.into_iter().nth(index as usize).map(|proof| (root, proof)))
}

fn broadcast_answer(response: &CheckTxResponse, hash: &Hash) -> Vec<u8> {
    to_bytes(&BroadcastAnswer {
        code: response.code,
        data: Hex(&response.data),
        log: &response.log,
        codespace: &response.codespace,
        hash: Shown(hash),
    })
}

impl<N: Node> Shared<N> {
    /// Broadcasts transactions together and gives their answers in order.
    pub(super) async fn broadcast(&self, client: &str, route: Route, bytes: Vec<Vec<u8>>) -> Vec<Outcome> {
        let txs: Vec<Tx> = bytes.into_iter().map(Tx::new).collect();
        let hashes: Vec<Hash> = txs.iter().map(Tx::hash).collect();
        match route {
            Route::BroadcastTxCommit => self.broadcast_commit(client, txs, &hashes).await,
            Route::BroadcastTxSync => {
                let answers = self.node.submit(txs).await;
                let render = |(answer, hash): (Result<CheckTxResponse, MempoolError>, &Hash)| {
                    answer.map(|response| broadcast_answer(&response, hash)).map_err(|error| error.to_string())
                };
                answers.into_iter().zip(&hashes).map(render).collect()
            }
            _ => {
                let answers = self.node.submit_async(txs).await;
                let render = |(answer, hash): (Result<(), MempoolError>, &Hash)| {
                    answer
                        .map(|()| broadcast_answer(&CheckTxResponse::default(), hash))
                        .map_err(|error| error.to_string())
                };
                answers.into_iter().zip(&hashes).map(render).collect()
            }
        }
    }

    /// Listens first, then submits, then waits for the blocks: a result cannot slip through between.
    async fn broadcast_commit(&self, client: &str, txs: Vec<Tx>, hashes: &[Hash]) -> Vec<Outcome> {
        let slot = match self.limits.take(client) {
            Ok(slot) => slot,
            Err(why) => return hashes.iter().map(|_| Err(why.clone())).collect(),
        };
        let mut subscription = self.node.subscribe();
        let checked = self.node.submit(txs).await;
        if mutant!("Z104") {
            subscription = self.node.subscribe();
        }
        let mut waiting: BTreeMap<Hash, Option<TxResult>> = checked
            .iter()
            .zip(hashes)
            .filter(|(answer, _)| answer.as_ref().is_ok_and(|response| response.code == 0))
            .map(|(_, hash)| (*hash, None))
            .collect();
        let gathering = gather(&mut subscription, &mut waiting);
        let in_time = tokio::time::timeout(self.config.timeout_broadcast_tx_commit, gathering);
        let why = match self.shutdown.run_until_cancelled(in_time).await {
            None if mutant!("Z20") => unreachable!("a block comes before the node stops"),
            None => EXITED.to_owned(),
            Some(Ok(Ok(()))) => String::new(),
            Some(Ok(Err(why))) => why.to_owned(),
            Some(Err(_)) => "timed out waiting for tx to be included in a block".to_owned(),
        };
        drop(slot);
        crash_point!("client.committed.before");
        let render = |(answer, hash): (Result<CheckTxResponse, MempoolError>, &Hash)| {
            let check_tx = answer.map_err(|error| format!("error on broadcastTxCommit: {error}"))?;
            let committed = waiting.get(hash).and_then(Option::as_ref);
            if check_tx.code == 0 && committed.is_none() {
                return Err(why.clone());
            }
            Ok(to_bytes(&CommitAnswer {
                check_tx: View(&check_tx),
                tx_result: View(committed.map_or(&ExecTxResult::default(), |found| &found.result)),
                hash: Shown(hash),
                height: Int(committed.map_or(Height::ZERO, |found| found.height)),
            }))
        };
        checked.into_iter().zip(hashes).map(render).collect()
    }

    pub(super) async fn tx(&self, hash: Vec<u8>, proofs: Proofs) -> Outcome {
        if !self.node.store().indexes() {
            return Err("transaction indexing is disabled".to_owned());
        }
        if hash.is_empty() {
            return Err("transaction hash cannot be empty".to_owned());
        }
        self.read(move |store| {
            let found = match Hash::try_from(hash.as_slice()) {
                Ok(name) => store.tx(&name).map_err(|error| error.to_string())?,
                Err(_) => None,
            };
            let found = found.ok_or_else(|| format!("tx ({}) not found", hex::encode_upper(&hash)))?;
            Ok(to_bytes(&Found::new(store, found, proofs)?.answer()))
        })
        .await
    }

    pub(super) async fn tx_search(&self, args: &Args) -> Outcome {
        if !self.node.store().indexes() {
            return Err("transaction indexing is disabled".to_owned());
        }
        let query = query(args.text(0))?;
        let order = order(args.text(4), SearchOrder::Ascending)?;
        let (proofs, asked, size) = (Proofs::of(args.flag(1)), args.int(2), per_page(args.int(3)));
        self.search(move |store, waits| {
            let wanted = asked.and_then(|page| u64::try_from(page).ok()).unwrap_or(1).saturating_sub(1);
            let search = Search { query: &query, order, page: wanted, per_page: size, waits };
            let found = store.search_txs(search).map_err(|error| error.to_string())?;
            page(asked, size, found.total)?;
            let items =
                found.items.into_iter().map(|item| Found::new(store, item, proofs)).collect::<Result<Vec<_>, _>>()?;
            let txs = items.iter().map(Found::answer).collect();
            Ok(to_bytes(&SearchAnswer { txs, total_count: Int(found.total) }))
        })
        .await
    }
}

/// Waits until every transaction in `waiting` has a result.
async fn gather(
    subscription: &mut impl Subscription,
    waiting: &mut BTreeMap<Hash, Option<TxResult>>,
) -> Result<(), &'static str> {
    while waiting.values().any(Option::is_none) {
        match subscription.next().await {
            Some(Delivery::Published(Published::Block(block))) => {
                for (hash, result) in &block.txs {
                    if let Some(place) = waiting.get_mut(hash) {
                        *place = Some(result.clone());
                    }
                }
            }
            Some(Delivery::Published(_)) => {}
            Some(Delivery::Missed(_)) => {
                return Err(
                    "subscription was canceled (reason: internal subscription event buffer is out of capacity)",
                );
            }
            None => return Err(EXITED),
        }
    }
    Ok(())
}
