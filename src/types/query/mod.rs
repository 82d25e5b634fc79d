//! The query language of subscriptions and searches (reference §8.7): `tm.event = 'Tx' AND tx.height > 5`.
//!
//! Conditions joined by AND; no OR, NOT or parentheses. Two users match differently: a subscription looks at all
//! attributes of a notice together ([`Query::matches`]), the index wants one event to satisfy everything
//! ([`Query::matches_in_one_event`]).

mod decimal;
mod parse;
#[cfg(test)]
mod tests;

pub use decimal::Decimal;
pub use parse::QueryError;

use super::Time;
use super::abci::Event;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// Attributes of a notice by composite key, each with all its values in order.
pub type Attributes = BTreeMap<String, Vec<String>>;

/// A parsed query: conditions that must all hold. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    conditions: Vec<Condition>,
}

/// One condition on a composite key such as `tx.height` or `transfer.sender`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The composite key.
    pub key: String,
    /// What must hold for it.
    pub test: Test,
}

/// What must hold for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// The key is there.
    Exists,
    /// Some value contains this text.
    Contains(String),
    /// Some value compares with the operand as said.
    Compare(Comparison, Operand),
}

/// How a value must stand to the operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// What values are compared with. A value that is not of the operand's kind never matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    /// `'text'`; only for `=`.
    Text(String),
    /// `5` or `2.50`. A value's leading digits count, so that `8atom` is 8.
    Number(Decimal),
    /// `TIME 2006-01-02T15:04:05Z`; values are RFC 3339.
    Time(Time, String),
    /// `DATE 2006-01-02`; values are dates.
    Date(Time, String),
}

impl std::str::FromStr for Query {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Query, QueryError> {
        parse::parse(text).map(|conditions| Query { conditions })
    }
}

impl Query {
    /// All conditions, in the order written.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// The subscription's rule: each condition is met by some value of its key.
    pub fn matches(&self, attributes: &Attributes) -> bool {
        !attributes.is_empty() && self.conditions.iter().all(|condition| condition.met_by(attributes))
    }

    /// The index's rule: conditions on the `reserved` keys (`tx.height`, `tx.hash`, `block.height`) are tested against
    /// those values, and one single event must satisfy all others by its indexed attributes.
    pub fn matches_in_one_event(&self, reserved: &[(&str, &str)], events: &[Event]) -> bool {
        let is_reserved = |condition: &&Condition| reserved.iter().any(|(key, _)| *key == condition.key);
        let (on_reserved, on_events): (Vec<_>, Vec<_>) = self.conditions.iter().partition(is_reserved);
        let holds =
            |condition: &&Condition| reserved.iter().any(|(k, v)| *k == condition.key && condition.test.matches(v));
        on_reserved.iter().all(holds)
            && (on_events.is_empty()
                || events.iter().any(|event| on_events.iter().all(|test| test.met_by_event(event))))
    }
}

impl Condition {
    fn met_by(&self, attributes: &Attributes) -> bool {
        if let Some(values) = attributes.get(&self.key) {
            return values.iter().any(|value| self.test.matches(value));
        }
        // A key equal to an event's type asks whether such an event is there: CometBFT tests it against "".
        let is_type = attributes.keys().any(|key| key.rsplit_once('.').is_some_and(|(kind, _)| kind == self.key));
        is_type && self.test.matches("")
    }

    fn met_by_event(&self, event: &Event) -> bool {
        let Some(rest) = self.key.strip_prefix(event.kind.as_str()) else { return false };
        let Some(name) = rest.strip_prefix('.') else { return false };
        event
            .attributes
            .iter()
            .any(|attribute| attribute.index && attribute.key == name && self.test.matches(&attribute.value))
    }
}

impl Test {
    /// True when this value passes.
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Test::Exists => true,
            Test::Contains(text) => value.contains(text.as_str()),
            Test::Compare(comparison, operand) => {
                operand.compare(value).is_some_and(|ordering| comparison.allows(ordering))
            }
        }
    }
}

impl Comparison {
    /// True when a value that stands so to the operand passes.
    pub fn allows(self, value_to_operand: Ordering) -> bool {
        match self {
            Comparison::Equal => value_to_operand.is_eq(),
            Comparison::Less => value_to_operand.is_lt(),
            Comparison::LessOrEqual => value_to_operand.is_le(),
            Comparison::Greater => value_to_operand.is_gt(),
            Comparison::GreaterOrEqual => value_to_operand.is_ge(),
        }
    }

    /// As written in a query.
    pub fn symbol(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Greater => ">",
            Comparison::GreaterOrEqual => ">=",
        }
    }
}

impl Operand {
    /// How a value stands to this operand; `None` when it is not of its kind.
    pub fn compare(&self, value: &str) -> Option<Ordering> {
        match self {
            Operand::Text(text) => Some(value.cmp(text.as_str())),
            Operand::Number(number) => Some(Decimal::leading(value)?.cmp(number)),
            Operand::Time(time, _) => Some(value.parse::<Time>().ok()?.cmp(time)),
            Operand::Date(date, _) => Some(parse::date(value)?.cmp(date)),
        }
    }
}

/// The canonical spelling, as CometBFT prints it.
impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, condition) in self.conditions.iter().enumerate() {
            if index > 0 {
                f.write_str(" AND ")?;
            }
            write!(f, "{condition}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.test {
            Test::Exists => write!(f, "{} EXISTS", self.key),
            Test::Contains(text) => write!(f, "{} CONTAINS '{text}'", self.key),
            Test::Compare(comparison, operand) => write!(f, "{} {} {operand}", self.key, comparison.symbol()),
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Text(text) => write!(f, "'{text}'"),
            Operand::Number(number) => write!(f, "{number}"),
            Operand::Time(_, text) => write!(f, "TIME {text}"),
            Operand::Date(_, text) => write!(f, "DATE {text}"),
        }
    }
}
