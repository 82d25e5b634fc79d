//! Rules about the code that the compiler does not check: who may name whom, sizes, banned words.
//!
//! Needs nothing but std and reads text, not semantics. It runs under cargo and alone:
//! `rustc --edition 2024 --test tests/tidy.rs -o tidy && ./tidy`. Failures are listed as `file:line: rule`.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Longest function, from the line of `fn` to its closing brace. What is longer does not fit a screen.
const FUNCTION_LINES_MAX: usize = 70;
/// Longest file.
const FILE_LINES_MAX: usize = 800;
/// Files longer than this are printed, so that they get split before they hurt.
const FILE_LINES_AIM: usize = 500;

/// Which modules of the crate a module may name. This is the dependency table of `docs/ARCHITECTURE.md`; a new edge is
/// a change of this table and deserves a sentence in the commit.
const MAY_NAME: &[(&str, &[&str])] = &[
    // Places to die at. Its macro `crash_point!` stands in the shell; who replaces several files by one function, reads the
    // environment or lists the points names it.
    ("crash_points", &[]),
    // Planted bugs. Its macro `mutant!` may stand anywhere; nothing else of it is named outside its tests.
    ("mutants", &[]),
    ("crypto", &[]),
    ("types", &["crypto"]),
    ("codec", &["types", "crypto"]),
    ("consensus", &["types", "crypto"]),
    // Hashes and key types, as everything that handles blocks.
    ("pipeline", &["types", "crypto"]),
    ("mempool", &["types", "crypto"]),
    ("evidence", &["types", "crypto"]),
    // It knows which votes and parts consensus holds, and which each peer lacks.
    ("gossip", &["types", "crypto", "consensus"]),
    // It compares headers' hashes of validator sets with those it knows.
    ("sync", &["types", "crypto"]),
    ("light", &["types", "crypto"]),
    ("replica", &["types", "crypto", "consensus", "pipeline", "mempool", "evidence", "gossip", "sync", "light"]),
    ("ports", &["types", "crypto"]),
    // The replica's hands on journal, store and key, over their ports: the node and the simulator run the same ones.
    (
        "executor",
        &[
            "types",
            "crypto",
            "codec",
            "consensus",
            "pipeline",
            "mempool",
            "evidence",
            "gossip",
            "sync",
            "replica",
            "ports",
        ],
    ),
    ("abci", &["types", "codec", "ports", "polls"]),
    // The real file system; journal and guard are given it.
    ("disk", &["ports"]),
    ("storage", &["types", "crypto", "codec", "ports"]),
    ("wal", &["types", "codec", "ports"]),
    ("privval", &["types", "crypto", "codec", "ports", "crash_points"]),
    ("p2p", &["types", "crypto", "codec", "ports", "polls"]),
    // Watches tasks, under test.
    ("polls", &[]),
    // What both servers share.
    ("http", &["polls"]),
    ("rpc", &["types", "crypto", "codec", "ports", "http", "polls"]),
    // Subscriptions implement a port.
    ("events", &["types", "ports"]),
    ("metrics", &["types", "http"]),
    // Key and genesis files are read here, through codec's JSON.
    ("config", &["types", "crypto", "codec", "crash_points"]),
    // Nodes of a development network agree on a genesis before there is a node: its JSON is codec's, the promise is a file
    // of the home, written as config writes files.
    ("forming", &["types", "crypto", "codec", "config"]),
    (
        "node",
        &[
            "types",
            "crypto",
            "codec",
            "consensus",
            "pipeline",
            "mempool",
            "evidence",
            "gossip",
            "sync",
            "light",
            "replica",
            "executor",
            "ports",
            "abci",
            "disk",
            "storage",
            "wal",
            "privval",
            "p2p",
            "rpc",
            "events",
            "metrics",
            "config",
            "polls",
        ],
    ),
    // It prints keys and identities, hence types and crypto. `evidence verify` judges by the rules of the machine, and
    // reads a stopped home's store through its port. It opens keys on the real disk. It runs simulations.
    (
        "cli",
        &[
            "node",
            "forming",
            "config",
            "disk",
            "storage",
            "privval",
            "types",
            "crypto",
            "codec",
            "evidence",
            "ports",
            "sim",
            "crash_points",
            "rehearsal",
        ],
    ),
    // It starts other people's applications and leads them through what `sim::app` draws, by the node's own rules.
    ("rehearsal", &["types", "crypto", "pipeline", "ports", "abci", "sim"]),
    (
        "sim",
        &[
            "types",
            "crypto",
            "consensus",
            "pipeline",
            "mempool",
            "evidence",
            "gossip",
            "sync",
            "light",
            "replica",
            "ports",
            "executor",
            // The real codecs, journal, store and guard, over a simulated disk.
            "codec",
            "abci",
            "storage",
            "wal",
            "privval",
        ],
    ),
];

/// Modules without clock, randomness, thread, async and IO.
const PURE: &[&str] =
    &["crypto", "types", "codec", "consensus", "pipeline", "mempool", "evidence", "gossip", "sync", "light", "replica"];

/// What a pure module does not say outside its tests.
const IMPURE_WORDS: &[&str] = &[
    "async ",
    ".await",
    "tokio",
    "Instant::now",
    "SystemTime::now",
    "HashMap",
    "HashSet",
    "rand::",
    "std::fs",
    "std::net",
    "std::thread",
    "crash_point!",
];

/// Files that may say one impure word, and why.
const IMPURE_EXCEPTIONS: &[(&str, &str)] = &[
    // Weights of batch verification: they change how sure a yes is, never which signatures are good.
    ("src/crypto/keys.rs", "rand::"),
];

/// Files whose functions may take a bool, because that is what is written or configured.
const BOOL_ARGUMENTS: &[&str] = &[
    "src/codec/protobuf.rs",  // a field of this type
    "src/sim/bare/verify.rs", // a condition that must hold, as `assert!` takes it
    "src/p2p/book/file.rs",   // addr_book_strict
    "src/rpc/txs.rs",         // the parameter `prove`
];

/// Only these sign; benches make their own data, and a simulated liar signs what no guard would.
const SIGNERS: &[&str] = &["src/privval/", "src/crypto/", "benches/", "src/sim/whole/lie.rs", "src/sim/app/chain.rs"];

/// Only these may call something verified without checking a signature: crypto makes it, the rest proved it before.
/// In `sim/bare/` signatures mean nothing; it checks those of liars its own way.
const TRUSTERS: &[&str] =
    &["src/crypto/", "src/privval/", "src/consensus/", "src/replica/", "src/node/", "src/sim/bare/"];

/// Where memory is set aside by a number that is not written there: how many such places a file has, and what bounds the
/// number. A new one is written down here after it was looked at: a length from outside is bounded before memory is set
/// aside for it (bug class 155). What only people's commands and simulations do is not looked at.
const ALLOCATIONS: &[(&str, usize, &str)] = &[
    ("src/abci/application.rs", 1, "an answer for each transaction of a block in hand"),
    ("src/abci/client/link.rs", 2, "an answer for each request in hand"),
    ("src/abci/kvstore.rs", 1, "a public key in hand"),
    ("src/abci/local.rs", 1, "an answer for each request in hand"),
    ("src/codec/frame.rs", 1, "the length is checked against the caller's limit first, and grows with what came"),
    ("src/codec/json/genesis/mod.rs", 2, "twice the text in hand, and indentation as deep as it is nested"),
    ("src/codec/protobuf.rs", 1, "as many as the fields counted in the message in hand"),
    ("src/consensus/raft/view.rs", 1, "the validator set in force"),
    ("src/consensus/tally.rs", 1, "the validator set in force"),
    ("src/gossip/had.rs", 2, "positions are below POSITIONS_MAX; words of a list in hand"),
    ("src/mempool/machine.rs", 2, "transactions in hand"),
    ("src/node/fetch.rs", 1, "threads of this machine"),
    ("src/node/handle.rs", 1, "the validator set in force"),
    ("src/p2p/handshake.rs", 1, "the ephemeral key's length is checked against its limit first"),
    ("src/p2p/network.rs", 1, "addresses the operator configured"),
    ("src/p2p/secret.rs", 2, "bytes in hand; frames of fixed length"),
    ("src/pipeline/requests.rs", 1, "signatures of a commit in hand"),
    ("src/privval/files.rs", 1, "at most FILE_BYTES_MAX"),
    ("src/privval/sign_bytes.rs", 1, "shorter than the bytes in hand"),
    ("src/rpc/call.rs", 2, "requests of a batch in hand; a lazy iterator"),
    ("src/rpc/wire.rs", 1, "as long as the answer in hand"),
    ("src/storage/index.rs", 1, "transactions of a block in hand"),
    ("src/storage/keys.rs", 1, "parts of a key in hand"),
    ("src/storage/values.rs", 1, "a value in hand"),
    ("src/types/median.rs", 1, "signatures of a commit in hand"),
    ("src/types/part_set.rs", 3, "totals and lengths are checked against PARTS_MAX and the set before"),
    ("src/types/verify.rs", 2, "signatures of a commit in hand"),
    ("src/wal/frame.rs", 1, "a record's length is checked against its limit first"),
    ("src/wal/repair.rs", 1, "at most TAIL_BYTES_MAX, checked first"),
    ("src/wal/segments.rs", 1, "segments on this disk"),
    ("src/wal/writer.rs", 1, "at most GROUP_BYTES_MAX"),
];

/// Modules that set memory aside for nobody but the one who started them.
const ALLOCATION_FREE_FOR: &[&str] = &["sim", "cli", "mutants"];

/// Modules into which numbers of strangers come, and how often each says that a cast may cut one (bug class 157).
const NO_NARROWING: &[(&str, usize)] = &[("codec", 3), ("consensus", 0), ("gossip", 0)];

/// What sets memory aside. The size is the first argument.
const ALLOCATORS: &[&str] =
    &["with_capacity(", "reserve(", "reserve_exact(", "resize(", "resize_with(", "zeroed(", "repeat(", "repeat_n("];

// ------------------------------------------------------------------------------------------------------- the tests

#[test]
fn the_code_keeps_the_rules() {
    let files = rust_files();
    assert!(files.len() > 40, "only {} files found: is the current directory the package?", files.len());
    let mut offences = Vec::new();
    for file in &files {
        if file.line_count() > FILE_LINES_AIM {
            println!("long: {} has {} lines, aim at {FILE_LINES_AIM}", file.path, file.line_count());
        }
        offences.extend(file.offences());
    }
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}

#[test]
fn every_module_of_the_crate_is_in_the_table() {
    let library = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs is there");
    let modules = library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    for module in modules {
        assert!(MAY_NAME.iter().any(|(name, _)| *name == module), "module {module} is missing in MAY_NAME");
    }
}

#[test]
fn casts_that_cut_numbers_are_denied_where_strangers_numbers_come_in_and_every_exception_is_counted() {
    let files = rust_files();
    for (module, exceptions) in NO_NARROWING {
        let inside = |file: &&File| file.path.starts_with(&format!("src/{module}/"));
        let door =
            files.iter().find(|file| file.path == format!("src/{module}/mod.rs")).expect("a module has a mod.rs");
        let denied = "#![cfg_attr(not(test), deny(clippy::cast_possible_truncation))]";
        assert!(door.raw.lines().any(|line| line == denied), "{} must say {denied}", door.path);
        let named = |file: &File| file.raw.matches("cast_possible_truncation").count();
        let found = files.iter().filter(inside).map(named).sum::<usize>() - 1;
        assert_eq!(found, *exceptions, "casts in {module} that may cut");
    }
}

/// Code that breaks one rule each, and a word of the complaint expected. 25 cases.
const PLANTED: &[(&str, &str, &str)] = &[
    ("src/wal/a.rs", "fn f() {}", "start with //!"),
    ("src/consensus/a.rs", "//! a\nuse crate::storage::Kv;", "may not name storage"),
    ("src/consensus/a.rs", "//! a\nuse crate::{types::Vote, storage::{Kv, X}};", "may not name storage"),
    ("src/consensus/a.rs", "//! a\nfn f() { crate::node::run(); }", "may not name node"),
    ("src/consensus/mod.rs", "//! a\nuse super::storage::Kv;", "reaches around the table"),
    ("src/consensus/a.rs", "//! a\nuse super::super::storage;", "super::super"),
    ("src/consensus/a.rs", "//! a\nuse std::collections::HashMap;", "HashMap"),
    ("src/consensus/a.rs", "//! a\npub async fn f() {}", "async"),
    ("src/consensus/a.rs", "//! a\nfn f() { rand::rng(); }", "rand::"),
    ("src/rpc/a.rs", "//! a\nfn f() { key.sign(b\"x\"); }", "sign"),
    ("src/rpc/a.rs", "//! a\nfn f() { Verified::trusted(1); }", "Verified::trusted"),
    ("src/rpc/a.rs", "//! a\nfn f() { x.unwrap(); }", "unwrap"),
    ("src/rpc/a.rs", "//! a\nfn f() { unsafe { } }", "unsafe"),
    ("src/rpc/a.rs", "//! a\nfn f(\n  x: impl Fn(u8) -> bool,\n  y: bool,\n) {\n}", "takes a bool"),
    ("src/rpc/a.rs", concat!("//! a\n// TO", "DO later"), "unfinished"),
    ("src/rpc/a.rs", concat!("//! a\nfn f() { to", "do!() }"), "unfinished"),
    ("src/rpc/a.rs", concat!("//! a\n#[ign", "ore]\nfn f() {}"), "unfinished"),
    ("src/rpc/a.rs", "//! a\n#[cfg(test)]\nmod tests {\n  fn f() { thread::sleep(d); }\n}", "sleep"),
    ("tests/a.rs", "//! a\nfn f() { tokio::time::sleep(d); }", "sleep"),
    ("src/rpc/a.rs", "//! a\n#[cfg(test)]\nuse x::y;\nfn f() { x.unwrap(); }", "unwrap"),
    ("src/rpc/a.rs", "//! a\n#[cfg(not(test))]\nfn f() { x.unwrap(); }", "unwrap"),
    ("src/main.rs", "//! a\nfn main() { quorate::node::run() }", "may not name node"),
    ("src/rpc/a.rs", "//! a\nfn f() { match x { #[cfg(test)] A => b, C => x.unwrap() } }", "unwrap"),
    ("src/rpc/a.rs", "//! a\nfn f() { Vec::with_capacity(theirs.len()) }", "sets memory aside 1 times"),
    ("src/rpc/a.rs", "//! a\nfn f() { vec![[0; 3]; read_len(x)] }", "sets memory aside 1 times"),
];

#[test]
fn planted_offences_are_caught() {
    for (path, source, complaint) in PLANTED {
        let offences = File::new(path, source).offences();
        assert!(
            offences.len() == 1 && offences[0].contains(complaint),
            "{source:?} should say {complaint}: {offences:?}"
        );
    }
}

/// Code that looks bad and is not. 11 cases.
const INNOCENT: &[(&str, &str)] = &[
    ("src/consensus/a.rs", "//! a\nuse crate::{types::{Vote, a::B}, crypto::Hash};\nuse crate::consensus::x;"),
    ("src/consensus/a.rs", "//! a\n// crate::storage and HashMap in a comment\n/* unsafe /* nested */ tokio */"),
    ("src/rpc/a.rs", "//! a\nfn f<'a>(x: &'a str) -> char { let s = r#\"x.unwrap() \"quoted\" \"#; '\"' }"),
    ("src/rpc/a.rs", "//! a\nconst A: &str = \"say \\\" unsafe\";\nconst B: &[u8] = b\"unsafe\";"),
    ("src/consensus/a.rs", "//! a\n#[cfg(test)]\nmod tests {\n  use crate::storage::Kv;\n  fn f() { x.unwrap(); }\n}"),
    ("src/consensus/tests.rs", "//! a\nuse crate::storage::Kv;\nfn f() { x.unwrap(); std::fs::read(p); }"),
    ("src/wal/mod.rs", "//! a\nmod inner {\n  use super::Record;\n}"),
    ("src/privval/a.rs", "//! a\nfn f() { key.sign(b\"x\"); }"),
    (
        "src/rpc/a.rs",
        "//! a\nfn f(x: impl Fn(u8) -> bool, y: Option<bool>) -> bool { let z: bool = g(|a: bool| a); z }",
    ),
    ("src/rpc/a.rs", "//! a\nfn f() { x.unwrap_or(1); x.unwrap_or_default(); not_unsafe(); signature.signed(); }"),
    (
        "src/rpc/a.rs",
        "//! a\nfn f() { Vec::with_capacity(64); vec![0; 2 * LEN]; vec![a; T::LEN + 1]; vec![f(|| { 1; 2 })]; }",
    ),
];

#[test]
fn innocent_code_is_left_alone() {
    for (path, source) in INNOCENT {
        let offences = File::new(path, source).offences();
        assert!(offences.is_empty(), "{source:?}: {offences:?}");
    }
}

#[test]
fn the_length_of_a_function_is_counted_from_its_first_line_to_its_brace() {
    let of = |lines: usize| format!("//! a\nfn f(\n  a: [u8; 3],\n) {{\n{}}}\n", "  g(|| {});\n".repeat(lines - 4));
    assert!(File::new("src/rpc/a.rs", &of(FUNCTION_LINES_MAX)).offences().is_empty());
    let offences = File::new("src/rpc/a.rs", &of(FUNCTION_LINES_MAX + 1)).offences();
    assert_eq!(offences, ["src/rpc/a.rs:2: function f has 71 lines, at most 70"]);
}

#[test]
fn a_file_beyond_the_limit_is_an_offence() {
    let source = format!("//! a\n{}", "\n".repeat(FILE_LINES_MAX));
    assert!(File::new("src/rpc/a.rs", &source).offences()[0].contains("has 801 lines"));
}

// -------------------------------------------------------------------------------------------------------- the rules

/// A source file: its text, and the same text with comments and literals blanked out.
struct File {
    path: String,
    raw: String,
    /// As long as `raw` in characters, line breaks in the same places.
    code: Vec<char>,
    /// Spans of `code` under `#[cfg(test)]`.
    tests: Vec<Range<usize>>,
    /// Where the lines of `code` end.
    line_ends: Vec<usize>,
}

impl File {
    fn new(path: &str, raw: &str) -> File {
        let code = blank_comments_and_literals(raw);
        let whole_file = ["tests/", "benches/"].iter().any(|folder| path.starts_with(folder))
            || path.ends_with("/tests.rs")
            || path.contains("/tests/");
        let tests = if whole_file { std::iter::once(0..code.len()).collect() } else { test_spans(&code) };
        let line_ends = code.iter().enumerate().filter(|(_, c)| **c == '\n').map(|(at, _)| at).collect();
        File { path: path.to_owned(), raw: raw.to_owned(), code, tests, line_ends }
    }

    fn offences(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.check_size(&mut found);
        self.check_functions(&mut found);
        self.check_names(&mut found);
        self.check_words(&mut found);
        self.check_unfinished(&mut found);
        self.check_allocations(&mut found);
        found
    }

    fn check_size(&self, found: &mut Vec<String>) {
        if !self.raw.starts_with("//!") {
            found.push(format!("{}:1: a file must start with //! and say what it is", self.path));
        }
        if self.line_count() > FILE_LINES_MAX {
            found.push(format!("{}:1: has {} lines, at most {FILE_LINES_MAX}", self.path, self.line_count()));
        }
    }

    fn check_functions(&self, found: &mut Vec<String>) {
        for at in self.find("fn ") {
            let name: String = self.code[at + 3..].iter().take_while(|c| is_ident(**c)).collect();
            let Some(end) = item_end(&self.code, at) else { continue };
            let lines = self.line_of(end) - self.line_of(at) + 1;
            if !name.is_empty() && lines > FUNCTION_LINES_MAX {
                let what = format!("function {name} has {lines} lines, at most {FUNCTION_LINES_MAX}");
                self.report(found, at, &what);
            }
            let excepted = self.in_tests(at) || BOOL_ARGUMENTS.contains(&self.path.as_str());
            if !excepted && !find(parameters(&self.code[at..]), ": bool").is_empty() {
                self.report(found, at, &format!("function {name} takes a bool: say with an enum what the two mean"));
            }
        }
    }

    /// The dependency table.
    fn check_names(&self, found: &mut Vec<String>) {
        for at in self.find("super::super") {
            self.report(found, at, "super::super walks around the dependency table");
        }
        if self.path == "src/main.rs" {
            self.check_paths("quorate::", "main", &["cli"], found);
        }
        let Some(module) = self.module() else { return };
        let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == module) else {
            return found.push(format!("{}:1: module {module} is not in the table MAY_NAME", self.path));
        };
        self.check_paths("crate::", module, allowed, found);
        if self.path == format!("src/{module}/mod.rs") || self.path == format!("src/{module}.rs") {
            let inner = inline_modules(&self.code);
            for at in self.find_outside_tests("super::") {
                if !inner.iter().any(|span| span.contains(&at)) {
                    self.report(found, at, "super:: here is the crate root: it reaches around the table, say crate::");
                }
            }
        }
    }

    fn check_paths(&self, prefix: &str, module: &str, allowed: &[&str], found: &mut Vec<String>) {
        for at in self.find_outside_tests(prefix) {
            for named in first_segments(&self.code[at + prefix.len()..]) {
                let known = prefix != "crate::" || MAY_NAME.iter().any(|(name, _)| *name == named);
                if known && named != module && !allowed.contains(&named.as_str()) {
                    self.report(found, at, &format!("{module} may not name {named}"));
                }
            }
        }
    }

    fn check_words(&self, found: &mut Vec<String>) {
        let starts_with_any = |prefixes: &[&str]| prefixes.iter().any(|prefix| self.path.starts_with(prefix));
        for at in self.find("unsafe") {
            self.report(found, at, "unsafe is forbidden");
        }
        for at in self.find_outside_tests(".unwrap()") {
            self.report(found, at, "unwrap outside a test: use ?, or expect with the reason why it holds");
        }
        for at in self.find("sleep(").filter(|at| self.in_tests(*at)) {
            self.report(found, at, "a test may not sleep: await the event");
        }
        if !starts_with_any(SIGNERS) {
            for at in self.find_outside_tests(".sign(") {
                self.report(found, at, "only privval may sign");
            }
        }
        if !starts_with_any(TRUSTERS) {
            for at in self.find_outside_tests("Verified::trusted") {
                self.report(found, at, "Verified::trusted only where a signature was checked before");
            }
        }
        if self.module().is_some_and(|module| PURE.contains(&module)) {
            self.check_purity(found);
        }
    }

    fn check_purity(&self, found: &mut Vec<String>) {
        for word in IMPURE_WORDS {
            if IMPURE_EXCEPTIONS.contains(&(self.path.as_str(), word)) {
                continue;
            }
            for at in self.find_outside_tests(word) {
                self.report(found, at, &format!("a pure module may not say {}", word.trim()));
            }
        }
    }

    fn check_allocations(&self, found: &mut Vec<String>) {
        if self.module().is_none_or(|module| ALLOCATION_FREE_FOR.contains(&module)) {
            return;
        }
        let at_call = ALLOCATORS.iter().flat_map(|name| self.find_outside_tests(name).map(|at| at + name.len()));
        let by_call = at_call.filter(|at| !is_written_there(until(&self.code[*at..], &[',', ')'])));
        let by_macro = self.find_outside_tests("vec![").map(|at| at + 5).filter(|at| {
            let item = until(&self.code[*at..], &[';', ']']);
            let after = &self.code[at + item.len()..];
            after.first() == Some(&';') && !is_written_there(until(&after[1..], &[']']))
        });
        let places: Vec<usize> = by_call.chain(by_macro).collect();
        let listed = ALLOCATIONS.iter().find(|(path, ..)| *path == self.path).map_or(0, |(_, places, _)| *places);
        if places.len() != listed {
            let lines: Vec<usize> = places.iter().map(|at| self.line_of(*at)).collect();
            let times = places.len();
            found.push(format!(
                "{}:1: sets memory aside {times} times by a number not written there (lines {lines:?}); ALLOCATIONS has \
                 {listed}: write down what bounds it",
                self.path
            ));
        }
    }

    /// Looks into comments too.
    fn check_unfinished(&self, found: &mut Vec<String>) {
        let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!"), concat!("unimpl", "emented!")];
        let ignored = concat!("#[ign", "ore");
        for (index, line) in self.raw.lines().enumerate() {
            if let Some(word) = words.iter().chain([&ignored]).find(|word| line.contains(**word)) {
                found.push(format!("{}:{}: {word} marks something unfinished: finish it", self.path, index + 1));
            }
        }
    }

    // ---------------------------------------------------------------------------------------------------- questions

    /// The top-level module this file belongs to; none for lib.rs, main.rs and everything outside src.
    fn module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        match inside.split_once('/') {
            Some(("bin", _)) => None,
            Some((module, _)) => Some(module),
            None => inside.strip_suffix(".rs").filter(|name| *name != "lib" && *name != "main"),
        }
    }

    fn line_count(&self) -> usize {
        self.raw.lines().count()
    }

    fn line_of(&self, at: usize) -> usize {
        self.line_ends.partition_point(|end| *end < at) + 1
    }

    fn in_tests(&self, at: usize) -> bool {
        self.tests.iter().any(|span| span.contains(&at))
    }

    /// Where `word` stands in the code as a word of its own.
    fn find(&self, word: &str) -> impl Iterator<Item = usize> {
        find(&self.code, word).into_iter()
    }

    fn find_outside_tests(&self, word: &str) -> impl Iterator<Item = usize> {
        self.find(word).filter(|at| !self.in_tests(*at))
    }

    fn report(&self, found: &mut Vec<String>, at: usize, what: &str) {
        found.push(format!("{}:{}: {what}", self.path, self.line_of(at)));
    }
}

// ------------------------------------------------------------------------------------------------------ reading text

fn is_ident(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Positions of `word` where it is not part of a longer word.
fn find(code: &[char], word: &str) -> Vec<usize> {
    let word: Vec<char> = word.chars().collect();
    let whole_word = |at: usize| {
        let end = at + word.len();
        let begins = !is_ident(word[0]) || at == 0 || !is_ident(code[at - 1]);
        let ends = !is_ident(word[word.len() - 1]) || end == code.len() || !is_ident(code[end]);
        begins && ends
    };
    let starts = code.iter().enumerate().filter(|(_, c)| **c == word[0]).map(|(at, _)| at);
    starts.filter(|at| code[*at..].starts_with(&word) && whole_word(*at)).collect()
}

/// What stands here until one of `ends`, outside of any brackets.
fn until<'a>(code: &'a [char], ends: &[char]) -> &'a [char] {
    let mut depth = 0_i32;
    let end = code.iter().position(|c| {
        let ended = depth == 0 && ends.contains(c);
        depth += i32::from("([{".contains(*c)) - i32::from(")]}".contains(*c));
        ended
    });
    &code[..end.unwrap_or(code.len())]
}

/// True for a size of numbers and named constants.
fn is_written_there(size: &[char]) -> bool {
    let text: String = size.iter().collect();
    let words = text.split(|c: char| !is_ident(c)).filter(|word| !word.is_empty());
    let constant = |word: &str| word.chars().all(|c| !c.is_lowercase()) || ["usize", "u64", "as"].contains(&word);
    let is_path = |word: &str| word.starts_with(|c: char| c.is_uppercase()) && text.contains(&format!("{word}::"));
    words.into_iter().all(|word| constant(word) || is_path(word)) && !text.contains('(')
}

/// What stands between the parentheses of a function that begins here.
fn parameters(function: &[char]) -> &[char] {
    let Some(open) = function.iter().position(|c| *c == '(') else { return &[] };
    let mut depth = 0;
    let close = function[open..].iter().position(|c| {
        depth += i32::from(*c == '(') - i32::from(*c == ')');
        depth == 0
    });
    close.map_or(&[], |close| &function[open..open + close])
}

/// The first names of the paths after a `crate::`: one, or all of a `{…}` group.
fn first_segments(after: &[char]) -> Vec<String> {
    let ident = |from: &[char]| from.iter().take_while(|c| is_ident(**c)).collect::<String>();
    if after.first() != Some(&'{') {
        return vec![ident(after)];
    }
    let (mut names, mut depth, mut at_start) = (Vec::new(), 0, false);
    for (index, c) in after.iter().enumerate() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ if depth == 1 && at_start && is_ident(*c) => names.push(ident(&after[index..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
        at_start = depth == 1 && (*c == ',' || *c == '{' || (at_start && c.is_whitespace()));
    }
    names
}

/// Where the item starting at `from` ends: its closing brace, or its semicolon if it has no body.
fn item_end(code: &[char], from: usize) -> Option<usize> {
    let (mut nesting, mut braces) = (0_usize, 0_usize);
    for (at, c) in code.iter().enumerate().skip(from) {
        match c {
            '(' | '[' => nesting += 1,
            ')' | ']' => nesting = nesting.checked_sub(1)?,
            '{' => braces += 1,
            '}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 && nesting == 0 {
                    return Some(at);
                }
            }
            ';' if braces == 0 && nesting == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

/// The items under `#[cfg(test)]`.
fn test_spans(code: &[char]) -> Vec<Range<usize>> {
    const MARK: &str = "#[cfg(test)]";
    const ITEMS: [&str; 14] = [
        "pub",
        "fn",
        "async",
        "mod",
        "use",
        "impl",
        "struct",
        "enum",
        "trait",
        "type",
        "const",
        "static",
        "macro_rules",
        "extern",
    ];
    let span = |at: usize| {
        let begin = at + MARK.len();
        let begin = begin + code[begin..].iter().take_while(|c| c.is_whitespace()).count();
        let word: String = code[begin..].iter().take_while(|c| is_ident(**c)).collect();
        if word.is_empty() || ITEMS.contains(&word.as_str()) {
            return at..item_end(code, begin).unwrap_or(code.len());
        }
        // A field, a variant, an arm or a statement.
        at..begin + until(&code[begin..], &[',', ';', '}']).len()
    };
    find(code, MARK).into_iter().map(span).collect()
}

/// The bodies of `mod name { … }`.
fn inline_modules(code: &[char]) -> Vec<Range<usize>> {
    find(code, "mod ").into_iter().filter_map(|at| Some(at..item_end(code, at)?)).collect()
}

/// Replaces comments, strings and character literals by blanks; keeps line breaks, so that positions stay true.
fn blank_comments_and_literals(raw: &str) -> Vec<char> {
    let text: Vec<char> = raw.chars().collect();
    let mut code = text.clone();
    let mut at = 0;
    while at < text.len() {
        let end = literal_end(&text, at);
        for c in &mut code[at..end] {
            *c = if *c == '\n' { '\n' } else { ' ' };
        }
        at = end.max(at + 1);
    }
    code
}

/// The end of the comment or literal that begins at `at`; `at` itself when none does.
fn literal_end(text: &[char], at: usize) -> usize {
    let get = |index: usize| text.get(index).copied().unwrap_or('\0');
    let position = |from: usize, wanted: &[char]| {
        text.get(from..).and_then(|rest| rest.windows(wanted.len()).position(|found| found == wanted)).map(|p| p + from)
    };
    match (get(at), get(at + 1)) {
        ('/', '/') => position(at, &['\n']).unwrap_or(text.len()),
        ('/', '*') => block_comment_end(text, at),
        ('"', _) => quoted_end(text, at, '"'),
        ('r', '"' | '#') if at == 0 || !is_ident(get(at - 1)) || get(at - 1) == 'b' => {
            let hashes = text[at + 1..].iter().take_while(|c| **c == '#').count();
            let open = at + 1 + hashes;
            if get(open) != '"' {
                return at; // a raw identifier
            }
            let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            position(open + 1, &close).map_or(text.len(), |end| end + close.len())
        }
        ('\'', '\\') => quoted_end(text, at, '\''),
        ('\'', _) if get(at + 2) == '\'' => at + 3,
        _ => at,
    }
}

fn quoted_end(text: &[char], at: usize, quote: char) -> usize {
    let mut index = at + 1;
    while index < text.len() && text[index] != quote {
        index += if text[index] == '\\' { 2 } else { 1 };
    }
    (index + 1).min(text.len())
}

fn block_comment_end(text: &[char], at: usize) -> usize {
    let (mut depth, mut index) = (0, at);
    while index < text.len() {
        match (text[index], text.get(index + 1)) {
            ('/', Some('*')) => (depth, index) = (depth + 1, index + 2),
            ('*', Some('/')) => (depth, index) = (depth - 1, index + 2),
            _ => index += 1,
        }
        if depth == 0 {
            break;
        }
    }
    index.min(text.len())
}

// ------------------------------------------------------------------------------------------------------------ files

fn root() -> PathBuf {
    PathBuf::from(option_env!("CARGO_MANIFEST_DIR").unwrap_or("."))
}

/// Every Rust file of the package, its path relative to it, in order.
fn rust_files() -> Vec<File> {
    let mut paths = Vec::new();
    for folder in ["src", "tests", "abci-examples", "benches"] {
        collect(&root().join(folder), &mut paths);
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let raw = fs::read_to_string(path).unwrap_or_else(|why| panic!("cannot read {}: {why}", path.display()));
        let relative = path.strip_prefix(root()).expect("collected below the root");
        File::new(&relative.to_string_lossy().replace('\\', "/"), &raw)
    };
    paths.iter().map(read).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}
