//! Blocks, states, results and the index on disk.
