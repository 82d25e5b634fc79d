//! tendermint.p2p.DefaultNodeInfo: what nodes say about themselves (reference §5.2).

use crate::codec::DecodeError;
use crate::codec::protobuf::{Fields, Message, Writer};
use crate::types::{ChainId, NodeId, NodeInfo};

/// Channels a node may list.
const CHANNELS_MAX: usize = 16;

encodings!(NodeInfo);

impl Message for NodeInfo {
    const NAME: &'static str = "NodeInfo";

    fn write(&self, w: &mut Writer<'_>) {
        w.nested(1, |w| {
            w.uint(1, self.p2p_version);
            w.uint(2, self.block_version);
            w.uint(3, self.app_version);
        });
        w.bytes(2, self.node_id.to_string().as_bytes());
        w.bytes(3, self.listen_addr.as_bytes());
        w.bytes(4, self.network.as_str().as_bytes());
        w.bytes(5, self.version.as_bytes());
        w.bytes(6, &self.channels);
        w.bytes(7, self.moniker.as_bytes());
        w.nested(8, |w| {
            w.bytes(1, self.tx_index.as_bytes());
            w.bytes(2, self.rpc_address.as_bytes());
        });
    }

    fn read(m: &Fields<'_>) -> Result<NodeInfo, DecodeError> {
        let (p2p_version, block_version, app_version) =
            m.present(1, "protocol_version", |m| Ok((m.uint(1, "p2p")?, m.uint(2, "block")?, m.uint(3, "app")?)))?;
        let (tx_index, rpc_address) =
            m.present(8, "other", |m| Ok((m.text(1, "tx_index")?, m.text(2, "rpc_address")?)))?;
        let network = m.text(4, "network")?;
        let info = NodeInfo {
            p2p_version,
            block_version,
            app_version,
            node_id: node_id(&m.text(2, "default_node_id")?)?,
            listen_addr: m.text(3, "listen_addr")?,
            network: ChainId::try_from(&*network).map_err(|why| DecodeError::at("network", why))?,
            version: m.text(5, "version")?,
            channels: m.bytes(6, "channels")?.to_vec(),
            moniker: m.text(7, "moniker")?,
            tx_index,
            rpc_address,
        };
        check_form(&info)?;
        Ok(info)
    }
}

/// As Go compares it: in lower case.
fn node_id(text: &str) -> Result<NodeId, DecodeError> {
    let id: NodeId = text.parse().map_err(|why| DecodeError::at("default_node_id", why))?;
    if id.to_string() == text { Ok(id) } else { Err(DecodeError::at("default_node_id", "is not in lower case")) }
}

/// The form CometBFT asks for (DefaultNodeInfo.Validate), but names of hosts are not looked up: it decides nothing.
fn check_form(info: &NodeInfo) -> Result<(), DecodeError> {
    check_address(&info.listen_addr).map_err(|why| DecodeError::at("listen_addr", why))?;
    let must_be = |holds: bool, field, what| if holds { Ok(()) } else { Err(DecodeError::at(field, what)) };
    must_be(info.version.is_empty() || is_shown(&info.version), "version", "is not printable ASCII")?;
    must_be(is_shown(&info.moniker), "moniker", "is empty or not printable ASCII")?;
    must_be(matches!(&*info.tx_index, "" | "on" | "off"), "other.tx_index", "is neither on, off nor empty")?;
    let rpc_address = &info.rpc_address;
    must_be(rpc_address.is_empty() || is_shown(rpc_address), "other.rpc_address", "is not printable ASCII")?;
    must_be(info.channels.len() <= CHANNELS_MAX, "channels", "has more than 16 entries")?;
    let twice = info.channels.iter().enumerate().any(|(at, id)| info.channels[..at].contains(id));
    must_be(!twice, "channels", "names a channel twice")
}

/// Printable ASCII with something to see in it.
fn is_shown(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.bytes().any(|byte| byte != b' ')
}

/// `host:port` with an optional `protocol://`, as Go's `net.SplitHostPort` takes it.
fn check_address(address: &str) -> Result<(), &'static str> {
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => rest.split_once("]:").ok_or("has no port")?,
        None => address.rsplit_once(':').ok_or("has no port")?,
    };
    if host.is_empty() {
        return Err("has no host");
    }
    if host.contains(['[', ']', '@']) || (!address.starts_with('[') && host.contains(':')) {
        return Err("is not host:port");
    }
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) || port.parse::<u16>().is_err() {
        return Err("has a port that is not from 0 to 65535");
    }
    Ok(())
}
