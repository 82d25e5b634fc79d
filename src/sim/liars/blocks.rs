//! Blocks: another one to each half, blocks that are not what their header says, parts that do not belong, commits with
//! holes.
//!
//! A proposal comes before its parts. A liar that means to propose another block says nothing until its core has given
//! it all parts; then each receiver gets one proposal and all the parts of its block.

use super::{Actor, Cx, Half, unsigned_proposal};
use crate::crypto::Hash;
use crate::sim::{Dice, Level, Lie, NodeNr};
use crate::types::{
    Address, Block, CandidateBlock, Commit, CommitSig, DirectMessage, ExtendedCommit, Height, MedianRule, Part,
    PartSet, Proposal, Round, Tx,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

impl Actor {
    pub(super) fn bend_block(
        &mut self,
        cx: &mut Cx<'_>,
        to: NodeNr,
        lie: Lie,
        word: DirectMessage,
    ) -> Vec<DirectMessage> {
        if !self.is_own(&word) {
            return vec![word];
        }
        let at = match &word {
            DirectMessage::Proposal { proposal, .. } => (proposal.height, proposal.round),
            DirectMessage::Part { height, round, .. } => (*height, *round),
            _ => return vec![word],
        };
        match lie {
            Lie::EquivocateProposals => self.swap(cx, to, at),
            _ if super::mix(&[cx.scene.plan.seed, at.0.get(), u64::from(at.1.get()), 3]) & 1 == 0 => {
                self.bend_parts(cx, word)
            }
            _ => self.propose_garbage(cx, at),
        }
    }

    /// The first half gets one of two valid blocks, the second half the other, other liars both.
    fn swap(&mut self, cx: &mut Cx<'_>, to: NodeNr, at: (Height, Round)) -> Vec<DirectMessage> {
        let Some((proposal, ours)) = self.own_block(at) else { return Vec::new() };
        let other = self.other_block_of(at, &ours, |dice, block| match cx.scene.plan.level {
            Level::Bare => variant(dice.below(4), block),
            Level::Whole => other_transactions(dice, block),
        });
        let mut pair = [ours, other];
        pair.sort_unstable_by_key(|block| (block.id().hash, block.id().parts.hash));
        cx.told("lie.equivocate_proposals");
        if !cx.scene.is_honest(to) {
            return pair.iter().flat_map(|block| self.present(cx, &proposal, block)).collect();
        }
        let [first, second] = pair;
        let block = if self.half(cx.scene, at.0, to) == Half::First { first } else { second };
        self.present(cx, &proposal, &block)
    }

    /// Everybody gets a block with its header and something else inside, or with a bent commit.
    fn propose_garbage(&mut self, cx: &mut Cx<'_>, at: (Height, Round)) -> Vec<DirectMessage> {
        let Some((proposal, ours)) = self.own_block(at) else { return Vec::new() };
        let garbage = self.other_block_of(at, &ours, |dice, block| garbage(dice.below(6), block));
        cx.told("lie.garbage_block");
        self.present(cx, &proposal, &garbage)
    }

    /// Our proposal there and its block, once all of it is known.
    pub(super) fn own_block(&self, at: (Height, Round)) -> Option<(Proposal, Arc<CandidateBlock>)> {
        let proposal = self.memory.own_proposal(at.0, at.1)?;
        Some((proposal.clone(), Arc::clone(self.memory.block(&proposal.block_id)?)))
    }

    /// The other block of this place, made once.
    pub(super) fn other_block_of(
        &mut self,
        at: (Height, Round),
        ours: &Arc<CandidateBlock>,
        make: impl FnOnce(&mut Dice, &Block) -> Block,
    ) -> Arc<CandidateBlock> {
        let known = self.memory.proposed(at.0, at.1);
        let other = known.iter().filter(|id| **id != ours.id()).find_map(|id| self.memory.block(id));
        if let Some(other) = other {
            return Arc::clone(other);
        }
        let other = Arc::new(CandidateBlock::new(make(&mut self.dice, ours.block())));
        self.memory.add_block(at, Arc::clone(&other));
        other
    }

    /// A proposal of this block, and its parts.
    pub(super) fn present(&self, cx: &Cx<'_>, proposal: &Proposal, block: &CandidateBlock) -> Vec<DirectMessage> {
        let (height, round) = (proposal.height, proposal.round);
        let mut unsigned = unsigned_proposal(proposal);
        if unsigned.block_id != block.id() {
            (unsigned.block_id, unsigned.pol_round) = (block.id(), None);
        }
        let proposal = DirectMessage::Proposal { by: self.own, proposal: cx.sign_proposal(unsigned) };
        let parts = block.parts().parts().map(|part| DirectMessage::Part { height, round, part: part.clone() });
        [proposal].into_iter().chain(parts).collect()
    }

    /// The proposal counts its parts wrongly, or parts are not those of the proposal.
    fn bend_parts(&mut self, cx: &mut Cx<'_>, word: DirectMessage) -> Vec<DirectMessage> {
        match word {
            DirectMessage::Proposal { by, proposal } => {
                if self.dice.chance(60) {
                    return vec![DirectMessage::Proposal { by, proposal }];
                }
                let mut unsigned = unsigned_proposal(&proposal);
                let totals = [0, 2, PartSet::PARTS_MAX, PartSet::PARTS_MAX + 1, u32::MAX];
                unsigned.block_id.parts.total = *self.dice.pick(&totals).unwrap_or(&0);
                cx.told("lie.wrong_total");
                vec![DirectMessage::Proposal { by, proposal: cx.sign_proposal(unsigned) }]
            }
            DirectMessage::Part { height, round, part } => {
                let (bent, name) = self.bend_part(&part);
                cx.told(name);
                let honest = DirectMessage::Part { height, round, part };
                let bent = DirectMessage::Part { height, round, part: bent };
                if self.dice.chance(50) { vec![bent, honest] } else { vec![bent] }
            }
            other => vec![other],
        }
    }

    fn bend_part(&mut self, part: &Part) -> (Part, &'static str) {
        let mut bent = part.clone();
        let name = match self.dice.below(5) {
            0 => {
                bent.bytes = flipped(&part.bytes);
                "lie.bad_part"
            }
            1 => {
                bent.index += 1;
                "lie.wrong_index_of_part"
            }
            2 => {
                bent.proof.index += 1;
                "lie.wrong_index_in_proof"
            }
            3 => {
                bent.proof.aunts.push(Hash::EMPTY);
                "lie.proof_too_deep"
            }
            _ => {
                bent.bytes = Bytes::new();
                "lie.empty_part"
            }
        };
        (bent, name)
    }

    /// A commit on its own, with a hole, with one signature twice, or of somebody else.
    pub(super) fn bend_commit(&mut self, cx: &mut Cx<'_>, word: DirectMessage) -> Vec<DirectMessage> {
        match word {
            DirectMessage::Commit(mut commit) => {
                let mut plain: Vec<CommitSig> = commit.signatures.iter().map(|entry| entry.sig.clone()).collect();
                bend_signatures(self.dice.below(4), &mut plain);
                for (entry, sig) in commit.signatures.iter_mut().zip(plain) {
                    entry.sig = sig;
                }
                cx.told("lie.bad_commit");
                vec![DirectMessage::Commit(commit)]
            }
            // In other protocols, and beside, commits are in blocks; not in those of level 1.
            DirectMessage::Proposal { .. } | DirectMessage::Part { .. }
                if self.is_own(&word) && cx.scene.plan.level == Level::Whole =>
            {
                let Some((at, (proposal, ours))) = super::place(&word).and_then(|at| Some((at, self.own_block(at)?)))
                else {
                    return Vec::new();
                };
                if ours.block().last_commit.is_none() {
                    return self.present(cx, &proposal, &ours);
                }
                let bent = self.other_block_of(at, &ours, |dice, block| garbage(4 + dice.below(2), block));
                cx.told("lie.bad_commit");
                self.present(cx, &proposal, &bent)
            }
            word => vec![word],
        }
    }

    /// A block whose proof of the block before holds the signatures it likes best, and not one more than it must.
    pub(super) fn favour(&mut self, cx: &mut Cx<'_>, word: DirectMessage) -> Vec<DirectMessage> {
        let proposes = matches!(word, DirectMessage::Proposal { .. } | DirectMessage::Part { .. });
        if !proposes || !self.is_own(&word) || cx.scene.plan.level != Level::Whole {
            return vec![word];
        }
        let Some(at) = super::place(&word) else { return vec![word] };
        let Some((proposal, ours)) = self.own_block(at) else { return Vec::new() };
        let own = self.own;
        let Some(favoured) = with_favourites(cx, own, ours.block()) else { return self.present(cx, &proposal, &ours) };
        let other = self.other_block_of(at, &ours, |_, _| favoured);
        cx.told("lie.favourites");
        self.present(cx, &proposal, &other)
    }

    /// The newest commit heard, bent.
    pub(super) fn bent_commit(&mut self) -> Option<ExtendedCommit> {
        let mut commit = self.memory.commit()?.clone();
        let last = commit.signatures.last_mut()?;
        last.sig = CommitSig::Absent;
        last.extension_signature = None;
        Some(commit)
    }
}

/// Some of the signatures are left out, more than two thirds of the power stay; its time follows from those. None where
/// nothing can be left out.
fn with_favourites(cx: &Cx<'_>, own: Address, block: &Block) -> Option<Block> {
    let mut other = block.clone();
    let commit = other.last_commit.as_mut()?;
    let power = |sig: &CommitSig| match sig {
        CommitSig::Commit(part) => {
            cx.validators.by_address(&part.validator_address).map_or(0, |(_, member)| member.power.get())
        }
        CommitSig::Nil(_) | CommitSig::Absent => 0,
    };
    let mut left: u64 = commit.signatures.iter().map(power).sum();
    let whole = cx.validators.total_power().get();
    for sig in commit.signatures.iter_mut().rev() {
        let ours = matches!(sig, CommitSig::Commit(part) if part.validator_address == own);
        let without = left.saturating_sub(power(sig));
        if !ours && u128::from(without) * 3 > u128::from(whole) * 2 {
            (*sig, left) = (CommitSig::Absent, without);
        }
    }
    other.header.time = commit.median_time(cx.validators, MedianRule::of(cx.scene.plan.algorithm)).ok()?;
    other.header.last_commit_hash = other.last_commit_hash();
    (other != *block).then_some(other)
}

fn flipped(bytes: &Bytes) -> Bytes {
    let mut bytes = bytes.to_vec();
    let at = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
    bytes.into()
}

/// A block that is as valid as this one, as far as can be seen from outside: another time, fewer transactions, another
/// order, one more.
fn variant(which: u64, block: &Block) -> Block {
    let mut other = block.clone();
    // Level 1 hashes the last transaction only; so that stays where it is.
    let movable = other.txs.len().saturating_sub(1);
    match which {
        0 if movable > 0 => {
            other.txs.remove(0);
        }
        1 if movable > 1 => other.txs[..movable].reverse(),
        2 if movable > 0 => other.txs.insert(0, Tx::new(Bytes::from_static(b"liar=1"))),
        _ => other.header.time = other.header.time.plus(Duration::from_millis(1)),
    }
    if block.header.data_hash == block.data_hash() {
        other.header.data_hash = other.data_hash();
    }
    other
}

/// A block that an application accepts as well: one transaction less, another order, one of the liar's own. Its time
/// follows from the block before.
fn other_transactions(dice: &mut Dice, block: &Block) -> Block {
    let mut other = block.clone();
    match dice.below(3) {
        0 if !other.txs.is_empty() => drop(other.txs.pop()),
        1 if other.txs.len() > 1 => other.txs.reverse(),
        // Numbers no client has come to.
        _ => other.txs.push(Tx::new(format!("{}=liar", 1_000_000 + dice.below(1_000_000)))),
    }
    other.header.data_hash = other.data_hash();
    other
}

/// A block that nobody may accept.
fn garbage(which: u64, block: &Block) -> Block {
    let mut other = block.clone();
    match which {
        // Its header, with something else inside.
        0 => other.txs.push(Tx::new(Bytes::from_static(b"garbage"))),
        1 => other.txs.clear(),
        2 => other.header.app_hash = Bytes::from_static(b"another state"),
        3 => other.header.height = other.header.height.next(),
        which => match other.last_commit.as_mut() {
            Some(commit) => bend_last_commit(which, commit),
            None => other.header.last_block_id = None,
        },
    }
    if which >= 4 {
        other.header.last_commit_hash = other.last_commit_hash();
    }
    if other == *block {
        other.header.app_hash = Bytes::from_static(b"another state");
    }
    other
}

fn bend_last_commit(which: u64, commit: &mut Commit) {
    bend_signatures(which, &mut commit.signatures);
}

/// Holes, duplicates, an end too early.
fn bend_signatures(which: u64, signatures: &mut Vec<CommitSig>) {
    match which % 4 {
        0 => signatures.iter_mut().skip(1).for_each(|sig| *sig = CommitSig::Absent),
        1 => {
            if let Some(first) = signatures.first().cloned() {
                signatures.iter_mut().for_each(|sig| *sig = first.clone());
            }
        }
        2 => signatures.reverse(),
        _ => {
            signatures.pop();
        }
    }
}
