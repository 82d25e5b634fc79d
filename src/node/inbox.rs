//! Where peers' messages come in: decoded, checked and answered in the peer's own task as far as that goes without the
//! replica. What is left for the replica waits in one bounded queue; while it is full, nothing more is read from
//! whoever has something for it.

use super::fetch::BlockReader;
use super::heard::LastHeard;
use super::traffic::Traffic;
use super::verify::Verifier;
use crate::executor::{self, FetchedBlock, Handed, Owed, Received, Reception, heard_directly, judge_evidence};
use crate::p2p::{Fault, Network, PeerUp, Receiver};
use crate::ports::Store;
use crate::replica::{Input, PeerInput, Whose};
use crate::sync::SyncInput;
use crate::types::{BlocksyncMessage, Channel, Evidence, NodeId, PeerMessage};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{SetOnce, mpsc, watch};
use tokio::task::spawn_blocking;

/// Facts from peers that may wait for the replica, as many as CometBFT lets wait (reference §5.6).
pub(super) const PEER_FACTS_MAX: usize = 1000;

/// The node's end of all connections.
pub(super) struct Inbox {
    pub(super) facts: mpsc::Sender<Input>,
    pub(super) store: Arc<dyn Store>,
    pub(super) reception: Reception,
    pub(super) verifier: Verifier,
    /// Whose signatures count now.
    pub(super) signers: watch::Receiver<Option<Whose>>,
    /// For answers that the replica has no part in. Set as soon as the network runs.
    pub(super) network: SetOnce<Network>,
    /// Which validator spoke when.
    pub(super) heard: Arc<LastHeard>,
    pub(super) traffic: Arc<Traffic>,
    /// Who owes us blocks.
    pub(super) owed: Arc<Owed>,
    pub(super) reader: BlockReader,
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
        let status = PeerMessage::Blocksync(executor::status(&*self.store));
        let encoded = status.encode();
        self.traffic.queued(&peer.id, &status, encoded.len() as u64);
        let _ = self.network.wait().await.send(peer.id, Channel::Blocksync, encoded);
    }

    async fn message(&self, peer: NodeId, channel: Channel, message: Bytes) -> Result<(), Fault> {
        let bytes = message.len();
        let decoded = Reception::read(channel, message).map_err(Fault)?;
        self.traffic.received(&peer, &decoded, bytes as u64);
        let whose = self.signers.borrow().clone();
        match self.reception.receive(whose.as_ref(), peer, decoded, bytes).map_err(Fault)? {
            Received::Said(said, handed) => self.hand_on(peer, said, handed).await,
            Received::Direct(signers, message) => {
                let heard = self.verifier.hear(signers.clone(), message).await.map_err(|why| Fault(why.to_owned()))?;
                let (said, handed) = heard_directly(signers.as_deref(), heard);
                self.hand_on(peer, said, handed).await;
            }
            Received::Evidence(list) => self.evidence(peer, list).await?,
            Received::Sync(input) => self.tell_sync(input).await,
            Received::Block { message_bytes, block, extended_commit } => {
                let read = self.reader.read(message_bytes, block, extended_commit).await;
                let FetchedBlock { block, extended_commit } = read.map_err(Fault)?;
                self.tell_sync(SyncInput::Block { peer, block, extended_commit }).await;
            }
            Received::Asked(question) => self.serve(peer, question).await,
        }
        Ok(())
    }

    fn expects_large(&self, peer: NodeId, channel: Channel) -> bool {
        channel != Channel::Blocksync || self.owed.owes(&peer)
    }

    async fn written(&self, peer: NodeId, channel: Channel, bytes: u64) {
        self.traffic.written(&peer, channel, bytes);
        if channel != Channel::Blocksync {
            self.tell(peer, PeerInput::Written(channel, bytes)).await;
        }
    }

    async fn down(&self, peer: NodeId, _why: String) {
        self.traffic.left(&peer);
        self.owed.gone(peer);
        self.tell(peer, PeerInput::Down).await;
    }
}

impl Inbox {
    /// An error means that the node is stopping.
    async fn tell(&self, peer: NodeId, input: PeerInput) {
        let _ = self.facts.send(Input::Peer(peer, input)).await;
    }

    /// An error means that the node is stopping.
    async fn tell_sync(&self, input: SyncInput) {
        let _ = self.facts.send(Input::Sync(input)).await;
    }

    async fn hand_on(&self, peer: NodeId, said: PeerInput, handed: Handed) {
        if let Some((validators, speaker)) = &handed.speaker {
            self.heard.note(validators, speaker, peer, Instant::now());
        }
        self.tell(peer, said).await;
        self.reception.handed_on(handed);
    }

    /// Piece by piece: each takes a set of validators along, so those of a long list of lies must not be in memory
    /// together. The replica drops the peer at the first lie, and then the rest is not looked at.
    async fn evidence(&self, peer: NodeId, list: Vec<Evidence>) -> Result<(), Fault> {
        for evidence in list {
            // It reads the store, which may have to ask the disk.
            let store = Arc::clone(&self.store);
            let judged = spawn_blocking(move || judge_evidence(&*store, evidence)).await;
            match judged.expect("judging evidence does not panic").map_err(Fault)? {
                Ok(judged) => self.tell(peer, PeerInput::Evidence(vec![judged])).await,
                Err(error) => tracing::error!("cannot read the block an offence is about: {error}"),
            }
        }
        Ok(())
    }

    /// Reads and sends what a peer asks for. It waits while the peer does not take it, and so does whatever else the
    /// peer has to say.
    async fn serve(&self, peer: NodeId, question: BlocksyncMessage) {
        let store = Arc::clone(&self.store);
        let answer = spawn_blocking(move || executor::answer(&*store, &question)).await;
        let answer = match answer.expect("reading what a peer asks for does not panic") {
            Ok(Some(answer)) => answer,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%peer, "cannot read what a peer asks for: {error}");
                return;
            }
        };
        let network = self.network.wait().await;
        let answer = PeerMessage::Blocksync(answer);
        let encoded = answer.encode();
        self.traffic.queued(&peer, &answer, encoded.len() as u64);
        crash_point!("serve.block.before");
        let _ = network.send_when_possible(peer, Channel::Blocksync, encoded).await;
        crash_point!("serve.block.after");
    }
}

#[cfg(test)]
mod tests;
