//! From keys to codes and back, under the deployment's code key.

use std::fmt;

use super::{Code, Key, KeyPlace, PERMUTED_LENGTHS, SNOWFLAKE_LENGTH};
use crate::CodeKey;
use crate::permutation::Permutation;

/// Computes codes from keys and keys from codes. Cloning is cheap.
#[derive(Clone)]
pub struct KeyCodec {
    permutation: Permutation,
}

/// How an alias finds its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasPlace {
    /// The alias is a code: it is the link's primary key.
    Key(Key),
    /// The alias is no code: it is looked up in the table of aliases.
    Table,
}

impl KeyCodec {
    /// The codec of a deployment.
    pub fn new(key: &CodeKey) -> Self {
        Self { permutation: Permutation::new(key) }
    }

    /// The one code of `key`.
    pub fn code(&self, key: Key) -> Code {
        match key.place() {
            KeyPlace::Snowflake(id) => Code::of(id, SNOWFLAKE_LENGTH),
            KeyPlace::Positive { length, position } if PERMUTED_LENGTHS.contains(&length) => {
                Code::of(self.permutation.permute(length, position), length)
            }
            KeyPlace::Positive { length, position } => Code::of(position, length),
        }
    }

    /// The key whose code is `text`; `None` if it is the code of no key.
    pub fn key(&self, text: &str) -> Option<Key> {
        let (length, value) = Code::parse(text)?;
        if length == SNOWFLAKE_LENGTH {
            return Key::from_snowflake(value);
        }
        let position = if PERMUTED_LENGTHS.contains(&length) { self.permutation.invert(length, value) } else { value };
        Some(Key::at(length, position))
    }

    /// How `alias` finds its link. Total: whether the text is allowed as an alias is another question.
    pub fn place_alias(&self, alias: &str) -> AliasPlace {
        self.key(alias).map_or(AliasPlace::Table, AliasPlace::Key)
    }
}

impl fmt::Debug for KeyCodec {
    /// Shows nothing of the code key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyCodec").finish_non_exhaustive()
    }
}
