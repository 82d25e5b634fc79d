//! tendermint.p2p.Message: channel 0x00.

use crate::codec::DecodeError;
use crate::codec::protobuf::{Fields, Message, Writer};

/// What nodes say to find each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PexMessage {
    /// Whom do you know?
    Request,
    /// These.
    Addrs(Vec<NetAddress>),
}

/// Where a node listens, as a peer says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetAddress {
    /// Node id in hex, unchecked.
    pub id: String,
    /// IP address as text, unchecked.
    pub ip: String,
    /// TCP port.
    pub port: u16,
}

encodings!(PexMessage);

impl Message for NetAddress {
    const NAME: &'static str = "NetAddress";

    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(1, self.id.as_bytes());
        w.bytes(2, self.ip.as_bytes());
        w.uint(3, self.port.into());
    }

    fn read(m: &Fields<'_>) -> Result<NetAddress, DecodeError> {
        let port = m.uint32(3, "port")?;
        Ok(NetAddress {
            id: m.text(1, "id")?,
            ip: m.text(2, "ip")?,
            port: u16::try_from(port).map_err(|_| DecodeError::at("port", format_args!("is {port}")))?,
        })
    }
}

impl Message for PexMessage {
    const NAME: &'static str = "p2p.Message";

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            PexMessage::Request => w.nested(1, |_| ()),
            PexMessage::Addrs(all) => w.nested(2, |w| all.iter().for_each(|address| w.message(1, address))),
        }
    }

    fn read(m: &Fields<'_>) -> Result<PexMessage, DecodeError> {
        match m.oneof(1..=2) {
            Some(1) => m.member(1, "pex_request", |_| Ok(PexMessage::Request)),
            Some(2) => m.member(2, "pex_addrs", |m| m.repeated(1, "addrs", NetAddress::read)).map(PexMessage::Addrs),
            _ => Err(DecodeError::new("is empty or of an unknown kind")),
        }
    }
}
