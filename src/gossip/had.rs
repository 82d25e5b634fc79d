//! Which votes or parts a peer has: a set of small numbers that grows as needed, up to a limit.
//!
//! A peer may be at a height whose validators we do not know yet, so the size cannot be fixed beforehand as CometBFT
//! does (EnsureVoteBitArrays); what is said early would be lost and sent again.

use crate::types::BitArray;

/// Positions from here on are not remembered: CometBFT's MaxVotesCount, more than any block has parts. One set holds at
/// most 1,256 bytes.
pub(super) const POSITIONS_MAX: usize = 10_000;

const WORD: usize = u64::BITS as usize;

/// A set of positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Had {
    words: Vec<u64>,
}

impl Had {
    /// What a peer says it has.
    pub(super) fn from_bits(bits: &BitArray) -> Had {
        let mut had = Had::default();
        had.replace(bits);
        had
    }

    pub(super) fn contains(&self, position: usize) -> bool {
        self.words.get(position / WORD).is_some_and(|word| word >> (position % WORD) & 1 == 1)
    }

    /// Adds a position; one beyond [`POSITIONS_MAX`] is nobody's.
    pub(super) fn insert(&mut self, position: usize) {
        if position >= POSITIONS_MAX + usize::from(mutant!("G3")) {
            return;
        }
        if position / WORD >= self.words.len() {
            self.words.resize(position / WORD + 1, 0);
        }
        self.words[position / WORD] |= 1 << (position % WORD);
    }

    /// Takes the peer's word for what it has.
    pub(super) fn replace(&mut self, bits: &BitArray) {
        let words = bits.words().iter().take(POSITIONS_MAX.div_ceil(WORD));
        self.words = words.enumerate().map(|(at, word)| word & mask(bits, at)).collect();
    }

    /// Adds what a peer says it has, without taking anything away.
    pub(super) fn merge(&mut self, bits: &BitArray) {
        let other = Had::from_bits(bits);
        if other.words.len() > self.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        self.words.iter_mut().zip(other.words).for_each(|(word, more)| *word |= more);
    }

    /// The peer said which of `asked` it has: all others of `asked` it lacks (ApplyVoteSetBitsMessage).
    pub(super) fn correct(&mut self, asked: &BitArray, has: &BitArray) {
        self.words.iter_mut().zip(asked.words()).for_each(|(word, asked)| *word &= !asked);
        self.merge(has);
    }

    /// True when nothing is here that `bits` lacks.
    pub(super) fn within(&self, bits: &BitArray) -> bool {
        self.words.iter().enumerate().all(|(at, word)| {
            let other = bits.words().get(at).map_or(0, |word| word & mask(bits, at));
            word & !other == 0
        })
    }

    /// Gives away what is in `ours` and missing here, beginning at `start` and coming round to it again. What `give`
    /// says yes to is had from then on; a no ends it. True when nothing is missing any more.
    pub(super) fn fill(&mut self, ours: &BitArray, start: usize, mut give: impl FnMut(usize) -> bool) -> bool {
        let words = ours.words();
        let first = if ours.is_empty() { 0 } else { start % ours.len() / WORD };
        for step in 0..words.len() {
            let at = (first + step) % words.len();
            let mut missing = words[at] & !self.word(at);
            while missing != 0 {
                let position = at * WORD + missing.trailing_zeros() as usize;
                if !give(position) {
                    return false;
                }
                if !mutant!("G5") {
                    self.insert(position);
                }
                missing &= missing - 1;
            }
        }
        true
    }

    /// As a row of `len` bits, or of as many as it takes when the length is not known.
    pub(super) fn to_bits(&self, len: Option<usize>) -> BitArray {
        let highest = self.words.iter().rposition(|word| *word != 0);
        let needed = highest.map_or(0, |at| (at + 1) * WORD - self.words[at].leading_zeros() as usize);
        let mut bits = BitArray::new(len.unwrap_or(needed));
        (0..needed).filter(|position| self.contains(*position)).for_each(|position| bits.set(position));
        bits
    }

    #[cfg(test)]
    pub(super) fn bytes_held(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }

    fn word(&self, at: usize) -> u64 {
        self.words.get(at).copied().unwrap_or(0)
    }
}

/// The bits of word `at` that count: the last word of a foreign row may have more set than the row has bits.
fn mask(bits: &BitArray, at: usize) -> u64 {
    match bits.len().saturating_sub(at * WORD) {
        0 => 0,
        left if left >= WORD => u64::MAX,
        left => (1 << left) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Random sets compared with a plain set of numbers.
    const CASES: u64 = 300;

    fn random(seed: &mut u64, below: u64) -> u64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*seed >> 33) % below
    }

    fn row(len: usize, seed: &mut u64) -> (BitArray, BTreeSet<usize>) {
        let plain: BTreeSet<usize> = (0..len).filter(|_| random(seed, 3) == 0).collect();
        let mut bits = BitArray::new(len);
        plain.iter().for_each(|position| bits.set(*position));
        (bits, plain)
    }

    #[test]
    fn a_row_behaves_like_a_set_of_numbers() {
        for case in 0..CASES {
            let mut seed = case;
            let len = 1 + random(&mut seed, 200) as usize;
            let ((first, plain), (second, other)) = (row(len, &mut seed), row(len + 70, &mut seed));
            let mut had = Had::from_bits(&first);
            assert_eq!(had.to_bits(Some(len)), first);
            let mut given = BTreeSet::new();
            let start = random(&mut seed, 300) as usize;
            assert_eq!(had.within(&second), plain.is_subset(&other));
            assert!(had.fill(&second, start, |position| given.insert(position)));
            assert_eq!(given, other.difference(&plain).copied().collect::<BTreeSet<_>>(), "case {case}");
            assert!(had.fill(&first, 0, |_| false) && had.fill(&second, start, |_| false), "nothing is missing");
            had.correct(&second, &first);
            let expected: BTreeSet<usize> =
                plain.union(&other).filter(|at| !other.contains(at) || plain.contains(at)).copied().collect();
            assert_eq!((0..400).filter(|at| had.contains(*at)).collect::<BTreeSet<_>>(), expected, "case {case}");
        }
    }

    #[test]
    fn giving_stops_when_told_and_goes_on_later() {
        let (mut had, mut ours) = (Had::default(), BitArray::new(130));
        [3, 64, 129].into_iter().for_each(|position| ours.set(position));
        let mut given = Vec::new();
        assert!(!had.fill(&ours, 64, |position| {
            given.push(position);
            given.len() < 2
        }));
        assert_eq!(given, [64, 129], "beginning in the middle");
        assert!(had.contains(64) && !had.contains(129), "what was refused is not had");
        assert!(had.fill(&ours, 0, |_| true));
    }

    #[test]
    fn a_lying_row_takes_no_more_memory_than_the_limit() {
        let mut had = Had::default();
        had.insert(usize::MAX);
        had.insert(POSITIONS_MAX);
        assert_eq!(had, Had::default());
        let lie = BitArray::from_words(1_000_000, vec![u64::MAX; 1_000_000_usize.div_ceil(64)]).expect("as many words");
        had.replace(&lie);
        assert!(had.words.len() <= POSITIONS_MAX.div_ceil(WORD));
        let garbage = BitArray::from_words(3, vec![u64::MAX]).expect("one word");
        assert_eq!(Had::from_bits(&garbage).to_bits(None).to_string(), "xxx", "bits beyond the end do not count");
    }
}
