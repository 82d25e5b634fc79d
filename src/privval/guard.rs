//! The last-sign rule: one signature for each height, round and step, ever (reference §9; CometBFT `privval/file.go`,
//! `CheckHRS`, `signVote`, `signProposal`).
#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

use super::sign_bytes::Stamped;
use crate::crypto::Signature;
use crate::types::{Height, Promises, Round, SignPosition, SignStep, Time};

/// What was signed and the signature it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedBytes {
    /// Canonical sign bytes, length prefix included.
    pub sign_bytes: Vec<u8>,
    /// The signature over them.
    pub signature: Signature,
}

/// What is remembered of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastSigned {
    /// Where the last thing it signed stands.
    pub at: SignPosition,
    /// What it was; none when the key never signed or its state lost it.
    pub signed: Option<SignedBytes>,
    /// Whether it promised something beside votes and proposals.
    pub promises: Promises,
}

impl LastSigned {
    /// The state of a key that never signed.
    pub const NOTHING: LastSigned = LastSigned { at: SignPosition::START, signed: None, promises: Promises::NoneGiven };
}

/// What to do with a request that may be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Later than everything before: sign it, and remember that before the signature leaves.
    Sign,
    /// These very bytes were signed before: give the same signature.
    Again(Signature),
    /// The same thing was signed at another time: give that signature with that time, or the pair would not verify.
    AgainAt(Signature, Time),
}

/// Why a request is refused. Texts are CometBFT's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A height below the last.
    #[error("height regression. Got {got}, last height {last}")]
    Height {
        /// Asked for.
        got: Height,
        /// Signed.
        last: Height,
    },
    /// A round below the last.
    #[error("round regression at height {height}. Got {got}, last round {last}")]
    Round {
        /// Of both.
        height: Height,
        /// Asked for.
        got: Round,
        /// Signed.
        last: Round,
    },
    /// A step before the last.
    #[error("step regression at height {height} round {round}. Got {got}, last step {last}")]
    Step {
        /// Of both.
        height: Height,
        /// Of both.
        round: Round,
        /// Asked for.
        got: SignStep,
        /// Signed.
        last: SignStep,
    },
    /// Signed at this very position, but the state does not say what.
    #[error("no SignBytes found")]
    NoSignBytes,
    /// Signed at this very position, but something else: this would be a double sign.
    #[error("conflicting data")]
    Conflicting,
}

/// Decides about signing `sign_bytes` at `at` after `last`.
pub fn check(last: &LastSigned, at: SignPosition, sign_bytes: &[u8]) -> Result<Answer, Refusal> {
    let SignPosition { height, round, step } = last.at;
    if at.height < height && !mutant!("K9") {
        return Err(Refusal::Height { got: at.height, last: height });
    }
    if at.height == height && at.round < round && !mutant!("K2") {
        return Err(Refusal::Round { height, got: at.round, last: round });
    }
    if (at.height, at.round) == (height, round) && at.step < step {
        return Err(Refusal::Step { height, round, got: at.step, last: step });
    }
    if at > last.at || (mutant!("K1") && (at.height, at.round) == (height, round)) {
        return Ok(Answer::Sign);
    }
    let signed = last.signed.as_ref().ok_or(Refusal::NoSignBytes)?;
    if signed.sign_bytes == sign_bytes || mutant!("K10") {
        return Ok(Answer::Again(signed.signature));
    }
    // A crash between signing and journalling makes us ask again with a later time. Anything else that differs, the
    // block above all, must never get a signature.
    let before = Stamped::parse(at.step, &signed.sign_bytes).ok_or(Refusal::Conflicting)?;
    let now = Stamped::parse(at.step, sign_bytes).ok_or(Refusal::Conflicting)?;
    if before.without_time != now.without_time && !mutant!("K4") {
        return Err(Refusal::Conflicting);
    }
    Ok(if mutant!("K3") {
        Answer::Sign
    } else {
        Answer::AgainAt(signed.signature, if mutant!("K11") { now.time } else { before.time })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNATURE: Signature = Signature::new([7; 64]);

    /// Canonical sign bytes by hand: type, height, a block's hash, time, chain id, as reference §4.5 lays them out.
    fn bytes(step: SignStep, block: u8, seconds: u8) -> Vec<u8> {
        let time_tag = if step == SignStep::Propose { 0x32 } else { 0x2a };
        let block_tag = if step == SignStep::Propose { 0x2a } else { 0x22 };
        let mut body = vec![0x08, step as u8, 0x11, 5, 0, 0, 0, 0, 0, 0, 0, block_tag, 3, 0x0a, 1, block];
        body.extend([time_tag, 2, 0x08, seconds, time_tag + 8, 1, b'c']);
        body.insert(0, body.len() as u8);
        body
    }

    fn position(height: u64, round: u32, step: SignStep) -> SignPosition {
        SignPosition { height: Height::new(height), round: Round::new(round), step }
    }

    fn last(step: SignStep) -> LastSigned {
        let signed = SignedBytes { sign_bytes: bytes(step, 1, 10), signature: SIGNATURE };
        LastSigned { at: position(5, 5, step), signed: Some(signed), promises: Promises::NoneGiven }
    }

    /// Every relation of height, round and step (3 × 3 × 3 at most) × same or other block × same or other time, for
    /// each step: against a rule written the dumb way.
    #[test]
    fn every_relation_of_position_and_content_is_decided_as_the_rule_says() {
        let steps = [SignStep::Propose, SignStep::Prevote, SignStep::Precommit];
        let mut cases = 0;
        for last_step in steps {
            for (height, round, step) in (4..=6).flat_map(|h| (4..=6).flat_map(move |r| steps.map(|s| (h, r, s)))) {
                for (block, seconds) in [(1, 10), (1, 11), (2, 10), (2, 11)] {
                    let got = check(&last(last_step), position(height, round, step), &bytes(step, block, seconds));
                    let order = (height, round, step as u8).cmp(&(5, 5, last_step as u8));
                    match (order, block, seconds) {
                        (std::cmp::Ordering::Greater, ..) => assert_eq!(got, Ok(Answer::Sign)),
                        (std::cmp::Ordering::Less, ..) => assert!(is_regression(&got), "{got:?}"),
                        (_, 1, 10) => assert_eq!(got, Ok(Answer::Again(SIGNATURE))),
                        (_, 1, _) => {
                            let time = Time::new(10, 0).expect("in range");
                            assert_eq!(got, Ok(Answer::AgainAt(SIGNATURE, time)));
                        }
                        _ => assert_eq!(got, Err(Refusal::Conflicting)),
                    }
                    cases += 1;
                }
            }
        }
        assert_eq!(cases, 3 * 27 * 4);
    }

    fn is_regression(got: &Result<Answer, Refusal>) -> bool {
        matches!(got, Err(Refusal::Height { .. } | Refusal::Round { .. } | Refusal::Step { .. }))
    }

    #[test]
    fn refusals_are_worded_as_cometbft_words_them() {
        let last = last(SignStep::Precommit);
        let cases = [
            (position(4, 9, SignStep::Precommit), "height regression. Got 4, last height 5"),
            (position(5, 4, SignStep::Precommit), "round regression at height 5. Got 4, last round 5"),
            (position(5, 5, SignStep::Prevote), "step regression at height 5 round 5. Got 2, last step 3"),
        ];
        for (at, text) in cases {
            let refusal = check(&last, at, &[]).expect_err("a regression");
            assert_eq!(refusal.to_string(), text);
        }
    }

    #[test]
    fn a_position_whose_bytes_were_lost_is_refused() {
        let lost = LastSigned { at: position(5, 5, SignStep::Prevote), ..LastSigned::NOTHING };
        let got = check(&lost, lost.at, &bytes(SignStep::Prevote, 1, 10));
        assert_eq!(got, Err(Refusal::NoSignBytes));
    }

    #[test]
    fn a_key_that_never_signed_signs_the_first_thing() {
        let got = check(&LastSigned::NOTHING, position(1, 0, SignStep::Propose), &[]);
        assert_eq!(got, Ok(Answer::Sign));
    }
}
