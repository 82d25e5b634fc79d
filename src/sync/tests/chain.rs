//! A chain as all honest peers have it. Signatures mean nothing: the world knows which blocks and commits are true.

use crate::crypto::{Hash, PublicKey, Signature};
use crate::types::*;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// What the chain looks like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) initial_height: u64,
    pub(super) blocks: u64,
    /// The validator set changes every so many blocks.
    pub(super) set_changes_every: Option<u64>,
    /// First height with vote extensions.
    pub(super) extensions_from: Option<u64>,
    pub(super) tx_bytes: usize,
}

impl Shape {
    pub(super) fn new(blocks: u64) -> Shape {
        Shape { initial_height: 1, blocks, set_changes_every: None, extensions_from: None, tx_bytes: 10 }
    }
}

/// The true chain.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) shape: Shape,
    blocks: Vec<Arc<CandidateBlock>>,
    sets: Vec<Arc<ValidatorSet>>,
}

/// Four validators; which ones depends on the generation.
fn set(generation: u64) -> Arc<ValidatorSet> {
    let member = |i: u64| Validator::new(PublicKey::new([(generation * 7 + i) as u8; 32]), Power::new(10 + i));
    Arc::new(ValidatorSet::new((0..4).map(member)).unwrap())
}

/// The address of a validator of the first set, and its share is less than 1/3.
pub(super) fn first_validator() -> Address {
    set(0).members()[0].address
}

impl Chain {
    pub(super) fn new(shape: Shape) -> Chain {
        let last = shape.initial_height + shape.blocks - 1;
        let generation = |height: u64| shape.set_changes_every.map_or(0, |every| height / every);
        let mut sets: Vec<Arc<ValidatorSet>> = Vec::new();
        for height in shape.initial_height..=last + 3 {
            match sets.last() {
                Some(before) if generation(height) == generation(height - 1) => sets.push(Arc::clone(before)),
                _ => sets.push(set(generation(height))),
            }
        }
        let mut chain = Chain { shape, blocks: Vec::new(), sets };
        (shape.initial_height..=last).for_each(|height| chain.grow(height));
        chain
    }

    fn grow(&mut self, height: u64) {
        let last = self.blocks.last().map(|last| (last.id(), self.commit(height - 1)));
        let block = Block {
            header: Header {
                version: Version { block: Version::BLOCK, app: 0 },
                chain_id: crate::types::tests::chain_id(),
                height: Height::new(height),
                time: Time::new(height as i64, 0).unwrap(),
                last_block_id: last.as_ref().map(|(id, _)| *id),
                last_commit_hash: Hash::EMPTY,
                data_hash: Hash::EMPTY,
                validators_hash: self.set(height).hash(),
                next_validators_hash: self.set(height + 1).hash(),
                consensus_hash: Hash::EMPTY,
                app_hash: Bytes::new(),
                last_results_hash: Hash::EMPTY,
                evidence_hash: Hash::EMPTY,
                proposer_address: self.set(height).members()[0].address,
            },
            txs: vec![Tx::new(vec![height as u8; self.shape.tx_bytes])],
            evidence: Vec::new(),
            last_commit: last.map(|(_, commit)| commit),
        };
        self.blocks.push(Arc::new(CandidateBlock::new(block)));
    }

    pub(super) fn first(&self) -> u64 {
        self.shape.initial_height
    }

    pub(super) fn last(&self) -> u64 {
        self.shape.initial_height + self.shape.blocks - 1
    }

    pub(super) fn block(&self, height: u64) -> &Arc<CandidateBlock> {
        &self.blocks[(height - self.shape.initial_height) as usize]
    }

    pub(super) fn set(&self, height: u64) -> &Arc<ValidatorSet> {
        &self.sets[(height - self.shape.initial_height) as usize]
    }

    /// The commit for a block, as the next one carries it.
    pub(super) fn commit(&self, height: u64) -> Commit {
        let entry = |member: &Validator| {
            CommitSig::Commit(SignedPart {
                validator_address: member.address,
                timestamp: Time::new(height as i64, 0).unwrap(),
                signature: Signature::new([7; 64]),
            })
        };
        Commit {
            height: Height::new(height),
            round: Round::ZERO,
            block_id: self.block(height).id(),
            signatures: self.set(height).members().iter().map(entry).collect(),
        }
    }

    pub(super) fn has_extensions(&self, height: u64) -> bool {
        self.shape.extensions_from.is_some_and(|from| height >= from)
    }

    /// The extended commit for a block, where extensions are enabled.
    pub(super) fn extended(&self, height: u64) -> Option<ExtendedCommit> {
        self.has_extensions(height).then(|| {
            let mut commit = ExtendedCommit::from(self.commit(height));
            for entry in &mut commit.signatures {
                entry.extension = Bytes::from_static(b"ext");
                entry.extension_signature = Some(Signature::new([8; 64]));
            }
            commit
        })
    }

    /// The state after `height`; after `first() - 1` it is that of the genesis.
    pub(super) fn state(&self, height: u64) -> Arc<ChainState> {
        let applied = height >= self.first();
        let next = height.max(self.first() - 1) + 1;
        Arc::new(ChainState {
            algorithm: crate::types::Algorithm::Tendermint,
            version: Version { block: Version::BLOCK, app: 0 },
            chain_id: crate::types::tests::chain_id(),
            initial_height: Height::new(self.first()),
            last_block_height: if applied { Height::new(height) } else { Height::ZERO },
            last_block_id: applied.then(|| self.block(height).id()),
            last_block_time: Time::new(height as i64, 0).unwrap(),
            next_validators: Arc::clone(self.set(next + 1)),
            validators: Arc::clone(self.set(next)),
            last_validators: applied.then(|| Arc::clone(self.set(height))),
            last_height_validators_changed: Height::new(next),
            consensus_params: Arc::new(ConsensusParams {
                abci: AbciParams { vote_extensions_enable_height: self.shape.extensions_from.map(Height::new) },
                evidence: EvidenceParams { max_age_duration: Duration::from_secs(1), ..EvidenceParams::default() },
                ..ConsensusParams::default()
            }),
            last_height_consensus_params_changed: Height::new(self.first()),
            last_results_hash: Hash::EMPTY,
            app_hash: Bytes::new(),
        })
    }
}
