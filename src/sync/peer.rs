//! What one peer says it has, what it was asked for, and how well it answers.

use super::Elapsed;
use super::limits::{PENDING_PER_PEER_MAX, RATE_MIN, RATE_SPAN, SILENCE_MAX};
use crate::types::Height;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// How long a block is guessed to take from a peer that has sent none.
const PACE_GUESS: Duration = Duration::from_millis(1);

/// A peer's word on what it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claim {
    base: Height,
    height: Height,
    at: Elapsed,
}

/// A request it has not answered.
#[derive(Debug, Clone, Copy)]
struct Debt {
    height: Height,
    since: Elapsed,
}

/// How an answer fits what was asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// To the oldest request.
    InOrder,
    /// To a later request. These before it were left out, and never come: a peer answers in the order asked.
    LeftOut(Vec<Height>),
    /// It left out this one before.
    LeftOutAgain(Height),
    /// To nothing we asked.
    Unasked,
}

/// What makes a peer one to drop.
#[derive(Debug)]
pub(super) enum Useless {
    Silent,
    Slow { bytes_per_second: u64 },
}

impl std::fmt::Display for Useless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Useless::Silent => write!(f, "it was asked for blocks and said nothing for {} s", SILENCE_MAX.as_secs()),
            Useless::Slow { bytes_per_second } => {
                write!(f, "it sends blocks at {} KiB/s, less than {} KiB/s", bytes_per_second >> 10, RATE_MIN >> 10)
            }
        }
    }
}

/// A connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    claim: Option<Claim>,
    /// It has neither this nor what is below, whatever it claims. It may be the highest height there is.
    lacks: Option<Height>,
    /// It said that it does not have this block, which it had claimed; its next status shows whether it lied.
    denied: Option<Height>,
    /// In the order asked. Kept when nobody waits for the answer any more, so that a late answer is no fault.
    debts: VecDeque<Debt>,
    /// Requests it passed over.
    left_out: BTreeSet<Height>,
    /// When it last answered, or was asked after owing nothing.
    heard_at: Elapsed,
    /// How long a block takes, smoothed.
    pace: Duration,
    /// Since when its rate is measured, and what it sent since then.
    measured: (Elapsed, u64),
}

impl Peer {
    pub(super) fn new(now: Elapsed) -> Peer {
        Peer {
            claim: None,
            lacks: None,
            denied: None,
            debts: VecDeque::new(),
            left_out: BTreeSet::new(),
            heard_at: now,
            pace: PACE_GUESS,
            measured: (now, 0),
        }
    }

    // ------------------------------------------------------------------------------------------------ what it has

    /// Takes its word. The newest counts, also when it is less than before (bug class 037: a target once raised must
    /// be able to fall).
    ///
    /// # Errors
    /// A sentence when the word is false.
    pub(super) fn claims(&mut self, now: Elapsed, base: Height, height: Height) -> Result<(), String> {
        if base > height && !mutant!("N22") {
            return Err(format!("it says its blocks begin at {base} and end at {height}"));
        }
        if let Some(denied) = self.denied.take()
            && base <= denied
            && denied <= height
        {
            return Err(format!("it says it has block {denied} and, asked for it, that it has not"));
        }
        let height = if mutant!("N3") { height.max(self.height().unwrap_or(height)) } else { height };
        self.claim = Some(Claim { base, height, at: now });
        Ok(())
    }

    /// Its highest block, by its own word.
    pub(super) fn height(&self) -> Option<Height> {
        self.claim.map(|claim| claim.height)
    }

    /// Its highest block, if it can help whoever needs `next`: one whose blocks begin above that proves nothing and
    /// must not keep us waiting (bug class 038).
    pub(super) fn height_within_reach(&self, next: Height) -> Option<Height> {
        let claim = self.claim?;
        (claim.height < next || self.begins_by(claim, next)).then_some(claim.height)
    }

    /// Whether this height is not below what it has.
    fn begins_by(&self, claim: Claim, height: Height) -> bool {
        claim.base <= height && (self.lacks < Some(height) || mutant!("N26"))
    }

    /// Whether it answered since then.
    pub(super) fn answered_since(&self, then: Elapsed) -> bool {
        self.claim.is_some_and(|claim| claim.at >= then)
    }

    // --------------------------------------------------------------------------------------------- what it is asked

    /// Whether it can be asked for this block.
    pub(super) fn can_give(&self, height: Height) -> bool {
        let claimed = self.claim.is_some_and(|claim| self.begins_by(claim, height) && height <= claim.height);
        claimed && self.has_room() && !self.owes(height)
    }

    /// Whether it can be asked for anything.
    pub(super) fn has_room(&self) -> bool {
        self.debts.len() < PENDING_PER_PEER_MAX + usize::from(mutant!("N23"))
    }

    fn owes(&self, height: Height) -> bool {
        self.debts.iter().any(|debt| debt.height == height)
    }

    /// How long it would probably take to answer one more request; the smaller, the sooner it is asked.
    pub(super) fn expected_wait(&self) -> (Duration, usize) {
        (self.pace * (self.debts.len() as u32 + 1), self.debts.len())
    }

    pub(super) fn ask(&mut self, now: Elapsed, height: Height) {
        assert!(self.has_room(), "a peer is asked only while it has room");
        if self.debts.is_empty() {
            self.heard_at = now;
            self.measured = (now, 0);
        }
        self.debts.push_back(Debt { height, since: now });
    }

    /// What it still owes.
    pub(super) fn debts(&self) -> impl Iterator<Item = Height> + '_ {
        self.debts.iter().map(|debt| debt.height)
    }

    // ----------------------------------------------------------------------------------------------- what it answers

    /// Books an answer about `height`: a block of so many bytes, or none.
    pub(super) fn answers(&mut self, now: Elapsed, height: Height, bytes: u64) -> Answer {
        let Some(position) = self.debts.iter().position(|debt| debt.height == height || mutant!("N25")) else {
            // It was passed over and comes after all.
            return if self.left_out.remove(&height) { Answer::InOrder } else { Answer::Unasked };
        };
        let since = self.debts[position].since.max(self.heard_at);
        let skipped: Vec<Height> =
            self.debts.drain(..=position).map(|debt| debt.height).filter(|h| *h != height).collect();
        self.pace = (self.pace * 3 + now.saturating_sub(since)) / 4;
        self.heard_at = now;
        self.measured.1 = self.measured.1.saturating_add(bytes.max(RATE_MIN));
        if let Some(again) = skipped.iter().find(|height| self.left_out.contains(height)) {
            return Answer::LeftOutAgain(*again);
        }
        if skipped.is_empty() {
            return Answer::InOrder;
        }
        self.left_out.extend(&skipped);
        Answer::LeftOut(skipped)
    }

    /// It does not have a block it was asked for. True when it had claimed it: then it is asked for its status, which
    /// tells pruning from lying.
    pub(super) fn denies(&mut self, height: Height) -> bool {
        let claimed = self.claim.is_some_and(|claim| claim.base <= height && height <= claim.height);
        if claimed {
            self.lacks = self.lacks.max(Some(height));
            self.denied = Some(height);
        }
        claimed
    }

    /// Blocks below are here: nobody waits for them.
    pub(super) fn forget_below(&mut self, next: Height) {
        self.left_out = self.left_out.split_off(&next);
    }

    /// Fetching begins: what it owed while nobody waited does not count against it.
    pub(super) fn begin_waiting(&mut self, now: Elapsed) {
        self.heard_at = now;
        self.measured = (now, 0);
    }

    // --------------------------------------------------------------------------------------------- whether it is any use

    /// Judges what can be judged now.
    pub(super) fn judge(&mut self, now: Elapsed) -> Result<(), Useless> {
        if self.debts.is_empty() {
            return Ok(());
        }
        if now >= self.heard_at + SILENCE_MAX && !mutant!("N24") {
            return Err(Useless::Silent);
        }
        let (since, bytes) = self.measured;
        if now >= since + RATE_SPAN {
            let bytes_per_second = bytes / (now - since).as_secs().max(1);
            if bytes_per_second < RATE_MIN {
                return Err(Useless::Slow { bytes_per_second });
            }
            self.measured = (now, 0);
        }
        Ok(())
    }

    /// When it can be judged next.
    pub(super) fn judged_at(&self) -> Option<Elapsed> {
        (!self.debts.is_empty()).then(|| (self.heard_at + SILENCE_MAX).min(self.measured.0 + RATE_SPAN))
    }
}
