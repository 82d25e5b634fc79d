//! The four layers of the configuration: flag over environment over config.toml over default.

use super::error::shown;
use super::keys::{KEYS, Key, NEWER_TABLES, Support};
use super::value::{Kind, Value};
use super::{ConfigError, Home, Origin, Warning};
use crate::crash_points;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Most bytes of a config.toml; CometBFT's own has about 25,000.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most warnings kept; a file of another kind would fill the screen.
const WARNINGS_MAX: usize = 20;

/// Variables of the environment without our prefix, their keys, and the unit of a bare number. A variable with the
/// prefix, which can mean nobody else, goes before them.
const PLAIN_VARIABLES: [(&str, &str, Unit); 3] = [
    ("CONSENSUS_ALGORITHM", "consensus.algorithm", Unit::None),
    ("ELECTION_TIMEOUT_MS", "consensus.election_timeout", Unit::Milliseconds),
    ("HEARTBEAT_INTERVAL_MS", "consensus.heartbeat_interval", Unit::Milliseconds),
];

/// What a variable's number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// It is no number.
    None,
    /// The name says so: `_MS`.
    Milliseconds,
}

/// What is set outside config.toml.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Name of the flag without its dashes, name of its key, value.
    pub flags: Vec<(&'static str, &'static str, String)>,
    /// Environment variables: all of them, or only those that say something about the configuration.
    pub environment: Vec<(String, String)>,
}

/// Collects the layers.
#[derive(Debug)]
pub struct Layers {
    values: BTreeMap<&'static str, (Value, Origin)>,
    warnings: Vec<Warning>,
}

/// A value for every key, and where each came from.
#[derive(Debug, Clone)]
pub struct Values(BTreeMap<&'static str, (Value, Origin)>);

impl Layers {
    /// Reads all layers, checks every value, keeps the first of each key.
    pub fn read(home: &Home, overrides: &Overrides) -> Result<(Values, Vec<Warning>), ConfigError> {
        let mut layers = Layers::defaults();
        layers.read_file(&home.config_file())?;
        layers.read_environment(&overrides.environment)?;
        for (flag, name, text) in &overrides.flags {
            let key = Key::named(name).expect("every flag names a key of the table");
            layers.set(key, Origin::Flag((*flag).to_owned()), text)?;
        }
        Ok((Values(layers.values), layers.warnings))
    }

    fn defaults() -> Layers {
        let value = |key: &Key| key.kind.parse(key.default).expect("every default is in its own range (tested)");
        let values = KEYS.iter().map(|key| (key.name, (value(key), Origin::Default))).collect();
        Layers { values, warnings: Vec::new() }
    }

    fn set(&mut self, key: &'static Key, origin: Origin, text: &str) -> Result<(), ConfigError> {
        let value = key.kind.parse(text).ok_or_else(|| bad_value(key, &origin, text))?;
        self.keep(key, origin, value);
        Ok(())
    }

    fn keep(&mut self, key: &'static Key, origin: Origin, value: Value) {
        if let Support::Since(version) = key.support {
            self.warn(format!("{origin}: {} belongs to CometBFT {version}; it has no effect here", key.name));
        }
        self.values.insert(key.name, (value, origin));
    }

    fn warn(&mut self, text: String) {
        if self.warnings.len() < WARNINGS_MAX || mutant!("F90") {
            self.warnings.push(Warning(text));
        }
    }

    // ------------------------------------------------------------------------------------------------ environment

    fn read_environment(&mut self, environment: &[(String, String)]) -> Result<(), ConfigError> {
        for (name, text) in environment.iter().filter(|(_, text)| !text.is_empty()) {
            if let Some((_, key, unit)) = PLAIN_VARIABLES.iter().find(|(plain, ..)| plain == name) {
                self.read_plain(Key::named(key).expect("a key of the table (tested)"), *unit, name, text)?;
            }
        }
        for (name, text) in environment {
            if !name.starts_with(Key::VARIABLE_PREFIX)
                || [Home::VARIABLE, crash_points::VARIABLE].contains(&name.as_str())
            {
                continue;
            }
            match KEYS.iter().find(|key| key.variable() == *name) {
                Some(key) => self.set(key, Origin::Environment(name.clone()), text)?,
                None => self.warn(format!("environment {name} names no configuration key{}", like_variable(name))),
            }
        }
        Ok(())
    }

    fn read_plain(&mut self, key: &'static Key, unit: Unit, name: &str, text: &str) -> Result<(), ConfigError> {
        let origin = Origin::Environment(name.to_owned());
        match (unit, key.kind) {
            (Unit::Milliseconds, Kind::Duration(min, max)) => {
                let value = text.trim().parse().ok().filter(|ms| (min..=max).contains(ms)).map(Duration::from_millis);
                let value = value.map(Value::Duration).ok_or_else(|| ConfigError::BadValue {
                    origin: origin.clone(),
                    key: key.name,
                    value: text.to_owned(),
                    expected: format!("a whole number of milliseconds from {min} to {max}"),
                })?;
                self.keep(key, origin, value);
                Ok(())
            }
            _ => self.set(key, origin, text),
        }
    }

    // ------------------------------------------------------------------------------------------------- config.toml

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = match read_text(path) {
            Ok(text) => text,
            Err(ConfigError::Io { why, .. }) if why.kind() == io::ErrorKind::NotFound => {
                self.warn(format!("{} is missing: defaults are in force (quorate init writes one)", path.display()));
                return Ok(());
            }
            Err(other) => return Err(other),
        };
        let document = DeTable::parse(&text).map_err(|why| ConfigError::Syntax {
            path: path.to_owned(),
            line: line_at(&text, why.span().map_or(0, |span| span.start)),
            why: why.message().lines().next().unwrap_or_default().to_owned(),
        })?;
        self.read_table(&Source { path, text: &text }, "", document.get_ref())
    }

    fn read_table(&mut self, source: &Source<'_>, prefix: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (name, value) in table {
            let full =
                if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
            let origin = source.origin(name.span().start);
            if let Some(key) = Key::named(&full) {
                let value =
                    file_value(key.kind, value).ok_or_else(|| bad_value(key, &origin, source.text_of(value)))?;
                self.keep(key, origin, value);
            } else if let Some((table, version)) = NEWER_TABLES.iter().find(|(table, _)| is_below(&full, table)) {
                if *table == full {
                    self.warn(format!("{origin}: [{full}] belongs to CometBFT {version}; it has no effect here"));
                }
            } else if let Some(table) = value.get_ref().as_table() {
                self.read_table(source, &full, table)?;
            } else {
                self.warn(format!("{origin}: unknown key {} is ignored{}", shown(&full), like_key(&full)));
            }
        }
        Ok(())
    }
}

/// The text being read and where it came from.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn origin(&self, at: usize) -> Origin {
        Origin::File { path: self.path.to_owned(), line: line_at(self.text, at) }
    }

    /// The value as it stands in the file, without its quotes.
    fn text_of(&self, value: &Spanned<DeValue<'_>>) -> &str {
        self.text.get(value.span()).unwrap_or_default().trim_matches('"')
    }
}

/// Checks a config.toml that is in no home, value by value; gives what is worth a word.
pub fn check_file(path: &Path) -> Result<Vec<Warning>, ConfigError> {
    let mut layers = Layers::defaults();
    fs::metadata(path).map_err(|why| ConfigError::io("read", path, why))?;
    layers.read_file(path)?;
    Ok(layers.warnings)
}

/// The text of a config.toml of a size and an encoding that can be one.
pub fn read_text(path: &Path) -> Result<String, ConfigError> {
    let io = |why| ConfigError::io("read", path, why);
    let bad = |why: String| ConfigError::BadFile {
        path: path.to_owned(),
        why,
        expected: "a TOML text of at most 1 MiB",
        next: format!("mv {} config.toml.bad && quorate init   (writes a new one)", path.display()),
    };
    let meta = fs::metadata(path).map_err(io)?;
    if !meta.is_file() {
        return Err(bad("not a file".to_owned()));
    }
    if meta.len() > FILE_BYTES_MAX && !mutant!("F91") {
        return Err(bad(format!("{} bytes are too many for a configuration", meta.len())));
    }
    String::from_utf8(fs::read(path).map_err(io)?).map_err(|_| bad("not UTF-8 text".to_owned()))
}

/// A TOML value as its kind wants it. Numbers and truth values may stand in quotes, as viper allows; a bare number is
/// no duration, because CometBFT would silently take it for nanoseconds.
fn file_value(kind: Kind, value: &Spanned<DeValue<'_>>) -> Option<Value> {
    match (kind, value.get_ref()) {
        (Kind::Bool, DeValue::Boolean(value)) => Some(Value::Bool(*value)),
        (_, DeValue::String(text)) => kind.parse(text),
        (Kind::Number(..) | Kind::Text(_), DeValue::Integer(number)) => {
            let digits = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
            kind.parse(&digits.to_string())
        }
        (Kind::List, DeValue::Array(items)) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().map(Value::List)
        }
        _ => None,
    }
}

fn bad_value(key: &'static Key, origin: &Origin, text: &str) -> ConfigError {
    ConfigError::BadValue {
        origin: origin.clone(),
        key: key.name,
        value: text.to_owned(),
        expected: key.kind.expected(),
    }
}

pub(super) fn line_at(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

fn is_below(name: &str, table: &str) -> bool {
    name.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn like_key(name: &str) -> String {
    Key::nearest(name).map(|known| format!("; did you mean {known}?")).unwrap_or_default()
}

fn like_variable(name: &str) -> String {
    let like = KEYS.iter().map(Key::variable).min_by_key(|known| strsim::damerau_levenshtein(known, name));
    match like {
        Some(like) if strsim::damerau_levenshtein(&like, name) <= 4 => format!("; did you mean {like}?"),
        _ => String::new(),
    }
}

impl Values {
    fn get(&self, name: &str) -> &(Value, Origin) {
        let found = self.0.get(name);
        found.unwrap_or_else(|| unreachable!("{name} is a key of the table: every accessor is run by every load"))
    }

    /// Where the value came from.
    pub fn origin(&self, name: &str) -> &Origin {
        &self.get(name).1
    }

    /// The value.
    pub fn value(&self, name: &str) -> &Value {
        &self.get(name).0
    }

    pub(super) fn bool(&self, name: &str) -> bool {
        matches!(self.value(name), Value::Bool(true))
    }

    pub(super) fn number(&self, name: &str) -> u64 {
        if let Value::Number(value) = self.value(name) { *value } else { unreachable!("{name} holds a number") }
    }

    /// A number where 0 means none.
    pub(super) fn limit(&self, name: &str) -> Option<u64> {
        Some(self.number(name)).filter(|number| *number > 0)
    }

    pub(super) fn duration(&self, name: &str) -> Duration {
        if let Value::Duration(value) = self.value(name) { *value } else { unreachable!("{name} holds a duration") }
    }

    pub(super) fn text(&self, name: &str) -> &str {
        if let Value::Text(value) = self.value(name) { value } else { unreachable!("{name} holds text") }
    }

    pub(super) fn list(&self, name: &str) -> &[String] {
        if let Value::List(values) = self.value(name) { values } else { unreachable!("{name} holds a list") }
    }

    /// A complaint about the value of a key that is fine alone but not beside another.
    pub(super) fn contradiction(&self, name: &str, expected: String) -> ConfigError {
        let key = Key::named(name).expect("a key of the table");
        let value = self.value(name).to_string().trim_matches('"').to_owned();
        ConfigError::BadValue { origin: self.origin(name).clone(), key: key.name, value, expected }
    }
}
