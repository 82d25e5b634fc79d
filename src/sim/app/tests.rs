//! Stories of what is drawn for an application and how its answers are compared.

use super::*;
use crate::types::abci::{Event, ExecTxResult, FinalizeBlockResponse, InitChainResponse};
use crate::types::{Evidence, Extensions, Height, Quorum, Round};
use bytes::Bytes;
use std::time::Duration;

fn wishes(heights: u64) -> Wishes {
    Wishes { hosting: Hosting::Started, instances: 3, heights, initial: 1, calm: false, only: None }
}

#[test]
fn a_seed_draws_the_same_plan_twice_and_shorter_plans_are_its_beginning() {
    for seed in 0..50 {
        let long = Plan::draw(seed, &wishes(20));
        assert_eq!(long, Plan::draw(seed, &wishes(20)));
        let short = Plan::draw(seed, &wishes(7));
        assert_eq!(short.faults[..], long.faults[..short.faults.len()]);
    }
}

#[test]
fn a_plan_of_chosen_faults_has_those_alone_under_their_numbers() {
    let all = Plan::draw(3, &wishes(20));
    let chosen = [all.faults[1].number, all.faults[4].number];
    let only = Plan::draw(3, &Wishes { only: Some(chosen.into()), ..wishes(20) });
    assert_eq!(only.faults, [all.faults[1].clone(), all.faults[4].clone()]);
}

#[test]
fn every_misfortune_is_drawn_by_some_seed() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..50 {
        seen.extend(Plan::draw(seed, &wishes(20)).faults.iter().map(|fault| {
            let name = format!("{:?}", fault.what);
            name.split([' ', '{']).next().unwrap().to_owned()
        }));
    }
    assert_eq!(seen.len(), 12, "{seen:?}");
}

#[test]
fn the_first_difference_is_the_one_nearest_to_the_cause() {
    let txs = [Bytes::from_static(b"k=1"), Bytes::from_static(b"k=2")];
    let one = FinalizeBlockResponse {
        tx_results: vec![ExecTxResult::default(); 2],
        app_hash: Bytes::from_static(&[1]),
        ..FinalizeBlockResponse::default()
    };
    let mut other = FinalizeBlockResponse { app_hash: Bytes::from_static(&[2]), ..one.clone() };
    other.tx_results[1].gas_used = 6;
    other.tx_results[0].log = "another".to_owned();
    other.tx_results[0].events.push(Event::default());
    let found = compare::finalize_block(&txs, &one, &other);
    let fields: Vec<_> = found.grave.iter().map(|it| it.field).collect();
    assert_eq!(fields, ["gas_used", "app_hash"]);
    assert_eq!(found.grave[0].place, Place::Tx { index: 1, tx: txs[1].clone() });
    assert_eq!((found.grave[0].one.as_str(), found.grave[0].other.as_str()), ("0", "6"));
    assert_eq!(found.slight.iter().map(|it| it.field).collect::<Vec<_>>(), ["events", "log"]);
    assert_eq!(compare::finalize_block(&txs, &one, &one), compare::Differences::default());
}

#[test]
fn a_file_of_transactions_has_text_and_hexadecimal_lines() {
    let txs = parse_txs("# two\na=b\r\n\n0x00ff\n").unwrap();
    assert_eq!(txs, [Bytes::from_static(b"a=b"), Bytes::from_static(&[0, 255])]);
    assert_eq!(parse_txs("a=b\n0xzz"), Err(TxsError::NotHex { line: 2 }));
    assert_eq!(parse_txs("# nothing\n"), Err(TxsError::Empty));
}

#[test]
fn a_transaction_is_shown_as_text_where_it_is_text() {
    assert_eq!(shown(&Bytes::from_static(b"k=v")), "0x6b3d76, \"k=v\"");
    assert_eq!(shown(&Bytes::from_static(&[0, 1])), "0x0001");
    assert!(shown(&Bytes::from(vec![b'a'; 20])).ends_with('…'));
}

/// A chain of this genesis after its first block, which all but the first validator signed, with extensions.
fn after_one_block(mut genesis: crate::types::GenesisDoc) -> Chain {
    genesis.consensus_params.abci.vote_extensions_enable_height = Some(genesis.initial_height);
    let voters = genesis.validators.len();
    let given = |answer| Given { nr: InstanceNr(0), by: "instance A".to_owned(), answer };
    let mut chain = Chain::new(genesis);
    chain.begin(given(InitChainResponse::default()), 0).unwrap();
    let (block, _) = Chain::complete(chain.draft(Round::ZERO, Vec::new(), Vec::new()).unwrap(), Vec::new(), &[]);
    chain.decide(block);
    let answer = FinalizeBlockResponse { app_hash: Bytes::from_static(b"after 1"), ..Default::default() };
    chain.answered(Given { nr: InstanceNr(0), by: "instance A".to_owned(), answer }).unwrap();
    let signed = |voter| VoterPart::Signed(Bytes::from(format!("extension {voter}")));
    let parts: Vec<_> = (0..voters).map(|voter| if voter == 0 { VoterPart::Absent } else { signed(voter) }).collect();
    chain.advance(Round::new(2), &parts, Duration::from_secs(1)).unwrap();
    chain
}

#[test]
fn drawn_validators_sign_their_precommits_extensions_and_crimes_and_an_application_may_verify_it() {
    let mut plan = Plan::draw(3, &wishes(20));
    plan.powers = vec![10; 4];
    let chain = after_one_block(genesis(&plan));
    let (state, commit) = (chain.state(), chain.last_commit().unwrap());
    let (set, block_id) = (state.last_validators.as_ref().unwrap(), state.last_block_id.unwrap());
    let quorum = Quorum::MoreThanTwoThirds;
    set.verify_extended_commit(&state.chain_id, &block_id, Height::FIRST, commit, Extensions::Required, quorum)
        .unwrap();
    // The application is shown the same signatures, and what it needs to verify them.
    let shown = chain.draft(Round::ZERO, Vec::new(), Vec::new()).unwrap().request(&[]).local_last_commit;
    let signatures: Vec<_> = shown.votes.iter().map(|vote| vote.extension_signature.clone()).collect();
    let made = commit.signatures.iter().map(|entry| entry.extension_signature);
    let made: Vec<_> = made.map(|it| it.map_or(Bytes::new(), |it| Bytes::copy_from_slice(it.as_ref()))).collect();
    assert_eq!(signatures, made);
    assert_eq!(signatures.iter().filter(|signature| signature.len() == 64).count(), 3);
    let Some(Evidence::DuplicateVote(proof)) = chain.evidence(2) else { panic!("two votes prove it") };
    for vote in [&proof.vote_a, &proof.vote_b] {
        let member = set.by_address(&vote.validator_address).unwrap();
        assert_eq!(vote.validator_index, member.0);
        assert!(member.1.public_key.verifies(&vote.sign_bytes(&state.chain_id), &vote.signature));
    }
}

#[test]
fn a_genesis_of_validators_whose_keys_nobody_has_here_makes_a_chain_without_signatures() {
    let mut document = genesis(&Plan::draw(3, &wishes(20)));
    for (nr, validator) in (100_u8..).zip(&mut document.validators) {
        validator.public_key = crate::crypto::PrivateKey::from_seed(&[nr; 32]).public_key();
        validator.address = crate::types::Address::from(&validator.public_key);
    }
    let chain = after_one_block(document);
    let mut signed = chain.last_commit().unwrap().signatures.iter().filter_map(|entry| entry.extension_signature);
    assert!(signed.all(|signature| signature.as_ref() == [0; 64]));
}
