//! One signature: an honest key never signs two different things for one height, round and step, over all lives, and
//! never goes back; what is heard of it was signed by it, whoever relays it: votes, proposals and statements; its terms and
//! views only go up, and in each it gives one vote.

use super::book::{Found, PerNode, Print, Sets, Signatures, printed};
use super::rotation::Rotation;
use crate::crypto::Signature;
use crate::sim::{Checker, NodeNr, Scene, Seen, What, Word};
use crate::types::{
    Address, Algorithm, Election, Height, PbftStatement, Proposal, RaftStatement, Round, Statement, StatementBody, Vote,
};
use std::collections::BTreeSet;

/// What each key signed.
#[derive(Debug, Default)]
pub struct OneSignature {
    nodes: PerNode<Key>,
    sets: Sets,
    /// Whose turn it is at the height that was asked for last, in Tendermint.
    turns: Option<(Height, Rotation)>,
}

#[derive(Debug, Default)]
struct Key {
    life: u32,
    signatures: Signatures,
    /// Of its statements, the first bytes of each signature.
    stated: BTreeSet<[u8; 8]>,
    /// The highest term or view it stated. Nothing below it is signed any more.
    standing: Round,
    /// The highest of them it gave its word in: a vote for a leader, a VIEW-CHANGE, a NEW-VIEW. A node that lost its disk may
    /// go back behind the first, for that only told how far it was; behind this one it must be silent.
    promised: Round,
    /// PBFT: the view of its newest VIEW-CHANGE. It says no vote below it any more.
    left: Round,
    /// Raft: the newest term it voted in, and for whom (§5.2).
    voted: Option<(Round, Address)>,
    /// PBFT: its newest NEW-VIEW. A primary that lost one in a crash may make another one (docs/protocol/pbft.md).
    new_view: Option<(u32, Round, Height)>,
}

impl Checker for OneSignature {
    fn name(&self) -> &'static str {
        "one_signature"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        if !scene.is_honest(seen.node) {
            return Ok(());
        }
        match seen.what {
            What::Began { .. } => {
                self.sets.see(scene, seen);
                Ok(())
            }
            What::Signed(Word::Statement(statement)) => {
                let key = self.nodes.of(seen.node);
                key.stated.insert(first_bytes(&statement.signature));
                key.state(statement)
            }
            What::Signed(word) => self.nodes.of(seen.node).note_signed(&word),
            What::Said { word: Word::Vote(vote), .. } => {
                let own = scene.addresses.get(seen.node.index()) == Some(&vote.validator_address);
                let left = self.nodes.of(seen.node).left;
                if own && vote.round < left {
                    return Err(format!("§4.4: it left for view {left}, and says {vote:?}"));
                }
                self.trace(scene, vote)
            }
            What::Heard { word: Word::Vote(vote), .. } => self.trace(scene, vote),
            What::Heard { word: Word::Proposal { by, proposal }, .. } => self.trace_proposal(scene, by, proposal),
            What::Said { word: Word::Statement(statement), .. }
            | What::Heard { word: Word::Statement(statement), .. } => self.trace_statement(scene, statement),
            What::Said { word, .. } => self.said(seen.node, &word),
            What::Wiped => {
                let key = self.nodes.of(seen.node);
                key.standing = key.promised;
                Ok(())
            }
            What::Started { life } => {
                self.nodes.of(seen.node).life = life;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

impl OneSignature {
    /// A vote on the wire that is said to be an honest node's: it signed it, and nothing else at that place. Whoever
    /// says it; relays do not lie about what is signed, and liars cannot.
    fn trace(&self, scene: &Scene, vote: &Vote) -> Result<(), String> {
        let Some(author) = scene.node_of(&vote.validator_address).filter(|author| scene.is_honest(*author)) else {
            return Ok(());
        };
        let Some((place, print)) = printed(&Word::Vote(vote)) else { return Ok(()) };
        let found = self.nodes.get(author).map_or(Found::Nothing, |key| key.signatures.at(place));
        compare(author, found, print, &Word::Vote(vote))
    }

    /// The same for a proposal that somebody honest believed. Tendermint's does not say whose it is: of whose turn it is.
    fn trace_proposal(&mut self, scene: &Scene, by: Option<Address>, proposal: &Proposal) -> Result<(), String> {
        let by = match scene.plan.algorithm {
            Algorithm::Tendermint => self.turn(scene, proposal.height, proposal.round),
            Algorithm::Pbft | Algorithm::Raft => by,
        };
        let author = by.and_then(|by| scene.node_of(&by)).filter(|author| scene.is_honest(*author));
        let word = Word::Proposal { by, proposal };
        let (Some(author), Some((place, print))) = (author, printed(&word)) else { return Ok(()) };
        let found = self.nodes.get(author).map_or(Found::Nothing, |key| key.signatures.at(place));
        compare(author, found, print, &word)
    }

    fn turn(&mut self, scene: &Scene, height: Height, round: Round) -> Option<Address> {
        if self.turns.as_ref().is_none_or(|(known, _)| *known != height) {
            self.turns = Some((height, Rotation::adopt(self.sets.at(scene, height)?)));
        }
        self.turns.as_ref().map(|(_, rotation)| rotation.proposer(round.get()))
    }

    /// The same for what Raft and PBFT sign beside.
    fn trace_statement(&self, scene: &Scene, statement: &Statement) -> Result<(), String> {
        let author = scene.node_of(&statement.by).filter(|author| scene.is_honest(*author));
        let Some(author) = author else { return Ok(()) };
        let first = first_bytes(&statement.signature);
        if self.nodes.get(author).is_some_and(|key| key.stated.contains(&first)) {
            return Ok(());
        }
        Err(format!("on the wire is a statement that node {} never signed: {statement:?}", author.0))
    }

    /// A proposal said by one who signed one there is that one. Tendermint's relays say those of others, too.
    fn said(&self, node: NodeNr, word: &Word<'_>) -> Result<(), String> {
        let Some((place, print)) = printed(word) else { return Ok(()) };
        match self.nodes.get(node).map(|key| key.signatures.at(place)) {
            Some(Found::This(signed)) if signed != print => Err(format!("it signed {signed:?}, and says {word:?}")),
            _ => Ok(()),
        }
    }
}

fn compare(author: NodeNr, found: Found, print: Print, word: &Word<'_>) -> Result<(), String> {
    match found {
        Found::This(signed) if signed != print => {
            Err(format!("node {} signed {signed:?}, and on the wire is {word:?}", author.0))
        }
        Found::Nothing => Err(format!("on the wire is what node {} never signed: {word:?}", author.0)),
        Found::This(_) | Found::Forgotten => Ok(()),
    }
}

fn first_bytes(signature: &Signature) -> [u8; 8] {
    let mut first = [0; 8];
    first.iter_mut().zip(signature.as_bytes()).for_each(|(to, from)| *to = *from);
    first
}

impl Key {
    /// A signature of the guarded kind.
    fn note_signed(&mut self, word: &Word<'_>) -> Result<(), String> {
        let Some((place, print)) = printed(word) else { return Ok(()) };
        if place.round < self.standing {
            return Err(format!("it left for term or view {}, and signs {word:?}", self.standing));
        }
        match self.signatures.last() {
            Some((last, _)) if place < *last => {
                return Err(format!("it signed at {last:?} before, and signs {word:?}"));
            }
            Some((last, signed)) if place == *last => {
                let again = *signed == print;
                return if again { Ok(()) } else { Err(format!("it signed {signed:?} before, and signs {word:?}")) };
            }
            _ => {}
        }
        self.signatures.push(place, print);
        Ok(())
    }

    fn state(&mut self, statement: &Statement) -> Result<(), String> {
        let standing = match &statement.body {
            StatementBody::Raft(body) => self.state_raft(statement.by, body)?,
            StatementBody::Pbft(body) => Some(self.state_pbft(body)?),
        };
        if let Some(standing) = standing {
            if standing < self.standing {
                return Err(format!("it was in term or view {} before, and states {statement:?}", self.standing));
            }
            self.standing = standing;
        }
        Ok(())
    }

    /// The term the statement shows its author in; none for a pre-vote, which changes none, and for reads.
    fn state_raft(&mut self, own: Address, body: &RaftStatement) -> Result<Option<Round>, String> {
        match *body {
            RaftStatement::RequestVote { election: Election::PreVote, .. } => Ok(None),
            RaftStatement::RequestVote { term, .. } => {
                self.vote(term, own)?;
                Ok(Some(term))
            }
            RaftStatement::Ballot { term, asked, election, candidate, granted, .. } => {
                if granted && election != Election::PreVote {
                    self.vote(asked, candidate)?;
                }
                Ok(Some(term))
            }
            RaftStatement::Heartbeat { term, .. }
            | RaftStatement::Following { term, .. }
            | RaftStatement::TimeoutNow { term, .. } => Ok(Some(term)),
            RaftStatement::ReadIndex { .. } | RaftStatement::ReadAt { .. } => Ok(None),
        }
    }

    /// §5.2: one vote a term.
    fn vote(&mut self, term: Round, candidate: Address) -> Result<(), String> {
        self.promised = self.promised.max(term);
        match self.voted {
            Some((last, _)) if term < last => Err(format!("it votes in term {term}, and voted in {last} before")),
            Some((last, first)) if term == last && first != candidate => {
                Err(format!("in term {term} it votes for {candidate}, and voted for {first} before"))
            }
            _ => {
                self.voted = Some((term, candidate));
                Ok(())
            }
        }
    }

    fn state_pbft(&mut self, body: &PbftStatement) -> Result<Round, String> {
        match *body {
            PbftStatement::NewView { view, height, .. } => {
                self.promised = self.promised.max(view);
                let made = (self.life, view, height);
                if self.new_view.replace(made) == Some(made) {
                    return Err(format!("it makes a second NEW-VIEW for view {view} at height {height}"));
                }
                Ok(view)
            }
            PbftStatement::ViewChange { view, .. } => {
                self.left = self.left.max(view);
                self.promised = self.promised.max(view);
                Ok(view)
            }
            PbftStatement::Status { view, .. } => Ok(view),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::story::{Stage, block, pbft, precommit, prevote, proposal, raft};
    use crate::types::{Algorithm, LogPosition};

    fn stage(algorithm: Algorithm) -> Stage<OneSignature> {
        Stage::of(algorithm, 4, OneSignature::default())
    }

    fn id(tag: &str) -> crate::types::BlockId {
        block(1, tag).id()
    }

    fn said(word: Word<'_>) -> What<'_> {
        What::Said { to: NodeNr(1), word }
    }

    #[test]
    fn one_vote_a_step_said_and_signed_again_after_a_crash_is_fine() {
        let mut stage = stage(Algorithm::Tendermint);
        let scene = stage.scene.clone();
        let first = prevote(&scene, 0, (1, 0), Some(id("a")));
        stage.signs(0, &first);
        stage.fine(0, said(Word::Vote(&first)));
        stage.fine(0, What::Started { life: 1 });
        stage.signs(0, &first);
        stage.signs(0, &precommit(&scene, 0, (1, 0), None));
        stage.signs(0, &prevote(&scene, 0, (1, 1), Some(id("b"))));
        stage.hears_vote(1, 0, &first);
    }

    #[test]
    fn two_votes_in_one_step_are_caught_at_the_signer_also_across_a_crash() {
        let mut stage = stage(Algorithm::Tendermint);
        let scene = stage.scene.clone();
        stage.signs(0, &prevote(&scene, 0, (1, 0), Some(id("a"))));
        stage.fine(0, What::Started { life: 1 });
        stage.wrong(0, What::Signed(Word::Vote(&prevote(&scene, 0, (1, 0), None))));
    }

    #[test]
    fn the_same_vote_with_another_time_or_a_signature_below_the_last_is_caught() {
        let mut stage = stage(Algorithm::Tendermint);
        let scene = stage.scene.clone();
        let mut vote = precommit(&scene, 0, (1, 1), None);
        stage.signs(0, &vote);
        vote.timestamp = vote.timestamp.plus(std::time::Duration::from_secs(1));
        stage.wrong(0, What::Signed(Word::Vote(&vote)));
        stage.wrong(0, What::Signed(Word::Vote(&prevote(&scene, 0, (1, 1), None))));
    }

    #[test]
    fn two_votes_in_one_step_are_caught_on_the_wire_and_so_is_one_never_signed() {
        let mut stage = stage(Algorithm::Pbft);
        let scene = stage.scene.clone();
        let (one, other) = (prevote(&scene, 0, (1, 0), Some(id("a"))), prevote(&scene, 0, (1, 0), Some(id("b"))));
        stage.signs(0, &one);
        assert!(stage.wrong(0, said(Word::Vote(&other))).contains("on the wire"));
        assert!(stage.wrong(2, What::Heard { from: NodeNr(0), word: Word::Vote(&other) }).contains("on the wire"));
        let never = prevote(&scene, 3, (1, 0), Some(id("a")));
        assert!(stage.wrong(2, What::Heard { from: NodeNr(3), word: Word::Vote(&never) }).contains("never signed"));
    }

    #[test]
    fn another_proposal_said_than_signed_is_caught() {
        let mut stage = stage(Algorithm::Pbft);
        stage.proposes(0, &proposal(0, 1, 0, id("a"), None));
        let other = proposal(0, 1, 0, id("b"), None);
        stage.wrong(0, said(Word::Proposal { by: None, proposal: &other }));
        let of_another = proposal(1, 1, 1, id("b"), None);
        stage.fine(0, said(Word::Proposal { by: None, proposal: &of_another }));
    }

    #[test]
    fn a_proposal_in_the_name_of_one_who_never_signed_it_is_caught() {
        for algorithm in Algorithm::ALL {
            let mut stage = stage(algorithm);
            (0..4).for_each(|node| stage.begin(node, 1));
            let author = stage.proposer(0);
            let hearer = (author + 1) % 4;
            let by = Some(stage.scene.addresses[usize::from(author)]);
            let by = by.filter(|_| algorithm != Algorithm::Tendermint);
            let (signed, forged) = (proposal(author, 1, 0, id("a"), None), proposal(author, 1, 0, id("b"), None));
            let heard = |proposal| What::Heard { from: NodeNr(3), word: Word::Proposal { by, proposal } };
            assert!(stage.wrong(hearer, heard(&signed)).contains("never signed"), "{algorithm}");
            stage.proposes(author, &signed);
            stage.fine(hearer, heard(&signed));
            assert!(stage.wrong(hearer, heard(&forged)).contains("on the wire"), "{algorithm}");
        }
    }

    #[test]
    fn a_statement_in_the_name_of_one_who_never_signed_it_is_caught() {
        let mut stage = stage(Algorithm::Raft).with_liar(3);
        let scene = stage.scene.clone();
        let beat = |node| {
            let body = RaftStatement::Heartbeat { term: Round::new(3), height: Height::new(1), beat: 1 };
            raft(&scene, node, body)
        };
        fn heard(statement: &Statement) -> What<'_> {
            What::Heard { from: NodeNr(3), word: Word::Statement(statement) }
        }
        assert!(stage.wrong(1, heard(&beat(0))).contains("never signed"));
        stage.fine(0, What::Signed(Word::Statement(&beat(0))));
        stage.fine(1, heard(&beat(0)));
        stage.fine(1, heard(&beat(3)));
    }

    #[test]
    fn liars_may_sign_what_they_like() {
        let mut stage = stage(Algorithm::Tendermint).with_liar(3);
        let scene = stage.scene.clone();
        stage.signs(3, &prevote(&scene, 3, (1, 0), Some(id("a"))));
        stage.signs(3, &prevote(&scene, 3, (1, 0), None));
    }

    fn ballot(scene: &Scene, election: Election, asked: u32, candidate: u8) -> Statement {
        let (asked, candidate) = (Round::new(asked), scene.addresses[usize::from(candidate)]);
        let height = Height::new(1);
        raft(scene, 0, RaftStatement::Ballot { term: asked, asked, election, candidate, granted: true, height })
    }

    #[test]
    fn one_vote_a_term_is_fine_and_pre_votes_do_not_count() {
        let mut stage = stage(Algorithm::Raft);
        let scene = stage.scene.clone();
        for (election, term, candidate) in [
            (Election::PreVote, 1, 1),
            (Election::PreVote, 1, 2),
            (Election::Vote, 1, 1),
            (Election::Vote, 1, 1),
            (Election::Handover, 2, 2),
        ] {
            stage.fine(0, What::Signed(Word::Statement(&ballot(&scene, election, term, candidate))));
        }
    }

    #[test]
    fn two_votes_in_one_term_are_caught_also_when_the_first_was_for_itself() {
        let mut stage = stage(Algorithm::Raft);
        let scene = stage.scene.clone();
        stage.fine(0, What::Signed(Word::Statement(&ballot(&scene, Election::Vote, 1, 1))));
        stage.wrong(0, What::Signed(Word::Statement(&ballot(&scene, Election::Vote, 1, 2))));
        let last = LogPosition { height: Height::new(1), entry: None };
        let stands = RaftStatement::RequestVote { term: Round::new(2), election: Election::Vote, last };
        stage.fine(0, What::Signed(Word::Statement(&raft(&scene, 0, stands))));
        stage.fine(0, What::Started { life: 1 });
        stage.wrong(0, What::Signed(Word::Statement(&ballot(&scene, Election::Handover, 2, 1))));
    }

    #[test]
    fn a_term_that_goes_back_is_caught() {
        let mut stage = stage(Algorithm::Raft);
        let scene = stage.scene.clone();
        let beat = |term| RaftStatement::Heartbeat { term: Round::new(term), height: Height::new(1), beat: 1 };
        stage.fine(0, What::Signed(Word::Statement(&raft(&scene, 0, beat(3)))));
        stage.wrong(0, What::Signed(Word::Statement(&raft(&scene, 0, beat(2)))));
        stage.wrong(0, What::Signed(Word::Vote(&precommit(&scene, 0, (1, 2), None))));
        stage.signs(0, &precommit(&scene, 0, (1, 3), None));
    }

    #[test]
    fn who_lost_its_disk_may_forget_a_term_it_only_followed_in_and_none_it_voted_in() {
        let mut stage = stage(Algorithm::Raft);
        let scene = stage.scene.clone();
        let height = Height::new(1);
        let follows = |term| RaftStatement::Following { term: Round::new(term), height, entry: None, beat: 1 };
        let follows = |term| raft(&scene, 0, follows(term));
        stage.fine(0, What::Signed(Word::Statement(&follows(2))));
        stage.fine(0, What::Wiped);
        stage.fine(0, What::Signed(Word::Statement(&follows(0))));
        stage.fine(0, What::Signed(Word::Statement(&ballot(&scene, Election::Vote, 2, 1))));
        stage.fine(0, What::Wiped);
        assert!(stage.wrong(0, What::Signed(Word::Statement(&follows(1)))).contains("before"));
        stage.fine(0, What::Signed(Word::Statement(&follows(2))));
    }

    #[test]
    fn a_vote_below_a_view_it_left_and_a_second_new_view_are_caught() {
        let mut stage = stage(Algorithm::Pbft);
        let scene = stage.scene.clone();
        let (view, height) = (Round::new(1), Height::new(1));
        let leaves = PbftStatement::ViewChange { view, height, checkpoint: None, prepared: None };
        let old = prevote(&scene, 1, (1, 0), Some(id("a")));
        stage.signs(1, &old);
        stage.fine(1, said(Word::Vote(&old)));
        stage.fine(1, What::Signed(Word::Statement(&pbft(&scene, 1, leaves.clone()))));
        assert!(stage.wrong(1, said(Word::Vote(&old))).contains("it left"));
        stage.fine(2, said(Word::Vote(&old)));
        stage.fine(0, What::Signed(Word::Statement(&pbft(&scene, 0, leaves))));
        assert!(stage.wrong(0, What::Signed(Word::Vote(&prevote(&scene, 0, (1, 0), None)))).contains("it left"));
        let made = PbftStatement::NewView { view, height, view_changes: Vec::new(), chosen: None };
        let made = pbft(&scene, 0, made);
        stage.fine(0, What::Signed(Word::Statement(&made)));
        assert!(stage.wrong(0, What::Signed(Word::Statement(&made))).contains("second NEW-VIEW"));
        stage.fine(0, What::Started { life: 1 });
        stage.fine(0, What::Signed(Word::Statement(&made)));
    }
}
