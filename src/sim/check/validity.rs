//! Validity: what is decided was proposed by the member whose turn it was, accepted by somebody honest, follows the block
//! before it, and holds what clients gave and nothing else.

use super::book::{PerHeight, Sets};
use super::rotation::Rotation;
use crate::sim::{Checker, Conduct, Level, Lie, Misfortune, NodePlan, Scene, Seen, What, Word, tx_number};
use crate::types::{
    Address, Algorithm, BlockId, CandidateBlock, ExtendedCommit, Height, Proposal, Round, Time, VoteKind,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What was proposed and accepted at the heights that are open, and the last block.
#[derive(Debug, Default)]
pub struct Validity {
    sets: Sets,
    rotations: PerHeight<Option<Rotation>>,
    /// As honest nodes heard or signed them.
    proposed: Vec<(Height, Round, BlockId)>,
    /// By honest nodes, and the blocks' times.
    accepted: Vec<(BlockId, Time)>,
    last: Option<(Height, BlockId, Time)>,
    submitted: BTreeSet<u64>,
}

impl Checker for Validity {
    fn name(&self) -> &'static str {
        "validity"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        if let What::Submitted { tx } = seen.what {
            self.submitted.insert(tx);
        }
        if !scene.is_honest(seen.node) {
            return Ok(());
        }
        match seen.what {
            What::Began { height, .. } => {
                self.sets.see(scene, seen);
                return self.turn(scene, height);
            }
            What::Signed(Word::Proposal { proposal, .. }) => {
                self.may_propose(scene, scene.addresses.get(seen.node.index()), proposal)?;
                self.note(scene, proposal);
            }
            What::Heard { word: Word::Proposal { by, proposal }, .. } => {
                if scene.plan.algorithm == Algorithm::Pbft {
                    // What a liar says of views that are not its own is heard, and dropped.
                    if self.may_propose(scene, by.as_ref(), proposal).is_err() {
                        return Ok(());
                    }
                }
                self.note(scene, proposal);
            }
            What::Checked { block, accepted: true } if !self.accepted.iter().any(|(id, _)| *id == block.id()) => {
                self.accepted.push((block.id(), block.block().header.time));
            }
            What::Signed(Word::Vote(vote)) if vote.kind == VoteKind::Precommit => {
                let block = self.accepted.iter().find(|(id, _)| Some(*id) == vote.block_id);
                if block.is_some_and(|(_, time)| vote.timestamp <= *time) {
                    return Err(format!("a precommit that is not later than its block, of {block:?}: {vote:?}"));
                }
            }
            What::Decided { block, commit } if self.last.is_none_or(|(last, ..)| last < commit.height) => {
                return self.decide(scene, block, commit);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Validity {
    /// Whose turn it is at this height, from the height before.
    fn turn(&mut self, scene: &Scene, height: Height) -> Result<(), String> {
        if self.rotations.get(scene, height).is_some_and(Option::is_some) {
            return Ok(());
        }
        let Some(set) = self.sets.at(scene, height) else { return Ok(()) };
        let before = height.previous().and_then(|before| self.rotations.get(scene, before)?.as_ref());
        // Alone, machines have an application whose changes come one after the other, more than one in a block.
        let changes = scene.plan.faults.iter().any(|fault| matches!(fault.what, Misfortune::Power { .. }));
        let stays = scene.plan.level == Level::Whole || !changes;
        let rotation = match before {
            Some(before) if stays => before.follow(set),
            Some(_) => Rotation::adopt(set),
            None if height == scene.initial_height => Rotation::first(set),
            None => return Ok(()),
        };
        if scene.plan.algorithm == Algorithm::Tendermint && !rotation.is_of(set) {
            return Err(format!(
                "at height {height} the priorities are {:?}, and should be {rotation:?}",
                set.members()
            ));
        }
        if let Some(slot) = self.rotations.of(scene, height) {
            *slot = Some(rotation);
        }
        Ok(())
    }

    /// The right to propose: in Tendermint it goes round by power, in PBFT the view names the primary (§4.1). Who leads a
    /// term of Raft is judged elsewhere.
    fn may_propose(&self, scene: &Scene, by: Option<&Address>, proposal: &Proposal) -> Result<(), String> {
        let Some(wanted) = self.proposer(scene, proposal.height, proposal.round) else { return Ok(()) };
        match by {
            Some(by) if *by != wanted => Err(format!("{by} proposes, and it is the turn of {wanted}: {proposal:?}")),
            _ => Ok(()),
        }
    }

    fn proposer(&self, scene: &Scene, height: Height, round: Round) -> Option<Address> {
        match scene.plan.algorithm {
            Algorithm::Tendermint => Some(self.rotations.get(scene, height)?.as_ref()?.proposer(round.get())),
            Algorithm::Pbft => {
                let members = self.sets.at(scene, height)?.members();
                members.get(round.get() as usize % members.len()).map(|member| member.address)
            }
            Algorithm::Raft => None,
        }
    }

    /// Proposals for the open height and the next one; what is further away nobody takes.
    fn note(&mut self, scene: &Scene, proposal: &Proposal) {
        let entry = (proposal.height, proposal.round, proposal.block_id);
        let open = self.last.map_or(scene.initial_height, |(last, ..)| last.next());
        if (open..=open.next()).contains(&proposal.height) && !self.proposed.contains(&entry) {
            self.proposed.push(entry);
        }
    }

    /// The first decision of a height.
    fn decide(&mut self, scene: &Scene, block: &Arc<CandidateBlock>, commit: &ExtendedCommit) -> Result<(), String> {
        let (height, id, header) = (commit.height, block.id(), &block.block().header);
        let wrong = |why: String| Err(format!("block {height} {why}"));
        if header.height != height || header.chain_id != scene.chain_id {
            return wrong(format!("says that it is block {} of {}", header.height, header.chain_id));
        }
        if !self.proposed.contains(&(height, commit.round, id)) {
            return wrong(format!("was decided in round {}, where nobody honest saw it proposed", commit.round));
        }
        if !self.accepted.iter().any(|(accepted, _)| *accepted == id) {
            return wrong("was decided, and nobody honest accepted it".to_owned());
        }
        let before = self.last.map(|(last, id, _)| (last.next(), id));
        let expected = before.map_or((scene.initial_height, None), |(next, id)| (next, Some(id)));
        if (height, header.last_block_id) != expected {
            return wrong(format!("follows {:?}, and {expected:?} comes next", header.last_block_id));
        }
        if self.last.is_some_and(|(_, _, time)| header.time <= time) {
            return wrong(format!("is of {:?}, which is not after the block before", header.time));
        }
        self.origin(scene, commit, header.proposer_address)?;
        // A liar puts into blocks what it likes, also where it proposes again what another made, in that one's name; and one
        // that floods gives to others what no client gave it.
        let floods = |node: &NodePlan| matches!(&node.conduct, Conduct::Liar(lies) if lies.contains(&Lie::Flood));
        let lies = |by: Address| !scene.is_honest_address(&by);
        let by_liar = |(at, round, of): &(Height, Round, BlockId)| {
            (*at, *of) == (height, id) && self.proposer(scene, height, *round).is_some_and(lies)
        };
        let free =
            lies(header.proposer_address) || self.proposed.iter().any(by_liar) || scene.plan.nodes.iter().any(floods);
        let unknown = |tx: &u64| !free && !self.submitted.contains(tx);
        let txs = &block.block().txs;
        if let Some(tx) = txs.iter().filter_map(|tx| tx_number(tx.bytes())).find(unknown) {
            return wrong(format!("has transaction {tx}, which no client gave to anybody"));
        }
        self.last = Some((height, id, header.time));
        self.proposed.retain(|(at, ..)| *at > height);
        self.accepted.clear();
        Ok(())
    }

    /// Who made the block was a member, and in Tendermint it was its turn in that round or an earlier one.
    fn origin(&self, scene: &Scene, commit: &ExtendedCommit, maker: Address) -> Result<(), String> {
        let Some(set) = self.sets.at(scene, commit.height) else { return Ok(()) };
        let rotation = self.rotations.get(scene, commit.height).and_then(Option::as_ref);
        let right = match (scene.plan.algorithm, rotation) {
            (Algorithm::Tendermint, Some(rotation)) => {
                (0..=commit.round.get()).rev().any(|round| rotation.proposer(round) == maker)
            }
            _ => set.members().iter().any(|member| member.address == maker),
        };
        if right {
            return Ok(());
        }
        Err(format!("block {} was made by {maker}, whose turn it was not", commit.height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::NodeNr;
    use crate::sim::check::story::{Stage, block_of, commit, proposal};

    fn stage(algorithm: Algorithm) -> Stage<Validity> {
        let mut stage = Stage::of(algorithm, 4, Validity::default());
        stage.begin(0, 1);
        stage
    }

    fn maker(stage: &Stage<Validity>, node: u8) -> Address {
        stage.scene.addresses[usize::from(node)]
    }

    /// The block of height 1 by whose turn it is, proposed and accepted.
    fn first(stage: &mut Stage<Validity>, txs: &[&str]) -> Arc<CandidateBlock> {
        let proposer = if stage.scene.plan.algorithm == Algorithm::Pbft { stage.primary(0) } else { stage.proposer(0) };
        let block = block_of(1, "a", None, maker(stage, proposer), txs);
        stage.proposes(proposer, &proposal(proposer, 1, 0, block.id(), None));
        stage.accepts(0, &block);
        block
    }

    fn decide(stage: &mut Stage<Validity>, block: &Arc<CandidateBlock>, at: (u64, u32)) -> Result<(), String> {
        let commit = commit(&stage.scene, at.0, at.1, block.id(), &[0, 1, 2]);
        stage.see(0, What::Decided { block, commit: &commit })
    }

    #[test]
    fn a_proposed_and_accepted_block_with_submitted_transactions_and_the_next_one_are_fine() {
        for algorithm in Algorithm::ALL {
            let mut stage = stage(algorithm);
            stage.fine(2, What::Submitted { tx: 7 });
            let one = first(&mut stage, &["7=x", "power=3"]);
            assert_eq!(decide(&mut stage, &one, (1, 0)), Ok(()));
            stage.begin(0, 2);
            let set = stage.set_at(2);
            let by = if algorithm == Algorithm::Pbft { set.members()[0].address } else { set.proposer().address };
            let node = stage.scene.node_of(&by).expect("a node").0;
            let two = block_of(2, "b", Some(one.id()), by, &[]);
            stage.hears_proposal((node + 1) % 4, node, &proposal(node, 2, 0, two.id(), None));
            stage.accepts(0, &two);
            assert_eq!(decide(&mut stage, &two, (2, 0)), Ok(()));
        }
    }

    #[test]
    fn a_proposal_out_of_turn_is_caught_in_tendermint_and_pbft() {
        for algorithm in [Algorithm::Tendermint, Algorithm::Pbft] {
            let mut stage = stage(algorithm);
            let right = if algorithm == Algorithm::Pbft { stage.primary(1) } else { stage.proposer(1) };
            let wrong = (right + 1) % 4;
            let block = block_of(1, "a", None, maker(&stage, wrong), &[]);
            let out_of_turn = proposal(wrong, 1, 1, block.id(), None);
            let word = Word::Proposal { by: None, proposal: &out_of_turn };
            assert!(stage.wrong(wrong, What::Signed(word)).contains("turn"));
            stage.fine(right, What::Signed(word));
        }
    }

    /// Seed 1795477500009370 of Tendermint, level 2: in its round a liar changed the block it had to propose again.
    #[test]
    fn a_liar_may_put_what_it_likes_into_a_block_in_the_name_of_another_and_the_honest_may_not() {
        for (round, fine) in [(1, true), (0, false)] {
            let turn = |round| stage(Algorithm::Tendermint).proposer(round);
            let mut stage = Stage::of(Algorithm::Tendermint, 4, Validity::default()).with_liar(turn(1));
            stage.begin((turn(1) + 1) % 4, 1);
            let block = block_of(1, "a", None, maker(&stage, turn(0)), &["7=x"]);
            stage.hears_proposal((turn(1) + 1) % 4, turn(round), &proposal(turn(round), 1, round, block.id(), None));
            stage.accepts((turn(1) + 1) % 4, &block);
            let commit = commit(&stage.scene, 1, round, block.id(), &[0, 1, 2]);
            let told = stage.see((turn(1) + 1) % 4, What::Decided { block: &block, commit: &commit });
            assert_eq!(told.is_ok(), fine, "{told:?}");
        }
    }

    #[test]
    fn a_block_nobody_proposed_in_that_round_or_nobody_accepted_is_caught() {
        let mut stage = stage(Algorithm::Tendermint);
        let proposer = stage.proposer(0);
        let block = block_of(1, "a", None, maker(&stage, proposer), &[]);
        stage.accepts(0, &block);
        assert!(decide(&mut stage, &block, (1, 0)).unwrap_err().contains("proposed"));
        stage.proposes(proposer, &proposal(proposer, 1, 0, block.id(), None));
        assert!(decide(&mut stage, &block, (1, 1)).unwrap_err().contains("proposed"));
        let other = block_of(1, "b", None, maker(&stage, proposer), &[]);
        stage.hears_proposal(1, proposer, &proposal(proposer, 1, 0, other.id(), None));
        stage.fine(1, What::Checked { block: &other, accepted: false });
        assert!(decide(&mut stage, &other, (1, 0)).unwrap_err().contains("accepted"));
    }

    #[test]
    fn a_block_that_does_not_follow_the_one_before_is_caught() {
        let mut stage = stage(Algorithm::Raft);
        let one = first(&mut stage, &[]);
        assert_eq!(decide(&mut stage, &one, (1, 0)), Ok(()));
        let by = maker(&stage, 0);
        let elsewhere = block_of(9, "z", None, by, &[]).id();
        for (height, last) in [(2, None), (2, Some(elsewhere)), (3, Some(one.id()))] {
            let two = block_of(height, "b", last, by, &[]);
            stage.hears_proposal(1, 0, &proposal(0, height, 0, two.id(), None));
            stage.accepts(0, &two);
            assert!(decide(&mut stage, &two, (height, 0)).unwrap_err().contains("follows"));
        }
    }

    #[test]
    fn a_block_that_says_another_height_than_it_has_is_caught() {
        let mut stage = stage(Algorithm::Raft);
        let block = block_of(2, "a", None, maker(&stage, 0), &[]);
        assert!(decide(&mut stage, &block, (1, 0)).unwrap_err().contains("says"));
    }

    #[test]
    fn a_transaction_nobody_gave_is_caught_unless_a_liar_made_the_block() {
        let mut honest = stage(Algorithm::Tendermint);
        let block = first(&mut honest, &["7=x"]);
        assert!(decide(&mut honest, &block, (1, 0)).unwrap_err().contains("transaction 7"));
        let lied_to = stage(Algorithm::Tendermint);
        let liar = lied_to.proposer(0);
        let mut lied_to = lied_to.with_liar(liar);
        let other = (liar + 1) % 4;
        let block = block_of(1, "a", None, maker(&lied_to, liar), &["7=x"]);
        lied_to.hears_proposal(other, liar, &proposal(liar, 1, 0, block.id(), None));
        lied_to.accepts(other, &block);
        let commit = commit(&lied_to.scene, 1, 0, block.id(), &[0, 1, 2]);
        lied_to.fine(other, What::Decided { block: &block, commit: &commit });
        let mut beside = stage(Algorithm::Tendermint).with_liar(other);
        let block = first(&mut beside, &["7=x"]);
        beside.accepts(liar, &block);
        assert!(beside.wrong(liar, What::Decided { block: &block, commit: &commit }).contains("transaction 7"));
    }

    #[test]
    fn a_block_made_by_one_whose_turn_never_came_is_caught() {
        let mut stage = stage(Algorithm::Tendermint);
        let (right, later) = (stage.proposer(0), stage.proposer(1));
        let block = block_of(1, "a", None, maker(&stage, later), &[]);
        stage.proposes(right, &proposal(right, 1, 0, block.id(), None));
        stage.accepts(0, &block);
        assert!(decide(&mut stage, &block, (1, 0)).unwrap_err().contains("made by"));
    }

    #[test]
    fn priorities_that_are_not_what_they_should_be_are_caught() {
        let mut stage = stage(Algorithm::Tendermint);
        let twice = stage.set_at(3);
        assert!(stage.wrong(0, What::Began { height: Height::new(2), validators: &twice }).contains("priorities"));
    }

    #[test]
    fn what_a_liar_says_in_a_view_it_does_not_lead_is_not_taken_for_a_proposal() {
        let mut stage = stage(Algorithm::Pbft).with_liar(3);
        let liar = (0..4).find(|node| *node != stage.primary(0)).expect("one");
        let block = block_of(1, "a", None, maker(&stage, liar), &[]);
        let told = proposal(liar, 1, 0, block.id(), None);
        let by = Some(maker(&stage, liar));
        let honest = (0..3).find(|node| *node != liar).expect("one");
        let word = Word::Proposal { by, proposal: &told };
        stage.fine(honest, What::Heard { from: NodeNr(liar), word });
        stage.accepts(honest, &block);
        assert!(decide(&mut stage, &block, (1, 0)).unwrap_err().contains("proposed"));
    }

    #[test]
    fn a_precommit_that_is_not_later_than_its_block_is_caught() {
        let mut stage = stage(Algorithm::Raft);
        let block = first(&mut stage, &[]);
        let mut vote = crate::sim::check::story::precommit(&stage.scene, 1, (1, 0), Some(block.id()));
        let time = block.block().header.time;
        vote.timestamp = time;
        assert!(stage.wrong(1, What::Signed(Word::Vote(&vote))).contains("not later"));
        vote.timestamp = time.plus(std::time::Duration::from_millis(1));
        stage.signs(1, &vote);
    }
}
