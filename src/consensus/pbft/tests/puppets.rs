//! Members, blocks, votes and statements with signatures that mean nothing.

use crate::consensus::{EmptyBlocks, Now, Signed, Start, Tick, Timeouts};
use crate::crypto::{PublicKey, Signature, sha256};
use crate::types::{
    Address, Block, BlockId, CandidateBlock, ChainId, CommitSig, ConsensusParams, ExtendedCommit, ExtendedCommitSig,
    Header, Height, NodeId, PbftStatement, Power, PreparedCertificate, Proposal, Round, SignRequest, SignedPart,
    Statement, StatementBody, Time, Validator, ValidatorSet, Version, Vote, VoteKind,
};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// The base of the view timer in all tests.
pub(super) const VIEW_TIMEOUT: Duration = Duration::from_millis(500);

/// Whoever has this number has this key, in whatever set.
pub(super) fn validator(who: usize, power: u64) -> Validator {
    Validator::new(PublicKey::new([who as u8 + 1; 32]), Power::new(power))
}

pub(super) fn address(who: usize) -> Address {
    validator(who, 1).address
}

pub(super) fn node_id(who: usize) -> NodeId {
    NodeId::new(address(who))
}

/// A set of these people, each with power 1.
pub(super) fn set_of(people: &[usize]) -> Arc<ValidatorSet> {
    Arc::new(ValidatorSet::new(people.iter().map(|who| validator(*who, 1))).expect("a legal set"))
}

/// Person `i` has power `powers[i]`.
pub(super) fn weighted(powers: &[u64]) -> Arc<ValidatorSet> {
    let members = powers.iter().enumerate().map(|(who, power)| validator(who, *power));
    Arc::new(ValidatorSet::new(members).expect("a legal set"))
}

/// Where this person sits.
pub(super) fn seat(set: &ValidatorSet, who: usize) -> Option<u32> {
    set.by_address(&address(who)).map(|(index, _)| index)
}

/// Who sits there.
pub(super) fn person(set: &ValidatorSet, index: u32) -> usize {
    let wanted = set.by_index(index).expect("a member").address;
    (0..=255).find(|who| address(*who) == wanted).expect("one of the people")
}

/// The person that leads a view: p = v mod n, counted here once more.
pub(super) fn primary(set: &ValidatorSet, view: u32) -> usize {
    person(set, view % set.len() as u32)
}

/// A block whose application hash is its tag.
pub(super) fn block(height: u64, tag: &str) -> Arc<CandidateBlock> {
    let hash = sha256(tag.as_bytes());
    let header = Header {
        version: Version { block: Version::BLOCK, app: 0 },
        chain_id: ChainId::try_from("story").expect("short"),
        height: Height::new(height),
        time: Time::UNIX_EPOCH.plus(Duration::from_secs(1000 + height)),
        last_block_id: None,
        last_commit_hash: hash,
        data_hash: hash,
        validators_hash: hash,
        next_validators_hash: hash,
        consensus_hash: hash,
        app_hash: Bytes::copy_from_slice(tag.as_bytes()),
        last_results_hash: hash,
        evidence_hash: hash,
        proposer_address: Address::new([1; 20]),
    };
    Arc::new(CandidateBlock::new(Block { header, txs: Vec::new(), evidence: Vec::new(), last_commit: None }))
}

pub(super) fn start(set: &Arc<ValidatorSet>, own: Option<usize>, height: u64) -> Start {
    let second = Duration::from_secs(1);
    Start {
        chain_id: ChainId::try_from("story").expect("short"),
        height: Height::new(height),
        initial_height: Height::FIRST,
        validators: Arc::clone(set),
        next_validators: Arc::clone(set),
        last_validators: None,
        last_commit: None,
        last_block: None,
        last_block_time: Time::UNIX_EPOCH,
        params: Arc::new(ConsensusParams::default()),
        own: own.map(address),
        timeouts: Timeouts {
            propose: second,
            propose_delta: second,
            prevote: second,
            prevote_delta: second,
            precommit: second,
            precommit_delta: second,
            commit: second,
            skip_commit_when_all_voted: false,
            empty_blocks: EmptyBlocks::Always,
            election: second,
            heartbeat: Duration::from_millis(100),
            view_change: VIEW_TIMEOUT,
        },
        begin_at: Tick(0),
        proof_block_needed: false,
        txs_available: false,
    }
}

pub(super) fn now_at(tick: Tick) -> Now {
    Now { tick, wall: Time::UNIX_EPOCH.plus(Duration::from_secs(2000)).plus(Duration::from_nanos(tick.0)) }
}

fn signature_over(words: &str) -> Signature {
    let hash = sha256(words.as_bytes());
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(hash.as_bytes());
    Signature::new(bytes)
}

pub(super) fn vote_of(set: &ValidatorSet, who: usize, kind: VoteKind, at: (u64, u32), id: BlockId) -> Vote {
    let (height, view) = at;
    Vote {
        kind,
        height: Height::new(height),
        round: Round::new(view),
        block_id: Some(id),
        timestamp: Time::UNIX_EPOCH,
        validator_address: address(who),
        validator_index: seat(set, who).unwrap_or(u32::MAX),
        signature: signature_over(&format!("{who} {kind:?} {height} {view} {id:?}")),
        extension: Bytes::new(),
        extension_signature: None,
    }
}

pub(super) fn proposal_of(height: u64, view: u32, id: BlockId) -> Proposal {
    Proposal {
        height: Height::new(height),
        round: Round::new(view),
        pol_round: None,
        block_id: id,
        timestamp: Time::UNIX_EPOCH,
        signature: signature_over(&format!("{height} {view} {id:?}")),
    }
}

pub(super) fn statement_of(who: usize, body: PbftStatement) -> Statement {
    let signature = signature_over(&format!("{who} {body:?}"));
    Statement { by: address(who), body: StatementBody::Pbft(Box::new(body)), signature }
}

/// The commit of a height by these people.
pub(super) fn commit_of(set: &ValidatorSet, people: &[usize], at: (u64, u32), id: BlockId) -> ExtendedCommit {
    let entry = |index: u32| {
        let who = person(set, index);
        let vote = vote_of(set, who, VoteKind::Precommit, at, id);
        let part = SignedPart {
            validator_address: vote.validator_address,
            timestamp: vote.timestamp,
            signature: vote.signature,
        };
        let sig = if people.contains(&who) { CommitSig::Commit(part) } else { CommitSig::Absent };
        ExtendedCommitSig { sig, extension: Bytes::new(), extension_signature: None }
    };
    let signatures = (0..set.len() as u32).map(entry).collect();
    ExtendedCommit { height: Height::new(at.0), round: Round::new(at.1), block_id: id, signatures }
}

pub(super) fn certificate_of(set: &ValidatorSet, people: &[usize], at: (u64, u32), id: BlockId) -> PreparedCertificate {
    let prepares = people.iter().map(|who| vote_of(set, *who, VoteKind::Prevote, at, id)).collect();
    PreparedCertificate { height: Height::new(at.0), view: Round::new(at.1), block_id: id, prepares }
}

/// A VIEW-CHANGE at `(height, view)`.
pub(super) fn view_change_of(
    who: usize,
    at: (u64, u32),
    checkpoint: Option<ExtendedCommit>,
    prepared: Option<PreparedCertificate>,
) -> Statement {
    let (height, view) = (Height::new(at.0), Round::new(at.1));
    statement_of(who, PbftStatement::ViewChange { view, height, checkpoint, prepared })
}

/// A NEW-VIEW at `(height, view)`.
pub(super) fn new_view_of(
    who: usize,
    at: (u64, u32),
    view_changes: Vec<Statement>,
    chosen: Option<BlockId>,
) -> Statement {
    let (height, view) = (Height::new(at.0), Round::new(at.1));
    statement_of(who, PbftStatement::NewView { view, height, view_changes, chosen })
}

/// Signs as the real signer does, but with a signature that means nothing.
pub(super) fn sign(request: SignRequest) -> Signed {
    match request {
        SignRequest::Statement(unsigned) => {
            let signature = signature_over(&format!("{unsigned:?}"));
            Signed::Statement(Box::new(unsigned.signed(signature)))
        }
        SignRequest::Vote(unsigned) => {
            let signature = signature_over(&format!("{unsigned:?}"));
            let extended = unsigned.extension.is_some();
            let timestamp = unsigned.timestamp;
            Signed::Vote(unsigned.signed(timestamp, signature, extended.then_some(signature)))
        }
        SignRequest::Proposal(unsigned) => {
            let signature = signature_over(&format!("{unsigned:?}"));
            let timestamp = unsigned.timestamp;
            Signed::Proposal(unsigned.signed(timestamp, signature))
        }
    }
}
