//! From the configuration to a network that can start: opens the sockets.

use super::NodeError;
use crate::config::{self, NodeKey, P2pSettings, Peer};
use crate::p2p::{self, NetworkOptions, PeerAddress, Settings};
use crate::pipeline::requests::P2P_VERSION;
use crate::ports::NodeFacts;
use crate::types::{Algorithm, Channel, NodeInfo};
use std::path::Path;
use tokio::net::TcpListener;

/// CometBFT's block protocol, which peers compare.
const BLOCK_VERSION: u64 = 11;

/// The numbers of the channels a node of these settings speaks on a chain of this protocol.
pub(super) fn channels(p2p: &P2pSettings, algorithm: Algorithm) -> Vec<u8> {
    let pex = p2p.pex.then_some(Channel::Pex);
    Channel::spoken_under(algorithm).iter().copied().chain(pex).map(Channel::id).collect()
}

/// Takes the addresses peers call.
pub(super) async fn listen(p2p: &P2pSettings) -> Result<Vec<TcpListener>, NodeError> {
    let mut addresses = Vec::new();
    for address in &p2p.listen {
        match address {
            config::Address::Tcp(address) if address.starts_with(':') => addresses.push(format!("0.0.0.0{address}")),
            config::Address::Tcp(address) => addresses.push(address.clone()),
            config::Address::Unix(path) => {
                return Err(NodeError::Listen(format!(
                    "p2p.laddr is the Unix socket {}, but peers call over TCP. Set it to an address of this machine, as \
                     tcp://0.0.0.0:26656",
                    path.display()
                )));
            }
        }
    }
    p2p::bind(&addresses).await.map_err(|error| NodeError::Listen(error.to_string()))
}

/// Where peers can call, each as `tcp://host:port`, with the real port where 0 was configured.
pub(super) fn bound(listeners: &[TcpListener]) -> Vec<String> {
    listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .map(|address| format!("tcp://{address}"))
        .collect()
}

/// What peers are told to call: the address the operator names, as it stands, or the first one listened on.
pub(super) fn listen_addr(p2p: &P2pSettings, listeners: &[TcpListener]) -> String {
    p2p.external_address.clone().or_else(|| bound(listeners).into_iter().next()).unwrap_or_default()
}

/// Everything the network needs.
pub(super) fn options(
    p2p: &P2pSettings,
    algorithm: Algorithm,
    address_book: &Path,
    max_tx_bytes: u64,
    node_key: NodeKey,
    facts: &NodeFacts,
    listeners: Vec<TcpListener>,
) -> NetworkOptions {
    let info = NodeInfo {
        p2p_version: P2P_VERSION,
        block_version: BLOCK_VERSION,
        app_version: 0,
        node_id: facts.node_id,
        listen_addr: facts.listen_addr.clone(),
        network: facts.network.clone(),
        version: facts.version.clone(),
        channels: facts.channels.clone(),
        moniker: facts.moniker.clone(),
        tx_index: facts.tx_index.to_owned(),
        rpc_address: facts.rpc_address.clone(),
    };
    NetworkOptions {
        node_key: node_key.into_private_key(),
        info,
        algorithm,
        listeners,
        settings: settings(p2p, max_tx_bytes),
        address_book: address_book.to_owned(),
    }
}

fn settings(p2p: &P2pSettings, max_tx_bytes: u64) -> Settings {
    let count = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    let peers = |list: &[Peer]| {
        list.iter().map(|peer| PeerAddress { id: peer.id, address: peer.address.clone() }).collect::<Vec<_>>()
    };
    Settings {
        seeds: peers(&p2p.seeds),
        persistent_peers: peers(&p2p.persistent_peers),
        unconditional: p2p.unconditional_peer_ids.iter().copied().collect(),
        private: p2p.private_peer_ids.iter().copied().collect(),
        peers_only: p2p.peers_only.iter().copied().collect(),
        persistent_max_dial_period: p2p.persistent_peers_max_dial_period,
        max_inbound: count(p2p.max_num_inbound_peers),
        max_outbound: count(p2p.max_num_outbound_peers),
        pex: p2p.pex,
        seed_mode: p2p.seed_mode,
        strict: p2p.addr_book_strict,
        allow_duplicate_ip: p2p.allow_duplicate_ip,
        handshake_timeout: p2p.handshake_timeout,
        dial_timeout: p2p.dial_timeout,
        send_rate: p2p.send_rate,
        recv_rate: p2p.recv_rate,
        packet_payload_max: count(p2p.max_packet_msg_payload_size),
        max_tx_bytes,
    }
}
