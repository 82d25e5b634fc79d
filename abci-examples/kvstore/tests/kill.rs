//! The real program over its real socket: it answers as promised, and `kill -9` at any moment loses no commit.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use quorate::abci::{Address, Options, SocketApp, connect};
use quorate::ports::{App, Connection};
use quorate::types::abci::{
    BlockFacts, CommitInfo, FinalizeBlockRequest, InfoRequest, InfoResponse, QueryRequest, QueryResponse, Request,
    Response,
};
use quorate::types::{Address as ValidatorAddress, Height, Time};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// How often the program is killed while a block is on its way.
const KILLS: u64 = 20;
const TXS_IN_A_BLOCK: u64 = 50;

struct Program {
    child: Child,
    app: SocketApp,
    /// The line it printed when it was ready.
    ready: String,
}

fn command(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvstore"));
    command.arg("--home").arg(home.join("data")).arg("--address").arg(address(home).to_string());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn address(home: &Path) -> Address {
    Address::Unix(home.join("app.sock"))
}

async fn start(home: &TempDir) -> Program {
    let mut child = command(home.path()).spawn().unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    let app = connect(address(home.path()), Options::default()).await;
    Program { child, app, ready }
}

fn outcome_of(home: &Path) -> Output {
    command(home).output().unwrap()
}

impl Program {
    fn kill(mut self) {
        self.child.kill().unwrap(); // SIGKILL
        self.child.wait().unwrap();
    }

    async fn info(&self) -> InfoResponse {
        let answers = self.app.call(Connection::Query, vec![Request::Info(InfoRequest::default())]).await.unwrap();
        let [Response::Info(info)] = &answers[..] else { panic!("{answers:?}") };
        info.clone()
    }

    async fn query(&self, key: String) -> QueryResponse {
        let query = QueryRequest { data: key.into(), ..QueryRequest::default() };
        let answers = self.app.call(Connection::Query, vec![Request::Query(query)]).await.unwrap();
        let [Response::Query(found)] = &answers[..] else { panic!("{answers:?}") };
        found.clone()
    }

    async fn finalize(&self, height: u64) {
        let txs = (0..TXS_IN_A_BLOCK).map(|number| format!("h{height}n{number}=v{height}").into()).collect();
        let hash = [0; 32].as_slice().try_into().unwrap();
        let block = BlockFacts {
            misbehavior: Vec::new(),
            height: Height::new(height),
            time: Time::UNIX_EPOCH,
            next_validators_hash: hash,
            proposer_address: ValidatorAddress::new([0; 20]),
        };
        let request = FinalizeBlockRequest { txs, decided_last_commit: CommitInfo::default(), hash, block };
        let answers = self.app.call(Connection::Consensus, vec![Request::FinalizeBlock(request)]).await.unwrap();
        let [Response::FinalizeBlock(results)] = &answers[..] else { panic!("{answers:?}") };
        assert!(results.tx_results.iter().all(|result| result.code == 0));
    }

    async fn commit(&self) {
        self.app.call(Connection::Consensus, vec![Request::Commit]).await.unwrap();
    }
}

#[tokio::test]
async fn after_kill_9_at_any_moment_the_data_stands_at_a_committed_height() {
    let home = tempfile::tempdir().unwrap();
    let mut committed = 0;
    for kill in 0..KILLS {
        let program = start(&home).await;
        let height = u64::try_from(program.info().await.last_block_height).unwrap();
        assert!((committed..=committed + 1).contains(&height), "{height} after {committed} were acknowledged");
        assert_eq!(program.info().await.data, format!("{{\"size\":{}}}", height * TXS_IN_A_BLOCK), "whole blocks only");
        for number in [0, TXS_IN_A_BLOCK - 1] {
            assert_eq!(program.query(format!("h{height}n{number}")).await.log == "exists", height > 0);
            assert_eq!(program.query(format!("h{}n{number}", height + 1)).await.log, "does not exist");
        }
        program.finalize(height + 1).await;
        program.commit().await;
        committed = height + 1;
        program.finalize(committed + 1).await;
        // The commit is on its way, for longer each time, when the program dies.
        let app = program.app.clone();
        let commit = tokio::spawn(async move { app.call(Connection::Consensus, vec![Request::Commit]).await });
        for _ in 0..kill * 40 {
            tokio::task::yield_now().await;
        }
        program.kill();
        committed += u64::from(commit.await.unwrap().is_ok());
    }
    assert!(committed >= KILLS);
}

#[tokio::test]
async fn it_says_where_it_listens_and_how_far_it_came() {
    let home = tempfile::tempdir().unwrap();
    let program = start(&home).await;
    program.finalize(1).await;
    program.commit().await;
    program.kill();
    let program = start(&home).await;
    let expected = format!(
        "kvstore listens at {}, at height 1, data in {}\n",
        address(home.path()),
        home.path().join("data").display()
    );
    assert_eq!(program.ready, expected);
    program.kill();
}

#[tokio::test]
async fn what_cannot_work_is_refused_in_one_line_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let running = start(&home).await;
    let second = outcome_of(home.path());
    let message = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1));
    assert!(message.contains("is in use by another kvstore: stop that one or choose another --home"), "{message}");
    running.kill();

    let blocked = tempfile::tempdir().unwrap();
    std::fs::write(blocked.path().join("data"), "a file where the directory should be").unwrap();
    let third = outcome_of(blocked.path());
    let message = String::from_utf8_lossy(&third.stderr).into_owned();
    assert_eq!(third.status.code(), Some(1));
    assert!(message.contains("make it writable or choose another --home"), "{message}");
    assert_eq!(message.lines().count(), 1, "{message}");
}
