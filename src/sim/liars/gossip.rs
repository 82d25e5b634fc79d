//! What a liar says around consensus at level 2: which votes it has, where it stands, which blocks it gives.

use super::{Actor, Cx};
use crate::sim::{Lie, NodeNr};
use crate::types::{
    Address, Algorithm, BitArray, BlocksyncMessage, Channel, ConsensusMessage, DirectMessage, Height, NewRoundStep,
    PeerMessage, Proposal, Round, VoteKind, VotesFor,
};
use bytes::Bytes;

/// Something a liar sends.
#[derive(Debug, Clone)]
pub enum Speech {
    /// A message of the protocol.
    Message(PeerMessage),
    /// Bytes on a channel.
    Raw(Channel, Bytes),
}

impl Speech {
    /// A word as it is sent in this protocol; none where it has no such word.
    pub(super) fn of(cx: &Cx<'_>, word: DirectMessage) -> Option<Speech> {
        let algorithm = cx.scene.plan.algorithm;
        match algorithm {
            Algorithm::Tendermint => from_word(word),
            Algorithm::Pbft | Algorithm::Raft => Some(PeerMessage::Direct(algorithm, word)),
        }
        .map(Speech::Message)
    }
}

impl Actor {
    /// What it really says to `to` where its core says `message`. What decides blocks is rewritten as
    /// [`Actor::rewrite`] does.
    pub fn rewrite_peer_message(&mut self, cx: &mut Cx<'_>, to: NodeNr, message: PeerMessage) -> Vec<PeerMessage> {
        match message {
            PeerMessage::Direct(algorithm, word) => {
                self.rewrite(cx, to, word).into_iter().map(|word| PeerMessage::Direct(algorithm, word)).collect()
            }
            PeerMessage::Consensus(message) => match to_word(cx, message) {
                Ok(word) => self.rewrite(cx, to, word).into_iter().filter_map(from_word).collect(),
                Err(message) if self.gossips(cx) => {
                    let said = self.bend_gossip(cx, *message);
                    said.into_iter().map(PeerMessage::Consensus).collect()
                }
                Err(message) => vec![PeerMessage::Consensus(*message)],
            },
            PeerMessage::Blocksync(message) if self.gossips(cx) => {
                let said = self.bend_blocksync(cx, message);
                said.into_iter().map(PeerMessage::Blocksync).collect()
            }
            other => vec![other],
        }
    }

    /// What it says around consensus though its core does not; what decides blocks included. To be asked every
    /// [`super::UNPROMPTED_EVERY`].
    pub fn unprompted_speeches(&mut self, cx: &mut Cx<'_>) -> Vec<(NodeNr, Speech)> {
        let words = self.unprompted(cx);
        let mut speeches = in_messages(cx, words);
        if self.gossips(cx) && self.dice.chance(20) {
            speeches.extend(self.gossip_unasked(cx));
        }
        if self.tells(cx, Lie::Accuse) && self.dice.chance(10) {
            speeches.extend(self.accuse_unasked(cx));
        }
        if self.tells(cx, Lie::Flood) {
            speeches.extend(self.flood(cx));
        }
        speeches
    }

    /// What is due of what was kept back.
    pub fn release_speeches(&mut self, cx: &mut Cx<'_>) -> Vec<(NodeNr, Speech)> {
        let words = self.release(cx.now);
        in_messages(cx, words)
    }

    fn accuse_unasked(&mut self, cx: &mut Cx<'_>) -> Option<(NodeNr, Speech)> {
        let to = self.somebody(cx)?;
        let (name, pieces) = self.false_pieces(cx)?;
        cx.told(name);
        Some((to, Speech::Message(PeerMessage::Evidence(pieces))))
    }

    /// One of the others.
    pub(super) fn somebody(&mut self, cx: &Cx<'_>) -> Option<NodeNr> {
        let to = NodeNr(self.dice.below(cx.scene.plan.nodes.len() as u64) as u8);
        (cx.scene.addresses.get(to.index()) != Some(&self.own)).then_some(to)
    }

    fn gossip_unasked(&mut self, cx: &mut Cx<'_>) -> Option<(NodeNr, Speech)> {
        let to = self.somebody(cx)?;
        let (name, message) = match self.dice.below(4) {
            0 => ("lie.has_vote", PeerMessage::Consensus(self.false_has_vote(cx))),
            1 => ("lie.majority", PeerMessage::Consensus(self.false_majority(cx))),
            2 => {
                let (height, base) = (Height::new(cx.height.get().saturating_add(50)), Height::FIRST);
                ("lie.taller", PeerMessage::Blocksync(BlocksyncMessage::StatusResponse { height, base }))
            }
            _ => {
                let block = Bytes::from_static(b"a block nobody asked for");
                let message = BlocksyncMessage::BlockResponse { block, extended_commit: None };
                ("lie.unsolicited_block", PeerMessage::Blocksync(message))
            }
        };
        cx.told(name);
        Some((to, Speech::Message(message)))
    }

    fn gossips(&self, cx: &Cx<'_>) -> bool {
        self.tells(cx, Lie::Gossip)
    }

    /// True where this lie is told now.
    fn tells(&self, cx: &Cx<'_>, lie: Lie) -> bool {
        self.acts(cx.scene, lie, cx.height, cx.round)
    }

    fn bend_gossip(&mut self, cx: &mut Cx<'_>, message: ConsensusMessage) -> Vec<ConsensusMessage> {
        if !self.dice.chance(30) {
            return vec![message];
        }
        let (name, bent) = match message {
            ConsensusMessage::HasVote { .. } => ("lie.has_vote", self.false_has_vote(cx)),
            ConsensusMessage::VoteSetMaj23(_) => ("lie.majority", self.false_majority(cx)),
            ConsensusMessage::VoteSetBits { votes, have } => {
                ("lie.all_ones", ConsensusMessage::VoteSetBits { votes, have: all_ones(&have) })
            }
            ConsensusMessage::ProposalPol { height, pol_round, have } => {
                ("lie.all_ones", ConsensusMessage::ProposalPol { height, pol_round, have: all_ones(&have) })
            }
            ConsensusMessage::NewValidBlock { height, round, parts, have, is_commit } => {
                let have = all_ones(&have);
                ("lie.all_ones", ConsensusMessage::NewValidBlock { height, round, parts, have, is_commit: !is_commit })
            }
            ConsensusMessage::NewRoundStep(step) => {
                ("lie.place", ConsensusMessage::NewRoundStep(self.false_place(&step)))
            }
            word => return vec![word],
        };
        cx.told(name);
        vec![bent]
    }

    fn false_place(&mut self, step: &NewRoundStep) -> NewRoundStep {
        let mut bent = *step;
        match self.dice.below(4) {
            0 => bent.round = bent.round.next(),
            1 => bent.round = super::further(bent.round, 1_000_000),
            2 => (bent.height, bent.last_commit_round) = (bent.height.next(), Some(Round::ZERO)),
            _ => bent.step = 1,
        }
        bent
    }

    fn false_has_vote(&mut self, cx: &Cx<'_>) -> ConsensusMessage {
        let (height, round) = (cx.height, cx.round);
        let index = match self.dice.below(4) {
            0 => u32::MAX >> 1,
            _ => self.dice.below(cx.validators.len() as u64) as u32,
        };
        let kind = if self.dice.chance(50) { VoteKind::Prevote } else { VoteKind::Precommit };
        ConsensusMessage::HasVote { height, round, kind, index }
    }

    fn false_majority(&mut self, cx: &Cx<'_>) -> ConsensusMessage {
        let kind = if self.dice.chance(50) { VoteKind::Prevote } else { VoteKind::Precommit };
        let block_id = match self.dice.below(3) {
            0 => None,
            1 => self.memory.other_block(cx.height, None),
            _ => Some(self.made_up_block()),
        };
        ConsensusMessage::VoteSetMaj23(VotesFor { height: cx.height, round: cx.round, kind, block_id })
    }

    /// Taller and shorter than it is, a gap, no commit, a bent block.
    fn bend_blocksync(&mut self, cx: &mut Cx<'_>, message: BlocksyncMessage) -> Vec<BlocksyncMessage> {
        if !self.dice.chance(50) {
            return vec![message];
        }
        let (name, bent) = match message {
            BlocksyncMessage::StatusResponse { height, base } => match self.dice.below(3) {
                0 => {
                    let height = Height::new(height.get().saturating_add(1 + self.dice.below(1000)));
                    ("lie.taller", BlocksyncMessage::StatusResponse { height, base })
                }
                1 => {
                    let height = height.previous().unwrap_or(height);
                    ("lie.shorter", BlocksyncMessage::StatusResponse { height, base })
                }
                _ => {
                    let base = height.next();
                    ("lie.base_above_height", BlocksyncMessage::StatusResponse { height, base })
                }
            },
            BlocksyncMessage::BlockResponse { block, extended_commit } => match self.dice.below(4) {
                0 => {
                    let mut bytes = block.to_vec();
                    let at = self.dice.below(bytes.len() as u64) as usize;
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1;
                    }
                    ("lie.bent_block", BlocksyncMessage::BlockResponse { block: bytes.into(), extended_commit })
                }
                1 if extended_commit.is_some() => {
                    ("lie.no_extended_commit", BlocksyncMessage::BlockResponse { block, extended_commit: None })
                }
                2 => match self.bent_commit() {
                    Some(commit) => (
                        "lie.fake_extended_commit",
                        BlocksyncMessage::BlockResponse { block, extended_commit: Some(commit) },
                    ),
                    None => return vec![BlocksyncMessage::BlockResponse { block, extended_commit }],
                },
                // A gap.
                _ => {
                    cx.told("lie.gap");
                    return Vec::new();
                }
            },
            BlocksyncMessage::NoBlockResponse(height) => {
                ("lie.no_block_of_another_height", BlocksyncMessage::NoBlockResponse(height.next()))
            }
            other => return vec![other],
        };
        cx.told(name);
        vec![bent]
    }
}

fn all_ones(bits: &BitArray) -> BitArray {
    let mut all = BitArray::new(bits.len());
    (0..bits.len()).for_each(|index| all.set(index));
    all
}

fn in_messages(cx: &Cx<'_>, words: Vec<(NodeNr, DirectMessage)>) -> Vec<(NodeNr, Speech)> {
    words.into_iter().filter_map(|(to, word)| Some((to, Speech::of(cx, word)?))).collect()
}

/// What decides blocks, as the word actors rewrite; everything else comes back.
fn to_word(cx: &Cx<'_>, message: ConsensusMessage) -> Result<DirectMessage, Box<ConsensusMessage>> {
    Ok(match message {
        ConsensusMessage::Proposal(proposal) => DirectMessage::Proposal { by: proposer(cx, &proposal), proposal },
        ConsensusMessage::BlockPart { height, round, part } => DirectMessage::Part { height, round, part },
        ConsensusMessage::Vote(vote) => DirectMessage::Vote(vote),
        other => return Err(Box::new(other)),
    })
}

/// Tendermint's proposals do not say whose they are; whose turn it is does.
fn proposer(cx: &Cx<'_>, proposal: &Proposal) -> Address {
    let turned = cx.validators.advanced(proposal.round.get().min(1000));
    turned.proposer().address
}

fn from_word(word: DirectMessage) -> Option<PeerMessage> {
    Some(PeerMessage::Consensus(match word {
        DirectMessage::Proposal { proposal, .. } => ConsensusMessage::Proposal(proposal),
        DirectMessage::Part { height, round, part } => ConsensusMessage::BlockPart { height, round, part },
        DirectMessage::Vote(vote) => ConsensusMessage::Vote(vote),
        DirectMessage::Statement(_) | DirectMessage::Commit(_) => return None,
    }))
}
