//! Quantiles, and how they are printed.

use serde_json::{Value, json};

/// Milliseconds in order.
#[derive(Debug)]
pub struct Millis(Vec<f64>);

impl Millis {
    pub fn new(mut millis: Vec<f64>) -> Millis {
        millis.sort_by(f64::total_cmp);
        Millis(millis)
    }

    pub fn all(&self) -> &[f64] {
        &self.0
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The value that this part of all do not exceed; none when there are no values.
    pub fn percentile(&self, percent: usize) -> Option<f64> {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied()
    }

    pub fn json(&self) -> Value {
        json!({
            "count": self.count(),
            "p50": self.percentile(50),
            "p99": self.percentile(99),
            "max": self.percentile(100),
        })
    }
}

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Some(p50), Some(p99), Some(max)) = (self.percentile(50), self.percentile(99), self.percentile(100)) else {
            return f.write_str("none");
        };
        write!(f, "p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.0} ms ({} values)", self.count())
    }
}
