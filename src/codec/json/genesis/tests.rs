//! Good documents, and one test for each way a document can be wrong.

use super::*;
use serde_json::{Value, json};

fn good() -> Value {
    json!({
        "genesis_time": "2023-05-17T14:12:48.347696215Z",
        "chain_id": "dockerchain",
        "initial_height": "1",
        "consensus_params": {
            "block": {"max_bytes": "22020096", "max_gas": "-1"},
            "evidence": {"max_age_num_blocks": "100000", "max_age_duration": "172800000000000", "max_bytes": "1048576"},
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": "0"},
            "abci": {"vote_extensions_enable_height": "0"}
        },
        "validators": [{
            "address": "2DD9F44FD9067555C322243C3C913BA7B51D2BE0",
            "pub_key": {"type": "tendermint/PubKeyEd25519", "value": "bNNlGls5R25wC3Sd8720F/3+7IZBhXcD22MNFtPk/v0="},
            "power": "10",
            "name": ""
        }],
        "app_hash": ""
    })
}

/// The good document with one place replaced; `Value::Null` removes nothing but says null.
fn with(pointer: &str, value: Value) -> Vec<u8> {
    let mut document = good();
    match document.pointer_mut(pointer) {
        Some(place) => *place = value,
        None => {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            document.pointer_mut(parent).unwrap()[name] = value;
        }
    }
    document.to_string().into_bytes()
}

#[test]
fn what_cometbft_writes_is_read_and_written_back_byte_for_byte() {
    let text = concat!(
        "{\n  \"genesis_time\": \"2023-05-17T14:12:48.347696215Z\",\n  \"chain_id\": \"docker\\u003cchain\",\n",
        "  \"initial_height\": \"1\",\n  \"consensus_params\": {\n    \"block\": {\n      \"max_bytes\": \"22020096\",\n",
        "      \"max_gas\": \"-1\"\n    },\n    \"evidence\": {\n      \"max_age_num_blocks\": \"100000\",\n",
        "      \"max_age_duration\": \"172800000000000\",\n      \"max_bytes\": \"1048576\"\n    },\n",
        "    \"validator\": {\n      \"pub_key_types\": [\n        \"ed25519\"\n      ]\n    },\n",
        "    \"version\": {\n      \"app\": \"0\"\n    },\n    \"abci\": {\n",
        "      \"vote_extensions_enable_height\": \"0\"\n    }\n  },\n  \"validators\": [\n    {\n",
        "      \"address\": \"2DD9F44FD9067555C322243C3C913BA7B51D2BE0\",\n      \"pub_key\": {\n",
        "        \"type\": \"tendermint/PubKeyEd25519\",\n",
        "        \"value\": \"bNNlGls5R25wC3Sd8720F/3+7IZBhXcD22MNFtPk/v0=\"\n      },\n      \"power\": \"10\",\n",
        "      \"name\": \"\"\n    }\n  ],\n  \"app_hash\": \"\",\n  \"app_state\": {\"a\" :  [1,{}]}\n}"
    );
    let document = parse(text.as_bytes()).unwrap();
    assert_eq!(document.app_state, Bytes::from_static(b"{\"a\" :  [1,{}]}"), "kept byte for byte");
    assert_eq!(String::from_utf8(render(&document)).unwrap(), text);
}

#[test]
fn the_protocol_is_named_unless_it_is_cometbfts_only_one() {
    for algorithm in Algorithm::ALL {
        let document = parse(&with("/algorithm", json!(algorithm.name()))).unwrap();
        assert_eq!(document.algorithm, algorithm);
        let text = String::from_utf8(render(&document)).unwrap();
        assert_eq!(text.contains("\"algorithm\""), algorithm != Algorithm::Tendermint, "{text}");
        assert_eq!(parse(text.as_bytes()).unwrap(), document);
    }
}

#[test]
fn the_greatest_initial_height_leaves_room_for_the_heights_that_follow() {
    let greatest = GenesisDoc::INITIAL_HEIGHT_MAX;
    let document = parse(&with("/initial_height", json!(greatest.to_string()))).unwrap();
    assert_eq!(document.initial_height, Height::new(greatest));
}

#[test]
fn what_is_missing_has_cometbfts_defaults() {
    let document = parse(br#"{"chain_id":"c","genesis_time":"2026-01-01T00:00:00Z","unknown":{"x":1}}"#).unwrap();
    assert_eq!(document.consensus_params, ConsensusParams::default());
    assert_eq!(document.initial_height, Height::FIRST);
    assert!(document.validators.is_empty() && document.app_state.is_empty() && document.app_hash.is_empty());
    assert_eq!(parse(&with("/initial_height", json!("0"))).unwrap().initial_height, Height::FIRST);
    assert_eq!(parse(&with("/consensus_params", Value::Null)).unwrap().consensus_params, ConsensusParams::default());
    assert_eq!(
        parse(&with("/consensus_params/block/max_bytes", json!("-1"))).unwrap().consensus_params.block.max_bytes,
        None
    );
    assert!(parse(&with("/validators/0/address", json!(""))).is_ok(), "the address is derived");
    assert_eq!(parse(&render(&document)).unwrap(), document);
}

#[test]
fn forty_one_wrong_documents_are_refused_with_field_value_and_remedy() {
    let p = "/consensus_params";
    let cases: Vec<(String, Value, &str)> = vec![
        ("/chain_id".into(), json!(""), "genesis.chain_id is \"\"; expected a text of 1 to 50 bytes"),
        ("/chain_id".into(), json!("x".repeat(51)), "expected a text of 1 to 50 bytes"),
        ("/chain_id".into(), json!(5), "genesis.chain_id is 5;"),
        ("/chain_id".into(), Value::Null, "genesis.chain_id is null;"),
        ("/genesis_time".into(), Value::Null, "the moment the chain was defined"),
        ("/genesis_time".into(), json!("yesterday"), "genesis.genesis_time is \"yesterday\""),
        ("/genesis_time".into(), json!("2023-05-17T14:12:48+02:00"), "ends with Z"),
        ("/genesis_time".into(), json!(0), "genesis.genesis_time is 0"),
        ("/initial_height".into(), json!("-1"), "genesis.initial_height is \"-1\""),
        ("/initial_height".into(), json!(1), "in quotes"),
        ("/initial_height".into(), json!("9223372036854775808"), "genesis.initial_height"),
        ("/initial_height".into(), json!("4611686018427387905"), "to 4611686018427387904"),
        ("/algorithm".into(), json!("paxos"), "genesis.algorithm is \"paxos\"; expected tendermint, pbft or raft"),
        ("/algorithm".into(), json!(1), "genesis.algorithm is 1"),
        ("/initial_height".into(), json!("one"), "genesis.initial_height is \"one\""),
        ("/app_hash".into(), json!("xyz"), "genesis.app_hash is \"xyz\"; expected hex digits"),
        ("/app_hash".into(), json!("ABC"), "two for each byte"),
        (p.into(), json!([]), "genesis.consensus_params is []; expected an object"),
        (format!("{p}/block"), Value::Null, "genesis.consensus_params.block is null; expected an object"),
        (format!("{p}/block/max_bytes"), json!("0"), "\"-1\" (no limit) or \"1\" to \"104857600\""),
        (format!("{p}/block/max_bytes"), json!("-2"), "block.max_bytes is \"-2\""),
        (format!("{p}/block/max_bytes"), json!("104857601"), "block.max_bytes is \"104857601\""),
        (format!("{p}/block/max_bytes"), json!(22020096), "in quotes"),
        (format!("{p}/block/max_gas"), json!("-2"), "block.max_gas is \"-2\""),
        (format!("{p}/evidence/max_age_num_blocks"), json!("0"), "evidence.max_age_num_blocks is \"0\""),
        (format!("{p}/evidence/max_age_duration"), json!("0"), "evidence.max_age_duration is \"0\""),
        (format!("{p}/evidence/max_age_duration"), json!("48h"), "evidence.max_age_duration is \"48h\""),
        (format!("{p}/evidence/max_bytes"), json!("-1"), "evidence.max_bytes is \"-1\""),
        (format!("{p}/evidence/max_bytes"), json!("22020097"), "evidence.max_bytes must be at most block.max_bytes"),
        (format!("{p}/validator/pub_key_types"), json!([]), "pub_key_types is []; expected a list of key types"),
        (format!("{p}/validator/pub_key_types"), json!(["rsa"]), "\"rsa\" is an unknown key type"),
        (format!("{p}/version/app"), json!("-1"), "version.app is \"-1\""),
        (format!("{p}/abci/vote_extensions_enable_height"), json!("-1"), "vote_extensions_enable_height is \"-1\""),
        ("/validators".into(), json!({}), "genesis.validators is {}; expected a list"),
        ("/validators/0/power".into(), json!("0"), "remove it or give it power"),
        ("/validators/0/power".into(), json!("-10"), "genesis.validators[0].power is \"-10\""),
        ("/validators/0/power".into(), json!(10), "in quotes"),
        ("/validators/0/power".into(), json!("1152921504606846976"), "genesis.validators[0].power"),
        ("/validators/0/address".into(), json!("00".repeat(20)), "expected 2DD9F44FD9067555C322243C3C913BA7B51D2BE0"),
        ("/validators/0/pub_key/type".into(), json!("tendermint/PubKeySecp256k1"), "the only key type"),
        ("/validators/0/pub_key/value".into(), json!("AAAA"), "32 bytes in base64"),
    ];
    assert_eq!(cases.len(), 41);
    for (pointer, value, expected) in cases {
        let error = parse(&with(&pointer, value.clone())).expect_err(&pointer).to_string();
        assert!(error.contains(expected), "{pointer} = {value}: {error}");
        assert!(error.contains("Correct it in the genesis file"), "a remedy: {error}");
    }
}

#[test]
fn documents_wrong_as_a_whole_are_refused() {
    let twice = json!([good()["validators"][0], good()["validators"][0]]);
    let cases: [(Vec<u8>, &str); 5] = [
        (b"".to_vec(), "genesis is broken"),
        (b"{".to_vec(), "expected valid JSON"),
        (b"[]".to_vec(), "expected an object"),
        (b"\xff".to_vec(), "genesis is broken"),
        (with("/validators", twice), "each validator once"),
    ];
    for (bytes, expected) in cases {
        let error = parse(&bytes).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}
