//! Votes that are not what an honest node would vote: another to each half, for nothing, for what nobody proposed, in
//! spite of a lock, under another name, with an extension that does not belong there.

use super::{Actor, Cx, Half, unsigned};
use crate::crypto::Hash;
use crate::sim::{Lie, NodeNr};
use crate::types::{
    Algorithm, BlockId, DirectMessage, PartSetHeader, UnsignedVote, VOTE_EXTENSION_SENT_MAX, Vote, VoteKind,
};
use bytes::Bytes;

impl Actor {
    pub(super) fn bend_vote(
        &mut self,
        cx: &mut Cx<'_>,
        to: NodeNr,
        lie: Lie,
        word: DirectMessage,
    ) -> Vec<DirectMessage> {
        let DirectMessage::Vote(vote) = &word else { return vec![word] };
        if vote.validator_address != self.own {
            return vec![word];
        }
        let bent = match lie {
            Lie::EquivocateVotes => self.equivocate(cx, to, vote),
            Lie::ForgetLocks => self.forget_lock(vote).map(|vote| (vote, "lie.forget_locks")),
            Lie::VoteNil => vote.block_id.map(|_| (self.vote_for(vote, None), "lie.vote_nil")),
            Lie::VoteUnknown => {
                let id = self.made_up_block();
                Some((self.vote_for(vote, Some(id)), "lie.vote_unknown"))
            }
            Lie::WrongName => self.under_another_name(cx, vote),
            _ => self.bend_extension(cx, vote),
        };
        let Some((unsigned, name)) = bent else { return vec![word] };
        if name == "lie.vote_nil" && cx.scene.plan.algorithm != Algorithm::Tendermint {
            // There is no vote for nothing there: it stays silent.
            cx.told(name);
            return Vec::new();
        }
        let bent = cx.sign_vote(unsigned);
        if bent == *vote {
            return vec![word];
        }
        cx.told(name);
        vec![DirectMessage::Vote(bent)]
    }

    /// Each half hears of another block. Where only one is known, the second half hears of none, or of one made up.
    fn equivocate(&mut self, cx: &Cx<'_>, to: NodeNr, vote: &Vote) -> Option<(UnsignedVote, &'static str)> {
        let half = self.half(cx.scene, vote.height, to);
        let block_id = match (self.memory.proposed(vote.height, vote.round).as_slice(), half) {
            ([first, _, ..], Half::First) => Some(*first),
            ([_, second, ..], Half::Second) => Some(*second),
            (_, Half::First) => vote.block_id,
            ([only], Half::Second) if vote.block_id.is_none() => Some(*only),
            (_, Half::Second) if cx.scene.plan.algorithm == Algorithm::Tendermint => None,
            (_, Half::Second) => {
                self.memory.other_block(vote.height, vote.block_id).or_else(|| Some(self.made_up_block()))
            }
        };
        (block_id != vote.block_id).then(|| (self.vote_for(vote, block_id), "lie.equivocate_votes"))
    }

    /// A vote for nil that a lock asks for becomes one for what is proposed.
    fn forget_lock(&self, vote: &Vote) -> Option<UnsignedVote> {
        if vote.block_id.is_some() {
            return None;
        }
        let proposed = self.memory.proposed(vote.height, vote.round);
        Some(self.vote_for(vote, Some(*proposed.first()?)))
    }

    fn under_another_name(&mut self, cx: &Cx<'_>, vote: &Vote) -> Option<(UnsignedVote, &'static str)> {
        let mut bent = unsigned(vote);
        let others: Vec<_> = cx.validators.members().iter().filter(|member| member.address != self.own).collect();
        let other = self.dice.pick(&others)?.address;
        let index = cx.validators.by_address(&other)?.0;
        let name = match self.dice.below(4) {
            0 => {
                bent.validator_index = index;
                "lie.wrong_index"
            }
            1 => {
                bent.validator_address = other;
                "lie.wrong_address"
            }
            2 => {
                bent.validator_index = u32::MAX >> 1;
                "lie.index_of_nobody"
            }
            _ => {
                (bent.validator_index, bent.validator_address) = (index, other);
                "lie.name_of_another"
            }
        };
        Some((bent, name))
    }

    fn bend_extension(&mut self, cx: &Cx<'_>, vote: &Vote) -> Option<(UnsignedVote, &'static str)> {
        /// One too many.
        const OVERSIZE: usize = VOTE_EXTENSION_SENT_MAX + 1;
        let mut bent = unsigned(vote);
        let extended = bent.extension.is_some();
        let name = match (extended, self.dice.below(4)) {
            (true, 0) => {
                bent.extension = None;
                "lie.no_extension"
            }
            // Large: only now and then.
            (true, 1) if self.dice.chance(3) => {
                bent.extension = Some(Bytes::from(vec![7; OVERSIZE]));
                "lie.oversize_extension"
            }
            (true, _) => {
                bent.extension = Some(Bytes::from(self.dice.roll().to_be_bytes().to_vec()));
                "lie.junk_extension"
            }
            (false, _) if vote.kind == VoteKind::Precommit || cx.scene.plan.algorithm == Algorithm::Tendermint => {
                bent.extension = Some(Bytes::from_static(b"junk"));
                "lie.extension_where_none_belongs"
            }
            (false, _) => return None,
        };
        Some((bent, name))
    }

    /// The same vote for something else. A precommit for a block has an extension where blocks have them.
    pub(super) fn vote_for(&self, vote: &Vote, block_id: Option<BlockId>) -> UnsignedVote {
        let mut bent = unsigned(vote);
        bent.block_id = block_id;
        let extended = vote.kind == VoteKind::Precommit && block_id.is_some();
        bent.extension = bent.extension.or_else(|| self.memory.extension.clone()).filter(|_| extended);
        bent
    }

    /// The name of a block that does not exist.
    pub(super) fn made_up_block(&mut self) -> BlockId {
        let mut hash = [0xee; Hash::LEN];
        hash[..8].copy_from_slice(&self.dice.roll().to_be_bytes());
        BlockId { hash: Hash::new(hash), parts: PartSetHeader { total: 1, hash: Hash::new(hash) } }
    }
}
