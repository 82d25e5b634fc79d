//! Whether one piece of evidence is true (CometBFT's evidence/verify.go).

use crate::crypto::Hash;
use crate::types::{
    Address, BasicError, ChainId, ChainState, CommitError, CommitSig, DuplicateVoteEvidence, Evidence, EvidenceParams,
    Header, Height, LightClientAttackEvidence, Power, SignedHeader, Time, TrustLevel, Validator, ValidatorSet, Vote,
};
use std::sync::Arc;

/// What this node's chain says about the height of an offence ([`Evidence::height`]).
#[derive(Debug, Clone)]
pub struct Facts {
    /// Time in the header of that height.
    pub block_time: Time,
    /// The set that decided that height.
    pub validators: Arc<ValidatorSet>,
    /// For a light-client attack: our header and its commit at [`trusted_height`], or at the tip when our chain is not
    /// that high yet. Not looked at otherwise.
    pub trusted: Option<SignedHeader>,
}

/// Height of the header against which a light-client attack is held; none for other evidence.
pub fn trusted_height(evidence: &Evidence) -> Option<Height> {
    match evidence {
        Evidence::DuplicateVote(_) => None,
        Evidence::LightClientAttack(attack) => Some(attack.conflicting_block.signed_header.header.height),
    }
}

/// Why evidence is refused. Texts are CometBFT's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEvidence {
    /// Inconsistent in itself.
    #[error("{0}")]
    Basic(#[from] BasicError),
    /// This node has no block at that height.
    #[error("don't have header #{0}")]
    NoHeader(Height),
    /// Its time is not the time of the block at that height.
    #[error("evidence has a different time to the block it is associated with ({got} != {expected})")]
    WrongTime {
        /// The block's.
        expected: Time,
        /// The evidence's.
        got: Time,
    },
    /// Too old to punish.
    #[error(
        "evidence from height {height} (created at: {time}) is too old; expired by height {at_height} and {at_time}"
    )]
    Expired {
        /// Of the offence.
        height: Height,
        /// Of the offence.
        time: Time,
        /// Our last block.
        at_height: Height,
        /// Its time.
        at_time: Time,
    },
    /// Not a validator there.
    #[error("address {address} was not a validator at height {height}")]
    NotAValidator {
        /// Who.
        address: Address,
        /// Where.
        height: Height,
    },
    /// The votes are for different steps.
    #[error("h/r/s does not match: {a} vs {b}")]
    DifferentSteps {
        /// Height, round and kind of vote A.
        a: String,
        /// Height, round and kind of vote B.
        b: String,
    },
    /// The votes are by different validators.
    #[error("validator addresses do not match: {a} vs {b}")]
    DifferentVoters {
        /// Of vote A.
        a: Address,
        /// Of vote B.
        b: Address,
    },
    /// Wrong power of the offender.
    #[error("validator power from evidence and our validator set does not match ({got} != {expected})")]
    WrongPower {
        /// In our set.
        expected: Power,
        /// In the evidence.
        got: Power,
    },
    /// Wrong power of the set.
    #[error("total voting power from the evidence and our validator set does not match ({got} != {expected})")]
    WrongTotalPower {
        /// Of our set.
        expected: Power,
        /// In the evidence.
        got: Power,
    },
    /// A vote nobody signed.
    #[error("verifying {0}: invalid signature")]
    VoteSignature(&'static str),
    /// Too few of the common set signed the false block.
    #[error("skipping verification of conflicting block failed: {0}")]
    Skipping(CommitError),
    /// At the common height itself only a correctly derived header is an attack.
    #[error(
        "common height is the same as conflicting block height so expected the conflicting block to be correctly \
         derived yet it wasn't"
    )]
    NotDerived,
    /// The false block's own set did not sign it.
    #[error("invalid commit from conflicting block: {0}")]
    ConflictingCommit(CommitError),
    /// A block above our tip is an attack only when it is not later than our tip.
    #[error("conflicting block doesn't violate monotonically increasing time ({conflicting} is after {trusted})")]
    LaterThanOurs {
        /// Of the false block.
        conflicting: Time,
        /// Of our tip.
        trusted: Time,
    },
    /// It is our own block.
    #[error("trusted header hash matches the evidence's conflicting header hash: {0}")]
    SameHeader(Hash),
    /// Nobody can be blamed for certain (amnesia): CometBFT refuses such evidence when it comes over the wire.
    #[error("expected nil validators from an amnesia light client attack but got {0}")]
    NobodyToBlame(usize),
    /// The list of offenders is not the one that follows from the facts.
    #[error("expected {expected} byzantine validators from evidence but got {got}")]
    WrongOffenders {
        /// How many there are.
        expected: usize,
        /// How many are listed.
        got: usize,
    },
    /// An offender in the list is not the one that follows from the facts.
    #[error("evidence contained an unexpected byzantine validator; expected: {expected}, got: {got}")]
    WrongOffender {
        /// Address and power by our set.
        expected: String,
        /// As listed.
        got: String,
    },
    /// Punished already.
    #[error("evidence was already committed")]
    Committed,
    /// More than a block may carry.
    #[error("Too much evidence: Max {max}, got {got}")]
    TooMuch {
        /// Bytes allowed.
        max: u64,
        /// Bytes there are.
        got: u64,
    },
    /// Twice in one block.
    #[error("duplicate evidence")]
    Duplicate,
    /// Nothing wrong with it, but there is no room.
    #[error(
        "the evidence pool is full ({pieces} pieces, {bytes} bytes); evidence is taken again when some was committed \
         or expired"
    )]
    PoolFull {
        /// Pieces in it.
        pieces: usize,
        /// Their bytes.
        bytes: u64,
    },
}

/// Whether `evidence` is true and still punishable after `state`.
pub fn verify(evidence: &Evidence, facts: &Facts, state: &ChainState) -> Result<(), InvalidEvidence> {
    check_form_and_time(evidence, facts)?;
    if is_expired(evidence.height(), facts.block_time, state) {
        return Err(InvalidEvidence::Expired {
            height: evidence.height(),
            time: facts.block_time,
            at_height: state.last_block_height,
            at_time: state.last_block_time,
        });
    }
    prove_offence(evidence, facts, &state.chain_id)
}

/// Whether `evidence` is true, however old it is: for auditors, who judge what was punished long ago.
pub fn prove(evidence: &Evidence, facts: &Facts, chain_id: &ChainId) -> Result<(), InvalidEvidence> {
    check_form_and_time(evidence, facts)?;
    prove_offence(evidence, facts, chain_id)
}

fn check_form_and_time(evidence: &Evidence, facts: &Facts) -> Result<(), InvalidEvidence> {
    evidence.validate_basic()?;
    if evidence.time() == facts.block_time {
        Ok(())
    } else {
        Err(InvalidEvidence::WrongTime { expected: facts.block_time, got: evidence.time() })
    }
}

fn prove_offence(evidence: &Evidence, facts: &Facts, chain_id: &ChainId) -> Result<(), InvalidEvidence> {
    match evidence {
        Evidence::DuplicateVote(votes) => verify_duplicate_vote(votes, chain_id, &facts.validators),
        Evidence::LightClientAttack(attack) => {
            let height = attack.conflicting_block.signed_header.header.height;
            let trusted = facts.trusted.as_ref().ok_or(InvalidEvidence::NoHeader(height))?;
            verify_light_client_attack(attack, trusted, chain_id, &facts.validators)
        }
    }
}

/// Whether an offence is too old after `state`: in blocks **and** in time.
pub fn is_expired(height: Height, time: Time, state: &ChainState) -> bool {
    is_too_old((height, time), (state.last_block_height, state.last_block_time), &state.consensus_params.evidence)
}

/// Whether an offence, given as height and time, is too old after the last block, given likewise.
pub fn is_too_old(offence: (Height, Time), last: (Height, Time), limits: &EvidenceParams) -> bool {
    let blocks = last.0.get().saturating_sub(offence.0.get());
    let long_ago = mutant!("E2") || last.1.since(offence.1) > limits.max_age_duration;
    (blocks > limits.max_age_num_blocks || (mutant!("E8") && blocks == limits.max_age_num_blocks)) && long_ago
}

fn check_total_power(got: Power, set: &ValidatorSet) -> Result<(), InvalidEvidence> {
    let expected = set.total_power();
    if got == expected { Ok(()) } else { Err(InvalidEvidence::WrongTotalPower { expected, got }) }
}

/// VerifyDuplicateVote: one validator, one step, two blocks, two good signatures. That the blocks differ is part of
/// the order of the votes ([`Evidence::validate_basic`]).
fn verify_duplicate_vote(
    evidence: &DuplicateVoteEvidence,
    chain_id: &ChainId,
    set: &ValidatorSet,
) -> Result<(), InvalidEvidence> {
    let (a, b) = (&evidence.vote_a, &evidence.vote_b);
    let address = a.validator_address;
    let Some((_, offender)) = set.by_address(&address) else {
        return Err(InvalidEvidence::NotAValidator { address, height: a.height });
    };
    if (a.height, a.kind) != (b.height, b.kind) || (a.round != b.round && !mutant!("E1")) {
        let step = |vote: &Vote| format!("{}/{}/{:?}", vote.height, vote.round, vote.kind);
        return Err(InvalidEvidence::DifferentSteps { a: step(a), b: step(b) });
    }
    if address != b.validator_address && !mutant!("E9") {
        return Err(InvalidEvidence::DifferentVoters { a: address, b: b.validator_address });
    }
    if offender.power != evidence.validator_power && !mutant!("E10") {
        return Err(InvalidEvidence::WrongPower { expected: offender.power, got: evidence.validator_power });
    }
    if !mutant!("E11") {
        check_total_power(evidence.total_voting_power, set)?;
    }
    for (name, vote) in [("VoteA", a), ("VoteB", b)] {
        if !offender.public_key.verifies(&vote.sign_bytes(chain_id), &vote.signature) && !mutant!("E6") {
            return Err(InvalidEvidence::VoteSignature(name));
        }
    }
    Ok(())
}

/// VerifyLightClientAttack: more than 1/3 of the common set and more than 2/3 of its own signed a block that is not
/// ours, and the list of offenders is right. Every signature is checked: each accuses somebody.
fn verify_light_client_attack(
    attack: &LightClientAttackEvidence,
    trusted: &SignedHeader,
    chain_id: &ChainId,
    common: &ValidatorSet,
) -> Result<(), InvalidEvidence> {
    let conflicting = &attack.conflicting_block.signed_header;
    let (header, commit) = (&conflicting.header, &conflicting.commit);
    if attack.common_height != header.height && !mutant!("E14") {
        common
            .verify_commit_light_trusting_all_signatures(chain_id, commit, TrustLevel::ONE_THIRD)
            .map_err(InvalidEvidence::Skipping)?;
    } else if !derives_alike(&trusted.header, header) {
        return Err(InvalidEvidence::NotDerived);
    }
    attack
        .conflicting_block
        .validators
        .verify_commit_light_all_signatures(chain_id, &commit.block_id, header.height, commit)
        .map_err(InvalidEvidence::ConflictingCommit)?;
    check_total_power(attack.total_voting_power, common)?;
    if header.height > trusted.header.height && header.time > trusted.header.time && !mutant!("E12") {
        return Err(InvalidEvidence::LaterThanOurs { conflicting: header.time, trusted: trusted.header.time });
    }
    let hash = header.hash();
    if hash == trusted.header.hash() && !mutant!("E13") {
        return Err(InvalidEvidence::SameHeader(hash));
    }
    check_offenders(attack, &offenders(attack, trusted, common))
}

/// The fields that every correct node derives from the chain alike are equal: then it is no lunatic attack.
fn derives_alike(ours: &Header, theirs: &Header) -> bool {
    ours.validators_hash == theirs.validators_hash
        && ours.next_validators_hash == theirs.next_validators_hash
        && ours.consensus_hash == theirs.consensus_hash
        && (ours.app_hash == theirs.app_hash || mutant!("E15"))
        && ours.last_results_hash == theirs.last_results_hash
}

/// GetByzantineValidators: who is to blame, by power descending, then address.
///
/// Lunatic attack: the members of the common set who signed the invented header. Equivocation (same round): who signed
/// both blocks. Amnesia (another round): nobody for certain.
fn offenders<'a>(
    attack: &'a LightClientAttackEvidence,
    trusted: &SignedHeader,
    common: &'a ValidatorSet,
) -> Vec<&'a Validator> {
    let conflicting = &attack.conflicting_block;
    let (header, commit) = (&conflicting.signed_header.header, &conflicting.signed_header.commit);
    let for_block = |sig: &CommitSig| matches!(sig, CommitSig::Commit(_));
    let mut offenders: Vec<&Validator> = if !derives_alike(&trusted.header, header) {
        let signers = commit.signatures.iter().filter(|sig| for_block(sig)).filter_map(CommitSig::signed);
        signers.filter_map(|part| common.by_address(&part.validator_address)).map(|(_, member)| member).collect()
    } else if trusted.commit.round == commit.round || mutant!("E16") {
        // The validators' hashes are equal, so both commits are in the order of one set.
        let both = commit.signatures.iter().zip(&trusted.commit.signatures);
        let twice = both.filter(|(theirs, ours)| for_block(theirs) && for_block(ours));
        let signers = twice.filter_map(|(theirs, _)| theirs.signed());
        let member = |address: &Address| conflicting.validators.by_address(address).map(|(_, member)| member);
        signers.filter_map(|part| member(&part.validator_address)).collect()
    } else {
        Vec::new()
    };
    offenders.sort_by(|a, b| b.power.cmp(&a.power).then(a.address.cmp(&b.address)));
    offenders
}

/// The list in the evidence is exactly `expected`, and each address is its key's, because the application punishes
/// the key (bug class 052).
fn check_offenders(attack: &LightClientAttackEvidence, expected: &[&Validator]) -> Result<(), InvalidEvidence> {
    let listed = &attack.byzantine_validators;
    if expected.is_empty() {
        return Err(InvalidEvidence::NobodyToBlame(listed.len()));
    }
    if expected.len() != listed.len() && !mutant!("E7") {
        return Err(InvalidEvidence::WrongOffenders { expected: expected.len(), got: listed.len() });
    }
    for (expected, got) in expected.iter().zip(listed) {
        let right = expected.address == got.address && expected.power == got.power;
        if !right || Address::from(&got.public_key) != got.address {
            let name = |member: &Validator| format!("{} with power {}", member.address, member.power);
            return Err(InvalidEvidence::WrongOffender { expected: name(expected), got: name(got) });
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
