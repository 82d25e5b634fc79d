//! The server: hand-made bytes, failures, sockets on disk, and a node that outlives its application.

use super::{Answer, FLUSH, FLUSHED, Mirror, check, check_of, facts, finalize};
use crate::abci::hosted::Hosted;
use crate::abci::server::converse;
use crate::abci::{Address, Application, Noop, Options, REQUEST_BYTES_MAX, ServeError, Server, Waiting, connect};
use crate::codec::abci::decode_response;
use crate::codec::frame::take;
use crate::ports::{App, AppError, Connection};
use crate::types::abci::{
    ApplySnapshotChunkRequest, CheckTxRequest, CheckTxResponse, CommitInfo, ExtendVoteRequest, ExtendedCommitInfo,
    InfoRequest, InitChainRequest, LoadSnapshotChunkRequest, OfferSnapshotRequest, PrepareProposalRequest,
    ProcessProposalRequest, QueryRequest, Request, Response, VerifyVoteExtensionRequest,
};
use crate::types::{Height, Time};
use bytes::{Bytes, BytesMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The application's end is served; ours is given.
fn conversation(app: impl Application) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move { converse(&Hosted::new(app), theirs.into(), &CancellationToken::new()).await });
    ours
}

/// All that comes back for these bytes until the server closes, which it does when we stop writing.
async fn replies_to(app: impl Application, bytes: &[u8]) -> Vec<u8> {
    let mut socket = conversation(app);
    socket.write_all(bytes).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut replies = Vec::new();
    socket.read_to_end(&mut replies).await.unwrap();
    replies
}

#[tokio::test]
async fn the_samples_of_the_reference_get_their_answers() {
    let echo_hi = [6, 0x0a, 4, 0x0a, 2, b'h', b'i'];
    let commit = [2, 0x5a, 0];
    let replies = replies_to(Noop, &[&echo_hi[..], &commit, FLUSH].concat()).await;
    assert_eq!(replies, [&[6, 0x12, 4, 0x0a, 2, b'h', b'i'][..], &[2, 0x62, 0], FLUSHED].concat());
}

#[tokio::test]
async fn an_answer_comes_without_a_flush_when_nothing_else_is_asked() {
    let mut socket = conversation(Noop);
    socket.write_all(&[2, 0x5a, 0]).await.unwrap();
    let mut answer = [0; 3];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, [2, 0x62, 0]);
}

#[tokio::test]
async fn answers_before_a_failure_are_given_though_nobody_flushed() {
    let echo_hi = [6, 0x0a, 4, 0x0a, 2, b'h', b'i'];
    let fail = [8, 0x42, 6, 0x0a, 4, b'f', b'a', b'i', b'l'];
    let replies = replies_to(Mirror, &[&echo_hi[..], &fail].concat()).await;
    assert!(replies.starts_with(&[6, 0x12, 4, 0x0a, 2, b'h', b'i']), "{replies:?}");
}

/// Answers CheckTx with 200 KiB and counts how often.
struct Talkative(Arc<AtomicU32>);

impl Application for Talkative {
    fn check_tx(&mut self, _: CheckTxRequest) -> Answer<CheckTxResponse> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(CheckTxResponse { data: vec![7; 200 << 10].into(), ..CheckTxResponse::default() })
    }
}

/// The sixth answer makes more than 1 MiB, which nobody reads: nothing more is asked of the application.
#[tokio::test]
async fn answers_are_not_held_back_beyond_a_mebibyte_until_the_node_flushes() {
    let asked = Arc::new(AtomicU32::new(0));
    let mut socket = conversation(Talkative(Arc::clone(&asked)));
    socket.write_all(&[2, 0x42, 0].repeat(10)).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await; // until the server waits for us to read
    }
    assert_eq!(asked.load(Ordering::Relaxed), 6);
    socket.shutdown().await.unwrap();
    let mut replies = Vec::new();
    socket.read_to_end(&mut replies).await.unwrap();
    assert_eq!((asked.load(Ordering::Relaxed), replies.len() > 10 * (200 << 10)), (10, true));
}

/// Bytes no server should swallow, and a word of the exception. 6 cases.
#[tokio::test]
async fn bad_requests_get_an_exception_and_the_connection_closes() {
    let mut too_long = Vec::new();
    prost::encoding::encode_varint(REQUEST_BYTES_MAX as u64 + 1, &mut too_long);
    let cases: [(&[u8], &str); 6] = [
        (&[3, 0xff, 0xff, 0xff], "cannot be read"),
        (&[0], "cannot be read"),
        (&[2, 0x22, 0], "cannot be read"), // number 4 was set_option once
        (&too_long, "at most 134217728 are taken"),
        (&[0xff; 10], "takes more than 10 bytes"),
        (&[8, 0x42, 6, 0x0a, 4, b'f', b'a', b'i', b'l'], "disk full"),
    ];
    for (bytes, expected) in cases {
        let mut replies = BytesMut::from(&replies_to(Mirror, bytes).await[..]);
        let reply = take(&mut replies, REQUEST_BYTES_MAX).unwrap().unwrap();
        assert!(replies.is_empty(), "{bytes:?}: nothing follows the exception");
        let Ok(Response::Exception(text)) = decode_response(&reply) else { panic!("{bytes:?}: {reply:?}") };
        assert!(text.contains(expected), "{bytes:?}: {text}");
    }
}

/// Every method with a request of its own. 16 cases.
fn one_of_each() -> Vec<Request> {
    let hash = finalize(1, Vec::new()).hash;
    vec![
        Request::Echo("hello".to_owned()),
        Request::Flush,
        Request::Info(InfoRequest::default()),
        Request::InitChain(InitChainRequest {
            time: Time::UNIX_EPOCH,
            chain_id: "c".to_owned(),
            consensus_params: None,
            validators: Vec::new(),
            app_state_bytes: Bytes::new(),
            initial_height: Height::FIRST,
        }),
        Request::Query(QueryRequest::default()),
        Request::CheckTx(check("a=b")),
        Request::Commit,
        Request::ListSnapshots,
        Request::OfferSnapshot(OfferSnapshotRequest::default()),
        Request::LoadSnapshotChunk(LoadSnapshotChunkRequest::default()),
        Request::ApplySnapshotChunk(ApplySnapshotChunkRequest::default()),
        Request::PrepareProposal(PrepareProposalRequest {
            max_tx_bytes: 100,
            txs: vec![Bytes::from_static(b"a=b")],
            local_last_commit: ExtendedCommitInfo::default(),
            block: facts(1),
        }),
        Request::ProcessProposal(ProcessProposalRequest {
            txs: Vec::new(),
            proposed_last_commit: CommitInfo::default(),
            hash,
            block: facts(1),
        }),
        Request::ExtendVote(ExtendVoteRequest {
            hash,
            txs: Vec::new(),
            proposed_last_commit: CommitInfo::default(),
            block: facts(1),
        }),
        Request::VerifyVoteExtension(VerifyVoteExtensionRequest {
            hash,
            validator_address: facts(1).proposer_address,
            height: Height::FIRST,
            vote_extension: Bytes::new(),
        }),
        Request::FinalizeBlock(finalize(1, vec![Bytes::from_static(b"a=b")])),
    ]
}

struct Served {
    address: Address,
    stop: oneshot::Sender<()>,
    outcome: JoinHandle<Result<(), ServeError>>,
}

async fn serve(app: impl Application, address: &Address) -> Served {
    let server = Server::bind(address).await.unwrap();
    let address = server.address().clone();
    let (stop, stopped) = oneshot::channel();
    let outcome = tokio::spawn(server.serve(app, async { _ = stopped.await }));
    Served { address, stop, outcome }
}

impl Served {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.outcome.await.unwrap().unwrap();
    }
}

fn unix_address(home: &tempfile::TempDir) -> Address {
    Address::Unix(home.path().join("app.sock"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_is_answered_over_tcp_and_unix_on_every_connection() {
    let home = tempfile::tempdir().unwrap();
    for address in [unix_address(&home), Address::Tcp("127.0.0.1:0".to_owned())] {
        let served = serve(Noop, &address).await;
        let app = connect(served.address.clone(), Options::default()).await;
        for connection in [Connection::Consensus, Connection::Mempool, Connection::Query, Connection::Snapshot] {
            let requests = one_of_each();
            let methods: Vec<_> = requests.iter().map(Request::method).collect();
            let answers = app.call(connection, requests).await.unwrap();
            assert_eq!(answers.iter().map(|answer| answer.method()).collect::<Vec<_>>(), methods);
            assert_eq!(methods.len(), 16);
        }
        served.stop().await;
    }
}

#[tokio::test]
async fn a_socket_left_by_a_killed_program_is_replaced_and_removed_at_the_end() {
    let home = tempfile::tempdir().unwrap();
    let Address::Unix(path) = unix_address(&home) else { unreachable!() };
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "closing a listener leaves its file");
    let served = serve(Noop, &unix_address(&home)).await;
    served.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn an_address_in_use_is_refused_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    for address in [unix_address(&home), Address::Tcp("127.0.0.1:0".to_owned())] {
        let served = serve(Noop, &address).await;
        let error = Server::bind(&served.address).await.unwrap_err();
        let expected = "is in use: stop the program that listens there, or choose another address";
        assert_eq!(error.to_string(), format!("{} {expected}", served.address));
        served.stop().await;
    }
    let file = home.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let error = Server::bind(&Address::Unix(file.clone())).await.unwrap_err();
    assert!(error.to_string().contains("is not a socket"), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_told_to_the_node_and_ends_the_server() {
    let home = tempfile::tempdir().unwrap();
    let served = serve(Mirror, &unix_address(&home)).await;
    let app = connect(served.address.clone(), Options::default()).await;
    let error = app.call(Connection::Mempool, vec![Request::CheckTx(check("panic"))]).await.unwrap_err();
    assert_eq!(error.to_string(), "the application failed in check_tx: the application panicked in check_tx: told to");
    assert_eq!(app.closed().await.connection, Connection::Mempool);
    drop(app);
    let outcome = served.outcome.await.unwrap();
    assert!(matches!(outcome, Err(ServeError::Panicked(_))), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_outlives_its_application() {
    let home = tempfile::tempdir().unwrap();
    let address = unix_address(&home);
    let attempts = Arc::new(AtomicU32::new(0));
    let (absent, mut absent_seen) = tokio::sync::mpsc::unbounded_channel();
    let waiting = {
        let attempts = attempts.clone();
        move |waiting: &Waiting<'_>| {
            attempts.fetch_add(1, Ordering::Relaxed);
            absent.send(waiting.to_string()).ok();
        }
    };
    let options = Options { waiting: Arc::new(waiting), ..Options::default() };
    let connecting = tokio::spawn(connect(address.clone(), options));
    let line = absent_seen.recv().await.unwrap();
    assert!(line.starts_with(&format!("waiting for the application at {address} (")), "{line}");
    assert!(line.contains("; start it"), "{line}");

    let first = serve(Mirror, &address).await;
    let app = connecting.await.unwrap();
    app.call(Connection::Mempool, vec![check_of(1)]).await.unwrap();
    first.stop().await;
    app.closed().await;
    let error = app.call(Connection::Mempool, vec![check_of(2)]).await.unwrap_err();
    assert!(matches!(error, AppError::Gone { .. }), "{error}");

    let second = serve(Mirror, &address).await;
    app.reconnect().await;
    app.call(Connection::Consensus, vec![check_of(3)]).await.unwrap();
    assert!(attempts.load(Ordering::Relaxed) >= 1);
    drop(app);
    second.stop().await;
}

/// Addresses and what is made of them. 11 cases.
#[test]
fn addresses_are_read_as_cometbft_reads_them() {
    for (text, expected) in [
        ("tcp://127.0.0.1:26658", Some("tcp://127.0.0.1:26658")),
        ("127.0.0.1:26658", Some("tcp://127.0.0.1:26658")),
        ("tcp://[::1]:1", Some("tcp://[::1]:1")),
        ("unix:///run/app.sock", Some("unix:///run/app.sock")),
        ("unix://app.sock", Some("unix://app.sock")),
        ("unix://", None),
        ("tcp://localhost", None),
        ("tcp://:1", None),
        ("tcp://localhost:70000", None),
        ("grpc://localhost:1", None),
        ("http://localhost:1", None),
    ] {
        let address = text.parse::<Address>();
        assert_eq!(address.as_ref().ok().map(ToString::to_string).as_deref(), expected, "{text}: {address:?}");
        if let Err(error) = address {
            assert!(error.to_string().contains("write tcp://127.0.0.1:26658 or unix://"), "{error}");
        }
    }
}
