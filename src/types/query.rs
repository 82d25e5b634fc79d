//! The query language of subscriptions and searches (reference §8.7).

/// A parsed query: conditions that must all hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    conditions: Vec<Condition>,
}

/// One condition on a composite key such as `tx.height` or `transfer.sender`.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The composite key.
    pub key: String,
    /// What must hold for it.
    pub test: Test,
}

/// What must hold for a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// The key is there.
    Exists,
    /// Some value contains this text.
    Contains(String),
}

impl Query {
    /// All conditions, in the order written.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}
