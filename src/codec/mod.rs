//! Bytes of the wire: protobuf and JSON to types and back, hashes, sign bytes.
//!
//! Hashes, sign bytes and encodings of the types are inherent methods written here, so that one module owns every
//! byte: `Header::hash`, `Vote::sign_bytes`, `Block::encode`, `Block::decode` … Every decoder takes foreign bytes and
//! never panics; its error names the message and the field.
//!
//! Reading order: `protobuf` → `basic` → `block` → `vote` → `commit` → `validator` → `params` → `evidence` →
//! `hashes` → `frame` → `abci` → `journal` → `state` → `json` → `wire`.
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]
// A number from outside that is cut is another number (bug class 157). Tests count what they made.
#![cfg_attr(not(test), deny(clippy::cast_possible_truncation))]

/// Gives types with a place on the wire their public `encode` and `decode`.
macro_rules! encodings {
    ($($type:ty),* $(,)?) => { $(
        impl $type {
            /// The message as CometBFT writes it.
            pub fn encode(&self) -> bytes::Bytes {
                $crate::codec::protobuf::encode(self)
            }

            /// Reads the message; byte fields share the buffer.
            pub fn decode(bytes: bytes::Bytes) -> Result<Self, $crate::codec::DecodeError> {
                $crate::codec::protobuf::decode(&bytes)
            }
        }
    )* };
}

pub mod abci;
mod basic;
mod block;
mod commit;
mod error;
mod evidence;
pub mod frame;
mod hashes;
pub mod journal;
pub mod json;
mod params;
mod protobuf;
pub mod state;
pub mod statement;
mod validator;
mod vote;
pub mod wire;

pub use block::BlockEntries;
pub use error::DecodeError;
pub use hashes::last_results_hash;

encodings!(
    crate::types::abci::FinalizeBlockResponse,
    crate::types::abci::TxResult,
    crate::types::ChainState,
    crate::crypto::PublicKey,
    crate::types::Block,
    crate::types::BlockId,
    crate::types::BlockMeta,
    crate::types::Commit,
    crate::types::ConsensusParams,
    crate::types::Evidence,
    crate::types::ExtendedCommit,
    crate::types::Header,
    crate::types::LightBlock,
    crate::types::Part,
    crate::types::PartSetHeader,
    crate::types::Proposal,
    crate::types::SignedHeader,
    crate::types::ValidatorSet,
    crate::types::Vote,
);

#[cfg(test)]
mod tests;
