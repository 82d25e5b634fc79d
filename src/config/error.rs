//! What can be wrong with a home, said in at most three lines: what, why, the next command.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Longest value repeated in a message, in characters.
const SHOWN_MAX: usize = 60;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// config.toml.
    File {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line, without its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

impl Origin {
    /// What a person does about a bad value from here.
    fn remedy(&self) -> String {
        match self {
            Origin::Default => "this is a fault of the program: please report it".to_owned(),
            Origin::File { path, line } => format!("correct line {line} of {}, then start again", path.display()),
            Origin::Environment(name) => format!("unset {name}   (or give it such a value)"),
            Origin::Flag(_) => "quorate start --help".to_owned(),
        }
    }
}

/// A home that cannot be used. Each message has at most three lines and ends with what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value outside its range.
    #[error("{origin}: {key} = {} cannot be used\n  expected: {expected}\n  next: {}", shown(value), origin.remedy())]
    BadValue {
        /// Where it stands.
        origin: Origin,
        /// Which key.
        key: &'static str,
        /// What it says.
        value: String,
        /// What it may say.
        expected: String,
    },
    /// config.toml is not TOML.
    #[error("{}:{line}: this is not TOML: {why}\n  next: correct line {line} of {}, then start again", path.display(), path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The parser's words.
        why: String,
    },
    /// A file of the home does not hold what it should.
    #[error("{}: {}\n  expected: {expected}\n  next: {next}", path.display(), first_line(why))]
    BadFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
        /// What it should hold.
        expected: &'static str,
        /// What to do.
        next: String,
    },
    /// A file of the home cannot be read, written or locked.
    #[error("cannot {action} {}: {why}\n  next: {next}", path.display())]
    Io {
        /// `read`, `write`, `create`, `lock`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        why: io::Error,
        /// What to do.
        next: String,
    },
    /// Another process uses the home.
    #[error("{} is in use by another quorate process{}\n  next: quorate status --home {}", home.display(), pid_note(*pid), home.display())]
    InUse {
        /// The home.
        home: PathBuf,
        /// The process, when it said so.
        pid: Option<u32>,
    },
    /// Neither `--home` nor the environment says where the home is.
    #[error("no home directory: neither --home, QUORATE_HOME nor HOME is set\n  next: quorate start --home ./node")]
    NoHome,
}

/// The home a file belongs to, by the place such files have in it.
fn home_of(path: &Path) -> Option<&Path> {
    let folder = path.parent()?;
    let home = matches!(folder.file_name()?.to_str()?, "config" | "data").then(|| folder.parent())??;
    (!home.as_os_str().is_empty()).then_some(home)
}

impl ConfigError {
    /// A failed file operation, with the usual advice for its cause.
    pub fn io(action: &'static str, path: &Path, why: io::Error) -> ConfigError {
        let folder = path.parent().unwrap_or(path).display();
        let next = match why.kind() {
            io::ErrorKind::NotFound => match home_of(path) {
                Some(home) => format!("quorate init --home {}   (makes what is missing)", home.display()),
                None => "quorate init   (makes what is missing)".to_owned(),
            },
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                format!("ls -ld {}   (a file is where a directory must be: move it away)", path.display())
            }
            io::ErrorKind::PermissionDenied => format!("ls -ld {folder}   (it must belong to you)"),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("df -h {folder}   (make room)"),
            io::ErrorKind::ReadOnlyFilesystem => "quorate init --home DIR   (in a directory you may write)".to_owned(),
            _ => format!("ls -ld {folder}"),
        };
        ConfigError::Io { action, path: path.to_owned(), why, next }
    }

    /// True when the command line is at fault, not a file.
    pub fn is_usage(&self) -> bool {
        matches!(self, ConfigError::BadValue { origin: Origin::Flag(_), .. } | ConfigError::NoHome)
    }
}

/// Something worth a line in the log that does not stop the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(pub String);

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A foreign value in quotes, control characters escaped, cut to a readable length.
pub(super) fn shown(value: &str) -> String {
    let start: String = value.chars().take(SHOWN_MAX).collect();
    let more = if start.len() < value.len() { "…" } else { "" };
    format!("{start:?}{more}")
}

/// Parsers may explain themselves over many lines; the first says what is wrong.
fn first_line(text: &str) -> String {
    let line: String = text.lines().next().unwrap_or_default().chars().take(4 * SHOWN_MAX).collect();
    line
}

fn pid_note(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(path: &str, kind: io::ErrorKind) -> String {
        let text = ConfigError::io("read", Path::new(path), kind.into()).to_string();
        text.lines().last().unwrap_or_default().trim().to_owned()
    }

    #[test]
    fn a_missing_file_of_a_home_is_made_in_that_home() {
        let missing = io::ErrorKind::NotFound;
        let at = "next: quorate init --home /srv/n1   (makes what is missing)";
        assert_eq!(next("/srv/n1/config/genesis.json", missing), at);
        assert_eq!(next("config/genesis.json", missing), "next: quorate init   (makes what is missing)");
        assert_eq!(next("/elsewhere/genesis.json", missing), "next: quorate init   (makes what is missing)");
    }

    #[test]
    fn a_file_where_a_directory_must_be_is_named() {
        let next = next("/srv/n1", io::ErrorKind::AlreadyExists);
        assert_eq!(next, "next: ls -ld /srv/n1   (a file is where a directory must be: move it away)");
    }
}
