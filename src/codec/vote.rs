//! Votes and proposals, and the bytes their signatures cover (reference §4.5).

use super::DecodeError;
use super::protobuf::{Fields, Message, Writer, build_delimited};
use crate::types::{
    BlockId, ChainId, Height, PartSetHeader, Proposal, Round, Time, UnsignedProposal, UnsignedVote, Vote, VoteKind,
};
use bytes::BytesMut;

/// `SIGNED_MSG_TYPE_PROPOSAL`.
const PROPOSAL_TYPE: u64 = 32;

pub(super) fn kind_number(kind: VoteKind) -> u64 {
    match kind {
        VoteKind::Prevote => 1,
        VoteKind::Precommit => 2,
    }
}

pub(super) fn read_kind(m: &Fields<'_>, field: u32) -> Result<VoteKind, DecodeError> {
    match m.int32(field, "type")? {
        1 => Ok(VoteKind::Prevote),
        2 => Ok(VoteKind::Precommit),
        other => Err(DecodeError::at("type", format_args!("is {other}, must be 1 (prevote) or 2 (precommit)"))),
    }
}

/// Writes a vote that may lack its signatures: a remote signer is asked with such votes.
pub(super) fn write_vote(w: &mut Writer<'_>, vote: &UnsignedVote, signature: &[u8], extension_signature: &[u8]) {
    w.uint(1, kind_number(vote.kind));
    w.int(2, vote.height.as_i64());
    w.int(3, vote.round.as_i32().into());
    w.block_id_or_nil(4, vote.block_id.as_ref());
    w.message(5, &vote.timestamp);
    w.bytes(6, vote.validator_address.as_ref());
    w.uint(7, vote.validator_index.into());
    w.bytes(8, signature);
    w.bytes(9, vote.extension.as_deref().unwrap_or_default());
    w.bytes(10, extension_signature);
}

/// Reads a vote without looking at its signatures.
pub(super) fn read_unsigned_vote(m: &Fields<'_>) -> Result<UnsignedVote, DecodeError> {
    let index = m.int32(7, "validator_index")?;
    let extension = m.bytes(9, "extension")?;
    Ok(UnsignedVote {
        kind: read_kind(m, 1)?,
        height: m.number(2, "height")?,
        round: m.round(3, "round")?,
        block_id: m.block_id_or_nil(4, "block_id")?,
        timestamp: m.time(5, "timestamp")?,
        validator_address: m.exact(6, "validator_address")?,
        validator_index: u32::try_from(index)
            .map_err(|_| DecodeError::at("validator_index", format_args!("is {index}, must be 0 or more")))?,
        extension: (!extension.is_empty()).then_some(extension),
    })
}

impl Message for Vote {
    const NAME: &'static str = "Vote";

    fn write(&self, w: &mut Writer<'_>) {
        let extension_signature = self.extension_signature.as_ref().map_or(&[][..], AsRef::as_ref);
        write_vote(w, &self.unsigned(), self.signature.as_ref(), extension_signature);
    }

    fn read(m: &Fields<'_>) -> Result<Vote, DecodeError> {
        let unsigned = read_unsigned_vote(m)?;
        let timestamp = unsigned.timestamp;
        let (signature, extension_signature) = (m.exact(8, "signature")?, m.exact_or_empty(10, "extension_signature")?);
        Ok(unsigned.signed(timestamp, signature, extension_signature))
    }
}

impl Vote {
    /// What was signed.
    fn unsigned(&self) -> UnsignedVote {
        UnsignedVote {
            kind: self.kind,
            height: self.height,
            round: self.round,
            block_id: self.block_id,
            timestamp: self.timestamp,
            validator_address: self.validator_address,
            validator_index: self.validator_index,
            extension: Some(self.extension.clone()),
        }
    }

    /// What [`Vote::signature`] covers: CanonicalVote with its length before it.
    pub fn sign_bytes(&self, chain_id: &ChainId) -> Vec<u8> {
        vote_sign_bytes(self.kind, self.height, self.round, self.block_id.as_ref(), self.timestamp, chain_id)
    }

    /// What [`Vote::extension_signature`] covers: CanonicalVoteExtension with its length before it.
    pub fn extension_sign_bytes(&self, chain_id: &ChainId) -> Vec<u8> {
        extension_sign_bytes(&self.extension, self.height, self.round, chain_id)
    }
}

impl UnsignedVote {
    /// What the signature must cover: CanonicalVote with its length before it.
    pub fn sign_bytes(&self, chain_id: &ChainId) -> Vec<u8> {
        vote_sign_bytes(self.kind, self.height, self.round, self.block_id.as_ref(), self.timestamp, chain_id)
    }

    /// What the extension's signature must cover; the same as for an empty extension when there is none.
    pub fn extension_sign_bytes(&self, chain_id: &ChainId) -> Vec<u8> {
        extension_sign_bytes(self.extension.as_deref().unwrap_or_default(), self.height, self.round, chain_id)
    }
}

/// CanonicalVote. A nil block is left out here, unlike in the vote itself.
pub(super) fn vote_sign_bytes(
    kind: VoteKind,
    height: Height,
    round: Round,
    block_id: Option<&BlockId>,
    timestamp: Time,
    chain_id: &ChainId,
) -> Vec<u8> {
    let vote = CanonicalVote { kind: kind_number(kind), height, round, block_id, timestamp };
    vote.sign_bytes(chain_id.as_str())
}

/// The fields of CanonicalVote but the chain id.
pub(super) struct CanonicalVote<'a> {
    pub(super) kind: u64,
    pub(super) height: Height,
    pub(super) round: Round,
    pub(super) block_id: Option<&'a BlockId>,
    pub(super) timestamp: Time,
}

impl CanonicalVote<'_> {
    pub(super) fn sign_bytes(&self, chain_id: &str) -> Vec<u8> {
        delimited(|w| {
            w.uint(1, self.kind);
            w.sfixed64(2, self.height.as_i64());
            w.sfixed64(3, self.round.as_i32().into());
            if let Some(id) = self.block_id {
                w.nested(4, |w| write_canonical_block_id(w, id));
            }
            w.message(5, &self.timestamp);
            w.bytes(6, chain_id.as_bytes());
        })
    }
}

fn extension_sign_bytes(extension: &[u8], height: Height, round: Round, chain_id: &ChainId) -> Vec<u8> {
    delimited(|w| {
        w.bytes(1, extension);
        w.sfixed64(2, height.as_i64());
        w.sfixed64(3, round.as_i32().into());
        w.bytes(4, chain_id.as_str().as_bytes());
    })
}

fn write_canonical_block_id(w: &mut Writer<'_>, id: &BlockId) {
    w.bytes(1, id.hash.as_ref());
    let PartSetHeader { total, hash } = id.parts;
    w.nested(2, |w| {
        w.uint(1, total.into());
        w.bytes(2, hash.as_ref());
    });
}

fn delimited(body: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = BytesMut::new();
    build_delimited(&mut out, body);
    out.into()
}

/// Writes a proposal that may lack its signature.
pub(super) fn write_proposal(w: &mut Writer<'_>, proposal: &UnsignedProposal, signature: &[u8]) {
    w.uint(1, PROPOSAL_TYPE);
    w.int(2, proposal.height.as_i64());
    w.int(3, proposal.round.as_i32().into());
    w.int(4, Round::option_as_i32(proposal.pol_round).into());
    w.message(5, &proposal.block_id);
    w.message(6, &proposal.timestamp);
    w.bytes(7, signature);
}

/// Reads a proposal without looking at its signature.
pub(super) fn read_unsigned_proposal(m: &Fields<'_>) -> Result<UnsignedProposal, DecodeError> {
    Ok(UnsignedProposal {
        height: m.number(2, "height")?,
        round: m.round(3, "round")?,
        pol_round: m.round_or_none(4, "pol_round")?,
        block_id: m.block_id(5, "block_id")?,
        timestamp: m.time(6, "timestamp")?,
    })
}

impl Message for Proposal {
    const NAME: &'static str = "Proposal";

    fn write(&self, w: &mut Writer<'_>) {
        write_proposal(w, &self.unsigned(), self.signature.as_ref());
    }

    fn read(m: &Fields<'_>) -> Result<Proposal, DecodeError> {
        let kind = m.uint(1, "type")?;
        if kind != PROPOSAL_TYPE && !mutant!("C22") {
            return Err(DecodeError::at("type", format_args!("is {kind}, must be {PROPOSAL_TYPE} (proposal)")));
        }
        let unsigned = read_unsigned_proposal(m)?;
        let timestamp = unsigned.timestamp;
        Ok(unsigned.signed(timestamp, m.exact(7, "signature")?))
    }
}

impl Proposal {
    /// What was signed.
    fn unsigned(&self) -> UnsignedProposal {
        UnsignedProposal {
            height: self.height,
            round: self.round,
            pol_round: self.pol_round,
            block_id: self.block_id,
            timestamp: self.timestamp,
        }
    }

    /// What [`Proposal::signature`] covers: CanonicalProposal with its length before it.
    pub fn sign_bytes(&self, chain_id: &ChainId) -> Vec<u8> {
        self.unsigned().sign_bytes(chain_id)
    }
}

impl UnsignedProposal {
    /// What the signature must cover: CanonicalProposal with its length before it. The proof-of-lock round is a
    /// plain number here, ten bytes for −1, though the other rounds are fixed-size (reference §14.2).
    pub fn sign_bytes(&self, chain_id: &ChainId) -> Vec<u8> {
        delimited(|w| {
            w.uint(1, PROPOSAL_TYPE);
            w.sfixed64(2, self.height.as_i64());
            w.sfixed64(3, self.round.as_i32().into());
            w.int(4, Round::option_as_i32(self.pol_round).into());
            w.nested(5, |w| write_canonical_block_id(w, &self.block_id));
            w.message(6, &self.timestamp);
            w.bytes(7, chain_id.as_str().as_bytes());
        })
    }
}
