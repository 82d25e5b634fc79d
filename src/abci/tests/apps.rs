//! The built-in applications, called as the node calls them in its own process.

use super::{Mirror, check, facts, finalize};
use crate::abci::{Application, KvStore, LocalApp, Noop, first_that_fit};
use crate::ports::{App, Connection};
use crate::types::abci::{
    AbciValidator, CommitInfo, ExtendedCommitInfo, InfoRequest, InitChainRequest, Misbehavior, MisbehaviorKind,
    PrepareProposalRequest, ProcessProposalRequest, QueryRequest, Request, Verdict,
};
use crate::types::{Address, Height, Power, Time, ValidatorUpdate};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

fn validator(seed: u8, power: u64) -> ValidatorUpdate {
    ValidatorUpdate { public_key: [seed; 32].as_slice().try_into().unwrap(), power: Power::new(power) }
}

fn validator_tx(seed: u8, power: &str) -> Bytes {
    format!("val=ed25519!{}!{power}", STANDARD.encode([seed; 32])).into()
}

/// Transactions and the code CheckTx gives them. 19 cases.
#[test]
fn check_tx_knows_good_transactions_from_bad() {
    let good_key = STANDARD.encode([1; 32]);
    let cases: [(String, u32); 19] = [
        ("hello=world".into(), 0),
        ("hello:world".into(), 0),
        ("a=b c".into(), 0),
        (String::new(), 2),
        ("hello".into(), 2),
        ("=hello".into(), 2),
        ("hello=".into(), 2),
        ("a=b=c".into(), 2),
        ("a:b:c".into(), 2),
        ("a=b:c".into(), 2),
        (":=".into(), 2),
        ("val=hello".into(), 2),
        ("val=hi!5".into(), 2),
        (format!("val=ed25519!{good_key}!5"), 0),
        (format!("val=ed25519!{good_key}!0"), 0),
        (format!("val=ed25519!{good_key}!-1"), 2),
        (format!("val=ed25519!{good_key}!5!6"), 2),
        (format!("val=secp256k1!{good_key}!5"), 2),
        ("val=ed25519!AAAA!5".into(), 2),
    ];
    let mut app = KvStore::default();
    for (tx, code) in cases {
        let answer = app.check_tx(check(tx.clone())).unwrap();
        assert_eq!((answer.code, answer.gas_wanted), (code, i64::from(code == 0)), "{tx:?}");
    }
}

#[test]
fn a_pair_is_found_after_commit_and_not_before() {
    let mut app = KvStore::default();
    let query = |app: &mut KvStore, prove| {
        app.query(QueryRequest { data: Bytes::from_static(b"name"), prove, ..QueryRequest::default() }).unwrap()
    };
    let results = app.finalize_block(finalize(1, vec![Bytes::from_static(b"name=satoshi")])).unwrap();
    assert_eq!(results.tx_results[0].code, 0);
    let events = &results.tx_results[0].events;
    assert_eq!(events.len(), 2);
    let shown: Vec<_> =
        events.iter().flat_map(|event| &event.attributes).map(|a| (&*a.key, &*a.value, a.index)).collect();
    assert_eq!(shown[0], ("creator", "Cosmoshi Netowoko", true));
    assert_eq!(shown[1], ("key", "name", true));
    assert_eq!(shown[3], ("noindex_key", "index is working", false));
    assert_eq!(shown[5], ("key", "satoshi", true));
    assert_eq!(query(&mut app, false).log, "does not exist");
    app.commit().unwrap();
    let found = query(&mut app, false);
    assert_eq!((found.log.as_str(), &found.value[..], &found.key[..]), ("exists", &b"satoshi"[..], &b"name"[..]));
    assert_eq!((found.height, found.index), (1, 0));
    assert_eq!(query(&mut app, true).index, -1);
}

#[test]
fn the_app_hash_is_the_size_as_a_zigzag_varint_in_eight_bytes() {
    let mut app = KvStore::default();
    let txs: Vec<Bytes> = (0..300).map(|number| format!("k{number}=v").into()).collect();
    let hash = app.finalize_block(finalize(1, txs)).unwrap().app_hash;
    assert_eq!(&hash[..], [0xd8, 0x04, 0, 0, 0, 0, 0, 0]); // 600 = 0b100_1011000
    app.commit().unwrap();
    let info = app.info(InfoRequest::default()).unwrap();
    assert_eq!((info.data.as_str(), info.version.as_str(), info.app_version), ("{\"size\":300}", "2.0.0", 1));
    assert_eq!((info.last_block_height, info.last_block_app_hash), (1, hash));
}

#[test]
fn a_block_finalized_twice_counts_once() {
    let mut app = KvStore::default();
    let first = app.finalize_block(finalize(1, vec![Bytes::from_static(b"a=1")])).unwrap();
    let again = app.finalize_block(finalize(1, vec![Bytes::from_static(b"a=1")])).unwrap();
    assert_eq!(first, again);
    app.commit().unwrap();
    app.commit().unwrap();
    assert_eq!(app.info(InfoRequest::default()).unwrap().data, "{\"size\":1}");
}

#[test]
fn proposals_carry_only_good_transactions_with_an_equals_sign() {
    let mut app = KvStore::default();
    let txs = vec![Bytes::from_static(b"a:b"), Bytes::from_static(b"bad"), Bytes::from_static(b"c=d")];
    let request = PrepareProposalRequest {
        max_tx_bytes: 1_000,
        txs,
        local_last_commit: ExtendedCommitInfo::default(),
        block: facts(1),
    };
    let chosen = app.prepare_proposal(request).unwrap();
    assert_eq!(chosen, [&b"a=b"[..], b"c=d"]);
    let judge = |app: &mut KvStore, txs| {
        let hash = finalize(1, Vec::new()).hash;
        let block = facts(1);
        app.process_proposal(ProcessProposalRequest { txs, proposed_last_commit: CommitInfo::default(), hash, block })
    };
    assert_eq!(judge(&mut app, chosen).unwrap(), Verdict::Accept);
    assert_eq!(judge(&mut app, vec![Bytes::from_static(b"bad")]).unwrap(), Verdict::Reject);
}

#[test]
fn validators_come_change_and_go() {
    let mut app = KvStore::default();
    let genesis = InitChainRequest {
        time: Time::UNIX_EPOCH,
        chain_id: "c".to_owned(),
        consensus_params: None,
        validators: vec![validator(1, 10)],
        app_state_bytes: Bytes::new(),
        initial_height: Height::FIRST,
    };
    assert_eq!(&app.init_chain(genesis).unwrap().app_hash[..], [0; 8]);
    let txs = vec![validator_tx(2, "7"), validator_tx(2, "8"), validator_tx(9, "0")];
    let answer = app.finalize_block(finalize(1, txs)).unwrap();
    assert_eq!(answer.validator_updates, [validator(2, 8)], "the last change of a validator counts");
    assert_eq!(answer.tx_results.iter().map(|result| result.code).collect::<Vec<_>>(), [0, 0, 2]);
    app.commit().unwrap();

    let ask = QueryRequest { path: "/val".to_owned(), data: vec![2; 32].into(), ..QueryRequest::default() };
    let stored = app.query(ask).unwrap().value;
    assert_eq!(stored[..5], [38, 0x0a, 34, 0x0a, 32]);
    assert_eq!(stored[37..], [0x10, 8]);

    let mut block = finalize(2, vec![validator_tx(2, "0")]);
    block.block.misbehavior.push(Misbehavior {
        kind: MisbehaviorKind::DuplicateVote,
        validator: AbciValidator { address: Address::from(&validator(1, 10).public_key), power: Power::new(10) },
        height: Height::FIRST,
        time: Time::UNIX_EPOCH,
        total_voting_power: Power::new(18),
    });
    let answer = app.finalize_block(block).unwrap();
    assert_eq!(answer.validator_updates, [validator(1, 9), validator(2, 0)]);
}

#[test]
fn old_blocks_are_let_go_only_when_asked_for() {
    let retained: Vec<i64> = [KvStore::default(), KvStore::default().retain_blocks(2)]
        .map(|mut app| {
            (1..=3)
                .map(|height| {
                    app.finalize_block(finalize(height, Vec::new())).unwrap();
                    app.commit().unwrap().retain_height
                })
                .collect::<Vec<_>>()
        })
        .concat();
    assert_eq!(retained, [0, 0, 0, 0, 1, 2]);
}

/// Against counting by hand: tag, length, bytes.
#[test]
fn a_default_proposal_takes_what_fits_with_tags_and_lengths() {
    let txs = vec![Bytes::from(vec![0; 10]), Bytes::from(vec![0; 200]), Bytes::from(vec![0; 1])];
    for (budget, count) in [(0, 0), (11, 0), (12, 1), (214, 1), (215, 2), (217, 2), (218, 3)] {
        assert_eq!(first_that_fit(txs.clone(), budget).len(), count, "{budget} bytes");
    }
    let request = PrepareProposalRequest {
        max_tx_bytes: 12,
        txs,
        local_last_commit: ExtendedCommitInfo::default(),
        block: facts(1),
    };
    assert_eq!(Noop.prepare_proposal(request).unwrap().len(), 1);
    assert_eq!(Noop.finalize_block(finalize(1, vec![Bytes::new(); 3])).unwrap().tx_results.len(), 3);
}

#[tokio::test]
async fn an_application_of_our_own_process_fails_as_one_behind_a_socket_does() {
    let app = LocalApp::new(Mirror);
    let call = async |tx: &'static str| app.call(Connection::Mempool, vec![Request::CheckTx(check(tx))]).await;
    assert_eq!(call("fail").await.unwrap_err().to_string(), "the application failed in check_tx: disk full");
    assert!(call("fine").await.is_ok());
    let panicked = "the application failed in check_tx: the application panicked in check_tx: told to";
    assert_eq!(call("panic").await.unwrap_err().to_string(), panicked);
    let after = call("fine").await.unwrap_err().to_string();
    assert_eq!(after, format!("{panicked}; restart the application"));
}
