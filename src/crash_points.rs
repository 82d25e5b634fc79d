//! Places where a running process can be made to die, as by `kill -9`: before and after every durable step and every act
//! others can see. `QUORATE_CRASH_POINT=wal.sync.before:3 quorate start` dies when it gets there the third time.
//!
//! For tests, ours and those of whoever builds on this node: kill it where it hurts most, start it again, and look
//! (`docs/CRASH_POINTS.md`). The points are in every build; one that is not armed costs a relaxed load of an atomic.
//!
//! Each point has a row in [`ALL`] and one hook, `crash_point!("wal.sync.before")`; the compiler refuses a name without a
//! row, a test finds a row without a hook. `before` stands in front of an act, `after` where it is done and nothing else is.

use std::io::Write as _;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Dies here if this point is armed and was reached often enough.
macro_rules! crash_point {
    ($name:literal) => {
        $crate::crash_points::reach(const { $crate::crash_points::Point::named($name) })
    };
}

/// The environment variable that arms a point: `NAME` or `NAME:HIT`.
pub const VARIABLE: &str = "QUORATE_CRASH_POINT";
/// Names told to somebody who named a point that is not there.
const NEAR_NAMES: usize = 3;

/// A place in the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashPoint {
    /// What it is called.
    pub name: &'static str,
    /// The file of its hook.
    pub place: &'static str,
    /// What has been done and what not when the process dies there.
    pub what: &'static str,
}

/// A row of [`ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point(u32);

impl Point {
    /// The point of this name.
    ///
    /// # Panics
    /// When [`ALL`] has no such row; where hooks stand, that is an error of the compiler.
    pub const fn named(name: &str) -> Point {
        let mut at = 0;
        while at < ALL.len() {
            if same(ALL[at].name, name) {
                return Point(at as u32);
            }
            at += 1;
        }
        panic!("no crash point has this name: give it a row in crash_points::ALL")
    }
}

/// `==` of text is not for constants.
const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// No point: larger than any row.
const NONE: u32 = u32::MAX;

/// The point at which this process will die.
static ARMED: AtomicU32 = AtomicU32::new(NONE);
/// How often it must be reached until then.
static LEFT: AtomicU64 = AtomicU64::new(0);

/// A hook: the process may die here.
#[inline]
pub fn reach(point: Point) {
    if ARMED.load(Ordering::Relaxed) == point.0 {
        count(point);
    }
}

#[cold]
fn count(point: Point) {
    if LEFT.fetch_sub(1, Ordering::Relaxed) == 1 {
        // Whoever armed it may not be listening any more; it dies all the same.
        let _ = writeln!(std::io::stderr(), "crash point {} reached: the process dies here", name_of(point));
        // No destructor runs, no buffer is flushed.
        std::process::abort();
    }
}

fn name_of(point: Point) -> &'static str {
    ALL.get(point.0 as usize).map_or("?", |row| row.name)
}

/// Arms the point the environment names, if it names one. To be called once, when the process starts.
///
/// # Errors
/// A sentence: the variable does not say what it should. Nothing is armed, and the process should not go on as if it were.
pub fn arm_from_environment() -> Result<(), String> {
    let Some(value) = std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) else { return Ok(()) };
    let (point, hit) = parse(&value.to_string_lossy())?;
    LEFT.store(hit, Ordering::Relaxed);
    ARMED.store(point.0, Ordering::Relaxed);
    let said = format!("{VARIABLE}: this process will die at {}, the time it gets there number {hit}", name_of(point));
    let _ = writeln!(std::io::stderr(), "{said}");
    Ok(())
}

/// `NAME` or `NAME:HIT`.
fn parse(value: &str) -> Result<(Point, u64), String> {
    let (name, hit) = value.split_once(':').unwrap_or((value, "1"));
    let Some(at) = ALL.iter().position(|row| row.name == name) else {
        let near = nearest(name).join(", ");
        return Err(format!("{VARIABLE}: there is no crash point {name:?}; near it are {near}"));
    };
    let number = hit.parse().ok().filter(|hit| *hit >= 1);
    let hit = number.ok_or_else(|| format!("{VARIABLE}: the hit of {name} must be a number from 1 on, got {hit:?}"))?;
    Ok((Point(at as u32), hit))
}

/// The names most like this one; of the same group first, where its first word is that of one.
fn nearest(name: &str) -> Vec<&'static str> {
    let group = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let mut names: Vec<&str> = ALL.iter().map(|row| row.name).collect();
    names.sort_by_key(|known| (group(known) != group(name), strsim::damerau_levenshtein(known, name)));
    names.truncate(NEAR_NAMES);
    names
}

/// The moments of replacing a file: temporary file, sync, rename, sync of the directory.
#[derive(Debug, Clone, Copy)]
pub struct Replacing {
    /// Nothing was done yet.
    pub write_before: Point,
    /// The temporary file is written.
    pub sync_before: Point,
    /// It is durable under its own name.
    pub rename_before: Point,
    /// It has its name.
    pub rename_after: Point,
    /// The name is durable.
    pub dirsync_after: Point,
}

/// All of them, by place.
#[rustfmt::skip]
pub const ALL: &[CrashPoint] = &[
    row("wal.create.before",                "src/wal/writer.rs",        "before the first head of a new journal is made"),
    row("wal.create.after",                 "src/wal/writer.rs",        "after the first head was made and its name is durable; it holds nothing"),
    row("wal.renew.before",                 "src/wal/writer.rs",        "before a journal that is opened writes and syncs its last group again"),
    row("wal.renew.after",                  "src/wal/writer.rs",        "after the last group of a journal that is opened is durable"),
    row("wal.append.before",                "src/wal/writer.rs",        "before a record is put into the journal's buffer"),
    row("wal.append.after",                 "src/wal/writer.rs",        "after a record was put into the journal's buffer, in memory only"),
    row("wal.write.before",                 "src/wal/writer.rs",        "before a group of records is written to the head"),
    row("wal.grow.before",                  "src/wal/writer.rs",        "before zeros are written behind the records, to make room"),
    row("wal.grow.after",                   "src/wal/writer.rs",        "after zeros were written behind the records; nothing of it is synced"),
    row("wal.sync.before",                  "src/wal/writer.rs",        "after a group of records was written, before it is synced"),
    row("wal.sync.after",                   "src/wal/writer.rs",        "after a group of records became durable, before anything is promised on the strength of it"),
    row("wal.rotate.before",                "src/wal/writer.rs",        "before the zeros are cut off a full head"),
    row("wal.rotate.head.before",           "src/wal/writer.rs",        "after a full head was renamed, before a new one is made"),
    row("wal.rotate.head.after",            "src/wal/writer.rs",        "after a new head was made, before its name is synced"),
    row("wal.rotate.after",                 "src/wal/writer.rs",        "after the name of the new head is durable"),
    row("wal.close.before",                 "src/wal/writer.rs",        "before the journal of a node that stops in order is closed"),
    row("wal.close.after",                  "src/wal/writer.rs",        "after the journal was closed and ends with its last record"),
    row("wal.rotate.rename.before",         "src/wal/segments.rs",      "after a full head was cut and synced, before it gets a number"),
    row("wal.rotate.rename.after",          "src/wal/segments.rs",      "after a full head got its number, before the name is synced"),
    row("wal.prune.before",                 "src/wal/segments.rs",      "before the oldest segment is removed"),
    row("wal.prune.sync.before",            "src/wal/segments.rs",      "after the oldest segment was removed, before that is synced"),
    row("wal.prune.after",                  "src/wal/segments.rs",      "after the removal of the oldest segment is durable"),
    row("wal.repair.before",                "src/wal/repair.rs",        "before a torn end is cut off"),
    row("wal.repair.sync.before",           "src/wal/repair.rs",        "after a torn end was cut off, before that is synced"),
    row("wal.repair.after",                 "src/wal/repair.rs",        "after the cut of a torn end is durable"),
    row("guard.sign.before",                "src/privval/file.rs",      "after the guard granted a signature, before it is made"),
    row("guard.sign.after",                 "src/privval/file.rs",      "after the signature was made and remembered, before it is given to anybody"),
    row("guard.promise.before",             "src/privval/file.rs",      "before it is written down that this key gives promises, the first of which waits to be signed"),
    row("guard.promise.after",              "src/privval/file.rs",      "after it is written down that this key gives promises, before the first one is signed"),
    row("guard.write.before",               "src/privval/files.rs",     "before a new sign state is written beside the old one"),
    row("guard.sync.before",                "src/privval/files.rs",     "after a new sign state was written beside the old one, before it is synced"),
    row("guard.rename.before",              "src/privval/files.rs",     "after the new sign state is durable, before it takes the place of the old one"),
    row("guard.rename.after",               "src/privval/files.rs",     "after the new sign state took the place of the old one, before that is synced"),
    row("guard.dirsync.after",              "src/privval/files.rs",     "after the new sign state is durable in its place"),
    row("key.write.before",                 "src/privval/files.rs",     "before a new validator key is written to a temporary file"),
    row("key.sync.before",                  "src/privval/files.rs",     "after a new validator key was written to a temporary file, before that is synced"),
    row("key.rename.before",                "src/privval/files.rs",     "after the temporary file of a new validator key is durable, before it gets its name"),
    row("key.rename.after",                 "src/privval/files.rs",     "after a new validator key got its name, before that is synced"),
    row("key.dirsync.after",                "src/privval/files.rs",     "after a new validator key is durable under its name"),
    row("sign.vote.before",                 "src/executor/sign.rs",     "after all records are durable, before the signer is asked for a vote"),
    row("sign.vote.after",                  "src/executor/sign.rs",     "after a vote was signed, before consensus is told"),
    row("sign.proposal.before",             "src/executor/sign.rs",     "after all records are durable, before the signer is asked for a proposal"),
    row("sign.proposal.after",              "src/executor/sign.rs",     "after a proposal was signed, before consensus is told"),
    row("sign.statement.before",            "src/executor/sign.rs",     "after all records are durable, before the signer is asked for a word of Raft or PBFT"),
    row("sign.statement.after",             "src/executor/sign.rs",     "after a word of Raft or PBFT was signed, before consensus is told"),
    row("begin.before",                     "src/executor/mod.rs",      "before store and journal are read to take up a height"),
    row("begin.after",                      "src/executor/mod.rs",      "after store and journal were read, before consensus is told"),
    row("replay.load.before",               "src/executor/mod.rs",      "before a stored block is read to apply it again"),
    row("replay.load.after",                "src/executor/mod.rs",      "after a stored block was read, before the pipeline is told"),
    row("store.marker.before",              "src/storage/home.rs",      "before a new store is marked with its backend"),
    row("store.marker.after",               "src/storage/home.rs",      "after the mark of a new store is durable, before the store is made"),
    row("store.genesis.before",             "src/storage/store.rs",     "before the genesis document is stored"),
    row("store.genesis.after",              "src/storage/store.rs",     "after the genesis document was stored"),
    row("store.block.before",               "src/storage/store.rs",     "before a decided block is stored"),
    row("store.block.after",                "src/storage/store.rs",     "after a decided block is durable, before the application hears of it"),
    row("store.results.before",             "src/storage/store.rs",     "before the application's results of a block are stored"),
    row("store.results.after",              "src/storage/store.rs",     "after the results of a block were stored, before the application may commit"),
    row("store.state.before",               "src/storage/store.rs",     "after the application committed, before the state is stored"),
    row("store.state.after",                "src/storage/store.rs",     "after the state was stored"),
    row("store.evidence.before",            "src/storage/store.rs",     "before changes of the evidence pool are stored"),
    row("store.evidence.after",             "src/storage/store.rs",     "after changes of the evidence pool were stored"),
    row("store.index.before",               "src/storage/store.rs",     "before a block is indexed"),
    row("store.index.after",                "src/storage/store.rs",     "after a block was indexed"),
    row("store.prune.before",               "src/storage/prune.rs",     "before old blocks are removed"),
    row("store.prune.headers.before",       "src/storage/prune.rs",     "after whole blocks were removed, before headers nobody needs are"),
    row("store.prune.after",                "src/storage/prune.rs",     "after blocks, headers and states were removed"),
    row("app.info.before",                  "src/node/app_link.rs",     "before the application is asked Info"),
    row("app.info.after",                   "src/node/app_link.rs",     "after the application answered Info"),
    row("app.init_chain.before",            "src/node/app_link.rs",     "before InitChain is sent"),
    row("app.init_chain.after",             "src/node/app_link.rs",     "after InitChain was answered, before the replica hears it"),
    row("app.prepare_proposal.before",      "src/node/app_link.rs",     "before PrepareProposal is sent"),
    row("app.prepare_proposal.after",       "src/node/app_link.rs",     "after PrepareProposal was answered, before the replica hears it"),
    row("app.process_proposal.before",      "src/node/app_link.rs",     "before ProcessProposal is sent"),
    row("app.process_proposal.after",       "src/node/app_link.rs",     "after ProcessProposal was answered, before the replica hears it"),
    row("app.extend_vote.before",           "src/node/app_link.rs",     "before ExtendVote is sent"),
    row("app.extend_vote.after",            "src/node/app_link.rs",     "after ExtendVote was answered, before the replica hears it"),
    row("app.verify_vote_extension.before", "src/node/app_link.rs",     "before VerifyVoteExtension is sent"),
    row("app.verify_vote_extension.after",  "src/node/app_link.rs",     "after VerifyVoteExtension was answered, before the replica hears it"),
    row("app.finalize_block.before",        "src/node/app_link.rs",     "before FinalizeBlock is sent"),
    row("app.finalize_block.after",         "src/node/app_link.rs",     "after FinalizeBlock was answered, before its results are stored"),
    row("app.commit.before",                "src/node/app_link.rs",     "before Commit is sent"),
    row("app.commit.after",                 "src/node/app_link.rs",     "after Commit was answered, before the state is stored"),
    row("app.check_tx.before",              "src/node/app_link.rs",     "before a batch of CheckTx is sent"),
    row("app.check_tx.after",               "src/node/app_link.rs",     "after a batch of CheckTx was answered, before the mempool hears it"),
    row("publish.before",                   "src/node/effects.rs",      "after a block was applied, before subscribers and waiting clients hear of it"),
    row("publish.after",                    "src/node/effects.rs",      "after subscribers and waiting clients were told of a block"),
    row("client.checked.before",            "src/node/effects.rs",      "before a client is told what became of its transactions in CheckTx"),
    row("client.checked.after",             "src/node/effects.rs",      "after a client was told what became of its transactions in CheckTx"),
    row("client.admitted.before",           "src/node/effects.rs",      "before a client is told that its transactions will be checked"),
    row("client.admitted.after",            "src/node/effects.rs",      "after a client was told that its transactions will be checked"),
    row("client.evidence.before",           "src/node/effects.rs",      "before a client is told what became of its evidence"),
    row("client.evidence.after",            "src/node/effects.rs",      "after a client was told what became of its evidence"),
    row("client.committed.before",          "src/rpc/txs.rs",           "before a client is told in which block its transactions are"),
    row("stop.before",                      "src/node/driver.rs",       "before a node that stops in order waits for its index and syncs its journal"),
    row("stop.after",                       "src/node/driver.rs",       "after a node that stops in order finished its index and synced its journal"),
    row("tell.proposal.before",             "src/node/talk.rs",         "before a proposal is told to a peer"),
    row("tell.proposal.after",              "src/node/talk.rs",         "after a proposal was put into the queue of a peer"),
    row("tell.part.before",                 "src/node/talk.rs",         "before a part of a block is told to a peer"),
    row("tell.part.after",                  "src/node/talk.rs",         "after a part of a block was put into the queue of a peer"),
    row("tell.vote.before",                 "src/node/talk.rs",         "before a vote is told to a peer"),
    row("tell.vote.after",                  "src/node/talk.rs",         "after a vote was put into the queue of a peer"),
    row("tell.direct.before",               "src/node/talk.rs",         "before a message of Raft or PBFT is told to a peer"),
    row("tell.direct.after",                "src/node/talk.rs",         "after a message of Raft or PBFT was put into the queue of a peer"),
    row("tell.txs.before",                  "src/node/talk.rs",         "before transactions are told to a peer"),
    row("tell.txs.after",                   "src/node/talk.rs",         "after transactions were put into the queue of a peer"),
    row("tell.evidence.before",             "src/node/talk.rs",         "before evidence is told to a peer"),
    row("tell.evidence.after",              "src/node/talk.rs",         "after evidence was put into the queue of a peer"),
    row("tell.request.before",              "src/node/talk.rs",         "before a peer is asked for a block or for its heights"),
    row("tell.request.after",               "src/node/talk.rs",         "after a question about blocks was put into the queue of a peer"),
    row("serve.block.before",               "src/node/inbox.rs",        "before what a peer asked about blocks is told to it"),
    row("serve.block.after",                "src/node/inbox.rs",        "after what a peer asked about blocks was put into its queue"),
    row("sync.read.before",                 "src/node/fetch.rs",        "before a block a peer sent is read"),
    row("sync.read.after",                  "src/node/fetch.rs",        "after a block a peer sent was read and cut into parts, before block sync hears of it"),
    row("sync.verify.before",               "src/node/fetch.rs",        "before the commits of fetched blocks are checked"),
    row("sync.verify.after",                "src/node/fetch.rs",        "after the commits of fetched blocks were checked, before block sync hears the outcome"),
    row("misbehaviour.write.before",        "src/node/misbehaviour.rs", "before provable misbehaviour is written down"),
    row("misbehaviour.sync.before",         "src/node/misbehaviour.rs", "after provable misbehaviour was written down, before that is synced"),
    row("misbehaviour.after",               "src/node/misbehaviour.rs", "after a record of misbehaviour is durable"),
    row("file.write.before",                "src/config/atomic.rs",     "before config.toml, genesis.json, node_key.json or another small file is written beside the old one"),
    row("file.sync.before",                 "src/config/atomic.rs",     "after a small file was written beside the old one, before it is synced"),
    row("file.rename.before",               "src/config/atomic.rs",     "after a small file is durable beside the old one, before it takes its place"),
    row("file.rename.after",                "src/config/atomic.rs",     "after a small file took the place of the old one, before that is synced"),
    row("file.dirsync.after",               "src/config/atomic.rs",     "after a small file is durable in its place"),
    row("book.write.before",                "src/p2p/book/file.rs",     "before the address book is written beside the old one"),
    row("book.sync.before",                 "src/p2p/book/file.rs",     "after the address book was written beside the old one, before it is synced"),
    row("book.rename.before",               "src/p2p/book/file.rs",     "after the new address book is durable, before it takes the place of the old one"),
    row("book.rename.after",                "src/p2p/book/file.rs",     "after the new address book took the place of the old one, before that is synced"),
    row("book.dirsync.after",               "src/p2p/book/file.rs",     "after the new address book is durable in its place"),
    row("init.before",                      "src/cli/init.rs",          "before `init` makes anything but the directories of the home"),
    row("init.genesis.before",              "src/cli/init.rs",          "after `init` made configuration and keys, before it makes the genesis document"),
    row("init.after",                       "src/cli/init.rs",          "after `init` made everything, before it says so"),
    row("forming.memory.before",            "src/forming/memory.rs",    "before a node of a development network writes down what it says of itself, or what all agreed on"),
    row("forming.memory.after",             "src/forming/memory.rs",    "after what a node says of itself, or what all agreed on, is durable; nobody was told"),
    row("forming.config.before",            "src/cli/development.rs",   "after all agreed on a development network, before the others' names stand in config.toml"),
    row("forming.genesis.before",           "src/cli/development.rs",   "after config.toml has the others' names, before the agreed genesis document is written"),
    row("forming.genesis.after",            "src/cli/development.rs",   "after the agreed genesis document is durable, before the node begins"),
];

const fn row(name: &'static str, place: &'static str, what: &'static str) -> CrashPoint {
    CrashPoint { name, place, what }
}

#[cfg(test)]
pub(crate) mod tests;
