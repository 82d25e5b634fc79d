//! Histories as people write them: a line for each call.
//!
//! ```text
//! put 1  0..10     acknowledged
//! put 2  5..?      its fate is unknown
//! put 3  7..x      refused
//! get 2  20..30    got 2
//! get -  0..4      there was no value
//! ```

use super::{Call, Outcome};

/// Reads a history of key 0; `;` ends a line as well.
pub(super) fn history(text: &str) -> Vec<Call> {
    let lines = text.split([';', '\n']).map(str::trim).filter(|line| !line.is_empty());
    lines.enumerate().map(|(client, line)| call(client, line)).collect()
}

fn call(client: usize, line: &str) -> Call {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, value, span] = words[..] else { panic!("not a call: {line:?}") };
    let (invoked, end) = span.split_once("..").unwrap();
    let value = (value != "-").then(|| value.parse().unwrap());
    let outcome = match (name, value, end) {
        ("put", Some(value), "?") => Outcome::PutOpen { value },
        ("put", Some(value), "x") => Outcome::PutRefused { value },
        ("put", Some(value), end) => Outcome::Put { value, ended: end.parse().unwrap() },
        ("get", value, end) => Outcome::Got { value, ended: end.parse().unwrap() },
        _ => panic!("not a call: {line:?}"),
    };
    Call { client, key: 0, invoked: invoked.parse().unwrap(), outcome }
}
