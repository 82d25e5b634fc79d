//! What PBFT's statements carry.

use super::*;

/// What every validator of `height` prepared in `view`, by the first `count` of them.
fn certificate(world: &World, height: u64, view: u32, count: usize) -> PreparedCertificate {
    let keys = world.keys(height);
    let prepares =
        (0..count).map(|index| keys.vote(index, VoteKind::Prevote, height, view, Some(block_id("b")))).collect();
    PreparedCertificate { height: Height::new(height), view: Round::new(view), block_id: block_id("b"), prepares }
}

/// The view asked for: the first above 4 that validator 2 leads at our height.
fn asked() -> Round {
    let (position, _) = five(2).set.by_address(&address(2)).expect("a member");
    Round::new(5 + position)
}

/// A VIEW-CHANGE for it.
fn view_change(
    height: u64,
    checkpoint: Option<ExtendedCommit>,
    prepared: Option<PreparedCertificate>,
) -> PbftStatement {
    PbftStatement::ViewChange { view: asked(), height: Height::new(height), checkpoint, prepared }
}

fn statement(by: u8, body: PbftStatement) -> Statement {
    signed(by, StatementBody::Pbft(Box::new(body)), &chain_id())
}

fn new_view(height: u64, view_changes: Vec<Statement>) -> PbftStatement {
    let chosen: Option<BlockId> = Some(block_id("b"));
    PbftStatement::NewView { view: asked(), height: Height::new(height), view_changes, chosen }
}

/// A VIEW-CHANGE of a lower height whose proof is nonsense.
fn behind(by: u8) -> Statement {
    let nonsense = ExtendedCommit {
        height: Height::new(3),
        round: Round::ZERO,
        block_id: block_id("x"),
        signatures: vec![ExtendedCommitSig {
            sig: CommitSig::Absent,
            extension: Bytes::new(),
            extension_signature: None,
        }],
    };
    statement(by, view_change(OURS - 1, Some(nonsense), None))
}

impl World {
    fn good_view_change(&self, height: u64) -> PbftStatement {
        view_change(height, Some(self.commit(height - 1, 4)), Some(certificate(self, height, 2, 4)))
    }

    fn good_new_view(&self) -> Vec<Statement> {
        let mut changes: Vec<Statement> = (2..=4).map(|by| statement(by, self.good_view_change(OURS))).collect();
        changes.push(behind(5));
        changes
    }

    fn status(&self, proposal: Option<Proposal>) -> PbftStatement {
        let (view, height) = (Round::new(4), Height::new(OURS));
        PbftStatement::Status { view, height, active: true, proposal: proposal.map(Box::new) }
    }

    /// The proposal of view 4 of our height, by the validator at the position given.
    fn proposal_at(&self, position: usize) -> Proposal {
        let mut proposal = self.proposal(2, OURS, 4);
        proposal.signature = self.now.keys[position].sign(&proposal.sign_bytes(&chain_id()));
        proposal
    }

    pub(super) fn pbft_statements(&self) -> Vec<PbftStatement> {
        vec![
            self.good_view_change(OURS),
            self.good_view_change(OURS + 1),
            view_change(OURS, Some(self.commit(OURS - 1, 5)), None),
            view_change(OURS - 1, None, Some(certificate(self, OURS - 1, 3, 5))),
            new_view(OURS, self.good_new_view()),
            self.status(None),
            self.status(Some(self.proposal_at(4))),
        ]
    }
}

#[test]
fn a_view_change_whose_proof_is_wrong_in_any_way_is_the_peers_fault() {
    let world = World::new(Algorithm::Pbft);
    let commit = || Some(world.commit(OURS - 1, 5));
    let prepared = |change: &dyn Fn(&mut PreparedCertificate)| {
        let mut certificate = certificate(&world, OURS, 2, 4);
        change(&mut certificate);
        view_change(OURS, commit(), Some(certificate))
    };
    let checkpoint = |change: &dyn Fn(&mut ExtendedCommit)| {
        let mut commit = world.commit(OURS - 1, 5);
        change(&mut commit);
        view_change(OURS, Some(commit), None)
    };
    let other = |kind, round, block| world.now.vote(0, kind, OURS, round, Some(block_id(block)));
    let cases: [(&str, PbftStatement); 16] = [
        ("no checkpoint", view_change(OURS, None, None)),
        ("no checkpoint, one ahead", view_change(OURS + 1, None, None)),
        ("the commit of another height", view_change(OURS, Some(world.commit(OURS, 5)), None)),
        ("a commit without a quorum", view_change(OURS, Some(world.commit(OURS - 1, 3)), None)),
        ("a commit with an entry too few", checkpoint(&|commit| drop(commit.signatures.pop()))),
        ("a commit in another round", checkpoint(&|commit| commit.round = Round::new(1))),
        ("three PREPAREs", prepared(&|c| drop(c.prepares.pop()))),
        ("one twice", prepared(&|c| c.prepares[3] = c.prepares[2].clone())),
        ("more than there are validators", prepared(&|c| c.prepares.extend(c.prepares.clone()))),
        ("a COMMIT", prepared(&|c| c.prepares[0] = other(VoteKind::Precommit, 2, "b"))),
        ("a PREPARE of another view", prepared(&|c| c.prepares[0] = other(VoteKind::Prevote, 1, "b"))),
        ("a PREPARE for another block", prepared(&|c| c.prepares[0] = other(VoteKind::Prevote, 2, "c"))),
        ("another block than prepared", prepared(&|c| c.block_id = block_id("c"))),
        ("a view that is not earlier", view_change(OURS, commit(), Some(certificate(&world, OURS, asked().get(), 5)))),
        ("of another height", view_change(OURS, commit(), Some(certificate(&world, OURS + 1, 2, 5)))),
        ("a PREPARE somebody else signed", prepared(&|c| c.prepares[1].signature = c.prepares[2].signature)),
    ];
    for (what, body) in cases {
        assert!(world.hear(&pbft(2, body.clone())).is_err(), "{what}");
        let bare = |by| statement(by, view_change(OURS, commit(), None));
        assert!(believed(&world.hear(&pbft(2, new_view(OURS, vec![bare(2), bare(3), bare(4), bare(5)])))));
        let in_new_view = new_view(OURS, vec![bare(2), statement(3, body), bare(4), bare(5)]);
        assert!(world.hear(&pbft(2, in_new_view)).is_err(), "{what}, in a NEW-VIEW");
    }
}

#[test]
fn a_new_view_of_anything_but_signed_view_changes_for_it_is_the_peers_fault() {
    let world = World::new(Algorithm::Pbft);
    let with = |change: &dyn Fn(&mut Vec<Statement>)| {
        let mut changes = world.good_new_view();
        change(&mut changes);
        new_view(OURS, changes)
    };
    let good = |by| statement(by, world.good_view_change(OURS));
    let later =
        PbftStatement::ViewChange { view: asked().next(), height: Height::new(7), checkpoint: None, prepared: None };
    let raft = signed(6, StatementBody::Raft(RaftStatement::ReadIndex { ticket: 1 }), &chain_id());
    let cases: [(&str, PbftStatement); 10] = [
        ("of too little power", with(&|changes| changes.truncate(3))),
        ("two of one replica", with(&|changes| changes[1] = changes[0].clone())),
        ("for another view", with(&|changes| changes[1] = statement(3, later.clone()))),
        ("of a height above", with(&|changes| changes.push(statement(6, world.good_view_change(OURS + 1))))),
        ("a status", with(&|changes| changes.push(statement(6, world.status(None))))),
        ("a statement of Raft", with(&|changes| changes.push(raft.clone()))),
        ("by a stranger", with(&|changes| changes.push(good(9)))),
        ("one nobody signed", with(&|changes| changes[2].signature = changes[1].signature)),
        ("all of lower heights", new_view(OURS, (2..=6).map(behind).collect())),
        ("more than there are validators", new_view(OURS, (1..=6).map(good).collect())),
    ];
    for (what, body) in cases {
        assert!(world.hear(&pbft(2, body)).is_err(), "{what}");
    }
    assert!(believed(&world.hear(&pbft(2, new_view(OURS, world.good_new_view())))), "the unbent one");
    for by in 3..=6 {
        assert!(world.hear(&pbft(by, new_view(OURS, world.good_new_view()))).is_err(), "validator {by} does not lead");
    }
}

/// How many signatures are verified while a message is heard.
fn cost(world: &World, message: &DirectMessage) -> u64 {
    let before = world.known.verified();
    let _ = world.hear(message);
    world.known.verified() - before
}

#[test]
fn what_is_replayed_is_believed_again_without_verifying_anything_again() {
    let world = World::new(Algorithm::Pbft);
    let fresh = pbft(2, new_view(OURS, world.good_new_view()));
    // Its own, four of VIEW-CHANGEs, four of the commit and four of the certificate.
    assert_eq!(cost(&world, &fresh), 13);
    for _ in 0..10 {
        assert_eq!(cost(&world, &fresh), 0);
        assert!(believed(&world.hear(&fresh)));
    }
    // The same proof under another's name.
    assert_eq!(cost(&world, &pbft(3, world.good_view_change(OURS))), 0);
    assert_eq!(cost(&world, &pbft(6, world.good_view_change(OURS))), 1);
    let commit = DirectMessage::Commit(world.commit(OURS - 1, 4));
    assert_eq!(cost(&world, &commit), 0);
    assert!(believed(&world.hear(&commit)));
}

#[test]
fn more_than_there_are_validators_is_refused_before_any_signature_is_looked_at() {
    let world = World::new(Algorithm::Pbft);
    let mut commit = world.commit(OURS - 1, 5);
    commit.signatures.extend(commit.signatures.clone());
    let mut prepared = certificate(&world, OURS, 2, 5);
    prepared.prepares.extend(prepared.prepares.clone());
    let long =
        [view_change(OURS, Some(commit), None), view_change(OURS, Some(world.commit(OURS - 1, 5)), Some(prepared))];
    for body in long {
        let many = vec![statement(3, body.clone()); 3];
        for body in [body, new_view(OURS, many.clone()), new_view(OURS, vec![many[0].clone(); 6])] {
            let DirectMessage::Statement(mut unsigned) = pbft(2, body) else { panic!("it is one") };
            unsigned.signature = Signature::new([0; 64]);
            let message = DirectMessage::Statement(unsigned);
            let heard = world.hear(&message);
            assert!(heard.as_ref().is_err_and(|why| why.contains("more")), "{heard:?}");
            assert_eq!(cost(&world, &message), 0);
        }
    }
}

#[test]
fn a_new_view_of_more_view_changes_than_there_are_validators_is_refused_for_their_number() {
    let world = World::new(Algorithm::Pbft);
    let change = statement(3, view_change(OURS, Some(world.commit(OURS - 1, 5)), None));
    let message = pbft(2, new_view(OURS, vec![change; 6]));
    let heard = world.hear(&message);
    assert!(heard.as_ref().is_err_and(|why| why.contains("more VIEW-CHANGEs")), "{heard:?}");
    assert_eq!(cost(&world, &message), 0);
}

#[test]
fn who_makes_view_changes_up_does_not_have_what_is_in_them_verified() {
    let world = World::new(Algorithm::Pbft);
    let mut changes = world.good_new_view();
    changes[2].signature = changes[1].signature;
    // Its own and at most four of VIEW-CHANGEs; none of the commit and the certificate.
    assert!(cost(&world, &pbft(2, new_view(OURS, changes))) <= 5);
}

#[test]
fn proof_of_heights_that_are_over_is_not_looked_at_and_of_those_to_come_cannot_be() {
    let world = World::new(Algorithm::Pbft);
    assert!(believed(&world.hear(&DirectMessage::Statement(Statement { ..statement(5, view_change(3, None, None)) }))));
    let ahead = Height::new(OURS + 2);
    let change = PbftStatement::ViewChange { view: Round::new(4), height: ahead, checkpoint: None, prepared: None };
    assert_eq!(world.hear(&pbft(2, change.clone())), Ok(HeardDirect::Beyond(ahead)));
    let view = new_view(OURS + 2, vec![statement(3, change)]);
    assert_eq!(world.hear(&pbft(2, view)), Ok(HeardDirect::Beyond(ahead)));
    let old = new_view(OURS - 2, vec![statement(3, view_change(OURS - 2, None, None))]);
    assert_eq!(world.hear(&pbft(2, old)), Ok(HeardDirect::Useless));
}

#[test]
fn a_status_carries_the_proposal_of_its_views_primary_only() {
    let world = World::new(Algorithm::Pbft);
    for position in 0..5 {
        let heard = world.hear(&pbft(2, world.status(Some(world.proposal_at(position)))));
        assert_eq!(believed(&heard), position == 4, "position {position}: {heard:?}");
    }
    let of_another_view = Proposal { round: Round::new(3), ..world.proposal_at(4) };
    // Five views later the same replica leads, and signs this one.
    let mut of_a_later_view = world.proposal(2, OURS, 9);
    of_a_later_view.signature = world.now.keys[4].sign(&of_a_later_view.sign_bytes(&chain_id()));
    for proposal in [of_another_view, of_a_later_view] {
        assert!(world.hear(&pbft(2, world.status(Some(proposal)))).is_err());
    }
}
