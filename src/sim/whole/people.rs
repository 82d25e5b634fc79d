//! Who is who: the nodes, their names in the network and their keys.

use crate::crypto::PrivateKey;
use crate::sim::{Conduct, NodeNr, Plan};
use crate::types::{Address, NodeId};
use std::collections::BTreeMap;

/// All nodes.
#[derive(Debug)]
pub(super) struct People {
    ids: Vec<NodeId>,
    numbers: BTreeMap<NodeId, NodeNr>,
}

impl People {
    pub(super) fn new(plan: &Plan) -> People {
        let ids: Vec<NodeId> = plan.all().map(|nr| NodeId::new(Address::new([nr.0 + 1; 20]))).collect();
        let numbers = ids.iter().copied().zip(plan.all()).collect();
        People { ids, numbers }
    }

    /// Its name in the network.
    pub(super) fn id(&self, nr: NodeNr) -> NodeId {
        self.ids[nr.index()]
    }

    /// Whose name this is.
    pub(super) fn nr(&self, id: &NodeId) -> Option<NodeNr> {
        self.numbers.get(id).copied()
    }
}

/// The validator key of a node: a twin has that of another.
pub(super) fn key_of(plan: &Plan, nr: NodeNr) -> PrivateKey {
    let whose = match plan.nodes[nr.index()].conduct {
        Conduct::TwinOf(other) => other,
        Conduct::Honest | Conduct::Liar(_) => nr,
    };
    PrivateKey::from_seed(&[whose.0 + 1; 32])
}
