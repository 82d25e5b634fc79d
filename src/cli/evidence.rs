//! `quorate evidence`: who broke the rules, on which proof, and whether the proof holds.
//!
//! A hash is looked for among what waits and what blocks proved; a file needs a chain to be judged by as well, because
//! keys and powers are the chain's to say, not the accuser's.
//!
//! Reading order: this file → `source` → `words`.

mod source;
#[cfg(test)]
mod tests;
mod words;

use super::args::{Common, EvidenceCommand, EvidencePiece, EvidenceRange};
use super::output::{Output, Reader, table};
use super::{CliError, Exit};
use crate::codec::json::read::{self, Place};
use crate::evidence::{self, InvalidEvidence, report};
use crate::types::Evidence;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use source::{About, Found, Search, Source, Standing};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use words::{machine_form, offence, offenders, share, short, standing, total_power};

/// Largest file read, in bytes: an attack with the largest validator set, in JSON.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Fewest digits of a hash that name a piece.
const DIGITS_MIN: usize = 6;

pub(super) fn run(common: &Common, command: &EvidenceCommand, out: &Output) -> Result<(), CliError> {
    match command {
        EvidenceCommand::List(args) => list(common, args, out),
        EvidenceCommand::Show(args) => show(common, args, out),
        EvidenceCommand::Verify(args) => verify(common, args, out),
    }
}

// --------------------------------------------------------------------------------------------------------------- list

fn list(common: &Common, args: &EvidenceRange, out: &Output) -> Result<(), CliError> {
    let source = Source::find(common, args, out)?;
    let about = source.about()?;
    let search = source.search(&about, args)?;
    match out.reader {
        Reader::Person => out.line(&list_screen(&search, &about)),
        Reader::Program => {
            let pieces: Vec<Value> = search.found.iter().map(|found| machine_form(found, &about)).collect();
            let value = json!({
                "chain_id": about.chain_id.as_str(),
                "from": search.from.get(),
                "to": search.to.get(),
                "pending_known": search.knows_pending,
                "evidence": pieces,
            });
            out.line(&format!("{value:#}"));
        }
    }
    Ok(())
}

fn list_screen(search: &Search, about: &About) -> String {
    let row = |found: &Found| {
        let mut row = vec![short(&found.key.hash.to_string()), standing(found.standing), found.key.height.to_string()];
        row.extend(match &found.evidence {
            Some(evidence) => {
                let who = offenders(evidence);
                let first = who.first().map_or("nobody for certain".to_owned(), |(address, power)| {
                    format!("{} power {}", short(&address.to_string()), share(*power, total_power(evidence)))
                });
                let more = if who.len() > 1 { format!(" and {} more", who.len() - 1) } else { String::new() };
                vec![offence(evidence), first + &more]
            }
            None => vec!["in a block that is pruned".to_owned(), String::new()],
        });
        row
    };
    let rows: Vec<Vec<String>> = search.found.iter().map(row).collect();
    let (from, to) = (search.from, search.to);
    let mut page = if rows.is_empty() {
        format!("no evidence in blocks {from} to {to} of {}", about.chain_id)
    } else {
        table(&["EVIDENCE", "STANDING", "HEIGHT", "OFFENCE", "WHO"], &rows)
            + &format!("blocks {from} to {to} of {}", about.chain_id)
    };
    if search.knows_pending {
        page += if rows.is_empty() { ", and none waits for a block\n" } else { ", and what waits for a block\n" };
    } else {
        page += "; this node does not tell what waits for a block\n";
    }
    if from.get() > about.base.get().max(1) {
        page += &format!("older: quorate evidence list --to {}\n", from.get() - 1);
    }
    page
}

// --------------------------------------------------------------------------------------------------------------- show

fn show(common: &Common, args: &EvidencePiece, out: &Output) -> Result<(), CliError> {
    let source = Source::find(common, &args.range, out)?;
    let about = source.about()?;
    let found = find(&source, &about, args)?;
    let evidence = whole(&found)?;
    let node = args.range.node.as_ref().map(|node| format!(" --node {node}")).unwrap_or_default();
    let next = format!("next       quorate evidence verify {}{node}", args.piece);
    out.give(&(words::screen(&found, evidence, &about) + &next), &machine_form(&found, &about));
    Ok(())
}

/// The piece meant: in a file, waiting, or proven.
fn find(source: &Source, about: &About, args: &EvidencePiece) -> Result<Found, CliError> {
    let piece = args.piece.as_str();
    if piece == "-" || Path::new(piece).exists() {
        let bytes = read_file(piece).map_err(|why| {
            CliError::failed(format!("cannot read {piece}: {why}"), "check the path and its permissions (ls -l)")
        })?;
        return parse(&bytes).map(|evidence| Found::new(evidence, Standing::Given)).map_err(|why| CliError {
            exit: Exit::Usage,
            text: format!(
                "{piece} holds no evidence: {why}\n  next: give it as RPC prints it ({{\"type\":…,\"value\":…}}), or as \
                 protobuf in hex, base64 or bytes"
            ),
        });
    }
    if piece.len() < DIGITS_MIN || !piece.chars().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(CliError {
            exit: Exit::Usage,
            text: format!(
                "{piece} is neither a file nor a hash (at least {DIGITS_MIN} hexadecimal digits)\n  next: quorate \
                 evidence list"
            ),
        });
    }
    let digits = piece.to_ascii_uppercase();
    let search = source.search(about, &args.range)?;
    let mut hits = search.found.into_iter().filter(|found| found.key.hash.to_string().starts_with(&digits));
    match (hits.next(), hits.next()) {
        (Some(found), None) => Ok(found),
        (Some(_), Some(_)) => Err(CliError {
            exit: Exit::Usage,
            text: format!("{piece} begins the hash of several pieces\n  next: give more digits; quorate evidence list"),
        }),
        (None, _) => Err(CliError::failed(
            format!("no evidence {piece} waits or stands in blocks {} to {}", search.from, search.to),
            "quorate evidence list, or look into other blocks with --from and --to",
        )),
    }
}

fn whole(found: &Found) -> Result<&Evidence, CliError> {
    found.evidence.as_ref().ok_or_else(|| {
        CliError::failed(
            format!("evidence {} was {}, which is pruned here", found.key.hash, standing(found.standing)),
            "ask a node that keeps all blocks, with --node",
        )
    })
}

fn read_file(piece: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if piece == "-" {
        io::stdin().take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    } else {
        File::open(piece)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// JSON as RPC prints it, alone or in the answer of `show --json`; or protobuf as it stands in a block, in hex, base64 or
/// plain.
fn parse(bytes: &[u8]) -> Result<Evidence, String> {
    let text = std::str::from_utf8(bytes).map(str::trim).unwrap_or_default();
    if text.starts_with('{') {
        let whole = Place::document("evidence", text.as_bytes()).map_err(|why| why.to_string())?;
        let inner = whole.object().map_err(|why| why.to_string())?.at("evidence");
        return read::evidence(if inner.is_present() { &inner } else { &whole }).map_err(|why| why.to_string());
    }
    let plain = match (hex::decode(text), STANDARD.decode(text)) {
        (Ok(plain), _) | (_, Ok(plain)) if !plain.is_empty() => plain,
        _ => bytes.to_vec(),
    };
    Evidence::decode(Bytes::from(plain)).map_err(|why| why.to_string())
}

// ------------------------------------------------------------------------------------------------------------- verify

fn verify(common: &Common, args: &EvidencePiece, out: &Output) -> Result<(), CliError> {
    let source = Source::find(common, &args.range, out)?;
    let about = source.about()?;
    let found = find(&source, &about, args)?;
    let evidence = whole(&found)?;
    let facts = source.facts(&about, evidence)?.ok_or_else(|| {
        let height = evidence.height();
        CliError::failed(
            format!("this chain's block {height} and its validators are not here: nothing can be said"),
            format!("ask a node that has block {height}, with --node"),
        )
    })?;
    let checks = report::examine(evidence, &facts, &about.chain_id);
    let verdict = evidence::prove(evidence, &facts, &about.chain_id);
    let sentence = sentence(&found, evidence, &about, &verdict);
    let mut page = words::screen(&found, evidence, &about);
    for check in &checks {
        let (mark, says) = match &check.outcome {
            Ok(says) => ("ok", says),
            Err(says) => ("WRONG", says),
        };
        page += &format!("{mark:<10} {}: {says}\n", check.name);
    }
    let mut value = machine_form(&found, &about);
    value["checks"] = checks
        .iter()
        .map(|check| json!({ "name": check.name, "ok": check.outcome.is_ok(), "says": says(&check.outcome) }))
        .collect();
    value["true"] = json!(verdict.is_ok());
    value["verdict"] = json!(sentence);
    out.give(&format!("{page}verdict    {sentence}"), &value);
    verdict.map_err(|_| {
        CliError::failed(
            format!("evidence {} is false", found.key.hash),
            "trust nobody who brought it; it proves nothing",
        )
    })
}

fn says(outcome: &Result<String, String>) -> &str {
    match outcome {
        Ok(says) | Err(says) => says,
    }
}

/// One sentence that can be quoted.
fn sentence(found: &Found, evidence: &Evidence, about: &About, verdict: &Result<(), InvalidEvidence>) -> String {
    let who: Vec<String> = offenders(evidence)
        .iter()
        .map(|(address, power)| format!("{address} (power {})", share(*power, total_power(evidence))))
        .collect();
    let (who, chain) = (who.join(", "), &about.chain_id);
    let fate = match found.standing {
        Standing::Proven(height) => format!("Block {height} proved it."),
        _ if words::is_expired(evidence, about) => "It is too old to be punished.".to_owned(),
        _ => "It can still be punished.".to_owned(),
    };
    match (verdict, evidence) {
        (Err(why), _) => format!("FALSE: {why}. It proves nothing against {who}."),
        (Ok(()), Evidence::DuplicateVote(votes)) => format!(
            "TRUE: on {chain}, validator {who} signed two different votes for height {} round {}; both signatures are \
             valid. {fate}",
            votes.vote_a.height, votes.vote_a.round
        ),
        (Ok(()), Evidence::LightClientAttack(attack)) => format!(
            "TRUE: on {chain}, {who} signed a block at height {} that this chain never had. {fate}",
            attack.conflicting_block.signed_header.header.height
        ),
    }
}
