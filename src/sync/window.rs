//! The blocks between ours and theirs: what is here, what is asked for, what is wanted.

use super::Elapsed;
use crate::types::{BlockId, CandidateBlock, Commit, CommitSig, ExtendedCommit, ExtendedCommitSig, Height, NodeId, Tx};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A fetched block.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) from: NodeId,
    pub(super) block: Arc<CandidateBlock>,
    pub(super) extended: Option<Arc<ExtendedCommit>>,
    pub(super) proof: Proof,
    bytes: u64,
}

/// Whether a block is known to be the chain's.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    /// Not looked at.
    None,
    /// Being looked at.
    Sought,
    /// More than two thirds of its validators signed it.
    Found(Arc<Commit>),
}

impl Held {
    pub(super) fn new(from: NodeId, block: Arc<CandidateBlock>, extended: Option<Arc<ExtendedCommit>>) -> Held {
        let bytes = memory(&block, extended.as_deref());
        Held { from, block, extended, proof: Proof::None, bytes }
    }

    pub(super) fn is_proven(&self) -> bool {
        matches!(self.proof, Proof::Found(_))
    }
}

/// Bytes a block takes here: encoded and as values, which for small transactions is more.
fn memory(block: &CandidateBlock, extended: Option<&ExtendedCommit>) -> u64 {
    let inner = block.block();
    let signatures = inner.last_commit.as_ref().map_or(0, |commit| commit.signatures.len());
    let extensions = extended.map_or(0, |commit| {
        let entry = |entry: &ExtendedCommitSig| size_of::<ExtendedCommitSig>() + entry.extension.len();
        commit.signatures.iter().map(entry).sum::<usize>()
    });
    let values = inner.txs.len() * size_of::<Tx>() + signatures * size_of::<CommitSig>() + extensions;
    block.parts().byte_size() + values as u64
}

/// The window. It begins at the block after the last applied one.
///
/// Every height from `next` to below `fresh` is held, asked for, or wanted.
#[derive(Debug)]
pub(super) struct Window {
    next: Height,
    held: BTreeMap<Height, Held>,
    held_bytes: u64,
    /// Who is asked now for what is not held, oldest first.
    asked: BTreeMap<Height, Vec<(NodeId, Elapsed)>>,
    /// Asked for before and to be asked for again.
    wanted: BTreeSet<Height>,
    /// The lowest height never asked for.
    fresh: Height,
    /// The size of blocks lately: the largest, slowly forgotten. Begins at the largest the chain allows.
    typical: u64,
    /// Bytes that may be kept.
    room: u64,
}

impl Window {
    pub(super) fn new(next: Height, block_bytes_max: u64, room: u64) -> Window {
        Window {
            next,
            held: BTreeMap::new(),
            held_bytes: 0,
            asked: BTreeMap::new(),
            wanted: BTreeSet::new(),
            fresh: next,
            typical: block_bytes_max,
            room,
        }
    }

    /// The block after the last applied one.
    pub(super) fn next(&self) -> Height {
        self.next
    }

    pub(super) fn held(&self, height: Height) -> Option<&Held> {
        self.held.get(&height)
    }

    pub(super) fn held_mut(&mut self, height: Height) -> Option<&mut Held> {
        self.held.get_mut(&height)
    }

    /// Bytes kept now.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes
    }

    /// What has to be asked for, up to `last`, lowest first.
    pub(super) fn wanted(&self, last: Height) -> Vec<Height> {
        if last < self.next { Vec::new() } else { self.wanted.range(self.next..=last).copied().collect() }
    }

    pub(super) fn fresh(&self) -> Height {
        self.fresh
    }

    /// Whether one more block may be asked for. The two lowest always may: without them nothing can be verified.
    pub(super) fn has_room_for(&self, height: Height) -> bool {
        let coming = self.asked.values().map(Vec::len).sum::<usize>() as u64 + 1;
        height <= self.next.next() || self.held_bytes.saturating_add(coming * self.typical) <= self.room
    }

    /// Who is asked for a height now, oldest first.
    pub(super) fn asked(&self, height: Height) -> &[(NodeId, Elapsed)] {
        self.asked.get(&height).map_or(&[], Vec::as_slice)
    }

    pub(super) fn ask(&mut self, now: Elapsed, height: Height, peer: NodeId) {
        self.wanted.remove(&height);
        self.asked.entry(height).or_default().push((peer, now));
        if height == self.fresh {
            self.fresh = height.next();
        }
        assert!(height < self.fresh, "heights are asked for from below");
    }

    /// This peer will not give this block.
    pub(super) fn release(&mut self, height: Height, peer: NodeId) {
        let Some(askers) = self.asked.get_mut(&height) else { return };
        askers.retain(|(asked, _)| *asked != peer);
        if askers.is_empty() {
            self.asked.remove(&height);
            self.wanted.insert(height);
        }
    }

    /// This peer will give nothing any more.
    pub(super) fn release_all_of(&mut self, peer: NodeId) {
        let its = |(height, askers): (&Height, &Vec<(NodeId, Elapsed)>)| {
            askers.iter().any(|(asked, _)| *asked == peer).then_some(*height)
        };
        for height in self.asked.iter().filter_map(its).collect::<Vec<_>>() {
            self.release(height, peer);
        }
    }

    /// Keeps a block that was asked for, and throws the highest away if that is too much.
    pub(super) fn keep(&mut self, height: Height, held: Held) {
        if height < self.next || height >= self.fresh || self.held.contains_key(&height) {
            return;
        }
        self.typical = held.bytes.max(self.typical - self.typical / 16);
        self.asked.remove(&height);
        self.wanted.remove(&height);
        self.held_bytes += held.bytes;
        self.held.insert(height, held);
        let needed = self.next.next();
        while self.held_bytes > self.room && !mutant!("N20") {
            let idle = |(height, held): &(&Height, &Held)| **height > needed && matches!(held.proof, Proof::None);
            let Some(highest) = self.held.iter().rev().find(idle).map(|(height, _)| *height) else { break };
            self.discard(highest);
        }
    }

    /// Throws a block away; it is asked for again.
    pub(super) fn discard(&mut self, height: Height) {
        if let Some(held) = self.held.remove(&height) {
            self.held_bytes -= held.bytes;
            self.wanted.insert(height);
        }
    }

    /// Throws away what a peer sent, except what is proven: that is the chain's whoever sent it.
    pub(super) fn discard_unproven_from(&mut self, peer: NodeId) {
        let suspect = |(height, held): (&Height, &Held)| {
            (held.from == peer && (!held.is_proven() || mutant!("N21"))).then_some(*height)
        };
        for height in self.held.iter().filter_map(suspect).collect::<Vec<_>>() {
            self.discard(height);
        }
    }

    /// The checks of these blocks come to nothing.
    pub(super) fn unseek(&mut self) {
        for held in self.held.values_mut().filter(|held| matches!(held.proof, Proof::Sought)) {
            held.proof = Proof::None;
        }
    }

    /// A check of this block was good.
    pub(super) fn prove(&mut self, height: Height, id: BlockId, commit: Arc<Commit>) {
        if let Some(held) = self.held.get_mut(&height)
            && (held.block.id() == id || mutant!("N18"))
        {
            held.proof = Proof::Found(commit);
        }
    }

    /// What must hold at any time, counted anew.
    #[cfg(test)]
    pub(super) fn check(&self) {
        assert_eq!(self.held_bytes, self.held.values().map(|held| held.bytes).sum::<u64>(), "bytes are counted right");
        let mut heights: Vec<Height> = self.held.keys().chain(self.asked.keys()).chain(&self.wanted).copied().collect();
        heights.sort();
        let expected: Vec<Height> = (self.next.get()..self.fresh.get()).map(Height::new).collect();
        assert_eq!(heights, expected, "each height is held, asked for or wanted, and only one of them");
        assert!(self.asked.values().all(|askers| (1..=2).contains(&askers.len())), "one peer is asked, or two");
    }

    /// Everything below `next` is applied.
    pub(super) fn advance(&mut self, next: Height) {
        self.next = self.next.max(next);
        let kept = self.held.split_off(&self.next);
        self.held_bytes -= self.held.values().map(|held| held.bytes).sum::<u64>();
        self.held = kept;
        self.asked = self.asked.split_off(&self.next);
        self.wanted = self.wanted.split_off(&self.next);
        self.fresh = self.fresh.max(self.next);
    }
}
