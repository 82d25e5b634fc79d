//! The planner: whom to call and when, whom to let in, whom to drop, ban, ask and tell. Pure: (now, input) to ordered
//! effects, with chance from a seed; the shell (`hub`) has the sockets.
//!
//! **Two connections to one node** arise when both call at once. CometBFT keeps whichever finished its handshake
//! first *on its side* and closes the other, so two nodes may each close the one the other kept. We rule that out
//! before it can happen: a connection whose node is authenticated may tell our node info only if no other connection
//! to that node is on its way or up, and a peer can take no connection on which it has not had our node info. The
//! second one meanwhile is closed by the node with the smaller id and held by the other, so that between two nodes of
//! ours one decides and the other follows, without a clock; and towards CometBFT, which holds nothing back, the first
//! one always goes through.

mod admission;
mod dialing;
mod exchange;
mod record;
mod target;
#[cfg(test)]
mod tests;

use super::address::{NetAddress, Routability};
use super::book::Book;
use super::network::{PeerAddress, Settings};
use super::pex::Manners;
use crate::ports::AddressView;
use crate::types::{Direction, NodeId, NodeInfo, Time};
use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use record::Records;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use target::{Origin, Targets};

/// Drops remembered of nodes we do not call, in [`Planner::known`].
const OTHERS_SHOWN_MAX: usize = 100;

/// Now, on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// Since the node began; never goes back.
    pub(super) at: Duration,
    /// Of the wall, for the address book.
    pub(super) wall: Time,
}

/// One connection, from the call or its acceptance to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnId(u64);

/// What happened.
#[derive(Debug)]
pub(super) enum Input {
    /// Time went by: at the latest at [`Planner::wake_at`].
    Tick,
    /// Somebody called.
    Accepted { conn: ConnId, ip: IpAddr },
    /// The other side proved who it is; it waits for our node info.
    Authenticated { conn: ConnId, id: NodeId, remote: SocketAddr },
    /// Node infos are exchanged and agree.
    Introduced { conn: ConnId, info: NodeInfo },
    /// It is over, at any stage. Exactly once for each connection, and after the node was told `down`.
    Ended { conn: ConnId, end: End },
    /// It said something on channel 0x00.
    Pex { conn: ConnId, message: Bytes },
    /// It was useful so many times.
    Useful { id: NodeId, messages: u64 },
    /// An operator names nodes to call.
    Named { peers: Vec<PeerAddress>, wish: Wish },
}

/// What becomes of nodes an operator names while the node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Asked for addresses.
    Seed,
    /// Called once.
    Once,
    /// Called whenever there is no connection.
    Persistent,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The network's doing, the peer's own wish, or no connection at all.
    Lost(String),
    /// The peer broke a rule.
    Fault(String),
    /// Another node answered where this one was called.
    WrongNode(String),
    /// It has nothing to say to us: another chain, another protocol.
    Unfit(String),
    /// We answered where somebody else was called.
    Ourselves,
    /// We closed it; no fault of the peer.
    Closed(String),
}

impl End {
    /// The reason, for people.
    pub(super) fn why(&self) -> &str {
        match self {
            End::Lost(why) | End::Fault(why) | End::WrongNode(why) | End::Unfit(why) | End::Closed(why) => why,
            End::Ourselves => "this node called itself",
        }
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Effect {
    /// Call.
    Dial { conn: ConnId, id: NodeId, address: String },
    /// Begin the handshake of an accepted connection.
    Begin { conn: ConnId },
    /// Tell our node info.
    Proceed { conn: ConnId },
    /// Tell the node that this peer is up, and carry its messages.
    Up { conn: ConnId },
    /// Close, at any stage.
    Close { conn: ConnId, why: String },
    /// Say something on channel 0x00.
    Pex { conn: ConnId, message: Bytes },
    /// Write this to the address book's file.
    Save { book: Vec<u8> },
    /// Tell the operator.
    Say { level: Level, text: String },
}

/// How much an operator should care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Something to look into.
    Warn,
    /// Good to know.
    Info,
    /// For whoever searches.
    Debug,
}

/// Where a connection stands.
#[derive(Debug)]
enum Stage {
    /// Being called or proving who it is.
    Handshaking,
    /// Authenticated; another connection to the same node goes first.
    Held,
    /// Exchanging node infos. At most one for each node.
    Exchanging,
    /// Ready, but the node has not yet been told that the last connection to this peer is down.
    Waiting,
    /// The node knows it.
    Up { since: Duration },
    /// We closed it and wait for its end.
    Closing { end: End, up_since: Option<Duration> },
}

#[derive(Debug)]
struct Conn {
    direction: Direction,
    /// Whom we called; later, who proved to be there.
    id: Option<NodeId>,
    remote: Option<SocketAddr>,
    /// Where it was called from, before anything is proved.
    ip: Option<IpAddr>,
    begun: Duration,
    stage: Stage,
    info: Option<NodeInfo>,
    manners: Manners,
    /// A seed tells addresses and hangs up: this much later, so that they arrive.
    close_at: Option<Duration>,
}

/// The planner.
#[derive(Debug)]
pub(super) struct Planner {
    settings: Settings,
    ours: NodeId,
    /// Who told us the addresses in our configuration: we did.
    teller: NetAddress,
    chance: StdRng,
    conns: BTreeMap<ConnId, Conn>,
    conns_made: u64,
    targets: Targets,
    records: Records,
    book: Book,
    /// When to look for more peers.
    ensure_at: Duration,
    /// When to ask a peer for addresses at the earliest.
    ask_at: Duration,
    /// When to save the book at the earliest.
    save_at: Duration,
}

impl Planner {
    /// A planner for this node. `info` is what it says about itself, `book_file` the address book's text, if there is
    /// one; `seed` is random. The second value says what is wrong with the book.
    pub(super) fn new(
        settings: Settings,
        info: &NodeInfo,
        book_file: Option<&[u8]>,
        now: Now,
        seed: [u8; 32],
    ) -> (Planner, Option<String>) {
        let mut chance = StdRng::from_seed(seed);
        let key: [u8; 12] = rand::RngExt::random(&mut chance);
        let routability = if settings.strict { Routability::Strict } else { Routability::Any };
        let mut book = Book::new(info.node_id, settings.private.clone(), routability, hex::encode(key));
        let trouble = book_file.and_then(|text| match book.take_json(text) {
            Ok(0) => None,
            Ok(left_out) => Some(format!("{left_out} entries of the address book make no sense and were left out")),
            Err(why) => Some(format!("the address book cannot be read and is begun anew: {why}")),
        });
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let teller =
            NetAddress::of_listener(info.node_id, &info.listen_addr).unwrap_or(NetAddress::new(info.node_id, nowhere));
        let mut planner = Planner {
            ours: info.node_id,
            teller,
            chance,
            conns: BTreeMap::new(),
            conns_made: 0,
            targets: Targets::default(),
            records: Records::default(),
            book,
            ensure_at: now.at,
            ask_at: now.at,
            save_at: now.at,
            settings,
        };
        planner.take_bans(now);
        planner.take_configured();
        (planner, trouble)
    }

    fn take_bans(&mut self, now: Now) {
        for (id, left) in self.book.bans(now.wall).collect::<Vec<_>>() {
            self.records.of(now, id).ban(now, left);
        }
    }

    fn take_configured(&mut self) {
        for peer in self.settings.seeds.clone() {
            self.targets.add(peer.id, &peer.address, Origin::Seed);
        }
        for peer in self.settings.persistent_peers.clone() {
            self.targets.add(peer.id, &peer.address, Origin::Persistent);
        }
        self.targets.remove(&self.ours.clone());
    }

    /// A number for a connection somebody makes to us.
    pub(super) fn new_conn(&mut self) -> ConnId {
        self.conns_made += 1;
        ConnId(self.conns_made)
    }

    /// Takes what happened and says what to do, in this order.
    pub(super) fn step(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Tick => {}
            Input::Accepted { conn, ip } => self.accepted(now, conn, ip, out),
            Input::Authenticated { conn, id, remote } => self.authenticated(now, conn, id, remote, out),
            Input::Introduced { conn, info } => self.introduced(now, conn, info, out),
            Input::Ended { conn, end } => self.ended(now, conn, end, out),
            Input::Pex { conn, message } => self.pex(now, conn, message, out),
            Input::Useful { id, messages } => self.useful(now, id, messages),
            Input::Named { peers, wish } => self.named(&peers, wish),
        }
        self.call_whoever_is_due(now, out);
        self.save_if_due(now, out);
    }

    fn useful(&mut self, now: Now, id: NodeId, messages: u64) {
        let score = &mut self.records.of(now, id).score;
        *score = score.saturating_add_unsigned(messages);
        self.book.good(now.wall, &id);
    }

    fn named(&mut self, peers: &[PeerAddress], wish: Wish) {
        let origin = match wish {
            Wish::Seed => Origin::Seed,
            Wish::Once => Origin::Operator,
            Wish::Persistent => Origin::Persistent,
        };
        for peer in peers.iter().filter(|peer| peer.id != self.ours) {
            let target = self.targets.add(peer.id, &peer.address, origin);
            target.next = Duration::ZERO;
        }
        if wish == Wish::Seed {
            self.ensure_at = Duration::ZERO;
        }
    }

    /// Exempts nodes from the limits from now on.
    pub(super) fn exempt(&mut self, ids: impl Iterator<Item = NodeId>) {
        self.settings.unconditional.extend(ids);
    }

    /// Keeps the addresses of these nodes to ourselves from now on.
    pub(super) fn keep_private(&mut self, ids: impl Iterator<Item = NodeId>) {
        for id in ids {
            self.book.keep_private(id);
        }
    }

    /// The book as it is now, if it changed since it was saved last; for the end.
    pub(super) fn unsaved_book(&mut self) -> Option<Vec<u8>> {
        self.book.take_changed().then(|| self.book.to_json())
    }

    // --------------------------------------------------------------------------------------------------- views

    /// What a node earned and lost.
    pub(super) fn score(&self, id: &NodeId) -> i64 {
        self.records.get(id).map_or(0, |record| record.score)
    }

    /// Addresses we mean to call and what became of it, then others we dropped or refused.
    pub(super) fn known(&self, now: Now) -> Vec<AddressView> {
        let called = self.targets.iter().map(|(id, target)| {
            let connected = self.is_connected(id);
            let planned = matches!(target.origin, Origin::Persistent | Origin::Seed) && !connected && !target.ourselves;
            AddressView {
                id: *id,
                address: target.address.clone(),
                origin: target.origin.name(),
                connected,
                failures: if connected { 0 } else { target.failures },
                next_attempt: planned.then(|| target.next.saturating_sub(now.at)),
                last_error: target.last_error.clone().or_else(|| self.shown_reason(now, id)),
            }
        });
        let others = self.records.iter().filter(|(id, record)| {
            self.targets.get(id).is_none() && !record.reasons.is_empty() && record.seen_at.is_some()
        });
        let others = others.map(|(id, record)| AddressView {
            id: *id,
            address: record.seen_at.map(|at| at.to_string()).unwrap_or_default(),
            origin: "caller",
            connected: self.is_connected(id),
            failures: 0,
            next_attempt: None,
            last_error: self.shown_reason(now, id),
        });
        called.chain(others.take(OTHERS_SHOWN_MAX)).collect()
    }

    fn last_reason(&self, id: &NodeId) -> Option<String> {
        self.records.get(id)?.reasons.back().cloned()
    }

    /// The same for people, and whether it still keeps the node out.
    fn shown_reason(&self, now: Now, id: &NodeId) -> Option<String> {
        let why = self.last_reason(id)?;
        Some(match self.records.ban_left(now, id) {
            Some(left) => format!("it is banned for {} s more: {why}", left.as_secs()),
            None => why,
        })
    }

    fn is_connected(&self, id: &NodeId) -> bool {
        self.of_node(id).any(|(_, conn)| matches!(conn.stage, Stage::Up { .. }))
    }

    /// Connections to a node, called or authenticated.
    fn of_node<'a>(&'a self, id: &'a NodeId) -> impl Iterator<Item = (ConnId, &'a Conn)> {
        self.conns.iter().filter(move |(_, conn)| conn.id.as_ref() == Some(id)).map(|(number, conn)| (*number, conn))
    }

    /// Peers the operator trusts: no bans, no limits on their number.
    fn is_exempt(&self, id: &NodeId) -> bool {
        self.settings.unconditional.contains(id) || self.targets.is_persistent(id)
    }
}
