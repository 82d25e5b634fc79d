//! Why bytes could not be read, with the way to the place inside the message.

use std::fmt;

/// Bytes that are not the message they should be. Prints as `Vote.block_id.hash: has 5 bytes, must have 32`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// Innermost field first.
    path: Vec<&'static str>,
    why: String,
}

impl DecodeError {
    /// An error at the place being read; callers add the way to it.
    pub(crate) fn new(why: impl fmt::Display) -> DecodeError {
        DecodeError { path: Vec::new(), why: why.to_string() }
    }

    /// An error in one field.
    pub(crate) fn at(field: &'static str, why: impl fmt::Display) -> DecodeError {
        DecodeError { path: vec![field], why: why.to_string() }
    }

    /// Adds the field or message around the place.
    pub(crate) fn within(mut self, outer: &'static str) -> DecodeError {
        self.path.push(outer);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.path.iter().rev().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            f.write_str(name)?;
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.why)
    }
}

impl std::error::Error for DecodeError {}
