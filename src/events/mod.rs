//! Who is told what the node publishes: a bounded broadcast. Publishing never waits; a subscriber that falls behind
//! loses the oldest facts and learns how many (reference §8.6). What a fact means to a query is in `types::Notice`.

use crate::ports::{self, Delivery};
use crate::types::Published;
use tokio::sync::broadcast::{self, error::RecvError};

/// Facts kept for the slowest subscriber.
pub const CAPACITY: usize = 1_000;

/// Where facts are published.
#[derive(Debug, Clone)]
pub struct Bus {
    sender: broadcast::Sender<Published>,
}

/// Everything published since it was made.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Published>,
}

impl Bus {
    /// A bus that keeps `capacity` facts, at least 1, for slow subscribers.
    pub fn new(capacity: usize) -> Bus {
        Bus { sender: broadcast::channel(capacity.max(1)).0 }
    }

    /// Tells all subscribers. Never waits; without subscribers nothing happens.
    pub fn publish(&self, fact: Published) {
        let _nobody_listens = self.sender.send(fact);
    }

    /// Everything published from now on.
    pub fn subscribe(&self) -> Subscription {
        Subscription { receiver: self.sender.subscribe() }
    }

    /// Running subscriptions.
    pub fn subscribers(&self) -> usize {
        self.sender.receiver_count()
    }
}

impl Default for Bus {
    fn default() -> Bus {
        Bus::new(CAPACITY)
    }
}

impl ports::Subscription for Subscription {
    async fn next(&mut self) -> Option<Delivery> {
        match self.receiver.recv().await {
            Ok(fact) => Some(Delivery::Published(fact)),
            Err(RecvError::Lagged(missed)) => Some(Delivery::Missed(missed)),
            Err(RecvError::Closed) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Subscription as _;
    use crate::types::{Height, Round, RoundEvent, RoundEventKind, Step};

    fn fact(height: u64) -> Published {
        Published::Round(RoundEvent {
            kind: RoundEventKind::NewRoundStep,
            height: Height::new(height),
            round: Round::ZERO,
            step: Step::Propose,
        })
    }

    #[tokio::test]
    async fn a_slow_subscriber_is_told_how_much_it_missed_and_nobody_waits() {
        let bus = Bus::new(4);
        bus.publish(fact(1));
        let (mut slow, mut late) = (bus.subscribe(), bus.subscribe());
        for height in 2..=11 {
            bus.publish(fact(height));
        }
        assert!(matches!(slow.next().await, Some(Delivery::Missed(6))));
        assert!(
            matches!(slow.next().await, Some(Delivery::Published(Published::Round(event))) if event.height.get() == 8)
        );
        drop(bus);
        assert!(matches!(late.next().await, Some(Delivery::Missed(6))), "what was published is still delivered");
        for _ in 8..=11 {
            assert!(matches!(late.next().await, Some(Delivery::Published(_))));
        }
        assert!(late.next().await.is_none(), "the node stopped");
    }
}
