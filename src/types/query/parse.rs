//! Reads queries. Error texts have CometBFT's shape: the offset in bytes, what was met and what was wanted.

use super::{Comparison, Condition, Decimal, Operand, Test, Time};

/// A text that is not a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset}: {problem}")]
pub struct QueryError {
    /// Where, in bytes from the beginning.
    pub offset: usize,
    /// What is wrong there.
    pub problem: String,
}

/// Years a TIME or DATE may name.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=2999;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Invalid,
    Tag,
    Text,
    Number,
    Timestamp,
    Datestamp,
    And,
    Contains,
    Exists,
    Compare(Comparison),
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Invalid => "invalid token",
            Kind::Tag => "tag",
            Kind::Text => "string",
            Kind::Number => "number",
            Kind::Timestamp => "timestamp",
            Kind::Datestamp => "datestamp",
            Kind::And => "AND operator",
            Kind::Contains => "CONTAINS operator",
            Kind::Exists => "EXISTS operator",
            Kind::Compare(Comparison::Equal) => "= operator",
            Kind::Compare(Comparison::Less) => "< operator",
            Kind::Compare(Comparison::LessOrEqual) => "<= operator",
            Kind::Compare(Comparison::Greater) => "> operator",
            Kind::Compare(Comparison::GreaterOrEqual) => ">= operator",
        }
    }
}

const OPERATORS: [Kind; 7] = [
    Kind::Compare(Comparison::LessOrEqual),
    Kind::Compare(Comparison::GreaterOrEqual),
    Kind::Compare(Comparison::Less),
    Kind::Compare(Comparison::Greater),
    Kind::Compare(Comparison::Equal),
    Kind::Contains,
    Kind::Exists,
];

struct Token<'a> {
    kind: Kind,
    text: &'a str,
    offset: usize,
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// Reads a whole query.
pub(super) fn parse(text: &str) -> Result<Vec<Condition>, QueryError> {
    let mut scanner = Scanner { text, at: 0 };
    let mut conditions = vec![condition(&mut scanner)?];
    while !scanner.at_end() {
        let offset = scanner.at;
        let found = scanner.next().map_or(Kind::Invalid, |token| token.kind);
        if found != Kind::And {
            return Err(QueryError { offset, problem: format!("got {}, want AND operator", found.name()) });
        }
        conditions.push(condition(&mut scanner)?);
    }
    Ok(conditions)
}

fn condition(scanner: &mut Scanner<'_>) -> Result<Condition, QueryError> {
    let key = scanner.require(&[Kind::Tag])?.text.to_owned();
    let operator = scanner.require(&OPERATORS)?;
    let test = match operator.kind {
        Kind::Exists => Test::Exists,
        Kind::Contains => Test::Contains(scanner.require(&[Kind::Text])?.text.to_owned()),
        Kind::Compare(Comparison::Equal) => {
            let token = scanner.require(&[Kind::Number, Kind::Timestamp, Kind::Datestamp, Kind::Text])?;
            Test::Compare(Comparison::Equal, operand(&token)?)
        }
        Kind::Compare(comparison) => {
            let token = scanner.require(&[Kind::Number, Kind::Timestamp, Kind::Datestamp])?;
            Test::Compare(comparison, operand(&token)?)
        }
        other => return Err(QueryError { offset: operator.offset, problem: format!("unexpected {}", other.name()) }),
    };
    Ok(Condition { key, test })
}

fn operand(token: &Token<'_>) -> Result<Operand, QueryError> {
    let wrong = |what: &str, example: &str| QueryError {
        offset: token.offset,
        problem: format!("invalid {what} value {:?}: write it as {what} {example}", token.text),
    };
    let text = token.text.to_owned();
    match token.kind {
        Kind::Number => Decimal::leading(token.text).map(Operand::Number).ok_or_else(|| wrong("number", "5 or 2.5")),
        Kind::Timestamp => {
            let example = "2006-01-02T15:04:05Z, years 1900 to 2999";
            let time = text.parse().ok().filter(|_| year_is_allowed(&text)).ok_or_else(|| wrong("TIME", example))?;
            Ok(Operand::Time(time, text))
        }
        Kind::Datestamp => {
            let example = "2006-01-02, years 1900 to 2999";
            let day = date(&text).filter(|_| year_is_allowed(&text)).ok_or_else(|| wrong("DATE", example))?;
            Ok(Operand::Date(day, text))
        }
        _ => Ok(Operand::Text(text)),
    }
}

fn year_is_allowed(text: &str) -> bool {
    text.get(..4).and_then(|year| year.parse().ok()).is_some_and(|year: i32| YEARS.contains(&year))
}

/// Midnight of a date written `2006-01-02`.
pub(super) fn date(text: &str) -> Option<Time> {
    if text.len() != 10 || text.contains('T') {
        return None;
    }
    format!("{text}T00:00:00Z").parse().ok()
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Skips white space; true when nothing is left.
    fn at_end(&mut self) -> bool {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        self.rest().is_empty()
    }

    /// The next token, which must be one of `wanted`.
    fn require(&mut self, wanted: &[Kind]) -> Result<Token<'a>, QueryError> {
        let token = self.next()?;
        if wanted.contains(&token.kind) {
            return Ok(token);
        }
        let names: Vec<&str> = wanted.iter().map(|kind| kind.name()).collect();
        let wanted = match names.as_slice() {
            [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
            _ => names.concat(),
        };
        Err(QueryError { offset: token.offset, problem: format!("got {}, wanted {wanted}", token.kind.name()) })
    }

    fn next(&mut self) -> Result<Token<'a>, QueryError> {
        if self.at_end() {
            return Err(QueryError { offset: self.at, problem: "EOF".to_owned() });
        }
        let (offset, rest) = (self.at, self.rest());
        let first = rest.chars().next().unwrap_or_default();
        if first.is_ascii_digit() {
            return Ok(self.number(offset));
        }
        if first == '_' || first.is_alphabetic() || first.is_numeric() {
            return Ok(self.word(offset));
        }
        if first == '\'' {
            return self.quoted(offset);
        }
        let (kind, len) = match rest.as_bytes() {
            [b'=', ..] => (Kind::Compare(Comparison::Equal), 1),
            [b'<', b'=', ..] => (Kind::Compare(Comparison::LessOrEqual), 2),
            [b'>', b'=', ..] => (Kind::Compare(Comparison::GreaterOrEqual), 2),
            [b'<', ..] => (Kind::Compare(Comparison::Less), 1),
            [b'>', ..] => (Kind::Compare(Comparison::Greater), 1),
            _ => {
                self.at += first.len_utf8();
                return Err(QueryError { offset, problem: format!("invalid input {first} at offset {}", self.at) });
            }
        };
        Ok(Token { kind, text: self.take(len), offset })
    }

    fn take(&mut self, len: usize) -> &'a str {
        let taken = self.rest().get(..len).unwrap_or_default();
        self.at += taken.len();
        taken
    }

    fn take_while(&mut self, allowed: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.find(|c| !allowed(c)).unwrap_or(rest.len());
        self.take(len)
    }

    /// Digits with an optional fraction, which may be empty: `1.` is 1.
    fn number(&mut self, offset: usize) -> Token<'a> {
        self.take_while(|c| c.is_ascii_digit());
        if self.rest().starts_with('.') {
            self.take(1);
            self.take_while(|c| c.is_ascii_digit());
        }
        Token { kind: Kind::Number, text: self.text.get(offset..self.at).unwrap_or_default(), offset }
    }

    fn quoted(&mut self, offset: usize) -> Result<Token<'a>, QueryError> {
        self.take(1);
        let text = self.take_while(|c| c != '\'');
        if self.take(1).is_empty() {
            return Err(QueryError { offset, problem: "EOF: the string lacks its closing '".to_owned() });
        }
        Ok(Token { kind: Kind::Text, text, offset })
    }

    /// A tag or a keyword. TIME and DATE are keywords only before a space.
    fn word(&mut self, offset: usize) -> Token<'a> {
        let text = self.take_while(|c| matches!(c, '.' | '_' | '-') || c.is_alphabetic() || c.is_numeric());
        let spaced = self.rest().starts_with(' ');
        let kind = match text {
            "AND" => Kind::And,
            "EXISTS" => Kind::Exists,
            "CONTAINS" => Kind::Contains,
            "TIME" if spaced => Kind::Timestamp,
            "DATE" if spaced => Kind::Datestamp,
            _ => Kind::Tag,
        };
        let text = match kind {
            Kind::Timestamp | Kind::Datestamp => {
                self.take(1);
                let is_time = kind == Kind::Timestamp;
                self.take_while(|c| c.is_ascii_digit() || c == '-' || (is_time && matches!(c, 'T' | ':' | '+' | 'Z')))
            }
            _ => text,
        };
        Token { kind, text, offset }
    }
}
