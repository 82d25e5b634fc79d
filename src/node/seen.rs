//! Votes heard before, so that each signature is verified once though every peer brings the vote.

use crate::crypto::{Hash, sha256};
use crate::gossip::Signers;
use crate::types::{Vote, VoteKind};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Votes remembered: those of a height with as many validators as CometBFT allows would be more, and verified again.
const VOTES_MAX: usize = 4096;

/// Votes that were verified and handed on while these signers counted: of their height, up to the next round, and
/// precommits of the height before. What consensus may have refused for being too early is not among them. Other
/// signers begin afresh: a machine that begins anew, at the same height too, has no votes.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Votes>);

#[derive(Debug, Default)]
struct Votes {
    of: Option<Arc<Signers>>,
    votes: HashSet<VoteName>,
}

/// What is the same for the same vote, whatever bytes a peer wraps it in, and of one size: a peer can make a vote look
/// new, and larger, with fields that nobody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct VoteName(Hash);

impl Seen {
    /// The name of a vote that is worth remembering.
    pub(super) fn name(signers: &Signers, vote: &Vote) -> Option<VoteName> {
        let now = vote.height == signers.height && vote.round <= signers.round.next();
        let late = vote.kind == VoteKind::Precommit && signers.height.previous() == Some(vote.height);
        (now || late).then(|| VoteName(sha256(&vote.encode())))
    }

    pub(super) fn contains(&self, signers: &Arc<Signers>, name: &VoteName) -> bool {
        let seen = self.lock();
        seen.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, signers)) && seen.votes.contains(name)
    }

    /// To be called when the vote was handed on: one that was not, because its peer went away, is needed still.
    pub(super) fn insert(&self, signers: &Arc<Signers>, name: VoteName) {
        let mut seen = self.lock();
        if seen.of.as_ref().is_none_or(|of| !Arc::ptr_eq(of, signers)) {
            *seen = Votes { of: Some(Arc::clone(signers)), votes: HashSet::new() };
        }
        if seen.votes.len() < VOTES_MAX {
            seen.votes.insert(name);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Votes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
