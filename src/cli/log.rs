//! Logs: what to write and how.

use super::output::{plain, wants_colour};
use super::{CliError, Exit};
use crate::config::{LogFormat, LogLevels, LogSettings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The environment variable Rust programs are told with what to log.
const VARIABLE: &str = "RUST_LOG";
/// A value of it, as typed before a command.
const EXAMPLE: &str = "RUST_LOG=info,quorate::consensus=debug";
/// Longest value shown, in characters.
const TEXT_SHOWN_MAX: usize = 100;

/// Which setting of what to log wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precedence {
    /// The command line says it.
    Flag,
    /// `RUST_LOG` counts, if set.
    Variable,
}

/// Installs the log for the rest of the process. Logs go to stdout, as CometBFT's do. As with its log_level, a value that
/// says nothing sensible is refused: a node that logs nothing by mistake is found out when it is too late.
pub(super) fn install(settings: &LogSettings, precedence: Precedence) -> Result<(), CliError> {
    let filter = match std::env::var_os(VARIABLE) {
        Some(text) if !text.is_empty() && precedence == Precedence::Variable => filter(&text.to_string_lossy())?,
        _ => EnvFilter::builder().parse_lossy(directives(&settings.levels)),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stdout);
    // A line that nobody takes is lost; complaining on stderr, as is usual, panics when that is closed, too.
    let builder = builder.log_internal_errors(false);
    // Fails only when there is a log already; then that one is used.
    let _ = match settings.format {
        LogFormat::Plain => builder.with_ansi(wants_colour()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

/// What the variable says. A word alone is taken for a level: tracing would take one it does not know, as `verbose`, for
/// the name of a module, and log nothing else.
fn filter(text: &str) -> Result<EnvFilter, CliError> {
    let refuse = |why: &str| CliError {
        exit: Exit::Usage,
        text: format!(
            "environment variable {VARIABLE}: {:?} does not say what to log: {why}\n  next: unset {VARIABLE}, or {EXAMPLE}",
            plain(text, TEXT_SHOWN_MAX)
        ),
    };
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    for word in &words {
        let alone = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if alone && *word != "quorate" && word.parse::<LevelFilter>().is_err() {
            return Err(refuse(&format!("{word} is no level; levels are off, error, warn, info, debug and trace")));
        }
    }
    EnvFilter::builder().parse(words.join(",")).map_err(|why| refuse(&why.to_string()))
}

/// CometBFT's `module:level` list as tracing's directives. A module is the crate's module of that name; the few that are
/// called otherwise here are translated.
fn directives(levels: &LogLevels) -> String {
    let level = |level: &str| if level == "none" { "off" } else { level }.to_owned();
    let module = |name: &str| match name {
        "main" => "node".to_owned(),
        "state" => "pipeline".to_owned(),
        "rpc-server" => "rpc".to_owned(),
        "proxy" | "abci-client" => "abci".to_owned(),
        other => other.replace('-', "_"),
    };
    let mut directives = vec![level(&levels.default)];
    for (name, at) in &levels.modules {
        directives.push(format!("quorate::{}={}", module(name), level(at)));
    }
    directives.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_that_says_nothing_sensible_is_refused_with_its_value_and_an_example() {
        for good in
            ["info", "DEBUG", "off", "2", "quorate", "quorate::consensus=debug,warn", " info , hyper=warn", "a::b"]
        {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["verbose", "infoo", "info,loud", "quorate=loud", "consensus:debug,*:error", "[", "a\nb=x"] {
            let error = filter(bad).unwrap_err();
            let text = error.to_string();
            assert_eq!(error.exit, Exit::Usage);
            let value = format!("{:?}", plain(bad, TEXT_SHOWN_MAX));
            assert!(text.starts_with("environment variable RUST_LOG: ") && text.contains(&value), "{text}");
            assert!(
                text.lines().count() == 2 && text.contains(&format!("next: unset RUST_LOG, or {EXAMPLE}")),
                "{text}"
            );
        }
        assert!(filter(EXAMPLE.trim_start_matches("RUST_LOG=")).is_ok());
    }

    #[test]
    fn cometbfts_levels_become_directives() {
        for (levels, expected) in [
            ("info", "info"),
            ("none", "off"),
            ("consensus:debug,*:error", "error,quorate::consensus=debug"),
            ("state:none,rpc-server:warn", "info,quorate::pipeline=off,quorate::rpc=warn"),
        ] {
            assert_eq!(directives(&levels.parse().unwrap()), expected);
            assert!(EnvFilter::builder().parse(directives(&levels.parse().unwrap())).is_ok(), "{levels}");
        }
    }
}
