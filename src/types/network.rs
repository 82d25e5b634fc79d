//! What nodes say about themselves to each other, and on which channels they speak (reference §5.2, §5.4).

use super::{ChainId, NodeId, Power};

/// The consensus protocol a chain runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Algorithm {
    /// Tendermint, as CometBFT speaks it.
    #[default]
    Tendermint,
    /// PBFT.
    Pbft,
    /// Raft.
    Raft,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 3] = [Algorithm::Tendermint, Algorithm::Pbft, Algorithm::Raft];

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Tendermint => "tendermint",
            Algorithm::Pbft => "pbft",
            Algorithm::Raft => "raft",
        }
    }

    /// The protocol of this name.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// What decides a block.
    pub fn quorum(self) -> Quorum {
        match self {
            Algorithm::Tendermint | Algorithm::Pbft => Quorum::MoreThanTwoThirds,
            Algorithm::Raft => Quorum::MoreThanHalf,
        }
    }
}

/// How much of a validator set's power decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Quorum {
    /// Where less than a third may lie.
    MoreThanTwoThirds,
    /// Where less than a half may crash and nobody lies.
    MoreThanHalf,
}

impl Quorum {
    /// True when `part` of `total` decides. Exact: no rounding, no overflow.
    pub fn is_reached(self, part: Power, total: Power) -> bool {
        let (part, total) = (u128::from(part.get()), u128::from(total.get()));
        match self {
            Quorum::MoreThanTwoThirds => 3 * part > 2 * total || (mutant!("T1") && 3 * part == 2 * total),
            Quorum::MoreThanHalf => 2 * part > total || (mutant!("Q1") && 2 * part == total),
        }
    }

    /// How many members may fail, whichever they are, while the rest still decides: what is left without the strongest
    /// of them must be a quorum. Under a quorum of two thirds the same number
    /// may lie instead. A sum beyond 64 bits does not occur: a set's total is limited.
    pub fn failures(self, powers: impl IntoIterator<Item = Power>) -> usize {
        let mut powers: Vec<u64> = powers.into_iter().map(Power::get).collect();
        powers.sort_unstable_by(|a, b| if mutant!("Q91") { a.cmp(b) } else { b.cmp(a) });
        let total = powers.iter().fold(0_u64, |sum, power| sum.saturating_add(*power));
        let mut left = total;
        let survives = |power: &&u64| {
            left = left.saturating_sub(**power);
            self.is_reached(Power::new(left), Power::new(total))
        };
        powers.iter().take_while(survives).count()
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A channel of the multiplexed connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Channel {
    /// Addresses of peers.
    Pex = 0x00,
    /// Where consensus stands and who has what.
    State = 0x20,
    /// Proposals and block parts.
    Data = 0x21,
    /// Votes.
    Vote = 0x22,
    /// Which votes a node has for a block.
    VoteSetBits = 0x23,
    /// Transactions.
    Mempool = 0x30,
    /// Evidence.
    Evidence = 0x38,
    /// Old blocks.
    Blocksync = 0x40,
    /// Snapshots on offer.
    Snapshot = 0x60,
    /// Pieces of snapshots.
    Chunk = 0x61,
    /// PBFT's statements and votes.
    PbftControl = 0x70,
    /// PBFT's proposals, block parts and commits.
    PbftData = 0x71,
    /// Raft's statements and acknowledgements.
    RaftControl = 0x74,
    /// Raft's proposals, block parts and commits.
    RaftData = 0x75,
}

impl Channel {
    /// Every channel, in the order in which CometBFT's node info lists them (reference §5.2).
    pub const ALL: [Channel; 14] = [
        Channel::Blocksync,
        Channel::State,
        Channel::Data,
        Channel::Vote,
        Channel::VoteSetBits,
        Channel::Mempool,
        Channel::Evidence,
        Channel::Snapshot,
        Channel::Chunk,
        Channel::PbftControl,
        Channel::PbftData,
        Channel::RaftControl,
        Channel::RaftData,
        Channel::Pex,
    ];

    /// What a node of a chain under this protocol speaks on, in the order of CometBFT's node info (reference §5.2);
    /// addresses, which it may keep to itself, are not among it. Snapshots are not either, so that nobody asks for any.
    pub fn spoken_under(algorithm: Algorithm) -> &'static [Channel] {
        use Channel::*;
        match algorithm {
            Algorithm::Tendermint => &[Blocksync, State, Data, Vote, VoteSetBits, Mempool, Evidence],
            Algorithm::Pbft => &[Blocksync, PbftControl, PbftData, Mempool, Evidence],
            Algorithm::Raft => &[Blocksync, RaftControl, RaftData, Mempool, Evidence],
        }
    }

    /// Its number on the wire.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The channel with this number.
    pub fn from_id(id: u8) -> Option<Channel> {
        Channel::ALL.into_iter().find(|channel| channel.id() == id)
    }
}

/// Who called whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The peer called us.
    Inbound,
    /// We called the peer.
    Outbound,
}

/// What a node tells a peer about itself before anything else: DefaultNodeInfo of CometBFT. Texts are as received and
/// checked for form when decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Version of the p2p protocol; compared by nobody.
    pub p2p_version: u64,
    /// Version of the block format; must agree.
    pub block_version: u64,
    /// The application's version.
    pub app_version: u64,
    /// Who it says it is; must be the key it proved.
    pub node_id: NodeId,
    /// Where it says it listens, `host:port` or `tcp://host:port`.
    pub listen_addr: String,
    /// The chain; must agree.
    pub network: ChainId,
    /// Version of the software.
    pub version: String,
    /// Channel numbers it speaks; one in common is needed.
    pub channels: Vec<u8>,
    /// Its name, for people.
    pub moniker: String,
    /// `on`, `off` or empty.
    pub tx_index: String,
    /// Where it serves RPC.
    pub rpc_address: String,
}
