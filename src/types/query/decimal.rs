//! Decimal numbers of any length, compared exactly: amounts of tokens are larger than 64 bits and no float holds them.

use std::cmp::Ordering;
use std::fmt;

/// A number of zero or more with an optional fraction.
#[derive(Debug, Clone)]
pub struct Decimal {
    text: String,
    /// Where the fraction begins in `text` (after the point); its end when there is none.
    fraction_at: usize,
}

impl Decimal {
    /// The number a text begins with, by the rule `\d+(\.\d+)?`; `None` when it begins with no digit.
    pub fn leading(text: &str) -> Option<Decimal> {
        let digits = |from: usize| text.bytes().skip(from).take_while(u8::is_ascii_digit).count();
        let whole = digits(0);
        if whole == 0 {
            return None;
        }
        let fraction = if text.as_bytes().get(whole) == Some(&b'.') { digits(whole + 1) } else { 0 };
        let end = if fraction == 0 { whole } else { whole + 1 + fraction };
        let fraction_at = if fraction == 0 { whole } else { whole + 1 };
        Some(Decimal { text: text.get(..end)?.to_owned(), fraction_at })
    }

    /// Digits before the point without leading zeros, and after it without trailing ones.
    fn digits(&self) -> (&str, &str) {
        let (whole, fraction) = self.text.split_at(self.fraction_at);
        (whole.trim_end_matches('.').trim_start_matches('0'), fraction.trim_end_matches('0'))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Decimal) -> Ordering {
        let ((whole, fraction), (other_whole, other_fraction)) = (self.digits(), other.digits());
        // Without leading zeros the longer one is larger; digits of equal length compare as text.
        whole.len().cmp(&other_whole.len()).then(whole.cmp(other_whole)).then(fraction.cmp(other_fraction))
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Decimal) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Decimal) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Decimal {}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
