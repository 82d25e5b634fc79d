//! Node info against an independent implementation, and its form.

use crate::types::{Address, NodeId, NodeInfo};
use prost::Message as _;
use tendermint_proto::v0_38::p2p as oracle;

fn info() -> NodeInfo {
    NodeInfo {
        p2p_version: 8,
        block_version: 11,
        app_version: 1,
        node_id: NodeId::new(Address::new([0xab; 20])),
        listen_addr: "tcp://0.0.0.0:26656".to_owned(),
        network: "chain".try_into().expect("short"),
        version: "0.38.25".to_owned(),
        channels: vec![0x40, 0x20, 0x21, 0x22, 0x23, 0x30, 0x38, 0x60, 0x61, 0],
        moniker: "a node".to_owned(),
        tx_index: "on".to_owned(),
        rpc_address: "tcp://127.0.0.1:26657".to_owned(),
    }
}

#[test]
fn node_info_is_written_as_another_implementation_writes_it() {
    let ours = info();
    let theirs = oracle::DefaultNodeInfo {
        protocol_version: Some(oracle::ProtocolVersion { p2p: 8, block: 11, app: 1 }),
        default_node_id: ours.node_id.to_string(),
        listen_addr: ours.listen_addr.clone(),
        network: "chain".to_owned(),
        version: ours.version.clone(),
        channels: ours.channels.clone(),
        moniker: ours.moniker.clone(),
        other: Some(oracle::DefaultNodeInfoOther { tx_index: "on".to_owned(), rpc_address: ours.rpc_address.clone() }),
    };
    assert_eq!(ours.encode(), theirs.encode_to_vec());
    assert_eq!(NodeInfo::decode(theirs.encode_to_vec().into()), Ok(ours));
}

#[test]
fn parts_that_go_always_writes_are_there_when_they_are_empty() {
    let bare = NodeInfo { tx_index: String::new(), rpc_address: String::new(), ..info() };
    assert!(bare.encode().ends_with(b"\x42\x00"), "other, without fields");
    assert_eq!(NodeInfo::decode(bare.encode()), Ok(bare));
}

type Spoil = fn(&mut NodeInfo);

/// Changes that spoil the form, and the field the complaint names. 14 cases.
const SPOILT: [(Spoil, &str); 14] = [
    (|info| info.listen_addr = String::new(), "listen_addr: has no port"),
    (|info| info.listen_addr = "localhost".to_owned(), "listen_addr: has no port"),
    (|info| info.listen_addr = ":26656".to_owned(), "listen_addr: has no host"),
    (|info| info.listen_addr = "[::1]".to_owned(), "listen_addr: has no port"),
    (|info| info.listen_addr = "::1:26656".to_owned(), "listen_addr: is not host:port"),
    (|info| info.listen_addr = "1.2.3.4:65536".to_owned(), "listen_addr: has a port"),
    (|info| info.listen_addr = "x@1.2.3.4:1".to_owned(), "listen_addr: is not host:port"),
    (|info| info.version = "\t".to_owned(), "version"),
    (|info| info.moniker = "  ".to_owned(), "moniker"),
    (|info| info.moniker = "Zürich".to_owned(), "moniker"),
    (|info| info.tx_index = "maybe".to_owned(), "other.tx_index"),
    (|info| info.rpc_address = "\u{7f}".to_owned(), "other.rpc_address"),
    (|info| info.channels = (0..17).collect(), "channels: has more than 16"),
    (|info| info.channels = vec![1, 2, 1], "channels: names a channel twice"),
];

#[test]
fn all_14_spoilt_forms_are_refused_by_field() {
    for (spoil, words) in SPOILT {
        let mut spoilt = info();
        spoil(&mut spoilt);
        let error = NodeInfo::decode(spoilt.encode()).expect_err("spoilt").to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn addresses_of_every_usual_form_are_taken() {
    for address in ["1.2.3.4:26656", "[::1]:26656", "tcp://node.example.org:0", "tcp://[fe80::1%eth0]:1"] {
        let usual = NodeInfo { listen_addr: address.to_owned(), ..info() };
        assert_eq!(NodeInfo::decode(usual.encode()), Ok(usual));
    }
}

#[test]
fn names_that_no_node_or_chain_has_are_refused() {
    let with = |id: &str, network: &str| {
        let mut bytes = Vec::new();
        for (tag, text) in [(0x12, id), (0x1a, "1.2.3.4:5"), (0x22, network), (0x3a, "m")] {
            bytes.extend([tag, text.len() as u8]);
            bytes.extend(text.as_bytes());
        }
        NodeInfo::decode(bytes.into()).map_err(|error| error.to_string())
    };
    let id = "ab".repeat(20);
    assert!(with(&id, "chain").is_ok());
    for (id, network, words) in [
        (&*id.to_uppercase(), "chain", "default_node_id: is not in lower case"),
        (&id[1..], "chain", "default_node_id"),
        ("", "chain", "default_node_id"),
        (&id, "", "network"),
        (&id, &"c".repeat(51), "network"),
    ] {
        let error = with(id, network).expect_err("no name");
        assert!(error.contains(words), "{error}");
    }
}
