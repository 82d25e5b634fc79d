//! Virtual time: what is to happen, and when. What happens at the same time happens in the order it was planned.

use crate::consensus::Tick;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

/// Everything that is to happen.
#[derive(Debug)]
pub struct Queue<E> {
    now: Tick,
    planned: u64,
    events: BinaryHeap<Reverse<Entry<E>>>,
}

#[derive(Debug)]
struct Entry<E> {
    at: Tick,
    /// The order of planning, so that nothing depends on the inside of the heap.
    serial: u64,
    event: E,
}

impl<E> Default for Queue<E> {
    fn default() -> Queue<E> {
        Queue { now: Tick(0), planned: 0, events: BinaryHeap::new() }
    }
}

impl<E> Queue<E> {
    /// The time of what happened last.
    pub fn now(&self) -> Tick {
        self.now
    }

    /// Plans something; what is planned for the past happens now.
    pub fn at(&mut self, at: Tick, event: E) {
        self.planned += 1;
        self.events.push(Reverse(Entry { at: at.max(self.now), serial: self.planned, event }));
    }

    /// Plans something for later.
    pub fn after(&mut self, wait: Duration, event: E) {
        self.at(self.now.plus(wait), event);
    }

    /// What happens next; time moves on to it.
    pub fn take(&mut self) -> Option<E> {
        let Reverse(entry) = self.events.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }
}

impl<E> Entry<E> {
    fn key(&self) -> (Tick, u64) {
        (self.at, self.serial)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Entry<E>) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Entry<E>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Entry<E>) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_time_and_then_of_planning() {
        let mut queue = Queue::default();
        for (at, name) in [(5, "b"), (1, "a"), (5, "c"), (9, "d")] {
            queue.at(Tick(at), name);
        }
        assert_eq!(queue.take(), Some("a"));
        queue.at(Tick(0), "in the past");
        let rest: Vec<_> = std::iter::from_fn(|| queue.take()).collect();
        assert_eq!(rest, ["in the past", "b", "c", "d"]);
        assert_eq!(queue.now(), Tick(9));
    }
}
