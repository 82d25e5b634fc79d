//! Logs: what to write and how.

use super::output::wants_colour;
use crate::config::{LogFormat, LogLevels, LogSettings};
use tracing_subscriber::EnvFilter;

/// The environment variable Rust programs are told with what to log.
const VARIABLE: &str = "RUST_LOG";

/// Which setting of what to log wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Precedence {
    /// The command line says it.
    Flag,
    /// `RUST_LOG` counts, if set.
    Variable,
}

/// Installs the log for the rest of the process. Logs go to stdout, as CometBFT's do.
pub(super) fn install(settings: &LogSettings, precedence: Precedence) {
    let variable = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty() && precedence == Precedence::Variable);
    let filter = EnvFilter::builder().parse_lossy(variable.unwrap_or_else(|| directives(&settings.levels)));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stdout);
    // Fails only when there is a log already; then that one is used.
    let _ = match settings.format {
        LogFormat::Plain => builder.with_ansi(wants_colour()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
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
