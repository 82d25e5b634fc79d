//! Proven misbehaviour: verify, pool, expiry, inclusion.
