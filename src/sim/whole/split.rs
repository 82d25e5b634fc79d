//! Applications that compute different things at so many nodes that neither side can decide. The network may stand still.
//! It must not fork, which the checkers see to, and whoever reads what nodes say must learn why nothing goes on.

use super::world::World;
use crate::sim::{Harm, NodeNr, What};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long after healing such a network is watched: long enough that each proposer has had its turn.
const STANDS_FOR: Duration = Duration::from_secs(40);

/// Who differs, and who said so.
#[derive(Debug, Default)]
pub(super) struct Split {
    /// Those whose program is another, with the last height before it was.
    others: Vec<(NodeNr, u64)>,
    told: BTreeSet<NodeNr>,
}

impl Split {
    /// True when applications differ and nobody can say which is right.
    pub(super) fn is_under_way(&self) -> bool {
        !self.others.is_empty()
    }
}

/// True for words that name the hashes: those of a block that is refused, of a decided one, of the handshake.
pub(super) fn tells_hashes_apart(words: &str) -> bool {
    words.contains("AppHash") || words.contains("application's hash")
}

impl World {
    /// From the next block on these applications compute another hash than the others.
    pub(super) fn split(&mut self, one: NodeNr, more: &[NodeNr]) {
        self.watch.count("applications of many diverged");
        for node in self.plan.all() {
            self.see(node, What::Harmed { what: Harm::Programs });
        }
        for node in more.iter().copied().chain([one]) {
            let site = self.site(node);
            if !site.app.diverges() {
                site.app.diverge();
                let after = site.app.executed();
                self.split.others.push((node, after));
                self.see(node, What::Harmed { what: Harm::Program });
            }
        }
    }

    /// A node says so.
    pub(super) fn hashes_differ(&mut self, node: NodeNr) {
        if self.split.is_under_way() && self.split.told.insert(node) {
            self.watch.count("said that hashes differ, where nobody could decide");
        }
    }

    /// True when a network that cannot go on was watched for long enough.
    pub(super) fn has_stood_long_enough(&self) -> bool {
        self.split.is_under_way() && self.queue.now() > self.plan.heal_at.plus(STANDS_FOR)
    }

    /// The run is over. Where both programs executed a block and the network stands, somebody must have said why.
    pub(super) fn judge_split(&mut self) {
        let Split { others, told } = &self.split;
        let Some(since) = others.iter().map(|(_, after)| after + 1).max() else { return };
        let executed = |node: &NodeNr| self.sites[node.index()].applied.get() >= since;
        let differs = |node: &NodeNr| others.iter().any(|(other, _)| other == node);
        let (theirs, ours): (Vec<NodeNr>, Vec<NodeNr>) = self.plan.all().filter(executed).partition(differs);
        let stands = self.lowest() < self.target();
        if stands && !theirs.is_empty() && !ours.is_empty() && told.is_empty() && !self.watch.is_broken() {
            let why = format!("applications differ since height {since}, nothing goes on, and no node says why");
            self.watch.complain("divergence", self.queue.now(), ours[0], why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_refused_block_name_the_hashes() {
        assert!(tells_hashes_apart("wrong Block.Header.AppHash. Expected 00, got 01"));
        assert!(!tells_hashes_apart("wrong Block.Header.ChainID. Expected a, got b"));
    }
}
