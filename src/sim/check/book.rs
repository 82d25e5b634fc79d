//! What checkers keep their books in: who decides which height, who said what, and sums of power.
//!
//! Written without the modules that are judged: no tally, no quorum arithmetic of theirs.

use crate::crypto::Signature;
use crate::sim::{NodeNr, Scene, Seen, What, Word};
use crate::types::{Algorithm, BlockId, Height, Proposal, Round, Time, ValidatorSet, Vote, VoteKind};
use std::sync::Arc;

/// Something for each node.
#[derive(Debug)]
pub(super) struct PerNode<T>(Vec<T>);

impl<T> Default for PerNode<T> {
    fn default() -> PerNode<T> {
        PerNode(Vec::new())
    }
}

impl<T: Default> PerNode<T> {
    /// The node's.
    pub(super) fn of(&mut self, node: NodeNr) -> &mut T {
        if self.0.len() <= node.index() {
            self.0.resize_with(node.index() + 1, T::default);
        }
        &mut self.0[node.index()]
    }

    /// The node's, if there is any.
    pub(super) fn get(&self, node: NodeNr) -> Option<&T> {
        self.0.get(node.index())
    }
}

/// Something for each height from the first one on.
#[derive(Debug)]
pub(super) struct PerHeight<T>(Vec<T>);

impl<T> Default for PerHeight<T> {
    fn default() -> PerHeight<T> {
        PerHeight(Vec::new())
    }
}

impl<T: Default> PerHeight<T> {
    /// The height's; none below the first height, and none so far ahead that only a mistake of the world gets there.
    pub(super) fn of(&mut self, scene: &Scene, height: Height) -> Option<&mut T> {
        let at = usize::try_from(height.get().checked_sub(scene.initial_height.get())?).ok()?;
        if at > self.0.len() + HEIGHTS_AHEAD_MAX {
            return None;
        }
        if self.0.len() <= at {
            self.0.resize_with(at + 1, T::default);
        }
        self.0.get_mut(at)
    }

    /// The height's, if there is any.
    pub(super) fn get(&self, scene: &Scene, height: Height) -> Option<&T> {
        let at = usize::try_from(height.get().checked_sub(scene.initial_height.get())?).ok()?;
        self.0.get(at)
    }
}

/// Heights between what is known and what is opened.
const HEIGHTS_AHEAD_MAX: usize = 10_000;

/// How much of the power decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// More than half of it.
    Half,
    /// More than two thirds of it.
    TwoThirds,
}

impl Share {
    /// What the protocol wants.
    pub(super) fn of(algorithm: Algorithm) -> Share {
        match algorithm {
            Algorithm::Raft => Share::Half,
            Algorithm::Pbft | Algorithm::Tendermint => Share::TwoThirds,
        }
    }

    /// True when `part` is enough of `whole`.
    pub(super) fn is_in(self, part: u64, whole: u64) -> bool {
        let (part, whole) = (u128::from(part), u128::from(whole));
        match self {
            Share::Half => part + part > whole,
            Share::TwoThirds => part + part + part > whole + whole,
        }
    }
}

/// Power of the members at these places, each counted once however often it is named.
pub(super) fn power_of(set: &ValidatorSet, places: impl Iterator<Item = u32> + Clone) -> u64 {
    let named = |place: u32| places.clone().any(|other| other == place);
    let members = set.members().iter().zip(0_u32..);
    members.filter(|(_, place)| named(*place)).map(|(member, _)| member.power.get()).sum()
}

/// Power of a whole set, counted here once more.
pub(super) fn whole(set: &ValidatorSet) -> u64 {
    set.members().iter().map(|member| member.power.get()).sum()
}

/// True when the same members have the same power.
pub(super) fn same_people(one: &Arc<ValidatorSet>, other: &Arc<ValidatorSet>) -> bool {
    let people = |set: &ValidatorSet| -> Vec<_> { set.members().iter().map(|m| (m.address, m.power)).collect() };
    Arc::ptr_eq(one, other) || people(one) == people(other)
}

/// Who decides which height, as the first node that took it up had it (`agreement` compares them; what liars lie about is
/// what they say).
#[derive(Debug, Default)]
pub(super) struct Sets(PerHeight<Option<Arc<ValidatorSet>>>);

impl Sets {
    /// Remembers a height that was taken up.
    pub(super) fn see(&mut self, scene: &Scene, seen: &Seen<'_>) {
        if let What::Began { height, validators } = seen.what
            && let Some(slot) = self.0.of(scene, height)
        {
            slot.get_or_insert_with(|| Arc::clone(validators));
        }
    }

    /// Who decides this height.
    pub(super) fn at(&self, scene: &Scene, height: Height) -> Option<&Arc<ValidatorSet>> {
        self.0.get(scene, height)?.as_ref()
    }
}

/// Where in its height something was signed: the order in which one key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) height: Height,
    pub(super) round: Round,
    /// 1 a proposal, 2 a prevote, 3 a precommit.
    pub(super) step: u8,
}

/// What was signed there. Extensions are signed apart, and may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Print {
    pub(super) block: Option<BlockId>,
    pol_round: Option<Round>,
    timestamp: Time,
    signature: Signature,
}

/// Where a word was signed, and what; none for words that carry no position.
pub(super) fn printed(word: &Word<'_>) -> Option<(Place, Print)> {
    match word {
        Word::Proposal { proposal, .. } => Some(of_proposal(proposal)),
        Word::Vote(vote) => Some(of_vote(vote)),
        Word::Part { .. } | Word::Statement(_) | Word::Commit(_) => None,
    }
}

fn of_proposal(proposal: &Proposal) -> (Place, Print) {
    let Proposal { height, round, pol_round, block_id, timestamp, signature } = *proposal;
    (Place { height, round, step: 1 }, Print { block: Some(block_id), pol_round, timestamp, signature })
}

fn of_vote(vote: &Vote) -> (Place, Print) {
    let step = match vote.kind {
        VoteKind::Prevote => 2,
        VoteKind::Precommit => 3,
    };
    let Vote { height, round, block_id, timestamp, signature, .. } = *vote;
    (Place { height, round, step }, Print { block: block_id, pol_round: None, timestamp, signature })
}

/// The last things a key signed.
#[derive(Debug, Default)]
pub(super) struct Signatures {
    /// In the order they were signed, which is that of their places.
    known: Vec<(Place, Print)>,
    forgot: bool,
}

/// What is known of one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// This was signed there.
    This(Print),
    /// Nothing was.
    Nothing,
    /// It is too long ago.
    Forgotten,
}

/// So many are remembered of each key, and half of them at least.
const SIGNATURES_MAX: usize = 128;

impl Signatures {
    /// One more.
    pub(super) fn push(&mut self, place: Place, print: Print) {
        if self.known.len() >= SIGNATURES_MAX {
            self.known.drain(..SIGNATURES_MAX / 2);
            self.forgot = true;
        }
        self.known.push((place, print));
    }

    /// The last one.
    pub(super) fn last(&self) -> Option<&(Place, Print)> {
        self.known.last()
    }

    /// What was signed at this place.
    pub(super) fn at(&self, place: Place) -> Found {
        for (known, print) in self.known.iter().rev() {
            if *known == place {
                return Found::This(*print);
            }
            if *known < place {
                return Found::Nothing;
            }
        }
        if self.forgot { Found::Forgotten } else { Found::Nothing }
    }
}

/// Votes of one height: what each member was heard to vote for, in each round, of each kind. An equivocator's votes are
/// all here.
#[derive(Debug, Default)]
pub(super) struct Votes {
    lists: Vec<((Round, VoteKind), Choices)>,
}

/// By member's index: what it voted for.
type Choices = Vec<(u32, Option<BlockId>)>;

impl Votes {
    /// One more. True when this member had voted for something else before.
    pub(super) fn add(&mut self, vote: &Vote) -> bool {
        let key = (vote.round, vote.kind);
        let at = match self.lists.iter().rposition(|(known, _)| *known == key) {
            Some(at) => at,
            None => {
                self.lists.push((key, Vec::with_capacity(4)));
                self.lists.len() - 1
            }
        };
        let list = &mut self.lists[at].1;
        let (mut known, mut other) = (false, false);
        for (_, block) in list.iter().filter(|(by, _)| *by == vote.validator_index) {
            known |= *block == vote.block_id;
            other |= *block != vote.block_id;
        }
        if !known {
            list.push((vote.validator_index, vote.block_id));
        }
        other && !known
    }

    fn list(&self, round: Round, kind: VoteKind) -> &[(u32, Option<BlockId>)] {
        let found = self.lists.iter().rev().find(|(known, _)| *known == (round, kind));
        found.map_or(&[], |(_, list)| list)
    }

    /// True when more than two thirds voted for this.
    pub(super) fn agree(&self, set: &ValidatorSet, at: (Round, VoteKind), block: Option<BlockId>) -> bool {
        let for_it = self.list(at.0, at.1).iter().filter(|(_, voted)| *voted == block).map(|(by, _)| *by);
        Share::TwoThirds.is_in(power_of(set, for_it), whole(set))
    }

    /// True when more than two thirds voted at all.
    pub(super) fn came_in(&self, set: &ValidatorSet, at: (Round, VoteKind)) -> bool {
        let all = self.list(at.0, at.1).iter().map(|(by, _)| *by);
        Share::TwoThirds.is_in(power_of(set, all), whole(set))
    }

    /// True when members with more than a third voted in this round, for whatever, each counted once.
    pub(super) fn are_there(&self, set: &ValidatorSet, round: Round) -> bool {
        let kinds = [VoteKind::Prevote, VoteKind::Precommit];
        let all = kinds.into_iter().flat_map(|kind| self.list(round, kind)).map(|(by, _)| *by);
        u128::from(power_of(set, all)) * 3 > u128::from(whole(set))
    }

    /// True when this member was heard to vote for this.
    pub(super) fn voted(&self, at: (Round, VoteKind), by: u32, block: Option<BlockId>) -> bool {
        self.list(at.0, at.1).contains(&(by, block))
    }

    /// The rounds in which there were prevotes.
    pub(super) fn prevoted(&self) -> impl Iterator<Item = Round> + '_ {
        self.lists.iter().filter(|((_, kind), _)| *kind == VoteKind::Prevote).map(|((round, _), _)| *round)
    }
}

/// A proposal that was heard or signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) round: Round,
    pub(super) block: BlockId,
    pub(super) pol_round: Option<Round>,
    pub(super) by: Option<crate::types::Address>,
}

/// What one node was told of one height and signed there, in all its lives. What it knows is never more than this:
/// a journal holds only what was heard or signed before. It may be less: what was not synced is lost in a crash.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) proposals: Vec<Told>,
    pub(super) votes: Votes,
    pub(super) accepted: Vec<BlockId>,
    pub(super) rejected: Vec<BlockId>,
}

/// What each honest node knows of the height it is at, and of the next ones.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    nodes: PerNode<Vec<(Height, Known)>>,
}

/// Machines keep what is said of the next height at most; one more, in case the world says late that a height began.
const KNOWN_AHEAD: u64 = 2;

impl Knowledge {
    /// Takes in what a node is told, and what it signs.
    pub(super) fn see(&mut self, scene: &Scene, seen: &Seen<'_>) {
        match seen.what {
            What::Began { height, .. } => self.begin(seen.node, height),
            What::Heard { word, .. } | What::Signed(word) => self.hear(scene, seen.node, &word),
            What::Checked { block, accepted } => {
                let height = self.height(scene, seen.node);
                let Some(known) = self.open(scene, seen.node, height) else { return };
                let judged = if accepted { &mut known.accepted } else { &mut known.rejected };
                if !judged.contains(&block.id()) {
                    judged.push(block.id());
                }
            }
            _ => {}
        }
    }

    /// What a node knows of a height.
    pub(super) fn of(&self, node: NodeNr, height: Height) -> Option<&Known> {
        self.nodes.get(node)?.iter().find(|(at, _)| *at == height).map(|(_, known)| known)
    }

    /// The height a node is at.
    pub(super) fn height(&self, scene: &Scene, node: NodeNr) -> Height {
        self.nodes.get(node).and_then(|heights| heights.first()).map_or(scene.initial_height, |(height, _)| *height)
    }

    fn begin(&mut self, node: NodeNr, height: Height) {
        let heights = self.nodes.of(node);
        heights.retain(|(at, _)| *at >= height);
        if heights.first().is_none_or(|(at, _)| *at != height) {
            heights.insert(0, (height, Known::default()));
        }
    }

    fn open(&mut self, scene: &Scene, node: NodeNr, height: Height) -> Option<&mut Known> {
        let current = self.height(scene, node);
        if height < current || height.get() > current.get().saturating_add(KNOWN_AHEAD) {
            return None;
        }
        let heights = self.nodes.of(node);
        if heights.is_empty() {
            heights.push((current, Known::default()));
        }
        let at = match heights.binary_search_by_key(&height, |(at, _)| *at) {
            Ok(at) => at,
            Err(at) => {
                heights.insert(at, (height, Known::default()));
                at
            }
        };
        Some(&mut heights[at].1)
    }

    fn hear(&mut self, scene: &Scene, node: NodeNr, word: &Word<'_>) {
        match word {
            Word::Proposal { by, proposal } => {
                let Proposal { height, round, pol_round, block_id, .. } = **proposal;
                let Some(known) = self.open(scene, node, height) else { return };
                let told = Told { round, block: block_id, pol_round, by: *by };
                if !known.proposals.contains(&told) {
                    known.proposals.push(told);
                }
            }
            Word::Vote(vote) => {
                if let Some(known) = self.open(scene, node, vote.height) {
                    known.votes.add(vote);
                }
            }
            Word::Part { .. } | Word::Statement(_) | Word::Commit(_) => {}
        }
    }
}
