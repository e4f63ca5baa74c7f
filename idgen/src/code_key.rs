//! The code key: the deployment's 128-bit secret under which keys become codes.
//!
//! It is set once and can't be rotated: another key means other codes. It never shows in logs; nodes compare its
//! fingerprint.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// Keeps the fingerprint apart from any other hash of the same bytes.
const FINGERPRINT_DOMAIN: &[u8] = b"stint code key fingerprint v1\0";

/// An AES-128 key, given as 32 hexadecimal digits. `Debug` and `Display` show its fingerprint only.
#[derive(Clone, PartialEq, Eq)]
pub struct CodeKey([u8; 16]);

/// Why a text is no code key. The text itself is left out: it may be a mistyped secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeKeyError {
    /// It has another number of characters.
    #[error("a code key has 32 hexadecimal digits, not {found} characters")]
    Length {
        /// How many it has.
        found: usize,
    },
    /// A character is no hexadecimal digit.
    #[error("a code key has hexadecimal digits only, but character {position} is none")]
    Digit {
        /// Which one, from 1.
        position: usize,
    },
}

impl CodeKey {
    /// The key of these bytes, which must come from a cryptographic source of randomness.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The secret itself, as it is parsed: for the file that keeps it, never for a log.
    pub fn expose_hex(&self) -> String {
        hex(&self.0)
    }

    /// 16 hexadecimal digits that name the key without telling it: the first 8 bytes of a domain-separated SHA-256.
    pub fn fingerprint(&self) -> String {
        let digest = Sha256::new().chain_update(FINGERPRINT_DOMAIN).chain_update(self.0).finalize();
        hex(&digest[..8])
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl FromStr for CodeKey {
    type Err = CodeKeyError;

    fn from_str(text: &str) -> Result<Self, CodeKeyError> {
        let found = text.chars().count();
        if found != 32 {
            return Err(CodeKeyError::Length { found });
        }
        let mut bytes = [0; 16];
        for (index, character) in text.chars().enumerate() {
            let digit = character.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let digit = digit.ok_or(CodeKeyError::Digit { position: index + 1 })?;
            bytes[index / 2] = bytes[index / 2] << 4 | digit;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for CodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CodeKey({self})")
    }
}

impl fmt::Display for CodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<secret, fingerprint {}>", self.fingerprint())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing into a string does not fail");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "000102030405060708090a0b0c0d0eFF";

    #[test]
    fn thirty_two_hex_digits_of_either_case_are_a_key() {
        let key: CodeKey = TEXT.parse().unwrap();
        assert_eq!(key.as_bytes(), &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(key.expose_hex(), TEXT.to_lowercase());
    }

    #[test]
    fn a_refusal_says_what_is_wrong_and_does_not_repeat_the_text() {
        assert_eq!("".parse::<CodeKey>(), Err(CodeKeyError::Length { found: 0 }));
        assert_eq!(TEXT[1..].parse::<CodeKey>(), Err(CodeKeyError::Length { found: 31 }));
        assert_eq!(TEXT.replace('F', "g").parse::<CodeKey>(), Err(CodeKeyError::Digit { position: 31 }));
        assert_eq!("é".repeat(32).parse::<CodeKey>(), Err(CodeKeyError::Digit { position: 1 }));
        assert!(format!("+{}", &TEXT[1..]).parse::<CodeKey>().is_err());
    }

    #[test]
    fn no_formatting_shows_the_secret() {
        let key: CodeKey = TEXT.parse().unwrap();
        for shown in [format!("{key}"), format!("{key:?}"), format!("{key:#?}")] {
            assert!(!shown.contains(&TEXT[..8]) && shown.contains(&key.fingerprint()), "{shown}");
        }
    }

    #[test]
    fn the_fingerprint_is_pinned() {
        // sha256("stint code key fingerprint v1\0" + 16 zero bytes), by another implementation.
        assert_eq!(CodeKey::from_bytes([0; 16]).fingerprint(), "b22ccece7fa6d513");
    }
}
