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
use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
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

/// Serves `router` to at most `connections` at once until `stop`, then lets running requests end. Handlers find the other
/// end's address as [`ConnectInfo`].
pub(crate) async fn serve<L>(mut listener: L, connections: usize, router: Router, stop: CancellationToken)
where
    L: Listener,
    L::Addr: Clone + Sync + 'static,
{
    let permits = Arc::new(Semaphore::new(connections.min(Semaphore::MAX_PERMITS)));
    let open = TaskTracker::new();
    let mut accept = async || {
        let permit = permits.clone().acquire_owned().await.expect("nobody closes this semaphore");
        let (io, from) = listener.accept().await;
        (Bounded::new(io, permit), from)
    };
    while let Some((io, from)) = stop.run_until_cancelled(accept()).await {
        open.spawn(watched("a client", converse(io, from, router.clone(), stop.clone())));
    }
    open.close();
    open.wait().await;
}

/// One connection. Whatever goes wrong with it, a panic of a handler included, ends it alone.
async fn converse<I, A>(io: Bounded<I>, from: A, router: Router, stop: CancellationToken)
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
    _permit: OwnedSemaphorePermit,
}

impl<I> Bounded<I> {
    fn new(io: I, permit: OwnedSemaphorePermit) -> Bounded<I> {
        Bounded { io, stuck: None, _permit: permit }
    }

    fn in_time<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let deadline = || Box::pin(tokio::time::sleep_until(Instant::now() + WRITE_WITHIN));
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
        let written = Pin::new(&mut self.io).poll_flush(cx);
        self.in_time(cx, written)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
