//! Applications: the public [`Application`] trait, the socket client and server, the built-in ones.
//!
//! A Rust program implements [`Application`]; [`LocalApp`] runs one inside the node's own process.

mod application;
mod hosted;
mod kvstore;
mod local;
mod noop;

pub use application::{Answer, Application, Failure, Reader, first_that_fit};
pub use kvstore::KvStore;
pub use local::LocalApp;
pub use noop::Noop;
