//! Statements on their way through the signer.

use super::Raft;
use crate::consensus::{Direct, Effect, Effects, Reaction};
use crate::crypto::Verified;
use crate::types::{NodeId, RaftStatement, SignRequest, Statement, StatementBody, UnsignedStatement};
use std::collections::VecDeque;

/// Statements to single peers that may wait for their signature; the oldest go when there are more.
const OUTBOX_MAX: usize = 256;

/// To whom.
#[derive(Debug, Clone, Copy)]
pub(super) enum To {
    /// All connected peers.
    All,
    /// One.
    Peer(NodeId),
}

/// What was said to single peers and waits for its signature.
#[derive(Debug, Clone, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<(RaftStatement, NodeId)>,
}

impl Outbox {
    /// How many words wait for their signature.
    pub(super) fn count(&self) -> usize {
        self.waiting.len()
    }

    fn push(&mut self, body: RaftStatement, peer: NodeId) {
        if self.waiting.len() >= OUTBOX_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back((body, peer));
    }

    fn take(&mut self, body: &RaftStatement) -> Option<NodeId> {
        let at = self.waiting.iter().position(|(waiting, _)| waiting == body)?;
        self.waiting.remove(at).map(|(_, peer)| peer)
    }

    /// A peer is gone.
    pub(super) fn forget(&mut self, peer: NodeId) {
        self.waiting.retain(|(_, to)| *to != peer);
    }
}

impl Raft {
    /// Has a statement signed; it leaves when it is. One without a key says nothing.
    pub(super) fn say(&mut self, to: To, body: RaftStatement, out: &mut Effects<Raft>) {
        let Some(by) = self.current.start.own else { return };
        if let To::Peer(peer) = to {
            self.outbox.push(body.clone(), peer);
        }
        out.push(Effect::Sign(SignRequest::Statement(UnsignedStatement { by, body: StatementBody::Raft(body) })));
    }

    /// Our statement is signed.
    pub(super) fn on_own_statement(&mut self, statement: Statement, out: &mut Effects<Raft>) -> Reaction {
        let StatementBody::Raft(body) = &statement.body else {
            return Reaction::Ignored("a statement nobody asked for");
        };
        let to = match body {
            RaftStatement::RequestVote { .. } | RaftStatement::Heartbeat { .. } => To::All,
            RaftStatement::Ballot { .. }
            | RaftStatement::Following { .. }
            | RaftStatement::TimeoutNow { .. }
            | RaftStatement::ReadIndex { .. }
            | RaftStatement::ReadAt { .. } => match self.outbox.take(body) {
                Some(peer) => To::Peer(peer),
                None => return Reaction::Ignored("a statement nobody waits for"),
            },
        };
        let message = Direct::Statement(Verified::trusted(statement));
        out.push(match to {
            To::All => Effect::Broadcast(message),
            To::Peer(peer) => Effect::Send(peer, message),
        });
        Reaction::Accepted
    }
}
