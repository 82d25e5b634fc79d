//! The sign state of a node: whom its key could be heard from, and what a stopped home shows about it.

use super::NodeError;
use crate::config::Config;
use crate::executor::{Hearing, Shown, newest_shown};
use crate::p2p::NetworkOptions;
use crate::replica::KeyNews;
use crate::storage::{self, Indexing};
use crate::types::{Address, ChainState, Height, Power, Quorum, SignPosition};
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
    /// The height that is to be decided next: the first of the chain when there is no block.
    pub next: Height,
    /// The newest thing the key is shown to have signed.
    pub signed: Option<Shown>,
    /// What the key's vote weighs at `next`.
    pub weight: Option<Weight>,
}

/// What a vote weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    /// The key's power.
    pub own: Power,
    /// That of the whole set.
    pub total: Power,
    /// How much of it decides a height.
    pub quorum: Quorum,
}

impl Weight {
    /// Whether the other validators can decide a height without this key.
    pub fn others_decide(&self) -> bool {
        let others = Power::new(self.total.get().saturating_sub(self.own.get()));
        self.quorum.is_reached(others, self.total)
    }
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
    let state = store.state()?;
    let next = state.as_ref().map_or(tip.next(), |state| state.next_height().max(tip.next()));
    let set = store.validators(next)?;
    let weight = match (set, state) {
        (Some(set), Some(state)) => set.by_address(own).map(|(_, member)| Weight {
            own: member.power,
            total: set.total_power(),
            quorum: state.algorithm.quorum(),
        }),
        _ => None,
    };
    Ok(HomeShows { tip, next, signed, weight })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Algorithm;

    #[test]
    fn a_third_of_the_power_stops_liars_protocols_and_half_stops_raft() {
        for (algorithm, own, total, decide) in [
            (Algorithm::Tendermint, 10, 30, false),
            (Algorithm::Tendermint, 10, 31, true),
            (Algorithm::Pbft, 10, 30, false),
            (Algorithm::Raft, 10, 30, true),
            (Algorithm::Raft, 10, 20, false),
        ] {
            let weight = Weight { own: Power::new(own), total: Power::new(total), quorum: algorithm.quorum() };
            assert_eq!(weight.others_decide(), decide, "{algorithm}: {own} of {total}");
        }
    }
}
