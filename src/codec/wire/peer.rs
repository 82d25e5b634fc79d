//! Messages of every channel but those the network keeps to itself.

use super::evidence::EvidenceMessage;
use super::mempool::MempoolMessage;
use crate::codec::DecodeError;
use crate::types::{Algorithm, BlocksyncMessage, Channel, ConsensusMessage, DirectMessage, PeerMessage};
use bytes::Bytes;

impl PeerMessage {
    /// The message as CometBFT, or `docs/formats/direct.md`, writes it on its channel.
    pub fn encode(&self) -> Bytes {
        match self {
            PeerMessage::Consensus(message) => message.encode(),
            PeerMessage::Txs(txs) => MempoolMessage { txs: txs.clone() }.encode(),
            PeerMessage::Evidence(evidence) => EvidenceMessage { evidence: evidence.clone() }.encode(),
            PeerMessage::Blocksync(message) => message.encode(),
            PeerMessage::Direct(_, message) => message.encode(),
        }
    }

    /// Reads what came on a channel; byte fields share the buffer. Messages of consensus are held to the channels
    /// they belong to.
    pub fn decode(channel: Channel, bytes: Bytes) -> Result<PeerMessage, DecodeError> {
        match channel {
            Channel::State | Channel::Data | Channel::Vote | Channel::VoteSetBits => {
                let message = ConsensusMessage::decode(bytes)?;
                if message.channel() == channel {
                    Ok(PeerMessage::Consensus(message))
                } else {
                    Err(DecodeError::new("came on a channel where it does not belong"))
                }
            }
            Channel::Mempool => MempoolMessage::decode(bytes).map(|message| PeerMessage::Txs(message.txs)),
            Channel::Evidence => EvidenceMessage::decode(bytes).map(|message| PeerMessage::Evidence(message.evidence)),
            Channel::Blocksync => BlocksyncMessage::decode(bytes).map(PeerMessage::Blocksync),
            Channel::PbftControl | Channel::PbftData => decode_direct(Algorithm::Pbft, channel, bytes),
            Channel::RaftControl | Channel::RaftData => decode_direct(Algorithm::Raft, channel, bytes),
            Channel::Pex | Channel::Snapshot | Channel::Chunk => {
                Err(DecodeError::new("came on a channel this node does not listen to"))
            }
        }
    }
}

fn decode_direct(algorithm: Algorithm, channel: Channel, bytes: Bytes) -> Result<PeerMessage, DecodeError> {
    let message = DirectMessage::decode(bytes)?;
    let foreign = matches!(&message, DirectMessage::Statement(statement) if statement.body.algorithm() != algorithm);
    if foreign || message.channel(algorithm) != channel {
        return Err(DecodeError::new("came on a channel where it does not belong"));
    }
    Ok(PeerMessage::Direct(algorithm, message))
}
