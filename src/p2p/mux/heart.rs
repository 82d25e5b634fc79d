//! When to ask a silent peer whether it is there, and when to give it up (reference §5.3). Pure.

use std::time::Duration;

/// The pulse of one connection.
#[derive(Debug)]
pub(super) struct Heart {
    interval: Duration,
    timeout: Duration,
    ping_at: Duration,
    /// Until when an answer must be there, once a ping went.
    dead_at: Option<Duration>,
}

/// What was heard of the peer since the last beat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Whatever: it is there.
    Something,
    /// Nothing.
    Nothing,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing.
    Quiet,
    /// Send a ping.
    Ping,
    /// No answer came in time.
    Dead,
}

impl Heart {
    /// Pings every `interval`; an answer must come within `timeout`.
    pub(super) fn new(interval: Duration, timeout: Duration) -> Heart {
        Heart { interval, timeout, ping_at: interval, dead_at: None }
    }

    /// Whether it is time for something.
    ///
    /// CometBFT counts pongs only, and so drops a peer when it is itself too busy to read them. Here whatever a peer
    /// says shows that it is there.
    pub(super) fn beat(&mut self, now: Duration, heard: Heard) -> Beat {
        if heard == Heard::Something {
            self.dead_at = None;
        }
        if self.dead_at.is_some_and(|at| now >= at) {
            return Beat::Dead;
        }
        if now < self.ping_at {
            return Beat::Quiet;
        }
        self.ping_at = now + self.interval;
        self.dead_at = self.dead_at.or(Some(now + self.timeout));
        Beat::Ping
    }

    /// When to call [`Heart::beat`] again at the latest.
    pub(super) fn next(&self) -> Duration {
        self.dead_at.map_or(self.ping_at, |at| at.min(self.ping_at))
    }
}
