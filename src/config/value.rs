//! What a key may hold: its kind, the text a person wrote, the checked value.

use super::duration::{format_duration, parse_duration};
use super::settings::{Application, LogLevels, Peer};
use crate::types::NodeId;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A checked value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `true`, `false`.
    Bool(bool),
    /// A whole number, never negative.
    Number(u64),
    /// A Go duration.
    Duration(Duration),
    /// Text, of the form its kind demands.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
}

impl fmt::Display for Value {
    /// As it stands in config.toml.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Number(value) => write!(f, "{value}"),
            Value::Duration(value) => write!(f, "\"{}\"", format_duration(*value)),
            Value::Text(value) => write!(f, "{value:?}"),
            Value::List(values) => write!(f, "{values:?}"),
        }
    }
}

/// What a key may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number from the first to the second.
    Number(u64, u64),
    /// A duration from the first to the second, in milliseconds.
    Duration(u64, u64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Any text of at most so many characters.
    Text(usize),
    /// A list of texts, or one text with commas.
    List,
    /// A path, absolute or below the home.
    Path,
    /// Addresses to listen on: none, or a comma list of `tcp://host:port` and `unix://path`.
    Listen,
    /// `host:port`, the host may be missing.
    HostPort,
    /// The application: an address or the name of a built-in one.
    Application,
    /// A comma list of `id@host:port`.
    Peers,
    /// A comma list of node ids.
    NodeIds,
    /// `level` or `module:level,…,*:level`.
    LogLevels,
    /// SHA-256 in hexadecimal, or nothing.
    Hash,
    /// A word of letters, digits and `_`, as Prometheus wants it.
    MetricWord,
    /// Nothing but the empty text: what CometBFT offers here is not in this version. The text says what to do instead.
    Unsupported(&'static str),
}

impl Kind {
    /// Reads the text of a flag, an environment variable or a string in config.toml.
    pub fn parse(self, text: &str) -> Option<Value> {
        let text = text.trim();
        match self {
            Kind::Bool => bool::from_str(text).ok().map(Value::Bool),
            Kind::Number(min, max) => {
                text.parse().ok().filter(|number| (min..=max).contains(number)).map(Value::Number)
            }
            Kind::Duration(min, max) => {
                let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
                parse_duration(text).filter(|duration| (min..=max).contains(duration)).map(Value::Duration)
            }
            Kind::List => Some(Value::List(split_list(text).map(str::to_owned).collect())),
            _ => self.accepts_text(text).then(|| Value::Text(text.to_owned())),
        }
    }

    fn accepts_text(self, text: &str) -> bool {
        match self {
            Kind::OneOf(words) => words.contains(&text),
            Kind::Text(chars_max) => text.chars().count() <= chars_max && !text.contains(char::is_control),
            Kind::Path => !text.is_empty() && !text.contains('\0'),
            Kind::Listen => split_list(text).all(|item| Address::from_str(item).is_ok()),
            Kind::HostPort => host_port(text).is_some(),
            Kind::Application => Application::from_str(text).is_ok(),
            Kind::Peers => split_list(text).all(|item| Peer::from_str(item).is_ok()),
            Kind::NodeIds => split_list(text).all(|item| NodeId::from_str(item).is_ok()),
            Kind::LogLevels => LogLevels::from_str(text).is_ok(),
            Kind::Hash => text.is_empty() || hex::decode(text).is_ok_and(|bytes| bytes.len() == 32),
            Kind::MetricWord => {
                text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            }
            Kind::Unsupported(_) => text.is_empty(),
            Kind::Bool | Kind::Number(..) | Kind::Duration(..) | Kind::List => false,
        }
    }

    /// The range in words, with an example where one helps.
    pub fn expected(self) -> String {
        let text = match self {
            Kind::Bool => "true or false",
            Kind::Number(min, max) => return format!("a whole number from {min} to {max}"),
            Kind::Duration(min, max) => {
                let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
                let range = format!("{} to {}", format_duration(min), format_duration(max));
                return format!("a duration from {range}, in quotes, such as \"500ms\" or \"1m30s\"");
            }
            Kind::OneOf(words) => return format!("one of {}", quoted(words)),
            Kind::Text(chars_max) => return format!("text of at most {chars_max} printable characters"),
            Kind::List => "a list of texts, such as [\"GET\", \"POST\"]",
            Kind::Path => "a path, absolute or below the home",
            Kind::Listen => "tcp://HOST:PORT or unix://PATH, several separated by commas, or \"\" for none",
            Kind::HostPort => "HOST:PORT or :PORT, with a port from 0 to 65535",
            Kind::Application => "tcp://HOST:PORT, unix://PATH, or built in: kvstore, persistent_kvstore, noop",
            Kind::Peers => "a comma list of ID@HOST:PORT, where ID has 40 hexadecimal digits",
            Kind::NodeIds => "a comma list of node ids of 40 hexadecimal digits",
            Kind::LogLevels => "LEVEL or MODULE:LEVEL,…,*:LEVEL, with debug, info, warn, error or none as LEVEL",
            Kind::Hash => "64 hexadecimal digits, or \"\"",
            Kind::MetricWord => "letters, digits and _, beginning with a letter",
            Kind::Unsupported(instead) => return format!("\"\", because {instead}"),
        };
        text.to_owned()
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().filter(|word| !word.is_empty()).map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", ")
}

/// The items of a comma list, trimmed, empty ones left out.
pub(super) fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// `HOST:PORT`; the host may be missing. IPv6 hosts stand in brackets.
pub(super) fn host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let legal = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    let inner_legal = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.' | '%');
    let fits = if bracketed { host[1..host.len() - 1].chars().all(inner_legal) } else { host.chars().all(legal) };
    if !fits || !port.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    Some((host, port.parse().ok()?))
}

/// Where something listens or is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `host:port`; an empty host means every interface when listening.
    Tcp(String),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not tcp://HOST:PORT or unix://PATH: {0:?}")]
pub struct AddressError(pub String);

impl AddressError {
    pub(super) fn of(text: &str) -> AddressError {
        AddressError(text.to_owned())
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// `tcp://host:port`, `unix://path`; a bare `host:port` is TCP, as in CometBFT.
    fn from_str(text: &str) -> Result<Address, AddressError> {
        let error = || AddressError::of(text);
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.is_empty() { Err(error()) } else { Ok(Address::Unix(path.into())) };
        }
        let rest = text.strip_prefix("tcp://").unwrap_or(text);
        host_port(rest).map(|_| Address::Tcp(rest.to_owned())).ok_or_else(error)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => write!(f, "tcp://{address}"),
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_cometbft_reads_them() {
        for good in ["tcp://127.0.0.1:26658", "unix:///tmp/app.sock", "localhost:1", ":26660", "tcp://[::1]:80"] {
            assert!(Address::from_str(good).is_ok(), "{good}");
        }
        for bad in ["", "tcp://", "unix://", "host", "host:", "host:65536", "http://a:1", "a b:1", "[x]:1", "a:+1", "["]
        {
            assert!(Address::from_str(bad).is_err(), "{bad}");
        }
        assert_eq!(Address::from_str("a:1").unwrap().to_string(), "tcp://a:1");
    }
}
