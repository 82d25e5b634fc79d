//! The command line.
//!
//! Every command says what it did and what comes next; every error has at most three lines: what happened, why, the
//! exact next command. Exit codes: 0 done, 1 it failed, 2 wrong usage, 78 the home's files cannot be used, 130 interrupted.
//!
//! Reading order: `args` → `error` → `output` → the commands, in the order of a first day: `init`, `start`, `status`, `why`, `net`, `testnet`,
//! `evidence`.

mod advance;
mod algorithm;
mod args;
mod card;
mod debug;
mod development;
mod error;
mod evidence;
mod http;
mod init;
mod keys;
mod log;
mod net;
mod numbers;
mod output;
mod refusal;
mod reset;
mod run;
mod simulate;
pub mod start;
mod status;
mod testnet;
mod version;
mod why;

pub use error::{CliError, Exit};

use crate::crash_points;
use args::{Arguments, Command};
use clap::Parser as _;
use output::{Output, Reader};
use std::process::ExitCode;

/// Runs the command in the process's arguments.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Help and version go to stdout with code 0, wrong usage to stderr with code 2. Nobody may be reading.
        Err(refusal) if !refusal.use_stderr() => {
            let _ = refusal.print();
            return ExitCode::SUCCESS;
        }
        Err(refusal) => return refuse(&refusal),
    };
    let reader = if arguments.common.json { Reader::Program } else { Reader::Person };
    let out = Output::new(reader, Box::new(std::io::stdout()));
    // Who asks for the names may be about to correct the variable.
    let names_are_asked_for = matches!(arguments.command, Some(Command::Debug(_)));
    if !names_are_asked_for && let Err(why) = crash_points::arm_from_environment() {
        let text = format!("{why}\n  next: quorate debug crash-points");
        return fail(&CliError { exit: Exit::Usage, text }, &out);
    }
    // A node lives on without a reader; an answer that is lost is a failure.
    let answers = !matches!(arguments.command, None | Some(Command::Start(_)));
    let arrived = || if answers { out.arrived() } else { Ok(()) };
    match run(arguments, &out).and_then(|()| arrived()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, &out),
    }
}

fn fail(error: &CliError, out: &Output) -> ExitCode {
    output::complain(error);
    out.nothing_but(error);
    error.exit.into()
}

/// Words that are not understood; `--json` may be among them.
fn refuse(refusal: &clap::Error) -> ExitCode {
    if refusal.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = refusal.print();
        return Exit::Usage.into();
    }
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let reader = if words.iter().any(|word| word == "--json") { Reader::Program } else { Reader::Person };
    fail(&refusal::explain(refusal, &words), &Output::new(reader, Box::new(std::io::stdout())))
}

fn run(arguments: Arguments, out: &Output) -> Result<(), CliError> {
    let Arguments { common, development, command } = arguments;
    let Some(command) = command else { return development::run(&common, &development, out) };
    if let Some(flag) = development.given() {
        return Err(CliError {
            exit: Exit::Usage,
            text: format!("flag {flag} before a command belongs to the form without one\n  next: quorate --help"),
        });
    }
    match command {
        Command::Init(args) => init::run(&common, &args, out),
        Command::Start(flags) => start::run(&common, flags, out),
        Command::Status(args) => status::run(&common, &args, out),
        Command::Why(args) => why::run(&common, &args, out),
        Command::Net(args) => net::run(&common, &args, out),
        Command::Testnet(args) => testnet::run(&args, out),
        Command::Evidence(command) => evidence::run(&common, &command, out),
        Command::Simulate(args) => simulate::run(&args, simulate::Events::of(&common), out),
        Command::Debug(command) => debug::run(&command, out),
        Command::Version(args) => version::run(&args, out),
        Command::ShowNodeId => keys::show_node_id(&common, out),
        Command::ShowValidator => keys::show_validator(&common, out),
        Command::GenNodeKey => keys::gen_node_key(&common, out),
        Command::GenValidator => keys::gen_validator(out),
        Command::ResetState => reset::state(&common, out),
        Command::UnsafeResetAll(args) => reset::all(&common, &args, out),
        Command::AdvanceSignState(args) => advance::run(&common, &args, out),
        Command::UnsafeResetPrivValidator => reset::priv_validator(&common, out),
    }
}

#[cfg(test)]
mod tests;
