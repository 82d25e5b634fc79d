//! A peer without a node behind it, on a real socket: it does as much of the handshake as the story wants and then says
//! whatever bytes it is given.

use crate::codec::frame;
use crate::codec::wire::connection::{AuthSig, EphemeralKey, Piece};
use crate::crypto::PrivateKey;
use crate::p2p::secret::{Challenge, FRAME_DATA_MAX, Hello, SEALED_LEN, Sealer};
use crate::types::{Address, ChainId, Channel, NodeId, NodeInfo};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use zeroize::Zeroizing;

/// Longer than anything here takes on a busy machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a message in one packet.
const PIECE_LEN: usize = 1024;

/// The peer, after both ephemeral keys are known.
pub(crate) struct Attacker {
    pub(crate) id: NodeId,
    key: PrivateKey,
    socket: TcpStream,
    sealer: Sealer,
    challenge: Challenge,
}

/// A TCP connection and nothing more, from an address of this machine.
pub(crate) async fn call_from(from: Ipv4Addr, at: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    socket.connect(at).await.unwrap()
}

/// Waits until the other side has closed the connection. What it says before is not looked at.
pub(crate) async fn hung_up(socket: &mut TcpStream) {
    let mut heard = vec![0; 1 << 16];
    let read = async { while let Ok(1..) = socket.read(&mut heard).await {} };
    tokio::time::timeout(PATIENCE, read).await.expect("the node hangs up");
}

impl Attacker {
    /// Calls a node and agrees on keys with it. Attackers of different numbers are different nodes.
    pub(crate) async fn agree(number: u32, at: SocketAddr) -> Attacker {
        let mut seed = [0xaa; 32];
        seed[..4].copy_from_slice(&number.to_le_bytes());
        let key = PrivateKey::from_seed(&seed);
        let id = NodeId::new(Address::from(&key.public_key()));
        let mut socket = call_from(Ipv4Addr::LOCALHOST, at).await;
        let hello = Hello::new(Zeroizing::new(seed));
        let mut message = Vec::new();
        frame::append(&mut message, &hello.message().encode());
        socket.write_all(&message).await.unwrap();
        // Both ephemeral keys are as long as each other.
        socket.read_exact(&mut message).await.unwrap();
        let theirs = EphemeralKey::decode(message.split_off(1).into()).unwrap();
        let agreed = hello.agree(theirs).unwrap();
        Attacker { id, key, socket, sealer: agreed.sealer, challenge: agreed.challenge }
    }

    /// Proves who it is; the node has then done so, too.
    pub(crate) async fn prove(&mut self) {
        let AuthSig { key, signature } = self.challenge.prove(&self.key);
        let mut message = Vec::new();
        frame::append(&mut message, &AuthSig { key, signature }.encode());
        self.say(&message).await;
        let mut theirs = [0; SEALED_LEN];
        self.socket.read_exact(&mut theirs).await.unwrap();
    }

    /// Says what it runs, which is what is needed to become a peer.
    pub(crate) async fn introduce(&mut self, chain: &str) {
        let info = NodeInfo {
            p2p_version: 8,
            block_version: 11,
            app_version: 0,
            node_id: self.id,
            listen_addr: "127.0.0.1:26656".to_owned(),
            network: ChainId::try_from(chain).unwrap(),
            version: "0.38.25".to_owned(),
            channels: Channel::ALL.iter().map(|channel| channel.id()).collect(),
            moniker: "attacker".to_owned(),
            tx_index: "off".to_owned(),
            rpc_address: String::new(),
        };
        let mut message = Vec::new();
        frame::append(&mut message, &info.encode());
        self.say(&message).await;
    }

    /// The whole handshake.
    pub(crate) async fn join(number: u32, at: SocketAddr, chain: &str) -> Attacker {
        let mut attacker = Attacker::agree(number, at).await;
        attacker.prove().await;
        attacker.introduce(chain).await;
        attacker
    }

    /// Says this in sealed frames. That the node has hung up meanwhile is no error: it is what most stories are about.
    pub(crate) async fn say(&mut self, plain: &[u8]) -> bool {
        for batch in plain.chunks(64 * FRAME_DATA_MAX) {
            let sealed = self.sealed(batch);
            if !self.write(&sealed).await {
                return false;
            }
        }
        true
    }

    /// The frames of this, unsent. The next ones follow them.
    pub(crate) fn sealed(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        self.sealer.seal(plain, &mut sealed);
        sealed
    }

    /// Puts bytes on the wire as they are; false when the node has hung up.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).await.is_ok()
    }

    /// Closes its direction of the connection; it still hears.
    pub(crate) async fn says_no_more(&mut self) {
        self.socket.shutdown().await.unwrap();
    }

    /// Waits until the node has closed the connection.
    pub(crate) async fn hung_up(&mut self) {
        hung_up(&mut self.socket).await;
    }
}

/// A message of a channel in packets.
pub(crate) fn message(channel: u8, body: &[u8]) -> Vec<u8> {
    let mut plain = unfinished(channel, body);
    Piece { channel, data: &[], last: true }.write_delimited(&mut plain);
    plain
}

/// A message without its end.
pub(crate) fn unfinished(channel: u8, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(body.len() + body.len() / 64);
    for data in body.chunks(PIECE_LEN) {
        Piece { channel, data, last: false }.write_delimited(&mut plain);
    }
    plain
}

/// A packet of these bytes.
pub(crate) fn packet(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    frame::append(&mut plain, bytes);
    plain
}
