//! Routes about the node itself: status, genesis, mempool, application, evidence.

use super::Shared;
use super::args::Args;
use super::call::Outcome;
use super::chain::per_page;
use crate::codec::json::abci::Sparse;
use crate::codec::json::{Base64, Hex, Int, List, Shown, View, genesis, to_bytes};
use crate::crypto::PublicKey;
use crate::ports::{Node, ReadGuarantee, Store};
use crate::types::abci::{CheckTxKind, CheckTxRequest, InfoRequest, InfoResponse, QueryRequest, QueryResponse};
use crate::types::abci::{Request, Response};
use crate::types::{Address, BlockMeta, Evidence, Power, Time, Tx, Version};
use bytes::Bytes;
use serde::Serialize;

/// Bytes of one chunk of `genesis_chunked`.
const GENESIS_CHUNK_BYTES: usize = 16 << 20;
/// The p2p protocol (reference §0).
const P2P_PROTOCOL: u64 = 8;
/// The ABCI we speak.
const ABCI_VERSION: &str = "2.0.0";

#[derive(Serialize)]
pub(super) struct ProtocolVersion {
    pub(super) p2p: Int<u64>,
    pub(super) block: Int<u64>,
    pub(super) app: Int<u64>,
}

#[derive(Serialize)]
pub(super) struct Other<'a> {
    pub(super) tx_index: &'a str,
    pub(super) rpc_address: &'a str,
}

/// What a node says about itself, in `status` and `net_info`.
#[derive(Serialize)]
pub(super) struct NodeInfoAnswer<'a> {
    pub(super) protocol_version: ProtocolVersion,
    pub(super) id: String,
    pub(super) listen_addr: &'a str,
    pub(super) network: &'a str,
    pub(super) version: &'a str,
    pub(super) channels: Hex<'a>,
    pub(super) moniker: &'a str,
    pub(super) other: Other<'a>,
}

#[derive(Serialize)]
struct SyncInfo<'a> {
    latest_block_hash: Hex<'a>,
    latest_app_hash: Hex<'a>,
    latest_block_height: Int<u64>,
    latest_block_time: Time3339,
    earliest_block_hash: Hex<'a>,
    earliest_app_hash: Hex<'a>,
    earliest_block_height: Int<u64>,
    earliest_block_time: Time3339,
    catching_up: bool,
}

struct Time3339(Time);

impl Serialize for Time3339 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

#[derive(Serialize)]
struct ValidatorInfo<'a> {
    address: Hex<'a>,
    pub_key: Option<View<'a, PublicKey>>,
    voting_power: Int<Power>,
}

#[derive(Serialize)]
struct StatusAnswer<'a> {
    node_info: NodeInfoAnswer<'a>,
    sync_info: SyncInfo<'a>,
    validator_info: ValidatorInfo<'a>,
}

#[derive(Serialize)]
struct ChunkAnswer<'a> {
    chunk: Int<usize>,
    total: Int<usize>,
    data: Base64<'a>,
}

#[derive(Serialize)]
struct MempoolAnswer<'a> {
    n_txs: Int<u64>,
    total: Int<u64>,
    total_bytes: Int<u64>,
    txs: Option<List<'a, Tx>>,
}

#[derive(Serialize)]
struct InfoAnswer<'a> {
    response: Sparse<'a, InfoResponse>,
}

#[derive(Serialize)]
struct QueryAnswer<'a> {
    response: View<'a, QueryResponse>,
}

#[derive(Serialize)]
struct PendingEvidenceAnswer<'a> {
    n_evidence: Int<usize>,
    total_bytes: Int<u64>,
    evidence: List<'a, Evidence>,
}

#[derive(Serialize)]
struct EvidenceAnswer<'a> {
    hash: Base64<'a>,
}

/// The genesis document as compact JSON.
fn genesis_json(store: &dyn Store) -> Result<Bytes, String> {
    let json = store.genesis().map_err(|error| error.to_string())?.ok_or("no genesis document is stored yet")?;
    let document = genesis::parse(&json).map_err(|error| error.to_string())?;
    Ok(to_bytes(&View(&document)).into())
}

impl<N: Node> Shared<N> {
    pub(super) async fn status(&self) -> Outcome {
        let (latest_height, facts, catching_up) =
            (self.latest_uncommitted(), self.node.facts(), self.node.catching_up());
        self.read(move |store| {
            let text = |error: crate::ports::StoreError| error.to_string();
            let latest = store.block_meta(store.tip()).map_err(text)?;
            let earliest = store.block_meta(store.base()).map_err(text)?;
            let app = store.state().map_err(text)?.map_or(0, |state| state.version.app);
            let address = facts.validator.as_ref().map(Address::from);
            let set = store.validators(latest_height).map_err(text)?;
            let power = address.and_then(|address| set.as_ref()?.by_address(&address).map(|(_, member)| member.power));
            fn hash(meta: &Option<BlockMeta>) -> Hex<'_> {
                Hex(meta.as_ref().map_or(&[], |meta| meta.block_id.hash.as_ref()))
            }
            fn app_hash(meta: &Option<BlockMeta>) -> Hex<'_> {
                Hex(meta.as_ref().map_or(&[], |meta| &meta.header.app_hash))
            }
            let number = |meta: &Option<BlockMeta>| Int(meta.as_ref().map_or(0, |meta| meta.header.height.get()));
            let time =
                |meta: &Option<BlockMeta>| Time3339(meta.as_ref().map_or(Time::UNIX_EPOCH, |meta| meta.header.time));
            Ok(to_bytes(&StatusAnswer {
                node_info: NodeInfoAnswer {
                    protocol_version: ProtocolVersion {
                        p2p: Int(P2P_PROTOCOL),
                        block: Int(Version::BLOCK),
                        app: Int(app),
                    },
                    id: facts.node_id.to_string(),
                    listen_addr: &facts.listen_addr,
                    network: facts.network.as_str(),
                    version: &facts.version,
                    channels: Hex(&facts.channels),
                    moniker: &facts.moniker,
                    other: Other { tx_index: facts.tx_index, rpc_address: &facts.rpc_address },
                },
                sync_info: SyncInfo {
                    latest_block_hash: hash(&latest),
                    latest_app_hash: app_hash(&latest),
                    latest_block_height: number(&latest),
                    latest_block_time: time(&latest),
                    earliest_block_hash: hash(&earliest),
                    earliest_app_hash: app_hash(&earliest),
                    earliest_block_height: number(&earliest),
                    earliest_block_time: time(&earliest),
                    catching_up,
                },
                validator_info: ValidatorInfo {
                    address: Hex(address.as_ref().map_or(&[], |address| address.as_ref())),
                    pub_key: facts.validator.as_ref().map(View),
                    voting_power: Int(power.unwrap_or(Power::ZERO)),
                },
            }))
        })
        .await
    }

    pub(super) async fn genesis(&self) -> Outcome {
        let json = self.genesis_json().await?;
        if json.len() > GENESIS_CHUNK_BYTES {
            return Err("genesis response is large, please use the genesis_chunked API instead".to_owned());
        }
        Ok([b"{\"genesis\":", json.as_ref(), b"}"].concat())
    }

    /// Read and rendered for the first who asks, kept for the others: it may be large and nobody pays for asking.
    async fn genesis_json(&self) -> Result<Bytes, String> {
        self.genesis.get_or_try_init(|| self.read(genesis_json)).await.cloned()
    }

    pub(super) async fn genesis_chunked(&self, chunk: i64) -> Outcome {
        let json = self.genesis_json().await?;
        self.read(move |_| {
            let total = json.len().div_ceil(GENESIS_CHUNK_BYTES);
            let data = usize::try_from(chunk).ok().and_then(|chunk| json.chunks(GENESIS_CHUNK_BYTES).nth(chunk));
            let data =
                data.ok_or_else(|| format!("there are {} chunks, {chunk} is invalid", total.saturating_sub(1)))?;
            Ok(to_bytes(&ChunkAnswer { chunk: Int(chunk as usize), total: Int(total), data: Base64(data) }))
        })
        .await
    }

    pub(super) async fn unconfirmed_txs(&self, limit: Option<i64>) -> Outcome {
        let view = self.node.mempool(per_page(limit) as usize).await;
        Ok(to_bytes(&MempoolAnswer {
            n_txs: Int(view.txs.len() as u64),
            total: Int(view.count),
            total_bytes: Int(view.bytes),
            txs: Some(List(&view.txs)),
        }))
    }

    pub(super) async fn num_unconfirmed_txs(&self) -> Outcome {
        let view = self.node.mempool(0).await;
        let (count, bytes) = (Int(view.count), Int(view.bytes));
        Ok(to_bytes(&MempoolAnswer { n_txs: count, total: count, total_bytes: bytes, txs: None }))
    }

    pub(super) async fn flush_mempool(&self) -> Outcome {
        self.node.flush_mempool().await;
        Ok(b"{}".to_vec())
    }

    async fn ask(&self, request: Request) -> Result<Response, String> {
        self.node.ask(request).await.map_err(|error| error.to_string())
    }

    pub(super) async fn check_tx(&self, tx: Vec<u8>) -> Outcome {
        let request = CheckTxRequest { tx: tx.into(), kind: CheckTxKind::New };
        match self.ask(Request::CheckTx(request)).await? {
            Response::CheckTx(response) => Ok(to_bytes(&View(&response))),
            other => Err(format!("the application answered check_tx with {}", other.method())),
        }
    }

    pub(super) async fn abci_info(&self) -> Outcome {
        let request = InfoRequest {
            version: self.node.facts().version,
            block_version: Version::BLOCK,
            p2p_version: P2P_PROTOCOL,
            abci_version: ABCI_VERSION.to_owned(),
        };
        match self.ask(Request::Info(request)).await? {
            Response::Info(response) => Ok(to_bytes(&InfoAnswer { response: Sparse(&response) })),
            other => Err(format!("the application answered info with {}", other.method())),
        }
    }

    pub(super) async fn abci_query(&self, args: &Args) -> Outcome {
        let request = QueryRequest {
            data: args.bytes(1).into(),
            path: args.text(0).to_owned(),
            height: args.int(2).unwrap_or(0),
            prove: args.flag(3),
        };
        let answer = match consistency(args.text(4))? {
            None => self.ask(Request::Query(request)).await?,
            Some(guarantee) => {
                let read = self.node.read(Request::Query(request), guarantee).await;
                read.map_err(|error| error.to_string())?
            }
        };
        match answer {
            Response::Query(response) => Ok(to_bytes(&QueryAnswer { response: View(&response) })),
            other => Err(format!("the application answered query with {}", other.method())),
        }
    }

    /// Ours: CometBFT does not tell what waits in its evidence pool.
    pub(super) async fn pending_evidence(&self) -> Outcome {
        let pending = self.node.pending_evidence().await;
        Ok(to_bytes(&PendingEvidenceAnswer {
            n_evidence: Int(pending.len()),
            total_bytes: Int(pending.iter().map(Evidence::encoded_len).sum()),
            evidence: List(&pending),
        }))
    }

    pub(super) async fn broadcast_evidence(&self, evidence: Option<&Evidence>) -> Outcome {
        let evidence = evidence.ok_or("no evidence was provided")?;
        let added = self.node.add_evidence(evidence.clone()).await;
        let hash = added.map_err(|why| format!("failed to add evidence: {why}"))?;
        Ok(to_bytes(&EvidenceAnswer { hash: Base64(hash.as_ref()) }))
    }
}

/// What `consistency` asks for; none for CometBFT's behaviour, an answer from what this node has applied.
fn consistency(text: &str) -> Result<Option<ReadGuarantee>, String> {
    match text {
        "" | "local" => Ok(None),
        "leased" => Ok(Some(ReadGuarantee::Leased)),
        "linearizable" => Ok(Some(ReadGuarantee::Linearizable)),
        other => Err(format!("expected consistency to be `linearizable`, `leased` or `local`, but got {other:?}")),
    }
}

/// The proposer's address, for the consensus views.
pub(super) fn shown(address: &Address) -> Shown<'_, Address> {
    Shown(address)
}
