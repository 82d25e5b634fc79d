//! The table, the hooks and the variable. What happens at each point is shown by processes that die there
//! (`tests/integration/crash_points.rs`).

use super::{ALL, CrashPoint, Point, VARIABLE, nearest, parse};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Fewest points this node promises.
const POINTS_MIN: usize = 60;

/// Every file of `src`, with its path from the package.
pub(crate) fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut folders, mut files) = (vec![root.join("src")], Vec::<PathBuf>::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    let named = |file: &PathBuf| file.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    files.iter().map(|file| (named(file), fs::read_to_string(file).unwrap_or_default())).collect()
}

/// All but the two about crash points.
fn files() -> Vec<(String, String)> {
    sources().into_iter().filter(|(name, _)| !name.starts_with("src/crash_points")).collect()
}

#[test]
fn every_point_has_exactly_one_hook_in_the_file_its_row_names() {
    let files = files();
    for CrashPoint { name, place, .. } in ALL {
        let hooks = [format!("crash_point!(\"{name}\")"), format!("Point::named(\"{name}\")")];
        let found = files.iter().flat_map(|(file, text)| {
            let count = hooks.iter().map(|hook| text.matches(hook.as_str()).count()).sum();
            std::iter::repeat_n(file.as_str(), count)
        });
        assert_eq!(found.collect::<Vec<_>>(), [*place], "the hooks of {name}");
    }
}

#[test]
fn names_differ_say_before_or_after_and_are_at_least_60() {
    assert!(ALL.len() >= POINTS_MIN, "{} points", ALL.len());
    assert_eq!(ALL.iter().map(|row| row.name).collect::<BTreeSet<_>>().len(), ALL.len());
    for CrashPoint { name, what, .. } in ALL {
        let parts: Vec<&str> = name.split('.').collect();
        assert!(parts.len() >= 2 && parts.iter().all(|part| !part.is_empty()), "{name}");
        assert!(matches!(parts.last(), Some(&("before" | "after"))), "{name}");
        assert!(what.starts_with("before ") || what.starts_with("after "), "{name}: {what}");
    }
}

#[test]
fn the_variable_names_a_point_and_the_hit_at_which_it_ends() {
    assert_eq!(parse("wal.sync.before"), Ok((Point::named("wal.sync.before"), 1)));
    assert_eq!(parse("app.commit.after:10"), Ok((Point::named("app.commit.after"), 10)));
    for wrong in ["wal.sync.before:0", "wal.sync.before:", "wal.sync.before:-1", "wal.sync.before:1:2"] {
        let why = parse(wrong).expect_err(wrong);
        assert!(why.contains("must be a number from 1 on") && why.starts_with(VARIABLE), "{why}");
    }
}

#[test]
fn a_point_that_is_not_there_is_refused_with_the_names_near_it() {
    let why = parse("wal.sinc.before:2").expect_err("a slip");
    assert!(why.contains("no crash point \"wal.sinc.before\"; near it are wal.sync.before, "), "{why}");
    assert!(nearest("store.nothing").iter().all(|name| name.starts_with("store.")), "{:?}", nearest("store.nothing"));
}
