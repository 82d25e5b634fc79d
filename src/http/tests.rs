//! Clients that say nothing, half of something, or do not listen. Time is paused: it runs when everybody waits.

use super::*;
use axum::routing::{get, post};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Connections at once in these stories.
const OPEN_MAX: usize = 8;
const BOUNDS: Bounds = Bounds { connections: OPEN_MAX, head_bytes: 16 << 10 };
/// Longer than an answer takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than any system keeps for a socket that is not read.
const LARGE: usize = 64 << 20;

async fn server() -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = listener.local_addr().expect("bound");
    let stop = CancellationToken::new();
    let router = Router::new()
        .route("/", get(async || "here"))
        .route("/large", get(async || vec![b'x'; LARGE]))
        .route("/panic", get(async || -> &'static str { panic!("planted") }))
        .route("/from", post(async |ConnectInfo(from): ConnectInfo<SocketAddr>| from.to_string()));
    tokio::spawn(serve(listener, BOUNDS, router, stop.clone()));
    (at, stop)
}

async fn client(at: SocketAddr, says: &str) -> TcpStream {
    let mut client = TcpStream::connect(at).await.expect("it listens");
    client.write_all(says.as_bytes()).await.expect("writes");
    client
}

/// Asks and reads to the end of the connection.
async fn ask(at: SocketAddr, says: &str) -> String {
    let (mut answer, mut client) = (Vec::new(), client(at, says).await);
    let _reset_after_the_answer = client.read_to_end(&mut answer).await;
    String::from_utf8(answer).expect("text")
}

const ROOT: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn as_many_silent_clients_as_may_be_open_keep_the_next_one_waiting_for_ten_seconds_at_most() {
    for says in ["", "GET / HT", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"] {
        let (at, stop) = server().await;
        let mut silent = Vec::new();
        for _ in 0..OPEN_MAX {
            silent.push(client(at, says).await);
        }
        let begun = Instant::now();
        let answer = tokio::time::timeout(HEAD_WITHIN * 2, ask(at, ROOT)).await.expect("there is room in time");
        assert!(answer.ends_with("here"), "after {says:?}: {answer}");
        assert!(begun.elapsed() >= HEAD_WITHIN, "they were hung up on after {:?}", begun.elapsed());
        stop.cancel();
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_do_not_read_their_answers_make_room() {
    let (at, stop) = server().await;
    let mut deaf = Vec::new();
    for _ in 0..OPEN_MAX {
        deaf.push(client(at, "GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await);
    }
    let answer = tokio::time::timeout(WRITE_WITHIN * 2, ask(at, ROOT)).await.expect("there is room in time");
    assert!(answer.ends_with("here"), "{answer}");
    stop.cancel();
}

/// It takes something each time before the connection would end for want of that.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_a_little_now_and_then_does_not_keep_its_connection() {
    let (io, mut reader) = tokio::io::duplex(1024);
    let permits = Arc::new(Semaphore::new(1));
    let mut io = Bounded::new(io, permits.clone().acquire_owned().await.expect("open"));
    let begun = Instant::now();
    let writing = tokio::spawn(async move { io.write_all(&vec![b'x'; LARGE]).await });
    let reading = tokio::spawn(async move {
        let (mut some, mut now_and_then) = ([0; 512], tokio::time::interval(WRITE_WITHIN / 2));
        while reader.read(&mut some).await.is_ok_and(|count| count > 0) {
            now_and_then.tick().await;
        }
    });
    let ended = writing.await.expect("no panic").expect_err("it would take for ever");
    assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    assert!(begun.elapsed() < 2 * WRITE_WITHIN, "{:?}", begun.elapsed());
    reading.await.expect("it ends with the connection");
    assert_eq!(permits.available_permits(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_but_steadily_gets_all_of_its_answer() {
    let (io, mut reader) = tokio::io::duplex(64 << 10);
    let mut io = Bounded::new(io, Arc::new(Semaphore::new(1)).acquire_owned().await.expect("open"));
    let size = 4 << 20;
    let writing = tokio::spawn(async move { io.write_all(&vec![b'x'; size]).await });
    let (mut some, mut got) = (vec![0; 40 << 10], 0);
    let mut steadily = tokio::time::interval(Duration::from_secs(2));
    while got < size {
        got += reader.read(&mut some).await.expect("it goes on");
        steadily.tick().await;
    }
    writing.await.expect("no panic").expect("all is written");
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused() {
    let (at, stop) = server().await;
    let long = "x".repeat(32 << 10);
    let answer = ask(at, &format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nlong: {long}\r\n\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    stop.cancel();
}

#[tokio::test]
async fn a_handler_that_panics_ends_its_connection_alone_and_makes_room() {
    let (at, stop) = server().await;
    let mut other = client(at, "").await;
    for _ in 0..2 * OPEN_MAX {
        let asking = ask(at, "GET /panic HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_eq!(tokio::time::timeout(PATIENCE, asking).await.expect("there is room"), "");
    }
    other.write_all(b"POST /from HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("still open");
    let mut answer = String::new();
    other.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.ends_with(&other.local_addr().expect("bound").to_string()), "{answer}");
    stop.cancel();
}

#[tokio::test]
async fn a_stop_lets_a_running_request_end_and_closes_the_others() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let at = listener.local_addr().expect("bound");
    let (stop, begun, go_on) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let (began, wait) = (begun.clone(), go_on.clone());
    let slow = get(async move || {
        began.cancel();
        wait.cancelled().await;
        "done"
    });
    let server = tokio::spawn(serve(listener, BOUNDS, Router::new().route("/", slow), stop.clone()));
    let mut silent = client(at, "").await;
    let running = tokio::spawn(ask(at, ROOT));
    begun.cancelled().await;
    stop.cancel();
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0, "it is closed");
    assert!(!server.is_finished());
    go_on.cancel();
    let answer = running.await.expect("it ends");
    assert!(answer.ends_with("done"), "{answer}");
    server.await.expect("it ends");
}
