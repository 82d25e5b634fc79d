//! Raft's rules, judged once more (Ongaro and Ousterhout, extended version, figure 3; how it is done here:
//! docs/protocol/raft.md): one leader a term, elected by a majority; a vote only for a log at least as far; an
//! acknowledgement only for the entry of its term's leader; and what was chosen is what every later leader proposes.
//!
//! Never a false alarm: a replica's knowledge is never more than what it heard and signed in all its lives, and what is
//! known of its log is what it signed, which is never more than what its log has. Nobody lies in Raft's fault model.

use super::book::{Knowledge, PerHeight, PerNode, Sets, Share, power_of, same_people, whole};
use crate::sim::{Checker, NodeNr, Scene, Seen, What, Word};
use crate::types::{
    Address, BlockId, Election, Height, LogPosition, Proposal, RaftStatement, Round, Statement, StatementBody, Vote,
    VoteKind,
};
use std::collections::BTreeMap;

/// Who leads, and what stands in the logs.
#[derive(Debug, Default)]
pub struct RulesRaft {
    sets: Sets,
    knowledge: Knowledge,
    nodes: PerNode<State>,
    /// By term: who leads, and the height at which it was first seen to lead.
    leaders: BTreeMap<Round, Vec<(Address, Height)>>,
    log: PerHeight<Entry>,
}

/// What is known of one node's log and votes.
#[derive(Debug, Default)]
struct State {
    height: Height,
    /// The newest entry it acknowledged at this height.
    entry: Option<(Round, BlockId)>,
    /// Who asked for its vote, in which term, with which log.
    asked: Vec<(Round, Address, LogPosition)>,
    /// Who gave it a vote, in which term.
    ballots: Vec<(Round, Address)>,
    /// Its newest heartbeat.
    beat: Option<(Round, u64)>,
}

/// The open height of everybody's log.
#[derive(Debug, Default)]
struct Entry {
    proposed: Vec<(Round, BlockId)>,
    acknowledged: Vec<(Round, BlockId, u32)>,
    /// What a majority appended in one term: decided, whether anybody knows it or not.
    chosen: Option<(Round, BlockId)>,
}

impl Checker for RulesRaft {
    fn name(&self) -> &'static str {
        "rules_raft"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match seen.what {
            What::Started { .. } => self.nodes.of(seen.node).beat = None,
            What::Began { height, .. } => {
                self.sets.see(scene, seen);
                let state = self.nodes.of(seen.node);
                if state.height != height {
                    (state.height, state.entry) = (height, None);
                }
            }
            What::Heard { word: Word::Statement(statement), .. } => self.hear(seen.node, scene, statement),
            What::Signed(Word::Statement(statement)) => self.state(scene, seen.node, statement)?,
            What::Signed(Word::Proposal { proposal, .. }) => self.propose(scene, seen.node, proposal)?,
            What::Signed(Word::Vote(vote)) => self.acknowledge(scene, seen.node, vote)?,
            What::Decided { block, commit } => {
                let chosen = self.log.get(scene, commit.height).and_then(|entry| entry.chosen);
                if chosen.map(|(_, id)| id) != Some(block.id()) {
                    return Err(format!(
                        "height {}: {chosen:?} is chosen, and {:?} decided",
                        commit.height,
                        block.id()
                    ));
                }
            }
            _ => {}
        }
        self.knowledge.see(scene, seen);
        Ok(())
    }
}

fn opened(statement: &Statement) -> Option<&RaftStatement> {
    match &statement.body {
        StatementBody::Raft(body) => Some(body),
        StatementBody::Pbft(_) => None,
    }
}

impl RulesRaft {
    fn hear(&mut self, node: NodeNr, scene: &Scene, statement: &Statement) {
        let state = self.nodes.of(node);
        match opened(statement) {
            Some(RaftStatement::RequestVote { term, election, last }) if *election != Election::PreVote => {
                state.asked.retain(|(asked, ..)| asked.get().saturating_add(ASKED_TERMS) >= term.get());
                state.asked.push((*term, statement.by, *last));
            }
            Some(RaftStatement::Ballot { asked, election, candidate, granted: true, .. })
                if *election != Election::PreVote && scene.addresses.get(node.index()) == Some(candidate) =>
            {
                state.ballots.retain(|(term, _)| term >= asked);
                if !state.ballots.contains(&(*asked, statement.by)) {
                    state.ballots.push((*asked, statement.by));
                }
            }
            _ => {}
        }
    }

    fn state(&mut self, scene: &Scene, node: NodeNr, statement: &Statement) -> Result<(), String> {
        match opened(statement) {
            Some(RaftStatement::RequestVote { last, .. }) => {
                let state = self.nodes.of(node);
                let known = position(state);
                if last.height != state.height || *last < known {
                    return Err(format!("§5.4.1: it claims a log up to {last:?}, and has {known:?}"));
                }
                Ok(())
            }
            Some(RaftStatement::Ballot { asked, election, candidate, granted: true, .. })
                if *election != Election::PreVote =>
            {
                self.grant(node, *asked, candidate)
            }
            Some(RaftStatement::Heartbeat { term, height, beat }) => {
                let state = self.nodes.of(node);
                if state.beat.is_some_and(|last| last >= (*term, *beat)) {
                    return Err(format!("heartbeat {beat} of term {term} after {:?}", state.beat));
                }
                state.beat = Some((*term, *beat));
                self.lead(scene, node, *term, *height)
            }
            _ => Ok(()),
        }
    }

    /// §5.4.1: a vote only for who asked for it, with a log at least as far.
    fn grant(&mut self, node: NodeNr, term: Round, candidate: &Address) -> Result<(), String> {
        let state = self.nodes.of(node);
        let questions = state.asked.iter().filter(|(asked, by, _)| (asked, by) == (&term, candidate));
        let (last, known) = (questions.map(|(.., last)| *last).max(), position(state));
        match last {
            None => Err(format!("§5.2: in term {term} it votes for {candidate}, which did not ask")),
            Some(last) if last < known => {
                Err(format!("§5.4.1: it votes for {candidate}, whose log ends at {last:?}; its own has {known:?}"))
            }
            Some(_) => Ok(()),
        }
    }

    /// §5.2: whoever leads has the votes of a majority, and nobody else leads in its term.
    fn lead(&mut self, scene: &Scene, node: NodeNr, term: Round, height: Height) -> Result<(), String> {
        let Some(own) = scene.addresses.get(node.index()) else { return Ok(()) };
        let leaders = self.leaders.entry(term).or_default();
        if leaders.iter().any(|(known, _)| known == own) {
            return Ok(());
        }
        let Some(set) = self.sets.at(scene, height) else { return Ok(()) };
        // Terms of sets that share nobody may have the same number.
        let same = |other: &Height| self.sets.at(scene, *other).is_some_and(|other| same_people(set, other));
        if let Some((other, at)) = leaders.iter().find(|(_, at)| same(at)) {
            return Err(format!("§5.2, election safety: {own} leads term {term}, and {other} led it at height {at}"));
        }
        let ballots = &self.nodes.of(node).ballots;
        let voted = |address: &Address| address == own || ballots.contains(&(term, *address));
        let members = set.members().iter();
        let power: u64 = members.filter(|member| voted(&member.address)).map(|member| member.power.get()).sum();
        if !Share::Half.is_in(power, whole(set)) {
            return Err(format!("§5.2: it leads term {term} by votes of {power} of {}", whole(set)));
        }
        leaders.push((*own, height));
        Ok(())
    }

    /// Figure 3: log matching and leader completeness, for the one entry that is open.
    fn propose(&mut self, scene: &Scene, node: NodeNr, proposal: &Proposal) -> Result<(), String> {
        let (height, term, block) = (proposal.height, proposal.round, proposal.block_id);
        let Some(own) = scene.addresses.get(node.index()) else { return Ok(()) };
        let elected = self.leaders.get(&term).and_then(|leaders| leaders.iter().find(|(leader, _)| leader == own));
        let Some((_, at)) = elected else {
            return Err(format!("§5.3: it proposes in term {term}, and was not seen to lead it"));
        };
        let sets = self.sets.at(scene, *at).zip(self.sets.at(scene, height));
        if sets.is_some_and(|(one, other)| !same_people(one, other)) {
            return Err(format!("it proposes at height {height} in term {term}, elected by the set of height {at}"));
        }
        let state = self.nodes.of(node);
        if let Some((_, appended)) = state.entry.filter(|(_, id)| state.height == height && *id != block) {
            return Err(format!("§5.4.2: it proposes {block:?} at height {height}, and its log has {appended:?}"));
        }
        let Some(entry) = self.log.of(scene, height) else { return Ok(()) };
        if let Some((_, other)) = entry.proposed.iter().find(|(other, id)| *other == term && *id != block) {
            return Err(format!("log matching: height {height} term {term} is {other:?} and {block:?}"));
        }
        if let Some((before, chosen)) = entry.chosen.filter(|(before, chosen)| *before < term && *chosen != block) {
            return Err(format!(
                "leader completeness: at height {height} {chosen:?} was chosen in term {before}, and term {term} \
                 proposes {block:?}"
            ));
        }
        entry.proposed.push((term, block));
        Ok(())
    }

    /// §5.3: appends what the leader of the term proposed, and answers.
    fn acknowledge(&mut self, scene: &Scene, node: NodeNr, vote: &Vote) -> Result<(), String> {
        if vote.kind != VoteKind::Precommit {
            return Err(format!("Raft has no prevotes: {vote:?}"));
        }
        let (height, term) = (vote.height, vote.round);
        let known = self.knowledge.of(node, height);
        let leads = |by: Option<Address>| {
            let leaders = self.leaders.get(&term);
            by.is_none_or(|by| leaders.is_some_and(|leaders| leaders.iter().any(|(leader, _)| *leader == by)))
        };
        let offers = || known.into_iter().flat_map(|known| &known.proposals).filter(|told| told.round == term);
        let Some(block) = vote.block_id else {
            let refused = |id: &BlockId| known.is_some_and(|known| known.rejected.contains(id));
            return match offers().any(|told| refused(&told.block)) {
                true => Ok(()),
                false => Err(format!("it refuses an entry that its application did not: {vote:?}")),
            };
        };
        if !offers().any(|told| told.block == block && leads(told.by)) {
            return Err(format!("§5.3: it acknowledges what the leader of term {term} did not send it: {vote:?}"));
        }
        if !known.is_some_and(|known| known.accepted.contains(&block)) {
            return Err(format!("it acknowledges what its application did not accept: {vote:?}"));
        }
        let state = self.nodes.of(node);
        if state.height == height {
            state.entry = Some((term, block));
        }
        self.append(scene, height, (term, block, vote.validator_index))
    }

    fn append(&mut self, scene: &Scene, height: Height, ack: (Round, BlockId, u32)) -> Result<(), String> {
        let (term, block, _) = ack;
        let Some(entry) = self.log.of(scene, height) else { return Ok(()) };
        if entry.acknowledged.contains(&ack) {
            return Ok(());
        }
        // Also before an honest node is at this height and shows whose it is: the others' will be counted with it.
        entry.acknowledged.push(ack);
        let Some(set) = self.sets.at(scene, height) else { return Ok(()) };
        let same = entry.acknowledged.iter().filter(|(at, id, _)| (*at, *id) == (term, block)).map(|(.., by)| *by);
        if !Share::Half.is_in(power_of(set, same), whole(set)) {
            return Ok(());
        }
        match entry.chosen {
            Some((before, chosen)) if chosen != block => Err(format!(
                "state machine safety: at height {height} {chosen:?} was chosen in term {before}, {block:?} in {term}"
            )),
            Some(_) => Ok(()),
            None => {
                entry.chosen = Some((term, block));
                Ok(())
            }
        }
    }
}

/// Questions for votes are kept for so many terms.
const ASKED_TERMS: u32 = 4;

/// How far a node's log reaches at least.
fn position(state: &State) -> LogPosition {
    LogPosition { height: state.height, entry: state.entry.map(|(term, _)| term) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::story::{Stage, block, commit, precommit, proposal, raft};
    use crate::types::{Algorithm, CandidateBlock};
    use std::sync::Arc;

    /// Three nodes, all at height 1.
    fn stage() -> Stage<RulesRaft> {
        let mut stage = Stage::of(Algorithm::Raft, 3, RulesRaft::default());
        (0..3).for_each(|node| stage.begin(node, 1));
        stage
    }

    fn last(height: u64, entry: Option<u32>) -> LogPosition {
        LogPosition { height: Height::new(height), entry: entry.map(Round::new) }
    }

    fn request(term: u32, last: LogPosition) -> RaftStatement {
        RaftStatement::RequestVote { term: Round::new(term), election: Election::Vote, last }
    }

    fn ballot(scene: &Scene, term: u32, candidate: u8) -> RaftStatement {
        let (term, candidate) = (Round::new(term), scene.addresses[usize::from(candidate)]);
        let (asked, election, height) = (term, Election::Vote, Height::new(1));
        RaftStatement::Ballot { term, asked, election, candidate, granted: true, height }
    }

    fn beat(term: u32, beat: u64) -> RaftStatement {
        RaftStatement::Heartbeat { term: Round::new(term), height: Height::new(1), beat }
    }

    fn says(stage: &mut Stage<RulesRaft>, node: u8, body: RaftStatement) -> Result<(), String> {
        let statement = raft(&stage.scene, node, body);
        stage.see(node, What::Signed(Word::Statement(&statement)))?;
        stage.all_hear(node, Word::Statement(&statement));
        Ok(())
    }

    /// The node is elected by another one.
    fn elect(stage: &mut Stage<RulesRaft>, node: u8, voter: u8, term: u32, entry: Option<u32>) -> Result<(), String> {
        says(stage, node, request(term, last(1, entry)))?;
        let vote = ballot(&stage.scene, term, node);
        says(stage, voter, vote)?;
        says(stage, node, beat(term, 1))
    }

    /// Proposed by one and appended by these.
    fn append(
        stage: &mut Stage<RulesRaft>,
        leader: u8,
        term: u32,
        block: &Arc<CandidateBlock>,
        by: &[u8],
    ) -> Result<(), String> {
        let told = proposal(leader, 1, term, block.id(), None);
        let address = Some(stage.scene.addresses[usize::from(leader)]);
        stage.see(leader, What::Signed(Word::Proposal { by: address, proposal: &told }))?;
        for node in by {
            if *node != leader {
                stage.hears_proposal(*node, leader, &told);
            }
            stage.accepts(*node, block);
            let vote = precommit(&stage.scene, *node, (1, term), Some(block.id()));
            stage.see(*node, What::Signed(Word::Vote(&vote)))?;
        }
        Ok(())
    }

    #[test]
    fn an_election_an_entry_and_its_repetition_by_the_next_leader_are_fine() {
        let mut stage = stage();
        let a = block(1, "a");
        assert_eq!(elect(&mut stage, 0, 1, 1, None), Ok(()));
        assert_eq!(append(&mut stage, 0, 1, &a, &[0, 1]), Ok(()));
        assert_eq!(elect(&mut stage, 1, 2, 2, Some(1)), Ok(()));
        assert_eq!(append(&mut stage, 1, 2, &a, &[1, 2]), Ok(()));
        let commit = commit(&stage.scene, 1, 2, a.id(), &[1, 2]);
        stage.fine(2, What::Decided { block: &a, commit: &commit });
    }

    #[test]
    fn s5_2_a_leader_without_a_majority_is_caught() {
        let mut stage = stage();
        assert!(says(&mut stage, 0, beat(1, 1)).unwrap_err().contains("votes of 1 of 3"));
    }

    #[test]
    fn s5_2_two_leaders_of_one_term_are_caught() {
        let mut stage = stage();
        assert_eq!(elect(&mut stage, 0, 1, 1, None), Ok(()));
        assert!(elect(&mut stage, 2, 1, 1, None).unwrap_err().contains("election safety"));
    }

    #[test]
    fn s5_4_1_a_vote_for_a_shorter_log_is_caught_also_after_a_crash() {
        let mut stage = stage();
        assert_eq!(elect(&mut stage, 0, 1, 1, None), Ok(()));
        assert_eq!(append(&mut stage, 0, 1, &block(1, "a"), &[0, 1]), Ok(()));
        stage.fine(1, What::Started { life: 1 });
        stage.begin(1, 1);
        assert_eq!(says(&mut stage, 2, request(2, last(1, None))), Ok(()));
        let vote = ballot(&stage.scene, 2, 2);
        assert!(says(&mut stage, 1, vote).unwrap_err().contains("§5.4.1"));
    }

    #[test]
    fn s5_4_1_a_vote_for_one_who_is_a_height_behind_or_did_not_ask_is_caught() {
        let mut stage = stage();
        stage.begin(1, 2);
        assert_eq!(says(&mut stage, 2, request(1, last(1, None))), Ok(()));
        let vote = ballot(&stage.scene, 1, 2);
        assert!(says(&mut stage, 1, vote).unwrap_err().contains("§5.4.1"));
        let vote = ballot(&stage.scene, 1, 2);
        assert_eq!(says(&mut stage, 0, vote), Ok(()));
        let unasked = ballot(&stage.scene, 2, 2);
        assert!(says(&mut stage, 0, unasked).unwrap_err().contains("did not ask"));
    }

    #[test]
    fn s5_4_1_a_candidate_that_hides_its_entry_or_its_height_is_caught() {
        let mut stage = stage();
        assert_eq!(elect(&mut stage, 0, 1, 1, None), Ok(()));
        assert_eq!(append(&mut stage, 0, 1, &block(1, "a"), &[0, 1]), Ok(()));
        assert!(says(&mut stage, 1, request(2, last(1, None))).unwrap_err().contains("claims"));
        assert!(says(&mut stage, 2, request(2, last(5, None))).unwrap_err().contains("claims"));
    }

    #[test]
    fn leader_completeness_another_entry_than_the_chosen_one_is_caught() {
        let mut stage = stage();
        let (a, b) = (block(1, "a"), block(1, "b"));
        assert_eq!(elect(&mut stage, 0, 1, 1, None), Ok(()));
        assert_eq!(append(&mut stage, 0, 1, &a, &[0, 1]), Ok(()));
        // It was elected by a vote that was none.
        stage.checker.leaders.insert(Round::new(2), vec![(stage.scene.addresses[2], Height::new(1))]);
        assert!(append(&mut stage, 2, 2, &b, &[]).unwrap_err().contains("leader completeness"));
    }

    #[test]
    fn log_matching_two_entries_of_one_term_and_one_of_no_leader_are_caught() {
        let mut stage = stage();
        assert!(append(&mut stage, 0, 1, &block(1, "a"), &[]).unwrap_err().contains("lead"));
        assert_eq!(elect(&mut stage, 0, 1, 1, None), Ok(()));
        assert_eq!(append(&mut stage, 0, 1, &block(1, "a"), &[]), Ok(()));
        assert!(append(&mut stage, 0, 1, &block(1, "b"), &[]).unwrap_err().contains("log matching"));
    }

    #[test]
    fn s5_4_2_a_leader_that_drops_its_own_entry_is_caught() {
        let mut stage = stage();
        assert_eq!(elect(&mut stage, 0, 1, 1, None), Ok(()));
        assert_eq!(append(&mut stage, 0, 1, &block(1, "a"), &[0]), Ok(()));
        assert_eq!(elect(&mut stage, 0, 1, 2, Some(1)), Ok(()));
        assert!(append(&mut stage, 0, 2, &block(1, "b"), &[]).unwrap_err().contains("§5.4.2"));
    }

    #[test]
    fn s5_3_an_acknowledgement_of_what_was_not_sent_or_not_accepted_is_caught() {
        let mut stage = stage();
        let (a, b) = (block(1, "a"), block(1, "b"));
        assert_eq!(elect(&mut stage, 0, 1, 1, None), Ok(()));
        assert_eq!(append(&mut stage, 0, 1, &a, &[]), Ok(()));
        let ack = |stage: &Stage<RulesRaft>, id| precommit(&stage.scene, 1, (1, 1), id);
        let vote = ack(&stage, Some(b.id()));
        stage.accepts(1, &b);
        assert!(stage.wrong(1, What::Signed(Word::Vote(&vote))).contains("did not send"));
        stage.hears_proposal(1, 0, &proposal(0, 1, 1, a.id(), None));
        let vote = ack(&stage, Some(a.id()));
        assert!(stage.wrong(1, What::Signed(Word::Vote(&vote))).contains("accept"));
        let refusal = ack(&stage, None);
        assert!(stage.wrong(1, What::Signed(Word::Vote(&refusal))).contains("refuses"));
        stage.fine(1, What::Checked { block: &a, accepted: false });
        stage.signs(1, &refusal);
    }

    #[test]
    fn two_blocks_chosen_and_one_decided_that_was_not_are_caught() {
        let mut stage = stage();
        let (a, b) = (block(1, "a"), block(1, "b"));
        assert_eq!(elect(&mut stage, 0, 1, 1, None), Ok(()));
        assert_eq!(append(&mut stage, 0, 1, &a, &[0, 1]), Ok(()));
        let commit = commit(&stage.scene, 1, 1, b.id(), &[0, 1]);
        assert!(stage.wrong(2, What::Decided { block: &b, commit: &commit }).contains("is chosen"));
        let scene = stage.scene.clone();
        let (height, term) = (Height::new(1), Round::new(0));
        assert_eq!(stage.checker.append(&scene, height, (term, b.id(), 0)), Ok(()));
        assert!(stage.checker.append(&scene, height, (term, b.id(), 2)).unwrap_err().contains("state machine safety"));
    }

    #[test]
    fn a_heartbeat_that_does_not_count_up_is_caught() {
        let mut stage = stage();
        assert_eq!(elect(&mut stage, 0, 1, 1, None), Ok(()));
        assert_eq!(says(&mut stage, 0, beat(1, 2)), Ok(()));
        assert!(says(&mut stage, 0, beat(1, 2)).is_err());
    }

    #[test]
    fn a_leader_that_goes_on_under_a_set_that_did_not_elect_it_is_caught() {
        let mut stage = stage();
        assert_eq!(elect(&mut stage, 0, 1, 1, None), Ok(()));
        let other =
            Arc::new(crate::types::ValidatorSet::new(stage.scene.validators.members()[1..].to_vec()).expect("two"));
        stage.fine(0, What::Began { height: Height::new(2), validators: &other });
        let told = proposal(0, 2, 1, block(2, "b").id(), None);
        let why = stage.wrong(0, What::Signed(Word::Proposal { by: None, proposal: &told }));
        assert!(why.contains("elected by the set"), "{why}");
    }
}
