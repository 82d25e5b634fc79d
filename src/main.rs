//! The node's executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::SUCCESS
}
