//! The mempool does what a dumb list does, whatever comes in whatever order (bug class 075).

use super::*;
use crate::types::Height;
use proptest::prelude::*;
use std::collections::VecDeque;

/// What can happen. Numbers name transactions; their length is number % 7 + 1 bytes.
#[derive(Debug, Clone)]
enum Act {
    Submit(Vec<u8>),
    /// Answer the oldest batch: each code is this bit.
    Answer(u16),
    Fail,
    Commit(Vec<(u8, bool)>),
    Flush,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let number = 0u8..24;
    let act = prop_oneof![
        4 => prop::collection::vec(number.clone(), 1..5).prop_map(Act::Submit),
        4 => any::<u16>().prop_map(Act::Answer),
        1 => Just(Act::Fail),
        2 => prop::collection::vec((number, any::<bool>()), 0..4).prop_map(Act::Commit),
        1 => Just(Act::Flush),
    ];
    prop::collection::vec(act, 0..60)
}

fn named(number: u8) -> Tx {
    Tx::new(vec![number; usize::from(number % 7) + 1])
}

/// The dumb list: every rule written down once more, with vectors only.
#[derive(Default)]
struct Dumb {
    list: Vec<u8>,
    cache: Vec<u8>,
    flying: VecDeque<Vec<(u8, bool)>>,
}

const SIZE: usize = 8;
const CACHE: usize = 12;
const BYTES: usize = 25;

impl Dumb {
    fn push_cache(&mut self, number: u8) -> bool {
        let known = self.cache.contains(&number);
        self.cache.retain(|it| *it != number);
        self.cache.push(number);
        if self.cache.len() > CACHE {
            self.cache.remove(0);
        }
        known
    }

    fn all(&self) -> impl Iterator<Item = u8> {
        let flying = self.flying.iter().flatten().map(|(number, _)| *number);
        self.list.iter().copied().chain(flying)
    }

    fn submit(&mut self, numbers: &[u8]) -> Vec<u8> {
        self.flying.push_back(Vec::new());
        for &number in numbers {
            let bytes: usize = self.all().map(|it| named(it).bytes().len()).sum();
            if self.all().count() >= SIZE || bytes + named(number).bytes().len() > BYTES {
                continue;
            }
            let waits = self.list.contains(&number);
            if self.push_cache(number) || waits {
                continue;
            }
            self.flying.back_mut().expect("just pushed").push((number, false));
        }
        let batch = self.flying.back().expect("just pushed").iter().map(|(number, _)| *number).collect::<Vec<_>>();
        if batch.is_empty() {
            self.flying.pop_back();
        }
        batch
    }

    fn answer(&mut self, bits: u16) {
        let Some(batch) = self.flying.pop_front() else { return };
        for (i, (number, committed)) in batch.into_iter().enumerate() {
            let good = bits >> i & 1 == 0;
            if good && !committed && !self.list.contains(&number) {
                self.list.push(number);
            } else if !good && !committed {
                self.cache.retain(|it| *it != number);
            }
        }
    }

    fn fail(&mut self) {
        for (number, committed) in self.flying.pop_front().unwrap_or_default() {
            if !committed {
                self.cache.retain(|it| *it != number);
            }
        }
    }

    fn commit(&mut self, txs: &[(u8, bool)]) {
        for &(number, good) in txs {
            self.list.retain(|it| *it != number);
            if good {
                self.push_cache(number);
            } else {
                self.cache.retain(|it| *it != number);
            }
            for it in self.flying.iter_mut().flatten().filter(|it| it.0 == number) {
                it.1 = true;
            }
        }
    }
}

/// Batches the mempool sent and nobody answered.
fn sent(out: &[MempoolEffect], open: &mut VecDeque<(crate::mempool::BatchId, usize)>) -> Vec<Tx> {
    let mut all = Vec::new();
    for effect in out {
        if let MempoolEffect::Check { batch, txs, .. } = effect {
            open.push_back((*batch, txs.len()));
            all.extend(txs.iter().cloned());
        }
    }
    all
}

fn compare(acts: Vec<Act>) -> Result<(), TestCaseError> {
    let config = MempoolConfig { size: SIZE as u64, max_txs_bytes: BYTES as u64, cache_size: CACHE, ..super::config() };
    let mut real = Mempool::new(config, LIMITS);
    let mut dumb = Dumb::default();
    let mut open = VecDeque::new();
    for (height, act) in (1..).zip(acts) {
        match act {
            Act::Submit(numbers) => {
                let txs: Vec<Tx> = numbers.iter().copied().map(named).collect();
                let out = submit(&mut real, &txs);
                let expected: Vec<Tx> = dumb.submit(&numbers).into_iter().map(named).collect();
                prop_assert_eq!(sent(&out, &mut open), expected);
            }
            Act::Answer(bits) => {
                if let Some((batch, len)) = open.pop_front() {
                    let responses = (0..len).map(|i| code(u32::from(bits >> i & 1))).collect();
                    step(&mut real, MempoolInput::Answered { batch, responses });
                }
                dumb.answer(bits);
            }
            Act::Fail => {
                if let Some((batch, _)) = open.pop_front() {
                    step(&mut real, MempoolInput::CheckFailed { batch, why: "gone".into() });
                }
                dumb.fail();
            }
            Act::Commit(txs) => {
                dumb.commit(&txs);
                let txs = txs.into_iter().map(|(number, good)| (named(number), u32::from(!good))).collect();
                let height = Height::new(height);
                step(&mut real, MempoolInput::Committed { height, txs, limits: LIMITS });
            }
            Act::Flush => {
                step(&mut real, MempoolInput::Flush);
                (dumb.list, dumb.cache) = (Vec::new(), Vec::new());
            }
        }
        let expected: Vec<Tx> = dumb.list.iter().copied().map(named).collect();
        prop_assert_eq!(real.first(usize::MAX), expected.clone());
        prop_assert_eq!(real.bytes(), expected.iter().map(|tx| tx.bytes().len() as u64).sum::<u64>());
        prop_assert!(real.count() <= SIZE as u64 && real.bytes() <= BYTES as u64);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_mempool_agrees_with_a_dumb_list_in_2000_histories(acts in acts()) {
        compare(acts)?;
    }

    #[test]
    fn reaping_agrees_with_adding_up(lens in prop::collection::vec(1usize..30, 0..10), max in 0u64..200) {
        let mut real = Mempool::new(MempoolConfig { max_txs_bytes: 1_000, ..super::config() }, LIMITS);
        let txs: Vec<Tx> = lens.iter().zip(0u8..).map(|(len, i)| Tx::new(vec![i; *len])).collect();
        let out = submit(&mut real, &txs);
        for (batch, len) in { let mut open = VecDeque::new(); sent(&out, &mut open); open } {
            step(&mut real, MempoolInput::Answered { batch, responses: vec![ok(0); len] });
        }
        let mut sum = 0;
        let expected: Vec<Tx> = txs.into_iter().take_while(|tx| { sum += tx.encoded_len(); sum <= max }).collect();
        prop_assert_eq!(real.reap(Some(max), None), expected);
    }
}
