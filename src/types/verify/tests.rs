//! Every way a commit can be wrong, one bent thing at a time.

use super::*;
use crate::crypto::PrivateKey;
use crate::types::tests::{Signers, block_id, chain_id};
use crate::types::{Power, Round};
use bytes::Bytes;

const HEIGHT: Height = Height::new(5);

fn four() -> Signers {
    Signers::new(1, &[10, 10, 10, 10])
}

fn good(signers: &Signers) -> Commit {
    signers.commit(HEIGHT, block_id("a"), 100)
}

fn full(signers: &Signers, commit: &Commit) -> Result<(), CommitError> {
    signers.set.verify_commit(&chain_id(), &block_id("a"), HEIGHT, commit, Quorum::MoreThanTwoThirds)
}

fn light(signers: &Signers, commit: &Commit) -> Result<(), CommitError> {
    signers.set.verify_commit_light(&chain_id(), &block_id("a"), HEIGHT, commit)
}

fn light_all(signers: &Signers, commit: &Commit) -> Result<(), CommitError> {
    signers.set.verify_commit_light_all_signatures(&chain_id(), &block_id("a"), HEIGHT, commit)
}

fn trusting(signers: &Signers, commit: &Commit) -> Result<(), CommitError> {
    signers.set.verify_commit_light_trusting(&chain_id(), commit, TrustLevel::ONE_THIRD)
}

fn trusting_all(signers: &Signers, commit: &Commit) -> Result<(), CommitError> {
    signers.set.verify_commit_light_trusting_all_signatures(&chain_id(), commit, TrustLevel::ONE_THIRD)
}

type Way = fn(&Signers, &Commit) -> Result<(), CommitError>;
const ALL_WAYS: [Way; 5] = [full, light, light_all, trusting, trusting_all];
const BY_POSITION: [Way; 3] = [full, light, light_all];

fn part_of(commit: &mut Commit, index: usize) -> &mut SignedPart {
    match &mut commit.signatures[index] {
        CommitSig::Commit(part) | CommitSig::Nil(part) => part,
        CommitSig::Absent => panic!("entry {index} is absent"),
    }
}

fn turn_nil(signers: &Signers, commit: &mut Commit, index: usize) {
    commit.signatures[index] = CommitSig::Nil(part_of(commit, index).clone());
    signers.sign_again(commit);
}

fn spoil(commit: &mut Commit, index: usize) {
    let mut bytes = *part_of(commit, index).signature.as_bytes();
    bytes[0] ^= 1;
    part_of(commit, index).signature = Signature::new(bytes);
}

#[test]
fn a_good_commit_passes_every_way_from_1_to_100_validators() {
    for count in [1, 2, 4, 63, 64, 100] {
        let signers = Signers::new(1, &vec![10; count]);
        let commit = good(&signers);
        for way in ALL_WAYS {
            assert_eq!(way(&signers, &commit), Ok(()), "{count} validators");
        }
    }
}

#[test]
fn more_than_two_thirds_is_needed_and_exactly_two_thirds_is_not_enough() {
    let signers = Signers::new(1, &[10, 10, 10]);
    let mut commit = good(&signers);
    commit.signatures[1] = CommitSig::Absent;
    let error = CommitError::NotEnoughPower { got: 20, needed: 20 };
    assert_eq!(full(&signers, &commit), Err(error.clone()));
    assert_eq!(light(&signers, &commit), Err(error.clone()));
    assert_eq!(error.to_string(), "invalid commit -- insufficient voting power: got 20, needed more than 20");
    let uneven = Signers::new(1, &[11, 10, 10]); // needs more than 20 of 31
    let mut commit = good(&uneven);
    commit.signatures[1] = CommitSig::Absent;
    assert_eq!(full(&uneven, &commit), Ok(()));
}

#[test]
fn precommits_for_nil_are_verified_but_do_not_count() {
    let signers = four();
    let mut commit = good(&signers);
    turn_nil(&signers, &mut commit, 0);
    assert_eq!(full(&signers, &commit), Ok(()));
    spoil(&mut commit, 0);
    assert!(matches!(full(&signers, &commit), Err(CommitError::WrongSignature { index: 0, .. })));
    assert_eq!(light(&signers, &commit), Ok(()), "light verification does not look at nil");
    assert_eq!(light_all(&signers, &commit), Ok(()));
    turn_nil(&signers, &mut commit, 1);
    for way in BY_POSITION {
        assert_eq!(way(&signers, &commit), Err(CommitError::NotEnoughPower { got: 20, needed: 26 }));
    }
}

#[test]
fn one_bad_signature_is_found_at_each_position_unless_enough_good_ones_come_first() {
    for count in [4, 100] {
        let signers = Signers::new(1, &vec![10; count]);
        let enough_for_two_thirds = count * 2 / 3; // the last position light verification looks at
        let enough_for_one_third = count / 3;
        for index in [0, 1, count / 3, count / 3 + 1, count * 2 / 3, count - 1] {
            let mut commit = good(&signers);
            spoil(&mut commit, index);
            let signature = part_of(&mut commit, index).signature;
            let expected = Err(CommitError::WrongSignature { index, signature });
            assert_eq!(full(&signers, &commit), expected, "{index} of {count}");
            assert_eq!(light_all(&signers, &commit), expected);
            assert_eq!(trusting_all(&signers, &commit), expected);
            assert_eq!(light(&signers, &commit).is_ok(), index > enough_for_two_thirds, "{index} of {count}");
            assert_eq!(trusting(&signers, &commit).is_ok(), index > enough_for_one_third, "{index} of {count}");
        }
    }
}

#[test]
fn the_first_of_two_bad_signatures_is_named() {
    let signers = Signers::new(1, &[10; 80]);
    let mut commit = good(&signers);
    spoil(&mut commit, 71);
    spoil(&mut commit, 33);
    assert!(matches!(full(&signers, &commit), Err(CommitError::WrongSignature { index: 33, .. })));
}

#[test]
fn size_height_and_block_are_compared_first() {
    let signers = four();
    let mut commit = good(&signers);
    commit.signatures.pop();
    for way in BY_POSITION {
        assert_eq!(way(&signers, &commit), Err(CommitError::WrongSetSize { expected: 4, got: 3 }));
    }
    let mut commit = good(&signers);
    commit.height = Height::new(6);
    for way in BY_POSITION {
        assert_eq!(way(&signers, &commit), Err(CommitError::WrongHeight { expected: HEIGHT, got: commit.height }));
    }
    let mut commit = good(&signers);
    commit.block_id.parts.total += 1;
    for way in BY_POSITION {
        let error = way(&signers, &commit).unwrap_err();
        assert!(matches!(error, CommitError::WrongBlockId { .. }));
        assert!(error.to_string().starts_with("invalid commit -- wrong block ID: want "), "{error}");
    }
}

#[test]
fn a_signature_is_bound_to_chain_round_time_and_signer() {
    let signers = four();
    let other_chain = ChainId::try_from("other-chain").unwrap();
    let commit = good(&signers);
    let result = signers.set.verify_commit(&other_chain, &block_id("a"), HEIGHT, &commit, Quorum::MoreThanTwoThirds);
    assert!(matches!(result, Err(CommitError::WrongSignature { index: 0, .. })));
    let mut commit = good(&signers);
    commit.round = Round::new(1);
    assert!(matches!(full(&signers, &commit), Err(CommitError::WrongSignature { index: 0, .. })));
    let mut commit = good(&signers);
    part_of(&mut commit, 2).timestamp = part_of(&mut commit, 1).timestamp;
    assert!(matches!(full(&signers, &commit), Err(CommitError::WrongSignature { index: 2, .. })));
}

/// Bug class 001: the median time looks signers up by address, so the address must be the one at the position.
#[test]
fn swapped_or_unknown_addresses_are_refused_at_each_position() {
    let signers = four();
    for index in 0..4 {
        let mut commit = good(&signers);
        let expected = signers.set.members()[index].address;
        for got in [signers.set.members()[(index + 1) % 4].address, Address::new([9; 20])] {
            part_of(&mut commit, index).validator_address = got;
            assert_eq!(full(&signers, &commit), Err(CommitError::WrongAddress { index, expected, got }));
        }
    }
}

/// Bug class 056: one signer must not count twice when signers are found by address.
#[test]
fn a_signer_named_twice_is_refused_when_trusting() {
    let signers = Signers::new(1, &[10, 10, 10, 10, 10, 10]);
    let mut commit = good(&signers);
    commit.signatures[1] = commit.signatures[0].clone();
    let address = signers.set.members()[0].address;
    let expected = Err(CommitError::DoubleVote { address, first: 0, second: 1 });
    assert_eq!(trusting(&signers, &commit), expected);
    assert_eq!(trusting_all(&signers, &commit), expected);
}

#[test]
fn trusting_counts_only_the_trusted_among_strangers() {
    let key = |id: u8| PrivateKey::from_seed(&[id; 32]);
    let trusted = Signers::of(vec![(key(1), 10), (key(2), 10), (key(3), 10)]);
    let made_by = |keys: &[u8]| {
        let signers = Signers::of(keys.iter().map(|id| (key(*id), 50)).collect());
        good(&signers)
    };
    assert_eq!(trusting(&trusted, &made_by(&[7, 1, 8, 2])), Ok(()));
    assert_eq!(trusting(&trusted, &made_by(&[7, 1, 8, 9])), Err(CommitError::NotEnoughPower { got: 10, needed: 10 }));
    let all = TrustLevel::new(1, 1).unwrap();
    assert_eq!(
        trusted.set.verify_commit_light_trusting(&chain_id(), &made_by(&[1, 2, 3]), all),
        Err(CommitError::NotEnoughPower { got: 30, needed: 30 }),
        "nobody can sign more than everything"
    );
}

#[test]
fn trust_levels_lie_between_a_third_and_all() {
    for (n, d) in [(1, 3), (1, 1), (2, 3), (u64::MAX, u64::MAX), (1 << 62, (1 << 62) + 1)] {
        assert!(TrustLevel::new(n, d).is_ok(), "{n}/{d}");
    }
    for (n, d) in [(0, 0), (1, 0), (0, 1), (1, 4), (33, 100), (4, 3), (u64::MAX, 1)] {
        assert_eq!(TrustLevel::new(n, d), Err(TrustLevelError { numerator: n, denominator: d }));
    }
}

#[test]
fn the_largest_powers_are_counted_without_overflow() {
    let max = Power::TOTAL_MAX.get();
    let signers = Signers::new(1, &[max / 3, max / 3, max / 3]);
    let mut commit = good(&signers);
    for way in ALL_WAYS {
        assert_eq!(way(&signers, &commit), Ok(()));
    }
    commit.signatures[0] = CommitSig::Absent;
    let (got, needed) = (max / 3 * 2, max / 3 * 3 * 2 / 3);
    assert_eq!(full(&signers, &commit), Err(CommitError::NotEnoughPower { got, needed }));
}

/// Every set of up to four validators of power 1 to 4, every choice of signers, both quorums: 2 × 4,064 commits.
#[test]
fn a_commit_is_good_exactly_when_its_signers_are_the_quorum_of_the_protocol() {
    let mut commits = 0;
    for count in 1..=4u32 {
        for powers in 0..4u64.pow(count) {
            let powers: Vec<u64> = (0..count).map(|i| powers / 4u64.pow(i) % 4 + 1).collect();
            let signers = Signers::new(1, &powers);
            let members = signers.set.members();
            let total = signers.set.total_power();
            for absent in 0..1usize << count {
                let signed = |index: &usize| absent >> index & 1 == 0;
                let power: u64 = (0..members.len()).filter(signed).map(|index| members[index].power.get()).sum();
                let mut commit = good_unsigned(&signers);
                for index in (0..members.len()).filter(|index| !signed(index)) {
                    commit.signatures[index] = CommitSig::Absent;
                }
                for quorum in [Quorum::MoreThanTwoThirds, Quorum::MoreThanHalf] {
                    // The signatures are looked at last, and these are bad: their error says that the power sufficed.
                    let result = signers.set.verify_commit(&chain_id(), &block_id("a"), HEIGHT, &commit, quorum);
                    let enough = matches!(result, Err(CommitError::WrongSignature { .. }));
                    assert_eq!(enough, quorum.is_reached(Power::new(power), total), "{power} of {total}: {quorum:?}");
                }
                commits += 1;
            }
        }
    }
    assert_eq!(commits, 4 * 2 + 16 * 4 + 64 * 8 + 256 * 16);
}

fn good_unsigned(signers: &Signers) -> Commit {
    let entry = |member: &Validator| {
        let (validator_address, signature) = (member.address, Signature::new([0xff; 64]));
        CommitSig::Commit(SignedPart { validator_address, timestamp: crate::types::Time::ZERO, signature })
    };
    let signatures = signers.set.members().iter().map(entry).collect();
    Commit { height: HEIGHT, round: Round::ZERO, block_id: block_id("a"), signatures }
}

#[test]
fn three_of_five_decide_in_raft_and_their_signatures_count_all_the_same() {
    let signers = Signers::new(1, &[10; 5]);
    let mut commit = signers.extended_commit(HEIGHT, block_id("a"), b"x");
    let absent = ExtendedCommitSig { sig: CommitSig::Absent, extension: Bytes::new(), extension_signature: None };
    commit.signatures[1] = absent.clone();
    commit.signatures[4] = absent;
    let check = |commit: &ExtendedCommit, quorum| {
        let extensions = Extensions::Required;
        signers.set.verify_extended_commit(&chain_id(), &block_id("a"), HEIGHT, commit, extensions, quorum)
    };
    assert_eq!(check(&commit, Quorum::MoreThanHalf), Ok(()));
    let (got, needed) = (30, 33);
    assert_eq!(check(&commit, Quorum::MoreThanTwoThirds), Err(CommitError::NotEnoughPower { got, needed }));
    let claims = signers.set.extended_commit_claims(&chain_id(), &commit, Extensions::Required, Quorum::MoreThanHalf);
    let claims = claims.expect("it has the power");
    assert_eq!(claims.len(), 6, "each signs its vote and its extension");
    assert!(claims.iter().all(|(key, bytes, signature)| key.verifies(bytes, signature)));
    if let CommitSig::Commit(part) = &mut commit.signatures[3].sig {
        part.signature = Signature::new([3; 64]);
    }
    let wrong = CommitError::WrongSignature { index: 3, signature: Signature::new([3; 64]) };
    assert_eq!(check(&commit, Quorum::MoreThanHalf), Err(wrong));
}

#[test]
fn every_bit_of_a_commit_matters() {
    let signers = Signers::new(1, &[10, 10]); // both are needed
    let commit = good(&signers);
    for index in 0..2 {
        for byte in 0..Signature::LEN {
            let mut bent = commit.clone();
            let mut bytes = *part_of(&mut bent, index).signature.as_bytes();
            bytes[byte] ^= 0x10;
            part_of(&mut bent, index).signature = Signature::new(bytes);
            assert!(full(&signers, &bent).is_err(), "signature {index}, byte {byte}");
        }
        for bent in [CommitSig::Absent, CommitSig::Nil(part_of(&mut commit.clone(), index).clone())] {
            let mut commit = commit.clone();
            commit.signatures[index] = bent;
            assert!(full(&signers, &commit).is_err());
        }
    }
}

// --------------------------------------------------------------------------------------------- extensions

fn extended(signers: &Signers, commit: &ExtendedCommit, extensions: Extensions) -> Result<(), CommitError> {
    signers.set.verify_extended_commit(
        &chain_id(),
        &block_id("a"),
        HEIGHT,
        commit,
        extensions,
        Quorum::MoreThanTwoThirds,
    )
}

#[test]
fn extensions_are_there_exactly_when_they_must_be() {
    let signers = four();
    for extension in [&b""[..], b"price: 5"] {
        let commit = signers.extended_commit(HEIGHT, block_id("a"), extension);
        assert_eq!(extended(&signers, &commit, Extensions::Required), Ok(()));
        assert!(matches!(
            extended(&signers, &commit, Extensions::Forbidden),
            Err(CommitError::Extension { index: 0, .. })
        ));
    }
    let bare = ExtendedCommit::from(good(&signers));
    assert_eq!(extended(&signers, &bare, Extensions::Forbidden), Ok(()));
    let error = extended(&signers, &bare, Extensions::Required).unwrap_err();
    assert!(error.to_string().starts_with("vote extension signature is missing; validator addr "), "{error}");
}

#[test]
fn absent_and_nil_entries_carry_no_extension() {
    let signers = four();
    let bend = |change: fn(&mut ExtendedCommitSig)| {
        let mut commit = signers.extended_commit(HEIGHT, block_id("a"), b"x");
        change(&mut commit.signatures[3]);
        extended(&signers, &commit, Extensions::Required)
    };
    let empty = |entry: &mut ExtendedCommitSig| {
        (entry.sig, entry.extension, entry.extension_signature) = (CommitSig::Absent, Bytes::new(), None);
    };
    assert_eq!(bend(empty), Ok(()));
    for wrong in [
        bend(|entry| entry.sig = CommitSig::Absent),
        bend(|entry| (entry.sig, entry.extension) = (CommitSig::Absent, Bytes::new())),
        bend(|entry| entry.extension_signature = None),
    ] {
        assert!(matches!(wrong, Err(CommitError::Extension { index: 3, .. })), "{wrong:?}");
    }
    let endless = bend(|entry| entry.extension = Bytes::from(vec![0; VOTE_EXTENSION_BYTES_MAX + 1]));
    let what = "vote extension is too big (max: 1048576)";
    assert!(matches!(endless, Err(CommitError::Extension { index: 3, what: said, .. }) if said == what), "{endless:?}");
}

/// Bug class 040: one forged extension signature at each position.
#[test]
fn a_forged_extension_is_found_at_each_position() {
    let signers = four();
    for index in 0..4 {
        let mut commit = signers.extended_commit(HEIGHT, block_id("a"), b"x");
        commit.signatures[index].extension = Bytes::from_static(b"y");
        let error = extended(&signers, &commit, Extensions::Required).unwrap_err();
        assert_eq!(commit.extension_error(index, "wrong vote extension signature"), error);
    }
}

#[test]
fn an_extended_commit_is_verified_like_any_commit_too() {
    let signers = four();
    let mut commit = signers.extended_commit(HEIGHT, block_id("a"), b"x");
    commit.height = Height::new(4);
    assert!(matches!(extended(&signers, &commit, Extensions::Required), Err(CommitError::WrongHeight { .. })));
}

#[test]
fn a_raft_commit_needs_more_than_half_exactly_as_the_protocol_counts() {
    for members in 1..=9_u8 {
        let signers = Signers::new(1, &vec![1; members.into()]);
        for absent in 0..members {
            let mut commit = signers.commit(HEIGHT, block_id("a"), 0);
            for entry in commit.signatures.iter_mut().take(absent.into()) {
                *entry = CommitSig::Absent;
            }
            for quorum in [Quorum::MoreThanHalf, Quorum::MoreThanTwoThirds] {
                let verified = signers.set.verify_commit(&chain_id(), &block_id("a"), HEIGHT, &commit, quorum);
                let present = Power::new((members - absent).into());
                let decides = quorum.is_reached(present, Power::new(members.into()));
                assert_eq!(verified.is_ok(), decides, "{absent} of {members} absent, {quorum:?}: {verified:?}");
            }
        }
    }
}

#[test]
fn the_votes_in_a_commit_are_for_its_block_or_for_nil_as_they_were_signed() {
    let signers = four();
    let mut commit = signers.extended_commit(HEIGHT, block_id("a"), b"x");
    let CommitSig::Commit(part) = commit.signatures[1].sig.clone() else { panic!("it signed") };
    commit.signatures[1].sig = CommitSig::Nil(part);
    commit.signatures[2].sig = CommitSig::Absent;
    let voted = |index| commit.extended_vote(index).map(|vote| (vote.block_id, vote.validator_index));
    assert_eq!(voted(0), Some((Some(block_id("a")), 0)));
    assert_eq!(voted(1), Some((None, 1)));
    assert_eq!((voted(2), voted(4)), (None, None));
    let plain = commit.to_commit();
    for index in [0, 1] {
        let vote = commit.extended_vote(index).unwrap();
        assert_eq!(plain.sign_bytes_of(index, &chain_id()), Some(vote.sign_bytes(&chain_id())), "vote {index}");
    }
}
