//! `docs/LIMITS.md` and the code say the same. Reads text and needs nothing but std, as `tidy` does.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(option_env!("CARGO_MANIFEST_DIR").unwrap_or(".")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// The cells of a table row, without backquotes.
fn cells(line: &str) -> Option<Vec<&str>> {
    let row = line.strip_prefix('|')?.strip_suffix('|')?;
    Some(row.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
}

/// What stands behind `const NAME: … = ` in a file.
fn value_of(source: &str, name: &str) -> Option<String> {
    let declared = format!("const {name}: ");
    let at = source.find(&declared)? + declared.len();
    let (_, rest) = source[at..].split_once('=')?;
    let (value, _) = rest.split_once(';')?;
    Some(value.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[test]
fn every_limit_of_the_page_is_that_of_the_code() {
    let page = read("docs/LIMITS.md");
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in page.lines().filter(|line| line.starts_with("| `")) {
        let row: Option<[&str; 5]> = cells(line).and_then(|cells| cells.try_into().ok());
        let Some([name, value, file, bounds, beyond]) = row else {
            wrong.push(format!("not five cells: {line}"));
            continue;
        };
        rows += 1;
        assert!(!bounds.is_empty() && !beyond.is_empty(), "{name} says what it bounds and what happens then");
        match value_of(&read(&format!("src/{file}")), name) {
            None => wrong.push(format!("src/{file} has no const {name}")),
            Some(code) if code != value => wrong.push(format!("{name} is {code} in src/{file}, {value} on the page")),
            Some(_) => {}
        }
    }
    assert!(rows >= 50, "{rows} limits");
    assert!(wrong.is_empty(), "docs/LIMITS.md:\n{}", wrong.join("\n"));
}

#[test]
fn every_channel_of_the_page_is_that_of_the_code() {
    let (page, code) = (read("docs/LIMITS.md"), read("src/p2p/channels.rs"));
    let rows: Vec<_> = page.lines().filter(|line| line.contains("`Channel::")).filter_map(cells).collect();
    assert_eq!(rows.len(), 11, "the channels this node speaks");
    for row in rows {
        let entry = row[1];
        assert!(code.contains(entry), "src/p2p/channels.rs does not say {entry}");
    }
}
