//! Every crash point of `quorate debug crash-points`, in a real process: armed, reached, dead, started again without the
//! variable and without hand work. What was acknowledged is there, blocks and application fit, nothing was signed twice.
//!
//! Each point three ways: at its hits 1, 2 and 10; where one life gets there only once, under the three protocols.
//! `QUORATE_CRASH_HITS=1,2,3,5,10,50` chooses other hits and runs them under all three (`scripts/soak crash-points`).

mod accusation;
mod story;

pub(crate) use accusation::Accuser;
pub(crate) use story::assert_died;

use super::development::Terminals;
use super::harness::{Process, quorate, run};
use super::net::crash_points as network;
use quorate::abci::{self, KvStore, Server};
use quorate::crash_points::{ALL, VARIABLE};
use quorate::crypto::Hash;
use quorate::crypto::merkle::Proof;
use quorate::disk::OsDisk;
use quorate::types::{Algorithm, Height, JournalMessage, JournalRecord, Part, PartSet, Round, Source, Time};
use quorate::wal;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;
use story::Story;
use tokio::runtime::Runtime;

/// Stories told at once by each test; cargo runs a test a core.
const AT_ONCE: usize = 2;
/// At which of its hits a point ends the process, unless `QUORATE_CRASH_HITS` says otherwise.
const HITS: &[u64] = &[1, 2, 10];

/// Blocks a chain has before its node has to replay them.
const BLOCKS_TO_REPLAY: u64 = 14;

/// What a node that decides alone does again and again.
const RUNNING: &[&str] = &[
    "wal.append.before",
    "wal.append.after",
    "wal.write.before",
    "wal.sync.before",
    "wal.sync.after",
    "guard.sign.before",
    "guard.write.before",
    "guard.sync.before",
    "guard.rename.before",
    "guard.rename.after",
    "guard.dirsync.after",
    "guard.sign.after",
    "sign.vote.before",
    "sign.vote.after",
    "sign.proposal.before",
    "sign.proposal.after",
    "publish.before",
    "publish.after",
    "client.checked.before",
    "client.checked.after",
    "client.admitted.before",
    "client.admitted.after",
    "client.committed.before",
];
/// The same around its application and its store.
const EXECUTING: &[&str] = &[
    "store.block.before",
    "store.block.after",
    "store.results.before",
    "store.results.after",
    "store.state.before",
    "store.state.after",
    "store.index.before",
    "store.index.after",
    "app.prepare_proposal.before",
    "app.prepare_proposal.after",
    "app.process_proposal.before",
    "app.process_proposal.after",
    "app.extend_vote.before",
    "app.extend_vote.after",
    "app.finalize_block.before",
    "app.finalize_block.after",
    "app.commit.before",
    "app.commit.after",
    "app.check_tx.before",
    "app.check_tx.after",
];
/// What only chains under Tendermint have.
const TENDERMINT_ONLY: &[&str] = &["app.extend_vote.before", "app.extend_vote.after"];
/// What a node does for each block its application lacks.
const REPLAYING: &[&str] = &["replay.load.before", "replay.load.after"];
/// What every start does once.
const STARTING: &[&str] =
    &["wal.renew.before", "wal.renew.after", "app.info.before", "app.info.after", "begin.before", "begin.after"];
/// What only the first start does.
const FIRST_START: &[&str] = &[
    "wal.create.before",
    "wal.create.after",
    "wal.grow.before",
    "wal.grow.after",
    "store.marker.before",
    "store.marker.after",
    "store.genesis.before",
    "store.genesis.after",
    "app.init_chain.before",
    "app.init_chain.after",
];
/// What a node of Raft does the first time it votes for a leader, be it itself.
const PROMISING: &[&str] = &["guard.promise.before", "guard.promise.after"];
/// What a node does that stops in order.
const STOPPING: &[&str] = &["stop.before", "stop.after", "wal.close.before", "wal.close.after"];
/// What a start does whose journal ends in the middle of a record.
const REPAIRING: &[&str] = &["wal.repair.before", "wal.repair.sync.before", "wal.repair.after"];
/// What a node does whose journal is full.
const ROTATING: &[&str] = &[
    "wal.rotate.before",
    "wal.rotate.rename.before",
    "wal.rotate.rename.after",
    "wal.rotate.head.before",
    "wal.rotate.head.after",
    "wal.rotate.after",
    "wal.prune.before",
    "wal.prune.sync.before",
    "wal.prune.after",
];
/// What a node does that hears of misbehaviour.
const ACCUSED: &[&str] =
    &["store.evidence.before", "store.evidence.after", "client.evidence.before", "client.evidence.after"];
/// What a node does whose application needs no old blocks.
const PRUNING: &[&str] = &["store.prune.before", "store.prune.headers.before", "store.prune.after"];
/// What `init` does once.
const INIT: &[&str] = &[
    "init.before",
    "init.genesis.before",
    "init.after",
    "key.write.before",
    "key.sync.before",
    "key.rename.before",
    "key.rename.after",
    "key.dirsync.after",
];
/// What `init` does for each of its files.
const INIT_FILES: &[&str] =
    &["file.write.before", "file.sync.before", "file.rename.before", "file.rename.after", "file.dirsync.after"];
/// Files `init` replaces one by one: config.toml, node_key.json, genesis.json.
const INIT_FILES_HITS: &[u64] = &[1, 2, 3];

/// What a node does that forms a development network with others.
const FORMING: &[&str] = &[
    "forming.memory.before",
    "forming.memory.after",
    "forming.config.before",
    "forming.genesis.before",
    "forming.genesis.after",
];

/// The hits and protocols of a run: the short one, or the long one of `QUORATE_CRASH_HITS`.
struct Ways {
    hits: Vec<u64>,
    algorithms: Vec<Algorithm>,
}

fn ways() -> Ways {
    match std::env::var("QUORATE_CRASH_HITS") {
        Ok(list) => {
            let hits = list.split(',').map(|hit| hit.trim().parse().unwrap()).collect();
            Ways { hits, algorithms: Algorithm::ALL.to_vec() }
        }
        Err(_) => Ways { hits: HITS.to_vec(), algorithms: vec![Algorithm::Tendermint] },
    }
}

/// Tells a story of every case, some at once.
pub(crate) fn of_each<T: Sync>(cases: &[T], tell: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let tell_some = || {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            tell(case);
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(tell_some))));
}

/// Each point under each of the protocols.
fn under(points: &[&'static str], algorithms: &[Algorithm]) -> Vec<(&'static str, Algorithm)> {
    points.iter().flat_map(|point| algorithms.iter().map(|algorithm| (*point, *algorithm))).collect()
}

/// One story a point, which dies at each of the hits.
fn dies_at_each_hit<T>(points: &[&'static str], prepare: impl Fn(&mut Story) -> T + Sync) {
    let Ways { hits, algorithms } = ways();
    let has = |(point, algorithm): &(&str, Algorithm)| {
        *algorithm == Algorithm::Tendermint || !TENDERMINT_ONLY.contains(point)
    };
    let cases: Vec<_> = under(points, &algorithms).into_iter().filter(has).collect();
    of_each(&cases, |(point, algorithm)| {
        let mut story = Story::begun(*algorithm);
        let _until_the_end = prepare(&mut story);
        for hit in &hits {
            story.dies_at(point, *hit);
            story.goes_on();
        }
        assert!(story.assert_signed_once() > 0, "{}: no vote in the journal", story.scene);
    });
}

/// One story for each point and protocol.
fn dies_once_under_each_protocol(points: &[&'static str], die: impl Fn(&mut Story, &'static str) + Sync) {
    of_each(&under(points, &Algorithm::ALL), |(point, algorithm)| {
        let mut story = Story::begun(*algorithm);
        die(&mut story, point);
        story.goes_on();
        assert!(story.assert_signed_once() > 0, "{}: no vote in the journal", story.scene);
    });
}

#[test]
fn a_running_node_dies_at_three_hits_of_each_point() {
    dies_at_each_hit(RUNNING, |_| {});
}

#[test]
fn a_node_dies_beside_an_application_that_lives_on_at_three_hits_of_each_point() {
    dies_at_each_hit(EXECUTING, |story| outlive(story, KvStore::default()));
}

#[test]
fn a_node_dies_while_it_replays_its_blocks() {
    dies_at_each_hit(REPLAYING, |story| story.lives_to(BLOCKS_TO_REPLAY));
}

#[test]
fn a_node_dies_while_it_starts_under_each_protocol() {
    dies_once_under_each_protocol(STARTING, |story, point| {
        story.lives_to(2);
        story.dies_at(point, 1);
    });
}

#[test]
fn a_node_dies_in_its_first_start_under_each_protocol() {
    dies_once_under_each_protocol(FIRST_START, |story, point| story.dies_at(point, 1));
}

#[test]
fn a_node_of_raft_dies_while_it_writes_down_that_its_key_gives_promises() {
    of_each(PROMISING, |point| {
        let mut story = Story::begun(Algorithm::Raft);
        story.dies_at(point, 1);
        story.goes_on();
        assert!(story.assert_signed_once() > 0, "{}: no vote in the journal", story.scene);
    });
}

#[test]
fn a_node_dies_while_it_stops_under_each_protocol() {
    dies_once_under_each_protocol(STOPPING, |story, point| story.dies_stopping(point));
}

#[test]
fn a_node_dies_while_it_repairs_its_journal_under_each_protocol() {
    dies_once_under_each_protocol(REPAIRING, |story, point| {
        story.lives_to(2);
        tear(story);
        story.dies_at(point, 1);
    });
}

#[test]
fn a_node_dies_while_it_changes_the_file_of_its_journal_under_each_protocol() {
    dies_once_under_each_protocol(ROTATING, |story, point| {
        story.lives_to(4);
        fill(story);
        story.dies_at(point, 1);
    });
}

#[test]
fn a_node_dies_over_evidence_at_three_hits_each() {
    of_each(ACCUSED, |point| {
        let mut story = Story::begun(Algorithm::Tendermint);
        let mut accuser = Accuser::of(&story);
        for hit in &ways().hits {
            story.dies_while(point, *hit, |story, client| story.send(client) && accuser.accuse(client));
            story.goes_on();
        }
        assert!(story.assert_signed_once() > 0);
    });
}

#[test]
fn a_node_dies_while_it_forgets_old_blocks_at_three_hits_each() {
    /// Blocks the application keeps.
    const KEPT: u64 = 3;
    of_each(PRUNING, |point| {
        let mut story = Story::begun(Algorithm::Tendermint);
        let _app = outlive(&mut story, KvStore::default().retain_blocks(KEPT));
        story.forgets_blocks = true;
        for hit in &ways().hits {
            story.dies_at(point, *hit);
            story.goes_on();
        }
    });
}

#[test]
fn init_dies_anywhere_and_is_run_again() {
    let once = under(INIT, &Algorithm::ALL).into_iter().map(|(point, algorithm)| (point, algorithm, 1));
    let files =
        INIT_FILES.iter().flat_map(|point| INIT_FILES_HITS.iter().map(|hit| (*point, Algorithm::Tendermint, *hit)));
    let cases: Vec<_> = once.chain(files).collect();
    of_each(&cases, |(point, algorithm, hit)| {
        let mut story = Story::in_an_empty_place(*algorithm);
        story.scene = format!("init under {algorithm} dies at {point}, hit {hit}");
        let died = story.init(Some((point, *hit)));
        let said = String::from_utf8_lossy(&died.stderr).contains(&format!("crash point {point} reached"));
        assert!(died.status.signal() == Some(story::SIGABRT) && said, "{}: {died:?}", story.scene);
        let again = story.init(None);
        assert!(again.status.success(), "{}: {again:?}", story.scene);
        story.goes_on();
    });
}

#[test]
fn a_node_dies_while_its_network_forms_under_each_protocol() {
    of_each(&under(FORMING, &Algorithm::ALL), |(point, algorithm)| {
        // It writes down first what it says of itself, then what all agreed on.
        let hit = if point.contains("memory") && *algorithm != Algorithm::Raft { 2 } else { 1 };
        let terminals = Terminals::new(3, algorithm.name());
        let others = [terminals.start(1), terminals.start(2)];
        let armed = Process::start(terminals.command(0).env(VARIABLE, format!("{point}:{hit}")));
        assert_died(armed, point, &format!("{algorithm} dies at {point}, hit {hit}"));
        let again = terminals.start(0);
        for node in others.iter().chain([&again]) {
            node.wait_for("ready  ");
        }
        terminals.assert_together("formed");
    });
}

/// Gives a story an application that none of its deaths touches, and that lives as long as the value returned.
fn outlive(story: &mut Story, app: KvStore) -> Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(Server::bind(&abci::Address::Tcp("127.0.0.1:0".to_owned()))).unwrap();
    story.app = server.address().to_string();
    runtime.spawn(server.serve(app, std::future::pending()));
    runtime
}

/// A crash in the middle of a write leaves some bytes behind the last record.
fn tear(story: &Story) {
    /// CRC and length before each record.
    const HEADER_BYTES: usize = 8;
    let head = story.wal().join("wal");
    let mut bytes = fs::read(&head).unwrap();
    let mut end = 0;
    while let Some(length) = bytes.get(end + 4..end + HEADER_BYTES) {
        match u32::from_be_bytes(length.try_into().unwrap()) {
            0 => break,
            length => end += HEADER_BYTES + length as usize,
        }
    }
    bytes.truncate(end);
    bytes.extend_from_slice(b"half of a record");
    fs::write(&head, bytes).unwrap();
}

/// Makes the head so full that the next write makes it a rotated segment, and the log so large that its oldest segment,
/// which nobody needs, is removed then.
fn fill(story: &Story) {
    const SEGMENT_BYTES: u64 = 2 << 30;
    let limits = wal::Limits::default();
    let full = limits.head_bytes;
    let (mut log, _) = wal::open(
        Arc::new(OsDisk),
        &story.wal(),
        wal::Limits { head_bytes: u64::MAX, ..limits },
        Time::from(SystemTime::now()),
    )
    .unwrap();
    let proof = Proof { total: 1, index: 0, leaf_hash: Hash::new([0; 32]), aunts: Vec::new() };
    let part = Part { index: 0, bytes: vec![7; PartSet::PART_BYTES].into(), proof };
    // Of a height that is over.
    let message = JournalMessage::Part { height: Height::new(1), round: Round::ZERO, part };
    let record = JournalRecord::Message { source: Source::Own, message };
    for _ in 0..=full / PartSet::PART_BYTES as u64 {
        use quorate::ports::Journal as _;
        log.append(Time::from(SystemTime::now()), &record).unwrap();
    }
    drop(log);
    // It takes no room: all of it is a hole.
    fs::File::create(story.wal().join("wal.000")).unwrap().set_len(SEGMENT_BYTES).unwrap();
}

#[test]
fn every_point_of_the_list_dies_in_some_story() {
    let told = [
        RUNNING,
        EXECUTING,
        REPLAYING,
        STARTING,
        FIRST_START,
        PROMISING,
        STOPPING,
        REPAIRING,
        ROTATING,
        ACCUSED,
        PRUNING,
        INIT,
        INIT_FILES,
        FORMING,
    ];
    let told: Vec<&str> = told.iter().chain(network::POINTS).flat_map(|points| points.iter().copied()).collect();
    let distinct: BTreeSet<&str> = told.iter().copied().collect();
    assert_eq!(told.len(), distinct.len(), "no point is told of twice");
    assert_eq!(distinct, ALL.iter().map(|row| row.name).collect());
}

#[test]
fn a_point_that_is_not_there_is_refused_and_the_list_is_given() {
    let refused = run(quorate().arg("version").env(VARIABLE, "wal.sinc.before"));
    assert_eq!(refused.status.code(), Some(2));
    let complaint = String::from_utf8(refused.stderr).unwrap();
    let words = ["wal.sinc.before", "near it are wal.sync.before", "next: quorate debug crash-points"];
    assert!(words.iter().all(|word| complaint.contains(word)), "{complaint}");
    // Whoever asks for the names may not have corrected the variable yet.
    let list = run(quorate().args(["debug", "crash-points", "--json"]).env(VARIABLE, "wal.sinc.before"));
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list["count"], serde_json::json!(ALL.len()));
    assert_eq!(list["points"].as_array().unwrap().len(), ALL.len());
    let text = String::from_utf8(run(quorate().args(["debug", "crash-points"])).stdout).unwrap();
    assert!(ALL.iter().all(|row| text.contains(row.name) && text.contains(row.what)), "{text}");
}
