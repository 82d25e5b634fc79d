//! Votes heard before, so that each signature is verified once though every peer brings the vote.

use crate::gossip::Signers;
use crate::types::{Height, Round, Vote};
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Votes remembered: those of a height with as many validators as CometBFT allows would be more, and verified again.
const VOTES_MAX: usize = 4096;

/// Encoded votes of the current height, up to the next round, that were verified and handed on. What consensus may
/// have refused for being too early is not among them; a new round or height begins afresh.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Votes>);

#[derive(Debug, Default)]
struct Votes {
    at: (Height, Round),
    votes: HashSet<Bytes>,
}

impl Seen {
    pub(super) fn contains(&self, vote: &Bytes) -> bool {
        self.lock().votes.contains(vote)
    }

    pub(super) fn insert(&self, signers: &Signers, vote: &Vote, bytes: Bytes) {
        if vote.height != signers.height || vote.round > signers.round.next() {
            return;
        }
        let mut seen = self.lock();
        let at = (signers.height, signers.round);
        if seen.at != at {
            *seen = Votes { at, votes: HashSet::new() };
        }
        if seen.votes.len() < VOTES_MAX {
            seen.votes.insert(bytes);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Votes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
