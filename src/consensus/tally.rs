//! The votes of one height, counted: per round, per kind, per block.
//!
//! Nothing here grows with what peers say: a validator has one vote per round and kind, rounds up to one past ours are
//! kept, and beyond them a few rounds that peers may open (reference §6.3, HeightVoteSet).

use super::{Accusation, quorum};
use crate::types::{
    BitArray, BlockId, CommitSig, ExtendedCommit, ExtendedCommitSig, Height, NodeId, Power, Quorum, Round, SignedPart,
    Source, ValidatorSet, Vote, VoteKind, place,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rounds beyond the next one that one peer may open at a time: enough to follow a network that went on without us.
pub const CATCH_UP_ROUNDS_PER_PEER: usize = 2;
/// Rounds beyond the next one that all peers together may open; then the one with the least power behind it goes.
pub const CATCH_UP_ROUNDS_MAX: usize = 64;
/// A round further ahead than this is not believed, whoever signs it: advancing the rotation costs time per round.
pub const ROUNDS_AHEAD_MAX: u32 = 10_000;

/// What became of a vote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Counted {
    /// It counts.
    Added,
    /// It was legal but changed nothing.
    Ignored(&'static str),
    /// No honest peer relays this.
    PeerFault(&'static str),
    /// The same validator voted for something else before. The first vote stays, this one is dropped.
    Conflict(Box<Accusation>),
    /// The same validator voted for something else before, but so many want this block that both votes count.
    AddedBeside(Box<Accusation>),
}

/// The votes of one round and kind.
#[derive(Debug, Clone)]
pub struct VoteSet {
    height: Height,
    round: Round,
    kind: VoteKind,
    quorum: Quorum,
    validators: Arc<ValidatorSet>,
    /// In set order.
    votes: Vec<Option<Vote>>,
    /// Which of `votes` are there, for gossip: it compares them with what every peer has at every step.
    have: BitArray,
    /// Second votes of equivocators, for blocks more than a third voted for. There are at most two such blocks, so at
    /// most two entries for each validator.
    beside: BTreeMap<(u32, Option<BlockId>), Vote>,
    /// At most one entry for each validator.
    sums: BTreeMap<Option<BlockId>, Power>,
    /// Power of all who voted, each counted once.
    total: Power,
    majority: Option<Option<BlockId>>,
}

impl VoteSet {
    /// No votes yet; more than two thirds decide.
    pub fn new(height: Height, round: Round, kind: VoteKind, validators: Arc<ValidatorSet>) -> VoteSet {
        VoteSet::of_quorum(Quorum::MoreThanTwoThirds, height, round, kind, validators)
    }

    /// No votes yet; `quorum` says what decides.
    pub fn of_quorum(
        quorum: Quorum,
        height: Height,
        round: Round,
        kind: VoteKind,
        validators: Arc<ValidatorSet>,
    ) -> VoteSet {
        let (votes, have) = (vec![None; validators.len()], BitArray::new(validators.len()));
        let (beside, sums) = (BTreeMap::new(), BTreeMap::new());
        let (total, majority) = (Power::ZERO, None);
        VoteSet { height, round, kind, quorum, validators, votes, have, beside, sums, total, majority }
    }

    /// The precommits a commit was made of. Entries that do not fit the set are left out.
    pub fn from_commit(commit: &ExtendedCommit, validators: Arc<ValidatorSet>) -> VoteSet {
        VoteSet::of_commit(Quorum::MoreThanTwoThirds, commit, validators)
    }

    /// The precommits a commit was made of, where `quorum` decided.
    pub fn of_commit(quorum: Quorum, commit: &ExtendedCommit, validators: Arc<ValidatorSet>) -> VoteSet {
        let mut set = VoteSet::of_quorum(quorum, commit.height, commit.round, VoteKind::Precommit, validators);
        for (index, entry) in commit.signatures.iter().enumerate() {
            let (block_id, part) = match &entry.sig {
                CommitSig::Absent => continue,
                CommitSig::Commit(part) => (Some(commit.block_id), part),
                CommitSig::Nil(part) => (None, part),
            };
            set.add(Vote {
                kind: VoteKind::Precommit,
                height: commit.height,
                round: commit.round,
                block_id,
                timestamp: part.timestamp,
                validator_address: part.validator_address,
                validator_index: place(index),
                signature: part.signature,
                extension: entry.extension.clone(),
                extension_signature: entry.extension_signature,
            });
        }
        set
    }

    /// What adding this vote would lead to, without adding it.
    pub fn judge(&self, vote: &Vote) -> Counted {
        if (vote.height, vote.round, vote.kind) != (self.height, self.round, self.kind) {
            return Counted::Ignored("vote of another height, round or kind");
        }
        let Some(validator) = self.validators.by_index(vote.validator_index) else {
            return Counted::PeerFault("vote of a validator that is not in the set");
        };
        if validator.address != vote.validator_address && !mutant!("V2") {
            return Counted::PeerFault("vote whose index and address name different validators");
        }
        match self.by_index(vote.validator_index) {
            None => Counted::Added,
            Some(first) if mutant!("V1") && first.block_id != vote.block_id => Counted::Added,
            Some(first) if first.block_id != vote.block_id => self.judge_conflict(first, vote),
            Some(first) if first.signature == vote.signature && !mutant!("V8") => Counted::Ignored("vote seen before"),
            // Not the relaying peer's fault: a faulty validator may hand each of us another signature, and dropping
            // the relay would let it split honest peers. CometBFT only logs it, too.
            Some(_) => Counted::Ignored("nondeterministic signature"),
        }
    }

    /// The second vote of an equivocator. Dropping it always could stop the chain: those to whom it showed one face
    /// would wait for ever for the quorum that those who saw the other face decided on (the "hidden lock"). It counts
    /// once more than a third, so an honest validator, wants the same. CometBFT waits for a peer to claim a majority.
    fn judge_conflict(&self, first: &Vote, vote: &Vote) -> Counted {
        if self.beside.contains_key(&(vote.validator_index, vote.block_id)) && !mutant!("V9") {
            return Counted::Ignored("conflicting vote seen before");
        }
        let accusation = Box::new(Accusation { first: first.clone(), second: vote.clone() });
        let wanted =
            mutant!("V90") || quorum::more_than_one_third(self.sum_for(vote.block_id.as_ref()), self.total_power());
        if wanted && !mutant!("V3") { Counted::AddedBeside(accusation) } else { Counted::Conflict(accusation) }
    }

    /// Counts a vote.
    pub fn add(&mut self, vote: Vote) -> Counted {
        let judged = self.judge(&vote);
        let (index, block_id) = (vote.validator_index, vote.block_id);
        let power = self.validators.by_index(index).map_or(Power::ZERO, |validator| validator.power);
        match judged {
            Counted::Added => {
                self.total = self.total + power;
                self.votes[index as usize] = Some(vote);
                self.have.set(index as usize);
            }
            Counted::AddedBeside(_) => {
                self.beside.insert((index, block_id), vote);
            }
            Counted::Ignored(_) | Counted::PeerFault(_) | Counted::Conflict(_) => return judged,
        }
        let sum = self.sums.entry(block_id).or_insert(Power::ZERO);
        *sum = *sum + power;
        let few = mutant!("T9")
            && self.kind == VoteKind::Precommit
            && quorum::more_than_one_third(*sum, self.validators.total_power());
        if (self.majority.is_none() || mutant!("V10"))
            && (few || self.quorum.is_reached(*sum, self.validators.total_power()))
        {
            self.majority = Some(block_id);
        }
        if !self.beside.is_empty() {
            self.show_majority();
        }
        judged
    }

    /// Where both votes of an equivocator count, the one for the majority is the one shown and gossiped.
    fn show_majority(&mut self) {
        let Some(majority) = self.majority else { return };
        for index in 0..place(self.votes.len()) {
            let Some(second) = self.beside.remove(&(index, majority)) else { continue };
            if let Some(first) = self.votes[index as usize].replace(second) {
                self.beside.insert((index, first.block_id), first);
            }
        }
    }

    /// What a quorum voted for: a block, or (inner `None`) nil.
    pub fn majority(&self) -> Option<Option<BlockId>> {
        self.majority
    }

    /// True when more than two thirds voted, for whatever.
    pub fn has_two_thirds_any(&self) -> bool {
        let needed = if mutant!("V4") { quorum::more_than_one_third } else { quorum::more_than_two_thirds };
        needed(self.total, self.validators.total_power())
    }

    /// True when every validator voted.
    pub fn has_all(&self) -> bool {
        self.votes.iter().all(Option::is_some)
    }

    /// Power of all who voted.
    pub fn sum(&self) -> Power {
        self.total
    }

    /// Power of those who voted for this.
    pub fn sum_for(&self, block_id: Option<&BlockId>) -> Power {
        self.sums.get(&block_id.copied()).copied().unwrap_or(Power::ZERO)
    }

    /// Power of the whole set.
    pub fn total_power(&self) -> Power {
        self.validators.total_power()
    }

    /// The votes in set order.
    pub fn votes(&self) -> &[Option<Vote>] {
        &self.votes
    }

    /// The vote of the validator at this position.
    pub fn by_index(&self, index: u32) -> Option<&Vote> {
        self.votes.get(index as usize)?.as_ref()
    }

    /// The vote of this validator for this, as far as it counts.
    pub fn vote_for(&self, index: u32, block_id: Option<&BlockId>) -> Option<&Vote> {
        let shown = self.by_index(index).filter(|vote| vote.block_id.as_ref() == block_id);
        shown.or_else(|| self.beside.get(&(index, block_id.copied())))
    }

    /// True when both votes of an equivocator count.
    pub fn has_conflict(&self) -> bool {
        !self.beside.is_empty()
    }

    /// Those whose votes both count, with both votes.
    pub fn conflicts(&self) -> impl Iterator<Item = Accusation> + '_ {
        self.beside.iter().filter_map(|((index, _), second)| {
            let first = self.by_index(*index)?;
            Some(Accusation { first: first.clone(), second: second.clone() })
        })
    }

    /// True when this validator is one whose votes both count.
    pub fn voted_twice(&self, index: u32) -> bool {
        self.beside.range((index, None)..).next().is_some_and(|((of, _), _)| *of == index || mutant!("V93"))
    }

    /// Who voted.
    pub fn bits(&self) -> &BitArray {
        &self.have
    }

    /// Who voted for this, as far as it counts.
    pub fn bits_for(&self, block_id: Option<&BlockId>) -> BitArray {
        let mut bits = self.bits_where(|vote| vote.block_id.as_ref() == block_id);
        self.beside
            .keys()
            .filter(|(_, id)| id.as_ref() == block_id && !mutant!("V92"))
            .for_each(|(index, _)| bits.set(*index as usize));
        bits
    }

    /// Height of these votes.
    pub fn height(&self) -> Height {
        self.height
    }

    /// Round of these votes.
    pub fn round(&self) -> Round {
        self.round
    }

    /// Kind of these votes.
    pub fn kind(&self) -> VoteKind {
        self.kind
    }

    /// The commit these precommits make, once a quorum is for one block. Precommits for other blocks are
    /// left out: a commit that carried one would not verify (CVE-2020-15091).
    pub fn to_commit(&self) -> Option<ExtendedCommit> {
        let Some(Some(block_id)) = self.majority else { return None };
        if self.kind != VoteKind::Precommit && !mutant!("V13") {
            return None;
        }
        let signatures = self.votes.iter().map(|vote| commit_entry(vote.as_ref(), block_id)).collect();
        Some(ExtendedCommit { height: self.height, round: self.round, block_id, signatures })
    }

    fn bits_where(&self, wanted: impl Fn(&Vote) -> bool) -> BitArray {
        let mut bits = BitArray::new(self.votes.len());
        for (index, vote) in self.votes.iter().enumerate() {
            if vote.as_ref().is_some_and(&wanted) {
                bits.set(index);
            }
        }
        bits
    }
}

fn commit_entry(vote: Option<&Vote>, decided: BlockId) -> ExtendedCommitSig {
    let absent =
        ExtendedCommitSig { sig: CommitSig::Absent, extension: bytes::Bytes::new(), extension_signature: None };
    let Some(vote) = vote else { return absent };
    let part =
        SignedPart { validator_address: vote.validator_address, timestamp: vote.timestamp, signature: vote.signature };
    match vote.block_id {
        Some(id) if id == decided || mutant!("V5") => ExtendedCommitSig {
            sig: CommitSig::Commit(part),
            extension: vote.extension.clone(),
            extension_signature: vote.extension_signature,
        },
        Some(_) => absent,
        None if mutant!("V15") => absent,
        None => ExtendedCommitSig { sig: CommitSig::Nil(part), ..absent },
    }
}

/// Both votes of one round.
#[derive(Debug, Clone)]
struct RoundTally {
    prevotes: VoteSet,
    precommits: VoteSet,
    /// Power of all who voted at all in this round.
    voters: Power,
}

/// The votes of one height.
#[derive(Debug, Clone)]
pub struct Tally {
    height: Height,
    validators: Arc<ValidatorSet>,
    current: Round,
    rounds: BTreeMap<Round, RoundTally>,
    /// Which peer opened which round beyond the next one; at most [`CATCH_UP_ROUNDS_MAX`].
    opened: BTreeMap<Round, NodeId>,
}

impl Tally {
    /// No votes yet, in round 0.
    pub fn new(height: Height, validators: Arc<ValidatorSet>) -> Tally {
        Tally { height, validators, current: Round::ZERO, rounds: BTreeMap::new(), opened: BTreeMap::new() }
    }

    /// Moves the window: rounds up to the one after `round` are open to everybody.
    pub fn enter(&mut self, round: Round) {
        self.current = self.current.max(round);
        let beyond = self.current.get().saturating_add(1);
        self.opened.retain(|opened, _| opened.get() > beyond - u32::from(mutant!("V91")) || mutant!("V14"));
    }

    /// What counting this vote would lead to, without counting it or opening a round.
    pub fn judge(&self, vote: &Vote, source: Source) -> Counted {
        if let Err(why) = self.admits(vote.round, source) {
            return Counted::Ignored(why);
        }
        match self.set(vote.round, vote.kind) {
            Some(set) => set.judge(vote),
            None => VoteSet::new(self.height, vote.round, vote.kind, Arc::clone(&self.validators)).judge(vote),
        }
    }

    /// Counts a vote.
    pub fn add(&mut self, vote: Vote, source: Source) -> Counted {
        let judged = self.judge(&vote, source);
        if !matches!(judged, Counted::Added | Counted::AddedBeside(_)) {
            return judged;
        }
        self.open(vote.round, source);
        let round = self.round_mut(vote.round);
        let (index, kind) = (vote.validator_index, vote.kind);
        let (set, other) = match kind {
            VoteKind::Prevote => (&mut round.prevotes, &round.precommits),
            VoteKind::Precommit => (&mut round.precommits, &round.prevotes),
        };
        let power = set.validators.by_index(index).map_or(Power::ZERO, |validator| validator.power);
        if set.by_index(index).is_none() && (other.by_index(index).is_none() || mutant!("V6")) {
            round.voters = round.voters + power;
        }
        set.add(vote)
    }

    /// The votes of a round, if any came.
    pub fn set(&self, round: Round, kind: VoteKind) -> Option<&VoteSet> {
        let round = self.rounds.get(&round)?;
        Some(match kind {
            VoteKind::Prevote => &round.prevotes,
            VoteKind::Precommit => &round.precommits,
        })
    }

    /// Those whose votes both count, in any round, with both votes.
    pub fn conflicts(&self) -> impl Iterator<Item = Accusation> + '_ {
        let sets = self.rounds.values().flat_map(|round| [&round.prevotes, &round.precommits]);
        sets.flat_map(VoteSet::conflicts)
    }

    /// What more than two thirds of a round voted for: a block, or (inner `None`) nil.
    pub fn majority(&self, round: Round, kind: VoteKind) -> Option<Option<BlockId>> {
        self.set(round, kind)?.majority()
    }

    /// True when more than two thirds voted in a round, for whatever.
    pub fn has_two_thirds_any(&self, round: Round, kind: VoteKind) -> bool {
        self.set(round, kind).is_some_and(VoteSet::has_two_thirds_any)
    }

    /// The highest round after ours in which more than a third voted, so that an honest validator is there (line 55).
    pub fn round_to_skip_to(&self) -> Option<Round> {
        let total = self.validators.total_power();
        let mut later = self.rounds.range(self.current.next()..);
        later
            .rfind(|(_, tally)| !mutant!("T13") && quorum::more_than_one_third(tally.voters, total))
            .map(|(round, _)| *round)
    }

    /// The block that more than two thirds precommitted, and the round they did it in.
    pub fn decision(&self) -> Option<(Round, BlockId)> {
        self.majorities(VoteKind::Precommit).next()
    }

    /// The latest round up to ours in which more than two thirds prevoted for one block, and that block.
    pub fn polkas(&self) -> impl Iterator<Item = (Round, BlockId)> {
        let current = self.current;
        self.majorities(VoteKind::Prevote).filter(move |(round, _)| *round <= current)
    }

    /// Rounds in which votes came.
    pub fn rounds(&self) -> impl Iterator<Item = Round> {
        self.rounds.keys().copied()
    }

    /// Rounds with a majority for a block, latest first.
    fn majorities(&self, kind: VoteKind) -> impl Iterator<Item = (Round, BlockId)> {
        self.rounds.keys().rev().filter_map(move |round| Some((*round, self.majority(*round, kind)??)))
    }

    fn admits(&self, round: Round, source: Source) -> Result<(), &'static str> {
        let ahead = round.get().saturating_sub(self.current.get());
        if ahead <= 1 || self.opened.contains_key(&round) {
            return Ok(());
        }
        if ahead > ROUNDS_AHEAD_MAX && !mutant!("V12") {
            return Err("vote of a round too far ahead");
        }
        let Source::Peer(peer) = source else { return Ok(()) };
        let open = self.opened.values().filter(|opener| **opener == peer).count();
        if open < CATCH_UP_ROUNDS_PER_PEER || mutant!("V7") { Ok(()) } else { Err("vote of a round beyond the window") }
    }

    fn open(&mut self, round: Round, source: Source) {
        let (true, Source::Peer(peer)) = (round.get().saturating_sub(self.current.get()) > 1, source) else { return };
        if self.opened.contains_key(&round) {
            return;
        }
        if self.opened.len() >= CATCH_UP_ROUNDS_MAX && !mutant!("V11") {
            let voters = |round: &Round| self.rounds.get(round).map_or(Power::ZERO, |tally| tally.voters);
            let weight = |round: &&Round| if mutant!("V94") { Power::ZERO } else { voters(round) };
            let weakest = self.opened.keys().min_by_key(weight).copied();
            if let Some(weakest) = weakest {
                self.opened.remove(&weakest);
                self.rounds.remove(&weakest);
            }
        }
        self.opened.insert(round, peer);
    }

    fn round_mut(&mut self, round: Round) -> &mut RoundTally {
        let (height, validators) = (self.height, &self.validators);
        self.rounds.entry(round).or_insert_with(|| RoundTally {
            prevotes: VoteSet::new(height, round, VoteKind::Prevote, Arc::clone(validators)),
            precommits: VoteSet::new(height, round, VoteKind::Precommit, Arc::clone(validators)),
            voters: Power::ZERO,
        })
    }
}

#[cfg(test)]
mod tests;
