//! Tests of the machine: stories of one validator, networks of several, crashes, and recorded traces.

mod stories;
mod story;
