//! Fetching decided blocks from peers: whom to ask for what, whom to believe, when to join consensus (reference §7.4).
//!
//! A machine: told facts ([`SyncInput`]) it answers with ordered orders ([`SyncEffect`]). A block counts only once more
//! than two thirds of the validators who decide its height have signed it; the signatures are checked beside the loop,
//! in batches, ahead of execution. Peers that lie or dawdle are dropped, the others go on.
//!
//! Reading order: this file → `limits` → `peer` (what one peer says and owes) → `window` (the blocks between ours and
//! theirs) → `plan` (what a fact changes) → `fetch` (whom to ask) → `prove` (what to check and apply) → `join` (when
//! consensus goes on).
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

mod fetch;
mod join;
pub mod limits;
mod peer;
mod plan;
mod prove;
#[cfg(test)]
mod tests;
mod window;

use crate::crypto::Hash;
use crate::types::{Address, CandidateBlock, ChainState, Commit, ExtendedCommit, Height, NodeId, Quorum, ValidatorSet};
use peer::Peer;
use prove::Order;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use window::Window;

/// Time since the node started.
pub type Elapsed = Duration;

/// A fact.
#[derive(Debug)]
pub enum SyncInput {
    /// A peer is there.
    PeerUp(NodeId),
    /// It is gone.
    PeerDown(NodeId),
    /// A peer says which blocks it has.
    Status {
        /// Who.
        peer: NodeId,
        /// Lowest.
        base: Height,
        /// Highest.
        height: Height,
    },
    /// A peer sent a block: decoded and cut into parts beside the loop.
    Block {
        /// Who.
        peer: NodeId,
        /// The block.
        block: Arc<CandidateBlock>,
        /// Its commit with vote extensions, where they are enabled.
        extended_commit: Option<Box<ExtendedCommit>>,
    },
    /// A peer does not have a block it was asked for.
    NoBlock {
        /// Who.
        peer: NodeId,
        /// Which.
        height: Height,
    },
    /// The answer to [`SyncEffect::Verify`].
    Verified {
        /// Comes back from the order.
        ticket: u64,
        /// For each block of the order, in order: good, or what is wrong with it.
        outcomes: Vec<Result<(), CheckFault>>,
    },
    /// The application is there and agrees with the chain: blocks can be applied from the one after `state` on.
    /// Consensus waits for [`SyncEffect::JoinConsensus`], also after a `Paused`.
    Begin(Arc<ChainState>),
    /// A block was applied, fetched here or decided by consensus.
    Applied(Arc<ChainState>),
    /// A fetched block turned out not to fit the chain though its commit is good, or the application is gone: nothing
    /// is applied until the next `Begin`.
    Paused,
    /// This node may say nothing in consensus yet: it follows by fetching until `MayJoin`, for one that is silent is handed
    /// no blocks and falls behind again.
    MustWait,
    /// It may.
    MayJoin,
    /// Consensus heard of a height it cannot reach by itself.
    Behind(Height),
    /// The time given by [`SyncEffect::WakeAt`] has come.
    Woken,
}

/// A commit to check beside the loop.
#[derive(Debug, Clone)]
pub struct CommitCheck {
    /// The block.
    pub block: Arc<CandidateBlock>,
    /// Its commit: the next block's `last_commit`.
    pub commit: Arc<Commit>,
    /// Its commit with extensions, where they are enabled.
    pub extended_commit: Option<Arc<ExtendedCommit>>,
    /// Who decides its height.
    pub validators: Arc<ValidatorSet>,
    /// How much of them.
    pub quorum: Quorum,
}

/// What is wrong with a pair of blocks, and so whose word was false. Found by looking at the commit twice: does it prove
/// the block it names, and does it name this block?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckFault {
    /// The commit is good and names another block: who sent the block lied.
    Block(String),
    /// The commit proves nothing: who sent the block that carries it lied.
    Commit(String),
    /// The commit with extensions is not good: it came with the block.
    Extensions(String),
}

/// An order.
#[derive(Debug)]
pub enum SyncEffect {
    /// Ask a peer for a block.
    Ask {
        /// Whom.
        peer: NodeId,
        /// Which.
        height: Height,
    },
    /// Ask a peer which blocks it has.
    AskStatus(NodeId),
    /// Check commits beside the loop; answered by [`SyncInput::Verified`].
    Verify {
        /// Comes back.
        ticket: u64,
        /// In order of height.
        checks: Vec<CommitCheck>,
    },
    /// Store and execute a block whose commit is good; answered by [`SyncInput::Applied`].
    Apply {
        /// The block.
        block: Arc<CandidateBlock>,
        /// Its commit.
        commit: ExtendedCommit,
    },
    /// A verified block of the height consensus is at is here, and more are behind it: consensus stops and blocks are
    /// applied from here until [`SyncEffect::JoinConsensus`].
    LeaveConsensus,
    /// Nothing is left to fetch: consensus goes on from here.
    JoinConsensus,
    /// Only a faulty or useless peer does this.
    Drop(NodeId, String),
    /// Wake me this long after the node started; a later order replaces it.
    WakeAt(Elapsed),
}

/// What decides when to join consensus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Nobody else decides: consensus begins at once.
    Alone,
    /// Blocks are fetched first.
    OneOfMany,
}

/// What people want to know of a node that fetches blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it does.
    pub stage: Stage,
    /// The last block it had when fetching began.
    pub from: Height,
    /// The last block it has now.
    pub at: Height,
    /// The highest block a peer says it has.
    pub target: Height,
    /// Peers that said which blocks they have.
    pub peers: usize,
    /// Blocks applied in a second, lately.
    pub blocks_per_second: Option<u64>,
}

/// What the planner does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waits for the application.
    Paused,
    /// It waits for a peer to say which blocks it has.
    Waiting,
    /// Peers have blocks, but nobody has the next one: they pruned it. A peer with a longer history is needed.
    OutOfReach,
    /// It fetches and applies blocks.
    Fetching,
    /// Consensus decides blocks.
    Deciding,
}

/// The planner.
#[derive(Debug)]
pub struct Sync {
    role: Role,
    /// Our validator address, if this node signs.
    own: Option<Address>,
    mode: Mode,
    permission: Permission,
    /// After the last applied block; none before the first `Begin`.
    state: Option<Arc<ChainState>>,
    /// Hashes of `validators` and `next_validators` of `state`, once somebody needed them.
    set_hashes: Option<(Hash, Hash)>,
    /// Who is connected.
    peers: BTreeMap<NodeId, Peer>,
    /// Who lied or dawdled, and until when it is asked nothing.
    barred: BTreeMap<NodeId, Elapsed>,
    window: Window,
    /// Bytes of blocks it may keep.
    room: u64,
    /// The order for checks that is on its way.
    checking: Option<Order>,
    /// Orders given so far.
    tickets: u64,
    /// The block handed over and not applied yet.
    applying: Option<Height>,
    /// When we last asked everybody.
    round: StatusRound,
    meter: Meter,
    /// The last `WakeAt` that has not come yet.
    alarm: Option<Elapsed>,
}

/// Whether consensus may be joined, once nothing is left to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Permission {
    Given,
    /// Not before [`SyncInput::MayJoin`].
    Pending,
}

/// Who decides now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The application is not there.
    Paused,
    /// We do, by fetching.
    Fetching {
        /// When that began.
        since: Elapsed,
    },
    /// Consensus does.
    Deciding(Doubt),
}

/// Whether consensus may have fallen behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// No sign of it.
    None,
    /// It heard of a height far ahead, too soon after the last probe.
    Heard,
    /// We fetch and check its next block to see.
    Probing {
        /// When that began.
        since: Elapsed,
    },
}

/// One asking of all peers for their status.
#[derive(Debug, Clone, Copy, Default)]
struct StatusRound {
    /// When they were asked.
    asked_at: Elapsed,
    /// When the first answered.
    first_answer: Option<Elapsed>,
    purpose: Purpose,
    /// The block we needed next then.
    from: Height,
}

/// Why everybody was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Purpose {
    /// To learn what there is.
    #[default]
    Learn,
    /// Everything known is applied: has the chain moved since?
    LastLook {
        /// By how many blocks it had moved in the look before; none when this is the first.
        before: Option<u64>,
    },
}

/// How fast blocks are applied.
#[derive(Debug, Clone, Copy, Default)]
struct Meter {
    /// The last block when fetching began.
    from: Height,
    /// Where the current stretch began.
    stretch: (Elapsed, Height),
    /// Blocks per second in the stretch before.
    rate: Option<u64>,
}
