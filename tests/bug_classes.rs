//! Holds `docs/BUG_CLASSES.md` to what it says: every class once and in order, every test, file and mutant it names exists.
//!
//! Needs nothing but std, as `tidy.rs` does. Whether a named test would fail is for people to judge; that it is there is not.

use std::fs;
use std::path::Path;

/// Classes in the survey the page answers.
const CLASSES: usize = 162;
/// What a row may be.
const KINDS: [&str; 3] = ["test", "cannot", "open"];
const PAGE: &str = "docs/BUG_CLASSES.md";

/// One row of the page.
#[derive(Debug)]
struct Row {
    id: String,
    what: String,
    kind: String,
    holds: String,
}

impl Row {
    /// What stands between backticks in the last column.
    fn quoted(&self) -> impl Iterator<Item = &str> {
        self.holds.split('`').skip(1).step_by(2)
    }

    /// The tests it names, as file and function.
    fn tests(&self) -> Vec<(&str, &str)> {
        self.quoted().filter(|text| text.contains(".rs::")).filter_map(|text| text.split_once("::")).collect()
    }

    /// The mutants it names: the words after "mutant" or "mutants", as far as they look like names.
    fn mutants(&self) -> Vec<&str> {
        let Some((_, after)) = self.holds.split_once("mutant") else { return Vec::new() };
        let names = after.trim_start_matches('s').split([',', ' ']).filter(|word| !word.is_empty());
        names.take_while(|word| word.len() <= 3 && word.starts_with(|c: char| c.is_ascii_uppercase())).collect()
    }
}

fn read(file: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).ok()
}

fn page() -> String {
    read(PAGE).expect("the page is in docs")
}

fn rows(page: &str) -> Vec<Row> {
    let cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    cells
        .map(|line| line.split(" | ").collect::<Vec<_>>())
        .filter(|cells| cells[0].len() == 3 && cells[0].bytes().all(|byte| byte.is_ascii_digit()))
        .map(|cells| match cells[..] {
            [id, what, kind, holds] => {
                Row { id: id.to_owned(), what: what.to_owned(), kind: kind.to_owned(), holds: holds.to_owned() }
            }
            _ => panic!("{cells:?} has not four columns"),
        })
        .collect()
}

/// Whether a source has a test of this name: the function, and the attribute above it.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let begins = [format!("fn {name}("), format!("async fn {name}(")];
    let is_test = |line: &&str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    lines.iter().enumerate().any(|(at, line)| {
        let above = &lines[at.saturating_sub(4)..at];
        begins.iter().any(|begin| line.starts_with(begin)) && above.iter().any(is_test)
    })
}

/// What is wrong with a row, in sentences.
fn complaints(row: &Row, mutants: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut complain = |what: String| wrong.push(format!("{PAGE}, row {}: {what}", row.id));
    if !KINDS.contains(&row.kind.as_str()) {
        complain(format!("{:?} is not one of {KINDS:?}", row.kind));
    }
    if row.what.is_empty() || row.holds.is_empty() {
        complain("a column is empty".to_owned());
    }
    let tests = row.tests();
    if (row.kind == "test") == tests.is_empty() {
        complain(format!("kind {} with {} tests", row.kind, tests.len()));
    }
    for (file, name) in tests {
        if !read(file).is_some_and(|source| has_test(&source, name)) {
            complain(format!("there is no test {name} in {file}"));
        }
    }
    let is_path =
        |text: &&str| ["src/", "docs/", "tests/"].iter().any(|root| text.starts_with(root)) && !text.contains("::");
    let paths: Vec<&str> = row.quoted().filter(is_path).collect();
    if row.kind == "cannot" && paths.is_empty() && !row.holds.contains(".toml`") {
        complain("it names no file that shows why".to_owned());
    }
    for path in paths {
        if !Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists() {
            complain(format!("there is no {path}"));
        }
    }
    for mutant in row.mutants() {
        if !mutants.contains(&format!("(\"{mutant}\", ")) {
            complain(format!("there is no mutant {mutant}"));
        }
    }
    wrong
}

#[test]
fn every_class_stands_on_the_page_once_and_in_order() {
    let ids: Vec<String> = rows(&page()).into_iter().map(|row| row.id).collect();
    let expected: Vec<String> = (1..=CLASSES).map(|number| format!("{number:03}")).collect();
    assert_eq!(ids, expected);
}

#[test]
fn every_test_file_and_mutant_the_page_names_exists() {
    let lists = ["consensus", "chain", "network"].map(|list| format!("src/mutants/{list}.rs"));
    let mutants: String = lists.iter().map(|list| read(list).expect("a list of mutants")).collect();
    let wrong: Vec<String> = rows(&page()).iter().flat_map(|row| complaints(row, &mutants)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_summary_counts_the_rows() {
    let page = page();
    let rows = rows(&page);
    let count = |kind: &str| format!("{} {kind}", rows.iter().filter(|row| row.kind == kind).count());
    let summary = format!("{} classes: {}.", rows.len(), KINDS.map(count).join(", "));
    println!("{summary}");
    assert!(page.lines().any(|line| line == summary), "the page should say: {summary}");
}

#[test]
fn a_row_that_names_what_is_not_there_is_noticed() {
    let row = |kind: &str, holds: &str| Row {
        id: "001".to_owned(),
        what: "it".to_owned(),
        kind: kind.to_owned(),
        holds: holds.to_owned(),
    };
    let here = "`tests/bug_classes.rs::the_summary_counts_the_rows`";
    let said = |kind: &str, holds: &str| complaints(&row(kind, holds), "noticed_by(\"T1\", …").len();
    assert_eq!(said("test", &format!("{here}; mutants T1, T1")), 0);
    assert_eq!(said("test", &format!("{here}; mutant T2")), 1);
    assert_eq!(said("test", "`tests/bug_classes.rs::rows`"), 1, "a function, but no test");
    assert_eq!(said("test", "`tests/nowhere.rs::the_summary_counts_the_rows`"), 1);
    assert_eq!(said("test", "we are careful"), 1);
    assert_eq!(said("cannot", here), 2, "tests belong to another kind, and no file shows why");
    assert_eq!(said("cannot", "`src/nowhere.rs`"), 1);
    assert_eq!(said("perhaps", "`src/mutants.rs`"), 1);
}
