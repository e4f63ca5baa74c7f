//! Custom aliases, and the words that are kept for Stint's own pages.

use std::fmt;
use std::str::FromStr;

/// The longest alias, in characters.
pub const MAX_ALIAS_LENGTH: usize = 64;

/// Words that no link may be named by, in any case: all own pages, now and later, live under them.
pub const RESERVED_WORDS: [&str; 12] =
    ["api", "docs", "health", "rest", "ui", "static", "admin", "login", "logout", "metrics", "livez", "readyz"];

/// A custom name for a link: 1 to 64 of `A-Za-z0-9_-`, not reserved.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Alias(String);

/// Why a text can't name a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AliasError {
    /// Nothing was given.
    #[error("give the alias at least one character, or leave it out")]
    Empty,
    /// Longer than [`MAX_ALIAS_LENGTH`].
    #[error("use at most {MAX_ALIAS_LENGTH} characters")]
    TooLong,
    /// A character outside `A-Za-z0-9_-`.
    #[error("use only the characters A-Z, a-z, 0-9, `_` and `-`")]
    BadCharacter,
    /// A reserved word, or one that begins with `_`.
    #[error("this name is kept for Stint's own pages; choose another")]
    Reserved,
}

/// Whether a code or alias is kept for Stint's own pages.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with('_') || RESERVED_WORDS.iter().any(|word| word.eq_ignore_ascii_case(name))
}

/// Whether `name` could name a link at all: the alphabet and length of an alias, which every code keeps too.
pub fn is_well_formed(name: &str) -> bool {
    (1..=MAX_ALIAS_LENGTH).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

impl Alias {
    /// An alias read back from where it was stored, where it was validated.
    pub const fn from_stored(alias: String) -> Self {
        Self(alias)
    }

    /// The alias as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Alias {
    type Err = AliasError;

    fn from_str(text: &str) -> Result<Self, AliasError> {
        if text.is_empty() {
            return Err(AliasError::Empty);
        }
        if text.chars().count() > MAX_ALIAS_LENGTH {
            return Err(AliasError::TooLong);
        }
        if !is_well_formed(text) {
            return Err(AliasError::BadCharacter);
        }
        if is_reserved(text) {
            return Err(AliasError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_aliases_are_kept_as_given() {
        for text in ["a", "summer1", "my-link_2026", &"x".repeat(64), "-", "Api1"] {
            assert_eq!(text.parse::<Alias>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn reserved_words_are_refused_in_any_case() {
        for text in ["api", "API", "ReadyZ", "_x", "_", "metrics"] {
            assert_eq!(text.parse::<Alias>(), Err(AliasError::Reserved), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_the_alphabet_or_length_is_refused() {
        assert_eq!("".parse::<Alias>(), Err(AliasError::Empty));
        assert_eq!("x".repeat(65).parse::<Alias>(), Err(AliasError::TooLong));
        for text in ["a b", "a+", "a/b", "ä", "a.b", "a\0"] {
            assert_eq!(text.parse::<Alias>(), Err(AliasError::BadCharacter), "{text}");
        }
    }
}
