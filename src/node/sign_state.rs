//! Before signing: is the sign state as new as what this home shows to have been signed?

use super::NodeError;
use crate::config::Config;
use crate::p2p::NetworkOptions;
use crate::ports::{Signer, Store};
use crate::privval::{Shown, newest_shown};
use crate::replica::{KeyCheck, KeyNews};
use crate::storage::{self, Indexing};
use crate::types::{Address, ChainState, Height, Power, SignPosition};
use crate::wal::Recovered;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The sign state is older than what the key signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "refused to sign: {} says that the last signature of this key is {last}, but {shown}: the file is too old, and going \
     on could sign twice\n  next: put back the newest {}. If it is lost, stop every other node with this key, then: \
     quorate advance-sign-state",
    file.display(), file.file_name().unwrap_or(file.as_os_str()).display()
)]
pub struct StaleSignState {
    /// The state file.
    pub file: PathBuf,
    /// The last signature it knows.
    pub last: SignPosition,
    /// What shows that there was a later one.
    pub shown: Shown,
}

/// Refuses a signer whose state is older than what blocks and journal show its key to have signed. Asked at the start,
/// and again whenever consensus takes up the chain: blocks fetched meanwhile may show more.
pub(super) fn refuse_stale(
    signer: Option<&dyn Signer>,
    store: &dyn Store,
    journal: &Recovered,
) -> Result<(), NodeError> {
    let Some(signer) = signer else { return Ok(()) };
    let Some(memory) = signer.memory() else { return Ok(()) };
    let records = journal.records_since(store.tip().next())?;
    let own = Address::from(&signer.public_key());
    match newest_shown(store, &records, &own, memory.last)? {
        None => Ok(()),
        Some(shown) => Err(StaleSignState { file: memory.file, last: memory.last, shown }.into()),
    }
}

/// Whether a validator that rejoins listens for its own key before it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoppelgangerCheck {
    /// It does.
    OnRejoin,
    /// It signs at once.
    Skipped,
}

/// Whether anybody could be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hearing {
    /// Other validators, or peers an operator named.
    Others,
    /// A validator that decides alone and knows of no peer.
    Nobody,
}

impl Hearing {
    pub(super) fn of(network: Option<&NetworkOptions>, state: &ChainState, own: Option<&Address>) -> Hearing {
        let Some(network) = network else { return Hearing::Nobody };
        let settings = &network.settings;
        let alone = state.validators.members().iter().all(|member| Some(&member.address) == own);
        match alone && settings.persistent_peers.is_empty() && settings.seeds.is_empty() {
            true => Hearing::Nobody,
            false => Hearing::Others,
        }
    }
}

/// How a validator looks for its own key elsewhere. One that signed before, or whose home has blocks, rejoins: another
/// node may have its key meanwhile. What that costs is said, and what to do who cannot wait.
pub(super) fn key_check(
    signer: Option<&dyn Signer>,
    store: &dyn Store,
    longest: Duration,
    check: DoppelgangerCheck,
    hearing: Hearing,
) -> KeyCheck {
    let memory = signer.and_then(Signer::memory);
    let (Some(memory), DoppelgangerCheck::OnRejoin) = (memory, check) else { return KeyCheck::Skipped };
    let rejoins = store.tip() > Height::ZERO || memory.last > SignPosition::START;
    if !rejoins || hearing == Hearing::Nobody {
        return KeyCheck::WhileSigning(memory.last);
    }
    tracing::info!(
        "this validator rejoins: it listens for its own key up to {longest:?} before it signs. With \
         --skip-doppelganger-check it signs at once"
    );
    KeyCheck::BeforeSigning(memory.last)
}

/// What listening for the own key found.
pub(super) fn act_on(news: KeyNews) -> Result<(), NodeError> {
    match news {
        KeyNews::Clear => {
            tracing::info!("nobody else signs with this validator's key: signing begins");
            Ok(())
        }
        KeyNews::Elsewhere(elsewhere) => Err(NodeError::KeyElsewhere(elsewhere)),
    }
}

/// What a stopped home shows about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeShows {
    /// The newest stored block; 0 when there is none.
    pub tip: Height,
    /// The newest thing the key is shown to have signed.
    pub signed: Option<Shown>,
    /// The key's power at the height after `tip`, and that of the whole set.
    pub power: Option<(Power, Power)>,
}

/// Reads what blocks and journal of a stopped home show `own` to have signed.
pub fn home_shows(config: &Config, own: &Address) -> Result<HomeShows, NodeError> {
    let backend = super::assemble::backend(config.storage.backend);
    let store = storage::open(backend, &config.storage.dir, Indexing::Off)?;
    let wal_dir = config.files.wal.parent().unwrap_or(Path::new("."));
    let (_, journal) = super::open_journal(wal_dir)?;
    let tip = store.tip();
    let records = journal.records_since(tip.next())?;
    let signed = newest_shown(&*store, &records, own, SignPosition::START)?;
    let set = store.validators(tip.next())?;
    let power = set.and_then(|set| Some((set.by_address(own)?.1.power, set.total_power())));
    Ok(HomeShows { tip, signed, power })
}
