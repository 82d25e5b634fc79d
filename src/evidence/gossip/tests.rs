//! Who is told what: stories, and every promise checked in random histories.

use super::*;
use crate::evidence::Receipt;
use crate::evidence::verify::tests::{double_vote, facts_at, signers, state_after};
use crate::types::tests::Signers;
use crate::types::{Address, ConsensusParams, PeerMessage};
use proptest::prelude::*;
use std::sync::Arc;

fn peer(number: u8) -> NodeId {
    NodeId::new(Address::new([number; 20]))
}

fn piece(signers: &Signers, index: usize, height: u64) -> Evidence {
    Evidence::DuplicateVote(Box::new(double_vote(signers, index, height)))
}

/// A pool after height 8 and the gossip about it.
struct World {
    signers: Signers,
    state: ChainState,
    pool: Pool,
    gossip: EvidenceGossip,
}

impl World {
    fn new() -> World {
        let (signers, state) = (signers(), state_after(8, &signers()));
        let pool = Pool::new(&state);
        World { signers, state, pool, gossip: EvidenceGossip::new() }
    }

    fn tell(&mut self, input: EvidenceGossipInput) -> Vec<(NodeId, Vec<Evidence>)> {
        let mut out = Vec::new();
        self.gossip.step(input, &self.pool, &self.state, &mut out);
        out.into_iter().map(|telling| (telling.peer, telling.evidence)).collect()
    }

    fn learn(&mut self, evidence: &Evidence) -> Vec<(NodeId, Vec<Evidence>)> {
        let facts = facts_at(evidence.height().get(), &self.signers);
        self.pool.add(evidence.clone(), &facts, &self.state).unwrap();
        self.tell(EvidenceGossipInput::Changed)
    }

    fn hear(&mut self, from: u8, evidence: &Evidence) -> Vec<(NodeId, Vec<Evidence>)> {
        let facts = facts_at(evidence.height().get(), &self.signers);
        let receipt = self.pool.receive(evidence.clone(), Some(&facts), &self.state);
        let (Receipt::New(key) | Receipt::Known(key)) = receipt else { panic!("{receipt:?}") };
        self.tell(EvidenceGossipInput::Heard(peer(from), key));
        self.tell(EvidenceGossipInput::Changed)
    }

    fn join(&mut self, number: u8, height: u64) -> Vec<(NodeId, Vec<Evidence>)> {
        assert_eq!(self.tell(EvidenceGossipInput::PeerUp(peer(number))), [], "it did not say where it is");
        self.tell(EvidenceGossipInput::PeerAt(peer(number), Height::new(height)))
    }

    fn written(&mut self, number: u8) -> Vec<(NodeId, Vec<Evidence>)> {
        self.tell(EvidenceGossipInput::Written(peer(number), u64::MAX))
    }
}

#[test]
fn everybody_who_is_past_the_height_is_told_once() {
    let mut world = World::new();
    let one = piece(&world.signers, 0, 5);
    assert_eq!(world.join(1, 9), []);
    assert_eq!(world.learn(&one), [(peer(1), vec![one.clone()])]);
    assert_eq!(world.written(1), []);
    assert_eq!(world.tell(EvidenceGossipInput::Changed), []);
    assert_eq!(world.join(2, 9), [(peer(2), vec![one])], "who comes later is told too");
}

#[test]
fn a_peer_at_the_height_or_before_is_told_when_it_is_past_it() {
    let mut world = World::new();
    let one = piece(&world.signers, 0, 5);
    world.learn(&one);
    assert_eq!(world.join(1, 5), [], "it does not have that block yet");
    assert_eq!(world.tell(EvidenceGossipInput::PeerAt(peer(1), Height::new(6))), [(peer(1), vec![one])]);
}

#[test]
fn evidence_too_old_for_a_peer_is_not_told_to_it() {
    let mut world = World::new();
    let mut params = ConsensusParams::default();
    params.evidence.max_age_num_blocks = 3;
    world.state.consensus_params = Arc::new(params);
    let one = piece(&world.signers, 0, 5);
    world.learn(&one);
    assert_eq!(world.join(1, 9), [], "four blocks");
    assert_eq!(world.join(2, 8), [(peer(2), vec![one])], "three blocks");
}

#[test]
fn what_a_peer_told_us_is_not_told_back() {
    let mut world = World::new();
    let one = piece(&world.signers, 0, 5);
    world.join(1, 9);
    world.join(2, 9);
    assert_eq!(world.hear(1, &one), [(peer(2), vec![one.clone()])]);
    world.tell(EvidenceGossipInput::PeerDown(peer(1)));
    assert_eq!(world.join(1, 9), [(peer(1), vec![one])], "a new connection may be of a node that forgot");
}

#[test]
fn one_message_at_a_time_and_the_rest_waits() {
    let mut world = World::new();
    let all: Vec<Evidence> = (0..4).map(|index| piece(&world.signers, index, 5)).collect();
    world.join(1, 9);
    assert_eq!(world.learn(&all[0]).len(), 1);
    assert_eq!(world.learn(&all[1]), []);
    assert_eq!(world.learn(&all[2]), []);
    let mut rest = all[1..3].to_vec();
    rest.sort_by_key(Evidence::key);
    assert_eq!(world.written(1), [(peer(1), rest)]);
}

#[test]
fn a_message_fits_the_channel() {
    let mut world = World::new();
    let mut all = Vec::new();
    for round in 0..3_000 {
        let mut votes = double_vote(&world.signers, 0, 5);
        for (vote, word) in [(&mut votes.vote_a, "x"), (&mut votes.vote_b, "y")] {
            let kind = crate::types::VoteKind::Precommit;
            let id = crate::types::tests::block_id(word);
            let id = crate::types::BlockId { hash: id.hash, ..id };
            *vote =
                crate::types::Vote { kind, round: crate::types::Round::new(round), block_id: Some(id), ..vote.clone() };
        }
        all.push(Evidence::DuplicateVote(Box::new(votes)));
    }
    let stored = crate::types::StoredEvidence { pending: all.clone(), committed: vec![] };
    world.pool.restore(stored, &world.state);
    let mut told = 0;
    let mut next = world.join(1, 9);
    while let [(_, evidence)] = &next[..] {
        let len = PeerMessage::Evidence(evidence.clone()).encode().len() as u64;
        assert!(len <= MESSAGE_BYTES_MAX, "{len}");
        told += evidence.len();
        if told < all.len() {
            assert!(len + evidence[0].encoded_len() > MESSAGE_BYTES_MAX, "full");
        }
        next = world.tell(EvidenceGossipInput::Written(peer(1), len));
    }
    assert_eq!(told, all.len());
}

/// What can happen. Numbers below 3 name peers; pieces are named by offender and height.
#[derive(Debug, Clone)]
enum Act {
    Learn(usize, u64),
    Hear(u8, usize, u64),
    Prove(usize, u64),
    Up(u8),
    Down(u8),
    At(u8, u64),
    Written(u8),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let (who, offender, height) = (0u8..3, 0usize..4, 2u64..8);
    let act = prop_oneof![
        3 => (offender.clone(), height.clone()).prop_map(|(index, height)| Act::Learn(index, height)),
        2 => (who.clone(), offender.clone(), height.clone()).prop_map(|(who, index, height)| Act::Hear(who, index, height)),
        1 => (offender, height).prop_map(|(index, height)| Act::Prove(index, height)),
        1 => who.clone().prop_map(Act::Up),
        1 => who.clone().prop_map(Act::Down),
        3 => (who.clone(), 1u64..10).prop_map(|(who, height)| Act::At(who, height)),
        3 => who.prop_map(Act::Written),
    ];
    prop::collection::vec(act, 0..60)
}

/// One connection, with plain lists.
#[derive(Default)]
struct Connection {
    at: Option<u64>,
    has: Vec<EvidenceKey>,
    busy: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_peer_past_a_piece_hears_it_once_in_200_histories(acts in acts()) {
        let mut world = World::new();
        let mut connections: BTreeMap<u8, Connection> = BTreeMap::new();
        let end = (0..3).flat_map(|who| [Act::At(who, 9), Act::Written(who), Act::Written(who)]);
        for act in acts.into_iter().chain(end) {
            let told = match act {
                Act::Learn(index, height) => world.learn(&piece(&world.signers, index, height)),
                Act::Hear(who, index, height) => {
                    let evidence = piece(&world.signers, index, height);
                    if let Some(connection) = connections.get_mut(&who) {
                        connection.has.push(evidence.key());
                    }
                    world.hear(who, &evidence)
                }
                Act::Prove(index, height) => {
                    world.pool.mark_committed(&piece(&world.signers, index, height));
                    world.tell(EvidenceGossipInput::Changed)
                }
                Act::Up(who) => {
                    connections.insert(who, Connection::default());
                    world.tell(EvidenceGossipInput::PeerUp(peer(who)))
                }
                Act::Down(who) => {
                    connections.remove(&who);
                    world.tell(EvidenceGossipInput::PeerDown(peer(who)))
                }
                Act::At(who, height) => {
                    connections.entry(who).and_modify(|connection| connection.at = Some(height));
                    world.tell(EvidenceGossipInput::PeerAt(peer(who), Height::new(height)))
                }
                Act::Written(who) => {
                    connections.entry(who).and_modify(|connection| connection.busy = false);
                    world.written(who)
                }
            };
            for (who, evidence) in told {
                let who = (0..3).find(|number| peer(*number) == who).expect("a peer of this test");
                let connection = connections.get_mut(&who).expect("it is connected");
                prop_assert!(!connection.busy && !evidence.is_empty());
                connection.busy = true;
                for key in evidence.iter().map(Evidence::key) {
                    prop_assert!(world.pool.waits(&key) && key.height.get() < connection.at.expect("it said so"));
                    prop_assert!(!connection.has.contains(&key), "told twice, or back");
                    connection.has.push(key);
                }
            }
            for connection in connections.values().filter(|connection| !connection.busy) {
                let at = connection.at.unwrap_or(0);
                let lacks = world.pool.iter().map(Evidence::key).find(|key| key.height.get() < at && !connection.has.contains(key));
                prop_assert_eq!(lacks, None, "nothing is held back");
            }
        }
    }
}

#[test]
fn a_piece_too_large_for_a_message_is_passed_over() {
    let mut world = World::new();
    let (mut large, small) = (double_vote(&world.signers, 0, 4), piece(&world.signers, 1, 5));
    large.vote_a.extension = vec![0; MESSAGE_BYTES_MAX as usize].into();
    let pending = vec![Evidence::DuplicateVote(Box::new(large)), small.clone()];
    world.pool.restore(crate::types::StoredEvidence { pending, committed: vec![] }, &world.state);
    assert_eq!(world.join(1, 9), [(peer(1), vec![small])]);
}

#[test]
fn what_waits_no_more_is_not_remembered_of_peers() {
    let mut world = World::new();
    let one = piece(&world.signers, 0, 5);
    world.join(1, 9);
    world.learn(&one);
    assert_eq!(world.gossip.peers[&peer(1)].has.len(), 1);
    world.pool.mark_committed(&one);
    world.tell(EvidenceGossipInput::Changed);
    assert_eq!(world.gossip.peers[&peer(1)].has.len(), 0);
}
