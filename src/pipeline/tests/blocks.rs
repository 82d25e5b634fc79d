//! Building, checking and executing blocks, and an application that misbehaves at each call.

use super::world::{Oddity, World, commit_for, first_state, genesis};
use crate::crypto::Signature;
use crate::pipeline::build::{CommitMismatch, budget, commit_bytes_max, data_bytes_max, tx_limits};
use crate::pipeline::execute::{next_state, prune_below};
use crate::pipeline::machine::{VERDICTS_MAX, WAITING_MAX};
use crate::pipeline::requests::{extended_commit_info, header_facts};
use crate::pipeline::{
    CallId, ExecuteError, Outcome, PipelineEffect, PipelineError, PipelineInput, PipelineNote, check,
};
use crate::types::abci::{
    AbciValidator, CommitResponse, ExecTxResult, FinalizeBlockResponse, Misbehavior, MisbehaviorKind, Request,
    Response, Verdict,
};
use crate::types::tests::{Signers, block_id, time};
use crate::types::*;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;

fn run(oddity: Oddity) -> World {
    let mut world = World::new(1);
    world.app.oddity = oddity;
    world.connect();
    world.run_to(2);
    world
}

/// Steps the pipeline alone, with no world around.
fn step(world: &mut World, input: PipelineInput) -> Vec<PipelineEffect> {
    let mut out = Vec::new();
    world.pipeline.step(input, &mut out);
    out
}

/// A pipeline ready for height 1, a block for it and the state before it.
fn ready() -> (World, Arc<CandidateBlock>, Arc<ChainState>) {
    let mut done = World::new(1);
    done.connect();
    assert!(done.run_to(1));
    let block = Arc::clone(&done.disk.blocks[&1].0);
    let mut world = World::new(1);
    world.connect();
    world.run_to(0);
    let state = Arc::clone(world.pipeline.state().expect("InitChain made it"));
    (world, block, state)
}

fn check_order(block: &Arc<CandidateBlock>, round: u32) -> PipelineInput {
    PipelineInput::Check {
        height: block.block().header.height,
        round: Round::new(round),
        block: Arc::clone(block),
        clock: check::ClockRule::Ignored,
        evidence: Outcome::Accept,
    }
}

fn only_call(effects: &[PipelineEffect]) -> Option<CallId> {
    effects.iter().find_map(|effect| match effect {
        PipelineEffect::AppCall { call, .. } => Some(*call),
        _ => None,
    })
}

#[test]
fn sizes_are_those_of_comet_bft_0_38() {
    // types/block_test.go, TestBlockMaxDataBytes and TestBlockMaxDataBytesNoEvidence of v0.38.
    assert_eq!(commit_bytes_max(1), 205);
    assert_eq!(data_bytes_max(842, 0, 1), 0);
    assert_eq!(data_bytes_max(843, 0, 1), 1);
    assert_eq!(data_bytes_max(954, 0, 2), 1);
    assert_eq!(data_bytes_max(1053, 100, 1), 111);
    assert_eq!(data_bytes_max(10, 0, 1), 0, "CometBFT panics here");
}

#[test]
fn an_open_block_size_bounds_the_application_but_not_the_reaping() {
    let mut state = first_state(&genesis(1));
    let mut params = ConsensusParams::clone(&state.consensus_params);
    params.block.max_bytes = None;
    state.consensus_params = Arc::new(params);
    let open = budget(&state, 0);
    assert_eq!((open.reap_bytes, open.tx_bytes), (None, data_bytes_max(104_857_600, 0, 4)));
    assert_eq!(tx_limits(&state).bytes_max, open.tx_bytes);
}

#[test]
fn room_for_the_commit_is_measured_by_the_larger_of_the_two_sets_that_may_have_signed() {
    let mut state = first_state(&genesis(1));
    let four = Arc::clone(&state.validators);
    let one = Arc::new(ValidatorSet::new([four.members()[0].clone()]).expect("a legal set"));
    let wanted = data_bytes_max(state.consensus_params.block.bytes_limit(), 0, 4);
    for (last, now) in [(&one, &four), (&four, &one)] {
        (state.last_validators, state.validators) = (Some(Arc::clone(last)), Arc::clone(now));
        assert_eq!(budget(&state, 0).tx_bytes, wanted);
    }
}

#[test]
fn the_first_block_has_the_genesis_time_and_later_ones_the_median() {
    let mut world = World::new(1);
    world.connect();
    assert!(world.run_to(2));
    let header = |height: u64| &world.disk.blocks[&height].0.block().header;
    assert_eq!(header(1).time, world.genesis.genesis_time);
    assert_eq!(header(1).last_block_id, None);
    // Three of four sign at +0, +1 and +2 ms: the weighted median is the middle one.
    assert_eq!(header(2).time, Time::new(1_700_000_001, 1_000_000).expect("in range"));
    assert_eq!(header(2).last_block_id, Some(world.disk.blocks[&1].0.id()));
    assert_eq!(header(2).app_hash, world.disk.results[&1].app_hash);
}

#[test]
fn validators_change_two_heights_later_and_parameters_at_the_next() {
    let mut world = World::new(1);
    world.connect();
    assert!(world.run_to(3));
    let state = world.disk.state.as_ref().expect("three blocks");
    let power = |set: &ValidatorSet| set.total_power().get();
    assert_eq!((power(&world.disk.validators[&3]), power(&world.disk.validators[&4])), (40, 42));
    assert_eq!(state.last_height_validators_changed, Height::new(4));
    assert_eq!(state.consensus_params.block.max_bytes, Some(2_000_000));
    assert_eq!(state.last_height_consensus_params_changed, Height::new(4));
}

#[test]
fn of_equal_validators_another_one_proposes_at_each_height() {
    let mut world = World::new(1);
    world.connect();
    assert!(world.run_to(3));
    let proposers: BTreeSet<Address> =
        (1..=3).map(|height| world.disk.validators[&height].proposer().address).collect();
    assert_eq!(proposers.len(), 3);
}

#[test]
fn a_proposal_over_budget_is_cut_and_the_chain_goes_on() {
    let world = run(Oddity::PreparesTooMuch);
    assert_eq!(world.halted, None);
    assert_eq!(world.disk.blocks.len(), 2);
    let note = world.log.iter().find(|line| line.starts_with("note: ")).expect("people are told");
    assert!(note.contains("proposing only the first 4 of 6 transactions"), "{note}");
}

#[test]
fn each_unusable_answer_stops_consensus_and_says_what_to_mend() {
    let cases = [
        (Oddity::UnknownVerdict, "process_proposal at height 1 cannot be used: its status is UNKNOWN"),
        (Oddity::AnswersOtherMethod, "process_proposal at height 1 cannot be used: it answers flush instead"),
        (Oddity::ForgetsResults, "FinalizeBlock of height 1 gave 0 results for 3 transactions"),
        (Oddity::RemovesEverybody, "validator updates of FinalizeBlock at height 1 are invalid"),
    ];
    for (oddity, expected) in cases {
        let mut world = run(oddity);
        let why = world.halted.clone().unwrap_or_else(|| panic!("{oddity:?} must halt"));
        assert!(why.contains(expected) && why.contains("restart it"), "{oddity:?}: {why}");
        assert!(!world.disk.results.contains_key(&1), "{oddity:?}: a useless answer is not saved");
        // The mended application connects again: the node goes on where it stood.
        world.app.oddity = Oddity::None;
        world.app.crash();
        world.connect();
        assert!(world.run_to(2), "{oddity:?}: {:?}", world.halted);
        assert_eq!(world.app.commits.values().copied().max(), Some(1));
    }
}

#[test]
fn errors_say_whether_every_replica_meets_them() {
    let count = ExecuteError::ResultCount { height: Height::FIRST, txs: 1, results: 0 };
    assert!(PipelineError::Execute(count).is_deterministic());
    let answer = PipelineError::Answer { method: "commit", height: Height::FIRST, why: String::new() };
    assert!(!answer.is_deterministic());
}

#[test]
fn a_block_the_application_rejects_is_refused_and_nothing_stops() {
    let world = run(Oddity::Rejects);
    assert_eq!(world.halted, None);
    assert!(world.disk.blocks.is_empty());
    assert!(world.log.iter().any(|line| line.contains("the application rejects it")), "{:?}", world.log);
}

#[test]
fn an_application_that_wants_to_prune_the_future_is_told_so() {
    let world = run(Oddity::PrunesTooMuch);
    assert_eq!(world.disk.blocks.len(), 2);
    assert!(world.log.iter().any(|line| line.contains("retain_height 2 is above the last block 1")));
    assert_eq!(prune_below(0, Height::new(5)), Ok(None));
    assert_eq!(prune_below(-3, Height::new(5)), Ok(None));
    assert_eq!(prune_below(5, Height::new(5)), Ok(Some(Height::new(5))));
    assert_eq!(prune_below(6, Height::new(5)), Err(6));
}

#[test]
fn a_vote_extension_has_a_limit() {
    let (mut world, block, _) = ready();
    world.app.oddity = Oddity::LongExtension;
    let extend = |round| PipelineInput::ExtendVote { height: Height::FIRST, round, block: Arc::clone(&block) };
    let call = only_call(&step(&mut world, extend(Round::ZERO))).expect("the application is asked");
    let response = Response::ExtendVote(Bytes::from(vec![0; VOTE_EXTENSION_SENT_MAX]));
    let out = step(&mut world, PipelineInput::AppAnswered { call, response });
    assert!(matches!(out.as_slice(), [PipelineEffect::VoteExtended { .. }]), "the longest there is: {out:?}");
    let call = only_call(&step(&mut world, extend(Round::ZERO.next()))).expect("the application is asked");
    let response = Response::ExtendVote(Bytes::from(vec![0; VOTE_EXTENSION_SENT_MAX + 1]));
    let out = step(&mut world, PipelineInput::AppAnswered { call, response });
    assert!(matches!(out.as_slice(), [PipelineEffect::Halt(PipelineError::Answer { method: "extend_vote", .. })]));
}

#[test]
fn the_application_judges_a_block_once_for_each_round() {
    let (mut world, block, _) = ready();
    let call = only_call(&step(&mut world, check_order(&block, 0))).expect("asked");
    assert_eq!(step(&mut world, check_order(&block, 0)), [], "its answer is on the way");
    let response = Response::ProcessProposal(Verdict::Accept);
    let out = step(&mut world, PipelineInput::AppAnswered { call, response });
    assert!(matches!(out.as_slice(), [PipelineEffect::BlockChecked { verdict: Outcome::Accept, .. }]));
    let again = step(&mut world, check_order(&block, 0));
    assert!(matches!(again.as_slice(), [PipelineEffect::BlockChecked { .. }]), "known by now");
    assert!(only_call(&step(&mut world, check_order(&block, 1))).is_some(), "another round, another question");
}

#[test]
fn a_block_that_breaks_the_rules_never_reaches_the_application() {
    let (mut world, block, _) = ready();
    let mut bent = block.block().clone();
    bent.header.app_hash = Bytes::from_static(b"another chain");
    let bent = Arc::new(CandidateBlock::new(bent));
    let out = step(&mut world, check_order(&bent, 0));
    assert_eq!(only_call(&out), None);
    assert!(matches!(out.last(), Some(PipelineEffect::BlockChecked { verdict: Outcome::Reject(_), .. })));
}

#[test]
fn a_decided_block_that_breaks_the_rules_is_not_stored() {
    let (mut world, block, state) = ready();
    let mut bent = block.block().clone();
    bent.header.app_hash = Bytes::from_static(b"another chain");
    let bent = Arc::new(CandidateBlock::new(bent));
    let commit = commit_for(bent.id(), Height::FIRST, &state.validators, &state.chain_id).into();
    let out = step(&mut world, PipelineInput::Decide { block: bent, commit });
    assert!(matches!(out.as_slice(), [PipelineEffect::Halt(PipelineError::DecidedInvalid { .. })]), "{out:?}");
}

#[test]
fn evidence_the_pool_refuses_makes_a_proposal_invalid() {
    let (mut world, block, _) = ready();
    // Without evidence in the block the pool is not even asked.
    let order = PipelineInput::Check {
        height: Height::FIRST,
        round: Round::ZERO,
        block,
        clock: check::ClockRule::Ignored,
        evidence: Outcome::Reject("expired".into()),
    };
    assert!(only_call(&step(&mut world, order)).is_some());
}

#[test]
fn orders_wait_for_an_application_that_is_away() {
    let (mut world, block, state) = ready();
    let out = step(&mut world, PipelineInput::AppFailed { why: "gone".into() });
    assert!(matches!(out.as_slice(), [PipelineEffect::WaitForApp { .. }]));
    assert_eq!(step(&mut world, check_order(&block, 0)), []);
    assert_eq!(step(&mut world, PipelineInput::AppFailed { why: "gone".into() }), [], "said once");
    world.log.clear();
    world.connect();
    world.fuel = 4;
    world.run_to(0);
    assert_eq!(world.log, ["init_chain", "SaveState", "Ready", "process_proposal"]);
    // A decision of the others is stored even while the application is away.
    step(&mut world, PipelineInput::AppFailed { why: "gone".into() });
    let commit = commit_for(block.id(), Height::FIRST, &state.validators, &state.chain_id).into();
    let out = step(&mut world, PipelineInput::Decide { block, commit });
    let expected = ["SaveBlock", "JournalEndHeight"];
    assert_eq!(out.iter().map(super::world::name).collect::<Vec<_>>(), expected);
}

#[test]
fn of_too_many_orders_that_wait_for_the_application_the_oldest_is_dropped_and_people_are_told() {
    let (mut world, block, _) = ready();
    step(&mut world, PipelineInput::AppFailed { why: "gone".into() });
    for round in 0..WAITING_MAX as u32 {
        assert_eq!(step(&mut world, check_order(&block, round)), []);
    }
    let out = step(&mut world, check_order(&block, WAITING_MAX as u32));
    assert!(matches!(out.as_slice(), [PipelineEffect::Note(PipelineNote::Overloaded { .. })]), "{out:?}");
}

#[test]
fn answers_from_before_a_lost_connection_count_for_nothing() {
    let (mut world, block, _) = ready();
    let call = only_call(&step(&mut world, check_order(&block, 0))).expect("asked");
    step(&mut world, PipelineInput::AppFailed { why: "gone".into() });
    let late = PipelineInput::AppAnswered { call, response: Response::ProcessProposal(Verdict::Accept) };
    assert_eq!(step(&mut world, late), []);
}

#[test]
fn an_answer_to_another_call_does_not_execute_a_decided_block() {
    let (mut world, block, state) = ready();
    let results = FinalizeBlockResponse {
        tx_results: vec![ExecTxResult::default(); block.block().txs.len()],
        ..FinalizeBlockResponse::default()
    };
    let commit = commit_for(block.id(), Height::FIRST, &state.validators, &state.chain_id).into();
    let call = only_call(&step(&mut world, PipelineInput::Decide { block, commit })).expect("it is executed");
    let mut answer = |call| {
        step(&mut world, PipelineInput::AppAnswered { call, response: Response::FinalizeBlock(results.clone()) })
    };
    assert_eq!(answer(CallId(call.0 + 1)), []);
    assert!(answer(call).iter().any(|effect| matches!(effect, PipelineEffect::AppCommit { .. })));
}

#[test]
fn a_decision_that_is_told_again_is_neither_stored_nor_executed_again() {
    let (mut world, block, state) = ready();
    let commit: ExtendedCommit = commit_for(block.id(), Height::FIRST, &state.validators, &state.chain_id).into();
    let mut decide = || {
        let (block, commit) = (Arc::clone(&block), commit.clone());
        step(&mut world, PipelineInput::Decide { block, commit })
    };
    assert!(only_call(&decide()).is_some());
    assert_eq!(decide(), []);
}

#[test]
fn a_verdict_counts_at_its_height_and_not_at_the_next() {
    let mut world = World::new(1);
    world.connect();
    assert!(world.run_to(1));
    let block = Arc::clone(&world.disk.blocks[&1].0);
    let (height, clock) = (Height::new(2), check::ClockRule::Ignored);
    let order = PipelineInput::Check { height, round: Round::ZERO, block, clock, evidence: Outcome::Accept };
    let said = step(&mut world, order);
    let rejected =
        |effect: &PipelineEffect| matches!(effect, PipelineEffect::BlockChecked { verdict: Outcome::Reject(_), .. });
    assert!(said.iter().any(rejected), "{said:?}");
}

#[test]
fn verdicts_of_many_rounds_do_not_pile_up() {
    let (mut world, block, _) = ready();
    let mut asked = |round| only_call(&step(&mut world, check_order(&block, round))).is_some();
    assert!((0..=VERDICTS_MAX as u32).all(&mut asked));
    assert!(!asked(1), "its answer is on the way");
    assert!(asked(0), "the oldest is forgotten, and asked again");
}

#[test]
fn a_stale_order_is_dropped() {
    let mut world = World::new(1);
    world.connect();
    assert!(world.run_to(2));
    let old = Arc::clone(&world.disk.blocks[&1].0);
    assert_eq!(step(&mut world, check_order(&old, 0)), []);
    let commit = world.disk.blocks[&1].1.clone();
    let vote = Vote {
        kind: VoteKind::Precommit,
        height: Height::new(2),
        round: Round::ZERO,
        block_id: Some(old.id()),
        timestamp: Time::UNIX_EPOCH,
        validator_address: Address::new([1; Address::LEN]),
        validator_index: 0,
        signature: Signature::new([1; 64]),
        extension: Bytes::new(),
        extension_signature: Some(Signature::new([1; 64])),
    };
    let late = PipelineInput::VerifyExtension { vote, source: Source::Own };
    assert_eq!(step(&mut world, late), [], "no question about a height follows its Commit");
    assert_eq!(step(&mut world, PipelineInput::Decide { block: old, commit }), []);
}

#[test]
fn the_application_sees_who_signed_the_last_block() {
    let mut world = World::new(1);
    world.connect();
    assert!(world.run_to(2));
    let stored = world.load(Height::new(2)).expect("stored");
    let request = crate::pipeline::requests::finalize_block(&stored.block, stored.last_validators.as_deref());
    let Ok(Request::FinalizeBlock(request)) = request else { panic!("a legal block") };
    let flags: Vec<_> = request.decided_last_commit.votes.iter().map(|vote| vote.flag).collect();
    use crate::types::abci::BlockIdFlag::{Absent, Commit};
    assert_eq!(flags, [Commit, Commit, Commit, Absent]);
    assert_eq!(request.txs.len(), 3);
    assert_eq!(request.hash, stored.block.id().hash);
}

#[test]
fn a_commit_with_a_signer_in_anothers_place_is_refused() {
    // Bug class 001: signatures are looked up by position, so positions must be checked.
    let mut world = World::new(1);
    world.connect();
    assert!(world.run_to(2));
    let stored = world.load(Height::new(2)).expect("stored");
    let mut block = stored.block.block().clone();
    let request = |block: &Block| {
        let bent = CandidateBlock::new(block.clone());
        crate::pipeline::requests::process_proposal(&bent, stored.last_validators.as_deref())
    };
    block.last_commit.as_mut().expect("the second block has one").signatures.swap(0, 1);
    assert!(request(&block).is_err_and(|why| why.to_string().contains("at position 0")));
    block.last_commit.as_mut().expect("the second block has one").signatures.swap(0, 1);
    assert!(request(&block).is_ok());
    block.last_commit.as_mut().expect("the second block has one").signatures.pop();
    assert!(request(&block).is_err_and(|why| why.to_string().contains("has 3 entries for 4 validators")));
}

#[test]
fn results_hash_and_app_version_go_into_the_next_state() {
    let state = first_state(&genesis(1));
    let (_, block, _) = ready();
    let update = ParamsUpdate { version: Some(VersionParams { app: 12 }), ..Default::default() };
    let results = |code| FinalizeBlockResponse {
        tx_results: vec![ExecTxResult { code, ..Default::default() }; 3],
        consensus_param_updates: Some(update.clone()),
        app_hash: Bytes::from_static(b"new"),
        ..Default::default()
    };
    let next = next_state(&state, &block, &results(0)).expect("legal");
    assert_eq!((next.version.app, next.app_hash.as_ref()), (12, b"new".as_slice()));
    let other = next_state(&state, &block, &results(1)).expect("legal");
    assert_ne!(next.last_results_hash, other.last_results_hash);
}

#[test]
fn a_proposer_hears_who_signed_the_last_block_and_their_extensions_where_these_are_enabled() {
    use crate::types::abci::BlockIdFlag::{Absent, Commit};
    let mut world = World::new(1);
    world.connect();
    assert!(world.run_to(2));
    let (mut commit, set) = (world.disk.blocks[&1].1.clone(), &world.disk.validators[&1]);
    let plain = ConsensusParams::default();
    let abci = AbciParams { vote_extensions_enable_height: Some(Height::FIRST) };
    let enabled = ConsensusParams { abci, ..ConsensusParams::default() };
    let told = |commit: &ExtendedCommit, params: &ConsensusParams| {
        let info = extended_commit_info(commit, set, params)?;
        Ok(info.votes.into_iter().map(|vote| (vote.flag, vote.vote_extension)).unzip())
    };
    let bare: Result<(Vec<_>, Vec<Bytes>), _> = told(&commit, &plain);
    assert_eq!(bare, Ok((vec![Commit, Commit, Commit, Absent], vec![Bytes::new(); 4])));
    let missing = told(&commit, &enabled);
    assert!(matches!(missing, Err(CommitMismatch::MissingExtension { height: Height::FIRST, .. })), "{missing:?}");
    for entry in &mut commit.signatures {
        if let CommitSig::Commit(part) = &entry.sig {
            (entry.extension_signature, entry.extension) = (Some(part.signature), Bytes::from_static(b"price"));
        }
    }
    let price = Bytes::from_static(b"price");
    let extended = told(&commit, &enabled).expect("all who signed extended").1;
    assert_eq!(extended, [price.clone(), price.clone(), price, Bytes::new()]);
}

#[test]
fn the_next_state_moves_sets_and_time_on_by_one_block() {
    let state = first_state(&genesis(1));
    let mut later = ready().1.block().clone();
    later.header.time = later.header.time.plus(std::time::Duration::from_secs(7));
    let block = CandidateBlock::new(later);
    let tx_results = vec![ExecTxResult::default(); block.block().txs.len()];
    let results = FinalizeBlockResponse { tx_results, ..Default::default() };
    let next = next_state(&state, &block, &results).expect("legal");
    assert_eq!(next.last_block_time, block.block().header.time);
    assert_eq!(next.last_validators.as_deref(), Some(&*state.validators), "those who decided it");
    assert_eq!(next.validators, state.next_validators);
    assert_ne!(state.validators.proposer(), state.next_validators.proposer(), "else this shows nothing");
}

#[test]
fn a_validator_is_added_only_with_a_type_of_key_that_is_allowed_and_removed_with_any() {
    let mut state = first_state(&genesis(1));
    let mut params = ConsensusParams::clone(&state.consensus_params);
    params.validator.pub_key_types = vec!["secp256k1".to_owned()];
    state.consensus_params = Arc::new(params);
    let (_, block, _) = ready();
    let update = |public_key, power| {
        let tx_results = vec![ExecTxResult::default(); block.block().txs.len()];
        let validator_updates = vec![ValidatorUpdate { public_key, power: Power::new(power) }];
        next_state(&state, &block, &FinalizeBlockResponse { tx_results, validator_updates, ..Default::default() })
    };
    let stranger = crate::crypto::PrivateKey::from_seed(&[77; 32]).public_key();
    assert!(matches!(update(stranger, 1), Err(ExecuteError::KeyType { .. })), "the smallest power there is");
    assert!(update(state.validators.members()[0].public_key, 0).is_ok());
}

#[test]
fn a_committed_block_is_told_to_everybody_who_waits_for_it() {
    let (mut world, block, state) = ready();
    let tx_results = vec![ExecTxResult::default(); block.block().txs.len()];
    let results = FinalizeBlockResponse { tx_results, ..Default::default() };
    let commit = commit_for(block.id(), Height::FIRST, &state.validators, &state.chain_id).into();
    let call = only_call(&step(&mut world, PipelineInput::Decide { block, commit })).expect("it is executed");
    let out = step(&mut world, PipelineInput::AppAnswered { call, response: Response::FinalizeBlock(results) });
    let commit = out.iter().find_map(|effect| match effect {
        PipelineEffect::AppCommit { call } => Some(*call),
        _ => None,
    });
    let response = Response::Commit(CommitResponse::default());
    let out = step(&mut world, PipelineInput::AppAnswered { call: commit.expect("committed"), response });
    let told: Vec<String> = out.iter().map(super::world::name).collect();
    assert_eq!(told[..5], ["SaveState", "MempoolUpdate", "EvidenceUpdate", "Publish", "Index"]);
}

/// What an application punishes by (reference §3.3): one entry for each offender, with the power it had.
#[test]
fn the_application_is_told_of_every_offender_with_its_offence_height_time_and_powers() {
    let signers = Signers::new(1, &[10, 20, 30]);
    let votes = ["a", "b"].map(|word| signers.vote(1, VoteKind::Prevote, 7, 2, Some(block_id(word))));
    let offender = signers.set.by_address(&votes[0].validator_address).expect("a member").1.clone();
    let [one, other] = votes;
    let pair = DuplicateVoteEvidence::new(one, other, time(77), &signers.set).expect("a contradiction");
    let header = signers.header(9);
    let named = vec![signers.set.members()[0].clone(), signers.set.members()[2].clone()];
    let attack = LightClientAttackEvidence {
        conflicting_block: LightBlock {
            signed_header: SignedHeader {
                header: header.clone(),
                commit: signers.commit(Height::new(9), block_id("other"), 99),
            },
            validators: signers.set.clone(),
        },
        common_height: Height::new(5),
        byzantine_validators: named.clone(),
        total_voting_power: Power::new(60),
        timestamp: time(55),
    };
    let evidence = [Evidence::DuplicateVote(Box::new(pair)), Evidence::LightClientAttack(Box::new(attack))];
    let told = header_facts(&header, &evidence).misbehavior;
    let entry = |kind, validator: &Validator, height, seconds| Misbehavior {
        kind,
        validator: AbciValidator { address: validator.address, power: validator.power },
        height: Height::new(height),
        time: time(seconds),
        total_voting_power: Power::new(60),
    };
    let attackers = named.iter().map(|member| entry(MisbehaviorKind::LightClientAttack, member, 5, 55));
    let expected: Vec<_> =
        std::iter::once(entry(MisbehaviorKind::DuplicateVote, &offender, 7, 77)).chain(attackers).collect();
    assert_eq!(told, expected);
}
