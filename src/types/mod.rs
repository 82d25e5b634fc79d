//! What the chain is made of, as plain data: heights, votes, blocks, validators, parameters, evidence.
//!
//! These types hold no bytes of the wire. Their hashes, sign bytes and encodings are inherent methods too, but are
//! written in `codec` (`Header::hash`, `Vote::sign_bytes`, `Block::encode` …), so that one module owns every byte.
//!
//! Reading order: `numbers` → `time` → `tx` → `block` → `vote` → `commit` → `validator` → `params` → `state` → `abci`.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

pub mod abci;
mod basic;
mod block;
mod candidate;
mod commit;
mod evidence;
mod genesis;
mod gossip;
mod journal;
mod median;
mod mempool;
mod misconduct;
mod network;
mod notice;
mod numbers;
mod params;
mod part_set;
mod pbft;
mod published;
pub mod query;
mod raft;
mod signing;
mod state;
mod statement;
#[cfg(test)]
pub(crate) mod tests;
mod time;
mod tx;
mod validator;
mod verify;
mod vote;

pub use basic::BasicError;
pub use block::{Block, BlockId, BlockMeta, Header, PartSetHeader, Version};
pub use candidate::CandidateBlock;
pub use commit::{Commit, CommitSig, ExtendedCommit, ExtendedCommitSig, SignedPart};
pub use evidence::{
    DuplicateVoteEvidence, Evidence, EvidenceChange, EvidenceKey, LightBlock, LightClientAttackEvidence, SignedHeader,
    StoredEvidence,
};
pub use genesis::{GenesisDoc, GenesisValidator};
pub use gossip::{BlocksyncMessage, ConsensusMessage, NewRoundStep, PeerMessage, PeerRoundState, VotesFor};
pub use journal::{JournalMessage, JournalRecord, Source, Step, TimerId};
pub use median::{MedianError, MedianRule};
pub use mempool::{MempoolError, TxLimits};
pub use misconduct::{Misconduct, RaftVote, Rule};
pub use network::{Algorithm, Channel, Direction, NodeInfo, Quorum};
pub use notice::Notice;
pub use numbers::{Address, ChainId, Height, NodeId, NumberError, Power, Round, place};
pub use params::{
    AbciParams, BlockParams, ConsensusParams, EvidenceParams, ParamsError, ParamsUpdate, ValidatorParams, VersionParams,
};
pub use part_set::{BitArray, Part, PartSet, PartSetError};
pub use pbft::{PbftStatement, PreparedCertificate};
pub use published::{AppliedBlock, Published, RoundEvent, RoundEventKind};
pub use raft::{Election, LogPosition, RaftStatement};
pub use signing::{Promises, SignPosition, SignStep};
pub use state::ChainState;
pub use statement::{DirectMessage, Standing, Statement, StatementBody, UnsignedStatement};
pub use time::{Time, TimeError};
pub use tx::Tx;
pub use validator::{Validator, ValidatorSet, ValidatorSetError, ValidatorUpdate};
pub use verify::{
    CommitError, Extensions, TrustLevel, TrustLevelError, VOTE_EXTENSION_BYTES_MAX, VOTE_EXTENSION_SENT_MAX,
};
pub use vote::{Proposal, SignRequest, UnsignedProposal, UnsignedVote, Vote, VoteKind};
