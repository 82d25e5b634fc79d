//! Why nodes do not form a network: who, what, and the exact remedy.

use super::address::NodeAddress;
use super::memory::MemoryError;
use super::statement::Statement;
use crate::types::{Algorithm, ChainId};

/// Another node does not fit to this one. At most three lines each: what, why, the next command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its list of nodes is another.
    #[error("{}", other_list(theirs, ours))]
    OtherList {
        /// What it says.
        theirs: Box<Statement>,
        /// What this node says.
        ours: Box<Statement>,
    },
    /// It was started under another protocol.
    #[error(
        "{} at {} was started with --algorithm {}, this node with {ours}: all nodes of a network run one protocol\n  \
         next: start one of the two again with the other's --algorithm", theirs.name, theirs.address, theirs.algorithm
    )]
    OtherAlgorithm {
        /// What it says.
        theirs: Box<Statement>,
        /// This node's.
        ours: Algorithm,
    },
    /// The node that answers has another address in its own list.
    #[error(
        "the node that answers at {called} says it is at {says}: the nodes would count it twice\n  next: name it by {says} \
         in every --peers, or start it with --host and --port as the others name it"
    )]
    OtherAddress {
        /// Where it was called.
        called: NodeAddress,
        /// Where it says it is.
        says: NodeAddress,
    },
    /// Two nodes share what must be one's own.
    #[error("{}", twins(one, other))]
    Twins {
        /// One.
        one: Box<Statement>,
        /// The other.
        other: Box<Statement>,
    },
    /// Its home is not the one that took part in the agreement.
    #[error(
        "{} at {} has other keys than the node all agreed with: its home was removed since\n  why: the others keep to \
         the genesis that names the old keys\n  next: put its home back; or stop all nodes, remove all their homes, and \
         start them again", .0.name, .0.address
    )]
    Changed(Box<Statement>),
    /// It promised another genesis.
    #[error(
        "{} at {} agreed on another genesis than this node: a node's home was removed while they agreed\n  next: stop all \
         nodes, remove all their homes, and start them again", .0.name, .0.address
    )]
    OtherGenesis(Box<Statement>),
    /// It runs a chain this home knows nothing of.
    #[error(
        "the node at {who} runs chain {chain} already, which this home has not agreed to\n  why: it is another network, or \
         this node's home was removed since\n  next: correct --peers, or put this node's home back; or stop all nodes, \
         remove all their homes, and start them again"
    )]
    RunsAnother {
        /// Where.
        who: NodeAddress,
        /// What.
        chain: ChainId,
    },
    /// Not a node of this form.
    #[error("at {who} there is no node of a development network: {why}\n  next: correct --peers, or start the node there with --port {}", who.port())]
    SomethingElse {
        /// Where.
        who: NodeAddress,
        /// What was seen.
        why: String,
    },
}

/// Why forming ended without a network.
#[derive(Debug, thiserror::Error)]
pub enum FormingError {
    /// Another node does not fit.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The promise cannot be written.
    #[error("{0}")]
    Memory(#[from] MemoryError),
    /// The door for questions broke.
    #[error("cannot answer the other nodes: {0}\n  next: start this node again")]
    Door(std::io::Error),
}

impl Refusal {
    /// Whom it is about: it should hear of it, too.
    pub(super) fn about(&self) -> &NodeAddress {
        match self {
            Refusal::OtherList { theirs, .. } | Refusal::OtherAlgorithm { theirs, .. } => &theirs.address,
            Refusal::OtherAddress { called, .. } => called,
            Refusal::Twins { other, .. } => &other.address,
            Refusal::Changed(theirs) | Refusal::OtherGenesis(theirs) => &theirs.address,
            Refusal::RunsAnother { who, .. } | Refusal::SomethingElse { who, .. } => who,
        }
    }
}

/// Who is right is not known: whoever lacks somebody the other names is told what to start with.
fn other_list(theirs: &Statement, ours: &Statement) -> String {
    let all = theirs.members.union(&ours.members);
    let start =
        |node: &Statement, who: &str| (node.members != all).then(|| format!("{who} with {}", all.flags(&node.address)));
    let remedies: Vec<_> =
        [start(theirs, &format!("{} again", theirs.name)), start(ours, "this node")].into_iter().flatten().collect();
    format!(
        "{} at {} was given another list of nodes than this one: every node must name all the others\n  why: it lists {}; \
         this node lists {}\n  next: start {}",
        theirs.name,
        theirs.address,
        theirs.members,
        ours.members,
        remedies.join(", and ")
    )
}

fn twins(one: &Statement, other: &Statement) -> String {
    let (a, b) = (&one.address, &other.address);
    if one.node_id == other.node_id || one.validator == other.validator {
        return format!(
            "the nodes at {a} and {b} have the same keys: one home was copied from the other, and a key must sign in one \
             place only\n  next: remove the copied home, and start that node again"
        );
    }
    format!("the nodes at {a} and {b} are both called {}\n  next: start one of them with another --node-id", one.name)
}
