//! `tx_search` and `block_search` (reference §8.7, §8.8): candidates from the most selective index, then the events
//! themselves decide. Block by block in the order asked for, so that memory holds one block and one page.

use super::keys::{self, Key, Kind, Name};
use super::kv::Direction;
use super::store::KvStore;
use super::values::failed;
use crate::crypto::Hash;
use crate::ports::{Page, Search, SearchOrder, StoreError};
use crate::types::Height;
use crate::types::abci::TxResult;
use crate::types::query::{Comparison, Condition, Operand, Query, Test};
use std::ops::ControlFlow;

const TX_HEIGHT: &str = "tx.height";
const TX_HASH: &str = "tx.hash";
const BLOCK_HEIGHT: &str = "block.height";
/// Entries counted of each condition's index before the shortest is chosen.
const SAMPLE: usize = 128;

/// The two indexes a search may use.
#[derive(Debug, Clone, Copy)]
struct Tables {
    height_key: &'static str,
    attribute: Kind,
    key: Kind,
}

const TXS: Tables = Tables { height_key: TX_HEIGHT, attribute: Kind::TxAttribute, key: Kind::TxKey };
const BLOCKS: Tables = Tables { height_key: BLOCK_HEIGHT, attribute: Kind::BlockAttribute, key: Kind::BlockKey };

/// Where to look.
#[derive(Debug, Clone, Copy)]
struct Plan {
    from: Height,
    to: Height,
    /// The occurrences to follow; none means every height.
    along: Option<(Kind, Name)>,
}

/// Counts all matches and keeps those of one page.
#[derive(Debug)]
struct Collector<T> {
    skip: u64,
    take: u64,
    page: Page<T>,
}

impl<T> Collector<T> {
    fn new(Search { page, per_page, .. }: Search<'_>) -> Collector<T> {
        let skip = page.saturating_mul(if mutant!("Z4") { per_page + 1 } else { per_page });
        Collector { skip, take: per_page, page: Page { items: Vec::new(), total: 0 } }
    }

    fn offer(&mut self, item: impl FnOnce() -> Option<T>) {
        if self.page.total >= self.skip && (self.page.total - self.skip < self.take || mutant!("Z5")) {
            self.page.items.extend(item());
        }
        self.page.total += 1;
    }
}

impl KvStore {
    pub(super) fn find_txs(&self, search: Search<'_>) -> Result<Page<TxResult>, StoreError> {
        let Search { query, order, .. } = search;
        let mut found = Collector::new(search);
        if let Some(hash) = query.conditions().iter().find_map(asked_hash) {
            // As in CometBFT, a hash answers the query whatever else it says.
            let tx = parse_hash(hash)?.map_or(Ok(None), |hash| self.load_tx(&hash))?;
            if tx.is_some() {
                found.offer(|| tx);
            }
            return Ok(found.page);
        }
        self.walk(search, TXS, &mut |height| {
            let Some(block) = self.indexed_block(height)? else { return Ok(()) };
            let text = height.to_string();
            let matches = |index: &u32| {
                let result = block.results.tx_results.get(*index as usize);
                result.is_some_and(|result| query.matches_in_one_event(&[(TX_HEIGHT, &text)], &result.events))
            };
            let count = block.txs.len().min(block.results.tx_results.len()) as u32;
            let mut matching: Vec<u32> = (0..count).filter(matches).collect();
            if order == SearchOrder::Descending && !mutant!("Z6") {
                matching.reverse();
            }
            matching.into_iter().for_each(|index| found.offer(|| block.tx(index)));
            Ok(())
        })?;
        Ok(found.page)
    }

    pub(super) fn find_blocks(&self, search: Search<'_>) -> Result<Page<Height>, StoreError> {
        let mut found = Collector::new(search);
        self.walk(search, BLOCKS, &mut |height| {
            let Some(results) = self.load_results(height)? else { return Ok(()) };
            if search.query.matches_in_one_event(&[(BLOCK_HEIGHT, &height.to_string())], &results.events) {
                found.offer(|| Some(height));
            }
            Ok(())
        })?;
        Ok(found.page)
    }

    /// Shows every height at which a match is possible, for as long as somebody waits for the answer.
    fn walk(
        &self,
        search: Search<'_>,
        tables: Tables,
        look: &mut dyn FnMut(Height) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let Some(plan) = self.plan(search.query, tables)? else { return Ok(()) };
        let mut look = |height: Height| {
            let gone = || StoreError("the search was given up: nobody waits for its answer".to_owned());
            ((search.waits)() || mutant!("Z91")).then_some(()).ok_or_else(gone)?;
            look(height)
        };
        let direction = match search.order {
            SearchOrder::Ascending => Direction::Up,
            SearchOrder::Descending => Direction::Down,
        };
        let Some((kind, name)) = plan.along else {
            let (from, to) = (plan.from.get(), plan.to.get());
            return match direction {
                Direction::Up => (from..=to).try_for_each(|height| look(Height::new(height))),
                Direction::Down => (from..=to).rev().try_for_each(|height| look(Height::new(height))),
            };
        };
        let mut outcome = Ok(());
        self.occurrences(kind, &name, (plan.from, plan.to), direction, &mut |height| {
            outcome = look(height);
            if outcome.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        outcome
    }

    /// Narrows the heights by the conditions on them and picks the shortest list of occurrences. None when nothing can
    /// match.
    fn plan(&self, query: &Query, tables: Tables) -> Result<Option<Plan>, StoreError> {
        let Some(indexed) = self.indexed()? else { return Ok(None) };
        let (mut from, mut to) = (indexed.from.max(Height::FIRST), indexed.to);
        for condition in query.conditions().iter().filter(|condition| condition.key == tables.height_key) {
            let (low, high) = bounds(&condition.test);
            (from, to) = (from.max(low), to.min(high));
        }
        if from > to {
            return Ok(None);
        }
        let mut shortest: Option<(usize, (Kind, Name))> = None;
        for condition in query.conditions().iter().filter(|condition| condition.key != tables.height_key) {
            let along = tables.occurrences_of(condition);
            let length = self.sample(along, (from, to))?;
            if shortest.is_none_or(|(best, _)| length < best) {
                shortest = Some((length, along));
            }
        }
        Ok(Some(Plan { from, to, along: shortest.map(|(_, along)| along) }))
    }

    /// The number of occurrences, counted up to [`SAMPLE`].
    fn sample(&self, (kind, name): (Kind, Name), heights: (Height, Height)) -> Result<usize, StoreError> {
        let mut count = 0;
        self.occurrences(kind, &name, heights, Direction::Down, &mut |_| {
            count += 1;
            if count < SAMPLE { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(count)
    }

    fn occurrences(
        &self,
        kind: Kind,
        name: &Name,
        (from, to): (Height, Height),
        direction: Direction,
        show: &mut dyn FnMut(Height) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let range = keys::occurrences(kind, name, from, to);
        let mut visit = |key: &[u8], _: &[u8]| match keys::height_in(key) {
            Some(height) => show(height),
            None => ControlFlow::Continue(()), // not a key this store writes
        };
        self.values
            .kv
            .scan(&range, direction, &mut visit)
            .map_err(|error| failed(&format!("search the {}", Key::single(kind).words()), &error))
    }
}

impl Tables {
    /// The list of blocks in which the condition may hold.
    fn occurrences_of(self, condition: &Condition) -> (Kind, Name) {
        match &condition.test {
            Test::Compare(Comparison::Equal, Operand::Text(value)) => {
                (self.attribute, Name::of_value(&condition.key, value))
            }
            _ => (self.key, Name::of_key(&condition.key)),
        }
    }
}

/// The heights a condition leaves: a range that may be too wide, never too narrow.
fn bounds(test: &Test) -> (Height, Height) {
    let all = (Height::ZERO, Height::MAX);
    let Test::Compare(comparison, Operand::Number(number)) = test else { return all };
    let number = number.to_string();
    let whole = number.split_once('.').map_or(number.as_str(), |(whole, _)| whole);
    // Larger than any height: nothing is above it, everything below.
    let height = whole.parse::<i64>().ok().and_then(|height| Height::try_from(height).ok()).unwrap_or(Height::MAX);
    match comparison {
        Comparison::Equal => (height, height),
        Comparison::Less | Comparison::LessOrEqual => (Height::ZERO, height),
        Comparison::Greater | Comparison::GreaterOrEqual => (height, Height::MAX),
    }
}

fn asked_hash(condition: &Condition) -> Option<&str> {
    match &condition.test {
        Test::Compare(Comparison::Equal, Operand::Text(text)) if condition.key == TX_HASH => Some(text),
        _ => None,
    }
}

/// None when the text is hex, but of another length than a hash: nothing has that name.
fn parse_hash(text: &str) -> Result<Option<Hash>, StoreError> {
    let bytes = hex::decode(text).map_err(|why| {
        StoreError(format!("error during searching for a hash in the query: {text:?} is not hex: {why}"))
    })?;
    Ok(Hash::try_from(bytes.as_slice()).ok())
}
