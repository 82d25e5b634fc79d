//! Routes about stored blocks: headers, blocks, commits, results, validators, parameters, searches.

use super::Shared;
use super::args::Args;
use super::call::Outcome;
use crate::codec::json::abci::BlockResults;
use crate::codec::json::{Int, List, View, to_bytes};
use crate::crypto::Hash;
use crate::ports::{Node, Search, SearchOrder, Store};
use crate::types::query::Query;
use crate::types::{Block, BlockId, BlockMeta, Commit, ConsensusParams, Header, Height, Validator};
use serde::Serialize;

/// Most headers in one answer of `blockchain`.
const HEADERS_MAX: i64 = 20;
const PER_PAGE_DEFAULT: u64 = 30;
const PER_PAGE_MAX: u64 = 100;
/// Longest query in bytes.
pub(super) const QUERY_BYTES_MAX: usize = 512;

#[derive(Serialize)]
struct BlockAnswer<'a> {
    block_id: View<'a, Option<BlockId>>,
    block: Option<View<'a, Block>>,
}

#[derive(Serialize)]
struct HeaderAnswer<'a> {
    header: Option<View<'a, Header>>,
}

#[derive(Serialize)]
struct SignedHeaderAnswer<'a> {
    header: View<'a, Header>,
    commit: Option<View<'a, Commit>>,
}

#[derive(Serialize)]
struct CommitAnswer<'a> {
    signed_header: SignedHeaderAnswer<'a>,
    canonical: bool,
}

#[derive(Serialize)]
struct BlockchainAnswer<'a> {
    last_height: Int<Height>,
    block_metas: List<'a, BlockMeta>,
}

#[derive(Serialize)]
struct ValidatorsAnswer<'a> {
    block_height: Int<Height>,
    validators: List<'a, Validator>,
    count: Int<usize>,
    total: Int<usize>,
}

#[derive(Serialize)]
struct ParamsAnswer<'a> {
    block_height: Int<Height>,
    consensus_params: View<'a, ConsensusParams>,
}

#[derive(Serialize)]
struct SearchAnswer<'a> {
    blocks: Vec<BlockAnswer<'a>>,
    total_count: Int<u64>,
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The height asked for, checked against what is stored; the latest when none was given.
pub(super) fn height(store: &dyn Store, latest: Height, asked: Option<i64>) -> Result<Height, String> {
    let Some(asked) = asked else { return Ok(latest) };
    if asked <= 0 {
        return Err(format!("height must be greater than 0, but got {asked}"));
    }
    if asked > latest.as_i64() + i64::from(mutant!("Z94")) {
        return Err(format!("height {asked} must be less than or equal to the current blockchain height {latest}"));
    }
    let base = store.base();
    if asked < base.as_i64() {
        return Err(format!("height {asked} is not available, lowest height is {base}"));
    }
    Height::try_from(asked).map_err(text)
}

/// Entries on a page: 30 unless said, at most 100.
pub(super) fn per_page(asked: Option<i64>) -> u64 {
    match asked.map(u64::try_from) {
        Some(Ok(asked)) if asked > 0 => asked.min(if mutant!("Z95") { u64::MAX } else { PER_PAGE_MAX }),
        _ => PER_PAGE_DEFAULT,
    }
}

/// The page asked for, counted from 0.
pub(super) fn page(asked: Option<i64>, per_page: u64, total: u64) -> Result<u64, String> {
    let pages = total.div_ceil(per_page).max(1);
    match asked {
        None => Ok(0),
        Some(asked) => u64::try_from(asked)
            .ok()
            .filter(|page| (1..=pages).contains(page))
            .map(|page| page - 1)
            .ok_or_else(|| format!("page should be within [1, {pages}] range, given {asked}")),
    }
}

pub(super) fn order(order_by: &str, default: SearchOrder) -> Result<SearchOrder, String> {
    match order_by {
        "" => Ok(default),
        "asc" => Ok(SearchOrder::Ascending),
        "desc" => Ok(SearchOrder::Descending),
        _ => Err("expected order_by to be either `asc` or `desc` or empty".to_owned()),
    }
}

pub(super) fn query(text: &str) -> Result<Query, String> {
    if text.len() > QUERY_BYTES_MAX {
        return Err("maximum query length exceeded".to_owned());
    }
    text.parse().map_err(|error: crate::types::query::QueryError| error.to_string())
}

fn whole_block(store: &dyn Store, height: Height) -> Result<(Option<BlockId>, Option<Block>), String> {
    let block = store.block(height).map_err(text)?;
    let id = store.block_meta(height).map_err(text)?.map(|meta| meta.block_id);
    Ok((id, block))
}

fn render_block(id: Option<BlockId>, block: Option<&Block>) -> Vec<u8> {
    to_bytes(&BlockAnswer { block_id: View(&id), block: block.map(View) })
}

impl<N: Node> Shared<N> {
    /// The newest height with validators and parameters: one above the tip, unless the node is catching up.
    pub(super) fn latest_uncommitted(&self) -> Height {
        let tip = self.node.store().tip();
        if self.node.catching_up() { tip } else { tip.next() }
    }

    pub(super) async fn blockchain(&self, min: i64, max: i64) -> Outcome {
        self.read(move |store| {
            if min < 0 || max < 0 {
                return Err("heights must be non-negative".to_owned());
            }
            let tip = store.tip().as_i64();
            let max = if max == 0 { tip } else { max.min(tip) };
            let min = min.max(1).max(store.base().as_i64()).max(max - HEADERS_MAX + i64::from(!mutant!("Z96")));
            if min > max {
                return Err(format!("min height {min} can't be greater than max height {max}"));
            }
            let mut metas = Vec::new();
            for height in (min..=max).rev() {
                metas.extend(store.block_meta(Height::try_from(height).map_err(text)?).map_err(text)?);
            }
            Ok(to_bytes(&BlockchainAnswer { last_height: Int(store.tip()), block_metas: List(&metas) }))
        })
        .await
    }

    pub(super) async fn header(&self, asked: Option<i64>) -> Outcome {
        self.read(move |store| {
            let meta = store.block_meta(height(store, store.tip(), asked)?).map_err(text)?;
            Ok(to_bytes(&HeaderAnswer { header: meta.as_ref().map(|meta| View(&meta.header)) }))
        })
        .await
    }

    pub(super) async fn header_by_hash(&self, hash: Vec<u8>) -> Outcome {
        self.read(move |store| {
            let meta = match height_of(store, &hash)? {
                Some(height) => store.block_meta(height).map_err(text)?,
                None => None,
            };
            Ok(to_bytes(&HeaderAnswer { header: meta.as_ref().map(|meta| View(&meta.header)) }))
        })
        .await
    }

    pub(super) async fn block(&self, asked: Option<i64>) -> Outcome {
        self.read(move |store| {
            let (id, block) = whole_block(store, height(store, store.tip(), asked)?)?;
            Ok(render_block(id, block.as_ref()))
        })
        .await
    }

    pub(super) async fn block_by_hash(&self, hash: Vec<u8>) -> Outcome {
        self.read(move |store| {
            let Some(height) = height_of(store, &hash)? else { return Ok(render_block(None, None)) };
            let (id, block) = whole_block(store, height)?;
            Ok(render_block(id, block.as_ref()))
        })
        .await
    }

    pub(super) async fn block_results(&self, asked: Option<i64>) -> Outcome {
        self.read(move |store| {
            let height = height(store, store.tip(), asked)?;
            let missing = || format!("could not find results for height #{height}");
            let results = store.results(height).map_err(text)?.ok_or_else(missing)?;
            Ok(to_bytes(&BlockResults(height, &results)))
        })
        .await
    }

    pub(super) async fn commit(&self, asked: Option<i64>) -> Outcome {
        self.read(move |store| {
            let height = height(store, store.tip(), asked)?;
            let Some(meta) = store.block_meta(height).map_err(text)? else { return Ok(b"null".to_vec()) };
            let canonical = height != store.tip() || mutant!("Z97");
            let commit = if canonical { store.commit(height) } else { store.seen_commit(height) }.map_err(text)?;
            let signed_header = SignedHeaderAnswer { header: View(&meta.header), commit: commit.as_ref().map(View) };
            Ok(to_bytes(&CommitAnswer { signed_header, canonical }))
        })
        .await
    }

    pub(super) async fn validators(&self, asked: Option<i64>, page_asked: Option<i64>, size: Option<i64>) -> Outcome {
        let latest = self.latest_uncommitted();
        self.read(move |store| {
            let height = height(store, latest, asked)?;
            let missing = || format!("could not find validator set for height #{height}");
            let set = store.validators(height).map_err(text)?.ok_or_else(missing)?;
            let size = per_page(size);
            let page = page(page_asked, size, set.len() as u64)?;
            let first = usize::try_from(page * size).unwrap_or(usize::MAX).min(set.len());
            let last = first.saturating_add(size as usize).min(set.len());
            let members = set.members().get(first..last).unwrap_or_default();
            Ok(to_bytes(&ValidatorsAnswer {
                block_height: Int(height),
                validators: List(members),
                count: Int(members.len()),
                total: Int(set.len()),
            }))
        })
        .await
    }

    pub(super) async fn consensus_params(&self, asked: Option<i64>) -> Outcome {
        let latest = self.latest_uncommitted();
        self.read(move |store| {
            let height = height(store, latest, asked)?;
            let missing = || format!("could not find consensus params for height #{height}");
            let params = store.params(height).map_err(text)?.ok_or_else(missing)?;
            Ok(to_bytes(&ParamsAnswer { block_height: Int(height), consensus_params: View(&params) }))
        })
        .await
    }

    pub(super) async fn block_search(&self, args: &Args) -> Outcome {
        if !self.node.store().indexes() {
            return Err("block indexing is disabled".to_owned());
        }
        let query = query(args.text(0))?;
        let order = order(args.text(3), SearchOrder::Descending)?;
        let (asked, size) = (args.int(1), per_page(args.int(2)));
        self.search(move |store, waits| {
            let wanted = asked.and_then(|page| u64::try_from(page).ok()).unwrap_or(1).saturating_sub(1);
            let search = Search { query: &query, order, page: wanted, per_page: size, waits };
            let found = store.search_blocks(search).map_err(text)?;
            page(asked, size, found.total)?;
            let blocks = found.items.iter().map(|height| whole_block(store, *height)).collect::<Result<Vec<_>, _>>()?;
            let blocks = blocks.iter().filter(|(_, block)| block.is_some());
            Ok(to_bytes(&SearchAnswer {
                blocks: blocks
                    .map(|(id, block)| BlockAnswer { block_id: View(id), block: block.as_ref().map(View) })
                    .collect(),
                total_count: Int(found.total),
            }))
        })
        .await
    }
}

fn height_of(store: &dyn Store, hash: &[u8]) -> Result<Option<Height>, String> {
    match Hash::try_from(hash) {
        Ok(hash) => store.height_of(&hash).map_err(text),
        Err(_) => Ok(None),
    }
}
