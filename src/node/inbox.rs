//! Where peers' messages come in: decoded, checked and answered in the peer's own task as far as that goes without the
//! replica. What is left for the replica waits in one bounded queue; while it is full, nothing more is read from
//! whoever has something for it.

use super::fetch::{FetchedBlock, Fetcher};
use super::heard::LastHeard;
use super::seen::Seen;
use super::serve_blocks;
use super::traffic::Traffic;
use super::verify::Verifier;
use crate::consensus::Direct;
use crate::consensus::tendermint::Message;
use crate::gossip::{Heard, HeardDirect, Signers, hear};
use crate::mempool::gossip::check_batch;
use crate::p2p::{Fault, Network, PeerUp, Receiver};
use crate::ports::Store;
use crate::replica::{Input, PeerInput, Whose};
use crate::sync::SyncInput;
use crate::types::{
    Address, BlocksyncMessage, Channel, ConsensusMessage, DirectMessage, Evidence, NodeId, PeerMessage, Tx,
    ValidatorSet,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{SetOnce, mpsc, watch};

/// Facts from peers that may wait for the replica, as many as CometBFT lets wait (reference §5.6).
pub(super) const PEER_FACTS_MAX: usize = 1000;

/// The node's end of all connections.
pub(super) struct Inbox {
    pub(super) facts: mpsc::Sender<Input>,
    pub(super) store: Arc<dyn Store>,
    /// Largest transaction taken from a peer, and most bytes of all in one message.
    pub(super) max_tx_bytes: u64,
    /// Whose signatures count now.
    pub(super) signers: watch::Receiver<Option<Whose>>,
    /// For answers that the replica has no part in. Set as soon as the network runs.
    pub(super) network: SetOnce<Network>,
    pub(super) seen: Seen,
    pub(super) verifier: Verifier,
    /// Which validator spoke when.
    pub(super) heard: Arc<LastHeard>,
    pub(super) traffic: Arc<Traffic>,
    /// Who owes us blocks.
    pub(super) fetcher: Arc<Fetcher>,
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

impl Receiver for Inbox {
    async fn up(&self, peer: PeerUp) {
        self.traffic.joined(peer.id);
        self.tell(peer.id, PeerInput::Up).await;
        let status = PeerMessage::Blocksync(serve_blocks::status(&*self.store));
        let encoded = status.encode();
        self.traffic.queued(&peer.id, &status, encoded.len() as u64);
        let _ = self.network.wait().await.send(peer.id, Channel::Blocksync, encoded);
    }

    async fn message(&self, peer: NodeId, channel: Channel, message: Bytes) -> Result<(), Fault> {
        let bytes = message.len();
        let decoded = PeerMessage::decode(channel, message)
            .map_err(|error| Fault(format!("sent a message on channel {channel:?} that cannot be read: {error}")))?;
        self.traffic.received(&peer, &decoded, bytes as u64);
        match decoded {
            PeerMessage::Consensus(mut message) => {
                match &mut message {
                    ConsensusMessage::BlockPart { part, .. } => take_out(&mut part.bytes, bytes),
                    ConsensusMessage::Vote(vote) => take_out(&mut vote.extension, bytes),
                    _ => {}
                }
                self.consensus(peer, message).await
            }
            PeerMessage::Txs(mut txs) => {
                check_batch(&txs, self.max_tx_bytes).map_err(|why| Fault(why.to_string()))?;
                txs.iter_mut().for_each(|tx| take_out(tx, bytes));
                let txs = txs.into_iter().map(Tx::new).collect();
                self.tell(peer, PeerInput::Txs(txs)).await;
                Ok(())
            }
            PeerMessage::Evidence(list) => self.evidence(peer, list).await,
            PeerMessage::Blocksync(message) => self.blocksync(peer, message, bytes).await,
            PeerMessage::Direct(_, mut message) => {
                match &mut message {
                    DirectMessage::Part { part, .. } => take_out(&mut part.bytes, bytes),
                    DirectMessage::Vote(vote) => take_out(&mut vote.extension, bytes),
                    _ => {}
                }
                self.direct(peer, message).await
            }
        }
    }

    fn expects_large(&self, peer: NodeId, channel: Channel) -> bool {
        channel != Channel::Blocksync || self.fetcher.owes(&peer)
    }

    async fn written(&self, peer: NodeId, channel: Channel, bytes: u64) {
        self.traffic.written(&peer, channel, bytes);
        if channel != Channel::Blocksync {
            self.tell(peer, PeerInput::Written(channel, bytes)).await;
        }
    }

    async fn down(&self, peer: NodeId, _why: String) {
        self.traffic.left(&peer);
        self.fetcher.gone(peer);
        self.tell(peer, PeerInput::Down).await;
    }
}

impl Inbox {
    /// An error means that the node is stopping.
    async fn tell(&self, peer: NodeId, input: PeerInput) {
        let _ = self.facts.send(Input::Peer(peer, input)).await;
    }

    async fn consensus(&self, peer: NodeId, message: ConsensusMessage) -> Result<(), Fault> {
        let signers = match &*self.signers.borrow() {
            Some(Whose::Gossiped(signers)) => Some(Arc::clone(signers)),
            Some(Whose::Direct(_)) | None => None,
        };
        let vote = match (&signers, &message) {
            (Some(signers), ConsensusMessage::Vote(vote)) => {
                Seen::name(signers, vote).map(|name| (Arc::clone(signers), name))
            }
            _ => None,
        };
        let known = vote.as_ref().is_some_and(|(signers, name)| self.seen.contains(signers, name));
        let heard = if known {
            // Another peer was quicker. That this one has the vote as well still counts.
            Heard::Told(message)
        } else {
            hear(signers.as_deref(), message).map_err(|why| Fault(why.to_owned()))?
        };
        if let (Some(signers), Heard::Said(said, _)) = (&signers, &heard) {
            self.note_speaker(&signers.validators, speaker(signers, said));
        }
        self.tell(peer, PeerInput::Heard(Box::new(heard))).await;
        if let Some((signers, name)) = vote.filter(|_| !known) {
            self.seen.insert(&signers, name);
        }
        Ok(())
    }

    fn note_speaker(&self, validators: &ValidatorSet, speaker: Option<Address>) {
        if let Some(speaker) = speaker {
            self.heard.note(validators, &speaker, Instant::now());
        }
    }

    async fn direct(&self, peer: NodeId, message: DirectMessage) -> Result<(), Fault> {
        let signers = match &*self.signers.borrow() {
            Some(Whose::Direct(signers)) => Some(Arc::clone(signers)),
            Some(Whose::Gossiped(_)) | None => None,
        };
        let heard = self.verifier.hear(signers.clone(), message).await.map_err(|why| Fault(why.to_owned()))?;
        if let (Some(signers), HeardDirect::Said(said)) = (&signers, &heard) {
            self.note_speaker(&signers.validators, direct_speaker(said));
        }
        self.tell(peer, PeerInput::HeardDirect(Box::new(heard))).await;
        Ok(())
    }

    /// Piece by piece: each takes a set of validators along, so those of a long list of lies must not be in memory
    /// together. The replica drops the peer at the first lie, and then the rest is not looked at.
    async fn evidence(&self, peer: NodeId, list: Vec<Evidence>) -> Result<(), Fault> {
        for evidence in list {
            evidence.validate_basic().map_err(|why| Fault(format!("sent invalid evidence: {why}")))?;
            match super::evidence_facts(&*self.store, &evidence) {
                Ok(facts) => self.tell(peer, PeerInput::Evidence(vec![(evidence, facts)])).await,
                Err(error) => tracing::error!("cannot read the block an offence is about: {error}"),
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn blocksync(&self, peer: NodeId, message: BlocksyncMessage, bytes: usize) -> Result<(), Fault> {
        let input = match message {
            BlocksyncMessage::BlockRequest(_) | BlocksyncMessage::StatusRequest => {
                return self.serve(peer, message).await;
            }
            BlocksyncMessage::StatusResponse { height, base } => SyncInput::Status { peer, base, height },
            BlocksyncMessage::NoBlockResponse(height) => {
                self.fetcher.answered(peer);
                SyncInput::NoBlock { peer, height }
            }
            BlocksyncMessage::BlockResponse { block, extended_commit } => {
                let read = self.fetcher.read(peer, bytes, block, extended_commit).await;
                let FetchedBlock { block, extended_commit } = read.map_err(Fault)?;
                SyncInput::Block { peer, block, extended_commit }
            }
        };
        let _ = self.facts.send(Input::Sync(input)).await;
        Ok(())
    }

    /// Reads and sends what a peer asks for. It waits while the peer does not take it, and so does whatever else the
    /// peer has to say.
    async fn serve(&self, peer: NodeId, request: BlocksyncMessage) -> Result<(), Fault> {
        let answer = match serve_blocks::answer(&*self.store, &request) {
            Ok(Some(answer)) => answer,
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::error!(%peer, "cannot read what a peer asks for: {error}");
                return Ok(());
            }
        };
        let network = self.network.wait().await;
        let answer = PeerMessage::Blocksync(answer);
        let encoded = answer.encode();
        self.traffic.queued(&peer, &answer, encoded.len() as u64);
        let _ = network.send_when_possible(peer, Channel::Blocksync, encoded).await;
        Ok(())
    }
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

#[cfg(test)]
mod tests;
