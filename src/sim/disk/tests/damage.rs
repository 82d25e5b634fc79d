//! The damage matrix: whatever happens to a file of journal or guard while the node is away, it is repaired, or refused
//! with the file's name and what to do. Never a panic, and never a quiet loss of what was synced before the tail.

use super::journal::{dir, record, time};
use crate::crypto::PrivateKey;
use crate::ports::{Journal, OpenMode, SignError, Signer};
use crate::privval::FileSigner;
use crate::sim::Dice;
use crate::sim::disk::{Damage, SimDisk};
use crate::types::{Address, ChainId, Height, JournalRecord, Round, UnsignedVote, VoteKind};
use crate::wal::{self, Limits};
use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::path::Path;

const LIMITS: Limits =
    Limits { head_bytes: 1200, total_bytes: 1 << 20, grow_bytes: NonZeroU64::new(2048).expect("not zero") };

/// How the last life of the journal ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    /// The head ends in zeros.
    Killed,
}

/// A journal's files and its records.
struct Journalled {
    files: BTreeMap<String, Vec<u8>>,
    records: Vec<JournalRecord>,
}

fn journalled(end: End) -> Journalled {
    let (disk, mut dice) = (SimDisk::new(), Dice::new(5));
    let (mut wal, _) = wal::open(disk.boot().0, dir(), LIMITS, time()).expect("opens");
    let records: Vec<JournalRecord> = (0..24).map(|number| record(number, &mut dice)).collect();
    for record in &records {
        wal.append(time(), record).expect("appended");
        wal.sync().expect("synced");
    }
    match end {
        End::Closed => drop(wal),
        End::Killed => disk.kill(crate::sim::disk::Batches::Kept),
    }
    let bytes = |name: String| disk.bytes_of(&dir().join(&name)).map(|bytes| (name, bytes));
    Journalled { files: disk.files_in(dir()).into_keys().filter_map(bytes).collect(), records }
}

/// A disk that holds these files.
fn disk_with(dir: &Path, files: &BTreeMap<String, Vec<u8>>) -> SimDisk {
    let disk = SimDisk::new();
    let (port, _) = disk.boot();
    port.create_dirs(dir).expect("made");
    for (name, bytes) in files {
        let file = port.open(&dir.join(name), OpenMode::CreateNew).expect("new");
        file.write_all_at(bytes, 0).expect("written");
        file.sync_all().expect("synced");
    }
    port.sync_dir(dir).expect("synced");
    disk
}

/// Damage at many places of a file of this length: every 7th byte cut, every 11th bit flipped, sectors zeroed or overwritten.
fn damages(length: u64) -> Vec<Damage> {
    let mut all: Vec<Damage> = (0..length).step_by(7).map(|length| Damage::Cut { length }).collect();
    all.extend((0..length * 8).step_by(11).map(|at| Damage::Flip { offset: at / 8, bit: (at % 8) as u8 }));
    for offset in (0..length).step_by(64) {
        all.push(Damage::Zeroed { offset, bytes: 512 });
        all.push(Damage::Misdirected { offset, fill: 0x0a });
    }
    all
}

/// Where each record of a file ends.
fn ends(bytes: &[u8]) -> Vec<u64> {
    let (mut ends, mut at) = (Vec::new(), 0);
    while let Some(four) = bytes.get(at + 4..at + 8) {
        let length = u32::from_be_bytes(four.try_into().expect("four bytes")) as usize;
        if length == 0 {
            break;
        }
        at += 8 + length;
        ends.push(at as u64);
    }
    ends
}

/// Opens what is left and reads everything back.
fn reopen(disk: &SimDisk) -> Result<Vec<JournalRecord>, String> {
    let opened = wal::open(disk.boot().0, dir(), LIMITS, time());
    let found = opened.and_then(|(_wal, recovered)| recovered.records_since(Height::FIRST));
    found.map_err(|error| error.to_string())
}

/// Whether quiet is allowed: the damage is to the tail, where it looks like what a crash leaves, or it is no damage.
fn may_be_quiet(bytes: &[u8], damage: Damage, place: &str) -> bool {
    let ends = ends(bytes);
    let records_end = ends.last().copied().unwrap_or(0);
    let last_starts = ends.len().checked_sub(2).map_or(0, |before| ends[before]);
    match damage {
        // A full segment cut exactly where a record ends looks whole: the format has no count of records.
        Damage::Cut { length } => place == "wal" || ends.contains(&length),
        Damage::Flip { offset, .. } => place == "wal" && offset >= last_starts,
        // Zeros in the last two MiB look like sectors that a crash lost.
        Damage::Zeroed { .. } => place == "wal",
        Damage::Misdirected { offset, .. } => place == "wal" && offset + 512 >= last_starts.min(records_end),
    }
}

/// Files of a closed and of a killed journal; over 10,000 cases.
#[test]
fn a_damaged_journal_is_repaired_or_refused_with_file_and_remedy() {
    let (mut repaired, mut refused) = (0, 0);
    for end in [End::Closed, End::Killed] {
        let Journalled { files, records } = journalled(end);
        assert!(files.len() >= 3, "{:?}", files.keys());
        assert_eq!(reopen(&disk_with(dir(), &files)).as_ref(), Ok(&records));
        for (name, bytes) in &files {
            for damage in damages(bytes.len() as u64) {
                let disk = disk_with(dir(), &files);
                disk.damage(&dir().join(name), damage);
                if disk.bytes_of(&dir().join(name)).as_ref() == Some(bytes) {
                    continue;
                }
                let what = format!("{end:?}, {name}, {damage:?}");
                match reopen(&disk) {
                    Ok(found) if found == records => repaired += 1,
                    Ok(found) => {
                        assert!(may_be_quiet(bytes, damage, name), "{what}: quietly {} records", found.len());
                        assert!(name != "wal" || records.starts_with(&found), "{what}: a hole");
                        repaired += 1;
                    }
                    Err(text) => {
                        assert!(text.contains(&format!("{}/{name} ", dir().display())), "{what}: {text}");
                        assert!(text.contains("at byte") && text.contains("mv "), "{what}: {text}");
                        refused += 1;
                    }
                }
            }
        }
    }
    println!("{repaired} repaired, {refused} refused");
    assert!(repaired > 500 && refused > 8000, "{repaired} repaired, {refused} refused");
}

#[test]
fn a_segment_that_is_gone_is_refused_by_name_unless_it_is_the_oldest_or_the_newest() {
    let Journalled { files, records } = journalled(End::Closed);
    let rotated = files.len() - 1;
    for lost in 0..rotated {
        let disk = disk_with(dir(), &files);
        let name = format!("wal.{lost:03}");
        disk.lose_file(&dir().join(&name));
        match reopen(&disk) {
            Err(text) => assert!(text.contains(&format!("{name} is missing")) && text.contains("mv "), "{text}"),
            // The oldest goes when the log is full; what began in it is not needed any more, as far as anybody can say.
            Ok(found) if lost == 0 => assert!(records.ends_with(&found), "{name}"),
            // The head has no number: nothing says that the one before it is not the last.
            Ok(_) => assert_eq!(lost + 1, rotated, "{name}"),
        }
    }
}

/// 300 journals with harm drawn where the atlas promises an answer.
#[test]
fn harm_from_the_atlas_is_always_refused() {
    let Journalled { files, .. } = journalled(End::Closed);
    for seed in 0..300 {
        let disk = disk_with(dir(), &files);
        let harm = disk.harm_journal(&mut Dice::new(seed), dir()).expect("there are records");
        let text = reopen(&disk).expect_err("damage").to_string();
        assert!(text.contains(&harm.file.display().to_string()), "seed {seed}: {harm:?}: {text}");
    }
}

// -------------------------------------------------------------------------------------------------------- the guard

const KEY: &str = "priv_validator_key.json";
const STATE: &str = "priv_validator_state.json";

fn home() -> &'static Path {
    Path::new("/node/home")
}

fn open_guard(disk: &SimDisk) -> Result<FileSigner, String> {
    let (port, _) = disk.boot();
    FileSigner::open(port, &home().join(KEY), &home().join(STATE)).map_err(|error| error.to_string())
}

fn vote(height: u64, round: u32, kind: VoteKind) -> UnsignedVote {
    UnsignedVote {
        kind,
        height: Height::new(height),
        round: Round::new(round),
        block_id: None,
        timestamp: time(),
        validator_address: Address::new([1; 20]),
        validator_index: 0,
        extension: None,
    }
}

/// Every bit of key and state flipped, both cut at every 7th byte, sectors zeroed or overwritten: over 4,500 cases.
#[test]
fn a_damaged_key_or_state_is_refused_with_its_name_or_signs_no_more_than_before() {
    let chain = ChainId::try_from("sim").expect("a legal name");
    let disk = SimDisk::new();
    let (port, _) = disk.boot();
    let key = PrivateKey::from_seed(&[1; 32]);
    FileSigner::save_new(&*port, &key, &home().join(KEY), &home().join(STATE)).expect("made");
    let mut signer = FileSigner::open(port, &home().join(KEY), &home().join(STATE)).expect("opens");
    signer.sign_vote(&chain, vote(19, 7, VoteKind::Precommit)).expect("signed");
    let files: BTreeMap<String, Vec<u8>> = [KEY, STATE]
        .into_iter()
        .map(|name| (name.to_owned(), disk.bytes_of(&home().join(name)).expect("there")))
        .collect();
    let (mut refused, mut harmless) = (0, 0);
    for (name, bytes) in &files {
        let flips = (0..bytes.len() as u64 * 8).map(|at| Damage::Flip { offset: at / 8, bit: (at % 8) as u8 });
        for damage in flips.chain(damages(bytes.len() as u64)) {
            let disk = disk_with(home(), &files);
            disk.damage(&home().join(name), damage);
            match open_guard(&disk) {
                Err(text) => {
                    let file = home().join(name).display().to_string();
                    let about_state = home().join(STATE).display().to_string();
                    assert!(text.contains(&file) || text.contains(&about_state), "{damage:?}: {text}");
                    refused += 1;
                }
                Ok(mut signer) => {
                    harmless += 1;
                    assert_eq!(signer.public_key(), key.public_key(), "{name}, {damage:?}");
                    for lower in [
                        vote(19, 7, VoteKind::Prevote),
                        vote(19, 6, VoteKind::Precommit),
                        vote(18, 9, VoteKind::Precommit),
                    ] {
                        let answer = signer.sign_vote(&chain, lower);
                        assert!(matches!(answer, Err(SignError::Refused(_))), "{name}, {damage:?}");
                    }
                    let mut other = vote(19, 7, VoteKind::Precommit);
                    other.block_id = Some(crate::types::tests::block_id("other"));
                    assert!(
                        matches!(signer.sign_vote(&chain, other), Err(SignError::Refused(_))),
                        "{name}, {damage:?}"
                    );
                }
            }
        }
    }
    println!("{refused} refused, {harmless} harmless");
    assert!(refused > 4500 && harmless > 0, "{refused} refused, {harmless} harmless");
}
