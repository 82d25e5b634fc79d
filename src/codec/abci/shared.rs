//! Messages that several requests and responses share.

use crate::codec::DecodeError;
use crate::codec::protobuf::{Fields, Message, Writer};
use crate::types::ValidatorUpdate;
use crate::types::abci::{
    AbciValidator, BlockIdFlag, CommitInfo, Event, EventAttribute, ExtendedCommitInfo, ExtendedVoteInfo, Misbehavior,
    MisbehaviorKind, Snapshot, VoteInfo,
};

/// A value of an enum by its number: the position in `all`.
pub(super) fn choice<T: Copy>(m: &Fields<'_>, field: u32, name: &'static str, all: &[T]) -> Result<T, DecodeError> {
    let number = m.int32(field, name)?;
    usize::try_from(number)
        .ok()
        .and_then(|i| all.get(i))
        .copied()
        .ok_or_else(|| DecodeError::at(name, format_args!("is {number}, must be 0 to {}", all.len() - 1)))
}

/// The number of an enum's value: its position in `all`.
pub(super) fn number_of<T: PartialEq>(value: &T, all: &[T]) -> u64 {
    all.iter().position(|other| other == value).map_or(0, |position| position as u64)
}

impl Message for ValidatorUpdate {
    const NAME: &'static str = "ValidatorUpdate";

    fn write(&self, w: &mut Writer<'_>) {
        w.message(1, &self.public_key);
        w.int(2, self.power.as_i64());
    }

    fn read(m: &Fields<'_>) -> Result<ValidatorUpdate, DecodeError> {
        Ok(ValidatorUpdate { public_key: m.required(1, "pub_key")?, power: m.number(2, "power")? })
    }
}

impl Message for Event {
    const NAME: &'static str = "Event";

    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(1, self.kind.as_bytes());
        self.attributes.iter().for_each(|attribute| w.message(2, attribute));
    }

    fn read(m: &Fields<'_>) -> Result<Event, DecodeError> {
        let attributes = m.repeated(2, "attributes", EventAttribute::read)?;
        Ok(Event { kind: m.text(1, "type")?, attributes })
    }
}

impl Message for EventAttribute {
    const NAME: &'static str = "EventAttribute";

    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(1, self.key.as_bytes());
        w.bytes(2, self.value.as_bytes());
        w.flag(3, self.index);
    }

    fn read(m: &Fields<'_>) -> Result<EventAttribute, DecodeError> {
        Ok(EventAttribute { key: m.text(1, "key")?, value: m.text(2, "value")?, index: m.flag(3, "index")? })
    }
}

impl Message for Snapshot {
    const NAME: &'static str = "Snapshot";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(1, self.height);
        w.uint(2, self.format.into());
        w.uint(3, self.chunks.into());
        w.bytes(4, &self.hash);
        w.bytes(5, &self.metadata);
    }

    fn read(m: &Fields<'_>) -> Result<Snapshot, DecodeError> {
        Ok(Snapshot {
            height: m.uint(1, "height")?,
            format: m.uint32(2, "format")?,
            chunks: m.uint32(3, "chunks")?,
            hash: m.bytes(4, "hash")?,
            metadata: m.bytes(5, "metadata")?,
        })
    }
}

impl Message for AbciValidator {
    const NAME: &'static str = "Validator";

    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(1, self.address.as_ref());
        w.int(3, self.power.as_i64());
    }

    fn read(m: &Fields<'_>) -> Result<AbciValidator, DecodeError> {
        Ok(AbciValidator { address: m.exact(1, "address")?, power: m.number(3, "power")? })
    }
}

fn flag_number(flag: BlockIdFlag) -> u64 {
    match flag {
        BlockIdFlag::Absent => 1,
        BlockIdFlag::Commit => 2,
        BlockIdFlag::Nil => 3,
    }
}

fn read_flag(m: &Fields<'_>, field: u32) -> Result<BlockIdFlag, DecodeError> {
    match m.int32(field, "block_id_flag")? {
        1 => Ok(BlockIdFlag::Absent),
        2 => Ok(BlockIdFlag::Commit),
        3 => Ok(BlockIdFlag::Nil),
        other => Err(DecodeError::at("block_id_flag", format_args!("is {other}, must be 1 to 3"))),
    }
}

impl Message for VoteInfo {
    const NAME: &'static str = "VoteInfo";

    fn write(&self, w: &mut Writer<'_>) {
        w.message(1, &self.validator);
        w.uint(3, flag_number(self.flag));
    }

    fn read(m: &Fields<'_>) -> Result<VoteInfo, DecodeError> {
        Ok(VoteInfo { validator: m.required(1, "validator")?, flag: read_flag(m, 3)? })
    }
}

impl Message for CommitInfo {
    const NAME: &'static str = "CommitInfo";

    fn write(&self, w: &mut Writer<'_>) {
        w.int(1, self.round.as_i32().into());
        self.votes.iter().for_each(|vote| w.message(2, vote));
    }

    fn read(m: &Fields<'_>) -> Result<CommitInfo, DecodeError> {
        Ok(CommitInfo { round: m.round(1, "round")?, votes: m.repeated(2, "votes", VoteInfo::read)? })
    }
}

impl Message for ExtendedVoteInfo {
    const NAME: &'static str = "ExtendedVoteInfo";

    fn write(&self, w: &mut Writer<'_>) {
        w.message(1, &self.validator);
        w.bytes(3, &self.vote_extension);
        w.bytes(4, &self.extension_signature);
        w.uint(5, flag_number(self.flag));
    }

    fn read(m: &Fields<'_>) -> Result<ExtendedVoteInfo, DecodeError> {
        Ok(ExtendedVoteInfo {
            validator: m.required(1, "validator")?,
            vote_extension: m.bytes(3, "vote_extension")?,
            extension_signature: m.bytes(4, "extension_signature")?,
            flag: read_flag(m, 5)?,
        })
    }
}

impl Message for ExtendedCommitInfo {
    const NAME: &'static str = "ExtendedCommitInfo";

    fn write(&self, w: &mut Writer<'_>) {
        w.int(1, self.round.as_i32().into());
        self.votes.iter().for_each(|vote| w.message(2, vote));
    }

    fn read(m: &Fields<'_>) -> Result<ExtendedCommitInfo, DecodeError> {
        Ok(ExtendedCommitInfo { round: m.round(1, "round")?, votes: m.repeated(2, "votes", ExtendedVoteInfo::read)? })
    }
}

impl Message for Misbehavior {
    const NAME: &'static str = "Misbehavior";

    fn write(&self, w: &mut Writer<'_>) {
        w.uint(
            1,
            match self.kind {
                MisbehaviorKind::DuplicateVote => 1,
                MisbehaviorKind::LightClientAttack => 2,
            },
        );
        w.message(2, &self.validator);
        w.int(3, self.height.as_i64());
        w.message(4, &self.time);
        w.int(5, self.total_voting_power.as_i64());
    }

    fn read(m: &Fields<'_>) -> Result<Misbehavior, DecodeError> {
        let kind = match m.int32(1, "type")? {
            1 => MisbehaviorKind::DuplicateVote,
            2 => MisbehaviorKind::LightClientAttack,
            other => return Err(DecodeError::at("type", format_args!("is {other}, must be 1 or 2"))),
        };
        Ok(Misbehavior {
            kind,
            validator: m.required(2, "validator")?,
            height: m.number(3, "height")?,
            time: m.time(4, "time")?,
            total_voting_power: m.number(5, "total_voting_power")?,
        })
    }
}
