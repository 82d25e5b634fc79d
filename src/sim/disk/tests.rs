//! The simulated disk itself.

mod guard;
mod journal;
mod model;
