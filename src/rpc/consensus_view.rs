//! Where consensus stands, short (`consensus_state`) and long (`dump_consensus_state`).

use super::Shared;
use super::call::Outcome;
use super::info::shown;
use super::network::{PeerStateAnswer, peer_state};
use crate::codec::json::chain::Proposer;
use crate::codec::json::{Hex, Int, Shown, View, to_bytes};
use crate::ports::{ConsensusView, Node, RoundVotes};
use crate::types::{BitArray, Block, Height, PartSet, Power, Proposal, Round, Time, ValidatorSet, Vote, VoteKind};
use serde::Serialize;

#[derive(Serialize)]
struct Answer<T> {
    round_state: T,
}

#[derive(Serialize)]
struct DumpAnswer<'a, T> {
    round_state: T,
    peers: Vec<PeerStateAnswer<'a>>,
}

#[derive(Serialize)]
struct Simple<'a> {
    #[serde(rename = "height/round/step")]
    place: String,
    start_time: Shown<'a, Time>,
    proposal_block_hash: Hex<'a>,
    locked_block_hash: Hex<'a>,
    valid_block_hash: Hex<'a>,
    height_vote_set: Vec<Votes>,
    proposer: Proposer<'a>,
}

#[derive(Serialize)]
struct Votes {
    round: u32,
    prevotes: Vec<String>,
    prevotes_bit_array: String,
    precommits: Vec<String>,
    precommits_bit_array: String,
}

#[derive(Serialize)]
struct LastCommit {
    votes: Vec<String>,
    votes_bit_array: String,
    peer_maj_23s: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct Parts {
    #[serde(rename = "count/total")]
    count: String,
    parts_bit_array: String,
}

#[derive(Serialize)]
struct Full<'a> {
    height: Int<Height>,
    round: u32,
    step: u8,
    start_time: Shown<'a, Time>,
    commit_time: Shown<'a, Time>,
    validators: View<'a, ValidatorSet>,
    proposal: Option<View<'a, Proposal>>,
    proposal_block: Option<View<'a, Block>>,
    proposal_block_parts: Option<Parts>,
    locked_round: i32,
    locked_block: Option<View<'a, Block>>,
    locked_block_parts: Option<Parts>,
    valid_round: i32,
    valid_block: Option<View<'a, Block>>,
    valid_block_parts: Option<Parts>,
    votes: Vec<Votes>,
    commit_round: i32,
    last_commit: LastCommit,
    last_validators: Option<u8>,
    triggered_timeout_precommit: bool,
}

/// The first bytes of something long, filled up with zeros: how votes are printed.
fn fingerprint(bytes: &[u8]) -> String {
    let mut first = [0; 6];
    first.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    hex::encode_upper(first)
}

/// A vote as CometBFT's Vote.String prints it.
fn vote_text(vote: &Option<Vote>) -> String {
    let Some(vote) = vote else { return "nil-Vote".to_owned() };
    let kind = match vote.kind {
        VoteKind::Prevote => "SIGNED_MSG_TYPE_PREVOTE(Prevote)",
        VoteKind::Precommit => "SIGNED_MSG_TYPE_PRECOMMIT(Precommit)",
    };
    format!(
        "Vote{{{}:{} {}/{:02}/{kind} {} {} {} @ {}}}",
        vote.validator_index,
        fingerprint(vote.validator_address.as_ref()),
        vote.height,
        vote.round.get(),
        fingerprint(vote.block_id.as_ref().map_or(&[], |id| id.hash.as_ref())),
        fingerprint(vote.signature.as_ref()),
        fingerprint(&vote.extension),
        vote.timestamp,
    )
}

/// `BA{4:xx_x} 30/40 = 0.75`: who voted, and with how much of the power.
fn bit_array(votes: &[Option<Vote>], set: &ValidatorSet) -> String {
    let mut bits = BitArray::new(votes.len());
    let mut power = Power::ZERO;
    for (index, vote) in votes.iter().enumerate().filter(|(_, vote)| vote.is_some()) {
        bits.set(index);
        let address = vote.as_ref().map(|vote| vote.validator_address);
        let member = address.and_then(|address| set.by_address(&address));
        power = Power::new(power.get().saturating_add(member.map_or(0, |(_, member)| member.power.get())));
    }
    let total = set.total_power();
    let share = power.get() as f64 / (total.get().max(1)) as f64;
    format!("BA{{{}:{bits}}} {power}/{total} = {share:.2}", votes.len())
}

fn votes(round: &RoundVotes, set: &ValidatorSet) -> Votes {
    Votes {
        round: round.round.get(),
        prevotes: round.prevotes.iter().map(vote_text).collect(),
        prevotes_bit_array: bit_array(&round.prevotes, set),
        precommits: round.precommits.iter().map(vote_text).collect(),
        precommits_bit_array: bit_array(&round.precommits, set),
    }
}

fn parts(set: &PartSet) -> Parts {
    Parts { count: format!("{}/{}", set.count(), set.header().total), parts_bit_array: set.bits().to_string() }
}

fn simple(view: &ConsensusView) -> Vec<u8> {
    let proposer = view.validators.proposer();
    let index = view.validators.by_address(&proposer.address).map_or(0, |(index, _)| index);
    let proposed = view.proposal_block.as_ref().map(|block| block.id());
    to_bytes(&Answer {
        round_state: Simple {
            place: format!("{}/{}/{}", view.height, view.round, view.step as u8),
            start_time: Shown(&view.start_time),
            proposal_block_hash: Hex(proposed.as_ref().map_or(&[], |id| id.hash.as_ref())),
            locked_block_hash: Hex(view.locked.as_ref().map_or(&[], |(_, id)| id.hash.as_ref())),
            valid_block_hash: Hex(view.valid.as_ref().map_or(&[], |(_, id)| id.hash.as_ref())),
            height_vote_set: view.votes.iter().map(|round| votes(round, &view.validators)).collect(),
            proposer: Proposer { address: shown(&proposer.address), index },
        },
    })
}

fn full(view: &ConsensusView, peers: Vec<PeerStateAnswer<'_>>) -> Vec<u8> {
    // Only the block of this round is at hand; a lock on another one shows its round alone.
    let block_of = |held: &Option<(Round, crate::types::BlockId)>| {
        view.proposal_block.as_ref().filter(|block| held.as_ref().is_some_and(|(_, id)| *id == block.id()))
    };
    let (locked, valid) = (block_of(&view.locked), block_of(&view.valid));
    to_bytes(&DumpAnswer {
        round_state: Full {
            height: Int(view.height),
            round: view.round.get(),
            step: view.step as u8,
            start_time: Shown(&view.start_time),
            commit_time: Shown(&Time::ZERO),
            validators: View(&view.validators),
            proposal: view.proposal.as_ref().map(View),
            proposal_block: view.proposal_block.as_ref().map(|block| View(block.block())),
            proposal_block_parts: view.proposal_block.as_ref().map(|block| parts(block.parts())),
            locked_round: Round::option_as_i32(view.locked.map(|(round, _)| round)),
            locked_block: locked.map(|block| View(block.block())),
            locked_block_parts: locked.map(|block| parts(block.parts())),
            valid_round: Round::option_as_i32(view.valid.map(|(round, _)| round)),
            valid_block: valid.map(|block| View(block.block())),
            valid_block_parts: valid.map(|block| parts(block.parts())),
            votes: view.votes.iter().map(|round| votes(round, &view.validators)).collect(),
            commit_round: -1,
            last_commit: LastCommit {
                votes: view.last_commit.iter().map(vote_text).collect(),
                votes_bit_array: bit_array(&view.last_commit, &view.validators),
                peer_maj_23s: serde_json::Map::new(),
            },
            last_validators: None,
            triggered_timeout_precommit: false,
        },
        peers,
    })
}

impl<N: Node> Shared<N> {
    pub(super) async fn consensus_state(&self) -> Outcome {
        Ok(simple(&self.node.consensus().await))
    }

    pub(super) async fn dump_consensus_state(&self) -> Outcome {
        let (view, states) = (self.node.consensus().await, self.node.peer_states().await);
        let peers = self.node.peers();
        Ok(full(&view, states.iter().map(|state| peer_state(state, &peers)).collect()))
    }
}
