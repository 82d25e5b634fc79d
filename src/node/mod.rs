//! The asynchronous driver: executes the replica's orders in order.
