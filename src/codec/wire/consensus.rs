//! tendermint.consensus.Message: channels 0x20 to 0x23.

use crate::codec::DecodeError;
use crate::codec::journal::{read_part, write_part};
use crate::codec::protobuf::{Fields, Message, Writer};
use crate::codec::vote::{kind_number, read_kind};
use crate::types::{BitArray, ConsensusMessage, NewRoundStep, Round, VotesFor};

/// Most bits a peer may send: one for each vote of the largest set CometBFT allows (MaxVotesCount); blocks have fewer
/// parts.
pub const BITS_MAX: usize = 10_000;

encodings!(ConsensusMessage);

impl Message for ConsensusMessage {
    const NAME: &'static str = "consensus.Message";

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            ConsensusMessage::NewRoundStep(step) => w.message(1, step),
            ConsensusMessage::NewValidBlock { height, round, parts, have, is_commit } => w.nested(2, |w| {
                w.int(1, height.as_i64());
                w.int(2, round.as_i32().into());
                w.message(3, parts);
                w.message(4, have);
                w.flag(5, *is_commit);
            }),
            ConsensusMessage::Proposal(proposal) => w.nested(3, |w| w.message(1, proposal)),
            ConsensusMessage::ProposalPol { height, pol_round, have } => w.nested(4, |w| {
                w.int(1, height.as_i64());
                w.int(2, pol_round.as_i32().into());
                w.message(3, have);
            }),
            ConsensusMessage::BlockPart { height, round, part } => {
                w.nested(5, |w| write_part(w, *height, *round, part))
            }
            ConsensusMessage::Vote(vote) => w.nested(6, |w| w.message(1, vote)),
            ConsensusMessage::HasVote { height, round, kind, index } => w.nested(7, |w| {
                w.int(1, height.as_i64());
                w.int(2, round.as_i32().into());
                w.uint(3, kind_number(*kind));
                w.uint(4, (*index).into());
            }),
            ConsensusMessage::VoteSetMaj23(votes) => w.message(8, votes),
            ConsensusMessage::VoteSetBits { votes, have } => w.nested(9, |w| {
                votes.write(w);
                w.message(5, have);
            }),
        }
    }

    fn read(m: &Fields<'_>) -> Result<ConsensusMessage, DecodeError> {
        match m.oneof(1..=9) {
            Some(1) => m.member(1, "new_round_step", NewRoundStep::read).map(ConsensusMessage::NewRoundStep),
            Some(2) => m.member(2, "new_valid_block", read_new_valid_block),
            Some(3) => m.member(3, "proposal", |m| m.required(1, "proposal")).map(ConsensusMessage::Proposal),
            Some(4) => m.member(4, "proposal_pol", |m| {
                let (height, pol_round) = (m.number(1, "height")?, m.round(2, "proposal_pol_round")?);
                let have = m.present(3, "proposal_pol", BitArray::read)?;
                Ok(ConsensusMessage::ProposalPol { height, pol_round, have })
            }),
            Some(5) => m.member(5, "block_part", read_part).map(|(height, round, part)| ConsensusMessage::BlockPart {
                height,
                round,
                part,
            }),
            Some(6) => m.member(6, "vote", |m| m.required(1, "vote")).map(ConsensusMessage::Vote),
            Some(7) => m.member(7, "has_vote", read_has_vote),
            Some(8) => m.member(8, "vote_set_maj23", VotesFor::read).map(ConsensusMessage::VoteSetMaj23),
            Some(9) => m.member(9, "vote_set_bits", |m| {
                let have = m.present(5, "votes", BitArray::read)?;
                Ok(ConsensusMessage::VoteSetBits { votes: VotesFor::read(m)?, have })
            }),
            _ => Err(DecodeError::new("is empty or of an unknown kind")),
        }
    }
}

fn read_new_valid_block(m: &Fields<'_>) -> Result<ConsensusMessage, DecodeError> {
    Ok(ConsensusMessage::NewValidBlock {
        height: m.number(1, "height")?,
        round: m.round(2, "round")?,
        parts: m.required(3, "block_part_set_header")?,
        have: m.required(4, "block_parts")?,
        is_commit: m.flag(5, "is_commit")?,
    })
}

fn read_has_vote(m: &Fields<'_>) -> Result<ConsensusMessage, DecodeError> {
    let index = m.int32(4, "index")?;
    Ok(ConsensusMessage::HasVote {
        height: m.number(1, "height")?,
        round: m.round(2, "round")?,
        kind: read_kind(m, 3)?,
        index: u32::try_from(index).map_err(|_| DecodeError::at("index", format_args!("is {index}")))?,
    })
}

impl Message for NewRoundStep {
    const NAME: &'static str = "NewRoundStep";

    fn write(&self, w: &mut Writer<'_>) {
        w.int(1, self.height.as_i64());
        w.int(2, self.round.as_i32().into());
        w.uint(3, self.step.into());
        w.int(4, self.seconds_since_start_time);
        w.int(5, Round::option_as_i32(self.last_commit_round).into());
    }

    fn read(m: &Fields<'_>) -> Result<NewRoundStep, DecodeError> {
        Ok(NewRoundStep {
            height: m.number(1, "height")?,
            round: m.round(2, "round")?,
            step: m.uint32(3, "step")?,
            seconds_since_start_time: m.int(4, "seconds_since_start_time")?,
            last_commit_round: m.round_or_none(5, "last_commit_round")?,
        })
    }
}

impl Message for VotesFor {
    const NAME: &'static str = "VoteSetMaj23";

    fn write(&self, w: &mut Writer<'_>) {
        w.int(1, self.height.as_i64());
        w.int(2, self.round.as_i32().into());
        w.uint(3, kind_number(self.kind));
        w.block_id_or_nil(4, self.block_id.as_ref());
    }

    fn read(m: &Fields<'_>) -> Result<VotesFor, DecodeError> {
        Ok(VotesFor {
            height: m.number(1, "height")?,
            round: m.round(2, "round")?,
            kind: read_kind(m, 3)?,
            block_id: m.block_id_or_nil(4, "block_id")?,
        })
    }
}

impl Message for BitArray {
    const NAME: &'static str = "BitArray";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, self.len() as u64);
        w.packed(2, self.words());
    }

    fn read(m: &Fields<'_>) -> Result<BitArray, DecodeError> {
        let bits = m.int(1, "bits")?;
        let len = usize::try_from(bits).ok().filter(|len| *len <= BITS_MAX || mutant!("C91"));
        let len = len.ok_or_else(|| DecodeError::at("bits", format_args!("is {bits}, must be 0 to {BITS_MAX}")))?;
        let words = m.numbers(2, "elems")?;
        let count = words.len();
        BitArray::from_words(len, words)
            .ok_or_else(|| DecodeError::at("elems", format_args!("has {count} words for {len} bits")))
    }
}
