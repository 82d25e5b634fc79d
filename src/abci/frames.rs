//! Messages out of a stream of bytes: reads, and lets `codec` cut.

use crate::codec::frame;
use bytes::{Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Read at once: about what a batch of 1,000 transactions takes.
const READ_BYTES: usize = 256 << 10;

/// Why no more frames come.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it was closed in the middle of a message, after {got} bytes of it")]
    Truncated { got: usize },
    #[error("{0}")]
    NotAFrame(#[from] frame::FrameError),
}

/// Cuts a stream into frames. Frames share the read buffer, nothing is copied.
pub(super) struct Frames<R> {
    input: R,
    buffer: BytesMut,
    frame_bytes_max: usize,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(super) fn new(input: R, frame_bytes_max: usize) -> Frames<R> {
        Frames { input, buffer: BytesMut::new(), frame_bytes_max }
    }

    /// The next frame; none when the stream ends between two. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            self.buffer.reserve(READ_BYTES);
            if self.input.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.len() {
                    got if got == 0 || mutant!("O98") => Ok(None),
                    got => Err(FrameError::Truncated { got }),
                };
            }
        }
    }

    /// The next frame if it is here already.
    pub(super) fn buffered(&mut self) -> Result<Option<Bytes>, FrameError> {
        Ok(frame::take(&mut self.buffer, self.frame_bytes_max)?)
    }
}
