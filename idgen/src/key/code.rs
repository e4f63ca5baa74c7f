//! A code as a small value: 1 to 11 Base62 characters without an allocation.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

use super::SNOWFLAKE_LENGTH;
use crate::base62;

const MAX_LENGTH: usize = SNOWFLAKE_LENGTH as usize;

/// The code of some key: 1 to 10 Base62 characters, or 11 of a value in `1..=2^63-1`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Code {
    /// Zero past the length, so that comparing and hashing the whole is right.
    bytes: [u8; MAX_LENGTH],
    length: u8,
}

/// A text that is the code of no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code has 1 to 10 Base62 characters, or 11 of a value below 2^63")]
pub struct NotACode;

impl Code {
    /// The code's characters.
    #[expect(clippy::missing_panics_doc, reason = "Base62 digits are ASCII")]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).expect("Base62 digits are ASCII")
    }

    /// `value` in `length` characters; the caller keeps it below `62^length`, and `length` within 1 to 11.
    pub(super) fn of(value: u64, length: u32) -> Self {
        let mut bytes = [0; MAX_LENGTH];
        base62::encode(value, &mut bytes[..length as usize]).expect("the value has at most that many digits");
        Self { bytes, length: u8::try_from(length).expect("a code has at most 11 characters") }
    }

    /// The length and the value of `text`, if it is the code of some key.
    pub(super) fn parse(text: &str) -> Option<(u32, u64)> {
        let length = u32::try_from(text.len()).ok().filter(|&length| length <= SNOWFLAKE_LENGTH)?;
        let value = base62::decode(text.as_bytes())?;
        let is_key = length < SNOWFLAKE_LENGTH || (1..=i64::MAX.unsigned_abs()).contains(&value);
        is_key.then_some((length, value))
    }
}

impl FromStr for Code {
    type Err = NotACode;

    fn from_str(text: &str) -> Result<Self, NotACode> {
        Self::parse(text).map(|(length, value)| Self::of(value, length)).ok_or(NotACode)
    }
}

impl TryFrom<String> for Code {
    type Error = NotACode;

    fn try_from(text: String) -> Result<Self, NotACode> {
        text.parse()
    }
}

impl AsRef<str> for Code {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({})", self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
