//! What is done with a peer's message before the replica hears of it: it is decoded, signatures are checked, what a
//! peer asks of the store is told apart from what the replica must know. Runs in the peer's own task.

use super::fetched::Owed;
use super::load::evidence_facts;
use super::seen::{Seen, VoteName};
use crate::consensus::Direct;
use crate::consensus::tendermint::Message;
use crate::evidence::Facts;
use crate::gossip::{DirectSigners, Heard, HeardDirect, Signers, hear};
use crate::mempool::gossip::check_batch;
use crate::ports::{Store, StoreError};
use crate::replica::{PeerInput, Whose};
use crate::sync::SyncInput;
use crate::types::{
    Address, BlocksyncMessage, Channel, ConsensusMessage, DirectMessage, Evidence, ExtendedCommit, NodeId, PeerMessage,
    Tx, ValidatorSet,
};
use bytes::Bytes;
use std::sync::Arc;

/// Receives for one node, whichever peer speaks.
#[derive(Debug)]
pub struct Reception {
    seen: Arc<Seen>,
    /// Who owes us blocks.
    owed: Arc<Owed>,
    /// Largest transaction taken from a peer, and most bytes of all in one message.
    max_tx_bytes: u64,
}

/// What a message comes to.
#[derive(Debug)]
pub enum Received {
    /// For the replica, and then [`Reception::handed_on`].
    Said(PeerInput, Handed),
    /// To be checked by [`crate::gossip::hear_direct`], which is heavy where certificates are in it, and handed on as
    /// [`heard_directly`] says.
    Direct(Option<Arc<DirectSigners>>, DirectMessage),
    /// For the replica, one piece after the other through [`judge_evidence`]: each takes a set of validators along, so
    /// those of a long list of lies must not be in memory together.
    Evidence(Vec<Evidence>),
    /// For the replica.
    Sync(SyncInput),
    /// A block we asked for: [`super::read_block`] reads it, which is heavy.
    Block {
        /// The whole message's length.
        message_bytes: usize,
        /// The block.
        block: Bytes,
        /// Its commit with extensions, if one came along.
        extended_commit: Option<ExtendedCommit>,
    },
    /// To be answered from the store: [`super::answer`].
    Asked(BlocksyncMessage),
}

/// A validator whose signature a message proved, and the set it stands in.
pub type Speaker = (Arc<ValidatorSet>, Address);

/// What is known of a message besides what the replica must know.
#[derive(Debug, Default)]
pub struct Handed {
    /// Whose signature it proved; none where it is nobody's or several'.
    pub speaker: Option<Speaker>,
    vote: Option<(Arc<Signers>, VoteName)>,
}

impl Reception {
    /// Nobody spoke yet.
    pub fn new(owed: Arc<Owed>, max_tx_bytes: u64) -> Reception {
        Reception { seen: Arc::default(), owed, max_tx_bytes }
    }

    /// The votes it heard, for who learns what became of them.
    pub fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }

    /// Reads a message. What it holds on to of `message`'s memory is at least half of that memory.
    ///
    /// # Errors
    /// A sentence about the peer that sent it, to be dropped.
    pub fn read(channel: Channel, message: Bytes) -> Result<PeerMessage, String> {
        let bytes = message.len();
        let mut decoded = PeerMessage::decode(channel, message)
            .map_err(|error| format!("sent a message on channel {channel:?} that cannot be read: {error}"))?;
        match &mut decoded {
            PeerMessage::Consensus(ConsensusMessage::BlockPart { part, .. })
            | PeerMessage::Direct(_, DirectMessage::Part { part, .. }) => take_out(&mut part.bytes, bytes),
            PeerMessage::Consensus(ConsensusMessage::Vote(vote))
            | PeerMessage::Direct(_, DirectMessage::Vote(vote)) => take_out(&mut vote.extension, bytes),
            PeerMessage::Txs(txs) => txs.iter_mut().for_each(|tx| take_out(tx, bytes)),
            _ => {}
        }
        Ok(decoded)
    }

    /// Checks what `peer` said in a message of `bytes` bytes, `whose` signatures counting now.
    ///
    /// # Errors
    /// A sentence about the peer, to be dropped.
    pub fn receive(
        &self,
        whose: Option<&Whose>,
        peer: NodeId,
        message: PeerMessage,
        bytes: usize,
    ) -> Result<Received, String> {
        match message {
            PeerMessage::Consensus(message) => self.hear(whose, message),
            PeerMessage::Direct(_, message) => {
                let signers = match whose {
                    Some(Whose::Direct(signers)) => Some(Arc::clone(signers)),
                    Some(Whose::Gossiped(_)) | None => None,
                };
                Ok(Received::Direct(signers, message))
            }
            PeerMessage::Txs(txs) => {
                if !mutant!("N48") {
                    check_batch(&txs, self.max_tx_bytes).map_err(|why| why.to_string())?;
                }
                let txs = txs.into_iter().map(Tx::new).collect();
                Ok(Received::Said(PeerInput::Txs(txs), Handed::default()))
            }
            PeerMessage::Evidence(list) => Ok(Received::Evidence(list)),
            PeerMessage::Blocksync(message) => self.blocksync(peer, message, bytes),
        }
    }

    /// To be called when what was [`Received::Said`] was handed on: a vote that was not, because its peer went away, is
    /// needed still from the next one.
    pub fn handed_on(&self, handed: Handed) {
        if let Some((signers, name)) = handed.vote {
            self.seen.insert(&signers, name);
        }
    }

    fn hear(&self, whose: Option<&Whose>, message: ConsensusMessage) -> Result<Received, String> {
        let signers = match whose {
            Some(Whose::Gossiped(signers)) => Some(signers),
            Some(Whose::Direct(_)) | None => None,
        };
        let vote = match (signers, &message) {
            (Some(signers), ConsensusMessage::Vote(vote)) => {
                Seen::name(signers, vote).map(|name| (Arc::clone(signers), name))
            }
            _ => None,
        };
        if vote.as_ref().is_some_and(|(signers, name)| self.seen.contains(signers, name)) {
            // Another peer was quicker. That this one has the vote as well still counts.
            let told = PeerInput::Heard(Box::new(Heard::Told(message)));
            return Ok(Received::Said(told, Handed::default()));
        }
        let heard = hear(signers.map(|signers| &**signers), message).map_err(str::to_owned)?;
        let speaker = match (signers, &heard) {
            (Some(signers), Heard::Said(said, _)) => {
                speaker(signers, said).map(|address| (Arc::clone(&signers.validators), address))
            }
            _ => None,
        };
        Ok(Received::Said(PeerInput::Heard(Box::new(heard)), Handed { speaker, vote }))
    }

    fn blocksync(&self, peer: NodeId, message: BlocksyncMessage, bytes: usize) -> Result<Received, String> {
        match message {
            BlocksyncMessage::BlockRequest(_) | BlocksyncMessage::StatusRequest => Ok(Received::Asked(message)),
            BlocksyncMessage::StatusResponse { height, base } => {
                Ok(Received::Sync(SyncInput::Status { peer, base, height }))
            }
            BlocksyncMessage::NoBlockResponse(height) => {
                self.owed.answered(peer);
                Ok(Received::Sync(SyncInput::NoBlock { peer, height }))
            }
            BlocksyncMessage::BlockResponse { block, extended_commit } => {
                if !self.owed.answered(peer) && !mutant!("N47") {
                    return Err("it sent a block, and was not asked for one".to_owned());
                }
                Ok(Received::Block { message_bytes: bytes, block, extended_commit })
            }
        }
    }
}

/// A piece of evidence with what the store knows about it.
///
/// # Errors
/// A sentence about the peer that sent it. The rest of its list need not be looked at.
pub fn judge_evidence(
    store: &dyn Store,
    evidence: Evidence,
) -> Result<Result<(Evidence, Option<Facts>), StoreError>, String> {
    if !mutant!("E30") {
        evidence.validate_basic().map_err(|why| format!("sent invalid evidence: {why}"))?;
    }
    Ok(evidence_facts(store, &evidence).map(|facts| (evidence, facts)))
}

/// What the replica must know of a message of Raft or PBFT that was checked against these signers.
pub fn heard_directly(signers: Option<&DirectSigners>, heard: HeardDirect) -> (PeerInput, Handed) {
    let speaker = match (signers, &heard) {
        (Some(signers), HeardDirect::Said(said)) => {
            direct_speaker(said).map(|address| (Arc::clone(&signers.validators), address))
        }
        _ => None,
    };
    (PeerInput::HeardDirect(Box::new(heard)), Handed { speaker, vote: None })
}

/// Whose signature a message of Tendermint proved; none for a part.
fn speaker(signers: &Signers, said: &Message) -> Option<Address> {
    match said {
        Message::Vote(vote) => Some(vote.validator_address),
        Message::Proposal(proposal) => {
            let proposer = signers.proposers.iter().find(|(round, _)| *round == proposal.round);
            proposer.map(|(_, address)| *address)
        }
        Message::Part { .. } => None,
    }
}

/// Whose signature a message of Raft or PBFT proved; none where it is nobody's or several'.
fn direct_speaker(said: &Direct) -> Option<Address> {
    match said {
        Direct::Statement(statement) => Some(statement.by),
        Direct::Proposal { by, .. } => Some(*by),
        Direct::Vote(vote) => Some(vote.validator_address),
        Direct::Outsider(_) | Direct::Part { .. } | Direct::Commit(_) => None,
    }
}

/// A piece of a message keeps the whole message in memory, and only the piece is counted: padding, and transactions long
/// gone, would be free for the peer. One that is less than half of its message gets memory of its own.
fn take_out(piece: &mut Bytes, message_bytes: usize) {
    if piece.len() < message_bytes / 2 {
        *piece = Bytes::copy_from_slice(piece);
    }
}
