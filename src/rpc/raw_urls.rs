//! URLs as people type them: `curl 'localhost:26657/abci_query?data="hello"'`.
//!
//! Go's HTTP server takes quotes, angle brackets and braces in a URL as they are, and CometBFT's documentation uses
//! them so; strict servers answer 400. This machine stands before ours and escapes such bytes in the target of every
//! GET, HEAD and POST. Everything else passes unchanged. It does not know where the body of a POST ends, so on a
//! connection that stays open nothing is escaped after the first POST: who sends more there escapes, as libraries do.

/// Longest prefix looked at to tell a method or a header name.
const WORD_MAX: usize = 8;

/// Escapes targets in a stream of HTTP/1 requests. Feed it what was read, in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Escaper {
    place: Place,
}

/// Where in the stream we are.
#[derive(Debug, Default)]
enum Place {
    /// Before or in a method.
    #[default]
    RequestStart,
    /// In a method, after these bytes.
    Method { word: [u8; WORD_MAX], len: usize },
    /// In a target.
    Target(Behind),
    /// Behind the target, up to the empty line.
    Head { line: Line, upgrade: Upgrade },
    /// Nothing is looked at any more: bodies, WebSockets.
    Rest,
}

/// What comes behind a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// A head, then the next request or another protocol.
    Head,
    /// A head, then a body.
    Body,
}

/// What is known of a header line.
#[derive(Debug, Default)]
struct Line {
    word: [u8; WORD_MAX],
    len: usize,
}

/// Whether the request asks for another protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    No,
    Asked,
}

impl Escaper {
    /// True when everything from here on passes unchanged.
    pub(super) fn passes(&self) -> bool {
        matches!(self.place, Place::Rest)
    }

    /// Appends to `out` what the server shall read.
    pub(super) fn feed(&mut self, read: &[u8], out: &mut Vec<u8>) {
        for (at, &byte) in read.iter().enumerate() {
            if matches!(self.place, Place::Rest) {
                out.extend_from_slice(&read[at..]);
                return;
            }
            self.place = std::mem::take(&mut self.place).after(byte, out);
        }
    }
}

impl Place {
    fn after(self, byte: u8, out: &mut Vec<u8>) -> Place {
        match self {
            Place::Target(behind) if is_raw(byte) => {
                out.extend_from_slice(b"%");
                out.extend_from_slice(hex::encode_upper([byte]).as_bytes());
                return Place::Target(behind);
            }
            _ => out.push(byte),
        }
        match self {
            Place::RequestStart if byte == b'\r' || byte == b'\n' => Place::RequestStart,
            Place::RequestStart => Place::Method { word: [byte, 0, 0, 0, 0, 0, 0, 0], len: 1 },
            Place::Method { word, len } if byte == b' ' => match &word[..len] {
                b"GET" | b"HEAD" => Place::Target(Behind::Head),
                b"POST" => Place::Target(Behind::Body),
                _ => Place::Rest,
            },
            Place::Method { len: WORD_MAX, .. } => Place::Rest,
            Place::Method { mut word, len } => {
                word[len] = byte;
                Place::Method { word, len: len + 1 }
            }
            Place::Target(behind) if byte == b' ' || byte == b'\n' => match behind {
                Behind::Head => Place::Head { line: Line { word: [0; WORD_MAX], len: 1 }, upgrade: Upgrade::No },
                Behind::Body => Place::Rest,
            },
            Place::Target(behind) => Place::Target(behind),
            Place::Head { line, upgrade } => head(line, upgrade, byte),
            Place::Rest => Place::Rest,
        }
    }
}

fn head(mut line: Line, upgrade: Upgrade, byte: u8) -> Place {
    match byte {
        b'\n' if line.len == 0 && upgrade == Upgrade::No => Place::RequestStart,
        b'\n' if line.len == 0 => Place::Rest,
        b'\n' => Place::Head { line: Line::default(), upgrade },
        b'\r' => Place::Head { line, upgrade },
        _ => {
            if let Some(place) = line.word.get_mut(line.len) {
                *place = byte.to_ascii_lowercase();
            }
            line.len = (line.len + 1).min(WORD_MAX + 1);
            let asked = line.len == WORD_MAX && &line.word == b"upgrade:";
            Place::Head { line, upgrade: if asked { Upgrade::Asked } else { upgrade } }
        }
    }
}

/// Bytes people type in URLs that RFC 3986 wants escaped.
fn is_raw(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'{' | b'}' | b'|' | b'\\' | b'^' | b'`') || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(stream: &str) -> String {
        let mut whole = Vec::new();
        Escaper::default().feed(stream.as_bytes(), &mut whole);
        let (mut bytewise, mut escaper) = (Vec::new(), Escaper::default());
        stream.bytes().for_each(|byte| escaper.feed(&[byte], &mut bytewise));
        assert_eq!(whole, bytewise, "pieces do not matter");
        String::from_utf8(whole).unwrap()
    }

    #[test]
    fn quotes_and_brackets_in_the_targets_of_get_head_and_post_are_escaped_and_nothing_else() {
        let cases = [
            ("GET /tx?q=\"a>5\" HTTP/1.1\r\nX: \"1\"\r\n\r\n", "GET /tx?q=%22a%3E5%22 HTTP/1.1\r\nX: \"1\"\r\n\r\n"),
            ("GET /a HTTP/1.1\r\n\r\nGET /?\" HTTP/1.1\r\n\r\n", "GET /a HTTP/1.1\r\n\r\nGET /?%22 HTTP/1.1\r\n\r\n"),
            ("POST /\" HTTP/1.1\r\n\r\n{\"a\":1}", "POST /%22 HTTP/1.1\r\n\r\n{\"a\":1}"),
            ("POST / HTTP/1.1\r\n\r\n\nGET /\" HTTP/1.1\r\n", "POST / HTTP/1.1\r\n\r\n\nGET /\" HTTP/1.1\r\n"),
            ("HEAD /\" HTTP/1.1\r\n\r\nGET /\" HTTP/1.1\r\n", "HEAD /%22 HTTP/1.1\r\n\r\nGET /%22 HTTP/1.1\r\n"),
            ("PUT /\" HTTP/1.1\r\n\r\n", "PUT /\" HTTP/1.1\r\n\r\n"),
            ("GET /%22é HTTP/1.1\r\n\r\n", "GET /%22%C3%A9 HTTP/1.1\r\n\r\n"),
            ("OPTIONS12345 /\" HTTP/1.1\r\n", "OPTIONS12345 /\" HTTP/1.1\r\n"),
        ];
        for (typed, expected) in cases {
            assert_eq!(escaped(typed), expected);
        }
    }

    #[test]
    fn after_an_upgrade_every_byte_passes() {
        let socket = "GET /websocket HTTP/1.1\r\nUpgrade: websocket\r\n\r\nGET \"frames\"";
        assert_eq!(escaped(socket), socket);
    }
}
