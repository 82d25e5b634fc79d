//! A replicated key-value store: an application that any number of nodes keep in step over the ABCI socket.
//!
//! `app.rs` is what you would write for your own application, `store.rs` is where it keeps its data, and this file
//! starts both.

mod app;
mod store;

use app::KvStore;
use clap::Parser;
use quorate::abci::Address;
use std::path::PathBuf;
use std::process::ExitCode;
use store::Store;

/// A replicated key-value store. A node of Quorate or CometBFT connects to it.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Where nodes connect: tcp://HOST:PORT or unix://PATH
    #[arg(long, default_value = "tcp://127.0.0.1:26658")]
    address: Address,
    /// Directory for the data, created when missing
    #[arg(long, default_value = "kvstore-data")]
    home: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    match serve(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let app = KvStore::open(Store::open(&arguments.home)?)?;
    let height = app.height();
    quorate::abci::run(app, &arguments.address, |address| {
        println!("kvstore listens at {address}, at height {height}, data in {}", arguments.home.display());
    })?;
    Ok(())
}
