//! Light client: follow a chain by its headers, trusting a set of validators for a while (reference §7.6).
//!
//! `verify` decides about one header; whom to ask for which header is for those who call it.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

mod verify;

pub use verify::{InvalidHeader, LightError, Options, Trusted, verify, verify_backwards};
