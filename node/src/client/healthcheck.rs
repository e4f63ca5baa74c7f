//! `stint healthcheck`: one question, for container and service managers.

use std::sync::Arc;

use super::error::ClientError;
use super::http::{Answer, ApiClient, Call};
use super::retry::RetryPolicy;
use crate::ports::entropy::Entropy;

/// The longest body shown, in characters.
const SHOWN: usize = 500;

/// Why a node is not ready.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotReady {
    #[error("{0}")]
    NoAnswer(#[from] ClientError),
    #[error("{0}")]
    Answer(String),
}

pub(super) async fn check(url: &str, entropy: Arc<dyn Entropy>) -> Result<(), NotReady> {
    let answer = ApiClient::new(url, None, RetryPolicy::NONE, entropy)?.send(&Call::get("")).await?;
    if answer.status == 200 { Ok(()) } else { Err(NotReady::Answer(describe(&answer))) }
}

/// One line: the status and what the body says.
fn describe(answer: &Answer) -> String {
    let body = String::from_utf8_lossy(&answer.body);
    let words = body.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    let says: String = words.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    let colon = if says.is_empty() { "" } else { ": " };
    format!("{} answered {}{colon}{says}", answer.url, answer.status.as_u16())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::StatusCode;

    use super::*;

    #[test]
    fn what_the_body_says_becomes_one_line() {
        let answer = |body| Answer {
            url: "http://a/readyz".into(),
            status: StatusCode::SERVICE_UNAVAILABLE,
            location: None,
            retry_after: None,
            body: Bytes::from_static(body),
            anonymous: true,
        };
        let line = "http://a/readyz answered 503: database: away; allocator: ok";
        assert_eq!(describe(&answer(b"database: away\r\n\nallocator: ok\n")), line);
        assert_eq!(describe(&answer(b"")), "http://a/readyz answered 503");
    }
}
