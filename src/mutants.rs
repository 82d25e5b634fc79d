//! Planted bugs. A suite of tests that is green proves nothing until it was seen red: each mutant is a plausible mistake of
//! one line, compiled in by the feature `mutants` and chosen by name, and `scripts/mutants` says which checker or test
//! notices it. A release never has the feature; without it a hook is the constant `false`, which the compiler removes.
//!
//! A hook stands where its rule stands: `last >= self.position() || mutant!("R1")`. Each hook has a row in [`ALL`], each
//! row one hook; a test holds them in step. Letters: T Tendermint, P PBFT, R Raft, V vote tally, Q quorum arithmetic,
//! H handshake and apply, W journal, K key guard, E evidence, N network and sync, M mempool, L light client, C codec,
//! D validator sets, G gossip.

/// True while the mutant of this name is chosen; always false without the feature `mutants`.
macro_rules! mutant {
    ($name:literal) => {
        $crate::mutants::is_chosen(const { $crate::mutants::code_of($name) })
    };
}

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mutant {
    /// What it is called.
    pub name: &'static str,
    /// The file of its hook.
    pub place: &'static str,
    /// What goes wrong.
    pub bug: &'static str,
    /// Who notices.
    pub killer: Killer,
}

/// Who notices a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Killer {
    /// This checker of the simulator should; where no seed shows it, the unit tests of the module have to.
    Sim(&'static str),
    /// A unit test whose name begins with this.
    Test(&'static str),
    /// Nobody can: why.
    Equivalent(&'static str),
}

/// The code of a name, as hooks compare it: FNV-1a. Never 0, which stands for none.
pub const fn code_of(name: &str) -> u64 {
    let (bytes, mut hash, mut at) = (name.as_bytes(), 0xcbf2_9ce4_8422_2325_u64, 0);
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash | 1
}

/// Never: this build has no mutants.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn is_chosen(_code: u64) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use choice::{VARIABLE, choose, is_chosen, reached};

/// Which mutant is chosen.
#[cfg(feature = "mutants")]
mod choice {
    use super::{ALL, code_of};
    use std::sync::atomic::{AtomicU64, Ordering};

    /// The environment variable that names the mutant of a process.
    pub const VARIABLE: &str = "QUORATE_MUTANT";
    /// Nobody has looked into the environment yet. No name has this code: codes are odd.
    const UNREAD: u64 = 2;
    const NONE: u64 = 0;

    static CHOSEN: AtomicU64 = AtomicU64::new(UNREAD);
    static REACHED: AtomicU64 = AtomicU64::new(0);

    /// Chooses a mutant, or none, for the whole process from now on.
    ///
    /// # Errors
    /// There is no mutant of this name.
    pub fn choose(name: Option<&str>) -> Result<(), String> {
        let known = |name: &&str| ALL.iter().any(|mutant| mutant.name == *name);
        match name {
            Some(name) if !known(&name) => return Err(format!("there is no mutant {name:?}; see src/mutants.rs")),
            Some(name) => CHOSEN.store(code_of(name), Ordering::Relaxed),
            None => CHOSEN.store(NONE, Ordering::Relaxed),
        }
        REACHED.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// How often the hook of the chosen mutant was come by: 0 says that the run never got to its place.
    pub fn reached() -> u64 {
        REACHED.load(Ordering::Relaxed)
    }

    /// True when the mutant with this code is chosen. The first question of a process reads the environment.
    pub fn is_chosen(code: u64) -> bool {
        let chosen = match CHOSEN.load(Ordering::Relaxed) {
            UNREAD => read_environment(),
            chosen => chosen,
        };
        if chosen == code {
            REACHED.fetch_add(1, Ordering::Relaxed);
        }
        chosen == code
    }

    #[cold]
    fn read_environment() -> u64 {
        let name = std::env::var(VARIABLE).ok().filter(|name| !name.is_empty());
        if let Err(why) = choose(name.as_deref()) {
            panic!("{VARIABLE}: {why}");
        }
        CHOSEN.load(Ordering::Relaxed)
    }
}

/// All of them, by module.
#[rustfmt::skip]
pub const ALL: &[Mutant] = &[
    Mutant { name: "T1", place: "src/types/network.rs", bug: "two thirds decide, instead of more",
             killer: Killer::Sim("certificates") },
    Mutant { name: "Q1", place: "src/types/network.rs", bug: "half decides under Raft, instead of more",
             killer: Killer::Sim("agreement") },
    Mutant { name: "Q2", place: "src/consensus/quorum.rs", bug: "a third is taken for more than a third",
             killer: Killer::Test("consensus::quorum") },
    Mutant { name: "V1", place: "src/consensus/tally.rs", bug: "both votes of an equivocator count, whatever for",
             killer: Killer::Sim("agreement") },
    Mutant { name: "V2", place: "src/consensus/tally.rs", bug: "a vote counts for the seat it names, whoever signed it",
             killer: Killer::Test("consensus::tally") },
    Mutant { name: "V3", place: "src/consensus/tally.rs", bug: "the second vote of an equivocator never counts (hidden lock)",
             killer: Killer::Sim("liveness") },
    Mutant { name: "V4", place: "src/consensus/tally.rs", bug: "a third of the votes is taken for two thirds of whatever",
             killer: Killer::Sim("rules_tendermint") },
    Mutant { name: "V5", place: "src/consensus/tally.rs", bug: "precommits for other blocks go into the commit",
             killer: Killer::Sim("certificates") },
    Mutant { name: "V6", place: "src/consensus/tally.rs", bug: "prevote and precommit of one validator count as two voters of a round",
             killer: Killer::Sim("rules_tendermint") },
    Mutant { name: "V7", place: "src/consensus/tally.rs", bug: "a peer may open as many rounds as it likes",
             killer: Killer::Test("consensus::tally") },
    Mutant { name: "T9", place: "src/consensus/tally.rs", bug: "more than a third of the precommits decides",
             killer: Killer::Sim("agreement") },
    Mutant { name: "T13", place: "src/consensus/tally.rs", bug: "no skip to a later round where more than a third is",
             killer: Killer::Sim("liveness") },
    Mutant { name: "T3", place: "src/consensus/tendermint/rules.rs", bug: "a precommit does not lock",
             killer: Killer::Sim("agreement") },
    Mutant { name: "T5", place: "src/consensus/tendermint/height.rs", bug: "a re-proposal with a valid round older than our lock is prevoted",
             killer: Killer::Sim("agreement") },
    Mutant { name: "T6", place: "src/consensus/tendermint/height.rs", bug: "a lock forbids nothing (amnesia)",
             killer: Killer::Sim("agreement") },
    Mutant { name: "T7", place: "src/consensus/tendermint/receive.rs", bug: "a valid round that is not earlier than the round is accepted",
             killer: Killer::Sim("rules_tendermint") },
    Mutant { name: "T8", place: "src/consensus/tendermint/height.rs", bug: "a re-proposal is believed without its quorum of prevotes",
             killer: Killer::Sim("agreement") },
    Mutant { name: "T10", place: "src/consensus/tendermint/recover.rs", bug: "a lock is forgotten in a crash",
             killer: Killer::Sim("agreement") },
    Mutant { name: "T11", place: "src/consensus/tendermint/receive.rs", bug: "a prevote timeout that comes late still precommits nil",
             killer: Killer::Sim("one_signature") },
    Mutant { name: "T12", place: "src/consensus/tendermint/vote.rs", bug: "our own vote is told without being journaled",
             killer: Killer::Sim("durability") },
    Mutant { name: "T14", place: "src/consensus/tendermint/rules.rs", bug: "nobody waits for more precommits: the round never times out",
             killer: Killer::Sim("liveness") },
    Mutant { name: "T15", place: "src/consensus/tendermint/propose.rs", bug: "the proposer ignores its valid value",
             killer: Killer::Sim("rules_tendermint") },
    Mutant { name: "T16", place: "src/consensus/tendermint/mod.rs", bug: "timeouts do not grow with rounds",
             killer: Killer::Sim("rules_tendermint") },
    Mutant { name: "T17", place: "src/consensus/tendermint/rules.rs", bug: "the block of a quorum of prevotes is not fetched when another was proposed to us",
             killer: Killer::Sim("liveness") },
    Mutant { name: "T18", place: "src/consensus/tendermint/vote.rs", bug: "a vote says the time of our clock, even before its block",
             killer: Killer::Sim("validity") },
    Mutant { name: "T19", place: "src/consensus/tendermint/mod.rs", bug: "the rotation goes on by one, however many rounds are skipped",
             killer: Killer::Sim("rules_tendermint") },
    Mutant { name: "T20", place: "src/consensus/tendermint/rules.rs", bug: "a block is precommitted before the application accepted it",
             killer: Killer::Sim("validity") },
    Mutant { name: "T21", place: "src/consensus/tendermint/receive.rs", bug: "the application's no is taken for a yes",
             killer: Killer::Sim("validity") },
    Mutant { name: "P1", place: "src/consensus/pbft/certificate.rs", bug: "a prepared certificate holds with any number of PREPAREs",
             killer: Killer::Sim("agreement") },
    Mutant { name: "P2", place: "src/consensus/pbft/rules.rs", bug: "prepared with the PREPAREs of more than a third",
             killer: Killer::Sim("agreement") },
    Mutant { name: "P3", place: "src/consensus/pbft/receive.rs", bug: "a second pre-prepare takes the place of the first",
             killer: Killer::Sim("agreement") },
    Mutant { name: "P4", place: "src/consensus/pbft/vote.rs", bug: "votes signed after the VIEW-CHANGE are told all the same",
             killer: Killer::Sim("rules_pbft") },
    Mutant { name: "P5", place: "src/consensus/pbft/certificate.rs", bug: "NEW-VIEW chooses any prepared block instead of the one of the highest view",
             killer: Killer::Sim("agreement") },
    Mutant { name: "P6", place: "src/consensus/pbft/new_view.rs", bug: "what a NEW-VIEW chooses is believed without recomputing it",
             killer: Killer::Sim("agreement") },
    Mutant { name: "P7", place: "src/consensus/pbft/timers.rs", bug: "the timer of a new view starts when more than a third wants it",
             killer: Killer::Sim("liveness") },
    Mutant { name: "P8", place: "src/consensus/pbft/timers.rs", bug: "timeouts of views do not double",
             killer: Killer::Sim("liveness") },
    Mutant { name: "P10", place: "src/consensus/pbft/view_change.rs", bug: "VIEW-CHANGE keeps quiet about what was prepared",
             killer: Killer::Sim("agreement") },
    Mutant { name: "P11", place: "src/consensus/pbft/later.rs", bug: "proposals beyond the high watermark are kept without limit",
             killer: Killer::Test("consensus::pbft") },
    Mutant { name: "P12", place: "src/consensus/pbft/certificate.rs", bug: "a NEW-VIEW may count a member twice",
             killer: Killer::Sim("agreement") },
    Mutant { name: "P13", place: "src/consensus/pbft/view_change.rs", bug: "one replica alone makes all leave a view",
             killer: Killer::Sim("liveness") },
    Mutant { name: "P14", place: "src/consensus/pbft/view_change.rs", bug: "a view is left without a record of it",
             killer: Killer::Sim("rules_pbft") },
    Mutant { name: "P15", place: "src/consensus/pbft/recover.rs", bug: "a standing in the journal is not taken up again",
             killer: Killer::Sim("rules_pbft") },
    Mutant { name: "P16", place: "src/consensus/pbft/rules.rs", bug: "a block is prepared before the application accepted it",
             killer: Killer::Sim("validity") },
    Mutant { name: "P17", place: "src/consensus/pbft/receive.rs", bug: "anybody may propose",
             killer: Killer::Sim("rules_pbft") },
    Mutant { name: "P18", place: "src/consensus/pbft/rules.rs", bug: "a new primary may propose something else than its NEW-VIEW chose",
             killer: Killer::Sim("agreement") },
    Mutant { name: "R1", place: "src/consensus/raft/election.rs", bug: "a vote is given to a candidate that lacks what we acknowledged",
             killer: Killer::Sim("agreement") },
    Mutant { name: "R2", place: "src/consensus/raft/election.rs", bug: "a member votes for everybody who asks",
             killer: Killer::Sim("rules_raft") },
    Mutant { name: "R3", place: "src/consensus/raft/follow.rs", bug: "an entry is acknowledged though its parts are not on disk",
             killer: Killer::Sim("durability") },
    Mutant { name: "R4", place: "src/consensus/raft/mod.rs", bug: "term and vote are not written before the answer",
             killer: Killer::Sim("rules_raft") },
    Mutant { name: "R5", place: "src/consensus/raft/follow.rs", bug: "an entry of an earlier term is accepted",
             killer: Killer::Sim("rules_raft") },
    Mutant { name: "R6", place: "src/consensus/raft/propose.rs", bug: "a leader builds a new block though it holds an acknowledged one",
             killer: Killer::Sim("agreement") },
    Mutant { name: "R7", place: "src/consensus/raft/mod.rs", bug: "a leader goes on under a set that did not elect it",
             killer: Killer::Sim("rules_raft") },
    Mutant { name: "R8", place: "src/consensus/raft/recover.rs", bug: "the acknowledged entry is forgotten in a crash",
             killer: Killer::Sim("agreement") },
    Mutant { name: "R9", place: "src/consensus/raft/read.rs", bug: "a read is answered without a round of heartbeats",
             killer: Killer::Sim("exactly_once") },
    Mutant { name: "R10", place: "src/consensus/raft/lead.rs", bug: "a lease lasts thirty elections",
             killer: Killer::Sim("exactly_once") },
    Mutant { name: "R12", place: "src/consensus/raft/election.rs", bug: "votes are given to others while the leader is heard: its lease holds no more",
             killer: Killer::Sim("exactly_once") },
    Mutant { name: "R13", place: "src/consensus/raft/follow.rs", bug: "a leader of an earlier term is never told",
             killer: Killer::Sim("liveness") },
    Mutant { name: "R14", place: "src/consensus/raft/lead.rs", bug: "a leader that nobody answers goes on leading",
             killer: Killer::Sim("liveness") },
    Mutant { name: "R15", place: "src/consensus/raft/election.rs", bug: "a ballot for the pre-vote counts in the election",
             killer: Killer::Sim("rules_raft") },
    Mutant { name: "R17", place: "src/consensus/raft/rules.rs", bug: "a leader whose block is rejected waits for ever",
             killer: Killer::Sim("liveness") },
    Mutant { name: "R18", place: "src/consensus/raft/majority.rs", bug: "the members' progress is taken for sorted",
             killer: Killer::Test("consensus::raft") },
    Mutant { name: "R20", place: "src/consensus/raft/read.rs", bug: "a leader answers reads before it decided anything in its term",
             killer: Killer::Sim("exactly_once") },
    Mutant { name: "H1", place: "src/pipeline/recover.rs", bug: "blocks are replayed from the application's height instead of the one after",
             killer: Killer::Test("pipeline") },
    Mutant { name: "H2", place: "src/pipeline/apply.rs", bug: "the application commits before its answers are saved",
             killer: Killer::Test("pipeline") },
    Mutant { name: "H3", place: "src/pipeline/recovery.rs", bug: "InitChain's answer replaces a state that has blocks",
             killer: Killer::Test("pipeline") },
    Mutant { name: "H4", place: "src/pipeline/recovery.rs", bug: "an application whose hash is not the chain's is taken up all the same",
             killer: Killer::Test("pipeline") },
    Mutant { name: "H5", place: "src/pipeline/apply.rs", bug: "the state is saved before the application commits",
             killer: Killer::Test("pipeline") },
    Mutant { name: "H6", place: "src/pipeline/recover.rs", bug: "a block the application committed is executed again after a crash",
             killer: Killer::Test("pipeline") },
    Mutant { name: "H7", place: "src/pipeline/check.rs", bug: "the commit of the block before is not verified",
             killer: Killer::Test("pipeline") },
    Mutant { name: "H8", place: "src/pipeline/check.rs", bug: "a header may name any hash of the application",
             killer: Killer::Test("pipeline") },
    Mutant { name: "H9", place: "src/pipeline/check.rs", bug: "a block's time need not be the median of its commit",
             killer: Killer::Test("pipeline") },
    Mutant { name: "H10", place: "src/pipeline/execute.rs", bug: "the rotation of proposers stands still between heights",
             killer: Killer::Test("pipeline") },
    Mutant { name: "H11", place: "src/pipeline/execute.rs", bug: "changed validators are said to be of the next height instead of the one after it",
             killer: Killer::Test("pipeline") },
    Mutant { name: "H12", place: "src/pipeline/execute.rs", bug: "an answer with too few results is taken",
             killer: Killer::Test("pipeline") },
    Mutant { name: "H13", place: "src/pipeline/execute.rs", bug: "pruning may take the block that is needed next",
             killer: Killer::Test("pipeline") },
    Mutant { name: "E1", place: "src/evidence/verify.rs", bug: "two votes of different rounds prove an offence",
             killer: Killer::Test("evidence") },
    Mutant { name: "E2", place: "src/evidence/verify.rs", bug: "evidence is too old when its height alone is",
             killer: Killer::Test("evidence") },
    Mutant { name: "E3", place: "src/evidence/pool.rs", bug: "what a block proved is not marked, and proved again",
             killer: Killer::Test("evidence") },
    Mutant { name: "E4", place: "src/evidence/pool.rs", bug: "a block may prove the same twice",
             killer: Killer::Test("evidence") },
    Mutant { name: "E5", place: "src/evidence/pool.rs", bug: "contradictions never become evidence",
             killer: Killer::Test("evidence") },
    Mutant { name: "E6", place: "src/evidence/verify.rs", bug: "signatures of the accused are not checked",
             killer: Killer::Test("evidence") },
    Mutant { name: "E7", place: "src/evidence/verify.rs", bug: "an attack may leave out some who took part",
             killer: Killer::Test("evidence") },
    Mutant { name: "K1", place: "src/privval/guard.rs", bug: "the step is left out of the comparison with what was signed last",
             killer: Killer::Test("privval") },
    Mutant { name: "K2", place: "src/privval/guard.rs", bug: "a round that is over may be signed again",
             killer: Killer::Test("privval") },
    Mutant { name: "K3", place: "src/privval/guard.rs", bug: "the same at another time gets a new signature",
             killer: Killer::Test("privval") },
    Mutant { name: "K4", place: "src/privval/guard.rs", bug: "another block gets the signature of the first",
             killer: Killer::Test("privval") },
    Mutant { name: "K5", place: "src/privval/file.rs", bug: "an extension is signed where none belongs",
             killer: Killer::Test("privval") },
    Mutant { name: "K6", place: "src/privval/file.rs", bug: "a signature leaves before its place is written",
             killer: Killer::Test("privval") },
    Mutant { name: "K7", place: "src/privval/files.rs", bug: "the directory is not made durable after the rename",
             killer: Killer::Test("sim::disk::tests::guard") },
    Mutant { name: "K8", place: "src/privval/file.rs", bug: "a signer goes on after a write that failed",
             killer: Killer::Test("privval") },
    Mutant { name: "W1", place: "src/executor/mod.rs", bug: "a vote is signed before the journal is durable",
             killer: Killer::Test("executor") },
    Mutant { name: "W2", place: "src/wal/writer.rs", bug: "what is written is not synced",
             killer: Killer::Test("sim::disk::tests::journal") },
    Mutant { name: "W3", place: "src/executor/mod.rs", bug: "a block is saved before the journal is durable",
             killer: Killer::Test("executor") },
    Mutant { name: "W4", place: "src/wal/segments.rs", bug: "the journal's directory is not made durable",
             killer: Killer::Test("sim::disk::tests::journal") },
    Mutant { name: "W5", place: "src/wal/repair.rs", bug: "damage in the middle is taken for a torn end",
             killer: Killer::Test("wal") },
    Mutant { name: "W6", place: "src/wal/repair.rs", bug: "a torn end stops the node for good",
             killer: Killer::Test("wal") },
    Mutant { name: "W7", place: "src/wal/mod.rs", bug: "replay begins behind the mark of its own height",
             killer: Killer::Test("wal") },
    Mutant { name: "W8", place: "src/wal/writer.rs", bug: "a sync that failed is forgotten",
             killer: Killer::Test("sim::disk::tests::journal") },
    Mutant { name: "W9", place: "src/wal/frame.rs", bug: "checksums are not compared",
             killer: Killer::Test("wal") },
    Mutant { name: "W10", place: "src/wal/writer.rs", bug: "what a killed process left unsynced is believed",
             killer: Killer::Test("sim::disk::tests::journal") },
    Mutant { name: "W11", place: "src/wal/mod.rs", bug: "a standing from before the height is not read",
             killer: Killer::Test("wal") },
    Mutant { name: "N1", place: "src/types/part_set.rs", bug: "a part's proof may be for another place",
             killer: Killer::Test("types") },
    Mutant { name: "N2", place: "src/types/part_set.rs", bug: "a part's bytes are not held against its proof",
             killer: Killer::Test("types") },
    Mutant { name: "N3", place: "src/sync/peer.rs", bug: "the height a peer claims only ever grows",
             killer: Killer::Test("sync") },
    Mutant { name: "N4", place: "src/sync/prove.rs", bug: "who sent a block is blamed for another's commit",
             killer: Killer::Test("sync") },
    Mutant { name: "N5", place: "src/p2p/aead.rs", bug: "the nonce does not move",
             killer: Killer::Test("p2p") },
    Mutant { name: "N6", place: "src/sync/prove.rs", bug: "a fetched block goes without the extensions its height requires",
             killer: Killer::Test("sync") },
    Mutant { name: "N7", place: "src/sync/join.rs", bug: "consensus is joined while blocks are missing",
             killer: Killer::Test("sync") },
    Mutant { name: "N8", place: "src/sync/plan.rs", bug: "a peer that lied is asked again at once",
             killer: Killer::Test("sync") },
    Mutant { name: "N9", place: "src/p2p/secret.rs", bug: "an ephemeral key of low order is accepted",
             killer: Killer::Test("p2p") },
    Mutant { name: "M1", place: "src/mempool/pool.rs", bug: "bytes of removed transactions stay counted",
             killer: Killer::Test("mempool") },
    Mutant { name: "M2", place: "src/mempool/machine.rs", bug: "a transaction that failed in a block is never taken again",
             killer: Killer::Test("mempool") },
    Mutant { name: "M3", place: "src/mempool/machine.rs", bug: "answers to a recheck that is over are taken for the new one's",
             killer: Killer::Test("mempool") },
    Mutant { name: "M4", place: "src/mempool/machine.rs", bug: "one transaction more than the limit fits",
             killer: Killer::Test("mempool") },
    Mutant { name: "M5", place: "src/mempool/machine.rs", bug: "negative gas is accepted",
             killer: Killer::Test("mempool") },
    Mutant { name: "M6", place: "src/mempool/pool.rs", bug: "a block's room is measured without the framing of transactions",
             killer: Killer::Test("mempool") },
    Mutant { name: "M7", place: "src/mempool/machine.rs", bug: "a transaction committed while the application looked at it is taken again",
             killer: Killer::Test("mempool") },
    Mutant { name: "M8", place: "src/mempool/machine.rs", bug: "transactions are checked while the application commits",
             killer: Killer::Test("mempool") },
    Mutant { name: "M9", place: "src/mempool/cache.rs", bug: "the newest hash is forgotten instead of the oldest",
             killer: Killer::Test("mempool") },
    Mutant { name: "L1", place: "src/light/verify.rs", bug: "a header further on is believed without the trusted set",
             killer: Killer::Test("light") },
    Mutant { name: "L2", place: "src/light/verify.rs", bug: "trust never expires",
             killer: Killer::Test("light") },
    Mutant { name: "L3", place: "src/light/verify.rs", bug: "the set need not be the one the header names",
             killer: Killer::Test("light") },
    Mutant { name: "L4", place: "src/types/verify.rs", bug: "votes for nil count as power behind the block",
             killer: Killer::Test("types") },
    Mutant { name: "L5", place: "src/types/verify.rs", bug: "a commit may count a validator twice",
             killer: Killer::Test("types") },
    Mutant { name: "L6", place: "src/types/verify.rs", bug: "exactly two thirds of the power make a commit",
             killer: Killer::Test("types") },
    Mutant { name: "L7", place: "src/light/verify.rs", bug: "an older header need not be the one the newer names",
             killer: Killer::Test("light") },
    Mutant { name: "P9", place: "src/types/verify.rs", bug: "a third of the set makes a stable checkpoint, or any commit",
             killer: Killer::Test("types") },
    Mutant { name: "C1", place: "src/codec/frame.rs", bug: "a frame may be a byte longer than the limit",
             killer: Killer::Test("codec") },
    Mutant { name: "C2", place: "src/codec/protobuf.rs", bug: "groups may be nested without limit",
             killer: Killer::Test("codec") },
    Mutant { name: "C3", place: "src/crypto/merkle.rs", bug: "leaves and inner nodes are hashed alike",
             killer: Killer::Test("crypto") },
    Mutant { name: "C4", place: "src/crypto/merkle.rs", bug: "a proof may be for a leaf beyond the tree",
             killer: Killer::Test("crypto") },
    Mutant { name: "D1", place: "src/types/validator.rs", bug: "of equal priorities the greater address proposes",
             killer: Killer::Test("types") },
    Mutant { name: "D2", place: "src/types/validator.rs", bug: "newcomers' priority leaves out the power that goes",
             killer: Killer::Test("types") },
    Mutant { name: "D3", place: "src/types/validator.rs", bug: "the average priority is rounded toward zero",
             killer: Killer::Test("types") },
    Mutant { name: "D4", place: "src/types/validator.rs", bug: "priorities are not kept within two totals",
             killer: Killer::Test("types") },
    Mutant { name: "D5", place: "src/types/validator.rs", bug: "the total power may be anything",
             killer: Killer::Test("types") },
    Mutant { name: "D6", place: "src/types/validator.rs", bug: "members stand in order of addresses alone",
             killer: Killer::Test("types") },
    Mutant { name: "G1", place: "src/gossip/hear.rs", bug: "the signature of a vote's extension is not checked",
             killer: Killer::Test("gossip") },
    Mutant { name: "G2", place: "src/gossip/check.rs", bug: "a part may come with the proof of another",
             killer: Killer::Test("gossip") },
    Mutant { name: "G3", place: "src/gossip/had.rs", bug: "a peer may claim a vote one place beyond the last",
             killer: Killer::Test("gossip") },
    Mutant { name: "G4", place: "src/gossip/hear.rs", bug: "a late precommit of any height is heard",
             killer: Killer::Test("gossip") },
    Mutant { name: "G5", place: "src/gossip/had.rs", bug: "what a peer was given is not remembered",
             killer: Killer::Test("gossip") },
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::path::{Path, PathBuf};

    /// Name and file of every hook in `src`, but for this file.
    fn hooks() -> Vec<(String, String)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (mut folders, mut files) = (vec![root.join("src")], Vec::<PathBuf>::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { files.push(path) }
            }
        }
        let mut found = Vec::new();
        for file in files.iter().filter(|file| !file.ends_with("src/mutants.rs")) {
            let place = file.strip_prefix(root).unwrap().to_str().unwrap();
            let text = fs::read_to_string(file).unwrap_or_default();
            let names = text.split("mutant!(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
            found.extend(names.map(|name| (name.to_owned(), place.to_owned())));
        }
        found
    }

    #[test]
    fn every_hook_has_its_row_and_every_row_its_hook() {
        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        hooks().into_iter().for_each(|(name, place)| places.entry(name).or_default().push(place));
        for Mutant { name, place, .. } in ALL {
            assert_eq!(places.remove(*name), Some(vec![(*place).to_owned()]), "hooks of {name}");
        }
        assert_eq!(places, BTreeMap::new(), "hooks without a row");
    }

    #[test]
    fn names_and_codes_are_different() {
        let codes: BTreeSet<u64> = ALL.iter().map(|mutant| code_of(mutant.name)).collect();
        assert_eq!(codes.len(), ALL.len());
    }

    #[test]
    #[cfg(not(feature = "mutants"))]
    fn no_mutant_can_be_chosen_without_the_feature() {
        assert!(ALL.iter().all(|mutant| !is_chosen(code_of(mutant.name))));
    }

    #[test]
    #[cfg(feature = "mutants")]
    fn only_a_known_mutant_can_be_chosen() {
        assert!(choose(Some("no such")).is_err());
    }
}
