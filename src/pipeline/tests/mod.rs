//! Stories about the pipeline, told with a model disk and a model application.

mod block_time;
mod blocks;
mod crash;
mod drafts;
mod handshake;
mod world;
