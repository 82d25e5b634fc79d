//! A peer that serves blocks it asked an honest node for, but not as it got them.

use super::link::runtime;
use super::network::Member;
use super::stranger::Stranger;
use crate::integration::harness::PATIENCE;
use bytes::Bytes;
use quorate::crypto::Signature;
use quorate::p2p::{Fault, Network, PeerUp, Receiver};
use quorate::types::{Algorithm, Block, BlocksyncMessage, Channel, CommitSig, Height, NodeId, PeerMessage};
use std::sync::{Arc, OnceLock};
use tokio::sync::watch;

/// What it says that is not so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// Each block has another application hash: well-formed, but nobody signed it.
    OtherBlock,
    /// Each block carries a commit of the block before with one bit of a signature turned, and the hash of that commit.
    ForgedCommit,
    /// It has more blocks than there will ever be.
    HugeHeight,
}

/// A height no test reaches.
const HUGE: u64 = 1 << 40;

/// The peer; it leaves when this is dropped.
pub(super) struct Liar {
    lie: Lie,
    lost_victim: watch::Receiver<Option<String>>,
    _stranger: Stranger,
}

impl Liar {
    /// Calls the honest node and the victim, and lies to the victim.
    pub(super) fn start(chain_id: &str, lie: Lie, honest: &Member, victim: &Member) -> Liar {
        let (gone, lost_victim) = watch::channel(None);
        let claimed = if lie == Lie::HugeHeight { HUGE } else { honest.height() };
        let tongue = Arc::new(Tongue {
            lie,
            claimed: Height::new(claimed),
            honest: honest.id.parse().unwrap(),
            victim: victim.id.parse().unwrap(),
            victim_gone: gone,
            network: OnceLock::new(),
        });
        let stranger = Stranger::join(chain_id, Algorithm::Tendermint, Arc::clone(&tongue));
        tongue.network.set(stranger.network.clone()).unwrap();
        stranger.call(honest);
        stranger.call(victim);
        Liar { lie, lost_victim, _stranger: stranger }
    }

    /// Waits until the victim has nothing more to do with it.
    pub(super) fn await_loss_of_victim(&mut self) {
        let lost = self.lost_victim.wait_for(Option::is_some);
        let lost = runtime().block_on(async { tokio::time::timeout(PATIENCE, lost).await.map(drop) });
        assert!(lost.is_ok(), "{:?} was not found out", self.lie);
    }
}

struct Tongue {
    lie: Lie,
    claimed: Height,
    honest: NodeId,
    victim: NodeId,
    victim_gone: watch::Sender<Option<String>>,
    network: OnceLock<Network>,
}

impl Tongue {
    fn say(&self, to: NodeId, message: BlocksyncMessage) {
        let network = self.network.get().expect("set before anybody is called");
        // A peer that is gone needs no answer.
        let _ = network.send(to, Channel::Blocksync, PeerMessage::Blocksync(message).encode());
    }

    fn status(&self) -> BlocksyncMessage {
        BlocksyncMessage::StatusResponse { height: self.claimed, base: Height::new(1) }
    }

    /// The victim's questions go to the honest node, and its answers, changed, to the victim.
    fn hear(&self, peer: NodeId, message: BlocksyncMessage) {
        match message {
            BlocksyncMessage::StatusRequest if peer == self.victim => self.say(peer, self.status()),
            BlocksyncMessage::BlockRequest(_) if peer == self.victim => self.say(self.honest, message),
            BlocksyncMessage::NoBlockResponse(_) if peer == self.honest => self.say(self.victim, message),
            BlocksyncMessage::BlockResponse { block, extended_commit } if peer == self.honest => {
                let block = self.twist(block);
                self.say(self.victim, BlocksyncMessage::BlockResponse { block, extended_commit });
            }
            _ => {}
        }
    }

    fn twist(&self, honest: Bytes) -> Bytes {
        let mut block = Block::decode(honest).unwrap();
        match self.lie {
            Lie::OtherBlock => block.header.app_hash = Bytes::from_static(b"anything"),
            Lie::ForgedCommit => {
                if let Some(commit) = &mut block.last_commit {
                    commit.signatures.iter_mut().for_each(forge);
                    block.header.last_commit_hash = commit.hash();
                }
            }
            Lie::HugeHeight => {}
        }
        block.encode()
    }
}

/// Turns the last bit of a signature.
fn forge(entry: &mut CommitSig) {
    if let CommitSig::Commit(part) | CommitSig::Nil(part) = entry {
        let mut signature = *part.signature.as_bytes();
        signature[Signature::LEN - 1] ^= 1;
        part.signature = Signature::new(signature);
    }
}

impl Receiver for Tongue {
    async fn up(&self, peer: PeerUp) {
        if peer.id == self.victim {
            self.say(self.victim, self.status());
        }
    }

    async fn message(&self, peer: NodeId, channel: Channel, message: Bytes) -> Result<(), Fault> {
        if let Ok(PeerMessage::Blocksync(message)) = PeerMessage::decode(channel, message) {
            self.hear(peer, message);
        }
        Ok(())
    }

    async fn written(&self, _: NodeId, _: Channel, _: u64) {}

    async fn down(&self, peer: NodeId, why: String) {
        if peer == self.victim {
            self.victim_gone.send_replace(Some(why));
        }
    }
}
