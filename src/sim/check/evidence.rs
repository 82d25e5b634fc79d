//! Evidence: whoever signs two votes for one step is found out by everybody who was told both, it is on the chain soon
//! after, once; and nobody honest is ever accused.

use super::book::{PerNode, Sets, Votes};
use crate::consensus::Tick;
use crate::sim::{Checker, End, Harm, Level, NodeNr, Scene, Seen, What, Word};
use crate::types::{
    Address, Algorithm, CandidateBlock, Evidence as Piece, EvidenceKey, Height, Round, Time, Vote, VoteKind,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// An accusation follows the second half at once; in whole replicas it follows the block of that height, whose time is
/// part of the evidence. An application or a disk may take its time.
const SOON: Duration = Duration::from_secs(1);
/// Evidence is on the chain so many heights after somebody honest had it, or after healing: in Tendermint an honest
/// member proposes at least once in this many heights, as liars have less than a third of the turns. Under PBFT a liar
/// may stay primary: there the blocks of honest primaries count.
const HEIGHTS_MAX: u64 = 6;

/// Who voted twice, as far as anybody honest was told.
#[derive(Debug, Default)]
pub struct Evidence {
    sets: Sets,
    nodes: PerNode<Ears>,
    /// On the chain.
    proven: BTreeSet<EvidenceKey>,
    proven_offences: BTreeSet<Offence>,
    /// Not yet.
    owed: Vec<Owed>,
    decided: Height,
    /// The time of that block.
    time: Option<Time>,
    healed: bool,
}

/// Evidence that somebody has.
#[derive(Debug)]
struct Owed {
    offence: Offence,
    /// From here on it is due.
    since: Height,
    /// Blocks since then that should have had it.
    chances: u64,
    node: NodeNr,
    /// When it was said. What is stored later than that is lost in a crash at this very moment.
    at: Tick,
}

/// A member, and the step it voted in twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Offence {
    by: Address,
    height: Height,
    round: Round,
    kind: VoteKind,
}

impl Offence {
    fn of(vote: &Vote) -> Offence {
        let Vote { validator_address: by, height, round, kind, .. } = *vote;
        Offence { by, height, round, kind }
    }
}

/// What one node was told of the height it is at, in this life.
#[derive(Debug, Default)]
struct Ears {
    height: Height,
    open: Open,
    votes: Votes,
    /// The round it is in at least: the last one it signed in. A view of PBFT goes on over heights and crashes: none until
    /// it says in which it is.
    round: Option<Round>,
    accused: Vec<Offence>,
    /// Both halves were told, one offence at a time: since when the accusation is due, once that is so.
    due: Option<(Offence, Option<Tick>)>,
}

/// Whether the node still counts votes of its height.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Open {
    #[default]
    No,
    Yes,
}

impl Checker for Evidence {
    fn name(&self) -> &'static str {
        "evidence"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        if matches!(seen.what, What::Healed) {
            self.healed = true;
        }
        if !scene.is_honest(seen.node) {
            return Ok(());
        }
        let node = seen.node;
        match seen.what {
            What::Began { height, .. } => {
                self.sets.see(scene, seen);
                let ears = self.nodes.of(node);
                let due = ears.due.filter(|_| scene.plan.level == Level::Whole);
                let round = if scene.plan.algorithm == Algorithm::Pbft { ears.round } else { Some(Round::ZERO) };
                *ears = Ears { height, open: Open::Yes, round, due, ..Ears::default() };
            }
            What::Started { .. } | What::Crashed { .. } => {
                *self.nodes.of(node) = Ears::default();
                self.owed.retain(|owed| owed.node != node || owed.at < seen.at);
            }
            // What was on its disk may be lost.
            What::Wiped | What::DiskFailed { .. } | What::Harmed { what: Harm::Home } => {
                self.owed.retain(|owed| owed.node != node)
            }
            What::Heard { word: Word::Vote(vote), .. } => return self.hear(scene, node, seen.at, vote),
            What::Signed(Word::Vote(vote)) => {
                let ears = self.nodes.of(node);
                if ears.height == vote.height {
                    ears.round = ears.round.max(Some(vote.round));
                }
            }
            What::Signed(Word::Statement(statement)) if scene.plan.algorithm == Algorithm::Pbft => {
                let ears = self.nodes.of(node);
                ears.round = ears.round.max(statement.body.round());
            }
            What::Applied { height, .. } => {
                if let Some((offence, since)) = &mut self.nodes.of(node).due
                    && offence.height <= height
                {
                    since.get_or_insert(seen.at);
                }
            }
            What::Accused { first, second } => return self.accuse(scene, (node, seen.at), first, second),
            What::Decided { block, commit } => {
                self.nodes.of(node).open = Open::No;
                if commit.height > self.decided {
                    self.decided = commit.height;
                    let before = self.time.replace(block.block().header.time);
                    return self.prove(scene, block, before);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, scene: &Scene, end: End) -> Result<(), String> {
        scene.honest().try_for_each(|node| {
            let ears = self.nodes.of(node);
            ears.due = ears.due.filter(|(due, _)| !self.proven_offences.contains(due));
            ears.check(end.at())
        })
    }
}

impl Ears {
    /// What is due has been said.
    fn check(&self, now: Tick) -> Result<(), String> {
        match self.due {
            Some((offence, Some(since))) if now.since(since) > SOON => {
                Err(format!("it was told both votes of {offence:?}, and accuses nobody"))
            }
            _ => Ok(()),
        }
    }
}

impl Evidence {
    /// Votes that any machine counts: of the open height, in the round at hand or a little below. Precommits with
    /// extensions are first shown to the application; where they lack them they do not count.
    fn hear(&mut self, scene: &Scene, node: NodeNr, now: Tick, vote: &Vote) -> Result<(), String> {
        if scene.is_honest_address(&vote.validator_address) {
            return Ok(());
        }
        let ears = self.nodes.of(node);
        // Who heard of it from others, or finds it on the chain, need not accuse.
        ears.due = ears.due.filter(|(due, _)| !self.proven_offences.contains(due));
        ears.check(now)?;
        let seat = self.sets.at(scene, vote.height).and_then(|set| set.members().get(vote.validator_index as usize));
        if seat.is_none_or(|member| member.address != vote.validator_address) {
            return Ok(());
        }
        let counts = ears.open == Open::Yes
            && vote.height == ears.height
            && ears.round.is_some_and(|at| vote.round <= at && vote.round.get() + ROUNDS_BEHIND >= at.get())
            && vote.extension_signature.is_none()
            && !(scene.extends(vote.height) && vote.kind == VoteKind::Precommit && vote.block_id.is_some())
            && (vote.block_id.is_some() || scene.plan.algorithm == Algorithm::Tendermint);
        let offence = Offence::of(vote);
        if counts && ears.votes.add(vote) && !ears.accused.contains(&offence) && ears.due.is_none() {
            let at_once = scene.plan.level == Level::Bare;
            ears.due = Some((offence, at_once.then_some(now)));
        }
        Ok(())
    }

    fn accuse(&mut self, scene: &Scene, by: (NodeNr, Tick), first: &Vote, second: &Vote) -> Result<(), String> {
        let (node, at) = by;
        let offence = Offence::of(first);
        if offence != Offence::of(second) || first.block_id == second.block_id {
            return Err(format!("no contradiction: {first:?}, {second:?}"));
        }
        if scene.is_honest_address(&offence.by) {
            return Err(format!("{} is accused, and signed one thing only: {first:?}, {second:?}", offence.by));
        }
        let ears = self.nodes.of(node);
        if !ears.accused.contains(&offence) {
            ears.accused.push(offence);
        }
        ears.due = ears.due.filter(|(due, _)| *due != offence);
        if scene.plan.level == Level::Whole && !self.proven_offences.contains(&offence) {
            self.owed.push(Owed { offence, since: self.decided.max(offence.height), chances: 0, node, at });
        }
        Ok(())
    }

    /// True when a piece had expired before this block: by blocks and by time, the block before being of that time.
    fn is_stale(&self, scene: &Scene, piece: &Piece, before: Time) -> bool {
        let (height, time) = match piece {
            Piece::DuplicateVote(pair) => (pair.vote_a.height, pair.timestamp),
            Piece::LightClientAttack(attack) => (attack.common_height, attack.timestamp),
        };
        let blocks = (self.decided.get() - 1).saturating_sub(height.get());
        let nanos = before.unix_nanos() - time.unix_nanos();
        let (most_blocks, longest) = (scene.evidence.max_age_num_blocks, scene.evidence.max_age_duration);
        blocks > most_blocks && nanos > longest.as_nanos() as i128
    }

    /// What a block proves.
    fn prove(&mut self, scene: &Scene, block: &CandidateBlock, before: Option<Time>) -> Result<(), String> {
        for piece in &block.block().evidence {
            if before.is_some_and(|before| self.is_stale(scene, piece, before)) {
                return Err(format!("block {} has evidence that is too old: {piece:?}", self.decided));
            }
            if !self.proven.insert(piece.key()) {
                return Err(format!("block {} proves again {:?}", self.decided, piece.key()));
            }
            match piece {
                Piece::DuplicateVote(pair) => {
                    let offence = Offence::of(&pair.vote_a);
                    let contradicts =
                        offence == Offence::of(&pair.vote_b) && pair.vote_a.block_id != pair.vote_b.block_id;
                    if !contradicts || scene.is_honest_address(&offence.by) {
                        return Err(format!("block {} has false evidence: {pair:?}", self.decided));
                    }
                    self.proven_offences.insert(offence);
                    self.owed.retain(|owed| owed.offence != offence);
                }
                Piece::LightClientAttack(attack) => {
                    let mut named = attack.byzantine_validators.iter();
                    if let Some(honest) = named.find(|member| scene.is_honest_address(&member.address)) {
                        return Err(format!("block {} has evidence against {}", self.decided, honest.address));
                    }
                }
            }
        }
        // What got too old meanwhile nobody may prove any more.
        let decided = self.decided.get();
        let age = scene.evidence.max_age_num_blocks;
        self.owed.retain(|owed| decided <= owed.offence.height.get().saturating_add(age));
        let honest = scene.is_honest_address(&block.block().header.proposer_address);
        if self.healed && (honest || scene.plan.algorithm == Algorithm::Tendermint) {
            let due = |owed: &&mut Owed| owed.since.get() < decided;
            self.owed.iter_mut().filter(due).for_each(|owed| owed.chances += 1);
        }
        match self.owed.iter().find(|owed| owed.chances > HEIGHTS_MAX) {
            Some(Owed { offence, since, node, .. }) => Err(format!(
                "node {} has evidence of {offence:?} since height {since}, and at {} it is not on the chain",
                node.0, self.decided
            )),
            None => Ok(()),
        }
    }
}

/// Machines keep the votes of more rounds below theirs than this.
const ROUNDS_BEHIND: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::story::{Stage, block, block_of, block_with, commit, pbft, precommit, prevote};
    use crate::types::{BlockId, DuplicateVoteEvidence, PbftStatement};

    /// Node 3 lies, node 0 is watched.
    fn stage() -> Stage<Evidence> {
        let mut stage = Stage::of(Algorithm::Tendermint, 4, Evidence::default()).with_liar(3);
        stage.begin(0, 1);
        stage
    }

    fn id(tag: &str) -> BlockId {
        block(1, tag).id()
    }

    fn two(scene: &Scene, node: u8) -> (Vote, Vote) {
        (prevote(scene, node, (1, 0), Some(id("a"))), prevote(scene, node, (1, 0), None))
    }

    fn piece(scene: &Scene, node: u8) -> Piece {
        let (one, other) = two(scene, node);
        let pair = DuplicateVoteEvidence::new(one, other, Time::UNIX_EPOCH, &scene.validators);
        Piece::DuplicateVote(Box::new(pair.expect("a contradiction")))
    }

    fn decide(stage: &mut Stage<Evidence>, height: u64, evidence: Vec<Piece>) -> Result<(), String> {
        let decided = block_with(height, evidence);
        let commit = commit(&stage.scene, height, 0, decided.id(), &[0, 1, 2]);
        stage.see(0, What::Decided { block: &decided, commit: &commit })
    }

    #[test]
    fn both_halves_an_accusation_and_evidence_on_the_chain_are_fine() {
        let mut stage = stage();
        let scene = stage.scene.clone();
        let (one, other) = two(&scene, 3);
        stage.fine(0, What::Healed);
        stage.hears_vote(0, 3, &one);
        stage.hears_vote(0, 2, &other);
        stage.fine(0, What::Accused { first: &one, second: &other });
        stage.wait(SOON * 2);
        stage.hears_vote(0, 3, &precommit(&scene, 3, (1, 0), None));
        for height in 1..30 {
            let proof = if height == 5 { vec![piece(&scene, 3)] } else { Vec::new() };
            assert_eq!(decide(&mut stage, height, proof), Ok(()));
        }
        assert_eq!(stage.done(), Ok(()));
    }

    #[test]
    fn an_equivocator_that_nobody_accuses_is_caught() {
        let mut stage = stage();
        stage.scene.plan.level = Level::Bare;
        let scene = stage.scene.clone();
        let (one, other) = two(&scene, 3);
        stage.hears_vote(0, 3, &one);
        stage.hears_vote(0, 3, &other);
        stage.wait(SOON * 2);
        let next = precommit(&scene, 3, (1, 0), None);
        let heard = What::Heard { from: NodeNr(3), word: Word::Vote(&next) };
        assert!(stage.wrong(0, heard).contains("accuses nobody"));
        assert!(stage.done().is_err());
    }

    #[test]
    fn a_whole_replica_accuses_once_the_height_has_a_time() {
        let mut stage = stage();
        stage.scene.plan.level = Level::Whole;
        let scene = stage.scene.clone();
        let (one, other) = two(&scene, 3);
        stage.hears_vote(0, 3, &one);
        stage.hears_vote(0, 3, &other);
        stage.wait(SOON * 2);
        stage.hears_vote(0, 3, &precommit(&scene, 3, (1, 0), None));
        stage.apply(0, 1, id("a"), "state");
        stage.begin(0, 2);
        stage.wait(SOON * 2);
        let next = prevote(&scene, 3, (2, 0), None);
        let heard = What::Heard { from: NodeNr(3), word: Word::Vote(&next) };
        assert!(stage.wrong(0, heard).contains("accuses nobody"));
        stage.fine(0, What::Accused { first: &one, second: &other });
        stage.hears_vote(0, 3, &next);
    }

    #[test]
    fn who_crashed_before_it_could_accuse_owes_nothing() {
        let mut stage = stage();
        let scene = stage.scene.clone();
        let (one, other) = two(&scene, 3);
        stage.hears_vote(0, 3, &one);
        stage.hears_vote(0, 3, &other);
        stage.fine(0, What::Crashed { unsynced: crate::sim::Unsynced::Lost });
        stage.wait(SOON * 2);
        assert_eq!(stage.done(), Ok(()));
    }

    #[test]
    fn an_accusation_of_the_honest_and_one_of_nothing_are_caught() {
        let mut stage = stage();
        let scene = stage.scene.clone();
        let (one, other) = two(&scene, 2);
        assert!(stage.wrong(0, What::Accused { first: &one, second: &other }).contains("signed one thing"));
        let (one, _) = two(&scene, 3);
        assert!(stage.wrong(0, What::Accused { first: &one, second: &one }).contains("no contradiction"));
        let later = precommit(&scene, 3, (1, 0), None);
        assert!(stage.wrong(0, What::Accused { first: &one, second: &later }).contains("no contradiction"));
    }

    #[test]
    fn evidence_against_the_honest_and_evidence_twice_are_caught() {
        let mut stage = stage();
        let scene = stage.scene.clone();
        assert!(decide(&mut stage, 1, vec![piece(&scene, 2)]).unwrap_err().contains("false"));
        assert_eq!(decide(&mut stage, 2, vec![piece(&scene, 3)]), Ok(()));
        assert!(decide(&mut stage, 3, vec![piece(&scene, 3)]).unwrap_err().contains("again"));
    }

    #[test]
    fn evidence_that_is_too_old_by_blocks_and_by_time_is_caught() {
        for (most_blocks, longest, fine) in [(5, 0, false), (50, 0, true), (5, u64::MAX, true)] {
            let mut stage = stage();
            stage.scene.evidence.max_age_num_blocks = most_blocks;
            stage.scene.evidence.max_age_duration = Duration::from_secs(longest);
            let scene = stage.scene.clone();
            for height in 1..10 {
                assert_eq!(decide(&mut stage, height, Vec::new()), Ok(()));
            }
            let told = decide(&mut stage, 10, vec![piece(&scene, 3)]);
            assert_eq!(told.is_ok(), fine, "{most_blocks} blocks, {longest} s: {told:?}");
        }
    }

    #[test]
    fn evidence_that_does_not_get_onto_the_chain_is_caught() {
        let mut stage = stage();
        let scene = stage.scene.clone();
        let (one, other) = two(&scene, 3);
        stage.fine(0, What::Accused { first: &one, second: &other });
        stage.fine(0, What::Healed);
        let told: Vec<bool> = (1..14).map(|height| decide(&mut stage, height, Vec::new()).is_ok()).collect();
        assert_eq!(told.iter().filter(|fine| **fine).count(), 1 + HEIGHTS_MAX as usize);
    }

    /// Seed 102000041 of PBFT: in view 10 it was told two votes of view 0, which nobody counts any more.
    #[test]
    fn who_goes_on_in_a_late_view_need_not_accuse_who_votes_twice_in_a_view_long_gone() {
        for (says, late) in [(Some(10), true), (Some(1), false), (None, true)] {
            let mut stage = Stage::of(Algorithm::Pbft, 4, Evidence::default()).with_liar(3);
            stage.scene.plan.level = Level::Bare;
            let scene = stage.scene.clone();
            stage.fine(0, What::Started { life: 1 });
            stage.begin(0, 1);
            if let Some(view) = says {
                let says = pbft(&scene, 0, status(view));
                stage.fine(0, What::Signed(Word::Statement(&says)));
            }
            for tag in ["a", "b"] {
                stage.hears_vote(0, 3, &prevote(&scene, 3, (1, 0), Some(id(tag))));
            }
            stage.wait(SOON * 2);
            assert_eq!(stage.done().is_ok(), late, "{says:?}");
        }
    }

    #[test]
    fn under_pbft_evidence_may_wait_for_an_honest_primary_and_no_longer() {
        for (primary, fine) in [(3, true), (2, false)] {
            let mut stage = Stage::of(Algorithm::Pbft, 4, Evidence::default()).with_liar(3);
            stage.scene.plan.level = Level::Whole;
            stage.begin(0, 1);
            let scene = stage.scene.clone();
            let vote = |tag| prevote(&scene, 3, (1, 0), Some(id(tag)));
            stage.fine(0, What::Accused { first: &vote("a"), second: &vote("b") });
            stage.fine(0, What::Healed);
            let told = (1..14).try_for_each(|height| {
                let decided = block_of(height, "a", None, scene.addresses[primary], &[]);
                let commit = commit(&stage.scene, height, 0, decided.id(), &[0, 1, 2]);
                stage.see(0, What::Decided { block: &decided, commit: &commit })
            });
            assert_eq!(told.is_ok(), fine, "{told:?}");
        }
    }

    fn status(view: u32) -> PbftStatement {
        PbftStatement::Status { view: Round::new(view), height: Height::new(1), active: true, proposal: None }
    }
}
