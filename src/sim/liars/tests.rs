//! Each lie alone: what it says, who signed it; and networks with liars, few enough and too many.

use super::*;
use crate::crypto::{Hash, PublicKey, Signature, sha256};
use crate::sim::check::{self, Agreement};
use crate::sim::{Checker, Conduct, Level, NodePlan, Plan, Trace, Wishes, bare};
use crate::types::{
    Algorithm, Block, BlockId, CandidateBlock, ExtendedCommit, Header, PbftStatement, Power, StatementBody, Tx,
    Validator, Version, VoteKind,
};
use bytes::Bytes;
use std::sync::Arc;

mod honest;
mod whole;

/// Heights at which each lie is given the words of an honest core.
const HEIGHTS: u64 = 30;
/// Networks run for each lie in each protocol: one liar of four.
const SEEDS_PER_LIE: u64 = 20;
/// Networks with two liars of four until agreement must have been broken.
const TRIES_BEYOND: u64 = 100;

/// Signatures by hash: whoever made one can be told from it.
fn seal(by: &Address, bytes: &[u8]) -> Signature {
    let digest = sha256(&[by.as_bytes().as_slice(), bytes].concat());
    let mut whole = [0; 64];
    whole[..32].copy_from_slice(digest.as_bytes());
    Signature::new(whole)
}

#[derive(Debug)]
struct SealPen(Address);

impl Pen for SealPen {
    fn vote(&self, chain: &ChainId, unsigned: UnsignedVote) -> Vote {
        const NONE: Signature = Signature::new([0; 64]);
        let (timestamp, extended) = (unsigned.timestamp, unsigned.extension.is_some());
        let mut vote = unsigned.signed(timestamp, NONE, None);
        vote.signature = seal(&self.0, &vote.sign_bytes(chain));
        vote.extension_signature = extended.then(|| seal(&self.0, &vote.extension_sign_bytes(chain)));
        vote
    }

    fn proposal(&self, chain: &ChainId, unsigned: UnsignedProposal) -> Proposal {
        let signature = seal(&self.0, &unsigned.sign_bytes(chain));
        let timestamp = unsigned.timestamp;
        unsigned.signed(timestamp, signature)
    }

    fn statement(&self, chain: &ChainId, unsigned: UnsignedStatement) -> Statement {
        let signature = seal(&self.0, &unsigned.sign_bytes(chain));
        unsigned.signed(signature)
    }
}

/// Four nodes, of which the last lies.
fn scene(algorithm: Algorithm) -> Scene {
    let wishes = Wishes { level: Level::Whole, algorithm, nodes: Some(4), heights: Some(2), calm: true };
    let keys: Vec<PublicKey> = (1..5).map(|number| PublicKey::new([number; 32])).collect();
    let set = ValidatorSet::new(keys.iter().map(|key| Validator::new(*key, Power::new(1)))).unwrap();
    Scene {
        plan: Plan::draw(1, &wishes),
        chain_id: ChainId::try_from("sim").unwrap(),
        initial_height: Height::FIRST,
        addresses: keys.iter().map(Address::from).collect(),
        validators: Arc::new(set),
        evidence: crate::types::EvidenceParams::default(),
        extensions_from: None,
    }
}

/// Lies told and words said by a liar with this one lie, to all others, at many heights.
fn hear_lie(algorithm: Algorithm, lie: Lie) -> (Coverage, Vec<DirectMessage>, Vec<DirectMessage>) {
    let scene = scene(algorithm);
    let own = scene.addresses[3];
    let (pen, mut coverage) = (SealPen(own), Coverage::default());
    let mut actor = Actor::new(own, vec![lie], Dice::new(3));
    actor.zeal = 100;
    let (mut honest, mut said) = (Vec::new(), Vec::new());
    for height in (1..=HEIGHTS).map(Height::new) {
        let words = honest::words(&scene, own, height);
        for word in honest::words_of_others(&scene, own, height) {
            actor.memory.say(own, &word);
            honest.push(word);
        }
        for (nr, word) in words.into_iter().enumerate() {
            let now = Tick(height.get() * 1_000_000_000 + nr as u64);
            let validators = Arc::clone(&scene.validators);
            let mut cx = Cx {
                now,
                wall: Time::UNIX_EPOCH,
                scene: &scene,
                height,
                round: Round::new(1),
                validators: &validators,
                pen: &pen,
                coverage: &mut coverage,
            };
            for to in (0..3).map(NodeNr) {
                said.extend(actor.rewrite(&mut cx, to, word.clone()));
            }
            said.extend(actor.unprompted(&mut cx).into_iter().map(|(_, word)| word));
            honest.push(word);
        }
        said.extend(actor.release(Tick(u64::MAX)).into_iter().map(|(_, word)| word));
    }
    (coverage, honest, said)
}

/// True when the liar's key made the signature of the word.
fn is_sealed_by(own: &Address, word: &DirectMessage) -> bool {
    let chains = ["sim", "another chain"].map(|name| ChainId::try_from(name).unwrap());
    chains.iter().any(|chain| match word {
        DirectMessage::Vote(vote) => vote.signature == seal(own, &vote.sign_bytes(chain)),
        DirectMessage::Proposal { proposal, .. } => proposal.signature == seal(own, &proposal.sign_bytes(chain)),
        DirectMessage::Statement(statement) => statement.signature == seal(own, &statement.sign_bytes(chain)),
        DirectMessage::Part { .. } | DirectMessage::Commit(_) => true,
    })
}

#[test]
fn every_lie_is_told_and_everything_new_in_it_is_signed_by_the_liar() {
    for algorithm in [Algorithm::Tendermint, Algorithm::Pbft] {
        let own = scene(algorithm).addresses[3];
        for lie in Lie::of(algorithm, Level::Whole) {
            let (coverage, honest, said) = hear_lie(algorithm, lie);
            if matches!(lie, Lie::Flap | Lie::Gossip) {
                assert_eq!(coverage.iter().count(), 0, "{lie:?} bends no word by itself");
                continue;
            }
            assert!(coverage.iter().any(|(_, told)| told > 0), "{algorithm:?}: {lie:?} was never told");
            let silent = matches!(lie, Lie::Withhold | Lie::WithholdParts | Lie::WithholdProposals | Lie::Late)
                || (lie, algorithm) == (Lie::VoteNil, Algorithm::Pbft);
            let new: Vec<_> = said.iter().filter(|word| !honest.contains(word)).collect();
            let repeats = matches!(lie, Lie::Replay | Lie::Flood);
            assert!(!new.is_empty() || silent || repeats, "{algorithm:?}: {lie:?} says only what is honest");
            for word in new {
                assert!(is_sealed_by(&own, word), "{algorithm:?}: {lie:?} says what its key did not sign: {word:?}");
            }
        }
    }
}

#[test]
fn a_flapping_liar_is_honest_for_three_heights_in_a_row() {
    let scene = scene(Algorithm::Pbft);
    let mut actor = Actor::new(scene.addresses[3], vec![Lie::VoteUnknown, Lie::Flap], Dice::new(3));
    actor.zeal = 100;
    let lies: Vec<bool> =
        (0..12).map(|height| actor.acts(&scene, Lie::VoteUnknown, Height::new(height), Round::ZERO)).collect();
    let (yes, no) = ([true; 3], [false; 3]);
    assert_eq!(lies, [no, yes, no, yes].concat());
}

#[test]
fn the_second_block_of_an_equivocator_is_a_valid_one_and_each_half_gets_one_of_the_two() {
    let (_, _, said) = hear_lie(Algorithm::Tendermint, Lie::EquivocateProposals);
    let mut ids: Vec<(Height, BlockId)> = said
        .iter()
        .filter_map(|word| match word {
            DirectMessage::Proposal { proposal, .. } => Some((proposal.height, proposal.block_id)),
            _ => None,
        })
        .collect();
    ids.sort_unstable_by_key(|(height, id)| (*height, id.hash));
    ids.dedup();
    let twice = ids.windows(2).filter(|pair| pair[0].0 == pair[1].0).count();
    // At the others all three are in one half.
    assert!(twice as u64 * 2 > HEIGHTS, "two blocks at {twice} of {HEIGHTS} heights");
    assert!(ids.windows(3).all(|three| three[0].0 != three[2].0), "never a third");
}

// --------------------------------------------------------------------------------------------------------- networks

/// Four nodes of equal power, with weather and faults as drawn, and these liars.
fn network(algorithm: Algorithm, seed: u64, liars: &[(u8, Vec<Lie>)]) -> Plan {
    let wishes = Wishes { level: Level::Bare, algorithm, nodes: Some(4), heights: Some(3), calm: false };
    // Not those with a twin: their faults are of five nodes.
    let mut drawn = (seed * 100..).map(|seed| Plan::draw(seed, &wishes));
    let mut plan = drawn.find(|plan| plan.nodes.len() == 4).expect("most have no twin");
    plan.nodes = vec![NodePlan { power: 1, conduct: Conduct::Honest }; 4];
    for (node, lies) in liars {
        plan.nodes[usize::from(*node)].conduct = Conduct::Liar(lies.clone());
    }
    plan
}

#[test]
fn one_liar_of_four_breaks_nothing_whatever_it_lies_about() {
    let mut told = Coverage::default();
    for algorithm in Algorithm::ALL {
        for (nr, lie) in Lie::of(algorithm, Level::Bare).into_iter().enumerate() {
            for seed in 0..SEEDS_PER_LIE {
                let liar = ((seed + nr as u64) % 4) as u8;
                let outcome = bare::run(network(algorithm, seed, &[(liar, vec![lie])]), check::all, Trace::hash_only());
                assert_eq!(outcome.violation, None, "{algorithm:?}, seed {seed}, node {liar} lies: {lie:?}");
                told.add(&outcome.coverage);
            }
        }
    }
    for lie in
        ["lie.equivocate_votes", "lie.equivocate_proposals", "lie.withhold", "lie.late", "lie.replay", "lie.leap"]
    {
        assert!(told.of(lie) > 0, "{lie} was never told");
    }
    assert!(told.of("lie refused") > 0, "nobody refused anything");
}

#[test]
fn twins_of_one_among_four_break_nothing() {
    for algorithm in [Algorithm::Tendermint, Algorithm::Pbft] {
        for seed in 0..SEEDS_PER_LIE {
            let mut plan = network(algorithm, seed, &[]);
            plan.nodes.push(NodePlan { power: 0, conduct: Conduct::TwinOf(NodeNr((seed % 4) as u8)) });
            let outcome = bare::run(plan, check::all, Trace::hash_only());
            assert_eq!(outcome.violation, None, "{algorithm:?}, seed {seed}");
        }
    }
}

fn only_agreement(_: &Scene) -> Vec<Box<dyn Checker>> {
    vec![Box::<Agreement>::default()]
}

/// Seeds until two of four break agreement.
fn tries_beyond(algorithm: Algorithm) -> Option<u64> {
    let lies = vec![Lie::EquivocateVotes, Lie::EquivocateProposals];
    (0..TRIES_BEYOND).find(|seed| {
        let plan = network(algorithm, *seed, &[(0, lies.clone()), (1, lies.clone())]);
        let outcome = bare::run(plan, only_agreement, Trace::hash_only());
        outcome.violation.is_some_and(|violation| violation.checker == "agreement")
    })
}

#[test]
fn two_equivocators_of_four_break_agreement_and_that_is_seen() {
    for algorithm in [Algorithm::Tendermint, Algorithm::Pbft] {
        let tries = tries_beyond(algorithm);
        assert!(
            tries.is_some(),
            "{algorithm:?}: agreement held in {TRIES_BEYOND} networks of two liars and two others"
        );
    }
}
