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
        "features": features(),
    });
    if args.verbose {
        out.line(&format!("{all:#}"));
    } else {
        out.give(&short(), &all);
    }
    Ok(())
}

/// What this build has that others may not have.
fn features() -> Vec<&'static str> {
    let built = [("rocksdb", cfg!(feature = "rocksdb")), ("misbehave", cfg!(feature = "misbehave"))];
    built.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
}

/// The version as everything that names it in one line shows it; a build that must not hold a real key says so.
pub(super) fn short() -> String {
    let version = env!("CARGO_PKG_VERSION");
    if cfg!(feature = "misbehave") {
        format!("{version}+misbehave (signs twice on purpose)")
    } else {
        version.to_owned()
    }
}
