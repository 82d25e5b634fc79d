//! Where the RPC listens: `tcp://host:port` and `unix://path`, several joined by commas.

use super::raw_urls::Escaper;
use crate::http::listen_address;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_util::either::Either;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Not an address.
    #[error("rpc.laddr: {0:?} is not an address; write tcp://host:port or unix://path (comma between several)")]
    Malformed(String),
    /// Something else lies where the socket should be.
    #[error(
        "the RPC cannot listen on unix://{}: {what} lies there, not a socket. Move it away, or choose another path with \
         --rpc.laddr or [rpc] laddr in config.toml",
        .path.display()
    )]
    NotASocket {
        /// Where.
        path: PathBuf,
        /// A file, a directory or something else.
        what: &'static str,
    },
    /// The system refused.
    #[error("the RPC cannot listen on {address}: {why}. {remedy}")]
    Refused {
        /// The address.
        address: String,
        /// What the system said.
        why: io::Error,
        /// What to do.
        remedy: &'static str,
    },
}

/// An open address.
#[derive(Debug)]
pub struct Listener {
    door: Door,
    address: String,
}

#[derive(Debug)]
enum Door {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
    /// Panics when it is opened: what becomes of the node then?
    #[cfg(test)]
    Broken,
}

/// Opens every address of a comma list.
pub async fn bind(laddr: &str) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::new();
    for address in laddr.split(',').map(str::trim).filter(|address| !address.is_empty()) {
        listeners.push(bind_one(address).await?);
    }
    Ok(listeners)
}

async fn bind_one(address: &str) -> Result<Listener, ListenError> {
    let refused = |why: io::Error| ListenError::Refused { address: address.to_owned(), remedy: remedy(&why), why };
    if let Some(path) = address.strip_prefix("unix://") {
        if let Left::Socket = left_at(Path::new(path))?
            && UnixStream::connect(path).await.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
            std::fs::remove_file(path).map_err(refused)?;
        }
        let door = Door::Unix(UnixListener::bind(path).map_err(refused)?, path.into());
        return Ok(Listener { door, address: address.to_owned() });
    }
    let host = address.strip_prefix("tcp://").unwrap_or(address);
    if host.contains("://") || !host.contains(':') {
        return Err(ListenError::Malformed(address.to_owned()));
    }
    let listener = TcpListener::bind(listen_address(host).as_ref()).await.map_err(refused)?;
    let address = format!("tcp://{}", listener.local_addr().map_err(refused)?);
    Ok(Listener { door: Door::Tcp(listener), address })
}

/// What lies where a socket is wanted.
enum Left {
    Nothing,
    /// One that a stopped node left would block the address for ever; a live one answers.
    Socket,
}

fn left_at(path: &Path) -> Result<Left, ListenError> {
    // What cannot be looked at cannot be bound either, and then the system says why.
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(Left::Nothing) };
    let kind = found.file_type();
    if kind.is_socket() {
        return Ok(Left::Socket);
    }
    let what = if kind.is_dir() {
        "a directory"
    } else if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_file() {
        "an ordinary file"
    } else {
        "a device or pipe"
    };
    Err(ListenError::NotASocket { path: path.to_owned(), what })
}

fn remedy(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::AddrInUse => {
            "Another process has it: stop that, or choose another port with --rpc.laddr or [rpc] laddr in config.toml"
        }
        io::ErrorKind::PermissionDenied => {
            "Choose a port above 1023 or a directory this user may write, with --rpc.laddr or [rpc] laddr"
        }
        _ => "Correct --rpc.laddr or [rpc] laddr in config.toml",
    }
}

impl Listener {
    /// Where it really listens, `tcp://host:port` with the port the system chose for 0.
    pub fn address(&self) -> &str {
        &self.address
    }
}

#[cfg(test)]
impl Listener {
    /// Panics at the first call.
    pub(crate) fn broken() -> Listener {
        Listener { door: Door::Broken, address: String::new() }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Door::Unix(_, path) = self {
            let _gone_already = std::fs::remove_file(path);
        }
    }
}

/// A connection whose request lines are escaped on their way in.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Either<TcpStream, UnixStream>,
    escaper: Escaper,
    /// Read and escaped, not yet given to the server.
    escaped: Vec<u8>,
}

impl Connection {
    fn new(stream: Either<TcpStream, UnixStream>) -> Connection {
        Connection { stream, escaper: Escaper::default(), escaped: Vec::new() }
    }

    /// Gives out what was escaped; none when nothing waits.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> Option<()> {
        let count = self.escaped.len().min(buf.remaining());
        buf.put_slice(&self.escaped[..count]);
        self.escaped.drain(..count);
        (count > 0).then_some(())
    }
}

/// The other end, as subscription limits count it.
#[derive(Debug, Clone)]
pub(crate) struct Client(pub(crate) Arc<str>);

/// A listener as the server takes it.
#[derive(Debug)]
pub(crate) struct Open(pub(crate) Listener);

impl axum::serve::Listener for Open {
    type Io = Connection;
    type Addr = Client;

    async fn accept(&mut self) -> (Connection, Client) {
        match &mut self.0.door {
            Door::Tcp(listener) => {
                let (stream, address) = axum::serve::Listener::accept(listener).await;
                let _only_slower = stream.set_nodelay(true);
                (Connection::new(Either::Left(stream)), Client(address.to_string().into()))
            }
            Door::Unix(listener, path) => {
                let (stream, _) = axum::serve::Listener::accept(listener).await;
                (Connection::new(Either::Right(stream)), Client(path.display().to_string().into()))
            }
            #[cfg(test)]
            Door::Broken => panic!("planted"),
        }
    }

    fn local_addr(&self) -> io::Result<Client> {
        Ok(Client(self.0.address.as_str().into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.give(buf).is_some() {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        if this.escaper.passes() {
            return Poll::Ready(Ok(()));
        }
        this.escaper.feed(&buf.filled()[before..], &mut this.escaped);
        buf.set_filled(before);
        this.give(buf);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
