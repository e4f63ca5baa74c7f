//! An answer, as far as the commands look at it.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header;
use hyper::http::response::Parts;
use serde::de::DeserializeOwned;

use crate::client::error::{ApiProblem, ClientError};
use crate::client::table::printable;

/// A complete answer.
#[derive(Debug)]
pub(in crate::client) struct Answer {
    /// What was asked.
    pub(in crate::client) url: String,
    pub(in crate::client) status: StatusCode,
    /// Where a redirect leads.
    pub(in crate::client) location: Option<String>,
    pub(in crate::client) retry_after: Option<Duration>,
    pub(in crate::client) body: Bytes,
    /// Whether the request had no key.
    pub(in crate::client) anonymous: bool,
}

impl Answer {
    pub(super) fn new(url: String, anonymous: bool, head: &Parts, body: Bytes) -> Self {
        let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
        // The other form, a date, would need a clock that agrees with the server's.
        let retry_after = text(header::RETRY_AFTER).and_then(|value| value.parse().ok()).map(Duration::from_secs);
        let location = text(header::LOCATION).map(str::to_owned);
        Self { url, status: head.status, location, retry_after, body, anonymous }
    }

    /// The answer if its status is 2xx, else why not.
    pub(in crate::client) fn success(self) -> Result<Self, ClientError> {
        if self.status.is_success() { Ok(self) } else { Err(self.into_error()) }
    }

    /// The problem in the body, if it is one.
    pub(in crate::client) fn problem(&self) -> Option<ApiProblem> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The error that an answer of another status than 2xx is.
    pub(in crate::client) fn into_error(self) -> ClientError {
        if let Some(problem) = self.problem() {
            let problem = Box::new(problem);
            let key_needed = self.anonymous && self.status == StatusCode::UNAUTHORIZED;
            return if key_needed { ClientError::KeyNeeded(problem) } else { ClientError::Refused(problem) };
        }
        let hint = match &self.location {
            Some(location) => format!(" and leads to {}", printable(location)),
            None if self.status.is_client_error() => "; is it Stint?".to_owned(),
            None => String::new(),
        };
        ClientError::Unexpected { url: self.url, status: self.status, hint }
    }

    /// The body as JSON.
    pub(in crate::client) fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body)
            .map_err(|error| ClientError::Unreadable { url: self.url.clone(), reason: error.to_string() })
    }
}
