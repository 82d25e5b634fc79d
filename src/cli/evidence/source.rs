//! Where evidence and what it is judged by come from: a running node's RPC, or the store of a stopped home.

use crate::cli::args::{Common, EvidenceRange, StatusArgs};
use crate::cli::http::{AskError, ask};
use crate::cli::output::Output;
use crate::cli::status::{candidates, nobody_there, text};
use crate::cli::{CliError, Exit};
use crate::codec::json::read::{self, Place, ReadError};
use crate::config::{self, Address, Config, HomeLock, RunFile};
use crate::crypto::Hash;
use crate::evidence::{Facts, trusted_height};
use crate::ports::{Store, StoreError};
use crate::storage::{self, Indexing};
use crate::types::{ChainId, Evidence, EvidenceKey, EvidenceParams, Header, Height, SignedHeader, Time, ValidatorSet};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Blocks looked into unless told otherwise.
const BLOCKS_SEARCHED: u64 = 10_000;
/// Headers in one answer of `blockchain`.
const HEADERS_AT_ONCE: u64 = 20;
/// A person is told how far a search is this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);
/// Most pieces read from one answer.
const PIECES_MAX: usize = 100_000;

/// Who is asked.
pub(super) enum Source {
    Node(Address),
    Store(Arc<dyn Store>),
}

/// The chain's newest block and what evidence on it is judged by.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) chain_id: ChainId,
    pub(super) base: Height,
    pub(super) tip: Height,
    pub(super) tip_time: Time,
    pub(super) limits: EvidenceParams,
}

/// Where a piece stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It waits for a block.
    Pending,
    /// The block of this height proved it.
    Proven(Height),
    /// It was given as a file.
    Given,
}

/// A piece that was found.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) key: EvidenceKey,
    pub(super) standing: Standing,
    /// None when the block that proved it is pruned.
    pub(super) evidence: Option<Evidence>,
}

impl Found {
    pub(super) fn new(evidence: Evidence, standing: Standing) -> Found {
        Found { key: evidence.key(), standing, evidence: Some(evidence) }
    }
}

/// What a search covered, for the reader.
pub(super) struct Search {
    pub(super) found: Vec<Found>,
    pub(super) from: Height,
    pub(super) to: Height,
    /// False when the node does not tell what waits: CometBFT's do not.
    pub(super) knows_pending: bool,
}

impl Source {
    /// A node when one is named or runs; otherwise the home's store.
    pub(super) fn find(common: &Common, args: &EvidenceRange, out: &Output) -> Result<Source, CliError> {
        let home = common.home()?;
        if args.node.is_none()
            && !HomeLock::is_taken(&home)
            && let Ok((config, _)) = Config::load(&home, &common.overrides())
            && storage::exists(&config.storage.dir)
        {
            return open_store(&config).map(Source::Store).map_err(store);
        }
        let run_file = RunFile::read(&home);
        let mut failures = Vec::new();
        for candidate in candidates(common, &StatusArgs { node: args.node.clone() }, &home, run_file.as_ref())? {
            match ask(&candidate.address, "status") {
                Ok(_) => return Ok(Source::Node(candidate.address)),
                Err(why) => failures.push((candidate, why)),
            }
        }
        Err(nobody_there(&home, run_file.as_ref(), &failures, out))
    }

    pub(super) fn about(&self) -> Result<About, CliError> {
        match self {
            Source::Node(address) => about_node(address),
            Source::Store(kept) => {
                let state = kept.state().map_err(store)?.ok_or_else(|| {
                    CliError::failed("this home has no blocks yet: there is nothing to look into", "quorate start")
                })?;
                Ok(About {
                    chain_id: state.chain_id.clone(),
                    base: kept.base(),
                    tip: state.last_block_height,
                    tip_time: state.last_block_time,
                    limits: state.consensus_params.evidence,
                })
            }
        }
    }

    /// Everything that waits, oldest first, then everything proven in the range, newest first.
    pub(super) fn search(&self, about: &About, args: &EvidenceRange) -> Result<Search, CliError> {
        let to = args.to.map_or(about.tip.get(), |to| to.min(about.tip.get()));
        let lowest = about.base.get().max(1);
        let from = args.from.unwrap_or((to + 1).saturating_sub(BLOCKS_SEARCHED)).max(lowest);
        if from > to {
            return Err(CliError {
                exit: Exit::Usage,
                text: format!(
                    "there is no block from {from} to {to}: the chain is here from {lowest} to {}\n  next: choose --from and --to within",
                    about.tip
                ),
            });
        }
        let (mut found, knows_pending) = match self.pending()? {
            Some(pending) => (pending.into_iter().map(|it| Found::new(it, Standing::Pending)).collect(), true),
            None => (Vec::new(), false),
        };
        let (from, to) = (Height::new(from), Height::new(to));
        match self {
            Source::Node(address) => proven_by_node(address, from, to, &mut found)?,
            Source::Store(kept) => proven_by_store(&**kept, from, to, &mut found)?,
        }
        Ok(Search { found, from, to, knows_pending })
    }

    fn pending(&self) -> Result<Option<Vec<Evidence>>, CliError> {
        match self {
            Source::Node(address) => match ask(address, "pending_evidence") {
                Ok(answer) => pieces(&answer, "/evidence").map(Some),
                Err(AskError::Refused(_) | AskError::NoNode(_)) => Ok(None),
                Err(error) => Err(asked(address, &error)),
            },
            Source::Store(kept) => kept.evidence().map(|stored| Some(stored.pending)).map_err(store),
        }
    }

    /// What the chain says about the height of an offence; none when its blocks are not here.
    pub(super) fn facts(&self, about: &About, evidence: &Evidence) -> Result<Option<Facts>, CliError> {
        let height = evidence.height();
        let (Some(header), Some(validators)) = (self.header(height)?, self.validators(height)?) else {
            return Ok(None);
        };
        let trusted = match trusted_height(evidence) {
            Some(height) => self.signed_header(height.min(about.tip))?,
            None => None,
        };
        Ok(Some(Facts { block_time: header.time, validators: Arc::new(validators), trusted }))
    }

    fn header(&self, height: Height) -> Result<Option<Header>, CliError> {
        match self {
            Source::Node(address) => {
                let Some(answer) = ask_about(address, &format!("header?height={height}"))? else { return Ok(None) };
                read_at(&answer, "/header", read::read_header).map(Some)
            }
            Source::Store(kept) => Ok(kept.block_meta(height).map_err(store)?.map(|meta| meta.header)),
        }
    }

    fn validators(&self, height: Height) -> Result<Option<ValidatorSet>, CliError> {
        let address = match self {
            Source::Store(kept) => return kept.validators(height).map_err(store),
            Source::Node(address) => address,
        };
        let mut members = Vec::new();
        for page in 1.. {
            let query = format!("validators?height={height}&page={page}&per_page=100");
            let Some(answer) = ask_about(address, &query)? else { return Ok(None) };
            let total: usize = text(&answer, "/total").parse().unwrap_or(0);
            let more = list_at(&answer, "/validators", read::read_validator)?;
            let nothing_new = more.is_empty();
            members.extend(more);
            if nothing_new || members.len() >= total {
                break;
            }
        }
        let set = ValidatorSet::from_stored(members, None);
        set.map(Some).map_err(|why| unreadable(&format!("its validators of height {height}: {why}")))
    }

    fn signed_header(&self, height: Height) -> Result<Option<SignedHeader>, CliError> {
        match self {
            Source::Node(address) => {
                let Some(answer) = ask_about(address, &format!("commit?height={height}"))? else { return Ok(None) };
                let header = read_at(&answer, "/signed_header/header", read::read_header)?;
                let commit = read_at(&answer, "/signed_header/commit", read::read_commit)?;
                Ok(commit.map(|commit| SignedHeader { header, commit }))
            }
            Source::Store(kept) => {
                let Some(meta) = kept.block_meta(height).map_err(store)? else { return Ok(None) };
                let commit = match kept.commit(height).map_err(store)? {
                    Some(commit) => Some(commit),
                    None => kept.seen_commit(height).map_err(store)?,
                };
                Ok(commit.map(|commit| SignedHeader { header: meta.header, commit }))
            }
        }
    }
}

/// The store, locked, so that no node starts meanwhile.
fn open_store(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    let backend = match config.storage.backend {
        config::Backend::RocksDb => storage::Backend::RocksDb,
        config::Backend::Redb => storage::Backend::Redb,
        config::Backend::Memory => storage::Backend::Memory,
    };
    storage::open(backend, &config.storage.dir, Indexing::Off)
}

fn proven_by_store(kept: &dyn Store, from: Height, to: Height, found: &mut Vec<Found>) -> Result<(), CliError> {
    let mut marks = kept.evidence().map_err(store)?.committed;
    marks.retain(|(_, proven_at)| (from..=to).contains(proven_at));
    marks.sort_by_key(|(key, proven_at)| (std::cmp::Reverse(*proven_at), *key));
    for (key, proven_at) in marks {
        let block = kept.block(proven_at).map_err(store)?;
        let evidence = block.and_then(|block| block.evidence.into_iter().find(|piece| piece.key() == key));
        found.push(Found { key, standing: Standing::Proven(proven_at), evidence });
    }
    Ok(())
}

/// Walks headers downward; only blocks whose header says that they prove something are fetched.
fn proven_by_node(address: &Address, from: Height, to: Height, found: &mut Vec<Found>) -> Result<(), CliError> {
    let mut told = Instant::now();
    let mut highest = to.get();
    let none = Hash::EMPTY.to_string();
    while highest >= from.get().max(1) {
        let lowest = (highest + 1).saturating_sub(HEADERS_AT_ONCE).max(from.get());
        let query = format!("blockchain?minHeight={lowest}&maxHeight={highest}");
        let answer = ask(address, &query).map_err(|error| asked(address, &error))?;
        let metas = answer.get("block_metas").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for meta in metas {
            if text(meta, "/header/evidence_hash") == none {
                continue;
            }
            let height: u64 = text(meta, "/header/height").parse().map_err(|_| unreadable("a header's height"))?;
            let block = ask(address, &format!("block?height={height}")).map_err(|error| asked(address, &error))?;
            let standing = Standing::Proven(Height::new(height));
            found.extend(pieces(&block, "/block/evidence/evidence")?.into_iter().map(|it| Found::new(it, standing)));
        }
        if told.elapsed() >= PROGRESS_EVERY {
            told = Instant::now();
            Output::note(&format!("looked into blocks {to} to {lowest}, down to {from}; {} found", found.len()));
        }
        highest = lowest.saturating_sub(1);
    }
    Ok(())
}

fn about_node(address: &Address) -> Result<About, CliError> {
    let status = ask(address, "status").map_err(|error| asked(address, &error))?;
    let params = ask(address, "consensus_params").map_err(|error| asked(address, &error))?;
    let number = |value: &Value, path: &str| {
        text(value, path).parse::<u64>().map_err(|_| unreadable(&format!("{path} is {}", text(value, path))))
    };
    let chain_id = text(&status, "/node_info/network");
    let time = text(&status, "/sync_info/latest_block_time");
    let limits = EvidenceParams {
        max_age_num_blocks: number(&params, "/consensus_params/evidence/max_age_num_blocks")?,
        max_age_duration: Duration::from_nanos(number(&params, "/consensus_params/evidence/max_age_duration")?),
        max_bytes: number(&params, "/consensus_params/evidence/max_bytes")?,
    };
    let height = |path: &str| {
        let number = i64::try_from(number(&status, path)?).unwrap_or(i64::MAX);
        Height::try_from(number).map_err(|why| unreadable(&why.to_string()))
    };
    Ok(About {
        chain_id: ChainId::try_from(chain_id.as_str()).map_err(|why| unreadable(&why.to_string()))?,
        base: height("/sync_info/earliest_block_height")?,
        tip: height("/sync_info/latest_block_height")?,
        tip_time: time.parse().map_err(|_| unreadable(&format!("the time {time}")))?,
        limits,
    })
}

/// Asks for something that may not be there: none when the node says so.
fn ask_about(address: &Address, query: &str) -> Result<Option<Value>, CliError> {
    match ask(address, query) {
        Ok(answer) => Ok(Some(answer)),
        Err(AskError::Refused(_)) => Ok(None),
        Err(error) => Err(asked(address, &error)),
    }
}

fn pieces(answer: &Value, path: &str) -> Result<Vec<Evidence>, CliError> {
    list_at(answer, path, read::evidence)
}

fn read_at<T>(answer: &Value, path: &str, read: impl Fn(&Place<'_>) -> Result<T, ReadError>) -> Result<T, CliError> {
    let json = answer.pointer(path).unwrap_or(&Value::Null).to_string();
    let place = Place::document(path, json.as_bytes()).map_err(|error| unreadable(&error.to_string()))?;
    read(&place).map_err(|error| unreadable(&error.to_string()))
}

fn list_at<T>(
    answer: &Value,
    path: &str,
    read: impl Fn(&Place<'_>) -> Result<T, ReadError>,
) -> Result<Vec<T>, CliError> {
    read_at(answer, path, |place| place.list(PIECES_MAX)?.iter().map(&read).collect())
}

fn asked(address: &Address, error: &AskError) -> CliError {
    CliError::failed(format!("cannot ask {address}: {error}"), format!("quorate status --node {address}"))
}

fn unreadable(what: &str) -> CliError {
    CliError::failed(
        format!("the node's answer cannot be read: {what}"),
        "see whether --node is a node of this chain: quorate status --node ADDRESS",
    )
}

fn store(error: StoreError) -> CliError {
    CliError { exit: Exit::Failed, text: error.to_string() }
}
