//! What can be seen of a run, and who looks at it.
//!
//! A checker gets every [`Seen`] of both worlds and nothing else. It keeps its own books and does its own arithmetic, so
//! that it cannot share a mistake with what it judges.

use super::disk::{Kind, Taken};
use super::plan::Unsynced;
use super::{Conduct, Coverage, Dice, NodeNr, Plan, Trace};
use crate::consensus::Tick;
use crate::ports::Connection;
use crate::types::{
    Address, BlockId, CandidateBlock, ChainId, EvidenceParams, ExtendedCommit, Height, JournalRecord, Part, Proposal,
    Round, Statement, ValidatorSet, Vote,
};
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;

/// What replicas say to each other to decide a block, whatever the protocol.
#[derive(Debug, Clone, Copy)]
pub enum Word<'a> {
    /// A proposal, log entry or PRE-PREPARE. Tendermint's does not say whose it is.
    Proposal {
        /// Who signed it.
        by: Option<Address>,
        /// It.
        proposal: &'a Proposal,
    },
    /// A part of a proposed block.
    Part {
        /// Height of the block.
        height: Height,
        /// Round it is proposed in.
        round: Round,
        /// It.
        part: &'a Part,
    },
    /// A vote: prevote or PREPARE, precommit, COMMIT or acknowledgement.
    Vote(&'a Vote),
    /// What Raft and PBFT sign beside.
    Statement(&'a Statement),
    /// The votes that decided a block.
    Commit(&'a ExtendedCommit),
}

/// Something that happened at a node.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// When, in virtual time.
    pub at: Tick,
    /// Where.
    pub node: NodeNr,
    /// What.
    pub what: What<'a>,
}

/// What happened.
#[derive(Debug, Clone, Copy)]
pub enum What<'a> {
    /// A life begins, the first is number 0. Memory is empty; the disk has what the last life left.
    Started {
        /// Which life.
        life: u32,
    },
    /// A life ended by a fault.
    Crashed {
        /// What the disk kept.
        unsynced: Unsynced,
    },
    /// The node takes up a height, after a start or after the height before.
    Began {
        /// The height.
        height: Height,
        /// Who decides it.
        validators: &'a Arc<ValidatorSet>,
    },
    /// A record was given to the journal. It is durable at the next `Synced`, not before.
    Persisted(&'a JournalRecord),
    /// Everything persisted so far is durable.
    Synced,
    /// The signer gave a signature to its own node.
    Signed(Word<'a>),
    /// It was put on the wire to `to`, by whatever the node is: what a liar says is what it says after rewriting.
    Said {
        /// To whom.
        to: NodeNr,
        /// It.
        word: Word<'a>,
    },
    /// It came from the wire and its signatures are good: the machine is told.
    Heard {
        /// From whom.
        from: NodeNr,
        /// It.
        word: Word<'a>,
    },
    /// The node calls a peer faulty.
    Blamed {
        /// Whom.
        peer: NodeNr,
        /// What for.
        why: &'a str,
    },
    /// The application and the rules were asked about a block, and answered.
    Checked {
        /// Which block.
        block: &'a Arc<CandidateBlock>,
        /// What they said.
        accepted: bool,
    },
    /// Decided: the block is to be stored and executed.
    Decided {
        /// The block.
        block: &'a Arc<CandidateBlock>,
        /// Its votes.
        commit: &'a ExtendedCommit,
    },
    /// The block is in the store, durably.
    Stored {
        /// Its height.
        height: Height,
    },
    /// The block was executed, and the state after it is known.
    Applied {
        /// Its height.
        height: Height,
        /// The block.
        block_id: BlockId,
        /// The application's hash after it.
        app_hash: &'a Bytes,
        /// Who decides the height after the next.
        next_validators: &'a Arc<ValidatorSet>,
    },
    /// A client gave a transaction to this node: its bytes are [`super::tx_bytes`] of its number.
    Submitted {
        /// Its number.
        tx: u64,
    },
    /// A client was told that its transaction is in a block.
    Acknowledged {
        /// Its number.
        tx: u64,
        /// The block.
        height: Height,
    },
    /// A client asked for a linearizable read.
    ReadAsked {
        /// Its number.
        read: u64,
    },
    /// It was answered from the state after this height.
    ReadAnswered {
        /// Its number.
        read: u64,
        /// The height.
        height: Height,
    },
    /// The application was asked something.
    App {
        /// On which connection.
        connection: Connection,
        /// What.
        call: AppCall,
    },
    /// The node has proof that somebody signed two votes.
    Accused {
        /// One.
        first: &'a Vote,
        /// The other.
        second: &'a Vote,
    },
    /// Something bounded was measured.
    Measured {
        /// The name of the limit.
        limit: &'static str,
        /// How much there is.
        value: u64,
        /// How much there may be.
        most: u64,
    },
    /// What the disk held was removed, by hand or by accident: the node begins anew.
    Wiped,
    /// Something was done to what the node relies on: a reason to stop.
    Harmed {
        /// What.
        what: Harm,
    },
    /// All of that was put right, from outside. What the node made of it before it may still find.
    Mended {
        /// What.
        what: Harm,
    },
    /// The disk refused to write, sync or rename something. What is there now nobody knows.
    DiskFailed {
        /// What it refused.
        kind: Kind,
    },
    /// The node stopped for good, with a sentence.
    Halted {
        /// It.
        why: &'a str,
    },
    /// From now on there are no faults: all links are whole, all nodes are up.
    Healed,
}

/// What a node relies on, and what may stop it when it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Its disk fails, until it is mended.
    Disk,
    /// Its signer does not sign, for a while.
    Signer,
    /// Its application answered FinalizeBlock, the last one seen, in a way that is not allowed.
    Answer,
    /// From now on its application computes another hash than the others.
    Program,
    /// The programs of so many differ that nobody can say which is right.
    Programs,
    /// Its home lost something, or everything.
    Home,
}

/// What the application is asked, as its grammar counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppCall {
    /// Connections are new; `Info` follows.
    Connected,
    /// Info, and the height it answers.
    Info(u64),
    /// InitChain.
    InitChain,
    /// PrepareProposal for a height.
    PrepareProposal(u64),
    /// ProcessProposal for a height.
    ProcessProposal(u64),
    /// ExtendVote for a height.
    ExtendVote(u64),
    /// VerifyVoteExtension for a height.
    VerifyVoteExtension(u64),
    /// FinalizeBlock for a height.
    FinalizeBlock(u64),
    /// Commit.
    Commit,
    /// CheckTx.
    CheckTx,
    /// Query.
    Query,
    /// One of the snapshot calls.
    Snapshot,
}

/// The transaction with this number: text an application of keys and values takes, too.
pub fn tx_bytes(number: u64) -> Bytes {
    Bytes::from(format!("{number}=tx"))
}

/// The number of a transaction; none of one that has none. It stands before the first `=`.
pub fn tx_number(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.split(|byte| *byte == b'=').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// What does not change during a run.
#[derive(Debug, Clone)]
pub struct Scene {
    /// What was drawn.
    pub plan: Plan,
    /// The chain.
    pub chain_id: ChainId,
    /// The first height.
    pub initial_height: Height,
    /// Validator addresses by node; twins have the same.
    pub addresses: Vec<Address>,
    /// Who decides the first height.
    pub validators: Arc<ValidatorSet>,
    /// How long evidence counts.
    pub evidence: EvidenceParams,
    /// From which height on precommits for blocks have extensions.
    pub extensions_from: Option<Height>,
}

impl Scene {
    /// True when precommits for blocks of this height must have extensions.
    pub fn extends(&self, height: Height) -> bool {
        self.extensions_from.is_some_and(|first| height >= first)
    }

    /// The first node with this address.
    pub fn node_of(&self, address: &Address) -> Option<NodeNr> {
        self.addresses.iter().position(|other| other == address).map(|at| NodeNr(at as u8))
    }

    /// True when the node behaves by the protocol and has its key for itself.
    pub fn is_honest(&self, node: NodeNr) -> bool {
        self.plan.is_honest(node)
    }

    /// True when only an honest node has this key.
    pub fn is_honest_address(&self, address: &Address) -> bool {
        self.node_of(address).is_some_and(|node| self.is_honest(node))
    }

    /// All honest nodes.
    pub fn honest(&self) -> impl Iterator<Item = NodeNr> + '_ {
        self.plan.all().filter(|node| self.is_honest(*node))
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Every honest node decided and applied all heights.
    Done {
        /// When.
        at: Tick,
    },
    /// It did not come to that in the time it has after healing.
    OutOfTime {
        /// When it was given up.
        at: Tick,
    },
}

impl End {
    /// When.
    pub fn at(self) -> Tick {
        let (End::Done { at } | End::OutOfTime { at }) = self;
        at
    }
}

/// Looks at everything that happens. One rule each, one file each in `check/`.
pub trait Checker: fmt::Debug {
    /// What it is called in reports: `agreement`, `durability`, …
    fn name(&self) -> &'static str;

    /// Something happened. An error is a sentence that says which rule was broken and how.
    fn see(&mut self, scene: &Scene, seen: &Seen<'_>) -> Result<(), String>;

    /// The run is over.
    fn end(&mut self, scene: &Scene, end: End) -> Result<(), String> {
        let _ = (scene, end);
        Ok(())
    }
}

/// A rule was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Who says so.
    pub checker: &'static str,
    /// When.
    pub at: Tick,
    /// Where; none at the end of the run.
    pub node: Option<NodeNr>,
    /// Which rule, and how.
    pub why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.checker, self.why)?;
        if let Some(node) = self.node {
            write!(f, " (node {})", node.0)?;
        }
        write!(f, ", after {:.3} s of virtual time", self.at.0 as f64 / 1e9)
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The first rule that was broken.
    pub violation: Option<Violation>,
    /// Equal for equal runs.
    pub trace_hash: u64,
    /// Events as lines of JSON, when they were asked for.
    pub lines: Vec<String>,
    /// What happened how often.
    pub coverage: Coverage,
    /// Events handled.
    pub events: u64,
}

/// Everybody who looks at a run.
#[derive(Debug)]
pub struct Watch {
    scene: Scene,
    checkers: Vec<Box<dyn Checker>>,
    trace: Trace,
    coverage: Coverage,
    violation: Option<Violation>,
    events: u64,
}

impl Watch {
    /// Watches a run with these checkers.
    pub fn new(scene: Scene, checkers: Vec<Box<dyn Checker>>, trace: Trace) -> Watch {
        let mut coverage = Coverage::default();
        let twins = scene.plan.nodes.iter().filter(|node| matches!(node.conduct, Conduct::TwinOf(_)));
        coverage.count_all("twin", twins.count() as u64);
        Watch { scene, checkers, trace, coverage, violation: None, events: 0 }
    }

    /// What does not change.
    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// Dice for one purpose of this run.
    pub fn dice(&self, purpose: &str) -> Dice {
        Dice::new(self.scene.plan.seed).fork(purpose)
    }

    /// Counts something that should happen in some runs.
    pub fn count(&mut self, what: &'static str) {
        self.coverage.count(what);
    }

    /// Counts what a power cut took.
    pub fn count_taken(&mut self, taken: Taken) {
        let Taken { lost, torn, mixed_up } = taken;
        let kinds = [(lost, "writes lost"), (torn, "write torn"), (mixed_up, "writes mixed up")];
        kinds.into_iter().for_each(|(happened, what)| self.coverage.count_all(what, u64::from(happened)));
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, coverage: &Coverage) {
        self.coverage.add(coverage);
    }

    /// Something happened.
    pub fn see(&mut self, seen: &Seen<'_>) {
        self.events += 1;
        self.trace.note(seen);
        if self.violation.is_some() {
            return;
        }
        for checker in &mut self.checkers {
            if let Err(why) = checker.see(&self.scene, seen) {
                let violation = Violation { checker: checker.name(), at: seen.at, node: Some(seen.node), why };
                self.violation = Some(violation);
                return;
            }
        }
    }

    /// A rule was broken that is nobody's to check: a machine panicked, a bound of the world itself was passed.
    pub fn complain(&mut self, checker: &'static str, at: Tick, node: NodeNr, why: String) {
        self.violation.get_or_insert(Violation { checker, at, node: Some(node), why });
    }

    /// True once a rule was broken: the run need not go on.
    pub fn is_broken(&self) -> bool {
        self.violation.is_some()
    }

    /// The run is over.
    pub fn finish(mut self, end: End) -> Outcome {
        let at = end.at();
        for checker in &mut self.checkers {
            if self.violation.is_some() {
                break;
            }
            if let Err(why) = checker.end(&self.scene, end) {
                self.violation = Some(Violation { checker: checker.name(), at, node: None, why });
            }
        }
        let (trace_hash, lines) = self.trace.finish();
        Outcome { end, violation: self.violation, trace_hash, lines, coverage: self.coverage, events: self.events }
    }
}
