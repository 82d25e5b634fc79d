//! What the application is asked about a block (reference §3.3, §3.8).

use super::build::CommitMismatch;
use crate::types::abci::{
    AbciValidator, BlockFacts, BlockIdFlag, CommitInfo, ExtendVoteRequest, ExtendedCommitInfo, ExtendedVoteInfo,
    FinalizeBlockRequest, InfoRequest, InitChainRequest, Misbehavior, MisbehaviorKind, ProcessProposalRequest, Request,
    VerifyVoteExtensionRequest, VoteInfo,
};
use crate::types::{
    Block, CandidateBlock, Commit, CommitSig, ConsensusParams, Evidence, ExtendedCommit, GenesisDoc, Header, Tx,
    Validator, ValidatorSet, ValidatorSetError, ValidatorUpdate, Version, Vote,
};
use bytes::Bytes;

/// The version we give to applications: theirs may depend on it.
pub const SOFTWARE_VERSION: &str = "0.38.25";
/// CometBFT's peer-to-peer protocol.
pub const P2P_VERSION: u64 = 8;
/// The ABCI we speak.
pub const ABCI_VERSION: &str = "2.0.0";

/// The handshake's first question (reference §3.7).
pub fn info() -> InfoRequest {
    InfoRequest {
        version: SOFTWARE_VERSION.to_owned(),
        block_version: Version::BLOCK,
        p2p_version: P2P_VERSION,
        abci_version: ABCI_VERSION.to_owned(),
    }
}

/// InitChain for a chain that begins. Validators in set order; an error when genesis names an impossible set.
pub fn init_chain(genesis: &GenesisDoc) -> Result<InitChainRequest, ValidatorSetError> {
    Ok(InitChainRequest {
        time: genesis.genesis_time,
        chain_id: genesis.chain_id.as_str().to_owned(),
        consensus_params: Some(genesis.consensus_params.clone()),
        validators: genesis_validators(genesis)?.map(|set| updates_of(&set)).unwrap_or_default(),
        app_state_bytes: genesis.app_state.clone(),
        initial_height: if mutant!("H92") { crate::types::Height::FIRST } else { genesis.initial_height },
    })
}

/// The set genesis names; none when the application shall name it.
pub(super) fn genesis_validators(genesis: &GenesisDoc) -> Result<Option<ValidatorSet>, ValidatorSetError> {
    if genesis.validators.is_empty() {
        return Ok(None);
    }
    ValidatorSet::new(genesis.validators.iter().map(|named| Validator::new(named.public_key, named.power))).map(Some)
}

fn updates_of(set: &ValidatorSet) -> Vec<ValidatorUpdate> {
    set.members().iter().map(|member| ValidatorUpdate { public_key: member.public_key, power: member.power }).collect()
}

/// ProcessProposal for a proposed block.
pub fn process_proposal(
    block: &CandidateBlock,
    last_validators: Option<&ValidatorSet>,
) -> Result<Request, CommitMismatch> {
    Ok(Request::ProcessProposal(ProcessProposalRequest {
        txs: raw_txs(block.block()),
        proposed_last_commit: last_commit_info(block.block(), last_validators)?,
        hash: block.id().hash,
        block: facts(block.block()),
    }))
}

/// ExtendVote for a block we are about to precommit.
pub fn extend_vote(block: &CandidateBlock, last_validators: Option<&ValidatorSet>) -> Result<Request, CommitMismatch> {
    Ok(Request::ExtendVote(ExtendVoteRequest {
        hash: block.id().hash,
        txs: raw_txs(block.block()),
        proposed_last_commit: last_commit_info(block.block(), last_validators)?,
        block: facts(block.block()),
    }))
}

/// VerifyVoteExtension for a precommit; none for a nil precommit, which has no extension.
pub fn verify_extension(vote: &Vote) -> Option<Request> {
    Some(Request::VerifyVoteExtension(VerifyVoteExtensionRequest {
        hash: vote.block_id?.hash,
        validator_address: vote.validator_address,
        height: vote.height,
        vote_extension: vote.extension.clone(),
    }))
}

/// FinalizeBlock for a decided block. `last_validators` decided the height before it.
pub fn finalize_block(
    block: &CandidateBlock,
    last_validators: Option<&ValidatorSet>,
) -> Result<Request, CommitMismatch> {
    Ok(Request::FinalizeBlock(FinalizeBlockRequest {
        txs: raw_txs(block.block()),
        decided_last_commit: last_commit_info(block.block(), last_validators)?,
        hash: block.id().hash,
        block: facts(block.block()),
    }))
}

/// The application's view of the commit a block carries; empty in the first block.
fn last_commit_info(block: &Block, last_validators: Option<&ValidatorSet>) -> Result<CommitInfo, CommitMismatch> {
    match (&block.last_commit, last_validators) {
        (None, _) => Ok(CommitInfo::default()),
        (Some(commit), Some(set)) => commit_info(commit, set),
        (Some(commit), None) => Err(CommitMismatch::unexpected(commit.height)),
    }
}

fn commit_info(commit: &Commit, set: &ValidatorSet) -> Result<CommitInfo, CommitMismatch> {
    CommitMismatch::check(commit.height, commit.signatures.iter(), set)?;
    let flags = commit.signatures.iter().map(flag);
    let votes = set.members().iter().zip(flags).map(|(member, flag)| VoteInfo { validator: abci(member), flag });
    Ok(CommitInfo { round: commit.round, votes: votes.collect() })
}

/// The last commit for PrepareProposal. Extensions go along only if they were enabled at its height.
pub(super) fn extended_commit_info(
    commit: &ExtendedCommit,
    set: &ValidatorSet,
    params: &ConsensusParams,
) -> Result<ExtendedCommitInfo, CommitMismatch> {
    CommitMismatch::check(commit.height, commit.signatures.iter().map(|entry| &entry.sig), set)?;
    let extended = params.abci.extensions_enabled(commit.height);
    let mut votes = Vec::with_capacity(commit.signatures.len());
    for (member, entry) in set.members().iter().zip(&commit.signatures) {
        let flag = flag(&entry.sig);
        let (vote_extension, extension_signature) = match (&entry.extension_signature, extended, flag) {
            (Some(signature), true, BlockIdFlag::Commit) => {
                (entry.extension.clone(), Bytes::copy_from_slice(signature.as_bytes()))
            }
            (None, true, BlockIdFlag::Commit) if !mutant!("H90") => {
                return Err(CommitMismatch::MissingExtension { height: commit.height, address: member.address });
            }
            _ => (Bytes::new(), Bytes::new()),
        };
        votes.push(ExtendedVoteInfo { validator: abci(member), vote_extension, extension_signature, flag });
    }
    Ok(ExtendedCommitInfo { round: commit.round, votes })
}

fn flag(sig: &CommitSig) -> BlockIdFlag {
    match sig {
        CommitSig::Absent => BlockIdFlag::Absent,
        CommitSig::Commit(_) => BlockIdFlag::Commit,
        CommitSig::Nil(_) => BlockIdFlag::Nil,
    }
}

fn abci(member: &Validator) -> AbciValidator {
    AbciValidator { address: member.address, power: member.power }
}

fn raw_txs(block: &Block) -> Vec<Bytes> {
    block.txs.iter().map(|tx| tx.bytes().clone()).collect()
}

fn facts(block: &Block) -> BlockFacts {
    header_facts(&block.header, &block.evidence)
}

/// The facts of a block that most calls share.
pub(super) fn header_facts(header: &Header, evidence: &[Evidence]) -> BlockFacts {
    BlockFacts {
        misbehavior: evidence.iter().flat_map(misbehavior).collect(),
        height: header.height,
        time: header.time,
        next_validators_hash: header.next_validators_hash,
        proposer_address: header.proposer_address,
    }
}

/// Evidence as applications see it: one entry for each offender.
fn misbehavior(evidence: &Evidence) -> Vec<Misbehavior> {
    let entry = |kind, validator, total_voting_power| Misbehavior {
        kind,
        validator,
        height: evidence.height(),
        time: evidence.time(),
        total_voting_power,
    };
    match evidence {
        Evidence::DuplicateVote(it) => {
            let offender = AbciValidator {
                address: it.vote_a.validator_address,
                power: if mutant!("H91") { it.total_voting_power } else { it.validator_power },
            };
            vec![entry(MisbehaviorKind::DuplicateVote, offender, it.total_voting_power)]
        }
        Evidence::LightClientAttack(it) => it
            .byzantine_validators
            .iter()
            .map(|offender| entry(MisbehaviorKind::LightClientAttack, abci(offender), it.total_voting_power))
            .collect(),
    }
}

/// Bytes of transactions as they stand in a block.
pub(super) fn tx_bytes(txs: &[Tx]) -> u64 {
    txs.iter().map(Tx::encoded_len).sum()
}
