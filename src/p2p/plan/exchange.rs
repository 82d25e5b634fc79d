//! Asking peers for addresses and answering those who ask.

use super::admission::SEED_HANGS_UP_AFTER;
use super::target::Origin;
use super::{ConnId, Effect, End, Now, Planner, Stage};
use crate::codec::wire::pex::{NetAddress as WireAddress, PexMessage};
use crate::p2p::address::NetAddress;
use crate::p2p::pex::{self, ABUSE_BAN, Abuse};
use crate::types::Direction;
use bytes::Bytes;

/// Percent of new addresses in a seed's answer, as in CometBFT: seeds should tell good ones.
const SEED_BIAS: usize = 30;

impl Planner {
    pub(super) fn pex(&mut self, now: Now, number: ConnId, message: Bytes, out: &mut Vec<Effect>) {
        match PexMessage::decode(message) {
            Ok(PexMessage::Request) => self.answer(now, number, out),
            Ok(PexMessage::Addrs(addresses)) => self.learn(now, number, addresses, out),
            Err(why) => self.close(number, End::Fault(format!("its message on channel 0x00 is malformed: {why}")), out),
        }
    }

    fn answer(&mut self, now: Now, number: ConnId, out: &mut Vec<Effect>) {
        let Some(conn) = self.conns.get_mut(&number) else { return };
        if !matches!(conn.stage, Stage::Up { .. }) {
            return;
        }
        let seed = self.settings.seed_mode && conn.direction == Direction::Inbound;
        let asked_before = conn.manners.has_asked();
        if seed && asked_before && !mutant!("N45") {
            return;
        }
        if let Err(abuse) = conn.manners.asked(now.at) {
            return self.abused(now, number, abuse, out);
        }
        let addresses = if seed {
            conn.close_at = Some(now.at + SEED_HANGS_UP_AFTER).filter(|_| !mutant!("N46"));
            self.book.selection_with_bias(now.wall, SEED_BIAS, &mut self.chance)
        } else {
            self.book.selection(now.wall, &mut self.chance)
        };
        out.push(Effect::Pex { conn: number, message: pex::answer(&addresses) });
    }

    fn learn(&mut self, now: Now, number: ConnId, addresses: Vec<WireAddress>, out: &mut Vec<Effect>) {
        let Some(conn) = self.conns.get_mut(&number) else { return };
        let addresses = match conn.manners.answered(addresses) {
            Ok(addresses) => addresses,
            Err(abuse) => return self.abused(now, number, abuse, out),
        };
        let (Some(id), Some(remote), Some(info)) = (conn.id, conn.remote, &conn.info) else { return };
        // The address it says it has; else the one it has, whose port may be of no use but whose group is true.
        let teller = NetAddress::of_listener(id, &info.listen_addr).unwrap_or(NetAddress::new(id, remote));
        for address in addresses {
            // A refusal is the book's business: private, unroutable or known addresses are not worth a word.
            let _ = self.book.add(now.wall, address, teller, &mut self.chance);
        }
        let crawled = self.settings.seed_mode && conn.direction == Direction::Outbound && !self.is_exempt(&id);
        if crawled {
            self.close(number, End::Closed("a seed asks for addresses and hangs up".to_owned()), out);
        }
        self.look_soon(now);
    }

    /// Drops a peer that misuses channel 0x00 and bans it for a day, unless the operator wants it.
    fn abused(&mut self, now: Now, number: ConnId, abuse: Abuse, out: &mut Vec<Effect>) {
        let id = self.conns.get(&number).and_then(|conn| conn.id);
        if let Some(id) = id.filter(|id| !self.is_exempt(id) && !mutant!("N44")) {
            self.ban(now, id, ABUSE_BAN);
        }
        self.close(number, End::Fault(format!("it {abuse}")), out);
    }

    /// Asks a peer for addresses, if we need some and it understands.
    pub(super) fn ask_for_addresses(&mut self, number: ConnId, out: &mut Vec<Effect>) {
        let Some(conn) = self.conns.get_mut(&number) else { return };
        let is_seed = conn.id.and_then(|id| self.targets.get(&id)).is_some_and(|target| target.origin == Origin::Seed);
        let needed = self.book.wants_more() || self.settings.seed_mode || is_seed;
        if !self.settings.pex || !needed || !conn.exchanges_addresses() {
            return;
        }
        if let Some(message) = conn.manners.request() {
            out.push(Effect::Pex { conn: number, message });
        }
    }
}
