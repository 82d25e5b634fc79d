//! Tests that need a whole node, in one binary.
