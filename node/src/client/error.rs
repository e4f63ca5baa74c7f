//! What can go wrong between a command and a server.

use std::fmt;
use std::io;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;

use super::table::printable;

/// A request that brought no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The key can't stand in a header.
    #[error("the API key holds characters that no API key has")]
    BadKey,
    /// The URL is none, or of another scheme.
    #[error("{0:?} is not a URL such as http://127.0.0.1:8080")]
    BadUrl(String),
    /// TLS without any trusted certificate.
    #[error("https needs the machine's trusted certificates (Debian: the package ca-certificates)")]
    NoTrustedCertificates(#[source] io::Error),
    /// No connection: nothing was sent.
    #[error("{server} can't be reached: {reason}{}", if *.refused { "; is `stint` running there?" } else { "" })]
    Unreachable {
        /// The server's URL.
        server: String,
        /// What the system or TLS says.
        reason: String,
        /// Whether nobody listens there.
        refused: bool,
    },
    /// The connection ended before the answer was complete; the request may have been carried out.
    #[error("{server} ended the connection before it had answered: {reason}")]
    Broken {
        /// The server's URL.
        server: String,
        /// What the system says.
        reason: String,
    },
    /// No complete answer in time; the request may have been carried out.
    #[error("{server} gave no answer within {} s", .deadline.as_secs())]
    TimedOut {
        /// The server's URL.
        server: String,
        /// How long was waited.
        deadline: Duration,
    },
    /// The server says why it refuses.
    #[error("{0}")]
    Refused(Box<ApiProblem>),
    /// The server wants a key, and none was sent.
    #[error("{0}; give a key with --key or STINT_KEY")]
    KeyNeeded(Box<ApiProblem>),
    /// Stint would not have answered so.
    #[error("{url} answered {status}{hint}")]
    Unexpected {
        /// What was asked.
        url: String,
        /// The answer's status.
        status: StatusCode,
        /// What may help.
        hint: String,
    },
    /// A successful answer that isn't what the request asks for.
    #[error("{url} gave an answer that can't be read ({reason}); is it Stint?")]
    Unreadable {
        /// What was asked.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

/// An answer of the type application/problem+json.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ApiProblem {
    /// Which problem it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the problem is, in general.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What went wrong this time.
    pub detail: String,
    /// What to quote when asking for help.
    pub request_id: Option<String>,
}

/// The output can't be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the output")]
pub struct PrintFailed(#[source] pub io::Error);

impl ClientError {
    /// Whether the key is missing, unknown, or may not do this.
    pub fn is_not_allowed(&self) -> bool {
        match self {
            Self::KeyNeeded(_) => true,
            Self::Refused(problem) => matches!(problem.status, 401 | 403),
            _ => false,
        }
    }

    /// Whether the server never saw the request.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

impl fmt::Display for ApiProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, status {}", printable(&self.detail), printable(&self.title), self.status)?;
        match &self.request_id {
            Some(id) => write!(f, ", request {})", printable(id)),
            None => f.write_str(")"),
        }
    }
}

impl PrintFailed {
    /// Whether the reader went away.
    pub fn is_broken_pipe(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_with_what_to_quote() {
        let body = r#"{"type":"/docs/problems/alias-taken","title":"The alias is taken","status":409,
            "detail":"`a` names another link","field":"alias","request_id":"9f-1"}"#;
        let problem: ApiProblem = serde_json::from_str(body).unwrap();
        let line = ClientError::Refused(problem.into()).to_string();
        assert_eq!(line, "`a` names another link (The alias is taken, status 409, request 9f-1)");
    }

    #[test]
    fn a_server_that_is_not_running_is_named_with_a_hint() {
        let refused = ClientError::Unreachable {
            server: "http://127.0.0.1:8080".into(),
            reason: "connection refused".into(),
            refused: true,
        };
        let line = "http://127.0.0.1:8080 can't be reached: connection refused; is `stint` running there?";
        assert_eq!(refused.to_string(), line);
    }
}
