//! True evidence of each kind, and every way in which it can be false.

use super::*;
use crate::types::tests::{Signers, block_id, chain_id, time};
use crate::types::{BlockId, Commit, ConsensusParams, LightBlock, PartSetHeader, Round, Version, VoteKind};
use bytes::Bytes;
use std::time::Duration;

pub(crate) const HEIGHT: u64 = 5;

/// Time of the block at a height on the chain of these tests.
pub(crate) fn block_time(height: u64) -> Time {
    time(1000 + height as i64)
}

/// The state after `height`, decided by `signers`.
pub(crate) fn state_after(height: u64, signers: &Signers) -> ChainState {
    let set = Arc::new(signers.set.clone());
    ChainState {
        algorithm: crate::types::Algorithm::Tendermint,
        version: Version { block: Version::BLOCK, app: 0 },
        chain_id: chain_id(),
        initial_height: Height::FIRST,
        last_block_height: Height::new(height),
        last_block_id: Some(block_id("last")),
        last_block_time: block_time(height),
        next_validators: set.clone(),
        validators: set.clone(),
        last_validators: Some(set),
        last_height_validators_changed: Height::FIRST,
        consensus_params: Arc::new(ConsensusParams::default()),
        last_height_consensus_params_changed: Height::FIRST,
        last_results_hash: Hash::EMPTY,
        app_hash: Bytes::new(),
    }
}

pub(crate) fn facts_at(height: u64, signers: &Signers) -> Facts {
    Facts { block_time: block_time(height), validators: Arc::new(signers.set.clone()), trusted: None }
}

/// The validator at `index` prevoted for two blocks at `height`.
pub(crate) fn double_vote(signers: &Signers, index: usize, height: u64) -> DuplicateVoteEvidence {
    let vote = |word| signers.vote(index, VoteKind::Prevote, height, 0, Some(block_id(word)));
    DuplicateVoteEvidence::new(vote("x"), vote("y"), block_time(height), &signers.set).unwrap()
}

pub(crate) fn signers() -> Signers {
    Signers::new(1, &[40, 30, 20, 10])
}

fn verify_votes(signers: &Signers, evidence: DuplicateVoteEvidence) -> Result<(), InvalidEvidence> {
    let evidence = Evidence::DuplicateVote(Box::new(evidence));
    verify(&evidence, &facts_at(HEIGHT, signers), &state_after(HEIGHT + 2, signers))
}

#[test]
fn a_double_vote_is_proven_for_any_kind_for_nil_and_whoever_reports_it() {
    let signers = signers();
    for kind in [VoteKind::Prevote, VoteKind::Precommit] {
        for block in [None, Some(block_id("y"))] {
            let one = signers.vote(2, kind, HEIGHT, 3, Some(block_id("x")));
            let other = signers.vote(2, kind, HEIGHT, 3, block);
            let at = block_time(HEIGHT);
            let evidence = DuplicateVoteEvidence::new(one.clone(), other.clone(), at, &signers.set).unwrap();
            let reported = DuplicateVoteEvidence::new(other, one, at, &signers.set).unwrap();
            assert_eq!(evidence, reported, "the order of the votes does not depend on who came first");
            assert_eq!(verify_votes(&signers, evidence), Ok(()));
        }
    }
}

#[test]
fn no_evidence_is_made_of_votes_that_do_not_contradict() {
    let signers = signers();
    let vote = |index, round, word| signers.vote(index, VoteKind::Prevote, HEIGHT, round, Some(block_id(word)));
    let make = |one, other| DuplicateVoteEvidence::new(one, other, block_time(HEIGHT), &signers.set);
    assert_eq!(make(vote(0, 0, "x"), vote(0, 0, "x")), None);
    assert_eq!(make(vote(0, 0, "x"), vote(0, 1, "y")), None);
    assert_eq!(make(vote(0, 0, "x"), vote(1, 0, "y")), None);
    let stranger = Signers::new(9, &[10]).vote(0, VoteKind::Prevote, HEIGHT, 0, None);
    assert_eq!(make(stranger.clone(), stranger), None);
}

#[test]
fn every_false_statement_about_two_votes_is_refused() {
    type Bend = fn(&mut DuplicateVoteEvidence, &Signers);
    let cases: [(&str, Bend); 12] = [
        ("evidence has a different time to the block", |e, _| e.timestamp = time(1)),
        ("duplicate votes in invalid order", |e, _| std::mem::swap(&mut e.vote_a, &mut e.vote_b)),
        ("duplicate votes in invalid order", |e, _| e.vote_b = e.vote_a.clone()),
        ("invalid VoteA: unexpected vote extension in a vote", |e, _| e.vote_a.extension = Bytes::from_static(b"x")),
        ("h/r/s does not match: 5/0/Prevote vs 6/0/Prevote", |e, _| e.vote_b.height = Height::new(6)),
        ("h/r/s does not match: 5/0/Prevote vs 5/1/Prevote", |e, _| e.vote_b.round = Round::new(1)),
        ("h/r/s does not match: 5/0/Prevote vs 5/0/Precommit", |e, _| e.vote_b.kind = VoteKind::Precommit),
        ("validator addresses do not match", |e, s| e.vote_b.validator_address = s.set.members()[1].address),
        ("validator power from evidence", |e, _| e.validator_power = Power::new(41)),
        ("total voting power from the evidence", |e, _| e.total_voting_power = Power::new(101)),
        ("verifying VoteA: invalid signature", |e, _| e.vote_a.signature = e.vote_b.signature),
        ("verifying VoteB: invalid signature", |e, _| e.vote_b.signature = e.vote_a.signature),
    ];
    let signers = signers();
    for (text, bend) in cases {
        let mut evidence = double_vote(&signers, 0, HEIGHT);
        bend(&mut evidence, &signers);
        let error = verify_votes(&signers, evidence).expect_err(text).to_string();
        assert!(error.starts_with(text), "{error}");
    }
    let mut evidence = double_vote(&signers, 0, HEIGHT);
    evidence.vote_a.validator_address = Address::new([9; 20]);
    let error = verify_votes(&signers, evidence).unwrap_err().to_string();
    assert!(error.ends_with("was not a validator at height 5"), "{error}");
}

#[test]
fn evidence_expires_only_when_it_is_too_old_in_blocks_and_in_time() {
    let signers = signers();
    let mut params = ConsensusParams::default();
    params.evidence.max_age_num_blocks = 10;
    params.evidence.max_age_duration = Duration::from_secs(100);
    for (blocks, seconds, expired) in [(10, 100, false), (11, 100, false), (10, 101, false), (11, 101, true)] {
        let mut state = state_after(HEIGHT + blocks, &signers);
        state.last_block_time = block_time(HEIGHT).plus(Duration::from_secs(seconds));
        state.consensus_params = Arc::new(params.clone());
        let evidence = Evidence::DuplicateVote(Box::new(double_vote(&signers, 0, HEIGHT)));
        let result = verify(&evidence, &facts_at(HEIGHT, &signers), &state);
        assert_eq!(matches!(result, Err(InvalidEvidence::Expired { .. })), expired, "{blocks} blocks, {seconds} s");
        assert_eq!(result.is_ok(), !expired);
    }
}

// ---------------------------------------------------------------------------------------- light-client attacks

fn header(height: u64, signers: &Signers, app_hash: &'static [u8], data: &str) -> Header {
    Header {
        time: block_time(height),
        data_hash: block_id(data).hash,
        app_hash: Bytes::from_static(app_hash),
        proposer_address: signers.set.proposer().address,
        ..signers.header(height)
    }
}

fn signed(header: Header, signers: &Signers, absent: &[usize], round: u32) -> SignedHeader {
    let id = BlockId { hash: header.hash(), parts: PartSetHeader { total: 1, hash: Hash::EMPTY } };
    let mut commit: Commit = signers.commit(header.height, id, header.time.seconds());
    commit.round = Round::new(round);
    absent.iter().for_each(|index| commit.signatures[*index] = CommitSig::Absent);
    signers.sign_again(&mut commit);
    SignedHeader { header, commit }
}

/// An attack with everything that is needed to judge it.
struct Attack {
    evidence: LightClientAttackEvidence,
    trusted: SignedHeader,
    common: Signers,
}

impl Attack {
    fn new(
        common_height: u64,
        conflicting: SignedHeader,
        by: &Signers,
        trusted: SignedHeader,
        guilty: &[usize],
    ) -> Attack {
        let common = signers();
        let evidence = LightClientAttackEvidence {
            conflicting_block: LightBlock { signed_header: conflicting, validators: by.set.clone() },
            common_height: Height::new(common_height),
            byzantine_validators: guilty.iter().map(|index| common.set.members()[*index].clone()).collect(),
            total_voting_power: common.set.total_power(),
            timestamp: block_time(common_height),
        };
        Attack { evidence, trusted, common }
    }

    /// Members 0 and 1 of the common set (70 of 100) signed a header at height 5 with an invented state.
    fn lunatic() -> Attack {
        let signers = signers();
        let lie = signed(header(HEIGHT, &signers, b"lie", "a"), &signers, &[2, 3], 0);
        Attack::new(3, lie, &signers, signed(header(HEIGHT, &signers, b"", "a"), &signers, &[], 0), &[0, 1])
    }

    /// Members 0, 1 and 3 signed two blocks of height 5 in one round; 2 signed only the false one.
    fn equivocation() -> Attack {
        let signers = signers();
        let second = signed(header(HEIGHT, &signers, b"", "b"), &signers, &[], 0);
        Attack::new(HEIGHT, second, &signers, signed(header(HEIGHT, &signers, b"", "a"), &signers, &[2], 0), &[0, 1, 3])
    }

    /// A header at height 9, above our tip 7.
    fn forward(seconds: i64) -> Attack {
        let signers = signers();
        let mut ahead = header(9, &signers, b"lie", "a");
        ahead.time = time(block_time(7).seconds() + seconds);
        let tip = signed(header(7, &signers, b"", "a"), &signers, &[], 0);
        Attack::new(3, signed(ahead, &signers, &[], 0), &signers, tip, &[0, 1, 2, 3])
    }

    fn verify(&self) -> Result<(), InvalidEvidence> {
        let evidence = Evidence::LightClientAttack(Box::new(self.evidence.clone()));
        let height = self.evidence.common_height.get();
        let trusted = Some(self.trusted.clone());
        let facts = Facts { trusted, ..facts_at(height, &self.common) };
        verify(&evidence, &facts, &state_after(7, &self.common))
    }
}

/// The block of height 5 that is ours, said to be an attack on it.
pub(crate) fn our_own_block_as_an_attack() -> (Evidence, Facts) {
    let signers = signers();
    let ours = signed(header(HEIGHT, &signers, b"", "a"), &signers, &[], 0);
    let Attack { evidence, trusted, common } = Attack::new(3, ours.clone(), &signers, ours, &[0, 1, 2, 3]);
    let facts = Facts { trusted: Some(trusted), ..facts_at(3, &common) };
    (Evidence::LightClientAttack(Box::new(evidence)), facts)
}

#[test]
fn the_three_provable_attacks_are_proven() {
    assert_eq!(Attack::lunatic().verify(), Ok(()));
    assert_eq!(Attack::equivocation().verify(), Ok(()));
    assert_eq!(Attack::forward(0).verify(), Ok(()));
}

#[test]
fn a_header_above_our_tip_is_an_attack_only_when_it_is_not_later() {
    assert_eq!(
        Attack::forward(1).verify(),
        Err(InvalidEvidence::LaterThanOurs { conflicting: time(block_time(7).seconds() + 1), trusted: block_time(7) })
    );
}

#[test]
fn amnesia_blames_nobody_and_is_refused_as_cometbft_refuses_it() {
    let signers = signers();
    let second = signed(header(HEIGHT, &signers, b"", "b"), &signers, &[], 1);
    let ours = signed(header(HEIGHT, &signers, b"", "a"), &signers, &[], 0);
    for guilty in [&[][..], &[0]] {
        let attack = Attack::new(HEIGHT, second.clone(), &signers, ours.clone(), guilty);
        assert_eq!(attack.verify(), Err(InvalidEvidence::NobodyToBlame(guilty.len())));
    }
}

#[test]
fn our_own_block_is_no_attack() {
    let signers = signers();
    let ours = signed(header(HEIGHT, &signers, b"", "a"), &signers, &[], 0);
    let attack = Attack::new(3, ours.clone(), &signers, ours.clone(), &[0, 1, 2, 3]);
    assert_eq!(attack.verify(), Err(InvalidEvidence::SameHeader(ours.header.hash())));
}

#[test]
fn an_invented_state_at_the_common_height_itself_is_refused() {
    let mut attack = Attack::lunatic();
    attack.evidence.common_height = Height::new(HEIGHT);
    attack.evidence.timestamp = block_time(HEIGHT);
    assert_eq!(attack.verify(), Err(InvalidEvidence::NotDerived));
}

#[test]
fn strangers_alone_cannot_make_an_attack() {
    let strangers = Signers::new(9, &[40, 30, 20, 10]);
    let ours = Attack::lunatic().trusted;
    let lie = signed(header(HEIGHT, &strangers, b"lie", "a"), &strangers, &[], 0);
    let attack = Attack::new(3, lie, &strangers, ours, &[]);
    let error = CommitError::NotEnoughPower { got: 0, needed: 33 };
    assert_eq!(attack.verify(), Err(InvalidEvidence::Skipping(error)));
}

#[test]
fn one_third_of_ours_is_not_enough_without_two_thirds_of_the_false_set() {
    let signers = signers();
    let lie = signed(header(HEIGHT, &signers, b"lie", "a"), &signers, &[1, 3], 0); // 60 of 100
    let attack = Attack::new(3, lie, &signers, Attack::lunatic().trusted, &[0, 2]);
    let error = CommitError::NotEnoughPower { got: 60, needed: 66 };
    assert_eq!(attack.verify(), Err(InvalidEvidence::ConflictingCommit(error)));
}

/// Bug class 052: every signature accuses somebody, so one forged signature at each position is refused.
#[test]
fn one_forged_signature_at_each_position_is_refused() {
    for index in [0, 1, 2, 3] {
        let mut attack = Attack::equivocation();
        let commit = &mut attack.evidence.conflicting_block.signed_header.commit;
        let CommitSig::Commit(part) = &mut commit.signatures[index] else { panic!("it signed") };
        part.timestamp = time(1);
        let result = attack.verify();
        let found = matches!(
            result,
            Err(InvalidEvidence::ConflictingCommit(CommitError::WrongSignature { index: at, .. })) if at == index
        );
        assert!(found, "{result:?}");
    }
}

/// Bug class 052: one wrong entry at each position of the list of offenders.
#[test]
fn the_list_of_offenders_is_exactly_the_one_that_follows() {
    for position in [0, 1, 2] {
        let bend = |change: fn(&mut Validator)| {
            let mut attack = Attack::equivocation();
            change(&mut attack.evidence.byzantine_validators[position]);
            attack.verify()
        };
        for wrong in [
            bend(|member| member.power = Power::new(99)),
            bend(|member| member.address = Address::new([9; 20])),
            bend(|member| member.public_key = crate::crypto::PublicKey::new([9; 32])),
        ] {
            assert!(matches!(wrong, Err(InvalidEvidence::WrongOffender { .. })), "{wrong:?}");
        }
        let mut attack = Attack::equivocation();
        attack.evidence.byzantine_validators.remove(position);
        assert_eq!(attack.verify(), Err(InvalidEvidence::WrongOffenders { expected: 3, got: 2 }));
    }
    let mut attack = Attack::equivocation();
    attack.evidence.byzantine_validators.swap(0, 1);
    assert!(matches!(attack.verify(), Err(InvalidEvidence::WrongOffender { .. })));
}

#[test]
fn offenders_stand_in_order_of_their_power_at_the_common_height_however_the_false_set_orders_them() {
    // The same four keys: who was the strongest is the weakest in the invented set.
    let turned = Signers::new(1, &[10, 20, 30, 40]);
    let lie = signed(header(HEIGHT, &turned, b"lie", "a"), &turned, &[], 0);
    let attack = Attack::new(3, lie, &turned, Attack::lunatic().trusted, &[0, 1, 2, 3]);
    assert_eq!(attack.verify(), Ok(()));
}

#[test]
fn every_other_false_statement_about_an_attack_is_refused() {
    type Bend = fn(&mut Attack);
    let cases: [(&str, Bend); 7] = [
        ("evidence has a different time", |a| a.evidence.timestamp = time(1)),
        ("negative or zero total voting power", |a| a.evidence.total_voting_power = Power::ZERO),
        ("total voting power from the evidence", |a| a.evidence.total_voting_power = Power::new(99)),
        ("common height is ahead", |a| a.evidence.common_height = Height::new(6)),
        ("invalid conflicting light block: invalid signed header: commit signs block", |a| {
            a.evidence.conflicting_block.signed_header.header.data_hash = Hash::EMPTY;
        }),
        ("invalid conflicting light block: expected validator hash of header", |a| {
            a.evidence.conflicting_block.validators = Signers::new(9, &[1]).set;
        }),
        ("skipping verification of conflicting block failed: wrong signature (#0)", |a| {
            a.evidence.conflicting_block.signed_header.commit.round = Round::new(1);
        }),
    ];
    for (text, bend) in cases {
        let mut attack = Attack::lunatic();
        bend(&mut attack);
        let evidence = Evidence::LightClientAttack(Box::new(attack.evidence.clone()));
        let facts = Facts {
            trusted: Some(attack.trusted.clone()),
            ..facts_at(if text.starts_with("common") { 6 } else { 3 }, &attack.common)
        };
        let error = verify(&evidence, &facts, &state_after(7, &attack.common)).expect_err(text).to_string();
        assert!(error.starts_with(text), "{error}");
    }
    let attack = Attack::lunatic();
    let evidence = Evidence::LightClientAttack(Box::new(attack.evidence.clone()));
    assert_eq!(trusted_height(&evidence), Some(Height::new(HEIGHT)));
    let nothing = facts_at(3, &attack.common);
    let result = verify(&evidence, &nothing, &state_after(7, &attack.common));
    assert_eq!(result, Err(InvalidEvidence::NoHeader(Height::new(HEIGHT))));
}

/// What is said in pieces and the verdict agree, on true evidence and on each forged signature.
#[test]
fn a_report_names_what_is_wrong_and_only_that() {
    use crate::evidence::report::examine;
    let wrong = |evidence: &Evidence, facts: &Facts| -> Vec<String> {
        let checks = examine(evidence, facts, &chain_id());
        checks.into_iter().filter(|check| check.outcome.is_err()).map(|check| check.name).collect()
    };
    let attack_facts = |attack: &Attack| {
        let height = attack.evidence.common_height.get();
        Facts { trusted: Some(attack.trusted.clone()), ..facts_at(height, &attack.common) }
    };
    for attack in [Attack::lunatic(), Attack::equivocation(), Attack::forward(0)] {
        let (evidence, facts) = (Evidence::LightClientAttack(Box::new(attack.evidence.clone())), attack_facts(&attack));
        assert_eq!(wrong(&evidence, &facts), [] as [&str; 0]);
        assert_eq!(prove(&evidence, &facts, &chain_id()), Ok(()));
    }
    for index in 0..4 {
        let mut attack = Attack::equivocation();
        let commit = &mut attack.evidence.conflicting_block.signed_header.commit;
        let CommitSig::Commit(part) = &mut commit.signatures[index] else { panic!("it signed") };
        part.timestamp = time(1);
        let evidence = Evidence::LightClientAttack(Box::new(attack.evidence.clone()));
        assert_eq!(wrong(&evidence, &attack_facts(&attack)), [format!("signature {index}")]);
    }
    type Bend = fn(&mut DuplicateVoteEvidence);
    let cases: [(&[&str], Bend); 6] = [
        (&[], |_| {}),
        (&["time"], |e| e.timestamp = time(1)),
        (&["power"], |e| e.validator_power = Power::new(41)),
        (&["total power"], |e| e.total_voting_power = Power::new(101)),
        (&["signature A"], |e| e.vote_a.signature = e.vote_b.signature),
        (&["form"], |e| std::mem::swap(&mut e.vote_a, &mut e.vote_b)),
    ];
    for (names, bend) in cases {
        let signers = signers();
        let mut votes = double_vote(&signers, 0, HEIGHT);
        bend(&mut votes);
        let evidence = Evidence::DuplicateVote(Box::new(votes));
        let facts = facts_at(HEIGHT, &signers);
        assert_eq!(wrong(&evidence, &facts), names);
        assert_eq!(prove(&evidence, &facts, &chain_id()).is_ok(), names.is_empty());
    }
}
