//! `GET /metrics` for Prometheus.

use super::Metrics;
use crate::http::{Bounds, listen_address};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use std::io;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Most connections at once when the configuration sets no limit: enough for any number of scrapers.
const CONNECTIONS_MAX: usize = 1000;
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Listens on `host:port`; an empty host means every interface, as in Go.
pub async fn bind(listen: &str) -> io::Result<TcpListener> {
    let address = listen_address(listen);
    TcpListener::bind(address.as_ref())
        .await
        .map_err(|why| io::Error::new(why.kind(), format!("cannot serve metrics on {address}: {why}")))
}

/// Serves the metrics until `stop`, to at most `connections` clients at once; the others wait.
pub async fn serve(listener: TcpListener, metrics: Metrics, connections: Option<u64>, stop: CancellationToken) {
    let limit = connections.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(CONNECTIONS_MAX);
    let answer = move || {
        let text = metrics.text();
        async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response() }
    };
    let router = Router::new().route("/metrics", get(answer));
    let bounds = Bounds { connections: limit.clamp(1, CONNECTIONS_MAX), head_bytes: HEAD_BYTES_MAX };
    crate::http::serve(listener, bounds, router, stop).await;
}
