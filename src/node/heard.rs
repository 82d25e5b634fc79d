//! When each validator was heard last, for `quorate why`: what its signature proves, whoever brought it.

use crate::types::{Address, NodeId, ValidatorSet};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The last time of each validator, and which peer brought its word. Never larger than the largest set it was told with.
#[derive(Debug, Default)]
pub(super) struct LastHeard(Mutex<BTreeMap<Address, (Instant, NodeId)>>);

impl LastHeard {
    /// `peer` brought something signed by `who`, and it was verified. Only members of the current set are remembered.
    pub(super) fn note(&self, set: &ValidatorSet, who: &Address, peer: NodeId, now: Instant) {
        if set.by_address(who).is_none() {
            return;
        }
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.insert(*who, (now, peer));
        if times.len() > set.len() {
            times.retain(|address, _| set.by_address(address).is_some());
        }
    }

    /// Since a validator was heard, and from which peer; none when it never was.
    pub(super) fn since(&self, who: &Address, now: Instant) -> Option<(Duration, NodeId)> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.get(who).map(|(time, peer)| (now.saturating_duration_since(*time), *peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::PublicKey;
    use crate::types::{Power, Validator};

    fn set(keys: std::ops::Range<u8>) -> ValidatorSet {
        let members = keys.map(|key| Validator::new(PublicKey::new([key; PublicKey::LEN]), Power::new(1)));
        ValidatorSet::new(members).expect("a set")
    }

    #[test]
    fn only_members_of_the_current_set_are_remembered_and_the_table_never_outgrows_it() {
        let (before, after) = (set(0..4), set(3..5));
        let (heard, begun) = (LastHeard::default(), Instant::now());
        let later = begun + Duration::from_secs(3);
        let stranger = set(9..10).members()[0].address;
        let peer = NodeId::new(stranger);
        heard.note(&before, &stranger, peer, begun);
        assert_eq!(heard.since(&stranger, begun), None);
        before.members().iter().for_each(|member| heard.note(&before, &member.address, peer, begun));
        assert_eq!(heard.since(&before.members()[0].address, later), Some((Duration::from_secs(3), peer)));
        after.members().iter().for_each(|member| heard.note(&after, &member.address, peer, later));
        assert_eq!(heard.0.lock().expect("not poisoned").len(), after.len());
        assert_eq!(heard.since(&after.members()[0].address, later), Some((Duration::ZERO, peer)));
    }
}
