//! The event log of a run: a hash that is equal for equal runs, and lines of JSON for whoever wants to read it.

use super::watch::{Seen, What, Word};
use crate::types::{BlockId, JournalMessage, JournalRecord, Source, StatementBody, Vote};
use serde_json::{Value, json};

/// Keeps the hash, and the lines when they are wanted.
#[derive(Debug, Clone)]
pub struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// Only the hash.
    pub fn hash_only() -> Trace {
        Trace { hash: FNV_OFFSET, lines: None }
    }

    /// The lines too.
    pub fn with_lines() -> Trace {
        Trace { hash: FNV_OFFSET, lines: Some(Vec::new()) }
    }

    /// Something happened.
    pub fn note(&mut self, seen: &Seen<'_>) {
        self.mix(seen.at.0);
        self.mix(u64::from(seen.node.0));
        for number in digest(&seen.what) {
            self.mix(number);
        }
        if let Some(lines) = &mut self.lines {
            let (kind, what) = describe(&seen.what);
            let ms = seen.at.0 as f64 / 1e6;
            lines.push(json!({ "ms": ms, "node": seen.node.0, "event": kind, "what": what }).to_string());
        }
    }

    /// The hash and the lines.
    pub fn finish(self) -> (u64, Vec<String>) {
        (self.hash, self.lines.unwrap_or_default())
    }

    fn mix(&mut self, number: u64) {
        self.hash = (self.hash ^ number).wrapping_mul(FNV_PRIME);
        self.hash ^= self.hash >> 29;
    }
}

/// Fowler, Noll and Vo's constants, on words instead of bytes: a fingerprint, not a seal.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// A few numbers that tell events apart.
fn digest(what: &What<'_>) -> [u64; 4] {
    match what {
        What::Started { life } => [1, u64::from(*life), 0, 0],
        What::Crashed { unsynced } => [2, *unsynced as u64, 0, 0],
        What::Began { height, validators } => [3, height.get(), validators.total_power().get(), 0],
        What::Persisted(_) => [4, 0, 0, 0],
        What::Synced => [5, 0, 0, 0],
        What::Signed(word) => tagged(6, word),
        What::Said { to, word } => tagged(7 + 256 * u64::from(to.0), word),
        What::Heard { from, word } => tagged(8 + 256 * u64::from(from.0), word),
        What::Blamed { peer, why } => [9, u64::from(peer.0), why.len() as u64, 0],
        What::Checked { block, accepted } => [10, u64::from(*accepted), name(&block.id()), 0],
        What::Decided { block, commit } => [11, commit.height.get(), u64::from(commit.round.get()), name(&block.id())],
        What::Stored { height } => [12, height.get(), 0, 0],
        What::Applied { height, block_id, app_hash, .. } => [13, height.get(), name(block_id), first_eight(app_hash)],
        What::Submitted { tx } => [14, *tx, 0, 0],
        What::Acknowledged { tx, height } => [15, *tx, height.get(), 0],
        What::ReadAsked { read } => [16, *read, 0, 0],
        What::ReadAnswered { read, height } => [17, *read, height.get(), 0],
        What::App { connection, call } => [18, *connection as u64, call_number(call), 0],
        What::Accused { first, second } => {
            [19, first.height.get(), u64::from(first.validator_index), u64::from(second.round.get())]
        }
        What::Measured { value, most, .. } => [20, *value, *most, 0],
        What::Halted { why } => [21, why.len() as u64, 0, 0],
        What::Healed => [22, 0, 0, 0],
        What::Wiped => [24, 0, 0, 0],
        What::DiskFailed { kind } => [23, *kind as u64, 0, 0],
    }
}

fn call_number(call: &super::AppCall) -> u64 {
    use super::AppCall;
    match call {
        AppCall::Connected => 1,
        AppCall::Info(height) => 2 + 16 * height,
        AppCall::InitChain => 3,
        AppCall::PrepareProposal(height) => 4 + 16 * height,
        AppCall::ProcessProposal(height) => 5 + 16 * height,
        AppCall::ExtendVote(height) => 6 + 16 * height,
        AppCall::VerifyVoteExtension(height) => 7 + 16 * height,
        AppCall::FinalizeBlock(height) => 8 + 16 * height,
        AppCall::Commit => 9,
        AppCall::CheckTx => 10,
        AppCall::Query => 11,
        AppCall::Snapshot => 12,
    }
}

fn tagged(tag: u64, word: &Word<'_>) -> [u64; 4] {
    let of_vote =
        |vote: &Vote| (vote.height.get(), u64::from(vote.round.get()), vote.block_id.as_ref().map_or(0, name));
    let (kind, (height, round, rest)) = match word {
        Word::Proposal { proposal, .. } => {
            (1, (proposal.height.get(), u64::from(proposal.round.get()), name(&proposal.block_id)))
        }
        Word::Part { height, round, part } => (2, (height.get(), u64::from(round.get()), u64::from(part.index))),
        Word::Vote(vote) => (3 + vote.kind as u64, of_vote(vote)),
        Word::Statement(statement) => {
            let height = statement.body.height().map_or(0, |height| height.get());
            (5, (height, first_eight(statement.signature.as_bytes()), 0))
        }
        Word::Commit(commit) => (6, (commit.height.get(), u64::from(commit.round.get()), name(&commit.block_id))),
    };
    [tag * 8 + kind, height, round, rest]
}

fn name(block: &BlockId) -> u64 {
    first_eight(block.hash.as_bytes())
}

fn first_eight(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What happened, for people.
fn describe(what: &What<'_>) -> (&'static str, Value) {
    match what {
        What::Started { life } => ("started", json!({ "life": life })),
        What::Crashed { unsynced } => ("crashed", json!({ "unsynced": format!("{unsynced:?}") })),
        What::Began { height, validators } => {
            ("began", json!({ "height": height.get(), "validators": validators.len() }))
        }
        What::Persisted(record) => ("persisted", describe_record(record)),
        What::Synced => ("synced", Value::Null),
        What::Signed(word) => ("signed", describe_word(word)),
        What::Said { to, word } => ("said", json!({ "to": to.0, "word": describe_word(word) })),
        What::Heard { from, word } => ("heard", json!({ "from": from.0, "word": describe_word(word) })),
        What::Blamed { peer, why } => ("blamed", json!({ "peer": peer.0, "why": why })),
        What::Checked { block, accepted } => ("checked", json!({ "block": short(&block.id()), "accepted": accepted })),
        What::Decided { block, commit } => (
            "decided",
            json!({ "height": commit.height.get(), "round": commit.round.get(), "block": short(&block.id()) }),
        ),
        What::Stored { height } => ("stored", json!({ "height": height.get() })),
        What::Applied { height, block_id, app_hash, .. } => {
            ("applied", json!({ "height": height.get(), "block": short(block_id), "app_hash": hex::encode(app_hash) }))
        }
        What::Submitted { tx } => ("submitted", json!({ "tx": tx })),
        What::Acknowledged { tx, height } => ("acknowledged", json!({ "tx": tx, "height": height.get() })),
        What::ReadAsked { read } => ("read_asked", json!({ "read": read })),
        What::ReadAnswered { read, height } => ("read_answered", json!({ "read": read, "height": height.get() })),
        What::App { connection, call } => {
            ("app", json!({ "connection": format!("{connection:?}"), "call": format!("{call:?}") }))
        }
        What::Accused { first, second } => {
            ("accused", json!({ "first": describe_vote(first), "second": describe_vote(second) }))
        }
        What::Measured { limit, value, most } => ("measured", json!({ "limit": limit, "value": value, "most": most })),
        What::Halted { why } => ("halted", json!({ "why": why })),
        What::Healed => ("healed", Value::Null),
        What::Wiped => ("wiped", Value::Null),
        What::DiskFailed { kind } => ("disk_failed", json!({ "kind": format!("{kind:?}") })),
    }
}

fn describe_record(record: &JournalRecord) -> Value {
    match record {
        JournalRecord::Message { source, message } => {
            let word = match message {
                JournalMessage::Proposal(proposal) => describe_word(&Word::Proposal { by: None, proposal }),
                JournalMessage::Part { height, round, part } => {
                    describe_word(&Word::Part { height: *height, round: *round, part })
                }
                JournalMessage::Vote(vote) => describe_vote(vote),
            };
            json!({ "own": *source == Source::Own, "word": word })
        }
        JournalRecord::Timeout { timer, .. } => json!(format!("{timer:?}")),
        record => json!(format!("{record:?}")),
    }
}

fn describe_word(word: &Word<'_>) -> Value {
    match word {
        Word::Proposal { proposal, .. } => json!({
            "proposal": short(&proposal.block_id), "height": proposal.height.get(), "round": proposal.round.get(),
            "pol_round": proposal.pol_round.map(|round| round.get()),
        }),
        Word::Part { height, round, part } => {
            json!({ "part": part.index, "height": height.get(), "round": round.get() })
        }
        Word::Vote(vote) => describe_vote(vote),
        Word::Statement(statement) => match &statement.body {
            StatementBody::Raft(body) => json!({ "by": statement.by.to_string(), "says": format!("{body:?}") }),
            StatementBody::Pbft(body) => json!({ "by": statement.by.to_string(), "says": format!("{body:?}") }),
        },
        Word::Commit(commit) => json!({
            "commit": short(&commit.block_id), "height": commit.height.get(), "round": commit.round.get(),
        }),
    }
}

fn describe_vote(vote: &Vote) -> Value {
    json!({
        "vote": format!("{:?}", vote.kind), "height": vote.height.get(), "round": vote.round.get(),
        "block": vote.block_id.as_ref().map(short), "by": vote.validator_index,
    })
}

fn short(block: &BlockId) -> String {
    hex::encode(&block.hash.as_bytes()[..4])
}
