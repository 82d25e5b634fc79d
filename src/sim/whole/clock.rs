//! A node's clocks: they may run fast or slow, and the one on the wall may jump.

use crate::consensus::{Now, Tick};
use crate::types::Time;

/// How long a second of virtual time is for a node, in thousandths.
const EVEN: u64 = 1000;

/// The clocks of one node.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    /// Time of day when virtual time began.
    epoch: Time,
    /// What the wall clock is ahead, in nanoseconds.
    ahead: i64,
    rate: u64,
    /// When the rate was set, in virtual time, and how far the node's own time was then.
    since: (Tick, u64),
    /// The node's own time when this life began.
    born: u64,
}

impl Clock {
    pub(super) fn new(epoch: Time) -> Clock {
        Clock { epoch, ahead: 0, rate: EVEN, since: (Tick(0), 0), born: 0 }
    }

    /// A life begins: monotonic time counts from here.
    pub(super) fn begin(&mut self, at: Tick) {
        self.born = self.own(at);
    }

    /// The wall clock jumps.
    pub(super) fn jump(&mut self, nanos: i64) {
        self.ahead = self.ahead.saturating_add(nanos);
    }

    /// Both clocks run at another rate from now on, in thousandths of virtual time.
    pub(super) fn run_at(&mut self, at: Tick, per_mille: u16) {
        self.since = (at, self.own(at));
        self.rate = u64::from(per_mille).max(1);
    }

    /// The clock is set right again and keeps time.
    pub(super) fn set_right(&mut self, at: Tick) {
        self.run_at(at, EVEN as u16);
        self.ahead =
            i64::try_from(at.0).unwrap_or(i64::MAX).saturating_sub(i64::try_from(self.own(at)).unwrap_or(i64::MAX));
    }

    /// What the node sees.
    pub(super) fn now(&self, at: Tick) -> Now {
        let own = self.own(at);
        let nanos = i128::from(own) + i128::from(self.ahead);
        let (seconds, rest) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
        let unix = self.epoch.seconds() + seconds as i64;
        let wall = Time::new(unix, rest as u32).unwrap_or(self.epoch);
        Now { tick: Tick(own - self.born), wall }
    }

    /// When, in virtual time, the node's monotonic clock shows `tick`.
    pub(super) fn when(&self, tick: Tick) -> Tick {
        let (at, own) = self.since;
        let wait = (self.born + tick.0).saturating_sub(own);
        Tick(at.0 + (wait * EVEN).div_ceil(self.rate))
    }

    fn own(&self, at: Tick) -> u64 {
        let (since, own) = self.since;
        own + at.0.saturating_sub(since.0) * self.rate / EVEN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_due_no_earlier_than_the_node_s_own_clock_says_at_any_rate() {
        let mut clock = Clock::new(Time::new(1_700_000_000, 0).expect("in range"));
        clock.begin(Tick(5));
        for (at, rate) in [(10, 900), (1_000, 1_100), (50_000, 1_000)] {
            clock.run_at(Tick(at), rate);
            let shows = clock.now(Tick(at)).tick.0;
            for tick in [shows + 1, shows + 999, shows + 12_345] {
                let due = clock.when(Tick(tick));
                assert!(clock.now(due).tick >= Tick(tick), "{tick} at {rate}");
                assert!(clock.now(Tick(due.0 - 2)).tick < Tick(tick), "{tick} at {rate}");
            }
        }
    }

    #[test]
    fn a_jump_moves_the_wall_and_not_the_timers() {
        let mut clock = Clock::new(Time::new(1_700_000_000, 0).expect("in range"));
        let before = clock.now(Tick(7));
        clock.jump(-3_600_000_000_000);
        let after = clock.now(Tick(7));
        assert_eq!(before.tick, after.tick);
        assert_eq!(before.wall.since(after.wall).as_secs(), 3600);
        clock.set_right(Tick(7));
        assert_eq!(clock.now(Tick(7)).wall, before.wall);
    }
}
