//! Verifying headers without executing blocks.
