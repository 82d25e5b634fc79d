//! How a command fails.

use crate::config::ConfigError;
use crate::privval::KeyFileError;
use std::fmt;
use std::process::ExitCode;

/// What the process tells its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 1: it was asked rightly and failed.
    Failed,
    /// 2: it was asked wrongly.
    Usage,
    /// 130, as the shell has it: somebody pressed Ctrl-C before it was done.
    Interrupted,
    /// 78, `EX_CONFIG`: configuration, genesis or key files cannot be used.
    Config,
}

impl Exit {
    /// The code.
    pub fn code(self) -> u8 {
        match self {
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Interrupted => 130,
            Exit::Config => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// A command failed: up to three lines for a person and a code for a program.
#[derive(Debug)]
pub struct CliError {
    /// The code.
    pub exit: Exit,
    /// The lines.
    pub text: String,
}

impl CliError {
    /// What happened and the next command.
    pub fn failed(what: impl fmt::Display, next: impl fmt::Display) -> CliError {
        CliError { exit: Exit::Failed, text: format!("{what}\n  next: {next}") }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for CliError {}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> CliError {
        let exit = match error {
            _ if error.is_usage() => Exit::Usage,
            ConfigError::InUse { .. } => Exit::Failed,
            _ => Exit::Config,
        };
        CliError { exit, text: error.to_string() }
    }
}

impl From<KeyFileError> for CliError {
    fn from(error: KeyFileError) -> CliError {
        let exit = if matches!(error, KeyFileError::InUse { .. }) { Exit::Failed } else { Exit::Config };
        CliError { exit, text: error.to_string() }
    }
}
