//! Where an application listens: `tcp://host:port` or `unix://path`.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// An address of the ABCI socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `host:port`.
    Tcp(String),
    /// Path of a Unix socket: on one machine the faster way, guarded by file permissions.
    Unix(PathBuf),
}

/// Text that is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an application's address: {why}; write tcp://127.0.0.1:26658 or unix:///run/app.sock")]
pub struct AddressError {
    /// The text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl FromStr for Address {
    type Err = AddressError;

    /// As CometBFT's `proxy_app`: without a scheme it is TCP.
    fn from_str(text: &str) -> Result<Address, AddressError> {
        let refuse = |why| Err(AddressError { text: text.to_owned(), why });
        match text.split_once("://") {
            Some(("unix", "")) => refuse("the path is missing"),
            Some(("unix", path)) => Ok(Address::Unix(PathBuf::from(path))),
            Some(("tcp", rest)) => host_and_port(rest).or_else(refuse),
            Some(("grpc", _)) => refuse("the gRPC transport is not supported"),
            Some(_) => refuse("only tcp and unix are known"),
            None => host_and_port(text).or_else(refuse),
        }
    }
}

fn host_and_port(text: &str) -> Result<Address, &'static str> {
    match text.rsplit_once(':') {
        None => Err("the port is missing"),
        Some(("", _)) => Err("the host is missing"),
        Some((_, port)) if port.parse::<u16>().is_err() => Err("the port is not a number from 0 to 65535"),
        Some(_) => Ok(Address::Tcp(text.to_owned())),
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host_and_port) => write!(f, "tcp://{host_and_port}"),
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// The two directions of a connection, whatever carries it.
pub(super) struct Duplex {
    pub(super) input: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) output: Box<dyn AsyncWrite + Send + Unpin>,
}

impl From<TcpStream> for Duplex {
    fn from(stream: TcpStream) -> Duplex {
        // Whole batches are written at once: waiting for more to send would only add delay. Failing is harmless.
        stream.set_nodelay(true).ok();
        let (input, output) = stream.into_split();
        Duplex { input: Box::new(input), output: Box::new(output) }
    }
}

impl From<UnixStream> for Duplex {
    fn from(stream: UnixStream) -> Duplex {
        let (input, output) = stream.into_split();
        Duplex { input: Box::new(input), output: Box::new(output) }
    }
}

impl Address {
    pub(super) async fn connect(&self) -> io::Result<Duplex> {
        Ok(match self {
            Address::Tcp(host_and_port) => TcpStream::connect(host_and_port).await?.into(),
            Address::Unix(path) => UnixStream::connect(path).await?.into(),
        })
    }
}
