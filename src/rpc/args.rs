//! Arguments, from JSON and from URLs. The rules and texts are CometBFT's (reference §8.2): 64-bit numbers in JSON are
//! strings, bytes are base64 in JSON but `0x…` or a quoted literal in a URL.

use super::go_words;
use super::routes::Route;
use crate::codec::json::read::{self, Place};
use crate::types::Evidence;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Uint,
    Text,
    /// A text of letters that needs no quotes in a URL. Only our own arguments are.
    Word,
    Texts,
    Bytes,
    HexBytes,
    Bool,
    Evidence,
}

/// An argument.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Int(i64),
    Text(String),
    Texts(Vec<String>),
    Bytes(Vec<u8>),
    Bool(bool),
    Evidence(Box<Evidence>),
}

/// The arguments of one call, by position in the route's list; missing ones are none.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Args(Vec<Option<Value>>);

impl Args {
    /// A number, if given.
    pub(crate) fn int(&self, index: usize) -> Option<i64> {
        match self.0.get(index) {
            Some(Some(Value::Int(number))) => Some(*number),
            _ => None,
        }
    }

    /// A text; empty when missing.
    pub(crate) fn text(&self, index: usize) -> &str {
        match self.0.get(index) {
            Some(Some(Value::Text(text))) => text,
            _ => "",
        }
    }

    /// A list of texts; empty when missing.
    pub(crate) fn texts(&self, index: usize) -> &[String] {
        match self.0.get(index) {
            Some(Some(Value::Texts(texts))) => texts,
            _ => &[],
        }
    }

    /// Bytes; empty when missing.
    pub(crate) fn bytes(&self, index: usize) -> Vec<u8> {
        match self.0.get(index) {
            Some(Some(Value::Bytes(bytes))) => bytes.clone(),
            _ => Vec::new(),
        }
    }

    /// A switch; off when missing.
    pub(crate) fn flag(&self, index: usize) -> bool {
        matches!(self.0.get(index), Some(Some(Value::Bool(true))))
    }

    /// Evidence, if given.
    pub(crate) fn evidence(&self, index: usize) -> Option<&Evidence> {
        match self.0.get(index) {
            Some(Some(Value::Evidence(evidence))) => Some(evidence),
            _ => None,
        }
    }

    /// True when the first argument was given.
    pub(crate) fn first_given(&self) -> bool {
        matches!(self.0.first(), Some(Some(_)))
    }
}

/// CometBFT's arguments of a route, then ours.
fn all_args(route: Route) -> impl Iterator<Item = &'static (&'static str, Kind)> {
    route.args().iter().chain(route.own_args())
}

/// Reads the `params` of a request: an object by name, or an array by position.
pub(crate) fn from_json(route: Route, params: Option<&RawValue>) -> Result<Args, String> {
    let Some(params) = params else { return Ok(Args::default()) };
    if let Ok(by_name) = serde_json::from_str::<Option<BTreeMap<String, &RawValue>>>(params.get()) {
        let by_name = by_name.unwrap_or_default();
        let read =
            |(name, kind): &(&str, Kind)| by_name.get(*name).map_or(Ok(None), |raw| json_value(*kind, raw.get()));
        return all_args(route).map(read).collect::<Result<_, _>>().map(Args);
    }
    let unknown = |_| {
        let given = json_type(params.get());
        format!(
            "unknown type for JSON params: json: cannot unmarshal {given} into Go value of type []json.RawMessage. \
             Expected map or array"
        )
    };
    let list: Vec<&RawValue> = serde_json::from_str(params.get()).map_err(unknown)?;
    if list.len() != route.args().len() {
        let names: Vec<&str> = route.args().iter().map(|(name, _)| *name).collect();
        // As Go prints byte strings: `"1"` becomes `[34 49 34]`.
        let given: Vec<String> =
            list.iter().map(|raw| format!("{:?}", raw.get().as_bytes()).replace(", ", " ")).collect();
        return Err(format!(
            "expected {} parameters ([{}]), got {} ([{}])",
            names.len(),
            names.join(" "),
            given.len(),
            given.join(" ")
        ));
    }
    let read = |((_, kind), raw): (&(&str, Kind), &&RawValue)| json_value(*kind, raw.get());
    route.args().iter().zip(&list).map(read).collect::<Result<_, _>>().map(Args)
}

/// Reads the arguments of a GET: each by name from the decoded query of the URL.
pub(crate) fn from_uri(route: Route, query: &[(String, String)]) -> Result<Args, String> {
    let read = |(name, kind): &(&str, Kind)| {
        let given = query.iter().find(|(key, value)| key == name && !value.is_empty());
        given.map_or(Ok(None), |(_, text)| uri_value(*kind, text))
    };
    all_args(route).map(read).collect::<Result<_, _>>().map(Args)
}

fn json_value(kind: Kind, raw: &str) -> Result<Option<Value>, String> {
    if raw == "null" {
        return Ok(None);
    }
    let cannot = |go_type: &str| format!("json: cannot unmarshal {} into Go value of type {go_type}", json_type(raw));
    let text = |go_type: &str| serde_json::from_str::<String>(raw).map_err(|_| cannot(go_type));
    match kind {
        Kind::Int | Kind::Uint => integer(kind, raw).map(|number| Some(Value::Int(number))),
        Kind::Text | Kind::Word => Ok(Some(Value::Text(text("string")?))),
        Kind::Texts => texts(raw).map(|texts| Some(Value::Texts(texts))),
        Kind::Bool => Ok(Some(Value::Bool(serde_json::from_str(raw).map_err(|_| cannot("bool"))?))),
        Kind::Bytes => match serde_json::from_str::<Vec<u8>>(raw) {
            Ok(numbers) => Ok(Some(Value::Bytes(numbers))),
            Err(_) => go_words::base64(&text("[]uint8")?).map(|bytes| Some(Value::Bytes(bytes))),
        },
        Kind::HexBytes => {
            let text = serde_json::from_str::<String>(raw).map_err(|_| format!("invalid hex string: {raw}"))?;
            go_words::hex(&text).map(|bytes| Some(Value::Bytes(bytes)))
        }
        Kind::Evidence => {
            let place = Place::document("evidence", raw.as_bytes()).map_err(|error| error.to_string())?;
            let evidence = read::evidence(&place).map_err(|error| error.to_string())?;
            Ok(Some(Value::Evidence(Box::new(evidence))))
        }
    }
}

/// A list of texts, read as Go does: first as a list of anything, then each as text.
fn texts(raw: &str) -> Result<Vec<String>, String> {
    let cannot =
        |raw: &str, go_type: &str| format!("json: cannot unmarshal {} into Go value of type {go_type}", json_type(raw));
    let items: Vec<&RawValue> = serde_json::from_str(raw).map_err(|_| cannot(raw, "[]json.RawMessage"))?;
    let text = |item: &&RawValue| serde_json::from_str(item.get()).map_err(|_| cannot(item.get(), "string"));
    items.iter().map(text).collect()
}

/// A 64-bit number, which CometBFT's JSON writes in quotes.
fn integer(kind: Kind, raw: &str) -> Result<i64, String> {
    let Some(digits) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Err(format!("invalid 64-bit integer encoding {raw:?}, expected string"));
    };
    check_json(digits)?;
    let go_type = if kind == Kind::Uint { "uint" } else { "int64" };
    let number = digits.trim().parse::<i64>().ok().filter(|number| kind == Kind::Int || *number >= 0 || mutant!("Z98"));
    number
        .ok_or_else(|| format!("json: cannot unmarshal {} {digits} into Go value of type {go_type}", json_type(digits)))
}

fn check_json(text: &str) -> Result<(), String> {
    let read = serde_json::from_str::<&RawValue>(text);
    read.map(drop).map_err(|error| go_words::json_error(text.as_bytes(), &error))
}

fn json_type(raw: &str) -> &'static str {
    match raw.as_bytes().first() {
        Some(b'"') => "string",
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b't' | b'f') => "bool",
        _ => "number",
    }
}

fn uri_value(kind: Kind, text: &str) -> Result<Option<Value>, String> {
    if kind == Kind::Word && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(Some(Value::Text(text.to_owned())));
    }
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let is_number = !unsigned.is_empty() && unsigned.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && matches!(kind, Kind::Int | Kind::Uint) {
        return integer(kind, &format!("\"{text}\"")).map(|number| Some(Value::Int(number)));
    }
    if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return from_hex(kind, digits).map(Some);
    }
    let quoted = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    if quoted && matches!(kind, Kind::Bytes | Kind::HexBytes) {
        let literal: String = serde_json::from_str(text).map_err(|error| error.to_string())?;
        return Ok(Some(Value::Bytes(literal.into_bytes())));
    }
    if !matches!(kind, Kind::Int | Kind::Uint | Kind::HexBytes) {
        check_json(text)?; // the others are first asked whether they are quoted
    }
    json_value(kind, text)
}

fn from_hex(kind: Kind, digits: &str) -> Result<Value, String> {
    let bytes = go_words::hex(digits);
    match kind {
        Kind::Bytes | Kind::HexBytes => bytes.map(Value::Bytes),
        Kind::Text | Kind::Word => Ok(Value::Text(String::from_utf8_lossy(&bytes?).into_owned())),
        Kind::Int => Err("got a hex string arg, but expected 'int64'".to_owned()),
        Kind::Uint => Err("got a hex string arg, but expected 'uint'".to_owned()),
        Kind::Texts => Err("got a hex string arg, but expected 'slice'".to_owned()),
        Kind::Bool => Err("got a hex string arg, but expected 'bool'".to_owned()),
        Kind::Evidence => Err("got a hex string arg, but expected 'interface'".to_owned()),
    }
}
