//! The 41 single-step cases of tendermint-rs, and a chain of our own bent in every place.

use super::*;
use crate::crypto::{PublicKey, Signature, merkle};
use crate::types::tests::{Signers, time};
use crate::types::{
    Address, BlockId, Commit, CommitSig, PartSetHeader, Power, Round, SignedHeader, SignedPart, Validator, Version,
};
use base64::Engine as _;
use bytes::Bytes;
use serde_json::Value;

// --------------------------------------------------------------------------------------- tendermint-rs's cases

/// Files in `tests/vectors/tendermint-rs/light_client_single_step`.
const CASES: usize = 41;
/// Steps in them by verdict.
const VERDICTS: [(&str, usize); 3] = [("INVALID", 13), ("NOT_ENOUGH_TRUST", 42), ("SUCCESS", 44)];

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is not a string: {value}"))
}

fn number(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_else(|| text(value, key).parse().unwrap())
}

fn hex_bytes(value: &Value, key: &str) -> Vec<u8> {
    hex::decode(text(value, key)).unwrap()
}

/// The hash in a field; the hash of nothing where the field is empty, as these made-up headers have it.
fn hash(value: &Value, key: &str) -> Hash {
    Hash::try_from(&hex_bytes(value, key)[..]).unwrap_or(Hash::EMPTY)
}

fn address(value: &Value, key: &str) -> Address {
    Address::try_from(&hex_bytes(value, key)[..]).unwrap()
}

fn base64(value: &Value) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap()).unwrap()
}

fn block_id(value: &Value) -> BlockId {
    let parts = &value["part_set_header"];
    let parts = PartSetHeader { total: number(parts, "total") as u32, hash: hash(parts, "hash") };
    BlockId { hash: hash(value, "hash"), parts }
}

fn header(value: &Value) -> Header {
    Header {
        version: Version { block: number(&value["version"], "block"), app: number(&value["version"], "app") },
        chain_id: ChainId::try_from(text(value, "chain_id")).unwrap(),
        height: Height::new(number(value, "height")),
        time: text(value, "time").parse().unwrap(),
        last_block_id: (!value["last_block_id"].is_null()).then(|| block_id(&value["last_block_id"])),
        last_commit_hash: hash(value, "last_commit_hash"),
        data_hash: hash(value, "data_hash"),
        validators_hash: hash(value, "validators_hash"),
        next_validators_hash: hash(value, "next_validators_hash"),
        consensus_hash: hash(value, "consensus_hash"),
        app_hash: Bytes::from(hex_bytes(value, "app_hash")),
        last_results_hash: hash(value, "last_results_hash"),
        evidence_hash: hash(value, "evidence_hash"),
        proposer_address: address(value, "proposer_address"),
    }
}

fn commit(value: &Value) -> Commit {
    let sig = |sig: &Value| {
        let part = || SignedPart {
            validator_address: address(sig, "validator_address"),
            timestamp: text(sig, "timestamp").parse().unwrap(),
            signature: Signature::try_from(&base64(&sig["signature"])[..]).unwrap(),
        };
        match number(sig, "block_id_flag") {
            2 => CommitSig::Commit(part()),
            3 => CommitSig::Nil(part()),
            _ => CommitSig::Absent,
        }
    };
    Commit {
        height: Height::new(number(value, "height")),
        round: Round::new(number(value, "round") as u32),
        block_id: block_id(&value["block_id"]),
        signatures: value["signatures"].as_array().into_iter().flatten().map(sig).collect(),
    }
}

/// The set in its order, which the files do not keep; none when it is empty: such a set is refused when it is read.
fn validators(value: &Value) -> Option<ValidatorSet> {
    let mut members: Vec<Validator> = value["validators"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| {
            let key = PublicKey::try_from(&base64(&member["pub_key"]["value"])[..]).unwrap();
            Validator::new(key, Power::new(number(member, "voting_power")))
        })
        .collect();
    members.sort_by(|a, b| b.power.cmp(&a.power).then(a.address.cmp(&b.address)));
    ValidatorSet::from_stored(members, None).ok()
}

fn signed_header(value: &Value) -> SignedHeader {
    SignedHeader { header: header(&value["header"]), commit: commit(&value["commit"]) }
}

/// Reference §4.4 spelled out for these headers, which leave fields empty that ours always fill.
fn header_hash(value: &Value, header: &Header) -> Hash {
    let varint = |mut n: u64| {
        let mut bytes = Vec::new();
        while n >= 0x80 {
            bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        bytes.push(n as u8);
        bytes
    };
    let number = |tag: u8, n: u64| if n == 0 { vec![] } else { [vec![tag], varint(n)].concat() };
    let string = |bytes: &[u8]| match bytes.len() {
        0 => vec![],
        len => [vec![0x0a], varint(len as u64), bytes.to_vec()].concat(),
    };
    let field = |key| string(&hex_bytes(value, key));
    assert!(header.last_block_id.is_none(), "these headers name no last block");
    merkle::root(&[
        [number(0x08, header.version.block), number(0x10, header.version.app)].concat(),
        string(header.chain_id.as_str().as_bytes()),
        number(0x08, header.height.get()),
        [number(0x08, header.time.seconds() as u64), number(0x10, header.time.nanos().into())].concat(),
        vec![0x12, 0x00],
        field("last_commit_hash"),
        field("data_hash"),
        field("validators_hash"),
        field("next_validators_hash"),
        field("consensus_hash"),
        field("app_hash"),
        field("last_results_hash"),
        field("evidence_hash"),
        field("proposer_address"),
    ])
}

/// Runs one file; gives the verdicts met.
fn run(case: &Value) -> Vec<&str> {
    let initial = &case["initial"];
    let mut trusted_header = header(&initial["signed_header"]["header"]);
    let mut trusted_next = validators(&initial["next_validator_set"]).unwrap();
    let options = Options {
        trusting_period: Duration::from_nanos(number(initial, "trusting_period")),
        clock_drift: Duration::from_secs(1),
        level: TrustLevel::ONE_THIRD,
    };
    let mut verdicts = Vec::new();
    for (step, input) in case["input"].as_array().unwrap().iter().enumerate() {
        let (block, expected) = (&input["block"], text(input, "verdict"));
        verdicts.push(expected);
        let Some(validators_of_block) = validators(&block["validator_set"]) else {
            assert_eq!(expected, "INVALID", "{} step {step} has a set of nobody", text(case, "description"));
            continue;
        };
        let untrusted =
            LightBlock { signed_header: signed_header(&block["signed_header"]), validators: validators_of_block };
        let hash = header_hash(&block["signed_header"]["header"], &untrusted.signed_header.header);
        let trusted = Trusted { header: &trusted_header, validators: &trusted_next };
        let result = verify_hashed(trusted, &untrusted, hash, &options, text(input, "now").parse().unwrap());
        let got = match &result {
            Ok(()) => "SUCCESS",
            Err(LightError::NotEnoughTrust(_)) => "NOT_ENOUGH_TRUST",
            Err(LightError::Expired { .. } | LightError::Invalid(_)) => "INVALID",
        };
        assert_eq!(got, expected, "{} step {step}: {result:?}", text(case, "description"));
        if result.is_ok() {
            trusted_header = untrusted.signed_header.header;
            trusted_next = validators(&block["next_validator_set"]).unwrap();
        }
    }
    verdicts
}

#[test]
fn the_41_single_step_cases_of_tendermint_rs_have_their_verdicts() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/tendermint-rs/light_client_single_step");
    let mut cases = 0;
    let mut verdicts: std::collections::BTreeMap<String, usize> = Default::default();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let case: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for verdict in run(&case) {
            *verdicts.entry(verdict.to_owned()).or_default() += 1;
        }
        cases += 1;
    }
    assert_eq!(cases, CASES);
    assert_eq!(verdicts.iter().map(|(verdict, count)| (verdict.as_str(), *count)).collect::<Vec<_>>(), VERDICTS);
}

// --------------------------------------------------------------------------------------------- a chain of our own

const OPTIONS: Options = Options {
    trusting_period: Duration::from_secs(1000),
    clock_drift: Options::CLOCK_DRIFT,
    level: TrustLevel::ONE_THIRD,
};

/// A signed header at `height`, decided by `signers` at second `height`, with `next` to follow.
fn light_block(height: u64, signers: &Signers, next: &Signers) -> LightBlock {
    let header = Header {
        next_validators_hash: next.set.hash(),
        proposer_address: signers.set.proposer().address,
        ..signers.header(height)
    };
    seal(header, signers)
}

fn seal(header: Header, signers: &Signers) -> LightBlock {
    let id = BlockId { hash: header.hash(), parts: PartSetHeader { total: 1, hash: Hash::EMPTY } };
    let commit = signers.commit(header.height, id, header.time.seconds());
    LightBlock { signed_header: SignedHeader { header, commit }, validators: signers.set.clone() }
}

/// From height 1, decided by `a` with `a` to follow, to `untrusted`, at second `now`.
fn step(a: &Signers, untrusted: &LightBlock, now: i64) -> Result<(), LightError> {
    let first = light_block(1, a, a);
    let trusted = Trusted { header: &first.signed_header.header, validators: &a.set };
    verify(trusted, untrusted, &OPTIONS, time(now))
}

#[test]
fn the_next_header_needs_the_promised_set_and_a_later_one_enough_of_the_trusted() {
    let (a, b) = (Signers::new(1, &[10, 10, 10]), Signers::new(2, &[10, 10, 10]));
    assert_eq!(step(&a, &light_block(2, &a, &b), 10), Ok(()));
    assert_eq!(step(&a, &light_block(5, &a, &b), 10), Ok(()));
    let (promised, got) = (a.set.hash(), b.set.hash());
    assert_eq!(step(&a, &light_block(2, &b, &b), 10), Err(InvalidHeader::WrongNextSet { promised, got }.into()));
    let nobody = CommitError::NotEnoughPower { got: 0, needed: 10 };
    assert_eq!(step(&a, &light_block(5, &b, &b), 10), Err(LightError::NotEnoughTrust(nobody)));
}

#[test]
fn trust_ends_with_the_trusting_period() {
    let a = Signers::new(1, &[10]);
    assert_eq!(step(&a, &light_block(2, &a, &a), 1000), Ok(()));
    assert_eq!(step(&a, &light_block(2, &a, &a), 1001), Err(LightError::Expired { at: time(1001), now: time(1001) }));
}

#[test]
fn height_and_time_grow_but_not_beyond_our_clock_and_its_drift() {
    let a = Signers::new(1, &[10]);
    let invalid = |block: &LightBlock, now| match step(&a, block, now) {
        Err(LightError::Invalid(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(invalid(&light_block(1, &a, &a), 10), InvalidHeader::NotHigher { .. }));
    let mut header = light_block(3, &a, &a).signed_header.header;
    header.time = time(1);
    assert!(matches!(invalid(&seal(header, &a), 10), InvalidHeader::NotLater { .. }));
    assert_eq!(step(&a, &light_block(20, &a, &a), 11), Ok(()));
    assert!(matches!(invalid(&light_block(20, &a, &a), 10), InvalidHeader::FromTheFuture { .. }));
}

#[test]
fn header_commit_and_set_belong_together() {
    let (a, b) = (Signers::new(1, &[10]), Signers::new(2, &[10]));
    type Bend = fn(&mut LightBlock, &Signers);
    let cases: [(&str, Bend); 6] = [
        ("untrustedHeader.ValidateBasic failed: invalid header: block protocol", |block, _| {
            block.signed_header.header.version.block = 9;
        }),
        ("untrustedHeader.ValidateBasic failed: header belongs to another chain", |block, _| {
            block.signed_header.header.chain_id = ChainId::try_from("other").unwrap();
        }),
        ("untrustedHeader.ValidateBasic failed: header and commit height mismatch: 2 vs 3", |block, _| {
            block.signed_header.commit.height = Height::new(3);
        }),
        ("untrustedHeader.ValidateBasic failed: commit signs block", |block, _| {
            block.signed_header.header.app_hash = Bytes::from_static(b"lie");
        }),
        ("expected new header validators", |block, b| block.validators = b.set.clone()),
        ("wrong signature (#0)", |block, _| block.signed_header.commit.round = Round::new(7)),
    ];
    for (text, bend) in cases {
        let mut block = light_block(2, &a, &a);
        bend(&mut block, &b);
        let error = step(&a, &block, 10).unwrap_err().to_string();
        assert!(error.starts_with(&format!("invalid header: {text}")), "{error}");
    }
}

#[test]
fn a_header_below_is_trusted_by_its_hash() {
    let a = Signers::new(1, &[10]);
    let older = light_block(1, &a, &a).signed_header.header;
    let mut newer = light_block(2, &a, &a).signed_header.header;
    newer.last_block_id = Some(BlockId { hash: older.hash(), parts: PartSetHeader { total: 1, hash: Hash::EMPTY } });
    assert_eq!(verify_backwards(&newer, &older), Ok(()));
    let other = Header { app_hash: Bytes::from_static(b"lie"), ..older.clone() };
    assert!(matches!(verify_backwards(&newer, &other), Err(InvalidHeader::NotTheLastBlock { .. })));
    let late = Header { time: newer.time, ..older.clone() };
    assert!(matches!(verify_backwards(&newer, &late), Err(InvalidHeader::NotEarlier { .. })));
    let foreign = Header { chain_id: ChainId::try_from("other").unwrap(), ..older.clone() };
    assert_eq!(verify_backwards(&newer, &foreign), Err(InvalidHeader::OtherChain));
    let first = Header { last_block_id: None, ..newer };
    assert!(matches!(verify_backwards(&first, &older), Err(InvalidHeader::NotTheLastBlock { .. })));
}
