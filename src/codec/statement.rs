//! What Raft and PBFT sign beside votes and proposals: its bytes, and the bytes its signatures cover
//! (`docs/formats/direct.md`).

mod pbft;
mod raft;

use super::DecodeError;
use super::protobuf::{Fields, Message, Writer, build_delimited};
use crate::types::{Address, ChainId, Commit, ExtendedCommit, Statement, StatementBody, UnsignedStatement};
use bytes::BytesMut;
use std::cell::Cell;

/// Begins every statement's sign bytes. Those of votes, their extensions and proposals begin with their own length, which
/// is never 0; and nothing else a validator key signs is longer than 32 bytes.
const DOMAIN: &[u8] = b"\0quorate/statement/1\0";

/// Most votes and commit entries in one direct message, nested ones included: a NEW-VIEW of more than 300 validators.
/// In memory they are up to eleven times as large as on the wire.
pub const ENTRIES_MAX: usize = 1 << 17;

/// How many more votes and commit entries a message may have.
pub(super) struct Entries(Cell<usize>);

impl Entries {
    /// For one message.
    pub(super) fn allowed() -> Entries {
        Entries(Cell::new(ENTRIES_MAX))
    }

    /// Makes sure, before they are read, that a field has at most one element for each of the most validators there may
    /// be, and the whole message not too many.
    fn take(&self, m: &Fields<'_>, field: u32, name: &'static str) -> Result<(), DecodeError> {
        let count = m.count(field);
        if count > Commit::SIGNATURES_MAX {
            let max = Commit::SIGNATURES_MAX;
            return Err(DecodeError::at(name, format_args!("has {count} elements, at most {max}")));
        }
        let left = self.0.get().checked_sub(count);
        let left = left.ok_or_else(|| {
            DecodeError::at(name, format_args!("brings the message over {ENTRIES_MAX} votes and commit entries"))
        })?;
        self.0.set(left);
        Ok(())
    }
}

/// Reads a commit with a bounded number of entries.
pub(super) fn read_commit(m: &Fields<'_>, entries: &Entries) -> Result<ExtendedCommit, DecodeError> {
    entries.take(m, 4, "extended_signatures")?;
    ExtendedCommit::read(m)
}

/// Reads a statement whose body is any.
pub(super) fn read_statement(m: &Fields<'_>, entries: &Entries) -> Result<Statement, DecodeError> {
    let body = match m.oneof(2..=3) {
        Some(2) => StatementBody::Raft(m.member(2, "raft", Message::read)?),
        Some(3) => StatementBody::Pbft(Box::new(m.member(3, "pbft", |m| pbft::read(m, entries))?)),
        _ => return Err(DecodeError::at("body", "is missing or of an unknown protocol")),
    };
    Ok(Statement { by: m.exact(1, "by")?, body, signature: m.exact(4, "signature")? })
}

fn write_body(w: &mut Writer<'_>, body: &StatementBody) {
    match body {
        StatementBody::Raft(statement) => w.message(2, statement),
        StatementBody::Pbft(statement) => w.message(3, &**statement),
    }
}

impl Message for Statement {
    const NAME: &'static str = "Statement";

    fn write(&self, w: &mut Writer<'_>) {
        w.bytes(1, self.by.as_bytes());
        write_body(w, &self.body);
        w.bytes(4, self.signature.as_ref());
    }

    fn read(m: &Fields<'_>) -> Result<Statement, DecodeError> {
        read_statement(m, &Entries::allowed())
    }
}

impl UnsignedStatement {
    /// What the signature must cover: the domain, then protocol, chain, signer and body as one delimited message.
    pub fn sign_bytes(&self, chain_id: &ChainId) -> Vec<u8> {
        sign_bytes(chain_id, &self.by, &self.body)
    }
}

impl Statement {
    /// What [`Statement::signature`] covers. Of a statement that was decoded these are the bytes that came: there is no
    /// second encoding of a body.
    pub fn sign_bytes(&self, chain_id: &ChainId) -> Vec<u8> {
        sign_bytes(chain_id, &self.by, &self.body)
    }
}

fn sign_bytes(chain_id: &ChainId, by: &Address, body: &StatementBody) -> Vec<u8> {
    let mut out = BytesMut::from(DOMAIN);
    build_delimited(&mut out, |w| {
        w.bytes(1, body.algorithm().name().as_bytes());
        w.bytes(2, chain_id.as_str().as_bytes());
        w.bytes(3, by.as_bytes());
        w.nested(4, |w| write_body(w, body));
    });
    out.into()
}
