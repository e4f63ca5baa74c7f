//! Why a node refuses a call, as it travels: a status, a word for programs, a sentence for people.

use std::fmt;

use http::StatusCode;

/// The header that carries the word.
pub(in super::super) const REFUSED: &str = "stint-refused";

/// The kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The cluster secret is missing or another one.
    Secret,
    /// The caller belongs to another cluster.
    Cluster,
    /// The call is for another node, or for another data directory of that node.
    Target,
    /// The caller is not the member it says it is.
    Sender,
    /// The node has no data: it is in no cluster yet.
    Empty,
    /// The message can't be read.
    Message,
    /// The members can't be changed as asked.
    Members,
    /// It was not done, and may be tried again.
    Unavailable,
    /// It is not known whether it was done.
    Unknown,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Its kind.
    pub kind: RefusalKind,
    /// The sentence.
    pub message: String,
}

const WORDS: [(RefusalKind, &str, StatusCode); 9] = [
    (RefusalKind::Secret, "secret", StatusCode::UNAUTHORIZED),
    (RefusalKind::Cluster, "cluster", StatusCode::CONFLICT),
    (RefusalKind::Target, "target", StatusCode::MISDIRECTED_REQUEST),
    (RefusalKind::Sender, "sender", StatusCode::FORBIDDEN),
    (RefusalKind::Empty, "empty", StatusCode::NOT_FOUND),
    (RefusalKind::Message, "message", StatusCode::BAD_REQUEST),
    (RefusalKind::Members, "members", StatusCode::CONFLICT),
    (RefusalKind::Unavailable, "unavailable", StatusCode::SERVICE_UNAVAILABLE),
    (RefusalKind::Unknown, "unknown", StatusCode::GATEWAY_TIMEOUT),
];

impl RefusalKind {
    /// The word that travels.
    pub(in super::super) fn word(self) -> &'static str {
        self.row().1
    }

    /// The status that it travels with.
    pub(in super::super) fn status(self) -> StatusCode {
        self.row().2
    }

    /// The kind of a word that came.
    pub(in super::super) fn of(word: &str) -> Option<Self> {
        WORDS.iter().find(|(_, known, _)| *known == word).map(|(kind, _, _)| *kind)
    }

    /// Whether the two don't belong together: configuration or data is wrong, and only a person can put it right.
    pub const fn is_about_identity(self) -> bool {
        matches!(self, Self::Secret | Self::Cluster | Self::Sender | Self::Target)
    }

    fn row(self) -> (Self, &'static str, StatusCode) {
        *WORDS.iter().find(|(kind, _, _)| *kind == self).expect("every kind has a word")
    }
}

impl Refusal {
    /// A refusal of this kind, with a sentence.
    pub(in super::super) fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
