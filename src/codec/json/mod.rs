//! CometBFT's JSON: 64-bit numbers as strings, hashes in upper-case hex, other bytes in base64, type tags around keys,
//! evidence and event data, Go's field names and Go's escaping (reference §2.3, §8.4).
//!
//! [`View`] lends a domain value to serde: `to_bytes(&View(&block))` writes the text at once, without a tree of values
//! in between. Lists are [`List`]; bare numbers and bytes are in [`scalar`].

pub mod abci;
pub mod chain;
pub mod genesis;
pub mod notice;
pub mod read;
pub mod scalar;

pub use scalar::{Base64, Hex, Int, Shown};

use serde::ser::{Serialize, SerializeSeq, Serializer};
use serde_json::ser::{CompactFormatter, Formatter};
use std::io;

/// A domain value in its JSON shape.
#[derive(Debug)]
pub struct View<'a, T: ?Sized>(pub &'a T);

/// A list of domain values in their JSON shapes; `[]` when empty.
#[derive(Debug)]
pub struct List<'a, T>(pub &'a [T]);

impl<'a, T> Serialize for List<'a, T>
where
    View<'a, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for item in self.0 {
            list.serialize_element(&View(item))?;
        }
        list.end()
    }
}

/// A list that Go writes as `null` when empty, because it decoded it from protobuf.
#[derive(Debug)]
pub struct ListOrNull<'a, T>(pub &'a [T]);

impl<'a, T> Serialize for ListOrNull<'a, T>
where
    View<'a, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() { serializer.serialize_none() } else { List(self.0).serialize(serializer) }
    }
}

/// The JSON text of a value, compact, with `<`, `>`, `&` and the two Unicode line ends escaped as Go does.
///
/// # Panics
/// When a `Serialize` implementation of ours fails; writing to memory does not.
pub fn to_bytes(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, GoFormatter);
    value.serialize(&mut serializer).expect("our values have text keys and memory takes every write");
    bytes
}

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (before, after) = rest.split_at(at);
            let special = after.chars().next().unwrap_or_default();
            CompactFormatter.write_string_fragment(writer, before)?;
            write!(writer, "\\u{:04x}", u32::from(special))?;
            rest = after.get(special.len_utf8()..).unwrap_or_default();
        }
        CompactFormatter.write_string_fragment(writer, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_as_go_escapes_it() {
        let text = to_bytes("a<b> & \"c\"\n\u{2028}é");
        assert_eq!(
            text,
            br#""a\u003cb\u003e \u0026 \"c\"\n\u2028"#.iter().chain("é\"".as_bytes()).copied().collect::<Vec<_>>()
        );
    }

    #[test]
    fn numbers_and_bytes_are_text() {
        assert_eq!(to_bytes(&Int(-5)), b"\"-5\"");
        assert_eq!(to_bytes(&Hex(&[0xab, 0x01])), b"\"AB01\"");
        assert_eq!(to_bytes(&Hex(&[])), b"\"\"");
        assert_eq!(to_bytes(&Base64(b"hi")), b"\"aGk=\"");
        assert_eq!(to_bytes(&Base64(b"")), b"null");
        assert_eq!(to_bytes(&Shown(&crate::types::Time::UNIX_EPOCH)), b"\"1970-01-01T00:00:00Z\"");
    }
}
