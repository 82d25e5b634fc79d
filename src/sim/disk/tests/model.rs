//! The model does what it says: what survives, what does not, what fails and when.

use crate::ports::{Disk, DiskFile, OpenMode};
use crate::sim::Dice;
use crate::sim::disk::{
    Act, Batches, FailedSync, Fuse, Kind, Kindness, Moment, SimDisk, SimKv, Trouble, until_power_cut,
};
use crate::storage::{Batch, Durability, Kv};
use std::collections::BTreeSet;
use std::fs::TryLockError;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

fn file() -> &'static Path {
    Path::new("/home/file")
}

/// A disk in its first life with a durable directory `/home`.
fn booted() -> (SimDisk, Arc<dyn Disk>, SimKv) {
    let disk = SimDisk::new();
    let (port, kv) = disk.boot();
    port.create_dirs(Path::new("/home")).expect("made");
    (disk, port, kv)
}

fn create(port: &Arc<dyn Disk>) -> Box<dyn DiskFile> {
    port.open(file(), OpenMode::ReadWrite).expect("opens")
}

#[test]
fn content_survives_by_a_sync_of_the_file_and_a_name_by_a_sync_of_its_directory() {
    for (sync_file, sync_dir) in [(false, false), (false, true), (true, false), (true, true)] {
        let (disk, port, _) = booted();
        let handle = create(&port);
        handle.write_all_at(b"content", 0).expect("written");
        if sync_file {
            handle.sync_data().expect("synced");
        }
        if sync_dir {
            port.sync_dir(Path::new("/home")).expect("synced");
        }
        assert_eq!(disk.may_lose(Path::new("/home")), !(sync_file && sync_dir), "{sync_file} {sync_dir}");
        disk.power_cut(&mut Dice::new(1), Kindness::LosesAll);
        let expected = sync_dir.then(|| if sync_file { b"content".to_vec() } else { Vec::new() });
        assert_eq!(disk.bytes_of(file()), expected, "{sync_file} {sync_dir}");
    }
}

#[test]
fn a_killed_process_leaves_everything_it_wrote_and_its_handles_fail() {
    let (disk, port, _) = booted();
    let handle = create(&port);
    handle.write_all_at(b"content", 0).expect("written");
    disk.kill(Batches::Kept);
    assert!(handle.write_all_at(b"late", 0).is_err() && port.remove(file()).is_err());
    let (_port, _) = disk.boot();
    assert!(handle.sync_all().is_err(), "also when the next life is on");
    assert_eq!(disk.bytes_of(file()).as_deref(), Some(&b"content"[..]));
}

#[test]
fn a_lost_rename_brings_the_old_file_back_and_the_lost_name_of_a_directory_takes_all_in_it() {
    let (disk, port, _) = booted();
    create(&port).write_all_at(b"old", 0).expect("written");
    create(&port).sync_all().expect("synced");
    port.sync_dir(Path::new("/home")).expect("synced");
    let new = port.open(Path::new("/home/new"), OpenMode::CreateNew).expect("new");
    new.write_all_at(b"new", 0).expect("written");
    new.sync_all().expect("synced");
    port.rename(Path::new("/home/new"), file()).expect("renamed");
    assert_eq!(disk.bytes_of(file()).as_deref(), Some(&b"new"[..]));
    port.create_dir(Path::new("/home/dir")).expect("made");
    port.open(Path::new("/home/dir/inside"), OpenMode::CreateNew).expect("new").sync_all().expect("synced");
    port.sync_dir(Path::new("/home/dir")).expect("synced");
    disk.power_cut(&mut Dice::new(1), Kindness::LosesAll);
    assert_eq!(disk.bytes_of(file()).as_deref(), Some(&b"old"[..]));
    assert_eq!(disk.files_in(Path::new("/home")).len(), 1);
    assert_eq!(disk.files_in(Path::new("/home/dir")).len(), 0);
}

/// 2000 power cuts over three writes of one file: each sector is old or new, all eight combinations of lost writes occur,
/// and so do torn writes and garbage.
#[test]
fn any_subset_of_unsynced_writes_is_lost_and_nothing_synced_is_touched() {
    let mut outcomes = BTreeSet::new();
    let (mut torn, mut garbage) = (0, 0);
    for seed in 0..2000 {
        let (disk, port, _) = booted();
        let handle = create(&port);
        handle.write_all_at(&[1; 8192], 0).expect("written");
        handle.sync_all().expect("synced");
        port.sync_dir(Path::new("/home")).expect("synced");
        for (index, fill) in [2, 3, 4].into_iter().enumerate() {
            handle.write_all_at(&[fill; 2048], 2048 + 2048 * index as u64 * 2).expect("written");
        }
        let taken = disk.power_cut(&mut Dice::new(seed), Kindness::KeepsAnything);
        let bytes = disk.bytes_of(file()).expect("there");
        assert!(bytes[..2048] == [1; 2048] && bytes[4096..6144] == [1; 2048], "seed {seed}");
        let kept = [(2048, 2), (6144, 3)].map(|(at, fill)| {
            let sectors: Vec<u8> = bytes[at..at + 2048].chunks(512).map(|sector| sector[0]).collect();
            assert!(sectors.iter().all(|byte| *byte == 1 || *byte == fill), "seed {seed}: {sectors:?}");
            let (lacks, has) = (sectors.contains(&1), sectors.contains(&fill));
            torn += u64::from(lacks && has);
            assert!((!lacks || taken.lost) && (!(lacks && has) || taken.torn), "seed {seed}: {taken:?}");
            (lacks, has)
        });
        assert!(!(kept[0].0 && kept[1].1) || taken.mixed_up, "seed {seed}: {taken:?}");
        let kept = kept.map(|(_, has)| has);
        let grown = bytes.get(10240..).unwrap_or_default();
        garbage += u64::from(grown.iter().any(|byte| *byte != 0 && *byte != 4));
        outcomes.insert((kept, grown.contains(&4)));
    }
    assert_eq!(outcomes.len(), 8);
    assert!(torn > 100 && garbage > 20, "{torn} torn, {garbage} with garbage");
}

#[test]
fn an_ordered_cut_keeps_everything_before_some_moment_and_nothing_after_it() {
    let mut lengths = BTreeSet::new();
    for seed in 0..200 {
        let (disk, port, _) = booted();
        let handle = create(&port);
        port.sync_dir(Path::new("/home")).expect("synced");
        for index in 0..8 {
            handle.write_all_at(&[index as u8 + 1; 512], index * 512).expect("written");
        }
        let taken = disk.power_cut(&mut Dice::new(seed), Kindness::KeepsOrder);
        let bytes = disk.bytes_of(file()).expect("its name is durable");
        assert_eq!((taken.lost, taken.torn, taken.mixed_up), (bytes.len() < 4096, false, false), "seed {seed}");
        assert!(bytes.chunks(512).enumerate().all(|(index, sector)| sector[0] == index as u8 + 1), "seed {seed}");
        lengths.insert(bytes.len());
    }
    assert!(lengths.len() > 6, "{lengths:?}");
}

#[test]
fn the_fuse_ends_the_life_before_halfway_or_after_the_operation_it_names() {
    for (moment, expected) in [(Moment::Before, 0), (Moment::Halfway, 3), (Moment::After, 7)] {
        let (disk, port, _) = booted();
        let handle = create(&port);
        disk.set_fuse(Some(Fuse { operations: 1, moment }));
        let ended = until_power_cut(|| {
            handle.sync_all().expect("one operation is left");
            handle.write_all_at(b"content", 0).expect("never returns");
        });
        assert_eq!(ended, None);
        assert!(!disk.is_on() && handle.length().is_err());
        assert_eq!(disk.bytes_of(file()).expect("there").len(), expected, "{moment:?}");
        disk.boot();
        assert!(disk.is_on());
    }
}

#[test]
fn failures_come_after_the_operations_let_through_as_often_as_asked_and_end_when_mended() {
    let (disk, port, _) = booted();
    let handle = create(&port);
    disk.add_trouble(Trouble::Fails { kind: Kind::Write, skip: 1, times: 2, leaves: FailedSync::LeavesNothing });
    let outcomes: Vec<bool> = (0..4).map(|_| handle.write_at(b"x", 0).is_ok()).collect();
    assert_eq!(outcomes, [true, false, false, true]);
    assert_eq!(disk.failures(Kind::Write), 2);
    disk.add_trouble(Trouble::Fails { kind: Kind::Read, skip: 0, times: 9, leaves: FailedSync::LeavesNothing });
    assert!(port.exists(file()).is_err() && handle.read_at(&mut [0], 0).is_err());
    disk.mend();
    assert!(port.exists(file()).expect("mended"));
}

#[test]
fn after_a_failed_sync_reads_go_on_and_no_later_sync_brings_the_data_back() {
    for (leaves, expected) in [(FailedSync::LeavesNothing, &b""[..]), (FailedSync::LeavesEverything, &b"content"[..])] {
        let (disk, port, _) = booted();
        let handle = create(&port);
        port.sync_dir(Path::new("/home")).expect("synced");
        handle.write_all_at(b"content", 0).expect("written");
        disk.add_trouble(Trouble::Fails { kind: Kind::Sync, skip: 0, times: 1, leaves });
        assert!(handle.sync_all().is_err());
        handle.sync_all().expect("says it worked");
        assert_eq!(disk.bytes_of(file()).as_deref(), Some(&b"content"[..]));
        disk.power_cut(&mut Dice::new(1), Kindness::LosesNothing);
        assert_eq!(disk.bytes_of(file()).as_deref(), Some(expected), "{leaves:?}");
    }
}

#[test]
fn a_full_disk_takes_what_fits_and_short_writes_are_finished_by_the_loop() {
    let (disk, port, _) = booted();
    let handle = create(&port);
    disk.add_trouble(Trouble::Short { bytes: 3 });
    handle.write_all_at(b"0123456789", 0).expect("in four writes");
    let mut bytes = [0; 10];
    handle.read_exact_at(&mut bytes, 0).expect("in four reads");
    assert_eq!(&bytes, b"0123456789");
    disk.mend();
    disk.add_trouble(Trouble::Full { bytes: 4 });
    let error = handle.write_all_at(b"abcdef", 10).expect_err("no room");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(disk.bytes_of(file()).as_deref(), Some(&b"0123456789abcd"[..]));
}

#[test]
fn slow_operations_add_up_until_asked_for() {
    let (disk, port, _) = booted();
    let handle = create(&port);
    disk.add_trouble(Trouble::Slow { kind: Kind::Sync, each: Duration::from_secs(2) });
    handle.sync_all().expect("synced");
    handle.sync_data().expect("synced");
    assert_eq!((disk.take_stall(), disk.take_stall()), (Duration::from_secs(4), Duration::ZERO));
}

#[test]
fn a_lock_holds_until_its_handle_is_dropped_or_its_life_is_over() {
    let (disk, port, _) = booted();
    let (first, second) = (create(&port), create(&port));
    first.try_lock().expect("free");
    assert!(matches!(second.try_lock(), Err(TryLockError::WouldBlock)));
    drop(first);
    second.try_lock().expect("free again");
    let (port, _) = disk.boot();
    create(&port).try_lock().expect("a new life");
}

#[test]
fn the_log_says_what_was_synced_when() {
    let disk = SimDisk::new();
    disk.keep_log();
    let (port, kv) = disk.boot();
    port.create_dir(Path::new("/home")).expect("made");
    port.sync_dir(Path::new("/")).expect("synced");
    let handle = create(&port);
    handle.write_all_at(b"abc", 0).expect("written");
    handle.sync_data().expect("synced");
    kv.write(Batch::default(), Durability::Now).expect("written");
    let acts: Vec<Act> = disk.take_log().into_iter().map(|logged| logged.act).collect();
    let wrote = Act::Wrote { offset: 0, bytes: 3 };
    assert_eq!(acts, [Act::MadeDir, Act::SyncedDir, Act::Made, wrote, Act::Synced(3), Act::BatchNow]);
    assert!(disk.take_log().is_empty());
}

/// Batches 0 to 9, number 4 durable at once: 500 power cuts.
#[test]
fn the_store_loses_a_suffix_of_what_was_not_durable_and_never_a_hole() {
    let mut lengths = BTreeSet::new();
    for seed in 0..500 {
        let (disk, _, kv) = booted();
        for index in 0..10_u8 {
            let mut batch = Batch::default();
            batch.put(vec![index], vec![index].into());
            batch.put(vec![100], vec![index].into());
            let durability = if index == 4 { Durability::Now } else { Durability::Later };
            kv.write(batch, durability).expect("written");
        }
        disk.power_cut(&mut Dice::new(seed), Kindness::KeepsAnything);
        assert!(kv.get(&[0]).is_err(), "the power is off");
        let (_, kv) = disk.boot();
        let there = (0..10_u8).filter(|index| kv.get(&[*index]).expect("readable").is_some()).count();
        let last = kv.get(&[100]).expect("readable").expect("there")[0];
        assert!(there >= 5 && usize::from(last) + 1 == there, "seed {seed}: {there} batches, the last is {last}");
        lengths.insert(there);
    }
    assert_eq!(lengths, (5..=10).collect());
}

#[test]
fn the_store_fails_and_ends_lives_as_files_do() {
    let (disk, _, kv) = booted();
    let batch = || {
        let mut batch = Batch::default();
        batch.put(b"key".to_vec(), b"value".to_vec().into());
        batch
    };
    disk.add_trouble(Trouble::Full { bytes: 7 });
    assert!(kv.write(batch(), Durability::Now).is_err());
    disk.mend();
    disk.add_trouble(Trouble::Fails { kind: Kind::Sync, skip: 0, times: 1, leaves: FailedSync::LeavesNothing });
    assert!(kv.write(batch(), Durability::Now).is_err());
    assert_eq!(kv.get(b"key").expect("readable"), None);
    disk.set_fuse(Some(Fuse { operations: 0, moment: Moment::Halfway }));
    assert!(until_power_cut(|| kv.write(batch(), Durability::Now)).is_none());
    disk.kill(Batches::Lost);
    let (_, kv) = disk.boot();
    assert_eq!(kv.get(b"key").expect("readable"), None, "a batch has no half");
    kv.write(batch(), Durability::Later).expect("written");
    disk.kill(Batches::Kept);
    assert!(disk.boot().1.get(b"key").expect("readable").is_some());
    disk.kill(Batches::Lost);
    assert!(disk.boot().1.get(b"key").expect("readable").is_none());
}
