//! Stories about homes: precedence, CometBFT's files, bad input.

use super::*;
use crate::types::Algorithm;
use std::fs;
use std::time::Duration;

/// A home with this config.toml.
fn home_with(text: &str) -> (tempfile::TempDir, Home) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path());
    home.create().unwrap();
    fs::write(home.config_file(), text).unwrap();
    (folder, home)
}

fn load(text: &str) -> Result<(Config, Vec<Warning>), ConfigError> {
    let (_folder, home) = home_with(text);
    Config::load(&home, &Overrides::default())
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
    let (_folder, home) = home_with("[mempool]\nsize = 1\n");
    let mut overrides = Overrides::default();
    let size = |overrides: &Overrides| Config::load(&home, overrides).unwrap().0.mempool.size;
    assert_eq!(size(&overrides), 1, "file over default");
    overrides.environment.push(("QUORATE_MEMPOOL_SIZE".to_owned(), "2".to_owned()));
    assert_eq!(size(&overrides), 2, "environment over file");
    overrides.flags.push(("mempool.size", "mempool.size", "3".to_owned()));
    assert_eq!(size(&overrides), 3, "flag over environment");
    fs::remove_file(home.config_file()).unwrap();
    let (config, warnings) = Config::load(&home, &Overrides::default()).unwrap();
    assert_eq!(config.mempool.size, 100_000, "default");
    assert!(warnings[0].0.contains("config.toml is missing"), "{warnings:?}");
}

#[test]
fn the_home_is_the_flag_then_the_environment_then_the_users() {
    let variable = |name: &str| match name {
        "QUORATE_HOME" => Some("/env".to_owned()),
        "HOME" => Some("/user".to_owned()),
        _ => None,
    };
    let only_user = |name: &str| variable(name).filter(|_| name == "HOME");
    let flag = std::path::Path::new("/flag");
    assert_eq!(Home::find(Some(flag), variable).unwrap().path(), flag);
    assert_eq!(Home::find(None, variable).unwrap().path().to_str(), Some("/env"));
    assert_eq!(Home::find(None, only_user).unwrap().path().to_str(), Some("/user/.quorate"));
    assert!(matches!(Home::find(None, |_| None), Err(ConfigError::NoHome)));
}

#[test]
fn the_tolerance_for_times_of_blocks_is_what_the_file_says_and_a_minute_where_it_says_nothing() {
    let tolerance = |text: &str| load(text).unwrap().0.consensus.block_time_tolerance.as_secs();
    assert_eq!(tolerance(""), 60);
    assert_eq!(tolerance("[consensus]\nblock_time_tolerance = \"5s\""), 5);
}

#[test]
fn the_template_has_few_keys_and_loads_without_a_warning() {
    const { assert!(Template::KEYS <= TEMPLATE_KEYS_MAX) };
    let (config, warnings) = load(&Template::text()).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.consensus.empty_blocks, EmptyBlocks::After(std::time::Duration::from_secs(10)));
    assert!(config.consensus.timeout_commit.is_zero());
    assert!(!config.mempool.recheck);
    assert_eq!(config.metrics.unwrap().listen, "127.0.0.1:26660");
    assert!(!Template::text().contains("moniker = \"\""), "CometBFT refuses an empty moniker");
}

/// A config.toml as CometBFT v0.38 writes it, all keys with their defaults.
const COMETBFT_CONFIG: &str = include_str!("../../tests/vectors/config/cometbft-v0.38.toml");
/// Keys in it.
const COMETBFT_KEYS: usize = 98;

#[test]
fn every_key_of_cometbft_is_accepted_and_means_what_it_means_there() {
    let keys = COMETBFT_CONFIG.lines().filter(|line| !line.starts_with('#') && line.contains('=')).count();
    assert_eq!(keys, COMETBFT_KEYS);
    let (config, warnings) = load(COMETBFT_CONFIG).unwrap();
    assert_eq!(warnings.len(), 1, "only the database is another: {warnings:?}");
    assert!(warnings[0].0.contains("goleveldb"), "{warnings:?}");
    assert_eq!(config.consensus.empty_blocks, EmptyBlocks::Always);
    assert_eq!(config.consensus.timeout_commit, std::time::Duration::from_secs(1));
    assert!(config.mempool.recheck);
    assert_eq!(config.mempool.size, 5000);
    assert_eq!(config.rpc.max_request_batch_size, Some(10));
    assert_eq!(config.metrics, None);
}

#[test]
fn the_two_keys_of_empty_blocks_combine_as_in_cometbft() {
    let empty_blocks = |text: &str| load(&format!("[consensus]\n{text}")).unwrap().0.consensus.empty_blocks;
    let five = EmptyBlocks::After(std::time::Duration::from_secs(5));
    assert_eq!(empty_blocks("create_empty_blocks = true\ncreate_empty_blocks_interval = \"0s\""), EmptyBlocks::Always);
    assert_eq!(empty_blocks("create_empty_blocks = false\ncreate_empty_blocks_interval = \"0s\""), EmptyBlocks::Never);
    assert_eq!(empty_blocks("create_empty_blocks = true\ncreate_empty_blocks_interval = \"5s\""), five);
    assert_eq!(empty_blocks("create_empty_blocks = false\ncreate_empty_blocks_interval = \"5s\""), five);
    assert_eq!(empty_blocks("create_empty_blocks = false"), EmptyBlocks::Never);
    assert_eq!(empty_blocks("create_empty_blocks = true"), EmptyBlocks::Always);
}

/// Text and what the only warning must contain. 7 cases.
const WARNED: &[(&str, &[&str])] = &[
    ("[mempool]\nsise = 5", &["config.toml:2", "mempool.sise", "did you mean mempool.size?"]),
    ("timeout_commit = \"1s\"", &["config.toml:1", "did you mean consensus.timeout_commit?"]),
    ("\n\n[weather]\nsun = true", &["config.toml:4", "weather.sun", "ignored"]),
    ("[p2p]\nupnp = true", &["config.toml:2", "p2p.upnp", "ignored"]),
    ("event_bus_buffer_capacity = 10", &["config.toml:1", "CometBFT 0.40", "no effect"]),
    ("[p2p.libp2p]\nenabled = true\n[p2p.libp2p.scaler]\nmin_workers = 4", &["CometBFT 0.39"]),
    ("db_backend = \"pebbledb\"", &["config.toml:1", "pebbledb", "is used"]),
];

#[test]
fn what_is_unknown_or_without_effect_is_said_with_its_line() {
    for (text, parts) in WARNED {
        let (_, warnings) = load(text).unwrap();
        let all: String = warnings.iter().map(|warning| format!("{warning}\n")).collect();
        assert_eq!(warnings.len(), 1, "{text}: {all}");
        assert!(parts.iter().all(|part| all.contains(part)), "{text}: {all}");
    }
    let overrides = Overrides {
        flags: Vec::new(),
        environment: vec![("QUORATE_MEMPOOL_SIZ".to_owned(), "2".to_owned()), ("PATH".to_owned(), "x".to_owned())],
    };
    let (_folder, home) = home_with("");
    let (_, warnings) = Config::load(&home, &overrides).unwrap();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].0.contains("did you mean QUORATE_MEMPOOL_SIZE?"), "{warnings:?}");
}

/// Text of config.toml and what the message must contain. 53 cases.
const REFUSED: &[(&str, &[&str])] = &[
    ("[mempool]\nsize = -1", &["config.toml:2", "mempool.size", "\"-1\"", "from 0 to 10000000"]),
    ("[mempool]\nsize = 10000001", &["config.toml:2", "10000001", "from 0 to 10000000"]),
    ("[mempool]\nsize = 1.5", &["config.toml:2", "1.5", "whole number"]),
    ("[mempool]\nsize = true", &["config.toml:2", "true", "whole number"]),
    ("[mempool]\nsize = \"many\"", &["config.toml:2", "many", "whole number"]),
    ("[mempool]\nsize = [1]", &["config.toml:2", "[1]", "whole number"]),
    ("[mempool]\nsize = 99999999999999999999", &["config.toml:2", "whole number"]),
    ("[mempool.size]\nx = 1", &["config.toml:1", "mempool.size", "whole number"]),
    ("[mempool]\nmax_tx_bytes = 2000000000", &["config.toml:2", "from 0 to 104857600"]),
    ("[mempool]\nmax_tx_bytes = 1000\nmax_txs_bytes = 10", &["config.toml:2", "at most mempool.max_txs_bytes"]),
    ("[mempool]\ntype = \"app\"", &["config.toml:2", "\"flood\", \"nop\""]),
    ("[mempool]\ntype = \"nop\"\n[consensus]\ncreate_empty_blocks = false", &["config.toml:4", "mempool.type"]),
    ("[mempool]\nrecheck = 1", &["config.toml:2", "true or false"]),
    ("[mempool]\nrecheck = \"yes\"", &["config.toml:2", "true or false"]),
    ("[mempool]\nkeep-invalid-txs-in-cache = \"\"", &["config.toml:2", "true or false"]),
    ("[consensus]\ntimeout_commit = 5", &["config.toml:2", "\"5\"", "\"500ms\""]),
    ("[consensus]\ntimeout_commit = \"5\"", &["config.toml:2", "in quotes"]),
    ("[consensus]\ntimeout_commit = \"-5s\"", &["config.toml:2", "\"-5s\"", "0s to 24h0m0s"]),
    ("[consensus]\ntimeout_commit = \"soon\"", &["config.toml:2", "soon"]),
    ("[consensus]\ntimeout_propose = \"25h\"", &["config.toml:2", "0s to 24h0m0s"]),
    ("[consensus]\ntimeout_propose = \"\"", &["config.toml:2", "duration"]),
    ("[consensus]\ntimeout_propose = {}", &["config.toml:2", "duration"]),
    ("[consensus]\nblock_time_tolerance = \"0s\"", &["config.toml:2", "1ms to"]),
    ("[consensus]\nwal_file = \"\"", &["config.toml:2", "a path"]),
    ("[consensus]\ndouble_sign_check_height = -5", &["config.toml:2", "whole number"]),
    ("[rpc]\nladdr = \"http://1.2.3.4\"", &["config.toml:2", "rpc.laddr", "tcp://HOST:PORT"]),
    ("[rpc]\nladdr = \"tcp://127.0.0.1:99999\"", &["config.toml:2", "99999", "tcp://HOST:PORT"]),
    ("[rpc]\nladdr = \"tcp://127.0.0.1\"", &["config.toml:2", "tcp://HOST:PORT"]),
    ("[rpc]\nladdr = 26657", &["config.toml:2", "26657", "tcp://HOST:PORT"]),
    ("[rpc]\ncors_allowed_origins = [1, 2]", &["config.toml:2", "list of texts"]),
    ("[rpc]\nexperimental_subscription_buffer_size = 99", &["config.toml:2", "from 100"]),
    ("[rpc]\nexperimental_websocket_write_buffer_size = 999", &["config.toml:2", "at least 1000"]),
    ("[rpc]\nmax_body_bytes = 0", &["config.toml:2", "from 1"]),
    ("[rpc]\ntls_cert_file = \"cert.pem\"", &["config.toml:2", "TLS proxy"]),
    ("[rpc]\ngrpc_laddr = \"tcp://0.0.0.0:1\"", &["config.toml:2", "no gRPC server"]),
    ("[p2p]\nladdr = \"nowhere\"", &["config.toml:2", "tcp://HOST:PORT"]),
    ("[p2p]\npersistent_peers = \"1.2.3.4:26656\"", &["config.toml:2", "ID@HOST:PORT"]),
    ("[p2p]\npersistent_peers = \"abc@1.2.3.4:26656\"", &["config.toml:2", "40 hexadecimal digits"]),
    ("[p2p]\nseeds = \"0000000000000000000000000000000000000000@\"", &["config.toml:2", "ID@HOST:PORT"]),
    ("[p2p]\nprivate_peer_ids = \"0123\"", &["config.toml:2", "40 hexadecimal digits"]),
    ("[p2p]\npeers_only = \"0123\"", &["config.toml:2", "40 hexadecimal digits"]),
    ("[p2p]\nmax_packet_msg_payload_size = 0", &["config.toml:2", "from 1 to 1048576"]),
    ("[blocksync]\nversion = \"v1\"", &["config.toml:2", "\"v0\""]),
    ("[tx_index]\nindexer = \"psql\"", &["config.toml:2", "\"kv\", \"null\""]),
    ("[statesync]\ntrust_hash = \"abc\"", &["config.toml:2", "64 hexadecimal digits"]),
    ("[instrumentation]\nprometheus_listen_addr = \"26660\"", &["config.toml:2", ":PORT"]),
    ("[instrumentation]\nnamespace = \"my chain\"", &["config.toml:2", "letters, digits and _"]),
    ("abci = \"grpc\"", &["config.toml:1", "\"socket\""]),
    ("proxy_app = \"my_app\"", &["config.toml:1", "kvstore, persistent_kvstore, noop"]),
    ("priv_validator_laddr = \"tcp://0.0.0.0:1\"", &["config.toml:1", "remote signers"]),
    ("log_level = \"loud\"", &["config.toml:1", "MODULE:LEVEL"]),
    ("db_backend = \"oracle\"", &["config.toml:1", "\"rocksdb\", \"redb\""]),
    ("moniker = \"a\\nb\"", &["config.toml:1", "printable"]),
];
#[test]
fn every_bad_value_is_refused_in_three_lines_that_name_file_line_key_value_range_and_remedy() {
    for (text, parts) in REFUSED {
        let message = load(text).expect_err(text).to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{text}:\n{message}");
        assert!(message.lines().count() <= 3 && message.contains("next: "), "{text}:\n{message}");
    }
}

/// Files that are not a configuration at all, and what the message must contain. 10 cases.
const NOT_TOML: &[(&[u8], &str)] = &[
    (b"size", "config.toml:1: this is not TOML"),
    (b"a = 1\n[mempool\n", "config.toml:2: this is not TOML"),
    (b"a = 1\na = 2\n", "config.toml:2: this is not TOML"),
    (b"a = \"unclosed\n", "config.toml:1: this is not TOML"),
    (b"{\"moniker\": \"json\"}", "config.toml:1: this is not TOML"),
    (b"a = 'x' y\n", "config.toml:1: this is not TOML"),
    (b"\xff\xfe\x00", "not UTF-8"),
    (b"a = \x00", "config.toml:1: this is not TOML"),
    (b"a = 1979-99-99", "config.toml:1: this is not TOML"),
    (b"[[mempool]]\nsize = 1\n[mempool]\nsize = 2\n", "config.toml:3: this is not TOML"),
];

#[test]
fn a_file_that_is_not_toml_is_refused_with_its_line() {
    for (bytes, part) in NOT_TOML {
        let (_folder, home) = home_with("");
        fs::write(home.config_file(), bytes).unwrap();
        let message = Config::load(&home, &Overrides::default()).expect_err(part).to_string();
        assert!(message.contains(part) && message.lines().count() <= 3, "{bytes:?}:\n{message}");
    }
}

#[test]
fn monstrous_files_are_refused_without_a_panic() {
    for text in ["[".repeat(100_000), format!("a = {}", "[".repeat(100_000)), "a.".repeat(100_000), "x".repeat(2 << 20)]
    {
        assert!(load(&text).is_err());
    }
    let (_folder, home) = home_with("");
    fs::remove_file(home.config_file()).unwrap();
    fs::create_dir(home.config_file()).unwrap();
    let message = Config::load(&home, &Overrides::default()).unwrap_err().to_string();
    assert!(message.contains("not a file"), "{message}");
}

#[test]
fn a_bad_variable_or_flag_is_named_as_what_it_is() {
    let (_folder, home) = home_with("");
    let environment = vec![("QUORATE_RPC_LADDR".to_owned(), "x".to_owned())];
    let error = Config::load(&home, &Overrides { flags: Vec::new(), environment }).unwrap_err();
    assert!(error.to_string().starts_with("environment QUORATE_RPC_LADDR: rpc.laddr = \"x\""), "{error}");
    assert!(!error.is_usage());
    let flags = vec![("rpc.laddr", "rpc.laddr", "x".to_owned())];
    let error = Config::load(&home, &Overrides { flags, environment: Vec::new() }).unwrap_err();
    assert!(error.to_string().starts_with("flag --rpc.laddr: rpc.laddr = \"x\""), "{error}");
    assert!(error.is_usage());
}

/// Node key files and what the message must contain. 9 cases.
const BAD_NODE_KEYS: &[(&str, &str)] = &[
    ("", "EOF"),
    ("[]", "not a node key"),
    ("{}", "missing field `priv_key`"),
    ("{\"priv_key\":5}", "not a node key"),
    ("{\"priv_key\":{\"type\":\"tendermint/PrivKeyEd25519\"}}", "missing field `value`"),
    ("{\"priv_key\":{\"type\":\"tendermint/PrivKeySecp256k1\",\"value\":\"AAAA\"}}", "key type"),
    ("{\"priv_key\":{\"type\":\"tendermint/PrivKeyEd25519\",\"value\":\"!\"}}", "not base64"),
    ("{\"priv_key\":{\"type\":\"tendermint/PrivKeyEd25519\",\"value\":\"AAAA\"}}", "64 bytes, got 3"),
    (
        "{\"priv_key\":{\"type\":\"tendermint/PrivKeyEd25519\",\"value\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\"}}",
        "second half",
    ),
];

#[test]
fn a_bad_node_key_is_refused_with_its_file_and_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node_key.json");
    for (text, part) in BAD_NODE_KEYS {
        fs::write(&path, text).unwrap();
        let message = NodeKey::load_or_generate(&path).expect_err(text).to_string();
        assert!(message.contains(part) && message.contains("node_key.json"), "{text}:\n{message}");
        assert!(message.lines().count() <= 3 && message.contains("next: "), "{text}:\n{message}");
        assert_eq!(fs::read_to_string(&path).unwrap(), *text, "a bad key is never replaced");
    }
}

#[test]
fn a_home_is_used_by_one_process_at_a_time() {
    let (_folder, home) = home_with("");
    let run = RunFile {
        pid: 4711,
        rpc: "tcp://127.0.0.1:26657".to_owned(),
        metrics: None,
        version: "0".to_owned(),
        started: "now".to_owned(),
    };
    run.write(&home).unwrap();
    assert_eq!(RunFile::read(&home), Some(run));
    let lock = HomeLock::take(&home).unwrap();
    let message = HomeLock::take(&home).unwrap_err().to_string();
    assert!(message.contains("in use by another quorate process (process 4711)"), "{message}");
    drop(lock);
    HomeLock::take(&home).unwrap();
    RunFile::remove(&home);
    assert_eq!(RunFile::read(&home), None);
}

#[test]
fn an_unwritable_home_is_an_error_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let message = Home::new(folder.path().join("file/home")).create().unwrap_err().to_string();
    assert!(message.contains("cannot create") && message.contains("next: "), "{message}");
    // /proc refuses even the superuser.
    assert!(Home::new("/proc/quorate-home").create().is_err());
}

#[test]
fn a_genesis_with_another_hash_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("genesis.json");
    assert!(read_genesis(&path, None).unwrap_err().to_string().contains("quorate init"));
    fs::write(&path, "{}").unwrap();
    let hash = crate::crypto::sha256(b"{}");
    assert_eq!(read_genesis(&path, Some(&hash)).unwrap(), b"{}");
    let message = read_genesis(&path, Some(&crate::crypto::sha256(b"other"))).unwrap_err().to_string();
    assert!(message.contains("genesis_hash says"), "{message}");
}

#[test]
fn the_documentation_lists_every_key_with_its_default() {
    let document = include_str!("../../docs/CONFIG.md");
    for key in KEYS.iter().filter(|key| key.name != "db_backend") {
        let default = if key.default.is_empty() { "empty".to_owned() } else { format!("`{}`", key.default) };
        let row = format!("| `{}` | {default} |", key.name);
        assert!(document.contains(&row), "docs/CONFIG.md lacks {row}");
    }
}

/// Names and values of the environment.
type Variables = &'static [(&'static str, &'static str)];

/// What the environment says, and what the message must contain; none where it is accepted. 12 cases.
const VARIABLES: &[(Variables, Option<&str>)] = &[
    (&[("CONSENSUS_ALGORITHM", "raft"), ("ELECTION_TIMEOUT_MS", "400"), ("HEARTBEAT_INTERVAL_MS", "50")], None),
    (&[("CONSENSUS_ALGORITHM", ""), ("ELECTION_TIMEOUT_MS", "")], None),
    (&[("ELECTION_TIMEOUT_MS", "junk"), ("HOME", "x")], Some("environment ELECTION_TIMEOUT_MS")),
    (&[("ELECTION_TIMEOUT_MS", "9")], Some("a whole number of milliseconds from 10 to 86400000")),
    (&[("ELECTION_TIMEOUT_MS", "1s")], Some("a whole number of milliseconds")),
    (&[("HEARTBEAT_INTERVAL_MS", "0")], Some("from 1 to")),
    (&[("HEARTBEAT_INTERVAL_MS", "-5")], Some("consensus.heartbeat_interval = \"-5\"")),
    (&[("HEARTBEAT_INTERVAL_MS", "600")], Some("at most \"500ms\", half of consensus.election_timeout")),
    (&[("ELECTION_TIMEOUT_MS", "150")], Some("at least \"200ms\", twice consensus.heartbeat_interval")),
    (&[("ELECTION_TIMEOUT_MS", "150"), ("HEARTBEAT_INTERVAL_MS", "100")], Some("at most \"75ms\"")),
    (&[("CONSENSUS_ALGORITHM", "Raft")], Some("one of \"tendermint\", \"pbft\", \"raft\"")),
    (&[("QUORATE_CONSENSUS_VIEW_CHANGE_TIMEOUT", "5ms")], Some("from 10ms")),
];

#[test]
fn variables_of_the_environment_are_checked_by_name_value_and_range() {
    let home = tempfile::tempdir().unwrap();
    for (variables, part) in VARIABLES {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let overrides = Overrides { flags: Vec::new(), environment };
        match (Config::load(&Home::new(home.path()), &overrides), part) {
            (Ok(_), None) => {}
            (Err(error), Some(part)) => assert!(error.to_string().contains(part), "{variables:?}: {error}"),
            (outcome, part) => panic!("{variables:?}: {outcome:?}, not {part:?}"),
        }
    }
}

#[test]
fn flags_go_before_the_environment_and_the_prefix_before_the_plain_name() {
    let home = tempfile::tempdir().unwrap();
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut overrides = Overrides {
        flags: Vec::new(),
        environment: vec![
            variable("QUORATE_CONSENSUS_ALGORITHM", "pbft"),
            variable("CONSENSUS_ALGORITHM", "raft"),
            variable("ELECTION_TIMEOUT_MS", "700"),
        ],
    };
    let load = |overrides: &Overrides| Config::load(&Home::new(home.path()), overrides).unwrap().0;
    let config = load(&overrides);
    assert_eq!(config.algorithm.unwrap().algorithm, Algorithm::Pbft);
    assert_eq!(config.consensus.election_timeout, Duration::from_millis(700));
    overrides.flags.push(("algorithm", "consensus.algorithm", "tendermint".to_owned()));
    let expected = load(&overrides).algorithm.unwrap();
    assert_eq!((expected.algorithm, expected.origin), (Algorithm::Tendermint, Origin::Flag("algorithm".to_owned())));
    overrides = Overrides::default();
    assert_eq!(load(&overrides).algorithm, None, "the chain says which one is in force");
}

#[test]
fn of_ever_so_many_warnings_twenty_are_given() {
    let text: String = (0..30).map(|number| format!("nonsense_{number} = 1\n")).collect();
    assert_eq!(load(&text).unwrap().1.len(), 20);
}

#[test]
fn a_configuration_has_at_most_a_mebibyte() {
    let comment = |bytes: usize| format!("{}\n", "#".repeat(bytes - 1));
    load(&comment(1 << 20)).unwrap();
    let error = load(&comment((1 << 20) + 1)).unwrap_err().to_string();
    assert!(error.contains("1048577 bytes are too many"), "{error}");
}
