//! Changing single keys of a config.toml and leaving everything else, comments included, as a person wrote it.

use super::ConfigError;
use super::keys::Key;
use super::layers::line_at;
use super::value::Value;
use std::ops::Range;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// The text with these keys set to these values: in place where a key stands, else below its section's heading.
/// `path` is where the text came from, for the message when it is not TOML.
///
/// # Panics
/// When a name is no key of the table.
pub fn set_keys(text: &str, path: &Path, changes: &[(&str, Value)]) -> Result<String, ConfigError> {
    let mut text = text.to_owned();
    for (name, value) in changes {
        let key = Key::named(name).expect("callers change keys of the table");
        let (section, last) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        match find(&text, path, key)? {
            Some(place) => text.replace_range(place, &value.to_string()),
            None => insert(&mut text, section, &format!("{last} = {value}\n")),
        }
    }
    Ok(text)
}

/// Where the value of a key stands.
fn find(text: &str, path: &Path, key: &'static Key) -> Result<Option<Range<usize>>, ConfigError> {
    let document = DeTable::parse(text).map_err(|why| ConfigError::Syntax {
        path: path.to_owned(),
        line: line_at(text, why.span().map_or(0, |span| span.start)),
        why: why.message().lines().next().unwrap_or_default().to_owned(),
    })?;
    Ok(find_below(document.get_ref(), "", key))
}

fn find_below(table: &DeTable<'_>, prefix: &str, key: &'static Key) -> Option<Range<usize>> {
    table.iter().find_map(|(name, value)| {
        let full = if prefix.is_empty() { name.get_ref().to_string() } else { format!("{prefix}.{}", name.get_ref()) };
        match value.get_ref() {
            DeValue::Table(table) => find_below(table, &full, key),
            _ => Key::named(&full).is_some_and(|found| found.name == key.name).then(|| value.span()),
        }
    })
}

/// Puts a line at the head of its section, making the section when there is none.
fn insert(text: &mut String, section: &str, line: &str) {
    if section.is_empty() {
        text.insert_str(0, line);
        return;
    }
    let mut at = 0;
    for row in text.split_inclusive('\n') {
        at += row.len();
        let heading = row.split('#').next().unwrap_or_default().trim();
        if heading.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(|name| name.trim() == section)
        {
            let line = if row.ends_with('\n') { line.to_owned() } else { format!("\n{line}") };
            text.insert_str(at, &line);
            return;
        }
    }
    text.push_str(&format!("\n[{section}]\n{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, name: &str, value: Value) -> String {
        set_keys(text, Path::new("config.toml"), &[(name, value)]).unwrap()
    }

    #[test]
    fn a_key_that_stands_is_changed_and_its_neighbours_are_not() {
        let text = "moniker = \"a\" # me\n\n[p2p]\n# who\nladdr = \"x\"\npex = true\n[rpc]\nladdr = 'y'\n";
        assert_eq!(
            set(text, "p2p.laddr", Value::Text("tcp://1.2.3.4:5".to_owned())),
            text.replace("\"x\"", "\"tcp://1.2.3.4:5\"")
        );
        assert_eq!(set(text, "rpc.laddr", Value::Text("z".to_owned())), text.replace("'y'", "\"z\""));
        assert_eq!(set(text, "p2p.pex", Value::Bool(false)), text.replace("true", "false"));
        assert_eq!(set(text, "moniker", Value::Text("b".to_owned())), text.replace("\"a\"", "\"b\""));
    }

    #[test]
    fn a_missing_key_gets_a_line_and_a_missing_section_a_heading() {
        let strict = || Value::Bool(false);
        assert_eq!(
            set("[p2p] # x\na = 1\n", "p2p.addr_book_strict", strict()),
            "[p2p] # x\naddr_book_strict = false\na = 1\n"
        );
        assert_eq!(set("[p2p]", "p2p.addr_book_strict", strict()), "[p2p]\naddr_book_strict = false\n");
        assert_eq!(set("a = 1\n", "p2p.pex", strict()), "a = 1\n\n[p2p]\npex = false\n");
        assert_eq!(set("[p2p]\n", "moniker", Value::Text("m".to_owned())), "moniker = \"m\"\n[p2p]\n");
        // Written with a dot it is the same key; keys with dashes are those with underscores.
        assert_eq!(set("p2p.pex = true\n", "p2p.pex", strict()), "p2p.pex = false\n");
    }

    #[test]
    fn what_is_not_toml_is_said_with_its_line() {
        let error = set_keys("a = 1\n[", Path::new("config.toml"), &[("p2p.pex", Value::Bool(true))]).unwrap_err();
        assert!(error.to_string().contains("config.toml:2: this is not TOML"), "{error}");
    }
}
