//! Transactions: those of a file, or drawn ones that most toy applications understand.

use crate::sim::Dice;
use bytes::Bytes;
use std::collections::VecDeque;

/// Most transactions of a file.
pub const TXS_MAX: usize = 100_000;
/// Most transactions that come up at one height.
const TXS_A_HEIGHT_MAX: u64 = 8;

/// Where transactions come from.
#[derive(Debug, Clone)]
pub enum TxSource {
    /// Each once, in this order: later ones may need earlier ones.
    Listed(VecDeque<Bytes>),
    /// `key=value`, the same again, and some that are neither.
    Drawn,
}

/// A file of transactions that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TxsError {
    /// `0x` and something that is not hexadecimal.
    #[error("line {line} begins with 0x, but the rest is not pairs of hexadecimal digits")]
    NotHex {
        /// Which line, from 1.
        line: usize,
    },
    /// Nothing in it.
    #[error("there is no transaction in it: write one a line, as text or as 0x and hexadecimal digits")]
    Empty,
    /// Too much in it.
    #[error("it has more than {TXS_MAX} transactions")]
    TooMany,
}

/// One transaction a line: text as it stands, or `0x` and hexadecimal digits. Empty lines and lines that begin with `#`
/// are passed over.
pub fn parse_txs(text: &str) -> Result<Vec<Bytes>, TxsError> {
    let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line.trim_end_matches('\r')));
    let mut txs = Vec::new();
    for (line, text) in lines.filter(|(_, text)| !text.trim().is_empty() && !text.starts_with('#')) {
        if txs.len() == TXS_MAX {
            return Err(TxsError::TooMany);
        }
        txs.push(match text.trim().strip_prefix("0x") {
            Some(digits) => hex::decode(digits).map(Bytes::from).map_err(|_| TxsError::NotHex { line })?,
            None => Bytes::copy_from_slice(text.as_bytes()),
        });
    }
    if txs.is_empty() { Err(TxsError::Empty) } else { Ok(txs) }
}

impl TxSource {
    /// The transactions that come up at a height.
    pub fn next(&mut self, dice: &mut Dice) -> Vec<Bytes> {
        let count = dice.below(TXS_A_HEIGHT_MAX + 1);
        match self {
            TxSource::Listed(left) => {
                let count = left.len().min(usize::try_from(count).unwrap_or(usize::MAX));
                left.drain(..count).collect()
            }
            TxSource::Drawn => (0..count).map(|_| drawn(dice)).collect(),
        }
    }

    /// Transactions for a proposal that no honest application made.
    pub fn foreign(dice: &mut Dice, waiting: &[Bytes]) -> Vec<Bytes> {
        let mut txs: Vec<Bytes> = (0..dice.below(4)).map(|_| drawn(dice)).collect();
        txs.extend(dice.pick(waiting).cloned());
        dice.shuffle(&mut txs);
        txs
    }
}

/// Few keys, so that they are written again.
fn drawn(dice: &mut Dice) -> Bytes {
    let (key, value) = (dice.below(12), dice.below(1000));
    match dice.below(20) {
        0 => (0..dice.between(1, 40)).map(|_| dice.below(256) as u8).collect::<Vec<u8>>().into(),
        1 => format!("key{key}").into(),
        2 => format!("=value{value}").into(),
        3 => format!("key{key}:value{value}").into(),
        4 => format!("key{key}={}", "x".repeat(dice.between(100, 400) as usize)).into(),
        _ => format!("key{key}=value{value}").into(),
    }
}
