//! A judgement in pieces, for people: each thing that evidence claims, and whether it holds. The verdict itself is
//! [`super::prove`]'s; this says why.

use super::verify::Facts;
use crate::crypto::Signature;
use crate::types::{
    BlockId, ChainId, CommitSig, DuplicateVoteEvidence, Evidence, LightClientAttackEvidence, Power, Validator, Vote,
};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: String,
    /// What was found, or what is wrong.
    pub outcome: Result<String, String>,
}

/// Looks at everything a piece of evidence claims, also behind the first thing that is wrong.
pub fn examine(evidence: &Evidence, facts: &Facts, chain_id: &ChainId) -> Vec<Check> {
    let mut checks = Vec::new();
    let form = evidence.validate_basic().map_err(|error| error.to_string());
    checks.push(check("form", form.map(|()| "consistent in itself".to_owned())));
    let (claimed, block) = (evidence.time(), facts.block_time);
    checks.push(equal("time", &claimed, &block, &format!("the time of block {}", evidence.height())));
    match evidence {
        Evidence::DuplicateVote(votes) => examine_votes(votes, facts, chain_id, &mut checks),
        Evidence::LightClientAttack(attack) => examine_attack(attack, facts, chain_id, &mut checks),
    }
    checks
}

fn check(name: impl Into<String>, outcome: Result<String, String>) -> Check {
    Check { name: name.into(), outcome }
}

fn equal<T: PartialEq + std::fmt::Display>(name: &str, claimed: &T, actual: &T, words: &str) -> Check {
    let outcome = if claimed == actual {
        Ok(format!("{claimed}, {words}"))
    } else {
        Err(format!("{claimed} is claimed; {words} is {actual}"))
    };
    check(name, outcome)
}

/// A block as people tell blocks apart.
fn block_words(block: Option<&BlockId>) -> String {
    block.map_or("nil".to_owned(), |id| format!("block {}", id.hash))
}

fn examine_votes(evidence: &DuplicateVoteEvidence, facts: &Facts, chain_id: &ChainId, checks: &mut Vec<Check>) {
    let (a, b) = (&evidence.vote_a, &evidence.vote_b);
    let step = |vote: &Vote| format!("{:?} of height {} round {}", vote.kind, vote.height, vote.round);
    checks.push(equal("one step", &step(b), &step(a), "the step of vote A"));
    checks.push(equal("one voter", &b.validator_address, &a.validator_address, "the voter of vote A"));
    let (first, second) = (block_words(a.block_id.as_ref()), block_words(b.block_id.as_ref()));
    checks.push(check(
        "two blocks",
        if a.block_id == b.block_id {
            Err(format!("both are for {first}"))
        } else {
            Ok(format!("{first} and {second}"))
        },
    ));
    let member = facts.validators.by_address(&a.validator_address).map(|(_, member)| member);
    let words = format!("{} at height {}", a.validator_address, a.height);
    checks.push(check("validator", member.map(|_| words.clone()).ok_or_else(|| format!("no validator {words}"))));
    let Some(member) = member else { return };
    checks.push(equal("power", &evidence.validator_power, &member.power, "the validator's power at that height"));
    checks.push(total_power(&evidence.total_voting_power, facts));
    for (name, vote) in [("signature A", a), ("signature B", b)] {
        checks.push(signature(name, member, &vote.sign_bytes(chain_id), &vote.signature));
    }
}

fn total_power(claimed: &Power, facts: &Facts) -> Check {
    equal("total power", claimed, &facts.validators.total_power(), "the power of all validators at that height")
}

fn signature(name: impl Into<String>, member: &Validator, sign_bytes: &[u8], signature: &Signature) -> Check {
    let key = hex_of(member.public_key.as_bytes());
    let valid = member.public_key.verifies(sign_bytes, signature);
    check(name, if valid { Ok(format!("valid, with key {key}")) } else { Err(format!("invalid, with key {key}")) })
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn examine_attack(attack: &LightClientAttackEvidence, facts: &Facts, chain_id: &ChainId, checks: &mut Vec<Check>) {
    let commit = &attack.conflicting_block.signed_header.commit;
    let header = &attack.conflicting_block.signed_header.header;
    checks.push(total_power(&attack.total_voting_power, facts));
    let ours = facts.trusted.as_ref().map(|trusted| (trusted.header.height, trusted.header.hash()));
    let (height, hash) = (header.height, header.hash());
    checks.push(check(
        "two blocks",
        match ours {
            Some((at, ours)) if ours != hash => Ok(format!("block {hash} at height {height}; ours at {at} is {ours}")),
            Some(_) => Err(format!("block {hash} at height {height} is ours")),
            None => Err(format!("our block {height} is not here to compare with")),
        },
    ));
    for (index, entry) in commit.signatures.iter().enumerate() {
        let (Some(part), Some(sign_bytes)) = (entry.signed(), commit.sign_bytes_of(index, chain_id)) else { continue };
        if !matches!(entry, CommitSig::Commit(_)) {
            continue;
        }
        let name = format!("signature {index}");
        match attack.conflicting_block.validators.by_address(&part.validator_address) {
            Some((_, member)) => checks.push(signature(name, member, &sign_bytes, &part.signature)),
            None => {
                checks.push(check(name, Err(format!("{} is not in the false block's set", part.validator_address))))
            }
        }
    }
}
