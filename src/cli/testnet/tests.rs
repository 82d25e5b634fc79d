//! Stories about whole networks: what is made, what is refused, what CometBFT's rules say about names and addresses.

use crate::cli::tests::quorate;
use crate::cli::{CliError, Exit};
use crate::config::{Config, Home, NodeKey, Overrides, load_genesis};
use crate::disk::OsDisk;
use crate::privval::FileSigner;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Makes a network below `folder` and gives what the command says to a program.
fn testnet(folder: &Path, words: &[&str]) -> Result<Value, CliError> {
    let o = folder.join("net");
    let all: Vec<&str> = ["testnet", "--json", "--o", o.to_str().unwrap()].iter().chain(words).copied().collect();
    quorate(folder, &all).map(|printed| serde_json::from_str(&printed).unwrap())
}

fn config(folder: &Path, node: &str) -> Config {
    let (config, warnings) = Config::load(&Home::new(folder.join("net").join(node)), &Overrides::default()).unwrap();
    assert_eq!(warnings, [], "{node}");
    config
}

fn texts<'a>(said: &'a Value, field: &str) -> Vec<&'a str> {
    said["nodes"].as_array().unwrap().iter().map(|node| node[field].as_str().unwrap()).collect()
}

#[test]
fn four_validators_and_a_follower_get_one_genesis_and_each_others_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let said = testnet(folder.path(), &["--n", "1"]).unwrap();
    assert_eq!(texts(&said, "name"), ["node0", "node1", "node2", "node3", "node4"]);
    assert_eq!(said["nodes"][3]["validator"], true);
    assert_eq!(said["nodes"][4]["validator"], false);
    let mut documents = BTreeSet::new();
    for (index, name) in texts(&said, "name").into_iter().enumerate() {
        let config = config(folder.path(), name);
        let id = NodeKey::load(&config.files.node_key).unwrap().id();
        assert_eq!(said["nodes"][index]["node_id"], id.to_string());
        assert_eq!(config.moniker, name);
        assert_eq!(config.p2p.persistent_peers.len(), 4, "all but itself");
        assert!(config.p2p.persistent_peers.iter().all(|peer| peer.id != id));
        assert!(!config.p2p.addr_book_strict && config.p2p.allow_duplicate_ip);
        let genesis = load_genesis(&config.files.genesis, None).unwrap();
        let address = FileSigner::public_key_of(&OsDisk, &config.files.priv_validator_key).unwrap();
        let power = genesis.doc.validators.iter().find(|member| member.public_key == address).map(|v| v.power.get());
        assert_eq!(power, (index < 4).then_some(10));
        documents.insert(genesis.json);
        for file in [&config.files.node_key, &config.files.priv_validator_key, &config.files.priv_validator_state] {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
        }
    }
    assert_eq!(documents.len(), 1);
    let peers = config(folder.path(), "node1").p2p.persistent_peers;
    assert_eq!(peers[1].address, "node2:26656");
}

#[test]
fn on_one_machine_every_node_has_ports_of_its_own_and_the_first_has_the_usual_ones() {
    let folder = tempfile::tempdir().unwrap();
    let said = testnet(folder.path(), &["--single-host"]).unwrap();
    assert_eq!(texts(&said, "rpc"), ["127.0.0.1:26657", "127.0.0.1:26667", "127.0.0.1:26677", "127.0.0.1:26687"]);
    let mut ports = BTreeSet::new();
    for name in texts(&said, "name") {
        let config = config(folder.path(), name);
        ports.extend([config.p2p.listen[0].to_string(), config.rpc.listen[0].to_string()]);
        ports.extend([config.application.to_string(), format!("tcp://{}", config.metrics.unwrap().listen)]);
    }
    assert_eq!(ports.len(), 16);
    assert!(ports.iter().all(|address| address.starts_with("tcp://127.0.0.1:26")), "{ports:?}");
}

#[test]
fn a_network_is_never_written_over_another_and_a_failure_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    testnet(folder.path(), &[]).unwrap();
    let key = fs::read(folder.path().join("net/node0/config/node_key.json")).unwrap();
    let error = testnet(folder.path(), &["--v", "5"]).unwrap_err();
    assert!(error.text.contains("node0 exists and is not empty: nothing was made"), "{error}");
    assert_eq!(fs::read(folder.path().join("net/node0/config/node_key.json")).unwrap(), key);
    assert!(!folder.path().join("net/node4").exists());
    // Found only when the first home has been written.
    let other = folder.path().join("other");
    fs::create_dir_all(&other).unwrap();
    fs::write(folder.path().join("shared.toml"), "node_key_file = \"/tmp/shared-key.json\"").unwrap();
    let file = folder.path().join("shared.toml");
    let words = ["testnet", "--o", other.to_str().unwrap(), "--config", file.to_str().unwrap()];
    let error = quorate(folder.path(), &words).unwrap_err();
    assert!(error.text.contains("/tmp/shared-key.json is outside the node's home"), "{error}");
    assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
}

#[test]
fn a_config_to_begin_from_keeps_everything_but_names_and_addresses() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("base.toml");
    let text = include_str!("../../../tests/vectors/config/cometbft-v0.38.toml");
    fs::write(&file, text.replace("timeout_propose = \"3s\"", "timeout_propose = \"7s\" # slow links")).unwrap();
    testnet(folder.path(), &["--v", "2", "--config", file.to_str().unwrap(), "--single-host"]).unwrap();
    let written = fs::read_to_string(folder.path().join("net/node1/config/config.toml")).unwrap();
    assert!(written.contains("timeout_propose = \"7s\" # slow links"));
    let ours: Vec<&str> = written.lines().filter(|line| !text.contains(line)).collect();
    let names: Vec<&str> = ours.iter().filter_map(|line| line.split(" = ").next()).collect();
    let expected = "proxy_app moniker laddr laddr persistent_peers addr_book_strict allow_duplicate_ip timeout_propose \
                    prometheus prometheus_listen_addr";
    assert_eq!(names.join(" "), expected);
    fs::write(&file, "[p2p]\nsend_rate = \"fast\"").unwrap();
    let error = testnet(folder.path(), &["--node-dir-prefix", "x", "--config", file.to_str().unwrap()]).unwrap_err();
    assert!(error.text.contains("base.toml:2: p2p.send_rate"), "{error}");
}

/// Flags, and address and moniker of the last of four nodes (R for random). 6 cases.
const NAMED: &[(&[&str], &str, &str)] = &[
    (&[], "node3:26656", "node3"),
    (&["--hostname-prefix", "v", "--hostname-suffix", ".xyz.com"], "v3.xyz.com:26656", "v3.xyz.com"),
    (&["--starting-ip-address", "192.168.10.252", "--p2p-port", "5"], "192.168.10.255:5", "R"),
    (&["--hostname=a", "--hostname=b", "--hostname=c", "--hostname=d"], "d:26656", "d"),
    (&["--random-monikers"], "node3:26656", "R"),
    (&["--node-dir-prefix", "val", "--populate-persistent-peers=false"], "node3:26656", "node3"),
];

#[test]
fn names_and_addresses_follow_cometbfts_rules() {
    for (words, address, moniker) in NAMED {
        let folder = tempfile::tempdir().unwrap();
        let said = testnet(folder.path(), words).unwrap_or_else(|why| panic!("{words:?}: {why}"));
        assert_eq!(said["nodes"][3]["p2p"], *address, "{words:?}");
        let found = texts(&said, "moniker")[3];
        assert!(found == *moniker || (*moniker == "R" && found.len() == 16), "{words:?}: {found}");
        let first = config(folder.path(), texts(&said, "name")[0]);
        let peers = if words.contains(&"--populate-persistent-peers=false") { 0 } else { 3 };
        assert_eq!(first.p2p.persistent_peers.len(), peers, "{words:?}");
    }
}

#[test]
fn a_network_remembers_its_protocol_and_says_what_it_survives() {
    for (algorithm, count, part) in [
        ("raft", "1", "none: the only validator"),
        ("raft", "2", "none: all 2 validators must run"),
        ("raft", "3", "any 1 of 3 validators may crash; none may lie"),
        ("pbft", "3", "none: all 3 validators must run"),
        ("pbft", "4", "any 1 of 4 validators may crash or lie"),
        ("tendermint", "3", "none: all 3 validators must run"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let said = testnet(folder.path(), &["--algorithm", algorithm, "--v", count]).unwrap();
        assert_eq!(said["algorithm"], algorithm);
        assert!(said["tolerates"].as_str().unwrap().contains(part), "{algorithm} {count}: {}", said["tolerates"]);
        let genesis = load_genesis(&config(folder.path(), "node0").files.genesis, None).unwrap();
        assert_eq!(genesis.doc.algorithm.name(), algorithm);
    }
}

/// Flags that make no network, and what the message must contain. 9 cases.
const REFUSED: &[(&[&str], &str)] = &[
    (&["--v", "0"], "make no node"),
    (&["--v", "499", "--n", "2"], "at most 500"),
    (&["--hostname", "a"], "given 1 times"),
    (&["--starting-ip-address", "10.0.0.254"], "too few for node 2"),
    (&["--single-host", "--p2p-port", "65530"], "too few ports for node 1"),
    (&["--algorithm", "paxos"], "no \"paxos\""),
    (&["--chain-id", ""], "--chain-id"),
    (&["--node-dir-prefix", "../x"], "without /"),
    (&["--hostname-prefix", "a b"], "no name of a host"),
];

#[test]
fn flags_that_make_no_network_are_refused_with_code_2_before_anything_is_made() {
    for (words, part) in REFUSED {
        let folder = tempfile::tempdir().unwrap();
        let error = testnet(folder.path(), words).expect_err(part);
        assert_eq!(error.exit, Exit::Usage, "{words:?}: {error}");
        assert!(error.text.contains(part) && error.text.contains("next: "), "{words:?}: {error}");
        assert!(!folder.path().join("net").exists(), "{words:?}");
    }
}
