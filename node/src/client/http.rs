//! JSON over HTTP, with deadlines and retries: a restarting server is waited for, and no request is repeated that
//! might be carried out twice.

mod answer;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

use super::error::ClientError;
use super::retry::RetryPolicy;
use super::transport::{CONNECT_DEADLINE, Transport};
use crate::config::Secret;
use crate::ports::entropy::Entropy;

pub(super) use answer::Answer;

/// How long one try may take.
const REQUEST_DEADLINE: Duration = Duration::from_secs(30);
/// More than a page of 1,000 of the longest links.
const MAX_ANSWER: usize = 64 << 20;
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A client of one server.
#[derive(Debug)]
pub(super) struct ApiClient {
    transport: Transport,
    server: String,
    authorization: Option<HeaderValue>,
    patience: RetryPolicy,
    entropy: Arc<dyn Entropy>,
    /// A server that never answered isn't restarting: most likely the address is wrong.
    answered: AtomicBool,
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    method: Method,
    path: &'a str,
    body: Bytes,
    idempotency_key: Option<String>,
}

impl ApiClient {
    /// A client of the server at `url`.
    pub(super) fn new(
        url: &str,
        key: Option<&Secret>,
        patience: RetryPolicy,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, ClientError> {
        let bad_url = || ClientError::BadUrl(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad_url())?;
        let transport = match uri.scheme_str() {
            Some("http") => Transport::plain(),
            Some("https") => Transport::tls().map_err(ClientError::NoTrustedCertificates)?,
            _ => return Err(bad_url()),
        };
        let authorization = key.map(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose()))?;
            value.set_sensitive(true);
            Ok::<_, header::InvalidHeaderValue>(value)
        });
        Ok(Self {
            transport,
            server: url.to_owned(),
            authorization: authorization.transpose().map_err(|_| ClientError::BadKey)?,
            patience,
            entropy,
            answered: AtomicBool::new(false),
        })
    }

    /// The JSON at `path`.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(&Call::get(path)).await?.success()?.json()
    }

    /// Sends `call`, and again for as long as that may help and does no harm. The last answer, whatever its status.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Answer, ClientError> {
        let started = Instant::now();
        let mut tried = 0;
        loop {
            let result = self.attempt(call).await;
            tried += 1;
            self.answered.fetch_or(result.is_ok(), Ordering::Relaxed);
            if !call.may_repeat_after(&result) {
                return result;
            }
            let answered = self.answered.load(Ordering::Relaxed);
            let patience = if answered { self.patience } else { self.patience.at_most(RetryPolicy::BRIEF) };
            let retry_after = result.as_ref().ok().and_then(|answer| answer.retry_after);
            match patience.pause(tried, started.elapsed(), retry_after, self.jitter()) {
                Some(pause) => sleep(pause).await,
                None => return result,
            }
        }
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<Answer, ClientError> {
        let url = format!("{}{}", self.server, call.path);
        let request = self.request(call, &url)?;
        let exchange = async {
            let response = self.transport.request(request).await.map_err(|error| self.failed(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(|error| self.broken(&*error))?.to_bytes();
            Ok(Answer::new(url, self.authorization.is_none(), &head, body))
        };
        let timed_out = |_| ClientError::TimedOut { server: self.server.clone(), deadline: REQUEST_DEADLINE };
        timeout(REQUEST_DEADLINE, exchange).await.map_err(timed_out)?
    }

    fn request(&self, call: &Call<'_>, url: &str) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(url)
            .header(header::USER_AGENT, concat!("stint/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if let Some(key) = &call.idempotency_key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        if !call.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(call.body.clone())).map_err(|_| ClientError::BadUrl(url.to_owned()))
    }

    fn failed(&self, error: &hyper_util::client::legacy::Error) -> ClientError {
        if !error.is_connect() {
            return self.broken(error);
        }
        let (reason, kind) = reason_of(error);
        ClientError::Unreachable {
            server: self.server.clone(),
            reason,
            refused: kind == Some(io::ErrorKind::ConnectionRefused),
        }
    }

    fn broken(&self, error: &(dyn Error + 'static)) -> ClientError {
        ClientError::Broken { server: self.server.clone(), reason: reason_of(error).0 }
    }

    fn jitter(&self) -> u8 {
        let mut byte = [0];
        self.entropy.fill(&mut byte);
        byte[0]
    }
}

impl<'a> Call<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, body: Bytes::new(), idempotency_key: None }
    }

    pub(super) fn delete(path: &'a str) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    /// A POST of JSON. With an idempotency key it may be repeated.
    pub(super) fn post(path: &'a str, json: impl Into<Bytes>, idempotency_key: Option<String>) -> Self {
        Self { method: Method::POST, path, body: json.into(), idempotency_key }
    }

    /// Whether another try may bring another result and can't carry the request out twice.
    fn may_repeat_after(&self, result: &Result<Answer, ClientError>) -> bool {
        let idempotent = self.method != Method::POST || self.idempotency_key.is_some();
        match result {
            Ok(answer) => match answer.status.as_u16() {
                429 => true,
                // 502 and 504 come from a proxy in front of a server that restarts.
                408 | 502 | 503 | 504 => idempotent,
                _ => false,
            },
            Err(ClientError::Unreachable { .. }) => true,
            Err(ClientError::Broken { .. } | ClientError::TimedOut { .. }) => idempotent,
            Err(_) => false,
        }
    }
}

/// What the innermost cause says, as part of a sentence, and its kind where the system knows one.
fn reason_of(error: &(dyn Error + 'static)) -> (String, Option<io::ErrorKind>) {
    let chain = || std::iter::successors(Some(error), |error| (*error).source());
    let kind = chain().filter_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind).last();
    if kind == Some(io::ErrorKind::TimedOut) {
        return (format!("no connection within {} s", CONNECT_DEADLINE.as_secs()), kind);
    }
    let text = chain().last().unwrap_or(error).to_string();
    // The number that std adds tells users nothing.
    let text = text.split(" (os error ").next().unwrap_or_default();
    let mut characters = text.chars();
    let first = characters.next().into_iter().flat_map(char::to_lowercase);
    (first.chain(characters).collect(), kind)
}
