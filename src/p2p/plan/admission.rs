//! Who gets in: limits, the allow-list, bans, and the one connection of two made at once.

use super::target::{Origin, STEADY_AFTER};
use super::{Conn, ConnId, Effect, End, Level, Now, Planner, Stage};
use crate::p2p::address::NetAddress;
use crate::p2p::pex::Manners;
use crate::types::{Channel, Direction, NodeId, NodeInfo, Time};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Callers in the middle of their handshake.
const HALF_OPEN_MAX: usize = 256;
/// Callers in the middle of their handshake from one IP address.
const HALF_OPEN_PER_IP_MAX: usize = 32;
/// Connections with one IP address, whatever their stage; many nodes may share one in a test network.
const CONNECTIONS_PER_IP_MAX: usize = 128;
/// A node that calls us so long after its connection went up has lost that connection without our knowing: nobody
/// calls a node it is connected to. Longer than the first packet of a call can be under way.
const STALE_AFTER: Duration = Duration::from_secs(10);
/// A seed drops whoever asked it after this, when the answer has long arrived.
pub(super) const SEED_HANGS_UP_AFTER: Duration = Duration::from_secs(3);

impl Planner {
    pub(super) fn accepted(&mut self, now: Now, conn: ConnId, ip: IpAddr, out: &mut Vec<Effect>) {
        let ip = ip.to_canonical();
        let half_open = |conn: &&Conn| {
            let young = matches!(conn.stage, Stage::Handshaking | Stage::Held | Stage::Exchanging);
            young && conn.direction == Direction::Inbound
        };
        let same_ip = |conn: &&Conn| conn.ip == Some(ip);
        let refusal = if self.conns.values().filter(half_open).count() >= HALF_OPEN_MAX {
            Some(format!("{HALF_OPEN_MAX} callers are in the middle of their handshake"))
        } else if self.conns.values().filter(half_open).filter(same_ip).count() >= HALF_OPEN_PER_IP_MAX
            && !mutant!("N38")
        {
            Some(format!("{HALF_OPEN_PER_IP_MAX} callers from {ip} are in the middle of their handshake"))
        } else if self.conns.values().filter(same_ip).count() >= CONNECTIONS_PER_IP_MAX {
            Some(format!("{ip} has {CONNECTIONS_PER_IP_MAX} connections"))
        } else {
            None
        };
        if let Some(why) = refusal {
            out.push(say(Level::Debug, format!("refused a call from {ip}: {why}")));
            out.push(Effect::Close { conn, why });
            return;
        }
        let made = Conn { ip: Some(ip), ..Conn::new(Direction::Inbound, now.at) };
        self.conns.insert(conn, made);
        out.push(Effect::Begin { conn });
    }

    pub(super) fn authenticated(
        &mut self,
        now: Now,
        number: ConnId,
        id: NodeId,
        remote: SocketAddr,
        out: &mut Vec<Effect>,
    ) {
        let Some(conn) = self.conns.get_mut(&number) else { return };
        if !matches!(conn.stage, Stage::Handshaking) {
            return;
        }
        conn.id = Some(id);
        conn.remote = Some(remote);
        conn.ip = Some(remote.ip().to_canonical());
        if let Err(why) = self.may_join(now, number, id) {
            // What it is banned for is noted already, and the refusal repeats it: noted too, it would grow with each
            // call.
            let banned = self.records.ban_left(now, &id).is_some();
            let record = self.records.of(now, id);
            record.seen_at = Some(remote);
            // Once for each reason: whoever calls again and again must not fill the log.
            let level = if !banned && record.note(&why) { Level::Info } else { Level::Debug };
            out.push(say(level, format!("refused {id} at {remote}: {why}")));
            self.close(number, End::Closed(why), out);
            return;
        }
        self.let_in_or_hold(number, id, out);
    }

    /// The reasons to refuse a node that has proved who it is, before it learns anything about us.
    fn may_join(&self, now: Now, number: ConnId, id: NodeId) -> Result<(), String> {
        let Some(conn) = self.conns.get(&number) else { return Ok(()) };
        if id == self.ours && !mutant!("N40") {
            return Err("it has this node's own key: is the key file used by two nodes?".to_owned());
        }
        let allowed = &self.settings.peers_only;
        if !allowed.is_empty() && !allowed.contains(&id) && !self.targets.is_persistent(&id) {
            return Err("it is not in p2p.peers_only of config.toml".to_owned());
        }
        if self.is_exempt(&id) {
            return Ok(());
        }
        if self.records.ban_left(now, &id).is_some() {
            return Err(self.shown_reason(now, &id).unwrap_or_else(|| "it is banned".to_owned()));
        }
        // What is on its way up counts: many may come at the same time.
        let taken = |other: &Conn| matches!(other.stage, Stage::Exchanging | Stage::Waiting | Stage::Up { .. });
        let strangers = |other: &&Conn| {
            let exempt = other.id.is_some_and(|id| self.is_exempt(&id));
            other.direction == Direction::Inbound && taken(other) && !exempt && other.id != Some(id)
        };
        let (inbound, max) = (self.conns.values().filter(strangers).count(), self.settings.max_inbound);
        if conn.direction == Direction::Inbound && inbound >= max && !mutant!("N41") {
            return Err(format!("{inbound} peers have called, and p2p.max_num_inbound_peers is {max}"));
        }
        let twin = |other: &Conn| taken(other) && other.ip == conn.ip && other.id != Some(id);
        if !self.settings.allow_duplicate_ip && self.conns.values().any(twin) {
            return Err("another peer has its IP address, and p2p.allow_duplicate_ip is false".to_owned());
        }
        Ok(())
    }

    /// Lets an authenticated connection go on, unless another one to the same node is before it (see the module).
    fn let_in_or_hold(&mut self, number: ConnId, id: NodeId, out: &mut Vec<Effect>) {
        let rival = |(other, conn): &(ConnId, &Conn)| {
            let counts = matches!(conn.stage, Stage::Held | Stage::Exchanging | Stage::Waiting | Stage::Up { .. });
            *other != number && counts
        };
        // The one that is furthest, which is the one that decides.
        let rival = self.of_node(&id).filter(rival).max_by_key(|(_, conn)| conn.stage.progress());
        let (rival, up_since) = match rival.map(|(other, conn)| (other, &conn.stage)) {
            None => return self.proceed(number, out),
            Some((other, Stage::Up { since })) => (other, Some(*since)),
            Some((other, _)) => (other, None),
        };
        let Some(conn) = self.conns.get_mut(&number) else { return };
        match up_since {
            Some(since)
                if conn.direction == Direction::Inbound && (conn.begun >= since + STALE_AFTER || mutant!("N43")) =>
            {
                self.close(rival, End::Closed("it called anew, so it has lost this connection".to_owned()), out);
                self.proceed(number, out);
            }
            None if self.ours > id => conn.stage = Stage::Held,
            _ => self.close(number, duplicate(), out),
        }
    }

    fn proceed(&mut self, number: ConnId, out: &mut Vec<Effect>) {
        if let Some(conn) = self.conns.get_mut(&number) {
            conn.stage = Stage::Exchanging;
            out.push(Effect::Proceed { conn: number });
        }
    }

    pub(super) fn introduced(&mut self, now: Now, number: ConnId, info: NodeInfo, out: &mut Vec<Effect>) {
        let Some(conn) = self.conns.get_mut(&number) else { return };
        let (Stage::Exchanging, Some(id)) = (&conn.stage, conn.id) else { return };
        conn.info = Some(info);
        conn.stage = Stage::Waiting;
        let held = |(_, conn): &(ConnId, &Conn)| matches!(conn.stage, Stage::Held);
        for other in self.of_node(&id).filter(held).map(|(other, _)| other).collect::<Vec<_>>() {
            self.close(other, duplicate(), out);
        }
        self.up_if_alone(now, id, out);
    }

    /// Brings up the connection that waits, once the node was told that the one before is down.
    fn up_if_alone(&mut self, now: Now, id: NodeId, out: &mut Vec<Effect>) {
        let known_to_the_node =
            |conn: &Conn| matches!(conn.stage, Stage::Up { .. } | Stage::Closing { up_since: Some(_), .. });
        if self.of_node(&id).any(|(_, conn)| known_to_the_node(conn)) && !mutant!("N42") {
            return;
        }
        let waiting = self.of_node(&id).find(|(_, conn)| matches!(conn.stage, Stage::Waiting));
        let Some(number) = waiting.map(|(number, _)| number) else { return };
        let Some(conn) = self.conns.get_mut(&number) else { return };
        conn.stage = Stage::Up { since: now.at };
        out.push(Effect::Up { conn: number });
        self.greet(now, number, id, out);
    }

    /// What a new peer means for the book, and for the search for more.
    fn greet(&mut self, now: Now, number: ConnId, id: NodeId, out: &mut Vec<Effect>) {
        let Some(conn) = self.conns.get(&number) else { return };
        let (Some(info), Some(remote)) = (&conn.info, conn.remote) else { return };
        let (address, teller) = match conn.direction {
            Direction::Outbound => (Some(NetAddress::new(id, remote)), Some(self.teller)),
            // It is its own teller: whatever it says stays in the buckets of its own group.
            Direction::Inbound => {
                let said = NetAddress::of_listener(id, &info.listen_addr);
                (said, said)
            }
        };
        let outbound = conn.direction == Direction::Outbound;
        let (moniker, how) = (info.moniker.clone(), if outbound { "called" } else { "called us" });
        out.push(say(Level::Info, format!("peer {id} ({moniker}) at {remote} is up, {how}")));
        self.records.of(now, id).seen_at = Some(remote);
        if let (Some(address), Some(teller), true) = (address, teller, self.settings.pex) {
            // A refusal is the book's business: private, unroutable or known addresses are not worth a word.
            let _ = self.book.add(now.wall, address, teller, &mut self.chance);
        }
        match self.targets.get_mut(&id) {
            Some(target) if target.origin == Origin::Operator => self.targets.remove(&id),
            Some(target) => target.reached(),
            None => {}
        }
        if outbound {
            self.book.good(now.wall, &id);
            self.ask_for_addresses(number, out);
        }
    }

    /// Ends a connection; its end is noted when it comes.
    pub(super) fn close(&mut self, number: ConnId, end: End, out: &mut Vec<Effect>) {
        let Some(conn) = self.conns.get_mut(&number) else { return };
        let up_since = match conn.stage {
            Stage::Closing { .. } => return,
            Stage::Up { since } => Some(since),
            _ => None,
        };
        out.push(Effect::Close { conn: number, why: end.why().to_owned() });
        conn.stage = Stage::Closing { end, up_since };
    }

    pub(super) fn ended(&mut self, now: Now, number: ConnId, end: End, out: &mut Vec<Effect>) {
        let Some(conn) = self.conns.remove(&number) else { return };
        let (end, up_since) = match conn.stage {
            Stage::Closing { end, up_since } => (end, up_since),
            Stage::Up { since } => (end, Some(since)),
            _ => (end, None),
        };
        let Some(id) = conn.id else {
            out.push(say(Level::Debug, format!("a caller did not become a peer: {}", end.why())));
            return;
        };
        match (up_since, conn.direction) {
            (Some(since), _) => self.peer_lost(now, id, now.at.saturating_sub(since), &end, out),
            (None, Direction::Outbound) => self.call_failed(now, id, &end, out),
            (None, Direction::Inbound) => self.caller_failed(now, conn.remote, id, &end, out),
        }
        self.release(id, out);
        self.up_if_alone(now, id, out);
    }

    /// Lets the next held connection go on when none is before it.
    fn release(&mut self, id: NodeId, out: &mut Vec<Effect>) {
        let before = |conn: &Conn| matches!(conn.stage, Stage::Exchanging | Stage::Waiting | Stage::Up { .. });
        if self.of_node(&id).any(|(_, conn)| before(conn)) {
            return;
        }
        let held = self.of_node(&id).find(|(_, conn)| matches!(conn.stage, Stage::Held)).map(|(number, _)| number);
        if let Some(number) = held {
            self.proceed(number, out);
        }
    }

    fn peer_lost(&mut self, now: Now, id: NodeId, lived: Duration, end: &End, out: &mut Vec<Effect>) {
        let why = end.why();
        out.push(say(Level::Info, format!("peer {id} is down after {} s: {why}", lived.as_secs())));
        self.records.of(now, id).note(why);
        if let Some(target) = self.targets.get_mut(&id) {
            target.note(why);
            target.lost(now.at, lived, self.settings.persistent_max_dial_period, &mut self.chance);
        }
        if let End::Fault(why) = end {
            self.blame(now, id, why);
        } else if lived < STEADY_AFTER {
            self.book.failed(now.wall, &id);
        }
        self.look_soon(now);
    }

    /// Notes a broken rule: a ban that grows, or for a peer the operator trusts a pause before we call again.
    fn blame(&mut self, now: Now, id: NodeId, why: &str) {
        let exempt = self.is_exempt(&id);
        let record = self.records.of(now, id);
        let faults = record.fault(now, why);
        if !exempt {
            self.ban(now, id, super::record::ban_length(faults));
        } else if let Some(target) = self.targets.get_mut(&id) {
            target.broke_rules(now.at, faults);
        }
    }

    pub(super) fn ban(&mut self, now: Now, id: NodeId, length: Duration) {
        self.records.of(now, id).ban(now, length);
        let until: Time = now.wall.plus(length);
        self.book.ban(&id, until);
    }

    fn caller_failed(&mut self, now: Now, remote: Option<SocketAddr>, id: NodeId, end: &End, out: &mut Vec<Effect>) {
        if matches!(end, End::Closed(_)) {
            return;
        }
        let why = end.why();
        let record = self.records.of(now, id);
        record.seen_at = remote;
        // Once for each reason: a node of another chain that calls every few seconds must not fill the log.
        let level = if record.note(why) { Level::Info } else { Level::Debug };
        out.push(say(level, format!("node {id} called and did not become a peer: {why}")));
        if let End::Fault(why) = end {
            self.blame(now, id, why);
        }
    }
}

impl Stage {
    fn progress(&self) -> u8 {
        match self {
            Stage::Handshaking | Stage::Closing { .. } => 0,
            Stage::Held => 1,
            Stage::Exchanging => 2,
            Stage::Waiting => 3,
            Stage::Up { .. } => 4,
        }
    }
}

impl Conn {
    pub(super) fn new(direction: Direction, begun: Duration) -> Conn {
        Conn {
            direction,
            id: None,
            remote: None,
            ip: None,
            begun,
            stage: Stage::Handshaking,
            info: None,
            manners: Manners::default(),
            close_at: None,
        }
    }

    /// True when addresses can be exchanged with it.
    pub(super) fn exchanges_addresses(&self) -> bool {
        let speaks = |info: &NodeInfo| info.channels.contains(&Channel::Pex.id());
        matches!(self.stage, Stage::Up { .. }) && self.info.as_ref().is_some_and(speaks)
    }
}

fn duplicate() -> End {
    End::Closed("there is another connection to this node".to_owned())
}

/// Reasons may quote a peer: what would begin a line of its own, or command a terminal, is written as an escape.
pub(super) fn say(level: Level, text: String) -> Effect {
    let plain = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    let text = if text.contains(char::is_control) { text.chars().map(plain).collect() } else { text };
    Effect::Say { level, text }
}
