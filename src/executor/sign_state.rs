//! Before signing: is the sign state as new as what this home shows to have been signed, and might another node sign
//! with the same key?

use super::shown::{Shown, newest_shown};
use super::{ExecuteError, Executor};
use crate::ports::{SignMemory, Signer, Store};
use crate::replica::KeyCheck;
use crate::types::{Address, Algorithm, ChainState, Height, JournalRecord, Promises, SignPosition};
use std::fmt;
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

/// The journal of a validator of Raft or PBFT is gone, and with it what the validator promised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "refused to take part: {} says that this key {deed}, but the journal does not say in which {round} this node \
     last was, nor what it promised there: it was set aside, or comes from another time. Taking part could decide \
     two blocks at one height\n  next: put back the journal (data/cs.wal) that belongs to this home. If it is lost, this \
     validator has to come back with a new key: move config/priv_validator_key.json away, then quorate unsafe-reset-all, \
     which makes a new one where none is; then have the application replace the old one",
    file.display()
)]
pub struct ForgottenPromises {
    /// The state file.
    pub file: PathBuf,
    /// What it says that the key did.
    pub deed: Deed,
    /// Term or view.
    pub round: &'static str,
}

/// The journal of a validator of Raft or PBFT is of a later height than its blocks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "refused to take part: the journal says that this node was at height {promised}, and its blocks end below height \
     {height}: they were put back from an older copy. What it acknowledged at the heights between, it would forget, and \
     two blocks could be decided at one of them\n  next: put back the newest data/ as a whole. If its blocks are lost, \
     this validator has to come back with a new key: move config/priv_validator_key.json away, then quorate \
     unsafe-reset-all, which makes a new one where none is; then have the application replace the old one"
)]
pub struct BlocksFromAnOlderCopy {
    /// The height of the newest standing in the journal.
    pub promised: Height,
    /// The height the store lets this node take up.
    pub height: Height,
}

/// What a key did that it must not forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Its last vote or proposal.
    Signed(SignPosition),
    /// It voted for a leader or left a view, and signed nothing for a block.
    Promised,
}

impl Deed {
    /// What a signer remembers to have done; none when its key is free.
    fn of(memory: &SignMemory) -> Option<Deed> {
        match (memory.last, memory.promises) {
            (SignPosition::START, Promises::NoneGiven) => None,
            (SignPosition::START, Promises::Given) if mutant!("K32") => None,
            (SignPosition::START, Promises::Given) => Some(Deed::Promised),
            (last, _) => Some(Deed::Signed(last)),
        }
    }
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Deed::Signed(last) => write!(f, "signed {last}"),
            Deed::Promised => f.write_str("voted for a leader or left a view"),
        }
    }
}

impl Executor {
    /// Under Raft and PBFT who granted a vote, or left a view, must not forget it, whatever happens to its disk: a second
    /// vote in one term elects a second leader (Raft, §5.2 and Figure 2, "persistent state"; bug class 118). The sign
    /// state remembers of a vote for a leader only that there was one; which, the journal says. So a key that signed or
    /// promised, and no standing in the journal, do not go together. Nor does a standing of a height beyond the next: it
    /// is written when the block before is stored, so that block was here, and what was acknowledged after it (§5.4.1)
    /// would not be read back at the height where it counts.
    pub(super) fn refuse_forgotten_promises(
        &self,
        state: &ChainState,
        records: &[JournalRecord],
    ) -> Result<(), ExecuteError> {
        let round = match state.algorithm {
            Algorithm::Tendermint => return Ok(()),
            Algorithm::Raft => "term",
            Algorithm::Pbft => "view",
        };
        let Some(memory) = self.signer().and_then(Signer::memory) else { return Ok(()) };
        let Some(deed) = Deed::of(&memory) else { return Ok(()) };
        let standings = records.iter().filter_map(|record| match record {
            JournalRecord::Standing(standing) => Some(standing.height),
            _ => None,
        });
        match (standings.max(), state.next_height()) {
            (None, _) if !mutant!("K20") => Err(ForgottenPromises { file: memory.file, deed, round }.into()),
            (Some(promised), height) if promised > height => Err(BlocksFromAnOlderCopy { promised, height }.into()),
            _ => Ok(()),
        }
    }

    /// Refuses a signer whose state is older than what blocks and journal show its key to have signed. Asked at the
    /// start, and again whenever consensus takes up the chain: blocks fetched meanwhile may show more.
    pub(super) fn refuse_stale_sign_state(&self) -> Result<(), ExecuteError> {
        let Some(signer) = self.signer() else { return Ok(()) };
        let Some(memory) = signer.memory() else { return Ok(()) };
        let records = self.journal.records_since(self.store.tip().next())?;
        let own = Address::from(&signer.public_key());
        match newest_shown(&*self.store, &records, &own, memory.last)? {
            None => Ok(()),
            Some(_) if mutant!("K21") => Ok(()),
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
    let rejoins = (store.tip() > Height::ZERO && !mutant!("K102")) || memory.last > SignPosition::START;
    if !rejoins || hearing == Hearing::Nobody {
        return KeyCheck::WhileSigning(memory.last);
    }
    tracing::info!(
        "this validator rejoins: it listens for its own key up to {longest:?} before it signs. With \
         --skip-doppelganger-check it signs at once"
    );
    KeyCheck::BeforeSigning(memory.last)
}

#[cfg(test)]
mod tests;
