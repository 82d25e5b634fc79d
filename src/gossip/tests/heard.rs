//! Form and signatures of what peers say, with real keys.

use super::made::chain_id;
use crate::crypto::{PrivateKey, Signature, sha256};
use crate::gossip::{Heard, Signers, hear};
use crate::types::{
    Address, BitArray, BlockId, ConsensusMessage, Height, NewRoundStep, Part, PartSet, PartSetHeader, Power, Proposal,
    Round, Time, Validator, ValidatorSet, Vote, VoteKind,
};
use bytes::Bytes;
use std::sync::Arc;

const NOTHING: Signature = Signature::new([0; 64]);

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32])
}

/// Keys of the set in its order, and the set.
fn committee(seeds: &[u8]) -> (Vec<PrivateKey>, Arc<ValidatorSet>) {
    let members = seeds.iter().map(|seed| Validator::new(key(*seed).public_key(), Power::new(1)));
    let set = ValidatorSet::new(members).expect("a legal set");
    let place = |seed: &u8| set.by_address(&Address::from(&key(*seed).public_key())).expect("a member").0;
    let mut ordered = seeds.to_vec();
    ordered.sort_by_key(place);
    (ordered.into_iter().map(key).collect(), Arc::new(set))
}

struct Scene {
    keys: Vec<PrivateKey>,
    last_keys: Vec<PrivateKey>,
    signers: Signers,
}

/// Height 10, round 2; validator 1 proposes in this round and validator 2 in the next.
fn scene() -> Scene {
    let (keys, validators) = committee(&[1, 2, 3, 4]);
    let (last_keys, last_validators) = committee(&[7, 8]);
    let proposer = |index: usize| validators.members()[index].address;
    let signers = Signers {
        chain_id: chain_id(),
        height: Height::new(10),
        round: Round::new(2),
        proposers: vec![(Round::new(2), proposer(1)), (Round::new(3), proposer(2))],
        validators: Arc::clone(&validators),
        last_validators: Some(last_validators),
    };
    Scene { keys, last_keys, signers }
}

fn block_id() -> BlockId {
    BlockId { hash: sha256(b"block"), parts: PartSetHeader { total: 2, hash: sha256(b"parts") } }
}

fn vote(key: &PrivateKey, index: u32, kind: VoteKind, height: u64, extension: Option<&'static [u8]>) -> Vote {
    let mut vote = Vote {
        kind,
        height: Height::new(height),
        round: Round::new(2),
        block_id: Some(block_id()),
        timestamp: Time::UNIX_EPOCH,
        validator_address: Address::from(&key.public_key()),
        validator_index: index,
        signature: NOTHING,
        extension: Bytes::from_static(extension.unwrap_or_default()),
        extension_signature: None,
    };
    vote.signature = key.sign(&vote.sign_bytes(&chain_id()));
    vote.extension_signature = extension.map(|_| key.sign(&vote.extension_sign_bytes(&chain_id())));
    vote
}

fn proposal(key: &PrivateKey, height: u64, round: u32) -> Proposal {
    let mut proposal = Proposal {
        height: Height::new(height),
        round: Round::new(round),
        pol_round: None,
        block_id: block_id(),
        timestamp: Time::UNIX_EPOCH,
        signature: NOTHING,
    };
    proposal.signature = key.sign(&proposal.sign_bytes(&chain_id()));
    proposal
}

/// Said, told, or the peer's fault.
fn outcome(scene: &Scene, message: ConsensusMessage) -> &'static str {
    match hear(Some(&scene.signers), message.clone()) {
        Ok(Heard::Said(_, heard)) if heard == message => "said",
        Ok(Heard::Told(heard)) if heard == message => "told",
        Ok(_) => "changed",
        Err(why) => why,
    }
}

fn vote_outcome(scene: &Scene, change: impl FnOnce(&mut Vote)) -> &'static str {
    let mut vote = vote(&scene.keys[1], 1, VoteKind::Precommit, 10, Some(b"more"));
    change(&mut vote);
    outcome(scene, ConsensusMessage::Vote(vote))
}

#[test]
fn a_vote_counts_only_with_the_signature_of_the_member_at_its_index() {
    let scene = scene();
    assert_eq!(vote_outcome(&scene, |_| {}), "said");
    assert!(
        vote_outcome(&scene, |vote| vote.timestamp = Time::UNIX_EPOCH.plus(std::time::Duration::from_nanos(1)))
            .contains("did not sign")
    );
    assert!(
        vote_outcome(&scene, |vote| vote.block_id = Some(BlockId { hash: sha256(b"x"), ..block_id() }))
            .contains("did not sign")
    );
    assert!(vote_outcome(&scene, |vote| vote.signature = NOTHING).contains("did not sign"));
    assert!(vote_outcome(&scene, |vote| vote.extension = Bytes::from_static(b"less")).contains("did not sign"));
    assert!(vote_outcome(&scene, |vote| vote.extension_signature = Some(NOTHING)).contains("did not sign"));
    assert!(vote_outcome(&scene, |vote| vote.validator_index = 2).contains("different validators"));
    assert!(vote_outcome(&scene, |vote| vote.validator_index = 4).contains("not in the set"));
    assert!(vote_outcome(&scene, |vote| vote.extension_signature = None).contains("nobody signed"));
    assert!(vote_outcome(&scene, |vote| vote.kind = VoteKind::Prevote).contains("does not belong"));
    assert!(vote_outcome(&scene, |vote| vote.block_id = None).contains("does not belong"));
    assert!(vote_outcome(&scene, |vote| vote.height = Height::ZERO).contains("height 0"));
}

#[test]
fn late_precommits_are_checked_by_the_last_set_and_other_heights_are_only_told() {
    let scene = scene();
    let late = |kind| ConsensusMessage::Vote(vote(&scene.last_keys[1], 1, kind, 9, None));
    assert_eq!(outcome(&scene, late(VoteKind::Precommit)), "said");
    assert_eq!(outcome(&scene, late(VoteKind::Prevote)), "told", "of no use to anybody");
    let wrong_set = vote(&scene.keys[1], 1, VoteKind::Precommit, 9, None);
    assert!(outcome(&scene, ConsensusMessage::Vote(wrong_set)).contains("different validators"));
    for height in [8, 11, i64::MAX as u64] {
        let unknown = vote(&key(9), 0, VoteKind::Precommit, height, None);
        assert_eq!(outcome(&scene, ConsensusMessage::Vote(unknown)), "told", "height {height}");
    }
}

#[test]
fn a_proposal_counts_only_from_the_proposer_of_this_round_or_the_next() {
    let scene = scene();
    let said = |signer: usize, height, round| {
        outcome(&scene, ConsensusMessage::Proposal(proposal(&scene.keys[signer], height, round)))
    };
    assert_eq!((said(1, 10, 2), said(2, 10, 3)), ("said", "said"));
    assert_eq!((said(1, 10, 4), said(1, 10, 1), said(1, 11, 2)), ("told", "told", "told"));
    assert!(said(0, 10, 2).contains("did not sign") && said(1, 10, 3).contains("did not sign"));
    for (total, pol_round) in [(0, None), (1602, None), (2, Some(2)), (2, Some(3))] {
        let mut bad = proposal(&scene.keys[1], 10, 2);
        bad.block_id.parts.total = total;
        bad.pol_round = pol_round.map(Round::new);
        let why = outcome(&scene, ConsensusMessage::Proposal(bad));
        assert!(why.contains("parts") || why.contains("not earlier"), "{total} {pol_round:?}: {why}");
    }
}

#[test]
fn parts_of_this_height_go_to_consensus_if_they_are_well_formed() {
    let scene = scene();
    let set = PartSet::cut(&Bytes::from(vec![3; 70_000]));
    let said = |height, change: fn(&mut Part)| {
        let mut part = set.part(0).expect("cut").clone();
        change(&mut part);
        outcome(&scene, ConsensusMessage::BlockPart { height: Height::new(height), round: Round::ZERO, part })
    };
    assert_eq!((said(10, |_| {}), said(9, |_| {}), said(11, |_| {})), ("said", "told", "told"));
    assert!(said(10, |part| part.index = 1).contains("another part"));
    assert!(said(10, |part| part.bytes = part.bytes.slice(1..)).contains("short"));
    assert!(said(10, |part| part.bytes = Bytes::from(vec![0; 65_537])).contains("larger"));
    assert!(said(10, |part| part.proof.aunts = vec![sha256(b""); 101]).contains("deeper"));
}

#[test]
fn messages_that_make_no_sense_are_the_peers_fault_even_before_consensus_begins() {
    let step = |height, step| {
        ConsensusMessage::NewRoundStep(NewRoundStep {
            height: Height::new(height),
            round: Round::ZERO,
            step,
            seconds_since_start_time: -5,
            last_commit_round: None,
        })
    };
    let valid_block = |total, len| ConsensusMessage::NewValidBlock {
        height: Height::FIRST,
        round: Round::ZERO,
        parts: PartSetHeader { total, hash: sha256(b"parts") },
        have: BitArray::new(len),
        is_commit: false,
    };
    let pol =
        |len| ConsensusMessage::ProposalPol { height: Height::FIRST, pol_round: Round::ZERO, have: BitArray::new(len) };
    for bad in
        [step(1, 0), step(1, 9), step(0, 1), valid_block(0, 0), valid_block(2, 3), valid_block(1602, 1602), pol(0)]
    {
        assert!(hear(None, bad.clone()).is_err(), "{bad:?}");
    }
    for good in [step(1, 1), step(1, 8), valid_block(1, 1), valid_block(1601, 1601), pol(1)] {
        assert!(matches!(hear(None, good.clone()), Ok(Heard::Told(told)) if told == good), "{good:?}");
    }
}
