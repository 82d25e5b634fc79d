//! The end that is asked: a door with one question, `GET /forming?from=ADDRESS&seen=TOKEN`.
//!
//! Whoever has seen the newest statement waits for the next one, so that news travels at once and nobody polls. Anything
//! may knock: every request is short, has a deadline, and only so many are open at once.

use super::form::Event;
use crate::crypto::sha256;
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

/// The path of the question.
pub(super) const PATH: &str = "/forming";
/// How long an answer is held back until there is news; the asker then asks again.
pub(super) const NEWS_WITHIN: Duration = Duration::from_secs(20);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 4096;
/// How long a request may take to come, and an answer to be taken.
const EXCHANGE_WITHIN: Duration = Duration::from_secs(5);
/// Requests open at once: two for each member of the largest network.
const REQUESTS_MAX: usize = 128;
/// Pause after the system refuses a connection, which it does when it is short of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) json: Bytes,
    /// What names this version of it: its hash.
    pub(super) token: String,
}

impl Published {
    pub(super) fn new(json: Vec<u8>) -> Published {
        Published { token: token(&json), json: json.into() }
    }
}

/// The name of an answer.
pub(super) fn token(json: &[u8]) -> String {
    sha256(json).to_string()
}

/// Answers for as long as it is polled.
pub(super) async fn answer(
    listener: TcpListener,
    published: watch::Receiver<Published>,
    events: mpsc::Sender<Event>,
) -> io::Error {
    let places = Arc::new(Semaphore::new(REQUESTS_MAX));
    let mut requests = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return io::Error::other("the places for requests are closed");
        };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let (published, events) = (published.clone(), events.clone());
                    requests.spawn(async move {
                        // A request that fails is its sender's affair: it asks again.
                        let _ = exchange(stream, published, events).await;
                        drop(place);
                    });
                }
                Err(why) if why.kind() == io::ErrorKind::InvalidInput => return why,
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = requests.join_next() => {}
        }
    }
}

async fn exchange(
    mut stream: TcpStream,
    mut published: watch::Receiver<Published>,
    events: mpsc::Sender<Event>,
) -> io::Result<()> {
    let head = tokio::time::timeout(EXCHANGE_WITHIN, read_head(&mut stream)).await??;
    let Some(Question { from, seen }) = Question::parse(&head) else {
        let sorry = "HTTP/1.0 503 Service Unavailable\r\ncontent-type: text/plain\r\n\r\nthis node waits for the other \
                     nodes of its network; its log says for whom\n";
        return tokio::time::timeout(EXCHANGE_WITHIN, stream.write_all(sorry.as_bytes())).await?;
    };
    // Nobody listens any more only when forming is over.
    let _ = events.send(Event::Asked { from: from.clone() }).await;
    // No news in time, or no forming any more: the answer is what there is.
    drop(tokio::time::timeout(NEWS_WITHIN, published.wait_for(|now| now.token != seen)).await);
    let now = published.borrow().clone();
    let head =
        format!("HTTP/1.0 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", now.json.len());
    let whole = [head.as_bytes(), &now.json].concat();
    tokio::time::timeout(EXCHANGE_WITHIN, async {
        stream.write_all(&whole).await?;
        stream.shutdown().await
    })
    .await??;
    let _ = events.send(Event::Told { from, token: now.token }).await;
    Ok(())
}

/// Reads up to the empty line.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut rest = stream.take(HEAD_BYTES_MAX as u64);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if rest.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// Who asks, and what he has seen.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    from: String,
    seen: String,
}

impl Question {
    /// From a request's head; none when it asks something else.
    fn parse(head: &[u8]) -> Option<Question> {
        let line = std::str::from_utf8(head).ok()?.lines().next()?;
        let target = line.strip_prefix("GET ")?.split(' ').next()?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let value = |name: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next().unwrap_or_default()
        };
        (path == PATH).then(|| Question { from: value("from"), seen: value("seen") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_question_is_understood() {
        let question = |from: &str, seen: &str| Some(Question { from: from.to_owned(), seen: seen.to_owned() });
        for (head, expected) in [
            ("GET /forming?from=127.0.0.1:8080&seen=AB HTTP/1.0\r\n\r\n", question("127.0.0.1:8080", "AB")),
            ("GET /forming HTTP/1.1\r\nhost: x\r\n\r\n", question("", "")),
            ("GET /forming?seen HTTP/1.1\r\n\r\n", question("", "")),
            ("GET /status HTTP/1.0\r\n\r\n", None),
            ("POST /forming HTTP/1.0\r\n\r\n", None),
            ("\r\n\r\n", None),
        ] {
            assert_eq!(Question::parse(head.as_bytes()), expected, "{head:?}");
        }
        assert_eq!(Question::parse(&[0xff, 0xfe]), None);
    }
}
