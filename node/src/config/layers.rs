//! The schema, and values laid over each other key by key, each with its source.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::source::Source;
use super::text::split_list;

/// Every key with its default, documented.
pub(super) const DEFAULTS: &str = include_str!("../../config.default.toml");

/// Every key with its default, in the order of `config.default.toml`.
pub(super) struct Schema {
    defaults: Vec<(String, Value)>,
}

/// The defaults, and what was laid over them. No `Debug`: the values are as given, secrets among them.
pub(super) struct Layers {
    schema: Schema,
    given: BTreeMap<String, (Value, Source)>,
}

impl Schema {
    pub(super) fn builtin() -> Self {
        let table = DEFAULTS.parse::<Table>().expect("the built-in defaults are TOML, as a test shows");
        Self { defaults: leaves(&table) }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.defaults.iter().map(|(key, _)| key.as_str())
    }

    fn default_of(&self, key: &str) -> Option<&Value> {
        self.defaults.iter().find(|(known, _)| known == key).map(|(_, default)| default)
    }

    pub(super) fn has_key(&self, key: &str) -> bool {
        self.default_of(key).is_some()
    }

    pub(super) fn has_section(&self, name: &str) -> bool {
        self.keys().any(|key| key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
    }
}

impl Layers {
    pub(super) fn new(schema: Schema) -> Self {
        Self { schema, given: BTreeMap::new() }
    }

    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Lays a value over what the key had.
    pub(super) fn set(&mut self, key: &str, value: Value, source: Source) {
        self.given.insert(key.to_owned(), (value, source));
    }

    /// Lays a text over what the key had, converted by the type of the key's default: the text `0123` stays a text
    /// where a text is wanted.
    pub(super) fn set_text(&mut self, key: &str, text: &str, source: Source) -> Result<(), String> {
        let value = match self.schema.default_of(key) {
            Some(Value::Integer(_)) => match text.trim().replace('_', "").parse() {
                Ok(number) => Value::Integer(number),
                Err(_) => return Err(format!("{text:?} is not a whole number")),
            },
            Some(Value::Boolean(_)) => match text.trim() {
                "true" => Value::Boolean(true),
                "false" => Value::Boolean(false),
                _ => return Err(format!("{text:?} is neither true nor false")),
            },
            Some(Value::Array(_)) => Value::Array(split_list(text).into_iter().map(Value::String).collect()),
            _ => Value::String(text.to_owned()),
        };
        self.set(key, value, source);
        Ok(())
    }

    /// Takes back what was given for the key, so that its default shows again.
    pub(super) fn unset(&mut self, key: &str) -> Option<Source> {
        self.given.remove(key).map(|(_, source)| source)
    }

    /// Where the key's value came from; `None` is the built-in default.
    pub(super) fn source(&self, key: &str) -> Option<&Source> {
        self.given.get(key).map(|(_, source)| source)
    }

    /// Where the values came from that are not built in.
    pub(super) fn into_sources(self) -> BTreeMap<String, Source> {
        self.given.into_iter().map(|(key, (_, source))| (key, source)).collect()
    }

    /// The uppermost value of every key.
    pub(super) fn merged(&self) -> Table {
        let mut root = Table::new();
        for (key, default) in &self.schema.defaults {
            let value = self.given.get(key).map_or(default, |(value, _)| value);
            insert(&mut root, key, value.clone());
        }
        root
    }
}

fn insert(root: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            root.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let section = root.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                insert(section, rest, value);
            }
        }
    }
}

/// Every value that is not a section, with its dotted key. An empty section counts as a value, so that a misspelt one
/// is noticed.
pub(super) fn leaves(table: &Table) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for (name, value) in table {
        match value {
            Value::Table(section) if !section.is_empty() => {
                found.extend(leaves(section).into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            leaf => found.push((name.clone(), leaf.clone())),
        }
    }
    found
}

/// The known name nearest to a misspelt one, as the end of a message; empty if none is near.
pub(super) fn suggestion<'a>(misspelt: &str, known: impl Iterator<Item = &'a str>) -> String {
    let nearest =
        known.map(|name| (strsim::damerau_levenshtein(misspelt, name), name)).min_by_key(|(distance, _)| *distance);
    match nearest {
        // A third of the name wrong is the most that still looks like a slip.
        Some((distance, name)) if distance <= (misspelt.len() / 3).max(2) => format!("; did you mean `{name}`?"),
        _ => String::new(),
    }
}
