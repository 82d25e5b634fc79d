//! Printing: for people, or as one JSON value with `--json`.

use super::{CliError, Exit};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal as _, Write};

/// For whom to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    Person,
    Program,
}

/// Where a command prints.
pub(super) struct Output {
    pub(super) reader: Reader,
    sink: RefCell<Box<dyn Write>>,
    said: Cell<bool>,
    failure: RefCell<Option<io::Error>>,
}

impl Output {
    pub(super) fn new(reader: Reader, sink: Box<dyn Write>) -> Output {
        Output { reader, sink: RefCell::new(sink), said: Cell::new(false), failure: RefCell::new(None) }
    }

    /// Prints the text to a person, the value to a program.
    pub(super) fn give(&self, text: &str, value: &serde_json::Value) {
        match self.reader {
            Reader::Person => self.line(text),
            Reader::Program => self.line(&format!("{value:#}")),
        }
    }

    /// Prints a line. A reader that went away (`quorate status | head -1`) is no error.
    pub(super) fn line(&self, text: &str) {
        self.said.set(true);
        let mut sink = self.sink.borrow_mut();
        let outcome = writeln!(sink, "{}", text.trim_end_matches('\n')).and_then(|()| sink.flush());
        if let Err(why) = outcome
            && why.kind() != io::ErrorKind::BrokenPipe
        {
            self.failure.borrow_mut().get_or_insert(why);
        }
    }

    /// An error when something printed did not arrive, as on a full disk.
    pub(super) fn arrived(&self) -> Result<(), CliError> {
        match self.failure.take() {
            None => Ok(()),
            Some(why) => Err(CliError {
                exit: Exit::Failed,
                text: format!(
                    "standard output took not all of the answer: {why}\n  next: df -h   (make room), then again"
                ),
            }),
        }
    }

    /// A program that asked gets one JSON value in any case: the error, if there was no answer.
    pub(super) fn nothing_but(&self, error: &CliError) {
        if self.reader == Reader::Program && !self.said.get() {
            self.line(&format!("{:#}", json!({ "error": error.text, "exit_code": error.exit.code() })));
        }
    }

    /// A remark that is not part of the answer.
    pub(super) fn note(text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// Prints why the command failed.
pub(super) fn complain(error: &CliError) {
    let _ = writeln!(io::stderr(), "error: {error}");
}

/// True when a person looks at stdout and wants colour (<https://no-color.org>).
pub(super) fn wants_colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A size as people read it: `1.2 MiB`.
pub(super) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut scaled, mut unit) = (bytes as f64, 0);
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        (scaled, unit) = (scaled / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{scaled:.1} {}", UNITS[unit]) }
}

/// A time span as people read it: `3 s`, `5 min`, `2 h`, `4 days`.
pub(super) fn human_seconds(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Text of somebody else's as it may stand on a terminal: nothing that moves the cursor, and cut to a length.
pub(super) fn plain(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Rows below a head, each column as wide as its widest cell.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.chars().count())).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut table = line(&mut head.iter().copied());
    rows.iter().for_each(|row| table += &line(&mut row.iter().map(String::as_str)));
    table
}
