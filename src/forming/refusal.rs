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
    /// This node is alone with its list or protocol; several others agree.
    #[error("{}", outvoted(theirs, ours))]
    Outvoted {
        /// Those who agree with each other.
        theirs: Vec<Statement>,
        /// What this node says.
        ours: Box<Statement>,
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
    #[error("{}", runs_another(who, chain, *validators))]
    RunsAnother {
        /// Where.
        who: NodeAddress,
        /// What.
        chain: ChainId,
        /// How many nodes agreed to it.
        validators: usize,
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
    /// Whom it is about: they should hear of it, too.
    pub(super) fn about(&self) -> Vec<&NodeAddress> {
        match self {
            Refusal::OtherList { theirs, .. } | Refusal::OtherAlgorithm { theirs, .. } => vec![&theirs.address],
            Refusal::Outvoted { theirs, .. } => theirs.iter().map(|one| &one.address).collect(),
            Refusal::OtherAddress { called, .. } => vec![called],
            Refusal::Twins { other, .. } => vec![&other.address],
            Refusal::Changed(theirs) | Refusal::OtherGenesis(theirs) => vec![&theirs.address],
            Refusal::RunsAnother { who, .. } | Refusal::SomethingElse { who, .. } => vec![who],
        }
    }

    /// What the other said, where its list or its protocol is another.
    pub(super) fn line(&self) -> Option<&Statement> {
        match self {
            Refusal::OtherList { theirs, .. } | Refusal::OtherAlgorithm { theirs, .. } => Some(theirs),
            _ => None,
        }
    }

    /// What the second of two twins said.
    pub(super) fn twin(&self) -> Option<&Statement> {
        match self {
            Refusal::Twins { other, .. } => Some(other),
            _ => None,
        }
    }

    /// True when the first of two twins is at this address.
    pub(super) fn is_twin_of(&self, first: &NodeAddress) -> bool {
        matches!(self, Refusal::Twins { one, .. } if one.address == *first)
    }

    /// In a few words, behind its address.
    pub(super) fn briefly(&self) -> String {
        match self {
            Refusal::OtherList { theirs, .. } => format!("{} lists other nodes", theirs.name),
            Refusal::OtherAlgorithm { theirs, .. } => format!("{} has --algorithm {}", theirs.name, theirs.algorithm),
            Refusal::Outvoted { .. } => "it is outvoted".to_owned(),
            Refusal::OtherAddress { says, .. } => format!("it says it is at {says}"),
            Refusal::Twins { one, .. } => format!("it cannot be told from the node at {}", one.address),
            Refusal::Changed(theirs) | Refusal::OtherGenesis(theirs) => format!("{} agreed otherwise", theirs.name),
            Refusal::RunsAnother { chain, .. } => format!("it runs chain {chain} already"),
            Refusal::SomethingElse { why, .. } => why.clone(),
        }
    }
}

/// Others agree, so what this node is to be started with is known.
fn outvoted(theirs: &[Statement], ours: &Statement) -> String {
    let Some(first) = theirs.first() else { return "the other nodes agree on another line".to_owned() };
    let who = theirs.iter().map(|one| format!("{} at {}", one.name, one.address)).collect::<Vec<_>>().join(" and ");
    if first.members == ours.members {
        return format!(
            "this node was started with --algorithm {}, but {who} with {}: all nodes of a network run one protocol\n  \
             next: start this node with --algorithm {}",
            ours.algorithm, first.algorithm, first.algorithm
        );
    }
    let algorithm = match first.algorithm {
        same if same == ours.algorithm => String::new(),
        other => format!(" --algorithm {other}"),
    };
    let next = if first.members.all().contains(&ours.address) {
        format!("start this node with {}{algorithm}", first.members.flags(&ours.address))
    } else {
        let heard = |address: &&NodeAddress| theirs.iter().any(|one| one.address == **address);
        let free: Vec<_> =
            first.members.all().iter().filter(|address| !heard(address)).map(|a| a.to_string()).collect();
        format!(
            "they name no node at {}: start this node where they miss one ({}), or them with --peers {} too",
            ours.address,
            free.join(", "),
            ours.address
        )
    };
    format!(
        "this node was given another list of nodes than {who}, who agree: every node must name all the others\n  why: \
         they list {}; this node lists {}\n  next: {next}",
        first.members, ours.members
    )
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

fn runs_another(who: &NodeAddress, chain: &ChainId, validators: usize) -> String {
    let what = format!("the node at {who} runs chain {chain} already, which this home has not agreed to");
    if validators == 1 {
        return format!(
            "{what}\n  why: it is alone on that chain, as a node that was started without --peers\n  next: correct --peers \
             here; or stop that node, remove its home, and start it with --peers for all the others"
        );
    }
    format!(
        "{what}\n  why: it is another network, or this node's home was removed since\n  next: correct --peers, or put this \
         node's home back; or stop all nodes, remove all their homes, and start them again"
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
