//! What the driver lets others know at any time, without asking it.

use super::handle::not_begun;
use crate::ports::{ConsensusView, HealthCheck};
use crate::sync::{Progress, Stage};
use crate::types::{Address, ChainState, Height, Time};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Shared between the driver and the handles.
#[derive(Debug)]
pub(super) struct SharedStatus {
    /// The state the node began with, for what is asked before there is another.
    genesis_state: Arc<ChainState>,
    now: Mutex<Standing>,
    /// What became of the last request for a signature.
    signer: Mutex<Result<(), String>>,
    /// When a block was applied last.
    applied: Mutex<Option<Instant>>,
    /// Whose votes for which height the application refuses for their extensions: at most a set of validators.
    refused: Mutex<(Height, BTreeSet<Address>)>,
}

#[derive(Debug)]
struct Standing {
    application: Result<(), String>,
    consensus: Consensus,
}

/// What consensus does.
#[derive(Debug)]
enum Consensus {
    Deciding,
    /// Blocks are fetched instead.
    Fetching(Option<Progress>),
    /// Nothing, and why.
    Stopped(String),
}

impl Consensus {
    fn check(&self) -> Result<(), String> {
        match self {
            Consensus::Deciding => Ok(()),
            Consensus::Fetching(None) => Err("about to ask peers which blocks they have".to_owned()),
            Consensus::Fetching(Some(progress)) => Err(match progress.stage {
                Stage::Waiting => "waiting for a peer that says which blocks it has".to_owned(),
                Stage::OutOfReach => format!("no peer has block {} any more", progress.at.next()),
                _ => format!("fetching blocks: {} of {}", progress.at, progress.target),
            }),
            Consensus::Stopped(why) => Err(why.clone()),
        }
    }
}

impl SharedStatus {
    pub(super) fn new(genesis_state: Arc<ChainState>, application: &str) -> SharedStatus {
        let standing = Standing {
            application: Err(format!("waiting for the application at {application}")),
            consensus: Consensus::Stopped("not begun: the handshake with the application comes first".to_owned()),
        };
        SharedStatus {
            genesis_state,
            now: Mutex::new(standing),
            signer: Mutex::new(Ok(())),
            applied: Mutex::default(),
            refused: Mutex::new((Height::ZERO, BTreeSet::new())),
        }
    }

    pub(super) fn app_connected(&self) {
        self.lock().application = Err("connected; the handshake is under way".to_owned());
    }

    pub(super) fn app_waiting(&self, why: &str) {
        self.lock().application = Err(format!("{why}; connecting again"));
    }

    /// The handshake is over: whatever halted consensus before, it goes on.
    pub(super) fn ready(&self) {
        *self.lock() = Standing { application: Ok(()), consensus: Consensus::Deciding };
    }

    /// The application is there; blocks are fetched from peers before consensus begins.
    pub(super) fn fetching_begun(&self) {
        *self.lock() = Standing { application: Ok(()), consensus: Consensus::Fetching(None) };
    }

    /// How far that is.
    pub(super) fn fetching(&self, progress: Progress) {
        let mut standing = self.lock();
        if let Consensus::Fetching(before) = &mut standing.consensus {
            *before = Some(progress);
        }
    }

    /// The application is there, and that is where the trouble comes from.
    pub(super) fn halted(&self, why: &str) {
        *self.lock() = Standing { application: Ok(()), consensus: Consensus::Stopped(why.to_owned()) };
    }

    /// The signer signed, or refused to.
    pub(super) fn signed(&self, outcome: Result<(), String>) {
        *self.signer.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }

    /// What became of the last request for a signature.
    pub(super) fn signer(&self) -> Result<(), String> {
        self.signer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The application refuses the extension of a vote for `height`.
    pub(super) fn extension_refused(&self, height: Height, who: Address) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.0 != height {
            *refused = (height, BTreeSet::new());
        }
        refused.1.insert(who);
    }

    /// Whose votes for `height` do not count because the application refuses their extensions.
    pub(super) fn extensions_refused(&self, height: Height) -> BTreeSet<Address> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.0 == height { refused.1.clone() } else { BTreeSet::new() }
    }

    /// A block was applied.
    pub(super) fn applied(&self) {
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Since a block was applied; none when this process applied none yet.
    pub(super) fn since_applied(&self) -> Option<Duration> {
        let applied = *self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.map(|applied| applied.elapsed())
    }

    /// Whether the application is there, or why not.
    pub(super) fn application(&self) -> Result<(), String> {
        self.lock().application.clone()
    }

    /// Why consensus stopped although the application is there.
    pub(super) fn halted_because(&self) -> Option<String> {
        let standing = self.lock();
        match (&standing.application, &standing.consensus) {
            (Ok(()), Consensus::Stopped(why)) => Some(why.clone()),
            _ => None,
        }
    }

    /// True while blocks are fetched instead of decided.
    pub(super) fn is_fetching(&self) -> bool {
        matches!(self.lock().consensus, Consensus::Fetching(_))
    }

    /// True while consensus takes part.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.lock().consensus, Consensus::Deciding)
    }

    pub(super) fn checks(&self) -> Vec<HealthCheck> {
        let standing = self.lock();
        vec![
            HealthCheck { name: "application", outcome: standing.application.clone() },
            HealthCheck { name: "consensus", outcome: standing.consensus.check() },
            HealthCheck { name: "signer", outcome: self.signer() },
        ]
    }

    pub(super) fn empty_view(&self, began: Time) -> ConsensusView {
        not_begun(&self.genesis_state, began)
    }

    fn lock(&self) -> MutexGuard<'_, Standing> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
