//! A valid block, and every rule seen to fail on its own when one thing about the block or the state is bent.

use super::*;
use crate::types::tests::{Signers, block_id, chain_id, time};
use crate::types::{
    ChainId, CommitSig, ConsensusParams, DuplicateVoteEvidence, Header, Height, Power, Tx, Version, VoteKind,
};
use bytes::Bytes;
use std::sync::Arc;

/// Makes one thing wrong.
type Bend = fn(&mut Fixture);

struct Fixture {
    signers: Signers,
    state: ChainState,
    block: Block,
}

impl Fixture {
    /// Four validators decided height 4 of a chain that began at height 3; the block is at height 5.
    fn at_height_5() -> Fixture {
        let signers = Signers::new(1, &[10, 20, 30, 40]);
        let mut state = genesis(&signers);
        state.last_block_height = Height::new(4);
        state.last_block_id = Some(block_id("block 4"));
        state.last_block_time = time(50);
        state.last_validators = Some(Arc::new(signers.set.clone()));
        let commit = signers.commit(Height::new(4), block_id("block 4"), 100);
        Fixture::of(signers, state, Some(commit))
    }

    /// The first block, at height 3.
    fn at_the_beginning() -> Fixture {
        let signers = Signers::new(1, &[10, 20, 30, 40]);
        let state = genesis(&signers);
        Fixture::of(signers, state, None)
    }

    fn of(signers: Signers, state: ChainState, last_commit: Option<Commit>) -> Fixture {
        let time = match (&state.last_validators, &last_commit) {
            (Some(set), Some(commit)) => commit.median_time(set, MedianRule::CommitAndNil).unwrap(),
            _ => state.last_block_time,
        };
        let nothing = crate::crypto::Hash::EMPTY;
        let header = Header {
            version: state.version,
            chain_id: state.chain_id.clone(),
            height: state.next_height(),
            time,
            last_block_id: state.last_block_id,
            last_commit_hash: nothing,
            data_hash: nothing,
            validators_hash: state.validators.hash(),
            next_validators_hash: state.next_validators.hash(),
            consensus_hash: state.consensus_params.hash(),
            app_hash: state.app_hash.clone(),
            last_results_hash: state.last_results_hash,
            evidence_hash: nothing,
            proposer_address: state.validators.proposer().address,
        };
        let block = Block { header, txs: vec![Tx::new("a=b")], evidence: vec![], last_commit };
        let mut fixture = Fixture { signers, state, block };
        fixture.seal();
        fixture
    }

    /// Makes the content hashes right again.
    fn seal(&mut self) {
        self.block.header.last_commit_hash = self.block.last_commit_hash();
        self.block.header.data_hash = self.block.data_hash();
        self.block.header.evidence_hash = self.block.evidence_hash();
    }

    fn commit(&mut self) -> &mut Commit {
        self.block.last_commit.as_mut().unwrap()
    }

    fn validate(&self) -> Result<(), InvalidBlock> {
        self.validate_with(|_| ())
    }

    fn validate_with(&self, adjust: impl FnOnce(&mut BlockCheck<'_>)) -> Result<(), InvalidBlock> {
        let mut check = BlockCheck {
            clock: ClockRule::Ignored,
            last_commit: LastCommitRule::Verify,
            median: MedianRule::CommitAndNil,
            evidence: &|_| Ok(()),
        };
        adjust(&mut check);
        validate_block(&self.state, &self.block, check)
    }

    fn error(&self) -> String {
        self.validate().expect_err("the bent block was accepted").to_string()
    }
}

/// The state before height 3.
fn genesis(signers: &Signers) -> ChainState {
    let set = Arc::new(signers.set.clone());
    ChainState {
        algorithm: crate::types::Algorithm::Tendermint,
        version: Version { block: Version::BLOCK, app: 7 },
        chain_id: chain_id(),
        initial_height: Height::new(3),
        last_block_height: Height::ZERO,
        last_block_id: None,
        last_block_time: time(50),
        next_validators: Arc::new(set.advanced(1)),
        validators: set,
        last_validators: None,
        last_height_validators_changed: Height::new(3),
        consensus_params: Arc::new(ConsensusParams::default()),
        last_height_consensus_params_changed: Height::new(3),
        last_results_hash: crate::crypto::Hash::EMPTY,
        app_hash: Bytes::from_static(&[1, 2, 3, 4, 5, 6, 7, 8]),
    }
}

fn double_vote(signers: &Signers) -> Evidence {
    let vote = |word| signers.vote(0, VoteKind::Prevote, 4, 0, Some(block_id(word)));
    let mut votes = [vote("x"), vote("y")];
    votes.sort_by_key(|vote| vote.block_id);
    let [vote_a, vote_b] = votes;
    Evidence::DuplicateVote(Box::new(DuplicateVoteEvidence {
        vote_a,
        vote_b,
        total_voting_power: Power::new(100),
        validator_power: Power::new(40),
        timestamp: time(50),
    }))
}

#[test]
fn a_valid_block_passes_in_the_middle_and_at_the_beginning() {
    assert_eq!(Fixture::at_height_5().validate(), Ok(()));
    assert_eq!(Fixture::at_the_beginning().validate(), Ok(()));
}

#[test]
fn rule_1_block_protocol_and_height() {
    let mut fixture = Fixture::at_height_5();
    fixture.block.header.version.block = 10;
    assert_eq!(fixture.error(), "invalid header: block protocol is incorrect: got: 10, want: 11");
    let mut fixture = Fixture::at_height_5();
    fixture.block.header.height = Height::ZERO;
    assert_eq!(fixture.error(), "invalid header: zero Height");
}

#[test]
fn rule_1_a_last_commit_has_entries() {
    let mut fixture = Fixture::at_height_5();
    fixture.commit().signatures.clear();
    fixture.seal();
    assert_eq!(fixture.error(), "wrong LastCommit: no signatures in commit");
}

#[test]
fn rule_1_the_three_content_hashes() {
    let cases: [(&str, Bend); 3] = [
        ("LastCommitHash", |f| f.commit().signatures[0] = CommitSig::Absent),
        ("DataHash", |f| f.block.txs.push(Tx::new("c=d"))),
        ("EvidenceHash", |f| f.block.evidence.push(double_vote(&f.signers))),
    ];
    for (field, bend) in cases {
        let mut fixture = Fixture::at_height_5();
        bend(&mut fixture);
        assert!(fixture.error().starts_with(&format!("wrong Header.{field}. Expected ")), "{}", fixture.error());
    }
}

#[test]
fn rule_1_evidence_is_consistent_in_itself() {
    let mut fixture = Fixture::at_height_5();
    let Evidence::DuplicateVote(mut evidence) = double_vote(&fixture.signers) else { panic!("it is a double vote") };
    std::mem::swap(&mut evidence.vote_a, &mut evidence.vote_b);
    fixture.block.evidence = vec![double_vote(&fixture.signers), Evidence::DuplicateVote(evidence)];
    fixture.seal();
    assert_eq!(fixture.error(), "invalid evidence (#1): duplicate votes in invalid order");
}

#[test]
fn rule_2_the_header_says_what_our_state_says() {
    let cases: [(&str, Bend); 10] = [
        ("Version", |f| f.block.header.version.app = 8),
        ("ChainID", |f| f.block.header.chain_id = ChainId::try_from("other").unwrap()),
        ("Height", |f| f.block.header.height = Height::new(6)),
        ("LastBlockID", |f| f.block.header.last_block_id = Some(block_id("another block 4"))),
        ("LastBlockID", |f| f.block.header.last_block_id = None),
        ("AppHash", |f| f.block.header.app_hash = Bytes::new()),
        ("ConsensusHash", |f| f.block.header.consensus_hash = block_id("x").hash),
        ("LastResultsHash", |f| f.block.header.last_results_hash = block_id("x").hash),
        ("ValidatorsHash", |f| f.block.header.validators_hash = block_id("x").hash),
        ("NextValidatorsHash", |f| f.block.header.next_validators_hash = block_id("x").hash),
    ];
    for (field, bend) in cases {
        let mut fixture = Fixture::at_height_5();
        bend(&mut fixture);
        assert!(fixture.error().starts_with(&format!("wrong Block.Header.{field}. Expected ")), "{}", fixture.error());
    }
    let mut fixture = Fixture::at_the_beginning();
    fixture.block.header.height = Height::new(1);
    assert_eq!(fixture.error(), "wrong Block.Header.Height. Expected 3, got 1");
}

#[test]
fn rule_3_the_first_block_has_no_last_commit() {
    let mut fixture = Fixture::at_the_beginning();
    fixture.block.last_commit = Some(fixture.signers.commit(Height::new(2), block_id("x"), 1));
    fixture.seal();
    assert_eq!(fixture.error(), "initial block can't have LastCommit signatures");
}

#[test]
fn rule_3_the_last_commit_proves_the_last_block() {
    let cases: [(&str, Bend); 6] = [
        ("Invalid commit -- wrong set size: 4 vs 0", |f| f.block.last_commit = None),
        ("Invalid commit -- wrong set size: 4 vs 3", |f| f.commit().signatures.truncate(3)),
        ("Invalid commit -- wrong height: 4 vs 3", |f| f.commit().height = Height::new(3)),
        ("invalid commit -- wrong block ID: want ", |f| f.commit().block_id = block_id("another block 4")),
        ("invalid commit -- insufficient voting power: got 60, needed more than 66", |f| {
            f.commit().signatures[0] = CommitSig::Absent;
        }),
        ("wrong signature (#0): ", |f| f.commit().round = f.commit().round.next()),
    ];
    for (error, bend) in cases {
        let mut fixture = Fixture::at_height_5();
        bend(&mut fixture);
        fixture.seal();
        assert!(fixture.error().starts_with(error), "{}", fixture.error());
    }
}

#[test]
fn rule_3_signatures_verified_before_are_not_verified_again_but_must_be_there() {
    let mut fixture = Fixture::at_height_5();
    fixture.commit().round = fixture.commit().round.next();
    fixture.seal();
    let verified_before = |check: &mut BlockCheck<'_>| check.last_commit = LastCommitRule::VerifiedBefore;
    assert_eq!(fixture.validate_with(verified_before), Ok(()));
    fixture.block.last_commit = None;
    fixture.seal();
    let result = fixture.validate_with(verified_before);
    assert!(matches!(result, Err(InvalidBlock::LastCommit(CommitError::WrongSetSize { .. }))), "{result:?}");
}

#[test]
fn rule_4_the_proposer_is_a_validator() {
    let mut fixture = Fixture::at_height_5();
    fixture.block.header.proposer_address = Address::new([9; 20]);
    assert!(fixture.error().ends_with("is not a validator"), "{}", fixture.error());
}

#[test]
fn rule_5_a_block_is_earlier_than_now_plus_the_tolerance() {
    let fixture = Fixture::at_height_5();
    let at = fixture.block.header.time;
    let with_clock = |now, tolerance| {
        let tolerance = Duration::from_secs(tolerance);
        fixture.validate_with(|check| check.clock = ClockRule::Ahead { now, tolerance })
    };
    assert_eq!(with_clock(at, 1), Ok(()));
    let early = time(at.seconds() - 10);
    assert_eq!(with_clock(early, 11), Ok(()));
    let tolerance = Duration::from_secs(10);
    assert_eq!(with_clock(early, 10), Err(InvalidBlock::FromTheFuture { time: at, now: early, tolerance }));
}

#[test]
fn rule_6_time_grows() {
    for later in [0, 1] {
        let mut fixture = Fixture::at_height_5();
        fixture.state.last_block_time = time(fixture.block.header.time.seconds() + later);
        assert!(fixture.error().contains("not greater than last block time"), "{}", fixture.error());
    }
}

#[test]
fn rule_6_time_is_the_median_by_the_rule_of_the_chain() {
    let mut fixture = Fixture::at_height_5();
    fixture.block.header.time = time(fixture.block.header.time.seconds() + 1);
    assert!(fixture.error().starts_with("invalid block time. Expected "), "{}", fixture.error());

    // Powers 40, 30, 20, 10 at times 100, 101, 102, 103; now the 30 precommit nil, at 200.
    let mut fixture = Fixture::at_height_5();
    let CommitSig::Commit(part) = fixture.commit().signatures[1].clone() else { panic!("it signed the block") };
    let mut commit = fixture.commit().clone();
    commit.signatures[1] = CommitSig::Nil(crate::types::SignedPart { timestamp: time(200), ..part });
    fixture.signers.sign_again(&mut commit);
    fixture.block.last_commit = Some(commit);
    fixture.seal();
    for (rule, other, right, wrong) in [
        (MedianRule::CommitAndNil, MedianRule::CommitOnly, time(102), time(100)),
        (MedianRule::CommitOnly, MedianRule::CommitAndNil, time(100), time(102)),
    ] {
        fixture.block.header.time = right;
        assert_eq!(fixture.validate_with(|check| check.median = rule), Ok(()));
        let result = fixture.validate_with(|check| check.median = other);
        assert_eq!(result, Err(InvalidBlock::NotTheMedian { expected: wrong, got: right }));
    }
}

#[test]
fn rule_6_the_first_block_has_genesis_time() {
    for seconds in [49, 51] {
        let mut fixture = Fixture::at_the_beginning();
        fixture.block.header.time = time(seconds);
        assert!(fixture.error().contains("is not equal to genesis time"), "{}", fixture.error());
    }
}

#[test]
fn rule_7_evidence_keeps_to_its_bytes() {
    let mut fixture = Fixture::at_height_5();
    fixture.block.evidence = vec![double_vote(&fixture.signers)];
    fixture.seal();
    assert_eq!(fixture.validate(), Ok(()));
    let got = evidence_bytes(&fixture.block.evidence);
    let mut params = ConsensusParams::default();
    params.evidence.max_bytes = got;
    fixture.state.consensus_params = Arc::new(params.clone());
    assert_eq!(fixture.validate(), Ok(()));
    params.evidence.max_bytes = got - 1;
    fixture.state.consensus_params = Arc::new(params);
    assert_eq!(fixture.error(), format!("Too much evidence: Max {}, got {got}", got - 1));
}

#[test]
fn rule_7_the_evidence_pool_has_the_last_word() {
    let mut fixture = Fixture::at_height_5();
    let refuse = |check: &mut BlockCheck<'_>| check.evidence = &|_| Err("evidence was already committed".to_owned());
    assert_eq!(fixture.validate_with(refuse), Ok(()), "there is none");
    fixture.block.evidence = vec![double_vote(&fixture.signers)];
    fixture.seal();
    assert_eq!(fixture.validate_with(refuse), Err(InvalidBlock::Evidence("evidence was already committed".to_owned())));
}
