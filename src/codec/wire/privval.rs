//! tendermint.privval.Message: node and remote signer (reference §9).

use crate::codec::DecodeError;
use crate::codec::protobuf::{Fields, Message, Writer};
use crate::codec::vote::{read_unsigned_proposal, read_unsigned_vote, write_proposal, write_vote};
use crate::crypto::PublicKey;
use crate::types::{Proposal, Time, UnsignedProposal, UnsignedVote, Vote};

/// What node and remote signer say to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrivvalMessage {
    /// Whose signatures do you give?
    PublicKeyRequest {
        /// For this chain; as sent.
        chain_id: String,
    },
    /// These.
    PublicKeyResponse(Result<PublicKey, RemoteSignerError>),
    /// Sign this vote.
    SignVoteRequest {
        /// The vote.
        vote: UnsignedVote,
        /// For this chain; as sent.
        chain_id: String,
    },
    /// Signed, perhaps with the time of an identical earlier vote.
    SignedVoteResponse(Result<Vote, RemoteSignerError>),
    /// Sign this proposal.
    SignProposalRequest {
        /// The proposal.
        proposal: UnsignedProposal,
        /// For this chain; as sent.
        chain_id: String,
    },
    /// Signed.
    SignedProposalResponse(Result<Proposal, RemoteSignerError>),
    /// Are you there?
    PingRequest,
    /// Yes.
    PingResponse,
}

/// Why the signer did not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("signerEndpoint returned error #{code}: {description}")]
pub struct RemoteSignerError {
    /// The signer's number for it.
    pub code: i32,
    /// In words.
    pub description: String,
}

encodings!(PrivvalMessage);

impl Message for RemoteSignerError {
    const NAME: &'static str = "RemoteSignerError";

    fn write(&self, w: &mut Writer<'_>) {
        w.int(1, self.code.into());
        w.bytes(2, self.description.as_bytes());
    }

    fn read(m: &Fields<'_>) -> Result<RemoteSignerError, DecodeError> {
        Ok(RemoteSignerError { code: m.int32(1, "code")?, description: m.text(2, "description")? })
    }
}

/// Field 1 is the thing asked for, always written, field 2 the error.
fn write_answer<T: Message>(
    w: &mut Writer<'_>,
    answer: &Result<T, RemoteSignerError>,
    empty: impl FnOnce(&mut Writer<'_>),
) {
    match answer {
        Ok(thing) => w.message(1, thing),
        Err(error) => {
            w.nested(1, empty);
            w.message(2, error);
        }
    }
}

fn read_answer<T: Message>(m: &Fields<'_>, name: &'static str) -> Result<Result<T, RemoteSignerError>, DecodeError> {
    match m.optional(2, "error")? {
        Some(error) if !mutant!("C92") => Ok(Err(error)),
        _ => m.required(1, name).map(Ok),
    }
}

impl Message for PrivvalMessage {
    const NAME: &'static str = "privval.Message";

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            PrivvalMessage::PublicKeyRequest { chain_id } => w.nested(1, |w| w.bytes(1, chain_id.as_bytes())),
            PrivvalMessage::PublicKeyResponse(answer) => w.nested(2, |w| write_answer(w, answer, |_| ())),
            PrivvalMessage::SignVoteRequest { vote, chain_id } => w.nested(3, |w| {
                w.nested(1, |w| write_vote(w, vote, &[], &[]));
                w.bytes(2, chain_id.as_bytes());
            }),
            PrivvalMessage::SignedVoteResponse(answer) => w.nested(4, |w| {
                write_answer(w, answer, |w| {
                    w.block_id_or_nil(4, None);
                    w.message(5, &Time::ZERO);
                });
            }),
            PrivvalMessage::SignProposalRequest { proposal, chain_id } => w.nested(5, |w| {
                w.nested(1, |w| write_proposal(w, proposal, &[]));
                w.bytes(2, chain_id.as_bytes());
            }),
            PrivvalMessage::SignedProposalResponse(answer) => w.nested(6, |w| {
                write_answer(w, answer, |w| {
                    w.block_id_or_nil(5, None);
                    w.message(6, &Time::ZERO);
                });
            }),
            PrivvalMessage::PingRequest => w.nested(7, |_| ()),
            PrivvalMessage::PingResponse => w.nested(8, |_| ()),
        }
    }

    fn read(m: &Fields<'_>) -> Result<PrivvalMessage, DecodeError> {
        let missing = |name| move || DecodeError::at(name, "is missing");
        match m.oneof(1..=8) {
            Some(1) => m.member(1, "pub_key_request", |m| {
                Ok(PrivvalMessage::PublicKeyRequest { chain_id: m.text(1, "chain_id")? })
            }),
            Some(2) => {
                m.member(2, "pub_key_response", |m| read_answer(m, "pub_key")).map(PrivvalMessage::PublicKeyResponse)
            }
            Some(3) => m.member(3, "sign_vote_request", |m| {
                let vote = m.nested(1, "vote", read_unsigned_vote)?.ok_or_else(missing("vote"))?;
                Ok(PrivvalMessage::SignVoteRequest { vote, chain_id: m.text(2, "chain_id")? })
            }),
            Some(4) => {
                m.member(4, "signed_vote_response", |m| read_answer(m, "vote")).map(PrivvalMessage::SignedVoteResponse)
            }
            Some(5) => m.member(5, "sign_proposal_request", |m| {
                let proposal = m.nested(1, "proposal", read_unsigned_proposal)?.ok_or_else(missing("proposal"))?;
                Ok(PrivvalMessage::SignProposalRequest { proposal, chain_id: m.text(2, "chain_id")? })
            }),
            Some(6) => m
                .member(6, "signed_proposal_response", |m| read_answer(m, "proposal"))
                .map(PrivvalMessage::SignedProposalResponse),
            Some(7) => m.member(7, "ping_request", |_| Ok(PrivvalMessage::PingRequest)),
            Some(8) => m.member(8, "ping_response", |_| Ok(PrivvalMessage::PingResponse)),
            _ => Err(DecodeError::new("is empty or of an unknown kind")),
        }
    }
}
