//! What a peer says, checked as far as it can be without the machines: beside the loop, because signatures cost.

use crate::consensus::tendermint::{Message, Tendermint};
use crate::crypto::Verified;
use crate::types::{Address, ChainId, ConsensusMessage, Height, Proposal, Round, ValidatorSet, Vote};
use std::sync::Arc;

/// Whose signatures count now. Made by the replica whenever its height or round changes, read by those who listen.
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
    /// Where the peer stands and what it has; also a proposal or vote whose signer is not known at this height, or one
    /// heard before.
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
}

/// Checks a peer's message. The error is the peer's fault: a signature that is not by whom it says.
pub fn hear(signers: Option<&Signers>, message: ConsensusMessage) -> Result<Heard, &'static str> {
    let Some(signers) = signers else { return Ok(Heard::Told(message)) };
    match &message {
        ConsensusMessage::Proposal(proposal) => match verified_proposal(signers, proposal) {
            Some(Ok(proposal)) => Ok(Heard::Said(Message::Proposal(proposal), message)),
            Some(Err(why)) => Err(why),
            None => Ok(Heard::Told(message)),
        },
        ConsensusMessage::Vote(vote) => match verified_vote(signers, vote) {
            Some(Ok(vote)) => Ok(Heard::Said(Message::Vote(vote), message)),
            Some(Err(why)) => Err(why),
            None => Ok(Heard::Told(message)),
        },
        ConsensusMessage::BlockPart { height, round, part } if *height == signers.height => {
            let said = Message::Part { height: *height, round: *round, part: part.clone() };
            Ok(Heard::Said(said, message))
        }
        _ => Ok(Heard::Told(message)),
    }
}

fn verified_proposal(_signers: &Signers, _proposal: &Proposal) -> Option<Result<Verified<Proposal>, &'static str>> {
    None
}

fn verified_vote(_signers: &Signers, _vote: &Vote) -> Option<Result<Verified<Vote>, &'static str>> {
    None
}
