//! What is run on foreign bytes: one body for each place that reads what a peer sent. Shared by the test beside it, on
//! the stable toolchain, and by the targets in `fuzz/`, under libFuzzer.
//!
//! A body panics when a decoder panics, or when what a decoder accepted does not come back from its own encoding: then
//! two nodes would understand the same bytes differently.

use bytes::{Bytes, BytesMut};
use quorate::codec::frame;
use quorate::codec::wire::connection::{AuthSig, EphemeralKey, Packet};
use quorate::codec::wire::pex::PexMessage;
use quorate::crypto::{KnownSignatures, PrivateKey};
use quorate::gossip::{DirectSigners, hear_direct};
use quorate::types::{
    AbciParams, Algorithm, BlocksyncMessage, CandidateBlock, Channel, ConsensusMessage, DirectMessage, Evidence,
    Height, NodeInfo, Part, PartSet, PeerMessage, Power, Validator, ValidatorSet,
};
use std::sync::{Arc, OnceLock};

/// Reads foreign bytes as one decoder would.
pub type Body = fn(&[u8]);

/// Every body with the name of its target, which is that of its corpus too. 8 of them.
pub const BODIES: [(&str, Body); 8] = [
    ("peer_message", peer_message),
    ("packets", packets),
    ("handshake", handshake),
    ("node_info", node_info),
    ("pex", pex),
    ("block_parts", block_parts),
    ("evidence", evidence),
    ("direct", direct),
];

/// Most bytes of a packet on the wire with CometBFT's payload of 1,024.
const PACKET_BYTES_MAX: usize = 1024 + 14;
/// Most bytes of a handshake message (reference §5.1).
const HANDSHAKE_BYTES_MAX: usize = 1 << 20;

/// A whole message on a channel; the first byte chooses the channel.
pub fn peer_message(data: &[u8]) {
    let Some((choice, message)) = data.split_first() else { return };
    let channel = Channel::ALL[usize::from(*choice) % Channel::ALL.len()];
    let Ok(message) = PeerMessage::decode(channel, Bytes::copy_from_slice(message)) else { return };
    assert_eq!(message.channel(), channel, "a message belongs to the channel it came on");
    let again = PeerMessage::decode(channel, message.encode());
    assert_eq!(again.as_ref(), Ok(&message), "what was read can be written and read again");
}

/// What comes out of a secret connection: packets, one behind the other, cut anywhere.
pub fn packets(data: &[u8]) {
    let mut stream = BytesMut::from(data);
    while let Ok(Some(packet)) = frame::take(&mut stream, PACKET_BYTES_MAX) {
        assert!(packet.len() <= PACKET_BYTES_MAX);
        let Ok(packet) = Packet::decode(packet) else { return };
        assert_eq!(Packet::decode(packet.encode()).as_ref(), Ok(&packet));
    }
}

/// The two messages a connection begins with.
pub fn handshake(data: &[u8]) {
    let mut stream = BytesMut::from(data);
    while let Ok(Some(message)) = frame::take(&mut stream, HANDSHAKE_BYTES_MAX) {
        if let Ok(key) = EphemeralKey::decode(message.clone()) {
            assert_eq!(EphemeralKey::decode(key.encode()), Ok(key));
        }
        if let Ok(proof) = AuthSig::decode(message) {
            assert_eq!(AuthSig::decode(proof.encode()), Ok(proof));
        }
    }
}

/// What a node says about itself.
pub fn node_info(data: &[u8]) {
    let Ok(info) = NodeInfo::decode(Bytes::copy_from_slice(data)) else { return };
    assert_eq!(NodeInfo::decode(info.encode()).as_ref(), Ok(&info));
}

/// Addresses of peers.
pub fn pex(data: &[u8]) {
    let Ok(message) = PexMessage::decode(Bytes::copy_from_slice(data)) else { return };
    assert_eq!(PexMessage::decode(message.encode()).as_ref(), Ok(&message));
}

/// A block gathered from parts and a block fetched whole, from any bytes a proposer may have cut; and a part by itself.
pub fn block_parts(data: &[u8]) {
    if data.is_empty() {
        return; // nobody cuts nothing; reading refuses it
    }
    let encoded = Bytes::copy_from_slice(data);
    let cut = PartSet::cut(&encoded);
    let mut gathered = PartSet::gather(cut.header()).expect("so many parts are allowed");
    for part in cut.parts() {
        let part = Part::decode(part.encode()).expect("our own part is read");
        assert_eq!(gathered.add(part), Ok(true));
    }
    let from_parts = CandidateBlock::from_parts(gathered);
    let whole = CandidateBlock::from_encoded(&encoded);
    assert_eq!(from_parts.as_ref().ok().map(CandidateBlock::id), whole.as_ref().ok().map(CandidateBlock::id));
    if let Ok(part) = Part::decode(encoded.clone()) {
        let _ = gathered_with(part);
    }
    if let Ok(ConsensusMessage::BlockPart { part, .. }) = ConsensusMessage::decode(encoded.clone()) {
        let _ = gathered_with(part);
    }
    if let Ok(BlocksyncMessage::BlockResponse { block, .. }) = BlocksyncMessage::decode(encoded) {
        let _ = CandidateBlock::from_encoded(&block);
    }
}

/// Adds a foreign part to the set it says it belongs to.
fn gathered_with(part: Part) -> Option<bool> {
    let total = u32::try_from(part.proof.total).ok()?;
    let hash = part.proof.root().ok()?;
    let mut set = PartSet::gather(quorate::types::PartSetHeader { total, hash })?;
    set.add(part).ok()
}

/// Evidence, as it is gossiped and as it stands in blocks: its hash and its parts must not trip over anything.
pub fn evidence(data: &[u8]) {
    let Ok(evidence) = Evidence::decode(Bytes::copy_from_slice(data)) else { return };
    assert_eq!(Evidence::decode(evidence.encode()).as_ref(), Ok(&evidence));
    let _ = (evidence.hash(), evidence.height());
}

/// What replicas of Raft and PBFT say, read and checked against the keys of four validators: one encoding each, and
/// nothing in it trips the checks, whichever protocol the chain runs and while nobody is known.
pub fn direct(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let Ok(message) = DirectMessage::decode(bytes.clone()) else { return };
    assert_eq!(message.encode(), bytes, "there is one encoding");
    let known = KnownSignatures::default();
    let _ = hear_direct(None, &known, message.clone());
    for signers in direct_signers() {
        let _ = hear_direct(Some(signers), &known, message.clone());
    }
}

fn direct_signers() -> &'static [DirectSigners; 2] {
    static SIGNERS: OnceLock<[DirectSigners; 2]> = OnceLock::new();
    SIGNERS.get_or_init(|| {
        let member = |seed| Validator::new(PrivateKey::from_seed(&[seed; 32]).public_key(), Power::new(10));
        let set = Arc::new(ValidatorSet::new((1..=4).map(member)).expect("four validators make a set"));
        [Algorithm::Raft, Algorithm::Pbft].map(|algorithm| DirectSigners {
            chain_id: "fuzzed".try_into().expect("a legal name"),
            algorithm,
            height: Height::new(8),
            validators: Arc::clone(&set),
            last_validators: Some(Arc::clone(&set)),
            next_validators: Arc::clone(&set),
            abci: AbciParams { vote_extensions_enable_height: None },
        })
    })
}
