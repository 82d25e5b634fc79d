//! The end that asks: one task for each other member, over HTTP/1.0, so that an answer ends with its connection.

use super::address::NodeAddress;
use super::agree::Said;
use super::answer::{NEWS_WITHIN, PATH, token};
use super::form::Event;
use super::statement::Statement;
use crate::codec::json::genesis;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

/// For a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// For an answer: news may be held back for [`NEWS_WITHIN`].
const ANSWER_WITHIN: Duration = Duration::from_secs(NEWS_WITHIN.as_secs() + 5);
/// Bytes of an answer; the largest statement has about 20,000, the genesis of the largest network 40,000.
const ANSWER_BYTES_MAX: u64 = 1 << 20;
/// Pause before a silent node is asked again; doubled each time.
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// Longest such pause. A node that starts asks at once, which ends it.
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// Shortest time between two questions, to a node that always has news or always knocks.
const NEWS_APART: Duration = Duration::from_millis(50);
/// So many times in a row something else must answer before it counts: a node that stops or starts looks odd for a
/// moment.
const ODD_ANSWERS_MAX: u32 = 4;

/// What came of asking.
#[derive(Debug)]
pub(super) enum Heard {
    /// A node of this form.
    Said(Said),
    /// Nobody, and why not.
    Silence(String),
    /// Somebody, but no node of this form.
    SomethingElse(String),
}

/// One answer.
enum Answer {
    Statement { statement: Box<Statement>, token: String },
    Runs(Said),
    Silence(String),
    Odd(String),
}

/// Asks one node until it was found not to be one. `knocked` ends a pause early.
pub(super) async fn keep_asking(
    peer: NodeAddress,
    own: NodeAddress,
    knocked: Arc<Notify>,
    events: mpsc::Sender<Event>,
) {
    let (mut seen, mut pause, mut odd) = (String::new(), PAUSE_MIN, 0);
    let tell = async |heard| events.send(Event::Heard { from: peer.clone(), heard }).await.is_ok();
    loop {
        let heard = match ask(&peer, &own, &seen).await {
            Answer::Statement { statement, token } => {
                if token != seen && !tell(Heard::Said(Said::Statement(statement))).await {
                    return;
                }
                (seen, pause, odd) = (token, PAUSE_MIN, 0);
                tokio::time::sleep(NEWS_APART).await;
                continue;
            }
            // When its chain is another, it may be started again with another line.
            Answer::Runs(said) => {
                odd = 0;
                Heard::Said(said)
            }
            Answer::Odd(why) if odd + 1 == ODD_ANSWERS_MAX => {
                tell(Heard::SomethingElse(why)).await;
                return;
            }
            Answer::Odd(why) => {
                odd += 1;
                Heard::Silence(why)
            }
            Answer::Silence(why) => {
                odd = 0;
                Heard::Silence(why)
            }
        };
        if !tell(heard).await {
            return;
        }
        seen.clear();
        tokio::time::sleep(NEWS_APART).await;
        // Over when the pause is, or when the peer has asked us: then it is there.
        let _ = tokio::time::timeout(pause, knocked.notified()).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn ask(peer: &NodeAddress, own: &NodeAddress, seen: &str) -> Answer {
    let rpc = peer.rpc();
    let reply = match get(&rpc, &format!("{PATH}?from={own}&seen={seen}")).await {
        Ok(reply) => reply,
        Err(Failed::Nobody) if is_open(&peer.to_string()).await => {
            return Answer::Odd(format!("something listens there, but nothing at {rpc}, where its clients would call"));
        }
        Err(Failed::Nobody) => return Answer::Silence("nobody answers there yet".to_owned()),
        Err(Failed::Broken(why)) => return Answer::Silence(why),
        Err(Failed::Closed) => return Answer::Odd(format!("what listens at {rpc} hangs up when it is asked")),
        Err(Failed::NotHttp) => return Answer::Odd(format!("what answers at {rpc} does not speak HTTP")),
    };
    match reply.status {
        200 => match Statement::parse(&reply.body) {
            Ok(statement) => Answer::Statement { statement: Box::new(statement), token: token(&reply.body) },
            Err(why) => Answer::Odd(format!("what answers at {rpc} is no node of this program's version: {why}")),
        },
        // A node that runs does not know the question any more.
        404 => ask_running(&rpc).await,
        503 => Answer::Silence("it is not ready".to_owned()),
        status => Answer::Odd(format!("an HTTP server of another kind answers at {rpc}, with status {status}")),
    }
}

/// The part of the RPC's answer that counts.
#[derive(Deserialize)]
struct GenesisAnswer<'a> {
    #[serde(borrow)]
    result: Option<GenesisResult<'a>>,
    error: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct GenesisResult<'a> {
    #[serde(borrow)]
    genesis: &'a RawValue,
}

async fn ask_running(rpc: &str) -> Answer {
    let other = || Answer::Odd(format!("an HTTP server of another kind answers at {rpc}"));
    let reply = match get(rpc, "/genesis").await {
        Ok(reply) => reply,
        Err(Failed::NotHttp) => return other(),
        Err(Failed::Nobody | Failed::Broken(_) | Failed::Closed) => {
            return Answer::Silence("it stopped answering".to_owned());
        }
    };
    match serde_json::from_slice::<GenesisAnswer<'_>>(&reply.body) {
        Ok(GenesisAnswer { result: Some(result), .. }) => match genesis::parse(result.genesis.get().as_bytes()) {
            Ok(document) => Answer::Runs(Said::Runs(Box::new(document))),
            Err(_) => other(),
        },
        Ok(GenesisAnswer { error: Some(_), .. }) => Answer::Silence("it is starting".to_owned()),
        _ => other(),
    }
}

// ------------------------------------------------------------------------------------------------------------- HTTP

struct Reply {
    status: u16,
    body: Vec<u8>,
}

enum Failed {
    /// No connection.
    Nobody,
    /// A connection, but no answer in time.
    Broken(String),
    /// A connection that was ended instead of answered.
    Closed,
    /// An answer in another language.
    NotHttp,
}

/// True when a connection can be made.
async fn is_open(address: &str) -> bool {
    tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address)).await.is_ok_and(|opened| opened.is_ok())
}

async fn get(address: &str, target: &str) -> Result<Reply, Failed> {
    let connected = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(address)).await;
    let Ok(Ok(mut stream)) = connected else { return Err(Failed::Nobody) };
    let exchange = async {
        let request = format!("GET {target} HTTP/1.0\r\nhost: {address}\r\naccept: application/json\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    match tokio::time::timeout(ANSWER_WITHIN, exchange).await {
        Err(_) => Err(Failed::Broken(format!("it takes connections but did not answer in {ANSWER_WITHIN:?}"))),
        Ok(Err(_)) => Err(Failed::Closed),
        Ok(Ok(answer)) if answer.is_empty() => Err(Failed::Closed),
        Ok(Ok(answer)) => read_reply(&answer).ok_or(Failed::NotHttp),
    }
}

fn read_reply(answer: &[u8]) -> Option<Reply> {
    if answer.len() as u64 > ANSWER_BYTES_MAX {
        return None;
    }
    let split = answer.windows(4).position(|end| end == b"\r\n\r\n")?;
    let (head, body) = answer.split_at(split + 4);
    let line = std::str::from_utf8(head).ok()?.lines().next()?;
    let status = line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, body: body.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_and_what_is_none_is_told_apart() {
        let reply = read_reply(b"HTTP/1.0 404 Not Found\r\na: b\r\n\r\n404 page").unwrap();
        assert_eq!((reply.status, reply.body.as_slice()), (404, b"404 page".as_slice()));
        for other in [&b""[..], b"SSH-2.0-x\r\n\r\n", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 many\r\n\r\n", b"HTTP/1.1 200"]
        {
            assert!(read_reply(other).is_none(), "{other:?}");
        }
        assert!(read_reply(&vec![b'x'; ANSWER_BYTES_MAX as usize + 1]).is_none());
    }
}
