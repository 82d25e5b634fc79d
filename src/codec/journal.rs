//! Journal records as CometBFT's write-ahead log holds them: TimedWALMessage (reference §6.6).

use super::DecodeError;
use super::protobuf::{Fields, Message, Writer, build};
use crate::types::{
    Height, JournalMessage, JournalRecord, NodeId, Part, Proposal, Round, Source, Standing, Step, Time, TimerId, Vote,
};
use bytes::Bytes;
use std::time::Duration;

/// One record and when it was written, without checksum and length, which are the file's business.
pub fn encode(at: Time, record: &JournalRecord) -> Vec<u8> {
    let message = |w: &mut Writer<'_>| {
        w.message(1, &at);
        w.message(2, record);
    };
    build(message).into()
}

/// Reads one record.
pub fn decode(bytes: &[u8]) -> Result<(Time, JournalRecord), DecodeError> {
    let bytes = Bytes::copy_from_slice(bytes);
    let read = |m: Fields<'_>| Ok((m.time(1, "time")?, m.required(2, "msg")?));
    Fields::parse(&bytes).and_then(read).map_err(|error: DecodeError| error.within("TimedWALMessage"))
}

impl Message for JournalRecord {
    const NAME: &'static str = "WALMessage";

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            JournalRecord::RoundStep { height, round, step } => w.nested(1, |w| {
                w.int(1, height.as_i64());
                w.int(2, round.as_i32().into());
                w.bytes(3, step.name().as_bytes());
            }),
            JournalRecord::Message { source, message } => w.nested(2, |w| {
                w.message(1, message);
                if let Source::Peer(peer) = source {
                    w.bytes(2, peer.to_string().as_bytes());
                }
            }),
            JournalRecord::Timeout { timer, duration } => w.nested(3, |w| {
                w.message(1, duration);
                w.int(2, timer.height.as_i64());
                w.int(3, timer.round.as_i32().into());
                w.uint(4, timer.step as u64);
            }),
            JournalRecord::EndHeight(height) => w.nested(4, |w| w.int(1, height.as_i64())),
            JournalRecord::Standing(standing) => w.nested(STANDING_FIELD, |w| {
                w.int(1, standing.height.as_i64());
                w.int(2, standing.round.as_i32().into());
                if let Some(address) = &standing.voted_for {
                    w.bytes(3, address.as_bytes());
                }
            }),
        }
    }

    fn read(m: &Fields<'_>) -> Result<JournalRecord, DecodeError> {
        if m.has(STANDING_FIELD) {
            return m.member(STANDING_FIELD, "standing", read_standing);
        }
        match m.oneof(1..=4) {
            Some(1) => m.member(1, "event_data_round_state", read_round_step),
            Some(2) => m.member(2, "msg_info", |m| {
                Ok(JournalRecord::Message { source: read_source(m)?, message: m.required(1, "msg")? })
            }),
            Some(3) => m.member(3, "timeout_info", read_timeout),
            Some(4) => m.member(4, "end_height", |m| m.number::<Height>(1, "height")).map(JournalRecord::EndHeight),
            _ => Err(DecodeError::new("is empty or of an unknown kind")),
        }
    }
}

/// CometBFT has no such record: a number it does not use.
const STANDING_FIELD: u32 = 20;

fn read_standing(m: &Fields<'_>) -> Result<JournalRecord, DecodeError> {
    let voted_for = if m.has(3) { Some(m.exact(3, "voted_for")?) } else { None };
    let (height, round) = (m.number(1, "height")?, m.round(2, "round")?);
    Ok(JournalRecord::Standing(Standing { height, round, voted_for }))
}

/// Numbers of the steps; the journal names them in some records and numbers them in others.
const STEP_NUMBERS: std::ops::RangeInclusive<u32> = 1..=8;

fn read_round_step(m: &Fields<'_>) -> Result<JournalRecord, DecodeError> {
    let name = m.text(3, "step")?;
    let step = STEP_NUMBERS.filter_map(Step::from_number).find(|step| step.name() == name);
    Ok(JournalRecord::RoundStep {
        height: m.number(1, "height")?,
        round: m.round(2, "round")?,
        step: step.ok_or_else(|| DecodeError::at("step", format_args!("is {name:?}, not the name of a step")))?,
    })
}

fn read_source(m: &Fields<'_>) -> Result<Source, DecodeError> {
    let peer = m.text(2, "peer_id")?;
    if peer.is_empty() {
        return Ok(Source::Own);
    }
    peer.parse::<NodeId>().map(Source::Peer).map_err(|why| DecodeError::at("peer_id", why))
}

fn read_timeout(m: &Fields<'_>) -> Result<JournalRecord, DecodeError> {
    let number = m.uint32(4, "step")?;
    let step = Step::from_number(number)
        .ok_or_else(|| DecodeError::at("step", format_args!("is {number}, must be 1 to 8")))?;
    let timer = TimerId { height: m.number(2, "height")?, round: m.round(3, "round")?, step };
    Ok(JournalRecord::Timeout { timer, duration: m.present(1, "duration", read_wait)? })
}

/// How long a timer was set for. CometBFT writes a negative time when the next height should have begun already.
fn read_wait(m: &Fields<'_>) -> Result<Duration, DecodeError> {
    if (m.int(1, "seconds")? < 0 && !mutant!("C90")) || m.int32(2, "nanos")? < 0 {
        Ok(Duration::ZERO)
    } else {
        Duration::read(m)
    }
}

/// A message of consensus as peers send it too: tendermint.consensus.Message.
impl Message for JournalMessage {
    const NAME: &'static str = "Message";

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            JournalMessage::Proposal(proposal) => w.nested(3, |w| w.message(1, proposal)),
            JournalMessage::Part { height, round, part } => w.nested(5, |w| write_part(w, *height, *round, part)),
            JournalMessage::Vote(vote) => w.nested(6, |w| w.message(1, vote)),
        }
    }

    fn read(m: &Fields<'_>) -> Result<JournalMessage, DecodeError> {
        match m.oneof(1..=9) {
            Some(3) => m.member(3, "proposal", |m| m.required::<Proposal>(1, "proposal")).map(JournalMessage::Proposal),
            Some(5) => m.member(5, "block_part", read_part).map(|(height, round, part)| JournalMessage::Part {
                height,
                round,
                part,
            }),
            Some(6) => m.member(6, "vote", |m| m.required::<Vote>(1, "vote")).map(JournalMessage::Vote),
            Some(other) => Err(DecodeError::new(format_args!("is message {other}, which no journal holds"))),
            None => Err(DecodeError::new("is empty or of an unknown kind")),
        }
    }
}

pub(super) fn write_part(w: &mut Writer<'_>, height: Height, round: Round, part: &Part) {
    w.int(1, height.as_i64());
    w.int(2, round.as_i32().into());
    w.message(3, part);
}

pub(super) fn read_part(m: &Fields<'_>) -> Result<(Height, Round, Part), DecodeError> {
    Ok((m.number(1, "height")?, m.round(2, "round")?, m.required(3, "part")?))
}
