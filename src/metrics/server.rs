//! `GET /metrics` for Prometheus.

use super::Metrics;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::Listener;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Most connections at once when the configuration sets no limit: enough for any number of scrapers.
const CONNECTIONS_MAX: usize = 1000;

/// Listens on `host:port`; an empty host means every interface, as in Go.
pub async fn bind(listen: &str) -> io::Result<TcpListener> {
    let address = if listen.starts_with(':') { format!("0.0.0.0{listen}") } else { listen.to_owned() };
    TcpListener::bind(&address)
        .await
        .map_err(|why| io::Error::new(why.kind(), format!("cannot serve metrics on {address}: {why}")))
}

/// Serves the metrics until `stop`, to at most `connections` clients at once; the others wait.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    connections: Option<u64>,
    stop: CancellationToken,
) -> io::Result<()> {
    let limit = connections.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(CONNECTIONS_MAX);
    let permits = Arc::new(Semaphore::new(limit.clamp(1, CONNECTIONS_MAX)));
    let answer = move || {
        let text = metrics.text();
        async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response() }
    };
    let router = Router::new().route("/metrics", get(answer));
    axum::serve(Limited { listener, permits }, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// A listener that accepts only while a permit is free.
struct Limited {
    listener: TcpListener,
    permits: Arc<Semaphore>,
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Connection { stream, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that gives its permit back when it closes.
struct Connection {
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
