//! `quorate version`.

use super::CliError;
use super::args::VersionArgs;
use super::output::Output;
use serde_json::json;

/// The CometBFT release whose bytes this node reads and writes.
const COMETBFT: &str = "0.38.25";
const ABCI: &str = "2.0.0";
const BLOCK_PROTOCOL: u64 = 11;
const P2P_PROTOCOL: u64 = 8;

pub(super) fn run(args: &VersionArgs, out: &Output) -> Result<(), CliError> {
    let version = env!("CARGO_PKG_VERSION");
    let all = json!({
        "quorate": version,
        "cometbft": COMETBFT,
        "abci": ABCI,
        "block_protocol": BLOCK_PROTOCOL,
        "p2p_protocol": P2P_PROTOCOL,
    });
    if args.verbose {
        out.line(&format!("{all:#}"));
    } else {
        out.give(version, &all);
    }
    Ok(())
}
