//! The application's side of the ABCI socket: any number of pipelined connections to one application.

use super::address::{Address, Duplex};
use super::application::{Application, Failure};
use super::frames::{FrameError, Frames};
use super::hosted::Hosted;
use crate::codec::abci::{decode_request, encode_response};
use crate::types::abci::{Request, Response};
use bytes::BytesMut;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Largest request accepted: above the largest block (100 MiB) with its commit.
pub const REQUEST_BYTES_MAX: usize = 128 << 20;
/// Connections served at once; a node opens four. More wait in the system's backlog.
const CONNECTIONS_MAX: usize = 64;
/// Answers are sent when a Flush asks for them, when no request is waiting, or when this many bytes are owed.
const OWED_BYTES_MAX: usize = 1 << 20;
/// How long a connection that failed is kept half open, so that the exception arrives before the reset.
const LINGER: Duration = Duration::from_secs(1);
/// Pause after the system refused to accept a connection, which is nearly always for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why an application is not served, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody listens there.
    #[error("{address} is in use: stop the program that listens there, or choose another address")]
    InUse {
        /// Where.
        address: Address,
    },
    /// Something else lies where the socket should be.
    #[error("{} exists and is not a socket: remove it, or choose another address", .path.display())]
    NotASocket {
        /// Where.
        path: PathBuf,
    },
    /// The system refused to listen.
    #[error("cannot listen at {address}: {source}; choose another address, or make its directory writable")]
    Bind {
        /// Where.
        address: Address,
        /// What the system said.
        source: io::Error,
    },
    /// The application's state cannot be trusted any more.
    #[error("{0}; start it again: the node connects anew and repeats the blocks that are missing")]
    Panicked(String),
    /// No threads, no signal handlers.
    #[error("the system gave no means to serve: {0}")]
    Runtime(io::Error),
}

/// A socket that listens for nodes. Its file, if it has one, is removed when the server is dropped.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    address: Address,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Serves an application until Ctrl-C or SIGTERM. For programs without a runtime of their own: it brings one.
///
/// `ready` is called once, with the address as bound, when nodes can connect.
pub fn run(app: impl Application, address: &Address, ready: impl FnOnce(&Address)) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ServeError::Runtime)?;
    runtime.block_on(async {
        let server = Server::bind(address).await?;
        let shutdown = told_to_stop().map_err(ServeError::Runtime)?;
        ready(server.address());
        server.serve(app, shutdown).await
    })
}

fn told_to_stop() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

impl Server {
    /// Listens. The file of a Unix socket that nobody listens at any more is replaced. Port 0 takes any free port.
    pub async fn bind(address: &Address) -> Result<Server, ServeError> {
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ServeError::InUse { address: address.clone() },
            _ => ServeError::Bind { address: address.clone(), source },
        };
        match address {
            Address::Tcp(host_and_port) => {
                let listener = TcpListener::bind(host_and_port).await.map_err(refused)?;
                let address = Address::Tcp(listener.local_addr().map_err(refused)?.to_string());
                Ok(Server { listener: Listener::Tcp(listener), address })
            }
            Address::Unix(path) => {
                clear_the_way(path, address).await?;
                let listener = Listener::Unix(UnixListener::bind(path).map_err(refused)?);
                Ok(Server { listener, address: address.clone() })
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Serves the application until `shutdown` completes. Calls that run then are finished and answered. Ends early,
    /// with an error, when the application panics: what it holds in memory is then half changed.
    pub async fn serve(self, app: impl Application, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let hosted = Arc::new(Hosted::new(app));
        let stop = CancellationToken::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        while hosted.panicked().is_none() {
            let duplex = tokio::select! {
                () = &mut shutdown => break,
                Some(_ended) = connections.join_next() => continue,
                (duplex, place) = self.accept(places.clone()) => (duplex, place),
            };
            let (hosted, stop) = (hosted.clone(), stop.clone());
            connections.spawn(async move {
                let _place = duplex.1;
                converse(&hosted, duplex.0, &stop).await;
            });
        }
        stop.cancel();
        while connections.join_next().await.is_some() {}
        hosted.panicked().map_or(Ok(()), |message| Err(ServeError::Panicked(message.to_owned())))
    }

    async fn accept(&self, places: Arc<Semaphore>) -> (Duplex, tokio::sync::OwnedSemaphorePermit) {
        let place = places.acquire_owned().await.expect("the semaphore is never closed");
        loop {
            let accepted = match &self.listener {
                Listener::Tcp(listener) => listener.accept().await.map(|(stream, _)| stream.into()),
                Listener::Unix(listener) => listener.accept().await.map(|(stream, _)| stream.into()),
            };
            match accepted {
                Ok(duplex) => return (duplex, place),
                Err(error) => tracing::warn!("cannot accept a connection at {}: {error}", self.address),
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Address::Unix(path) = &self.address {
            std::fs::remove_file(path).ok(); // gone already, or replaced when the next server starts
        }
    }
}

/// Removes a socket file left by a program that was killed. One that somebody listens at stays.
async fn clear_the_way(path: &Path, address: &Address) -> Result<(), ServeError> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() && !mutant!("O97") {
        return Err(ServeError::NotASocket { path: path.to_owned() });
    }
    match UnixStream::connect(path).await {
        Ok(_answered) => Err(ServeError::InUse { address: address.clone() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|source| ServeError::Bind { address: address.clone(), source })
        }
        Err(source) => Err(ServeError::Bind { address: address.clone(), source }),
    }
}

// ---------------------------------------------------------------------------------------------- one connection

/// Why a connection ends before its peer closes it.
enum Ended {
    /// Nobody is there to be told.
    Broken(FrameError),
    /// To be said as an exception.
    Failed(Failure),
}

/// Answers requests in order until the peer closes, something fails, or the server stops.
pub(super) async fn converse(hosted: &Hosted, mut duplex: Duplex, stop: &CancellationToken) {
    let mut frames = Frames::new(&mut duplex.input, REQUEST_BYTES_MAX);
    match answer_all(hosted, &mut frames, &mut duplex.output, stop).await {
        Ok(()) => {}
        Err(Ended::Broken(error)) => tracing::debug!("a connection from the node ended: {error}"),
        Err(Ended::Failed(failure)) => {
            tracing::error!("closing a connection: {failure}");
            let mut owed = BytesMut::new();
            encode_response(&Response::Exception(failure.to_string()), &mut owed);
            if send(&mut duplex.output, &mut owed).await.is_ok() && duplex.output.shutdown().await.is_ok() {
                let mut nowhere = tokio::io::sink();
                let rest = tokio::io::copy(&mut duplex.input, &mut nowhere);
                tokio::time::timeout(LINGER, stop.run_until_cancelled(rest)).await.ok();
            }
        }
    }
}

async fn answer_all(
    hosted: &Hosted,
    frames: &mut Frames<impl AsyncRead + Unpin>,
    output: &mut (impl AsyncWrite + Unpin),
    stop: &CancellationToken,
) -> Result<(), Ended> {
    let mut owed = BytesMut::new();
    loop {
        let frame = match frames.buffered()? {
            Some(frame) => frame,
            None => {
                send(output, &mut owed).await?;
                let Some(next) = stop.run_until_cancelled(frames.next()).await else { return Ok(()) };
                let Some(frame) = next? else { return Ok(()) };
                frame
            }
        };
        let answered = match decode_request(&frame) {
            Ok(request) => {
                let flush = request == Request::Flush;
                hosted.ask(request).await.map(|answer| (answer, flush))
            }
            Err(error) => Err(Failure::new(format!("a request cannot be read: {error}"))),
        };
        match answered {
            Ok((answer, flush)) => {
                encode_response(&answer, &mut owed);
                if flush || (owed.len() >= OWED_BYTES_MAX && !mutant!("O96")) {
                    send(output, &mut owed).await?;
                }
            }
            Err(failure) => {
                if !mutant!("O99") {
                    send(output, &mut owed).await?;
                }
                return Err(Ended::Failed(failure));
            }
        }
    }
}

/// Writes what is owed in one piece.
async fn send(output: &mut (impl AsyncWrite + Unpin), owed: &mut BytesMut) -> Result<(), FrameError> {
    if !owed.is_empty() {
        output.write_all(owed).await?;
        output.flush().await?;
        owed.clear();
    }
    Ok(())
}

impl From<FrameError> for Ended {
    fn from(error: FrameError) -> Ended {
        match error {
            FrameError::NotAFrame(error) => Ended::Failed(Failure::new(format!("a request cannot be read: {error}"))),
            broken => Ended::Broken(broken),
        }
    }
}
