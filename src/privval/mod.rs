//! The validator key and the guard that never signs twice. The only place that signs (reference §9).
//!
//! `guard` is the rule, pure: what may be signed after what was signed last. `shown` is what blocks and journal show to
//! have been signed, whatever the state file says. `file` keeps key and last signature in CometBFT's two JSON files and
//! puts the new state on disk before a signature leaves. `sign_bytes` looks for the timestamp inside bytes that were
//! signed earlier.
//!
//! Reading order: `guard` → `shown` → `sign_bytes` → `files` → `file`.

mod file;
mod files;
mod guard;
#[cfg(feature = "misbehave")]
mod misbehave;
mod shown;
mod sign_bytes;

pub use file::FileSigner;
pub use files::KeyFileError;
pub use guard::{Answer, LastSigned, Refusal, SignedBytes, check};
#[cfg(feature = "misbehave")]
pub use misbehave::{HEIGHTS_VARIABLE, TwoFaced};
pub use shown::{HEIGHTS_SEARCHED_MAX, Shown, ShownBy, newest_shown};
