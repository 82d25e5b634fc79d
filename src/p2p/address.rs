//! Addresses of nodes: who listens at which IP address and port, which of them the world can reach, and to which part
//! of the network they belong (reference §5.7, "Groups").

use crate::types::NodeId;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where a node listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NetAddress {
    /// Who should answer there.
    pub(super) id: NodeId,
    /// An IPv4 address is never written as IPv6.
    pub(super) ip: IpAddr,
    /// TCP port.
    pub(super) port: u16,
}

/// Why an address is no place to call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AddressError {
    /// Nothing can listen there.
    #[error("nobody can be called at it")]
    NotCallable,
    /// Not on the public internet.
    #[error("it is not routable (addr_book_strict is on)")]
    NotRoutable,
}

/// Whether addresses of private networks are welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Routability {
    /// Public addresses only: `addr_book_strict`.
    Strict,
    /// Any.
    Any,
}

impl NetAddress {
    pub(super) fn new(id: NodeId, at: SocketAddr) -> NetAddress {
        NetAddress { id, ip: at.ip().to_canonical(), port: at.port() }
    }

    /// What a node says about where it listens: `host:port` or `tcp://host:port` with an IP address for host.
    pub(super) fn of_listener(id: NodeId, listen_addr: &str) -> Option<NetAddress> {
        let host_port = listen_addr.split_once("://").map_or(listen_addr, |(_, rest)| rest);
        host_port.parse::<SocketAddr>().ok().map(|at| NetAddress::new(id, at))
    }

    pub(super) fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.ip, self.port)
    }

    /// Refuses what cannot be called, and under [`Routability::Strict`] what is not public.
    pub(super) fn check(&self, routability: Routability) -> Result<(), AddressError> {
        let documentation = matches!(self.ip, IpAddr::V6(ip) if starts(ip, [0x2001, 0x0db8], 32));
        if self.port == 0 || self.ip.is_unspecified() || documentation || self.ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(AddressError::NotCallable);
        }
        if routability == Routability::Strict && !self.is_routable() {
            return Err(AddressError::NotRoutable);
        }
        Ok(())
    }

    /// True on the public internet, as CometBFT counts it: it knows no multicast and no carrier networks.
    fn is_routable(&self) -> bool {
        match self.ip {
            IpAddr::V4(ip) => !(ip.is_private() || ip.is_link_local() || is_local(self.ip)),
            IpAddr::V6(ip) => {
                let link_local = starts(ip, [0xfe80, 0, 0, 0], 64);
                let unique_local = starts(ip, [0xfc00], 7);
                let orchid = starts(ip, [0x2001, 0x0010], 28);
                !(link_local || unique_local || orchid || is_local(self.ip))
            }
        }
    }

    /// The part of the network it belongs to. One operator has many addresses in few groups, so places in the address
    /// book are given to groups.
    pub(super) fn group(&self, routability: Routability) -> String {
        if routability == Routability::Strict && is_local(self.ip) {
            return "local".to_owned();
        }
        if routability == Routability::Strict && !self.is_routable() {
            return "unroutable".to_owned();
        }
        match self.ip {
            IpAddr::V4(ip) => group_v4(ip),
            IpAddr::V6(ip) => group_v6(ip),
        }
    }
}

/// Loopback, and 0.0.0.0/8.
fn is_local(ip: IpAddr) -> bool {
    ip.is_loopback() || matches!(ip, IpAddr::V4(ip) if ip.octets()[0] == 0)
}

/// The /16.
fn group_v4(ip: Ipv4Addr) -> String {
    let [a, b, _, _] = ip.octets();
    Ipv4Addr::new(a, b, 0, 0).to_string()
}

/// The /16 of the IPv4 address inside, where there is one; else the /32, or the /36 of Hurricane Electric, who gives
/// a /48 to anybody.
fn group_v6(ip: Ipv6Addr) -> String {
    let [.., c, d] = ip.segments();
    let [_, b, b2, ..] = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    if starts(ip, [0, 0, 0, 0, 0xffff, 0], 96) || starts(ip, [0x0064, 0xff9b, 0, 0, 0, 0], 96) {
        return group_v4(v4(c, d));
    }
    if starts(ip, [0x2002], 16) {
        return group_v4(v4(b, b2));
    }
    if starts(ip, [0x2001, 0], 32) {
        return group_v4(v4(!c, !d));
    }
    if starts(ip, [0xfd87, 0xd87e, 0xeb43], 48) {
        return format!("tor:{}", ip.octets()[6] & 0x0f);
    }
    let bits = if starts(ip, [0x2001, 0x0470], 32) { 36 } else { 32 };
    Ipv6Addr::from(u128::from(ip) >> (128 - bits) << (128 - bits)).to_string()
}

/// True when the first `bits` bits are those of `prefix`.
fn starts<const N: usize>(ip: Ipv6Addr, prefix: [u16; N], bits: u32) -> bool {
    let mut whole = [0; 8];
    whole[..N].copy_from_slice(&prefix);
    (u128::from(ip) ^ u128::from(Ipv6Addr::from(whole))) >> (128 - bits) == 0
}

impl fmt::Display for NetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.socket())
    }
}

/// How the address book's file writes an address.
#[derive(Serialize, Deserialize)]
struct Written {
    id: String,
    ip: String,
    port: u16,
}

impl Serialize for NetAddress {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written { id: self.id.to_string(), ip: self.ip.to_string(), port: self.port }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NetAddress {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<NetAddress, D::Error> {
        use serde::de::Error as _;
        let written = Written::deserialize(deserializer)?;
        let ip: IpAddr = written.ip.parse().map_err(D::Error::custom)?;
        let id = written.id.parse().map_err(D::Error::custom)?;
        Ok(NetAddress::new(id, SocketAddr::new(ip, written.port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ip: &str) -> NetAddress {
        let id = "0123456789012345678901234567890123456789".parse().unwrap();
        NetAddress::new(id, SocketAddr::new(ip.parse().unwrap(), 26656))
    }

    /// Address, callable, routable: CometBFT's table of netaddress_test.go and the ranges it names. 22 cases.
    const ROUTABLE: &[(&str, bool, bool)] = &[
        ("0.0.0.0", false, false),
        ("255.255.255.255", false, false),
        ("2001:db8::1", false, false),
        ("::", false, false),
        ("127.0.0.1", true, false),
        ("0.1.2.3", true, false),
        ("::1", true, false),
        ("10.1.2.3", true, false),
        ("172.16.0.1", true, false),
        ("172.32.0.1", true, true),
        ("192.168.255.1", true, false),
        ("192.167.0.1", true, true),
        ("169.254.1.1", true, false),
        ("8.8.8.8", true, true),
        ("fe80::1", true, false),
        ("fe80:0:0:1::1", true, true),
        ("fc00::1", true, false),
        ("fdff::1", true, false),
        ("2001:10::1", true, false),
        ("2001:20::1", true, true),
        ("2001:470::1", true, true),
        ("::ffff:10.0.0.1", true, false),
    ];

    #[test]
    fn addresses_are_routable_where_cometbft_says_so() {
        for (ip, callable, routable) in ROUTABLE {
            assert_eq!(at(ip).check(Routability::Any).is_ok(), *callable, "{ip}");
            assert_eq!(at(ip).check(Routability::Strict).is_ok(), *routable, "{ip}");
        }
        let no_port = NetAddress { port: 0, ..at("8.8.8.8") };
        assert_eq!(no_port.check(Routability::Any), Err(AddressError::NotCallable));
    }

    /// Address and its group: CometBFT's addrbook_test.go. 19 cases.
    const GROUPS: &[(&str, Routability, &str)] = &[
        ("127.0.0.1", Routability::Strict, "local"),
        ("::1", Routability::Strict, "local"),
        ("0.1.2.3", Routability::Strict, "local"),
        ("10.1.0.1", Routability::Strict, "unroutable"),
        ("192.168.1.1", Routability::Strict, "unroutable"),
        ("fe80::1", Routability::Strict, "unroutable"),
        ("127.0.0.1", Routability::Any, "127.0.0.0"),
        ("::1", Routability::Any, "::"),
        ("192.168.1.1", Routability::Any, "192.168.0.0"),
        ("12.1.2.3", Routability::Strict, "12.1.0.0"),
        ("173.144.173.111", Routability::Any, "173.144.0.0"),
        ("2002:0c01:0203::", Routability::Strict, "12.1.0.0"),
        ("2001:0000:1234::f3fe:fdfc", Routability::Strict, "12.1.0.0"),
        ("64:ff9b::0c01:0203", Routability::Strict, "12.1.0.0"),
        ("::ffff:0:0c01:0203", Routability::Strict, "12.1.0.0"),
        ("fd87:d87e:eb43:1234::", Routability::Any, "tor:2"),
        ("2001:470:4001::1", Routability::Strict, "2001:470:4000::"),
        ("2001:470:1f10:a1::2", Routability::Strict, "2001:470:1000::"),
        ("2602:0100::1", Routability::Strict, "2602:100::"),
    ];

    #[test]
    fn addresses_belong_to_the_groups_cometbft_puts_them_in() {
        for (ip, routability, group) in GROUPS {
            assert_eq!(at(ip).group(*routability), *group, "{ip}");
        }
    }

    #[test]
    fn what_a_node_says_about_its_listener_is_read_with_and_without_protocol() {
        let id = at("1.2.3.4").id;
        let read = |text: &str| NetAddress::of_listener(id, text).map(|address| address.socket().to_string());
        assert_eq!(read("tcp://1.2.3.4:5"), Some("1.2.3.4:5".to_owned()));
        assert_eq!(read("[::1]:5"), Some("[::1]:5".to_owned()));
        assert_eq!(read("example.org:5"), None, "names of strangers are not looked up");
        assert_eq!(read(""), None);
    }
}
