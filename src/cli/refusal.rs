//! What is said when the words of the command line are not understood at all.

use super::args::Arguments;
use super::{CliError, Exit};
use clap::CommandFactory as _;

/// How clap ends its refusals: without the command that helps.
const CLAP_ENDS: &str = "For more information, try '--help'.";

/// Clap's sentences and the command whose help answers them; `words` are those of the command line.
pub(super) fn explain(refusal: &clap::Error, words: &[String]) -> CliError {
    let text = refusal.render().to_string().replace(CLAP_ENDS, "");
    let lines = text.trim().trim_start_matches("error: ").lines().filter(|line| !line.trim().is_empty());
    let what = lines.collect::<Vec<_>>().join("\n");
    CliError { exit: Exit::Usage, text: format!("{what}\n  next: {} --help", named(words)) }
}

/// The command that is meant: `quorate debug`.
fn named(words: &[String]) -> String {
    let (mut at, mut name) = (Arguments::command(), "quorate".to_owned());
    for word in words.iter().filter(|word| !word.starts_with('-')) {
        let Some(found) = at.find_subcommand(word).cloned() else { continue };
        name += &format!(" {}", found.get_name());
        at = found;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    fn refused(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let refusal = Arguments::try_parse_from([&["quorate".to_owned()], &words[..]].concat()).unwrap_err();
        let error = explain(&refusal, &words);
        assert_eq!(error.exit, Exit::Usage);
        error.text
    }

    /// What is wrong, what would be taken, the next command. 9 cases.
    #[test]
    fn numbers_that_cannot_be_meant_are_answered_with_those_that_can() {
        let network = ["simulate", "--algorithm", "raft"];
        let nodes = "it is a whole number from 1 to 32; instances of an application of your own are at most 16";
        let cases: [(&[&str], &str); 9] = [
            (&["--seed", "-1"], "invalid value '-1' for '--seed <SEED>': it is a whole number from 0 to"),
            (&["--seed", "x"], "invalid value 'x' for '--seed <SEED>': it is a whole number from 0 to"),
            (&["--seeds", "0"], "it is a whole number from 1 to"),
            (&["--nodes", "0"], nodes),
            (&["--nodes", "1000"], nodes),
            (&["--heights", "0"], "it is a whole number from 1 to 100000"),
            (&["--heights", "18446744073709551615"], "it is a whole number from 1 to 100000"),
            (&["--level", "3"], "it is 1, protocol machines alone, or 2, whole replicas"),
            (&["--minutes", "-1"], "it is a number of minutes from 0 to 525600"),
        ];
        for (flags, part) in cases {
            let text = refused(&[&network[..], flags].concat());
            assert!(text.contains(part) && text.ends_with("\n  next: quorate simulate --help"), "{flags:?}: {text}");
        }
    }

    #[test]
    fn the_help_that_is_named_is_that_of_the_command_that_was_meant() {
        assert!(refused(&["begin"]).ends_with("\n  next: quorate --help"));
        assert!(refused(&["--home", "/x", "start", "--no-such-flag"]).ends_with("\n  next: quorate start --help"));
        let text = refused(&["debug", "crash-point"]);
        assert!(text.contains("'crash-points'") && text.ends_with("\n  next: quorate debug --help"), "{text}");
    }
}
