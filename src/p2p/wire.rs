//! The secret connection on a socket: reads and writes as much as there is at once.

use super::secret::{Opener, SEALED_LEN, Sealer, SecretError};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes read from or written to the socket at once: 64 frames.
pub(super) const BATCH_LEN: usize = 64 * SEALED_LEN;

/// Why nothing more can be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    /// It closed the connection between two frames.
    #[error("it closed the connection")]
    Closed,
    /// The stream ends inside a frame.
    #[error("the connection ended in the middle of a frame")]
    Truncated,
    /// The socket failed.
    #[error("reading failed: {0}")]
    Io(io::Error),
    /// A frame is wrong.
    #[error("{0}")]
    Secret(SecretError),
}

/// The reading half.
#[derive(Debug)]
pub(super) struct Reader<R> {
    socket: R,
    opener: Opener,
    /// Sealed bytes; the first `filled` of them were read.
    sealed: Box<[u8]>,
    filled: usize,
    /// What the frames held and nobody has taken yet.
    pub(super) plain: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(socket: R, opener: Opener) -> Reader<R> {
        Reader { socket, opener, sealed: vec![0; BATCH_LEN].into(), filled: 0, plain: Vec::new() }
    }

    /// Waits for bytes, opens all frames complete by then and appends what they hold to `plain`. Reads at most `limit`
    /// bytes, and at least one. Gives the number of frames. Dropping the future loses nothing.
    pub(super) async fn fill(&mut self, limit: usize) -> Result<usize, ReadError> {
        let end = self.sealed.len().min(self.filled + limit.max(1));
        let read = self.socket.read(&mut self.sealed[self.filled..end]).await.map_err(ReadError::Io)?;
        match read {
            0 if self.filled == 0 => return Err(ReadError::Closed),
            0 => return Err(ReadError::Truncated),
            _ => self.filled += read,
        }
        let (frames, _) = self.sealed[..self.filled].as_chunks_mut::<SEALED_LEN>();
        let count = frames.len();
        let opened = count * SEALED_LEN;
        for frame in frames {
            self.plain.extend_from_slice(self.opener.open(frame).map_err(ReadError::Secret)?);
        }
        self.sealed.copy_within(opened..self.filled, 0);
        self.filled -= opened;
        Ok(count)
    }

    /// Drops the first `len` bytes of `plain`, which were taken.
    pub(super) fn consume(&mut self, len: usize) {
        self.plain.drain(..len);
    }
}

/// The writing half.
#[derive(Debug)]
pub(super) struct Writer<W> {
    socket: W,
    sealer: Sealer,
    sealed: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(socket: W, sealer: Sealer) -> Writer<W> {
        Writer { socket, sealer, sealed: Vec::new() }
    }

    /// Seals `plain` and hands it to the socket in one piece. Must run to its end: half a frame cannot be taken back.
    pub(super) async fn write(&mut self, plain: &[u8]) -> io::Result<()> {
        self.sealed.clear();
        self.sealer.seal(plain, &mut self.sealed);
        self.socket.write_all(&self.sealed).await?;
        self.socket.flush().await
    }
}
