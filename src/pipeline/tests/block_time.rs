//! The time of a block where one of four validators signs a false one and another is away.

use super::world::{Disk, ModelApp, World, commit_for, genesis, sign_all};
use crate::pipeline::{BuildJob, PipelineInput};
use crate::types::*;
use std::sync::Arc;

/// Four validators of one power decide block 1: one is away, and one of those who sign gives the year 1. The time of block 2,
/// if it is valid.
fn time_after_a_false_one(algorithm: Algorithm, power: Power) -> Option<Time> {
    let mut genesis = genesis(1);
    genesis.algorithm = algorithm;
    genesis.validators.iter_mut().for_each(|validator| validator.power = power);
    let mut world = World::restart(genesis.into(), Disk::default(), ModelApp::default());
    world.connect();
    assert!(world.run_to(1));

    let state = Arc::clone(world.pipeline.state().expect("block 1 is applied"));
    let (id, set) = (state.last_block_id.expect("of block 1"), state.last_validators.as_ref().expect("of block 1"));
    let mut commit = commit_for(id, Height::FIRST, set, &state.chain_id);
    let Some(CommitSig::Commit(liar)) = commit.signatures.first_mut() else { panic!("the first validator signed") };
    liar.timestamp = Time::ZERO;
    sign_all(&mut commit, set, &state.chain_id);
    let job = BuildJob {
        height: Height::new(2),
        round: Round::ZERO,
        last_commit: Some(commit.into()),
        txs: Vec::new(),
        evidence: Vec::new(),
        evidence_bytes: 0,
    };
    world.give(PipelineInput::Build(Box::new(job)));
    world.run_to(1);
    assert_eq!(world.halted, None);
    world.disk.blocks.get(&2).map(|(block, _)| block.block().header.time)
}

#[test]
fn under_pbft_a_liar_among_a_bare_quorum_cannot_make_every_next_block_invalid() {
    assert_eq!(time_after_a_false_one(Algorithm::Pbft, Power::new(1)), Some(earlier_honest_time()));
}

/// The same commit stops a chain of CometBFT, and so one of ours that must agree with it about every block.
#[test]
fn under_tendermint_the_liars_time_is_the_median_as_in_comet_bft_and_no_next_block_is_valid() {
    assert_eq!(time_after_a_false_one(Algorithm::Tendermint, Power::new(1)), None);
}

/// What `quorate testnet` and the development form give: the half that is rounded away is no longer a whole validator.
#[test]
fn with_the_power_we_give_validators_the_liars_time_is_not_the_median_under_any_protocol() {
    for algorithm in [Algorithm::Tendermint, Algorithm::Pbft] {
        let time = time_after_a_false_one(algorithm, GenesisValidator::USUAL_POWER);
        assert_eq!(time, Some(earlier_honest_time()), "{algorithm}");
    }
}

/// The time of the first of the two honest signers: they signed at +1 and +2 ms.
fn earlier_honest_time() -> Time {
    Time::new(1_700_000_001, 1_000_000).expect("in range")
}
