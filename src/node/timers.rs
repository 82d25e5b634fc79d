//! The timers consensus has set, and which of them are due.

use crate::consensus::Tick;
use crate::types::{Height, TimerId};
use std::collections::BTreeSet;

/// Timers by due time. A timer set again moves; timers of past heights are forgotten.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Tick, TimerId)>,
}

impl Timers {
    /// Sets a timer, or moves it.
    pub(super) fn set(&mut self, timer: TimerId, at: Tick) {
        self.due.retain(|(_, other)| *other != timer);
        self.due.insert((at, timer));
    }

    /// When the next timer is due.
    pub(super) fn next(&self) -> Option<Tick> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes the timers due at `now`, earliest first.
    pub(super) fn take_due(&mut self, now: Tick) -> Vec<TimerId> {
        let mut fired = Vec::new();
        while let Some((at, timer)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, timer));
            fired.push(timer);
        }
        fired
    }

    /// Forgets every timer below `height`.
    pub(super) fn forget_below(&mut self, height: Height) {
        self.due.retain(|(_, timer)| timer.height >= height);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Round, Step};

    fn timer(height: u64, step: Step) -> TimerId {
        TimerId { height: Height::new(height), round: Round::ZERO, step }
    }

    #[test]
    fn timers_fire_in_order_of_time_and_only_once() {
        let mut timers = Timers::default();
        timers.set(timer(1, Step::Prevote), Tick(30));
        timers.set(timer(1, Step::Propose), Tick(10));
        timers.set(timer(2, Step::Propose), Tick(50));
        assert_eq!(timers.next(), Some(Tick(10)));
        assert_eq!(timers.take_due(Tick(30)), [timer(1, Step::Propose), timer(1, Step::Prevote)]);
        assert_eq!(timers.take_due(Tick(30)), []);
        assert_eq!(timers.next(), Some(Tick(50)));
    }

    #[test]
    fn a_timer_set_again_moves_and_past_heights_are_forgotten() {
        let mut timers = Timers::default();
        timers.set(timer(1, Step::Propose), Tick(10));
        timers.set(timer(1, Step::Propose), Tick(20));
        assert_eq!(timers.take_due(Tick(15)), []);
        timers.set(timer(2, Step::Propose), Tick(30));
        timers.forget_below(Height::new(2));
        assert_eq!(timers.take_due(Tick(99)), [timer(2, Step::Propose)]);
    }
}
