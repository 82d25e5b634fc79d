//! Evidence in words and in JSON.

use super::source::{About, Found, Standing};
use crate::cli::output::human_seconds;
use crate::codec::json::{View, to_bytes};
use crate::evidence::is_too_old;
use crate::types::{
    Address, BlockId, DuplicateVoteEvidence, Evidence, LightClientAttackEvidence, Power, Vote, VoteKind,
};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Digits of a hash or an address in a table.
pub(super) const SHORT: usize = 12;

pub(super) fn short(text: &str) -> String {
    text.chars().take(SHORT).collect()
}

fn kind(vote: &Vote) -> &'static str {
    match vote.kind {
        VoteKind::Prevote => "prevote",
        VoteKind::Precommit => "precommit",
    }
}

/// What was done, in a few words.
pub(super) fn offence(evidence: &Evidence) -> String {
    match evidence {
        Evidence::DuplicateVote(votes) => format!("two {}s, round {}", kind(&votes.vote_a), votes.vote_a.round),
        Evidence::LightClientAttack(attack) => {
            format!("false block {} to light clients", attack.conflicting_block.signed_header.header.height)
        }
    }
}

/// Who did it, with their powers.
pub(super) fn offenders(evidence: &Evidence) -> Vec<(Address, Power)> {
    match evidence {
        Evidence::DuplicateVote(votes) => vec![(votes.vote_a.validator_address, votes.validator_power)],
        Evidence::LightClientAttack(attack) => {
            attack.byzantine_validators.iter().map(|member| (member.address, member.power)).collect()
        }
    }
}

pub(super) fn total_power(evidence: &Evidence) -> Power {
    match evidence {
        Evidence::DuplicateVote(votes) => votes.total_voting_power,
        Evidence::LightClientAttack(attack) => attack.total_voting_power,
    }
}

/// `10 of 40, 25.0 %`.
pub(super) fn share(power: Power, total: Power) -> String {
    let (power, total) = (power.get(), total.get());
    let tenths = u128::from(power) * 1000 / u128::from(total.max(1));
    format!("{power} of {total}, {}.{} %", tenths / 10, tenths % 10)
}

/// `1 block`, `2 blocks`.
fn count(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

pub(super) fn standing(standing: Standing) -> String {
    match standing {
        Standing::Pending => "pending".to_owned(),
        Standing::Proven(height) => format!("block {height}"),
        Standing::Given => "from a file".to_owned(),
    }
}

/// Whether it can still be punished, in words.
pub(super) fn age(found: &Found, evidence: &Evidence, about: &About) -> String {
    let (height, time) = (evidence.height(), evidence.time());
    let blocks = about.tip.get().saturating_sub(height.get());
    let limits = &about.limits;
    let old = format!(
        "{} and {} old; evidence counts until it is older than {} and {}",
        count(blocks, "block"),
        human_seconds(about.tip_time.since(time).as_secs()),
        count(limits.max_age_num_blocks, "block"),
        human_seconds(limits.max_age_duration.as_secs())
    );
    match found.standing {
        Standing::Proven(at) => format!("proven by block {at}; {old}"),
        Standing::Pending | Standing::Given if is_expired(evidence, about) => format!("expired: {old}"),
        Standing::Pending | Standing::Given => format!("punishable: {old}"),
    }
}

pub(super) fn is_expired(evidence: &Evidence, about: &About) -> bool {
    is_too_old((evidence.height(), evidence.time()), (about.tip, about.tip_time), &about.limits)
}

/// A piece for a program.
pub(super) fn machine_form(found: &Found, about: &About) -> Value {
    let mut value = json!({
        "hash": found.key.hash.to_string(),
        "height": found.key.height.get(),
        "status": match found.standing {
            Standing::Pending => "pending",
            Standing::Proven(_) => "proven",
            Standing::Given => "given",
        },
        "proven_by_block": match found.standing {
            Standing::Proven(height) => Some(height.get()),
            Standing::Pending | Standing::Given => None,
        },
    });
    let Some(evidence) = &found.evidence else { return value };
    let who = |(address, power): &(Address, Power)| json!({ "address": address.to_string(), "power": power.get() });
    value["offence"] = json!(offence(evidence));
    value["time"] = json!(evidence.time().to_string());
    value["offenders"] = offenders(evidence).iter().map(who).collect();
    value["total_power"] = json!(total_power(evidence).get());
    value["expired"] = json!(is_expired(evidence, about));
    value["evidence"] = serde_json::from_slice(&to_bytes(&View(evidence))).unwrap_or_default();
    value
}

/// A piece for a person.
pub(super) fn screen(found: &Found, evidence: &Evidence, about: &About) -> String {
    let mut page = String::new();
    let mut line = |name: &str, text: &str| {
        let _ = writeln!(page, "{name:<10} {text}"); // writing to a text cannot fail
    };
    line("evidence", &found.key.hash.to_string());
    line("chain", about.chain_id.as_str());
    match evidence {
        Evidence::DuplicateVote(votes) => vote_lines(votes, &mut line),
        Evidence::LightClientAttack(attack) => attack_lines(attack, &mut line),
    }
    for (address, power) in offenders(evidence) {
        line("who", &format!("{address}, power {}", share(power, total_power(evidence))));
    }
    line("when", &format!("{}, the time of block {}", evidence.time(), evidence.height()));
    line("standing", &age(found, evidence, about));
    page
}

fn vote_lines(votes: &DuplicateVoteEvidence, line: &mut impl FnMut(&str, &str)) {
    let a = &votes.vote_a;
    line("offence", &format!("two {}s for height {}, round {}", kind(a), a.height, a.round));
    for (name, vote) in [("vote A", &votes.vote_a), ("vote B", &votes.vote_b)] {
        line(name, &format!("{}, signed at {}", block(vote.block_id.as_ref()), vote.timestamp));
    }
}

fn attack_lines(attack: &LightClientAttackEvidence, line: &mut impl FnMut(&str, &str)) {
    let signed = &attack.conflicting_block.signed_header;
    line("offence", &format!("a false block for light clients at height {}", signed.header.height));
    line("common", &format!("both histories share block {}", attack.common_height));
    line("false", &format!("{}, time {}", block(Some(&signed.commit.block_id)), signed.header.time));
    line("round", &signed.commit.round.to_string());
}

fn block(id: Option<&BlockId>) -> String {
    let named =
        |id: &BlockId| format!("block {} in {}, {}", id.hash, count(u64::from(id.parts.total), "part"), id.parts.hash);
    id.map_or("nil".to_owned(), named)
}
