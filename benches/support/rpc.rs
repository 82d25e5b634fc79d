//! What the benches of whole nodes share: a client of the RPC, and the CPU time of processes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub type Failure = Box<dyn std::error::Error + Send + Sync>;

pub fn request(method: &str, tx: &str, id: u64) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{"tx":"{tx}"}}}}"#)
}

pub fn commit(rpc: &str, tx: &str) -> Result<(), Failure> {
    let answer = Client::connect(rpc)?.post(&request("broadcast_tx_commit", &base64(tx.as_bytes()), 1))?;
    if count(&answer, b"\"error\"") > 0 {
        return Err(format!("the last transaction was not committed: {}", String::from_utf8_lossy(&answer)).into());
    }
    Ok(())
}

pub fn height(rpc: &str) -> Result<u64, Failure> {
    let answer = Client::connect(rpc)?.post(r#"{"jsonrpc":"2.0","id":1,"method":"status","params":{}}"#)?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (_, rest) = text.split_once("\"latest_block_height\":\"").ok_or("no height in /status")?;
    Ok(rest.split('"').next().unwrap_or("").parse()?)
}

pub fn count(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).filter(|window| *window == needle).count()
}

pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// User and system time of processes so far.
pub fn cpu(pids: &[u32]) -> Result<Duration, Failure> {
    let mut ticks = 0u64;
    for pid in pids {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let after_name = stat.rsplit_once(')').ok_or("an odd /proc/PID/stat")?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        ticks += fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    }
    Ok(Duration::from_millis(ticks * 10)) // Linux counts in hundredths of a second
}

/// A keep-alive HTTP connection.
pub struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(rpc: &str) -> Result<Client, Failure> {
        let stream = TcpStream::connect(rpc)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    pub fn post(&mut self, body: &str) -> Result<Vec<u8>, Failure> {
        let head = format!(
            "POST / HTTP/1.1\r\nHost: node\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.stream.get_mut().write_all([head.as_bytes(), body.as_bytes()].concat().as_slice())?;
        let mut body = Body::Unknown;
        let mut line = String::new();
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err("the node closed the connection".into());
            }
            let header = line.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                body = Body::Length(value.trim().parse()?);
            } else if header == "transfer-encoding: chunked" {
                body = Body::Chunked;
            }
        }
        match body {
            Body::Unknown => Err("an answer without a length".into()),
            Body::Length(length) => self.take(length),
            Body::Chunked => self.take_chunks(),
        }
    }

    fn take(&mut self, length: usize) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn take_chunks(&mut self) -> Result<Vec<u8>, Failure> {
        let mut whole = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim(), 16)?;
            whole.extend(self.take(length)?);
            self.take(2)?; // the line end behind a chunk
            if length == 0 {
                return Ok(whole);
            }
        }
    }
}

/// How an answer says where it ends.
enum Body {
    Unknown,
    Length(usize),
    Chunked,
}
