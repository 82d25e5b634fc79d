//! What is counted about peers and messages, and the moments at which it is.
//!
//! CometBFT keeps the numbers of every peer it ever met. Here a peer's numbers live as long as its [`PeerMetrics`]:
//! ids cost a stranger nothing, and memory must not grow with them.

use super::groups::signed;
use super::register::Register;
use crate::types::{BlocksyncMessage, Channel, ConsensusMessage, DirectMessage, NodeId, PeerMessage};
use prometheus::{Error, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// Go's names of the messages, as CometBFT labels them, and of those it does not have.
const MESSAGE_TYPES: [&str; 21] = [
    "consensus_NewRoundStep",
    "consensus_NewValidBlock",
    "consensus_Proposal",
    "consensus_ProposalPOL",
    "consensus_BlockPart",
    "consensus_Vote",
    "consensus_HasVote",
    "consensus_VoteSetMaj23",
    "consensus_VoteSetBits",
    "mempool_Txs",
    "types_EvidenceList",
    "blocksync_BlockRequest",
    "blocksync_NoBlockResponse",
    "blocksync_BlockResponse",
    "blocksync_StatusRequest",
    "blocksync_StatusResponse",
    "direct_Statement",
    "direct_Proposal",
    "direct_Part",
    "direct_Vote",
    "direct_Commit",
];

/// Where the name of a message stands in [`MESSAGE_TYPES`].
fn place(message: &PeerMessage) -> usize {
    match message {
        PeerMessage::Consensus(message) => match message {
            ConsensusMessage::NewRoundStep(_) => 0,
            ConsensusMessage::NewValidBlock { .. } => 1,
            ConsensusMessage::Proposal(_) => 2,
            ConsensusMessage::ProposalPol { .. } => 3,
            ConsensusMessage::BlockPart { .. } => 4,
            ConsensusMessage::Vote(_) => 5,
            ConsensusMessage::HasVote { .. } => 6,
            ConsensusMessage::VoteSetMaj23(_) => 7,
            ConsensusMessage::VoteSetBits { .. } => 8,
        },
        PeerMessage::Txs(_) => 9,
        PeerMessage::Evidence(_) => 10,
        PeerMessage::Blocksync(message) => match message {
            BlocksyncMessage::BlockRequest(_) => 11,
            BlocksyncMessage::NoBlockResponse(_) => 12,
            BlocksyncMessage::BlockResponse { .. } => 13,
            BlocksyncMessage::StatusRequest => 14,
            BlocksyncMessage::StatusResponse { .. } => 15,
        },
        PeerMessage::Direct(_, message) => match message {
            DirectMessage::Statement(_) => 16,
            DirectMessage::Proposal { .. } => 17,
            DirectMessage::Part { .. } => 18,
            DirectMessage::Vote(_) => 19,
            DirectMessage::Commit(_) => 20,
        },
    }
}

/// Peers and messages.
#[derive(Debug, Clone)]
pub struct P2pMetrics {
    peers: IntGauge,
    /// One counter for each of [`MESSAGE_TYPES`], looked up once.
    received: Vec<IntCounter>,
    sent: Vec<IntCounter>,
    of_peers: OfPeers,
}

/// The families with a label for the peer.
#[derive(Debug, Clone)]
struct OfPeers {
    receive_bytes: IntCounterVec,
    send_bytes: IntCounterVec,
    pending_send_bytes: IntGaugeVec,
    num_txs: IntGaugeVec,
}

impl P2pMetrics {
    pub(super) fn new(of: &Register<'_>) -> Result<P2pMetrics, Error> {
        let received = of.counter_by("message_receive_bytes_total", "Bytes received by message", "message_type")?;
        let sent = of.counter_by("message_send_bytes_total", "Bytes sent by message", "message_type")?;
        let each =
            |family: &IntCounterVec| MESSAGE_TYPES.iter().map(|name| family.with_label_values(&[*name])).collect();
        let labels = ["peer_id", "chID"];
        Ok(P2pMetrics {
            peers: of.gauge("peers", "Connected peers")?,
            received: each(&received),
            sent: each(&sent),
            of_peers: OfPeers {
                receive_bytes: of.counter_by_all("peer_receive_bytes_total", "Bytes received from a peer", &labels)?,
                send_bytes: of.counter_by_all("peer_send_bytes_total", "Bytes sent to a peer", &labels)?,
                pending_send_bytes: of.gauge_by("peer_pending_send_bytes", "Bytes that wait for a peer", "peer_id")?,
                num_txs: of.gauge_by("num_txs", "Transactions received from a peer", "peer_id")?,
            },
        })
    }

    /// So many peers are connected.
    pub fn connected(&self, peers: u64) {
        self.peers.set(signed(peers));
    }

    /// A message of so many bytes came.
    pub fn message_received(&self, message: &PeerMessage, bytes: u64) {
        if let Some(counter) = self.received.get(place(message)) {
            counter.inc_by(bytes);
        }
    }

    /// A message of so many bytes was given to one peer's connection.
    pub fn message_sent(&self, message: &PeerMessage, bytes: u64) {
        if let Some(counter) = self.sent.get(place(message)) {
            counter.inc_by(bytes);
        }
    }

    /// The numbers of a peer that has just connected. They disappear when the value is dropped: hold it while the
    /// connection stands.
    pub fn peer(&self, id: &NodeId) -> PeerMetrics {
        let id = id.to_string();
        let families = self.of_peers.clone();
        let channel = |family: &IntCounterVec, channel: Channel| {
            family.with_label_values(&[id.as_str(), &format!("{:#x}", channel.id())])
        };
        PeerMetrics {
            received: Channel::ALL.map(|id| channel(&families.receive_bytes, id)),
            sent: Channel::ALL.map(|id| channel(&families.send_bytes, id)),
            pending: families.pending_send_bytes.with_label_values(&[id.as_str()]),
            txs: families.num_txs.with_label_values(&[id.as_str()]),
            id,
            families,
        }
    }
}

/// The numbers of one connected peer. Every call is an addition or two.
#[derive(Debug)]
pub struct PeerMetrics {
    id: String,
    families: OfPeers,
    received: [IntCounter; Channel::ALL.len()],
    sent: [IntCounter; Channel::ALL.len()],
    pending: IntGauge,
    txs: IntGauge,
}

impl PeerMetrics {
    /// A message of so many bytes came from it.
    pub fn received(&self, channel: Channel, bytes: u64) {
        add(&self.received, channel, bytes);
    }

    /// A message of so many bytes waits to be sent to it.
    pub fn queued(&self, bytes: u64) {
        self.pending.add(signed(bytes));
    }

    /// So many bytes that waited were written.
    pub fn written(&self, channel: Channel, bytes: u64) {
        self.pending.sub(signed(bytes));
        add(&self.sent, channel, bytes);
    }

    /// It sent so many transactions.
    pub fn txs_received(&self, count: u64) {
        self.txs.add(signed(count));
    }
}

impl Drop for PeerMetrics {
    fn drop(&mut self) {
        // Fails only for numbers that are gone already.
        for channel in Channel::ALL {
            let labels = [self.id.as_str(), &format!("{:#x}", channel.id())];
            let _ = self.families.receive_bytes.remove_label_values(&labels);
            let _ = self.families.send_bytes.remove_label_values(&labels);
        }
        let _ = self.families.pending_send_bytes.remove_label_values(&[self.id.as_str()]);
        let _ = self.families.num_txs.remove_label_values(&[self.id.as_str()]);
    }
}

fn add(counters: &[IntCounter; Channel::ALL.len()], channel: Channel, bytes: u64) {
    let place = Channel::ALL.iter().position(|known| *known == channel);
    if let Some(counter) = place.and_then(|place| counters.get(place)) {
        counter.inc_by(bytes);
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;
    use crate::types::{Address, BlocksyncMessage, ChainId, Channel, Height, NodeId, PeerMessage};

    #[test]
    fn a_peers_numbers_live_as_long_as_its_connection() {
        let metrics = Metrics::new("cometbft", &ChainId::try_from("c").unwrap()).unwrap();
        let id = NodeId::new(Address::new([0xab; 20]));
        let peer = metrics.p2p.peer(&id);
        peer.received(Channel::Vote, 7);
        peer.queued(30);
        peer.written(Channel::Pex, 10);
        peer.txs_received(3);
        let text = metrics.text();
        let label = format!("peer_id=\"{id}\"");
        for line in [
            format!("cometbft_p2p_peer_receive_bytes_total{{chID=\"0x22\",{label},chain_id=\"c\"}} 7\n"),
            format!("cometbft_p2p_peer_send_bytes_total{{chID=\"0x0\",{label},chain_id=\"c\"}} 10\n"),
            format!("cometbft_p2p_peer_pending_send_bytes{{{label},chain_id=\"c\"}} 20\n"),
            format!("cometbft_p2p_num_txs{{{label},chain_id=\"c\"}} 3\n"),
        ] {
            assert!(text.contains(&line), "{line} in\n{text}");
        }
        drop(peer);
        assert!(!metrics.text().contains(&label));
    }

    #[test]
    fn messages_are_counted_under_gos_names() {
        let metrics = Metrics::new("cometbft", &ChainId::try_from("c").unwrap()).unwrap();
        metrics.p2p.message_received(&PeerMessage::Txs(Vec::new()), 5);
        metrics.p2p.message_sent(&PeerMessage::Evidence(Vec::new()), 6);
        let request = PeerMessage::Blocksync(BlocksyncMessage::BlockRequest(Height::FIRST));
        metrics.p2p.message_sent(&request, 8);
        metrics.p2p.message_sent(&PeerMessage::Blocksync(BlocksyncMessage::StatusRequest), 9);
        let text = metrics.text();
        for (direction, name, bytes) in [
            ("receive", "mempool_Txs", 5),
            ("send", "types_EvidenceList", 6),
            ("send", "blocksync_BlockRequest", 8),
            ("send", "blocksync_StatusRequest", 9),
            ("send", "consensus_Vote", 0),
        ] {
            let line = format!(
                "cometbft_p2p_message_{direction}_bytes_total{{message_type=\"{name}\",chain_id=\"c\"}} {bytes}\n"
            );
            assert!(text.contains(&line), "{line} in\n{text}");
        }
    }
}
