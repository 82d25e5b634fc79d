//! Why there is no new block: what a node knows about it.

use super::Choice;
use crate::types::{Address, Algorithm, Height, Power, Round, Step};
use std::time::Duration;

/// Everything a node can say about the block that is not there yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Situation {
    /// The chain's protocol.
    pub algorithm: Algorithm,
    /// Height being decided.
    pub height: Height,
    /// Round, view or term.
    pub round: Round,
    /// Step.
    pub step: Step,
    /// Whether the proposal of the round is here.
    pub proposal: Choice,
    /// Who leads; none before the first handshake with the application.
    pub lead: Option<LeadView>,
    /// Since the last block was applied here, or since its own time where it was applied before this process began; none
    /// before the first block.
    pub since_last_block: Option<Duration>,
    /// Transactions in the mempool.
    pub txs: u64,
    /// Whether blocks are made at once although no transaction waits.
    pub empty_blocks: Choice,
    /// The validators of the height, in set order.
    pub validators: Vec<ValidatorView>,
    /// The least power that decides.
    pub power_needed: Power,
    /// Connected peers.
    pub peers: usize,
    /// Why the application is away, or what is asked of it before consensus begins.
    pub application: Option<String>,
    /// Why consensus stopped, until people act.
    pub halted: Option<String>,
    /// How far fetching blocks is, while the node does that instead of deciding.
    pub fetching: Option<FetchView>,
    /// What becomes of the own key.
    pub key: KeyView,
}

/// Who leads, in the protocol's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeadView {
    /// Tendermint: the proposer of the round.
    Proposer(Address),
    /// PBFT: the primary of the view.
    Primary {
        /// Who.
        primary: Address,
        /// Whether its NEW-VIEW is still missing.
        changing: Choice,
    },
    /// Raft: the leader of the term.
    Leader {
        /// Who, as far as known.
        leader: Option<Address>,
        /// What this node is: `learner`, `follower`, `pre-candidate`, `candidate` or `leader`.
        role: &'static str,
    },
}

/// A validator, as far as this node hears it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidatorView {
    /// Who.
    pub address: Address,
    /// Its power.
    pub power: Power,
    /// Whether it is this node's own.
    pub own: Choice,
    /// Whether its prevote (PBFT: PREPARE) of the current round is here.
    pub prevoted: Choice,
    /// Whether its precommit (PBFT: COMMIT, Raft: acknowledgement) of the current round is here.
    pub precommitted: Choice,
    /// Whether a precommit of it for this height does not count, because the application refuses its extension.
    pub refused: Choice,
    /// Since something new that it signed came in, whoever brought it; none when nothing did.
    pub last_heard: Option<HeardView>,
}

/// When a validator was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeardView {
    /// Since then.
    pub ago: Duration,
    /// Whether the connection over which its word came has ended: then it may be gone, however short ago it spoke.
    pub cut: Choice,
}

/// How far fetching blocks is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchView {
    /// `waiting`, `out of reach` or `fetching`.
    pub stage: &'static str,
    /// The last block here.
    pub at: Height,
    /// The highest block a peer says it has.
    pub target: Height,
}

/// What becomes of the own key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyView {
    /// This node has none.
    None,
    /// It signs.
    Signs,
    /// It signs nothing yet: the node listens whether another one signs with it.
    Listening,
    /// The last request was refused, and why.
    Refused(String),
}
