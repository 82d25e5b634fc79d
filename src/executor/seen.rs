//! Votes heard before, so that each signature is verified once though every peer brings the vote.

use crate::crypto::{Hash, sha256};
use crate::gossip::Signers;
use crate::types::{Height, Round, Vote, VoteKind};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Votes remembered: those of a height with as many validators as CometBFT allows would be more, and verified again.
const VOTES_MAX: usize = 4096;

/// Votes that were verified and handed on while these signers counted: of their height, up to the next round, and
/// precommits of the height before. What consensus may have refused is not among them: votes that came too early, and
/// those of an equivocator. It counts the first of his two, and the other only once more than a third want the same; so
/// both must come through each time they are told, or we might wait for ever for the quorum that the others decided on.
/// Other signers begin afresh: a machine that begins anew, at the same height too, has no votes.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Votes>);

#[derive(Debug, Default)]
struct Votes {
    of: Option<Arc<Signers>>,
    /// What a validator said; none when he said different things.
    votes: BTreeMap<Place, Option<Hash>>,
}

/// What an honest validator votes once in.
type Place = (Height, Round, VoteKind, u32);

/// What is the same for the same vote, whatever bytes a peer wraps it in, and of one size: a peer can make a vote look
/// new, and larger, with fields that nobody reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct VoteName {
    place: Place,
    said: Hash,
}

impl Seen {
    /// The name of a vote that is worth remembering.
    pub(super) fn name(signers: &Signers, vote: &Vote) -> Option<VoteName> {
        let now = vote.height == signers.height && vote.round <= signers.round.next();
        let late = vote.kind == VoteKind::Precommit && signers.height.previous() == Some(vote.height);
        let place = (vote.height, vote.round, vote.kind, vote.validator_index);
        (now || late).then(|| VoteName { place, said: sha256(&vote.encode()) })
    }

    pub(super) fn contains(&self, signers: &Arc<Signers>, name: &VoteName) -> bool {
        let seen = self.lock();
        seen.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, signers))
            && seen.votes.get(&name.place) == Some(&Some(name.said))
    }

    /// To be called when the vote was handed on: one that was not, because its peer went away, is needed still.
    pub(super) fn insert(&self, signers: &Arc<Signers>, name: VoteName) {
        let mut seen = self.lock();
        if seen.of.as_ref().is_none_or(|of| !Arc::ptr_eq(of, signers)) {
            *seen = Votes { of: Some(Arc::clone(signers)), votes: BTreeMap::new() };
        }
        let has_room = seen.votes.len() < VOTES_MAX || mutant!("K98");
        match seen.votes.get_mut(&name.place) {
            Some(said) if *said != Some(name.said) && !mutant!("K99") => *said = None,
            Some(_) => {}
            None if has_room => drop(seen.votes.insert(name.place, Some(name.said))),
            None => {}
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Votes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::tests::{Signers as Keys, chain_id};

    #[test]
    fn votes_are_remembered_up_to_a_limit() {
        let (height, round) = (Height::new(8), Round::ZERO);
        let validators = Arc::new(Keys::new(1, &[10]).set);
        let (last_validators, proposers) = (None, Vec::new());
        let signers = Signers { chain_id: chain_id(), height, round, validators, last_validators, proposers };
        let (seen, signers) = (Seen::default(), Arc::new(signers));
        for index in 0..2 * VOTES_MAX as u32 {
            seen.insert(&signers, VoteName { place: (height, round, VoteKind::Prevote, index), said: Hash::EMPTY });
        }
        assert_eq!(seen.lock().votes.len(), VOTES_MAX);
    }
}
