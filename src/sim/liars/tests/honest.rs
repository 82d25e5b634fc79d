//! What an honest core says at a height, and what it hears.

use super::*;

/// A block of this height, with three transactions.
fn block(scene: &Scene, own: Address, height: Height) -> CandidateBlock {
    let txs: Vec<Tx> = (0..3_u64).map(|nr| Tx::new((height.get() * 10 + nr).to_be_bytes().to_vec())).collect();
    let header = Header {
        version: Version { block: Version::BLOCK, app: 0 },
        chain_id: scene.chain_id.clone(),
        height,
        time: Time::new(1_700_000_000 + height.get() as i64, 0).unwrap(),
        last_block_id: None,
        last_commit_hash: Hash::EMPTY,
        data_hash: Tx::data_hash(&txs),
        validators_hash: Hash::EMPTY,
        next_validators_hash: Hash::EMPTY,
        consensus_hash: Hash::EMPTY,
        app_hash: Bytes::new(),
        last_results_hash: Hash::EMPTY,
        evidence_hash: Hash::EMPTY,
        proposer_address: own,
    };
    let last_commit = height.previous().filter(|before| *before > Height::ZERO).map(|before| {
        let votes = (0..4).map(|nr| vote(scene, nr, VoteKind::Precommit, before, Round::ZERO, Some(other_id())));
        crate::types::Commit {
            height: before,
            round: Round::ZERO,
            block_id: other_id(),
            signatures: votes.map(commit_sig).collect(),
        }
    });
    CandidateBlock::new(Block { header, txs, evidence: Vec::new(), last_commit })
}

fn commit_sig(vote: Vote) -> crate::types::CommitSig {
    crate::types::CommitSig::Commit(crate::types::SignedPart {
        validator_address: vote.validator_address,
        timestamp: vote.timestamp,
        signature: vote.signature,
    })
}

fn other_id() -> BlockId {
    BlockId { hash: sha256(b"other"), parts: crate::types::PartSetHeader { total: 1, hash: sha256(b"parts") } }
}

fn vote(scene: &Scene, node: usize, kind: VoteKind, height: Height, round: Round, block_id: Option<BlockId>) -> Vote {
    let by = scene.addresses[node];
    let unsigned = UnsignedVote {
        kind,
        height,
        round,
        block_id,
        timestamp: Time::UNIX_EPOCH,
        validator_address: by,
        validator_index: scene.validators.by_address(&by).unwrap().0,
        extension: None,
    };
    SealPen(by).vote(&scene.chain_id, unsigned)
}

fn state(scene: &Scene, node: usize, body: PbftStatement) -> Statement {
    let by = scene.addresses[node];
    let unsigned = UnsignedStatement { by, body: StatementBody::Pbft(Box::new(body)) };
    SealPen(by).statement(&scene.chain_id, unsigned)
}

fn view_change(scene: &Scene, node: usize, height: Height) -> Statement {
    let prepares = (0..3).map(|nr| vote(scene, nr, VoteKind::Prevote, height, Round::ZERO, Some(other_id())));
    let prepared = crate::types::PreparedCertificate {
        height,
        view: Round::ZERO,
        block_id: other_id(),
        prepares: prepares.collect(),
    };
    let (view, prepared) = (Round::new(1), (node != 3).then_some(prepared));
    state(scene, node, PbftStatement::ViewChange { view, height, checkpoint: None, prepared })
}

fn commit(scene: &Scene, height: Height) -> ExtendedCommit {
    let votes = (0..4).map(|nr| vote(scene, nr, VoteKind::Precommit, height, Round::ZERO, Some(other_id())));
    let signatures = votes.map(commit_sig).collect();
    crate::types::Commit { height, round: Round::ZERO, block_id: other_id(), signatures }.into()
}

/// One of everything, as node 3 says it: it proposes in round 1.
pub(super) fn words(scene: &Scene, own: Address, height: Height) -> Vec<DirectMessage> {
    let round = Round::new(1);
    let block = block(scene, own, height);
    let unsigned =
        UnsignedProposal { height, round, pol_round: None, block_id: block.id(), timestamp: Time::UNIX_EPOCH };
    let proposal = SealPen(own).proposal(&scene.chain_id, unsigned);
    let mut words = vec![DirectMessage::Proposal { by: own, proposal }];
    words.extend(block.parts().parts().map(|part| DirectMessage::Part { height, round, part: part.clone() }));
    for kind in [VoteKind::Prevote, VoteKind::Precommit] {
        words.push(DirectMessage::Vote(vote(scene, 3, kind, height, Round::ZERO, None)));
        words.push(DirectMessage::Vote(vote(scene, 3, kind, height, round, Some(block.id()))));
    }
    if scene.plan.algorithm == Algorithm::Pbft {
        let view_changes = vec![view_change(scene, 3, height), view_change(scene, 0, height)];
        let chosen = Some(other_id());
        let status = PbftStatement::Status { view: round, height, active: true, proposal: None };
        words.push(DirectMessage::Statement(view_change(scene, 3, height)));
        words.push(DirectMessage::Statement(state(
            scene,
            3,
            PbftStatement::NewView { view: round, height, view_changes, chosen },
        )));
        words.push(DirectMessage::Statement(state(scene, 3, status)));
        words.push(DirectMessage::Commit(commit(scene, height)));
    }
    words
}

/// What others say before: a proposal and prevotes of round 0, a VIEW-CHANGE.
pub(super) fn words_of_others(scene: &Scene, own: Address, height: Height) -> Vec<DirectMessage> {
    let unsigned = UnsignedProposal {
        height,
        round: Round::ZERO,
        pol_round: None,
        block_id: other_id(),
        timestamp: Time::UNIX_EPOCH,
    };
    let by = scene.addresses[0];
    assert_ne!(by, own, "node 0 is another one");
    let proposal = SealPen(by).proposal(&scene.chain_id, unsigned);
    let mut words = vec![DirectMessage::Proposal { by, proposal }];
    for node in 0..3 {
        let prevote = vote(scene, node, VoteKind::Prevote, height, Round::ZERO, Some(other_id()));
        words.push(DirectMessage::Vote(prevote));
    }
    if scene.plan.algorithm == Algorithm::Pbft {
        words.push(DirectMessage::Statement(view_change(scene, 1, height)));
        words.push(DirectMessage::Statement(view_change(scene, 2, height)));
    }
    words
}
