//! Transactions waiting for a block: admission, cache, order, recheck, reap.
