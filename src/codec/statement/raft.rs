//! Raft's statements.

use crate::codec::DecodeError;
use crate::codec::protobuf::{Fields, Message, Writer};
use crate::types::{Election, LogPosition, RaftStatement, Round};

impl Message for RaftStatement {
    const NAME: &'static str = "RaftStatement";

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            RaftStatement::RequestVote { term, election, last } => w.nested(1, |w| {
                w.int(1, term.as_i32().into());
                w.uint(2, election_number(*election));
                w.message(3, last);
            }),
            RaftStatement::Ballot { term, asked, election, candidate, granted, height } => w.nested(2, |w| {
                w.int(1, term.as_i32().into());
                w.int(2, asked.as_i32().into());
                w.uint(3, election_number(*election));
                w.bytes(4, candidate.as_bytes());
                w.flag(5, *granted);
                w.int(6, height.as_i64());
            }),
            RaftStatement::Heartbeat { term, height, beat } => w.nested(3, |w| {
                w.int(1, term.as_i32().into());
                w.int(2, height.as_i64());
                w.uint(3, *beat);
            }),
            RaftStatement::Following { term, height, entry, beat } => w.nested(4, |w| {
                w.int(1, term.as_i32().into());
                w.int(2, height.as_i64());
                write_entry(w, 3, *entry);
                w.uint(4, *beat);
            }),
            RaftStatement::TimeoutNow { term, to } => w.nested(5, |w| {
                w.int(1, term.as_i32().into());
                w.bytes(2, to.as_bytes());
            }),
            RaftStatement::ReadIndex { ticket } => w.nested(6, |w| w.uint(1, *ticket)),
            RaftStatement::ReadAt { ticket, to, height } => w.nested(7, |w| {
                w.uint(1, *ticket);
                w.bytes(2, to.as_bytes());
                w.int(3, height.as_i64());
            }),
        }
    }

    fn read(m: &Fields<'_>) -> Result<RaftStatement, DecodeError> {
        match m.oneof(1..=7) {
            Some(1) => m.member(1, "request_vote", |m| {
                let (term, election) = (m.round(1, "term")?, read_election(m, 2)?);
                Ok(RaftStatement::RequestVote { term, election, last: m.required(3, "last")? })
            }),
            Some(2) => m.member(2, "ballot", read_ballot),
            Some(3) => m.member(3, "heartbeat", |m| {
                let (term, height) = (m.round(1, "term")?, m.number(2, "height")?);
                Ok(RaftStatement::Heartbeat { term, height, beat: m.uint(3, "beat")? })
            }),
            Some(4) => m.member(4, "following", |m| {
                let (term, height) = (m.round(1, "term")?, m.number(2, "height")?);
                Ok(RaftStatement::Following { term, height, entry: read_entry(m, 3)?, beat: m.uint(4, "beat")? })
            }),
            Some(5) => m.member(5, "timeout_now", |m| {
                Ok(RaftStatement::TimeoutNow { term: m.round(1, "term")?, to: m.exact(2, "to")? })
            }),
            Some(6) => m.member(6, "read_index", |m| Ok(RaftStatement::ReadIndex { ticket: m.uint(1, "ticket")? })),
            Some(7) => m.member(7, "read_at", |m| {
                let (ticket, to) = (m.uint(1, "ticket")?, m.exact(2, "to")?);
                Ok(RaftStatement::ReadAt { ticket, to, height: m.number(3, "height")? })
            }),
            _ => Err(DecodeError::new("is empty or of an unknown kind")),
        }
    }
}

fn read_ballot(m: &Fields<'_>) -> Result<RaftStatement, DecodeError> {
    Ok(RaftStatement::Ballot {
        term: m.round(1, "term")?,
        asked: m.round(2, "asked")?,
        election: read_election(m, 3)?,
        candidate: m.exact(4, "candidate")?,
        granted: m.flag(5, "granted")?,
        height: m.number(6, "height")?,
    })
}

impl Message for LogPosition {
    const NAME: &'static str = "LogPosition";

    fn write(&self, w: &mut Writer<'_>) {
        w.int(1, self.height.as_i64());
        write_entry(w, 2, self.entry);
    }

    fn read(m: &Fields<'_>) -> Result<LogPosition, DecodeError> {
        Ok(LogPosition { height: m.number(1, "height")?, entry: read_entry(m, 2)? })
    }
}

/// The term of an entry, in a message of its own: that it is missing differs from term 0.
fn write_entry(w: &mut Writer<'_>, field: u32, entry: Option<Round>) {
    if let Some(term) = entry {
        w.nested(field, |w| w.int(1, term.as_i32().into()));
    }
}

fn read_entry(m: &Fields<'_>, field: u32) -> Result<Option<Round>, DecodeError> {
    m.nested(field, "entry", |m| m.round(1, "term"))
}

fn election_number(election: Election) -> u64 {
    match election {
        Election::PreVote => 1,
        Election::Vote => 2,
        Election::Handover => 3,
    }
}

fn read_election(m: &Fields<'_>, field: u32) -> Result<Election, DecodeError> {
    match m.uint(field, "election")? {
        1 => Ok(Election::PreVote),
        2 => Ok(Election::Vote),
        3 => Ok(Election::Handover),
        other => Err(DecodeError::at("election", format_args!("is {other}, must be 1 to 3"))),
    }
}
