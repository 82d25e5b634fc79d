//! A vote the signer refused. CometBFT asks once; where a quorum needs the vote, the height then stands still until the node
//! is restarted. Here the signer is asked again for the same vote for as long as we stand in its round: it signs if it was
//! merely not at work, and it keeps refusing if it knows of another vote.

use super::Tendermint;
use super::height::{Outcome, OwnVote};
use crate::consensus::{Effect, Effects, Now, Reaction};
use crate::types::{Height, Round, SignRequest, Step, TimerId, UnsignedVote, VoteKind};
use std::time::Duration;

/// The first pause before a signer that refused is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause doubles this often at most, to 8 s.
const DOUBLINGS_MAX: u32 = 3;

/// The step whose timer asks for such a vote again: no timeout of the protocol has its name (lines 57-67). Its firing is not
/// journaled, as nothing rests on it.
fn step_of(kind: VoteKind) -> Step {
    match kind {
        VoteKind::Prevote => Step::Prevote,
        VoteKind::Precommit => Step::Precommit,
    }
}

impl Tendermint {
    /// The signer refused: the key is not at work, or it signed something else here before.
    pub(super) fn on_refused(&mut self, now: Now, at: (Height, Round), out: &mut Effects<Tendermint>) -> Reaction {
        let ((height, round), state) = (at, &mut self.current);
        if at != (state.start.height, state.round) {
            return Reaction::Ignored("a vote or a proposal that is past");
        }
        // A refused proposal needs nothing: its round ends by a timeout.
        let waits = |kind: &VoteKind| matches!(state.own.get(&(round, *kind)), Some(OwnVote::Requested(_)));
        let waiting = [VoteKind::Prevote, VoteKind::Precommit].into_iter().filter(waits);
        let duration = PAUSE * (1 << state.refusals.min(DOUBLINGS_MAX));
        for step in waiting.map(step_of).filter(|_| !mutant!("T70")) {
            let timer = TimerId { height, round, step };
            out.push(Effect::SetTimer { timer, at: now.tick.plus(duration), duration });
        }
        state.refusals = state.refusals.saturating_add(1);
        Reaction::Accepted
    }

    /// The vote this timer asks for again, if it still waits.
    pub(super) fn refused_vote_due(&self, timer: TimerId) -> Option<UnsignedVote> {
        let state = &self.current;
        let here = (timer.height, timer.round) == (state.start.height, state.round);
        if !here || state.outcome != Outcome::Open {
            return None;
        }
        let kind = [VoteKind::Prevote, VoteKind::Precommit].into_iter().find(|kind| step_of(*kind) == timer.step)?;
        match state.own.get(&(timer.round, kind)) {
            Some(OwnVote::Requested(unsigned)) => Some(unsigned.clone()),
            _ => None,
        }
    }

    /// Asks again. If we prevoted in this round before a crash, the key may have signed nil, because the application said
    /// no to the block then: it will sign nothing else here. Or it signed for the block, and was merely not at work. So we
    /// ask for one and the other in turn: both are right, nil always (line 57), and the key knows which it was.
    pub(super) fn ask_signer_again(
        &mut self,
        now: Now,
        unsigned: UnsignedVote,
        out: &mut Effects<Tendermint>,
    ) -> Reaction {
        let before = unsigned.kind == VoteKind::Prevote && self.current.prevoted_before == Some(unsigned.round);
        let meant = match unsigned.block_id {
            Some(block_id) if before && !mutant!("T71") => {
                self.current.fell_back = Some((unsigned.round, block_id));
                self.request_vote(now, VoteKind::Prevote, None, None, out);
                return Reaction::Accepted;
            }
            Some(_) => None,
            None => self.current.fell_back.take_if(|(round, _)| before && *round == unsigned.round),
        };
        match meant {
            Some((_, block_id)) => self.request_vote(now, VoteKind::Prevote, Some(block_id), None, out),
            None => out.push(Effect::Sign(SignRequest::Vote(unsigned))),
        }
        Reaction::Accepted
    }
}
