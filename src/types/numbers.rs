//! Numbers that must not be mixed up, each with its range.

use crate::crypto::PublicKey;
use std::fmt;

/// A number outside what CometBFT's signed 64-bit fields may hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {range}, got {got}")]
pub struct NumberError {
    /// Which number.
    pub what: &'static str,
    /// The values allowed.
    pub range: &'static str,
    /// The value met.
    pub got: String,
}

/// The place of a validator, vote or part, as wide as messages have it.
///
/// # Panics
/// Above 2^32: sets and blocks are bounded far below.
pub fn place(index: usize) -> u32 {
    u32::try_from(index).expect("sets and blocks have fewer than 2^32 places")
}

/// The position of a block in the chain. The first block has height 1 or the genesis' initial height; 0 stands only
/// where "before the first block" is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Height(u64);

impl Height {
    /// Before the first block.
    pub const ZERO: Height = Height(0);
    /// The lowest height a block can have.
    pub const FIRST: Height = Height(1);
    /// 2^63 − 1: heights travel as signed 64-bit numbers.
    pub const MAX: Height = Height(i64::MAX as u64);

    /// A height known to be in range.
    ///
    /// # Panics
    /// Above [`Height::MAX`], which would be our own mistake: use `try_from` for numbers from outside.
    pub const fn new(height: u64) -> Height {
        assert!(height <= i64::MAX as u64, "a height fits 63 bits");
        Height(height)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number as it travels.
    pub const fn as_i64(self) -> i64 {
        self.0 as i64
    }

    /// The height after this one.
    pub const fn next(self) -> Height {
        Height::new(self.0 + 1)
    }

    /// The height before this one; none before 0.
    pub const fn previous(self) -> Option<Height> {
        match self.0 {
            0 => None,
            n => Some(Height(n - 1)),
        }
    }
}

impl TryFrom<i64> for Height {
    type Error = NumberError;

    fn try_from(height: i64) -> Result<Height, NumberError> {
        u64::try_from(height).map(Height).map_err(|_| NumberError {
            what: "height",
            range: "0 or more",
            got: height.to_string(),
        })
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An attempt at deciding one height: round in Tendermint, view in PBFT, term in Raft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Round(u32);

impl Round {
    /// The first round.
    pub const ZERO: Round = Round(0);

    /// A round known to be in range.
    ///
    /// # Panics
    /// Above 2^31 − 1: rounds travel as signed 32-bit numbers.
    pub const fn new(round: u32) -> Round {
        assert!(round <= i32::MAX as u32, "a round fits 31 bits");
        Round(round)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The number as it travels.
    pub const fn as_i32(self) -> i32 {
        self.0 as i32
    }

    /// The round after this one.
    pub const fn next(self) -> Round {
        Round::new(self.0 + 1)
    }

    /// `None` travels as −1 (a proposal without a proof-of-lock round).
    pub fn option_as_i32(round: Option<Round>) -> i32 {
        round.map_or(-1, Round::as_i32)
    }
}

impl TryFrom<i32> for Round {
    type Error = NumberError;

    fn try_from(round: i32) -> Result<Round, NumberError> {
        u32::try_from(round).map(Round).map_err(|_| NumberError {
            what: "round",
            range: "0 or more",
            got: round.to_string(),
        })
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Voting power. One validator's and a whole set's power stay below [`Power::TOTAL_MAX`], so sums of two never overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Power(u64);

impl Power {
    /// No power.
    pub const ZERO: Power = Power(0);
    /// The most a whole validator set may hold: (2^63 − 1) / 8 (reference §4.8).
    pub const TOTAL_MAX: Power = Power(i64::MAX as u64 / 8);

    /// A power known to be in range.
    ///
    /// # Panics
    /// Above 2^63 − 1.
    pub const fn new(power: u64) -> Power {
        assert!(power <= i64::MAX as u64, "power fits 63 bits");
        Power(power)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number as it travels.
    pub const fn as_i64(self) -> i64 {
        self.0 as i64
    }
}

impl TryFrom<i64> for Power {
    type Error = NumberError;

    fn try_from(power: i64) -> Result<Power, NumberError> {
        u64::try_from(power).map(Power).map_err(|_| NumberError {
            what: "voting power",
            range: "0 or more",
            got: power.to_string(),
        })
    }
}

impl std::ops::Add for Power {
    type Output = Power;

    fn add(self, other: Power) -> Power {
        Power::new(self.0 + other.0)
    }
}

impl std::iter::Sum for Power {
    fn sum<I: Iterator<Item = Power>>(iter: I) -> Power {
        iter.fold(Power::ZERO, |sum, power| sum + power)
    }
}

impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The first 20 bytes of the SHA-256 of a public key. Printed in upper-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; Address::LEN]);

impl Address {
    /// Bytes in an address.
    pub const LEN: usize = 20;

    /// Takes the bytes as they are.
    pub const fn new(bytes: [u8; Address::LEN]) -> Address {
        Address(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; Address::LEN] {
        &self.0
    }
}

impl From<&PublicKey> for Address {
    fn from(key: &PublicKey) -> Address {
        let mut bytes = [0; Address::LEN];
        bytes.copy_from_slice(&key.hash().as_bytes()[..Address::LEN]);
        Address(bytes)
    }
}

impl TryFrom<&[u8]> for Address {
    type Error = NumberError;

    fn try_from(bytes: &[u8]) -> Result<Address, NumberError> {
        bytes.try_into().map(Address).map_err(|_| NumberError {
            what: "an address",
            range: "20 bytes long",
            got: format!("{} bytes", bytes.len()),
        })
    }
}

impl AsRef<[u8]> for Address {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode_upper(self.0))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The name every signature is bound to: 1 to 50 bytes of text. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainId(std::sync::Arc<str>);

impl ChainId {
    /// Longest name in bytes (reference §4.7).
    pub const LEN_MAX: usize = 50;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for ChainId {
    type Error = NumberError;

    fn try_from(name: &str) -> Result<ChainId, NumberError> {
        if (1..=ChainId::LEN_MAX).contains(&name.len()) {
            return Ok(ChainId(name.into()));
        }
        Err(NumberError { what: "chain_id", range: "1 to 50 bytes long", got: format!("{} bytes", name.len()) })
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// A node's name in the network: the address of its node key. Printed in lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; Address::LEN]);

impl NodeId {
    /// The id of a node key.
    pub fn new(address: Address) -> NodeId {
        NodeId(*address.as_bytes())
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; Address::LEN] {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for NodeId {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<NodeId, NumberError> {
        let mut bytes = [0; Address::LEN];
        hex::decode_to_slice(text, &mut bytes).map(|()| NodeId(bytes)).map_err(|_| NumberError {
            what: "a node id",
            range: "40 hex digits",
            got: format!("{text:?}"),
        })
    }
}
