//! HTTP/1 as both servers of the node need it: a bound on open connections, deadlines for whoever does not speak or does
//! not read, a stop in order.
//!
//! A connection counts until its socket is closed, also as a WebSocket. While as many are open as may be, the next one
//! waits in the system's queue; the deadlines are why it does not wait for ever.

use crate::polls::watched;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::borrow::Cow;
use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// For the head of a request: from the connection, or from the answer before, to the head's last byte. CometBFT's
/// `ReadHeaderTimeout` and, as Go has it, what bounds the silence between two requests (rpc/jsonrpc/server/http_server.go).
pub(crate) const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// For a request's body, once it is waited for: CometBFT's `ReadTimeout`.
pub(crate) const BODY_WITHIN: Duration = Duration::from_secs(10);
/// A client that takes nothing of its answer for so long does not read.
const WRITE_WITHIN: Duration = Duration::from_secs(10);

/// Bytes a second a client must take of what waits for it, after the first [`WRITE_WITHIN`]. Who takes a byte now and then
/// would keep the answer in memory and the connection from others for hours; CometBFT ends an answer after 10 s.
const RATE_MIN: u64 = 16 << 10;
/// The least hyper takes for the bound on a request's head.
const HEAD_BYTES_LEAST: usize = 8 << 10;

/// The address to listen on for `host:port`. An empty host means every interface, as in Go.
pub(crate) fn listen_address(host_port: &str) -> Cow<'_, str> {
    if host_port.starts_with(':') { format!("0.0.0.0{host_port}").into() } else { host_port.into() }
}

/// What clients may take of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Connections at once.
    pub(crate) connections: usize,
    /// Bytes of a request's head; a longer one is answered 431.
    pub(crate) head_bytes: usize,
}

/// Serves `router` within `bounds` until `stop`, then lets running requests end. Handlers find the other end's address as
/// [`ConnectInfo`].
pub(crate) async fn serve<L>(mut listener: L, bounds: Bounds, router: Router, stop: CancellationToken)
where
    L: Listener,
    L::Addr: Clone + Sync + 'static,
{
    let permits = Arc::new(Semaphore::new(bounds.connections.min(Semaphore::MAX_PERMITS)));
    let open = TaskTracker::new();
    let mut accept = async || {
        let permit = permits.clone().acquire_owned().await.expect("nobody closes this semaphore");
        let (io, from) = listener.accept().await;
        (Bounded::new(io, permit), from)
    };
    while let Some((io, from)) = stop.run_until_cancelled(accept()).await {
        open.spawn(watched("a client", converse(io, from, bounds, router.clone(), stop.clone())));
    }
    open.close();
    open.wait().await;
}

/// One connection. Whatever goes wrong with it, a panic of a handler included, ends it alone.
async fn converse<I, A>(io: Bounded<I>, from: A, bounds: Bounds, router: Router, stop: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Clone + Send + Sync + 'static,
{
    let service = TowerToHyperService::new(router);
    let answer = service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(from.clone()));
        service.call(request)
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    http.max_buf_size(bounds.head_bytes.max(HEAD_BYTES_LEAST));
    let mut connection = pin!(http.serve_connection(TokioIo::new(io), answer).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(why) = ended {
        tracing::debug!("a client's connection ended: {why}");
    }
}

/// A connection that counts as open until it is dropped, and fails when the other end does not read.
struct Bounded<I> {
    io: I,
    /// Runs while the system takes nothing more.
    stuck: Option<Pin<Box<Sleep>>>,
    /// Since when something waits for the client, and how many bytes of it were taken; none when nothing waits.
    behind: Option<(Instant, u64)>,
    _permit: OwnedSemaphorePermit,
}

impl<I> Bounded<I> {
    fn new(io: I, permit: OwnedSemaphorePermit) -> Bounded<I> {
        Bounded { io, stuck: None, behind: None, _permit: permit }
    }

    /// What a write came to. One that has to wait ends with an error when the client takes nothing for [`WRITE_WITHIN`], or
    /// less than [`RATE_MIN`] over all the time it has been behind.
    fn in_time(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(outcome) = written {
            self.stuck = None;
            if let (Some((_, taken)), Ok(bytes)) = (&mut self.behind, &outcome) {
                *taken = taken.saturating_add(*bytes as u64);
            }
            return Poll::Ready(outcome);
        }
        let now = Instant::now();
        let (since, taken) = *self.behind.get_or_insert((now, 0));
        let due = since + WRITE_WITHIN + Duration::from_millis(taken.saturating_mul(1000) / RATE_MIN);
        let deadline = || Box::pin(tokio::time::sleep_until(due.min(now + WRITE_WITHIN)));
        match self.stuck.get_or_insert_with(deadline).as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Bounded<I> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Bounded<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.in_time(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.io).poll_flush(cx));
        // Whoever writes here flushes when it has handed over all it has: the client is not behind any more.
        self.behind = None;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
