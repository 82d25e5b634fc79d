//! `quorate status`: one screen about the running node, without asking where it is.

use super::CliError;
use super::args::{Common, StatusArgs};
use super::development::FOLDER;
use super::error::Exit;
use super::http::{AskError, ask};
use super::output::{Output, Reader, human_bytes, human_seconds, plain};
use super::why::Facts;
use crate::config::{Address, Config, Home, HomeLock, RunFile};
use crate::types::Time;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::time::SystemTime;

/// Where CometBFT's nodes serve RPC unless told otherwise.
const DEFAULT_RPC: &str = "tcp://127.0.0.1:26657";

/// Development homes looked into for a node that runs.
const HOMES_LOOKED_AT_MAX: usize = 256;
/// Longest line about who leads, in characters.
const LEAD_SHOWN_MAX: usize = 200;

/// A place where the node may be, and why it may be there.
pub(super) struct Candidate {
    pub(super) address: Address,
    because: String,
}

/// What a node said, as its JSON; null where it did not.
struct Answers {
    address: Address,
    status: Value,
    net_info: Value,
    abci_info: Value,
    mempool: Value,
    /// A route of ours: CometBFT's nodes do not have it.
    why: Value,
}

pub(super) fn run(common: &Common, args: &StatusArgs, out: &Output) -> Result<(), CliError> {
    let home = common.home()?;
    let run_file = RunFile::read(&home);
    let candidates = candidates(common, args, &home, run_file.as_ref())?;
    let mut failures = Vec::new();
    for candidate in candidates {
        match Answers::of(&candidate.address) {
            Ok(answers) => {
                show(&answers, &home, run_file.as_ref(), out);
                return Ok(());
            }
            Err(why) => failures.push((candidate, why)),
        }
    }
    Err(nobody_there(&home, run_file.as_ref(), &failures, out))
}

/// Most likely first: what was asked for, what the running node wrote down, the configuration, the usual port.
pub(super) fn candidates(
    common: &Common,
    args: &StatusArgs,
    home: &Home,
    run_file: Option<&RunFile>,
) -> Result<Vec<Candidate>, CliError> {
    if let Some(text) = &args.node {
        let plain = text.trim_end_matches('/');
        let plain = plain.strip_prefix("http://").map_or_else(|| plain.to_owned(), |rest| format!("tcp://{rest}"));
        let address = plain.parse().map_err(|why| CliError {
            exit: Exit::Usage,
            text: format!("flag --node: {why}\n  next: quorate status --node {DEFAULT_RPC}"),
        })?;
        return Ok(vec![Candidate { address, because: "--node says so".to_owned() }]);
    }
    let mut found: Vec<Candidate> = Vec::new();
    let mut add = |address: Address, because: String| {
        if !found.iter().any(|known| known.address == address) {
            found.push(Candidate { address, because });
        }
    };
    if let Some((run, address)) = run_file.and_then(|run| Some((run, run.rpc.parse().ok()?))) {
        add(address, format!("process {} wrote so to {}", run.pid, home.run_file().display()));
    }
    // A broken configuration is no reason not to look elsewhere.
    if let Ok((config, _)) = Config::load(home, &common.overrides()) {
        for address in config.rpc.listen {
            add(address, "rpc.laddr says so".to_owned());
        }
    }
    add(DEFAULT_RPC.parse().expect("a constant address"), "the usual port".to_owned());
    Ok(found)
}

impl Answers {
    fn of(address: &Address) -> Result<Answers, AskError> {
        let status = ask(address, "status")?;
        // What fails from here on is left out of the screen.
        let more = |method: &str| ask(address, method).unwrap_or(Value::Null);
        Ok(Answers {
            address: address.clone(),
            status,
            net_info: more("net_info"),
            abci_info: more("abci_info"),
            mempool: more("num_unconfirmed_txs"),
            why: more("why"),
        })
    }
}

// ------------------------------------------------------------------------------------------------ a node that answers

fn show(answers: &Answers, home: &Home, run_file: Option<&RunFile>, out: &Output) {
    let run = run_file.filter(|run| run.rpc.parse::<Address>().is_ok_and(|address| address == answers.address));
    match out.reader {
        Reader::Person => out.line(&screen(answers, home, run, Time::from(SystemTime::now()))),
        Reader::Program => out.line(&format!("{:#}", machine_form(answers, home, run))),
    }
}

/// The text at a path such as `/sync_info/latest_block_height`; a dash when there is none.
pub(super) fn text(value: &Value, path: &str) -> String {
    match value.pointer(path) {
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => "–".to_owned(),
    }
}

fn screen(answers: &Answers, home: &Home, run: Option<&RunFile>, now: Time) -> String {
    let status = &answers.status;
    let of = |path: &str| text(status, path);
    let mut screen = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(screen, "{name:<12} {value}");
    };
    let process = run.map(|run| format!(", process {}, started {}", run.pid, run.started)).unwrap_or_default();
    line("node", format!("{}  {}  running{process}", of("/node_info/moniker"), of("/node_info/id")));
    line(
        "chain",
        format!("{}  (block protocol {})", of("/node_info/network"), of("/node_info/protocol_version/block")),
    );
    line("height", height_line(status, now));
    if let Some(facts) = Facts::read(&answers.why) {
        line("lead", plain(&facts.lead_line(), LEAD_SHOWN_MAX));
    }
    line("catching up", catching_up(status).to_owned());
    line("application", application_line(&answers.abci_info));
    line("validator", validator_line(status));
    line("mempool", mempool_line(&answers.mempool));
    line("peers", text(&answers.net_info, "/n_peers"));
    line("rpc", answers.address.to_string());
    if let Some(metrics) = run.and_then(|run| run.metrics.as_ref()) {
        line("metrics", format!("http://{metrics}/metrics"));
    }
    if run.is_some() {
        line("disk", format!("{} in {}", human_bytes(home.data_bytes()), home.data().display()));
    }
    screen
}

fn height_line(status: &Value, now: Time) -> String {
    let height = text(status, "/sync_info/latest_block_height");
    if height == "0" || height == "–" {
        return "0, no block yet".to_owned();
    }
    let at: Option<Time> = text(status, "/sync_info/latest_block_time").parse().ok();
    match at.map(|at| now.since(at).as_secs()) {
        Some(seconds) => format!("{height}, {} ago", human_seconds(seconds)),
        None => height,
    }
}

fn catching_up(status: &Value) -> &'static str {
    match status.pointer("/sync_info/catching_up").and_then(Value::as_bool) {
        Some(true) => "yes, it fetches old blocks and does not vote",
        Some(false) => "no",
        None => "–",
    }
}

fn application_line(abci_info: &Value) -> String {
    match abci_info.pointer("/response") {
        None => "does not answer".to_owned(),
        Some(response) => {
            let height = text(response, "/last_block_height").replace('–', "0");
            let version = text(response, "/version");
            format!("{}  version {version}  at height {height}", text(response, "/data"))
        }
    }
}

fn validator_line(status: &Value) -> String {
    match text(status, "/validator_info/voting_power").as_str() {
        "0" | "–" => "no, it follows the chain".to_owned(),
        power => format!("yes, {} with power {power}", text(status, "/validator_info/address")),
    }
}

fn mempool_line(mempool: &Value) -> String {
    let bytes = text(mempool, "/total_bytes").parse().map_or_else(|_| "–".to_owned(), human_bytes);
    format!("{} transactions, {bytes}", text(mempool, "/n_txs"))
}

fn machine_form(answers: &Answers, home: &Home, run: Option<&RunFile>) -> Value {
    json!({
        "running": true,
        "rpc": answers.address.to_string(),
        "process": run,
        "home": home.path(),
        "data_bytes": run.map(|_| home.data_bytes()),
        "status": answers.status,
        "net_info": answers.net_info,
        "abci_info": answers.abci_info,
        "num_unconfirmed_txs": answers.mempool,
        "why": answers.why,
    })
}

// ------------------------------------------------------------------------------------------------- nobody who answers

pub(super) fn nobody_there(
    home: &Home,
    run_file: Option<&RunFile>,
    failures: &[(Candidate, AskError)],
    out: &Output,
) -> CliError {
    let tried = |(candidate, why): &(Candidate, AskError)| json!({ "address": candidate.address.to_string(), "because": candidate.because, "error": why.to_string() });
    if out.reader == Reader::Program {
        let tried: Vec<Value> = failures.iter().map(tried).collect();
        out.line(&format!("{:#}", json!({ "running": false, "home": home.path(), "tried": tried })));
    }
    let asked: Vec<String> = failures.iter().map(|(candidate, why)| format!("{} ({why})", candidate.address)).collect();
    let asked = asked.join(", ");
    let shown = home.path().display();
    if HomeLock::is_taken(home) {
        let pid = run_file.map(|run| format!(" as process {}", run.pid)).unwrap_or_default();
        let what = format!("a node runs on {shown}{pid}, but its RPC does not answer: {asked}");
        return CliError::failed(what, "look at its log; it may still be starting, or serve no RPC");
    }
    let crashed = run_file.map(|run| format!("process {} stopped without saying so; ", run.pid)).unwrap_or_default();
    let what = format!("no node runs on {shown}\n  why: {crashed}nothing answers at {asked}");
    if let Some(development) = development_home(home) {
        let shown = development.path().display();
        return CliError::failed(format!("{what}; a development node runs on {shown}"), format!("add --home {shown}"));
    }
    let next = if home.config_file().exists() { "start" } else { "init" };
    CliError::failed(what, format!("quorate {next} --home {shown}"))
}

/// A node of the form without a command that runs below this home.
fn development_home(home: &Home) -> Option<Home> {
    let entries = fs::read_dir(home.path().join(FOLDER)).ok()?;
    let mut homes: Vec<_> = entries.take(HOMES_LOOKED_AT_MAX).flatten().map(|entry| entry.path()).collect();
    homes.sort();
    homes.into_iter().map(Home::new).find(HomeLock::is_taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_a_node_where_only_a_development_node_runs_is_led_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path());
        let out = Output::new(Reader::Person, Box::new(std::io::sink()));
        let text = || nobody_there(&home, None, &[], &out).text;
        assert!(text().ends_with(&format!("next: quorate init --home {}", home.path().display())));
        let [_, second] = ["node-1", "node-2"].map(|name| Home::new(home.path().join(FOLDER).join(name)));
        second.create().unwrap();
        let _lock = HomeLock::take(&second).unwrap();
        assert!(text().ends_with(&format!("next: add --home {}", second.path().display())), "{}", text());
    }

    fn answers() -> Answers {
        Answers {
            address: DEFAULT_RPC.parse().unwrap(),
            status: json!({
                "node_info": {"id": "ab01", "network": "test-chain-x", "moniker": "me", "protocol_version": {"block": "11"}},
                "sync_info": {"latest_block_height": "41", "latest_block_time": "2026-01-02T03:04:05.6Z", "catching_up": false},
                "validator_info": {"address": "0102", "voting_power": "10"}
            }),
            net_info: json!({"n_peers": "0"}),
            abci_info: json!({"response": {"data": "kvstore", "version": "1", "last_block_height": "41"}}),
            mempool: json!({"n_txs": "2", "total_bytes": "2048"}),
            why: Value::Null,
        }
    }

    #[test]
    fn a_person_sees_chain_height_age_application_power_mempool_and_peers() {
        let now = "2026-01-02T03:04:09Z".parse().unwrap();
        let screen = screen(&answers(), &Home::new("/nowhere"), None, now);
        for part in [
            "chain        test-chain-x",
            "height       41, 3 s ago",
            "catching up  no",
            "application  kvstore  version 1  at height 41",
            "validator    yes, 0102 with power 10",
            "mempool      2 transactions, 2.0 KiB",
            "peers        0",
        ] {
            assert!(screen.contains(part), "{part} in\n{screen}");
        }
    }

    #[test]
    fn a_node_that_says_nothing_or_nonsense_still_gives_a_screen() {
        let now = Time::UNIX_EPOCH;
        for status in
            [Value::Null, json!([1]), json!({"sync_info": 5}), json!({"sync_info": {"latest_block_height": []}})]
        {
            let answers =
                Answers { status, net_info: Value::Null, abci_info: Value::Null, mempool: Value::Null, ..answers() };
            let screen = screen(&answers, &Home::new("/nowhere"), None, now);
            assert!(screen.contains("no block yet") && screen.contains("does not answer"), "{screen}");
        }
    }
}
