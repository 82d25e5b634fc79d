//! A peer with the keys of validators that do not run: it tells of two proposals of each, for one height and round.

use super::link::runtime;
use super::network::Member;
use super::stranger::Stranger;
use crate::integration::crash_points::Accuser;
use bytes::Bytes;
use quorate::p2p::{Fault, PeerUp, Receiver};
use quorate::types::{Algorithm, Channel, ConsensusMessage, DirectMessage, NodeId, PeerMessage};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;

/// Between two times it says everything: the victim may have been deaf.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The peer; it leaves when this is dropped.
pub(super) struct TwoFaced {
    talking: AbortHandle,
    _stranger: Stranger,
}

impl TwoFaced {
    /// Calls the victim, and tells it again and again what the validator of each of these homes proposes in rounds 0, 1, …
    pub(super) fn tell(algorithm: Algorithm, homes: &[&Path], victim: &Member) -> TwoFaced {
        let accusers: Vec<Accuser> = homes.iter().map(|home| Accuser::with_home(home)).collect();
        let said = (0..).zip(&accusers).flat_map(|(round, accuser)| {
            [1, 2].map(|block| {
                let (by, proposal) = accuser.proposal(round, block);
                match algorithm {
                    Algorithm::Tendermint => PeerMessage::Consensus(ConsensusMessage::Proposal(proposal)),
                    algorithm => PeerMessage::Direct(algorithm, DirectMessage::Proposal { by, proposal }),
                }
            })
        });
        let said: Vec<PeerMessage> = said.collect();
        let stranger = Stranger::join(accusers[0].chain_id(), algorithm, Arc::new(Deaf));
        stranger.call(victim);
        let (network, victim): (_, NodeId) = (stranger.network.clone(), victim.id.parse().unwrap());
        let talking = runtime().spawn(async move {
            let mut again = tokio::time::interval(AGAIN_AFTER);
            loop {
                again.tick().await;
                for message in &said {
                    // It may not be there yet, or not any more.
                    let _ = network.send(victim, message.channel(), message.encode());
                }
            }
        });
        TwoFaced { talking: talking.abort_handle(), _stranger: stranger }
    }
}

impl Drop for TwoFaced {
    fn drop(&mut self) {
        self.talking.abort();
    }
}

/// It hears nobody.
struct Deaf;

impl Receiver for Deaf {
    async fn up(&self, _: PeerUp) {}

    async fn message(&self, _: NodeId, _: Channel, _: Bytes) -> Result<(), Fault> {
        Ok(())
    }

    async fn written(&self, _: NodeId, _: Channel, _: u64) {}

    async fn down(&self, _: NodeId, _: String) {}
}
