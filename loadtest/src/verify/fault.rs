//! What is wrong with an answer.

use std::fmt;

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What kind of thing it is: the key under which reports count it.
    pub(crate) kind: Kind,
    /// What was seen and what should have been, for people.
    pub(crate) detail: String,
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No answer: whether it was done is not known.
    NoAnswer,
    /// An answer with another status than this request must get; it may have been done if the status is 5xx.
    Status(u16),
    /// An answer that isn't what the API describes.
    Malformed,
    /// A redirect or a stored URL that isn't the one that was sent.
    WrongUrl,
    /// A code or an id that was given before.
    Duplicate,
    /// One URL under two codes, or a link handed out that must not be.
    Reuse,
    /// An alias that not exactly one of those who asked for it got.
    Alias,
}

impl Fault {
    /// A fault of this kind.
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }

    /// Whether the server may have done, and counted, what was asked for.
    pub(crate) const fn may_be_done(&self) -> bool {
        matches!(self.kind, Kind::NoAnswer | Kind::Malformed | Kind::Status(500..))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.detail)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer => f.write_str("no answer"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Malformed => f.write_str("malformed answer"),
            Self::WrongUrl => f.write_str("wrong URL"),
            Self::Duplicate => f.write_str("duplicate"),
            Self::Reuse => f.write_str("wrong reuse"),
            Self::Alias => f.write_str("wrong alias"),
        }
    }
}
