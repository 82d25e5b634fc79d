//! The node's executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    quorate::cli::main()
}
