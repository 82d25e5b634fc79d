//! The application that does nothing: every default of [`Application`], as CometBFT's `noop`.

use super::Application;

/// Accepts everything, keeps nothing. For measuring the engine alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Noop;

impl Application for Noop {}
