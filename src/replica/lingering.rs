//! When what waits too long is offered again. Gossip offers a transaction once (reference §7.1): a proposer whose mempool
//! was full then, or whose application was away, never hears of it again, and where one validator has all the power, or
//! blocks are made only for transactions, it waits for ever.

use crate::consensus::Tick;
use crate::crypto::Hash;
use crate::mempool::Mempool;
use crate::types::Tx;
use std::time::Duration;

/// How long one transaction is the first of those that wait before all are offered again.
const PATIENCE: Duration = Duration::from_secs(10);
/// The next time it takes twice as long, this many times at most: an application may have reasons not to propose it.
const DOUBLINGS_MAX: u32 = 6;

/// Looks at the first transaction from time to time, while any waits.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    watch: Option<Watch>,
}

#[derive(Debug)]
struct Watch {
    /// What was the first at the last look.
    first: Hash,
    /// How often it was offered again.
    offered: u32,
}

/// What a look shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing waits. The next look is when something does: [`Lingering::begin`].
    Done,
    /// Blocks take what waits. The next look is due then.
    Moves(Tick),
    /// The first is still the first: peers should be offered what waits. The next look is due then.
    Lingers(Tick),
}

impl Lingering {
    /// To be called when the pool has changed. When to look, if something waits and no look was due yet.
    pub(super) fn begin(&mut self, now: Tick, pool: &Mempool) -> Option<Tick> {
        if self.watch.is_some() {
            return None;
        }
        let first = first(pool)?;
        self.watch = Some(Watch { first, offered: 0 });
        Some(now.plus(PATIENCE))
    }

    /// Looks.
    pub(super) fn look(&mut self, now: Tick, pool: &Mempool) -> Look {
        let before = self.watch.take();
        let Some(first) = first(pool) else { return Look::Done };
        let lingers = before.filter(|watch| watch.first == first || mutant!("A102"));
        let offered = lingers.as_ref().map_or(0, |watch| (watch.offered + 1).min(DOUBLINGS_MAX));
        let due = now.plus(PATIENCE.saturating_mul(1 << offered));
        self.watch = Some(Watch { first, offered });
        if lingers.is_some() && !mutant!("A101") { Look::Lingers(due) } else { Look::Moves(due) }
    }
}

fn first(pool: &Mempool) -> Option<Hash> {
    pool.first(1).first().map(Tx::hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mempool::{FailedTxs, MempoolConfig, MempoolEffect, MempoolInput, Origin, Recheck};
    use crate::types::abci::CheckTxResponse;
    use crate::types::{Height, NodeId, TxLimits};

    const LIMITS: TxLimits = TxLimits { bytes_max: 1 << 20, gas_max: None };

    fn pool() -> Mempool {
        let config = MempoolConfig {
            size: 10,
            max_txs_bytes: 1 << 20,
            max_tx_bytes: 1 << 10,
            cache_size: 10,
            failed: FailedTxs::Forget,
            recheck: Recheck::Off,
            broadcast: crate::mempool::Broadcast::On,
        };
        Mempool::new(config, LIMITS)
    }

    fn put(pool: &mut Mempool, name: &'static str) {
        let mut out = Vec::new();
        let origin = Origin::Peer(NodeId::new(crate::types::Address::new([1; 20])));
        pool.step(MempoolInput::Submit { origin, txs: vec![Tx::new(name)] }, &mut out);
        let Some(MempoolEffect::Check { batch, .. }) = out.pop() else { panic!("the application is asked") };
        let responses = vec![CheckTxResponse::default()];
        pool.step(MempoolInput::Answered { batch, responses }, &mut Vec::new());
    }

    fn commit(pool: &mut Mempool, name: &'static str) {
        let txs = vec![(Tx::new(name), 0)];
        pool.step(MempoolInput::Committed { height: Height::new(1), txs, limits: LIMITS }, &mut Vec::new());
    }

    fn after(seconds: u64) -> Tick {
        Tick(0).plus(Duration::from_secs(seconds))
    }

    #[test]
    fn what_stays_the_first_is_offered_again_ever_more_seldom() {
        let (mut pool, mut lingering) = (pool(), Lingering::default());
        assert_eq!(lingering.begin(after(0), &pool), None, "nothing waits");
        put(&mut pool, "a");
        assert_eq!(lingering.begin(after(0), &pool), Some(after(10)));
        put(&mut pool, "b");
        assert_eq!(lingering.begin(after(1), &pool), None, "a look is due already");
        let mut at = 10;
        for pause in [20, 40, 80, 160, 320, 640, 640] {
            assert_eq!(lingering.look(after(at), &pool), Look::Lingers(after(at + pause)));
            at += pause;
        }
        commit(&mut pool, "b");
        assert_eq!(lingering.look(after(at), &pool), Look::Lingers(after(at + 640)), "behind the first blocks go on");
        commit(&mut pool, "a");
        assert_eq!(lingering.look(after(at), &pool), Look::Done);
        put(&mut pool, "c");
        assert_eq!(lingering.begin(after(at), &pool), Some(after(at + 10)));
    }

    #[test]
    fn while_blocks_take_what_waits_nothing_is_offered_again() {
        let (mut pool, mut lingering) = (pool(), Lingering::default());
        put(&mut pool, "a");
        lingering.begin(after(0), &pool);
        for (at, [taken, put_in]) in [(10, ["a", "b"]), (20, ["b", "c"]), (30, ["c", "d"])] {
            put(&mut pool, put_in);
            commit(&mut pool, taken);
            assert_eq!(lingering.look(after(at), &pool), Look::Moves(after(at + 10)));
        }
        assert_eq!(lingering.look(after(40), &pool), Look::Lingers(after(60)));
    }
}
