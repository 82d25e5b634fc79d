//! The command line as a caller sees it: what it does to a home, what it answers, how it fails.

mod remedies;

use super::args::{Arguments, Command};
use super::output::{Output, Reader};
use super::start::prepare;
use super::{CliError, Exit, run};
use crate::config::{Home, NodeKey, Overrides};
use crate::disk::OsDisk;
use crate::privval::FileSigner;
use crate::types::{Height, SignPosition};
use clap::Parser as _;
use std::cell::RefCell;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::rc::Rc;
use std::{fs, io};

pub(super) fn arguments(home: &Path, words: &[&str]) -> Arguments {
    let home = home.to_str().unwrap();
    let all = ["quorate", "--home", home].into_iter().chain(words.iter().copied());
    Arguments::try_parse_from(all).unwrap_or_else(|why| panic!("{words:?}: {why}"))
}

/// What a command printed.
#[derive(Clone, Default)]
pub(super) struct Printed(pub(super) Rc<RefCell<Vec<u8>>>);

impl io::Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs a command on a home and gives what it prints.
pub(super) fn quorate(home: &Path, words: &[&str]) -> Result<String, CliError> {
    let printed = Printed::default();
    let arguments = arguments(home, words);
    let reader = if arguments.common.json { Reader::Program } else { Reader::Person };
    run(arguments, &Output::new(reader, Box::new(printed.clone())))?;
    Ok(String::from_utf8(printed.0.take()).unwrap())
}

/// A home after `init`.
fn initialised() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let printed = quorate(folder.path(), &["init", "--chain-id", "story"]).unwrap();
    assert!(printed.contains("made   config/genesis.json") && printed.contains("next   quorate start"), "{printed}");
    folder
}

fn start(home: &Path, flags: &[&str]) -> Result<super::start::StartPlan, CliError> {
    let words: Vec<_> = ["start"].iter().chain(flags).copied().collect();
    let Arguments { common, command: Some(Command::Start(flags)), .. } = arguments(home, &words) else {
        panic!("start is start");
    };
    let mut overrides = Overrides::default();
    flags.add_to(&mut overrides);
    prepare(&common.home()?, &overrides)
}

const FILES: [&str; 5] = [
    "config/config.toml",
    "config/node_key.json",
    "config/priv_validator_key.json",
    "data/priv_validator_state.json",
    "config/genesis.json",
];

#[test]
fn init_makes_a_home_that_can_start_and_a_second_init_changes_nothing() {
    let home = initialised();
    let contents = || FILES.map(|file| fs::read(home.path().join(file)).unwrap());
    let before = contents();
    let printed = quorate(home.path(), &["init", "--chain-id", "other"]).unwrap();
    assert!(printed.contains("found  config/genesis.json") && !printed.contains("made"), "{printed}");
    assert_eq!(contents(), before);

    let plan = start(home.path(), &["--proxy_app=kvstore"]).unwrap();
    assert_eq!(plan.warnings, []);
    assert_eq!(plan.genesis.doc.chain_id.as_str(), "story");
    assert_eq!(plan.genesis.json, before[4]);
    assert_eq!(plan.genesis.doc.validators[0].public_key, plan.validator);
    assert_eq!(plan.config.application.to_string(), "kvstore (built in)");
}

#[test]
fn init_makes_what_is_missing_and_keeps_the_rest() {
    let home = initialised();
    let key = fs::read(home.path().join("config/priv_validator_key.json")).unwrap();
    fs::remove_file(home.path().join("config/genesis.json")).unwrap();
    fs::remove_file(home.path().join("config/node_key.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&quorate(home.path(), &["init", "--json"]).unwrap()).unwrap();
    let made: Vec<_> = json["files"].as_array().unwrap().iter().map(|file| file["made"].as_bool().unwrap()).collect();
    assert_eq!(made, [false, true, false, true]);
    assert_eq!(fs::read(home.path().join("config/priv_validator_key.json")).unwrap(), key);
    let plan = start(home.path(), &[]).unwrap();
    let chain = plan.genesis.doc.chain_id.as_str().to_owned();
    assert!(chain.starts_with("test-chain-") && chain.len() == "test-chain-".len() + 6, "{chain}");
}

#[test]
fn a_home_in_use_cannot_be_started_or_reset() {
    let home = initialised();
    let plan = start(home.path(), &[]).unwrap();
    for words in [&["unsafe-reset-all"][..], &["unsafe-reset-priv-validator"]] {
        let error = quorate(home.path(), words).unwrap_err();
        assert_eq!(error.exit, Exit::Failed, "{error}");
        assert!(error.text.contains("in use by another"), "{error}");
    }
    assert!(start(home.path(), &[]).unwrap_err().text.contains("in use by another"));
    // Showing keys needs no right to the home.
    for words in [&["show-node-id"][..], &["show-validator"], &["show_validator", "--json"]] {
        quorate(home.path(), words).unwrap();
    }
    drop(plan);
    start(home.path(), &[]).unwrap();
}

#[test]
fn a_reset_removes_the_data_and_keeps_keys_configuration_and_genesis() {
    let home = initialised();
    let kept = ["config/config.toml", "config/priv_validator_key.json", "config/genesis.json", "config/node_key.json"];
    let contents = || kept.map(|file| fs::read(home.path().join(file)).unwrap());
    let before = contents();
    let path = |file: &str| home.path().join(file);
    fs::create_dir_all(path("data/blockstore.db")).unwrap();
    fs::write(path("data/blockstore.db/000001.log"), "x").unwrap();
    fs::write(path("config/addrbook.json"), "{}").unwrap();
    quorate(home.path(), &["unsafe-reset-all", "--keep-addr-book"]).unwrap();
    assert!(path("config/addrbook.json").exists() && !path("data/blockstore.db").exists());
    let told = quorate(home.path(), &["--json", "unsafe_reset_all"]).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&told).unwrap()["validator"], "reset");
    assert!(!path("config/addrbook.json").exists());
    assert!(path("data/priv_validator_state.json").exists());
    assert_eq!(contents(), before);
    start(home.path(), &[]).unwrap();
}

#[test]
fn reset_state_removes_blocks_and_keeps_what_was_signed() {
    let home = initialised();
    let path = |file: &str| home.path().join(file);
    let signed = r#"{"height":"7","round":1,"step":2}"#;
    fs::write(path("data/priv_validator_state.json"), signed).unwrap();
    fs::create_dir_all(path("data/cs.wal")).unwrap();
    fs::write(path("data/cs.wal/wal"), "x").unwrap();
    fs::write(path("config/addrbook.json"), "{}").unwrap();
    let printed = quorate(home.path(), &["reset-state"]).unwrap();
    assert!(printed.contains("cs.wal") && printed.contains("kept    "), "{printed}");
    assert!(!path("data/cs.wal").exists() && path("config/addrbook.json").exists());
    assert_eq!(fs::read_to_string(path("data/priv_validator_state.json")).unwrap(), signed);
    quorate(home.path(), &["reset_state", "--json"]).unwrap();
}

#[test]
fn init_refuses_a_home_whose_genesis_is_under_another_protocol_and_changes_nothing() {
    let home = initialised();
    let genesis = home.path().join("config/genesis.json");
    let before = fs::read(&genesis).unwrap();
    let error = quorate(home.path(), &["init", "--algorithm", "raft"]).unwrap_err();
    assert!(error.text.contains("under tendermint, and raft is asked for: nothing was changed"), "{error}");
    assert_eq!(fs::read(&genesis).unwrap(), before);
    quorate(home.path(), &["init", "--algorithm", "tendermint"]).unwrap();
}

/// Without its journal such a key would be refused at the next start, and for good.
#[test]
fn reset_state_removes_nothing_where_a_key_of_raft_or_pbft_would_be_lost_by_it() {
    for algorithm in ["raft", "pbft"] {
        let folder = tempfile::tempdir().unwrap();
        quorate(folder.path(), &["init", "--chain-id", "story", "--algorithm", algorithm]).unwrap();
        let journal = folder.path().join("data/cs.wal/wal");
        let write = || {
            fs::create_dir_all(journal.parent().unwrap()).unwrap();
            fs::write(&journal, "x").unwrap();
        };
        write();
        quorate(folder.path(), &["reset-state"]).unwrap();
        assert!(!journal.exists(), "nothing was signed yet");
        write();
        let signed = SignPosition::end_of(Height::new(7));
        FileSigner::advance(&OsDisk, &folder.path().join("data/priv_validator_state.json"), signed).unwrap();
        let error = quorate(folder.path(), &["reset-state"]).unwrap_err();
        let place = |words: &str| error.text.find(words).unwrap_or_else(|| panic!("{words}: {error}"));
        assert!(place("Nothing was removed") < place("new key"), "{error}");
        assert!(place("move config/priv_validator_key.json away") < place("quorate unsafe-reset-all"), "{error}");
        assert!(journal.exists());
    }
}

#[test]
fn a_reset_refuses_a_data_directory_that_holds_the_configuration() {
    let home = initialised();
    for dir in [".", "", "config", "/"].iter().filter(|dir| !dir.is_empty()) {
        fs::write(home.path().join("config/config.toml"), format!("db_dir = {dir:?}\n")).unwrap();
        let error = quorate(home.path(), &["unsafe-reset-all"]).unwrap_err();
        assert!(error.text.contains("refused"), "{dir}: {error}");
        assert!(home.path().join("config/priv_validator_key.json").exists());
    }
}

#[test]
fn keys_are_made_once() {
    let folder = tempfile::tempdir().unwrap();
    quorate(folder.path(), &["gen-node-key"]).unwrap();
    let error = quorate(folder.path(), &["gen_node_key"]).unwrap_err();
    assert_eq!(error.exit, Exit::Failed);
    assert!(error.text.contains("exists already") && error.text.contains("quorate show-node-id"), "{error}");
    let id = NodeKey::load(&folder.path().join("config/node_key.json")).unwrap().id().to_string();
    assert_eq!(quorate(folder.path(), &["show-node-id"]).unwrap(), format!("{id}\n"));
    let json: serde_json::Value =
        serde_json::from_str(&quorate(folder.path(), &["show-node-id", "--json"]).unwrap()).unwrap();
    assert_eq!(json["node_id"], id);
}

#[test]
fn a_generated_validator_is_printed_as_cometbft_prints_it_and_can_be_put_into_a_home() {
    let home = initialised();
    let text = quorate(home.path(), &["gen-validator"]).unwrap();
    assert!(text.starts_with(r#"{"Key":{"address":""#), "{text}");
    assert!(text.ends_with("\"LastSignState\":{\"height\":\"0\",\"round\":0,\"step\":0}}\n"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    fs::write(home.path().join("config/priv_validator_key.json"), json["Key"].to_string()).unwrap();
    let shown = quorate(home.path(), &["show-validator"]).unwrap();
    assert_eq!(shown.trim_end(), json["Key"]["pub_key"].to_string());
    assert_eq!(shown.find("{\"type\":\"tendermint/PubKeyEd25519\",\"value\":\""), Some(0), "{shown}");
}

#[test]
fn the_version_names_the_protocols() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(quorate(folder.path(), &["version"]).unwrap(), concat!(env!("CARGO_PKG_VERSION"), "\n"));
    for words in [&["version", "-v"][..], &["version", "--verbose"], &["version", "--json"]] {
        let json: serde_json::Value = serde_json::from_str(&quorate(folder.path(), words).unwrap()).unwrap();
        assert_eq!((&json["block_protocol"], &json["p2p_protocol"]), (&11.into(), &8.into()));
        assert_eq!(json["cometbft"], "0.38.25");
    }
}

#[test]
fn without_a_node_status_says_so_why_it_thinks_so_and_what_to_do() {
    let home = initialised();
    for command in ["status", "why"] {
        // Port 1 is reserved and closed.
        let error = quorate(home.path(), &[command, "--node", "tcp://127.0.0.1:1"]).unwrap_err();
        assert_eq!(error.exit, Exit::Failed);
        for part in ["no node runs on", "why: nothing answers at tcp://127.0.0.1:1", "next: quorate start --home"] {
            assert!(error.text.contains(part), "{part} in {error}");
        }
    }
    let error = quorate(home.path(), &["status", "--node", "nowhere"]).unwrap_err();
    assert_eq!(error.exit, Exit::Usage, "{error}");
}

/// Words on the command line that are refused before anything is done. 14 cases.
const WRONG_USAGE: &[&[&str]] = &[
    &["simulate", "--algorithm", "raft", "--minutes", "nan"],
    &["simulate", "--algorithm", "raft", "--minutes", "inf"],
    &["simulate", "--algorithm", "raft", "--minutes=-1"],
    &["simulate", "--algorithm", "raft", "--seeds", "0"],
    &["simulate", "--algorithm", "raft", "--shrink"],
    &["simulate", "--algorithm", "raft", "--txs", "file"],
    &["simulate", "--algorithm", "raft", "--seed", "1", "--only", "1"],
    &[],
    &["begin"],
    &["start", "--no-such-flag"],
    &["start", "extra"],
    &["start", "--proxy_app"],
    &["start", "--proxy_app=a:1", "--proxy_app=b:1"],
    &["start", "--rpc.unsafe=1", "--rpc.unsafe=1"],
    &["init", "--chain-id"],
    &["status", "extra"],
    &["version", "--verbose=yes"],
    &["--home"],
    &["show-node-id", "--home"],
    &["unsafe-reset-all", "--keep-addr-book=maybe"],
    &["unsafe_reset"],
];

#[test]
fn wrong_words_are_refused_with_code_2() {
    for words in WRONG_USAGE {
        let refusal = Arguments::try_parse_from(["quorate"].iter().chain(*words)).expect_err(&words.join(" "));
        assert!(refusal.use_stderr() && !refusal.to_string().is_empty(), "{words:?}");
    }
    let not_utf8 = std::ffi::OsString::from_vec(vec![b'-', b'-', 0xff]);
    assert!(Arguments::try_parse_from([std::ffi::OsString::from("quorate"), "start".into(), not_utf8]).is_err());
}

/// What `simulate` would have to ignore, or cannot begin with, is refused, with what would be taken. 5 cases.
#[test]
fn a_simulation_that_cannot_be_meant_is_refused_with_code_2() {
    let app = ["--app-command", "app {socket}", "--seed", "1"];
    let cases: [(&[&str], &str); 5] = [
        (&[], "next: quorate simulate --algorithm raft"),
        (&["--algorithm", "paxos"], "there are tendermint, pbft and raft"),
        (&[&app[..], &["--nodes", "17"]].concat(), "there are 1 to 16 instances"),
        (&[&app[..], &["--only", "99"]].concat(), "has no fault 99"),
        (&[&app[..], &["--genesis", "/nowhere/genesis.json"]].concat(), "next: name a genesis file"),
    ];
    for (flags, why) in cases {
        let error = quorate(Path::new("/nowhere"), &[&["simulate"], flags].concat()).unwrap_err();
        assert!(error.exit == Exit::Usage && error.to_string().contains(why), "{flags:?}: {error}");
    }
}

/// One finds a broken rule by exit code 1; where nothing was simulated to its end, the code is another.
#[test]
fn a_simulation_that_finds_nothing_out_is_no_broken_rule() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("no-such-folder/trace");
    let flags = ["simulate", "--algorithm", "raft", "--seed", "42", "--trace-file", trace.to_str().unwrap()];
    let error = quorate(folder.path(), &flags).unwrap_err();
    assert!(error.exit == Exit::Usage && error.text.contains("cannot write the trace"), "{error}");
    let error = quorate(folder.path(), &["simulate", "--app-command", "exit 3; {socket}"]).unwrap_err();
    assert!(error.exit == Exit::Usage && error.text.contains("ended before it listened"), "{error}");
}

/// A disk that is full.
struct Full;

impl io::Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_answer_that_a_full_disk_did_not_take_is_a_failure_and_one_nobody_reads_is_not() {
    let out = Output::new(Reader::Person, Box::new(Full));
    run(arguments(Path::new("/nowhere"), &["version"]), &out).unwrap();
    let error = out.arrived().unwrap_err();
    assert!(error.exit == Exit::Failed && error.text.contains("standard output"), "{error}");
    let (gone, reader) = std::os::unix::net::UnixStream::pair().unwrap();
    drop(reader);
    let out = Output::new(Reader::Person, Box::new(gone));
    run(arguments(Path::new("/nowhere"), &["version"]), &out).unwrap();
    out.arrived().unwrap();
}

#[test]
fn a_program_gets_one_json_value_in_any_case() {
    let printed = Printed::default();
    let out = Output::new(Reader::Program, Box::new(printed.clone()));
    let error = run(arguments(Path::new("/nowhere"), &["simulate", "--algorithm", "paxos"]), &out).unwrap_err();
    out.nothing_but(&error);
    out.nothing_but(&error);
    let told: serde_json::Value = serde_json::from_slice(&printed.0.take()).unwrap();
    assert!(told["exit_code"] == 2 && told["error"].as_str().unwrap().contains("paxos"), "{told}");
}

/// Flags of `start` with values out of range, and what the message must contain. 16 cases.
const BAD_FLAGS: &[(&str, &str)] = &[
    ("--proxy_app=nothing", "kvstore, persistent_kvstore, noop"),
    ("--proxy-app=", "tcp://HOST:PORT"),
    ("--abci=grpc", "\"socket\""),
    ("--rpc.laddr=x", "tcp://HOST:PORT"),
    ("--rpc.unsafe=maybe", "true or false"),
    ("--p2p.pex=2", "true or false"),
    ("--p2p.laddr=tcp://", "tcp://HOST:PORT"),
    ("--p2p.persistent_peers=me", "ID@HOST:PORT"),
    ("--p2p.seeds=@", "ID@HOST:PORT"),
    ("--p2p.private_peer_ids=xyz", "40 hexadecimal digits"),
    ("--db_backend=oracle", "\"rocksdb\", \"redb\""),
    ("--genesis_hash=12", "64 hexadecimal digits"),
    ("--priv_validator_laddr=tcp://0.0.0.0:1", "remote signers"),
    ("--consensus.create_empty_blocks_interval=10", "in quotes"),
    ("--consensus.double_sign_check_height=-1", "whole number"),
    ("--instrumentation.prometheus_listen_addr=a:b", ":PORT"),
];

#[test]
fn flags_out_of_range_are_refused_with_code_2_and_the_range() {
    let home = initialised();
    for (flag, part) in BAD_FLAGS {
        let error = start(home.path(), &[flag]).expect_err(flag);
        assert_eq!(error.exit, Exit::Usage, "{flag}: {error}");
        assert!(error.text.contains(part) && error.text.lines().count() <= 3, "{flag}: {error}");
    }
    for good in ["--rpc.unsafe", "--p2p.pex=false", "--p2p.external-address=1.2.3.4:5", "--p2p.external_address=a:5"] {
        start(home.path(), &[good]).unwrap_or_else(|why| panic!("{good}: {why}"));
    }
}

#[test]
fn the_flags_of_the_network_take_effect() {
    let home = initialised();
    let id = "f4e88b6d0f011ecc8836dcbfd1cbadc400a20aa1";
    let peer = format!("{id}@10.0.0.1:26656");
    let flags = [
        "--p2p.laddr=tcp://127.0.0.1:1".to_owned(),
        "--p2p.external-address=example.com:26656".to_owned(),
        format!("--p2p.seeds={peer}"),
        format!("--p2p.persistent_peers={peer},{peer}"),
        format!("--p2p.unconditional_peer_ids={id}"),
        format!("--p2p.private_peer_ids={id}"),
        format!("--p2p.peers_only={id}"),
        "--p2p.pex=false".to_owned(),
        "--p2p.seed_mode".to_owned(),
    ];
    let given: Vec<&str> = flags.iter().map(String::as_str).collect();
    let p2p = start(home.path(), &given).unwrap().config.p2p;
    assert_eq!(p2p.listen[0].to_string(), "tcp://127.0.0.1:1");
    assert_eq!(p2p.external_address.as_deref(), Some("example.com:26656"));
    assert_eq!((p2p.seeds.len(), p2p.persistent_peers.len()), (1, 2));
    assert_eq!((p2p.seeds[0].id.to_string(), p2p.seeds[0].address.as_str()), (id.to_owned(), "10.0.0.1:26656"));
    let ids = [&p2p.unconditional_peer_ids, &p2p.private_peer_ids, &p2p.peers_only];
    assert!(ids.iter().all(|ids| ids.len() == 1 && ids[0].to_string() == id));
    assert!(!p2p.pex && p2p.seed_mode);
    let p2p = start(home.path(), &[]).unwrap().config.p2p;
    assert!(p2p.pex && !p2p.seed_mode && p2p.persistent_peers.is_empty());
}

/// A file of the home, bad content, and what the message must contain. 24 cases.
const BAD_FILES: &[(&str, &str, &str)] = &[
    ("config/config.toml", "[", "is not TOML"),
    ("config/config.toml", "[mempool]\nsize = -1", "config.toml:2"),
    ("config/config.toml", "genesis_file = \"\"", "a path"),
    ("config/node_key.json", "", "not a node key"),
    ("config/node_key.json", "{\"priv_key\":null}", "not a node key"),
    ("config/priv_validator_key.json", "", "priv_validator_key.json"),
    ("config/priv_validator_key.json", "{}", "priv_validator_key.json"),
    ("data/priv_validator_state.json", "", "priv_validator_state.json"),
    ("data/priv_validator_state.json", "{\"height\":\"-1\",\"round\":0,\"step\":0}", "priv_validator_state.json"),
    ("config/genesis.json", "", "not a genesis document"),
    ("config/genesis.json", "[]", "not a genesis document"),
    ("config/genesis.json", "{", "not a genesis document"),
    ("config/genesis.json", "{}", "chain_id"),
    ("config/genesis.json", "{\"chain_id\":5}", "chain_id"),
    ("config/genesis.json", "{\"chain_id\":\"\",\"genesis_time\":\"2026-01-01T00:00:00Z\"}", "chain_id"),
    ("config/genesis.json", "{\"chain_id\":\"c\"}", "genesis_time"),
    ("config/genesis.json", "{\"chain_id\":\"c\",\"genesis_time\":\"yesterday\"}", "genesis_time"),
    (
        "config/genesis.json",
        "{\"chain_id\":\"c\",\"genesis_time\":\"2026-01-01T00:00:00Z\",\"initial_height\":\"-1\"}",
        "initial_height",
    ),
    (
        "config/genesis.json",
        "{\"chain_id\":\"c\",\"genesis_time\":\"2026-01-01T00:00:00Z\",\"app_hash\":\"xyz\"}",
        "app_hash",
    ),
    (
        "config/genesis.json",
        "{\"chain_id\":\"c\",\"genesis_time\":\"2026-01-01T00:00:00Z\",\"validators\":5}",
        "validators",
    ),
    (
        "config/genesis.json",
        "{\"chain_id\":\"c\",\"genesis_time\":\"2026-01-01T00:00:00Z\",\"validators\":[{}]}",
        "validators",
    ),
    (
        "config/genesis.json",
        "{\"chain_id\":\"c\",\"genesis_time\":\"2026-01-01T00:00:00Z\",\"consensus_params\":{\"block\":{\"max_bytes\":\"0\",\"max_gas\":\"-1\"}}}",
        "max_bytes",
    ),
    (
        "config/genesis.json",
        "{\"chain_id\":\"c\",\"genesis_time\":\"2026-01-01T00:00:00Z\",\"consensus_params\":{\"block\":{\"max_bytes\":\"-2\",\"max_gas\":\"-1\"}}}",
        "max_bytes",
    ),
    (
        "config/genesis.json",
        "{\"genesis_time\":\"2026-01-01T00:00:00Z\",\"chain_id\":\"this chain has a name that is much longer than fifty bytes\"}",
        "chain_id",
    ),
];

#[test]
fn bad_files_are_refused_with_code_78_and_left_as_they_are() {
    for (file, content, part) in BAD_FILES {
        let home = initialised();
        let path = home.path().join(file);
        fs::write(&path, content).unwrap();
        let error = start(home.path(), &[]).expect_err(content);
        assert_eq!(error.exit, Exit::Config, "{file} {content}: {error}");
        assert!(error.text.contains(part) && error.text.lines().count() <= 3, "{file} {content}: {error}");
        assert!(error.text.contains(path.file_name().unwrap().to_str().unwrap()), "{file} {content}: {error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), *content);
    }
}

#[test]
fn a_home_without_genesis_or_sign_state_does_not_start() {
    let empty = tempfile::tempdir().unwrap();
    let error = start(empty.path(), &[]).unwrap_err();
    assert_eq!(error.exit, Exit::Config);
    assert!(error.text.contains("genesis.json") && error.text.contains("quorate init"), "{error}");
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0, "nothing was made");

    let home = initialised();
    fs::remove_file(home.path().join("data/priv_validator_state.json")).unwrap();
    let error = start(home.path(), &[]).unwrap_err();
    assert!(error.text.contains("priv_validator_state.json"), "{error}");
}

#[test]
fn an_unwritable_home_is_refused() {
    // /proc refuses even the superuser.
    let error = quorate(Path::new("/proc/quorate-home"), &["init"]).unwrap_err();
    assert_eq!(error.exit, Exit::Config);
    assert!(error.text.contains("cannot create /proc/quorate-home") && error.text.contains("next: "), "{error}");
    assert!(prepare(&Home::new("/proc/quorate-home"), &Overrides::default()).is_err());
}

#[test]
fn a_chain_name_out_of_range_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", &"x".repeat(51)] {
        let error = quorate(folder.path(), &["init", "--chain-id", name]).unwrap_err();
        assert_eq!(error.exit, Exit::Usage, "{error}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_definition_of_the_command_line_is_sound() {
    use clap::CommandFactory as _;
    Arguments::command().debug_assert();
}
