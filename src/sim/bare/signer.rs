//! Signatures that mean nothing, and the guard that gives each of them once.
//!
//! A signature is a cheap hash of the signer's address and of the real sign bytes: whoever knows an address could forge
//! it, but nobody here tries to, and what liars say is checked as if it could not be.

use crate::consensus::Signed;
use crate::crypto::Signature;
use crate::types::{
    Address, ChainId, Height, Round, SignPosition, SignRequest, SignStep, Statement, Time, UnsignedProposal,
    UnsignedStatement, UnsignedVote, Vote,
};

/// The signature of `who` over these bytes.
pub(super) fn signature(who: &Address, sign_bytes: &[u8]) -> Signature {
    let mut state = 0x6a09_e667_f3bc_c908_u64;
    let mut mix = |word: u64| {
        state = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state ^= state >> 32;
    };
    for bytes in [who.as_bytes().as_slice(), sign_bytes] {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            mix(u64::from_le_bytes(word));
        }
        mix(bytes.len() as u64);
    }
    let mut signature = [0; 64];
    for lane in signature.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        lane.copy_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    Signature::new(signature)
}

/// A vote with the signature of `who`, whoever it says it is of.
pub(super) fn signed_vote(who: &Address, chain: &ChainId, unsigned: UnsignedVote) -> Vote {
    const NONE: Signature = Signature::new([0; 64]);
    let (timestamp, extended) = (unsigned.timestamp, unsigned.extension.is_some());
    let mut vote = unsigned.signed(timestamp, NONE, None);
    vote.signature = signature(who, &vote.sign_bytes(chain));
    vote.extension_signature = extended.then(|| signature(who, &vote.extension_sign_bytes(chain)));
    vote
}

/// A proposal with the signature of `who`.
pub(super) fn signed_proposal(who: &Address, chain: &ChainId, unsigned: UnsignedProposal) -> crate::types::Proposal {
    let signature = signature(who, &unsigned.sign_bytes(chain));
    let timestamp = unsigned.timestamp;
    unsigned.signed(timestamp, signature)
}

/// A statement with the signature of `who`.
pub(super) fn signed_statement(who: &Address, chain: &ChainId, unsigned: UnsignedStatement) -> Statement {
    let signature = signature(who, &unsigned.sign_bytes(chain));
    unsigned.signed(signature)
}

/// The key of one node and what it must not forget: the last thing it signed. Durable before a signature leaves.
#[derive(Debug)]
pub(super) struct Key {
    own: Address,
    last: Option<(SignPosition, Last)>,
}

/// What was signed last, as it was asked for.
#[derive(Debug)]
enum Last {
    Vote(UnsignedVote),
    Proposal(UnsignedProposal),
}

/// What the guard says to a request at a position.
enum Verdict {
    Sign,
    /// The same was signed before, at that time.
    Again(Time),
    Refuse,
}

impl Key {
    pub(super) fn new(own: Address) -> Key {
        Key { own, last: None }
    }

    /// Signs what does not contradict what was signed before, positions rising; refuses everything else. Statements are
    /// guarded by the journal alone.
    pub(super) fn answer(&mut self, chain: &ChainId, request: SignRequest) -> Signed {
        match request {
            SignRequest::Statement(unsigned) => {
                Signed::Statement(Box::new(signed_statement(&self.own, chain, unsigned)))
            }
            SignRequest::Vote(unsigned) => self.vote(chain, unsigned),
            SignRequest::Proposal(unsigned) => self.proposal(chain, unsigned),
        }
    }

    fn vote(&mut self, chain: &ChainId, mut unsigned: UnsignedVote) -> Signed {
        let (height, round) = (unsigned.height, unsigned.round);
        let same = match &self.last {
            Some((_, Last::Vote(last))) => {
                let alike = (last.kind, last.block_id, last.validator_index)
                    == (unsigned.kind, unsigned.block_id, unsigned.validator_index);
                alike.then_some(last.timestamp)
            }
            _ => None,
        };
        let at = SignPosition { height, round, step: unsigned.kind.into() };
        match self.judge(at, same) {
            Verdict::Refuse => return Signed::Refused { height, round },
            Verdict::Again(timestamp) => unsigned.timestamp = timestamp,
            Verdict::Sign => self.last = Some((at, Last::Vote(unsigned.clone()))),
        }
        Signed::Vote(signed_vote(&self.own, chain, unsigned))
    }

    fn proposal(&mut self, chain: &ChainId, mut unsigned: UnsignedProposal) -> Signed {
        let (height, round): (Height, Round) = (unsigned.height, unsigned.round);
        let same = match &self.last {
            Some((_, Last::Proposal(last))) => {
                let alike = (last.block_id, last.pol_round) == (unsigned.block_id, unsigned.pol_round);
                alike.then_some(last.timestamp)
            }
            _ => None,
        };
        let at = SignPosition { height, round, step: SignStep::Propose };
        match self.judge(at, same) {
            Verdict::Refuse => return Signed::Refused { height, round },
            Verdict::Again(timestamp) => unsigned.timestamp = timestamp,
            Verdict::Sign => self.last = Some((at, Last::Proposal(unsigned.clone()))),
        }
        Signed::Proposal(signed_proposal(&self.own, chain, unsigned))
    }

    fn judge(&self, at: SignPosition, same: Option<Time>) -> Verdict {
        match &self.last {
            Some((last, _)) if at < *last => Verdict::Refuse,
            Some((last, _)) if at == *last => same.map_or(Verdict::Refuse, Verdict::Again),
            _ => Verdict::Sign,
        }
    }
}
