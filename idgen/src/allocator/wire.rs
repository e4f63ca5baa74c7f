//! How the allocator's values become bytes: one version byte, then postcard, to the last byte.
//!
//! A version that is not known is told apart from damage, so that a node can say "upgrade me" instead of "I am broken".

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes were not decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A newer version of Stint wrote them.
    #[error("the bytes have version {found}, but only versions up to {supported} are known")]
    Newer {
        /// Their version.
        found: u8,
        /// The newest version that can be read.
        supported: u8,
    },
    /// They are damaged.
    #[error("the bytes are corrupt: {reason}")]
    Corrupt {
        /// What is wrong with them.
        reason: String,
    },
}

impl DecodeError {
    pub(super) fn corrupt(reason: impl Into<String>) -> Self {
        Self::Corrupt { reason: reason.into() }
    }
}

/// Bytes that most commands and replies fit in.
const USUAL_SIZE: usize = 128;

pub(super) fn encode<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_SIZE);
    bytes.push(version);
    postcard::to_extend(value, bytes).expect("values of known length are written to memory without fail")
}

pub(super) fn decode<T: DeserializeOwned>(supported: u8, bytes: &[u8]) -> Result<T, DecodeError> {
    version(supported, bytes).and_then(|(_, body)| decode_body(body))
}

/// The version of `bytes`, from 1 to `supported`, and what follows it.
pub(super) fn version(supported: u8, bytes: &[u8]) -> Result<(u8, &[u8]), DecodeError> {
    let (&found, body) = bytes.split_first().ok_or_else(|| DecodeError::corrupt("there are none"))?;
    if found > supported {
        return Err(DecodeError::Newer { found, supported });
    }
    if found == 0 {
        return Err(DecodeError::corrupt("there is no version 0"));
    }
    Ok((found, body))
}

pub(super) fn decode_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    let (value, rest) = postcard::take_from_bytes(body).map_err(|error| DecodeError::corrupt(error.to_string()))?;
    if !rest.is_empty() {
        return Err(DecodeError::corrupt(format!("{} bytes too many", rest.len())));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        assert_eq!(decode::<u8>(1, &[2, 7]), Err(DecodeError::Newer { found: 2, supported: 1 }));
        for damaged in [&[][..], &[0, 7], &[1], &[1, 7, 7]] {
            assert!(matches!(decode::<u8>(1, damaged), Err(DecodeError::Corrupt { .. })), "{damaged:?}");
        }
        assert_eq!(decode(1, &encode(1, &7_u8)), Ok(7_u8));
    }
}
