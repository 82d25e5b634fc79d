//! The config.toml that `init` writes: the few keys people change, each with a sentence. The rest has defaults.

use super::keys::Key;
use super::resolve::moniker;
use std::fmt::Write as _;

/// Most keys in the template. Whoever needs a rarer one finds it in `docs/CONFIG.md`.
pub const TEMPLATE_KEYS_MAX: usize = 26;

/// Section, name, value (none for the built-in default), what to know about it.
type Line = (&'static str, &'static str, Option<&'static str>, &'static str);

const LINES: &[Line] = &[
    (
        "",
        "proxy_app",
        None,
        "The application: tcp://HOST:PORT, unix://PATH, or built in: kvstore, persistent_kvstore, noop.",
    ),
    ("", "moniker", None, "A name for people: at first the machine's."),
    (
        "",
        "db_backend",
        None,
        "rocksdb for long-lived nodes, redb needs no C++ to build. Choose before the first start.",
    ),
    ("", "log_level", None, "debug, info, warn, error or none; or by module: \"consensus:debug,*:info\"."),
    ("", "log_format", None, "plain for people, json for machines."),
    ("rpc", "laddr", None, "Where clients call. Anybody who reaches it may send transactions."),
    ("rpc", "cors_allowed_origins", None, "Web pages that may call it; [\"*\"] for all."),
    ("rpc", "max_open_connections", None, "Connections at once; 0 for no limit."),
    ("rpc", "max_request_batch_size", None, "Requests in one batch; 0 for no limit."),
    ("rpc", "timeout_broadcast_tx_commit", None, "How long broadcast_tx_commit waits for the block."),
    ("p2p", "laddr", None, "Where peers call."),
    ("p2p", "external_address", None, "What peers dial, as HOST:PORT, if not the above."),
    (
        "p2p",
        "persistent_peers",
        None,
        "Peers to stay connected with: ID@HOST:PORT,… (quorate show-node-id prints an ID).",
    ),
    ("p2p", "peers_only", None, "IDs of the only nodes that may connect, for a closed network; empty for everybody."),
    ("mempool", "size", None, "Transactions that may wait."),
    ("mempool", "cache_size", None, "Transactions remembered, so that none is taken twice."),
    ("mempool", "max_tx_bytes", None, "Bytes of one transaction."),
    ("mempool", "recheck", None, "Ask the application again about waiting transactions after each block."),
    ("consensus", "timeout_propose", None, "How long to wait for a proposal before the next proposer's turn."),
    ("consensus", "timeout_commit", None, "Pause after each block, to collect late votes. CometBFT's default is 1s."),
    (
        "consensus",
        "create_empty_blocks",
        None,
        "With an interval of 0s: true makes empty blocks without pause, false makes none.",
    ),
    (
        "consensus",
        "create_empty_blocks_interval",
        None,
        "A block comes at once when there is a transaction, and an empty one after this silence.",
    ),
    ("storage", "discard_abci_responses", None, "Save space; block_results will not answer."),
    ("tx_index", "indexer", None, "kv to find transactions and blocks by their events, null for none."),
    ("instrumentation", "prometheus", Some("true"), "Serve metrics at /metrics."),
    ("instrumentation", "prometheus_listen_addr", Some("127.0.0.1:26660"), "Where."),
];

const _: () = assert!(LINES.len() <= TEMPLATE_KEYS_MAX, "a first config.toml fits the head");

/// The file `init` writes.
#[derive(Debug, Clone, Copy)]
pub struct Template;

impl Template {
    /// Keys in it.
    pub const KEYS: usize = LINES.len();

    /// The text.
    pub fn text() -> String {
        let mut text = String::from(
            "# Quorate: these are the keys people change. All others, with their defaults: docs/CONFIG.md.\n\
             # Precedence: flag, environment (QUORATE_RPC_LADDR for rpc.laddr), this file, default.\n\
             # Every key of CometBFT v0.38 works here; durations are written like \"500ms\" or \"1m30s\".\n",
        );
        let mut current = "";
        for (section, name, value, note) in LINES {
            if *section != current {
                let _ = write!(text, "\n[{section}]\n");
                current = section;
            }
            let full = if section.is_empty() { (*name).to_owned() } else { format!("{section}.{name}") };
            let key = Key::named(&full).expect("the template names keys of the table (tested)");
            let legal = |text: &str| key.kind.parse(text);
            // CometBFT reads this file too and refuses an empty moniker: the machine's name is written out.
            let machine = (full == "moniker").then(|| moniker("")).and_then(|name| legal(&name));
            let value = machine.or_else(|| legal(value.unwrap_or(key.default)));
            let value = value.expect("the template gives keys legal values (tested)");
            // It knows none of our stores by name: the choice is shown and left open.
            let mark = if full == "db_backend" { "#" } else { "" };
            let _ = write!(text, "\n# {note}\n{mark}{name} = {value}\n");
        }
        text
    }
}
