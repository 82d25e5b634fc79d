//! Whether a message makes sense in itself (CometBFT's ValidateBasic of each message). What cannot be expressed at all,
//! such as a negative height or a block id that is neither nil nor complete, the decoder refused.

use crate::crypto::merkle::AUNTS_MAX;
use crate::types::{BitArray, ConsensusMessage, Height, NewRoundStep, Part, PartSet, Proposal, Step, Vote, VoteKind};

/// What is wrong with a message; only a faulty peer sends it.
pub(super) fn check(message: &ConsensusMessage) -> Result<(), &'static str> {
    match message {
        ConsensusMessage::NewRoundStep(step) => check_step(step),
        ConsensusMessage::NewValidBlock { parts, have, .. } => check_valid_block(parts.total, have),
        ConsensusMessage::Proposal(proposal) => check_proposal(proposal),
        ConsensusMessage::ProposalPol { have, .. } if have.is_empty() => Err("ProposalPOL without any bits"),
        ConsensusMessage::BlockPart { part, .. } => check_part(part),
        ConsensusMessage::Vote(vote) => check_vote(vote),
        ConsensusMessage::ProposalPol { .. }
        | ConsensusMessage::HasVote { .. }
        | ConsensusMessage::VoteSetMaj23(_)
        | ConsensusMessage::VoteSetBits { .. } => Ok(()),
    }
}

/// NewRoundStepMessage.ValidateHeight: a last commit there is exactly after the first height.
pub(super) fn check_height(message: &NewRoundStep, initial: Height) -> Result<(), &'static str> {
    match message.last_commit_round {
        _ if message.height < initial => Err("NewRoundStep of a height below the first of the chain"),
        Some(_) if message.height == initial => Err("NewRoundStep with a last commit at the first height"),
        None if message.height > initial => Err("NewRoundStep without a last commit after the first height"),
        _ => Ok(()),
    }
}

fn check_step(message: &NewRoundStep) -> Result<(), &'static str> {
    match Step::from_number(message.step) {
        None => Err("NewRoundStep with a step that does not exist"),
        Some(_) if message.height == Height::ZERO => Err("NewRoundStep of height 0"),
        Some(_) => Ok(()),
    }
}

fn check_valid_block(total: u32, have: &BitArray) -> Result<(), &'static str> {
    match have.len() {
        0 => Err("NewValidBlock without any bits"),
        len if len != total as usize => Err("NewValidBlock whose bits are not as many as the block has parts"),
        len if len > PartSet::PARTS_MAX as usize => {
            Err("NewValidBlock of a block with more parts than a block may have")
        }
        _ => Ok(()),
    }
}

pub(super) fn check_proposal(proposal: &Proposal) -> Result<(), &'static str> {
    if !(1..=PartSet::PARTS_MAX).contains(&proposal.block_id.parts.total) {
        return Err("proposal of a block with more parts than a block may have, or none");
    }
    if proposal.pol_round.is_some_and(|pol_round| pol_round >= proposal.round) {
        return Err("proposal justified by a round that is not earlier");
    }
    Ok(())
}

pub(super) fn check_part(part: &Part) -> Result<(), &'static str> {
    let (index, len) = (u64::from(part.index), part.bytes.len());
    if len > PartSet::PART_BYTES {
        return Err("block part larger than a part may be");
    }
    if index + 1 < part.proof.total && len != PartSet::PART_BYTES {
        return Err("block part that is short and not the last one");
    }
    if index != part.proof.index && !mutant!("G2") {
        return Err("block part with the proof of another part");
    }
    if part.proof.aunts.len() > AUNTS_MAX && !mutant!("G7") {
        return Err("block part with a proof deeper than any tree");
    }
    Ok(())
}

pub(super) fn check_vote(vote: &Vote) -> Result<(), &'static str> {
    if vote.height == Height::ZERO {
        return Err("vote of height 0");
    }
    let may_extend = vote.kind == VoteKind::Precommit && vote.block_id.is_some();
    match (vote.extension_signature.is_some(), vote.extension.is_empty()) {
        (false, true) => Ok(()),
        _ if !may_extend => Err("vote with an extension that does not belong there"),
        (false, false) => Err("vote with an extension nobody signed"),
        (true, _) => Ok(()),
    }
}
