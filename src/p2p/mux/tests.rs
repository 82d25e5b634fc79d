//! A connection's machines against dumb oracles, and two connections talking to each other. Time is tokio's, paused.

mod machines;
mod talk;
