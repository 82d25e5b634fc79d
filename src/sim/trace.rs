//! The event log of a run: a hash that is equal for equal runs, and lines of JSON for whoever wants to read it.

use super::watch::{Seen, What, Word};
use crate::crypto::Signature;
use crate::types::{
    BlockId, Height, JournalMessage, JournalRecord, Round, Source, Standing, StatementBody, Time, Vote,
};
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
fn digest(what: &What<'_>) -> [u64; 6] {
    let small = |tag: u64, one: u64, two: u64, three: u64| [tag, one, two, three, 0, 0];
    match what {
        What::Started { life } => small(1, u64::from(*life), 0, 0),
        What::Crashed { unsynced } => small(2, *unsynced as u64, 0, 0),
        What::Began { height, validators } => small(
            3,
            height.get(),
            validators.total_power().get(),
            first_eight(validators.proposer().address.as_bytes()),
        ),
        What::Persisted(record) => of_record(record),
        What::Synced => small(5, 0, 0, 0),
        What::Signed(word) => tagged(6, word),
        What::Said { to, word } => tagged(7 + 256 * u64::from(to.0), word),
        What::Heard { from, word } => tagged(8 + 256 * u64::from(from.0), word),
        What::Blamed { peer, why } => small(9, u64::from(peer.0), of_text(why), 0),
        What::Checked { block, accepted } => small(10, u64::from(*accepted), name(&block.id()), 0),
        What::Decided { block, commit } => {
            let signed = commit.signatures.iter().filter_map(|entry| entry.sig.signed());
            let signed = signed.fold(0, |sum: u64, part| sum.rotate_left(7) ^ first_eight(part.signature.as_bytes()));
            [11, commit.height.get(), u64::from(commit.round.get()), name(&block.id()), signed, 0]
        }
        What::Stored { height } => small(12, height.get(), 0, 0),
        What::Applied { height, block_id, app_hash, next_validators } => {
            let power = next_validators.total_power().get();
            [13, height.get(), name(block_id), first_eight(app_hash), power, 0]
        }
        What::Submitted { tx } => small(14, *tx, 0, 0),
        What::Acknowledged { tx, height } => small(15, *tx, height.get(), 0),
        What::ReadAsked { read } => small(16, *read, 0, 0),
        What::ReadAnswered { read, height } => small(17, *read, height.get(), 0),
        What::App { connection, call } => small(18, *connection as u64, call_number(call), 0),
        What::Accused { first, second } => {
            let signatures = first_eight(first.signature.as_bytes()) ^ first_eight(second.signature.as_bytes());
            [19, first.height.get(), u64::from(first.validator_index), u64::from(second.round.get()), signatures, 0]
        }
        What::Measured { limit, value, most } => small(20, *value, *most, of_text(limit)),
        What::Halted { why } => small(21, of_text(why), 0, 0),
        What::Healed => small(22, 0, 0, 0),
        What::DiskFailed { kind } => small(23, *kind as u64, 0, 0),
        What::Wiped => small(24, 0, 0, 0),
        What::Harmed { what } => small(25, *what as u64, 0, 0),
        What::Mended { what } => small(26, *what as u64, 0, 0),
    }
}

/// A record of the journal by what tells it apart; its words as words are.
fn of_record(record: &JournalRecord) -> [u64; 6] {
    const RECORD: u64 = 4;
    match record {
        JournalRecord::Message { source, message } => {
            let tag = RECORD + 256 * u64::from(*source == Source::Own);
            match message {
                JournalMessage::Proposal(proposal) => tagged(tag, &Word::Proposal { by: None, proposal }),
                JournalMessage::Part { height, round, part } => {
                    tagged(tag, &Word::Part { height: *height, round: *round, part })
                }
                JournalMessage::Vote(vote) => tagged(tag, &Word::Vote(vote)),
            }
        }
        JournalRecord::Timeout { timer, duration } => {
            let step = timer.step as u64;
            [RECORD, 1, timer.height.get(), u64::from(timer.round.get()), step, duration.as_nanos() as u64]
        }
        JournalRecord::RoundStep { height, round, step } => {
            [RECORD, 2, height.get(), u64::from(round.get()), *step as u64, 0]
        }
        JournalRecord::EndHeight(height) => [RECORD, 3, height.get(), 0, 0, 0],
        JournalRecord::Standing(Standing { height, round, voted_for }) => {
            let vote = voted_for.as_ref().map_or(0, |vote| first_eight(vote.as_bytes()));
            [RECORD, 4, height.get(), u64::from(round.get()), vote, 0]
        }
    }
}

/// Fowler, Noll and Vo's hash of a text.
fn of_text(text: &str) -> u64 {
    text.bytes().fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
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

fn tagged(tag: u64, word: &Word<'_>) -> [u64; 6] {
    let time = |time: &Time| time.unix_nanos() as u64;
    let (kind, at, [one, two, three]) = match word {
        Word::Proposal { proposal, .. } => {
            let rest = [name(&proposal.block_id), time(&proposal.timestamp), signed(&proposal.signature)];
            (1, (proposal.height, proposal.round), rest)
        }
        Word::Part { height, round, part } => {
            (2, (*height, *round), [u64::from(part.index), part.bytes.len() as u64, 0])
        }
        Word::Vote(vote) => {
            let block = vote.block_id.as_ref().map_or(0, name) ^ u64::from(vote.validator_index);
            (3 + vote.kind as u64, (vote.height, vote.round), [block, time(&vote.timestamp), signed(&vote.signature)])
        }
        Word::Statement(statement) => {
            let height = statement.body.height().unwrap_or(Height::ZERO);
            (5, (height, Round::ZERO), [first_eight(statement.by.as_bytes()), signed(&statement.signature), 0])
        }
        Word::Commit(commit) => (6, (commit.height, commit.round), [name(&commit.block_id), 0, 0]),
    };
    [tag * 8 + kind, at.0.get(), u64::from(at.1.get()), one, two, three]
}

fn signed(signature: &Signature) -> u64 {
    first_eight(signature.as_bytes())
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
        What::Harmed { what } => ("harmed", json!({ "what": format!("{what:?}") })),
        What::Mended { what } => ("mended", json!({ "what": format!("{what:?}") })),
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
