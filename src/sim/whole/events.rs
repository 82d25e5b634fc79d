//! What happens in the world, what a node is told, and what it wants of the world.

use crate::consensus::{ReadMode, ReadTicket};
use crate::mempool::{BatchId, RequestId};
use crate::pipeline::CallId;
use crate::sim::{NodeNr, Packet, SlowPart};
use crate::types::abci::{CheckTxKind, InfoResponse, Request, Response};
use crate::types::{CandidateBlock, Channel, Height, Tx};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Bytes on their way over one connection.
#[derive(Debug, Clone)]
pub(super) struct Parcel {
    /// The number of the connection: what is left of one that ended is not delivered.
    pub(super) link: u64,
    pub(super) channel: Channel,
    pub(super) bytes: Bytes,
    /// Bytes its sender is told of when it left.
    pub(super) counted: u64,
}

/// Something that happens.
#[derive(Debug)]
pub(super) enum Event {
    /// The plan's fault with this number.
    Fault(usize),
    /// A cut ends.
    Mend(Vec<(NodeNr, NodeNr)>),
    /// From now on there are no faults.
    Heal,
    /// Whatever was left of the faults is over by now.
    Quiet,
    /// A node comes back.
    Start(NodeNr),
    /// A pause ends.
    Resume(NodeNr),
    /// One of two nodes calls the other.
    Dial(NodeNr, NodeNr),
    /// Bytes arrive.
    Arrive(Packet<Parcel>),
    /// A node of this life is told something.
    Tell { node: NodeNr, life: u32, fact: Fact },
    /// A node of this life connects to its application.
    DialApp { node: NodeNr, life: u32 },
    /// The application takes what it was asked, by number.
    AppWorks { node: NodeNr, life: u32, work: u64 },
    /// The application is back.
    AppBack(NodeNr),
    /// A signer signs again.
    SignerBack(NodeNr),
    /// An application no longer refuses every block.
    AppConsents(NodeNr),
    /// Something of a node is as fast again as it was.
    SpeedUp(NodeNr, SlowPart),
    /// Clients do something.
    Clients,
    /// A liar says what its replica does not.
    Lie(NodeNr),
}

/// What a node is told.
#[derive(Debug)]
pub(super) enum Fact {
    /// Some time it waited for may have come.
    Wake,
    LinkUp {
        peer: NodeNr,
        link: u64,
    },
    LinkDown {
        peer: NodeNr,
        link: u64,
    },
    /// What it gave a connection has left.
    Written {
        peer: NodeNr,
        link: u64,
        channel: Channel,
        bytes: u64,
    },
    Message {
        peer: NodeNr,
        link: u64,
        channel: Channel,
        bytes: Bytes,
    },
    AppUp {
        connection: u64,
        info: InfoResponse,
    },
    AppLost {
        why: String,
    },
    Answered {
        connection: u64,
        answer: AppAnswer,
    },
    /// A liar may say what nobody asked for.
    Lie,
    /// A liar may say what it kept back.
    Release,
    /// A client has a transaction.
    Submit {
        request: RequestId,
        tx: Bytes,
    },
    /// A client wants to read.
    Read {
        ticket: ReadTicket,
        mode: ReadMode,
    },
}

/// What the application is asked.
#[derive(Debug)]
pub(super) enum AppWork {
    Call(CallId, Request),
    Check(BatchId, CheckTxKind, Vec<Tx>),
}

/// What it answers.
#[derive(Debug)]
pub(super) enum AppAnswer {
    Call(CallId, Response),
    Check(BatchId, Vec<Response>),
}

/// What a node wants of the world.
#[derive(Debug)]
pub(super) enum Out {
    Send {
        to: NodeNr,
        link: u64,
        channel: Channel,
        bytes: Bytes,
        counted: u64,
    },
    /// A liar said something else instead: so many bytes left as far as its replica knows.
    Meant {
        to: NodeNr,
        link: u64,
        channel: Channel,
        bytes: u64,
    },
    /// End the connection to a peer.
    Drop {
        peer: NodeNr,
        link: u64,
    },
    Ask {
        connection: u64,
        work: AppWork,
    },
    /// Connect to the application anew.
    DialApp,
    /// It was seen to decide this.
    Decided(Arc<CandidateBlock>),
    Applied(Height),
    /// It cannot go on until people act, and says why.
    Halted(String),
    Published(Height),
    /// It waited so long for its disk or its signer. What it wants next comes after that.
    Stall(Duration),
    /// It says that a block, or its own application, has another hash than it should.
    HashesDiffer,
    /// A client's transaction was not taken.
    Refused,
}
