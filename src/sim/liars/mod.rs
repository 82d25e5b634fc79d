//! Byzantine actors: an honest core says what it says, and its actor rewrites it (reliability.md §5.3).
//!
//! Whatever an actor says stays plausible, because it begins with what an honest node would say there. It signs with its
//! own key only; receivers check its words as they check everything. A lie is told at some heights and rounds and not at
//! others, drawn once for each of them, so that all receivers meet the same liar. Liars of one run know each other: they
//! split the others in the same two halves.
//!
//! Reading order: this file → `memory` → `votes` → `blocks` → `proofs` → `silence` → `times` → `clocks` → `mutate` → `accuse` →
//! `flood` → `gossip`.

mod accuse;
mod blocks;
mod clocks;
mod flood;
mod gossip;
mod memory;
mod mutate;
mod proofs;
mod silence;
mod times;
mod votes;

#[cfg(test)]
mod tests;

use super::{Coverage, Dice, Lie, NodeNr, Scene, Word};
use crate::consensus::Tick;
use crate::types::{
    Address, Algorithm, ChainId, DirectMessage, Height, Proposal, Round, Statement, Time, UnsignedProposal,
    UnsignedStatement, UnsignedVote, ValidatorSet, Vote,
};
pub use gossip::Speech;
use memory::Memory;
use std::fmt;
use std::time::Duration;

/// Lies told in some of ten thousand seeds of level 1 that are left to draw everything.
pub fn expected(algorithm: Algorithm) -> Vec<&'static str> {
    let mut all = vec!["lie refused", "lie.other_chain", "lie.replay"];
    if algorithm != Algorithm::Raft {
        all.extend([
            "equivocation seen",
            "lie.bad_part",
            "lie.empty_part",
            "lie.equivocate_proposals",
            "lie.equivocate_votes",
            "lie.extension_where_none_belongs",
            "lie.garbage_block",
            "lie.index_of_nobody",
            "lie.late",
            "lie.leap",
            "lie.leap_unasked",
            "lie.mutate",
            "lie.name_of_another",
            "lie.other_receiver",
            "lie.proof_too_deep",
            "lie.vote_nil",
            "lie.vote_unknown",
            "lie.withhold",
            "lie.withhold_parts",
            "lie.withhold_proposal",
            "lie.wrong_address",
            "lie.wrong_index",
            "lie.wrong_index_in_proof",
            "lie.wrong_index_of_part",
            "lie.wrong_total",
        ]);
    }
    all.extend(match algorithm {
        Algorithm::Tendermint => ["lie.forget_locks", "lie.lock"].as_slice(),
        Algorithm::Pbft => &[
            "lie.bad_commit",
            "lie.checkpoint",
            "lie.checkpoint_ahead",
            "lie.place",
            "lie.prepared_forged",
            "lie.prepared_missing",
            "lie.prepared_stale",
            "lie.status",
            "lie.too_few_view_changes",
            "lie.two_new_views",
            "lie.view_change_twice",
            "lie.view_change_unasked",
            "lie.wrong_choice",
        ],
        Algorithm::Raft => &["lie.later_term"],
    });
    all
}

/// Lies told in some of a thousand seeds of level 2 that are left to draw everything.
pub fn expected_of_whole(algorithm: Algorithm) -> Vec<&'static str> {
    let mut all = vec!["lie refused", "lie.other_chain", "lie.replay"];
    if algorithm != Algorithm::Raft {
        all.extend([
            "equivocation seen",
            "lie.bad_commit",
            "lie.base_above_height",
            "lie.equivocate_proposals",
            "lie.equivocate_votes",
            "lie.evidence_in_block",
            "lie.evidence_of_another_time",
            "lie.evidence_of_future",
            "lie.evidence_of_own",
            "lie.evidence_twice",
            "lie.extension_where_none_belongs",
            "lie.flood_of_old_words",
            "lie.flood_of_one_word",
            "lie.flood_of_transactions",
            "lie.flood_of_votes",
            "lie.garbage_block",
            "lie.has_vote",
            "lie.index_of_nobody",
            "lie.junk",
            "lie.late",
            "lie.leap",
            "lie.leap_unasked",
            "lie.light_fork",
            "lie.majority",
            "lie.mutate",
            "lie.name_of_another",
            "lie.other_receiver",
            "lie.place",
            "lie.shorter",
            "lie.taller",
            "lie.time_of_vote",
            "lie.unsolicited_block",
            "lie.vote_nil",
            "lie.vote_unknown",
            "lie.withhold",
            "lie.withhold_proposal",
            "lie.wrong_address",
            "lie.wrong_index",
        ]);
    }
    all.extend(match algorithm {
        Algorithm::Tendermint => [
            "lie.all_ones",
            "lie.favourites",
            "lie.forget_locks",
            "lie.lock",
            "lie.time_of_block",
            "lie.time_of_proposal",
            "lie.withhold_parts",
        ]
        .as_slice(),
        Algorithm::Pbft => &[
            "lie.checkpoint",
            "lie.checkpoint_ahead",
            "lie.prepared_forged",
            "lie.prepared_missing",
            "lie.prepared_stale",
            "lie.status",
            "lie.view_change_unasked",
            "lie.wrong_choice",
        ],
        Algorithm::Raft => &["lie.later_term"],
    });
    all
}

/// How often a world asks a liar for words nobody asked for.
pub const UNPROMPTED_EVERY: Duration = Duration::from_millis(40);
/// Words kept back for later, at most.
const HELD_MAX: usize = 256;
/// Most words one word becomes.
const WORDS_MAX: usize = 16;
/// Heights in a row at which a flapping liar is honest, then lies.
const FLAP: u64 = 3;

/// A key to sign with: the liar's own. Fake at level 1, real at level 2.
pub trait Pen: fmt::Debug {
    /// Signs a vote and, where it has one, its extension.
    fn vote(&self, chain: &ChainId, unsigned: UnsignedVote) -> Vote;
    /// Signs a proposal.
    fn proposal(&self, chain: &ChainId, unsigned: UnsignedProposal) -> Proposal;
    /// Signs a statement.
    fn statement(&self, chain: &ChainId, unsigned: UnsignedStatement) -> Statement;
}

/// What a liar may know and use when it speaks.
#[derive(Debug)]
pub struct Cx<'a> {
    /// The time of the run.
    pub now: Tick,
    /// What its wall clock shows.
    pub wall: Time,
    /// What does not change.
    pub scene: &'a Scene,
    /// The height its core decides.
    pub height: Height,
    /// The round, term or view its core is in.
    pub round: Round,
    /// Who decides that height.
    pub validators: &'a ValidatorSet,
    /// Its own key.
    pub pen: &'a dyn Pen,
    /// Counts each lie told.
    pub coverage: &'a mut Coverage,
}

impl Cx<'_> {
    /// Something false was said.
    fn told(&mut self, lie: &'static str) {
        self.coverage.count(lie);
    }

    fn sign_vote(&self, unsigned: UnsignedVote) -> Vote {
        self.pen.vote(&self.scene.chain_id, unsigned)
    }

    fn sign_proposal(&self, unsigned: UnsignedProposal) -> Proposal {
        self.pen.proposal(&self.scene.chain_id, unsigned)
    }

    fn sign_statement(&self, unsigned: UnsignedStatement) -> Statement {
        self.pen.statement(&self.scene.chain_id, unsigned)
    }
}

/// Kept back until then, for whom.
type Held = (Tick, NodeNr, DirectMessage);

/// Which half of the others a node is in; another split at every height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    First,
    Second,
}

/// A lying node's mouth and ears.
#[derive(Debug)]
pub struct Actor {
    own: Address,
    lies: Vec<Lie>,
    dice: Dice,
    /// Of a hundred heights and rounds, how many a lie is told at.
    zeal: u64,
    memory: Memory,
    /// Said later, to whom.
    held: Vec<Held>,
}

impl Actor {
    /// A liar that tells these lies.
    pub fn new(own: Address, lies: Vec<Lie>, mut dice: Dice) -> Actor {
        let zeal = *dice.pick(&[25, 60, 100, 100]).unwrap_or(&100);
        Actor { own, lies, dice, zeal, memory: Memory::default(), held: Vec::new() }
    }

    /// What it really says to `to` where its core says `word`.
    pub fn rewrite(&mut self, cx: &mut Cx<'_>, to: NodeNr, word: DirectMessage) -> Vec<DirectMessage> {
        self.memory.say(self.own, &word);
        let mut words = vec![word];
        for lie in self.lies.clone() {
            words = words.into_iter().flat_map(|word| self.bend(cx, to, lie, word)).collect();
            words.truncate(WORDS_MAX);
        }
        words
    }

    /// It hears something, from whom, whether its core takes it or not.
    pub fn hear(&mut self, from: NodeNr, word: Word<'_>) {
        let _ = from;
        self.memory.hear(&word);
    }

    /// What it says though its core does not. To be asked every [`UNPROMPTED_EVERY`].
    pub fn unprompted(&mut self, cx: &mut Cx<'_>) -> Vec<(NodeNr, DirectMessage)> {
        let mut words = Vec::new();
        for lie in self.lies.clone() {
            if self.acts(cx.scene, lie, cx.height, cx.round) {
                self.add_unprompted(cx, lie, &mut words);
            }
        }
        words.truncate(HELD_MAX);
        words
    }

    /// When it wants to say what it keeps back.
    pub fn due(&self) -> Option<Tick> {
        self.held.iter().map(|(at, ..)| *at).min()
    }

    /// Its memory is gone: the node was restarted.
    pub fn forget(&mut self) {
        self.memory = Memory::default();
        self.held.clear();
    }

    fn bend(&mut self, cx: &mut Cx<'_>, to: NodeNr, lie: Lie, word: DirectMessage) -> Vec<DirectMessage> {
        let (height, round) = place(&word).unwrap_or((cx.height, cx.round));
        if !self.acts(cx.scene, lie, height, round) {
            return vec![word];
        }
        match lie {
            Lie::EquivocateVotes
            | Lie::ForgetLocks
            | Lie::VoteNil
            | Lie::VoteUnknown
            | Lie::WrongName
            | Lie::BadExtensions => self.bend_vote(cx, to, lie, word),
            Lie::EquivocateProposals | Lie::BadBlocks => self.bend_block(cx, to, lie, word),
            Lie::BadCommits => self.bend_commit(cx, word),
            Lie::ForgeProofs => self.bend_proofs(cx, to, word),
            Lie::LieAboutPlace => self.bend_place(cx, word),
            Lie::Withhold | Lie::WithholdParts | Lie::WithholdProposals => self.keep_back(cx, to, lie, word),
            Lie::Late => self.delay(cx, to, word),
            Lie::LeapAhead => self.leap(cx, word),
            Lie::Replay => self.repeat(cx, word),
            Lie::OtherChain => self.speak_of_other_chain(cx, word),
            Lie::Mutate => self.mutate(cx, to, word),
            Lie::Accuse => self.accuse_in_block(cx, word),
            Lie::Favour => self.favour(cx, word),
            Lie::FalseTimes => self.bend_time(cx, word),
            Lie::Flood => self.say_often(cx, word),
            // Said unasked, around consensus; and when other lies are told.
            Lie::InflateTerms | Lie::Gossip | Lie::Flap => vec![word],
        }
    }

    /// True where this lie is told: at some heights and rounds, each drawn once.
    fn acts(&self, scene: &Scene, lie: Lie, height: Height, round: Round) -> bool {
        if !self.lies.contains(&lie) || (self.lies.contains(&Lie::Flap) && (height.get() / FLAP).is_multiple_of(2)) {
            return false;
        }
        let drawn = mix(&[scene.plan.seed, own_number(&self.own), lie as u64, height.get(), u64::from(round.get())]);
        drawn % 100 < self.zeal
    }

    /// The half that gets the other story. All liars of a run split the others alike.
    fn half(&self, scene: &Scene, height: Height, to: NodeNr) -> Half {
        let split = mix(&[scene.plan.seed, height.get()]);
        if split >> to.0 & 1 == 0 { Half::First } else { Half::Second }
    }

    /// Keeps a word back until then.
    fn hold(&mut self, at: Tick, to: NodeNr, word: DirectMessage) {
        if self.held.len() < HELD_MAX {
            self.held.push((at, to, word));
        }
    }

    fn is_own(&self, word: &DirectMessage) -> bool {
        match word {
            DirectMessage::Vote(vote) => vote.validator_address == self.own,
            DirectMessage::Proposal { by, .. } => *by == self.own,
            DirectMessage::Statement(statement) => statement.by == self.own,
            DirectMessage::Part { height, round, .. } => self.memory.proposed_by_us(*height, *round),
            DirectMessage::Commit(_) => false,
        }
    }
}

/// Where a word belongs.
fn place(word: &DirectMessage) -> Option<(Height, Round)> {
    Some(match word {
        DirectMessage::Vote(vote) => (vote.height, vote.round),
        DirectMessage::Proposal { proposal, .. } => (proposal.height, proposal.round),
        DirectMessage::Part { height, round, .. } => (*height, *round),
        DirectMessage::Statement(statement) => (statement.body.height()?, statement.body.round()?),
        DirectMessage::Commit(commit) => (commit.height, commit.round),
    })
}

/// The same as before, to be signed again.
fn unsigned(vote: &Vote) -> UnsignedVote {
    UnsignedVote {
        kind: vote.kind,
        height: vote.height,
        round: vote.round,
        block_id: vote.block_id,
        timestamp: vote.timestamp,
        validator_address: vote.validator_address,
        validator_index: vote.validator_index,
        extension: vote.extension_signature.is_some().then(|| vote.extension.clone()),
    }
}

fn unsigned_proposal(proposal: &Proposal) -> UnsignedProposal {
    let Proposal { height, round, pol_round, block_id, timestamp, .. } = *proposal;
    UnsignedProposal { height, round, pol_round, block_id, timestamp }
}

/// A round somewhere else, as far as rounds go.
fn further(round: Round, by: u32) -> Round {
    Round::new(round.get().saturating_add(by).min(i32::MAX as u32))
}

fn own_number(address: &Address) -> u64 {
    address.as_bytes().iter().fold(7, |number, byte| mix(&[number, u64::from(*byte)]))
}

/// A number that follows from these and looks random.
fn mix(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0x5851_f42d_4c95_7f2d, |state, number| Dice::new(state ^ number).roll())
}
