//! The validator key and the guard that never signs twice. The only place that signs (reference §9).
//!
//! `guard` is the rule, pure: what may be signed after what was signed last. `file` keeps key and last signature in
//! CometBFT's two JSON files and puts the new state on disk before a signature leaves. `sign_bytes` looks for the
//! timestamp inside bytes that were signed earlier. What blocks and journal show to have been signed, whatever the state
//! file says, is compared before anything is signed (`executor::shown`).
//!
//! Reading order: `guard` → `sign_bytes` → `files` → `file`.

mod file;
mod files;
mod guard;
#[cfg(feature = "misbehave")]
mod misbehave;
mod sign_bytes;

pub use file::FileSigner;
pub use files::KeyFileError;
pub use guard::{Answer, LastSigned, Refusal, SignedBytes, check};
#[cfg(feature = "misbehave")]
pub use misbehave::{HEIGHTS_VARIABLE, TwoFaced};
