//! `quorate debug`: for those who test a node.

use super::CliError;
use super::args::DebugCommand;
use super::output::{Output, table};
use crate::crash_points::{ALL, VARIABLE};
use serde_json::json;

pub(super) fn run(command: &DebugCommand, out: &Output) -> Result<(), CliError> {
    match command {
        DebugCommand::CrashPoints => list_crash_points(out),
    }
    Ok(())
}

fn list_crash_points(out: &Output) {
    let points: Vec<_> =
        ALL.iter().map(|row| json!({ "name": row.name, "place": row.place, "what": row.what })).collect();
    let rows: Vec<Vec<String>> = ALL.iter().map(|row| vec![row.name.to_owned(), row.what.to_owned()]).collect();
    let text = format!(
        "{}\n{} points. A process dies at the third hit of one with: {VARIABLE}=wal.sync.before:3 quorate start",
        table(&["NAME", "WHEN"], &rows),
        ALL.len()
    );
    out.give(&text, &json!({ "variable": VARIABLE, "count": ALL.len(), "points": points }));
}
