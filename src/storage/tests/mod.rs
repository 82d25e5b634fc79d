//! The store on every backend, and what crashes, damage and pruning do to it.

mod backends;
mod chain;
mod crashes;
mod evidence;
pub(crate) mod meddled;
mod searches;
mod stores;
