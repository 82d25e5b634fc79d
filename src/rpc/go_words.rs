//! Wrong text in Go's words: clients of CometBFT read these errors, and its texts say where the text went wrong.

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

/// As Go reads base64: padding must be there, the bits it leaves unused may be anything.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&ALPHABET, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// Why `text` is not JSON, given what our parser said. Errors that are not about syntax keep our parser's words.
pub(super) fn json_error(text: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let line = text.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let column = error.column().saturating_sub(1);
    let (Some(byte), true) = (line.get(column), error.is_syntax()) else { return error.to_string() };
    let character = match byte {
        b'\'' => "\\'".to_owned(),
        other => char::from(*other).escape_default().to_string().replace("\\\"", "\""),
    };
    let words = error.to_string();
    let literal = match line.first() {
        Some(b't') => "true",
        Some(b'f') => "false",
        Some(b'n') => "null",
        _ => "",
    };
    let place = if words.starts_with("trailing characters") || words.starts_with("invalid number") {
        "after top-level value".to_owned()
    } else if let (true, Some(next)) = (words.starts_with("expected ident"), literal.chars().nth(column)) {
        format!("in literal {literal} (expecting '{next}')")
    } else {
        "looking for beginning of value".to_owned()
    };
    format!("invalid character '{character}' {place}")
}

/// Bytes of hex digits.
pub(super) fn hex(text: &str) -> Result<Vec<u8>, String> {
    hex::decode(text).map_err(|_| match text.bytes().find(|byte| !byte.is_ascii_hexdigit()) {
        Some(byte) if byte.is_ascii_graphic() => {
            format!("encoding/hex: invalid byte: U+{byte:04X} '{}'", char::from(byte))
        }
        Some(byte) => format!("encoding/hex: invalid byte: U+{byte:04X}"),
        None => "encoding/hex: odd length hex string".to_owned(),
    })
}

/// Bytes of base64, which may be broken into lines.
pub(super) fn base64(text: &str) -> Result<Vec<u8>, String> {
    let one_line = text.replace(['\r', '\n'], "");
    BASE64.decode(&one_line).map_err(|error| {
        let place = match error {
            base64::DecodeError::InvalidByte(place, _) => place,
            _ => one_line.trim_end_matches('=').len() / 4 * 4, // the group of four that is not whole
        };
        format!("illegal base64 data at input byte {place}")
    })
}

#[cfg(test)]
mod tests {
    use super::{base64, hex, json_error};

    #[test]
    fn what_is_wrong_with_a_text_is_said_as_go_says_it() {
        const JSON: [(&str, &str); 8] = [
            ("", "unexpected end of JSON input"),
            ("\"x", "unexpected end of JSON input"),
            ("abc", "invalid character 'a' looking for beginning of value"),
            ("'2'", "invalid character '\\'' looking for beginning of value"),
            ("02", "invalid character '2' after top-level value"),
            ("11e1f", "invalid character 'f' after top-level value"),
            ("tx.height>1", "invalid character 'x' in literal true (expecting 'r')"),
            ("{} {", "invalid character '{' after top-level value"),
        ];
        for (text, words) in JSON {
            let error = serde_json::from_str::<&serde_json::value::RawValue>(text).unwrap_err();
            assert_eq!(json_error(text.as_bytes(), &error), words, "{text}");
        }
        assert_eq!(hex("0g").unwrap_err(), "encoding/hex: invalid byte: U+0067 'g'");
        assert_eq!(hex("0").unwrap_err(), "encoding/hex: odd length hex string");
        assert_eq!(hex("0aF1").unwrap(), [0x0a, 0xf1]);
        assert_eq!(base64("!!").unwrap_err(), "illegal base64 data at input byte 0");
        assert_eq!(base64("AAAAAA").unwrap_err(), "illegal base64 data at input byte 4");
    }

    #[test]
    fn base64_with_line_breaks_or_stray_last_bits_is_read_as_go_reads_it() {
        assert_eq!(base64("YW\r\nJj\n").unwrap(), b"abc");
        assert_eq!(base64("YR==").unwrap(), b"a");
    }
}
