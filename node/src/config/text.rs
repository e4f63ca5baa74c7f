//! Typed values as texts in TOML: `#[serde(with = "text::one")]`, `optional` (`""` is none) and `list`.
//!
//! An error never repeats a value of the wrong type, for it may be a secret that lacks its quotes.

use std::fmt::Display;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use toml::Value;

/// Cuts a list of texts at its commas. A part without a scheme belongs to the URL before it, because a libpq URL names
/// several hosts with commas.
pub(super) fn split_list(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match parts.last_mut() {
            Some(url) if url.contains("://") && !part.contains("://") => {
                url.push(',');
                url.push_str(part);
            }
            _ => parts.push(part.to_owned()),
        }
    }
    parts
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    as_text(Value::deserialize(deserializer)?)
}

fn as_text<E: Error>(value: Value) -> Result<String, E> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(E::custom(format_args!("must be a text in quotes, not of type {}", other.type_str()))),
    }
}

/// One required value.
pub(super) mod one {
    use super::{Deserializer, Display, Error, FromStr, text};

    pub(in crate::config) fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        text(deserializer)?.parse().map_err(D::Error::custom)
    }

    pub(in crate::config) fn serialize<S: serde::Serializer, T: Display>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(value)
    }
}

/// A value that may be missing: `""`.
pub(super) mod optional {
    use super::{Deserializer, Display, Error, FromStr, text};

    pub(in crate::config) fn deserialize<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        let text = text(deserializer)?;
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(D::Error::custom) }
    }

    #[expect(clippy::ref_option, reason = "serde passes the field by reference")]
    pub(in crate::config) fn serialize<S, T>(value: &Option<T>, serializer: S) -> Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
        T: Display,
    {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_str(""),
        }
    }
}

/// A list of values; one text with commas is a list as well.
pub(super) mod list {
    use super::{Deserialize, Deserializer, Display, Error, FromStr, Value, as_text, split_list};

    pub(in crate::config) fn deserialize<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: FromStr<Err: Display>,
    {
        texts(deserializer)?.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }

    pub(in crate::config) fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Array(values) => values.into_iter().map(as_text).collect(),
            Value::String(text) => Ok(split_list(&text)),
            other => Err(D::Error::custom(format_args!("must be a list, not of type {}", other.type_str()))),
        }
    }

    pub(in crate::config) fn serialize<S, T>(values: &[T], serializer: S) -> Result<S::Ok, S::Error>
    where
        S: serde::Serializer,
        T: Display,
    {
        serializer.collect_seq(values.iter().map(ToString::to_string))
    }
}
