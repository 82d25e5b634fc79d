//! What a rehearsal found, and what it most likely comes from.

use super::plan::{Fault, Misfortune};
use bytes::Bytes;

/// Longest start of a transaction shown, in bytes.
const TX_SHOWN_MAX: usize = 12;

/// What kind of wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Two answers to the same question differ: replicas would part.
    Divergence,
    /// An answer no node can use.
    Conformance,
    /// The application ended by itself, or said that it failed.
    Crash,
    /// It did not answer in time.
    Hang,
}

impl Kind {
    /// For programs.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Divergence => "divergence",
            Kind::Conformance => "conformance",
            Kind::Crash => "crash",
            Kind::Hang => "hang",
        }
    }
}

/// Which part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The answer as a whole.
    Block,
    /// The result of a transaction.
    Tx {
        /// Its place in the block, from 0.
        index: usize,
        /// The transaction.
        tx: Bytes,
    },
}

/// The first thing that went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub kind: Kind,
    /// At which height; none before the first block.
    pub height: Option<u64>,
    /// Where in the answer.
    pub place: Place,
    /// The call, as ABCI names it: `FinalizeBlock`.
    pub call: &'static str,
    /// Which field, where it is one.
    pub field: Option<&'static str>,
    /// In a sentence, without height and transaction.
    pub what: String,
    /// What had happened to those concerned, a sentence each.
    pub before: Vec<String>,
}

impl Finding {
    /// True of another that is most likely the same mistake: what shrinking holds on to.
    pub fn is_like(&self, other: &Finding) -> bool {
        (self.kind, self.call, self.field) == (other.kind, other.call, other.field)
    }

    /// True when it shows only in a hash over everything: no transaction is named then.
    pub fn is_of_hash(&self) -> bool {
        self.kind == Kind::Divergence && matches!(self.field, Some("app_hash" | "last_block_app_hash"))
    }

    /// Height, transaction, what.
    pub fn sentence(&self) -> String {
        let height = self.height.map(|height| format!("height {height}"));
        let tx = match &self.place {
            Place::Block => None,
            Place::Tx { index, tx } => Some(numbered(*index, tx)),
        };
        let place: Vec<String> = height.into_iter().chain(tx).collect();
        if place.is_empty() { self.what.clone() } else { format!("{}: {}", place.join(", "), self.what) }
    }
}

/// A transaction by its place in the block: `transaction 2 (0x6b3d76, "k=v")`.
pub fn numbered(index: usize, tx: &Bytes) -> String {
    format!("transaction {index} ({})", shown(tx))
}

/// The beginning of a transaction, as text where it is text.
pub fn shown(tx: &Bytes) -> String {
    let start = &tx[..tx.len().min(TX_SHOWN_MAX)];
    let more = if tx.len() > TX_SHOWN_MAX { "…" } else { "" };
    let digits = format!("0x{}{more}", hex::encode(start));
    match std::str::from_utf8(start) {
        Ok(text) if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() || c == ' ') => {
            format!("{digits}, {text:?}{more}")
        }
        _ => digits,
    }
}

/// What such a finding comes from, likeliest first. `needed` are the faults it does not happen without, when that is
/// known.
pub fn causes(finding: &Finding, needed: Option<&[Fault]>) -> Vec<&'static str> {
    if finding.kind != Kind::Divergence {
        return Vec::new();
    }
    let mut causes: Vec<&'static str> = Vec::new();
    let mut add = |cause: &'static str| {
        if !causes.contains(&cause) {
            causes.push(cause);
        }
    };
    if needed.is_some_and(<[Fault]>::is_empty) {
        add("nothing had to happen for it: a clock, random numbers, the order of a map or of threads, floating point");
        // The instance that replays all blocks was asked for no proposal, no CheckTx and no Query, whatever the faults.
        add(
            "state changed in CheckTx, PrepareProposal, ProcessProposal or Query: a replay of the blocks never calls them",
        );
        add("data outside the application: files, the network, its process id");
    }
    for fault in needed.into_iter().flatten() {
        add(cause_of(&fault.what));
    }
    if needed.is_none() {
        add("a clock other than the block's time, random numbers, the order of a map or of threads, floating point");
        add("state that lives in memory only, or is written before Commit, or not wholly written by Commit");
        add("state changed in CheckTx, PrepareProposal, ProcessProposal or Query");
        add("time zone, locale, environment variables");
    }
    causes
}

fn cause_of(what: &Misfortune) -> &'static str {
    match what {
        Misfortune::Environment { .. } => {
            "what differs between the environments of the instances: time zone, locale, number of threads or hash seed \
             (dates, upper and lower case, the order of a map)"
        }
        Misfortune::Kill { .. } => {
            "what a restart loses or keeps: state in memory only, state written before Commit, a Commit in several writes"
        }
        Misfortune::Disconnect { .. } => "state kept for each connection, or FinalizeBlock that cannot be repeated",
        Misfortune::Undecided { .. } | Misfortune::AskedTwice { .. } | Misfortune::NotAsked { .. } => {
            "state changed in PrepareProposal or ProcessProposal: proposals that are not decided must leave no trace"
        }
        Misfortune::Foreign => "a proposal by another proposer, or transactions that CheckTx never saw",
        Misfortune::Bystanders { .. } => "Info, Query or CheckTx change what FinalizeBlock works on, or race with it",
        Misfortune::Misbehaviour => "how proven misbehaviour is punished",
        Misfortune::Absent => "how absent validators are counted",
        Misfortune::Jump { .. } => "what is done when much block time has passed",
        Misfortune::Snapshot { .. } => "what a snapshot leaves out",
    }
}
