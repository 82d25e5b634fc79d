//! Addresses as people type them, made comparable: every node must come to the same list.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A node's RPC port is this much above the port peers call: who knows one knows the other.
pub const RPC_ABOVE_P2P: u16 = 1000;
/// Nodes of one development network: each asks every other.
pub const MEMBERS_MAX: usize = 64;
/// Characters of a host's name, as DNS limits them.
const HOST_CHARS_MAX: usize = 253;

/// Where peers call a node: `host:port`, in one spelling only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeAddress {
    /// An IP address (IPv6 in brackets) or a name in lower case.
    host: String,
    port: u16,
}

/// Text that is no address of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no address of a node: {why}")]
pub struct AddressError {
    text: String,
    why: &'static str,
}

impl NodeAddress {
    /// The address of a node on this host and port.
    pub fn new(host: &str, port: u16) -> Result<NodeAddress, AddressError> {
        let wrong = |why| AddressError { text: format!("{host}:{port}").chars().take(HOST_CHARS_MAX).collect(), why };
        if port == 0 || port > u16::MAX - RPC_ABOVE_P2P {
            return Err(wrong("the port must be from 1 to 64535, because port + 1000 serves clients"));
        }
        Ok(NodeAddress { host: canonical(host).map_err(wrong)?, port })
    }

    /// The host, without the port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port peers call.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where the node serves clients, as `host:port`.
    pub fn rpc(&self) -> String {
        format!("{}:{}", self.host, self.port + RPC_ABOVE_P2P)
    }
}

/// One spelling of a host: nothing and `localhost` are 127.0.0.1, names are in lower case, IP addresses as Rust has them.
fn canonical(host: &str) -> Result<String, &'static str> {
    let unbracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Some(inner) = unbracketed {
        let ip: Ipv6Addr = inner.parse().map_err(|_| "no IPv6 address stands in the brackets")?;
        return if ip.is_unspecified() { Err(NOT_CALLABLE) } else { Ok(format!("[{ip}]")) };
    }
    match host.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => return Err(NOT_CALLABLE),
        Ok(IpAddr::V4(ip)) => return Ok(ip.to_string()),
        Ok(IpAddr::V6(_)) => return Err("an IPv6 address stands in brackets, as [::1]:8080"),
        Err(_) => {}
    }
    let name = host.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    if name.is_empty() || name == "localhost" {
        return Ok(Ipv4Addr::LOCALHOST.to_string());
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.len() > HOST_CHARS_MAX || !name.chars().all(legal) {
        return Err("the host must be an IP address or a name of letters, digits, dots and dashes");
    }
    // What looks like an IPv4 address and is none (127.1, 1.2.3.256) is read differently by different systems.
    if name.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return Err("the host looks like an IP address and is none");
    }
    Ok(name.to_owned())
}

const NOT_CALLABLE: &str = "nobody can call this host: name the address the others reach, as 127.0.0.1 or 192.168.1.5";

impl FromStr for NodeAddress {
    type Err = AddressError;

    /// `HOST:PORT` or `:PORT`; `tcp://` may stand before it.
    fn from_str(text: &str) -> Result<NodeAddress, AddressError> {
        let wrong = |why| AddressError { text: text.chars().take(HOST_CHARS_MAX).collect(), why };
        let bare = text.strip_prefix("tcp://").unwrap_or(text);
        if bare.contains("://") {
            return Err(wrong("it is called over TCP: leave out what stands before the host"));
        }
        if bare.contains('@') {
            return Err(wrong("leave out the node's id, it is learnt: HOST:PORT"));
        }
        let (host, port) = bare.rsplit_once(':').ok_or_else(|| wrong("write HOST:PORT, as 127.0.0.1:8081"))?;
        let digits = !port.is_empty() && port.chars().all(|c| c.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits);
        let port = port.ok_or_else(|| wrong("the port must be a number from 1 to 64535"))?;
        NodeAddress::new(host, port).map_err(|AddressError { why, .. }| wrong(why))
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The addresses of all nodes of a network, this one's included: sorted, each once. The same on all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members(Vec<NodeAddress>);

/// Addresses that make no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The same node twice; two spellings of one address count as one.
    #[error("{0} is named twice")]
    Twice(NodeAddress),
    /// Too many.
    #[error(
        "{0} nodes are too many for a development network, at most {MEMBERS_MAX}; quorate testnet makes larger ones"
    )]
    TooMany(usize),
    /// One node's RPC is another's p2p.
    #[error("{clients} is where {of} serves clients (its port + 1000), so no node can be called there")]
    Overlap {
        /// The address that would be used twice.
        clients: NodeAddress,
        /// Whose RPC it is.
        of: NodeAddress,
    },
}

impl Members {
    /// This node and those it was told of; its own address may be among them.
    pub fn new(own: &NodeAddress, told: &[NodeAddress]) -> Result<Members, ListError> {
        if told.len() > MEMBERS_MAX {
            return Err(ListError::TooMany(told.len()));
        }
        let mut all = told.to_vec();
        all.sort();
        if let Some((twice, _)) = all.iter().zip(all.iter().skip(1)).find(|(one, next)| one == next) {
            return Err(ListError::Twice(twice.clone()));
        }
        if let Err(place) = all.binary_search(own) {
            all.insert(place, own.clone());
        }
        if all.len() > MEMBERS_MAX {
            return Err(ListError::TooMany(all.len()));
        }
        for of in &all {
            let clients = NodeAddress { host: of.host.clone(), port: of.port + RPC_ABOVE_P2P };
            if all.binary_search(&clients).is_ok() {
                return Err(ListError::Overlap { clients, of: of.clone() });
            }
        }
        Ok(Members(all))
    }

    /// All, sorted by host and port.
    pub fn all(&self) -> &[NodeAddress] {
        &self.0
    }

    /// All but this one.
    pub fn others<'a>(&'a self, own: &'a NodeAddress) -> impl Iterator<Item = &'a NodeAddress> {
        self.0.iter().filter(move |address| *address != own)
    }

    /// What a node at `own` is to be started with to have this list: `--peers A --peers B`.
    pub fn flags(&self, own: &NodeAddress) -> String {
        self.others(own).map(|address| format!("--peers {address}")).collect::<Vec<_>>().join(" ")
    }

    /// Everybody in either list.
    pub(super) fn union(&self, other: &Members) -> Members {
        let mut all: Vec<_> = self.0.iter().chain(&other.0).cloned().collect();
        all.sort();
        all.dedup();
        Members(all)
    }
}

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }
}
