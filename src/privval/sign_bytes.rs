//! Finds the timestamp inside canonical sign bytes, to tell "the same at another time" from "something else",
//! and the position they were signed at, to tell a state that contradicts itself.
//!
//! Sign bytes are a length and a protobuf message (reference §4.5). Two requests are compared byte for byte, which is
//! stricter than comparing meanings.

use crate::types::{Height, Round, SignPosition, SignStep, Time};

/// Sign bytes taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamped {
    /// Everything but the timestamp field and the length prefix.
    pub(super) without_time: Vec<u8>,
    /// The timestamp.
    pub(super) time: Time,
}

/// Field numbers of `timestamp` in CanonicalVote and CanonicalProposal.
const VOTE_TIME: u64 = 5;
const PROPOSAL_TIME: u64 = 6;

impl Stamped {
    /// Takes sign bytes apart; none when they are not a message with exactly one timestamp.
    pub(super) fn parse(step: SignStep, sign_bytes: &[u8]) -> Option<Stamped> {
        let proposal = step == SignStep::Propose && !mutant!("K25");
        let time_field = if proposal { PROPOSAL_TIME } else { VOTE_TIME };
        let (length, mut rest) = varint(sign_bytes)?;
        if length != rest.len() as u64 {
            return None;
        }
        let mut without_time = Vec::with_capacity(rest.len());
        let mut time = None;
        while !rest.is_empty() {
            let (field, after) = Field::parse(rest)?;
            match field.payload {
                Payload::Bytes(payload) if field.number == time_field => {
                    if time.replace(parse_time(payload)?).is_some() && !mutant!("K24") {
                        return None;
                    }
                }
                _ => without_time.extend_from_slice(&rest[..rest.len() - after.len()]),
            }
            rest = after;
        }
        Some(Stamped { without_time, time: time? })
    }
}

/// One field of a protobuf message.
struct Field<'a> {
    number: u64,
    payload: Payload<'a>,
}

enum Payload<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed64(u64),
}

impl<'a> Field<'a> {
    /// The first field and what follows it.
    fn parse(bytes: &'a [u8]) -> Option<(Field<'a>, &'a [u8])> {
        let (tag, rest) = varint(bytes)?;
        let (payload, rest) = match tag & 7 {
            0 => varint(rest).map(|(value, rest)| (Payload::Varint(value), rest))?,
            1 => rest.split_first_chunk().map(|(value, rest)| (Payload::Fixed64(u64::from_le_bytes(*value)), rest))?,
            2 => {
                let (length, rest) = varint(rest)?;
                let (payload, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                (Payload::Bytes(payload), rest)
            }
            _ => return None, // canonical messages have no other kinds
        };
        Some((Field { number: tag >> 3, payload }, rest))
    }
}

/// What the types of canonical messages stand for.
const STEPS: [(u64, SignStep); 3] = [(1, SignStep::Prevote), (2, SignStep::Precommit), (32, SignStep::Propose)];

/// The position a vote or proposal was signed at; none when the bytes are neither. Type 1, height 2, round 3.
pub(super) fn position(sign_bytes: &[u8]) -> Option<SignPosition> {
    let (length, mut rest) = varint(sign_bytes)?;
    if length != rest.len() as u64 {
        return None;
    }
    let (mut kind, mut height, mut round) = (0, 0, 0);
    while !rest.is_empty() {
        let (field, after) = Field::parse(rest)?;
        match (field.number, field.payload) {
            (1, Payload::Varint(value)) => kind = value,
            (2, Payload::Fixed64(value)) => height = value.cast_signed(),
            (3, Payload::Fixed64(value)) => round = value,
            _ => {}
        }
        rest = after;
    }
    let (_, step) = STEPS.into_iter().find(|(number, _)| *number == kind)?;
    let round = Round::try_from(i32::try_from(round).ok()?).ok()?;
    Some(SignPosition { height: Height::try_from(height).ok()?, round, step })
}

/// google.protobuf.Timestamp: seconds 1, nanos 2, zeros left out.
fn parse_time(mut bytes: &[u8]) -> Option<Time> {
    let (mut seconds, mut nanos) = (0, 0);
    while !bytes.is_empty() {
        let (field, rest) = Field::parse(bytes)?;
        match (field.number, field.payload) {
            (1, Payload::Varint(value)) => seconds = value.cast_signed(),
            (2, Payload::Varint(value)) => nanos = u32::try_from(value).ok()?,
            _ => return None,
        }
        bytes = rest;
    }
    Time::new(seconds, nanos).ok()
}

/// A base-128 number and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if index == 9 && bits > 1 && !mutant!("K26") {
            return None;
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_time_is_found_and_the_rest_kept() {
        // type 1, height 1, time {seconds 5, nanos 300}, chain id "c"
        let bytes = [21, 8, 1, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x2a, 5, 8, 5, 0x10, 0xac, 2, 0x32, 1, b'c'];
        let stamped = Stamped::parse(SignStep::Prevote, &bytes).expect("well formed");
        assert_eq!(stamped.time, Time::new(5, 300).expect("in range"));
        assert_eq!(stamped.without_time, [8, 1, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x32, 1, b'c']);
    }

    #[test]
    fn there_is_one_time_and_no_number_of_more_than_64_bits() {
        let time = [0x2a, 5, 8, 5, 0x10, 0xac, 2];
        for times in 0..3 {
            let body = time.repeat(times);
            let bytes = [&[body.len() as u8][..], &body].concat();
            assert_eq!(Stamped::parse(SignStep::Prevote, &bytes).is_some(), times == 1, "{times} times");
        }
        for (last, value) in [(1, Some(u64::MAX)), (2, None)] {
            let bytes = [&[0xff; 9][..], &[last]].concat();
            assert_eq!(varint(&bytes).map(|(value, _)| value), value);
        }
    }

    #[test]
    fn the_position_is_found_in_votes_and_proposals_and_in_nothing_else() {
        let mut bytes = [20, 8, 1, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x19, 7, 0, 0, 0, 0, 0, 0, 0];
        let at = |step| Some(SignPosition { height: Height::FIRST, round: Round::new(7), step });
        let kinds = [(1, at(SignStep::Prevote)), (2, at(SignStep::Precommit)), (32, at(SignStep::Propose)), (3, None)];
        for (kind, expected) in kinds {
            bytes[2] = kind;
            assert_eq!(position(&bytes), expected, "type {kind}");
            assert_eq!(position(&bytes[..20]), None, "cut");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_from_a_file_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut prefixed = vec![bytes.len() as u8];
            prefixed.extend(&bytes);
            for step in [SignStep::Propose, SignStep::Precommit] {
                let parsed = Stamped::parse(step, &prefixed);
                prop_assert!(position(&prefixed).is_none_or(|at| at.step != SignStep::Nothing));
                prop_assert!(parsed.is_none_or(|stamped| stamped.without_time.len() <= bytes.len()));
            }
        }
    }
}
