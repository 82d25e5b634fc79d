//! What must hold after every effect of every machine, told from what was signed and decided, not from what the
//! machines say of themselves.

use super::scene::address;
use super::world::World;
use crate::consensus::raft::{Raft, Role};
use crate::consensus::{Direct, RaftRole, ReadTicket};
use crate::types::{
    Address, BlockId, Election, Height, JournalRecord, RaftStatement, Round, UnsignedVote, ValidatorSet,
};
use std::collections::BTreeMap;

impl World {
    /// Whether the newest standing on disk is at least of this term, with this vote.
    fn stands_durably(&self, who: usize, term: Round) -> Option<Option<Address>> {
        self.nodes[who].durable.iter().rev().find_map(|record| match record {
            JournalRecord::Standing(standing) if standing.round == term => Some(standing.voted_for),
            _ => None,
        })
    }

    /// §5.2: one vote a term, on disk before the ballot.
    pub(super) fn check_statement(&mut self, who: usize, body: &RaftStatement) {
        let vote = match body {
            RaftStatement::Ballot { asked, election, candidate, granted: true, .. }
                if *election != Election::PreVote =>
            {
                Some((*asked, *candidate))
            }
            RaftStatement::RequestVote { term, election, .. } if *election != Election::PreVote => {
                Some((*term, address(who)))
            }
            _ => None,
        };
        let Some((term, candidate)) = vote else { return };
        let first = *self.ballots.entry((who, term)).or_insert(candidate);
        if first != candidate {
            self.complaints.push(format!("node {who} votes twice in term {term}"));
        }
        // A later term may have come between the ballot's making and this; then this one's standing is not the newest.
        if self.stands_durably(who, term) != Some(Some(candidate)) {
            self.complaints.push(format!("node {who} votes in term {term} before its vote is on disk"));
        }
    }

    /// An acknowledgement rests on its term, and on the record of its entry.
    pub(super) fn check_ack(&mut self, who: usize, vote: &UnsignedVote) {
        let term_stands = self.stands_durably(who, vote.round).is_some();
        let entry_stands = vote.block_id.is_none()
            || self.nodes[who].durable.iter().any(|record| {
                matches!(record, JournalRecord::RoundStep { height, round, .. } if (*height, *round) == (vote.height, vote.round))
            });
        if !term_stands || !entry_stands {
            self.complaints.push(format!("node {who} acknowledges {}/{} before its records", vote.height, vote.round));
        }
    }

    /// Leader completeness (§5.4.3): what a majority acknowledged in an earlier term is what is proposed.
    pub(super) fn check_proposal(&mut self, who: usize, height: Height, round: Round, id: BlockId) {
        if let Some((earlier, chosen)) =
            self.chosen(height).into_iter().find(|(term, other)| *term < round && *other != id)
        {
            self.complaints.push(format!(
                "leader completeness: node {who} proposes {id:?} at {height}/{round}, a majority has {chosen:?} since {earlier}"
            ));
        }
    }

    /// What majorities acknowledged at a height, by what the signers signed.
    fn chosen(&self, height: Height) -> Vec<(Round, BlockId)> {
        let set = self.set_at(height);
        let mut sums: BTreeMap<(Round, BlockId), u64> = BTreeMap::new();
        for (who, node) in self.nodes.iter().enumerate() {
            let Some((_, member)) = set.by_address(&address(who)) else { continue };
            for ((h, round, step), what) in &node.signed {
                if let (true, Some(id)) = ((*h, *step) == (height, 3), what) {
                    *sums.entry((*round, *id)).or_default() += member.power.get();
                }
            }
        }
        let total = set.total_power().get();
        sums.into_iter().filter(|(_, sum)| 2 * sum > total).map(|(chosen, _)| chosen).collect()
    }

    /// §5.4.2: who counts acknowledgements counts those of its own term only. Commits that are handed on are not counted
    /// here: they are sent, not broadcast.
    pub(super) fn check_commit(&mut self, who: usize, message: &Direct) {
        let Direct::Commit(commit) = message else { return };
        let term = self.nodes[who].machine.round();
        if commit.round != term {
            self.complaints.push(format!("node {who} in term {term} decides by acknowledgements of {}", commit.round));
        }
    }

    pub(super) fn check_leader(&mut self, who: usize) {
        if self.role(who) != RaftRole::Leader {
            return;
        }
        let machine = &self.nodes[who].machine;
        // One who left its set leads nothing there.
        let Some(mandate) = machine.mandate() else { return };
        let key = (machine.round(), mandate.members().iter().map(|member| member.address).collect());
        let first = *self.leaders.entry(key).or_insert(who);
        if first != who {
            let term = self.nodes[who].machine.round();
            self.complaints.push(format!("election safety: nodes {first} and {who} both lead term {term}"));
        }
    }

    pub(super) fn check_read(&mut self, who: usize, ticket: ReadTicket, height: Height) {
        let Some(floor) = self.reads.remove(&ticket) else { return };
        self.reads_answered += 1;
        if height < floor {
            self.complaints.push(format!("stale read at node {who}: {height} when {floor} was decided before"));
        }
    }
}

impl Raft {
    /// The set that made this leader, where it is still the set.
    fn mandate(&self) -> Option<&ValidatorSet> {
        match &self.role {
            Role::Leader(leadership) => Some(&leadership.mandate),
            _ => None,
        }
    }
}
