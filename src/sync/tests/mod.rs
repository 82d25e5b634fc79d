//! Stories of block sync.
