//! What a peer says, checked as far as it can be without the machines: beside the loop, because signatures cost.

use super::check::check;
use crate::consensus::tendermint::{Message, Tendermint};
use crate::crypto::{SignatureClaim, Verified};
use crate::types::{
    Address, ChainId, ConsensusMessage, Height, Proposal, Round, Validator, ValidatorSet, Vote, VoteKind,
};
use std::sync::Arc;

/// Whose signatures count now. Made by the replica whenever its height or round changes, read by those who listen. It
/// must be there for them before our NewRoundStep leaves: a peer sends the proposal of a round once.
#[derive(Debug, Clone)]
pub struct Signers {
    /// The chain every signature is bound to.
    pub chain_id: ChainId,
    /// The height being decided.
    pub height: Height,
    /// The round it is in.
    pub round: Round,
    /// Who decides it.
    pub validators: Arc<ValidatorSet>,
    /// Who decided the height before.
    pub last_validators: Option<Arc<ValidatorSet>>,
    /// Who proposes in this round and in the next.
    pub proposers: Vec<(Round, Address)>,
}

/// What was heard.
#[derive(Debug, Clone)]
pub enum Heard {
    /// For consensus: a proposal, a part or a vote, signatures checked. The message itself goes along, because it also
    /// shows what the peer has.
    Said(Message, ConsensusMessage),
    /// Where the peer stands and what it has; also a proposal, part or vote of a height or round that is not ours.
    Told(ConsensusMessage),
}

impl Signers {
    /// Whose signatures count where `machine` stands.
    pub fn of(chain_id: &ChainId, machine: &Tendermint) -> Signers {
        let round = machine.round();
        let rounds = [round, round.next()].into_iter();
        let proposers = rounds.filter_map(|round| Some((round, machine.proposer(round)?.address))).collect();
        Signers {
            chain_id: chain_id.clone(),
            height: machine.height(),
            round,
            validators: Arc::clone(machine.validators()),
            last_validators: machine.last_validators().map(Arc::clone),
            proposers,
        }
    }

    /// Who may have signed this vote; none when it is of a height whose validators are not known here.
    fn voters(&self, vote: &Vote) -> Option<&ValidatorSet> {
        if vote.height == self.height {
            return Some(&self.validators);
        }
        let late = vote.kind == VoteKind::Precommit && (self.height.previous() == Some(vote.height) || mutant!("G4"));
        if late || mutant!("G13") { self.last_validators.as_deref() } else { None }
    }

    fn proposer(&self, proposal: &Proposal) -> Option<&Validator> {
        if proposal.height != self.height {
            return None;
        }
        let (_, address) = self.proposers.iter().find(|(round, _)| *round == proposal.round)?;
        self.validators.by_address(address).map(|(_, validator)| validator)
    }
}

/// Checks a peer's message: its form, and its signatures where the signers are known. The error is the peer's fault.
pub fn hear(signers: Option<&Signers>, message: ConsensusMessage) -> Result<Heard, &'static str> {
    check(&message)?;
    let Some(signers) = signers else { return Ok(Heard::Told(message)) };
    let said = match &message {
        ConsensusMessage::Proposal(proposal) => match signers.proposer(proposal) {
            Some(proposer) => Some(Message::Proposal(verified_proposal(&signers.chain_id, proposer, proposal)?)),
            None => None,
        },
        ConsensusMessage::Vote(vote) => match signers.voters(vote) {
            Some(voters) => Some(Message::Vote(verified_vote(&signers.chain_id, voters, vote)?)),
            None => None,
        },
        ConsensusMessage::BlockPart { height, round, part } if *height == signers.height => {
            Some(Message::Part { height: *height, round: *round, part: part.clone() })
        }
        _ => None,
    };
    Ok(match said {
        Some(said) => Heard::Said(said, message),
        None => Heard::Told(message),
    })
}

fn verified_proposal(
    chain_id: &ChainId,
    proposer: &Validator,
    proposal: &Proposal,
) -> Result<Verified<Proposal>, &'static str> {
    let sign_bytes = proposal.sign_bytes(chain_id);
    let claim = SignatureClaim { key: &proposer.public_key, sign_bytes: &sign_bytes, signature: &proposal.signature };
    Verified::check(proposal.clone(), &[claim]).map_err(|_| "proposal that the proposer of its round did not sign")
}

/// CometBFT checks an extension's signature only in rounds where extensions are on; whether this vote should have one
/// is for consensus to say.
fn verified_vote(chain_id: &ChainId, voters: &ValidatorSet, vote: &Vote) -> Result<Verified<Vote>, &'static str> {
    let Some(voter) = voters.by_index(vote.validator_index) else {
        return Err("vote of a validator that is not in the set");
    };
    if voter.address != vote.validator_address && !mutant!("G9") {
        return Err("vote whose index and address name different validators");
    }
    let (sign_bytes, extension_bytes) = (vote.sign_bytes(chain_id), vote.extension_sign_bytes(chain_id));
    let claim = |sign_bytes, signature| SignatureClaim { key: &voter.public_key, sign_bytes, signature };
    let mut claims = vec![claim(sign_bytes.as_slice(), &vote.signature)];
    claims.extend(
        vote.extension_signature
            .as_ref()
            .filter(|_| !mutant!("G1"))
            .map(|signature| claim(extension_bytes.as_slice(), signature)),
    );
    Verified::check(vote.clone(), &claims).map_err(|_| "vote, or its extension, that its validator did not sign")
}
