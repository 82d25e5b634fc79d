//! Linearizable reads, from the client to the replica and on to the application.

use super::app_link::AnyApp;
use super::driver::{Command, Driver};
use super::handle::{Handle, STOPPING};
use super::{NodeError, driver};
use crate::consensus::{ReadMode, ReadTicket};
use crate::ports::{App as _, AppError, Connection, ReadError, ReadGuarantee};
use crate::replica::{Input, READ_PATIENCE};
use crate::types::Height;
use crate::types::abci::{Request, Response};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// The application that has applied everything the read must see, or why there is none.
pub(super) type ReadReply = Result<AnyApp, String>;

/// Clients that wait for leave to read.
pub(super) type Readers = BTreeMap<ReadTicket, oneshot::Sender<ReadReply>>;

impl Handle {
    /// Asks the application once it has everything that was decided before this call. It is asked on the connection
    /// that is in step with the chain: one that replaced it meanwhile may still be catching up.
    pub(super) async fn read_consistently(
        &self,
        request: Request,
        guarantee: ReadGuarantee,
    ) -> Result<Response, ReadError> {
        let mode = match guarantee {
            ReadGuarantee::Linearizable => ReadMode::Confirmed,
            ReadGuarantee::Leased => ReadMode::Leased,
        };
        let leave = tokio::time::timeout(READ_PATIENCE, self.ask_driver(|reply| Command::Read { mode, reply })).await;
        let app = match leave {
            Ok(Some(leave)) => leave.map_err(ReadError::Refused)?,
            Ok(None) => return Err(ReadError::Refused(STOPPING.to_owned())),
            Err(_) => return Err(ReadError::Refused(nobody_confirmed())),
        };
        let method = request.method();
        let gone =
            || AppError::Gone { connection: Connection::Query, method, height: None, why: "no answer".to_owned() };
        let answers = app.call(Connection::Query, vec![request]).await?;
        Ok(answers.into_iter().next().ok_or_else(gone)?)
    }
}

fn nobody_confirmed() -> String {
    format!(
        "nobody confirmed within {} s what was decided last: see quorate why, or read with consistency=local",
        READ_PATIENCE.as_secs()
    )
}

impl Driver {
    /// A client wants to read.
    pub(super) fn begin_read(&mut self, mode: ReadMode, reply: oneshot::Sender<ReadReply>) -> Result<(), NodeError> {
        let ticket = ReadTicket(self.inner.waiting.next_id());
        self.inner.waiting.reads.insert(ticket, reply);
        self.step(Input::Read { ticket, mode })
    }

    /// The replica says whether it may.
    pub(super) fn end_read(&mut self, ticket: ReadTicket, outcome: Result<Height, String>) {
        let Some(reply) = self.inner.waiting.reads.remove(&ticket) else { return };
        let app = |pumps: &driver::Pumps| pumps.app.clone();
        let away = || "the application is away".to_owned();
        let _ = reply.send(outcome.and_then(|_| self.inner.pumps.as_ref().map(app).ok_or_else(away)));
    }
}
