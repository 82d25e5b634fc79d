//! Applications: the public [`Application`] trait, the socket client and server, the built-in ones.
//!
//! A Rust program implements [`Application`] and serves it with [`Server`]; the node reaches any program in any language
//! with [`SocketApp`], or one of its own process with [`LocalApp`]. Bytes on the wire are `codec`'s.

mod address;
mod application;
mod client;
mod frames;
mod hosted;
mod kvstore;
mod local;
mod noop;
mod server;

pub use address::{Address, AddressError};
pub use application::{Answer, Application, Failure, Reader, first_that_fit};
pub use client::{Lost, Options, SocketApp, TimeLimits, Waiting, connect};
pub use kvstore::KvStore;
pub use local::LocalApp;
pub use noop::Noop;
pub use server::{REQUEST_BYTES_MAX, ServeError, Server, run};

#[cfg(test)]
mod tests;
