//! Whom to call: persistent peers for ever, addresses of the book while there are too few peers, seeds while there are
//! too few addresses; in seed mode, everybody in turn.

use super::admission::say;
use super::target::{FAILURES_MAX, Lasting, Origin};
use super::{Conn, ConnId, Effect, End, Level, Now, Planner, Stage};
use crate::p2p::pex::{ABUSE_BAN, ENSURE_PERIOD};
use crate::types::{Direction, NodeId};
use rand::RngExt as _;
use std::time::Duration;

/// Calls under way.
const CALLS_MAX: usize = 64;
/// The book is saved at most this often, as in CometBFT.
const SAVE_PERIOD: Duration = Duration::from_secs(120);
/// After something happened that makes more peers likely or necessary; it usually happens several times in a row.
const LOOK_SOON: Duration = Duration::from_millis(200);
/// A seed calls the same node no more often, as in CometBFT.
const CRAWL_AGAIN_AFTER: Duration = Duration::from_secs(120);
/// A seed lets nobody stay longer, as in CometBFT.
const SEED_STAY_MAX: Duration = Duration::from_secs(28 * 3600);
/// Draws from the book for each peer wanted: some find nodes we have, or that are not due.
const DRAWS: usize = 10;
/// Most draws at once, however many peers are wanted.
const DRAWS_MAX: usize = 1_000;

impl Planner {
    /// When the planner wants to be stepped again at the latest.
    pub(in crate::p2p) fn wake_at(&self) -> Duration {
        // The end of a call wakes us anyway.
        let busy = self.calls_under_way() >= CALLS_MAX;
        let due = |(id, target): (&NodeId, &super::target::Target)| {
            let waits = !target.ourselves && !busy && self.of_node(id).next().is_none();
            waits.then_some(target.next)
        };
        let persistent = self.targets.of(Origin::Persistent).filter_map(due);
        let operators = self.targets.of(Origin::Operator).filter_map(due);
        let hang_up = self.conns.values().filter_map(|conn| conn.close_at);
        let save = self.book.has_changed().then_some(self.save_at);
        persistent.chain(operators).chain(hang_up).chain(save).fold(self.ensure_at, Duration::min)
    }

    /// Looks for peers again shortly.
    pub(super) fn look_soon(&mut self, now: Now) {
        self.ensure_at = self.ensure_at.min(now.at + LOOK_SOON);
    }

    pub(super) fn save_if_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        if now.at >= self.save_at && self.book.take_changed() {
            self.save_at = now.at + SAVE_PERIOD;
            out.push(Effect::Save { book: self.book.to_json() });
        }
    }

    /// Every call that is due, and everything else time brings.
    pub(super) fn call_whoever_is_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.hang_up(now, out);
        for origin in [Origin::Persistent, Origin::Operator] {
            let due = self.targets.of(origin).filter(|(_, target)| target.is_due(now.at)).map(|(id, _)| *id);
            for id in due.collect::<Vec<_>>() {
                self.call(now, id, out);
            }
        }
        if now.at < self.ensure_at {
            return;
        }
        self.ensure_at = now.at + ENSURE_PERIOD;
        if self.settings.seed_mode {
            self.crawl(now, out);
        } else if self.settings.pex {
            self.ensure_peers(now, out);
        }
    }

    /// Calls a node, unless there is a connection to it already, of whatever stage.
    fn call(&mut self, now: Now, id: NodeId, out: &mut Vec<Effect>) -> bool {
        if self.of_node(&id).next().is_some() || (self.calls_under_way() >= CALLS_MAX && !mutant!("N106")) {
            return false;
        }
        let Some(target) = self.targets.get_mut(&id) else { return false };
        target.called = now.at;
        let address = target.address.clone();
        let number = self.new_conn();
        self.conns.insert(number, Conn { id: Some(id), ..Conn::new(Direction::Outbound, now.at) });
        out.push(Effect::Dial { conn: number, id, address });
        true
    }

    fn calls_under_way(&self) -> usize {
        let calling = |conn: &&Conn| conn.direction == Direction::Outbound && matches!(conn.stage, Stage::Handshaking);
        self.conns.values().filter(calling).count()
    }

    /// Peers we called or are calling, other than those the operator wants anyway.
    fn outbound(&self) -> usize {
        let counts = |conn: &&Conn| {
            let named = conn.id.is_some_and(|id| self.is_exempt(&id));
            conn.direction == Direction::Outbound && !matches!(conn.stage, Stage::Closing { .. }) && !named
        };
        self.conns.values().filter(counts).count()
    }

    /// Calls addresses of the book until there are enough peers; asks one peer for more addresses every half a minute,
    /// and a seed when there is nobody to call.
    fn ensure_peers(&mut self, now: Now, out: &mut Vec<Effect>) {
        let have = self.outbound();
        let wanted = self.settings.max_outbound.saturating_sub(have);
        // The fewer peers we have, the more we trust those we reached before.
        let bias = (have.min(8) * 10 + 10) as u32;
        let mut called = 0;
        for _ in 0..wanted.saturating_mul(DRAWS).min(DRAWS_MAX) {
            if called == wanted {
                break;
            }
            called += usize::from(self.call_from_book(now, bias, out));
        }
        if !self.book.wants_more() {
            return;
        }
        if now.at >= self.ask_at {
            self.ask_at = now.at + ENSURE_PERIOD;
            self.ask_somebody(out);
        }
        if wanted > 0 && called == 0 {
            self.call_a_seed(now, out);
        }
    }

    fn call_from_book(&mut self, now: Now, bias: u32, out: &mut Vec<Effect>) -> bool {
        let Some(address) = self.book.pick(now.wall, bias, &mut self.chance) else { return false };
        let id = address.id;
        if !self.may_call(now, &id) {
            return false;
        }
        self.targets.add(id, &address.socket().to_string(), Origin::Book);
        self.call(now, id, out)
    }

    /// False for nodes that would be refused or that are not due.
    fn may_call(&self, now: Now, id: &NodeId) -> bool {
        let allowed = self.settings.peers_only.is_empty() || self.settings.peers_only.contains(id);
        let due = self.targets.get(id).is_none_or(|target| target.is_due(now.at));
        allowed && due && (self.records.ban_left(now, id).is_none() || mutant!("N105"))
    }

    /// One seed at a time, in random order: the next one's turn comes when this one's call failed.
    fn call_a_seed(&mut self, now: Now, out: &mut Vec<Effect>) {
        let due = self.targets.of(Origin::Seed).filter(|(id, target)| {
            target.is_due(now.at) && self.records.ban_left(now, id).is_none() && self.of_node(id).next().is_none()
        });
        let due: Vec<_> = due.map(|(id, _)| *id).collect();
        if !due.is_empty() {
            let id = due[self.chance.random_range(0..due.len())];
            self.call(now, id, out);
        }
    }

    fn ask_somebody(&mut self, out: &mut Vec<Effect>) {
        let peers = self.conns.iter().filter(|(_, conn)| conn.exchanges_addresses());
        let peers: Vec<ConnId> = peers.map(|(number, _)| *number).collect();
        if !peers.is_empty() {
            let number = peers[self.chance.random_range(0..peers.len())];
            self.ask_for_addresses(number, out);
        }
    }

    /// Seed mode: calls a part of the book in turn and asks everybody for addresses; lets nobody stay for long.
    fn crawl(&mut self, now: Now, out: &mut Vec<Effect>) {
        let stale = |conn: &Conn| match conn.stage {
            Stage::Up { since } => now.at.saturating_sub(since) >= SEED_STAY_MAX,
            _ => false,
        };
        let stay = self.conns.iter().filter(|(_, conn)| stale(conn) && !conn.id.is_some_and(|id| self.is_exempt(&id)));
        for number in stay.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.close(number, End::Closed("a seed keeps nobody for long".to_owned()), out);
        }
        for address in self.book.selection(now.wall, &mut self.chance) {
            let called = self.targets.get(&address.id).map(|target| target.called);
            let lately = called.is_some_and(|called| now.at.saturating_sub(called) < CRAWL_AGAIN_AFTER);
            if !lately && self.may_call(now, &address.id) {
                self.targets.add(address.id, &address.socket().to_string(), Origin::Book);
                self.call(now, address.id, out);
            }
        }
        self.call_a_seed(now, out);
    }

    fn hang_up(&mut self, now: Now, out: &mut Vec<Effect>) {
        let due = |conn: &Conn| conn.close_at.is_some_and(|at| at <= now.at);
        let due: Vec<_> = self.conns.iter().filter(|(_, conn)| due(conn)).map(|(number, _)| *number).collect();
        for number in due {
            if let Some(conn) = self.conns.get_mut(&number) {
                conn.close_at = None;
            }
            self.close(number, End::Closed("a seed tells addresses and hangs up".to_owned()), out);
        }
    }

    /// A call did not lead to a peer.
    pub(super) fn call_failed(&mut self, now: Now, id: NodeId, end: &End, out: &mut Vec<Effect>) {
        // It called us while we called it, and one of the two connections was one too many: that is success.
        let there = |conn: &Conn| !matches!(conn.stage, Stage::Handshaking | Stage::Closing { up_since: None, .. });
        if self.of_node(&id).any(|(_, conn)| there(conn)) {
            return;
        }
        let Some(target) = self.targets.get_mut(&id) else { return };
        let (why, origin, address) = (end.why(), target.origin, target.address.clone());
        target.failed(now.at, self.settings.persistent_max_dial_period, &mut self.chance);
        target.ourselves |= *end == End::Ourselves;
        let failures = target.failures;
        target.note(why);
        let lasting = if matches!(end, End::Lost(_) | End::Closed(_)) { Lasting::Perhaps } else { Lasting::Surely };
        let level = target.tell(now.at, why, lasting);
        let how = origin.name();
        out.push(say(
            level,
            match level {
                Level::Info => {
                    format!("{how} peer {id} at {address} is not there yet, it is called until it is: {why}")
                }
                Level::Warn if matches!(end, End::Unfit(_)) => {
                    format!("{how} peer {id} at {address} is there and does not fit, it is called until it does: {why}")
                }
                Level::Warn | Level::Debug => format!("cannot connect to {how} peer {id} at {address}: {why}"),
            },
        ));
        self.book.failed(now.wall, &id);
        let useless = matches!(end, End::WrongNode(_) | End::Ourselves) || failures > FAILURES_MAX;
        match origin {
            Origin::Book if useless => self.give_up(now, id),
            Origin::Operator => self.targets.remove(&id),
            Origin::Persistent | Origin::Seed | Origin::Book => {}
        }
        if let End::Fault(why) = end {
            self.records.of(now, id).fault(now, why);
        }
        self.look_soon(now);
    }

    /// Forgets an address nobody can be reached at, for a day at least.
    fn give_up(&mut self, now: Now, id: NodeId) {
        self.records.of(now, id).ban(now, ABUSE_BAN);
        self.book.remove(&id);
        self.targets.remove(&id);
    }
}
