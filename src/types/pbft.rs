//! What PBFT's replicas state to each other beside votes (Castro and Liskov, OSDI '99).

use super::{BlockId, ExtendedCommit, Height, Proposal, Round, Statement, Vote};

/// A proof that more than two thirds PREPAREd a block (§4.2, the predicate *prepared*).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedCertificate {
    /// Height of the block.
    pub height: Height,
    /// View it prepared in.
    pub view: Round,
    /// The block.
    pub block_id: BlockId,
    /// PREPAREs (canonical prevotes) of more than two thirds for it.
    pub prepares: Vec<Vote>,
}

/// A statement of a PBFT replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PbftStatement {
    /// VIEW-CHANGE (§4.4): I have left all views below `view`.
    ViewChange {
        /// The view asked for.
        view: Round,
        /// Height to decide. The stable checkpoint is the height before, proved by `checkpoint`.
        height: Height,
        /// The commit of the height before; none at the initial height.
        checkpoint: Option<ExtendedCommit>,
        /// What prepared here at `height`, in the highest view.
        prepared: Option<PreparedCertificate>,
    },
    /// NEW-VIEW (§4.4), by the view's primary: the VIEW-CHANGEs that justify it and what follows from them.
    NewView {
        /// The view.
        view: Round,
        /// Height to decide: the highest of the VIEW-CHANGEs'.
        height: Height,
        /// Statements with [`PbftStatement::ViewChange`], of more than two thirds.
        view_changes: Vec<Statement>,
        /// The block that must be proposed again; none leaves the primary free. Every backup computes it anew.
        chosen: Option<BlockId>,
    },
    /// Where I stand (Castro's thesis §5.2): peers send what is missing.
    Status {
        /// The view.
        view: Round,
        /// Height to decide.
        height: Height,
        /// True when the NEW-VIEW of `view` is here (or none is needed).
        active: bool,
        /// The proposal of this view, if it is here with all its parts.
        proposal: Option<Box<Proposal>>,
    },
}

impl PbftStatement {
    /// The height whoever states it is to decide.
    pub fn height(&self) -> Height {
        match self {
            PbftStatement::ViewChange { height, .. }
            | PbftStatement::NewView { height, .. }
            | PbftStatement::Status { height, .. } => *height,
        }
    }

    /// The view whoever states it is in.
    pub fn view(&self) -> Round {
        match self {
            PbftStatement::ViewChange { view, .. }
            | PbftStatement::NewView { view, .. }
            | PbftStatement::Status { view, .. } => *view,
        }
    }
}
