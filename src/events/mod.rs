//! Bounded subscriptions to what the node publishes.
