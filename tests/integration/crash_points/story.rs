//! A validator that decides alone, its clients, and its many deaths.

use crate::integration::harness::{
    Client, Failure, PATIENCE, Process, assert_linked, assert_same_hash, base64, number, quorate, run, tx_hash,
    value_of,
};
use quorate::crash_points::VARIABLE;
use quorate::disk::OsDisk;
use quorate::types::{Algorithm, BlockId, Height, JournalMessage, JournalRecord, Source, Time, VoteKind};
use quorate::wal;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use tempfile::TempDir;

/// What makes a node quick: blocks follow each other at once, and come without transactions.
const SETTINGS: &[(&str, &str)] = &[
    ("QUORATE_RPC_LADDR", "tcp://127.0.0.1:0"),
    ("QUORATE_P2P_LADDR", "tcp://127.0.0.1:0"),
    ("QUORATE_INSTRUMENTATION_PROMETHEUS", "false"),
    ("QUORATE_CONSENSUS_TIMEOUT_COMMIT", "5ms"),
    ("QUORATE_CONSENSUS_ELECTION_TIMEOUT", "150ms"),
    ("QUORATE_CONSENSUS_HEARTBEAT_INTERVAL", "20ms"),
];
/// Power of the validator: enough to be punished a thousand times.
const POWER: &str = "1000";
/// How a process ends that calls `abort`.
pub(crate) const SIGABRT: i32 = 6;

/// What a validator signed last, as its file says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct SignedUpTo {
    height: u64,
    round: u64,
    step: u64,
}

/// A home, what its clients were promised, and how far its key got.
pub(crate) struct Story {
    pub(crate) algorithm: Algorithm,
    /// Where its application is.
    pub(crate) app: String,
    /// What happens next, for whoever reads a failure.
    pub(crate) scene: String,
    /// Its application wants old blocks removed.
    pub(crate) forgets_blocks: bool,
    dir: TempDir,
    keys_made: u64,
    promises: Vec<(String, u64)>,
    signed: Option<SignedUpTo>,
    /// What the sign state held at each death: sign bytes in hex by position.
    signed_bytes: BTreeMap<(u64, u64, u64), String>,
}

impl Story {
    /// A home as `quorate init` makes it.
    pub(crate) fn begun(algorithm: Algorithm) -> Story {
        let story = Story::in_an_empty_place(algorithm);
        let made = story.init(None);
        assert!(made.status.success(), "{made:?}");
        story.prepare_genesis();
        story
    }

    /// No home yet.
    pub(crate) fn in_an_empty_place(algorithm: Algorithm) -> Story {
        Story {
            algorithm,
            app: "kvstore".to_owned(),
            scene: String::new(),
            forgets_blocks: false,
            dir: tempfile::tempdir().unwrap(),
            keys_made: 0,
            promises: Vec::new(),
            signed: None,
            signed_bytes: BTreeMap::new(),
        }
    }

    /// Runs `quorate init`.
    pub(crate) fn init(&self, crash: Option<(&str, u64)>) -> std::process::Output {
        let mut command = quorate();
        command.args(["init", "--algorithm", self.algorithm.name(), "--home"]).arg(self.home());
        run(armed(&mut command, crash))
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("node")
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.home().join("data/cs.wal")
    }

    /// Much power, and vote extensions where there are any.
    fn prepare_genesis(&self) {
        let file = self.home().join("config/genesis.json");
        let mut genesis: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        genesis["validators"][0]["power"] = json!(POWER);
        if self.algorithm == Algorithm::Tendermint {
            genesis["consensus_params"]["abci"]["vote_extensions_enable_height"] = json!("1");
        }
        fs::write(&file, genesis.to_string()).unwrap();
    }

    fn launch(&self, crash: Option<(&str, u64)>) -> Process {
        let mut command = quorate();
        command.args(["start", "--proxy_app", &self.app, "--home"]).arg(self.home()).envs(SETTINGS.iter().copied());
        Process::start(armed(&mut command, crash))
    }

    /// One life that ends at a crash point, while clients want something all the time.
    pub(crate) fn dies_at(&mut self, point: &str, hit: u64) {
        self.dies_while(point, hit, |story, client| story.send(client));
    }

    /// The same with clients that do something else. They say false when the node is gone.
    pub(crate) fn dies_while(&mut self, point: &str, hit: u64, act: impl FnMut(&mut Story, &mut Client) -> bool) {
        self.scene = format!("{} dies at {point}, hit {hit}", self.algorithm);
        let process = self.launch(Some((point, hit)));
        self.keep_busy(process, point, act);
    }

    /// The same with a node that is asked to stop once it did some work.
    pub(crate) fn dies_stopping(&mut self, point: &str) {
        self.scene = format!("{} dies at {point} while it stops", self.algorithm);
        let process = self.launch(Some((point, 1)));
        let mut client = Client::new(&rpc_of(&process.wait_for("ready  ")));
        assert!(self.send(&mut client), "{}: gone too early:\n{}", self.scene, process.output());
        process.signal(Signal::TERM);
        assert_died(process, point, &self.scene);
    }

    fn keep_busy(&mut self, process: Process, point: &str, mut act: impl FnMut(&mut Story, &mut Client) -> bool) {
        let until = Instant::now() + PATIENCE;
        if let Some(ready) = process.wait_for_or_end("ready  ") {
            let mut client = Client::new(&rpc_of(&ready));
            while act(self, &mut client) {
                assert!(Instant::now() < until, "{}: it never gets there:\n{}", self.scene, process.output());
            }
        }
        assert_died(process, point, &self.scene);
        self.note_sign_state();
    }

    /// One transaction of each kind; what was promised is noted. False when the node is gone.
    pub(crate) fn send(&mut self, client: &mut Client) -> bool {
        self.keys_made += 2;
        let (promised, admitted) = (format!("p{}", self.keys_made), format!("a{}", self.keys_made));
        let calls = [
            ("broadcast_tx_async", json!({"tx": base64(format!("{admitted}=x"))})),
            ("broadcast_tx_commit", json!({"tx": base64(tx_of(&promised))})),
        ];
        let answers = match client.call_many(&calls) {
            Ok(answers) => answers,
            Err(Failure::Away(_)) => return false,
            Err(Failure::Refused(why)) => panic!("{}: {why}", self.scene),
        };
        // What was not promised, because the chain ends while it waits, may be there or not.
        if let Ok(answer) = &answers[1] {
            assert_eq!(answer["tx_result"]["code"], json!(0), "{}: {answer}", self.scene);
            self.promises.push((promised, number(&answer["height"])));
        }
        true
    }

    /// A life without an accident: it starts as it is, keeps every promise, fits its application and goes on deciding.
    pub(crate) fn goes_on(&mut self) {
        self.lives_to(0);
    }

    /// The same, until the chain has so many blocks.
    pub(crate) fn lives_to(&mut self, height: u64) {
        let mut process = self.launch(None);
        let ready = process.wait_for_or_end("ready  ");
        let ready = ready.unwrap_or_else(|| panic!("{}, and does not start again:\n{}", self.scene, process.output()));
        let client = &mut Client::new(&rpc_of(&ready));
        for (key, height) in &self.promises {
            let found = self.find(client, &tx_of(key));
            assert_eq!(number(&found["height"]), *height, "{}: {key}", self.scene);
            assert_eq!(value_of(client, key), Some("promised".to_owned()), "{}: {key}", self.scene);
        }
        assert!(self.send(client), "{}: it went away", self.scene);
        self.keys_made += 1;
        assert_same_hash(client, &format!("h{}=x", self.keys_made));
        if !self.forgets_blocks {
            assert_linked(client);
        }
        while number(&client.ask("status", &json!({}))["sync_info"]["latest_block_height"]) < height {
            assert!(self.send(client), "{}: it went away", self.scene);
        }
        assert!(!process.output().contains("panicked"), "{}:\n{}", self.scene, process.output());
        let tip = number(&client.ask("status", &json!({}))["sync_info"]["latest_block_height"]);
        process.kill();
        self.note_sign_state();
        // No block is without its vote.
        assert!(
            self.signed.as_ref().is_some_and(|signed| signed.height >= tip),
            "{}: tip {tip}, {:?}",
            self.scene,
            self.signed
        );
    }

    /// A transaction by its hash. The index follows the chain, so it may come a moment after the block.
    fn find(&self, client: &mut Client, tx: &str) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            match client.call("tx", &json!({"hash": base64(tx_hash(tx).as_bytes())})) {
                Ok(found) => return found,
                Err(why) => assert!(Instant::now() < until, "{}: {tx} is lost: {why:?}", self.scene),
            }
        }
    }

    /// The sign state never goes back, and never holds two different things for one position.
    fn note_sign_state(&mut self) {
        let file = self.home().join("data/priv_validator_state.json");
        let Ok(text) = fs::read(&file) else { return };
        let state: Value = serde_json::from_slice(&text).unwrap();
        let (round, step) = (state["round"].as_u64().unwrap(), state["step"].as_u64().unwrap());
        let now = SignedUpTo { height: number(&state["height"]), round, step };
        assert!(
            self.signed.as_ref().is_none_or(|before| *before <= now),
            "{}: {:?}, then {now:?}",
            self.scene,
            self.signed
        );
        if let Some(bytes) = state["signbytes"].as_str() {
            self.signed_bytes.insert((now.height, now.round, now.step), bytes.to_owned());
        }
        self.signed = Some(now);
    }

    /// Nothing was signed twice: whatever the journal has from our key says one thing for each position, and where the
    /// sign state was seen at a death, the same thing. Gives how many positions were looked at.
    pub(crate) fn assert_signed_once(&self) -> usize {
        let limits = wal::Limits::default();
        let now = Time::from(std::time::SystemTime::now());
        let (_wal, recovered) = wal::open(Arc::new(OsDisk), &self.wal(), limits, now).unwrap();
        let tip = self.signed.as_ref().map_or(0, |signed| signed.height);
        let mut said: BTreeMap<(u64, u64, u64), Option<BlockId>> = BTreeMap::new();
        for record in (1..=tip).flat_map(|height| recovered.records_since(Height::new(height)).unwrap()) {
            let JournalRecord::Message { source: Source::Own, message } = record else { continue };
            let (height, round, step, block) = match message {
                JournalMessage::Proposal(proposal) => (proposal.height, proposal.round, 1, Some(proposal.block_id)),
                JournalMessage::Vote(vote) => {
                    (vote.height, vote.round, if vote.kind == VoteKind::Prevote { 2 } else { 3 }, vote.block_id)
                }
                JournalMessage::Part { .. } => continue,
            };
            let position = (height.get(), u64::from(round.get()), step);
            let before = said.insert(position, block);
            assert!(before.is_none_or(|before| before == block), "{position:?}: {before:?}, {block:?}");
            if let (Some(signed), Some(block)) = (self.signed_bytes.get(&position), block) {
                let hash = hex::encode_upper(block.hash.as_bytes());
                assert!(signed.contains(&hash), "{position:?}: signed {signed}, journal says {hash}");
            }
        }
        said.len()
    }
}

fn tx_of(key: &str) -> String {
    format!("{key}=promised")
}

fn rpc_of(ready: &str) -> String {
    ready.rsplit_once("RPC tcp://").unwrap().1.to_owned()
}

fn armed<'a>(command: &'a mut Command, crash: Option<(&str, u64)>) -> &'a mut Command {
    match crash {
        Some((point, hit)) => command.env(VARIABLE, format!("{point}:{hit}")),
        None => command,
    }
}

/// The process died, and by the crash point.
pub(crate) fn assert_died(mut process: Process, point: &str, scene: &str) {
    let status = process.end();
    let said = format!("crash point {point} reached");
    let by_it = status.signal() == Some(SIGABRT) && process.output().contains(&said);
    assert!(by_it, "{scene}: {status}, printed:\n{}", process.output());
    assert!(!process.output().contains("panicked"), "{scene}:\n{}", process.output());
}
