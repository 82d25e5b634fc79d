//! A peer without a node behind it: what it says is up to the story.

use super::link::runtime;
use super::network::Member;
use quorate::config::NodeKey;
use quorate::p2p::{Network, NetworkOptions, Receiver, Settings, start};
use quorate::ports::{Choice, DialKind, DialRequest};
use quorate::types::{Algorithm, Channel, NodeInfo};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Limits nobody reaches here.
const PEERS_MAX: usize = 10;
const PACKET_PAYLOAD_MAX: usize = 1024;
const TX_BYTES_MAX: u64 = 1 << 20;
/// For a connection on this machine.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(20);

/// The peer; it leaves when this is dropped.
pub(super) struct Stranger {
    pub(super) network: Network,
    stop: CancellationToken,
    _address_book: TempDir,
}

impl Stranger {
    /// Joins the network; `receiver` hears all that is said to it. It calls nobody yet.
    pub(super) fn join(chain_id: &str, algorithm: Algorithm, receiver: Arc<impl Receiver>) -> Stranger {
        let (key, book) = (NodeKey::generate(), tempfile::tempdir().unwrap());
        let other = |channels: &[u8]| [channels, &[Channel::Mempool.id(), Channel::Pex.id()]].concat();
        let channels = match algorithm {
            Algorithm::Tendermint => Channel::ALL.map(Channel::id).to_vec(),
            Algorithm::Pbft => other(&[0x70, 0x71, 0x72, 0x73]),
            Algorithm::Raft => other(&[0x74, 0x75, 0x76, 0x77]),
        };
        let info = NodeInfo {
            p2p_version: 8,
            block_version: 11,
            app_version: 1,
            node_id: key.id(),
            listen_addr: "127.0.0.1:26656".to_owned(),
            network: chain_id.try_into().unwrap(),
            version: "0.38.25".to_owned(),
            channels,
            moniker: "stranger".to_owned(),
            tx_index: "off".to_owned(),
            rpc_address: String::new(),
        };
        let options = NetworkOptions {
            node_key: key.into_private_key(),
            info,
            algorithm,
            listeners: Vec::new(),
            settings: settings(),
            address_book: book.path().join("addrbook.json"),
        };
        let stop = CancellationToken::new();
        let _inside = runtime().enter();
        Stranger { network: start(options, receiver, stop.clone()), stop, _address_book: book }
    }

    /// Calls a node.
    pub(super) fn call(&self, member: &Member) {
        let kind = DialKind::Peers { persistent: Choice::No, unconditional: Choice::No, private: Choice::No };
        let addresses = vec![format!("{}@{}", member.id, member.p2p())];
        self.network.dial(DialRequest { addresses, kind }).unwrap();
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn settings() -> Settings {
    Settings {
        seeds: Vec::new(),
        persistent_peers: Vec::new(),
        unconditional: BTreeSet::new(),
        private: BTreeSet::new(),
        peers_only: BTreeSet::new(),
        persistent_max_dial_period: None,
        max_inbound: PEERS_MAX,
        max_outbound: PEERS_MAX,
        pex: false,
        seed_mode: false,
        strict: false,
        allow_duplicate_ip: true,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        dial_timeout: DIAL_TIMEOUT,
        send_rate: 0,
        recv_rate: 0,
        packet_payload_max: PACKET_PAYLOAD_MAX,
        max_tx_bytes: TX_BYTES_MAX,
    }
}
