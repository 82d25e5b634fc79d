//! Having something signed: the signer's answer goes back to the replica, a refusal also to whoever watches the node.

use super::{Executed, Executor};
use crate::consensus::Signed;
use crate::ports::{SignError, SignerFailed};
use crate::replica::Input;
use crate::types::{Height, Round, SignRequest};
use std::collections::VecDeque;

/// A vote or a proposal that was not signed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSigned {
    /// Its height.
    pub height: Height,
    /// Its round.
    pub round: Round,
    /// The guard's sentence.
    pub why: String,
}

impl Executor {
    /// Has something signed, the journal being durable. Says what the guard did: votes and proposals may be refused;
    /// statements are never refused, so it is not asked. Without a signer nothing is answered.
    pub(super) fn have_signed(
        &mut self,
        request: SignRequest,
        answers: &mut VecDeque<Input>,
    ) -> Result<Executed, SignerFailed> {
        let Some(signer) = &mut self.signer else { return Ok(Executed::Done) };
        let chain_id = &self.genesis.chain_id;
        let (signed, executed) = match request {
            SignRequest::Vote(vote) => {
                let (height, round) = (vote.height, vote.round);
                crash_point!("sign.vote.before");
                let signed = guarded(height, round, signer.sign_vote(chain_id, vote).map(Signed::Vote))?;
                crash_point!("sign.vote.after");
                signed
            }
            SignRequest::Proposal(proposal) => {
                let (height, round) = (proposal.height, proposal.round);
                crash_point!("sign.proposal.before");
                let signed = guarded(height, round, signer.sign_proposal(chain_id, proposal).map(Signed::Proposal))?;
                crash_point!("sign.proposal.after");
                signed
            }
            SignRequest::Statement(statement) => {
                crash_point!("sign.statement.before");
                let statement = signer.sign_statement(chain_id, statement)?;
                crash_point!("sign.statement.after");
                (Signed::Statement(Box::new(statement)), Executed::Done)
            }
        };
        answers.push_back(Input::Signed(signed));
        Ok(executed)
    }
}

/// What to go on with when the guard was asked to sign for this height and round. After a failure whether it remembers
/// is unknown: going on could sign twice.
fn guarded(
    height: Height,
    round: Round,
    signed: Result<Signed, SignError>,
) -> Result<(Signed, Executed), SignerFailed> {
    match signed {
        Ok(signed) => Ok((signed, Executed::Guarded(Ok(())))),
        Err(SignError::Refused(why)) => {
            let refused = Executed::Guarded(Err(NotSigned { height, round, why }));
            Ok((Signed::Refused { height, round }, refused))
        }
        Err(SignError::Failed(failed)) => Err(failed),
    }
}
