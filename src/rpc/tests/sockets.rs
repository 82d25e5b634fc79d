//! Over real connections: HTTP by hand, WebSocket by a client library.

use super::fake::{FakeNode, Submitted};
use crate::events::CAPACITY;
use crate::rpc::{RpcConfig, bind, serve};
use crate::types::{Height, Tx};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

struct Server {
    node: Arc<FakeNode>,
    address: String,
    shutdown: CancellationToken,
}

async fn server(submitted: Submitted) -> Server {
    let listeners = bind("tcp://127.0.0.1:0").await.expect("a free port");
    let address = listeners[0].address().trim_start_matches("tcp://").to_owned();
    let (node, shutdown) = (Arc::new(FakeNode::new(submitted)), CancellationToken::new());
    let config = RpcConfig {
        max_body_bytes: 10_000,
        max_subscriptions_per_client: 2,
        cors_allowed_origins: vec!["https://*.Example.com".to_owned(), "http://exact".to_owned()],
        ..RpcConfig::default()
    };
    tokio::spawn(serve(node.clone(), listeners, config, shutdown.clone()));
    Server { node, address, shutdown }
}

/// Status line with headers, and body.
async fn http(server: &Server, request: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(&server.address).await.expect("it listens");
    let text = format!(
        "{request} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.expect("writes");
    let mut answer = Vec::new();
    let _reset_after_the_answer = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    (head.to_lowercase(), body.to_owned())
}

#[tokio::test]
async fn eighteen_requests_over_http_get_status_headers_and_body() {
    let server = server(Submitted::Refused).await;
    let large = "x".repeat(10_001);
    let many = format!("[{}]", ["{\"id\":1,\"method\":\"health\"}"; 11].join(","));
    let enough = format!("[{}]", ["{\"id\":1,\"method\":\"health\"}"; 10].join(","));
    let cases: [(&str, &str, &str, &str); 18] = [
        ("GET /health", "", "200 ok", "{\"jsonrpc\":\"2.0\",\"id\":-1,\"result\":{}}"),
        ("GET /block?height=1", "", "cache-control: public, max-age=86400", "\"height\":\"1\""),
        ("GET /block?height=0", "", "500", "height must be greater than 0, but got 0"),
        ("GET /block?height=x", "", "500", "error converting http params to arguments"),
        ("GET /subscribe?query=%22a=1%22", "", "404", "-32601"),
        ("GET /nothing", "", "404", "404 page not found"),
        ("GET /nothing/at/all", "", "content-type: text/plain; charset=utf-8", "404 page not found"),
        ("POST /", "null", "content-length: 0", ""),
        ("GET /", "", "text/html", "Available endpoints"),
        ("GET /livez", "", "200 ok", "ok"),
        ("GET /readyz?verbose", "", "503", "[-] application: it is gone"),
        ("POST /", "{\"id\":1,\"method\":\"health\"}", "application/json", "\"id\":1,\"result\":{}"),
        ("POST /", "{\"method\":\"health\"}", "content-length: 0", ""),
        ("POST /", "{", "500", "-32700"),
        ("POST /", &large, "400", "http: request body too large (max_body_bytes is 10000)"),
        ("POST /", &enough, "200 ok", "\"id\":1,\"result\":{}"),
        ("POST /", &many, "200", "batch request exceeds maximum (10) allowed number of requests"),
        ("POST /block", "height=1", "200 ok", "\"height\":\"1\""),
    ];
    for (request, body, head, expected) in cases {
        let (answer_head, answer) = http(&server, request, body).await;
        assert!(answer_head.contains(head), "{request}: {answer_head}");
        assert!(answer.contains(expected), "{request}: {answer}");
        assert!(answer_head.contains("x-server-time: "), "{request}: {answer_head}");
    }
    server.shutdown.cancel();
}

#[tokio::test]
async fn a_transaction_in_a_posted_form_or_url_is_submitted_as_typed_or_not_at_all() {
    let server = server(Submitted::Stuck).await;
    let many = "a&".repeat(100) + "tx=\"a=b\"";
    let submit = "POST /broadcast_tx_sync";
    let submitted: [(&str, &str, &str); 7] = [
        (submit, "tx=\"a=b\"", "a=b"),
        (submit, "tx=\"a <b>#c\"&other=#", "a <b>#c"),
        (submit, "other&tx=%22a%2Bb+c%22", "a+b c"),
        (submit, "tx=0x613d62", "a=b"),
        ("POST /broadcast_tx_sync?tx=\"a=b\"", "", "a=b"),
        ("POST /broadcast_tx_sync?tx=\"<é>\"", "other=1", "<é>"),
        ("GET /broadcast_tx_sync?tx=\"a=b\"", "", "a=b"),
    ];
    for (request, form, tx) in submitted {
        let (_, answer) = http(&server, request, form).await;
        let hash = hex::encode_upper(Tx::new(tx.as_bytes().to_vec()).hash());
        assert!(answer.contains(&format!("\"hash\":\"{hash}\"")), "{request} {form}: {answer}");
    }
    let before = server.node.batches.lock().expect("no panic").len();
    let refused: [(&str, &str); 5] = [
        ("tx=\"100%\"", r#"invalid URL escape "%\"""#),
        ("tx=%22a%zz%22", r#"invalid URL escape "%zz""#),
        ("tx=\"a;b\"", "invalid semicolon separator in query"),
        ("--x\r\nContent-Disposition: form-data; name=\"tx\"\r\n\r\n\"a=b\"\r\n--x--", "invalid semicolon"),
        (&many, "a form of more than 100 fields"),
    ];
    for (form, why) in refused {
        let (head, answer) = http(&server, submit, form).await;
        assert!(head.starts_with("http/1.1 500"), "{form}: {head}");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let said = answer["error"]["data"].as_str().expect("why");
        assert!(said.starts_with(&format!("error converting http params to arguments: {why}")), "{said}");
    }
    assert_eq!(server.node.batches.lock().expect("no panic").len(), before, "nothing was submitted");
    let (head, _) = http(&server, "HEAD /abci_query?data=\"tx0\"", "").await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    server.shutdown.cancel();
}

#[tokio::test]
async fn web_pages_of_origins_with_a_wildcard_may_call_and_others_may_not() {
    let server = server(Submitted::Stuck).await;
    let cases = [
        ("https://a.example.com", "access-control-allow-origin: https://a.example.com\r\n"),
        ("https://a.b.example.com", "access-control-allow-origin: https://a.b.example.com\r\n"),
        ("http://exact", "access-control-allow-origin: http://exact\r\n"),
        ("https://example.com", ""),
        ("https://a.example.com.evil", ""),
        ("http://a.example.com", ""),
        ("http://exact.not", ""),
    ];
    for (origin, expected) in cases {
        let (head, _) = http(&server, &format!("GET /health HTTP/1.1\r\nOrigin: {origin}\r\nThe-Rest:"), "").await;
        assert!(head.starts_with("http/1.1 200"), "{origin}: {head}");
        assert_eq!(head.contains("access-control-allow-origin"), !expected.is_empty(), "{origin}: {head}");
        assert!(head.contains(expected), "{origin}: {head}");
    }
    server.shutdown.cancel();
}

#[tokio::test]
async fn a_websocket_subscribes_gets_events_and_is_told_when_the_node_stops() {
    let server = server(Submitted::Stuck).await;
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{}/websocket", server.address)).await.expect("connects");
    macro_rules! ask {
        ($id:expr, $method:expr, $query:expr) => {{
            let request = json!({"id": $id, "method": $method, "params": {"query": $query}});
            socket.send(Message::Text(request.to_string().into())).await.expect("sends");
            next!()
        }};
    }
    macro_rules! next {
        () => {{
            let message = socket.next().await.expect("open").expect("a message");
            serde_json::from_str::<Value>(message.to_text().expect("text")).expect("JSON")
        }};
    }
    assert_eq!(ask!(1, "subscribe", "tm.event='Tx'"), json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    assert_eq!(ask!(2, "subscribe", "tm.event = 'Tx'")["error"]["data"], "already subscribed");
    let malformed = ask!(3, "subscribe", "malformed query");
    let theirs = super::fake::recorded("incoming", "subscribe_malformed");
    assert_eq!(malformed["error"], theirs["error"]);
    let endless = format!("a='{}'", "x".repeat(512));
    assert_eq!(ask!(3, "subscribe", endless)["error"]["data"], "maximum query length exceeded");
    assert_eq!(ask!(4, "unsubscribe", "a=1")["error"]["data"], "subscription not found");
    assert_eq!(ask!(5, "subscribe", "app.key='tx0' AND tm.event='NewBlock'")["result"], json!({}));
    assert_eq!(ask!(6, "subscribe", "a=1")["error"]["data"], "max_subscriptions_per_client 2 reached");
    for turn in 0..50 {
        assert_eq!(ask!(turn, "unsubscribe", "tm.event='Tx'")["result"], json!({}));
        let again = ask!(1, "subscribe", "tm.event='Tx'");
        assert_eq!(again["result"], json!({}), "what was given back can be taken again: {again}");
    }
    assert_eq!(ask!(7, "health", "")["result"], json!({}));
    server.node.publish(Height::new(243), &[Tx::new(&b"tx0=value"[..])]);
    let event = next!();
    let mut theirs = super::fake::recorded("incoming", "subscribe_txs_0")["result"].clone();
    theirs["query"] = "tm.event='Tx'".into();
    assert_eq!((&event["id"], &event["result"]), (&json!(1), &theirs));
    assert_eq!(ask!(8, "unsubscribe_all", "")["result"], json!({}));
    assert_eq!(ask!("x", "subscribe", "tm.event='Tx'")["id"], "x");
    server.node.publish(Height::new(244), &[Tx::new(&b"tx0=value"[..])]);
    assert_eq!(next!()["id"], "x");
    server.shutdown.cancel();
    let error = next!()["error"].clone();
    assert_eq!(error["code"], -32000);
    assert_eq!(error["data"], "subscription was canceled (reason: CometBFT exited)");
}

#[tokio::test]
async fn a_subscription_that_missed_events_is_cancelled() {
    let server = server(Submitted::Stuck).await;
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{}/websocket", server.address)).await.expect("connects");
    let request = json!({"id": 1, "method": "subscribe", "params": {"query": "a.b='never'"}});
    socket.send(Message::Text(request.to_string().into())).await.expect("sends");
    let mut next = async || {
        let message = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.expect("it is told");
        let message = message.expect("open").expect("a message");
        serde_json::from_str::<Value>(message.to_text().expect("text")).expect("JSON")
    };
    assert_eq!(next().await["result"], json!({}));
    (0..2 * CAPACITY).for_each(|_| server.node.publish(Height::new(243), &[]));
    let why = "subscription was canceled (reason: internal subscription event buffer is out of capacity)";
    assert_eq!(next().await["error"]["data"], why);
    server.shutdown.cancel();
}

#[tokio::test]
async fn an_address_in_use_names_the_way_out() {
    let server = server(Submitted::Stuck).await;
    let error = bind(&format!("tcp://{}", server.address)).await.expect_err("it is in use").to_string();
    assert!(error.contains(&server.address) && error.contains("--rpc.laddr"), "{error}");
    let error = bind("http://127.0.0.1:1").await.expect_err("not an address").to_string();
    assert!(error.contains("tcp://host:port or unix://path"), "{error}");
    server.shutdown.cancel();
}

#[tokio::test]
async fn an_address_without_a_host_is_every_interface() {
    let listeners = bind("tcp://:0").await.expect("a free port");
    let port = listeners[0].address().strip_prefix("tcp://0.0.0.0:").expect("every interface");
    assert_ne!(port, "0");
}

#[tokio::test]
async fn a_socket_nobody_listens_at_is_replaced_and_anything_else_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let listen = async |name: &str| bind(&format!("unix://{}", path(name).display())).await;
    drop(std::os::unix::net::UnixListener::bind(path("left")).expect("binds"));
    let listening = listen("left").await.expect("the one before has gone");
    let error = listen("left").await.expect_err("somebody listens").to_string();
    assert!(error.contains("Another process has it"), "{error}");
    drop(listening);
    std::fs::write(path("file"), "precious").expect("writes");
    std::fs::create_dir(path("folder")).expect("creates");
    std::os::unix::fs::symlink(path("file"), path("link")).expect("links");
    for (name, what) in [("file", "an ordinary file"), ("folder", "a directory"), ("link", "a symbolic link")] {
        let error = listen(name).await.expect_err("no socket").to_string();
        assert!(error.contains(&format!("{what} lies there, not a socket. Move it away")), "{error}");
        assert!(error.contains(&format!("unix://{}", path(name).display())), "{error}");
    }
    assert_eq!(std::fs::read_to_string(path("link")).expect("both are still there"), "precious");
}

#[tokio::test]
async fn a_client_that_waits_for_its_block_is_told_when_the_node_stops() {
    let server = server(Submitted::Stuck).await;
    let address = server.address.clone();
    let waiting = tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let request = "GET /broadcast_tx_commit?tx=%22a=b%22 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    });
    while server.node.batches.lock().expect("no panic").is_empty() {
        tokio::task::yield_now().await;
    }
    let begun = tokio::time::Instant::now();
    server.shutdown.cancel();
    let answer = waiting.await.expect("it ends");
    assert!(answer.contains("subscription was canceled (reason: CometBFT exited)"), "{answer}");
    let most = RpcConfig::default().timeout_broadcast_tx_commit / 2;
    assert!(begun.elapsed() < most, "it waited for the timeout: {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_refused_after_ten_seconds() {
    let server = server(Submitted::Refused).await;
    let mut stream = TcpStream::connect(&server.address).await.expect("it listens");
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{").await.expect("writes");
    let begun = tokio::time::Instant::now();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer, then the end");
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("it did not come within 10 s"), "{answer}");
    let within = crate::http::BODY_WITHIN;
    assert!((within..2 * within).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    server.shutdown.cancel();
}
