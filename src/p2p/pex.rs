//! Peer exchange (reference §5.7): who may ask whom for addresses, how often, and what an answer may hold. A small
//! request fetches a large answer, hence the limits.

use super::address::NetAddress;
use super::book::SELECTION_MAX;
use crate::codec::wire::pex::{NetAddress as WireAddress, PexMessage};
use bytes::Bytes;
use std::net::IpAddr;
use std::time::Duration;

/// We look for peers this often, and ask one of those we have for addresses.
pub(super) const ENSURE_PERIOD: Duration = Duration::from_secs(30);
/// A peer may ask again after this time. Shorter than [`ENSURE_PERIOD`], or honest peers would ask too often.
const REQUEST_INTERVAL_MIN: Duration = Duration::from_secs(10);
/// A peer that asks too often or answers unasked is not spoken to for so long, as in CometBFT.
pub(super) const ABUSE_BAN: Duration = Duration::from_secs(24 * 3600);

const _: () = assert!(REQUEST_INTERVAL_MIN.as_secs() * 3 <= ENSURE_PERIOD.as_secs(), "a third, as CometBFT counts");

/// How a peer behaves on channel 0x00.
#[derive(Debug, Default)]
pub(super) struct Manners {
    asked_us: AskedUs,
    we_asked: WeAsked,
}

#[derive(Debug, Default, Clone, Copy)]
enum AskedUs {
    #[default]
    Never,
    /// The first time is free: CometBFT starts to count with the second.
    Once,
    Since(Duration),
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum WeAsked {
    #[default]
    No,
    Yes,
}

/// A request or an answer that breaks the rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Abuse {
    #[error("asks for addresses more often than every {REQUEST_INTERVAL_MIN:?}")]
    TooOften,
    #[error("tells addresses although nobody asked")]
    Unasked,
    #[error("tells {0:?} for an IP address")]
    NoIp(String),
}

impl Manners {
    /// Notes that the peer asks.
    pub(super) fn asked(&mut self, now: Duration) -> Result<(), Abuse> {
        self.asked_us = match self.asked_us {
            AskedUs::Never => AskedUs::Once,
            AskedUs::Since(last) if now.saturating_sub(last) < REQUEST_INTERVAL_MIN && !mutant!("N27") => {
                return Err(Abuse::TooOften);
            }
            AskedUs::Once | AskedUs::Since(_) => AskedUs::Since(now),
        };
        Ok(())
    }

    /// True when the peer has asked before.
    pub(super) fn has_asked(&self) -> bool {
        !matches!(self.asked_us, AskedUs::Never)
    }

    /// Our request, unless one is unanswered.
    pub(super) fn request(&mut self) -> Option<Bytes> {
        let first = self.we_asked == WeAsked::No;
        self.we_asked = WeAsked::Yes;
        first.then(|| PexMessage::Request.encode())
    }

    /// Takes an answer. Addresses with ids that are none are left out, as in CometBFT; only so many are looked at.
    pub(super) fn answered(&mut self, addresses: Vec<WireAddress>) -> Result<Vec<NetAddress>, Abuse> {
        if std::mem::take(&mut self.we_asked) == WeAsked::No && !mutant!("N28") {
            return Err(Abuse::Unasked);
        }
        let mut read = Vec::new();
        for address in addresses.into_iter().take(if mutant!("N29") { usize::MAX } else { SELECTION_MAX }) {
            let Ok(ip) = address.ip.parse::<IpAddr>() else {
                return Err(Abuse::NoIp(address.ip.chars().take(50).collect()));
            };
            let Ok(id) = address.id.parse() else { continue };
            read.push(NetAddress::new(id, (ip, address.port).into()));
        }
        Ok(read)
    }
}

/// Our answer.
pub(super) fn answer(addresses: &[NetAddress]) -> Bytes {
    let wire = |address: &NetAddress| WireAddress {
        id: address.id.to_string(),
        ip: address.ip.to_string(),
        port: address.port,
    };
    PexMessage::Addrs(addresses.iter().map(wire).collect()).encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn told(ip: &str) -> WireAddress {
        WireAddress { id: "ab".repeat(20), ip: ip.to_owned(), port: 26656 }
    }

    #[test]
    fn a_peer_may_ask_twice_at_once_and_then_every_ten_seconds() {
        let mut manners = Manners::default();
        assert_eq!(manners.asked(SECOND), Ok(()));
        assert_eq!(manners.asked(SECOND), Ok(()));
        assert_eq!(manners.asked(11 * SECOND), Ok(()));
        assert_eq!(manners.asked(20 * SECOND), Err(Abuse::TooOften));
    }

    #[test]
    fn an_answer_is_taken_once_for_each_request() {
        let mut manners = Manners::default();
        assert_eq!(manners.answered(vec![told("1.2.3.4")]), Err(Abuse::Unasked));
        assert!(manners.request().is_some());
        assert_eq!(manners.request(), None, "one request at a time");
        assert_eq!(manners.answered(vec![told("1.2.3.4")]).unwrap().len(), 1);
        assert_eq!(manners.answered(Vec::new()), Err(Abuse::Unasked));
    }

    #[test]
    fn an_answer_without_ip_addresses_is_abuse_and_one_without_ids_is_thin() {
        let mut manners = Manners::default();
        manners.request();
        assert_eq!(manners.answered(vec![told("example.org")]), Err(Abuse::NoIp("example.org".to_owned())));
        manners.request();
        let nameless = WireAddress { id: "x".to_owned(), ..told("1.2.3.4") };
        assert_eq!(manners.answered(vec![nameless, told("1.2.3.4")]).unwrap().len(), 1);
        manners.request();
        assert_eq!(manners.answered(vec![told("1.2.3.4"); 300]).unwrap().len(), SELECTION_MAX);
    }
}
