//! What messages tell people to do: every command they name is there, with its flags, and does what the message says of it.

use super::{initialised, quorate, start};
use crate::cli::args::Arguments;
use crate::crash_points::tests::sources;
use clap::CommandFactory as _;
use std::fs;

/// Fewest places of `src` that name a command.
const NAMED_MIN: usize = 90;
/// Words after the program's name that are no command, in sentences about the program.
const PROSE: [&str; 1] = ["process"];

/// The commands a source names outside of comments, in words up to the end of the command.
fn named(source: &str) -> Vec<Vec<String>> {
    let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    // A text goes on in the next line after a backslash.
    let code = code.join("\n").split("\\\n").map(str::trim_start).collect::<String>();
    let begins_here = |at: usize| !code[..at].ends_with(|c: char| c.is_alphanumeric() || "_/.-".contains(c));
    let places = code.match_indices("quorate ").filter(|(at, _)| begins_here(*at));
    let ends = ['"', '`', ';', ',', '\n', '\\', '\'', '(', ')'];
    let rest = places.map(|(at, program)| code[at + program.len()..].split(ends).next().unwrap_or_default());
    let words = |text: &str| {
        let words = text.split_whitespace().map(|word| word.split(['{', '=', ':']).next().unwrap_or_default());
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    rest.filter(|text| text.starts_with(|c: char| c.is_ascii_lowercase())).map(words).collect()
}

/// What is wrong with a command, if anything.
fn complaint(words: &[String]) -> Option<String> {
    let mut program = Arguments::command();
    program.build();
    let (mut command, mut words) = (&program, words);
    while let ([first, rest @ ..], true) = (words, command.has_subcommands())
        && !first.starts_with('-')
    {
        let Some(found) = command.find_subcommand(first) else { return Some(format!("no command {first}")) };
        (command, words) = (found, rest);
    }
    let mut flags = words.iter().filter_map(|word| word.strip_prefix("--"));
    let known = |flag: &str| {
        command.get_arguments().any(|argument| {
            let aliases = argument.get_all_aliases().unwrap_or_default();
            argument.get_long() == Some(flag) || aliases.contains(&flag)
        })
    };
    flags.find(|flag| !known(flag)).map(|flag| format!("{} has no --{flag}", command.get_name()))
}

#[test]
fn every_command_a_message_names_is_there_with_its_flags() {
    let mut count = 0;
    let sources = sources();
    for (file, source) in sources.iter().filter(|(file, _)| file.ends_with(".rs") && !file.contains("/tests")) {
        for words in named(source).into_iter().filter(|words| !PROSE.contains(&words[0].as_str())) {
            assert_eq!(complaint(&words), None, "{file} says: quorate {}", words.join(" "));
            count += 1;
        }
    }
    assert!(count >= NAMED_MIN, "{count} commands are named");
}

/// Sources, and what must be said of the first command in them. 6 cases.
const PLANTED: [(&str, Option<&str>); 6] = [
    ("\"next: quorate reset-blocks\"", Some("no command reset-blocks")),
    ("\"then: \\\n   quorate start --skip-doppelganger, or\"", Some("start has no --skip-doppelganger")),
    ("\"run `quorate evidence look` again\"", Some("no command look")),
    ("\"quorate status --nod {address}\"", Some("status has no --nod")),
    ("\"quorate start{flag} --proxy_app=kvstore --home {}\"", None),
    ("\"quorate evidence list --to 5\"", None),
];

#[test]
fn a_command_or_a_flag_that_is_not_there_is_noticed() {
    for (source, wrong) in PLANTED {
        assert_eq!(complaint(&named(source)[0]).as_deref(), wrong, "{source}");
    }
}

/// As told to a validator whose journal is lost (`executor::ForgottenPromises`).
#[test]
fn unsafe_reset_all_makes_a_new_key_where_the_old_one_was_moved_away() {
    let home = initialised();
    let (key, state) =
        (home.path().join("config/priv_validator_key.json"), home.path().join("data/priv_validator_state.json"));
    let old = fs::read(&key).unwrap();
    fs::rename(&key, home.path().join("old_key.json")).unwrap();
    fs::write(&state, r#"{"height":"7","round":1,"step":2}"#).unwrap();
    let printed = quorate(home.path(), &["unsafe-reset-all"]).unwrap();
    assert!(printed.contains("made   "), "{printed}");
    assert_ne!(fs::read(&key).unwrap(), old);
    assert!(fs::read_to_string(&state).unwrap().contains(r#""height": "0""#), "a new key signed nothing");
    start(home.path(), &[]).unwrap();
}

/// As told to who lacks a file of the home (`config::ConfigError`), of files that can be made anew: all but a validator's
/// key and what it signed.
#[test]
fn init_makes_what_is_missing_and_leaves_the_rest() {
    for file in ["config/config.toml", "config/node_key.json", "config/genesis.json"] {
        let home = initialised();
        let key = home.path().join("config/priv_validator_key.json");
        let before = fs::read(&key).unwrap();
        fs::remove_file(home.path().join(file)).unwrap();
        let printed = quorate(home.path(), &["init"]).unwrap();
        assert!(printed.contains(&format!("made   {file}")), "{file}: {printed}");
        assert_eq!(fs::read(&key).unwrap(), before, "{file}");
        start(home.path(), &[]).unwrap();
    }
}
