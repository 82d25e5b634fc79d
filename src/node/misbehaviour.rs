//! What validators did that is provably wrong and that no block can carry: one line of JSON each, in a file of the home
//! (`docs/formats/misbehaviour.md`).

use crate::types::{Address, Algorithm, ChainId, Height, Misconduct, Round, Rule, Time};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::PathBuf;

/// Bytes the file may have. Then nothing is added until it is moved away: what was written first stays.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Bytes of the messages one record may have. Of a longer one only length and hash are written.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Offences remembered, so that each is written once.
const WRITTEN_MAX: usize = 1024;

/// Which offence: a message that proves it again adds nothing.
type Offence = (Rule, Address, Height, Round);

/// The file, and what was written to it since the node started.
#[derive(Debug)]
pub(super) struct Misbehaviour {
    file: PathBuf,
    chain_id: ChainId,
    algorithm: Algorithm,
    written: BTreeSet<Offence>,
}

#[derive(Serialize)]
struct Record<'a> {
    time: String,
    chain_id: &'a str,
    algorithm: &'a str,
    rule: &'a str,
    what: &'a str,
    address: String,
    height: u64,
    round: u32,
    messages: Vec<Said>,
}

#[derive(Serialize)]
struct Said {
    bytes: usize,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

impl Misbehaviour {
    pub(super) fn new(file: PathBuf, chain_id: ChainId, algorithm: Algorithm) -> Misbehaviour {
        Misbehaviour { file, chain_id, algorithm, written: BTreeSet::new() }
    }

    /// Writes an offence down, once; durable when this returns. A failure is said and changes nothing else: nobody's safety
    /// rests on the record.
    pub(super) fn note(&mut self, now: Time, misconduct: &Misconduct) {
        let offence = (misconduct.rule, misconduct.by, misconduct.height, misconduct.round);
        if self.written.contains(&offence) {
            return;
        }
        if self.written.len() >= WRITTEN_MAX {
            self.written.pop_first();
        }
        self.written.insert(offence);
        let Misconduct { rule, by, height, round, .. } = misconduct;
        let file = self.file.display();
        match self.append(now, misconduct) {
            Ok(()) => tracing::warn!(
                "validator {by} {} (height {height}, round {round}): written to {file}; show it to who runs it",
                rule.sentence()
            ),
            Err(error) => tracing::error!(
                "validator {by} {} (height {height}, round {round}); it could not be written to {file}: {error}. Free \
                 some space, or move the file away",
                rule.sentence()
            ),
        }
    }

    fn append(&self, now: Time, misconduct: &Misconduct) -> io::Result<()> {
        let mut line = crate::codec::json::to_bytes(&self.record(now, misconduct));
        line.push(b'\n');
        let is_new = !self.file.exists();
        let mut file = OpenOptions::new().create(true).append(true).open(&self.file)?;
        let length = file.metadata()?.len();
        if length.saturating_add(line.len() as u64) > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("it has {length} bytes, and may have {FILE_BYTES_MAX}")));
        }
        crash_point!("misbehaviour.write.before");
        file.write_all(&line)?;
        crash_point!("misbehaviour.sync.before");
        file.sync_all()?;
        if let Some(directory) = self.file.parent().filter(|_| is_new) {
            std::fs::File::open(directory)?.sync_all()?;
        }
        crash_point!("misbehaviour.after");
        Ok(())
    }

    fn record(&self, now: Time, misconduct: &Misconduct) -> Record<'_> {
        let said = misconduct.messages.iter().map(|message| {
            let encoded = message.encode();
            let short = encoded.len() <= MESSAGE_BYTES_MAX;
            Said {
                bytes: encoded.len(),
                sha256: crate::crypto::sha256(&encoded).to_string(),
                hex: short.then(|| hex::encode(&encoded)),
            }
        });
        Record {
            time: now.to_string(),
            chain_id: self.chain_id.as_str(),
            algorithm: self.algorithm.name(),
            rule: misconduct.rule.name(),
            what: misconduct.rule.sentence(),
            address: misconduct.by.to_string(),
            height: misconduct.height.get(),
            round: misconduct.round.get(),
            messages: said.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Signature;
    use crate::types::tests::{block_id, chain_id, time};
    use crate::types::{DirectMessage, PbftStatement, Proposal, Statement, StatementBody};

    fn two_proposals(height: u64) -> Misconduct {
        let proposal = |block: &str| Proposal {
            height: Height::new(height),
            round: Round::new(3),
            pol_round: None,
            block_id: block_id(block),
            timestamp: time(5),
            signature: Signature::new([1; 64]),
        };
        let by = Address::new([7; 20]);
        Misconduct::two_proposals(by, &proposal("a"), &proposal("b")).expect("two blocks in one round")
    }

    /// What stands in the file, line by line.
    fn lines(file: &std::path::Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(file).expect("it was written");
        text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }

    fn open(directory: &tempfile::TempDir) -> Misbehaviour {
        Misbehaviour::new(directory.path().join("misbehaviour.jsonl"), chain_id(), Algorithm::Pbft)
    }

    #[test]
    fn an_offence_is_written_once_with_the_messages_that_prove_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut misbehaviour = open(&directory);
        for height in [8, 8, 9, 8] {
            misbehaviour.note(time(100), &two_proposals(height));
        }
        let lines = lines(&misbehaviour.file);
        let heights: Vec<u64> = lines.iter().filter_map(|line| line["height"].as_u64()).collect();
        assert_eq!(heights, [8, 9]);
        let first = &lines[0];
        let words = ["chain_id", "algorithm", "rule", "address"].map(|field| first[field].as_str().expect("text"));
        let address = Address::new([7; 20]).to_string();
        assert_eq!(words, [chain_id().as_str(), "pbft", "one_proposal", &address]);
        let said = first["messages"].as_array().expect("a list").iter().map(|said| {
            let bytes = hex::decode(said["hex"].as_str().expect("short enough")).expect("hex");
            assert_eq!(said["sha256"], crate::crypto::sha256(&bytes).to_string());
            DirectMessage::decode(bytes.into()).expect("a message")
        });
        assert_eq!(said.collect::<Vec<_>>(), two_proposals(8).messages);
    }

    #[test]
    fn of_a_very_long_message_length_and_hash_are_written() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut misbehaviour = open(&directory);
        let (view, height) = (Round::new(3), Height::new(8));
        let statement = |body| Statement {
            by: Address::new([7; 20]),
            body: StatementBody::Pbft(Box::new(body)),
            signature: Signature::new([1; 64]),
        };
        let change = statement(PbftStatement::ViewChange { view, height, checkpoint: None, prepared: None });
        let view_changes = vec![change; 20_000];
        let long = statement(PbftStatement::NewView { view, height, view_changes, chosen: None });
        misbehaviour.note(time(100), &Misconduct::wrong_new_view(long, height, view));
        let said = &lines(&misbehaviour.file)[0]["messages"][0];
        assert!(said["bytes"].as_u64().is_some_and(|bytes| bytes > MESSAGE_BYTES_MAX as u64), "{}", said["bytes"]);
        assert!(said.get("hex").is_none() && said["sha256"].is_string());
    }

    #[test]
    fn a_full_file_keeps_what_was_written_first() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut misbehaviour = open(&directory);
        misbehaviour.note(time(100), &two_proposals(8));
        let file = OpenOptions::new().write(true).open(&misbehaviour.file).expect("it is there");
        file.set_len(FILE_BYTES_MAX).expect("room on the disk");
        misbehaviour.note(time(100), &two_proposals(9));
        assert_eq!(std::fs::metadata(&misbehaviour.file).expect("it is there").len(), FILE_BYTES_MAX);
    }

    #[test]
    fn no_more_offences_are_remembered_than_the_limit() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut misbehaviour = open(&directory);
        let offence = |height: u64| (Rule::OneProposal, Address::new([7; 20]), Height::new(height), Round::ZERO);
        misbehaviour.written = (0..WRITTEN_MAX as u64).map(offence).collect();
        misbehaviour.note(time(100), &two_proposals(5000));
        assert_eq!(misbehaviour.written.len(), WRITTEN_MAX);
    }
}
