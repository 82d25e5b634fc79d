//! The handshake table of reference §3.7: one test a row, and what the machine does with each hash.

use super::world::{Disk, ModelApp, Oddity, World, first_state, genesis};
use crate::pipeline::recover::{HandshakeError, SavedResults, Situation, Step, first_state as state_of, plan};
use crate::pipeline::{PipelineInput, requests};
use crate::types::abci::InitChainResponse;
use crate::types::{Address, GenesisDoc, Height, ParamsUpdate, Power, ValidatorUpdate, VersionParams};
use std::sync::Arc;

const fn h(height: u64) -> Height {
    Height::new(height)
}

/// base, store, state, app of a chain that begins at 1 and saved its results.
fn at(base: u64, store: u64, state: u64, app: i64) -> Situation {
    let results = if store > 0 { SavedResults::Present } else { SavedResults::Missing };
    Situation { base: h(base), store: h(store), state: h(state), app, initial: h(1), results }
}

#[test]
fn row_no_blocks_and_a_new_application() {
    assert_eq!(plan(&at(0, 0, 0, 0)), Ok(vec![Step::InitChain, Step::AssertAppHash]));
}

#[test]
fn row_no_blocks_after_a_snapshot_was_restored() {
    assert_eq!(plan(&at(0, 0, 10, 10)), Ok(vec![Step::AssertAppHash]));
    assert_eq!(plan(&at(0, 0, 10, 9)), Err(HandshakeError::AppTooLow { app: h(9), base: h(0), needed: h(10) }));
    assert_eq!(plan(&at(0, 0, 10, 11)), Err(HandshakeError::AppTooHigh { app: h(11), store: h(0) }));
}

#[test]
fn row_no_blocks_but_an_application_that_has_some() {
    assert_eq!(plan(&at(0, 0, 0, 5)), Err(HandshakeError::AppTooHigh { app: h(5), store: h(0) }));
}

#[test]
fn row_a_new_application_and_pruned_blocks() {
    assert_eq!(plan(&at(2, 10, 10, 0)), Err(HandshakeError::AppTooLow { app: h(0), base: h(2), needed: h(1) }));
}

#[test]
fn row_an_application_below_the_pruned_blocks() {
    assert_eq!(plan(&at(6, 10, 10, 4)), Err(HandshakeError::AppTooLow { app: h(4), base: h(6), needed: h(5) }));
    assert!(plan(&at(6, 10, 10, 5)).is_ok(), "one below the base is enough: the base itself is replayed next");
}

#[test]
fn row_an_application_ahead_of_the_store() {
    assert_eq!(plan(&at(1, 10, 10, 11)), Err(HandshakeError::AppTooHigh { app: h(11), store: h(10) }));
    assert_eq!(plan(&at(1, 10, 9, 12)), Err(HandshakeError::AppTooHigh { app: h(12), store: h(10) }));
}

#[test]
fn row_a_store_behind_the_state() {
    assert_eq!(plan(&at(1, 9, 10, 9)), Err(HandshakeError::StoreBehindState { store: h(9), state: h(10) }));
}

#[test]
fn row_a_store_two_ahead_of_the_state() {
    assert_eq!(plan(&at(1, 12, 10, 10)), Err(HandshakeError::StoreAheadOfState { store: h(12), state: h(10) }));
}

#[test]
fn row_state_at_the_tip_and_an_application_behind() {
    let replay = Step::ReplayOnly { first: h(8), last: h(10) };
    assert_eq!(plan(&at(1, 10, 10, 7)), Ok(vec![replay, Step::AssertAppHash, Step::Reindex(h(10))]));
}

#[test]
fn row_state_at_the_tip_and_a_new_application() {
    let replay = Step::ReplayOnly { first: h(1), last: h(10) };
    let steps = vec![Step::InitChain, replay, Step::AssertAppHash, Step::Reindex(h(10))];
    assert_eq!(plan(&at(1, 10, 10, 0)), Ok(steps));
}

#[test]
fn row_all_at_the_tip() {
    assert_eq!(plan(&at(1, 10, 10, 10)), Ok(vec![Step::AssertAppHash, Step::Reindex(h(10))]));
}

#[test]
fn row_state_one_behind_and_an_application_further_behind() {
    let replay = Step::ReplayOnly { first: h(8), last: h(9) };
    assert_eq!(plan(&at(1, 10, 9, 7)), Ok(vec![replay, Step::Apply(h(10)), Step::AssertAppHash]));
}

#[test]
fn row_state_one_behind_and_a_new_application() {
    let replay = Step::ReplayOnly { first: h(1), last: h(9) };
    assert_eq!(plan(&at(1, 10, 9, 0)), Ok(vec![Step::InitChain, replay, Step::Apply(h(10)), Step::AssertAppHash]));
    // The very first block: nothing to replay before it.
    assert_eq!(plan(&at(1, 1, 0, 0)), Ok(vec![Step::InitChain, Step::Apply(h(1)), Step::AssertAppHash]));
}

#[test]
fn row_state_one_behind_and_the_application_beside_it() {
    assert_eq!(plan(&at(1, 10, 9, 9)), Ok(vec![Step::Apply(h(10)), Step::AssertAppHash]));
}

#[test]
fn row_state_one_behind_and_the_application_at_the_tip() {
    assert_eq!(plan(&at(1, 10, 9, 10)), Ok(vec![Step::ApplyWithSavedResults(h(10)), Step::AssertAppHash]));
    let lost = Situation { results: SavedResults::Missing, ..at(1, 10, 9, 10) };
    assert_eq!(plan(&lost), Err(HandshakeError::ResultsMissing { height: h(10), before: h(9) }));
}

#[test]
fn row_a_negative_height() {
    assert_eq!(plan(&at(1, 10, 10, -1)), Err(HandshakeError::NegativeHeight { app: -1 }));
}

#[test]
fn a_chain_that_begins_at_100_counts_from_there() {
    let at = |base, store, state, app| Situation { initial: h(100), ..at(base, store, state, app) };
    let end = Step::AssertAppHash;
    assert_eq!(plan(&at(0, 0, 0, 0)), Ok(vec![Step::InitChain, end]));
    assert_eq!(plan(&at(100, 100, 0, 0)), Ok(vec![Step::InitChain, Step::Apply(h(100)), end]));
    assert_eq!(plan(&at(100, 100, 0, 100)), Ok(vec![Step::ApplyWithSavedResults(h(100)), end]));
    let replay = Step::ReplayOnly { first: h(100), last: h(101) };
    assert_eq!(plan(&at(100, 101, 101, 0)), Ok(vec![Step::InitChain, replay, end, Step::Reindex(h(101))]));
    assert_eq!(plan(&at(101, 102, 102, 0)).map_err(|why| matches!(why, HandshakeError::AppTooLow { .. })), Err(true));
}

/// Runs to height 3 and gives the parts for another start.
fn three_blocks() -> (Arc<GenesisDoc>, Disk, ModelApp) {
    let mut world = World::new(1);
    world.connect();
    assert!(world.run_to(3));
    (world.genesis, world.disk, world.app)
}

fn why_it_halts(disk: Disk, app: ModelApp) -> String {
    let mut world = World::restart(Arc::new(genesis(1)), disk, app);
    world.connect();
    world.run_to(4);
    world.halted.expect("this handshake must fail")
}

#[test]
fn a_wrong_hash_with_all_at_the_tip_stops_the_start() {
    let (_, disk, mut app) = three_blocks();
    app.oddity = Oddity::LiesInInfo;
    let why = why_it_halts(disk, app);
    assert!(why.contains("hash after height 3 is 6C6965 but the chain has "), "{why}");
}

#[test]
fn a_wrong_hash_is_seen_before_anything_is_replayed() {
    let (_, disk, _) = three_blocks();
    let (_, _, mut behind) = {
        let mut world = World::new(1);
        world.connect();
        assert!(world.run_to(2));
        (world.genesis, world.disk, world.app)
    };
    behind.oddity = Oddity::LiesInInfo;
    let why = why_it_halts(disk, behind);
    assert!(why.contains("hash after height 2 is 6C6965"), "{why}");
}

#[test]
fn a_wrong_hash_is_seen_before_a_stored_block_is_applied() {
    let (_, mut disk, _) = three_blocks();
    let mut behind = World::new(1);
    behind.connect();
    assert!(behind.run_to(2));
    disk.state = behind.disk.state;
    behind.app.oddity = Oddity::LiesInInfo;
    let mut world = World::restart(Arc::new(genesis(1)), disk, behind.app);
    world.connect();
    world.run_to(3);
    let why = world.halted.expect("this handshake must fail");
    assert!(why.contains("hash after height 2 is 6C6965"), "{why}");
    assert_eq!(world.app.height, 2, "nothing was executed");
}

#[test]
fn while_one_block_is_read_the_answer_about_another_counts_for_nothing() {
    let (genesis, disk, _) = three_blocks();
    let mut behind = World::new(1);
    behind.connect();
    assert!(behind.run_to(1));
    let mut world = World::restart(genesis, disk, behind.app);
    world.connect();
    world.give(PipelineInput::Loaded { height: h(3), stored: None });
    world.run_to(3);
    assert_eq!((world.halted, world.app.height), (None, 3));
}

#[test]
fn an_application_that_executes_otherwise_than_before_is_caught_at_the_next_block() {
    let (_, disk, _) = three_blocks();
    let other = ModelApp { oddity: Oddity::Nondeterministic, ..ModelApp::default() };
    let why = why_it_halts(disk, other);
    assert!(why.contains("hash after height 1 is ") && why.contains("not deterministic"), "{why}");
}

#[test]
fn an_application_that_executes_the_last_block_otherwise_is_caught_at_the_end() {
    let mut world = World::new(1);
    world.connect();
    assert!(world.run_to(2));
    let behind = ModelApp { oddity: Oddity::Nondeterministic, ..world.app };
    let (_, disk, _) = three_blocks();
    let why = why_it_halts(disk, behind);
    assert!(why.contains("hash after height 3 is "), "{why}");
}

#[test]
fn saved_results_must_be_those_the_application_committed() {
    let (_, mut disk, mut app) = three_blocks();
    let (_, two, _) = {
        let mut world = World::new(1);
        world.connect();
        assert!(world.run_to(2));
        (world.genesis, world.disk, world.app)
    };
    disk.state = two.state;
    app.oddity = Oddity::LiesInInfo;
    let why = why_it_halts(disk, app);
    assert!(why.contains("hash after height 3 is 6C6965"), "{why}");
}

/// A CometBFT v0.37 node saved results without the application's hash: what the application says itself stands in.
#[test]
fn saved_results_without_a_hash_have_the_one_the_application_names() {
    let (genesis, mut disk, app) = three_blocks();
    let mut behind = World::new(1);
    behind.connect();
    assert!(behind.run_to(2));
    disk.state = behind.disk.state;
    let results = disk.results.get_mut(&3).expect("saved");
    let hash = std::mem::take(&mut Arc::make_mut(results).app_hash);
    let mut world = World::restart(genesis, disk, app);
    world.connect();
    assert!(world.run_to(4), "{:?}", world.halted);
    assert_eq!(world.disk.blocks[&4].0.block().header.app_hash, hash);
}

#[test]
fn a_hole_in_the_store_is_named() {
    let (_, mut disk, _) = three_blocks();
    disk.blocks.remove(&2);
    let why = why_it_halts(disk, ModelApp::default());
    assert!(why.contains("block 2 cannot be read though the store has blocks 1 to 3"), "{why}");
}

#[test]
fn blocks_without_a_state_are_named() {
    let (_, mut disk, app) = three_blocks();
    disk.state = None;
    let why = why_it_halts(disk, app);
    assert!(why.contains("stored 3 blocks but has no state"), "{why}");
}

#[test]
fn init_chain_lists_the_validators_in_set_order() {
    let mut genesis = genesis(1);
    genesis.validators[2].power = Power::new(50);
    let request = requests::init_chain(&genesis).expect("a legal set");
    assert_eq!(request.validators[0].power, Power::new(50));
    let addresses: Vec<Address> = request.validators[1..].iter().map(|v| Address::from(&v.public_key)).collect();
    assert!(addresses.is_sorted(), "equal powers stand by address");
    assert_eq!((request.initial_height, request.chain_id.as_str()), (h(1), "model"));
    let later = requests::init_chain(&super::world::genesis(100)).expect("a legal set");
    assert_eq!(later.initial_height, h(100));
    assert_eq!(request.consensus_params, Some(genesis.consensus_params.clone()));
}

#[test]
fn init_chain_may_change_validators_parameters_and_hash() {
    let genesis = genesis(1);
    let plain = first_state(&genesis);
    assert_eq!((plain.version.app, plain.validators.len()), (7, 4));
    assert_eq!(*plain.next_validators, plain.validators.advanced(1));
    let only = ValidatorUpdate { public_key: genesis.validators[1].public_key, power: Power::new(3) };
    let params = ParamsUpdate { version: Some(VersionParams { app: 9 }), ..Default::default() };
    let answer = InitChainResponse {
        validators: vec![only],
        consensus_params: Some(params),
        app_hash: bytes::Bytes::from_static(b"first"),
    };
    let state = state_of(&genesis, &answer, 7).expect("a legal answer");
    assert_eq!((state.validators.len(), state.validators.total_power()), (1, Power::new(3)));
    assert_eq!((state.version.app, state.app_hash.as_ref()), (9, b"first".as_slice()));
}

#[test]
fn a_chain_without_validators_does_not_start() {
    let mut genesis = genesis(1);
    genesis.validators.clear();
    let none = state_of(&genesis, &InitChainResponse::default(), 0);
    assert_eq!(none, Err(HandshakeError::NoValidators));
}

#[test]
fn a_genesis_without_validators_leaves_them_to_init_chain() {
    let full = genesis(1);
    let bare = GenesisDoc { validators: Vec::new(), ..full.clone() };
    let validators =
        full.validators.iter().map(|v| ValidatorUpdate { public_key: v.public_key, power: v.power }).collect();
    let answer = InitChainResponse { validators, ..Default::default() };
    let state = state_of(&bare, &answer, 0).expect("a legal answer");
    assert_eq!(state.validators, state_of(&full, &InitChainResponse::default(), 0).expect("legal").validators);
}
