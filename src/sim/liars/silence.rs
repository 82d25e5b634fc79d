//! Saying nothing, or not all of it, to all, to one half, to whom it matters.

use super::{Actor, Cx, Half};
use crate::sim::{Lie, NodeNr};
use crate::types::DirectMessage;

impl Actor {
    pub(super) fn keep_back(
        &mut self,
        cx: &mut Cx<'_>,
        to: NodeNr,
        lie: Lie,
        word: DirectMessage,
    ) -> Vec<DirectMessage> {
        if !self.is_own(&word) {
            return vec![word];
        }
        let height = super::place(&word).map_or(cx.height, |(height, _)| height);
        let second_half = self.half(cx.scene, height, to) == Half::Second;
        let name = match (lie, &word) {
            (Lie::Withhold, _) if second_half => "lie.withhold",
            (Lie::WithholdParts, DirectMessage::Part { part, .. }) if second_half || part.index % 2 == 1 => {
                "lie.withhold_parts"
            }
            // A proposer or primary nobody hears of.
            (Lie::WithholdProposals, DirectMessage::Proposal { .. } | DirectMessage::Part { .. }) => {
                "lie.withhold_proposal"
            }
            _ => return vec![word],
        };
        cx.told(name);
        Vec::new()
    }
}
