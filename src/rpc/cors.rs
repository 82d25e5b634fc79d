//! Which web pages may call: `rpc.cors_*`, by the rules of rs/cors, which CometBFT uses (reference §8.1).

use super::RpcConfig;
use axum::http::{HeaderName, HeaderValue, Method};
use std::str::FromStr;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// What is configured, and the sentences about what has no effect.
pub(super) struct Cors {
    /// None when no origin may call.
    pub(super) layer: Option<CorsLayer>,
    pub(super) complaints: Vec<String>,
}

impl Cors {
    pub(super) fn of(config: &RpcConfig) -> Cors {
        let mut complaints = Vec::new();
        if config.cors_allowed_origins.is_empty() {
            return Cors { layer: None, complaints };
        }
        let origin = if config.cors_allowed_origins.iter().any(|origin| origin == "*") {
            AllowOrigin::any()
        } else {
            let origins = read("cors_allowed_origins", &config.cors_allowed_origins, &mut complaints);
            AllowOrigin::predicate(move |origin, _| origins.iter().any(|allowed: &Origin| allowed.matches(origin)))
        };
        let methods: Vec<Method> = read("cors_allowed_methods", &config.cors_allowed_methods, &mut complaints);
        let headers: Vec<HeaderName> = read("cors_allowed_headers", &config.cors_allowed_headers, &mut complaints);
        let layer = CorsLayer::new().allow_origin(origin).allow_methods(methods).allow_headers(headers);
        Cors { layer: Some(layer), complaints }
    }
}

/// The items that can be read; a complaint about each other one.
fn read<T: FromStr>(key: &str, items: &[String], complaints: &mut Vec<String>) -> Vec<T> {
    let mut read = |item: &String| {
        let outcome = item.parse();
        if outcome.is_err() {
            complaints.push(format!("rpc.{key}: {item:?} allows nothing: correct it in [rpc] of config.toml"));
        }
        outcome.ok()
    };
    items.iter().filter_map(&mut read).collect()
}

/// `https://example.com`, or with one `*` in it for any text, in lower case.
#[derive(Debug)]
enum Origin {
    Exact(String),
    Between { before: String, after: String },
}

/// An origin no browser names: more than one `*`, or what is no visible ASCII.
#[derive(Debug)]
struct NoOrigin;

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Origin, NoOrigin> {
        let text = text.to_ascii_lowercase();
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NoOrigin);
        }
        match text.split_once('*') {
            None => Ok(Origin::Exact(text)),
            Some((_, after)) if after.contains('*') => Err(NoOrigin),
            Some((before, after)) => Ok(Origin::Between { before: before.to_owned(), after: after.to_owned() }),
        }
    }
}

impl Origin {
    fn matches(&self, origin: &HeaderValue) -> bool {
        let Ok(origin) = origin.to_str() else { return false };
        let origin = origin.to_ascii_lowercase();
        match self {
            Origin::Exact(allowed) => origin == *allowed,
            Origin::Between { before, after } => {
                origin.strip_prefix(before.as_str()).is_some_and(|rest| rest.ends_with(after.as_str()))
            }
        }
    }
}
