//! Before signing: is the sign state as new as what this home shows to have been signed, and might another node sign
//! with the same key?

use super::shown::{Shown, newest_shown};
use super::{ExecuteError, Executor};
use crate::ports::{Signer, Store};
use crate::replica::KeyCheck;
use crate::types::{Address, Height, SignPosition};
use std::path::PathBuf;
use std::time::Duration;

/// The sign state is older than what the key signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "refused to sign: {} says that the last signature of this key is {last}, but {shown}: the file is too old, and going \
     on could sign twice\n  next: put back the newest {}. If it is lost, stop every other node with this key, then: \
     quorate advance-sign-state",
    file.display(), file.file_name().unwrap_or(file.as_os_str()).display()
)]
pub struct StaleSignState {
    /// The state file.
    pub file: PathBuf,
    /// The last signature it knows.
    pub last: SignPosition,
    /// What shows that there was a later one.
    pub shown: Shown,
}

impl Executor {
    /// Refuses a signer whose state is older than what blocks and journal show its key to have signed. Asked at the
    /// start, and again whenever consensus takes up the chain: blocks fetched meanwhile may show more.
    pub(super) fn refuse_stale_sign_state(&self) -> Result<(), ExecuteError> {
        let Some(signer) = self.signer() else { return Ok(()) };
        let Some(memory) = signer.memory() else { return Ok(()) };
        let records = self.journal.records_since(self.store.tip().next())?;
        let own = Address::from(&signer.public_key());
        match newest_shown(&*self.store, &records, &own, memory.last)? {
            None => Ok(()),
            Some(shown) => Err(StaleSignState { file: memory.file, last: memory.last, shown }.into()),
        }
    }
}

/// Whether a validator that rejoins listens for its own key before it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoppelgangerCheck {
    /// It does.
    OnRejoin,
    /// It signs at once.
    Skipped,
}

/// Whether anybody could be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hearing {
    /// Other validators, or peers an operator named.
    Others,
    /// A validator that decides alone and knows of no peer.
    Nobody,
}

/// How a validator looks for its own key elsewhere. One that signed before, or whose home has blocks, rejoins: another
/// node may have its key meanwhile. What that costs is said, and what to do who cannot wait.
pub(super) fn key_check(
    signer: Option<&dyn Signer>,
    store: &dyn Store,
    longest: Duration,
    check: DoppelgangerCheck,
    hearing: Hearing,
) -> KeyCheck {
    let memory = signer.and_then(Signer::memory);
    let (Some(memory), DoppelgangerCheck::OnRejoin) = (memory, check) else { return KeyCheck::Skipped };
    let rejoins = store.tip() > Height::ZERO || memory.last > SignPosition::START;
    if !rejoins || hearing == Hearing::Nobody {
        return KeyCheck::WhileSigning(memory.last);
    }
    tracing::info!(
        "this validator rejoins: it listens for its own key up to {longest:?} before it signs. With \
         --skip-doppelganger-check it signs at once"
    );
    KeyCheck::BeforeSigning(memory.last)
}
