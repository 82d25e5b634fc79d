//! What this home's own data show a key to have signed: the blocks carry its precommits, the journal what it said since.
//!
//! The state file must never be older than that. A file from a backup, from a copied home, or reset on a chain that goes
//! on lets the guard grant what was granted before, with other content: a double sign. So the node compares before it
//! signs (`executor::sign_state`), and does not sign behind what is shown here.
//!
//! What is shown is a lower bound: the data may be as old as the file, and then only the network knows better. That is
//! what listening for one's own key is for (`replica::listen`).
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

use crate::ports::{Store, StoreError};
use crate::types::{Address, Commit, Height, JournalMessage, JournalRecord, SignPosition, SignStep, Source};
use std::fmt;

/// How many of the newest blocks are searched for a signature of the key, in heights. What it signed longer ago cannot
/// be contradicted: consensus signs only above the newest block, and a key that is silent for this long runs nowhere.
pub const HEIGHTS_SEARCHED_MAX: u64 = 10_000;

/// Something the key signed, and where that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Where the signature stands.
    pub at: SignPosition,
    /// Who shows it.
    pub by: ShownBy,
}

/// Where a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShownBy {
    /// In the stored commit for a block.
    Block,
    /// In the journal.
    Journal,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            ShownBy::Block => write!(f, "the stored commit for block {} has {} by this key", self.at.height, self.at),
            ShownBy::Journal => write!(f, "the journal (cs.wal) has {} by this key", self.at),
        }
    }
}

/// The newest thing `own` is shown to have signed after `last`; none when the state is up to date. `records` are the
/// journal's of the height above the newest block.
pub fn newest_shown(
    store: &dyn Store,
    records: &[JournalRecord],
    own: &Address,
    last: SignPosition,
) -> Result<Option<Shown>, StoreError> {
    let in_journal = by_journal(records, own).map(|at| Shown { at, by: ShownBy::Journal });
    let in_blocks = by_blocks(store, own, last.height)?.map(|at| Shown { at, by: ShownBy::Block });
    let newest = in_journal.into_iter().chain(in_blocks.filter(|_| !mutant!("K23"))).max_by_key(|shown| shown.at);
    Ok(newest.filter(|shown| shown.at > last || (mutant!("K22") && shown.at == last)))
}

/// The newest precommit in the stored commits, from the tip down to `lowest`.
fn by_blocks(store: &dyn Store, own: &Address, lowest: Height) -> Result<Option<SignPosition>, StoreError> {
    let tip = store.tip();
    let floor = lowest.max(store.base()).max(Height::FIRST).get();
    let floor = floor.max(tip.get().saturating_sub(HEIGHTS_SEARCHED_MAX - 1));
    for height in (floor..=tip.get()).rev().map(Height::new) {
        // A late precommit may be in the one and not in the other.
        for commit in
            [store.seen_commit(height)?, store.commit(height)?.filter(|_| !mutant!("K96"))].into_iter().flatten()
        {
            if let Some(at) = by_commit(&commit, own) {
                return Ok(Some(at));
            }
        }
    }
    Ok(None)
}

/// The precommit of `own` in a commit, for the block or for nil.
fn by_commit(commit: &Commit, own: &Address) -> Option<SignPosition> {
    let signed = commit.signatures.iter().filter_map(|sig| sig.signed()).any(|part| part.validator_address == *own);
    signed.then_some(SignPosition { height: commit.height, round: commit.round, step: SignStep::Precommit })
}

/// The newest vote or proposal of `own` in journal records. A vote names its signer, whoever brought it; a proposal does
/// not, so only our own count.
fn by_journal(records: &[JournalRecord], own: &Address) -> Option<SignPosition> {
    let ours = |record: &JournalRecord| match record {
        JournalRecord::Message { message: JournalMessage::Vote(vote), .. } if vote.validator_address == *own => {
            Some(SignPosition::of_vote(vote))
        }
        JournalRecord::Message { source: Source::Own, message: JournalMessage::Proposal(proposal) }
            if !mutant!("K97") =>
        {
            Some(SignPosition::of_proposal(proposal))
        }
        _ => None,
    };
    records.iter().filter_map(ours).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::tests::{Signers, block_id};
    use crate::types::{CommitSig, Proposal, Round, Vote, VoteKind};

    /// Both validators' precommits for block 5, and journal entries of height 6.
    fn signers() -> (Signers, Address, Commit) {
        let signers = Signers::new(1, &[10, 10]);
        let own = signers.set.members()[0].address;
        let commit = signers.commit(Height::new(5), block_id("five"), 10);
        (signers, own, commit)
    }

    fn vote(source: Source, vote: Vote) -> JournalRecord {
        JournalRecord::Message { source, message: JournalMessage::Vote(vote) }
    }

    fn proposal(source: Source, round: u32) -> JournalRecord {
        let proposal = Proposal {
            height: Height::new(6),
            round: Round::new(round),
            pol_round: None,
            block_id: block_id("six"),
            timestamp: crate::types::tests::time(10),
            signature: crate::crypto::Signature::new([1; 64]),
        };
        JournalRecord::Message { source, message: JournalMessage::Proposal(proposal) }
    }

    #[test]
    fn a_commit_shows_a_precommit_for_the_block_or_for_nil_and_an_absence_shows_nothing() {
        let (_, own, commit) = signers();
        let at = SignPosition { height: Height::new(5), round: commit.round, step: SignStep::Precommit };
        assert_eq!(by_commit(&commit, &own), Some(at));
        let CommitSig::Commit(part) = commit.signatures[0].clone() else { panic!("it committed") };
        let with = |sig| Commit { signatures: vec![sig, commit.signatures[1].clone()], ..commit.clone() };
        assert_eq!(by_commit(&with(CommitSig::Nil(part)), &own), Some(at));
        assert_eq!(by_commit(&with(CommitSig::Absent), &own), None);
    }

    #[test]
    fn the_journal_shows_our_votes_whoever_brought_them_and_our_own_proposals() {
        let (signers, own, _) = signers();
        let by = |index, kind, round| signers.vote(index, kind, 6, round, None);
        let at = |round, step| Some(SignPosition { height: Height::new(6), round: Round::new(round), step });
        let peer = Source::Peer(crate::types::NodeId::new(Address::new([9; 20])));
        let theirs = [vote(peer, by(1, VoteKind::Precommit, 3)), proposal(peer, 4)];
        assert_eq!(by_journal(&theirs, &own), None);
        let ours = [proposal(Source::Own, 2), vote(peer, by(0, VoteKind::Prevote, 1))];
        assert_eq!(by_journal(&ours, &own), at(2, SignStep::Propose));
        assert_eq!(by_journal(&ours[1..], &own), at(1, SignStep::Prevote));
    }
}
