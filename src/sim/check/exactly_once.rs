//! What clients may rely on: a transaction is in one block at most, an acknowledged one is in the block it was said to be
//! in, and a linearizable read knows everything anybody was told before it was asked.

use super::book::{PerHeight, PerNode};
use crate::sim::{Checker, Level, Scene, Seen, What, tx_number};
use crate::types::Height;
use std::collections::{BTreeMap, BTreeSet};

/// What clients were told.
#[derive(Debug, Default)]
pub struct ExactlyOnce {
    /// Heights whose block is known.
    decided: PerHeight<Decided>,
    /// Where each transaction is.
    placed: BTreeMap<u64, Height>,
    applied: PerNode<Height>,
    /// Reads under way: what they must know at least.
    reads: BTreeMap<u64, Height>,
    /// The highest height any client was told about.
    told: Height,
}

/// Whether a height's block was looked into.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Decided {
    #[default]
    No,
    Yes,
}

impl Checker for ExactlyOnce {
    fn name(&self) -> &'static str {
        "exactly_once"
    }

    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String> {
        match seen.what {
            What::Decided { block, commit } if scene.is_honest(seen.node) => {
                let Some(decided) = self.decided.of(scene, commit.height) else { return Ok(()) };
                if *decided == Decided::Yes {
                    return Ok(());
                }
                *decided = Decided::Yes;
                // Alone, machines have no application that refuses what a liar proposes again.
                let proposer = &block.block().header.proposer_address;
                let free = scene.plan.level == Level::Bare && !scene.is_honest_address(proposer);
                let mut within = BTreeSet::new();
                let numbers = block.block().txs.iter().filter_map(|tx| tx_number(tx.bytes()));
                for tx in numbers {
                    let before = *self.placed.entry(tx).or_insert(commit.height);
                    let twice = before < commit.height || !within.insert(tx);
                    if twice && !free {
                        return Err(format!("transaction {tx} is in block {before} and in block {}", commit.height));
                    }
                }
            }
            What::Applied { height, .. } if scene.is_honest(seen.node) => {
                let applied = self.applied.of(seen.node);
                *applied = height.max(*applied);
            }
            What::Acknowledged { tx, height } if scene.is_honest(seen.node) => {
                self.told = self.told.max(height);
                if self.placed.get(&tx) != Some(&height) {
                    let place = self.placed.get(&tx);
                    return Err(format!("transaction {tx} was acknowledged at height {height}, and is at {place:?}"));
                }
            }
            What::ReadAsked { read } => {
                self.reads.insert(read, self.told);
            }
            What::ReadAnswered { read, height } if scene.is_honest(seen.node) => self.answer(seen, read, height)?,
            _ => {}
        }
        Ok(())
    }
}

impl ExactlyOnce {
    fn answer(&mut self, seen: &Seen<'_>, read: u64, height: Height) -> Result<(), String> {
        let Some(least) = self.reads.remove(&read) else {
            return Err(format!("read {read} was answered, and nobody asked it"));
        };
        if height < least {
            return Err(format!("read {read} was answered from height {height}; {least} was known when it was asked"));
        }
        if *self.applied.of(seen.node) < height {
            return Err(format!("read {read} was answered from height {height}, which was not executed there"));
        }
        self.told = self.told.max(height);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::check::story::{Stage, block_of, commit};
    use crate::types::{Address, Algorithm};

    fn stage() -> Stage<ExactlyOnce> {
        Stage::of(Algorithm::Raft, 3, ExactlyOnce::default())
    }

    fn decide(stage: &mut Stage<ExactlyOnce>, node: u8, height: u64, txs: &[&str]) -> Result<(), String> {
        let decided = block_of(height, "a", None, Address::new([1; 20]), txs);
        let commit = commit(&stage.scene, height, 0, decided.id(), &[0, 1]);
        stage.see(node, What::Decided { block: &decided, commit: &commit })?;
        stage.try_apply(node, height, decided.id(), "state")
    }

    #[test]
    fn two_transactions_once_each_acknowledged_where_they_are_and_read_by_all_are_fine() {
        let mut stage = stage();
        for node in 0..3 {
            assert_eq!(decide(&mut stage, node, 1, &["1=x", "2=y", "power=3"]), Ok(()));
            assert_eq!(decide(&mut stage, node, 2, &["3=x", "power=3"]), Ok(()));
        }
        stage.fine(0, What::Acknowledged { tx: 2, height: Height::new(1) });
        stage.fine(1, What::ReadAsked { read: 9 });
        stage.fine(2, What::ReadAnswered { read: 9, height: Height::new(2) });
    }

    #[test]
    fn a_transaction_in_two_blocks_and_twice_in_one_are_caught() {
        let mut stage = stage();
        assert_eq!(decide(&mut stage, 0, 1, &["1=x"]), Ok(()));
        assert!(decide(&mut stage, 0, 2, &["1=x"]).is_err());
        assert!(decide(&mut stage, 0, 3, &["4=x", "4=x"]).is_err());
    }

    #[test]
    fn an_acknowledgement_of_what_is_elsewhere_or_nowhere_is_caught() {
        let mut stage = stage();
        assert_eq!(decide(&mut stage, 0, 1, &["1=x"]), Ok(()));
        stage.wrong(0, What::Acknowledged { tx: 1, height: Height::new(2) });
        stage.wrong(0, What::Acknowledged { tx: 5, height: Height::new(1) });
    }

    #[test]
    fn a_read_that_does_not_know_what_was_acknowledged_or_read_before_it_is_caught() {
        let mut stage = stage();
        for height in 1..4 {
            assert_eq!(decide(&mut stage, 0, height, &[]), Ok(()));
        }
        assert_eq!(decide(&mut stage, 1, 1, &[]), Ok(()));
        stage.fine(1, What::ReadAsked { read: 1 });
        stage.fine(0, What::ReadAsked { read: 2 });
        stage.fine(0, What::ReadAnswered { read: 2, height: Height::new(3) });
        stage.fine(1, What::ReadAnswered { read: 1, height: Height::new(1) });
        stage.fine(1, What::ReadAsked { read: 3 });
        assert!(stage.wrong(1, What::ReadAnswered { read: 3, height: Height::new(1) }).contains("3 was known"));
    }

    #[test]
    fn an_answer_from_a_state_the_node_has_not_and_one_nobody_asked_for_are_caught() {
        let mut stage = stage();
        assert_eq!(decide(&mut stage, 0, 1, &[]), Ok(()));
        stage.fine(1, What::ReadAsked { read: 1 });
        assert!(stage.wrong(1, What::ReadAnswered { read: 1, height: Height::new(1) }).contains("not executed"));
        assert!(stage.wrong(0, What::ReadAnswered { read: 1, height: Height::new(1) }).contains("nobody asked"));
    }
}
