//! What is heard of a twin, what is an echo, and when listening ends.

use super::*;
use crate::types::tests::{Signers, block_id};
use crate::types::{CommitSig, Round, VoteKind};

const SECOND: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5);

fn at(height: u64, round: u32, step: SignStep) -> SignPosition {
    SignPosition { height: Height::new(height), round: Round::new(round), step }
}

fn seconds(seconds: u64) -> Tick {
    Tick::default().plus(SECOND * u32::try_from(seconds).unwrap())
}

/// Four validators; the first is us and signed last a prevote at height 7 round 2.
struct Scene {
    signers: Signers,
    own: Address,
    last: SignPosition,
}

impl Scene {
    fn new() -> Scene {
        let signers = Signers::new(1, &[10, 10, 10, 10]);
        let own = signers.set.members()[0].address;
        Scene { signers, own, last: at(7, 2, SignStep::Prevote) }
    }

    fn listening(&self) -> Listening {
        let mut listening = Listening::before_signing(self.own, self.last, LONGEST);
        assert_eq!(listening.begin(seconds(100), Height::new(7), Company::Somebody), Some(seconds(105)));
        listening
    }

    fn vote(&self, index: usize, kind: VoteKind, height: u64, round: u32) -> Verified<Vote> {
        Verified::trusted(self.signers.vote(index, kind, height, round, None))
    }

    /// A commit of `height`, with or without our precommit in it.
    fn commit(&self, height: u64, ours: bool) -> ExtendedCommit {
        let mut commit = self.signers.commit(Height::new(height), block_id("b"), 10);
        if !ours {
            commit.signatures[0] = CommitSig::Absent;
        }
        commit.into()
    }
}

#[test]
fn only_what_is_later_than_our_last_signature_and_by_our_key_is_a_twin() {
    let scene = Scene::new();
    let mut cases = 0;
    for index in 0..2 {
        for (height, round) in (6..=8).flat_map(|height| (1..=3).map(move |round| (height, round))) {
            for kind in [VoteKind::Prevote, VoteKind::Precommit] {
                let heard = at(height, round, kind.into());
                let later = (height, round, kind == VoteKind::Precommit) > (7, 2, false);
                let got = scene.listening().heard(&scene.vote(index, kind, height, round));
                if index == 0 && later {
                    assert_eq!(got, Verdict::Elsewhere(Elsewhere::Vote { heard, last: scene.last }));
                } else {
                    assert_eq!(got, Verdict::GoOn, "{heard}");
                }
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 2 * 9 * 2);
}

#[test]
fn our_signature_in_a_fetched_block_of_the_time_we_were_away_is_a_twin_also_once_listening_is_over() {
    let scene = Scene::new();
    let mut listening = scene.listening();
    assert_eq!(listening.fetched(&scene.commit(6, true)), Verdict::GoOn, "we signed that");
    assert_eq!(listening.fetched(&scene.commit(9, false)), Verdict::GoOn, "we did not");
    assert_eq!(listening.tick(seconds(105)), Verdict::Clear);
    assert!(matches!(listening.fetched(&scene.commit(9, true)), Verdict::Elsewhere(_)));
}

#[test]
fn our_signature_in_a_commit_we_did_not_sign_is_a_twin_and_in_an_older_one_it_is_ours() {
    let scene = Scene::new();
    assert!(matches!(scene.listening().decided(seconds(100), &scene.commit(8, true)), Verdict::Elsewhere(_)));
    assert_eq!(scene.listening().decided(seconds(100), &scene.commit(6, true)), Verdict::GoOn);
}

#[test]
fn a_whole_height_without_us_ends_it_and_one_that_had_begun_does_not() {
    let scene = Scene::new();
    let mut listening = scene.listening();
    assert_eq!(listening.decided(seconds(102), &scene.commit(7, false)), Verdict::GoOn, "we came in the middle");
    assert!(!listening.may_sign());
    assert_eq!(listening.decided(seconds(103), &scene.commit(8, false)), Verdict::Clear);
    assert!(listening.may_sign());
    assert_eq!(listening.tick(seconds(200)), Verdict::GoOn, "said once");
}

#[test]
fn heights_of_milliseconds_do_not_end_it_before_a_far_vote_could_be_here() {
    let scene = Scene::new();
    let mut listening = scene.listening();
    for height in 7..30 {
        assert_eq!(listening.decided(seconds(100), &scene.commit(height, false)), Verdict::GoOn);
    }
    assert_eq!(listening.decided(seconds(101), &scene.commit(30, false)), Verdict::Clear);
}

#[test]
fn where_nothing_is_decided_time_ends_it_counted_from_the_first_beginning() {
    let scene = Scene::new();
    let mut listening = scene.listening();
    assert_eq!(
        listening.begin(seconds(104), Height::new(7), Company::Somebody),
        Some(seconds(105)),
        "beginning again is not a new start"
    );
    assert_eq!(listening.tick(seconds(104)), Verdict::GoOn);
    assert_eq!(listening.tick(seconds(105)), Verdict::Clear);
    assert_eq!(listening.begin(seconds(106), Height::new(7), Company::Somebody), None);
}

#[test]
fn only_what_our_key_states_in_a_later_term_than_ours_was_stated_elsewhere() {
    let scene = Scene::new();
    let listening = Listening::while_signing(scene.own, scene.last);
    let other = scene.signers.set.members()[1].address;
    let hear = |by: Address, body: RaftStatement| {
        let signature = crate::crypto::Signature::new([1; 64]);
        let statement = Statement { by, body: StatementBody::Raft(body), signature };
        listening.heard_statement(&Verified::trusted(statement), Round::new(7))
    };
    let (height, beat) = (Height::new(3), 1);
    let last = crate::types::LogPosition { height, entry: None };
    let words = |term: u32| {
        let term = Round::new(term);
        [
            RaftStatement::Heartbeat { term, height, beat },
            RaftStatement::Following { term, height, entry: None, beat },
            RaftStatement::RequestVote { term, election: Election::Vote, last },
            RaftStatement::RequestVote { term: Round::new(term.get() + 1), election: Election::PreVote, last },
        ]
    };
    for body in words(7).into_iter().chain(words(6)) {
        assert_eq!(hear(scene.own, body), Verdict::GoOn, "our own, repeated");
    }
    for body in words(8) {
        assert_eq!(hear(other, body.clone()), Verdict::GoOn);
        let found = Elsewhere::Statement { heard: Round::new(8), newest: Round::new(7) };
        assert_eq!(hear(scene.own, body), Verdict::Elsewhere(found));
    }
}

#[test]
fn before_consensus_begins_no_time_counts() {
    let scene = Scene::new();
    let mut listening = Listening::before_signing(scene.own, scene.last, LONGEST);
    assert_eq!(listening.tick(seconds(1000)), Verdict::GoOn);
    assert!(!listening.may_sign());
}

#[test]
fn who_signs_still_listens_and_takes_its_own_signatures_for_its_own() {
    let scene = Scene::new();
    let mut listening = Listening::while_signing(scene.own, scene.last);
    assert!(listening.may_sign());
    let vote = scene.vote(0, VoteKind::Precommit, 8, 0);
    assert!(matches!(listening.heard(&vote), Verdict::Elsewhere(_)));
    listening.signed(SignPosition::of_vote(vote.get()));
    assert_eq!(listening.heard(&vote), Verdict::GoOn);
    assert_eq!(listening.decided(seconds(1), &scene.commit(8, true)), Verdict::GoOn);
    assert!(matches!(listening.heard(&scene.vote(0, VoteKind::Prevote, 9, 0)), Verdict::Elsewhere(_)));
}

#[test]
fn one_attempt_at_a_height_is_listened_to_within_the_limits() {
    let timeouts = |each: Duration| Timeouts {
        propose: each,
        propose_delta: SECOND,
        prevote: each,
        prevote_delta: SECOND,
        precommit: each,
        precommit_delta: SECOND,
        commit: SECOND,
        skip_commit_when_all_voted: false,
        empty_blocks: crate::consensus::EmptyBlocks::Always,
        election: each,
        heartbeat: Duration::from_millis(50),
        view_change: each,
    };
    let attempts = [(Algorithm::Tendermint, 3), (Algorithm::Pbft, 1), (Algorithm::Raft, 2)];
    for (algorithm, attempt) in attempts {
        assert_eq!(listen_for(algorithm, &timeouts(SECOND)), SECOND * attempt, "{algorithm}");
        assert_eq!(listen_for(algorithm, &timeouts(SECOND * 60)), LISTEN_MAX, "{algorithm}");
        assert_eq!(listen_for(algorithm, &timeouts(Duration::from_millis(1))), LISTEN_MIN, "{algorithm}");
    }
}

#[test]
fn who_has_nobody_to_listen_to_waits_for_the_first_peer_but_not_for_ever() {
    let scene = Scene::new();
    let mut alone = Listening::before_signing(scene.own, scene.last, LONGEST);
    assert_eq!(alone.begin(seconds(100), Height::new(7), Company::Nobody), Some(seconds(100).plus(LISTEN_MAX)));
    assert_eq!(alone.tick(seconds(106)), Verdict::GoOn, "silence says nothing");
    assert_eq!(alone.peer_came(seconds(107)), Some(seconds(112)), "from here on as if it had just begun");
    assert_eq!(alone.peer_came(seconds(108)), None, "the second peer changes nothing");
    assert_eq!(alone.tick(seconds(111)), Verdict::GoOn);
    assert_eq!(alone.tick(seconds(112)), Verdict::Clear);
    let mut left_alone = Listening::before_signing(scene.own, scene.last, LONGEST);
    left_alone.begin(seconds(100), Height::new(7), Company::Nobody);
    assert_eq!(left_alone.tick(seconds(100).plus(LISTEN_MAX)), Verdict::Clear, "it may decide alone");
}
