//! Evidence made with real keys, found in a stopped home's store, over RPC and in files, and judged.

use super::parse;
use crate::cli::output::{Output, Reader};
use crate::cli::tests::{Printed, arguments, quorate};
use crate::cli::{CliError, Exit};
use crate::codec::json::{View, to_bytes};
use crate::config::{Config, Overrides};
use crate::crypto::Hash;
use crate::ports::Store;
use crate::storage::{self, Indexing};
use crate::types::tests::{Signers, block_id, chain_id, time};
use crate::types::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Validators 0 and 1 voted twice at height 1; block 2 proved it of 0, of 1 it waits.
struct Chain {
    signers: Signers,
    blocks: Vec<Arc<CandidateBlock>>,
    proven: Evidence,
    pending: Evidence,
}

fn header(height: u64, signers: &Signers, evidence_hash: Hash) -> Header {
    Header {
        time: time(1000 + height as i64),
        evidence_hash,
        proposer_address: signers.set.proposer().address,
        ..signers.header(height)
    }
}

impl Chain {
    fn new() -> Chain {
        let signers = Signers::new(1, &[20, 10, 10]);
        let double = |index| {
            let vote = |word| signers.vote(index, VoteKind::Prevote, 1, 3, Some(block_id(word)));
            let votes = DuplicateVoteEvidence::new(vote("x"), vote("y"), time(1001), &signers.set).unwrap();
            Evidence::DuplicateVote(Box::new(votes))
        };
        let (proven, pending) = (double(0), double(1));
        let block = |header, evidence, last_commit| {
            Arc::new(CandidateBlock::new(Block { header, txs: vec![], evidence, last_commit }))
        };
        let first = block(header(1, &signers, Hash::EMPTY), vec![], None);
        let commit = signers.commit(Height::new(1), first.id(), 1001);
        let some = block_id("not empty").hash;
        let second = block(header(2, &signers, some), vec![proven.clone()], Some(commit));
        Chain { signers, blocks: vec![first, second], proven, pending }
    }

    fn state(&self, height: u64) -> ChainState {
        let set = Arc::new(self.signers.set.clone());
        ChainState {
            algorithm: crate::types::Algorithm::Tendermint,
            version: Version { block: Version::BLOCK, app: 0 },
            chain_id: chain_id(),
            initial_height: Height::FIRST,
            last_block_height: Height::new(height),
            last_block_id: height.checked_sub(1).map(|index| self.blocks[index as usize].id()),
            last_block_time: time(1000 + height as i64),
            next_validators: set.clone(),
            validators: set.clone(),
            last_validators: (height > 0).then(|| set.clone()),
            last_height_validators_changed: Height::FIRST,
            consensus_params: Arc::new(ConsensusParams::default()),
            last_height_consensus_params_changed: Height::FIRST,
            last_results_hash: Hash::EMPTY,
            app_hash: Bytes::new(),
        }
    }

    /// A stopped home with this chain.
    fn home(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        quorate(folder.path(), &["init", "--chain-id", chain_id().as_str()]).unwrap();
        let home = arguments(folder.path(), &["status"]).common.home().unwrap();
        let dir = Config::load(&home, &Overrides::default()).unwrap().0.storage.dir;
        self.save(&dir);
        folder
    }

    fn save(&self, dir: &Path) {
        let store: Arc<dyn Store> = storage::open(storage::Backend::DEFAULT, dir, Indexing::On).unwrap();
        store.save_genesis(b"{}", &self.state(0)).unwrap();
        store.save_evidence(&[EvidenceChange::Waits(self.pending.clone())]).unwrap();
        for (block, height) in self.blocks.iter().zip(1..) {
            let commit = self.signers.commit(Height::new(height), block.id(), 1000 + height as i64);
            store.save_block(block, &ExtendedCommit::from(commit)).unwrap();
            store.save_state(&self.state(height)).unwrap();
        }
    }

    /// What a node of this chain answers to a request.
    fn answer(&self, target: &str) -> Value {
        fn shown<T>(value: &T) -> Value
        where
            for<'a> View<'a, T>: serde::Serialize,
        {
            serde_json::from_slice(&to_bytes(&View(value))).unwrap()
        }
        let (method, query) = target.split_once('?').unwrap_or((target, ""));
        let height = query.split('&').find_map(|pair| pair.strip_prefix("height=")?.parse::<usize>().ok());
        let block = height.map(|height| self.blocks[height - 1].block());
        let heads: Vec<Value> =
            self.blocks.iter().rev().map(|it| json!({ "header": shown(&it.block().header) })).collect();
        match (method, block) {
            ("status", _) => json!({
                "node_info": { "network": chain_id().as_str() },
                "sync_info": {
                    "latest_block_height": "2",
                    "latest_block_time": time(1002).to_string(),
                    "earliest_block_height": "1",
                },
            }),
            ("consensus_params", _) => json!({ "consensus_params": { "evidence": {
                "max_age_num_blocks": "100000", "max_age_duration": "172800000000000", "max_bytes": "1048576",
            } } }),
            ("pending_evidence", _) => json!({ "evidence": [shown(&self.pending)] }),
            ("blockchain", _) => json!({ "block_metas": heads }),
            ("block", Some(block)) => json!({ "block": shown(block) }),
            ("header", Some(block)) => json!({ "header": shown(&block.header) }),
            ("validators", _) => {
                json!({ "validators": self.signers.set.members().iter().map(shown).collect::<Vec<_>>(), "total": "3" })
            }
            other => panic!("{other:?} is not asked"),
        }
    }

    /// Serves the chain from a thread that ends with the process. Gives the address.
    fn serve(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                // The whole request, or the client could not finish writing it.
                let request = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
                let request: Vec<String> = request.take_while(|line| !line.is_empty()).collect();
                let target = request[0].split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
                let body = json!({ "jsonrpc": "2.0", "id": -1, "result": self.answer(&target) });
                write!(stream, "HTTP/1.0 200 OK\r\n\r\n{body}").unwrap();
            }
        });
        address
    }
}

/// What was printed, and how the command ended.
fn evidence(home: &Path, words: &[&str]) -> (String, Result<(), CliError>) {
    let printed = Printed::default();
    let all: Vec<&str> = ["evidence"].iter().chain(words).copied().collect();
    let arguments = arguments(home, &all);
    let reader = if arguments.common.json { Reader::Program } else { Reader::Person };
    let outcome = crate::cli::run(arguments, &Output::new(reader, Box::new(printed.clone())));
    (String::from_utf8(printed.0.take()).unwrap(), outcome)
}

fn ok(home: &Path, words: &[&str]) -> String {
    let (printed, outcome) = evidence(home, words);
    outcome.unwrap_or_else(|why| panic!("{words:?}: {why}"));
    printed
}

fn write(home: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path: PathBuf = home.join(name);
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_stopped_home_lists_shows_and_judges_its_evidence() {
    let chain = Chain::new();
    let home = chain.home();
    let listed = ok(home.path(), &["list"]);
    let (pending, proven) = (chain.pending.hash().to_string(), chain.proven.hash().to_string());
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[1].starts_with(&pending[..12]) && lines[1].contains("pending"), "{listed}");
    assert!(lines[2].starts_with(&proven[..12]) && lines[2].contains("block 2"), "{listed}");
    assert!(lines[2].contains("two prevotes, round 3") && lines[2].contains("power 20 of 40, 50.0 %"), "{listed}");
    assert_eq!(lines[3], "blocks 1 to 2 of test-chain, and what waits for a block");

    let shown = ok(home.path(), &["show", &proven[..8].to_lowercase()]);
    let offender = chain.signers.set.members()[0].address.to_string();
    assert!(shown.contains(&proven) && shown.contains(&offender) && shown.contains("proven by block 2"), "{shown}");

    let judged = ok(home.path(), &["verify", &pending]);
    let key = hex::encode_upper(chain.signers.set.members()[1].public_key.as_bytes());
    for expected in [
        format!("signature A: valid, with key {key}"),
        format!("signature B: valid, with key {key}"),
        "both signatures are valid. It can still be punished.".to_owned(),
    ] {
        assert!(judged.contains(&expected), "{expected}\n{judged}");
    }
}

#[test]
fn the_documentation_shows_what_the_commands_print() {
    let page = include_str!("../../../docs/evidence.md");
    let chain = Chain::new();
    let home = chain.home();
    let hash = chain.proven.hash().to_string();
    for words in [&["list"][..], &["show", &hash[..8]], &["verify", &hash[..8]]] {
        let printed = ok(home.path(), words);
        let transcript = format!("$ quorate evidence {}\n{printed}", words.join(" "));
        assert!(page.contains(&transcript), "docs/evidence.md lacks this:\n{transcript}");
    }
}

#[test]
fn a_running_node_gives_the_same_answers_as_the_store() {
    let chain = Chain::new();
    let home = chain.home();
    let empty = tempfile::tempdir().unwrap();
    let (proven, pending) = (chain.proven.hash().to_string(), chain.pending.hash().to_string());
    let address = Chain::new().serve();
    for words in [&["list", "--json"][..], &["verify", &proven, "--json"], &["verify", &pending, "--json"]] {
        let by_node: Vec<&str> = words.iter().copied().chain(["--node", &address]).collect();
        let (of_store, of_node) = (ok(home.path(), words), ok(empty.path(), &by_node));
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(parsed(&of_store), parsed(&of_node), "{words:?}");
    }
}

#[test]
fn evidence_in_a_file_is_read_in_every_form_it_is_found_in() {
    let chain = Chain::new();
    let bytes = chain.pending.encode();
    let json = to_bytes(&View(&chain.pending));
    let answer = format!("{{\"hash\":\"x\",\"evidence\":{}}}", String::from_utf8_lossy(&json));
    let forms: [Vec<u8>; 5] = [
        json.clone(),
        answer.into_bytes(),
        format!("{}\n", hex::encode(&bytes)).into_bytes(),
        STANDARD.encode(&bytes).into_bytes(),
        bytes.to_vec(),
    ];
    for form in forms {
        assert_eq!(parse(&form).as_ref(), Ok(&chain.pending), "{}", String::from_utf8_lossy(&form));
    }
    for nonsense in [&b""[..], b"{}", b"nonsense", b"ABCDEF"] {
        assert!(parse(nonsense).is_err(), "{nonsense:?}");
    }
}

#[test]
fn a_forged_piece_is_called_false_with_the_signature_that_is_wrong() {
    let chain = Chain::new();
    let home = chain.home();
    let Evidence::DuplicateVote(mut votes) = chain.pending.clone() else { panic!("two votes") };
    votes.vote_b.signature = votes.vote_a.signature;
    let forged = write(home.path(), "forged.hex", hex::encode(Evidence::DuplicateVote(votes).encode()));
    let (printed, outcome) = evidence(home.path(), &["verify", &forged]);
    let error = outcome.unwrap_err();
    assert_eq!(error.exit, Exit::Failed);
    assert!(error.text.contains("is false"), "{error}");
    assert!(
        printed.contains("WRONG      signature B: invalid") && printed.contains("ok         signature A"),
        "{printed}"
    );
    assert!(printed.contains("verdict    FALSE: verifying VoteB: invalid signature."), "{printed}");
    let (printed, outcome) = evidence(home.path(), &["verify", &forged, "--json"]);
    assert!(outcome.is_err());
    let json: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&json["true"], &json["status"]), (&json!(false), &json!("given")));
}

#[test]
fn what_is_asked_wrongly_is_answered_with_the_next_command() {
    let home = Chain::new().home();
    let cases = [
        (&["show", "xyz"][..], Exit::Usage, "quorate evidence list"),
        (&["show", "ABCDEF0123"], Exit::Failed, "--from and --to"),
        (&["list", "--from", "9"], Exit::Usage, "choose --from and --to within"),
    ];
    for (words, exit, next) in cases {
        let error = evidence(home.path(), words).1.unwrap_err();
        assert!(error.exit == exit && error.text.contains(next), "{words:?}: {error}");
    }
    let nonsense = write(home.path(), "nonsense", "nonsense");
    let error = evidence(home.path(), &["verify", &nonsense]).1.unwrap_err();
    assert!(error.exit == Exit::Usage && error.text.contains("holds no evidence"), "{error}");
}
