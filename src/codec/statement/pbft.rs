//! PBFT's statements. A NEW-VIEW holds VIEW-CHANGEs and a VIEW-CHANGE holds no statements, so that is as deep as a
//! message goes, whatever a peer writes.

use super::{Entries, read_commit};
use crate::codec::DecodeError;
use crate::codec::protobuf::{Fields, Message, Writer};
use crate::types::{PbftStatement, PreparedCertificate, Statement, StatementBody, Vote};

impl Message for PbftStatement {
    const NAME: &'static str = "PbftStatement";

    fn write(&self, w: &mut Writer<'_>) {
        match self {
            PbftStatement::ViewChange { view, height, checkpoint, prepared } => w.nested(1, |w| {
                w.int(1, view.as_i32().into());
                w.int(2, height.as_i64());
                if let Some(commit) = checkpoint {
                    w.message(3, commit);
                }
                if let Some(certificate) = prepared {
                    w.message(4, certificate);
                }
            }),
            PbftStatement::NewView { view, height, view_changes, chosen } => w.nested(2, |w| {
                w.int(1, view.as_i32().into());
                w.int(2, height.as_i64());
                view_changes.iter().for_each(|statement| w.message(3, statement));
                if let Some(block_id) = chosen {
                    w.message(4, block_id);
                }
            }),
            PbftStatement::Status { view, height, active, proposal } => w.nested(3, |w| {
                w.int(1, view.as_i32().into());
                w.int(2, height.as_i64());
                w.flag(3, *active);
                if let Some(proposal) = proposal {
                    w.message(4, &**proposal);
                }
            }),
        }
    }

    fn read(m: &Fields<'_>) -> Result<PbftStatement, DecodeError> {
        read(m, &Entries::allowed())
    }
}

/// Reads a statement of any kind.
pub(super) fn read(m: &Fields<'_>, entries: &Entries) -> Result<PbftStatement, DecodeError> {
    match m.oneof(1..=3) {
        Some(1) => m.member(1, "view_change", |m| read_view_change(m, entries)),
        Some(2) => m.member(2, "new_view", |m| read_new_view(m, entries)),
        Some(3) => m.member(3, "status", |m| {
            let (view, height) = (m.round(1, "view")?, m.number(2, "height")?);
            let (active, proposal) = (m.flag(3, "active")?, m.optional(4, "proposal")?);
            Ok(PbftStatement::Status { view, height, active, proposal: proposal.map(Box::new) })
        }),
        _ => Err(DecodeError::new("is empty or of an unknown kind")),
    }
}

fn read_view_change(m: &Fields<'_>, entries: &Entries) -> Result<PbftStatement, DecodeError> {
    Ok(PbftStatement::ViewChange {
        view: m.round(1, "view")?,
        height: m.number(2, "height")?,
        checkpoint: m.nested(3, "checkpoint", |m| read_commit(m, entries))?,
        prepared: m.nested(4, "prepared", |m| read_prepared(m, entries))?,
    })
}

fn read_new_view(m: &Fields<'_>, entries: &Entries) -> Result<PbftStatement, DecodeError> {
    entries.take(m, 3, "view_changes")?;
    Ok(PbftStatement::NewView {
        view: m.round(1, "view")?,
        height: m.number(2, "height")?,
        view_changes: m.repeated(3, "view_changes", |m| read_inner(m, entries))?,
        chosen: m.optional(4, "chosen")?,
    })
}

/// A statement within a NEW-VIEW: nothing but a VIEW-CHANGE.
fn read_inner(m: &Fields<'_>, entries: &Entries) -> Result<Statement, DecodeError> {
    let read = |m: &Fields<'_>| match m.oneof(1..=3) {
        Some(1) => m.member(1, "view_change", |m| read_view_change(m, entries)),
        _ => Err(DecodeError::new("is not a VIEW-CHANGE")),
    };
    let body = StatementBody::Pbft(Box::new(m.member(3, "pbft", read)?));
    Ok(Statement { by: m.exact(1, "by")?, body, signature: m.exact(4, "signature")? })
}

impl Message for PreparedCertificate {
    const NAME: &'static str = "PreparedCertificate";

    fn write(&self, w: &mut Writer<'_>) {
        w.int(1, self.height.as_i64());
        w.int(2, self.view.as_i32().into());
        w.message(3, &self.block_id);
        self.prepares.iter().for_each(|vote| w.message(4, vote));
    }

    fn read(m: &Fields<'_>) -> Result<PreparedCertificate, DecodeError> {
        read_prepared(m, &Entries::allowed())
    }
}

fn read_prepared(m: &Fields<'_>, entries: &Entries) -> Result<PreparedCertificate, DecodeError> {
    entries.take(m, 4, "prepares")?;
    Ok(PreparedCertificate {
        height: m.number(1, "height")?,
        view: m.round(2, "view")?,
        block_id: m.block_id(3, "block_id")?,
        prepares: m.repeated(4, "prepares", Vote::read)?,
    })
}
