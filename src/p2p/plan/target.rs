//! Whom we call, and when we call again.

use super::Level;
use crate::types::NodeId;
use rand::RngExt as _;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::time::Duration;

/// The pause after the first failure of a persistent peer. All nodes of a new network start at once: who is not there
/// yet will be soon.
const PERSISTENT_FIRST: Duration = Duration::from_millis(100);
/// The longest pause for the first ten minutes, so that a network heals within seconds after its links do.
const PERSISTENT_EAGER: Duration = Duration::from_secs(3);
/// Failures after which we call less eagerly: about ten minutes.
const EAGER_FAILURES: u32 = 200;
/// The longest pause after that, for ever.
const PERSISTENT_MAX: Duration = Duration::from_secs(30);
/// A peer that broke the rules and is persistent is called after a pause that doubles from one second to this.
const FAULT_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Pauses of other addresses double from 2 s, as in CometBFT; after so many failures the address is given up.
pub(super) const FAILURES_MAX: u32 = 16;
/// A connection that stands so long counts as a success; a shorter one is a failure like others, or a peer that takes
/// us and drops us would be called without pause.
pub(super) const STEADY_AFTER: Duration = Duration::from_secs(10);
/// A peer the operator named that cannot be reached for so long deserves a warning. Until then it may be starting, as
/// all nodes of a new network are.
const PATIENCE: Duration = Duration::from_secs(10);
/// Failures counted, lest the number wraps.
const FAILURES_COUNTED_MAX: u32 = 1_000_000;
/// Addresses remembered besides those the operator named.
const OTHERS_MAX: usize = 1024;

/// Why we call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// The operator wants a connection always.
    Persistent,
    /// The operator named it as a source of addresses.
    Seed,
    /// The operator asked once.
    Operator,
    /// The address book has it.
    Book,
}

impl Origin {
    pub(super) fn name(self) -> &'static str {
        match self {
            Origin::Persistent => "persistent",
            Origin::Seed => "seed",
            Origin::Operator => "operator",
            Origin::Book => "address book",
        }
    }
}

/// Whether a failure goes on until somebody corrects something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lasting {
    /// It does: another node answers there, or the peer breaks the rules.
    Surely,
    /// The node may be starting, or its network be cut.
    Perhaps,
}

/// A node we call.
#[derive(Debug)]
pub(super) struct Target {
    /// `host:port`.
    pub(super) address: String,
    pub(super) origin: Origin,
    /// In a row, without a connection that stood.
    pub(super) failures: u32,
    /// When the last call began.
    pub(super) called: Duration,
    /// Not before.
    pub(super) next: Duration,
    pub(super) last_error: Option<String>,
    /// When the first of these failures was noted.
    failing_since: Duration,
    /// What the operator was told about these failures, and how loudly.
    told: Option<(Level, String)>,
    /// True when the address is our own: never called again.
    pub(super) ourselves: bool,
}

/// Everybody we call.
#[derive(Debug, Default)]
pub(super) struct Targets(BTreeMap<NodeId, Target>);

impl Targets {
    pub(super) fn get(&self, id: &NodeId) -> Option<&Target> {
        self.0.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &NodeId) -> Option<&mut Target> {
        self.0.get_mut(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Target)> {
        self.0.iter()
    }

    pub(super) fn of(&self, origin: Origin) -> impl Iterator<Item = (&NodeId, &Target)> {
        self.0.iter().filter(move |(_, target)| target.origin == origin)
    }

    pub(super) fn is_persistent(&self, id: &NodeId) -> bool {
        self.0.get(id).is_some_and(|target| target.origin == Origin::Persistent)
    }

    pub(super) fn remove(&mut self, id: &NodeId) {
        self.0.remove(id);
    }

    /// Adds a node, or raises the reason to call it. Its history stays.
    pub(super) fn add(&mut self, id: NodeId, address: &str, origin: Origin) -> &mut Target {
        if origin == Origin::Book && !self.0.contains_key(&id) {
            self.make_room();
        }
        let target = self.0.entry(id).or_insert_with(|| Target::new(address, origin));
        if origin <= target.origin {
            target.origin = origin;
            target.address = address.to_owned();
        }
        target
    }

    fn make_room(&mut self) {
        let others = || self.0.iter().filter(|(_, target)| target.origin == Origin::Book);
        if others().count() >= OTHERS_MAX {
            let idlest = others().min_by_key(|(_, target)| target.called).map(|(id, _)| *id);
            idlest.map(|id| self.0.remove(&id));
        }
    }
}

impl Target {
    fn new(address: &str, origin: Origin) -> Target {
        Target {
            address: address.to_owned(),
            origin,
            failures: 0,
            called: Duration::ZERO,
            next: Duration::ZERO,
            last_error: None,
            failing_since: Duration::ZERO,
            told: None,
            ourselves: false,
        }
    }

    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.next <= now && !self.ourselves
    }

    /// Notes why it failed, or was lost.
    pub(super) fn note(&mut self, why: &str) {
        self.last_error = Some(why.to_owned());
    }

    /// Notes that it is up.
    pub(super) fn reached(&mut self) {
        self.last_error = None;
        self.told = None;
    }

    /// How loudly to tell the operator that a call failed, after [`Target::failed`].
    ///
    /// The first failure in a row says little: when both nodes call at once, one of the two connections is closed.
    /// A second one is said calmly, and one that lasts as a warning; each reason once.
    pub(super) fn tell(&mut self, now: Duration, why: &str, lasting: Lasting) -> Level {
        let level = match (self.origin, lasting) {
            (Origin::Book, _) => Level::Debug,
            (Origin::Operator, _) | (_, Lasting::Surely) => Level::Warn,
            (Origin::Persistent | Origin::Seed, Lasting::Perhaps) => match now.saturating_sub(self.failing_since) {
                _ if self.failures < 2 => Level::Debug,
                lasts if lasts < PATIENCE => Level::Info,
                _ => Level::Warn,
            },
        };
        let told = Some((level, why.to_owned()));
        if level == Level::Debug || self.told == told {
            return Level::Debug;
        }
        self.told = told;
        level
    }

    /// Plans the next call after a failure. Pauses count from the beginning of the failed call: one that waited three
    /// seconds in vain has paused enough.
    pub(super) fn failed(&mut self, now: Duration, cap: Option<Duration>, chance: &mut StdRng) {
        if self.failures == 0 {
            self.failing_since = now;
        }
        self.failures = self.failures.saturating_add(1).min(FAILURES_COUNTED_MAX);
        let pause = match self.origin {
            Origin::Persistent => persistent_pause(self.failures, cap),
            Origin::Seed | Origin::Operator | Origin::Book => Duration::from_secs(1 << self.failures.min(FAILURES_MAX)),
        };
        // Between 80 % and 120 %, so that two nodes do not call each other at the same moment again and again.
        let pause = pause.mul_f64(0.8 + 0.4 * chance.random::<f64>());
        self.next = (self.called + pause).max(now + PERSISTENT_FIRST / 2);
    }

    /// Plans the next call after a connection ended that had stood for `lived`.
    pub(super) fn lost(&mut self, now: Duration, lived: Duration, cap: Option<Duration>, chance: &mut StdRng) {
        if lived >= STEADY_AFTER {
            self.failures = 0;
        }
        self.called = now;
        self.failed(now, cap, chance);
    }

    /// Plans the next call after the peer broke the rules for the `faults`-th time.
    pub(super) fn broke_rules(&mut self, now: Duration, faults: u32) {
        let pause = Duration::from_secs(1).saturating_mul(2_u32.saturating_pow(faults.saturating_sub(1)));
        self.next = self.next.max(now + pause.min(FAULT_PAUSE_MAX));
    }
}

/// 100 ms, 200 ms, … 3 s, and after ten minutes 30 s; or up to the operator's `cap`.
fn persistent_pause(failures: u32, cap: Option<Duration>) -> Duration {
    let usual = if failures <= EAGER_FAILURES { PERSISTENT_EAGER } else { PERSISTENT_MAX };
    PERSISTENT_FIRST.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1))).min(cap.unwrap_or(usual))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persistent_peer_is_called_eagerly_first_and_for_ever() {
        let millis = |failures| persistent_pause(failures, None).as_millis();
        assert_eq!([1, 2, 3, 4, 5, 6, 200].map(millis), [100, 200, 400, 800, 1600, 3000, 3000]);
        assert_eq!([201, 100_000, u32::MAX].map(millis), [30_000; 3]);
        assert_eq!(persistent_pause(u32::MAX, Some(Duration::from_secs(600))), Duration::from_secs(600));
    }
}
