//! The HTTP side: POST and GET, headers, limits, health (reference §8.1).

use super::call::may_cache;
use super::cors::Cors;
use super::listen::Client;
use super::routes::{Access, Route, endpoints};
use super::wire::{RpcError, URI_ID, answer, join, parse_requests};
use super::{Shared, args, form, websocket};
use crate::http::BODY_WITHIN;
use crate::ports::Node;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Path, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use http_body_util::LengthLimitError;
use std::error::Error;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

type Pairs = Vec<(String, String)>;

/// All paths. Says in the log what of the configuration has no effect.
pub(super) fn router<N: Node>(shared: Arc<Shared<N>>) -> Router {
    let cors = Cors::of(&shared.config);
    for complaint in &cors.complaints {
        tracing::warn!("{complaint}");
    }
    let router = Router::new()
        .route("/", post(post_root::<N>).get(list::<N>))
        .route("/v1", post(post_root::<N>))
        .route("/websocket", get(websocket::upgrade::<N>))
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(ready::<N>))
        .route("/{route}", get(get_route::<N>).post(post_route::<N>))
        .fallback(async || not_found())
        .layer(middleware::map_response(stamp))
        .with_state(shared);
    match cors.layer {
        Some(layer) => router.layer(layer),
        None => router,
    }
}

/// Every answer says what time it is here.
async fn stamp(mut response: Response) -> Response {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    response.headers_mut().insert(HeaderName::from_static("x-server-time"), HeaderValue::from(seconds));
    response
}

fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// An answer that stays the same: whoever stands between may keep it for a day.
fn cacheable(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=86400"));
    response
}

fn refuse(status: StatusCode, error: RpcError) -> Response {
    json(status, answer(None, &Err(error)))
}

/// The whole body, or the answer that it is too large, too late or broken.
async fn body<N: Node>(shared: &Shared<N>, body: Body) -> Result<Bytes, Box<Response>> {
    let read = tokio::time::timeout(BODY_WITHIN, axum::body::to_bytes(body, shared.config.max_body_bytes)).await;
    let read = read.map_err(|_| {
        let why = format!("error reading request body: it did not come within {} s", BODY_WITHIN.as_secs());
        Box::new(refuse(StatusCode::REQUEST_TIMEOUT, RpcError::invalid_request(why)))
    })?;
    read.map_err(|error| {
        let too_large = error.source().is_some_and(|source| source.is::<LengthLimitError>());
        let max = shared.config.max_body_bytes;
        let what = if too_large {
            format!("http: request body too large (max_body_bytes is {max})")
        } else {
            error.to_string()
        };
        let why = format!("error reading request body: {what}");
        Box::new(refuse(StatusCode::BAD_REQUEST, RpcError::invalid_request(why)))
    })
}

async fn post_root<N: Node>(
    State(shared): State<Arc<Shared<N>>>,
    ConnectInfo(client): ConnectInfo<Client>,
    request: Request,
) -> Response {
    let host = host(request.headers());
    let body = match body(&shared, request.into_body()).await {
        Ok(body) => body,
        Err(response) => return *response,
    };
    if body.is_empty() {
        return page(endpoints(&host, &shared.config));
    }
    let requests = match parse_requests(&body) {
        Ok(requests) => requests,
        Err(why) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, RpcError::parse(why)),
    };
    let max = shared.config.max_request_batch_size;
    if max > 0 && requests.len() > max - usize::from(mutant!("Z100")) {
        let why = format!("batch request exceeds maximum ({max}) allowed number of requests");
        return refuse(StatusCode::OK, RpcError::invalid_request(why));
    }
    let answers = shared.call_all(&client.0, &requests).await;
    if answers.bodies.is_empty() {
        return Response::new(Body::empty());
    }
    let response = json(StatusCode::OK, join(answers.bodies));
    if answers.cacheable { cacheable(response) } else { response }
}

fn host(headers: &HeaderMap) -> String {
    headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost:26657").to_owned()
}

fn page(html: String) -> Response {
    let mut response = Response::new(Body::from(html));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

/// As Go's HTTP server says it.
fn not_found() -> Response {
    let mut response = Response::new(Body::from("404 page not found\n"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn list<N: Node>(State(shared): State<Arc<Shared<N>>>, headers: HeaderMap) -> Response {
    page(endpoints(&host(&headers), &shared.config))
}

async fn get_route<N: Node>(
    State(shared): State<Arc<Shared<N>>>,
    ConnectInfo(client): ConnectInfo<Client>,
    Path(name): Path<String>,
    Query(query): Query<Pairs>,
) -> Response {
    uri_call(&shared, &client, &name, Ok(query)).await
}

/// A form posted to a route counts as its query.
async fn post_route<N: Node>(
    State(shared): State<Arc<Shared<N>>>,
    ConnectInfo(client): ConnectInfo<Client>,
    Path(name): Path<String>,
    Query(mut query): Query<Pairs>,
    request: Request,
) -> Response {
    let form = match body(&shared, request.into_body()).await {
        Ok(form) => form,
        Err(response) => return *response,
    };
    let query = form::fields(&form).map(|fields| {
        query.extend(fields);
        query
    });
    uri_call(&shared, &client, &name, query).await
}

async fn uri_call<N: Node>(shared: &Shared<N>, client: &Client, name: &str, query: Result<Pairs, String>) -> Response {
    let failed = |status, error| json(status, answer(Some(&URI_ID), &Err(error)));
    let route = match shared.route(name) {
        Ok(route) => route,
        Err(error) if Route::find(name).is_some_and(|route| route.access() == Access::WebSocket) => {
            return failed(StatusCode::NOT_FOUND, error);
        }
        Err(_) => return not_found(),
    };
    let args = match query.and_then(|query| args::from_uri(route, &query)) {
        Ok(args) => args,
        Err(why) => {
            let why = format!("error converting http params to arguments: {why}");
            return failed(StatusCode::INTERNAL_SERVER_ERROR, RpcError::invalid_params(why));
        }
    };
    match shared.call(&client.0, route, &args).await {
        Ok(result) => {
            let response = json(StatusCode::OK, answer(Some(&URI_ID), &Ok(result)));
            if may_cache(route, &args) { cacheable(response) } else { response }
        }
        Err(why) => failed(StatusCode::INTERNAL_SERVER_ERROR, RpcError::internal(why)),
    }
}

/// 200 when every check is good, else 503; `?verbose` names them all.
async fn ready<N: Node>(State(shared): State<Arc<Shared<N>>>, Query(query): Query<Pairs>) -> Response {
    let checks = shared.node.health().await;
    let ready = checks.iter().all(|check| check.outcome.is_ok());
    let mut text = String::new();
    for check in checks.iter().filter(|check| check.outcome.is_err() || query.iter().any(|(key, _)| key == "verbose")) {
        match &check.outcome {
            Ok(()) => text += &format!("[+] {}: ok\n", check.name),
            Err(why) => text += &format!("[-] {}: {why}\n", check.name),
        }
    }
    text += if ready { "ready\n" } else { "not ready\n" };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
