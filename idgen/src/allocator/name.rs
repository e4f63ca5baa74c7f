//! The names of namespaces: validated when made, so a name in hand is a valid one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const MAX_LENGTH: usize = 64;
const LINKS: &str = "links";

/// The name of a namespace: 1 to 64 characters of `a-z0-9._-`, beginning with a letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamespaceName(String);

/// Why a text names no namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamespaceNameError {
    /// It is empty, or longer than 64 bytes.
    #[error("a namespace's name has 1 to 64 characters, not {found}")]
    Length {
        /// How long it is, in bytes.
        found: usize,
    },
    /// It begins with something else than a letter.
    #[error("a namespace's name begins with a letter, a to z")]
    FirstCharacter,
    /// It has a character that is not allowed.
    #[error("a namespace's name is made of a-z, 0-9, `.`, `_` and `-`, without `{0}`", found.escape_default())]
    Character {
        /// The first such character.
        found: char,
    },
}

impl NamespaceName {
    /// The namespace that links are keyed from; not open to others.
    pub fn links() -> Self {
        Self(LINKS.to_owned())
    }

    /// Whether this is the namespace of links.
    pub fn is_links(&self) -> bool {
        self.0 == LINKS
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for NamespaceName {
    type Error = NamespaceNameError;

    fn try_from(text: String) -> Result<Self, NamespaceNameError> {
        if text.is_empty() || text.len() > MAX_LENGTH {
            return Err(NamespaceNameError::Length { found: text.len() });
        }
        let allowed = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-');
        if let Some(found) = text.chars().find(|&c| !allowed(c)) {
            return Err(NamespaceNameError::Character { found });
        }
        if !text.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Err(NamespaceNameError::FirstCharacter);
        }
        Ok(Self(text))
    }
}

impl FromStr for NamespaceName {
    type Err = NamespaceNameError;

    fn from_str(text: &str) -> Result<Self, NamespaceNameError> {
        text.to_owned().try_into()
    }
}

impl From<NamespaceName> for String {
    fn from(name: NamespaceName) -> Self {
        name.0
    }
}

impl AsRef<str> for NamespaceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NamespaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_lower_case_and_begin_with_a_letter() {
        let longest = "a".repeat(64);
        for name in ["links", "a", "orders.eu-west_2", longest.as_str()] {
            assert_eq!(name.parse::<NamespaceName>().unwrap().as_str(), name);
        }
        assert_eq!("".parse::<NamespaceName>(), Err(NamespaceNameError::Length { found: 0 }));
        assert_eq!("a".repeat(65).parse::<NamespaceName>(), Err(NamespaceNameError::Length { found: 65 }));
        assert_eq!("1a".parse::<NamespaceName>(), Err(NamespaceNameError::FirstCharacter));
        for (name, found) in [("aB", 'B'), ("a b", ' '), ("a/b", '/'), ("aé", 'é'), ("a\n", '\n')] {
            assert_eq!(name.parse::<NamespaceName>(), Err(NamespaceNameError::Character { found }));
        }
    }

    #[test]
    fn a_bad_name_does_not_come_in_through_serde() {
        let bytes = postcard::to_allocvec("Links").unwrap();
        assert!(postcard::from_bytes::<NamespaceName>(&bytes).is_err());
        let bytes = postcard::to_allocvec(&NamespaceName::links()).unwrap();
        assert!(postcard::from_bytes::<NamespaceName>(&bytes).unwrap().is_links());
    }
}
