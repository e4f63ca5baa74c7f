//! Titles and tags: short texts that people give to links.

use std::fmt;
use std::str::FromStr;

/// The longest title, in characters.
pub const MAX_TITLE_LENGTH: usize = 300;
/// The longest tag, in characters.
pub const MAX_TAG_LENGTH: usize = 64;
/// The most tags one link may have.
pub const MAX_TAGS: usize = 20;

/// A link's title: 1 to 300 characters, no control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Title(String);

/// A tag: 1 to 64 characters, no control characters, no comma.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// A link's tags: at most 20, sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Vec<Tag>);

/// Why a text is no title or tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Nothing but white space.
    #[error("give it at least one visible character, or leave it out")]
    Empty,
    /// Too many characters.
    #[error("use at most {max} characters")]
    TooLong {
        /// The most there may be.
        max: usize,
    },
    /// A control character, NUL among them: databases refuse it and terminals obey it.
    #[error("leave out control characters (a line break, a tab, \\u0000)")]
    ControlCharacter,
    /// A comma in a tag.
    #[error("leave the comma out: it separates tags")]
    Comma,
    /// Too many tags.
    #[error("use at most {MAX_TAGS} tags")]
    TooMany,
}

fn check(text: &str, max: usize) -> Result<(), LabelError> {
    if text.trim().is_empty() {
        return Err(LabelError::Empty);
    }
    if text.chars().count() > max {
        return Err(LabelError::TooLong { max });
    }
    if text.chars().any(char::is_control) {
        return Err(LabelError::ControlCharacter);
    }
    Ok(())
}

impl Title {
    /// A title read back from where it was stored, where it was validated.
    pub const fn from_stored(title: String) -> Self {
        Self(title)
    }

    /// The title as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tag {
    /// The tag as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Tags {
    /// The given texts as tags: sorted, repeated ones once.
    ///
    /// # Errors
    /// [`LabelError`] for the first text that is no tag, or for too many.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, LabelError> {
        let mut tags = texts.iter().map(|text| text.as_ref().parse()).collect::<Result<Vec<Tag>, _>>()?;
        tags.sort_unstable();
        tags.dedup();
        if tags.len() > MAX_TAGS { Err(LabelError::TooMany) } else { Ok(Self(tags)) }
    }

    /// Tags read back from where they were stored, where they were validated.
    pub fn from_stored(tags: Vec<String>) -> Self {
        Self(tags.into_iter().map(Tag).collect())
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tags, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Tag::as_str)
    }
}

impl FromStr for Title {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        check(text, MAX_TITLE_LENGTH)?;
        Ok(Self(text.to_owned()))
    }
}

impl FromStr for Tag {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        check(text, MAX_TAG_LENGTH)?;
        if text.contains(',') { Err(LabelError::Comma) } else { Ok(Self(text.to_owned())) }
    }
}

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_keep_any_visible_text() {
        for text in ["Summer sale", "été 🏖️", &"x".repeat(300), "a, b"] {
            assert_eq!(text.parse::<Title>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn nul_and_other_control_characters_are_refused() {
        for text in ["a\0b", "a\nb", "a\u{7f}", "\u{85}x"] {
            assert_eq!(text.parse::<Title>(), Err(LabelError::ControlCharacter), "{text:?}");
        }
    }

    #[test]
    fn tags_are_sorted_and_kept_once() {
        let tags = Tags::parse(&["b", "a", "b"]).unwrap();
        assert_eq!(tags.iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(Tags::parse(&["a,b"]), Err(LabelError::Comma));
        let many: Vec<String> = (0..21).map(|n| n.to_string()).collect();
        assert_eq!(Tags::parse(&many), Err(LabelError::TooMany));
    }
}
