//! Routes about peers: `net_info` and the peers of `dump_consensus_state` as CometBFT writes them, our own `network`,
//! which adds what CometBFT does not tell (lag, score, addresses we call and why they fail), and the unsafe `dial_seeds`
//! and `dial_peers`.

use super::Shared;
use super::args::Args;
use super::call::Outcome;
use super::go_words;
use super::info::{NodeInfoAnswer, Other, ProtocolVersion};
use crate::codec::json::{Hex, Int, Shown, View, to_bytes};
use crate::ports::{AddressView, ChannelView, Choice, DialKind, DialRequest, FlowView, Node, PeerView};
use crate::types::{Address, BitArray, Direction, Height, PartSetHeader, PeerRoundState, Round, Time};
use serde::Serialize;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

/// Addresses one call may ask us to dial.
const DIAL_ADDRESSES_MAX: usize = 1000;

// --------------------------------------------------------------------------------------------------------- net_info

#[derive(Serialize)]
struct NetInfoAnswer<'a> {
    listening: bool,
    listeners: [String; 1],
    n_peers: Int<usize>,
    peers: Vec<PeerAnswer<'a>>,
}

#[derive(Serialize)]
struct PeerAnswer<'a> {
    node_info: NodeInfoAnswer<'a>,
    is_outbound: bool,
    connection_status: ConnectionStatus,
    remote_ip: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConnectionStatus {
    duration: Int<u128>,
    send_monitor: Monitor,
    recv_monitor: Monitor,
    channels: Vec<Channel>,
}

/// Go's flow monitor. It samples every 100 ms; we keep one rate, which stands for its three, and count no samples.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Monitor {
    start: String,
    bytes: Int<u64>,
    samples: Int<u64>,
    inst_rate: Int<u64>,
    cur_rate: Int<u64>,
    avg_rate: Int<u64>,
    peak_rate: Int<u64>,
    bytes_rem: Int<u64>,
    duration: Int<u128>,
    idle: Int<u128>,
    time_rem: Int<u64>,
    progress: u32,
    active: bool,
}

#[derive(Serialize)]
struct Channel {
    #[serde(rename = "ID")]
    id: u8,
    #[serde(rename = "SendQueueCapacity")]
    capacity: Int<u64>,
    #[serde(rename = "SendQueueSize")]
    size: Int<u64>,
    #[serde(rename = "Priority")]
    priority: Int<u32>,
    #[serde(rename = "RecentlySent")]
    recently_sent: Int<u64>,
}

impl From<&ChannelView> for Channel {
    fn from(view: &ChannelView) -> Channel {
        Channel {
            id: view.id,
            capacity: Int(view.capacity),
            size: Int(view.queued),
            priority: Int(view.priority),
            recently_sent: Int(view.recently_sent),
        }
    }
}

/// The moment so long before `now`.
fn before(now: Time, span: Duration) -> Time {
    let nanos = now.unix_nanos() - i128::try_from(span.as_nanos()).unwrap_or(i128::MAX);
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).unwrap_or(i64::MIN);
    let rest = u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or_default();
    Time::new(seconds, rest).unwrap_or(Time::ZERO)
}

fn monitor(flow: &FlowView, connected_for: Duration, now: Time) -> Monitor {
    let milliseconds = connected_for.as_millis().max(1);
    let average = u128::from(flow.bytes).saturating_mul(1000) / milliseconds;
    Monitor {
        start: before(now, connected_for).to_string(),
        bytes: Int(flow.bytes),
        samples: Int(0),
        inst_rate: Int(flow.rate),
        cur_rate: Int(flow.rate),
        avg_rate: Int(u64::try_from(average).unwrap_or(u64::MAX)),
        peak_rate: Int(flow.peak_rate),
        bytes_rem: Int(0),
        duration: Int(connected_for.as_nanos()),
        idle: Int(flow.idle.as_nanos()),
        time_rem: Int(0),
        progress: 0,
        active: true,
    }
}

fn peer_answer(peer: &PeerView, now: Time) -> PeerAnswer<'_> {
    let info = &peer.info;
    PeerAnswer {
        node_info: NodeInfoAnswer {
            protocol_version: ProtocolVersion {
                p2p: Int(info.p2p_version),
                block: Int(info.block_version),
                app: Int(info.app_version),
            },
            id: info.node_id.to_string(),
            listen_addr: &info.listen_addr,
            network: info.network.as_str(),
            version: &info.version,
            channels: Hex(&info.channels),
            moniker: &info.moniker,
            other: Other { tx_index: &info.tx_index, rpc_address: &info.rpc_address },
        },
        is_outbound: peer.direction == Direction::Outbound,
        connection_status: ConnectionStatus {
            duration: Int(peer.connected_for.as_nanos()),
            send_monitor: monitor(&peer.sent, peer.connected_for, now),
            recv_monitor: monitor(&peer.received, peer.connected_for, now),
            channels: peer.channels.iter().map(Channel::from).collect(),
        },
        remote_ip: peer.remote_ip.to_string(),
    }
}

/// `listen_addr` is what peers are told; it is the external address when nobody listens there.
pub(super) fn net_info(listeners: &[String], listen_addr: &str, peers: &[PeerView], now: Time) -> Vec<u8> {
    let external = if listeners.iter().any(|listener| listener == listen_addr) { "" } else { listen_addr };
    let external = if listeners.is_empty() { "" } else { external };
    to_bytes(&NetInfoAnswer {
        listening: !listeners.is_empty(),
        listeners: [format!("Listener(@{external})")],
        n_peers: Int(peers.len()),
        peers: peers.iter().map(|peer| peer_answer(peer, now)).collect(),
    })
}

// --------------------------------------------------------------------------------------- peers' consensus, in a dump

#[derive(Serialize)]
pub(super) struct PeerStateAnswer<'a> {
    node_address: String,
    peer_state: State<'a>,
}

#[derive(Serialize)]
struct State<'a> {
    round_state: RoundState<'a>,
    stats: Stats,
}

#[derive(Serialize)]
struct Stats {
    votes: Int<u64>,
    block_parts: Int<u64>,
}

#[derive(Serialize)]
struct RoundState<'a> {
    height: Int<Height>,
    round: i32,
    step: u8,
    start_time: Shown<'a, Time>,
    proposal: bool,
    proposal_block_part_set_header: Parts<'a>,
    proposal_block_parts: Option<Shown<'a, BitArray>>,
    proposal_pol_round: i32,
    proposal_pol: Option<Shown<'a, BitArray>>,
    prevotes: Option<Shown<'a, BitArray>>,
    precommits: Option<Shown<'a, BitArray>>,
    last_commit_round: i32,
    last_commit: Option<Shown<'a, BitArray>>,
    catchup_commit_round: i32,
    catchup_commit: Option<Shown<'a, BitArray>>,
}

/// The name of a set of parts, or Go's zero value.
#[derive(Serialize)]
#[serde(untagged)]
enum Parts<'a> {
    Known(View<'a, PartSetHeader>),
    Unknown { total: u32, hash: &'static str },
}

/// Where a peer's consensus stands; `peers` tell its address.
pub(super) fn peer_state<'a>(state: &'a PeerRoundState, peers: &[PeerView]) -> PeerStateAnswer<'a> {
    fn of_round(votes: &Option<(Round, BitArray)>) -> (i32, Option<Shown<'_, BitArray>>) {
        let round = Round::option_as_i32(votes.as_ref().map(|(round, _)| *round));
        (round, votes.as_ref().map(|(_, have)| Shown(have)))
    }
    let (proposal_pol_round, proposal_pol) = of_round(&state.proposal_pol);
    let (last_commit_round, last_commit) = of_round(&state.last_commit);
    let (catchup_commit_round, catchup_commit) = of_round(&state.catch_up_commit);
    let address = peers.iter().find(|peer| peer.info.node_id == state.peer).map(shown_address).unwrap_or_default();
    PeerStateAnswer {
        node_address: format!("{}@{address}", state.peer),
        peer_state: State {
            round_state: RoundState {
                height: Int(state.height.unwrap_or(Height::new(0))),
                round: Round::option_as_i32(state.round),
                step: state.height.map_or(0, |_| state.step as u8),
                start_time: Shown(&state.start_time),
                proposal: state.has_proposal,
                proposal_block_part_set_header: match &state.parts {
                    Some((header, _)) => Parts::Known(View(header)),
                    None => Parts::Unknown { total: 0, hash: "" },
                },
                proposal_block_parts: state.parts.as_ref().map(|(_, have)| Shown(have)),
                proposal_pol_round,
                proposal_pol,
                prevotes: state.prevotes.as_ref().map(Shown),
                precommits: state.precommits.as_ref().map(Shown),
                last_commit_round,
                last_commit,
                catchup_commit_round,
                catchup_commit,
            },
            stats: Stats { votes: Int(state.useful_votes), block_parts: Int(state.useful_parts) },
        },
    }
}

/// The peer's IP address with the port it says it listens on: the port of a connection that came to us is nobody's.
fn shown_address(peer: &PeerView) -> String {
    let port = peer.info.listen_addr.rsplit(':').next().and_then(|port| port.parse().ok());
    match port {
        Some(port) => SocketAddr::new(peer.remote_ip, port).to_string(),
        None => peer.remote_ip.to_string(),
    }
}

// ---------------------------------------------------------------------------------------------------------- network

/// Times are nanoseconds, rates bytes per second; 64-bit numbers are strings, as everywhere in this RPC.
#[derive(Serialize)]
struct NetworkAnswer<'a> {
    node_id: String,
    moniker: &'a str,
    network: &'a str,
    listeners: &'a [String],
    /// The height being decided here.
    height: Int<Height>,
    catching_up: bool,
    peers: Vec<KnownPeer<'a>>,
    addresses: Vec<KnownAddress<'a>>,
}

#[derive(Serialize)]
struct KnownPeer<'a> {
    node_id: String,
    moniker: &'a str,
    version: &'a str,
    address: String,
    is_outbound: bool,
    connected_for: Int<u128>,
    /// The height it decides; none while it has not said.
    height: Option<Int<Height>>,
    round: Option<u32>,
    /// How many heights it is behind this node.
    lag: Option<Int<u64>>,
    sent: Flow,
    received: Flow,
    /// Messages that wait to be sent to it.
    queued: Int<u64>,
    score: Int<i64>,
    /// Why the last connection to it ended, or could not be made.
    last_error: Option<&'a str>,
}

#[derive(Serialize)]
struct Flow {
    bytes: Int<u64>,
    rate: Int<u64>,
    peak_rate: Int<u64>,
    idle: Int<u128>,
}

impl From<&FlowView> for Flow {
    fn from(view: &FlowView) -> Flow {
        Flow {
            bytes: Int(view.bytes),
            rate: Int(view.rate),
            peak_rate: Int(view.peak_rate),
            idle: Int(view.idle.as_nanos()),
        }
    }
}

#[derive(Serialize)]
struct KnownAddress<'a> {
    node_id: String,
    address: &'a str,
    origin: &'static str,
    connected: bool,
    failures: u32,
    next_attempt: Option<Int<u128>>,
    last_error: Option<&'a str>,
}

impl<'a> From<&'a AddressView> for KnownAddress<'a> {
    fn from(view: &'a AddressView) -> KnownAddress<'a> {
        KnownAddress {
            node_id: view.id.to_string(),
            address: &view.address,
            origin: view.origin,
            connected: view.connected,
            failures: view.failures,
            next_attempt: view.next_attempt.map(|wait| Int(wait.as_nanos())),
            last_error: view.last_error.as_deref(),
        }
    }
}

fn known_peer<'a>(
    peer: &'a PeerView,
    states: &[PeerRoundState],
    addresses: &'a [AddressView],
    own_height: Height,
) -> KnownPeer<'a> {
    let state = states.iter().find(|state| state.peer == peer.info.node_id);
    let height = state.and_then(|state| state.height);
    let address = addresses.iter().find(|address| address.id == peer.info.node_id);
    KnownPeer {
        node_id: peer.info.node_id.to_string(),
        moniker: &peer.info.moniker,
        version: &peer.info.version,
        address: shown_address(peer),
        is_outbound: peer.direction == Direction::Outbound,
        connected_for: Int(peer.connected_for.as_nanos()),
        height: height.map(Int),
        round: state.and_then(|state| state.round).map(Round::get),
        lag: height.map(|height| Int(own_height.get().saturating_sub(height.get()))),
        sent: Flow::from(&peer.sent),
        received: Flow::from(&peer.received),
        queued: Int(peer.channels.iter().map(|channel| channel.queued).sum()),
        score: Int(peer.score),
        last_error: address.and_then(|address| address.last_error.as_deref()),
    }
}

impl<N: Node> Shared<N> {
    pub(super) fn net_info(&self) -> Outcome {
        let (facts, listeners) = (self.node.facts(), self.node.listeners());
        Ok(net_info(&listeners, &facts.listen_addr, &self.node.peers(), Time::from(SystemTime::now())))
    }

    pub(super) async fn network(&self) -> Outcome {
        let height = self.node.consensus().await.height;
        let states = self.node.peer_states().await;
        let (facts, listeners) = (self.node.facts(), self.node.listeners());
        let (peers, addresses) = (self.node.peers(), self.node.known_addresses());
        Ok(to_bytes(&NetworkAnswer {
            node_id: facts.node_id.to_string(),
            moniker: &facts.moniker,
            network: facts.network.as_str(),
            listeners: &listeners,
            height: Int(height),
            catching_up: self.node.catching_up(),
            peers: peers.iter().map(|peer| known_peer(peer, &states, &addresses, height)).collect(),
            addresses: addresses.iter().map(KnownAddress::from).collect(),
        }))
    }

    pub(super) fn dial_seeds(&self, args: &Args) -> Outcome {
        self.dial(args, "seeds", DialKind::Seeds)
    }

    pub(super) fn dial_peers(&self, args: &Args) -> Outcome {
        let choice = |index| if args.flag(index) { Choice::Yes } else { Choice::No };
        let kind = DialKind::Peers { persistent: choice(1), unconditional: choice(2), private: choice(3) };
        self.dial(args, "peers", kind)
    }

    /// The first argument names the addresses.
    fn dial(&self, args: &Args, whom: &str, kind: DialKind) -> Outcome {
        let addresses = args.texts(0);
        if addresses.is_empty() {
            return Err(format!("no {whom} provided"));
        }
        if addresses.len() > DIAL_ADDRESSES_MAX {
            return Err(format!(
                "{} addresses are too many for one call, at most {DIAL_ADDRESSES_MAX}",
                addresses.len()
            ));
        }
        addresses.iter().try_for_each(|address| check_address(address))?;
        self.node.dial(DialRequest { addresses: addresses.to_vec(), kind })?;
        Ok(to_bytes(&DialAnswer { log: format!("Dialing {whom} in progress. See /net_info for details") }))
    }
}

#[derive(Serialize)]
struct DialAnswer {
    log: String,
}

/// `id@host:port`, with CometBFT's texts for what is wrong with the id.
fn check_address(text: &str) -> Result<(), String> {
    let plain = text.split_once("://").map_or(text, |(_, rest)| rest);
    let Some((id, _)) = plain.split_once('@').filter(|(_, rest)| !rest.contains('@')) else {
        return Err(format!("address ({text}) does not contain ID"));
    };
    let invalid = |why: String| format!("invalid address ({plain}): {why}");
    if id.is_empty() {
        return Err(invalid("no ID".to_owned()));
    }
    let bytes = go_words::hex(id).map_err(invalid)?.len();
    if bytes != Address::LEN {
        return Err(invalid(format!("invalid hex length - got {bytes}, expected {}", Address::LEN)));
    }
    Ok(())
}
