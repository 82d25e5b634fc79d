//! From a fresh socket to a peer that has proved who it is and told what it runs: secret connection, proof, node info,
//! compatibility (reference §5.1, §5.2).
//!
//! A peer may send anything at all until its proof is checked, so every message has a limit of its own and the whole
//! has one deadline.

use super::compatible::{self, Incompatible};
use super::secret::{Agreed, Hello, SEALED_LEN, SecretError};
use super::wire::{ReadError, Reader, Writer};
use crate::codec::DecodeError;
use crate::codec::frame::{self, FrameError};
use crate::codec::wire::connection::{AuthSig, EphemeralKey};
use crate::crypto::{PrivateKey, PublicKey};
use crate::types::{Address, NodeId, NodeInfo};
use bytes::Bytes;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use zeroize::Zeroizing;

/// Bytes of the ephemeral key's message: 34, and room for fields yet unknown. CometBFT takes a megabyte.
const EPHEMERAL_BYTES_MAX: usize = 64;
/// Bytes of the proof: 102, and room for fields yet unknown. CometBFT takes a megabyte.
const AUTH_BYTES_MAX: usize = 512;
/// Bytes of a node info, as in CometBFT.
const NODE_INFO_BYTES_MAX: usize = 10_240;
/// Bytes read at once: what follows the node info belongs to the connection and waits in the socket.
const READ_LEN: usize = 4 * SEALED_LEN;

/// A peer after its handshake, with the connection to it.
#[derive(Debug)]
pub(super) struct Upgraded<S> {
    /// Who, proved by its key.
    pub(super) id: NodeId,
    /// What it says about itself.
    pub(super) info: NodeInfo,
    pub(super) reader: Reader<ReadHalf<S>>,
    pub(super) writer: Writer<WriteHalf<S>>,
}

/// What was awaited when a handshake failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its ephemeral key.
    EphemeralKey,
    /// Its proof.
    Proof,
    /// Its node info.
    NodeInfo,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Stage::EphemeralKey => "ephemeral key",
            Stage::Proof => "proof of identity",
            Stage::NodeInfo => "node info",
        })
    }
}

/// Why a socket did not become a peer. Prints as one sentence about the other side.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// Too slow or silent.
    #[error("the handshake was not over after {0:?}")]
    Timeout(Duration),
    /// The socket failed.
    #[error("the connection broke while its {stage} was awaited: {source}")]
    Io {
        /// When.
        stage: Stage,
        /// How.
        source: io::Error,
    },
    /// It hung up.
    #[error(
        "it closed the connection while its {0} was awaited: it may refuse this node, be full, or speak TLS or HTTP"
    )]
    Closed(Stage),
    /// More bytes than such a message has.
    #[error("instead of its {stage} it sent something else: {why}")]
    Frame {
        /// When.
        stage: Stage,
        /// What was wrong.
        why: FrameError,
    },
    /// Not the message expected.
    #[error("its {stage} cannot be read: {why}")]
    Malformed {
        /// When.
        stage: Stage,
        /// What was wrong.
        why: DecodeError,
    },
    /// The cryptography failed.
    #[error("{0}")]
    Secret(#[from] SecretError),
    /// Somebody else answers there.
    #[error("node {got} answered where {expected} was called: correct the id in the address, or somebody poses as it")]
    Unexpected {
        /// Whom we called.
        expected: NodeId,
        /// Who answered.
        got: NodeId,
    },
    /// It poses as somebody else.
    #[error("node {proved} says it is {said}")]
    OtherName {
        /// Whose key it holds.
        proved: NodeId,
        /// Who it says it is.
        said: NodeId,
    },
    /// We called ourselves.
    #[error("this node called itself")]
    Ourselves,
    /// Nothing to say to each other.
    #[error("{0}")]
    Incompatible(#[from] Incompatible),
}

/// The other end of a socket, known by its key. It has not said yet what it runs, and we have not told it.
#[derive(Debug)]
pub(super) struct Authenticated<S> {
    id: NodeId,
    reader: Reader<ReadHalf<S>>,
    writer: Writer<WriteHalf<S>>,
}

/// Makes a peer of a socket: [`authenticate`], then [`Authenticated::exchange`], within one deadline.
#[cfg(test)]
pub(super) async fn upgrade<S: AsyncRead + AsyncWrite>(
    socket: S,
    key: &PrivateKey,
    ours: &NodeInfo,
    expected: Option<NodeId>,
    timeout: Duration,
) -> Result<Upgraded<S>, HandshakeError> {
    let handshake = async { authenticate(socket, key, expected).await?.exchange(ours).await };
    tokio::time::timeout(timeout, handshake).await.unwrap_or(Err(HandshakeError::Timeout(timeout)))
}

/// Agrees on keys and learns who is there. Both sides do the same, whoever called. `expected` is the node that was
/// called, if we called. The caller sets the deadline.
pub(super) async fn authenticate<S: AsyncRead + AsyncWrite>(
    socket: S,
    key: &PrivateKey,
    expected: Option<NodeId>,
) -> Result<Authenticated<S>, HandshakeError> {
    let (mut read_half, mut write_half) = tokio::io::split(socket);
    let mut secret = Zeroizing::new([0; 32]);
    rand::Rng::fill_bytes(&mut rand::rng(), &mut secret[..]);
    let hello = Hello::new(secret);
    let mut message = Vec::new();
    frame::append(&mut message, &hello.message().encode());
    let send = async { write_half.write_all(&message).await.map_err(|why| broken(Stage::EphemeralKey, why)) };
    let ((), theirs) = tokio::try_join!(send, read_ephemeral(&mut read_half))?;
    let Agreed { sealer, opener, challenge } = hello.agree(theirs)?;
    let proof = challenge.prove(key).encode();
    let (mut reader, mut writer) = (Reader::new(read_half, opener), Writer::new(write_half, sealer));
    let message = exchange(&mut reader, &mut writer, proof, Limit(Stage::Proof, AUTH_BYTES_MAX)).await?;
    let proof = AuthSig::decode(message).map_err(|why| HandshakeError::Malformed { stage: Stage::Proof, why })?;
    let id = node_id(&challenge.check(&proof)?);
    match expected {
        Some(expected) if expected != id => Err(HandshakeError::Unexpected { expected, got: id }),
        _ if id == node_id(&key.public_key()) => Err(HandshakeError::Ourselves),
        _ => Ok(Authenticated { id, reader, writer }),
    }
}

fn node_id(key: &PublicKey) -> NodeId {
    NodeId::new(Address::from(key))
}

impl<S: AsyncRead + AsyncWrite> Authenticated<S> {
    /// Who it is.
    pub(super) fn id(&self) -> NodeId {
        self.id
    }

    /// Tells what we run, learns what it runs, and whether that fits. The caller sets the deadline.
    pub(super) async fn exchange(self, ours: &NodeInfo) -> Result<Upgraded<S>, HandshakeError> {
        const STAGE: Stage = Stage::NodeInfo;
        let Authenticated { id, mut reader, mut writer } = self;
        let message = exchange(&mut reader, &mut writer, ours.encode(), Limit(STAGE, NODE_INFO_BYTES_MAX)).await?;
        let info = NodeInfo::decode(message).map_err(|why| HandshakeError::Malformed { stage: STAGE, why })?;
        if info.node_id != id {
            return Err(HandshakeError::OtherName { proved: id, said: info.node_id });
        }
        compatible::check(ours, &info)?;
        Ok(Upgraded { id, info, reader, writer })
    }
}

/// A socket's error: most often it only says that the other side hung up.
fn broken(stage: Stage, source: io::Error) -> HandshakeError {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match source.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => HandshakeError::Closed(stage),
        _ => HandshakeError::Io { stage, source },
    }
}

/// Reads the one message that comes unsealed, byte by byte up to its length, so that no byte of a frame is taken.
async fn read_ephemeral(socket: &mut (impl AsyncRead + Unpin)) -> Result<EphemeralKey, HandshakeError> {
    const STAGE: Stage = Stage::EphemeralKey;
    let mut message = Vec::new();
    let head = loop {
        let lies = frame::body(&message, EPHEMERAL_BYTES_MAX);
        let start = message.len();
        let missing = match lies.map_err(|why| HandshakeError::Frame { stage: STAGE, why })? {
            Some((head, len)) if head + len == start => break head,
            Some((head, len)) => head + len - start,
            None => 1,
        };
        message.resize(start + missing, 0);
        socket.read_exact(&mut message[start..]).await.map_err(|why| broken(STAGE, why))?;
    };
    let body = Bytes::from(message).slice(head..);
    EphemeralKey::decode(body).map_err(|why| HandshakeError::Malformed { stage: STAGE, why })
}

/// What is awaited, and how many bytes it may have.
struct Limit(Stage, usize);

/// Sends a message and reads one, both at once: neither side waits for the other to begin.
async fn exchange<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    reader: &mut Reader<R>,
    writer: &mut Writer<W>,
    ours: Bytes,
    limit: Limit,
) -> Result<Bytes, HandshakeError> {
    let stage = limit.0;
    let mut message = Vec::new();
    frame::append(&mut message, &ours);
    let send = async { writer.write(&message).await.map_err(|why| broken(stage, why)) };
    let ((), theirs) = tokio::try_join!(send, read_message(reader, limit))?;
    Ok(theirs)
}

async fn read_message<R: AsyncRead + Unpin>(
    reader: &mut Reader<R>,
    Limit(stage, max): Limit,
) -> Result<Bytes, HandshakeError> {
    loop {
        let lies = frame::body(&reader.plain, max).map_err(|why| HandshakeError::Frame { stage, why })?;
        if let Some((head, len)) = lies
            && let Some(body) = reader.plain.get(head..head + len)
        {
            let body = Bytes::copy_from_slice(body);
            reader.consume(head + len);
            return Ok(body);
        }
        reader.fill(READ_LEN).await.map_err(|why| match why {
            ReadError::Closed | ReadError::Truncated => HandshakeError::Closed(stage),
            ReadError::Io(source) => broken(stage, source),
            ReadError::Secret(why) => HandshakeError::Secret(why),
        })?;
    }
}

#[cfg(test)]
mod tests;
