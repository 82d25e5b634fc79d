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
/// Other signers begin afresh: a machine that begins anew, at the same height too, has no votes. But it may have some from
/// its journal, so what it does not count it says ([`Seen::hear_again`]).
#[derive(Debug, Default)]
pub struct Seen(Mutex<Votes>);

#[derive(Debug, Default)]
struct Votes {
    of: Option<Arc<Signers>>,
    /// What a validator said; none when he said different things.
    votes: BTreeMap<Place, Option<Hash>>,
}

/// What an honest validator votes once in.
pub type Place = (Height, Round, VoteKind, u32);

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
            // An equivocator stays one. What became of his vote may be known before the vote is remembered here.
            let counts = |height: Height| height == signers.height || signers.height.previous() == Some(height);
            seen.votes.retain(|(height, ..), said| said.is_none() && counts(*height));
            seen.of = Some(Arc::clone(signers));
        }
        let has_room = seen.votes.len() < VOTES_MAX || mutant!("K98");
        match seen.votes.get_mut(&name.place) {
            Some(said) if *said != Some(name.said) && !mutant!("K99") => *said = None,
            Some(_) => {}
            None if has_room => drop(seen.votes.insert(name.place, Some(name.said))),
            None => {}
        }
    }

    /// To be called when consensus did not count a vote and may count it later. Its place is not remembered any more, so
    /// that the vote comes through when it is told again: also where its equivocator's first vote was in the journal, or
    /// came in another round, and was never seen here.
    pub fn hear_again(&self, place: Place) {
        let mut seen = self.lock();
        let has_room = seen.votes.len() < VOTES_MAX;
        match seen.votes.get_mut(&place) {
            _ if mutant!("K101") => {}
            Some(said) => *said = None,
            // The vote at hand is remembered only now, it may be: `insert` leaves such a place alone.
            None if has_room => drop(seen.votes.insert(place, None)),
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

    const HEIGHT: Height = Height::new(8);
    const PLACE: Place = (HEIGHT, Round::ZERO, VoteKind::Precommit, 0);

    fn signers(round: u32) -> Arc<Signers> {
        let validators = Arc::new(Keys::new(1, &[10]).set);
        let (chain_id, round) = (chain_id(), Round::new(round));
        Arc::new(Signers { chain_id, height: HEIGHT, round, validators, last_validators: None, proposers: Vec::new() })
    }

    fn vote(said: u8) -> VoteName {
        VoteName { place: PLACE, said: Hash::new([said; 32]) }
    }

    /// The other vote came in an earlier round, or was in the journal: of those nothing is remembered here. Consensus
    /// learns what it did with the vote before, or after, it is noted that it was handed on.
    #[test]
    fn a_vote_that_was_not_counted_comes_through_whenever_it_is_told_in_later_rounds_too() {
        for judged_first in [true, false] {
            let (seen, before, now) = (Seen::default(), signers(0), signers(1));
            seen.insert(&before, vote(1));
            assert!(seen.contains(&before, &vote(1)) && !seen.contains(&now, &vote(2)));
            if judged_first {
                seen.hear_again(PLACE);
                seen.insert(&now, vote(2));
            } else {
                seen.insert(&now, vote(2));
                assert!(seen.contains(&now, &vote(2)));
                seen.hear_again(PLACE);
            }
            for signers in [now, signers(2), signers(3)] {
                assert!(!seen.contains(&signers, &vote(2)), "judged first: {judged_first}");
                seen.insert(&signers, vote(2));
            }
        }
    }

    #[test]
    fn votes_are_remembered_up_to_a_limit() {
        let (seen, signers) = (Seen::default(), signers(0));
        for index in 0..2 * VOTES_MAX as u32 {
            seen.insert(
                &signers,
                VoteName { place: (HEIGHT, Round::ZERO, VoteKind::Prevote, index), said: Hash::EMPTY },
            );
        }
        assert_eq!(seen.lock().votes.len(), VOTES_MAX);
    }
}
