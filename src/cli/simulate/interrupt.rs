//! Ctrl-C in the middle of many seeds: what was found and covered so far is told all the same.

use crate::cli::output::Output;
use crate::cli::{CliError, Exit};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};

/// Whether somebody asked to stop.
#[derive(Debug, Clone, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// From now on the first SIGINT or SIGTERM is remembered, and the second ends the process. Where signals cannot be
    /// waited for, they end it as ever.
    pub(super) fn listen() -> Interrupt {
        let interrupt = Interrupt::default();
        let heard = interrupt.clone();
        std::thread::spawn(move || {
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                runtime.block_on(heard.remember());
            }
        });
        interrupt
    }

    async fn remember(self) {
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return;
        };
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if self.0.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Interrupted.code().into());
            }
            Output::note("interrupted: the report comes after this seed; once more ends at once");
        }
    }

    /// True when somebody did.
    pub(super) fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Nothing was found before somebody had enough.
pub(super) fn interrupted(what: impl std::fmt::Display, next: impl std::fmt::Display) -> CliError {
    CliError { exit: Exit::Interrupted, text: format!("{what}\n  next: {next}") }
}
