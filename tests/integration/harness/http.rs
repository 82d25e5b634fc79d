//! A small HTTP client: one kept-alive connection, GET, POST, and JSON-RPC over both.

use super::{PATIENCE, base64, number};
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Largest answer a test expects.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Why a call gave no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No answer: the node is away or went away.
    #[expect(dead_code, reason = "read where a failure is printed")]
    Away(io::Error),
    /// The answer is an error of JSON-RPC.
    Refused(String),
}

/// A client of one node.
pub(crate) struct Client {
    address: String,
    /// Longest wait for an answer.
    patience: Duration,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    /// For `HOST:PORT`. Connects at the first request.
    pub(crate) fn new(address: &str) -> Client {
        Client::with_patience(address, PATIENCE)
    }

    /// The same, but it gives up sooner on a node that does not answer.
    pub(crate) fn with_patience(address: &str, patience: Duration) -> Client {
        Client { address: address.to_owned(), patience, stream: None }
    }

    /// Status and body of a GET.
    pub(crate) fn get(&mut self, path: &str) -> (u16, String) {
        self.try_get(path).unwrap_or_else(|error| panic!("GET {path} of {}: {error}", self.address))
    }

    pub(crate) fn try_get(&mut self, path: &str) -> io::Result<(u16, String)> {
        self.exchange(&format!("GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", self.address))
    }

    /// Status and body of a POST.
    pub(crate) fn post(&mut self, body: &str) -> io::Result<(u16, String)> {
        let head = format!(
            "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.exchange(&(head + body))
    }

    /// The `result` of a JSON-RPC call.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Result<Value, Failure> {
        self.call_many(&[(method, params.clone())])?.remove(0).map_err(Failure::Refused)
    }

    /// The `result` of a JSON-RPC call that must not fail.
    pub(crate) fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.call(method, params).unwrap_or_else(|failure| panic!("{method} {params}: {failure:?}"))
    }

    /// Sends a transaction, waits for its block and gives the height.
    pub(crate) fn try_commit(&mut self, tx: impl AsRef<[u8]>) -> Result<u64, Failure> {
        let answer = self.call("broadcast_tx_commit", &json!({"tx": base64(tx)}))?;
        let height = number(&answer["height"]);
        if height == 0 || answer["tx_result"]["code"] != json!(0) {
            return Err(Failure::Refused(answer.to_string()));
        }
        Ok(height)
    }

    /// The same for a transaction that must be committed.
    pub(crate) fn commit(&mut self, tx: impl AsRef<[u8]>) -> u64 {
        self.try_commit(tx).unwrap_or_else(|failure| panic!("not committed: {failure:?}"))
    }

    /// Several calls in one batch; results in order.
    pub(crate) fn call_many(&mut self, calls: &[(&str, Value)]) -> Result<Vec<Result<Value, String>>, Failure> {
        let request = |(id, (method, params)): (usize, &(&str, Value))| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let requests: Vec<Value> = calls.iter().enumerate().map(request).collect();
        let (_, body) = self.post(&Value::from(requests).to_string()).map_err(Failure::Away)?;
        let answers: Value =
            serde_json::from_str(&body).map_err(|error| Failure::Refused(format!("{error}: {body}")))?;
        // A batch of one is answered without brackets.
        let answers = match answers {
            Value::Array(answers) => answers,
            one => vec![one],
        };
        assert_eq!(answers.len(), calls.len(), "{answers:?}");
        let result = |(id, mut answer): (usize, Value)| {
            assert_eq!(answer["id"], json!(id));
            match answer.get("error") {
                Some(error) => Err(error.to_string()),
                None => Ok(answer["result"].take()),
            }
        };
        Ok(answers.into_iter().enumerate().map(result).collect())
    }

    fn exchange(&mut self, request: &str) -> io::Result<(u16, String)> {
        let answer = self.try_exchange(request);
        if answer.is_err() {
            self.stream = None;
        }
        answer
    }

    fn try_exchange(&mut self, request: &str) -> io::Result<(u16, String)> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(&self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(self.patience))?;
                self.stream.insert(BufReader::new(stream))
            }
        };
        stream.get_mut().write_all(request.as_bytes())?;
        read_answer(stream)
    }
}

fn read_answer(stream: &mut BufReader<TcpStream>) -> io::Result<(u16, String)> {
    let status = read_line(stream)?;
    let code = status.split(' ').nth(1).and_then(|code| code.parse().ok());
    let code = code.ok_or_else(|| io::Error::other(format!("not HTTP: {status:?}")))?;
    let mut length = 0;
    loop {
        let line = read_line(stream)?;
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            Some(_) => {}
            None => break,
        }
    }
    assert!(length <= BODY_BYTES_MAX, "an answer of {length} bytes");
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok((code, String::from_utf8(body).map_err(io::Error::other)?))
}

fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
