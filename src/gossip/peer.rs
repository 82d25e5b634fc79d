//! What one peer has and where it stands: CometBFT's PeerState, transition by transition (consensus/reactor.go).

use super::account::Account;
use super::had::Had;
use crate::consensus::Tick;
use crate::types::{
    BitArray, BlockId, Height, NewRoundStep, NodeId, PartSetHeader, PeerRoundState, Proposal, Round, Step, Time, Vote,
    VoteKind,
};
use std::time::Duration;

/// A peer may say this often in one round which block it needs. An honest one does it after a quorum of prevotes, and
/// of precommits; a liar could have us send the same parts again and again.
const PARTS_RESETS_MAX: u8 = 8;
/// Votes remembered as told by a peer, until consensus has looked at them.
const TOLD_VOTES_MAX: usize = 16;

/// Height, round and step a peer says it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) height: Height,
    pub(super) round: Round,
    pub(super) step: Step,
}

/// The parts of the block a peer gathers.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) header: PartSetHeader,
    pub(super) had: Had,
    source: PartsSource,
}

/// How we know which block a peer gathers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PartsSource {
    /// It has the proposal, or needs the block. It may yet ignore parts.
    Concluded,
    /// It said so; from then on, and in this round, it takes every part of that block.
    Said,
}

/// Which vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct VoteKey {
    pub(super) height: Height,
    pub(super) round: Round,
    pub(super) kind: VoteKind,
    pub(super) index: u32,
    pub(super) block_id: Option<BlockId>,
}

impl From<&Vote> for VoteKey {
    fn from(vote: &Vote) -> VoteKey {
        let Vote { height, round, kind, validator_index: index, block_id, .. } = *vote;
        VoteKey { height, round, kind, index, block_id }
    }
}

/// A claim of a majority made to a peer.
#[derive(Debug, Clone, Copy)]
struct Claimed {
    round: Round,
    kind: VoteKind,
    answered: bool,
}

/// How far a peer at an earlier height has been helped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Help {
    /// It may lack something.
    Needed,
    /// It was given everything; what it says may show otherwise.
    Given,
    /// We do not have that block any more.
    Unavailable,
}

/// What a peer has said and was given about its height. A new round or height forgets what belongs to the old one.
#[derive(Debug)]
pub(super) struct Known {
    /// None until it has said, as while it fetches blocks.
    pub(super) at: Option<At>,
    start_time: Time,
    pub(super) has_proposal: bool,
    pub(super) parts: Option<Parts>,
    parts_resets: u8,
    /// The round whose prevotes justify its proposal, and which of them it has.
    pub(super) pol: Option<(Round, Had)>,
    prevotes: Had,
    precommits: Had,
    pub(super) last_commit: Option<(Round, Had)>,
    /// The round its height was decided in, and which of those precommits it has. While that is its round, `precommits`
    /// has them.
    catch_up: Option<(Round, Had)>,
}

/// A peer.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) known: Known,
    pub(super) account: Account,
    pub(super) help: Help,
    /// When it last moved on.
    pub(super) moved_at: Tick,
    /// Where in a block to begin giving it parts, so that a lagging node is not given the same by everyone.
    pub(super) start: usize,
    /// Claims of a majority made to it in this round, and whether it answered.
    claims: Vec<Claimed>,
    told: [Option<VoteKey>; TOLD_VOTES_MAX],
    told_next: usize,
    pub(super) useful_votes: u64,
    pub(super) useful_parts: u64,
}

impl Peer {
    pub(super) fn new(now: crate::consensus::Now) -> Peer {
        Peer {
            known: Known::new(),
            account: Account::default(),
            help: Help::Needed,
            moved_at: now.tick,
            start: (now.tick.0 % 1_000_003) as usize,
            claims: Vec::new(),
            told: [None; TOLD_VOTES_MAX],
            told_next: 0,
            useful_votes: 0,
            useful_parts: 0,
        }
    }

    /// It moved on: what it was asked about is past.
    pub(super) fn move_on(&mut self, tick: Tick) {
        self.moved_at = tick;
        self.help = Help::Needed;
        if !mutant!("G94") {
            self.claims.clear();
        }
    }

    /// True when this majority was claimed to it where it stands.
    pub(super) fn was_told_majority(&self, round: Round, kind: VoteKind) -> bool {
        self.claims.iter().any(|claim| (claim.round, claim.kind) == (round, kind))
    }

    /// Remembers a claim, which it will answer. There are four a peer can be told where it stands.
    pub(super) fn note_claim(&mut self, round: Round, kind: VoteKind) {
        self.claims.retain(|claim| (claim.round, claim.kind) != (round, kind));
        self.claims.push(Claimed { round, kind, answered: false });
    }

    /// Takes an answer; false when nothing was asked. Only answers count: a peer could otherwise have us send votes
    /// without end.
    pub(super) fn take_answer(&mut self, round: Round, kind: VoteKind) -> bool {
        let asked = self
            .claims
            .iter_mut()
            .find(|claim| (claim.round, claim.kind) == (round, kind) && (!claim.answered || mutant!("G91")));
        asked.map(|claim| claim.answered = true).is_some()
    }

    /// Remembers that it sent this vote: it knows that we have it.
    pub(super) fn note_told(&mut self, vote: &Vote) {
        self.told[self.told_next] = Some(VoteKey::from(vote));
        self.told_next = (self.told_next + 1) % TOLD_VOTES_MAX;
    }

    /// True when it sent this vote not long ago.
    pub(super) fn told(&self, vote: &VoteKey) -> bool {
        self.told.iter().flatten().any(|told| told == vote)
    }

    #[cfg(test)]
    pub(super) fn bytes_held(&self) -> usize {
        let known = &self.known;
        let of_round = |votes: &Option<(Round, Had)>| votes.as_ref().map_or(0, |(_, had)| had.bytes_held());
        let rounds: usize = [&known.pol, &known.last_commit, &known.catch_up].into_iter().map(of_round).sum();
        let parts = known.parts.as_ref().map_or(0, |parts| parts.had.bytes_held());
        let claims = self.claims.capacity() * size_of::<Claimed>();
        size_of::<Peer>() + known.prevotes.bytes_held() + known.precommits.bytes_held() + rounds + parts + claims
    }

    /// For `dump_consensus_state`. `members` is the number of validators at a height, where we know it.
    pub(super) fn state(&self, peer: NodeId, members: impl Fn(Height) -> Option<usize>) -> PeerRoundState {
        let known = &self.known;
        let height = known.at.map(|at| at.height);
        let len = height.and_then(&members);
        let last_len = height.and_then(Height::previous).and_then(&members);
        let row = |had: &Had| height.map(|_| had.to_bits(len));
        PeerRoundState {
            peer,
            height,
            round: known.at.map(|at| at.round),
            step: known.at.map_or(Step::NewHeight, |at| at.step),
            start_time: known.start_time,
            has_proposal: known.has_proposal,
            parts: known.parts.as_ref().map(|p| (p.header, p.had.to_bits(Some(p.header.total as usize)))),
            proposal_pol: known.pol.as_ref().map(|(round, had)| (*round, had.to_bits(len))),
            prevotes: row(&known.prevotes),
            precommits: row(&known.precommits),
            last_commit: known.last_commit.as_ref().map(|(round, had)| (*round, had.to_bits(last_len))),
            catch_up_commit: known.catch_up.as_ref().map(|(round, had)| (*round, had.to_bits(len))),
            useful_votes: self.useful_votes,
            useful_parts: self.useful_parts,
        }
    }
}

impl Parts {
    fn concluded(header: PartSetHeader) -> Parts {
        Parts { header, had: Had::default(), source: PartsSource::Concluded }
    }
}

impl Known {
    pub(super) fn new() -> Known {
        Known {
            at: None,
            start_time: Time::UNIX_EPOCH,
            has_proposal: false,
            parts: None,
            parts_resets: 0,
            pol: None,
            prevotes: Had::default(),
            precommits: Had::default(),
            last_commit: None,
            catch_up: None,
        }
    }

    /// ApplyNewRoundStepMessage. True when the peer moved on; duplicates and decreases are ignored.
    pub(super) fn apply_new_round_step(&mut self, wall: Time, message: &NewRoundStep, step: Step) -> bool {
        let at = At { height: message.height, round: message.round, step };
        if self.at.is_some_and(|before| at <= before && !mutant!("G12")) {
            return false;
        }
        let before = self.at.replace(at);
        self.start_time = started(wall, message.seconds_since_start_time);
        let same_height = before.is_some_and(|before| before.height == at.height);
        if same_height && before.is_some_and(|before| before.round == at.round) {
            return true;
        }
        self.has_proposal = false;
        self.parts = None;
        self.parts_resets = 0;
        self.pol = None;
        self.prevotes = Had::default();
        let left = std::mem::take(&mut self.precommits);
        // The two share their bits while the round is the same.
        if let (Some((round, had)), Some(before)) = (&mut self.catch_up, before)
            && *round == before.round
        {
            *had = left.clone();
        }
        if same_height {
            // It caught up to the round of the commit: what it has of it stays.
            if let Some((_, had)) = self.catch_up.as_ref().filter(|(round, _)| *round == at.round) {
                self.precommits = had.clone();
            }
            return true;
        }
        self.shift_last_commit(before, message, left);
        true
    }

    /// Precommits of the round its last height was decided in become its last commit.
    fn shift_last_commit(&mut self, before: Option<At>, message: &NewRoundStep, left: Had) {
        let catch_up = self.catch_up.take();
        let follows = before.filter(|before| before.height.get() + 1 == message.height.get());
        self.last_commit = message.last_commit_round.map(|round| match (follows, catch_up) {
            (Some(before), _) if before.round == round => (round, left),
            // CometBFT forgets these; they are the same votes.
            (Some(_), Some((decided_in, had))) if decided_in == round => (round, had),
            _ => (round, Had::default()),
        });
    }

    /// ApplyNewValidBlockMessage. True when it may lack more than we thought.
    pub(super) fn apply_new_valid_block(
        &mut self,
        at: (Height, Round),
        header: PartSetHeader,
        bits: &BitArray,
        commit: Commit,
    ) -> bool {
        let Some(own) = self.at.filter(|own| own.height == at.0) else { return false };
        if own.round != at.1 && commit == Commit::Open {
            return false;
        }
        match &mut self.parts {
            Some(parts) if parts.header == header && (parts.source == PartsSource::Said || parts.had.within(bits)) => {
                // What we gave it meanwhile is on its way.
                parts.had.merge(bits);
                parts.source = PartsSource::Said;
                false
            }
            _ if self.parts_resets >= PARTS_RESETS_MAX && !mutant!("G8") => false,
            _ => {
                self.parts_resets += 1;
                self.parts = Some(Parts { header, had: Had::from_bits(bits), source: PartsSource::Said });
                true
            }
        }
    }

    /// ApplyProposalPOLMessage. What we gave it meanwhile is kept.
    pub(super) fn apply_proposal_pol(&mut self, height: Height, pol_round: Round, bits: &BitArray) {
        if self.at.is_none_or(|at| at.height != height) {
            return;
        }
        if let Some((_, had)) = self.pol.as_mut().filter(|(round, _)| *round == pol_round) {
            had.merge(bits);
        }
    }

    /// SetHasProposal.
    pub(super) fn set_has_proposal(&mut self, proposal: &Proposal) {
        if !self.is_at(proposal.height, proposal.round) || self.has_proposal {
            return;
        }
        self.has_proposal = true;
        // Set already by NewValidBlock.
        if self.parts.is_some() {
            return;
        }
        self.parts = Some(Parts::concluded(proposal.block_id.parts));
        self.pol = proposal.pol_round.map(|round| (round, Had::default()));
    }

    /// InitProposalBlockParts: what a peer in step Commit needs.
    pub(super) fn expect_parts(&mut self, header: PartSetHeader) -> &Parts {
        self.parts.get_or_insert_with(|| Parts { header, had: Had::default(), source: PartsSource::Said })
    }

    /// SetHasProposalBlockPart.
    pub(super) fn set_has_part(&mut self, height: Height, round: Round, index: u32) {
        let here = self.is_at(height, round);
        if let Some(parts) = self.parts.as_mut().filter(|parts| here && index < parts.header.total) {
            parts.had.insert(index as usize);
        }
    }

    /// SetHasVote. Also for precommits of its last height, which CometBFT takes from votes only, not from HasVote.
    pub(super) fn set_has_vote(&mut self, height: Height, round: Round, kind: VoteKind, index: u32) {
        if let Some(had) = self.votes(height, round, kind) {
            had.insert(index as usize);
        }
    }

    /// ensureCatchupCommitRound: more than two thirds precommitted a block of its height in `round`.
    pub(super) fn expect_commit(&mut self, height: Height, round: Round) {
        let at_height = self.at.is_some_and(|at| at.height == height);
        if at_height && self.catch_up.as_ref().is_none_or(|(known, _)| *known != round) {
            self.catch_up = Some((round, Had::default()));
        }
    }

    /// getVoteBitArray: which of these votes it has; none when they are of no use to it.
    pub(super) fn votes(&mut self, height: Height, round: Round, kind: VoteKind) -> Option<&mut Had> {
        let at = self.at?;
        if at.height == height {
            return match kind {
                VoteKind::Prevote if at.round == round => Some(&mut self.prevotes),
                VoteKind::Precommit if at.round == round => Some(&mut self.precommits),
                VoteKind::Prevote => of_round(&mut self.pol, round),
                VoteKind::Precommit => of_round(&mut self.catch_up, round),
            };
        }
        let last = at.height.previous() == Some(height) && kind == VoteKind::Precommit;
        if last { of_round(&mut self.last_commit, round) } else { None }
    }

    pub(super) fn is_at(&self, height: Height, round: Round) -> bool {
        self.at.is_some_and(|at| (at.height, at.round) == (height, round))
    }
}

/// Whether a block is said to be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Commit {
    /// It has a quorum of prevotes.
    Open,
    /// It is decided.
    Decided,
}

fn of_round(votes: &mut Option<(Round, Had)>, round: Round) -> Option<&mut Had> {
    votes.as_mut().filter(|(of, _)| *of == round).map(|(_, had)| had)
}

/// When a height began that is said to be this many seconds old; may lie ahead. What no clock shows counts as long ago.
fn started(wall: Time, seconds: i64) -> Time {
    if seconds <= 0 {
        return wall.plus(Duration::from_secs(seconds.unsigned_abs()));
    }
    let began = wall.seconds().checked_sub(seconds).and_then(|began| Time::new(began, wall.nanos()).ok());
    began.unwrap_or(Time::UNIX_EPOCH)
}
