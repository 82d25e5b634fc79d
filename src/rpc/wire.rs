//! JSON-RPC requests and answers (reference §8.2).

use super::go_words;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What an answer repeats so that the client finds its question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Id {
    /// A whole number.
    Number(i64),
    /// A text.
    Text(String),
}

/// The id of every answer to a GET.
pub(crate) const URI_ID: Id = Id::Number(-1);

/// A request. Without an id it is a notification: nobody answers it.
#[derive(Debug)]
pub struct Request<'a> {
    /// Its id.
    pub id: Option<Id>,
    /// The route's name.
    pub method: Cow<'a, str>,
    /// Its arguments, not yet read.
    pub params: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct RawRequest<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

/// Reads one request or an array of them.
pub fn parse_requests(body: &[u8]) -> Result<Vec<Request<'_>>, String> {
    let is_array = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let raw: Result<Vec<Option<RawRequest<'_>>>, _> =
        if is_array { serde_json::from_slice(body) } else { serde_json::from_slice(body).map(|only| vec![only]) };
    let raw = raw.map_err(|error| format!("error unmarshaling request: {}", go_words::json_error(body, &error)))?;
    // To Go's parser null is a request with nothing in it: without an id nobody answers it.
    raw.into_iter().map(|raw| request(raw.unwrap_or_default())).collect()
}

fn request(raw: RawRequest<'_>) -> Result<Request<'_>, String> {
    let id = raw.id.filter(|id| id.get() != "null").map(|id| read_id(id.get())).transpose()?;
    Ok(Request { id, method: raw.method.unwrap_or_default(), params: raw.params })
}

fn read_id(raw: &str) -> Result<Id, String> {
    let wrong = |why: &str| format!("error unmarshaling request: {why}, got {raw}");
    if raw.starts_with('"') {
        return serde_json::from_str(raw).map(Id::Text).map_err(|_| wrong("json-rpc ID is not a text"));
    }
    let number: serde_json::Number =
        serde_json::from_str(raw).map_err(|_| wrong("json-rpc ID must be a string or a whole number"))?;
    if let Some(whole) = number.as_i64() {
        return Ok(Id::Number(whole));
    }
    match number.as_f64() {
        // 1.0 and 1e3 are whole numbers too; beyond 2^53 floats do not name one number.
        Some(float) if float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0 => Ok(Id::Number(float as i64)),
        Some(float) if float.fract() == 0.0 => Err(wrong("json-rpc ID out of int64 range")),
        _ => Err(wrong("json-rpc ID must be a whole number")),
    }
}

/// What went wrong, as the client is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RpcError {
    pub(crate) code: i32,
    pub(crate) message: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) data: String,
}

impl RpcError {
    pub(crate) fn parse(why: String) -> RpcError {
        RpcError { code: -32700, message: "Parse error. Invalid JSON", data: why }
    }

    pub(crate) fn invalid_request(why: String) -> RpcError {
        RpcError { code: -32600, message: "Invalid Request", data: why }
    }

    pub(crate) fn method_not_found() -> RpcError {
        RpcError { code: -32601, message: "Method not found", data: String::new() }
    }

    pub(crate) fn invalid_params(why: String) -> RpcError {
        RpcError { code: -32602, message: "Invalid params", data: why }
    }

    pub(crate) fn internal(why: String) -> RpcError {
        RpcError { code: -32603, message: "Internal error", data: why }
    }

    pub(crate) fn server(why: String) -> RpcError {
        RpcError { code: -32000, message: "Server error", data: why }
    }
}

/// An answer as JSON. `result` is JSON already.
pub(crate) fn answer(id: Option<&Id>, outcome: &Result<Vec<u8>, RpcError>) -> Vec<u8> {
    use crate::codec::json::to_bytes;
    let mut bytes = Vec::with_capacity(64 + outcome.as_ref().map_or(64, Vec::len));
    bytes.extend_from_slice(b"{\"jsonrpc\":\"2.0\",");
    if let Some(id) = id {
        bytes.extend_from_slice(b"\"id\":");
        bytes.extend_from_slice(&to_bytes(id));
        bytes.push(b',');
    }
    match outcome {
        Ok(result) => {
            bytes.extend_from_slice(b"\"result\":");
            bytes.extend_from_slice(result);
        }
        Err(error) => {
            bytes.extend_from_slice(b"\"error\":");
            bytes.extend_from_slice(&to_bytes(error));
        }
    }
    bytes.push(b'}');
    bytes
}

/// Several answers as one: an array, but a single one stands alone.
pub(crate) fn join(answers: Vec<Vec<u8>>) -> Vec<u8> {
    match <[Vec<u8>; 1]>::try_from(answers) {
        Ok([only]) => only,
        Err(answers) if answers.is_empty() => Vec::new(),
        Err(answers) => {
            let mut bytes = vec![b'['];
            bytes.extend_from_slice(&answers.join(&b","[..]));
            bytes.push(b']');
            bytes
        }
    }
}
