//! The sign state of a node: whom its key could be heard from, and what a stopped home shows about it.

use super::NodeError;
use crate::config::Config;
use crate::executor::{Hearing, Shown, newest_shown};
use crate::p2p::NetworkOptions;
use crate::replica::KeyNews;
use crate::storage::{self, Indexing};
use crate::types::{Address, ChainState, Height, Power, SignPosition};
use std::path::Path;

/// Whether a validator of this network could hear its own key used elsewhere.
pub(super) fn hearing(network: Option<&NetworkOptions>, state: &ChainState, own: Option<&Address>) -> Hearing {
    let Some(network) = network else { return Hearing::Nobody };
    let settings = &network.settings;
    let alone = state.validators.members().iter().all(|member| Some(&member.address) == own);
    match alone && settings.persistent_peers.is_empty() && settings.seeds.is_empty() {
        true => Hearing::Nobody,
        false => Hearing::Others,
    }
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
