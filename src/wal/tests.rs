//! The log on real files: what a crash, a bad disk and a long life do to it.

use super::*;
use crate::crypto::Signature;
use crate::disk::OsDisk;
use crate::ports::Journal;
use crate::types::{
    Address, BlockId, NodeId, PartSet, PartSetHeader, Proposal, Round, Source, Standing, Step, Time, TimerId,
    VOTE_EXTENSION_SENT_MAX, Vote, VoteKind,
};
use bytes::Bytes;
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

fn at(seconds: i64) -> Time {
    Time::new(seconds, 7).expect("in range")
}

fn step(height: u64, round: u32) -> JournalRecord {
    JournalRecord::RoundStep { height: Height::new(height), round: Round::new(round), step: Step::Propose }
}

fn end(height: u64) -> JournalRecord {
    JournalRecord::EndHeight(Height::new(height))
}

fn block_id() -> BlockId {
    let hash = crate::crypto::sha256(b"block");
    BlockId { hash, parts: PartSetHeader { total: 1, hash } }
}

fn vote(height: u64, kind: VoteKind, block_id: Option<BlockId>) -> Vote {
    Vote {
        kind,
        height: Height::new(height),
        round: Round::new(2),
        block_id,
        timestamp: at(3),
        validator_address: Address::new([4; 20]),
        validator_index: 1,
        signature: Signature::new([9; 64]),
        extension: Bytes::new(),
        extension_signature: None,
    }
}

fn part(height: u64, bytes: Vec<u8>) -> JournalRecord {
    let parts = PartSet::cut(&bytes.into());
    let part = parts.part(0).expect("one part").clone();
    let message = JournalMessage::Part { height: Height::new(height), round: Round::ZERO, part };
    JournalRecord::Message { source: Source::Own, message }
}

/// One of each kind, all of height 1.
fn one_of_each_kind() -> Vec<JournalRecord> {
    let peer = Source::Peer(NodeId::new(Address::new([5; 20])));
    let proposal = Proposal {
        height: Height::new(1),
        round: Round::new(2),
        pol_round: Some(Round::new(1)),
        block_id: block_id(),
        timestamp: at(3),
        signature: Signature::new([8; 64]),
    };
    let votes = [vote(1, VoteKind::Prevote, Some(block_id())), vote(1, VoteKind::Precommit, None)];
    let mut records = vec![
        step(1, 0),
        JournalRecord::Message { source: Source::Own, message: JournalMessage::Proposal(proposal) },
        part(1, vec![3; 1000]),
        JournalRecord::Timeout {
            timer: TimerId { height: Height::new(1), round: Round::new(2), step: Step::PrevoteWait },
            duration: Duration::new(3, 500),
        },
    ];
    records.extend(votes.map(|vote| JournalRecord::Message { source: peer, message: JournalMessage::Vote(vote) }));
    records
}

/// A log's directory.
struct Log {
    home: tempfile::TempDir,
}

impl Log {
    fn new() -> Log {
        Log { home: tempfile::tempdir().expect("a temporary directory") }
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("cs.wal")
    }

    fn head(&self) -> PathBuf {
        self.dir().join("wal")
    }

    fn open(&self) -> (Wal, Recovered) {
        self.open_with(Limits::default())
    }

    fn open_with(&self, limits: Limits) -> (Wal, Recovered) {
        self.try_open(limits).expect("opens")
    }

    fn try_open(&self, limits: Limits) -> Result<(Wal, Recovered), JournalError> {
        open(Arc::new(OsDisk), &self.dir(), limits, at(0))
    }

    /// Writes records in a run that ends cleanly.
    fn write(&self, records: &[JournalRecord]) {
        let (mut wal, _) = self.open();
        records.iter().for_each(|record| wal.append(at(1), record).expect("appended"));
        wal.sync().expect("synced");
    }

    fn read(&self, height: u64) -> Vec<JournalRecord> {
        let (_wal, recovered) = self.open();
        recovered.records_since(Height::new(height)).expect("readable")
    }
}

#[test]
fn a_new_log_begins_with_the_end_of_height_0_and_no_zeros_stay_behind() {
    let log = Log::new();
    drop(log.open());
    let bytes = fs::read(log.head()).expect("readable");
    let data = frame::parse(&bytes).expect("a whole record");
    assert_eq!(bytes.len(), frame::HEADER_BYTES + data.len());
    let (_, record) = journal::decode(data).expect("decodes");
    assert_eq!(record, end(0));
    drop(log.open());
    assert_eq!(fs::read(log.head()).expect("readable"), bytes, "the second start adds nothing");
}

#[test]
fn every_kind_of_record_comes_back() {
    let log = Log::new();
    log.write(&one_of_each_kind());
    assert_eq!(log.read(1), one_of_each_kind());
}

#[test]
fn a_crash_leaves_the_zeros_the_head_was_allocated_with_and_loses_nothing_synced() {
    let log = Log::new();
    let (mut wal, _) = log.open();
    wal.append(at(1), &step(1, 0)).expect("appended");
    wal.sync().expect("synced");
    wal.append(at(1), &step(1, 1)).expect("appended");
    std::mem::forget(wal); // the process dies: nothing runs any more
    assert!(fs::metadata(log.head()).expect("there").len() > 1 << 20, "still allocated");
    let (_wal, recovered) = log.open();
    assert_eq!(recovered.repaired, None);
    assert_eq!(recovered.records_since(Height::FIRST).expect("readable"), [step(1, 0)]);
}

#[test]
fn a_torn_last_record_is_cut_off_at_every_byte() {
    let whole = Log::new();
    whole.write(&one_of_each_kind());
    let bytes = fs::read(whole.head()).expect("readable");
    let last = bytes.len() - frame_lengths(&bytes).pop().expect("records");
    let kept = &one_of_each_kind()[..5];
    for cut in last..bytes.len() {
        let zeroed: Vec<u8> = bytes[..cut].iter().copied().chain(std::iter::repeat_n(0, 4096)).collect();
        for (torn, dropped) in [(&bytes[..cut], cut - last), (&zeroed, cut - last)] {
            let log = Log::new();
            fs::create_dir(log.dir()).expect("made");
            fs::write(log.head(), torn).expect("written");
            let (_wal, recovered) = log.open();
            assert_eq!(recovered.records_since(Height::FIRST).expect("readable"), kept, "cut at {cut}");
            let repaired = recovered.repaired.map_or(0, |repaired| repaired.dropped_bytes);
            assert!(repaired as usize <= dropped, "cut at {cut}: {repaired}");
        }
    }
}

#[test]
fn after_a_repair_the_log_goes_on_and_stays_readable() {
    let log = Log::new();
    log.write(&[step(1, 0), step(1, 1)]);
    let bytes = fs::read(log.head()).expect("readable");
    fs::write(log.head(), &bytes[..bytes.len() - 3]).expect("written");
    log.write(&[step(1, 2)]);
    assert_eq!(log.read(1), [step(1, 0), step(1, 2)]);
}

#[test]
fn a_flipped_bit_before_the_last_record_is_refused_with_place_and_remedy() {
    let whole = Log::new();
    whole.write(&one_of_each_kind());
    let bytes = fs::read(whole.head()).expect("readable");
    let last = bytes.len() - frame_lengths(&bytes).pop().expect("records");
    for place in 0..last {
        let log = Log::new();
        fs::create_dir(log.dir()).expect("made");
        let mut bent = bytes.clone();
        bent[place] ^= 1 << (place % 8);
        fs::write(log.head(), bent).expect("written");
        let error = log.try_open(Limits::default()).expect_err("damage").to_string();
        assert!(error.contains("is damaged at byte") && error.contains("mv "), "bit at {place}: {error}");
    }
}

#[test]
fn a_lost_sector_in_the_last_group_is_a_torn_end_and_the_same_far_from_the_end_is_damage() {
    let records: Vec<JournalRecord> = (0..3).map(|fill| part(1, vec![fill + 1; 5000])).collect();
    let more: Vec<JournalRecord> = (0..60).map(|fill| part(1, vec![fill + 1; 60_000])).collect();
    for (following, torn) in [(&[][..], true), (&more[..], false)] {
        let log = Log::new();
        log.write(&[&[step(1, 0)], &records[..], following].concat());
        let mut bytes = fs::read(log.head()).expect("readable");
        bytes[1024..1536].fill(0); // inside the first part
        fs::write(log.head(), bytes).expect("written");
        match log.try_open(Limits::default()) {
            Ok((_wal, recovered)) => {
                assert!(torn);
                assert_eq!(recovered.records_since(Height::FIRST).expect("readable"), [step(1, 0)]);
            }
            Err(error) => assert!(!torn, "{error}"),
        }
    }
}

#[test]
fn of_the_sector_in_which_the_last_group_begins_the_rest_may_be_lost() {
    let log = Log::new();
    log.write(&[step(1, 0), part(1, vec![1; 5000]), part(1, vec![2; 5000])]);
    let mut bytes = fs::read(log.head()).expect("readable");
    // Behind the end of height 0, which a new log begins with, and the step.
    let begin: usize = frame_lengths(&bytes)[..2].iter().sum();
    assert!(begin < 512);
    bytes[begin..512].fill(0);
    fs::write(log.head(), bytes).expect("written");
    assert_eq!(log.read(1), [step(1, 0)]);
}

#[test]
fn a_length_from_a_bad_disk_sets_no_memory_aside() {
    for length in [0, 1, RECORD_BYTES_MAX as u32, RECORD_BYTES_MAX as u32 + 1, u32::MAX] {
        let mut bytes = vec![1, 2, 3, 4];
        bytes.extend(length.to_be_bytes());
        let why = frame::parse(&bytes).expect_err("no record");
        // Refused for its length, not for what is missing behind it.
        assert_eq!(why.contains("are possible"), length > RECORD_BYTES_MAX as u32, "length {length}: {why}");
    }
}

#[test]
fn full_heads_are_rotated_the_oldest_removed_and_a_height_is_gathered_across_segments() {
    let log = Log::new();
    let limits = Limits { head_bytes: 1000, total_bytes: 10_000, ..Limits::default() };
    let (mut wal, _) = log.open_with(limits);
    for height in 1..=40 {
        for round in 0..40 {
            wal.append(at(1), &step(height, round)).expect("appended");
            wal.sync().expect("synced");
        }
        wal.append(at(1), &end(height)).expect("appended");
        wal.sync().expect("synced");
    }
    drop(wal);
    let files: Vec<String> = fs::read_dir(log.dir())
        .expect("listed")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    assert!(files.contains(&"wal".to_owned()) && !files.contains(&"wal.000".to_owned()), "{files:?}");
    let total: u64 = files.iter().map(|name| fs::metadata(log.dir().join(name)).expect("there").len()).sum();
    assert!(total <= limits.total_bytes, "{total} bytes in {files:?}");
    let (_wal, recovered) = log.open_with(limits);
    let expected: Vec<JournalRecord> = (0..40).map(|round| step(40, round)).collect();
    assert_eq!(recovered.records_since(Height::new(40)).expect("readable"), expected);
    assert_eq!(recovered.records_since(Height::new(41)).expect("readable"), []);
}

/// Lengths of the full segments after 200 equal records, while the log may have so many bytes.
fn full_segments(total_bytes: u64) -> Vec<u64> {
    let log = Log::new();
    let (mut wal, _) = log.open_with(Limits { head_bytes: 1000, total_bytes, ..Limits::default() });
    for _ in 0..200 {
        wal.append(at(1), &step(1, 7)).expect("appended");
        wal.sync().expect("synced");
    }
    drop(wal);
    let entries = fs::read_dir(log.dir()).expect("listed").map(|entry| entry.expect("an entry"));
    let full = entries.filter(|entry| entry.file_name() != "wal");
    full.map(|entry| entry.metadata().expect("there").len()).collect()
}

#[test]
fn a_log_that_is_exactly_as_large_as_it_may_be_keeps_all_of_it() {
    let one = full_segments(5000)[0];
    assert_eq!(full_segments(1000 + 3 * one), [one; 3]);
    assert_eq!(full_segments(1000 + 3 * one - 1), [one; 2]);
}

#[test]
fn a_file_whose_number_has_one_digit_is_none_of_the_logs() {
    let log = Log::new();
    log.write(&[step(1, 0)]);
    fs::write(log.dir().join("wal.7"), b"a copy somebody made").expect("written");
    let (mut wal, _) = log.open_with(Limits { head_bytes: 500, ..Limits::default() });
    for _ in 0..60 {
        wal.append(at(1), &step(1, 0)).expect("appended");
        wal.sync().expect("synced, and what is full rotated");
    }
    drop(wal);
    assert!(log.dir().join("wal.000").exists() && !log.dir().join("wal.008").exists());
    assert_eq!(log.read(1), vec![step(1, 0); 61]);
}

#[test]
fn damage_in_an_older_segment_that_is_needed_is_refused() {
    let log = Log::new();
    let limits = Limits { head_bytes: 500, ..Limits::default() };
    let (mut wal, _) = log.open_with(limits);
    for round in 0..60 {
        wal.append(at(1), &step(1, round)).expect("appended");
        wal.sync().expect("synced");
    }
    drop(wal);
    let older = log.dir().join("wal.001");
    let mut bytes = fs::read(&older).expect("there");
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::write(&older, bytes).expect("written");
    let (_wal, recovered) = log.open_with(limits);
    let error = recovered.records_since(Height::FIRST).expect_err("damage").to_string();
    assert!(error.contains("wal.001 is damaged at byte"), "{error}");
}

#[test]
fn a_crash_between_renaming_the_head_and_making_a_new_one_is_survived() {
    let log = Log::new();
    log.write(&[step(1, 0)]);
    fs::rename(log.head(), log.dir().join("wal.000")).expect("renamed");
    log.write(&[step(1, 1)]);
    assert_eq!(log.read(1), [step(1, 0), step(1, 1)]);
}

#[test]
fn a_missing_end_mark_changes_nothing_and_late_votes_of_the_height_before_are_kept() {
    let late = JournalRecord::Message {
        source: Source::Own,
        message: JournalMessage::Vote(vote(4, VoteKind::Precommit, Some(block_id()))),
    };
    let log = Log::new();
    log.write(&[step(4, 0), end(4), late.clone(), step(5, 0), step(5, 1)]);
    assert_eq!(log.read(5), [late, step(5, 0), step(5, 1)]);
    let log = Log::new();
    log.write(&[step(3, 0), end(3), step(9, 0), step(9, 1)]); // heights 4 to 8 came by block sync
    assert_eq!(log.read(9), [step(9, 0), step(9, 1)]);
}

fn standing(height: u64, round: u32) -> JournalRecord {
    let voted_for = Some(Address::new([6; 20]));
    JournalRecord::Standing(Standing { height: Height::new(height), round: Round::new(round), voted_for })
}

/// Three heights as Raft and PBFT journal them, the standing of the next height once before and once after the mark; in
/// the last height nothing was written but the mark, or nothing but steps.
fn lives_with_standings() -> Vec<Vec<JournalRecord>> {
    let begin = [standing(1, 0), step(1, 0), standing(1, 3), step(1, 3)];
    let tails: [&[JournalRecord]; 5] = [
        &[end(1)],
        &[end(1), step(2, 3), step(2, 4)],
        &[standing(2, 3), end(1), step(2, 3)],
        &[end(1), standing(2, 3), step(2, 3), standing(2, 5), end(2), step(3, 5)],
        // Heights 2 to 6 came by block sync, without marks; then 7 ended before its standing was written.
        &[end(1), step(7, 3), end(7)],
    ];
    tails.into_iter().map(|tail| [&begin, tail].concat()).collect()
}

/// Every life, rotated after every record or every two or three, read for every height: 60 logs.
#[test]
fn the_newest_standing_survives_ends_of_heights_and_rotation_at_every_point() {
    let mut logs = 0;
    for life in lives_with_standings() {
        let newest = life.iter().rev().find(|record| is_standing(record)).expect("each life has some");
        for rotate_from in 0..4 {
            for rotate_every in 1..=3 {
                logs += 1;
                let log = Log::new();
                // A head of one byte is full after each record, so a log with it is rotated there.
                for (at_record, record) in life.iter().enumerate() {
                    let rotates = at_record >= rotate_from && at_record % rotate_every == 0;
                    let head_bytes = if rotates { 1 } else { 1 << 20 };
                    let (mut wal, _) = log.open_with(Limits { head_bytes, ..Limits::default() });
                    wal.append(at(1), record).expect("appended");
                    wal.sync().expect("synced");
                }
                let (_wal, recovered) = log.open();
                for height in 1..=8 {
                    let records = recovered.records_with_standing(Height::new(height)).expect("readable");
                    let last = records.iter().rev().find(|record| is_standing(record));
                    assert_eq!(last, Some(newest), "height {height} of {life:?}, rotated every {rotate_every}");
                    let mut others = records.clone();
                    others.retain(|record| !is_standing(record));
                    let mut without = recovered.records_since(Height::new(height)).expect("readable");
                    without.retain(|record| !is_standing(record));
                    assert_eq!(others, without, "nothing else changes");
                }
            }
        }
    }
    assert_eq!(logs, 60);
}

#[test]
fn a_log_without_standings_is_read_to_its_beginning_only_when_one_is_asked_for() {
    let log = Log::new();
    let limits = Limits { head_bytes: 1, ..Limits::default() };
    let (mut wal, _) = log.open_with(limits);
    for height in 1..=5 {
        wal.append(at(1), &end(height)).expect("appended");
        wal.sync().expect("synced");
    }
    drop(wal);
    let oldest = log.dir().join("wal.000");
    let mut bytes = fs::read(&oldest).expect("there");
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::write(&oldest, bytes).expect("written");
    let (_wal, recovered) = log.open_with(limits);
    assert_eq!(recovered.records_since(Height::new(6)).expect("the damage is far away"), []);
    let error = recovered.records_with_standing(Height::new(6)).expect_err("it is read").to_string();
    assert!(error.contains("wal.000 is damaged"), "{error}");
}

#[test]
fn a_record_too_large_to_be_read_back_is_refused_when_written() {
    let log = Log::new();
    let (mut wal, _) = log.open();
    let mut vote = vote(1, VoteKind::Precommit, Some(block_id()));
    vote.extension = vec![1; RECORD_BYTES_MAX].into();
    vote.extension_signature = Some(Signature::new([1; 64]));
    let record = JournalRecord::Message { source: Source::Own, message: JournalMessage::Vote(vote) };
    assert!(wal.append(at(1), &record).is_err());
    wal.append(at(1), &step(1, 0)).expect("the log goes on");
    wal.sync().expect("synced");
}

/// Repair looks for a torn group in the last [`writer::GROUP_BYTES_MAX`] bytes: no group may be larger, headers included.
#[test]
fn a_record_that_would_make_a_group_too_large_begins_the_next() {
    let record = |bytes: usize| {
        let mut vote = vote(1, VoteKind::Precommit, Some(block_id()));
        (vote.extension, vote.extension_signature) = (vec![1; bytes].into(), Some(Signature::new([1; 64])));
        JournalRecord::Message { source: Source::Own, message: JournalMessage::Vote(vote) }
    };
    let framed = |bytes| frame::HEADER_BYTES + crate::codec::journal::encode(at(1), &record(bytes)).len();
    let (two, around) = (2 * framed(700_000), framed(700_000) - 700_000);
    let fits = writer::GROUP_BYTES_MAX - two - around;
    for (third, written) in [(fits, 0), (fits + 1, 2)] {
        let log = Log::new();
        let (mut wal, _) = log.open();
        let frames = || frame_lengths(&fs::read(log.head()).expect("there")).len();
        let before = frames();
        for bytes in [700_000, 700_000, third] {
            wal.append(at(1), &record(bytes)).expect("appended");
        }
        assert_eq!(frames() - before, written, "a third vote of {third} bytes");
    }
}

#[test]
fn the_largest_vote_a_peer_can_send_fits_a_record() {
    let log = Log::new();
    let (mut wal, _) = log.open();
    let mut vote = vote(u64::from(u32::MAX) << 31, VoteKind::Precommit, Some(block_id()));
    (vote.round, vote.validator_index) = (Round::new(i32::MAX as u32), u32::MAX >> 1);
    vote.timestamp = Time::new(253_402_300_799, 999_999_999).expect("the last second of the year 9999");
    vote.extension = vec![1; VOTE_EXTENSION_SENT_MAX].into();
    vote.extension_signature = Some(Signature::new([1; 64]));
    let source = Source::Peer(NodeId::new(Address::new([5; 20])));
    let record = JournalRecord::Message { source, message: JournalMessage::Vote(vote.clone()) };
    wal.append(vote.timestamp, &record).expect("it fits");
}

/// Bytes of each frame in a file.
fn frame_lengths(mut bytes: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let Ok(data) = frame::parse(bytes) {
        let length = frame::HEADER_BYTES + data.len();
        lengths.push(length);
        bytes = &bytes[length..];
    }
    lengths
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever was synced comes back after a crash that tears the rest anywhere, in order and complete.
    #[test]
    fn what_was_synced_survives_any_tear(
        rounds in proptest::collection::vec((0u32..1000, any::<bool>()), 1..40),
        kept in 0.0f64..=1.0,
    ) {
        let log = Log::new();
        let (mut wal, _) = log.open();
        let mut synced = 0;
        for (index, (round, sync)) in rounds.iter().enumerate() {
            wal.append(at(1), &step(1, *round)).expect("appended");
            if *sync {
                wal.sync().expect("synced");
                synced = index + 1;
            }
        }
        let promised = fs::read(log.head()).expect("readable");
        let promised: usize = frame_lengths(&promised).iter().sum();
        wal.sync().expect("synced");
        let whole: usize = frame_lengths(&fs::read(log.head()).expect("readable")).iter().sum();
        std::mem::forget(wal);
        let cut = promised + ((whole - promised) as f64 * kept) as usize;
        let mut bytes = fs::read(log.head()).expect("readable");
        bytes[cut..].fill(0);
        fs::write(log.head(), bytes).expect("written");
        let found = log.read(1);
        let expected: Vec<JournalRecord> = rounds.iter().map(|(round, _)| step(1, *round)).collect();
        prop_assert!(found.len() >= synced && expected.starts_with(&found), "{} of {synced}", found.len());
    }
}
