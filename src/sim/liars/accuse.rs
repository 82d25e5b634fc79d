//! Accusations (level 2): of the innocent, of itself, of long ago, of the future, twice; by gossip and in blocks; and the
//! fork of a light client that only a liar signed.

use super::{Actor, Cx};
use crate::sim::Level;
use crate::types::{
    Block, BlockId, Commit, CommitSig, DirectMessage, DuplicateVoteEvidence, Evidence, Height, LightBlock,
    LightClientAttackEvidence, Round, SignedHeader, SignedPart, Time, UnsignedVote, Vote, VoteKind,
};
use bytes::Bytes;
use std::time::Duration;

impl Actor {
    /// What it accuses somebody of, and what sort of a lie that is.
    pub(super) fn false_pieces(&mut self, cx: &Cx<'_>) -> Option<(&'static str, Vec<Evidence>)> {
        let before = self.memory.block_below(cx.height)?;
        let (height, time) = (before.block().header.height, before.block().header.time);
        Some(match self.dice.below(7) {
            0 => ("lie.evidence_forged", vec![self.forged_evidence(cx)?]),
            // True, and against itself.
            1 => {
                let piece = self.own_evidence(cx, height, time)?;
                self.memory.accuse(piece.clone());
                ("lie.evidence_of_own", vec![piece])
            }
            2 => {
                let piece = self.own_evidence(cx, height, time)?;
                self.memory.accuse(piece.clone());
                ("lie.evidence_twice", vec![piece; 2])
            }
            // It is on the chain, or waits, or somebody's block has it.
            3 => ("lie.evidence_again", vec![self.memory.accusation(self.dice.below(8) as usize)?.clone()]),
            4 => {
                let later = Height::new(cx.height.get().saturating_add(50));
                ("lie.evidence_of_future", vec![self.own_evidence(cx, later, cx.wall)?])
            }
            5 => {
                let another = time.plus(Duration::from_secs(1));
                ("lie.evidence_of_another_time", vec![self.own_evidence(cx, height, another)?])
            }
            _ => ("lie.light_fork", vec![self.light_fork(cx, before.block())?]),
        })
    }

    /// Its block has evidence nobody should take, or evidence that is true.
    pub(super) fn accuse_in_block(&mut self, cx: &mut Cx<'_>, word: DirectMessage) -> Vec<DirectMessage> {
        let proposes = matches!(word, DirectMessage::Proposal { .. } | DirectMessage::Part { .. });
        if !proposes || !self.is_own(&word) || cx.scene.plan.level != Level::Whole {
            return vec![word];
        }
        let Some(at) = super::place(&word) else { return vec![word] };
        let Some((proposal, ours)) = self.own_block(at) else { return Vec::new() };
        let Some((_, pieces)) = self.false_pieces(cx) else { return self.present(cx, &proposal, &ours) };
        let other = self.other_block_of(at, &ours, |_, block| {
            let mut other = block.clone();
            other.evidence.extend(pieces);
            other.header.evidence_hash = other.evidence_hash();
            other
        });
        cx.told("lie.evidence_in_block");
        self.present(cx, &proposal, &other)
    }

    /// Accuses somebody of a vote it never signed.
    fn forged_evidence(&mut self, cx: &Cx<'_>) -> Option<Evidence> {
        let victim: Vote = self.memory.prevotes(cx.height).find(|vote| vote.validator_address != self.own)?.clone();
        let id = self.made_up_block();
        let mut forged = self.vote_for(&victim, Some(id));
        (forged.validator_address, forged.validator_index) = (victim.validator_address, victim.validator_index);
        let forged = cx.sign_vote(forged);
        piece(victim, forged, cx.wall, cx)
    }

    /// Two votes of its own for blocks nobody proposed.
    fn own_evidence(&mut self, cx: &Cx<'_>, height: Height, time: Time) -> Option<Evidence> {
        let (one, other) = (self.made_up_block(), self.made_up_block());
        let vote = |id| self.own_vote(cx, VoteKind::Prevote, height, Some(id));
        piece(vote(one)?, vote(other)?, time, cx)
    }

    pub(super) fn own_vote(
        &self,
        cx: &Cx<'_>,
        kind: VoteKind,
        height: Height,
        block_id: Option<BlockId>,
    ) -> Option<Vote> {
        let (validator_index, _) = cx.validators.by_address(&self.own)?;
        Some(cx.sign_vote(UnsignedVote {
            kind,
            height,
            round: Round::ZERO,
            block_id,
            timestamp: cx.wall,
            validator_address: self.own,
            validator_index,
            extension: None,
        }))
    }

    /// Another block of that height, with the liar's signature and no other: too little power for any light client.
    fn light_fork(&mut self, cx: &Cx<'_>, block: &Block) -> Option<Evidence> {
        let mut header = block.header.clone();
        header.app_hash = Bytes::from_static(b"another state");
        let block_id = BlockId { hash: header.hash(), ..self.made_up_block() };
        let vote = self.own_vote(cx, VoteKind::Precommit, header.height, Some(block_id))?;
        let (timestamp, signature) = (vote.timestamp, vote.signature);
        let ours = CommitSig::Commit(SignedPart { validator_address: self.own, timestamp, signature });
        let sign = |address| if address == self.own { ours.clone() } else { CommitSig::Absent };
        let signatures = cx.validators.members().iter().map(|member| sign(member.address)).collect();
        let commit = Commit { height: header.height, round: Round::ZERO, block_id, signatures };
        let (_, liar) = cx.validators.by_address(&self.own)?;
        let timestamp = header.time;
        Some(Evidence::LightClientAttack(Box::new(LightClientAttackEvidence {
            common_height: header.height,
            conflicting_block: LightBlock {
                signed_header: SignedHeader { header, commit },
                validators: cx.validators.clone(),
            },
            byzantine_validators: vec![liar.clone()],
            total_voting_power: cx.validators.total_power(),
            timestamp,
        })))
    }
}

fn piece(one: Vote, other: Vote, time: Time, cx: &Cx<'_>) -> Option<Evidence> {
    let evidence = DuplicateVoteEvidence::new(one, other, time, cx.validators)?;
    Some(Evidence::DuplicateVote(Box::new(evidence)))
}
