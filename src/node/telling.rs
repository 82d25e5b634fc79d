//! Lines for whoever looks at the node's output.
//!
//! Nobody may be looking any more: `quorate start | head -12` closes the pipe behind it. That is no reason to stop a
//! validator, and `println!` would panic, so nothing else in the crate prints (`clippy::print_stdout` is denied).

use crate::config::LogFormat;
use std::io::{self, Write as _};

/// How they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// As they are, for people.
    Lines,
    /// As entries of the log: whoever reads it as JSON gets JSON on every line.
    Log,
}

impl Telling {
    /// As fits the log.
    pub fn beside(format: LogFormat) -> Telling {
        match format {
            LogFormat::Plain => Telling::Lines,
            LogFormat::Json => Telling::Log,
        }
    }

    /// Writes one line. The columns of a line are for people alone.
    pub fn tell(self, line: &str) {
        match self {
            Telling::Lines => {
                let mut out = io::stdout().lock();
                let _nobody_reads = writeln!(out, "{line}").and_then(|()| out.flush());
            }
            Telling::Log => tracing::info!("{}", line.split_whitespace().collect::<Vec<_>>().join(" ")),
        }
    }
}
