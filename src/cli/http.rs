//! Asking a node over RPC: one GET, one JSON answer, nothing kept open.

use crate::config::Address;
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A node on this machine accepts at once; one far away within this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A node answers from memory.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer read, in bytes: the largest block, in JSON.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// Nobody took the connection.
    #[error("{0}")]
    NoConnection(io::Error),
    /// Somebody did, but the answer is not a node's.
    #[error("{0}")]
    NoNode(String),
    /// The node answered with an error.
    #[error("the node says: {0}")]
    Refused(String),
}

/// Calls an RPC method without parameters and gives its `result`.
pub(super) fn ask(address: &Address, method: &str) -> Result<Value, AskError> {
    match address {
        Address::Tcp(host_port) => {
            let mut stream = connect(host_port).map_err(AskError::NoConnection)?;
            exchange(&mut stream, host_port, method)
        }
        Address::Unix(path) => {
            let mut stream = UnixStream::connect(path).map_err(AskError::NoConnection)?;
            let limit = Some(ANSWER_TIMEOUT);
            stream.set_read_timeout(limit).and_then(|()| stream.set_write_timeout(limit)).map_err(no_node)?;
            exchange(&mut stream, "localhost", method)
        }
    }
}

/// The start of a `curl` command for this address, up to the method's name; what follows ends with an apostrophe.
pub(super) fn curl(address: &Address) -> String {
    match address {
        Address::Tcp(host_port) => format!("curl 'http://{}/", reachable(host_port)),
        Address::Unix(path) => format!("curl --unix-socket {} 'http://localhost/", path.display()),
    }
}

/// A node that listens on every interface is asked on this one.
fn reachable(host_port: &str) -> String {
    match host_port.rsplit_once(':') {
        Some(("" | "0.0.0.0" | "[::]", port)) => format!("127.0.0.1:{port}"),
        _ => host_port.to_owned(),
    }
}

/// Connects to the first address of the name that answers.
fn connect(host_port: &str) -> io::Result<TcpStream> {
    let reachable = reachable(host_port);
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{reachable} has no address"));
    for address in reachable.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
                stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
                return Ok(stream);
            }
            Err(why) => last = why,
        }
    }
    Err(last)
}

/// HTTP 1.0: the answer comes whole, without chunks, and ends with the connection.
fn exchange(stream: &mut (impl Read + Write), host: &str, method: &str) -> Result<Value, AskError> {
    // In one piece: a formatted write would be a packet for each word.
    let request = format!("GET /{method} HTTP/1.0\r\nHost: {host}\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(no_node)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map_err(no_node)?;
    read_answer(&answer)
}

fn no_node(why: io::Error) -> AskError {
    AskError::NoNode(match why.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("something listens but did not answer within {} s", ANSWER_TIMEOUT.as_secs())
        }
        _ => why.to_string(),
    })
}

fn read_answer(answer: &[u8]) -> Result<Value, AskError> {
    let other = || AskError::NoNode("something else than a node answers there".to_owned());
    let split = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or_else(other)?;
    let (head, body) = answer.split_at(split + 4);
    if !head.starts_with(b"HTTP/1.") {
        return Err(other());
    }
    let mut json: Value = serde_json::from_slice(body).map_err(|_| other())?;
    if let Some(error) = json.get("error").filter(|error| !error.is_null()) {
        let field = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
        return Err(AskError::Refused(format!("{} {}", field("message"), field("data")).trim().to_owned()));
    }
    json.get_mut("result").map(Value::take).ok_or_else(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_what_is_none_is_said() {
        let ok = b"HTTP/1.0 200 OK\r\ncontent-type: x\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":-1,\"result\":{\"a\":1}}";
        assert_eq!(read_answer(ok).unwrap()["a"], 1);
        let refused =
            b"HTTP/1.0 500 X\r\n\r\n{\"error\":{\"code\":-32603,\"message\":\"Internal error\",\"data\":\"why\"}}";
        assert_eq!(read_answer(refused).unwrap_err().to_string(), "the node says: Internal error why");
        for other in
            [&b""[..], b"SSH-2.0", b"HTTP/1.0 200 OK\r\n\r\n<html>", b"HTTP/1.0 200 OK\r\n\r\n{}", b"\r\n\r\n{}"]
        {
            assert!(read_answer(other).unwrap_err().to_string().contains("something else"), "{other:?}");
        }
    }
}
