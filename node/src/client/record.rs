//! A JSON object whose fields keep their order.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// The fields of an object, in order; a repeated one is refused, as the server refuses it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Record(Vec<(String, Value)>);

impl Record {
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let place = self.0.iter().position(|(field, _)| field == name)?;
        Some(self.0.remove(place).1)
    }

    pub(super) fn push(&mut self, name: &str, value: impl Into<Value>) {
        self.0.push((name.to_owned(), value.into()));
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&str, &Value) -> bool) {
        self.0.retain(|(field, value)| keep(field, value));
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (field, value) in &self.0 {
            map.serialize_entry(field, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Record;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record, A::Error> {
                let mut record = Record::default();
                while let Some((field, value)) = map.next_entry::<String, Value>()? {
                    if record.get(&field).is_some() {
                        return Err(A::Error::custom(format_args!("field `{field}` is given twice")));
                    }
                    record.0.push((field, value));
                }
                Ok(record)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_written_as_it_was_read() {
        let text = r#"{"url":"http://z/","alias":"a","max_visits":18446744073709551615,"tags":["b","a"],"x":null}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), text);
    }

    #[test]
    fn a_repeated_field_and_other_json_are_refused() {
        for text in [r#"{"url":"a","url":"b"}"#, "[]", "3", "null"] {
            assert!(serde_json::from_str::<Record>(text).is_err(), "{text}");
        }
    }
}
