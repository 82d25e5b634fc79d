//! Messages of every channel but those the network keeps to itself.

use super::evidence::EvidenceMessage;
use super::mempool::MempoolMessage;
use crate::codec::DecodeError;
use crate::types::{BlocksyncMessage, Channel, ConsensusMessage, PeerMessage};
use bytes::Bytes;

impl PeerMessage {
    /// The message as CometBFT writes it on its channel.
    pub fn encode(&self) -> Bytes {
        match self {
            PeerMessage::Consensus(message) => message.encode(),
            PeerMessage::Txs(txs) => MempoolMessage { txs: txs.clone() }.encode(),
            PeerMessage::Evidence(evidence) => EvidenceMessage { evidence: evidence.clone() }.encode(),
            PeerMessage::Blocksync(message) => message.encode(),
        }
    }

    /// Reads what came on a channel; byte fields share the buffer. Consensus messages are held to the channels they
    /// belong to.
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
            Channel::Pex
            | Channel::Snapshot
            | Channel::Chunk
            | Channel::PbftControl
            | Channel::PbftData
            | Channel::RaftControl
            | Channel::RaftData => Err(DecodeError::new("came on a channel this node does not listen to")),
        }
    }
}
