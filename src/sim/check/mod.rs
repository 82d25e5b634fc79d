//! The rules a run must keep, one file each. See [`super::Checker`].

mod agreement;

pub use agreement::Agreement;

use super::Checker;

/// All of them, fresh.
pub fn all() -> Vec<Box<dyn Checker>> {
    vec![Box::<Agreement>::default()]
}
